//! The snapshots of a group: one file on the server's disk, and at most one in the making.
//!
//! | file | what |
//! |---|---|
//! | `group-<n>.snapshot` | the newest snapshot of group n |
//! | `group-<n>.snapshot.new` | one that is being written here |
//! | `group-<n>.arriving.new` | one that is being sent by another replica |
//!
//! A snapshot's head is the encoding of what it covers ([`WireSnapshotMeta`]), its items are the
//! state machine's. It is written or received whole, checked and synced under a temporary name, and
//! then takes the place of the one before by a rename: whenever the power is cut, the old one or the
//! new one is there. What is sent are the bytes of the file.

use std::io::{self, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::room::Need;
use super::wire::{WireSnapshotMeta, WireVote};
use super::{SNAPSHOT_BYTES_MAX, StateMachine, Storage};
use crate::log::{Disk, DiskFile, FileWriter, LogError, SnapshotReader, SnapshotWriter, install};
use crate::replication::message;
use crate::replication::{DecodeError, GroupId};

/// The end of the name of a file that is not finished.
const UNFINISHED: &str = ".new";

/// Bytes that are read from a file at once.
const READ_BYTES: usize = 256 << 10;

fn name_of(group: GroupId) -> String {
    format!("group-{}.snapshot", group.0)
}

fn temporary_of(group: GroupId) -> String {
    format!("group-{}.snapshot{UNFINISHED}", group.0)
}

fn arriving_of(group: GroupId) -> String {
    format!("group-{}.arriving{UNFINISHED}", group.0)
}

/// The group whose snapshots have a name like this one, if any has.
fn group_of(name: &str) -> Option<GroupId> {
    let (group, _) = name.strip_prefix("group-")?.split_once('.')?;
    group.parse().ok().map(GroupId)
}

/// Returns true if a file of this name is a snapshot.
pub(crate) fn is_snapshot(name: &str) -> bool {
    group_of(name).is_some_and(|group| name == name_of(group))
}

fn is_unfinished(name: &str) -> bool {
    group_of(name).is_some_and(|group| name == temporary_of(group) || name == arriving_of(group))
}

/// Removes the snapshots that were not finished, those of groups that are not known any more included.
///
/// # Errors
///
/// [`LogError::Io`] if the disk does not say what is there. A file that cannot be removed stays.
pub(super) fn remove_unfinished(disk: &dyn Disk) -> Result<(), LogError> {
    let names = disk.list().map_err(|error| LogError::io("list", disk.location(), error))?;
    for name in names.iter().filter(|name| is_unfinished(name)) {
        let _ = disk.remove(name);
    }
    Ok(())
}

/// Where a group keeps its snapshots.
#[derive(Debug, Clone)]
pub(super) struct SnapshotFolder {
    storage: Storage,
    group: GroupId,
}

/// A snapshot in a file, open: it can be read even when another has taken its place.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    file: Box<dyn DiskFile>,
    len: u64,
    /// For messages.
    path: String,
}

impl SnapshotFile {
    /// Its length, in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The part from `offset`, of `len` bytes, or what there is of it.
    pub(super) fn part(&self, offset: u64, len: u64) -> Result<Vec<u8>, LogError> {
        let len = self.len.saturating_sub(offset).min(len);
        // The callers ask for parts that fit in memory.
        let mut part = vec![0; usize::try_from(len).unwrap_or_default()];
        let read = self.file.read_at(&mut part, offset);
        read.map_err(|error| LogError::io("read", self.path.clone(), error))?;
        Ok(part)
    }

    /// Reads all of it: what it covers, and the state.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] if it is not what was written.
    pub(super) fn read<S: StateMachine>(&self) -> Result<(WireSnapshotMeta, S), LogError> {
        let source = FileReader { file: &*self.file, offset: 0, len: self.len };
        let source = BufReader::with_capacity(READ_BYTES, source);
        let mut reader = SnapshotReader::new(source, &self.path)?;
        let meta: Result<WireSnapshotMeta, DecodeError> = message::decode(reader.head());
        let Some(meta) = meta.ok().filter(WireSnapshotMeta::is_consistent) else {
            return Err(reader.malformed());
        };
        let content = S::read_from(&mut reader)?;
        match reader.next_item()? {
            None => Ok((meta, content)),
            Some(_) => Err(reader.malformed()),
        }
    }
}

impl SnapshotFolder {
    pub(super) fn new(storage: Storage, group: GroupId) -> Self {
        Self { storage, group }
    }

    /// What it is on.
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The newest snapshot, if there is one.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] if it cannot be opened.
    pub(super) fn open(&self) -> Result<Option<SnapshotFile>, LogError> {
        match self.open_file(&self.name()) {
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// The snapshot in the file called `name`, whatever its name will be.
    fn open_file(&self, name: &str) -> Result<SnapshotFile, LogError> {
        let opened = self.storage.disk()?.open(name).and_then(|file| Ok((file.size()?, file)));
        let (len, file) = opened.map_err(|error| self.error("open", name, error))?;
        Ok(SnapshotFile { file, len, path: self.newest_path() })
    }

    /// Writes a snapshot under its temporary name; returns once it is durable.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`] or [`LogError::Io`], also once `stopped` is set; the file is gone then, if the disk removes it.
    pub(super) fn write<S: StateMachine>(
        &self,
        meta: &WireSnapshotMeta,
        content: &S,
        stopped: &AtomicBool,
    ) -> Result<SnapshotFile, LogError> {
        self.write_temporary(|out| {
            let out = UnlessStopped { out, stopped };
            let mut out = SnapshotWriter::new(out, &message::encode(meta))?;
            content.write_to(&mut out)?;
            Ok(out.finish()?.out)
        })
    }

    /// Copies a snapshot to the temporary name of one that is written here.
    pub(super) fn copy(&self, from: &SnapshotFile) -> Result<SnapshotFile, LogError> {
        self.write_temporary(|mut out| {
            io::copy(&mut FileReader { file: &*from.file, offset: 0, len: from.len }, &mut out)?;
            Ok(out)
        })
    }

    fn write_temporary(
        &self,
        write: impl FnOnce(FileWriter) -> io::Result<FileWriter>,
    ) -> Result<SnapshotFile, LogError> {
        let (name, disk) = (self.temporary(), self.storage.disk()?);
        let create = || write(FileWriter::new(disk.create(&name)?))?.finish();
        let created = create().map_err(|error| {
            self.remove(&name);
            self.error("write", &name, error)
        });
        self.storage.room().note(Need::Snapshot(self.group), &created);
        created?;
        self.open_file(&name)
    }

    /// Puts what was written here in the place of the newest snapshot.
    pub(super) fn place_written(&self) -> Result<(), LogError> {
        self.place(&self.temporary())
    }

    /// Puts what has arrived in the place of the newest snapshot.
    pub(super) fn place_arrived(&self) -> Result<(), LogError> {
        self.place(&self.arriving())
    }

    /// Removes what was written here and is not needed.
    pub(super) fn discard_written(&self) {
        self.remove(&self.temporary());
    }

    /// Removes what has arrived and is not needed.
    pub(super) fn discard_arrived(&self) {
        self.remove(&self.arriving());
    }

    fn place(&self, temporary: &str) -> Result<(), LogError> {
        install(&*self.storage.disk()?, temporary, &self.name())
    }

    /// Removes all files of the group, as far as the disk lets it.
    pub(super) fn discard_all(&self) {
        self.storage.room().found(Need::Snapshot(self.group));
        self.storage.room().found(Need::Arriving(self.group));
        for name in [self.name(), self.temporary(), self.arriving()] {
            self.remove(&name);
        }
    }

    fn remove(&self, name: &str) {
        // What stays is removed when the server starts again.
        let _ = self.storage.disk().map(|disk| disk.remove(name));
    }

    fn name(&self) -> String {
        name_of(self.group)
    }

    fn temporary(&self) -> String {
        temporary_of(self.group)
    }

    fn arriving(&self) -> String {
        arriving_of(self.group)
    }

    /// For messages.
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.storage.location())
    }

    /// For messages: the newest snapshot.
    pub(super) fn newest_path(&self) -> String {
        self.path(&self.name())
    }

    fn error(&self, operation: &'static str, name: &str, error: io::Error) -> LogError {
        LogError::io(operation, self.path(name), error)
    }
}

/// A snapshot of another replica, as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    /// Who sends which snapshot.
    of: Option<(WireVote, WireSnapshotMeta)>,
    out: Option<FileWriter>,
    /// Bytes that have arrived.
    len: u64,
}

impl Arriving {
    /// Adds a part; false if it does not follow what has arrived. A part from 0 begins anew.
    ///
    /// # Errors
    ///
    /// [`LogError`] if it cannot be written; the snapshot has to be sent anew.
    pub(super) fn take_part(
        &mut self,
        folder: &SnapshotFolder,
        of: (WireVote, WireSnapshotMeta),
        offset: u64,
        part: &[u8],
    ) -> Result<bool, LogError> {
        if offset == 0 {
            let file = folder.storage.disk()?.create(&folder.arriving());
            let file = file.map_err(|error| self.lost(folder, "create", error))?;
            *self = Self { of: Some(of), out: Some(FileWriter::new(file)), len: 0 };
        } else if self.of.as_ref() != Some(&of) || offset != self.len {
            return Ok(false);
        }
        let Some(out) = &mut self.out else { return Ok(false) };
        if offset + part.len() as u64 > SNAPSHOT_BYTES_MAX {
            *self = Self::default();
            folder.discard_arrived();
            return Ok(false);
        }
        out.write_all(part).map_err(|error| self.lost(folder, "write", error))?;
        self.len += part.len() as u64;
        Ok(true)
    }

    /// Gives the snapshot, synced, if all of its `len` bytes have arrived.
    pub(super) fn finish(
        &mut self,
        folder: &SnapshotFolder,
        of: &(WireVote, WireSnapshotMeta),
        len: u64,
    ) -> Result<Option<SnapshotFile>, LogError> {
        if self.of.as_ref() != Some(of) || self.len != len {
            return Ok(None);
        }
        let Some(out) = std::mem::take(self).out else { return Ok(None) };
        out.finish().map_err(|error| self.lost(folder, "sync", error))?;
        folder.storage.room().found(Need::Arriving(folder.group));
        folder.open_file(&folder.arriving()).map(Some)
    }

    /// Forgets what has arrived after an error.
    fn lost(
        &mut self,
        folder: &SnapshotFolder,
        operation: &'static str,
        error: io::Error,
    ) -> LogError {
        *self = Self::default();
        folder.discard_arrived();
        let error = folder.error(operation, &folder.arriving(), error);
        folder.storage.room().lacked(Need::Arriving(folder.group), &error);
        error
    }
}

/// Writes until nobody needs it any more.
struct UnlessStopped<'a> {
    out: FileWriter,
    stopped: &'a AtomicBool,
}

impl Write for UnlessStopped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("the group stops"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a file that others read too from its beginning.
struct FileReader<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
    len: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.len - self.offset).unwrap_or(usize::MAX);
        let count = bytes.len().min(rest);
        self.file.read_at(&mut bytes[..count], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

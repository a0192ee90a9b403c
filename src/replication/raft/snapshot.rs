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

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use super::wire::{WireSnapshotMeta, WireVote};
use super::{SNAPSHOT_BYTES_MAX, StateMachine};
use crate::log::{Disk, DiskFile, LogError, SnapshotReader, SnapshotWriter};
use crate::replication::message;
use crate::replication::{DecodeError, GroupId};

/// Bytes after which a file that is being written is synced, so that the log's syncs, which have the
/// same disk, never wait behind much more: 2 MiB.
const SYNC_BYTES: u64 = 2 << 20;

/// Bytes that are read from a file at once.
const READ_BYTES: usize = 256 << 10;

/// Where a group keeps its snapshots.
#[derive(Debug, Clone)]
pub(super) struct SnapshotFolder {
    disk: Arc<dyn Disk>,
    group: GroupId,
}

/// A snapshot in a file, open: it can be read even when another has taken its place.
pub(super) struct SnapshotFile {
    file: Box<dyn DiskFile>,
    len: u64,
    /// For messages.
    path: String,
}

impl fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFile").field("path", &self.path).field("len", &self.len).finish()
    }
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
        read.map_err(|error| {
            let (file, source) = (self.path.clone(), Arc::new(error));
            LogError::Io { operation: "read", file, source }
        })?;
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
    pub(super) fn new(disk: Arc<dyn Disk>, group: GroupId) -> Self {
        Self { disk, group }
    }

    /// The newest snapshot, if there is one.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] if it cannot be opened.
    pub(super) fn open(&self) -> Result<Option<SnapshotFile>, LogError> {
        let name = self.name();
        match self.disk.open(&name).and_then(|file| Ok((file.size()?, file))) {
            Ok((len, file)) => Ok(Some(SnapshotFile { file, len, path: self.path(&name) })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("open", &name, error)),
        }
    }

    /// Writes a snapshot under its temporary name; returns once it is durable.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`] or [`LogError::Io`]; the file is gone then, if the disk removes it.
    pub(super) fn write<S: StateMachine>(
        &self,
        meta: &WireSnapshotMeta,
        content: &S,
    ) -> Result<SnapshotFile, LogError> {
        let name = self.temporary();
        let write = || {
            let out = FileWriter::new(self.disk.create(&name)?);
            let mut out = SnapshotWriter::new(out, &message::encode(meta))?;
            content.write_to(&mut out)?;
            out.finish()?.finish()
        };
        let written = write().map_err(|error| {
            self.remove(&name);
            self.error("write", &name, error)
        });
        written.map(|(file, len)| SnapshotFile { file, len, path: self.path(&self.name()) })
    }

    /// Copies a snapshot to the temporary name of one that is written here.
    pub(super) fn copy(&self, from: &SnapshotFile) -> Result<SnapshotFile, LogError> {
        let name = self.temporary();
        let copy = || {
            let mut out = FileWriter::new(self.disk.create(&name)?);
            io::copy(&mut FileReader { file: &*from.file, offset: 0, len: from.len }, &mut out)?;
            out.finish()
        };
        let (file, len) = copy().map_err(|error| self.error("write", &name, error))?;
        Ok(SnapshotFile { file, len, path: self.path(&self.name()) })
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
        let name = self.name();
        let renamed = self.disk.rename(temporary, &name);
        renamed.map_err(|error| self.error("rename", &name, error))?;
        self.disk.sync_names().map_err(|error| self.error("sync", &name, error))
    }

    fn remove(&self, name: &str) {
        // What stays is removed when the log is opened again.
        let _ = self.disk.remove(name);
    }

    fn name(&self) -> String {
        format!("group-{}.snapshot", self.group.0)
    }

    fn temporary(&self) -> String {
        format!("group-{}.snapshot.new", self.group.0)
    }

    fn arriving(&self) -> String {
        format!("group-{}.arriving.new", self.group.0)
    }

    /// For messages.
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.disk.location())
    }

    /// For messages: the newest snapshot.
    pub(super) fn newest_path(&self) -> String {
        self.path(&self.name())
    }

    fn error(&self, operation: &'static str, name: &str, error: io::Error) -> LogError {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let (file, source) = (self.path(name), Arc::new(error));
        match source.kind() {
            FileTooLarge | QuotaExceeded | StorageFull => LogError::Full { file, source },
            _ => LogError::Io { operation, file, source },
        }
    }
}

/// A snapshot of another replica, as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    /// Who sends which snapshot.
    of: Option<(WireVote, WireSnapshotMeta)>,
    out: Option<FileWriter>,
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
        let mut out = match self.out.take() {
            _ if offset == 0 => {
                self.of = Some(of);
                let file = folder.disk.create(&folder.arriving());
                file.map(FileWriter::new).map_err(|error| self.lost(folder, "create", error))?
            }
            Some(out) if self.of.as_ref() == Some(&of) && offset == out.len => out,
            other => {
                self.out = other;
                return Ok(false);
            }
        };
        if out.len + part.len() as u64 > SNAPSHOT_BYTES_MAX {
            *self = Self::default();
            folder.discard_arrived();
            return Ok(false);
        }
        out.write_all(part).map_err(|error| self.lost(folder, "write", error))?;
        self.out = Some(out);
        Ok(true)
    }

    /// Gives the snapshot, synced, if all of its `len` bytes have arrived.
    pub(super) fn finish(
        &mut self,
        folder: &SnapshotFolder,
        of: &(WireVote, WireSnapshotMeta),
        len: u64,
    ) -> Result<Option<SnapshotFile>, LogError> {
        let whole = self.of.as_ref() == Some(of);
        let Some(out) = self.out.take_if(|out| whole && out.len == len) else { return Ok(None) };
        self.of = None;
        let (file, len) = out.finish().map_err(|error| self.lost(folder, "sync", error))?;
        Ok(Some(SnapshotFile { file, len, path: folder.newest_path() }))
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
        folder.error(operation, &folder.arriving(), error)
    }
}

/// Writes a file from its beginning, and syncs it now and then.
#[derive(Debug)]
pub(super) struct FileWriter {
    file: Box<dyn DiskFile>,
    len: u64,
    synced: u64,
}

impl FileWriter {
    fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, len: 0, synced: 0 }
    }

    /// The file and its length, once it is durable.
    fn finish(self) -> io::Result<(Box<dyn DiskFile>, u64)> {
        self.file.sync()?;
        Ok((self.file, self.len))
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        if self.len - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.len;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a file from its beginning.
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

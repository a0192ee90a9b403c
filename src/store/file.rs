//! Snapshots as files of a disk: written beside the old one, and put in its place in one step.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::log::{Disk, DiskFile, LogError, SnapshotReader, SnapshotWriter};

/// Bytes after which a file that is being written is synced, so that the syncs of the log, which
/// has the same disk, never wait behind much more than that: 2 MiB.
const SYNC_BYTES: u64 = 2 << 20;

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// Writes a snapshot to the temporary file of `name`, and returns its length once it is durable.
/// It counts from [`install`] on.
///
/// # Errors
///
/// [`LogError::Full`] or [`LogError::Io`], also where `stop` was set; the temporary file is gone
/// then, if the disk removes it.
pub(crate) fn write_snapshot(
    disk: &dyn Disk,
    name: &str,
    head: &[u8],
    stop: &AtomicBool,
    items: impl FnOnce(&mut SnapshotWriter<FileWriter<'_>>) -> io::Result<()>,
) -> Result<u64, LogError> {
    let temporary = temporary(name);
    let write = || {
        let file = disk.create(&temporary)?;
        let writer = FileWriter { file, len: 0, synced: 0, stop };
        let mut snapshot = SnapshotWriter::new(writer, head)?;
        items(&mut snapshot)?;
        let writer = snapshot.finish()?;
        writer.file.sync()?;
        Ok(writer.len)
    };
    write().map_err(|error| {
        // Half a snapshot is of no use, and its room may be what is missing.
        let _ = disk.remove(&temporary);
        disk_error("write", disk, &temporary, error)
    })
}

/// Puts the snapshot that [`write_snapshot`] wrote in the place of the one called `name`.
///
/// # Errors
///
/// [`LogError`]; after a crash the old one may be there, or the new one.
pub(crate) fn install(disk: &dyn Disk, name: &str) -> Result<(), LogError> {
    let renamed = disk.rename(&temporary(name), name).and_then(|()| disk.sync_names());
    renamed.map_err(|error| disk_error("rename", disk, name, error))
}

/// Removes a snapshot that was written and is not to be installed.
pub(crate) fn discard(disk: &dyn Disk, name: &str) {
    // What stays is removed when the directory is opened again.
    let _ = disk.remove(&temporary(name));
}

/// Opens the snapshot called `name`: the reader behind its head, and its length. `None` if there is
/// no such file.
///
/// # Errors
///
/// [`LogError`] if it cannot be read, or if its first block is not whole.
pub(crate) fn open_snapshot(
    disk: &dyn Disk,
    name: &str,
) -> Result<Option<(SnapshotReader<impl Read + use<>>, u64)>, LogError> {
    let opened = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.and_then(|file| file.size().map(|len| (file, len))),
    };
    let (file, len) = opened.map_err(|error| disk_error("open", disk, name, error))?;
    let input = BufReader::with_capacity(READ_BYTES, FileReader { file, offset: 0, len });
    let reader = SnapshotReader::new(input, &location(disk, name))?;
    Ok(Some((reader, len)))
}

/// The error of the system as one of the log.
pub(super) fn disk_error(
    operation: &'static str,
    disk: &dyn Disk,
    name: &str,
    error: io::Error,
) -> LogError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let (file, source) = (location(disk, name), Arc::new(error));
    match source.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => LogError::Full { file, source },
        _ => LogError::Io { operation, file, source },
    }
}

/// A file with the directory that it is in, for messages.
pub(super) fn location(disk: &dyn Disk, name: &str) -> String {
    format!("{}/{name}", disk.location())
}

fn temporary(name: &str) -> String {
    format!("{name}.new")
}

/// Writes a file from its beginning.
#[derive(Debug)]
pub(crate) struct FileWriter<'a> {
    file: Box<dyn DiskFile>,
    len: u64,
    synced: u64,
    /// Whether nobody needs the file any more.
    stop: &'a AtomicBool,
}

impl Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the store is being closed"));
        }
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
struct FileReader {
    file: Box<dyn DiskFile>,
    offset: u64,
    len: u64,
}

impl Read for FileReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.offset).unwrap_or(usize::MAX);
        let count = bytes.len().min(left);
        self.file.read_at(&mut bytes[..count], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

//! Snapshots as files of a disk: written beside the old one, and put in its place in one step.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::log::{self, Disk, FileReader, FileWriter, LogError, SnapshotReader, SnapshotWriter};

/// How much longer than it works a snapshot rests, while others write.
const REST: u32 = 3;

/// Writes a snapshot to the temporary file of `name`, and returns its length once it is durable.
/// It counts from [`install`] on. While `progress` changes, the snapshot takes a fourth of the time
/// of a processor at most, so that those who write have the rest.
///
/// # Errors
///
/// [`LogError::Full`] or [`LogError::Io`], also where `stop` was set; the temporary file is gone
/// then, if the disk removes it.
pub(super) fn write_snapshot(
    disk: &dyn Disk,
    name: &str,
    head: &[u8],
    stop: &AtomicBool,
    progress: &dyn Fn() -> u64,
    items: impl FnOnce(&mut SnapshotWriter<Background<'_>>) -> io::Result<()>,
) -> Result<u64, LogError> {
    let temporary = temporary(name);
    let write = || {
        let out = FileWriter::new(disk.create(&temporary)?);
        let (last, since) = (progress(), Instant::now());
        let out = Background { out, stop, progress, last, since };
        let mut snapshot = SnapshotWriter::new(out, head)?;
        items(&mut snapshot)?;
        snapshot.finish()?.out.finish()
    };
    write().map_err(|error| {
        // Half a snapshot is of no use, and its room may be what is missing.
        discard(disk, name);
        LogError::io("write", location(disk, &temporary), error)
    })
}

/// Puts the snapshot that [`write_snapshot`] wrote in the place of the one called `name`.
///
/// # Errors
///
/// [`LogError`]; after a crash the old one may be there, or the new one.
pub(super) fn install(disk: &dyn Disk, name: &str) -> Result<(), LogError> {
    log::install(disk, &temporary(name), name)
}

/// Removes a snapshot that was written and is not to be installed.
pub(super) fn discard(disk: &dyn Disk, name: &str) {
    // What stays is removed when the directory is opened again.
    let _ = disk.remove(&temporary(name));
}

/// Opens the snapshot called `name`: the reader behind its head, and its length. `None` if there is
/// no such file.
///
/// # Errors
///
/// [`LogError`] if it cannot be read, or if its head is not whole.
pub(super) fn open_snapshot(
    disk: &dyn Disk,
    name: &str,
) -> Result<Option<(SnapshotReader<FileReader>, u64)>, LogError> {
    let location = location(disk, name);
    let input = match disk.open(name).and_then(FileReader::new) {
        Ok(input) => input,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("open", location, error)),
    };
    let len = input.size();
    Ok(Some((SnapshotReader::new(input, &location)?, len)))
}

/// A file with the directory that it is in, for messages.
pub(super) fn location(disk: &dyn Disk, name: &str) -> String {
    format!("{}/{name}", disk.location())
}

fn temporary(name: &str) -> String {
    format!("{name}.new")
}

/// Writes a file for as long as somebody needs it, and lets others go first.
pub(super) struct Background<'a> {
    out: FileWriter,
    /// Whether nobody needs it any more.
    stop: &'a AtomicBool,
    /// What changes when others write, and what it was.
    progress: &'a dyn Fn() -> u64,
    last: u64,
    /// When the last rest ended.
    since: Instant,
}

impl Write for Background<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the store is being closed"));
        }
        let written = self.out.write(bytes);
        let progress = (self.progress)();
        if progress != self.last {
            self.last = progress;
            thread::sleep(self.since.elapsed() * REST);
        }
        self.since = Instant::now();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

//! Files of a disk as streams of bytes, and how a file takes the place of another.

use std::fmt;
use std::io::{self, Read, Write};

use crate::log::{Disk, DiskFile, LogError};

/// So many bytes are written or read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// So many bytes are written between two syncs.
const SYNC_BYTES: u64 = 4 << 20;

/// Writes a file from its beginning on, and syncs it each few MiB: the system would else gather
/// all of a large file, and the next sync of any other file would wait for it.
///
/// What was written is on the disk once [`finish`](Self::finish) has returned; without it the last
/// part may not even be in the file.
pub struct FileWriter {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    /// The bytes in the file.
    written: u64,
    synced: u64,
    /// Whether a sync failed: what it was to write may be lost, whatever a later one says.
    lost: bool,
}

impl FileWriter {
    /// Begins to write a file, which is empty.
    pub fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, buffer: Vec::with_capacity(BUFFER_BYTES), written: 0, synced: 0, lost: false }
    }

    /// Writes what is left, syncs the file, and returns its size in bytes.
    ///
    /// # Errors
    ///
    /// What the system says. Begin anew with another file then.
    pub fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        self.sync()?;
        Ok(self.written)
    }

    fn write_out(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        if self.written - self.synced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.lost {
            return Err(io::Error::other("an earlier sync of the file failed"));
        }
        let outcome = self.file.sync();
        self.lost = outcome.is_err();
        self.synced = self.written;
        outcome
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == BUFFER_BYTES {
            self.flush()?;
        }
        let taken = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Hands all bytes to the system; they are not synced by it.
    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = if buffer.is_empty() { Ok(()) } else { self.write_out(&buffer) };
        if outcome.is_ok() {
            buffer.clear();
        }
        self.buffer = buffer;
        outcome
    }
}

impl fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter")
            .field("file", &self.file)
            .field("written", &(self.written + self.buffer.len() as u64))
            .finish_non_exhaustive()
    }
}

/// Reads a file from its beginning to where its end was when it was opened.
pub struct FileReader {
    file: Box<dyn DiskFile>,
    size: u64,
    /// Where in the file the bytes behind the buffer are.
    offset: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next byte is.
    next: usize,
}

impl FileReader {
    /// Begins to read a file.
    ///
    /// # Errors
    ///
    /// What the system says when asked for the size.
    pub fn new(file: Box<dyn DiskFile>) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self { file, size, offset: 0, buffer: Vec::new(), next: 0 })
    }

    /// Returns the size of the file, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills the buffer, which was read to its end; it stays empty at the end of the file.
    fn refill(&mut self) -> io::Result<()> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        self.buffer.resize(left.min(BUFFER_BYTES), 0);
        // A failure must not let bytes pass that were not read.
        self.next = self.buffer.len();
        self.file.read_at(&mut self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.next = 0;
        Ok(())
    }
}

impl Read for FileReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.next == self.buffer.len() {
            self.refill()?;
        }
        let read = bytes.len().min(self.buffer.len() - self.next);
        bytes[..read].copy_from_slice(&self.buffer[self.next..self.next + read]);
        self.next += read;
        Ok(read)
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader")
            .field("file", &self.file)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Puts the file `from`, which was synced, in the place of `to`: after a crash there is the old one
/// or the new one, and once this returns, the new one.
///
/// # Errors
///
/// [`LogError::Io`] or [`LogError::Full`]. Which of the two is there after a crash is open then;
/// `to` is the old one if it could not be renamed.
pub fn install(disk: &dyn Disk, from: &str, to: &str) -> Result<(), LogError> {
    disk.rename(from, to).map_err(|source| LogError::io("rename", located(disk, from), source))?;
    if cfg!(triekv_planted = "name_not_synced") {
        // Planted: a power cut may bring the old file back.
        return Ok(());
    }
    disk.sync_names().map_err(|source| LogError::io("sync", disk.location(), source))
}

fn located(disk: &dyn Disk, name: &str) -> String {
    format!("{}/{name}", disk.location())
}

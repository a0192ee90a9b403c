//! What a log asks of a disk: one flat folder of files, and no order between writes but `sync`.

use std::{fmt, io};

/// A folder of files. [`Directory`](super::Directory) is one of the operating system's,
/// [`MemoryDisk`](super::MemoryDisk) one in memory that can fail as tests want it.
///
/// An implementation promises nothing of what was not synced: after a crash any part of it may be
/// there. What a call to [`DiskFile::sync`] or [`Disk::sync_names`] covered has to be there, or
/// acknowledged data are lost.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Where it is, for messages.
    fn location(&self) -> String;

    /// The names of all files, in any order.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file in place of one of this name, if there is one.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to read and write.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, else what the system says.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file, in place of one that has the new name, in one step. Files that are open
    /// stay what they were.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. It can be read on where it is open.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, else what the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns once all files created, renamed and removed so far are so after a power cut too.
    ///
    /// # Errors
    ///
    /// What the system says; the names may then be as before.
    fn sync_names(&self) -> io::Result<()>;

    /// Work was sent to the log on this disk. A simulated clock stands still until it is settled.
    #[doc(hidden)]
    fn work_queued(&self) {}

    /// So many pieces of work were settled, well or not.
    #[doc(hidden)]
    fn work_settled(&self, _count: usize) {}
}

/// An open file of a [`Disk`].
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Its length, in bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the file ends before, else what the system says.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; the file grows if need be.
    ///
    /// # Errors
    ///
    /// What the system says; any part of the bytes may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file to `size` bytes, or extends it by zeros.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Returns once all that was written to the file so far survives a power cut.
    ///
    /// # Errors
    ///
    /// What the system says. What was written since the last success may be lost then, even if a
    /// later call succeeds.
    fn sync(&self) -> io::Result<()>;
}

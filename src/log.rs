//! SKELETON: signatures that the other modules build on.

use std::io;
use std::sync::Arc;

use thiserror::Error;

mod core;
mod directory;
mod disk;
mod memory_disk;
mod snapshot;

pub use core::{Batch, Committer, Log, LogOptions, LogReader, LogStats, REGISTERS, Recovered};
pub use directory::Directory;
pub use disk::{Disk, DiskFile};
pub use memory_disk::{Fault, MemoryDisk};
pub use snapshot::{FileReader, FileWriter, SnapshotReader, SnapshotWriter, install};

/// Why a log, a snapshot or their directory could not be opened, read or written.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The system refused an operation on a file.
    #[error("cannot {operation} {file}")]
    Io {
        /// What was tried: "open", "read", "write", "sync", …
        operation: &'static str,
        /// The file, with the directory that it is in.
        file: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The disk is full. Nothing of what was to be written is there; what was there is as before.
    /// Make room and try again.
    #[error("the disk of {file} is full")]
    Full {
        /// The file that was to grow.
        file: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Bytes that were written and synced are not what they were. Nothing was changed. Bring the
    /// file back from a copy, or begin with an empty directory.
    #[error("{file} is damaged at byte {offset}: {damage}")]
    Corrupt {
        /// The file.
        file: String,
        /// The first byte of what is damaged.
        offset: u64,
        /// How it is seen.
        damage: Damage,
    },
    /// The file is of another version of this crate.
    #[error("{file} has format version {found}, expected {expected}")]
    Version {
        /// The file.
        file: String,
        /// The version found.
        found: u32,
        /// The version that this crate writes.
        expected: u32,
    },
    /// Another process, or another opener in this one, has the directory.
    #[error("{directory} is in use by another opener")]
    Locked {
        /// The directory.
        directory: String,
    },
    /// A sync or a write failed earlier. What was acknowledged before is on disk; nothing was
    /// acknowledged since. Open the directory anew.
    #[error("the log stopped after a failure")]
    Stopped(#[source] Arc<LogError>),
    /// A record is larger than the log takes. Nothing was written.
    #[error("the record of {len} bytes is longer than {limit}")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

impl LogError {
    /// The error of an operation on a file that the system refused.
    pub(crate) fn io(operation: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        let (file, source) = (file.into(), Arc::new(source));
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { file, source }
            }
            _ => Self::Io { operation, file, source },
        }
    }
}

/// How damage is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// The header of the file is not one.
    #[error("the header does not match its checksum")]
    Header,
    /// A block does not match its checksum, and all of it was written.
    #[error("the bytes do not match their checksum")]
    Checksum,
    /// The file ends too early.
    #[error("the rest is missing")]
    Truncated,
    /// The bytes match their checksum and mean nothing.
    #[error("the content contradicts itself")]
    Malformed,
    /// A file, or entries, that have to be there are not.
    #[error("what comes before or after it is missing")]
    Missing,
}

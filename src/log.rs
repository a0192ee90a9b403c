//! A write-ahead log for many groups, snapshot files, and the disks under them.
//!
//! A *log* is a run of *records* on a [`Disk`], in files that are called *segments*. It keeps, for
//! each of many *groups*, the group's *entries*, which have consecutive indices, and a few
//! *registers*, which are small values. What the entries mean is not known here. One thread writes
//! ([`Log`]): it takes all work that waits, writes the records as one *frame*, syncs once, and then
//! tells everybody ([`Committer`]). `docs/log-format.md` draws the files to the byte.
//!
//! # What holds
//!
//! - What was settled as written is there after a crash or a power cut, in order, and what was not
//!   is there up to some record, or not at all: never a later record without an earlier one, never
//!   a part of a batch.
//! - A write that was cut short is removed when the log is opened. Any other damage is
//!   [`LogError::Corrupt`], with the file and the byte: nothing is repaired by guessing.
//! - After the first error of a write or a sync that is not for want of room, nothing is written any
//!   more: the system may have dropped what it was to write (Rebello et al., "Can Applications Recover
//!   from fsync Failures?", ATC 2020).
//! - A full disk refuses what does not fit, whole, and the log goes on when there is room. That holds
//!   for room that was written ahead as well: file systems that copy on write may refuse there too. A
//!   sync that fails for want of room is answered by zeros in the place of what it was for, written and
//!   synced; a log that [refuses](WhenFull::Refuse) stops if that fails too, since what it refused may
//!   be on the disk.
//!
//! A segment begins with the state of every group, so old segments are removed once no group needs
//! their entries. Until then they stay: a group that never purges keeps them all
//! ([`Log::lagging`] names it).
//!
//! What is missing: compression and encryption; damage is found when it is read, not by reading in
//! the background ([`LogReader::verify`] reads everything on request).

use std::io;
use std::sync::Arc;

use thiserror::Error;

mod directory;
mod disk;
mod frame;
mod memory_disk;
mod reader;
mod record;
mod recovery;
mod sector;
mod segment;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod thread;
mod writer;

pub use directory::Directory;
pub use disk::{Disk, DiskFile};
pub use memory_disk::{Fault, MemoryDisk};
pub use reader::LogReader;
use record::Kind;
pub use recovery::Recovered;
#[cfg(feature = "cluster")]
pub(crate) use segment::is_segment;
pub use snapshot::{FileReader, FileWriter, SnapshotReader, SnapshotWriter, install};
pub use thread::{Committer, Log};
pub use writer::{Batch, LogOptions, LogStats, RECORD_BYTES_MAX, WhenFull};

/// The registers of a group.
pub const REGISTERS: usize = 4;

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
    /// The file is of another version of this crate. Nothing was changed. Open it with the version
    /// that wrote it, or begin with an empty directory.
    #[error(
        "{file} has format version {found}, expected {expected}: {} of triekv wrote it; run that one, \
         or move the directory away and begin with an empty one",
        which_version(.found, .expected)
    )]
    Version {
        /// The file.
        file: String,
        /// The version found.
        found: u32,
        /// The version that this crate writes.
        expected: u32,
    },
    /// Another process, or another opener in this one, has the directory.
    #[error("{directory} is in use by another process")]
    Locked {
        /// The directory.
        directory: String,
    },
    /// The directory was removed, moved away or replaced while it was open, or a file that is written
    /// or `LOCK` was removed from it. Nothing is acknowledged from then on; what was acknowledged
    /// before is where the directory is now. Put it back and open it again. (A server can also be
    /// started with no directory, at its old address: it is a new one then, and is filled by the
    /// others.)
    #[error(
        "{directory}, or a file in it, was removed or replaced while it was in use: put it back and \
         open it again"
    )]
    Replaced {
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

/// Who wrote a file of format version `found`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the error hands its fields over so")]
fn which_version(found: &u32, expected: &u32) -> &'static str {
    if found < expected { "an older version" } else { "a newer version" }
}

impl LogError {
    /// The error of an operation on a file; a disk without room is [`LogError::Full`].
    pub(crate) fn io(operation: &'static str, file: impl Into<String>, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::Full { file: file.into(), source: Arc::new(source) };
        }
        Self::broken(operation, file, source)
    }

    /// As [`LogError::io`], of an operation after which a file is not what it was: want of room counts
    /// as any other failure.
    pub(crate) fn broken(
        operation: &'static str,
        file: impl Into<String>,
        source: io::Error,
    ) -> Self {
        match directory::replaced(&source) {
            Some(directory) => Self::Replaced { directory: directory.to_owned() },
            None => Self::Io { operation, file: file.into(), source: Arc::new(source) },
        }
    }
}

/// Whether an operation failed for want of room.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
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

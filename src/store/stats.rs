//! What a store tells about itself.

use std::time::Duration;

use crate::log::LogStats;
use crate::store::Documents;

/// What a store has, and what it has done since it was opened: see [`Store::stats`](super::Store::stats).
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Records in the store.
    pub records: usize,
    /// Writes since the store was made: the version of the newest record.
    pub writes: u64,
    /// The log; `None` for a store in memory.
    pub log: Option<LogStats>,
    /// Snapshots that were written.
    pub snapshots: u64,
    /// Snapshots that could not be written.
    pub snapshots_failed: u64,
    /// Length of the last snapshot, in bytes; 0 if there is none.
    pub snapshot_bytes: u64,
    /// How long it took to write the last snapshot.
    pub snapshot_time: Duration,
}

impl StoreStats {
    pub(super) fn of(documents: &Documents) -> Self {
        let (records, writes) = (documents.len(), documents.version());
        Self { records, writes, ..Self::default() }
    }
}

/// What was checked and found whole: see [`Store::verify`](super::Store::verify).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Records in the store.
    pub records: usize,
    /// Writes since the store was made.
    pub writes: u64,
    /// Bytes of the log that were checked.
    pub log_bytes: u64,
    /// Bytes of the snapshot that were checked.
    pub snapshot_bytes: u64,
}

impl Verification {
    pub(super) fn of(documents: &Documents) -> Self {
        let (records, writes) = (documents.len(), documents.version());
        Self { records, writes, log_bytes: 0, snapshot_bytes: 0 }
    }
}

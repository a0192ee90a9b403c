//! What a server's disk has no room for, and what its log tells of that: a line when the disk becomes
//! full and one when there is room again, however many requests are refused meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::log::LogError;
use crate::replication::GroupId;

/// What room is needed for. Each is asked for again until it is there, so that the disk counts as full
/// until all that was refused has found room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// The log that all groups share.
    Log,
    /// The map of the cluster.
    Map,
    /// A snapshot that is made here.
    Snapshot(GroupId),
    /// A snapshot that another replica sends.
    Arriving(GroupId),
}

/// What the disk had no room for when it was asked last; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    /// The place of the disk, for messages.
    location: Arc<str>,
    lacking: Arc<Mutex<BTreeSet<Need>>>,
}

impl Room {
    pub(super) fn new(location: &str) -> Self {
        Self { location: location.into(), lacking: Arc::default() }
    }

    /// Whether something found no room, and has not found any since.
    pub(crate) fn is_full(&self) -> bool {
        !self.lacking().is_empty()
    }

    /// Notes what became of something that takes room.
    pub(crate) fn note<T>(&self, need: Need, outcome: &Result<T, LogError>) {
        match outcome {
            Ok(_) => self.found(need),
            Err(error) => self.lacked(need, error),
        }
    }

    /// Notes an error, if it is one of a full disk.
    pub(crate) fn lacked(&self, need: Need, error: &LogError) {
        if let LogError::Full { .. } = error {
            self.lacks(need);
        }
    }

    /// Notes that there was no room.
    pub(super) fn lacks(&self, need: Need) {
        let mut lacking = self.lacking();
        if lacking.is_empty() {
            tracing::warn!(
                data = %self.location,
                "the disk is full: writes are refused until there is room, reads go on"
            );
        }
        lacking.insert(need);
    }

    /// Notes that there was room.
    pub(super) fn found(&self, need: Need) {
        let mut lacking = self.lacking();
        if lacking.remove(&need) && lacking.is_empty() {
            tracing::info!(data = %self.location, "the disk has room again");
        }
    }

    fn lacking(&self) -> MutexGuard<'_, BTreeSet<Need>> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_until_all_that_was_refused_has_found_room() {
        let room = Room::new("here");
        let full = || LogError::io("write", "file", std::io::ErrorKind::StorageFull.into());
        room.note::<()>(Need::Map, &Err(LogError::TooLarge { len: 2, limit: 1 }));
        assert!(!room.is_full());
        room.note::<()>(Need::Snapshot(GroupId(1)), &Err(full()));
        room.lacks(Need::Log);
        room.note(Need::Snapshot(GroupId(2)), &Ok(()));
        room.found(Need::Log);
        assert!(room.is_full());
        room.note(Need::Snapshot(GroupId(1)), &Ok(()));
        assert!(!room.is_full());
    }
}

//! The log of a group, in memory: what a server that was stopped had, is gone.
//!
//! This is the seam where a log on disk goes: everything openraft asks of a log's storage is here.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::{LogState, OptionalSend, RaftLogReader};

use super::{Storage, Types};
use crate::log::LogError;
use crate::replication::GroupId;

#[derive(Debug, Default)]
struct Contents {
    vote: Option<VoteOf<Types>>,
    purged: Option<LogIdOf<Types>>,
    committed: Option<LogIdOf<Types>>,
    /// Consecutive indices, from the one after `purged`.
    entries: BTreeMap<u64, EntryOf<Types>>,
}

/// A log in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupLog(Arc<Mutex<Contents>>);

impl GroupLog {
    pub(super) async fn open(_id: GroupId, _storage: &Storage) -> Result<Self, LogError> {
        Ok(Self::default())
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<Types> for GroupLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        Ok(self.contents().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types>>, io::Error> {
        Ok(self.contents().vote)
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let contents = self.contents();
        let last = contents.entries.values().next_back().map(RaftEntry::log_id);
        Ok(LogState { last_purged_log_id: contents.purged, last_log_id: last.or(contents.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), io::Error> {
        self.contents().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        self.contents().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<Types>>, io::Error> {
        Ok(self.contents().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| (entry.index(), entry));
        self.contents().entries.extend(entries);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        let first_dropped = last.map_or(0, |id| id.index + 1);
        self.contents().entries.split_off(&first_dropped);
        Ok(())
    }

    async fn purge(&mut self, upto: LogIdOf<Types>) -> Result<(), io::Error> {
        let mut contents = self.contents();
        contents.entries = contents.entries.split_off(&(upto.index + 1));
        contents.purged = Some(upto);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openraft::StorageError;
    use openraft::testing::log::{StoreBuilder, Suite};

    use super::super::machine::Machine;
    use super::*;
    use crate::replication::shard::Shard;

    struct Builder;

    impl StoreBuilder<Types, GroupLog, Machine<Shard>> for Builder {
        async fn build(&self) -> Result<((), GroupLog, Machine<Shard>), StorageError<Types>> {
            Ok(((), GroupLog::default(), Machine::new()))
        }
    }

    #[test]
    fn the_log_and_the_state_machine_pass_openrafts_suite() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Suite::test_all(Builder)).unwrap();
    }
}

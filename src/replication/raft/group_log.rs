//! The log of one group, as openraft asks for it.
//!
//! The newest entries are in memory: all that are not durable yet, and those that followers and the
//! state machine are likely to ask for. Older ones are read from the server's log. Without a log on
//! disk, all are in memory.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, TryStreamExt, stream};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};

use super::Types;
use super::storage::{COMMITTED, Hosted, PURGED, Record, Storage, VOTE, contradiction};
use super::wire::{self, WireEntry, WireLogId, WireVote};
use crate::log::{Damage, LogError};
use crate::replication::GroupId;
use crate::replication::message::{self, Position};
use crate::replication::promise::Standing;

/// Bytes of entries that a group keeps in memory although they are on disk.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// Bytes of entries that are read at once where not all are asked for.
const READ_BYTES: usize = 4 << 20;

/// What an entry takes in memory besides its payload, about.
const ENTRY_BYTES: usize = 64;

/// The log of a group as of the last call, whether it is durable or not.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Whether this server holds the group.
    held: bool,
    /// The last entry that it had when it gave the group up, if it ever did.
    floor: Option<LogIdOf<Types>>,
    /// As it is on disk.
    vote: Option<VoteOf<Types>>,
    committed: Option<LogIdOf<Types>>,
    purged: Option<LogIdOf<Types>>,
    /// The index of the first entry.
    first: u64,
    /// The last entry, or the last purged one if none is left.
    last: Option<LogIdOf<Types>>,
    /// The newest entries up to `last`, with consecutive indices.
    cache: VecDeque<EntryOf<Types>>,
    cache_bytes: usize,
    /// The entries before this index are durable.
    durable: u64,
    /// Grows whenever entries go.
    cuts: u64,
}

impl Contents {
    /// What was found on disk.
    pub(super) fn recovered(
        hosted: Hosted,
        vote: Option<WireVote>,
        committed: Option<WireLogId>,
        purged: Option<WireLogId>,
        last: Option<WireLogId>,
    ) -> Self {
        let last: Option<LogIdOf<Types>> = last.map(Into::into);
        let first = purged.as_ref().map_or(0, WireLogId::next);
        Self {
            held: hosted.held,
            floor: hosted.floor.map(Into::into),
            first,
            vote: vote.map(Into::into),
            committed: committed.map(Into::into),
            purged: purged.map(Into::into),
            last,
            durable: last.map_or(0, |last| last.index + 1),
            ..Self::default()
        }
    }

    /// Whether this server holds the group.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// See [`Hosted::floor`].
    pub(super) fn floor(&self) -> Option<LogIdOf<Types>> {
        self.floor
    }

    pub(super) fn vote(&self) -> Option<VoteOf<Types>> {
        self.vote
    }

    /// The vote and the last entry, those of an earlier replica that was given up included.
    pub(super) fn standing(&self, group: GroupId) -> Standing {
        let vote = self.vote.map(|vote| wire::term(&vote.leader_id));
        let last = self.last.max(self.floor);
        Standing { group, vote, last: last.as_ref().map(wire::entry_id) }
    }

    /// Whether the log has not reached its floor.
    pub(super) fn is_below_floor(&self) -> bool {
        self.last < self.floor
    }

    /// What stays once the group is given up.
    pub(super) fn given_up(&self) -> Self {
        Self { vote: self.vote, floor: self.floor.max(self.last), ..Self::default() }
    }

    /// Begins the group with a vote.
    pub(super) fn begin_with(&mut self, vote: VoteOf<Types>) {
        *self = Self { held: true, vote: Some(vote), ..Self::default() };
    }

    /// The last entry that was purged.
    pub(super) fn purged(&self) -> Option<LogIdOf<Types>> {
        self.purged
    }

    /// The index of the entry to be appended next.
    fn next(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }

    /// The index of the first entry in memory.
    fn cached_from(&self) -> u64 {
        self.next() - self.cache.len() as u64
    }

    /// Those of the entries that are in memory, until they have `bytes_max` bytes or more.
    fn cached(&self, indices: Range<u64>, bytes_max: usize) -> Vec<EntryOf<Types>> {
        let start = indices.start.saturating_sub(self.cached_from());
        let count = indices.end.saturating_sub(indices.start.max(self.cached_from()));
        let place = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let entries = self.cache.iter().skip(place(start)).take(place(count));
        let entries = entries.take_while(|entry| {
            let fits = bytes < bytes_max;
            bytes += size(entry);
            fits
        });
        entries.cloned().collect()
    }

    fn append(&mut self, entry: EntryOf<Types>) {
        if self.last.is_none() {
            self.first = entry.index();
        }
        self.last = Some(entry.log_id);
        self.cache_bytes += size(&entry);
        self.cache.push_back(entry);
    }

    /// Drops the entries from `from` on; `last` is the one before.
    fn truncate(&mut self, from: u64, last: Option<LogIdOf<Types>>) {
        while self.cache.back().is_some_and(|entry| entry.index() >= from) {
            self.cache_bytes -= self.cache.pop_back().map_or(0, |entry| size(&entry));
        }
        self.last = last.max(self.purged);
        self.durable = self.durable.min(from);
        self.cuts += 1;
    }

    /// Drops the entries up to `upto`.
    fn purge(&mut self, upto: LogIdOf<Types>) {
        self.drop_cached(|entry| entry.index() <= upto.index);
        self.purged = Some(upto);
        self.first = upto.index + 1;
        if self.next() <= self.first {
            self.last = Some(upto);
        }
        self.cuts += 1;
    }

    /// Notes that the entries before `end` are durable, and drops old ones from memory.
    fn settle(&mut self, end: u64) {
        // Some may have been truncated since.
        self.durable = self.durable.max(end.min(self.next()));
        let durable = self.durable;
        let mut excess = self.cache_bytes.saturating_sub(CACHE_BYTES_MAX);
        self.drop_cached(|entry| {
            let goes = excess > 0 && entry.index() < durable;
            excess = excess.saturating_sub(size(entry));
            goes
        });
    }

    fn drop_cached(&mut self, mut goes: impl FnMut(&EntryOf<Types>) -> bool) {
        while self.cache.front().is_some_and(&mut goes) {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |entry| size(&entry));
        }
    }
}

fn size(entry: &EntryOf<Types>) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(payload) => payload.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    ENTRY_BYTES + payload
}

/// The log of a group; clones share it.
#[derive(Debug, Clone)]
pub(super) struct GroupLog {
    id: GroupId,
    contents: Arc<Mutex<Contents>>,
    storage: Storage,
}

impl GroupLog {
    /// The log of group `id` in `storage`.
    pub(super) fn new(id: GroupId, storage: &Storage) -> Self {
        Self { id, contents: storage.group(id), storage: storage.clone() }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }

    /// The entries from `start` on, or a part of them; none behind the last.
    pub(super) async fn part_from(&self, start: u64) -> Result<Vec<EntryOf<Types>>, LogError> {
        let part = self.entries(start..u64::MAX, READ_BYTES).await;
        part.map_err(|error| LogError::io("read", self.storage.location(), error))
    }

    pub(super) fn vote(&self) -> Option<VoteOf<Types>> {
        self.contents().vote()
    }

    /// The last entry, or the last one that was purged.
    pub(super) fn last(&self) -> Option<Position> {
        let last = self.contents().last?;
        Some(Position { term: last.leader_id.term, index: last.index })
    }

    /// See [`Contents::is_below_floor`].
    pub(super) fn is_below_floor(&self) -> bool {
        self.contents().is_below_floor()
    }

    #[cfg(test)]
    pub(super) fn cached_bytes(&self) -> usize {
        self.contents().cache_bytes
    }

    /// Those of the entries that there are: from the first one on, at least one, until they have
    /// `bytes_max` bytes or more; those behind may be left out even so, unless there is no limit.
    async fn entries(
        &self,
        indices: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        loop {
            let (on_disk, cached, cuts) = {
                let contents = self.contents();
                let start = indices.start.max(contents.first);
                let end = indices.end.min(contents.next());
                let on_disk = start..end.min(contents.cached_from());
                let limit =
                    if on_disk.is_empty() || bytes_max == usize::MAX { bytes_max } else { 0 };
                (on_disk, contents.cached(start..end, limit), contents.cuts)
            };
            if on_disk.is_empty() {
                return Ok(cached);
            }
            let read = self.read(on_disk, bytes_max).await;
            if self.contents().cuts != cuts {
                // What was read may be gone, or others may be in its place.
                continue;
            }
            let mut entries = read.map_err(|error| {
                if !matches!(error, LogError::Stopped(_)) {
                    self.storage.failure().note(&error);
                }
                io_error(error)
            })?;
            entries.extend(cached);
            return Ok(entries);
        }
    }

    /// Reads entries that were on disk, and not in memory, a moment ago.
    async fn read(
        &self,
        indices: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<EntryOf<Types>>, LogError> {
        let location = self.storage.location();
        let group = self.id.0;
        let reader = self.storage.reader().ok_or_else(|| self.storage.closed())?;
        let Range { start, end } = indices;
        let reading = tokio::task::spawn_blocking(move || reader.read(group, indices, bytes_max));
        // It is cancelled if the runtime is shut down.
        let encoded = reading.await.map_err(|_| self.storage.closed())??;
        let entries = encoded.iter().map(|(_, entry)| message::decode::<WireEntry>(entry));
        let entries: Result<Vec<EntryOf<Types>>, _> =
            entries.map(|entry| entry.map(Into::into)).collect();
        let entries = entries.map_err(|_| contradiction(location, Damage::Malformed))?;
        let in_order = (start..).zip(&entries).all(|(index, entry)| entry.index() == index);
        let whole = entries.len() as u64 == end - start;
        if in_order && !entries.is_empty() && (whole || bytes_max < usize::MAX) {
            Ok(entries)
        } else {
            Err(contradiction(location, Damage::Missing))
        }
    }
}

/// The indices in a range.
fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

pub(super) fn lock(contents: &Mutex<Contents>) -> MutexGuard<'_, Contents> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RaftLogReader<Types> for GroupLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        self.entries(bounds(&range), usize::MAX).await
    }

    /// What one message to a follower takes.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<EntryOf<Types>>, io::Error> {
        self.entries(start..end, READ_BYTES).await
    }

    /// Reads a part at a time: after a restart there may be more than memory should hold.
    async fn entries_stream<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = Result<EntryOf<Types>, io::Error>> + OptionalSend {
        let parts = (self.clone(), bounds(&range));
        stream::try_unfold(parts, |(log, indices)| async move {
            let part = log.entries(indices.clone(), READ_BYTES).await?;
            let Some(last) = part.last() else { return Ok::<_, io::Error>(None) };
            let rest = last.index() + 1..indices.end;
            Ok(Some((stream::iter(part.into_iter().map(Ok)), (log, rest))))
        })
        .try_flatten()
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<Types>>, io::Error> {
        Ok(self.contents().vote)
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let contents = self.contents();
        Ok(LogState { last_purged_log_id: contents.purged, last_log_id: contents.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), io::Error> {
        let value = message::encode(&WireVote::from(vote));
        let records = vec![Record::Set { register: VOTE, value }];
        let (vote, contents) = (*vote, Arc::clone(&self.contents));
        let saved = move |()| lock(&contents).vote = Some(vote);
        if cfg!(triekv_planted = "vote_not_synced") {
            // Planted: the vote goes with the next sync, and is given before.
            self.storage.write_lazily(self.id, records);
            saved(());
            return Ok(());
        }
        self.storage.write(self.id, records, saved).await.map_err(io_error)
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        self.contents().committed = committed;
        let value = message::encode(&committed.as_ref().map(WireLogId::from));
        self.storage.write_lazily(self.id, vec![Record::Set { register: COMMITTED, value }]);
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
        let mut records = Vec::new();
        let end = {
            let mut contents = self.contents();
            for entry in entries {
                if self.storage.is_durable() {
                    let payload = message::encode(&WireEntry::from(&entry));
                    records.push(Record::Append { index: entry.index(), payload });
                }
                contents.append(entry);
            }
            contents.next()
        };
        if !self.storage.is_durable() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        let contents = Arc::clone(&self.contents);
        self.storage.write_then(self.id, records, move |outcome| {
            if outcome.is_ok() {
                lock(&contents).settle(end);
            }
            callback.io_completed(outcome.map_err(io_error));
        });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        {
            let mut contents = self.contents();
            if from >= contents.next() {
                return Ok(());
            }
            contents.truncate(from, last);
        }
        let contents = Arc::clone(&self.contents);
        // Entries appended before may have become durable meanwhile.
        let truncated = move |()| {
            let mut contents = lock(&contents);
            contents.durable = contents.durable.min(from);
        };
        let records = vec![Record::Truncate(from)];
        self.storage.write(self.id, records, truncated).await.map_err(io_error)
    }

    async fn purge(&mut self, upto: LogIdOf<Types>) -> Result<(), io::Error> {
        if self.contents().purged >= Some(upto) {
            return Ok(());
        }
        self.contents().purge(upto);
        // The register first: entries without their predecessor would be damage.
        let value = message::encode(&WireLogId::from(&upto));
        let records = vec![Record::Set { register: PURGED, value }, Record::Purge(upto.index + 1)];
        self.storage.write_lazily(self.id, records);
        Ok(())
    }
}

fn io_error(error: LogError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use openraft::LogId;
    use openraft::impls::leader_id_adv::LeaderId;

    use super::super::Payload;
    use super::*;

    fn id(index: u64) -> LogIdOf<Types> {
        LogId::new(LeaderId { term: 1, node_id: 1 }, index)
    }

    fn append(contents: &mut Contents, indices: Range<u64>) {
        for index in indices {
            let payload = EntryPayload::Normal(Payload(vec![7; 1 << 20].into()));
            contents.append(EntryOf::<Types>::new(id(index), payload));
        }
    }

    #[test]
    fn what_is_not_durable_stays_in_memory() {
        let mut contents = Contents::default();
        append(&mut contents, 0..40);
        assert_eq!(contents.cached_from(), 0);
        contents.settle(3);
        assert_eq!(contents.cached_from(), 3);
        contents.settle(40);
        assert_eq!(contents.cached_from(), 25);
        // Others take the place of durable ones.
        contents.truncate(10, Some(id(9)));
        assert_eq!((contents.cached_from(), contents.cache_bytes), (10, 0));
        append(&mut contents, 10..40);
        contents.settle(12);
        assert_eq!(contents.cached_from(), 12);
        contents.purge(id(20));
        assert_eq!(contents.cached_from(), 21);
        assert_eq!(contents.cached(5..23, usize::MAX).len(), 2);
        contents.purge(id(50));
        assert_eq!((contents.cached_from(), contents.next(), contents.cache_bytes), (51, 51, 0));
    }
}

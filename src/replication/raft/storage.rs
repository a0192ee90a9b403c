//! What the groups of a server are kept on: one log for all of them, and a file for each snapshot.
//!
//! The log's thread turns the work of all groups that waits into records, and syncs them together.
//! An entry is a [`Record::Append`], the rest are small values in registers, which are written anew
//! with each change: the vote, the last committed and the last purged entry. Bytes on disk are the
//! encodings of [`wire`](super::wire), never those of the library.
//!
//! | register | value |
//! |---|---|
//! | [`VOTE`] | the vote |
//! | [`COMMITTED`] | the last entry known to be committed |
//! | [`PURGED`] | the last entry that was purged |
//! | [`HOSTED`] | whether this server holds the group, and the last entry that it had when it gave it up |
//!
//! A replica that a server gives up leaves behind its vote and the id of its last entry, the
//! *floor*. If the server is to hold the group again, it begins with that vote, and neither stands
//! nor votes before its log has reached the floor: else it would vote as if it had never seen what it
//! had acknowledged, and an old leader that has not heard of the change could be elected with it.
//!
//! A full disk is no failure: what is to be written waits, unacknowledged, until there is room. To
//! the other replicas that is a slow disk. Any other failure of a write or a sync stops the log, and
//! with it the groups, for good.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

use openraft::type_config::alias::{LogIdOf, VoteOf};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Types;
use super::failure::Failure;
use super::group_log::{Contents, lock};
use super::room::{Need, Room};
use super::snapshot::{self, SnapshotFolder};
use super::wire::{WireEntry, WireLogId, WireVote};
use crate::log::{
    Batch, Committer, Damage, Disk, Log, LogError, LogOptions, LogReader, LogStats, MemoryDisk,
    Recovered, WhenFull,
};
use crate::replication::GroupId;
use crate::replication::message;
use crate::replication::promise::Standing;

/// The register of the vote.
pub(super) const VOTE: usize = 0;
/// The register of the last committed entry's id.
pub(super) const COMMITTED: usize = 1;
/// The register of the last purged entry's id.
pub(super) const PURGED: usize = 2;
/// The register of a [`Hosted`].
pub(super) const HOSTED: usize = 3;

/// What the log knows of a group besides its entries and its vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hosted {
    /// Whether this server holds the group.
    pub(super) held: bool,
    /// The last entry that it had when it gave the group up, if it ever did.
    pub(super) floor: Option<WireLogId>,
}

impl Hosted {
    fn record(self) -> Record {
        Record::Set { register: HOSTED, value: message::encode(&self) }
    }
}

/// A group with more segments of the log behind its oldest entry than this has to snapshot.
const SEGMENTS_MAX: usize = 8;

/// What the groups of a server keep their logs and snapshots on; clones share it.
#[derive(Clone)]
pub(crate) struct Storage(Arc<Shared>);

struct Shared {
    /// The place of the disk, for messages.
    location: String,
    /// Whether there is a log on the disk; entries are kept in memory alone otherwise.
    durable: bool,
    /// None once it is closed.
    open: RwLock<Option<Open>>,
    groups: Groups,
    /// The groups that have a replica here. A second one would vote in the same name.
    running: Mutex<BTreeSet<GroupId>>,
    failure: Failure,
    room: Room,
}

type Groups = Mutex<BTreeMap<GroupId, Arc<Mutex<Contents>>>>;

/// What holds the disk.
#[derive(Clone)]
struct Open {
    disk: Arc<dyn Disk>,
    log: Option<Log<RaftWork>>,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("disk", &self.0.location).finish_non_exhaustive()
    }
}

impl Storage {
    /// Keeps everything in memory: what a server that was stopped had, is gone.
    pub(crate) fn in_memory() -> Self {
        let disk = Arc::new(MemoryDisk::new());
        let room = Room::new(&disk.location());
        Self::new(Open { disk, log: None }, Mutex::default(), Failure::none(), room)
    }

    /// Recovers what `disk` has, and starts the thread that writes to it. Blocks until that is read.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the log cannot be read or written. A server whose log is
    /// [damaged](LogError::Corrupt) must not vote: it has to come back as a new one.
    pub(crate) fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, LogError> {
        let options = LogOptions { when_full: WhenFull::Wait, ..options };
        let recovered = Recovered::open(Arc::clone(&disk), options)?;
        snapshot::remove_unfinished(&*disk)?;
        let groups = recovered.groups().into_iter();
        let groups = groups.map(|group| {
            let contents = recover(&recovered, group, &*disk)?;
            Ok((GroupId(group), Arc::new(Mutex::new(contents))))
        });
        let groups = Mutex::new(groups.collect::<Result<_, LogError>>()?);
        let failure = Failure::none();
        let location = disk.location();
        let room = Room::new(&location);
        let committer = RaftCommitter {
            staged: Vec::new(),
            given_up: None,
            failure: failure.clone(),
            room: room.clone(),
            location,
        };
        let log = Some(recovered.start(committer)?);
        Ok(Self::new(Open { disk, log }, groups, failure, room))
    }

    fn new(open: Open, groups: Groups, failure: Failure, room: Room) -> Self {
        let (location, durable) = (open.disk.location(), open.log.is_some());
        let open = RwLock::new(Some(open));
        let running = Mutex::default();
        Self(Arc::new(Shared { location, durable, open, groups, running, failure, room }))
    }

    /// The groups that this server holds, which are to be started again.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        let contents = self.contents();
        contents
            .iter()
            .filter(|(_, contents)| lock(contents).is_held())
            .map(|(id, _)| *id)
            .collect()
    }

    /// The state of the replicas, also of those that the server gave up.
    pub(crate) fn standings(&self) -> Vec<Standing> {
        let contents = self.contents();
        contents.iter().map(|(id, contents)| lock(contents).standing(*id)).collect()
    }

    /// Notes that this server holds a group; returns once the note is durable, which waits until
    /// there [is room](Storage::has_room).
    ///
    /// # Errors
    ///
    /// [`LogError`] if the log has stopped.
    pub(crate) async fn create_group(&self, id: GroupId) -> Result<(), LogError> {
        let known = self.contents().get(&id).cloned();
        let hosted = match known.as_ref().map(|contents| lock(contents)) {
            Some(contents) if contents.is_held() => return Ok(()),
            Some(contents) => {
                Hosted { held: true, floor: contents.floor().as_ref().map(Into::into) }
            }
            None => Hosted { held: true, floor: None },
        };
        self.write(id, vec![hosted.record()], |()| {}).await?;
        lock(&self.group(id)).hold();
        Ok(())
    }

    /// Gives up a group, whose replica has stopped: its entries go, its vote and its floor stay.
    /// Returns once that is durable.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the log has stopped.
    pub(crate) async fn drop_group(&self, id: GroupId) -> Result<(), LogError> {
        let given_up = lock(&self.group(id)).given_up();
        let hosted = Hosted { held: false, floor: given_up.floor().as_ref().map(Into::into) };
        let vote = given_up.vote().map(|vote| WireVote::from(&vote));
        let vote = vote.map(|vote| Record::Set { register: VOTE, value: message::encode(&vote) });
        let records = [Record::Drop, hosted.record()].into_iter().chain(vote).collect();
        self.write(id, records, |()| {}).await?;
        self.contents().insert(id, Arc::new(Mutex::new(given_up)));
        // Without the log they are of no use, and of no harm.
        SnapshotFolder::new(self.clone(), id).discard_all();
        Ok(())
    }

    /// Begins a group that this server does not hold with a vote, so that its first term comes after
    /// that of its snapshot. Returns once that is durable.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the log has stopped.
    pub(super) async fn create_group_with(
        &self,
        id: GroupId,
        vote: VoteOf<Types>,
    ) -> Result<(), LogError> {
        let hosted = Hosted { held: true, floor: None };
        let value = message::encode(&WireVote::from(&vote));
        let records = vec![hosted.record(), Record::Set { register: VOTE, value }];
        self.write(id, records, |()| {}).await?;
        lock(&self.group(id)).begin_with(vote);
        Ok(())
    }

    /// Whether entries of `bytes` in all find room on the disk. Always so in memory.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.log().is_none_or(|log| log.has_room(bytes))
    }

    /// The work for which the disk has no room.
    pub(crate) fn room(&self) -> &Room {
        &self.0.room
    }

    /// The reason why the server cannot go on: the log stopped or is damaged, or a task has failed.
    pub(crate) fn failure(&self) -> &Failure {
        &self.0.failure
    }

    /// Counters of the log; zeros in memory.
    pub(crate) fn stats(&self) -> LogStats {
        self.log().as_ref().map(Log::stats).unwrap_or_default()
    }

    /// Writes and syncs what is queued, ends the thread that writes, and lets go of the disk. Blocks
    /// until then. The groups have to be stopped before: what they write later is refused.
    pub(crate) fn close(&self) {
        if self.is_durable() {
            tracing::info!(stats = ?self.stats(), "closing the log");
        }
        let open = self.0.open.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(log) = open.and_then(|open| open.log) {
            log.close();
        }
    }

    /// Lets a replica of a group run here; false if one does.
    pub(super) fn begin(&self, id: GroupId) -> bool {
        self.running().insert(id)
    }

    /// Lets another replica of a group run here, now that the one before has stopped.
    pub(super) fn end(&self, id: GroupId) {
        self.running().remove(&id);
    }

    fn running(&self) -> MutexGuard<'_, BTreeSet<GroupId>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds the snapshots.
    ///
    /// # Errors
    ///
    /// [`LogError::Stopped`] once it is closed.
    pub(crate) fn disk(&self) -> Result<Arc<dyn Disk>, LogError> {
        let open = self.0.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(|open| Arc::clone(&open.disk)).ok_or_else(|| self.closed())
    }

    /// The place of the disk, for messages.
    pub(super) fn location(&self) -> &str {
        &self.0.location
    }

    /// The log, if there is one and it is open.
    fn log(&self) -> Option<Log<RaftWork>> {
        let open = self.0.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().and_then(|open| open.log.clone())
    }

    /// What the log has of a group, which is begun if there is nothing.
    pub(super) fn group(&self, id: GroupId) -> Arc<Mutex<Contents>> {
        Arc::clone(self.contents().entry(id).or_default())
    }

    /// The last entry of a group that was purged.
    pub(super) fn purged(&self, id: GroupId) -> Option<LogIdOf<Types>> {
        lock(&self.group(id)).purged()
    }

    /// Whether entries are on a disk.
    pub(crate) fn is_durable(&self) -> bool {
        self.0.durable
    }

    /// Reads what is durable; `None` if nothing is, or the log is closed.
    pub(super) fn reader(&self) -> Option<LogReader> {
        self.log().as_ref().map(Log::reader)
    }

    /// Whether the group keeps many segments of the log from being deleted.
    pub(super) fn is_lagging(&self, id: GroupId) -> bool {
        self.log().is_some_and(|log| log.lagging(SEGMENTS_MAX).contains(&id.0))
    }

    /// Writes records of a group with the next sync, without waiting for it.
    pub(super) fn write_lazily(&self, group: GroupId, records: Vec<Record>) {
        self.queue(RaftWork { group, records, done: None });
    }

    /// Writes records of a group; calls `done` once they are durable or never will be, in the order
    /// of the calls.
    pub(super) fn write_then(
        &self,
        group: GroupId,
        records: Vec<Record>,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) {
        self.queue(RaftWork { group, records, done: Some(Box::new(done)) });
    }

    /// Writes records of a group, and calls `then` and returns once they are durable.
    pub(super) async fn write(
        &self,
        group: GroupId,
        records: Vec<Record>,
        then: impl FnOnce(()) + Send + 'static,
    ) -> Result<(), LogError> {
        let (sender, receiver) = oneshot::channel();
        self.write_then(group, records, move |outcome| {
            // Whoever waited may have been stopped.
            let _ = sender.send(outcome.map(then));
        });
        receiver.await.unwrap_or_else(|_| Err(self.closed()))
    }

    fn queue(&self, work: RaftWork) {
        let unsent = match self.log() {
            Some(log) => log.send(work),
            None => Err(work),
        };
        if let Err(work) = unsent {
            work.finish(if self.is_durable() { Err(self.closed()) } else { Ok(()) });
        }
    }

    /// The error of whatever comes too late.
    pub(super) fn closed(&self) -> LogError {
        let closed = LogError::Io {
            operation: "write to the closed log in",
            file: self.0.location.clone(),
            source: Arc::new(io::ErrorKind::BrokenPipe.into()),
        };
        LogError::Stopped(Arc::new(closed))
    }

    fn contents(&self) -> MutexGuard<'_, BTreeMap<GroupId, Arc<Mutex<Contents>>>> {
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be written of a group.
#[derive(Debug)]
pub(super) enum Record {
    /// An encoded entry.
    Append { index: u64, payload: Vec<u8> },
    /// The entries from this index on are gone.
    Truncate(u64),
    /// The entries before this index are gone.
    Purge(u64),
    /// A value of a register.
    Set { register: usize, value: Vec<u8> },
    /// All of the group is gone, registers included.
    Drop,
}

/// Records of one group, and whom to tell once they are durable. They are synced only if there is
/// somebody to tell.
struct RaftWork {
    group: GroupId,
    records: Vec<Record>,
    done: Option<Done>,
}

type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

impl RaftWork {
    fn finish(self, outcome: Result<(), LogError>) {
        if let Some(done) = self.done {
            done(outcome);
        }
    }
}

/// Turns work into records, on the log's thread.
struct RaftCommitter {
    /// Those who wait for what was staged.
    staged: Vec<Done>,
    /// The reason why a batch was given up. Later records would not follow those on the disk.
    given_up: Option<LogError>,
    failure: Failure,
    room: Room,
    location: String,
}

impl Drop for RaftCommitter {
    fn drop(&mut self) {
        if thread::panicking() {
            let source = Arc::new(io::Error::other("the thread that writes has panicked"));
            let file = self.location.clone();
            self.failure.note(&LogError::Io { operation: "write to the log in", file, source });
        }
    }
}

impl Committer for RaftCommitter {
    type Work = RaftWork;

    fn stage(&mut self, work: RaftWork, batch: &mut Batch) {
        if let Some(error) = &self.given_up {
            return work.finish(Err(error.clone()));
        }
        let group = work.group.0;
        for record in &work.records {
            match record {
                Record::Append { index, payload } => batch.append(group, *index, payload),
                Record::Truncate(from) => batch.truncate(group, *from),
                Record::Purge(before) => batch.purge(group, *before),
                Record::Set { register, value } => batch.set(group, *register, value),
                Record::Drop => batch.drop_group(group),
            }
        }
        if let Some(done) = work.done {
            batch.sync();
            self.staged.push(done);
        }
    }

    fn settle(&mut self, outcome: Result<(), &LogError>) {
        match outcome {
            Ok(()) => {}
            // The log was closed while it waited for room.
            Err(error @ LogError::Full { .. }) => self.given_up = Some(error.clone()),
            Err(error) => self.failure.note(error),
        }
        for done in self.staged.drain(..) {
            done(outcome.map_err(Clone::clone));
        }
    }

    fn room_changed(&mut self, full: bool) {
        if full {
            self.room.lacks(Need::Log);
        } else {
            self.room.found(Need::Log);
        }
    }
}

/// What was found of a group at the start.
fn recover(recovered: &Recovered, group: u32, disk: &dyn Disk) -> Result<Contents, LogError> {
    let vote: Option<WireVote> = register(recovered, group, VOTE, disk)?;
    let committed: Option<Option<WireLogId>> = register(recovered, group, COMMITTED, disk)?;
    let purged: Option<WireLogId> = register(recovered, group, PURGED, disk)?;
    let hosted: Option<Hosted> = register(recovered, group, HOSTED, disk)?;
    let hosted = hosted.unwrap_or_default();
    let indices = recovered.indices(group);
    if indices.start != purged.as_ref().map_or(0, WireLogId::next) {
        return Err(contradiction(&disk.location(), Damage::Missing));
    }
    let last = match indices.clone().next_back() {
        None => purged,
        Some(last) => {
            let entries = recovered.reader().read(group, last..last + 1, 1)?;
            let entry = entries.first().and_then(|(_, entry)| message::decode(entry).ok());
            let entry: WireEntry =
                entry.ok_or_else(|| contradiction(&disk.location(), Damage::Malformed))?;
            Some(entry.id())
        }
    };
    Ok(Contents::recovered(hosted, vote, committed.flatten(), purged, last))
}

/// The value of a register.
fn register<T: DeserializeOwned>(
    recovered: &Recovered,
    group: u32,
    register: usize,
    disk: &dyn Disk,
) -> Result<Option<T>, LogError> {
    let value = recovered.register(group, register);
    let value = value.map(|value| message::decode(&value)).transpose();
    value.map_err(|_| contradiction(&disk.location(), Damage::Malformed))
}

/// The log as a whole is not what this module writes.
pub(super) fn contradiction(location: &str, damage: Damage) -> LogError {
    LogError::Corrupt { file: location.to_owned(), offset: 0, damage }
}

//! One replica of one group, on openraft. Nothing outside this module and its children names
//! openraft, and none of its types reaches a public signature, a frame or a disk: messages and
//! entries have encodings of our own ([`wire`]), so that an upgrade of the library cannot change
//! what is stored or sent.
//!
//! A group is a replicated log with a [`StateMachine`] at its end. Votes, commitment, read barriers
//! and elections are openraft's; the log's storage, the state and the network are ours:
//!
//! | part | module |
//! |---|---|
//! | one log for the groups of a server, on disk or in memory | [`storage`] |
//! | entries and votes of a group | [`group_log`] |
//! | the state, and what has been applied | [`machine`] |
//! | files of snapshots, written here or arriving | [`snapshot`] |
//! | when to make a snapshot | [`keeper`] |
//! | who votes | [`members`] |
//! | going on without a majority | [`recover`] |
//! | whether the disk is full | [`room`] |
//! | requests to the other replicas, over a transport | [`network`] |
//! | tasks and data that the server cannot go on without | [`failure`] |
//! | what a replica tells of itself | [`status`] |
//! | the encoding of messages | [`wire`] |
//!
//! Two facts shape the callers. A leader by name need not be ready: just after an election it
//! refuses proposals without naming another, so callers try again after a pause. And a proposal
//! has no time limit of its own: it may be applied long after its caller gave up, which is why
//! [`Group::propose`] tells [`GroupError::Unknown`] from a refusal.
//!
//! Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), with
//! pre-vote and leadership transfer from Ongaro's thesis (sections 9.6 and 3.10), and reads by read
//! index (section 6.4).

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::error::{ClientWriteError, Fatal, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::{Raft, ReadPolicy, SnapshotPolicy};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::log::{LogError, SnapshotReader, SnapshotWriter};
use crate::replication::message::Position;
use crate::replication::peers::Peers;
use crate::replication::{ClusterId, DecodeError, GroupId, ServerId};
use crate::transport::Transport;

mod failure;
mod group_log;
#[cfg(test)]
pub(in crate::replication) mod hostile;
mod keeper;
mod machine;
mod members;
mod network;
mod recover;
mod room;
mod snapshot;
mod status;
mod storage;
#[cfg(test)]
mod tests;
mod wire;

pub use failure::ServerFailure;
use group_log::GroupLog;
use machine::Machine;
pub(crate) use members::Arranged;
use network::Network;
pub(crate) use room::Need;
pub(crate) use snapshot::is_snapshot;
pub(crate) use storage::Storage;

/// A deterministic state machine at the end of a group's log. A snapshot is made of a clone, which
/// has to be cheap, while the original goes on.
pub(crate) trait StateMachine: Clone + Default + fmt::Debug + Send + Sync + 'static {
    /// Applies the entry at `index` and gives the response for its proposer. Every replica gets
    /// the same entries in the same order, and has to come to the same state and response: no
    /// clock, no randomness, no failure.
    fn apply(&mut self, index: u64, payload: &[u8]) -> Vec<u8>;

    /// Writes the state as items of a snapshot.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn write_to<W: Write>(&self, out: &mut SnapshotWriter<W>) -> io::Result<()>;

    /// Reads what [`StateMachine::write_to`] wrote, up to the last item. Another server may have
    /// sent it.
    ///
    /// # Errors
    ///
    /// [`LogError`] if it cannot be read, or is no state.
    fn read_from<R: Read>(input: &mut SnapshotReader<R>) -> Result<Self, LogError>;
}

/// What an entry of a log carries; opaque to the consensus. Shared, since an entry is kept in the
/// log while it is sent to several replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Arc<[u8]>);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

openraft::declare_raft_types!(
    /// The types of every group.
    pub(crate) Types:
        D = Payload,
        R = Vec<u8>,
        NodeId = u64,
        Node = (),
        AsyncRuntime = failure::Runtime,
);

/// How long elections and heartbeats take. The defaults suit servers on one network: a leader that
/// died is replaced within two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader tells its followers that it lives.
    pub heartbeat: Duration,
    /// A follower that has heard nothing for a random time between these two stands for election.
    pub election_min: Duration,
    /// See `election_min`. Also how long a leader believes in itself without hearing from a
    /// majority.
    pub election_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// Whether elections can work: followers have to hear several heartbeats before they stand.
    pub(crate) fn is_valid(&self) -> bool {
        let heartbeat = self.heartbeat >= Duration::from_millis(1);
        heartbeat
            && self.heartbeat * 2 <= self.election_min
            && self.election_min < self.election_max
    }
}

/// What the groups of a server have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) timing: Timing,
    /// Entries after which a snapshot is made.
    pub(crate) snapshot_entries: u64,
}

/// Entries after which a snapshot is made and the log before it is dropped, by default.
pub(crate) const SNAPSHOT_ENTRIES: u64 = 5_000;

/// The longest snapshot that is taken from another replica: 1 TiB. All of its state is in memory.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 40;

/// How long another replica may take to install a snapshot that has arrived.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a group did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum GroupError {
    /// Another replica leads, if any does. Nothing was proposed.
    #[error("this replica does not lead the group")]
    NotLeader(Option<ServerId>),
    /// No majority answered in time, or the leader changed meanwhile. What was proposed may still
    /// be applied.
    #[error("what became of the proposal is not known")]
    Unknown,
    /// The group has stopped on this server, by request or after a failure.
    #[error("the group has stopped")]
    Stopped,
    /// What is stored of the group cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// One replica of a group, on this server.
pub(crate) struct Group<S: StateMachine> {
    id: GroupId,
    raft: Raft<Types, Machine<S>>,
    machine: Machine<S>,
    log: GroupLog,
    storage: Storage,
    keeper: Arc<Mutex<Option<JoinHandle<()>>>>,
    /// Held while the voters are changed.
    arranging: Arc<tokio::sync::Mutex<()>>,
}

impl<S: StateMachine> Clone for Group<S> {
    fn clone(&self) -> Self {
        let (raft, machine, log) = (self.raft.clone(), self.machine.clone(), self.log.clone());
        let (storage, keeper) = (self.storage.clone(), Arc::clone(&self.keeper));
        let arranging = Arc::clone(&self.arranging);
        Self { id: self.id, raft, machine, log, storage, keeper, arranging }
    }
}

impl<S: StateMachine> fmt::Debug for Group<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<S: StateMachine> Group<S> {
    /// Starts the replica of group `id` on the server that `peers` names, from what `storage` has of
    /// it: nothing at first.
    ///
    /// # Errors
    ///
    /// [`GroupError::Log`] if what is stored cannot be read or contradicts itself,
    /// [`GroupError::Stopped`] if openraft refuses to start, or a replica of the group runs on
    /// `storage` already.
    pub(crate) async fn start<T: Transport>(
        id: GroupId,
        cluster: ClusterId,
        peers: Arc<Peers<T>>,
        settings: Settings,
        storage: &Storage,
    ) -> Result<Self, GroupError> {
        if !storage.begin(id) {
            tracing::error!(group = %id, "a second replica was to be started here");
            return Err(GroupError::Stopped);
        }
        let started = Self::start_only(id, cluster, peers, settings, storage).await;
        started.inspect_err(|_| storage.end(id))
    }

    async fn start_only<T: Transport>(
        id: GroupId,
        cluster: ClusterId,
        peers: Arc<Peers<T>>,
        settings: Settings,
        storage: &Storage,
    ) -> Result<Self, GroupError> {
        let Settings { timing, snapshot_entries } = settings;
        // Entries that stay in the log behind a snapshot, for followers that lag a little.
        let kept = snapshot_entries / 4;
        let config = openraft::Config {
            cluster_name: id.to_string(),
            heartbeat_interval: millis(timing.heartbeat),
            election_timeout_min: millis(timing.election_min),
            election_timeout_max: millis(timing.election_max),
            install_snapshot_timeout: millis(SNAPSHOT_TIMEOUT),
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: kept,
            replication_lag_threshold: snapshot_entries + kept,
            enable_pre_vote: Some(true),
            // A leader that was restored at once would take what it knew to be committed for all that
            // is, and answer reads without the last writes that it acknowledged.
            enable_leader_restore: Some(cfg!(triekv_planted = "leader_restored")),
            ..openraft::Config::default()
        };
        let config = Arc::new(config.validate().map_err(|_| GroupError::Stopped)?);
        let opened = storage.clone();
        let opening = tokio::task::spawn_blocking(move || Machine::open(id, &opened));
        let machine = opening.await.map_err(|_| GroupError::Stopped)??;
        let server = peers.server();
        let network = Network::new(peers, cluster, id);
        let log = GroupLog::new(id, storage);
        let failure = storage.failure();
        let raft = Raft::new(server.0, config, network, log.clone(), machine.clone());
        let raft = failure::watched(failure, format!("the consensus of {id}"), raft).await;
        let raft = raft.map_err(|error| {
            tracing::error!(group = %id, %error, "cannot start");
            GroupError::Stopped
        })?;
        let (storage, keeper, arranging) = (storage.clone(), Arc::default(), Arc::default());
        let group = Self { id, raft, machine, log, storage, keeper, arranging };
        if group.log.is_below_floor() {
            group.raft.runtime_config().elect(false);
            let standing = group.clone().stand_once_at_floor();
            failure.spawn(format!("the return of {id}"), standing);
        }
        failure.spawn(format!("the watch over {id}"), group.clone().report_leaders());
        let keeper = keeper::keep(group.clone(), snapshot_entries);
        let keeper = failure.spawn(format!("the snapshots of {id}"), keeper);
        *group.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        group.stand_if_nobody_leads().await;
        Ok(group)
    }

    /// Lets the replica stand for election once its log has all that it had when this server gave it
    /// up before.
    async fn stand_once_at_floor(self) {
        let mut metrics = self.raft.metrics();
        while self.log.is_below_floor() {
            if metrics.changed().await.is_err() {
                return;
            }
        }
        self.raft.runtime_config().elect(true);
    }

    /// Stands for election at once if the replica has a log: after a stop of the whole group nobody
    /// leads, and there is no reason to wait. The pre-vote keeps a leader that there is.
    async fn stand_if_nobody_leads(&self) {
        let me = *self.raft.node_id();
        let votes = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().voter_ids().any(|voter| voter == me)
        };
        if votes && !self.log.is_below_floor() {
            // A replica that has stopped shows it in whatever it is asked next.
            let _ = self.raft.trigger().elect(true).await;
        }
    }

    /// Begins the group's log with these voters, unless it has begun. The same voters have to be
    /// given wherever this is called for a group.
    pub(crate) async fn initialize(&self, voters: &[ServerId]) -> Result<(), GroupError> {
        let members: BTreeSet<u64> = voters.iter().map(|server| server.0).collect();
        match self.raft.initialize(members).await {
            // A log that has begun is what was asked for.
            Ok(()) | Err(RaftError::APIError(_)) => Ok(()),
            Err(RaftError::Fatal(_)) => Err(GroupError::Stopped),
        }
    }

    /// Waits until the first entry of the log, which names the voters, is committed: from then on no
    /// crash makes it a log that has not begun.
    ///
    /// # Errors
    ///
    /// [`GroupError::Unknown`] at the deadline, [`GroupError::Stopped`] if the replica stops.
    pub(crate) async fn begun(&self, deadline: Instant) -> Result<(), GroupError> {
        let mut metrics = self.raft.metrics();
        let begun = async {
            while metrics.borrow_watched().last_applied.is_none() {
                metrics.changed().await.map_err(|_| GroupError::Stopped)?;
            }
            Ok(())
        };
        tokio::time::timeout_at(deadline, begun).await.unwrap_or(Err(GroupError::Unknown))
    }

    /// Proposes an entry and waits until it is committed and applied here; gives what the state
    /// machine answered.
    ///
    /// # Errors
    ///
    /// [`GroupError`]; only after [`GroupError::Unknown`] may the entry still be applied.
    pub(crate) async fn propose(
        &self,
        payload: Vec<u8>,
        deadline: Instant,
    ) -> Result<Vec<u8>, GroupError> {
        let write = self.raft.client_write(Payload(payload.into()));
        match tokio::time::timeout_at(deadline, write).await {
            Ok(Ok(response)) => Ok(response.data),
            // It may have been sent to others before the group stopped.
            Err(_) | Ok(Err(RaftError::Fatal(_))) => Err(GroupError::Unknown),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(not_leader(&forward))
            }
            // This replica dropped the entry for another leader's log; others may have kept it.
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                Err(GroupError::Unknown)
            }
            // These cannot come of a plain write.
            Ok(Err(RaftError::APIError(
                ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_),
            ))) => Err(GroupError::NotLeader(None)),
        }
    }

    /// Waits until this replica has applied every write that was acknowledged before the call, and
    /// is sure that it led when it was made.
    pub(crate) async fn read_barrier(&self, deadline: Instant) -> Result<(), GroupError> {
        let barrier = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match tokio::time::timeout_at(deadline, barrier).await {
            Err(_) => Err(GroupError::Unknown),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::Fatal(_))) => Err(GroupError::Stopped),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(not_leader(&forward))
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                Err(GroupError::NotLeader(None))
            }
        }
    }

    /// The state as applied so far, and how far that is. Nothing is applied while it is held.
    pub(crate) fn applied(&self) -> Applied<'_, S> {
        Applied { guard: self.machine.read() }
    }

    /// Answers a message of another replica of this group.
    pub(crate) async fn answer(&self, message: &[u8]) -> Result<Vec<u8>, DecodeError> {
        wire::answer(&self.raft, &self.machine, &self.log, message).await
    }

    /// The leader as this replica sees it.
    pub(crate) fn leader(&self) -> Option<ServerId> {
        self.raft.metrics().borrow_watched().current_leader.map(ServerId)
    }

    /// Waits until the leader, as this replica sees it, is another one than `known`.
    ///
    /// # Errors
    ///
    /// [`GroupError::Stopped`] once nothing changes any more.
    pub(crate) async fn leader_changed(
        &self,
        known: Option<ServerId>,
    ) -> Result<Option<ServerId>, GroupError> {
        let mut metrics = self.raft.metrics();
        loop {
            let leader = metrics.borrow_watched().current_leader.map(ServerId);
            if leader != known {
                return Ok(leader);
            }
            metrics.changed().await.map_err(|_| GroupError::Stopped)?;
        }
    }

    /// Tells the log who leads in which term, whenever that changes, until the replica stops. Notes
    /// it as a failure of the server if nobody has asked it to.
    async fn report_leaders(self) {
        let (group, me) = (self.id, ServerId(*self.raft.node_id()));
        let mut metrics = self.raft.metrics();
        let mut known = None;
        loop {
            let (leader, term, running) = {
                let metrics = metrics.borrow_watched();
                let running = metrics.running_state.clone();
                (metrics.current_leader.map(ServerId), metrics.current_term, running)
            };
            match running {
                Ok(()) => {}
                Err(Fatal::Stopped) => break,
                Err(error @ (Fatal::Panicked | Fatal::StorageError(_))) => {
                    self.storage.failure().note_task(format!("the consensus of {group}"));
                    tracing::error!(%group, %error, "the consensus has failed");
                    break;
                }
            }
            // A term without a leader is no news.
            let led = leader.map(|leader| (leader, term));
            if known != Some(led) {
                match leader {
                    Some(leader) if leader == me => {
                        tracing::info!(%group, server = %me, term, "leads");
                    }
                    Some(leader) => tracing::info!(%group, %leader, term, "follows"),
                    None if known.is_some() => tracing::info!(%group, "has no leader"),
                    None => {}
                }
                known = Some(led);
            }
            if metrics.changed().await.is_err() {
                // It tells that it stops before it does, unless it panics.
                self.storage.failure().note_task(format!("the consensus of {group}"));
                break;
            }
        }
        tracing::info!(%group, "stopped");
    }

    /// Has this replica, if it leads, send a server what it lacks, although that one acknowledged more
    /// before.
    pub(crate) async fn allow_reversion_of(&self, server: ServerId) {
        // A group that has stopped sends nothing.
        let _ = self.raft.trigger().allow_next_revert(&server.0, true).await;
    }

    /// Hands leadership to another voter, if this replica leads: to the one heard from last.
    /// Returns once another leads, or at the deadline.
    pub(crate) async fn hand_over(&self, deadline: Instant) {
        let me = ServerId(*self.raft.node_id());
        let heir = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            if metrics.current_leader != Some(me.0) {
                return;
            }
            let heartbeats = metrics.heartbeat.as_ref();
            heartbeats.and_then(|heard| {
                let followers = heard.iter().filter(|(id, at)| **id != me.0 && at.is_some());
                followers.max_by_key(|(_, at)| **at).map(|(id, _)| *id)
            })
        };
        let Some(heir) = heir else { return };
        if self.raft.trigger().transfer_leader(heir).await.is_ok() {
            let _ = tokio::time::timeout_at(deadline, self.leader_changed(Some(me))).await;
        }
    }

    /// Writes a snapshot of the state as it is now, while entries are applied, puts it in the place of
    /// the one before, and drops the entries that it covers. False if nothing was applied since the
    /// last one.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the file cannot be written; the snapshot before it stays then.
    pub(crate) async fn snapshot(&self) -> Result<bool, LogError> {
        let machine = self.machine.clone();
        let writing = tokio::task::spawn_blocking(move || machine.write_snapshot());
        let written = writing.await.unwrap_or_else(|error| {
            if error.is_panic() {
                self.storage.failure().note_task(format!("the snapshots of {}", self.id));
            }
            Ok(false)
        })?;
        if written {
            // A group that has stopped has no use for it before it starts again.
            let _ = self.raft.trigger().snapshot().await;
        }
        Ok(written)
    }

    /// Drops all entries that the newest snapshot covers.
    async fn purge_all(&self) {
        if let Some(last) = self.machine.newest() {
            // Nothing is dropped in a group that has stopped.
            let _ = self.raft.trigger().purge_log(last.index).await;
        }
    }

    /// Stops the replica's tasks, and a snapshot that is being written.
    pub(crate) async fn stop(&self) {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper {
            keeper.abort();
        }
        // A group that failed has stopped already.
        let _ = self.raft.shutdown().await;
        let machine = self.machine.clone();
        // It does not panic.
        let _ = tokio::task::spawn_blocking(move || machine.stop()).await;
        self.storage.end(self.id);
    }
}

/// The applied state of a replica, held still.
pub(crate) struct Applied<'a, S: StateMachine> {
    guard: RwLockReadGuard<'a, machine::State<S>>,
}

impl<S: StateMachine> Applied<'_, S> {
    /// The state.
    pub(crate) fn state(&self) -> &S {
        &self.guard.content
    }

    /// How far the log is applied in it.
    pub(crate) fn position(&self) -> Position {
        let last = self.guard.last.as_ref();
        last.map_or_else(Position::default, |id| Position {
            term: id.leader_id.term,
            index: id.index,
        })
    }
}

fn not_leader(forward: &ForwardToLeader<Types>) -> GroupError {
    GroupError::NotLeader(forward.leader_id.map(ServerId))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

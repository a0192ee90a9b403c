//! A server: replicas of groups, the requests to them, and the duties of group 0's leader.
//!
//! A server knows nothing at its start but its id. Brokers and group 0's leader tell it which
//! groups to hold. Answering requests is in [`dispatch`], founding and carrying out the map in
//! [`governor`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::replication::message::Refusal;
use crate::replication::meta::{ClusterMap, Meta};
use crate::replication::raft::{
    Group, Peers, SNAPSHOT_ENTRIES, Settings, StateMachine, Storage, Timing,
};
use crate::replication::shard::Shard;
use crate::replication::{ClusterId, GroupId, ServerId, ShardId};
use crate::transport::{Listener, Transport, TransportError};

mod dispatch;
mod governor;
#[cfg(test)]
mod hostile;

/// How long a clean stop waits for other servers to take over what this one leads.
const HAND_OVER_TIME: Duration = Duration::from_millis(500);

/// Why a server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The timing leaves no room for elections: followers have to hear at least two heartbeats
    /// before the shortest election time, which has to be below the longest.
    #[error(
        "heartbeats of {heartbeat:?} do not fit elections of {election_min:?} to {election_max:?}",
        heartbeat = .0.heartbeat,
        election_min = .0.election_min,
        election_max = .0.election_max
    )]
    Timing(Timing),
    /// It cannot listen at its address: another program does, or the machine does not have it.
    #[error("the server cannot listen")]
    Listen(#[source] TransportError),
}

/// How to start a [`Server`]: see [`Server::builder`].
#[derive(Debug)]
pub struct ServerBuilder<T> {
    transport: T,
    address: String,
    timing: Timing,
    snapshot_entries: u64,
}

impl<T: Transport> ServerBuilder<T> {
    /// Sets how long elections and heartbeats take. All servers of a cluster should agree.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Sets how many entries a log gathers before a snapshot is made and the log before it is
    /// dropped (a quarter of them stays); 5,000 unless this is called, and at least 1.
    #[must_use]
    pub fn snapshot_entries(mut self, entries: u64) -> Self {
        self.snapshot_entries = entries.max(1);
        self
    }

    /// Starts the server in the tokio runtime of the caller; returns once it listens.
    ///
    /// # Errors
    ///
    /// [`ServerError::Listen`] if the address cannot be had, [`ServerError::Timing`] if the timing
    /// cannot work.
    pub async fn start(self) -> Result<Server<T>, ServerError> {
        if !self.timing.is_valid() {
            return Err(ServerError::Timing(self.timing));
        }
        let id = ServerId(rand::random());
        let shared = Arc::new(Shared {
            peers: Arc::new(Peers::new(id, self.transport.clone())),
            settings: Settings { timing: self.timing, snapshot_entries: self.snapshot_entries },
            storage: Storage::in_memory(),
            stopped: AtomicBool::new(false),
            map: Mutex::default(),
            meta: RwLock::default(),
            shards: RwLock::default(),
            hosting: tokio::sync::Mutex::default(),
            meta_changed: Notify::new(),
            governor: Mutex::default(),
        });
        let handler = Arc::new(dispatch::Dispatch(Arc::clone(&shared)));
        let listener = self.transport.listen(&self.address, handler).await;
        let listener = listener.map_err(ServerError::Listen)?;
        tracing::info!(server = %id, address = listener.address(), "listening");
        let address = listener.address().to_owned();
        Ok(Server { shared, address, listener: Some(listener) })
    }
}

/// A server of a cluster, running in the caller's tokio runtime.
///
/// Dropping it stops it at once, as a crash would: what it leads has no leader until the others
/// have elected one. [`Server::stop`] hands over first.
pub struct Server<T: Transport> {
    shared: Arc<Shared<T>>,
    address: String,
    /// Taken by [`Server::stop`].
    listener: Option<Listener>,
}

impl<T: Transport> fmt::Debug for Server<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.shared.id();
        f.debug_struct("Server")
            .field("id", &id)
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

impl<T: Transport> Server<T> {
    /// A server that will listen at `address`, in the transport's terms.
    ///
    /// Anybody who can reach the address can read, write and take part: there is no
    /// authentication. Listen on a loopback or private address.
    pub fn builder(transport: T, address: impl Into<String>) -> ServerBuilder<T> {
        ServerBuilder {
            transport,
            address: address.into(),
            timing: Timing::default(),
            snapshot_entries: SNAPSHOT_ENTRIES,
        }
    }

    /// The server's id.
    pub fn id(&self) -> ServerId {
        self.shared.id()
    }

    /// Where it listens; with the port that was chosen, if port 0 was asked for.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Hands what it leads to other servers, waiting half a second at most, then stops.
    ///
    /// The logs are in memory, so its replicas are gone.
    pub async fn stop(mut self) {
        let deadline = Instant::now() + HAND_OVER_TIME;
        let (meta, shards) = self.shared.groups();
        let meta_done = join_all(meta.iter().map(|group| group.hand_over(deadline)));
        let shards_done = join_all(shards.iter().map(|group| group.hand_over(deadline)));
        tokio::join!(meta_done, shards_done);
        tracing::info!(server = %self.id(), address = self.address, "stopping");
        self.shared.stop_groups().await;
        if let Some(listener) = self.listener.take() {
            listener.close().await;
        }
    }
}

impl<T: Transport> Drop for Server<T> {
    fn drop(&mut self) {
        // The groups' tasks would go on voting for as long as somebody answers them. What is being
        // started sees the mark and stops itself.
        let shared = Arc::clone(&self.shared);
        shared.stopped.store(true, Ordering::SeqCst);
        shared.stop_governor();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shared.stop_groups().await });
        }
    }
}

/// What the tasks of a server share.
struct Shared<T> {
    peers: Arc<Peers<T>>,
    settings: Settings,
    storage: Storage,
    /// Set once, when the server is stopped or dropped: nothing is started from then on.
    stopped: AtomicBool,
    /// The newest plan or map that this server was told; a blank server has none.
    map: Mutex<Option<ClusterMap>>,
    meta: RwLock<Option<Group<Meta>>>,
    shards: RwLock<BTreeMap<ShardId, Group<Shard>>>,
    /// Held while a group is started, so that it is started once, and for one cluster.
    hosting: tokio::sync::Mutex<()>,
    /// Group 0 may have something to carry out.
    meta_changed: Notify,
    governor: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Transport> Shared<T> {
    fn id(&self) -> ServerId {
        self.peers.server()
    }

    fn map(&self) -> MutexGuard<'_, Option<ClusterMap>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta(&self) -> Option<Group<Meta>> {
        self.meta.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shard(&self, shard: ShardId) -> Option<Group<Shard>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(&shard).cloned()
    }

    fn groups(&self) -> (Option<Group<Meta>>, Vec<Group<Shard>>) {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        (self.meta(), shards.values().cloned().collect())
    }

    /// Takes over a newer map of the same cluster, or the first one. A founded cluster takes a
    /// server from a plan of which it has done nothing yet.
    fn adopt(&self, map: &ClusterMap) -> Result<(), Refusal> {
        if !map.is_planned() {
            return Err(Refusal::Malformed);
        }
        if !map.servers.contains_key(&self.id()) {
            return Err(Refusal::OtherServer);
        }
        let mut known = self.map();
        match &*known {
            Some(known) if known.cluster != map.cluster => {
                let superseded = known.epoch == 0 && map.epoch > 0 && self.meta().is_none();
                if !superseded {
                    return Err(Refusal::OtherCluster);
                }
            }
            Some(known) if known.epoch >= map.epoch => return Ok(()),
            _ => {}
        }
        *known = Some(map.clone());
        self.peers.addresses().update(&map.servers);
        Ok(())
    }

    /// Lets the cluster of `plan` have this server, if no other has it.
    async fn claim(&self, plan: &ClusterMap) -> Result<(), Refusal> {
        let _not_while_hosting = self.hosting.lock().await;
        self.adopt(plan)
    }

    /// Forgets the plan of `cluster`, unless something was done of it.
    async fn release(&self, cluster: ClusterId) {
        let _not_while_hosting = self.hosting.lock().await;
        let mut known = self.map();
        let idle = known.as_ref().is_some_and(|map| map.cluster == cluster && map.epoch == 0);
        if idle && self.meta().is_none() {
            *known = None;
        }
    }

    /// Holds a replica of `group`, and begins its log if `initialize`.
    async fn host(
        self: &Arc<Self>,
        map: &ClusterMap,
        group: GroupId,
        initialize: bool,
    ) -> Result<(), Refusal> {
        if !map.voters(group).contains(&self.id()) {
            return Err(Refusal::OtherServer);
        }
        let _one_at_a_time = self.hosting.lock().await;
        self.adopt(map)?;
        let voters = map.voters(group);
        let begun = match group.shard() {
            None => {
                let meta = match self.meta() {
                    Some(meta) => meta,
                    None => self.start_meta(map.cluster).await?,
                };
                if initialize { meta.initialize(voters).await } else { Ok(()) }
            }
            Some(shard) => {
                let replica = match self.shard(shard) {
                    Some(replica) => replica,
                    None => self.start_shard(map.cluster, shard).await?,
                };
                if initialize { replica.initialize(voters).await } else { Ok(()) }
            }
        };
        begun.map_err(|_| Refusal::Stopping)
    }

    async fn start_meta(self: &Arc<Self>, cluster: ClusterId) -> Result<Group<Meta>, Refusal> {
        let group = self.start_group(cluster, GroupId::META).await?;
        *self.meta.write().unwrap_or_else(PoisonError::into_inner) = Some(group.clone());
        self.start_governor(group.clone());
        self.unless_stopped(group).await
    }

    fn start_governor(self: &Arc<Self>, group: Group<Meta>) {
        let governor = tokio::spawn(governor::govern(Arc::clone(self), group));
        *self.governor.lock().unwrap_or_else(PoisonError::into_inner) = Some(governor);
    }

    async fn start_shard(
        &self,
        cluster: ClusterId,
        shard: ShardId,
    ) -> Result<Group<Shard>, Refusal> {
        let group = self.start_group(cluster, shard.into()).await?;
        let shards = self.shards.write();
        shards.unwrap_or_else(PoisonError::into_inner).insert(shard, group.clone());
        self.unless_stopped(group).await
    }

    async fn start_group<S: StateMachine>(
        &self,
        cluster: ClusterId,
        id: GroupId,
    ) -> Result<Group<S>, Refusal> {
        let (peers, storage) = (Arc::clone(&self.peers), &self.storage);
        let group = Group::start(id, cluster, peers, self.settings, storage).await;
        group.map_err(|_| Refusal::Stopping)
    }

    /// The group, which is among the server's by now, or a refusal: whoever stopped the server
    /// meanwhile may not have seen it.
    async fn unless_stopped<S: StateMachine>(&self, group: Group<S>) -> Result<Group<S>, Refusal> {
        if !self.stopped.load(Ordering::SeqCst) {
            return Ok(group);
        }
        self.stop_governor();
        group.stop().await;
        Err(Refusal::Stopping)
    }

    /// Stops everything that the server runs, for good.
    async fn stop_groups(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.stop_governor();
        let (meta, shards) = self.groups();
        let meta_done = join_all(meta.iter().map(Group::stop));
        let shards_done = join_all(shards.iter().map(Group::stop));
        tokio::join!(meta_done, shards_done);
    }

    fn stop_governor(&self) {
        if let Some(governor) = self.governor.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            governor.abort();
        }
    }
}

//! A server: replicas of groups, the requests to them, and the duties of group 0's leader.
//!
//! A server knows nothing at its start but its id. Brokers and group 0's leader tell it which
//! groups to hold. Answering requests is in [`dispatch`], founding and carrying out the map in
//! [`governor`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::replication::message::Refusal;
use crate::replication::meta::{ClusterMap, Meta};
use crate::replication::raft::{Group, GroupError, Peers, SNAPSHOT_ENTRIES, StateMachine, Timing};
use crate::replication::shard::Shard;
use crate::replication::{GroupId, ServerId, ShardId};
use crate::transport::{Listener, Transport, TransportError};

mod dispatch;
mod governor;

/// How long a clean stop waits for other servers to take over what this one leads.
const HAND_OVER_TIME: Duration = Duration::from_millis(500);

/// Why a server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
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
    /// [`ServerError::Listen`] if the address cannot be had.
    pub async fn start(self) -> Result<Server<T>, ServerError> {
        let id = ServerId(rand::random());
        let shared = Arc::new(Shared {
            peers: Arc::new(Peers::new(id, self.transport.clone())),
            timing: self.timing,
            snapshot_entries: self.snapshot_entries,
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
        Ok(Server { shared, listener })
    }
}

/// A server of a cluster, running in the caller's tokio runtime.
///
/// Dropping it stops it at once, as a crash would: what it leads has no leader until the others
/// have elected one. [`Server::stop`] hands over first.
pub struct Server<T: Transport> {
    shared: Arc<Shared<T>>,
    listener: Listener,
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
        self.listener.address()
    }

    /// Hands what it leads to other servers, waiting half a second at most, then stops.
    ///
    /// The logs are in memory, so its replicas are gone.
    pub async fn stop(self) {
        let deadline = Instant::now() + HAND_OVER_TIME;
        let (meta, shards) = self.shared.groups();
        let meta_done = join_all(meta.iter().map(|group| group.hand_over(deadline)));
        let shards_done = join_all(shards.iter().map(|group| group.hand_over(deadline)));
        tokio::join!(meta_done, shards_done);
        let Self { shared, listener } = &self;
        shared.stop_governor();
        tracing::info!(server = %shared.id(), address = listener.address(), "stopping");
        let meta_done = join_all(meta.iter().map(Group::stop));
        let shards_done = join_all(shards.iter().map(Group::stop));
        tokio::join!(meta_done, shards_done);
    }
}

impl<T: Transport> Drop for Server<T> {
    fn drop(&mut self) {
        // The governor's task holds the server's parts, which would otherwise live as long as it.
        self.shared.stop_governor();
        // And the groups' tasks would go on voting for as long as somebody answers them.
        let (meta, shards) = self.shared.groups();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                join_all(meta.iter().map(Group::stop)).await;
                join_all(shards.iter().map(Group::stop)).await;
            });
        }
    }
}

/// What the tasks of a server share.
struct Shared<T> {
    peers: Arc<Peers<T>>,
    timing: Timing,
    snapshot_entries: u64,
    /// The newest plan or map that this server was told; a blank server has none.
    map: Mutex<Option<ClusterMap>>,
    meta: RwLock<Option<Group<Meta>>>,
    shards: RwLock<BTreeMap<ShardId, Group<Shard>>>,
    /// Held while a group is started, so that it is started once.
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

    /// Takes over a newer map of the same cluster, or the first one.
    fn adopt(&self, map: &ClusterMap) -> Result<(), Refusal> {
        let mut known = self.map();
        match &*known {
            Some(known) if known.cluster != map.cluster => return Err(Refusal::OtherCluster),
            Some(known) if known.epoch >= map.epoch => {}
            _ => *known = Some(map.clone()),
        }
        self.peers.addresses().update(&map.servers);
        Ok(())
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
        self.adopt(map)?;
        let _one_at_a_time = self.hosting.lock().await;
        let voters = map.voters(group);
        let begun = match group.shard() {
            None => {
                let meta = match self.meta() {
                    Some(meta) => meta,
                    None => self.start_meta().await?,
                };
                if initialize { meta.initialize(voters).await } else { Ok(()) }
            }
            Some(shard) => {
                let replica = match self.shard(shard) {
                    Some(replica) => replica,
                    None => self.start_shard(shard).await?,
                };
                if initialize { replica.initialize(voters).await } else { Ok(()) }
            }
        };
        begun.map_err(|_| Refusal::Stopping)
    }

    async fn start_meta(self: &Arc<Self>) -> Result<Group<Meta>, Refusal> {
        let group = self.start_group(GroupId::META).await.map_err(|_| Refusal::Stopping)?;
        *self.meta.write().unwrap_or_else(PoisonError::into_inner) = Some(group.clone());
        self.start_governor(group.clone());
        Ok(group)
    }

    fn start_governor(self: &Arc<Self>, group: Group<Meta>) {
        let governor = tokio::spawn(governor::govern(Arc::clone(self), group));
        *self.governor.lock().unwrap_or_else(PoisonError::into_inner) = Some(governor);
    }

    async fn start_shard(&self, shard: ShardId) -> Result<Group<Shard>, Refusal> {
        let group = self.start_group(shard.into()).await.map_err(|_| Refusal::Stopping)?;
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        shards.insert(shard, group.clone());
        Ok(group)
    }

    async fn start_group<S: StateMachine>(&self, id: GroupId) -> Result<Group<S>, GroupError> {
        Group::start(id, Arc::clone(&self.peers), self.timing, self.snapshot_entries).await
    }

    fn stop_governor(&self) {
        if let Some(governor) = self.governor.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            governor.abort();
        }
    }
}

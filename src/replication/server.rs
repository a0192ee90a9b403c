//! A server: replicas of groups, the requests to them, and the duties of group 0's leader.
//!
//! A blank server knows nothing but its id. Brokers and group 0's leader tell it which groups to
//! hold. What it answers it keeps first: its id, the plan or map it was told, that it holds a group,
//! and the group's log. A server that starts on a disk that was used goes on from there by itself:
//! it starts the groups that it held, which catch up from the others.
//!
//! Answering requests is in [`dispatch`], founding and carrying out the map in [`governor`], what is
//! kept besides the log in [`metadata`], what it tells of itself in [`status`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::log::{Directory, Disk, LogError, LogOptions};
use crate::replication::message::Refusal;
use crate::replication::meta::{ClusterMap, Meta};
use crate::replication::raft::{
    Group, GroupError, Peers, SNAPSHOT_ENTRIES, Settings, StateMachine, Storage, Timing,
};
use crate::replication::shard::Shard;
use crate::replication::{ClusterId, GroupId, ServerId, ShardId};
use crate::transport::{Listener, Transport, TransportError};

mod dispatch;
mod governor;
#[cfg(test)]
mod hostile;
mod hosting;
mod metadata;
mod status;

use metadata::Metadata;

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
    /// Its data cannot be read or written: another server has the directory
    /// ([`LogError::Locked`]), the system refuses it, or it is damaged ([`LogError::Corrupt`]).
    ///
    /// A server must not go on with a part of what it had, since it would vote as if it had never
    /// seen the rest. So after damage, move the directory away and start again: that is a new,
    /// empty server with another id.
    #[error("the server's data cannot be used")]
    Data(#[source] LogError),
}

/// How to start a [`Server`]: see [`Server::builder`].
#[derive(Debug)]
pub struct ServerBuilder<T> {
    transport: T,
    address: String,
    place: Place,
    timing: Timing,
    snapshot_entries: u64,
}

/// Where a server keeps its data.
#[derive(Debug)]
enum Place {
    Memory,
    Directory(PathBuf),
    /// In a directory below this one, named by the server's address.
    Below(PathBuf),
    Disk(Arc<dyn Disk>),
}

impl Place {
    /// The disk, if it is not the memory. Blocks.
    fn open(self, address: &str) -> Result<Option<Arc<dyn Disk>>, LogError> {
        let directory = match self {
            Self::Memory => return Ok(None),
            Self::Disk(disk) => return Ok(Some(disk)),
            Self::Directory(path) => path,
            Self::Below(path) => path.join(directory_name(address)),
        };
        Ok(Some(Arc::new(Directory::open(directory)?)))
    }
}

/// `127.0.0.1-9000` for `127.0.0.1:9000`, `__1-9000` for `[::1]:9000`.
fn directory_name(address: &str) -> String {
    let plain = |part: &str| -> String {
        let part = part.trim_start_matches('[').trim_end_matches(']').chars();
        let kept = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
        part.map(|c| if kept(c) { c } else { '_' }).collect()
    };
    match address.rsplit_once(':') {
        Some((host, port)) => format!("{}-{}", plain(host), plain(port)),
        None => plain(address),
    }
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

    /// Keeps the server's data in the directory `path`, which is created if it is not there: the
    /// server goes on from what is in it, and is a new one if it is empty. Without this or
    /// [`ServerBuilder::data_root`] the data are in memory, and gone when the server stops.
    ///
    /// A directory belongs to one server at a time.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.place = Place::Directory(path.into());
        self
    }

    /// As [`ServerBuilder::data_dir`], in a directory below `path` that is named by the address
    /// that was given and the port that the server listens at: `path/127.0.0.1-9000`. Characters
    /// that do not suit a name become `_`.
    #[must_use]
    pub fn data_root(mut self, path: impl Into<PathBuf>) -> Self {
        self.place = Place::Below(path.into());
        self
    }

    /// As [`ServerBuilder::data_dir`], on a disk of another make.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.place = Place::Disk(disk);
        self
    }

    /// Starts the server in the tokio runtime of the caller; returns once it listens and has read
    /// what it had. Requests that come earlier wait for that; who asks how it is or who it is is told
    /// that it is starting.
    ///
    /// # Errors
    ///
    /// [`ServerError::Listen`] if the address cannot be had, [`ServerError::Data`] if the data
    /// cannot be used, [`ServerError::Timing`] if the timing cannot work.
    pub async fn start(self) -> Result<Server<T>, ServerError> {
        if !self.timing.is_valid() {
            return Err(ServerError::Timing(self.timing));
        }
        // The address comes first: whoever cannot have it leaves no directory behind.
        let (ready, started) = watch::channel(None);
        let handler = Arc::new(dispatch::Dispatch(started));
        let listener = self.transport.listen(&self.address, handler).await;
        let listener = listener.map_err(ServerError::Listen)?;
        match self.go_on(listener.address()).await {
            Ok(mut server) => {
                server.listener = Some(listener);
                let _ = ready.send(Some(Arc::clone(&server.shared)));
                Ok(server)
            }
            Err(error) => {
                drop(ready);
                listener.close().await;
                Err(ServerError::Data(error))
            }
        }
    }

    /// The server with what it had, if anything, and no listener.
    async fn go_on(self, address: &str) -> Result<Server<T>, LogError> {
        let Self { transport, address: asked, place, timing, snapshot_entries } = self;
        // The host as it was given, which may be a name; the port as it was chosen.
        let named = match (asked.rsplit_once(':'), address.rsplit_once(':')) {
            (Some((host, _)), Some((_, port))) => format!("{host}:{port}"),
            _ => asked,
        };
        let Data { server, map, storage, metadata, location, is_new } =
            blocking(move || Data::open(place.open(&named)?)).await?;
        let groups = storage.groups();
        let held = groups.len();
        tracing::info!(%server, address, data = location, is_new, groups = held, "listening");
        let shared = Arc::new(Shared {
            peers: Arc::new(Peers::new(server, transport)),
            settings: Settings { timing, snapshot_entries },
            started: Instant::now(),
            storage,
            metadata,
            failure: watch::Sender::new(None),
            stopped: AtomicBool::new(false),
            map: Mutex::default(),
            meta: RwLock::default(),
            shards: RwLock::default(),
            hosting: tokio::sync::Mutex::default(),
            meta_changed: Notify::new(),
            governor: Mutex::default(),
        });
        // From here on, dropping the server stops what has been started.
        let watcher = tokio::spawn(Arc::clone(&shared).watch_storage());
        let address = address.to_owned();
        let server = Server { shared, address, location, is_new, listener: None, watcher };
        if let Some(map) = map {
            server.shared.peers.addresses().update(&map.servers);
            let cluster = map.cluster;
            *server.shared.map() = Some(map);
            // The leader of group 0 may be this server before its other groups are read, and would
            // have it hold them.
            let _hosting = server.shared.hosting.lock().await;
            try_join_all(groups.iter().map(|group| server.shared.start_again(cluster, *group)))
                .await?;
        }
        Ok(server)
    }
}

/// What a server has when it starts.
struct Data {
    server: ServerId,
    map: Option<ClusterMap>,
    storage: Storage,
    metadata: Option<Metadata>,
    /// Where it is, for messages.
    location: String,
    /// Whether nothing was there.
    is_new: bool,
}

impl Data {
    /// Reads what is on the disk, if there is one. Blocks.
    fn open(disk: Option<Arc<dyn Disk>>) -> Result<Self, LogError> {
        let new = ServerId(rand::random());
        let Some(disk) = disk else {
            let (storage, location) = (Storage::in_memory(), "memory".to_owned());
            let (map, metadata, is_new) = (None, None, true);
            return Ok(Self { server: new, map, storage, metadata, location, is_new });
        };
        let location = disk.location();
        let metadata = Metadata::new(Arc::clone(&disk));
        let server = metadata.identity(new)?;
        let map = metadata.map(server)?;
        let storage = Storage::open(disk, LogOptions::default())?;
        if map.is_none() && !storage.groups().is_empty() {
            return Err(metadata.missing_map());
        }
        let (metadata, is_new) = (Some(metadata), server == new);
        Ok(Self { server, map, storage, metadata, location, is_new })
    }
}

/// Runs `work`, which may block, on a thread of its own.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A server of a cluster, running in the caller's tokio runtime.
///
/// Dropping it stops it at once, as a crash would: what it leads has no leader until the others
/// have elected one. [`Server::stop`] hands over first.
pub struct Server<T: Transport> {
    shared: Arc<Shared<T>>,
    address: String,
    location: String,
    is_new: bool,
    /// None before it listens, and taken by [`Server::stop`].
    listener: Option<Listener>,
    /// Waits for a failure of the storage.
    watcher: JoinHandle<()>,
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
            place: Place::Memory,
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

    /// Where its data are: the absolute path of a directory, what another disk says of itself, or
    /// `memory`.
    pub fn data_location(&self) -> &str {
        &self.location
    }

    /// Whether it began with nothing, and so with an id that no server had before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Resolves once the server cannot keep what it is told any more, with the reason; never, as long
    /// as its disk works. It has stopped by itself then, and acknowledges nothing: drop it. What it
    /// acknowledged before is on the disk, from which it can be started again once that works.
    ///
    /// A [full](LogError::Full) disk is no failure: the server refuses writes until there is room.
    pub async fn failed(&self) -> LogError {
        let mut failure = self.shared.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        match failed {
            Some(error) => error,
            // The server has the sender.
            None => std::future::pending().await,
        }
    }

    /// Hands what it leads to other servers, waiting half a second at most, then stops. All that it
    /// was told is on its disk by then; its directory is free for another opener a moment later.
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
        let storage = self.shared.storage.clone();
        blocking(move || storage.close()).await;
    }
}

impl<T: Transport> Drop for Server<T> {
    fn drop(&mut self) {
        // The groups' tasks would go on voting for as long as somebody answers them. What is being
        // started sees the mark and stops itself.
        self.watcher.abort();
        let shared = Arc::clone(&self.shared);
        shared.stopped.store(true, Ordering::SeqCst);
        shared.stop_governor();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shared.stop_groups().await });
        }
    }
}

/// Held while what the server keeps is changed: a group is started once, and for one cluster.
type Hosting<'a> = tokio::sync::MutexGuard<'a, ()>;

/// What the tasks of a server share.
struct Shared<T> {
    peers: Arc<Peers<T>>,
    settings: Settings,
    started: Instant,
    storage: Storage,
    /// None where the data are in memory.
    metadata: Option<Metadata>,
    /// Why the server cannot keep what it is told any more.
    failure: watch::Sender<Option<LogError>>,
    /// Set once, when the server is stopped or dropped: nothing is started from then on.
    stopped: AtomicBool,
    /// The newest plan or map that this server was told; a blank server has none.
    map: Mutex<Option<ClusterMap>>,
    meta: RwLock<Option<Group<Meta>>>,
    /// Of each shard one, and the one before while a shard is recovered.
    shards: RwLock<BTreeMap<GroupId, Group<Shard>>>,
    /// See [`Hosting`].
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

    fn replica(&self, group: GroupId) -> Option<Group<Shard>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// The replica of a shard as the map has it.
    fn shard(&self, shard: ShardId) -> Option<Group<Shard>> {
        let group = self.map().as_ref().map(|map| map.group(shard))?;
        self.replica(group)
    }

    fn groups(&self) -> (Option<Group<Meta>>, Vec<Group<Shard>>) {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        (self.meta(), shards.values().cloned().collect())
    }

    /// Starts a group that this server held when it stopped.
    async fn start_again(
        self: &Arc<Self>,
        cluster: ClusterId,
        id: GroupId,
    ) -> Result<(), LogError> {
        let started = match id.shard() {
            None => self.run_meta(cluster).await.map(drop),
            Some(_) => self.run_shard(cluster, id).await.map(drop),
        };
        match started {
            Err(GroupError::Log(error)) => Err(error),
            // The log works, so whatever else is wrong shows in what the group is asked.
            _ => Ok(()),
        }
    }

    async fn start_meta(self: &Arc<Self>, cluster: ClusterId) -> Result<Group<Meta>, Refusal> {
        self.create(GroupId::META).await?;
        let group = self.run_meta(cluster).await.map_err(|error| self.not_started(error))?;
        self.unless_stopped(group).await
    }

    async fn run_meta(self: &Arc<Self>, cluster: ClusterId) -> Result<Group<Meta>, GroupError> {
        let group: Group<Meta> = self.start_group(cluster, GroupId::META).await?;
        *self.meta.write().unwrap_or_else(PoisonError::into_inner) = Some(group.clone());
        self.start_governor(group.clone());
        Ok(group)
    }

    fn start_governor(self: &Arc<Self>, group: Group<Meta>) {
        let governor = tokio::spawn(governor::govern(Arc::clone(self), group));
        *self.governor.lock().unwrap_or_else(PoisonError::into_inner) = Some(governor);
    }

    async fn start_shard(&self, cluster: ClusterId, id: GroupId) -> Result<Group<Shard>, Refusal> {
        self.create(id).await?;
        let group = self.run_shard(cluster, id).await.map_err(|error| self.not_started(error))?;
        self.unless_stopped(group).await
    }

    async fn run_shard(&self, cluster: ClusterId, id: GroupId) -> Result<Group<Shard>, GroupError> {
        let group: Group<Shard> = self.start_group(cluster, id).await?;
        self.shards.write().unwrap_or_else(PoisonError::into_inner).insert(id, group.clone());
        Ok(group)
    }

    /// Notes on the disk that the group is held, before anybody is told so.
    async fn create(&self, id: GroupId) -> Result<(), Refusal> {
        self.storage.create_group(id).await.map_err(|error| self.cannot_keep(error))
    }

    async fn start_group<S: StateMachine>(
        &self,
        cluster: ClusterId,
        id: GroupId,
    ) -> Result<Group<S>, GroupError> {
        let peers = Arc::clone(&self.peers);
        Group::start(id, cluster, peers, self.settings, &self.storage).await
    }

    fn not_started(&self, error: GroupError) -> Refusal {
        match error {
            GroupError::Log(error) => self.cannot_keep(error),
            GroupError::NotLeader(_) | GroupError::Unknown | GroupError::Stopped => {
                Refusal::Stopping
            }
        }
    }

    /// The answer to whoever wanted something kept. Unless the disk is merely full, the server stops.
    fn cannot_keep(&self, error: LogError) -> Refusal {
        if let LogError::Full { .. } = error {
            tracing::warn!(%error, "refused what there is no room for");
            return Refusal::DiskFull;
        }
        self.fail(error);
        Refusal::Stopping
    }

    /// Notes the first failure; whoever waits for it stops the server.
    fn fail(&self, error: LogError) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(error);
            }
            first
        });
    }

    /// Waits for a failure of the storage, then stops everything: a server that cannot keep what it
    /// is told must not lead, vote or acknowledge.
    async fn watch_storage(self: Arc<Self>) {
        let mut failure = self.failure.subscribe();
        tokio::select! {
            error = self.storage.failed() => self.fail(error),
            _ = failure.wait_for(Option::is_some) => {}
        }
        tracing::error!(server = %self.id(), "the storage failed");
        // Not here: this task may be ended, and a group must not be stopped by half.
        tokio::spawn(async move { self.stop_groups().await });
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

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
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::log::{Directory, Disk, LogError, LogOptions};
use crate::replication::message::Refusal;
use crate::replication::meta::{ClusterMap, Meta};
use crate::replication::peers::{Acquaintances, Myself, Peers};
use crate::replication::promise::Evidence;
use crate::replication::raft::{
    Group, GroupError, SNAPSHOT_ENTRIES, ServerFailure, Settings, StateMachine, Storage, Timing,
};
use crate::replication::report::SetAside;
use crate::replication::shard::Shard;
use crate::replication::{ClusterId, GroupId, RunId, ServerId, ShardId};
use crate::transport::{Listener, Transport, TransportError};

mod dispatch;
mod governor;
#[cfg(test)]
mod hostile;
mod hosting;
mod introductions;
mod metadata;
mod status;

use introductions::Objection;
use metadata::Metadata;

/// The longest time that a clean stop takes.
const STOP_TIME: Duration = Duration::from_millis(500);

/// The part of it in which other servers may take over what this one leads.
const HAND_OVER_TIME: Duration = Duration::from_millis(350);

/// How much of it has passed when the log is closed although groups still run: one that waits for
/// room on a full disk ends no sooner.
const GROUPS_TIME: Duration = Duration::from_millis(425);

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
    /// Another process runs with the same identity: this directory is a copy of its directory. Two
    /// processes would vote twice in one name. Start the server in an empty directory, as a new one;
    /// or stop the other process first, to have the server go on from here.
    #[error("server {server} runs already, at {address}: {directory} is a copy of its directory")]
    Twin {
        /// The identity.
        server: ServerId,
        /// The address at which the other process answers.
        address: String,
        /// This directory.
        directory: String,
    },
}

/// How to start a [`Server`]: see [`Server::builder`].
#[derive(Debug)]
pub struct ServerBuilder<T> {
    transport: T,
    address: String,
    place: Place,
    timing: Timing,
    snapshot_entries: u64,
    accept_past: bool,
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

    /// Has the server go on from what its directory holds, also if that is
    /// [from the past](ServerFailure::FromThePast): the last resort where too few other servers are
    /// left to fill it anew. **Acknowledged writes may be lost** that only this server had.
    #[must_use]
    pub fn accept_past(mut self) -> Self {
        self.accept_past = true;
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
        let (stage, stages) = watch::channel(Stage::Reading);
        let handler = Arc::new(dispatch::Dispatch(stages));
        let listener = self.transport.listen(&self.address, handler).await;
        let listener = listener.map_err(ServerError::Listen)?;
        match self.go_on(listener.address(), listener.ended(), &stage).await {
            Ok(mut server) => {
                server.listener = Some(listener);
                stage.send_replace(Stage::Started(Arc::clone(&server.shared)));
                Ok(server)
            }
            Err(error) => {
                drop(stage);
                listener.close().await;
                Err(error)
            }
        }
    }

    /// The server with what it had, if anything, and no listener.
    async fn go_on(
        self,
        address: &str,
        deaf: impl Future<Output = ()> + Send + 'static,
        stage: &watch::Sender<Stage<T>>,
    ) -> Result<Server<T>, ServerError> {
        let Self { transport, address: asked, place, timing, snapshot_entries, accept_past } = self;
        // The host as it was given, which may be a name; the port as it was chosen.
        let named = match (asked.rsplit_once(':'), address.rsplit_once(':')) {
            (Some((host, _)), Some((_, port))) => format!("{host}:{port}"),
            _ => asked,
        };
        let settings = Settings { timing, snapshot_entries };
        let opened = blocking(move || Data::open(place.open(&named)?)).await;
        let mut data = opened.map_err(ServerError::Data)?;
        data.me.accept_past = accept_past;
        let transport = Arc::new(transport);
        let mut shared = Shared::new(data, settings, Arc::clone(&transport));
        stage.send_replace(Stage::Meeting(Arc::clone(&shared)));
        match shared.objection(address).await {
            None => {}
            Some(Objection::Twin(at)) => {
                let (server, directory) = (shared.id(), shared.location.clone());
                blocking(move || shared.storage.close()).await;
                return Err(ServerError::Twin { server, address: at, directory });
            }
            Some(Objection::Past(evidence)) if shared.can_be_replaced().await => {
                let data = shared.set_aside(evidence).await.map_err(ServerError::Data)?;
                shared = Shared::new(data, settings, transport);
                stage.send_replace(Stage::Meeting(Arc::clone(&shared)));
            }
            Some(Objection::Past(evidence)) => {
                tracing::error!(
                    server = %shared.id(), data = shared.location,
                    "the directory is from the past, and the others cannot do without this server: \
                     it takes part in nothing until they can: {evidence}"
                );
                let _ = shared.past.set(evidence);
            }
        }
        let groups = shared.storage.groups();
        tracing::info!(
            server = %shared.id(), address, data = shared.location, groups = groups.len(),
            is_new = shared.is_new, "listening"
        );
        // From here on, dropping the server stops what has been started.
        let watchers = shared.watch_all(deaf);
        let server = Server { shared, address: address.to_owned(), listener: None, watchers };
        let cluster = server.shared.map().as_ref().map(|map| map.cluster);
        if let Some(cluster) = cluster.filter(|_| server.shared.past.get().is_none()) {
            // The leader of group 0 may be this server before its other groups are read, and would
            // have it hold them.
            let _hosting = server.shared.hosting.lock().await;
            let started = groups.iter().map(|group| server.shared.start_again(cluster, *group));
            try_join_all(started).await.map_err(ServerError::Data)?;
        }
        Ok(server)
    }
}

/// The stages of a server's start.
enum Stage<T> {
    /// It reads its data.
    Reading,
    /// It knows who it is, and introduces itself to the others.
    Meeting(Arc<Shared<T>>),
    /// It answers everything.
    Started(Arc<Shared<T>>),
}

/// What a server has when it starts.
struct Data {
    me: Myself,
    acquaintances: Acquaintances,
    map: Option<ClusterMap>,
    storage: Storage,
    /// Where it is, for messages.
    location: String,
    /// The server that was set aside before, if one was.
    set_aside: Option<SetAside>,
    /// Set if the disk was empty.
    is_new: bool,
}

impl Data {
    /// Reads what is on the disk, if there is one, and begins a run on it. Blocks.
    fn open(disk: Option<Arc<dyn Disk>>) -> Result<Self, LogError> {
        let (new, run) = (ServerId(rand::random()), RunId(rand::random()));
        let myself =
            |server, runs, standings| Myself { server, runs, standings, accept_past: false };
        let Some(disk) = disk else {
            return Ok(Self {
                me: myself(new, vec![run], Vec::new()),
                acquaintances: Acquaintances::default(),
                map: None,
                storage: Storage::in_memory(),
                location: "memory".to_owned(),
                is_new: true,
                set_aside: None,
            });
        };
        let location = disk.location();
        let metadata = Metadata::new(Arc::clone(&disk));
        metadata.finish_setting_aside()?;
        let server = metadata.identity(new)?;
        let map = metadata.map(server)?;
        let acquaintances = Acquaintances::known(metadata.peers()?);
        let runs = metadata.begin_run(run)?;
        let storage = Storage::open(disk, LogOptions::default())?;
        metadata.remove_unfinished();
        if map.is_none() && !storage.groups().is_empty() {
            return Err(metadata.missing_map());
        }
        let (me, is_new) = (myself(server, runs, storage.standings()), server == new);
        Ok(Self { me, acquaintances, map, storage, location, is_new, set_aside: None })
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
    /// None before it listens, and taken by [`Server::stop`].
    listener: Option<Listener>,
    /// Wait for what ends the run.
    watchers: Vec<JoinHandle<()>>,
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
            accept_past: false,
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
        &self.shared.location
    }

    /// Returns true if it began with nothing, and so with an id that no server had before.
    pub fn is_new(&self) -> bool {
        self.shared.is_new
    }

    /// Resolves once the server cannot go on, with the reason: it cannot keep what it is told any
    /// more, one of its tasks has panicked, or its directory is from the past. It never does as long as
    /// the disk and this program work. The server has stopped by itself then, leads nothing and answers
    /// nothing: drop it, and start it again where [`ServerFailure`] says so.
    ///
    /// A [full](LogError::Full) disk is no failure: the server refuses writes until there is room. A
    /// request whose handling panics is none either: its sender learns that the answer is lost.
    pub async fn failed(&self) -> ServerFailure {
        self.shared.storage.failure().noted().await
    }

    /// Hands what it leads to other servers, then stops: returns after half a second at the latest,
    /// whatever it waits for. All that it was told is on its disk by then, unless the disk is full or
    /// answers late; what it acknowledged is there in any case. Its directory is free for another
    /// opener a moment later. What a disk that does not answer holds up ends once it does.
    pub async fn stop(mut self) {
        let begun = Instant::now();
        let deadline = begun + HAND_OVER_TIME;
        let (meta, shards) = self.shared.groups();
        let meta_done = join_all(meta.iter().map(|group| group.hand_over(deadline)));
        let shards_done = join_all(shards.iter().map(|group| group.hand_over(deadline)));
        let handed_over = async { tokio::join!(meta_done, shards_done) };
        // A group that waits for its disk takes no part in it.
        let _ = timeout_at(deadline, handed_over).await;
        tracing::info!(server = %self.id(), address = self.address, "stopping");
        // A task: a group must not be stopped by half.
        let (shared, listener) = (Arc::clone(&self.shared), self.listener.take());
        let ended = tokio::spawn(shared.end(listener, begun + GROUPS_TIME));
        if timeout_at(begun + STOP_TIME, ended).await.is_err() {
            tracing::warn!(server = %self.id(), "stops without waiting any longer");
        }
    }
}

impl<T: Transport> Drop for Server<T> {
    fn drop(&mut self) {
        // The groups' tasks would go on voting for as long as somebody answers them. What is being
        // started sees the mark and stops itself.
        self.watchers.iter().for_each(JoinHandle::abort);
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
    /// The place of the data, for messages.
    location: String,
    /// Set if it began with nothing.
    is_new: bool,
    /// Set at the start of a server that takes part in nothing: its directory is from the past.
    past: OnceLock<Evidence>,
    /// The server that this one was before, if its directory was from the past.
    set_aside: Option<SetAside>,
    /// Held while another server is received.
    receiving: tokio::sync::Mutex<()>,
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
    /// Another server was found at the address of one of the map.
    look_wanted: Notify,
    governor: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Transport> Shared<T> {
    fn new(data: Data, settings: Settings, transport: Arc<T>) -> Arc<Self> {
        let Data { me, acquaintances, map, storage, location, is_new, set_aside } = data;
        let peers = Arc::new(Peers::new(me, acquaintances, transport));
        if let Some(map) = &map {
            peers.addresses().update(map);
        }
        Arc::new(Self {
            peers,
            settings,
            started: Instant::now(),
            storage,
            location,
            is_new,
            past: OnceLock::new(),
            set_aside,
            receiving: tokio::sync::Mutex::default(),
            stopped: AtomicBool::new(false),
            map: Mutex::new(map),
            meta: RwLock::default(),
            shards: RwLock::default(),
            hosting: tokio::sync::Mutex::default(),
            meta_changed: Notify::new(),
            look_wanted: Notify::new(),
            governor: Mutex::default(),
        })
    }

    fn id(&self) -> ServerId {
        self.peers.server()
    }

    /// What is kept besides the log: nothing where the data are in memory. The log holds the disk, so
    /// that closing it lets go of all.
    fn metadata(&self) -> Result<Option<Metadata>, Refusal> {
        if !self.storage.is_durable() {
            return Ok(None);
        }
        match self.storage.disk() {
            Ok(disk) => Ok(Some(Metadata::new(disk))),
            Err(_) => Err(Refusal::Stopping),
        }
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
        let governing = governor::govern(Arc::clone(self), group);
        let governor = self.storage.failure().spawn("the governor", governing);
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
        self.storage.create_group(id).await.map_err(|error| self.cannot_keep(&error))
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
            GroupError::Log(error) => self.cannot_keep(&error),
            GroupError::NotLeader(_) | GroupError::Unknown | GroupError::Stopped => {
                Refusal::Stopping
            }
        }
    }

    /// The answer to whoever wanted something kept. Unless the disk is merely full, the server stops.
    fn cannot_keep(&self, error: &LogError) -> Refusal {
        if let LogError::Full { .. } = error {
            tracing::debug!(%error, "refused what there is no room for");
            return Refusal::DiskFull;
        }
        self.storage.failure().note(error);
        Refusal::Stopping
    }

    /// Starts the tasks that wait for what ends the run, or what others find out about this server.
    fn watch_all(
        self: &Arc<Self>,
        deaf: impl Future<Output = ()> + Send + 'static,
    ) -> Vec<JoinHandle<()>> {
        let failure = self.storage.failure();
        let verdicts = if let Some(evidence) = self.past.get() {
            let waiting = Arc::clone(self).wait_in_the_past(*evidence);
            failure.spawn("the task that waits to begin anew", waiting)
        } else {
            let watching = Arc::clone(self).watch_verdicts();
            failure.spawn("the task that hears what others remember", watching)
        };
        let addresses = Arc::clone(self).watch_addresses();
        let addresses = failure.spawn("the task that looks after addresses", addresses);
        vec![tokio::spawn(Arc::clone(self).watch(deaf)), addresses, verdicts]
    }

    /// Waits for a failure, then stops everything: a server that cannot keep what it is told, or
    /// cannot answer, must not lead, vote or acknowledge. `deaf` resolves once nothing is accepted.
    async fn watch(self: Arc<Self>, deaf: impl Future<Output = ()>) {
        let failure = tokio::select! {
            failure = self.storage.failure().noted() => failure,
            () = deaf => {
                if self.stopped.load(Ordering::SeqCst) {
                    return;
                }
                self.storage.failure().note_task("the task that accepts connections");
                self.storage.failure().noted().await
            }
        };
        // Not here: this task may be ended, and a group must not be stopped by half.
        let shared = Arc::clone(&self);
        tokio::spawn(async move { shared.stop_groups().await });
        tracing::error!(server = %self.id(), %failure, "the server has failed, and stops");
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

    /// Stops everything, and lets go of the address and of the disk; from the deadline on also of
    /// what waits for the disk.
    async fn end(self: Arc<Self>, listener: Option<Listener>, deadline: Instant) {
        let closed = async {
            if let Some(listener) = listener {
                listener.close().await;
            }
        };
        let let_go = async {
            let shared = Arc::clone(&self);
            let mut groups = tokio::spawn(async move { shared.stop_groups().await });
            let stopped = timeout_at(deadline, &mut groups).await.is_ok();
            let storage = self.storage.clone();
            blocking(move || storage.close()).await;
            if !stopped {
                // They have been refused by now what they waited for.
                let _ = groups.await;
            }
        };
        tokio::join!(closed, let_go);
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

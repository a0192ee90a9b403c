//! How the cluster is: one picture of what its servers tell of themselves.
//!
//! The broker asks every server of the newest map at the same time, and takes its silence for an
//! answer as well. Who leads a group is for its leader to say, and only while a majority agrees: of
//! two that say so, the one with the higher term is right (Raft has one leader a term).
//!
//! What is seen is what *this* broker reaches, at one moment for each server and at no one moment for
//! all of them. A leader that has just lost its majority knows that after the longest election time,
//! a second by the default timing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::Instant;

use super::Broker;
use super::route::{ATTEMPT_TIME, Attempt, Routes, identify};
use crate::replication::message::{self, Answer, Freshness, Read, Refusal, Request, Response};
use crate::replication::meta::ClusterMap;
use crate::replication::promise::Evidence;
use crate::replication::report::{GroupReport, Progress, Role, ServerReport, SetAside};
use crate::replication::{ClusterId, DecodeError, GroupId, ServerId, ShardId};
use crate::transport::{Transport, TransportError};

#[cfg(test)]
mod tests;

/// How the servers and groups of a cluster are: see [`Broker::status`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: ClusterId,
    /// The copies that it was founded with.
    pub copies: usize,
    /// The servers that hold each shard.
    pub voters: usize,
    /// The number of the newest map that was found; it grows with each change.
    pub epoch: u64,
    /// How many groups are to be held by other servers than now.
    pub moves: usize,
    /// The servers, by address.
    pub servers: Vec<ServerStatus>,
    /// The servers of other clusters at addresses that were silent when this one was founded: it was
    /// founded beside an older one.
    pub strangers: Vec<Stranger>,
    /// Group 0, which holds the map.
    pub meta: GroupStatus,
    /// The shards, by number.
    pub shards: Vec<GroupStatus>,
}

/// A server that belongs to another cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stranger {
    /// Its address.
    pub address: String,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// A server, as the broker finds it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its id.
    pub id: ServerId,
    /// Its address.
    pub address: String,
    /// Whether it answers, and what.
    pub state: ServerState,
    /// Set if its directory is, or was, from the past.
    pub past: Option<PastStatus>,
}

/// A server whose directory was from the past when it started: see
/// [`ServerFailure::FromThePast`](crate::replication::ServerFailure::FromThePast).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PastStatus {
    /// It takes part in nothing. It begins anew, empty, once the others can do without it.
    Waits(Evidence),
    /// It began anew, and is filled by the others, or was.
    SetAside(SetAside),
}

/// Whether a server answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerState {
    /// It does.
    #[non_exhaustive]
    Up {
        /// For how long it has been up.
        uptime: Duration,
        /// The version of this crate that it runs, in its own words.
        version: String,
        /// How many groups it holds.
        replicas: usize,
        /// How many of them it leads.
        leads: usize,
        /// Whether its disk is full: it refuses the writes that it would lead until there is room.
        disk_full: bool,
    },
    /// It is reading its data, and takes part in a moment.
    Starting,
    /// It gives no useful answer.
    Down {
        /// Why.
        error: StatusError,
    },
}

/// Why a server did not tell how it is.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum StatusError {
    /// It cannot be reached, or does not answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What it says is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It refuses. With [`Refusal::Malformed`] it is older than the question: update it.
    #[error("the server refused the request")]
    Refused(#[source] Refusal),
    /// Another server is at its address: the one that was there has lost its directory, or had none.
    #[error("another server is at this address: {found}")]
    OtherServer {
        /// The one that is there.
        found: ServerId,
    },
    /// It answers something else.
    #[error("the server does not say how it is")]
    Nonsense,
}

/// Whether a group, or a cluster, carries out commands. Ordered from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Health {
    /// All of its voters are up, and one leads.
    Whole,
    /// It works: one of its voters leads. Another one is down or cut off, or has lost its replica.
    Degraded,
    /// A majority of its voters is up and none of them leads: an election is under way, or they
    /// cannot reach each other. Commands wait.
    NoLeader,
    /// So many of its voters cannot be reached that they have no majority, and nobody leads: writes
    /// are refused, and reads are stale.
    NoMajority,
}

/// A group of replicas, as its servers tell.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// Whether it carries out commands.
    pub health: Health,
    /// Who leads it with a majority behind it, of the servers that can be reached.
    pub leader: Option<ServerId>,
    /// The newest term that was told of; `None` if no replica can be reached.
    pub term: Option<u64>,
    /// The index of the last entry that the leader, or else the most advanced replica, knows to be
    /// committed; `None` if no replica can be reached, or none of them knows of any.
    pub committed: Option<u64>,
    /// How many records the leader has, or else the most advanced replica; `None` in group 0 and if
    /// no replica can be reached.
    pub documents: Option<u64>,
    /// The replicas: those of the map, the one that should lead first, and then those that only the
    /// group itself knows of.
    pub replicas: Vec<ReplicaStatus>,
}

/// A replica of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// Where it is.
    pub server: ServerId,
    /// Whether it takes part.
    pub state: ReplicaState,
    /// Whether it votes.
    pub voter: bool,
    /// What it takes itself for, if it can be reached. A leader that has lost its majority does not
    /// know at once.
    pub role: Option<Role>,
    /// Whom it takes for the leader; that one may be gone.
    pub follows: Option<ServerId>,
    /// The index of the last entry that it has applied, 0 before the first; if it can be reached.
    pub applied: Option<u64>,
    /// How many entries of the leader's log it is not known to have; `None` without a leader, and
    /// where the leader has not heard of it yet. The leader counts, also for replicas that are down.
    pub lag: Option<u64>,
}

/// Whether a replica takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplicaState {
    /// It does.
    Up,
    /// Its server answers, and the leader has not heard of it for the longest election time.
    CutOff,
    /// It has stopped, since the storage of its server failed.
    Stopped,
    /// Its server is reading its data.
    Starting,
    /// Its server answers, and does not hold the group.
    Missing,
    /// Its server gives no answer.
    Down,
}

/// Where a key is: see [`Broker::explain`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// The key.
    pub key: String,
    /// The shard that it belongs to.
    pub shard: ShardId,
    /// How the shard is.
    pub group: GroupStatus,
    /// The servers that hold the shard, in the order of the map.
    pub servers: Vec<ServerStatus>,
    /// What each of them has at the key, in the same order.
    pub copies: Vec<CopyStatus>,
}

/// What a server has at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyStatus {
    /// The server.
    pub server: ServerId,
    /// What it has.
    pub holds: Holds,
}

/// What a replica has at a key. It may lack the latest writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holds {
    /// A record.
    Present {
        /// Of this version.
        version: u64,
    },
    /// No record.
    Absent,
    /// It did not say.
    Unknown,
}

impl ClusterStatus {
    /// The worst of its groups' health, group 0 included.
    pub fn health(&self) -> Health {
        let shards = self.shards.iter().map(|shard| shard.health);
        shards.fold(self.meta.health, Health::max)
    }

    /// The server of this id.
    pub fn server(&self, id: ServerId) -> Option<&ServerStatus> {
        self.servers.iter().find(|server| server.id == id)
    }

    pub(super) fn of(map: &ClusterMap, reports: &Reports) -> Self {
        let index = GroupIndex::new(reports);
        let mut servers: Vec<_> =
            map.servers.iter().map(|(id, address)| server_status(*id, address, reports)).collect();
        servers.sort_by(|a, b| a.address.cmp(&b.address));
        let mut groups = map.groups().map(|group| group_status(map, group, reports, &index));
        let meta =
            groups.next().unwrap_or_else(|| group_status(map, GroupId::META, reports, &index));
        Self {
            cluster: map.cluster,
            copies: map.copies,
            voters: map.shards.first().map_or(0, |shard| shard.voters.len()),
            epoch: map.epoch,
            moves: map.moves().len(),
            servers,
            strangers: Vec::new(),
            meta,
            shards: groups.collect(),
        }
    }
}

impl ServerStatus {
    /// Whether it answers.
    pub fn is_up(&self) -> bool {
        matches!(self.state, ServerState::Up { .. })
    }
}

impl GroupStatus {
    /// Of how many voters the replica takes part, and how many there are.
    pub fn voters_up(&self) -> (usize, usize) {
        let voters = self.replicas.iter().filter(|replica| replica.voter);
        let up = voters.clone().filter(|voter| voter.state == ReplicaState::Up).count();
        (up, voters.count())
    }
}

impl<T: Transport> Broker<T> {
    /// Asks every server of the cluster how it is, and how its replicas are.
    ///
    /// This fails for no reason: a server that gives no answer is part of the picture, also if that
    /// is every one of them. Nothing goes through a log, so it works without any majority. Takes two
    /// seconds at most: one to find the newest map, and one for the servers, all at the same time.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use triekv::Cluster;
    /// use triekv::replication::Health;
    ///
    /// let cluster = Cluster::embedded(1).start().await?;
    /// let status = cluster.broker().status().await;
    /// assert_eq!(status.health(), Health::Whole);
    /// assert!(status.servers[0].is_up());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn status(&self) -> ClusterStatus {
        let routes = &self.inner.routes;
        routes.refresh(Instant::now() + ATTEMPT_TIME).await;
        let map = routes.map();
        let everyone: Vec<ServerId> = map.servers.keys().copied().collect();
        let reports = reports(routes.transport(), &map, &everyone);
        let (reports, strangers) = tokio::join!(reports, strangers(routes.transport(), &map));
        ClusterStatus { strangers, ..ClusterStatus::of(&map, &reports) }
    }

    /// Tells which shard `key` belongs to, how the shard's servers are, and what each of them has at
    /// the key.
    ///
    /// Fails as little as [`Broker::status`], and takes as long. Each replica that can be reached
    /// sends its record, of which only the version is told.
    pub async fn explain(&self, key: &str) -> Explanation {
        let routes = &self.inner.routes;
        routes.refresh(Instant::now() + ATTEMPT_TIME).await;
        let map = routes.map();
        let shard = map.shard_of(key);
        let voters = map.voters(shard.into());
        let copies = routes.copies(&map, shard, key);
        let reports = reports(routes.transport(), &map, voters);
        let (reports, copies) = tokio::join!(reports, copies);
        let server = |id: &ServerId| {
            let address = map.servers.get(id)?;
            Some(server_status(*id, address, &reports))
        };
        let group = group_status(&map, map.group(shard), &reports, &GroupIndex::new(&reports));
        let servers = voters.iter().filter_map(server).collect();
        Explanation { key: key.to_owned(), shard, group, servers, copies }
    }
}

/// What the servers said that were asked.
pub(super) type Reports = BTreeMap<ServerId, Result<ServerReport, StatusError>>;

/// Asks these servers how they are.
pub(super) async fn reports<T: Transport>(
    transport: &T,
    map: &ClusterMap,
    servers: &[ServerId],
) -> Reports {
    let deadline = Instant::now() + ATTEMPT_TIME;
    let asked = servers.iter().filter_map(|id| {
        let address = map.servers.get(id)?;
        Some(async move { (*id, server_report(transport, *id, address, deadline).await) })
    });
    join_all(asked).await.into_iter().collect()
}

async fn server_report<T: Transport>(
    transport: &T,
    id: ServerId,
    address: &str,
    deadline: Instant,
) -> Result<ServerReport, StatusError> {
    let frame = message::encode(&Request::Status);
    let answer = transport.call(address, frame, deadline).await?;
    match message::decode(&answer)? {
        Response::Status(report) if report.server == id => Ok(*report),
        Response::Status(report) => Err(StatusError::OtherServer { found: report.server }),
        Response::Refused(refusal) => Err(StatusError::Refused(refusal)),
        _ => Err(StatusError::Nonsense),
    }
}

/// Asks the addresses that were silent at the founding, and at which no server of the cluster is now.
async fn strangers<T: Transport>(transport: &T, map: &ClusterMap) -> Vec<Stranger> {
    let deadline = Instant::now() + ATTEMPT_TIME;
    let mut silent = map.silent.clone();
    silent.retain(|address| !map.servers.values().any(|at| at == address));
    let asked = silent.into_iter().map(async |address| {
        let found = identify(transport, &address, deadline).await.ok()?;
        let cluster = found.newest_map()?.cluster;
        (cluster != map.cluster).then_some(Stranger { address, cluster })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

impl<T: Transport> Routes<T> {
    /// What each voter of the shard has at the key.
    async fn copies(&self, map: &ClusterMap, shard: ShardId, key: &str) -> Vec<CopyStatus> {
        let reads = vec![Read::Get(key.to_owned())];
        let (cluster, freshness) = (map.cluster, Freshness::Stale);
        let request = Request::Read { cluster, shard, freshness, reads };
        let frame = &message::encode(&request);
        let deadline = Instant::now() + ATTEMPT_TIME;
        let asked = map.voters(shard.into()).iter().map(async |server| {
            let holds = held(self.attempt(map, *server, frame, deadline).await);
            CopyStatus { server: *server, holds }
        });
        join_all(asked).await
    }
}

/// What an answer to a read of a key says.
fn held(attempt: Attempt) -> Holds {
    let Attempt::Done(Response::Answers { answers, .. }) = attempt else { return Holds::Unknown };
    match answers.first().map(|answer| message::decode(&answer.0)) {
        Some(Ok(Answer::Record(Some(record)))) => Holds::Present { version: record.version },
        Some(Ok(Answer::Record(None))) => Holds::Absent,
        Some(Ok(Answer::Value(_) | Answer::Page(_) | Answer::Count(_)) | Err(_)) | None => {
            Holds::Unknown
        }
    }
}

fn server_status(id: ServerId, address: &str, reports: &Reports) -> ServerStatus {
    let state = match reports.get(&id) {
        Some(Ok(report)) => ServerState::Up {
            uptime: Duration::from_millis(report.uptime_millis),
            version: report.version.clone(),
            replicas: report.groups.len(),
            leads: report.groups.iter().filter(|group| group.leads).count(),
            disk_full: report.disk_full,
        },
        Some(Err(StatusError::Refused(Refusal::Starting))) => ServerState::Starting,
        Some(Err(error)) => ServerState::Down { error: error.clone() },
        // Every server that there is has been asked.
        None => ServerState::Down { error: StatusError::Nonsense },
    };
    let own = reports.get(&id).and_then(|report| report.as_ref().ok()).map(|report| &report.past);
    let set_aside = own.and_then(|past| past.set_aside.clone()).map(PastStatus::SetAside);
    let others = reports.values().filter_map(|report| report.as_ref().ok());
    // One that began anew is told of by its new id.
    let is_replaced = |report: &ServerReport| {
        report.past.set_aside.as_ref().is_some_and(|before| before.server == id)
    };
    let noticed = || {
        let noticed = others.clone().find_map(|report| report.past.others.get(&id).copied());
        noticed.filter(|_| !others.clone().any(is_replaced))
    };
    let waits = || own.and_then(|past| past.own).or_else(noticed).map(PastStatus::Waits);
    ServerStatus { id, address: address.to_owned(), state, past: set_aside.or_else(waits) }
}

/// The reports of the servers, by group.
struct GroupIndex<'a>(BTreeMap<GroupId, BTreeMap<ServerId, &'a GroupReport>>);

impl<'a> GroupIndex<'a> {
    fn new(reports: &'a Reports) -> Self {
        let mut index: BTreeMap<GroupId, BTreeMap<_, _>> = BTreeMap::new();
        for (server, report) in reports {
            for group in report.iter().flat_map(|report| &report.groups) {
                index.entry(group.group).or_default().insert(*server, group);
            }
        }
        Self(index)
    }
}

fn group_status(
    map: &ClusterMap,
    group: GroupId,
    reports: &Reports,
    index: &GroupIndex<'_>,
) -> GroupStatus {
    let nobody = BTreeMap::new();
    let held = index.0.get(&group).unwrap_or(&nobody);
    let running = held.iter().filter(|(_, report)| report.runs);
    let leader = running.clone().filter(|(_, report)| report.leads);
    let leader = leader.max_by_key(|(_, report)| report.term).map(|(id, report)| (*id, *report));
    let newest = running.max_by_key(|(_, report)| report.applied).map(|(_, report)| *report);
    let view = leader.map(|(_, report)| report).or(newest);

    // In sets, since lists from outside may be long.
    let placed = map.voters(group);
    let mut voters: BTreeSet<ServerId> =
        view.iter().flat_map(|view| &view.voters).copied().collect();
    if voters.is_empty() {
        // A replica that has no entry yet knows of no voters.
        voters.extend(placed);
    }
    let learners = view.iter().flat_map(|view| &view.learners);
    let mut others: BTreeSet<ServerId> = voters.iter().chain(learners).copied().collect();
    for member in placed {
        others.remove(member);
    }
    let progress = leader.iter().flat_map(|(_, leader)| &leader.followers);
    let progress: BTreeMap<ServerId, &Progress> =
        progress.map(|progress| (progress.server, progress)).collect();
    let last = leader.and_then(|(_, leader)| Some(leader.last?.index)).unwrap_or(0);

    let status = |server: ServerId| {
        let report = held.get(&server).copied();
        let progress = progress.get(&server).copied();
        let state = match report {
            Some(report) if !report.runs => ReplicaState::Stopped,
            Some(_) if progress.is_some_and(|progress| !progress.heard) => ReplicaState::CutOff,
            Some(_) => ReplicaState::Up,
            None => match reports.get(&server) {
                Some(Ok(_)) => ReplicaState::Missing,
                Some(Err(StatusError::Refused(Refusal::Starting))) => ReplicaState::Starting,
                Some(Err(_)) | None => ReplicaState::Down,
            },
        };
        let leads = leader.is_some_and(|(leader, _)| leader == server);
        let lag = progress.and_then(|progress| Some(last.saturating_sub(progress.matched?)));
        ReplicaStatus {
            server,
            state,
            voter: voters.contains(&server),
            role: report.filter(|report| report.runs).map(|report| report.role),
            follows: report.filter(|report| report.runs).and_then(|report| report.leader),
            applied: report.map(|report| report.applied.index),
            lag: if leads { Some(0) } else { lag },
        }
    };
    let replicas: Vec<_> = placed.iter().copied().chain(others).map(status).collect();
    GroupStatus {
        group,
        health: health(&replicas, placed.len(), leader.is_some()),
        leader: leader.map(|(id, _)| id),
        term: held.values().map(|report| report.term).max(),
        committed: view.and_then(|view| view.committed),
        documents: view.and_then(|view| view.documents),
        replicas,
    }
}

/// The first `placed` of the replicas are those of the map. A group that is led has a majority,
/// whether or not this broker reaches it.
fn health(replicas: &[ReplicaStatus], placed: usize, led: bool) -> Health {
    let voters = replicas.iter().filter(|replica| replica.voter);
    let answers =
        |replica: &&ReplicaStatus| matches!(replica.state, ReplicaState::Up | ReplicaState::CutOff);
    let up = voters.clone().filter(answers).count();
    let (of_the_map, others) = replicas.split_at(placed);
    let mut needed = of_the_map.iter().chain(others.iter().filter(|replica| replica.voter));
    if !led && up <= voters.count() / 2 {
        Health::NoMajority
    } else if !led {
        Health::NoLeader
    } else if needed.all(|replica| replica.voter && replica.state == ReplicaState::Up) {
        Health::Whole
    } else {
        Health::Degraded
    }
}

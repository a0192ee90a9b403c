//! The way to the leader of a group: where it was, where others say it is, and everywhere, with
//! pauses that grow, until the deadline.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use tokio::time::Instant;

use super::{BrokerError, Stale};
use crate::replication::message::{
    self, Addresses, Answer, Freshness, Identity, Position, Read, Refusal, Request, Response,
};
use crate::replication::meta::ClusterMap;
use crate::replication::peers::FoundAddresses;
use crate::replication::{ClusterId, GroupId, ServerId, ShardId};
use crate::transport::{Transport, TransportError};

/// How long one server may take to answer before another one is asked.
pub(super) const ATTEMPT_TIME: Duration = Duration::from_secs(1);

/// The first pause between two rounds; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long a group may have no reachable majority before that is the answer: as long as an
/// election takes.
const ELECTION_TIME: Duration = Duration::from_secs(1);

/// How long the finding that a group has no majority holds: within this time, a single round that
/// finds it again is enough.
const FINDING_TIME: Duration = Duration::from_secs(10);

/// Why the leader of a group gave no answer.
#[derive(Debug)]
pub(super) enum RouteError {
    /// So many of the group's servers cannot be reached that it has no majority.
    NoMajority { lost: usize, voters: usize, ambiguous: bool },
    /// The deadline has passed.
    Deadline { ambiguous: bool },
    /// A server refused for a reason that another attempt does not change.
    Refused { source: Refusal, ambiguous: bool },
}

impl RouteError {
    /// The error of a write: its outcome is unknown if an attempt may have been carried out.
    pub(super) fn for_write(&self, group: GroupId) -> BrokerError {
        match self {
            Self::NoMajority { ambiguous: true, .. } => {
                BrokerError::Unknown { group, no_majority: true }
            }
            Self::Deadline { ambiguous: true } | Self::Refused { ambiguous: true, .. } => {
                BrokerError::Unknown { group, no_majority: false }
            }
            error => error.for_read(group),
        }
    }

    /// Whether the answer to the first read of the request is larger than a frame.
    pub(super) fn is_answer_too_large(&self) -> bool {
        matches!(self, Self::Refused { source: Refusal::AnswerTooLarge { .. }, .. })
    }

    /// What it means for a read, which changes nothing wherever it was carried out.
    pub(super) fn for_read(&self, group: GroupId) -> BrokerError {
        match self {
            Self::NoMajority { lost, voters, .. } => {
                BrokerError::NoMajority { group, lost: *lost, voters: *voters }
            }
            Self::Deadline { .. } => BrokerError::NoLeader { group },
            Self::Refused { source, .. } => BrokerError::Refused { group, source: source.clone() },
        }
    }
}

/// The map, and who led each group last.
#[derive(Debug)]
pub(super) struct Routes<T> {
    transport: T,
    map: RwLock<Arc<ClusterMap>>,
    /// Servers that were found elsewhere than the cluster knows.
    found: Mutex<FoundAddresses>,
    /// By group.
    hints: Vec<Mutex<Hint>>,
}

#[derive(Debug, Default)]
struct Hint {
    leader: Option<ServerId>,
    /// When the group was last found to have no majority.
    no_majority: Option<Instant>,
}

/// What one attempt came to.
pub(super) enum Attempt {
    Done(Response),
    /// Ask this one, if any.
    Elsewhere(Option<ServerId>),
    /// The server cannot be reached or has no replica; nothing was carried out.
    Lost,
    /// No answer; the request may have been carried out if it was sent.
    Silent {
        sent: bool,
    },
    Refused(Refusal),
}

impl<T: Transport> Routes<T> {
    pub(super) fn new(transport: T, map: ClusterMap) -> Self {
        let hints = map.groups().map(|_| Mutex::default()).collect();
        let map = RwLock::new(Arc::new(map));
        Self { transport, map, found: Mutex::default(), hints }
    }

    pub(super) fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.map().cluster
    }

    pub(super) fn transport(&self) -> &T {
        &self.transport
    }

    /// Uses the addresses at which servers were found in place of those that the map has, and tells
    /// them to the servers: so those find each other, although the cluster does not know them yet.
    pub(super) async fn tell_addresses(&self, mut found: Addresses) {
        let map = self.map();
        found.retain(|server, address| map.servers.get(server) != Some(address));
        self.found.lock().unwrap_or_else(PoisonError::into_inner).note(&map.servers, &found);
        let map = self.with_found(ClusterMap::clone(&map));
        tell_addresses(&self.transport, map.cluster, &map.servers).await;
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    /// The map with the addresses at which servers were found.
    fn with_found(&self, mut map: ClusterMap) -> ClusterMap {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for (server, address) in &mut map.servers {
            *address = found.of(*server, address).clone();
        }
        map
    }

    /// Sends the encoded request to the leader of `group` until somebody has carried it out.
    ///
    /// # Errors
    ///
    /// [`RouteError`]; it says whether an attempt may have been carried out all the same.
    pub(super) async fn ask_leader(
        &self,
        group: GroupId,
        frame: &[u8],
        deadline: Instant,
    ) -> Result<Response, RouteError> {
        let mut ambiguous = false;
        let mut lost_since = None;
        let mut pause = PAUSE_MIN;
        // Servers whose last attempt got no answer. Each costs its time, so they are left out for
        // as long as others name no leader and make a majority.
        let mut silent = BTreeSet::new();
        loop {
            let map = self.map();
            let voters = map.voters(group);
            let mut lost = BTreeSet::new();
            let mut asked = BTreeSet::new();
            let mut outdated = false;
            let mut next = self.leader(group);
            loop {
                let heard = voters.iter().filter(|server| !silent.contains(*server)).count();
                let all = heard < ClusterMap::majority(voters);
                let open = |id: &ServerId| !asked.contains(id) && (all || !silent.contains(id));
                let Some(server) = next.take().or_else(|| voters.iter().copied().find(open)) else {
                    break;
                };
                if Instant::now() >= deadline {
                    return Err(RouteError::Deadline { ambiguous });
                }
                asked.insert(server);
                silent.remove(&server);
                match self.attempt(&map, server, frame, deadline).await {
                    Attempt::Done(response) => {
                        self.note_leader(group, Some(server));
                        return Ok(response);
                    }
                    Attempt::Elsewhere(hint) => {
                        // A leader that the map does not have is a newer map's.
                        outdated |= hint.is_some_and(|id| !voters.contains(&id));
                        next = hint.filter(|id| !asked.contains(id));
                    }
                    Attempt::Lost => drop(lost.insert(server)),
                    Attempt::Silent { sent } => {
                        ambiguous |= sent;
                        silent.insert(server);
                    }
                    Attempt::Refused(source) => {
                        return Err(RouteError::Refused { source, ambiguous });
                    }
                }
            }
            self.note_leader(group, None);
            let lost = voters.iter().filter(|server| lost.contains(server)).count();
            if voters.len() - lost < ClusterMap::majority(voters) {
                let since = *lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= ELECTION_TIME || self.confirms_no_majority(group) {
                    self.note_no_majority(group);
                    return Err(RouteError::NoMajority { lost, voters: voters.len(), ambiguous });
                }
            } else {
                lost_since = None;
            }
            if lost > 0 || outdated {
                self.refresh(deadline).await;
            }
            let jitter = rand::rng().random_range(0.5..1.0);
            let until = deadline.min(Instant::now() + pause.mul_f64(jitter));
            tokio::time::sleep_until(until).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    pub(super) async fn attempt(
        &self,
        map: &ClusterMap,
        server: ServerId,
        frame: &[u8],
        deadline: Instant,
    ) -> Attempt {
        let Some(address) = map.servers.get(&server) else { return Attempt::Lost };
        let deadline = deadline.min(Instant::now() + ATTEMPT_TIME);
        let answer = match self.transport.call(address, frame.to_vec(), deadline).await {
            Ok(answer) => answer,
            Err(error) => return failed(&error),
        };
        match message::decode::<Response>(&answer) {
            Ok(Response::NotLeader(leader)) => Attempt::Elsewhere(leader),
            // A server of another cluster has taken the place of the one that was there.
            Ok(
                Response::NotHere
                | Response::Refused(
                    Refusal::OtherServer | Refusal::OtherCluster | Refusal::FromThePast,
                ),
            ) => Attempt::Lost,
            Ok(Response::Refused(Refusal::Stopping | Refusal::Starting)) => {
                Attempt::Elsewhere(None)
            }
            Ok(Response::Unknown | Response::UnderWay) | Err(_) => Attempt::Silent { sent: true },
            Ok(Response::Refused(refusal)) => Attempt::Refused(refusal),
            Ok(
                response @ (Response::Done
                | Response::Identity(_)
                | Response::Written(_)
                | Response::Answers { .. }
                | Response::Raft(_)
                | Response::Introduced(_)
                | Response::Status(_)),
            ) => Attempt::Done(response),
        }
    }

    /// Asks every replica of the shard, and gives the answer of the most advanced.
    pub(super) async fn ask_replicas(
        &self,
        shard: ShardId,
        read: Read,
    ) -> Result<Stale<Answer>, BrokerError> {
        let map = self.map();
        let voters = map.voters(shard.into());
        let (cluster, freshness) = (map.cluster, Freshness::Stale);
        let request = Request::Read { cluster, shard, freshness, reads: vec![read] };
        let frame = message::encode(&request);
        let deadline = Instant::now() + ATTEMPT_TIME;
        let asked = voters.iter().map(|server| self.attempt(&map, *server, &frame, deadline));
        let mut replicas = 0;
        let mut newest: Option<(Position, Answer)> = None;
        for attempt in join_all(asked).await {
            if let Attempt::Done(Response::Answers { applied, answers }) = attempt
                && let Some(answer) = answers.first()
                && let Ok(answer) = message::decode(&answer.0)
            {
                replicas += 1;
                if newest.as_ref().is_none_or(|(newest, _)| *newest < applied) {
                    newest = Some((applied, answer));
                }
            }
        }
        let voters = voters.len();
        let (_, answer) = newest.ok_or(BrokerError::Unavailable { group: shard.into(), voters })?;
        Ok(Stale { answer, replicas, voters })
    }

    /// Takes over the newest map that a server of the cluster has.
    pub(super) async fn refresh(&self, deadline: Instant) {
        let map = self.map();
        let deadline = deadline.min(Instant::now() + ATTEMPT_TIME);
        let asked =
            map.servers.values().map(|address| identify(&self.transport, address, deadline));
        let maps = join_all(asked).await.into_iter();
        let maps = maps.filter_map(|identity| identity.ok()?.newest_map());
        let newest = maps.filter(|other| other.cluster == map.cluster).max_by_key(|map| map.epoch);
        if let Some(newest) = newest {
            let mut current = self.map.write().unwrap_or_else(PoisonError::into_inner);
            if newest.epoch > current.epoch {
                *current = Arc::new(self.with_found(newest));
            }
        }
    }

    fn with_hint<R>(&self, group: GroupId, f: impl FnOnce(&mut Hint) -> R) -> Option<R> {
        let hint = self.hints.get(group.0 as usize)?;
        Some(f(&mut hint.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn leader(&self, group: GroupId) -> Option<ServerId> {
        self.with_hint(group, |hint| hint.leader)?
    }

    /// Notes who answered for the group, or that nobody did.
    fn note_leader(&self, group: GroupId, leader: Option<ServerId>) {
        self.with_hint(group, |hint| {
            hint.leader = leader;
            if leader.is_some() {
                hint.no_majority = None;
            }
        });
    }

    fn note_no_majority(&self, group: GroupId) {
        self.with_hint(group, |hint| hint.no_majority = Some(Instant::now()));
    }

    fn confirms_no_majority(&self, group: GroupId) -> bool {
        let recent = |found: Instant| found.elapsed() < FINDING_TIME;
        self.with_hint(group, |hint| hint.no_majority.is_some_and(recent)).unwrap_or(false)
    }
}

fn failed(error: &TransportError) -> Attempt {
    match error {
        TransportError::Refused { .. }
        | TransportError::NotOurs { .. }
        | TransportError::VersionMismatch { .. }
        | TransportError::Bind { .. } => Attempt::Lost,
        // Silence may be a pause, and is not yet a loss.
        TransportError::ConnectTimeout { .. } => Attempt::Silent { sent: false },
        // The transport's limit is lower than what this crate sends.
        TransportError::FrameTooLarge { .. } => Attempt::Refused(Refusal::Malformed),
        TransportError::DeadlineExceeded { sent, .. } => Attempt::Silent { sent: *sent },
        TransportError::Lost { .. } | TransportError::ResponseTooLarge { .. } => {
            Attempt::Silent { sent: true }
        }
    }
}

/// Tells the servers of a cluster their addresses.
pub(super) async fn tell_addresses<T: Transport>(
    transport: &T,
    cluster: ClusterId,
    addresses: &Addresses,
) {
    let request = Request::Addresses { cluster, addresses: addresses.clone() };
    let frame = message::encode(&request);
    let deadline = Instant::now() + ATTEMPT_TIME;
    let told = addresses.values().map(|to| transport.call(to, frame.clone(), deadline));
    // Those that are down learn it from the map.
    join_all(told).await;
}

/// Asks the server at `address` who it is.
pub(super) async fn identify<T: Transport>(
    transport: &T,
    address: &str,
    deadline: Instant,
) -> Result<Identity, IdentifyError> {
    let frame = message::encode(&Request::Identify);
    let answer = transport.call(address, frame, deadline).await?;
    match message::decode(&answer)? {
        Response::Identity(identity) => Ok(*identity),
        Response::Refused(refusal) => Err(IdentifyError::Refused(refusal)),
        _ => Err(IdentifyError::Nonsense),
    }
}

/// Why a server did not say who it is.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifyError {
    /// It cannot be reached, or does not answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// What it says is malformed.
    #[error(transparent)]
    Decode(#[from] crate::replication::DecodeError),
    /// It refuses. With [`Refusal::Starting`] it is reading its data: ask again.
    #[error(transparent)]
    Refused(Refusal),
    /// It answers something else.
    #[error("the server does not say who it is")]
    Nonsense,
}

//! Finding the cluster that the named servers form, or founding it.
//!
//! What to do follows from what the servers say of themselves, by [`decide`]:
//!
//! | the servers that answer | |
//! |---|---|
//! | one is still reading its data | wait for it |
//! | fewer than the copies asked for | refuse |
//! | some belong to a cluster | connect; the others are no part of it |
//! | they belong to several clusters | refuse |
//! | some have the plan of a cluster that is not founded yet | go on with founding it |
//! | all are blank, a majority of those that are named | found a cluster of them |
//! | all are blank, and fewer | refuse: the others may hold an older cluster |
//!
//! Blank servers cannot tell whether the silent ones hold an older cluster, so a new one may come to
//! stand beside it. That is told where it is founded, and its map keeps the addresses that were silent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use thiserror::Error;
use tokio::time::Instant;

use super::clusters::{NamedCluster, describe};
use super::lane::Lane;
use super::members::{Copied, Moved, Standing, Whereabouts, standing, whereabouts};
use super::route::{IdentifyError, Routes, identify, tell_addresses};
use super::{Broker, DEADLINE, Inner};
use crate::replication::message::{self, Identity, Refusal, Request, Response};
use crate::replication::meta::{ClusterMap, SERVERS_MAX};
use crate::replication::{ClusterId, DecodeError, GroupId, ServerId, ShardId};
use crate::transport::{Transport, TransportError};

/// How long a server may take to say who it is.
const IDENTIFY_TIME: Duration = Duration::from_secs(2);

/// The longest time that servers which read their data are waited for.
const STARTING_TIME: Duration = Duration::from_mins(1);

/// The pause before servers that read their data are asked again.
const STARTING_PAUSE: Duration = Duration::from_millis(100);

/// How long founding a cluster may take.
const FOUNDING_TIME: Duration = Duration::from_secs(15);

/// How long to wait before the servers are asked again how far the founding is.
const PAUSE: Duration = Duration::from_millis(10);

/// A server that was named and did not say who it is.
#[derive(Debug, Clone)]
pub struct Unreached {
    /// Its address.
    pub address: String,
    /// Why.
    pub error: IdentifyError,
}

/// Why a broker found no cluster.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// At least one copy has to be asked for.
    #[error("a record needs at least one copy")]
    NoCopies,
    /// Fewer servers answer than copies are wanted. Start servers, or ask for fewer copies.
    #[error("{reached} servers answer, fewer than the {copies} copies")]
    TooFewServers {
        /// The number of servers that answer.
        reached: usize,
        /// How many copies were asked for.
        copies: usize,
        /// Those that do not.
        unreached: Vec<Unreached>,
    },
    /// The servers that answer are blank, and are no majority of those that are named: the silent ones
    /// may hold an older cluster, beside which a second one would be founded. Start them, name fewer, or
    /// ask for it by [`BrokerBuilder::found_without_majority`].
    #[error(
        "{reached} of the {named} named servers answer, and belong to no cluster; a new one is \
         founded with {needed} at least, since those that are silent may hold an older one"
    )]
    TooFewToFound {
        /// The number of servers that answer.
        reached: usize,
        /// The number of servers that are named.
        named: usize,
        /// The number of servers that have to answer.
        needed: usize,
        /// Those that do not.
        unreached: Vec<Unreached>,
    },
    /// The servers that answer are blank, and this one speaks another version: it may belong to a
    /// cluster, beside which a second one would be founded. Update the older side.
    #[error("the server at {address} may belong to a cluster, and cannot say so")]
    OtherVersion {
        /// Its address.
        address: String,
        /// Its answer.
        source: DecodeError,
    },
    /// These servers were still reading their data after a minute. Connect again.
    #[error("after {} seconds still reading its data: {}", .waited.as_secs(), .servers.join(", "))]
    Starting {
        /// Their addresses.
        servers: Vec<String>,
        /// The time that they were waited for.
        waited: Duration,
    },
    /// More servers than a cluster can have. Name fewer.
    #[error("{count} servers are named, a cluster has at most {limit}")]
    TooManyServers {
        /// How many were named.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Two of the addresses lead to one server.
    #[error("{first} and {second} are the same server")]
    SameServer {
        /// The address that was named first.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two processes have the identity of one server: one of them runs in a copy of the other's
    /// directory. Stop that one.
    #[error(
        "{first} and {second} both run as server {server}: one runs in a copy of its directory"
    )]
    SameIdentity {
        /// The identity.
        server: ServerId,
        /// The address that was named first.
        first: String,
        /// The other one.
        second: String,
    },
    /// The servers belong to different clusters. Name the servers of one; a server that is to belong to
    /// another one than it does has to begin in an empty directory.
    #[error("{first} belongs to cluster {first_cluster}, {second} to cluster {second_cluster}")]
    DifferentClusters {
        /// A server's address.
        first: String,
        /// Its cluster.
        first_cluster: ClusterId,
        /// Another server's address.
        second: String,
        /// Its cluster.
        second_cluster: ClusterId,
        /// All clusters that were found, in the order of the addresses, and what tells them apart.
        clusters: Vec<NamedCluster>,
    },
    /// A server refused to found the cluster.
    #[error("the server at {address} did not found the cluster")]
    Refused {
        /// The server's address.
        address: String,
        /// Why.
        source: Refusal,
    },
    /// The servers belong to a cluster that was founded, and so many of its servers are down that
    /// nobody leads it. Start them.
    #[error("too few of the {servers} servers of the cluster are up to agree on its state")]
    NoMajority {
        /// How many servers the cluster has.
        servers: usize,
    },
    /// Founding the cluster took too long: too many of its servers have failed meanwhile.
    #[error("the cluster was not founded in time")]
    NotFounded,
}

/// How to reach a cluster: see [`Broker::builder`].
#[derive(Debug)]
pub struct BrokerBuilder<T> {
    transport: T,
    addresses: Vec<String>,
    copies: usize,
    exact: bool,
    without_majority: bool,
    deadline: Duration,
    on_waiting: OnWaiting,
}

/// What is called with the address of each server that is waited for.
struct OnWaiting(Box<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for OnWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWaiting")
    }
}

impl<T: Transport> BrokerBuilder<T> {
    pub(super) fn new(transport: T) -> Self {
        Self {
            transport,
            addresses: Vec::new(),
            copies: 1,
            exact: false,
            without_majority: false,
            deadline: DEADLINE,
            on_waiting: OnWaiting(Box::new(|_| {})),
        }
    }

    /// Names the servers. The addresses given here are the ones under which the servers of a new
    /// cluster reach each other.
    #[must_use]
    pub fn servers<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.addresses.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// Sets how many copies of each record a new cluster keeps; 1 unless this is called. Rounded up
    /// to an odd number where there are enough servers: two copies survive no more failures than
    /// one, three survive one. A cluster that was founded keeps its number.
    #[must_use]
    pub fn copies(mut self, copies: usize) -> Self {
        self.copies = copies;
        self
    }

    /// Has a new cluster keep as many copies as [`BrokerBuilder::copies`] says, also where that is an
    /// even number: two copies instead of three, of which writes need both.
    #[must_use]
    pub fn exact_copies(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Lets a cluster be founded by fewer than a majority of the servers that are named. Without this it
    /// is refused: those that are silent may hold an older cluster, and its records would seem to be gone.
    #[must_use]
    pub fn found_without_majority(mut self) -> Self {
        self.without_majority = true;
        self
    }

    /// Calls `tell` once for each server that [`BrokerBuilder::connect`] waits for, since it is still
    /// reading its data, with its address.
    #[must_use]
    pub fn on_waiting(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_waiting = OnWaiting(Box::new(tell));
        self
    }

    /// Sets how long a command may take, tries and pauses included; 5 seconds unless this is
    /// called.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Finds the cluster of the servers, or founds one if all that answer are blank and a majority of
    /// those that are named; [`Broker::has_founded`] tells. The broker's tasks run in the caller's tokio
    /// runtime.
    ///
    /// Waits for servers that are still reading their data, for a minute at most.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(self) -> Result<Broker<T>, ConnectError> {
        if self.copies == 0 {
            return Err(ConnectError::NoCopies);
        }
        if self.addresses.len() > SERVERS_MAX {
            let count = self.addresses.len();
            return Err(ConnectError::TooManyServers { count, limit: SERVERS_MAX });
        }
        let Named { identities, unreached, map, moved, copied, founded } =
            self.find_or_found().await?;
        let mut newcomers = Vec::new();
        let mut left = Vec::new();
        for (address, identity) in &identities {
            match standing(&map, identity) {
                Standing::Member | Standing::Other(_) => {}
                Standing::Blank => newcomers.push((identity.server, address.clone())),
                Standing::Left => left.push(address.clone()),
            }
        }
        let here = |server| identities.iter().any(|(_, identity)| identity.server == server);
        let absent = map.servers.iter().filter(|(server, _)| !here(**server));
        let absent = absent.filter(|(server, _)| !map.leaving.contains(server));
        let absent = absent.map(|(_, address)| address.clone()).collect();
        let shards = (0..u32::try_from(map.shards.len()).unwrap_or(u32::MAX)).map(ShardId);
        let before = map.servers.clone();
        let routes = Arc::new(Routes::new(self.transport, map));
        routes.tell_addresses(moved.iter().cloned().collect()).await;
        let lanes = shards.map(|shard| Lane::new(&routes, shard)).collect();
        let deadline = self.deadline;
        let (joining, newcomers) = (newcomers.clone(), newcomers.into_iter());
        let newcomers = newcomers.map(|(_, address)| address).collect();
        let inner = Inner {
            routes,
            lanes,
            deadline,
            founded,
            unreached,
            newcomers,
            left,
            absent,
            moved: OnceLock::new(),
            copied,
        };
        let broker = Broker { inner: Arc::new(inner) };
        let mut noted = Vec::new();
        for (server, address) in moved {
            let before = before.get(&server).cloned().unwrap_or_default();
            let is_noted = broker.note_member(server, &address).await.is_ok();
            noted.push(Moved { address, before, noted: is_noted });
        }
        let _ = broker.inner.moved.set(noted);
        for (server, address) in joining {
            // Without a majority of group 0 the broker can do little else, and that says it.
            let _ = broker.note_member(server, &address).await;
        }
        Ok(broker)
    }

    /// The members that were found at other addresses than the map has, and are not at those any more;
    /// and the processes that only have the identity of a member.
    async fn locate(
        &self,
        map: &ClusterMap,
        identities: &[(String, Identity)],
    ) -> (Vec<(ServerId, String)>, Vec<Copied>) {
        let deadline = Instant::now() + IDENTIFY_TIME;
        let elsewhere = identities.iter().filter_map(|(address, identity)| {
            let known = map.servers.get(&identity.server)?;
            (map.epoch > 0 && known != address).then_some((address, identity, known))
        });
        let looked = join_all(elsewhere.map(async |(address, identity, known)| {
            let there = whereabouts(&self.transport, identity, known, deadline).await;
            (identity.server, address.clone(), known.clone(), there)
        }));
        let (mut moved, mut copied) = (Vec::new(), Vec::new());
        for (server, found, known, there) in looked.await {
            match there {
                Whereabouts::Same => {}
                Whereabouts::Moved => moved.push((server, found)),
                Whereabouts::Copied => copied.push(Copied { server, address: known, copy: found }),
            }
        }
        (moved, copied)
    }

    /// Asks the named servers until they form a cluster.
    async fn find_or_found(&self) -> Result<Named, ConnectError> {
        let mut deadline = None;
        loop {
            let (identities, unreached) = self.identify_all().await?;
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + FOUNDING_TIME);
            if identities.len() < self.copies {
                let (reached, copies) = (identities.len(), self.copies);
                return Err(ConnectError::TooFewServers { reached, copies, unreached });
            }
            let (plan, mine) = match decide(&identities)? {
                Decision::Found => (self.plan(&identities, &unreached)?, true),
                Decision::Connect(plan) => (plan, false),
                Decision::Choose(clusters) => return Err(self.different(clusters).await),
            };
            let founded = plan.epoch == 0;
            let mut plan = plan;
            let (moved, copied) = self.locate(&plan, &identities).await;
            if !moved.is_empty() {
                plan.servers.extend(moved.iter().cloned());
                // They may all have moved: then they cannot tell each other.
                tell_addresses(&self.transport, plan.cluster, &plan.servers).await;
            }
            match self.founded(plan, mine, deadline).await {
                // Other brokers have other plans: let one of them have the servers, and look again.
                Err(ConnectError::Refused { .. }) if Instant::now() < deadline => {
                    let pause = rand::rng().random_range(1..10);
                    tokio::time::sleep(pause * PAUSE).await;
                }
                map => {
                    let map = map?;
                    return Ok(Named { identities, unreached, map, founded, moved, copied });
                }
            }
        }
    }

    /// The plan of a new cluster of the servers that answer, all of which are blank, if they may have
    /// one.
    fn plan(
        &self,
        identities: &[(String, Identity)],
        unreached: &[Unreached],
    ) -> Result<ClusterMap, ConnectError> {
        let (reached, named) = (identities.len(), self.addresses.len());
        let needed = named / 2 + 1;
        if !self.without_majority && reached < needed {
            let unreached = unreached.to_vec();
            return Err(ConnectError::TooFewToFound { reached, named, needed, unreached });
        }
        for Unreached { address, error } in unreached {
            if let IdentifyError::Decode(source @ DecodeError::Version { .. }) = error {
                let (address, source) = (address.clone(), source.clone());
                return Err(ConnectError::OtherVersion { address, source });
            }
        }
        let servers = identities.iter().map(|(address, id)| (id.server, address.clone()));
        let id = ClusterId(rand::random());
        let plan = ClusterMap::plan(id, self.copies, self.exact, servers.collect());
        let silent = unreached.iter().map(|unreached| unreached.address.clone()).collect();
        Ok(ClusterMap { silent, ..plan })
    }

    /// Tells the clusters apart that the named servers belong to.
    async fn different(&self, clusters: Vec<(String, ClusterMap)>) -> ConnectError {
        let described = clusters.iter().map(|(_, map)| describe(&self.transport, map));
        let described = join_all(described).await;
        let mut names = clusters.into_iter().map(|(address, map)| (address, map.cluster));
        match (names.next(), names.next()) {
            (Some((first, first_cluster)), Some((second, second_cluster))) => {
                let clusters = described;
                ConnectError::DifferentClusters {
                    first,
                    first_cluster,
                    second,
                    second_cluster,
                    clusters,
                }
            }
            // There are two at least.
            _ => ConnectError::NotFounded,
        }
    }

    /// Asks every server who it is, again for as long as one is reading its data.
    async fn identify_all(
        &self,
    ) -> Result<(Vec<(String, Identity)>, Vec<Unreached>), ConnectError> {
        let began = Instant::now();
        let mut told = BTreeSet::new();
        loop {
            let deadline = Instant::now() + IDENTIFY_TIME;
            let asked =
                self.addresses.iter().map(|address| identify(&self.transport, address, deadline));
            let mut identities = Vec::new();
            let mut unreached = Vec::new();
            let mut starting = Vec::new();
            for (address, answer) in self.addresses.iter().cloned().zip(join_all(asked).await) {
                match answer {
                    Ok(identity) => identities.push((address, identity)),
                    Err(IdentifyError::Refused(Refusal::Starting)) => starting.push(address),
                    Err(error) => unreached.push(Unreached { address, error }),
                }
            }
            if starting.is_empty() {
                return Ok((identities, unreached));
            }
            if began.elapsed() >= STARTING_TIME {
                let (servers, waited) = (starting, STARTING_TIME);
                return Err(ConnectError::Starting { servers, waited });
            }
            for address in starting {
                if !told.contains(&address) {
                    self.on_waiting.0(&address);
                    told.insert(address);
                }
            }
            tokio::time::sleep(STARTING_PAUSE).await;
        }
    }

    /// The map of the cluster of `plan`, once every shard is ready. Asks a server to found it for
    /// as long as no server has the map.
    async fn founded(
        &self,
        plan: ClusterMap,
        mine: bool,
        deadline: Instant,
    ) -> Result<ClusterMap, ConnectError> {
        let mut founders = plan.voters(GroupId::META).iter().cycle();
        loop {
            match self.newest_map(&plan).await {
                Some(map) if map.shards.iter().all(|shard| shard.ready) => return Ok(map),
                Some(_) => {}
                None => {
                    let founder = founders.next().and_then(|founder| plan.servers.get(founder));
                    if let Some(address) = founder {
                        self.ask_to_found(address, &plan, mine).await?;
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(match plan.epoch {
                    0 => ConnectError::NotFounded,
                    _ => ConnectError::NoMajority { servers: plan.servers.len() },
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The newest map of the plan's cluster. Servers of another one may be at its addresses.
    async fn newest_map(&self, plan: &ClusterMap) -> Option<ClusterMap> {
        let deadline = Instant::now() + IDENTIFY_TIME;
        let addresses = plan.servers.values();
        let asked = addresses.map(|address| identify(&self.transport, address, deadline));
        let maps = join_all(asked).await.into_iter();
        let maps = maps.filter_map(|identity| identity.ok()?.newest_map());
        maps.filter(|map| map.cluster == plan.cluster).max_by_key(|map| map.epoch)
    }

    /// Asks the server at `address` to found the cluster. That it does not answer is no error, and
    /// that it finds too few others is none if the plan is another broker's.
    async fn ask_to_found(
        &self,
        address: &str,
        plan: &ClusterMap,
        mine: bool,
    ) -> Result<(), ConnectError> {
        let frame = message::encode(&Request::Found(plan.clone()));
        let deadline = Instant::now() + 2 * IDENTIFY_TIME;
        let answer = self.transport.call(address, frame, deadline).await;
        let answer = answer.ok().and_then(|answer| message::decode::<Response>(&answer).ok());
        match answer {
            Some(Response::Refused(source))
                if mine || matches!(source, Refusal::OtherCluster | Refusal::Malformed) =>
            {
                Err(ConnectError::Refused { address: address.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

/// The named servers, and the cluster that they form.
struct Named {
    identities: Vec<(String, Identity)>,
    unreached: Vec<Unreached>,
    map: ClusterMap,
    /// Set if it was not founded before.
    founded: bool,
    /// Members that were found at other addresses than the map has.
    moved: Vec<(ServerId, String)>,
    copied: Vec<Copied>,
}

/// What the servers' answers call for.
#[derive(Debug, PartialEq)]
enum Decision {
    /// Found a cluster of all of them.
    Found,
    /// Connect to the cluster of this plan, or go on with founding it.
    Connect(ClusterMap),
    /// Have the user choose one of these clusters, each with a server that belongs to it.
    Choose(Vec<(String, ClusterMap)>),
}

fn decide(identities: &[(String, Identity)]) -> Result<Decision, ConnectError> {
    let mut seen = BTreeMap::new();
    for (address, identity) in identities {
        if let Some((first, run)) = seen.insert(identity.server, (address, identity.run)) {
            let (server, first, second) = (identity.server, first.clone(), address.clone());
            return Err(if run == identity.run {
                ConnectError::SameServer { first, second }
            } else {
                ConnectError::SameIdentity { server, first, second }
            });
        }
    }
    // A founded cluster goes before a plan, which another broker may be about to give up.
    let maps = identities.iter().filter_map(|(address, identity)| {
        let plan = identity.plan.as_ref().filter(|plan| plan.epoch > 0);
        Some((address, identity.map.as_ref().or(plan)?))
    });
    let mut clusters: Vec<(String, ClusterMap)> = Vec::new();
    for (address, map) in maps {
        match clusters.iter_mut().find(|(_, known)| known.cluster == map.cluster) {
            Some((_, known)) if known.epoch < map.epoch => *known = map.clone(),
            Some(_) => {}
            None => clusters.push((address.clone(), map.clone())),
        }
    }
    if clusters.len() > 1 {
        return Ok(Decision::Choose(clusters));
    }
    if let Some((_, map)) = clusters.pop() {
        return Ok(Decision::Connect(map));
    }
    let plans = identities.iter().filter_map(|(_, identity)| identity.plan.as_ref());
    let plan = plans.min_by_key(|plan| plan.cluster);
    Ok(plan.map_or(Decision::Found, |plan| Decision::Connect(plan.clone())))
}

impl Unreached {
    /// The transport's error, if it was one.
    pub fn transport_error(&self) -> Option<&TransportError> {
        match &self.error {
            IdentifyError::Transport(error) => Some(error),
            IdentifyError::Decode(_) | IdentifyError::Refused(_) | IdentifyError::Nonsense => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::RunId;
    use crate::replication::message::Addresses;
    use crate::transport::{BoxFuture, ChannelTransport, Frame, Listener};

    /// What a server says that has a plan or a map, by cluster and epoch.
    fn identity(server: u64, plan: Option<(u64, u64)>) -> (String, Identity) {
        let plan = plan.map(|(cluster, epoch)| {
            let servers = Addresses::from([(ServerId(server), String::new())]);
            ClusterMap { epoch, ..ClusterMap::plan(ClusterId(cluster), 1, false, servers) }
        });
        let (id, run) = (ServerId(server), RunId(server));
        (format!("server{server}"), Identity { server: id, plan, map: None, run })
    }

    fn cluster(identities: &[(String, Identity)]) -> ClusterId {
        match decide(identities).unwrap() {
            Decision::Connect(plan) => plan.cluster,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn blank_servers_found_a_cluster_and_known_ones_are_joined() {
        let blank = [identity(1, None), identity(2, None)];
        assert_eq!(decide(&blank).unwrap(), Decision::Found);
        let mixed = [identity(1, None), identity(2, Some((7, 1))), identity(3, Some((7, 2)))];
        assert_eq!(cluster(&mixed), ClusterId(7));
    }

    #[test]
    fn a_founded_cluster_goes_before_a_plan_and_the_lowest_plan_before_the_others() {
        let founded = [identity(1, Some((3, 0))), identity(2, Some((7, 1)))];
        assert_eq!(cluster(&founded), ClusterId(7));
        let plans = [identity(1, Some((8, 0))), identity(2, Some((7, 0)))];
        assert_eq!(cluster(&plans), ClusterId(7));
    }

    #[test]
    fn two_clusters_or_one_server_twice_are_refused() {
        let two = [identity(1, Some((7, 1))), identity(2, Some((8, 1)))];
        let Decision::Choose(clusters) = decide(&two).unwrap() else { panic!("it chose") };
        let ids: Vec<u64> = clusters.iter().map(|(_, map)| map.cluster.0).collect();
        assert_eq!(ids, [7, 8]);
        let twice = [identity(1, None), identity(1, None)];
        assert!(matches!(decide(&twice), Err(ConnectError::SameServer { .. })));
    }

    /// Answers every request so.
    async fn answering(network: &ChannelTransport, address: &str, response: Response) -> Listener {
        let frame = message::encode(&response);
        let handler = move |_: &str, _: Frame| -> BoxFuture<'static, Frame> {
            let frame = frame.clone();
            Box::pin(async move { frame })
        };
        network.listen(address, Arc::new(handler)).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_goes_on_reading_is_waited_for_as_long_as_is_said_and_then_named() {
        let network = ChannelTransport::new();
        let starting = Response::Refused(Refusal::Starting);
        let _slow = answering(&network, "slow", starting).await;
        let blank = Identity { server: ServerId(1), plan: None, map: None, run: RunId(1) };
        let blank = Response::Identity(Box::new(blank));
        let _blank = answering(&network, "blank", blank).await;
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let waiting = Arc::clone(&told);
        let builder = Broker::builder(network).servers(["blank", "slow"]);
        let began = Instant::now();
        let connected = builder
            .found_without_majority()
            .on_waiting(move |address| waiting.lock().unwrap().push(address.to_owned()))
            .connect()
            .await;
        let Err(ConnectError::Starting { servers, .. }) = &connected else {
            panic!("{connected:?}")
        };
        assert_eq!(*servers, ["slow"]);
        assert_eq!(*told.lock().unwrap(), ["slow"], "once");
        assert!((STARTING_TIME..STARTING_TIME + IDENTIFY_TIME).contains(&began.elapsed()));
        let told = connected.unwrap_err().to_string();
        assert_eq!(told, "after 60 seconds still reading its data: slow");
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_map_of_another_cluster_does_not_hide_that_of_the_one_that_is_meant() {
        let network = ChannelTransport::new();
        let servers: Addresses = (1..=2).map(|id| (ServerId(id), format!("server{id}"))).collect();
        let plan = ClusterMap::plan(ClusterId(7), 1, false, servers);
        let mut listeners = Vec::new();
        for (server, cluster, epoch) in [(1, 7, 1), (2, 8, 9)] {
            let map = ClusterMap { cluster: ClusterId(cluster), epoch, ..plan.clone() };
            let identity = Identity {
                server: ServerId(server),
                plan: Some(map),
                map: None,
                run: RunId(server),
            };
            let identity = Response::Identity(Box::new(identity));
            listeners.push(answering(&network, &format!("server{server}"), identity).await);
        }
        let newest = Broker::builder(network).newest_map(&plan).await.unwrap();
        assert_eq!((newest.cluster, newest.epoch), (ClusterId(7), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_cluster_is_founded_beside_a_server_of_another_version() {
        let network = ChannelTransport::new();
        let mut blanks = Vec::new();
        for server in 1..=2 {
            let blank = Identity { server: ServerId(server), plan: None, map: None, run: RunId(1) };
            let blank = Response::Identity(Box::new(blank));
            blanks.push(answering(&network, &format!("server{server}"), blank).await);
        }
        let older = |_: &str, _: Frame| -> BoxFuture<'static, Frame> {
            let mut frame = message::encode(&Response::Refused(Refusal::Malformed));
            frame[0] -= 1;
            Box::pin(async move { frame })
        };
        let _older = network.listen("older", Arc::new(older)).await.unwrap();
        let builder = Broker::builder(network).servers(["server1", "older", "server2"]);
        let connected = builder.connect().await;
        assert!(
            matches!(&connected, Err(ConnectError::OtherVersion { address, .. }) if address == "older"),
            "{connected:?}"
        );
    }
}

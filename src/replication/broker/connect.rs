//! Finding the cluster that the named servers form, or founding it.
//!
//! What to do follows from what the servers say of themselves, by [`decide`]:
//!
//! | the servers that answer | |
//! |---|---|
//! | fewer than the copies asked for | refuse |
//! | some belong to a cluster | connect; the others are no part of it |
//! | they belong to several clusters | refuse |
//! | some have the plan of a cluster that is not founded yet | go on with founding it |
//! | all are blank | found a cluster of them |

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use thiserror::Error;
use tokio::time::Instant;

use super::lane::Lane;
use super::members::{Copied, Moved, Standing, Whereabouts, standing, whereabouts};
use super::route::{IdentifyError, Routes, identify, tell_addresses};
use super::{Broker, DEADLINE, Inner};
use crate::replication::message::{self, Addresses, Identity, Refusal, Request, Response};
use crate::replication::meta::{ClusterMap, SERVERS_MAX};
use crate::replication::{ClusterId, GroupId, ServerId, ShardId};
use crate::transport::{Transport, TransportError};

/// How long a server may take to say who it is.
const IDENTIFY_TIME: Duration = Duration::from_secs(2);

/// How long founding a cluster may take.
const FOUNDING_TIME: Duration = Duration::from_secs(15);

/// How long to wait before the servers are asked again how far the founding is.
const PAUSE: Duration = Duration::from_millis(10);

/// A server that was named and did not say who it is.
#[derive(Debug)]
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
        /// How many servers answer.
        reached: usize,
        /// How many copies were asked for.
        copies: usize,
        /// Those that do not.
        unreached: Vec<Unreached>,
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
    /// The servers belong to different clusters. Name the servers of one.
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
    deadline: Duration,
}

impl<T: Transport> BrokerBuilder<T> {
    pub(super) fn new(transport: T) -> Self {
        let (addresses, copies, exact) = (Vec::new(), 1, false);
        Self { transport, addresses, copies, exact, deadline: DEADLINE }
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

    /// Sets how long a command may take, tries and pauses included; 5 seconds unless this is
    /// called.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Finds the cluster of the servers, or founds one if all of them are blank. The broker's
    /// tasks run in the caller's tokio runtime.
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
        let deadline = Instant::now() + FOUNDING_TIME;
        let (identities, unreached, map, moved, copied) = loop {
            let (identities, unreached) = self.identify_all().await;
            if identities.len() < self.copies {
                let (reached, copies) = (identities.len(), self.copies);
                return Err(ConnectError::TooFewServers { reached, copies, unreached });
            }
            let (plan, mine) = match decide(&identities)? {
                Decision::Found => {
                    let members = identities.iter();
                    let servers = members.map(|(address, id)| (id.server, address.clone()));
                    let id = ClusterId(rand::random());
                    (ClusterMap::plan(id, self.copies, self.exact, servers.collect()), true)
                }
                Decision::Connect(plan) => (plan, false),
            };
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
                founded => break (identities, unreached, founded?, moved, copied),
            }
        };
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

    async fn identify_all(&self) -> (Vec<(String, Identity)>, Vec<Unreached>) {
        let deadline = Instant::now() + IDENTIFY_TIME;
        let asked =
            self.addresses.iter().map(|address| identify(&self.transport, address, deadline));
        let mut identities = Vec::new();
        let mut unreached = Vec::new();
        for (address, answer) in self.addresses.iter().cloned().zip(join_all(asked).await) {
            match answer {
                Ok(identity) => identities.push((address, identity)),
                Err(error) => unreached.push(Unreached { address, error }),
            }
        }
        (identities, unreached)
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
            let newest = self.newest_map(&plan.servers).await;
            match newest.filter(|map| map.cluster == plan.cluster) {
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

    async fn newest_map(&self, servers: &Addresses) -> Option<ClusterMap> {
        let deadline = Instant::now() + IDENTIFY_TIME;
        let asked = servers.values().map(|address| identify(&self.transport, address, deadline));
        let maps = join_all(asked).await.into_iter();
        maps.filter_map(|identity| identity.ok()?.newest_map()).max_by_key(|map| map.epoch)
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

/// What the servers' answers call for.
#[derive(Debug, PartialEq)]
enum Decision {
    /// Found a cluster of all of them.
    Found,
    /// Connect to the cluster of this plan, or go on with founding it.
    Connect(ClusterMap),
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
    let maps: Vec<_> = maps.collect();
    if let Some((first, map)) = maps.first() {
        if let Some((second, other)) = maps.iter().find(|(_, other)| other.cluster != map.cluster) {
            return Err(ConnectError::DifferentClusters {
                first: (*first).clone(),
                first_cluster: map.cluster,
                second: (*second).clone(),
                second_cluster: other.cluster,
            });
        }
        let newest = maps.iter().map(|(_, map)| *map).max_by_key(|map| map.epoch);
        return Ok(Decision::Connect(newest.unwrap_or(map).clone()));
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
            IdentifyError::Decode(_) | IdentifyError::Nonsense => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::RunId;

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
            Decision::Found => panic!("founds another cluster"),
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
        assert!(matches!(decide(&two), Err(ConnectError::DifferentClusters { .. })));
        let twice = [identity(1, None), identity(1, None)];
        assert!(matches!(decide(&twice), Err(ConnectError::SameServer { .. })));
    }
}

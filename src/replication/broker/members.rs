//! Servers that come and go: what group 0's leader is told, which does the rest.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::clusters::{NamedCluster, describe};
use super::route::{IdentifyError, identify};
use super::{Broker, BrokerError};
use crate::replication::message::{Identity, Refusal};
use crate::replication::meta::{ClusterMap, MetaCommand, MetaReply, SERVERS_MAX};
use crate::replication::{ClusterId, ServerId, placement};
use crate::transport::Transport;

/// The pause before a server that reads its data is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a server did not join or leave the cluster.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The server cannot be reached, or does not say who it is. Nothing has changed.
    #[error("the server at {address} does not say who it is")]
    Identify {
        /// Its address.
        address: String,
        /// Why.
        source: IdentifyError,
    },
    /// The server belongs to another cluster. Nothing has changed. It can join from an empty directory.
    #[error("the server at {address} belongs to cluster {cluster}")]
    OtherCluster {
        /// Its address.
        address: String,
        /// Its cluster.
        cluster: ClusterId,
        /// This cluster and the other one, and what tells them apart.
        clusters: Vec<NamedCluster>,
    },
    /// The server was in the cluster and has left it. It does not come back under the id that it voted
    /// with: start it in an empty directory. Nothing has changed.
    #[error(
        "the server at {address} has left the cluster; it can join again from an empty directory"
    )]
    Left {
        /// Its address.
        address: String,
    },
    /// Another process has the identity of a server of the cluster, which answers at its address. Stop
    /// the one that runs in a copy of the other's directory. Nothing has changed.
    #[error(
        "server {} answers at {} and at {}: one of the two runs in a copy of the other's directory",
        .0.server, .0.address, .0.copy
    )]
    Copied(Copied),
    /// No server of the cluster has this address. Nothing has changed.
    #[error("no server of the cluster is at {address}")]
    NoSuchServer {
        /// The address.
        address: String,
    },
    /// There would be fewer servers than copies. Nothing has changed.
    #[error("{left} servers would be left, fewer than the {copies} copies")]
    TooFewServers {
        /// How many servers would be left.
        left: usize,
        /// How many copies the cluster keeps.
        copies: usize,
    },
    /// The cluster has as many servers as a cluster can have. Nothing has changed.
    #[error("the cluster has {limit} servers, and can have no more")]
    TooManyServers {
        /// The most servers of a cluster.
        limit: usize,
    },
    /// Group 0 did not answer. The change may have been noted; asking for it again does no harm.
    #[error("the cluster cannot note the change")]
    Broker(#[source] BrokerError),
}

/// A server of the cluster that was found at another address than the cluster knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// The address where it is.
    pub address: String,
    /// The address that the cluster knows, where it is not.
    pub before: String,
    /// Set once the cluster knows the new address. It does not if group 0 has no majority;
    /// [`Broker::join`] tells it later.
    pub noted: bool,
}

/// A process that was found at another address than that of a server whose identity it has, which
/// answers there. One of the two runs in a copy of the other's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The identity.
    pub server: ServerId,
    /// The address that the cluster knows.
    pub address: String,
    /// The address of the other process.
    pub copy: String,
}

/// The place of a member that answers at an address which the map lacks.
pub(super) enum Whereabouts {
    /// It answers at the address of the map, too.
    Same,
    /// It is not there any more.
    Moved,
    /// Another process with its identity is there.
    Copied,
}

/// Looks whether a member that answers at another address than `known` is at `known`, too.
pub(super) async fn whereabouts<T: Transport>(
    transport: &T,
    member: &Identity,
    known: &str,
    deadline: Instant,
) -> Whereabouts {
    match identify(transport, known, deadline).await {
        Ok(found) if found.server != member.server => Whereabouts::Moved,
        Ok(found) if found.run == member.run => Whereabouts::Same,
        Ok(_) => Whereabouts::Copied,
        Err(_) => Whereabouts::Moved,
    }
}

/// The cluster that a server leaves behind: see [`Broker::leave`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Departure {
    /// The servers that stay.
    pub servers: usize,
    /// The copies of each record once the server has left.
    pub voters: usize,
    /// The copies that each record has where there are enough servers: the number of copies that was
    /// asked for, rounded up to an odd one.
    pub voters_wanted: usize,
}

impl Departure {
    /// Whether each record has as many copies as were asked for. Where it has not, fewer servers may
    /// fail than before: of two copies none, of three one.
    pub fn is_whole(&self) -> bool {
        self.voters >= self.voters_wanted
    }

    /// How many servers that hold a record have to be down for it to take no write.
    pub fn losses_that_stop_writes(&self) -> usize {
        self.voters - self.voters / 2
    }

    fn of(map: &ClusterMap, leaving: ServerId) -> Self {
        let mut stay = map.active();
        stay.remove(&leaving);
        let voters = |servers| placement::voter_count(map.copies, map.exact, servers);
        let servers = stay.len();
        Self { servers, voters: voters(servers), voters_wanted: voters(usize::MAX) }
    }
}

/// What a server is to a cluster.
pub(super) enum Standing {
    /// It belongs to it, as far as the map says.
    Member,
    /// It belongs to no cluster.
    Blank,
    /// It belonged to it.
    Left,
    /// It belongs to another one.
    Other(ClusterId),
}

pub(super) fn standing(map: &ClusterMap, found: &Identity) -> Standing {
    let theirs = found.map.as_ref().or(found.plan.as_ref());
    match theirs {
        _ if map.servers.contains_key(&found.server) => Standing::Member,
        _ if found.is_blank() => Standing::Blank,
        Some(theirs) if theirs.cluster != map.cluster => Standing::Other(theirs.cluster),
        _ => Standing::Left,
    }
}

impl<T: Transport> Broker<T> {
    /// Has the server at `address` belong to the cluster, and hold its share of the data: returns
    /// once that is noted, and goes on by itself from there. A blank server takes the place of one
    /// that was at its address; one that belongs to the cluster and has moved is known at its new
    /// address from then on. Where it belongs to it already, nothing changes.
    ///
    /// # Errors
    ///
    /// [`MemberError`].
    pub async fn join(&self, address: &str) -> Result<(), MemberError> {
        let routes = &self.inner.routes;
        let found = self.identify_started(address).await;
        let fail = |source| MemberError::Identify { address: address.to_owned(), source };
        let found = found.map_err(fail)?;
        routes.refresh(self.deadline()).await;
        let map = routes.map();
        if let Some(known) = map.servers.get(&found.server).filter(|known| *known != address) {
            let transport = routes.transport();
            match whereabouts(transport, &found, known, self.deadline()).await {
                Whereabouts::Moved => {
                    routes.tell_addresses([(found.server, address.to_owned())].into()).await;
                }
                Whereabouts::Same => {}
                Whereabouts::Copied => {
                    let (server, copy) = (found.server, address.to_owned());
                    let address = known.clone();
                    return Err(MemberError::Copied(Copied { server, address, copy }));
                }
            }
        }
        match standing(&map, &found) {
            Standing::Member | Standing::Blank => self.note_member(found.server, address).await,
            Standing::Left => Err(MemberError::Left { address: address.to_owned() }),
            Standing::Other(cluster) => {
                let mut clusters = vec![describe(routes.transport(), &routes.map()).await];
                if let Some(map) = found.newest_map() {
                    clusters.push(describe(routes.transport(), &map).await);
                }
                Err(MemberError::OtherCluster { address: address.to_owned(), cluster, clusters })
            }
        }
    }

    /// Asks a server who it is, again for as long as it is reading its data and a command may take.
    async fn identify_started(&self, address: &str) -> Result<Identity, IdentifyError> {
        let deadline = self.deadline();
        loop {
            let found = identify(self.inner.routes.transport(), address, deadline).await;
            match found {
                Err(IdentifyError::Refused(Refusal::Starting)) if Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                found => return found,
            }
        }
    }

    pub(super) async fn note_member(
        &self,
        server: ServerId,
        address: &str,
    ) -> Result<(), MemberError> {
        let joins = MetaCommand::Join { server, address: address.to_owned() };
        let reply = self.change_meta(&joins).await.map_err(MemberError::Broker)?;
        if reply == MetaReply::TooManyServers {
            return Err(MemberError::TooManyServers { limit: SERVERS_MAX });
        }
        self.inner.routes.refresh(self.deadline()).await;
        Ok(())
    }

    /// Has the server at `address` give up what it holds to others and leave the cluster: returns
    /// once that is noted, and goes on by itself from there. It has left once
    /// [`Broker::moves`] is 0. A server that is down can leave, too.
    ///
    /// What is returned tells what it costs: those that stay may be too few for the copies that an
    /// even number of copies is rounded up to.
    ///
    /// # Errors
    ///
    /// [`MemberError`].
    pub async fn leave(&self, address: &str) -> Result<Departure, MemberError> {
        let routes = &self.inner.routes;
        routes.refresh(self.deadline()).await;
        let map = routes.map();
        let at = map.servers.iter().find(|(id, at)| *at == address && !map.is_superseded(**id));
        let Some((&server, _)) = at else {
            return Err(MemberError::NoSuchServer { address: address.to_owned() });
        };
        let leaves = MetaCommand::Leave(server);
        let reply = self.change_meta(&leaves).await.map_err(MemberError::Broker)?;
        if let MetaReply::TooFewServers(left) = reply {
            return Err(MemberError::TooFewServers { left, copies: map.copies });
        }
        routes.refresh(self.deadline()).await;
        Ok(Departure::of(&routes.map(), server))
    }

    /// How many groups are not held by those who are to hold them, or were not when the servers were
    /// asked: 0 once all who came hold their share, and all who were to leave have left.
    pub async fn moves(&self) -> usize {
        let routes = &self.inner.routes;
        routes.refresh(Instant::now() + self.inner.deadline).await;
        let map = routes.map();
        map.moves().len().max(map.leaving.len())
    }
}

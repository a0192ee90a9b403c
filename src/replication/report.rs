//! What a server tells of itself and of its replicas: the content of
//! [`Response::Status`](super::message::Response::Status).
//!
//! A report is what one server sees at one moment. Servers see different things while they are cut
//! off from each other; [`Broker::status`](super::Broker::status) makes one picture of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::replication::message::{self, Position};
use crate::replication::promise::Evidence;
use crate::replication::{ClusterId, GroupId, ServerId};

/// A server, and the groups that it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerReport {
    /// Its id.
    pub(crate) server: ServerId,
    /// The version of this crate that it runs.
    pub(crate) version: String,
    /// How long it has been up, in milliseconds.
    pub(crate) uptime_millis: u64,
    /// The cluster of the plan or map that it was told last.
    pub(crate) cluster: Option<ClusterId>,
    /// The epoch of that map, 0 of a plan.
    pub(crate) epoch: u64,
    /// The groups, by number.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) groups: Vec<GroupReport>,
    /// Directories from the past.
    pub(crate) past: Past,
    /// Set while its disk is full.
    pub(crate) disk_full: bool,
}

/// The directories from the past that a server knows of: see
/// [`peers`](super::peers).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Its own, so that it takes part in nothing.
    pub(crate) own: Option<Evidence>,
    /// Its own of before, in whose place it began anew.
    pub(crate) set_aside: Option<SetAside>,
    /// Those of others.
    pub(crate) others: BTreeMap<ServerId, Evidence>,
}

/// A server whose directory was from the past, so that a new one took its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SetAside {
    /// The server's id.
    pub server: ServerId,
    /// The proof.
    pub evidence: Evidence,
    /// The names of its files: a directory and the beginning of the names there.
    pub files: String,
}

/// A group, as one of its replicas sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupReport {
    /// The group.
    pub(crate) group: GroupId,
    /// Whether the replica takes part; it does not once its storage failed.
    pub(crate) runs: bool,
    /// What the replica takes itself for.
    pub(crate) role: Role,
    /// Whether the replica leads, and a majority has agreed within the longest election time.
    pub(crate) leads: bool,
    /// The leader as the replica knows it, which may be gone.
    pub(crate) leader: Option<ServerId>,
    /// The newest term that the replica knows.
    pub(crate) term: u64,
    /// The last entry of its log.
    pub(crate) last: Option<Position>,
    /// The last entry that it knows to be committed.
    pub(crate) committed: Option<u64>,
    /// How far it has applied its log.
    pub(crate) applied: Position,
    /// Who votes.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) voters: Vec<ServerId>,
    /// Who gets the log and does not vote.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) learners: Vec<ServerId>,
    /// The others, if the replica leads.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) followers: Vec<Progress>,
    /// How many records there are, in a shard.
    pub(crate) documents: Option<u64>,
}

/// Another replica, as the leader of its group sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Where it is.
    pub(crate) server: ServerId,
    /// The last entry that it is known to have. None before it has said so to this leader.
    pub(crate) matched: Option<u64>,
    /// Whether it has answered within the longest election time.
    pub(crate) heard: bool,
}

/// What a replica takes itself for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Role {
    /// It decides what comes into the log.
    Leader,
    /// It votes, and takes over the leader's log.
    Follower,
    /// It stands for election.
    Candidate,
    /// It takes over the leader's log and does not vote; so does a replica that knows no voters yet.
    Learner,
}

//! Documents on many servers: [`Server`], [`Broker`], [`Cluster`].
//!
//! # Vocabulary
//!
//! The hash of a record's key picks its *shard*; the number of shards is fixed when the cluster is
//! founded. Each shard is a *group* of *replicas* on different servers, which agree on one log of
//! writes by consensus; one of them *leads*. *Group 0* is one more group of the same make, which
//! holds the *map*: the servers, and which of them hold which shard. A *broker* is a client: it
//! has the map, sends each command to the leader of the shard, and keeps nothing that another
//! broker would miss.
//!
//! # The way of a write
//!
//! [`Broker::put`] puts the command in the queue of its shard. All commands that wait there go
//! together: one frame, one entry of the log. The leader's replica applies the entry once a
//! majority of the replicas has it, and answers each command. A lost answer makes the broker send
//! the batch again under the same number, to whoever leads then; the shard's session table makes
//! sure that it is applied once.
//!
//! # What is promised
//!
//! Reads and writes are linearizable for each key. `docs/guarantees.md` says what holds when
//! servers fail; [`BrokerError`] says what a failed command may have done.
//!
//! With a [directory](ServerBuilder::data_dir), a server acknowledges nothing that is not on its
//! disk, and goes on from there when it is started again: a write that was acknowledged is there
//! after a loss of power of all servers. Without one it is in memory, and a server that stops comes
//! back as a new, empty one.
//!
//! # Servers that come and go
//!
//! [`Broker::join`] and [`Broker::leave`] tell group 0, whose leader moves the shards; a server that
//! comes back empty takes the place of the one that was at its address without being asked to.
//! [`Broker::status`] tells how it is.

use std::fmt;

use serde::{Deserialize, Serialize};

mod broker;
mod cluster;
mod message;
mod meta;
mod peers;
mod placement;
mod promise;
mod raft;
mod report;
mod server;
mod session;
mod shard;

pub use crate::parser::{LINE_BYTES_MAX, LineError};
pub use broker::{
    Broker, BrokerBuilder, BrokerError, COMMAND_BYTES_MAX, ClusterStatus, ConnectError, Copied,
    CopyStatus, Departure, Explanation, GroupStatus, Health, Holds, IdentifyError, LoadError,
    LoadEvent, LoadMode, LoadReport, MemberError, Moved, NamedCluster, PastStatus, RecoverError,
    Recovery, ReplicaState, ReplicaStatus, ServerState, ServerStatus, Stale, StatusError, Stranger,
    Unreached,
};
pub use cluster::{Cluster, ClusterBuilder, ClusterError};
pub use message::{DecodeError, Refusal};
pub use promise::Evidence;
pub use raft::{ServerFailure, Timing};
pub use report::{Role, SetAside};
pub use server::{Server, ServerBuilder, ServerError};

/// A server. Drawn at random when it starts for the first time, and kept with its data; a server
/// that starts empty is a new one, also where another one was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerId(pub(crate) u64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A cluster. Drawn at random when it is founded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub(crate) u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A shard, by number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub(crate) u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client, for the session tables. Drawn at random by each broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ClientId(pub(crate) u64);

/// A run of a server: the time from one start of its process to the next. Drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RunId(pub(crate) u64);

/// A group of replicas: 0 holds the map, n + 1 holds shard n. A shard that was recovered without its
/// majority is a group of a new generation, which nothing of the old one can disturb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupId(pub(crate) u32);

/// The generation is in the high half of a group's number.
const GENERATION_SHIFT: u32 = 16;

impl GroupId {
    /// Group 0.
    pub const META: Self = Self(0);

    /// The group of a shard in this generation.
    pub(crate) fn of(shard: ShardId, generation: u16) -> Self {
        Self(Self::from(shard).0 | u32::from(generation) << GENERATION_SHIFT)
    }

    /// How many times its shard was recovered without a majority.
    pub(crate) fn generation(self) -> u32 {
        self.0 >> GENERATION_SHIFT
    }

    /// The shard that the group holds, `None` for group 0.
    pub fn shard(self) -> Option<ShardId> {
        (self.0 & ((1 << GENERATION_SHIFT) - 1)).checked_sub(1).map(ShardId)
    }
}

impl From<ShardId> for GroupId {
    fn from(shard: ShardId) -> Self {
        Self(shard.0.saturating_add(1))
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard() {
            None => f.write_str("group 0"),
            Some(shard) => write!(f, "shard {shard}"),
        }
    }
}

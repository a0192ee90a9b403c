//! A broker: the cluster's client. It finds the leader of each key's shard, sends commands in
//! batches, and tries again until it knows the outcome or the deadline has passed.
//!
//! Founding and finding the cluster is in [`connect`], telling clusters apart in [`clusters`], the queues of the shards in [`lane`], the
//! search for a leader in [`route`], partial writes in [`partial`], the indexing of files in [`load`],
//! emptying in [`clear`],
//! servers that come and go in [`members`], shards without a majority in
//! [`recover`], how the cluster is in
//! [`status`].

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::try_join_all;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::parser::{Command, Condition, ParseError, parse_path};
use crate::replication::message::{Answer, Read, Refusal};
use crate::replication::shard::encode_command;
use crate::replication::{ClusterId, GroupId, ShardId};
use crate::store::{CommandError, Page, Put, Record, Reply, ScanPage, check_key, check_value};
use crate::transport::Transport;
use crate::value::{Path, Value, ValueError};

mod clear;
mod clusters;
mod connect;
mod lane;
mod load;
mod members;
mod partial;
mod recover;
mod route;
mod status;
mod typed;

pub use clusters::NamedCluster;
pub use connect::{BrokerBuilder, ConnectError, Unreached};
use lane::Lane;
pub use load::{LoadError, LoadEvent, LoadMode, LoadReport};
pub use members::{Copied, Departure, MemberError, Moved};
pub use recover::{RecoverError, Recovery};
pub use route::IdentifyError;
use route::Routes;
pub use status::{
    ClusterStatus, CopyStatus, Explanation, GroupStatus, Health, Holds, PastStatus, ReplicaState,
    ReplicaStatus, ServerState, ServerStatus, StatusError, Stranger,
};

/// How long a command may take, unless [`BrokerBuilder::deadline`] says otherwise.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a record may take that is one of many: longer than a command at the prompt, so that an
/// election does not end the whole.
const RECORD_TIME: Duration = Duration::from_secs(30);

/// How much longer than its deadline a command waits for its queue, which knows more of the outcome.
const GRACE: Duration = Duration::from_millis(250);

/// The largest command, encoded, and the largest value that a partial write leaves: 8 MiB. Shards
/// refuse by it, so it is the same on every server of a cluster.
pub const COMMAND_BYTES_MAX: usize = 8 << 20;

/// Why a command did not succeed, and what it may have done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The text is not a path. Nothing was sent.
    #[error("not a path")]
    Path(#[source] ParseError),
    /// The command was refused. Nothing has changed.
    #[error(transparent)]
    Store(CommandError),
    /// What is stored does not fit the Rust type that was asked for. The place is told from the root
    /// of the record.
    #[error(transparent)]
    Type(ValueError),
    /// The command is larger than what is sent. Nothing was sent.
    #[error("the command has {len} bytes, the limit is {limit}")]
    CommandTooLarge {
        /// Size of the command, in bytes.
        len: usize,
        /// [`COMMAND_BYTES_MAX`].
        limit: usize,
    },
    /// So many of the shard's servers cannot be reached that it has no majority. The command was
    /// not carried out. Start servers, then try again; [`Broker::get_stale`] reads what is left.
    #[error("{lost} of the {voters} servers that hold {group} are down")]
    NoMajority {
        /// The shard's group.
        group: GroupId,
        /// How many of its servers cannot be reached, or have lost their replica.
        lost: usize,
        /// How many servers hold the shard.
        voters: usize,
    },
    /// No server led the shard before the deadline. The command was not carried out.
    #[error("no server led {group} before the deadline")]
    NoLeader {
        /// The shard's group.
        group: GroupId,
    },
    /// The command was sent, and its answer did not come. It may have been carried out, or may
    /// still be: read before trying again.
    #[error("the answer of {group} was lost: whether it carried the command out is unknown")]
    Unknown {
        /// The shard's group.
        group: GroupId,
        /// Whether so many of the shard's servers are down that it has no majority.
        no_majority: bool,
    },
    /// No replica of the shard can be reached.
    #[error("none of the {voters} servers that hold {group} can be reached")]
    Unavailable {
        /// The shard's group.
        group: GroupId,
        /// How many servers hold the shard.
        voters: usize,
    },
    /// A server did not do what it was asked. The command was not carried out.
    #[error("{group} refused the request")]
    Refused {
        /// The shard's group.
        group: GroupId,
        /// Why.
        source: Refusal,
    },
    /// The tasks of the broker have ended, since its runtime is shutting down. What was sent may
    /// have been carried out.
    #[error("the broker has stopped")]
    Stopped,
}

impl BrokerError {
    /// Whether the command may have been carried out all the same.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Stopped => true,
            Self::Path(_)
            | Self::Type(_)
            | Self::Store(_)
            | Self::CommandTooLarge { .. }
            | Self::NoMajority { .. }
            | Self::NoLeader { .. }
            | Self::Unavailable { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// Whether the shard has lost its majority or its leader, so that only a stale read can be
    /// answered for now.
    pub fn is_degraded(&self) -> bool {
        match self {
            Self::NoMajority { .. } | Self::NoLeader { .. } => true,
            Self::Path(_)
            | Self::Type(_)
            | Self::Store(_)
            | Self::CommandTooLarge { .. }
            | Self::Unknown { .. }
            | Self::Unavailable { .. }
            | Self::Refused { .. }
            | Self::Stopped => false,
        }
    }
}

/// An answer that may lack the latest writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Stale<A> {
    /// The answer of the most advanced replica that could be reached.
    pub answer: A,
    /// How many replicas could be reached.
    pub replicas: usize,
    /// How many there are.
    pub voters: usize,
}

/// A client of a cluster. Clones share queues and connections.
///
/// Commands of one caller, each awaited, are carried out in order. Commands that wait at the same
/// time for the same shard go in one frame, so many callers cost little more than one.
pub struct Broker<T: Transport> {
    inner: Arc<Inner<T>>,
}

impl<T: Transport> Clone for Broker<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: Transport> fmt::Debug for Broker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("cluster", &self.cluster()).finish_non_exhaustive()
    }
}

struct Inner<T: Transport> {
    routes: Arc<Routes<T>>,
    lanes: Vec<Lane>,
    deadline: Duration,
    founded: bool,
    unreached: Vec<Unreached>,
    newcomers: Vec<String>,
    left: Vec<String>,
    absent: Vec<String>,
    /// Set once they were noted.
    moved: OnceLock<Vec<Moved>>,
    copied: Vec<Copied>,
}

impl<T: Transport> Broker<T> {
    /// A broker that will reach servers over `transport`.
    pub fn builder(transport: T) -> BrokerBuilder<T> {
        BrokerBuilder::new(transport)
    }

    /// The cluster's id.
    pub fn cluster(&self) -> ClusterId {
        self.inner.routes.map().cluster
    }

    /// The copies that the cluster was founded with.
    pub fn copies(&self) -> usize {
        self.inner.routes.map().copies
    }

    /// The servers that hold each shard: [`Broker::copies`], rounded up to an odd number where
    /// the cluster had enough servers.
    pub fn voters(&self) -> usize {
        self.inner.routes.map().shards.first().map_or(0, |shard| shard.voters.len())
    }

    /// The number of servers of the cluster.
    pub fn servers(&self) -> usize {
        self.inner.routes.map().servers.len()
    }

    /// Whether the cluster was not there before: this broker founded it, or another one that connected
    /// at the same time or was interrupted. [`Broker::unreached`] then names the servers that were silent;
    /// if one of them holds an older cluster, there are two now.
    pub fn has_founded(&self) -> bool {
        self.inner.founded
    }

    /// The servers that were named and could not be reached when the broker connected.
    pub fn unreached(&self) -> &[Unreached] {
        &self.inner.unreached
    }

    /// The addresses of servers that were named and did not belong to the cluster when the broker
    /// connected: they join it.
    pub fn newcomers(&self) -> &[String] {
        &self.inner.newcomers
    }

    /// The addresses of servers that were named and have left the cluster.
    pub fn left(&self) -> &[String] {
        &self.inner.left
    }

    /// The addresses of servers that belong to the cluster and were not named, or did not answer
    /// when the broker connected.
    pub fn absent(&self) -> &[String] {
        &self.inner.absent
    }

    /// The servers of the cluster that were named at other addresses than it knew, and do not answer at
    /// those any more.
    pub fn moved(&self) -> &[Moved] {
        self.inner.moved.get().map_or(&[], Vec::as_slice)
    }

    /// The processes that were named and only have the identity of a server, which answers where the
    /// cluster knows it. They are no part of the cluster.
    pub fn copied(&self) -> &[Copied] {
        &self.inner.copied
    }

    /// Puts `value` at `key`, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; [`BrokerError::is_ambiguous`] tells whether the value may be there.
    pub async fn put(&self, key: &str, value: Value) -> Result<Put, BrokerError> {
        self.put_if(key, value, Condition::Always).await
    }

    /// Puts `value` at `key` if `condition` holds; the check and the write are one step.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Store`] with [`CommandError::Conflict`] if the condition does not hold, else as
    /// [`Broker::put`].
    pub async fn put_if(
        &self,
        key: &str,
        value: Value,
        condition: Condition,
    ) -> Result<Put, BrokerError> {
        let deadline = self.deadline();
        let pending = self.begin_put(key, value, condition, deadline).await?;
        self.put_answered(key, &self.written(key, pending, deadline).await?)
    }

    /// Deletes the record at `key` and returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; [`BrokerError::is_ambiguous`] tells whether it may be gone.
    pub async fn delete(&self, key: &str) -> Result<bool, BrokerError> {
        check_key(key).map_err(BrokerError::Store)?;
        let command = Command::Delete { key: key.to_owned() };
        let deadline = self.deadline();
        let pending = self.begin_write(key, &command, deadline).await?;
        self.delete_answered(key, &self.written(key, pending, deadline).await?)
    }

    /// Returns the record at `key`, or `None` if there is none.
    ///
    /// The answer has seen every write that was acknowledged before the call.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]. Where it [is degraded](BrokerError::is_degraded), [`Broker::get_stale`] may
    /// have an answer.
    pub async fn get(&self, key: &str) -> Result<Option<Record>, BrokerError> {
        let shard = self.shard_of(key);
        match self.read(shard, Read::Get(key.to_owned())).await? {
            Answer::Record(record) => Ok(record),
            Answer::Value(_) | Answer::Page(_) | Answer::Count(_) => Err(self.nonsense(key)),
        }
    }

    /// Returns the value at `path`, given as text (`person1.address.city`), or `None` if there is
    /// none. As fresh as [`Broker::get`].
    ///
    /// # Errors
    ///
    /// [`BrokerError::Path`] if `path` is not a path, else as [`Broker::get`].
    pub async fn query(&self, path: &str) -> Result<Option<Value>, BrokerError> {
        self.query_path(&parse_path(path).map_err(BrokerError::Path)?).await
    }

    /// Returns the value at `path`, or `None` if there is none. As fresh as [`Broker::get`].
    ///
    /// # Errors
    ///
    /// As [`Broker::get`].
    pub async fn query_path(&self, path: &Path) -> Result<Option<Value>, BrokerError> {
        let shard = self.shard_of(path.key());
        match self.read(shard, Read::Query(path.clone())).await? {
            Answer::Value(value) => Ok(value),
            Answer::Record(_) | Answer::Page(_) | Answer::Count(_) => {
                Err(self.nonsense(path.key()))
            }
        }
    }

    /// Returns what the most advanced reachable replica has at `key`, which may lack the latest
    /// writes.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`] if no replica can be reached.
    pub async fn get_stale(&self, key: &str) -> Result<Stale<Option<Record>>, BrokerError> {
        let shard = self.shard_of(key);
        let stale = self.inner.routes.ask_replicas(shard, Read::Get(key.to_owned())).await?;
        match stale.answer {
            Answer::Record(answer) => {
                Ok(Stale { answer, replicas: stale.replicas, voters: stale.voters })
            }
            Answer::Value(_) | Answer::Page(_) | Answer::Count(_) => Err(self.nonsense(key)),
        }
    }

    /// Returns what the most advanced reachable replica has at `path`, which may lack the latest
    /// writes.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unavailable`] if no replica can be reached.
    pub async fn query_path_stale(&self, path: &Path) -> Result<Stale<Option<Value>>, BrokerError> {
        let shard = self.shard_of(path.key());
        let stale = self.inner.routes.ask_replicas(shard, Read::Query(path.clone())).await?;
        match stale.answer {
            Answer::Value(answer) => {
                Ok(Stale { answer, replicas: stale.replicas, voters: stale.voters })
            }
            Answer::Record(_) | Answer::Page(_) | Answer::Count(_) => {
                Err(self.nonsense(path.key()))
            }
        }
    }

    /// One page of the records whose key starts with `prefix`, in byte order of the keys.
    ///
    /// Asks every shard for a page, so a page costs as many reads as there are shards. Linearizable
    /// for each shard; there is no one moment at which all of them are read.
    ///
    /// # Errors
    ///
    /// As [`Broker::get`], for the first shard that fails.
    pub async fn scan(&self, prefix: &str, page: Page) -> Result<ScanPage, BrokerError> {
        let asked = self.shards().map(async |shard| {
            let read = Read::Scan { prefix: prefix.to_owned(), page: page.clone() };
            match self.read(shard, read).await? {
                Answer::Page(page) => Ok(page),
                Answer::Record(_) | Answer::Value(_) | Answer::Count(_) => {
                    Err(BrokerError::Refused { group: shard.into(), source: Refusal::Malformed })
                }
            }
        });
        Ok(ScanPage::merge(try_join_all(asked).await?, page.limit()))
    }

    /// The number of records. Linearizable for each shard, as [`Broker::scan`].
    ///
    /// # Errors
    ///
    /// As [`Broker::get`], for the first shard that fails.
    pub async fn len(&self) -> Result<u64, BrokerError> {
        let asked = self.shards().map(async |shard| match self.read(shard, Read::Count).await? {
            Answer::Count(records) => Ok(records),
            Answer::Record(_) | Answer::Value(_) | Answer::Page(_) => {
                Err(BrokerError::Refused { group: shard.into(), source: Refusal::Malformed })
            }
        });
        Ok(try_join_all(asked).await?.into_iter().sum())
    }

    /// Whether there is no record: see [`Broker::len`].
    ///
    /// # Errors
    ///
    /// As [`Broker::len`].
    pub async fn is_empty(&self) -> Result<bool, BrokerError> {
        Ok(self.len().await? == 0)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.inner.deadline
    }

    fn shard_of(&self, key: &str) -> ShardId {
        self.inner.routes.map().shard_of(key)
    }

    fn shards(&self) -> impl Iterator<Item = ShardId> {
        (0..u32::try_from(self.inner.lanes.len()).unwrap_or(u32::MAX)).map(ShardId)
    }

    /// Puts a put in its shard's queue; puts of one key are carried out in the order of these calls.
    async fn begin_put(
        &self,
        key: &str,
        value: Value,
        condition: Condition,
        deadline: Instant,
    ) -> Result<Pending<Reply>, BrokerError> {
        check_key(key).map_err(BrokerError::Store)?;
        check_value(&value).map_err(BrokerError::Store)?;
        let command = Command::Put { key: key.to_owned(), value, condition };
        self.begin_write(key, &command, deadline).await
    }

    async fn begin_write(
        &self,
        key: &str,
        command: &Command,
        deadline: Instant,
    ) -> Result<Pending<Reply>, BrokerError> {
        let command = encode_command(command);
        if command.len() > COMMAND_BYTES_MAX {
            return Err(BrokerError::CommandTooLarge {
                len: command.len(),
                limit: COMMAND_BYTES_MAX,
            });
        }
        let lane = self.lane(self.shard_of(key))?;
        lane.write(command, deadline).await
    }

    /// Waits for the outcome of a write: unknown, if none comes in time.
    async fn written(
        &self,
        key: &str,
        pending: Pending<Reply>,
        deadline: Instant,
    ) -> Result<Reply, BrokerError> {
        let group = self.shard_of(key).into();
        let outcome = tokio::time::timeout_at(deadline + GRACE, finish(pending)).await;
        outcome.unwrap_or(Err(BrokerError::Unknown { group, no_majority: false }))
    }

    async fn read(&self, shard: ShardId, read: Read) -> Result<Answer, BrokerError> {
        let deadline = self.deadline();
        let pending = self.lane(shard)?.read(read, deadline).await?;
        let outcome = tokio::time::timeout_at(deadline + GRACE, finish(pending)).await;
        outcome.unwrap_or(Err(BrokerError::NoLeader { group: shard.into() }))
    }

    fn lane(&self, shard: ShardId) -> Result<&Lane, BrokerError> {
        let lane = self.inner.lanes.get(shard.0 as usize);
        lane.ok_or(BrokerError::Unavailable { group: shard.into(), voters: 0 })
    }

    fn put_answered(&self, key: &str, reply: &Reply) -> Result<Put, BrokerError> {
        match reply {
            Reply::Put(put) => Ok(*put),
            Reply::Record(_) | Reply::Value(_) | Reply::Deleted(_) => Err(self.nonsense(key)),
        }
    }

    fn delete_answered(&self, key: &str, reply: &Reply) -> Result<bool, BrokerError> {
        match reply {
            Reply::Deleted(found) => Ok(*found),
            Reply::Record(_) | Reply::Value(_) | Reply::Put(_) => Err(self.nonsense(key)),
        }
    }

    /// A server answered something else than what was asked.
    fn nonsense(&self, key: &str) -> BrokerError {
        BrokerError::Refused { group: self.shard_of(key).into(), source: Refusal::Malformed }
    }
}

/// What will come of a command in a queue.
type Pending<A> = oneshot::Receiver<Result<A, BrokerError>>;

async fn finish<A>(pending: Pending<A>) -> Result<A, BrokerError> {
    pending.await.map_err(|_| BrokerError::Stopped)?
}

//! What travels in frames between brokers and servers, and how it is encoded.
//!
//! Each message, each log entry and each snapshot is one version byte, then the postcard encoding
//! of a type of this crate; `docs/protocol.md` lists them. A frame carries many commands for one
//! shard; one command is a batch of one.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::replication::meta::ClusterMap;
use crate::replication::promise::{Evidence, Standing};
use crate::replication::report::ServerReport;
use crate::replication::{ClusterId, GroupId, RunId, ServerId, ShardId};
use crate::store::{CommandError, Page, Record, Reply, ScanPage};
use crate::value::{Path, Value};

/// The version of every encoding of this module.
const FORMAT_VERSION: u8 = 3;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No byte at all.
    #[error("the message is empty")]
    Empty,
    /// The sender speaks another version: update the older side.
    #[error("the message has format version {found}, expected {expected}")]
    Version {
        /// The version byte found.
        found: u8,
        /// The version that this crate speaks.
        expected: u8,
    },
    /// The rest is not the encoding of the type that was expected.
    #[error("the message of {len} bytes is malformed")]
    Malformed {
        /// Length of the message, in bytes.
        len: usize,
        /// What the decoder found.
        source: postcard::Error,
    },
    /// It decodes, and contradicts itself.
    #[error("the message contradicts itself")]
    Inconsistent,
    /// The encoding ends before the message does.
    #[error("{len} bytes follow the end of the message")]
    TrailingBytes {
        /// How many.
        len: usize,
    },
}

/// Encodes `message`, version byte first.
///
/// # Panics
///
/// If a value holds what cannot be stored: the caller has checked it.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_extend(message, vec![FORMAT_VERSION]).expect("what is sent has been checked")
}

/// Decodes a message that takes all of `bytes`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (message, rest) = decode_first(bytes)?;
    if rest.is_empty() { Ok(message) } else { Err(DecodeError::TrailingBytes { len: rest.len() }) }
}

/// Decodes a message at the start of `bytes`; gives what follows it.
pub(crate) fn decode_first<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != FORMAT_VERSION {
        return Err(DecodeError::Version { found: *version, expected: FORMAT_VERSION });
    }
    postcard::take_from_bytes(body)
        .map_err(|source| DecodeError::Malformed { len: bytes.len(), source })
}

/// The most items of a list in a message.
pub(crate) const ITEMS_MAX: usize = 4096;

/// Decodes a list of at most [`ITEMS_MAX`] items: a few bytes must not become a large list.
pub(crate) fn bounded<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Visitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {ITEMS_MAX} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == ITEMS_MAX {
                    return Err(serde::de::Error::invalid_length(ITEMS_MAX + 1, &self));
                }
                list.push(item);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(Visitor(PhantomData))
}

/// Bytes that are encoded as one run and not as a list of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// What a server is asked.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Who are you? Answered by [`Response::Identity`].
    Identify,
    /// Found the cluster that this plan describes. Answered by [`Response::Identity`].
    Found(ClusterMap),
    /// Belong to the cluster of this plan and to no other. Answered by [`Response::Done`].
    Claim(ClusterMap),
    /// Forget the plan of this cluster, which will not be founded. Answered by [`Response::Done`].
    Release(ClusterId),
    /// Hold a replica of this group, and make it the group's first member if asked to. Answered by
    /// [`Response::Done`].
    Host {
        /// The cluster as far as the sender knows it: voters and addresses.
        map: ClusterMap,
        /// The group.
        group: GroupId,
        /// Whether to begin the group's log with its voters.
        initialize: bool,
    },
    /// Propose this batch (an encoded [`Batch`](super::shard::Batch)). Answered by
    /// [`Response::Written`].
    Write {
        /// The cluster whose shard is meant: the server at an address may have come to another one.
        cluster: ClusterId,
        /// The shard.
        shard: ShardId,
        /// The encoded batch.
        batch: Bytes,
    },
    /// Answer these reads. Answered by [`Response::Answers`].
    Read {
        /// The cluster whose shard is meant.
        cluster: ClusterId,
        /// The shard.
        shard: ShardId,
        /// What the answers must have seen.
        freshness: Freshness,
        /// The questions.
        #[serde(deserialize_with = "bounded")]
        reads: Vec<Read>,
    },
    /// Propose this change to group 0. Answered by [`Response::Written`].
    Meta {
        /// The cluster whose group is meant.
        cluster: ClusterId,
        /// The encoded [`MetaCommand`](super::meta::MetaCommand).
        command: Bytes,
    },
    /// A message between two replicas of a group. Answered by [`Response::Raft`].
    Raft {
        /// The server that sends it, which has introduced itself to the other.
        from: ServerId,
        /// The run of the sender.
        run: RunId,
        /// The server that it is for: one that was started anew at the same address is another one.
        to: ServerId,
        /// The newest run of that server, if the sender knows it.
        to_run: Option<RunId>,
        /// The cluster that the replicas belong to.
        cluster: ClusterId,
        /// The group.
        group: GroupId,
        /// The encoded message.
        message: Bytes,
    },
    /// Take over this map, and give up the replicas that it gives to others. Answered by
    /// [`Response::Done`].
    Settle {
        /// The map.
        map: ClusterMap,
        /// The groups whose voters are known to be those of the map.
        #[serde(deserialize_with = "bounded")]
        confirmed: Vec<GroupId>,
    },
    /// Have this group, which the server leads, vote as the map wants it. Answered by
    /// [`Response::Done`] or [`Response::UnderWay`].
    Arrange {
        /// The map.
        map: ClusterMap,
        /// The group.
        group: GroupId,
    },
    /// How are you? Answered by [`Response::Status`].
    Status,
    /// Know who I am before you deal with my replicas. Answered by [`Response::Introduced`].
    Introduce(Box<Introduction>),
    /// Look who is at the address of each server: another one was found at one of them. Answered by
    /// [`Response::Done`] or [`Response::NotLeader`].
    Look,
    /// Servers of your cluster were found at these addresses. Answered by [`Response::Done`].
    Addresses {
        /// The cluster.
        cluster: ClusterId,
        /// The addresses.
        addresses: Addresses,
    },
}

/// A server that introduces itself to another one: see [`super::peers`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    /// The server that it is for.
    pub(crate) to: ServerId,
    /// The server that introduces itself.
    pub(crate) server: ServerId,
    /// Its cluster.
    pub(crate) cluster: ClusterId,
    /// The epoch of the newest map that it knows.
    pub(crate) epoch: u64,
    /// Its runs on its directory, the present one last.
    #[serde(deserialize_with = "bounded")]
    pub(crate) runs: Vec<RunId>,
    /// Its replicas, as they were at the start of this run.
    #[serde(deserialize_with = "bounded")]
    pub(crate) standings: Vec<Standing>,
    /// Set if its operator has it go on in spite of its earlier promises and runs.
    pub(crate) accept_past: bool,
}

/// The answer to an [`Introduction`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reception {
    /// It is who it says.
    Welcome,
    /// It has been in a newer state.
    Past {
        /// The proof.
        evidence: Evidence,
        /// The newest map that the server knows, by which the other one finds its way.
        map: Option<Box<ClusterMap>>,
    },
    /// It has left the cluster, by this newer map.
    Left(Box<ClusterMap>),
    /// Another process runs with its identity.
    Twin {
        /// The address at which that one answers.
        address: String,
    },
}

impl Request {
    /// The cluster that the request is for, if no other may carry it out.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        match self {
            Self::Write { cluster, .. }
            | Self::Read { cluster, .. }
            | Self::Meta { cluster, .. }
            | Self::Raft { cluster, .. }
            | Self::Addresses { cluster, .. } => Some(*cluster),
            // These bring a map, or belong to no cluster.
            Self::Identify
            | Self::Found(_)
            | Self::Claim(_)
            | Self::Release(_)
            | Self::Host { .. }
            | Self::Settle { .. }
            | Self::Arrange { .. }
            | Self::Status
            | Self::Introduce(_)
            | Self::Look => None,
        }
    }
}

/// What a read must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Freshness {
    /// Every write that was acknowledged before the read began.
    Linearizable,
    /// Whatever this replica has applied.
    Stale,
}

/// One question to a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Read {
    /// The record at a key.
    Get(String),
    /// The value at a path.
    Query(Path),
    /// A page of the records whose key starts with the prefix.
    Scan {
        /// The prefix.
        prefix: String,
        /// How much, and from where.
        page: Page,
    },
    /// How many records.
    Count,
}

/// The answer to a [`Read`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// To [`Read::Get`].
    Record(Option<Record>),
    /// To [`Read::Query`].
    Value(Option<Value>),
    /// To [`Read::Scan`].
    Page(ScanPage),
    /// To [`Read::Count`].
    Count(u64),
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its id.
    pub(crate) server: ServerId,
    /// The plan of the cluster that it was asked to take part in; a blank server has none.
    pub(crate) plan: Option<ClusterMap>,
    /// The map in its replica of group 0, if it has one and the cluster is founded.
    pub(crate) map: Option<ClusterMap>,
    /// Its present run: two processes with one id are in different runs.
    pub(crate) run: RunId,
}

impl Identity {
    /// Whether the server belongs to no founded cluster.
    pub(crate) fn is_blank(&self) -> bool {
        self.map.is_none() && self.plan.as_ref().is_none_or(|plan| plan.epoch == 0)
    }

    /// The newest map of a founded cluster that the server knows.
    pub(crate) fn newest_map(self) -> Option<ClusterMap> {
        let plan = self.plan.filter(|plan| plan.epoch > 0);
        plan.into_iter().chain(self.map).max_by_key(|map| map.epoch)
    }
}

/// How far a replica has applied its log. Ordered: a later position is a newer state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Term of the last entry applied.
    pub(crate) term: u64,
    /// Its index.
    pub(crate) index: u64,
}

/// What a server answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Response {
    /// Done, nothing to tell.
    Done,
    /// Who the server is.
    Identity(Box<Identity>),
    /// What became of a proposal: an encoded [`WriteOutcome`] or
    /// [`MetaReply`](super::meta::MetaReply).
    Written(Bytes),
    /// Answers, one for each read, and how far the replica was.
    Answers {
        /// How far the replica had applied its log.
        applied: Position,
        /// Encoded [`Answer`]s to the first of the reads, in order: at least to one, to the others
        /// as far as they fit.
        answers: Vec<Bytes>,
    },
    /// The answer to a message between replicas.
    Raft(Bytes),
    /// Ask the leader: this one, if it is known. Nothing was proposed.
    NotLeader(Option<ServerId>),
    /// This server has no replica of the group.
    NotHere,
    /// The group did not answer in time, or its leader changed meanwhile. What was proposed may
    /// still be applied.
    Unknown,
    /// The request cannot be carried out.
    Refused(Refusal),
    /// Begun and not done: ask again.
    UnderWay,
    /// How the server and its replicas are.
    Status(Box<ServerReport>),
    /// To [`Request::Introduce`].
    Introduced(Reception),
}

/// Why a request cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The request could not be decoded.
    #[error("the request is malformed")]
    Malformed,
    /// The server belongs to another cluster.
    #[error("the server belongs to another cluster")]
    OtherCluster,
    /// The request is for a server that is no longer at this address.
    #[error("the request is for another server")]
    OtherServer,
    /// Too few of the servers that were to hold group 0 agreed.
    #[error("too few servers agreed to found the cluster")]
    NotFounded,
    /// The server is stopping, or its storage failed.
    #[error("the server is stopping")]
    Stopping,
    /// The answer would be larger than a frame.
    #[error("the answer of {len} bytes is larger than a frame")]
    AnswerTooLarge {
        /// Size of the answer, in bytes.
        len: u64,
    },
    /// The server has no room on its disk. Reads go on; so do writes once there is room.
    #[error("the server's disk is full")]
    DiskFull,
    /// The sender has an older map of the cluster than the server.
    #[error("the server knows a newer state of the cluster")]
    OutdatedMap,
    /// The sender is not in the run in which the server knows it, or has to introduce itself first.
    #[error("the server does not know the sender in this run")]
    Stranger,
    /// The server's directory is from the past: it waits until the others can do without it.
    #[error("the server's directory is from the past")]
    FromThePast,
    /// The server is still reading its data. Nothing was carried out; ask again.
    #[error("the server is still reading its data")]
    Starting,
}

/// What became of a batch of writes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum WriteOutcome {
    /// Each command was applied or refused, in order.
    Applied(Vec<Result<Reply, CommandError>>),
    /// Another batch of this client came first: this one may have been applied before.
    Unknown,
    /// The batch could not be decoded; nothing was applied.
    Malformed,
    /// The first lines of a load's batch were applied before, by an earlier batch; each of the others
    /// was applied or refused now, in order.
    Loaded {
        /// How many were applied before.
        before: usize,
        /// The outcomes of the others.
        outcomes: Vec<Result<Reply, CommandError>>,
    },
}

/// Addresses by server id.
pub(crate) type Addresses = BTreeMap<ServerId, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_and_begins_with_its_version() {
        let request = Request::Read {
            cluster: ClusterId(u64::MAX),
            shard: ShardId(3),
            freshness: Freshness::Stale,
            reads: vec![Read::Get("person1".into()), Read::Count],
        };
        let bytes = encode(&request);
        assert_eq!(bytes[0], FORMAT_VERSION);
        assert_eq!(decode::<Request>(&bytes).unwrap(), request);
    }

    #[test]
    fn damaged_messages_are_errors_that_say_how() {
        let bytes = encode(&Request::Identify);
        assert_eq!(decode::<Request>(&[]), Err(DecodeError::Empty));
        assert!(matches!(
            decode::<Request>(&[9, 0]),
            Err(DecodeError::Version { found: 9, expected: FORMAT_VERSION })
        ));
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode::<Request>(&longer), Err(DecodeError::TrailingBytes { len: 1 }));
        let shorter =
            encode(&Request::Meta { cluster: ClusterId(1), command: Bytes(vec![1, 2, 3]) });
        for end in 1..shorter.len() {
            assert!(decode::<Request>(&shorter[..end]).is_err(), "{end}");
        }
    }
}

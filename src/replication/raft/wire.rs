//! The messages between replicas: encodings of our own, and the way to openraft's types and back.

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::async_runtime::WatchReceiver;
use openraft::entry::RaftEntry;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use openraft::type_config::alias::{EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};
use openraft::{EntryPayload, LogId, Membership, Raft, Vote};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::group_log::GroupLog;
use super::machine::Machine;
use super::{Payload, StateMachine, Types};
use crate::replication::message::{self, Bytes};
use crate::replication::promise::{EntryId, Term};
use crate::replication::{DecodeError, ServerId};

/// A vote: for whom, in which term, and whether a majority gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireVote {
    term: u64,
    server: u64,
    committed: bool,
}

/// The place of an entry in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireLogId {
    term: u64,
    server: u64,
    index: u64,
}

/// Voters, two sets of them while one follows the other, and all members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireMembership {
    voters: Vec<BTreeSet<u64>>,
    members: BTreeSet<u64>,
}

/// What an entry carries.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum WirePayload {
    Blank,
    Normal(SharedBytes),
    Membership(WireMembership),
}

/// An entry of a log.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireEntry {
    id: WireLogId,
    payload: WirePayload,
}

/// What a snapshot covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WireSnapshotMeta {
    last: Option<WireLogId>,
    membership_id: Option<WireLogId>,
    membership: WireMembership,
}

/// A message to another replica.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RaftRequest {
    Append {
        vote: WireVote,
        previous: Option<WireLogId>,
        #[serde(deserialize_with = "message::bounded")]
        entries: Vec<WireEntry>,
        commit: Option<WireLogId>,
    },
    Vote {
        vote: WireVote,
        last: Option<WireLogId>,
        transfer: bool,
        /// Whether only to tell how the vote would be.
        pre: bool,
    },
    /// The part of a snapshot from `offset`.
    SnapshotPart {
        vote: WireVote,
        meta: WireSnapshotMeta,
        offset: u64,
        part: Bytes,
    },
    /// All parts were sent, `len` bytes in all: install the snapshot.
    InstallSnapshot {
        vote: WireVote,
        meta: WireSnapshotMeta,
        len: u64,
    },
    Transfer {
        from: WireVote,
        to: u64,
        last: Option<WireLogId>,
    },
}

/// The answer to a [`RaftRequest`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RaftResponse {
    Appended,
    AppendedUpTo(Option<WireLogId>),
    Conflict,
    HigherVote(WireVote),
    Vote {
        vote: WireVote,
        granted: bool,
        last: Option<WireLogId>,
    },
    /// The part has arrived.
    PartReceived,
    /// The part does not follow the ones before it, or parts are missing: begin again.
    PartMisplaced,
    Installed {
        vote: WireVote,
    },
    /// Whether the other will stand for election.
    Transferred(bool),
    /// The replica has stopped or failed.
    Stopped,
}

impl RaftRequest {
    /// Whether it can come from a replica that works: what openraft takes for granted.
    fn is_consistent(&self) -> bool {
        let sane = |id: &WireLogId| id.index < u64::MAX;
        match self {
            Self::Append { vote, previous, entries, commit } => {
                let mut last = previous.map(|id| id.index);
                let in_order = entries.iter().all(|entry| {
                    let next = last.map_or(Some(0), |last| last.checked_add(1));
                    last = next;
                    next == Some(entry.id.index)
                });
                vote.committed
                    && in_order
                    && previous.iter().chain(commit).all(sane)
                    && entries.iter().all(|entry| sane(&entry.id) && entry.payload.is_consistent())
            }
            Self::Vote { last, .. } | Self::Transfer { last, .. } => last.iter().all(sane),
            Self::SnapshotPart { vote, meta, .. } | Self::InstallSnapshot { vote, meta, .. } => {
                let led = |id: &WireLogId| (id.term, id.server) <= (vote.term, vote.server);
                vote.committed
                    && meta.is_consistent()
                    && meta.membership.is_consistent()
                    && meta.last.iter().all(led)
            }
        }
    }
}

impl WireLogId {
    /// The index of the entry after it.
    pub(super) fn next(&self) -> u64 {
        self.index.saturating_add(1)
    }
}

impl WireEntry {
    /// The place of the entry.
    pub(super) fn id(&self) -> WireLogId {
        self.id
    }
}

impl WireSnapshotMeta {
    pub(super) fn is_consistent(&self) -> bool {
        let sane = |id: &WireLogId| id.index < u64::MAX;
        // The state of a group is never without voters, but before its first entry.
        let membership = self.last.is_none() || self.membership.is_consistent();
        membership && self.last.iter().chain(&self.membership_id).all(sane)
    }
}

impl WirePayload {
    fn is_consistent(&self) -> bool {
        match self {
            Self::Blank | Self::Normal(_) => true,
            Self::Membership(membership) => membership.is_consistent(),
        }
    }
}

impl WireMembership {
    fn is_consistent(&self) -> bool {
        let voters = self.voters.iter().all(|set| !set.is_empty() && set.is_subset(&self.members));
        voters && !self.voters.is_empty()
    }
}

/// The term of a leader.
pub(super) fn term(leader: &LeaderId<u64, u64>) -> Term {
    Term { number: leader.term, leader: ServerId(leader.node_id) }
}

/// The place of an entry.
pub(super) fn entry_id(id: &LogIdOf<Types>) -> EntryId {
    EntryId { term: term(&id.leader_id), index: id.index }
}

impl From<&VoteOf<Types>> for WireVote {
    fn from(vote: &VoteOf<Types>) -> Self {
        let LeaderId { term, node_id } = vote.leader_id;
        Self { term, server: node_id, committed: vote.committed }
    }
}

impl From<WireVote> for VoteOf<Types> {
    fn from(vote: WireVote) -> Self {
        let leader_id = LeaderId { term: vote.term, node_id: vote.server };
        Vote { leader_id, committed: vote.committed }
    }
}

impl From<&LogIdOf<Types>> for WireLogId {
    fn from(id: &LogIdOf<Types>) -> Self {
        Self { term: id.leader_id.term, server: id.leader_id.node_id, index: id.index }
    }
}

impl From<WireLogId> for LogIdOf<Types> {
    fn from(id: WireLogId) -> Self {
        LogId::new(LeaderId { term: id.term, node_id: id.server }, id.index)
    }
}

impl From<&Membership<u64, ()>> for WireMembership {
    fn from(membership: &Membership<u64, ()>) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, ())| *id).collect(),
        }
    }
}

impl From<WireMembership> for Membership<u64, ()> {
    fn from(membership: WireMembership) -> Self {
        Membership::new_with_defaults(membership.voters, membership.members)
    }
}

impl From<&EntryOf<Types>> for WireEntry {
    fn from(entry: &EntryOf<Types>) -> Self {
        let payload = match &entry.payload {
            EntryPayload::Blank => WirePayload::Blank,
            EntryPayload::Normal(payload) => {
                WirePayload::Normal(SharedBytes(Arc::clone(&payload.0)))
            }
            EntryPayload::Membership(membership) => WirePayload::Membership(membership.into()),
        };
        Self { id: (&entry.log_id).into(), payload }
    }
}

impl From<WireEntry> for EntryOf<Types> {
    fn from(entry: WireEntry) -> Self {
        let payload = match entry.payload {
            WirePayload::Blank => EntryPayload::Blank,
            WirePayload::Normal(SharedBytes(bytes)) => EntryPayload::Normal(Payload(bytes)),
            WirePayload::Membership(membership) => EntryPayload::Membership(membership.into()),
        };
        EntryOf::<Types>::new(entry.id.into(), payload)
    }
}

impl From<&SnapshotMetaOf<Types>> for WireSnapshotMeta {
    fn from(meta: &SnapshotMetaOf<Types>) -> Self {
        Self {
            last: meta.last_log_id.as_ref().map(Into::into),
            membership_id: meta.last_membership.log_id().as_ref().map(Into::into),
            membership: meta.last_membership.membership().into(),
        }
    }
}

impl From<WireSnapshotMeta> for SnapshotMetaOf<Types> {
    fn from(meta: WireSnapshotMeta) -> Self {
        let membership_id = meta.membership_id.map(Into::into);
        Self {
            last_log_id: meta.last.map(Into::into),
            last_membership: StoredMembershipOf::<Types>::new(
                membership_id,
                meta.membership.into(),
            ),
        }
    }
}

/// Bytes that several owners share, encoded as one run.
#[derive(Debug, PartialEq, Eq)]
struct SharedBytes(Arc<[u8]>);

impl Serialize for SharedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SharedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(|bytes| Self(bytes.0.into()))
    }
}

/// Bytes of entries after which an append request goes without the rest.
const APPEND_BYTES_MAX: usize = 4 << 20;

/// A request to append entries.
pub(super) struct Append {
    pub(super) request: RaftRequest,
    /// The place of the last entry in it, where it is not the last of all.
    pub(super) cut: Option<LogIdOf<Types>>,
    /// Bytes of its entries.
    pub(super) bytes: u64,
}

/// The request for as many of the entries as go into one frame: at least one, however large.
pub(super) fn append_request(rpc: &AppendEntriesRequest<Types>) -> Append {
    let mut bytes = 0;
    let fitting = rpc.entries.iter().take_while(|entry| {
        let fits = bytes < APPEND_BYTES_MAX;
        if fits && let EntryPayload::Normal(payload) = &entry.payload {
            bytes += payload.0.len();
        }
        fits
    });
    let entries: Vec<WireEntry> = fitting.map(Into::into).collect();
    let cut = (entries.len() < rpc.entries.len())
        .then(|| entries.last().map(|entry| entry.id.into()))
        .flatten();
    let request = RaftRequest::Append {
        vote: (&rpc.vote).into(),
        previous: rpc.prev_log_id.as_ref().map(Into::into),
        entries,
        commit: rpc.leader_commit.as_ref().map(Into::into),
    };
    Append { request, cut, bytes: bytes as u64 }
}

/// Answers an encoded message of another replica.
///
/// # Errors
///
/// [`DecodeError`] if it is none, or contradicts itself.
pub(super) async fn answer<S: StateMachine>(
    raft: &Raft<Types, Machine<S>>,
    machine: &Machine<S>,
    log: &GroupLog,
    bytes: &[u8],
) -> Result<Vec<u8>, DecodeError> {
    let request = message::decode::<RaftRequest>(bytes)?;
    if !request.is_consistent() {
        return Err(DecodeError::Inconsistent);
    }
    let response = match request {
        RaftRequest::Append { vote, previous, entries, commit } => {
            let rpc = AppendEntriesRequest {
                vote: vote.into(),
                prev_log_id: previous.map(Into::into),
                entries: entries.into_iter().map(Into::into).collect(),
                leader_commit: commit.map(Into::into),
            };
            raft.append_entries(rpc).await.map_or(RaftResponse::Stopped, |done| match done {
                AppendEntriesResponse::Success => RaftResponse::Appended,
                AppendEntriesResponse::PartialSuccess(last) => {
                    RaftResponse::AppendedUpTo(last.as_ref().map(Into::into))
                }
                AppendEntriesResponse::Conflict => RaftResponse::Conflict,
                AppendEntriesResponse::HigherVote(vote) => RaftResponse::HigherVote((&vote).into()),
            })
        }
        // It would vote as if it had never seen what it gave up.
        RaftRequest::Vote { .. } if log.is_below_floor() => {
            let own = raft.metrics().borrow_watched().vote;
            RaftResponse::Vote { vote: (&own).into(), granted: false, last: None }
        }
        RaftRequest::Vote { vote, last, transfer, pre } => {
            let mut rpc = VoteRequest::new(vote.into(), last.map(Into::into));
            rpc.leadership_transfer = transfer;
            let voted = if pre { raft.pre_vote(rpc).await } else { raft.vote(rpc).await };
            voted.map_or(
                RaftResponse::Stopped,
                |VoteResponse { vote, vote_granted, last_log_id }| {
                    let last = last_log_id.as_ref().map(Into::into);
                    RaftResponse::Vote { vote: (&vote).into(), granted: vote_granted, last }
                },
            )
        }
        RaftRequest::SnapshotPart { vote, meta, offset, part } => {
            if machine.take_part((vote, meta), offset, part.0).await {
                RaftResponse::PartReceived
            } else {
                RaftResponse::PartMisplaced
            }
        }
        RaftRequest::InstallSnapshot { vote, meta, len } => {
            // What cannot be decoded would stop the replica for good.
            match machine.finish_arriving((vote, meta.clone()), len).await {
                // It was installed, if this asks for the second time.
                None if covers(raft, vote, meta.last).await => RaftResponse::Installed { vote },
                None => RaftResponse::PartMisplaced,
                Some(arrived) => {
                    let snapshot = Arc::clone(&arrived.file);
                    let snapshot = Snapshot { meta: meta.into(), snapshot };
                    let installed = raft.install_full_snapshot(vote.into(), snapshot).await;
                    installed.map_or(RaftResponse::Stopped, |done| RaftResponse::Installed {
                        vote: (&done.vote).into(),
                    })
                }
            }
        }
        RaftRequest::Transfer { from, to, last } => {
            let rpc = TransferLeaderRequest::new(from.into(), to, last.map(Into::into));
            let heard = raft.handle_transfer_leader(rpc).await;
            heard.map_or(RaftResponse::Stopped, |done| RaftResponse::Transferred(done.is_ok()))
        }
    };
    Ok(message::encode(&response))
}

/// Whether the replica follows the leader of `vote`, and has all that was committed up to `last`.
async fn covers<S: StateMachine>(
    raft: &Raft<Types, Machine<S>>,
    vote: WireVote,
    last: Option<WireLogId>,
) -> bool {
    let prev_log_id = last.map(Into::into);
    let nothing = AppendEntriesRequest {
        vote: vote.into(),
        prev_log_id,
        entries: vec![],
        leader_commit: None,
    };
    matches!(raft.append_entries(nothing).await, Ok(AppendEntriesResponse::Success))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> LogIdOf<Types> {
        LogId::new(LeaderId { term: 2, node_id: 7 }, index)
    }

    fn entry(index: u64, payload: EntryPayload<Payload, u64, ()>) -> EntryOf<Types> {
        EntryOf::<Types>::new(id(index), payload)
    }

    fn normal(index: u64, len: usize) -> EntryOf<Types> {
        entry(index, EntryPayload::Normal(Payload(vec![7; len].into())))
    }

    fn request(entries: Vec<EntryOf<Types>>) -> AppendEntriesRequest<Types> {
        AppendEntriesRequest {
            vote: Vote { leader_id: LeaderId { term: 2, node_id: 7 }, committed: true },
            prev_log_id: Some(id(4)),
            entries,
            leader_commit: None,
        }
    }

    #[test]
    fn every_kind_of_entry_reads_back() {
        let membership = Membership::new_with_defaults(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])],
            [1, 2, 3, 4],
        );
        let entries = vec![
            entry(5, EntryPayload::Blank),
            normal(6, 3),
            entry(7, EntryPayload::Membership(membership)),
        ];
        for entry in entries {
            let bytes = message::encode(&WireEntry::from(&entry));
            let back: EntryOf<Types> = message::decode::<WireEntry>(&bytes).unwrap().into();
            assert_eq!(back, entry);
        }
    }

    #[test]
    fn an_append_request_is_cut_where_a_frame_would_overflow() {
        let half = APPEND_BYTES_MAX / 2;
        let rpc = request(vec![normal(5, half), normal(6, half), normal(7, 1)]);
        let Append { request: cut_request, cut, bytes } = append_request(&rpc);
        assert_eq!((cut, bytes), (Some(id(6)), APPEND_BYTES_MAX as u64));
        let RaftRequest::Append { entries, .. } = cut_request else { panic!("not an append") };
        assert_eq!(entries.len(), 2);
        assert_eq!(append_request(&request(vec![normal(5, half), normal(6, half)])).cut, None);
        assert_eq!(append_request(&request(vec![normal(5, 3 * half)])).cut, None);
        assert_eq!(append_request(&request(vec![])).cut, None);
    }
}

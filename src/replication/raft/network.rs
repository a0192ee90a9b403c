//! The way from one replica of a group to another: messages in frames, over the server's transport.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{LogIdOf, SnapshotOf, VoteOf};
use openraft::{AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::time::Instant;

use super::Types;
use super::machine::SnapshotData;
use super::wire::{self, RaftRequest, RaftResponse};
use crate::replication::message::{self, Bytes, Request, Response};
use crate::replication::peers::{PeerError, Peers};
use crate::replication::{ClusterId, GroupId, ServerId};
use crate::transport::{Transport, TransportError};

/// Bytes of a snapshot that go in one frame.
const SNAPSHOT_PART_BYTES: u64 = 1 << 20;

/// How long to wait for what is sent with a snapshot to be answered. Short, so that a server that
/// comes back is not kept waiting for the end of a message that was lost.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Makes the connections of one group.
pub(super) struct Network<T> {
    peers: Arc<Peers<T>>,
    cluster: ClusterId,
    group: GroupId,
}

impl<T> Network<T> {
    pub(super) fn new(peers: Arc<Peers<T>>, cluster: ClusterId, group: GroupId) -> Self {
        Self { peers, cluster, group }
    }
}

impl<T: Transport> RaftNetworkFactory<Types> for Network<T> {
    type Network = Connection<T>;

    async fn new_client(&mut self, target: u64, _node: &()) -> Connection<T> {
        let peers = Arc::clone(&self.peers);
        let (cluster, group) = (self.cluster, self.group);
        Connection { peers, cluster, group, target: ServerId(target) }
    }
}

/// From one group on this server to its replica on another.
pub(super) struct Connection<T> {
    peers: Arc<Peers<T>>,
    cluster: ClusterId,
    group: GroupId,
    target: ServerId,
}

impl<T: Transport> Connection<T> {
    async fn ask(&self, request: &RaftRequest, wait: Duration) -> Result<RaftResponse, Failure> {
        let deadline = Instant::now() + wait;
        self.peers.meet(self.target, self.cluster, deadline).await?;
        let request = Request::Raft {
            from: self.peers.server(),
            run: self.peers.run(),
            to: self.target,
            to_run: self.peers.run_of(self.target),
            cluster: self.cluster,
            group: self.group,
            message: Bytes(message::encode(request)),
        };
        match self.peers.call(self.target, &request, deadline).await? {
            Response::Raft(Bytes(response)) => message::decode(&response).map_err(Failure::new),
            Response::Refused(refusal) => {
                self.peers.note_refusal(self.target, &refusal);
                Err(Failure::new(refusal))
            }
            other => Err(Failure::new(io::Error::other(format!("{other:?}")))),
        }
    }

    /// Remembers that the other replica has the leader's log up to `last`.
    fn acknowledged(
        &self,
        vote: &VoteOf<Types>,
        last: Option<&LogIdOf<Types>>,
        committed: Option<&LogIdOf<Types>>,
    ) {
        let (promises, term) = (&self.peers.promises, wire::term(&vote.leader_id));
        match last {
            Some(last) => {
                let (last, committed) = (wire::entry_id(last), committed.map(wire::entry_id));
                promises.note_entries(self.target, self.group, term, last, committed);
            }
            None => promises.note_vote(self.target, self.group, term),
        }
    }
}

/// A message that got no useful answer.
struct Failure {
    error: AnyError,
    /// Whether there was none in time: the message may be under way, carried out, or lost.
    silent: bool,
}

impl Failure {
    fn new<E: std::error::Error + 'static>(error: E) -> Self {
        Self { error: AnyError::new(&error), silent: false }
    }

    fn unexpected(response: &impl fmt::Debug) -> Self {
        Self::new(io::Error::other(format!("unexpected answer {response:?}")))
    }
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        let late = matches!(error, PeerError::Transport(TransportError::DeadlineExceeded { .. }));
        Self { silent: late, ..Self::new(error) }
    }
}

impl From<Failure> for RPCError<Types> {
    // `Unreachable` makes openraft pause before it tries again.
    fn from(failure: Failure) -> Self {
        RPCError::Unreachable(Unreachable::new(&failure.error))
    }
}

impl From<Failure> for StreamingError<Types> {
    fn from(failure: Failure) -> Self {
        StreamingError::Network(NetworkError::new(&failure.error))
    }
}

impl<T: Transport> RaftNetworkV2<Types> for Connection<T> {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let wire::Append { request, cut, bytes } = wire::append_request(&rpc);
        // The library allows an append the time of a heartbeat, whatever it carries.
        let wait = option.soft_ttl() + Duration::from_micros(bytes);
        let committed = rpc.leader_commit.as_ref();
        match self.ask(&request, wait).await? {
            RaftResponse::Appended if cut.is_some() => {
                self.acknowledged(&rpc.vote, cut.as_ref(), committed);
                Ok(AppendEntriesResponse::PartialSuccess(cut))
            }
            RaftResponse::Appended => {
                let last = rpc.entries.last().map(|entry| &entry.log_id);
                self.acknowledged(&rpc.vote, last.or(rpc.prev_log_id.as_ref()), committed);
                Ok(AppendEntriesResponse::Success)
            }
            RaftResponse::AppendedUpTo(last) => {
                let last = last.map(Into::into);
                self.acknowledged(&rpc.vote, last.as_ref(), committed);
                Ok(AppendEntriesResponse::PartialSuccess(last))
            }
            RaftResponse::Conflict => Ok(AppendEntriesResponse::Conflict),
            RaftResponse::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(vote.into())),
            other => Err(Failure::unexpected(&other).into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_for_vote(rpc, false, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_for_vote(rpc, true, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sending = self.send_snapshot(vote, snapshot, option.soft_ttl());
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => sent.map_err(Into::into),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let request = RaftRequest::Transfer {
            from: rpc.from_leader().into(),
            to: *rpc.to_node_id(),
            last: rpc.last_log_id().map(Into::into),
        };
        match self.ask(&request, option.soft_ttl()).await? {
            RaftResponse::Transferred(true) => Ok(Ok(())),
            RaftResponse::Transferred(false) => Ok(Err(TransferLeaderError::LogNotFlushed {
                expected: rpc.last_log_id().copied(),
                actual: None,
            })),
            other => Err(Failure::unexpected(&other).into()),
        }
    }
}

impl<T: Transport> Connection<T> {
    async fn ask_for_vote(
        &self,
        rpc: VoteRequest<Types>,
        pre: bool,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let request = RaftRequest::Vote {
            vote: (&rpc.vote).into(),
            last: rpc.last_log_id.as_ref().map(Into::into),
            transfer: rpc.leadership_transfer,
            pre,
        };
        match self.ask(&request, option.soft_ttl()).await? {
            RaftResponse::Vote { vote, granted, last } => {
                let vote: VoteOf<Types> = vote.into();
                if granted && !pre {
                    let term = wire::term(&vote.leader_id);
                    self.peers.promises.note_vote(self.target, self.group, term);
                }
                Ok(VoteResponse::new(vote, last.map(Into::into), granted))
            }
            other => Err(Failure::unexpected(&other).into()),
        }
    }

    async fn send_snapshot(
        &self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, SnapshotData>,
        wait: Duration,
    ) -> Result<SnapshotResponse<Types>, Failure> {
        let len = snapshot.snapshot.len();
        let mut offset = 0;
        // An empty one has a part too.
        while offset < len.max(1) {
            let file = Arc::clone(&snapshot.snapshot);
            let reading =
                tokio::task::spawn_blocking(move || file.part(offset, SNAPSHOT_PART_BYTES));
            let part = reading.await.map_err(Failure::new)?.map_err(Failure::new)?;
            let request = RaftRequest::SnapshotPart {
                vote: (&vote).into(),
                meta: (&snapshot.meta).into(),
                offset,
                part: Bytes(part),
            };
            offset += SNAPSHOT_PART_BYTES;
            match self.ask(&request, ANSWER_TIME.min(wait)).await? {
                RaftResponse::PartReceived => {}
                other => return Err(Failure::unexpected(&other)),
            }
        }
        let request = RaftRequest::InstallSnapshot {
            vote: (&vote).into(),
            meta: (&snapshot.meta).into(),
            len,
        };
        // The other goes on installing it when it is asked again, and tells once it is installed.
        let end = Instant::now() + wait;
        loop {
            match self.ask(&request, ANSWER_TIME.min(wait)).await {
                Ok(RaftResponse::Installed { vote: installed }) => {
                    let last = snapshot.meta.last_log_id.as_ref();
                    let installed: VoteOf<Types> = installed.into();
                    if installed == vote {
                        self.acknowledged(&vote, last, last);
                    }
                    return Ok(SnapshotResponse::new(installed));
                }
                Ok(other) => return Err(Failure::unexpected(&other)),
                Err(failure) if failure.silent && Instant::now() < end => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

//! From a frame to its answer.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Shared, Stage};
use crate::parser::Command;
use crate::replication::message::{
    self, Bytes, Freshness, Identity, Read, Refusal, Request, Response,
};
use crate::replication::meta::MetaCommand;
use crate::replication::raft::{Group, GroupError, StateMachine};
use crate::replication::shard::{Batch, Shard};
use crate::replication::{COMMAND_BYTES_MAX, GroupId, ShardId};
use crate::store::{Record, ScanPage};
use crate::transport::{BoxFuture, FRAME_BYTES_MAX, Frame, Handler, Transport};
use crate::value::{Escaped, Value};

/// How long a request may wait for its group.
const GROUP_TIME: Duration = Duration::from_secs(5);

/// The largest entry of a log. Brokers send batches below 1 MiB, and one command more.
const PROPOSAL_BYTES_MAX: usize = COMMAND_BYTES_MAX + (2 << 20);

/// Bytes of answers after which a response goes without the rest; the broker asks again for them.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The handler of the transport: passes each frame to the server, once that has read its data.
pub(super) struct Dispatch<T>(pub(super) watch::Receiver<Stage<T>>);

impl<T: Transport> Dispatch<T> {
    /// The server, as soon as it can answer the request: none if it does not start.
    async fn server_for(
        mut stages: watch::Receiver<Stage<T>>,
        request: Option<&Request>,
    ) -> Option<Arc<Shared<T>>> {
        let is_early =
            matches!(request, Some(Request::Identify | Request::Status | Request::Introduce(_)));
        let ready = |stage: &Stage<T>| match stage {
            Stage::Reading => false,
            Stage::Meeting(_) => is_early,
            Stage::Started(_) => true,
        };
        match &*stages.wait_for(ready).await.ok()? {
            Stage::Reading => None,
            Stage::Meeting(shared) | Stage::Started(shared) => Some(Arc::clone(shared)),
        }
    }
}

impl<T: Transport> Handler for Dispatch<T> {
    fn handle(&self, peer: &str, request: Frame) -> BoxFuture<'static, Frame> {
        let stages = self.0.clone();
        let peer = peer.to_owned();
        Box::pin(async move {
            let request = message::decode::<Request>(&request);
            let shared = match &request {
                // Who asks for these wants to know how the server is, not to wait until it is well.
                Ok(Request::Identify | Request::Status)
                    if matches!(*stages.borrow(), Stage::Reading)
                        && stages.has_changed().is_ok() =>
                {
                    return message::encode(&Response::Refused(Refusal::Starting));
                }
                request => Self::server_for(stages, request.as_ref().ok()).await,
            };
            let response = match (shared, request) {
                // What it has may be half of a change.
                (Some(shared), _) if shared.storage.failure().is_noted() => {
                    Response::Refused(Refusal::Stopping)
                }
                (Some(shared), Ok(request)) => shared.answer(&peer, request).await,
                // It did not start.
                (None, _) => Response::Refused(Refusal::Stopping),
                (_, Err(error)) => {
                    tracing::warn!(%peer, %error, "refused a request");
                    Response::Refused(Refusal::Malformed)
                }
            };
            let frame = message::encode(&response);
            if frame.len() <= FRAME_BYTES_MAX as usize {
                return frame;
            }
            let len = frame.len() as u64;
            message::encode(&Response::Refused(Refusal::AnswerTooLarge { len }))
        })
    }
}

impl<T: Transport> Shared<T> {
    async fn answer(self: &Arc<Self>, peer: &str, request: Request) -> Response {
        let is_asked = matches!(request, Request::Identify | Request::Status);
        if self.past.get().is_some() && !is_asked {
            return Response::Refused(Refusal::FromThePast);
        }
        if let Some(cluster) = request.cluster()
            && self.map().as_ref().is_some_and(|map| map.cluster != cluster)
        {
            return Response::Refused(Refusal::OtherCluster);
        }
        match request {
            Request::Introduce(introduction) => self.receive(&introduction).await,
            Request::Identify => Response::Identity(Box::new(self.identity())),
            Request::Found(plan) => {
                let shared = Arc::clone(self);
                self.to_the_end(async move {
                    let founded = shared.found(plan).await;
                    founded.err().unwrap_or_else(|| Response::Identity(Box::new(shared.identity())))
                })
                .await
            }
            Request::Host { map, group, initialize } => {
                let shared = Arc::clone(self);
                self.to_the_end(async move { done(shared.host(&map, group, initialize).await) })
                    .await
            }
            Request::Claim(plan) => {
                let shared = Arc::clone(self);
                self.to_the_end(async move { done(shared.claim(&plan).await) }).await
            }
            Request::Release(cluster) => {
                let shared = Arc::clone(self);
                self.to_the_end(async move { done(shared.release(cluster).await) }).await
            }
            Request::Settle { map, confirmed } => {
                let shared = Arc::clone(self);
                self.to_the_end(async move { done(shared.settle(&map, &confirmed).await) }).await
            }
            Request::Arrange { map, group } => self.arrange(&map, group).await,
            Request::Write { shard, batch, .. } => self.write(peer, shard, batch).await,
            Request::Read { shard, freshness, reads, .. } => {
                self.read(peer, shard, freshness, &reads).await
            }
            Request::Meta { command, .. } => self.change_meta(command).await,
            Request::Raft { from, run, to, to_run, cluster, group, message } => {
                if to != self.id() {
                    return Response::Refused(Refusal::OtherServer);
                }
                if self.map().is_none() {
                    return Response::Refused(Refusal::OtherCluster);
                }
                if let Err(refusal) = self.knows((from, run), to_run, cluster).await {
                    return Response::Refused(refusal);
                }
                self.replicate(group, &message.0).await
            }
            Request::Look => self.look_soon(),
            Request::Addresses { addresses, .. } => {
                self.peers.addresses().learn(&addresses);
                Response::Done
            }
            Request::Status => {
                tracing::debug!("[{peer} | STATUS]");
                Response::Status(Box::new(self.report()))
            }
        }
    }

    /// Runs `work`, which changes what the server holds, in a task of its own: a request's future is
    /// dropped with its connection. A replica that was started and then forgotten would be a second
    /// voter in this server's name, and a map that is on the disk and not in memory comes back with the
    /// next start. For the same reasons the server does not go on if it panics.
    async fn to_the_end(&self, work: impl Future<Output = Response> + Send + 'static) -> Response {
        let working = self.storage.failure().spawn("a change of what the server holds", work);
        working.await.unwrap_or(Response::Refused(Refusal::Stopping))
    }

    fn identity(&self) -> Identity {
        let map = self.meta().and_then(|meta| meta.applied().state().map.clone());
        Identity { server: self.id(), plan: self.map().clone(), map, run: self.peers.run() }
    }

    async fn write(&self, peer: &str, shard: ShardId, batch: Bytes) -> Response {
        let Some(group) = self.shard(shard) else { return Response::NotHere };
        // Only what every replica can decode may enter the log.
        match Batch::decode(&batch.0) {
            Ok((batch, _)) if batch.commands.iter().all(is_write) => {
                log_writes(peer, &batch.commands);
            }
            Ok(_) | Err(_) => return Response::Refused(Refusal::Malformed),
        }
        self.propose(&group, batch).await
    }

    pub(super) async fn change_meta(&self, command: Bytes) -> Response {
        let Some(group) = self.meta() else { return Response::NotHere };
        if message::decode::<MetaCommand>(&command.0).is_err() {
            return Response::Refused(Refusal::Malformed);
        }
        let response = self.propose(&group, command).await;
        self.meta_changed.notify_one();
        response
    }

    async fn propose<S: StateMachine>(&self, group: &Group<S>, payload: Bytes) -> Response {
        // What is in the log has to fit into a frame to the other replicas.
        if payload.0.len() > PROPOSAL_BYTES_MAX {
            return Response::Refused(Refusal::Malformed);
        }
        // An entry for which there is no room would wait for it, and its proposer for the entry.
        if group.leader() == Some(self.id()) && !self.storage.has_room(payload.0.len()) {
            return Response::Refused(Refusal::DiskFull);
        }
        match group.propose(payload.0, Instant::now() + GROUP_TIME).await {
            Ok(response) => Response::Written(Bytes(response)),
            Err(error) => refused_by_group(&error),
        }
    }

    async fn read(
        &self,
        peer: &str,
        shard: ShardId,
        freshness: Freshness,
        reads: &[Read],
    ) -> Response {
        let Some(group) = self.shard(shard) else { return Response::NotHere };
        log_reads(peer, reads);
        match freshness {
            Freshness::Stale => {}
            // Planted: whoever is asked answers, as far as it knows.
            Freshness::Linearizable if cfg!(triekv_planted = "no_read_barrier") => {}
            Freshness::Linearizable => {
                if let Err(error) = group.read_barrier(Instant::now() + GROUP_TIME).await {
                    return refused_by_group(&error);
                }
            }
        }
        answers(&group, reads)
    }

    async fn replicate(&self, group: GroupId, message: &[u8]) -> Response {
        let answered = match group.shard() {
            None => match self.meta() {
                Some(group) => group.answer(message).await,
                None => return Response::NotHere,
            },
            Some(_) => match self.replica(group) {
                Some(group) => group.answer(message).await,
                None => return Response::NotHere,
            },
        };
        match answered {
            Ok(answer) => Response::Raft(Bytes(answer)),
            Err(_) => Response::Refused(Refusal::Malformed),
        }
    }
}

fn done(outcome: Result<(), Refusal>) -> Response {
    outcome.map_or_else(Response::Refused, |()| Response::Done)
}

/// Whether the command belongs in a log: the replies to reads would be kept there with it.
fn is_write(command: &Command) -> bool {
    match command {
        Command::Put { .. }
        | Command::Delete { .. }
        | Command::Set { .. }
        | Command::Merge { .. }
        | Command::Remove { .. } => true,
        Command::Get { .. } | Command::Query { .. } => false,
    }
}

pub(super) fn refused_by_group(error: &GroupError) -> Response {
    match error {
        GroupError::NotLeader(leader) => Response::NotLeader(*leader),
        GroupError::Unknown => Response::Unknown,
        GroupError::Stopped | GroupError::Log(_) => Response::Refused(Refusal::Stopping),
    }
}

/// An [`Answer`](message::Answer) that borrows, with the same encoding: documents are encoded from
/// where they lie.
#[derive(Debug, Serialize)]
enum AnswerRef<'a> {
    Record(Option<&'a Record>),
    Value(Option<&'a Value>),
    Page(ScanPage),
    Count(u64),
}

/// The answers to as many of the reads as go into one response, at least one.
fn answers(group: &Group<Shard>, reads: &[Read]) -> Response {
    let applied = group.applied();
    let documents = &applied.state().documents;
    let mut answers = Vec::with_capacity(reads.len());
    let mut bytes = 0;
    for read in reads {
        let answer = match read {
            Read::Get(key) => AnswerRef::Record(documents.get(key)),
            Read::Query(path) => AnswerRef::Value(documents.query(path)),
            Read::Scan { prefix, page } => AnswerRef::Page(documents.scan(prefix, page)),
            Read::Count => AnswerRef::Count(documents.len() as u64),
        };
        let answer = message::encode(&answer);
        bytes += answer.len();
        if bytes > ANSWER_BYTES_MAX && !answers.is_empty() {
            break;
        }
        answers.push(Bytes(answer));
    }
    Response::Answers { applied: applied.position(), answers }
}

fn log_writes(peer: &str, commands: &[Command]) {
    for command in commands {
        match command {
            Command::Put { key, .. } => tracing::debug!("[{peer} | PUT] {}", Escaped(key)),
            Command::Delete { key } => tracing::debug!("[{peer} | DELETE] {}", Escaped(key)),
            Command::Get { key } => tracing::debug!("[{peer} | GET] {}", Escaped(key)),
            Command::Query { path } => tracing::debug!("[{peer} | QUERY] {path}"),
            Command::Set { path, .. } => tracing::debug!("[{peer} | SET] {path}"),
            Command::Merge { path, .. } => tracing::debug!("[{peer} | MERGE] {path}"),
            Command::Remove { path, .. } => tracing::debug!("[{peer} | REMOVE] {path}"),
        }
    }
}

fn log_reads(peer: &str, reads: &[Read]) {
    for read in reads {
        match read {
            Read::Get(key) => tracing::debug!("[{peer} | GET] {}", Escaped(key)),
            Read::Query(path) => tracing::debug!("[{peer} | QUERY] {path}"),
            Read::Scan { prefix, .. } => tracing::debug!("[{peer} | SCAN] {}", Escaped(prefix)),
            Read::Count => tracing::debug!("[{peer} | COUNT]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::message::Answer;
    use crate::value;

    #[test]
    fn a_borrowed_answer_is_encoded_as_the_answer_that_brokers_decode() {
        let record = Record { version: 7, value: value!({ "n": 1 }) };
        let pairs = [
            (AnswerRef::Record(Some(&record)), Answer::Record(Some(record.clone()))),
            (AnswerRef::Record(None), Answer::Record(None)),
            (AnswerRef::Value(Some(&record.value)), Answer::Value(Some(record.value.clone()))),
            (AnswerRef::Page(ScanPage::default()), Answer::Page(ScanPage::default())),
            (AnswerRef::Count(300), Answer::Count(300)),
        ];
        for (borrowed, owned) in pairs {
            let decoded: Answer = message::decode(&message::encode(&borrowed)).unwrap();
            assert_eq!(decoded, owned);
        }
    }
}

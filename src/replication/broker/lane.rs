//! The queue of a shard: what waits together goes together.
//!
//! A shard has two queues, each with a task that takes all that waits (up to a limit), sends it as
//! one frame, and waits for the outcome before it takes more. So writes of a shard are carried out
//! in the order of the queue, a client has one numbered batch under way at a time (which the
//! session table needs), and batches grow by themselves as the load does.
//!
//! A batch is sent until the last of its deadlines. Whoever waits gives up at its own, and what
//! nobody waits for any more is not sent.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::route::{RouteError, Routes};
use super::{BrokerError, COMMAND_BYTES_MAX, Pending};
use crate::replication::message::{
    self, Answer, Bytes, Freshness, Read, Refusal, Request, Response, WriteOutcome,
};
use crate::replication::shard::{Batch, LoadLines};
use crate::replication::{ClientId, GroupId, ShardId};
use crate::store::Reply;
use crate::transport::Transport;

/// The most commands in one batch.
pub(super) const BATCH_COMMANDS_MAX: usize = 1024;

/// Bytes of commands after which a batch goes without the rest.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;

/// Commands that may wait in a queue; whoever has more waits for a place.
const QUEUE_COMMANDS_MAX: usize = 8192;

/// A command or read, encoded.
struct Job<C, A> {
    command: C,
    bytes: usize,
    deadline: Instant,
    reply: oneshot::Sender<Result<A, BrokerError>>,
}

type WriteJob = Job<Vec<u8>, Reply>;
type ReadJob = Job<Read, Answer>;

/// The queues of a shard. When it is dropped, the tasks end with what they have begun.
#[derive(Debug)]
pub(super) struct Lane {
    group: GroupId,
    writes: mpsc::Sender<WriteJob>,
    reads: mpsc::Sender<ReadJob>,
}

impl<C, A> std::fmt::Debug for Job<C, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Lane {
    pub(super) fn new<T: Transport>(routes: &Arc<Routes<T>>, shard: ShardId) -> Self {
        let (writes, write_jobs) = mpsc::channel(QUEUE_COMMANDS_MAX);
        let (reads, read_jobs) = mpsc::channel(QUEUE_COMMANDS_MAX);
        tokio::spawn(send_writes(Arc::clone(routes), shard, write_jobs));
        tokio::spawn(send_reads(Arc::clone(routes), shard, read_jobs));
        Self { group: shard.into(), writes, reads }
    }

    /// Puts an encoded command in the queue.
    pub(super) async fn write(
        &self,
        command: Vec<u8>,
        deadline: Instant,
    ) -> Result<Pending<Reply>, BrokerError> {
        let bytes = command.len();
        self.enqueue(&self.writes, command, bytes, deadline).await
    }

    /// Puts a read in the queue.
    pub(super) async fn read(
        &self,
        command: Read,
        deadline: Instant,
    ) -> Result<Pending<Answer>, BrokerError> {
        let bytes = message::encode(&command).len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(BrokerError::CommandTooLarge { len: bytes, limit: COMMAND_BYTES_MAX });
        }
        self.enqueue(&self.reads, command, bytes, deadline).await
    }

    async fn enqueue<C, A>(
        &self,
        queue: &mpsc::Sender<Job<C, A>>,
        command: C,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Pending<A>, BrokerError> {
        let (reply, pending) = oneshot::channel();
        let job = Job { command, bytes, deadline, reply };
        match tokio::time::timeout_at(deadline, queue.send(job)).await {
            Ok(Ok(())) => Ok(pending),
            Ok(Err(_)) => Err(BrokerError::Stopped),
            // The queue is full of what waits for the same leader.
            Err(_) => Err(BrokerError::NoLeader { group: self.group }),
        }
    }
}

async fn send_writes<T: Transport>(
    routes: Arc<Routes<T>>,
    shard: ShardId,
    mut queue: mpsc::Receiver<WriteJob>,
) {
    let mut session = ClientSession::new();
    let mut jobs = Vec::new();
    while queue.recv_many(&mut jobs, BATCH_COMMANDS_MAX).await > 0 {
        while forget_abandoned(&mut jobs) {
            let rest = jobs.split_off(batch_len(&jobs));
            let batch = std::mem::replace(&mut jobs, rest);
            send_batch(&routes, shard, &mut session, batch).await;
        }
    }
}

/// The client's side of a session.
#[derive(Debug)]
pub(super) struct ClientSession {
    client: ClientId,
    /// The number of the last batch.
    sequence: u64,
    /// The last batch that got a response.
    acknowledged: u64,
}

impl ClientSession {
    pub(super) fn new() -> Self {
        Self { client: ClientId(rand::random()), sequence: 0, acknowledged: 0 }
    }

    /// Sends encoded commands, and the lines of a load that they are from, as the next batch until the
    /// outcome is known, or the deadline has passed.
    pub(super) async fn send<'a, T: Transport>(
        &mut self,
        routes: &Routes<T>,
        shard: ShardId,
        commands: impl ExactSizeIterator<Item = &'a [u8]>,
        load: Option<&LoadLines>,
        deadline: Instant,
    ) -> Result<WriteOutcome, RouteError> {
        self.sequence += 1;
        let Self { client, sequence, acknowledged } = *self;
        let batch = Batch::assemble(client, sequence, acknowledged, commands);
        let batch = Bytes(match load {
            Some(load) => load.follow(batch),
            None => batch,
        });
        let cluster = routes.cluster();
        let frame = message::encode(&Request::Write { cluster, shard, batch });
        match routes.ask_leader(shard.into(), &frame, deadline).await? {
            Response::Written(Bytes(outcome)) => match message::decode(&outcome) {
                Ok(WriteOutcome::Malformed) => {
                    Err(RouteError::Refused { source: Refusal::Malformed, ambiguous: false })
                }
                // The shard has forgotten this session.
                Ok(WriteOutcome::Unknown) => {
                    *self = Self::new();
                    Err(RouteError::Deadline { ambiguous: true })
                }
                Ok(outcome) => {
                    self.acknowledged = sequence;
                    Ok(outcome)
                }
                Err(_) => Err(RouteError::Deadline { ambiguous: true }),
            },
            _ => Err(RouteError::Refused { source: Refusal::Malformed, ambiguous: true }),
        }
    }
}

/// Drops the jobs that nobody waits for any more; whether any is left.
fn forget_abandoned<C, A>(jobs: &mut Vec<Job<C, A>>) -> bool {
    jobs.retain(|job| !job.reply.is_closed());
    !jobs.is_empty()
}

/// How many of the jobs go in one batch: at least one.
fn batch_len<C, A>(jobs: &[Job<C, A>]) -> usize {
    let mut bytes = 0;
    let fitting = jobs.iter().take_while(|job| {
        let fits = bytes < BATCH_BYTES_MAX;
        bytes += job.bytes;
        fits
    });
    fitting.count()
}

/// When the last of the jobs has to be done.
fn last_deadline<C, A>(jobs: &[Job<C, A>]) -> Instant {
    jobs.iter().map(|job| job.deadline).max().unwrap_or_else(Instant::now)
}

async fn send_batch<T: Transport>(
    routes: &Routes<T>,
    shard: ShardId,
    session: &mut ClientSession,
    jobs: Vec<WriteJob>,
) {
    let commands = jobs.iter().map(|job| job.command.as_slice());
    let deadline = last_deadline(&jobs);
    let outcome = match session.send(routes, shard, commands, None, deadline).await {
        Ok(WriteOutcome::Applied(replies)) if replies.len() == jobs.len() => Ok(replies),
        Ok(_) => Err(RouteError::Deadline { ambiguous: true }),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(replies) => {
            for (job, reply) in jobs.into_iter().zip(replies) {
                // Whoever no longer waits does not want the reply.
                let _ = job.reply.send(reply.map_err(BrokerError::Store));
            }
        }
        Err(error) => {
            for job in jobs {
                let _ = job.reply.send(Err(error.for_write(shard.into())));
            }
        }
    }
}

async fn send_reads<T: Transport>(
    routes: Arc<Routes<T>>,
    shard: ShardId,
    mut queue: mpsc::Receiver<ReadJob>,
) {
    let mut jobs = Vec::new();
    while queue.recv_many(&mut jobs, BATCH_COMMANDS_MAX).await > 0 {
        while forget_abandoned(&mut jobs) {
            let asked = &jobs[..batch_len(&jobs)];
            match ask(&routes, shard, asked).await {
                Ok(answers) => {
                    let answered = jobs.len().min(answers.len());
                    for (job, answer) in jobs.drain(..answered).zip(answers) {
                        let _ = job.reply.send(Ok(answer));
                    }
                }
                Err(error) => {
                    // An answer that is too large is that to the first read: others go on.
                    let failed = if error.is_answer_too_large() { 1 } else { asked.len() };
                    for job in jobs.drain(..failed) {
                        let _ = job.reply.send(Err(error.for_read(shard.into())));
                    }
                }
            }
        }
    }
}

/// The answers to the first of the reads, at least one.
async fn ask<T: Transport>(
    routes: &Routes<T>,
    shard: ShardId,
    jobs: &[ReadJob],
) -> Result<Vec<Answer>, RouteError> {
    let reads = jobs.iter().map(|job| job.command.clone()).collect();
    let (cluster, freshness) = (routes.cluster(), Freshness::Linearizable);
    let request = Request::Read { cluster, shard, freshness, reads };
    let deadline = last_deadline(jobs);
    let malformed = || RouteError::Refused { source: Refusal::Malformed, ambiguous: false };
    match routes.ask_leader(shard.into(), &message::encode(&request), deadline).await? {
        Response::Answers { answers, .. } if !answers.is_empty() => {
            let decoded = answers.iter().map(|answer| message::decode(&answer.0));
            decoded.collect::<Result<_, _>>().map_err(|_| malformed())
        }
        _ => Err(malformed()),
    }
}

//! The records of a load that are on their way: of each shard one batch at a time, in the order of
//! their lines, and the next one once the outcome of the one before is known.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::lane::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, ClientSession};
use super::super::route::{RouteError, Routes};
use super::super::{BrokerError, RECORD_TIME};
use crate::replication::message::WriteOutcome;
use crate::replication::shard::LoadLines;
use crate::replication::{ClientId, ShardId};
use crate::store::{CommandError, Reply};
use crate::transport::Transport;

/// Records under way at a time, and bytes of them.
const RECORDS_MAX: usize = 4096;
const BYTES_MAX: usize = 32 << 20;

/// A record of a file.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) line: u64,
    /// Where its line begins in the file.
    pub(super) start: u64,
    /// The command that puts it, encoded.
    pub(super) command: Vec<u8>,
}

/// The outcome of a batch.
#[derive(Debug)]
pub(super) struct Settled {
    /// How many of its first records an earlier batch had put.
    pub(super) before: usize,
    /// What became of each of the others.
    pub(super) outcomes: Vec<Result<Reply, CommandError>>,
    /// The line of the first of its records.
    pub(super) line: u64,
}

pub(super) struct Window<T: Transport> {
    routes: Arc<Routes<T>>,
    /// In whose name lines are put, if each is to be put only once.
    load: Option<ClientId>,
    shards: Vec<Queue>,
    under_way: JoinSet<Sent>,
    records: usize,
    bytes: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Record>,
    /// The line of the first record of the batch that is under way, and where it begins.
    under_way: Option<(u64, u64)>,
    /// The session between two batches.
    session: Option<ClientSession>,
}

/// A batch that has come to its end.
struct Sent {
    shard: ShardId,
    session: ClientSession,
    records: Vec<Record>,
    outcome: Result<WriteOutcome, RouteError>,
}

impl<T: Transport> Window<T> {
    pub(super) fn new(routes: &Arc<Routes<T>>, shards: usize, load: Option<ClientId>) -> Self {
        let shards = std::iter::repeat_with(Queue::default).take(shards).collect();
        let (routes, under_way) = (Arc::clone(routes), JoinSet::new());
        Self { routes, load, shards, under_way, records: 0, bytes: 0 }
    }

    pub(super) fn has_room(&self) -> bool {
        self.records < RECORDS_MAX && self.bytes < BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The first line that is not known to be done, and where it begins in the file.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        let firsts = self.shards.iter().filter_map(|queue| {
            let waiting = || queue.waiting.front().map(|record| (record.line, record.start));
            queue.under_way.or_else(waiting)
        });
        firsts.min()
    }

    /// Adds a record, whose line comes after all others.
    pub(super) fn push(&mut self, shard: ShardId, record: Record) {
        self.records += 1;
        self.bytes += record.command.len();
        if let Some(queue) = self.shards.get_mut(shard.0 as usize) {
            queue.waiting.push_back(record);
        }
    }

    /// Sends what waits for shards of which nothing is under way.
    pub(super) fn send(&mut self) {
        for shard in (0..u32::try_from(self.shards.len()).unwrap_or(u32::MAX)).map(ShardId) {
            self.send_next(shard);
        }
    }

    fn send_next(&mut self, shard: ShardId) {
        let Some(queue) = self.shards.get_mut(shard.0 as usize) else { return };
        let Some(first) = queue.waiting.front().filter(|_| queue.under_way.is_none()) else {
            return;
        };
        queue.under_way = Some((first.line, first.start));
        let mut bytes = 0;
        let fitting = queue.waiting.iter().take(BATCH_COMMANDS_MAX).take_while(|record| {
            let fits = bytes < BATCH_BYTES_MAX;
            bytes += record.command.len();
            fits
        });
        let count = fitting.count();
        let records: Vec<Record> = queue.waiting.drain(..count).collect();
        let mut session = queue.session.take().unwrap_or_else(ClientSession::new);
        let (routes, load) = (Arc::clone(&self.routes), self.load);
        self.under_way.spawn(async move {
            let lines = || records.iter().map(|record| record.line).collect();
            let load = load.map(|load| LoadLines { load, lines: lines() });
            let commands = records.iter().map(|record| record.command.as_slice());
            let deadline = Instant::now() + RECORD_TIME;
            let outcome = session.send(&routes, shard, commands, load.as_ref(), deadline).await;
            Sent { shard, session, records, outcome }
        });
    }

    /// Waits for the end of a batch, and sends the next one of its shard. `None` if nothing is under
    /// way.
    ///
    /// # Errors
    ///
    /// The line of the first record of a batch that failed, and why. Nothing else may be sent then.
    pub(super) async fn settle(&mut self) -> Option<Result<Settled, (u64, BrokerError)>> {
        let ended = self.under_way.join_next().await?;
        let Ok(Sent { shard, session, records, outcome }) = ended else {
            let line = self.first().map_or(0, |(line, _)| line);
            return Some(Err((line, BrokerError::Stopped)));
        };
        let line = records.first().map_or(0, |record| record.line);
        let (before, outcomes) = match outcome {
            Ok(WriteOutcome::Applied(outcomes)) if self.load.is_none() => (0, outcomes),
            Ok(WriteOutcome::Loaded { before, outcomes }) => (before, outcomes),
            Ok(_) => {
                let error = RouteError::Deadline { ambiguous: true };
                return Some(Err((line, error.for_write(shard.into()))));
            }
            Err(error) => return Some(Err((line, error.for_write(shard.into())))),
        };
        if before + outcomes.len() != records.len() {
            let error = RouteError::Deadline { ambiguous: true };
            return Some(Err((line, error.for_write(shard.into()))));
        }
        self.records -= records.len();
        self.bytes -= records.iter().map(|record| record.command.len()).sum::<usize>();
        if let Some(queue) = self.shards.get_mut(shard.0 as usize) {
            queue.under_way = None;
            queue.session = Some(session);
        }
        self.send_next(shard);
        Some(Ok(Settled { before, outcomes, line }))
    }
}

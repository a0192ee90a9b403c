//! SKELETON of the log: to be replaced. Signatures are final, bodies are not.
#![allow(
    missing_docs,
    unused_variables,
    clippy::todo,
    missing_debug_implementations,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc
)]
use super::{Disk, LogError};
use std::ops::Range;
use std::sync::Arc;

/// Small values that a group keeps besides its entries, numbered from 0; each up to 1 KiB.
pub const REGISTERS: usize = 4;

#[derive(Debug, Clone)]
pub struct LogOptions {
    pub segment_bytes: u64,
}
impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

/// What was on disk, before anything is written.
pub struct Recovered {}
impl Recovered {
    /// Reads all segments, cuts a torn tail. Starts an empty log where there is none.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, LogError> {
        todo!()
    }
    /// Groups that have records and were not dropped.
    pub fn groups(&self) -> Vec<u32> {
        todo!()
    }
    pub fn register(&self, group: u32, register: usize) -> Option<&[u8]> {
        todo!()
    }
    /// Indices of the group's entries: consecutive; `start` is the one after the last purged. (1..1 / 0..0 when none)
    pub fn indices(&self, group: u32) -> Range<u64> {
        todo!()
    }
    /// Calls `visit` with each entry of the group from index `from`, in order.
    pub fn replay(
        &self,
        group: u32,
        from: u64,
        visit: &mut dyn FnMut(u64, &[u8]) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        todo!()
    }
    /// Starts the writer thread.
    pub fn start<C: Committer>(self, committer: C) -> Result<Log<C::Work>, LogError> {
        todo!()
    }
}

/// Records gathered for the next write.
pub struct Batch {}
impl Batch {
    /// Entry of a group: `index` is the one after the group's last.
    pub fn append(&mut self, group: u32, index: u64, payload: &[u8]) {
        todo!()
    }
    /// Entries from `from` on are gone.
    pub fn truncate(&mut self, group: u32, from: u64) {
        todo!()
    }
    /// Entries before `before` are no longer needed; the next index is `before` if that is past the last.
    pub fn purge(&mut self, group: u32, before: u64) {
        todo!()
    }
    /// Sets a register.
    pub fn set(&mut self, group: u32, register: usize, value: &[u8]) {
        todo!()
    }
    /// Forgets a group.
    pub fn drop_group(&mut self, group: u32) {
        todo!()
    }
    /// Asks for the batch to be written and synced now; without it the records ride on a later sync.
    pub fn sync(&mut self) {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Bytes staged.
    pub fn len(&self) -> usize {
        todo!()
    }
}

/// What turns work into records, on the writer's thread.
pub trait Committer: Send + 'static {
    type Work: Send + 'static;
    /// Adds the records of `work`. Called for all work that waits, in order, before one sync.
    fn stage(&mut self, work: Self::Work, batch: &mut Batch);
    /// All that was staged since the last call is durable, if a sync was asked for; or it is not there and never
    /// will be (`LogError::Full`: the log goes on; anything else: the log has stopped, each later batch fails too).
    fn settle(&mut self, outcome: Result<(), &LogError>);
}

/// A running log; clones share it. Dropping the last clone ends the thread after what is queued.
pub struct Log<W> {
    _w: std::marker::PhantomData<fn(W)>,
}
impl<W> Clone for Log<W> {
    fn clone(&self) -> Self {
        todo!()
    }
}
impl<W: Send + 'static> Log<W> {
    /// Queues work; gives it back once the log was closed.
    pub fn send(&self, work: W) -> Result<(), W> {
        todo!()
    }
    /// Reads entries that are durable.
    pub fn reader(&self) -> LogReader {
        todo!()
    }
    pub fn stats(&self) -> LogStats {
        todo!()
    }
    /// Whether `bytes` more can be written without more room on the disk being needed; asks the writer to make room
    /// if not.
    pub fn has_room(&self, bytes: usize) -> bool {
        todo!()
    }
    /// Groups whose entries keep the oldest segment from being deleted, if there are more than `segments` segments.
    pub fn lagging(&self, segments: usize) -> Vec<u32> {
        todo!()
    }
    /// Writes what is queued, syncs it, and ends the thread. Work sent later is given back.
    pub fn close(&self) {
        todo!()
    }
}

#[derive(Debug, Clone)]
pub struct LogReader {}
impl LogReader {
    /// The entries of `indices` that there are, from the first on, until they have more than `bytes_max` bytes.
    pub fn read(
        &self,
        group: u32,
        indices: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        todo!()
    }
    /// Reads everything again and checks it; gives the number of bytes checked.
    pub fn verify(&self) -> Result<u64, LogError> {
        todo!()
    }
}

/// Counters since the log was opened, and its size.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LogStats {
    pub records: u64,
    pub batches: u64,
    pub syncs: u64,
    pub bytes_written: u64,
    pub segments: u64,
    pub disk_bytes: u64,
    pub live_bytes: u64,
}

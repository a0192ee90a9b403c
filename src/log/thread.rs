//! The thread that writes a log, and the queue to it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::reader::LogReader;
use super::writer::{self, BATCH_BYTES, Batch, Counters, LogStats, WhenFull, Writer};
use super::{Disk, LogError};

/// How long a batch for which there is no room waits before it is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// The pause before a full disk is asked for room again while nothing is to be written.
const FULL_QUESTION: Duration = Duration::from_millis(500);

/// The part of a sync's time that is waited for others to share the next one: a half.
const PATIENCE: u32 = 2;

/// The most that is waited: a sync may have taken long for a reason that does not come again.
const PATIENCE_MAX: Duration = Duration::from_millis(10);

/// What turns work into records. It runs on the log's thread, so it can keep state of its own.
///
/// All work that waits is staged, in the order in which it was sent, then written and synced at
/// once, then settled: that is how many writers share one sync.
pub trait Committer: Send + 'static {
    /// What is sent to the log.
    type Work: Send + 'static;

    /// Adds the records of `work` to `batch`; [`Batch::sync`] if somebody waits for them.
    fn stage(&mut self, work: Self::Work, batch: &mut Batch);

    /// Learns what became of everything that was staged since the last call. `Ok`: it is on disk,
    /// if a sync was asked for. [`LogError::Full`] and [`LogError::TooLarge`]: nothing of it was
    /// written or will be, and the log goes on. Any other error: what was staged may be there or not when the log is opened
    /// again, and every later batch fails.
    ///
    /// To acknowledge anything before `Ok` is to lose it in a power cut.
    fn settle(&mut self, outcome: Result<(), &LogError>);

    /// Learns that the disk became full, or that there is room again: the first is told at the first
    /// batch, or extension of a file, for which there is no room, the second once the disk, which is
    /// asked twice a second, takes more.
    fn room_changed(&mut self, _full: bool) {}
}

enum Message<W> {
    Work(W),
    MakeRoom,
    Close,
}

/// A log that is being written; clones share it. Dropping the last one, or [`Log::close`], writes
/// what is queued and ends the thread.
pub struct Log<W: Send + 'static>(Arc<Running<W>>);

struct Running<W> {
    queue: Sender<Message<W>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closing: Arc<AtomicBool>,
    reader: LogReader,
    counters: Arc<Counters>,
}

impl<W: Send + 'static> Clone for Log<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Send + 'static> fmt::Debug for Log<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("disk", &self.0.reader.disk).finish_non_exhaustive()
    }
}

impl<W: Send + 'static> Log<W> {
    /// Queues work; gives it back if the log was closed.
    ///
    /// # Errors
    ///
    /// The work, if there is nobody to do it.
    pub fn send(&self, work: W) -> Result<(), W> {
        let disk = &self.0.reader.disk;
        disk.work_queued();
        let sent = self.0.queue.send(Message::Work(work));
        sent.map_err(|unsent| {
            disk.work_settled(1);
            match unsent.0 {
                Message::Work(work) => work,
                Message::MakeRoom | Message::Close => unreachable!("it was work"),
            }
        })
    }

    /// What reads the entries that are durable.
    pub fn reader(&self) -> LogReader {
        self.0.reader.clone()
    }

    /// Counters and sizes.
    pub fn stats(&self) -> LogStats {
        self.0.counters.stats(&self.0.reader.contents())
    }

    /// Whether records of `bytes` bytes can be written, as far as is known; nothing can be while a
    /// batch [waits for room](WhenFull::Wait). If not, the disk is asked again soon.
    pub fn has_room(&self, bytes: usize) -> bool {
        let has_room = self.0.counters.has_room(bytes);
        // One question in the queue is enough.
        if !has_room && !self.0.counters.asked.swap(true, Ordering::Relaxed) {
            let _ = self.0.queue.send(Message::MakeRoom);
        }
        has_room
    }

    /// The groups whose entries keep the oldest segments, if there are more than `segments`. Their
    /// entries have to be purged for the log to get shorter.
    pub fn lagging(&self, segments: usize) -> Vec<u32> {
        writer::lagging(&self.0.reader.contents(), segments)
    }

    /// Writes what is queued and ends the thread; returns when it has ended. What is sent later is
    /// given back. A batch that waits for room is given up.
    pub fn close(&self) {
        self.0.close();
    }
}

impl<W> Running<W> {
    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        // It is gone if it has ended.
        let _ = self.queue.send(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A committer that panicked has told so.
            let _ = thread.join();
        }
    }
}

impl<W> Drop for Running<W> {
    fn drop(&mut self) {
        self.close();
    }
}

pub(super) fn start<C: Committer>(
    writer: Writer,
    reader: LogReader,
    committer: C,
) -> Result<Log<C::Work>, LogError> {
    let (queue, messages) = crossbeam_channel::unbounded();
    let closing = Arc::new(AtomicBool::new(false));
    let counters = writer.counters();
    let location = reader.disk.location();
    let thread = Thread {
        disk: Arc::clone(&reader.disk),
        writer,
        committer,
        messages,
        gathered: 0,
        is_full: false,
        closing: Arc::clone(&closing),
        pace: Pace::default(),
    };
    let spawned = thread::Builder::new().name("triekv-log".to_owned()).spawn(move || thread.run());
    let thread = spawned.map_err(|error| LogError::io("start a thread for", &location, error))?;
    let thread = Mutex::new(Some(thread));
    Ok(Log(Arc::new(Running { queue, thread, closing, reader, counters })))
}

struct Thread<C: Committer> {
    disk: Arc<dyn Disk>,
    writer: Writer,
    committer: C,
    messages: Receiver<Message<C::Work>>,
    /// How many pieces of work were staged and not settled.
    gathered: usize,
    /// What the committer knows of the disk.
    is_full: bool,
    closing: Arc<AtomicBool>,
    pace: Pace,
}

/// What the last sync was like.
#[derive(Debug, Default)]
struct Pace {
    /// How many were answered after it, or came during it.
    expected: usize,
    /// How long it took.
    sync: Duration,
}

impl<C: Committer> Thread<C> {
    fn run(mut self) {
        let mut batch = Batch::default();
        loop {
            let closed = self.gather(&mut batch);
            let waiting = batch.waiting();
            let begun = Instant::now();
            // What nobody waits for must not grow without end, or be taken by a log that stopped.
            let due =
                waiting > 0 || closed || batch.len() >= BATCH_BYTES || self.writer.has_stopped();
            if cfg!(triekv_planted = "ack_before_sync") {
                // Planted: those who wait are told before anything is written.
                self.committer.settle(Ok(()));
            }
            let outcome = if due { self.commit(&mut batch) } else { Ok(()) };
            if waiting > 0 {
                self.pace = Pace { expected: waiting + self.messages.len(), sync: begun.elapsed() };
            }
            self.committer.settle(outcome.as_ref().copied());
            self.disk.work_settled(std::mem::take(&mut self.gathered));
            batch.settle();
            self.writer.maintain();
            self.tell_of_room();
            if closed {
                return;
            }
        }
    }

    /// Waits for work and stages all that is there, up to a limit; whether it was the last.
    ///
    /// Those who were answered after the last sync, and those who came during it, are given a
    /// fraction of a sync's time to come again: otherwise they would split into two crowds, each
    /// of which waits for the other one's sync.
    fn gather(&mut self, batch: &mut Batch) -> bool {
        let mut message = if self.is_full {
            match self.messages.recv_timeout(FULL_QUESTION) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => None,
            }
        } else {
            self.messages.recv().ok()
        };
        let mut patience_ends = None;
        while let Some(received) = message {
            match received {
                Message::Work(work) => {
                    self.gathered += 1;
                    self.committer.stage(work, batch);
                }
                Message::MakeRoom => self.writer.was_asked(),
                Message::Close => return true,
            }
            if batch.len() >= BATCH_BYTES {
                return false;
            }
            message = match self.messages.try_recv() {
                Ok(message) => Some(message),
                Err(_) if (1..self.pace.expected).contains(&batch.waiting()) => {
                    let until = *patience_ends.get_or_insert_with(|| {
                        Instant::now() + (self.pace.sync / PATIENCE).min(PATIENCE_MAX)
                    });
                    // Not asleep: each of them would have to wake this thread.
                    loop {
                        match self.messages.try_recv() {
                            Ok(message) => break Some(message),
                            Err(_) if Instant::now() < until => thread::yield_now(),
                            Err(_) => return false,
                        }
                    }
                }
                Err(_) => return false,
            };
        }
        true
    }

    fn tell_of_room(&mut self) {
        if self.writer.is_full() != self.is_full {
            self.is_full = !self.is_full;
            self.committer.room_changed(self.is_full);
        }
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<(), LogError> {
        loop {
            let outcome = self.writer.commit(batch);
            self.tell_of_room();
            let waits = self.writer.options().when_full == WhenFull::Wait
                && matches!(outcome, Err(LogError::Full { .. }));
            if !waits {
                return outcome;
            }
            if self.closing.load(Ordering::SeqCst) {
                batch.refuse();
                return outcome;
            }
            thread::sleep(FULL_PAUSE);
        }
    }
}

//! Snapshots of a store: the state in one file, so that the log before it can go.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::log::{Disk, Log, LogError};
use crate::store::committer::Work;
use crate::store::encoding::encode_head;
use crate::store::file;
use crate::store::shared::{Shared, State};

/// Writes the snapshots of one store, one at a time.
#[derive(Debug)]
pub(super) struct Checkpointer {
    pub(super) disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    /// Bytes of log after which a snapshot is due, unless the last one is larger.
    snapshot_bytes: u64,
    /// Held by whoever writes the file, or needs it to stay what it is.
    file: Mutex<()>,
    done: Mutex<Checkpoints>,
    /// Set once: a snapshot that is being written is given up.
    stop: AtomicBool,
    asked: Sender<()>,
}

/// What became of the snapshots.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checkpoints {
    /// The last record in the snapshot that there is, if there is one.
    pub(super) index: Option<u64>,
    /// Its length.
    pub(super) bytes: u64,
    /// How long the last one took.
    pub(super) time: Duration,
    pub(super) written: u64,
    pub(super) failed: u64,
}

impl Checkpointer {
    /// The name of the snapshot.
    pub(super) const FILE: &str = "store.snapshot";

    /// The snapshot that was found, if any, has `index` and `bytes`. The receiver is for
    /// [`run`](Self::run).
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        snapshot_bytes: u64,
        (index, bytes): (Option<u64>, u64),
    ) -> (Self, Receiver<()>) {
        let (asked, requests) = crossbeam_channel::bounded(1);
        let done = Mutex::new(Checkpoints { index, bytes, ..Checkpoints::default() });
        let (file, stop) = (Mutex::default(), AtomicBool::new(false));
        (Self { disk, shared, snapshot_bytes, file, done, stop, asked }, requests)
    }

    /// Whether so many bytes of log ask for a snapshot.
    pub(super) fn is_due(&self, record_bytes: u64) -> bool {
        record_bytes >= self.snapshot_bytes.max(self.done().bytes)
    }

    /// Asks the thread for a snapshot. Whether it will take one: else it has been asked already.
    pub(super) fn ask(&self) -> bool {
        self.asked.try_send(()).is_ok()
    }

    /// The thread: takes a snapshot whenever it is asked to, until [`stop`](Self::stop).
    pub(super) fn run(&self, requests: &Receiver<()>, log: &Log<Work>) {
        while requests.recv().is_ok() && !self.stop.load(Ordering::Relaxed) {
            // What fails is counted, and tried again when the log has grown as much once more. So is
            // what panics: nobody would ask this thread for a snapshot again, and the log never end.
            let attempt = panic::AssertUnwindSafe(|| self.checkpoint(log));
            if panic::catch_unwind(attempt).is_err() {
                self.count_failure();
            }
        }
    }

    /// Ends [`run`](Self::run), and a snapshot that is being written.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // If it has been asked already, it will look as well.
        self.ask();
    }

    /// Writes a snapshot of the state as it is now, and lets the log before it go.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the snapshot from before is there then, and the log after it.
    pub(super) fn checkpoint(&self, log: &Log<Work>) -> Result<(), LogError> {
        let _file = self.hold_file();
        let state = self.shared.state();
        if self.done().index == Some(state.index) {
            return Ok(());
        }
        self.write(&state).and_then(|bytes| {
            file::install(&*self.disk, Self::FILE).inspect_err(|_| self.count_failure())?;
            self.installed(state.index, bytes);
            // Without it the log is only longer than it need be.
            let _ = log.send(Work::Purge { before: state.index + 1 });
            Ok(())
        })
    }

    /// Writes the file of a snapshot, which is not installed yet, and returns its length.
    pub(super) fn write(&self, state: &State) -> Result<u64, LogError> {
        let start = Instant::now();
        let head = encode_head(state.index);
        let progress = || self.shared.read().index;
        let written =
            file::write_snapshot(&*self.disk, Self::FILE, &head, &self.stop, &progress, |out| {
                state.documents.write_to(out)
            });
        match written {
            Ok(_) => self.done().time = start.elapsed(),
            Err(_) => self.count_failure(),
        }
        written
    }

    pub(super) fn installed(&self, index: u64, bytes: u64) {
        let mut done = self.done();
        done.index = Some(index);
        done.bytes = bytes;
        done.written += 1;
    }

    fn count_failure(&self) {
        self.done().failed += 1;
    }

    /// No snapshot is written or installed as long as the guard lives.
    pub(super) fn hold_file(&self) -> MutexGuard<'_, ()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn done(&self) -> MutexGuard<'_, Checkpoints> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A store on a disk: opening it, its log, and what checks it.

use std::io::Read;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::log::{
    Damage, Disk, Log, LogError, LogOptions, RECORD_BYTES_MAX, Recovered, SnapshotReader,
};
use crate::parser::Command;
use crate::store::answer::{Answer, answer};
use crate::store::checkpoint::Checkpointer;
use crate::store::committer::{GROUP, Outcome, Work, Writer};
use crate::store::encoding::{decode_head, encode_record, replay};
use crate::store::file;
use crate::store::shared::{Shared, State};
use crate::store::{Documents, Reply, StoreError, StoreStats, Verification};

/// A file that only a server's directory has.
const IDENTITY: &str = "identity";

/// Bytes of records that are read from the log at a time to check them.
const VERIFY_BYTES: usize = 1 << 20;

/// The log and the snapshots of a store.
pub(super) struct Durable {
    shared: Arc<Shared>,
    log: Log<Work>,
    checkpointer: Arc<Checkpointer>,
    thread: Option<JoinHandle<()>>,
}

impl Durable {
    /// Reads the directory, and starts the threads. `snapshot_bytes` as in
    /// [`StoreBuilder::snapshot_bytes`](super::StoreBuilder::snapshot_bytes).
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        snapshot_bytes: u64,
    ) -> Result<Self, StoreError> {
        if disk.open(IDENTITY).is_ok() {
            return Err(StoreError::NotAStore { directory: disk.location() });
        }
        // First what changes nothing: opening the log cuts off what was cut short.
        let snapshot = read_snapshot(&*disk)?;
        let recovered = Recovered::open(Arc::clone(&disk), options)?;
        // A snapshot that was not finished.
        file::discard(&*disk, Checkpointer::FILE);
        let found = snapshot.as_ref().map_or((None, 0), |(state, len)| (Some(state.index), *len));
        let mut state = snapshot.map(|(state, _)| state).unwrap_or_default();
        let record_bytes = replay_log(&*disk, &recovered, &mut state)?;

        let shared = Arc::new(Shared::new(state));
        let (checkpointer, requests) =
            Checkpointer::new(disk, Arc::clone(&shared), snapshot_bytes, found);
        let checkpointer = Arc::new(checkpointer);
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&checkpointer), record_bytes);
        let log = recovered.start(writer)?;
        let (on_thread, log_there) = (Arc::clone(&checkpointer), log.clone());
        let thread = thread::Builder::new()
            .name("triekv-snapshot".to_owned())
            .spawn(move || on_thread.run(&requests, &log_there))
            .map_err(|error| {
                LogError::io("start a thread for", checkpointer.disk.location(), error)
            })?;
        Ok(Self { shared, log, checkpointer, thread: Some(thread) })
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Carries out commands that have been checked, and returns once they are durable.
    pub(super) fn write(&self, commands: Vec<Command>) -> Outcome {
        let record = encode_record(&commands);
        check_len(record.len())?;
        self.ask(|answer| Work::Write { commands, record, answer })
    }

    /// As [`write`](Self::write), for one command.
    pub(super) fn write_one(&self, command: Command) -> Result<Reply, StoreError> {
        match self.write(vec![command]) {
            Ok(mut replies) => Ok(replies.pop().expect("each command has a reply")),
            Err(StoreError::Batch { source, .. }) => Err(StoreError::Command(source)),
            Err(error) => Err(error),
        }
    }

    fn ask(&self, work: impl FnOnce(Answer) -> Work) -> Outcome {
        let (answer, awaited) = answer();
        self.log.send(work(answer)).map_err(|_| StoreError::Closed)?;
        awaited.wait()
    }

    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(self.checkpointer.checkpoint(&self.log)?)
    }

    /// Begins with `documents`, if nothing was ever written.
    pub(super) fn import(&self, documents: Documents) -> Result<(), StoreError> {
        let _file = self.checkpointer.hold_file();
        refuse_unless_new(&self.shared.read().documents)?;
        let state = State { documents, index: 0 };
        let bytes = self.checkpointer.write(&state)?;
        self.ask(|answer| Work::Import { documents: state.documents, answer })?;
        self.checkpointer.installed(0, bytes);
        Ok(())
    }

    /// Reads everything on the disk again, and compares it with what is in memory.
    pub(super) fn verify(&self) -> Result<Verification, StoreError> {
        let _file = self.checkpointer.hold_file();
        let state = self.shared.state();
        let reader = self.log.reader();
        let log_bytes = reader.verify()?;
        let disk = &*self.checkpointer.disk;
        let (mut read, snapshot_bytes) = read_snapshot(disk)?.unwrap_or_default();
        while read.index < state.index {
            let indices = read.index + 1..state.index + 1;
            let records = reader.read(GROUP, indices, VERIFY_BYTES)?;
            if records.is_empty() {
                return Err(missing(disk).into());
            }
            for (index, record) in records {
                replay(&mut read.documents, index, &record)?;
                read.index = index;
            }
        }
        if read.documents != state.documents {
            return Err(StoreError::Diverged);
        }
        let (records, writes) = (state.documents.len(), state.documents.version());
        Ok(Verification { records, writes, log_bytes, snapshot_bytes })
    }

    pub(super) fn stats(&self, stats: &mut StoreStats) {
        let done = *self.checkpointer.done();
        stats.log = Some(self.log.stats());
        stats.snapshots = done.written;
        stats.snapshots_failed = done.failed;
        stats.snapshot_bytes = done.bytes;
        stats.snapshot_time = done.time;
    }

    /// Whether the log takes work.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.ask(|answer| Work::Check { answer }).map(drop)
    }
}

/// Refuses a record that the log does not take.
pub(super) fn check_len(len: usize) -> Result<(), LogError> {
    let limit = RECORD_BYTES_MAX;
    if len > limit { Err(LogError::TooLarge { len, limit }) } else { Ok(()) }
}

/// Refuses a store that was written to.
pub(super) fn refuse_unless_new(documents: &Documents) -> Result<(), StoreError> {
    match documents.version() {
        0 => Ok(()),
        writes => Err(StoreError::NotNew { writes }),
    }
}

/// The state in the snapshot, and the snapshot's length; `None` if there is none.
fn read_snapshot(disk: &dyn Disk) -> Result<Option<(State, u64)>, LogError> {
    let name = Checkpointer::FILE;
    let Some((mut snapshot, len)) = file::open_snapshot(disk, name)? else { return Ok(None) };
    let index = decode_head(snapshot.head(), &file::location(disk, name))?;
    let documents = read_documents(&mut snapshot)?;
    Ok(Some((State { documents, index }, len)))
}

/// The documents that a snapshot has, and nothing else.
pub(super) fn read_documents<R: Read>(
    snapshot: &mut SnapshotReader<R>,
) -> Result<Documents, LogError> {
    let documents = Documents::read_from(snapshot)?;
    match snapshot.next_item()? {
        None => Ok(documents),
        Some(_) => Err(snapshot.malformed()),
    }
}

/// Carries out the records of the log that `state` has not in it. Returns how many bytes they have.
fn replay_log(
    disk: &dyn Disk,
    recovered: &Recovered,
    state: &mut State,
) -> Result<u64, StoreError> {
    let indices = recovered.indices(GROUP);
    // The first record has the index 1, also where the log has none yet.
    if indices.start > state.index + 1 || indices.end.max(1) <= state.index {
        return Err(missing(disk).into());
    }
    let mut bytes = 0;
    recovered.reader().replay(GROUP, state.index + 1, |index, record| {
        bytes += record.len() as u64;
        state.index = index;
        replay(&mut state.documents, index, record)
    })?;
    Ok(bytes)
}

/// Records are neither in the log nor in a snapshot.
fn missing(disk: &dyn Disk) -> LogError {
    LogError::Corrupt { file: disk.location(), offset: 0, damage: Damage::Missing }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.checkpointer.stop();
        self.log.close();
        // It has nothing to say: what failed in it was counted.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

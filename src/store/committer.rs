//! The log's thread at work for a store: carries out commands, and answers once they are durable.

use std::mem;
use std::sync::Arc;

use crate::log::{Batch, Committer, LogError};
use crate::parser::Command;
use crate::store::answer::Answer;
use crate::store::checkpoint::Checkpointer;
use crate::store::durable::refuse_unless_new;
use crate::store::file;
use crate::store::shared::{Shared, State};
use crate::store::{Documents, Reply, StoreError};

/// The group of the log that a store's records are in.
pub(super) const GROUP: u32 = 0;

/// The answer to a piece of work.
pub(super) type Outcome = Result<Vec<Reply>, StoreError>;

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Work {
    /// To carry out commands that have been checked, all of them or none.
    Write {
        commands: Vec<Command>,
        /// What is written of them if they change anything.
        record: Vec<u8>,
        answer: Answer,
    },
    /// To begin with these documents, whose snapshot is written and not yet installed.
    Import { documents: Documents, answer: Answer },
    /// To forget the records before this index, which a snapshot holds.
    Purge { before: u64 },
    /// To tell whether there is anything that keeps the log from being written.
    Check { answer: Answer },
}

/// The state that commands are carried out on. What others see of it, in [`Shared`], is durable.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    checkpointer: Arc<Checkpointer>,
    working: State,
    /// What is to be answered after the next sync.
    answers: Vec<(Answer, Outcome)>,
    /// Bytes of records since a checkpoint was asked for, and those of them that are staged.
    record_bytes: u64,
    staged_bytes: u64,
    /// Why nothing is written any more, where the log itself does not know of it.
    stopped: Option<LogError>,
}

impl Writer {
    /// `record_bytes` are those that are in the log already.
    pub(super) fn new(
        shared: Arc<Shared>,
        checkpointer: Arc<Checkpointer>,
        record_bytes: u64,
    ) -> Self {
        let working = shared.state();
        let (answers, staged_bytes, stopped) = (Vec::new(), 0, None);
        Self { shared, checkpointer, working, answers, record_bytes, staged_bytes, stopped }
    }

    fn write(&mut self, commands: Vec<Command>, record: &[u8], batch: &mut Batch) -> Outcome {
        self.refuse_if_stopped()?;
        let State { documents, index } = &mut self.working;
        let version = documents.version();
        let replies = documents
            .apply_all(commands)
            .map_err(|(position, source)| StoreError::Batch { position, source })?;
        if documents.version() != version {
            *index += 1;
            batch.append(GROUP, *index, record);
            batch.sync();
            self.staged_bytes += record.len() as u64;
        }
        Ok(replies)
    }

    /// The import is durable when this returns, and seen: it is no part of the log, and nothing is
    /// staged before it, or the store would not be new.
    fn import(&mut self, documents: Documents) -> Outcome {
        let disk = &*self.checkpointer.disk;
        let taken = self.refuse_if_stopped();
        if let Err(error) = taken.and_then(|()| refuse_unless_new(&self.working.documents)) {
            file::discard(disk, Checkpointer::FILE);
            return Err(error);
        }
        if let Err(error) = file::install(disk, Checkpointer::FILE) {
            // Nobody knows which snapshot the directory has after a crash, so that no record may
            // follow either of them.
            let stopped = LogError::Stopped(Arc::new(error));
            self.stopped = Some(stopped.clone());
            return Err(stopped.into());
        }
        self.working.documents = documents;
        self.shared.publish(&self.working);
        Ok(Vec::new())
    }

    fn refuse_if_stopped(&self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(error) => Err(error.clone().into()),
            None => Ok(()),
        }
    }
}

impl Committer for Writer {
    type Work = Work;

    fn stage(&mut self, work: Work, batch: &mut Batch) {
        match work {
            Work::Write { commands, record, answer } => {
                let outcome = self.write(commands, &record, batch);
                self.answers.push((answer, outcome));
            }
            Work::Import { documents, answer } => {
                answer.give(self.import(documents));
            }
            Work::Purge { before } => {
                batch.purge(GROUP, before);
                batch.sync();
            }
            Work::Check { answer } => {
                batch.sync();
                self.answers.push((answer, Ok(Vec::new())));
            }
        }
    }

    fn settle(&mut self, outcome: Result<(), &LogError>) {
        let staged_bytes = mem::take(&mut self.staged_bytes);
        match outcome {
            Ok(()) => {
                self.shared.publish(&self.working);
                self.record_bytes += staged_bytes;
                if self.checkpointer.is_due(self.record_bytes) && self.checkpointer.ask() {
                    self.record_bytes = 0;
                }
            }
            Err(_) => self.working = self.shared.state(),
        }
        for (answer, of_command) in self.answers.drain(..) {
            // Refusals too: what they rest on may not have come to be.
            let answered = outcome.map_err(|error| error.clone().into()).and(of_command);
            answer.give(answered);
        }
    }
}

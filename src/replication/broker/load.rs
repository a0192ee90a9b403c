//! Indexing a file of records, one a line: `KEY:VALUE`, or JSON.
//!
//! The file is read twice. The first reading finds its hash, and the lines whose key a later line has:
//! of each key the last record counts. In the second one, records are parsed on a thread of their own
//! and put in order, many at a time, where their keys are absent. Group 0 notes how far each file is,
//! by its hash:
//!
//! | the load of this file | |
//! |---|---|
//! | has not begun | every record is put whose key is absent |
//! | was interrupted | it goes on: no line is carried out a second time |
//! | has ended | nothing is done: what was changed since stays as it is |
//! | has ended or was interrupted, and the cluster has no record | it begins anew |
//!
//! So a load that is interrupted, however often, ends where it would have ended. A key is put by one
//! line alone, and only where it is absent: what others put meanwhile stays. And the shard of a key
//! remembers up to which line it has applied the load (see [`shard`](crate::replication::shard)): what
//! others delete stays deleted. The note in group 0 spares reading and sending what is done.
//!
//! [`LoadMode::Reload`] puts every record whatever there is, and begins anew each time.
//! [`Broker::clear`] makes the cluster one that has no record and no file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Broker, BrokerError, COMMAND_BYTES_MAX, RECORD_TIME};
use crate::parser::{Command, Condition, Line, LineError, Lines};
use crate::replication::message::{self, Bytes, Refusal, Request, Response};
use crate::replication::meta::{FileHash, Load, MetaCommand, MetaReply};
use crate::replication::shard::encode_command;
use crate::replication::{ClientId, GroupId};
use crate::store::{CommandError, check_key, check_value};
use crate::transport::Transport;
use crate::value::Value;

mod survey;
#[cfg(test)]
mod tests;
mod window;

use survey::Survey;
use window::{Record, Settled, Window};

/// Lines that go from the reading thread at a time, and bytes of them.
const LINES_A_MESSAGE: usize = 256;
const BYTES_A_MESSAGE: u64 = 1 << 20;

/// Lines after which group 0 notes the progress.
const LINES_A_NOTE: u64 = if cfg!(test) { 300 } else { 16_384 };

/// What to do with a file that was loaded before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoadMode {
    /// Nothing, or what is missing of a load that was interrupted. Only keys that are absent are put.
    #[default]
    Once,
    /// Put every record, in place of what is there, from the first line on.
    Reload,
}

/// Something to tell while a file is loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadEvent<'a> {
    /// So far have the records been put.
    Progress {
        /// Bytes of the file that are done.
        bytes: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// A line is no record; it was left out.
    BadLine {
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong.
        error: &'a LineError,
    },
    /// A key that a line above had already: this line takes the place of the one above, which is not
    /// put.
    DuplicateKey {
        /// Number of the line, from 1.
        line: u64,
        /// Number of the line that had the key last.
        earlier: u64,
        /// The key.
        key: &'a str,
    },
}

/// Why a load did not come to its end. What was put stays; loading the file again goes on from
/// there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is a pipe, a directory or a device, which cannot be read twice.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// A record could not be put.
    #[error("line {line} was not loaded")]
    Put {
        /// Number of the line, from 1.
        line: u64,
        /// Why.
        source: BrokerError,
    },
    /// Group 0 did not note the progress.
    #[error("the progress could not be noted")]
    Note {
        /// Why.
        source: BrokerError,
    },
}

/// What a load did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Lines of the file, blank ones included.
    pub lines: u64,
    /// Records that were put.
    pub put: u64,
    /// Records that were not put since their key was there.
    pub present: u64,
    /// Lines that are no records.
    pub bad_lines: u64,
    /// Records that were not put since a later line has their key.
    pub duplicates: u64,
    /// Lines that an earlier load had done.
    pub skipped: u64,
    /// Whether the file had been loaded before, so that nothing was done.
    pub already_loaded: bool,
}

impl<T: Transport> Broker<T> {
    /// Loads the records of the file at `path`, one a line, and tells `on_event` what is worth
    /// telling. Bad lines are left out. Of lines with the same key the last one counts.
    ///
    /// A load that was interrupted goes on, also one that another broker has under way: together they
    /// carry out each line once, as one broker without an interruption. The cluster remembers the 10,000
    /// loads that it heard of last.
    ///
    /// The file is read twice: once to know it again, once to load it. It must not change
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; what was put stays.
    pub async fn load_file(
        &self,
        path: &Path,
        mode: LoadMode,
        mut on_event: impl FnMut(LoadEvent<'_>),
    ) -> Result<LoadReport, LoadError> {
        let fail = |source| LoadError::Read { path: path.to_owned(), source };
        if !std::fs::metadata(path).map_err(fail)?.is_file() {
            return Err(LoadError::NotRegular { path: path.to_owned() });
        }
        let owned = path.to_owned();
        let survey = tokio::task::spawn_blocking(move || Survey::of(&owned)).await;
        let survey = joined(survey).map_err(fail)?;
        let file = survey.hash;
        let mut load = self.begin_load(file, false).await?;
        let empty = self.is_empty().await.map_err(|source| LoadError::Note { source })?;
        if empty && (load.finished || load.lines > 0) && mode == LoadMode::Once {
            load = self.begin_load(file, true).await?;
        } else if load.finished && mode == LoadMode::Once {
            let (lines, skipped) = (load.lines, load.lines);
            let report = LoadReport { lines, skipped, ..LoadReport::default() };
            return Ok(LoadReport { already_loaded: true, ..report });
        }
        let (client, skip) = match mode {
            LoadMode::Reload => (None, 0),
            LoadMode::Once => (Some(load.client), load.lines),
        };
        let (sender, mut chunks) = mpsc::channel(4);
        let owned = path.to_owned();
        let reader = tokio::task::spawn_blocking(move || read_lines(&owned, skip, &sender));
        let mut loader = Loader::new(self, &survey, client, skip);
        let (mut noted, mut reading) = (skip, true);
        while reading || !loader.window.is_empty() {
            tokio::select! {
                Some(settled) = loader.window.settle() => {
                    let settled = settled.map_err(|(line, source)| LoadError::Put { line, source });
                    loader.settled(settled?, &mut on_event)?;
                }
                chunk = chunks.recv(), if reading && loader.window.has_room() => match chunk {
                    Some(chunk) => loader.take(chunk, &mut on_event)?,
                    None => reading = false,
                },
            }
            // In a reload the note of the first load stands.
            if client.is_some() && loader.done_lines() >= noted + LINES_A_NOTE {
                noted = loader.done_lines();
                self.note_load(file, load.client, noted, false).await?;
            }
        }
        joined(reader.await).map_err(fail)?;
        let report = loader.report;
        self.note_load(file, load.client, report.lines, true).await?;
        Ok(report)
    }

    async fn begin_load(&self, file: FileHash, anew: bool) -> Result<Load, LoadError> {
        let client = ClientId(rand::random());
        match self.note(&MetaCommand::BeginLoad { file, client, anew }).await? {
            MetaReply::Load(load) => Ok(load),
            MetaReply::Done
            | MetaReply::Malformed
            | MetaReply::TooManyServers
            | MetaReply::TooFewServers(_) => {
                let source = Refusal::Malformed;
                Err(LoadError::Note {
                    source: BrokerError::Refused { group: GroupId::META, source },
                })
            }
        }
    }

    async fn note_load(
        &self,
        file: FileHash,
        client: ClientId,
        lines: u64,
        finished: bool,
    ) -> Result<(), LoadError> {
        self.note(&MetaCommand::NoteLoad { file, client, lines, finished }).await.map(drop)
    }

    async fn note(&self, command: &MetaCommand) -> Result<MetaReply, LoadError> {
        self.change_meta(command).await.map_err(|source| LoadError::Note { source })
    }

    /// Has group 0 carry out the command, which may be told twice.
    pub(super) async fn change_meta(
        &self,
        command: &MetaCommand,
    ) -> Result<MetaReply, BrokerError> {
        let routes = &self.inner.routes;
        let (cluster, command) = (routes.cluster(), Bytes(message::encode(command)));
        let request = Request::Meta { cluster, command };
        let deadline = Instant::now() + RECORD_TIME;
        let response = routes.ask_leader(GroupId::META, &message::encode(&request), deadline).await;
        let reply = match response {
            Ok(Response::Written(Bytes(reply))) => message::decode(&reply).ok(),
            Ok(_) => None,
            Err(error) => return Err(error.for_read(GroupId::META)),
        };
        reply.ok_or(BrokerError::Stopped)
    }
}

/// From the lines of a file to records under way, and to what became of them.
struct Loader<'a, T: Transport> {
    broker: &'a Broker<T>,
    survey: &'a Survey,
    condition: Condition,
    window: Window<T>,
    report: LoadReport,
    /// Where the last line that was taken ends.
    end: u64,
    /// The lines that are no records, and in whose place a later line is.
    bad: BTreeSet<u64>,
}

impl<'a, T: Transport> Loader<'a, T> {
    fn new(broker: &'a Broker<T>, survey: &'a Survey, client: Option<ClientId>, skip: u64) -> Self {
        let condition = if client.is_some() { Condition::IfAbsent } else { Condition::Always };
        let inner = &broker.inner;
        let window = Window::new(&inner.routes, inner.lanes.len(), client);
        let report = LoadReport { skipped: skip, lines: skip, ..Default::default() };
        Self { broker, survey, condition, window, report, end: 0, bad: BTreeSet::new() }
    }

    /// Sends the records of these lines on their way.
    fn take(
        &mut self,
        lines: Vec<Line>,
        on_event: &mut impl FnMut(LoadEvent<'_>),
    ) -> Result<(), LoadError> {
        for line in lines {
            self.take_line(line, on_event)?;
        }
        self.window.send();
        Ok(())
    }

    fn take_line(
        &mut self,
        line: Line,
        on_event: &mut impl FnMut(LoadEvent<'_>),
    ) -> Result<(), LoadError> {
        let (number, start) = (line.number, self.end);
        self.end = line.end;
        self.report.lines = number;
        let (key, value) = match line.record {
            Ok(None) => return Ok(()),
            Ok(Some(record)) => record,
            Err(error) => {
                self.bad_line(number, &error, on_event);
                return Ok(());
            }
        };
        let command = match encode(&key, value, self.condition) {
            Ok(command) => command,
            Err(BrokerError::CommandTooLarge { len, limit }) => {
                self.bad_line(number, &LineError::TooLarge { len, limit }, on_event);
                return Ok(());
            }
            Err(source) => return Err(LoadError::Put { line: number, source }),
        };
        if let Some(earlier) = self.survey.earlier(number).filter(|line| !self.bad.contains(line)) {
            on_event(LoadEvent::DuplicateKey { line: number, earlier, key: &key });
        }
        if self.survey.is_replaced(number) {
            self.report.duplicates += 1;
        } else {
            let record = Record { line: number, start, command };
            self.window.push(self.broker.shard_of(&key), record);
        }
        Ok(())
    }

    fn bad_line(&mut self, line: u64, error: &LineError, on_event: &mut impl FnMut(LoadEvent<'_>)) {
        if self.survey.is_replaced(line) {
            self.bad.insert(line);
        }
        self.report.bad_lines += 1;
        on_event(LoadEvent::BadLine { line, error });
    }

    /// Counts what became of a batch.
    fn settled(
        &mut self,
        settled: Settled,
        on_event: &mut impl FnMut(LoadEvent<'_>),
    ) -> Result<(), LoadError> {
        self.report.skipped += settled.before as u64;
        for outcome in settled.outcomes {
            match outcome {
                Ok(_) => self.report.put += 1,
                Err(CommandError::Conflict { .. }) => self.report.present += 1,
                Err(error) => {
                    let source = BrokerError::Store(error);
                    return Err(LoadError::Put { line: settled.line, source });
                }
            }
        }
        let bytes = self.window.first().map_or(self.end, |(_, start)| start);
        on_event(LoadEvent::Progress { bytes, total: self.survey.bytes });
        Ok(())
    }

    /// Lines from the start of the file of which nothing is under way.
    fn done_lines(&self) -> u64 {
        self.window.first().map_or(self.report.lines, |(line, _)| line - 1)
    }
}

/// The command that puts a record, encoded.
fn encode(key: &str, value: Value, condition: Condition) -> Result<Vec<u8>, BrokerError> {
    check_key(key).map_err(BrokerError::Store)?;
    check_value(&value).map_err(BrokerError::Store)?;
    let command = encode_command(&Command::Put { key: key.to_owned(), value, condition });
    let (len, limit) = (command.len(), COMMAND_BYTES_MAX);
    if len > limit { Err(BrokerError::CommandTooLarge { len, limit }) } else { Ok(command) }
}

fn joined<R>(result: Result<io::Result<R>, tokio::task::JoinError>) -> io::Result<R> {
    result.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Sends the lines after the first `skip`, parsed; ends early when nobody takes them.
fn read_lines(path: &Path, skip: u64, sender: &mpsc::Sender<Vec<Line>>) -> io::Result<()> {
    let mut lines = Lines::new(BufReader::with_capacity(1 << 16, File::open(path)?));
    lines.skip_lines(skip)?;
    loop {
        let mut chunk: Vec<Line> = Vec::new();
        let mut end = u64::MAX;
        while chunk.len() < LINES_A_MESSAGE
            && let Some(line) = lines.next().transpose()?
        {
            end = end.min(line.end.saturating_add(BYTES_A_MESSAGE));
            let is_last = line.end >= end;
            chunk.push(line);
            if is_last {
                break;
            }
        }
        if chunk.is_empty() || sender.blocking_send(chunk).is_err() {
            return Ok(());
        }
    }
}

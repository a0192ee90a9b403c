//! Indexing a file of records, one a line: `KEY:VALUE`, or JSON.
//!
//! Lines are read and parsed on a thread of their own and put in order, many at a time. Group 0
//! notes how far each file is, by a hash of its content:
//!
//! | the cluster | |
//! |---|---|
//! | has no record | every line is put, so the last line of a key wins |
//! | the load of this file was interrupted | it goes on; only absent keys are put |
//! | this file was loaded | nothing is done: what was changed since stays as it is |
//! | has other data | only absent keys are put |
//!
//! [`LoadMode::Reload`] puts every line whatever there is. [`Broker::clear`] makes the cluster one
//! that has no record and no file.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher13};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Broker, BrokerError, Pending, finish};
use crate::parser::{Condition, Line, LineError, Lines};
use crate::replication::GroupId;
use crate::replication::message::{self, Bytes, Refusal, Request, Response};
use crate::replication::meta::{FileHash, Load, MetaCommand, MetaReply};
use crate::store::{CommandError, Reply};
use crate::transport::Transport;
use crate::trie::Trie;

/// How long one record may take: longer than a command at the prompt, so that an election does not
/// end a load.
pub(super) const RECORD_TIME: Duration = Duration::from_secs(30);

/// Records under way at a time, and bytes of their lines.
const WINDOW: usize = 4096;
const WINDOW_BYTES: u64 = 32 << 20;

/// Lines that go from the reading thread at a time.
const LINES_A_MESSAGE: usize = 256;

/// Lines after which group 0 notes the progress.
const LINES_A_NOTE: u64 = 16_384;

const HASH_SEED: (u64, u64) = (0x7472_6965_6b76_0003, 0x6669_6c65_6861_7368);

/// What to do with a file that was loaded before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoadMode {
    /// Nothing; and where the cluster has other data, put only keys that are absent.
    #[default]
    Once,
    /// Put every line, in place of what is there.
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
    /// A key that a line above had already.
    DuplicateKey {
        /// Number of the line, from 1.
        line: u64,
        /// Number of the line that had the key last.
        earlier: u64,
        /// The key.
        key: &'a str,
        /// Whether this line takes the place of the one above: else the first one stays, since
        /// only absent keys are put.
        wins: bool,
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
    /// Lines whose key a line above had.
    pub duplicates: u64,
    /// Lines that an earlier load had done.
    pub skipped: u64,
    /// Whether the file had been loaded before, so that nothing was done.
    pub already_loaded: bool,
}

impl<T: Transport> Broker<T> {
    /// Loads the records of the file at `path`, one a line, and tells `on_event` what is worth
    /// telling. Bad lines are left out.
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
        let hashed = tokio::task::spawn_blocking(move || hash_file(&owned)).await;
        let (file, total) = joined(hashed).map_err(fail)?;
        let mut load = self.begin_load(file, false).await?;
        let empty = self.is_empty().await.map_err(|source| LoadError::Note { source })?;
        if empty && (load.finished || load.lines > 0) && mode == LoadMode::Once {
            load = self.begin_load(file, true).await?;
        } else if load.finished && mode == LoadMode::Once {
            let (lines, skipped) = (load.lines, load.lines);
            let report = LoadReport { lines, skipped, ..LoadReport::default() };
            return Ok(LoadReport { already_loaded: true, ..report });
        }
        let mine = load.lines == 0 && load.begun_by == self.inner.client;
        let (condition, skip) = match mode {
            LoadMode::Reload => (Condition::Always, 0),
            // Nobody else is loading it, so there is nothing that a line could undo.
            LoadMode::Once if empty && mine => (Condition::Always, 0),
            LoadMode::Once => (Condition::IfAbsent, load.lines),
        };
        let (sender, mut lines) = mpsc::channel(4);
        let owned = path.to_owned();
        let reader = tokio::task::spawn_blocking(move || read_lines(&owned, skip, &sender));
        let report = LoadReport { skipped: skip, lines: skip, ..Default::default() };
        let mut loader = Loader {
            broker: self,
            condition,
            total,
            report,
            keys: Trie::new(),
            pending: VecDeque::new(),
        };
        let mut noted = skip;
        while let Some(chunk) = lines.recv().await {
            for line in chunk {
                loader.take(line, &mut on_event).await?;
            }
            // In a reload the note of the first load stands.
            if mode == LoadMode::Once && loader.done_lines() >= noted + LINES_A_NOTE {
                noted = loader.done_lines();
                self.note(&MetaCommand::AdvanceLoad { file, lines: noted, finished: false })
                    .await?;
            }
        }
        joined(reader.await).map_err(fail)?;
        loader.finish_until(0, &mut on_event).await?;
        let report = loader.report;
        self.note(&MetaCommand::AdvanceLoad { file, lines: report.lines, finished: true }).await?;
        Ok(report)
    }

    async fn begin_load(&self, file: FileHash, anew: bool) -> Result<Load, LoadError> {
        let client = self.inner.client;
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

/// The lines on their way into the cluster.
struct Loader<'a, T: Transport> {
    broker: &'a Broker<T>,
    condition: Condition,
    total: u64,
    report: LoadReport,
    /// The last line of each key.
    keys: Trie<u64>,
    /// Records under way, in order.
    pending: VecDeque<(u64, u64, Pending<Reply>)>,
}

impl<T: Transport> Loader<'_, T> {
    async fn take(
        &mut self,
        line: Line,
        on_event: &mut impl FnMut(LoadEvent<'_>),
    ) -> Result<(), LoadError> {
        let number = line.number;
        self.report.lines = number;
        let (key, value) = match line.record {
            Ok(None) => return Ok(()),
            Ok(Some(record)) => record,
            Err(error) => {
                self.bad_line(number, &error, on_event);
                return Ok(());
            }
        };
        if let Some(earlier) = self.keys.insert(&key, number) {
            self.report.duplicates += 1;
            let wins = self.condition == Condition::Always;
            on_event(LoadEvent::DuplicateKey { line: number, earlier, key: &key, wins });
        }
        let deadline = Instant::now() + RECORD_TIME;
        match self.broker.begin_put(&key, value, self.condition, deadline).await {
            Ok(pending) => self.pending.push_back((number, line.end, pending)),
            Err(BrokerError::CommandTooLarge { len, limit }) => {
                self.bad_line(number, &LineError::TooLarge { len, limit }, on_event);
            }
            Err(source) => return Err(LoadError::Put { line: number, source }),
        }
        self.finish_until(WINDOW, on_event).await
    }

    fn bad_line(&mut self, line: u64, error: &LineError, on_event: &mut impl FnMut(LoadEvent<'_>)) {
        self.report.bad_lines += 1;
        on_event(LoadEvent::BadLine { line, error });
    }

    /// Waits until at most `left` records are under way.
    async fn finish_until(
        &mut self,
        left: usize,
        on_event: &mut impl FnMut(LoadEvent<'_>),
    ) -> Result<(), LoadError> {
        while (self.pending.len() > left || self.pending_bytes() > WINDOW_BYTES)
            && let Some((line, bytes, pending)) = self.pending.pop_front()
        {
            match finish(pending).await {
                Ok(_) => self.report.put += 1,
                Err(BrokerError::Store(CommandError::Conflict { .. })) => self.report.present += 1,
                Err(source) => return Err(LoadError::Put { line, source }),
            }
            on_event(LoadEvent::Progress { bytes, total: self.total });
        }
        Ok(())
    }

    /// Bytes of the lines under way, but for the first one of them.
    fn pending_bytes(&self) -> u64 {
        let end = |line: Option<&(u64, u64, Pending<Reply>)>| line.map_or(0, |(_, end, _)| *end);
        end(self.pending.back()) - end(self.pending.front())
    }

    /// Lines from the start of the file of which nothing is under way.
    fn done_lines(&self) -> u64 {
        self.pending.front().map_or(self.report.lines, |(line, _, _)| line - 1)
    }
}

fn joined<R>(result: Result<io::Result<R>, tokio::task::JoinError>) -> io::Result<R> {
    result.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Hash and size of a file's content.
fn hash_file(path: &Path) -> io::Result<(FileHash, u64)> {
    let mut reader = File::open(path)?;
    let mut hasher = SipHasher13::new_with_keys(HASH_SEED.0, HASH_SEED.1);
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((FileHash(hasher.finish128().as_u128()), total)),
            Ok(read) => {
                hasher.write(&buffer[..read]);
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends the lines after the first `skip`, parsed; ends early when nobody takes them.
fn read_lines(path: &Path, skip: u64, sender: &mpsc::Sender<Vec<Line>>) -> io::Result<()> {
    let mut lines = Lines::new(BufReader::with_capacity(1 << 16, File::open(path)?));
    lines.skip_lines(skip)?;
    loop {
        let chunk: Vec<Line> = lines.by_ref().take(LINES_A_MESSAGE).collect::<io::Result<_>>()?;
        if chunk.is_empty() || sender.blocking_send(chunk).is_err() {
            return Ok(());
        }
    }
}

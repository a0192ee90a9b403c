//! The state of a shard: documents, sessions and loads, changed by the entries of its log alone.
//!
//! A load puts the lines of a file, each of them once, however often it is interrupted and goes on: a
//! batch of a load names the line of each command, and the shard remembers for each load the last line
//! that it has applied. Lines up to that one are left out. A client of a load sends the lines of a shard
//! in their order, each batch after the outcome of the one before, so no line is left out for good.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::log::{LogError, SnapshotReader, SnapshotWriter};
use crate::parser::Command;
use crate::replication::message::{self, DecodeError, WriteOutcome};
use crate::replication::raft::StateMachine;
use crate::replication::session::{Admission, Sessions};
use crate::replication::{COMMAND_BYTES_MAX, ClientId};
use crate::store::Documents;

/// One entry of a shard's log: commands of one client, in order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// Who sends it.
    pub(crate) client: ClientId,
    /// Which of the client's batches to this shard it is, from 1.
    pub(crate) sequence: u64,
    /// The last batch that the client has the response to, 0 if none.
    pub(crate) acknowledged: u64,
    /// The commands, all of which write.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) commands: Vec<Command>,
}

impl Batch {
    /// The encoding of a batch of commands that are encoded already, each by [`encode_command`].
    pub(crate) fn assemble<'a>(
        client: ClientId,
        sequence: u64,
        acknowledged: u64,
        commands: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Vec<u8> {
        // A struct is the run of its fields, and a list its length and the run of its items.
        let mut batch = message::encode(&(client, sequence, acknowledged, commands.len()));
        for command in commands {
            batch.extend_from_slice(command);
        }
        batch
    }

    /// Decodes a batch, and the lines that follow it if it is one of a load.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, Option<LoadLines>), DecodeError> {
        let (batch, rest) = message::decode_first::<Self>(bytes)?;
        if rest.is_empty() {
            return Ok((batch, None));
        }
        let (load, rest) = postcard::take_from_bytes::<LoadLines>(rest)
            .map_err(|source| DecodeError::Malformed { len: bytes.len(), source })?;
        if !rest.is_empty() {
            return Err(DecodeError::TrailingBytes { len: rest.len() });
        }
        let is_put = |command: &Command| matches!(command, Command::Put { .. });
        let consistent = load.lines.len() == batch.commands.len()
            && load.lines.is_sorted_by(|line, next| line < next)
            && batch.commands.iter().all(is_put);
        if consistent { Ok((batch, Some(load))) } else { Err(DecodeError::Inconsistent) }
    }
}

/// Follows the commands of a batch of a load.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadLines {
    /// The load, which is a client of its own in the shard's table of loads.
    pub(crate) load: ClientId,
    /// The number of each command's line in the file, from 1, each above the one before.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) lines: Vec<u64>,
}

impl LoadLines {
    /// The encoding of a batch that these lines follow.
    pub(crate) fn follow(&self, batch: Vec<u8>) -> Vec<u8> {
        postcard::to_extend(self, batch).expect("numbers can be encoded")
    }
}

/// The encoding of a command as a part of a batch: without a version byte.
///
/// # Panics
///
/// If the command's value cannot be stored: the caller has checked it.
pub(crate) fn encode_command(command: &Command) -> Vec<u8> {
    postcard::to_stdvec(command).expect("what is sent has been checked")
}

/// Documents, sessions and loads of one shard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shard {
    pub(crate) documents: Documents,
    sessions: Sessions,
    /// The last line of each load that was applied, as the number of a client's last batch. A table of
    /// its own: clients come and go while a load waits to be gone on with.
    loads: Sessions,
}

impl Shard {
    /// Applies those lines of a load that were not applied before.
    fn load(&mut self, load: &LoadLines, commands: Vec<Command>, index: u64) -> WriteOutcome {
        let done = self.loads.last(load.load);
        let before = load.lines.partition_point(|line| *line <= done);
        let commands = commands.into_iter().skip(before);
        let apply = |command| self.documents.apply_within(COMMAND_BYTES_MAX, command);
        let outcomes = commands.map(apply).collect();
        let last = load.lines.last().copied().unwrap_or(0).max(done);
        self.loads.record(load.load, last, Vec::new(), index);
        WriteOutcome::Loaded { before, outcomes }
    }
}

impl StateMachine for Shard {
    /// Gives an encoded [`WriteOutcome`].
    fn apply(&mut self, index: u64, payload: &[u8]) -> Vec<u8> {
        let Ok((batch, load)) = Batch::decode(payload) else {
            // The server checks a batch before it proposes it, so this takes a server of another
            // make. Every replica sees the same bytes and refuses alike.
            return message::encode(&WriteOutcome::Malformed);
        };
        match self.sessions.admit(batch.client, batch.sequence, batch.acknowledged) {
            Admission::Repeated(response) => {
                if cfg!(triekv_planted = "apply_twice") {
                    // Planted: the response is the old one, and the commands are carried out again.
                    for command in batch.commands {
                        let _ = self.documents.apply_within(COMMAND_BYTES_MAX, command);
                    }
                }
                response
            }
            Admission::Unknown => message::encode(&WriteOutcome::Unknown),
            Admission::New => {
                let outcome = if let Some(load) = load {
                    self.load(&load, batch.commands, index)
                } else {
                    let commands = batch.commands.into_iter();
                    let apply = |command| self.documents.apply_within(COMMAND_BYTES_MAX, command);
                    WriteOutcome::Applied(commands.map(apply).collect())
                };
                let response = message::encode(&outcome);
                self.sessions.record(batch.client, batch.sequence, response.clone(), index);
                response
            }
        }
    }

    /// The sessions, the documents, then the loads.
    fn write_to<W: Write>(&self, out: &mut SnapshotWriter<W>) -> io::Result<()> {
        if cfg!(triekv_planted = "snapshot_without_sessions") {
            // Planted: whoever goes on from the snapshot knows no client.
            Sessions::default().write_to(out)?;
        } else {
            self.sessions.write_to(out)?;
        }
        self.documents.write_to(out)?;
        self.loads.write_to(out)
    }

    fn read_from<R: Read>(input: &mut SnapshotReader<R>) -> Result<Self, LogError> {
        let sessions = Sessions::read_from(input)?;
        let documents = Documents::read_from(input)?;
        let loads = Sessions::read_from(input)?;
        Ok(Self { documents, sessions, loads })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CommandError, Put, Reply};
    use crate::value;

    fn put(sequence: u64, n: i64) -> Vec<u8> {
        let command = Command::Put {
            key: "a".into(),
            value: value!({ "n": n }),
            condition: crate::parser::Condition::Always,
        };
        let acknowledged = sequence - 1;
        let commands = vec![command];
        message::encode(&Batch { client: ClientId(1), sequence, acknowledged, commands })
    }

    #[test]
    fn a_batch_that_is_in_the_log_twice_is_applied_once() {
        let mut shard = Shard::default();
        let first = shard.apply(1, &put(1, 1));
        let applied =
            WriteOutcome::Applied(vec![Ok(Reply::Put(Put { version: 1, created: true }))]);
        assert_eq!(message::decode::<WriteOutcome>(&first).unwrap(), applied);
        shard.apply(2, &put(2, 2));
        assert_eq!(shard.documents.version(), 2);
        let late = shard.apply(3, &put(1, 1));
        assert_eq!(message::decode::<WriteOutcome>(&late).unwrap(), WriteOutcome::Unknown);
        assert_eq!(shard.documents.get("a").unwrap().value, value!({ "n": 2 }));
    }

    /// A batch of a load from a client of its own: the lines, each of which puts a key of its own.
    fn lines(client: u64, lines: &[u64]) -> Vec<u8> {
        let put = |line: &u64| Command::Put {
            key: format!("k{line}"),
            value: value!({ "n": (i64::try_from(*line).unwrap()) }),
            condition: crate::parser::Condition::IfAbsent,
        };
        let commands = lines.iter().map(put).collect();
        let batch = Batch { client: ClientId(client), sequence: 1, acknowledged: 0, commands };
        LoadLines { load: ClientId(7), lines: lines.to_vec() }.follow(message::encode(&batch))
    }

    fn loaded(shard: &mut Shard, index: u64, batch: &[u8]) -> (usize, usize) {
        match message::decode(&shard.apply(index, batch)).unwrap() {
            WriteOutcome::Loaded { before, outcomes } => (before, outcomes.len()),
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn a_line_of_a_load_is_applied_once_also_if_its_record_was_deleted_since() {
        let mut shard = Shard::default();
        assert_eq!(loaded(&mut shard, 1, &lines(1, &[2, 3, 5])), (0, 3));
        assert!(shard.documents.delete("k3"));
        // The same lines, cut elsewhere, from a client that goes on, on a replica from a snapshot.
        let mut snapshot = SnapshotWriter::new(Vec::new(), b"").unwrap();
        shard.write_to(&mut snapshot).unwrap();
        let snapshot = snapshot.finish().unwrap();
        let mut input = SnapshotReader::new(&snapshot[..], "shard").unwrap();
        let mut shard = Shard::read_from(&mut input).unwrap();
        assert_eq!(loaded(&mut shard, 2, &lines(2, &[3, 5, 8])), (2, 1));
        assert_eq!(loaded(&mut shard, 3, &lines(3, &[2, 3])), (2, 0));
        assert_eq!(loaded(&mut shard, 4, &lines(4, &[8, 9])), (1, 1));
        // The same batch again gets the response that it got.
        assert_eq!(loaded(&mut shard, 5, &lines(4, &[8, 9])), (1, 1));
        assert!(shard.documents.get("k3").is_none() && shard.documents.get("k9").is_some());
    }

    #[test]
    fn lines_that_do_not_fit_their_commands_change_nothing() {
        let batch = lines(1, &[1, 2]);
        let plain = Batch::decode(&batch).unwrap().0;
        let with = |lines: &[u64]| {
            LoadLines { load: ClientId(7), lines: lines.to_vec() }.follow(message::encode(&plain))
        };
        let wrong = [with(&[1]), with(&[2, 2]), with(&[2, 1]), with(&[1, 2, 3])];
        let more = [&batch[..], &[0]].concat();
        let less = batch[..batch.len() - 1].to_vec();
        for batch in wrong.into_iter().chain([more, less]) {
            let mut shard = Shard::default();
            let outcome = message::decode::<WriteOutcome>(&shard.apply(1, &batch)).unwrap();
            assert_eq!(outcome, WriteOutcome::Malformed);
            assert!(shard.documents.is_empty());
        }
        assert_eq!(loaded(&mut Shard::default(), 1, &batch), (0, 2));
    }

    fn set(
        shard: &mut Shard,
        sequence: u64,
        path: &str,
        len: usize,
    ) -> Result<Reply, CommandError> {
        let command = Command::Set {
            path: path.parse().unwrap(),
            value: value!("x".repeat(len)),
            condition: crate::parser::Condition::Always,
        };
        let (acknowledged, commands) = (sequence - 1, vec![command]);
        let batch = Batch { client: ClientId(1), sequence, acknowledged, commands };
        match message::decode(&shard.apply(sequence, &message::encode(&batch))).unwrap() {
            WriteOutcome::Applied(mut replies) => replies.pop().unwrap(),
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn a_record_grows_by_partial_writes_up_to_the_limit_of_a_command() {
        let (mut shard, limit) = (Shard::default(), COMMAND_BYTES_MAX);
        set(&mut shard, 1, "big.a", limit / 2).unwrap();
        let refused = |outcome| match outcome {
            Err(CommandError::RecordTooLarge { len, limit: COMMAND_BYTES_MAX }) => len,
            outcome => panic!("{outcome:?}"),
        };
        let len = refused(set(&mut shard, 2, "big.b", limit / 2));
        let most = limit / 2 - (len - limit);
        assert_eq!(refused(set(&mut shard, 3, "big.b", most + 1)), limit + 1);
        assert_eq!(shard.documents.version(), 1);
        set(&mut shard, 4, "big.b", most).unwrap();
        let value = &shard.documents.get("big").unwrap().value;
        assert_eq!(postcard::to_stdvec(value).unwrap().len(), limit);
    }

    #[test]
    fn a_batch_of_encoded_commands_is_the_encoding_of_the_batch() {
        for count in [0, 1, 2, 300] {
            let commands: Vec<Command> =
                (0..count).map(|n| Command::Delete { key: format!("person{n}") }).collect();
            let encoded: Vec<Vec<u8>> = commands.iter().map(encode_command).collect();
            let parts = encoded.iter().map(Vec::as_slice);
            let assembled = Batch::assemble(ClientId(u64::MAX), 300, 299, parts);
            let batch =
                Batch { client: ClientId(u64::MAX), sequence: 300, acknowledged: 299, commands };
            assert_eq!(assembled, message::encode(&batch));
        }
    }

    #[test]
    fn bytes_that_are_no_batch_change_nothing() {
        let mut shard = Shard::default();
        let outcome = shard.apply(1, b"\xff\xff\xff");
        assert_eq!(message::decode::<WriteOutcome>(&outcome).unwrap(), WriteOutcome::Malformed);
        assert!(shard.documents.is_empty());
    }

    #[test]
    fn a_snapshot_carries_documents_and_sessions() {
        let mut shard = Shard::default();
        let response = shard.apply(1, &put(1, 1));
        let mut snapshot = SnapshotWriter::new(Vec::new(), b"").unwrap();
        shard.write_to(&mut snapshot).unwrap();
        let snapshot = snapshot.finish().unwrap();
        let mut input = SnapshotReader::new(&snapshot[..], "shard").unwrap();
        let mut other = Shard::read_from(&mut input).unwrap();
        assert_eq!(input.next_item().unwrap(), None);
        assert_eq!(other.documents, shard.documents);
        assert_eq!(other.sessions, shard.sessions);
        assert_eq!(other.loads, shard.loads);
        assert_eq!(other.apply(2, &put(1, 1)), response);
    }
}

//! The state of a shard: documents and sessions, changed by the entries of its log alone.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::log::{LogError, SnapshotReader, SnapshotWriter};
use crate::parser::Command;
use crate::replication::message::{self, WriteOutcome};
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
}

/// The encoding of a command as a part of a batch: without a version byte.
///
/// # Panics
///
/// If the command's value cannot be stored: the caller has checked it.
pub(crate) fn encode_command(command: &Command) -> Vec<u8> {
    postcard::to_stdvec(command).expect("what is sent has been checked")
}

/// Documents and sessions of one shard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shard {
    pub(crate) documents: Documents,
    sessions: Sessions,
}

impl StateMachine for Shard {
    /// Gives an encoded [`WriteOutcome`].
    fn apply(&mut self, index: u64, payload: &[u8]) -> Vec<u8> {
        let Ok(batch) = message::decode::<Batch>(payload) else {
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
                let commands = batch.commands.into_iter();
                let apply = |command| self.documents.apply_within(COMMAND_BYTES_MAX, command);
                let replies = commands.map(apply).collect();
                let response = message::encode(&WriteOutcome::Applied(replies));
                self.sessions.record(batch.client, batch.sequence, response.clone(), index);
                response
            }
        }
    }

    /// The sessions, then the documents.
    fn write_to<W: Write>(&self, out: &mut SnapshotWriter<W>) -> io::Result<()> {
        if cfg!(triekv_planted = "snapshot_without_sessions") {
            // Planted: whoever goes on from the snapshot knows no client.
            Sessions::default().write_to(out)?;
        } else {
            self.sessions.write_to(out)?;
        }
        self.documents.write_to(out)
    }

    fn read_from<R: Read>(input: &mut SnapshotReader<R>) -> Result<Self, LogError> {
        let sessions = Sessions::read_from(input)?;
        Ok(Self { documents: Documents::read_from(input)?, sessions })
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
        assert_eq!(other.apply(2, &put(1, 1)), response);
    }
}

//! How commands lie in the log, and documents in a snapshot.
//!
//! A *record of the log* is a byte with the version of this encoding, then in postcard's encoding
//! the number of commands and the commands one behind the other: those of one call that write, in
//! order. The variants of [`Command`], [`Condition`](crate::parser::Condition) and [`Value`] are
//! numbered as they are declared, and never change their numbers.
//!
//! *A snapshot's head* is such a byte, and the index of the last record that is in the snapshot.
//!
//! *Documents* are items of a snapshot: first the write counter and the number of records, then a
//! key with its record (version, value) for each, in byte order of the keys.

use std::io::{self, Read, Write};

use serde::Serialize;

use crate::log::{Damage, LogError, SnapshotReader, SnapshotWriter};
use crate::parser::Command;
use crate::store::{CommandError, Documents, Record, StoreError, check_key};
use crate::trie::Trie;
use crate::value::Value;

/// The version of the encoding of records and of a snapshot's head.
pub(super) const ENCODING_VERSION: u8 = 1;

/// The record for those of `commands` that write.
///
/// # Panics
///
/// If a value cannot be stored: the caller has checked it.
pub(super) fn encode_record(commands: &[Command]) -> Vec<u8> {
    let written = || commands.iter().filter(|command| writes(command));
    let record = append(vec![ENCODING_VERSION], &written().count());
    written().fold(record, append)
}

fn append<T: Serialize>(record: Vec<u8>, part: &T) -> Vec<u8> {
    postcard::to_extend(part, record).expect("what is written has been checked")
}

/// Whether `command` may change anything.
pub(super) fn writes(command: &Command) -> bool {
    match command {
        Command::Get { .. } | Command::Query { .. } => false,
        Command::Put { .. }
        | Command::Delete { .. }
        | Command::Set { .. }
        | Command::Merge { .. }
        | Command::Remove { .. } => true,
    }
}

/// Carries out the commands of the record with this index, as they were carried out before.
///
/// # Errors
///
/// [`StoreError::Replay`] if the record is none, or if one of its commands is refused.
pub(super) fn replay(
    documents: &mut Documents,
    index: u64,
    record: &[u8],
) -> Result<(), StoreError> {
    let malformed = |_| StoreError::Replay { index, refused: None };
    let refused = |error| StoreError::Replay { index, refused: Some(error) };
    let [version, rest @ ..] = record else {
        return Err(StoreError::Replay { index, refused: None });
    };
    if *version != ENCODING_VERSION {
        let (found, expected) = (u32::from(*version), u32::from(ENCODING_VERSION));
        let file = format!("record {index} of the log");
        return Err(LogError::Version { file, found, expected }.into());
    }
    let (count, mut rest) = postcard::take_from_bytes::<u64>(rest).map_err(malformed)?;
    for _ in 0..count {
        let (command, after) = postcard::take_from_bytes(rest).map_err(malformed)?;
        rest = after;
        match command {
            // What is decoded has passed the other checks of a value.
            Command::Put { value, .. } if !matches!(value, Value::Map(_)) => {
                return Err(refused(CommandError::NotAMap));
            }
            Command::Put { key, value, condition } => {
                documents.put_checked(&key, value, condition).map_err(refused)?;
            }
            Command::Delete { key } => {
                documents.delete(&key);
            }
            command @ (Command::Set { .. } | Command::Merge { .. } | Command::Remove { .. }) => {
                documents.apply(command).map_err(refused)?;
            }
            Command::Get { .. } | Command::Query { .. } => {
                return Err(StoreError::Replay { index, refused: None });
            }
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(StoreError::Replay { index, refused: None }) }
}

/// The head of a snapshot that has all records up to `index` in it.
pub(super) fn encode_head(index: u64) -> Vec<u8> {
    append(vec![ENCODING_VERSION], &index)
}

/// The index in the head of the snapshot called `name`.
///
/// # Errors
///
/// [`LogError::Version`], or [`LogError::Corrupt`] if it is no head.
pub(super) fn decode_head(head: &[u8], name: &str) -> Result<u64, LogError> {
    let decoded =
        head.split_first().map(|(version, index)| (*version, postcard::from_bytes(index)));
    match decoded {
        Some((ENCODING_VERSION, Ok(index))) => Ok(index),
        Some((version, _)) if version != ENCODING_VERSION => {
            let (found, expected) = (u32::from(version), u32::from(ENCODING_VERSION));
            Err(LogError::Version { file: name.to_owned(), found, expected })
        }
        _ => Err(LogError::Corrupt { file: name.to_owned(), offset: 0, damage: Damage::Malformed }),
    }
}

impl Documents {
    /// Writes all records as items of a snapshot. Takes **O(n)** for n bytes of documents.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(crate) fn write_to<W: Write>(&self, out: &mut SnapshotWriter<W>) -> io::Result<()> {
        let mut item = encode_into(Vec::new(), &(self.version(), self.len()))?;
        out.item(&item)?;
        let mut records = self.records.cursor();
        while let Some((key, record)) = records.next() {
            // Keys come in as `str` only.
            let key = str::from_utf8(key).map_err(io::Error::other)?;
            item.clear();
            item = encode_into(item, &(key, record))?;
            out.item(&item)?;
        }
        Ok(())
    }

    /// Reads what [`Documents::write_to`] wrote, up to its last record. Takes **O(n)** for n bytes
    /// of documents, and memory for what is there only.
    ///
    /// # Errors
    ///
    /// [`LogError`] if a block of the snapshot cannot be read, or if the items are not documents.
    pub(crate) fn read_from<R: Read>(input: &mut SnapshotReader<R>) -> Result<Self, LogError> {
        let head = input.next_item()?.and_then(|item| postcard::from_bytes(item).ok());
        let Some((version, count)) = head else { return Err(input.malformed()) };
        let mut error = None;
        let records = (0_u64..count).map_while(|_| match read_record(input, version) {
            Ok(record) => Some(record),
            Err(met) => {
                error = Some(met);
                None
            }
        });
        let records = Trie::from_sorted(records);
        match (error, records) {
            (Some(error), _) => Err(error),
            (None, Ok(records)) => Ok(Self::from_parts(records, version)),
            (None, Err(_)) => Err(input.malformed()),
        }
    }
}

fn encode_into<T: Serialize>(item: Vec<u8>, part: &T) -> io::Result<Vec<u8>> {
    postcard::to_extend(part, item).map_err(io::Error::other)
}

fn read_record<R: Read>(
    input: &mut SnapshotReader<R>,
    version_max: u64,
) -> Result<(String, Record), LogError> {
    let item = input.next_item()?;
    let decoded = item.and_then(|item| postcard::take_from_bytes::<(String, Record)>(item).ok());
    match decoded {
        Some(((key, record), []))
            if check_key(&key).is_ok()
                && matches!(record.value, Value::Map(_))
                && (1..=version_max).contains(&record.version) =>
        {
            Ok((key, record))
        }
        _ => Err(input.malformed()),
    }
}

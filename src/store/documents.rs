//! The state machine: records in a trie, and commands applied to them one after the other.

use serde::{Deserialize, Serialize};

use crate::log::RECORD_BYTES_MAX;
use crate::parser::{Command, Condition};
use crate::store::partial::{Change, check_part};
use crate::store::{CommandError, Put, Record, Reply, check_key, check_value};
use crate::trie::Trie;
use crate::value::{Path, Value};

/// Records by key, and the write counter that gives them their versions.
///
/// Equal commands in equal order give equal states. Invariant: each record's version is at most
/// the counter, and no two records have the same.
///
/// A clone shares the records, as a [`snapshot`](Trie::snapshot) of a trie does, and takes **O(1)**:
/// it keeps the state as it is now, for as long as anybody reads it, while the original goes on.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Documents {
    pub(super) records: Trie<Record>,
    version: u64,
}

impl Clone for Documents {
    fn clone(&self) -> Self {
        Self { records: self.records.snapshot(), version: self.version }
    }
}

impl Documents {
    /// No records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the record at `key`, or `None` if there is none. Takes **O(k)** for a key of k bytes.
    pub fn get(&self, key: &str) -> Option<&Record> {
        self.records.get(key)
    }

    /// Returns the value at `path`, or `None` if there is none. Takes **O(p)** for a path of p bytes.
    pub fn query(&self, path: &Path) -> Option<&Value> {
        self.get(path.key())?.value.query(path.steps())
    }

    /// Puts `value` at `key` if `condition` holds.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing has changed then.
    pub fn put(
        &mut self,
        key: &str,
        value: Value,
        condition: Condition,
    ) -> Result<Put, CommandError> {
        check_value(&value)?;
        self.put_checked(key, value, condition)
    }

    /// As [`Documents::put`], for a value that has passed [`check_value`].
    pub(super) fn put_checked(
        &mut self,
        key: &str,
        value: Value,
        condition: Condition,
    ) -> Result<Put, CommandError> {
        check_key(key)?;
        self.check_condition(key, condition)?;
        Ok(self.insert(key, value))
    }

    pub(super) fn check_condition(
        &self,
        key: &str,
        condition: Condition,
    ) -> Result<(), CommandError> {
        if condition == Condition::Always {
            return Ok(());
        }
        let found = self.get(key).map(|record| record.version);
        if holds(condition, found) {
            Ok(())
        } else {
            Err(CommandError::Conflict { condition, found })
        }
    }

    pub(super) fn insert(&mut self, key: &str, value: Value) -> Put {
        let version = self.version + 1;
        let old = self.records.insert(key, Record { version, value });
        self.version = version;
        Put { version, created: old.is_none() }
    }

    /// Deletes the record at `key` and returns whether there was one. A hit counts as a write.
    pub fn delete(&mut self, key: &str) -> bool {
        let found = self.records.remove(key).is_some();
        self.version += u64::from(found);
        found
    }

    /// Carries out one command. Partial writes leave values of at most [`RECORD_BYTES_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// [`CommandError`] if the command is refused; nothing has changed then.
    pub fn apply(&mut self, command: Command) -> Result<Reply, CommandError> {
        self.apply_within(RECORD_BYTES_MAX, command)
    }

    /// As [`apply`](Self::apply), where partial writes leave values of at most `bytes_max` bytes.
    /// The limit decides which commands are refused: the same state takes the same limit always.
    pub(crate) fn apply_within(
        &mut self,
        bytes_max: usize,
        command: Command,
    ) -> Result<Reply, CommandError> {
        Ok(match command {
            Command::Get { key } => Reply::Record(self.get(&key).cloned()),
            Command::Query { path } => Reply::Value(self.query(&path).cloned()),
            Command::Put { key, value, condition } => Reply::Put(self.put(&key, value, condition)?),
            Command::Delete { key } => Reply::Deleted(self.delete(&key)),
            Command::Set { path, value, condition } => {
                Reply::Put(self.change(&path, Change::Set(value), condition, bytes_max)?)
            }
            Command::Merge { path, patch, condition } => {
                Reply::Put(self.change(&path, Change::Merge(patch), condition, bytes_max)?)
            }
            Command::Remove { path, condition } => Reply::Deleted(self.remove(&path, condition)?),
        })
    }

    /// Carries out commands that have passed [`check_command`], in order: all of them or none.
    ///
    /// # Errors
    ///
    /// The place of the command that is refused, and why; nothing has changed then.
    pub(super) fn apply_all(
        &mut self,
        commands: Vec<Command>,
    ) -> Result<Vec<Reply>, (usize, CommandError)> {
        // Nothing has to be undone for the first one.
        let before = commands.iter().skip(1).any(can_be_refused).then(|| self.clone());
        let mut replies = Vec::with_capacity(commands.len());
        for (position, command) in commands.into_iter().enumerate() {
            match self.apply_checked(command) {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    if let Some(before) = before {
                        *self = before;
                    }
                    return Err((position, error));
                }
            }
        }
        Ok(replies)
    }

    /// Carries out a command that has passed [`check_command`].
    pub(super) fn apply_checked(&mut self, command: Command) -> Result<Reply, CommandError> {
        match command {
            Command::Put { key, value, condition } => {
                self.put_checked(&key, value, condition).map(Reply::Put)
            }
            command => self.apply(command),
        }
    }

    pub(super) fn from_parts(records: Trie<Record>, version: u64) -> Self {
        Self { records, version }
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of writes so far: puts and partial writes, and what was found and deleted or removed.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// Checks what does not depend on the state: keys and values of writes.
pub(crate) fn check_command(command: &Command) -> Result<(), CommandError> {
    match command {
        Command::Put { key, value, .. } => check_value(value).and_then(|()| check_key(key)),
        Command::Set { path, value, .. } | Command::Merge { path, patch: value, .. } => {
            check_part(path, value)
        }
        Command::Get { .. }
        | Command::Query { .. }
        | Command::Delete { .. }
        | Command::Remove { .. } => Ok(()),
    }
}

/// Whether a command that has passed [`check_command`] may be refused by the state.
fn can_be_refused(command: &Command) -> bool {
    match command {
        Command::Put { condition, .. } | Command::Remove { condition, .. } => {
            *condition != Condition::Always
        }
        Command::Set { .. } | Command::Merge { .. } => true,
        Command::Get { .. } | Command::Query { .. } | Command::Delete { .. } => false,
    }
}

fn holds(condition: Condition, found: Option<u64>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::IfAbsent => found.is_none(),
        Condition::IfVersion(version) => found == Some(version),
    }
}

//! Documents by key: [`Store`], and the deterministic state machine under it, [`Documents`].
//!
//! A *record* is a document (a [`Value::Map`]) under a *key*, with a *version*: a number that
//! grows by one with every write to the store, so that a record's version changes whenever the
//! record does and never comes back. A store is one trie of records; the maps inside a document
//! are tries too.
//!
//! The store in your process, and one shard of a cluster, are the same code:
//! [`Documents::apply`] takes a [`Command`] and gives a [`Reply`]. It has no clock and no
//! randomness, so the same commands in the same order give the same replies and the same state on
//! every machine. A refused command changes nothing.
//!
//! # On disk
//! [`Store::open`] keeps a store in a directory: a log of the commands that changed something, and
//! a snapshot that takes the place of the log before it. A write returns once it is durable, and
//! nobody sees it before; the writes of many threads that wait at the same time share one sync.
//! After a crash the store has every write that returned, and of the others a part in the order in
//! which they were made, each whole batch or nothing of it.
//!
//! What is not here: reads and writes in one transaction. A [batch](Store::batch) is atomic, and a
//! [condition](Condition) ties a write to what was read before.

use std::fmt;
use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::log::LogError;
use crate::parser::{Command, Condition};
use crate::value::{KEY_BYTES_MAX, Path, Value};

mod answer;
mod builder;
mod checkpoint;
mod committer;
mod documents;
mod dump;
mod durable;
mod encoding;
mod error;
mod file;
mod ndjson;
mod partial;
mod scan;
mod shared;
mod stats;
#[cfg(test)]
mod tests;
mod typed;

pub(crate) use documents::check_command;
use durable::{Durable, refuse_unless_new};
use encoding::writes;
use shared::{Shared, State};

pub use builder::StoreBuilder;
pub use documents::Documents;
pub use error::{CommandError, StoreError};
pub use ndjson::{IfPresent, ImportError, ImportReport};
pub use scan::{Entry, PAGE_BYTES_MAX, Page, PageToken, Prefix, ScanPage};
pub use stats::{StoreStats, Verification};

/// A document with the version under which it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The store's write counter when this record was written. Starts at 1.
    pub version: u64,
    /// The document, always a [`Value::Map`].
    pub value: Value,
}

/// What a successful put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The version of the record now.
    pub version: u64,
    /// Whether the key had no record before.
    pub created: bool,
}

/// The answer to a [`Command`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Command::Get`]: the record, or `None` where the key has none.
    Record(Option<Record>),
    /// To [`Command::Query`]: the value at the path, or `None` where there is none.
    Value(Option<Value>),
    /// To [`Command::Put`], [`Command::Set`] and [`Command::Merge`].
    Put(Put),
    /// To [`Command::Delete`] and [`Command::Remove`]: whether there was something to delete.
    Deleted(bool),
}

/// Checks a record's key: not empty, at most [`KEY_BYTES_MAX`] bytes.
///
/// # Errors
///
/// [`CommandError::EmptyKey`] or [`CommandError::KeyTooLong`].
pub fn check_key(key: &str) -> Result<(), CommandError> {
    match key.len() {
        0 => Err(CommandError::EmptyKey),
        len if len > KEY_BYTES_MAX => Err(CommandError::KeyTooLong { len, limit: KEY_BYTES_MAX }),
        _ => Ok(()),
    }
}

/// Checks a record's value: a map that [`Value::check`] accepts. Takes **O(n)** for n values in it.
///
/// # Errors
///
/// [`CommandError::NotAMap`] or [`CommandError::Value`].
pub fn check_value(value: &Value) -> Result<(), CommandError> {
    if !matches!(value, Value::Map(_)) {
        return Err(CommandError::NotAMap);
    }
    value.check().map_err(CommandError::Value)
}

/// Documents by key, in this process: in memory, or in a directory. `Send + Sync`: threads share it
/// by reference.
///
/// Readers work side by side, and never wait for a disk. Reads give copies, so nothing stays locked
/// after a call. Dropping a store closes it.
///
/// # Examples
///
/// ```
/// use triekv::{Store, value};
///
/// let store = Store::in_memory();
/// store.put("person1", value!({ "name": "Mary", "address": { "city": "Athens" } }))?;
/// assert_eq!(store.query("person1.address.city")?, Some(value!("Athens")));
/// for entry in store.prefix("person") {
///     println!("{} (version {}) : {}", entry.key, entry.record.version, entry.record.value);
/// }
/// assert!(store.delete("person1")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Store {
    kind: Kind,
}

enum Kind {
    Memory(Shared),
    Durable(Durable),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Memory(Shared::default())
    }
}

impl Store {
    /// An empty store in memory. Nothing is allocated yet.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Opens the store in the directory `path`, which is made if there is none, and reads it into
    /// memory. Takes **O(n)** for n bytes on disk. See [`Store::builder`] for settings.
    ///
    /// The directory belongs to this store until it is dropped. After a crash, what was cut short
    /// at the end of the log is cut off.
    ///
    /// # Errors
    ///
    /// [`StoreError::Log`]: [`Locked`](LogError::Locked) if somebody else has it open,
    /// [`Corrupt`](LogError::Corrupt) with file and offset if it is damaged (nothing is changed
    /// then), and what the system says. [`StoreError::NotAStore`] for the directory of a server.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::{Store, value};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("people.kv");
    /// let store = Store::open(&path)?;
    /// store.put("person1", value!({ "name": "Mary" }))?;
    /// drop(store);
    /// let store = Store::open(&path)?;
    /// assert_eq!(store.query("person1.name")?, Some(value!("Mary")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, StoreError> {
        Self::builder().open(path)
    }

    /// Settings for a store that is not open yet.
    pub fn builder() -> StoreBuilder {
        StoreBuilder::default()
    }

    /// Returns the record at `key`, or `None` if there is none. Takes **O(k)** for a key of k bytes,
    /// and what a [clone](Value#copies) of the document takes.
    pub fn get(&self, key: &str) -> Option<Record> {
        self.read().documents.get(key).cloned()
    }

    /// Whether there is a record at `key`. Takes **O(k)** for a key of k bytes.
    pub fn contains_key(&self, key: &str) -> bool {
        self.read().documents.get(key).is_some()
    }

    /// Returns the value at `path`, given as text (`person1.address.city`), or `None` if there is
    /// none. See [`Store::query_path`] for a path that is at hand.
    ///
    /// # Errors
    ///
    /// [`ParseError`](crate::parser::ParseError) if `path` is not a path.
    pub fn query(&self, path: &str) -> Result<Option<Value>, crate::parser::ParseError> {
        Ok(self.query_path(&crate::parser::parse_path(path)?))
    }

    /// Returns the value at `path`, or `None` if there is none. Takes **O(p)** for a path of p
    /// bytes, and what a [clone](Value#copies) of the value takes.
    pub fn query_path(&self, path: &Path) -> Option<Value> {
        self.read().documents.query(path).cloned()
    }

    /// Puts `value` at `key`, in place of what was there. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::Command`] for a key or value that cannot be stored, [`StoreError::Log`] if it
    /// could not be written; the store is as it was, but [may have it](StoreError::is_ambiguous)
    /// when it is opened again.
    pub fn put(&self, key: &str, value: Value) -> Result<Put, StoreError> {
        self.put_if(key, value, Condition::Always)
    }

    /// Puts `value` at `key` if `condition` holds; the check and the write are one step. Durable
    /// when it returns.
    ///
    /// # Errors
    ///
    /// [`CommandError::Conflict`] if the condition does not hold, else as [`Store::put`].
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::store::{CommandError, StoreError};
    /// use triekv::{Condition, Store, value};
    ///
    /// let store = Store::in_memory();
    /// let first = store.put_if("a", value!({ "n": 1 }), Condition::IfAbsent)?;
    /// store.put_if("a", value!({ "n": 2 }), Condition::IfVersion(first.version))?;
    /// let late = store.put_if("a", value!({ "n": 3 }), Condition::IfVersion(first.version));
    /// let Err(StoreError::Command(error)) = late else { panic!("it was late") };
    /// assert!(matches!(error, CommandError::Conflict { found: Some(2), .. }));
    /// # Ok::<(), StoreError>(())
    /// ```
    pub fn put_if(&self, key: &str, value: Value, condition: Condition) -> Result<Put, StoreError> {
        check_value(&value)?;
        check_key(key)?;
        match &self.kind {
            Kind::Memory(shared) => {
                Ok(shared.write().documents.put_checked(key, value, condition)?)
            }
            Kind::Durable(durable) => {
                let key = key.to_owned();
                match durable.write_one(Command::Put { key, value, condition })? {
                    Reply::Put(put) => Ok(put),
                    reply => unreachable!("a put was answered by {reply:?}"),
                }
            }
        }
    }

    /// Deletes the record at `key` and returns whether there was one. Durable when it returns.
    /// Takes **O(k)** for a key of k bytes, and the time to free the document.
    ///
    /// # Errors
    ///
    /// [`StoreError::Log`] if it could not be written, as for [`Store::put`].
    pub fn delete(&self, key: &str) -> Result<bool, StoreError> {
        match &self.kind {
            Kind::Memory(shared) => Ok(shared.write().documents.delete(key)),
            Kind::Durable(durable) => {
                match durable.write_one(Command::Delete { key: key.to_owned() })? {
                    Reply::Deleted(found) => Ok(found),
                    reply => unreachable!("a delete was answered by {reply:?}"),
                }
            }
        }
    }

    /// Carries out one command. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the command is refused, or could not be written; the store is as it was.
    pub fn apply(&self, command: Command) -> Result<Reply, StoreError> {
        match command {
            Command::Get { key } => Ok(Reply::Record(self.get(&key))),
            Command::Query { path } => Ok(Reply::Value(self.query_path(&path))),
            Command::Put { key, value, condition } => {
                self.put_if(&key, value, condition).map(Reply::Put)
            }
            Command::Delete { key } => self.delete(&key).map(Reply::Deleted),
            command @ (Command::Set { .. } | Command::Merge { .. } | Command::Remove { .. }) => {
                self.write(command)
            }
        }
    }

    /// Carries out a command that writes.
    fn write(&self, command: Command) -> Result<Reply, StoreError> {
        check_command(&command)?;
        match &self.kind {
            Kind::Memory(shared) => Ok(shared.write().documents.apply_checked(command)?),
            Kind::Durable(durable) => durable.write_one(command),
        }
    }

    /// Carries out commands one after the other, all of them or none, and returns their replies.
    /// Nobody sees a state between two of them, and after a crash there is none; a read among them
    /// sees the writes before it. Durable when it returns, by one sync.
    ///
    /// # Errors
    ///
    /// [`StoreError::Batch`] if a command is refused, [`StoreError::Log`] if the batch could not be
    /// written ([`TooLarge`](LogError::TooLarge) if all its puts together are longer than the log
    /// takes); the store is as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::store::StoreError;
    /// use triekv::{Command, Condition, Store, value};
    ///
    /// let store = Store::in_memory();
    /// let put = |key: &str, value| {
    ///     Command::Put { key: key.to_owned(), value, condition: Condition::IfAbsent }
    /// };
    /// store.batch(vec![put("a", value!({ "n": 1 })), put("b", value!({ "n": 2 }))])?;
    ///
    /// let late = store.batch(vec![put("c", value!({})), put("a", value!({}))]);
    /// assert!(matches!(late, Err(StoreError::Batch { position: 1, .. })));
    /// assert!(!store.contains_key("c"));
    /// # Ok::<(), StoreError>(())
    /// ```
    pub fn batch(&self, commands: Vec<Command>) -> Result<Vec<Reply>, StoreError> {
        let refused = |(position, source)| StoreError::Batch { position, source };
        for (position, command) in commands.iter().enumerate() {
            check_command(command).map_err(|error| refused((position, error)))?;
        }
        if !commands.iter().any(writes) {
            return self.snapshot().apply_all(commands).map_err(refused);
        }
        match &self.kind {
            Kind::Memory(shared) => shared.write().documents.apply_all(commands).map_err(refused),
            Kind::Durable(durable) => durable.write(commands),
        }
    }

    /// One page of the records whose key starts with `prefix`, in byte order of the keys.
    ///
    /// See [`Store::prefix`] for all of them.
    pub fn scan(&self, prefix: &str, page: &Page) -> ScanPage {
        self.read().documents.scan(prefix, page)
    }

    /// Iterates over the records whose key starts with `prefix`, in byte order of the keys.
    ///
    /// The iterator reads a [snapshot](Self::snapshot): it sees the store as it was when it was
    /// made, and stops no writer.
    pub fn prefix(&self, prefix: &str) -> Prefix {
        Prefix::new(self.snapshot(), prefix)
    }

    /// The documents as they are now, to be read for as long as needed while the store is written
    /// to. Takes **O(1)**, and what it shares with the store stays in memory as long as it lives;
    /// until then, the first write to each part of the store copies that part, some dozens of
    /// records at a time.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::{Store, value};
    ///
    /// let store = Store::in_memory();
    /// store.put("a", value!({ "n": 1 }))?;
    /// let before = store.snapshot();
    /// store.put("a", value!({ "n": 2 }))?;
    /// assert_eq!(before.get("a").map(|record| record.version), Some(1));
    /// assert_eq!(store.get("a").map(|record| record.version), Some(2));
    /// # Ok::<(), triekv::StoreError>(())
    /// ```
    pub fn snapshot(&self) -> Documents {
        self.read().documents.clone()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.read().documents.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.read().documents.is_empty()
    }

    /// Writes a snapshot to disk and lets the log before it go, so that opening the store is as
    /// fast as it can be. Returns once it is durable. The store does so by itself when the log has
    /// grown: see [`StoreBuilder::snapshot_bytes`]. Writes go on meanwhile. Does nothing for a
    /// store in memory. Takes **O(n)** for n bytes of records.
    ///
    /// # Errors
    ///
    /// [`StoreError::Log`] if it could not be written; the snapshot before it is still there, and
    /// the log after that.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Memory(_) => Ok(()),
            Kind::Durable(durable) => durable.checkpoint(),
        }
    }

    /// Reads all that the store has on disk again, checks every checksum, and compares what it
    /// gives with what is in memory. Writes go on meanwhile, snapshots wait. Takes **O(n)** for n
    /// bytes on disk, and as much memory again as the records have.
    ///
    /// # Errors
    ///
    /// [`StoreError::Log`] with file and offset for the first damage; [`StoreError::Diverged`] or
    /// [`StoreError::Replay`] if all is whole and yet not what was written.
    pub fn verify(&self) -> Result<Verification, StoreError> {
        match &self.kind {
            Kind::Memory(shared) => Ok(Verification::of(&shared.read().documents)),
            Kind::Durable(durable) => durable.verify(),
        }
    }

    /// What the store has, and what it has done since it was opened.
    pub fn stats(&self) -> StoreStats {
        let mut stats = StoreStats::of(&self.read().documents);
        if let Kind::Durable(durable) = &self.kind {
            durable.stats(&mut stats);
        }
        stats
    }

    /// Writes all records with their versions to `out`, as they are now, for [`Store::import`].
    /// Returns their number. Writes go on meanwhile. Takes **O(n)** for n bytes of records.
    ///
    /// The dump has a version and a checksum for each of its blocks.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] or [`LogError::Full`] if `out` refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::{Store, value};
    ///
    /// let store = Store::in_memory();
    /// store.put("a", value!({ "n": 1 }))?;
    /// let mut dump = Vec::new();
    /// assert_eq!(store.export(&mut dump)?, 1);
    ///
    /// let other = Store::in_memory();
    /// assert_eq!(other.import(dump.as_slice())?, 1);
    /// assert_eq!(other.get("a"), store.get("a"));
    /// # Ok::<(), triekv::StoreError>(())
    /// ```
    pub fn export(&self, out: impl Write) -> Result<u64, StoreError> {
        Ok(dump::write(&self.snapshot(), out)?)
    }

    /// Takes the records and versions of a dump that [`Store::export`] has written, and returns
    /// their number. All or nothing, also after a crash; durable when it returns. Takes **O(n)**
    /// for n bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotNew`] if the store was ever written to; [`StoreError::Log`] if the dump
    /// cannot be read, or is damaged, or could not be stored. The store is as it was.
    pub fn import(&self, input: impl Read) -> Result<u64, StoreError> {
        refuse_unless_new(&self.read().documents)?;
        let documents = dump::read(input)?;
        let count = documents.len() as u64;
        match &self.kind {
            Kind::Memory(shared) => {
                let mut state = shared.write();
                refuse_unless_new(&state.documents)?;
                state.documents = documents;
            }
            Kind::Durable(durable) => durable.import(documents)?,
        }
        Ok(count)
    }

    /// Closes the store, as dropping it does, and tells whether all was well to the end.
    ///
    /// # Errors
    ///
    /// [`LogError::Stopped`] if the log stopped after a failure. What was acknowledged is on disk
    /// all the same.
    pub fn close(self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Memory(_) => Ok(()),
            Kind::Durable(durable) => durable.check(),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        match &self.kind {
            Kind::Memory(shared) => shared.read(),
            Kind::Durable(durable) => durable.shared().read(),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

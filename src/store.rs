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
//! What is not here: transactions over several keys (a command is atomic, two are not), and
//! snapshots (a scan reads page by page, and sees writes that happen between two pages).

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use crate::parser::{Command, Condition};
use crate::value::{KEY_BYTES_MAX, Path, Value, ValueError};

mod documents;
mod encoding;
mod error;
mod file;
mod scan;
#[cfg(test)]
mod tests;

pub use documents::Documents;
pub use error::{CommandError, StoreError};
pub use scan::{Entry, PAGE_BYTES_MAX, Page, PageToken, Prefix, ScanPage};

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
    /// To [`Command::Put`].
    Put(Put),
    /// To [`Command::Delete`]: whether there was a record to delete.
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

/// Documents by key, in this process. `Send + Sync`: threads share it by reference.
///
/// Readers work side by side, a writer works alone. Reads give copies, so nothing stays locked
/// after a call.
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
/// assert!(store.delete("person1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Store {
    documents: RwLock<Documents>,
}

impl Store {
    /// An empty store in memory. Nothing is allocated yet.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Returns the record at `key`, or `None` if there is none. Takes **O(k)** for a key of k bytes,
    /// and what a [clone](Value#copies) of the document takes.
    pub fn get(&self, key: &str) -> Option<Record> {
        self.read().get(key).cloned()
    }

    /// Whether there is a record at `key`. Takes **O(k)** for a key of k bytes.
    pub fn contains_key(&self, key: &str) -> bool {
        self.read().get(key).is_some()
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
        self.read().query(path).cloned()
    }

    /// Puts `value` at `key`, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`CommandError`] for a key or value that cannot be stored; the store is as it was.
    pub fn put(&self, key: &str, value: Value) -> Result<Put, CommandError> {
        self.put_if(key, value, Condition::Always)
    }

    /// Puts `value` at `key` if `condition` holds; the check and the write are one step.
    ///
    /// # Errors
    ///
    /// [`CommandError::Conflict`] if the condition does not hold, else as [`Store::put`].
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::{Condition, Store, CommandError, value};
    ///
    /// let store = Store::in_memory();
    /// let first = store.put_if("a", value!({ "n": 1 }), Condition::IfAbsent)?;
    /// store.put_if("a", value!({ "n": 2 }), Condition::IfVersion(first.version))?;
    /// let late = store.put_if("a", value!({ "n": 3 }), Condition::IfVersion(first.version));
    /// assert!(matches!(late, Err(CommandError::Conflict { found: Some(2), .. })));
    /// # Ok::<(), CommandError>(())
    /// ```
    pub fn put_if(
        &self,
        key: &str,
        value: Value,
        condition: Condition,
    ) -> Result<Put, CommandError> {
        check_value(&value)?;
        self.write().put_checked(key, value, condition)
    }

    /// Deletes the record at `key` and returns whether there was one. Takes **O(k)** for a key of
    /// k bytes, and the time to free the document.
    pub fn delete(&self, key: &str) -> bool {
        self.write().delete(key)
    }

    /// Carries out one command: see [`Documents::apply`].
    ///
    /// # Errors
    ///
    /// [`CommandError`] if the command is refused; the store is as it was.
    pub fn apply(&self, command: Command) -> Result<Reply, CommandError> {
        self.write().apply(command)
    }

    /// One page of the records whose key starts with `prefix`, in byte order of the keys.
    ///
    /// See [`Store::prefix`] for all of them.
    pub fn scan(&self, prefix: &str, page: &Page) -> ScanPage {
        self.read().scan(prefix, page)
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
    /// # Ok::<(), triekv::CommandError>(())
    /// ```
    pub fn snapshot(&self) -> Documents {
        self.read().clone()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    // Every mutation of `Documents` leaves it valid at each step that can panic (allocation), so a
    // panic in another thread is no reason to refuse the data.
    fn read(&self) -> RwLockReadGuard<'_, Documents> {
        self.documents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Documents> {
        self.documents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

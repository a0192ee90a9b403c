//! Partial writes: changes of a part of a record.
//!
//! What a partial write leaves is held to what a put is held to. Of that, keys and depth can be
//! told from the command alone ([`check_part`]), and so can that a record stays a map: only a write
//! without steps could make it something else. The size cannot, so it is counted after the change
//! and before the record is written: records that grow piece by piece would else become larger than
//! what can be read, sent or kept.

use postcard::ser_flavors::Size;

use crate::parser::{Command, Condition, parse_path};
use crate::store::documents::Documents;
use crate::store::{CommandError, Put, Reply, Store, StoreError, check_key, check_value};
use crate::value::{Map, Path, Step, Value};

/// How a part of a record is changed.
#[derive(Debug)]
pub(super) enum Change {
    /// By another value in its place.
    Set(Value),
    /// By a JSON merge patch.
    Merge(Value),
}

impl Change {
    /// The value of the record after this change at `steps`, of which `before` is the value before.
    fn made(self, before: Option<&Value>, steps: &[Step]) -> Result<Value, CommandError> {
        let part = match self {
            Change::Set(value) => value,
            Change::Merge(patch) => {
                let part = before.and_then(|before| before.query(steps));
                let mut part = part.cloned().unwrap_or_default();
                part.merge(patch);
                part
            }
        };
        let mut after = before.map_or_else(|| Value::Map(Map::new()), Value::clone);
        after.set(steps, part).map_err(CommandError::Place)?;
        Ok(after)
    }
}

impl Documents {
    /// Changes what is at `path`, if `condition` holds, and leaves a value of at most `bytes_max`
    /// bytes. Takes **O(n)** for n values in the record and in the change.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing has changed then.
    pub(super) fn change(
        &mut self,
        path: &Path,
        change: Change,
        condition: Condition,
        bytes_max: usize,
    ) -> Result<Put, CommandError> {
        let (Change::Set(value) | Change::Merge(value)) = &change;
        check_part(path, value)?;
        self.check_condition(path.key(), condition)?;
        let before = self.get(path.key()).map(|record| &record.value);
        let after = change.made(before, path.steps())?;
        let len = encoded_len(&after);
        if len > bytes_max {
            return Err(CommandError::RecordTooLarge { len, limit: bytes_max });
        }
        Ok(self.insert(path.key(), after))
    }

    /// Removes what is at `path`, if `condition` holds, and returns whether there was something.
    /// A hit counts as a write.
    ///
    /// # Errors
    ///
    /// [`CommandError::Conflict`]; nothing has changed then.
    pub(super) fn remove(
        &mut self,
        path: &Path,
        condition: Condition,
    ) -> Result<bool, CommandError> {
        self.check_condition(path.key(), condition)?;
        if path.steps().is_empty() {
            return Ok(self.delete(path.key()));
        }
        let Some(record) = self.get(path.key()) else { return Ok(false) };
        let mut value = record.value.clone();
        let found = value.remove(path.steps()).is_some();
        if found {
            self.insert(path.key(), value);
        }
        Ok(found)
    }
}

/// Checks what a partial write puts or merges, and the place: all that does not depend on the
/// state. Takes **O(n)** for n values in it.
///
/// # Errors
///
/// [`CommandError::NotAMap`] if a whole record would be something else, [`CommandError::Value`],
/// [`CommandError::EmptyKey`] or [`CommandError::KeyTooLong`].
pub(super) fn check_part(path: &Path, value: &Value) -> Result<(), CommandError> {
    if path.steps().is_empty() {
        check_value(value)?;
    } else {
        value.check_at(path.steps()).map_err(CommandError::Value)?;
    }
    check_key(path.key())
}

fn encoded_len(value: &Value) -> usize {
    let counted = postcard::serialize_with_flavor(value, Size::default());
    counted.expect("what was changed and what was put there have been checked")
}

impl Store {
    /// Puts `value` at `path`, given as text (`person1.address.city`), in place of what was there.
    /// See [`Store::set_path`] for a path that is at hand.
    ///
    /// A record that is not there is made, and so is what is absent on the way: a map where the path
    /// goes on with a name, a list where with the index 0. An index equal to the length of a list
    /// appends. A path without steps is the whole record. Durable when it returns. Takes **O(n)** for
    /// n values in the record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`] if `path` is not a path, else as [`Store::set_path`].
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::{Store, value};
    ///
    /// let store = Store::in_memory();
    /// store.set("person1.address.city", value!("Athens"))?;
    /// store.set("person1.tags[0]", value!("a"))?;
    /// store.merge("person1", value!({ "tags": null, "name": "Mary" }))?;
    /// assert!(store.remove("person1.address.city")?);
    /// assert_eq!(store.query("person1")?, Some(value!({ "address": {}, "name": "Mary" })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&self, path: &str, value: Value) -> Result<Put, StoreError> {
        self.set_path(&parsed(path)?, value, Condition::Always)
    }

    /// Puts `value` at `path`, as [`Store::set`] does, if `condition` holds for the record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Command`], and nothing has changed: [`Place`](CommandError::Place) if the path
    /// leads through something that is neither map nor list, or beyond the end of a list,
    /// [`NotAMap`](CommandError::NotAMap) if the record would be something else,
    /// [`RecordTooLarge`](CommandError::RecordTooLarge) if its value would have more than
    /// [`RECORD_BYTES_MAX`](crate::log::RECORD_BYTES_MAX) bytes, and those of [`Store::put_if`].
    /// [`StoreError::Log`] as there.
    pub fn set_path(
        &self,
        path: &Path,
        value: Value,
        condition: Condition,
    ) -> Result<Put, StoreError> {
        self.put_part(Command::Set { path: path.clone(), value, condition })
    }

    /// Merges `patch` into what is at `path`, given as text, as [`Value::merge`] does: fields that
    /// are null in the patch are removed, the others put or merged. Where nothing is, the patch is
    /// merged into nothing, and the place is made as by [`Store::set`]. Durable when it returns.
    /// Takes **O(n)** for n values in the record and in the patch.
    ///
    /// # Errors
    ///
    /// As [`Store::set`].
    pub fn merge(&self, path: &str, patch: Value) -> Result<Put, StoreError> {
        self.merge_path(&parsed(path)?, patch, Condition::Always)
    }

    /// Merges `patch` into what is at `path`, as [`Store::merge`] does, if `condition` holds for the
    /// record.
    ///
    /// # Errors
    ///
    /// As [`Store::set_path`].
    pub fn merge_path(
        &self,
        path: &Path,
        patch: Value,
        condition: Condition,
    ) -> Result<Put, StoreError> {
        self.put_part(Command::Merge { path: path.clone(), patch, condition })
    }

    /// Removes what is at `path`, given as text, and returns whether there was something: a field,
    /// an item of a list (those that follow it move down), or without steps the whole record. Maps
    /// and lists that have become empty stay. Durable when it returns. Takes **O(p)** for a path of
    /// p bytes, and the time to free what was there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`] if `path` is not a path, else as [`Store::delete`].
    pub fn remove(&self, path: &str) -> Result<bool, StoreError> {
        self.remove_path(&parsed(path)?, Condition::Always)
    }

    /// Removes what is at `path`, as [`Store::remove`] does, if `condition` holds for the record.
    ///
    /// # Errors
    ///
    /// [`CommandError::Conflict`] if the condition does not hold, else as [`Store::delete`].
    pub fn remove_path(&self, path: &Path, condition: Condition) -> Result<bool, StoreError> {
        match self.write(Command::Remove { path: path.clone(), condition })? {
            Reply::Deleted(found) => Ok(found),
            reply => unreachable!("a removal was answered by {reply:?}"),
        }
    }

    fn put_part(&self, command: Command) -> Result<Put, StoreError> {
        match self.write(command)? {
            Reply::Put(put) => Ok(put),
            reply => unreachable!("a partial write was answered by {reply:?}"),
        }
    }
}

fn parsed(path: &str) -> Result<Path, StoreError> {
    parse_path(path).map_err(StoreError::Path)
}

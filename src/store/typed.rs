//! Records as Rust types.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CommandError, Put, Record, Store, StoreError};
use crate::parser::{Condition, parse_path};
use crate::value::{Path, ValueError, from_value, from_value_ref, to_value};

impl Record {
    /// Makes a Rust type of the document; the version stays at hand for a
    /// [conditional put](Condition::IfVersion). Takes **O(n)** for n parts.
    ///
    /// # Errors
    ///
    /// [`ValueError`] with the place where the document does not fit the type, as
    /// [`from_value`] gives it.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use triekv::{Condition, Store};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Counter {
    ///     hits: u64,
    /// }
    ///
    /// let store = Store::in_memory();
    /// store.put_as("home", &Counter { hits: 1 })?;
    /// let Some(record) = store.get("home") else { panic!("it was put") };
    /// let Counter { hits } = record.value_as()?;
    /// let unchanged = Condition::IfVersion(record.version);
    /// store.put_if_as("home", &Counter { hits: hits + 1 }, unchanged)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn value_as<T: DeserializeOwned>(&self) -> Result<T, ValueError> {
        from_value_ref(&self.value)
    }
}

impl Store {
    /// Puts what `record` is as a value at `key`, in place of what was there. A struct or a map
    /// can be put; see [`to_value`] for what becomes of each type. [`Store::get_as`] reads the same
    /// type again, but for the few exceptions that [`to_value`] lists. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`CommandError::Value`] if the record cannot be a value, [`CommandError::NotAMap`] if it is
    /// none that has fields, else as [`Store::put`].
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use triekv::{Store, value};
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct Address {
    ///     city: String,
    ///     zip: Option<u16>,
    /// }
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct Person {
    ///     name: String,
    ///     address: Address,
    /// }
    ///
    /// let mary = Person {
    ///     name: "Mary".into(),
    ///     address: Address { city: "Athens".into(), zip: Some(11143) },
    /// };
    /// let store = Store::in_memory();
    /// store.put_as("person1", &mary)?;
    /// assert_eq!(store.get_as("person1")?, Some(mary));
    /// assert_eq!(store.query_as("person1.address.zip")?, Some(11143));
    ///
    /// store.put("person2", value!({ "name": "Jo", "address": { "city": "Nice", "zip": "06000" } }))?;
    /// let error = store.get_as::<Person>("person2").unwrap_err();
    /// assert_eq!(error.to_string(), "address.zip: expected u16, found a string");
    /// # Ok::<(), triekv::StoreError>(())
    /// ```
    pub fn put_as<T: Serialize + ?Sized>(&self, key: &str, record: &T) -> Result<Put, StoreError> {
        self.put_if_as(key, record, Condition::Always)
    }

    /// Puts what `record` is as a value at `key` if `condition` holds. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`CommandError::Conflict`] if the condition does not hold, else as [`Store::put_as`].
    pub fn put_if_as<T: Serialize + ?Sized>(
        &self,
        key: &str,
        record: &T,
        condition: Condition,
    ) -> Result<Put, StoreError> {
        let value = to_value(record).map_err(CommandError::Value)?;
        self.put_if(key, value, condition)
    }

    /// Returns the record at `key` as a Rust type, or `None` if there is none. Its version is not
    /// told: [`Store::get`] and [`Record::value_as`] give both. Takes **O(n)** for n parts.
    ///
    /// # Errors
    ///
    /// [`StoreError::Type`] if the record does not fit the type.
    pub fn get_as<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let record = self.get(key);
        record.map(|record| record.value_as()).transpose().map_err(StoreError::Type)
    }

    /// Returns the value at `path`, given as text, as a Rust type; `None` if there is no value.
    /// Takes **O(n)** for n parts of that value.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`] if `path` is not a path; [`StoreError::Type`] if the value does not
    /// fit the type, with the place from the root of the record.
    pub fn query_as<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, StoreError> {
        self.query_path_as(&parse_path(path).map_err(StoreError::Path)?)
    }

    /// Returns the value at `path` as a Rust type; `None` if there is no value. Takes **O(n)** for
    /// n parts of that value.
    ///
    /// # Errors
    ///
    /// [`StoreError::Type`] if the value does not fit the type, with the place from the root of
    /// the record.
    pub fn query_path_as<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, StoreError> {
        let value = self.query_path(path).map(from_value);
        value.transpose().map_err(|error| StoreError::Type(error.below(path.steps())))
    }
}

//! Records of a cluster as Rust types.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Broker, BrokerError};
use crate::parser::{Condition, parse_path};
use crate::store::{CommandError, Put};
use crate::transport::Transport;
use crate::value::{Path, from_value, to_value};

impl<T: Transport> Broker<T> {
    /// Puts what `record` is as a value at `key`, in place of what was there. A struct or a map
    /// can be put; see [`to_value`] for what becomes of each type. [`Broker::get_as`] reads the same
    /// type again, but for the few exceptions that [`to_value`] lists.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Store`] with [`CommandError::Value`] if the record cannot be a value, and with
    /// [`CommandError::NotAMap`] if it is none that has fields; nothing was sent then. Else as
    /// [`Broker::put`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use serde::{Deserialize, Serialize};
    /// use triekv::Cluster;
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct Person {
    ///     name: String,
    ///     age: Option<u8>,
    /// }
    ///
    /// let cluster = Cluster::embedded(1).copies(1).start().await?;
    /// let broker = cluster.broker();
    /// broker.put_as("person1", &Person { name: "Mary".into(), age: None }).await?;
    /// let mary = Person { name: "Mary".into(), age: None };
    /// assert_eq!(broker.get_as("person1").await?, Some(mary));
    ///
    /// let error = broker.query_as::<u16>("person1.name").await.unwrap_err();
    /// assert_eq!(error.to_string(), "name: expected u16, found a string");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn put_as<R: Serialize + ?Sized>(
        &self,
        key: &str,
        record: &R,
    ) -> Result<Put, BrokerError> {
        self.put_if_as(key, record, Condition::Always).await
    }

    /// Puts what `record` is as a value at `key` if `condition` holds.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Store`] with [`CommandError::Conflict`] if the condition does not hold, else
    /// as [`Broker::put_as`].
    pub async fn put_if_as<R: Serialize + ?Sized>(
        &self,
        key: &str,
        record: &R,
        condition: Condition,
    ) -> Result<Put, BrokerError> {
        let value = to_value(record).map_err(CommandError::Value).map_err(BrokerError::Store)?;
        self.put_if(key, value, condition).await
    }

    /// Returns the record at `key` as a Rust type, or `None` if there is none. Its version is not
    /// told: [`Broker::get`] and [`Record::value_as`](crate::store::Record::value_as) give both. As
    /// fresh as [`Broker::get`].
    ///
    /// # Errors
    ///
    /// [`BrokerError::Type`] if the record does not fit the type, else as [`Broker::get`].
    pub async fn get_as<R: DeserializeOwned>(&self, key: &str) -> Result<Option<R>, BrokerError> {
        let record = self.get(key).await?;
        record.map(|record| record.value_as()).transpose().map_err(BrokerError::Type)
    }

    /// Returns the value at `path`, given as text, as a Rust type; `None` if there is no value. As
    /// fresh as [`Broker::get`].
    ///
    /// # Errors
    ///
    /// [`BrokerError::Path`] if `path` is not a path, else as [`Broker::query_path_as`].
    pub async fn query_as<R: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<R>, BrokerError> {
        self.query_path_as(&parse_path(path).map_err(BrokerError::Path)?).await
    }

    /// Returns the value at `path` as a Rust type; `None` if there is no value. As fresh as
    /// [`Broker::get`].
    ///
    /// # Errors
    ///
    /// [`BrokerError::Type`] if the value does not fit the type, with the place from the root of
    /// the record; else as [`Broker::get`].
    pub async fn query_path_as<R: DeserializeOwned>(
        &self,
        path: &Path,
    ) -> Result<Option<R>, BrokerError> {
        let value = self.query_path(path).await?.map(from_value);
        value.transpose().map_err(|error| BrokerError::Type(error.below(path.steps())))
    }
}

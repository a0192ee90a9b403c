//! Partial writes: changes of a part of a record, sent as commands and not as the whole record, so
//! that two brokers that change different parts do not undo each other's work.

use super::{Broker, BrokerError};
use crate::parser::{Command, Condition, parse_path};
#[cfg(doc)]
use crate::replication::COMMAND_BYTES_MAX;
#[cfg(doc)]
use crate::store::CommandError;
use crate::store::{Put, Reply, check_command, check_key};
use crate::transport::Transport;
use crate::value::{Path, Value};

impl<T: Transport> Broker<T> {
    /// Puts `value` at `path`, given as text (`person1.address.city`), in place of what was there.
    /// What is absent on the way is made, as by [`Store::set`](crate::Store::set). Applied once,
    /// however often it is sent.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Path`] if `path` is not a path, else as [`Broker::set_path`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use triekv::{Cluster, value};
    ///
    /// let cluster = Cluster::embedded(1).copies(1).start().await?;
    /// let broker = cluster.broker();
    /// broker.set("person1.address.city", value!("Athens")).await?;
    /// broker.merge("person1", value!({ "name": "Mary", "address": { "zip": "10431" } })).await?;
    /// assert!(broker.remove("person1.address.city").await?);
    /// let person = value!({ "name": "Mary", "address": { "zip": "10431" } });
    /// assert_eq!(broker.query("person1").await?, Some(person));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn set(&self, path: &str, value: Value) -> Result<Put, BrokerError> {
        self.set_path(&parsed(path)?, value, Condition::Always).await
    }

    /// Puts `value` at `path`, as [`Broker::set`] does, if `condition` holds for the record; the
    /// check and the write are one step.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Store`], and nothing has changed: [`CommandError::Conflict`] if the condition
    /// does not hold, [`CommandError::Place`] if the path leads through something that is neither
    /// map nor list, or beyond the end of a list, [`CommandError::RecordTooLarge`] if the value of
    /// the record would have more than [`COMMAND_BYTES_MAX`] bytes. Else as [`Broker::put`].
    pub async fn set_path(
        &self,
        path: &Path,
        value: Value,
        condition: Condition,
    ) -> Result<Put, BrokerError> {
        let command = Command::Set { path: path.clone(), value, condition };
        self.put_answered(path.key(), &self.write_part(path.key(), command).await?)
    }

    /// Merges `patch` into what is at `path`, given as text, as
    /// [`Store::merge`](crate::Store::merge) does. Applied once, however often it is sent.
    ///
    /// # Errors
    ///
    /// As [`Broker::set`].
    pub async fn merge(&self, path: &str, patch: Value) -> Result<Put, BrokerError> {
        self.merge_path(&parsed(path)?, patch, Condition::Always).await
    }

    /// Merges `patch` into what is at `path`, as [`Broker::merge`] does, if `condition` holds for
    /// the record; the check and the write are one step.
    ///
    /// # Errors
    ///
    /// As [`Broker::set_path`].
    pub async fn merge_path(
        &self,
        path: &Path,
        patch: Value,
        condition: Condition,
    ) -> Result<Put, BrokerError> {
        let command = Command::Merge { path: path.clone(), patch, condition };
        self.put_answered(path.key(), &self.write_part(path.key(), command).await?)
    }

    /// Removes what is at `path`, given as text, and returns whether there was something, as
    /// [`Store::remove`](crate::Store::remove) does. Applied once, however often it is sent: an item
    /// of a list is not removed together with the one that takes its place.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Path`] if `path` is not a path, else as [`Broker::delete`].
    pub async fn remove(&self, path: &str) -> Result<bool, BrokerError> {
        self.remove_path(&parsed(path)?, Condition::Always).await
    }

    /// Removes what is at `path`, as [`Broker::remove`] does, if `condition` holds for the record;
    /// the check and the removal are one step.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Store`] with [`CommandError::Conflict`] if the condition does not hold, else as
    /// [`Broker::delete`].
    pub async fn remove_path(
        &self,
        path: &Path,
        condition: Condition,
    ) -> Result<bool, BrokerError> {
        check_key(path.key()).map_err(BrokerError::Store)?;
        let command = Command::Remove { path: path.clone(), condition };
        self.delete_answered(path.key(), &self.write_part(path.key(), command).await?)
    }

    async fn write_part(&self, key: &str, command: Command) -> Result<Reply, BrokerError> {
        check_command(&command).map_err(BrokerError::Store)?;
        let deadline = self.deadline();
        let pending = self.begin_write(key, &command, deadline).await?;
        self.written(key, pending, deadline).await
    }
}

fn parsed(path: &str) -> Result<Path, BrokerError> {
    parse_path(path).map_err(BrokerError::Path)
}

//! Emptying the cluster.

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{Broker, BrokerError, RECORD_TIME, finish};
use crate::parser::Command;
use crate::replication::meta::MetaCommand;
use crate::store::{Page, Reply};
use crate::transport::Transport;

/// Records that are deleted at a time.
const RECORDS_A_PAGE: usize = 1000;

impl<T: Transport> Broker<T> {
    /// Deletes every record, forgets which files were loaded, and returns how many records were
    /// deleted.
    ///
    /// This is no transaction: what others put meanwhile may stay, and they see records go one by
    /// one.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]. A part of the records may be deleted then, and the files are forgotten or
    /// not; calling it again does the rest.
    pub async fn clear(&self) -> Result<u64, BrokerError> {
        // Files first: a file that counts as loaded while its records go would not be loaded again.
        self.change_meta(&MetaCommand::ForgetLoads).await?;
        let mut deleted = 0;
        let mut page = Page::first(RECORDS_A_PAGE);
        loop {
            let part = self.scan("", page.clone()).await?;
            let deleting = part.entries.into_iter().map(|entry| self.delete_patiently(entry.key));
            let found = try_join_all(deleting).await?;
            deleted += found.into_iter().map(u64::from).sum::<u64>();
            let Some(next) = part.next else { return Ok(deleted) };
            page = page.after(next);
        }
    }

    /// Deletes a record; an election meanwhile is no error.
    async fn delete_patiently(&self, key: String) -> Result<bool, BrokerError> {
        let deadline = Instant::now() + RECORD_TIME;
        let command = Command::Delete { key: key.clone() };
        let pending = self.begin_write(&key, &command, deadline).await?;
        match finish(pending).await? {
            Reply::Deleted(found) => Ok(found),
            Reply::Record(_) | Reply::Value(_) | Reply::Put(_) => Err(self.nonsense(&key)),
        }
    }
}

//! Going on with a shard that has lost its majority for good.

use thiserror::Error;
use tokio::time::Instant;

use super::status::reports;
use super::{Broker, BrokerError, Health, StatusError};
use crate::replication::message::Refusal;
use crate::replication::meta::MetaCommand;
use crate::replication::{GroupId, ServerId, ShardId};
use crate::transport::Transport;

/// Why a shard was not recovered. Nothing has changed, unless it says otherwise.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// There is no such shard.
    #[error("there is no shard {shard}: the cluster has {shards}, counted from 0")]
    NoSuchShard {
        /// What was asked for.
        shard: u32,
        /// How many shards there are.
        shards: usize,
    },
    /// The shard has a majority, or may have one in a moment.
    #[error("shard {shard} has not lost its majority: {up} of its {voters} servers are up")]
    NotLost {
        /// The shard.
        shard: ShardId,
        /// How many of its servers are up.
        up: usize,
        /// How many servers hold it.
        voters: usize,
    },
    /// A server that holds the shard is reading its data. Wait for it.
    #[error("the server at {address} is still reading its data, and holds shard {shard}")]
    Starting {
        /// The shard.
        shard: ShardId,
        /// The server's address.
        address: String,
    },
    /// No server that holds the shard can be reached: there is nothing to go on with.
    #[error("none of the servers that hold shard {shard} can be reached")]
    NothingLeft {
        /// The shard.
        shard: ShardId,
    },
    /// Group 0 did not answer, of which a majority is needed, too. The recovery may have been noted.
    #[error("the cluster cannot note the change")]
    Broker(#[source] BrokerError),
}

/// The replica that a recovery went on with, and the writes that may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The shard.
    pub shard: ShardId,
    /// The server that it goes on with, the most advanced of those that could be reached.
    pub survivor: String,
    /// How many entries the survivor's log had. Later ones are lost, acknowledged or not.
    pub entries: u64,
    /// How many records the survivor had applied.
    pub records: u64,
    /// The servers that were not heard. What only they had is lost; should they come back, they
    /// discard it.
    pub lost: Vec<String>,
}

impl<T: Transport> Broker<T> {
    /// Goes on with shard number `shard` although it has lost its majority, with what the most
    /// advanced server has that can be reached. **Loses writes that were acknowledged**, if only the
    /// lost servers had them, and keeps some that were not: call this only once those servers are lost for
    /// good. Returns once it is noted. The shard then gets its other copies again, from servers that
    /// are up; have those that are lost [leave](Broker::leave).
    ///
    /// # Errors
    ///
    /// [`RecoverError`].
    pub async fn unsafe_recover(&self, shard: u32) -> Result<Recovery, RecoverError> {
        let status = self.status().await;
        let routes = &self.inner.routes;
        let map = routes.map();
        let (number, shards) = (shard, map.shards.len());
        let shard = ShardId(number);
        let group = map.group(shard);
        let Some(found) = status.shards.iter().find(|found| found.group == group) else {
            return Err(RecoverError::NoSuchShard { shard: number, shards });
        };
        if found.health != Health::NoMajority {
            let (up, voters) = found.voters_up();
            return Err(RecoverError::NotLost { shard, up, voters });
        }
        let voters = map.voters(group);
        let reports = reports(routes.transport(), &map, voters).await;
        let address = |server: &ServerId| map.servers.get(server).cloned().unwrap_or_default();
        let starting = |server: &&ServerId| {
            matches!(reports.get(server), Some(Err(StatusError::Refused(Refusal::Starting))))
        };
        if let Some(server) = voters.iter().find(starting) {
            return Err(RecoverError::Starting { shard, address: address(server) });
        }
        let replicas = reports.iter().filter_map(|(server, report)| {
            let report = report.as_ref().ok()?;
            let replica = report.groups.iter().find(|report| report.group == group)?;
            Some((replica.last, *server, replica.documents))
        });
        let most = replicas.max_by_key(|(last, server, _)| (*last, *server));
        let Some((last, survivor, records)) = most else {
            return Err(RecoverError::NothingLeft { shard });
        };
        self.recover_with(group, survivor).await.map_err(RecoverError::Broker)?;
        let silent = voters.iter().filter(|server| reports.get(server).is_none_or(Result::is_err));
        Ok(Recovery {
            shard,
            survivor: address(&survivor),
            entries: last.map_or(0, |last| last.index + 1),
            records: records.unwrap_or_default(),
            lost: silent.map(address).collect(),
        })
    }

    async fn recover_with(&self, group: GroupId, survivor: ServerId) -> Result<(), BrokerError> {
        self.change_meta(&MetaCommand::Recover { group, survivor }).await?;
        self.inner.routes.refresh(Instant::now() + self.inner.deadline).await;
        Ok(())
    }
}

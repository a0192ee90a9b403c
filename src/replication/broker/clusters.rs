//! Which cluster is which, where servers of several come together.

use super::status::{ClusterStatus, reports};
use crate::replication::ServerId;
use crate::replication::meta::ClusterMap;
use crate::transport::Transport;

/// A cluster, and what tells it from another one at the same addresses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NamedCluster {
    /// The addresses of the servers that it was founded with.
    pub founders: Vec<String>,
    /// The addresses that were named at its founding as well, and whose servers did not answer. A server
    /// of another cluster at one of them is probably of an older one.
    pub silent: Vec<String>,
    /// How it is, as far as its servers can be reached.
    pub status: ClusterStatus,
    /// How many entries the logs of its shards have at least that are not known to be committed. Without a
    /// majority that is not known of the latest ones: each may hold records that are not counted.
    pub uncommitted: u64,
}

impl NamedCluster {
    /// How many records there are, in the shards of which a replica can be reached.
    pub fn records(&self) -> u64 {
        self.status.shards.iter().filter_map(|shard| shard.documents).sum()
    }
}

/// Asks the servers of the cluster how they are.
pub(super) async fn describe<T: Transport>(transport: &T, map: &ClusterMap) -> NamedCluster {
    let everyone: Vec<ServerId> = map.servers.keys().copied().collect();
    let reports = reports(transport, map, &everyone).await;
    let uncommitted = map.groups().filter(|group| group.shard().is_some()).map(|group| {
        let replicas = reports.values().flatten().flat_map(|report| &report.groups);
        let replicas = replicas.filter(|replica| replica.group == group);
        let last = replicas.clone().filter_map(|replica| Some(replica.last?.index)).max();
        let applied = replicas.map(|replica| replica.applied.index).max();
        last.unwrap_or(0).saturating_sub(applied.unwrap_or(0))
    });
    NamedCluster {
        founders: map.founders.iter().cloned().collect(),
        silent: map.silent.iter().cloned().collect(),
        status: ClusterStatus::of(map, &reports),
        uncommitted: uncommitted.sum(),
    }
}

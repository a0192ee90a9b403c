//! What a server tells of itself and of the groups that it holds.

use super::Shared;
use crate::replication::report::{GroupReport, Past, ServerReport};
use crate::transport::Transport;

impl<T: Transport> Shared<T> {
    /// How the server and its replicas are now. Takes no disk and waits for nobody, so that it is
    /// told however badly the groups are.
    pub(super) fn report(&self) -> ServerReport {
        let patience = self.settings.timing.election_max;
        let (meta, shards) = self.groups();
        let meta = meta.iter().map(|group| group.report(patience));
        let shards = shards.iter().map(|group| {
            let documents = Some(group.applied().state().documents.len() as u64);
            GroupReport { documents, ..group.report(patience) }
        });
        let groups = meta.chain(shards).collect();
        let (cluster, epoch) = match &*self.map() {
            Some(map) => (Some(map.cluster), map.epoch),
            None => (None, 0),
        };
        ServerReport {
            server: self.id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_millis: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            cluster,
            epoch,
            groups,
            past: Past {
                own: self.past.get().copied(),
                set_aside: self.set_aside.clone(),
                others: self.peers.acquaintances().past().clone(),
            },
            disk_full: self.storage.room().is_full(),
        }
    }
}

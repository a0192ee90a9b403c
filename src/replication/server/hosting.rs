//! What a server holds: the map that it is told, and its replicas, taken and given up.
//!
//! All of it is done under one lock, so that a replica is started once, and for one cluster. Who asks
//! for something by an older map than the server knows is refused: it may not be wanted any more.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Hosting, Shared, blocking, dispatch};
use crate::replication::message::{Refusal, Response};
use crate::replication::meta::ClusterMap;
use crate::replication::raft::{Arranged, Need};
use crate::replication::{ClusterId, GroupId};
use crate::transport::Transport;

/// How long servers may take to catch up before whoever waits for it asks again.
const ARRANGE_TIME: Duration = Duration::from_secs(1);

/// How long a shard may take to elect its first leader before it is looked at again; shorter than
/// the one who asks waits.
const BEGIN_TIME: Duration = Duration::from_millis(1500);

impl<T: Transport> Shared<T> {
    /// Takes over a newer map of the same cluster, or the first one, and keeps it. A founded cluster
    /// takes a server from a plan of which it has done nothing yet. A map without this server is
    /// taken over if it was there before: it has left then.
    async fn adopt(&self, map: &ClusterMap, _hosting: &Hosting<'_>) -> Result<(), Refusal> {
        if !map.is_valid() {
            return Err(Refusal::Malformed);
        }
        let belongs = map.servers.contains_key(&self.id());
        match &*self.map() {
            Some(known) if known.cluster != map.cluster => {
                let superseded = known.epoch == 0 && map.epoch > 0 && self.is_idle();
                if !superseded {
                    return Err(Refusal::OtherCluster);
                }
                if !belongs {
                    return Err(Refusal::OtherServer);
                }
            }
            // Planted: the map that came last counts, also if it is an older one.
            Some(_) if cfg!(triekv_planted = "stale_map_accepted") => {}
            Some(known) if known.epoch >= map.epoch => return Ok(()),
            None if !belongs => return Err(Refusal::OtherServer),
            Some(_) | None => {}
        }
        self.keep_map(Some(map)).await?;
        *self.map() = Some(map.clone());
        self.peers.addresses().update(map);
        self.peers.acquaintances().retain(&map.servers);
        Ok(())
    }

    /// As [`Shared::adopt`], and refuses a map that is older than the one that is known: what is
    /// asked for by it may not be wanted any more.
    async fn adopt_newest(&self, map: &ClusterMap, hosting: &Hosting<'_>) -> Result<(), Refusal> {
        self.adopt(map, hosting).await?;
        let newer = |known: &ClusterMap| known.epoch > map.epoch;
        if self.map().as_ref().is_some_and(newer) { Err(Refusal::OutdatedMap) } else { Ok(()) }
    }

    /// Whether no group was ever begun.
    fn is_idle(&self) -> bool {
        self.storage.groups().is_empty()
    }

    /// Writes the map to the disk, or removes the one that is there.
    async fn keep_map(&self, map: Option<&ClusterMap>) -> Result<(), Refusal> {
        let Some(metadata) = self.metadata()? else { return Ok(()) };
        let map = map.cloned();
        let kept = blocking(move || metadata.set_map(map.as_ref())).await;
        self.storage.room().note(Need::Map, &kept);
        kept.map_err(|error| self.cannot_keep(&error))
    }

    /// Lets the cluster of `map` have this server, if no other has it, or takes over a newer map.
    pub(super) async fn claim(&self, map: &ClusterMap) -> Result<(), Refusal> {
        let hosting = self.hosting.lock().await;
        self.adopt(map, &hosting).await
    }

    /// Forgets the plan of `cluster`, unless something was done of it.
    pub(super) async fn release(&self, cluster: ClusterId) -> Result<(), Refusal> {
        let _hosting = self.hosting.lock().await;
        let planned = |map: &ClusterMap| map.cluster == cluster && map.epoch == 0;
        if self.map().as_ref().is_some_and(planned) && self.is_idle() {
            self.keep_map(None).await?;
            *self.map() = None;
        }
        Ok(())
    }

    /// Holds a replica of `group`, and begins its log if `initialize`; that of a shard has begun on a
    /// majority when this returns.
    pub(super) async fn host(
        self: &Arc<Self>,
        map: &ClusterMap,
        group: GroupId,
        initialize: bool,
    ) -> Result<(), Refusal> {
        let hosting = self.hosting.lock().await;
        self.adopt_newest(map, &hosting).await?;
        let me = self.id();
        let votes = map.voters(group).contains(&me);
        let is_wanted = || map.wanted().get(&group).is_some_and(|wanted| wanted.contains(&me));
        if !votes && (initialize || !is_wanted()) {
            return Err(Refusal::OtherServer);
        }
        let voters = map.voters(group);
        let begun = if group == GroupId::META {
            let meta = match self.meta() {
                Some(meta) => meta,
                None => self.start_meta(map.cluster).await?,
            };
            if initialize { meta.initialize(voters).await } else { Ok(()) }
        } else {
            let replica = if let Some(replica) = self.replica(group) {
                replica
            } else {
                self.go_on_alone(map, group, &hosting).await?;
                self.start_shard(map.cluster, group).await?
            };
            let initialized = if initialize { replica.initialize(voters).await } else { Ok(()) };
            drop(hosting);
            match initialized {
                Ok(()) if initialize => replica.begun(Instant::now() + BEGIN_TIME).await,
                initialized => initialized,
            }
        };
        begun.map_err(|_| Refusal::Stopping)
    }

    /// If the map has this server go on alone with a shard, makes what it has of the generation before
    /// the beginning of this one.
    async fn go_on_alone(
        &self,
        map: &ClusterMap,
        group: GroupId,
        _hosting: &Hosting<'_>,
    ) -> Result<(), Refusal> {
        let alone = group.generation() > 0 && map.voters(group) == [self.id()];
        if !alone || self.storage.groups().contains(&group) {
            return Ok(());
        }
        let before = {
            let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
            let same = |(id, _): &(&GroupId, _)| id.shard() == group.shard();
            shards.iter().rev().find(same).map(|(id, replica)| (*id, replica.clone()))
        };
        // Without its data the shard had better wait for somebody who finds them.
        let (old, before) = before.ok_or(Refusal::OtherServer)?;
        tracing::warn!(%group, "goes on with what this server has of it, without a majority");
        before.go_on_alone_as(group).await.map_err(|error| self.not_started(error))?;
        self.shards.write().unwrap_or_else(PoisonError::into_inner).remove(&old);
        Ok(())
    }

    /// Takes over the map, and gives up what it has others hold: of the groups that are `confirmed`,
    /// and of those that are not in the map any more.
    pub(super) async fn settle(
        &self,
        map: &ClusterMap,
        confirmed: &[GroupId],
    ) -> Result<(), Refusal> {
        let hosting = self.hosting.lock().await;
        self.adopt_newest(map, &hosting).await?;
        let (me, wanted) = (self.id(), map.wanted());
        for group in self.storage.groups() {
            let held_by_others = match wanted.get(&group) {
                Some(wanted) => {
                    let here = wanted.contains(&me) || map.voters(group).contains(&me);
                    !here && confirmed.contains(&group)
                }
                // One of a generation that is over, once the next one is known to be there.
                None => group.shard().is_none_or(|shard| confirmed.contains(&map.group(shard))),
            };
            if held_by_others || !map.servers.contains_key(&me) {
                self.give_up(group, &hosting).await?;
            }
        }
        if !map.servers.contains_key(&me) {
            tracing::warn!(server = %me, "has left its cluster: stop it, or start it in an empty directory");
        }
        Ok(())
    }

    /// Stops the replica of a group, and removes what is kept of it.
    async fn give_up(&self, group: GroupId, _hosting: &Hosting<'_>) -> Result<(), Refusal> {
        if group == GroupId::META {
            self.stop_governor();
            let meta = self.meta.write().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(meta) = meta {
                meta.stop().await;
            }
        } else {
            let replica =
                self.shards.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
            if let Some(replica) = replica {
                replica.stop().await;
            }
        }
        tracing::info!(%group, "is held by other servers now");
        self.storage.drop_group(group).await.map_err(|error| self.cannot_keep(&error))
    }

    /// Has a group that this server leads vote as `map` wants it.
    pub(super) async fn arrange(&self, map: &ClusterMap, group: GroupId) -> Response {
        let adopted = {
            let hosting = self.hosting.lock().await;
            self.adopt_newest(map, &hosting).await
        };
        if let Err(refusal) = adopted {
            return Response::Refused(refusal);
        }
        let (wanted, deadline) = (map.wanted(), Instant::now() + ARRANGE_TIME);
        let Some(wanted) = wanted.get(&group) else { return Response::NotHere };
        let arranged = match group.shard() {
            None => match self.meta() {
                Some(meta) => meta.arrange(wanted, deadline).await,
                None => return Response::NotHere,
            },
            Some(_) => match self.replica(group) {
                Some(replica) => replica.arrange(wanted, deadline).await,
                None => return Response::NotHere,
            },
        };
        match arranged {
            Ok(Arranged::Done) => Response::Done,
            Ok(Arranged::UnderWay) => Response::UnderWay,
            Err(error) => dispatch::refused_by_group(&error),
        }
    }
}

//! Founding a cluster, and the duties of group 0's leader: that every group of the map is held by
//! its voters, and its log begun.
//!
//! Each step may be repeated without harm, so the leader of group 0 simply does all that it has
//! not seen done, and a new leader begins anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::Shared;
use crate::replication::message::{self, Bytes, Refusal, Request, Response};
use crate::replication::meta::{ClusterMap, Meta, MetaCommand};
use crate::replication::raft::{Group, GroupError};
use crate::replication::{GroupId, ServerId};
use crate::transport::Transport;

/// How long another server may take to answer.
const CALL_TIME: Duration = Duration::from_secs(2);

/// How long to wait before what failed is tried again: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl<T: Transport> Shared<T> {
    /// Founds the cluster of `plan`, or goes on with founding it: claims the voters of group 0 for
    /// it, has them hold the group, begins its log, and proposes the plan.
    ///
    /// A server can be claimed for one cluster at a time, so of two plans for the same servers one
    /// gets a majority at most, and only then is anything done that cannot be undone.
    ///
    /// # Errors
    ///
    /// The response to send instead: the server belongs to another cluster, or too few servers
    /// agreed; those that did are released, so that another plan can have them.
    pub(super) async fn found(self: &Arc<Self>, plan: ClusterMap) -> Result<(), Response> {
        let voters = plan.voters(GroupId::META);
        if !voters.contains(&self.id()) {
            return Err(Response::Refused(Refusal::OtherServer));
        }
        self.claim(&plan).await.map_err(Response::Refused)?;
        let others: Vec<ServerId> =
            voters.iter().copied().filter(|voter| *voter != self.id()).collect();
        let claim = Request::Claim(plan.clone());
        let claimed = join_all(others.iter().map(|other| self.ask(*other, &claim))).await;
        let agreed = claimed.into_iter().filter(|agreed| *agreed).count() + 1;
        if agreed < ClusterMap::majority(voters) {
            let release = Request::Release(plan.cluster);
            join_all(others.iter().map(|other| self.ask(*other, &release))).await;
            let _ = self.release(plan.cluster).await;
            return Err(Response::Refused(Refusal::NotFounded));
        }
        self.host(&plan, GroupId::META, false).await.map_err(Response::Refused)?;
        // Whoever cannot be asked now is asked by the governor.
        join_all(others.iter().map(|other| self.ask_to_host(&plan, GroupId::META, *other))).await;
        self.host(&plan, GroupId::META, true).await.map_err(Response::Refused)?;
        let command = Bytes(message::encode(&MetaCommand::Found(plan)));
        match self.meta_until_led(&command).await {
            Response::Written(_) => Ok(()),
            other => Err(other),
        }
    }

    /// Proposes to group 0, which may be about to elect its first leader.
    async fn meta_until_led(self: &Arc<Self>, command: &Bytes) -> Response {
        let deadline = Instant::now() + CALL_TIME;
        loop {
            let response = self.change_meta(command.clone()).await;
            match response {
                Response::NotLeader(None) if Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE_MIN).await;
                }
                other => return other,
            }
        }
    }

    /// Asks `server` to hold a replica of `group`; whether it does.
    async fn ask_to_host(
        self: &Arc<Self>,
        map: &ClusterMap,
        group: GroupId,
        server: ServerId,
    ) -> bool {
        if server == self.id() {
            return self.host(map, group, false).await.is_ok();
        }
        self.call_host(map, group, server, false).await
    }

    async fn call_host(
        &self,
        map: &ClusterMap,
        group: GroupId,
        server: ServerId,
        initialize: bool,
    ) -> bool {
        self.ask(server, &Request::Host { map: map.clone(), group, initialize }).await
    }

    /// Asks another server for something; whether it did it.
    async fn ask(&self, server: ServerId, request: &Request) -> bool {
        match self.peers.call(server, request, Instant::now() + CALL_TIME).await {
            Ok(Response::Done) => true,
            Ok(other) => {
                tracing::debug!(%server, ?other, "a server refused");
                false
            }
            Err(error) => {
                tracing::debug!(%server, %error, "a server cannot be asked");
                false
            }
        }
    }

    /// Has `server` begin the log of `group`.
    async fn begin(self: &Arc<Self>, map: &ClusterMap, group: GroupId, server: ServerId) -> bool {
        if server == self.id() {
            return self.host(map, group, true).await.is_ok();
        }
        self.call_host(map, group, server, true).await
    }
}

/// Carries out the map for as long as this server leads group 0, and waits for that otherwise.
pub(super) async fn govern<T: Transport>(shared: Arc<Shared<T>>, meta: Group<Meta>) {
    let me = shared.id();
    loop {
        let mut leader = meta.leader();
        while leader != Some(me) {
            match meta.leader_changed(leader).await {
                Ok(changed) => leader = changed,
                Err(_) => return,
            }
        }
        // What is known to be held is known by this leader in this term of office.
        let mut held = BTreeSet::new();
        let mut pause = PAUSE_MIN;
        while meta.leader() == Some(me) {
            let settled = settle(&shared, &meta, &mut held).await;
            let changed = async {
                tokio::select! {
                    () = shared.meta_changed.notified() => {}
                    _ = meta.leader_changed(Some(me)) => {}
                }
            };
            if settled {
                changed.await;
            } else {
                let _ = tokio::time::timeout(pause, changed).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Does once what the map asks for; whether all of it is done.
async fn settle<T: Transport>(
    shared: &Arc<Shared<T>>,
    meta: &Group<Meta>,
    held: &mut BTreeSet<(GroupId, ServerId)>,
) -> bool {
    // Older entries than this leader's may not be applied yet.
    if meta.read_barrier(Instant::now() + CALL_TIME).await.is_err() {
        return false;
    }
    let Some(map) = meta.applied().state().map.clone() else { return false };
    if shared.claim(&map).await.is_err() {
        return false;
    }
    let missing: Vec<(GroupId, ServerId)> = map
        .groups()
        .flat_map(|group| map.voters(group).iter().map(move |server| (group, *server)))
        .filter(|replica| !held.contains(replica))
        .collect();
    let asked = missing.iter().map(|(group, server)| shared.ask_to_host(&map, *group, *server));
    let answers = join_all(asked).await;
    held.extend(missing.iter().zip(answers).filter(|(_, held)| *held).map(|(replica, _)| *replica));
    let begun = join_all(map.groups().map(|group| begin_shard(shared, meta, &map, group, held)));
    let begun = begun.await.into_iter().all(|begun| begun);
    begun && missing.iter().all(|replica| held.contains(replica))
}

/// Begins the log of the group's shard if a majority of its voters holds it; whether it has begun.
async fn begin_shard<T: Transport>(
    server: &Arc<Shared<T>>,
    meta: &Group<Meta>,
    map: &ClusterMap,
    group: GroupId,
    held: &BTreeSet<(GroupId, ServerId)>,
) -> bool {
    let Some(shard) = group.shard() else { return true };
    if map.placement(shard).is_some_and(|placement| placement.ready) {
        return true;
    }
    let voters = map.voters(group);
    let mut holders = voters.iter().filter(|server| held.contains(&(group, **server)));
    if holders.clone().count() < ClusterMap::majority(voters) {
        return false;
    }
    // The first of them is the one that should lead: whoever begins a log is its first candidate.
    let Some(first) = holders.next() else { return false };
    if !server.begin(map, group, *first).await {
        return false;
    }
    let ready = message::encode(&MetaCommand::ShardReady(shard));
    match meta.propose(ready, Instant::now() + CALL_TIME).await {
        Ok(_) => true,
        Err(
            GroupError::NotLeader(_)
            | GroupError::Unknown
            | GroupError::Stopped
            | GroupError::Log(_),
        ) => false,
    }
}

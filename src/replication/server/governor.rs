//! Founding a cluster, and the duties of group 0's leader: that every group of the map is held by
//! its voters, and its log begun; that groups move where the map wants them when servers come and
//! go; that every server knows the map, and gives up what others hold.
//!
//! A group moves in steps: the newcomers hold a replica, the group's leader makes them its voters (see
//! [`Group::arrange`]), group 0 notes it, the others are told and give up what they had.
//!
//! Each step may be repeated without harm, so the leader of group 0 simply does all that it has
//! not seen done, and a new leader begins anew.

use std::collections::{BTreeMap, BTreeSet};
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

/// How long another server may take to have a group arranged.
const ARRANGE_CALL_TIME: Duration = Duration::from_secs(10);

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

/// How often the leader looks whether a server is another one now, and who leads the shards.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The shortest pause between two looks that were asked for.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// How many groups change their voters at once: each sends its state to newcomers.
const MOVES_MAX: usize = 2;

/// What the leader of group 0 knows to be done in its term of office.
#[derive(Default)]
struct Office {
    /// The replicas that servers are known to hold.
    held: BTreeSet<(GroupId, ServerId)>,
    /// Groups, and the voters that they are known to have.
    confirmed: BTreeMap<GroupId, Vec<ServerId>>,
    /// What each server was told last: the epoch of the map, and how many groups were confirmed.
    told: BTreeMap<ServerId, (u64, usize)>,
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
        let governor = Governor { shared: &shared, meta: &meta };
        let mut office = Office::default();
        let mut pause = PAUSE_MIN;
        let mut looked = Instant::now();
        while meta.leader() == Some(me) {
            let settled = governor.settle(&mut office).await;
            let changed = async {
                tokio::select! {
                    () = shared.meta_changed.notified() => false,
                    () = shared.look_wanted.notified() => true,
                    _ = meta.leader_changed(Some(me)) => false,
                }
            };
            let wait = if settled { LOOK_INTERVAL } else { pause };
            let waited = tokio::time::timeout(wait, changed).await;
            // What was asked for meanwhile is not to wait for what failed before.
            pause = if waited.is_ok() { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            if waited == Ok(true) || looked.elapsed() >= LOOK_INTERVAL {
                governor.look(&mut office).await;
                looked = Instant::now();
            }
        }
    }
}

impl<T: Transport> Shared<T> {
    /// Has this server look who is at each address, if it leads group 0.
    pub(super) fn look_soon(&self) -> Response {
        match self.meta().and_then(|meta| meta.leader()) {
            Some(leader) if leader == self.id() => {
                self.look_wanted.notify_one();
                Response::Done
            }
            leader => Response::NotLeader(leader),
        }
    }

    /// Tells the leader of group 0 whenever this server finds another one at the address of one that it
    /// knows: so an emptied server is filled as soon as somebody writes to it, or sends it a heartbeat.
    pub(super) async fn watch_addresses(self: Arc<Self>) {
        loop {
            self.peers.found_elsewhere().await;
            if self.look_soon() != Response::Done {
                let voters =
                    self.map().as_ref().map_or_else(Vec::new, |map| map.meta_voters.clone());
                let others = voters.into_iter().filter(|voter| *voter != self.id());
                // Of the servers that hold group 0 one leads it; the others ignore it.
                let asked = others.map(async |voter| self.ask(voter, &Request::Look).await);
                join_all(asked).await;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

/// The duties of group 0's leader.
struct Governor<'a, T: Transport> {
    shared: &'a Arc<Shared<T>>,
    meta: &'a Group<Meta>,
}

impl<T: Transport> Governor<'_, T> {
    /// Does once what the map asks for; whether all of it is done.
    async fn settle(&self, office: &mut Office) -> bool {
        let Some(map) = self.map().await else { return false };
        let held = self.have_held(&map, office).await;
        let begun = join_all(map.groups().map(|group| self.begin(&map, group, &office.held)));
        let begun = begun.await.into_iter().all(|begun| begun);
        if !begun {
            return false;
        }
        let arranged = self.arrange_some(&map, office).await;
        // The epoch has grown with what was done.
        let Some(map) = self.map().await else { return false };
        let told = self.tell(&map, office).await;
        let forgotten = self.forget(&map).await;
        let moves = map.moves().len();
        tracing::debug!(epoch = map.epoch, moves, held, arranged, told, forgotten, "governed");
        held && arranged && told && forgotten && moves == 0
    }

    /// The map with all that was decided before, told to this server.
    async fn map(&self) -> Option<ClusterMap> {
        // Older entries than this leader's may not be applied yet.
        self.meta.read_barrier(Instant::now() + CALL_TIME).await.ok()?;
        let map = self.meta.applied().state().map.clone()?;
        self.shared.claim(&map).await.ok()?;
        Some(map)
    }

    async fn propose(&self, command: &MetaCommand) -> bool {
        let command = message::encode(command);
        match self.meta.propose(command, Instant::now() + CALL_TIME).await {
            Ok(_) => true,
            Err(
                GroupError::NotLeader(_)
                | GroupError::Unknown
                | GroupError::Stopped
                | GroupError::Log(_),
            ) => false,
        }
    }

    /// Has every group held by those who vote in it, and by those who are to; whether all of them do.
    async fn have_held(&self, map: &ClusterMap, office: &mut Office) -> bool {
        let wanted = map.wanted();
        let holders = |group: GroupId| {
            let newcomers = wanted.get(&group).into_iter().flatten();
            let holders: BTreeSet<_> = map.voters(group).iter().chain(newcomers).collect();
            holders.into_iter().map(move |server| (group, *server))
        };
        let missing: Vec<(GroupId, ServerId)> = map
            .groups()
            .flat_map(holders)
            .filter(|replica| !office.held.contains(replica) && !map.is_superseded(replica.1))
            .collect();
        let asked =
            missing.iter().map(|(group, server)| self.shared.ask_to_host(map, *group, *server));
        let answers = join_all(asked).await;
        let held = missing.iter().zip(answers).filter(|(_, held)| *held);
        let held: Vec<_> = held.map(|(replica, _)| *replica).collect();
        let all = held.len() == missing.len();
        office.held.extend(held);
        all
    }

    /// Begins the log of the group's shard if a majority of its voters holds it; whether it has begun.
    async fn begin(
        &self,
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
        self.shared.begin(map, group, *first).await
            && self.propose(&MetaCommand::ShardReady(shard)).await
    }

    /// Has a few groups vote as the map wants it, of those that are not known to do so; whether all
    /// of them are known to.
    async fn arrange_some(&self, map: &ClusterMap, office: &mut Office) -> bool {
        let open = |group: &GroupId, wanted: &Vec<ServerId>| {
            office.confirmed.get(group) != Some(wanted) || map.voters(*group) != wanted
        };
        let wanted = map.wanted();
        let open = wanted.iter().filter(|(group, wanted)| open(group, wanted));
        let open: Vec<(GroupId, &Vec<ServerId>)> = open.map(|(group, to)| (*group, to)).collect();
        // Whoever is to take over has to be there.
        let held = |(group, wanted): &&(GroupId, &Vec<ServerId>)| {
            wanted.iter().all(|server| office.held.contains(&(*group, *server)))
        };
        // Those that only have to be confirmed first: that takes a moment.
        let mut begun: Vec<_> = open.iter().filter(held).copied().collect();
        begun.sort_by_key(|(group, wanted)| map.voters(*group) != *wanted);
        let moving = |(group, wanted): &&(GroupId, &Vec<ServerId>)| map.voters(*group) != *wanted;
        let confirmed = begun.iter().filter(|group| !moving(group)).count();
        begun.truncate(confirmed + MOVES_MAX);
        let asked = begun.iter().map(|(group, wanted)| self.arrange(map, *group, wanted));
        let arranged = join_all(asked).await;
        let mut done = 0;
        for ((group, wanted), arranged) in begun.iter().zip(arranged) {
            if !arranged {
                office.confirmed.remove(group);
                continue;
            }
            let voters = (*wanted).clone();
            let moved = MetaCommand::Moved { group: *group, voters: voters.clone() };
            if map.voters(*group) == voters || self.propose(&moved).await {
                office.confirmed.insert(*group, voters);
                done += 1;
            }
        }
        done == open.len()
    }

    /// Has the leader of the group make its voters those that are wanted; whether they are.
    async fn arrange(&self, map: &ClusterMap, group: GroupId, wanted: &[ServerId]) -> bool {
        let request = Request::Arrange { map: map.clone(), group };
        let mut asked = BTreeSet::new();
        let mut next = None;
        let holders: Vec<ServerId> = wanted
            .iter()
            .chain(map.voters(group))
            .copied()
            .filter(|id| !map.is_superseded(*id))
            .collect();
        loop {
            let open = || holders.iter().copied().find(|server| !asked.contains(server));
            let Some(server) = next.take().or_else(open) else { return false };
            asked.insert(server);
            let response = if server == self.shared.id() {
                Some(self.shared.arrange(map, group).await)
            } else {
                let deadline = Instant::now() + ARRANGE_CALL_TIME;
                self.shared.peers.call(server, &request, deadline).await.ok()
            };
            tracing::debug!(%group, %server, ?response, "asked to arrange");
            match response {
                Some(Response::Done) => return true,
                Some(Response::UnderWay) => return false,
                Some(Response::NotLeader(leader)) => {
                    next = leader.filter(|leader| !asked.contains(leader));
                }
                _ => {}
            }
        }
    }

    /// Tells every server the map, and which groups are known to vote as it says; whether all of them
    /// know.
    async fn tell(&self, map: &ClusterMap, office: &mut Office) -> bool {
        let confirmed = office.confirmed.iter();
        let confirmed = confirmed.filter(|(group, voters)| map.voters(**group) == **voters);
        let confirmed: Vec<GroupId> = confirmed.map(|(group, _)| *group).collect();
        let news = (map.epoch, confirmed.len());
        let servers = map.servers.keys().copied();
        let to_tell = servers
            .filter(|server| office.told.get(server) != Some(&news) && !map.is_superseded(*server));
        let to_tell: Vec<ServerId> = to_tell.collect();
        // What a server gives up it does not hold when it is to have it back.
        let wanted = map.wanted();
        office.held.retain(|(group, server)| {
            let newcomers = wanted.get(group).into_iter().flatten();
            map.voters(*group).iter().chain(newcomers).any(|holder| holder == server)
        });
        let request = Request::Settle { map: map.clone(), confirmed: confirmed.clone() };
        let told = join_all(to_tell.iter().map(async |server| {
            if *server == self.shared.id() {
                return self.shared.settle(map, &confirmed).await.is_ok();
            }
            self.shared.ask(*server, &request).await
        }));
        let told = told.await;
        let all = told.iter().all(|told| *told);
        let told = to_tell.into_iter().zip(told).filter(|(_, told)| *told);
        office.told.extend(told.map(|(server, _)| (server, news)));
        all
    }

    /// Forgets the servers that have left, holding nothing; whether nobody else is leaving.
    async fn forget(&self, map: &ClusterMap) -> bool {
        for server in &map.leaving {
            let holds_nothing = map.groups().all(|group| !map.voters(group).contains(server));
            if !holds_nothing || !self.propose(&MetaCommand::Forget(*server)).await {
                continue;
            }
            // So that it stops what it has. If it cannot be told, nobody listens to it.
            if let Some(without) = self.map().await
                && !map.is_superseded(*server)
            {
                let confirmed = Vec::new();
                self.shared.ask(*server, &Request::Settle { map: without, confirmed }).await;
            }
        }
        map.leaving.is_empty()
    }

    /// Looks who is at the address of each server: a blank server takes the place of the one that
    /// was there. And has the leaders looked at again, which may have changed with an election.
    async fn look(&self, office: &mut Office) {
        let Some(map) = self.map().await else { return };
        let others = map.servers.iter().filter(|(server, _)| **server != self.shared.id());
        let others = others.filter(|(server, _)| !map.leaving.contains(*server));
        let found = join_all(others.map(async |(server, address)| {
            let deadline = Instant::now() + CALL_TIME;
            let answer = self.shared.peers.call(*server, &Request::Identify, deadline).await;
            match answer {
                Ok(Response::Identity(found)) if found.server != *server => {
                    Some((address.clone(), *found))
                }
                _ => None,
            }
        }));
        for (address, found) in found.await.into_iter().flatten() {
            if found.is_blank() && !map.servers.contains_key(&found.server) {
                let server = found.server;
                tracing::info!(%server, address, "takes the place of another server");
                self.propose(&MetaCommand::Join { server, address }).await;
            }
        }
        office.confirmed.clear();
    }
}

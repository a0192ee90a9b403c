//! Group 0: the servers, the shards and who holds them, and which files were loaded.
//!
//! It is a replicated state machine like a shard. Its leader carries out what the state asks for
//! (see [`super::server`]), so that a broker may die at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::log::{LogError, SnapshotReader, SnapshotWriter};
use crate::replication::message::{self, Addresses};
use crate::replication::raft::StateMachine;
use crate::replication::{ClientId, ClusterId, GroupId, ServerId, ShardId, placement};

/// The most servers of a cluster.
pub(crate) const SERVERS_MAX: usize = 1024;

/// The cluster as group 0 knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterMap {
    /// Drawn at random when the cluster was founded.
    pub(crate) cluster: ClusterId,
    /// Grows by one with each change; 0 in a plan.
    pub(crate) epoch: u64,
    /// Copies that were asked for.
    pub(crate) copies: usize,
    /// Whether a shard has as many voters as copies, also where that is an even number.
    pub(crate) exact: bool,
    /// Every server's address, as brokers reach it.
    pub(crate) servers: Addresses,
    /// Those of the servers that are to hold nothing any more.
    pub(crate) leaving: BTreeSet<ServerId>,
    /// The addresses of the first servers. This and `silent` stay as they were at the founding, and tell
    /// this cluster from an older one at the same addresses.
    pub(crate) founders: BTreeSet<String>,
    /// The addresses that were named at the founding as well, and whose servers did not say who they
    /// are.
    pub(crate) silent: BTreeSet<String>,
    /// The servers that hold group 0.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) meta_voters: Vec<ServerId>,
    /// The shards, by number.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) shards: Vec<Placement>,
}

/// Who holds a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// The servers, the one that should lead first.
    #[serde(deserialize_with = "message::bounded")]
    pub(crate) voters: Vec<ServerId>,
    /// Whether the shard's log has begun.
    pub(crate) ready: bool,
    /// Grows when the shard is recovered without its majority.
    pub(crate) generation: u16,
}

impl ClusterMap {
    /// The plan of a new cluster of these servers: shards and their places. No other server was named.
    pub(crate) fn plan(cluster: ClusterId, copies: usize, exact: bool, servers: Addresses) -> Self {
        let no_voters = Placement { voters: Vec::new(), ready: true, generation: 0 };
        let shards = vec![no_voters; placement::shard_count(servers.len()) as usize];
        let mut plan = Self {
            cluster,
            epoch: 0,
            copies,
            exact,
            leaving: BTreeSet::new(),
            founders: servers.values().cloned().collect(),
            silent: BTreeSet::new(),
            meta_voters: Vec::new(),
            servers,
            shards,
        };
        plan.meta_voters = plan.wanted_for_meta();
        for (placement, voters) in plan.wanted_for_shards().into_iter().enumerate() {
            plan.shards[placement] = Placement { voters, ready: false, generation: 0 };
        }
        plan
    }

    /// Whether it can be a map: what servers are told comes from outside.
    pub(crate) fn is_valid(&self) -> bool {
        let named = self.founders.len() + self.silent.len();
        if self.servers.is_empty() || self.servers.len() > SERVERS_MAX || named > SERVERS_MAX {
            return false;
        }
        if self.epoch == 0 {
            let (copies, exact) = (self.copies, self.exact);
            let plan = Self::plan(self.cluster, copies, exact, self.servers.clone());
            return *self == Self { silent: self.silent.clone(), ..plan };
        }
        let shards = 1..=placement::shard_count(usize::MAX) as usize;
        let voters = |voters: &[ServerId]| {
            let distinct: BTreeSet<_> = voters.iter().collect();
            let known = voters.iter().all(|voter| self.servers.contains_key(voter));
            !voters.is_empty() && distinct.len() == voters.len() && known
        };
        shards.contains(&self.shards.len())
            && self.leaving.iter().all(|server| self.servers.contains_key(server))
            && self.groups().all(|group| voters(self.voters(group)))
    }

    /// The servers that hold something, or may.
    pub(crate) fn active(&self) -> BTreeSet<ServerId> {
        self.servers.keys().filter(|server| !self.leaving.contains(server)).copied().collect()
    }

    /// Whether another server is at the address of this one, which is leaving.
    pub(crate) fn is_superseded(&self, server: ServerId) -> bool {
        let same = |(other, at): (&ServerId, &String)| {
            *other != server && self.servers.get(&server) == Some(at)
        };
        self.leaving.contains(&server) && self.servers.iter().any(same)
    }

    /// The servers that should hold each group, the one that should lead first.
    pub(crate) fn wanted(&self) -> BTreeMap<GroupId, Vec<ServerId>> {
        let shards = (0..).map(ShardId).zip(self.wanted_for_shards());
        let shards = shards.map(|(shard, voters)| (self.group(shard), voters));
        [(GroupId::META, self.wanted_for_meta())].into_iter().chain(shards).collect()
    }

    fn wanted_for_meta(&self) -> Vec<ServerId> {
        placement::meta_voters(&self.active(), &self.meta_voters)
    }

    /// By shard. One that has not begun stays where it was to begin.
    fn wanted_for_shards(&self) -> Vec<Vec<ServerId>> {
        let active = self.active();
        let count = placement::voter_count(self.copies, self.exact, active.len());
        let placements = (0..).map(ShardId).zip(&self.shards);
        let mut wanted: Vec<Vec<ServerId>> = placements
            .map(|(shard, placement)| {
                if placement.ready {
                    placement::place(shard, &active, count)
                } else {
                    placement.voters.clone()
                }
            })
            .collect();
        placement::spread_leaders(&mut wanted);
        wanted
    }

    /// The groups whose voters, or whose first voter, are to become others.
    pub(crate) fn moves(&self) -> BTreeMap<GroupId, Vec<ServerId>> {
        let moves = self.wanted().into_iter();
        moves.filter(|(group, wanted)| self.voters(*group) != wanted).collect()
    }

    /// The voters of a group, empty for a group that there is not.
    pub(crate) fn voters(&self, group: GroupId) -> &[ServerId] {
        match group.shard() {
            None => &self.meta_voters,
            Some(shard) => self.placement(shard).map_or(&[], |placement| &placement.voters),
        }
    }

    /// The place of a shard.
    pub(crate) fn placement(&self, shard: ShardId) -> Option<&Placement> {
        self.shards.get(shard.0 as usize)
    }

    /// The group that holds a shard.
    pub(crate) fn group(&self, shard: ShardId) -> GroupId {
        GroupId::of(shard, self.placement(shard).map_or(0, |placement| placement.generation))
    }

    /// The shard of a key.
    pub(crate) fn shard_of(&self, key: &str) -> ShardId {
        // A map from outside may have no shards; its numbers then lead nowhere.
        placement::shard_of(key, u32::try_from(self.shards.len()).unwrap_or(u32::MAX).max(1))
    }

    /// Group 0 and the groups of all shards.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> {
        let shards = (0..u32::try_from(self.shards.len()).unwrap_or(u32::MAX)).map(ShardId);
        [GroupId::META].into_iter().chain(shards.map(|shard| self.group(shard)))
    }

    /// The number of servers without which a group of these voters has no majority.
    pub(crate) fn majority(voters: &[ServerId]) -> usize {
        voters.len() / 2 + 1
    }

    fn holds_nothing(&self, server: ServerId) -> bool {
        self.groups().all(|group| !self.voters(group).contains(&server))
    }

    /// Adds a server in the place of whoever has its address, or changes the address of one that is
    /// there; false if there are too many.
    fn join(&mut self, server: ServerId, address: String) -> bool {
        if let Some(known) = self.servers.get_mut(&server) {
            if *known != address || self.leaving.contains(&server) {
                *known = address;
                self.leaving.remove(&server);
                self.epoch += 1;
            }
            return true;
        }
        if self.servers.len() >= SERVERS_MAX {
            return false;
        }
        let replaced = self.servers.iter().filter(|(_, at)| **at == address).map(|(id, _)| *id);
        self.leaving.extend(replaced);
        self.servers.insert(server, address);
        self.epoch += 1;
        true
    }

    /// Has a server give up what it holds; gives how many stay if that is too few.
    fn leave(&mut self, server: ServerId) -> Result<(), usize> {
        let mut active = self.active();
        if active.remove(&server) {
            if active.len() < self.copies {
                return Err(active.len());
            }
            self.leaving.insert(server);
            self.epoch += 1;
        }
        Ok(())
    }

    /// Notes who holds a group.
    fn moved(&mut self, group: GroupId, voters: Vec<ServerId>) {
        let known = voters.iter().all(|voter| self.servers.contains_key(voter));
        if voters.is_empty() || !known || self.voters(group) == voters {
            return;
        }
        match group.shard() {
            None => self.meta_voters = voters,
            Some(shard) => {
                let held_by = self.group(shard) == group;
                match self.shards.get_mut(shard.0 as usize).filter(|_| held_by) {
                    Some(placement) => placement.voters = voters,
                    None => return,
                }
            }
        }
        self.epoch += 1;
    }

    /// Forgets a server that has left and holds nothing.
    fn forget(&mut self, server: ServerId) {
        if self.leaving.contains(&server) && self.holds_nothing(server) {
            self.leaving.remove(&server);
            self.servers.remove(&server);
            self.epoch += 1;
        }
    }

    /// Has one server alone hold a shard, in a new generation of its group.
    fn recover(&mut self, group: GroupId, survivor: ServerId) {
        let Some(shard) = group.shard().filter(|shard| self.group(*shard) == group) else { return };
        if let Some(placement) = self.shards.get_mut(shard.0 as usize)
            && placement.voters.contains(&survivor)
            && let Some(next) = placement.generation.checked_add(1)
        {
            *placement = Placement { voters: vec![survivor], ready: true, generation: next };
            self.epoch += 1;
        }
    }
}

/// What identifies the content of a file: its 128-bit hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FileHash(pub(crate) u128);

/// How far the load of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// In whose name its lines are put, each of them once. Drawn when it began.
    pub(crate) client: ClientId,
    /// Lines of the file that are done, from its start.
    pub(crate) lines: u64,
    /// Whether the whole file is done.
    pub(crate) finished: bool,
}

/// A change of group 0's state.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MetaCommand {
    /// The cluster is this one. The first one wins.
    Found(ClusterMap),
    /// The shard's log has begun.
    ShardReady(ShardId),
    /// A client is about to load a file.
    BeginLoad {
        /// The file.
        file: FileHash,
        /// In whose name its lines are put, unless it has begun.
        client: ClientId,
        /// Whether what an earlier load did is forgotten.
        anew: bool,
    },
    /// No file was ever loaded.
    ForgetLoads,
    /// The server belongs to the cluster, in the place of another one that had its address; one that
    /// belongs to it already has moved to this address, and stays.
    Join {
        /// The server.
        server: ServerId,
        /// Where it is.
        address: String,
    },
    /// The server is to hold nothing any more.
    Leave(ServerId),
    /// The group has these voters now.
    Moved {
        /// The group.
        group: GroupId,
        /// Its voters, the one that should lead first.
        #[serde(deserialize_with = "message::bounded")]
        voters: Vec<ServerId>,
    },
    /// The server has left.
    Forget(ServerId),
    /// A shard goes on with what one server has of it: the next generation of this group.
    Recover {
        /// The group that lost its majority.
        group: GroupId,
        /// The server.
        survivor: ServerId,
    },
    /// The load of a file has come to this line. Nothing happens if another one has begun meanwhile.
    NoteLoad {
        /// The file.
        file: FileHash,
        /// In whose name the load puts its lines.
        client: ClientId,
        /// Lines done.
        lines: u64,
        /// Set if that is the whole file.
        finished: bool,
    },
}

/// The answer to a [`MetaCommand`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MetaReply {
    /// Done.
    Done,
    /// To [`MetaCommand::BeginLoad`]: how far the load is.
    Load(Load),
    /// The command could not be decoded; nothing was changed.
    Malformed,
    /// To [`MetaCommand::Join`]: there are too many servers.
    TooManyServers,
    /// To [`MetaCommand::Leave`]: so many servers would be left, fewer than there are copies.
    TooFewServers(usize),
}

/// The state of group 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meta {
    /// The cluster, once it is founded.
    pub(crate) map: Option<ClusterMap>,
    loads: BTreeMap<FileHash, Load>,
}

impl Meta {
    fn change(&mut self, command: MetaCommand) -> MetaReply {
        match command {
            MetaCommand::Found(plan) => {
                self.map.get_or_insert(ClusterMap { epoch: 1, ..plan });
                MetaReply::Done
            }
            MetaCommand::ShardReady(shard) => {
                if let Some(map) = &mut self.map
                    && let Some(placement) = map.shards.get_mut(shard.0 as usize)
                    && !placement.ready
                {
                    placement.ready = true;
                    map.epoch += 1;
                }
                MetaReply::Done
            }
            MetaCommand::BeginLoad { file, client, anew } => {
                let fresh = Load { client, lines: 0, finished: false };
                let load = self.loads.entry(file).or_insert(fresh);
                if anew {
                    *load = fresh;
                }
                MetaReply::Load(*load)
            }
            MetaCommand::NoteLoad { file, client, lines, finished } => {
                // A load that began anew goes on under another name.
                let load = self.loads.get_mut(&file).filter(|load| load.client == client);
                if let Some(load) = load {
                    load.lines = load.lines.max(lines);
                    load.finished |= finished;
                }
                MetaReply::Done
            }
            MetaCommand::ForgetLoads => {
                self.loads.clear();
                MetaReply::Done
            }
            MetaCommand::Join { server, address } => {
                let joined = self.map.as_mut().is_none_or(|map| map.join(server, address));
                if joined { MetaReply::Done } else { MetaReply::TooManyServers }
            }
            MetaCommand::Leave(server) => {
                let left = self.map.as_mut().map_or(Ok(()), |map| map.leave(server));
                left.map_or_else(MetaReply::TooFewServers, |()| MetaReply::Done)
            }
            MetaCommand::Moved { group, voters } => {
                self.map.iter_mut().for_each(|map| map.moved(group, voters.clone()));
                MetaReply::Done
            }
            MetaCommand::Forget(server) => {
                self.map.iter_mut().for_each(|map| map.forget(server));
                MetaReply::Done
            }
            MetaCommand::Recover { group, survivor } => {
                self.map.iter_mut().for_each(|map| map.recover(group, survivor));
                MetaReply::Done
            }
        }
    }
}

impl StateMachine for Meta {
    /// Gives an encoded [`MetaReply`].
    fn apply(&mut self, _index: u64, payload: &[u8]) -> Vec<u8> {
        let reply = match message::decode(payload) {
            Ok(command) => self.change(command),
            Err(_) => MetaReply::Malformed,
        };
        message::encode(&reply)
    }

    /// The map, then each load with its file.
    fn write_to<W: Write>(&self, out: &mut SnapshotWriter<W>) -> io::Result<()> {
        out.item(&message::encode(&self.map))?;
        self.loads.iter().try_for_each(|load| out.item(&message::encode(&load)))
    }

    fn read_from<R: Read>(input: &mut SnapshotReader<R>) -> Result<Self, LogError> {
        let map = input.next_item()?.and_then(|item| message::decode(item).ok());
        let mut meta = Self { map: map.ok_or_else(|| input.malformed())?, ..Self::default() };
        while let Some(item) = input.next_item()? {
            let load: Result<(FileHash, Load), _> = message::decode(item);
            let (file, load) = load.map_err(|_| input.malformed())?;
            meta.loads.insert(file, load);
        }
        Ok(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(n: u64) -> ClusterMap {
        let servers = (1..=n).map(|id| (ServerId(id), format!("server{id}"))).collect();
        ClusterMap::plan(ClusterId(1), 2, false, servers)
    }

    #[test]
    fn a_plan_for_two_copies_on_three_servers_puts_every_shard_on_all_three() {
        let plan = plan(3);
        assert_eq!(plan.shards.len(), 8);
        assert!(plan.shards.iter().all(|shard| shard.voters.len() == 3 && !shard.ready));
        assert_eq!(plan.groups().count(), 9);
        assert_eq!(plan.voters(GroupId(0)).len(), 3);
        assert!(plan.voters(GroupId(9)).is_empty());
    }

    #[test]
    fn a_cluster_is_founded_once() {
        let mut meta = Meta::default();
        meta.change(MetaCommand::Found(plan(3)));
        let other = ClusterMap { cluster: ClusterId(2), ..plan(3) };
        meta.change(MetaCommand::Found(other));
        let map = meta.map.as_ref().unwrap();
        assert_eq!((map.cluster, map.epoch), (ClusterId(1), 1));
    }

    #[test]
    fn the_epoch_grows_only_with_a_change() {
        let mut meta = Meta::default();
        meta.change(MetaCommand::Found(plan(3)));
        for shard in [0, 0, 1, 99] {
            meta.change(MetaCommand::ShardReady(ShardId(shard)));
        }
        assert_eq!(meta.map.as_ref().unwrap().epoch, 3);
    }

    #[test]
    fn a_load_belongs_to_the_client_that_began_it_and_never_goes_back() {
        let mut meta = Meta::default();
        let file = FileHash(1);
        let begin = |meta: &mut Meta, client, anew| {
            meta.change(MetaCommand::BeginLoad { file, client: ClientId(client), anew })
        };
        let load = Load { client: ClientId(7), lines: 0, finished: false };
        assert_eq!(begin(&mut meta, 7, false), MetaReply::Load(load));
        assert_eq!(begin(&mut meta, 8, false), MetaReply::Load(load));
        let client = ClientId(7);
        meta.change(MetaCommand::NoteLoad { file, client, lines: 10, finished: true });
        meta.change(MetaCommand::NoteLoad { file, client, lines: 5, finished: false });
        let done = Load { lines: 10, finished: true, ..load };
        assert_eq!(begin(&mut meta, 9, false), MetaReply::Load(done));
        let anew = Load { client: ClientId(9), ..load };
        assert_eq!(begin(&mut meta, 9, true), MetaReply::Load(anew));
        meta.change(MetaCommand::ForgetLoads);
        let forgotten = Load { client: ClientId(10), ..load };
        assert_eq!(begin(&mut meta, 10, false), MetaReply::Load(forgotten));
    }

    /// A founded cluster of this many servers, all of whose shards have begun.
    fn founded(servers: u64) -> Meta {
        let mut meta = Meta::default();
        meta.change(MetaCommand::Found(plan(servers)));
        for shard in 0..8 {
            meta.change(MetaCommand::ShardReady(ShardId(shard)));
        }
        meta
    }

    fn join(meta: &mut Meta, server: u64, address: &str) -> MetaReply {
        meta.change(MetaCommand::Join { server: ServerId(server), address: address.into() })
    }

    /// Carries out all moves at once.
    fn settle(meta: &mut Meta) {
        for (group, voters) in meta.map.as_ref().unwrap().moves() {
            meta.change(MetaCommand::Moved { group, voters });
        }
        for server in meta.map.clone().unwrap().leaving {
            meta.change(MetaCommand::Forget(server));
        }
    }

    #[test]
    fn a_map_that_was_founded_wants_nothing_else() {
        for servers in 1..9 {
            let meta = founded(servers);
            let map = meta.map.as_ref().unwrap();
            assert!(map.is_valid() && map.moves().is_empty(), "{servers} servers");
        }
    }

    #[test]
    fn a_server_that_joins_gets_a_share_and_one_that_leaves_holds_nothing() {
        let mut meta = founded(3);
        assert_eq!(join(&mut meta, 9, "server9"), MetaReply::Done);
        assert!(!meta.map.as_ref().unwrap().moves().is_empty());
        settle(&mut meta);
        let map = meta.map.clone().unwrap();
        assert!(map.is_valid() && map.moves().is_empty());
        let held = map.groups().filter(|group| map.voters(*group).contains(&ServerId(9))).count();
        assert!((2..=8).contains(&held), "{held}");

        meta.change(MetaCommand::Leave(ServerId(1)));
        // It is there for as long as it holds something.
        meta.change(MetaCommand::Forget(ServerId(1)));
        assert!(meta.map.as_ref().unwrap().servers.contains_key(&ServerId(1)));
        settle(&mut meta);
        let map = meta.map.clone().unwrap();
        assert!(map.is_valid() && map.moves().is_empty());
        assert_eq!(map.servers.keys().map(|id| id.0).collect::<Vec<_>>(), [2, 3, 9]);
    }

    #[test]
    fn who_joins_at_the_address_of_another_takes_its_place() {
        let mut meta = founded(3);
        join(&mut meta, 9, "server2");
        let map = meta.map.clone().unwrap();
        assert_eq!(map.leaving, [ServerId(2)].into());
        assert!(map.is_superseded(ServerId(2)) && !map.is_superseded(ServerId(9)));
        settle(&mut meta);
        let map = meta.map.unwrap();
        assert_eq!(map.servers.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 3, 9]);
        assert!(map.groups().all(|group| map.voters(group).contains(&ServerId(9))));
    }

    #[test]
    fn a_member_that_joins_has_moved_and_takes_nobodys_place() {
        let mut meta = founded(3);
        let epoch = meta.map.as_ref().unwrap().epoch;
        join(&mut meta, 2, "server2");
        assert_eq!(meta.map.as_ref().unwrap().epoch, epoch);
        join(&mut meta, 2, "server3");
        let map = meta.map.as_ref().unwrap();
        assert_eq!((map.epoch, map.servers.len(), map.leaving.len()), (epoch + 1, 3, 0));
        assert_eq!(map.servers[&ServerId(2)], "server3");
    }

    #[test]
    fn no_more_servers_leave_than_copies_allow() {
        let mut meta = founded(3);
        assert_eq!(meta.change(MetaCommand::Leave(ServerId(7))), MetaReply::Done);
        assert_eq!(meta.change(MetaCommand::Leave(ServerId(1))), MetaReply::Done);
        assert_eq!(meta.change(MetaCommand::Leave(ServerId(1))), MetaReply::Done);
        assert_eq!(meta.change(MetaCommand::Leave(ServerId(2))), MetaReply::TooFewServers(1));
        // Whoever comes back stays.
        join(&mut meta, 1, "server1");
        assert!(meta.map.as_ref().unwrap().leaving.is_empty());
    }

    #[test]
    fn a_recovered_shard_is_another_group_and_old_moves_do_not_touch_it() {
        let mut meta = founded(3);
        let old = GroupId::of(ShardId(2), 0);
        let unknown = MetaCommand::Recover { group: old, survivor: ServerId(7) };
        meta.change(unknown);
        assert_eq!(meta.map.as_ref().unwrap().group(ShardId(2)), old);
        meta.change(MetaCommand::Recover { group: old, survivor: ServerId(3) });
        let new = meta.map.as_ref().unwrap().group(ShardId(2));
        assert_eq!((new.shard(), new.generation()), (Some(ShardId(2)), 1));
        assert_eq!(meta.map.as_ref().unwrap().voters(new), [ServerId(3)]);
        let epoch = meta.map.as_ref().unwrap().epoch;
        meta.change(MetaCommand::Moved { group: old, voters: vec![ServerId(1)] });
        meta.change(MetaCommand::Recover { group: old, survivor: ServerId(3) });
        let map = meta.map.as_ref().unwrap();
        assert_eq!((map.epoch, map.group(ShardId(2))), (epoch, new));
        assert_eq!(map.moves()[&new].len(), 3, "it gets its other copies again");
    }

    #[test]
    fn what_cannot_be_a_map_is_none() {
        let meta = founded(3);
        let map = meta.map.unwrap();
        let stranger = ServerId(77);
        let mut twice = map.clone();
        twice.shards[0].voters = vec![ServerId(1), ServerId(1)];
        let mut nobody = map.clone();
        nobody.shards[0].voters.clear();
        let mut crowded = map.clone();
        crowded.shards = vec![map.shards[0].clone(); 4000];
        let wrong = [
            ClusterMap { servers: [].into(), ..map.clone() },
            ClusterMap { meta_voters: vec![stranger], ..map.clone() },
            ClusterMap { leaving: [stranger].into(), ..map.clone() },
            ClusterMap { shards: vec![], ..map.clone() },
            ClusterMap { silent: (0..1024).map(|n| n.to_string()).collect(), ..map.clone() },
            // A plan is what it is planned to be.
            ClusterMap { epoch: 0, ..map.clone() },
            twice,
            nobody,
            crowded,
        ];
        assert!(map.is_valid() && wrong.iter().all(|map| !map.is_valid()));
    }
}

//! Group 0: the servers, the shards and who holds them, and which files were loaded.
//!
//! It is a replicated state machine like a shard. Its leader carries out what the state asks for
//! (see [`super::server`]), so that a broker may die at any time.

use std::collections::BTreeMap;
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
    /// Every server's address, as the broker that founded the cluster reaches it.
    pub(crate) servers: Addresses,
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
}

impl ClusterMap {
    /// The plan of a new cluster of these servers: shards and their places.
    pub(crate) fn plan(cluster: ClusterId, copies: usize, servers: Addresses) -> Self {
        let ids = servers.keys().copied().collect();
        let voters = placement::voter_count(copies, servers.len());
        let shards = (0..placement::shard_count(servers.len()))
            .map(|shard| Placement {
                voters: placement::place(ShardId(shard), &ids, voters),
                ready: false,
            })
            .collect();
        let meta_voters = placement::meta_voters(&ids);
        Self { cluster, epoch: 0, copies, servers, meta_voters, shards }
    }

    /// Whether it is what [`ClusterMap::plan`] makes of its servers, apart from what has become of
    /// it since.
    pub(crate) fn is_planned(&self) -> bool {
        if self.servers.is_empty() || self.servers.len() > SERVERS_MAX {
            return false;
        }
        let plan = Self::plan(self.cluster, self.copies, self.servers.clone());
        let voters = |map: &Self| -> Vec<_> {
            map.shards.iter().map(|shard| shard.voters.clone()).collect()
        };
        plan.meta_voters == self.meta_voters && voters(&plan) == voters(self)
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

    /// The shard of a key.
    pub(crate) fn shard_of(&self, key: &str) -> ShardId {
        // A map from outside may have no shards; its numbers then lead nowhere.
        placement::shard_of(key, u32::try_from(self.shards.len()).unwrap_or(u32::MAX).max(1))
    }

    /// Group 0 and all shards.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> {
        (0..=u32::try_from(self.shards.len()).unwrap_or(u32::MAX)).map(GroupId)
    }

    /// The number of servers without which a group of these voters has no majority.
    pub(crate) fn majority(voters: &[ServerId]) -> usize {
        voters.len() / 2 + 1
    }
}

/// What identifies the content of a file: its 128-bit hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FileHash(pub(crate) u128);

/// How far the load of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// The client that began it.
    pub(crate) begun_by: ClientId,
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
        /// The client.
        client: ClientId,
        /// Whether what an earlier load did is forgotten.
        anew: bool,
    },
    /// A client has loaded a file up to this line.
    AdvanceLoad {
        /// The file.
        file: FileHash,
        /// Lines done.
        lines: u64,
        /// Whether that is the whole file.
        finished: bool,
    },
    /// No file was ever loaded.
    ForgetLoads,
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
                let fresh = Load { begun_by: client, lines: 0, finished: false };
                let load = self.loads.entry(file).or_insert(fresh);
                if anew {
                    *load = fresh;
                }
                MetaReply::Load(*load)
            }
            MetaCommand::AdvanceLoad { file, lines, finished } => {
                if let Some(load) = self.loads.get_mut(&file) {
                    load.lines = load.lines.max(lines);
                    load.finished |= finished;
                }
                MetaReply::Done
            }
            MetaCommand::ForgetLoads => {
                self.loads.clear();
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
        ClusterMap::plan(ClusterId(1), 2, servers)
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
        let load = Load { begun_by: ClientId(7), lines: 0, finished: false };
        assert_eq!(begin(&mut meta, 7, false), MetaReply::Load(load));
        assert_eq!(begin(&mut meta, 8, false), MetaReply::Load(load));
        meta.change(MetaCommand::AdvanceLoad { file, lines: 10, finished: true });
        meta.change(MetaCommand::AdvanceLoad { file, lines: 5, finished: false });
        let done = Load { lines: 10, finished: true, ..load };
        assert_eq!(begin(&mut meta, 9, false), MetaReply::Load(done));
        let anew = Load { begun_by: ClientId(9), ..load };
        assert_eq!(begin(&mut meta, 9, true), MetaReply::Load(anew));
        meta.change(MetaCommand::ForgetLoads);
        let forgotten = Load { begun_by: ClientId(10), ..load };
        assert_eq!(begin(&mut meta, 10, false), MetaReply::Load(forgotten));
    }
}

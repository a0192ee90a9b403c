//! Logs and snapshots of groups through restarts, crashes and power cuts.

use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::impls::leader_id_adv::LeaderId;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::{EntryPayload, LogId, Membership, RaftLogReader, Vote};

use super::group_log::GroupLog;
use super::machine::Machine;
use super::{Payload, Storage, Types};
use crate::log::{Disk, LogError, LogOptions, MemoryDisk};
use crate::parser::{Command, Condition};
use crate::replication::message;
use crate::replication::shard::{Batch, Shard};
use crate::replication::{ClientId, GroupId};
use crate::value;

mod crash;
mod given_up;
mod group;
mod log;
mod panics;
mod sending;
mod snapshot;

const GROUP: GroupId = GroupId(3);

/// Ways to lose what was not synced: all of it, nothing (the process was killed), and parts of it.
const CUTS: [u64; 5] = [0, u64::MAX, 1, 2, 3];

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test)
}

fn open(disk: &MemoryDisk) -> Result<Storage, LogError> {
    Storage::open(Arc::new(disk.clone()) as Arc<dyn Disk>, LogOptions::default())
}

fn id(term: u64, index: u64) -> LogIdOf<Types> {
    LogId::new(LeaderId { term, node_id: 1 }, index)
}

fn vote(term: u64) -> VoteOf<Types> {
    Vote { leader_id: LeaderId { term, node_id: 1 }, committed: false }
}

/// The entry that puts a record of its own: the state after n entries has n - 1 records.
fn entry(term: u64, index: u64) -> EntryOf<Types> {
    if index == 0 {
        let payload = EntryPayload::Membership(Membership::new_with_defaults(vec![[1].into()], []));
        return EntryOf::<Types>::new(id(term, index), payload);
    }
    let command = Command::Put {
        key: format!("key{index}"),
        value: value!({ "n": (i64::try_from(index).unwrap()) }),
        condition: Condition::Always,
    };
    let batch = Batch {
        client: ClientId(index % 3),
        sequence: index,
        acknowledged: index.saturating_sub(3),
        commands: vec![command],
    };
    let payload = EntryPayload::Normal(Payload(message::encode(&batch).into()));
    EntryOf::<Types>::new(id(term, index), payload)
}

/// Appends and waits until that is durable.
async fn append(log: &mut GroupLog, entries: Vec<EntryOf<Types>>) -> std::io::Result<()> {
    let (sender, receiver) = Types::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await?;
    receiver.await.unwrap()
}

async fn apply(machine: &mut Machine<Shard>, entries: Vec<EntryOf<Types>>) {
    let entries = entries.into_iter().map(|entry| Ok((entry, None)));
    machine.apply(futures_util::stream::iter(entries)).await.unwrap();
}

async fn entries(log: &mut GroupLog) -> Vec<EntryOf<Types>> {
    log.try_get_log_entries(..).await.unwrap()
}

/// Checks that the state is that of the first `count` entries.
fn assert_state(machine: &Machine<Shard>, count: u64) {
    let state = machine.read();
    assert_eq!(state.last.map_or(0, |last| last.index + 1), count);
    let documents = &state.content.documents;
    assert_eq!(documents.len() as u64, count.saturating_sub(1));
    assert_eq!(documents.version(), count.saturating_sub(1));
    assert!((1..count).all(|index| documents.get(&format!("key{index}")).is_some()));
}

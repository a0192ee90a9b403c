//! Whole groups: restarts, snapshots that are due, and a log that fails.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use super::*;
use crate::log::Directory;
use crate::replication::peers::{Acquaintances, Myself, Peers};
use crate::replication::raft::{Group, GroupError, Settings, Timing};
use crate::replication::{ClusterId, RunId, ServerId};
use crate::transport::ChannelTransport;

const SERVER: ServerId = ServerId(1);

/// The peers of a server in its first run.
pub(super) fn peers_over(
    server: ServerId,
    transport: ChannelTransport,
) -> Arc<Peers<ChannelTransport>> {
    let (runs, standings) = (vec![RunId(1)], Vec::new());
    let me = Myself { server, runs, standings, accept_past: false };
    Arc::new(Peers::new(me, Acquaintances::default(), Arc::new(transport)))
}

fn peers(server: ServerId) -> Arc<Peers<ChannelTransport>> {
    peers_over(server, ChannelTransport::new().named("server"))
}

/// Starts a replica on another server.
pub(super) async fn start_on(server: ServerId, storage: &Storage) -> Group<Shard> {
    let settings = Settings { timing: Timing::default(), snapshot_entries: 1000 };
    Group::start(GROUP, ClusterId(1), peers(server), settings, storage).await.unwrap()
}

pub(super) async fn start(
    storage: &Storage,
    snapshot_entries: u64,
) -> Result<Group<Shard>, GroupError> {
    start_as(GROUP, storage, snapshot_entries).await
}

pub(super) async fn start_as(
    id: GroupId,
    storage: &Storage,
    snapshot_entries: u64,
) -> Result<Group<Shard>, GroupError> {
    let timing = Timing::default();
    let settings = Settings { timing, snapshot_entries };
    Group::start(id, ClusterId(1), peers(SERVER), settings, storage).await
}

/// Starts the only replica of a group, and waits until it leads.
pub(super) async fn lead(storage: &Storage, snapshot_entries: u64) -> Group<Shard> {
    storage.create_group(GROUP).await.unwrap();
    let group = start(storage, snapshot_entries).await.unwrap();
    group.initialize(&[SERVER]).await.unwrap();
    // What it waits for may happen while it is refused.
    let mut metrics = group.raft.metrics();
    while propose(&group, 0).await.is_err() {
        let changed = tokio::time::timeout(Duration::from_millis(50), metrics.changed()).await;
        assert!(!matches!(changed, Ok(Err(_))), "the group has stopped");
    }
    group
}

/// Puts a record; one that is put again has no effect but that it grows the log.
pub(super) async fn propose(group: &Group<Shard>, n: u64) -> Result<Vec<u8>, GroupError> {
    let EntryPayload::Normal(Payload(payload)) = entry(1, n + 1).payload else { unreachable!() };
    let deadline = Instant::now() + Duration::from_secs(10);
    group.propose(payload.to_vec(), deadline).await
}

pub(super) fn records(group: &Group<Shard>) -> usize {
    group.applied().state().documents.len()
}

/// Waits until the group's log begins past entry `index`.
async fn purged_past(group: &Group<Shard>, index: u64) {
    let mut metrics = group.raft.metrics();
    while metrics.borrow_watched().purged.is_none_or(|purged| purged.index < index) {
        metrics.changed().await.unwrap();
    }
}

#[test]
fn a_replica_has_after_a_restart_what_it_acknowledged() {
    run(async {
        let disk = MemoryDisk::new();
        for round in 0..4 {
            let storage = open(&disk).unwrap();
            let group = lead(&storage, 1000).await;
            for n in 0..20 {
                propose(&group, round * 20 + n).await.unwrap();
            }
            assert_eq!(records(&group) as u64, (round + 1) * 20);
            if round == 1 {
                assert!(group.snapshot().await.unwrap());
                assert!(!group.snapshot().await.unwrap());
            }
            // The group has no time to stop.
            disk.power_cut(round);
            group.stop().await;
        }
        let storage = open(&disk).unwrap();
        assert_eq!(storage.groups(), [GROUP]);
        let group = lead(&storage, 1000).await;
        assert_eq!(records(&group), 80);
        group.stop().await;
    });
}

#[test]
fn a_group_makes_snapshots_by_itself_and_drops_the_entries_before() {
    run(async {
        for storage in [Storage::in_memory(), open(&MemoryDisk::new()).unwrap()] {
            let group = lead(&storage, 40).await;
            for n in 0..100 {
                propose(&group, n).await.unwrap();
            }
            purged_past(&group, 60).await;
            group.stop().await;
            // On the same storage it goes on where it was.
            let group = lead(&storage, 40).await;
            assert_eq!(records(&group), 100);
            group.stop().await;
        }
    });
}

#[test]
fn a_snapshot_that_finds_the_disk_full_stops_nothing() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let group = lead(&storage, 50).await;
        // What is there and a little: the log has room of its own.
        let used: usize =
            disk.list().unwrap().iter().map(|name| disk.read(name).unwrap().len()).sum();
        disk.set_capacity(Some(used as u64));
        for n in 0..60 {
            propose(&group, n).await.unwrap();
        }
        assert!(matches!(group.snapshot().await, Err(LogError::Full { .. })));
        assert_eq!(group.machine.newest(), None);
        disk.set_capacity(None);
        purged_past(&group, 30).await;
        propose(&group, 60).await.unwrap();
        assert_eq!(records(&group), 61);
        group.stop().await;
    });
}

#[test]
fn a_group_whose_log_fails_acknowledges_nothing_and_stops() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let group = lead(&storage, 1000).await;
        propose(&group, 0).await.unwrap();
        let report = group.report(Duration::from_secs(1));
        assert!(report.runs && report.leads, "{report:?}");
        assert_eq!((report.leader, report.voters), (Some(SERVER), vec![SERVER]));
        assert_eq!(report.committed, Some(report.applied.index));
        assert_eq!((report.learners, report.followers), (vec![], vec![]));
        disk.fail(crate::log::Fault::Sync { operation: disk.operations() });
        assert!(matches!(propose(&group, 1).await, Err(GroupError::Unknown)));
        storage.failure().noted().await;
        assert!(propose(&group, 2).await.is_err());
        group.stop().await;
        let report = group.report(Duration::from_secs(1));
        assert!(!report.runs && !report.leads, "{report:?}");
        drop((group, storage));
        disk.power_cut(0);
        let group = lead(&open(&disk).unwrap(), 1000).await;
        assert_eq!(records(&group), 1);
        group.stop().await;
    });
}

#[test]
fn a_group_with_a_damaged_snapshot_does_not_start() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let group = lead(&storage, 1000).await;
        propose(&group, 0).await.unwrap();
        assert!(group.snapshot().await.unwrap());
        group.stop().await;
        drop((group, storage));
        assert!(disk.flip_bit("group-3.snapshot", 300));
        let refused = start(&open(&disk).unwrap(), 1000).await.unwrap_err();
        assert!(matches!(refused, GroupError::Log(LogError::Corrupt { .. })), "{refused:?}");
    });
}

#[test]
fn a_stopped_group_and_a_closed_storage_let_go_of_the_directory() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        for round in 1..=3 {
            let disk = Arc::new(Directory::open(folder.path()).unwrap());
            let storage = Storage::open(disk, LogOptions::default()).unwrap();
            let group = lead(&storage, 4).await;
            for n in 0..10 {
                propose(&group, round * 10 + n).await.unwrap();
            }
            group.stop().await;
            storage.close();
            // Not dropped yet: some task of the library may still have a clone of it, too.
            assert!(matches!(group.snapshot().await, Ok(false) | Err(_)));
            assert!(storage.create_group(GroupId(7)).await.is_err());
            assert!(storage.disk().is_err());
        }
        Directory::open(folder.path()).unwrap();
    });
}

#[test]
fn a_group_that_stops_gives_up_the_snapshot_that_it_writes() {
    run(async {
        let storage = Storage::in_memory();
        let group = lead(&storage, 1000).await;
        propose(&group, 1).await.unwrap();
        group.stop().await;
        assert!(matches!(group.snapshot().await, Err(LogError::Io { .. })));
        assert_eq!(storage.disk().unwrap().list().unwrap(), [] as [String; 0]);
    });
}

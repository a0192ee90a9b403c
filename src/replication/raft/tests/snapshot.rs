//! Snapshots that are written here or sent by others, through crashes, damage and full disks.

use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use openraft::StorageHelper;
use openraft::storage::Snapshot;
use openraft::type_config::alias::SnapshotOf;

use super::*;
use crate::log::{DiskFile, Fault};
use crate::replication::raft::machine::SnapshotData;
use crate::replication::raft::wire::{WireSnapshotMeta, WireVote};

const SNAPSHOT: &str = "group-3.snapshot";

fn some(indices: Range<u64>) -> Vec<EntryOf<Types>> {
    indices.map(|index| entry(1, index)).collect()
}

/// A machine with the first entries applied, and its snapshot.
pub(super) async fn machine_with_snapshot(storage: &Storage, count: u64) -> Machine<Shard> {
    let mut machine = Machine::open(GROUP, storage).unwrap();
    apply(&mut machine, some(0..count)).await;
    assert!(machine.write_snapshot().unwrap());
    machine
}

/// What another replica would send of the first entries, and under which vote.
async fn sent(count: u64) -> ((WireVote, WireSnapshotMeta), Vec<u8>) {
    let mut machine = machine_with_snapshot(&Storage::in_memory(), count).await;
    let Snapshot { meta, snapshot }: SnapshotOf<Types, SnapshotData> =
        machine.get_current_snapshot().await.unwrap().unwrap();
    let bytes = snapshot.part(0, u64::MAX).unwrap();
    assert_eq!(bytes.len() as u64, snapshot.len());
    (((&vote(7)).into(), (&meta).into()), bytes)
}

/// Has a snapshot arrive in parts and be installed, as far as that works.
async fn receive(
    machine: &mut Machine<Shard>,
    of: &(WireVote, WireSnapshotMeta),
    bytes: &[u8],
) -> io::Result<bool> {
    let mut offset = 0;
    for part in bytes.chunks(700) {
        if !machine.take_part(of.clone(), offset, part.to_vec()).await {
            return Ok(false);
        }
        offset += part.len() as u64;
    }
    let Some(arrived) = machine.finish_arriving(of.clone(), offset).await else {
        return Ok(false);
    };
    machine.install_snapshot(&of.1.clone().into(), Arc::clone(&arrived.file)).await?;
    Ok(true)
}

#[test]
fn a_snapshot_has_documents_sessions_and_membership() {
    run(async {
        let disk = MemoryDisk::new();
        let mut machine = machine_with_snapshot(&open(&disk).unwrap(), 9).await;
        disk.power_cut(0);
        let mut again = Machine::<Shard>::open(GROUP, &open(&disk).unwrap()).unwrap();
        assert_state(&again, 9);
        assert_eq!(again.applied_state().await.unwrap(), machine.applied_state().await.unwrap());
        // The batch of the last entry, once more: the session knows it.
        let repeated = EntryOf::<Types>::new(id(1, 9), entry(1, 8).payload);
        apply(&mut again, vec![repeated]).await;
        assert_eq!(again.read().content.documents.version(), 8);
    });
}

#[test]
fn there_is_no_snapshot_of_nothing_and_no_second_one_of_the_same() {
    run(async {
        let storage = Storage::in_memory();
        let mut machine = Machine::<Shard>::open(GROUP, &storage).unwrap();
        assert!(!machine.write_snapshot().unwrap());
        assert!(machine.try_create_snapshot_builder(false).await.is_none());
        apply(&mut machine, some(0..3)).await;
        assert!(machine.write_snapshot().unwrap());
        assert!(!machine.write_snapshot().unwrap());
        assert!(machine.try_create_snapshot_builder(false).await.is_some());
    });
}

/// A group that appends, applies, makes snapshots and purges; how many entries were acknowledged.
async fn act(disk: &MemoryDisk, cut: u64) -> u64 {
    let mut acknowledged = 0;
    let _: Result<(), Box<dyn std::error::Error>> = async {
        let storage = open(disk)?;
        let mut log = GroupLog::new(GROUP, &storage);
        let mut machine = Machine::<Shard>::open(GROUP, &storage)?;
        log.save_vote(&vote(1)).await?;
        for step in 0..3 {
            let indices = step * 10..(step + 1) * 10;
            append(&mut log, some(indices.clone())).await?;
            acknowledged = indices.end;
            log.save_committed(Some(id(1, indices.end - 3))).await?;
            apply(&mut machine, some(indices.start..indices.end - 2)).await;
            machine.write_snapshot()?;
            log.purge(id(1, indices.end - 5)).await?;
            apply(&mut machine, some(indices.end - 2..indices.end)).await;
        }
        // While the log is open: closing it would write what is left.
        disk.power_cut(cut);
        Ok(())
    }
    .await;
    disk.power_cut(cut);
    acknowledged
}

#[test]
fn log_and_snapshot_have_all_that_was_acknowledged_after_a_crash_at_any_operation() {
    run(async {
        let operations = {
            let disk = MemoryDisk::new();
            assert_eq!(act(&disk, 0).await, 30);
            disk.operations()
        };
        for operation in 0..operations {
            for cut in CUTS {
                let disk = MemoryDisk::new();
                disk.fail(Fault::Crash { operation, seed: cut });
                let acknowledged = act(&disk, cut).await;
                let what = format!("crash at operation {operation}, power cut {cut}");
                let storage = open(&disk).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let machine = Machine::open(GROUP, &storage);
                let mut machine = machine.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let mut log = GroupLog::new(GROUP, &storage);
                StorageHelper::new(&mut log, &mut machine)
                    .with_id(1)
                    .get_initial_state()
                    .await
                    .unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let rest = machine.read().last.map_or(0, |last| last.index + 1);
                let rest = log.try_get_log_entries(rest..).await.unwrap();
                apply(&mut machine, rest).await;
                let found = machine.read().last.map_or(0, |last| last.index + 1);
                assert!(found >= acknowledged, "{what}: {found} of {acknowledged}");
                assert_state(&machine, found);
                // It can go on, and make another snapshot.
                append(&mut log, vec![entry(1, found)]).await.unwrap();
                apply(&mut machine, vec![entry(1, found)]).await;
                assert!(machine.write_snapshot().unwrap(), "{what}");
            }
        }
    });
}

#[test]
fn a_snapshot_arrives_in_order_or_not_at_all() {
    run(async {
        let storage = Storage::in_memory();
        let mut machine = machine_with_snapshot(&storage, 4).await;
        let (of, bytes) = sent(9).await;
        let other = ((&vote(8)).into(), of.1.clone());
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        let at = head.len() as u64;
        assert!(!machine.take_part(of.clone(), at, tail.to_vec()).await);
        assert!(machine.take_part(of.clone(), 0, head.to_vec()).await);
        assert!(machine.finish_arriving(of.clone(), bytes.len() as u64).await.is_none());
        assert!(!machine.take_part(other.clone(), at, tail.to_vec()).await);
        assert!(!machine.take_part(of.clone(), at + 1, tail.to_vec()).await);
        assert!(machine.take_part(of.clone(), at, tail.to_vec()).await);
        assert!(machine.finish_arriving(other, bytes.len() as u64).await.is_none());
        let arrived = machine.finish_arriving(of.clone(), bytes.len() as u64).await.unwrap();
        // None arrives while this one may be installed.
        assert!(!machine.take_part(of.clone(), 0, head.to_vec()).await);
        assert_state(&machine, 4);
        let meta = of.1.clone().into();
        machine.install_snapshot(&meta, Arc::clone(&arrived.file)).await.unwrap();
        drop(arrived);
        assert_state(&machine, 9);
        assert_state(&Machine::open(GROUP, &storage).unwrap(), 9);
        // One that is not installed after all is removed, and another can arrive.
        assert!(receive(&mut machine, &sent(12).await.0, &sent(12).await.1).await.unwrap());
        assert!(machine.take_part(of.clone(), 0, bytes.clone()).await);
        drop(machine.finish_arriving(of.clone(), bytes.len() as u64).await.unwrap());
        assert_eq!(storage.disk().unwrap().list().unwrap(), [SNAPSHOT]);
        assert_state(&Machine::open(GROUP, &storage).unwrap(), 12);
    });
}

/// A disk on which a snapshot is begun only once somebody lets it.
#[derive(Debug)]
struct Gated {
    disk: MemoryDisk,
    begun: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Disk for Gated {
    fn location(&self) -> String {
        self.disk.location()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if name == "group-3.snapshot.new" {
            self.begun.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }
}

#[test]
fn an_older_snapshot_never_takes_the_place_of_a_newer_one() {
    run(async {
        let disk = MemoryDisk::new();
        let ((begun, is_begun), (let_go_on, go_on)) = (channel(), channel());
        let gated = Gated { disk: disk.clone(), begun, go_on: Mutex::new(go_on) };
        let storage = Storage::open(Arc::new(gated), LogOptions::default()).unwrap();
        let mut machine = Machine::<Shard>::open(GROUP, &storage).unwrap();
        apply(&mut machine, some(0..4)).await;
        // While ours is being written, the other is installed.
        let writing = machine.clone();
        let writing = std::thread::spawn(move || writing.write_snapshot().unwrap());
        is_begun.recv().unwrap();
        let (of, bytes) = sent(9).await;
        assert!(receive(&mut machine, &of, &bytes).await.unwrap());
        let_go_on.send(()).unwrap();
        assert!(!writing.join().unwrap());
        assert_state(&machine, 9);
        assert_eq!(machine.newest(), Some(id(1, 8)));
        disk.power_cut(0);
        assert_eq!(disk.read(SNAPSHOT), Some(bytes));
        assert_state(&Machine::open(GROUP, &open(&disk).unwrap()).unwrap(), 9);
    });
}

#[test]
fn damaged_snapshots_are_neither_installed_nor_loaded() {
    run(async {
        let (of, bytes) = sent(5).await;
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let mut machine = machine_with_snapshot(&storage, 2).await;
        let older = disk.read(SNAPSHOT).unwrap();
        for len in 0..bytes.len() {
            assert!(!receive(&mut machine, &of, &bytes[..len]).await.unwrap(), "{len} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(!receive(&mut machine, &of, &damaged).await.unwrap(), "byte {at}");
            disk.write(SNAPSHOT, &damaged);
            let refused = Machine::<Shard>::open(GROUP, &storage).unwrap_err();
            let seen = matches!(refused, LogError::Corrupt { .. } | LogError::Version { .. });
            assert!(seen, "byte {at}: {refused:?}");
        }
        // Whole, but of something else than was said.
        let (other, _) = sent(6).await;
        assert!(!receive(&mut machine, &other, &bytes).await.unwrap());
        assert_state(&machine, 2);
        disk.write(SNAPSHOT, &older);
        assert_state(&Machine::open(GROUP, &storage).unwrap(), 2);
        assert!(receive(&mut machine, &of, &bytes).await.unwrap());
        assert_state(&machine, 5);
    });
}

#[test]
fn a_crash_while_a_snapshot_arrives_leaves_the_old_one_or_the_new_one() {
    run(async {
        let (of, bytes) = sent(30).await;
        let start = |disk: &MemoryDisk| {
            let storage = open(disk).unwrap();
            (Machine::<Shard>::open(GROUP, &storage).unwrap(), storage)
        };
        let prepared = || async {
            let disk = MemoryDisk::new();
            let (mut machine, storage) = start(&disk);
            let mut log = GroupLog::new(GROUP, &storage);
            append(&mut log, some(0..4)).await.unwrap();
            apply(&mut machine, some(0..4)).await;
            assert!(machine.write_snapshot().unwrap());
            (disk, machine, log)
        };
        let operations = {
            let (disk, mut machine, mut log) = prepared().await;
            let before = disk.operations();
            assert!(receive(&mut machine, &of, &bytes).await.unwrap());
            log.purge(id(1, 29)).await.unwrap();
            log.save_vote(&vote(8)).await.unwrap();
            before..disk.operations()
        };
        let mut installed = 0;
        for operation in operations {
            for cut in CUTS {
                let what = format!("crash at operation {operation}, power cut {cut}");
                let (disk, mut machine, mut log) = prepared().await;
                disk.fail(Fault::Crash { operation, seed: cut });
                let received = receive(&mut machine, &of, &bytes).await;
                if matches!(received, Ok(true)) {
                    log.purge(id(1, 29)).await.unwrap();
                    let _ = log.save_vote(&vote(8)).await;
                }
                disk.power_cut(cut);
                drop((machine, log));
                let (mut machine, storage) = start(&disk);
                let mut log = GroupLog::new(GROUP, &storage);
                let mut helper = StorageHelper::new(&mut log, &mut machine).with_id(1);
                helper.get_initial_state().await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
                let count = machine.read().last.map_or(0, |last| last.index + 1);
                assert!(count == 4 || count == 30, "{what}: {count}");
                assert!(count == 30 || !matches!(received, Ok(true)), "{what}");
                installed += usize::from(count == 30);
                assert_state(&machine, count);
                assert!(receive(&mut machine, &of, &bytes).await.unwrap(), "{what}");
                assert_state(&machine, 30);
            }
        }
        assert!(installed > 0);
    });
}

#[test]
fn a_full_disk_or_a_failed_sync_leaves_the_snapshot_before() {
    run(async {
        let disk = MemoryDisk::new();
        let mut machine = machine_with_snapshot(&open(&disk).unwrap(), 4).await;
        apply(&mut machine, some(4..30)).await;
        let (of, bytes) = sent(40).await;
        disk.set_capacity(Some(0));
        assert!(matches!(machine.write_snapshot(), Err(LogError::Full { .. })));
        assert!(!receive(&mut machine, &of, &bytes).await.unwrap());
        disk.set_capacity(None);
        disk.fail(Fault::Sync { operation: disk.operations() });
        assert!(matches!(machine.write_snapshot(), Err(LogError::Io { .. })));
        disk.fail(Fault::Sync { operation: disk.operations() });
        assert!(!receive(&mut machine, &of, &bytes).await.unwrap());
        let names = disk.list().unwrap();
        assert!(names.iter().all(|name| !name.contains(".new")), "{names:?}");
        assert_eq!(machine.newest(), Some(id(1, 3)));
        assert!(machine.write_snapshot().unwrap());
        disk.power_cut(0);
        assert_state(&Machine::open(GROUP, &open(&disk).unwrap()).unwrap(), 30);
    });
}

#[test]
fn a_snapshot_can_be_sent_on_after_another_took_its_place() {
    run(async {
        let mut machine = machine_with_snapshot(&Storage::in_memory(), 4).await;
        let sending = machine.get_current_snapshot().await.unwrap().unwrap().snapshot;
        let bytes = sending.part(0, u64::MAX).unwrap();
        apply(&mut machine, some(4..9)).await;
        assert!(machine.write_snapshot().unwrap());
        assert_eq!(sending.part(0, u64::MAX).unwrap(), bytes);
        assert_eq!(sending.part(10, 5).unwrap(), bytes[10..15]);
        let (_, shard) = sending.read::<Shard>().unwrap();
        assert_eq!(shard.documents.len(), 3);
    });
}

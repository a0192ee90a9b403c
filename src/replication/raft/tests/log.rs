//! What openraft asks of a log, and what a log is after it was closed and opened.

use futures_util::TryStreamExt;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::*;
use crate::log::{Damage, Directory};
use crate::replication::ServerFailure;

enum Kind {
    Memory,
    MemoryDisk,
    Directory,
}

impl StoreBuilder<Types, GroupLog, Machine<Shard>, Option<tempfile::TempDir>> for Kind {
    async fn build(
        &self,
    ) -> Result<(Option<tempfile::TempDir>, GroupLog, Machine<Shard>), StorageError<Types>> {
        let (folder, storage) = match self {
            Self::Memory => (None, Storage::in_memory()),
            Self::MemoryDisk => (None, open(&MemoryDisk::new()).unwrap()),
            Self::Directory => {
                let folder = tempfile::tempdir().unwrap();
                let disk = Arc::new(Directory::open(folder.path()).unwrap());
                (Some(folder), Storage::open(disk, LogOptions::default()).unwrap())
            }
        };
        let machine = Machine::open(GROUP, &storage).unwrap();
        Ok((folder, GroupLog::new(GROUP, &storage), machine))
    }
}

/// An entry of 1 MiB.
fn large(term: u64, index: u64) -> EntryOf<Types> {
    let payload = Payload(index.to_le_bytes().repeat(1 << 17).into());
    EntryOf::<Types>::new(id(term, index), EntryPayload::Normal(payload))
}

#[test]
fn a_log_in_memory_passes_openrafts_suite() {
    run(Suite::test_all(Kind::Memory)).unwrap();
}

#[test]
fn a_log_on_a_disk_passes_openrafts_suite() {
    run(Suite::test_all(Kind::MemoryDisk)).unwrap();
}

#[test]
fn a_log_in_a_directory_passes_openrafts_suite() {
    run(Suite::test_all(Kind::Directory)).unwrap();
}

#[test]
fn groups_are_there_again_once_they_were_created() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        assert_eq!(storage.groups(), []);
        for group in [GroupId(5), GroupId(0), GroupId(5)] {
            storage.create_group(group).await.unwrap();
        }
        disk.power_cut(0);
        drop(storage);
        assert_eq!(open(&disk).unwrap().groups(), [GroupId(0), GroupId(5)]);
    });
}

#[test]
fn old_entries_are_read_from_disk_and_new_ones_from_memory() {
    run(async {
        let storage = open(&MemoryDisk::new()).unwrap();
        let mut log = GroupLog::new(GROUP, &storage);
        let mut expected: Vec<_> = (0..40).map(|index| large(1, index)).collect();
        for entry in expected.clone() {
            append(&mut log, vec![entry]).await.unwrap();
        }
        assert!(log.cached_bytes() < 18 << 20);
        assert_eq!(entries(&mut log).await, expected);
        assert_eq!(log.try_get_log_entries(3..5).await.unwrap(), expected[3..5]);
        assert_eq!(log.try_get_log_entries(20..=30).await.unwrap(), expected[20..=30]);
        // A few at a time: what is on disk, then what is in memory.
        assert_eq!(log.limited_get_log_entries(0, 40).await.unwrap(), expected[..4]);
        assert_eq!(log.limited_get_log_entries(22, 40).await.unwrap(), expected[22..25]);
        assert_eq!(log.limited_get_log_entries(25, 40).await.unwrap(), expected[25..29]);
        let streamed: Vec<_> = log.entries_stream(3..39).await.try_collect().await.unwrap();
        assert_eq!(streamed, expected[3..39]);
        // Cut to before what is in memory, and others in the place.
        log.truncate_after(Some(id(1, 9))).await.unwrap();
        expected.truncate(10);
        assert_eq!(entries(&mut log).await, expected);
        append(&mut log, vec![large(2, 10), large(2, 11)]).await.unwrap();
        expected.extend([large(2, 10), large(2, 11)]);
        assert_eq!(entries(&mut log).await, expected);
        log.purge(id(1, 4)).await.unwrap();
        assert_eq!(entries(&mut log).await, expected[5..]);
        assert_eq!(log.try_get_log_entries(2..7).await.unwrap(), expected[5..7]);
    });
}

#[test]
fn entries_can_be_read_before_they_are_durable_and_told_of_only_after() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let mut log = GroupLog::new(GROUP, &storage);
        let mut receivers = Vec::new();
        for index in 0..10 {
            let (sender, receiver) = Types::oneshot();
            log.append(vec![entry(1, index)], IOFlushed::signal(sender)).await.unwrap();
            assert_eq!(entries(&mut log).await.len() as u64, index + 1);
            receivers.push(receiver);
        }
        receivers.pop().unwrap().await.unwrap().unwrap();
        // Those before it were told first.
        assert!(receivers.iter_mut().all(|receiver| receiver.try_recv().is_ok()));
        disk.power_cut(0);
        drop((log, storage));
        let mut log = GroupLog::new(GROUP, &open(&disk).unwrap());
        assert_eq!(entries(&mut log).await.len(), 10);
    });
}

#[test]
fn a_log_without_the_entries_before_it_is_refused() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let mut log = GroupLog::new(GROUP, &storage);
        append(&mut log, (0..10).map(|index| entry(1, index)).collect()).await.unwrap();
        let mut machine = Machine::open(GROUP, &storage).unwrap();
        apply(&mut machine, (0..5).map(|index| entry(1, index)).collect()).await;
        assert!(machine.write_snapshot().unwrap());
        log.purge(id(1, 4)).await.unwrap();
        log.save_vote(&vote(1)).await.unwrap();
        assert_state(&Machine::open(GROUP, &storage).unwrap(), 5);
        log.purge(id(1, 5)).await.unwrap();
        let refused = Machine::<Shard>::open(GROUP, &storage).unwrap_err();
        assert!(matches!(refused, LogError::Corrupt { damage: Damage::Missing, .. }));
        disk.remove("group-3.snapshot").unwrap();
        let refused = Machine::<Shard>::open(GROUP, &storage).unwrap_err();
        assert!(matches!(refused, LogError::Corrupt { damage: Damage::Missing, .. }));
    });
}

/// A disk with a log whose old entries are not in memory any more.
async fn large_log(disk: &MemoryDisk, storage: &Storage) -> GroupLog {
    let mut log = GroupLog::new(GROUP, storage);
    for index in 0..20 {
        append(&mut log, vec![large(1, index)]).await.unwrap();
    }
    let segment = disk.list().unwrap().into_iter().find(|name| name.contains(".log")).unwrap();
    // In the first entry.
    assert!(disk.flip_bit(&segment, 8 * 100_000));
    log
}

#[test]
fn a_damaged_log_is_refused() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        drop(large_log(&disk, &storage).await);
        storage.close();
        assert!(matches!(open(&disk), Err(LogError::Corrupt { offset: 1.., .. })));
    });
}

#[test]
fn a_log_that_is_damaged_while_it_is_open_fails_when_that_is_read() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let mut log = large_log(&disk, &storage).await;
        log.try_get_log_entries(19..20).await.unwrap();
        log.try_get_log_entries(0..1).await.unwrap_err();
        let failure = storage.failure().noted().await;
        assert!(matches!(failure, ServerFailure::Data(LogError::Corrupt { offset: 1.., .. })));
    });
}

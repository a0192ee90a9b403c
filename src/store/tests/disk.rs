//! Stores on a disk that does what it is asked for.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use crate::log::{
    Batch, Committer, Damage, Disk, LogError, LogOptions, MemoryDisk, RECORD_BYTES_MAX, Recovered,
};
use crate::store::checkpoint::Checkpointer;
use crate::store::committer::GROUP;
use crate::store::durable::check_len;
use crate::store::encoding::{ENCODING_VERSION, encode_record};
use crate::store::*;
use crate::value;

/// Opens the store on `disk`, with snapshots only where they are asked for.
pub(super) fn open(disk: &MemoryDisk) -> Store {
    try_open(disk).unwrap()
}

pub(super) fn try_open(disk: &MemoryDisk) -> Result<Store, StoreError> {
    Store::builder().snapshot_bytes(u64::MAX).open_on(Arc::new(disk.clone()))
}

pub(super) fn put(key: &str, value: Value) -> Command {
    Command::Put { key: key.to_owned(), value, condition: Condition::Always }
}

fn records_written(store: &Store) -> u64 {
    store.stats().log.unwrap().records
}

fn remove(disk: &MemoryDisk, ending: &str) {
    for name in disk.list().unwrap().iter().filter(|name| name.ends_with(ending)) {
        disk.remove(name).unwrap();
    }
}

/// The damage that keeps the store from opening.
fn damage(disk: &MemoryDisk) -> Damage {
    match try_open(disk) {
        Err(StoreError::Log(LogError::Corrupt { damage, .. })) => damage,
        opened => panic!("{opened:?}"),
    }
}

#[test]
fn a_store_that_is_opened_again_has_what_it_had() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    store.put("a", value!({ "n": 1 })).unwrap();
    store.put("b", value!({ "list": [1, 2.5, null, true, "x", { "y": u64::MAX }] })).unwrap();
    store.put_if("a", value!({ "n": 2 }), Condition::IfVersion(1)).unwrap();
    store.put("gone", value!({})).unwrap();
    assert!(store.delete("gone").unwrap());
    let before = store.snapshot();
    store.close().unwrap();

    let store = open(&disk);
    assert_eq!(store.snapshot(), before);
    assert_eq!(store.put("c", value!({})).unwrap(), Put { version: 6, created: true });
    let before = store.snapshot();
    drop(store);
    assert_eq!(open(&disk).snapshot(), before);
}

#[test]
fn a_batch_is_one_record_and_one_sync() {
    let store = open(&MemoryDisk::new());
    store.put("z", value!({})).unwrap();
    let before = store.stats().log.unwrap();
    let get = Command::Get { key: "a".into() };
    let replies = store
        .batch(vec![put("a", value!({ "n": 1 })), get, Command::Delete { key: "z".into() }])
        .unwrap();
    let record = Record { version: 2, value: value!({ "n": 1 }) };
    let expected = [
        Reply::Put(Put { version: 2, created: true }),
        Reply::Record(Some(record)),
        Reply::Deleted(true),
    ];
    assert_eq!(replies, expected);
    let after = store.stats().log.unwrap();
    assert_eq!((after.records, after.batches), (before.records + 1, before.batches + 1));
    assert!(store.batch(Vec::new()).unwrap().is_empty());
}

#[test]
fn a_batch_with_a_refused_command_changes_nothing() {
    for store in [Store::in_memory(), open(&MemoryDisk::new())] {
        store.put("a", value!({ "n": 1 })).unwrap();
        let before = store.snapshot();
        let absent = Condition::IfAbsent;
        let taken = Command::Put { key: "a".into(), value: value!({}), condition: absent };
        let batches = [
            vec![put("b", value!({})), put("c", value!(1))],
            vec![put("b", value!({})), Command::Delete { key: "a".into() }, put("", value!({}))],
            vec![put("b", value!({})), taken.clone()],
            vec![taken, put("b", value!({}))],
        ];
        let positions = batches.map(|batch| match store.batch(batch) {
            Err(StoreError::Batch { position, .. }) => position,
            outcome => panic!("{outcome:?}"),
        });
        assert_eq!(positions, [1, 2, 1, 0]);
        assert_eq!(store.snapshot(), before);
        store.put("b", value!({})).unwrap();
        assert_eq!(store.verify().unwrap().writes, 2);
    }
}

#[test]
fn what_changes_nothing_is_not_written() {
    let store = open(&MemoryDisk::new());
    store.put("a", value!({ "n": 1 })).unwrap();
    let before = records_written(&store);
    assert!(!store.delete("b").unwrap());
    store.put("b", value!(1)).unwrap_err();
    store.put_if("a", value!({}), Condition::IfAbsent).unwrap_err();
    store.apply(Command::Get { key: "a".into() }).unwrap();
    store.batch(vec![Command::Get { key: "a".into() }]).unwrap();
    store.batch(vec![Command::Delete { key: "b".into() }]).unwrap();
    assert_eq!(records_written(&store), before);
}

#[test]
fn a_snapshot_takes_the_place_of_the_log_before_it() {
    let disk = MemoryDisk::new();
    let store = Store::builder().segment_bytes(4096).open_on(Arc::new(disk.clone())).unwrap();
    for n in 0..200 {
        store.put(&format!("key{}", n % 50), value!({ "n": n, "text": "x".repeat(50) })).unwrap();
    }
    let segments = store.stats().log.unwrap().segments;
    store.checkpoint().unwrap();
    // Old segments go between two writes.
    for _ in 0..2 {
        store.put("after", value!({})).unwrap();
    }
    let stats = store.stats();
    assert!(stats.log.unwrap().segments < segments, "{stats:?}");
    assert_eq!((stats.snapshots, stats.snapshots_failed), (1, 0));
    let verified = store.verify().unwrap();
    assert_eq!((verified.records, verified.writes), (51, 202));
    assert_eq!(verified.snapshot_bytes, stats.snapshot_bytes);
    let before = store.snapshot();
    drop(store);

    let store = open(&disk);
    assert_eq!(store.snapshot(), before);
    store.checkpoint().unwrap();
    // There is nothing new.
    store.checkpoint().unwrap();
    assert_eq!(store.stats().snapshots, 1);
    store.put("again", value!({})).unwrap();
    let before = store.snapshot();
    drop(store);
    assert_eq!(open(&disk).snapshot(), before);
}

#[test]
fn a_store_takes_snapshots_by_itself() {
    let disk = MemoryDisk::new();
    let store = Store::builder().snapshot_bytes(1000).open_on(Arc::new(disk.clone())).unwrap();
    let mut n = 0;
    // The snapshot is as large as the records, so that it takes ever more log for the next one.
    while store.stats().snapshots < 3 {
        store.put(&format!("key{}", n % 100), value!({ "n": n })).unwrap();
        n += 1;
        assert!(n < 1_000_000);
    }
    store.verify().unwrap();
    let before = store.snapshot();
    drop(store);
    assert_eq!(open(&disk).snapshot(), before);
}

#[test]
fn many_threads_share_the_syncs() {
    const THREADS: usize = 16;
    const EACH: usize = 50;
    let disk = MemoryDisk::new();
    let store = open(&disk);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for n in 0..EACH {
                    let key = format!("{thread}-{n}");
                    store.put(&key, value!({ "n": n as u64 })).unwrap();
                    assert!(store.contains_key(&key));
                }
            });
        }
    });
    assert_eq!(store.len(), THREADS * EACH);
    let log = store.stats().log.unwrap();
    assert!(log.batches <= log.records);
    drop(store);
    assert_eq!(open(&disk).len(), THREADS * EACH);
}

#[test]
fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.kv");
    let store = Store::open(&path).unwrap();
    store.put("a", value!({ "n": 1 })).unwrap();
    let second = Store::open(&path).unwrap_err();
    assert!(matches!(second, StoreError::Log(LogError::Locked { .. })), "{second}");
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.len(), 1);
    store.checkpoint().unwrap();
    store.verify().unwrap();
    drop(store);
    assert_eq!(Store::open(&path).unwrap().query("a.n").unwrap(), Some(value!(1)));
}

#[test]
fn the_directory_of_a_server_is_no_store() {
    let disk = MemoryDisk::new();
    disk.create("identity").unwrap();
    assert!(matches!(try_open(&disk), Err(StoreError::NotAStore { .. })));
}

#[test]
fn what_is_missing_is_noticed() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    store.put("a", value!({})).unwrap();
    store.checkpoint().unwrap();
    store.put("b", value!({})).unwrap();
    drop(store);
    let snapshot = disk.read(Checkpointer::FILE).unwrap();
    remove(&disk, ".snapshot");
    assert_eq!(damage(&disk), Damage::Missing);
    disk.write(Checkpointer::FILE, &snapshot);
    assert_eq!(open(&disk).len(), 2);
    remove(&disk, ".log");
    assert_eq!(damage(&disk), Damage::Missing);
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    store.put("a", value!({ "n": 1 })).unwrap();
    store.checkpoint().unwrap();
    let len = store.stats().snapshot_bytes;
    for bit in 0..8 * len {
        assert!(disk.flip_bit(Checkpointer::FILE, bit));
        store.verify().unwrap_err();
        assert!(disk.flip_bit(Checkpointer::FILE, bit));
    }
    store.verify().unwrap();
    drop(store);
    for size in (0..len).rev() {
        disk.truncate(Checkpointer::FILE, size);
        damage(&disk);
    }
}

/// Writes the records that it is sent, whatever they are.
struct Raw(u64);

impl Committer for Raw {
    type Work = Vec<u8>;

    fn stage(&mut self, record: Vec<u8>, batch: &mut Batch) {
        self.0 += 1;
        batch.append(GROUP, self.0, &record);
        batch.sync();
    }

    fn settle(&mut self, outcome: Result<(), &LogError>) {
        outcome.unwrap();
    }
}

/// What opening a store says whose only record is this.
fn opened_with(record: &[u8]) -> Result<Store, StoreError> {
    let disk = MemoryDisk::new();
    let recovered = Recovered::open(Arc::new(disk.clone()), LogOptions::default()).unwrap();
    let log = recovered.start(Raw(0)).unwrap();
    log.send(record.to_vec()).unwrap();
    log.close();
    try_open(&disk)
}

#[test]
fn a_record_that_no_store_wrote_is_refused() {
    let good = encode_record(&[put("a", value!({ "n": 1 })), Command::Delete { key: "b".into() }]);
    assert_eq!(opened_with(&good).unwrap().len(), 1);
    let unknown = opened_with(&[&[ENCODING_VERSION + 1], &good[1..]].concat()).unwrap_err();
    let StoreError::Log(LogError::Version { found: 2, expected: 1, .. }) = unknown else {
        panic!("{unknown}")
    };
    for len in 0..good.len() {
        let cut = opened_with(&good[..len]).unwrap_err();
        assert!(matches!(cut, StoreError::Replay { index: 1, refused: None }), "{cut}");
    }
    for record in [
        &[good.as_slice(), &[0]].concat()[..],
        // More commands than any memory holds.
        &[&[ENCODING_VERSION], &[0xff; 9][..], &[1]].concat(),
        // A read.
        &[ENCODING_VERSION, 1, 0, 1, b'a'],
    ] {
        let odd = opened_with(record).unwrap_err();
        assert!(matches!(odd, StoreError::Replay { index: 1, refused: None }), "{odd}");
    }
    let condition = Condition::IfVersion(7);
    for command in [
        put("a", value!(1)),
        put("", value!({})),
        Command::Put { key: "a".into(), value: value!({}), condition },
    ] {
        let refused = opened_with(&encode_record(&[command])).unwrap_err();
        assert!(matches!(refused, StoreError::Replay { index: 1, refused: Some(_) }), "{refused}");
    }
}

#[test]
fn a_record_may_be_as_long_as_the_log_takes() {
    check_len(RECORD_BYTES_MAX).unwrap();
    let error = check_len(RECORD_BYTES_MAX + 1).unwrap_err();
    assert_eq!(error.to_string(), "the record of 268435457 bytes is longer than 268435456");
}

#[test]
fn a_dump_goes_into_a_new_store_only() {
    let source = open(&MemoryDisk::new());
    for n in 0..1000 {
        source.put(&format!("key{n}"), value!({ "n": n })).unwrap();
    }
    source.delete("key7").unwrap();
    let mut dump = Vec::new();
    assert_eq!(source.export(&mut dump).unwrap(), 999);

    let disk = MemoryDisk::new();
    let store = open(&disk);
    assert_eq!(store.import(dump.as_slice()).unwrap(), 999);
    assert_eq!(store.snapshot(), source.snapshot());
    assert_eq!(store.verify().unwrap().writes, 1001);
    // It was durable at once.
    disk.power_cut(0);
    drop(store);
    let store = open(&disk);
    assert_eq!(store.snapshot(), source.snapshot());
    assert_eq!(store.put("new", value!({})).unwrap().version, 1002);
    let before = store.snapshot();
    drop(store);
    let store = open(&disk);
    assert_eq!(store.snapshot(), before);

    for store in [store, source, Store::in_memory()] {
        store.put("a", value!({})).unwrap();
        store.delete("a").unwrap();
        let before = store.snapshot();
        let refused = store.import(dump.as_slice()).unwrap_err();
        assert!(matches!(refused, StoreError::NotNew { .. }), "{refused}");
        assert_eq!(store.snapshot(), before);
    }
}

#[test]
fn a_damaged_dump_is_refused_whole() {
    let source = Store::in_memory();
    source.put("a", value!({ "n": 1 })).unwrap();
    source.put("b", value!({ "n": 2 })).unwrap();
    let mut dump = Vec::new();
    source.export(&mut dump).unwrap();
    let disk = MemoryDisk::new();
    let store = open(&disk);
    for len in 0..dump.len() {
        store.import(&dump[..len]).unwrap_err();
    }
    for position in 0..dump.len() {
        for bit in 0..8 {
            dump[position] ^= 1 << bit;
            store.import(dump.as_slice()).unwrap_err();
            dump[position] ^= 1 << bit;
        }
    }
    assert!(store.is_empty());
    assert!(disk.open(Checkpointer::FILE).is_err());
    store.import(dump.as_slice()).unwrap();
    assert_eq!(store.snapshot(), source.snapshot());
}

fn golden() -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store-v1")
}

/// What the store of the golden directory went through: a snapshot, then some log.
fn write_golden(store: &Store) {
    store.put("person1", value!({ "name": "Mary", "address": { "city": "Athens" } })).unwrap();
    store
        .put("person2", value!({ "height": 1.75, "children": [null, true, -3, u64::MAX] }))
        .unwrap();
    store.put("\u{3bb}.\u{1f600}", value!({ "": "" })).unwrap();
    store.checkpoint().unwrap();
    store.put_if("person3", value!({}), Condition::IfAbsent).unwrap();
    store.put_if("person1", value!({ "name": "Ann" }), Condition::IfVersion(1)).unwrap();
    let key = "person2".to_owned();
    store.batch(vec![Command::Delete { key }, put("person4", value!({ "n": 4 }))]).unwrap();
}

/// A directory of the first version opens for good. To write it anew, for a change of the format
/// that is no release: remove it, and set `TRIEKV_BLESS`.
#[test]
fn the_golden_directory_opens() {
    let folder = tempfile::tempdir().unwrap();
    if std::env::var_os("TRIEKV_BLESS").is_some() && !golden().exists() {
        let store = Store::builder().segment_bytes(1 << 16).open(golden()).unwrap();
        write_golden(&store);
        drop(store);
        std::fs::remove_file(golden().join("LOCK")).unwrap();
    }
    for entry in std::fs::read_dir(golden()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let store = Store::open(folder.path()).unwrap();
    let expected = Store::in_memory();
    write_golden(&expected);
    assert_eq!(store.snapshot(), expected.snapshot());
    assert_eq!(store.verify().unwrap().writes, 7);
    store.put("person5", value!({})).unwrap();
}

//! Stores on a disk that fails.

use super::disk::{open, put, try_open};
use crate::log::{Disk, Fault, LogError, MemoryDisk};
use crate::store::checkpoint::Checkpointer;
use crate::store::*;
use crate::value;

fn names(disk: &MemoryDisk, ending: &str) -> usize {
    disk.list().unwrap().iter().filter(|name| name.ends_with(ending)).count()
}

fn used(disk: &MemoryDisk) -> u64 {
    let names = disk.list().unwrap();
    names.iter().map(|name| disk.read(name).unwrap().len() as u64).sum()
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let text = value!({ "text": "x".repeat(2000) });
    store.put("first", text.clone()).unwrap();
    disk.set_capacity(Some(used(&disk)));
    let mut n = 0;
    let error = loop {
        match store.put(&format!("key{n}"), text.clone()) {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
        assert!(n < 10_000);
    };
    assert!(matches!(error, StoreError::Log(LogError::Full { .. })), "{error}");
    assert!(!error.is_ambiguous());
    assert!(store.put("again", text.clone()).is_err());
    assert!(store.contains_key("first"));
    assert!(!store.contains_key(&format!("key{n}")));
    assert_eq!(store.stats().writes, n + 1);

    disk.set_capacity(None);
    store.put("again", text).unwrap();
    assert_eq!(store.verify().unwrap().writes, n + 2);
    let before = store.snapshot();
    store.close().unwrap();
    assert_eq!(open(&disk).snapshot(), before);
}

#[test]
fn a_snapshot_for_which_there_is_no_room_is_given_up_and_tried_again() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    for n in 0..20 {
        store.put(&format!("key{n}"), value!({ "text": "x".repeat(100) })).unwrap();
    }
    store.checkpoint().unwrap();
    let old = disk.read(Checkpointer::FILE).unwrap();
    store.put("new", value!({ "text": "x".repeat(100) })).unwrap();
    disk.set_capacity(Some(used(&disk) + 100));
    let full = store.checkpoint().unwrap_err();
    assert!(matches!(full, StoreError::Log(LogError::Full { .. })), "{full}");
    assert_eq!(disk.read(Checkpointer::FILE).unwrap(), old);
    assert_eq!(names(&disk, ".new"), 0);
    assert_eq!((store.stats().snapshots, store.stats().snapshots_failed), (1, 1));
    store.put("newer", value!({})).unwrap();
    disk.set_capacity(None);
    store.checkpoint().unwrap();
    assert_eq!(store.stats().snapshots, 2);
    store.verify().unwrap();
}

#[test]
fn nothing_is_acknowledged_after_a_sync_that_failed() {
    for seed in 0..20 {
        let disk = MemoryDisk::new();
        let store = open(&disk);
        store.put("a", value!({ "n": 1 })).unwrap();
        disk.fail(Fault::Sync { operation: disk.operations() });
        let failed = store.put("b", value!({})).unwrap_err();
        assert!(matches!(failed, StoreError::Log(LogError::Io { operation: "sync", .. })));
        assert!(failed.is_ambiguous());
        for _ in 0..2 {
            let stopped = store.put("c", value!({})).unwrap_err();
            assert!(matches!(stopped, StoreError::Log(LogError::Stopped(_))), "{stopped}");
        }
        assert_eq!((store.len(), store.query("a.n").unwrap()), (1, Some(value!(1))));
        let stopped = store.close().unwrap_err();
        assert!(matches!(stopped, StoreError::Log(LogError::Stopped(_))), "{stopped}");
        disk.power_cut(seed);
        let store = open(&disk);
        assert!(store.contains_key("a") && !store.contains_key("c"));
        store.put("c", value!({})).unwrap();
    }
}

/// Calls `run` on a disk that crashes at each of its operations in turn, then gives what is left
/// after the power is back to `check`, with what `run` has made of it.
fn crash_everywhere<T>(
    prepare: impl Fn(&MemoryDisk),
    run: impl Fn(&MemoryDisk) -> T,
    check: impl Fn(&MemoryDisk, T),
) {
    let operations = |disk: &MemoryDisk| {
        prepare(disk);
        disk.operations()
    };
    let disk = MemoryDisk::new();
    let first = operations(&disk);
    run(&disk);
    let last = disk.operations();
    assert!(last > first);
    for number in 0..last - first {
        for seed in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let disk = MemoryDisk::new();
            let operation = operations(&disk) + number;
            disk.fail(Fault::Crash { operation, seed });
            let outcome = run(&disk);
            disk.power_cut(seed);
            check(&disk, outcome);
        }
    }
}

#[test]
fn a_crash_anywhere_leaves_what_was_acknowledged() {
    let run = |disk: &MemoryDisk| {
        let Ok(store) = try_open(disk) else { return 0 };
        for n in 1..=9 {
            let left = put("left", value!({ "n": n }));
            let right = put(&format!("right{}", n % 2), value!({ "n": n }));
            if store.batch(vec![left, right]).is_err() {
                return n - 1;
            }
            if n % 4 == 0 {
                // What fails of it is no loss.
                let _ = store.checkpoint();
            }
        }
        9
    };
    crash_everywhere(
        |_| {},
        run,
        |disk, acknowledged| {
            let store = open(disk);
            let number = |path: &str| {
                let value = store.query(path).unwrap();
                value.and_then(|n| n.as_i64()).unwrap_or(0)
            };
            let last = number("left.n");
            assert!((acknowledged..=acknowledged + 1).contains(&last), "{acknowledged}, {last}");
            assert_eq!(number(&format!("right{}.n", last % 2)), last);
            assert_eq!(store.stats().writes, 2 * last.unsigned_abs());
            store.verify().unwrap();
            store.put("after", value!({})).unwrap();
        },
    );
}

/// A dump of three records.
fn dump() -> Vec<u8> {
    let source = Store::in_memory();
    for key in ["a", "b", "c"] {
        source.put(key, value!({ "key": key })).unwrap();
    }
    let mut dump = Vec::new();
    source.export(&mut dump).unwrap();
    dump
}

#[test]
fn a_crash_during_an_import_leaves_all_of_it_or_nothing() {
    let dump = dump();
    crash_everywhere(
        |disk| drop(open(disk)),
        |disk| {
            let Ok(store) = try_open(disk) else { return (false, false) };
            let imported = store.import(dump.as_slice()).is_ok();
            (imported, imported && store.put("d", value!({})).is_ok())
        },
        |disk, (imported, put)| {
            let store = open(disk);
            let len = store.len();
            assert!(if imported { len >= 3 } else { len == 0 || len == 3 }, "{len} records");
            assert!(!put || len == 4);
            store.verify().unwrap();
        },
    );
}

#[test]
fn an_import_that_may_or_may_not_be_there_stops_the_store() {
    let dump = dump();
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let before = disk.operations();
    store.import(dump.as_slice()).unwrap();
    let operations = disk.operations() - before;
    drop(store);

    let disk = MemoryDisk::new();
    let store = open(&disk);
    // The last operation is the sync of the names.
    disk.fail(Fault::Sync { operation: disk.operations() + operations - 1 });
    let failed = store.import(dump.as_slice()).unwrap_err();
    assert!(matches!(failed, StoreError::Log(LogError::Stopped(_))), "{failed}");
    assert!(failed.is_ambiguous());
    assert!(store.is_empty());
    let stopped = store.put("a", value!({})).unwrap_err();
    assert!(matches!(stopped, StoreError::Log(LogError::Stopped(_))), "{stopped}");
    drop(store);
    assert_eq!(open(&disk).len(), 3);
}

//! Stores beside a plain map, with the power cut now and then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::disk::{open, put};
use crate::log::MemoryDisk;
use crate::store::*;
use crate::value;

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u64),
    PutIf(u8, u64, Condition),
    Delete(u8),
    Batch(Vec<Op>),
    Checkpoint,
    Reopen,
    PowerCut,
}

fn write() -> impl Strategy<Value = Op> {
    let condition = prop_oneof![
        Just(Condition::Always),
        Just(Condition::IfAbsent),
        (0..20_u64).prop_map(Condition::IfVersion),
    ];
    prop_oneof![
        4 => (0..6_u8, any::<u64>()).prop_map(|(key, n)| Op::Put(key, n)),
        2 => (0..6_u8, any::<u64>(), condition).prop_map(|(key, n, c)| Op::PutIf(key, n, c)),
        2 => (0..6_u8).prop_map(Op::Delete),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => write(),
        3 => prop::collection::vec(write(), 0..5).prop_map(Op::Batch),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        1 => Just(Op::PowerCut),
    ]
}

fn command(op: &Op) -> Command {
    let key = |key: &u8| format!("key{key}");
    match op {
        Op::Put(k, n) => put(&key(k), value!({ "n": *n })),
        Op::PutIf(k, n, condition) => {
            Command::Put { key: key(k), value: value!({ "n": *n }), condition: *condition }
        }
        Op::Delete(k) => Command::Delete { key: key(k) },
        op => unreachable!("{op:?} is no command"),
    }
}

/// Version and number by key, and the number of writes.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    records: BTreeMap<String, (u64, u64)>,
    writes: u64,
}

impl Model {
    /// Whether the command is not refused.
    fn apply(&mut self, op: &Op) -> bool {
        let (key, n, condition) = match op {
            Op::Delete(key) => {
                let found = self.records.remove(&format!("key{key}")).is_some();
                self.writes += u64::from(found);
                return true;
            }
            Op::Put(key, n) => (key, n, Condition::Always),
            Op::PutIf(key, n, condition) => (key, n, *condition),
            op => unreachable!("{op:?} is no command"),
        };
        let key = format!("key{key}");
        let found = self.records.get(&key).map(|(version, _)| *version);
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => found.is_none(),
            Condition::IfVersion(version) => found == Some(version),
        };
        if holds {
            self.writes += 1;
            self.records.insert(key, (self.writes, *n));
        }
        holds
    }

    fn of(store: &Store) -> Self {
        let record = |entry: Entry| {
            let n = entry.record.value.get("n").and_then(Value::as_u64).unwrap();
            (entry.key, (entry.record.version, n))
        };
        Self { records: store.prefix("").map(record).collect(), writes: store.stats().writes }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_map_that_no_power_cut_changes(ops in prop::collection::vec(op(), 0..60)) {
        let mut disk = MemoryDisk::new();
        let mut store = open(&disk);
        let mut model = Model::default();
        for op in &ops {
            match op {
                Op::Checkpoint => store.checkpoint().unwrap(),
                Op::Reopen => {
                    drop(store);
                    store = open(&disk);
                }
                Op::PowerCut => {
                    disk = disk.cut();
                    store = open(&disk);
                }
                Op::Batch(ops) => {
                    let before = model.clone();
                    let refused = ops.iter().position(|op| !model.apply(op));
                    match store.batch(ops.iter().map(command).collect()) {
                        Ok(replies) => prop_assert_eq!((replies.len(), None), (ops.len(), refused)),
                        Err(StoreError::Batch { position, .. }) => {
                            prop_assert_eq!(Some(position), refused);
                            model = before;
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
                op => prop_assert_eq!(store.apply(command(op)).is_ok(), model.apply(op)),
            }
            prop_assert_eq!(&Model::of(&store), &model);
        }
        store.verify().unwrap();
    }
}

/// Threads write batches, each its own keys in order, while the disk is copied as a power cut would
/// leave it.
#[test]
fn a_power_cut_leaves_what_was_acknowledged_and_whole_batches_in_order() {
    const THREADS: usize = 4;
    let disk = MemoryDisk::new();
    let store = Store::builder().snapshot_bytes(4096).segment_bytes(8192);
    let store = store.open_on(std::sync::Arc::new(disk.clone())).unwrap();
    let acknowledged: [AtomicU64; THREADS] = Default::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (thread, acknowledged) in acknowledged.iter().enumerate() {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                for n in 1.. {
                    let left = put(&format!("{thread}-left"), value!({ "n": n }));
                    let right = put(&format!("{thread}-right"), value!({ "n": n }));
                    let nth = put(&format!("{thread}-{n}"), value!({}));
                    store.batch(vec![left, nth, right]).unwrap();
                    acknowledged.store(n, Ordering::SeqCst);
                    if done.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        for _ in 0..50 {
            let acknowledged = acknowledged.each_ref().map(|n| n.load(Ordering::SeqCst));
            let after = open(&disk.cut());
            after.verify().unwrap();
            for (thread, acknowledged) in acknowledged.into_iter().enumerate() {
                let side = |side| {
                    let value = after.query(&format!("{thread}-{side}.n")).unwrap();
                    value.and_then(|n| n.as_u64()).unwrap_or(0)
                };
                let last = side("left");
                assert_eq!(side("right"), last);
                assert!(last >= acknowledged, "{acknowledged} were acknowledged, {last} are there");
                assert!((1..=last).all(|n| after.contains_key(&format!("{thread}-{n}"))));
                assert!(!after.contains_key(&format!("{thread}-{}", last + 1)));
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(store.stats().snapshots > 0);
}

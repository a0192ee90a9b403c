//! Stores beside a plain map, with the power cut now and then.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::disk::{open, put, try_open};
use crate::log::{Fault, MemoryDisk};
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
    /// The power goes during one of the next operations of the disk.
    PowerCut {
        after: u64,
        seed: u64,
    },
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
        1 => (0..8_u64, any::<u64>()).prop_map(|(after, seed)| Op::PowerCut { after, seed }),
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
        let disk = MemoryDisk::new();
        let mut store = Some(open(&disk));
        let mut model = Model::default();
        let mut cut = 0;
        for op in &ops {
            let before = model.clone();
            let outcome = match op {
                Op::PowerCut { after, seed } => {
                    let operation = disk.operations() + after;
                    cut = *seed;
                    disk.fail(Fault::Crash { operation, seed: *seed });
                    Ok(())
                }
                Op::Reopen => {
                    // The one before has to be closed.
                    drop(store.take());
                    try_open(&disk).map(|opened| store = Some(opened))
                }
                Op::Checkpoint => store.as_ref().unwrap().checkpoint(),
                Op::Batch(ops) => {
                    let refused = ops.iter().position(|op| !model.apply(op));
                    if refused.is_some() {
                        model = before.clone();
                    }
                    let commands = ops.iter().map(command).collect();
                    match store.as_ref().unwrap().batch(commands) {
                        Err(StoreError::Batch { position, .. }) => {
                            prop_assert_eq!(Some(position), refused);
                            Ok(())
                        }
                        Err(error) => Err(error),
                        Ok(replies) => {
                            prop_assert_eq!((replies.len(), None), (ops.len(), refused));
                            Ok(())
                        }
                    }
                }
                op => {
                    let holds = model.apply(op);
                    match store.as_ref().unwrap().apply(command(op)) {
                        Err(StoreError::Log(error)) => Err(StoreError::Log(error)),
                        outcome => {
                            prop_assert_eq!(outcome.is_ok(), holds);
                            Ok(())
                        }
                    }
                }
            };
            if let Err(error) = outcome {
                // What was not acknowledged may be there, or not.
                prop_assert!(matches!(error, StoreError::Log(_)), "{:?}", error);
                drop(store.take());
                disk.power_cut(cut);
                let opened = open(&disk);
                let found = Model::of(&opened);
                prop_assert!(found == before || found == model, "{:?}, {:?}", found, model);
                store = Some(opened);
                model = found;
            }
            prop_assert_eq!(&Model::of(store.as_ref().unwrap()), &model);
        }
        drop(store);
        disk.power_cut(cut);
        let store = open(&disk);
        prop_assert_eq!(&Model::of(&store), &model);
        store.verify().unwrap();
    }
}

/// Threads write batches, each its own keys in order, until the power goes.
#[test]
fn a_power_cut_leaves_what_was_acknowledged_and_whole_batches_in_order() {
    const THREADS: usize = 4;
    let mut cuts_with_snapshot = 0;
    for seed in 1..=40 {
        let disk = MemoryDisk::new();
        let builder = Store::builder().snapshot_bytes(4096).segment_bytes(8192);
        let store = builder.open_on(Arc::new(disk.clone())).unwrap();
        let operation = disk.operations() + 10 * seed;
        disk.fail(Fault::Crash { operation, seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) });
        let write = |thread: usize| -> u64 {
            for n in 1.. {
                let left = put(&format!("{thread}-left"), value!({ "n": n }));
                let right = put(&format!("{thread}-right"), value!({ "n": n }));
                let nth = put(&format!("{thread}-{n}"), value!({}));
                match store.batch(vec![left, nth, right]) {
                    Ok(_) => {}
                    Err(StoreError::Log(_)) => return n - 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
            unreachable!("the power goes at some time")
        };
        let acknowledged = std::thread::scope(|scope| {
            let write = &write;
            let threads: [_; THREADS] =
                std::array::from_fn(|thread| scope.spawn(move || write(thread)));
            threads.map(|thread| thread.join().unwrap())
        });
        cuts_with_snapshot += u64::from(store.stats().snapshots > 0);
        drop(store);
        disk.power_cut(seed);
        let store = open(&disk);
        store.verify().unwrap();
        for (thread, acknowledged) in acknowledged.into_iter().enumerate() {
            let side = |side| {
                let value = store.query(&format!("{thread}-{side}.n")).unwrap();
                value.and_then(|n| n.as_u64()).unwrap_or(0)
            };
            let last = side("left");
            assert_eq!(side("right"), last, "seed {seed}");
            // One more was on its way.
            assert!((acknowledged..=acknowledged + 1).contains(&last), "seed {seed}");
            assert!((1..=last).all(|n| store.contains_key(&format!("{thread}-{n}"))));
            assert!(!store.contains_key(&format!("{thread}-{}", last + 1)), "seed {seed}");
        }
    }
    assert!(cuts_with_snapshot > 0);
}

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
    Set(u8, &'static str, u64, Condition),
    /// With null where there is no number.
    Merge(u8, &'static str, Option<u64>),
    Remove(u8, &'static str),
    /// A write to the first item of a record, which is a map and has none.
    Misplaced(u8),
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
    let name = prop::sample::select(vec!["n", "m"]);
    prop_oneof![
        4 => (0..6_u8, any::<u64>()).prop_map(|(key, n)| Op::Put(key, n)),
        2 => (0..6_u8, any::<u64>(), condition.clone()).prop_map(|(key, n, c)| Op::PutIf(key, n, c)),
        2 => (0..6_u8).prop_map(Op::Delete),
        2 => (0..6_u8, name.clone(), any::<u64>(), condition)
            .prop_map(|(key, name, n, c)| Op::Set(key, name, n, c)),
        2 => (0..6_u8, name.clone(), any::<Option<u64>>())
            .prop_map(|(key, name, n)| Op::Merge(key, name, n)),
        2 => (0..6_u8, name).prop_map(|(key, name)| Op::Remove(key, name)),
        1 => (0..6_u8).prop_map(Op::Misplaced),
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
        Op::Set(k, name, n, condition) => {
            let path = Path::new(key(k)).join(*name);
            Command::Set { path, value: Value::from(*n), condition: *condition }
        }
        Op::Merge(k, name, n) => {
            let (path, patch) = (Path::new(key(k)), value!({ (*name): *n }));
            Command::Merge { path, patch, condition: Condition::Always }
        }
        Op::Remove(k, name) => {
            let path = Path::new(key(k)).join(*name);
            Command::Remove { path, condition: Condition::Always }
        }
        Op::Misplaced(k) => {
            let path = Path::new(key(k)).join(0);
            Command::Set { path, value: Value::Null, condition: Condition::Always }
        }
        op => unreachable!("{op:?} is no command"),
    }
}

/// The numbers in a record by name.
type Fields = BTreeMap<String, u64>;

/// Version and fields by key, and the number of writes.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    records: BTreeMap<String, (u64, Fields)>,
    writes: u64,
}

impl Model {
    /// Whether the command is not refused.
    fn apply(&mut self, op: &Op) -> bool {
        let (key, condition, change) = match op {
            Op::Delete(key) => {
                let found = self.records.remove(&format!("key{key}")).is_some();
                self.writes += u64::from(found);
                return true;
            }
            Op::Remove(key, name) => {
                if let Some((version, fields)) = self.records.get_mut(&format!("key{key}"))
                    && fields.remove(*name).is_some()
                {
                    self.writes += 1;
                    *version = self.writes;
                }
                return true;
            }
            Op::Misplaced(_) => return false,
            Op::Put(key, n) => (key, Condition::Always, (None, Some(*n))),
            Op::PutIf(key, n, condition) => (key, *condition, (None, Some(*n))),
            Op::Set(key, name, n, condition) => (key, *condition, (Some(*name), Some(*n))),
            Op::Merge(key, name, n) => (key, Condition::Always, (Some(*name), *n)),
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
            let (version, fields) = self.records.entry(key).or_default();
            *version = self.writes;
            match change {
                (None, n) => *fields = n.map(|n| ("n".to_owned(), n)).into_iter().collect(),
                (Some(name), Some(n)) => drop(fields.insert(name.to_owned(), n)),
                (Some(name), None) => drop(fields.remove(name)),
            }
        }
        holds
    }

    fn of(store: &Store) -> Self {
        let record = |entry: Entry| {
            let fields = entry.record.value.as_map().unwrap().iter();
            let fields =
                fields.map(|(name, n)| (String::from_utf8(name).unwrap(), n.as_u64().unwrap()));
            (entry.key, (entry.record.version, fields.collect()))
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

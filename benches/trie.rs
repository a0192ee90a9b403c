//! `Trie` against `BTreeMap` and, where order doesn't matter, std's `HashMap`, over the same keys.
//!
//! The anchors are `BTreeMap<Box<[u8]>, u64>` and `HashMap<Box<[u8]>, u64>`, the smallest maps of std
//! that hold the same. Inserts into them pay for a copy of each key, as inserts into a trie do inside.
//! Times are per pass over all keys; `KEYS=1000000 cargo bench --bench trie` measures another size.
//! More maps, and the memory that they take, are in `benches/peers`.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::ops::Bound;
use triekv::generator::keys;
use triekv::trie::Trie;

type Anchor = BTreeMap<Box<[u8]>, u64>;
type Unordered = HashMap<Box<[u8]>, u64>;

/// Fixed, so that two runs see the same keys in the same order.
const SEED: u64 = 42;

/// The keys of all benches, in the order in which they are inserted: `n` of them, all different.
fn keys(n: usize) -> Vec<Vec<u8>> {
    keys::shuffled(keys::persons(n as u64).map(String::into_bytes), SEED).collect()
}

struct Workload {
    /// In the order of insertion.
    keys: Vec<Vec<u8>>,
    /// The same keys in another random order, so that a search doesn't follow the allocator.
    probes: Vec<Vec<u8>>,
    /// As long as the keys and alike, but none of them.
    misses: Vec<Vec<u8>>,
    /// Each the beginning of some keys.
    prefixes: Vec<Vec<u8>>,
    trie: Trie<u64>,
    anchor: Anchor,
    unordered: Unordered,
}

impl Workload {
    fn new() -> Self {
        let n = std::env::var("KEYS").map_or(10_000, |n| n.parse().expect("KEYS is a number"));
        let keys = keys(n);
        let probes: Vec<_> = keys::shuffled(keys.iter().cloned(), SEED + 1).collect();
        let misses = probes.iter().map(|key| changed_at_the_end(key)).collect();
        let prefixes = probes
            .iter()
            .take(100)
            .map(|key| key[..key.len().saturating_sub(2).max(1)].to_vec())
            .collect();
        let (trie, anchor, unordered) =
            (build_trie(&keys), build_anchor(&keys), build_unordered(&keys));
        Self { keys, probes, misses, prefixes, trie, anchor, unordered }
    }
}

fn changed_at_the_end(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    if let Some(last) = key.last_mut() {
        *last ^= 0x80;
    }
    key
}

/// Inserts one by one: `collect` is faster for keys in order.
fn build_trie(keys: &[Vec<u8>]) -> Trie<u64> {
    let mut trie = Trie::new();
    for (key, value) in keys.iter().zip(0..) {
        trie.insert(key, value);
    }
    trie
}

fn build_unordered(keys: &[Vec<u8>]) -> Unordered {
    let mut map = Unordered::new();
    for (key, value) in keys.iter().zip(0..) {
        map.insert(key.as_slice().into(), value);
    }
    map
}

fn build_anchor(keys: &[Vec<u8>]) -> Anchor {
    let mut map = Anchor::new();
    for (key, value) in keys.iter().zip(0..) {
        map.insert(key.as_slice().into(), value);
    }
    map
}

fn point_operations(c: &mut Criterion) {
    let work = Workload::new();
    let mut group = c.benchmark_group("point");
    group.throughput(Throughput::Elements(work.keys.len() as u64));

    group.bench_function(BenchmarkId::new("insert", "Trie"), |b| {
        b.iter_with_large_drop(|| build_trie(&work.keys));
    });
    group.bench_function(BenchmarkId::new("insert", "BTreeMap"), |b| {
        b.iter_with_large_drop(|| build_anchor(&work.keys));
    });
    group.bench_function(BenchmarkId::new("insert", "HashMap"), |b| {
        b.iter_with_large_drop(|| build_unordered(&work.keys));
    });
    for (name, probes) in [("get hit", &work.probes), ("get miss", &work.misses)] {
        group.bench_function(BenchmarkId::new(name, "Trie"), |b| {
            b.iter(|| probes.iter().filter(|key| work.trie.contains_key(key)).count());
        });
        group.bench_function(BenchmarkId::new(name, "BTreeMap"), |b| {
            b.iter(|| probes.iter().filter(|key| work.anchor.contains_key(key.as_slice())).count());
        });
        group.bench_function(BenchmarkId::new(name, "HashMap"), |b| {
            b.iter(|| {
                probes.iter().filter(|key| work.unordered.contains_key(key.as_slice())).count()
            });
        });
    }
    group.bench_function(BenchmarkId::new("remove", "Trie"), |b| {
        b.iter_batched_ref(
            || work.trie.clone(),
            |trie| work.probes.iter().filter_map(|key| trie.remove(key)).sum::<u64>(),
            BatchSize::LargeInput,
        );
    });
    group.bench_function(BenchmarkId::new("remove", "BTreeMap"), |b| {
        b.iter_batched_ref(
            || work.anchor.clone(),
            |map| work.probes.iter().filter_map(|key| map.remove(key.as_slice())).sum::<u64>(),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn scans(c: &mut Criterion) {
    let work = Workload::new();
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(work.keys.len() as u64));

    group.bench_function(BenchmarkId::new("iterate", "Trie cursor"), |b| {
        b.iter(|| {
            let mut cursor = work.trie.cursor();
            while let Some(entry) = cursor.next() {
                black_box(entry);
            }
        });
    });
    group.bench_function(BenchmarkId::new("iterate", "Trie for_each"), |b| {
        b.iter(|| {
            work.trie.cursor().for_each(|key, value| {
                black_box((key, value));
            });
        });
    });
    group.bench_function(BenchmarkId::new("iterate", "Trie iter"), |b| {
        b.iter(|| {
            for entry in &work.trie {
                black_box(entry);
            }
        });
    });
    group.bench_function(BenchmarkId::new("iterate", "BTreeMap"), |b| {
        b.iter(|| {
            for entry in &work.anchor {
                black_box(entry);
            }
        });
    });

    let found: usize = work.prefixes.iter().map(|prefix| work.trie.prefix(prefix).count()).sum();
    group.throughput(Throughput::Elements(found as u64));
    group.bench_function(BenchmarkId::new("prefix", "Trie cursor"), |b| {
        b.iter(|| {
            for prefix in &work.prefixes {
                let mut cursor = work.trie.cursor_prefix(prefix);
                while let Some(entry) = cursor.next() {
                    black_box(entry);
                }
            }
        });
    });
    group.bench_function(BenchmarkId::new("prefix", "BTreeMap"), |b| {
        b.iter(|| {
            for prefix in &work.prefixes {
                let from = (Bound::Included(prefix.as_slice()), Bound::Unbounded);
                let entries = work.anchor.range::<[u8], _>(from);
                for entry in entries.take_while(|(key, _)| key.starts_with(prefix)) {
                    black_box(entry);
                }
            }
        });
    });
    group.finish();
}

/// The field names of small maps, as documents have them.
const FIELDS: [&str; 10] = [
    "name",
    "email",
    "phone",
    "street",
    "number",
    "city",
    "country",
    "latitude",
    "longitude",
    "zip",
];

fn small_maps(c: &mut Criterion) {
    let mut group = c.benchmark_group("small");
    group.throughput(Throughput::Elements(FIELDS.len() as u64));
    group.bench_function(BenchmarkId::new("make and drop", "Trie"), |b| {
        b.iter(|| {
            let mut trie = Trie::new();
            for (field, value) in FIELDS.iter().zip(0u64..) {
                trie.insert(black_box(field), value);
            }
            trie
        });
    });
    group.bench_function(BenchmarkId::new("make and drop", "BTreeMap"), |b| {
        b.iter(|| {
            let mut map = Anchor::new();
            for (field, value) in FIELDS.iter().zip(0u64..) {
                map.insert(black_box(field).as_bytes().into(), value);
            }
            map
        });
    });
    let trie: Trie<u64> = FIELDS.iter().zip(0..).collect();
    let map: Anchor = FIELDS.iter().map(|field| field.as_bytes().into()).zip(0..).collect();
    group.bench_function(BenchmarkId::new("get", "Trie"), |b| {
        b.iter(|| FIELDS.iter().filter_map(|field| trie.get(black_box(field))).sum::<u64>());
    });
    group.bench_function(BenchmarkId::new("get", "BTreeMap"), |b| {
        b.iter(|| {
            FIELDS.iter().filter_map(|field| map.get(black_box(field).as_bytes())).sum::<u64>()
        });
    });
    group.finish();
}

/// What a snapshot costs, and what the writes after it cost.
fn snapshots(c: &mut Criterion) {
    let work = Workload::new();
    let mut group = c.benchmark_group("snapshot");
    group.bench_function("take and drop", |b| b.iter(|| work.trie.snapshot()));

    group.throughput(Throughput::Elements(work.keys.len() as u64));
    let mut trie = build_trie(&work.keys);
    let overwrite = |trie: &mut Trie<u64>| {
        for (key, value) in work.probes.iter().zip(0..) {
            trie.insert(key, value);
        }
    };
    group.bench_function("overwrite all/never shared", |b| b.iter(|| overwrite(&mut trie)));
    group.bench_function("overwrite all/just shared", |b| {
        b.iter_batched(
            || {
                let snapshot = work.trie.snapshot();
                (snapshot.snapshot(), snapshot)
            },
            |(mut trie, snapshot)| {
                overwrite(&mut trie);
                (trie, snapshot)
            },
            BatchSize::PerIteration,
        );
    });
    let mut own = work.trie.snapshot();
    overwrite(&mut own);
    group.bench_function("overwrite all/copied since", |b| b.iter(|| overwrite(&mut own)));
    group.finish();
}

criterion_group!(benches, point_operations, scans, small_maps, snapshots);
criterion_main!(benches);

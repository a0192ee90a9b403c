//! One run of one map over one workload, and what is measured of it.

use std::hint::black_box;
use std::ops::{Index, IndexMut};

use cpu_time::ThreadTime;

use crate::alloc;
use crate::maps::{Map, Value};
use crate::workload::{Keys, Workload};

/// What is measured. Less is better throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Insert,
    Get,
    Miss,
    Iterate,
    Prefix,
    Overwrite,
    Remove,
    FromSorted,
    Drop,
    Bytes,
}

impl Metric {
    /// In the order of the tables and of the plot.
    pub(crate) const ALL: [Self; 10] = [
        Self::Insert,
        Self::Get,
        Self::Miss,
        Self::Iterate,
        Self::Prefix,
        Self::Overwrite,
        Self::Remove,
        Self::FromSorted,
        Self::Drop,
        Self::Bytes,
    ];

    /// A word or two for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Get => "get",
            Self::Miss => "miss",
            Self::Iterate => "iterate",
            Self::Prefix => "prefix",
            Self::Overwrite => "overwrite",
            Self::Remove => "remove",
            Self::FromSorted => "from sorted",
            Self::Drop => "drop",
            Self::Bytes => "bytes",
        }
    }

    /// What the number is, in full.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Insert => "time per key that is new, in random order",
            Self::Get => "time per key that is there, in random order",
            Self::Miss => "time per key that is absent, in random order",
            Self::Iterate => "time per entry, all in order",
            Self::Prefix => "time per entry found by a prefix",
            Self::Overwrite => "time per insert of a key that is there",
            Self::Remove => "time per key, in random order, until empty",
            Self::FromSorted => "time per key, to build from ascending ones",
            Self::Drop => "time per entry, to drop the map",
            Self::Bytes => "net heap bytes per key",
        }
    }
}

/// A number for each [`Metric`]: heap bytes per key for [`Metric::Bytes`], nanoseconds per operation
/// for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample([f64; Metric::ALL.len()]);

impl Index<Metric> for Sample {
    type Output = f64;

    fn index(&self, metric: Metric) -> &f64 {
        &self.0[metric as usize]
    }
}

impl IndexMut<Metric> for Sample {
    fn index_mut(&mut self, metric: Metric) -> &mut f64 {
        &mut self.0[metric as usize]
    }
}

impl Sample {
    /// The median of each metric: of an even number of samples, the mean of the middle two.
    pub(crate) fn medians(samples: &[Self]) -> Self {
        let mut medians = Self::default();
        for metric in Metric::ALL {
            let mut all: Vec<f64> = samples.iter().map(|sample| sample[metric]).collect();
            all.sort_unstable_by(f64::total_cmp);
            medians[metric] = f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2]);
        }
        medians
    }

    /// Runs `run`, notes the CPU time that this thread spent on each of its `operations`, and returns
    /// what it returns.
    ///
    /// The clock stands while the thread waits for a processor, so a busy neighbour costs less than
    /// by the clock on the wall. What a neighbour takes of caches and memory bandwidth still shows,
    /// and the kernel's work on page faults counts as the map's.
    fn time<T>(&mut self, metric: Metric, operations: usize, run: impl FnOnce() -> T) -> T {
        let start = ThreadTime::now();
        let result = black_box(run());
        let nanoseconds = start.elapsed().as_nanos();
        self[metric] = per(usize::try_from(nanoseconds).unwrap_or(usize::MAX), operations);
        result
    }
}

/// A share of `total` for each of `count`.
#[expect(clippy::cast_precision_loss, reason = "no such count comes near 2^52")]
fn per(total: usize, count: usize) -> f64 {
    total as f64 / count.max(1) as f64
}

fn insert_one_by_one<'k, V: Value, M: Map<V>>(entries: impl Iterator<Item = (&'k [u8], V)>) -> M {
    let mut map = M::new();
    for (key, value) in entries {
        map.insert(black_box(key), value);
    }
    map
}

/// Looks each of the keys up in its map and counts those that are there.
fn count_found<V: Value, M: Map<V>>(maps: &[M], keys: &Keys) -> usize {
    let mut found = Digest::default();
    for (map, keys) in maps.iter().zip(keys.by_map()) {
        for key in keys {
            if let Some(value) = map.get(black_box(key)) {
                found.add(key, value);
            }
        }
    }
    found.finish()
}

/// Counts entries, and reads of each the end of the key and the value, so that a map has to fetch
/// both.
#[derive(Debug, Default)]
struct Digest {
    count: usize,
    sum: usize,
}

impl Digest {
    fn add<V: Value>(&mut self, key: &[u8], value: &V) {
        self.count += 1;
        let last = key.last().map_or(0, |&byte| usize::from(byte));
        self.sum = self.sum.wrapping_add(last ^ value.digest());
    }

    fn finish(&self) -> usize {
        black_box(self.sum);
        self.count
    }
}

/// Takes the maps of `workload` through their life once and measures each part of it.
///
/// # Panics
///
/// If the maps find other numbers of entries than the workload has.
pub(crate) fn measure<V: Value, M: Map<V>>(workload: &Workload) -> Sample {
    let mut sample = Sample::default();
    let len = workload.inserted.len();
    let len_of = |maps: &[M]| maps.iter().map(Map::len).sum::<usize>();

    let live_before = alloc::live();
    let mut maps: Vec<M> = sample.time(Metric::Insert, len, || {
        workload.inserted.entries_by_map().map(insert_one_by_one).collect()
    });
    sample[Metric::Bytes] = per(alloc::live().wrapping_sub(live_before), len);
    assert_eq!(len_of(&maps), len, "entries after the inserts");

    let found = sample.time(Metric::Get, len, || count_found(&maps, &workload.probed));
    assert_eq!(found, len, "keys found");
    let absent = workload.missed.len();
    let found = sample.time(Metric::Miss, absent, || count_found(&maps, &workload.missed));
    assert_eq!(found, 0, "absent keys found");

    let mut entries = Digest::default();
    sample.time(Metric::Iterate, len, || {
        for map in &maps {
            map.for_each(|key, value| entries.add(key, value));
        }
    });
    assert_eq!(entries.finish(), len, "entries visited");

    let mut entries = Digest::default();
    sample.time(Metric::Prefix, workload.scanned, || {
        for (map, prefixes) in maps.iter().zip(workload.prefixes.by_map()) {
            for prefix in prefixes {
                map.for_each_prefix(black_box(prefix), |key, value| entries.add(key, value));
            }
        }
    });
    assert_eq!(entries.finish(), workload.scanned, "entries found by prefix");

    sample.time(Metric::Overwrite, len, || {
        for (map, entries) in maps.iter_mut().zip(workload.probed.entries_by_map()) {
            for (key, value) in entries {
                map.insert(black_box(key), value);
            }
        }
    });
    assert_eq!(len_of(&maps), len, "entries after they were overwritten");

    sample.time(Metric::Remove, len, || {
        for (map, keys) in maps.iter_mut().zip(workload.removed.by_map()) {
            for key in keys {
                map.remove(black_box(key));
            }
        }
    });
    assert_eq!(len_of(&maps), 0, "entries after all were removed");
    drop(maps);

    let maps: Vec<M> = sample.time(Metric::FromSorted, len, || {
        workload.sorted.entries_by_map().map(M::from_sorted).collect()
    });
    assert_eq!(len_of(&maps), len, "entries from sorted keys");
    sample.time(Metric::Drop, len, || drop(maps));
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        let sample = |number| {
            let mut sample = Sample::default();
            sample[Metric::Get] = number;
            sample
        };
        let [a, b, c, d] = [9.0, 1.0, 2.0, 4.0].map(sample);
        assert_eq!(Sample::medians(&[a]), a);
        assert_eq!(Sample::medians(&[a, b, c]), c);
        assert_eq!(Sample::medians(&[a, b, c, d]), sample(3.0));
    }

    #[test]
    fn every_metric_has_a_place_of_its_own() {
        for (place, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, place);
        }
    }
}

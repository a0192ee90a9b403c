//! Workloads: which keys, in which orders, and how they lie in memory.

use std::collections::HashSet;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use triekv::generator::keys;

use crate::maps::Value;

/// Fixed, so that two runs see the same keys in the same orders.
const SEED: u64 = 42;

/// How many entries a prefix scan is meant to find. A prefix can only be cut between bytes, so the
/// number really found is another.
const SCAN_LEN: usize = 100;

/// Field names, from which the small maps draw their keys.
const FIELDS: [&str; 40] = [
    "active",
    "address",
    "age",
    "amount",
    "birthdate",
    "carrier",
    "category",
    "city",
    "comment",
    "company",
    "country",
    "created",
    "currency",
    "customerId",
    "description",
    "email",
    "firstName",
    "gender",
    "height",
    "iban",
    "id",
    "language",
    "lastName",
    "latitude",
    "level",
    "longitude",
    "name",
    "number",
    "orderId",
    "phone",
    "postcode",
    "price",
    "quantity",
    "status",
    "street",
    "tags",
    "title",
    "updated",
    "weight",
    "width",
];

/// The most keys that a small map has. As many others of the [`FIELDS`] are left to miss.
const FIELDS_MAX: usize = FIELDS.len() / 2;

/// Which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// person0, person1, …: long common prefixes, ten children a node
    Person,
    /// Words of 1 to 12 random letters: crowded near the root, sparse below
    Words,
    /// 16 random bytes each, like a UUID: nothing in common
    Ids,
    /// Paths of a made-up tree of folders, or of the one at --paths-root
    Paths,
    /// Many maps of 0 to 20 field names each, with values of 24 bytes
    Small,
}

impl Kind {
    /// The name by which `--workload` knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Words => "words",
            Self::Ids => "ids",
            Self::Paths => "paths",
            Self::Small => "small",
        }
    }
}

/// Keys of one or many maps, packed back to back in the order in which a loop reads them.
///
/// To fetch the next key then costs no cache miss of its own, and what is measured is the map's.
#[derive(Debug)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    /// Where each key begins, and at last where the last one ends.
    bounds: Vec<usize>,
    /// How many of the keys belong to each map.
    counts: Vec<usize>,
}

impl Keys {
    fn new() -> Self {
        Self { bytes: Vec::new(), bounds: vec![0], counts: Vec::new() }
    }

    /// Adds the keys of one more map.
    fn add_map<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) {
        let keys_before = self.len();
        for key in keys {
            self.bytes.extend_from_slice(key);
            self.bounds.push(self.bytes.len());
        }
        self.counts.push(self.len() - keys_before);
    }

    /// How many keys there are, of all maps together.
    pub(crate) fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The keys, map by map.
    pub(crate) fn by_map(&self) -> impl Iterator<Item = impl Iterator<Item = &[u8]>> {
        let mut first = 0;
        self.counts.iter().map(move |&count| {
            let bounds = &self.bounds[first..=first + count];
            first += count;
            bounds.windows(2).map(|key| &self.bytes[key[0]..key[1]])
        })
    }

    /// The same with a value for each key.
    pub(crate) fn entries_by_map<V: Value>(
        &self,
    ) -> impl Iterator<Item = impl Iterator<Item = (&[u8], V)>> {
        self.by_map().map(|keys| keys.zip((0..).map(V::nth)))
    }
}

/// Keys for one map or many, in all the orders that are measured.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    /// The keys in the order of insertion, which is random.
    pub(crate) inserted: Keys,
    /// The same keys in another random order.
    pub(crate) probed: Keys,
    /// The same keys in a third one.
    pub(crate) removed: Keys,
    /// The same keys in ascending order.
    pub(crate) sorted: Keys,
    /// As many other keys of the same kind, fewer only where the small maps have no more.
    pub(crate) missed: Keys,
    /// Prefixes of some of the keys.
    pub(crate) prefixes: Keys,
    /// How many entries the scans of all the prefixes find together.
    pub(crate) scanned: usize,
}

impl Workload {
    /// Draws the keys of `kind`: `count` of them, or about as many in all the maps of
    /// [`Kind::Small`], or fewer if `paths_root` has fewer than twice as many paths.
    ///
    /// # Errors
    ///
    /// If the folder `paths_root`, needed only for [`Kind::Paths`], can't be read or has fewer than
    /// two paths in it.
    pub(crate) fn new(kind: Kind, count: usize, paths_root: Option<&Path>) -> io::Result<Self> {
        let mut workload = Self {
            kind,
            inserted: Keys::new(),
            probed: Keys::new(),
            removed: Keys::new(),
            sorted: Keys::new(),
            missed: Keys::new(),
            prefixes: Keys::new(),
            scanned: 0,
        };
        match kind {
            Kind::Person => {
                let persons = keys::persons(2 * count as u64).map(String::into_bytes);
                workload.add_one_map(persons, count);
            }
            Kind::Words => {
                workload.add_one_map(keys::words(SEED).map(String::into_bytes), count);
            }
            Kind::Ids => workload.add_one_map(keys::ids(SEED).map(Vec::from), count),
            Kind::Paths => {
                let paths = match paths_root {
                    Some(root) => walked_paths(root)?,
                    None => made_up_paths(2 * count),
                };
                // Half of them are to miss.
                let count = count.min(paths.len() / 2);
                if count == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "it has fewer than two paths in it",
                    ));
                }
                workload.add_one_map(keys::shuffled(paths, SEED), count);
            }
            Kind::Small => workload.add_small_maps(count / (FIELDS_MAX / 2)),
        }
        Ok(workload)
    }

    /// Adds a map of the first `count` different keys. The `count` that follow are those to miss.
    fn add_one_map(&mut self, keys: impl Iterator<Item = Vec<u8>>, count: usize) {
        let mut seen = HashSet::new();
        let mut keys = keys.filter(|key| seen.insert(key.clone()));
        let present: Vec<_> = keys.by_ref().take(count).collect();
        let absent: Vec<_> = keys.take(count).collect();
        self.add_map(&present, &absent);
    }

    /// Adds `maps` maps, but at least one, whose sizes come up about equally often.
    fn add_small_maps(&mut self, maps: usize) {
        let mut below = draws();
        for map in 0..maps.max(1) {
            let fields = keys::shuffled(FIELDS, SEED + map as u64);
            let fields: Vec<_> = fields.map(|field| field.as_bytes().to_vec()).collect();
            // The very first one isn't left to chance, so that there is an entry to measure.
            let len = if map == 0 { FIELDS_MAX } else { below(FIELDS_MAX + 1) };
            self.add_map(&fields[..len], &fields[len..2 * len]);
        }
    }

    fn add_map(&mut self, present: &[Vec<u8>], absent: &[Vec<u8>]) {
        let in_order = |keys: &mut Keys, of: &[Vec<u8>], seed| {
            keys.add_map(keys::shuffled(of, seed).map(Vec::as_slice));
        };
        in_order(&mut self.inserted, present, SEED + 1);
        in_order(&mut self.probed, present, SEED + 2);
        in_order(&mut self.removed, present, SEED + 3);
        in_order(&mut self.missed, absent, SEED + 4);

        let mut sorted: Vec<&[u8]> = present.iter().map(Vec::as_slice).collect();
        sorted.sort_unstable();
        self.sorted.add_map(sorted.iter().copied());

        // One scan for the smallest map, and for a large one as many as find a fifth of its keys.
        let scans = sorted.len().div_ceil(5 * SCAN_LEN);
        let of = keys::shuffled(present, SEED + 5).take(scans);
        let (prefixes, found): (Vec<_>, Vec<_>) = of.map(|key| cut(key, &sorted)).unzip();
        self.prefixes.add_map(prefixes.into_iter());
        self.scanned += found.iter().sum::<usize>();
    }

    /// One line about the keys, with their number and mean length.
    pub(crate) fn description(&self) -> String {
        let keys = self.inserted.len();
        let mean = |total: usize, of: usize| tenths(total, of.max(1));
        let key_len = mean(self.inserted.bytes.len(), keys);
        let scan_len = mean(self.scanned, self.prefixes.len());
        let (maps, value_bytes) = match self.kind {
            Kind::Small => (format!("{} maps, together ", self.inserted.counts.len()), 24),
            _ => (String::new(), 8),
        };
        format!(
            "{maps}{keys} keys of {key_len} bytes on average, values of {value_bytes} bytes, \
             {scan_len} entries a prefix scan"
        )
    }
}

/// `total / of` with one digit behind the point.
fn tenths(total: usize, of: usize) -> String {
    let tenths = (10 * total + of / 2) / of;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// The prefix of `key` that as near to [`SCAN_LEN`] of the `sorted` keys as possible begin with, and
/// how many do.
fn cut<'k>(key: &'k [u8], sorted: &[&[u8]]) -> (&'k [u8], usize) {
    let found = |prefix: &[u8]| {
        let from = &sorted[sorted.partition_point(|&key| key < prefix)..];
        from.partition_point(|key| key.starts_with(prefix))
    };
    // Ten times too many is as far off as ten times too few.
    let distance = |found: usize| 1_000 * found.max(SCAN_LEN) / found.clamp(1, SCAN_LEN);
    (1..=key.len())
        .map(|len| (&key[..len], found(&key[..len])))
        .min_by_key(|&(_, found)| distance(found))
        .unwrap_or((key, sorted.len()))
}

/// Returns a function that draws from `0..bound`, each number with nearly the same probability.
fn draws() -> impl FnMut(usize) -> usize {
    let mut ids = keys::ids(SEED + 6);
    move |bound| {
        let id = ids.next().expect("ids have no end");
        let drawn = u128::from_le_bytes(id) % bound as u128;
        usize::try_from(drawn).expect("less than a usize")
    }
}

/// Paths of a made-up tree of folders, `count` of them, all different. Folders are paths too, as in
/// a walk; one path in eight is one, and each lies in a random one of those before it.
fn made_up_paths(count: usize) -> Vec<Vec<u8>> {
    const ENDINGS: [&str; 4] = [".md", ".rs", ".test.rs", ".toml"];
    let mut below = draws();
    let names: Vec<String> = keys::words(SEED).filter(|word| word.len() > 3).take(2_000).collect();
    let mut folders = vec!["/home/user/projects".to_owned()];
    let mut seen = HashSet::new();
    while seen.len() < count {
        let name = &names[below(names.len())];
        let path = format!("{}/{name}", folders[below(folders.len())]);
        if below(8) > 0 {
            seen.insert(path + ENDINGS[below(ENDINGS.len())]);
        } else if seen.insert(path.clone()) {
            folders.push(path);
        }
    }
    // The order of a hash set is another in each run.
    let mut paths: Vec<_> = seen.into_iter().map(String::into_bytes).collect();
    paths.sort_unstable();
    paths
}

/// All paths below `root`. Links are not followed, and folders that can't be read are left out.
fn walked_paths(root: &Path) -> io::Result<Vec<Vec<u8>>> {
    let entries = |folder: PathBuf| fs::read_dir(folder).map(Iterator::flatten);
    let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|file_type| file_type.is_dir());
    let mut paths = Vec::new();
    let mut waiting: Vec<DirEntry> = entries(root.to_owned())?.collect();
    while let Some(entry) = waiting.pop() {
        if is_folder(&entry) {
            waiting.extend(entries(entry.path()).into_iter().flatten());
        }
        paths.push(entry.path().into_os_string().into_encoded_bytes());
    }
    // Folders list their entries in no order that lasts.
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(keys: &Keys) -> Vec<Vec<&[u8]>> {
        keys.by_map().map(Iterator::collect).collect()
    }

    #[test]
    fn every_order_has_the_same_keys_and_no_miss_is_one_of_them() {
        for kind in Kind::value_variants() {
            let workload = Workload::new(*kind, 1_000, None).unwrap();
            let sorted = all(&workload.sorted);
            for other in [&workload.inserted, &workload.probed, &workload.removed] {
                let mut other = all(other);
                for keys in &mut other {
                    keys.sort_unstable();
                }
                assert_eq!(other, sorted, "{kind:?}");
            }
            for (keys, misses) in sorted.iter().zip(all(&workload.missed)) {
                assert!(keys.is_sorted_by(|a, b| a < b), "{kind:?}");
                assert_eq!(keys.len(), misses.len(), "{kind:?}");
                assert!(!misses.iter().any(|miss| keys.contains(miss)), "{kind:?}");
            }
        }
    }

    #[test]
    fn the_prefixes_find_what_is_said() {
        for kind in Kind::value_variants() {
            let workload = Workload::new(*kind, 1_000, None).unwrap();
            let maps = all(&workload.sorted).into_iter().zip(all(&workload.prefixes));
            let found = maps.flat_map(|(keys, prefixes)| {
                let count = move |prefix| keys.iter().filter(|key| key.starts_with(prefix)).count();
                prefixes.into_iter().map(count)
            });
            assert_eq!(found.sum::<usize>(), workload.scanned, "{kind:?}");
            assert!(workload.scanned > 0, "{kind:?}");
        }
    }

    #[test]
    fn a_prefix_is_cut_where_about_a_hundred_keys_have_it() {
        let keys: Vec<String> = (100..400).map(|number| format!("{number}")).collect();
        let sorted: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        assert_eq!(cut(b"234", &sorted), (&b"2"[..], 100));
    }
}

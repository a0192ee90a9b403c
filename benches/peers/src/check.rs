//! Whether a map does what [`BTreeMap`] does.

use std::collections::BTreeMap;

use triekv::generator::keys;

use crate::maps::{Map, Value};

type Model<V> = BTreeMap<Vec<u8>, V>;

/// Operations on each alphabet.
const STEPS: usize = 3_000;
/// How often all entries and a few prefixes are looked at between them.
const SCANS: usize = 10;
const KEY_LEN_MAX: usize = 6;

/// Few letters make many keys that are prefixes of others; the ends of the range of bytes are where
/// escapes, signs and lengths go wrong.
const ALPHABETS: [&[u8]; 3] = [b"a", b"abc", &[0, 1, 2, 127, 128, 254, 255]];

/// Runs random operations on a map of type `M` next to a [`BTreeMap`].
///
/// # Panics
///
/// At the first answer that differs.
pub(crate) fn check<V: Value, M: Map<V>>() {
    for alphabet in ALPHABETS {
        let mut random = keys::ids(alphabet.len() as u64);
        let mut map = M::new();
        let mut model = Model::new();
        for step in 0..STEPS {
            let [choice, probe @ ..] = random.next().expect("ids have no end");
            let key = key_from(&probe, alphabet);
            // Grows for a while and shrinks for a while, down to few entries.
            let inserts_of_256 = if step % 1_000 < 600 { 160 } else { 40 };
            if choice < inserts_of_256 {
                let (value, old) = (V::nth(step), model.insert(key.clone(), V::nth(step)));
                assert_eq!(map.insert(&key, value), old, "insert {key:?}");
            } else if choice < 200 {
                assert_eq!(map.remove(&key), model.remove(&key), "remove {key:?}");
            } else {
                assert_eq!(map.get(&key), model.get(&key), "get {key:?}");
            }
            assert_eq!(map.len(), model.len(), "len after {key:?}");
            if step % (STEPS / SCANS) == 0 {
                check_scans(&map, &model, &key);
            }
        }
        let map = M::from_sorted(model.iter().map(|(key, value)| (key.as_slice(), *value)));
        assert_eq!(map.len(), model.len(), "len from sorted");
        check_scans(&map, &model, &model.keys().next_back().cloned().unwrap_or_default());
    }
}

/// A key of letters of `alphabet`: the first of the `random` bytes is for its length.
fn key_from(random: &[u8; 15], alphabet: &[u8]) -> Vec<u8> {
    let len = usize::from(random[0]) % (KEY_LEN_MAX + 1);
    random[1..=len].iter().map(|&byte| alphabet[usize::from(byte) % alphabet.len()]).collect()
}

/// Compares all entries, each by itself too, and the entries of each prefix of `key`.
fn check_scans<V: Value, M: Map<V>>(map: &M, model: &Model<V>, key: &[u8]) {
    for (key, value) in model {
        assert_eq!(map.get(key), Some(value), "get {key:?}");
    }
    let mut found = Vec::new();
    map.for_each(|key, value| found.push((key.to_vec(), *value)));
    compare::<V, M>(found, model, b"");
    for len in 0..=key.len() {
        let mut found = Vec::new();
        map.for_each_prefix(&key[..len], |key, value| found.push((key.to_vec(), *value)));
        compare::<V, M>(found, model, &key[..len]);
    }
}

/// Compares what was `found` with what of the `model` begins with `prefix`.
fn compare<V: Value, M: Map<V>>(mut found: Vec<(Vec<u8>, V)>, model: &Model<V>, prefix: &[u8]) {
    if !M::IS_ORDERED {
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    let expected = model.iter().filter(|(key, _)| key.starts_with(prefix));
    let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), *value)).collect();
    let differ = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert_eq!(differ, None, "entries with prefix {prefix:?}");
    assert_eq!(found.len(), expected.len(), "entries with prefix {prefix:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A B-tree whose prefix scans find one entry too few.
    struct Wrong(BTreeMap<Box<[u8]>, usize>);

    impl Map<usize> for Wrong {
        fn new() -> Self {
            Self(BTreeMap::new())
        }

        fn insert(&mut self, key: &[u8], value: usize) -> Option<usize> {
            Map::insert(&mut self.0, key, value)
        }

        fn get(&self, key: &[u8]) -> Option<&usize> {
            Map::get(&self.0, key)
        }

        fn remove(&mut self, key: &[u8]) -> Option<usize> {
            Map::remove(&mut self.0, key)
        }

        fn len(&self) -> usize {
            self.0.len()
        }

        fn for_each(&self, visit: impl FnMut(&[u8], &usize)) {
            self.0.for_each(visit);
        }

        fn for_each_prefix(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &usize)) {
            self.0.for_each_prefix(prefix, |key, value| {
                if key != prefix {
                    visit(key, value);
                }
            });
        }
    }

    #[test]
    #[should_panic(expected = "entries with prefix")]
    fn a_map_that_differs_fails() {
        check::<usize, Wrong>();
    }
}

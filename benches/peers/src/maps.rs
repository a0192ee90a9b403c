//! The maps, behind one trait.
//!
//! Each does what it is asked by the plain call that its API has for it, without unsafe code, and
//! hands out whole keys, as a user would need them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Bound;

use triekv::trie::Trie;

/// What is kept in the maps.
pub(crate) trait Value: Copy + Debug + PartialEq + 'static {
    /// The value of the key at `position`.
    fn nth(position: usize) -> Self;

    /// A number that can't be known without reading the value.
    fn digest(&self) -> usize;
}

impl Value for usize {
    fn nth(position: usize) -> Self {
        position
    }

    fn digest(&self) -> usize {
        *self
    }
}

/// 24 bytes that may be one of several things, as in a document. As an enum it leaves a map room to
/// keep elsewhere than beside it whether there is a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Field {
    Number(usize),
    Truth(bool),
    Text([u8; 16]),
}

impl Value for Field {
    fn nth(position: usize) -> Self {
        match position % 3 {
            0 => Self::Number(position),
            1 => Self::Truth(position.is_multiple_of(2)),
            _ => Self::Text([b'x'; 16]),
        }
    }

    fn digest(&self) -> usize {
        match self {
            Self::Number(number) => *number,
            Self::Truth(truth) => usize::from(*truth),
            Self::Text(text) => usize::from(text[0]),
        }
    }
}

/// An ordered map from byte strings to `V`, as std's [`BTreeMap`] is one.
pub(crate) trait Map<V: Value>: Sized {
    /// Whether entries are visited in the order of the bytes of their keys.
    const IS_ORDERED: bool = true;

    /// An empty map.
    fn new() -> Self;

    /// Sets the value at `key` and returns the one that it replaces.
    fn insert(&mut self, key: &[u8], value: V) -> Option<V>;

    /// The value at `key`.
    fn get(&self, key: &[u8]) -> Option<&V>;

    /// Removes the value at `key` and returns it.
    fn remove(&mut self, key: &[u8]) -> Option<V>;

    /// The number of entries.
    fn len(&self) -> usize;

    /// Visits all entries, in order.
    fn for_each(&self, visit: impl FnMut(&[u8], &V));

    /// Visits the entries whose keys begin with `prefix`, in order.
    fn for_each_prefix(&self, prefix: &[u8], visit: impl FnMut(&[u8], &V));

    /// Makes a map of entries whose keys ascend. Inserts one after the other unless the map has a
    /// faster way.
    fn from_sorted<'k>(entries: impl Iterator<Item = (&'k [u8], V)>) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

/// The subject.
impl<V: Value> Map<V> for Trie<V> {
    fn new() -> Self {
        Trie::new()
    }

    fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        self.insert(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<&V> {
        self.get(key)
    }

    fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.remove(key)
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn for_each(&self, visit: impl FnMut(&[u8], &V)) {
        self.cursor().for_each(visit);
    }

    fn for_each_prefix(&self, prefix: &[u8], visit: impl FnMut(&[u8], &V)) {
        self.cursor_prefix(prefix).for_each(visit);
    }

    fn from_sorted<'k>(entries: impl Iterator<Item = (&'k [u8], V)>) -> Self {
        Trie::from_sorted(entries).expect("the keys ascend")
    }
}

/// A B-tree with the API of std's.
macro_rules! impl_map_for_btree {
    ($map:ident) => {
        impl<V: Value> Map<V> for $map<Box<[u8]>, V> {
            fn new() -> Self {
                $map::new()
            }

            fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
                self.insert(key.into(), value)
            }

            fn get(&self, key: &[u8]) -> Option<&V> {
                self.get(key)
            }

            fn remove(&mut self, key: &[u8]) -> Option<V> {
                self.remove(key)
            }

            fn len(&self) -> usize {
                self.len()
            }

            fn for_each(&self, mut visit: impl FnMut(&[u8], &V)) {
                for (key, value) in self {
                    visit(key, value);
                }
            }

            fn for_each_prefix(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &V)) {
                self.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
                    .take_while(|(key, _)| key.starts_with(prefix))
                    .for_each(|(key, value)| visit(key, value));
            }

            fn from_sorted<'k>(entries: impl Iterator<Item = (&'k [u8], V)>) -> Self {
                entries.map(|(key, value)| (key.into(), value)).collect()
            }
        }
    };
}

/// The B-tree of the crate `btree_experiment`.
pub(crate) type ExperimentalBTreeMap<K, V> = btree_experiment::BTreeMap<K, V>;

impl_map_for_btree!(BTreeMap);
impl_map_for_btree!(ExperimentalBTreeMap);

impl<V: Value> Map<V> for fast_radix_trie::RadixMap<V> {
    fn new() -> Self {
        fast_radix_trie::RadixMap::new()
    }

    fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        self.insert(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<&V> {
        self.get(key)
    }

    fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.remove(key)
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn for_each(&self, mut visit: impl FnMut(&[u8], &V)) {
        self.iter().for_each(|(key, value)| visit(&key, value));
    }

    fn for_each_prefix(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &V)) {
        self.iter_prefix(prefix).for_each(|(key, value)| visit(&key, value));
    }
}

/// It branches at the low half of a byte before the high half, and visits entries in the order of
/// that: 0x21 before 0x12. To visit them costs the same as if it were the order of bytes.
impl<V: Value> Map<V> for qp_trie::Trie<Box<[u8]>, V> {
    const IS_ORDERED: bool = false;

    fn new() -> Self {
        qp_trie::Trie::new()
    }

    fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        self.insert(key.into(), value)
    }

    fn get(&self, key: &[u8]) -> Option<&V> {
        self.get(key)
    }

    fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.remove(key)
    }

    fn len(&self) -> usize {
        self.count()
    }

    fn for_each(&self, mut visit: impl FnMut(&[u8], &V)) {
        self.iter().for_each(|(key, value)| visit(key, value));
    }

    fn for_each_prefix(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &V)) {
        self.iter_prefix(prefix).for_each(|(key, value)| visit(key, value));
    }
}

/// Its keys are [terminated], for it refuses one that is a prefix of another.
impl<V: Value> Map<V> for blart::TreeMap<Box<[u8]>, V> {
    fn new() -> Self {
        blart::TreeMap::new()
    }

    fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        let key = terminated(key, |key| key.into());
        self.try_insert(key, value).expect("no terminated key is a prefix of another")
    }

    fn get(&self, key: &[u8]) -> Option<&V> {
        terminated(key, |key| self.get(key))
    }

    fn remove(&mut self, key: &[u8]) -> Option<V> {
        terminated(key, |key| self.remove(key))
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn for_each(&self, mut visit: impl FnMut(&[u8], &V)) {
        let mut plain = Vec::new();
        self.iter().for_each(|(key, value)| visit(unterminated(key, &mut plain), value));
    }

    fn for_each_prefix(&self, prefix: &[u8], mut visit: impl FnMut(&[u8], &V)) {
        let mut plain = Vec::new();
        // What begins with the prefix goes on after it, so the terminator is cut off again.
        terminated(prefix, |prefix| self.prefix(&prefix[..prefix.len() - 1]))
            .for_each(|(key, value)| visit(unterminated(key, &mut plain), value));
    }
}

/// The byte after a key, less than all bytes in it.
const END: u8 = 0;
/// Stands before each byte of a key that is no greater than itself, one more than the byte.
const ESCAPE: u8 = 1;

/// Calls `with` with a form of `key` that is no prefix of another one's and has the same order: as a
/// C string ends with a zero, and with 0 and 1 within it written as (1, 1) and (1, 2).
fn terminated<T>(key: &[u8], with: impl FnOnce(&[u8]) -> T) -> T {
    thread_local! {
        static FORM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    FORM.with_borrow_mut(|form| {
        form.clear();
        if key.iter().all(|&byte| byte > ESCAPE) {
            form.extend_from_slice(key);
        } else {
            for &byte in key {
                if byte > ESCAPE {
                    form.push(byte);
                } else {
                    form.extend([ESCAPE, byte + 1]);
                }
            }
        }
        form.push(END);
        with(form)
    })
}

/// The key of which `form` is the [`terminated`] form, put together in `plain` unless it lies in
/// `form` as it is.
fn unterminated<'k>(form: &'k [u8], plain: &'k mut Vec<u8>) -> &'k [u8] {
    let body = &form[..form.len() - 1];
    if !body.contains(&ESCAPE) {
        return body;
    }
    plain.clear();
    let mut bytes = body.iter();
    while let Some(&byte) = bytes.next() {
        let escaped = if byte == ESCAPE { bytes.next() } else { None };
        plain.push(escaped.map_or(byte, |next| next - 1));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_small_map_has_24_bytes_with_or_without_an_option() {
        assert_eq!(size_of::<Field>(), 24);
        assert_eq!(size_of::<Option<Field>>(), 24);
    }

    #[test]
    fn terminated_keys_keep_their_order_and_none_is_a_prefix_of_another() {
        let bytes = [0, 1, 2, 255];
        let mut keys = vec![Vec::new()];
        for len in 1..=3_u32 {
            for number in 0..4_usize.pow(len) {
                keys.push((0..len).map(|place| bytes[number >> (2 * place) & 3]).collect());
            }
        }
        keys.sort();
        let forms: Vec<Vec<u8>> = keys.iter().map(|key| terminated(key, <[u8]>::to_vec)).collect();
        assert!(forms.is_sorted_by(|a, b| a < b && !b.starts_with(a)));
        for (key, form) in keys.iter().zip(&forms) {
            assert_eq!(unterminated(form, &mut Vec::new()), key);
        }
    }
}

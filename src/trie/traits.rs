//! The traits that a map has, and the conversions into one.

use super::build::Builder;
use super::iter::debug_entries;
use super::{IntoIter, Iter, IterMut, Trie};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Index;

impl<V> Default for Trie<V> {
    /// An empty trie.
    fn default() -> Self {
        Self::new()
    }
}

/// Copies all entries, in **O(n)** for `n` bytes of keys and their values. A
/// [snapshot](Trie::snapshot) doesn't.
impl<V: Clone> Clone for Trie<V> {
    fn clone(&self) -> Self {
        let mut builder = Builder::new();
        let mut cursor = self.cursor();
        while let Some((key, value)) = cursor.next() {
            let pushed = builder.push(key, value.clone());
            assert!(pushed.is_ok(), "a cursor goes in the order of keys");
        }
        Self { root: builder.finish() }
    }
}

/// Compares in **O(n)** for `n` bytes of keys and their values.
impl<V: PartialEq> PartialEq for Trie<V> {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        let (mut left, mut right) = (self.cursor(), other.cursor());
        while let Some(entry) = left.next() {
            if right.next() != Some(entry) {
                return false;
            }
        }
        true
    }
}

impl<V: Eq> Eq for Trie<V> {}

impl<V: PartialOrd> PartialOrd for Trie<V> {
    /// Compares the entries one after the other, in key order, as std's maps do.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let (mut left, mut right) = (self.cursor(), other.cursor());
        loop {
            match (left.next(), right.next()) {
                (Some(left), Some(right)) => match left.partial_cmp(&right) {
                    Some(Ordering::Equal) => {}
                    order => return order,
                },
                (left, right) => return Some(left.is_some().cmp(&right.is_some())),
            }
        }
    }
}

impl<V: Ord> Ord for Trie<V> {
    /// Compares the entries one after the other, in key order, as std's maps do.
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut left, mut right) = (self.cursor(), other.cursor());
        loop {
            match (left.next(), right.next()) {
                (Some(left), Some(right)) => match left.cmp(&right) {
                    Ordering::Equal => {}
                    order => return order,
                },
                (left, right) => return left.is_some().cmp(&right.is_some()),
            }
        }
    }
}

impl<V: Hash> Hash for Trie<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        let mut cursor = self.cursor();
        while let Some(entry) = cursor.next() {
            entry.hash(state);
        }
    }
}

/// Shows keys that are UTF-8 as text and others as byte strings: `{"mary": 1, b"\xff": 2}`.
impl<V: fmt::Debug> fmt::Debug for Trie<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_entries(self.walk(), f)
    }
}

impl<K: AsRef<[u8]> + ?Sized, V> Index<&K> for Trie<V> {
    type Output = V;

    /// The value at `key`.
    ///
    /// # Panics
    ///
    /// Panics if there is none; [`get`](Trie::get) returns `None` instead.
    fn index(&self, key: &K) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

impl<K: AsRef<[u8]>, V> Extend<(K, V)> for Trie<V> {
    /// Inserts each entry; of those with the same key the last wins.
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<'a, K: AsRef<[u8]>, V: Copy> Extend<(K, &'a V)> for Trie<V> {
    /// Inserts a copy of each entry, as another trie's [`iter`](Trie::iter) yields them.
    fn extend<I: IntoIterator<Item = (K, &'a V)>>(&mut self, entries: I) {
        self.extend(entries.into_iter().map(|(key, value)| (key, *value)));
    }
}

impl<K: AsRef<[u8]>, V> FromIterator<(K, V)> for Trie<V> {
    /// Inserts each entry; of those with the same key the last wins. As long as the keys ascend, this
    /// is as fast as [`from_sorted`](Trie::from_sorted).
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries = entries.into_iter();
        let mut builder = Builder::new();
        let unsorted = entries.find_map(|(key, value)| {
            let unsorted = builder.push(key.as_ref(), value).err();
            unsorted.map(|value| (key, value))
        });
        let mut trie = Self { root: builder.finish() };
        trie.extend(unsorted);
        trie.extend(entries);
        trie
    }
}

impl<K: AsRef<[u8]>, V, const N: usize> From<[(K, V); N]> for Trie<V> {
    /// Inserts each entry; of those with the same key the last wins.
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<V> IntoIterator for Trie<V> {
    type Item = (Vec<u8>, V);
    type IntoIter = IntoIter<V>;

    /// An iterator that owns the entries, in key order.
    fn into_iter(self) -> IntoIter<V> {
        IntoIter { walk: self.into_walk() }
    }
}

impl<'a, V> IntoIterator for &'a Trie<V> {
    type Item = (Vec<u8>, &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<'a, V> IntoIterator for &'a mut Trie<V> {
    type Item = (Vec<u8>, &'a mut V);
    type IntoIter = IterMut<'a, V>;

    fn into_iter(self) -> IterMut<'a, V> {
        self.iter_mut()
    }
}

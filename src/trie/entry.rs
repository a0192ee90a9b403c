//! The entry API: one search for a read and a write at the same key.

use super::place::{Occupied, Vacant};
use std::fmt;

/// A place in a trie for one key, occupied or vacant. Made by [`Trie::entry`](super::Trie::entry).
#[derive(Debug)]
pub enum Entry<'a, K, V> {
    /// There is a value at the key.
    Occupied(OccupiedEntry<'a, K, V>),
    /// There is no value at the key.
    Vacant(VacantEntry<'a, K, V>),
}

/// A place that has a value. `K` is the type of the key that was asked for.
pub struct OccupiedEntry<'a, K, V> {
    pub(super) key: K,
    pub(super) place: Occupied<'a, V>,
}

/// A place that has no value. `K` is the type of the key that was asked for.
pub struct VacantEntry<'a, K, V> {
    pub(super) key: K,
    pub(super) place: Vacant<'a, V>,
}

impl<'a, K: AsRef<[u8]>, V> Entry<'a, K, V> {
    /// Inserts `default` if the entry is vacant, and returns the value. Takes **O(k)** for the `k`
    /// bytes of the key that are new.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut counts = Trie::new();
    /// for word in ["to", "be", "or", "not", "to", "be"] {
    ///     *counts.entry(word).or_insert(0) += 1;
    /// }
    /// assert_eq!(counts.get("be"), Some(&2));
    /// ```
    pub fn or_insert(self, default: V) -> &'a mut V {
        self.or_insert_with(|| default)
    }

    /// Inserts what `default` returns if the entry is vacant, and returns the value. `default` isn't
    /// called if the entry is occupied. If it panics, the trie is as before.
    pub fn or_insert_with(self, default: impl FnOnce() -> V) -> &'a mut V {
        self.or_insert_with_key(|_| default())
    }

    /// As [`or_insert_with`](Self::or_insert_with), for a value that depends on the key.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut lengths = Trie::new();
    /// assert_eq!(lengths.entry("mary").or_insert_with_key(|key| key.len()), &4);
    /// ```
    pub fn or_insert_with_key(self, default: impl FnOnce(&K) -> V) -> &'a mut V {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => {
                let value = default(entry.key());
                entry.insert(value)
            }
        }
    }

    /// Inserts the default value of the type if the entry is vacant, and returns the value.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Calls `modify` with the value if the entry is occupied.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::from([("a", 1)]);
    /// trie.entry("a").and_modify(|value| *value += 1).or_insert(10);
    /// trie.entry("b").and_modify(|value| *value += 1).or_insert(10);
    /// assert_eq!(trie, Trie::from([("a", 2), ("b", 10)]));
    /// ```
    #[must_use = "if the entry is to be left vacant, use `get_mut`"]
    pub fn and_modify(mut self, modify: impl FnOnce(&mut V)) -> Self {
        if let Self::Occupied(entry) = &mut self {
            modify(entry.get_mut());
        }
        self
    }

    /// The key that was asked for.
    pub fn key(&self) -> &K {
        match self {
            Self::Occupied(entry) => entry.key(),
            Self::Vacant(entry) => entry.key(),
        }
    }
}

impl<'a, K, V> OccupiedEntry<'a, K, V> {
    /// The key that was asked for.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Gives the key back and leaves the entry as it is.
    pub fn into_key(self) -> K {
        self.key
    }

    /// The value. Takes **O(1)**.
    pub fn get(&self) -> &V {
        self.place.get()
    }

    /// The value, to be changed in place. Takes **O(1)**.
    pub fn get_mut(&mut self) -> &mut V {
        self.place.get_mut()
    }

    /// The value, for as long as the trie is borrowed. Takes **O(1)**.
    pub fn into_mut(self) -> &'a mut V {
        self.place.into_mut()
    }

    /// Replaces the value and returns the old one. Takes **O(1)**.
    pub fn insert(&mut self, value: V) -> V {
        std::mem::replace(self.get_mut(), value)
    }

    /// Removes the entry and returns the value. Takes **O(k)** for a key of `k` bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::{Entry, Trie};
    ///
    /// let mut trie = Trie::from([("mary", 1)]);
    /// if let Entry::Occupied(entry) = trie.entry("mary") {
    ///     assert_eq!(entry.remove(), 1);
    /// }
    /// assert!(trie.is_empty());
    /// ```
    pub fn remove(self) -> V {
        self.remove_entry().1
    }

    /// Removes the entry and returns its key and value. Takes as long as [`remove`](Self::remove).
    pub fn remove_entry(self) -> (K, V) {
        (self.key, self.place.remove())
    }
}

impl<'a, K, V> VacantEntry<'a, K, V> {
    /// The key that was asked for.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Gives the key back and leaves the entry vacant.
    pub fn into_key(self) -> K {
        self.key
    }

    /// Inserts a value and returns it, for as long as the trie is borrowed. Takes **O(k)** for the
    /// `k` bytes of the key that are new.
    pub fn insert(self, value: V) -> &'a mut V
    where
        K: AsRef<[u8]>,
    {
        self.place.insert(self.key.as_ref(), value)
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OccupiedEntry<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedEntry")
            .field("key", self.key())
            .field("value", self.get())
            .finish_non_exhaustive()
    }
}

impl<K: fmt::Debug, V> fmt::Debug for VacantEntry<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VacantEntry").field(self.key()).finish()
    }
}

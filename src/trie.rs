//! An ordered map from byte strings, with queries by prefix.
//!
//! [`Trie`] has the names and the behaviour of std's [`BTreeMap`](std::collections::BTreeMap), for
//! keys that are bytes: text, paths, ids, numbers in big-endian. It keeps most of what keys have in
//! common once, so that it also answers what a tree of whole keys can't answer directly: all keys that begin
//! with a prefix ([`Trie::prefix`], [`Trie::remove_prefix`]), and all keys that another key begins
//! with ([`Trie::longest_prefix`], [`Trie::prefixes`]).
//!
//! ```
//! use triekv::trie::Trie;
//!
//! let mut ages = Trie::new();
//! ages.insert("mary", 31);
//! ages.insert("mark", 27);
//! ages.insert("john", 45);
//!
//! assert_eq!(ages.get("mary"), Some(&31));
//! assert_eq!(ages.prefix("mar").count(), 2);
//! assert_eq!(ages.longest_prefix("john.address"), Some((&b"john"[..], &45)));
//! ```
//!
//! # Keys
//!
//! Any byte string is a key: the empty one, one that is a prefix of another, one with zero bytes, one
//! of megabytes. Whatever is [`AsRef<[u8]>`](AsRef) is taken for one, `&str` and `String` included.
//! Order is that of the bytes, which for UTF-8 is that of the characters.
//!
//! Keys aren't stored whole. So iterators return each key as a `Vec<u8>` of its own, and
//! [`Trie::cursor`] lends it from a buffer instead, without an allocation per step. There is no
//! `get_key_value`: the trie has no better copy of the key than the caller.
//!
//! # Algorithm
//!
//! A *B-trie* (Askitis and Zobel, "B-tries for disk-based string management", VLDB Journal 18, 2009),
//! kept in memory and with three changes. The entries are in *pages*: up to 32 of them, sorted, in one
//! block of memory. A trie that fits into one page is that page. Above pages stand *inner nodes*: each
//! has a label, which its keys have in common, perhaps a value, and children, each of which has the keys
//! whose next four bytes lie in a range. A page that is full is divided near its middle, into two
//! neighbours below the same inner node; only one whose keys all go on with the same four bytes is put
//! below an inner node of its own. So pages are about as full as those of a B-tree, whatever the keys
//! are, and a key is kept without the bytes that the labels above it have. An inner node of more than 64
//! children parts them by one byte, for which it has an index, and gathers below one child what begins
//! with the same: nodes adapt to their keys, as those of Leis et al., "The adaptive radix tree", ICDE 2013.
//!
//! What differs from a B-trie: a page, and a node of few children, orders keys by four bytes, as one
//! number, so that a search compares four at a time and mostly looks at one whole key (the *heads* of
//! Graefe and Larson, "B-tree indexes and CPU caches", ICDE 2001); ranges take the place of hash tables
//! and pages for single bytes; and nodes are counted, so that [snapshots](Trie::snapshot) share them.
//!
//! Nothing recurses over nodes: a hundred thousand keys, each a prefix of the next, make a trie as
//! deep as that, and it is inserted, copied, compared, walked and dropped on a stack of any size.
//!
//! # Costs
//!
//! **O(k)** below means proportional to the bytes of the key; the searches in the nodes on its way come
//! to that, too. An insertion may rewrite the children of a full node, 64 pages at most, but each
//! entry once for each level that it sinks. A trie is one pointer. An empty one has no memory of its own, one of a page has one
//! block, and one more for each key of more than 259 bytes. `docs/PERFORMANCE.md` in the repository has
//! times and bytes beside those of other maps.
//!
//! A trie that no snapshot was taken of pays for them with 8 bytes, with 4 in each node, and with a look
//! at these in each node that it writes to.
//!
//! # Caveats
//!
//! - Keys that part at very many places, as paths of files do, make a deep trie: each such place is a
//!   node on the way of the keys behind it.
//! - A key that leaves a label in its middle splits it, which copies the label, however long it is.
//! - A key has less than 4 GiB; inserting a longer one panics.
//! - A trie of references must be declared after what it refers to: as with any collection that
//!   isn't std's own, its drop counts as a use of its values.
//! - The places where memory is handled by hand are three private modules, `node`, `page` and `inner`.

mod build;
#[cfg(any(test, fuzzing))]
mod check;
mod cursor;
mod cut;
mod entry;
mod extract;
mod gather;
#[expect(unsafe_code, reason = "nodes are blocks of memory with areas of several types")]
#[expect(clippy::cast_possible_truncation, reason = "what is counted in a few bits has a limit")]
mod inner;
mod iter;
mod key;
#[expect(unsafe_code, reason = "nodes are blocks of memory with areas of several types")]
mod node;
#[expect(unsafe_code, reason = "nodes are blocks of memory with areas of several types")]
#[expect(clippy::cast_possible_truncation, reason = "what is counted in a few bits has a limit")]
mod page;
mod place;
mod range;
mod serialize;
#[cfg(test)]
mod tests;
mod traits;
mod visit;
mod walk;

pub use build::UnsortedError;
pub use cursor::{Cursor, Prefixes};
pub use entry::{Entry, OccupiedEntry, VacantEntry};
pub use extract::ExtractIf;
pub use iter::{
    IntoIter, IntoKeys, IntoValues, Iter, IterMut, Keys, Range, RangeMut, Values, ValuesMut,
};
pub(crate) use page::Parts;
pub use range::KeyRange;

use node::Root;
use place::{Occupied, find};
use std::mem;
use walk::{Mutable, Owned, Shared};

/// An ordered map from byte strings to `V`. See the [module](self) for what sets it apart.
///
/// As with std's maps, the keys are in the map's hands: it keeps a copy of their bytes.
///
/// A trie is invariant in `V`, for it may store a function that clones values, for
/// [snapshots](Self::snapshot): a `Trie<&'static str>` doesn't pass for a `Trie<&'a str>`.
///
/// ```compile_fail
/// fn shorten<'a>(trie: triekv::Trie<&'static str>, _: &'a str) -> triekv::Trie<&'a str> {
///     trie
/// }
/// ```
///
/// # Examples
///
/// ```
/// use triekv::trie::Trie;
///
/// let mut trie = Trie::from([("b", 2), ("a", 1), ("ab", 3)]);
/// *trie.entry("b").or_insert(0) += 10;
/// assert_eq!(trie.remove("ab"), Some(3));
/// let entries: Vec<_> = trie.iter().collect();
/// assert_eq!(entries, [(b"a".to_vec(), &1), (b"b".to_vec(), &12)]);
/// ```
pub struct Trie<V> {
    root: Root<V>,
}

/// [`Trie::append`] builds a new trie of both, unless the other one is this many times smaller.
const APPEND_BY_INSERTING: usize = 8;

impl<V> Trie<V> {
    /// Makes an empty trie, without allocating. Takes **O(1)**.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// static NOTHING: Trie<u32> = Trie::new();
    /// assert!(NOTHING.is_empty());
    /// ```
    pub const fn new() -> Self {
        Self { root: Root::empty() }
    }

    /// A copy that shares all nodes with this trie. Takes **O(1)**: nothing is cloned, and nothing is
    /// allocated but a few words for a trie of more than one page.
    ///
    /// Neither side sees what the other one changes: before a node that both have is written to, the
    /// writer copies it, which clones the values in it and shares the nodes below. So the first write
    /// to each page after a snapshot costs more, and the later ones cost what they always do. What a
    /// snapshot shares stays in memory until both sides have let go of it.
    ///
    /// The bounds are those of sharing values between threads and of copying them later. A trie that
    /// no snapshot is taken of asks for neither. [`clone`](Clone::clone) copies all entries at once.
    ///
    /// # Panics
    ///
    /// Panics if a node already has more than two thousand million owners.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut now = Trie::from([("a", 1), ("b", 2)]);
    /// let then = now.snapshot();
    /// now.insert("a", 10);
    /// assert_eq!(then, Trie::from([("a", 1), ("b", 2)]));
    /// assert_eq!(now, Trie::from([("a", 10), ("b", 2)]));
    ///
    /// // Another thread can read it, for as long as it likes.
    /// let sum = std::thread::spawn(move || then.values().sum::<i32>());
    /// now.clear();
    /// # assert_eq!(sum.join().unwrap(), 3);
    /// ```
    #[must_use = "a snapshot is what it returns"]
    pub fn snapshot(&self) -> Self
    where
        V: Clone + Send + Sync,
    {
        Self { root: self.root.snapshot(V::clone) }
    }

    /// The number of entries. Takes **O(1)**.
    pub fn len(&self) -> usize {
        self.root.len()
    }

    /// Whether there are no entries. Takes **O(1)**.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all entries. Takes **O(n)** for `n` entries.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Returns the value at `key`, or `None` if there is none. Takes **O(k)** for a key of `k` bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("mary", 1)]);
    /// assert_eq!(trie.get("mary"), Some(&1));
    /// assert_eq!(trie.get(b"mary"), Some(&1));
    /// assert_eq!(trie.get("mar"), None);
    /// ```
    pub fn get<K: AsRef<[u8]> + ?Sized>(&self, key: &K) -> Option<&V> {
        place::get(&self.root, key.as_ref())
    }

    /// Returns the value at `key` to be changed in place, or `None` if there is none. Takes **O(k)**
    /// for a key of `k` bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::from([("mary", 1)]);
    /// if let Some(value) = trie.get_mut("mary") {
    ///     *value += 1;
    /// }
    /// assert_eq!(trie["mary"], 2);
    /// ```
    pub fn get_mut<K: AsRef<[u8]> + ?Sized>(&mut self, key: &K) -> Option<&mut V> {
        Some(self.find(key.as_ref())?.into_mut())
    }

    /// Whether there is a value at `key`. Takes **O(k)** for a key of `k` bytes.
    pub fn contains_key<K: AsRef<[u8]> + ?Sized>(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Sets the value at `key` and returns the one that it replaces, or `None` if there was none.
    /// Takes **O(k)** for a key of `k` bytes.
    ///
    /// # Panics
    ///
    /// Panics if the key is new and has 4 GiB or more.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::new();
    /// assert_eq!(trie.insert("mary", 1), None);
    /// assert_eq!(trie.insert("mary", 2), Some(1));
    /// assert_eq!(trie["mary"], 2);
    /// ```
    pub fn insert<K: AsRef<[u8]>>(&mut self, key: K, value: V) -> Option<V> {
        let key = key.as_ref();
        let value = match self.root.try_put(key, value) {
            Ok(previous) => return previous,
            Err(value) => value,
        };
        match find(&mut self.root, key) {
            Ok(mut place) => Some(mem::replace(place.get_mut(), value)),
            Err(place) => {
                place.insert(key, value);
                None
            }
        }
    }

    /// Removes the entry at `key` and returns its value, or `None` if there is none. Takes **O(k)**
    /// for a key of `k` bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::from([("mary", 1)]);
    /// assert_eq!(trie.remove("mary"), Some(1));
    /// assert_eq!(trie.remove("mary"), None);
    /// ```
    pub fn remove<K: AsRef<[u8]> + ?Sized>(&mut self, key: &K) -> Option<V> {
        let value = self.find(key.as_ref())?.remove();
        if self.is_empty() {
            self.clear();
        }
        Some(value)
    }

    /// Removes the entry at `key` and returns it, with a copy of the key, or `None` if there is none.
    /// Takes **O(k)** for a key of `k` bytes.
    pub fn remove_entry<K: AsRef<[u8]> + ?Sized>(&mut self, key: &K) -> Option<(Vec<u8>, V)> {
        self.remove(key).map(|value| (key.as_ref().to_vec(), value))
    }

    /// The place at `key`, to look and then write with one search. Takes **O(k)** for a key of `k`
    /// bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::new();
    /// trie.entry("mary").or_insert_with(Vec::new).push(1);
    /// trie.entry("mary").or_insert_with(Vec::new).push(2);
    /// assert_eq!(trie["mary"], [1, 2]);
    /// ```
    pub fn entry<K: AsRef<[u8]>>(&mut self, key: K) -> Entry<'_, K, V> {
        match find(&mut self.root, key.as_ref()) {
            Ok(place) => Entry::Occupied(OccupiedEntry { key, place }),
            Err(place) => Entry::Vacant(VacantEntry { key, place }),
        }
    }

    /// Returns the entry with the smallest key, or `None` if the trie is empty. Takes **O(k)** for a
    /// key of `k` bytes.
    pub fn first_key_value(&self) -> Option<(Vec<u8>, &V)> {
        self.iter().next()
    }

    /// Returns the entry with the greatest key, or `None` if the trie is empty. Takes **O(k)** for a
    /// key of `k` bytes.
    pub fn last_key_value(&self) -> Option<(Vec<u8>, &V)> {
        self.iter().next_back()
    }

    /// The place with the smallest key, or `None` if the trie is empty. Takes **O(k)** for a key of
    /// `k` bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::from([("a", 1), ("b", 2)]);
    /// if let Some(mut entry) = trie.first_entry() {
    ///     entry.insert(10);
    /// }
    /// assert_eq!(trie["a"], 10);
    /// ```
    pub fn first_entry(&mut self) -> Option<OccupiedEntry<'_, Vec<u8>, V>> {
        let (key, _) = self.first_key_value()?;
        Some(OccupiedEntry { place: find(&mut self.root, &key).ok()?, key })
    }

    /// The place with the greatest key, or `None` if the trie is empty. Takes **O(k)** for a key of
    /// `k` bytes.
    pub fn last_entry(&mut self) -> Option<OccupiedEntry<'_, Vec<u8>, V>> {
        let (key, _) = self.last_key_value()?;
        Some(OccupiedEntry { place: find(&mut self.root, &key).ok()?, key })
    }

    /// Removes the entry with the smallest key and returns it, or `None` if the trie is empty. Takes
    /// **O(k)** for a key of `k` bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut queue = Trie::from([("2 later", 'b'), ("1 now", 'a')]);
    /// assert_eq!(queue.pop_first(), Some((b"1 now".to_vec(), 'a')));
    /// assert_eq!(queue.pop_last(), Some((b"2 later".to_vec(), 'b')));
    /// assert_eq!(queue.pop_last(), None);
    /// ```
    pub fn pop_first(&mut self) -> Option<(Vec<u8>, V)> {
        let (key, _) = self.first_key_value()?;
        self.remove_entry(&key)
    }

    /// Removes the entry with the greatest key and returns it, or `None` if the trie is empty. Takes
    /// **O(k)** for a key of `k` bytes.
    pub fn pop_last(&mut self) -> Option<(Vec<u8>, V)> {
        let (key, _) = self.last_key_value()?;
        self.remove_entry(&key)
    }

    /// Iterates over the entries in key order. Each step takes amortised **O(k)** for a key of `k`
    /// bytes, which it copies; [`cursor`](Self::cursor) doesn't.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("b", 2), ("a", 1)]);
    /// assert!(trie.iter().eq([(b"a".to_vec(), &1), (b"b".to_vec(), &2)]));
    /// ```
    pub fn iter(&self) -> Iter<'_, V> {
        Iter { walk: self.walk() }
    }

    /// Iterates over the entries in key order, with mutable values. Each step takes amortised
    /// **O(k)** for a key of `k` bytes.
    pub fn iter_mut(&mut self) -> IterMut<'_, V> {
        IterMut { walk: self.walk_mut() }
    }

    /// Iterates over the keys in order. Each step takes amortised **O(k)** for a key of `k` bytes,
    /// which it copies.
    pub fn keys(&self) -> Keys<'_, V> {
        Keys { walk: self.walk() }
    }

    /// Consumes the trie and iterates over its keys in order. Each step takes amortised **O(k)** for
    /// a key of `k` bytes.
    pub fn into_keys(self) -> IntoKeys<V> {
        IntoKeys { walk: self.into_walk() }
    }

    /// Iterates over the values in the order of their keys. Allocates no keys; a whole iteration takes
    /// **O(n)** for the bytes of the trie.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("b", 2), ("a", 1)]);
    /// assert!(trie.values().eq(&[1, 2]));
    /// ```
    pub fn values(&self) -> Values<'_, V> {
        Values { walk: self.walk() }
    }

    /// Iterates over the values, mutably, in the order of their keys. Takes as long as
    /// [`values`](Self::values).
    pub fn values_mut(&mut self) -> ValuesMut<'_, V> {
        ValuesMut { walk: self.walk_mut() }
    }

    /// Consumes the trie and iterates over its values in the order of their keys. Takes as long as
    /// [`values`](Self::values).
    pub fn into_values(self) -> IntoValues<V> {
        IntoValues { walk: self.into_walk() }
    }

    /// Iterates over the entries whose keys lie in `range`, in key order. Takes **O(k)** for bounds
    /// of `k` bytes to begin, and then as long as [`iter`](Self::iter) per step.
    ///
    /// # Panics
    ///
    /// Panics if the range starts after its end, or if it starts and ends at the same key, excluded
    /// on both sides.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("a", 1), ("ab", 2), ("b", 3)]);
    /// assert!(trie.range("a".."b").eq([(b"a".to_vec(), &1), (b"ab".to_vec(), &2)]));
    /// assert!(trie.range("ab"..).eq([(b"ab".to_vec(), &2), (b"b".to_vec(), &3)]));
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "ranges are passed by value, as to std's maps"
    )]
    pub fn range<R: KeyRange>(&self, range: R) -> Range<'_, V> {
        Range { walk: self.walk_range(&range) }
    }

    /// Iterates over the entries whose keys lie in `range`, in key order, with mutable values. Takes
    /// as long as [`range`](Self::range).
    ///
    /// # Panics
    ///
    /// As [`range`](Self::range).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "ranges are passed by value, as to std's maps"
    )]
    pub fn range_mut<R: KeyRange>(&mut self, range: R) -> RangeMut<'_, V> {
        let bounds = range::bounds(&range);
        let mut walk = self.walk_mut();
        walk.restrict(bounds);
        RangeMut { walk }
    }

    /// Iterates over the entries whose keys begin with `prefix`, in key order; `prefix` itself is
    /// such a key. Takes **O(p)** for a prefix of `p` bytes to begin, and then as long as
    /// [`iter`](Self::iter) per step.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("mark", 1), ("mary", 2), ("john", 3)]);
    /// assert!(trie.prefix("mar").eq([(b"mark".to_vec(), &1), (b"mary".to_vec(), &2)]));
    /// assert_eq!(trie.prefix("").count(), 3);
    /// ```
    pub fn prefix<K: AsRef<[u8]> + ?Sized>(&self, prefix: &K) -> Range<'_, V> {
        Range { walk: Shared::of_prefix(&self.root, prefix.as_ref()) }
    }

    /// Iterates over the entries whose keys begin with `prefix`, in key order, with mutable values.
    /// Takes as long as [`prefix`](Self::prefix).
    pub fn prefix_mut<K: AsRef<[u8]> + ?Sized>(&mut self, prefix: &K) -> RangeMut<'_, V> {
        let walk = Mutable::of_prefix(&mut self.root, prefix.as_ref());
        RangeMut { walk }
    }

    /// Removes the entries whose keys begin with `prefix` and returns them, under the same keys.
    /// Takes **O(p + m)** for a prefix of `p` bytes and `m` entries, which it counts but mostly doesn't
    /// move.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::from([("mark", 1), ("mary", 2), ("john", 3)]);
    /// assert_eq!(trie.remove_prefix("mar"), Trie::from([("mark", 1), ("mary", 2)]));
    /// assert_eq!(trie, Trie::from([("john", 3)]));
    /// ```
    #[expect(clippy::return_self_not_must_use, reason = "removing is of use by itself")]
    pub fn remove_prefix<K: AsRef<[u8]> + ?Sized>(&mut self, prefix: &K) -> Self {
        let removed = cut::remove_prefix(&mut self.root, prefix.as_ref());
        if self.is_empty() {
            self.clear();
        }
        Self { root: removed }
    }

    /// Returns the longest key in the trie that `key` begins with, as a part of `key`, and its value;
    /// `key` itself is such a key. `None` if there is none. Takes **O(k)** for a key of `k` bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let routes = Trie::from([("/", 'a'), ("/people/", 'b')]);
    /// assert_eq!(routes.longest_prefix("/people/mary"), Some((&b"/people/"[..], &'b')));
    /// assert_eq!(routes.longest_prefix("/people"), Some((&b"/"[..], &'a')));
    /// assert_eq!(routes.longest_prefix("people"), None);
    /// ```
    pub fn longest_prefix<'k, K: AsRef<[u8]> + ?Sized>(
        &self,
        key: &'k K,
    ) -> Option<(&'k [u8], &V)> {
        self.prefixes(key).last()
    }

    /// Iterates over the keys in the trie that `key` begins with, as parts of `key`, and their
    /// values, shortest first; `key` itself is such a key. The whole takes **O(k)** for a key of `k`
    /// bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let routes = Trie::from([("/", 'a'), ("/people/", 'b'), ("/places/", 'c')]);
    /// let found: Vec<_> = routes.prefixes("/people/mary").map(|(_, value)| *value).collect();
    /// assert_eq!(found, ['a', 'b']);
    /// ```
    pub fn prefixes<'k, K: AsRef<[u8]> + ?Sized>(&self, key: &'k K) -> Prefixes<'_, 'k, V> {
        Prefixes::new(&self.root, key.as_ref())
    }

    /// A cursor over all entries, which lends each key instead of copying it. Takes **O(1)**.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("b", 2), ("a", 1)]);
    /// let mut cursor = trie.cursor();
    /// assert_eq!(cursor.next(), Some((&b"a"[..], &1)));
    /// assert_eq!(cursor.next(), Some((&b"b"[..], &2)));
    /// assert_eq!(cursor.next(), None);
    /// ```
    pub fn cursor(&self) -> Cursor<'_, V> {
        Cursor::of_root(&self.root)
    }

    /// A cursor over the entries whose keys begin with `prefix`. Takes **O(p)** for a prefix of `p`
    /// bytes.
    pub fn cursor_prefix<K: AsRef<[u8]> + ?Sized>(&self, prefix: &K) -> Cursor<'_, V> {
        Cursor::of_walk(Shared::of_prefix(&self.root, prefix.as_ref()))
    }

    /// A cursor over the entries whose keys lie in `range`. Takes **O(k)** for bounds of `k` bytes.
    ///
    /// # Panics
    ///
    /// As [`range`](Self::range).
    ///
    /// # Examples
    ///
    /// To page through a trie, start each page after the last key of the page before:
    ///
    /// ```
    /// use std::ops::Bound;
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("a", 1), ("b", 2), ("c", 3)]);
    /// let mut cursor = trie.cursor_range((Bound::Excluded("a"), Bound::Unbounded));
    /// assert_eq!(cursor.next(), Some((&b"b"[..], &2)));
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "ranges are passed by value, as to std's maps"
    )]
    pub fn cursor_range<R: KeyRange>(&self, range: R) -> Cursor<'_, V> {
        Cursor::of_walk(self.walk_range(&range))
    }

    /// Keeps the entries for which `keep` returns true and removes the others, in key order. Takes
    /// **O(n + r·k)** for `n` bytes of trie and `r` removed keys of `k` bytes. If `keep` panics, the
    /// entries that it was not asked about stay.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::from([("a", 1), ("b", 2), ("c", 3)]);
    /// trie.retain(|_, value| *value % 2 == 1);
    /// assert_eq!(trie, Trie::from([("a", 1), ("c", 3)]));
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &mut V) -> bool) {
        self.extract_if(.., |key, value| !keep(key, value)).for_each(drop);
    }

    /// Removes, lazily, the entries in `range` for which `pick` returns true, and returns them in key
    /// order. Entries that the iterator isn't asked for stay. The whole takes **O(n + r·k)** for `n`
    /// bytes of trie and `r` removed keys of `k` bytes.
    ///
    /// # Panics
    ///
    /// As [`range`](Self::range).
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::from([("a", 1), ("b", 2), ("c", 3)]);
    /// let odd: Trie<_> = trie.extract_if(.., |_, value| *value % 2 == 1).collect();
    /// assert_eq!(odd, Trie::from([("a", 1), ("c", 3)]));
    /// assert_eq!(trie, Trie::from([("b", 2)]));
    /// ```
    #[expect(
        clippy::needless_pass_by_value,
        reason = "ranges are passed by value, as to std's maps"
    )]
    pub fn extract_if<R, F>(&mut self, range: R, pick: F) -> ExtractIf<'_, V, F>
    where
        R: KeyRange,
        F: FnMut(&[u8], &mut V) -> bool,
    {
        ExtractIf::new(self, range::bounds(&range), pick)
    }

    /// Moves all entries out of `other`, which is empty afterwards. Where both have a key, the value
    /// of `other` wins. Takes **O(n)** for `n` bytes of keys in both, or in `other` alone if it has less
    /// than an eighth of the entries of `self`, or **O(1)** if `self` is empty.
    ///
    /// # Panics
    ///
    /// Panics if a value's clone does, where nodes are shared with a [snapshot](Self::snapshot) and
    /// both tries are taken apart; both are empty then.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut old = Trie::from([("a", 1), ("b", 2)]);
    /// let mut new = Trie::from([("b", 20), ("c", 30)]);
    /// old.append(&mut new);
    /// assert_eq!(old, Trie::from([("a", 1), ("b", 20), ("c", 30)]));
    /// assert!(new.is_empty());
    /// ```
    pub fn append(&mut self, other: &mut Self) {
        if other.len() < self.len() / APPEND_BY_INSERTING {
            self.extend(mem::take(other));
        } else if self.is_empty() {
            mem::swap(self, other);
        } else if !other.is_empty() {
            let (left, right) = (mem::take(self).into_walk(), mem::take(other).into_walk());
            self.root = build::merged(left, right);
        }
    }

    /// Removes the entries whose keys are `key` or greater and returns them. Takes **O(k + m)** for a
    /// key of `k` bytes and `m` entries, which it counts but mostly doesn't move.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let mut trie = Trie::from([("a", 1), ("b", 2), ("c", 3)]);
    /// assert_eq!(trie.split_off("b"), Trie::from([("b", 2), ("c", 3)]));
    /// assert_eq!(trie, Trie::from([("a", 1)]));
    /// ```
    #[expect(clippy::return_self_not_must_use, reason = "removing is of use by itself")]
    pub fn split_off<K: AsRef<[u8]> + ?Sized>(&mut self, key: &K) -> Self {
        let key = key.as_ref();
        if key.is_empty() {
            return mem::take(self);
        }
        Self { root: cut::split_off(&mut self.root, key) }
    }

    /// The place of a key that is there. The nodes on the way to it are made the trie's own.
    fn find(&mut self, key: &[u8]) -> Option<Occupied<'_, V>> {
        // What isn't there mustn't cost a copy of what is shared.
        if self.root.clone_fn().is_some() && !self.contains_key(key) {
            return None;
        }
        find(&mut self.root, key).ok()
    }

    fn walk(&self) -> Shared<'_, V> {
        Shared::of_root(&self.root)
    }

    fn walk_mut(&mut self) -> Mutable<'_, V> {
        Mutable::of_root(&mut self.root)
    }

    fn into_walk(self) -> Owned<V> {
        Owned::of_root(self.root)
    }

    fn walk_range(&self, range: &impl KeyRange) -> Shared<'_, V> {
        let bounds = range::bounds(range);
        let mut walk = self.walk();
        walk.restrict(bounds);
        walk
    }
}

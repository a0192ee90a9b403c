//! Reading without a copy of each key: the cursor, and the stored prefixes of a key.

use super::iter::debug_entries;
use super::node::Node;
use super::walk::Shared;
use std::fmt;
use std::iter::FusedIterator;

/// Walks over entries in key order and lends each key, where an iterator has to copy it.
///
/// A trie doesn't store keys whole. The iterators put each one together in a `Vec<u8>` of its own;
/// a cursor puts them together in one buffer, so a step allocates nothing once the buffer is long
/// enough. The price is that a key is only valid until the next step, which `Iterator` can't
/// express: use `while let`.
///
/// Made by [`Trie::cursor`](super::Trie::cursor), [`Trie::cursor_prefix`](super::Trie::cursor_prefix)
/// and [`Trie::cursor_range`](super::Trie::cursor_range).
///
/// # Examples
///
/// ```
/// use triekv::trie::Trie;
///
/// let trie = Trie::from([("mary", 1), ("mark", 2), ("john", 3)]);
/// let mut bytes = 0;
/// let mut cursor = trie.cursor();
/// while let Some((key, _)) = cursor.next() {
///     bytes += key.len();
/// }
/// assert_eq!(bytes, 12);
/// ```
#[must_use = "a cursor does nothing unless it is moved"]
pub struct Cursor<'a, V> {
    pub(super) walk: Shared<'a, V>,
}

impl<'a, V> Cursor<'a, V> {
    /// Takes the first entry that is left, or returns `None` if there is none, now and ever after.
    /// Takes amortised **O(k)** for the `k` bytes in which the key differs from the last one.
    #[expect(clippy::should_implement_trait, reason = "an iterator can't lend out of itself")]
    pub fn next(&mut self) -> Option<(&[u8], &'a V)> {
        let value = self.walk.step()?;
        Some((self.walk.front_key(), value))
    }

    /// Takes the last entry that is left, or returns `None` if there is none. Takes as long as
    /// [`next`](Self::next).
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("a", 1), ("b", 2), ("c", 3)]);
    /// let mut cursor = trie.cursor();
    /// assert_eq!(cursor.next_back(), Some((&b"c"[..], &3)));
    /// assert_eq!(cursor.next(), Some((&b"a"[..], &1)));
    /// assert_eq!(cursor.next_back(), Some((&b"b"[..], &2)));
    /// assert_eq!(cursor.next(), None);
    /// ```
    pub fn next_back(&mut self) -> Option<(&[u8], &'a V)> {
        let value = self.walk.step_back()?;
        Some((self.walk.back_key(), value))
    }
}

impl<V> Clone for Cursor<'_, V> {
    fn clone(&self) -> Self {
        Self { walk: self.walk.clone() }
    }
}

/// Shows what is left.
impl<V: fmt::Debug> fmt::Debug for Cursor<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_entries(self.walk.clone(), f)
    }
}

/// Iterator over the stored prefixes of a key, shortest first. See
/// [`Trie::prefixes`](super::Trie::prefixes).
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Prefixes<'a, 'k, V> {
    /// The next node to look at, whose key is the first `depth` bytes of `key`.
    node: Option<&'a Node<V>>,
    key: &'k [u8],
    depth: usize,
}

impl<'a, 'k, V> Prefixes<'a, 'k, V> {
    pub(super) fn new(root: Option<&'a Node<V>>, key: &'k [u8]) -> Self {
        Self { node: root, key, depth: 0 }
    }
}

impl<'a, 'k, V> Iterator for Prefixes<'a, 'k, V> {
    type Item = (&'k [u8], &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(node) = self.node {
            let (prefix, rest) = self.key.split_at(self.depth);
            self.node = node.next_along(rest);
            self.depth += self.node.map_or(0, |next| next.label.len());
            if let Some(value) = &node.value {
                return Some((prefix, value));
            }
        }
        None
    }
}

impl<V> FusedIterator for Prefixes<'_, '_, V> {}

impl<V> Clone for Prefixes<'_, '_, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<V> fmt::Debug for Prefixes<'_, '_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefixes")
            .field("rest", &format_args!("{}", self.key[self.depth..].escape_ascii()))
            .finish_non_exhaustive()
    }
}

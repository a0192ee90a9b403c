//! Removing the entries that a closure picks.

use super::Trie;
use super::range::KeyBound;
use super::walk::Mutable;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound;

type OwnedBound = Bound<Vec<u8>>;

/// Iterator that removes the entries of a range that a closure picks, and returns them in key order.
/// See [`Trie::extract_if`].
///
/// Between two steps the trie is whole: an iterator that is dropped, forgotten, or left by a panic
/// of the closure has removed what it has returned, and nothing else.
#[must_use = "iterators are lazy and do nothing unless consumed; `retain` removes at once"]
pub struct ExtractIf<'a, V, F> {
    trie: &'a mut Trie<V>,
    pick: F,
    /// What is left of the range; `None` at the end.
    left: Option<(OwnedBound, OwnedBound)>,
}

impl<'a, V, F> ExtractIf<'a, V, F> {
    pub(super) fn new(
        trie: &'a mut Trie<V>,
        (start, end): (KeyBound<'_>, KeyBound<'_>),
        pick: F,
    ) -> Self {
        Self { trie, pick, left: Some((start.map(<[u8]>::to_vec), end.map(<[u8]>::to_vec))) }
    }
}

impl<V, F: FnMut(&[u8], &mut V) -> bool> Iterator for ExtractIf<'_, V, F> {
    type Item = (Vec<u8>, V);

    fn next(&mut self) -> Option<Self::Item> {
        let (start, end) = self.left.take()?;
        let mut walk: Mutable<'_, V> = self.trie.walk_mut();
        walk.restrict((start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice)));
        let key = loop {
            let value = walk.step()?;
            if (self.pick)(walk.front_key(), value) {
                break walk.front_key().to_vec();
            }
        };
        // Removing the entry changes the nodes that the walk stands on, so each pick costs a new one.
        let entry = self.trie.remove_entry(&key);
        self.left = Some((Bound::Excluded(key), end));
        entry
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(if self.left.is_some() { self.trie.len() } else { 0 }))
    }
}

impl<V, F: FnMut(&[u8], &mut V) -> bool> FusedIterator for ExtractIf<'_, V, F> {}

impl<V, F> fmt::Debug for ExtractIf<'_, V, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf").field("left", &self.left).finish_non_exhaustive()
    }
}

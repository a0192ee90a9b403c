//! Reading all entries in one call.

use super::Trie;
use super::node::RootKind;
use super::page::{KEY_JOINED, Parts, Suffixes};
use std::iter::Enumerate;
use std::slice;

impl<V> Trie<V> {
    /// Calls `f` with each entry, in key order. Takes **O(n)** for `n` bytes of keys, and is the
    /// fastest way to read a whole trie, above all a small one: there is nothing to keep between two
    /// entries. See also [`cursor`](Self::cursor), which can stop and go on.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("mary", 1), ("mark", 2)]);
    /// let mut keys = Vec::new();
    /// trie.for_each(|key, _| keys.extend_from_slice(key));
    /// assert_eq!(keys, b"markmary");
    /// ```
    pub fn for_each<'a>(&'a self, f: impl FnMut(&[u8], &'a V)) {
        self.cursor().for_each(f);
    }

    /// Calls `f` with each entry, in key order, until it returns an error. Takes as long as
    /// [`for_each`](Self::for_each).
    ///
    /// # Errors
    ///
    /// The error that `f` returned. It isn't called after that.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("a", 1), ("b", -2), ("c", 3)]);
    /// let negative = trie.try_for_each(|_, &value| if value < 0 { Err(value) } else { Ok(()) });
    /// assert_eq!(negative, Err(-2));
    /// ```
    pub fn try_for_each<'a, E>(
        &'a self,
        mut f: impl FnMut(&[u8], &'a V) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(entries) = self.in_parts() else {
            let mut cursor = self.cursor();
            while let Some((key, value)) = cursor.next() {
                f(key, value)?;
            }
            return Ok(());
        };
        let (mut short, mut long) = ([0; KEY_JOINED], Vec::new());
        for (key, value) in entries {
            if let Some(key) = key.join(&mut short) {
                f(key, value)?;
            } else {
                long.clear();
                long.extend_from_slice(&key.head);
                long.extend_from_slice(key.tail);
                f(&long, value)?;
            }
        }
        Ok(())
    }

    /// The entries of a trie of one page or none, in key order, for those who copy the keys anyway.
    /// `None` if the trie is larger: its keys have to be put together.
    #[inline]
    pub(crate) fn in_parts(&self) -> Option<impl Iterator<Item = (Parts<'_>, &V)>> {
        let (suffixes, values): (Suffixes<'_>, &[V]) = match self.root.kind() {
            RootKind::Empty => Default::default(),
            RootKind::Page(page) => (page.suffixes(), page.values()),
            RootKind::Tree(_) => return None,
        };
        Some(InParts { suffixes, values: values.iter().enumerate(), start: 0 })
    }
}

/// The entries of a page, with their keys in parts.
struct InParts<'a, V> {
    suffixes: Suffixes<'a>,
    values: Enumerate<slice::Iter<'a, V>>,
    /// Where the tail of the next key begins.
    start: usize,
}

impl<'a, V> Iterator for InParts<'a, V> {
    type Item = (Parts<'a>, &'a V);

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "each step of printing is little more than this")]
    fn next(&mut self) -> Option<Self::Item> {
        let (index, value) = self.values.next()?;
        let (key, start) = self.suffixes.in_parts(index, self.start);
        self.start = start;
        Some((key, value))
    }
}

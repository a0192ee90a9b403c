//! Reading all entries in one call.

use super::Trie;
use super::node::RootKind;
use super::page::{KEY_JOINED, Parts};
use std::convert::Infallible;

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
    pub fn for_each<'a>(&'a self, mut f: impl FnMut(&[u8], &'a V)) {
        if let RootKind::Tree(_) = self.root.kind() {
            return self.cursor().for_each(f);
        }
        let Ok(()) = self.try_for_each(|key, value| {
            f(key, value);
            Ok::<(), Infallible>(())
        });
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
        let (mut short, mut long) = ([0; KEY_JOINED], Vec::new());
        self.try_for_each_in_parts(|key, value| {
            if let Some(key) = key.join(&mut short) {
                return f(key, value);
            }
            long.clear();
            long.extend_from_slice(&key.head);
            long.extend_from_slice(key.tail);
            f(&long, value)
        })
    }

    /// As [`try_for_each`](Self::try_for_each), for those who copy the keys anyway.
    #[inline]
    pub(crate) fn try_for_each_in_parts<'a, E>(
        &'a self,
        mut f: impl FnMut(Parts<'_>, &'a V) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.root.kind() {
            RootKind::Empty => Ok(()),
            RootKind::Page(page) => page.try_for_each(f),
            RootKind::Tree(_) => {
                let mut cursor = self.cursor();
                while let Some((key, value)) = cursor.next() {
                    f(Parts::new(key), value)?;
                }
                Ok(())
            }
        }
    }
}

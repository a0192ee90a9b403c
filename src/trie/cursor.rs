//! Reading without a copy of each key: the cursor, and the stored prefixes of a key.

use super::inner::Inner;
use super::iter::debug_entries;
use super::key::KeyBuffer;
use super::node::{Kind, Node, Root, RootKind};
use super::page::{HEAD, Page, head};
use super::place::get_below;
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
    steps: Steps<'a, V>,
}

/// What a cursor has before it.
#[expect(clippy::large_enum_variant, reason = "a box would cost more than the room on the stack")]
enum Steps<'a, V> {
    /// All entries of a trie that is a page. Most cursors over one end in `for_each`, which needs no
    /// walk, and to prepare one takes longer than a few steps.
    Page(&'a Page<V>),
    Walk(Shared<'a, V>),
}

impl<'a, V> Cursor<'a, V> {
    /// Takes the first entry that is left, or returns `None` if there is none, now and ever after.
    /// Takes amortised **O(k)** for the `k` bytes in which the key differs from the last one.
    #[expect(clippy::should_implement_trait, reason = "an iterator can't lend out of itself")]
    pub fn next(&mut self) -> Option<(&[u8], &'a V)> {
        let walk = self.walk();
        let value = walk.step()?;
        Some((walk.front_key(), value))
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
        let walk = self.walk();
        let value = walk.step_back()?;
        Some((walk.back_key(), value))
    }

    /// The key that [`next`](Self::next) gave last; empty before the first one.
    pub(crate) fn last_key(&self) -> &[u8] {
        match &self.steps {
            Steps::Page(_) => &[],
            Steps::Walk(walk) => walk.front_key(),
        }
    }

    /// A cursor over a whole trie.
    #[inline]
    pub(super) fn of_root(root: &'a Root<V>) -> Self {
        let steps = match root.kind() {
            RootKind::Page(page) => Steps::Page(page),
            RootKind::Empty | RootKind::Tree(_) => Steps::Walk(Shared::of_root(root)),
        };
        Self { steps }
    }

    pub(super) fn of_walk(walk: Shared<'a, V>) -> Self {
        Self { steps: Steps::Walk(walk) }
    }

    /// The walk, which begins now at the latest.
    #[inline]
    fn walk(&mut self) -> &mut Shared<'a, V> {
        if let Steps::Page(page) = self.steps {
            self.steps = Steps::Walk(Shared::of_page(page));
        }
        match &mut self.steps {
            Steps::Walk(walk) => walk,
            Steps::Page(_) => unreachable!("the walk has begun"),
        }
    }
}

impl<'a, V> Cursor<'a, V> {
    /// Calls `f` with each entry that is left, in key order. Faster than as many calls of
    /// [`next`](Self::next), which have to find out each time where they stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from([("mary", 1), ("mark", 2), ("john", 3)]);
    /// let mut longest = 0;
    /// trie.cursor_prefix("mar").for_each(|key, _| longest = longest.max(key.len()));
    /// assert_eq!(longest, 4);
    /// ```
    pub fn for_each(self, mut f: impl FnMut(&[u8], &'a V)) {
        match self.steps {
            Steps::Page(page) => {
                page.prefetch();
                page.entries().for_each(&mut KeyBuffer::new(), 0, &mut f);
            }
            Steps::Walk(walk) => walk.for_each(f),
        }
    }
}

impl<V> Clone for Cursor<'_, V> {
    fn clone(&self) -> Self {
        let steps = match &self.steps {
            Steps::Page(page) => Steps::Page(page),
            Steps::Walk(walk) => Steps::Walk(walk.clone()),
        };
        Self { steps }
    }
}

/// Shows what is left.
impl<V: fmt::Debug> fmt::Debug for Cursor<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_entries(self.clone().walk().clone(), f)
    }
}

/// Iterator over the stored prefixes of a key, shortest first. See
/// [`Trie::prefixes`](super::Trie::prefixes).
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct Prefixes<'a, 'k, V> {
    at: At<'a, V>,
    key: &'k [u8],
    /// How many bytes of `key` lead to there.
    depth: usize,
}

/// Where the next prefix may be.
enum At<'a, V> {
    /// In or below a node.
    Node(&'a Node<V>),
    /// Below an inner node. Those that have fewer bytes than this behind its label have been passed.
    Below(&'a Inner<V>, usize),
    /// Among the entries of a page from this one on.
    Page(&'a Page<V>, usize),
    Nowhere,
}

impl<V> Clone for At<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for At<'_, V> {}

impl<'a, 'k, V> Prefixes<'a, 'k, V> {
    pub(super) fn new(root: &'a Root<V>, key: &'k [u8]) -> Self {
        let at = match root.kind() {
            RootKind::Empty => At::Nowhere,
            RootKind::Page(page) => At::Page(page, 0),
            RootKind::Tree(tree) => At::Node(&tree.node),
        };
        Self { at, key, depth: 0 }
    }
}

impl<'a, 'k, V> Iterator for Prefixes<'a, 'k, V> {
    type Item = (&'k [u8], &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match std::mem::replace(&mut self.at, At::Nowhere) {
                At::Nowhere => return None,
                At::Page(page, from) => {
                    let (suffixes, rest) = (page.suffixes(), &self.key[self.depth..]);
                    let found = (from..page.len()).find(|&index| suffixes.begins(index, rest))?;
                    self.at = At::Page(page, found + 1);
                    let prefix = &self.key[..self.depth + suffixes.suffix_len(found)];
                    return Some((prefix, &page.values()[found]));
                }
                At::Below(inner, len) => {
                    // A prefix that is shorter than a head may be in another child than the key.
                    let rest = &self.key[self.depth..];
                    let (short, child) = (&rest[..len], inner.find(head(rest)));
                    if len == rest.len() || len == HEAD {
                        self.at = At::Node(&inner.children()[child]);
                        continue;
                    }
                    self.at = At::Below(inner, len + 1);
                    let other = inner.find(head(short));
                    if other != child
                        && let Some(value) = get_below(&inner.children()[other], short)
                    {
                        return Some((&self.key[..self.depth + len], value));
                    }
                }
                At::Node(node) => match node.kind() {
                    Kind::Page(page) => self.at = At::Page(page, 0),
                    Kind::Inner(inner) => {
                        let rest = self.key[self.depth..].strip_prefix(inner.label())?;
                        self.depth += inner.label().len();
                        if !rest.is_empty() {
                            self.at = At::Below(inner, 1);
                        }
                        if let Some(value) = inner.value() {
                            return Some((&self.key[..self.depth], value));
                        }
                    }
                },
            }
        }
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

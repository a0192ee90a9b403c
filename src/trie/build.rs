//! Building a trie from entries in order.

use super::Trie;
use super::gather::{Children, Group, of_children};
use super::inner::Inner;
use super::node::{Node, Root};
use super::page::{FIRST_BYTE, Page, common_prefix_len, head, tail_bytes_of, weight_of};
use super::place::KEY_BYTES_MAX;
use super::walk::Owned;
use smallvec::{Array, SmallVec};
use std::cmp::Ordering;
use std::mem;
use thiserror::Error;

/// The buffers of a page's suffixes, its values and the last key have room for so many bytes at first,
/// which most pages of small values never use up.
const SUFFIXES_USUAL: usize = 512;
const VALUES_USUAL: usize = 1024;
const LAST_USUAL: usize = 64;

/// A trie under construction, whose keys ascend.
///
/// The last key's way through the trie is open: the inner nodes on it, and the page in which it is.
/// A key that leaves the way closes what it leaves, which is written once and to its exact size. So
/// pages are as full as the bytes at which they may end allow.
pub(super) struct Builder<V> {
    /// The open inner nodes, from the root down. The label of each lies in the last key.
    open: Vec<Open<V>>,
    /// The open page.
    page: Pending<V>,
    /// The last key.
    last: Vec<u8>,
    len: usize,
}

/// An inner node that may get more children.
struct Open<V> {
    /// Where its label starts and ends in the last key.
    start: usize,
    end: usize,
    value: Option<V>,
    children: Children<V>,
    /// The bits of heads by which children are parted: of all bytes, as long as they are few.
    border_mask: i32,
}

/// The entries of a page that may get more.
struct Pending<V> {
    /// The bytes of the suffixes, one behind the other.
    bytes: Vec<u8>,
    /// Where each ends in them.
    ends: Vec<usize>,
    values: Vec<V>,
    /// The weight that the page would have.
    weight: usize,
}

impl<V> Builder<V> {
    pub(super) fn new() -> Self {
        let page = Pending { bytes: Vec::new(), ends: Vec::new(), values: Vec::new(), weight: 0 };
        Self { open: Vec::new(), page, last: Vec::new(), len: 0 }
    }

    /// Adds an entry whose key is greater than the last one, or gives the value back if it isn't.
    ///
    /// # Panics
    ///
    /// Panics if the key is too long for a trie.
    pub(super) fn push(&mut self, key: &[u8], value: V) -> Result<(), V> {
        assert!(key.len() <= KEY_BYTES_MAX, "a key has at most {KEY_BYTES_MAX} bytes");
        let common = common_prefix_len(&self.last, key);
        if self.len == 0 {
            self.last.reserve(LAST_USUAL);
            self.page.reserve();
        } else {
            if key[common..] <= self.last[common..] {
                return Err(value);
            }
            while self.open.last().is_some_and(|open| open.end > common) {
                self.close(common, key);
            }
        }
        self.last.truncate(common);
        self.last.extend_from_slice(&key[common..]);
        self.len += 1;
        self.page.push(&key[self.depth()..], value);
        while self.page.is_over_full() {
            self.divide();
        }
        Ok(())
    }

    /// How many bytes lead to the open page.
    fn depth(&self) -> usize {
        self.open.last().map_or(0, |open| open.end)
    }

    /// Closes the innermost open node. The next key, or none, leaves it after `common` bytes.
    fn close(&mut self, common: usize, next: &[u8]) {
        let Some(mut open) = self.open.pop() else { return };
        let (start, end) = (open.start, open.end);
        if let Some(child) = self.page.take(self.page.len()) {
            open.children.push(child);
        }
        let label = &self.last[start..end];
        if let Some(parent) = self.open.last_mut()
            && (common <= start || (head(&next[start..]) ^ head(label)) & parent.border_mask != 0)
        {
            parent.children.push((head(label), open.write(label)));
        } else {
            // The key leaves amid the label.
            let below = &self.last[common..end];
            let children = vec![(head(below), open.write(below))];
            self.open.push(Open::new(start, common, None, children));
        }
    }

    /// Closes a part of the open page, or opens an inner node above it, so that a part can be closed.
    fn divide(&mut self) {
        let last_group = self.page.last_group(self.open.last().map_or(-1, |open| open.border_mask));
        if let Some(open) = self.open.last_mut()
            && last_group > 0
        {
            open.children.extend(self.page.take(last_group));
            while self.has_many_children() {
                self.gather();
            }
        } else {
            let start = self.depth();
            let common = self.page.common_prefix_len();
            let value = self.page.skip(common);
            self.open.push(Open::new(start, start + common, value, Vec::new()));
        }
    }

    /// Whether the innermost open node has children enough to part them by their first bytes.
    fn has_many_children(&self) -> bool {
        self.open.last().is_some_and(|open| {
            open.border_mask != FIRST_BYTE && open.children.len() > Inner::<V>::UNINDEXED_MAX
        })
    }

    /// Gathers the children of the innermost open node. Those that begin with the same byte as the
    /// open page are put below a node that is open, too.
    fn gather(&mut self) {
        let start = self.depth();
        let Some(open) = self.open.last_mut() else { return };
        let byte = head(self.page.suffix(0)) & FIRST_BYTE;
        let (groups, group) = Group::all_but(mem::take(&mut open.children), byte);
        open.children.extend(groups.into_iter().map(Group::into_child));
        open.border_mask = FIRST_BYTE;
        if let Some(group) = group {
            let common = group.common_prefix_len(self.page.suffix(self.page.len() - 1));
            let (value, children) = group.without(common);
            let own = self.page.skip(common);
            assert!(own.is_none(), "the key that is the label comes before all others");
            self.open.push(Open::new(start, start + common, value, children));
        }
    }

    /// The trie of all entries.
    pub(super) fn finish(mut self) -> Root<V> {
        if self.open.is_empty() {
            return self.page.write_root();
        }
        while self.open.len() > 1 {
            self.close(0, &[]);
        }
        let Some(mut open) = self.open.pop() else { return Root::empty() };
        open.children.extend(self.page.take(self.page.len()));
        let end = open.end;
        let node = open.write(&self.last[..end]);
        Root::of_tree(self.len, None, node)
    }
}

impl<V> Open<V> {
    fn new(start: usize, end: usize, value: Option<V>, children: Children<V>) -> Self {
        Self { start, end, value, children, border_mask: -1 }
    }

    fn write(self, label: &[u8]) -> Node<V> {
        of_children(label, self.value, self.children).into()
    }
}

impl<V> Pending<V> {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn reserve(&mut self) {
        // One more than a page has makes it over-full.
        let len = Page::<V>::LEN_MAX + 1;
        self.bytes.reserve(SUFFIXES_USUAL);
        self.ends.reserve(len);
        self.values.reserve(len.min(VALUES_USUAL / size_of::<V>().max(1)));
    }

    fn push(&mut self, suffix: &[u8], value: V) {
        self.bytes.extend_from_slice(suffix);
        self.ends.push(self.bytes.len());
        self.values.push(value);
        self.weight += weight_of(suffix);
    }

    fn suffix(&self, index: usize) -> &[u8] {
        suffix(&self.bytes, &self.ends, index)
    }

    fn is_over_full(&self) -> bool {
        Page::<V>::is_over_full(self.len(), self.weight)
    }

    /// The index of the first suffix that nothing separates from the last one.
    fn last_group(&self, border_mask: i32) -> usize {
        let border = |index| head(self.suffix(index)) & border_mask;
        let (mut first, last) = (self.len() - 1, border(self.len() - 1));
        while first > 0 && border(first - 1) == last {
            first -= 1;
        }
        first
    }

    fn common_prefix_len(&self) -> usize {
        common_prefix_len(self.suffix(0), self.suffix(self.len() - 1))
    }

    /// Cuts bytes off that all suffixes have in common, and takes the value of the one that has no
    /// other.
    fn skip(&mut self, common: usize) -> Option<V> {
        let (mut from, mut to) = (0, 0);
        for end in &mut self.ends {
            self.bytes.copy_within(from + common..*end, to);
            to += *end - from - common;
            from = mem::replace(end, to);
        }
        self.bytes.truncate(to);
        let value = self.suffix(0).is_empty().then(|| {
            self.forget(1);
            self.values.remove(0)
        });
        self.weigh();
        value
    }

    /// Writes the first `count` entries to a page, with its separator.
    fn take(&mut self, count: usize) -> Option<(i32, Node<V>)> {
        let separator = self.ends.first().map(|_| head(self.suffix(0)))?;
        let page = self.write(count, false);
        Some((separator, page.into()))
    }

    fn write_root(mut self) -> Root<V> {
        if self.len() == 0 { Root::empty() } else { self.write(self.len(), true).into() }
    }

    fn write(&mut self, count: usize, is_root: bool) -> Page<V> {
        let tails = (0..count).map(|index| tail_bytes_of(self.suffix(index))).sum();
        let mut page = Page::new(count, tails, is_root);
        for (index, value) in self.values.drain(..count).enumerate() {
            page.push(suffix(&self.bytes, &self.ends, index), value);
        }
        self.forget(count);
        self.weigh();
        page
    }

    /// Forgets the bytes of the first `count` entries.
    fn forget(&mut self, count: usize) {
        let start = count.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.bytes.drain(..start);
        self.ends.drain(..count);
        for end in &mut self.ends {
            *end -= start;
        }
    }

    fn weigh(&mut self) {
        self.weight = (0..self.len()).map(|index| weight_of(self.suffix(index))).sum();
    }
}

/// The keys given to [`Trie::from_sorted`] don't ascend. No trie was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the key of entry {position} is not greater than the one before it")]
pub struct UnsortedError {
    position: usize,
}

impl UnsortedError {
    /// How many entries came before the one whose key isn't greater than the last.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<V> Trie<V> {
    /// Makes a trie of entries whose keys ascend, in one pass. Takes **O(n)** for `n`
    /// bytes of keys.
    ///
    /// # Errors
    ///
    /// [`UnsortedError`] if a key isn't greater than the one before it, at the first such entry. The
    /// entries taken so far are dropped and the rest of `entries` isn't asked for. To fill a trie in
    /// any order, use [`collect`](Iterator::collect) or [`extend`](Extend::extend).
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::trie::Trie;
    ///
    /// let trie = Trie::from_sorted([("a", 1), ("ab", 2), ("b", 3)])?;
    /// assert_eq!(trie.len(), 3);
    ///
    /// let error = Trie::from_sorted([("a", 1), ("b", 2), ("b", 3)]).unwrap_err();
    /// assert_eq!(error.position(), 2);
    /// # Ok::<(), triekv::trie::UnsortedError>(())
    /// ```
    pub fn from_sorted<K: AsRef<[u8]>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, UnsortedError> {
        let mut builder = Builder::new();
        for (position, (key, value)) in entries.into_iter().enumerate() {
            if builder.push(key.as_ref(), value).is_err() {
                return Err(UnsortedError { position });
            }
        }
        Ok(Self { root: builder.finish() })
    }

    /// Makes a trie of all `entries`, in any order; of those with the same key the last wins. Takes
    /// **O(n log n)** comparisons for `n` entries, fewer if many ascend, and sorts them in their place:
    /// the fastest way to make a small trie.
    pub(crate) fn from_entries<K, A>(entries: &mut SmallVec<A>) -> Self
    where
        K: AsRef<[u8]>,
        A: Array<Item = (K, V)>,
    {
        let sorted = entries.as_mut_slice();
        let ascend = |sorted: &[(K, V)]| {
            sorted.is_sorted_by(|(left, _), (right, _)| left.as_ref() < right.as_ref())
        };
        if !ascend(sorted) {
            sorted.sort_by(|(left, _), (right, _)| left.as_ref().cmp(right.as_ref()));
            if !ascend(sorted) {
                // A key is there twice, and the last of its values, which the sort left behind.
                let mut trie = Self::new();
                trie.extend(entries.drain(..));
                return trie;
            }
        }
        let keys = sorted.iter().map(|(key, _)| key.as_ref());
        assert!(
            keys.clone().all(|key| key.len() <= KEY_BYTES_MAX),
            "a key has at most {KEY_BYTES_MAX} bytes"
        );
        let tails = Page::<V>::tails_of(keys);
        let root = match tails {
            Some(_) if sorted.is_empty() => Root::empty(),
            Some(tails) => Page::from_ascending(entries.drain(..), tails).into(),
            None => {
                let mut builder = Builder::new();
                for (key, value) in entries.drain(..) {
                    let pushed = builder.push(key.as_ref(), value);
                    assert!(pushed.is_ok(), "the keys ascend");
                }
                builder.finish()
            }
        };
        Self { root }
    }
}

/// The entries of both; where both have a key, that of `right`.
pub(super) fn merged<V>(mut left: Owned<V>, mut right: Owned<V>) -> Root<V> {
    let mut builder = Builder::new();
    let mut push = |key: &[u8], value| {
        let pushed = builder.push(key, value);
        assert!(pushed.is_ok(), "walks go in the order of keys");
    };
    let (mut from_left, mut from_right) = (left.step(), right.step());
    loop {
        let order = match (&from_left, &from_right) {
            (Some(_), Some(_)) => left.front_key().cmp(right.front_key()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        if order.is_lt() {
            from_left.take().into_iter().for_each(|value| push(left.front_key(), value));
        } else {
            from_right.take().into_iter().for_each(|value| push(right.front_key(), value));
        }
        if order.is_le() {
            from_left = left.step();
        }
        if order.is_ge() {
            from_right = right.step();
        }
    }
    builder.finish()
}

/// The suffix at `index` among those that end at `ends`.
fn suffix<'a>(bytes: &'a [u8], ends: &[usize], index: usize) -> &'a [u8] {
    let start = index.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start..ends[index]]
}

//! Lists of values.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;

use ecow::EcoVec;

use super::Value;

/// The items of a [`Value::List`]: a vector that is read like a `&[Value]`, and whose clones share
/// their items until one side changes its own.
///
/// A clone takes **O(1)**. The first change of a list that is shared takes **O(n)** for its `n`
/// items, each of which is cloned; whatever gives a `&mut` counts as a change. Other changes cost
/// what they do in a `Vec`.
///
/// # Examples
/// ```
/// use triekv::value;
/// use triekv::value::List;
///
/// let mut tags = List::from([value!("a"), value!("b")]);
/// let before = tags.clone();
/// tags.push(value!("c"));
/// tags[0] = value!("A");
/// assert_eq!((before.len(), tags.len()), (2, 3));
/// assert_eq!(before[0], value!("a"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct List(EcoVec<Value>);

impl List {
    /// Makes an empty list, without allocating.
    pub const fn new() -> Self {
        List(EcoVec::new())
    }

    /// Makes an empty list with room for `capacity` items.
    pub fn with_capacity(capacity: usize) -> Self {
        List(EcoVec::with_capacity(capacity))
    }

    /// Returns the items.
    pub fn as_slice(&self) -> &[Value] {
        self.0.as_slice()
    }

    /// Appends an item. Takes amortised **O(1)**.
    pub fn push(&mut self, item: Value) {
        self.0.push(item);
    }

    /// Removes the last item and returns it, or `None` if the list is empty.
    pub fn pop(&mut self) -> Option<Value> {
        self.0.pop()
    }

    /// Inserts an item at `index`; those from there on move up.
    ///
    /// # Panics
    /// Panics if `index` is greater than the length.
    pub fn insert(&mut self, index: usize, item: Value) {
        self.0.insert(index, item);
    }

    /// Removes the item at `index` and returns it; those behind it move down.
    ///
    /// # Panics
    /// Panics if there is no such item.
    pub fn remove(&mut self, index: usize) -> Value {
        self.0.remove(index)
    }

    /// Keeps the first `length` items, all of them if there are no more.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Removes all items.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        self.as_slice()
    }
}

impl DerefMut for List {
    fn deref_mut(&mut self) -> &mut [Value] {
        self.0.make_mut()
    }
}

impl AsRef<[Value]> for List {
    fn as_ref(&self) -> &[Value] {
        self.as_slice()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_slice(), f)
    }
}

impl From<Vec<Value>> for List {
    fn from(items: Vec<Value>) -> Self {
        List(items.into())
    }
}

impl<const N: usize> From<[Value; N]> for List {
    fn from(items: [Value; N]) -> Self {
        List(items.into())
    }
}

impl FromIterator<Value> for List {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        List(items.into_iter().collect())
    }
}

impl Extend<Value> for List {
    fn extend<I: IntoIterator<Item = Value>>(&mut self, items: I) {
        self.0.extend(items);
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = &'a Value;
    type IntoIter = slice::Iter<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for List {
    type Item = Value;
    type IntoIter = ListIntoIter;

    /// Hands out the items. Those of a shared list are cloned one by one.
    fn into_iter(self) -> ListIntoIter {
        ListIntoIter(self.0.into_iter())
    }
}

/// Hands out the items of a [`List`]; made by its [`into_iter`](List::into_iter).
#[derive(Debug)]
pub struct ListIntoIter(ecow::vec::IntoIter<Value>);

impl Iterator for ListIntoIter {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for ListIntoIter {
    fn next_back(&mut self) -> Option<Value> {
        self.0.next_back()
    }
}

impl ExactSizeIterator for ListIntoIter {}

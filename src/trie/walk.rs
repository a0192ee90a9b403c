//! The walk over the entries of a subtrie, from both ends, that all iterators and cursors share.
//!
//! A [`Walk`] holds the parts of the subtrie that it has not passed yet, in key order, in one deque:
//! a value, or the children of a node. A step takes the part at its end of the deque; a node that it
//! finds there it opens, and puts the node's parts back in its place. So steps at one end see what
//! steps at the other end left, and a mutable walk hands out each value once, which the borrow
//! checker can follow.
//!
//! Keys are not stored whole, so each end has a buffer with the key of its last step, and each part
//! knows how many bytes of it lead to the part: its *depth*. The parts that the front has put into
//! the deque go by the front's buffer, and nest (the nearer to the front, the deeper), so the front
//! overwrites only bytes that no part needs any more; likewise at the back. An end that has no parts
//! left of its own claims the nearest one of the other end and copies the bytes that lead to it.

use super::node::{Node, common_prefix_len};
use super::range::KeyBound;
use std::collections::VecDeque;
use std::ops::Bound;
use std::{slice, vec};

/// Nodes with the same parent, in order: shared, mutable or owned.
pub(super) trait Siblings: DoubleEndedIterator + ExactSizeIterator {
    /// What the nodes hold.
    type Stored;
    /// The same as this walk hands it out.
    type Value;

    fn as_slice(&self) -> &[Node<Self::Stored>];

    /// Appends the node's label to `key` and returns its value and its children.
    fn open(node: Self::Item, key: &mut Vec<u8>) -> (Option<Self::Value>, Self);
}

impl<'a, V> Siblings for slice::Iter<'a, Node<V>> {
    type Stored = V;
    type Value = &'a V;

    fn as_slice(&self) -> &[Node<V>] {
        self.as_slice()
    }

    fn open(node: &'a Node<V>, key: &mut Vec<u8>) -> (Option<&'a V>, Self) {
        key.extend_from_slice(&node.label);
        (node.value.as_ref(), node.children.iter())
    }
}

impl<'a, V> Siblings for slice::IterMut<'a, Node<V>> {
    type Stored = V;
    type Value = &'a mut V;

    fn as_slice(&self) -> &[Node<V>] {
        self.as_slice()
    }

    fn open(node: &'a mut Node<V>, key: &mut Vec<u8>) -> (Option<&'a mut V>, Self) {
        key.extend_from_slice(&node.label);
        (node.value.as_mut(), node.children.iter_mut())
    }
}

impl<V> Siblings for vec::IntoIter<Node<V>> {
    type Stored = V;
    type Value = V;

    fn as_slice(&self) -> &[Node<V>] {
        self.as_slice()
    }

    fn open(mut node: Node<V>, key: &mut Vec<u8>) -> (Option<V>, Self) {
        key.extend_from_slice(&node.label);
        (node.value.take(), std::mem::take(&mut node.children).into_iter())
    }
}

/// What is left of a subtrie. `C` are [`Siblings`] and `T` their values; two parameters, since
/// through an associated type the compiler can't see that a shared walk is covariant.
#[derive(Clone)]
pub(super) struct Walk<C, T> {
    parts: VecDeque<Part<C, T>>,
    /// How many of `parts`, from the front, go by `front_key`. The others go by `back_key`.
    front_parts: usize,
    front_key: Vec<u8>,
    back_key: Vec<u8>,
    /// No more values than this are left, and exactly so many in a walk over a whole trie.
    len_max: usize,
}

#[derive(Clone)]
struct Part<C, T> {
    depth: usize,
    kind: Kind<C, T>,
}

#[derive(Clone)]
enum Kind<C, T> {
    Value(T),
    /// Never empty between two steps.
    Children(C),
}

pub(super) type Shared<'a, V> = Walk<slice::Iter<'a, Node<V>>, &'a V>;
pub(super) type Mutable<'a, V> = Walk<slice::IterMut<'a, Node<V>>, &'a mut V>;
pub(super) type Owned<V> = Walk<vec::IntoIter<Node<V>>, V>;

impl<C: Siblings<Value = T>, T> Walk<C, T> {
    /// A walk over nothing.
    pub(super) fn empty() -> Self {
        Self {
            parts: VecDeque::new(),
            front_parts: 0,
            front_key: Vec::new(),
            back_key: Vec::new(),
            len_max: 0,
        }
    }

    /// A walk over `node` and all below it, no more than `len_max` values. `above` are the bytes that
    /// lead to the node's label.
    pub(super) fn new(node: C::Item, above: &[u8], len_max: usize) -> Self {
        let mut walk = Self { len_max, front_key: above.to_vec(), ..Self::empty() };
        walk.open_front(node);
        walk
    }

    /// Leaves out what lies outside of the bounds. To be called before the first step.
    pub(super) fn restrict(&mut self, (start, end): (KeyBound<'_>, KeyBound<'_>)) {
        match start {
            Bound::Included(key) => self.seek_front(key, true),
            Bound::Excluded(key) => self.seek_front(key, false),
            Bound::Unbounded => {}
        }
        match end {
            Bound::Included(key) => self.seek_back(key, true),
            Bound::Excluded(key) => self.seek_back(key, false),
            Bound::Unbounded => {}
        }
    }

    /// Takes the first value that is left. Its key is [`front_key`](Self::front_key).
    pub(super) fn step(&mut self) -> Option<T> {
        loop {
            self.claim_front()?;
            if let Some(Part { kind: Kind::Children(children), .. }) = self.parts.front_mut() {
                let node = children.next();
                self.drop_spent_front();
                self.open_front(node?);
            } else {
                return self.pop_front_value();
            }
        }
    }

    /// Takes the last value that is left. Its key is [`back_key`](Self::back_key).
    pub(super) fn step_back(&mut self) -> Option<T> {
        loop {
            self.claim_back()?;
            if let Some(Part { kind: Kind::Children(children), .. }) = self.parts.back_mut() {
                let node = children.next_back();
                self.drop_spent_back();
                self.open_back(node?);
            } else {
                return self.pop_back_value();
            }
        }
    }

    pub(super) fn front_key(&self) -> &[u8] {
        &self.front_key
    }

    pub(super) fn back_key(&self) -> &[u8] {
        &self.back_key
    }

    pub(super) fn len_max(&self) -> usize {
        self.len_max
    }

    /// Makes the first part the front's own, cuts the front's key to the part's depth and returns it.
    fn claim_front(&mut self) -> Option<usize> {
        let depth = self.parts.front()?.depth;
        if self.front_parts == 0 {
            self.front_key.clear();
            self.front_key.extend_from_slice(&self.back_key[..depth]);
            self.front_parts = 1;
        } else {
            self.front_key.truncate(depth);
        }
        Some(depth)
    }

    /// Makes the last part the back's own, cuts the back's key to the part's depth and returns it.
    fn claim_back(&mut self) -> Option<usize> {
        let depth = self.parts.back()?.depth;
        if self.front_parts == self.parts.len() {
            self.back_key.clear();
            self.back_key.extend_from_slice(&self.front_key[..depth]);
            self.front_parts -= 1;
        } else {
            self.back_key.truncate(depth);
        }
        Some(depth)
    }

    fn open_front(&mut self, node: C::Item) {
        let (value, children) = C::open(node, &mut self.front_key);
        let depth = self.front_key.len();
        if children.len() > 0 {
            self.parts.push_front(Part { depth, kind: Kind::Children(children) });
            self.front_parts += 1;
        }
        if let Some(value) = value {
            self.parts.push_front(Part { depth, kind: Kind::Value(value) });
            self.front_parts += 1;
        }
    }

    fn open_back(&mut self, node: C::Item) {
        let (value, children) = C::open(node, &mut self.back_key);
        let depth = self.back_key.len();
        if let Some(value) = value {
            self.parts.push_back(Part { depth, kind: Kind::Value(value) });
        }
        if children.len() > 0 {
            self.parts.push_back(Part { depth, kind: Kind::Children(children) });
        }
    }

    /// Drops the first part, which the front has claimed.
    fn pop_front(&mut self) -> Option<Part<C, T>> {
        self.front_parts -= 1;
        self.parts.pop_front()
    }

    fn pop_front_value(&mut self) -> Option<T> {
        let Kind::Value(value) = self.pop_front()?.kind else { return None };
        self.len_max -= 1;
        Some(value)
    }

    fn pop_back_value(&mut self) -> Option<T> {
        let Kind::Value(value) = self.parts.pop_back()?.kind else { return None };
        self.len_max -= 1;
        Some(value)
    }

    fn drop_spent_front(&mut self) {
        if self.parts.front().is_some_and(Part::is_spent) {
            self.pop_front();
        }
    }

    fn drop_spent_back(&mut self) {
        if self.parts.back().is_some_and(Part::is_spent) {
            self.parts.pop_back();
        }
    }

    /// Drops the values whose keys are smaller than `key`, and, unless it is `included`, the one at
    /// `key`.
    ///
    /// The first part is always one that `key` leads to, so that a node is opened only if its key
    /// begins `key`.
    fn seek_front(&mut self, key: &[u8], included: bool) {
        while let Some(depth) = self.claim_front() {
            let rest = &key[depth..];
            let Some(Part { kind: Kind::Children(children), .. }) = self.parts.front_mut() else {
                if rest.is_empty() && included {
                    return;
                }
                self.pop_front();
                continue;
            };
            let Some(&byte) = rest.first() else { return };
            let smaller = children.as_slice().partition_point(|child| child.label[0] < byte);
            skip(smaller, |index| children.nth(index));
            if let Some(child) = children.as_slice().first()
                && *child.label <= *rest
            {
                let leads_on = rest.starts_with(&child.label);
                let child = children.next();
                self.drop_spent_front();
                match child {
                    Some(child) if leads_on => self.open_front(child),
                    _ => return,
                }
            } else {
                self.drop_spent_front();
                return;
            }
        }
    }

    /// Drops the values whose keys are greater than `key`, and, unless it is `included`, the one at
    /// `key`. `key` is no smaller than the key that the front has been moved to.
    fn seek_back(&mut self, key: &[u8], included: bool) {
        let shared = common_prefix_len(&self.front_key, key);
        while let Some(part) = self.parts.back() {
            // A part that the front's key leads to, past the byte that `key` has greater.
            if self.front_parts == self.parts.len() && part.depth > shared {
                return;
            }
            let Some(depth) = self.claim_back() else { return };
            let rest = &key[depth..];
            let Some(Part { kind: Kind::Children(children), .. }) = self.parts.back_mut() else {
                if rest.is_empty() && !included {
                    self.parts.pop_back();
                }
                return;
            };
            let Some(&byte) = rest.first() else {
                self.parts.pop_back();
                continue;
            };
            let kept = children.as_slice().partition_point(|child| child.label[0] <= byte);
            skip(children.len() - kept, |index| children.nth_back(index));
            let Some(child) = children.as_slice().last() else {
                self.parts.pop_back();
                continue;
            };
            if rest.starts_with(&child.label) {
                let child = children.next_back();
                self.drop_spent_back();
                let Some(child) = child else { return };
                self.open_back(child);
            } else {
                if *child.label > *rest {
                    children.next_back();
                    self.drop_spent_back();
                }
                return;
            }
        }
    }
}

impl<C: ExactSizeIterator, T> Part<C, T> {
    fn is_spent(&self) -> bool {
        matches!(&self.kind, Kind::Children(children) if children.len() == 0)
    }
}

/// Takes `count` items off an iterator, given its `nth` or `nth_back`.
fn skip<T>(count: usize, nth: impl FnOnce(usize) -> Option<T>) {
    if let Some(index) = count.checked_sub(1) {
        nth(index);
    }
}

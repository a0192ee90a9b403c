//! Walking over the children of an inner node from both ends: shared, mutable and owned.

use super::super::key::KeyBuffer;
use super::super::node::{CloneFn, IntoKind, Kind, KindMut, Node};
use super::super::page::{Entries, EntriesMut, IntoEntries, Run};
use super::Inner;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::vec;

/// What there is to walk over in a node: the entries of a page, or the value of an inner node and
/// then its children.
pub(in crate::trie) enum Opened<R, C, T> {
    Page(R),
    Inner(Option<T>, C),
}

/// The children of a node that a walk hasn't passed yet.
pub(in crate::trie) trait Children: Sized {
    /// A child, as this walk comes by it.
    type Node;
    /// A value below, as this walk hands it out.
    type Value;
    /// The entries of a page below.
    type Run: Run<Value = Self::Value>;

    /// Takes the first child.
    fn next(&mut self) -> Option<Self::Node>;

    /// Takes the last child.
    fn next_back(&mut self) -> Option<Self::Node>;

    /// Whether no child is left.
    fn is_empty(&self) -> bool;

    /// Appends the label of an inner node to `key`, and takes what is in the node.
    fn open(node: Self::Node, key: &mut KeyBuffer) -> Opened<Self::Run, Self, Self::Value>;
}

/// Children that needn't be walked over from the ends.
pub(in crate::trie) trait Seek: Children {
    /// The type of the values in the nodes.
    type Stored;

    /// The node whose children these are, and which of them are left.
    fn left(&mut self) -> (&Inner<Self::Stored>, &mut Range<usize>);

    /// The first child that is left.
    fn first(&self) -> Option<&Node<Self::Stored>>;

    /// The last child that is left.
    fn last(&self) -> Option<&Node<Self::Stored>>;

    /// Leaves out the children whose keys are all smaller than those with this head.
    fn skip_below(&mut self, head: i32) {
        let (inner, left) = self.left();
        if left.start < left.end {
            left.start = left.start.max(inner.find(head)).min(left.end);
        }
    }

    /// Leaves out the children whose keys are all greater than those with this head.
    fn skip_above(&mut self, head: i32) {
        let (inner, left) = self.left();
        if left.start < left.end {
            left.end = left.end.min(inner.find(head) + 1).max(left.start);
        }
    }

    /// Leaves out the first child.
    fn skip_first(&mut self) {
        self.left().1.next();
    }

    /// Leaves out the last child.
    fn skip_last(&mut self) {
        self.left().1.next_back();
    }
}

/// Shared children.
pub(in crate::trie) struct SharedChildren<'a, V> {
    inner: &'a Inner<V>,
    left: Range<usize>,
}

impl<V> Clone for SharedChildren<'_, V> {
    fn clone(&self) -> Self {
        Self { left: self.left.clone(), ..*self }
    }
}

impl<'a, V> SharedChildren<'a, V> {
    /// The children of `inner` in this range.
    pub(in crate::trie) fn new(inner: &'a Inner<V>, left: Range<usize>) -> Self {
        if let Some(first) = inner.children().get(left.start) {
            first.prefetch();
        }
        Self { inner, left }
    }
}

impl<'a, V> Children for SharedChildren<'a, V> {
    type Node = &'a Node<V>;
    type Value = &'a V;
    type Run = Entries<'a, V>;

    fn next(&mut self) -> Option<&'a Node<V>> {
        let children = self.inner.children();
        let index = self.left.next()?;
        // The walk will come to the next child when it is done with this one.
        if let Some(next) = children.get(index + 1) {
            next.prefetch();
        }
        Some(&children[index])
    }

    fn next_back(&mut self) -> Option<&'a Node<V>> {
        self.left.next_back().map(|index| &self.inner.children()[index])
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn open(node: &'a Node<V>, key: &mut KeyBuffer) -> Opened<Entries<'a, V>, Self, &'a V> {
        match node.kind() {
            Kind::Page(page) => Opened::Page(page.entries()),
            Kind::Inner(inner) => {
                key.push(inner.label());
                Opened::Inner(inner.value(), Self::new(inner, 0..inner.len()))
            }
        }
    }
}

impl<V> Seek for SharedChildren<'_, V> {
    type Stored = V;

    fn left(&mut self) -> (&Inner<V>, &mut Range<usize>) {
        (self.inner, &mut self.left)
    }

    fn first(&self) -> Option<&Node<V>> {
        self.left.clone().next().map(|index| &self.inner.children()[index])
    }

    fn last(&self) -> Option<&Node<V>> {
        self.left.clone().next_back().map(|index| &self.inner.children()[index])
    }
}

/// Children whose values may be changed. Each is made one of its own before it is handed out.
pub(in crate::trie) struct ChildrenMut<'a, V> {
    /// To look for bytes in, which leaves the children alone.
    inner: &'a Inner<V>,
    /// The children. Those in `left` haven't been handed out.
    children: NonNull<Node<V>>,
    left: Range<usize>,
    clone: Option<CloneFn<V>>,
    borrows: PhantomData<&'a mut V>,
}

// SAFETY: this is a mutable borrow of nodes, as `&mut [Node<V>]` is, with some bytes.
unsafe impl<V: Send> Send for ChildrenMut<'_, V> {}
// SAFETY: through a shared one only `&Node<V>` can be reached.
unsafe impl<V: Sync> Sync for ChildrenMut<'_, V> {}

/// A node of one owner, with what clones the values of shared ones below it.
pub(in crate::trie) struct NodeMut<'a, V> {
    node: &'a mut Node<V>,
    clone: Option<CloneFn<V>>,
}

impl<'a, V> NodeMut<'a, V> {
    /// Makes the node one of its own.
    pub(in crate::trie) fn new(node: &'a mut Node<V>, clone: Option<CloneFn<V>>) -> Self {
        node.make_unique(clone);
        Self { node, clone }
    }
}

impl<'a, V> ChildrenMut<'a, V> {
    /// The children of `inner` in this range.
    pub(in crate::trie) fn new(
        inner: &'a mut Inner<V>,
        left: Range<usize>,
        clone: Option<CloneFn<V>>,
    ) -> Self {
        inner.assert_unique();
        assert!(left.end <= inner.len(), "these are children of the node");
        let children = inner.child_slots();
        Self { inner, children, left, clone, borrows: PhantomData }
    }

    /// # Safety
    ///
    /// The index is in `left`.
    unsafe fn child(&self, index: usize) -> &Node<V> {
        // SAFETY: the index is in `left`, which is a range of the children.
        let child = unsafe { self.children.add(index) };
        // SAFETY: it hasn't been handed out, and won't be while this is borrowed.
        unsafe { child.as_ref() }
    }

    /// # Safety
    ///
    /// The index has just been taken from `left`.
    unsafe fn take(&mut self, index: usize) -> NodeMut<'a, V> {
        // SAFETY: the index was in `left`, which is a range of the children.
        let mut child = unsafe { self.children.add(index) };
        // SAFETY: the inner node is borrowed mutably for 'a, and each index is taken from `left`
        // once; what else is looked at in the inner node lies elsewhere.
        NodeMut::new(unsafe { child.as_mut() }, self.clone)
    }
}

impl<'a, V> Children for ChildrenMut<'a, V> {
    type Node = NodeMut<'a, V>;
    type Value = &'a mut V;
    type Run = EntriesMut<'a, V>;

    fn next(&mut self) -> Option<NodeMut<'a, V>> {
        // SAFETY: the index has just been taken.
        self.left.next().map(|index| unsafe { self.take(index) })
    }

    fn next_back(&mut self) -> Option<NodeMut<'a, V>> {
        // SAFETY: the index has just been taken.
        self.left.next_back().map(|index| unsafe { self.take(index) })
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn open(
        NodeMut { node, clone }: NodeMut<'a, V>,
        key: &mut KeyBuffer,
    ) -> Opened<EntriesMut<'a, V>, Self, &'a mut V> {
        match node.kind_mut() {
            KindMut::Page(page) => Opened::Page(page.entries_mut()),
            KindMut::Inner(inner) => {
                key.push(inner.label());
                let value = inner.value_place();
                // SAFETY: the value lies in the node, which is borrowed mutably for 'a, and nothing
                // else looks at it.
                let value = value.map(|mut value| unsafe { value.as_mut() });
                let all = 0..inner.len();
                Opened::Inner(value, Self::new(inner, all, clone))
            }
        }
    }
}

impl<V> Seek for ChildrenMut<'_, V> {
    type Stored = V;

    fn left(&mut self) -> (&Inner<V>, &mut Range<usize>) {
        (self.inner, &mut self.left)
    }

    fn first(&self) -> Option<&Node<V>> {
        // SAFETY: the index is in `left`.
        self.left.clone().next().map(|index| unsafe { self.child(index) })
    }

    fn last(&self) -> Option<&Node<V>> {
        // SAFETY: the index is in `left`.
        self.left.clone().next_back().map(|index| unsafe { self.child(index) })
    }
}

/// Children that are moved out of their node.
pub(in crate::trie) struct IntoChildren<V> {
    children: vec::IntoIter<Node<V>>,
    clone: Option<CloneFn<V>>,
}

/// A node of one owner, to be taken apart, with what clones the values of shared ones below it.
pub(in crate::trie) struct OwnedNode<V> {
    node: Node<V>,
    clone: Option<CloneFn<V>>,
}

impl<V> OwnedNode<V> {
    /// Makes the node one of its own.
    pub(in crate::trie) fn new(mut node: Node<V>, clone: Option<CloneFn<V>>) -> Self {
        node.make_unique(clone);
        Self { node, clone }
    }
}

impl<V> Children for IntoChildren<V> {
    type Node = OwnedNode<V>;
    type Value = V;
    type Run = IntoEntries<V>;

    fn next(&mut self) -> Option<OwnedNode<V>> {
        self.children.next().map(|node| OwnedNode::new(node, self.clone))
    }

    fn next_back(&mut self) -> Option<OwnedNode<V>> {
        self.children.next_back().map(|node| OwnedNode::new(node, self.clone))
    }

    fn is_empty(&self) -> bool {
        self.children.len() == 0
    }

    fn open(
        OwnedNode { node, clone }: OwnedNode<V>,
        key: &mut KeyBuffer,
    ) -> Opened<IntoEntries<V>, Self, V> {
        match node.into_kind() {
            IntoKind::Page(page) => Opened::Page(page.into_entries()),
            IntoKind::Inner(mut inner) => {
                key.push(inner.label());
                let (value, mut children) = (inner.take_value(), Vec::with_capacity(inner.len()));
                inner.dismantle(&mut children);
                Opened::Inner(value, Self { children: children.into_iter(), clone })
            }
        }
    }
}

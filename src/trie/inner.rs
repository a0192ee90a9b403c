//! The inner node: a label, perhaps a value, and up to 256 children, in one block of memory.
//!
//! The label is what all keys below have in common, after the labels above. The value is that of the
//! key that ends behind the label. The other keys are told apart by the byte that follows it, in
//! ranges: each child has a *separator*, and child `i` has the keys whose next byte is at least
//! separator `i` and less than separator `i + 1`. So a page below can have keys with several next
//! bytes, and pages stay as full as those of a B-tree. What a child has of a key begins with that
//! byte, which neither the label nor the separator takes away.
//!
//! # Invariants
//!
//! - All of the block is initialised, but for a value that isn't there; so are the first `len`
//!   children.
//! - The separators ascend, and the first one is 0.
//! - A child that is an inner node has a label, and its separator is the label's first byte, unless
//!   it is the first child.
//! - The index, if there is one, has for each byte the child that the separators give.
//! - A node with more than one owner isn't written to. Each function that writes checks that.

mod children;
mod search;
mod shape;

pub(super) use children::{
    Children, ChildrenMut, IntoChildren, NodeMut, Opened, OwnedNode, Seek, SharedChildren,
};

use super::node::{Block, CloneFn, IntoKind, Node, TAG, add_owner, remove_owner};
use search::rank_of_separator;
use shape::{Header, INDEX, Shape};
use std::alloc::{alloc_zeroed, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;

/// The most children of a node: one for each byte.
const LEN_MAX: usize = 256;

/// An inner node, or one of its owners if it is shared. What it owns is dropped with its last owner.
#[repr(transparent)]
pub(super) struct Inner<V> {
    /// [`TAG`] above a block of the layout that [`Shape`] gives for the header's numbers.
    tagged: NonNull<u8>,
    owns: PhantomData<V>,
}

// SAFETY: as for `Page`: a node is its value, its children and bytes.
unsafe impl<V: Send> Send for Inner<V> {}
// SAFETY: as for `Page`.
unsafe impl<V: Sync> Sync for Inner<V> {}

impl<V> Inner<V> {
    /// Makes a node without children, with room for `slots` of them.
    ///
    /// # Panics
    ///
    /// Panics if the label has 2³² bytes or more.
    pub(super) fn new(label: &[u8], value: Option<V>, slots: usize) -> Self {
        let mut node = Self::empty(label.len(), value.is_some(), slots);
        node.label_mut().copy_from_slice(label);
        if let Some(value) = value {
            node.put_value(value);
        }
        node
    }

    /// A node with a label of zeroes.
    fn empty(label: usize, has_value_slot: bool, slots: usize) -> Self {
        assert!(slots <= LEN_MAX, "a node has no more slots than there are bytes");
        let label_len = u32::try_from(label).expect("a key is shorter than 4 GiB");
        let layout = Shape { slots, label, has_value_slot }.layout::<V>();
        // SAFETY: the layout has a header at least, so its size isn't zero.
        let block = unsafe { alloc_zeroed(layout) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout) };
        let header = Header {
            refs: AtomicU32::new(1),
            label: label_len,
            len: 0,
            slots: slots as u16,
            has_value_slot,
            has_value: false,
        };
        // SAFETY: the block is fresh, and begins with room for a header.
        unsafe { block.cast::<Header>().write(header) };
        // SAFETY: a block is larger than the tag.
        Self { tagged: unsafe { block.byte_add(TAG) }, owns: PhantomData }
    }

    #[inline]
    pub(super) fn label(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: the label lies here, initialised.
        unsafe { self.area(shape.label(), shape.label) }
    }

    /// What follows the label in `bytes`, if they begin with it.
    #[inline]
    pub(super) fn strip_label<'k>(&self, bytes: &'k [u8]) -> Option<&'k [u8]> {
        let shape = self.shape();
        if shape.label <= Shape::WORD
            && let Some(&word) = bytes.first_chunk::<{ Shape::WORD }>()
        {
            // Most labels are short, and of lengths that nobody can predict: compared like this,
            // they cost no branch for it.
            // SAFETY: behind the label there are bytes enough, initialised.
            let label: &[[u8; Shape::WORD]] = unsafe { self.area(shape.label(), 1) };
            let differences = u64::from_le_bytes(word) ^ u64::from_le_bytes(label[0]);
            let behind = u64::MAX.checked_shl(8 * self.header().label).unwrap_or(0);
            return (differences & !behind == 0).then(|| &bytes[shape.label..]);
        }
        bytes.strip_prefix(self.label())
    }

    /// The value of the key that ends behind the label.
    #[inline]
    pub(super) fn value(&self) -> Option<&V> {
        let value = self.value_place()?;
        // SAFETY: there is a value, which nobody writes to while the node is borrowed.
        Some(unsafe { value.as_ref() })
    }

    pub(super) fn value_mut(&mut self) -> Option<&mut V> {
        self.assert_unique();
        let mut value = self.value_place()?;
        // SAFETY: there is a value, and the node's one owner is borrowed mutably.
        Some(unsafe { value.as_mut() })
    }

    /// Sets the value of a node that has none.
    pub(super) fn set_value(&mut self, value: V) {
        if !self.header().has_value_slot {
            let shape = self.shape();
            self.move_to(Shape { has_value_slot: true, ..shape });
        }
        self.put_value(value);
    }

    fn put_value(&mut self, value: V) {
        self.assert_unique();
        let header = self.header();
        assert!(header.has_value_slot && !header.has_value, "a value has a free slot");
        // SAFETY: there is room for a value, which is free.
        unsafe { self.value_slot().write(value) };
        self.header_mut().has_value = true;
    }

    /// Takes the value out.
    pub(super) fn take_value(&mut self) -> Option<V> {
        self.assert_unique();
        let value = self.value_place()?;
        self.header_mut().has_value = false;
        // SAFETY: there was a value, and the header says that there is none any more.
        Some(unsafe { value.read() })
    }

    /// How many children there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.header().len)
    }

    /// The children, in order.
    #[inline]
    pub(super) fn children(&self) -> &[Node<V>] {
        // SAFETY: the children lie here, and the first `len` are initialised.
        unsafe { self.area(self.shape().children(), self.len()) }
    }

    /// The children, to be written to.
    #[inline]
    pub(super) fn children_mut(&mut self) -> &mut [Node<V>] {
        self.assert_unique();
        // SAFETY: the first `len` children are initialised, and the node's one owner is borrowed
        // mutably.
        unsafe { slice::from_raw_parts_mut(self.child_slots().as_ptr(), self.len()) }
    }

    /// Which child has the keys with this next byte. There is at least one child.
    #[inline]
    pub(super) fn find(&self, byte: u8) -> usize {
        let shape = self.shape();
        if shape.has_index() {
            // SAFETY: the index lies here, initialised.
            let index: &[u8] = unsafe { self.area(Shape::HEADER, INDEX) };
            return usize::from(index[usize::from(byte)]);
        }
        let lanes = self.len().next_multiple_of(Shape::LANES);
        // SAFETY: up to the children there are at least as many bytes, initialised.
        let separators = unsafe { self.area(shape.separators(), lanes) };
        rank_of_separator(separators, self.len(), byte) - 1
    }

    /// The least next byte of the child's keys, as far as the node knows.
    #[cfg(any(test, fuzzing))]
    pub(super) fn separator(&self, index: usize) -> u8 {
        self.separators()[index]
    }

    fn separators(&self) -> &[u8] {
        // SAFETY: there are as many separators as children, initialised.
        unsafe { self.area(self.shape().separators(), self.len()) }
    }

    /// Adds a child behind the others, or as the first one, whatever its separator.
    pub(super) fn push(&mut self, separator: u8, child: Node<V>) {
        let len = self.len();
        self.insert(len, if len == 0 { 0 } else { separator }, child);
    }

    /// Inserts a first child before another one, which now begins at `separator`.
    pub(super) fn insert_first(&mut self, child: Node<V>, separator: u8) {
        if self.len() == 0 {
            return self.push(0, child);
        }
        self.set_separator(0, separator);
        self.insert(0, 0, child);
    }

    /// Inserts a child at `index`, whose keys begin at `separator`.
    pub(super) fn insert(&mut self, index: usize, separator: u8, child: Node<V>) {
        let (shape, len) = (self.shape(), self.len());
        assert!(index <= len, "a child is inserted among the others or behind them");
        if len == shape.slots {
            let slots = (len + (len / 4).max(1)).min(LEN_MAX);
            assert!(len < slots, "a node has no more children than there are bytes");
            self.move_to(Shape { slots, ..shape });
        }
        let separators = self.separator_slots_mut();
        separators.copy_within(index..len, index + 1);
        separators[index] = separator;
        let ascends = index == 0 || separators[index - 1] < separator;
        assert!(
            ascends && (index == len || separator < separators[index + 1]),
            "separators ascend"
        );
        if len > 0 {
            // What comes from here on is one further. Of an index of the first child, all but what
            // it has now.
            let from = if index == 0 { separators[1] } else { separator };
            self.shift_index(from..=u8::MAX, 1);
        }
        // SAFETY: `index` is at most `len`, which is less than the number of slots.
        let place = unsafe { self.child_slots().add(index) };
        // SAFETY: one behind, by the same.
        let behind = unsafe { place.add(1) };
        // SAFETY: the children from `index` on are moved into the free slot.
        unsafe { ptr::copy(place.as_ptr(), behind.as_ptr(), len - index) };
        // SAFETY: the child that was here has just been moved, or there was none.
        unsafe { place.write(child) };
        self.header_mut().len += 1;
    }

    /// Removes a child. The one before it has its range then, or the one behind it if it is the
    /// first.
    pub(super) fn remove(&mut self, index: usize) -> Node<V> {
        let len = self.len();
        assert!(index < len, "only a child can be removed");
        let separators = self.separator_slots_mut();
        if len > 1 {
            let from = separators[index.max(1)];
            separators.copy_within(index + 1..len, index);
            separators[0] = 0;
            self.shift_index(from..=u8::MAX, -1);
        }
        // SAFETY: there is such a child, by the assertion.
        let place = unsafe { self.child_slots().add(index) };
        // SAFETY: it is initialised, and overwritten or forgotten below.
        let child = unsafe { place.read() };
        // SAFETY: the children behind it, if there are any, begin one further.
        let behind = unsafe { place.add(1) };
        // SAFETY: they are moved over the one that has been moved away.
        unsafe { ptr::copy(behind.as_ptr(), place.as_ptr(), len - index - 1) };
        self.header_mut().len -= 1;
        child
    }

    /// Changes where a child's keys begin, between its neighbours.
    pub(super) fn set_separator(&mut self, index: usize, separator: u8) {
        let len = self.len();
        let separators = &mut self.separator_slots_mut()[..len];
        let old = std::mem::replace(&mut separators[index], separator);
        let ascends = index == 0 || separators[index - 1] < separator;
        assert!(ascends && separators.get(index + 1).is_none_or(|&next| separator < next));
        if index == 0 {
            // For the first child the index goes by what comes behind it.
        } else if separator < old {
            self.shift_index(separator..=old - 1, 1);
        } else if old < separator {
            self.shift_index(old..=separator - 1, -1);
        }
    }

    /// Replaces the label.
    ///
    /// # Panics
    ///
    /// Panics if it has 2³² bytes or more.
    pub(super) fn set_label(&mut self, label: &[u8]) {
        let shape = self.shape();
        let mut node = Self::empty(label.len(), shape.has_value_slot, shape.slots);
        node.label_mut().copy_from_slice(label);
        self.move_contents(&mut node);
        *self = node;
    }

    /// Moves the children from `index` on, which are fewer than all, to a new node with the same
    /// label and no value.
    pub(super) fn split_off(&mut self, index: usize) -> Self {
        let mut separators = self.separators()[index..].to_vec();
        if let Some(first) = separators.first_mut() {
            *first = 0;
        }
        let mut children = Vec::with_capacity(separators.len());
        while self.len() > index {
            children.push(self.remove(self.len() - 1));
        }
        Self::with_children(self.label(), None, &separators, children.into_iter().rev())
    }

    /// Moves everything to a block of another shape, with the same label.
    fn move_to(&mut self, shape: Shape) {
        let mut node = Self::empty(shape.label, shape.has_value_slot, shape.slots);
        node.label_mut().copy_from_slice(self.label());
        self.move_contents(&mut node);
        *self = node;
    }

    /// Moves the value and the children to a node that has none.
    fn move_contents(&mut self, node: &mut Self) {
        self.assert_unique();
        let len = self.len();
        node.separator_slots_mut()[..len].copy_from_slice(self.separators());
        node.make_index(len);
        assert!(node.len() == 0 && len <= node.shape().slots, "children are moved to free slots");
        // SAFETY: there are as many free slots, in another block.
        unsafe { node.child_slots().copy_from_nonoverlapping(self.child_slots(), len) };
        // The children belong to the other node from here on.
        self.header_mut().len = 0;
        node.header_mut().len = len as u16;
        if let Some(value) = self.take_value() {
            node.put_value(value);
        }
    }

    /// Fills the index, if there is one, for the first `len` separators.
    fn make_index(&mut self, len: usize) {
        if !self.shape().has_index() {
            return;
        }
        let separators = self.separator_slots_mut()[..len].to_vec();
        let index = self.index_mut();
        for (child, &separator) in separators.iter().enumerate() {
            index[usize::from(separator)..].fill(child as u8);
        }
    }

    /// Adds `by` to the index at `bytes`, if there is one.
    fn shift_index(&mut self, bytes: std::ops::RangeInclusive<u8>, by: i8) {
        if self.shape().has_index() {
            for child in
                &mut self.index_mut()[usize::from(*bytes.start())..=usize::from(*bytes.end())]
            {
                *child = child.wrapping_add_signed(by);
            }
        }
    }

    /// Another owner of the node.
    ///
    /// # Panics
    ///
    /// Panics if there are already more than two thousand million of them.
    pub(super) fn share(&self) -> Self {
        add_owner(&self.header().refs);
        Self { tagged: self.tagged, owns: PhantomData }
    }

    /// Whether the node has another owner.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.header().refs.load(Acquire) != 1
    }

    /// A copy of the node with one owner, which shares the children.
    pub(super) fn copy(&self, clone: CloneFn<V>) -> Self {
        let children = self.children().iter().map(Node::share);
        Self::with_children(self.label(), self.value().map(clone), self.separators(), children)
    }

    /// Makes a node of children and their separators, of which there are as many.
    pub(super) fn with_children(
        label: &[u8],
        value: Option<V>,
        separators: &[u8],
        children: impl ExactSizeIterator<Item = Node<V>>,
    ) -> Self {
        let len = separators.len();
        let mut node = Self::new(label, value, len);
        assert!(separators.first().is_none_or(|&first| first == 0), "the first separator is 0");
        assert!(separators.is_sorted_by(|left, right| left < right), "separators ascend");
        assert_eq!(children.len(), len, "each child has a separator");
        node.separator_slots_mut().copy_from_slice(separators);
        for (index, child) in children.take(len).enumerate() {
            // SAFETY: there are `len` slots for children.
            let place = unsafe { node.child_slots().add(index) };
            // SAFETY: the slot is free.
            unsafe { place.write(child) };
            node.header_mut().len += 1;
        }
        assert_eq!(node.len(), len, "each separator has a child");
        node.make_index(len);
        node
    }

    #[inline]
    fn block(&self) -> NonNull<u8> {
        // SAFETY: the block lies below its tag.
        unsafe { self.tagged.byte_sub(TAG) }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the block begins with a header, which is written to only where nobody else has the
        // node, its counter apart.
        unsafe { self.block().cast().as_ref() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let header = self.header();
        Shape {
            slots: usize::from(header.slots),
            label: header.label as usize,
            has_value_slot: header.has_value_slot,
        }
    }

    /// # Safety
    ///
    /// `count` initialised items lie `offset` bytes into the block.
    #[inline]
    unsafe fn area<T>(&self, offset: usize, count: usize) -> &[T] {
        // SAFETY: the area lies in the block.
        let start = unsafe { self.block().byte_add(offset) };
        // SAFETY: the items are initialised, and aligned by their shape; none is written to while
        // the node is borrowed.
        unsafe { slice::from_raw_parts(start.cast().as_ptr(), count) }
    }

    /// # Safety
    ///
    /// `count` bytes lie `offset` bytes into the block, and aren't part of the header, of a child or
    /// of a value.
    #[inline]
    unsafe fn bytes_mut(&mut self, offset: usize, count: usize) -> &mut [u8] {
        self.assert_unique();
        // SAFETY: the bytes lie in the block.
        let start = unsafe { self.block().byte_add(offset) };
        // SAFETY: all of the block is initialised, and the node's one owner is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), count) }
    }

    fn header_mut(&mut self) -> &mut Header {
        self.assert_unique();
        // SAFETY: the block begins with a header, and the node's one owner is borrowed mutably.
        unsafe { self.block().cast().as_mut() }
    }

    fn label_mut(&mut self) -> &mut [u8] {
        let shape = self.shape();
        // SAFETY: the label lies here.
        unsafe { self.bytes_mut(shape.label(), shape.label) }
    }

    fn separator_slots_mut(&mut self) -> &mut [u8] {
        let shape = self.shape();
        // SAFETY: there are as many separators as slots.
        unsafe { self.bytes_mut(shape.separators(), shape.slots) }
    }

    /// The index of a node that has one.
    fn index_mut(&mut self) -> &mut [u8] {
        assert!(self.shape().has_index(), "the node has an index");
        // SAFETY: the index lies here.
        unsafe { self.bytes_mut(Shape::HEADER, INDEX) }
    }

    #[inline]
    fn child_slots(&self) -> NonNull<Node<V>> {
        // SAFETY: the children lie in the block.
        unsafe { self.block().byte_add(self.shape().children()) }.cast()
    }

    /// The room for a value, in a node that has it.
    fn value_slot(&self) -> NonNull<V> {
        // SAFETY: the value lies in the block.
        unsafe { self.block().byte_add(self.shape().value::<V>()) }.cast()
    }

    /// The value, if there is one.
    #[inline]
    fn value_place(&self) -> Option<NonNull<V>> {
        self.header().has_value.then(|| self.value_slot())
    }

    #[inline]
    fn assert_unique(&self) {
        assert!(!self.is_shared(), "only a node with one owner is written to");
    }

    /// Panics if an invariant of the separators or of the index doesn't hold.
    #[cfg(any(test, fuzzing))]
    pub(super) fn check(&self) {
        let separators = self.separators();
        assert!(self.len() > 0, "an inner node has children");
        assert_eq!(separators[0], 0, "the first separator is 0");
        assert!(separators.is_sorted_by(|left, right| left < right), "separators ascend");
        for byte in 0..=u8::MAX {
            let expected = separators.iter().rposition(|&separator| separator <= byte);
            assert_eq!(Some(self.find(byte)), expected, "the child of a byte is found");
        }
    }

    /// Drops the node, but moves its children to `pending` if it was their last owner.
    fn dismantle(self, pending: &mut Vec<Node<V>>) {
        let node = std::mem::ManuallyDrop::new(self);
        if !remove_owner(&node.header().refs) {
            return;
        }
        // SAFETY: the block was allocated with this layout, and its last owner is gone.
        let _block = unsafe { Block::new(node.block(), node.shape().layout::<V>()) };
        for index in 0..node.len() {
            // SAFETY: there is such a child.
            let child = unsafe { node.child_slots().add(index) };
            // SAFETY: it is initialised, and nobody looks at the node any more.
            pending.push(unsafe { child.read() });
        }
        if let Some(value) = node.value_place() {
            // SAFETY: there is a value, and nobody looks at the node any more.
            unsafe { value.drop_in_place() };
        }
    }
}

impl<V> Drop for Inner<V> {
    /// Drops the node and all below it with a list of what is left to drop, since the data decide
    /// how deep nodes lie.
    fn drop(&mut self) {
        struct Pending<V>(Vec<Node<V>>);
        impl<V> Pending<V> {
            fn drop_all(&mut self) {
                while let Some(node) = self.0.pop() {
                    match node.into_kind() {
                        IntoKind::Page(page) => drop(page),
                        IntoKind::Inner(inner) => inner.dismantle(&mut self.0),
                    }
                }
            }
        }
        impl<V> Drop for Pending<V> {
            /// Goes on after a value's drop has panicked.
            fn drop(&mut self) {
                self.drop_all();
            }
        }

        let mut pending = Pending(Vec::new());
        Self { tagged: self.tagged, owns: PhantomData }.dismantle(&mut pending.0);
        pending.drop_all();
    }
}

//! The inner node: a label, perhaps a value, and up to 256 children, in one block of memory.
//!
//! The label is what all keys below have in common, after the labels above. The value is that of the
//! key that ends behind the label. The other keys are told apart by their [heads](head): the four
//! bytes that follow the label. Each child has a *separator*, and child `i` has the keys whose head
//! is at least separator `i` and less than separator `i + 1`. What a child has of a key begins with
//! those bytes, which neither the label nor the separator takes away.
//!
//! Where keys share much, few children do for four bytes of them, and a path to a key is short. Where
//! they are many and differ early, a search among heads is slow: a node of more than a few dozen
//! children has separators that differ in their first bytes, and an index, which has the child for
//! each byte. [`gather`](super::gather) makes such a node of a full one.
//!
//! # Invariants
//!
//! - All of the block is initialised, but for a value that isn't there; so are the first `len`
//!   children.
//! - The separators ascend, and the first one is the least head.
//! - In a node with an index, the separators have zeroes behind their first bytes, and the index has
//!   for each byte the child that they give.
//! - A child that is an inner node has a label.
//! - A node with more than one owner isn't written to. Each function that writes checks that.

mod children;
mod shape;

pub(super) use children::{
    Children, ChildrenMut, IntoChildren, NodeMut, Opened, OwnedNode, Seek, SharedChildren,
};

use super::node::{Block, CloneFn, IntoKind, Node, TAG, add_owner, remove_owner};
use super::page::{FIRST_BYTE, HEAD, HEAD_MIN, first_byte, head, last_head, rank_of_head};
use shape::{Header, INDEX, Shape, UNINDEXED_MAX};
use std::alloc::{alloc_zeroed, handle_alloc_error};
use std::marker::PhantomData;
use std::mem;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;

/// The most children of a node: one for each byte.
const LEN_MAX: usize = 256;

/// Separators are compared in halves of so many, where there is no index.
const HALF: usize = UNINDEXED_MAX / 2;

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
    /// The most children of a node without an index.
    pub(super) const UNINDEXED_MAX: usize = UNINDEXED_MAX;

    /// Makes a node without children, with room for `slots` of them.
    ///
    /// # Panics
    ///
    /// Panics if the label has 2³² bytes or more.
    pub(super) fn new(label: &[u8], value: Option<V>, slots: usize) -> Self {
        let mut node = Self::empty(label, value.is_some(), slots);
        if let Some(value) = value {
            node.put_value(value);
        }
        node
    }

    /// A node without children or a value.
    fn empty(label: &[u8], has_value_slot: bool, slots: usize) -> Self {
        assert!(slots <= LEN_MAX, "a node has no more slots than children");
        let label_len = u32::try_from(label.len()).expect("a key is shorter than 4 GiB");
        let mut word = [0; Shape::WORD];
        word.iter_mut().zip(label).for_each(|(to, from)| *to = *from);
        let shape = Shape { slots, label: label.len(), has_value_slot };
        let layout = shape.layout::<V>();
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
            word,
        };
        // SAFETY: the block is fresh, and begins with room for a header.
        unsafe { block.cast::<Header>().write(header) };
        // SAFETY: a block is larger than the tag.
        let mut node = Self { tagged: unsafe { block.byte_add(TAG) }, owns: PhantomData };
        if shape.has_index() {
            node.index_mut().fill(u8::MAX);
        }
        if label.len() > Shape::WORD {
            // SAFETY: the label lies here.
            unsafe { node.bytes_mut(shape.label(), label.len()) }.copy_from_slice(label);
        }
        node
    }

    #[inline]
    pub(super) fn label(&self) -> &[u8] {
        let shape = self.shape();
        if shape.label <= Shape::WORD {
            return &self.header().word[..shape.label];
        }
        // SAFETY: the label lies here, initialised.
        unsafe { self.area(shape.label(), shape.label) }
    }

    /// The [head](head) of the label.
    #[inline]
    pub(super) fn head(&self) -> i32 {
        head(&self.header().word)
    }

    /// What follows the label in `bytes`, if they begin with it.
    #[inline]
    pub(super) fn strip_label<'k>(&self, bytes: &'k [u8]) -> Option<&'k [u8]> {
        let header = self.header();
        if header.label as usize <= Shape::WORD
            && let Some(&word) = bytes.first_chunk::<{ Shape::WORD }>()
        {
            // Most labels are short, and of lengths that nobody can predict: compared like this,
            // they cost no branch for it.
            let differences = u64::from_le_bytes(word) ^ u64::from_le_bytes(header.word);
            let behind = u64::MAX.checked_shl(8 * header.label).unwrap_or(0);
            return (differences & !behind == 0).then(|| &bytes[header.label as usize..]);
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

    /// Whether there are as many children as there may be without an index.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len() >= UNINDEXED_MAX && !self.shape().has_index()
    }

    /// The bits of heads that separators go by.
    pub(super) fn border_mask(&self) -> i32 {
        if self.shape().has_index() { FIRST_BYTE } else { -1 }
    }

    /// The separator for children that begin with a key of which this is left behind the label.
    pub(super) fn border(&self, suffix: &[u8]) -> i32 {
        head(suffix) & self.border_mask()
    }

    /// Which child has the keys with this head. There is at least one child.
    #[inline]
    pub(super) fn find(&self, head: i32) -> usize {
        let shape = self.shape();
        if shape.has_index() {
            // SAFETY: the index lies here, initialised.
            let index: &[u8] = unsafe { self.area(Shape::HEADER, INDEX) };
            return usize::from(index[first_byte(head)]);
        }
        let len = self.len();
        // SAFETY: up to the children there are at least as many heads, initialised.
        let separators: &[i32] =
            unsafe { self.area(shape.separators(), len.next_multiple_of(Shape::LANES)) };
        // Those in the half where it must be that are at most the head.
        let from = if len > HALF && separators[HALF] <= head { HALF } else { 0 };
        let len = (len - from).min(HALF);
        let half = &separators[from..from + len.next_multiple_of(Shape::LANES)];
        let at_most = head.checked_add(1).map_or(len, |next| rank_of_head(half, len, next));
        from + at_most - 1
    }

    /// Which children may have keys that begin with `prefix`, behind the label. There is one at least.
    pub(super) fn prefixed(&self, prefix: &[u8]) -> Range<usize> {
        let first = self.find(head(prefix));
        let last = if prefix.len() < HEAD { self.find(last_head(prefix)) } else { first };
        first..last + 1
    }

    /// The least head of the child's keys, as far as the node knows.
    pub(super) fn separator(&self, index: usize) -> i32 {
        self.separators()[index]
    }

    pub(super) fn separators(&self) -> &[i32] {
        // SAFETY: there are as many separators as children, initialised.
        unsafe { self.area(self.shape().separators(), self.len()) }
    }

    /// Adds a child behind the others, or as the first one, whatever its separator.
    pub(super) fn push(&mut self, separator: i32, child: Node<V>) {
        let len = self.len();
        self.insert(len, if len == 0 { HEAD_MIN } else { separator }, child);
    }

    /// Inserts a child before the one at `index`, which now begins at `separator`; the new one begins
    /// where that one did. Without children, it is the only one.
    pub(super) fn insert_before(&mut self, index: usize, child: Node<V>, separator: i32) {
        if self.len() == 0 {
            return self.push(HEAD_MIN, child);
        }
        let from = self.separator(index);
        self.set_separator(index, separator);
        self.insert(index, from, child);
    }

    /// Inserts a child at `index`, whose keys begin at `separator`.
    ///
    /// # Panics
    ///
    /// Panics if the node [is full](Self::is_full), if the separators wouldn't ascend, or if this one
    /// isn't a [border](Self::border).
    pub(super) fn insert(&mut self, index: usize, separator: i32, child: Node<V>) {
        let (shape, len) = (self.shape(), self.len());
        assert!(index <= len, "a child is inserted among the others or behind them");
        if len == shape.slots {
            assert!(!self.is_full(), "a full node gets no more children");
            let most = if shape.has_index() { LEN_MAX } else { UNINDEXED_MAX };
            self.move_to(Shape { slots: (len + (len / 4).max(1)).min(most), ..shape });
        }
        assert_eq!(separator & self.border_mask(), separator, "a separator is a border");
        let separators = self.separator_slots_mut();
        separators.copy_within(index..len, index + 1);
        separators[index] = separator;
        let ascends = index == 0 || separators[index - 1] < separator;
        assert!(
            ascends && (index == len || separator < separators[index + 1]),
            "separators ascend"
        );
        self.count(separator, 1);
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
    /// first. The block shrinks if few are left.
    pub(super) fn remove(&mut self, index: usize) -> Node<V> {
        self.assert_unique();
        assert!(index < self.len(), "only a child can be removed");
        // SAFETY: there is such a child, by the assertion.
        let child = unsafe { self.child_slots().add(index) };
        // SAFETY: it is initialised, and forgotten by `close`.
        let child = unsafe { child.read() };
        self.close(index..index + 1);
        let (shape, slots) = (self.shape(), self.len() + 1);
        if slots < shape.slots / 4 {
            self.move_to(Shape { slots, ..shape });
        }
        child
    }

    /// Removes all children, and returns them with their separators.
    pub(super) fn take_children(&mut self) -> (Vec<i32>, Vec<Node<V>>) {
        self.remove_range(0..self.len())
    }

    /// Removes the children in `range`, and returns them with their separators.
    fn remove_range(&mut self, range: Range<usize>) -> (Vec<i32>, Vec<Node<V>>) {
        self.assert_unique();
        let mut separators = self.separators()[range.clone()].to_vec();
        if let Some(first) = separators.first_mut() {
            *first = HEAD_MIN;
        }
        let mut children = Vec::with_capacity(separators.len());
        for index in range.clone() {
            // SAFETY: there is such a child, or the slice above would have panicked.
            let child = unsafe { self.child_slots().add(index) };
            // SAFETY: it is initialised, and forgotten by `close`.
            children.push(unsafe { child.read() });
        }
        self.close(range);
        (separators, children)
    }

    /// Forgets the children in `range`, and closes the gap.
    fn close(&mut self, range: Range<usize>) {
        let len = self.len();
        assert!(range.start <= range.end && range.end <= len, "only children can be forgotten");
        for index in range.clone() {
            self.count(self.separator(index), -1);
        }
        let separators = self.separator_slots_mut();
        separators.copy_within(range.end..len, range.start);
        if range.start == 0 && range.end < len {
            self.replace_separator(0, HEAD_MIN);
        }
        // SAFETY: the range lies within the children, by the assertion.
        let from = unsafe { self.child_slots().add(range.end) };
        // SAFETY: by the same.
        let to = unsafe { self.child_slots().add(range.start) };
        // SAFETY: moves the later children over those that are forgotten.
        unsafe { ptr::copy(from.as_ptr(), to.as_ptr(), len - range.end) };
        self.header_mut().len -= range.len() as u16;
    }

    /// Changes where a child's keys begin, between its neighbours.
    pub(super) fn set_separator(&mut self, index: usize, separator: i32) {
        let len = self.len();
        self.replace_separator(index, separator);
        let separators = &self.separator_slots_mut()[..len];
        let ascends = index == 0 || separators[index - 1] < separator;
        assert!(
            ascends && separators.get(index + 1).is_none_or(|&next| separator < next),
            "separators ascend"
        );
    }

    fn replace_separator(&mut self, index: usize, separator: i32) {
        let old = mem::replace(&mut self.separator_slots_mut()[index], separator);
        self.count(old, -1);
        self.count(separator, 1);
    }

    /// Adds `by` to the index, if there is one, where it counts this separator: at all bytes from its
    /// first one on. There it has the number of the last child, one less than there are separators.
    fn count(&mut self, separator: i32, by: i8) {
        if self.shape().has_index() {
            for child in &mut self.index_mut()[first_byte(separator)..] {
                *child = child.wrapping_add_signed(by);
            }
        }
    }

    /// Fills the index, if there is one, for the first `len` separators.
    fn make_index(&mut self, len: usize) {
        for index in 0..if self.shape().has_index() { len } else { 0 } {
            let separator = self.separator_slots_mut()[index];
            self.count(separator, 1);
        }
    }

    /// Replaces the label.
    ///
    /// # Panics
    ///
    /// Panics if it has 2³² bytes or more.
    pub(super) fn set_label(&mut self, label: &[u8]) {
        let shape = self.shape();
        let mut node = Self::empty(label, shape.has_value_slot, shape.slots);
        self.move_contents(&mut node);
        *self = node;
    }

    /// Moves the children in `range` to a new node with this label and no value.
    pub(super) fn extract(&mut self, range: Range<usize>, label: &[u8]) -> Self {
        let (separators, children) = self.remove_range(range);
        let mut node = Self::with_children(label, None, &separators, children.into_iter());
        if node.is_full() {
            // It comes from one with an index, and may get another child.
            node.make_indexed();
        }
        node
    }

    /// Gives an index to a node whose separators are of a byte each, and says whether they are.
    pub(super) fn make_indexed(&mut self) -> bool {
        let are_bytes =
            self.separators().iter().all(|separator| separator & FIRST_BYTE == *separator);
        if are_bytes {
            self.move_to(Shape { slots: self.len().max(UNINDEXED_MAX) + 1, ..self.shape() });
        }
        are_bytes
    }

    /// Moves everything to a block of another shape, with the same label.
    fn move_to(&mut self, shape: Shape) {
        let mut node = Self::empty(self.label(), shape.has_value_slot, shape.slots);
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
        separators: &[i32],
        children: impl ExactSizeIterator<Item = Node<V>>,
    ) -> Self {
        let len = separators.len();
        let mut node = Self::new(label, value, len);
        assert!(
            separators.first().is_none_or(|&first| first == HEAD_MIN),
            "the first separator is the least"
        );
        assert!(separators.is_sorted_by(|left, right| left < right), "separators ascend");
        assert_eq!(children.len(), len, "each child has a separator");
        node.separator_slots_mut().copy_from_slice(separators);
        node.make_index(len);
        for (index, child) in children.take(len).enumerate() {
            // SAFETY: there are `len` slots for children.
            let place = unsafe { node.child_slots().add(index) };
            // SAFETY: the slot is free.
            unsafe { place.write(child) };
            node.header_mut().len += 1;
        }
        assert_eq!(node.len(), len, "each separator has a child");
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

    fn separator_slots_mut(&mut self) -> &mut [i32] {
        self.assert_unique();
        let shape = self.shape();
        // SAFETY: the separators lie in the block.
        let start = unsafe { self.block().byte_add(shape.separators()) }.cast();
        // SAFETY: there are as many separators as slots, initialised and aligned, and the node's one
        // owner is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), shape.slots) }
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

    /// Panics if an invariant of the separators doesn't hold.
    #[cfg(any(test, fuzzing))]
    pub(super) fn check(&self) {
        let separators = self.separators();
        assert!((1..=LEN_MAX).contains(&self.len()), "an inner node has some children");
        let are_borders = separators.iter().all(|&head| head & self.border_mask() == head);
        assert!(are_borders, "separators are borders");
        assert_eq!(separators[0], HEAD_MIN, "the first separator is the least head");
        assert!(separators.is_sorted_by(|left, right| left < right), "separators ascend");
        for (index, &separator) in separators.iter().enumerate() {
            assert_eq!(self.find(separator), index, "the child of a head is found");
            if let Some(&next) = separators.get(index + 1) {
                assert_eq!(self.find(next - 1), index, "the child of a head is found");
            }
            let before = separator.checked_sub(1).map(|before| self.find(before));
            assert_eq!(before, index.checked_sub(1), "the child of a head is found");
        }
        assert_eq!(self.find(i32::MAX), self.len() - 1, "the child of a head is found");
    }

    /// Drops the node, but moves its children to `pending` if it was their last owner.
    fn dismantle(self, pending: &mut Vec<Node<V>>) {
        let node = mem::ManuallyDrop::new(self);
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

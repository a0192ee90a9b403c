//! Where the areas of an inner node lie in its block.

use super::super::node::Node;
use std::alloc::Layout;
use std::sync::atomic::AtomicU32;

/// The first 24 bytes of an inner node's block.
#[repr(C)]
pub(super) struct Header {
    /// How many owners the node has. What has more than one is never written to.
    pub(super) refs: AtomicU32,
    /// The length of the label.
    pub(super) label: u32,
    /// How many children there are.
    pub(super) len: u16,
    /// For how many children there is room.
    pub(super) slots: u16,
    /// Whether there is room for a value.
    pub(super) has_value_slot: bool,
    /// Whether there is a value in it.
    pub(super) has_value: bool,
    /// The label, if it is no longer than this, or its first bytes; zeroes behind it. Here, since most
    /// labels are short, and compared first.
    pub(super) word: [u8; Shape::WORD],
}

/// With room for more children than this, a node has an index.
pub(super) const UNINDEXED_MAX: usize = if cfg!(any(miri, triekv_small_pages)) { 8 } else { 64 };

/// How many bytes an index has: one for each first byte of a head.
pub(super) const INDEX: usize = 256;

/// The numbers that decide where everything lies, as the header has them:
///
/// ```text
/// 0                       header, 24 bytes
/// 24                      index, 256 bytes, if there is one
/// separators()            slots × i32, then zeroes up to where a vector of them may reach
/// children()              slots × node, 8 bytes each
/// label()                 label × u8, if the header's word is too short for it
/// value()                 V, aligned, if there is room for one
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) slots: usize,
    pub(super) label: usize,
    pub(super) has_value_slot: bool,
}

impl Shape {
    /// Separators are compared this many at a time, so that the last comparison reads past them.
    pub(super) const LANES: usize = 4;

    /// So many bytes of a label are in the header.
    pub(super) const WORD: usize = size_of::<u64>();

    pub(super) const HEADER: usize = size_of::<Header>();

    pub(super) const fn has_index(self) -> bool {
        self.slots > UNINDEXED_MAX
    }

    pub(super) const fn separators(self) -> usize {
        Self::HEADER + if self.has_index() { INDEX } else { 0 }
    }

    pub(super) const fn children(self) -> usize {
        self.separators() + self.slots.next_multiple_of(Self::LANES) * size_of::<i32>()
    }

    pub(super) const fn label(self) -> usize {
        self.children() + self.slots * size_of::<usize>()
    }

    /// The bytes of a label behind the children.
    const fn label_room(self) -> usize {
        if self.label > Self::WORD { self.label } else { 0 }
    }

    pub(super) const fn value<V>(self) -> usize {
        (self.label() + self.label_room()).next_multiple_of(align_of::<V>())
    }

    /// The layout of the whole block.
    ///
    /// # Panics
    ///
    /// Panics if the block would be larger than what can be addressed.
    pub(super) fn layout<V>(self) -> Layout {
        let children = Layout::array::<Node<V>>(self.slots).expect("children are few");
        let label = Layout::array::<u8>(self.label_room()).expect("a label can be addressed");
        let (layout, _) = Layout::from_size_align(self.children(), align_of::<u64>())
            .and_then(|head| head.extend(children))
            .and_then(|(head, _)| head.extend(label))
            .expect("a label of this length can't be addressed");
        if !self.has_value_slot {
            return layout;
        }
        let (layout, offset) =
            layout.extend(Layout::new::<V>()).expect("such a value can't be addressed");
        debug_assert_eq!(offset, self.value::<V>(), "the value lies where its layout says");
        layout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Wide;

    fn lies_apart<V>() {
        for slots in 0..=256 {
            for (label, has_value_slot) in [(0, false), (8, true), (9, false), (70_000, true)] {
                let shape = Shape { slots, label, has_value_slot };
                assert!(shape.separators() >= size_of::<Header>());
                assert!(shape.children() >= shape.separators() + 4 * slots.next_multiple_of(4));
                assert!(shape.children().is_multiple_of(8));
                assert!(shape.label() >= shape.children() + 8 * slots);
                let end = shape.label() + if label > 8 { label } else { 0 };
                let value = if has_value_slot { size_of::<V>() } else { 0 };
                let layout = shape.layout::<V>();
                if has_value_slot {
                    assert!(shape.value::<V>() >= end);
                    assert_eq!(layout.size(), shape.value::<V>() + value);
                    assert!(layout.align() >= align_of::<V>());
                } else {
                    assert_eq!(layout.size(), end);
                }
                assert!(layout.align() >= 8);
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "it touches no memory")]
    fn no_area_of_an_inner_node_overlaps_another() {
        assert_eq!(size_of::<Header>(), 24);
        assert_eq!(size_of::<Node<u64>>(), 8);
        lies_apart::<u64>();
        lies_apart::<()>();
        lies_apart::<[u64; 40]>();
        lies_apart::<Wide>();
    }
}

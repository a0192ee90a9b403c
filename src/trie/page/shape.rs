//! Where the areas of a page lie in its block.

use super::moves::move_tails;
use std::alloc::Layout;
use std::ops::Range;
use std::sync::atomic::AtomicU32;

/// The first 8 bytes of a page's block.
#[repr(C)]
pub(super) struct Header {
    /// How many owners the page has. What has more than one is never written to.
    pub(super) refs: AtomicU32,
    /// How many entries there are.
    pub(super) len: u8,
    /// For how many entries there is room.
    pub(super) slots: u8,
    /// For how many bytes of tails there is room, and the flags above [`TAILS_MASK`].
    pub(super) tails: u16,
}

impl Header {
    /// Moves the page's tails in `range` to where they begin at `to`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it ends in a few moves")]
    pub(super) fn move_tails(&self, tails: &mut [u8], range: Range<usize>, to: usize) {
        if self.tails & BOXED == 0 {
            move_tails(tails, range, to);
        } else {
            // The address in a boxed tail would lose what it points to in a move by way of numbers.
            tails.copy_within(range, to);
        }
    }
}

/// The bits of [`Header::tails`] that count bytes. An end in a page has no more.
pub(super) const TAILS_MASK: u16 = (1 << 13) - 1;

/// The flag in [`Header::tails`] of a page that is a whole trie: it has a slot for a clone function.
pub(super) const ROOT: u16 = 1 << 15;

/// The flag in [`Header::tails`] of a page that may have boxed tails.
pub(super) const BOXED: u16 = 1 << 14;

/// The numbers that decide where everything lies, as the header has them:
///
/// ```text
/// 0                       header, 8 bytes
/// 8                       clone function, 8 bytes, if the page is a whole trie
/// heads()                 slots × i32
/// ends()                  slots × u16, then zeroes up to where a vector of heads may reach
/// values()                slots × V, aligned to V
/// tails()                 tails × u8
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) slots: usize,
    pub(super) tails: usize,
    pub(super) is_root: bool,
}

impl Shape {
    /// Heads are compared this many at a time, so that the last comparison reads past them.
    pub(super) const LANES: usize = 4;

    pub(super) const CLONE: usize = size_of::<Header>();

    pub(super) const fn heads(self) -> usize {
        Self::CLONE + if self.is_root { size_of::<usize>() } else { 0 }
    }

    pub(super) const fn ends(self) -> usize {
        self.heads() + self.slots * size_of::<i32>()
    }

    pub(super) const fn values<V>(self) -> usize {
        let vectors = self.slots.next_multiple_of(Self::LANES) * size_of::<i32>();
        let ends = self.slots * (size_of::<i32>() + size_of::<u16>());
        let end = self.heads() + if vectors > ends { vectors } else { ends };
        end.next_multiple_of(align_of::<V>())
    }

    pub(super) const fn tails<V>(self) -> usize {
        self.values::<V>() + self.slots * size_of::<V>()
    }

    /// The layout of the whole block.
    ///
    /// # Panics
    ///
    /// Panics if the block would be larger than what can be addressed.
    pub(super) fn layout<V>(self) -> Layout {
        let values = self.slots.checked_mul(size_of::<V>());
        let size = values.and_then(|values| values.checked_add(self.values::<V>() + self.tails));
        let align = const { if align_of::<V>() > 8 { align_of::<V>() } else { 8 } };
        size.and_then(|size| Layout::from_size_align(size, align).ok())
            .expect("a page of such values can't be addressed")
    }

    /// The same with room for at least as many bytes of tails, up to where an allocator would round
    /// the block anyway: granules of 16 bytes with 8 of their own.
    pub(super) fn rounded<V>(self) -> Self {
        let size = self.tails::<V>() + self.tails;
        let spare = (size + 8).next_multiple_of(16) - 8 - size;
        Self { tails: (self.tails + spare).min(usize::from(TAILS_MASK)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Wide;

    fn lies_apart<V>() {
        for slots in 0..=32 {
            for (tails, is_root) in [(0, false), (7, true), (8191, false)] {
                let shape = Shape { slots, tails, is_root }.rounded::<V>();
                assert!(shape.heads() >= 8);
                assert!(shape.heads().is_multiple_of(align_of::<i32>()));
                assert!(shape.ends() >= shape.heads() + 4 * slots);
                assert!(shape.values::<V>() >= shape.ends() + 2 * slots);
                assert!(shape.values::<V>() >= shape.heads() + 4 * slots.next_multiple_of(4));
                assert!(shape.values::<V>().is_multiple_of(align_of::<V>()));
                assert_eq!(shape.tails::<V>(), shape.values::<V>() + slots * size_of::<V>());
                assert_eq!(shape.layout::<V>().size(), shape.tails::<V>() + shape.tails);
                assert!(shape.layout::<V>().align() >= align_of::<V>().max(8));
                assert!(shape.tails >= tails && shape.tails <= usize::from(TAILS_MASK));
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "it touches no memory")]
    fn no_area_of_a_page_overlaps_another() {
        assert_eq!(size_of::<Header>(), 8);
        lies_apart::<u64>();
        lies_apart::<u8>();
        lies_apart::<()>();
        lies_apart::<[u64; 40]>();
        lies_apart::<Wide>();
    }
}

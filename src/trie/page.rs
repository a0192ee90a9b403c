//! The page: up to a few dozen entries, sorted, in one block of memory.
//!
//! A page is what a trie keeps its entries in: a small trie is one page, a larger one has
//! [inner nodes](super::inner) above its pages, and the keys in a page are what the labels above
//! leave of them. Heads and ends are explained at [`suffix`], their places in the block at [`Shape`].
//!
//! The heads come first, since a search that misses looks at nothing else. The block grows and
//! shrinks with its entries: it is written anew then, but for that of a page that is a whole trie, which
//! grows in its place if the allocator lets it.
//!
//! # Invariants
//!
//! - Everything in the block but the values is initialised; the first `len` values are.
//! - The suffixes ascend.
//! - A page with more than one owner isn't written to. Each function that writes checks that.

mod insert;
mod moves;
mod run;
mod search;
mod shape;
mod suffix;

pub(super) use run::{Entries, EntriesMut, IntoEntries, Run};
pub(super) use search::rank_of_head;
pub(crate) use suffix::Parts;
pub(super) use suffix::{
    FIRST_BYTE, HEAD, HEAD_MIN, KEY_JOINED, Suffixes, common_prefix_len, first_byte, head,
    last_head,
};

use super::key::KeyBuffer;
use super::node::{Block, CloneFn, CloneSlot, PAGE_LINES, add_owner, prefetch, remove_owner};
use insert::TAIL_USUAL;
use search::heads_equal;
use shape::{BOXED, Header, ROOT, Shape, TAILS_MASK};
use std::alloc::{alloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;
use suffix::{Suffix, offset, shifted};

/// A page takes no more tails than this if it has other entries, so that what an insertion moves
/// stays small, and the page's lines few.
const TAIL_BYTES_MAX: usize = 1024;

/// A page, or one of its owners if it is shared. What it owns is dropped with its last owner.
#[repr(transparent)]
pub(super) struct Page<V> {
    /// A block of the layout that [`Shape`] gives for the header's numbers.
    block: NonNull<Header>,
    owns: PhantomData<V>,
}

/// The areas of a page that are written to, but for the values.
struct SuffixesMut<'a> {
    header: &'a mut Header,
    heads: &'a mut [i32],
    ends: &'a mut [u16],
    tails: &'a mut [u8],
}

// SAFETY: a page is its values and bytes. That it may be shared with another thread asks for
// `V: Sync` too, and what shares it asks for it.
unsafe impl<V: Send> Send for Page<V> {}
// SAFETY: through `&Page<V>` only `&V` and bytes can be reached; to share it with a new owner asks
// for `V: Send` too, and what shares it asks for it.
unsafe impl<V: Sync> Sync for Page<V> {}

impl<V> Page<V> {
    /// The most entries of a page. Few if they are wide, so that an insertion moves about a KiB, or
    /// four of them if they are wider than 256 bytes.
    pub(super) const LEN_MAX: usize = if cfg!(any(miri, triekv_small_pages)) {
        4
    } else {
        match size_of::<V>() {
            0..=32 => 32,
            33..=64 => 16,
            65..=128 => 8,
            _ => 4,
        }
    };

    /// Makes a page without entries, with room for `slots` of them and for `tails` bytes of tails.
    /// A page that `is_root` has a place for a clone function.
    pub(super) fn new(slots: usize, tails: usize, is_root: bool) -> Self {
        assert!(slots <= Self::LEN_MAX, "a page has no more slots than entries");
        assert!(tails <= usize::from(TAILS_MASK), "a page has no more tails than ends can count");
        let shape = Shape { slots, tails, is_root }.rounded::<V>();
        let layout = shape.layout::<V>();
        // SAFETY: the layout has a header at least, so its size isn't zero.
        let block = unsafe { alloc(layout) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout) };
        // SAFETY: the values lie in the block, behind all areas but that of the tails.
        unsafe { block.write_bytes(0, shape.values::<V>()) };
        // SAFETY: the tails lie in the block.
        let tails = unsafe { block.add(shape.tails::<V>()) };
        // SAFETY: they reach to its end.
        unsafe { tails.write_bytes(0, shape.tails) };
        let block = block.cast::<Header>();
        let header = Header {
            refs: AtomicU32::new(1),
            len: 0,
            slots: slots as u8,
            tails: shape.tails as u16 | if is_root { ROOT } else { 0 },
        };
        // SAFETY: the block is fresh, and begins with room for a header.
        unsafe { block.write(header) };
        Self { block, owns: PhantomData }
    }

    /// Makes a page of one entry.
    pub(super) fn single(suffix: &[u8], value: V, is_root: bool) -> Self {
        let suffix = Suffix::new(suffix);
        let slots = if is_root { Self::SLOTS_FIRST } else { 1 };
        let tails = suffix.tail_bytes() + (slots - 1) * TAIL_USUAL;
        let mut page = Self::new(slots, tails, is_root);
        page.place(0, &suffix, value);
        page
    }

    /// How many bytes of tails a page of entries with these suffixes has, or `None` if they are too
    /// many for a page, or too long.
    pub(super) fn tails_of<'k>(suffixes: impl ExactSizeIterator<Item = &'k [u8]>) -> Option<usize> {
        let len = suffixes.len();
        let (tails, weight) = suffixes.map(Suffix::new).fold((0, 0), |(tails, weight), suffix| {
            (tails + suffix.tail_bytes(), weight + suffix.weight())
        });
        (!Self::is_over_full(len, weight)).then_some(tails)
    }

    /// Makes a page that is a whole trie of entries whose keys ascend, with so many bytes of
    /// [tails](Self::tails_of).
    pub(super) fn from_ascending<K: AsRef<[u8]>>(
        entries: impl ExactSizeIterator<Item = (K, V)>,
        tails: usize,
    ) -> Self {
        let mut page = Self::new(entries.len(), tails, true);
        let (values, slots) = (page.value_slots(), page.shape().slots);
        let SuffixesMut { header, heads, ends, tails } = page.suffixes_mut();
        let mut start = 0;
        for (index, (key, value)) in entries.enumerate() {
            assert!(index < slots, "there are no more entries than were announced");
            let suffix = Suffix::new(key.as_ref());
            let stop = start + suffix.tail_bytes();
            heads[index] = suffix.head;
            suffix.write_tail(&mut tails[start..stop]);
            ends[index] = suffix.end(start);
            if suffix.is_boxed() {
                header.tails |= BOXED;
            }
            // SAFETY: the index is less than the number of slots, by the assertion.
            let place = unsafe { values.add(index) };
            // SAFETY: the slot is free: the page has no more than `index` entries.
            unsafe { place.write(value) };
            header.len += 1;
            start = stop;
        }
        page
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.header().len)
    }

    pub(super) fn is_root(&self) -> bool {
        self.header().tails & ROOT != 0
    }

    /// The bytes of all tails, of which each counts for at most [`WEIGHT_MAX`](suffix::WEIGHT_MAX).
    #[inline]
    pub(super) fn weight(&self) -> usize {
        if self.header().tails & BOXED == 0 { self.tail_bytes() } else { self.weight_boxed() }
    }

    /// The same, where there may be boxes.
    #[cold]
    fn weight_boxed(&self) -> usize {
        let suffixes = self.suffixes();
        (0..suffixes.len).map(|index| suffixes.weight(index)).sum()
    }

    /// The bytes of tails that are in use in the page.
    #[inline]
    pub(super) fn tail_bytes(&self) -> usize {
        let suffixes = self.suffixes();
        suffixes.start(suffixes.len)
    }

    /// The heads, and zeroes or rubbish up to a multiple of [`Shape::LANES`].
    #[inline]
    fn heads(&self) -> &[i32] {
        let len = self.len().next_multiple_of(Shape::LANES);
        // SAFETY: the heads begin here, and are at least this many up to the values, initialised.
        unsafe { self.area(self.shape().heads(), len) }
    }

    #[inline]
    pub(super) fn suffixes(&self) -> Suffixes<'_> {
        let (shape, len, heads) = (self.shape(), self.len(), self.heads());
        // SAFETY: there are as many ends as slots, initialised.
        let ends = unsafe { self.area(shape.ends(), len) };
        // SAFETY: this is how many bytes the header says there are, initialised.
        let tails = unsafe { self.area(shape.tails::<V>(), shape.tails) };
        Suffixes { len, heads, ends, tails }
    }

    /// The values, in the order of the suffixes.
    #[inline]
    pub(super) fn values(&self) -> &[V] {
        // SAFETY: the values begin here, and the first `len` are initialised.
        unsafe { self.area(self.shape().values::<V>(), self.len()) }
    }

    /// The values, to be changed in place.
    ///
    /// # Panics
    ///
    /// As all functions that write, panics if the page has another owner.
    #[inline]
    pub(super) fn values_mut(&mut self) -> &mut [V] {
        self.assert_unique();
        let len = self.len();
        // SAFETY: the first `len` values are initialised; nobody else looks at them, since the page
        // has one owner and that is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.value_slots().as_ptr(), len) }
    }

    /// Whether so many entries, with tails of such a [weight](Self::weight), are too much for a page.
    #[inline]
    pub(super) fn is_over_full(len: usize, weight: usize) -> bool {
        len > Self::LEN_MAX || (weight > TAIL_BYTES_MAX && len > 1)
    }

    /// Whether so many entries, with tails of such a [weight](Self::weight), make a page that is half
    /// full at most. One entry always does, whatever its weight.
    pub(super) fn is_half_full(len: usize, weight: usize) -> bool {
        len <= Self::LEN_MAX / 2 && (weight <= TAIL_BYTES_MAX / 2 || len < 2)
    }

    /// Which entry has the suffix, or before which it belongs.
    #[inline]
    pub(super) fn find(&self, suffix: &[u8]) -> Result<usize, usize> {
        self.suffixes().find(suffix)
    }

    /// The value at `suffix`. Looks at nothing but the heads if none is its own.
    #[inline]
    pub(super) fn get(&self, suffix: &[u8]) -> Option<&V> {
        match heads_equal(self.heads(), self.len(), head(suffix)) {
            0 => None,
            alike => self.get_alike(alike, suffix),
        }
    }

    /// As [`get`](Self::get), among the entries that have the suffix's head, a bit each. A function of
    /// its own, so that its registers aren't set up for what isn't there.
    #[inline(never)]
    fn get_alike(&self, alike: u64, suffix: &[u8]) -> Option<&V> {
        self.values().get(self.suffixes().position(alike, suffix)?)
    }

    /// Removes an entry and returns its value. The block may shrink.
    ///
    /// # Panics
    ///
    /// Panics if there is no such entry.
    pub(super) fn remove(&mut self, index: usize) -> V {
        self.assert_unique();
        assert!(index < self.len(), "only an entry can be removed");
        // SAFETY: there is such a value, by the assertion.
        let value = unsafe { self.value_slots().add(index) };
        // SAFETY: it is initialised, and forgotten by `close`.
        let value = unsafe { value.read() };
        // SAFETY: `close` forgets the entry.
        unsafe { self.suffixes().free_box(index) };
        self.close(index..index + 1);
        let slots = self.shape().slots;
        // Late enough that entries that come and go don't move the block each time.
        if (self.len() + 4) * 4 < slots * 3 {
            self.fit();
        }
        value
    }

    /// Moves the entries in `range` to a new page, with `prefix` before their suffixes, and then without
    /// the first `skip` bytes. The block doesn't shrink.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer bytes to skip.
    pub(super) fn extract(&mut self, range: Range<usize>, skip: usize, prefix: &[u8]) -> Self {
        self.assert_unique();
        let suffixes = self.suffixes();
        let mut page;
        if skip == 0 && prefix.is_empty() {
            let tails = suffixes.start(range.start)..suffixes.start(range.end);
            page = Self::new(range.len(), tails.len(), false);
            // SAFETY: they are forgotten below.
            unsafe { page.append_moved(self, range.clone()) };
        } else {
            let mut key = KeyBuffer::new();
            key.push(prefix);
            let mut tails = 0;
            suffixes.for_each(range.clone(), &mut key, prefix.len(), |_, key| {
                tails += tail_bytes_of(&key[skip..]);
            });
            page = Self::new(range.len(), tails, false);
            suffixes.for_each(range.clone(), &mut key, prefix.len(), |index, key| {
                // SAFETY: there is such a value.
                let value = unsafe { self.value_slots().add(index) };
                // SAFETY: it is initialised, and forgotten by `close`.
                page.push(&key[skip..], unsafe { value.read() });
                // SAFETY: `close` forgets the entry, whose tail the new page has a copy of.
                unsafe { suffixes.free_box(index) };
            });
        }
        self.close(range);
        page
    }

    /// Moves the entries of `other`, which are greater, behind those of this page.
    ///
    /// # Panics
    ///
    /// Panics if they are more than a page takes.
    pub(super) fn join(&mut self, mut other: Self) {
        other.assert_unique();
        self.resize(self.len() + other.len(), self.tail_bytes() + other.tail_bytes());
        // SAFETY: they are forgotten below.
        unsafe { self.append_moved(&other, 0..other.len()) };
        other.close(0..other.len());
    }

    /// Moves the block to one that is just large enough.
    pub(super) fn fit(&mut self) {
        self.resize(self.len(), self.tail_bytes());
    }

    /// The same page as a root: with a place for a clone function.
    pub(super) fn into_root(mut self) -> Self {
        self.assert_unique();
        let mut page = Self::new(self.len(), self.tail_bytes(), true);
        // SAFETY: they are forgotten below.
        unsafe { page.append_moved(&self, 0..self.len()) };
        self.close(0..self.len());
        page
    }

    fn resize(&mut self, slots: usize, tails: usize) {
        self.assert_unique();
        let mut page = Self::new(slots, tails, self.is_root());
        // SAFETY: they are forgotten below.
        unsafe { page.append_moved(self, 0..self.len()) };
        self.replace_with(page);
    }

    /// Puts a page that has all of the entries in the place of this one.
    fn replace_with(&mut self, page: Self) {
        if let (Some(new), Some(old)) = (page.clone_slot(), self.clone_slot()) {
            new.set(old.get());
        }
        self.suffixes_mut().header.len = 0;
        *self = page;
    }

    /// Copies entries of `other` behind those of this page, bit by bit. There is room for them.
    ///
    /// # Safety
    ///
    /// The caller forgets the entries where they come from.
    unsafe fn append_moved(&mut self, other: &Self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let (len, used) = (self.len(), self.tail_bytes());
        let from = other.suffixes();
        let values = self.value_slots();
        let SuffixesMut { header, heads, ends, tails } = self.suffixes_mut();
        let count = range.len();
        assert!(len + count <= heads.len(), "entries are moved into free slots");
        heads[len..len + count].copy_from_slice(&from.heads[range.clone()]);
        let (start, end) = (from.start(range.start), from.start(range.end));
        tails[used..used + end - start].copy_from_slice(&from.tails[start..end]);
        let by = used.cast_signed() - start.cast_signed();
        if by == 0 {
            ends[len..len + count].copy_from_slice(&from.ends[range.clone()]);
        } else {
            for (to, from) in ends[len..len + count].iter_mut().zip(&from.ends[range.clone()]) {
                *to = shifted(*from, by);
            }
        }
        header.tails |= other.header().tails & BOXED;
        // SAFETY: the range lies within the values of `other`, as its ends were just read.
        let source = unsafe { other.value_slots().add(range.start) };
        // SAFETY: there are free slots behind the first `len`, by the assertion.
        let target = unsafe { values.add(len) };
        // SAFETY: the values are initialised, and the slots are free, in another block.
        unsafe { target.copy_from_nonoverlapping(source, count) };
        header.len += count as u8;
    }

    /// Forgets the entries in `range`, whose values and boxes aren't dropped, and closes the gap.
    fn close(&mut self, range: Range<usize>) {
        let len = self.len();
        let values = self.value_slots();
        let SuffixesMut { header, heads, ends, tails } = self.suffixes_mut();
        assert!(range.start <= range.end && range.end <= len, "only entries can be forgotten");
        if range.is_empty() {
            return;
        }
        header.len -= range.len() as u8;
        if range.end == len {
            return;
        }
        let start = range.start.checked_sub(1).map_or(0, |before| offset(ends[before]));
        let end = range.end.checked_sub(1).map_or(0, |last| offset(ends[last]));
        let later = end..offset(ends[len - 1]);
        header.move_tails(tails, later, start);
        // SAFETY: the range lies within the values, by the assertion.
        let place = unsafe { values.add(range.start) };
        let gap = range.len();
        let (heads, ends) = (&mut heads[range.start..len], &mut ends[range.start..len]);
        for at in 0..len - range.end {
            heads[at] = heads[at + gap];
            ends[at] = shifted(ends[at + gap], start.cast_signed() - end.cast_signed());
            if Self::MOVES_SINGLY {
                // SAFETY: there is a value so far behind the gap.
                let from = unsafe { place.add(at + gap) };
                // SAFETY: this place lies before it.
                let to = unsafe { place.add(at) };
                // SAFETY: what was here has been moved away; as the gap isn't empty, this is elsewhere.
                unsafe { to.copy_from_nonoverlapping(from, 1) };
            }
        }
        if !Self::MOVES_SINGLY {
            // SAFETY: the range ends within the values, by the assertion.
            let from = unsafe { place.add(gap) };
            // SAFETY: moves the later values over those that have been moved away.
            unsafe { place.copy_from(from, len - range.end) };
        }
    }

    /// Another owner of the page.
    ///
    /// # Panics
    ///
    /// Panics if there are already more than two thousand million of them.
    pub(super) fn share(&self) -> Self {
        add_owner(&self.header().refs);
        Self { block: self.block, owns: PhantomData }
    }

    /// Asks for the page's memory, so that what is read of it soon arrives together.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(self.block.cast(), PAGE_LINES);
    }

    /// Whether the page has another owner.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.header().refs.load(Acquire) != 1
    }

    /// A copy of the page with one owner. If `clone` panics, the copies made so far are dropped.
    pub(super) fn copy(&self, clone: CloneFn<V>) -> Self {
        let suffixes = self.suffixes();
        let mut page = Self::new(self.len(), self.tail_bytes(), self.is_root());
        if let (Some(new), Some(old)) = (page.clone_slot(), self.clone_slot()) {
            new.set(old.get());
        }
        let mut bytes = KeyBuffer::new();
        for (index, value) in self.values().iter().enumerate() {
            bytes.clear();
            suffixes.push(index, &mut bytes);
            page.push(&bytes, clone(value));
        }
        page
    }

    /// The place for the clone function of a page that is a whole trie.
    pub(super) fn clone_slot(&self) -> Option<&CloneSlot<V>> {
        if !self.is_root() {
            return None;
        }
        // SAFETY: the slot lies in the block.
        let slot = unsafe { self.block.byte_add(Shape::CLONE) };
        // SAFETY: a root has a slot here, zeroed at first, which is that of no function.
        Some(unsafe { slot.cast().as_ref() })
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the block begins with a header, which is written to only where nobody else has the
        // page, its counter apart.
        unsafe { self.block.as_ref() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let header = self.header();
        Shape {
            slots: usize::from(header.slots),
            tails: usize::from(header.tails & TAILS_MASK),
            is_root: header.tails & ROOT != 0,
        }
    }

    /// # Safety
    ///
    /// `count` initialised items lie `offset` bytes into the block.
    #[inline]
    unsafe fn area<T>(&self, offset: usize, count: usize) -> &[T] {
        // SAFETY: the area lies in the block.
        let start = unsafe { self.block.byte_add(offset) };
        // SAFETY: the items are initialised, and aligned by their shape; none is written to while
        // the page is borrowed.
        unsafe { slice::from_raw_parts(start.cast().as_ptr(), count) }
    }

    /// Where the values begin.
    #[inline]
    fn value_slots(&self) -> NonNull<V> {
        // SAFETY: the values lie in the block.
        unsafe { self.block.byte_add(self.shape().values::<V>()) }.cast()
    }

    #[inline]
    fn assert_unique(&self) {
        assert!(!self.is_shared(), "only a page with one owner is written to");
    }

    #[inline]
    fn suffixes_mut(&mut self) -> SuffixesMut<'_> {
        self.parts_mut().0
    }

    /// The areas of the page, and where the values begin.
    #[inline]
    fn parts_mut(&mut self) -> (SuffixesMut<'_>, NonNull<V>) {
        self.assert_unique();
        let shape = self.shape();
        // SAFETY: each of these areas lies in the block.
        let at = |offset| unsafe { self.block.byte_add(offset) };
        let (heads, ends, tails) = (at(shape.heads()), at(shape.ends()), at(shape.tails::<V>()));
        let values = at(shape.values::<V>()).cast();
        // SAFETY: as the areas don't overlap (the vectors of heads aren't borrowed here) and the
        // page has one owner, which is borrowed mutably, nobody else looks at them.
        let header = unsafe { &mut *self.block.as_ptr() };
        // SAFETY: likewise; there are as many heads as slots, initialised.
        let heads = unsafe { slice::from_raw_parts_mut(heads.cast().as_ptr(), shape.slots) };
        // SAFETY: likewise; there are as many ends as slots, initialised.
        let ends = unsafe { slice::from_raw_parts_mut(ends.cast().as_ptr(), shape.slots) };
        // SAFETY: likewise, with the bytes that the header counts.
        let tails = unsafe { slice::from_raw_parts_mut(tails.cast().as_ptr(), shape.tails) };
        (SuffixesMut { header, heads, ends, tails }, values)
    }
}

impl<V> Drop for Page<V> {
    fn drop(&mut self) {
        if !remove_owner(&self.header().refs) {
            return;
        }
        // SAFETY: the block was allocated with this layout, and its last owner is gone.
        let _block = unsafe { Block::new(self.block.cast(), self.shape().layout::<V>()) };
        if self.header().tails & BOXED != 0 {
            for index in 0..self.len() {
                // SAFETY: nobody looks at the entry any more.
                unsafe { self.suffixes().free_box(index) };
            }
        }
        if mem::needs_drop::<V>() {
            let values = ptr::slice_from_raw_parts_mut(self.value_slots().as_ptr(), self.len());
            // SAFETY: these values are initialised, and nobody looks at them any more.
            unsafe { values.drop_in_place() };
        }
    }
}

/// How many bytes of a page's tails the suffix takes.
pub(super) fn tail_bytes_of(suffix: &[u8]) -> usize {
    Suffix::new(suffix).tail_bytes()
}

/// How much the suffix adds to a page's [weight](Page::weight).
pub(super) fn weight_of(suffix: &[u8]) -> usize {
    Suffix::new(suffix).weight()
}

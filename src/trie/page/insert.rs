//! Putting entries into a page, whose block grows with them.

use super::shape::{BOXED, Shape, TAILS_MASK};
use super::suffix::{Suffix, offset, shifted};
use super::{Page, SuffixesMut};
use std::alloc::{handle_alloc_error, realloc};
use std::mem;
use std::ops::Range;
use std::ptr::{self, NonNull};

/// How many bytes the tail of a short name has, for which a trie of one entry makes room.
pub(super) const TAIL_USUAL: usize = 3;

impl<V> Page<V> {
    /// Whether values are moved one by one, since a call for a few of them takes longer.
    pub(super) const MOVES_SINGLY: bool = size_of::<V>() <= 32;

    /// How many slots the first page of a trie has.
    pub(super) const SLOTS_FIRST: usize = if Self::MOVES_SINGLY { 4 } else { 1 };

    /// Inserts an entry before the one at `index`, or gives the value back if the page is full.
    #[inline]
    pub(in crate::trie) fn try_insert(
        &mut self,
        index: usize,
        suffix: &[u8],
        value: V,
    ) -> Result<(), V> {
        self.try_insert_suffix(index, &Suffix::new(suffix), value)
    }

    /// Puts a value at `suffix` and returns the one that was there, or gives it back as an error if
    /// none was and the page is full.
    #[inline]
    pub(in crate::trie) fn try_put(&mut self, suffix: &[u8], value: V) -> Result<Option<V>, V> {
        let suffix = Suffix::new(suffix);
        match self.suffixes().find_suffix(&suffix) {
            Ok(index) => Ok(Some(mem::replace(&mut self.values_mut()[index], value))),
            Err(index) => self.try_insert_suffix(index, &suffix, value).map(|()| None),
        }
    }

    #[inline]
    fn try_insert_suffix(&mut self, index: usize, suffix: &Suffix<'_>, value: V) -> Result<(), V> {
        let (shape, len) = (self.shape(), self.len());
        if Self::is_over_full(len + 1, self.weight() + suffix.weight()) {
            return Err(value);
        }
        let tails = self.tail_bytes() + suffix.tail_bytes();
        if len == shape.slots || tails > shape.tails {
            let slots = if len == shape.slots { self.slots_after(len) } else { shape.slots };
            // Room for the tails of the slots that will still be free, if they are like the others.
            let spare = tails * (slots - len - 1) / (len + 1);
            self.grow(slots, (tails + spare).min(usize::from(TAILS_MASK)));
        }
        self.place(index, suffix, value);
        Ok(())
    }

    /// Gives the page at least as many slots as it has, and at least as many bytes of tails as it uses.
    ///
    /// A trie that is filled is mostly the last thing that was allocated, so that its block can grow
    /// where it is, and tries that are filled one after the other lie one after the other.
    fn grow(&mut self, slots: usize, tails: usize) {
        if !self.is_root() {
            return self.resize(slots, tails);
        }
        self.assert_unique();
        let (old, len, used) = (self.shape(), self.len(), self.tail_bytes());
        let new = Shape { slots, tails, ..old }.rounded::<V>();
        assert!(old.slots <= slots && slots <= Self::LEN_MAX && used <= tails, "a page grows");
        let (size, old_layout) = (new.layout::<V>().size(), old.layout::<V>());
        // One that had much more room for tails than it needs gets smaller.
        if size < old_layout.size() {
            return self.resize(slots, tails);
        }
        // SAFETY: the block was allocated with this layout; the new size is that of a layout with the
        // same alignment, and isn't zero.
        let block = unsafe { realloc(self.block.as_ptr().cast(), old_layout, size) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(new.layout::<V>()) };
        self.block = block.cast();
        // What lies last is moved first, into room that is free or has been moved on.
        for (old_start, new_start, bytes) in [
            (old.tails::<V>(), new.tails::<V>(), used),
            (old.values::<V>(), new.values::<V>(), len * size_of::<V>()),
            (old.ends(), new.ends(), len * size_of::<u16>()),
        ] {
            // SAFETY: this area of the old shape lies in the block, which is no smaller than it was.
            let from = unsafe { block.add(old_start) };
            // SAFETY: likewise for that of the new shape.
            let to = unsafe { block.add(new_start) };
            // SAFETY: the area has room for so much in both shapes. The areas lie in the same order,
            // and none before where it was, so that those not moved yet are whole.
            unsafe { to.copy_from(from, bytes) };
        }
        for Range { start, end } in [
            new.heads() + len * size_of::<i32>()..new.ends(),
            new.ends() + len * size_of::<u16>()..new.values::<V>(),
            new.tails::<V>() + used..new.tails::<V>() + new.tails,
        ] {
            // SAFETY: the rest of the area lies in the block.
            let rest = unsafe { block.add(start) };
            // SAFETY: up to the end of the area.
            unsafe { rest.write_bytes(0, end - start) };
        }
        // SAFETY: the block begins with the header, and has one owner.
        let header = unsafe { self.block.as_mut() };
        header.slots = slots as u8;
        header.tails = new.tails as u16 | header.tails & !TAILS_MASK;
    }

    /// To how many slots a page with `len` entries grows. One that is a whole trie is more likely to
    /// grow on than to be divided, and there are fewer of them where memory counts most.
    fn slots_after(&self, len: usize) -> usize {
        let more = if self.is_root() { 4 } else { (len / 8).max(3) };
        (len + more).min(Self::LEN_MAX)
    }

    /// Adds an entry behind the others. The page has a slot for it and room for its tail.
    pub(in crate::trie) fn push(&mut self, suffix: &[u8], value: V) {
        self.place(self.len(), &Suffix::new(suffix), value);
    }

    /// Adds an entry to a page that has a slot for it and room for its tail.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the callers have looked at the same numbers before")]
    pub(super) fn place(&mut self, index: usize, suffix: &Suffix<'_>, value: V) {
        let (len, tail) = (self.len(), suffix.tail_bytes());
        let (SuffixesMut { header, heads, ends, tails }, values) = self.parts_mut();
        assert!(index <= len && len < heads.len(), "an entry is placed into a free slot");
        let start = index.checked_sub(1).map_or(0, |before| offset(ends[before]));
        // SAFETY: `index` is at most `len`, which is less than the number of slots.
        let place = unsafe { values.add(index) };
        if index < len {
            let later = start..offset(ends[len - 1]);
            header.move_tails(tails, later, start + tail);
            let (heads, ends) = (&mut heads[index..=len], &mut ends[index..=len]);
            for at in (0..len - index).rev() {
                heads[at + 1] = heads[at];
                ends[at + 1] = shifted(ends[at], tail.cast_signed());
                if Self::MOVES_SINGLY {
                    // SAFETY: there is a value here.
                    let from = unsafe { place.add(at) };
                    // SAFETY: one behind, there is at least the free slot.
                    let to = unsafe { from.add(1) };
                    // SAFETY: what was in the slot has been moved on, or there was nothing.
                    unsafe { to.copy_from_nonoverlapping(from, 1) };
                }
            }
            if !Self::MOVES_SINGLY {
                // SAFETY: one behind `index`, by the same.
                let behind = unsafe { place.add(1) };
                // SAFETY: the values from `index` on are moved into the free slot.
                unsafe { ptr::copy(place.as_ptr(), behind.as_ptr(), len - index) };
            }
        }
        heads[index] = suffix.head;
        suffix.write_tail(&mut tails[start..start + tail]);
        ends[index] = suffix.end(start);
        if suffix.is_boxed() {
            header.tails |= BOXED;
        }
        // SAFETY: the value that was here has just been moved, or there was none; the page has one
        // owner.
        unsafe { place.write(value) };
        header.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::key::KeyBuffer;
    use super::*;

    /// Suffixes of all lengths that are handled apart, with bytes in common and without.
    fn suffixes() -> Vec<Vec<u8>> {
        let mut suffixes = vec![vec![], vec![0], vec![0; 4], vec![0; 5]];
        for len in [1u16, 2, 3, 4, 5, 7, 8, 9, 12, 16, 20, 21, 36, 37, 64, 259, 260, 400] {
            suffixes.push((0..len).map(|at| b'a' + (at % 7) as u8).collect());
            suffixes.push((0..len).map(|at| (len + at) as u8).collect());
            suffixes.push((0..len).map(|at| if at + 1 == len { 255 } else { b'k' }).collect());
        }
        suffixes.sort();
        suffixes.dedup();
        suffixes
    }

    fn agrees_with_a_model<V: Clone + PartialEq + std::fmt::Debug>(value: impl Fn(usize) -> V) {
        let suffixes = suffixes();
        for first in (0..suffixes.len()).step_by(if cfg!(miri) { 17 } else { 1 }) {
            // A page of neighbours and strangers, in an order that is none.
            let mut model = std::collections::BTreeMap::new();
            let mut page = Page::<V>::single(&suffixes[first], value(first), first % 2 == 0);
            model.insert(&suffixes[first], value(first));
            for step in 1..Page::<V>::LEN_MAX {
                let which =
                    (first + step * step * if step % 2 == 0 { 1 } else { 5 }) % suffixes.len();
                let suffix = &suffixes[which];
                match page.try_put(suffix, value(which + step)) {
                    Ok(previous) => assert_eq!(previous, model.insert(suffix, value(which + step))),
                    Err(_) => assert!(Page::<V>::is_over_full(page.len() + 1, page.weight() + 256)),
                }
            }
            for suffix in &suffixes {
                assert_eq!(page.get(suffix), model.get(suffix), "at {suffix:?}");
            }
            for above in [
                "",
                "a label",
                "a label that is longer than what a buffer keeps without memory of its own",
            ] {
                let mut walked = Vec::new();
                let mut key = KeyBuffer::new();
                key.push(above.as_bytes());
                page.entries().for_each(&mut key, above.len(), &mut |key, value: &V| {
                    walked.push((
                        key.strip_prefix(above.as_bytes()).unwrap().to_vec(),
                        value.clone(),
                    ));
                });
                let expected: Vec<_> =
                    model.iter().map(|(&key, value)| (key.clone(), value.clone())).collect();
                assert_eq!(walked, expected);
            }
        }
    }

    #[test]
    fn a_page_agrees_with_a_model_whatever_its_values_and_suffixes_are() {
        #[derive(Clone, Debug, PartialEq)]
        #[repr(align(64))]
        struct Aligned(usize);

        agrees_with_a_model(|at| at.to_string());
        // A first page of one slot, which grows although pages are small.
        agrees_with_a_model(|at| (at.to_string(), [at; 4]));
        if cfg!(miri) {
            return;
        }
        agrees_with_a_model(|_| ());
        agrees_with_a_model(|at| at as u8);
        agrees_with_a_model(|at| at);
        agrees_with_a_model(|at| [at; 5]);
        agrees_with_a_model(|at| [at; 32]);
        agrees_with_a_model(Aligned);
    }
}

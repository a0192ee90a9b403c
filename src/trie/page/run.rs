//! Walking over the entries of a page from both ends: shared, mutable and owned.

use super::super::key::KeyBuffer;
use super::{Page, Suffixes};
use std::marker::PhantomData;
use std::mem;
use std::ops::Range;
use std::ptr::{self, NonNull};

/// The entries of a page that a walk hasn't passed yet.
pub(in crate::trie) trait Run {
    /// A value of the page, as this walk hands it out.
    type Value;

    /// Takes the first entry and appends its suffix to `key`.
    fn next(&mut self, key: &mut KeyBuffer) -> Option<Self::Value>;

    /// Takes the last entry and appends its suffix to `key`.
    fn next_back(&mut self, key: &mut KeyBuffer) -> Option<Self::Value>;

    /// The suffixes of the page, also those that have been passed.
    fn suffixes(&self) -> Suffixes<'_>;

    /// Leaves out all entries but those in `range` that are left.
    fn restrict(&mut self, range: Range<usize>);
}

/// Shared entries.
pub(in crate::trie) struct Entries<'a, V> {
    suffixes: Suffixes<'a>,
    values: &'a [V],
    left: Range<usize>,
}

impl<V> Clone for Entries<'_, V> {
    fn clone(&self) -> Self {
        Self { left: self.left.clone(), ..*self }
    }
}

impl<'a, V> Run for Entries<'a, V> {
    type Value = &'a V;

    #[inline]
    fn next(&mut self, key: &mut KeyBuffer) -> Option<&'a V> {
        let index = self.left.next()?;
        self.suffixes.push(index, key);
        Some(&self.values[index])
    }

    fn next_back(&mut self, key: &mut KeyBuffer) -> Option<&'a V> {
        let index = self.left.next_back()?;
        self.suffixes.push(index, key);
        Some(&self.values[index])
    }

    fn suffixes(&self) -> Suffixes<'_> {
        self.suffixes
    }

    fn restrict(&mut self, range: Range<usize>) {
        self.left = intersection(&self.left, range);
    }
}

impl<'a, V> Entries<'a, V> {
    /// Calls `f` with all entries that are left, and their keys, to which the first `depth` bytes of
    /// `key` lead.
    #[inline]
    pub(in crate::trie) fn for_each(
        self,
        key: &mut KeyBuffer,
        depth: usize,
        f: &mut impl FnMut(&[u8], &'a V),
    ) {
        let Self { suffixes, values, left } = self;
        suffixes.for_each(left, key, depth, |index, key| f(key, &values[index]));
    }
}

/// Entries with mutable values.
pub(in crate::trie) struct EntriesMut<'a, V> {
    suffixes: Suffixes<'a>,
    /// The values of the page. Those in `left` haven't been handed out.
    values: NonNull<V>,
    left: Range<usize>,
    borrows: PhantomData<&'a mut V>,
}

// SAFETY: this is a mutable borrow of values of one page, as `&mut [V]` is, with some bytes.
unsafe impl<V: Send> Send for EntriesMut<'_, V> {}
// SAFETY: by the same, and nothing of a shared one can be reached.
unsafe impl<V: Sync> Sync for EntriesMut<'_, V> {}

impl<'a, V> EntriesMut<'a, V> {
    /// # Safety
    ///
    /// The index has just been taken from `left`.
    unsafe fn value(&self, index: usize) -> &'a mut V {
        // SAFETY: the index was in `left`, which is a range of the page's values.
        let mut value = unsafe { self.values.add(index) };
        // SAFETY: the page is borrowed mutably for 'a, and each index is taken from `left` once; the
        // suffixes lie elsewhere.
        unsafe { value.as_mut() }
    }
}

impl<'a, V> Run for EntriesMut<'a, V> {
    type Value = &'a mut V;

    fn next(&mut self, key: &mut KeyBuffer) -> Option<&'a mut V> {
        let index = self.left.next()?;
        self.suffixes.push(index, key);
        // SAFETY: the index has just been taken.
        Some(unsafe { self.value(index) })
    }

    fn next_back(&mut self, key: &mut KeyBuffer) -> Option<&'a mut V> {
        let index = self.left.next_back()?;
        self.suffixes.push(index, key);
        // SAFETY: the index has just been taken.
        Some(unsafe { self.value(index) })
    }

    fn suffixes(&self) -> Suffixes<'_> {
        self.suffixes
    }

    fn restrict(&mut self, range: Range<usize>) {
        self.left = intersection(&self.left, range);
    }
}

/// Entries that are moved out of the page.
pub(in crate::trie) struct IntoEntries<V> {
    page: Page<V>,
    /// The entries whose values are still in the page.
    left: Range<usize>,
}

impl<V> IntoEntries<V> {
    /// # Safety
    ///
    /// The index has just been taken from `left`.
    unsafe fn take(&mut self, index: usize) -> V {
        // SAFETY: the index was in `left`, which is a range of the page's values.
        let value = unsafe { self.page.value_slots().add(index) };
        // SAFETY: each index is taken from `left` once, so the value is initialised, and nobody
        // drops it in the page.
        unsafe { value.read() }
    }
}

impl<V> Run for IntoEntries<V> {
    type Value = V;

    fn next(&mut self, key: &mut KeyBuffer) -> Option<V> {
        let index = self.left.next()?;
        self.page.suffixes().push(index, key);
        // SAFETY: the index has just been taken.
        Some(unsafe { self.take(index) })
    }

    fn next_back(&mut self, key: &mut KeyBuffer) -> Option<V> {
        let index = self.left.next_back()?;
        self.page.suffixes().push(index, key);
        // SAFETY: the index has just been taken.
        Some(unsafe { self.take(index) })
    }

    fn suffixes(&self) -> Suffixes<'_> {
        self.page.suffixes()
    }

    /// What is left out is dropped.
    fn restrict(&mut self, range: Range<usize>) {
        let kept = intersection(&self.left, range);
        while self.left.start < kept.start && self.left.next().is_some() {
            // SAFETY: the index has just been taken.
            drop(unsafe { self.take(self.left.start - 1) });
        }
        while self.left.end > kept.end && self.left.next_back().is_some() {
            // SAFETY: the index has just been taken.
            drop(unsafe { self.take(self.left.end) });
        }
    }
}

impl<V> Drop for IntoEntries<V> {
    fn drop(&mut self) {
        let left = mem::take(&mut self.left);
        // The page keeps its block and its boxes until the end of this function, where it is dropped
        // with no entries.
        // SAFETY: the values that are left are dropped below, and the others have been moved.
        unsafe { self.page.forget_entries() };
        let values = self.page.value_slots();
        // SAFETY: the range lies within the values.
        let values = unsafe { values.add(left.start) };
        let values = ptr::slice_from_raw_parts_mut(values.as_ptr(), left.len());
        // SAFETY: these values are initialised, nobody has taken them, and nobody will.
        unsafe { values.drop_in_place() };
    }
}

impl<V> Page<V> {
    /// The entries of the page.
    #[inline]
    pub(in crate::trie) fn entries(&self) -> Entries<'_, V> {
        let values = self.values();
        Entries { suffixes: self.suffixes(), values, left: 0..values.len() }
    }

    /// The entries of the page, with mutable values.
    pub(in crate::trie) fn entries_mut(&mut self) -> EntriesMut<'_, V> {
        self.assert_unique();
        EntriesMut {
            values: self.value_slots(),
            left: 0..self.len(),
            suffixes: self.suffixes(),
            borrows: PhantomData,
        }
    }

    /// The entries of the page, to be moved out.
    pub(in crate::trie) fn into_entries(self) -> IntoEntries<V> {
        self.assert_unique();
        IntoEntries { left: 0..self.len(), page: self }
    }

    /// Forgets all entries and frees their boxes.
    ///
    /// # Safety
    ///
    /// The values have been moved, or are dropped by the caller.
    unsafe fn forget_entries(&mut self) {
        for index in 0..self.len() {
            // SAFETY: the entry is forgotten.
            unsafe { self.suffixes().free_box(index) };
        }
        self.suffixes_mut().header.len = 0;
    }
}

fn intersection(left: &Range<usize>, right: Range<usize>) -> Range<usize> {
    let start = left.start.max(right.start).min(left.end);
    start..left.end.min(right.end).max(start)
}

//! The global allocator of the program: the system's, with a count of what is live.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread asked for, less those that it gave back. Wraps below zero where a
    /// thread frees what another one allocated, so only differences mean something.
    ///
    /// Of a thread and not atomic, because a locked addition would charge every allocation with
    /// several nanoseconds.
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// Bytes of heap that this thread has asked for and not given back.
///
/// They are counted as requested: what the system's allocator adds for its headers and its rounding
/// is not among them. The difference between two calls is the net of what happened in between.
pub(crate) fn live() -> usize {
    LIVE.get()
}

fn count(given_back: usize, asked_for: usize) {
    LIVE.set(LIVE.get().wrapping_sub(given_back).wrapping_add(asked_for));
}

/// Passes all calls on to [`System`].
pub(crate) struct Counting;

// SAFETY: each method passes its arguments to the same method of `System`, whose answer it returns
// unchanged. Counting does not allocate and does not unwind: `LIVE` needs neither a first
// initialization nor a destructor, and its sums wrap.
#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one only counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's promise about `layout` is the one that is asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: every block of this allocator is one of `System`, of the same layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), size);
        // SAFETY: as in `dealloc`; the caller's promise about `size` is the one asked for here.
        unsafe { System.realloc(block, layout, size) }
    }
}

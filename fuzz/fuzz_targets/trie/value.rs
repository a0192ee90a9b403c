//! What the tries hold.

use std::cell::Cell;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// A number with memory of its own. Counts how many there are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value(Box<u32>);

impl Value {
    pub(crate) fn new(number: u32) -> Self {
        LIVE.set(LIVE.get() + 1);
        Self(Box::new(number))
    }

    pub(crate) fn number(&self) -> u32 {
        *self.0
    }

    pub(crate) fn set(&mut self, number: u32) {
        *self.0 = number;
    }

    /// How many values there are.
    pub(crate) fn live() -> usize {
        LIVE.get()
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        Self::new(self.number())
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

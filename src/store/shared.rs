//! What all threads see of a store: the state that is durable.

use std::mem;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::store::Documents;

/// Documents, and the last record of the log that they have in them (0 if none).
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) documents: Documents,
    pub(super) index: u64,
}

#[derive(Debug, Default)]
pub(super) struct Shared(RwLock<State>);

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self(RwLock::new(state))
    }

    /// The state as it is now. Takes **O(1)**.
    pub(super) fn state(&self) -> State {
        self.read().clone()
    }

    /// Lets everybody see `state` as it is now. Takes **O(1)**.
    pub(super) fn publish(&self, state: &State) {
        let old = mem::replace(&mut *self.write(), state.clone());
        // Nobody waits while what only the old state had is freed.
        drop(old);
    }

    // Every mutation of `Documents` leaves it valid at each step that can panic (allocation), so a
    // panic in another thread is no reason to refuse the data.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

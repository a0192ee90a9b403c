//! The answer to one call, from the log's thread to the one that waits.
//!
//! Whoever waits goes to sleep at once, since a sync takes long: a channel would first try again for
//! a while, which with many callers takes the time of those that have something to do.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::StoreError;
use crate::store::committer::Outcome;

#[derive(Debug)]
struct Shared {
    outcome: Mutex<Option<Outcome>>,
    given: Condvar,
}

impl Shared {
    fn outcome(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the answer is given. Dropped without one, it answers [`StoreError::Closed`].
#[derive(Debug)]
pub(super) struct Answer(Option<Arc<Shared>>);

/// Where it is waited for.
#[derive(Debug)]
pub(super) struct Awaited(Arc<Shared>);

/// An answer that is to be given, and to be waited for.
pub(super) fn answer() -> (Answer, Awaited) {
    let shared = Arc::new(Shared { outcome: Mutex::default(), given: Condvar::new() });
    (Answer(Some(Arc::clone(&shared))), Awaited(shared))
}

impl Answer {
    /// Gives the answer.
    pub(super) fn give(mut self, outcome: Outcome) {
        self.give_once(outcome);
    }

    fn give_once(&mut self, outcome: Outcome) {
        if let Some(shared) = self.0.take() {
            *shared.outcome() = Some(outcome);
            shared.given.notify_one();
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give_once(Err(StoreError::Closed));
    }
}

impl Awaited {
    /// Waits until the answer is there.
    pub(super) fn wait(self) -> Outcome {
        let mut outcome = self.0.outcome();
        loop {
            if let Some(outcome) = outcome.take() {
                return outcome;
            }
            let woken = self.0.given.wait(outcome);
            outcome = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_never_given_ends_the_waiting() {
        let (given, awaited) = answer();
        let waiting = std::thread::spawn(|| awaited.wait());
        drop(given);
        assert!(matches!(waiting.join().unwrap(), Err(StoreError::Closed)));
    }

    #[test]
    fn an_answer_waits_for_whoever_comes_for_it() {
        let (given, awaited) = answer();
        given.give(Ok(Vec::new()));
        assert!(awaited.wait().unwrap().is_empty());
    }
}

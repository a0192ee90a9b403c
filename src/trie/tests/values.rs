//! Values of many sizes and alignments, some on the heap, and one kind that is counted and can be told
//! to panic.

use super::super::Trie;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A value that stands for a number, so that a trie of any values can be filled and compared.
pub(super) trait Value: Clone + Debug + Default + Hash + Ord + Send + Sync {
    fn of(number: u32) -> Self;

    /// The number that the value was made of; of a default value, 0.
    fn number(&self) -> u32;

    fn change(&mut self, to: impl FnOnce(u32) -> u32) {
        *self = Self::of(to(self.number()));
    }
}

impl Value for u32 {
    fn of(number: u32) -> Self {
        number
    }

    fn number(&self) -> u32 {
        *self
    }
}

/// Stands for any number.
impl Value for () {
    fn of(_number: u32) -> Self {}

    fn number(&self) -> u32 {
        0
    }
}

impl Value for String {
    fn of(number: u32) -> Self {
        number.to_string()
    }

    fn number(&self) -> u32 {
        if self.is_empty() { 0 } else { self.parse().unwrap() }
    }
}

impl Value for Box<u32> {
    fn of(number: u32) -> Self {
        Self::new(number)
    }

    fn number(&self) -> u32 {
        **self
    }
}

impl Value for Trie<u32> {
    fn of(number: u32) -> Self {
        [(&b"number"[..], number), (&number.to_be_bytes(), 1), (b"", 2)].into_iter().collect()
    }

    fn number(&self) -> u32 {
        self.check();
        self.get("number").copied().unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(align(16))]
pub(super) struct Aligned16(u32);

impl Value for Aligned16 {
    fn of(number: u32) -> Self {
        Self(number)
    }

    fn number(&self) -> u32 {
        self.0
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(align(64))]
pub(super) struct Aligned64(Box<u32>);

impl Value for Aligned64 {
    fn of(number: u32) -> Self {
        Self(Box::new(number))
    }

    fn number(&self) -> u32 {
        *self.0
    }
}

/// Nothing, but not anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(align(64))]
pub(super) struct AlignedNothing;

impl Value for AlignedNothing {
    fn of(_number: u32) -> Self {
        Self
    }

    fn number(&self) -> u32 {
        0
    }
}

/// Larger than a page of small values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Wide([u64; 40]);

impl Default for Wide {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Value for Wide {
    fn of(number: u32) -> Self {
        Self([number.into(); 40])
    }

    fn number(&self) -> u32 {
        assert!(self.0.iter().all(|word| *word == self.0[0]), "no word is another value's");
        self.0[0].try_into().unwrap()
    }
}

/// What is known of the counted values of one [`Count`].
#[derive(Default)]
struct Ledger {
    live: BTreeSet<u64>,
    /// Drops of values that weren't live.
    doubled: usize,
    /// Clones of values that weren't live.
    used_dead: usize,
    /// How many clones go well before one panics.
    clones_left: Option<usize>,
    /// How many drops go well before one panics.
    drops_left: Option<usize>,
}

/// Kept apart from the values, which have no pointers to it, so that a value that is dropped twice is
/// counted and does no harm.
static LEDGERS: Mutex<BTreeMap<u64, Ledger>> = Mutex::new(BTreeMap::new());

static IDS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

fn ledgers() -> MutexGuard<'static, BTreeMap<u64, Ledger>> {
    LEDGERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts down; true if this was the one to panic.
fn burn(left: &mut Option<usize>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(more) => {
            *more -= 1;
            false
        }
        None => false,
    }
}

/// Counts the values that are made in this thread, and all clones of them, until it is dropped.
pub(super) struct Count(u64);

impl Count {
    pub(super) fn new() -> Self {
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        ledgers().insert(id, Ledger::default());
        let count = Self(id);
        count.enter();
        count
    }

    /// Counts the values that are made in this thread from now on, as in the thread that it began in.
    pub(super) fn enter(&self) {
        CURRENT.set(self.0);
    }

    fn with<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(ledgers().get_mut(&self.0).unwrap())
    }

    pub(super) fn live(&self) -> usize {
        self.with(|ledger| ledger.live.len())
    }

    /// Lets `before` clones go well and the next one panic.
    pub(super) fn panic_in_clone(&self, before: usize) {
        self.with(|ledger| ledger.clones_left = Some(before));
    }

    /// Lets `before` drops go well and the next one panic.
    pub(super) fn panic_in_drop(&self, before: usize) {
        self.with(|ledger| ledger.drops_left = Some(before));
    }

    /// Lets all go well again. Returns whether the panic came that was asked for.
    pub(super) fn disarm(&self) -> bool {
        self.with(|ledger| {
            let armed = [ledger.clones_left.take(), ledger.drops_left.take()];
            armed.iter().all(Option::is_none)
        })
    }

    #[track_caller]
    pub(super) fn assert_none_was_dropped_twice(&self) {
        assert_eq!(self.with(|ledger| ledger.doubled), 0, "values were dropped twice");
        assert_eq!(self.with(|ledger| ledger.used_dead), 0, "values were cloned after their drop");
    }

    #[track_caller]
    pub(super) fn assert_all_were_dropped_once(&self) {
        self.assert_none_was_dropped_twice();
        assert_eq!(self.live(), 0, "values were leaked");
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        ledgers().remove(&self.0);
    }
}

/// A value that is counted by the [`Count`] of the thread that it was made in.
#[derive(Debug)]
pub(super) struct Counted {
    number: u32,
    id: u64,
    count: u64,
}

impl Counted {
    fn new(number: u32, count: u64) -> Self {
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        if let Some(ledger) = ledgers().get_mut(&count) {
            ledger.live.insert(id);
        }
        Self { number, id, count }
    }
}

impl Value for Counted {
    fn of(number: u32) -> Self {
        Self::new(number, CURRENT.get())
    }

    fn number(&self) -> u32 {
        self.number
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        let burnt = ledgers().get_mut(&self.count).is_some_and(|ledger| {
            ledger.used_dead += usize::from(!ledger.live.contains(&self.id));
            burn(&mut ledger.clones_left)
        });
        assert!(!burnt, "the clone that panics");
        Self::new(self.number, self.count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let burnt = ledgers().get_mut(&self.count).is_some_and(|ledger| {
            ledger.doubled += usize::from(!ledger.live.remove(&self.id));
            burn(&mut ledger.drops_left)
        });
        assert!(!burnt, "the drop that panics");
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Counted {}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

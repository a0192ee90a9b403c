//! The operations that the fuzzer combines.

use crate::key::{Key, Keys, Many};
use arbitrary::{Arbitrary, Result, Unstructured};
use std::ops::Bound;

/// The longest list of operations. A longer one only takes longer.
const OPERATIONS_MAX: usize = 256;

/// A list of operations, for as long as there are bytes to make them from.
#[derive(Debug)]
pub(crate) struct Operations(pub(crate) Vec<Operation>);

impl<'a> Arbitrary<'a> for Operations {
    // The one for lists asks for a bit before each item, which ends most lists early.
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let mut operations = Vec::new();
        while !bytes.is_empty() && operations.len() < OPERATIONS_MAX {
            operations.push(bytes.arbitrary()?);
        }
        Ok(Self(operations))
    }
}

/// What to do. Each value that is written is a number that there hasn't been before.
#[derive(Arbitrary, Debug)]
pub(crate) enum Operation {
    Insert(Key),
    InsertMany(Many),
    Remove(Key),
    RemoveMany(Many),
    Get(Key),
    GetMut(Key),
    Entry(Key, EntryUse),
    FirstEntry(EntryUse),
    LastEntry(EntryUse),
    PopFirst {
        times: u8,
    },
    PopLast {
        times: u8,
    },
    Iterate(Part<Key>, Steps),
    /// Steps of a cursor, then the rest by `for_each`.
    Cursor(Part<Key>, Steps),
    Mutate(Part<Key>, Steps),
    Prefixes(Key),
    SplitOff(Key, Rest),
    RemovePrefix(Key, Rest),
    Append(Source),
    Retain(Pick),
    /// Picks from the range until there were so many, or all.
    ExtractIf(Bound<Key>, Bound<Key>, Pick, Option<u8>),
    Snapshot,
    /// Goes on with another live trie.
    Swap(u8),
    /// Drops another live trie.
    Drop(u8),
    Whole(Whole),
}

/// What to do to the trie as a whole, most of which leaves less of it: drawn less often.
#[derive(Arbitrary, Debug)]
pub(crate) enum Whole {
    FromSorted,
    /// A trie of these keys, if they ascend.
    FromKeys(Vec<Key>),
    Clone,
    Clear,
    IntoIter(Copied, Steps),
}

/// What to do with an entry.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum EntryUse {
    OrInsert,
    ModifyOrInsert,
    /// Replaces the value of an occupied entry, leaves a vacant one.
    Replace,
    /// Removes an occupied entry, fills a vacant one.
    Toggle,
}

/// A part of a trie.
#[derive(Arbitrary, Debug)]
pub(crate) enum Part<K> {
    All,
    Range(Bound<K>, Bound<K>),
    Prefix(K),
}

/// From which end to take each item.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Steps {
    /// A bit for each, over and over: 1 is the back.
    backs: u8,
    /// How many to take; all if absent.
    count: Option<u8>,
}

/// Which of two parts to go on with.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Rest {
    /// With what stays; what was cut off stays live.
    Keep,
    /// With what was cut off; what stays stays live.
    Swap,
    /// With what stays, alone.
    Drop,
}

/// What is appended.
#[derive(Arbitrary, Debug)]
pub(crate) enum Source {
    Keys(Vec<Key>),
    Many(Many),
    /// A live trie, by a snapshot.
    Shared(u8),
    /// A live trie, which isn't live any more.
    Moved(u8),
}

/// Which copy of the trie is consumed.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Copied {
    Clone,
    Snapshot,
    /// The trie itself, which is empty afterwards.
    Not,
}

/// Which entries a closure picks.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Pick(u8);

impl Pick {
    /// All, or about every second to fifth.
    pub(crate) fn picks(self, key: &[u8], number: u32) -> bool {
        let sum = key.iter().fold(number, |sum, &byte| sum.wrapping_add(u32::from(byte)));
        sum.is_multiple_of(u32::from(self.0 % 5) + 1)
    }
}

impl Steps {
    /// Whether each step is at the back.
    pub(crate) fn at_back(self) -> impl Iterator<Item = bool> {
        let count = self.count.map_or(usize::MAX, usize::from);
        (0..8).cycle().map(move |bit| self.backs >> bit & 1 == 1).take(count)
    }
}

impl Part<Key> {
    pub(crate) fn made(self, keys: &mut Keys) -> Part<Vec<u8>> {
        match self {
            Self::All => Part::All,
            Self::Prefix(prefix) => Part::Prefix(keys.one(prefix)),
            Self::Range(start, end) => {
                let (start, end) = bounds(start, end, keys);
                Part::Range(start, end)
            }
        }
    }
}

/// Bounds that don't make the map panic.
pub(crate) fn bounds(
    start: Bound<Key>,
    end: Bound<Key>,
    keys: &mut Keys,
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let (start, end) = (start.map(|key| keys.one(key)), end.map(|key| keys.one(key)));
    match (&start, &end) {
        (Bound::Excluded(left), Bound::Excluded(right)) if left == right => {
            (start, Bound::Unbounded)
        }
        (
            Bound::Included(left) | Bound::Excluded(left),
            Bound::Included(right) | Bound::Excluded(right),
        ) if left > right => (end, start),
        _ => (start, end),
    }
}

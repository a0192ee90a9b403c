//! The random operations, and how they are drawn.

use super::keys::{Bulk, Key, Keys};
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::Bound;

pub(super) type Bounds = (Bound<Key>, Bound<Key>);
/// Values are made from their numbers when the operation is applied.
pub(super) type Entries = Vec<(Key, u32)>;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert(Key, u32),
    Remove(Key),
    RemoveEntry(Key),
    GetMut(Key),
    EntryOrInsert(Key, u32),
    EntryModify(Key, u32),
    EntryReplaceOrLeave(Key, u32),
    EntryRemove(Key),
    FirstEntry(Option<u32>),
    LastEntry(Option<u32>),
    PopFirst,
    PopLast,
    IterMut(Steps),
    ValuesMut(Steps),
    RangeMut(Bounds, Steps),
    PrefixMut(Key, Steps),
    Retain(u32),
    ExtractIf(Bounds, u32, usize),
    Append(Entries),
    Extend(Entries),
    InsertBulk(Bulk, u32),
    RemoveBulk(Bulk),
    /// Which half to go on with: the upper one if true.
    SplitOff(Key, bool),
    RemovePrefix(Key, bool),
    Collect(Steps),
    /// Takes the trie to pieces and makes one of those that were taken.
    Drain(Steps),
    FromSorted,
    Clear,
    Read(Key),
    Range(Bounds, Steps),
    Prefix(Key, Steps),
    Compare(Entries),
    /// Puts a snapshot of the trie on the list of others.
    Snapshot,
    /// Goes on with another trie of the list.
    Swap(usize),
    DropOther(usize),
    /// Moves the entries of a snapshot of another trie into this one.
    AppendOther(usize),
    CompareOther(usize),
}

/// From which end to take each item, `true` for the back; after the last, all from the front or none.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    backs: Vec<bool>,
    whole: bool,
}

impl Steps {
    pub(super) fn all() -> Self {
        Self { backs: Vec::new(), whole: true }
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = bool> {
        let rest = std::iter::repeat(false).take_while(|_| self.whole);
        self.backs.iter().copied().chain(rest)
    }
}

fn steps() -> impl Strategy<Value = Steps> {
    let backs = prop_oneof![4 => vec(any::<bool>(), 0..24), 1 => vec(any::<bool>(), 0..400)];
    (backs, any::<bool>()).prop_map(|(backs, whole)| Steps { backs, whole })
}

fn entries(key: &BoxedStrategy<Key>) -> impl Strategy<Value = Entries> + use<> {
    vec((key.clone(), any::<u32>()), 0..8)
}

fn bound(key: &BoxedStrategy<Key>) -> impl Strategy<Value = Bound<Key>> + use<> {
    prop_oneof![
        3 => key.clone().prop_map(Bound::Included),
        3 => key.clone().prop_map(Bound::Excluded),
        1 => Just(Bound::Unbounded),
    ]
}

/// Bounds that `BTreeMap` takes.
fn bounds(key: &BoxedStrategy<Key>) -> impl Strategy<Value = Bounds> + use<> {
    (bound(key), bound(key)).prop_map(|(start, end)| match (&start, &end) {
        (Bound::Excluded(left), Bound::Excluded(right)) if left == right => {
            (start, Bound::Unbounded)
        }
        (
            Bound::Included(left) | Bound::Excluded(left),
            Bound::Included(right) | Bound::Excluded(right),
        ) if left > right => (end, start),
        _ => (start, end),
    })
}

fn write(keys: &Keys) -> impl Strategy<Value = Op> + use<> {
    let key = || keys.one.clone();
    prop_oneof![
        12 => (key(), any::<u32>()).prop_map(|(key, value)| Op::Insert(key, value)),
        3 => key().prop_map(Op::Remove),
        1 => key().prop_map(Op::RemoveEntry),
        2 => key().prop_map(Op::GetMut),
        3 => (key(), any::<u32>()).prop_map(|(key, value)| Op::EntryOrInsert(key, value)),
        2 => (key(), any::<u32>()).prop_map(|(key, value)| Op::EntryModify(key, value)),
        2 => (key(), any::<u32>()).prop_map(|(key, value)| Op::EntryReplaceOrLeave(key, value)),
        2 => key().prop_map(Op::EntryRemove),
        1 => any::<Option<u32>>().prop_map(Op::FirstEntry),
        1 => any::<Option<u32>>().prop_map(Op::LastEntry),
        1 => Just(Op::PopFirst),
        1 => Just(Op::PopLast),
    ]
}

fn bulk(keys: &Keys) -> impl Strategy<Value = Op> + use<> {
    let key = || keys.one.clone();
    let bulk = || keys.bulk.clone();
    let in_place = prop_oneof![
        2 => steps().prop_map(Op::IterMut),
        2 => steps().prop_map(Op::ValuesMut),
        3 => (bounds(&keys.one), steps()).prop_map(|(bounds, steps)| Op::RangeMut(bounds, steps)),
        3 => (key(), steps()).prop_map(|(key, steps)| Op::PrefixMut(key, steps)),
    ];
    let entries = prop_oneof![
        2 => (2u32..6).prop_map(Op::Retain),
        3 => (bounds(&keys.one), 1u32..4, 0usize..5).prop_map(|(b, d, t)| Op::ExtractIf(b, d, t)),
        3 => entries(&keys.one).prop_map(Op::Append),
        4 => entries(&keys.one).prop_map(Op::Extend),
        6 => (bulk(), any::<u32>()).prop_map(|(bulk, value)| Op::InsertBulk(bulk, value)),
        4 => bulk().prop_map(Op::RemoveBulk),
    ];
    let parts = prop_oneof![
        4 => (key(), any::<bool>()).prop_map(|(key, upper)| Op::SplitOff(key, upper)),
        4 => (key(), any::<bool>()).prop_map(|(key, upper)| Op::RemovePrefix(key, upper)),
        4 => steps().prop_map(Op::Collect),
        1 => steps().prop_map(Op::Drain),
        2 => Just(Op::FromSorted),
        1 => Just(Op::Clear),
    ];
    prop_oneof![5 => in_place, 9 => entries, 3 => parts]
}

fn other() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Snapshot),
        4 => any::<usize>().prop_map(Op::Swap),
        1 => any::<usize>().prop_map(Op::DropOther),
        1 => any::<usize>().prop_map(Op::AppendOther),
        1 => any::<usize>().prop_map(Op::CompareOther),
    ]
}

fn read(keys: &Keys) -> impl Strategy<Value = Op> + use<> {
    let key = || keys.one.clone();
    prop_oneof![
        4 => key().prop_map(Op::Read),
        4 => (bounds(&keys.one), steps()).prop_map(|(bounds, steps)| Op::Range(bounds, steps)),
        4 => (key(), steps()).prop_map(|(key, steps)| Op::Prefix(key, steps)),
        1 => entries(&keys.one).prop_map(Op::Compare),
    ]
}

/// Up to `len` operations on keys of one kind, after up to `bulks` large insertions.
pub(super) fn ops(keys: &Keys, bulks: usize, len: usize) -> impl Strategy<Value = Vec<Op>> + use<> {
    let (bulks, len) = if cfg!(miri) { (bulks.min(2), len.min(20)) } else { (bulks, len) };
    let op = prop_oneof![12 => write(keys), 4 => bulk(keys), 3 => other(), 4 => read(keys)];
    let fill = (keys.bulk.clone(), any::<u32>());
    let fill = fill.prop_map(|(bulk, value)| Op::InsertBulk(bulk, value));
    (vec(fill, 0..=bulks), vec(op, len / 4..len)).prop_map(|(fill, ops)| [fill, ops].concat())
}

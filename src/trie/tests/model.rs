//! The trie against a `BTreeMap`: lists of random operations over keys that collide, each applied to
//! both, with the invariants and the whole contents compared after each.

use super::super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

type Model = BTreeMap<Vec<u8>, u32>;
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<u8>, u32),
    Remove(Vec<u8>),
    RemoveEntry(Vec<u8>),
    GetMut(Vec<u8>),
    EntryOrInsert(Vec<u8>, u32),
    EntryModify(Vec<u8>, u32),
    EntryReplaceOrLeave(Vec<u8>, u32),
    EntryRemove(Vec<u8>),
    FirstEntry(Option<u32>),
    LastEntry(Option<u32>),
    PopFirst,
    PopLast,
    IterMut(Steps),
    ValuesMut(Steps),
    RangeMut(Bounds, Steps),
    PrefixMut(Vec<u8>, Steps),
    Retain(u32),
    ExtractIf(Bounds, u32, usize),
    Append(Vec<(Vec<u8>, u32)>),
    Extend(Vec<(Vec<u8>, u32)>),
    /// Which half to go on with: the upper one if true.
    SplitOff(Vec<u8>, bool),
    RemovePrefix(Vec<u8>, bool),
    Collect(Steps),
    FromSorted,
    Clear,
    Read(Vec<u8>),
    Range(Bounds, Steps),
    Prefix(Vec<u8>, Steps),
    Compare(Vec<(Vec<u8>, u32)>),
}

/// From which end to take each item, `true` for the back; after the last, from the front.
type Steps = Vec<bool>;

/// A byte string over few bytes, of which the greatest and the smallest are two.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0x00), Just(b'a'), Just(b'b'), Just(0xff)];
    prop_oneof![9 => vec(byte.clone(), 0..5), 1 => vec(byte, 5..12)]
}

fn entries() -> impl Strategy<Value = Vec<(Vec<u8>, u32)>> {
    vec((key(), any::<u32>()), 0..8)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        3 => key().prop_map(Bound::Included),
        3 => key().prop_map(Bound::Excluded),
        1 => Just(Bound::Unbounded),
    ]
}

/// Bounds that `BTreeMap` takes.
fn bounds() -> impl Strategy<Value = Bounds> {
    (bound(), bound()).prop_map(|(start, end)| match (&start, &end) {
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

fn steps() -> impl Strategy<Value = Steps> {
    vec(any::<bool>(), 0..24)
}

fn op() -> impl Strategy<Value = Op> {
    let writes = prop_oneof![
        12 => (key(), any::<u32>()).prop_map(|(key, value)| Op::Insert(key, value)),
        3 => key().prop_map(Op::Remove),
        1 => key().prop_map(Op::RemoveEntry),
        1 => key().prop_map(Op::GetMut),
        3 => (key(), any::<u32>()).prop_map(|(key, value)| Op::EntryOrInsert(key, value)),
        2 => (key(), any::<u32>()).prop_map(|(key, value)| Op::EntryModify(key, value)),
        2 => (key(), any::<u32>()).prop_map(|(key, value)| Op::EntryReplaceOrLeave(key, value)),
        2 => key().prop_map(Op::EntryRemove),
        1 => any::<Option<u32>>().prop_map(Op::FirstEntry),
        1 => any::<Option<u32>>().prop_map(Op::LastEntry),
        1 => Just(Op::PopFirst),
        1 => Just(Op::PopLast),
    ];
    let bulk = prop_oneof![
        4 => steps().prop_map(Op::IterMut),
        4 => steps().prop_map(Op::ValuesMut),
        6 => (bounds(), steps()).prop_map(|(bounds, steps)| Op::RangeMut(bounds, steps)),
        4 => (key(), steps()).prop_map(|(key, steps)| Op::PrefixMut(key, steps)),
        2 => (2u32..6).prop_map(Op::Retain),
        3 => (bounds(), 1u32..4, 0usize..5).prop_map(|(b, d, t)| Op::ExtractIf(b, d, t)),
        3 => entries().prop_map(Op::Append),
        4 => entries().prop_map(Op::Extend),
        3 => (key(), any::<bool>()).prop_map(|(key, upper)| Op::SplitOff(key, upper)),
        3 => (key(), any::<bool>()).prop_map(|(key, upper)| Op::RemovePrefix(key, upper)),
        4 => steps().prop_map(Op::Collect),
        2 => Just(Op::FromSorted),
        1 => Just(Op::Clear),
    ];
    let reads = prop_oneof![
        4 => key().prop_map(Op::Read),
        4 => (bounds(), steps()).prop_map(|(bounds, steps)| Op::Range(bounds, steps)),
        4 => (key(), steps()).prop_map(|(key, steps)| Op::Prefix(key, steps)),
        1 => entries().prop_map(Op::Compare),
    ];
    prop_oneof![3 => writes, 1 => bulk, 1 => reads]
}

/// Takes all items of both iterators, in the same order of ends, and compares them.
#[track_caller]
fn same<T: Debug + PartialEq>(
    mut left: impl DoubleEndedIterator<Item = T>,
    mut right: impl DoubleEndedIterator<Item = T>,
    steps: &Steps,
) {
    for back in steps.iter().copied().chain(std::iter::repeat(false)) {
        let (left_hint, right_hint) = (left.size_hint(), right.size_hint());
        // Exact where std's is; a range only has a bound.
        let is_bound = left_hint.0 == 0 && left_hint.1 >= Some(right_hint.0);
        assert!(left_hint == right_hint || is_bound, "{left_hint:?} for {right_hint:?}");
        let (left, right) =
            if back { (left.next_back(), right.next_back()) } else { (left.next(), right.next()) };
        assert_eq!(left, right);
        if left.is_none() {
            break;
        }
    }
    // Fused at both ends.
    assert_eq!((left.next(), left.next_back()), (None, None));
}

/// As [`same`], for a cursor.
#[track_caller]
fn same_cursor<'a>(
    mut cursor: Cursor<'_, u32>,
    mut right: impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a u32)>,
    steps: &Steps,
) {
    for back in steps.iter().copied().chain(std::iter::repeat(false)) {
        let (left, right) = if back {
            (cursor.next_back(), right.next_back())
        } else {
            (cursor.next(), right.next())
        };
        assert_eq!(left, right.map(|(key, value)| (key.as_slice(), value)));
        if left.is_none() {
            break;
        }
    }
}

fn owned<V>((key, value): (&Vec<u8>, V)) -> (Vec<u8>, V) {
    (key.clone(), value)
}

fn slices(bounds: &Bounds) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice))
}

fn model_of(entries: &[(Vec<u8>, u32)]) -> Model {
    entries.iter().cloned().collect()
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The prefixes of `key` in the model, shortest first.
fn prefixes<'m, 'k>(model: &'m Model, key: &'k [u8]) -> Vec<(&'k [u8], &'m u32)> {
    (0..=key.len())
        .filter_map(|len| model.get(&key[..len]).map(|value| (&key[..len], value)))
        .collect()
}

fn apply(op: Op, trie: &mut Trie<u32>, model: &mut Model) {
    match op {
        Op::Insert(key, value) => {
            assert_eq!(trie.insert(&key, value), model.insert(key, value));
        }
        Op::Remove(key) => assert_eq!(trie.remove(&key), model.remove(&key)),
        Op::RemoveEntry(key) => assert_eq!(trie.remove_entry(&key), model.remove_entry(&key)),
        Op::GetMut(key) => assert_eq!(
            trie.get_mut(&key).map(|value| std::mem::replace(value, 7)),
            model.get_mut(&key).map(|value| std::mem::replace(value, 7))
        ),
        Op::PopFirst => assert_eq!(trie.pop_first(), model.pop_first()),
        Op::PopLast => assert_eq!(trie.pop_last(), model.pop_last()),
        Op::FirstEntry(value) => edge_entry(trie.first_entry(), model.first_entry(), value),
        Op::LastEntry(value) => edge_entry(trie.last_entry(), model.last_entry(), value),
        Op::Clear => {
            trie.clear();
            model.clear();
        }
        Op::EntryOrInsert(..)
        | Op::EntryModify(..)
        | Op::EntryReplaceOrLeave(..)
        | Op::EntryRemove(..) => apply_entry(op, trie, model),
        Op::IterMut(..) | Op::ValuesMut(..) | Op::RangeMut(..) | Op::PrefixMut(..) => {
            apply_in_place(op, trie, model);
        }
        Op::Read(..) | Op::Range(..) | Op::Prefix(..) | Op::Compare(..) => read(op, trie, model),
        _ => apply_bulk(op, trie, model),
    }
}

fn edge_entry(
    left: Option<OccupiedEntry<'_, Vec<u8>, u32>>,
    right: Option<std::collections::btree_map::OccupiedEntry<'_, Vec<u8>, u32>>,
    value: Option<u32>,
) {
    let (Some(mut left), Some(mut right)) = (left, right) else { return };
    assert_eq!((left.key(), left.get()), (right.key(), right.get()));
    match value {
        Some(value) => assert_eq!(left.insert(value), right.insert(value)),
        None => assert_eq!(left.remove_entry(), right.remove_entry()),
    }
}

fn apply_entry(op: Op, trie: &mut Trie<u32>, model: &mut Model) {
    match op {
        Op::EntryOrInsert(key, value) => {
            assert_eq!(trie.entry(&key).key(), &&key);
            let left = trie.entry(&key).or_insert(value);
            let right = model.entry(key).or_insert(value);
            assert_eq!(left, right);
            *left ^= 1;
            *right ^= 1;
        }
        Op::EntryModify(key, value) => {
            let left = trie.entry(&key).and_modify(|value| *value ^= 2);
            let right = model.entry(key.clone()).and_modify(|value| *value ^= 2);
            if value % 2 == 0 {
                assert_eq!(left.or_default(), right.or_default());
            } else {
                let left = left.or_insert_with_key(|key| u32::from(key.is_empty()));
                assert_eq!(left, right.or_insert_with_key(|key| u32::from(key.is_empty())));
            }
        }
        Op::EntryReplaceOrLeave(key, value) => match trie.entry(&key) {
            Entry::Occupied(mut entry) => {
                *entry.get_mut() ^= 1;
                assert_eq!(entry.insert(value), model.insert(key.clone(), value).unwrap() ^ 1);
                assert_eq!(entry.into_mut(), &value);
            }
            Entry::Vacant(entry) => {
                assert_eq!(model.get(&key), None);
                assert_eq!(entry.into_key(), &key);
            }
        },
        Op::EntryRemove(key) => match trie.entry(&key) {
            Entry::Occupied(entry) => assert_eq!(Some(entry.remove()), model.remove(&key)),
            Entry::Vacant(entry) => {
                assert_eq!(model.insert(key.clone(), 9), None);
                assert_eq!(entry.insert(9), &9);
            }
        },
        _ => unreachable!("not an entry operation: {op:?}"),
    }
}

fn apply_in_place(op: Op, trie: &mut Trie<u32>, model: &mut Model) {
    fn change<K>((key, value): (K, &mut u32)) -> (K, u32) {
        *value = value.wrapping_mul(3);
        (key, *value)
    }
    match op {
        Op::IterMut(steps) => {
            assert_eq!(trie.iter_mut().len(), model.len());
            same(trie.iter_mut().map(change), model.iter_mut().map(owned).map(change), &steps);
        }
        Op::ValuesMut(steps) => {
            let left = trie.values_mut().map(|value| change(((), value)));
            same(left, model.values_mut().map(|value| change(((), value))), &steps);
        }
        Op::RangeMut(bounds, steps) => {
            let left = trie.range_mut(bounds.clone()).map(change);
            same(left, model.range_mut(bounds).map(owned).map(change), &steps);
        }
        Op::PrefixMut(prefix, steps) => {
            let left = trie.prefix_mut(&prefix).map(change);
            let right = model.iter_mut().filter(|(key, _)| key.starts_with(&prefix));
            same(left, right.map(owned).map(change), &steps);
        }
        _ => unreachable!("not an operation on values in place: {op:?}"),
    }
}

fn apply_bulk(op: Op, trie: &mut Trie<u32>, model: &mut Model) {
    match op {
        Op::Retain(divisor) => {
            let mut order = Vec::new();
            trie.retain(|key, value| {
                order.push(key.to_vec());
                *value ^= 4;
                *value % divisor == 0
            });
            assert!(order.iter().eq(model.keys()));
            model.retain(|_, value| {
                *value ^= 4;
                *value % divisor == 0
            });
        }
        Op::ExtractIf(bounds, divisor, take) => {
            let pick = |value: &u32| value.is_multiple_of(divisor);
            let left: Vec<_> =
                trie.extract_if(bounds.clone(), |_, value| pick(value)).take(take).collect();
            let right: Vec<_> = model
                .range(bounds)
                .filter(|(_, value)| pick(value))
                .take(take)
                .map(|(key, value)| (key.clone(), *value))
                .collect();
            model.retain(|key, value| !right.contains(&(key.clone(), *value)));
            assert_eq!(left, right);
        }
        Op::Append(entries) => {
            let (mut left, mut right) = (entries.iter().cloned().collect(), model_of(&entries));
            trie.append(&mut left);
            model.append(&mut right);
            left.check();
            assert!(left.is_empty());
        }
        Op::Extend(entries) => {
            trie.extend(entries.iter().map(|(key, value)| (key, value)));
            model.extend(entries);
        }
        Op::SplitOff(key, upper) => {
            let mut left = trie.split_off(&key);
            let mut right = model.split_off(&key);
            compare_whole(&left, &right);
            if upper {
                std::mem::swap(trie, &mut left);
                std::mem::swap(model, &mut right);
            }
        }
        Op::RemovePrefix(prefix, upper) => {
            let mut left = trie.remove_prefix(&prefix);
            let mut right = Model::new();
            right.extend(model.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|entry| {
                let (key, value) = owned(entry);
                (key, *value)
            }));
            model.retain(|key, _| !key.starts_with(&prefix));
            compare_whole(&left, &right);
            if upper {
                std::mem::swap(trie, &mut left);
                std::mem::swap(model, &mut right);
            }
        }
        Op::Collect(steps) => {
            same(trie.clone().into_iter(), model.clone().into_iter(), &steps);
            same(trie.clone().into_keys(), model.clone().into_keys(), &steps);
            same(trie.clone().into_values(), model.clone().into_values(), &steps);
            same(trie.iter(), model.iter().map(owned), &steps);
            same(trie.keys(), model.keys().cloned(), &steps);
            same(trie.values(), model.values(), &steps);
            same_cursor(trie.cursor(), model.iter(), &steps);
            let taken = std::mem::take(trie);
            *trie = taken.into_iter().rev().collect();
        }
        Op::FromSorted => *trie = Trie::from_sorted(model.iter().map(|(k, v)| (k, *v))).unwrap(),
        _ => unreachable!("not a bulk operation: {op:?}"),
    }
}

fn read(op: Op, trie: &Trie<u32>, model: &Model) {
    match op {
        Op::Read(key) => {
            assert_eq!(trie.get(&key), model.get(&key));
            assert_eq!(trie.contains_key(&key), model.contains_key(&key));
            let found = prefixes(model, &key);
            assert_eq!(trie.longest_prefix(&key), found.last().copied());
            assert_eq!(trie.prefixes(&key).collect::<Vec<_>>(), found);
        }
        Op::Range(bounds, steps) => {
            let right = || model.range::<[u8], _>(slices(&bounds));
            same(trie.range(slices(&bounds)), right().map(owned), &steps);
            same_cursor(trie.cursor_range(bounds.clone()), right(), &steps);
        }
        Op::Prefix(prefix, steps) => {
            let right = || model.iter().filter(|(key, _)| key.starts_with(&prefix));
            same(trie.prefix(&prefix), right().map(owned), &steps);
            same_cursor(trie.cursor_prefix(&prefix), right(), &steps);
        }
        Op::Compare(entries) => {
            let (left, right): (Trie<u32>, _) =
                (entries.iter().cloned().collect(), model_of(&entries));
            assert_eq!(left.cmp(trie), right.cmp(model));
            assert_eq!(left.partial_cmp(trie), right.partial_cmp(model));
            assert_eq!(left == *trie, right == *model);
            let text = model.keys().all(|key| str::from_utf8(key).is_ok());
            let json = serde_json::to_string(trie);
            assert_eq!(json.is_ok(), text);
            if let Ok(json) = json {
                assert_eq!(&serde_json::from_str::<Trie<u32>>(&json).unwrap(), trie);
            }
        }
        _ => unreachable!("not a read: {op:?}"),
    }
}

/// What holds after any operation.
#[track_caller]
fn compare_whole(trie: &Trie<u32>, model: &Model) {
    trie.check();
    assert_eq!(trie.len(), model.len());
    assert_eq!(trie.is_empty(), model.is_empty());
    assert_eq!(trie.iter().len(), model.len());
    same_cursor(trie.cursor(), model.iter(), &Steps::new());
    assert!(trie.iter().rev().eq(model.iter().rev().map(owned)));
    assert_eq!(trie.first_key_value(), model.first_key_value().map(owned));
    assert_eq!(trie.last_key_value(), model.last_key_value().map(owned));
    let copy: Trie<u32> = model.iter().rev().map(|(key, value)| (key, *value)).collect();
    assert_eq!(&copy, trie);
    assert_eq!(&trie.clone(), trie);
    assert_eq!(hash_of(&copy), hash_of(trie));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_do_to_a_trie_what_they_do_to_a_btree_map(ops in vec(op(), 0..80)) {
        let (mut trie, mut model) = (Trie::new(), Model::new());
        for op in ops {
            apply(op, &mut trie, &mut model);
            compare_whole(&trie, &model);
        }
    }
}

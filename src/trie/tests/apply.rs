//! What each operation does to a trie and to a `BTreeMap`, and that both return the same.

use super::super::*;
use super::operation::{Bounds, Entries, Op, Steps};
use super::values::Value;
use std::collections::{BTreeMap, btree_map};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

pub(super) type Model<V> = BTreeMap<Vec<u8>, V>;

/// A trie, and what it must be.
pub(super) type Pair<V> = (Trie<V>, Model<V>);

/// How many tries there may be on the list, with pages in common perhaps.
const OTHERS_MAX: usize = 4;

/// The trie that operations are applied to, and others that share pages with it: snapshots, what it
/// was a snapshot of, and what was cut off it.
pub(super) struct World<V> {
    trie: Trie<V>,
    model: Model<V>,
    others: Vec<Pair<V>>,
}

impl<V: Value> World<V> {
    pub(super) fn new() -> Self {
        Self { trie: Trie::new(), model: Model::new(), others: Vec::new() }
    }

    /// What holds after any operation; the invariants alone take less time than
    /// [`compare`](Self::compare).
    pub(super) fn check(&self) {
        self.trie.check();
        self.others.iter().for_each(|(other, _)| other.check());
        assert_eq!(self.trie.len(), self.model.len());
    }

    /// What holds after any operation.
    pub(super) fn compare(&self) {
        compare_whole(&self.trie, &self.model);
        for (other, model) in &self.others {
            compare_content(other, model);
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        let (trie, model) = (&mut self.trie, &mut self.model);
        match op {
            Op::IterMut(..) | Op::ValuesMut(..) | Op::RangeMut(..) | Op::PrefixMut(..) => {
                apply_in_place(&op, trie, model);
            }
            Op::Read(..) | Op::Range(..) | Op::Prefix(..) => read(&op, trie, model),
            Op::Compare(entries) => {
                let left: Trie<V> = values(&entries).collect();
                let right: Model<V> = owned_values(&entries).collect();
                compare_two((&left, &right), (trie, model));
                compare_in_json(trie, model);
            }
            Op::SplitOff(key, upper) => {
                let cut = (trie.split_off(&key), model.split_off(&key.0));
                self.put_aside(cut, upper);
            }
            Op::RemovePrefix(prefix, upper) => {
                let inside = |key: &Vec<u8>| key.starts_with(&prefix.0);
                let cut = (trie.remove_prefix(&prefix), take_where(model, inside));
                self.put_aside(cut, upper);
            }
            Op::Snapshot
            | Op::Swap(_)
            | Op::DropOther(_)
            | Op::AppendOther(_)
            | Op::CompareOther(_) => self.apply_to_others(&op),
            Op::InsertBulk(..) | Op::RemoveBulk(..) | Op::Append(..) | Op::Extend(..) => {
                apply_bulk(op, trie, model);
            }
            Op::Retain(..) | Op::ExtractIf(..) => apply_picks(op, trie, model),
            Op::Collect(..) | Op::Drain(..) | Op::FromSorted => apply_whole(&op, trie, model),
            _ => apply_one(op, trie, model),
        }
    }

    /// Keeps what was cut off the trie, and goes on with it if so asked.
    fn put_aside(&mut self, mut cut: Pair<V>, go_on: bool) {
        if go_on {
            mem::swap(&mut self.trie, &mut cut.0);
            mem::swap(&mut self.model, &mut cut.1);
        }
        compare_content(&cut.0, &cut.1);
        self.keep(cut);
    }

    fn keep(&mut self, pair: Pair<V>) {
        if self.others.len() == OTHERS_MAX {
            self.others.remove(0);
        }
        self.others.push(pair);
    }

    fn apply_to_others(&mut self, op: &Op) {
        if let Op::Snapshot = op {
            return self.keep((self.trie.snapshot(), self.model.clone()));
        }
        let (Op::Swap(number)
        | Op::DropOther(number)
        | Op::AppendOther(number)
        | Op::CompareOther(number)) = op
        else {
            unreachable!("not an operation on other tries: {op:?}")
        };
        let count = self.others.len();
        let Some((other, model)) = self.others.get_mut(number % count.max(1)) else { return };
        match op {
            Op::Swap(_) => {
                mem::swap(&mut self.trie, other);
                mem::swap(&mut self.model, model);
            }
            Op::AppendOther(_) => {
                let mut moved = other.snapshot();
                self.trie.append(&mut moved);
                assert!(moved.is_empty());
                moved.check();
                self.model.append(&mut model.clone());
            }
            Op::CompareOther(_) => compare_two((other, model), (&self.trie, &self.model)),
            _ => drop(self.others.remove(number % count)),
        }
    }
}

/// Takes the items that `steps` says of both iterators and compares them. All are live at once.
#[track_caller]
fn same<T: Debug + PartialEq>(
    mut left: impl DoubleEndedIterator<Item = T>,
    mut right: impl DoubleEndedIterator<Item = T>,
    steps: &Steps,
) -> (Vec<T>, Vec<T>) {
    let mut taken = (Vec::new(), Vec::new());
    for back in steps.ends() {
        let (left_hint, right_hint) = (left.size_hint(), right.size_hint());
        // Exact where std's is; a range only has a bound.
        let is_bound = left_hint.0 == 0 && left_hint.1 >= Some(right_hint.0);
        assert!(left_hint == right_hint || is_bound, "{left_hint:?} for {right_hint:?}");
        let pair =
            if back { (left.next_back(), right.next_back()) } else { (left.next(), right.next()) };
        assert_eq!(pair.0, pair.1);
        let (Some(left_item), Some(right_item)) = pair else {
            // Fused at both ends.
            assert_eq!((left.next(), left.next_back()), (None, None));
            break;
        };
        taken.0.push(left_item);
        taken.1.push(right_item);
    }
    taken
}

/// As [`same`], for a cursor.
#[track_caller]
fn same_cursor<'a, V: Value + 'a>(
    mut cursor: Cursor<'_, V>,
    mut right: impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a V)>,
    steps: &Steps,
) {
    for back in steps.ends() {
        let (left, right) = if back {
            (cursor.next_back(), right.next_back())
        } else {
            (cursor.next(), right.next())
        };
        assert_eq!(left, right.map(|(key, value)| (key.as_slice(), value)));
        let Some((_, value)) = left else { break };
        assert!(std::ptr::from_ref(value).is_aligned());
    }
}

fn owned<V>((key, value): (&Vec<u8>, V)) -> (Vec<u8>, V) {
    (key.clone(), value)
}

fn values<V: Value>(entries: &Entries) -> impl Iterator<Item = (&[u8], V)> {
    entries.iter().map(|(key, number)| (key.as_ref(), V::of(*number)))
}

fn owned_values<V: Value>(entries: &Entries) -> impl Iterator<Item = (Vec<u8>, V)> {
    values(entries).map(|(key, value)| (key.to_vec(), value))
}

fn slices(bounds: &Bounds) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(AsRef::as_ref), bounds.1.as_ref().map(AsRef::as_ref))
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Moves the entries whose keys are picked into another map.
fn take_where<V>(model: &mut Model<V>, pick: impl Fn(&Vec<u8>) -> bool) -> Model<V> {
    model.extract_if(.., |key, _| pick(key)).collect()
}

/// Whether a closure shall pick the entry, which depends on both, since some values are all equal.
fn picks<V: Value>(key: &[u8], value: &V, divisor: u32) -> bool {
    let sum = key.iter().fold(value.number(), |sum, byte| sum.wrapping_add(u32::from(*byte)));
    sum.is_multiple_of(divisor)
}

fn apply_one<V: Value>(op: Op, trie: &mut Trie<V>, model: &mut Model<V>) {
    match op {
        Op::Insert(key, number) => {
            assert_eq!(trie.insert(&key, V::of(number)), model.insert(key.0, V::of(number)));
        }
        Op::Remove(key) => assert_eq!(trie.remove(&key), model.remove(&key.0)),
        Op::RemoveEntry(key) => assert_eq!(trie.remove_entry(&key), model.remove_entry(&key.0)),
        Op::GetMut(key) => assert_eq!(
            trie.get_mut(&key).map(|value| mem::replace(value, V::of(7))),
            model.get_mut(&key.0).map(|value| mem::replace(value, V::of(7)))
        ),
        Op::PopFirst => assert_eq!(trie.pop_first(), model.pop_first()),
        Op::PopLast => assert_eq!(trie.pop_last(), model.pop_last()),
        Op::FirstEntry(value) => edge_entry(trie.first_entry(), model.first_entry(), value),
        Op::LastEntry(value) => edge_entry(trie.last_entry(), model.last_entry(), value),
        Op::Clear => {
            trie.clear();
            model.clear();
        }
        _ => apply_entry(op, trie, model),
    }
}

fn edge_entry<V: Value>(
    left: Option<OccupiedEntry<'_, Vec<u8>, V>>,
    right: Option<btree_map::OccupiedEntry<'_, Vec<u8>, V>>,
    number: Option<u32>,
) {
    assert_eq!(left.is_some(), right.is_some());
    let (Some(mut left), Some(mut right)) = (left, right) else { return };
    assert_eq!((left.key(), left.get()), (right.key(), right.get()));
    match number {
        Some(number) => assert_eq!(left.insert(V::of(number)), right.insert(V::of(number))),
        None => assert_eq!(left.remove_entry(), right.remove_entry()),
    }
}

fn apply_entry<V: Value>(op: Op, trie: &mut Trie<V>, model: &mut Model<V>) {
    match op {
        Op::EntryOrInsert(key, number) => {
            assert_eq!(trie.entry(&key).key(), &&key);
            let left = trie.entry(&key).or_insert(V::of(number));
            let right = model.entry(key.0).or_insert(V::of(number));
            assert_eq!(left, right);
            left.change(|number| number ^ 1);
            right.change(|number| number ^ 1);
        }
        Op::EntryModify(key, number) => {
            let change = |value: &mut V| value.change(|number| number ^ 2);
            let left = trie.entry(&key).and_modify(change);
            let right = model.entry(key.0.clone()).and_modify(change);
            if number % 2 == 0 {
                assert_eq!(left.or_default(), right.or_default());
            } else {
                let of_len = |len: usize| V::of(u32::from(len == 0));
                let left = left.or_insert_with_key(|key| of_len(key.0.len()));
                assert_eq!(left, right.or_insert_with_key(|key| of_len(key.len())));
            }
        }
        Op::EntryReplaceOrLeave(key, number) => match trie.entry(&key) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().change(|number| number ^ 1);
                let mut old = model.insert(key.0.clone(), V::of(number)).unwrap();
                old.change(|number| number ^ 1);
                assert_eq!(entry.insert(V::of(number)), old);
                assert_eq!(entry.into_mut(), &V::of(number));
            }
            Entry::Vacant(entry) => {
                assert_eq!(model.get(&key.0), None);
                assert_eq!(entry.into_key(), &key);
            }
        },
        Op::EntryRemove(key) => match trie.entry(&key) {
            Entry::Occupied(entry) => assert_eq!(Some(entry.remove()), model.remove(&key.0)),
            Entry::Vacant(entry) => {
                assert_eq!(model.insert(key.0.clone(), V::of(9)), None);
                assert_eq!(entry.insert(V::of(9)), &V::of(9));
            }
        },
        _ => unreachable!("not an operation on one entry: {op:?}"),
    }
}

/// Takes all mutable references first and writes through them afterwards.
fn apply_in_place<V: Value>(op: &Op, trie: &mut Trie<V>, model: &mut Model<V>) {
    let (left, right) = match op {
        Op::IterMut(steps) => {
            assert_eq!(trie.iter_mut().len(), model.len());
            same(trie.iter_mut(), model.iter_mut().map(owned), steps)
        }
        Op::ValuesMut(steps) => {
            let unnamed = |value| (Vec::new(), value);
            same(trie.values_mut().map(unnamed), model.values_mut().map(unnamed), steps)
        }
        Op::RangeMut(bounds, steps) => {
            let right = model.range_mut::<[u8], _>(slices(bounds)).map(owned);
            same(trie.range_mut(bounds.clone()), right, steps)
        }
        Op::PrefixMut(prefix, steps) => {
            let right = model.iter_mut().filter(|(key, _)| key.starts_with(&prefix.0));
            same(trie.prefix_mut(prefix), right.map(owned), steps)
        }
        _ => unreachable!("not an operation on values in place: {op:?}"),
    };
    for (_, value) in left.into_iter().chain(right) {
        value.change(|number| number.wrapping_mul(3));
    }
}

fn apply_bulk<V: Value>(op: Op, trie: &mut Trie<V>, model: &mut Model<V>) {
    match op {
        Op::InsertBulk(bulk, number) => {
            for key in bulk.keys() {
                let new = V::of(number);
                assert_eq!(trie.insert(&key, new.clone()), model.insert(key, new));
            }
        }
        Op::RemoveBulk(bulk) => {
            for key in bulk.keys() {
                assert_eq!(trie.remove(&key), model.remove(&key));
            }
        }
        Op::Append(entries) => {
            let mut left: Trie<V> = values(&entries).collect();
            trie.append(&mut left);
            model.append(&mut owned_values(&entries).collect());
            left.check();
            assert!(left.is_empty());
        }
        Op::Extend(entries) => {
            trie.extend(values(&entries));
            model.extend(owned_values(&entries));
        }
        _ => unreachable!("not a bulk operation: {op:?}"),
    }
}

fn apply_picks<V: Value>(op: Op, trie: &mut Trie<V>, model: &mut Model<V>) {
    match op {
        Op::Retain(divisor) => {
            let mut order = Vec::new();
            let mut keep = |key: &[u8], value: &mut V| {
                order.push(key.to_vec());
                value.change(|number| number ^ 4);
                !picks(key, value, divisor)
            };
            trie.retain(&mut keep);
            let keys: Vec<_> = model.keys().cloned().collect();
            model.retain(|key, value| keep(key, value));
            assert!(order.iter().eq(keys.iter().chain(&keys)));
        }
        Op::ExtractIf(bounds, divisor, count) => {
            let pick = |key: &[u8], value: &mut V| picks(key, value, divisor);
            let left: Vec<_> = trie.extract_if(bounds.clone(), pick).take(count).collect();
            let (start, end) = slices(&bounds);
            let range = (start.map(<[u8]>::to_vec), end.map(<[u8]>::to_vec));
            let right = model.extract_if(range, |key, value| pick(key, value)).take(count);
            assert_eq!(left, right.collect::<Vec<_>>());
        }
        _ => unreachable!("not an operation with a closure that picks: {op:?}"),
    }
}

fn apply_whole<V: Value>(op: &Op, trie: &mut Trie<V>, model: &mut Model<V>) {
    match op {
        Op::Collect(steps) => {
            same(trie.clone().into_iter(), model.clone().into_iter(), steps);
            same(trie.snapshot().into_iter(), model.clone().into_iter(), steps);
            same(trie.clone().into_keys(), model.clone().into_keys(), steps);
            same(trie.snapshot().into_values(), model.clone().into_values(), steps);
            same(trie.iter(), model.iter().map(owned), steps);
            same(trie.keys(), model.keys().cloned(), steps);
            same(trie.values(), model.values(), steps);
            same_cursor(trie.cursor(), model.iter(), steps);
            let taken = mem::take(trie);
            *trie = taken.into_iter().rev().collect();
        }
        Op::Drain(steps) => {
            let left = mem::take(trie).into_iter();
            let (left, right) = same(left, mem::take(model).into_iter(), steps);
            *trie = left.into_iter().collect();
            *model = right.into_iter().collect();
        }
        Op::FromSorted => {
            let entries = model.iter().map(|(key, value)| (key, value.clone()));
            *trie = Trie::from_sorted(entries).unwrap();
        }
        _ => unreachable!("not an operation on a whole trie: {op:?}"),
    }
}

fn read<V: Value>(op: &Op, trie: &Trie<V>, model: &Model<V>) {
    match op {
        Op::Read(key) => {
            assert_eq!(trie.get(key), model.get(&key.0));
            assert_eq!(trie.contains_key(key), model.contains_key(&key.0));
            let right = model.iter().filter(|(prefix, _)| key.0.starts_with(prefix));
            let found: Vec<_> =
                right.map(|(prefix, value)| (&key.0[..prefix.len()], value)).collect();
            assert_eq!(trie.longest_prefix(key), found.last().copied());
            assert_eq!(trie.prefixes(key).collect::<Vec<_>>(), found);
        }
        Op::Range(bounds, steps) => {
            let right = || model.range::<[u8], _>(slices(bounds));
            same(trie.range(slices(bounds)), right().map(owned), steps);
            same_cursor(trie.cursor_range(bounds.clone()), right(), steps);
        }
        Op::Prefix(prefix, steps) => {
            let right = || model.iter().filter(|(key, _)| key.starts_with(&prefix.0));
            same(trie.prefix(prefix), right().map(owned), steps);
            same_cursor(trie.cursor_prefix(prefix), right(), steps);
            same_visits(trie.cursor_prefix(prefix), right());
            let mut begun = trie.cursor_prefix(prefix);
            let mut left = right();
            for back in steps.ends().take(3) {
                let (key, model) = if back {
                    (begun.next_back(), left.next_back())
                } else {
                    (begun.next(), left.next())
                };
                assert_eq!(key, model.map(|(key, value)| (&key[..], value)));
            }
            same_visits(begun, left);
        }
        _ => unreachable!("not a read: {op:?}"),
    }
}

/// That a cursor visits the same entries in one call.
fn same_visits<'a, V: Value + 'a>(
    cursor: Cursor<'_, V>,
    mut model: impl Iterator<Item = (&'a Vec<u8>, &'a V)>,
) {
    cursor.for_each(|key, value| {
        assert_eq!(Some((key, value)), model.next().map(|(key, value)| (&key[..], value)));
    });
    assert_eq!(model.next(), None);
}

fn compare_two<V: Value>(left: (&Trie<V>, &Model<V>), right: (&Trie<V>, &Model<V>)) {
    assert_eq!(left.0.cmp(right.0), left.1.cmp(right.1));
    assert_eq!(left.0.partial_cmp(right.0), left.1.partial_cmp(right.1));
    assert_eq!(left.0 == right.0, left.1 == right.1);
    assert!(left.1 != right.1 || hash_of(left.0) == hash_of(right.0));
}

fn compare_in_json<V: Value>(trie: &Trie<V>, model: &Model<V>) {
    let numbers: Trie<u32> = trie.iter().map(|(key, value)| (key, value.number())).collect();
    let text = model.keys().all(|key| str::from_utf8(key).is_ok());
    let json = serde_json::to_string(&numbers);
    assert_eq!(json.is_ok(), text);
    if let Ok(json) = json {
        assert_eq!(serde_json::from_str::<Trie<u32>>(&json).unwrap(), numbers);
    }
}

/// That a trie holds what it must, seen by walks from both ends and by a search for each key.
#[track_caller]
pub(super) fn compare_content<V: Value>(trie: &Trie<V>, model: &Model<V>) {
    trie.check();
    assert_eq!(trie.len(), model.len());
    assert_eq!(trie.is_empty(), model.is_empty());
    same_cursor(trie.cursor(), model.iter(), &Steps::all());
    same_visits(trie.cursor(), model.iter());
    let mut backwards = trie.cursor();
    for (key, value) in model.iter().rev() {
        assert_eq!(backwards.next_back(), Some((&key[..], value)));
        assert_eq!(trie.get(key), Some(value));
    }
}

/// That a trie holds what it must, and equals and hashes like one that was made otherwise.
#[track_caller]
pub(super) fn compare_whole<V: Value>(trie: &Trie<V>, model: &Model<V>) {
    compare_content(trie, model);
    assert_eq!(trie.iter().len(), model.len());
    assert!(trie.iter().rev().eq(model.iter().rev().map(owned)));
    assert_eq!(trie.first_key_value(), model.first_key_value().map(owned));
    assert_eq!(trie.last_key_value(), model.last_key_value().map(owned));
    let copy: Trie<V> = model.iter().rev().map(|(key, value)| (key, value.clone())).collect();
    assert_eq!(&copy, trie);
    assert_eq!(&trie.clone(), trie);
    assert_eq!(hash_of(&copy), hash_of(trie));
}

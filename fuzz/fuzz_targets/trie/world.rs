//! What each operation does to a trie and to its model.

use crate::key::{Key, Keys, TRACE};
use crate::operation::{
    Copied, EntryUse, Operation, Part, Pick, Rest, Source, Steps, Whole, bounds,
};
use crate::value::Value;
use crate::walk::{of_model, of_model_mut, of_trie, of_trie_mut, same, same_by_cursor};
use std::collections::{BTreeMap, btree_map};
use std::mem;
use std::ops::Bound;
use triekv::trie::{Entry, OccupiedEntry, Trie};

pub(crate) type Model = BTreeMap<Vec<u8>, Value>;

/// How many tries there may be beside the current one.
const OTHERS_MAX: usize = 2;

/// After how many operations the current trie's content is compared.
const COMPARE_EVERY: usize = 8;

/// The current trie, and others that share pages with it perhaps.
pub(crate) struct World {
    current: Pair,
    others: Vec<Pair>,
    keys: Keys,
    numbers: Numbers,
    operations: usize,
}

/// A trie, and what it must be.
#[derive(Default)]
struct Pair {
    trie: Trie<Value>,
    model: Model,
}

/// Numbers that there haven't been before.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            current: Pair::default(),
            others: Vec::new(),
            keys: Keys::new(),
            numbers: Numbers(0),
            operations: 0,
        }
    }

    /// What holds after any operation.
    pub(crate) fn check(&mut self) {
        self.current.check();
        self.others.iter().for_each(Pair::check);
        self.operations += 1;
        if self.operations.is_multiple_of(COMPARE_EVERY) {
            self.current.compare();
        }
    }

    /// What holds at the end.
    pub(crate) fn compare(&self) {
        self.current.compare();
        self.others.iter().for_each(Pair::compare);
    }

    pub(crate) fn apply(&mut self, operation: Operation) {
        if *TRACE {
            eprintln!("{operation:?}");
        }
        let Self { current, keys, numbers, .. } = self;
        match operation {
            Operation::Insert(key) => current.insert(keys.one(key), numbers),
            Operation::InsertMany(many) => {
                keys.many(many).into_iter().for_each(|key| current.insert(key, numbers));
            }
            Operation::Remove(key) => current.remove(&keys.one(key)),
            Operation::RemoveMany(many) => {
                keys.many(many).iter().for_each(|key| current.remove(key));
            }
            Operation::Get(key) => current.get(&keys.one(key)),
            Operation::GetMut(key) => current.get_mut(&keys.one(key), numbers),
            Operation::Prefixes(key) => current.prefixes(&keys.one(key)),
            Operation::Entry(key, entry) => current.entry(&keys.one(key), entry, numbers),
            Operation::FirstEntry(entry) => {
                let pair = (current.trie.first_entry(), current.model.first_entry());
                use_edge(pair, entry, numbers);
            }
            Operation::LastEntry(entry) => {
                let pair = (current.trie.last_entry(), current.model.last_entry());
                use_edge(pair, entry, numbers);
            }
            Operation::PopFirst { times } => {
                for _ in 0..times {
                    assert_eq!(current.trie.pop_first(), current.model.pop_first());
                }
            }
            Operation::PopLast { times } => {
                for _ in 0..times {
                    assert_eq!(current.trie.pop_last(), current.model.pop_last());
                }
            }
            Operation::Iterate(part, steps) => {
                let part = part.made(keys);
                same(of_trie(&current.trie, &part), of_model(&current.model, &part), steps);
            }
            Operation::Cursor(part, steps) => {
                same_by_cursor(&current.trie, &current.model, &part.made(keys), steps);
            }
            Operation::Mutate(part, steps) => current.mutate(&part.made(keys), steps, numbers),
            Operation::Retain(pick) => current.retain(pick, numbers),
            Operation::ExtractIf(start, end, pick, count) => {
                current.extract_if(bounds(start, end, keys), pick, count);
            }
            Operation::SplitOff(key, rest) => {
                let key = keys.one(key);
                let trie = current.trie.split_off(&key);
                let model = current.model.split_off(&key);
                self.put_aside(Pair { trie, model }, rest);
            }
            Operation::RemovePrefix(key, rest) => {
                let prefix = keys.one(key);
                let trie = current.trie.remove_prefix(&prefix);
                let begins = |key: &Vec<u8>, _: &mut Value| key.starts_with(&prefix);
                let model = current.model.extract_if(.., begins).collect();
                self.put_aside(Pair { trie, model }, rest);
            }
            Operation::Append(source) => self.append(source),
            Operation::Snapshot => {
                let snapshot = self.current.snapshot();
                self.keep(snapshot);
            }
            Operation::Swap(number) => {
                if let Some(index) = self.other(number) {
                    mem::swap(&mut self.current, &mut self.others[index]);
                }
            }
            Operation::Drop(number) => {
                if let Some(index) = self.other(number) {
                    self.others.remove(index).compare();
                }
            }
            Operation::Whole(whole) => current.whole(whole, keys, numbers),
        }
    }

    fn other(&self, number: u8) -> Option<usize> {
        usize::from(number).checked_rem(self.others.len())
    }

    /// Keeps another trie live, in the place of the oldest one if there are too many.
    fn keep(&mut self, pair: Pair) {
        if self.others.len() == OTHERS_MAX {
            self.others.remove(0).compare();
        }
        self.others.push(pair);
    }

    fn put_aside(&mut self, mut cut: Pair, rest: Rest) {
        match rest {
            Rest::Keep => self.keep(cut),
            Rest::Swap => {
                mem::swap(&mut self.current, &mut cut);
                self.keep(cut);
            }
            Rest::Drop => {
                cut.check();
                cut.compare();
            }
        }
    }

    fn append(&mut self, source: Source) {
        let mut added = Pair::default();
        match source {
            Source::Keys(keys) => {
                let keys = keys.into_iter().map(|key| self.keys.one(key));
                keys.for_each(|key| added.insert(key, &mut self.numbers));
            }
            Source::Many(many) => {
                let keys = self.keys.many(many).into_iter();
                keys.for_each(|key| added.insert(key, &mut self.numbers));
            }
            Source::Shared(number) => {
                if let Some(index) = self.other(number) {
                    added = self.others[index].snapshot();
                }
            }
            Source::Moved(number) => {
                if let Some(index) = self.other(number) {
                    added = self.others.remove(index);
                }
            }
        }
        self.current.trie.append(&mut added.trie);
        self.current.model.append(&mut added.model);
        added.check();
    }
}

impl Pair {
    fn check(&self) {
        self.trie.check();
        assert_eq!(self.trie.len(), self.model.len());
        assert_eq!(self.trie.is_empty(), self.model.is_empty());
    }

    fn compare(&self) {
        let mut right = self.model.iter();
        let mut cursor = self.trie.cursor();
        while let Some((key, value)) = cursor.next() {
            assert_eq!(Some((key, value)), right.next().map(|(key, value)| (&key[..], value)));
        }
        assert_eq!(right.next(), None, "the trie has all entries");
    }

    fn snapshot(&self) -> Self {
        Self { trie: self.trie.snapshot(), model: self.model.clone() }
    }

    fn insert(&mut self, key: Vec<u8>, numbers: &mut Numbers) {
        let number = numbers.next();
        let old = self.trie.insert(&key, Value::new(number));
        assert_eq!(old, self.model.insert(key, Value::new(number)));
    }

    fn remove(&mut self, key: &[u8]) {
        assert_eq!(self.trie.remove(key), self.model.remove(key));
    }

    fn get(&self, key: &[u8]) {
        assert_eq!(self.trie.get(key), self.model.get(key));
        assert_eq!(self.trie.contains_key(key), self.model.contains_key(key));
    }

    fn get_mut(&mut self, key: &[u8], numbers: &mut Numbers) {
        let pair = (self.trie.get_mut(key), self.model.get_mut(key));
        assert_eq!(pair.0, pair.1);
        if let (Some(left), Some(right)) = pair {
            set_both((left, right), numbers);
        }
    }

    fn prefixes(&self, key: &[u8]) {
        let right = self.model.iter().filter(|(prefix, _)| key.starts_with(prefix));
        let right = right.map(|(prefix, value)| (&prefix[..], value));
        assert_eq!(self.trie.longest_prefix(key), right.clone().next_back());
        assert!(self.trie.prefixes(key).eq(right), "the stored prefixes are those");
    }

    fn entry(&mut self, key: &[u8], entry: EntryUse, numbers: &mut Numbers) {
        let (number, other) = (numbers.next(), numbers.next());
        let value = || Value::new(number);
        let (left, right) = (self.trie.entry(key), self.model.entry(key.to_vec()));
        match entry {
            EntryUse::OrInsert => {
                let pair = (left.or_insert(value()), right.or_insert(value()));
                assert_eq!(pair.0, pair.1);
                set_both(pair, numbers);
            }
            EntryUse::ModifyOrInsert => {
                let left = left.and_modify(|value| value.set(other)).or_insert_with(value);
                let right = right.and_modify(|value| value.set(other)).or_insert_with(value);
                assert_eq!(left, right);
            }
            EntryUse::Replace | EntryUse::Toggle => match (left, right) {
                (Entry::Occupied(left), btree_map::Entry::Occupied(right)) => {
                    use_occupied(left, right, entry, value);
                }
                (Entry::Vacant(left), btree_map::Entry::Vacant(right)) => {
                    if let EntryUse::Toggle = entry {
                        assert_eq!(left.insert(value()), right.insert(value()));
                    } else {
                        assert_eq!(left.into_key(), right.into_key());
                    }
                }
                (left, _) => panic!("only one of them has the key {:?}", left.key().escape_ascii()),
            },
        }
    }

    fn mutate(&mut self, part: &Part<Vec<u8>>, steps: Steps, numbers: &mut Numbers) {
        let (left, right) =
            (of_trie_mut(&mut self.trie, part), of_model_mut(&mut self.model, part));
        // All references are live before the first is written through.
        for ((_, left), (_, right)) in same(left, right, steps) {
            set_both((left, right), numbers);
        }
    }

    fn retain(&mut self, pick: Pick, numbers: &mut Numbers) {
        let number = numbers.next();
        let mut asked = Vec::new();
        self.trie.retain(|key, value| {
            asked.push(key.to_vec());
            let is_kept = !pick.picks(key, value.number());
            value.set(number);
            is_kept
        });
        assert!(asked.iter().eq(self.model.keys()), "each entry is asked about, in order");
        self.model.retain(|key, value| {
            let is_kept = !pick.picks(key, value.number());
            value.set(number);
            is_kept
        });
    }

    fn extract_if(
        &mut self,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        pick: Pick,
        count: Option<u8>,
    ) {
        let count = count.map_or(usize::MAX, usize::from);
        let picks = |value: &mut Value, key: &[u8]| pick.picks(key, value.number());
        let left = self.trie.extract_if(bounds.clone(), |key, value| picks(value, key));
        let left: Vec<_> = left.take(count).collect();
        let right = self.model.extract_if(bounds, |key, value| picks(value, key));
        assert_eq!(left, right.take(count).collect::<Vec<_>>());
    }

    fn whole(&mut self, whole: Whole, keys: &mut Keys, numbers: &mut Numbers) {
        match whole {
            Whole::FromSorted => {
                let built = Trie::from_sorted(self.model.clone());
                assert_eq!(built.as_ref(), Ok(&self.trie));
                self.trie = built.unwrap_or_default();
            }
            Whole::FromKeys(list) => self.build(list, keys, numbers),
            Whole::Clone => {
                let copy = self.trie.clone();
                assert_eq!(copy, self.trie);
                self.trie = copy;
            }
            Whole::Clear => {
                self.trie.clear();
                self.model.clear();
            }
            Whole::IntoIter(copied, steps) => {
                let pair = match copied {
                    Copied::Clone => Self { trie: self.trie.clone(), model: self.model.clone() },
                    Copied::Snapshot => self.snapshot(),
                    Copied::Not => mem::take(self),
                };
                let iter = pair.trie.into_iter();
                assert_eq!(iter.len(), pair.model.len());
                same(iter, pair.model.into_iter(), steps);
            }
        }
    }

    /// Goes on with a trie of these keys, if they ascend.
    fn build(&mut self, list: Vec<Key>, keys: &mut Keys, numbers: &mut Numbers) {
        let number = numbers.next();
        let list: Vec<_> = list.into_iter().map(|key| keys.one(key)).collect();
        let built = Trie::from_sorted(list.iter().map(|key| (key, Value::new(number))));
        let ascend = list.iter().is_sorted_by(|left, right| left < right);
        match built {
            Ok(trie) => {
                assert!(ascend, "keys that don't ascend are refused");
                let model = list.into_iter().map(|key| (key, Value::new(number))).collect();
                *self = Self { trie, model };
            }
            Err(error) => {
                let at = error.position();
                assert!(list[..at].is_sorted_by(|left, right| left < right));
                assert!(list[at - 1] >= list[at], "the first that doesn't ascend is named");
            }
        }
    }
}

fn set_both((left, right): (&mut Value, &mut Value), numbers: &mut Numbers) {
    let number = numbers.next();
    left.set(number);
    right.set(number);
}

type Edge<'a> = (
    Option<OccupiedEntry<'a, Vec<u8>, Value>>,
    Option<btree_map::OccupiedEntry<'a, Vec<u8>, Value>>,
);

fn use_edge(pair: Edge<'_>, entry: EntryUse, numbers: &mut Numbers) {
    assert_eq!(pair.0.is_some(), pair.1.is_some());
    let (Some(left), Some(right)) = pair else { return };
    assert_eq!(left.key(), right.key());
    let number = numbers.next();
    use_occupied(left, right, entry, || Value::new(number));
}

fn use_occupied<K>(
    mut left: OccupiedEntry<'_, K, Value>,
    mut right: btree_map::OccupiedEntry<'_, Vec<u8>, Value>,
    entry: EntryUse,
    value: impl Fn() -> Value,
) {
    assert_eq!(left.get(), right.get());
    match entry {
        EntryUse::Toggle => assert_eq!(left.remove(), right.remove()),
        EntryUse::Replace => assert_eq!(left.insert(value()), right.insert(value())),
        EntryUse::OrInsert | EntryUse::ModifyOrInsert => {
            *left.get_mut() = value();
            *right.get_mut() = value();
            assert_eq!(left.into_mut(), right.into_mut());
        }
    }
}

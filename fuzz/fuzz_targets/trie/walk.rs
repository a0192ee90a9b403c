//! Walks over parts of a trie and of its model, in step.

use crate::operation::{Part, Steps};
use crate::value::Value;
use crate::world::Model;
use std::fmt::Debug;
use triekv::trie::{Cursor, Trie};

type Entries<'a, V> = Box<dyn DoubleEndedIterator<Item = (Vec<u8>, V)> + 'a>;

/// Takes the same steps of both, which must yield the same. Returns all items, live together.
pub(crate) fn same<T: Debug + PartialEq>(
    mut left: impl DoubleEndedIterator<Item = T>,
    mut right: impl DoubleEndedIterator<Item = T>,
    steps: Steps,
) -> Vec<(T, T)> {
    let mut items = Vec::new();
    for at_back in steps.at_back() {
        let pair = if at_back {
            (left.next_back(), right.next_back())
        } else {
            (left.next(), right.next())
        };
        assert_eq!(pair.0, pair.1);
        let (Some(left_item), Some(right_item)) = pair else {
            assert_eq!((left.next(), left.next_back()), (None, None), "the end is the end");
            break;
        };
        items.push((left_item, right_item));
    }
    items
}

/// As [`same`], for a cursor, which is then asked for the rest at once.
pub(crate) fn same_by_cursor(
    trie: &Trie<Value>,
    model: &Model,
    part: &Part<Vec<u8>>,
    steps: Steps,
) {
    let (mut cursor, mut right) = (cursor(trie, part), of_model(model, part));
    for at_back in steps.at_back() {
        let (left, right) = if at_back {
            (cursor.next_back(), right.next_back())
        } else {
            (cursor.next(), right.next())
        };
        assert_eq!(left.map(|(key, value)| (key.to_vec(), value)), right);
        if right.is_none() {
            break;
        }
    }
    cursor.for_each(|key, value| assert_eq!(Some((key.to_vec(), value)), right.next()));
    assert_eq!(right.next(), None, "the cursor had all that was left");
}

fn cursor<'a>(trie: &'a Trie<Value>, part: &Part<Vec<u8>>) -> Cursor<'a, Value> {
    match part {
        Part::All => trie.cursor(),
        Part::Range(start, end) => trie.cursor_range((start.as_ref(), end.as_ref())),
        Part::Prefix(prefix) => trie.cursor_prefix(prefix),
    }
}

pub(crate) fn of_trie<'a>(trie: &'a Trie<Value>, part: &Part<Vec<u8>>) -> Entries<'a, &'a Value> {
    match part {
        Part::All => Box::new(trie.iter()),
        Part::Range(start, end) => Box::new(trie.range((start.as_ref(), end.as_ref()))),
        Part::Prefix(prefix) => Box::new(trie.prefix(prefix)),
    }
}

pub(crate) fn of_model<'a>(model: &'a Model, part: &'a Part<Vec<u8>>) -> Entries<'a, &'a Value> {
    let own = |(key, value): (&Vec<u8>, &'a Value)| (key.clone(), value);
    match part {
        Part::All => Box::new(model.iter().map(own)),
        Part::Range(start, end) => {
            Box::new(model.range::<Vec<u8>, _>((start.as_ref(), end.as_ref())).map(own))
        }
        Part::Prefix(prefix) => {
            Box::new(model.iter().filter(|(key, _)| key.starts_with(prefix)).map(own))
        }
    }
}

pub(crate) fn of_trie_mut<'a>(
    trie: &'a mut Trie<Value>,
    part: &Part<Vec<u8>>,
) -> Entries<'a, &'a mut Value> {
    match part {
        Part::All => Box::new(trie.iter_mut()),
        Part::Range(start, end) => Box::new(trie.range_mut((start.as_ref(), end.as_ref()))),
        Part::Prefix(prefix) => Box::new(trie.prefix_mut(prefix)),
    }
}

pub(crate) fn of_model_mut<'a>(
    model: &'a mut Model,
    part: &'a Part<Vec<u8>>,
) -> Entries<'a, &'a mut Value> {
    let own = |(key, value): (&Vec<u8>, &'a mut Value)| (key.clone(), value);
    match part {
        Part::All => Box::new(model.iter_mut().map(own)),
        Part::Range(start, end) => {
            Box::new(model.range_mut::<Vec<u8>, _>((start.as_ref(), end.as_ref())).map(own))
        }
        Part::Prefix(prefix) => {
            Box::new(model.iter_mut().filter(|(key, _)| key.starts_with(prefix)).map(own))
        }
    }
}

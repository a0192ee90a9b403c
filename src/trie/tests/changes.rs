//! Every way to change a trie, as a table, for tests of what else a change does.

use super::super::*;
use super::values::{Counted, Value};
use std::collections::BTreeMap;

/// The numbers in a trie, without values that are counted.
pub(super) type Content = BTreeMap<Vec<u8>, u32>;

pub(super) type Change = fn(&mut Trie<Counted>);

/// People with numbers, and keys above and below them: one that begins them all, one that one begins.
pub(super) fn fill(people: usize) -> Trie<Counted> {
    let people = (0..people).map(|number| format!("person{number}"));
    let more = ["", "p", "person", "person1/name", "person1/name/first"].map(str::to_owned);
    let keys = people.chain(more).chain([format!("person2/{}", "long".repeat(100))]);
    keys.zip(0..).map(|(key, number)| (key, Counted::of(number))).collect()
}

pub(super) fn content_of(trie: &Trie<Counted>) -> Content {
    let mut content = Content::new();
    let mut cursor = trie.cursor();
    while let Some((key, value)) = cursor.next() {
        assert!(content.last_key_value().is_none_or(|(last, _)| &last[..] < key));
        content.insert(key.to_vec(), value.number());
    }
    content
}

fn thousand_more(value: &mut Counted) {
    value.change(|number| number % 1000 + 1000);
}

/// Changes of a trie that is made by [`fill`], by the words of the method.
pub(super) const CHANGES: &[(&str, Change)] = &[
    ("insert, new leaf", |trie| drop(trie.insert("person17/age", Counted::of(500)))),
    ("insert, new prefix", |trie| drop(trie.insert("perso", Counted::of(500)))),
    ("insert, apart", |trie| drop(trie.insert("q", Counted::of(500)))),
    ("insert, long", |trie| drop(trie.insert(vec![b'p'; 1000], Counted::of(500)))),
    ("insert, over", |trie| drop(trie.insert("person2", Counted::of(500)))),
    ("insert, over the empty key", |trie| drop(trie.insert("", Counted::of(500)))),
    ("insert, many", |trie| {
        trie.extend((0..80).map(|number| (format!("person1{number:02}"), Counted::of(500))));
    }),
    ("get_mut", |trie| trie.get_mut("person1/name").into_iter().for_each(thousand_more)),
    ("get_mut, the empty key", |trie| trie.get_mut("").into_iter().for_each(thousand_more)),
    ("remove", |trie| drop(trie.remove("person1"))),
    ("remove, absent", |trie| drop(trie.remove("person1/nam"))),
    ("remove, above all", |trie| drop(trie.remove("person"))),
    ("remove_entry", |trie| drop(trie.remove_entry("person1/name/first"))),
    ("remove, many", |trie| {
        (0..80).for_each(|number| drop(trie.remove(&format!("person{number}"))));
    }),
    ("entry, or_insert", |trie| thousand_more(trie.entry("person0/x").or_insert(Counted::of(3)))),
    ("entry, or_default", |trie| thousand_more(trie.entry("person1").or_default())),
    ("entry, and_modify", |trie| {
        trie.entry("person2").and_modify(thousand_more).or_default();
    }),
    ("entry, vacant and left", |trie| _ = trie.entry("person2/none")),
    ("entry, occupied and left", |trie| _ = trie.entry("person2")),
    ("entry, remove", |trie| {
        if let Entry::Occupied(entry) = trie.entry("person1") {
            drop(entry.remove_entry());
        }
    }),
    ("first_entry, insert", |trie| {
        trie.first_entry().into_iter().for_each(|mut entry| drop(entry.insert(Counted::of(500))));
    }),
    ("last_entry, remove", |trie| {
        trie.last_entry().into_iter().for_each(|entry| drop(entry.remove()));
    }),
    ("pop_first", |trie| drop((trie.pop_first(), trie.pop_first()))),
    ("pop_last", |trie| drop((trie.pop_last(), trie.pop_last()))),
    ("iter_mut", |trie| trie.iter_mut().for_each(|(_, value)| thousand_more(value))),
    ("iter_mut, both ends", |trie| {
        let mut iter = trie.iter_mut();
        while let (Some((_, first)), Some((_, last))) = (iter.next(), iter.next_back()) {
            thousand_more(first);
            thousand_more(last);
        }
    }),
    ("values_mut, back", |trie| trie.values_mut().rev().take(5).for_each(thousand_more)),
    ("range_mut", |trie| {
        trie.range_mut("person1"..="person3").for_each(|(_, value)| thousand_more(value));
    }),
    ("prefix_mut", |trie| {
        trie.prefix_mut("person1").for_each(|(_, value)| thousand_more(value));
    }),
    ("retain", |trie| {
        trie.retain(|_, value| !value.number().is_multiple_of(3));
    }),
    ("retain, none", |trie| trie.retain(|_, _| false)),
    ("extract_if", |trie| {
        trie.extract_if("person1".., |_, value| value.number() % 2 == 0).take(3).for_each(drop);
    }),
    ("append", |trie| {
        trie.append(&mut Trie::from(
            ["", "person1", "person1/x", "z"].map(|key| (key, Counted::of(500))),
        ));
    }),
    ("append to itself", |trie| {
        let mut other = trie.snapshot();
        trie.append(&mut other);
    }),
    ("split_off", |trie| drop(trie.split_off("person2"))),
    ("split_off and append", |trie| {
        let mut upper = trie.split_off("person1/name");
        trie.append(&mut upper);
    }),
    ("remove_prefix", |trie| drop(trie.remove_prefix("person1"))),
    ("remove_prefix and append", |trie| {
        let mut cut = trie.remove_prefix("person1/name");
        cut.values_mut().for_each(thousand_more);
        trie.append(&mut cut);
    }),
    ("clear", Trie::clear),
    ("into_iter", |trie| {
        let taken = mem::take(trie);
        taken.into_iter().for_each(drop);
    }),
    ("into_iter, some of both ends", |trie| {
        let mut taken = mem::take(trie).into_iter();
        drop((taken.next(), taken.next_back(), taken.next()));
    }),
    ("into_values", |trie| {
        let values = mem::take(trie).into_values();
        drop(values.rev().take(2).collect::<Vec<_>>());
    }),
    ("clone", |trie| *trie = trie.clone()),
    ("snapshot", |trie| {
        let snapshot = trie.snapshot();
        trie.insert("person0", Counted::of(500));
        drop(snapshot);
    }),
];

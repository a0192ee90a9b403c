//! Panics of the caller's code in the middle of an operation: in the clone of a value, in its drop, in
//! a closure, in an iterator.

use super::super::page::Page;
use super::super::*;
use super::changes::{CHANGES, Change, Content, content_of, fill};
use super::keys::shuffle;
use super::shapes::short_keys_and_longer_ones_with_zeros;
use super::values::{Count, Counted, Value};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// From entries for one node to entries for several levels of them.
const PEOPLE: [usize; 2] = if cfg!(miri) { [2, 8] } else { [3, 70] };

fn panics(operation: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(operation)).is_err()
}

/// Asserts that the trie is one, and that each entry is one from before or after the change.
fn assert_between(trie: &Trie<Counted>, before: &Content, after: &Content, context: &str) {
    trie.check();
    let found = content_of(trie);
    assert_eq!(found.len(), trie.len(), "{context}");
    for (key, number) in &found {
        assert_eq!(trie.get(key).map(Value::number), Some(*number), "{context}");
        let values = [before.get(key), after.get(key)];
        assert!(values.contains(&Some(number)), "{context}: {number} at {}", key.escape_ascii());
    }
}

/// Makes each change again and again, with a panic in the first, the second, the third of what `arm`
/// lets panic, until it gets through. Then makes it once more on what the panic left.
fn panic_everywhere(arm: fn(&Count, usize), is_shared: bool) {
    for people in PEOPLE {
        for &(name, change) in CHANGES {
            let mut good = 0;
            while panics_in_the_change(arm, good, is_shared, people, (name, change)) {
                good += 1;
            }
        }
    }
}

fn panics_in_the_change(
    arm: fn(&Count, usize),
    good: usize,
    is_shared: bool,
    people: usize,
    (name, change): (&str, Change),
) -> bool {
    let context = format!("{name} of {people} people, panic after {good}");
    let count = Count::new();
    let mut trie = fill(people);
    let before = content_of(&trie);
    let mut changed = trie.clone();
    change(&mut changed);
    let after = content_of(&changed);
    drop(changed);
    let snapshot = if is_shared { trie.snapshot() } else { Trie::new() };

    arm(&count, good);
    let stopped = panics(|| change(&mut trie));
    assert_eq!(count.disarm(), stopped, "{context}");

    assert_between(&trie, &before, &after, &context);
    if !stopped {
        assert_eq!(content_of(&trie), after, "{context}");
    }
    if is_shared {
        snapshot.check();
        assert_eq!(content_of(&snapshot), before, "{context}");
    }
    trie.insert("still a map", Counted::of(1));
    change(&mut trie);
    trie.check();
    drop(trie);
    if is_shared {
        assert_eq!(content_of(&snapshot), before, "{context}");
    }
    drop(snapshot);
    count.assert_none_was_dropped_twice();
    assert_eq!(count.live(), 0, "leaked by {context}");
    stopped
}

#[test]
fn a_clone_that_panics_leaves_a_whole_trie_and_leaks_nothing() {
    panic_everywhere(Count::panic_in_clone, false);
}

#[test]
fn a_clone_that_panics_in_a_write_after_a_snapshot_leaves_both_whole() {
    panic_everywhere(Count::panic_in_clone, true);
}

#[test]
fn a_clone_that_panics_while_children_are_gathered_loses_nothing() {
    let (most, more) = if cfg!(miri) { (3, 5) } else { (12, 40) };
    let mut keys = short_keys_and_longer_ones_with_zeros(most, more);
    shuffle(&mut keys, 1);
    let count = Count::new();
    let (mut trie, mut model, mut gathered) = (Trie::new(), Content::new(), 0);
    for (number, key) in (0u32..).zip(keys) {
        let snapshot = trie.snapshot();
        // Two pages and some values on the way are what any insertion may clone.
        let mut good = 2 * Page::<Counted>::LEN_MAX + 8;
        loop {
            let context = format!("after {number} keys, panic after {good}");
            count.panic_in_clone(good);
            let stopped = panics(|| drop(trie.insert(&key, Counted::of(number))));
            assert_eq!(count.disarm(), stopped, "{context}");
            if !stopped {
                break;
            }
            gathered += 1;
            trie.check();
            assert_eq!(content_of(&trie), model, "{context}");
            assert_eq!(trie.len(), model.len(), "{context}");
            assert_eq!(content_of(&snapshot), model, "{context}");
            // All is shared again.
            trie = snapshot.snapshot();
            good = good * 3 / 2;
        }
        drop(snapshot);
        model.insert(key, number);
    }
    trie.check();
    assert_eq!(content_of(&trie), model);
    assert!(gathered > 0, "nothing was gathered");
    drop(trie);
    count.assert_none_was_dropped_twice();
    assert_eq!(count.live(), 0);
}

#[test]
fn a_drop_that_panics_leaves_a_whole_trie_and_takes_no_other_value_with_it() {
    panic_everywhere(Count::panic_in_drop, false);
}

#[test]
fn a_drop_that_panics_after_a_snapshot_leaves_both_whole() {
    panic_everywhere(Count::panic_in_drop, true);
}

#[test]
fn a_drop_that_panics_in_the_drop_of_a_shared_trie_is_in_the_last_owner() {
    for good in 0..fill(PEOPLE[1]).len() {
        let count = Count::new();
        let trie = fill(PEOPLE[1]);
        let mut snapshot = trie.snapshot();
        drop(trie);
        snapshot.check();
        snapshot.insert("person1", Counted::of(1));
        count.panic_in_drop(good);
        assert!(panics(|| drop(snapshot)));
        count.assert_all_were_dropped_once();
    }
}

#[test]
fn append_leaves_two_whole_tries_when_a_clone_panics() {
    for good in 0.. {
        let count = Count::new();
        let mut trie = fill(PEOPLE[1]);
        let mut other: Trie<_> = (0..60).map(|n| (format!("person{n}x"), Counted::of(n))).collect();
        let snapshots = (trie.snapshot(), other.snapshot());
        count.panic_in_clone(good);
        let stopped = panics(|| trie.append(&mut other));
        assert_eq!(count.disarm(), stopped);
        for whole in [&trie, &other, &snapshots.0, &snapshots.1] {
            whole.check();
            assert_eq!(content_of(whole).len(), whole.len());
        }
        assert_eq!(content_of(&snapshots.0), content_of(&fill(PEOPLE[1])));
        assert_eq!(snapshots.1.len(), 60);
        drop((trie, other, snapshots));
        count.assert_none_was_dropped_twice();
        if !stopped {
            break;
        }
    }
}

#[test]
fn a_closure_that_panics_leaves_a_whole_trie_and_its_snapshot() {
    let count = Count::new();
    let whole = fill(PEOPLE[1]);
    let before = content_of(&whole);
    for stop in 0..whole.len() {
        let mut trie = whole.snapshot();
        let asked = Cell::new(0);
        assert!(panics(|| trie.retain(|_, _| {
            assert_ne!(asked.get(), stop, "stop here");
            asked.set(asked.get() + 1);
            asked.get().is_multiple_of(2)
        })));
        trie.check();
        let kept = before.iter().enumerate().filter(|(index, _)| *index >= stop || index % 2 == 1);
        let kept: Content = kept.map(|(_, (key, number))| (key.clone(), *number)).collect();
        assert_eq!(content_of(&trie), kept);
        whole.check();
        assert_eq!(content_of(&whole), before);
    }
    drop(whole);
    count.assert_all_were_dropped_once();
}

#[test]
fn a_default_that_panics_leaves_the_trie_as_it_was() {
    let count = Count::new();
    for people in PEOPLE {
        let whole = fill(people);
        for key in ["", "p", "pe", "person", "person1", "person1x", "person1/name/x", "q"] {
            let mut trie = whole.snapshot();
            let refused = panics(|| {
                trie.entry(key).or_insert_with(|| panic!("no value"));
            });
            assert_eq!(refused, !whole.contains_key(key));
            trie.check();
            assert_eq!(trie, whole);
        }
    }
    count.assert_all_were_dropped_once();
}

/// Entries of which the one at `stop` is never reached.
fn entries_up_to(stop: usize) -> impl Iterator<Item = (String, Counted)> {
    (0..200).map(move |number| {
        assert!(number < stop, "no more entries");
        (format!("person{number:03}"), Counted::of(number.try_into().unwrap()))
    })
}

#[test]
fn an_iterator_that_panics_leaves_what_it_gave_to_extend() {
    for stop in (0..200).step_by(if cfg!(miri) { 40 } else { 1 }) {
        let count = Count::new();
        let mut trie = Trie::new();
        assert!(panics(|| trie.extend(entries_up_to(stop))));
        trie.check();
        assert_eq!(trie.len(), stop);
        assert!(panics(|| drop(entries_up_to(stop).collect::<Trie<_>>())));
        assert!(panics(|| drop(Trie::from_sorted(entries_up_to(stop)))));
        assert_eq!(count.live(), stop);
        drop(trie);
        count.assert_all_were_dropped_once();
    }
}

#[test]
fn entries_that_do_not_ascend_are_dropped_once() {
    for unsorted in (1..200).step_by(if cfg!(miri) { 40 } else { 1 }) {
        let count = Count::new();
        let entries = entries_up_to(200).enumerate().map(|(index, (key, value))| {
            (if index == unsorted { "person".to_owned() } else { key }, value)
        });
        let error = Trie::from_sorted(entries).unwrap_err();
        assert_eq!(error.position(), unsorted);
        count.assert_all_were_dropped_once();
    }
}

/// A key that answers with other bytes each time it is asked.
struct Liar<'a> {
    answers: &'a [&'a [u8]],
    asked: Cell<usize>,
}

impl AsRef<[u8]> for Liar<'_> {
    fn as_ref(&self) -> &[u8] {
        let asked = self.asked.replace(self.asked.get() + 1);
        self.answers[asked % self.answers.len()]
    }
}

#[test]
fn a_key_that_changes_while_it_is_used_harms_no_memory() {
    let long = [b'p'; 400];
    let answers = [&b""[..], b"person1", b"p", b"person50", b"q", &long, b"person1/name/first"];
    for first in answers {
        for second in answers {
            let count = Count::new();
            let answers = [first, second];
            let liar = |asked| Liar { answers: &answers, asked: Cell::new(asked) };
            let mut trie = fill(PEOPLE[1]);
            let snapshot = trie.snapshot();
            let before = content_of(&snapshot);
            // What the trie holds is its own affair after each of these, and so is a panic.
            let _ = panics(|| drop(trie.insert(liar(0), Counted::of(1))));
            let _ = panics(|| _ = trie.entry(liar(0)).or_default());
            let _ = panics(|| drop(trie.remove_entry(&liar(0))));
            let _ = panics(|| drop(trie.split_off(&liar(0))));
            let _ = panics(|| drop(trie.remove_prefix(&liar(0))));
            let _ = panics(|| _ = trie.range_mut(liar(0)..).rev().count());
            let _ = panics(|| _ = trie.range(liar(0)..=liar(1)).count());
            let _ = panics(|| _ = trie.into_iter().count());
            snapshot.check();
            assert_eq!(content_of(&snapshot), before);
            drop(snapshot);
            count.assert_none_was_dropped_twice();
        }
    }
}

//! Snapshots: what is shared, what is copied and when, and what threads see.

use super::super::*;
use super::apply::{Model, Pair, compare_content, compare_whole};
use super::changes::{CHANGES, content_of, fill};
use super::keys::{Numbers, PEOPLE, person, shuffle};
use super::values::{Count, Counted, Value};
use std::mem::ManuallyDrop;
use std::sync::Barrier;

fn everybody() -> Trie<Counted> {
    (0..PEOPLE).zip(0..).map(|(number, value)| (person(number), Counted::of(value))).collect()
}

#[test]
fn a_change_of_one_owner_is_seen_by_no_other() {
    for people in [2, if cfg!(miri) { 12 } else { 150 }] {
        for &(name, change) in CHANGES {
            let count = Count::new();
            let mut trie = fill(people);
            let before = content_of(&trie);
            let mut changed = trie.clone();
            change(&mut changed);
            let after = content_of(&changed);

            let mut first = trie.snapshot();
            let second = first.snapshot();
            change(&mut trie);
            assert_eq!(content_of(&trie), after, "{name}");
            assert_eq!(content_of(&first), before, "{name}");
            drop(trie);
            change(&mut first);
            assert_eq!(content_of(&first), after, "{name}");
            assert_eq!(content_of(&second), before, "{name}");
            let mut third = first.snapshot();
            drop(first);
            change(&mut third);
            for trie in [&changed, &second, &third] {
                trie.check();
            }
            assert_eq!(content_of(&second), before, "{name}");
            drop((changed, second, third));
            count.assert_all_were_dropped_once();
        }
    }
}

#[test]
fn each_snapshot_of_a_history_keeps_its_time() {
    let count = Count::new();
    let mut keys: Vec<_> = (0..if cfg!(miri) { 30 } else { 300 }).map(person).collect();
    shuffle(&mut keys, 5);
    let (mut trie, mut model) = (Trie::new(), Model::new());
    let mut history: Vec<Pair<Counted>> = Vec::new();
    for (key, number) in keys.iter().zip(0..) {
        history.push((trie.snapshot(), model.clone()));
        trie.insert(key, Counted::of(number));
        model.insert(key.clone(), Counted::of(number));
    }
    for key in &keys {
        history.push((trie.snapshot(), model.clone()));
        assert_eq!(trie.remove(key), model.remove(key));
    }
    assert!(trie.is_empty());
    shuffle(&mut history, 6);
    while let Some((old, model)) = history.pop() {
        compare_content(&old, &model);
    }
    count.assert_all_were_dropped_once();
}

#[test]
fn a_snapshot_copies_no_value() {
    let count = Count::new();
    let trie = everybody();
    count.panic_in_clone(0);
    let snapshot = trie.snapshot();
    let again = snapshot.snapshot();
    assert_eq!(count.live(), PEOPLE);
    // Nor does a read.
    assert_eq!(trie, again);
    assert!(snapshot.range("person1".."person2").rev().eq(trie.prefix("person1").rev()));
    assert_eq!(
        snapshot.longest_prefix("person1x"),
        again.get("person1").map(|value| (&b"person1"[..], value))
    );
    drop((trie, snapshot));
    assert_eq!(count.live(), PEOPLE);
    assert!(!count.disarm());
    drop(again);
    count.assert_all_were_dropped_once();
}

#[test]
fn a_write_after_a_snapshot_copies_few_values() {
    /// The key that it has left in a node of the trie's own is beside it.
    type Write = fn(&mut Trie<Counted>);
    let few = if cfg!(miri) { PEOPLE / 2 } else { PEOPLE / 10 };
    let writes: [(Write, Option<&str>); 6] = [
        (|trie| drop(trie.insert("person11x", Counted::of(1))), Some("person11x")),
        (|trie| drop(trie.insert("person11", Counted::of(1))), Some("person11")),
        (|trie| drop(trie.remove("person11")), None),
        (|trie| trie.get_mut("person11").unwrap().change(|number| number + 1), Some("person11")),
        (|trie| drop(trie.pop_last()), None),
        (
            |trie| {
                let people = trie.range_mut("person11"..="person11");
                people.for_each(|(_, value)| *value = Counted::of(1));
            },
            Some("person11"),
        ),
    ];
    for (write, own) in writes {
        let count = Count::new();
        let mut trie = everybody();
        let snapshot = trie.snapshot();
        write(&mut trie);
        assert!(count.live() < PEOPLE + few, "{} values more", count.live() - PEOPLE);
        if let Some(key) = own {
            count.panic_in_clone(0);
            trie.get_mut(key).unwrap().change(|number| number + 1);
            trie.get_mut(key).unwrap().change(|number| number + 1);
            assert!(!count.disarm(), "nothing is cloned");
        }
        drop(snapshot);
        drop(trie);
        count.assert_all_were_dropped_once();
    }
}

#[test]
fn a_write_copies_nothing_when_the_snapshot_is_gone() {
    let count = Count::new();
    let trie = everybody();
    drop(trie.snapshot());
    let mut only = trie.snapshot();
    only.insert("person11", Counted::of(1));
    drop(trie);
    count.panic_in_clone(0);
    for number in 0..PEOPLE {
        only.get_mut(&person(number)).unwrap().change(|number| number + 1);
    }
    only.retain(|_, value| value.number() % 2 == 0);
    only.split_off("person4");
    assert!(!count.disarm());
    drop(only);
    count.assert_all_were_dropped_once();
}

#[test]
fn a_snapshot_of_a_chain_deeper_than_any_stack_is_no_deeper_call() {
    const DEPTH: usize = if cfg!(miri) { 40 } else { 20_000 };
    let worker = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| {
        let key = vec![b'a'; DEPTH];
        let mut trie: Trie<usize> = (1..=DEPTH).rev().map(|len| (&key[..len], len)).collect();
        let snapshot = trie.snapshot();
        trie.insert(&key, 0);
        trie.check();
        assert_eq!((trie.get(&key), snapshot.get(&key)), (Some(&0), Some(&DEPTH)));
        let mut other = snapshot.snapshot();
        other.values_mut().for_each(|value| *value += 1);
        assert!(snapshot.values().copied().eq(1..=DEPTH));
        assert!(other.values().copied().eq(2..=DEPTH + 1));
        let upper = trie.split_off(&key[..DEPTH / 2]);
        drop(trie);
        assert_eq!(upper.len(), DEPTH - DEPTH / 2 + 1);
        drop(upper);
        drop(other);
        assert!(snapshot.into_values().eq(1..=DEPTH));
    });
    worker.unwrap().join().unwrap();
}

#[test]
fn a_snapshot_of_nothing_is_a_trie() {
    let mut nothing: Trie<u32> = Trie::new();
    let mut snapshot = nothing.snapshot();
    snapshot.insert("a", 1);
    nothing.insert("b", 2);
    nothing.remove("b");
    let mut emptied = nothing.snapshot();
    emptied.insert("", 3);
    assert_eq!((nothing.len(), snapshot.len(), emptied.len()), (0, 1, 1));
    for trie in [nothing, snapshot, emptied] {
        trie.check();
    }
}

#[test]
fn forgotten_places_and_walks_leave_a_whole_trie() {
    if cfg!(miri) {
        return; // What they own is leaked by the test itself.
    }
    let snapshot = fill(100);
    let mut trie = snapshot.snapshot();
    let _ = ManuallyDrop::new(trie.entry("person1/none"));
    let _ = ManuallyDrop::new(trie.entry("person1"));
    let _ = ManuallyDrop::new(trie.first_entry());
    let mut iter = trie.iter_mut();
    iter.next().unwrap().1.change(|number| number + 1);
    mem::forget(iter);
    let mut picks = trie.extract_if(.., |_, value| value.number() % 2 == 0);
    let removed = [picks.next().unwrap().0, picks.next().unwrap().0];
    mem::forget(picks);
    trie.check();
    assert_eq!(trie.len(), snapshot.len() - 2);
    assert!(removed.iter().all(|key| snapshot.contains_key(key) && !trie.contains_key(key)));
    let mut taken = trie.into_iter();
    taken.next();
    mem::forget(taken);
    snapshot.check();
    assert_eq!(content_of(&snapshot), content_of(&fill(100)));
}

/// Random changes of one trie, compared with its model from time to time. Keeps some snapshots.
fn change_at_random((mut trie, mut model): Pair<Counted>, seed: u64) -> Pair<Counted> {
    let mut numbers = Numbers(seed);
    let mut kept: Vec<Pair<Counted>> = Vec::new();
    for step in 0..if cfg!(miri) { 20 } else { 400 } {
        let key = person(numbers.below(PEOPLE));
        let value = || Counted::of(step);
        match numbers.below(12) {
            0..4 => assert_eq!(trie.insert(&key, value()), model.insert(key, value())),
            4..7 => assert_eq!(trie.remove(&key), model.remove(&key)),
            7 => {
                trie.entry(&key).or_default().clone_from(&value());
                model.insert(key, value());
            }
            8 => {
                trie.prefix_mut(&key).for_each(|(_, found)| *found = value());
                let inside = model.iter_mut().filter(|(found, _)| found.starts_with(&key));
                inside.for_each(|(_, found)| *found = value());
            }
            9 => {
                let (mut upper, mut cut) = (trie.split_off(&key), model.split_off(&key));
                compare_content(&upper, &cut);
                trie.append(&mut upper);
                model.append(&mut cut);
            }
            10 => kept.push((trie.snapshot(), model.clone())),
            _ => drop(kept.pop()),
        }
        if step % 50 == 0 {
            compare_content(&trie, &model);
        }
    }
    for (snapshot, model) in kept {
        compare_content(&snapshot, &model);
    }
    compare_content(&trie, &model);
    (trie, model)
}

#[test]
fn threads_that_change_snapshots_of_one_trie_see_their_own_changes_only() {
    const THREADS: u64 = 4;
    let count = Count::new();
    let mut trie = everybody();
    let mut model: Model<Counted> = trie.iter().map(|(key, value)| (key, value.clone())).collect();
    for round in 0..if cfg!(miri) { 1 } else { 4 } {
        let start = Barrier::new(THREADS.try_into().unwrap());
        let (count, start) = (&count, &start);
        (trie, model) = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..THREADS)
                .map(|thread| {
                    let pair = (trie.snapshot(), model.clone());
                    scope.spawn(move || {
                        count.enter();
                        start.wait();
                        let pair = change_at_random(pair, round * THREADS + thread);
                        // Some die where they lived, some are sent back.
                        (thread % 2 == 0).then_some(pair)
                    })
                })
                .collect();
            start.wait();
            let own = change_at_random((trie, model), round * THREADS);
            let back = threads.into_iter().filter_map(|thread| thread.join().unwrap());
            for (trie, model) in back {
                compare_whole(&trie, &model);
            }
            compare_whole(&own.0, &own.1);
            own
        });
    }
    drop((trie, model));
    count.assert_all_were_dropped_once();
}

#[test]
fn threads_that_read_one_trie_and_drop_its_snapshots_count_each_value_once() {
    let count = Count::new();
    for _ in 0..if cfg!(miri) { 2 } else { 50 } {
        let trie = fill(if cfg!(miri) { 8 } else { 60 });
        let before = content_of(&trie);
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let snapshot = trie.snapshot();
                scope.spawn(|| {
                    start.wait();
                    assert_eq!(content_of(&snapshot), before);
                    drop(snapshot);
                });
            }
            let shared = trie.snapshot();
            drop(trie);
            start.wait();
            let again = shared.snapshot();
            drop(shared);
            assert_eq!(content_of(&again), before);
        });
        count.assert_all_were_dropped_once();
    }
}

#[test]
fn a_node_left_with_one_shared_child_is_passed_by_all_that_change_the_trie() {
    // Two nodes below one, the second of which has two pages. What empties the first page leaves the
    // second one, which is shared, as the only child.
    let keys = (0..60).map(|number| match number {
        0..40 => format!("k1a{number:02}"),
        40..46 => format!("k1b{number:02}"),
        _ => format!("k0{}{number:02}", if number < 53 { 'a' } else { 'b' }),
    });
    let whole: Trie<usize> = keys.chain((0..60).map(|n| format!("k0c{n}"))).zip(0..).collect();
    let changes: [fn(&mut Trie<usize>); 4] = [
        |trie| assert_eq!(trie.remove_prefix("k1b4").len(), 6),
        |trie| assert_eq!(trie.remove_prefix("k1b42").len(), 1),
        |trie| assert_eq!(trie.insert("k1b42", 0), Some(42)),
        |trie| (40..46).for_each(|n| assert_eq!(trie.remove(&format!("k1b{n}")), Some(n))),
    ];
    for is_shared in [true, false] {
        for change in changes {
            let mut trie = whole.snapshot();
            for number in 0..40 {
                assert_eq!(trie.remove(&format!("k1a{number:02}")), Some(number));
                trie.check();
            }
            let other = if is_shared { whole.snapshot() } else { trie.snapshot() };
            change(&mut trie);
            trie.check();
            assert!(trie.iter().all(|(key, _)| trie.get(&key).is_some()));
            assert_eq!(trie.iter().count(), trie.len());
            drop(other);
        }
    }
    assert_eq!(whole.len(), 120);
    whole.check();
}

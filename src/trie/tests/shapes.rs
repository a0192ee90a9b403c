//! Sets of keys at the edges of what a node holds, filled and emptied in several orders.

use super::super::*;
use super::apply::{Model, compare_content, compare_whole};
use super::keys::{person, shuffle};
use super::values::{Count, Counted, Value, Wide};
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

/// The orders in which keys come and go.
#[derive(Clone, Copy, Debug)]
enum Order {
    Up,
    Down,
    InsideOut,
    Mixed,
}

const ORDERS: [Order; 4] = [Order::Up, Order::Down, Order::InsideOut, Order::Mixed];

fn ordered(keys: &[Vec<u8>], order: Order) -> Vec<Vec<u8>> {
    let mut keys = keys.to_vec();
    keys.sort();
    match order {
        Order::Up => {}
        Order::Down => keys.reverse(),
        Order::InsideOut => {
            let mut upper = keys.split_off(keys.len() / 2).into_iter();
            let mut inside_out = Vec::new();
            while let Some(key) = upper.next().or_else(|| keys.pop()) {
                inside_out.push(key);
                inside_out.extend(keys.pop());
            }
            keys = inside_out;
        }
        Order::Mixed => shuffle(&mut keys, 3),
    }
    keys
}

/// Inserts the keys in each order and removes them in each other, with the invariants verified after
/// each step and the contents compared after each `every`th.
fn fill_and_empty<V: Value>(keys: &[Vec<u8>], orders: &[Order], every: usize) {
    for &filling in orders {
        let (mut full, mut full_model) = (Trie::<V>::new(), Model::new());
        for (index, key) in ordered(keys, filling).into_iter().enumerate() {
            let number = u32::try_from(index).unwrap();
            assert_eq!(full.insert(&key, V::of(number)), None);
            full_model.insert(key, V::of(number));
            full.check();
            if index % every == 0 {
                compare_content(&full, &full_model);
            }
        }
        compare_whole(&full, &full_model);
        for &emptying in orders {
            let (mut trie, mut model) = (full.clone(), full_model.clone());
            for (index, key) in ordered(keys, emptying).into_iter().enumerate() {
                assert_eq!(trie.remove(&key), model.remove(&key), "{filling:?} {emptying:?}");
                assert_eq!(trie.remove(&key), None);
                trie.check();
                if index % every == 0 {
                    compare_content(&trie, &model);
                }
            }
            assert!(trie.is_empty());
        }
    }
}

#[test]
fn all_keys_of_one_byte_come_and_go_in_any_order() {
    let most = if cfg!(miri) { 60 } else { 255 };
    let mut keys: Vec<_> = (0..=most).map(|byte: u8| vec![byte]).collect();
    fill_and_empty::<u32>(&keys, &ORDERS, 16);
    keys.push(Vec::new());
    fill_and_empty::<u32>(&keys, &ORDERS[2..], 16);
    let below: Vec<_> = keys.iter().map(|key| [b"shared", &key[..], b"end"].concat()).collect();
    fill_and_empty::<u32>(&below, &ORDERS, 16);
}

#[test]
fn all_keys_of_two_bytes_make_a_trie() {
    let most: u8 = if cfg!(miri) { 15 } else { 255 };
    let mut keys: Vec<_> =
        (0..=most).flat_map(|first| (0..=most).map(move |second| vec![first, second])).collect();
    let sorted = keys.clone();
    shuffle(&mut keys, 2);
    let mut trie: Trie<usize> = keys.iter().zip(0..).collect();
    trie.check();
    assert!(trie.keys().eq(sorted.iter().cloned()));
    assert_eq!(trie.prefix(&[most]).count(), usize::from(most) + 1);
    let whole = trie.snapshot();
    for first in 0..=most {
        assert_eq!(trie.remove_prefix(&[first]).len(), usize::from(most) + 1);
        if first % 16 == 0 {
            trie.check();
        }
    }
    assert!(trie.is_empty());
    trie = whole.snapshot();
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(trie.remove(key), Some(number));
        if number % 8192 == 0 {
            trie.check();
        }
    }
    trie.check();
    whole.check();
    assert!(whole.keys().eq(sorted));
}

/// Keys of up to three bytes, and more than a page of longer ones with the head of each of the shortest.
pub(super) fn short_keys_and_longer_ones_with_zeros(most: u8, more: u8) -> Vec<Vec<u8>> {
    let mut keys = vec![Vec::new()];
    for first in 0..most {
        keys.push(vec![first]);
        for second in 0..most {
            keys.push(vec![first, second]);
            keys.extend((0..most).map(|third| vec![first, second, third]));
        }
        keys.extend((0..more).map(|last| vec![first, 0, 0, 0, last]));
        keys.extend((0..more).map(|last| vec![first, 0, 0, 0, 0, 0, last, first]));
    }
    keys
}

#[test]
fn short_keys_and_longer_ones_with_zeros_are_told_apart_below_full_nodes() {
    let (most, more) = if cfg!(miri) { (3, 5) } else { (12, 40) };
    let keys = short_keys_and_longer_ones_with_zeros(most, more);
    for &order in if cfg!(miri) { &ORDERS[3..] } else { &ORDERS } {
        let (mut trie, mut model) = (Trie::new(), Model::new());
        for (number, key) in (0u32..).zip(ordered(&keys, order)) {
            assert_eq!(trie.insert(&key, number), model.insert(key, number));
            if number % 64 == 0 {
                trie.check();
            }
        }
        compare_content(&trie, &model);
        let whole = trie.snapshot();
        for (number, key) in keys.iter().enumerate().step_by(if cfg!(miri) { 29 } else { 401 }) {
            assert!(
                trie.prefixes(&[&key[..], b"\0x"].concat())
                    .map(|(key, _)| key.to_vec())
                    .eq((0..=key.len() + 1)
                        .map(|len| [&key[..], b"\0x"].concat()[..len].to_vec())
                        .filter(|prefix| model.contains_key(prefix)),)
            );
            let (mut lower, mut left) = (whole.snapshot(), model.clone());
            let (upper, right) = (lower.split_off(key), left.split_off(key));
            let (mut rest, mut others) = (whole.snapshot(), model.clone());
            let removed = rest.remove_prefix(key);
            let inside = others.extract_if(.., |other, _| other.starts_with(key)).collect();
            for (trie, model) in
                [(&lower, &left), (&upper, &right), (&rest, &others), (&removed, &inside)]
            {
                trie.check();
                assert_eq!(trie.len(), model.len(), "{order:?} {number}");
                assert!(trie.iter().eq(model.iter().map(|(key, value)| (key.clone(), value))));
            }
        }
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(trie.remove(key), model.remove(key));
            if number % 64 == 0 {
                trie.check();
            }
        }
        assert!(trie.is_empty());
        whole.check();
    }
}

#[test]
fn keys_of_one_byte_repeated_come_and_go_in_any_order() {
    let most = if cfg!(miri) { 30 } else { 70 };
    for byte in [0, b'a', 0xff] {
        let keys: Vec<_> = (0..most).map(|len| vec![byte; len]).collect();
        fill_and_empty::<u32>(&keys, &ORDERS, 32);
    }
}

#[test]
fn any_number_of_keys_about_a_page_comes_and_goes() {
    let pages = if cfg!(miri) { 1..=10 } else { 1..=100 };
    for count in pages.step_by(3) {
        let keys: Vec<_> = (0..count).map(person).collect();
        fill_and_empty::<u32>(&keys, &ORDERS[..2], 64);
        fill_and_empty::<Wide>(&keys, &ORDERS[2..], 64);
    }
    for count in if cfg!(miri) { 3..=6 } else { 30..=34 } {
        let keys: Vec<_> = (0..count).map(person).collect();
        fill_and_empty::<String>(&keys, &ORDERS, 1);
    }
}

#[test]
fn a_page_of_keys_may_share_any_number_of_bytes() {
    let shares = [0, 1, 3, 4, 5, 250, 251, 252, 253, 254, 255, 256, 257, 258, 259, 260, 1000];
    for shared in if cfg!(miri) { &shares[8..12] } else { &shares } {
        for count in if cfg!(miri) { [4, 5] } else { [32, 33] } {
            let keys: Vec<_> =
                (0..count).map(|end: u8| [&vec![b'a'; *shared][..], &[end]].concat()).collect();
            fill_and_empty::<u32>(&keys, &ORDERS[2..], 8);
        }
    }
}

#[test]
fn a_page_of_keys_may_end_in_any_number_of_bytes() {
    let lens = (0..10).chain(250..262).chain([1024]);
    for len in lens.step_by(if cfg!(miri) { 7 } else { 1 }) {
        let count = if cfg!(miri) { 6 } else { 40 };
        let keys: Vec<_> =
            (0..count).map(|first: u8| [&[first][..], &vec![b'z'; len]].concat()).collect();
        fill_and_empty::<u32>(&keys, &ORDERS[2..], 16);
        let mixed: Vec<_> = (0..count)
            .map(|first: u8| [&[first][..], &vec![0; len + usize::from(first) % 3]].concat())
            .collect();
        fill_and_empty::<String>(&mixed, &ORDERS[2..], 16);
    }
}

#[test]
fn a_key_may_leave_a_long_shared_prefix_at_any_byte() {
    let shared = vec![b'm'; 600];
    let keys: Vec<_> = (0..40).map(|end: u8| [&shared[..], &[end]].concat()).collect();
    let whole: Trie<u32> = keys.iter().zip(0..).collect();
    for at in (0..10).chain(250..262).chain(505..520).chain([598, 599, 600]) {
        for byte in [b'a', b'z'] {
            let mut trie = whole.snapshot();
            let mut model: Model<u32> = keys.iter().cloned().zip(0..).collect();
            for key in [[&shared[..at], &[byte]].concat(), shared[..at].to_vec()] {
                assert_eq!(trie.insert(&key, 100), model.insert(key, 100));
                trie.check();
            }
            compare_content(&trie, &model);
            let (upper, cut) = (trie.split_off(&shared[..at]), model.split_off(&shared[..at]));
            compare_content(&upper, &cut);
            compare_content(&trie, &model);
            let (mut trie, mut model) = (upper.snapshot(), cut);
            for prefix in [&[&shared[..at], &[byte]].concat(), &shared[..(at + 5).min(600)]] {
                let removed = trie.remove_prefix(prefix);
                let inside = |key: &Vec<u8>, _: &mut u32| key.starts_with(prefix);
                compare_content(&removed, &model.extract_if(.., inside).collect());
                compare_content(&trie, &model);
            }
            let mut joined = upper.snapshot();
            joined.remove(&[&shared[..at], &[byte]].concat());
            joined.remove(&shared[..at]);
            joined.check();
            let kept = keys.iter().cloned().zip(0..);
            assert_eq!(joined, kept.filter(|(key, _)| key[..] >= shared[..at]).collect());
        }
    }
}

#[test]
fn five_thousand_people_make_one_trie_in_any_order() {
    let people = if cfg!(miri) { 60 } else { 5000 };
    let keys: Vec<_> = (0..people).map(person).collect();
    let model: Model<usize> = keys.iter().cloned().zip(0..).collect();
    for order in ORDERS {
        let mut trie: Trie<usize> =
            ordered(&keys, order).into_iter().map(|key| (model[&key], key)).map(swap).collect();
        trie.check();
        assert!(trie.iter().eq(model.iter().map(|(key, value)| (key.clone(), value))));
        for key in ordered(&keys, order).iter().skip(people / 2) {
            assert_eq!(trie.remove(key), Some(model[key]));
        }
        trie.check();
        assert_eq!(trie.len(), people / 2);
    }
}

fn swap<A, B>((left, right): (A, B)) -> (B, A) {
    (right, left)
}

#[test]
fn a_trie_that_lost_most_of_its_keys_is_like_one_that_never_had_them() {
    let (people, step) = if cfg!(miri) { (120, 10) } else { (20_000, 50) };
    let count = Count::new();
    let mut numbers: Vec<_> = (0..people).collect();
    shuffle(&mut numbers, 4);
    let counted = |number: usize| (person(number), Counted::of(number.try_into().unwrap()));
    let mut trie: Trie<_> = numbers.iter().copied().map(counted).collect();
    trie.check();
    for (index, number) in numbers.iter().enumerate().filter(|(_, number)| *number % step != 0) {
        assert_eq!(trie.remove(&person(*number)), Some(counted(*number).1));
        if index % (people / 20) == 0 {
            trie.check();
        }
    }
    let few: Trie<_> = (0..people).step_by(step).map(counted).collect();
    trie.check();
    assert_eq!(trie, few);
    assert_eq!(count.live(), 2 * people / step);
    trie.extend(numbers.iter().copied().map(counted));
    trie.check();
    assert_eq!(trie.len(), people);
    drop((trie, few));
    count.assert_all_were_dropped_once();
}

#[test]
fn from_sorted_makes_what_insertion_makes_and_can_be_changed() {
    let counts: Vec<usize> =
        if cfg!(miri) { vec![0, 1, 4, 5, 21] } else { (0..140).chain([1000, 1025]).collect() };
    for count in counts {
        let mut keys: Vec<_> = (0..count).map(person).collect();
        keys.sort();
        let model: Model<u32> = keys.iter().cloned().zip(0..).collect();
        let mut sorted = Trie::from_sorted(keys.iter().zip(0..)).unwrap();
        compare_whole(&sorted, &model);
        for (key, number) in &model {
            assert_eq!(sorted.insert([key, &b"x"[..]].concat(), 7), None);
            assert_eq!(sorted.remove(key), Some(*number));
        }
        sorted.check();
        assert_eq!(sorted.len(), count);
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// One set of entries with many pasts.
fn histories(keys: &[Vec<u8>]) -> Vec<(&'static str, Trie<u32>)> {
    let entries = || keys.iter().cloned().zip(0..);
    let made: Trie<u32> = entries().collect();
    let more = |key: &[u8]| [key, b"/more"].concat();

    let mut removed = made.clone();
    removed.extend(keys.iter().map(|key| (more(key), 1)));
    for key in keys {
        removed.remove(&more(key));
    }
    let mut retained = made.clone();
    retained.extend(keys.iter().map(|key| (more(key), 1)));
    retained.retain(|key, _| !key.ends_with(b"/more"));
    let mut split = made.clone();
    let mut upper = split.split_off("person2");
    split.append(&mut upper);
    let mut snapshot = made.snapshot();
    snapshot.extend(keys.iter().map(|key| (key, 7)));
    snapshot.extend(entries());
    let mut cut = made.snapshot();
    let mut prefix = cut.remove_prefix("person1");
    prefix.append(&mut cut);
    let mut halved = made.snapshot();
    halved.retain(|_, number| *number % 2 == 0);
    halved.extend(entries());
    vec![
        ("in reverse", entries().collect::<Vec<_>>().into_iter().rev().collect()),
        ("sorted", Trie::from_sorted(made.iter().map(|(key, value)| (key, *value))).unwrap()),
        ("one by one removed", removed),
        ("retained", retained),
        ("split and joined", split),
        ("a snapshot that was written over", snapshot),
        ("a prefix cut off and joined", prefix),
        ("a snapshot refilled", halved),
        ("owned entries", made.clone().into_iter().rev().collect()),
        ("made", made),
    ]
}

#[test]
fn tries_of_the_same_entries_are_equal_whatever_was_before() {
    let counts: &[usize] = if cfg!(miri) { &[1, 12] } else { &[0, 1, 31, 32, 33, 64, 65, 300] };
    for &count in counts {
        let mut keys: Vec<_> = (0..count).map(person).collect();
        keys.extend([b"".to_vec(), b"person".to_vec(), b"person2".repeat(60)]);
        shuffle(&mut keys, 8);
        let histories = histories(&keys);
        for (left_name, left) in &histories {
            left.check();
            for (right_name, right) in &histories {
                assert_eq!(left, right, "{left_name}, {right_name}");
                assert_eq!(left.cmp(right), Ordering::Equal);
                assert_eq!(hash_of(left), hash_of(right), "{left_name}, {right_name}");
                assert_eq!(format!("{left:?}"), format!("{right:?}"));
            }
            let mut greater = left.snapshot();
            *greater.get_mut("person").unwrap() += 1000;
            assert!(greater > *left && greater != *left);
            let mut other = left.snapshot();
            other.remove("person");
            other.insert("persom", 3);
            assert!(other < *left && other != *left && other.len() == left.len());
        }
    }
}

#[test]
fn both_ends_of_a_walk_meet_at_any_entry() {
    let people = if cfg!(miri) { 12 } else { 100 };
    let mut trie: Trie<u32> = (0..people).map(person).zip(0..).collect();
    let entries: Vec<_> = trie.iter().map(|(key, value)| (key, *value)).collect();
    for front in 0..=people {
        let mut iter = trie.iter();
        let mut owned = trie.snapshot().into_iter();
        let mut range = trie.range("person"..);
        for (index, (key, value)) in entries[..front].iter().enumerate() {
            assert_eq!((iter.len(), owned.len()), (people - index, people - index));
            assert_eq!(iter.next(), Some((key.clone(), value)));
            assert_eq!(owned.next(), Some((key.clone(), *value)));
            assert_eq!(range.next(), Some((key.clone(), value)));
        }
        let back = || entries[front..].iter().rev();
        assert!(iter.clone().rev().eq(back().map(|(key, value)| (key.clone(), value))));
        assert!(range.rev().eq(back().map(|(key, value)| (key.clone(), value))));
        assert!(owned.rev().eq(back().cloned()));
        let mut iter_mut = trie.iter_mut();
        let mut all: Vec<_> = iter_mut.by_ref().take(front).collect();
        all.extend(iter_mut.rev());
        assert_eq!(all.len(), people);
        for (_, value) in all {
            *value ^= 1;
        }
        trie.values_mut().for_each(|value| *value ^= 1);
    }
    assert!(trie.iter().eq(entries.iter().map(|(key, value)| (key.clone(), value))));
}

#[test]
fn a_range_may_start_and_end_at_and_beside_any_key() {
    let people = if cfg!(miri) { 6 } else { 80 };
    let mut keys: Vec<_> = (0..people).map(person).collect();
    keys.extend([b"".to_vec(), b"person".to_vec(), vec![b'p'; 300], b"person1/name".to_vec()]);
    let model: Model<u32> = keys.iter().cloned().zip(0..).collect();
    let trie: Trie<u32> = keys.iter().zip(0..).collect();
    let mut probes: Vec<Vec<u8>> = Vec::new();
    for key in keys.iter().step_by(7) {
        let before = key.split_last().map(|(last, shorter)| [shorter, &[last - 1, 0xff]].concat());
        probes.extend(before);
        probes.extend([key.clone(), [key, &[0][..]].concat(), [key, &[0xff][..]].concat()]);
    }
    probes.sort();
    probes.dedup();
    for (index, start) in probes.iter().enumerate() {
        let prefixed = model.iter().filter(|(key, _)| key.starts_with(start));
        assert!(trie.prefix(start).eq(prefixed.map(|(key, value)| (key.clone(), value))));
        for end in &probes[index + 1..] {
            for bounds in [
                (Bound::Included(&start[..]), Bound::Excluded(&end[..])),
                (Bound::Excluded(&start[..]), Bound::Included(&end[..])),
            ] {
                let found =
                    || model.range::<[u8], _>(bounds).map(|(key, value)| (key.clone(), value));
                assert!(trie.range(bounds).eq(found()));
                assert!(trie.range(bounds).rev().eq(found().rev()));
            }
        }
    }
}

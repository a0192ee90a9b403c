//! Tests of the trie by hand; those that compare it with a model are in `tests/model.rs`.

mod apply;
mod auto_traits;
mod changes;
mod hostile;
mod keys;
mod model;
mod operation;
mod panics;
mod shapes;
mod snapshots;
mod values;
mod visit;

use super::*;
use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// The keys "a", "aa", "aaa" and so on.
fn chain(len: usize) -> Trie<usize> {
    let key = vec![b'a'; len];
    let mut trie = Trie::new();
    for end in (1..=len).rev() {
        trie.insert(&key[..end], end);
    }
    trie
}

#[test]
fn a_chain_of_prefixes_deeper_than_any_stack_is_no_deeper_call() {
    const DEPTH: usize = if cfg!(miri) { 40 } else { 20_000 };
    let worker = std::thread::Builder::new().stack_size(64 * 1024).spawn(|| {
        let trie = chain(DEPTH);
        trie.check();
        assert_eq!(trie.len(), DEPTH);
        let mut copy = trie.clone();
        assert!(copy == trie);
        assert_eq!(copy.insert(vec![b'a'; DEPTH], 0), Some(DEPTH));
        assert!(copy != trie);

        let mut cursor = trie.cursor();
        for len in 1..=DEPTH {
            assert_eq!(cursor.next().map(|(key, value)| (key.len(), *value)), Some((len, len)));
        }
        assert!(cursor.next().is_none());
        assert!(trie.values().rev().copied().eq((1..=DEPTH).rev()));
        assert!(copy.into_values().take(DEPTH / 2).eq(1..=DEPTH / 2));

        let key = vec![b'a'; DEPTH + 1];
        assert_eq!(trie.prefixes(&key).count(), DEPTH);
        let mut lower = trie;
        let upper = lower.split_off(&key[..DEPTH / 2]);
        assert_eq!((lower.len(), upper.len()), (DEPTH / 2 - 1, DEPTH / 2 + 1));
        upper.check();
        lower.check();
        drop(upper);
        lower.remove_prefix("aa");
        assert_eq!(lower, Trie::from([("a", 1)]));
    });
    worker.unwrap().join().unwrap();
}

#[test]
fn a_chain_of_prefixes_is_a_map_like_any_other() {
    const DEPTH: usize = if cfg!(miri) { 40 } else { 3000 };
    let mut trie = chain(DEPTH);
    assert_eq!(trie.cmp(&trie.clone()), Ordering::Equal);
    assert!(trie.iter().rev().map(|(key, _)| key.len()).eq((1..=DEPTH).rev()));
    trie.retain(|key, _| key.len() % 3 == 0);
    trie.check();
    assert!(trie.keys().map(|key| key.len()).eq((3..=DEPTH).step_by(3)));
    while let Some((key, value)) = trie.pop_first() {
        assert_eq!(key.len(), value);
        let (key, value) = trie.pop_last().unwrap();
        assert_eq!(key.len(), value);
    }
    trie.check();
}

#[test]
fn a_node_may_have_all_256_bytes_below_it() {
    let mut trie: Trie<u8> = (0..=255).rev().map(|byte| ([byte], byte)).collect();
    trie.check();
    assert!(trie.keys().eq((0..=255).map(|byte| vec![byte])));
    assert_eq!(trie.get(&[255]), Some(&255));
    trie.insert("", 0);
    assert_eq!(trie.len(), 257);
    assert_eq!(trie.first_key_value(), Some((Vec::new(), &0)));
    for byte in 0..=255 {
        assert_eq!(trie.remove(&[byte]), Some(byte));
        if !cfg!(miri) || byte % 32 == 0 {
            trie.check();
        }
    }
    assert_eq!(trie.pop_last(), Some((Vec::new(), 0)));
}

#[test]
fn a_key_may_be_70_000_bytes_long() {
    let long = vec![0x7f; 70_000];
    let mut longer = long.clone();
    longer.push(0);
    let mut trie = Trie::from([(&long, 1), (&longer, 2)]);
    trie.insert(&long[..65_536], 3);
    trie.check();
    assert_eq!(trie.get(&long), Some(&1));
    assert_eq!(trie.get(&longer), Some(&2));
    assert_eq!(trie.get(&long[..69_999]), None);
    assert_eq!(trie.longest_prefix(&long[..69_999]).map(|found| found.0.len()), Some(65_536));
    assert_eq!(trie.remove(&long), Some(1));
    trie.check();
    assert!(trie.keys().eq([long[..65_536].to_vec(), longer]));
}

#[test]
fn all_kinds_of_ranges_need_no_type_annotation() {
    let trie = Trie::from([("a", 1), ("b", 2), ("c", 3)]);
    let text = String::from("b");
    assert_eq!(trie.range("a".."c").count(), 2);
    assert_eq!(trie.range(b"a"..b"c").count(), 2);
    assert_eq!(trie.range(b"a".to_vec()..).count(), 3);
    assert_eq!(trie.range(&text..).count(), 2);
    assert_eq!(trie.range(text.clone()..=text).count(), 1);
    assert_eq!(trie.range(..="b").count(), 2);
    assert_eq!(trie.range(.."b").count(), 1);
    assert_eq!(trie.range(..).count(), 3);
    let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Excluded(b"a"), Bound::Included(b"c"));
    assert_eq!(trie.range(bounds).count(), 2);
}

#[test]
fn a_range_that_std_refuses_panics_with_its_words() {
    let trie = Trie::from([("a", 1)]);
    let message = |bounds: (Bound<&str>, Bound<&str>)| {
        let panic = catch_unwind(|| trie.range(bounds).count()).unwrap_err();
        panic.downcast_ref::<&str>().map(ToString::to_string).unwrap()
    };
    for (start, end) in [
        (Bound::Included("b"), Bound::Included("a")),
        (Bound::Excluded("b"), Bound::Included("a")),
        (Bound::Excluded("b"), Bound::Excluded("a")),
    ] {
        assert_eq!(message((start, end)), "range start is greater than range end in Trie");
    }
    assert_eq!(
        message((Bound::Excluded("a"), Bound::Excluded("a"))),
        "range start and end are equal and excluded in Trie"
    );
    assert_eq!(trie.range((Bound::Included("a"), Bound::Excluded("a"))).count(), 0);
    assert_eq!(trie.range((Bound::Excluded("a"), Bound::Included("a"))).count(), 0);
}

#[test]
fn entries_are_removed_or_left_but_never_leaked_or_dropped_twice() {
    let counter = Rc::new(());
    let fill = || -> Trie<Rc<()>> {
        ["", "a", "ab", "abc", "b", "bcd", "bce"].map(|key| (key, counter.clone())).into()
    };
    let live = || Rc::strong_count(&counter) - 1;

    let mut trie = fill();
    assert_eq!(live(), 7);
    trie.insert("a", counter.clone());
    assert_eq!(live(), 7);
    drop(trie.remove("bcd"));
    assert_eq!(live(), 6);
    let copy = trie.clone();
    assert_eq!(live(), 12);
    drop(copy);
    drop(trie.split_off("b"));
    assert_eq!(live(), 4);
    trie.remove_prefix("ab");
    assert_eq!(live(), 2);
    trie.append(&mut fill());
    assert_eq!(live(), 7);
    trie.retain(|key, _| key.len() < 2);
    assert_eq!(live(), 3);
    trie.clear();
    assert_eq!(live(), 0);

    let mut owned = fill().into_iter();
    owned.next();
    owned.next_back();
    assert_eq!(live(), 5);
    drop(owned);
    assert_eq!(live(), 0);
    assert!(Trie::from_sorted([("b", counter.clone()), ("a", counter.clone())]).is_err());
    assert_eq!(live(), 0);
}

#[test]
fn a_closure_that_panics_leaves_a_whole_trie() {
    let keys = ["", "a", "ab", "abc", "b", "bcd", "bce"];
    for stop in 0..keys.len() {
        let mut trie = Trie::from(keys.map(|key| (key, key.len())));
        let asked = Cell::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            trie.retain(|_, _| {
                assert_ne!(asked.get(), stop, "stop here");
                asked.set(asked.get() + 1);
                false
            });
        }));
        assert!(result.is_err());
        trie.check();
        assert!(trie.keys().eq(keys[stop..].iter().map(|key| key.as_bytes().to_vec())));
    }

    let mut trie = Trie::from([("ab", 1)]);
    let result = catch_unwind(AssertUnwindSafe(|| {
        trie.entry("a").or_insert_with(|| panic!("no value"));
    }));
    assert!(result.is_err());
    trie.check();
    assert_eq!(trie, Trie::from([("ab", 1)]));
}

/// A value that panics in the clone that its counter counts down to.
struct Fuse(Rc<Cell<u32>>);

impl Clone for Fuse {
    fn clone(&self) -> Self {
        let left = self.0.get();
        assert_ne!(left, 0, "no more clones");
        self.0.set(left - 1);
        Self(self.0.clone())
    }
}

#[test]
fn a_clone_that_panics_leaks_nothing() {
    let left = Rc::new(Cell::new(0));
    let trie = Trie::from(["a", "ab", "ac", "b"].map(|key| (key, Fuse(left.clone()))));
    for clones in 0..4 {
        left.set(clones);
        assert!(catch_unwind(AssertUnwindSafe(|| trie.clone())).is_err());
        assert_eq!(Rc::strong_count(&left), 5);
    }
}

/// A value that panics when it is dropped, once.
struct Bomb<'a>(&'a Cell<u32>, bool);

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        assert!(!self.1, "dropped");
    }
}

#[test]
fn a_value_that_panics_in_its_drop_takes_no_other_value_with_it() {
    let dropped = Cell::new(0);
    let keys = ["", "a", "ab", "abc", "b", "bcd", "bce"];
    for armed in keys {
        dropped.set(0);
        let trie = Trie::from(keys.map(|key| (key, Bomb(&dropped, key == armed))));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(trie))).is_err());
        assert_eq!(dropped.get(), 7);
    }
}

#[test]
fn from_sorted_names_the_first_entry_out_of_order() {
    let trie = Trie::from_sorted([("", 0), ("a", 1), ("ab", 2)]).unwrap();
    trie.check();
    assert_eq!(trie, Trie::from([("ab", 2), ("a", 1), ("", 0)]));
    let error = Trie::from_sorted([("a", 1), ("a", 2), ("", 3)]).unwrap_err();
    assert_eq!(error.position(), 1);
    assert_eq!(error.to_string(), "the key of entry 1 is not greater than the one before it");
    assert_eq!(Trie::<u8>::from_sorted([(""); 0].map(|key| (key, 0))), Ok(Trie::new()));
}

#[test]
fn an_emptied_trie_equals_a_new_one() {
    let mut trie = Trie::from([("a", 1)]);
    trie.remove("a");
    assert_eq!(trie, Trie::new());
    assert_eq!(Trie::new(), trie);
    let state = RandomState::new();
    assert_eq!(state.hash_one(&trie), state.hash_one(Trie::<i32>::new()));
}

#[test]
fn debug_shows_text_as_text_and_other_keys_as_bytes() {
    let trie = Trie::from([(&b"mary"[..], 1), ("\u{3b1}\"".as_bytes(), 2), (b"\xff\n", 3)]);
    assert_eq!(format!("{trie:?}"), r#"{"mary": 1, "α\"": 2, b"\xff\n": 3}"#);
    assert_eq!(format!("{:?}", trie.keys()), r#"["mary", "α\"", b"\xff\n"]"#);
    assert_eq!(format!("{:?}", trie.values()), "[1, 2, 3]");
    let mut cursor = trie.cursor();
    cursor.next();
    assert_eq!(format!("{cursor:?}"), r#"{"α\"": 2, b"\xff\n": 3}"#);
}

#[test]
fn tries_nest_as_values() {
    let mut people: Trie<Trie<u32>> = Trie::new();
    people.entry("mary").or_default().insert("age", 31);
    people.entry("mary").or_default().insert("height", 172);
    assert_eq!(people["mary"]["height"], 172);
    let text = serde_json::to_string(&people).unwrap();
    assert_eq!(text, r#"{"mary":{"age":31,"height":172}}"#);
    assert_eq!(serde_json::from_str::<Trie<Trie<u32>>>(&text).unwrap(), people);
}

#[test]
#[should_panic(expected = "no entry found for key")]
fn indexing_panics_where_there_is_no_entry() {
    let _ = Trie::from([("a", 1)])["b"];
}

#[test]
fn extend_takes_owned_and_borrowed_entries() {
    let mut trie = Trie::from([("a", 1)]);
    let more = Trie::from([("a", 2), ("b", 3)]);
    trie.extend(&more);
    trie.extend([(String::from("c"), 4)]);
    trie.extend([("d", &5)]);
    assert_eq!(trie, Trie::from([("a", 2), ("b", 3), ("c", 4), ("d", 5)]));
}

#[test]
fn later_duplicates_win_in_serde_and_other_types_are_refused() {
    let trie: Trie<u32> = serde_json::from_str(r#"{"a": 1, "": 0, "a": 2}"#).unwrap();
    assert_eq!(trie, Trie::from([("", 0), ("a", 2)]));
    let error = serde_json::from_str::<Trie<u32>>("[1]").unwrap_err().to_string();
    assert!(error.contains("a map with strings or bytes as keys"), "{error}");
}

#[test]
fn a_key_that_is_no_text_is_an_error_that_names_it_in_a_text_format() {
    let error = serde_json::to_string(&Trie::from([(b"a\xff", 1)])).unwrap_err();
    assert_eq!(error.to_string(), r#"key b"a\xff" is not UTF-8"#);
}

#[test]
fn keys_may_come_as_text_as_bytes_or_as_lists_of_numbers() {
    use serde::Deserialize;
    use serde::de::value::{Error, MapDeserializer};
    let expected = Trie::from([("", 1), ("key", 2)]);
    let text = [("", 1), ("key", 2)].into_iter();
    let bytes = [(&b""[..], 1), (b"key", 2)].into_iter();
    let lists = [(Vec::<u8>::new(), 1), (b"key".to_vec(), 2)].into_iter();
    let from_text = Trie::deserialize(MapDeserializer::<_, Error>::new(text));
    let from_bytes = Trie::deserialize(MapDeserializer::<_, Error>::new(bytes));
    let from_lists = Trie::deserialize(MapDeserializer::<_, Error>::new(lists));
    assert_eq!(from_text.as_ref(), Ok(&expected));
    assert_eq!(from_bytes.as_ref(), Ok(&expected));
    assert_eq!(from_lists.as_ref(), Ok(&expected));
}

#[cfg(feature = "cluster")]
#[test]
fn a_binary_format_keeps_any_key_and_believes_no_count() {
    let trie = Trie::from([(&b""[..], 1), (b"\x00\xff", 2), (b"text", 3)]);
    let bytes = postcard::to_stdvec(&trie).unwrap();
    assert_eq!(postcard::from_bytes::<Trie<i32>>(&bytes).unwrap(), trie);
    // A count of 2^63 entries with none behind it.
    let promise = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert!(postcard::from_bytes::<Trie<i32>>(&promise).is_err());
}

/// Compiles only while shared iterators can stand in for shorter-lived ones.
#[test]
fn shared_iterators_are_covariant() {
    fn shorten<'a>(iter: Iter<'static, &'static str>, _: &'a str) -> Iter<'a, &'a str> {
        iter
    }
    static NOTHING: Trie<&str> = Trie::new();
    let text = String::from("text");
    assert_eq!(shorten(NOTHING.iter(), &text).len(), 0);
}

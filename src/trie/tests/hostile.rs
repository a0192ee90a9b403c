//! Attacks on what a page holds at its limits, and on emptied trees.

use super::super::*;
use super::values::{Count, Counted, Value};

/// Keys that begin with a prefix, differ in the byte behind it, and have tails of one length.
fn tails(prefix: &[u8], count: u8, len: usize) -> impl Iterator<Item = (Vec<u8>, Counted)> {
    (0..count).map(move |number| {
        let tail = std::iter::repeat_n(b't', len);
        (prefix.iter().copied().chain([number]).chain(tail).collect(), Counted::of(number.into()))
    })
}

/// A page that gets the prefix back takes more bytes of tails than one that is filled: up to 32 times
/// 255, when it has to be divided as soon as an entry comes.
#[test]
fn a_page_that_is_cut_off_may_have_tails_of_any_length() {
    let count = Count::new();
    let labels: &[usize] =
        if cfg!(miri) { &[1, 250] } else { &[1, 5, 200, 250, 254, 258, 259, 300] };
    let lens: &[usize] = if cfg!(miri) { &[0, 5] } else { &[0, 3, 4, 5, 54, 250, 255, 259, 260] };
    for (&label, &len) in labels.iter().flat_map(|label| lens.iter().map(move |len| (label, len))) {
        let prefix = vec![b'p'; label];
        let mut trie: Trie<_> = tails(&prefix, 40, len).collect();
        trie.insert("p", Counted::of(0));
        // More below one byte, which makes a node of their own.
        trie.extend(tails(&[&prefix[..], b"\x10"].concat(), 40, len));
        let whole = trie.clone();
        for end in [0, 1, label - 1, label] {
            let mut rest = trie.snapshot();
            let cut = rest.remove_prefix(&prefix[..end]);
            cut.check();
            rest.check();
            assert_eq!(cut.len() + rest.len(), whole.len());
        }
        for first in 0..40 {
            let key = [&prefix[..], &[first]].concat();
            let mut cut = trie.remove_prefix(&key);
            cut.check();
            trie.check();
            // Over the limit from the start.
            cut.insert([&key[..], b"u"].concat(), Counted::of(1));
            cut.check();
            assert!(cut.remove(&[&key[..], b"u"].concat()).is_some());
            let mut upper = cut.split_off(&[&key[..], b"t"].concat());
            cut.append(&mut upper);
            trie.append(&mut cut);
            trie.check();
            assert_eq!(trie, whole);
        }
    }
    count.assert_all_were_dropped_once();
}

#[test]
fn a_tree_that_was_emptied_keeps_no_memory() {
    let whole: Trie<usize> = (0..100).map(|n| (format!("{n}"), n)).collect();
    let ways: [fn(&mut Trie<usize>); 4] = [
        |trie| while trie.pop_first().is_some() {},
        |trie| while trie.pop_last().is_some() {},
        |trie| trie.retain(|_, _| false),
        |trie| (1..10).chain([0]).for_each(|n| drop(trie.remove_prefix(&n.to_string()))),
    ];
    for way in ways {
        let mut trie = whole.snapshot();
        way(&mut trie);
        trie.check();
        assert_eq!(trie, Trie::new());
        assert!(
            matches!(trie.root.kind(), node::RootKind::Empty),
            "an emptied trie keeps no block"
        );
    }
}

#[test]
fn a_tree_that_was_emptied_in_any_way_takes_entries_again() {
    let whole: Trie<usize> = (0..100).map(|n| (format!("{n}"), n)).collect();
    let ways: [fn(&mut Trie<usize>); 5] = [
        |trie| while trie.pop_last().is_some() {},
        |trie| trie.retain(|_, _| false),
        |trie| drop((0..10).map(|n| trie.remove_prefix(&format!("{n}"))).collect::<Vec<_>>()),
        |trie| drop(trie.split_off("0")),
        |trie| {
            while let Some(entry) = trie.last_entry() {
                entry.remove();
            }
        },
    ];
    for way in ways {
        let mut trie = whole.snapshot();
        way(&mut trie);
        trie.check();
        assert_eq!(trie.snapshot(), Trie::new());
        assert!(trie.remove_prefix("1").is_empty() && trie.split_off("1").is_empty());
        assert_eq!((trie.iter_mut().count(), trie.first_key_value()), (0, None));
        trie.append(&mut whole.snapshot());
        trie.check();
        assert_eq!(trie, whole);
        way(&mut trie);
        whole.snapshot().append(&mut trie);
        trie.insert("a", 1);
        trie.check();
    }
}

//! Making a trie of entries in any order, and reading one in a single call.

use super::super::Trie;
use super::keys::Keys;
use proptest::collection::vec;
use proptest::prelude::*;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// The keys, each with a place in the list as its value.
fn numbered<K>(keys: Vec<K>) -> Vec<(K, usize)> {
    keys.into_iter().zip(0..).collect()
}

proptest! {
    #[test]
    fn a_trie_of_entries_in_any_order_has_the_last_of_each_key(
        keys in prop_oneof![
            vec(Keys::of_all_kinds().one, 0..20),
            vec(Keys::prefixes_of_each_other().one, 0..70),
        ],
    ) {
        let entries = numbered(keys);
        let model: BTreeMap<Vec<u8>, usize> =
            entries.iter().map(|(key, value)| (key.0.clone(), *value)).collect();
        let mut entries: SmallVec<[_; 8]> = entries.into();
        let trie = Trie::from_entries(&mut entries);
        prop_assert!(entries.is_empty());
        trie.check();
        prop_assert!(trie.iter().eq(model.iter().map(|(key, value)| (key.clone(), value))));

        let mut read = Vec::new();
        trie.for_each(|key, value| read.push((key.to_vec(), value)));
        prop_assert!(read.into_iter().eq(model.iter().map(|(key, value)| (key.clone(), value))));

        let mut left = model.len() / 2;
        let mut model_left = model.iter().take(left + 1);
        let stopped = trie.try_for_each(|key, value| {
            assert_eq!(model_left.next(), Some((&key.to_vec(), value)));
            left = left.checked_sub(1).ok_or(*value)?;
            Ok(())
        });
        prop_assert_eq!(stopped.err(), model.values().nth(model.len() / 2).copied());
    }
}

#[test]
fn entries_that_ascend_make_the_same_pages_as_others() {
    let keys = ["", "a", "abcd", "abcdefgh", "abcdefgi", "b\0", "name of more than a few letters"];
    let ascending: Vec<_> = numbered(keys.to_vec());
    let mut descending: SmallVec<[_; 8]> = ascending.iter().rev().copied().collect();
    let trie = Trie::from_entries(&mut descending);
    trie.check();
    assert_eq!(trie, Trie::from_sorted(ascending).unwrap());
}

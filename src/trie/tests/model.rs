//! The trie against a `BTreeMap`: lists of random operations, each applied to both, with the invariants
//! verified after each and the whole contents compared after each or after a few.
//!
//! Snapshots are part of it. The trie stands on a list with others that share pages with it, operations
//! change which of them is gone on with, and all of them are compared each time: what is done to one
//! must not be seen in another.
//!
//! A failure prints the shortest list of operations that still fails, which can be copied into a test
//! of its own. For the same cases at each run, set `PROPTEST_RNG_SEED` to a number. `PROPTEST_CASES`
//! makes all tests longer or shorter in proportion: 256 is what runs by default.

use super::super::Trie;
use super::apply::World;
use super::keys::Keys;
use super::operation::{Op, ops};
use super::values::{Aligned16, Aligned64, AlignedNothing, Count, Counted, Value, Wide};
use proptest::prelude::*;

/// As many cases as said, in proportion to `PROPTEST_CASES` where that is set.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if cfg!(miri) { 1 } else { (default.cases * cases).div_ceil(256) };
    ProptestConfig { failure_persistence: None, cases, ..default }
}

/// Applies the operations to a new trie and compares the contents after each `every`th.
fn run<V: Value>(ops: Vec<Op>, every: usize) {
    let mut world = World::<V>::new();
    for (index, op) in ops.into_iter().enumerate() {
        world.apply(op);
        world.check();
        if index % every == every - 1 {
            world.compare();
        }
    }
    world.compare();
}

fn run_counted(ops: Vec<Op>, every: usize) {
    let count = Count::new();
    run::<Counted>(ops, every);
    count.assert_all_were_dropped_once();
}

proptest! {
    #![proptest_config(config(160))]

    #[test]
    fn any_operations_do_to_a_trie_what_they_do_to_a_btree_map(
        ops in ops(&Keys::prefixes_of_each_other(), 1, 80)
    ) {
        run::<u32>(ops, 1);
    }

    #[test]
    fn zeros_at_the_end_of_a_key_are_not_the_end_of_a_shorter_one(
        ops in ops(&Keys::padded_with_zeros(), 1, 60)
    ) {
        run::<u32>(ops, 1);
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn nodes_with_any_children_are_a_map(ops in ops(&Keys::any_byte_below_a_few(), 3, 60)) {
        run::<u32>(ops, 4);
    }

    #[test]
    fn keys_as_long_as_any_limit_are_a_map(ops in ops(&Keys::as_long_as_any_limit(), 2, 50)) {
        run::<u32>(ops, 4);
    }

    #[test]
    fn keys_of_all_kinds_make_one_map(ops in ops(&Keys::of_all_kinds(), 5, 60)) {
        run::<u32>(ops, 6);
    }

    #[test]
    fn values_of_no_size_are_a_set_of_keys(ops in ops(&Keys::any_byte_below_a_few(), 3, 50)) {
        run::<()>(ops.clone(), 6);
        run::<AlignedNothing>(ops, 6);
    }

    #[test]
    fn values_lie_at_multiples_of_their_alignment(ops in ops(&Keys::prefixes_of_each_other(), 1, 60)) {
        run::<Aligned16>(ops.clone(), 2);
        run::<Aligned64>(ops, 2);
    }

    #[test]
    fn values_larger_than_keys_are_moved_whole(ops in ops(&Keys::prefixes_of_each_other(), 1, 60)) {
        run::<Wide>(ops, 2);
    }

    #[test]
    fn values_on_the_heap_have_one_owner(ops in ops(&Keys::prefixes_of_each_other(), 1, 60)) {
        run::<String>(ops.clone(), 2);
        run::<Box<u32>>(ops, 2);
    }

    #[test]
    fn a_trie_in_a_trie_has_one_owner(ops in ops(&Keys::prefixes_of_each_other(), 1, 40)) {
        run::<Trie<u32>>(ops, 4);
    }

    #[test]
    fn each_value_is_dropped_once(ops in ops(&Keys::prefixes_of_each_other(), 1, 80)) {
        run_counted(ops, 2);
    }

    #[test]
    fn each_value_below_a_wide_node_is_dropped_once(ops in ops(&Keys::any_byte_below_a_few(), 3, 40)) {
        run_counted(ops, 8);
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn several_levels_of_nodes_are_a_map(ops in ops(&Keys::people(), 4, 60)) {
        run::<u32>(ops, 8);
    }

    #[test]
    fn each_value_below_several_levels_is_dropped_once(ops in ops(&Keys::people(), 4, 40)) {
        run_counted(ops, 10);
    }

    #[test]
    fn values_on_the_heap_below_several_levels_have_one_owner(
        ops in ops(&Keys::of_all_kinds(), 5, 40)
    ) {
        run::<String>(ops, 10);
    }
}

//! Random operations, each applied to a trie and to a `BTreeMap`, which must return and hold the same.
//!
//! Three tries are live at most: the one that operations go to, and others that share pages with it,
//! as snapshots or as parts that were cut off. After each operation the invariants of all of them are
//! verified; their contents are compared every few operations and at the end. Values own memory, so
//! that the address sanitizer sees one that is dropped twice or used too late, and they are counted,
//! so that one that is never dropped is seen as well.
//!
//! With `TRIEKV_TRACE` set, each operation is printed with the keys that it uses, in full.
#![no_main]

mod key;
mod operation;
mod value;
mod walk;
mod world;

use libfuzzer_sys::fuzz_target;
use operation::Operations;
use value::Value;
use world::World;

fuzz_target!(|operations: Operations| {
    let mut world = World::new();
    for operation in operations.0 {
        world.apply(operation);
        world.check();
    }
    world.compare();
    drop(world);
    assert_eq!(Value::live(), 0, "each value is dropped");
});

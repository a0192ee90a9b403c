//! Tests of the allocator, apart from it, since a bench of the crate takes that in, too.

use crate::alloc::live;
use std::hint::black_box;

#[test]
fn what_is_freed_no_longer_counts_and_what_grows_counts_once() {
    let before = live();
    let mut bytes: Vec<u8> = black_box(Vec::with_capacity(100));
    assert_eq!(live() - before, 100);
    bytes.reserve_exact(1_000);
    assert_eq!(live() - before, bytes.capacity());
    drop(bytes);
    assert_eq!(live(), before);
}

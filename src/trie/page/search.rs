//! Comparing a number with those of a sorted vector.

/// The masks that `mask` makes of four heads each, the first one lowest, in one number. There are at
/// most 32 heads; what lies beyond them in the number doesn't matter.
///
/// How often a loop over them would run is hard to foresee, and the processor would have to wait for
/// the page to know it. So four vectors are looked at in any case, or the last one again.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "else the vectors are passed by way of memory")]
fn masks(heads: &[i32], mask: impl Fn(&[i32; 4]) -> i32) -> u64 {
    let fours = heads.as_chunks::<4>().0;
    let Some(last) = fours.len().checked_sub(1) else { return 0 };
    let mut masks = 0;
    debug_assert!(last < 8, "a page has at most 32 heads");
    for first in [0, 4] {
        for block in first..first + 4 {
            let mask = mask(&fours[block.min(last)]);
            masks |= u64::from(mask.cast_unsigned()) << (4 * block);
        }
        if last < first + 4 {
            break;
        }
    }
    masks
}

/// How many of the first `len` heads are smaller than `head`. The heads are sorted; what `heads` has
/// beyond `len`, up to a multiple of four, doesn't matter.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
pub(in crate::trie) fn rank_of_head(heads: &[i32], len: usize, head: i32) -> usize {
    // SAFETY: the target has SSE2, or this wouldn't be compiled.
    unsafe { sse2_rank_of_head(heads, len, head) }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[target_feature(enable = "sse2")]
#[inline]
fn sse2_rank_of_head(heads: &[i32], len: usize, head: i32) -> usize {
    use std::arch::x86_64::{
        _mm_castsi128_ps, _mm_cmplt_epi32, _mm_loadu_si128, _mm_movemask_ps, _mm_set1_epi32,
    };
    let wanted = _mm_set1_epi32(head);
    let smaller = masks(heads, |four| {
        // SAFETY: `four` is 16 bytes that may be read; the load asks for no alignment.
        let four = unsafe { _mm_loadu_si128(four.as_ptr().cast()) };
        _mm_movemask_ps(_mm_castsi128_ps(_mm_cmplt_epi32(four, wanted)))
    });
    (smaller.trailing_ones() as usize).min(len)
}

/// Which of the first `len` heads are equal to `head`: a bit each, the first one lowest. There are at
/// most 32; what `heads` has beyond `len`, up to a multiple of four, doesn't matter.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
pub(super) fn heads_equal(heads: &[i32], len: usize, head: i32) -> u64 {
    // SAFETY: the target has SSE2, or this wouldn't be compiled.
    unsafe { sse2_heads_equal(heads, len, head) }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[target_feature(enable = "sse2")]
#[inline]
fn sse2_heads_equal(heads: &[i32], len: usize, head: i32) -> u64 {
    use std::arch::x86_64::{
        _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_loadu_si128, _mm_movemask_ps, _mm_set1_epi32,
    };
    let wanted = _mm_set1_epi32(head);
    let equal = masks(heads, |four| {
        // SAFETY: `four` is 16 bytes that may be read; the load asks for no alignment.
        let four = unsafe { _mm_loadu_si128(four.as_ptr().cast()) };
        _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(four, wanted)))
    });
    equal & !u64::MAX.unbounded_shl(len as u32)
}

/// Which of the first `len` heads are equal to `head`, where there are no such vectors.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
pub(super) fn heads_equal(heads: &[i32], len: usize, head: i32) -> u64 {
    portable_heads_equal(heads, len, head)
}

#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn portable_heads_equal(heads: &[i32], len: usize, head: i32) -> u64 {
    heads[..len].iter().rev().fold(0, |equal, &other| equal << 1 | u64::from(other == head))
}

/// How many of the first `len` heads are smaller than `head`, where there are no such vectors. The
/// loop is one that compilers turn into those that there are.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
pub(in crate::trie) fn rank_of_head(heads: &[i32], len: usize, head: i32) -> usize {
    portable_rank_of_head(heads, len, head)
}

#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn portable_rank_of_head(heads: &[i32], len: usize, head: i32) -> usize {
    heads[..len].iter().map(|&other| usize::from(other < head)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_count_what_a_loop_counts() {
        for len in 0..=32usize {
            // Sorted, with repetitions and the extremes, and rubbish after the end.
            let mut heads: Vec<i32> = (0..).map(|i| (i / 2) * 7 - 40).take(len).collect();
            if len > 8 {
                heads[0] = i32::MIN;
                heads[len - 1] = i32::MAX;
            }
            heads.resize(len.next_multiple_of(4), i32::MIN);
            let step = if cfg!(miri) { 41 } else { 1 };
            for head in
                (-60..140).step_by(step).chain([i32::MIN, i32::MAX, i32::MIN + 1, i32::MAX - 1])
            {
                let expected = portable_rank_of_head(&heads, len, head);
                assert_eq!(rank_of_head(&heads, len, head), expected, "{head} in {heads:?}");
                let expected = portable_heads_equal(&heads, len, head);
                assert_eq!(heads_equal(&heads, len, head), expected, "{head} in {heads:?}");
            }
        }
    }
}

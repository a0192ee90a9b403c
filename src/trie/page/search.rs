//! Comparing a number with those of a sorted vector.

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi32, _mm_cmplt_epi32, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16,
    _mm_packs_epi32, _mm_set1_epi32,
};

/// For which of the heads `compare` has all bits set: a bit each, the first one lowest. There are at
/// most 32; what lies beyond them in the number doesn't matter.
///
/// How often a loop over them would run is hard to foresee, and the processor would have to wait for
/// the page to know it. So four vectors are looked at in any case, or the last one again.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[target_feature(enable = "sse2")]
#[inline]
fn sse2_mask(heads: &[i32], compare: impl Fn(__m128i) -> __m128i) -> u32 {
    let fours = heads.as_chunks::<4>().0;
    let Some(last) = fours.len().checked_sub(1) else { return 0 };
    let compared = |block: usize| {
        let four = &fours[block.min(last)];
        // SAFETY: `four` is 16 bytes that may be read; the load asks for no alignment.
        compare(unsafe { _mm_loadu_si128(four.as_ptr().cast()) })
    };
    let mask = |block: usize| {
        let lower = _mm_packs_epi32(compared(block), compared(block + 1));
        let upper = _mm_packs_epi32(compared(block + 2), compared(block + 3));
        _mm_movemask_epi8(_mm_packs_epi16(lower, upper)).cast_unsigned()
    };
    debug_assert!(last < 8, "a page has at most 32 heads");
    if last < 4 { mask(0) } else { mask(0) | mask(4) << 16 }
}

/// How many of the first `len` heads are smaller than `head`. The heads are sorted; what `heads` has
/// beyond `len`, up to a multiple of four, doesn't matter.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
pub(in crate::trie) fn rank_of_head(heads: &[i32], len: usize, head: i32) -> usize {
    #[target_feature(enable = "sse2")]
    #[inline]
    fn smaller(heads: &[i32], head: i32) -> u32 {
        let wanted = _mm_set1_epi32(head);
        sse2_mask(heads, |four| _mm_cmplt_epi32(four, wanted))
    }
    // SAFETY: the target has SSE2, or this wouldn't be compiled.
    let smaller = unsafe { smaller(heads, head) };
    (smaller.trailing_ones() as usize).min(len)
}

/// Which of the first `len` heads are equal to `head`: a bit each, the first one lowest. There are at
/// most 32; what `heads` has beyond `len`, up to a multiple of four, doesn't matter.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
pub(super) fn heads_equal(heads: &[i32], len: usize, head: i32) -> u64 {
    #[target_feature(enable = "sse2")]
    #[inline]
    fn equal(heads: &[i32], head: i32) -> u32 {
        let wanted = _mm_set1_epi32(head);
        sse2_mask(heads, |four| _mm_cmpeq_epi32(four, wanted))
    }
    // SAFETY: the target has SSE2, or this wouldn't be compiled.
    let equal = unsafe { equal(heads, head) };
    u64::from(equal) & ((1 << len) - 1)
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

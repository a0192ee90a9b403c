//! Counting the separators that are not greater than a byte.

/// How many of the first `len` separators are at most `byte`. They are sorted; what `separators` has
/// beyond `len`, up to a multiple of 16, doesn't matter.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
pub(super) fn rank_of_separator(separators: &[u8], len: usize, byte: u8) -> usize {
    // SAFETY: the target has SSE2, or this wouldn't be compiled.
    unsafe { sse2_rank_of_separator(separators, len, byte) }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[target_feature(enable = "sse2")]
#[inline]
fn sse2_rank_of_separator(separators: &[u8], len: usize, byte: u8) -> usize {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_set1_epi8,
    };
    let wanted = _mm_set1_epi8(byte.cast_signed());
    let mut at_most = 0u64;
    for (block, sixteen) in separators.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: `sixteen` is 16 bytes that may be read; the load asks for no alignment.
        let sixteen = unsafe { _mm_loadu_si128(sixteen.as_ptr().cast()) };
        let mask = _mm_cmpeq_epi8(_mm_min_epu8(sixteen, wanted), sixteen);
        at_most |= u64::from(_mm_movemask_epi8(mask).cast_unsigned()) << (16 * block);
    }
    (at_most.trailing_ones() as usize).min(len)
}

/// How many of the first `len` separators are at most `byte`, where there are no such vectors. The
/// loop is one that compilers turn into those that there are.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
pub(super) fn rank_of_separator(separators: &[u8], len: usize, byte: u8) -> usize {
    portable_rank_of_separator(separators, len, byte)
}

#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn portable_rank_of_separator(separators: &[u8], len: usize, byte: u8) -> usize {
    separators[..len].iter().map(|&separator| usize::from(separator <= byte)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_count_what_a_loop_counts() {
        for len in 1..=48u8 {
            for step in [1, 5] {
                let mut separators: Vec<u8> = (0..len).map(|i| i * step).collect();
                separators.resize(separators.len().next_multiple_of(16), 0);
                for byte in (0..=255).step_by(if cfg!(miri) { 51 } else { 1 }) {
                    let expected = portable_rank_of_separator(&separators, len.into(), byte);
                    assert_eq!(rank_of_separator(&separators, len.into(), byte), expected);
                }
            }
        }
    }
}

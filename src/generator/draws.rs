//! The one source of chance: numbers drawn from a seed.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A stream of random numbers that its seed determines.
#[derive(Debug)]
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Draws from `0..bound`, each number with the same probability.
    ///
    /// # Panics
    ///
    /// If `bound` is 0, since there is nothing to draw.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a product are wanted")]
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw needs at least one number to draw from");
        let mut product = u128::from(self.0.next_u64()) * u128::from(bound);
        // The high half is the number. Below `bound` the low half may belong to one of the
        // `2^64 mod bound` words that would favour some numbers, and those are drawn again.
        if (product as u64) < bound {
            let favoured = bound.wrapping_neg() % bound;
            while (product as u64) < favoured {
                product = u128::from(self.0.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// Draws an index of a slice of `len` items; panics if it has none.
    #[expect(clippy::cast_possible_truncation, reason = "less than `len`, which is a usize")]
    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Draws an ASCII letter.
    pub(super) fn letter(&mut self) -> u8 {
        LETTERS[self.index(LETTERS.len())]
    }

    /// Fills `bytes` with random ones.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    /// The published test vector for a key of zeros and nonce 0 starts with these bytes.
    #[test]
    fn the_stream_is_that_of_chacha8() {
        let mut bytes = [0; 16];
        Draws::new(0).fill(&mut bytes);
        assert_eq!(
            bytes,
            [
                0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6, 0x7f, 0x5b, 0xb8, 0xe8, 0x1f, 0x09,
                0xa5, 0xa1
            ]
        );
    }

    #[test]
    fn below_reaches_every_number_about_equally_often_and_none_past_the_bound() {
        let mut draws = Draws::new(1);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[draws.index(7)] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }

    /// With two numbers for three words, the odd ones of the lower half would come up twice as
    /// often as the even ones if no word were drawn again.
    #[test]
    fn below_favours_no_number_of_a_bound_near_the_size_of_a_word() {
        let mut draws = Draws::new(2);
        let bound = u64::MAX / 3 * 2;
        let low = iter::repeat_with(|| draws.below(bound)).filter(|&number| number < bound / 2);
        let even = low.take(10_000).filter(|number| number.is_multiple_of(2)).count();
        assert!((4_800..5_200).contains(&even), "{even}");
    }

    #[test]
    fn a_bound_of_one_leaves_nothing_to_chance() {
        let mut draws = Draws::new(3);
        assert!((0..100).all(|_| draws.below(1) == 0));
    }

    #[test]
    fn letters_are_ascii_letters_of_both_cases() {
        let mut draws = Draws::new(4);
        let letters: std::collections::BTreeSet<u8> = (0..5_000).map(|_| draws.letter()).collect();
        assert!(letters.iter().all(u8::is_ascii_alphabetic));
        assert_eq!(letters.len(), 52);
    }
}

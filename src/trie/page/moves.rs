//! Copying, comparing and moving tails, most of which are so short that a call takes longer than that.
//!
//! What is copied or moved here is bytes. A tail that is boxed isn't: its pointer would lose what it
//! points to.

use std::ops::Range;

/// Copies `from` to `to`, which is as long, without a call for so little as most tails of names are.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it ends in a few moves")]
pub(super) fn copy_tail(to: &mut [u8], from: &[u8]) {
    match Ends::of(from) {
        Some(ends) => ends.write(to),
        None => to.copy_from_slice(from),
    }
}

/// Whether both are the same, without a call for so little as most tails of names are.
#[inline]
pub(super) fn are_equal(left: &[u8], right: &[u8]) -> bool {
    fn both<const N: usize>(left: &[u8], right: &[u8]) -> bool {
        left.first_chunk::<N>() == right.first_chunk()
            && left.last_chunk::<N>() == right.last_chunk()
    }
    left.len() == right.len()
        && match (left, right) {
            ([], []) => true,
            (&[a, ..], &[b, ..]) if left.len() < 4 => {
                let (half, end) = (left.len() / 2, left.len() - 1);
                a == b && left[half] == right[half] && left[end] == right[end]
            }
            _ if left.len() < 8 => both::<4>(left, right),
            _ if left.len() <= 16 => both::<8>(left, right),
            _ => left == right,
        }
}

/// Moves the tails in `range` to where they begin at `to`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "it ends in a few moves")]
pub(super) fn move_tails(tails: &mut [u8], range: Range<usize>, to: usize) {
    match Ends::of(&tails[range.clone()]) {
        Some(ends) => ends.write(&mut tails[to..][..range.len()]),
        None => tails.copy_within(range, to),
    }
}

/// Some bytes, as the first and the last of them, which overlap.
enum Ends {
    None,
    /// One to three: the first, middle and last one.
    Bytes([u8; 3]),
    Four([[u8; 4]; 2]),
    Eight([[u8; 8]; 2]),
    Sixteen([[u8; 16]; 2]),
}

impl Ends {
    /// The bytes, unless they are more than 32.
    #[inline(always)]
    fn of(bytes: &[u8]) -> Option<Self> {
        fn both<const N: usize>(bytes: &[u8]) -> Option<[[u8; N]; 2]> {
            Some([*bytes.first_chunk()?, *bytes.last_chunk()?])
        }
        match *bytes {
            [] => Some(Self::None),
            [first, ..] if bytes.len() < 4 => {
                Some(Self::Bytes([first, bytes[bytes.len() / 2], bytes[bytes.len() - 1]]))
            }
            _ if bytes.len() < 8 => both(bytes).map(Self::Four),
            _ if bytes.len() < 16 => both(bytes).map(Self::Eight),
            _ if bytes.len() <= 32 => both(bytes).map(Self::Sixteen),
            _ => None,
        }
    }

    /// Writes them to a place that is as long.
    #[inline(always)]
    fn write(self, to: &mut [u8]) {
        fn both<const N: usize>(to: &mut [u8], [first, last]: [[u8; N]; 2]) {
            let behind = to.len() - N;
            to[..N].copy_from_slice(&first);
            to[behind..].copy_from_slice(&last);
        }
        match self {
            Self::None => {}
            Self::Bytes([first, middle, last]) => {
                let (half, end) = (to.len() / 2, to.len() - 1);
                (to[0], to[half], to[end]) = (first, middle, last);
            }
            Self::Four(ends) => both(to, ends),
            Self::Eight(ends) => both(to, ends),
            Self::Sixteen(ends) => both(to, ends),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_of_any_length_are_copied_and_moved_whole() {
        let bytes: Vec<u8> = (1..=120).collect();
        for len in 0..=40 {
            for at in 0..len {
                let mut other = bytes[..len].to_vec();
                assert!(are_equal(&bytes[..len], &other));
                other[at] = 0;
                assert!(!are_equal(&bytes[..len], &other), "byte {at} of {len} differs");
            }
            assert!(!are_equal(&bytes[..len], &bytes[..=len]));
            let mut copy = [0; 42];
            copy_tail(&mut copy[1..=len], &bytes[..len]);
            assert_eq!(copy[1..=len], bytes[..len]);
            assert_eq!((copy[0], copy[len + 1]), (0, 0), "{len} bytes are copied, and no more");
            for to in 0..=40 {
                let (mut moved, mut expected) = (bytes.clone(), bytes.clone());
                move_tails(&mut moved, 20..20 + len, to);
                expected.copy_within(20..20 + len, to);
                assert_eq!(moved, expected, "{len} bytes, moved from 20 to {to}");
            }
        }
    }
}

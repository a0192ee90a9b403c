//! Which bytes of a string stand for themselves between its quotes. The printer and the parser ask
//! the same question.

/// Bytes that are looked at together.
const WORD: usize = 8;

const ONES: u64 = u64::from_ne_bytes([1; WORD]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; WORD]);

/// How many bytes from the start are neither a double quote, nor a backslash, nor below 0x20.
#[inline]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (index, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return index * WORD + special.trailing_zeros() as usize / 8;
        }
    }
    words.len() * WORD + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

/// Whether all of these bytes, `N` of which are a multiple of four, stand for themselves.
#[inline]
pub(crate) fn is_plain<const N: usize>(bytes: &[u8; N]) -> bool {
    const { assert!(N.is_multiple_of(4), "a rest of less than half a word would be passed over") };
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    // The other half of the word is zeroes with their high bits set, which are not special.
    let halves = rest.as_chunks().0.iter();
    let halves = halves.map(|half| HIGHS << 32 | u64::from(u32::from_le_bytes(*half)));
    words.chain(halves).fold(0, |found, word| found | special_bytes(word)) == 0
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// The high bits of the special bytes of `word`, of which the lowest is right. (Those above it may
/// be wrong: subtracting from a byte that matches borrows from the next.)
#[inline]
fn special_bytes(word: u64) -> u64 {
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_byte_is_found_at_each_place_and_no_other_is() {
        for byte in 0..=u8::MAX {
            for (length, place) in
                (0..20).flat_map(|length| (0..length).map(move |at| (length, at)))
            {
                // Neighbours of the special bytes, since a borrow could make these look special.
                for filler in [b' ', b'!', b'#', b']', b'[', 0x80, 0xFF] {
                    let mut bytes = vec![filler; length];
                    bytes[place] = byte;
                    let expected = if is_special(byte) { place } else { length };
                    assert_eq!(plain_len(&bytes), expected, "{byte:#x} at {place} of {length}");
                    if let Some(chunk) = bytes.first_chunk::<12>() {
                        assert_eq!(is_plain(chunk), expected >= 12);
                    }
                }
            }
        }
        assert_eq!(plain_len(b""), 0);
        assert_eq!(plain_len(b"ab\"cd\"\\\0"), 2);
    }
}

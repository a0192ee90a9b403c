//! Which bytes of a string stand for themselves between its quotes: those that the parser reads so,
//! and those, fewer, that the printer writes so.

/// Bytes that are looked at together.
const WORD: usize = 8;

const ONES: u64 = u64::from_ne_bytes([1; WORD]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; WORD]);

/// The first bytes of those characters beyond ASCII that the printer escapes: of U+0080 to U+009F,
/// U+061C, U+200E to U+206F, U+FEFF. Other characters begin with them, too.
const LEADS: [u8; 4] = [0xC2, 0xD8, 0xE2, 0xEF];

const DELETE: u8 = 0x7F;

/// Half a word of blanks, above a half that is none.
const BLANKS: u64 = 0x2020_2020 << 32;

/// Returns how many bytes from the start are neither a double quote, nor a backslash, nor below 0x20:
/// what the parser takes as it stands.
#[inline]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    run_len(bytes, special_bytes, is_special)
}

/// Returns how many bytes from the start the printer certainly writes as they stand. What follows
/// them is a byte to escape, or begins a character that [`needs_escape`](super::needs_escape) knows.
#[inline]
pub(super) fn printed_len(bytes: &[u8]) -> usize {
    run_len(bytes, unprinted_bytes, is_unprinted)
}

/// Tells whether the printer certainly writes all of these bytes as they stand. `N` is a multiple of
/// four.
#[inline]
pub(super) fn is_printed<const N: usize>(bytes: &[u8; N]) -> bool {
    const { assert!(N.is_multiple_of(4), "a rest of less than half a word would be passed over") };
    let (words, rest) = bytes.as_chunks();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let halves = rest.as_chunks().0.iter();
    let halves = halves.map(|half| BLANKS | u64::from(u32::from_le_bytes(*half)));
    words.chain(halves).fold(0, |found, word| found | unprinted_bytes(word)) == 0
}

/// The length of the run from the start in which no byte is special; `in_word` finds such bytes in a
/// word, by their high bits.
#[inline]
fn run_len(bytes: &[u8], in_word: fn(u64) -> u64, is_special: fn(u8) -> bool) -> usize {
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (index, word) in words.iter().enumerate() {
        let special = in_word(u64::from_le_bytes(*word));
        if special != 0 {
            return index * WORD + special.trailing_zeros() as usize / 8;
        }
    }
    words.len() * WORD + rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len())
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

fn is_unprinted(byte: u8) -> bool {
    is_special(byte) || byte == DELETE || LEADS.contains(&byte)
}

/// The high bits of the bytes of `word` that are below `bound`, of which the lowest is right. (Those
/// above it may be wrong: subtracting from a byte that matches borrows from the next.)
#[inline]
fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGHS
}

/// The high bits of the bytes of `word` that are `byte`, of which the lowest is right.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

/// The high bits of the bytes of `word` for which [`is_special`] holds, of which the lowest is right.
#[inline]
fn special_bytes(word: u64) -> u64 {
    below(word, 0x20) | equal(word, b'"') | equal(word, b'\\')
}

/// The high bits of the bytes of `word` for which [`is_unprinted`] holds, of which the lowest is right.
#[inline]
fn unprinted_bytes(word: u64) -> u64 {
    let special = special_bytes(word);
    // Most words are ASCII without DEL, for which one sum is enough.
    if (((word & !HIGHS) + ONES) | word) & HIGHS == 0 {
        return special;
    }
    LEADS.iter().fold(special | equal(word, DELETE), |found, lead| found | equal(word, *lead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::needs_escape;

    #[test]
    fn each_special_byte_is_found_at_each_place_and_no_other_is() {
        for byte in 0..=u8::MAX {
            for (length, place) in
                (0..20).flat_map(|length| (0..length).map(move |at| (length, at)))
            {
                // Neighbours of the special bytes, since a borrow could make these look special.
                for filler in [b' ', b'!', b'#', b']', b'[', b'~', 0x80, 0xC1, 0xC3, 0xFF] {
                    let mut bytes = vec![filler; length];
                    bytes[place] = byte;
                    let expected = |special| if special { place } else { length };
                    let message = format!("{byte:#x} at {place} of {length}");
                    assert_eq!(plain_len(&bytes), expected(is_special(byte)), "{message}");
                    let printed = expected(is_unprinted(byte));
                    assert_eq!(printed_len(&bytes), printed, "{message}");
                    if let Some(chunk) = bytes.first_chunk::<12>() {
                        assert_eq!(is_printed(chunk), printed >= 12, "{message}");
                    }
                }
            }
        }
        assert_eq!(plain_len(b""), 0);
        assert_eq!(plain_len(b"ab\"cd\"\\\0"), 2);
    }

    #[test]
    fn each_character_that_is_escaped_stops_the_printer() {
        for character in ('\0'..=char::MAX).filter(|found| needs_escape(*found)) {
            assert_eq!(printed_len(format!("a{character}").as_bytes()), 1, "{character:?}");
        }
    }
}

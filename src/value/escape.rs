//! Which characters are printed as escapes, because a terminal would obey them instead of showing
//! them.

use std::fmt::{self, Write};

/// Tells whether a character is printed as an escape: those that a terminal takes as a command, that
/// turn the direction of the text round them, or that end a line.
///
/// They are the control characters (U+0000 to U+001F, U+007F to U+009F), the marks, embeddings,
/// overrides and isolates of bidirectional text (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to
/// U+206F with the deprecated ones), the separators U+2028 and U+2029, and the byte order mark
/// U+FEFF. Joiners (U+200C, U+200D) stand as they are: words and emoji are made with them.
pub fn needs_escape(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
    )
}

/// A text from elsewhere that is printed without harm to a terminal. `Display` writes the characters for
/// which [`needs_escape`] holds as in a string of the grammar, `\n` or `\u001b`, and all others as they
/// are.
///
/// It is for names of files, addresses and messages, which are not read back: a backslash in them stays
/// single. Values and paths have the same escapes in their own `Display`, and are read back.
///
/// # Examples
/// ```
/// use triekv::value::Escaped;
///
/// let name = "\u{1b}[31mred\u{202e}.txt";
/// assert_eq!(Escaped(name).to_string(), r"\u001b[31mred\u202e.txt");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(needs_escape) {
            let (run, special) = rest.split_at(at);
            f.write_str(run)?;
            let mut characters = special.chars();
            for byte in characters.next().into_iter().flat_map(escape) {
                f.write_char(byte.into())?;
            }
            rest = characters.as_str();
        }
        f.write_str(rest)
    }
}

/// The escape, between quotes, of a double quote, a backslash or a character for which [`needs_escape`]
/// holds. All of them are below U+10000.
pub(super) fn escape(character: char) -> impl Iterator<Item = u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        _ => b'u',
    };
    let code = u32::from(character);
    let digit = |shift: u32| HEX[(code >> shift & 0xF) as usize];
    let escape = [b'\\', short, digit(12), digit(8), digit(4), digit(0)];
    escape.into_iter().take(if short == b'u' { 6 } else { 2 })
}

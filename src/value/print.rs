//! The text of values, native and JSON, which differ in what stands between the parts. The parser
//! reads both back; `docs/grammar.md` states them.

use std::fmt;
use std::mem;

use super::escape::{escape, needs_escape};
use super::plain::{is_printed, printed_len};
use super::{DEPTH_MAX, Map, Value, ValueError};
use crate::trie::Parts;

/// The two kinds of text, as the parameter of the functions in which they differ.
const NATIVE: bool = false;
const JSON: bool = true;

/// Room for the text of most values.
const TEXT_BYTES: usize = 128;

/// Strings from this length on are not checked to be text.
const LONG: usize = 512;

impl Value {
    /// Returns the native text: `{"name": "Mary"; "tags": [1; 2]}`. Takes **O(n)** for `n` bytes of
    /// text. `Display`, and with it `to_string`, gives the same text, with one copy more.
    ///
    /// Fields come in byte order of their names. Floats have the fewest digits that read back to
    /// the same number and always a point or an exponent: `1.0`, `1000.0`, `1e+20`, `1e-05`.
    /// Strings escape the double quote, the backslash and what a terminal would obey instead of showing
    /// it ([`needs_escape`]); everything else stands as it is.
    ///
    /// What no store holds is written, too, but not read back: floats that are not finite appear as
    /// `NaN` and `inf`, field names that are not UTF-8 with replacement characters, and what lies
    /// deeper than [`DEPTH_MAX`] as `{...}` and `[...]`.
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// let person = value!({ "name": "Mary", "ratio": 1.0 });
    /// assert_eq!(person.to_text(), r#"{"name": "Mary"; "ratio": 1.0}"#);
    /// ```
    pub fn to_text(&self) -> String {
        let mut out = Out::new();
        write_value::<NATIVE>(&mut out, self, DEPTH_MAX);
        out.into_text()
    }

    /// Returns the text in JSON, without white space: `{"name":"Mary","tags":[1,2]}`. Takes **O(n)**
    /// for `n` bytes of text. Strings have the escapes of [`to_text`](Self::to_text).
    /// [`parse_json`](crate::parser::parse_json) reads it back to an equal
    /// value, and so does every reader of JSON that has integers of 64 bits and rounds floats
    /// correctly.
    ///
    /// # Errors
    /// What [`Value::check`] refuses; never for a value out of a store.
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// let person = value!({ "name": "Mary", "tags": [1, 1.0] });
    /// assert_eq!(person.to_json()?, r#"{"name":"Mary","tags":[1,1.0]}"#);
    /// # Ok::<(), triekv::ValueError>(())
    /// ```
    pub fn to_json(&self) -> Result<String, ValueError> {
        self.check()?;
        Ok(self.checked_to_json())
    }

    /// As [`Value::to_json`], for a value that passes [`Value::check`].
    pub(crate) fn checked_to_json(&self) -> String {
        let mut out = Out::new();
        write_value::<JSON>(&mut out, self, DEPTH_MAX);
        out.into_text()
    }
}

/// Writes the native text, as [`Value::to_text`] gives it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// What was written: text, and behind it bytes that have to be checked to be text. They are, but for
/// field names that are not UTF-8.
struct Out {
    text: String,
    bytes: Vec<u8>,
}

impl Out {
    fn new() -> Self {
        Out { text: String::new(), bytes: Vec::with_capacity(TEXT_BYTES) }
    }

    /// All that was written.
    #[inline]
    fn into_text(self) -> String {
        if self.text.is_empty() { checked(self.bytes) } else { self.text + &checked(self.bytes) }
    }

    /// Appends the characters of a long string, which is known to be text.
    fn push_long(&mut self, string: &str) {
        self.text += &checked(mem::take(&mut self.bytes));
        self.text.reserve(string.len());
        let mut rest = string;
        loop {
            let (run, special) = rest.split_at(printed_len(rest.as_bytes()));
            self.text += run;
            let mut characters = special.chars();
            let Some(character) = characters.next() else { return };
            if is_escaped(character) {
                self.text.extend(escape(character).map(char::from));
            } else {
                self.text.push(character);
            }
            rest = characters.as_str();
        }
    }
}

/// Bytes as text, with replacement characters for what is none.
#[inline(always)]
#[expect(clippy::inline_always, reason = "one call less for each text")]
fn checked(mut bytes: Vec<u8>) -> String {
    let len = bytes.len();
    // The check takes whole blocks of ASCII at once, but the bytes of the last one one by one.
    let padding = len.next_multiple_of(2 * size_of::<usize>()) - len;
    bytes.resize(len + padding, b' ');
    let mut text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    text.truncate(text.len() - padding);
    text
}

/// The first `len` bytes of `head`, filled up with blanks.
#[inline]
fn filled(head: [u8; 4], len: usize) -> [u8; 4] {
    const BLANKS: [u32; 5] = [0x2020_2020, 0x2020_2000, 0x2020_0000, 0x2000_0000, 0];
    // What is to be filled is zeroes.
    (u32::from_le_bytes(head) | BLANKS[len]).to_le_bytes()
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "one call less for each scalar")]
fn write_value<const IS_JSON: bool>(out: &mut Out, value: &Value, depth_left: usize) {
    match value {
        Value::Null => out.bytes.extend_from_slice(b"null"),
        Value::Bool(true) => out.bytes.extend_from_slice(b"true"),
        Value::Bool(false) => out.bytes.extend_from_slice(b"false"),
        Value::Int(number) => write_integer(out, *number),
        Value::UInt(number) => write_integer(out, *number),
        Value::Float(number) => write_float(out, *number),
        Value::Str(text) => write_string(out, text),
        Value::List(items) => write_list::<IS_JSON>(out, items, depth_left),
        Value::Map(fields) => write_map::<IS_JSON>(out, fields, depth_left),
    }
}

fn write_list<const IS_JSON: bool>(out: &mut Out, items: &[Value], depth_left: usize) {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return out.bytes.extend_from_slice(b"[...]");
    };
    out.bytes.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.bytes.extend_from_slice(if IS_JSON { b"," } else { b"; " });
        }
        write_value::<IS_JSON>(out, item, depth_left);
    }
    out.bytes.push(b']');
}

fn write_map<const IS_JSON: bool>(out: &mut Out, fields: &Map, depth_left: usize) {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return out.bytes.extend_from_slice(b"{...}");
    };
    out.bytes.push(b'{');
    match fields.in_parts() {
        Some(fields) => {
            let mut is_first = true;
            for (name, field) in fields {
                write_field::<IS_JSON>(out, is_first, name, field, depth_left);
                is_first = false;
            }
        }
        None => write_fields::<IS_JSON>(out, fields, depth_left),
    }
    out.bytes.push(b'}');
}

/// Writes the fields of a map that has more than a page of them.
#[cold]
fn write_fields<const IS_JSON: bool>(out: &mut Out, fields: &Map, depth_left: usize) {
    let mut is_first = true;
    fields.for_each(|name, field| {
        write_field::<IS_JSON>(out, is_first, Parts::new(name), field, depth_left);
        is_first = false;
    });
}

/// Writes a field, and what separates it from the one before.
#[inline(always)]
#[expect(clippy::inline_always, reason = "one call less for each field")]
fn write_field<const IS_JSON: bool>(
    out: &mut Out,
    is_first: bool,
    Parts { head, head_len, tail }: Parts<'_>,
    field: &Value,
    depth_left: usize,
) {
    if !is_first {
        out.bytes.extend_from_slice(if IS_JSON { b"," } else { b"; " });
    }
    // The quote and the head go in one piece, of which a part is cut off again.
    let end = out.bytes.len() + 1 + head_len;
    let [a, b, c, d] = head;
    out.bytes.extend_from_slice(&[b'"', a, b, c, d]);
    if is_printed(&filled(head, head_len)) {
        out.bytes.truncate(end);
        // Most names are short: no call for up to three bytes.
        if !tail.is_empty() && (tail.len() > 3 || !write_few(out, tail)) {
            write_characters(out, tail);
        }
    } else {
        out.bytes.truncate(end - head_len);
        write_parted(out, &head[..head_len], tail);
    }
    if let Value::Str(text) = field {
        out.bytes.extend_from_slice(if IS_JSON { b"\":\"" } else { b"\": \"" });
        write_rest(out, text);
    } else {
        out.bytes.extend_from_slice(if IS_JSON { b"\":" } else { b"\": " });
        write_value::<IS_JSON>(out, field, depth_left);
    }
}

/// Writes a name that may have a character to escape on both sides of the cut.
#[cold]
fn write_parted(out: &mut Out, head: &[u8], tail: &[u8]) {
    write_runs(out, &[head, tail].concat());
}

fn write_integer(out: &mut Out, number: impl itoa::Integer) {
    out.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
fn write_float(out: &mut Out, number: f64) {
    let plain = 1e-4..1e16;
    if plain.contains(&number.abs()) {
        return out.bytes.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    }
    if number == 0.0 || !number.is_finite() {
        return out.bytes.extend_from_slice(format!("{number:?}").as_bytes());
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let text = match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    };
    out.bytes.extend_from_slice(text.as_bytes());
}

/// Writes a string in double quotes.
fn write_string(out: &mut Out, string: &str) {
    out.bytes.push(b'"');
    write_rest(out, string);
}

/// Writes what stands behind the first quote of a string.
#[inline]
fn write_rest(out: &mut Out, string: &str) {
    if string.len() < LONG {
        write_characters(out, string.as_bytes());
    } else {
        out.push_long(string);
    }
    out.bytes.push(b'"');
}

/// Writes what stands between the quotes of a string.
fn write_characters(out: &mut Out, text: &[u8]) {
    let is_written = match text.len() {
        1..4 => write_few(out, text),
        4..8 => write_ends::<4>(out, text),
        8..16 => write_ends::<8>(out, text),
        16..32 => write_ends::<16>(out, text),
        _ => false,
    };
    if !is_written {
        write_runs(out, text);
    }
}

/// Writes one to three bytes, as [`write_ends`] writes more.
#[inline]
fn write_few(out: &mut Out, text: &[u8]) -> bool {
    let len = text.len();
    let bytes = [text[0], text[len / 2], text[len - 1], b' '];
    if !is_printed(&bytes) {
        return false;
    }
    let end = out.bytes.len() + len;
    out.bytes.extend_from_slice(&bytes);
    out.bytes.truncate(end);
    true
}

/// Writes from `N` to `2 * N` bytes as the first and the last `N`, which overlap, without a call for so
/// little. Says whether it could: nothing is written if a byte needs an escape.
#[inline]
fn write_ends<const N: usize>(out: &mut Out, text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) else {
        return false;
    };
    if !is_printed(first) || !is_printed(last) {
        return false;
    }
    let end = out.bytes.len() + text.len();
    out.bytes.extend_from_slice(first);
    out.bytes.truncate(end - N);
    out.bytes.extend_from_slice(last);
    true
}

/// Writes what stands between the quotes of a string, runs without escapes in one piece each.
fn write_runs(out: &mut Out, text: &[u8]) {
    let mut rest = text;
    loop {
        let (run, special) = rest.split_at(printed_len(rest));
        out.bytes.extend_from_slice(run);
        let Some((byte, after)) = special.split_first() else { break };
        let character = first_character(special);
        if let Some(character) = character.filter(|character| is_escaped(*character)) {
            out.bytes.extend(escape(character));
            (_, rest) = special.split_at(character.len_utf8());
        } else {
            out.bytes.push(*byte);
            rest = after;
        }
    }
}

/// The character that begins these bytes, if that is one of up to three bytes.
fn first_character(bytes: &[u8]) -> Option<char> {
    let len = match bytes.first()? {
        0..=0x7F => 1,
        0x80..=0xDF => 2,
        _ => 3,
    };
    str::from_utf8(bytes.get(..len)?).ok()?.chars().next()
}

/// Tells whether a character is escaped between quotes.
fn is_escaped(character: char) -> bool {
    matches!(character, '"' | '\\') || needs_escape(character)
}

/// The text of a string, in double quotes.
pub(crate) fn quoted(string: &str) -> String {
    let mut out = Out::new();
    write_string(&mut out, string);
    out.into_text()
}

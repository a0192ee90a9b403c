//! The native text of values. The parser reads it back; `docs/grammar.md` states it.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::slice;

use super::{Map, Value};
use crate::trie::Cursor;

/// Writes the native text: `{"name": "Mary"; "tags": [1; 2]}`.
///
/// Fields come in byte order of their names. Floats have the fewest digits that read back to the
/// same number and always a point or an exponent: `1.0`, `1000.0`, `1e+20`, `1e-05`. Strings escape
/// the double quote, the backslash and the control characters below U+0020; everything else stands
/// as it is.
///
/// What no store holds is written, too, but not read back: floats that are not finite appear as
/// `NaN` and `inf`, field names that are not UTF-8 with replacement characters.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_value(f, self)
    }
}

/// The part of a container that is still to be visited. A stack of these replaces recursion.
#[expect(clippy::large_enum_variant, reason = "there are few, and most are maps")]
pub(super) enum Children<'a> {
    List(slice::Iter<'a, Value>),
    Map(Cursor<'a, Value>),
}

impl<'a> Children<'a> {
    /// All children of `value`, or `None` if it is no container.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::List(items) => Some(Children::List(items.iter())),
            Value::Map(fields) => Some(Children::Map(Map::cursor(fields))),
            _ => None,
        }
    }

    /// The next child, with its name if this is a map.
    pub(super) fn next(&mut self) -> Option<(Option<&[u8]>, &'a Value)> {
        match self {
            Children::List(items) => items.next().map(|item| (None, item)),
            Children::Map(fields) => fields.next().map(|(name, field)| (Some(name), field)),
        }
    }

    fn brackets(&self) -> (char, char) {
        match self {
            Children::List(_) => ('[', ']'),
            Children::Map(_) => ('{', '}'),
        }
    }
}

fn write_value<W: Write>(out: &mut W, value: &Value) -> fmt::Result {
    let mut open = Vec::new();
    begin(out, value, &mut open)?;
    let mut first = true;
    while let Some(children) = open.last_mut() {
        if let Some((name, child)) = children.next() {
            if !first {
                out.write_str("; ")?;
            }
            if let Some(name) = name {
                write_string(out, &utf8(name))?;
                out.write_str(": ")?;
            }
            first = begin(out, child, &mut open)?;
        } else {
            out.write_char(children.brackets().1)?;
            open.pop();
            first = false;
        }
    }
    Ok(())
}

/// Writes a scalar, or opens a container. Returns whether the next child is the first of its kind.
fn begin<'a, W: Write>(
    out: &mut W,
    value: &'a Value,
    open: &mut Vec<Children<'a>>,
) -> Result<bool, fmt::Error> {
    if let Some(children) = Children::of(value) {
        out.write_char(children.brackets().0)?;
        open.push(children);
        return Ok(true);
    }
    write_scalar(out, value)?;
    Ok(false)
}

fn write_scalar<W: Write>(out: &mut W, value: &Value) -> fmt::Result {
    match value {
        Value::Null => out.write_str("null"),
        Value::Bool(true) => out.write_str("true"),
        Value::Bool(false) => out.write_str("false"),
        Value::Int(number) => write!(out, "{number}"),
        Value::UInt(number) => write!(out, "{number}"),
        Value::Float(number) => write_float(out, *number),
        Value::Str(text) => write_string(out, text),
        Value::List(_) | Value::Map(_) => Ok(()),
    }
}

/// Field names of stored values are UTF-8; others are made printable.
fn utf8(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name)
}

/// Writes the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on. Those
/// are the bounds of `{:?}`, too, which only writes the exponent otherwise: `1e20` for `1e+20`.
fn write_float<W: Write>(out: &mut W, number: f64) -> fmt::Result {
    let plain = 1e-4..1e16;
    if number == 0.0 || plain.contains(&number.abs()) || !number.is_finite() {
        return write!(out, "{number:?}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').ok_or(fmt::Error)?;
    match exponent.strip_prefix('-') {
        Some(exponent) => write!(out, "{digits}e-{exponent:0>2}"),
        None => write!(out, "{digits}e+{exponent:0>2}"),
    }
}

/// Writes a string in double quotes, runs without escapes in one piece each.
pub(super) fn write_string<W: Write>(out: &mut W, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    while let Some(length) = rest.bytes().position(special) {
        // The byte found is ASCII, so both ends of it are boundaries of characters.
        let (run, tail) = rest.split_at(length);
        let (escaped, tail) = tail.split_at(1);
        out.write_str(run)?;
        write_escape(out, escaped)?;
        rest = tail;
    }
    out.write_str(rest)?;
    out.write_char('"')
}

fn write_escape<W: Write>(out: &mut W, character: &str) -> fmt::Result {
    match character {
        "\"" => out.write_str("\\\""),
        "\\" => out.write_str("\\\\"),
        "\n" => out.write_str("\\n"),
        "\r" => out.write_str("\\r"),
        "\t" => out.write_str("\\t"),
        "\u{8}" => out.write_str("\\b"),
        "\u{c}" => out.write_str("\\f"),
        _ => character.chars().try_for_each(|other| write!(out, "\\u{:04x}", u32::from(other))),
    }
}

//! Keys and paths.
#![warn(clippy::indexing_slicing)]

use std::borrow::Cow;

use nom::Parser;
use nom::character::complete::char;

use super::ParseErrorKind;
use super::diagnosis::{COLON, INDEX_END, STEP};
use super::lexeme::{Fault, Parsed, control, expect, is_blank, is_control, natural, quoted, run};
use crate::value::{DEPTH_MAX, KEY_BYTES_MAX, Path, Step};

/// `path = root , { "." , step | "[" , natural , "]" }`, to the end of the text.
pub(super) fn path(input: &str) -> Parsed<'_, Path> {
    path_up_to(End::OfText, input)
}

/// The path of a SET or MERGE: `path , { blank } , ":"`. It ends at the first colon outside quotes.
pub(super) fn path_and_colon(input: &str) -> Parsed<'_, Path> {
    let (rest, path) = path_up_to(End::AtColon, input)?;
    let (rest, ()) = colon(rest)?;
    Ok((rest, path))
}

/// Where a path ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    OfText,
    /// The blanks before it are no part of the path.
    AtColon,
}

impl End {
    fn is_at(self, rest: &str) -> bool {
        let rest = if self == End::AtColon { rest.trim_start_matches(is_blank) } else { rest };
        rest.is_empty() || self == End::AtColon && rest.starts_with(':')
    }
}

fn path_up_to(end: End, input: &str) -> Parsed<'_, Path> {
    let (mut rest, root) = step(end, input)?;
    let mut path = Path::new(checked(input, root)?);
    while !end.is_at(rest) {
        if path.steps().len() == DEPTH_MAX {
            return Err(Fault::fail(rest, ParseErrorKind::TooDeep { limit: DEPTH_MAX }));
        }
        let (after, next) = match rest.bytes().next() {
            Some(b'[') => index(rest)?,
            _ => name(end, rest)?,
        };
        path.push(next);
        rest = after;
    }
    Ok((rest, path))
}

/// `"." , step`
fn name(end: End, input: &str) -> Parsed<'_, Step> {
    let (rest, _) = expect(STEP, char('.'))(input)?;
    let (rest, name) = step(end, rest)?;
    Ok((rest, Step::Name(name.into_owned())))
}

/// `"[" , natural , "]"`
fn index(input: &str) -> Parsed<'_, Step> {
    let (digits, _) = char('[')(input)?;
    let (rest, text) = natural(digits)?;
    let (rest, _) = expect(INDEX_END, char(']'))(rest)?;
    let index = text.parse().map_err(|_| Fault::fail(digits, ParseErrorKind::IntegerOutOfRange))?;
    Ok((rest, Step::Index(index)))
}

/// `step = string | plain , { plain }`, where no plain character has a meaning in paths.
fn step(end: End, input: &str) -> Parsed<'_, Cow<'_, str>> {
    if input.starts_with('"') {
        return quoted(input);
    }
    let special = |character| match character {
        '.' | '[' | ']' | '"' => true,
        ':' => end == End::AtColon,
        other => is_control(other),
    };
    let (rest, name) = run(|character| !special(character)).parse(input)?;
    let name = if end.is_at(rest) { name.trim_end_matches(is_blank) } else { name };
    match rest.chars().next() {
        _ if end.is_at(rest) && !name.is_empty() => Ok((rest, Cow::Borrowed(name))),
        Some(']' | '"') if name.is_empty() => Err(Fault::expected(rest, "a name")),
        Some(']' | '"') => Err(Fault::expected(rest, STEP)),
        Some(found) if is_control(found) => Err(control(rest)),
        _ if name.is_empty() => Err(Fault::fail(input, ParseErrorKind::EmptyStep)),
        _ => Ok((rest, Cow::Borrowed(name))),
    }
}

/// The key of a GET or DELETE, `key = string | bare`, to the end of the text.
pub(super) fn key(input: &str) -> Parsed<'_, String> {
    if input.starts_with('"') {
        let (rest, key) = quoted(input)?;
        let (rest, _) = run(is_blank).parse(rest)?;
        return Ok((rest, checked(input, key)?));
    }
    bare_key(input, input)
}

/// The key of a PUT or of a line of a data file: `key , { blank } , ":"`.
pub(super) fn key_and_colon(input: &str) -> Parsed<'_, String> {
    let (rest, key) = if input.starts_with('"') {
        let (rest, key) = quoted(input)?;
        (rest, checked(input, key)?)
    } else {
        let end = input.find(':').unwrap_or(input.len());
        let (bare, rest) = input.split_at(end);
        if rest.is_empty() {
            return Err(Fault::fail(rest, ParseErrorKind::MissingValue));
        }
        bare_key(input, bare.trim_end_matches(is_blank))?
    };
    let (rest, ()) = colon(rest)?;
    Ok((rest, key))
}

/// `{ blank } , ":"`, between a place and its value.
fn colon(input: &str) -> Parsed<'_, ()> {
    let (rest, _) = run(is_blank).parse(input)?;
    if rest.is_empty() {
        return Err(Fault::fail(rest, ParseErrorKind::MissingValue));
    }
    let (rest, _) = expect(COLON, char(':'))(rest)?;
    Ok((rest, ()))
}

/// `bare`, which begins `input`: any characters but double quotes and control characters.
fn bare_key<'a>(input: &'a str, bare: &'a str) -> Parsed<'a, String> {
    let allowed = |character| character != '"' && !is_control(character);
    if let Some((offset, found)) = bare.char_indices().find(|(_, character)| !allowed(*character)) {
        let (_, rest) = input.split_at(offset);
        let quote = found == '"';
        return Err(if quote {
            Fault::fail(rest, ParseErrorKind::QuoteInKey)
        } else {
            control(rest)
        });
    }
    let (_, rest) = input.split_at(bare.len());
    Ok((rest, checked(input, Cow::Borrowed(bare))?))
}

/// Holds a key that begins `input` to the limits of keys.
pub(super) fn checked<'a>(
    input: &'a str,
    key: Cow<'_, str>,
) -> Result<String, nom::Err<Fault<'a>>> {
    let kind = match key.len() {
        0 => ParseErrorKind::EmptyKey,
        1..=KEY_BYTES_MAX => return Ok(key.into_owned()),
        length => ParseErrorKind::KeyTooLong { length, limit: KEY_BYTES_MAX },
    };
    Err(Fault::fail(input, kind))
}

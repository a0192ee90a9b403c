//! Values: `value = map | list | string | number | word`.
#![warn(clippy::indexing_slicing)]

use nom::Parser;
use smallvec::SmallVec;

use super::ParseErrorKind;
use super::diagnosis::{
    COLON, FIELD_NAME, ITEM_END, JSON_ITEM_END, JSON_PAIR_END, MAP, PAIR_END, VALUE,
};
use super::lexeme::{Fault, Parsed, end, expect, number, space, string, symbol};
use crate::value::fields::Fields;
use crate::value::{DEPTH_MAX, List, Map, Value};

/// What the grammar of a value depends on, besides the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// How many containers may still lie within each other.
    depth_left: usize,
    /// Whether `True` and `False` are booleans, too.
    capital_booleans: bool,
    /// What stands between pairs and between items.
    separator: u8,
}

impl Context {
    pub(super) const COMMAND: Context =
        Context { depth_left: DEPTH_MAX, capital_booleans: false, separator: b';' };
    pub(super) const DATA_FILE: Context = Context { capital_booleans: true, ..Self::COMMAND };
    pub(super) const JSON: Context = Context { separator: b',', ..Self::COMMAND };

    /// The context inside the container that begins `input`.
    fn inside(self, input: &str) -> Result<Self, nom::Err<Fault<'_>>> {
        let too_deep = || Fault::fail(input, ParseErrorKind::TooDeep { limit: DEPTH_MAX });
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(too_deep)?;
        Ok(Context { depth_left, ..self })
    }
}

/// A value that is the whole text.
pub(super) fn text(input: &str, context: Context) -> Parsed<'_, Value> {
    located(input, |input| value(input, context))
}

/// `record = ws , map`, the value of a record. Anything else is refused as a whole, at the place
/// just after the colon.
pub(super) fn record(input: &str, context: Context) -> Parsed<'_, Value> {
    located(input, |input| {
        let (rest, ()) = space(input)?;
        match rest.bytes().next() {
            Some(b'{') => map(rest, context),
            Some(_) => Err(Fault::fail(input, ParseErrorKind::NotAMap)),
            None => Err(Fault::expected(rest, MAP)),
        }
    })
}

/// `ws , value`, what is put into a record.
pub(super) fn any(input: &str, context: Context) -> Parsed<'_, Value> {
    located(input, |input| {
        let (rest, ()) = space(input)?;
        value(rest, context)
    })
}

/// Runs `parser` up to the end of the text, and notes in its faults where the value begins.
fn located<'a, T>(input: &'a str, parser: impl Fn(&'a str) -> Parsed<'a, T>) -> Parsed<'a, T> {
    let parsed = parser(input).and_then(|(rest, parsed)| {
        let (rest, _) = end(rest)?;
        Ok((rest, parsed))
    });
    parsed.map_err(|error| error.map(|fault: Fault<'_>| fault.in_value(input)))
}

fn value(input: &str, context: Context) -> Parsed<'_, Value> {
    match input.bytes().next() {
        Some(b'{') => map(input, context),
        Some(b'[') => list(input, context),
        Some(b'"') => string.map(Value::from).parse(input),
        Some(b'-' | b'0'..=b'9') => number(input),
        _ => word(input, context),
    }
}

/// So many items are on the stack while their list is read, more are on the heap.
const ON_STACK: usize = 8;

/// `map = "{" , ws , [ pair , { ";" , ws , pair } ] , "}" , ws`
pub(super) fn map(input: &str, context: Context) -> Parsed<'_, Value> {
    let inside = context.inside(input)?;
    let (mut rest, ()) = symbol(b'{')(input)?;
    if let Ok((rest, ())) = symbol(b'}')(rest) {
        return Ok((rest, Value::Map(Map::new())));
    }
    let mut fields = Fields::new();
    loop {
        let (after, name) = expect(FIELD_NAME, string)(rest)?;
        let (after, ()) = expect(COLON, symbol(b':'))(after)?;
        let (after, field) = value(after, inside)?;
        fields.push(name, field);
        match next(after, b'}', context)? {
            (rest, Next::End) => return Ok((rest, Value::Map(fields.take()))),
            (after, Next::More) => rest = after,
        }
    }
}

/// `list = "[" , ws , [ value , { ";" , ws , value } ] , "]" , ws`
fn list(input: &str, context: Context) -> Parsed<'_, Value> {
    let inside = context.inside(input)?;
    let (mut rest, ()) = symbol(b'[')(input)?;
    if let Ok((rest, ())) = symbol(b']')(rest) {
        return Ok((rest, Value::List(List::new())));
    }
    let mut items: SmallVec<[Value; ON_STACK]> = SmallVec::new();
    loop {
        let (after, item) = value(rest, inside)?;
        items.push(item);
        match next(after, b']', context)? {
            (rest, Next::End) => return Ok((rest, Value::List(items.drain(..).collect()))),
            (after, Next::More) => rest = after,
        }
    }
}

/// What follows a pair or an item.
#[derive(Clone, Copy)]
enum Next {
    More,
    End,
}

/// Reads the separator, or the bracket that closes.
#[inline]
fn next(input: &str, close: u8, context: Context) -> Parsed<'_, Next> {
    match input.split_at_checked(1).map(|(next, rest)| (next.as_bytes(), rest)) {
        Some(([next], rest)) if *next == context.separator => {
            space.map(|()| Next::More).parse(rest)
        }
        Some(([next], rest)) if *next == close => space.map(|()| Next::End).parse(rest),
        Some(([b','], _)) => Err(Fault::fail(input, ParseErrorKind::Comma)),
        _ => Err(Fault::expected(input, separator_or(close, context))),
    }
}

fn separator_or(close: u8, context: Context) -> &'static str {
    match (context.separator, close) {
        (b',', b'}') => JSON_PAIR_END,
        (b',', _) => JSON_ITEM_END,
        (_, b'}') => PAIR_END,
        (_, _) => ITEM_END,
    }
}

/// `word = ( "null" | "true" | "false" ) , ws`
fn word(input: &str, context: Context) -> Parsed<'_, Value> {
    let words = [
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
        ("True", Value::Bool(true)),
        ("False", Value::Bool(false)),
    ];
    let allowed = if context.capital_booleans { 5 } else { 3 };
    let read = |(word, value)| Some((input.strip_prefix(word)?, value));
    match words.into_iter().take(allowed).find_map(read) {
        Some((rest, word)) => space.map(|()| word.clone()).parse(rest),
        None => Err(Fault::expected(input, VALUE)),
    }
}

//! Blanks, punctuation, strings and numbers. Each lexeme eats the white space after it.
#![warn(clippy::indexing_slicing)]

use std::borrow::Cow;

use nom::bytes::complete::{tag, take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{eof, opt, recognize};
use nom::error::{ErrorKind, ParseError as _};
use nom::sequence::preceded;
use nom::{Err, IResult, Parser};

use super::diagnosis::{DIGIT, END};
use super::{ParseError, ParseErrorKind};
use crate::value::Value;
use crate::value::plain::plain_len;

/// The result of a parser: the rest of the input, and the parsed part.
pub(super) type Parsed<'a, T> = IResult<&'a str, T, Fault<'a>>;

/// An error inside the grammar, at the start of `rest`.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    rest: &'a str,
    kind: ParseErrorKind,
    /// What was left of the text where the value begins in which this lies.
    value: Option<&'a str>,
}

impl<'a> Fault<'a> {
    /// Ends the parse: no other branch is tried.
    pub(super) fn fail(rest: &'a str, kind: ParseErrorKind) -> Err<Self> {
        Err::Failure(Fault { rest, kind, value: None })
    }

    /// Ends the parse because something else must stand at the start of `rest`.
    pub(super) fn expected(rest: &'a str, what: &'static str) -> Err<Self> {
        Self::fail(rest, ParseErrorKind::Expected { what, found: rest.chars().next() })
    }

    /// The same fault, known to lie in the value that `value` begins with.
    pub(super) fn in_value(self, value: &'a str) -> Self {
        Fault { value: Some(value), ..self }
    }
}

/// Lets nom's own parsers fail with a fault; [`expect`] replaces their words by ours.
impl<'a> nom::error::ParseError<&'a str> for Fault<'a> {
    fn from_error_kind(rest: &'a str, _: ErrorKind) -> Self {
        let kind = ParseErrorKind::Expected { what: "something else", found: rest.chars().next() };
        Fault { rest, kind, value: None }
    }

    fn append(_: &'a str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Runs `parser` on the whole of `text`, white space around it dropped, and gives errors their
/// offsets.
pub(super) fn whole<'a, T>(
    text: &'a str,
    mut parser: impl FnMut(&'a str) -> Parsed<'a, T>,
) -> Result<T, ParseError> {
    // Cut at the end alone: the offset of a rest is then what is missing of it.
    let body = text.trim_end_matches(is_space);
    let parsed = space(body).and_then(|(rest, ())| {
        let (rest, parsed) = parser(rest)?;
        end(rest)?;
        Ok(parsed)
    });
    parsed.map_err(|error| {
        let (Err::Error(fault) | Err::Failure(fault)) = error else {
            unreachable!("parsers of complete text never ask for more")
        };
        let offset = |rest: &str| body.len() - rest.len();
        ParseError::new(body, offset(fault.rest), fault.value.map(offset), fault.kind)
    })
}

/// The end of the text.
pub(super) fn end(input: &str) -> Parsed<'_, &str> {
    expect(END, eof)(input)
}

/// Turns the failure of `parser` to match into "expected `what`", at the place where it began, for
/// good.
pub(super) fn expect<'a, T>(
    what: &'static str,
    mut parser: impl Parser<&'a str, Output = T, Error = Fault<'a>>,
) -> impl FnMut(&'a str) -> Parsed<'a, T> {
    move |input| match parser.parse(input) {
        Err(Err::Error(_)) => Err(Fault::expected(input, what)),
        parsed => parsed,
    }
}

/// The white space that may stand between lexemes.
pub(super) fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// What separates the words of a command; dropped around keys and paths.
pub(super) fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

pub(super) fn is_control(character: char) -> bool {
    character < ' '
}

/// `ws = { " " | tab | CR | LF }`
#[inline]
pub(super) fn space(input: &str) -> Parsed<'_, ()> {
    // Mostly there is none, or one blank.
    let rest = input.strip_prefix(' ').unwrap_or(input);
    match rest.bytes().next() {
        Some(b' ' | b'\t' | b'\r' | b'\n') => run(is_space).map(drop).parse(rest),
        _ => Ok((rest, ())),
    }
}

/// One character, which is ASCII, and the white space after it.
#[inline]
pub(super) fn symbol(character: u8) -> impl Fn(&str) -> Parsed<'_, ()> {
    move |input| match input.split_at_checked(1) {
        Some((first, rest)) if first.as_bytes() == [character] => space(rest),
        _ => Err(Err::Error(Fault::from_error_kind(input, ErrorKind::Char))),
    }
}

/// `string = '"' , { plain | escape } , '"'`, without the white space after it; borrowed from the
/// input if there are no escapes.
pub(super) fn quoted(input: &str) -> Parsed<'_, Cow<'_, str>> {
    let (rest, _) = char('"')(input)?;
    // The byte that ends the run is ASCII, so this is a boundary of characters.
    let (plain, tail) = rest.split_at(plain_len(rest.as_bytes()));
    match tail.strip_prefix('"') {
        Some(rest) => Ok((rest, Cow::Borrowed(plain))),
        None => quoted_with_escapes(input, plain, tail),
    }
}

/// The string that begins `input`, of which `plain` has been read and `tail` is left.
#[cold]
fn quoted_with_escapes<'a>(
    input: &'a str,
    plain: &str,
    mut tail: &'a str,
) -> Parsed<'a, Cow<'a, str>> {
    let mut text = plain.to_owned();
    loop {
        match tail.as_bytes().first() {
            Some(b'"') => return char('"')(tail).map(|(rest, _)| (rest, Cow::Owned(text))),
            Some(b'\\') => {
                let (rest, escaped) = escape(tail, input)?;
                text.push(escaped);
                let (plain, rest) = rest.split_at(plain_len(rest.as_bytes()));
                text += plain;
                tail = rest;
            }
            Some(_) => return Err(control(tail)),
            None => return Err(Fault::fail(input, ParseErrorKind::UnclosedString)),
        }
    }
}

/// The fault of a control character at the start of `rest`.
pub(super) fn control(rest: &str) -> Err<Fault<'_>> {
    let found = rest.chars().next().unwrap_or_default();
    Fault::fail(rest, ParseErrorKind::ControlCharacter { found })
}

/// `escape = "\" , ( '"' | "\" | "/" | "b" | "f" | "n" | "r" | "t" | unit | pair )` in the string
/// that begins `string`. Faults lie at the backslash.
fn escape<'a>(input: &'a str, string: &'a str) -> Parsed<'a, char> {
    let mut characters = input.chars();
    let escaped = match characters.by_ref().nth(1) {
        Some(same @ ('"' | '\\' | '/')) => same,
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return unicode(input, string),
        Some(_) => return Err(Fault::fail(input, ParseErrorKind::UnknownEscape)),
        None => return Err(Fault::fail(string, ParseErrorKind::UnclosedString)),
    };
    Ok((characters.as_str(), escaped))
}

/// One `\u` escape, or the two of a surrogate pair.
fn unicode<'a>(input: &'a str, string: &'a str) -> Parsed<'a, char> {
    let lone = || Fault::fail(input, ParseErrorKind::LoneSurrogate);
    let (rest, high) = unit(input, string)?;
    if let Some(character) = char::from_u32(high) {
        return Ok((rest, character));
    }
    let (rest, low) = match rest {
        "" | "\\" => return Err(Fault::fail(string, ParseErrorKind::UnclosedString)),
        _ if rest.starts_with("\\u") => unit(rest, string)?,
        _ => return Err(lone()),
    };
    let pair = (0xD800..0xDC00).contains(&high) && (0xDC00..0xE000).contains(&low);
    let character = char::from_u32(0x1_0000 + ((high & 0x3FF) << 10) + (low & 0x3FF));
    character.filter(|_| pair).map(|character| (rest, character)).ok_or_else(lone)
}

/// `unit = "\u" , 4 * hex`
fn unit<'a>(input: &'a str, string: &'a str) -> Parsed<'a, u32> {
    let hex = |character: char| character.is_ascii_hexdigit();
    let (rest, digits) = preceded(tag("\\u"), take_while_m_n(0, 4, hex)).parse(input)?;
    match u32::from_str_radix(digits, 16) {
        Ok(unit) if digits.len() == 4 => Ok((rest, unit)),
        _ if rest.is_empty() => Err(Fault::fail(string, ParseErrorKind::UnclosedString)),
        _ => Err(Fault::fail(input, ParseErrorKind::UnknownEscape)),
    }
}

/// A string and the white space after it.
#[inline]
pub(super) fn string(input: &str) -> Parsed<'_, Cow<'_, str>> {
    let (rest, text) = quoted(input)?;
    let (rest, ()) = space(rest)?;
    Ok((rest, text))
}

/// `number = [ "-" ] , digits , [ "." , digit , { digit } ] , [ exponent ]`, an integer if it has
/// neither fraction nor exponent.
pub(super) fn number(input: &str) -> Parsed<'_, Value> {
    if let Some((rest, number)) = short_number(input) {
        let (rest, ()) = space(rest)?;
        return Ok((rest, number));
    }
    let (rest, _) = opt(char('-')).parse(input)?;
    let (rest, _) = natural(rest)?;
    let (rest, fraction) = opt(preceded(char('.'), expect(DIGIT, digits))).parse(rest)?;
    let (rest, exponent) = opt(exponent).parse(rest)?;

    let (text, _) = input.split_at(input.len() - rest.len());
    let number = if fraction.is_none() && exponent.is_none() { integer(text) } else { float(text) };
    let number = number.map_err(|kind| Fault::fail(input, kind))?;
    let (rest, ()) = space(rest)?;
    Ok((rest, number))
}

/// How many digits fit any `u64`, and any `i64`.
const DIGITS_SHORT: usize = 18;

/// Floats hold every integer up to this one exactly.
const MANTISSA_MAX: u64 = 1 << f64::MANTISSA_DIGITS;

/// Powers of ten, each of which a float holds exactly.
const POWERS_OF_TEN: [f64; DIGITS_SHORT + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// A number of few digits and without exponent, or `None` if this is another one or none at all.
///
/// A float is the quotient of two numbers that floats hold exactly, so that it is rounded once, to the
/// nearest (W. D. Clinger, "How to Read Floating Point Numbers Accurately", 1990).
#[inline]
fn short_number(input: &str) -> Option<(&str, Value)> {
    let unsigned = input.strip_prefix('-').unwrap_or(input);
    let is_negative = unsigned.len() < input.len();
    let (natural, integer) = leading_digits(unsigned, 0);
    if natural == 0 || natural > 1 && unsigned.starts_with('0') {
        return None;
    }
    let (_, rest) = unsigned.split_at(natural);
    let (rest, number) = if let Some(rest) = rest.strip_prefix('.') {
        let (fraction, mantissa) = leading_digits(rest, integer);
        if fraction == 0 || natural + fraction > DIGITS_SHORT || mantissa > MANTISSA_MAX {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "floats hold it exactly")]
        let float = mantissa as f64 / POWERS_OF_TEN.get(fraction)?;
        let (_, rest) = rest.split_at(fraction);
        (rest, Value::Float(if is_negative { -float } else { float }))
    } else {
        let integer = i64::try_from(integer).ok().filter(|_| natural <= DIGITS_SHORT)?;
        (rest, Value::Int(if is_negative { -integer } else { integer }))
    };
    let has_exponent = matches!(rest.bytes().next(), Some(b'e' | b'E'));
    (!has_exponent).then_some((rest, number))
}

/// How many digits begin `text`, and the number that has them behind those of `number`. It is wrong
/// where all of them are more than [`DIGITS_SHORT`].
#[inline]
fn leading_digits(text: &str, number: u64) -> (usize, u64) {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold((0, number), |(count, number), digit| {
        (count + 1, number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    })
}

/// `natural = "0" | nonzero , { digit }`
pub(super) fn natural(input: &str) -> Parsed<'_, &str> {
    let (rest, text) = expect(DIGIT, digits)(input)?;
    match text.strip_prefix('0') {
        Some(more) if !more.is_empty() => {
            let (_, after_zero) = input.split_at(1);
            Err(Fault::fail(after_zero, ParseErrorKind::LeadingZero))
        }
        _ => Ok((rest, text)),
    }
}

fn digits(input: &str) -> Parsed<'_, &str> {
    take_while1(|character: char| character.is_ascii_digit())(input)
}

/// `exponent = ( "e" | "E" ) , [ "+" | "-" ] , digit , { digit }`
fn exponent(input: &str) -> Parsed<'_, &str> {
    recognize((one_of("eE"), opt(one_of("+-")), expect(DIGIT, digits))).parse(input)
}

fn integer(text: &str) -> Result<Value, ParseErrorKind> {
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Value::Int(number));
    }
    text.parse::<u64>().map(Value::from).map_err(|_| ParseErrorKind::IntegerOutOfRange)
}

fn float(text: &str) -> Result<Value, ParseErrorKind> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::Float(number)),
        _ => Err(ParseErrorKind::FloatOutOfRange),
    }
}

/// A run of characters that `belongs` accepts, which may be empty.
pub(super) fn run<'a>(
    belongs: impl Fn(char) -> bool,
) -> impl Parser<&'a str, Output = &'a str, Error = Fault<'a>> {
    take_while(belongs)
}

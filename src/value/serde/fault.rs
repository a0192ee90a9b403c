//! What serde and the types behind it say is wrong, as data.

use std::fmt::Display;

use ::serde::de::{self, Expected, Unexpected};
use ::serde::ser;

use super::super::{ValueError, ValueErrorKind};

/// How many characters of a string are shown in an error.
const SHOWN_MAX: usize = 40;

impl ser::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        ValueErrorKind::Refused { message: message.to_string() }.into()
    }
}

impl de::Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        ser::Error::custom(message)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(expected, kind_of(found))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(expected, content_of(found))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        mismatch(expected, counted(length))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let kind = ValueErrorKind::UnknownVariant { found: cut(found), expected: owned(expected) };
        kind.into()
    }

    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        at_field(name, ValueErrorKind::UnknownField { expected: owned(expected) })
    }

    fn missing_field(name: &'static str) -> Self {
        at_field(name, ValueErrorKind::Missing)
    }

    fn duplicate_field(name: &'static str) -> Self {
        at_field(name, ValueErrorKind::Duplicate)
    }
}

/// The error of a value that does not fit its type.
pub(super) fn mismatch(expected: impl Display, found: impl Display) -> ValueError {
    let (expected, found) = (expected.to_string(), found.to_string());
    ValueErrorKind::Mismatch { expected, found }.into()
}

/// `1 item`, `2 items`.
pub(super) fn counted(items: usize) -> String {
    format!("{items} item{}", if items == 1 { "" } else { "s" })
}

fn at_field(name: &str, kind: ValueErrorKind) -> ValueError {
    ValueError::from(kind).under(name)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(str::to_owned).collect()
}

/// What was found, where its kind is wrong. Numbers are shown all the same: they are short, and
/// a fraction or a sign is often what is wrong.
fn kind_of(found: Unexpected<'_>) -> String {
    let kind = match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Char(_) => "a character",
        Unexpected::Str(_) => "a string",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit => "null",
        Unexpected::Option => "an option",
        Unexpected::NewtypeStruct => "a newtype",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        Unexpected::Enum => "an enum",
        Unexpected::UnitVariant => "a variant without content",
        Unexpected::NewtypeVariant | Unexpected::TupleVariant | Unexpected::StructVariant => {
            "a variant with content"
        }
        Unexpected::Other(other) => other,
        Unexpected::Unsigned(number) => return format!("the integer {number}"),
        Unexpected::Signed(number) => return format!("the integer {number}"),
        Unexpected::Float(number) => return format!("the float {number:?}"),
    };
    kind.to_owned()
}

/// What was found, where its kind is right.
fn content_of(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(truth) => truth.to_string(),
        Unexpected::Char(character) => format!("the character {character:?}"),
        Unexpected::Str(text) => format!("the string {:?}", cut(text)),
        other => kind_of(other),
    }
}

/// The string, or its beginning and three dots.
fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

//! The grammar: text to values, paths and commands, written with nom.
//!
//! `docs/grammar.md` states the whole grammar, its limits and each error with its text. The modules
//! follow it production by production:
//! - `lexeme`: blanks, punctuation, strings, numbers, and the errors at the place where they occur;
//! - `value`: values and the maps that records are;
//! - `path`: keys and paths;
//! - `command`: the lines of the prompt and of a data file;
//! - `json`: JSON values, and lines of a data file that are JSON;
//! - `line`: a data file, line by line;
//! - `diagnosis`, `help`, `excerpt`: what is told of an error, found from the text after it failed.
//!
//! # How it is built
//! - Each lexeme eats the white space after it, never before it, so that an error points at the
//!   character that is wrong and not at the gap before it.
//! - The first character decides which production comes, so nothing is parsed twice.
//! - Parsers know what is left of the text, not where they are: an offset is the length of the text
//!   less that of the rest, computed once when an error leaves this module.
//! - Containers recurse, at most [`DEPTH_MAX`](crate::value::DEPTH_MAX) deep: the level beyond is
//!   refused at its bracket, before anything in it is read.
//!
//! Every text is read in time and memory that grow with its length alone.
#![warn(clippy::indexing_slicing)]

mod command;
mod diagnosis;
mod excerpt;
mod help;
mod json;
mod lexeme;
mod line;
mod path;
mod value;

use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::diagnosis::Diagnosis;
pub use self::excerpt::Excerpt;
pub use self::line::{LINE_BYTES_MAX, Line, LineError, Lines};
use self::value::Context;
use crate::value::{Path, Value};

/// What a line of the prompt asks for. The variants are numbered on disk and between servers: new
/// ones come last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Reads the record at a key.
    Get {
        /// The key, in which dots have no meaning.
        key: String,
    },
    /// Reads a record or a part of one.
    Query {
        /// Where it is.
        path: Path,
    },
    /// Writes the record at a key, in place of any that is there.
    Put {
        /// The key, in which dots have no meaning.
        key: String,
        /// The record; a map if it comes from text.
        value: Value,
        /// What must hold for the write to happen.
        condition: Condition,
    },
    /// Removes the record at a key.
    Delete {
        /// The key, in which dots have no meaning.
        key: String,
    },
    /// Puts a value at a place in a record, which is made if there is none.
    Set {
        /// The place; without steps the whole record.
        path: Path,
        /// What is put there, any value where the path has steps.
        value: Value,
        /// What must hold of the record for the write to happen.
        condition: Condition,
    },
    /// Merges a JSON merge patch into what is at a place in a record, as [`Value::merge`] does.
    Merge {
        /// The place; without steps the whole record.
        path: Path,
        /// What is merged into it.
        patch: Value,
        /// What must hold of the record for the write to happen.
        condition: Condition,
    },
    /// Removes a part of a record, or without steps the record.
    Remove {
        /// Where it is.
        path: Path,
        /// What must hold of the record for the removal to happen.
        condition: Condition,
    },
}

/// What must hold for a record to be written. Text always gives [`Always`](Condition::Always).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// The record is written whatever is there.
    #[default]
    Always,
    /// The record is written only where there is none.
    IfAbsent,
    /// The record is written only over one of this version.
    IfVersion(u64),
}

/// A text that does not follow the grammar: where, what is wrong there, and what would be right.
///
/// `Display` is a line such as `expected ':', found '}' at byte 4`; that of [`kind`](Self::kind) is
/// the same without the place. The rest is for who wants to show it as compilers do.
///
/// # Examples
/// ```
/// use triekv::parser::parse_value;
///
/// let text = "{ \"name\" : \"Mary\" ;\n  adult : true }";
/// let error = parse_value(text).unwrap_err();
/// assert_eq!((error.offset(), error.line(), error.column()), (22, 2, 3));
/// assert_eq!(error.expected(), Some("a field name in double quotes"));
/// assert_eq!(error.found(), Some('a'));
/// assert_eq!(&text[error.span()], "adult");
/// assert_eq!(error.help(), Some(r#"names are in double quotes: "name""#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} at byte {}", .0.kind, .0.place.offset)]
pub struct ParseError(Box<Diagnosis>);

impl ParseError {
    /// Returns what is wrong.
    pub fn kind(&self) -> &ParseErrorKind {
        &self.0.kind
    }

    /// Returns where it is wrong, in bytes from the start of the text that was given; its length
    /// less the white space at its end where more text was expected. It is always a boundary of
    /// characters.
    pub fn offset(&self) -> usize {
        self.0.place.offset
    }

    /// Returns the line in which it is wrong, counted from 1.
    pub fn line(&self) -> usize {
        self.0.place.line
    }

    /// Returns where in its line it is wrong, in characters counted from 1.
    pub fn column(&self) -> usize {
        self.0.place.column
    }

    /// Returns the bytes of the text that are wrong: a character, word, string or number; none
    /// where something is missing. They begin at [`offset`](Self::offset), or after the white space
    /// there, and both ends are boundaries of characters.
    pub fn span(&self) -> Range<usize> {
        self.0.span.clone()
    }

    /// Returns what may stand at the place, in words: `"';' or '}'"`. It is `None` if what stands
    /// there is wrong in itself, as a number that is too large.
    pub fn expected(&self) -> Option<&'static str> {
        self.0.expected
    }

    /// Returns the character at the place; `None` at the end of the text.
    pub fn found(&self) -> Option<char> {
        self.0.found
    }

    /// Returns what to write instead, if there is more to say than what was expected:
    /// `"a number has no plus sign"`.
    pub fn help(&self) -> Option<&'static str> {
        self.0.help
    }

    /// Returns the place of the innermost bracket that is open, if the error may be that it is not
    /// closed: the text ends within it, another bracket would close it, or a list goes on with a
    /// colon.
    pub fn unclosed(&self) -> Option<Place> {
        self.0.unclosed
    }

    /// Returns where the value begins in which the error lies, in bytes from the start of the text:
    /// just after the colon that ends the key. It is `None` if the error lies in a key, a path or
    /// a verb.
    pub fn value_start(&self) -> Option<usize> {
        self.0.value_start
    }

    /// Returns the place of the error in characters, not bytes, from where the value begins in
    /// `text`, the text that was parsed. It is `None` if the error does not lie in a value.
    pub fn position_in_value(&self, text: &str) -> Option<usize> {
        text.get(self.value_start()?..self.offset()).map(|before| before.chars().count())
    }

    /// Returns the part of `text`, the text that was parsed, in which the error lies, short enough
    /// to be shown.
    pub fn excerpt(&self, text: &str) -> Excerpt {
        Excerpt::around(text, self.span())
    }

    /// Tells whether the text is wrong only because it ends too early: some longer text that begins
    /// with it may be right.
    pub fn is_incomplete(&self) -> bool {
        match self.kind() {
            ParseErrorKind::Expected { found, .. } => found.is_none(),
            ParseErrorKind::MissingPayload
            | ParseErrorKind::MissingValue
            | ParseErrorKind::UnclosedString => true,
            ParseErrorKind::UnknownCommand
            | ParseErrorKind::NotAMap
            | ParseErrorKind::EmptyKey
            | ParseErrorKind::EmptyStep
            | ParseErrorKind::KeyTooLong { .. }
            | ParseErrorKind::QuoteInKey
            | ParseErrorKind::TooDeep { .. }
            | ParseErrorKind::LeadingZero
            | ParseErrorKind::IntegerOutOfRange
            | ParseErrorKind::FloatOutOfRange
            | ParseErrorKind::Comma
            | ParseErrorKind::ControlCharacter { .. }
            | ParseErrorKind::UnknownEscape
            | ParseErrorKind::LoneSurrogate
            | ParseErrorKind::UnknownField { .. }
            | ParseErrorKind::RepeatedField { .. }
            | ParseErrorKind::MissingField { .. } => false,
        }
    }

    /// Tells whether the text is wrong only because it ends within a map or a list, at a place where
    /// a line may end: the next line may bring the rest. It is false within a string or a number,
    /// into which no line end may come, and where no bracket was opened yet.
    pub fn is_open(&self) -> bool {
        let ParseErrorKind::Expected { what, found: None } = self.kind() else { return false };
        self.value_start().is_some() && self.unclosed().is_some() && *what != diagnosis::DIGIT
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Bytes of the text before it.
    pub offset: usize,
    /// Its line, counted from 1.
    pub line: usize,
    /// Where in the line it is, in characters counted from 1.
    pub column: usize,
}

/// What is wrong with a text. `Display` gives the reason in a line.
///
/// Those four whose text begins with a capital letter have had it since the first version of the
/// prompt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Something else must stand here.
    #[error("expected {what}, found {}", Found(*.found))]
    Expected {
        /// What must stand here, in words.
        what: &'static str,
        /// The character that does; `None` at the end of the text.
        found: Option<char>,
    },
    /// A command is one word alone.
    #[error("Payload is missing!")]
    MissingPayload,
    /// The first word of a command is no verb. Verbs are upper case.
    #[error("Invalid request type!")]
    UnknownCommand,
    /// There is no colon between a key and its value.
    #[error("Value is missing!")]
    MissingValue,
    /// The value of a record is no map.
    #[error("Input does not follow the key:value format")]
    NotAMap,
    /// The key of a record is empty.
    #[error("the key is empty")]
    EmptyKey,
    /// A path begins or ends with a dot, or two follow each other. No value has such a place, so
    /// whoever answers queries may say that it was not found. A field whose name is empty is
    /// reached by `""`.
    #[error("a step of the path is empty")]
    EmptyStep,
    /// The key of a record is too long.
    #[error("the key has {length} bytes, {limit} are allowed")]
    KeyTooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// A double quote stands in a key that does not begin with one.
    #[error("a key with a double quote in it must be wholly in double quotes")]
    QuoteInKey,
    /// More maps and lists lie within each other, or a path has more steps, than is allowed.
    #[error("more than {limit} levels lie within each other")]
    TooDeep {
        /// How many may.
        limit: usize,
    },
    /// A number begins with a zero and goes on with a digit.
    #[error("a number must not begin with a zero that another digit follows")]
    LeadingZero,
    /// An integer fits neither `i64` nor `u64`, or an index is no `usize`.
    #[error("the integer does not fit 64 bits")]
    IntegerOutOfRange,
    /// A number is too large for a float.
    #[error("the number is too large for a float")]
    FloatOutOfRange,
    /// A comma stands where a semicolon should.
    #[error("pairs and items are separated by ';', not by ','")]
    Comma,
    /// A control character stands for itself in a string, a key or a path.
    #[error("the control character U+{:04X} must be written as an escape in double quotes", u32::from(*.found))]
    ControlCharacter {
        /// The character.
        found: char,
    },
    /// The double quote that ends a string is missing. The place is that of the one that begins it.
    #[error("the string is not closed")]
    UnclosedString,
    /// A backslash is followed by something that makes no escape.
    #[error(r#"no such escape: after a backslash come one of "\/bfnrt or u and four hex digits"#)]
    UnknownEscape,
    /// A `\u` escape is half of a surrogate pair without the other half.
    #[error("the escape is half of a surrogate pair")]
    LoneSurrogate,
    /// A record in JSON has a field besides its key and its value.
    #[error("unknown field {name:?}: a record has \"key\" and \"value\"")]
    UnknownField {
        /// The field's name.
        name: String,
    },
    /// A record in JSON has its key or its value twice.
    #[error("the field {name:?} again")]
    RepeatedField {
        /// The field's name.
        name: String,
    },
    /// A record in JSON ends, at its closing brace, without its key or its value.
    #[error("the field {name:?} is missing")]
    MissingField {
        /// The field's name.
        name: &'static str,
    },
}

/// Prints the character that was found, or the end.
struct Found(Option<char>);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(found) => write!(f, "{found:?}"),
            None => f.write_str("the end of the text"),
        }
    }
}

/// Reads a value of any kind, white space around it allowed. Takes **O(n)** for `n` bytes.
///
/// # Errors
/// The first place, from the left, where the text ceases to follow the grammar.
///
/// # Examples
/// ```
/// use triekv::parser::parse_value;
/// use triekv::value;
///
/// assert_eq!(parse_value(r#"{ "name" : "Mary" ; "tags" : [1; 2] }"#)?,
///     value!({ "name": "Mary", "tags": [1, 2] }));
///
/// let error = parse_value(r#"{"a":1,"b":2}"#).unwrap_err();
/// assert_eq!(error.to_string(), "pairs and items are separated by ';', not by ',' at byte 6");
/// # Ok::<(), triekv::parser::ParseError>(())
/// ```
pub fn parse_value(text: &str) -> Result<Value, ParseError> {
    lexeme::whole(text, |text| value::text(text, Context::COMMAND))
}

/// Reads a value from JSON, white space around it allowed. Takes **O(n)** for `n` bytes.
///
/// The numbers, strings and words of JSON are those of native text, and so is what is made of them:
/// integers of 64 bits are exact, other numbers are floats, the last field of a name wins. Unlike
/// `serde_json::from_str`, this does not depend on that crate's features.
///
/// # Errors
/// The first place, from the left, where the text is not JSON, or holds what no value can: an
/// integer beyond 64 bits, a float that is too large, half a surrogate pair, or more than
/// [`DEPTH_MAX`](crate::value::DEPTH_MAX) levels.
///
/// # Examples
/// ```
/// use triekv::parser::parse_json;
/// use triekv::value;
///
/// let value = parse_json(r#"{"name": "Mary", "tags": [1, 1.0, 18446744073709551615]}"#)?;
/// assert_eq!(value, value!({ "name": "Mary", "tags": [1, 1.0, u64::MAX] }));
///
/// let error = parse_json(r#"{"a": 1; "b": 2}"#).unwrap_err();
/// assert_eq!(error.to_string(), "expected ',' or '}', found ';' at byte 7");
/// # Ok::<(), triekv::parser::ParseError>(())
/// ```
pub fn parse_json(text: &str) -> Result<Value, ParseError> {
    lexeme::whole(text, |text| value::text(text, Context::JSON))
}

/// Reads a path, white space around it allowed. Takes **O(n)** for `n` bytes.
///
/// # Errors
/// The first place, from the left, where the text ceases to follow the grammar; among others
/// [`EmptyStep`](ParseErrorKind::EmptyStep) for `a..b` and [`TooDeep`](ParseErrorKind::TooDeep) for
/// more than [`DEPTH_MAX`](crate::value::DEPTH_MAX) steps.
///
/// # Examples
/// ```
/// use triekv::parser::parse_path;
/// use triekv::value::Path;
///
/// let path = parse_path(r#"person1."e.mail"[0]"#)?;
/// assert_eq!(path, Path::new("person1").join("e.mail").join(0));
/// # Ok::<(), triekv::parser::ParseError>(())
/// ```
pub fn parse_path(text: &str) -> Result<Path, ParseError> {
    lexeme::whole(text, path::path)
}

/// Reads a line of the prompt. Takes **O(n)** for `n` bytes.
///
/// # Errors
/// The first place, from the left, where the line ceases to follow the grammar. A line of one word
/// or none is [`MissingPayload`](ParseErrorKind::MissingPayload), whatever the word; a payload
/// after a word that is no verb is [`UnknownCommand`](ParseErrorKind::UnknownCommand).
///
/// # Examples
/// ```
/// use triekv::parser::{Command, parse_command};
///
/// assert_eq!(parse_command("GET person1")?, Command::Get { key: "person1".into() });
///
/// let line = r#"PUT π:{"a":1,"b":2}"#;
/// let error = parse_command(line).unwrap_err();
/// assert_eq!(error.position_in_value(line), Some(6));
/// # Ok::<(), triekv::parser::ParseError>(())
/// ```
pub fn parse_command(line: &str) -> Result<Command, ParseError> {
    lexeme::whole(line, command::command)
}

/// Reads a line of a data file into the key and the value of its record, which is a map. Takes
/// **O(n)** for `n` bytes.
///
/// The line is `KEY:VALUE`, where `True` and `False` count as booleans, since data files of old
/// have them; or it is JSON, an object of two fields, `{"key": KEY, "value": VALUE}`, in any order.
/// A line that begins with `{` and a double quote is JSON, any other one is not: bare keys have no
/// double quotes in them.
///
/// # Errors
/// The first place, from the left, where the line ceases to follow the grammar. A blank line is
/// [`MissingValue`](ParseErrorKind::MissingValue).
///
/// # Examples
/// ```
/// use triekv::parser::parse_record;
/// use triekv::value;
///
/// let (key, value) = parse_record(r#""person1":{ "name" : "Mary" ; "adult" : True } "#)?;
/// assert_eq!((key.as_str(), value), ("person1", value!({ "name": "Mary", "adult": true })));
///
/// let (key, value) = parse_record(r#"{"key": "person2", "value": {"name": "Jo", "age": 7}}"#)?;
/// assert_eq!((key.as_str(), value), ("person2", value!({ "name": "Jo", "age": 7 })));
///
/// let error = parse_record(r#"{"key": "person3", "values": {}}"#).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"unknown field "values": a record has "key" and "value" at byte 19"#
/// );
/// # Ok::<(), triekv::parser::ParseError>(())
/// ```
pub fn parse_record(line: &str) -> Result<(String, Value), ParseError> {
    lexeme::whole(line, command::data_line)
}

/// The key of what may be a line of a data file, without space around it.
#[cfg(feature = "cluster")]
fn parse_key(line: &str) -> Option<String> {
    command::data_key(line).ok().map(|(_, key)| key)
}

impl FromStr for Value {
    type Err = ParseError;

    /// Reads a value of any kind, as [`parse_value`] does.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_value(text)
    }
}

impl FromStr for Path {
    type Err = ParseError;

    /// Reads a path, as [`parse_path`] does.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_path(text)
    }
}

#[cfg(test)]
mod tests;

//! What is told of an error besides its kind: where it lies in the lines of the text, how far what
//! is wrong goes, which bracket is not closed. All of it is found from the text after the parse has
//! failed, so that texts which are right pay nothing for it.
#![warn(clippy::indexing_slicing)]

use std::ops::Range;

use super::help::help;
use super::lexeme::is_space;
use super::{ParseError, ParseErrorKind, Place};

/// What may stand at a place, in the words of errors.
pub(super) const COLON: &str = "':'";
pub(super) const DIGIT: &str = "a digit";
pub(super) const END: &str = "the end of the text";
pub(super) const FIELD_NAME: &str = "a field name in double quotes";
pub(super) const INDEX_END: &str = "']'";
pub(super) const JSON_ITEM_END: &str = "',' or ']'";
pub(super) const JSON_PAIR_END: &str = "',' or '}'";
pub(super) const ITEM_END: &str = "';' or ']'";
pub(super) const KEY: &str = "a key in double quotes";
pub(super) const MAP: &str = "'{'";
pub(super) const PAIR_END: &str = "';' or '}'";
pub(super) const STEP: &str = "'.' or '['";
pub(super) const VALUE: &str = "a value";

/// An error and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diagnosis {
    pub(super) kind: ParseErrorKind,
    pub(super) place: Place,
    pub(super) span: Range<usize>,
    pub(super) value_start: Option<usize>,
    pub(super) found: Option<char>,
    pub(super) expected: Option<&'static str>,
    pub(super) unclosed: Option<Place>,
    pub(super) help: Option<&'static str>,
}

/// The text about an error.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// What lies before the place.
    pub(super) before: &'a str,
    /// What begins at the place.
    pub(super) rest: &'a str,
    /// The innermost bracket that is open at the place, if that lies in a value.
    pub(super) open: Option<char>,
    /// Whether the place lies in a value.
    pub(super) in_value: bool,
}

impl Surroundings<'_> {
    /// The last character before the place that is no white space.
    pub(super) fn previous(&self) -> Option<char> {
        self.before.trim_end_matches(is_space).chars().next_back()
    }
}

impl ParseError {
    /// The error of this kind at `offset` of `text`, in the value that begins at `value_start`.
    #[cold]
    pub(super) fn new(
        text: &str,
        offset: usize,
        value_start: Option<usize>,
        kind: ParseErrorKind,
    ) -> Self {
        let (before, rest) = text.split_at_checked(offset).unwrap_or((text, ""));
        let found = rest.chars().next();
        let bracket = innermost(before, value_start);
        let open = bracket.and_then(|at| before.get(at..)?.chars().next());
        let around = Surroundings { before, rest, open, in_value: value_start.is_some() };
        let start = offset + skipped(&kind, rest);
        let (_, wrong) = text.split_at_checked(start).unwrap_or((text, ""));
        let unclosed = bracket.filter(|_| misses_bracket(&kind, found, open));
        ParseError(Box::new(Diagnosis {
            place: Place::of(before),
            span: start..start + extent(&kind, wrong),
            value_start,
            found,
            expected: expected(&kind, around),
            unclosed: unclosed.and_then(|at| Some(Place::of(before.get(..at)?))),
            help: help(&kind, around),
            kind,
        }))
    }
}

impl Place {
    /// The place just after `before`, the beginning of a text.
    fn of(before: &str) -> Self {
        let (lines, line) = before.rsplit_once('\n').unwrap_or(("", before));
        let ended =
            lines.matches('\n').count() + usize::from(lines.len() + line.len() < before.len());
        Place { offset: before.len(), line: ended + 1, column: line.chars().count() + 1 }
    }
}

/// The offset of the innermost bracket that is open at the end of `before`: of maps and lists in the
/// value that begins at `value_start`, of an index in a path.
fn innermost(before: &str, value_start: Option<usize>) -> Option<usize> {
    let Some(start) = value_start else {
        let bracket = before.rfind('[')?;
        let index = before.get(bracket + 1..)?;
        return index.bytes().all(|byte| byte.is_ascii_digit()).then_some(bracket);
    };
    // What lies before the place of an error follows the grammar.
    let mut open = Vec::new();
    let (mut in_string, mut escaped) = (false, false);
    for (offset, byte) in before.bytes().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => open.push(offset),
            b'}' | b']' if !in_string => drop(open.pop()),
            _ => {}
        }
    }
    open.pop()
}

/// Tells whether what is missing is the other half of the bracket `open`.
fn misses_bracket(kind: &ParseErrorKind, found: Option<char>, open: Option<char>) -> bool {
    let ParseErrorKind::Expected { .. } = kind else { return false };
    match found {
        None => true,
        Some('}') => open != Some('{'),
        Some(']') => open != Some('['),
        // The next pair of the map that a list lies in, or one where only items may be.
        Some(':') => open == Some('['),
        Some(_) => false,
    }
}

/// What may stand at the place of an error, in words.
fn expected(kind: &ParseErrorKind, around: Surroundings<'_>) -> Option<&'static str> {
    Some(match kind {
        ParseErrorKind::Expected { what, .. } => match (*what, around.previous()) {
            (FIELD_NAME, Some('{')) => "a field name in double quotes, or '}'",
            (VALUE, Some('[')) if around.in_value => "a value, or ']'",
            _ => what,
        },
        ParseErrorKind::MissingPayload => "a payload",
        ParseErrorKind::UnknownCommand => "a verb",
        ParseErrorKind::MissingValue => "':' and a value",
        ParseErrorKind::NotAMap => MAP,
        ParseErrorKind::EmptyStep if around.previous() == Some('.') => "a name",
        ParseErrorKind::EmptyStep | ParseErrorKind::EmptyKey => "a key",
        ParseErrorKind::Comma if around.open == Some('[') => ITEM_END,
        ParseErrorKind::Comma => PAIR_END,
        ParseErrorKind::ControlCharacter { .. } => "an escape",
        ParseErrorKind::UnknownField { .. } => r#""key" or "value""#,
        ParseErrorKind::MissingField { name: "key" } => r#"',' and "key""#,
        ParseErrorKind::MissingField { .. } => r#"',' and "value""#,
        ParseErrorKind::RepeatedField { .. }
        | ParseErrorKind::KeyTooLong { .. }
        | ParseErrorKind::QuoteInKey
        | ParseErrorKind::TooDeep { .. }
        | ParseErrorKind::LeadingZero
        | ParseErrorKind::IntegerOutOfRange
        | ParseErrorKind::FloatOutOfRange
        | ParseErrorKind::UnclosedString
        | ParseErrorKind::UnknownEscape
        | ParseErrorKind::LoneSurrogate => return None,
    })
}

/// The blanks between the place of an error and what is wrong.
fn skipped(kind: &ParseErrorKind, rest: &str) -> usize {
    match kind {
        ParseErrorKind::NotAMap | ParseErrorKind::Expected { what: END, .. } => {
            run(rest, |found| matches!(found, ' ' | '\t'))
        }
        _ => 0,
    }
}

/// The length of what is wrong, which begins `wrong`.
fn extent(kind: &ParseErrorKind, wrong: &str) -> usize {
    let character = wrong.chars().next().map_or(0, char::len_utf8);
    match kind {
        ParseErrorKind::EmptyKey if wrong.starts_with("\"\"") => 2,
        ParseErrorKind::MissingPayload
        | ParseErrorKind::MissingValue
        | ParseErrorKind::MissingField { .. }
        | ParseErrorKind::EmptyKey
        | ParseErrorKind::EmptyStep => 0,
        ParseErrorKind::KeyTooLong { length, .. } if !wrong.starts_with('"') => *length,
        ParseErrorKind::UnknownCommand => run(wrong, |found| !matches!(found, ' ' | '\t')),
        ParseErrorKind::UnknownEscape if wrong.starts_with("\\u") => {
            let digits = wrong.get(2..).unwrap_or_default().chars().take(4);
            2 + digits.take_while(char::is_ascii_hexdigit).count()
        }
        ParseErrorKind::UnknownEscape => {
            wrong.chars().take(2).filter(|found| *found >= ' ').map(char::len_utf8).sum()
        }
        ParseErrorKind::LoneSurrogate => "\\uXXXX".len(),
        ParseErrorKind::LeadingZero => run(wrong, |found| found.is_ascii_digit()),
        ParseErrorKind::IntegerOutOfRange | ParseErrorKind::FloatOutOfRange => {
            run(wrong, |found| matches!(found, '+' | '-' | '.' | 'e' | 'E' | '0'..='9'))
        }
        ParseErrorKind::Comma
        | ParseErrorKind::QuoteInKey
        | ParseErrorKind::TooDeep { .. }
        | ParseErrorKind::ControlCharacter { .. }
        | ParseErrorKind::UnclosedString => character,
        ParseErrorKind::NotAMap
        | ParseErrorKind::UnknownField { .. }
        | ParseErrorKind::RepeatedField { .. }
        | ParseErrorKind::KeyTooLong { .. }
        | ParseErrorKind::Expected { .. } => lexeme(wrong).max(character),
    }
}

/// The length of the word, number or string that begins `text`.
fn lexeme(text: &str) -> usize {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let mut escaped = false;
            let end = text.char_indices().skip(1).find(|(_, found)| {
                let ends = *found < ' ' || (*found == quote && !escaped);
                escaped = *found == '\\' && !escaped;
                ends
            });
            end.map_or(0, |(at, found)| if found == quote { at + 1 } else { 0 })
        }
        Some(first) if first.is_ascii_digit() || matches!(first, '+' | '-' | '.') => {
            run(text, |found| found.is_alphanumeric() || matches!(found, '+' | '-' | '.' | '_'))
        }
        _ => run(text, |found| found.is_alphanumeric() || found == '_'),
    }
}

/// The length of the run of characters that `belongs` accepts at the start of `text`.
fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|found| !belongs(found)).unwrap_or(text.len())
}

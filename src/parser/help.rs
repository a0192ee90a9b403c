//! What to write instead, for the slips that people make: habits from JSON, Python and other
//! command languages, and keys on the wrong side of their quotes.

use super::ParseErrorKind;
use super::diagnosis::{
    COLON, DIGIT, END, FIELD_NAME, INDEX_END, ITEM_END, JSON_ITEM_END, JSON_PAIR_END, MAP,
    PAIR_END, STEP, Surroundings, VALUE,
};
use super::lexeme::{is_blank, is_space};

/// The verbs, each with the way it is used.
const VERBS: [(&str, &str); 7] = [
    ("PUT", r#"write PUT KEY:{ "name" : VALUE }"#),
    ("GET", "write GET KEY"),
    ("QUERY", "write QUERY KEY.name, or QUERY KEY.name[0]"),
    ("DELETE", "write DELETE KEY"),
    ("SET", "write SET KEY.name : VALUE"),
    ("MERGE", r#"write MERGE KEY : { "name" : VALUE }"#),
    ("REMOVE", "write REMOVE KEY.name"),
];

const DOUBLE_QUOTES: &str = r#"strings and names are in double quotes: "name""#;
const STRAIGHT_QUOTES: &str = r#"strings and names are in straight double quotes: "name""#;
const COMMENTS: &str = "there are no comments";
const OTHER_SPACE: &str = "white space is blanks, tabs and line ends; this is another character";
const RECORD: &str = r#"the value of a record is a map: KEY:{ "name" : VALUE }"#;
const KEY_AND_COLON: &str = r#"a key and a colon come before the map: KEY:{ "name" : VALUE }"#;
const PATH_AND_COLON: &str = "a path and a colon come before the value: KEY.name : VALUE";
const COLON_AFTER_PATH: &str = "a colon comes between the path and the value: KEY.name : VALUE";
const COLON_AFTER_KEY: &str =
    r#"a colon comes between the key and the map: KEY:{ "name" : VALUE }"#;
const COLON_IN_STEP: &str = r#"a key or name with a colon in it is in double quotes: "a:b"."c:d""#;
const WHOLE_RECORD: &str = "PUT writes a whole record; SET writes a part: SET KEY.name : VALUE";
const QUOTED_STEP: &str = r#"a name with any of .[]" in it is in double quotes: KEY."a.b""#;

/// A line that says what to write, if there is more to say than what was expected.
pub(super) fn help(kind: &ParseErrorKind, around: Surroundings<'_>) -> Option<&'static str> {
    let Surroundings { before, rest, .. } = around;
    match kind {
        ParseErrorKind::Expected { what, .. } => expected(what, around),
        ParseErrorKind::MissingPayload => {
            let word = before.trim_matches(is_space);
            if has_other_space_after_verb(word) {
                return Some(OTHER_SPACE);
            }
            let usage = VERBS.iter().find(|(verb, _)| *verb == word);
            Some(usage.map_or("write a verb and what it is for: GET KEY", |(_, usage)| usage))
        }
        ParseErrorKind::UnknownCommand => unknown_command(rest),
        ParseErrorKind::MissingValue if before.chars().all(is_space) => Some(RECORD),
        ParseErrorKind::MissingValue => Some(match verb(before) {
            Some("SET" | "MERGE") => no_colon_after_path(before),
            _ => r#"a colon comes after the key, and then a map: KEY:{ "name" : VALUE }"#,
        }),
        ParseErrorKind::NotAMap => Some(not_a_map(around)),
        ParseErrorKind::EmptyKey => Some("a key has one character or more"),
        ParseErrorKind::EmptyStep => Some(empty_step(around)),
        // The brace of a map to which the colon of its first pair gave the text before it as a key.
        ParseErrorKind::QuoteInKey if around.previous() == Some('{') => {
            Some(no_colon_before_map(before))
        }
        ParseErrorKind::LeadingZero if around.in_value => {
            Some("digits that are no number, such as a code, are written as a string")
        }
        ParseErrorKind::IntegerOutOfRange if around.in_value => {
            Some("write it with a fraction, as a float, or as a string")
        }
        ParseErrorKind::FloatOutOfRange => Some("the largest is about 1.8e308"),
        ParseErrorKind::ControlCharacter { found } => match found {
            '\n' => Some(r"a string ends on its line: write \n for the end of a line in it"),
            '\r' => Some(r"write \r"),
            '\t' => Some(r"write \t, in double quotes"),
            _ => None,
        },
        ParseErrorKind::UnclosedString => {
            Some(r#"a string ends with a double quote; one within it is written \""#)
        }
        ParseErrorKind::UnknownEscape => unknown_escape(rest),
        ParseErrorKind::LoneSurrogate => {
            Some(r"write the character itself, or both halves: \ud83d\ude00")
        }
        ParseErrorKind::QuoteInKey
        | ParseErrorKind::UnknownField { .. }
        | ParseErrorKind::RepeatedField { .. }
        | ParseErrorKind::MissingField { .. }
        | ParseErrorKind::KeyTooLong { .. }
        | ParseErrorKind::TooDeep { .. }
        | ParseErrorKind::LeadingZero
        | ParseErrorKind::IntegerOutOfRange
        | ParseErrorKind::Comma => None,
    }
}

fn unknown_command(line: &str) -> Option<&'static str> {
    let word = line.split(is_blank).next().unwrap_or_default();
    let upper = word.to_uppercase();
    match upper.as_str() {
        _ if VERBS.iter().any(|(verb, _)| *verb == upper) => Some("verbs are in upper case"),
        _ if VERBS.iter().any(|(verb, _)| begins(&upper, verb)) => {
            Some("a blank comes after the verb")
        }
        _ if has_other_space_after_verb(word) => Some(OTHER_SPACE),
        "SELECT" | "FIND" | "READ" | "SHOW" => Some("GET reads a record, QUERY a part of one"),
        "INSERT" | "ADD" | "CREATE" | "WRITE" => Some("PUT writes a record"),
        "UPDATE" | "CHANGE" | "PATCH" => Some("SET writes a part of a record, PUT the whole"),
        "DEL" | "DROP" => Some("DELETE removes a record"),
        _ => None,
    }
}

/// Tells whether the verb is followed by what may begin a payload.
fn begins(word: &str, verb: &str) -> bool {
    word.strip_prefix(verb).is_some_and(|payload| payload.starts_with(['"', '{', ':']))
}

fn empty_step(around: Surroundings<'_>) -> &'static str {
    let in_brackets = around.rest.starts_with('[');
    match around.previous() {
        Some('.') if in_brackets => "no dot comes before a bracket: KEY.name[0]",
        Some('.') => r#"a field with an empty name is reached by "": KEY."""#,
        _ if in_brackets => "a path begins with a key: KEY[0]",
        _ => "a path begins with a key: KEY.name",
    }
}

/// The verb that a command begins with.
fn verb(command: &str) -> Option<&'static str> {
    let word = command.trim_start_matches(is_space).split(is_blank).next()?;
    VERBS.iter().map(|(verb, _)| *verb).find(|verb| *verb == word)
}

/// White space in other texts, but not in the grammar.
fn is_other_space(found: char) -> bool {
    let is_unseen = matches!(found, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    is_unseen || found.is_whitespace() && !found.is_ascii()
}

/// Tells whether a verb is followed by white space of other texts.
fn has_other_space_after_verb(word: &str) -> bool {
    let mut rests = VERBS.iter().filter_map(|(verb, _)| word.strip_prefix(verb));
    rests.any(|rest| rest.starts_with(is_other_space))
}

/// Help where a value is no map, but has to be: that of a whole record.
fn not_a_map(around: Surroundings<'_>) -> &'static str {
    let Surroundings { before, rest, .. } = around;
    let verb = verb(before);
    let before_map = |value: &str| value.trim_start_matches(is_space).starts_with('{');
    match verb {
        Some("SET" | "MERGE")
            if !rest.starts_with(is_blank) && goes_on_at_colon(rest, is_value) =>
        {
            COLON_IN_STEP
        }
        Some("SET") => "a path to the part comes before the colon: SET KEY.name : VALUE",
        Some("MERGE") => r#"what is merged into a record is a map: MERGE KEY : { "name" : VALUE }"#,
        _ if goes_on_at_colon(rest, before_map) => {
            r#"a key with a colon in it is in double quotes: "a:b":{ "name" : VALUE }"#
        }
        // What would be a path.
        Some("PUT") if before.contains(['.', '[']) && !before.contains('"') => WHOLE_RECORD,
        _ => RECORD,
    }
}

/// Tells whether `text`, which comes after a colon, has another colon before what `is_meant`: then the
/// first one was perhaps meant to be one of the key. It has none if it begins like a string, a map or
/// a list.
fn goes_on_at_colon(text: &str, is_meant: impl Fn(&str) -> bool) -> bool {
    let is_value = text.trim_start_matches(is_space).starts_with(['"', '{', '[', '\'']);
    !is_value && text.match_indices(':').any(|(at, _)| text.get(at + 1..).is_some_and(&is_meant))
}

/// Tells whether a text begins like a value, after white space.
fn is_value(text: &str) -> bool {
    let text = text.trim_start_matches(is_space);
    let words = ["true", "false", "null"];
    text.starts_with(|first: char| first.is_ascii_digit() || "{[\"-".contains(first))
        || words.iter().any(|word| text.starts_with(word))
}

/// The payload of a command, as far as it lies in `before`; all of it if no verb begins it.
fn payload(before: &str) -> &str {
    let text = before.trim_start_matches(is_space);
    let payload = verb(before).and_then(|verb| text.strip_prefix(verb));
    payload.unwrap_or(text).trim_start_matches(is_blank)
}

/// Help where the text before a map is its key without a colon, or is nothing.
fn no_colon_before_map(before: &str) -> &'static str {
    match (verb(before), payload(before)) {
        (Some("GET"), _) => "GET takes a key and nothing else; PUT writes a record",
        (Some("DELETE"), _) => "DELETE takes a key and nothing else",
        (_, payload) if payload.starts_with('{') => KEY_AND_COLON,
        _ => COLON_AFTER_KEY,
    }
}

/// Help where a SET or MERGE has no colon between its path and what is its value. A SET of a value of its
/// own needs a path, not a key alone.
fn no_colon_after_path(before: &str) -> &'static str {
    let payload = payload(before);
    let word = payload.split(is_blank).next().unwrap_or_default();
    let has_steps = payload.contains('.') || word.contains('[');
    match verb(before) {
        _ if payload.starts_with(['{', '[']) => PATH_AND_COLON,
        Some("SET") if !has_steps => PATH_AND_COLON,
        _ => COLON_AFTER_PATH,
    }
}

/// Tells whether what ends the path of a SET or MERGE is its value: a quote after a blank, what follows
/// a bracket after a blank, or a blank after a quote or bracket.
fn is_value_after_path(around: Surroundings<'_>) -> bool {
    let Surroundings { before, rest, .. } = around;
    let digits_cut = before.trim_end_matches(|found: char| found.is_ascii_digit());
    let bracket = digits_cut.strip_suffix(['{', '[']);
    matches!(verb(before), Some("SET" | "MERGE"))
        && (bracket.is_some_and(|before| before.ends_with(is_blank))
            || before.ends_with(is_blank) && rest.starts_with('"')
            || before.ends_with(['"', ']']) && rest.starts_with(is_blank))
}

/// Tells whether a SET or MERGE has a wrong value because the colon before it is one of a bare name: it
/// follows the colon at once, and another colon with a value comes later. That colon has a blank beside
/// it if the value goes on like a time of day.
fn is_colon_in_step(around: Surroundings<'_>) -> bool {
    let Surroundings { before, rest, open, .. } = around;
    let is_meant =
        |value: &str| is_value(value) && (!goes_on(around) || value.starts_with(is_blank));
    let is_scalar = |last: char| last == ':' || last.is_ascii_alphanumeric();
    around.in_value
        && open.is_none()
        && matches!(verb(before), Some("SET" | "MERGE"))
        && around.previous().is_some_and(is_scalar)
        && !before.ends_with(": ")
        && goes_on_at_colon(rest, is_meant)
}

fn unknown_escape(escape: &str) -> Option<&'static str> {
    Some(match escape.chars().nth(1)? {
        '\'' => "a single quote is written without a backslash",
        'u' => r"four hex digits come after \u: \u00e9",
        'x' => r"a character is written itself, or with four hex digits: \u00e9",
        '0' | 'a' | 'e' | 'v' => r"a control character is written with four hex digits: \u001b",
        '\n' | '\r' => "a string ends on its line",
        _ => r"a backslash itself is written \\",
    })
}

/// Help where `what` must stand and something else does.
fn expected(what: &str, around: Surroundings<'_>) -> Option<&'static str> {
    let Surroundings { rest, open, .. } = around;
    let found = rest.chars().next()?;
    let wrong_bracket = matches!((open, found), (Some('{'), ']') | (Some('['), '}'));
    match (what, found) {
        (STEP | DIGIT | INDEX_END, _) if is_value_after_path(around) => {
            Some(no_colon_after_path(around.before))
        }
        (STEP, '"') if around.previous() == Some('{') => Some(match verb(around.before) {
            Some("QUERY") => "QUERY takes a path and nothing else; SET writes a part of a record",
            Some("REMOVE") => "REMOVE takes a path and nothing else",
            _ => QUOTED_STEP,
        }),
        (STEP | DIGIT | INDEX_END, _) if !around.in_value => Some(step_or_index(what, found)),
        (_, '#') => Some(COMMENTS),
        (_, '/') if rest.starts_with("//") || rest.starts_with("/*") => Some(COMMENTS),
        (_, '“' | '”' | '„' | '«' | '»' | '‘' | '’' | '`') => Some(STRAIGHT_QUOTES),
        (FIELD_NAME | VALUE, '\'') => Some(DOUBLE_QUOTES),
        _ if is_other_space(found) => Some(OTHER_SPACE),
        _ if wrong_bracket => None,
        (FIELD_NAME | VALUE, ',' | ';') => {
            Some("one separator comes between two pairs or items, none elsewhere")
        }
        (FIELD_NAME | VALUE, '}' | ']') if around.previous() == Some(';') => {
            Some("no ';' comes before the closing bracket")
        }
        (FIELD_NAME, _) => field_name(rest),
        (VALUE, _) | (END, ':') if is_colon_in_step(around) => Some(COLON_IN_STEP),
        (VALUE, _) => value(rest),
        (COLON, _) => colon(around),
        (PAIR_END | ITEM_END | END, _) if goes_on(around) => Some(number_or_word(around)),
        (JSON_PAIR_END | JSON_ITEM_END, ';') => Some("in JSON a ',' comes between pairs and items"),
        (PAIR_END, '"' | '{' | '[') => Some("a ';' comes between two pairs"),
        (ITEM_END, '"' | '{' | '[' | '0'..='9' | '-') => Some("a ';' comes between two items"),
        (ITEM_END, ':') => Some(
            "a list has no names: close it before the next pair, or write a map in curly brackets",
        ),
        (DIGIT, _) => digit(around),
        (END, '.' | '[') if !around.in_value => Some(match verb(around.before) {
            Some("DELETE") => "DELETE takes the key of a whole record; REMOVE takes a path",
            _ => "this verb takes the key of a whole record; QUERY takes a path",
        }),
        (END, '}' | ']') => Some("there is a closing bracket too many"),
        (END, ';' | ',') if around.in_value => Some("nothing comes after the value"),
        (MAP, _) => Some(RECORD),
        _ => None,
    }
}

fn step_or_index(what: &str, found: char) -> &'static str {
    match (what, found) {
        (STEP, '"' | '[' | ']') => QUOTED_STEP,
        (STEP, _) => "a dot comes before a name",
        (DIGIT, '-') => "items are counted from 0, from the first one on",
        (DIGIT, '"' | '\'') => "a name comes after a dot, without brackets: KEY.name",
        (DIGIT, _) if found.is_alphabetic() => {
            "a name comes after a dot, the number of an item in brackets: KEY.name[0]"
        }
        _ => "in brackets is the number of one item, without blanks: KEY.name[0][1]",
    }
}

fn field_name(rest: &str) -> Option<&'static str> {
    let found = rest.chars().next()?;
    if found.is_numeric() {
        return Some(r#"names are strings, also those of digits: "1""#);
    }
    (found.is_alphabetic() || found == '_').then_some(r#"names are in double quotes: "name""#)
}

fn value(rest: &str) -> Option<&'static str> {
    let word = rest.split(|found: char| !found.is_alphanumeric() && found != '_').next()?;
    match word.to_lowercase().as_str() {
        "true" | "false" | "yes" | "no" | "on" | "off" => {
            Some("booleans are true and false, in lower case")
        }
        "null" | "none" | "nil" | "undefined" => Some("write null, in lower case"),
        "nan" | "inf" | "infinity" => Some("numbers are finite; write null for none"),
        "" => match rest.chars().next()? {
            '.' => Some("a digit comes before the point: 0.5"),
            '+' => Some("a number has no plus sign"),
            '}' => Some("a name has a value after its colon; write null for none"),
            '(' | '<' => Some("lists are in square brackets, maps in curly ones"),
            _ => None,
        },
        _ => Some(DOUBLE_QUOTES),
    }
}

fn colon(around: Surroundings<'_>) -> Option<&'static str> {
    Some(match around.rest.chars().next()? {
        '.' | '[' if !around.in_value && verb(around.before) == Some("PUT") => WHOLE_RECORD,
        _ if !around.in_value => "a colon comes right after a quoted key",
        ';' | '}' | ',' => "a map has names with values; a list is in square brackets",
        _ => "a colon comes between a name and its value",
    })
}

/// Tells whether what stands at the place goes on with the number or word that ends there.
fn goes_on(around: Surroundings<'_>) -> bool {
    let same =
        |found: char| found.is_alphanumeric() || matches!(found, '_' | '.' | ':' | '-' | '+');
    around.in_value
        && around.before.ends_with(|last: char| last.is_ascii_alphanumeric())
        && around.rest.starts_with(same)
}

fn number_or_word(around: Surroundings<'_>) -> &'static str {
    match around.rest.chars().next() {
        Some('_') => "the digits of a number stand side by side, without '_'",
        Some('x' | 'X' | 'o' | 'O' | 'b' | 'B') if around.previous() == Some('0') => {
            "numbers are decimal"
        }
        _ => "what is more than a number or a word is a string, in double quotes",
    }
}

fn digit(around: Surroundings<'_>) -> Option<&'static str> {
    match (around.previous()?, around.rest.chars().next()?) {
        ('.', _) => Some("a digit comes after the point: 5.0"),
        ('-', '.') => Some("a digit comes before the point: -0.5"),
        ('-', 'I' | 'i' | 'N' | 'n') => Some("numbers are finite; write null for none"),
        ('-', _) => Some("a digit comes after the sign, with no blank between"),
        (_, _) => Some("the exponent has digits: 1e5"),
    }
}

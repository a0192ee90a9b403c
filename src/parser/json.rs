//! JSON: values, and the lines of NDJSON that hold records.
//!
//! The productions are those of native text, with a comma where that has a semicolon.
#![warn(clippy::indexing_slicing)]

use super::ParseErrorKind;
use super::diagnosis::{COLON, FIELD_NAME, JSON_PAIR_END, KEY, MAP};
use super::lexeme::{Fault, Parsed, expect, space, string, symbol};
use super::path::checked;
use super::value::{Context, map};
use crate::value::Value;

/// Tells whether a line of a data file is JSON. No native line begins so: its bare keys have no
/// quotes in them.
pub(super) fn is_object(line: &str) -> bool {
    let inside = line.strip_prefix('{').and_then(|rest| space(rest).ok());
    inside.is_some_and(|(rest, ())| rest.starts_with('"'))
}

/// `line = "{" , ws , field , "," , ws , field , "}" , ws`, where one field is the key and the
/// other one the value, `'"key"' , ws , ":" , ws , string` and `'"value"' , ws , ":" , ws , map`.
pub(super) fn line(input: &str) -> Parsed<'_, (String, Value)> {
    let (mut rest, ()) = symbol(b'{')(input)?;
    let (mut key, mut value) = (None, None);
    loop {
        let (after, name) = expect(FIELD_NAME, string)(rest)?;
        let fault =
            |kind: fn(String) -> ParseErrorKind| Fault::fail(rest, kind(name.clone().into_owned()));
        let (after, ()) = expect(COLON, symbol(b':'))(after)?;
        let after = match &*name {
            "key" if key.is_none() => {
                let (next, text) = expect(KEY, string)(after)?;
                key = Some(checked(after, text)?);
                next
            }
            "value" if value.is_none() => {
                let (next, fields) = record(after)?;
                value = Some(fields);
                next
            }
            "key" | "value" => return Err(fault(|name| ParseErrorKind::RepeatedField { name })),
            _ => return Err(fault(|name| ParseErrorKind::UnknownField { name })),
        };
        if after.starts_with('}') {
            let missing = |name| Fault::fail(after, ParseErrorKind::MissingField { name });
            let key = key.ok_or_else(|| missing("key"))?;
            let value = value.ok_or_else(|| missing("value"))?;
            let (rest, ()) = symbol(b'}')(after)?;
            return Ok((rest, (key, value)));
        }
        (rest, ()) = expect(JSON_PAIR_END, symbol(b','))(after)?;
    }
}

/// The value of a record, a map.
fn record(input: &str) -> Parsed<'_, Value> {
    if !input.starts_with('{') {
        return Err(Fault::expected(input, MAP));
    }
    map(input, Context::JSON).map_err(|error| error.map(|fault: Fault<'_>| fault.in_value(input)))
}

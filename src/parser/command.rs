//! The lines of the prompt and of a data file.
#![warn(clippy::indexing_slicing)]

use nom::Parser;

use super::lexeme::{Fault, Parsed, is_blank, run};
use super::path::{key, key_and_colon, path, path_and_colon};
use super::value::{Context, any, record};
use super::{Command, Condition, ParseErrorKind, json};
use crate::value::{Path, Value};

/// `command = verb , blank , { blank } , payload`
pub(super) fn command(input: &str) -> Parsed<'_, Command> {
    let (rest, verb) = run(|character| !is_blank(character)).parse(input)?;
    let (payload, _) = run(is_blank).parse(rest)?;
    if payload.is_empty() {
        return Err(Fault::fail(payload, ParseErrorKind::MissingPayload));
    }
    match verb {
        "GET" => key.map(|key| Command::Get { key }).parse(payload),
        "QUERY" => path.map(|path| Command::Query { path }).parse(payload),
        "PUT" => put(payload),
        "DELETE" => key.map(|key| Command::Delete { key }).parse(payload),
        "SET" => place_and_value
            .map(|(path, value)| Command::Set { path, value, condition: Condition::Always })
            .parse(payload),
        "MERGE" => place_and_value
            .map(|(path, patch)| Command::Merge { path, patch, condition: Condition::Always })
            .parse(payload),
        "REMOVE" => {
            path.map(|path| Command::Remove { path, condition: Condition::Always }).parse(payload)
        }
        _ => Err(Fault::fail(input, ParseErrorKind::UnknownCommand)),
    }
}

/// `put = key , { blank } , ":" , record`
fn put(input: &str) -> Parsed<'_, Command> {
    let (rest, key) = key_and_colon(input)?;
    let (rest, value) = record(rest, Context::COMMAND)?;
    Ok((rest, Command::Put { key, value, condition: Condition::Always }))
}

/// `path , { blank } , ":" , space , value`; the value is a record where the path has no steps.
fn place_and_value(input: &str) -> Parsed<'_, (Path, Value)> {
    let (rest, path) = path_and_colon(input)?;
    let value = if path.steps().is_empty() { record } else { any };
    let (rest, value) = value(rest, Context::COMMAND)?;
    Ok((rest, (path, value)))
}

/// The key of a line of a data file, and what follows its colon unread; all of a line of JSON.
#[cfg(feature = "cluster")]
pub(super) fn data_key(input: &str) -> Parsed<'_, String> {
    if json::is_object(input) {
        return json::line(input).map(|(rest, (key, _))| (rest, key));
    }
    key_and_colon(input)
}

/// `line = key , { blank } , ":" , record`, with the booleans of data files; or an object of JSON.
pub(super) fn data_line(input: &str) -> Parsed<'_, (String, Value)> {
    if json::is_object(input) {
        return json::line(input);
    }
    let (rest, key) = key_and_colon(input)?;
    let (rest, value) = record(rest, Context::DATA_FILE)?;
    Ok((rest, (key, value)))
}

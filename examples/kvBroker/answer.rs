//! What a line of the prompt is answered with.

use std::fmt::Display;

use triekv::parser::{Command, ParseError, ParseErrorKind};
use triekv::store::Put;
use triekv::value::{Escaped, needs_escape};
use triekv::{Broker, BrokerError, Path, Transport, Value};

use crate::failure::failed;

const NOT_ENOUGH: &str =
    "[WARNING] Not enough servers to support replication! Please restart the servers!";
const NO_DELETE: &str =
    "[WARNING] Cannot perform delete operation. One or more servers are unavailable!";

/// The answer to the command that `line` is, without the end of its line.
pub(crate) async fn answer<T: Transport>(
    broker: &Broker<T>,
    line: &str,
    command: Command,
) -> String {
    let payload = payload(line);
    match command {
        Command::Get { key } => get(broker, &named(payload, Value::from(&key)), &key).await,
        Command::Query { path } => query(broker, &named(payload, &path), &path).await,
        Command::Put { key, value, .. } => match broker.put(&key, value).await {
            Ok(_) => "CREATED".to_owned(),
            Err(error) => not_written(&error, NOT_ENOUGH),
        },
        Command::Delete { key } => match broker.delete(&key).await {
            Ok(true) => format!("{} : DELETED", named(payload, Value::from(&key))),
            Ok(false) => format!("{} : IS NOT ROOT KEY", named(payload, Value::from(&key))),
            Err(error) => not_written(&error, NO_DELETE),
        },
        Command::Set { path, value, condition } => {
            changed(broker.set_path(&path, value, condition).await)
        }
        Command::Merge { path, patch, condition } => {
            changed(broker.merge_path(&path, patch, condition).await)
        }
        Command::Remove { path, condition } => match broker.remove_path(&path, condition).await {
            Ok(true) => format!("{} : REMOVED", named(payload, &path)),
            Ok(false) => format!("{} : NOT FOUND", named(payload, &path)),
            Err(error) => not_written(&error, NO_DELETE),
        },
    }
}

fn changed(answer: Result<Put, BrokerError>) -> String {
    match answer {
        Ok(Put { created: true, .. }) => "CREATED".to_owned(),
        Ok(Put { created: false, .. }) => "UPDATED".to_owned(),
        Err(error) => not_written(&error, NOT_ENOUGH),
    }
}

/// What follows the verb, as it was typed.
pub(crate) fn payload(line: &str) -> &str {
    let blanks = [' ', '\t'];
    line.split_once(blanks).map_or("", |(_, payload)| payload.trim_start_matches(blanks))
}

/// What an answer calls the key or path: the payload as it was typed, or, if a terminal would not show
/// that, a text that reads back to the same.
pub(crate) fn named(payload: &str, meant: impl Display) -> String {
    if payload.contains(needs_escape) { meant.to_string() } else { payload.to_owned() }
}

async fn get<T: Transport>(broker: &Broker<T>, payload: &str, key: &str) -> String {
    match broker.get(key).await {
        Err(error) if error.is_degraded() => {
            let stale = broker.get_stale(key).await.map(|stale| stale.answer);
            warned(broker, payload, stale.map(|record| record.map(|record| record.value)))
        }
        answer => found(payload, answer.map(|record| record.map(|record| record.value))),
    }
}

async fn query<T: Transport>(broker: &Broker<T>, payload: &str, path: &Path) -> String {
    match broker.query_path(path).await {
        Err(error) if error.is_degraded() => {
            let stale = broker.query_path_stale(path).await;
            warned(broker, payload, stale.map(|stale| stale.answer))
        }
        answer => found(payload, answer),
    }
}

fn found(payload: &str, answer: Result<Option<Value>, BrokerError>) -> String {
    match answer {
        Ok(Some(value)) => format!("{payload} : {value}"),
        Ok(None) => format!("{payload} : NOT FOUND"),
        // Not NOT FOUND: the record may be on one of the servers that are down.
        Err(BrokerError::Unavailable { .. }) => {
            format!("{payload} : UNAVAILABLE (no copy can be reached)")
        }
        Err(error) => failed(&error),
    }
}

/// The answer of the copies that are left, after a warning.
fn warned<T: Transport>(
    broker: &Broker<T>,
    payload: &str,
    answer: Result<Option<Value>, BrokerError>,
) -> String {
    let lost = lost_majority(broker.voters());
    let answer = found(payload, answer);
    format!("[WARNING] Data may be inconsistent. {lost} or more servers are unavailable!\n{answer}")
}

/// The fewest of a record's servers whose loss leaves no majority.
fn lost_majority(voters: usize) -> usize {
    voters - voters / 2
}

fn not_written(error: &BrokerError, refusal: &str) -> String {
    const UNKNOWN: &str = "The outcome is unknown: read before you retry.";
    match error {
        BrokerError::NoMajority { .. } | BrokerError::NoLeader { .. } => refusal.to_owned(),
        BrokerError::Unknown { no_majority: true, .. } => format!("{refusal} {UNKNOWN}"),
        error if error.is_ambiguous() => format!("[WARNING] {UNKNOWN}"),
        error => failed(error),
    }
}

/// The answer to a line that is no command, and is not blank.
pub(crate) fn not_parsed(line: &str, error: &ParseError) -> String {
    let (kind, payload) = (error.kind(), payload(line));
    match kind {
        ParseErrorKind::MissingPayload | ParseErrorKind::MissingValue => format!("[Error] {kind}"),
        ParseErrorKind::UnknownCommand => {
            format!("[INFO] {kind}\n[INFO] Supported types: PUT | GET | QUERY | DELETE")
        }
        // No value has such a place.
        ParseErrorKind::EmptyStep if line.starts_with("QUERY") || line.starts_with("REMOVE") => {
            format!("{} : NOT FOUND", Escaped(payload))
        }
        _ => {
            let position = error.position_in_value(line).unwrap_or_else(|| {
                let start = line.len() - payload.len();
                line.get(start..error.offset()).map_or(0, |before| before.chars().count())
            });
            format!("[Error | Invalid data format] Failed at pos {position} - {kind}")
        }
    }
}

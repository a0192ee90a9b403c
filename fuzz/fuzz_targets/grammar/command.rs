//! Any text as a line of the prompt and as one of a data file.
#![no_main]

mod error;

use libfuzzer_sys::fuzz_target;
use triekv::Value;
use triekv::parser::{Command, parse_command, parse_record};

fuzz_target!(|line: &str| {
    match parse_command(line) {
        Ok(Command::Put { key, value, .. }) => reads_back(&key, &value),
        Ok(_) => {}
        Err(error) => error::check(&error, line),
    }
    match parse_record(line) {
        Ok((key, value)) => reads_back(&key, &value),
        Err(error) => error::check(&error, line),
    }
});

/// Verifies that the record, printed, is a line of a data file and the payload of a PUT.
fn reads_back(key: &str, value: &Value) {
    let line = format!("{}:{value}", Value::from(key));
    let (same_key, same_value) =
        parse_record(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!((same_key.as_str(), &same_value), (key, value), "{line}");
    let put = parse_command(&format!("PUT {line}"));
    let Ok(Command::Put { key: same_key, value: same_value, .. }) = put else {
        panic!("{put:?}: {line}")
    };
    assert_eq!((same_key.as_str(), &same_value), (key, value), "{line}");
}

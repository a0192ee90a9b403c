//! Bytes as values: postcard and JSON into a [`Value`] and back, and a value into Rust types.
//!
//! The first byte picks what the others are. Whatever is taken must come back unchanged by every
//! way out and in; whatever is not must be an error, not a panic.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use triekv::Value;
use triekv::parser::{parse_json, parse_record};
use triekv::value::{from_value, to_value};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    a: Option<u8>,
    b: Vec<i64>,
    #[serde(default)]
    c: BTreeMap<i16, char>,
    d: Option<Shape>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    A,
    B(f32),
    C(u8, String),
    D { a: Box<Option<Shape>>, b: (bool, u64) },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "a")]
enum Tagged {
    A { b: f64 },
    B(BTreeMap<String, Value>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    a: Option<Value>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    match choice % 3 {
        0 => {
            if let Ok(value) = postcard::from_bytes(bytes) {
                check(&value);
            }
        }
        1 => {
            let Ok(text) = str::from_utf8(bytes) else { return };
            let ours = parse_json(text);
            let theirs = serde_json::from_str::<serde_json::Value>(text);
            match (&ours, &theirs) {
                (Ok(value), Ok(json)) => {
                    check(value);
                    // `-0` is an integer here and a float there.
                    if !text.contains("-0") {
                        assert_eq!(value, &Value::try_from(json).expect("it is no deeper"));
                    }
                }
                // Theirs stops one level before the limit here.
                (Ok(value), Err(error)) => assert!(value.depth() >= 127, "{value}: {error}"),
                // Not JSON, or what no value can hold.
                (Err(_), _) => {}
            }
        }
        _ => {
            let Ok(text) = str::from_utf8(bytes) else { return };
            if let Ok((key, value)) = parse_record(text) {
                assert!(!key.is_empty() && matches!(value, Value::Map(_)));
                check(&value);
            }
        }
    }
});

/// Takes `value` out and in again, and tries to make Rust types of it.
fn check(value: &Value) {
    value.check().expect("what was read can be stored");
    let text = value.to_text();
    assert_eq!(&text.parse::<Value>().expect("text reads back"), value);
    let json = value.to_json().expect("a value is JSON");
    assert_eq!(&parse_json(&json).expect("JSON reads back"), value);
    let bytes = postcard::to_stdvec(value).expect("a value is encoded");
    assert_eq!(&postcard::from_bytes::<Value>(&bytes).expect("bytes read back"), value);
    let json = serde_json::Value::try_from(value).expect("a value is JSON");
    assert_eq!(&Value::try_from(json).expect("it came from a value"), value);
    assert_eq!(&to_value(value).expect("a value is one"), value);
    assert_eq!(&from_value::<Value>(value.clone()).expect("a value is one"), value);

    rust_type::<Fields>(value);
    rust_type::<Shape>(value);
    rust_type::<Tagged>(value);
    rust_type::<Flat>(value);
    rust_type::<Vec<(u8, Option<String>)>>(value);
    rust_type::<BTreeMap<bool, [i32; 2]>>(value);
}

/// What is read as a `T` becomes a value that is read as the same `T`; what is not has a message.
fn rust_type<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &Value) {
    match T::deserialize(value) {
        Ok(read) => {
            let value = to_value(&read).expect("it came from a value");
            assert_eq!(from_value::<T>(value).expect("it was written by the type"), read);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

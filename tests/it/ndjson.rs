//! Records as lines: NDJSON out of a store and into one, and what is said of bad lines.

use std::error::Error;
use std::io::{self, Read};
use std::ops::ControlFlow;

use proptest::prelude::*;
use triekv::parser::{LINE_BYTES_MAX, parse_json, parse_record};
use triekv::store::{IfPresent, ImportError, ImportReport};
use triekv::value::{from_value, to_value};
use triekv::{Map, Store, Value, value};

fn export(store: &Store) -> String {
    let mut text = Vec::new();
    let count = store.export_ndjson(&mut text).unwrap();
    assert_eq!(count, store.len() as u64);
    String::from_utf8(text).unwrap()
}

/// Keys and values that text makes hard.
fn odd_records() -> Vec<(&'static str, Value)> {
    vec![
        ("empty", value!({})),
        (" blanks ", value!({ "": {}, "list": [], "lists": [[], [[]], {}] })),
        ("dots.and[0]", value!({ "a.b": 1, "[0]": 2, "a\"b": 3, "{": 4 })),
        ("\"quoted\"", value!({ "quotes": "\"", "backslash": "\\", "both": "\\\"", "n": "\\n" })),
        ("{\"key\":1}", value!({ "key": "value", "value": { "key": {} } })),
        (
            "controls\u{0}\n\r\t\u{8}\u{c}\u{1f}\u{7f}",
            value!({ "c": "\u{0}\n\r\t\u{8}\u{c}\u{1f}\u{7f}" }),
        ),
        ("lines\u{2028}\u{2029}\u{85}", value!({ "l": "\u{2028}\u{2029}\u{85}\u{feff}" })),
        ("😀", value!({ "😀": "\u{10ffff}é😀", "script": "</script>" })),
        (
            "integers",
            value!({ "max": u64::MAX, "min": i64::MIN, "i64": i64::MAX, "one": 1, "zero": 0 }),
        ),
        (
            "floats",
            value!({
                "one": 1.0, "zero": 0.0, "minus": -0.0, "least": 5e-324, "tiny": f64::MIN_POSITIVE,
                "most": f64::MAX, "third": 0.1, "large": 1e16, "small": 1e-5, "f32": 0.1_f32,
            }),
        ),
        ("words", value!({ "null": null, "true": true, "false": false, "text": "null" })),
        (":", value!({ "deep": [[[[{ "a": [1, { "b": [] }] }]]]] })),
        ("\u{feff}", value!({})),
    ]
}

#[test]
fn an_export_comes_back_as_it_was() {
    let store = Store::in_memory();
    for (key, value) in odd_records() {
        store.put(key, value).unwrap();
    }
    let text = export(&store);
    let other = Store::in_memory();
    let report = other.import_ndjson(text.as_bytes(), IfPresent::Replace).unwrap();
    assert_eq!((report.lines, report.put), (store.len() as u64, store.len() as u64));
    for (key, value) in odd_records() {
        assert_eq!(other.get(key).map(|record| record.value), Some(value), "{key:?}");
    }
    assert_eq!(export(&other), text);
}

#[test]
fn each_line_is_json_to_others_and_keeps_the_kinds_of_numbers() {
    let store = Store::in_memory();
    for (key, value) in odd_records() {
        store.put(key, value).unwrap();
    }
    let text = export(&store);
    assert_eq!(text.lines().count(), store.len());
    for (line, entry) in text.lines().zip(store.prefix("")) {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["key"], entry.key.as_str());
        let value: Value = serde_json::from_str(&json["value"].to_string()).unwrap();
        assert_eq!(value, entry.record.value, "{line}");
    }
    assert!(text.contains(r#"{"key":"empty","value":{}}"#), "{text}");
}

#[test]
fn lines_of_both_formats_may_be_mixed() {
    let store = Store::in_memory();
    let text = "\u{feff}{\"key\":\"a\",\"value\":{\"n\":1}}\r\n\r\n  \t\n\
                \"b\":{ \"n\" : True }\r\n\
                \t{ \"value\" : { \"n\" : [ 1 , { } ] } , \"key\" : \"c\" } \n\
                {} : {}\n\
                { d : {\"n\": 2}";
    let report = store.import_ndjson(text.as_bytes(), IfPresent::Replace).unwrap();
    assert_eq!((report.lines, report.put, report.bad_lines), (7, 5, 0));
    let keys: Vec<String> = store.prefix("").map(|entry| entry.key).collect();
    assert_eq!(keys, ["a", "b", "c", "{ d", "{}"]);
    assert_eq!(store.query("b.n").unwrap(), Some(value!(true)));
    assert_eq!(store.query("c.n").unwrap(), Some(value!([1, {}])));
    // A capital boolean belongs to native files alone.
    assert!(parse_record(r#"{"key":"a","value":{"b":True}}"#).is_err());
}

/// Column, reason.
#[test]
fn a_bad_line_is_told_with_its_place() {
    for (line, reason) in [
        (
            r#"{"key":"a","value":{}"#,
            "column 22: expected ',' or '}', found the end of the text at byte 21",
        ),
        (r#"{"key":"a"}"#, r#"column 11: the field "value" is missing at byte 10"#),
        (r#"  {"value":{}}"#, r#"column 14: the field "key" is missing at byte 13"#),
        (
            r#"{"key":"é","x":1,"value":{}}"#,
            r#"column 12: unknown field "x": a record has "key" and "value" at byte 12"#,
        ),
        (r#"{"key":"a","key":"b"}"#, r#"column 12: the field "key" again at byte 11"#),
        (r#"{"value":{},"value":{}}"#, r#"column 13: the field "value" again at byte 12"#),
        (
            r#"{"key":1,"value":{}}"#,
            "column 8: expected a key in double quotes, found '1' at byte 7",
        ),
        (r#"{"key":"","value":{}}"#, "column 8: the key is empty at byte 7"),
        (r#"{"key":"a","value":[1]}"#, "column 20: expected '{', found '[' at byte 19"),
        (
            r#"{"key":"a","value":{"b":1;"c":2}}"#,
            "column 26: expected ',' or '}', found ';' at byte 25",
        ),
        (
            r#"{"key":"a","value":{"b":[1;2]}}"#,
            "column 27: expected ',' or ']', found ';' at byte 26",
        ),
        (
            r#"{"key":"a","value":{"b":1,}}"#,
            "column 27: expected a field name in double quotes, found '}' at byte 26",
        ),
        (r#"{"key":"a","value":{"b":NaN}}"#, "column 25: expected a value, found 'N' at byte 24"),
        (
            r#"{"key":"a","value":{"b":18446744073709551616}}"#,
            "column 25: the integer does not fit 64 bits at byte 24",
        ),
        (
            r#"{"key":"a","value":{"b":1e999}}"#,
            "column 25: the number is too large for a float at byte 24",
        ),
        (
            r#"{"key":"a","value":{}} x"#,
            "column 24: expected the end of the text, found 'x' at byte 23",
        ),
        (r#"{"key":"a";"value":{}}"#, "column 11: expected ',' or '}', found ';' at byte 10"),
        ("{}", "column 3: Value is missing! at byte 2"),
    ] {
        let store = Store::in_memory();
        let text = format!("first:{{}}\n{line}\nlast:{{}}\n");
        let error = store.import_ndjson(text.as_bytes(), IfPresent::Replace).unwrap_err();
        assert!(matches!(error, ImportError::BadLine { line: 2, .. }), "{line}");
        assert_eq!(error.source().unwrap().to_string(), reason, "{line}");
        assert!(store.contains_key("first") && !store.contains_key("last"));

        let mut told = Vec::new();
        let report = store.import_ndjson_with(text.as_bytes(), IfPresent::Keep, |line, error| {
            told.push((line, error.to_string()));
            ControlFlow::Continue(())
        });
        let report = report.unwrap();
        assert_eq!(told, [(2, reason.to_owned())]);
        assert_eq!((report.put, report.present, report.bad_lines), (1, 1, 1));
        assert!(store.contains_key("last"));
    }
}

#[test]
fn keys_are_held_to_their_limit() {
    let line = |length| format!(r#"{{"key":"{}","value":{{}}}}"#, "k".repeat(length));
    assert!(parse_record(&line(65_536)).is_ok());
    assert_eq!(
        parse_record(&line(65_537)).unwrap_err().to_string(),
        "the key has 65537 bytes, 65536 are allowed at byte 7"
    );
}

#[test]
fn values_are_held_to_the_depth_limit() {
    let nested = |depth: usize| {
        let (open, close) = ("{\"a\":".repeat(depth - 1), "}".repeat(depth - 1));
        format!(r#"{{"key":"k","value":{open}{{}}{close}}}"#)
    };
    assert!(parse_record(&nested(128)).is_ok());
    let error = parse_record(&nested(129)).unwrap_err();
    assert_eq!(error.kind().to_string(), "more than 128 levels lie within each other");
    assert!(parse_json(&"[".repeat(1_000_000)).is_err());
}

#[test]
fn records_that_are_there_are_replaced_or_kept() {
    let text = "a:{\"n\":1}\nb:{\"n\":2}\na:{\"n\":3}\n";
    let import = |if_present| {
        let store = Store::in_memory();
        store.put("b", value!({ "n": 0 })).unwrap();
        let report = store.import_ndjson(text.as_bytes(), if_present).unwrap();
        let numbers = ["a.n", "b.n"].map(|path| store.query(path).unwrap().unwrap());
        ((report.put, report.present), numbers)
    };
    assert_eq!(import(IfPresent::Replace), ((3, 0), [value!(3), value!(2)]));
    assert_eq!(import(IfPresent::Keep), ((1, 2), [value!(1), value!(0)]));
}

/// Gives `text`, then fails.
struct Fails<'a>(&'a [u8]);

impl Read for Fails<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::other("unplugged"));
        }
        self.0.read(buffer)
    }
}

#[test]
fn an_input_that_fails_leaves_the_lines_before_it() {
    let store = Store::in_memory();
    let error = store.import_ndjson(Fails(b"a:{}\nb:{}\nc:"), IfPresent::Replace).unwrap_err();
    assert!(matches!(error, ImportError::Read { line: 2, .. }), "{error}");
    assert_eq!(store.len(), 2);
}

#[test]
fn a_line_that_is_too_long_is_left_out_and_not_kept() {
    let long = io::repeat(b'x').take(LINE_BYTES_MAX as u64 * 2);
    let input = long.chain(&b"\na:{}"[..]);
    let store = Store::in_memory();
    let mut told = Vec::new();
    let report = store.import_ndjson_with(input, IfPresent::Replace, |line, error| {
        told.push((line, error.to_string()));
        ControlFlow::Continue(())
    });
    assert_eq!(told, [(1, "longer than 8388608 bytes".to_owned())]);
    assert_eq!((report.unwrap().put, store.len()), (1, 1));
}

#[test]
fn many_batches_are_durable_when_the_import_returns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.kv");
    let line = |n| format!("{{\"key\":\"k{n}\",\"value\":{{\"n\":{n}}}}}");
    let text = (0..5_000).map(line).collect::<Vec<_>>().join("\n");
    let store = Store::open(&path).unwrap();
    let report = store.import_ndjson(text.as_bytes(), IfPresent::Keep).unwrap();
    assert_eq!((report.lines, report.put), (5_000, 5_000));
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.len(), 5_000);
    assert_eq!(store.query("k4999.n").unwrap(), Some(value!(4999)));
    let again = store.import_ndjson(text.as_bytes(), IfPresent::Keep).unwrap();
    assert_eq!((again.put, again.present), (0, 5_000));
    assert_eq!(store.import_ndjson(io::empty(), IfPresent::Keep).unwrap(), ImportReport::default());
}

/// Any value that a store takes, up to some levels deep.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(value!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
        "\\PC*".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|fields| Value::Map(fields.into_iter().collect::<Map>())),
        ]
    })
}

proptest! {
    #[test]
    fn text_json_postcard_and_serde_all_give_the_value_back(value in any_value()) {
        prop_assert_eq!(&value.to_text().parse::<Value>().unwrap(), &value);
        let json = value.to_json().unwrap();
        prop_assert_eq!(&parse_json(&json).unwrap(), &value);
        let theirs = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(&parse_json(&theirs).unwrap(), &value);
        let bytes = postcard::to_stdvec(&value).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<Value>(&bytes).unwrap(), &value);
        prop_assert_eq!(&to_value(&value).unwrap(), &value);
        prop_assert_eq!(&from_value::<Value>(value.clone()).unwrap(), &value);
        #[cfg(feature = "json")]
        {
            let json = serde_json::Value::try_from(&value).unwrap();
            prop_assert_eq!(&serde_json::to_value(&value).unwrap(), &json);
            prop_assert_eq!(&Value::try_from(json).unwrap(), &value);
        }
    }

    #[test]
    fn any_record_comes_back_from_its_line(key in ".{1,20}", value in any_value()) {
        let store = Store::in_memory();
        let record = value!({ "a": value });
        store.put(&key, record.clone()).unwrap();
        let line = export(&store);
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(parse_record(line.trim_end_matches('\n')).unwrap(), (key, record));
    }
}

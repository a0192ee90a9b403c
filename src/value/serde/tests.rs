use std::collections::BTreeMap;
use std::thread;

use super::super::{DEPTH_MAX, Map, Value, ValueError, ValueErrorKind};
use super::{from_value, to_value};
use crate::value;
use ::serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i8, u8),
    Box { width: u64, height: Option<i64> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Meters(f32);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    letter: char,
    text: String,
    large: u64,
    wide: i128,
    unit: (),
    nothing: Unit,
    newtype: Meters,
    pair: (u8, String),
    shapes: Vec<Shape>,
    by_number: BTreeMap<i32, bool>,
    by_flag: BTreeMap<bool, char>,
    some: Option<Box<Everything>>,
}

fn everything() -> Everything {
    Everything {
        flag: true,
        letter: 'π',
        text: "Mary".into(),
        large: u64::MAX,
        wide: -5,
        unit: (),
        nothing: Unit,
        newtype: Meters(1.5),
        pair: (1, "two".into()),
        shapes: vec![
            Shape::Point,
            Shape::Circle(0.5),
            Shape::Line(-1, 1),
            Shape::Box { width: 1, height: None },
        ],
        by_number: [(-1, true), (2, false)].into(),
        by_flag: [(true, 'y')].into(),
        some: None,
    }
}

fn sample() -> Value {
    value!({
        "null": null, "yes": true, "no": false, "int": i64::MIN, "uint": u64::MAX, "float": -0.0,
        "str": "α\n", "list": [1, [], {}], "map": { "": 1.5, "a": { "b": "c" } },
    })
}

fn nested(levels: usize) -> Value {
    (1..levels).fold(value!({}), |inner, level| {
        if level % 2 == 0 { value!({ "a": inner }) } else { value!([inner]) }
    })
}

#[test]
fn rust_types_become_values_and_come_back() {
    let value = to_value(&everything()).unwrap();
    assert_eq!(
        value.get("shapes"),
        Some(&value!([
            "Point",
            { "Circle": 0.5 },
            { "Line": [-1, 1] },
            { "Box": { "width": 1, "height": null } },
        ]))
    );
    assert_eq!(value.get("by_number"), Some(&value!({ "-1": true, "2": false })));
    assert_eq!(value.get("large"), Some(&Value::UInt(u64::MAX)));
    assert_eq!(from_value::<Everything>(value).unwrap(), everything());
}

#[test]
fn conversion_to_a_value_agrees_with_json() {
    let ours = to_value(&everything()).unwrap();
    let json = serde_json::to_value(everything()).unwrap();
    assert_eq!(serde_json::to_value(&ours).unwrap(), json);
    assert_eq!(to_value(&json).unwrap(), ours);
}

#[test]
fn json_holds_values_as_plain_data() {
    let text = serde_json::to_string(&sample()).unwrap();
    assert!(text.starts_with(r#"{"float":-0.0,"int":-9223372036854775808,"list":[1,[],{}],"#));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), sample());
    assert!(serde_json::from_str::<Value>("1e400").is_err());
    assert_eq!(serde_json::from_str::<Value>("[5]").unwrap(), value!([5]));
}

#[test]
fn values_convert_to_values_unchanged() {
    assert_eq!(to_value(&sample()).unwrap(), sample());
    assert_eq!(from_value::<Value>(sample()).unwrap(), sample());
}

#[test]
fn postcard_holds_values_as_an_enumeration() {
    let bytes = postcard::to_stdvec(&sample()).unwrap();
    assert_eq!(postcard::from_bytes::<Value>(&bytes).unwrap(), sample());
    let pinned: [(Value, &[u8]); 8] = [
        (value!(null), &[0]),
        (value!(true), &[1, 1]),
        (value!(-1), &[2, 1]),
        (Value::UInt(1 << 63), &[3, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1]),
        (value!(1.0), &[4, 0, 0, 0, 0, 0, 0, 240, 63]),
        (value!("a"), &[5, 1, b'a']),
        (value!([null]), &[6, 1, 0]),
        (value!({ "a": null }), &[7, 1, 1, b'a', 0]),
    ];
    for (value, bytes) in pinned {
        assert_eq!(postcard::to_stdvec(&value).unwrap(), bytes);
        assert_eq!(postcard::from_bytes::<Value>(bytes).unwrap(), value);
    }
}

#[test]
fn decoded_integers_are_kept_signed_where_they_fit() {
    let value = postcard::from_bytes::<Value>(&[3, 5]).unwrap();
    assert!(matches!(value, Value::Int(5)));
}

#[test]
fn hostile_bytes_are_refused() {
    let mut not_a_number = vec![4];
    not_a_number.extend(f64::NAN.to_le_bytes());
    let huge_length = [6, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    let cases: [&[u8]; 7] =
        [&[], &[8], &[5, 5, b'a'], &[5, 1, 0xFF], &[7, 1, 1, 0xFF, 0], &not_a_number, &huge_length];
    for bytes in cases {
        assert!(postcard::from_bytes::<Value>(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn the_depth_limit_holds_in_every_direction() {
    let run = || {
        let (deepest, deeper) = (nested(DEPTH_MAX), nested(DEPTH_MAX + 1));
        assert!(serde_json::to_string(&deepest).is_ok());
        assert!(serde_json::to_string(&deeper).is_err());
        assert_eq!(to_value(&deepest).unwrap(), deepest);
        let error = to_value(&deeper).unwrap_err();
        assert_eq!(error.to_string(), deeper.check().unwrap_err().to_string());
        assert_eq!(from_value::<Value>(deepest.clone()).unwrap(), deepest);
        assert!(from_value::<Value>(deeper.clone()).is_err());
        let bytes = postcard::to_stdvec(&deepest).unwrap();
        assert_eq!(postcard::from_bytes::<Value>(&bytes).unwrap(), deepest);
        assert!(postcard::to_stdvec(&deeper).is_err());
        let bytes = [6, 1].repeat(1_000_000);
        assert!(postcard::from_bytes::<Value>(&bytes).is_err());
    };
    thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn variants_count_as_a_level_of_depth() {
    #[derive(Serialize)]
    enum Chain {
        Link(Box<Chain>),
        Row(u8, Option<Box<Chain>>),
        End,
    }
    let link = |chain, _| Chain::Link(Box::new(chain));
    let row = |chain, _| Chain::Row(0, Some(Box::new(chain)));
    let depth = |chain: Chain| to_value(&chain).map(|value| value.depth());
    assert_eq!(depth((0..DEPTH_MAX).fold(Chain::End, link)), Ok(DEPTH_MAX));
    assert!(depth((0..=DEPTH_MAX).fold(Chain::End, link)).is_err());
    assert_eq!(depth((0..DEPTH_MAX / 2).fold(Chain::End, row)), Ok(DEPTH_MAX));
    assert!(depth((0..=DEPTH_MAX / 2).fold(Chain::End, row)).is_err());
}

#[test]
fn conversion_errors_name_the_place() {
    let error = to_value(&BTreeMap::from([("a", [0.0, f64::NAN])])).unwrap_err();
    assert_eq!(error.to_string(), "a[1]: the number is not finite");
    let error = to_value(&[u128::MAX]).unwrap_err();
    assert_eq!(error.to_string(), "[0]: the integer does not fit 64 bits");
    let error = to_value(&BTreeMap::from([(vec![1], 0)])).unwrap_err();
    assert_eq!(error.kind(), &ValueErrorKind::NameNotString);

    let error = from_value::<Vec<Shape>>(value!([{ "Line": [1, 300] }])).unwrap_err();
    assert_eq!(error.to_string(), "[0].Line[1]: expected u8, found the integer 300");
    let error = from_value::<Vec<Shape>>(value!([{ "Box": { "width": "x" } }])).unwrap_err();
    assert_eq!(error.to_string(), "[0].Box.width: expected u64, found a string");
    for wrong in [value!({ "Line": [1, 2, 3] }), value!({}), value!(1), value!({ "Point": 1 })] {
        assert!(from_value::<Shape>(wrong).is_err());
    }
    assert!(from_value::<BTreeMap<i32, bool>>(value!({ "x": true })).is_err());
}

#[test]
fn names_that_are_not_utf8_are_refused_in_every_direction() {
    let mut fields = Map::new();
    fields.insert([0xFF], Value::Bool(true));
    let value = Value::Map(fields);
    assert!(serde_json::to_string(&value).is_err());
    assert!(postcard::to_stdvec(&value).is_err());
    assert!(from_value::<BTreeMap<String, bool>>(value).is_err());
}

#[test]
fn floats_that_are_not_finite_are_refused_in_every_direction() {
    let value = value!([f64::INFINITY]);
    assert!(serde_json::to_string(&value).is_err());
    assert!(postcard::to_stdvec(&value).is_err());
    assert!(from_value::<Value>(value).is_err());
}

#[test]
fn errors_cross_the_wire() {
    let unknown = from_value::<Vec<Shape>>(value!(["Dot"])).unwrap_err();
    let mismatch = from_value::<Vec<u8>>(value!([-1])).unwrap_err();
    for error in [value!({ "a": [f64::NAN] }).check().unwrap_err(), unknown, mismatch] {
        let bytes = postcard::to_stdvec(&error).unwrap();
        assert_eq!(postcard::from_bytes::<ValueError>(&bytes).unwrap(), error);
    }
    // The order of the kinds is part of the encoding.
    let pinned = [
        (ValueErrorKind::TooDeep { limit: 1 }, 0),
        (ValueErrorKind::Refused { message: String::new() }, 5),
        (ValueErrorKind::Mismatch { expected: String::new(), found: String::new() }, 6),
        (ValueErrorKind::Duplicate, 10),
    ];
    for (kind, index) in pinned {
        assert_eq!(postcard::to_stdvec(&kind).unwrap()[0], index);
    }
}

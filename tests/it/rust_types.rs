//! Rust types as values and back: what each becomes, and what is said when it does not fit.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use triekv::value::{DEPTH_MAX, ValueErrorKind, from_value, to_value};
use triekv::{Map, Store, StoreError, Value, value};

/// `source` becomes `value`, and comes back, by value and by reference.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the cases read better without ampersands")]
fn is<T: Serialize + DeserializeOwned + PartialEq + Debug>(source: T, value: Value) {
    assert_eq!(to_value(&source).unwrap(), value);
    assert_eq!(T::deserialize(&value).unwrap(), source);
    assert_eq!(from_value::<T>(value).unwrap(), source);
}

/// What is said when `value` is read as a `T`.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "the cases read better without ampersands")]
fn error<T: DeserializeOwned + Debug>(value: Value) -> String {
    T::deserialize(&value).unwrap_err().to_string()
}

/// What is said when a value is made of `source`.
#[track_caller]
fn refusal<T: Serialize>(source: T) -> String {
    to_value(&source).unwrap_err().to_string()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Address {
    city: String,
    zip: Option<u16>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    address: Address,
    tags: Vec<String>,
}

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
struct Pair(u8, String);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Green,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Empty,
    Dot { x: i8 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "with")]
enum Adjacent {
    Empty,
    One(u8),
    Dot { x: i8 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(u8),
    Text(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    address: Address,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    #[serde(alias = "b")]
    a: u8,
}

#[test]
fn numbers_and_strings_keep_their_kind() {
    is(u64::MAX, Value::UInt(u64::MAX));
    is(i64::MIN, value!(i64::MIN));
    is(1.0, value!(1.0));
    is(1, value!(1));
    is(5e-324, value!(5e-324));
    is(1.5_f32, value!(1.5));
    is(0.1_f32, value!(f64::from(0.1_f32)));
    is(i128::from(u64::MAX), Value::UInt(u64::MAX));
    is(u128::from(u64::MAX), Value::UInt(u64::MAX));
    is(true, value!(true));
    is('π', value!("π"));
    is("\u{2028}\"\\\u{0}😀".to_owned(), value!("\u{2028}\"\\\u{0}😀"));
    let negative_zero: f64 = from_value(to_value(&-0.0).unwrap()).unwrap();
    assert!(negative_zero.is_sign_negative());
}

#[test]
fn numbers_are_never_rounded_on_the_way() {
    assert_eq!(from_value::<f64>(value!(7)), Ok(7.0));
    assert_eq!(from_value::<f32>(Value::UInt(1 << 63)), Ok(9_223_372_036_854_775_808.0));
    let odd = (1_i64 << 53) + 1;
    assert_eq!(error::<f64>(value!(odd)), "expected f64, found the integer 9007199254740993");
    assert_eq!(error::<f32>(value!(16_777_217)), "expected f32, found the integer 16777217");
    let max = "expected f64, found the integer 18446744073709551615";
    assert_eq!(error::<f64>(Value::UInt(u64::MAX)), max);
    assert_eq!(error::<f32>(value!(1e300)), "expected f32, found the float 1e300");
    assert_eq!(error::<u8>(value!(1.0)), "expected u8, found the float 1.0");
    assert_eq!(error::<f64>(value!(f64::NAN)), "the number is not finite");
    assert_eq!(refusal(f64::NEG_INFINITY), "the number is not finite");
    assert_eq!(refusal([f32::NAN]), "[0]: the number is not finite");
    assert_eq!(refusal(i128::MIN), "the integer does not fit 64 bits");
    assert_eq!(refusal(1_u128 << 64), "the integer does not fit 64 bits");
}

#[test]
fn kinds_that_do_not_fit_are_told_in_words() {
    assert_eq!(error::<u16>(value!("11143")), "expected u16, found a string");
    assert_eq!(error::<u16>(value!(null)), "expected u16, found null");
    assert_eq!(error::<u16>(value!(true)), "expected u16, found a boolean");
    assert_eq!(error::<u16>(value!([])), "expected u16, found a list");
    assert_eq!(error::<u16>(value!({})), "expected u16, found a map");
    assert_eq!(error::<u8>(value!(-7)), "expected u8, found the integer -7");
    assert_eq!(error::<String>(value!(5)), "expected a string, found the integer 5");
    assert_eq!(error::<bool>(value!(0)), "expected a boolean, found the integer 0");
    assert_eq!(error::<()>(value!(0)), "expected unit, found the integer 0");
    assert_eq!(error::<char>(value!("ab")), r#"expected a character, found the string "ab""#);
    let long = format!("expected a character, found the string \"{}...\"", "é".repeat(40));
    assert_eq!(error::<char>(value!("é".repeat(50))), long);
    assert_eq!(error::<NonZeroU8>(value!(0)), "expected a nonzero u8, found the integer 0");
}

#[test]
fn places_lead_through_structs_options_lists_and_maps() {
    let person = |zip: Value| value!({ "name": "Mary", "address": { "city": "Athens", "zip": zip }, "tags": [] });
    is(
        Person {
            name: "Mary".into(),
            address: Address { city: "Athens".into(), zip: Some(11143) },
            tags: Vec::new(),
        },
        person(value!(11143)),
    );
    let found = error::<Person>(person(value!("11143")));
    assert_eq!(found, "address.zip: expected u16, found a string");
    let found = error::<BTreeMap<String, Vec<Person>>>(value!({ "a.b": [person(value!(-1))] }));
    assert_eq!(found, r#""a.b"[0].address.zip: expected u16, found the integer -1"#);
    assert_eq!(error::<Person>(value!({ "name": "x", "tags": [] })), "address: missing");
    assert_eq!(
        error::<Person>(value!({ "name": "x", "tags": [], "address": {} })),
        "address.city: missing"
    );
    assert_eq!(error::<Person>(value!(1)), "expected struct Person, found the integer 1");

    let kind = from_value::<Person>(person(value!(-1))).unwrap_err();
    assert_eq!(kind.steps(), ["address".into(), "zip".into()]);
    let (expected, found) = ("u16".to_owned(), "the integer -1".to_owned());
    assert_eq!(kind.kind(), &ValueErrorKind::Mismatch { expected, found });
}

#[test]
fn unknown_and_repeated_fields_are_named() {
    is(Strict { a: 1 }, value!({ "a": 1 }));
    assert_eq!(
        error::<Strict>(value!({ "a": 1, "c": 2 })),
        "c: no such field, expected one of a, b"
    );
    assert_eq!(
        error::<Vec<Strict>>(value!([{ "x y": 2 }])),
        "[0].x y: no such field, expected one of a, b"
    );
    assert_eq!(error::<Strict>(value!({ "a": 1, "b": 2 })), "a: given twice");
    assert_eq!(from_value(value!({ "b": 2 })), Ok(Strict { a: 2 }));
}

#[test]
fn enums_are_names_or_maps_of_one_field() {
    is(Shape::Point, value!("Point"));
    is(Shape::Circle(0.5), value!({ "Circle": 0.5 }));
    is(Shape::Line(-1, 1), value!({ "Line": [-1, 1] }));
    is(Shape::Box { width: 1, height: None }, value!({ "Box": { "width": 1, "height": null } }));
    assert_eq!(from_value(value!({ "Point": null })), Ok(Shape::Point));
    is::<Result<u8, String>>(Ok(1), value!({ "Ok": 1 }));

    let choice = "expected one of Point, Circle, Line, Box";
    let found = error::<Vec<Shape>>(value!(["Dot"]));
    assert_eq!(found, format!("[0]: unknown variant \"Dot\", {choice}"));
    let found = error::<Shape>(value!({ "Dot": 1 }));
    assert_eq!(found, format!("unknown variant \"Dot\", {choice}"));
    assert_eq!(error::<Shape>(value!(1)), "expected a variant of Shape, found the integer 1");
    let one = "expected a map of one field, a variant of Shape, found";
    assert_eq!(error::<Shape>(value!({})), format!("{one} 0 fields"));
    assert_eq!(error::<Shape>(value!({ "Point": null, "a": 1 })), format!("{one} 2 fields"));
    assert_eq!(error::<Shape>(value!({ "Point": 1 })), "Point: expected null, found the integer 1");
    assert_eq!(error::<Shape>(value!({ "Circle": "x" })), "Circle: expected f64, found a string");
    assert_eq!(
        error::<Shape>(value!({ "Line": [1, 300] })),
        "Line[1]: expected u8, found the integer 300"
    );
    assert_eq!(
        error::<Shape>(value!({ "Line": [1, 2, 3] })),
        "Line: expected 2 items, found 3 items"
    );
    assert_eq!(
        error::<Shape>(value!({ "Line": [1] })),
        "Line: expected tuple variant Shape::Line with 2 elements, found 1 item"
    );
    assert_eq!(
        error::<Shape>(value!({ "Line": {} })),
        "Line: expected tuple variant Shape::Line, found a map"
    );
    assert_eq!(
        error::<Shape>(value!({ "Box": 1 })),
        "Box: expected struct variant Shape::Box, found the integer 1"
    );
    assert_eq!(error::<Shape>(value!({ "Box": {} })), "Box.width: missing");
    assert_eq!(
        error::<Shape>(value!("Circle")),
        r#"expected a map from "Circle" to its content, found the string "Circle""#
    );
    assert_eq!(refusal([Shape::Circle(f64::NAN)]), "[0].Circle: the number is not finite");
}

#[test]
fn other_representations_of_enums_keep_the_place_of_the_enum() {
    is(Internal::Empty, value!({ "type": "Empty" }));
    is(Internal::Dot { x: 1 }, value!({ "type": "Dot", "x": 1 }));
    is(Adjacent::Empty, value!({ "kind": "Empty" }));
    is(Adjacent::One(3), value!({ "kind": "One", "with": 3 }));
    is(Adjacent::Dot { x: 1 }, value!({ "kind": "Dot", "with": { "x": 1 } }));
    is(Either::Number(1), value!(1));
    is(Either::Text("x".into()), value!("x"));

    let found = error::<Vec<Internal>>(value!([{ "type": "Dot", "x": 300 }]));
    assert_eq!(found, "[0]: expected i8, found the integer 300");
    assert_eq!(error::<Vec<Internal>>(value!([{ "x": 1 }])), "[0].type: missing");
    let found = error::<Internal>(value!({ "type": "Dit" }));
    assert_eq!(found, "type: unknown variant \"Dit\", expected one of Empty, Dot");
    let found = error::<Vec<Adjacent>>(value!([{ "kind": "One", "with": "x" }]));
    assert_eq!(found, "[0].with: expected u8, found a string");
    let found = error::<Vec<Either>>(value!([1, null]));
    assert_eq!(found, "[1]: data did not match any variant of untagged enum Either");
}

#[test]
fn options_newtypes_tuples_and_units_are_what_they_hold() {
    is(None::<u8>, value!(null));
    is(Some(1), value!(1));
    is(Meters(1.5), value!(1.5));
    is(Pair(1, "a".into()), value!([1, "a"]));
    is((1, "a".to_owned(), [true; 2]), value!([1, "a", [true, true]]));
    is((), value!(null));
    is(Unit, value!(null));
    is(Vec::<u8>::new(), value!([]));
    assert_eq!(from_value::<Option<Option<u8>>>(value!(null)), Ok(None));
    assert_eq!(from_value::<Option<Option<u8>>>(value!(1)), Ok(Some(Some(1))));

    assert_eq!(error::<Option<u8>>(value!("x")), "expected u8, found a string");
    assert_eq!(error::<Meters>(value!("x")), "expected f32, found a string");
    assert_eq!(error::<(u8, u8)>(value!([1])), "expected a tuple of size 2, found 1 item");
    assert_eq!(error::<(u8, u8)>(value!([1, 2, 3])), "expected 2 items, found 3 items");
    assert_eq!(error::<[u8; 2]>(value!([1, -1])), "[1]: expected u8, found the integer -1");
    assert_eq!(error::<Unit>(value!({})), "expected unit struct Unit, found a map");
}

#[test]
fn some_of_nothing_is_refused_since_it_would_be_none() {
    let null = "Some that holds null would be read as None; \
                use an enum, or leave the field out for None";
    assert_eq!(refusal(Some(None::<u8>)), null);
    assert_eq!(refusal([Some(Some(())), None]), format!("[0]: {null}"));
    assert_eq!(refusal(Zip { zip: Some(Unit) }), format!("zip: {null}"));
    assert_eq!(refusal(BTreeMap::from([("a", Some(Value::Null))])), format!("a: {null}"));
    assert_eq!(to_value(&Some(None::<u8>)).unwrap_err().kind(), &ValueErrorKind::NullInSome);

    // The usual way to tell a field that is null from one that is left out.
    let patch = |zip| Patch { zip };
    is(patch(None), value!({}));
    is(patch(Some(None)), value!({ "zip": null }));
    is(patch(Some(Some(5))), value!({ "zip": 5 }));
}

#[derive(Serialize)]
struct Zip<T> {
    zip: Option<T>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::option_option, reason = "the usual way to tell null from nothing")]
struct Patch {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "null_is_some")]
    zip: Option<Option<u8>>,
}

mod null_is_some {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde asks for this form")]
    pub(super) fn serialize<T: Serialize, S: Serializer>(
        zip: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match zip {
            Some(inner) => inner.serialize(serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        T::deserialize(deserializer).map(Some)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sums<K: Ord> {
    by_key: BTreeMap<K, u8>,
    total: u128,
}

fn sums<K: Ord>(key: K, total: u128) -> Sums<K> {
    Sums { by_key: [(key, 1)].into(), total }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Report {
    Sums(Sums<u16>),
    Total { total: i128 },
    ByFlag { by_flag: BTreeMap<bool, u8> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WithFlat<T> {
    total: u128,
    by_number: BTreeMap<u8, u8>,
    #[serde(flatten)]
    flat: T,
}

#[test]
fn integers_that_serde_cannot_buffer_are_refused_in_their_place() {
    let inside = "inside of an internally tagged enum or a flattened field serde reads no";
    let name = format!(
        "{inside} key of a map that is an integer or a boolean; \
         use strings, or tag the enum with tag and content"
    );
    let wide =
        format!("{inside} i128 or u128; use i64 or u64, or tag the enum with tag and content");
    assert_eq!(refusal([Report::Sums(sums(5, 1))]), format!("[0].by_key.5: {name}"));
    assert_eq!(refusal([Report::Total { total: 1 }]), format!("[0].total: {wide}"));
    let by_flag = [(true, 1)].into();
    assert_eq!(refusal(Report::ByFlag { by_flag }), format!("by_flag.true: {name}"));

    let flat = |flat| WithFlat { total: 1, by_number: [(5, 1)].into(), flat };
    assert_eq!(refusal(flat(BTreeMap::from([("more", 1_u128)]))), format!("more: {wide}"));
    let refused = refusal(WithFlat {
        total: 1,
        by_number: BTreeMap::new(),
        flat: BTreeMap::from([(-5, "a")]),
    });
    assert_eq!(refused, format!("-5: {name}"));
}

#[test]
fn integers_beside_flattened_fields_and_in_tagged_structs_are_not_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", rename = "tagged")]
    struct Tagged {
        total: u128,
        by_number: BTreeMap<u8, u8>,
    }
    let tagged = || Tagged { total: 1, by_number: [(5, 1)].into() };
    is(tagged(), value!({ "type": "tagged", "total": 1, "by_number": { "5": 1 } }));
    let kept = WithFlat { total: 1, by_number: [(5, 1)].into(), flat: Internal::Dot { x: 1 } };
    is(kept, value!({ "total": 1, "by_number": { "5": 1 }, "type": "Dot", "x": 1 }));
    is(BTreeMap::from([("type".to_owned(), "Total".to_owned())]), value!({ "type": "Total" }));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum TagLast {
    Sums(Sums<i8>),
    Nothing,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    y: i8,
    x: u8,
}

#[test]
fn the_tag_of_an_adjacent_enum_is_read_before_its_content() {
    is(
        TagLast::Sums(sums(-5, 1)),
        value!({ "t": "Sums", "c": { "by_key": { "-5": 1 }, "total": 1 } }),
    );
    is(TagLast::Nothing, value!({ "t": "Nothing" }));
    let content = |total: Value| value!({ "by_key": {}, "total": total });
    let with_more = value!({ "a": 1, "c": null, "t": "Nothing", "z": 2 });
    assert_eq!(from_value(with_more), Ok(TagLast::Nothing));
    let found = error::<[TagLast; 1]>(value!([{ "t": "Sums", "c": (content(value!("x"))) }]));
    assert_eq!(found, "[0].c.total: expected u128, found a string");
    assert_eq!(error::<TagLast>(value!({ "c": (content(value!(1))) })), "t: missing");
    let found = error::<TagLast>(value!({ "t": 5, "c": null }));
    assert_eq!(found, "t: expected a variant of TagLast, found the integer 5");

    is(Point { y: 1, x: 2 }, value!({ "y": 1, "x": 2 }));
    let more = value!({ "a": 0, "x": 1, "y": 2, "z": 3 });
    assert_eq!(error::<Point>(more), "a: no such field, expected one of y, x");
    assert_eq!(
        error::<Point>(value!({ "x": 300, "y": 2 })),
        "x: expected u8, found the integer 300"
    );
    assert_eq!(
        error::<Point>(value!({ "x": 1, "y": 300 })),
        "y: expected i8, found the integer 300"
    );
    assert_eq!(error::<Point>(value!({ "x": 1 })), "y: missing");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Known {
    Point { x: u8 },
    ByFlag(BTreeMap<bool, u8>),
    ByNumber(BTreeMap<i64, u8>),
    Names(BTreeMap<String, u8>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Numbers {
    First { first: u8 },
    ByFlag(BTreeMap<bool, u8>),
    ByNumber(BTreeMap<u64, u8>),
}

#[test]
fn integers_as_keys_in_untagged_enums_are_read_by_value() {
    let read = |value| from_value::<[Known; 1]>(value!([(value)])).map(|[known]| known);
    assert_eq!(read(value!({ "x": 1 })), Ok(Known::Point { x: 1 }));
    assert_eq!(
        read(value!({ "a": 1, "5": 2 })).unwrap(),
        Known::Names([("5".to_owned(), 2), ("a".to_owned(), 1)].into(),)
    );

    for numbers in [
        Numbers::ByFlag([(true, 1), (false, 2)].into()),
        Numbers::ByNumber([(0, 1), (u64::MAX, 2)].into()),
    ] {
        let value = to_value(&[&numbers]).unwrap();
        assert_eq!(from_value(value).as_ref(), Ok(&[numbers]));
    }
    // A name is never taken for the index of a field, and the first error is the one that is told.
    let found = from_value::<[Numbers; 1]>(value!([{ "-1": 1 }])).unwrap_err();
    let none = "[0]: data did not match any variant of untagged enum Numbers";
    assert_eq!(found.to_string(), none);
    let found = from_value::<AnyStruct>(value!({ "0": 1 })).unwrap_err();
    assert_eq!(found.to_string(), "data did not match any variant of untagged enum AnyStruct");
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AnyStruct {
    #[expect(dead_code, reason = "nothing is read")]
    First { first: u8 },
}

#[test]
fn bytes_are_lists_and_are_read_from_strings_too() {
    is(CString::new("ab").unwrap(), value!([97, 98]));
    assert_eq!(from_value::<CString>(value!("ab")).unwrap(), CString::new("ab").unwrap());
    let text = value!("aé");
    assert_eq!(<&[u8]>::deserialize(&text), Ok("aé".as_bytes()));
    assert_eq!(error::<CString>(value!([97, 256])), "[1]: expected a byte, found the integer 256");
    assert_eq!(error::<CString>(value!(["a"])), "[0]: expected a byte, found a string");
    assert_eq!(error::<CString>(value!(1)), "expected byte array, found the integer 1");
}

type ByInteger = BTreeMap<i32, u8>;

#[test]
fn keys_of_maps_have_one_text_each() {
    is(HashMap::from([("a".to_owned(), 1)]), value!({ "a": 1 }));
    is(BTreeMap::from([(-1, 1), (22, 2)]), value!({ "-1": 1, "22": 2 }));
    is(BTreeMap::from([(i128::MAX, 1)]), value!({ (i128::MAX.to_string()): 1 }));
    is(BTreeMap::from([(true, 1)]), value!({ "true": 1 }));
    is(BTreeMap::from([('π', 1)]), value!({ "π": 1 }));
    is(BTreeMap::from([(Color::Red, 1)]), value!({ "red": 1 }));
    is(BTreeMap::from([(Some(5), 1)]), value!({ "5": 1 }));
    is(BTreeMap::from([(String::new(), 1)]), value!({ "": 1 }));

    assert_eq!(error::<ByInteger>(value!({ "x": 1 })), "x: expected i32, found the field name");
    assert_eq!(error::<ByInteger>(value!({ "+1": 1 })), "+1: expected i32, found the field name");
    assert_eq!(error::<ByInteger>(value!({ "01": 1 })), "01: expected i32, found the field name");
    assert_eq!(error::<ByInteger>(value!({ "1": 300 })), "1: expected u8, found the integer 300");
    let found = error::<BTreeMap<Color, u8>>(value!({ "blue": 1 }));
    assert_eq!(found, "blue: unknown variant \"blue\", expected one of red, green");
    let found = error::<BTreeMap<char, u8>>(value!({ "ab": 1 }));
    assert_eq!(found, r#"ab: expected a character, found the string "ab""#);

    let keys = "the key of a map must be a string, an integer, a boolean or a character";
    assert_eq!(refusal([BTreeMap::from([(vec![1], 1)])]), format!("[0]: {keys}"));
    assert_eq!(refusal(BTreeMap::from([((), 1)])), keys);
    let mut fields = Map::new();
    fields.insert([0xFF], Value::Null);
    assert_eq!(error::<BTreeMap<String, Value>>(Value::Map(fields)), "a field name is not UTF-8");
}

#[test]
fn flattened_fields_lie_beside_the_others() {
    let address = Address { city: "Athens".into(), zip: None };
    let rest = BTreeMap::from([("more".to_owned(), value!([1]))]);
    is(
        Flat { id: 1, address, rest },
        value!({ "id": 1, "city": "Athens", "zip": null, "more": [1] }),
    );
    assert_eq!(error::<Flat>(value!({ "id": 1 })), "city: missing");
    let found = error::<Vec<Flat>>(value!([{ "id": 1, "city": 2 }]));
    assert_eq!(found, "[0]: expected a string, found the integer 2");

    let address = Address { city: "Athens".into(), zip: None };
    let rest = BTreeMap::from([("id".to_owned(), value!(2))]);
    assert_eq!(refusal(Flat { id: 1, address, rest }), "id: given twice");
}

#[test]
fn types_of_the_standard_library_come_back() {
    is(Duration::new(1, 5), value!({ "secs": 1, "nanos": 5 }));
    is::<IpAddr>("::1".parse().unwrap(), value!("::1"));
    is::<SocketAddr>("127.0.0.1:80".parse().unwrap(), value!("127.0.0.1:80"));
    is(PathBuf::from("/tmp/α"), value!("/tmp/α"));
    is::<Range<u8>>(1..5, value!({ "start": 1, "end": 5 }));
    is(NonZeroU8::MIN, value!(1));
    is(Box::new([1_u8, 2]), value!([1, 2]));
    assert_eq!(error::<Vec<IpAddr>>(value!(["x"])), "[0]: invalid IP address syntax");
    assert_eq!(error::<Duration>(value!({ "secs": 1 })), "nanos: missing");
}

#[test]
fn borrowed_strings_are_lent_by_the_value() {
    #[derive(Deserialize)]
    struct Borrowed<'a> {
        name: &'a str,
        tags: Vec<&'a str>,
    }
    let mary = value!({ "name": "Mary", "tags": ["a", "b".repeat(100)], "more": { "x": 1 } });
    let Borrowed { name, tags } = Borrowed::deserialize(&mary).unwrap();
    assert_eq!((name, tags.len()), ("Mary", 2));
    let kept = mary.get("name").unwrap().as_str().unwrap();
    assert_eq!(name.as_ptr(), kept.as_ptr());
}

#[test]
fn reading_a_shared_value_leaves_it_shared() {
    let fields: Map = (0..1000).map(|n| (format!("field{n}"), value!(n))).collect();
    let value = Value::Map(fields);
    let copy = value.clone();
    let read: BTreeMap<String, u32> = from_value(copy).unwrap();
    assert_eq!((read.len(), read["field999"]), (1000, 999));
    assert_eq!(value.get("field999"), Some(&value!(999)));
}

#[test]
fn a_type_that_nests_itself_is_read_up_to_the_depth_limit() {
    #[derive(Debug, Deserialize)]
    struct Nested {
        #[expect(dead_code, reason = "its depth is what matters")]
        inner: Option<Box<Nested>>,
    }
    let nested = |depth: usize| {
        (1..depth).fold(value!({ "inner": null }), |inner, _| value!({ "inner": inner }))
    };
    assert!(from_value::<Nested>(nested(DEPTH_MAX)).is_ok());
    let error = from_value::<Nested>(nested(DEPTH_MAX + 1)).unwrap_err();
    assert_eq!(error.kind(), &ValueErrorKind::TooDeep { limit: DEPTH_MAX });
    assert_eq!(error.steps().len(), DEPTH_MAX);
}

#[test]
fn a_store_takes_and_gives_rust_types() {
    let store = Store::in_memory();
    let address = Address { city: "Athens".into(), zip: None };
    assert!(store.put_as("a", &address).unwrap().created);
    assert_eq!(store.get_as("a").unwrap(), Some(address));
    assert_eq!(store.get_as::<Address>("b").unwrap(), None);
    assert_eq!(store.query_as("a.city").unwrap(), Some("Athens".to_owned()));
    assert_eq!(store.query_as::<u8>("a.street").unwrap(), None);
    assert_eq!(store.query_as("a.zip").unwrap(), Some(None::<u8>));

    let error = store.query_as::<Vec<u8>>("a.city").unwrap_err();
    assert!(matches!(error, StoreError::Type(_)) && !error.is_ambiguous());
    assert_eq!(error.to_string(), "city: expected a sequence, found a string");
    assert!(matches!(store.query_as::<u8>("a..b"), Err(StoreError::Path(_))));
    let error = store.put_as("c", &5).unwrap_err();
    assert_eq!(error.to_string(), "the value of a record has to be a map");
    let error = store.put_as("c", &BTreeMap::from([("x", f64::NAN)])).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "x: the number is not finite");
    assert!(!store.contains_key("c"));
}

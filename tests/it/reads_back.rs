//! Every way serde has to represent a type, with every kind of content in it: the same type reads
//! what was written, or nothing is written and the place is named.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use triekv::parser::{parse_json, parse_value};
use triekv::value::{from_value, to_value};
use triekv::{Store, StoreError, Value, value};

#[derive(Debug, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Serialize, Deserialize)]
struct Empty {}

#[derive(Debug, Serialize, Deserialize)]
struct Newtype<T>(T);

#[derive(Debug, Serialize, Deserialize)]
struct TupleStruct<T>(u8, T);

#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent<T> {
    content: T,
}

#[derive(Debug, Serialize, Deserialize)]
struct Struct<T> {
    a: u8,
    content: T,
    z: String,
}

impl<T> Struct<T> {
    fn of(content: T) -> Self {
        Struct { a: 1, content, z: "z".into() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Renamed<T> {
    #[serde(rename = "5")]
    content: T,
    #[serde(rename = "a.b [0] \"π\"")]
    other: u8,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Skipping<T> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<T>,
    #[serde(skip)]
    _skipped: u8,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tag")]
struct TaggedStruct<T> {
    content: T,
}

#[derive(Debug, Serialize, Deserialize)]
enum External<T> {
    Unit,
    Newtype(T),
    Tuple(u8, T),
    Struct { content: T },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tag")]
enum Internal<T> {
    Unit,
    Newtype(T),
    Struct {
        content: T,
    },
    Flat {
        own: u8,
        #[serde(flatten)]
        content: Struct<T>,
    },
}

/// The content comes before the tag in the order of names, which serde cannot read in one go.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "tag", content = "content")]
enum Adjacent<T> {
    Unit,
    Newtype(T),
    Tuple(u8, T),
    Struct { content: T },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "a", content = "b")]
enum AdjacentInOrder<T> {
    Newtype(T),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum AnyOf<T> {
    Struct { content: T },
    Text(String),
    Nothing,
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat<T> {
    own: u8,
    #[serde(flatten)]
    content: T,
}

#[derive(Debug, Serialize, Deserialize)]
struct FlatOnly<T> {
    #[serde(flatten)]
    content: T,
}

#[derive(Debug, Serialize, Deserialize)]
struct BesideFlat<T> {
    #[serde(flatten)]
    kind: Kind,
    content: T,
    #[serde(flatten)]
    adjacent: AdjacentInOrder<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Kind {
    Only { more: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
struct BesideFlatMap<T> {
    content: T,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Color {
    Red,
    Green,
}

/// Defines `Content`, which is any one of these types. Reading it takes the type that [`READ`] names,
/// so each representation is compiled once and not once for each kind of content.
macro_rules! contents {
    ($($name:ident: $type:ty = $samples:expr;)*) => {
        #[derive(Debug)]
        #[expect(non_camel_case_types, reason = "the names are those that the lists below have")]
        enum Content {
            $($name($type),)*
        }

        impl Serialize for Content {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Content::$name(content) => content.serialize(serializer),)*
                }
            }
        }

        impl<'de> Deserialize<'de> for Content {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match READ.get() {
                    $(stringify!($name) => <$type>::deserialize(deserializer).map(Content::$name),)*
                    other => panic!("no content {other}"),
                }
            }
        }

        fn samples() -> Vec<(&'static str, Content)> {
            let mut all = Vec::new();
            $(all.extend($samples.map(|sample| (stringify!($name), Content::$name(sample))));)*
            all
        }
    };
}

thread_local! {
    /// The kind of content that is read.
    static READ: Cell<&'static str> = const { Cell::new("") };
}

macro_rules! map {
    ($($key:expr),*) => { [$(($key, 1)),*].into() };
}

contents! {
    unit: () = [()];
    unit_struct: Unit = [Unit];
    boolean: bool = [false, true];
    i8: i8 = [i8::MIN, i8::MAX];
    i16: i16 = [i16::MIN, i16::MAX];
    i32: i32 = [i32::MIN, i32::MAX];
    i64: i64 = [i64::MIN, i64::MAX];
    i128: i128 = [i64::MIN.into(), 0, u64::MAX.into()];
    i128_too_wide: i128 = [i128::MIN, i128::MAX];
    u8: u8 = [u8::MIN, u8::MAX];
    u16: u16 = [u16::MIN, u16::MAX];
    u32: u32 = [u32::MIN, u32::MAX];
    u64: u64 = [u64::MIN, u64::MAX];
    u128: u128 = [0, u64::MAX.into()];
    u128_too_wide: u128 = [u128::MAX];
    f32: f32 = [-0.0, 0.1, 16_777_216.0, f32::MIN_POSITIVE, f32::MAX];
    f32_not_finite: f32 = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    f64: f64 = [-0.0, 0.1, 1.0, 1e300, 5e-324, f64::MIN, f64::MAX];
    f64_not_finite: f64 = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    character: char = ['\0', '"', '5', 'π', '\u{7F}', '\u{FEFF}', char::MAX];
    string: String = ["", "null", "5", "true", " \u{2028}\"\\\u{0}😀", "{}"].map(str::to_owned);
    bytes: CString = [CString::default(), CString::from(c"a\xFF")];
    option: Option<u8> = [None, Some(0)];
    option_of_string: Option<String> = [None, Some(String::new())];
    option_of_list: Option<Vec<()>> = [None, Some(vec![]), Some(vec![()])];
    option_of_map: Option<BTreeMap<String, u8>> = [None, Some(map![])];
    option_of_struct: Option<Empty> = [None, Some(Empty {})];
    option_of_option: Option<Option<u8>> = [None, Some(Some(0))];
    option_of_unit: Option<()> = [None];
    some_none: Option<Option<u8>> = [Some(None)];
    some_unit: Option<()> = [Some(())];
    some_unit_struct: Option<Newtype<Unit>> = [Some(Newtype(Unit))];
    some_untagged_unit: Option<AnyOf<u8>> = [Some(AnyOf::Nothing)];
    some_null: Option<Value> = [Some(Value::Null)];
    list: Vec<u8> = [vec![], vec![0, 255]];
    list_of_options: Vec<Option<()>> = [vec![None, None]];
    list_of_some_unit: Vec<Option<()>> = [vec![None, Some(())]];
    list_of_lists: Vec<Vec<char>> = [vec![vec![], vec!['a']]];
    tuple: (u8, String, Option<bool>) = [(1, "a".into(), None)];
    array: [i64; 2] = [[i64::MIN, i64::MAX]];
    newtype: Newtype<String> = [Newtype("a".into())];
    tuple_struct: TupleStruct<f64> = [TupleStruct(1, -0.0)];
    empty_struct: Empty = [Empty {}];
    structure: Struct<u64> = [Struct::of(u64::MAX)];
    renamed: Renamed<u8> = [Renamed { content: 1, other: 2 }];
    external: External<u8> = [
        External::Unit,
        External::Newtype(1),
        External::Tuple(1, 2),
        External::Struct { content: 3 },
    ];
    external_of_option: External<Option<u8>> = [External::Newtype(None)];
    external_of_unit: External<()> = [External::Newtype(())];
    internal: Internal<BTreeMap<String, u8>> = [
        Internal::Unit,
        Internal::Newtype(map!["1".into()]),
        Internal::Struct { content: map!["1".into()] },
    ];
    adjacent: Adjacent<u8> = [
        Adjacent::Unit,
        Adjacent::Newtype(1),
        Adjacent::Tuple(1, 2),
        Adjacent::Struct { content: 3 },
    ];
    untagged: AnyOf<u8> =
        [AnyOf::Struct { content: 1 }, AnyOf::Text("a".into()), AnyOf::Nothing];
    untagged_with_keys: AnyOf<BTreeMap<i8, u8>> = [AnyOf::Struct { content: map![1, -1] }];
    document: Value = [value!({ "a": [null, -0.0, true, { "5": u64::MAX }], "": "x" }), value!(1)];
    duration: Duration = [Duration::new(u64::MAX, 5)];
    address: IpAddr = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    string_keys: BTreeMap<String, u8> = [map![], map!["a".into(), "5".into(), String::new()]];
    hashed_string_keys: HashMap<String, u8> = [map![], map!["5".into()]];
    i8_keys: BTreeMap<i8, u8> = [map![i8::MIN, 0, i8::MAX]];
    i64_keys: BTreeMap<i64, u8> = [map![i64::MIN, i64::MAX]];
    i128_keys: BTreeMap<i128, u8> = [map![i128::MIN, 0, i128::MAX]];
    u16_keys: BTreeMap<u16, u8> = [map![0, u16::MAX]];
    u64_keys: BTreeMap<Newtype64, u8> = [map![Newtype64(0), Newtype64(u64::MAX)]];
    u128_keys: BTreeMap<u128, u8> = [map![u128::MAX]];
    option_keys: BTreeMap<Option<u8>, u8> = [map![Some(5)]];
    boolean_keys: BTreeMap<bool, u8> = [map![false, true]];
    character_keys: BTreeMap<char, u8> = [map!['5', 'π', '\0']];
    enum_keys: BTreeMap<Color, u8> = [map![Color::Red, Color::Green]];
    string_or_none_keys: BTreeMap<Option<String>, u8> = [map![Some("None".into())]];
    none_keys: BTreeMap<Option<String>, u8> = [map![None]];
    tuple_keys: BTreeMap<(u8, u8), u8> = [map![(1, 2)]];
    list_keys: BTreeMap<Vec<u8>, u8> = [map![vec![]]];
    unit_keys: BTreeMap<(), u8> = [map![()]];
    same_keys: BTreeMap<SameText, u8> = [map![SameText(1), SameText(2)]];
    map_of_structs: BTreeMap<String, Struct<bool>> = [[("a".into(), Struct::of(true))].into()];
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Newtype64(u64);

/// Different keys, all of which are the same text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct SameText(u8);

impl Serialize for SameText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("same")
    }
}

/// Kinds of content that are refused wherever they are.
const NEVER_WRITTEN: &[&str] = &[
    "i128_too_wide",
    "u128_too_wide",
    "f32_not_finite",
    "f64_not_finite",
    "some_none",
    "some_unit",
    "some_unit_struct",
    "some_untagged_unit",
    "some_null",
    "list_of_some_unit",
    "none_keys",
    "tuple_keys",
    "list_keys",
    "unit_keys",
    "same_keys",
];

/// Kinds of content that serde does not read through its buffer.
const NEVER_BUFFERED: &[&str] = &[
    "i128",
    "u128",
    "i8_keys",
    "i64_keys",
    "i128_keys",
    "u16_keys",
    "u64_keys",
    "u128_keys",
    "option_keys",
    "boolean_keys",
    "untagged_with_keys",
];

/// The outcome of a sample.
#[derive(Debug, PartialEq)]
enum Outcome {
    ReadsBack,
    /// It is read by `from_value`, and not by `T::deserialize(&value)`.
    ReadsBackByValue,
    Refused,
    /// It was written, and something else or an error was read. This must be told by the docs.
    Lost,
}

/// Has `source` written and read by every way there is.
fn outcome<T: Serialize + DeserializeOwned + Debug>(source: &T, store: &Store) -> Outcome {
    let shown = format!("{source:?}");
    let written = match to_value(source) {
        Ok(written) => written,
        Err(error) => {
            assert_eq!(error.steps().first(), Some(&"at".into()), "{shown}: {error}");
            let stored = store.put_as("refused", source).unwrap_err();
            let StoreError::Command(triekv::CommandError::Value(stored)) = stored else {
                panic!("{shown}: {stored}")
            };
            assert_eq!(stored, error);
            assert!(!store.contains_key("refused"));
            return Outcome::Refused;
        }
    };
    written.check().unwrap();
    assert_eq!(parse_value(&written.to_text()).unwrap(), written);
    assert_eq!(parse_json(&written.to_json().unwrap()).unwrap(), written);
    let bytes = postcard::to_stdvec(&written).unwrap();
    assert_eq!(postcard::from_bytes::<Value>(&bytes).unwrap(), written);

    let is_same = |read: Option<T>| read.is_some_and(|read| format!("{read:?}") == shown);
    let by_value = is_same(from_value(written.clone()).ok());
    let by_text = is_same(from_value(parse_value(&written.to_text()).unwrap()).ok());
    let by_json = is_same(from_value(parse_json(&written.to_json().unwrap()).unwrap()).ok());
    let by_bytes = is_same(from_value(postcard::from_bytes(&bytes).unwrap()).ok());
    store.put_as("a", source).unwrap();
    let by_store = is_same(store.get_as("a").ok().flatten());
    assert_eq!([by_text, by_json, by_bytes, by_store], [by_value; 4], "{shown}");
    // The second try of `from_value` is for integers as keys.
    let by_reference = is_same(T::deserialize(&written).ok());
    match (by_value, by_reference) {
        (true, true) => Outcome::ReadsBack,
        (true, false) => Outcome::ReadsBackByValue,
        (false, _) => Outcome::Lost,
    }
}

/// The way in which serde reads the content of a representation.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    /// It reads it in one go.
    Direct,
    /// It reads it in one go, if it is not null.
    Optional,
    /// It reads it through its buffer.
    Buffered,
    /// It reads it through its buffer, as fields beside others, and refuses by itself to write most
    /// of what has no fields.
    ReadAsMap,
    /// It reads it through its buffer, and nothing tells so when it is written.
    Untagged,
}
use Reading::{Buffered, Direct, Optional, ReadAsMap, Untagged};

/// Kinds of content that are read as fields beside others.
const READ_AS_MAP: &[&str] = &[
    "empty_struct",
    "structure",
    "renamed",
    "duration",
    "string_keys",
    "hashed_string_keys",
    "character_keys",
    "enum_keys",
    "map_of_structs",
];

/// What is written and not read as it was, by representation. The docs of `to_value` tell it.
const LOST: &[(&str, &str)] = &[
    // serde has no 128-bit integers in its buffer, and nothing tells that it will buffer.
    ("untagged", "i128"),
    ("untagged", "u128"),
    ("untagged", "i128_keys"),
    ("untagged", "u128_keys"),
    // The names of both are integers: those of one map are to be read as such, and of the other not.
    ("beside_flat_map", "untagged_with_keys"),
    // A flattened None writes no field, and Some of what needs no field is read.
    ("flat", "option_of_map(None)"),
    ("flat", "option_of_struct(None)"),
    ("flat", "option_of_option(None)"),
    ("flat", "option_of_unit(None)"),
    ("flat", "some_untagged_unit"),
    ("flat", "some_null"),
    // Nor does a variant without content.
    ("flat", "untagged(Nothing)"),
    ("internal_newtype", "untagged(Nothing)"),
];

#[derive(Debug, Serialize, Deserialize)]
struct At<T> {
    at: T,
}

/// Has every kind of content written and read in one representation, and returns where it went
/// otherwise than expected.
fn try_each<T: Serialize + DeserializeOwned + Debug>(
    name: &str,
    reading: Reading,
    make: impl Fn(Content) -> T,
) -> Vec<String> {
    let store = Store::in_memory();
    let mut surprises = Vec::new();
    for (kind, sample) in samples() {
        READ.set(kind);
        let (shown, value) = (format!("{sample:?}"), to_value(&sample));
        let outcome = outcome(&At { at: make(sample) }, &store);
        let is_lost = LOST.iter().any(|(by, what)| *by == name && [kind, &shown].contains(what));
        let expected: &[Outcome] = match reading {
            _ if is_lost => &[Outcome::Lost],
            ReadAsMap if READ_AS_MAP.contains(&kind) => &[Outcome::ReadsBack],
            ReadAsMap => &[Outcome::ReadsBack, Outcome::Refused],
            _ if NEVER_WRITTEN.contains(&kind) => &[Outcome::Refused],
            Optional if value == Ok(Value::Null) => &[Outcome::Refused],
            Buffered if NEVER_BUFFERED.contains(&kind) => &[Outcome::Refused],
            Untagged if NEVER_BUFFERED.contains(&kind) => &[Outcome::ReadsBackByValue],
            _ if kind == "untagged_with_keys" => &[Outcome::ReadsBackByValue],
            Direct | Optional | Buffered | Untagged => &[Outcome::ReadsBack],
        };
        if !expected.contains(&outcome) {
            surprises.push(format!("{name} {shown}: {outcome:?}, expected {expected:?}"));
        }
    }
    surprises
}

#[test]
fn every_type_that_is_written_is_read_by_the_same_type() {
    let in_map = |content| BTreeMap::from([("key".to_owned(), content)]);
    let surprises = [
        try_each("field", Direct, Struct::of),
        try_each("newtype", Direct, Newtype),
        try_each("transparent", Direct, |content| Transparent { content }),
        try_each("tuple", Direct, |content| (1_u8, content)),
        try_each("tuple_struct", Direct, |content| TupleStruct(1, content)),
        try_each("renamed", Direct, |content| Renamed { content, other: 1 }),
        try_each("list", Direct, |content| vec![content]),
        try_each("map", Direct, in_map),
        try_each("option", Optional, Some),
        try_each("skipping", Optional, |content| Skipping { content: Some(content), _skipped: 0 }),
        try_each("tagged_struct", Direct, |content| TaggedStruct { content }),
        try_each("external_newtype", Direct, External::Newtype),
        try_each("external_tuple", Direct, |content| External::Tuple(1, content)),
        try_each("external_struct", Direct, |content| External::Struct { content }),
        try_each("adjacent_newtype", Direct, Adjacent::Newtype),
        try_each("adjacent_tuple", Direct, |content| Adjacent::Tuple(1, content)),
        try_each("adjacent_struct", Direct, |content| Adjacent::Struct { content }),
        try_each("adjacent_in_order", Direct, AdjacentInOrder::Newtype),
        try_each("beside_flat", Direct, |content| BesideFlat {
            kind: Kind::Only { more: 1 },
            content,
            adjacent: AdjacentInOrder::Newtype(2),
        }),
        try_each("beside_flat_map", Direct, |content| BesideFlatMap {
            content,
            rest: BTreeMap::from([("a".to_owned(), value!({ "5": null }))]),
        }),
        try_each("internal_newtype", ReadAsMap, Internal::Newtype),
        try_each("internal_newtype_of_struct", Buffered, |content| {
            Internal::Newtype(Struct::of(content))
        }),
        try_each("internal_struct", Buffered, |content| Internal::Struct { content }),
        try_each("internal_flat", Buffered, |content| Internal::Flat {
            own: 1,
            content: Struct::of(content),
        }),
        try_each("flat", ReadAsMap, |content| Flat { own: 1, content }),
        try_each("flat_struct", Buffered, |content| Flat { own: 1, content: Struct::of(content) }),
        try_each("flat_map", Buffered, |content| Flat { own: 1, content: in_map(content) }),
        try_each("flat_option", Buffered, |content| Flat {
            own: 1,
            content: Some(Struct::of(content)),
        }),
        try_each("flat_twice", Buffered, |content| Flat {
            own: 1,
            content: FlatOnly { content: Struct::of(content) },
        }),
        try_each("flat_external", Buffered, |content| Flat {
            own: 1,
            content: External::Tuple(1, content),
        }),
        try_each("flat_internal", Buffered, |content| Flat {
            own: 1,
            content: Internal::Struct { content },
        }),
        try_each("flat_adjacent", Buffered, |content| Flat {
            own: 1,
            content: Adjacent::Struct { content },
        }),
        try_each("external_in_internal", Buffered, |content| Internal::Struct {
            content: External::Struct { content },
        }),
        try_each("internal_in_external", Buffered, |content| {
            External::Newtype(Internal::Struct { content })
        }),
        try_each("adjacent_in_internal", Buffered, |content| Internal::Struct {
            content: Adjacent::Newtype(content),
        }),
        try_each("untagged", Untagged, |content| AnyOf::Struct { content }),
    ];
    let surprises = surprises.concat();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// What a type reads of what it wrote.
#[track_caller]
fn read_again<T: Serialize + DeserializeOwned>(source: &T) -> T {
    from_value(to_value(source).unwrap()).unwrap()
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u8),
    Text(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Names {
    ByText(BTreeMap<String, u8>),
    ByNumber(BTreeMap<u8, u8>),
}

type Rest = BTreeMap<String, u8>;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Two {
    #[serde(flatten)]
    first: Rest,
    #[serde(flatten)]
    second: Rest,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OneWay {
    #[serde(default, skip_serializing_if = "Option::is_some")]
    left_out: Option<u8>,
    #[serde(skip)]
    never: u8,
}

#[test]
fn types_that_the_docs_name_are_read_otherwise() {
    let by_number = BTreeMap::from([(Id::Number(5), 1)]);
    assert_eq!(read_again(&by_number), BTreeMap::from([(Id::Text("5".into()), 1)]));
    assert_eq!(read_again(&Id::Number(5)), Id::Number(5));

    let by_number = Names::ByNumber(map![5]);
    assert_eq!(read_again(&by_number), Names::ByText(map!["5".to_owned()]));

    let (first, second): (Rest, Rest) = (map!["a".into()], map!["b".into()]);
    let both: Rest = map!["a".into(), "b".into()];
    let read = read_again(&Two { first, second });
    assert_eq!(read, Two { first: both.clone(), second: both });

    let read = read_again(&OneWay { left_out: Some(1), never: 1 });
    assert_eq!(read, OneWay { left_out: None, never: 0 });
}

use std::thread;

use super::*;
use crate::value;

/// `levels` lists within each other.
fn nested(levels: usize) -> Value {
    (1..levels).fold(value!([]), |inner, _| value!([inner]))
}

#[test]
fn value_macro_takes_nested_text_and_expressions() {
    let city = String::from("Athens");
    let none: Option<i64> = None;
    let made = value!({
        "name": "Mary",
        "age": 2 * 11,
        "address": { "city": city, ("zip".to_owned() + "code"): null, },
        "tags": ["a", 1, null, [], {}, { "b": [true,], }, [1, 2].len()],
        "none": none,
        "name": "Maria",
    });
    let printed = concat!(
        r#"{"address": {"city": "Athens"; "zipcode": null}; "age": 22; "name": "Maria"; "#,
        r#""none": null; "tags": ["a"; 1; null; []; {}; {"b": [true]}; 2]}"#
    );
    assert_eq!(made.to_string(), printed);
    assert_eq!(value!(null), Value::Null);
    assert_eq!(value!(-1.5), Value::Float(-1.5));
}

#[test]
fn integers_are_equal_by_number_and_never_to_floats() {
    assert_eq!(Value::Int(5), Value::UInt(5));
    assert_eq!(Value::UInt(5), Value::Int(5));
    assert_ne!(Value::Int(-1), Value::UInt(u64::MAX));
    assert_ne!(Value::Int(1), Value::Float(1.0));
}

#[test]
fn floats_are_equal_by_bits() {
    assert_ne!(Value::Float(0.0), Value::Float(-0.0));
    assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
}

#[test]
fn unsigned_integers_are_kept_signed_where_they_fit() {
    assert!(matches!(Value::from(i64::MAX as u64), Value::Int(i64::MAX)));
    assert!(matches!(Value::from(i64::MAX as u64 + 1), Value::UInt(_)));
    assert!(matches!(Value::from(usize::MAX), Value::UInt(u64::MAX)));
}

#[test]
fn numbers_are_seen_as_the_types_that_hold_them() {
    assert_eq!(Value::UInt(7).as_i64(), Some(7));
    assert_eq!(Value::UInt(u64::MAX).as_i64(), None);
    assert_eq!(Value::Int(-1).as_u64(), None);
    assert_eq!(Value::Int(-1).as_f64(), Some(-1.0));
    assert_eq!(Value::Float(1.0).as_i64(), None);
    assert_eq!(Value::Str("1".into()).as_f64(), None);
}

#[test]
fn each_accessor_takes_its_own_kind_alone() {
    let values = [
        value!(null),
        value!(true),
        value!(1),
        value!(0.5),
        value!("a"),
        value!([1]),
        value!({ "a": 1 }),
    ];
    let kinds = values.each_ref().map(|value| value.kind().to_string());
    assert_eq!(kinds, ["null", "boolean", "integer", "float", "string", "list", "map"]);
    for mut value in values {
        let kind = value.kind();
        assert_eq!(value.is_null(), kind == Kind::Null);
        assert_eq!(value.as_bool().is_some(), kind == Kind::Bool);
        assert_eq!(value.as_i64().is_some(), kind == Kind::Int);
        assert_eq!(value.as_str().is_some(), kind == Kind::Str);
        assert_eq!(value.as_list().is_some(), kind == Kind::List);
        assert_eq!(value.as_list_mut().is_some(), kind == Kind::List);
        assert_eq!(value.as_map().is_some(), kind == Kind::Map);
        assert_eq!(value.as_map_mut().is_some(), kind == Kind::Map);
        assert_eq!(value.get("a").is_some(), kind == Kind::Map);
    }
}

#[test]
fn query_walks_maps_by_name_and_lists_by_index() {
    let value = value!({ "a": [{ "b.c": 1 }, 2], "0": "name", "": "empty" });
    let found = |steps: &[Step]| value.query(steps).map(ToString::to_string);
    assert_eq!(found(&[]), Some(value.to_string()));
    assert_eq!(found(&["a".into(), 0.into(), "b.c".into()]).as_deref(), Some("1"));
    assert_eq!(found(&["".into()]).as_deref(), Some(r#""empty""#));
    assert_eq!(found(&["a".into(), 2.into()]), None);
    assert_eq!(found(&["a".into(), "0".into()]), None);
    assert_eq!(found(&[0.into()]), None);
    assert_eq!(found(&["0".into(), "n".into()]), None);
}

#[test]
fn depth_counts_containers() {
    assert_eq!(value!(1).depth(), 0);
    assert_eq!(value!({}).depth(), 1);
    assert_eq!(value!([1, { "a": [] }, 2]).depth(), 3);
    assert_eq!(nested(DEPTH_MAX + 1).depth(), DEPTH_MAX + 1);
}

#[test]
fn check_accepts_the_depth_limit_and_refuses_one_past_it() {
    assert_eq!(nested(DEPTH_MAX).check(), Ok(()));
    let error = nested(DEPTH_MAX + 1).check().unwrap_err();
    assert_eq!(error.kind(), &ValueErrorKind::TooDeep { limit: DEPTH_MAX });
    assert_eq!(error.steps(), vec![Step::Index(0); DEPTH_MAX]);
}

#[test]
fn check_names_the_place_and_the_reason() {
    let mut named = Map::new();
    named.insert([0xFF], Value::Null);
    let message = |value: Value| value.check().unwrap_err().to_string();
    assert_eq!(message(Value::Float(f64::NAN)), "the number is not finite");
    assert_eq!(
        message(value!({ "a": 1, "b.c": [0, { "d": f64::INFINITY }] })),
        r#""b.c"[1].d: the number is not finite"#
    );
    assert_eq!(message(value!([Value::Map(named)])), "[0]: a field name is not UTF-8");
}

#[test]
fn values_far_beyond_the_limit_are_refused_and_printed_without_recursion() {
    let run = || {
        let levels = 100_000;
        let value = nested(levels);
        assert!(value.check().is_err());
        assert_eq!(value.depth(), levels);
        let (brackets, rest) = ("[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        assert_eq!(value.to_text(), format!("{brackets}[...]{rest}"));
        assert!(to_value(&value).is_err());
        // Dropping would recurse, as the caveats of the module say.
        std::mem::forget(value);
    };
    thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn floats_print_the_shortest_digits_that_read_back() {
    let cases: [(f64, &str); 20] = [
        (1.0, "1.0"),
        (1e3, "1000.0"),
        (0.1, "0.1"),
        (2.50, "2.5"),
        (-0.0, "-0.0"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (0.000_012_3, "1.23e-05"),
        (1e15, "1000000000000000.0"),
        (9_999_999_999_999_998.0, "9999999999999998.0"),
        (1e16, "1e+16"),
        (1e20, "1e+20"),
        (-1.5e20, "-1.5e+20"),
        (1e100, "1e+100"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
        (1.0 / 3.0, "0.3333333333333333"),
    ];
    for (number, text) in cases {
        assert_eq!(Value::Float(number).to_string(), text);
    }
}

#[test]
fn floats_without_exponent_are_as_short_as_rust_prints_them_and_read_back() {
    // The bits of numbers from 1e-4 to 1e16, spread by the golden ratio.
    let (low, high) = (1e-4_f64.to_bits(), 1e16_f64.to_bits());
    let spread = |n: u64| low + n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (high - low);
    let numbers = (0..20_000).map(|n| f64::from_bits(spread(n)));
    for number in numbers.chain([0.0001, 0.1, 0.3, 100.0, 9_999_999_999_999_998.0]) {
        for number in [number, -number] {
            let text = Value::Float(number).to_text();
            // The last digit may differ where two are as near.
            assert_eq!(text.len(), format!("{number:?}").len(), "{text}");
            assert_eq!(text.parse().map(f64::to_bits), Ok(number.to_bits()));
        }
    }
}

#[test]
fn strings_print_as_typed_but_for_the_characters_that_need_escapes() {
    let text = "α \"b\" \\ / \n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}😀;{}[]";
    let printed = "\"α \\\"b\\\" \\\\ / \\n\\r\\t\\b\\f\\u0000\\u001f\\u007f😀;{}[]\"";
    assert_eq!(value!(text).to_string(), printed);
    assert_eq!(value!("").to_string(), r#""""#);
}

#[test]
fn strings_of_all_lengths_print_with_their_escapes() {
    for length in (0..70).chain(500..530) {
        for special in ["\"", "\\", "\n", "\u{1}", "π"] {
            for place in [0, length / 2, length] {
                let before = "x".repeat(place);
                let string = format!("{before}{special}{}", "y".repeat(length - place));
                let value = value!({
                    "a": [string.as_str(), 1, string.as_str()],
                    "b": string.as_str(),
                    "c": { "d": string.as_str(), "e": {} },
                    (string.as_str()): null,
                });
                let json = serde_json::to_string(&value).unwrap();
                assert_eq!(value.to_json().unwrap(), json);
                assert_eq!(value.to_text().parse(), Ok(value));
            }
        }
    }
}

#[test]
fn what_a_terminal_would_obey_is_printed_as_an_escape_and_reads_back() {
    // With what begins with the same bytes and is printed as it is.
    let obeyed = ('\0'..='\u{ffff}').filter(|found| needs_escape(*found));
    let shown = "°éط—‍“‌ﬀ豈 ~";
    for character in obeyed.chain(shown.chars()) {
        for length in (0..20).chain([40, 520]) {
            for place in [0, length / 3, length] {
                let before = "x—".repeat(place).chars().take(place).collect::<String>();
                let string = format!("{before}{character}{}", "y".repeat(length - place));
                let value = value!({
                    "text": string.as_str(),
                    (string.as_str()): [{ (format!("a{string}")): string.as_str() }],
                });
                let path = Path::new(string.as_str()).join("b").join(string.as_str());
                let texts = [value.to_text(), value.to_json().unwrap(), path.to_string()];
                for text in &texts {
                    assert_eq!(text.find(needs_escape), None, "{text:?}");
                    assert_eq!(text.contains("\\u"), needs_u_escape(character), "{text:?}");
                }
                let [text, json, path_text] = texts;
                assert_eq!(text.parse().as_ref(), Ok(&value));
                let json: serde_json::Value = serde_json::from_str(&json).unwrap();
                assert_eq!(json, serde_json::to_value(&value).unwrap());
                assert_eq!(path_text.parse(), Ok(path));
            }
        }
    }
    assert!(['\u{200c}', '\u{200d}'].iter().all(|joiner| shown.contains(*joiner)));
}

/// Returns true if the escape of a character has its number in it.
fn needs_u_escape(character: char) -> bool {
    needs_escape(character) && !matches!(character, '\n' | '\r' | '\t' | '\u{8}' | '\u{c}')
}

#[test]
fn a_name_that_is_not_utf8_does_not_hide_what_a_terminal_would_obey() {
    for name in [&b"\xe2\x1b"[..], b"\xc2\x7f", b"\xef\xbb\x9b\xc2\x9b", b"ab\xe2\x80\xc2\x9b"] {
        let mut fields = Map::new();
        fields.insert(name, value!(1));
        let text = Value::Map(fields).to_text();
        assert_eq!(text.find(needs_escape), None, "{text:?}");
    }
}

#[test]
fn containers_print_with_separators_between_children_only() {
    assert_eq!(value!([[], [1], {}, 2, [[3, 4]]]).to_string(), "[[]; [1]; {}; 2; [[3; 4]]]");
    let map = value!({ "b": {}, "a": [{ "": 0 }], "ab": u64::MAX });
    assert_eq!(map.to_string(), r#"{"a": [{"": 0}]; "ab": 18446744073709551615; "b": {}}"#);
}

#[test]
fn paths_quote_what_a_bare_step_cannot_hold() {
    let names = ["a b", "a:b", "a.b", " a", "a\t", "a[0]", "]", "\"", "\n", "", "π\\'", "\u{9b}"];
    let path = names.into_iter().fold(Path::new("k.1"), Path::join).join(7);
    let printed = r#""k.1".a b."a:b"."a.b"." a"."a\t"."a[0]"."]"."\""."\n"."".π\'."\u009b"[7]"#;
    assert_eq!(path.to_string(), printed);
    assert_eq!(Path::new("k").join(0).join("a").to_string(), "k[0].a");
}

#[test]
fn paths_come_apart() {
    let path = Path::new("k").join("a").join(1);
    assert_eq!((path.key(), path.steps().len()), ("k", 2));
    assert_eq!(path.into_parts(), ("k".to_owned(), vec![Step::from("a"), Step::from(1)]));
}

#[test]
fn a_value_takes_three_words() {
    assert_eq!(size_of::<Value>(), 24);
    assert_eq!(size_of::<Option<Value>>(), 24);
}

#[test]
fn a_clone_does_not_see_what_the_original_changes() {
    let long = "a string that has memory of its own";
    let mut value = value!({ "list": [1, [2, long]], "map": { "a": long } });
    let before = value.clone();
    let map = value.as_map_mut().unwrap();
    let list = map.get_mut("list").and_then(Value::as_list_mut).unwrap();
    list[1].as_list_mut().unwrap().insert(0, value!(0));
    list.push(value!(3));
    map.get_mut("map").and_then(Value::as_map_mut).unwrap().insert("b", value!(null));
    assert_eq!(value, value!({ "list": [1, [0, 2, long], 3], "map": { "a": long, "b": null } }));
    assert_eq!(before, value!({ "list": [1, [2, long]], "map": { "a": long } }));
}

#[test]
fn a_shared_list_hands_out_its_items_and_keeps_them() {
    let list = List::from([value!(1), value!([2]), value!("3")]);
    let kept = list.clone();
    let mut items = list.into_iter();
    assert_eq!(items.next_back(), Some(value!("3")));
    assert_eq!(items.len(), 2);
    assert_eq!(items.collect::<List>(), [value!(1), value!([2])].into());
    assert_eq!(kept, [value!(1), value!([2]), value!("3")].into());
}

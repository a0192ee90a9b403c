use std::thread;

use super::*;
use crate::value;
use crate::value::{DEPTH_MAX, KEY_BYTES_MAX};

fn kind(error: &ParseError) -> &ParseErrorKind {
    error.kind()
}

fn get(key: &str) -> Command {
    Command::Get { key: key.into() }
}

fn put(key: &str, value: Value) -> Command {
    Command::Put { key: key.into(), value, condition: Condition::Always }
}

#[test]
fn verbs_and_payloads_are_separated_by_blanks() {
    for line in ["GET a", "  GET \t a  ", "GET\ta\r\n"] {
        assert_eq!(parse_command(line).unwrap(), get("a"));
    }
    assert_eq!(parse_command("DELETE a b").unwrap(), Command::Delete { key: "a b".into() });
    let path = Path::new("a").join("b c").join(0);
    assert_eq!(parse_command("QUERY a.b c[0] ").unwrap(), Command::Query { path });
}

#[test]
fn keys_keep_whatever_has_no_meaning_in_them() {
    for key in ["a.b", "a[0]", "a:b", "my-key_1", "π", "a  b", "{", "\\"] {
        assert_eq!(parse_command(&format!("GET {key}")).unwrap(), get(key));
    }
    assert_eq!(parse_command(r#"GET "a\u003ab\n\" " "#).unwrap(), get("a:b\n\" "));
}

#[test]
fn put_takes_the_key_up_to_the_first_colon_or_the_closing_quote() {
    let value = value!({ "c": 1 });
    assert_eq!(parse_command(r#"PUT a b : {"c":1}"#).unwrap(), put("a b", value.clone()));
    assert_eq!(parse_command(r#"PUT "a:b" :{"c":1}"#).unwrap(), put("a:b", value.clone()));
    assert_eq!(parse_command(r#"PUT a.b:{"c":1}"#).unwrap(), put("a.b", value.clone()));
    assert_eq!(parse_command(r#"PUT " a":{"c":1}"#).unwrap(), put(" a", value));
}

#[test]
fn data_lines_alone_take_capital_booleans() {
    let line = r#""a":{ "x" : True ; "y" : [False] } "#;
    let value = value!({ "x": true, "y": [false] });
    assert_eq!(parse_record(line).unwrap(), ("a".to_owned(), value));
    assert!(parse_command(&format!("PUT {line}")).is_err());
    assert!(parse_value("True").is_err());
}

#[test]
fn data_lines_may_end_in_line_ends_and_blanks() {
    for line in ["a:{}", " a : {} \r\n", "\"a\":{}\n"] {
        assert_eq!(parse_record(line).unwrap(), ("a".to_owned(), value!({})));
    }
}

#[test]
fn a_word_alone_misses_its_payload_whatever_the_word() {
    for line in ["", "  ", "GET", "FOO", "PUT  ", "!DISCONNECT"] {
        assert_eq!(kind(&parse_command(line).unwrap_err()), &ParseErrorKind::MissingPayload);
    }
    for line in ["FOO bar", "get a", "Put a:{}"] {
        assert_eq!(kind(&parse_command(line).unwrap_err()), &ParseErrorKind::UnknownCommand);
    }
}

#[test]
fn positions_count_characters_from_the_colon() {
    let cases = [
        (r#"PUT p1:{"a":1"#, 6),
        (r#"PUT p1:{"a":1} x"#, 8),
        (r#"PUT p1:{"a":1}{"b":2}"#, 7),
        (r#"PUT p1:{"a":}"#, 5),
        ("PUT p1:{a:1}", 1),
        (r#"PUT p1:{"a":True}"#, 5),
        (r#"PUT p1:{"a":1;}"#, 7),
        (r#"PUT p1:{"a":007}"#, 6),
        (r#"PUT p1:"abc""#, 0),
        ("PUT p1:5", 0),
        ("PUT p1: 5", 0),
        ("PUT p1:", 0),
        ("PUT bad:{", 1),
        (r#"PUT π: {"Αθήνα";1}"#, 9),
    ];
    for (line, position) in cases {
        let error = parse_command(line).unwrap_err();
        assert_eq!(error.position_in_value(line), Some(position), "{line}: {error}");
    }
}

#[test]
fn errors_before_the_value_have_no_position_in_it() {
    for line in ["GET", "FOO a", "PUT a", "PUT :{}", "PUT \"a:{\"b\":1}", "GET \"a", "QUERY a..b"] {
        let error = parse_command(line).unwrap_err();
        assert_eq!(error.value_start(), None);
        assert_eq!(error.position_in_value(line), None);
    }
}

#[test]
fn numbers_keep_their_type_and_their_bits() {
    let cases = [
        ("0", value!(0)),
        ("-0", value!(0)),
        ("-5", value!(-5)),
        ("9223372036854775807", value!(i64::MAX)),
        ("9223372036854775808", Value::UInt(1 << 63)),
        ("18446744073709551615", value!(u64::MAX)),
        ("-9223372036854775808", value!(i64::MIN)),
        ("-0.0", value!(-0.0)),
        ("1.0", value!(1.0)),
        ("1e3", value!(1000.0)),
        ("1E+20", value!(1e20)),
        ("1e-05", value!(1e-5)),
        ("0e0", value!(0.0)),
        ("1e-400", value!(0.0)),
        ("0.1", value!(0.1)),
        ("1.7976931348623157e308", value!(f64::MAX)),
    ];
    for (text, value) in cases {
        assert_eq!(parse_value(text).unwrap(), value, "{text}");
    }
    for text in ["18446744073709551616", "-9223372036854775809", "100000000000000000000"] {
        assert_eq!(kind(&parse_value(text).unwrap_err()), &ParseErrorKind::IntegerOutOfRange);
    }
    for text in ["1e999", "-1e999", "1.8e308"] {
        assert_eq!(kind(&parse_value(text).unwrap_err()), &ParseErrorKind::FloatOutOfRange);
    }
}

#[test]
fn strings_take_json_escapes() {
    let text = r#""\"\\\/\b\f\n\r\t\u03b1\uD83D\ude00 ;,{}é""#;
    assert_eq!(parse_value(text).unwrap(), value!("\"\\/\u{8}\u{c}\n\r\tα😀 ;,{}é"));
    assert_eq!(parse_value("\"\u{7f}\u{85}\"").unwrap(), value!("\u{7f}\u{85}"));
    for lone in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\n""#, r#""\ud800\ud800""#, r#""\ud800a""#]
    {
        assert_eq!(kind(&parse_value(lone).unwrap_err()), &ParseErrorKind::LoneSurrogate, "{lone}");
    }
    for wrong in [r#""\x""#, r#""\u12g4""#, r#""\u123""#, r#""\u+123""#] {
        assert_eq!(
            kind(&parse_value(wrong).unwrap_err()),
            &ParseErrorKind::UnknownEscape,
            "{wrong}"
        );
    }
}

#[test]
fn an_excerpt_is_short_whatever_the_line() {
    let long = "x".repeat(1000);
    let columns = |text: &str, span| {
        let excerpt = Excerpt::around(text, span);
        assert!(text[excerpt.start()..].starts_with(excerpt.text()));
        let cut = (excerpt.is_cut_before(), excerpt.is_cut_after());
        (excerpt.span(), excerpt.text().chars().count(), cut)
    };
    assert_eq!(columns("a", 0..1), (0..1, 1, (false, false)));
    assert_eq!(columns("", 0..0), (0..0, 0, (false, false)));
    // Each side takes what the other doesn't need.
    assert_eq!(columns(&long, 500..502), (28..30, 64, (true, true)));
    assert_eq!(columns(&long, 1000..1000), (64..64, 64, (true, false)));
    assert_eq!(columns(&long, 990..991), (54..55, 64, (true, false)));
    assert_eq!(columns(&long, 0..1000), (0..64, 64, (false, true)));
    // Wide characters take two columns, and none is cut.
    assert_eq!(columns(&"日本".repeat(100), 300..303), (42..45, 32, (true, true)));
    // One line alone, without its end.
    assert_eq!(columns("ab\r\ncde\r\nf", 5..8), (1..3, 3, (false, false)));
    assert_eq!(columns("ab\ncd", 2..3), (2..2, 2, (false, false)));
    // What no text has, or lies within a character.
    assert_eq!(columns("αβ", 3..9), (2..4, 2, (false, false)));
    assert_eq!(columns("αβ", 7..9), (4..4, 2, (false, false)));
    assert_eq!(columns("αβ", Range { start: 2, end: 0 }), (2..2, 2, (false, false)));
}

#[test]
fn a_value_goes_on_at_the_next_line_where_a_line_may_end() {
    for open in ["{", "[1", "{\"a\"", "{\"a\":", "[1;", "[[]", "{\"b\":[{}", "{\n\n"] {
        assert!(parse_value(open).unwrap_err().is_open(), "{open}");
        let is_map = open.starts_with('{');
        assert_eq!(
            parse_command(&format!("PUT a:{open}")).unwrap_err().is_open(),
            is_map,
            "{open}"
        );
    }
    for closed in ["", "\"a", "[\"a", "[1.", "[-", "[1e", "1.", "{?", "[1}", "{}}"] {
        assert!(!parse_value(closed).unwrap_err().is_open(), "{closed}");
    }
    for closed in ["PUT", "PUT a", "PUT a:", "QUERY a[", "QUERY a[0", "GET \"a"] {
        assert!(!parse_command(closed).unwrap_err().is_open(), "{closed}");
    }
}

#[test]
fn every_beginning_of_a_text_is_incomplete() {
    let text = r#"{"a\n\ud83d\ude00" : [ -1.5e+3 ; "x" ; { } ] ; "b" : -0 }"#;
    assert!(parse_value(text).is_ok());
    for (end, _) in text.char_indices() {
        let error = parse_value(&text[..end]).unwrap_err();
        assert!(error.is_incomplete(), "{}: {error}", &text[..end]);
    }
    assert!(!parse_value("{,").unwrap_err().is_incomplete());
}

#[test]
fn the_last_field_of_a_name_wins() {
    assert_eq!(parse_value(r#"{"a":1;"a":2}"#).unwrap(), value!({ "a": 2 }));
}

#[test]
fn white_space_may_stand_between_all_lexemes() {
    let text = "\r\n\t {\n \"a\" \t:\r [ 1 \n; { } ] ; \"b\" : [ ] } \n";
    assert_eq!(parse_value(text).unwrap(), value!({ "a": [1, {}], "b": [] }));
}

#[test]
fn paths_reach_names_of_any_kind() {
    let path = Path::new("a:b").join("").join("c.d").join("e f").join(12);
    assert_eq!(parse_path(r#" a:b.""."c.d".e f[12] "#).unwrap(), path);
    assert_eq!(parse_path(r#""a"."#).unwrap_err().kind(), &ParseErrorKind::EmptyStep);
    for text in [".a", "a.", "a..b", "", "[0]", "a.[0]", "."] {
        assert_eq!(kind(&parse_path(text).unwrap_err()), &ParseErrorKind::EmptyStep, "{text}");
    }
    for text in ["a]", "a[", "a[x]", "a[-1]", "a[0]b", "a[0", "a\"b\"", "\"a\"b", "]"] {
        let error = parse_path(text).unwrap_err();
        assert!(matches!(kind(&error), ParseErrorKind::Expected { .. }), "{text}: {error}");
    }
}

#[test]
fn paths_take_as_many_steps_as_values_are_deep() {
    let path = parse_path(&format!("k{}", ".a".repeat(DEPTH_MAX))).unwrap();
    assert_eq!(path.steps().len(), DEPTH_MAX);
    let error = parse_path(&format!("k{}", "[0]".repeat(DEPTH_MAX + 1))).unwrap_err();
    assert_eq!(kind(&error), &ParseErrorKind::TooDeep { limit: DEPTH_MAX });
    assert_eq!(error.offset(), 1 + 3 * DEPTH_MAX);
}

#[test]
fn keys_are_taken_up_to_their_limit_and_refused_one_past_it() {
    let longest = "k".repeat(KEY_BYTES_MAX);
    let too_long = format!("{longest}k");
    for (open, close) in
        [("GET ", ""), ("GET \"", "\""), ("PUT ", ":{}"), ("PUT \"", "\":{}"), ("QUERY ", ".a")]
    {
        assert!(parse_command(&format!("{open}{longest}{close}")).is_ok());
        let error = parse_command(&format!("{open}{too_long}{close}")).unwrap_err();
        let length = KEY_BYTES_MAX + 1;
        assert_eq!(kind(&error), &ParseErrorKind::KeyTooLong { length, limit: KEY_BYTES_MAX });
    }
}

#[test]
fn depth_is_refused_one_past_its_limit_on_a_small_stack() {
    let run = || {
        for (open, leaf, close) in
            [("[", "", "]"), (r#"{"a":"#, "{}", "}"), (r#"[{"a":"#, "1", "}]")]
        {
            let levels = open.matches(['[', '{']).count();
            let count = (DEPTH_MAX - leaf.len() / 2) / levels;
            let deepest = format!("{}{leaf}{}", open.repeat(count), close.repeat(count));
            assert_eq!(parse_value(&deepest).unwrap().depth(), DEPTH_MAX);
            let error = parse_value(&format!("[{deepest}]")).unwrap_err();
            assert_eq!(kind(&error), &ParseErrorKind::TooDeep { limit: DEPTH_MAX });

            let endless = open.repeat(1_000_000);
            let error = parse_value(&endless).unwrap_err();
            assert_eq!(kind(&error), &ParseErrorKind::TooDeep { limit: DEPTH_MAX });
            assert!(error.offset() <= open.len() * DEPTH_MAX);
        }
    };
    thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn commands_cross_the_wire() {
    let path = Path::new("a").join("b").join(1);
    let put = |condition| Command::Put { key: "a".into(), value: value!({ "b": 1 }), condition };
    let commands = [
        get("a"),
        Command::Query { path },
        put(Condition::Always),
        put(Condition::IfAbsent),
        put(Condition::IfVersion(7)),
        Command::Delete { key: "a".into() },
    ];
    for command in commands {
        let bytes = postcard::to_stdvec(&command).unwrap();
        assert_eq!(postcard::from_bytes::<Command>(&bytes).unwrap(), command);
    }
}

#[test]
fn numbers_are_rounded_to_the_nearest_however_long_they_are() {
    // Digits drawn from a sequence that has all lengths before and after the point.
    let mut state = 1_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    for _ in 0..20_000 {
        let mut digits = |most| (0..=draw(most)).map(|_| draw(10).to_string()).collect();
        let (natural, fraction): (String, String) = (digits(22), digits(22));
        let natural = natural.trim_start_matches('0');
        let natural = if natural.is_empty() { "0" } else { natural };
        for sign in ["", "-"] {
            let float = format!("{sign}{natural}.{fraction}");
            let expected = Value::Float(float.parse().unwrap());
            assert_eq!(parse_value(&float), Ok(expected), "{float}");

            let integer = format!("{sign}{natural}");
            let expected = match (integer.parse::<i64>(), integer.parse::<u64>()) {
                (Ok(number), _) => Some(Value::Int(number)),
                (_, Ok(number)) => Some(Value::UInt(number)),
                _ => None,
            };
            assert_eq!(parse_value(&integer).ok(), expected, "{integer}");
        }
    }
}

#[test]
fn the_path_of_a_partial_write_ends_at_the_first_colon_outside_quotes() {
    for (line, path) in [
        ("SET a.b:1", "a.b"),
        ("SET a b . c d \t : 1", r#""a b "." c d""#),
        ("SET a.b\t:1", "a.b"),
        (r#"SET "a:b"."c\":d":1"#, r#""a:b"."c\":d""#),
        (r#"SET a."b" [0]:1"#, ""),
        ("SET a[0] :1", "a[0]"),
        ("SET a.b :: 1", ""),
        ("SET a.:1", ""),
        ("SET :1", ""),
    ] {
        match parse_command(line) {
            Ok(Command::Set { path: read, value, .. }) => {
                assert_eq!((read.to_string().as_str(), value), (path, Value::Int(1)), "{line}");
            }
            Ok(other) => panic!("{line} is {other:?}"),
            Err(_) => assert_eq!(path, "", "{line}"),
        }
    }
}

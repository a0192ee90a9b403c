//! The grammar through the public interface: what is printed reads back, errors have their exact
//! text and place, and `docs/grammar.md` says what happens.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path as FilePath, PathBuf};

use proptest::prelude::*;
use triekv::parser::{
    Command, Condition, ParseError, parse_command, parse_json, parse_path, parse_record,
    parse_value,
};
use triekv::value::{Map, Path, Step, Value, needs_escape};

/// How kvBroker shows an error.
#[path = "../../examples/kvBroker/snippet.rs"]
#[expect(dead_code, reason = "what the program alone needs")]
mod snippet;

/// Where the files of this crate are.
fn root() -> &'static FilePath {
    FilePath::new(env!("CARGO_MANIFEST_DIR"))
}

/// Strings with characters that have a meaning somewhere in the grammar, and empty ones.
fn odd_string() -> impl Strategy<Value = String> {
    let odd = r#"[a-c.:;,\[\]{}"'\\/ \t\r\n\x00\x1f\x7f\u{85}\u{9b}\u{ad}é\u{61c}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}\u{feff}π😀]{0,6}"#;
    prop_oneof![odd, any::<String>()]
}

fn scalar() -> impl Strategy<Value = Value> {
    let finite = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite());
    let short = (-1_000_000..1_000_000_i32, -30..30_i32)
        .prop_map(|(digits, exponent)| f64::from(digits) * 10_f64.powi(exponent));
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-100..100_i64).prop_map(Value::from),
        finite.prop_map(Value::from),
        short.prop_map(Value::from),
        odd_string().prop_map(Value::from),
    ]
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let fields = prop::collection::vec((odd_string(), value), 0..6);
    fields.prop_map(|fields| Value::Map(fields.into_iter().collect::<Map>()))
}

fn any_value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 64, 6, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from), fields(inner)]
    })
}

fn key() -> impl Strategy<Value = String> {
    odd_string().prop_filter("keys are not empty", |key| !key.is_empty())
}

fn path() -> impl Strategy<Value = Path> {
    let step = prop_oneof![odd_string().prop_map(Step::from), any::<usize>().prop_map(Step::from)];
    (key(), prop::collection::vec(step, 0..6))
        .prop_map(|(key, steps)| steps.into_iter().fold(Path::new(key), Path::join))
}

proptest! {
    #[test]
    fn printed_values_read_back_to_the_same_value(value in any_value()) {
        let text = value.to_string();
        prop_assert!(value.check().is_ok());
        prop_assert_eq!(text.find(needs_escape), None, "{:?}", text);
        prop_assert_eq!(text.parse::<Value>().unwrap(), value, "{}", text);
    }

    #[test]
    fn printed_paths_read_back_to_the_same_path(path in path()) {
        let text = path.to_string();
        prop_assert_eq!(text.find(needs_escape), None, "{:?}", text);
        prop_assert_eq!(text.parse::<Path>().unwrap(), path, "{}", text);
    }

    #[test]
    fn printed_records_read_back_as_commands_and_data_lines(key in key(), value in fields(any_value())) {
        let line = format!("{}:{value}", Value::from(&key));
        let Command::Put { key: put_key, value: put, .. } =
            parse_command(&format!("PUT {line}")).unwrap()
        else { panic!("not a PUT") };
        prop_assert_eq!((&put_key, &put), (&key, &value));
        let get = parse_command(&format!("GET {}", Value::from(&key))).unwrap();
        prop_assert_eq!(get, Command::Get { key: key.clone() });
        prop_assert_eq!(parse_record(&line).unwrap(), (key, value));
    }

    #[test]
    fn printed_paths_and_values_read_back_as_partial_writes(path in path(), value in fields(any_value())) {
        let text = format!("{path} : {value}");
        let condition = Condition::Always;
        let set = Command::Set { path: path.clone(), value: value.clone(), condition };
        prop_assert_eq!(parse_command(&format!("SET {text}")).unwrap(), set);
        let merge = Command::Merge { path: path.clone(), patch: value, condition };
        prop_assert_eq!(parse_command(&format!("MERGE {text}")).unwrap(), merge);
        let remove = Command::Remove { path: path.clone(), condition };
        prop_assert_eq!(parse_command(&format!("REMOVE {path}")).unwrap(), remove);
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_boundary_of_characters(
        text in r#"(PUT |GET |QUERY |PUT a:|SET |MERGE |SET a.b:)?[a-b.:;,\[\]{}"'\\u0-9eE+\- \t\r\ndD8n😀\u{9b}]{0,90}"#,
    ) {
        let errors = [
            parse_value(&text).err(),
            parse_path(&text).err(),
            parse_command(&text).err(),
            parse_record(&text).err(),
            parse_json(&text).err(),
        ];
        for error in errors.into_iter().flatten() {
            check(&error, &text);
        }
    }
}

/// What holds for the error of any text.
fn check(error: &ParseError, text: &str) {
    let (offset, span) = (error.offset(), error.span());
    let (before, rest) = text.split_at(offset);
    assert_eq!(error.line(), before.split('\n').count());
    assert_eq!(error.column(), before.split('\n').next_back().unwrap().chars().count() + 1);
    assert!(offset <= span.start && text.get(span.clone()).is_some(), "{span:?} of {text:?}");
    let found = text.trim_end_matches([' ', '\t', '\r', '\n']).get(offset..).unwrap_or("");
    assert_eq!(error.found(), found.chars().next(), "at {offset} of {text:?}");
    assert_eq!(error.position_in_value(text).is_some(), error.value_start().is_some());
    if let Some(place) = error.unclosed() {
        assert!(place.offset < offset && text[place.offset..].starts_with(['{', '[']));
    }
    if error.is_open() {
        assert!(error.is_incomplete() && rest.trim().is_empty());
    }
    let excerpt = error.excerpt(text);
    assert!(excerpt.text().chars().count() <= 64 && !excerpt.text().contains('\n'));
    assert!(text[excerpt.start()..].starts_with(excerpt.text()));
    assert!(excerpt.text().get(excerpt.span()).is_some());
    let shown = snippet::Pointer::plain().show(error, &excerpt, Some(1));
    assert!(!shown.contains(|found: char| found.is_control() && found != '\n'), "{shown:?}");
}

/// What a text means to the parser of this name, printed; or the error.
fn read(parser: &str, text: &str) -> Result<String, ParseError> {
    match parser {
        "value" => parse_value(text).map(|value| value.to_string()),
        "json" => parse_json(text).map(|value| value.to_json().unwrap()),
        "path" => parse_path(text).map(|path| path.to_string()),
        "record" => parse_record(text).map(|(key, value)| format!("{key} {value}")),
        "command" => parse_command(text).map(|command| match command {
            Command::Get { key } => format!("GET {key}"),
            Command::Query { path } => format!("QUERY {path}"),
            Command::Put { key, value, .. } => format!("PUT {key} {value}"),
            Command::Delete { key } => format!("DELETE {key}"),
            Command::Set { path, value, .. } => format!("SET {path} : {value}"),
            Command::Merge { path, patch, .. } => format!("MERGE {path} : {patch}"),
            Command::Remove { path, .. } => format!("REMOVE {path}"),
        }),
        _ => panic!("there is no parser {parser}"),
    }
}

/// Each `tests/grammar/PARSER-NAME.in`, less the line end at its end, is refused by the parser of
/// that name with the error in the `.error` beside it. Where a message was changed on purpose,
/// `BLESS=1 cargo test --test it grammar` writes those anew: read the difference before it is kept.
#[test]
fn bad_texts_are_refused_with_their_exact_errors() {
    let files = fs::read_dir(root().join("tests/grammar")).unwrap();
    let mut inputs: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    inputs.retain(|path| path.extension().is_some_and(|extension| extension == "in"));
    inputs.sort();
    assert!(inputs.len() >= 120, "only {} bad texts", inputs.len());
    for input in inputs {
        let text = fs::read_to_string(&input).unwrap();
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let name = input.file_stem().unwrap().to_str().unwrap();
        let (parser, _) = name.split_once('-').unwrap();
        let error = match read(parser, text) {
            Ok(read) => panic!("{name} is read as {read}"),
            Err(error) => describe(&error, text),
        };
        let expected = input.with_extension("error");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &error).unwrap();
        }
        assert_eq!(error, fs::read_to_string(&expected).unwrap(), "{name}");
    }
}

/// Everything that an error tells, and how the prompt shows it.
fn describe(error: &ParseError, text: &str) -> String {
    check(error, text);
    let mut lines = vec![
        error.to_string(),
        format!("line {}, column {}", error.line(), error.column()),
        format!("expected: {}", error.expected().unwrap_or("-")),
        format!(
            "found: {}",
            error.found().map_or("the end".to_owned(), |found| format!("{found:?}"))
        ),
    ];
    lines.extend(error.position_in_value(text).map(|at| format!("character {at} of the value")));
    lines.extend(error.is_incomplete().then(|| "incomplete".to_owned()));
    lines.extend(error.is_open().then(|| "goes on at the next line".to_owned()));
    let line = text.contains('\n').then_some(error.line() as u64);
    lines.push(snippet::Pointer::plain().show(error, &error.excerpt(text), line));
    let mut described = String::new();
    for line in lines.iter().flat_map(|lines| lines.lines()) {
        writeln!(described, "{}", line.trim_end()).unwrap();
    }
    described
}

#[test]
fn the_examples_of_the_documentation_are_true() {
    let text = fs::read_to_string(root().join("docs/grammar.md")).unwrap();
    let mut parser = None;
    let mut examples = 0;
    for line in text.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            parser = Some(fence).filter(|fence| !matches!(*fence, "" | "ebnf" | "text"));
        } else if let Some(parser) = parser {
            let (example, expected) = line.split_once(" => ").unwrap();
            let example = example.trim_end();
            let read = read(parser, example).unwrap_or_else(|error| format!("error: {error}"));
            assert_eq!(read, expected, "{example}");
            examples += 1;
        }
    }
    assert!(examples >= 40, "only {examples} examples");
}

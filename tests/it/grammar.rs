//! The grammar through the public interface: what is printed reads back, errors have their exact
//! text and place, and `docs/grammar.md` says what happens.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use proptest::prelude::*;
use triekv::parser::{
    Command, ParseError, parse_command, parse_json, parse_path, parse_record, parse_value,
};
use triekv::value::{Map, Path, Step, Value};

/// Where the files of this crate are.
fn root() -> &'static FilePath {
    FilePath::new(env!("CARGO_MANIFEST_DIR"))
}

/// Strings with characters that have a meaning somewhere in the grammar, and empty ones.
fn odd_string() -> impl Strategy<Value = String> {
    let odd = r#"[a-c.:;,\[\]{}"'\\/ \t\r\n\x00\x1f\x7fé\u{2028}π😀]{0,6}"#;
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
        prop_assert_eq!(text.parse::<Value>().unwrap(), value, "{}", text);
    }

    #[test]
    fn printed_paths_read_back_to_the_same_path(path in path()) {
        let text = path.to_string();
        prop_assert_eq!(text.parse::<Path>().unwrap(), path, "{}", text);
    }

    #[test]
    fn printed_records_read_back_as_commands_and_data_lines(key in key(), value in fields(any_value())) {
        let line = format!("{}:{value}", Value::from(&key));
        let Command::Put { key: put_key, value: put, .. } =
            parse_command(&format!("PUT {line}")).unwrap()
        else { panic!("not a PUT") };
        prop_assert_eq!((&put_key, &put), (&key, &value));
        prop_assert_eq!(parse_record(&line).unwrap(), (key, value));
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_boundary_of_characters(
        text in r#"(PUT |GET |QUERY )?[a-b.:;,\[\]{}"\\u0-9eE+\- \tdD8n😀]{0,24}"#,
    ) {
        let errors = [
            parse_value(&text).err(),
            parse_path(&text).err(),
            parse_command(&text).err(),
            parse_record(&text).err(),
            parse_json(&text).err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!(text.is_char_boundary(error.offset()));
            prop_assert_eq!(error.position_in_value(&text).is_some(), error.value_start().is_some());
        }
    }
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
        }),
        _ => panic!("there is no parser {parser}"),
    }
}

/// Each `tests/grammar/PARSER-NAME.in`, less the line end at its end, is refused by the parser of
/// that name with the error in the `.error` beside it. `BLESS=1` writes those.
#[test]
fn bad_texts_are_refused_with_their_exact_errors() {
    let files = fs::read_dir(root().join("tests/grammar")).unwrap();
    let mut inputs: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    inputs.retain(|path| path.extension().is_some_and(|extension| extension == "in"));
    inputs.sort();
    assert!(inputs.len() >= 40, "only {} bad texts", inputs.len());
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

/// The message, the line with a mark under the place, and what else a prompt asks of an error.
fn describe(error: &ParseError, text: &str) -> String {
    let start = text[..error.offset()].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or("");
    let column = text[start..error.offset()].chars().count();
    let mut lines = vec![error.to_string(), line.to_owned(), format!("{:column$}^", "")];
    lines.extend(error.position_in_value(text).map(|at| format!("character {at} of the value")));
    lines.extend(error.is_incomplete().then(|| "incomplete".to_owned()));
    lines.iter().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[test]
fn the_examples_of_the_documentation_are_true() {
    let text = fs::read_to_string(root().join("docs/grammar.md")).unwrap();
    let mut parser = None;
    let mut examples = 0;
    for line in text.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            parser = Some(fence).filter(|fence| !matches!(*fence, "" | "ebnf"));
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

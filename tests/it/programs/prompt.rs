//! What kvBroker's prompt makes of lines that are wrong, and of commands of several lines.

use super::process::Dir;

/// What was typed, taken apart into commands.
#[path = "../../../examples/kvBroker/entry.rs"]
#[expect(dead_code, reason = "what the program alone needs")]
mod entry;
#[cfg(unix)]
mod terminal;

use entry::{Entry, Next};

#[test]
fn a_fault_in_a_command_is_told_with_its_place() {
    let dir = Dir::new("faults");
    let mut broker = dir.start("kvBroker", "-k 1");
    broker.until_prompt();
    let at = |position: usize, reason: &str| {
        format!("[Error | Invalid data format] Failed at pos {position} - {reason}")
    };
    // Characters after the colon, then after the blank that follows the verb.
    for (line, answer) in [
        ("PUT p:5", at(0, "Input does not follow the key:value format")),
        (r#"PUT p:{"é":1,"b":2}"#, at(6, "pairs and items are separated by ';', not by ','")),
        (r#"PUT  é : {"a":1} x"#, at(9, "expected the end of the text, found 'x'")),
        (r#"PUT :{"a":1}"#, at(0, "the key is empty")),
        (r#"GET   """#, at(0, "the key is empty")),
        ("SET é.a :  1 2", at(4, "expected the end of the text, found '2'")),
        ("SET é : 1", at(0, "Input does not follow the key:value format")),
        ("SET é..a : 1", at(2, "a step of the path is empty")),
        ("MERGE é.a:[1,2]", at(2, "pairs and items are separated by ';', not by ','")),
        (r#"QUERY é.b"x"#, at(3, "expected '.' or '[', found '\"'")),
    ] {
        assert_eq!(broker.answer(line), answer, "to {line}");
    }
    assert_eq!(broker.answer("GET p"), "p : NOT FOUND");
    let shown = " |
 | PUT p:5
 |       ^ expected '{'
 |
 = help: the value of a record is a map: KEY:{ \"name\" : VALUE }
 |
 | PUT p:{\"é\":1,\"b\":2}
 |             ^ expected ';' or '}'
";
    let run = broker.finish("");
    assert!(run.stderr.starts_with(shown), "{}", run.stderr);
}

#[test]
fn lines_that_cannot_be_read_do_not_end_the_session() {
    let dir = Dir::new("lines");
    let mut broker = dir.start("kvBroker", "-k 1");
    broker.until_prompt();
    assert_eq!(broker.answer_bytes(b"GET \xff\xfe\n"), "[Error] The line is not UTF-8!");
    let mut longest = vec![b'x'; 16 << 20];
    *longest.last_mut().unwrap() = b'\n';
    assert_eq!(broker.answer_bytes(&longest), "[Error] Payload is missing!");
    longest.insert(0, b'x');
    let too_long = "[Error] The line has more than 16777216 bytes!";
    assert_eq!(broker.answer_bytes(&longest), too_long);
    let run = broker.finish("GET a");
    assert_eq!((run.status, run.stdout.as_str()), (0, "a : NOT FOUND\nkvStore> "));
    // Of the line that was read and is no command, only its end is shown.
    assert!(run.stderr.starts_with(" |\n | ...xxx") && run.stderr.len() < 300, "{}", run.stderr);
}

/// The commands of a text that is pasted, and what is asked for after them.
fn commands(text: &str) -> (Vec<String>, Next) {
    let mut entry = Entry::default();
    entry.push(text);
    let mut commands = Vec::new();
    loop {
        match entry.next() {
            Next::Command(command) => commands.push(command),
            next => return (commands, next),
        }
    }
}

#[test]
fn what_is_pasted_is_taken_apart_into_commands() {
    for (text, expected, next) in [
        ("GET a", &["GET a"][..], Next::Nothing),
        ("", &[""], Next::Nothing),
        ("GET a\n\nGET b\n", &["GET a", "", "GET b", ""], Next::Nothing),
        ("PUT a:{\n}", &["PUT a:{\n}"], Next::Nothing),
        ("PUT a:{\r\n}\r\nGET a\r", &["PUT a:{\r\n}", "\r", "GET a\r"], Next::Nothing),
        (
            "PUT a:{}\nPUT b:{\n\n}  \n \nGET c",
            &["PUT a:{}", "PUT b:{\n\n}", "  ", " ", "GET c"],
            Next::Nothing,
        ),
        ("PUT a:{ \"b\" : [1;\n2", &[], Next::Open('[')),
        ("GET a\nPUT a:{", &["GET a"], Next::Open('{')),
        // Where it is wrong, it ends.
        ("PUT a:{\nGET a\nGET b", &["PUT a:{\nGET a", "GET b"], Next::Nothing),
        ("PUT a:{\n\"b\":1} x\nGET b", &["PUT a:{\n\"b\":1} x", "GET b"], Next::Nothing),
        ("PUT a:{\n\"b\nGET b", &["PUT a:{\n\"b", "GET b"], Next::Nothing),
        // Nothing may follow within a string, a number, or without a bracket.
        ("PUT a:{\"b\nGET b", &["PUT a:{\"b", "GET b"], Next::Nothing),
        ("PUT a:{\"b\":1.\nGET b", &["PUT a:{\"b\":1.", "GET b"], Next::Nothing),
        ("PUT a:\nPUT a\nPUT\nQUERY a[0", &["PUT a:", "PUT a", "PUT", "QUERY a[0"], Next::Nothing),
    ] {
        let expected = expected.iter().map(ToString::to_string).collect();
        assert_eq!(commands(text), (expected, next), "{text:?}");
    }
}

#[test]
fn a_pasted_text_takes_time_that_grows_with_its_length() {
    for command in ["GET a\n", "GET\n", "PUT a\n", "PUT a:{\n}\n", "PUT a:{\n?\n", "PUT \"a\n"] {
        let text = command.repeat(100_000);
        assert!(commands(&text).0.len() >= 100_000, "{command}");
    }
}

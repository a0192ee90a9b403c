//! What comes from elsewhere into what the programs print, and what of it counts: characters that a
//! terminal would obey, blanks, byte order marks.

use triekv::value::needs_escape;

use super::process::{Dir, kill};
use super::{Run, check, three_servers};

/// A text with a character of each kind that a terminal would obey.
const HOSTILE: &str = "a\u{9b}31m\u{7f}\u{85}\u{200f}\u{202e}\u{2028}\u{2066}\u{feff}z";

/// The same, printed.
const HARMLESS: &str = r"a\u009b31m\u007f\u0085\u200f\u202e\u2028\u2066\ufeffz";

/// Asserts that only line ends are left of what a terminal would obey.
fn assert_harmless(text: &str) {
    let found = text.find(|found| needs_escape(found) && found != '\n');
    assert_eq!(found, None, "{text:?}");
}

#[test]
fn what_a_terminal_would_obey_is_escaped_in_answers_which_read_back() {
    let dir = Dir::new("hostile");
    let mut broker = dir.start("kvBroker", "-k 1");
    broker.until_prompt();
    let record = format!("{{\"{HARMLESS}\": [\"{HARMLESS}\"]}}");
    check(
        &mut broker,
        &[
            (&format!("PUT {HOSTILE}:{{\"{HOSTILE}\":[\"{HOSTILE}\"]}}"), "CREATED"),
            (&format!("GET {HOSTILE}"), &format!("\"{HARMLESS}\" : {record}")),
            (
                &format!("QUERY {HOSTILE}.{HOSTILE}[0]"),
                &format!("\"{HARMLESS}\".\"{HARMLESS}\"[0] : \"{HARMLESS}\""),
            ),
            // As they were printed.
            (&format!("PUT \"{HARMLESS}\" : {record}"), "CREATED"),
            (&format!("GET \"{HARMLESS}\""), &format!("\"{HARMLESS}\" : {record}")),
            (
                &format!("QUERY \"{HARMLESS}\".\"{HARMLESS}\""),
                &format!("\"{HARMLESS}\".\"{HARMLESS}\" : [\"{HARMLESS}\"]"),
            ),
            (&format!("REMOVE {HOSTILE}.x"), &format!("\"{HARMLESS}\".x : NOT FOUND")),
            (&format!("QUERY {HOSTILE}..x"), &format!("{HARMLESS}..x : NOT FOUND")),
            (&format!("DELETE {HOSTILE}"), &format!("\"{HARMLESS}\" : DELETED")),
        ],
    );
    for line in [
        format!("EXPLAIN {HOSTILE}"),
        format!("PUT a:{{{HOSTILE}"),
        format!("PUT {HOSTILE}\"{HOSTILE}:5"),
        format!("SET {HOSTILE}.x : {HOSTILE}"),
        format!("SET a.{HOSTILE}.b[0]{HOSTILE} : 5"),
        format!("{HOSTILE} {HOSTILE}"),
        format!("!JOIN {HOSTILE} {HOSTILE}"),
        format!("!JOIN {HOSTILE} 9000 {HOSTILE}"),
        format!("!LEAVE {HOSTILE} 9000"),
        format!("!UNSAFE-RECOVER {HOSTILE}"),
        // Seven bits.
        "!LEAVE \u{1b}[31m\u{7} 9000".to_owned(),
        "GET \u{1b}[31m".to_owned(),
    ] {
        assert_harmless(&broker.answer(&line));
    }
    let run = broker.finish("");
    assert_harmless(&run.stderr);
    assert!(run.stderr.matches('^').count() > 5, "{}", run.stderr);
}

#[test]
fn what_a_terminal_would_obey_is_escaped_in_names_of_files_and_options() {
    let dir = Dir::new("hostile-files");
    // The system takes any name, and these have no blank in them.
    let name = format!("\u{1b}[31m{HOSTILE}");
    dir.write(&name, "\u{1b}");
    let keys = format!("createData -n 1 -d 0 -m 1 -l 1 -k {name}");
    for command in [
        format!("kvBroker -k 1 -i {name}"),
        format!("kvBroker -k 1 -i {name}.none"),
        format!("kvBroker -k 1 -s {name}"),
        format!("kvBroker -k 1 -s {name}.none"),
        format!("kvBroker -k {name}"),
        format!("kvBroker --{name}"),
        format!("kvServer -a {name} -p 1"),
        format!("kvServer -a {name}:1 -p 1"),
        format!("kvServer -a 127.0.0.1 -p {name}"),
        format!("kvServer -a 127.0.0.1 -p 0 -d {name}"),
        format!("{keys}.none"),
        keys.clone(),
        format!("createData --format {name}"),
    ] {
        let (program, args) = command.split_once(' ').unwrap();
        let run = dir.run(program, args, "");
        assert_harmless(&run.stdout);
        assert_harmless(&run.stderr);
        // The library that reads options drops some of it.
        let (_, end) = HARMLESS.split_once(r"\u0085").unwrap();
        assert!(run.stdout.contains(end) || run.stderr.contains(end), "{command:?}");
    }
}

#[cfg(unix)]
#[test]
fn what_a_terminal_would_obey_is_escaped_in_the_log_of_a_server() {
    let dir = Dir::new("hostile-log");
    let server = dir.server("-v");
    dir.write("servers.txt", &format!("127.0.0.1 {}\n", server.port));
    let mut broker = dir.start("kvBroker", "-s servers.txt -k 1");
    broker.until_prompt();
    broker.answer(&format!("PUT {HOSTILE}:{{}}"));
    broker.answer(&format!("GET {HOSTILE}"));
    broker.answer(&format!("QUERY {HOSTILE}.{HOSTILE}"));
    // A line end in a key begins no line of the log.
    broker.answer("GET \"a\\nb\\u001b[31m\\u0005\"");
    drop(broker);
    kill("TERM", &server);
    let log = server.finish("").stderr;
    assert_harmless(&log);
    assert!(log.contains(&format!("| PUT] {HARMLESS}\n")), "{log}");
    assert!(log.contains(r"| GET] a\nb\u001b[31m\u0005"), "{log}");
}

#[test]
fn blanks_that_the_grammar_does_not_know_are_parts_of_keys_and_of_answers() {
    let dir = Dir::new("blanks");
    dir.write("data.txt", "\u{a0}a:{\"x\":1}\na\u{3000}:{\"x\":2}\na:{\"x\":3}\n");
    let mut broker = dir.start("kvBroker", "-k 1 -i data.txt");
    let banner = broker.until_prompt();
    assert!(banner.ends_with("Indexed 3 records\n"), "{banner}");
    check(
        &mut broker,
        &[
            ("GET a", "a : {\"x\": 3}"),
            ("GET \u{a0}a", "\u{a0}a : {\"x\": 1}"),
            ("GET a\u{3000}", "a\u{3000} : {\"x\": 2}"),
            ("QUERY a\u{200b}.x", "a\u{200b}.x : NOT FOUND"),
            ("DELETE \u{2003}a", "\u{2003}a : IS NOT ROOT KEY"),
            ("GET \"a\\u3000\"", "\"a\\u3000\" : {\"x\": 2}"),
            ("GET\u{a0}a", "[Error] Payload is missing!"),
        ],
    );
    let unknown = "[INFO] Invalid request type!\n\
                   [INFO] Supported types: PUT | GET | QUERY | DELETE";
    // Above all no !LEAVE.
    check(&mut broker, &[("!JOIN\u{a0} 127.0.0.1 1", unknown)]);
    let run = broker.finish("");
    let hints: Vec<&str> = run.stderr.lines().filter(|line| line.contains("cannot be")).collect();
    let hint = |code: &str| {
        format!(
            "[INFO] U+{code}, which cannot be seen, is a part of the key or name: if it was meant, \
             write it as \\u{} in double quotes",
            code.to_lowercase()
        )
    };
    assert_eq!(hints, ["00A0", "3000", "200B", "2003"].map(hint));
}

#[test]
fn a_byte_order_mark_is_dropped_at_the_very_beginning_of_each_input_and_nowhere_else() {
    let dir = Dir::new("byte-order-mark");
    let servers = three_servers(&dir);
    let lines = servers.iter().map(|server| format!("127.0.0.1 {}\n", server.port));
    dir.write("servers.txt", &format!("\u{feff}{}", lines.collect::<String>()));
    dir.write("data.txt", "\u{feff}a:{\"x\":1}\n\u{feff}a:{\"x\":2}\n");
    let commands = "\u{feff}GET a\nGET \u{feff}a\n\u{feff}GET a\n";
    let run = dir.run("kvBroker", "-s servers.txt -k 2 -i data.txt", commands);
    let answers = "Indexed 2 records\nkvStore> a : {\"x\": 1}\nkvStore> \"\\ufeffa\" : {\"x\": 2}\n\
                   kvStore> [INFO] Invalid request type!\n";
    assert!(run.stdout.contains(answers), "{}", run.stdout);
    // One mark is dropped, not all that come.
    let run = dir.run("kvBroker", "-k 1", "\u{feff}\u{feff}GET a\n");
    assert!(run.stdout.contains("kvStore> [INFO] Invalid request type!\n"), "{}", run.stdout);
    dir.write("keyFile.txt", "\u{feff}name string\n");
    let made = dir.run("createData", "-k keyFile.txt -n 1 -d 0 -m 1 -l 1", "");
    assert_eq!(made, Run::success(""));
}

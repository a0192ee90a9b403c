//! kvBroker on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::pty::{Winsize, openpty};
use triekv::value::needs_escape;

use super::super::process::{Dir, PATIENCE, program};

/// Ctrl-C, Ctrl-D, and the key that brings the entry before.
const INTERRUPT: &str = "\x03";
const END: &str = "\x04";
const UP: &str = "\x1b[A";

/// Somebody before a terminal at which a program runs; it is killed when this is dropped.
struct Typist {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    /// What has come and was not asked for yet, without the sequences that move and colour.
    unread: String,
    raw: Vec<u8>,
}

impl Typist {
    fn new(dir: &Dir, name: &str, args: &str) -> Self {
        Self::before("xterm", dir, name, args)
    }

    /// Somebody before a terminal of this type.
    fn before(terminal_type: &str, dir: &Dir, name: &str, args: &str) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).unwrap();
        let end = || Stdio::from(terminal.slave.try_clone().unwrap());
        let mut command = Command::new(program(name));
        command.current_dir(dir.path("")).args(args.split_whitespace());
        command
            .env("TERM", terminal_type)
            .env("NO_COLOR", "1")
            .env("XDG_STATE_HOME", dir.path("state"));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keys = File::from(terminal.master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let mut part = [0; 4096];
            // When the program has ended, there is an error.
            while let Ok(length @ 1..) = screen.read(&mut part) {
                if sender.send(part[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, screen: receiver, unread: String::new(), raw: Vec::new() }
    }

    fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// What appears up to the next `mark`, and that.
    fn until(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = self.unread.find(mark) {
                let rest = self.unread.split_off(at + mark.len());
                return std::mem::replace(&mut self.unread, rest);
            }
            let part = self.screen.recv_timeout(PATIENCE);
            let part =
                part.unwrap_or_else(|error| panic!("{error}: {:?} in {:?}", mark, self.unread));
            self.raw.extend(part);
            self.read_raw();
        }
    }

    /// Takes over what is whole of the raw bytes.
    fn read_raw(&mut self) {
        let mut raw = self.raw.as_slice();
        while let [first, rest @ ..] = raw {
            raw = match first {
                0x1b => match rest.iter().skip(1).position(u8::is_ascii_alphabetic) {
                    Some(length) => &rest[length + 2..],
                    None => break,
                },
                b'\r' => rest,
                _ => {
                    let length = raw.iter().position(|byte| matches!(byte, 0x1b | b'\r'));
                    let (text, rest) = raw.split_at(length.unwrap_or(raw.len()));
                    self.unread += &String::from_utf8_lossy(text);
                    rest
                }
            };
        }
        self.raw = raw.to_vec();
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_put_goes_on_at_the_next_line_while_a_bracket_is_open() {
    let dir = Dir::new("terminal");
    let mut broker = Typist::new(&dir, "kvBroker", "-k 1");
    let prompt = "kvStore> ";
    broker.until(prompt);
    for (line, next) in
        [("PUT a:{", "      {> "), ("\"b\" : [1;", "      [> "), ("2]}", "\nCREATED\n")]
    {
        broker.type_keys(&format!("{line}\r"));
        broker.until(next);
    }
    broker.until(prompt);
    broker.type_keys("QUERY a.b\r");
    broker.until("\na.b : [1; 2]\n");

    // Given up.
    broker.until(prompt);
    broker.type_keys("PUT a:{\r");
    broker.until("{> ");
    broker.type_keys(INTERRUPT);
    broker.until(prompt);
    broker.type_keys("QUERY a.b\r");
    broker.until("\na.b : [1; 2]\n");

    // Wrong at its second line: the answer comes first, and then what is wrong.
    broker.until(prompt);
    broker.type_keys("PUT a:{\r");
    broker.until("{> ");
    broker.type_keys("GET a\r");
    let reason = "pos 2 - expected a field name in double quotes, found 'G'\n";
    broker.until(&format!("\n[Error | Invalid data format] Failed at {reason}"));
    assert_eq!(broker.until("\n2 | GET a\n"), "  |\n2 | GET a\n");

    // Many commands at once, the last one open.
    broker.until(prompt);
    broker.type_keys("\x1b[200~PUT c:{\n \"x\":1}\nGET c\nPUT d:{\x1b[201~\r");
    broker.until("\nCREATED\nc : {\"x\": 1}\n");
    broker.until("      {> ");
    broker.type_keys("\"y\":2 }\r");
    broker.until("\nCREATED\n");

    // The one before, which has two lines.
    broker.until(prompt);
    broker.type_keys(&format!("{UP}\r"));
    broker.until("\nCREATED\n");
    broker.until(prompt);
    broker.type_keys("GET d\r");
    broker.until("\nd : {\"y\": 2}\n");

    // Its end cannot come any more.
    broker.until(prompt);
    broker.type_keys("PUT a:{\r");
    broker.until("{> ");
    broker.type_keys(END);
    broker.until("found the end of the text\n");
    broker.until(prompt);
    broker.type_keys(END);
    assert_eq!(broker.child.wait().unwrap().code(), Some(0));

    // The next session remembers.
    let mut broker = Typist::new(&dir, "kvBroker", "-k 1");
    broker.until(prompt);
    broker.type_keys(&format!("{UP}{UP}{UP}\r"));
    broker.until("\nCREATED\n");
    broker.until(prompt);
    broker.type_keys("GET d\r");
    broker.until("\nd : {\"y\": 2}\n");
}

#[test]
fn lines_that_arrive_together_are_all_carried_out() {
    let dir = Dir::new("together");
    for terminal in ["xterm", "dumb"] {
        for end in ["\r", "\n"] {
            let mut broker = Typist::before(terminal, &dir, "kvBroker", "-k 1");
            broker.until("nothing to index\n");
            let lines = [
                "PUT a:{\"x\":1}",
                "GET a",
                "",
                "PUT b:{",
                "\t\"y\" : [",
                "\t\t1;",
                "2 ]",
                "}",
                "GET\tb",
                "SET b.z : {\"t\":",
                " true }",
                "QUERY b.z",
                "PUT a:",
                "GET none",
            ];
            broker.type_keys(&lines.map(|line| format!("{line}{end}")).concat());
            for answer in [
                "CREATED\n",
                "a : {\"x\": 1}\n",
                "CREATED\n",
                "b : {\"y\": [1; 2]}\n",
                "UPDATED\n",
                "b.z : {\"t\": true}\n",
                "Failed at pos 0 - expected '{', found the end of the text\n",
                "none : NOT FOUND\n",
            ] {
                broker.until(answer);
            }

            // Far more than is read at once.
            let puts = (0..300).map(|n| format!("PUT key{n} : {{ \"n\" : {n} }}{end}"));
            broker.type_keys(&puts.collect::<String>());
            for _ in 0..300 {
                broker.until("CREATED\n");
            }
            broker.type_keys(&format!("GET key0{end}GET key299{end}!DISCONNECT{end}"));
            broker.until("key0 : {\"n\": 0}\n");
            broker.until("key299 : {\"n\": 299}\n");
            broker.until("Bye!\n");
            assert_eq!(broker.child.wait().unwrap().code(), Some(0));
        }
    }
}

#[test]
fn what_is_pasted_reaches_the_screen_without_what_a_terminal_would_obey() {
    let dir = Dir::new("pasted-controls");
    let mut broker = Typist::new(&dir, "kvBroker", "-k 1");
    let mut shown = broker.until("kvStore> ");
    for (line, answer) in [
        ("PUT a\u{202e}b:{\"x\u{9b}\":\"\u{2066}\u{85}\u{7f}\"}", "CREATED\n"),
        ("GET a\u{202e}b", "\"a\\u202eb\" : {\"x\\u009b\": \"\\u2066\\u0085\\u007f\"}\n"),
        (
            "GET a\u{7}\u{e}b",
            "control character U+0007 must be written as an escape in double quotes\n",
        ),
    ] {
        broker.type_keys(&format!("\x1b[200~{line}\x1b[201~\r"));
        shown += &broker.until(answer);
        shown += &broker.until("kvStore> ");
    }
    // It comes again from the history.
    broker.type_keys(&format!("{UP}{UP}\r"));
    shown += &broker.until("\\u007f\"}\n");
    assert_eq!(shown.find(|found| needs_escape(found) && found != '\n'), None, "{shown:?}");
}

#[test]
fn explain_and_status_are_completed_and_answered_in_columns() {
    let dir = Dir::new("completion");
    let mut broker = Typist::new(&dir, "kvBroker", "-k 1");
    let prompt = "kvStore> ";
    broker.until(prompt);
    broker.type_keys("exp\t\"a b\"\r");
    broker.until("EXPLAIN \"a b\"\n\"a b\" : shard ");
    broker.until("  absent\n");
    broker.until(prompt);
    broker.type_keys("ST\t\r");
    broker.until("STATUS\ncluster ");
    broker.until("\nserver1  up ");
    broker.until("\ngroup 0  whole");
    broker.until(prompt);
    broker.type_keys("help\r");
    broker.until("\nEXPLAIN KEY ");
}

//! kvBroker on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::pty::{Winsize, openpty};

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
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).unwrap();
        let end = || Stdio::from(terminal.slave.try_clone().unwrap());
        let mut command = Command::new(program(name));
        command.current_dir(dir.path("")).args(args.split_whitespace());
        command.env("TERM", "xterm").env("NO_COLOR", "1").env("XDG_STATE_HOME", dir.path("state"));
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

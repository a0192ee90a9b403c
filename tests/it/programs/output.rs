//! Output that cannot be written, or that nobody reads: it is lost, and nothing else is.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::process::{Dir, Process, kill, program};
use super::{check, three_servers};

/// A shell that runs `script`, in which `$NAME` is the path of a program.
fn shell(dir: &Dir, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.current_dir(dir.path(".")).arg("-c").arg(script).env_remove("RUST_LOG");
    for name in ["kvServer", "kvBroker", "createData"] {
        command.env(name, program(name));
    }
    command
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Lines, each with its number.
fn numbered(count: u32, line: impl FnMut(u32) -> String) -> String {
    (0..count).map(line).collect()
}

#[test]
fn a_server_whose_log_has_no_reader_serves_and_stops_cleanly() {
    // A reader that is there and does not read, as `less` or a terminal after Ctrl-S.
    let (_unread, blocked) = std::io::pipe().unwrap();
    for (log, stderr) in [("full", full()), ("closed", closed()), ("unread", blocked.into())] {
        let dir = Dir::new(&format!("log-{log}"));
        let mut command = Command::new(program("kvServer"));
        command.current_dir(dir.path(".")).args(["-a", "127.0.0.1", "-p", "0", "-v"]);
        let server = Dir::listening(Process::with_stderr(command, stderr));
        dir.write("servers.txt", &format!("127.0.0.1 {}\n", server.port));
        // More bytes of keys than a pipe and the queue take.
        let key = "k".repeat(30_000);
        let commands = numbered(60, |n| format!("PUT {key}{n}:{{\"n\":{n}}}\n"));
        let run = dir.run("kvBroker", "-s servers.txt -k 1", &commands);
        assert_eq!(run.stdout.matches("CREATED").count(), 60, "{log}: {}", run.stderr);
        kill("TERM", &server);
        assert_eq!(server.end().status, 0, "{log}");
    }
}

#[test]
fn a_server_that_cannot_start_ends_at_once_where_nobody_reads_why() {
    let dir = Dir::new("log-start");
    let first = dir.server("-q");
    let (_unread, mut blocked) = std::io::pipe().unwrap();
    // Fills the pipe but for less than a page.
    blocked.write_all(&vec![b'\n'; 61_440]).unwrap();
    for stderr in [full(), closed(), blocked.into()] {
        let mut command = Command::new(program("kvServer"));
        command.current_dir(dir.path(".")).args(["-a", "127.0.0.1", "-p", &first.port.to_string()]);
        command.env("RUST_LOG", "=wrong=");
        let process = Process::with_stderr(command, stderr);
        assert_eq!(process.end().status, 1);
    }
}

#[test]
fn lines_that_were_lost_are_counted_once_lines_can_be_written() {
    let dir = Dir::new("log-lost");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(program("kvServer"));
    command.current_dir(dir.path(".")).args(["-a", "127.0.0.1", "-p", "0", "-v"]);
    let server = Dir::listening(Process::with_stderr(command, writer.into()));
    dir.write("servers.txt", &format!("127.0.0.1 {}\n", server.port));
    let key = "k".repeat(30_000);
    let commands = numbered(60, |n| format!("GET {key}{n}\n"));
    dir.run("kvBroker", "-s servers.txt -k 1", &commands);
    let reading = std::thread::spawn(move || {
        let mut log = String::new();
        std::io::Read::read_to_string(&mut reader, &mut log).unwrap();
        log
    });
    dir.run("kvBroker", "-s servers.txt -k 1", "GET last\n");
    kill("TERM", &server);
    assert_eq!(server.end().status, 0);
    let log = reading.join().unwrap();
    assert!(log.contains(" lines before this one could not be written\n"), "{}", log.len());
    assert!(log.contains("| GET] last\n") && log.contains(" stopping "), "{}", log.len());
}

#[test]
fn commands_are_carried_out_although_their_answers_cannot_be_written() {
    let dir = Dir::new("answers");
    let _servers = three_servers(&dir);
    dir.write("data.txt", "a:{\"x\":1}\noops\nb:{\"x\":2}\n");
    let commands = numbered(30, |n| format!("PUT k{n}:{{\"n\":{n}}}\n"));
    dir.write("commands.txt", &commands);
    let broker = "$kvBroker -s servers.txt -k 2 -i data.txt < commands.txt";
    let cases = [
        (format!("{broker} > /dev/full"), 1, "[Errno 28] No space left on device: a part of"),
        (format!("{{ {broker}; echo $? >&2; }} | head -n 1"), 0, "0\n"),
        (format!("{broker} > /dev/full 2> /dev/full"), 1, ""),
        (format!("{broker} >&- 2>&-"), 0, ""),
    ];
    for (script, status, told) in cases {
        let run = Process::new(shell(&dir, &script)).finish("");
        assert_eq!(run.status, status, "{script}: {run:?}");
        assert!(run.stderr.contains(told) && !run.stderr.contains("panicked"), "{script}: {run:?}");
        let mut check_broker = dir.start("kvBroker", "-s servers.txt -k 2 -i data.txt");
        let banner = check_broker.until_prompt();
        assert!(banner.contains("is indexed already"), "{script}: {banner}");
        check(&mut check_broker, &[("DELETE k29", "k29 : DELETED"), ("DELETE k0", "k0 : DELETED")]);
    }
}

#[test]
fn no_program_panics_at_output_that_cannot_be_written() {
    let dir = Dir::new("no-panic");
    dir.write("keys.txt", "name string\n");
    let cases = [
        ("$createData -k keys.txt -n 9 -d 0 -m 1 -l 4 -o - > /dev/full 2> /dev/full", 1),
        ("{ $createData -k keys.txt -n 99999 -d 0 -m 1 -l 4 -o -; echo $? >&2; } | head -n 1", 0),
        ("$createData -k missing.txt -n 9 -d 0 -m 1 -l 4 2> /dev/full", 1),
        ("$createData -k keys.txt -n x -d 0 -m 1 -l 4 2> /dev/full", 2),
        ("$createData --help > /dev/full", 0),
        ("$kvServer --help > /dev/full", 0),
        ("$kvServer -a 256.256.256.256 -p 0 2> /dev/full", 1),
        ("$kvServer -p x 2> /dev/full", 2),
        ("$kvBroker -k x 2> /dev/full", 2),
        ("$kvBroker -s missing.txt -k 1 2> /dev/full", 1),
        ("$kvBroker -k 0 > /dev/full 2> /dev/full", 1),
    ];
    for (script, status) in cases {
        let run = Process::new(shell(&dir, script)).finish("");
        assert_eq!(run.status, status, "{script}: {run:?}");
        assert!(!run.stderr.contains("panicked"), "{script}: {run:?}");
    }
}

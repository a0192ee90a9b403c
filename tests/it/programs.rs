//! The three programs together, as processes of their own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use process::{Dir, Process, Run, kill};

mod addresses;
mod durable;
mod founding;
#[cfg(unix)]
mod limits;
#[cfg(target_os = "linux")]
mod output;
mod process;
mod prompt;
#[cfg(unix)]
mod signals;
mod status;
mod text;

const WELCOME: &str = "\
=== Welcome to kvBroker ===
replication factor 2: each record has 3 copies, so that one server may fail
";
const UNSURE: &str = "[WARNING] Data may be inconsistent. 2 or more servers are unavailable!";
const NOT_ENOUGH: &str =
    "[WARNING] Not enough servers to support replication! Please restart the servers!";
const NO_DELETE: &str =
    "[WARNING] Cannot perform delete operation. One or more servers are unavailable!";

/// Three servers, named in `servers.txt`.
fn three_servers(dir: &Dir) -> Vec<Process> {
    let servers: Vec<_> = (0..3).map(|_| dir.server("")).collect();
    dir.write_servers(&servers);
    servers
}

/// A broker of the servers of `servers.txt` at its first prompt, and what it said before.
fn broker(dir: &Dir, args: &str) -> (Process, String) {
    let mut broker = dir.start("kvBroker", &format!("-s servers.txt -k 2{args}"));
    let banner = broker.until_prompt();
    (broker, banner)
}

/// What is said after the line that tells the founding of a cluster of three.
fn after_founding(banner: &str) -> &str {
    let (founded, rest) = banner.split_once('\n').unwrap_or_default();
    assert!(founded.starts_with("founded a new cluster of 3 servers: cluster "), "{banner}");
    rest
}

fn check(broker: &mut Process, answers: &[(&str, &str)]) {
    for (line, answer) in answers {
        assert_eq!(broker.answer(line), *answer, "to {line}");
    }
}

#[test]
fn every_command_is_answered_in_its_words() {
    let dir = Dir::new("session");
    let _servers = three_servers(&dir);
    let (mut broker, banner) = broker(&dir, "");
    let nothing = format!("{WELCOME}No dataToIndex.txt here: nothing to index\n");
    assert_eq!(after_founding(&banner), nothing);
    check(
        &mut broker,
        &[
            (r#"PUT person1:{ "name" : "Mary" ; "address" : { "city" : "Αθήνα" } }"#, "CREATED"),
            ("GET person1", r#"person1 : {"address": {"city": "Αθήνα"}; "name": "Mary"}"#),
            ("  GET  person1\t", r#"person1 : {"address": {"city": "Αθήνα"}; "name": "Mary"}"#),
            ("QUERY person1.address.city", r#"person1.address.city : "Αθήνα""#),
            (r#"QUERY "person1".name"#, r#""person1".name : "Mary""#),
            ("QUERY person1.name.x", "person1.name.x : NOT FOUND"),
            ("QUERY person1..name", "person1..name : NOT FOUND"),
            ("QUERY .name", ".name : NOT FOUND"),
            ("GET person1.name", "person1.name : NOT FOUND"),
            (r#"PUT "a b" : {"n":1.0}"#, "CREATED"),
            ("GET a b", r#"a b : {"n": 1.0}"#),
            (r#"SET person1.name : "Maria""#, "UPDATED"),
            (r#"MERGE person1:{"name":null;"address":{"zip":[1]}}"#, "UPDATED"),
            ("SET person1.address.zip[1] : null", "UPDATED"),
            ("REMOVE person1.address.zip[0]", "person1.address.zip[0] : REMOVED"),
            ("REMOVE person1.name", "person1.name : NOT FOUND"),
            ("REMOVE person1..name", "person1..name : NOT FOUND"),
            ("GET person1", r#"person1 : {"address": {"city": "Αθήνα"; "zip": [null]}}"#),
            (r#"SET person2."a:b".c : {"n":1}"#, "CREATED"),
            (r#"QUERY person2."a:b""#, r#"person2."a:b" : {"c": {"n": 1}}"#),
            ("REMOVE person2", "person2 : REMOVED"),
            ("MERGE person2 : {}", "CREATED"),
            (
                "SET person1.address.city.part : 1",
                "[Error] the path does not lead to a place in the record: \
                 address.city: this string has no fields",
            ),
            ("DELETE person1.name", "person1.name : IS NOT ROOT KEY"),
            ("DELETE person1", "person1 : DELETED"),
            ("GET person1", "person1 : NOT FOUND"),
            ("DELETE person1", "person1 : IS NOT ROOT KEY"),
            ("", ""),
            ("GET", "[Error] Payload is missing!"),
            ("help", "[Error] Payload is missing!"),
            ("PUT p", "[Error] Value is missing!"),
            ("SET p.a", "[Error] Value is missing!"),
            (
                "get person1",
                "[INFO] Invalid request type!\n\
                 [INFO] Supported types: PUT | GET | QUERY | DELETE",
            ),
        ],
    );
    let run = broker.finish("!DISCONNECT\n");
    assert_eq!((run.status, run.stdout.as_str()), (0, "kvBroker has been disconnected! Bye!\n"));
}

#[test]
fn two_hundred_piped_commands_are_answered_in_order() {
    let dir = Dir::new("pipe");
    let _servers = three_servers(&dir);
    let (broker, _) = broker(&dir, "");
    let (commands, answers): (Vec<_>, Vec<_>) = (0..50)
        .map(|n| {
            (
                format!("PUT k{n}:{{\"n\":{n}}}\nGET k{n}\nQUERY k{n}.n\nDELETE k{n}\n"),
                format!(
                    "CREATED\nkvStore> k{n} : {{\"n\": {n}}}\nkvStore> k{n}.n : {n}\n\
                     kvStore> k{n} : DELETED\nkvStore> "
                ),
            )
        })
        .unzip();
    assert_eq!(broker.finish(&commands.concat()), Run::success(&answers.concat()));
}

#[test]
fn one_server_may_fail_and_two_are_told() {
    let dir = Dir::new("failures");
    let mut servers = three_servers(&dir);
    dir.write("data.txt", "a:{\"x\":1}\nb:{\"x\":2}\n");
    let (mut broker, banner) = broker(&dir, " -i data.txt");
    let indexed = format!("{WELCOME}Data initialization...\nIndexed 2 records\n");
    assert_eq!(after_founding(&banner), indexed);
    drop(servers.pop());
    check(
        &mut broker,
        &[
            ("PUT a:{\"x\":3}", "CREATED"),
            ("GET a", "a : {\"x\": 3}"),
            ("QUERY a.x", "a.x : 3"),
            ("DELETE b", "b : DELETED"),
            ("GET b", "b : NOT FOUND"),
        ],
    );
    drop(servers.pop());
    check(
        &mut broker,
        &[
            ("GET a", &format!("{UNSURE}\na : {{\"x\": 3}}")),
            ("QUERY a.x", &format!("{UNSURE}\na.x : 3")),
            ("GET b", &format!("{UNSURE}\nb : NOT FOUND")),
        ],
    );
    // Whether a server that is dying took the first write is not always known.
    assert!(broker.answer("PUT a:{\"x\":4}").starts_with(NOT_ENOUGH));
    assert!(broker.answer("DELETE a").starts_with(NO_DELETE));
    drop(servers.pop());
    let unavailable = "UNAVAILABLE (no copy can be reached)";
    check(
        &mut broker,
        &[
            ("GET a", &format!("{UNSURE}\na : {unavailable}")),
            ("QUERY a.x", &format!("{UNSURE}\na.x : {unavailable}")),
        ],
    );
    assert_eq!(broker.finish(""), Run::success(""));
}

#[test]
fn a_file_is_indexed_once_and_again_when_asked_to() {
    let dir = Dir::new("restart");
    let _servers = three_servers(&dir);
    dir.write("dataToIndex.txt", "a:{\"x\":1}\r\n\r\nb:{\"x\":2}\n");
    let (mut first, _) = broker(&dir, "");
    check(&mut first, &[("PUT a:{\"mine\":1}", "CREATED"), ("DELETE b", "b : DELETED")]);
    // It need not leave in peace.
    drop(first);
    let (mut second, banner) = broker(&dir, "");
    let done = "dataToIndex.txt is indexed already: nothing done; --reload puts every line again";
    assert_eq!(banner, format!("{WELCOME}Data initialization...\n{done}\n"));
    check(&mut second, &[("GET a", "a : {\"mine\": 1}"), ("GET b", "b : NOT FOUND")]);
    let (mut third, banner) = broker(&dir, " --reload");
    assert!(banner.ends_with("\nIndexed 2 records\n"), "{banner}");
    check(&mut third, &[("GET a", "a : {\"x\": 1}")]);
    // The two are brokers of one cluster.
    check(&mut second, &[("GET b", "b : {\"x\": 2}")]);
}

#[test]
fn another_replication_factor_than_the_clusters_is_told() {
    let dir = Dir::new("copies");
    let mut servers = three_servers(&dir);
    drop(broker(&dir, ""));
    let mut other = dir.start("kvBroker", "-s servers.txt -k 1");
    let stays = "The cluster was founded with replication factor 2, and keeps it: \
                 each record has 3 copies, so that one server may fail\n";
    assert!(other.until_prompt().contains(stays));
    drop(other);
    let stranger = dir.server("");
    let mut file = fs::File::options().append(true).open(dir.path("servers.txt")).unwrap();
    writeln!(file, "127.0.0.1 {}", stranger.port).unwrap();
    let gone = servers.remove(0).port;
    let (_broker, banner) = broker(&dir, "");
    assert_eq!(
        banner,
        format!(
            "[Errno 111] Connection refused 127.0.0.1 : {gone}\n{WELCOME}127.0.0.1:{} is new to \
             the cluster, and joins it\n\
             No dataToIndex.txt here: nothing to index\n",
            stranger.port
        )
    );
}

#[test]
fn without_a_server_file_the_servers_are_in_the_process() {
    let dir = Dir::new("embedded");
    let run = dir.run("kvBroker", "", "PUT a:{\"x\":1}\nGET a\n!DISCONNECT\n");
    let banner = "No server file: 3 servers run in this process, and keep the data in its memory\n";
    assert_eq!(
        run,
        Run::success(&format!(
            "{banner}{WELCOME}No dataToIndex.txt here: nothing to index\nkvStore> CREATED\n\
             kvStore> a : {{\"x\": 1}}\nkvStore> kvBroker has been disconnected! Bye!\n"
        ))
    );
    let few = "[ERROR] Number of servers is lower than the replication number\n";
    assert_eq!(dir.run("kvBroker", "-k 4", ""), Run::new(1, few, ""));
}

#[test]
fn too_few_servers_end_the_broker_and_are_named() {
    let dir = Dir::new("few");
    let mut servers = three_servers(&dir);
    let gone = servers.pop().unwrap().port;
    let few = "[ERROR] Number of servers is lower than the replication number\n";
    let refused = format!("[Errno 111] Connection refused 127.0.0.1 : {gone}\n");
    let run = dir.run("kvBroker", "-s servers.txt -k 3", "");
    assert_eq!(run, Run::new(1, &format!("{refused}{few}"), ""));
    dir.write("servers.txt", "\n# none\n");
    assert_eq!(dir.run("kvBroker", "-s servers.txt -k 1", ""), Run::new(1, few, ""));
}

#[test]
fn what_is_no_server_of_ours_is_named() {
    let dir = Dir::new("foreign");
    let foreign = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = foreign.local_addr().unwrap();
    dir.write("servers.txt", &format!("127.0.0.1 {}\n", address.port()));
    let few = "[ERROR] Number of servers is lower than the replication number\n";
    // It accepts, and says nothing.
    let run = dir.run("kvBroker", "-s servers.txt -k 1", "");
    let silent = format!("[Errno 110] Connection timed out 127.0.0.1 : {}\n", address.port());
    assert_eq!(run, Run::new(1, &(silent + few), ""));
    // Ends with the test program.
    std::thread::spawn(move || {
        for client in foreign.incoming() {
            let mut client = client.unwrap();
            // The one that gave up does not take it.
            let _ = client.write_all(b"220 mail.example.org at your service, and a good day\r\n");
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    let run = dir.run("kvBroker", "-s servers.txt -k 1", "");
    let foreign = format!("[Error] {address} does not speak this protocol\n");
    assert_eq!(run, Run::new(1, &(foreign + few), ""));
}

#[test]
fn a_fault_in_the_server_file_is_named_with_its_line() {
    let dir = Dir::new("server-file");
    let write = "write HOST PORT, as in 127.0.0.1 9000, ::1 9000 or [::1]:9000";
    let no_port = "is no port: a port is a number from 1 to 65535";
    for (file, fault) in [
        ("127.0.0.1\n", format!("1: the port is missing: {write}")),
        ("a 1\n\n# x\nb 1 x\n", format!("4: 'x' after the port: {write}")),
        ("a http\n", format!("1: 'http' {no_port}")),
        ("a 0\n", format!("1: '0' {no_port}")),
        ("a 65536\n", format!("1: '65536' {no_port}")),
        ("127.0.0.1:9000\n", format!("1: '127.0.0.1:9000' is no host: {write}")),
        ("::1\n", format!("1: the port is missing: {write}")),
        ("127.0.0.1\u{a0}9000\n", format!("1: U+00A0 is no blank: {write}")),
        ("::1 9000\n[0:0::1]:9000\n", "2: the same server as in line 1".to_owned()),
        ("a 1\r\n b\t 1 # two\r\na  1", "3: the same server as in line 1".to_owned()),
    ] {
        dir.write("s.txt", file);
        let run = dir.run("kvBroker", "-s s.txt -k 1", "");
        assert_eq!(run, Run::new(1, "", &format!("[Error] s.txt:{fault}\n")), "{file}");
    }
}

#[test]
fn a_missing_file_ends_the_broker() {
    let dir = Dir::new("missing");
    let missing = "[Errno 2] No such file or directory: 'none.txt'\n";
    assert_eq!(dir.run("kvBroker", "-s none.txt -k 1", ""), Run::new(1, "", missing));
    // A fault of the data file comes after the servers were found.
    let run = dir.run("kvBroker", "-k 3 -i none.txt", "GET a\n");
    let banner = "No server file: 3 servers run in this process, and keep the data in its memory\n\
                  === Welcome to kvBroker ===\nData initialization...\n";
    assert_eq!(run, Run::new(1, banner, missing));
}

#[test]
fn options_out_of_range_are_told_by_the_exit_status() {
    let dir = Dir::new("options");
    dir.write("s.txt", "127.0.0.1 9\n");
    let low = "[Error] Replication factor should be greater equal to 1.\n";
    assert_eq!(dir.run("kvBroker", "-s s.txt -k 0", ""), Run::new(1, "", low));
    assert_eq!(dir.run("kvBroker", "-k -1", ""), Run::new(1, "", low));
    for (program, args) in [
        ("kvBroker", "-s s.txt"),
        ("kvBroker", "-k 1.5"),
        ("kvServer", ""),
        ("kvServer", "-a 127.0.0.1"),
        ("kvServer", "-a 127.0.0.1 -p 65536"),
        ("kvServer", "-a 127.0.0.1 -p -1"),
        ("kvServer", "-a 127.0.0.1 -p 0 -v -q"),
    ] {
        let run = dir.run(program, args, "");
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{program} {args}: {}", run.stderr);
    }
    for program in ["kvBroker", "kvServer"] {
        let run = dir.run(program, "--help", "");
        assert_eq!((run.status, run.stderr.as_str()), (0, ""));
        assert!(run.stdout.contains("Exit status: 0 at "), "{}", run.stdout);
    }
}

#[test]
fn bad_and_repeated_lines_are_told_and_the_others_indexed() {
    let dir = Dir::new("bad-lines");
    let mut data = "a:{\"x\":1}\nno record\na:{\"x\":True}\n  é:{\"x\":}\n".as_bytes().to_vec();
    data.extend(b"\x9b[31m\x1b[31m\n");
    data.extend(b"{}\n".repeat(20));
    fs::write(dir.path("data.txt"), data).unwrap();
    let run = dir.run("kvBroker", "-k 3 -i data.txt", "GET a");
    let summary = "\nIndexed 1 record; left out 1 line whose key a later one has; \
                   left out 23 bad lines\n";
    assert!(run.stdout.contains(summary), "{}", run.stdout);
    assert!(run.stdout.ends_with("kvStore> a : {\"x\": true}\nkvStore> "), "{}", run.stdout);
    let told = "\
data.txt:2:10: Value is missing!
  |
2 | no record
  |          ^ expected ':' and a value
  |
  = help: a colon comes after the key, and then a map: KEY:{ \"name\" : VALUE }
data.txt:3: key \"a\" again, after line 1; this line wins
data.txt:4:10: expected a value, found '}'
  |
4 |   é:{\"x\":}
  |          ^ expected a value
  |
  = help: a name has a value after its colon; write null for none
data.txt:5:1: not UTF-8
  |
5 | �[31m␛[31m
  | ^ no UTF-8
data.txt:6:3: Value is missing!
";
    assert!(run.stderr.starts_with(told), "{}", run.stderr);
    let faults: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("data")).collect();
    assert_eq!((faults.len(), faults[20]), (21, "data.txt: and 4 more"));
}

#[test]
fn lines_of_json_are_indexed_as_well() {
    let dir = Dir::new("ndjson");
    let data = "{\"key\":\"a\",\"value\":{\"x\":[1,{}]}}\nb:{\"x\":2}\n  {\"key\":\"c\",\"x\":1}\n";
    dir.write("data.txt", data);
    let run = dir.run("kvBroker", "-k 3 -i data.txt", "GET a\nQUERY b.x");
    let summary = "\nIndexed 2 records; left out 1 bad line\n";
    assert!(run.stdout.contains(summary), "{}", run.stdout);
    assert!(run.stdout.contains("kvStore> a : {\"x\": [1; {}]}\n"), "{}", run.stdout);
    assert!(run.stdout.contains("kvStore> b.x : 2\n"), "{}", run.stdout);
    let fault = "data.txt:3:14: unknown field \"x\": a record has \"key\" and \"value\"";
    assert_eq!(run.stderr.lines().next(), Some(fault), "{}", run.stderr);
}

#[test]
fn large_and_deep_records_are_kept_or_refused() {
    let dir = Dir::new("large");
    let deep = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
    let (long, greek) = ("x".repeat(1 << 20), "α".repeat(20_000));
    let bottomless = "{\"a\":".repeat(1_000_000);
    let records = [
        ("long", format!("{{\"v\":\"{long}\"}}")),
        ("greek", format!("{{\"v\":\"{greek}\"}}")),
        ("deep", deep(127)),
        ("deeper", deep(129)),
        ("bottomless", bottomless),
    ];
    let lines = records.iter().map(|(key, value)| format!("data-{key}:{value}\n"));
    dir.write("data.txt", &lines.collect::<String>());
    let mut broker = dir.start("kvBroker", "-k 3 -i data.txt");
    let banner = broker.until_prompt();
    assert!(banner.ends_with("Indexed 3 records; left out 2 bad lines\n"), "{banner}");
    for (key, value) in &records[..3] {
        assert_eq!(broker.answer(&format!("PUT {key}:{value}")), "CREATED");
    }
    for (key, value) in &records[3..] {
        let answer = broker.answer(&format!("PUT {key}:{value}"));
        assert!(answer.ends_with(" - more than 128 levels lie within each other"), "{answer}");
        assert_eq!(broker.answer(&format!("GET data-{key}")), format!("data-{key} : NOT FOUND"));
    }
    for prefix in ["", "data-"] {
        let long = format!("{prefix}long.v : \"{long}\"");
        assert!(broker.answer(&format!("QUERY {prefix}long.v")) == long);
        let greek = format!("{prefix}greek.v : \"{greek}\"");
        assert_eq!(broker.answer(&format!("QUERY {prefix}greek.v")), greek);
        let path = format!("{prefix}deep{}", ".a".repeat(127));
        assert_eq!(broker.answer(&format!("QUERY {path}")), format!("{path} : 1"));
    }
    let key = "k".repeat(1000);
    assert_eq!(broker.answer(&format!("PUT {key}:{{}}")), "CREATED");
    assert_eq!(broker.answer(&format!("GET {key}")), format!("{key} : {{}}"));
}

#[test]
fn records_of_the_generator_are_all_there() {
    let dir = Dir::new("generated");
    let _servers = three_servers(&dir);
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/keyFile.txt");
    fs::copy(keys, dir.path("keyFile.txt")).unwrap();
    let made = dir.run("createData", "-k keyFile.txt -n 1000 -d 2 -m 5 -l 4", "");
    assert_eq!(made, Run::success(""));
    let (broker, banner) = broker(&dir, "");
    assert!(banner.ends_with("Data initialization...\nIndexed 1000 records\n"), "{banner}");
    let commands: Vec<_> = (0..1000).map(|number| format!("GET person{number}\n")).collect();
    let run = broker.finish(&commands.concat());
    let mut answers = run.stdout.split("kvStore> ");
    for (number, line) in dir.read("dataToIndex.txt").lines().enumerate() {
        let (_, record) = line.split_once(':').unwrap();
        let record: triekv::Value = record.parse().unwrap();
        assert_eq!(answers.next().unwrap(), format!("person{number} : {record}\n"));
    }
}

#[cfg(unix)]
#[test]
fn signals_end_the_programs_cleanly() {
    let dir = Dir::new("signals");
    for (signal, status) in [("TERM", 0), ("INT", 130)] {
        let server = dir.server("-q");
        kill(signal, &server);
        assert_eq!(server.finish(""), Run::new(status, "", ""), "{signal}");
    }
    let mut broker = dir.start("kvBroker", "-k 1");
    broker.until_prompt();
    kill("INT", &broker);
    assert_eq!(broker.end(), Run::new(130, "", ""));
}

#[test]
fn a_server_that_cannot_listen_says_where_and_why() {
    let dir = Dir::new("port");
    let first = dir.server("");
    let args = format!("-a 127.0.0.1 -p {}", first.port);
    let run = dir.run("kvServer", &args, "");
    let taken = format!(
        "[Error] cannot listen at 127.0.0.1:{}: Address already in use (os error 98)\n",
        first.port
    );
    assert_eq!(run, Run::new(1, "", &taken));
}

#[cfg(unix)]
#[test]
fn a_verbose_server_logs_each_request_and_others_do_not() {
    let dir = Dir::new("log");
    for (args, logged) in [("-v", true), ("", false), ("-q", false)] {
        let server = dir.server(args);
        dir.write("servers.txt", &format!("127.0.0.1 {}\n", server.port));
        let mut broker = dir.start("kvBroker", "-s servers.txt -k 1");
        broker.until_prompt();
        broker.answer("GET somebody");
        drop(broker);
        kill("TERM", &server);
        let log = server.finish("").stderr;
        assert_eq!(log.contains("somebody"), logged, "{args}: {log}");
        assert_eq!(log.is_empty(), args == "-q", "{args}: {log}");
    }
}

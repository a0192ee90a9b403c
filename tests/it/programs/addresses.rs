//! Addresses of servers: what is printed can be typed in.

use std::net::TcpListener;

use super::check;
use super::process::Dir;

/// How kvBroker reads them.
#[path = "../../../examples/kvBroker/server_file.rs"]
#[expect(dead_code, reason = "what the program alone needs")]
mod server_file;

use server_file::{Problem, parse_typed};

#[test]
fn each_form_in_which_an_address_is_printed_is_read_at_the_prompt() {
    for (host, joined) in [
        ("10.0.0.4", "10.0.0.4:9000"),
        ("db-1.example", "db-1.example:9000"),
        ("::1", "[::1]:9000"),
        ("fe80::1%2", "[fe80::1%2]:9000"),
    ] {
        // As STATUS and the log print it, and as a server that cannot be reached is told.
        for text in [joined.to_owned(), format!("{host} 9000"), format!(" {host} :\t9000 ")] {
            let address = parse_typed(&text).unwrap().unwrap();
            assert_eq!(address.joined(), joined, "{text}");
            assert_eq!(address.to_string(), format!("{host} : 9000"));
        }
    }
    let address = |text| parse_typed(text).unwrap().unwrap().joined();
    assert_eq!(address("[::1] 9000"), "[::1]:9000");
    assert_eq!(address("0:0::0:1 9000"), "[::1]:9000");
    assert!(parse_typed(" # none").unwrap().is_none());
    let problem = |text| parse_typed(text).unwrap_err();
    for text in ["::1", "[::1]", "::1:9000", "a"] {
        assert_eq!(problem(text), Problem::MissingPort, "{text}");
    }
    for (text, host) in [
        ("[a]:1", "[a]"),
        ("[::1 1", "[::1"),
        ("a:b:c 1", "a:b:c"),
        (":1", ""),
        ("fe80::1%eth0 1", "fe80::1%eth0"),
    ] {
        assert_eq!(problem(text), Problem::NotAHost(host.to_owned()), "{text}");
    }
    assert_eq!(problem("[::1]:x"), Problem::NotAPort("x".to_owned()));
    assert_eq!(problem("::1 0"), Problem::NotAPort("0".to_owned()));
    assert_eq!(problem("::1 : 1 x"), Problem::ExtraField("x".to_owned()));
    assert_eq!(problem("::1\u{a0}1"), Problem::NotABlank('\u{a0}'));
}

#[test]
fn a_server_of_ipv6_is_named_by_each_form_in_which_it_is_printed() {
    // Not every machine has IPv6; the forms themselves are tested above.
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let dir = Dir::new("ipv6");
    for host in ["::1", "[::1]", "0:0::1"] {
        let mut server = dir.start("kvServer", &format!("-a {host} -p 0 --in-memory"));
        let line = server.until("\n");
        let port = line.strip_prefix("Binding the Port: ('::1', ").expect(&line);
        let port: u16 = port.trim_end_matches(")\n").parse().unwrap();
        let joined = format!("[::1]:{port}");
        for line in [format!("::1 {port}"), joined.clone(), format!("::1 : {port}")] {
            dir.write("servers.txt", &format!("{line}\n"));
            let mut broker = dir.start("kvBroker", "-s servers.txt -k 1");
            let banner = broker.until_prompt();
            assert!(!banner.contains("does not name it"), "{banner}");
            let status = broker.answer("STATUS");
            assert!(status.contains(&format!("\n{joined}  up ")), "{status}");
            check(&mut broker, &[("GET a", "a : NOT FOUND")]);
        }
    }
    let run = dir.run("kvServer", "-a [::1]:9000 -p 9000", "");
    let told = "write the address alone, as in 127.0.0.1, ::1 or [::1], and its port with -p";
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains(told), "{}", run.stderr);
}

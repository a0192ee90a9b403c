//! A server that runs out of what the system lets it have.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::check;
use super::process::{Dir, PATIENCE};

/// What a client of the protocol says first.
const HELLO: &[u8] = b"triekv\x01\0";

/// More connections than the server may have open files.
const CROWD: usize = 100;

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_server_without_a_free_file_serves_whom_it_has_and_takes_others_once_there_is_one() {
    let dir = Dir::new("files");
    let servers = [dir.server_of_files(40, "")];
    dir.write_servers(&servers);
    let mut known = dir.start("kvBroker", "-s servers.txt -k 1");
    known.until_prompt();
    check(&mut known, &[("PUT a:{\"x\":1}", "CREATED")]);
    // Those that say nothing have to make room for each other, and for whoever says hello.
    let silent: Vec<TcpStream> = (0..CROWD).map(|_| connect(servers[0].port)).collect();
    check(&mut known, &[("PUT b:{\"x\":2}", "CREATED")]);
    let mut late = dir.start("kvBroker", "-s servers.txt -k 1");
    late.until_prompt();
    check(&mut late, &[("GET b", "b : {\"x\": 2}")]);
    drop((silent, late));

    // Those that have said hello stay. Beyond the limit nobody is answered, and nothing breaks.
    let mut crowd = Vec::new();
    let is_greeted = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.write_all(HELLO).and_then(|()| stream.read_exact(&mut [0; 8])).is_ok()
    };
    for _ in 0..CROWD {
        let mut stream = connect(servers[0].port);
        let greeted = is_greeted(&mut stream);
        crowd.push(stream);
        if !greeted {
            break;
        }
    }
    assert!((5..CROWD).contains(&crowd.len()), "{} were served", crowd.len() - 1);
    check(&mut known, &[("GET a", "a : {\"x\": 1}"), ("PUT a:{\"x\":3}", "CREATED")]);
    drop(crowd);
    let mut late = dir.start("kvBroker", "-s servers.txt -k 1");
    late.until_prompt();
    check(&mut late, &[("GET a", "a : {\"x\": 3}")]);
}

//! Servers that are killed and started again, as processes.

use std::fs;

use super::process::{Dir, Process, Run};
use super::status::status_until;
use super::{WELCOME, broker, check, three_servers};

/// Kills the servers, and starts them again on their ports.
fn kill_and_restart(dir: &Dir, servers: &mut Vec<Process>, args: &str) {
    let ports: Vec<u16> = servers.iter().map(|server| server.port).collect();
    servers.clear();
    servers.extend(ports.into_iter().map(|port| dir.server_at(port, args)));
}

#[test]
fn all_servers_killed_and_started_again_have_everything() {
    let dir = Dir::new("kill-all");
    let mut servers = three_servers(&dir);
    dir.write("dataToIndex.txt", "a:{\"x\":1}\nb:{\"x\":2}\nc:{\"x\":3}\n");
    let (mut first, _) = broker(&dir, "");
    check(&mut first, &[("PUT a:{\"mine\":1}", "CREATED"), ("DELETE b", "b : DELETED")]);
    for _ in 0..2 {
        kill_and_restart(&dir, &mut servers, "");
        let there = [
            ("GET a", "a : {\"mine\": 1}"),
            ("GET b", "b : NOT FOUND"),
            ("GET c", "c : {\"x\": 3}"),
        ];
        check(&mut first, &there);
        let (mut second, banner) = broker(&dir, "");
        let done =
            "dataToIndex.txt is indexed already: nothing done; --reload puts every line again";
        assert_eq!(banner, format!("{WELCOME}Data initialization...\n{done}\n"));
        check(&mut second, &there);
        check(&mut second, &[("PUT d:{\"x\":4}", "CREATED"), ("GET d", "d : {\"x\": 4}")]);
    }
    // One after the other, and each of them has to have caught up for the next one to go.
    for number in 0..3 {
        let port = servers.remove(0).port;
        check(&mut first, &[("PUT e:{\"x\":5}", "CREATED")]);
        servers.push(dir.server_at(port, ""));
        let put = format!("PUT round{number}:{{}}");
        check(&mut first, &[(&put, "CREATED"), ("GET e", "e : {\"x\": 5}")]);
    }
}

#[test]
fn fresh_empties_the_cluster_and_indexes_the_file_again() {
    let dir = Dir::new("fresh");
    let _servers = three_servers(&dir);
    dir.write("dataToIndex.txt", "a:{\"x\":1}\nb:{\"x\":2}\n");
    let (mut first, _) = broker(&dir, "");
    check(&mut first, &[("PUT c:{}", "CREATED"), ("DELETE b", "b : DELETED")]);
    let (mut second, banner) = broker(&dir, " --fresh");
    let done =
        "Emptied the cluster: deleted 2 records\nData initialization...\nIndexed 2 records\n";
    assert_eq!(banner, format!("{WELCOME}{done}"));
    check(&mut second, &[("GET b", "b : {\"x\": 2}"), ("GET c", "c : NOT FOUND")]);
    let run = dir.run("kvBroker", "-k 1 --fresh --reload", "");
    assert_eq!(run.status, 2);
}

#[test]
fn a_server_in_memory_leaves_nothing_on_disk_and_comes_back_as_another_one() {
    let dir = Dir::new("in-memory");
    let mut servers: Vec<_> = (0..3).map(|_| dir.server("--in-memory")).collect();
    dir.write_servers(&servers);
    drop(broker(&dir, ""));
    assert!(!dir.path("kvdata").exists());
    let port = servers.remove(0).port;
    servers.push(dir.server_at(port, "--in-memory"));
    // It takes the place of the one that was there, and is filled by the others.
    let (mut broker, _) = broker(&dir, "");
    status_until(&mut broker, |status| {
        status.contains(": whole, 3 of 3 servers up, ") && !status.contains("under way")
    });
    let run = dir.run("kvServer", "-a 127.0.0.1 -p 0 --in-memory -d x", "");
    assert_eq!((run.status, run.stdout.as_str()), (2, ""));
}

#[test]
fn a_directory_belongs_to_one_server_at_a_time() {
    let dir = Dir::new("lock");
    let first = dir.server("--data-dir data");
    assert!(dir.path("data/identity").exists());
    let run = dir.run("kvServer", "-a 127.0.0.1 -p 0 -d data", "");
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    let locked = run.stderr.lines().last().unwrap();
    assert_eq!(locked, "[Error] data is in use by another process");
    drop(first);
    drop(dir.server("-d data"));
    dir.write("file", "");
    let run = dir.run("kvServer", "-a 127.0.0.1 -p 0 -d file/data", "");
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("[Error] cannot create file/data: "), "{}", run.stderr);
}

#[test]
fn a_server_with_a_damaged_log_says_where_and_begins_anew_once_it_is_moved_away() {
    let dir = Dir::new("damage");
    let mut servers = three_servers(&dir);
    let (mut broker, _) = broker(&dir, "");
    for n in 0..100 {
        check(&mut broker, &[(&format!("PUT key{n}:{{\"n\":{n}}}"), "CREATED")]);
    }
    let port = servers.remove(0).port;
    let data = dir.path(&format!("kvdata/127.0.0.1-{port}"));
    let files = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let log = files.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
    let log = log.max().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[written / 2] ^= 1;
    fs::write(&log, &bytes).unwrap();

    let run = dir.run("kvServer", &format!("-a 127.0.0.1 -p {port}"), "");
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    let log = log.canonicalize().unwrap();
    let log = log.display();
    assert!(run.stderr.contains(&format!("[Error] {log} is damaged at byte ")), "{}", run.stderr);
    assert!(run.stderr.contains("\nMove the directory away and start "), "{}", run.stderr);
    fs::rename(&data, dir.path("damaged")).unwrap();
    servers.push(dir.server_at(port, ""));
    check(&mut broker, &[("GET key7", "key7 : {\"n\": 7}"), ("PUT key7:{}", "CREATED")]);
}

#[test]
fn servers_of_two_clusters_are_told_and_so_are_servers_that_the_file_does_not_name() {
    let dir = Dir::new("strangers");
    let servers = three_servers(&dir);
    drop(broker(&dir, ""));
    let other = dir.server("");
    dir.write_servers(std::slice::from_ref(&other));
    drop(dir.start("kvBroker", "-s servers.txt -k 1").until_prompt());
    let line = |server: &Process| format!("127.0.0.1 {}\n", server.port);
    dir.write("servers.txt", &[line(&servers[0]), line(&other)].concat());
    let run = dir.run("kvBroker", "-s servers.txt -k 1", "");
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains(" belongs to cluster "), "{}", run.stderr);
    assert_eq!(run.stderr.matches("\nTo keep cluster ").count(), 2, "{}", run.stderr);

    dir.write("servers.txt", &[line(&servers[0]), line(&servers[1])].concat());
    let (_broker, banner) = broker(&dir, "");
    let third = servers[2].port;
    let unnamed = format!("127.0.0.1:{third} belongs to the cluster, and the server file does not");
    assert!(banner.starts_with(&unnamed), "{banner}");
}

#[cfg(unix)]
#[test]
fn a_server_that_is_stopped_cleanly_comes_back_too() {
    let dir = Dir::new("stop");
    let mut servers = three_servers(&dir);
    let (mut broker, _) = broker(&dir, "");
    check(&mut broker, &[("PUT a:{\"x\":1}", "CREATED")]);
    let ports: Vec<u16> = servers.iter().map(|server| server.port).collect();
    for server in servers.drain(..) {
        super::kill("TERM", &server);
        let Run { status, stderr, .. } = server.finish("");
        assert_eq!(status, 0, "{stderr}");
    }
    servers.extend(ports.into_iter().map(|port| dir.server_at(port, "")));
    check(&mut broker, &[("GET a", "a : {\"x\": 1}"), ("PUT a:{}", "CREATED")]);
}

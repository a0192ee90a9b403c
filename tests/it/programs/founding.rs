//! Clusters that are founded, also beside older ones, with servers that lose their directories.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::process::{Dir, PATIENCE, Process, Run};
use super::status::status_until;
use super::{broker, three_servers};

/// Records of each cluster.
const RECORDS: usize = 20;

/// Types the line until this is the answer: on a busy machine elections go on for a while.
fn answered(broker: &mut Process, line: &str, expected: &str) {
    let began = Instant::now();
    loop {
        let answer = broker.answer(line);
        if answer == expected {
            return;
        }
        let is_warned = answer.starts_with("[WARNING]");
        assert!(is_warned && began.elapsed() < PATIENCE, "{answer} to {line}, not {expected}");
    }
}

fn put_all(broker: &mut Process, key: &str) {
    for n in 0..RECORDS {
        answered(broker, &format!("PUT {key}{n}:{{\"n\":{n}}}"), "CREATED");
    }
}

fn assert_all(broker: &mut Process, key: &str) {
    for n in 0..RECORDS {
        answered(broker, &format!("QUERY {key}{n}.n"), &format!("{key}{n}.n : {n}"));
    }
}

/// The cluster of the line that tells the founding.
fn cluster_of(banner: &str) -> &str {
    let (_, rest) = banner.split_once("founded a new cluster of ").expect(banner);
    rest.lines().next().unwrap().rsplit(' ').next().unwrap()
}

/// A cluster that stands beside an older one.
struct Beside {
    dir: Dir,
    /// Two of the newer cluster, and the third of the older one.
    servers: Vec<Process>,
    ports: Vec<u16>,
    /// Of the newer cluster.
    broker: Process,
    old: String,
    new: String,
}

impl Beside {
    /// Where the server keeps its data, and where they are when they are moved away.
    fn data(&self, number: usize) -> [PathBuf; 2] {
        let data = format!("kvdata/127.0.0.1-{}", self.ports[number]);
        [self.dir.path(&data), self.dir.path(&format!("{data}-away"))]
    }

    /// Three servers get records and are killed. Two of them come back with empty directories and get
    /// records, too; then comes the third.
    fn start(name: &str) -> Self {
        let dir = Dir::new(name);
        let mut servers = three_servers(&dir);
        servers.sort_by_key(|server| server.port);
        dir.write_servers(&servers);
        let ports: Vec<u16> = servers.iter().map(|server| server.port).collect();
        let (mut first, banner) = broker(&dir, "");
        let old = cluster_of(&banner).to_owned();
        put_all(&mut first, "old");
        drop(first);
        servers.clear();
        for port in &ports[..2] {
            let data = format!("kvdata/127.0.0.1-{port}");
            fs::rename(dir.path(&data), dir.path(&format!("{data}-away"))).unwrap();
            servers.push(dir.server_at(*port, ""));
            assert!(servers.last().unwrap().data.ends_with(", empty: a new server\n"));
        }
        let (mut broker, banner) = broker(&dir, "");
        let new = cluster_of(&banner).to_owned();
        let silent = ports[2];
        let told = format!(
            "[Errno 111] Connection refused 127.0.0.1 : {silent}\n\
             founded a new cluster of 2 servers: cluster {new}\n\
             [WARNING] No answer came from 127.0.0.1:{silent}. If an older cluster "
        );
        assert!(banner.starts_with(&told), "{banner}");
        answered(&mut broker, "GET old0", "old0 : NOT FOUND");
        put_all(&mut broker, "new");
        servers.push(dir.server_at(silent, ""));
        assert!(servers[2].data.ends_with(", as it was left\n"), "{}", servers[2].data);
        Self { dir, servers, ports, broker, old, new }
    }
}

#[test]
fn servers_of_a_newer_and_an_older_cluster_are_told_apart_with_the_ways_out() {
    let mut beside = Beside::start("beside");
    let [first, second, third] = [0, 1, 2].map(|n| format!("127.0.0.1:{}", beside.ports[n]));
    let Beside { dir, broker, old, new, .. } = &mut beside;
    let run = dir.run("kvBroker", "-s servers.txt -k 2", "");
    assert_eq!((run.status, run.stdout.as_str()), (1, ""));
    let head = format!("[Error] {first} belongs to cluster {new}, {third} to cluster {old}\n");
    let choice = run.stderr.strip_prefix(&head).expect(&run.stderr);
    let lines: Vec<&str> = choice.lines().collect();
    let records = lines[3].strip_prefix(&format!("cluster {old}: ")).expect(choice);
    let records: usize = records.split(' ').next().unwrap().parse().expect(choice);
    assert!((1..=RECORDS).contains(&records), "the fault did not bite: {choice}");
    let expected = [
        format!("cluster {new}: {RECORDS} records"),
        format!("  {first} up, {second} up"),
        format!("  founded with {first} and {second}; {third} was silent then"),
        lines[3].to_owned(),
        format!(
            "  {first} replaced by another server, {second} replaced by another server, {third} up"
        ),
        format!("  founded with {first}, {second} and {third}"),
        format!(
            "To keep cluster {new}: stop {third}, move the directory of each away and start it again: it \
             is a new, empty server then, and joins cluster {new}."
        ),
        format!(
            "To keep cluster {old}, which has no majority: stop {first} and {second}, and start {first} \
             and {second} in the directories that they had in it. If those are lost, name {third} alone \
             in the server file, with -k 1: what is left can be read then, with a warning."
        ),
        "kvServer tells at its start which directory it has.".to_owned(),
    ];
    assert_eq!(lines, expected);

    let status = broker.answer("STATUS");
    let stranger = format!(
        "[WARNING] {third} was silent when this cluster was founded, and belongs to another one, cluster \
         {old}: "
    );
    assert!(status.contains(&stranger), "{status}");
    let joined = broker.answer(&format!("!JOIN 127.0.0.1 {}", third.rsplit_once(':').unwrap().1));
    let head = format!("[Error] the server at {third} belongs to cluster {old}\n");
    assert_eq!(joined.strip_prefix(&head).expect(&joined), choice.trim_end());
    assert_all(broker, "new");
}

#[test]
fn an_older_cluster_goes_on_in_its_directories() {
    let mut beside = Beside::start("keep-older");
    beside.servers.drain(..2);
    for number in 0..2 {
        let [data, away] = beside.data(number);
        fs::remove_dir_all(&data).unwrap();
        fs::rename(away, data).unwrap();
        beside.servers.push(beside.dir.server_at(beside.ports[number], ""));
    }
    let (mut broker, banner) = broker(&beside.dir, "");
    assert!(!banner.contains("founded a new"), "{banner}");
    assert_all(&mut broker, "old");
    answered(&mut broker, "GET new0", "new0 : NOT FOUND");
    answered(&mut broker, "PUT old0:{}", "CREATED");
    let status = broker.answer("STATUS");
    assert!(status.starts_with(&format!("cluster {}: ", beside.old)), "{status}");
}

#[test]
fn a_newer_cluster_takes_the_server_of_the_older_one_in_an_empty_directory() {
    let mut beside = Beside::start("keep-newer");
    drop(beside.servers.pop());
    let [data, away] = beside.data(2);
    fs::rename(data, away).unwrap();
    beside.servers.push(beside.dir.server_at(beside.ports[2], ""));
    let (mut broker, banner) = broker(&beside.dir, "");
    let joins = format!("127.0.0.1:{} is new to the cluster, and joins it", beside.ports[2]);
    assert!(banner.contains(&joins) && !banner.contains("founded a new"), "{banner}");
    let head = format!("cluster {}: whole, 3 of 3 servers up, ", beside.new);
    let status = status_until(&mut broker, |status| {
        status.starts_with(&head) && !status.contains("under way") && !status.contains("DEGRADED")
    });
    assert!(!status.contains("WARNING"), "{status}");
    // Whichever is down, the other two have everything.
    beside.servers.remove(0);
    assert_all(&mut broker, "new");
    answered(&mut broker, "PUT new0:{}", "CREATED");
}

#[test]
fn what_is_left_of_an_older_cluster_is_read_when_its_server_is_named_alone() {
    let beside = Beside::start("read-older");
    beside.dir.write("servers.txt", &format!("127.0.0.1 {}\n", beside.ports[2]));
    let mut broker = beside.dir.start("kvBroker", "-s servers.txt -k 1");
    let banner = broker.until_prompt();
    assert!(!banner.contains("founded a new"), "{banner}");
    let read = (0..RECORDS).filter(|n| {
        let answer = broker.answer(&format!("QUERY old{n}.n"));
        assert!(answer.starts_with("[WARNING] Data may be inconsistent."), "{answer}");
        answer.ends_with(&format!("old{n}.n : {n}"))
    });
    assert!(read.count() > 0, "nothing is left");
}

#[test]
fn fewer_than_a_majority_found_a_cluster_only_with_the_option_that_says_so() {
    let dir = Dir::new("few-found");
    let mut servers = three_servers(&dir);
    let gone: Vec<u16> = servers.drain(1..).map(|server| server.port).collect();
    let refused = |port| format!("[Errno 111] Connection refused 127.0.0.1 : {port}\n");
    let silent = [refused(gone[0]), refused(gone[1])].concat();
    let run = dir.run("kvBroker", "-s servers.txt -k 1", "");
    let error = "[Error] 1 of the 3 named servers answer, and belong to no cluster; a new one is founded \
                 with 2 at least, since those that are silent may hold an older one\n\
                 Start the silent servers. If none of them has any records, --found-without-majority \
                 founds a cluster of those that answer.\n";
    assert_eq!(run, Run::new(1, &silent, error));
    let run = dir.run("kvBroker", "-s servers.txt -k 1 --found-without-majority", "PUT a:{}\n");
    assert_eq!(run.status, 0, "{}", run.stderr);
    let told = format!("{silent}founded a new cluster of 1 server: cluster ");
    assert!(run.stdout.starts_with(&told), "{}", run.stdout);
    assert!(run.stdout.ends_with("kvStore> CREATED\nkvStore> "), "{}", run.stdout);
    // It is there now, whatever is down.
    let run = dir.run("kvBroker", "-s servers.txt -k 1", "GET a\n");
    assert!(run.stdout.ends_with("kvStore> a : {}\nkvStore> "), "{}", run.stdout);
    assert!(!run.stdout.contains("founded a new"), "{}", run.stdout);
}

#[test]
fn a_server_tells_where_its_data_are_and_whether_it_began_with_nothing() {
    let dir = Dir::new("data-told");
    let root = dir.path("").canonicalize().unwrap();
    let server = dir.server("");
    let data = root.join(format!("kvdata/127.0.0.1-{}", server.port));
    assert_eq!(server.data, format!("Data: in {}, empty: a new server\n", data.display()));
    let port = server.port;
    drop(server);
    let server = dir.server_at(port, "");
    assert_eq!(server.data, format!("Data: in {}, as it was left\n", data.display()));
    let named = dir.server("-d named");
    let data = root.join("named");
    assert_eq!(named.data, format!("Data: in {}, empty: a new server\n", data.display()));
    let memory = dir.server("--in-memory");
    assert_eq!(memory.data, "Data: in memory, gone when this server stops\n");
}

//! STATUS and EXPLAIN, and the warnings of records whose own servers are down.

use super::process::{Dir, Process};
use super::{UNSURE, broker, check};

/// The rows of STATUS that begin with this, as cells.
fn rows<'a>(status: &'a str, begin: &str) -> Vec<Vec<&'a str>> {
    let rows = status.lines().filter(|line| line.starts_with(begin));
    rows.map(|row| row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect()
}

/// The answer to STATUS once it is like this: elections take a moment.
pub(super) fn status_until(broker: &mut Process, is: impl Fn(&str) -> bool) -> String {
    let began = std::time::Instant::now();
    loop {
        let status = broker.answer("STATUS");
        if is(&status) {
            return status;
        }
        assert!(began.elapsed() < super::process::PATIENCE, "{status}");
    }
}

/// The port at the beginning of `127.0.0.1:9000 lag 0`.
fn port(cell: &str) -> u16 {
    let address = cell.trim_start_matches("leader ").split(' ').next().unwrap();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn status_and_explain_tell_of_servers_shards_and_copies() {
    let dir = Dir::new("status");
    let mut servers = super::three_servers(&dir);
    let (mut broker, _) = broker(&dir, "");
    check(&mut broker, &[("PUT a:{\"x\":1}", "CREATED"), ("PUT a b:{}", "CREATED")]);
    let status =
        status_until(&mut broker, |status| status.contains(": whole, 3 of 3 servers up, "));
    let head = status.lines().next().unwrap();
    assert!(head.starts_with("cluster "), "{head}");
    assert!(head.ends_with(" 8 shards of 3 copies (-k 2), map 9"), "{head}");
    let told = rows(&status, "127.0.0.1:");
    assert_eq!(told.len(), 3, "{status}");
    for row in &told {
        assert!(row[1].starts_with("up ") && row[2].ends_with(" of 9 groups"), "{row:?}");
        assert_eq!(row[3].len(), "id ".len() + 16, "{row:?}");
    }
    let shards = rows(&status, "shard ");
    assert_eq!((shards.len(), rows(&status, "group 0").len()), (8, 1), "{status}");
    for row in &shards {
        assert_eq!((row[1], row.len()), ("whole", 6), "{row:?}");
        assert!(row[2].contains(" record") && row[3].starts_with("leader "), "{row:?}");
    }
    let records = shards.iter().map(|row| row[2].split(' ').next().unwrap());
    assert_eq!(records.map(|records| records.parse::<u32>().unwrap()).sum::<u32>(), 2);

    for (key, end) in [("a", "version 1"), ("\"a b\"", "version "), ("none", "absent")] {
        let explained = broker.answer(&format!("EXPLAIN {key}"));
        assert!(explained.starts_with(&format!("{key} : shard ")), "{explained}");
        assert_eq!(rows(&explained, "127.0.0.1:").len(), 3, "{explained}");
        assert!(explained.lines().next().unwrap().ends_with(", whole"), "{explained}");
        let leader = explained.lines().find(|row| row.contains("  leader  ")).unwrap();
        assert!(leader.contains(end), "{explained}");
    }
    check(
        &mut broker,
        &[
            ("EXPLAIN", "[Error] Payload is missing!"),
            (
                "EXPLAIN \"a",
                "[Error | Invalid data format] Failed at pos 0 - the string is not closed",
            ),
            (
                "STATUS now",
                "[INFO] Invalid request type!\n\
                 [INFO] Supported types: PUT | GET | QUERY | DELETE",
            ),
            ("status", "[Error] Payload is missing!"),
        ],
    );

    let gone = servers.pop().unwrap().port;
    let status = status_until(&mut broker, |status| {
        rows(status, "shard ").iter().all(|row| row[1] == "DEGRADED")
    });
    let down = format!("127.0.0.1:{gone} DOWN");
    assert!(rows(&status, "shard ").iter().all(|row| row.contains(&down.as_str())), "{status}");
    let told = rows(&status, &format!("127.0.0.1:{gone}"));
    assert_eq!(told[0][1], "DOWN: [Errno 111] Connection refused", "{status}");
    let explained = broker.answer("EXPLAIN a");
    let lost = rows(&explained, &format!("127.0.0.1:{gone}"));
    assert_eq!(lost[0].last(), Some(&"unknown"), "{explained}");
    let run = broker.finish("");
    let shown = " |\n | EXPLAIN\n |        ^ expected a payload\n";
    assert!(run.stderr.starts_with(shown), "{}", run.stderr);
    let shown = "\n | EXPLAIN \"a\n |         ^ the string is not closed\n";
    assert!(run.stderr.contains(shown), "{}", run.stderr);
}

#[test]
fn only_a_record_whose_own_servers_have_no_majority_is_read_with_a_warning() {
    const KEYS: usize = 64;
    // Three of five servers hold each shard, or one of them does.
    for (copies, lost) in [(2, 2), (1, 1)] {
        let dir = Dir::new(&format!("per-key-{copies}"));
        let mut servers: Vec<_> = (0..5).map(|_| dir.server("")).collect();
        dir.write_servers(&servers);
        let mut broker = dir.start("kvBroker", &format!("-s servers.txt -k {copies}"));
        broker.until_prompt();
        for n in 0..KEYS {
            check(&mut broker, &[(&format!("PUT k{n}:{{\"n\":{n}}}"), "CREATED")]);
        }
        let status = status_until(&mut broker, |status| status.contains(": whole, 5 of 5"));
        let shards = rows(&status, "shard ");
        // As many servers of shard 0 as leave it no majority, and some other shard one.
        let holders = |row: &[&str]| row[3..].iter().map(|cell| port(cell)).collect::<Vec<_>>();
        let killed = holders(&shards[0])[..lost].to_vec();
        servers.retain(|server| !killed.contains(&server.port));
        let hit = |row: &[&str]| {
            let holders = holders(row);
            let left = holders.iter().filter(|port| !killed.contains(port)).count();
            left <= holders.len() / 2
        };
        let hit: Vec<bool> = shards.iter().map(|row| hit(row)).collect();
        assert!(hit.contains(&false), "{status}");
        let status = status_until(&mut broker, |status| {
            rows(status, "shard ").iter().zip(&hit).all(|(row, hit)| match row[1] {
                "NO MAJORITY" => *hit,
                "whole" | "DEGRADED" => !*hit,
                _ => false,
            })
        });
        assert!(status.lines().next().unwrap().contains(": NO MAJORITY, "), "{status}");

        let (mut warned, mut sure) = (0, 0);
        for n in 0..KEYS {
            let explained = broker.answer(&format!("EXPLAIN k{n}"));
            let head = explained.lines().next().unwrap();
            let shard = head.strip_prefix(&format!("k{n} : shard ")).unwrap();
            let (shard, _) = shard.split_once(',').unwrap();
            let answer = broker.answer(&format!("GET k{n}"));
            let put = broker.answer(&format!("PUT k{n}:{{\"n\":{n}}}"));
            let whole = format!("k{n} : {{\"n\": {n}}}");
            if hit[shard.parse::<usize>().unwrap()] {
                let unsure = UNSURE.replace("2 or more", &format!("{lost} or more"));
                let none = format!("k{n} : UNAVAILABLE (no copy can be reached)");
                let left = if copies == 1 { none } else { whole };
                assert_eq!(answer, format!("{unsure}\n{left}"), "{explained}");
                assert!(put.starts_with(super::NOT_ENOUGH), "{put}");
                warned += 1;
            } else {
                assert_eq!((answer, put.as_str()), (whole, "CREATED"), "{explained}");
                sure += 1;
            }
        }
        assert!(warned > 0 && sure > 0, "{warned} with a warning, {sure} without");
    }
}

#[test]
fn servers_join_and_leave_at_the_prompt() {
    let dir = Dir::new("members");
    let servers = super::three_servers(&dir);
    let (mut broker, _) = broker(&dir, "");
    check(&mut broker, &[("PUT a:{\"x\":1}", "CREATED")]);
    let fourth = dir.server("");
    let address = format!("127.0.0.1:{}", fourth.port);
    let joins = broker.answer(&format!("!JOIN 127.0.0.1 {}", fourth.port));
    assert_eq!(joins, format!("{address} : JOINS, STATUS tells how far it is"));
    let settled = |servers: usize| {
        move |status: &str| {
            let up = format!(": whole, {servers} of {servers} servers up, ");
            status.contains(&up) && !status.contains("under way")
        }
    };
    let status = status_until(&mut broker, settled(4));
    let row = rows(&status, &address).remove(0);
    assert!(row[2].starts_with("leads ") && row[2] != "leads 0 of 0 groups", "{row:?}");
    check(&mut broker, &[("GET a", "a : {\"x\": 1}"), ("PUT a:{\"x\":2}", "CREATED")]);

    let first = servers[0].port;
    let leaves = broker.answer(&format!("!LEAVE 127.0.0.1 {first}"));
    assert_eq!(leaves, format!("127.0.0.1:{first} : LEAVES, STATUS tells how far it is"));
    let status = status_until(&mut broker, settled(3));
    assert!(rows(&status, &format!("127.0.0.1:{first}")).is_empty(), "{status}");
    let left = format!(
        "[Error] the server at 127.0.0.1:{first} has left the cluster; it can join again from an \
         empty directory"
    );
    let usage = "[Error] write !JOIN HOST PORT, or !JOIN [::1]:9000 for IPv6";
    check(
        &mut broker,
        &[
            ("GET a", "a : {\"x\": 2}"),
            (&format!("!JOIN 127.0.0.1 {first}"), &left),
            ("!JOIN", usage),
            (&format!("!JOIN 127.0.0.1:{first}"), &left),
            ("!LEAVE 127.0.0.1 1", "[Error] no server of the cluster is at 127.0.0.1:1"),
            ("!UNSAFE-RECOVER x", "[Error] write !UNSAFE-RECOVER SHARD, with the shard's number"),
        ],
    );
    let whole = broker.answer("!UNSAFE-RECOVER 0");
    assert!(whole.starts_with("[Error] shard 0 has not lost its majority"), "{whole}");
    // Two servers are as many as -k asks for, and one fewer than hold each record.
    let leaves = broker.answer(&format!("!LEAVE 127.0.0.1 {}", servers[1].port));
    let cost = "\n[WARNING] 2 servers stay, too few for the 3 copies that -k 2 asks for: each record \
                has 2 copies then, and takes no write while one of them is down. !JOIN another server.";
    assert!(leaves.ends_with(cost), "{leaves}");
}

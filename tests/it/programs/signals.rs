//! Signals that come at any time: while a server starts, waits for its disk, or for other servers.

use std::fs;
use std::time::{Duration, Instant};

use super::process::{Dir, Process, Run};
use super::{broker, check, kill, three_servers};

/// Much longer than a server takes to end, and much shorter than what it waits for here.
const SOON: Duration = Duration::from_secs(20);

/// Holds a lease on a file: whoever opens it waits until the lease is broken by force, 45 seconds
/// later, as for a disk that does not answer.
const LEASE: &str = "import fcntl, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
try:
    file = open(sys.argv[1], 'r+')
    fcntl.fcntl(file, 1024, fcntl.F_WRLCK)
    print('held', flush=True)
except Exception as error:
    print(error, flush=True)
    sys.exit()
signal.sigwait([signal.SIGIO])
print('asked', flush=True)
sys.stdin.read()
";

/// Has whoever opens the file wait; none where the system has no leases.
fn hold(dir: &Dir, file: &str) -> Option<Process> {
    let path = dir.path(file);
    let mut holder = dir.command("python3", &["-c", LEASE, path.to_str().unwrap()]);
    let said = holder.until("\n");
    if said == "held\n" {
        return Some(holder);
    }
    println!("skipped: no lease on a file here: {said}");
    None
}

/// Sends the signal, and checks that the server ends soon with this status.
fn ends_soon(signal: &str, server: Process, status: i32) -> Run {
    let began = Instant::now();
    kill(signal, &server);
    let run = server.end();
    assert!(began.elapsed() < SOON, "{signal}: it took {:?}", began.elapsed());
    assert_eq!(run.status, status, "{signal}: {}", run.stderr);
    run
}

#[test]
fn a_server_that_cannot_read_its_directory_yet_ends_at_a_signal() {
    let dir = Dir::new("signal-start");
    for (signal, status) in [("TERM", 0), ("HUP", 0), ("INT", 130)] {
        fs::create_dir_all(dir.path("data")).unwrap();
        dir.write("data/identity", "");
        let Some(mut holder) = hold(&dir, "data/identity") else { return };
        let server = dir.start("kvServer", "-a 127.0.0.1 -p 0 -d data");
        holder.until("asked\n");
        let run = ends_soon(signal, server, status);
        assert_eq!(run.stdout, "", "it did not listen");
    }
}

#[test]
fn a_server_whose_disk_does_not_answer_ends_at_a_signal() {
    let dir = Dir::new("signal-disk");
    let server = dir.server("-d data");
    dir.write_servers(std::slice::from_ref(&server));
    // The first thing that a broker has it write.
    dir.write("data/map.new", "");
    let Some(mut holder) = hold(&dir, "data/map.new") else { return };
    let _broker = dir.start("kvBroker", "-s servers.txt -k 1");
    holder.until("asked\n");
    ends_soon("TERM", server, 0);
}

#[test]
fn a_server_whose_peers_are_silent_ends_at_a_signal() {
    let dir = Dir::new("signal-peers");
    let mut servers = three_servers(&dir);
    let (mut broker, _) = broker(&dir, "");
    check(&mut broker, &[("PUT a:{\"x\":1}", "CREATED")]);
    for silent in &servers[1..] {
        kill("STOP", silent);
    }
    ends_soon("TERM", servers.remove(0), 0);
}

#[test]
fn a_hang_up_ends_a_server_cleanly_unless_it_was_ignored_at_the_start() {
    let dir = Dir::new("signal-hang-up");
    ends_soon("HUP", dir.server("-d data"), 0);
    let server = dir.server_after("trap '' HUP", "-d data");
    kill("HUP", &server);
    dir.write_servers(std::slice::from_ref(&server));
    let mut broker = dir.start("kvBroker", "-s servers.txt -k 1");
    broker.until_prompt();
    check(&mut broker, &[("PUT a:{\"x\":1}", "CREATED")]);
    ends_soon("TERM", server, 0);
}

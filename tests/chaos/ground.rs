//! What this machine allows: a network of its own for the servers, file systems that get full, and
//! processes that end with this one. What it does not allow is left out, by name.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use clap::ValueEnum;

/// Room of a file system that gets full: for some segments of the log and two snapshots.
const MOUNT_BYTES: u64 = 384 << 20;

/// The user ids of the servers, by which the network tells them apart, follow this one.
const USERS: usize = 20_000;

#[derive(Debug)]
pub(crate) struct Ground {
    /// Whether the network is this run's own.
    has_network: bool,
    /// Whether the network can be cut between servers.
    pub(crate) cuts: bool,
    /// Whether a directory can be given a small file system.
    pub(crate) mounts: bool,
    /// How a program is told to end with its parent, where that does not happen by itself.
    with_parent: &'static [&'static str],
    /// What does not work here, and what is left out for it.
    pub(crate) missing: Vec<String>,
}

/// What a run has for itself: what is started and mounted there is gone when its first process ends.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Own {
    /// Processes and mounts.
    Mounts,
    /// And the network.
    Network,
}

impl Own {
    /// The command that runs others in such namespaces, and ends them when it is ended.
    fn command(self) -> Vec<&'static str> {
        let unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let network = if self == Self::Network { &["--net"][..] } else { &[] };
        [&WITH_PARENT[..], &unshare, network].concat()
    }

    fn probe(self) -> &'static [&'static str] {
        if self == Self::Network { &LOOPBACK } else { &["true"] }
    }
}

impl Ground {
    /// Runs this program in namespaces of its own, which end with it whatever ends it. Fails with
    /// what is in the way where that is not allowed.
    pub(crate) fn isolate() -> Result<ExitStatus, String> {
        let works = |own: Own| run("setpriv", &[&own.command(), own.probe()].concat());
        let (own, name) = match works(Own::Network) {
            Ok(()) => (Own::Network, "network"),
            Err(_) => works(Own::Mounts).map(|()| (Own::Mounts, "mounts"))?,
        };
        let program = env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new("setpriv");
        command.args(own.command()).arg(program).args(env::args_os().skip(1));
        command.args(["--own", name]).status().map_err(|error| error.to_string())
    }

    /// Looks at what works.
    pub(crate) fn find(own: Option<Own>, why_not: Option<String>) -> Self {
        let mut missing = Vec::new();
        let mut note = |outcome: Result<(), String>, without: &str| {
            let error = outcome.as_ref().err();
            missing.extend(error.map(|error| format!("{without}: {error}")));
            outcome.is_ok()
        };
        let has_network = own == Some(Own::Network);
        let network = if has_network {
            let user = [&["--reuid", "20001"][..], &AS_USER, &["true"]].concat();
            run(LOOPBACK[0], &LOOPBACK[1..])
                .and_then(|()| run("nft", &["add", "table", "inet", "chaos"]))
                .and_then(|()| run("setpriv", &user))
        } else {
            let why_not = run("unshare", &[&["--net"], &LOOPBACK[..]].concat());
            why_not.and(Err("there is no network for this run alone".to_owned()))
        };
        let mount = match own {
            Some(_) => run("mount", &["-t", "tmpfs", "tmpfs", "/mnt"]),
            None => Err(why_not.unwrap_or_default()),
        };
        let cuts = note(network, "no partitions");
        let mounts = note(mount, "no full disks");
        let works = run("setpriv", &[&WITH_PARENT[..], &["true"]].concat());
        let without = "servers outlive this program if it is killed";
        let is_told = own.is_none() && note(works, without);
        let with_parent = if is_told { &WITH_PARENT[..] } else { &[] };
        Self { has_network, cuts, mounts, with_parent, missing }
    }

    /// The command that starts a program as the server of this number.
    pub(crate) fn command(&self, program: &Path, number: usize) -> Command {
        if !self.cuts && self.with_parent.is_empty() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        if self.cuts {
            command.arg("--reuid").arg(user(number).to_string()).args(AS_USER);
        }
        command.args(self.with_parent).arg(program);
        command
    }

    /// The address of a server, and the port: 0 where the system chooses one.
    pub(crate) fn address(&self, number: usize) -> (String, u16) {
        if self.has_network { (address(number), PORT) } else { ("127.0.0.1".to_owned(), 0) }
    }
}

/// Another user, who may still read and write all files, as root may.
const AS_USER: [&str; 3] =
    ["--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"];

/// The command that makes a connection to this machine work in a new network.
const LOOPBACK: [&str; 5] = ["ip", "link", "set", "lo", "up"];

/// What tells a program to end with its parent.
const WITH_PARENT: [&str; 2] = ["--pdeathsig", "KILL"];

/// The port of each server in a network of its own: below those that connections are given, so that
/// none takes that of a server that is down.
const PORT: u16 = 7070;

/// The address of a server in a network of its own. All connections come from 127.0.0.1, so that is
/// the address of none.
fn address(number: usize) -> String {
    format!("127.0.0.{}", number + 2)
}

fn user(number: usize) -> usize {
    USERS + 1 + number
}

/// The rules that let no connection begin from one server to another.
pub(crate) struct Cuts;

impl Cuts {
    /// Drops what each of these servers sends on connections that it has to the other one.
    pub(crate) fn cut(pairs: &[(usize, usize)]) -> Result<(), String> {
        let hook = "{ type filter hook output priority 0; }";
        let rule = |(from, to): &(usize, usize)| {
            let (user, to) = (user(*from), address(*to));
            let matches = format!("meta skuid {user} ip daddr {to} tcp dport {PORT}");
            format!("add rule inet chaos out {matches} counter drop\n")
        };
        let rules: String = pairs.iter().map(rule).collect();
        let rules = format!("add chain inet chaos out {hook}\n{rules}");
        run("nft", &[&rules]).map_err(|error| format!("{error} of {rules}"))
    }

    /// Removes them, and returns how many packets they have dropped.
    pub(crate) fn heal() -> Result<u64, String> {
        let rules = output("nft", &["list", "chain", "inet", "chaos", "out"])?;
        run("nft", &["flush chain inet chaos out"])?;
        let words: Vec<&str> = rules.split_whitespace().collect();
        let counts = words.windows(2).filter(|pair| pair[0] == "packets");
        Ok(counts.filter_map(|pair| pair[1].parse::<u64>().ok()).sum())
    }
}

/// A small file system, unmounted when it is dropped.
#[derive(Debug)]
pub(crate) struct Mount(PathBuf);

impl Mount {
    pub(crate) fn new(directory: &Path) -> Result<Self, String> {
        fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        let size = format!("size={MOUNT_BYTES},mode=0777");
        let directory_text = directory.to_string_lossy();
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &directory_text])?;
        Ok(Self(directory.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let zeros = vec![0; 64 << 10];
        let mut file = fs::File::create(self.ballast())?;
        loop {
            match io::Write::write_all(&mut file, &zeros) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn free(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }

    /// Copies what is there to a place that stays.
    pub(crate) fn keep(&self) -> Result<(), String> {
        let from = self.0.to_string_lossy();
        run("cp", &["-a", &from, &format!("{from}-kept")])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What is still mounted goes with the namespace.
        let _ = run("umount", &["--lazy", &self.0.to_string_lossy()]);
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    output(program, arguments).map(|_| ())
}

fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

//! The servers: kvServer as child processes with a directory each, killed when they are dropped.

use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ground::{Ground, Mount, run};

/// How long a server may take to start or to stop: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client sends first, and how many bytes it gets back.
const HELLO: [u8; 8] = *b"triekv\x01\x00";

/// Cargo puts examples beside the directory of the test programs.
fn program() -> Result<PathBuf, String> {
    let tests = env::current_exe().map_err(|error| error.to_string())?;
    let name = format!("kvServer{}", env::consts::EXE_SUFFIX);
    let target = tests.ancestors().nth(2).ok_or("this program is in no target directory")?;
    let program = target.join("examples").join(name);
    if program.exists() {
        Ok(program)
    } else {
        Err(format!("{} is missing: run cargo build --examples", program.display()))
    }
}

/// Where the directories of runs are.
const DIRECTORIES: &str = env!("CARGO_TARGET_TMPDIR");

/// What a pipe takes, as a rule, and what is left of it for a log that is not read.
const PIPE_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 4 << 10;

/// The place to which the log of a server goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// Into its file.
    File,
    /// Into a pipe that is nearly full, and whose reader does not read.
    Unread,
    /// Into a pipe whose reader has gone.
    Closed,
}

#[derive(Debug)]
pub(crate) struct Server {
    number: usize,
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    address: String,
    port: u16,
    child: Option<Child>,
    /// Up to where the log was read.
    read: u64,
    /// The other end of its log, if that goes into a pipe that is not read.
    unread: Option<PipeReader>,
    /// The groups that it leads, by its log.
    leads: BTreeSet<String>,
    /// How often it came to lead a group.
    elections: u64,
    pub(crate) mount: Option<Mount>,
}

impl Server {
    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    fn start(&mut self, ground: &Ground, log: Log) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_start(ground, log) {
                // Another program may have been given its port meanwhile, for a connection.
                Err(error) if self.port != 0 && error.contains("in use") => {
                    if Instant::now() > until {
                        return Err(error);
                    }
                    thread::sleep(Duration::from_millis(100));
                }
                outcome => return outcome,
            }
        }
    }

    fn try_start(&mut self, ground: &Ground, log: Log) -> Result<(), String> {
        let io = |error: std::io::Error| format!("server {}: {error}", self.number);
        let file = File::options().create(true).append(true).open(&self.log).map_err(io)?;
        let began = file.metadata().map_err(io)?.len();
        let (unread, mut written) = std::io::pipe().map_err(io)?;
        if log == Log::Unread {
            written.write_all(&vec![b'\n'; PIPE_BYTES - PAGE_BYTES]).map_err(io)?;
        }
        let stderr: Stdio = if log == Log::File { file.into() } else { written.into() };
        self.unread = (log == Log::Unread).then_some(unread);
        let mut command = ground.command(&self.program, self.number);
        command.args(["-a", &self.address, "-p", &self.port.to_string()]);
        command.arg("-d").arg(&self.data);
        command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
        if log != Log::File {
            command.env("RUST_LOG", "trace");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(io)?;
        let stdout = child.stdout.take().ok_or("there is no standard output")?;
        // From here on it is killed, whatever comes.
        self.child = Some(child);
        let (sender, line) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = line.recv_timeout(PATIENCE).unwrap_or_default();
        let port = line.split_once(", ").and_then(|(_, port)| port.trim_end().strip_suffix(')'));
        match port.and_then(|port| port.parse().ok()) {
            Some(port) if line.starts_with("Binding the Port: ") => {
                self.port = port;
                self.leads.clear();
                Ok(())
            }
            _ => {
                let status = self.kill();
                let said = self.log_from(began);
                Err(format!("server {} did not start, {status:?}: {said}", self.number))
            }
        }
    }

    /// Whether the server, which was stopped, had a log that was not read and that lacks its end.
    pub(crate) fn lost_its_log(&mut self) -> bool {
        let mut log = String::new();
        let Some(mut unread) = self.unread.take() else { return false };
        unread.read_to_string(&mut log).is_ok() && !log.contains(" stopping ")
    }

    pub(crate) fn signal(&self, name: &str) -> Result<(), String> {
        let child = self.child.as_ref().ok_or("the server is down")?;
        // Every shell has one; not every system has the program.
        run("sh", &["-c", &format!("kill -s {name} {}", child.id())])
    }

    /// Takes its directory back to what it was at the first call, as a disk does that forgets what
    /// it has synced. The server must be down.
    pub(crate) fn forget(&self) -> Result<(), String> {
        let kept = self.log.with_extension("before");
        let (data, kept_text) = (self.data.to_string_lossy(), kept.to_string_lossy());
        if kept.exists() {
            let restore = format!("rm -f '{data}'/* && cp -a '{kept_text}'/. '{data}'");
            return run("sh", &["-c", &restore]);
        }
        run("cp", &["-a", &data, &kept_text])
    }

    /// Copies its directory. The server must be down.
    pub(crate) fn copy(&self) -> Result<(), String> {
        let (data, copy) = (self.data.to_string_lossy(), self.copied());
        run("sh", &["-c", &format!("rm -rf '{copy}' && cp -a '{data}' '{copy}'")])
    }

    /// Puts the copy in the place of its directory. The server must be down.
    pub(crate) fn put_back(&self) -> Result<(), String> {
        let (data, copy) = (self.data.to_string_lossy(), self.copied());
        run("sh", &["-c", &format!("rm -f '{data}'/* && cp -a '{copy}'/. '{data}'")])
    }

    fn copied(&self) -> String {
        self.log.with_extension("copy").to_string_lossy().into_owned()
    }

    /// Kills it as `kill -9` does, if it runs.
    pub(crate) fn kill(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        // An error means that it has ended already.
        let _ = child.kill();
        self.leads.clear();
        child.wait().ok()
    }

    /// Stops it as a service manager does; says whether it ended as it should.
    pub(crate) async fn stop(&mut self) -> Result<(), String> {
        self.signal("TERM")?;
        let until = Instant::now() + PATIENCE;
        let mut child = self.child.take().ok_or("the server is down")?;
        loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.code() == Some(0) => break,
                Some(status) => return Err(format!("server {} stopped: {status}", self.number)),
                None if Instant::now() > until => {
                    self.child = Some(child);
                    return Err(format!("server {} does not stop", self.number));
                }
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        self.leads.clear();
        Ok(())
    }

    /// Whether it greets whoever connects.
    pub(crate) fn greets(&self, patience: Duration) -> bool {
        let greet = || -> std::io::Result<()> {
            let address: SocketAddr = self.endpoint().parse().map_err(std::io::Error::other)?;
            let mut stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(&HELLO)?;
            stream.read_exact(&mut [0; HELLO.len()])
        };
        greet().is_ok()
    }

    fn log_from(&self, offset: u64) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log)
            && file.seek(SeekFrom::Start(offset)).is_ok()
        {
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Reads on in its log: who leads.
    fn read_log(&mut self) {
        let text = self.log_from(self.read);
        // A line that is being written is for the next time.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in text[..whole].lines() {
            let Some((_, event)) = line.split_once("triekv::replication::") else { continue };
            if event.starts_with("server: listening") {
                self.leads.clear();
                continue;
            }
            let Some(event) = event.strip_prefix("raft: ") else { continue };
            let Some((what, group)) = event.split_once(" group=") else { continue };
            // A field of its own follows.
            let group = group
                .split_once('=')
                .map_or(group, |(head, _)| head.rsplit_once(' ').map_or(head, |(group, _)| group));
            if what == "leads" {
                self.elections += 1;
                self.leads.insert(group.to_owned());
            } else {
                self.leads.remove(group);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) ground: Ground,
    pub(crate) all: Vec<Server>,
    /// Removed after the servers have ended.
    directory: TempDir,
}

impl Servers {
    /// Starts this many servers, each in a directory of its own below a new one.
    pub(crate) fn start(ground: Ground, count: usize, seed: u64) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("chaos-").tempdir_in(DIRECTORIES);
        let directory = directory.map_err(|error| format!("{DIRECTORIES}: {error}"))?;
        let mut servers = Self { ground, all: Vec::new(), directory };
        for _ in 0..count {
            servers.add(seed)?;
        }
        Ok(servers)
    }

    /// Starts one more server, in a directory of its own; gives its number.
    pub(crate) fn add(&mut self, seed: u64) -> Result<usize, String> {
        let number = self.all.len();
        let directory = self.directory.path();
        let data = directory.join(format!("server{number}"));
        // One of the first ones syncs to the disk that is there.
        let mounts = self.ground.mounts && number as u64 != seed % 3;
        let mount = mounts.then(|| Mount::new(&data)).transpose()?;
        let (address, port) = self.ground.address(number);
        self.all.push(Server {
            number,
            program: program()?,
            data,
            log: directory.join(format!("server{number}.log")),
            address,
            port,
            child: None,
            read: 0,
            unread: None,
            leads: BTreeSet::new(),
            elections: 0,
            mount,
        });
        self.restart(number)?;
        Ok(number)
    }

    pub(crate) fn restart(&mut self, number: usize) -> Result<(), String> {
        self.restart_with(number, Log::File)
    }

    pub(crate) fn restart_with(&mut self, number: usize, log: Log) -> Result<(), String> {
        self.all[number].start(&self.ground, log)
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.all.iter().map(Server::endpoint).collect()
    }

    /// How many shards each server leads, by what they have logged; without those that two of them
    /// lead, since one does not know yet that it was replaced.
    pub(crate) fn leads(&mut self) -> Vec<usize> {
        self.read_logs();
        let running = || self.all.iter().filter(|server| server.is_running());
        let is_led_once = |group: &&String| {
            let leaders = running().filter(|server| server.leads.contains(*group));
            group.starts_with("shard") && leaders.count() == 1
        };
        let shards = |server: &Server| server.leads.iter().filter(is_led_once).count();
        let shards = |server: &Server| if server.is_running() { shards(server) } else { 0 };
        self.all.iter().map(shards).collect()
    }

    /// How often a server came to lead a group.
    pub(crate) fn elections(&mut self) -> Vec<u64> {
        self.read_logs();
        self.all.iter().map(|server| server.elections).collect()
    }

    fn read_logs(&mut self) {
        self.all.iter_mut().for_each(Server::read_log);
    }

    /// Whether all that should run do.
    pub(crate) fn check_running(&mut self) -> Result<(), String> {
        for server in &mut self.all {
            let Some(child) = &mut server.child else { continue };
            if let Ok(Some(status)) = child.try_wait() {
                let signal = status.signal();
                let number = server.number;
                return Err(format!("server {number} ended by itself: {status}, {signal:?}"));
            }
        }
        Ok(())
    }

    /// Whether no server has panicked.
    pub(crate) fn check_logs(&self) -> Result<(), String> {
        for server in &self.all {
            let log = server.log_from(0);
            if let Some(line) = log.lines().find(|line| line.contains("panicked at")) {
                return Err(format!("server {}: {line}", server.number));
            }
        }
        Ok(())
    }

    /// The last lines of each log.
    pub(crate) fn tails(&self, lines: usize) -> String {
        let tail = |server: &Server| {
            let log = server.log_from(0);
            let all: Vec<&str> = log.lines().collect();
            let tail = all[all.len().saturating_sub(lines)..].join("\n");
            format!("--- server {} at {}\n{tail}\n", server.number, server.endpoint())
        };
        self.all.iter().map(tail).collect()
    }

    /// Kills all of them and leaves what they have on disk there; returns where.
    pub(crate) fn end_and_keep(mut self) -> Result<PathBuf, String> {
        for server in &mut self.all {
            server.kill();
            if let Some(mount) = server.mount.take() {
                mount.keep()?;
            }
        }
        self.directory.disable_cleanup(true);
        Ok(self.directory.path().to_owned())
    }
}

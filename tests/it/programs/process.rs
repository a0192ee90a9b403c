//! Programs as child processes, killed when they are dropped.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const PROMPT: &str = "kvStore> ";

/// How long a program may be silent before it counts as hung: far more than it ever needs.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// Cargo puts examples beside the directory of the test programs.
pub(super) fn program(name: &str) -> PathBuf {
    let tests = env::current_exe().unwrap();
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is missing: run cargo build --examples", program.display());
    program
}

/// A directory of one test, in which its programs run; removed when the test passes.
pub(super) struct Dir(PathBuf);

impl Dir {
    pub(super) fn new(test: &str) -> Self {
        let name = format!("programs-{test}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Starts a program in the directory.
    pub(super) fn start(&self, name: &str, args: &str) -> Process {
        let mut command = Command::new(program(name));
        command.current_dir(&self.0).args(args.split_ascii_whitespace()).env_remove("RUST_LOG");
        Process::new(command)
    }

    /// Starts a server on a port that the system chooses; returns once it listens.
    pub(super) fn server(&self, args: &str) -> Process {
        Self::listening(self.start("kvServer", &format!("-a 127.0.0.1 -p 0 {args}")))
    }

    /// Starts a program that is none of ours.
    #[cfg(unix)]
    pub(super) fn command(&self, name: &str, args: &[&str]) -> Process {
        let mut command = Command::new(name);
        command.current_dir(&self.0).args(args);
        Process::new(command)
    }

    /// Starts a server that may have this many files and connections open.
    #[cfg(unix)]
    pub(super) fn server_of_files(&self, files: u32, args: &str) -> Process {
        self.server_after(&format!("ulimit -n {files}"), args)
    }

    /// Starts a server in a shell, after this command.
    #[cfg(unix)]
    pub(super) fn server_after(&self, before: &str, args: &str) -> Process {
        let mut command = Command::new("sh");
        let shell = format!("{before} && exec \"$0\" -a 127.0.0.1 -p 0 {args}");
        command.current_dir(&self.0).arg("-c").arg(shell).arg(program("kvServer"));
        command.env_remove("RUST_LOG");
        Self::listening(Process::new(command))
    }

    pub(super) fn listening(mut server: Process) -> Process {
        let line = server.until("\n");
        let port = line.strip_prefix("Binding the Port: ('127.0.0.1', ").expect(&line);
        server.port = port.trim_end_matches(")\n").parse().unwrap();
        server.data = server.until("\n");
        server
    }

    /// Starts a server on a port that one had before.
    pub(super) fn server_at(&self, port: u16, args: &str) -> Process {
        let mut server = self.start("kvServer", &format!("-a 127.0.0.1 -p {port} {args}"));
        server.until(&format!("Binding the Port: ('127.0.0.1', {port})\n"));
        server.data = server.until("\n");
        server.port = port;
        server
    }

    /// Names the servers in `servers.txt`.
    pub(super) fn write_servers(&self, servers: &[Process]) {
        let lines = servers.iter().map(|server| format!("127.0.0.1 {}\n", server.port));
        self.write("servers.txt", &lines.collect::<String>());
    }

    /// Runs a program to its end, with this on its standard input.
    pub(super) fn run(&self, name: &str, args: &str, input: &str) -> Run {
        self.start(name, args).finish(input)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !thread::panicking() {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

/// How a program ended, and what it said last.
#[derive(Debug, PartialEq)]
pub(super) struct Run {
    pub(super) status: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Run {
    pub(super) fn new(status: i32, stdout: &str, stderr: &str) -> Self {
        Self { status, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    pub(super) fn success(stdout: &str) -> Self {
        Self::new(0, stdout, "")
    }
}

pub(super) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Standard output, as it comes; at its end nobody sends any more.
    output: Receiver<Vec<u8>>,
    /// What has come and was not asked for yet.
    unread: Vec<u8>,
    errors: Option<JoinHandle<String>>,
    /// Where it listens, if it is a server.
    pub(super) port: u16,
    /// The line in which a server names its data.
    pub(super) data: String,
}

impl Process {
    pub(super) fn new(command: Command) -> Self {
        Self::with_stderr(command, Stdio::piped())
    }

    /// Starts it with this as its standard error, which is read if it is a pipe made here.
    pub(super) fn with_stderr(mut command: Command, stderr: Stdio) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        // The command has the other ends, which are to be those of the program alone.
        drop(command);
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = child.stderr.take();
        let (sender, output) = channel();
        thread::spawn(move || {
            while let Ok(part @ [_, ..]) = stdout.fill_buf() {
                let part = part.to_vec();
                stdout.consume(part.len());
                if sender.send(part).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut errors = String::new();
            stderr.map(|mut stderr| stderr.read_to_string(&mut errors).unwrap());
            errors
        });
        Self {
            child,
            stdin,
            output,
            unread: Vec::new(),
            errors: Some(errors),
            port: 0,
            data: String::new(),
        }
    }

    /// Standard output up to the next `mark`, and that.
    pub(super) fn until(&mut self, mark: &str) -> String {
        let mut searched = 0;
        loop {
            let rest = &self.unread[searched..];
            if let Some(at) = rest.windows(mark.len()).position(|part| part == mark.as_bytes()) {
                let rest = self.unread.split_off(searched + at + mark.len());
                let text = std::mem::replace(&mut self.unread, rest);
                return String::from_utf8(text).unwrap();
            }
            searched = self.unread.len().saturating_sub(mark.len());
            match self.output.recv_timeout(PATIENCE) {
                Ok(part) => self.unread.extend(part),
                Err(error) => {
                    let said = String::from_utf8_lossy(&self.unread).into_owned();
                    panic!("no {mark:?} came ({error}) after {said:?}");
                }
            }
        }
    }

    /// What a broker says before its next prompt.
    pub(super) fn until_prompt(&mut self) -> String {
        let text = self.until(PROMPT);
        text.strip_suffix(PROMPT).unwrap().to_owned()
    }

    /// Types a line at a broker's prompt, and returns its answer.
    pub(super) fn answer(&mut self, line: &str) -> String {
        self.answer_bytes(format!("{line}\n").as_bytes())
    }

    pub(super) fn answer_bytes(&mut self, line: &[u8]) -> String {
        self.stdin.as_mut().unwrap().write_all(line).unwrap();
        let answer = self.until_prompt();
        answer.strip_suffix('\n').unwrap_or(&answer).to_owned()
    }

    /// Types this, ends the input and waits for the end.
    pub(super) fn finish(mut self, input: &str) -> Run {
        let mut stdin = self.stdin.take().unwrap();
        let input = input.to_owned();
        let typing = thread::spawn(move || match stdin.write_all(input.as_bytes()) {
            // It may end before it has read everything.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("{error}"),
            _ => {}
        });
        let run = self.end();
        typing.join().unwrap();
        run
    }

    /// Waits for the end.
    pub(super) fn end(mut self) -> Run {
        let mut stdout = std::mem::take(&mut self.unread);
        loop {
            match self.output.recv_timeout(PATIENCE) {
                Ok(part) => stdout.extend(part),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&stdout)),
            }
        }
        let status = self.child.wait().unwrap().code().expect("no signal ended the program");
        let stderr = self.errors.take().unwrap().join().unwrap();
        Run { status, stdout: String::from_utf8(stdout).unwrap(), stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, given by name.
#[cfg(unix)]
pub(super) fn kill(signal: &str, process: &Process) {
    let pid = process.child.id().to_string();
    let kill = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
    assert!(kill.success());
}

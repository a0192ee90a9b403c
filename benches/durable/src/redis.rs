//! A Redis server with an append-only file, and a client of it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server of our own, stopped when it is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    /// Starts a server with its files in `directory`, and waits until it answers: until it has
    /// loaded what is there.
    pub(crate) fn start(program: &str, directory: &Path) -> io::Result<Self> {
        // Free a moment ago; Redis cannot choose one itself.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--auto-aof-rewrite-percentage", "0", "--dir"])
            .arg(directory)
            .stdout(Stdio::null())
            .spawn()?;
        let mut redis = Self { process, port };
        let begun = Instant::now();
        loop {
            if let Ok(mut client) = redis.client()
                && client.is_ready()?
            {
                return Ok(redis);
            }
            if let Some(status) = redis.process.try_wait()? {
                return Err(io::Error::other(format!("{program} ended: {status}")));
            }
            if begun.elapsed() > Duration::from_mins(1) {
                return Err(io::Error::other(format!("{program} does not answer")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn client(&self) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Client { stream, answers, request: Vec::new() })
    }

    /// Ends the server as a crash would; what it acknowledged is in its file.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    answers: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Client {
    fn is_ready(&mut self) -> io::Result<bool> {
        self.send(&[b"PING"])?;
        Ok(self.answer()?.starts_with('+'))
    }

    /// Sets a key and waits for the answer.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.set_all([(key, value)])
    }

    /// Sets many keys, all requests before the first answer.
    pub(crate) fn set_all<'a>(
        &mut self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> io::Result<()> {
        let mut count = 0;
        self.request.clear();
        for (key, value) in pairs {
            encode(&mut self.request, &[b"SET", key.as_bytes(), value.as_bytes()]);
            count += 1;
        }
        self.stream.write_all(&self.request)?;
        for _ in 0..count {
            let answer = self.answer()?;
            if answer != "+OK" {
                return Err(io::Error::other(answer));
            }
        }
        Ok(())
    }

    /// The value of a key.
    pub(crate) fn get(&mut self, key: &str) -> io::Result<Option<String>> {
        self.send(&[b"GET", key.as_bytes()])?;
        let head = self.answer()?;
        let len: i64 = head.strip_prefix('$').and_then(|len| len.parse().ok()).unwrap_or(-1);
        let Ok(len) = usize::try_from(len) else { return Ok(None) };
        let mut bytes = vec![0; len + 2];
        self.answers.read_exact(&mut bytes)?;
        bytes.truncate(len);
        String::from_utf8(bytes).map(Some).map_err(io::Error::other)
    }

    fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        self.request.clear();
        encode(&mut self.request, words);
        self.stream.write_all(&self.request)
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

fn encode(request: &mut Vec<u8>, words: &[&[u8]]) {
    request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
}

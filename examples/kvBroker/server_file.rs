//! The server file, `HOST PORT` a line, and addresses at the prompt.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddrV6;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where a server listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// A name or an address; of IPv6 in the one usual spelling, without brackets.
    host: String,
    port: u16,
}

impl ServerAddress {
    /// The address as the transport wants it.
    pub(crate) fn joined(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} : {}", self.host, self.port)
    }
}

#[derive(Debug, Error)]
pub(crate) enum ServerFileError {
    #[error("cannot read {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}:{line}: {problem}", path.display())]
    Line { path: PathBuf, line: usize, problem: Problem },
}

/// How an address is written.
const WRITE: &str = "write HOST PORT, as in 127.0.0.1 9000, ::1 9000 or [::1]:9000";

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Problem {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("the port is missing: {WRITE}")]
    MissingPort,
    #[error("'{0}' is no host: {WRITE}")]
    NotAHost(String),
    #[error("'{0}' after the port: {WRITE}")]
    ExtraField(String),
    #[error("'{0}' is no port: a port is a number from 1 to 65535")]
    NotAPort(String),
    #[error("U+{:04X} is no blank: {WRITE}", u32::from(*.0))]
    NotABlank(char),
    #[error("the same server as in line {0}")]
    Twice(usize),
}

/// The servers that the file at `path` names, in its order.
pub(crate) fn read(path: &Path) -> Result<Vec<ServerAddress>, ServerFileError> {
    let fail = |source| ServerFileError::Io { path: path.to_owned(), source };
    let content = fs::read(path).map_err(fail)?;
    // A byte order mark is what some editors begin a file with.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
    let mut servers: Vec<(usize, ServerAddress)> = Vec::new();
    for (line, text) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let fail = |problem| ServerFileError::Line { path: path.to_owned(), line, problem };
        let text = str::from_utf8(text).map_err(|_| fail(Problem::NotUtf8))?;
        let Some(server) = parse_line(text).map_err(fail)? else { continue };
        if let Some((first, _)) = servers.iter().find(|(_, other)| *other == server) {
            return Err(fail(Problem::Twice(*first)));
        }
        servers.push((line, server));
    }
    Ok(servers.into_iter().map(|(_, server)| server).collect())
}

/// The server of a line; none on a line that is blank or a comment.
fn parse_line(line: &str) -> Result<Option<ServerAddress>, Problem> {
    let (line, _comment) = line.split_once('#').unwrap_or((line, ""));
    match fields(line)?[..] {
        [] => Ok(None),
        // As `[::1]:9000` is printed; a colon after a name may also be one of an address.
        [joined] if joined.starts_with('[') => match joined.rsplit_once("]:") {
            Some((host, port)) => address(&format!("{host}]"), port).map(Some),
            None => address(joined, "1").and(Err(Problem::MissingPort)),
        },
        [host] => address(host, "1").and(Err(Problem::MissingPort)),
        // With a colon, as it is printed where a server cannot be reached.
        [host, port] | [host, ":", port] => address(host, port).map(Some),
        [_, ":", _, extra, ..] | [_, _, extra, ..] => Err(Problem::ExtraField(extra.to_owned())),
    }
}

/// The server of what is typed at the prompt, where `HOST:PORT` is an address, too, as STATUS prints it.
pub(crate) fn parse_typed(text: &str) -> Result<Option<ServerAddress>, Problem> {
    match fields(text)?[..] {
        [joined] => match joined.split_once(':') {
            Some((host, port)) if !port.contains(':') => address(host, port).map(Some),
            _ => parse_line(text),
        },
        _ => parse_line(text),
    }
}

/// The words of a line.
fn fields(line: &str) -> Result<Vec<&str>, Problem> {
    match line.chars().find(|found| found.is_whitespace() && !found.is_ascii()) {
        Some(other) => Err(Problem::NotABlank(other)),
        None => Ok(line.split([' ', '\t', '\r']).filter(|word| !word.is_empty()).collect()),
    }
}

fn address(host: &str, port: &str) -> Result<ServerAddress, Problem> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_name = bare.is_none() && !host.is_empty() && !host.contains([':', '[', ']']);
    let host = if is_name {
        host.to_owned()
    } else {
        let address: Result<SocketAddrV6, _> = format!("[{}]:0", bare.unwrap_or(host)).parse();
        let address = address.map_err(|_| Problem::NotAHost(host.to_owned()))?.to_string();
        let inner = address.strip_prefix('[').and_then(|address| address.strip_suffix("]:0"));
        inner.unwrap_or(&address).to_owned()
    };
    match port.parse() {
        Ok(port @ 1..) => Ok(ServerAddress { host, port }),
        _ => Err(Problem::NotAPort(port.to_owned())),
    }
}

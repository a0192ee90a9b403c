//! The server file: `HOST PORT` a line.

use std::fmt;
use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where a server listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    host: String,
    port: u16,
}

impl ServerAddress {
    /// The address as the transport wants it.
    pub(crate) fn joined(&self) -> String {
        let Self { host, port } = self;
        if host.parse::<Ipv6Addr>().is_ok() {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
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

#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Problem {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("the port is missing: write HOST PORT")]
    MissingPort,
    #[error("write HOST PORT, with a blank between them and no colon")]
    Colon,
    #[error("'{0}' after the port: write HOST PORT")]
    ExtraField(String),
    #[error("'{0}' is no port: a port is a number from 1 to 65535")]
    NotAPort(String),
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
        let Some(server) = parse_line(text).map_err(fail)? else { continue };
        if let Some((first, _)) = servers.iter().find(|(_, other)| *other == server) {
            return Err(fail(Problem::Twice(*first)));
        }
        servers.push((line, server));
    }
    Ok(servers.into_iter().map(|(_, server)| server).collect())
}

/// The server of a line; none on a line that is blank or a comment.
pub(crate) fn parse_line(line: &[u8]) -> Result<Option<ServerAddress>, Problem> {
    let line = std::str::from_utf8(line).map_err(|_| Problem::NotUtf8)?;
    let (line, _comment) = line.split_once('#').unwrap_or((line, ""));
    let mut fields = line.split_whitespace();
    let Some(host) = fields.next() else { return Ok(None) };
    let is_name = !host.contains(':') || host.parse::<Ipv6Addr>().is_ok();
    let (true, Some(port)) = (is_name, fields.next()) else {
        return Err(if is_name { Problem::MissingPort } else { Problem::Colon });
    };
    if let Some(extra) = fields.next() {
        return Err(Problem::ExtraField(extra.to_owned()));
    }
    match port.parse() {
        Ok(port @ 1..) => Ok(Some(ServerAddress { host: host.to_owned(), port })),
        _ => Err(Problem::NotAPort(port.to_owned())),
    }
}

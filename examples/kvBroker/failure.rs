//! Why the program ends before its input does, and how errors are told.

use std::error::Error;
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use triekv::BrokerError;
use triekv::replication::{ClusterError, ConnectError, LoadError};
use triekv::value::Escaped;

use crate::clusters::choice;
use crate::server_file::ServerFileError;

pub(crate) enum Failure {
    Copies,
    ServerFile(ServerFileError),
    Connect(ConnectError),
    Cluster(ClusterError),
    DataFile(PathBuf, io::Error),
    Load(LoadError),
    Clear(BrokerError),
    /// A part of the output was lost.
    Output(&'static io::Error),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Failure {
    /// Tells it, and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        let message = match self {
            Self::Connect(ConnectError::TooFewServers { .. })
            | Self::Cluster(ClusterError::Connect(ConnectError::TooFewServers { .. })) => {
                let text = "[ERROR] Number of servers is lower than the replication number";
                // On stdout, as the servers that cannot be reached.
                let _ = writeln!(io::stdout(), "{text}");
                return ExitCode::FAILURE;
            }
            Self::Copies => "[Error] Replication factor should be greater equal to 1.".to_owned(),
            Self::ServerFile(ServerFileError::Io { path, source })
            | Self::DataFile(path, source) => format!("{}: '{}'", errno(source), named(path)),
            Self::ServerFile(error) => failed(error),
            Self::Connect(error @ ConnectError::DifferentClusters { clusters, .. }) => {
                format!("{}\n{}", failed(error), choice(clusters))
            }
            Self::Connect(error @ ConnectError::TooFewToFound { .. }) => format!(
                "{}\nStart the silent servers. If none of them has any records, \
                 --found-without-majority founds a cluster of those that answer.",
                failed(error)
            ),
            Self::Connect(error) => failed(error),
            Self::Load(error) => failed(error),
            Self::Clear(error) => failed(error),
            Self::Cluster(error) => failed(error),
            Self::Output(error) => {
                format!("{}: a part of the output could not be written", errno(error))
            }
            Self::Io(error) => failed(error),
        };
        let _ = writeln!(io::stderr(), "{message}");
        ExitCode::FAILURE
    }
}

/// `[Errno 2] No such file or directory`
pub(crate) fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(code) = error.raw_os_error() else { return format!("[Error] {text}") };
    let text = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    format!("[Errno {code}] {text}")
}

/// An error and what led to it, in one line.
pub(crate) fn failed(error: &(dyn Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    format!("[Error] {}", Escaped(&causes.join(": ")))
}

/// The name of a file, harmless to a terminal.
pub(crate) fn named(file: &Path) -> String {
    Escaped(&file.to_string_lossy()).to_string()
}

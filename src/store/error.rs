//! What goes wrong: with one command, and with a store.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::log::LogError;
use crate::parser::{Condition, ParseError};
use crate::value::{EditError, ValueError};

/// Why a command was refused. The store is as it was before. (The variants are numbered between
/// servers: new ones come last.)
#[derive(Debug, Clone, PartialEq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CommandError {
    /// The key has no bytes. Give the record a key.
    #[error("the key is empty")]
    EmptyKey,
    /// The key is longer than [`KEY_BYTES_MAX`](crate::value::KEY_BYTES_MAX).
    #[error("the key has {len} bytes, the limit is {limit}")]
    KeyTooLong {
        /// Length of the key, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The value of a record has to be a map.
    #[error("the value of a record has to be a map")]
    NotAMap,
    /// The value holds something that cannot be stored.
    #[error("the value cannot be stored")]
    Value(#[source] ValueError),
    /// A conditional write whose condition does not hold. Read the record again, then decide.
    #[error("the condition of the write does not hold, {}", Found(*found))]
    Conflict {
        /// What was asked for.
        condition: Condition,
        /// The version of the record that is there, or `None` where the key has no record.
        found: Option<u64>,
    },
    /// The path of a partial write leads through something that has no such part.
    #[error("the path does not lead to a place in the record")]
    Place(#[source] EditError),
    /// A partial write would leave a record larger than what is kept. Divide the record.
    #[error("the value of the record would have {len} bytes, the limit is {limit}")]
    RecordTooLarge {
        /// Size of the value that the record would have, encoded, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

struct Found(Option<u64>);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "the record has version {version}"),
            None => write!(f, "there is no record"),
        }
    }
}

/// Why a [`Store`](super::Store) did not do what it was asked for. Its records are as they were
/// before the call; see [`is_ambiguous`](Self::is_ambiguous) for what they are when it is opened
/// again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The command was refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A command of a batch was refused, and with it the whole batch.
    #[error("command {position} of the batch was refused")]
    Batch {
        /// Its place in the batch, from 0.
        position: usize,
        /// Why.
        source: CommandError,
    },
    /// The text is not a path.
    #[error("not a path")]
    Path(#[source] ParseError),
    /// What is stored does not fit the Rust type that was asked for. The place is told from the root
    /// of the record.
    #[error(transparent)]
    Type(ValueError),
    /// The log, a snapshot or their directory. After [`LogError::Full`] the store goes on: make
    /// room and try again. After [`LogError::Stopped`] it can still be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record of the log has its checksum, and yet no store has written it. Nothing was changed.
    /// Bring the directory back from a copy.
    #[error("record {index} of the log cannot be carried out again")]
    Replay {
        /// The record, counted from 1.
        index: u64,
        /// Why its command was refused, or `None` if it is no command.
        #[source]
        refused: Option<CommandError>,
    },
    /// The directory is that of a server. Open it with the server that it belongs to.
    #[error("{directory} belongs to a server")]
    NotAStore {
        /// The directory.
        directory: String,
    },
    /// Only a store that was never written to takes an import. Import into a new directory.
    #[error("the store is not new, it has had {writes} writes")]
    NotNew {
        /// How many writes it has had.
        writes: u64,
    },
    /// What is on disk is whole, but it does not give the records that are in memory. Export the
    /// records: those in memory are what was acknowledged.
    #[error("what is on disk differs from what is in memory")]
    Diverged,
    /// The thread that writes the log is gone, which only a fault in this crate can cause. Open the
    /// store anew to learn whether the call had an effect.
    #[error("the thread that writes the log is gone")]
    Closed,
}

impl StoreError {
    /// Whether the write that failed so may be there when the store is opened again: it was on its
    /// way to the disk, and nobody knows how far it came. Read before retrying.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Log(error) => match error {
                LogError::Io { .. } | LogError::Replaced { .. } | LogError::Stopped(_) => true,
                LogError::Full { .. }
                | LogError::Corrupt { .. }
                | LogError::Version { .. }
                | LogError::Locked { .. }
                | LogError::TooLarge { .. } => false,
            },
            Self::Command(_)
            | Self::Batch { .. }
            | Self::Path(_)
            | Self::Type(_)
            | Self::Replay { .. }
            | Self::NotAStore { .. }
            | Self::NotNew { .. }
            | Self::Diverged => false,
        }
    }
}

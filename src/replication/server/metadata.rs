//! What a server's disk has besides its log: who the server is, and the newest plan or map that it
//! was told.
//!
//! Each is a small file, written whole: under a temporary name, synced, renamed. So after a crash
//! there is the old one or the new one.
//!
//! | offset | bytes | |
//! |-------:|------:|-|
//! | 0 | n | the [encoding](message::encode) of the server's id (file `identity`) or of the map (file `map`) |
//! | n | 4 | CRC-32C of those bytes, little-endian |
//!
//! So are the runs of the server on this disk (file `runs`) and the newest runs of the others that it
//! met (file `peers`); without them, a run is the first one.
//!
//! The files of a server whose disk is from the past are set aside: each gets the prefix `past-N.`, `N`
//! being the first free number. File `past` has that prefix while this is done, so that a crash in the
//! middle is carried on.
//!
//! A disk without an identity is a blank server's, and gets a new one: a server that lost what it
//! voted for must not come back under the id that it voted with. For the same reason a disk is damaged
//! that has a log and no identity, or a map and no log; and an identity that is alone was never told to
//! anybody, since the log comes before the first answer, so that a new one takes its place.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::log::{self, Damage, Disk, LogError};
use crate::replication::message::{self, DecodeError};
use crate::replication::meta::ClusterMap;
use crate::replication::peers::RUNS_MAX;
use crate::replication::{RunId, ServerId, raft};
use crate::transport::FRAME_BYTES_MAX;

const IDENTITY: &str = "identity";
const MAP: &str = "map";
const RUNS: &str = "runs";
const PEERS: &str = "peers";

/// Says that the files are being set aside, under names that begin with its content.
const PAST: &str = "past";

/// Begins the names of files that were set aside, before a number and a point.
const ASIDE: &str = "past-";

/// For messages: the segments of the log.
const LOG: &str = "*.log";

/// Ends the names of files that are not whole yet.
const TEMPORARY: &str = ".new";

const CHECKSUM_BYTES: usize = 4;

/// The longest file: what is in it came in a frame.
const FILE_BYTES_MAX: u64 = FRAME_BYTES_MAX as u64 + CHECKSUM_BYTES as u64;

/// Returns true for the names of a server's whole files: not for unfinished ones, for those that were
/// set aside, or for those of others.
fn is_kept(name: &str) -> bool {
    [IDENTITY, MAP, RUNS, PEERS].contains(&name) || log::is_segment(name) || raft::is_snapshot(name)
}

/// The small files of a server; clones share the disk.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    disk: Arc<dyn Disk>,
}

impl Metadata {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    /// The id of the server that the disk belongs to; a blank disk is given `new`, which is durable
    /// when this returns.
    ///
    /// # Errors
    ///
    /// [`LogError`] if the disk cannot be read or written, or has only a part of what a server keeps.
    pub(super) fn identity(&self, new: ServerId) -> Result<ServerId, LogError> {
        let identity = self.read(IDENTITY)?;
        let names = self.list()?;
        let has = |is: fn(&str) -> bool| names.iter().any(|name| is(name));
        let has_log = has(log::is_segment);
        match identity {
            Some(identity) if has_log => Ok(identity),
            _ if !has_log && !has(raft::is_snapshot) && !has(|name| name == MAP) => {
                for name in [RUNS, PEERS] {
                    self.remove(name)?;
                }
                self.write(IDENTITY, &new)?;
                Ok(new)
            }
            Some(_) => Err(self.missing(LOG)),
            None => Err(self.missing(IDENTITY)),
        }
    }

    /// Removes the files that were not finished, of those that this module writes.
    pub(super) fn remove_unfinished(&self) {
        for name in [IDENTITY, MAP, RUNS, PEERS, PAST] {
            // One that stays is written anew before it counts.
            let _ = self.disk.remove(&format!("{name}{TEMPORARY}"));
        }
    }

    /// The plan or map that `server` was told last; none on the disk of a blank one.
    ///
    /// # Errors
    ///
    /// [`LogError`] if it cannot be read, or is damaged: a plan that does not know the server is, too.
    pub(super) fn map(&self, server: ServerId) -> Result<Option<ClusterMap>, LogError> {
        let map: Option<ClusterMap> = self.read(MAP)?;
        match &map {
            // A server that has left is not in the map of a founded cluster.
            Some(map)
                if !map.is_valid() || (map.epoch == 0 && !map.servers.contains_key(&server)) =>
            {
                Err(self.damaged(MAP, 0, Damage::Malformed))
            }
            _ => Ok(map),
        }
    }

    /// Saves `map`, or removes the one that is there; durable when this returns.
    ///
    /// # Errors
    ///
    /// [`LogError`]. After [`LogError::Full`] all is as before; else which of the two is there is
    /// known once the disk is read again.
    pub(super) fn set_map(&self, map: Option<&ClusterMap>) -> Result<(), LogError> {
        if let Some(map) = map {
            return self.write(MAP, map);
        }
        self.remove(MAP)?;
        self.disk.sync_names().map_err(|error| self.failed("sync", "", error))
    }

    fn remove(&self, name: &str) -> Result<(), LogError> {
        match self.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove", name, error))
            }
            _ => Ok(()),
        }
    }

    /// Notes that `run` begins, and gives all runs of the server on this disk, or the newest of many;
    /// durable when this returns.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub(super) fn begin_run(&self, run: RunId) -> Result<Vec<RunId>, LogError> {
        let mut runs: Vec<RunId> = self.read(RUNS)?.unwrap_or_default();
        runs.push(run);
        runs.drain(..runs.len().saturating_sub(RUNS_MAX));
        self.write(RUNS, &runs)?;
        Ok(runs)
    }

    /// The newest runs of other servers, as they were saved last.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub(super) fn peers(&self) -> Result<BTreeMap<ServerId, RunId>, LogError> {
        Ok(self.read(PEERS)?.unwrap_or_default())
    }

    /// Saves the newest runs of other servers; durable when this returns.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub(super) fn set_peers(&self, peers: &BTreeMap<ServerId, RunId>) -> Result<(), LogError> {
        self.write(PEERS, peers)
    }

    /// Sets all files of the server aside, so that the disk is a blank server's; durable when this
    /// returns. The log has to be closed. Gives the place and the beginning of their names.
    ///
    /// # Errors
    ///
    /// [`LogError`]; what was begun is carried on by [`Metadata::finish_setting_aside`].
    pub(super) fn set_aside(&self) -> Result<String, LogError> {
        let names = self.list()?;
        let is_free = |prefix: &String| !names.iter().any(|name| name.starts_with(prefix));
        let prefix = (1..=u32::MAX).map(|number| format!("{ASIDE}{number}.")).find(is_free);
        let prefix = prefix.unwrap_or_default();
        self.write(PAST, &prefix)?;
        self.finish_setting_aside()?;
        Ok(format!("{}*", self.path(&prefix)))
    }

    /// Carries on what [`Metadata::set_aside`] began.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub(super) fn finish_setting_aside(&self) -> Result<(), LogError> {
        let Some(prefix) = self.read::<String>(PAST)? else { return Ok(()) };
        for name in self.list()?.iter().filter(|name| is_kept(name)) {
            let aside = format!("{prefix}{name}");
            let renamed = self.disk.rename(name, &aside);
            renamed.map_err(|error| self.failed("rename", name, error))?;
        }
        self.disk.sync_names().map_err(|error| self.failed("sync", "", error))?;
        self.disk.remove(PAST).map_err(|error| self.failed("remove", PAST, error))?;
        self.disk.sync_names().map_err(|error| self.failed("sync", "", error))
    }

    fn list(&self) -> Result<Vec<String>, LogError> {
        self.disk.list().map_err(|error| self.failed("list", "", error))
    }

    /// What is wrong with a disk that has groups and no map.
    pub(super) fn missing_map(&self) -> LogError {
        self.missing(MAP)
    }

    fn write(&self, name: &str, content: &impl Serialize) -> Result<(), LogError> {
        let mut bytes = message::encode(content);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        let temporary = format!("{name}{TEMPORARY}");
        let fail = |operation| {
            let temporary = temporary.as_str();
            move |error| self.failed(operation, temporary, error)
        };
        let written = (|| {
            let file = self.disk.create(&temporary).map_err(fail("create"))?;
            file.write_at(&bytes, 0).map_err(fail("write"))?;
            file.sync().map_err(fail("sync"))?;
            self.disk.rename(&temporary, name).map_err(fail("rename"))
        })();
        if written.is_err() {
            // Its room may be what is missing.
            let _ = self.disk.remove(&temporary);
        }
        written?;
        self.disk.sync_names().map_err(|error| self.names_not_synced(error))
    }

    /// The content of a file, if it is there.
    fn read<C: DeserializeOwned>(&self, name: &str) -> Result<Option<C>, LogError> {
        let file = match self.disk.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("open", name, error)),
        };
        let fail = |error| self.failed("read", name, error);
        let size = file.size().map_err(fail)?;
        if size > FILE_BYTES_MAX {
            return Err(self.damaged(name, FILE_BYTES_MAX, Damage::Malformed));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        file.read_at(&mut bytes, 0).map_err(fail)?;
        let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(self.damaged(name, size, Damage::Truncated));
        };
        if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
            return Err(self.damaged(name, 0, Damage::Checksum));
        }
        match message::decode(content) {
            Ok(content) => Ok(Some(content)),
            Err(DecodeError::Version { found, expected }) => Err(LogError::Version {
                file: self.path(name),
                found: found.into(),
                expected: expected.into(),
            }),
            Err(
                DecodeError::Empty
                | DecodeError::Malformed { .. }
                | DecodeError::Inconsistent
                | DecodeError::TrailingBytes { .. },
            ) => Err(self.damaged(name, 0, Damage::Malformed)),
        }
    }

    fn path(&self, name: &str) -> String {
        let location = self.disk.location();
        if name.is_empty() { location } else { format!("{location}/{name}") }
    }

    fn missing(&self, name: &str) -> LogError {
        self.damaged(name, 0, Damage::Missing)
    }

    fn damaged(&self, name: &str, offset: u64, damage: Damage) -> LogError {
        LogError::Corrupt { file: self.path(name), offset, damage }
    }

    fn failed(&self, operation: &'static str, name: &str, error: io::Error) -> LogError {
        LogError::io(operation, self.path(name), error)
    }

    /// Which file has a name after that is not known, whatever the reason.
    fn names_not_synced(&self, error: io::Error) -> LogError {
        LogError::broken("sync", self.path(""), error)
    }
}

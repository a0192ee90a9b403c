//! A disk in memory, for what needs no other, and for tests of what a disk can do to a program.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory::check_name;
use super::{Disk, DiskFile};

mod content;
mod draws;
#[cfg(test)]
mod tests;

use content::Content;
use draws::Draws;

#[cfg(test)]
pub(super) use tests::exercise;

/// What a [`MemoryDisk`] is to do wrong. Operations that change something (creating, renaming and
/// removing a file, writing, setting a size, and both syncs) are numbered from 0 since the disk was
/// made; see [`MemoryDisk::operations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The program ends in the middle of an operation: a write is done up to a sector that the seed
    /// decides, another operation not at all. It and whatever is called after it fails, until
    /// [`MemoryDisk::kill`] or [`MemoryDisk::power_cut`].
    Crash {
        /// The number of the operation.
        operation: u64,
        /// Decides how much of a write is done: 0 none, [`u64::MAX`] all of it.
        seed: u64,
    },
    /// One sync fails, of a file or of the names: the first whose number is `operation` or above.
    Sync {
        /// The number from which on.
        operation: u64,
    },
    /// Each sync whose number is `operation` or above fails.
    Syncs {
        /// The number from which on.
        operation: u64,
    },
    /// There is no room for the operations from one number up to another: they fail with
    /// [`io::ErrorKind::StorageFull`], also where a file has the bytes already, as on a file system
    /// that copies on write. A write is done for half of its sectors, and a sync gives up what it should have written.
    /// Files can be removed and cut, and names be synced.
    NoRoom {
        /// The first number.
        from: u64,
        /// The number after the last one.
        until: u64,
    },
}

/// A disk in memory; clones share it. As a [`Disk`] it is used by the program; its own methods are
/// for whoever tests the program.
///
/// # What is lost in a power cut
///
/// A file is written in sectors of 512 bytes; each is after a power cut wholly as it was before a
/// write or wholly as after it, and each may be of another age. Which ones is decided by a seed, so
/// that a failure can be repeated. The same holds for the size of a file, and for each file that
/// was created, renamed or removed:
///
/// | not followed by | after a power cut |
/// |---|---|
/// | `sync` of the file | each sector, and the size, may be as at any time since the last `sync` |
/// | `sync_names` | a created file may be gone, its content synced or not; a rename may be undone; a removed file may be back |
///
/// # A sync that fails
///
/// As on Linux, a failed sync gives up what it should have written: it can still be read, a later
/// sync succeeds, and a power cut loses it all the same, unless its sectors are written and synced
/// again (Rebello et al., *Can Applications Recover from fsync Failures?*, USENIX ATC 2020).
///
/// # Caveats
///
/// Only one copy of synced data is kept, so the medium cannot be wrong about them by itself:
/// [`MemoryDisk::flip_bit`] and [`MemoryDisk::truncate`] damage it. There are no holes: zeros take
/// room as other bytes do. Two programs on one disk are not kept apart as by
/// [`Directory`](super::Directory). What was removed keeps its memory until the names are synced.
///
/// # Examples
///
/// ```
/// use triekv::log::{Disk, MemoryDisk};
///
/// let disk = MemoryDisk::new();
/// let file = disk.create("names")?;
/// file.write_at(b"Mary", 0)?;
/// file.sync()?;
/// disk.sync_names()?;
/// file.write_at(b"Jane", 0)?;
/// disk.power_cut(0);
/// assert_eq!(disk.read("names"), Some(b"Mary".to_vec()));
/// assert!(file.size().is_err(), "opened before the power cut");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The files as a program sees them.
    names: BTreeMap<String, Shared>,
    /// The files as they are after a power cut, before any of `unsynced` is done.
    names_synced: BTreeMap<String, Shared>,
    unsynced: Vec<NameChange>,
    operations: u64,
    faults: Faults,
    capacity: Option<u64>,
    /// How often a program ended. Files opened by one that ended fail.
    ended: u64,
    crashed: bool,
}

#[derive(Default)]
struct Faults {
    crash: Option<(u64, u64)>,
    sync: Option<u64>,
    syncs: Option<u64>,
    no_room: Range<u64>,
}

/// A file's content; by whether two are the same one, files are told apart.
type Shared = Arc<Mutex<Content>>;

enum NameChange {
    /// The file has this name, in place of what had it, and no other.
    Named(String, Shared),
    Removed(String),
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, Shared>) {
        match self {
            Self::Named(name, file) => {
                names.retain(|_, other| !Arc::ptr_eq(other, &file));
                names.insert(name, file);
            }
            Self::Removed(name) => {
                names.remove(&name);
            }
        }
    }
}

impl MemoryDisk {
    /// Creates an empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of operations so far that changed something, or were to; also the number that the
    /// next one has. Operations that fail because the program has ended do not count.
    ///
    /// To have a program end at each of its operations in turn, run it once for this number, then
    /// once for each smaller one with [`Fault::Crash`].
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Schedules a fault, in place of one of the same kind. It is forgotten when the program ends.
    pub fn fail(&self, fault: Fault) {
        let faults = &mut self.state().faults;
        match fault {
            Fault::Crash { operation, seed } => faults.crash = Some((operation, seed)),
            Fault::Sync { operation } => faults.sync = Some(operation),
            Fault::Syncs { operation } => faults.syncs = Some(operation),
            Fault::NoRoom { from, until } => faults.no_room = from..until,
        }
    }

    /// Sets how many bytes all files together may have; `None` for as many as memory has. A write
    /// that needs more fails with [`io::ErrorKind::StorageFull`] after it has written what fits.
    /// It stays set when the program ends.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Ends the program, as by `kill -9`: all files opened so far fail from now on, and faults are
    /// forgotten. Nothing is lost, but what was not synced is still not.
    ///
    /// Clones of the disk are not the program's files and go on: have the program end first, or
    /// [crash](Fault::Crash), if it has threads that could still create a file.
    pub fn kill(&self) {
        self.state().end();
    }

    /// Ends the program as [`kill`](Self::kill) does, and loses of what was not synced as much as
    /// the seed decides: with 0 all of it, with any other number parts. What is left is on the disk
    /// for good. With [`u64::MAX`] nothing is lost: it is the same as `kill`.
    pub fn power_cut(&self, seed: u64) {
        let mut state = self.state();
        state.end();
        if seed == u64::MAX {
            return;
        }
        let mut draws = Draws::new(seed);
        let mut names = std::mem::take(&mut state.names_synced);
        for change in std::mem::take(&mut state.unsynced) {
            if draws.version(1) == 1 {
                change.apply(&mut names);
            }
        }
        for file in names.values() {
            lock(file).power_cut(&mut draws);
        }
        state.names_synced.clone_from(&names);
        state.names = names;
    }

    /// Returns what a file contains, or `None` if there is none.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.state().names.get(name).map(|file| lock(file).bytes().to_vec())
    }

    /// Puts a file there with this content, in place of one that has the name, as if both had been
    /// synced long ago.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let file = Shared::default();
        lock(&file).damage(|content| content.extend_from_slice(bytes));
        state.unsynced.retain(|change| match change {
            NameChange::Named(other, _) | NameChange::Removed(other) => other != name,
        });
        state.names_synced.insert(name.to_owned(), Arc::clone(&file));
        state.names.insert(name.to_owned(), file);
    }

    /// Flips a bit of a file: bit 0 is the lowest of the first byte, bit 8 the lowest of the
    /// second. The content counts as synced then. Returns whether there is such a bit.
    pub fn flip_bit(&self, name: &str, bit: u64) -> bool {
        let Some(file) = self.state().names.get(name).cloned() else { return false };
        let Ok(at) = usize::try_from(bit / 8) else { return false };
        let mut content = lock(&file);
        let there = at < content.bytes().len();
        if there {
            content.damage(|bytes| bytes[at] ^= 1 << (bit % 8));
        }
        there
    }

    /// Cuts a file to `size` bytes, if it has more. The content counts as synced then. Returns
    /// whether there is such a file.
    pub fn truncate(&self, name: &str, size: u64) -> bool {
        let Some(file) = self.state().names.get(name).cloned() else { return false };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        lock(&file).damage(|bytes| bytes.truncate(size));
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, state: &State, content: Shared) -> Box<dyn DiskFile> {
        Box::new(MemoryFile { disk: self.clone(), content, ended: state.ended })
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryDisk")
            .field("files", &state.names.keys())
            .field("operations", &state.operations)
            .field("crashed", &state.crashed)
            .finish_non_exhaustive()
    }
}

/// Contents are locked only while the state is, or where it is not needed after: never the other
/// way round.
fn lock(file: &Shared) -> MutexGuard<'_, Content> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn end(&mut self) {
        self.ended += 1;
        self.crashed = false;
        self.faults = Faults::default();
    }

    fn check_runs(&self) -> io::Result<()> {
        if self.crashed {
            return Err(io::Error::other("the program has crashed, as the test wanted"));
        }
        Ok(())
    }

    /// Counts an operation; `Err` if it is the one at which the program is to end, with the seed.
    fn count(&mut self) -> Result<u64, u64> {
        let operation = self.operations;
        self.operations += 1;
        match self.faults.crash {
            Some((crash, seed)) if operation >= crash => {
                self.crashed = true;
                Err(seed)
            }
            _ => Ok(operation),
        }
    }

    /// Begins an operation that is done wholly or not at all, and gives its number.
    fn begin(&mut self) -> io::Result<u64> {
        self.check_runs()?;
        match self.count() {
            Ok(operation) => Ok(operation),
            Err(_) => self.check_runs().map(|()| 0),
        }
    }

    /// Begins an operation that takes room.
    fn begin_with_room(&mut self) -> io::Result<()> {
        let operation = self.begin()?;
        self.check_room(operation)
    }

    fn check_room(&self, operation: u64) -> io::Result<()> {
        if self.faults.no_room.contains(&operation) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Begins a sync of the names.
    fn begin_sync(&mut self) -> io::Result<Result<(), io::Error>> {
        let operation = self.begin()?;
        Ok(self.outcome_of_sync(operation))
    }

    /// Begins a sync of a file.
    fn begin_file_sync(&mut self) -> io::Result<Result<(), io::Error>> {
        let operation = self.begin()?;
        Ok(self.check_room(operation).and_then(|()| self.outcome_of_sync(operation)))
    }

    fn outcome_of_sync(&mut self, operation: u64) -> io::Result<()> {
        let once = self.faults.sync.is_some_and(|from| operation >= from);
        if once {
            self.faults.sync = None;
        }
        let fails = once || self.faults.syncs.is_some_and(|from| operation >= from);
        if fails {
            return Err(io::Error::other("the sync failed, as the test wanted"));
        }
        Ok(())
    }

    /// The bytes by which files may still grow.
    fn room(&self) -> u64 {
        let Some(capacity) = self.capacity else { return u64::MAX };
        let used = self.names.values().map(|file| lock(file).bytes().len() as u64).sum();
        capacity.saturating_sub(used)
    }

    fn rename(&mut self, name: &str, file: Shared) {
        NameChange::Named(name.to_owned(), Arc::clone(&file)).apply(&mut self.names);
        self.unsynced.push(NameChange::Named(name.to_owned(), file));
    }

    fn find(&self, name: &str) -> io::Result<Shared> {
        self.names.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check_runs()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        check_name(name)?;
        let mut state = self.state();
        state.begin_with_room()?;
        let file = if let Some(file) = state.names.get(name) {
            let file = Arc::clone(file);
            lock(&file).set_size(0)?;
            file
        } else {
            let file = Shared::default();
            state.rename(name, Arc::clone(&file));
            file
        };
        Ok(self.opened(&state, file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        check_name(name)?;
        let state = self.state();
        state.check_runs()?;
        let file = state.find(name)?;
        Ok(self.opened(&state, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        let mut state = self.state();
        state.begin_with_room()?;
        let file = state.find(from)?;
        if from != to {
            state.rename(to, file);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        let mut state = self.state();
        state.begin()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced.push(NameChange::Removed(name.to_owned()));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.begin_sync()??;
        state.names_synced = state.names.clone();
        state.unsynced.clear();
        Ok(())
    }
}

/// An open file of a [`MemoryDisk`].
struct MemoryFile {
    disk: MemoryDisk,
    content: Shared,
    /// [`State::ended`] when it was opened.
    ended: u64,
}

impl MemoryFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.ended != self.ended {
            return Err(io::Error::other("the program that opened the file has ended"));
        }
        state.check_runs()?;
        Ok(state)
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile")
            .field("size", &lock(&self.content).bytes().len())
            .finish_non_exhaustive()
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        let _state = self.state()?;
        Ok(lock(&self.content).bytes().len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let _state = self.state()?;
        lock(&self.content).read(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let operation = match state.count() {
            Ok(operation) => operation,
            Err(seed) => {
                lock(&self.content).write(content::torn(bytes, offset, seed), offset)?;
                return state.check_runs();
            }
        };
        if let Err(full) = state.check_room(operation) {
            lock(&self.content).write(content::half(bytes, offset), offset)?;
            return Err(full);
        }
        let room = state.room();
        let mut content = lock(&self.content);
        let size = content.bytes().len() as u64;
        let fits = size.saturating_add(room).saturating_sub(offset);
        let fits = usize::try_from(fits).unwrap_or(usize::MAX).min(bytes.len());
        content.write(&bytes[..fits], offset)?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let operation = state.begin()?;
        let room = state.room();
        let mut content = lock(&self.content);
        if size > content.bytes().len() as u64 {
            state.check_room(operation)?;
        }
        if size.saturating_sub(content.bytes().len() as u64) > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.set_size(size)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let outcome = state.begin_file_sync()?;
        let mut content = lock(&self.content);
        match outcome {
            Ok(()) => content.synced(),
            Err(_) => content.give_up(),
        }
        outcome
    }
}

//! A group's state, driven by openraft: apply, snapshot, install.
//!
//! The state is in memory. A snapshot is the whole state as it was at one moment, written to a file
//! from a clone while entries are applied; see [`snapshot`](super::snapshot). At its start a group
//! has the state of its newest snapshot, and applies the entries behind it.
//!
//! openraft never makes a snapshot itself: an error would stop the group, and a full disk is no
//! reason to. It is told of a snapshot when the file is there, by asking it to build one.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::stream::TryReadyChunksError;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};

use super::snapshot::{Arriving, SnapshotFile, SnapshotFolder};
use super::wire::{WireSnapshotMeta, WireVote};
use super::{Payload, StateMachine, Storage, Types};
use crate::log::{Damage, LogError};
use crate::replication::GroupId;

/// A snapshot, as it is handed around.
pub(super) type SnapshotData = Arc<SnapshotFile>;

/// A snapshot up to this long is made anew whenever enough entries were applied.
const SMALL_BYTES: u64 = 1 << 20;

/// Entries that are applied together at most, and their bytes from which on that is done on another
/// thread: the groups of a server that starts apply what they have side by side.
const CHUNK_ENTRIES: usize = 64;
const CHUNK_BYTES: usize = 256 << 10;

fn payload_bytes(payload: &EntryPayload<Payload, u64, ()>) -> usize {
    match payload {
        EntryPayload::Normal(payload) => payload.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// What a group's log has come to.
#[derive(Debug)]
pub(crate) struct State<S> {
    /// The state machine.
    pub(super) content: S,
    /// The last entry applied.
    pub(super) last: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
    /// Bytes of the entries that were applied since this state was read or installed.
    applied_bytes: u64,
}

impl<S: StateMachine> State<S> {
    fn new(meta: SnapshotMetaOf<Types>, content: S) -> Self {
        let (last, membership) = (meta.last_log_id, meta.last_membership);
        Self { content, last, membership, applied_bytes: 0 }
    }
}

/// A state that openraft drives and readers share; clones share it.
pub(super) struct Machine<S>(Arc<Shared<S>>);

struct Shared<S> {
    group: GroupId,
    state: RwLock<State<S>>,
    folder: SnapshotFolder,
    newest: Mutex<Option<(SnapshotMetaOf<Types>, SnapshotData)>>,
    /// What `applied_bytes` was in the state that the newest snapshot is of.
    covered_bytes: AtomicU64,
    /// Held while a snapshot is written here.
    writing: Mutex<()>,
    /// Set once no snapshot is to be written any more.
    stopped: AtomicBool,
    /// Held while a snapshot takes the place of the newest one. Comes after `writing`.
    placing: Mutex<()>,
    /// Held while a part is written, and while what has arrived is checked and installed.
    arriving: Arc<tokio::sync::Mutex<Arriving>>,
    checked: Mutex<Option<Checked<S>>>,
}

/// A snapshot that has arrived, was checked, and is to be installed.
struct Checked<S> {
    file: SnapshotData,
    content: S,
    /// No other snapshot may take the file's name before this one has got another.
    _no_other: tokio::sync::OwnedMutexGuard<Arriving>,
}

impl<S> Clone for Machine<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Machine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("group", &self.0.group).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: StateMachine> Machine<S> {
    /// The state of group `id` as of its newest snapshot, or none. Blocks until that is read.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] if the snapshot is damaged, or misses what the log has not any more.
    pub(super) fn open(id: GroupId, storage: &Storage) -> Result<Self, LogError> {
        let folder = SnapshotFolder::new(storage.clone(), id);
        let mut newest = None;
        let mut state = State::new(SnapshotMetaOf::<Types>::default(), S::default());
        if let Some(file) = folder.open()? {
            let (meta, content) = file.read::<S>()?;
            let meta = SnapshotMetaOf::<Types>::from(meta);
            state = State::new(meta.clone(), content);
            newest = Some((meta, Arc::new(file)));
        }
        if storage.purged(id) > state.last {
            let (file, damage) = (folder.newest_path(), Damage::Missing);
            return Err(LogError::Corrupt { file, offset: 0, damage });
        }
        Ok(Self(Arc::new(Shared {
            group: id,
            state: RwLock::new(state),
            folder,
            newest: Mutex::new(newest),
            covered_bytes: AtomicU64::new(0),
            writing: Mutex::default(),
            stopped: AtomicBool::new(false),
            placing: Mutex::default(),
            arriving: Arc::default(),
            checked: Mutex::default(),
        })))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State<S>> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<S>> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last entry that the newest snapshot covers.
    pub(super) fn newest(&self) -> Option<LogIdOf<Types>> {
        lock(&self.0.newest).as_ref().and_then(|(meta, _)| meta.last_log_id)
    }

    /// Whether another snapshot costs little beside what was applied since the newest one: a large
    /// state is not written again for a few entries.
    pub(super) fn is_worth_a_snapshot(&self) -> bool {
        let len = lock(&self.0.newest).as_ref().map_or(0, |(_, file)| file.len());
        let covered = self.0.covered_bytes.load(Ordering::Relaxed);
        len <= SMALL_BYTES || self.read().applied_bytes.saturating_sub(covered) >= len
    }

    /// Writes a snapshot of the state as it is now, and puts it in the place of the newest one.
    /// Returns false if that covers as much, or if nothing was ever applied. Blocks.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the newest snapshot is what it was, or the new one.
    pub(super) fn write_snapshot(&self) -> Result<bool, LogError> {
        self.write_unless(|machine, last| last <= machine.newest())
    }

    /// Writes a snapshot, unless it is not needed, as decided from the last entry that it covers.
    fn write_unless(
        &self,
        needless: impl Fn(&Self, Option<LogIdOf<Types>>) -> bool,
    ) -> Result<bool, LogError> {
        let shared = &*self.0;
        let _one_at_a_time = lock(&shared.writing);
        // Applying an entry has panicked in the middle of it: half of it must never be kept.
        if shared.state.is_poisoned() {
            return Ok(false);
        }
        let (content, meta, applied_bytes) = {
            let state = self.read();
            let meta = SnapshotMetaOf::<Types> {
                last_log_id: state.last,
                last_membership: state.membership.clone(),
            };
            (state.content.clone(), meta, state.applied_bytes)
        };
        if needless(self, meta.last_log_id) {
            return Ok(false);
        }
        let file = shared.folder.write(&(&meta).into(), &content, &shared.stopped)?;
        let _in_order = lock(&shared.placing);
        // One of another replica may have been installed in the meantime.
        if needless(self, meta.last_log_id) {
            shared.folder.discard_written();
            return Ok(false);
        }
        shared.folder.place_written()?;
        *lock(&shared.newest) = Some((meta, Arc::new(file)));
        shared.covered_bytes.store(applied_bytes, Ordering::Relaxed);
        Ok(true)
    }

    /// Has a snapshot that is being written fail, and writes none from now on. Blocks until it has
    /// let go of the disk.
    pub(super) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        drop(lock(&self.0.writing));
    }

    /// Takes a part of a snapshot that another replica sends; false if it does not follow those
    /// before it or cannot be stored, so that the sender has to begin again.
    pub(super) async fn take_part(
        &self,
        of: (WireVote, WireSnapshotMeta),
        offset: u64,
        part: Vec<u8>,
    ) -> bool {
        // While a snapshot is checked and installed there is none to add to.
        let Ok(mut arriving) = Arc::clone(&self.0.arriving).try_lock_owned() else { return false };
        let folder = self.0.folder.clone();
        let taking =
            tokio::task::spawn_blocking(move || arriving.take_part(&folder, of, offset, &part));
        let taken = taking.await.map_err(io::Error::other);
        let error = match taken {
            Ok(Ok(taken)) => return taken,
            // It comes again each second, and a full disk is told once.
            Ok(Err(LogError::Full { .. })) => return false,
            Ok(Err(error)) => describe(&error),
            Err(error) => describe(&error),
        };
        tracing::warn!(group = %self.0.group, error, "cannot store a snapshot that arrives");
        false
    }

    /// Checks the snapshot that has arrived, if all of its `len` bytes have and it can be installed;
    /// `None` if there is no such one, also because it was installed before. Waits until one that
    /// is being installed is. No other arrives until what is returned is dropped.
    pub(super) async fn finish_arriving(
        &self,
        of: (WireVote, WireSnapshotMeta),
        len: u64,
    ) -> Option<Arrived<S>> {
        let mut arriving = Arc::clone(&self.0.arriving).lock_owned().await;
        let machine = self.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let shared = &*machine.0;
            let Some(file) = arriving.finish(&shared.folder, &of, len)? else { return Ok(None) };
            let content = match file.read::<S>() {
                Ok((meta, content)) if meta == of.1 => content,
                read => {
                    shared.folder.discard_arrived();
                    return read.map(|_| None);
                }
            };
            let file = Arc::new(file);
            let arrived = Arrived { machine: machine.clone(), file: Arc::clone(&file) };
            *lock(&shared.checked) = Some(Checked { file, content, _no_other: arriving });
            Ok(Some(arrived))
        });
        let error = match checking.await.map_err(io::Error::other) {
            Ok(Ok(arrived)) => return arrived,
            Ok(Err(error)) => describe::<LogError>(&error),
            Err(error) => describe(&error),
        };
        tracing::warn!(group = %self.0.group, error, "cannot use a snapshot that arrived");
        None
    }

    /// Applies entries in their order, and answers whoever waits for them.
    fn apply_all(&self, entries: Vec<EntryResponder<Types>>) {
        for (entry, responder) in entries {
            let response = {
                let mut state = self.write();
                state.last = Some(entry.log_id);
                state.applied_bytes += payload_bytes(&entry.payload) as u64;
                match entry.payload {
                    EntryPayload::Blank => Vec::new(),
                    EntryPayload::Normal(payload) => {
                        state.content.apply(entry.log_id.index, &payload.0)
                    }
                    EntryPayload::Membership(membership) => {
                        let id = Some(entry.log_id);
                        state.membership = StoredMembershipOf::<Types>::new(id, membership);
                        Vec::new()
                    }
                }
            };
            // Whoever proposed the entry waits until it is answered.
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
    }

    /// Puts a snapshot in the place of the newest one, and of the state. Blocks.
    fn install(&self, meta: SnapshotMetaOf<Types>, file: SnapshotData) -> Result<(), LogError> {
        let shared = &*self.0;
        let arrived = lock(&shared.checked).take_if(|checked| Arc::ptr_eq(&checked.file, &file));
        let _one_at_a_time = arrived.is_none().then(|| lock(&shared.writing));
        let _in_order = lock(&shared.placing);
        let (file, content) = if let Some(Checked { content, _no_other, .. }) = arrived {
            shared.folder.place_arrived()?;
            (file, content)
        } else {
            // It is a file of another group, or of another server.
            let (_, content) = file.read()?;
            let copied = shared.folder.copy(&file)?;
            shared.folder.place_written()?;
            (Arc::new(copied), content)
        };
        *lock(&shared.newest) = Some((meta.clone(), file));
        shared.covered_bytes.store(0, Ordering::Relaxed);
        if cfg!(triekv_planted = "snapshot_installed_half") {
            // Planted: the position is that of the snapshot, the content is the old one.
            self.write().last = meta.last_log_id;
            return Ok(());
        }
        let old = std::mem::replace(&mut *self.write(), State::new(meta, content));
        // The lock is free while a large state goes.
        drop(old);
        Ok(())
    }
}

/// A snapshot that has arrived and was checked; removed when this is dropped, unless it is being
/// installed by then.
pub(super) struct Arrived<S: StateMachine> {
    machine: Machine<S>,
    pub(super) file: SnapshotData,
}

impl<S: StateMachine> Drop for Arrived<S> {
    fn drop(&mut self) {
        let shared = &*self.machine.0;
        let left = lock(&shared.checked).take_if(|checked| Arc::ptr_eq(&checked.file, &self.file));
        if left.is_some() {
            shared.folder.discard_arrived();
        }
    }
}

/// An error and what it comes from, in one line.
pub(super) fn describe<E: std::error::Error>(error: &E) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What openraft asks for a snapshot.
pub(super) struct Builder<S> {
    machine: Machine<S>,
    /// Whether to write one first.
    anew: bool,
}

impl<S: StateMachine> RaftSnapshotBuilder<Types> for Builder<S> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, SnapshotData>, io::Error> {
        if self.anew {
            let machine = self.machine.clone();
            // Here even one of nothing will do.
            let needless = |machine: &Machine<S>, last| {
                lock(&machine.0.newest).as_ref().is_some_and(|(meta, _)| last <= meta.last_log_id)
            };
            let writing = tokio::task::spawn_blocking(move || machine.write_unless(needless));
            writing.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        }
        let newest = self.machine.get_current_snapshot().await?;
        newest.ok_or_else(|| io::Error::other("there is nothing to make a snapshot of"))
    }
}

impl<S: StateMachine> RaftStateMachine<Types> for Machine<S> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder<S>;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>), io::Error> {
        let state = self.read();
        Ok((state.last, state.membership.clone()))
    }

    async fn apply<E>(&mut self, entries: E) -> Result<(), io::Error>
    where
        E: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.try_ready_chunks(CHUNK_ENTRIES);
        loop {
            let (chunk, end) = match chunks.try_next().await {
                Ok(Some(chunk)) => (chunk, None),
                Ok(None) => return Ok(()),
                Err(TryReadyChunksError(chunk, error)) => (chunk, Some(error)),
            };
            let bytes: usize = chunk.iter().map(|(entry, _)| payload_bytes(&entry.payload)).sum();
            if bytes < CHUNK_BYTES {
                self.apply_all(chunk);
            } else {
                let machine = self.clone();
                let applying = tokio::task::spawn_blocking(move || machine.apply_all(chunk));
                applying.await.map_err(io::Error::other)?;
            }
            if let Some(error) = end {
                return Err(error);
            }
        }
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder<S>> {
        let there_is_one = lock(&self.0.newest).is_some();
        (force || there_is_one).then(|| Builder { machine: self.clone(), anew: force })
    }

    async fn get_snapshot_builder(&mut self) -> Builder<S> {
        Builder { machine: self.clone(), anew: true }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (machine, meta) = (self.clone(), meta.clone());
        let installing = tokio::task::spawn_blocking(move || {
            let installed = machine.install(meta, snapshot);
            // The group stops, and the server had better come back without its state of now.
            installed.inspect_err(|error| machine.0.folder.storage().failure().note(error))
        });
        installing.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, SnapshotData>>, io::Error> {
        let newest = lock(&self.0.newest).clone();
        Ok(newest.map(|(meta, snapshot)| SnapshotOf::<Types, _> { meta, snapshot }))
    }
}

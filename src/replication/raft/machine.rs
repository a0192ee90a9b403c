//! A group's state, driven by openraft: apply, snapshot, install.
//!
//! A snapshot is the whole state as it was at one moment, encoded on a thread of its own while
//! entries are applied, and kept in memory until the next one.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};

use super::wire::ArrivingSnapshot;
use super::{StateMachine, Types};
use crate::replication::message;

/// An encoded state.
pub(super) type SnapshotData = Arc<[u8]>;

/// What a group's log has come to.
#[derive(Debug)]
pub(crate) struct State<S> {
    /// The state machine.
    pub(super) content: S,
    /// The last entry applied.
    pub(super) last: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
    snapshot: Option<(SnapshotMetaOf<Types>, SnapshotData)>,
    /// A snapshot of another replica, as far as it has arrived.
    pub(super) arriving: ArrivingSnapshot,
}

/// A state that openraft drives and readers share; clones share it.
pub(super) struct Machine<S>(Arc<RwLock<State<S>>>);

impl<S> Clone for Machine<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Machine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl<S: StateMachine> Machine<S> {
    pub(super) fn new() -> Self {
        Self(Arc::new(RwLock::new(State {
            content: S::default(),
            last: None,
            membership: StoredMembershipOf::<Types>::default(),
            snapshot: None,
            arriving: ArrivingSnapshot::default(),
        })))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State<S>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State<S>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: StateMachine> RaftSnapshotBuilder<Types> for Machine<S> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, SnapshotData>, io::Error> {
        let (content, meta) = {
            let state = self.read();
            let meta = SnapshotMetaOf::<Types> {
                last_log_id: state.last,
                last_membership: state.membership.clone(),
            };
            (state.content.clone(), meta)
        };
        let encoding = tokio::task::spawn_blocking(move || message::encode(&content));
        let snapshot: SnapshotData = encoding.await.map_err(io::Error::other)?.into();
        let mut state = self.write();
        // One of another replica may have been installed in the meantime.
        let newest = state.snapshot.as_ref().and_then(|(newest, _)| newest.last_log_id);
        if newest <= meta.last_log_id {
            state.snapshot = Some((meta.clone(), Arc::clone(&snapshot)));
        }
        Ok(SnapshotOf::<Types, _> { meta, snapshot })
    }
}

impl<S: StateMachine> RaftStateMachine<Types> for Machine<S> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>), io::Error> {
        let state = self.read();
        Ok((state.last, state.membership.clone()))
    }

    async fn apply<E>(&mut self, mut entries: E) -> Result<(), io::Error>
    where
        E: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let response = {
                let mut state = self.write();
                state.last = Some(entry.log_id);
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
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let content = message::decode(&snapshot).map_err(io::Error::other)?;
        let mut state = self.write();
        state.content = content;
        state.last = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.snapshot = Some((meta.clone(), snapshot));
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, SnapshotData>>, io::Error> {
        let state = self.read();
        Ok(state.snapshot.clone().map(|(meta, snapshot)| SnapshotOf::<Types, _> { meta, snapshot }))
    }
}

//! A shard that has lost its majority for good goes on with what one replica has of it.
//!
//! This is no consensus: entries that only the lost replicas had are gone, and entries that were never
//! committed are applied as if they were. So nothing of the old group may come back into it. What goes
//! on is a group of the next generation, another one to every server, whose first state and only voter
//! are that replica's.

use std::sync::atomic::AtomicBool;

use openraft::impls::leader_id_adv::LeaderId;
use openraft::type_config::alias::{SnapshotMetaOf, StoredMembershipOf, VoteOf};
use openraft::{EntryPayload, Membership};

use super::snapshot::SnapshotFolder;
use super::{Group, GroupError, StateMachine, Types};
use crate::replication::GroupId;

impl<S: StateMachine> Group<S> {
    /// Stops this replica, and has group `next` begin here with all that its log has. Once this
    /// returns that is durable, and the group can be started.
    ///
    /// # Errors
    ///
    /// [`GroupError::Log`] if the log cannot be read or the state cannot be written;
    /// [`GroupError::Stopped`] if the log has not begun. Then nothing but the replica's end has
    /// happened, and this can be called again.
    pub(crate) async fn go_on_alone_as(&self, next: GroupId) -> Result<(), GroupError> {
        self.stop().await;
        let me = *self.raft.node_id();
        let (mut content, mut last) = {
            let applied = self.machine.read();
            (applied.content.clone(), applied.last)
        };
        loop {
            let part = self.log.part_from(last.map_or(0, |last| last.index + 1)).await?;
            if part.is_empty() {
                break;
            }
            for entry in part {
                last = Some(entry.log_id);
                if let EntryPayload::Normal(payload) = entry.payload {
                    content.apply(entry.log_id.index, &payload.0);
                }
            }
        }
        let last = last.ok_or(GroupError::Stopped)?;
        let alone = Membership::new_with_defaults(vec![[me].into()], [me]);
        let last_membership = StoredMembershipOf::<Types>::new(Some(last), alone);
        let meta = SnapshotMetaOf::<Types> { last_log_id: Some(last), last_membership };
        let folder = SnapshotFolder::new(self.storage.clone(), next);
        let writing = tokio::task::spawn_blocking(move || {
            folder.write(&(&meta).into(), &content, &AtomicBool::new(false))?;
            folder.place_written()
        });
        writing.await.map_err(|_| GroupError::Stopped)??;
        // Its first term comes after all that are in its state.
        let term = self.log.vote().map_or(0, |vote| vote.leader_id.term).max(last.leader_id.term);
        let leader_id = LeaderId { term, node_id: me };
        let vote = VoteOf::<Types> { leader_id, committed: false };
        Ok(self.storage.create_group_with(next, vote).await?)
    }
}

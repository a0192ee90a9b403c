//! Who votes in a group: one voter set is exchanged for another by the group's leader, while it goes
//! on writing.
//!
//! Servers that are to vote first follow as learners until they have about all that the leader has.
//! Then openraft changes the voters by joint consensus (Ongaro and Ousterhout, section 6), so that
//! there are never two majorities that do not overlap. Each step may be asked for again, by whoever
//! leads then, and a change that was left half done is carried on.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::{Instant as _, WatchReceiver};
use openraft::error::{ClientWriteError, RaftError};
use tokio::time::Instant;

use super::{Group, GroupError, StateMachine, Types, not_leader};
use crate::replication::ServerId;

/// A learner that lacks at most this many entries is close enough to vote.
const CLOSE_ENTRIES: u64 = 100;

/// How long one message of a change of voters may take to be committed.
const CHANGE_TIME: Duration = Duration::from_secs(5);

/// Whether a group is as it was asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arranged {
    /// It is.
    Done,
    /// Not yet: ask again.
    UnderWay,
}

impl<S: StateMachine> Group<S> {
    /// Has the group vote by `voters` alone, and be led by the first of them if that one keeps up.
    /// Waits until `deadline` for servers that have to catch up.
    ///
    /// # Errors
    ///
    /// [`GroupError::NotLeader`] unless this replica leads, also once it has handed over because it
    /// is not among the voters; [`GroupError::Unknown`] if no majority answered.
    pub(crate) async fn arrange(
        &self,
        voters: &[ServerId],
        deadline: Instant,
    ) -> Result<Arranged, GroupError> {
        // Two of these at once would undo each other's steps.
        let Ok(_alone) = self.arranging.try_lock() else { return Ok(Arranged::UnderWay) };
        // A leader that was replaced does not know who votes now.
        self.read_barrier(deadline).await?;
        let me = self.raft.node_id();
        let wanted: BTreeSet<u64> = voters.iter().map(|voter| voter.0).collect();
        let members = self.members();
        if members.leader != Some(*me) {
            return Err(GroupError::NotLeader(members.leader.map(ServerId)));
        }
        if members.voters != [wanted.clone()] {
            for newcomer in wanted.difference(&members.nodes) {
                self.change(self.raft.add_learner(*newcomer, (), false)).await?;
            }
            let to_catch_up = wanted.iter().filter(|id| !members.votes(**id));
            if !self.caught_up(&to_catch_up.copied().collect(), deadline).await? {
                return Ok(Arranged::UnderWay);
            }
            // Whoever stays leads through the change, if anybody does.
            if !wanted.contains(me)
                && let Some(heir) =
                    wanted.iter().find(|id| members.votes(**id) && self.keeps_up(**id))
            {
                return Err(self.give_way(*heir, deadline).await);
            }
            self.change(self.raft.change_membership(wanted.clone(), false)).await?;
        }
        let left: BTreeSet<u64> = self.members().nodes.difference(&wanted).copied().collect();
        if !left.is_empty() {
            self.change(self.raft.change_membership(ChangeMembers::RemoveNodes(left), false))
                .await?;
        }
        match voters.first() {
            Some(first) if first.0 != *me && self.keeps_up(first.0) => {
                Err(self.give_way(first.0, deadline).await)
            }
            _ => Ok(Arranged::Done),
        }
    }

    /// Hands over to `heir`; the answer to whoever wants the leader.
    async fn give_way(&self, heir: u64, deadline: Instant) -> GroupError {
        let me = ServerId(*self.raft.node_id());
        if self.raft.trigger().transfer_leader(heir).await.is_ok() {
            let _ = tokio::time::timeout_at(deadline, self.leader_changed(Some(me))).await;
        }
        GroupError::NotLeader(self.leader().filter(|leader| *leader != me))
    }

    async fn change<R>(
        &self,
        change: impl Future<Output = Result<R, RaftError<Types, ClientWriteError<Types>>>>,
    ) -> Result<(), GroupError> {
        match tokio::time::timeout(CHANGE_TIME, change).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(not_leader(&forward))
            }
            // Another one that was begun before has to end first, or nobody knows.
            Err(_)
            | Ok(Err(
                RaftError::Fatal(_)
                | RaftError::APIError(
                    ClientWriteError::ChangeMembershipError(_)
                    | ClientWriteError::PreconditionFailed(_)
                    | ClientWriteError::LogEntryDiscarded(_),
                ),
            )) => Err(GroupError::Unknown),
        }
    }

    /// Waits until all of these followers are close to the end of the log; false at the deadline.
    async fn caught_up(
        &self,
        followers: &BTreeSet<u64>,
        deadline: Instant,
    ) -> Result<bool, GroupError> {
        let mut metrics = self.raft.metrics();
        loop {
            if followers.iter().all(|follower| self.keeps_up(*follower)) {
                return Ok(true);
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Err(_) => return Ok(false),
                Ok(Err(_)) => return Err(GroupError::Stopped),
                Ok(Ok(())) => {}
            }
        }
    }

    /// Whether this replica leads, and the follower has about all that it has.
    fn keeps_up(&self, follower: u64) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched =
            metrics.replication.as_ref().and_then(|followers| *followers.get(&follower)?);
        let last = metrics.last_log_index;
        let heard = metrics.heartbeat.as_ref().is_some_and(|heard| {
            let lost = Duration::from_millis(self.raft.config().election_timeout_max);
            heard.get(&follower).is_some_and(|at| at.is_some_and(|at| at.elapsed() < lost))
        });
        heard && matched.map(|id| id.index + CLOSE_ENTRIES) >= last
    }

    fn members(&self) -> Members {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        Members {
            leader: metrics.current_leader,
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, ())| *id).collect(),
        }
    }
}

/// Who takes part in a group, as its leader knows it.
struct Members {
    leader: Option<u64>,
    /// One set, or two while they are exchanged.
    voters: Vec<BTreeSet<u64>>,
    /// The voters and the learners.
    nodes: BTreeSet<u64>,
}

impl Members {
    fn votes(&self, id: u64) -> bool {
        self.voters.iter().any(|voters| voters.contains(&id))
    }
}

//! What a replica tells of itself, from openraft's metrics and the applied state.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Instant as _, ServerState};

use super::{Group, StateMachine};
use crate::replication::ServerId;
use crate::replication::report::{GroupReport, Progress, Role};

impl<S: StateMachine> Group<S> {
    /// What the replica sees of its group now. Whoever has not answered for `patience` counts as not
    /// heard; the caller fills in the number of records.
    pub(crate) fn report(&self, patience: Duration) -> GroupReport {
        let applied = self.applied().position();
        // A copy: openraft waits for whoever borrows its metrics.
        let metrics = self.raft.metrics().borrow_watched().clone();
        let last = self.log.last();
        let me = metrics.id;
        let membership = metrics.membership_config.membership();
        let voters: Vec<ServerId> = membership.voter_ids().map(ServerId).collect();
        let role = match metrics.state {
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner | ServerState::Shutdown => Role::Learner,
        };
        let runs = metrics.running_state.is_ok() && metrics.state != ServerState::Shutdown;
        // Who is its own majority is acknowledged by nobody else.
        let agreed = voters == [ServerId(me)]
            || metrics.last_quorum_acked.is_some_and(|at| at.elapsed() <= patience);
        let heard = metrics.heartbeat.unwrap_or_default();
        let others =
            metrics.replication.unwrap_or_default().into_iter().filter(|(id, _)| *id != me);
        let followers = others.map(|(id, matched)| Progress {
            server: ServerId(id),
            matched: matched.map(|matched| matched.index),
            heard: heard.get(&id).is_some_and(|at| at.is_some_and(|at| at.elapsed() <= patience)),
        });
        GroupReport {
            group: self.id,
            runs,
            role,
            leads: runs && role == Role::Leader && agreed,
            leader: metrics.current_leader.map(ServerId),
            term: metrics.current_term,
            last,
            committed: metrics.local_committed.map(|id| id.index),
            applied,
            learners: membership.learner_ids().map(ServerId).collect(),
            voters,
            followers: followers.collect(),
            documents: None,
        }
    }
}

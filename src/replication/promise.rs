//! A replica's promises: the leader that it voted for or followed last, and the entries that it
//! acknowledged. A replica keeps them on its disk. Whoever received one remembers it in memory, so that
//! a disk that went back in time is noticed.
//!
//! A copy of a directory that is put back, a restored image of a machine, and a disk that lost what it
//! had synced all look the same: the replica has less than it promised. Such a replica could vote twice
//! in one term, or elect a leader that lacks an acknowledged write.
//!
//! [`Promises::broken`] compares a replica's [`Standing`] with what it promised:
//!
//! | promise | is broken if |
//! |---|---|
//! | a vote for a leader, or following it | the replica's vote is for an earlier one |
//! | an entry, acknowledged to a leader | the replica follows that leader still, and lacks the entry |
//! | an entry that was committed | the replica lacks it |
//!
//! An entry that was not committed may be gone without harm: a later leader has it removed. The
//! replica's vote is for that later leader then.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::replication::{GroupId, ServerId};

/// A leader, or a candidate, in its term. Ordered: votes go to later ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Term {
    /// The number of the term.
    pub(crate) number: u64,
    /// The server.
    pub(crate) leader: ServerId,
}

/// The place of an entry in a group's log. Ordered as the entries of one log are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct EntryId {
    /// The leader that wrote the entry.
    pub(crate) term: Term,
    /// The entry's index.
    pub(crate) index: u64,
}

/// A replica's state on its disk, as far as promises go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The group.
    pub(crate) group: GroupId,
    /// The vote.
    pub(crate) vote: Option<Term>,
    /// The last entry, also if the server gave the replica up with it.
    pub(crate) last: Option<EntryId>,
}

/// A promise that a replica broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Evidence {
    /// The server ran since in a newer state of its directory.
    OtherRun,
    /// The replica voted in a later term than the one that it knows.
    Vote {
        /// The number of the group: 0, or the shard's plus one.
        group: GroupId,
        /// The term in which it voted.
        promised: u64,
        /// The term of its vote; 0 for none.
        found: u64,
    },
    /// The replica lacks entries that it acknowledged.
    Entries {
        /// The number of the group.
        group: GroupId,
        /// The index of the last entry that it acknowledged.
        promised: u64,
        /// The index of the last entry that it has; 0 for none.
        found: u64,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherRun => f.write_str("the server has run since from a newer state of it"),
            Self::Vote { group, promised, found } => {
                write!(f, "{group}: it voted in term {promised}, and knows term {found}")
            }
            Self::Entries { group, promised, found } => {
                write!(
                    f,
                    "{group}: it acknowledged entry {promised}, and has entries up to {found}"
                )
            }
        }
    }
}

/// The promises of one replica to this server.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    vote: Option<Term>,
    /// The last entry that it acknowledged to the leader of this term.
    acknowledged: Option<(Term, EntryId)>,
    /// The last committed entry among those that it acknowledged.
    committed: Option<EntryId>,
}

/// The promises that the replicas of other servers made to this server in its run.
#[derive(Debug, Default)]
pub(crate) struct Promises(Mutex<BTreeMap<(ServerId, GroupId), Promise>>);

impl Promises {
    /// Remembers that the replica has voted for `term`, or follows it.
    pub(crate) fn note_vote(&self, server: ServerId, group: GroupId, term: Term) {
        let mut promises = self.promises();
        let promise = promises.entry((server, group)).or_default();
        promise.vote = promise.vote.max(Some(term));
    }

    /// Remembers that the replica has the entries up to `entry`, in the log of the leader of `term`,
    /// where those up to `committed` are committed.
    pub(crate) fn note_entries(
        &self,
        server: ServerId,
        group: GroupId,
        term: Term,
        entry: EntryId,
        committed: Option<EntryId>,
    ) {
        let mut promises = self.promises();
        let promise = promises.entry((server, group)).or_default();
        promise.vote = promise.vote.max(Some(term));
        promise.acknowledged = promise.acknowledged.max(Some((term, entry)));
        promise.committed = promise.committed.max(committed.map(|committed| committed.min(entry)));
    }

    /// The first promise that a server broke, if it has these replicas and no others.
    pub(crate) fn broken(&self, server: ServerId, standings: &[Standing]) -> Option<Evidence> {
        let promises = self.promises();
        let range = (server, GroupId(0))..=(server, GroupId(u32::MAX));
        promises.range(range).find_map(|((_, group), promise)| {
            let standing = standings.iter().find(|standing| standing.group == *group);
            promise.broken_by(*group, standing)
        })
    }

    /// Forgets what a server promised.
    pub(crate) fn forget(&self, server: ServerId) {
        self.promises().retain(|(of, _), _| *of != server);
    }

    fn promises(&self) -> MutexGuard<'_, BTreeMap<(ServerId, GroupId), Promise>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Promise {
    fn broken_by(&self, group: GroupId, standing: Option<&Standing>) -> Option<Evidence> {
        let (vote, last) = standing.map_or((None, None), |standing| (standing.vote, standing.last));
        if vote < self.vote {
            let number = |term: Option<Term>| term.map_or(0, |term| term.number);
            let (promised, found) = (number(self.vote), number(vote));
            return Some(Evidence::Vote { group, promised, found });
        }
        let acknowledged = self.acknowledged.filter(|(term, _)| vote == Some(*term));
        let promised = self.committed.max(acknowledged.map(|(_, entry)| entry));
        let promised = promised.filter(|promised| last < Some(*promised))?;
        let found = last.map_or(0, |last| last.index);
        Some(Evidence::Entries { group, promised: promised.index, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId(7);
    const GROUP: GroupId = GroupId(3);

    fn term(number: u64) -> Term {
        Term { number, leader: ServerId(1) }
    }

    fn entry(number: u64, index: u64) -> EntryId {
        EntryId { term: term(number), index }
    }

    fn standing(vote: u64, last: EntryId) -> Vec<Standing> {
        vec![Standing { group: GROUP, vote: Some(term(vote)), last: Some(last) }]
    }

    #[test]
    fn a_replica_that_has_what_it_promised_broke_nothing() {
        let promises = Promises::default();
        assert_eq!(promises.broken(SERVER, &[]), None);
        promises.note_vote(SERVER, GROUP, term(4));
        promises.note_entries(SERVER, GROUP, term(4), entry(4, 9), Some(entry(4, 12)));
        assert_eq!(promises.broken(SERVER, &standing(4, entry(4, 9))), None);
        assert_eq!(promises.broken(SERVER, &standing(6, entry(5, 10))), None);
        assert_eq!(promises.broken(ServerId(8), &[]), None);
        promises.forget(SERVER);
        assert_eq!(promises.broken(SERVER, &[]), None);
    }

    #[test]
    fn a_vote_that_is_gone_is_noticed() {
        let promises = Promises::default();
        promises.note_vote(SERVER, GROUP, term(4));
        promises.note_vote(SERVER, GROUP, term(3));
        let vote = |found| Some(Evidence::Vote { group: GROUP, promised: 4, found });
        assert_eq!(promises.broken(SERVER, &standing(3, entry(9, 9))), vote(3));
        assert_eq!(promises.broken(SERVER, &[]), vote(0));
    }

    #[test]
    fn an_entry_that_is_gone_is_noticed_unless_a_later_leader_may_have_removed_it() {
        let promises = Promises::default();
        promises.note_entries(SERVER, GROUP, term(4), entry(4, 9), Some(entry(4, 5)));
        let entries = |promised, found| Some(Evidence::Entries { group: GROUP, promised, found });
        assert_eq!(promises.broken(SERVER, &standing(4, entry(4, 8))), entries(9, 8));
        // A later leader may have removed what was not committed.
        assert_eq!(promises.broken(SERVER, &standing(5, entry(4, 8))), None);
        assert_eq!(promises.broken(SERVER, &standing(5, entry(4, 4))), entries(5, 4));
        // An acknowledgement that comes late takes nothing back.
        promises.note_entries(SERVER, GROUP, term(4), entry(4, 2), Some(entry(4, 2)));
        assert_eq!(promises.broken(SERVER, &standing(4, entry(4, 8))), entries(9, 8));
    }
}

//! Sessions: each batch of writes is applied once, however often its client sends it.
//!
//! A client numbers the batches that it sends to a shard 1, 2, 3, …, has one of them under way at
//! a time, and sends a batch again under its old number until it knows the outcome or gives up
//! (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", section 8; Ongaro's
//! thesis, section 6.3). The table holds the last number and its response for each client. It is
//! part of the shard's state, so that every replica decides alike, and it forgets by log position,
//! never by the clock: past [`SESSIONS_MAX`] clients, the one that has been silent for the most log
//! entries goes. With each batch a client tells the last number that it got a response to: one that
//! had a response and is not in the table was forgotten, and begins a new session.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::log::{LogError, SnapshotReader, SnapshotWriter};
use crate::replication::ClientId;
use crate::replication::message;

/// The most clients that a shard remembers.
pub(crate) const SESSIONS_MAX: usize = 10_000;

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It has not been seen: apply it, then [`Sessions::record`] the response.
    New,
    /// It has been applied: this was the response.
    Repeated(Vec<u8>),
    /// The client has gone on, or its session was forgotten: whether it was applied is unknown.
    Unknown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    sequence: u64,
    response: Vec<u8>,
    /// Log index of the last batch.
    index: u64,
}

/// The last batch of each client. Invariant: `by_index` holds exactly `(index, client)` of every
/// session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    clients: BTreeMap<ClientId, Session>,
    by_index: BTreeMap<u64, ClientId>,
}

impl Sessions {
    /// Decides about the batch `sequence` of `client`. Takes **O(log n)** for n sessions.
    pub(crate) fn admit(&self, client: ClientId, sequence: u64, acknowledged: u64) -> Admission {
        if cfg!(triekv_planted = "retry_without_id") {
            // Planted: nobody remembers what was applied.
            return Admission::New;
        }
        match self.clients.get(&client) {
            None if acknowledged == 0 => Admission::New,
            Some(session) if sequence > session.sequence => Admission::New,
            Some(session) if sequence == session.sequence => {
                Admission::Repeated(session.response.clone())
            }
            None | Some(_) => Admission::Unknown,
        }
    }

    /// The number of the client's last batch, 0 if it is not known.
    pub(crate) fn last(&self, client: ClientId) -> u64 {
        self.clients.get(&client).map_or(0, |session| session.sequence)
    }

    /// Notes the response to a batch that was applied at log index `index`, each index once.
    pub(crate) fn record(
        &mut self,
        client: ClientId,
        sequence: u64,
        response: Vec<u8>,
        index: u64,
    ) {
        let old = self.clients.insert(client, Session { sequence, response, index });
        if let Some(old) = old {
            self.by_index.remove(&old.index);
        }
        self.by_index.insert(index, client);
        if self.clients.len() > SESSIONS_MAX
            && let Some((_, silent)) = self.by_index.pop_first()
        {
            self.clients.remove(&silent);
        }
    }

    /// Writes the table as items of a snapshot: the number of sessions, then each.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(crate) fn write_to<W: Write>(&self, out: &mut SnapshotWriter<W>) -> io::Result<()> {
        out.item(&message::encode(&self.clients.len()))?;
        self.clients.iter().try_for_each(|session| out.item(&message::encode(&session)))
    }

    /// Reads what [`Sessions::write_to`] wrote.
    ///
    /// # Errors
    ///
    /// [`LogError`] if it cannot be read, or is no table.
    pub(crate) fn read_from<R: Read>(input: &mut SnapshotReader<R>) -> Result<Self, LogError> {
        let count = input.next_item()?.and_then(|count| message::decode::<usize>(count).ok());
        let count = count.filter(|count| *count <= SESSIONS_MAX);
        let mut sessions = Self::default();
        for _ in 0..count.ok_or_else(|| input.malformed())? {
            let item = input.next_item()?.and_then(|item| message::decode(item).ok());
            let (client, session): (ClientId, Session) = item.ok_or_else(|| input.malformed())?;
            let other_client = sessions.by_index.insert(session.index, client);
            let other_session = sessions.clients.insert(client, session);
            if other_client.is_some() || other_session.is_some() {
                return Err(input.malformed());
            }
        }
        Ok(sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = ClientId(7);

    #[test]
    fn a_batch_sent_again_gets_the_response_it_got() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.admit(CLIENT, 1, 0), Admission::New);
        sessions.record(CLIENT, 1, b"first".to_vec(), 10);
        assert_eq!(sessions.admit(CLIENT, 1, 0), Admission::Repeated(b"first".to_vec()));
        assert_eq!(sessions.admit(CLIENT, 2, 1), Admission::New);
        sessions.record(CLIENT, 2, b"second".to_vec(), 11);
        assert_eq!(sessions.admit(CLIENT, 1, 0), Admission::Unknown);
    }

    #[test]
    fn a_number_may_be_skipped_and_the_late_batch_under_it_is_not_applied() {
        let mut sessions = Sessions::default();
        // The client gave up on batch 1 before it had any response.
        assert_eq!(sessions.admit(CLIENT, 2, 0), Admission::New);
        sessions.record(CLIENT, 2, vec![], 1);
        assert_eq!(sessions.admit(CLIENT, 1, 0), Admission::Unknown);
        assert_eq!(sessions.admit(CLIENT, 4, 2), Admission::New);
    }

    #[test]
    fn the_client_silent_for_longest_is_forgotten_and_told_so() {
        let mut sessions = Sessions::default();
        let count = SESSIONS_MAX as u64;
        for client in 0..count {
            sessions.record(ClientId(client), 1, vec![], client);
        }
        sessions.record(ClientId(0), 2, vec![], count);
        sessions.record(ClientId(count), 1, vec![], count + 1);
        assert_eq!(sessions.clients.len(), SESSIONS_MAX);
        assert_eq!(sessions.by_index.len(), SESSIONS_MAX);
        assert_eq!(sessions.admit(ClientId(0), 3, 2), Admission::New);
        assert_eq!(sessions.admit(ClientId(1), 2, 1), Admission::Unknown);
    }
}

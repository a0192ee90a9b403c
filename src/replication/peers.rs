//! The way from a server to the others, and who they are to each other.
//!
//! A server introduces itself to another one before it votes for it, follows it or sends it anything
//! of a group, once in each of its runs ([`Peers::meet`]). It tells its runs and the [`Standing`] of its
//! replicas at the start of this run. The other remembers the newest run of each server, on its disk,
//! and what the replicas promised, in memory, and compares ([`Acquaintances::judge`]). So a server
//! whose directory went back in time takes part in nothing with those who know better, and a second
//! process with the identity of a server is told from the first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::Instant;

use crate::replication::message::{
    self, Addresses, Introduction, Reception, Refusal, Request, Response,
};
use crate::replication::meta::ClusterMap;
use crate::replication::promise::{Evidence, Promises, Standing};
use crate::replication::{ClusterId, DecodeError, RunId, ServerId};
use crate::transport::{Transport, TransportError};

/// The longest time that a server waits to be introduced to another one.
pub(crate) const MEET_TIME: Duration = Duration::from_secs(1);

/// The newest runs that a server keeps of its own.
pub(crate) const RUNS_MAX: usize = 1024;

/// The way from a server to the others.
#[derive(Debug)]
pub(crate) struct Peers<T> {
    me: Myself,
    transport: Arc<T>,
    addresses: AddressBook,
    /// Those to whom this server has introduced itself in this run.
    met: Mutex<BTreeMap<ServerId, Arc<OnceCell<()>>>>,
    /// The promises of their replicas to this server.
    pub(crate) promises: Promises,
    acquaintances: Mutex<Acquaintances>,
    /// A message met another server than the one that it was for.
    elsewhere: Notify,
    /// The verdict of another server that ends this run.
    verdict: watch::Sender<Option<Verdict>>,
}

/// A server as it introduces itself to others.
#[derive(Debug, Clone)]
pub(crate) struct Myself {
    pub(crate) server: ServerId,
    /// The runs of the server on its directory, the newest and present one last.
    pub(crate) runs: Vec<RunId>,
    /// The replicas as they were at the start of this run.
    pub(crate) standings: Vec<Standing>,
    /// Set if earlier promises do not count.
    pub(crate) accept_past: bool,
}

impl Myself {
    /// The present run.
    pub(crate) fn run(&self) -> RunId {
        self.runs.last().copied().unwrap_or(RunId(0))
    }
}

/// A finding of another server with which this one cannot go on.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// This server's directory is from the past.
    Past(Evidence),
    /// This server is in the cluster no more, by this map.
    Left(Box<ClusterMap>),
    /// Another process runs with this server's identity, and answers at this address.
    Twin(String),
}

impl<T: Transport> Peers<T> {
    pub(crate) fn new(me: Myself, acquaintances: Acquaintances, transport: Arc<T>) -> Self {
        Self {
            me,
            acquaintances: Mutex::new(acquaintances),
            elsewhere: Notify::new(),
            transport,
            addresses: AddressBook::default(),
            met: Mutex::default(),
            promises: Promises::default(),
            verdict: watch::Sender::new(None),
        }
    }

    /// The server that reaches out.
    pub(crate) fn server(&self) -> ServerId {
        self.me.server
    }

    /// Its present run.
    pub(crate) fn run(&self) -> RunId {
        self.me.run()
    }

    /// The addresses of the others.
    pub(crate) fn addresses(&self) -> &AddressBook {
        &self.addresses
    }

    /// Sends `request` to server `to`.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if its address is not known, it does not answer, or answers nonsense.
    pub(crate) async fn call(
        &self,
        to: ServerId,
        request: &Request,
        deadline: Instant,
    ) -> Result<Response, PeerError> {
        let address = self.addresses.get(to).ok_or(PeerError::NoAddress)?;
        self.call_at(&address, request, deadline).await
    }

    /// Sends `request` to the server at `address`, whoever that is.
    pub(crate) async fn call_at(
        &self,
        address: &str,
        request: &Request,
        deadline: Instant,
    ) -> Result<Response, PeerError> {
        let frame = message::encode(request);
        let response = self.transport.call(address, frame, deadline).await?;
        Ok(message::decode(&response)?)
    }

    /// Introduces this server to `to`, unless that was done in this run.
    ///
    /// # Errors
    ///
    /// [`PeerError`] if the other one gives no answer, or does not welcome this server.
    pub(crate) async fn meet(
        &self,
        to: ServerId,
        cluster: ClusterId,
        deadline: Instant,
    ) -> Result<(), PeerError> {
        let cell = Arc::clone(self.met().entry(to).or_default());
        cell.get_or_try_init(|| self.introduce(to, cluster, deadline)).await.copied()
    }

    async fn introduce(
        &self,
        to: ServerId,
        cluster: ClusterId,
        deadline: Instant,
    ) -> Result<(), PeerError> {
        let Myself { server, runs, standings, accept_past } = self.me.clone();
        let epoch = self.addresses.epoch();
        let introduction =
            Introduction { to, server, cluster, epoch, runs, standings, accept_past };
        let deadline = deadline.min(Instant::now() + MEET_TIME);
        match self.call(to, &Request::Introduce(Box::new(introduction)), deadline).await? {
            Response::Introduced(Reception::Welcome) => Ok(()),
            Response::Introduced(Reception::Past { evidence, map }) => {
                self.note_verdict(Verdict::Past(evidence));
                Err(PeerError::Past { evidence, map })
            }
            Response::Introduced(Reception::Left(map)) => {
                self.note_verdict(Verdict::Left(map));
                Err(PeerError::Left)
            }
            Response::Introduced(Reception::Twin { address }) => {
                self.note_verdict(Verdict::Twin(address.clone()));
                Err(PeerError::Twin { address })
            }
            Response::Refused(refusal) => {
                self.note_refusal(to, &refusal);
                Err(PeerError::Refused(refusal))
            }
            _ => Err(PeerError::Nonsense),
        }
    }

    /// Has this server introduce itself to `to` again before anything else is sent there.
    pub(crate) fn part(&self, to: ServerId) {
        self.met().remove(&to);
    }

    /// Takes note of a refusal to deal with this server's replicas.
    pub(crate) fn note_refusal(&self, by: ServerId, refusal: &Refusal) {
        match refusal {
            // It does not know this run: introduce it again.
            Refusal::Stranger => self.part(by),
            Refusal::OtherServer => self.elsewhere.notify_one(),
            _ => {}
        }
    }

    /// Waits until another server was found at the address of one that is known.
    pub(crate) async fn found_elsewhere(&self) {
        self.elsewhere.notified().await;
    }

    /// The newest run of a server that introduced itself to this one.
    pub(crate) fn run_of(&self, server: ServerId) -> Option<RunId> {
        self.acquaintances().run(server)
    }

    /// The servers that introduced themselves to this one.
    pub(crate) fn acquaintances(&self) -> MutexGuard<'_, Acquaintances> {
        self.acquaintances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first verdict.
    fn note_verdict(&self, new: Verdict) {
        self.verdict.send_if_modified(|verdict| {
            let first = verdict.is_none();
            if first {
                *verdict = Some(new);
            }
            first
        });
    }

    /// Waits until another server says something that this run cannot go on with.
    pub(crate) async fn verdict(&self) -> Verdict {
        let mut verdict = self.verdict.subscribe();
        loop {
            if let Some(verdict) = verdict.borrow_and_update().clone() {
                return verdict;
            }
            // The sender is part of `self`.
            let _ = verdict.changed().await;
        }
    }

    fn met(&self) -> MutexGuard<'_, BTreeMap<ServerId, Arc<OnceCell<()>>>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason why another server gave no answer, or none that helps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// No map names its address.
    #[error("the address of the server is not known")]
    NoAddress,
    /// It cannot be reached, or did not answer in time.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Its answer is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It knows this server in a newer state.
    #[error("this server's directory is from the past: {evidence}")]
    Past {
        /// The proof.
        evidence: Evidence,
        /// The newest map that the other one knows.
        map: Option<Box<ClusterMap>>,
    },
    /// It knows that this server has left the cluster.
    #[error("this server has left the cluster")]
    Left,
    /// Another process runs with this server's identity.
    #[error("another process runs with this server's identity at {address}")]
    Twin {
        /// The address at which that one answers.
        address: String,
    },
    /// It refuses to be introduced to.
    #[error("the server refused the introduction: {0}")]
    Refused(Refusal),
    /// Its answer is of another kind.
    #[error("the server gave an answer of another kind")]
    Nonsense,
}

/// The newest runs of other servers.
#[derive(Debug, Default)]
pub(crate) struct Acquaintances {
    runs: BTreeMap<ServerId, RunId>,
    /// Servers whose directory is from the past, until they are welcome again.
    past: BTreeMap<ServerId, Evidence>,
}

impl Acquaintances {
    /// Those that were met in an earlier run of this server.
    pub(crate) fn known(runs: BTreeMap<ServerId, RunId>) -> Self {
        Self { runs, past: BTreeMap::new() }
    }

    /// The newest runs, by server.
    pub(crate) fn runs(&self) -> &BTreeMap<ServerId, RunId> {
        &self.runs
    }

    /// The newest run of a server.
    pub(crate) fn run(&self, server: ServerId) -> Option<RunId> {
        self.runs.get(&server).copied()
    }

    /// Servers whose directory is from the past.
    pub(crate) fn past(&self) -> &BTreeMap<ServerId, Evidence> {
        &self.past
    }

    /// The reason why a server that introduces itself is from the past, if it is.
    pub(crate) fn judge(
        &self,
        introduction: &Introduction,
        promises: &Promises,
    ) -> Option<Evidence> {
        let known = self.run(introduction.server);
        if known.is_some_and(|known| !introduction.runs.contains(&known)) {
            return Some(Evidence::OtherRun);
        }
        // A server in the run in which it made its promises has them.
        if known.is_some() && known == introduction.runs.last().copied() {
            return None;
        }
        promises.broken(introduction.server, &introduction.standings)
    }

    /// Notes that a server is from the past; false if that is no news.
    pub(crate) fn note_past(&mut self, server: ServerId, evidence: Evidence) -> bool {
        self.past.insert(server, evidence) != Some(evidence)
    }

    /// Notes the newest run of a server that is welcome; false if that is no news.
    pub(crate) fn note_run(&mut self, server: ServerId, run: RunId) -> bool {
        self.past.remove(&server);
        self.runs.insert(server, run) != Some(run)
    }

    /// Forgets the servers that are not in the map.
    pub(crate) fn retain(&mut self, servers: &Addresses) {
        self.runs.retain(|server, _| servers.contains_key(server));
        self.past.retain(|server, _| servers.contains_key(server));
    }
}

/// Addresses at which servers were found that the map has at others. Each holds until the map has
/// another address for the server than it had then.
#[derive(Debug, Default)]
pub(crate) struct FoundAddresses(BTreeMap<ServerId, Found>);

#[derive(Debug)]
struct Found {
    /// The address in the map.
    before: String,
    address: String,
}

impl FoundAddresses {
    /// Notes where servers were found that the map has at `known` addresses.
    pub(crate) fn note(&mut self, known: &Addresses, found: &Addresses) {
        for (server, address) in found {
            match known.get(server) {
                Some(before) if before != address => {
                    let (before, address) = (before.clone(), address.clone());
                    self.0.insert(*server, Found { before, address });
                }
                _ => drop(self.0.remove(server)),
            }
        }
    }

    /// The address of a server that the map has at `known`.
    pub(crate) fn of<'a>(&'a self, server: ServerId, known: &'a String) -> &'a String {
        self.0.get(&server).filter(|found| found.before == *known).map_or(known, |it| &it.address)
    }
}

/// The addresses of the servers, as the newest map has them, or as they were found since.
#[derive(Debug, Default)]
pub(crate) struct AddressBook(RwLock<Addressed>);

#[derive(Debug, Default)]
struct Addressed {
    known: Addresses,
    epoch: u64,
    found: FoundAddresses,
}

impl AddressBook {
    /// The address of a server.
    pub(crate) fn get(&self, server: ServerId) -> Option<String> {
        let book = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = book.known.get(&server)?;
        Some(book.found.of(server, known).clone())
    }

    /// The epoch of the map that was taken over last.
    pub(crate) fn epoch(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// Takes over the addresses of a newer map.
    pub(crate) fn update(&self, map: &ClusterMap) {
        let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
        book.known.extend(map.servers.clone());
        book.epoch = book.epoch.max(map.epoch);
    }

    /// Takes over addresses at which servers of the map were found.
    pub(crate) fn learn(&self, found: &Addresses) {
        let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Addressed { known, found: all, .. } = &mut *book;
        all.note(known, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_found_address_holds_until_the_map_has_a_new_one() {
        let addresses = |address: &str| Addresses::from([(ServerId(1), address.to_owned())]);
        let map = |epoch, address: &str| {
            let plan = ClusterMap::plan(ClusterId(1), 1, false, addresses(address));
            ClusterMap { epoch, ..plan }
        };
        let book = AddressBook::default();
        let at = || book.get(ServerId(1)).unwrap();
        book.update(&map(1, "a"));
        book.learn(&addresses("b"));
        assert_eq!(at(), "b");
        // A newer map that knows nothing of it takes nothing back.
        book.update(&map(2, "a"));
        assert_eq!((at(), book.epoch()), ("b".to_owned(), 2));
        book.update(&map(3, "c"));
        assert_eq!(at(), "c");
        // An address of a stranger is of no use.
        book.learn(&Addresses::from([(ServerId(2), "d".to_owned())]));
        assert_eq!(book.get(ServerId(2)), None);
    }
}

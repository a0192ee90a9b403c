//! Whom a listener lets in.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Counts the open connections, in total and of each peer, and keeps both within their limits.
///
/// A newcomer at a limit takes the place of the oldest connection that has not said hello yet: a
/// client that opens connections and stays silent can then neither fill the listener nor keep
/// others out.
pub(super) struct Admission {
    total_max: usize,
    per_peer_max: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last_id: u64,
    peers: HashMap<u64, IpAddr>,
    /// Connections of each peer; none with zero.
    counts: HashMap<IpAddr, usize>,
    /// Those that have not said hello, oldest first. Dropping the sender evicts the connection.
    silent: BTreeMap<u64, oneshot::Sender<Infallible>>,
}

/// Resolves when the connection has to make room for another one.
pub(super) type Evicted = oneshot::Receiver<Infallible>;

/// A connection's place, given back when this is dropped.
pub(super) struct Place {
    admission: Arc<Admission>,
    id: u64,
}

impl Admission {
    pub(super) fn new(total_max: usize, per_peer_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, per_peer_max, open: Mutex::default() })
    }

    /// Gives a connection from `peer` a place, or `None` if all are taken by others that have said
    /// hello.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<(Place, Evicted)> {
        let peer = peer.to_canonical();
        let mut open = self.open();
        if open.counts.get(&peer).is_some_and(|&count| count >= self.per_peer_max) {
            open.evict(|of| of == peer).then_some(())?;
        } else if open.peers.len() >= self.total_max {
            open.evict(|_| true).then_some(())?;
        }
        open.last_id += 1;
        let id = open.last_id;
        open.peers.insert(id, peer);
        *open.counts.entry(peer).or_default() += 1;
        let (silent, evicted) = oneshot::channel();
        open.silent.insert(id, silent);
        Some((Place { admission: self.clone(), id }, evicted))
    }

    /// Makes the oldest connection that has not said hello end; tells whether there was one.
    pub(super) fn evict_oldest(&self) -> bool {
        self.open().evict(|_| true)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while the lock is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn evict(&mut self, chosen: impl Fn(IpAddr) -> bool) -> bool {
        let oldest =
            self.silent.keys().copied().find(|id| self.peers.get(id).is_some_and(|&of| chosen(of)));
        oldest.map(|id| self.release(id)).is_some()
    }

    /// Gives back the place of a connection. Without effect if it was evicted before.
    fn release(&mut self, id: u64) {
        self.silent.remove(&id);
        let Some(peer) = self.peers.remove(&id) else { return };
        if let Some(count) = self.counts.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&peer);
            }
        }
    }
}

impl Place {
    /// Notes that the connection has said hello: it is no longer evicted. Tells whether it still
    /// has its place.
    pub(super) fn greeted(&self) -> bool {
        self.admission.open().silent.remove(&self.id).is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.open().release(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn greeted(admission: &Arc<Admission>, peer: IpAddr) -> Place {
        let (place, _evicted) = admission.admit(peer).expect("a place is free");
        assert!(place.greeted());
        place
    }

    #[test]
    fn one_past_a_limit_is_turned_away_until_a_place_is_given_back() {
        let admission = Admission::new(3, 2);
        let first = greeted(&admission, A);
        let _second = greeted(&admission, A);
        assert!(admission.admit(A).is_none(), "two of one peer");
        let _third = greeted(&admission, B);
        assert!(admission.admit(B).is_none(), "three in total");
        drop(first);
        assert!(admission.admit(B).is_some());
    }

    #[test]
    fn the_oldest_silent_connection_makes_room_once() {
        let admission = Admission::new(10, 2);
        let (_other, mut other) = admission.admit(B).unwrap();
        let (oldest_place, mut oldest) = admission.admit(A).unwrap();
        let (_newer_place, mut newer) = admission.admit(A).unwrap();
        let _newcomer = greeted(&admission, A);
        assert!(matches!(oldest.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(matches!(newer.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        assert!(matches!(other.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        assert!(!oldest_place.greeted(), "too late");
        // The place of the evicted connection is taken already: that it ends frees no second one.
        drop(oldest_place);
        let _last = greeted(&admission, A);
        assert!(admission.admit(A).is_none());
    }

    #[test]
    fn a_peer_is_the_same_by_both_versions_of_its_address() {
        let admission = Admission::new(10, 1);
        let _place = greeted(&admission, A);
        let IpAddr::V4(v4) = A else { unreachable!("A is one") };
        assert!(admission.admit(v4.to_ipv6_mapped().into()).is_none());
    }
}

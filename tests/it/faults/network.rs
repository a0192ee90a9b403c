//! A network that loses, repeats, delays and refuses frames, by rule and by chance.
//!
//! Chances are drawn from a seed. Each frame takes a moment of the clock, so that on a paused clock
//! time goes on however busy servers and clients are.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use triekv::transport::{
    BoxFuture, ChannelTransport, Frame, Handler, Listener, Transport, TransportError,
};

/// How long a frame takes.
const LATENCY: Duration = Duration::from_millis(1);

/// How long a request whose caller has gone may wait to be handled.
const ABANDONED_TIME: Duration = Duration::from_secs(10);

/// What becomes of the requests from one name to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Link {
    /// They are refused.
    Refused,
    /// Those of more bytes are refused.
    RefusedOver(usize),
    /// They vanish.
    RequestsLost,
    /// They arrive, and their answers vanish.
    AnswersLost,
    /// They wait until the link is another one.
    Held,
    /// Each is on its way for so long, and arrives even if its caller has gone.
    Delayed(Duration),
    /// As `Delayed`, by this many bytes a second, each request by itself.
    Slow(u64),
}

/// How many of a thousand requests meet which fault.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub(super) struct Chances {
    pub(super) request_lost: u64,
    pub(super) answer_lost: u64,
    pub(super) duplicated: u64,
    pub(super) delayed: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Delivered,
    Refused,
    RequestLost,
    /// It has been carried out.
    AnswerLost,
    Held,
    Duplicated,
    Delayed,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) len: usize,
    pub(super) fate: Fate,
}

/// A handle on the network, by the name of who calls.
#[derive(Debug, Clone)]
pub(super) struct Network {
    inner: ChannelTransport,
    name: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    links: watch::Sender<BTreeMap<(String, String), Link>>,
    chances: watch::Sender<Chances>,
    events: watch::Sender<Vec<Event>>,
    seed: u64,
    drawn: AtomicU64,
}

impl Network {
    /// A network without faults, whose chances will come from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let shared = Shared {
            links: watch::Sender::default(),
            chances: watch::Sender::default(),
            events: watch::Sender::default(),
            seed,
            drawn: AtomicU64::new(0),
        };
        Self { inner: ChannelTransport::new(), name: String::new(), shared: Arc::new(shared) }
    }

    pub(super) fn named(&self, name: &str) -> Self {
        Self { inner: self.inner.named(name), name: name.to_owned(), shared: self.shared.clone() }
    }

    /// Sets what becomes of the requests from `from` to `to`.
    pub(super) fn set(&self, from: &str, to: &str, link: Link) {
        let between = (from.to_owned(), to.to_owned());
        self.shared.links.send_modify(|links| {
            links.insert(between, link);
        });
    }

    /// Sets what becomes of the requests between each two of these names.
    pub(super) fn set_all(&self, names: &[String], link: Link) {
        for from in names {
            for to in names.iter().filter(|to| *to != from) {
                self.set(from, to, link);
            }
        }
    }

    /// Makes the link from `from` to `to` a good one again.
    pub(super) fn unset(&self, from: &str, to: &str) {
        let between = (from.to_owned(), to.to_owned());
        self.shared.links.send_modify(|links| {
            links.remove(&between);
        });
    }

    /// Makes every link a good one again.
    pub(super) fn clear(&self) {
        self.shared.links.send_modify(BTreeMap::clear);
    }

    pub(super) fn isolate(&self, name: &str) {
        self.inner.isolate(name);
    }

    pub(super) fn heal(&self, name: &str) {
        self.inner.heal(name);
    }

    pub(super) fn set_chances(&self, chances: Chances) {
        self.shared.chances.send_replace(chances);
    }

    /// A number below `end`, the next of the seed's.
    pub(super) fn draw(&self, end: u64) -> u64 {
        // The finalizer of SplitMix64 over the number of the draw.
        let drawn = self.shared.drawn.fetch_add(1, Ordering::Relaxed);
        let mut x = (drawn ^ self.shared.seed.rotate_left(32)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }

    /// How many requests have met this fate.
    pub(super) fn count(&self, fate: Fate) -> usize {
        self.shared.events.borrow().iter().filter(|event| event.fate == fate).count()
    }

    /// The requests since the first `start` ones.
    pub(super) fn events(&self, start: usize) -> Vec<Event> {
        self.shared.events.borrow()[start..].to_vec()
    }

    /// How many requests there have been.
    pub(super) fn now(&self) -> usize {
        self.shared.events.borrow().len()
    }

    /// Waits until one of the requests since the first `start` ones is like this.
    pub(super) async fn until(&self, start: usize, is: impl Fn(&Event) -> bool) {
        let mut events = self.shared.events.subscribe();
        let seen = events.wait_for(|events| events[start..].iter().any(&is)).await;
        drop(seen.expect("the network is there"));
    }

    fn note(&self, to: &str, len: usize, fate: Fate) {
        let event = Event { from: self.name.clone(), to: to.to_owned(), len, fate };
        self.shared.events.send_modify(|events| events.push(event));
    }

    fn link(&self, to: &str) -> Option<Link> {
        self.shared.links.borrow().get(&(self.name.clone(), to.to_owned())).copied()
    }

    fn fate(&self, to: &str, len: usize) -> (Fate, Duration) {
        let bytes = len as u64;
        match self.link(to) {
            Some(Link::Refused) => (Fate::Refused, LATENCY),
            Some(Link::RefusedOver(limit)) if len > limit => (Fate::Refused, LATENCY),
            Some(Link::RefusedOver(_)) => (Fate::Delivered, LATENCY),
            Some(Link::RequestsLost) => (Fate::RequestLost, LATENCY),
            Some(Link::AnswersLost) => (Fate::AnswerLost, LATENCY),
            Some(Link::Held) => (Fate::Held, LATENCY),
            Some(Link::Delayed(by)) => (Fate::Delayed, by),
            Some(Link::Slow(rate)) => {
                (Fate::Delayed, LATENCY + Duration::from_micros(bytes * 1_000_000 / rate))
            }
            None => self.chance(),
        }
    }

    fn chance(&self) -> (Fate, Duration) {
        let chances = *self.shared.chances.borrow();
        let late = |end| Duration::from_millis(self.draw(end));
        let drawn = self.draw(1000);
        let request_lost = chances.request_lost;
        let answer_lost = request_lost + chances.answer_lost;
        let duplicated = answer_lost + chances.duplicated;
        let delayed = duplicated + chances.delayed;
        match drawn {
            n if n < request_lost => (Fate::RequestLost, LATENCY),
            n if n < answer_lost => (Fate::AnswerLost, LATENCY),
            n if n < duplicated => (Fate::Duplicated, late(self.copies_come_late())),
            n if n < delayed => (Fate::Delayed, late(300)),
            _ => (Fate::Delivered, LATENCY),
        }
    }

    /// How many milliseconds a copy of a request may come after the original. One of a client comes
    /// with it: a server that has refused the original, or one that has come back since, would else
    /// carry out what the client knows not to be. Over a connection no copy comes by itself; those
    /// that clients send again come late by other faults.
    fn copies_come_late(&self) -> u64 {
        if self.name.starts_with("server") { 1500 } else { 1 }
    }

    /// Delivers a request after `by`, whether or not its caller still waits.
    fn deliver(
        &self,
        to: &str,
        request: Frame,
        by: Duration,
    ) -> JoinHandle<Result<Frame, TransportError>> {
        let (inner, to) = (self.inner.clone(), to.to_owned());
        tokio::spawn(async move {
            sleep(by).await;
            inner.call(&to, request, Instant::now() + ABANDONED_TIME).await
        })
    }

    /// Carries a request as if there were no deadline.
    async fn carry(
        &self,
        to: &str,
        request: Frame,
        deadline: Instant,
    ) -> Result<Frame, TransportError> {
        let len = request.len();
        let (fate, by) = self.fate(to, len);
        match fate {
            Fate::Delivered => {
                self.note(to, len, fate);
                sleep(LATENCY).await;
                self.inner.call(to, request, deadline).await
            }
            Fate::Refused => {
                self.note(to, len, fate);
                sleep(LATENCY).await;
                let source = Arc::new(io::ErrorKind::ConnectionRefused.into());
                Err(TransportError::Refused { address: to.to_owned(), source })
            }
            Fate::RequestLost => {
                self.note(to, len, fate);
                pending().await
            }
            Fate::AnswerLost => {
                let done = self.deliver(to, request, by).await;
                done.expect("a delivery does not panic")?;
                self.note(to, len, fate);
                if self.link(to).is_some() {
                    return pending().await;
                }
                let source = Arc::new(io::ErrorKind::ConnectionReset.into());
                Err(TransportError::Lost { address: to.to_owned(), source })
            }
            Fate::Held => {
                self.note(to, len, fate);
                let between = (self.name.clone(), to.to_owned());
                let mut links = self.shared.links.subscribe();
                let held = |links: &BTreeMap<_, _>| links.get(&between) == Some(&Link::Held);
                drop(links.wait_for(|links| !held(links)).await.expect("the network is there"));
                self.inner.call(to, request, deadline).await
            }
            Fate::Duplicated => {
                self.note(to, len, fate);
                drop(self.deliver(to, request.clone(), by));
                sleep(LATENCY).await;
                self.inner.call(to, request, deadline).await
            }
            Fate::Delayed => {
                self.note(to, len, fate);
                self.deliver(to, request, by).await.expect("a delivery does not panic")
            }
        }
    }
}

impl Transport for Network {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: Frame,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Frame, TransportError>> {
        Box::pin(async move {
            let silent =
                || TransportError::DeadlineExceeded { address: address.to_owned(), sent: true };
            let carried = timeout_at(deadline, self.carry(address, request, deadline)).await;
            carried.unwrap_or_else(|_| Err(silent()))
        })
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Listener, TransportError>> {
        self.inner.listen(address, handler)
    }
}

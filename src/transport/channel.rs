//! A network inside this process, with partitions on demand.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug, Formatter};
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{
    BoxFuture, Closing, FRAME_BYTES_MAX, Frame, Handler, Listener, Transport, TransportError,
    check_call,
};

/// Requests that a listener handles at once; further ones wait for their turn.
const IN_FLIGHT_MAX: usize = 1024;

/// A [`Transport`] between the tasks of one process.
///
/// Clones are on the same network; each [`new`](ChannelTransport::new) makes another one. Any
/// string is an address. One that ends in `:0` is listened at under a free port instead, as with
/// TCP.
///
/// Frame limit, deadlines and errors are those of [`TcpTransport`](super::TcpTransport); there are
/// no connections, so nothing else is limited. Each listener handles up to 1024 requests at once.
///
/// # Partitions
/// [`isolate`](ChannelTransport::isolate) cuts a name off. For calls *from* it to be cut as well,
/// they must be made through [`named`](ChannelTransport::named).
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use triekv::transport::{BoxFuture, ChannelTransport, Frame, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = ChannelTransport::new();
/// let shout = |_peer: &str, mut request: Frame| -> BoxFuture<'static, Frame> {
///     request.make_ascii_uppercase();
///     Box::pin(async move { request })
/// };
/// let listener = network.listen("server1", Arc::new(shout)).await?;
///
/// let deadline = Instant::now() + Duration::from_secs(5);
/// assert_eq!(network.call("server1", b"mary".to_vec(), deadline).await?, b"MARY");
/// # listener.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ChannelTransport {
    network: Arc<Mutex<Network>>,
    /// Where calls of this handle come from; empty unless named.
    name: Arc<str>,
    frame_bytes_max: u32,
}

/// What the handles of one network share.
#[derive(Default)]
struct Network {
    listeners: HashMap<String, mpsc::Sender<Request>>,
    isolated: HashSet<String>,
    /// The port that was last given to an address ending in `:0`.
    last_port: u64,
}

/// A request on its way to a listener.
struct Request {
    peer: Arc<str>,
    body: Frame,
    /// Dropped without a response if the handler panics or the listener closes.
    response: oneshot::Sender<Frame>,
}

impl ChannelTransport {
    /// Makes a network with nobody on it, and returns a handle without a name.
    pub fn new() -> Self {
        Self { network: Arc::default(), name: Arc::from(""), frame_bytes_max: FRAME_BYTES_MAX }
    }

    /// Returns a handle on the same network that carries frames of at most `bytes` bytes.
    #[must_use]
    pub fn with_frame_bytes_max(self, bytes: u32) -> Self {
        Self { frame_bytes_max: bytes, ..self }
    }

    /// Returns a handle on the same network whose calls come from `name`.
    ///
    /// `name` is the `peer` that handlers see. A server is given a handle with the name that it
    /// listens at.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self { name: Arc::from(name), ..self.clone() }
    }

    /// Cuts `name` off: until [`heal`](ChannelTransport::heal), no request and no response passes
    /// between it and others.
    ///
    /// Calls to and from it are silent until their deadline, and fail as sent, since a caller
    /// cannot tell which of the two frames was lost. A frame lost so is not delivered later. What
    /// `name` calls at its own address still passes.
    pub fn isolate(&self, name: &str) {
        self.network().isolated.insert(name.to_owned());
    }

    /// Lets frames to and from `name` pass again. Without effect if it is not isolated.
    pub fn heal(&self, name: &str) {
        self.network().isolated.remove(name);
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        // Nothing panics while the lock is held, and each change is a single step.
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether frames between this handle and `address` are lost now.
    fn is_cut_from(&self, address: &str) -> bool {
        let network = self.network();
        *self.name != *address
            && (network.isolated.contains(&*self.name) || network.isolated.contains(address))
    }

    /// Calls `address` without regard to the deadline, except that `sent` tells whether the request
    /// was handed over when it passed.
    async fn exchange(
        &self,
        address: &str,
        body: Frame,
        sent: &mut bool,
    ) -> Result<Frame, TransportError> {
        if self.is_cut_from(address) {
            *sent = true;
            return pending().await;
        }
        let refused = || TransportError::Refused {
            address: address.to_owned(),
            source: Arc::new(io::ErrorKind::ConnectionRefused.into()),
        };
        let listener = self.network().listeners.get(address).cloned().ok_or_else(refused)?;
        let slot = listener.reserve().await.map_err(|_| refused())?;
        let (response, answered) = oneshot::channel();
        *sent = true;
        slot.send(Request { peer: self.name.clone(), body, response });

        let answer = answered.await;
        if self.is_cut_from(address) {
            return pending().await;
        }
        let response = answer.map_err(|_| TransportError::Lost {
            address: address.to_owned(),
            source: Arc::new(io::ErrorKind::ConnectionReset.into()),
        })?;
        let (len, limit) = (response.len() as u64, u64::from(self.frame_bytes_max));
        if len > limit {
            return Err(TransportError::ResponseTooLarge {
                address: address.to_owned(),
                len,
                limit,
            });
        }
        Ok(response)
    }

    /// Puts a listener at `address` onto the network.
    fn register(&self, address: &str) -> Option<(Registration, mpsc::Receiver<Request>)> {
        let (sender, requests) = mpsc::channel(IN_FLIGHT_MAX);
        let mut network = self.network();
        let name = match address.strip_suffix(":0") {
            None => address.to_owned(),
            Some(host) => loop {
                network.last_port += 1;
                let name = format!("{host}:{}", network.last_port);
                if !network.listeners.contains_key(&name) {
                    break name;
                }
            },
        };
        match network.listeners.entry(name.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => {
                vacant.insert(sender);
                Some((Registration { network: self.network.clone(), name }, requests))
            }
        }
    }
}

impl Default for ChannelTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl Debug for ChannelTransport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelTransport").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Transport for ChannelTransport {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: Frame,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Frame, TransportError>> {
        Box::pin(async move {
            check_call(address, &request, self.frame_bytes_max, deadline)?;
            let mut sent = false;
            match timeout_at(deadline, self.exchange(address, request, &mut sent)).await {
                Ok(result) => result,
                Err(_) => {
                    Err(TransportError::DeadlineExceeded { address: address.to_owned(), sent })
                }
            }
        })
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Listener, TransportError>> {
        Box::pin(async move {
            let (registration, requests) =
                self.register(address).ok_or_else(|| TransportError::Bind {
                    address: address.to_owned(),
                    source: Arc::new(io::ErrorKind::AddrInUse.into()),
                })?;
            Ok(Listener::spawn(registration.name.clone(), |closing| {
                serve(registration, requests, handler, closing)
            }))
        })
    }
}

/// A listener's place on the network, which ends with it.
struct Registration {
    network: Arc<Mutex<Network>>,
    name: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.listeners.remove(&self.name);
    }
}

/// Hands requests to the handler, each in a task of its own, until the listener closes.
async fn serve(
    registration: Registration,
    mut requests: mpsc::Receiver<Request>,
    handler: Arc<dyn Handler>,
    mut closing: Closing,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut closing => break,
            Some(_) = tasks.join_next() => {}
            Some(request) = requests.recv(), if tasks.len() < IN_FLIGHT_MAX => {
                let Request { peer, body, response } = request;
                let handler = handler.clone();
                tasks.spawn(async move {
                    let answer = handler.handle(&peer, body).await;
                    // A caller past its deadline no longer waits for it.
                    let _ = response.send(answer);
                });
            }
        }
    }
    drop(registration);
    drop(requests);
    tasks.shutdown().await;
}

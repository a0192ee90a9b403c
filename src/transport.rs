//! Carries opaque frames between servers and clients: a request out, a response back, by a deadline.
//!
//! A **frame** is a body of bytes; this module never looks inside. A **call** sends one request to
//! an address and waits for its response; a **listener** hands each request that arrives at its
//! address to a [`Handler`]. Calls are independent of each other: they may overlap, and their
//! responses come in any order.
//!
//! | transport | addresses | use |
//! |---|---|---|
//! | [`TcpTransport`] | `host:port` | servers and clients of a cluster |
//! | [`ChannelTransport`] | any name | a cluster inside one process; tests, with partitions on demand |
//!
//! # Invariants
//! - A call ends by its deadline at the latest, whatever the other side does.
//! - An error says whether the request may have been carried out
//!   ([`is_ambiguous`](TransportError::is_ambiguous)). A transport never sends a request twice.
//! - A handler is called at most once per call, and a response reaches only the call that it
//!   answers.
//!
//! # Caveats
//! Nothing is authenticated or encrypted: whoever reaches a listener can call it. Listen at a
//! loopback address or inside a private network.

mod channel;
mod tcp;

pub use channel::ChannelTransport;
pub use tcp::{TcpLimits, TcpTransport};

use std::convert::Infallible;
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The body of a request or of a response: opaque bytes, possibly none.
pub type Frame = Vec<u8>;

/// The largest frame that a transport carries unless configured otherwise: 16 MiB.
pub const FRAME_BYTES_MAX: u32 = 16 << 20;

/// A future behind a pointer, as the methods of [`Transport`] and [`Handler`] return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to call servers by address, and to be called.
///
/// Clones are cheap and stand for the same transport: they share connections and limits.
pub trait Transport: Clone + Debug + Send + Sync + 'static {
    /// Sends `request` to the server at `address` and returns its response.
    ///
    /// An implementation sends the request at most once, and returns by `deadline` even when the
    /// other side is silent: a caller that is kept longer misses the deadlines of its own callers.
    /// The returned future may be dropped at any time; the request may then still be carried out.
    ///
    /// # Errors
    /// Any [`TransportError`] but `Bind`. An implementation must return an error that
    /// [is ambiguous](TransportError::is_ambiguous) once the handler may have seen the request: a
    /// wrong answer makes callers repeat what was done already.
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: Frame,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Frame, TransportError>>;

    /// Listens at `address` and hands each request to `handler`; returns once it is listening.
    ///
    /// A port of 0 lets the transport choose one: [`Listener::address`] tells which.
    ///
    /// # Errors
    /// [`TransportError::Bind`] if the address is taken, or not one that can be listened at.
    fn listen<'a>(
        &'a self,
        address: &'a str,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Listener, TransportError>>;
}

/// What a listener does with the requests that arrive.
///
/// Closures `Fn(&str, Frame) -> BoxFuture<'static, Frame>` are handlers too.
pub trait Handler: Send + Sync + 'static {
    /// Returns the response to `request`, which came from `peer`.
    ///
    /// `peer` is for logs: a TCP peer is the remote `ip:port`, not an identity.
    ///
    /// The future runs as a task of its own, beside those of other requests. It is dropped at its
    /// next `await` when the connection that brought the request ends or the listener is closed:
    /// what must be finished whatever happens belongs to a task that the handler itself spawns. If
    /// it panics, its caller gets [`TransportError::Lost`] and nothing else happens.
    fn handle(&self, peer: &str, request: Frame) -> BoxFuture<'static, Frame>;
}

impl<F> Handler for F
where
    F: Fn(&str, Frame) -> BoxFuture<'static, Frame> + Send + Sync + 'static,
{
    fn handle(&self, peer: &str, request: Frame) -> BoxFuture<'static, Frame> {
        self(peer, request)
    }
}

/// An address that is being listened at, until this is closed or dropped.
#[must_use = "dropping the listener stops it"]
pub struct Listener {
    address: String,
    /// Never sent on: the task that serves ends when this is dropped.
    open: oneshot::Sender<Infallible>,
    /// Never sent on: the task that serves has the sender for as long as it runs.
    running: watch::Receiver<()>,
    serving: JoinHandle<()>,
}

/// Resolves once the [`Listener`] is closed or dropped.
pub type Closing = oneshot::Receiver<Infallible>;

impl Listener {
    /// Spawns the task that serves a listener; for implementors of [`Transport`].
    ///
    /// `serve` makes the future of that task. Once the [`Closing`] that it is given resolves, the
    /// future must stop listening, end its connections and the handlers under way, and return:
    /// [`close`](Listener::close) waits for that.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<S, F>(address: String, serve: S) -> Self
    where
        S: FnOnce(Closing) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let (open, closing) = oneshot::channel();
        let (runs, running) = watch::channel(());
        let serve = serve(closing);
        let serving = tokio::spawn(async move {
            let _runs = runs;
            serve.await;
        });
        Self { address, open, running, serving }
    }

    /// Resolves once nothing is accepted any more: the listener was closed or dropped, or the task that
    /// serves it has panicked.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut running = self.running.clone();
        async move { while running.changed().await.is_ok() {} }
    }

    /// The address that callers use, with the port that was chosen if 0 was asked for.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops listening and closes the connections.
    ///
    /// When it returns, the address can be listened at again, and no handler runs any more. Calls
    /// that were under way fail with [`TransportError::Lost`]. Dropping the listener does the same
    /// without waiting for it.
    pub async fn close(self) {
        drop(self.open);
        // An error would say that the runtime is shutting down, which ended the task too.
        let _ = self.serving.await;
    }
}

impl Debug for Listener {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why a call or a listener failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There is no connection and none could be made: nobody listens, the address does not resolve
    /// or cannot be reached, or the server closed the connection before it said hello, as it does
    /// at its connection limit. Nothing was sent; retrying is safe.
    #[error("no connection to {address}")]
    Refused {
        /// The address that was called.
        address: String,
        /// What the attempt to connect ended with.
        source: Arc<io::Error>,
    },

    /// The server did not accept the connection and say hello in time. Nothing was sent; retrying
    /// is safe.
    #[error("no answer from {address} to a connection attempt within {limit:?}")]
    ConnectTimeout {
        /// The address that was called.
        address: String,
        /// How long a connection may take to come about.
        limit: Duration,
    },

    /// Something else than a server of this crate listens there. Nothing was sent; correct the
    /// address.
    #[error("{address} does not speak this protocol")]
    NotOurs {
        /// The address that was called.
        address: String,
    },

    /// The server speaks another version of the protocol. Nothing was sent; upgrade one of the two.
    #[error("{address} speaks version {theirs} of the protocol, not {ours}")]
    VersionMismatch {
        /// The address that was called.
        address: String,
        /// The version spoken here.
        ours: u16,
        /// The version spoken there.
        theirs: u16,
    },

    /// The request is larger than a frame may be. Nothing was sent; split it.
    #[error("request of {len} bytes is over the frame limit of {limit}")]
    FrameTooLarge {
        /// Bytes of the request.
        len: usize,
        /// Bytes that a frame may have.
        limit: usize,
    },

    /// The request was carried out, but its response is larger than a frame may be and was
    /// dropped. Ask for less.
    #[error("response of {len} bytes from {address} is over the frame limit of {limit}")]
    ResponseTooLarge {
        /// The address that was called.
        address: String,
        /// Bytes of the response.
        len: u64,
        /// Bytes that a frame may have.
        limit: u64,
    },

    /// The connection ended, or the handler gave up, after the request was handed over and before
    /// its response came. The server may have carried it out: read before retrying, unless doing it
    /// twice is harmless.
    #[error("lost the connection to {address}")]
    Lost {
        /// The address that was called.
        address: String,
        /// What ended the connection.
        source: Arc<io::Error>,
    },

    /// The deadline passed. If the request was `sent`, the server may have carried it out or may
    /// still do so: read before retrying, unless doing it twice is harmless.
    #[error("deadline exceeded by the call to {address}")]
    DeadlineExceeded {
        /// The address that was called.
        address: String,
        /// Whether the request was handed to a connection.
        sent: bool,
    },

    /// The address cannot be listened at: it is taken, or not an address of this machine, or not
    /// permitted. Nothing was changed.
    #[error("cannot listen at {address}")]
    Bind {
        /// The address that was asked for.
        address: String,
        /// What the attempt to listen ended with.
        source: Arc<io::Error>,
    },
}

impl TransportError {
    /// Whether the request may have been carried out although the call failed.
    ///
    /// `false` means that no handler has seen the request nor will.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::ResponseTooLarge { .. } => true,
            Self::DeadlineExceeded { sent, .. } => *sent,
            Self::Refused { .. }
            | Self::ConnectTimeout { .. }
            | Self::NotOurs { .. }
            | Self::VersionMismatch { .. }
            | Self::FrameTooLarge { .. }
            | Self::Bind { .. } => false,
        }
    }
}

/// Fails with what a call is checked for before anything is sent: the size of the request, and a
/// deadline that has passed already.
fn check_call(
    address: &str,
    request: &Frame,
    frame_bytes_max: u32,
    deadline: Instant,
) -> Result<(), TransportError> {
    let limit = frame_bytes_max as usize;
    if request.len() > limit {
        return Err(TransportError::FrameTooLarge { len: request.len(), limit });
    }
    if deadline <= Instant::now() {
        return Err(TransportError::DeadlineExceeded { address: address.to_owned(), sent: false });
    }
    Ok(())
}

//! Frames over TCP.
//!
//! `docs/protocol.md` states what passes over the wire; `frame.rs` reads and writes it. A client
//! keeps one connection for each address (`client.rs`), shared by all callers; requests carry ids,
//! so that responses may come in any order. A server (`server.rs`) decides whom it lets in
//! (`admission.rs`), and bounds what each connection may hold. Both queue what they send in an
//! outbox (`outbox.rs`) that is written at once as a whole.

#![warn(clippy::indexing_slicing)]

mod admission;
mod client;
mod frame;
mod outbox;
mod server;

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{
    BoxFuture, FRAME_BYTES_MAX, Frame, Handler, Listener, Transport, TransportError, check_call,
};

/// Limits of a [`TcpTransport`], as a caller and as a listener.
///
/// All servers and clients of a cluster should have the same `frame_bytes_max`: a frame over the
/// limit of the side that receives it closes the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Bytes of one request or response. 16 MiB.
    pub frame_bytes_max: u32,
    /// Connections that a listener keeps open. 4096.
    pub connections_max: usize,
    /// Connections that a listener keeps open from one IP address. 512: fewer than the 1024 files
    /// that a process may usually open, so that one peer cannot use them up.
    pub connections_per_peer_max: usize,
    /// Requests of one connection that are handled at once. At the limit the listener reads nothing
    /// more from it, pings included, until a response is queued. 1024.
    pub requests_in_flight_max: usize,
    /// Bytes of the requests of one connection that are received or handled at once; a single
    /// request may always come in. At the limit the listener reads on when others are done. 32 MiB.
    pub request_bytes_in_flight_max: u32,
    /// Bytes that wait to be written to one connection; a single frame may always wait. Callers
    /// wait at the limit. A listener closes the connection instead, since its peer does not read
    /// the responses that it asked for. 64 MiB.
    pub write_queue_bytes_max: u32,
    /// Time for a connection to come about: for a caller to connect and be greeted, for a listener
    /// to receive the greeting. 5 s.
    pub handshake_timeout: Duration,
    /// Time without a complete request and with none in flight after which a listener closes a
    /// connection. A caller closes one that it has not used for half of it, so that it does not
    /// send a request to a server that is just closing. 5 min.
    pub idle_timeout: Duration,
    /// Time without progress of a write after which the connection is closed. 10 s.
    pub write_timeout: Duration,
    /// Time during which nothing at all arrives from a server that owes an answer, after which a
    /// caller drops the connection. A server answers a ping in between however long its handlers
    /// take. 5 s.
    pub silence_timeout: Duration,
}

impl Default for TcpLimits {
    fn default() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_MAX,
            connections_max: 4096,
            connections_per_peer_max: 512,
            requests_in_flight_max: 1024,
            request_bytes_in_flight_max: 2 * FRAME_BYTES_MAX,
            write_queue_bytes_max: 4 * FRAME_BYTES_MAX,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(5),
            write_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(5),
        }
    }
}

/// A [`Transport`] over TCP; addresses are `host:port`.
///
/// # Calls
/// The first call to an address connects; further ones use that connection until it ends. Calls
/// that find no connection share one attempt, and fail with it: nothing reconnects on its own, the
/// next call tries anew. A call that reaches its deadline is forgotten and its connection is kept,
/// unless the server stays silent for [`TcpLimits::silence_timeout`]. Dropping the last clone
/// closes the connections.
///
/// # Listeners
/// A listener closes connections that do not start with the hello of this protocol, break its
/// framing or exceed a limit of [`TcpLimits`]; others do not notice. At a connection limit, a
/// newcomer takes the place of the oldest connection that has not said hello yet, and is turned
/// away if there is none.
///
/// The transport needs a tokio runtime with I/O and time enabled. Connections live on the runtime
/// of the call that made them, and end with it.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use triekv::transport::{BoxFuture, Frame, TcpTransport, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = TcpTransport::default();
/// let echo = |_peer: &str, request: Frame| -> BoxFuture<'static, Frame> {
///     Box::pin(async move { request })
/// };
/// let listener = transport.listen("127.0.0.1:0", Arc::new(echo)).await?;
///
/// let deadline = Instant::now() + Duration::from_secs(5);
/// assert_eq!(transport.call(listener.address(), b"mary".to_vec(), deadline).await?, b"mary");
/// # listener.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TcpTransport {
    limits: Arc<TcpLimits>,
    client: Arc<client::Client>,
}

impl TcpTransport {
    /// Makes a transport with these limits, connected to nobody yet.
    ///
    /// A `frame_bytes_max` above what the protocol can announce, 4 GiB less 9 bytes, is lowered to
    /// that.
    pub fn new(mut limits: TcpLimits) -> Self {
        limits.frame_bytes_max = limits.frame_bytes_max.min(frame::PAYLOAD_BYTES_MAX);
        let limits = Arc::new(limits);
        Self { client: Arc::new(client::Client::new(limits.clone())), limits }
    }

    /// The limits that it was made with.
    pub fn limits(&self) -> &TcpLimits {
        &self.limits
    }
}

impl Default for TcpTransport {
    fn default() -> Self {
        Self::new(TcpLimits::default())
    }
}

impl Debug for TcpTransport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Transport for TcpTransport {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: Frame,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Frame, TransportError>> {
        Box::pin(async move {
            check_call(address, &request, self.limits.frame_bytes_max, deadline)?;
            self.client.call(address, &request, deadline).await
        })
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Listener, TransportError>> {
        Box::pin(server::listen(address, handler, self.limits.clone()))
    }
}

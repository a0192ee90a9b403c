//! The calling side: one connection for each address, shared by all callers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::TcpLimits;
use super::frame::{self, CLIENT_MAGIC, FAILED, Failure, FrameReader, PING, SERVER_MAGIC, VERSION};
use super::outbox::Outbox;
use crate::transport::{Frame, TransportError};

/// The connections of a transport.
pub(super) struct Client {
    limits: Arc<TcpLimits>,
    /// An entry for each connection that is open or being made; it goes when the connection ends.
    peers: Mutex<HashMap<String, Attempt>>,
    /// Closed with the client, so that its connections end.
    open: watch::Sender<()>,
}

/// What becomes of an attempt to connect; `None` until that is known.
type Attempt = watch::Receiver<Option<Result<Arc<Connection>, TransportError>>>;

impl Client {
    pub(super) fn new(limits: Arc<TcpLimits>) -> Self {
        Self { limits, peers: Mutex::default(), open: watch::Sender::new(()) }
    }

    /// Sends a request and waits for its response. The request is within the frame limit.
    pub(super) async fn call(
        self: &Arc<Self>,
        address: &str,
        request: &[u8],
        deadline: Instant,
    ) -> Result<Frame, TransportError> {
        let (connection, attempt) = self.connection(address, deadline).await?;
        match connection.call(address, request, deadline).await {
            Err(Unanswered::NotSent(_)) => {}
            Err(Unanswered::Failed(error)) => return Err(error),
            Ok(response) => return Ok(response),
        }
        // It ended before anything of this request was queued, perhaps only because it was unused.
        self.forget(address, &attempt);
        let (connection, _) = self.connection(address, deadline).await?;
        connection.call(address, request, deadline).await.map_err(|unanswered| match unanswered {
            Unanswered::NotSent(source) => {
                TransportError::Refused { address: address.to_owned(), source }
            }
            Unanswered::Failed(error) => error,
        })
    }

    /// Returns the connection to `address`, made now if there is none.
    async fn connection(
        self: &Arc<Self>,
        address: &str,
        deadline: Instant,
    ) -> Result<(Arc<Connection>, Attempt), TransportError> {
        let mut attempt = self.attempt(address);
        let known = timeout_at(deadline, attempt.wait_for(Option::is_some)).await;
        match known.map(|known| known.ok().and_then(|outcome| outcome.clone())) {
            Ok(Some(result)) => result.map(|connection| (connection, attempt)),
            // The task that was to connect is gone, together with its runtime.
            Ok(None) => Err(TransportError::Refused {
                address: address.to_owned(),
                source: Arc::new(io::ErrorKind::ConnectionAborted.into()),
            }),
            Err(_) => {
                Err(TransportError::DeadlineExceeded { address: address.to_owned(), sent: false })
            }
        }
    }

    /// Returns the attempt to connect to `address` that was begun last, or begins one.
    fn attempt(self: &Arc<Self>, address: &str) -> Attempt {
        let mut peers = self.peers();
        if let Some(attempt) = peers.get(address) {
            return attempt.clone();
        }
        let (outcome, attempt) = watch::channel(None);
        peers.insert(address.to_owned(), attempt.clone());
        let registration = Registration {
            client: Arc::downgrade(self),
            address: address.to_owned(),
            attempt: attempt.clone(),
        };
        let limits = self.limits.clone();
        let mut open = self.open.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = run(registration, outcome, &limits) => {}
                // Nobody sends on it: it changes when the client is dropped.
                _ = open.changed() => {}
            }
        });
        attempt
    }

    /// Removes an attempt, so that the next call begins another one.
    fn forget(&self, address: &str, attempt: &Attempt) {
        let mut peers = self.peers();
        if peers.get(address).is_some_and(|other| other.same_channel(attempt)) {
            peers.remove(address);
        }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<String, Attempt>> {
        // Nothing panics while the lock is held, and each change is a single step.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the client's table, which ends with it.
struct Registration {
    client: Weak<Client>,
    address: String,
    attempt: Attempt,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(client) = self.client.upgrade() {
            client.forget(&self.address, &self.attempt);
        }
    }
}

/// Makes a connection, tells those who wait for it, and runs it until it ends.
async fn run(
    registration: Registration,
    outcome: watch::Sender<Option<Result<Arc<Connection>, TransportError>>>,
    limits: &TcpLimits,
) {
    let address = registration.address.clone();
    let opened = timeout(limits.handshake_timeout, open(&address)).await.unwrap_or_else(|_| {
        Err(TransportError::ConnectTimeout {
            address: address.clone(),
            limit: limits.handshake_timeout,
        })
    });
    match opened {
        Ok(stream) => {
            let connection = Arc::new(Connection::new(limits));
            // Even if this task is dropped.
            let _ending = Ending(&connection);
            outcome.send_replace(Some(Ok(connection.clone())));
            let reason = connection.run(stream, limits).await;
            tracing::debug!(address, %reason, "connection ended");
            connection.end(reason);
        }
        Err(error) => {
            // First, so that whoever calls after the failure tries anew.
            drop(registration);
            outcome.send_replace(Some(Err(error)));
        }
    }
}

/// Connects to `address` and exchanges hellos.
async fn open(address: &str) -> Result<TcpStream, TransportError> {
    let refused =
        |source| TransportError::Refused { address: address.to_owned(), source: Arc::new(source) };
    let mut stream = TcpStream::connect(address).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    // On one host, a socket may be given the very port that it connects to, and meet itself.
    if stream.local_addr().map_err(refused)? == stream.peer_addr().map_err(refused)? {
        return Err(refused(io::ErrorKind::ConnectionRefused.into()));
    }
    stream.write_all(&frame::hello(CLIENT_MAGIC)).await.map_err(refused)?;
    match frame::read_hello(&mut stream, SERVER_MAGIC).await.map_err(refused)? {
        None => Err(TransportError::NotOurs { address: address.to_owned() }),
        Some(VERSION) => Ok(stream),
        Some(theirs) => Err(TransportError::VersionMismatch {
            address: address.to_owned(),
            ours: VERSION,
            theirs,
        }),
    }
}

/// Ends a connection for its callers when this is dropped.
struct Ending<'a>(&'a Connection);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end(io::ErrorKind::ConnectionAborted.into());
    }
}

/// Why a call on a connection has no response.
enum Unanswered {
    /// The connection had ended before anything was queued.
    NotSent(Arc<io::Error>),
    Failed(TransportError),
}

/// An open connection.
struct Connection {
    outbox: Outbox,
    calls: Mutex<Calls>,
}

/// The calls that wait for their responses.
struct Calls {
    pending: HashMap<u64, oneshot::Sender<Result<Frame, Failure>>>,
    last_id: u64,
    last_used: Instant,
    /// Since when the server owes an answer, to a request or a ping, and nothing has arrived.
    unanswered_since: Option<Instant>,
    ended: Option<Arc<io::Error>>,
}

/// The other end of a pending call.
type Answer = oneshot::Receiver<Result<Frame, Failure>>;

/// A call's place among the pending ones, given back when this is dropped.
struct Ticket<'a> {
    connection: &'a Connection,
    id: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.connection.calls().pending.remove(&self.id);
    }
}

impl Connection {
    fn new(limits: &TcpLimits) -> Self {
        let calls = Calls {
            pending: HashMap::new(),
            last_id: PING,
            last_used: Instant::now(),
            unanswered_since: None,
            ended: None,
        };
        Self { outbox: Outbox::new(limits.write_queue_bytes_max), calls: Mutex::new(calls) }
    }

    async fn call(
        &self,
        address: &str,
        request: &[u8],
        deadline: Instant,
    ) -> Result<Frame, Unanswered> {
        let exceeded = |sent| {
            Unanswered::Failed(TransportError::DeadlineExceeded {
                address: address.to_owned(),
                sent,
            })
        };
        let lost = |source| {
            Unanswered::Failed(TransportError::Lost { address: address.to_owned(), source })
        };
        let room = timeout_at(deadline, self.outbox.reserve(request.len()));
        let Ok(room) = room.await else { return Err(exceeded(false)) };
        let Some(room) = room else { return Err(Unanswered::NotSent(self.reason())) };
        let (ticket, answer) = self.register()?;
        self.outbox.push(room, ticket.id, request);

        match timeout_at(deadline, answer).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(Failure::GivenUp))) => {
                Err(lost(Arc::new(io::Error::other("the handler gave the request up"))))
            }
            Ok(Ok(Err(Failure::TooLarge { len, limit }))) => {
                let address = address.to_owned();
                Err(Unanswered::Failed(TransportError::ResponseTooLarge { address, len, limit }))
            }
            Ok(Err(_)) => Err(lost(self.reason())),
            Err(_) => Err(exceeded(true)),
        }
    }

    /// Makes a call pending.
    fn register(&self) -> Result<(Ticket<'_>, Answer), Unanswered> {
        let mut calls = self.calls();
        if let Some(reason) = &calls.ended {
            return Err(Unanswered::NotSent(reason.clone()));
        }
        let now = Instant::now();
        calls.last_used = now;
        calls.unanswered_since.get_or_insert(now);
        // Ids stay below the bit that marks failures for as long as anybody could count.
        calls.last_id += 1;
        let (sender, answer) = oneshot::channel();
        let id = calls.last_id;
        calls.pending.insert(id, sender);
        Ok((Ticket { connection: self, id }, answer))
    }

    /// Runs the connection until it ends, and returns why.
    async fn run(&self, stream: TcpStream, limits: &TcpLimits) -> io::Error {
        let (source, sink) = stream.into_split();
        let ended: io::Result<Infallible> = tokio::select! {
            ended = self.receive(FrameReader::new(source, limits.frame_bytes_max)) => ended,
            ended = self.outbox.write_to(sink, limits.write_timeout) => ended,
            ended = self.watch(limits) => ended,
        };
        match ended {
            Err(reason) => reason,
            Ok(never) => match never {},
        }
    }

    /// Hands out the responses that arrive.
    async fn receive(
        &self,
        mut reader: FrameReader<impl AsyncRead + Unpin>,
    ) -> io::Result<Infallible> {
        loop {
            let header = reader.header().await?;
            let payload = reader.payload(header.len, || self.heard()).await?;
            let answer = if header.id & FAILED == 0 {
                Ok(payload)
            } else {
                Err(Failure::decode(&payload).ok_or_else(|| frame::invalid("malformed failure"))?)
            };
            let waiting = {
                let mut calls = self.calls();
                let waiting = calls.pending.remove(&(header.id & !FAILED));
                calls.unanswered_since = (!calls.pending.is_empty()).then(Instant::now);
                waiting
            };
            // Nobody waits for the answer to a ping, nor for that to a call past its deadline.
            if let Some(caller) = waiting {
                let _ = caller.send(answer);
            }
        }
    }

    /// Notes that the server is alive.
    fn heard(&self) {
        let mut calls = self.calls();
        calls.unanswered_since = (!calls.pending.is_empty()).then(Instant::now);
    }

    /// Ends the connection when the server is silent for too long, or nobody uses it. Pings the
    /// server in time for a slow handler not to look like a dead server.
    async fn watch(&self, limits: &TcpLimits) -> io::Result<Infallible> {
        let unused_max = limits.idle_timeout / 2;
        let step = (limits.silence_timeout.min(unused_max) / 4).max(Duration::from_millis(1));
        let mut ticks = interval(step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.end_if_unused(unused_max)?;
            let since = self.calls().unanswered_since;
            let silence = since.map_or(Duration::ZERO, |since| since.elapsed());
            if silence >= limits.silence_timeout {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server is silent"));
            }
            if silence >= limits.silence_timeout / 2 {
                // Without room there are requests queued, whose answers do as well.
                if let Some(room) = self.outbox.try_reserve(0) {
                    self.outbox.push(room, PING, &[]);
                }
            }
        }
    }

    /// Ends the connection, and returns why, if it has not been used for `limit`. That is a single
    /// step, so that no call is queued on a connection that is ending.
    fn end_if_unused(&self, limit: Duration) -> io::Result<()> {
        let mut calls = self.calls();
        if !calls.pending.is_empty() || calls.last_used.elapsed() < limit {
            return Ok(());
        }
        let unused = || io::Error::new(io::ErrorKind::TimedOut, "the connection is unused");
        calls.ended = Some(Arc::new(unused()));
        Err(unused())
    }

    /// Fails the pending calls, and any later one. The first reason stays.
    fn end(&self, reason: io::Error) {
        self.outbox.close();
        let pending = {
            let mut calls = self.calls();
            calls.ended.get_or_insert_with(|| Arc::new(reason));
            mem::take(&mut calls.pending)
        };
        drop(pending);
    }

    /// Why the connection ended.
    fn reason(&self) -> Arc<io::Error> {
        let ended = self.calls().ended.clone();
        ended.unwrap_or_else(|| Arc::new(io::ErrorKind::ConnectionAborted.into()))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // Nothing panics while the lock is held.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{BoxFuture, TcpTransport, Transport};

    #[tokio::test]
    async fn a_connection_that_ended_unnoticed_is_replaced_before_anything_is_sent() {
        let echo =
            |_: &str, request: Frame| -> BoxFuture<'static, Frame> { Box::pin(async { request }) };
        let server = TcpTransport::default();
        let listener = server.listen("127.0.0.1:0", Arc::new(echo)).await.unwrap();
        let address = listener.address();

        let limits = TcpLimits::default();
        let ended = Connection::new(&limits);
        ended.end_if_unused(Duration::ZERO).unwrap_err();
        let client = Arc::new(Client::new(Arc::new(limits)));
        let (_outcome, attempt) = watch::channel(Some(Ok(Arc::new(ended))));
        client.peers().insert(address.to_owned(), attempt);

        let deadline = Instant::now() + Duration::from_mins(1);
        assert_eq!(client.call(address, b"mary", deadline).await.unwrap(), b"mary");
    }

    #[tokio::test]
    async fn a_connection_in_use_is_not_taken_for_unused() {
        let connection = Connection::new(&TcpLimits::default());
        let Ok((ticket, _answer)) = connection.register() else { unreachable!("it is open") };
        connection.end_if_unused(Duration::ZERO).unwrap();
        drop(ticket);
        connection.end_if_unused(Duration::from_hours(1)).unwrap();
        connection.end_if_unused(Duration::ZERO).unwrap_err();
        assert!(matches!(connection.register(), Err(Unanswered::NotSent(_))));
    }
}

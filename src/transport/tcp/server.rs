//! The listening side: accepts connections and hands their requests to the handler.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until, timeout};

use super::TcpLimits;
use super::admission::{Admission, Evicted, Place};
use super::frame::{self, CLIENT_MAGIC, FAILED, Failure, FrameReader, PING, SERVER_MAGIC, VERSION};
use super::outbox::Outbox;
use crate::transport::{Closing, Frame, Handler, Listener, TransportError};

/// The first and the longest pause after a connection could not be accepted; it doubles in between.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

pub(super) async fn listen(
    address: &str,
    handler: Arc<dyn Handler>,
    limits: Arc<TcpLimits>,
) -> Result<Listener, TransportError> {
    let bind =
        |source| TransportError::Bind { address: address.to_owned(), source: Arc::new(source) };
    // On Unix this sets SO_REUSEADDR: a restarted server does not wait for the connections of its
    // predecessor to time out, while a port that somebody listens at stays an error.
    let socket = TcpListener::bind(address).await.map_err(bind)?;
    let address = socket.local_addr().map_err(bind)?.to_string();
    Ok(Listener::spawn(address, |closing| accept(socket, handler, limits, closing)))
}

/// Accepts connections, each of which runs in a task of its own, until the listener closes.
async fn accept(
    socket: TcpListener,
    handler: Arc<dyn Handler>,
    limits: Arc<TcpLimits>,
    mut closing: Closing,
) {
    let admission = Admission::new(limits.connections_max, limits.connections_per_peer_max);
    let (open, _) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut pause = ACCEPT_PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut closing => break,
            Some(_) = connections.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = ACCEPT_PAUSE_MIN;
                // One that is turned away is closed by being dropped.
                let Some((place, evicted)) = admission.admit(peer.ip()) else {
                    tracing::debug!(%peer, "connection limit reached");
                    continue;
                };
                let server = Server { handler: handler.clone(), limits: limits.clone(), peer };
                let open = open.subscribe();
                connections.spawn(server.run(stream, place, evicted, open));
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                // Most likely there are too many open files. Each turn frees one, or waits.
                if admission.evict_oldest() {
                    yield_now().await;
                } else if timeout(pause, &mut closing).await.is_ok() {
                    break;
                } else {
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }
    drop(socket);
    drop(open);
    while connections.join_next().await.is_some() {}
}

/// Whether accepting failed because the one connection to be accepted was gone already.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// The listening side of one connection.
struct Server {
    handler: Arc<dyn Handler>,
    limits: Arc<TcpLimits>,
    peer: SocketAddr,
}

impl Server {
    async fn run(
        self,
        mut stream: TcpStream,
        place: Place,
        evicted: Evicted,
        mut open: watch::Receiver<()>,
    ) {
        let peer = self.peer;
        let mut requests = JoinSet::new();
        let ended = tokio::select! {
            biased;
            // Nobody sends on it: it changes when the listener closes.
            _ = open.changed() => Ok(()),
            ended = self.serve(&mut stream, &place, evicted, &mut requests) => ended,
        };
        if let Err(reason) = ended {
            tracing::debug!(%peer, %reason, "connection closed");
        }
        drop(stream);
        requests.shutdown().await;
    }

    async fn serve(
        self,
        stream: &mut TcpStream,
        place: &Place,
        evicted: Evicted,
        requests: &mut JoinSet<()>,
    ) -> io::Result<()> {
        tokio::select! {
            greeted = timeout(self.limits.handshake_timeout, greet(stream)) => {
                greeted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            }
            _ = evicted => return Err(full()),
        }
        if !place.greeted() {
            return Err(full());
        }
        let (source, sink) = stream.split();
        let outbox = Arc::new(Outbox::new(self.limits.write_queue_bytes_max));
        let write_timeout = self.limits.write_timeout;
        let reader = FrameReader::new(source, self.limits.frame_bytes_max);
        tokio::select! {
            received = self.receive(reader, &outbox, requests) => received,
            written = outbox.write_to(sink, write_timeout) => match written {
                Err(error) => Err(error),
                Ok(never) => match never {},
            },
            overflow = outbox.overflowed() => Err(overflow),
        }
    }

    /// Spawns a task for each request that arrives, until there is none for too long.
    async fn receive(
        self,
        reader: FrameReader<impl AsyncRead + Unpin>,
        outbox: &Arc<Outbox>,
        requests: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let peer: Arc<str> = self.peer.to_string().into();
        let mut reader = RequestReader {
            reader,
            count: permits(self.limits.requests_in_flight_max),
            bytes_max: self.limits.request_bytes_in_flight_max.max(1),
            bytes: permits(self.limits.request_bytes_in_flight_max as usize),
            outbox: outbox.clone(),
        };
        let limit = self.limits.idle_timeout;
        let mut idle_since = Instant::now();
        let mut idle = pin!(sleep_until(idle_since + limit));
        loop {
            let request = {
                let mut next = pin!(reader.next());
                loop {
                    tokio::select! {
                        biased;
                        request = &mut next => break request?,
                        Some(_) = requests.join_next() => idle_since = Instant::now(),
                        // Moved only when it fires, which is cheaper than with each request.
                        () = &mut idle => {
                            let (end, now) = (idle_since + limit, Instant::now());
                            if end <= now && requests.is_empty() {
                                return Err(io::Error::new(io::ErrorKind::TimedOut, "idle"));
                            }
                            idle.as_mut().reset(if now < end { end } else { now + limit });
                        }
                    }
                }
            };
            idle_since = Instant::now();
            let answer = Answer {
                outbox: outbox.clone(),
                id: request.id,
                frame_bytes_max: self.limits.frame_bytes_max,
                given: false,
            };
            let (handler, peer) = (self.handler.clone(), peer.clone());
            requests.spawn(async move {
                // Dropped last: the request counts until its response is queued.
                let _permits = request.permits;
                let answer = answer;
                let response = handler.handle(&peer, request.body).await;
                answer.give(&response);
            });
            // Under load the select above is left before it comes to this.
            while requests.try_join_next().is_some() {}
        }
    }
}

/// Exchanges hellos. A client of another version is told ours before the connection is closed.
async fn greet(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(theirs) = frame::read_hello(stream, CLIENT_MAGIC).await? else {
        return Err(frame::invalid("not a hello of this protocol"));
    };
    stream.write_all(&frame::hello(SERVER_MAGIC)).await?;
    if theirs == VERSION { Ok(()) } else { Err(frame::invalid("another version of the protocol")) }
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "made room for another connection")
}

/// A semaphore with a limit for its permits; at least one, since none would let nothing pass.
fn permits(limit: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)))
}

/// A request within the limits of its connection.
struct Request {
    id: u64,
    body: Frame,
    permits: [OwnedSemaphorePermit; 2],
}

/// Reads the requests of a connection as fast as its limits allow.
struct RequestReader<R> {
    reader: FrameReader<R>,
    /// A permit for each request that may be in flight.
    count: Arc<Semaphore>,
    /// A permit for each byte of them.
    bytes: Arc<Semaphore>,
    bytes_max: u32,
    outbox: Arc<Outbox>,
}

impl<R: AsyncRead + Unpin> RequestReader<R> {
    /// Returns the next request; answers pings meanwhile.
    async fn next(&mut self) -> io::Result<Request> {
        loop {
            let header = self.reader.header().await?;
            match (header.id, header.len) {
                (PING, 0) => self.outbox.push_or_overflow(PING, &[]),
                (PING, _) => return Err(frame::invalid("ping with a payload")),
                (id, _) if id & FAILED != 0 => {
                    return Err(frame::invalid("request marked as a failure"));
                }
                (id, len) => {
                    let bytes = len.min(self.bytes_max);
                    let permits =
                        [acquire(&self.count, 1).await?, acquire(&self.bytes, bytes).await?];
                    let body = self.reader.payload(len, || {}).await?;
                    return Ok(Request { id, body, permits });
                }
            }
        }
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> io::Result<OwnedSemaphorePermit> {
    // Never closed; were it, the connection would have to end as well.
    let closed = |_| io::ErrorKind::ConnectionAborted.into();
    semaphore.clone().acquire_many_owned(permits).await.map_err(closed)
}

/// The answer that a request is owed: given up if this is dropped, as it is by a panic.
struct Answer {
    outbox: Arc<Outbox>,
    id: u64,
    frame_bytes_max: u32,
    given: bool,
}

impl Answer {
    fn give(mut self, response: &[u8]) {
        self.given = true;
        let (len, limit) = (response.len() as u64, u64::from(self.frame_bytes_max));
        if len > limit {
            self.fail(Failure::TooLarge { len, limit });
        } else {
            self.outbox.push_or_overflow(self.id, response);
        }
    }

    fn fail(&self, failure: Failure) {
        self.outbox.push_or_overflow(self.id | FAILED, &failure.encode());
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.given {
            self.fail(Failure::GivenUp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_connection_are_passed_over_without_a_pause() {
        use io::ErrorKind::{ConnectionAborted, OutOfMemory, PermissionDenied};
        assert!(concerns_one_connection(&ConnectionAborted.into()));
        assert!(!concerns_one_connection(&OutOfMemory.into()));
        assert!(!concerns_one_connection(&PermissionDenied.into()));
        let too_many_open_files = io::Error::from_raw_os_error(24);
        assert!(!concerns_one_connection(&too_many_open_files));
    }
}

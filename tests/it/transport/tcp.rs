//! What only TCP has: hostile bytes, limits of connections, half-dead servers.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use triekv::transport::{Frame, Listener, TcpLimits, TcpTransport, Transport, TransportError};

use super::{echo, handler, in_time, silence, soon, within};

const HELLO: &[u8] = b"triekv\x01\x00";
const ANSWER: &[u8] = b"TRIEKV\x01\x00";

async fn echo_with(limits: TcpLimits) -> (TcpTransport, Listener) {
    let transport = TcpTransport::new(limits);
    let listener = transport.listen("127.0.0.1:0", echo()).await.unwrap();
    (transport, listener)
}

/// Asserts that others are served as ever.
async fn assert_serves(listener: &Listener) {
    let newcomer = TcpTransport::default();
    let response = newcomer.call(listener.address(), b"mary".to_vec(), in_time()).await;
    assert_eq!(response.unwrap(), b"mary");
}

async fn connect(listener: &Listener) -> TcpStream {
    TcpStream::connect(listener.address()).await.unwrap()
}

/// Says hello; `None` if the server closes the connection instead of answering.
async fn greet(mut stream: TcpStream) -> Option<TcpStream> {
    let mut answer = [0; 8];
    within(async {
        stream.write_all(HELLO).await.ok()?;
        stream.read_exact(&mut answer).await.ok()
    })
    .await?;
    assert_eq!(answer, ANSWER);
    Some(stream)
}

async fn greeted(listener: &Listener) -> TcpStream {
    greet(connect(listener).await).await.expect("the server answers the hello")
}

/// Returns what the server sends until it closes the connection.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match within(stream.read_to_end(&mut bytes)).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
    bytes
}

fn frame(id: u64, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len() + 8).unwrap();
    [&len.to_le_bytes(), &id.to_le_bytes()[..], payload].concat()
}

#[tokio::test]
async fn what_does_not_start_with_the_hello_is_closed_without_a_word() {
    let (_, listener) = echo_with(TcpLimits::default()).await;
    let junk: [&[u8]; 9] = [
        b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        b"cposix\nsystem\n(S'true'\ntR.",
        b"(dS'req_type'\nS'OPTIONS'\nsS'req_size'\nL8589934592L\ns.",
        b"GET person1\nPUT hacked:{\"a\":1}\nDELETE person1\n",
        b"\x00",
        &[0; 4096],
        &[0xff; 4096],
        b"triekw\x01\x00",
        b"TRIEKV\x01\x00",
    ];
    for bytes in junk {
        let mut stream = connect(&listener).await;
        // The server may close before all of it is sent.
        let _ = stream.write_all(bytes).await;
        assert_eq!(until_closed(&mut stream).await, b"", "{}", bytes.escape_ascii());
    }
    assert_serves(&listener).await;
}

#[tokio::test]
async fn another_version_is_told_ours() {
    let (_, listener) = echo_with(TcpLimits::default()).await;
    let mut stream = connect(&listener).await;
    stream.write_all(b"triekv\x02\x00").await.unwrap();
    assert_eq!(until_closed(&mut stream).await, ANSWER);
    assert_serves(&listener).await;
}

#[tokio::test]
async fn a_frame_that_breaks_the_protocol_closes_its_connection_only() {
    let limits = TcpLimits { frame_bytes_max: 1000, ..TcpLimits::default() };
    let (transport, listener) = echo_with(limits).await;
    let other = transport.call(listener.address(), Frame::new(), in_time()).await;
    other.expect("a connection that outlives the others");
    let header = |len: u32, id: u64| [&len.to_le_bytes()[..], &id.to_le_bytes()].concat();
    for (bytes, what) in [
        (header(0, 1), "shorter than an id"),
        (header(7, 1), "shorter than an id by one"),
        (header(8 + 1001, 1), "one past the limit"),
        (header(u32::MAX, 1), "4 GiB"),
        (header(0x7fff_ffff, 1), "2 GiB"),
        ((1_u64 << 33).to_le_bytes().repeat(2), "8 GiB in eight bytes"),
        (header(8, 1 << 63), "a request marked as a failure"),
        (header(9, 0), "a ping with a payload"),
    ] {
        let mut stream = greeted(&listener).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"", "{what}");
    }
    let mut stream = greeted(&listener).await;
    let request = frame(1, &[7; 1000]);
    stream.write_all(&request).await.unwrap();
    let mut response = vec![0; request.len()];
    within(stream.read_exact(&mut response)).await.unwrap();
    assert_eq!(response, request, "at the limit");
    transport.call(listener.address(), Frame::new(), in_time()).await.unwrap();
}

#[tokio::test]
async fn a_frame_may_arrive_byte_by_byte_and_many_at_once() {
    let (_, listener) = echo_with(TcpLimits::default()).await;
    let mut stream = connect(&listener).await;
    stream.set_nodelay(true).unwrap();
    for byte in [HELLO, &frame(1, b"mary")].concat() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut bytes = vec![0; 8 + 16];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes, [ANSWER, &frame(1, b"mary")].concat());

    let ids = 2..2000;
    let requests: Vec<u8> = ids.clone().flat_map(|id| frame(id, b"")).collect();
    stream.write_all(&requests).await.unwrap();
    let mut responses = vec![0; requests.len()];
    within(stream.read_exact(&mut responses)).await.unwrap();
    let mut responses: Vec<&[u8]> = responses.chunks(12).collect();
    responses
        .sort_unstable_by_key(|response| u64::from_le_bytes(response[4..].try_into().unwrap()));
    assert_eq!(responses.concat(), requests);
}

#[tokio::test]
async fn a_ping_is_answered_while_requests_wait() {
    let (silence, _requests) = silence();
    let listener = TcpTransport::default().listen("127.0.0.1:0", silence).await.unwrap();
    let mut stream = greeted(&listener).await;
    stream.write_all(&[frame(1, b""), frame(0, b"")].concat()).await.unwrap();
    let mut pong = [0; 12];
    within(stream.read_exact(&mut pong)).await.unwrap();
    assert_eq!(pong, frame(0, b"")[..]);
}

#[tokio::test]
async fn half_a_frame_is_no_request() {
    let (silence, mut requests) = silence();
    let listener = TcpTransport::default().listen("127.0.0.1:0", silence).await.unwrap();
    for half in [&frame(1, b"mary")[..3], &frame(1, b"mary")[..12], &frame(1, b"mary")[..15]] {
        let mut stream = greeted(&listener).await;
        stream.write_all(half).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"");
    }
    listener.close().await;
    assert_eq!(requests.recv().await, None);
}

#[tokio::test]
async fn a_client_that_stays_silent_is_closed() {
    let limits =
        TcpLimits { handshake_timeout: Duration::from_millis(300), ..TcpLimits::default() };
    let (_, listener) = echo_with(limits).await;
    let mut silent = connect(&listener).await;
    assert_eq!(until_closed(&mut silent).await, b"");
    let mut half = connect(&listener).await;
    half.write_all(&HELLO[..7]).await.unwrap();
    assert_eq!(until_closed(&mut half).await, b"");
}

#[tokio::test]
async fn an_idle_connection_is_closed_unless_a_request_is_in_flight() {
    let limits = TcpLimits { idle_timeout: Duration::from_millis(300), ..TcpLimits::default() };
    let (silence, mut requests) = silence();
    let listener = TcpTransport::new(limits).listen("127.0.0.1:0", silence).await.unwrap();
    let mut busy = greeted(&listener).await;
    busy.write_all(&frame(1, b"")).await.unwrap();
    within(requests.recv()).await.unwrap();

    let mut idle = greeted(&listener).await;
    assert_eq!(until_closed(&mut idle).await, b"");
    let mut half = greeted(&listener).await;
    half.write_all(&frame(1, b"mary")[..13]).await.unwrap();
    assert_eq!(until_closed(&mut half).await, b"");
    // Older than the other two, it would be closed by now.
    let open = timeout(Duration::from_millis(1), busy.read_u8()).await;
    assert!(open.is_err(), "{open:?}");
}

#[tokio::test]
async fn connections_at_the_limit_are_served_and_one_past_it_is_closed() {
    let limits = TcpLimits { connections_max: 2, ..TcpLimits::default() };
    let (transport, listener) = echo_with(limits).await;
    let first = greeted(&listener).await;
    let _second = greeted(&listener).await;
    assert!(greet(connect(&listener).await).await.is_none());
    let error = transport.call(listener.address(), Frame::new(), in_time()).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
    drop(first);
    // The server takes a moment to notice.
    within(async { while greet(connect(&listener).await).await.is_none() {} }).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_peer_at_its_limit_does_not_keep_out_another() {
    let limits = TcpLimits { connections_per_peer_max: 1, ..TcpLimits::default() };
    let (_, listener) = echo_with(limits).await;
    let _first = greeted(&listener).await;
    assert!(greet(connect(&listener).await).await.is_none());
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = socket.connect(listener.address().parse().unwrap()).await.unwrap();
    assert!(greet(other).await.is_some());
}

#[tokio::test]
async fn a_silent_crowd_does_not_keep_out_others() {
    let limits = TcpLimits {
        connections_per_peer_max: 4,
        handshake_timeout: Duration::from_hours(1),
        ..TcpLimits::default()
    };
    let (_, listener) = echo_with(limits).await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(connect(&listener).await);
    }
    assert_serves(&listener).await;
    // Whoever came first had to go.
    assert_eq!(until_closed(&mut crowd[0]).await, b"");
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_at_the_limit() {
    let limits = TcpLimits { write_queue_bytes_max: 1 << 20, ..TcpLimits::default() };
    let transport = TcpTransport::new(limits);
    let large = handler(|_| async { vec![0; 1 << 16] });
    let listener = transport.listen("127.0.0.1:0", large).await.unwrap();
    let mut deaf = greeted(&listener).await;
    let requests: Vec<u8> = (1..=100).flat_map(|id| frame(id, b"")).collect();
    // More than what lies in the buffers of the system ends it.
    within(async { while deaf.write_all(&requests).await.is_ok() {} }).await;
    let response = transport.call(listener.address(), Frame::new(), in_time()).await;
    assert_eq!(response.unwrap().len(), 1 << 16);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_closed_when_writing_makes_no_progress() {
    let limits = TcpLimits { write_timeout: Duration::from_millis(50), ..TcpLimits::default() };
    let transport = TcpTransport::new(limits);
    let large = handler(|_| async { vec![0; 16 << 20] });
    let listener = transport.listen("127.0.0.1:0", large).await.unwrap();
    let mut deaf = greeted(&listener).await;
    deaf.write_all(&frame(1, b"")).await.unwrap();
    within(async {
        while deaf.write_all(&frame(0, b"")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn requests_past_the_limit_wait_their_turn() {
    let limits = TcpLimits { requests_in_flight_max: 2, ..TcpLimits::default() };
    let (silence, mut requests) = silence();
    let transport = TcpTransport::new(limits);
    let listener = transport.listen("127.0.0.1:0", silence).await.unwrap();
    let mut stream = greeted(&listener).await;
    let sent: Vec<u8> = (1..=3).flat_map(|id| frame(id, &id.to_le_bytes())).collect();
    stream.write_all(&sent).await.unwrap();
    within(requests.recv()).await.unwrap();
    within(requests.recv()).await.unwrap();
    // A whole exchange on another connection later, the third has not come.
    tokio::select! {
        _ = transport.call(listener.address(), b"other".to_vec(), in_time()) => unreachable!(),
        request = requests.recv() => assert_eq!(request.unwrap(), b"other"),
    }
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn bytes_past_the_limit_wait_but_a_single_request_always_passes() {
    let limits = TcpLimits { request_bytes_in_flight_max: 100, ..TcpLimits::default() };
    let (_, listener) = echo_with(limits).await;
    let mut stream = greeted(&listener).await;
    let sent: Vec<u8> = (1..=50).flat_map(|id| frame(id, &[7; 1000])).collect();
    stream.write_all(&sent).await.unwrap();
    let mut received = vec![0; sent.len()];
    within(stream.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, sent, "one after the other");
}

/// A server for one connection, which sends `reply` and then only reads.
struct FakeServer {
    address: String,
    /// Resolves when a hello and a frame of four bytes have come.
    called: oneshot::Receiver<()>,
    /// What has come until the connection was closed.
    received: JoinHandle<Vec<u8>>,
}

async fn fake_server(reply: &'static [u8]) -> FakeServer {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let (call, called) = oneshot::channel();
    let received = tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        stream.write_all(reply).await.unwrap();
        let mut received = vec![0; HELLO.len() + frame(1, b"mary").len()];
        if stream.read_exact(&mut received).await.is_ok() {
            call.send(()).unwrap();
            received.extend(until_closed(&mut stream).await);
        }
        received
    });
    FakeServer { address, called, received }
}

#[tokio::test]
async fn a_server_that_is_not_ours_is_told_apart() {
    for reply in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], HELLO, &[0xff; 100]] {
        let FakeServer { address, .. } = fake_server(reply).await;
        let error = TcpTransport::default().call(&address, Frame::new(), in_time()).await;
        let error = error.unwrap_err();
        assert!(matches!(error, TransportError::NotOurs { .. }), "{error:?}");
        assert!(!error.is_ambiguous());
    }
}

#[tokio::test]
async fn a_server_of_another_version_is_told_apart() {
    let FakeServer { address, .. } = fake_server(b"TRIEKV\x07\x00").await;
    let error = TcpTransport::default().call(&address, Frame::new(), in_time()).await.unwrap_err();
    let expected = matches!(error, TransportError::VersionMismatch { ours: 1, theirs: 7, .. });
    assert!(expected, "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_say_hello_is_given_up() {
    let limits =
        TcpLimits { handshake_timeout: Duration::from_millis(300), ..TcpLimits::default() };
    let FakeServer { address, .. } = fake_server(b"").await;
    let error = TcpTransport::new(limits).call(&address, Frame::new(), in_time()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, TransportError::ConnectTimeout { .. }), "{error:?}");
    assert!(!error.is_ambiguous());

    let FakeServer { address, .. } = fake_server(b"TRIE").await;
    let error = TcpTransport::default().call(&address, Frame::new(), soon()).await.unwrap_err();
    assert!(matches!(error, TransportError::DeadlineExceeded { sent: false, .. }), "{error:?}");
}

#[tokio::test]
async fn hostile_frames_of_a_server_lose_the_call() {
    for reply in [
        &b"TRIEKV\x01\x00\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00"[..],
        b"TRIEKV\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00",
        b"TRIEKV\x01\x00\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x80x",
    ] {
        let FakeServer { address, .. } = fake_server(reply).await;
        let error = TcpTransport::default().call(&address, Frame::new(), in_time()).await;
        // Nothing was sent if these came before the call was queued, and the next attempt finds
        // nobody.
        let error = error.unwrap_err();
        let expected =
            matches!(error, TransportError::Lost { .. } | TransportError::Refused { .. });
        assert!(expected, "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_on_which_nothing_arrives_is_dropped() {
    let limits = TcpLimits { silence_timeout: Duration::from_millis(200), ..TcpLimits::default() };
    let transport = TcpTransport::new(limits);
    let server = fake_server(ANSWER).await;
    tokio::select! {
        _ = transport.call(&server.address, b"mary".to_vec(), in_time()) => unreachable!(),
        called = server.called => called.unwrap(),
    }
    // Nobody waits for the response any more, and still the connection is not kept.
    let received = within(server.received).await.unwrap();
    let expected = [HELLO, &frame(1, b"mary"), &frame(0, b"")].concat();
    assert!(received.starts_with(&expected), "a ping was tried first: {received:?}");
}

#[tokio::test]
async fn a_call_is_lost_when_its_server_falls_silent() {
    let limits = TcpLimits { silence_timeout: Duration::from_millis(200), ..TcpLimits::default() };
    let server = fake_server(ANSWER).await;
    let error = TcpTransport::new(limits).call(&server.address, Frame::new(), in_time()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_falls_silent_after_a_response_loses_the_other_calls() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        stream.write_all(ANSWER).await.unwrap();
        let both = [HELLO, &frame(1, b""), &frame(2, b"")].concat();
        let mut received = vec![0; both.len()];
        stream.read_exact(&mut received).await.unwrap();
        assert_eq!(received, both);
        stream.write_all(&frame(1, b"mary")).await.unwrap();
        until_closed(&mut stream).await
    });
    let limits = TcpLimits { silence_timeout: Duration::from_millis(200), ..TcpLimits::default() };
    let transport = TcpTransport::new(limits);
    let (one, other) = within(async {
        tokio::join!(
            transport.call(&address, Frame::new(), Instant::now() + Duration::from_hours(1)),
            transport.call(&address, Frame::new(), Instant::now() + Duration::from_hours(1)),
        )
    })
    .await;
    // Either of the two may have been sent first.
    let (answered, lost) = if one.is_ok() { (one, other) } else { (other, one) };
    assert_eq!(answered.unwrap(), b"mary");
    assert!(matches!(lost, Err(TransportError::Lost { .. })), "{lost:?}");
    within(server).await.unwrap();
}

#[tokio::test]
async fn a_slow_handler_is_not_taken_for_a_dead_server() {
    const SILENCE: Duration = Duration::from_millis(400);
    let limits = TcpLimits { silence_timeout: SILENCE, ..TcpLimits::default() };
    let transport = TcpTransport::new(limits);
    let slow = handler(|request| async {
        tokio::time::sleep(3 * SILENCE).await;
        request
    });
    let listener = transport.listen("127.0.0.1:0", slow).await.unwrap();
    let response = transport.call(listener.address(), b"mary".to_vec(), in_time()).await;
    assert_eq!(response.unwrap(), b"mary");
}

#[tokio::test]
async fn an_unused_connection_is_closed_by_its_caller_first() {
    let limits = TcpLimits { idle_timeout: Duration::from_millis(100), ..TcpLimits::default() };
    let transport = TcpTransport::new(limits);
    let listener = TcpTransport::default().listen("127.0.0.1:0", echo()).await.unwrap();
    let begin = Instant::now();
    // Calls and pauses of the caller's limit in turn: none of them meets a closed connection.
    while begin.elapsed() < Duration::from_millis(500) {
        transport.call(listener.address(), Frame::new(), in_time()).await.unwrap();
        let pause = timeout(Duration::from_millis(50), std::future::pending::<()>());
        pause.await.unwrap_err();
    }
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connections() {
    let transport = TcpTransport::default();
    let server = fake_server(ANSWER).await;
    tokio::select! {
        _ = transport.call(&server.address, b"mary".to_vec(), in_time()) => unreachable!(),
        called = server.called => called.unwrap(),
    }
    let clone = transport.clone();
    drop(transport);
    tokio::task::yield_now().await;
    assert!(!server.received.is_finished());
    drop(clone);
    assert_eq!(within(server.received).await.unwrap(), [HELLO, &frame(1, b"mary")].concat());
}

#[tokio::test]
async fn host_names_are_resolved() {
    let transport = TcpTransport::default();
    let listener = transport.listen("localhost:0", echo()).await.unwrap();
    let port = listener.address().rsplit(':').next().unwrap();
    let address = format!("localhost:{port}");
    assert_eq!(transport.call(&address, vec![1], in_time()).await.unwrap(), [1]);
    let error = transport.call("127.0.0.1", vec![1], in_time()).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. }), "no port: {error:?}");
    let error = transport.listen("no port", echo()).await.unwrap_err();
    assert!(matches!(error, TransportError::Bind { .. }), "{error:?}");
}

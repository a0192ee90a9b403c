//! What every transport must do: one suite, run with each of them.

mod partition;
mod tcp;

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use triekv::transport::{
    BoxFuture, ChannelTransport, FRAME_BYTES_MAX, Frame, Handler, Listener, TcpLimits,
    TcpTransport, Transport, TransportError,
};

/// A transport that the suite can make.
pub(crate) trait Network {
    type Transport: Transport;

    /// An address that some free place is listened at.
    const ANY: &'static str;

    /// Makes a network that carries frames of at most so many bytes.
    fn new(frame_bytes_max: u32) -> Self::Transport;
}

struct Channel;

impl Network for Channel {
    type Transport = ChannelTransport;
    const ANY: &'static str = "server:0";

    fn new(frame_bytes_max: u32) -> ChannelTransport {
        ChannelTransport::new().with_frame_bytes_max(frame_bytes_max)
    }
}

struct Tcp;

impl Network for Tcp {
    type Transport = TcpTransport;
    const ANY: &'static str = "127.0.0.1:0";

    fn new(frame_bytes_max: u32) -> TcpTransport {
        TcpTransport::new(TcpLimits { frame_bytes_max, ..TcpLimits::default() })
    }
}

macro_rules! conformance {
    ($($test:ident)*) => {
        mod channel {
            $(#[tokio::test] async fn $test() { super::$test::<super::Channel>().await; })*
        }
        mod tcp_conformance {
            $(#[tokio::test] async fn $test() { super::$test::<super::Tcp>().await; })*
        }
    };
}

conformance! {
    a_response_reaches_its_caller
    an_empty_frame_passes
    a_handler_is_called_once_a_call
    responses_may_come_in_any_order
    a_frame_at_the_limit_passes_and_one_past_it_does_not
    the_default_limit_passes
    nobody_listens
    a_silent_handler_costs_no_more_than_the_deadline
    a_late_response_reaches_nobody
    a_deadline_in_the_past_sends_nothing
    closing_loses_the_calls_under_way
    closing_ends_the_handlers
    dropping_a_listener_closes_it
    a_panic_of_a_handler_is_lost_to_its_caller_only
    an_address_is_listened_at_once
    an_address_can_be_listened_at_again
    a_dropped_call_does_no_harm
    errors_name_the_address
}

pub(crate) fn in_time() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

/// A deadline that is meant to pass.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(50)
}

/// Fails the test rather than hang it.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_mins(1), future).await.expect("it takes less than a minute")
}

pub(crate) fn handler<F, R>(handle: F) -> Arc<dyn Handler>
where
    F: Fn(Frame) -> R + Send + Sync + 'static,
    R: Future<Output = Frame> + Send + 'static,
{
    Arc::new(move |_peer: &str, request: Frame| -> BoxFuture<'static, Frame> {
        Box::pin(handle(request))
    })
}

pub(crate) fn echo() -> Arc<dyn Handler> {
    handler(|request| async { request })
}

/// A handler that reports each request and never answers.
pub(crate) fn silence() -> (Arc<dyn Handler>, mpsc::UnboundedReceiver<Frame>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let handler = handler(move |request| {
        let _ = seen.send(request);
        std::future::pending()
    });
    (handler, requests)
}

async fn listen<N: Network>(network: &N::Transport, handler: Arc<dyn Handler>) -> Listener {
    network.listen(N::ANY, handler).await.expect("some address is free")
}

async fn a_response_reaches_its_caller<N: Network>() {
    let network = N::new(1000);
    let listener = listen::<N>(&network, echo()).await;
    for request in [&b"mary"[..], b"paul"] {
        let response = network.call(listener.address(), request.to_vec(), in_time()).await;
        assert_eq!(response.unwrap(), request);
    }
}

async fn an_empty_frame_passes<N: Network>() {
    let network = N::new(1000);
    let listener = listen::<N>(&network, echo()).await;
    let response = network.call(listener.address(), Frame::new(), in_time()).await;
    assert_eq!(response.unwrap(), b"");
}

async fn a_handler_is_called_once_a_call<N: Network>() {
    let network = N::new(1000);
    let (seen, mut requests) = mpsc::unbounded_channel();
    let handler = handler(move |request: Frame| {
        seen.send(request.clone()).unwrap();
        async { request }
    });
    let listener = listen::<N>(&network, handler).await;
    for request in 0..10 {
        network.call(listener.address(), vec![request], in_time()).await.unwrap();
    }
    listener.close().await;
    for request in 0..10 {
        assert_eq!(requests.recv().await, Some(vec![request]));
    }
    drop(network);
    assert_eq!(requests.recv().await, None);
}

async fn responses_may_come_in_any_order<N: Network>() {
    const CALLS: u8 = 100;
    let network = N::new(1000);
    // Each request is answered after the one that was sent after it.
    let turn = watch::Sender::new(CALLS);
    let handler = handler(move |request: Frame| {
        let turn = turn.clone();
        async move {
            let mine = request[0];
            turn.subscribe().wait_for(|&turn| turn == mine + 1).await.unwrap();
            turn.send_replace(mine);
            request
        }
    });
    let listener = listen::<N>(&network, handler).await;
    let mut calls = JoinSet::new();
    for request in 0..CALLS {
        let (network, address) = (network.clone(), listener.address().to_owned());
        calls.spawn(async move {
            let response = network.call(&address, vec![request], in_time()).await;
            assert_eq!(response.unwrap(), [request]);
        });
    }
    calls.join_all().await;
}

async fn a_frame_at_the_limit_passes_and_one_past_it_does_not<N: Network>() {
    let network = N::new(1000);
    // Answers with as many bytes as the request says.
    let zeros = handler(|request: Frame| async move {
        vec![0; usize::from(u16::from_le_bytes([request[0], request[1]]))]
    });
    let listener = listen::<N>(&network, zeros).await;
    let address = listener.address();
    let request = |bytes: usize, response: u16| {
        let mut request = vec![0; bytes];
        request[..2].copy_from_slice(&response.to_le_bytes());
        network.call(address, request, in_time())
    };
    assert_eq!(request(1000, 1000).await.unwrap(), [0; 1000]);

    let error = request(1001, 0).await.unwrap_err();
    assert!(matches!(error, TransportError::FrameTooLarge { len: 1001, limit: 1000 }), "{error:?}");
    assert!(!error.is_ambiguous());

    let error = request(2, 1001).await.unwrap_err();
    let expected = matches!(error, TransportError::ResponseTooLarge { len: 1001, limit: 1000, .. });
    assert!(expected, "{error:?}");
    assert!(error.is_ambiguous());

    assert_eq!(request(2, 1).await.unwrap(), [0], "the next call is unharmed");
}

async fn the_default_limit_passes<N: Network>() {
    let network = N::new(FRAME_BYTES_MAX);
    let listener = listen::<N>(&network, echo()).await;
    let request = vec![7; FRAME_BYTES_MAX as usize];
    let response = network.call(listener.address(), request.clone(), in_time()).await;
    assert!(response.unwrap() == request);
}

/// An address that nobody listens at.
async fn vacant<N: Network>(network: &N::Transport) -> String {
    let listener = listen::<N>(network, echo()).await;
    let address = listener.address().to_owned();
    listener.close().await;
    address
}

async fn nobody_listens<N: Network>() {
    let network = N::new(1000);
    let address = vacant::<N>(&network).await;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let (network, address) = (network.clone(), address.clone());
        calls.spawn(async move { network.call(&address, Frame::new(), in_time()).await });
    }
    for result in calls.join_all().await {
        let error = result.unwrap_err();
        assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
        assert!(!error.is_ambiguous());
    }
}

async fn a_silent_handler_costs_no_more_than_the_deadline<N: Network>() {
    let network = N::new(1000);
    let (seen, mut requests) = mpsc::unbounded_channel();
    let handler = handler(move |request: Frame| {
        seen.send(request.clone()).unwrap();
        async move {
            if request == b"never" {
                std::future::pending::<()>().await;
            }
            request
        }
    });
    let listener = listen::<N>(&network, handler).await;
    let address = listener.address();
    // From here on there is a connection, and the request is sent for certain.
    network.call(address, b"mary".to_vec(), in_time()).await.unwrap();
    let error = network.call(address, b"never".to_vec(), soon()).await.unwrap_err();
    assert!(matches!(error, TransportError::DeadlineExceeded { sent: true, .. }), "{error:?}");
    assert!(error.is_ambiguous());
    assert_eq!(within(requests.recv()).await.unwrap(), b"mary");
    assert_eq!(within(requests.recv()).await.unwrap(), b"never");
}

async fn a_late_response_reaches_nobody<N: Network>() {
    let network = N::new(1000);
    let open = Arc::new(watch::Sender::new(false));
    let gate = open.clone();
    let gated = handler(move |request: Frame| {
        let mut gate = gate.subscribe();
        async move {
            gate.wait_for(|&open| open).await.unwrap();
            request
        }
    });
    let listener = listen::<N>(&network, gated).await;
    network.call(listener.address(), b"late".to_vec(), soon()).await.unwrap_err();
    open.send_replace(true);
    for request in [&b"a"[..], b"b", b"c"] {
        let response = network.call(listener.address(), request.to_vec(), in_time()).await;
        assert_eq!(response.unwrap(), request);
    }
}

async fn a_deadline_in_the_past_sends_nothing<N: Network>() {
    let network = N::new(1000);
    let (silence, mut requests) = silence();
    let listener = listen::<N>(&network, silence).await;
    let now = Instant::now();
    let error = network.call(listener.address(), Frame::new(), now).await.unwrap_err();
    assert!(matches!(error, TransportError::DeadlineExceeded { sent: false, .. }), "{error:?}");
    assert!(!error.is_ambiguous());
    listener.close().await;
    assert_eq!(requests.recv().await, None);
}

async fn closing_loses_the_calls_under_way<N: Network>() {
    let network = N::new(1000);
    let (silence, mut requests) = silence();
    let listener = listen::<N>(&network, silence).await;
    let address = listener.address().to_owned();
    let close = async {
        requests.recv().await.expect("the request arrives");
        listener.close().await;
    };
    let (result, ()) = tokio::join!(network.call(&address, Frame::new(), in_time()), close);
    let error = result.unwrap_err();
    assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
    assert!(error.is_ambiguous());
}

async fn closing_ends_the_handlers<N: Network>() {
    let network = N::new(1000);
    let held = Arc::new(());
    let (seen, mut requests) = mpsc::unbounded_channel();
    let holder = held.clone();
    let handler = handler(move |_| {
        let holder = holder.clone();
        seen.send(()).unwrap();
        async move {
            std::future::pending::<()>().await;
            drop(holder);
            Frame::new()
        }
    });
    let listener = listen::<N>(&network, handler).await;
    let address = listener.address().to_owned();
    let close = async {
        requests.recv().await.expect("the request arrives");
        assert!(Arc::strong_count(&held) > 1);
        listener.close().await;
        assert_eq!(Arc::strong_count(&held), 1, "neither a call nor the handler itself is left");
    };
    let (result, ()) = tokio::join!(network.call(&address, Frame::new(), in_time()), close);
    result.unwrap_err();
}

async fn dropping_a_listener_closes_it<N: Network>() {
    let network = N::new(1000);
    let (silence, mut requests) = silence();
    let listener = listen::<N>(&network, silence).await;
    let address = listener.address().to_owned();
    let close = async {
        requests.recv().await.expect("the request arrives");
        drop(listener);
    };
    let (result, ()) = tokio::join!(network.call(&address, Frame::new(), in_time()), close);
    assert!(matches!(result, Err(TransportError::Lost { .. })), "{result:?}");
}

async fn a_panic_of_a_handler_is_lost_to_its_caller_only<N: Network>() {
    let network = N::new(1000);
    let handler = handler(|request: Frame| async move {
        assert_ne!(request, b"panic", "as the test asks for");
        request
    });
    let listener = listen::<N>(&network, handler).await;
    let address = listener.address();
    let (lost, answered) = tokio::join!(
        network.call(address, b"panic".to_vec(), in_time()),
        network.call(address, b"mary".to_vec(), in_time()),
    );
    assert!(matches!(lost, Err(TransportError::Lost { .. })), "{lost:?}");
    assert_eq!(answered.unwrap(), b"mary");
    let response = network.call(address, b"paul".to_vec(), in_time()).await;
    assert_eq!(response.unwrap(), b"paul");
}

async fn an_address_is_listened_at_once<N: Network>() {
    let network = N::new(1000);
    let listener = listen::<N>(&network, echo()).await;
    let error = network.listen(listener.address(), echo()).await.unwrap_err();
    assert!(matches!(error, TransportError::Bind { .. }), "{error:?}");
    assert!(!error.is_ambiguous());
    let response = network.call(listener.address(), b"mary".to_vec(), in_time()).await;
    assert_eq!(response.unwrap(), b"mary", "the first listener is unharmed");
}

async fn an_address_can_be_listened_at_again<N: Network>() {
    let network = N::new(1000);
    let first = listen::<N>(&network, echo()).await;
    let address = first.address().to_owned();
    network.call(&address, Frame::new(), in_time()).await.unwrap();
    first.close().await;

    let _second = network.listen(&address, handler(|_| async { vec![2] })).await.unwrap();
    // The caller may be slower to notice that its connection is gone than the address to be taken.
    let response = within(async {
        loop {
            match network.call(&address, Frame::new(), in_time()).await {
                Ok(response) => break response,
                Err(error) => assert!(matches!(error, TransportError::Lost { .. }), "{error:?}"),
            }
        }
    });
    assert_eq!(response.await, [2]);
}

async fn a_dropped_call_does_no_harm<N: Network>() {
    let network = N::new(1000);
    let (seen, mut requests) = mpsc::unbounded_channel();
    let handler = handler(move |request: Frame| {
        seen.send(()).unwrap();
        async move {
            if request == b"never" {
                std::future::pending::<()>().await;
            }
            request
        }
    });
    let listener = listen::<N>(&network, handler).await;
    tokio::select! {
        _ = network.call(listener.address(), b"never".to_vec(), in_time()) => unreachable!("never"),
        _ = requests.recv() => {}
    }
    let response = network.call(listener.address(), b"mary".to_vec(), in_time()).await;
    assert_eq!(response.unwrap(), b"mary");
}

async fn errors_name_the_address<N: Network>() {
    let network = N::new(1000);
    let address = vacant::<N>(&network).await;
    let refused = network.call(&address, Frame::new(), in_time()).await.unwrap_err();
    assert!(refused.to_string().contains(&address), "{refused}");
    assert!(refused.source().is_some());

    let listener = listen::<N>(&network, echo()).await;
    let bind = network.listen(listener.address(), echo()).await.unwrap_err();
    assert!(bind.to_string().contains(listener.address()), "{bind}");
    assert!(bind.source().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_on_many_threads_share_one_connection() {
    let network = Tcp::new(1 << 20);
    let peer = Arc::new(|peer: &str, mut request: Frame| -> BoxFuture<'static, Frame> {
        request.extend_from_slice(peer.as_bytes());
        Box::pin(async { request })
    });
    let listener = network.listen(Tcp::ANY, peer).await.unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..32_u8 {
        let (network, address) = (network.clone(), listener.address().to_owned());
        callers.spawn(async move {
            let mut peers = HashSet::new();
            for call in 0..50 {
                let request = vec![caller; 1 + call * 97];
                let response = network.call(&address, request.clone(), in_time()).await.unwrap();
                let peer = response.strip_prefix(&request[..]).expect("its own response");
                peers.insert(peer.to_vec());
            }
            peers
        });
    }
    let peers: HashSet<_> = callers.join_all().await.into_iter().flatten().collect();
    assert_eq!(peers.len(), 1, "{peers:?}");
}

//! Partitions of the network inside a process.

use std::sync::Arc;

use triekv::transport::{BoxFuture, ChannelTransport, Frame, Transport, TransportError};

use super::{echo, handler, in_time, silence, soon, within};

#[tokio::test]
async fn handlers_see_who_calls() {
    let network = ChannelTransport::new();
    let peer = |peer: &str, _: Frame| -> BoxFuture<'static, Frame> {
        let peer = peer.as_bytes().to_vec();
        Box::pin(async { peer })
    };
    let _listener = network.listen("a", Arc::new(peer)).await.unwrap();
    assert_eq!(network.call("a", Frame::new(), in_time()).await.unwrap(), b"");
    let named = network.named("b");
    assert_eq!(named.call("a", Frame::new(), in_time()).await.unwrap(), b"b");
}

#[tokio::test(start_paused = true)]
async fn an_isolated_name_is_silent_both_ways_until_it_is_healed() {
    let network = ChannelTransport::new();
    let (a, b, c) = (network.named("a"), network.named("b"), network.named("c"));
    let _a = a.listen("a", echo()).await.unwrap();
    let _b = b.listen("b", echo()).await.unwrap();
    network.isolate("a");
    for (from, to) in [(&b, "a"), (&a, "b")] {
        let error = from.call(to, Frame::new(), soon()).await.unwrap_err();
        assert!(matches!(error, TransportError::DeadlineExceeded { sent: true, .. }), "{error:?}");
    }
    assert_eq!(c.call("b", vec![1], in_time()).await.unwrap(), [1], "others are unharmed");
    assert_eq!(a.call("a", vec![2], in_time()).await.unwrap(), [2], "it reaches itself");
    network.heal("a");
    assert_eq!(b.call("a", vec![3], in_time()).await.unwrap(), [3]);
    assert_eq!(a.call("b", vec![4], in_time()).await.unwrap(), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_request_to_an_isolated_name_does_not_arrive() {
    let network = ChannelTransport::new();
    let (silence, mut requests) = silence();
    let listener = network.listen("a", silence).await.unwrap();
    network.isolate("a");
    network.call("a", Frame::new(), soon()).await.unwrap_err();
    network.heal("a");
    listener.close().await;
    assert_eq!(requests.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_response_is_lost_when_its_server_is_isolated_meanwhile() {
    let network = ChannelTransport::new();
    let cutter = network.clone();
    let handler = handler(move |request| {
        cutter.isolate("a");
        async { request }
    });
    let _listener = network.listen("a", handler).await.unwrap();
    let error = within(network.call("a", Frame::new(), soon())).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error:?}");
}

#[tokio::test]
async fn networks_are_apart_and_names_are_free() {
    let (one, other) = (ChannelTransport::new(), ChannelTransport::new());
    let _one = one.listen("a", echo()).await.unwrap();
    let error = other.call("a", Frame::new(), in_time()).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
    let _other = other.listen("a", echo()).await.unwrap();

    let first = one.listen("b:0", echo()).await.unwrap();
    let second = one.listen("b:0", echo()).await.unwrap();
    assert_ne!(first.address(), second.address());
    assert!(first.address().starts_with("b:"));
}

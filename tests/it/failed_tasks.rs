//! Tasks that panic: a server that cannot serve stops with a reason, and a broker's callers learn of
//! it. The transport panics, by order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use triekv::replication::{Broker, BrokerError, Server, ServerFailure};
use triekv::transport::{
    BoxFuture, ChannelTransport, Frame, Handler, Listener, Transport, TransportError,
};
use triekv::value;

const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Work,
    PanicInAccept,
    PanicInCalls,
}

/// A transport whose tasks panic when they are told to.
#[derive(Debug, Clone)]
struct Brittle {
    inner: ChannelTransport,
    order: watch::Sender<Order>,
}

impl Brittle {
    fn new(inner: ChannelTransport) -> Self {
        Self { inner, order: watch::Sender::new(Order::Work) }
    }

    fn tell(&self, order: Order) {
        self.order.send_replace(order);
    }
}

impl Transport for Brittle {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: Frame,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Frame, TransportError>> {
        assert_ne!(*self.order.borrow(), Order::PanicInCalls, "planted");
        self.inner.call(address, request, deadline)
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Listener, TransportError>> {
        Box::pin(async move {
            let inner = self.inner.listen(address, handler).await?;
            let mut order = self.order.subscribe();
            Ok(Listener::spawn(inner.address().to_owned(), |closing| async move {
                let ordered = async {
                    let _ = order.wait_for(|order| *order == Order::PanicInAccept).await;
                };
                tokio::select! {
                    _ = closing => inner.close().await,
                    () = ordered => panic!("planted"),
                }
            }))
        })
    }
}

struct Servers {
    network: ChannelTransport,
    transports: Vec<Brittle>,
    all: Vec<Server<Brittle>>,
}

impl Servers {
    async fn start() -> Self {
        let network = ChannelTransport::new();
        let (mut transports, mut servers) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let name = format!("server{number}");
            let transport = Brittle::new(network.named(&name));
            transports.push(transport.clone());
            servers.push(Server::builder(transport, name).start().await.unwrap());
        }
        Self { network, transports, all: servers }
    }

    fn addresses(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(Server::address)
    }
}

/// Puts a record in every shard, as often as it takes.
async fn put_everywhere(broker: &Broker<ChannelTransport>) {
    for n in 0..40 {
        let put = async {
            while let Err(error) = broker.put(&format!("key{n}"), value!({ "n": n })).await {
                assert!(!matches!(error, BrokerError::Store(_)), "{error}");
            }
        };
        timeout(PATIENCE, put).await.expect("others lead");
    }
}

async fn a_server_fails(order: Order) -> String {
    let servers = Servers::start().await;
    let broker = Broker::builder(servers.network.clone()).servers(servers.addresses()).copies(3);
    let broker = broker.connect().await.unwrap();
    put_everywhere(&broker).await;
    servers.transports[0].tell(order);
    let failed = timeout(PATIENCE, servers.all[0].failed()).await;
    let task = match failed.expect("the failure is noticed") {
        ServerFailure::Task { task } => task,
        failure => panic!("{failure}"),
    };
    // The server is still there, and leads nothing.
    put_everywhere(&broker).await;
    assert!(timeout(Duration::ZERO, servers.all[1].failed()).await.is_err());
    task
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_nothing_any_more_stops_and_others_lead() {
    let task = a_server_fails(Order::PanicInAccept).await;
    assert_eq!(task, "the task that accepts connections");
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_messages_to_others_panic_stops_and_others_lead() {
    let task = a_server_fails(Order::PanicInCalls).await;
    let known = task.starts_with("the consensus of ") || task == "the governor";
    assert!(known, "{task}");
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_broker_whose_tasks_panic_get_an_error() {
    let servers = Servers::start().await;
    let transport = Brittle::new(servers.network.clone());
    let broker = Broker::builder(transport.clone()).servers(servers.addresses()).copies(3);
    let broker = broker.connect().await.unwrap();
    broker.put("a", value!({ "n": 1 })).await.unwrap();
    transport.tell(Order::PanicInCalls);
    for _ in 0..3 {
        let put = timeout(PATIENCE, broker.put("a", value!({ "n": 2 }))).await;
        let error = put.expect("it is answered").unwrap_err();
        assert!(matches!(error, BrokerError::Stopped) && error.is_ambiguous(), "{error}");
        let got = timeout(PATIENCE, broker.get("a")).await;
        assert!(matches!(got.expect("it is answered"), Err(BrokerError::Stopped)));
    }
}

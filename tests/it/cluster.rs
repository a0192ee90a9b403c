//! Servers and brokers in one process: what a client sees while servers fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use triekv::replication::{
    Broker, BrokerBuilder, BrokerError, ConnectError, LoadEvent, LoadMode, LoadReport, Server,
    Timing,
};
use triekv::store::{CommandError, Page};
use triekv::transport::{
    BoxFuture, ChannelTransport, Frame, Handler, Listener, TcpTransport, Transport, TransportError,
};
use triekv::{Cluster, Condition, Path, Value, value};

/// Short enough for tests, long enough for a busy machine.
const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(120),
    election_min: Duration::from_millis(500),
    election_max: Duration::from_secs(1),
};

/// How long a command may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Servers that can be crashed, on a network that can be cut.
struct Servers {
    network: ChannelTransport,
    servers: Vec<Option<Server<ChannelTransport>>>,
}

impl Servers {
    async fn start(count: usize) -> Self {
        Self::start_with(count, 5_000).await
    }

    async fn start_with(count: usize, snapshot_entries: u64) -> Self {
        let network = ChannelTransport::new();
        let mut servers = Self { network, servers: Vec::new() };
        for number in 0..count {
            servers.servers.push(None);
            servers.restart(number, snapshot_entries).await;
        }
        servers
    }

    async fn restart(&mut self, number: usize, snapshot_entries: u64) {
        let address = name(number);
        let transport = self.network.named(&address);
        // A crashed server's address is free a moment later.
        let started = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let server = Server::builder(transport.clone(), &address).timing(TIMING);
                match server.snapshot_entries(snapshot_entries).start().await {
                    Ok(server) => return server,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        self.servers[number] = Some(started.await.unwrap());
    }

    fn crash(&mut self, number: usize) {
        self.servers[number] = None;
    }

    fn names(&self) -> Vec<String> {
        (0..self.servers.len()).map(name).collect()
    }

    fn builder(&self, copies: usize) -> BrokerBuilder<ChannelTransport> {
        let network = self.network.named("broker");
        Broker::builder(network).servers(self.names()).copies(copies)
    }

    async fn broker(&self, copies: usize) -> Broker<ChannelTransport> {
        self.builder(copies).deadline(DEADLINE).connect().await.unwrap()
    }
}

fn name(number: usize) -> String {
    format!("server{number}")
}

async fn put_many<T: Transport>(broker: &Broker<T>, keys: std::ops::Range<u32>) {
    for n in keys {
        broker.put(&format!("key{n}"), value!({ "n": n })).await.unwrap();
    }
}

async fn assert_all<T: Transport>(broker: &Broker<T>, keys: std::ops::Range<u32>) {
    for n in keys {
        let record = broker.get(&format!("key{n}")).await.unwrap();
        assert_eq!(record.unwrap_or_else(|| panic!("key{n} is gone")).value, value!({ "n": n }));
    }
}

/// Changes of parts of `person1`, which has none.
async fn partial_writes<T: Transport>(broker: &Broker<T>) {
    let before = broker.get("person1").await.unwrap().unwrap();
    let put = broker.set("person1.address.city", value!("Athens")).await.unwrap();
    assert!(!put.created && put.version > before.version);
    broker.set("person1.tags[0]", value!("a")).await.unwrap();
    broker.set("person1.tags[1]", value!("b")).await.unwrap();
    broker.merge("person1", value!({ "age": 22, "address": { "zip": 1 } })).await.unwrap();
    assert!(broker.remove("person1.tags[0]").await.unwrap());
    assert!(!broker.remove("person1.tags[1]").await.unwrap());
    let person = value!({ "address": { "city": "Athens", "zip": 1 }, "tags": ["b"], "age": 22 });
    let record = broker.get("person1").await.unwrap().unwrap();
    assert_eq!(record.value, person);

    let (age, stale) = (Path::new("person1").join("age"), Condition::IfVersion(before.version));
    for error in [
        broker.set_path(&age, value!(23), stale).await.unwrap_err(),
        broker.merge_path(&age, value!(23), stale).await.unwrap_err(),
        broker.remove_path(&age, stale).await.unwrap_err(),
    ] {
        assert!(matches!(error, BrokerError::Store(CommandError::Conflict { .. })));
    }
    let error = broker.set("person1.age.years", value!(22)).await.unwrap_err();
    let BrokerError::Store(CommandError::Place(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), "age: this integer has no fields");
    let error = broker.set("person1", value!(22)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Store(CommandError::NotAMap)));
    assert!(matches!(broker.set("person1[", value!(1)).await, Err(BrokerError::Path(_))));
    assert_eq!(broker.get("person1").await.unwrap(), Some(record));
}

/// The commands, as one broker sees them.
async fn commands<T: Transport>(broker: &Broker<T>) {
    assert_eq!(broker.get("person1").await.unwrap(), None);
    let person = value!({ "name": "Mary", "address": { "city": "Athens" } });
    let put = broker.put("person1", person.clone()).await.unwrap();
    assert!(put.created);
    let again = broker.put("person1", person.clone()).await.unwrap();
    assert!(!again.created && again.version > put.version);
    assert_eq!(broker.get("person1").await.unwrap().unwrap().value, person);
    assert_eq!(broker.query("person1.address.city").await.unwrap(), Some(value!("Athens")));
    assert_eq!(broker.query("person1.address.zip").await.unwrap(), None);
    assert!(matches!(broker.query("person1[").await, Err(BrokerError::Path(_))));

    let stale = Condition::IfVersion(put.version);
    let error = broker.put_if("person1", value!({}), stale).await.unwrap_err();
    let found = Some(again.version);
    assert!(
        matches!(error, BrokerError::Store(CommandError::Conflict { found: f, .. }) if f == found)
    );
    let current = Condition::IfVersion(again.version);
    broker.put_if("person1", value!({}), current).await.unwrap();
    let error = broker.put_if("person1", value!({}), Condition::IfAbsent).await.unwrap_err();
    assert!(matches!(error, BrokerError::Store(CommandError::Conflict { .. })));
    let error = broker.put("person1", value!("no map")).await.unwrap_err();
    assert!(matches!(error, BrokerError::Store(CommandError::NotAMap)));
    let error = broker.put("", value!({})).await.unwrap_err();
    assert!(matches!(error, BrokerError::Store(CommandError::EmptyKey)));
    let error = broker.put("big", value!({ "v": "x".repeat(9 << 20) })).await.unwrap_err();
    assert!(matches!(error, BrokerError::CommandTooLarge { .. }));

    partial_writes(broker).await;

    assert!(broker.delete("person1").await.unwrap());
    assert!(!broker.delete("person1").await.unwrap());
    assert!(broker.is_empty().await.unwrap());
}

#[tokio::test]
async fn a_cluster_in_this_process_carries_out_every_command() {
    let cluster = Cluster::embedded(3).copies(2).timing(TIMING).start().await.unwrap();
    assert_eq!((cluster.broker().copies(), cluster.broker().voters()), (2, 3));
    commands(cluster.broker()).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_cluster_over_tcp_carries_out_every_command() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        let server = Server::builder(TcpTransport::default(), "127.0.0.1:0").timing(TIMING);
        servers.push(server.start().await.unwrap());
    }
    let broker = Broker::builder(TcpTransport::default());
    let broker = broker.servers(servers.iter().map(Server::address)).copies(3);
    let broker = broker.deadline(DEADLINE).connect().await.unwrap();
    commands(&broker).await;
}

#[tokio::test]
async fn one_server_alone_is_a_cluster() {
    let cluster = Cluster::embedded(1).timing(TIMING).start().await.unwrap();
    commands(cluster.broker()).await;
}

#[tokio::test]
async fn a_scan_gives_every_record_once_in_the_order_of_the_keys() {
    let cluster = Cluster::embedded(3).timing(TIMING).start().await.unwrap();
    let broker = cluster.broker();
    put_many(broker, 0..100).await;
    broker.put("other", value!({})).await.unwrap();
    for (limit, bytes_max) in [(1, 1 << 20), (7, 1 << 20), (1000, 1 << 20), (1000, 10)] {
        let mut keys = Vec::new();
        let mut page = Page::first(limit).bytes_max(bytes_max);
        loop {
            let part = broker.scan("key", page.clone()).await.unwrap();
            assert!(part.entries.len() <= limit);
            keys.extend(part.entries.into_iter().map(|entry| entry.key));
            let Some(next) = part.next else { break };
            page = page.after(next);
        }
        let expected: BTreeSet<String> = (0..100).map(|n| format!("key{n}")).collect();
        assert!(keys.iter().eq(expected.iter()), "limit {limit}, bytes {bytes_max}: {keys:?}");
    }
    assert_eq!(broker.len().await.unwrap(), 101);
}

#[tokio::test]
async fn every_command_works_after_the_loss_of_any_one_server() {
    for lost in 0..3 {
        let mut servers = Servers::start(3).await;
        let broker = servers.broker(2).await;
        put_many(&broker, 0..20).await;
        servers.crash(lost);
        assert_all(&broker, 0..20).await;
        put_many(&broker, 10..40).await;
        assert!(broker.delete("key0").await.unwrap());
        assert_eq!(broker.get("key0").await.unwrap(), None);
        assert_all(&broker, 1..40).await;
    }
}

#[tokio::test]
async fn without_a_majority_writes_are_refused_and_only_stale_reads_are_answered() {
    let mut servers = Servers::start(3).await;
    let broker = servers.broker(2).await;
    put_many(&broker, 0..10).await;
    servers.crash(0);
    servers.crash(2);
    for n in 0..10 {
        let key = format!("key{n}");
        let error = broker.get(&key).await.unwrap_err();
        assert!(error.is_degraded() && !error.is_ambiguous(), "{error}");
        let stale = broker.get_stale(&key).await.unwrap();
        assert_eq!((stale.replicas, stale.voters), (1, 3));
        assert_eq!(stale.answer.unwrap().value, value!({ "n": n }));
    }
    let error = broker.put("key0", value!({})).await.unwrap_err();
    assert!(
        matches!(error, BrokerError::NoMajority { .. } | BrokerError::Unknown { .. }),
        "{error}"
    );
    servers.crash(1);
    let error = broker.get_stale("key0").await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable { .. }));
}

#[tokio::test]
async fn a_single_copy_is_unavailable_while_its_server_is_down_and_the_others_are_not() {
    let mut servers = Servers::start(3).await;
    let broker = servers.broker(1).await;
    assert_eq!(broker.voters(), 1);
    put_many(&broker, 0..40).await;
    servers.crash(1);
    let (mut answered, mut unavailable) = (0, 0);
    for n in 0..40 {
        let key = format!("key{n}");
        match broker.get(&key).await {
            Ok(record) => {
                assert_eq!(record.unwrap().value, value!({ "n": n }));
                answered += 1;
            }
            Err(error) => {
                assert!(matches!(error, BrokerError::NoMajority { lost: 1, voters: 1, .. }));
                let stale = broker.get_stale(&key).await;
                assert!(matches!(stale, Err(BrokerError::Unavailable { .. })));
                unavailable += 1;
            }
        }
    }
    assert!(answered > 0 && unavailable > 0, "{answered} answered, {unavailable} unavailable");
}

#[tokio::test]
async fn a_clean_stop_costs_no_command() {
    let mut servers = Servers::start(3).await;
    let broker = servers.broker(3).await;
    put_many(&broker, 0..10).await;
    let writer = tokio::spawn({
        let broker = broker.clone();
        async move { put_many(&broker, 10..200).await }
    });
    servers.servers[1].take().unwrap().stop().await;
    writer.await.unwrap();
    assert_all(&broker, 0..200).await;
}

#[tokio::test]
async fn a_partitioned_leader_is_replaced_and_catches_up_from_a_snapshot() {
    let mut servers = Servers::start_with(3, 20).await;
    let broker = servers.broker(3).await;
    put_many(&broker, 0..10).await;
    servers.network.isolate(&name(0));
    // Far more entries for each of the eight shards than their logs keep.
    put_many(&broker, 0..400).await;
    servers.network.heal(&name(0));
    // With another server down, only what server 0 has caught up on makes a majority.
    servers.crash(1);
    put_many(&broker, 400..420).await;
    assert_all(&broker, 0..420).await;
}

#[tokio::test]
async fn brokers_that_come_together_found_one_cluster() {
    let servers = Servers::start(3).await;
    let (first, second) = tokio::join!(servers.broker(2), servers.broker(2));
    assert_eq!(first.cluster(), second.cluster());
    first.put("a", value!({ "by": 1 })).await.unwrap();
    second.put("a", value!({ "by": 2 })).await.unwrap();
    assert_eq!(first.query("a.by").await.unwrap(), Some(Value::from(2)));
    drop((first, second));
    let third = servers.broker(1).await;
    assert_eq!((third.copies(), third.query("a.by").await.unwrap()), (2, Some(Value::from(2))));
}

#[tokio::test]
async fn servers_that_do_not_fit_together_are_refused() {
    let servers = Servers::start(3).await;
    let error = servers.builder(4).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::TooFewServers { reached: 3, copies: 4, .. }));
    let error = servers.builder(0).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::NoCopies));
    let nobody = Broker::builder(servers.network.clone()).servers(["nobody"]).connect().await;
    assert!(matches!(nobody, Err(ConnectError::TooFewServers { reached: 0, .. })));
    let twice = Broker::builder(servers.network.clone()).servers([name(0), name(0)]);
    assert!(matches!(twice.connect().await, Err(ConnectError::SameServer { .. })));

    let one = Broker::builder(servers.network.clone()).servers([name(0)]);
    let one = one.connect().await.unwrap();
    let other = Broker::builder(servers.network.clone()).servers([name(1)]);
    let other = other.connect().await.unwrap();
    assert_ne!(one.cluster(), other.cluster());
    let error = servers.builder(1).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::DifferentClusters { .. }), "{error}");
}

#[tokio::test]
async fn a_server_started_anew_is_a_newcomer_and_breaks_nothing() {
    let mut servers = Servers::start(3).await;
    let broker = servers.broker(2).await;
    put_many(&broker, 0..10).await;
    servers.crash(2);
    servers.restart(2, 5_000).await;
    assert_all(&broker, 0..10).await;
    put_many(&broker, 10..20).await;
    let late = servers.broker(2).await;
    assert_all(&late, 0..20).await;
}

/// Loses the answers of some calls, after they were carried out: the n-th call, if a hash of n and
/// the seed says so.
#[derive(Debug, Clone)]
struct Lossy<T> {
    inner: T,
    seed: u64,
    calls: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl<T: Transport> Transport for Lossy<T> {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: Frame,
        deadline: tokio::time::Instant,
    ) -> BoxFuture<'a, Result<Frame, TransportError>> {
        Box::pin(async move {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            let answer = self.inner.call(address, request, deadline).await?;
            let dice = (call ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            if dice.is_multiple_of(4) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                let source = Arc::new(std::io::Error::other("lost on purpose"));
                return Err(TransportError::Lost { address: address.to_owned(), source });
            }
            Ok(answer)
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

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_sent_again_and_applied_once() {
    let servers = Servers::start(3).await;
    let _founded = servers.broker(3).await;
    for seed in 0..3 {
        let transport = Lossy {
            inner: servers.network.named("broker"),
            seed,
            calls: Arc::default(),
            lost: Arc::default(),
        };
        let lost = Arc::clone(&transport.lost);
        let broker = Broker::builder(transport).servers(servers.names());
        let broker = broker.deadline(DEADLINE).connect().await.unwrap();
        let key = format!("counter{seed}");
        let mut version = broker.put(&key, value!({ "n": 0 })).await.unwrap().version;
        let queue = Value::List((0..100).map(Value::from).collect());
        broker.set(&format!("queue{seed}.items"), queue).await.unwrap();
        for n in 1..100 {
            // A put that is applied twice would find the version of its own first time.
            let put = broker.put_if(&key, value!({ "n": n }), Condition::IfVersion(version)).await;
            version = put.unwrap_or_else(|error| panic!("seed {seed}, put {n}: {error}")).version;
            // A removal that is applied twice would take the next item with it.
            let removed = broker.remove(&format!("queue{seed}.items[0]")).await;
            assert!(removed.unwrap(), "seed {seed}, removal {n}");
        }
        let rest = broker.query(&format!("queue{seed}.items")).await.unwrap();
        assert_eq!(rest, Some(value!([99])), "seed {seed}");
        assert!(lost.load(Ordering::Relaxed) > 10, "the fault did not bite");
    }
}

fn data_file(lines: &str) -> tempfile::NamedTempFile {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn a_file_is_loaded_once_and_says_what_was_wrong_with_it() {
    let servers = Servers::start(3).await;
    let broker = servers.broker(2).await;
    let file = data_file(
        "\"a\":{ \"x\" : 1 }\r\n\nnot a record\n\"b\":{ \"x\" : True }\n\"a\":{ \"x\" : 2 }",
    );
    let mut told = Vec::new();
    let report = broker.load_file(file.path(), LoadMode::Once, |event| match event {
        LoadEvent::BadLine { line, error } => told.push(format!("bad {line} {error}")),
        LoadEvent::DuplicateKey { line, earlier, key } => {
            told.push(format!("again {line} {earlier} {key}"));
        }
        _ => {}
    });
    let report = report.await.unwrap();
    let expected =
        LoadReport { lines: 5, put: 2, bad_lines: 1, duplicates: 1, ..LoadReport::default() };
    assert_eq!(report, expected);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("bad 3 column 13: "), "{told:?}");
    assert_eq!(told[1], "again 5 1 a");
    assert_eq!(broker.query("a.x").await.unwrap(), Some(Value::from(2)));
    assert_eq!(broker.query("b.x").await.unwrap(), Some(Value::from(true)));

    broker.delete("b").await.unwrap();
    broker.put("a", value!({ "x": 3 })).await.unwrap();
    let late = servers.broker(2).await;
    let report = late.load_file(file.path(), LoadMode::Once, |_| {}).await.unwrap();
    assert!(report.already_loaded);
    assert_eq!((report.put, report.lines), (0, 5));
    assert_eq!(late.get("b").await.unwrap(), None);

    let other = data_file("a:{\"x\":9}\nc:{\"x\":9}\n");
    let report = late.load_file(other.path(), LoadMode::Once, |_| {}).await.unwrap();
    assert_eq!((report.put, report.present), (1, 1));
    assert_eq!(late.query("a.x").await.unwrap(), Some(Value::from(3)));

    let report = late.load_file(file.path(), LoadMode::Reload, |_| {}).await.unwrap();
    assert_eq!(report.put, 2);
    assert_eq!(late.query("a.x").await.unwrap(), Some(Value::from(2)));

    for key in ["a", "b", "c"] {
        late.delete(key).await.unwrap();
    }
    let report = late.load_file(file.path(), LoadMode::Once, |_| {}).await.unwrap();
    assert_eq!((report.put, report.already_loaded), (2, false), "an empty cluster is filled");
    let folder = late.load_file("src".as_ref(), LoadMode::Once, |_| {}).await;
    assert!(folder.unwrap_err().to_string().contains("not a regular file"));
    let missing = late.load_file("no such file".as_ref(), LoadMode::Once, |_| {}).await;
    assert!(missing.unwrap_err().to_string().contains("no such file"));
}

#[tokio::test]
async fn a_file_may_have_lines_of_both_formats() {
    let servers = Servers::start(1).await;
    let broker = servers.broker(1).await;
    let file = data_file(concat!(
        "\u{feff}{\"key\":\"a.b\",\"value\":{\"x\":[1,1.0,18446744073709551615]}}\r\n",
        "\"c\":{ \"x\" : True }\n\n",
        "{\"key\":\"d\",\"value\":{},\"note\":1}\n",
        "{ \"value\": {}, \"key\": \"e\" }",
    ));
    let mut told = Vec::new();
    let report = broker.load_file(file.path(), LoadMode::Once, |event| {
        if let LoadEvent::BadLine { line, error } = event {
            told.push(format!("{line} {error}"));
        }
    });
    let report = report.await.unwrap();
    assert_eq!((report.lines, report.put, report.bad_lines), (5, 3, 1));
    let fault = r#"4 column 23: unknown field "note": a record has "key" and "value" at byte 22"#;
    assert_eq!(told, [fault]);
    let numbers = broker.query("\"a.b\".x").await.unwrap();
    assert_eq!(numbers, Some(value!([1, 1.0, u64::MAX])));
    assert_eq!(broker.get("e").await.unwrap().map(|record| record.value), Some(value!({})));
}

#[tokio::test]
async fn a_broker_takes_and_gives_rust_types() {
    let servers = Servers::start(1).await;
    let broker = servers.broker(1).await;
    let ages = BTreeMap::from([("Mary".to_owned(), 22_u8), ("Jo".to_owned(), 7)]);
    let put = broker.put_as("ages", &ages).await.unwrap();
    assert!(put.created);
    assert_eq!(broker.get_as("ages").await.unwrap(), Some(ages.clone()));
    assert_eq!(broker.get_as::<Value>("none").await.unwrap(), None);
    assert_eq!(broker.query_as("ages.Mary").await.unwrap(), Some(22_u64));
    assert_eq!(broker.query_as::<u8>("ages.Ann").await.unwrap(), None);

    let error = broker.get_as::<BTreeMap<String, bool>>("ages").await.unwrap_err();
    assert_eq!(error.to_string(), "Jo: expected a boolean, found the integer 7");
    assert!(!error.is_ambiguous() && !error.is_degraded());
    let error = broker.query_as::<bool>("ages.Mary").await.unwrap_err();
    assert_eq!(error.to_string(), "Mary: expected a boolean, found the integer 22");
    let error = broker.query_as::<bool>("ages..Mary").await.unwrap_err();
    assert!(matches!(error, BrokerError::Path(_)));
    let error = broker.put_as("ages", &f64::NAN).await.unwrap_err();
    assert!(matches!(error, BrokerError::Store(CommandError::Value(_))));

    let late = broker.put_if_as("ages", &ages, Condition::IfVersion(put.version + 1)).await;
    assert!(matches!(late, Err(BrokerError::Store(CommandError::Conflict { .. }))));
    broker.put_if_as("ages", &ages, Condition::IfVersion(put.version)).await.unwrap();
}

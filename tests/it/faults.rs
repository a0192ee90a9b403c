//! Servers and brokers on a network that fails: what a client sees, and what it must never see.
//!
//! The clock is paused: it goes on by itself whenever nobody has anything to do, so a slow network
//! or an election costs the tests no time and a busy machine is no fault.

use std::io::Write;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use triekv::replication::{
    Broker, BrokerBuilder, BrokerError, LoadEvent, LoadMode, Server, ServerError, Timing,
};
use triekv::store::Page;
use triekv::transport::ChannelTransport;
use triekv::{Value, value};

mod history;
mod members;
mod network;
mod status;

use network::{Fate, Link, Network};

const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(60),
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(600),
};

/// Bytes a second of a slow network: 100 Mbit/s.
const SLOW: u64 = 12_500_000;

fn name(number: usize) -> String {
    format!("server{number}")
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(name).collect()
}

async fn start(
    network: &Network,
    count: usize,
    snapshot_entries: u64,
) -> Vec<Option<Server<Network>>> {
    let mut servers = Vec::new();
    for number in 0..count {
        let server = Server::builder(network.named(&name(number)), name(number)).timing(TIMING);
        servers.push(Some(server.snapshot_entries(snapshot_entries).start().await.unwrap()));
    }
    servers
}

/// A broker named `me` of the first `count` servers.
fn builder(network: &Network, me: &str, count: usize) -> BrokerBuilder<Network> {
    Broker::builder(network.named(me)).servers(names(count))
}

async fn connect(network: &Network, me: &str, count: usize, copies: usize) -> Broker<Network> {
    builder(network, me, count).copies(copies).connect().await.unwrap()
}

/// A document of that many bytes and a few.
fn document(n: i64, bytes: usize) -> Value {
    value!({ "n": n, "filling": "x".repeat(bytes) })
}

/// Sets what becomes of all that `from` sends to the first `count` servers.
fn set_from(network: &Network, from: &str, count: usize, link: Link) {
    for to in names(count) {
        network.set(from, &to, link);
    }
}

/// The names of the servers, in the order of their ids.
fn by_id(servers: &[Option<Server<Network>>]) -> Vec<String> {
    let mut servers: Vec<_> = servers.iter().flatten().collect();
    servers.sort_by_key(|server| server.id());
    servers.iter().map(|server| server.address().to_owned()).collect()
}

/// The server that leads the shard of a key: it sends a large document on to the others.
async fn leader(network: &Network, broker: &Broker<Network>, key: &str) -> usize {
    const BYTES: usize = 100_000;
    let start = network.now();
    broker.put(key, document(0, BYTES)).await.unwrap();
    let sent = network.events(start);
    let mut large = sent.iter().rev().filter(|event| event.len > BYTES);
    let server = |event: &network::Event| event.from.strip_prefix("server")?.parse().ok();
    large.find_map(server).expect("a leader sends what was put to the others")
}

#[tokio::test(start_paused = true)]
async fn a_large_put_gets_through_a_slow_network() {
    for (bytes, rate) in [(2 << 20, SLOW), (2 << 20, 4_000_000), (7 << 20, SLOW)] {
        let network = Network::new(1);
        let _servers = start(&network, 3, 5_000).await;
        let broker = connect(&network, "broker", 3, 3).await;
        network.set_all(&names(3), Link::Slow(rate));
        for n in 0..3 {
            let put = broker.put("key", document(n, bytes)).await;
            put.unwrap_or_else(|error| panic!("{bytes} bytes at {rate} bytes/s: {error}"));
            broker.put("key", value!({ "n": "small" })).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_lagged_catches_up_over_a_slow_network() {
    // With the log alone, and by a snapshot.
    for snapshot_entries in [5_000, 10] {
        let network = Network::new(1);
        let _servers = start(&network, 3, snapshot_entries).await;
        let broker = connect(&network, "broker", 3, 3).await;
        network.set_all(&names(3), Link::Slow(SLOW));
        let lagging = (leader(&network, &broker, "key").await + 1) % 3;
        network.isolate(&name(lagging));
        for n in 1..=40 {
            broker.put("key", document(n, 100 << 10)).await.unwrap();
        }
        network.heal(&name(lagging));

        let observer = connect(&network, "observer", 3, 3).await;
        set_from(&network, "observer", 3, Link::Refused);
        network.set("observer", &name(lagging), Link::Delayed(Duration::from_millis(50)));
        let healed = Instant::now();
        loop {
            let record = observer.get_stale("key").await.unwrap().answer;
            if record.is_some_and(|record| record.value == document(40, 100 << 10)) {
                break;
            }
            let late = healed.elapsed() > Duration::from_secs(10);
            assert!(!late, "it did not catch up, snapshot every {snapshot_entries}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopping_leader_does_not_deny_a_write_that_was_carried_out() {
    const BYTES: usize = 10_000;
    let network = Network::new(1);
    let mut servers = start(&network, 3, 5_000).await;
    let broker = connect(&network, "broker", 3, 3).await;
    let witness = connect(&network, "witness", 3, 3).await;
    let leader = leader(&network, &broker, "key").await;
    // The leader's entries reach the others and it never hears of it; the broker reaches it alone.
    let others: Vec<String> = names(3).into_iter().filter(|to| *to != name(leader)).collect();
    for other in &others {
        network.set(&name(leader), other, Link::AnswersLost);
        network.set(other, &name(leader), Link::RequestsLost);
        network.set("broker", other, Link::Refused);
    }
    let start = network.now();
    let put = tokio::spawn(async move { broker.put("key", document(1, BYTES)).await });
    for other in &others {
        network.until(start, |event| event.len > BYTES && event.to == *other).await;
    }
    servers[leader].take().unwrap().stop().await;
    let error = put.await.unwrap().expect_err("nobody could tell the broker");
    let now = witness.query("key.n").await.unwrap();
    assert_eq!(now, Some(Value::from(1)), "both others had it");
    assert!(error.is_ambiguous(), "it was carried out: {error}");
}

#[tokio::test(start_paused = true)]
async fn brokers_that_see_different_servers_found_one_cluster_or_are_refused() {
    // Which server each of the two does not reach, in the order of the ids.
    let views = [(Some(0), None), (None, Some(1)), (Some(0), Some(1)), (Some(2), Some(0))];
    for (round, (one, other)) in views.into_iter().cycle().take(12).enumerate() {
        let network = Network::new(round as u64);
        let servers = start(&network, 3, 5_000).await;
        let by_id = by_id(&servers);
        for (me, unseen) in [("one", one), ("other", other)] {
            if let Some(unseen) = unseen {
                network.set(me, &by_id[unseen], Link::Refused);
            }
        }
        assert_one_cluster(&network, round).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_founder_that_refuses_the_plan_of_one_broker_splits_nothing() {
    const IDENTIFY_BYTES_MAX: usize = 20;
    for round in 0..12 {
        let network = Network::new(round as u64);
        let servers = start(&network, 3, 5_000).await;
        let first = &by_id(&servers)[0];
        let late = Duration::from_millis(1 + 2 * round as u64);
        network.set("one", first, Link::Delayed(late));
        network.set("other", first, Link::RefusedOver(IDENTIFY_BYTES_MAX));
        assert_one_cluster(&network, round).await;
    }
}

/// The brokers "one" and "other", at the same time, end in one cluster if in any, and who comes
/// later finds a cluster that works.
async fn assert_one_cluster(network: &Network, round: usize) {
    let one = builder(network, "one", 3).copies(2).connect();
    let other = builder(network, "other", 3).copies(2).connect();
    let (one, other) = tokio::join!(one, other);
    assert!(network.count(Fate::Refused) > 0, "the fault did not bite");
    network.clear();
    let late = builder(network, "late", 3).copies(2).connect().await;
    let late = late.unwrap_or_else(|error| {
        let (one, other) = (one.as_ref().map(Broker::cluster), other.as_ref().map(Broker::cluster));
        panic!("round {round}: {error}, after {one:?} and {other:?}")
    });
    for broker in [&one, &other].into_iter().flatten().chain([&late]) {
        assert_eq!(broker.cluster(), late.cluster(), "round {round}");
        broker.put("key", value!({ "round": round as u64 })).await.unwrap();
        let found = late.query("key.round").await.unwrap();
        assert_eq!(found, Some(Value::from(round as u64)), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_founder_whose_first_call_is_refused_founds_when_asked_again() {
    for founder in 0..3 {
        let network = Network::new(1);
        let servers = start(&network, 3, 5_000).await;
        let founder = &by_id(&servers)[founder];
        network.set("broker", founder, Link::RefusedOver(20));
        let connecting = builder(&network, "broker", 3).copies(3).connect();
        let healing = async {
            // The broker has asked who the servers are, and then for more.
            network.until(0, |event| event.from == "broker" && event.len > 20).await;
            network.clear();
        };
        let (connected, ()) = tokio::join!(connecting, healing);
        if let Ok(broker) = connected {
            broker.put("key", value!({})).await.unwrap();
        }
        connect(&network, "late", 3, 3).await.put("key", value!({})).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn reads_of_long_keys_that_waited_together_are_all_answered() {
    const READS: usize = 500;
    let network = Network::new(1);
    let _servers = start(&network, 1, 5_000).await;
    let broker = connect(&network, "broker", 1, 1).await;
    network.set("broker", &name(0), Link::Held);
    let mut reads = JoinSet::new();
    for _ in 0..READS {
        let broker = broker.clone();
        reads.spawn(async move { broker.get(&"k".repeat(50_000)).await });
    }
    sleep(Duration::from_millis(100)).await;
    network.clear();
    while let Some(read) = reads.join_next().await {
        assert_eq!(read.unwrap().unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_expired_does_not_fail_the_ones_that_waited_with_it() {
    let network = Network::new(1);
    let _servers = start(&network, 1, 5_000).await;
    let broker = builder(&network, "broker", 1).deadline(Duration::from_secs(3));
    let broker = broker.connect().await.unwrap();
    broker.put("key", value!({ "n": 0 })).await.unwrap();
    network.set("broker", &name(0), Link::RequestsLost);
    let put = async |after, n| {
        sleep(Duration::from_millis(after)).await;
        broker.put("key", value!({ "n": n })).await
    };
    let get = async |after| {
        sleep(Duration::from_millis(after)).await;
        broker.get("key").await
    };
    let heal = async {
        sleep(Duration::from_millis(3300)).await;
        network.clear();
    };
    let (first, second, last, (), first_get, last_get) =
        tokio::join!(put(0, 1), put(50, 2), put(2800, 3), heal, get(0), get(2800));
    assert!(first.unwrap_err().is_ambiguous());
    second.unwrap_err();
    first_get.unwrap_err();
    last.expect("2.5 s were left");
    last_get.expect("2.5 s were left");
    assert_eq!(broker.query("key.n").await.unwrap(), Some(Value::from(3)));
}

#[tokio::test(start_paused = true)]
async fn an_oversized_scan_fails_alone() {
    let network = Network::new(1);
    let _servers = start(&network, 1, 5_000).await;
    let broker = connect(&network, "broker", 1, 1).await;
    // Without its server, a shard tells its number.
    network.set("broker", &name(0), Link::Refused);
    let shard = async |key: &str| match broker.get_stale(key).await {
        Err(BrokerError::Unavailable { group, .. }) => group,
        other => panic!("{other:?}"),
    };
    let (mut heavy, first) = (vec!["big0".to_owned()], shard("big0").await);
    for n in 1.. {
        let key = format!("big{n}");
        if shard(&key).await == first {
            heavy.push(key);
        }
        if heavy.len() == 3 {
            break;
        }
    }
    network.clear();
    for key in &heavy {
        broker.put(key, document(0, 6 << 20)).await.unwrap();
    }
    network.set("broker", &name(0), Link::Held);
    let mut reads = JoinSet::new();
    for n in 0..100 {
        let (broker, key) = (broker.clone(), format!("{}{n}", heavy[0]));
        reads.spawn(async move {
            if n == 50 {
                let page = Page::first(1000).bytes_max(1 << 30);
                let error = broker.scan("big", page).await.unwrap_err();
                assert!(matches!(error, BrokerError::Refused { .. }), "{error}");
            } else {
                broker.get(&key).await.unwrap();
            }
        });
    }
    sleep(Duration::from_millis(100)).await;
    network.clear();
    reads.join_all().await;
}

// The clock runs: a paused one stands still while the file is read.
#[tokio::test]
async fn a_load_that_was_interrupted_begins_anew_in_a_cluster_that_was_emptied() {
    // The load notes its progress every 16,384 lines and has 4,096 under way.
    const LINES: u64 = 21_500;
    const ENOUGH: u64 = 17_000;
    let network = Network::new(1);
    let _servers = start(&network, 1, 50_000).await;
    let broker = connect(&network, "broker", 1, 1).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for n in 0..LINES {
        writeln!(file, "k{n}:{{\"n\":{n}}}").unwrap();
    }
    let reached_at = file.as_file().metadata().unwrap().len() * ENOUGH / LINES;
    let (enough, reached) = tokio::sync::oneshot::channel();
    let loading = tokio::spawn({
        let (broker, path) = (broker.clone(), file.path().to_owned());
        let mut enough = Some(enough);
        async move {
            let count = |event: LoadEvent<'_>| {
                if let LoadEvent::Progress { bytes, .. } = event
                    && bytes >= reached_at
                    && let Some(enough) = enough.take()
                {
                    enough.send(()).expect("the test waits");
                }
            };
            broker.load_file(&path, LoadMode::Once, count).await.map(drop)
        }
    });
    reached.await.unwrap();
    loading.abort();
    assert!(loading.await.unwrap_err().is_cancelled());
    // What is on its way arrives before anything is deleted.
    sleep(Duration::from_secs(10)).await;

    let mut deletes = JoinSet::new();
    for n in 0..LINES {
        let broker = broker.clone();
        deletes.spawn(async move { broker.delete(&format!("k{n}")).await.unwrap() });
    }
    deletes.join_all().await;
    assert!(broker.is_empty().await.unwrap());
    let late = connect(&network, "late", 1, 1).await;
    let report = late.load_file(file.path(), LoadMode::Once, |_| {}).await.unwrap();
    assert_eq!((report.put, late.len().await.unwrap()), (LINES, LINES), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn timing_that_cannot_work_is_refused_at_the_start() {
    let timing = |heartbeat, min, max| Timing {
        heartbeat: Duration::from_micros(heartbeat),
        election_min: Duration::from_micros(min),
        election_max: Duration::from_micros(max),
    };
    let start = async |timing| {
        let network = ChannelTransport::new();
        Server::builder(network, "server").timing(timing).start().await
    };
    let cannot_work = [
        timing(500_000, 300_000, 600_000),
        timing(100_000, 600_000, 300_000),
        timing(100_000, 300_000, 300_000),
        timing(0, 300_000, 600_000),
        timing(0, 0, 0),
    ];
    for timing in cannot_work {
        let error = start(timing).await.expect_err("it cannot work");
        assert!(matches!(error, ServerError::Timing(_)), "{timing:?}: {error}");
    }
    start(TIMING).await.unwrap();
    start(Timing::default()).await.unwrap();
}

/// How many tasks the runtime has.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn assert_tasks_end(before: usize, when: &str) {
    let began = Instant::now();
    while tasks() > before {
        let late = began.elapsed() > Duration::from_secs(10);
        assert!(!late, "{} tasks are left of servers dropped {when}", tasks() - before);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn servers_leave_no_task_behind() {
    let before = tasks();
    for stop in [false, true] {
        let network = Network::new(1);
        let servers = start(&network, 3, 50).await;
        let broker = connect(&network, "broker", 3, 3).await;
        for n in 0..200 {
            broker.put(&format!("key{n}"), value!({ "n": n })).await.unwrap();
        }
        drop(broker);
        for server in servers.into_iter().flatten() {
            if stop {
                server.stop().await;
            }
        }
        assert_tasks_end(before, "after founding").await;
    }
}

#[tokio::test(start_paused = true)]
async fn servers_dropped_while_they_found_a_cluster_leave_no_task_behind() {
    let before = tasks();
    for millis in 0..24 {
        let network = Network::new(1);
        let servers = start(&network, 3, 50).await;
        let connecting = tokio::spawn(builder(&network, "broker", 3).copies(3).connect());
        sleep(Duration::from_millis(millis)).await;
        drop(servers);
        connecting.abort();
        assert_tasks_end(before, &format!("after {millis} ms of founding")).await;
    }
}

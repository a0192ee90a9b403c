//! Clusters that are founded beside older ones.

use std::mem;

use triekv::replication::{Health, MemberError, NamedCluster};

use super::*;

#[tokio::test]
async fn fewer_than_a_majority_of_the_named_servers_found_a_cluster_only_when_asked_to() {
    let mut servers = Servers::blank(5, 5_000);
    servers.restart(0).await;
    servers.restart(3).await;
    let error = servers.connect(DEADLINE, 1).await.unwrap_err();
    let ConnectError::TooFewToFound { reached, named, needed, unreached } = &error else {
        panic!("{error}")
    };
    assert_eq!((*reached, *named, *needed), (2, 5, 3));
    let silent: Vec<_> = unreached.iter().map(|unreached| unreached.address.as_str()).collect();
    assert_eq!(silent, ["server1", "server2", "server4"]);
    // Copies come before: those that do not answer could not hold them.
    let error = servers.connect(DEADLINE, 3).await.unwrap_err();
    assert!(matches!(error, ConnectError::TooFewServers { reached: 2, copies: 3, .. }), "{error}");

    let names: Vec<String> = (0..5).map(name).collect();
    let builder = || Broker::builder(servers.network.clone()).servers(names.clone());
    let broker = builder().found_without_majority().connect().await.unwrap();
    assert_eq!((broker.has_founded(), broker.servers(), broker.unreached().len()), (true, 2, 3));
    let late = builder().connect().await.unwrap();
    assert_eq!((late.has_founded(), late.cluster()), (false, broker.cluster()));
}

/// A cluster of three, of which two have lost their disks and are founded anew while the third was
/// silent, and has come back.
struct Beside {
    servers: Servers,
    /// The disks of the first two as they were.
    before: Vec<Machine>,
    old: ChannelBroker,
    new: ChannelBroker,
}

impl Beside {
    async fn start() -> Self {
        let mut servers = Servers::start(3, 5_000).await;
        let old = servers.connect(Duration::from_secs(3), 2).await.unwrap();
        assert!(old.has_founded());
        for n in 0..30 {
            put_many(&old, n..n + 1).await;
        }
        let mut before = Vec::new();
        for number in 0..3 {
            servers.cut(number, u64::MAX);
        }
        for number in 0..2 {
            before.push(mem::replace(&mut servers.machines[number], Machine::new()));
            servers.restart(number).await;
        }
        let new = servers.broker(2).await;
        assert!(new.has_founded() && new.status().await.strangers.is_empty());
        assert_eq!((new.unreached().len(), &new.unreached()[0].address), (1, &name(2)));
        put_many(&new, 100..110).await;
        servers.restart(2).await;
        Self { servers, before, old, new }
    }
}

#[tokio::test]
async fn servers_of_two_clusters_are_told_apart_by_what_they_were_founded_with_and_have() {
    let Beside { servers, old, new, .. } = Beside::start().await;
    let (first, second, third) = (name(0), name(1), name(2));
    let check = |clusters: &[NamedCluster]| {
        let [one, other] = clusters else { panic!("{clusters:?}") };
        assert_eq!((one.status.cluster, other.status.cluster), (new.cluster(), old.cluster()));
        assert_eq!(one.founders, [&*first, &*second]);
        assert_eq!((&one.silent[..], one.records()), (&[third.clone()][..], 10));
        assert_eq!(one.status.health(), Health::Whole);
        assert_eq!(other.founders, [&*first, &*second, &*third]);
        assert_eq!(other.silent, [""; 0]);
        // Without a majority the last ones of each shard are not known to be committed.
        assert!(other.records() >= 10 && other.records() + other.uncommitted >= 30, "{other:?}");
        let up: Vec<_> = other.status.servers.iter().filter(|server| server.is_up()).collect();
        assert!(up.len() == 1 && up[0].address == third, "{up:?}");
        assert_eq!(other.status.health(), Health::NoMajority);
    };
    let error = servers.connect(DEADLINE, 1).await.unwrap_err();
    let text = format!(
        "server0 belongs to cluster {}, server2 to cluster {}",
        new.cluster(),
        old.cluster()
    );
    assert_eq!(error.to_string(), text);
    let ConnectError::DifferentClusters { clusters, .. } = error else { panic!("{error}") };
    check(&clusters);
    let error = new.join(&third).await.unwrap_err();
    let MemberError::OtherCluster { clusters, .. } = error else { panic!("{error}") };
    check(&clusters);
    let strangers = new.status().await.strangers;
    assert_eq!((strangers.len(), &strangers[0].address), (1, &third));
    assert_eq!(strangers[0].cluster, old.cluster());
}

#[tokio::test]
async fn a_broker_of_one_cluster_is_not_answered_by_another_one_at_its_addresses() {
    let Beside { servers, old, new, .. } = Beside::start().await;
    for n in 0..30 {
        let key = format!("key{n}");
        let error = old.get(&key).await.expect_err("no majority has it");
        assert!(error.is_degraded(), "{error}");
        old.put(&key, value!({ "n": "old" })).await.expect_err("no majority takes it");
        assert_eq!(new.get(&key).await.unwrap(), None);
        // What the one has that is left can be read.
        let stale = old.get_stale(&key).await.unwrap();
        assert_eq!((stale.replicas, stale.voters), (1, 3));
    }
    // So does a broker that is given that one alone.
    let alone = Broker::builder(servers.network.clone()).servers([name(2)]);
    let alone = alone.deadline(Duration::from_secs(1)).connect().await.unwrap();
    assert_eq!((alone.cluster(), alone.has_founded()), (old.cluster(), false));
    let stale = alone.get_stale("key1").await.unwrap();
    assert_eq!(stale.replicas, 1);
}

#[tokio::test]
async fn the_older_cluster_goes_on_once_its_directories_are_back() {
    let Beside { mut servers, before, old, .. } = Beside::start().await;
    for (number, machine) in before.into_iter().enumerate() {
        servers.cut(number, u64::MAX);
        servers.machines[number] = machine;
        servers.restart(number).await;
    }
    let broker = servers.broker(1).await;
    assert_eq!((broker.cluster(), broker.has_founded()), (old.cluster(), false));
    assert_all(&broker, 0..30).await;
    put_many(&broker, 30..40).await;
    assert_eq!(broker.get("key100").await.unwrap(), None);
    assert_all(&old, 0..40).await;
}

#[tokio::test]
async fn the_newer_cluster_takes_the_server_of_the_older_one_from_an_empty_directory() {
    let Beside { mut servers, new, .. } = Beside::start().await;
    servers.cut(2, u64::MAX);
    servers.machines[2] = Machine::new();
    servers.restart(2).await;
    let broker = servers.broker(1).await;
    assert_eq!((broker.cluster(), broker.newcomers()), (new.cluster(), &[name(2)][..]));
    while broker.moves().await > 0 || broker.servers() < 3 {
        tokio::task::yield_now().await;
    }
    assert!(broker.status().await.strangers.is_empty());
    // Two of three are enough now, whichever is down.
    servers.running[0] = None;
    assert_all(&broker, 100..110).await;
    put_many(&broker, 110..120).await;
}

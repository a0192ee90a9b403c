//! Servers that join and leave, and that come back empty.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use triekv::replication::{
    Broker, Departure, GroupStatus, Health, MemberError, RecoverError, ReplicaStatus, Server,
    ServerError,
};
use triekv::value;

use super::network::{Link, Network};
use super::{TIMING, connect, name, set_from, start};

const KEYS: usize = 30;

/// Entries after which a snapshot is made: newcomers get one.
const SNAPSHOT_ENTRIES: u64 = 4;

async fn put_all(broker: &Broker<Network>, n: i64) {
    for key in 0..KEYS {
        broker.put(&format!("key{key}"), value!({ "n": n })).await.unwrap();
    }
}

async fn assert_all(broker: &Broker<Network>, n: i64) {
    for key in 0..KEYS {
        let found = broker.query(&format!("key{key}.n")).await;
        let found = found.unwrap_or_else(|error| panic!("key{key}: {error}"));
        assert_eq!(found, Some(n.into()), "key{key}");
    }
}

async fn start_one(network: &Network, number: usize) -> Server<Network> {
    loop {
        let server = Server::builder(network.named(&name(number)), name(number)).timing(TIMING);
        match server.snapshot_entries(SNAPSHOT_ENTRIES).start().await {
            Ok(server) => return server,
            // Who was there before is about to go.
            Err(ServerError::Listen(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Waits until the cluster has this many servers and every group is where it should be.
async fn settled(broker: &Broker<Network>, servers: usize) {
    let start = Instant::now();
    while broker.moves().await > 0 || broker.servers() != servers {
        let waited = start.elapsed();
        let (moves, count) = (broker.moves().await, broker.servers());
        assert!(waited < Duration::from_mins(2), "{moves} moves are left, of {count} servers");
        sleep(Duration::from_millis(50)).await;
    }
}

/// How many of the keys the server has.
async fn held(network: &Network, server: usize) -> usize {
    let observer = connect(network, "observer", 3, 2).await;
    set_from(network, "observer", 8, Link::Refused);
    network.set("observer", &name(server), Link::Delayed(Duration::from_millis(1)));
    let mut held = 0;
    for key in 0..KEYS {
        let found = observer.get_stale(&format!("key{key}")).await;
        held += usize::from(found.is_ok_and(|found| found.answer.is_some()));
    }
    set_from(network, "observer", 8, Link::Delayed(Duration::from_millis(1)));
    held
}

#[tokio::test(start_paused = true)]
async fn a_server_that_joins_gets_its_share_and_one_that_leaves_gives_it_back() {
    let network = Network::new(1);
    let mut servers = start(&network, 3, SNAPSHOT_ENTRIES).await;
    let broker = connect(&network, "broker", 3, 2).await;
    put_all(&broker, 1).await;
    servers.push(Some(start_one(&network, 3).await));
    broker.join(&name(3)).await.unwrap();
    settled(&broker, 4).await;
    assert_all(&broker, 1).await;
    put_all(&broker, 2).await;
    let share = held(&network, 3).await;
    assert!((5..=KEYS).contains(&share), "it holds {share} of {KEYS} records");
    let total = held(&network, 0).await + held(&network, 1).await + held(&network, 2).await;
    assert_eq!(total + share, 3 * KEYS, "each record has three copies");

    let departure = broker.leave(&name(3)).await.unwrap();
    assert!(departure.is_whole() && departure.servers == 3, "{departure:?}");
    settled(&broker, 3).await;
    assert_eq!(held(&network, 3).await, 0);
    drop(servers.pop());
    // Every other server is needed now, and has everything.
    for server in 0..3 {
        assert_eq!(held(&network, server).await, KEYS);
    }
    drop(servers.pop());
    assert_all(&broker, 2).await;
    put_all(&broker, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_empty_is_filled_again_without_being_asked_to() {
    for lost in 0..3 {
        let network = Network::new(lost as u64);
        let mut servers = start(&network, 3, SNAPSHOT_ENTRIES).await;
        let broker = connect(&network, "broker", 3, 2).await;
        put_all(&broker, 1).await;
        servers[lost] = None;
        let old = broker.cluster();
        servers[lost] = Some(start_one(&network, lost).await);
        let start = Instant::now();
        while held(&network, lost).await < KEYS {
            assert!(start.elapsed() < Duration::from_mins(2), "server {lost} is not filled");
            sleep(Duration::from_millis(500)).await;
        }
        settled(&broker, 3).await;
        assert_eq!(broker.cluster(), old);
        // It counts: the others survive the loss of one of them.
        servers[(lost + 1) % 3] = None;
        assert_all(&broker, 1).await;
        put_all(&broker, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_emptied_server_of_an_idle_cluster_is_filled_within_a_second() {
    for lost in 0..3 {
        let network = Network::new(lost as u64);
        let mut servers = start(&network, 3, SNAPSHOT_ENTRIES).await;
        let broker = connect(&network, "broker", 3, 2).await;
        put_all(&broker, 1).await;
        servers[lost] = None;
        // The others have given up on it by then.
        sleep(Duration::from_secs(3)).await;
        servers[lost] = Some(start_one(&network, lost).await);
        let start = Instant::now();
        settled(&broker, 3).await;
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "server {lost} was filled after {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_file_with_a_new_server_makes_it_join() {
    let network = Network::new(1);
    let mut servers = start(&network, 3, SNAPSHOT_ENTRIES).await;
    let broker = connect(&network, "broker", 3, 2).await;
    put_all(&broker, 1).await;
    servers.push(Some(start_one(&network, 3).await));
    servers.push(Some(start_one(&network, 4).await));
    let late = connect(&network, "late", 5, 2).await;
    assert_eq!(late.newcomers(), [name(3), name(4)]);
    settled(&late, 5).await;
    assert!(held(&network, 3).await > 0 && held(&network, 4).await > 0);
    // Who knew three servers only finds its way.
    assert_all(&broker, 1).await;
    for server in [0, 1] {
        broker.leave(&name(server)).await.unwrap();
    }
    settled(&broker, 3).await;
    servers[0] = None;
    servers[1] = None;
    assert_all(&broker, 1).await;
    assert_all(&late, 1).await;
}

#[tokio::test(start_paused = true)]
async fn servers_stay_as_long_as_there_have_to_be_copies() {
    let network = Network::new(1);
    let _servers = start(&network, 3, SNAPSHOT_ENTRIES).await;
    let broker = connect(&network, "broker", 3, 3).await;
    let refused = broker.leave(&name(2)).await;
    assert!(matches!(refused, Err(MemberError::TooFewServers { left: 2, copies: 3 })));
    let unknown = broker.leave("elsewhere").await;
    assert!(matches!(unknown, Err(MemberError::NoSuchServer { .. })), "{unknown:?}");
    let nobody = broker.join("elsewhere").await;
    assert!(matches!(nobody, Err(MemberError::Identify { .. })), "{nobody:?}");
    broker.join(&name(2)).await.unwrap();
    assert_eq!((broker.servers(), broker.moves().await), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_departure_that_leaves_fewer_copies_than_were_asked_for_says_what_it_costs() {
    let network = Network::new(1);
    let mut servers = start(&network, 4, SNAPSHOT_ENTRIES).await;
    let broker = connect(&network, "broker", 4, 2).await;
    put_all(&broker, 1).await;
    let told = |departure: Departure| {
        (departure.servers, departure.voters, departure.voters_wanted, departure.is_whole())
    };
    assert_eq!(told(broker.leave(&name(3)).await.unwrap()), (3, 3, 3, true));
    let departure = broker.leave(&name(2)).await.unwrap();
    assert_eq!(told(departure), (2, 2, 3, false));
    assert_eq!(departure.losses_that_stop_writes(), 1);
    // So it is.
    settled(&broker, 2).await;
    servers[3] = None;
    servers[2] = None;
    assert_all(&broker, 1).await;
    servers[1] = None;
    assert!(broker.put("key0", value!({})).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_left_comes_back_as_a_new_one_only() {
    let network = Network::new(1);
    let mut servers = start(&network, 4, SNAPSHOT_ENTRIES).await;
    let broker = connect(&network, "broker", 4, 2).await;
    put_all(&broker, 1).await;
    broker.leave(&name(0)).await.unwrap();
    settled(&broker, 3).await;
    let refused = broker.join(&name(0)).await;
    assert!(matches!(refused, Err(MemberError::Left { .. })), "{refused:?}");
    let late = connect(&network, "late", 4, 2).await;
    assert_eq!((late.left(), late.newcomers()), (&[name(0)][..], &[][..]));
    servers[0] = None;
    servers[0] = Some(start_one(&network, 0).await);
    broker.join(&name(0)).await.unwrap();
    settled(&broker, 4).await;
    assert_all(&broker, 1).await;
    assert!(held(&network, 0).await > 0);
}

#[tokio::test(start_paused = true)]
async fn moves_go_on_when_those_who_carry_them_out_fail() {
    let seeds = std::env::var("FAULT_SEEDS").map_or(1, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        let network = Network::new(seed);
        let mut servers = start(&network, 3, SNAPSHOT_ENTRIES).await;
        let broker = connect(&network, "broker", 3, 2).await;
        put_all(&broker, 1).await;
        servers.push(Some(start_one(&network, 3).await));
        broker.join(&name(3)).await.unwrap();
        // One after the other, so that each group keeps its majority, is cut off and comes back:
        // whoever leads group 0 is among them.
        let mut pause = 1;
        while broker.moves().await > 0 {
            let cut = name(usize::try_from(network.draw(4)).unwrap());
            network.isolate(&cut);
            sleep(Duration::from_millis(network.draw(1500))).await;
            network.heal(&cut);
            sleep(Duration::from_millis(pause)).await;
            pause *= 2;
            assert!(pause < 1 << 20, "seed {seed}: {} moves", broker.moves().await);
        }
        broker.leave(&name(1)).await.unwrap();
        settled(&broker, 3).await;
        drop(servers.remove(1));
        assert_all(&broker, 1).await;
        put_all(&broker, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_lost_its_majority_goes_on_with_what_is_left() {
    let network = Network::new(1);
    let mut servers = start(&network, 5, SNAPSHOT_ENTRIES).await;
    let broker = connect(&network, "broker", 5, 2).await;
    put_all(&broker, 1).await;
    // Two servers are lost for good that hold the first shard, which has three copies, and some of the
    // others; group 0 has three of five.
    let status = broker.status().await;
    let address = |server| status.server(server).unwrap().address.clone();
    let holders = status.shards[0].replicas.iter();
    let lost: Vec<String> = holders.take(2).map(|replica| address(replica.server)).collect();
    servers.retain(|server| !lost.contains(&server.as_ref().unwrap().address().to_owned()));
    let is_lost = |shard: &GroupStatus| {
        let among = |replica: &&ReplicaStatus| lost.contains(&address(replica.server));
        shard.replicas.iter().filter(among).count() == 2
    };
    let nowhere = broker.unsafe_recover(1000).await;
    assert!(matches!(nowhere, Err(RecoverError::NoSuchShard { shard: 1000, .. })), "{nowhere:?}");
    for (number, shard) in (0..).zip(&status.shards) {
        let start = Instant::now();
        loop {
            match broker.unsafe_recover(number).await {
                Ok(recovery) => {
                    assert!(is_lost(shard), "{recovery:?}");
                    assert_eq!(recovery.lost.len(), 2, "{recovery:?}");
                    break;
                }
                Err(RecoverError::NotLost { .. }) if !is_lost(shard) => break,
                // Its leader may not know yet.
                Err(RecoverError::NotLost { .. }) if start.elapsed() < Duration::from_secs(10) => {
                    sleep(Duration::from_millis(200)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    // The survivors had all of it.
    let start = Instant::now();
    while broker.status().await.shards.iter().any(|shard| shard.health == Health::NoMajority) {
        assert!(start.elapsed() < Duration::from_mins(1));
        sleep(Duration::from_millis(200)).await;
    }
    assert_all(&broker, 1).await;
    put_all(&broker, 2).await;
    for server in &lost {
        broker.leave(server).await.unwrap();
    }
    settled(&broker, 3).await;
    assert!(broker.status().await.health() == Health::Whole);
    // Each record has three copies again.
    servers.truncate(2);
    assert_all(&broker, 2).await;
    put_all(&broker, 3).await;
}

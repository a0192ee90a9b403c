//! What a broker tells of servers, shards and keys, while servers and links fail.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;

use tokio::time::timeout;
use triekv::replication::{
    ClusterStatus, Explanation, GroupStatus, Health, Holds, ReplicaState, Role, ServerState,
    ServerStatus, StatusError,
};
use triekv::transport::{BoxFuture, Frame, Transport, TransportError};

use super::*;

/// How long the cluster may take to become as it should be, by the paused clock.
const SETTLE_TIME: Duration = Duration::from_secs(30);

/// The longest that a status takes: a second for the map, and one for the servers.
const STATUS_TIME: Duration = Duration::from_millis(2100);

/// The shards of three servers, and group 0.
const GROUPS: usize = 9;

fn groups(status: &ClusterStatus) -> impl Iterator<Item = &GroupStatus> {
    [&status.meta].into_iter().chain(&status.shards)
}

/// The status once it is like this.
async fn until(broker: &Broker<Network>, is: impl Fn(&ClusterStatus) -> bool) -> ClusterStatus {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let status = broker.status().await;
        assert!(asked.elapsed() <= STATUS_TIME, "it took {:?}", asked.elapsed());
        if is(&status) {
            return status;
        }
        assert!(began.elapsed() < SETTLE_TIME, "{status:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn server(status: &ClusterStatus, number: usize) -> &ServerStatus {
    let server = status.servers.iter().find(|server| server.address == name(number));
    server.expect("every server of the map is told")
}

/// Why a server is down.
fn error(status: &ClusterStatus, number: usize) -> &StatusError {
    match &server(status, number).state {
        ServerState::Down { error } => error,
        state => panic!("server {number} is {state:?}"),
    }
}

/// How many groups each of the servers leads that are up.
fn led(status: &ClusterStatus) -> Vec<usize> {
    let led = status.servers.iter().filter_map(|server| match &server.state {
        ServerState::Up { leads, .. } => Some(*leads),
        _ => None,
    });
    led.collect()
}

/// What the servers hold, in the order of their addresses.
fn holds(explanation: &Explanation) -> Vec<Holds> {
    let mut servers: Vec<_> = explanation.servers.iter().zip(&explanation.copies).collect();
    servers.sort_by(|(a, _), (b, _)| a.address.cmp(&b.address));
    assert!(servers.iter().all(|(server, copy)| server.id == copy.server));
    servers.iter().map(|(_, copy)| copy.holds).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_faults_is_whole_and_every_copy_is_there() {
    let network = Network::new(1);
    let servers = start(&network, 3, 5_000).await;
    let broker = connect(&network, "broker", 3, 2).await;
    for n in 0..50 {
        broker.put(&format!("key{n}"), value!({ "n": n })).await.unwrap();
    }
    let all_have_it = |status: &ClusterStatus| {
        status.health() == Health::Whole
            && groups(status).flat_map(|group| &group.replicas).all(|copy| copy.lag == Some(0))
    };
    let status = until(&broker, all_have_it).await;
    assert_eq!((status.cluster, status.copies, status.voters), (broker.cluster(), 2, 3));
    // One for the founding, and one for each shard that is ready.
    assert_eq!((status.epoch, groups(&status).count()), (GROUPS as u64, GROUPS));
    assert_eq!(led(&status).iter().sum::<usize>(), GROUPS);
    for (number, running) in servers.iter().flatten().enumerate() {
        assert_eq!(server(&status, number).id, running.id());
        let ServerState::Up { version, replicas, .. } = &server(&status, number).state else {
            panic!("{status:#?}")
        };
        assert_eq!((version.as_str(), *replicas), (env!("CARGO_PKG_VERSION"), GROUPS));
    }
    for group in groups(&status) {
        assert_eq!(group.voters_up(), (3, 3), "{}", group.group);
        let leaders = group.replicas.iter().filter(|copy| copy.role == Some(Role::Leader));
        let leaders: Vec<_> = leaders.map(|copy| Some(copy.server)).collect();
        assert_eq!(leaders, [group.leader], "{}", group.group);
    }
    assert_eq!(status.meta.documents, None);
    let documents = status.shards.iter().map(|shard| shard.documents.unwrap());
    assert_eq!(documents.sum::<u64>(), 50);

    sleep(Duration::from_secs(3)).await;
    let status = until(&broker, all_have_it).await;
    for server in &status.servers {
        let ServerState::Up { uptime, .. } = server.state else { panic!("{status:#?}") };
        assert!((3..8).contains(&uptime.as_secs()), "{uptime:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_explained_by_its_shard_and_what_each_copy_has() {
    let network = Network::new(1);
    let _servers = start(&network, 3, 5_000).await;
    let broker = connect(&network, "broker", 3, 3).await;
    let mut shards = BTreeSet::new();
    for n in 0..50 {
        let key = format!("key{n}");
        assert_eq!(holds(&broker.explain(&key).await), [Holds::Absent; 3]);
        let version = broker.put(&key, value!({})).await.unwrap().version;
        let began = Instant::now();
        let explanation = loop {
            let explanation = broker.explain(&key).await;
            if holds(&explanation) == [Holds::Present { version }; 3] {
                break explanation;
            }
            assert!(began.elapsed() < SETTLE_TIME, "{explanation:#?}");
        };
        assert_eq!((&explanation.key, explanation.group.health), (&key, Health::Whole));
        assert_eq!(explanation.group.group.shard(), Some(explanation.shard));
        assert!(explanation.servers.iter().all(ServerStatus::is_up));
        shards.insert(explanation.shard);
    }
    assert_eq!(shards.len(), GROUPS - 1, "50 keys lie in every shard");
    // No key at all, and one that nobody can have.
    for key in ["", &"k".repeat(20 << 20)] {
        assert_eq!(broker.explain(key).await.copies.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_told_with_the_reason_and_so_is_another_at_its_address() {
    let network = Network::new(1);
    let mut servers = start(&network, 3, 5_000).await;
    let broker = connect(&network, "broker", 3, 3).await;
    let version = broker.put("key", value!({})).await.unwrap().version;
    drop(servers[1].take());
    let status = until(&broker, |status| {
        groups(status).all(|group| group.health == Health::Degraded && group.leader.is_some())
    });
    let status = status.await;
    let refused =
        |error: &_| matches!(error, StatusError::Transport(TransportError::Refused { .. }));
    assert!(refused(error(&status, 1)), "{:?}", error(&status, 1));
    let down = server(&status, 1).id;
    for group in groups(&status) {
        let replica = group.replicas.iter().find(|replica| replica.server == down).unwrap();
        assert_eq!((replica.state, replica.role), (ReplicaState::Down, None));
        assert_eq!(group.voters_up(), (2, 3));
    }
    assert_eq!(led(&status).iter().sum::<usize>(), GROUPS);
    let copies = holds(&broker.explain("key").await);
    assert_eq!([copies[0], copies[2]], [Holds::Present { version }; 2]);
    assert_eq!(copies[1], Holds::Unknown);

    let anew = Server::builder(network.named(&name(1)), name(1)).timing(TIMING);
    let anew = anew.start().await.unwrap();
    let status = until(&broker, |status| !refused(error(status, 1))).await;
    let found = match error(&status, 1) {
        StatusError::OtherServer { found } => *found,
        error => panic!("{error:?}"),
    };
    assert_eq!((found, status.health()), (anew.id(), Health::Degraded));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_lags_is_told_with_the_entries_that_it_lacks() {
    const PUTS: u64 = 20;
    let network = Network::new(1);
    let _servers = start(&network, 3, 5_000).await;
    let broker = connect(&network, "broker", 3, 3).await;
    let leading = leader(&network, &broker, "key").await;
    let lagging = (leading + 1) % 3;
    for other in (0..3).filter(|other| *other != lagging) {
        network.set(&name(other), &name(lagging), Link::Refused);
        network.set(&name(lagging), &name(other), Link::Refused);
    }
    for n in 0..PUTS {
        broker.put("key", value!({ "n": n })).await.unwrap();
    }
    let version = broker.put("key", value!({})).await.unwrap().version;
    // The broker reaches everybody: only the leader can tell.
    let began = Instant::now();
    let explanation = loop {
        let explanation = broker.explain("key").await;
        assert!(began.elapsed() < SETTLE_TIME, "{explanation:#?}");
        if explanation.group.health == Health::Degraded {
            break explanation;
        }
    };
    let copies = holds(&explanation);
    for (number, copy) in copies.iter().enumerate() {
        assert_eq!(*copy == Holds::Present { version }, number != lagging, "{copies:?}");
    }
    let behind = explanation.servers.iter().position(|server| server.address == name(lagging));
    let behind = &explanation.group.replicas[behind.unwrap()];
    assert_eq!(behind.state, ReplicaState::CutOff);
    assert_eq!(behind.lag, Some(PUTS + 1));

    network.clear();
    until(&broker, |status| {
        let copies = |group: &GroupStatus| group.replicas.iter().all(|copy| copy.lag == Some(0));
        status.health() == Health::Whole && groups(status).all(copies)
    })
    .await;
    assert_eq!(holds(&broker.explain("key").await), [Holds::Present { version }; 3]);
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_and_without_any_server_there_is_a_status() {
    let network = Network::new(1);
    let mut servers = start(&network, 3, 5_000).await;
    let broker = connect(&network, "broker", 3, 3).await;
    let version = broker.put("key", value!({})).await.unwrap().version;
    until(&broker, |status| status.health() == Health::Whole).await;
    servers.truncate(1);
    let lost = |status: &ClusterStatus| {
        groups(status).all(|group| group.health == Health::NoMajority && group.leader.is_none())
    };
    let status = until(&broker, lost).await;
    assert!(server(&status, 0).is_up());
    assert_eq!(led(&status), [0]);
    let copies = holds(&broker.explain("key").await);
    assert_eq!(copies[1..], [Holds::Unknown; 2]);
    // What a majority acknowledged need not have been applied here.
    assert!(matches!(copies[0], Holds::Absent) || copies[0] == Holds::Present { version });

    servers.clear();
    let status = until(&broker, |status| lost(status) && led(status).is_empty()).await;
    assert!(status.meta.term.is_none());
    assert_eq!(holds(&broker.explain("key").await), [Holds::Unknown; 3]);
}

#[tokio::test(start_paused = true)]
async fn servers_that_cannot_reach_each_other_are_up_and_have_no_leader() {
    let network = Network::new(1);
    let _servers = start(&network, 3, 5_000).await;
    let broker = connect(&network, "broker", 3, 3).await;
    network.set_all(&names(3), Link::RequestsLost);
    let status = until(&broker, |status| {
        groups(status).all(|group| group.health == Health::NoLeader && group.leader.is_none())
    });
    assert!(status.await.servers.iter().all(ServerStatus::is_up));
    network.clear();
    until(&broker, |status| status.health() == Health::Whole).await;
}

/// Bytes that a server answers, or its silence, and whether that is told as what it is.
type Garbage = (Option<Frame>, fn(&StatusError) -> bool);

/// Answers every request with the same bytes, or not at all.
fn parrot(answer: Option<Frame>) -> impl Fn(&str, Frame) -> BoxFuture<'static, Frame> {
    move |_: &str, _: Frame| -> BoxFuture<'static, Frame> {
        let answer = answer.clone();
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => pending().await,
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_garbage_is_down_and_spoils_nothing() {
    let network = Network::new(1);
    let mut servers = start(&network, 3, 5_000).await;
    let broker = connect(&network, "broker", 3, 3).await;
    drop(servers[2].take());
    let settled = |status: &ClusterStatus| groups(status).all(|group| group.leader.is_some());
    until(&broker, settled).await;

    // The version and the number of the answer: done, refused as malformed, a status.
    let endless = [&[3, 10][..], &[0; 5], &[255, 255, 255, 255, 15]].concat();
    let garbage: [Garbage; 7] = [
        (Some(vec![]), |error| matches!(error, StatusError::Decode(_))),
        (Some(b"HTTP/1.1 400 Bad Request".to_vec()), |error| {
            matches!(error, StatusError::Decode(_))
        }),
        (Some(vec![3, 0]), |error| matches!(error, StatusError::Nonsense)),
        (Some(vec![3, 8, 0]), |error| matches!(error, StatusError::Refused(_))),
        (Some(vec![3, 10]), |error| matches!(error, StatusError::Decode(_))),
        (Some(endless), |error| matches!(error, StatusError::Decode(_))),
        (None, |error| {
            matches!(error, StatusError::Transport(TransportError::DeadlineExceeded { .. }))
        }),
    ];
    for (answer, expected) in garbage {
        let handler = Arc::new(parrot(answer.clone()));
        let address = name(2);
        let listener = network.listen(&address, handler);
        let listener = timeout(SETTLE_TIME, listener).await.unwrap().unwrap();
        let status = until(&broker, settled).await;
        let error = error(&status, 2);
        assert!(expected(error), "{error:?} to {answer:?}");
        assert_eq!(status.health(), Health::Degraded);
        assert!(server(&status, 0).is_up() && server(&status, 1).is_up());
        let copies = holds(&broker.explain("key").await);
        assert_eq!(copies, [Holds::Absent, Holds::Absent, Holds::Unknown]);
        listener.close().await;
    }
}

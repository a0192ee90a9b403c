//! Frames that no broker and no server of ours sends: each is refused, and the server lives on.

use std::time::Duration;

use tokio::time::Instant;

use super::Server;
use crate::parser::{Command, Condition};
use crate::replication::message::{self, Bytes, Freshness, Read, Refusal, Request, Response};
use crate::replication::meta::ClusterMap;
use crate::replication::raft::hostile;
use crate::replication::shard::Batch;
use crate::replication::{Broker, ClientId, ClusterId, GroupId, ServerId, ShardId};
use crate::transport::{ChannelTransport, Transport, TransportError};
use crate::value;

/// A cluster whose servers get frames that are written by hand.
struct Victims {
    network: ChannelTransport,
    servers: Vec<Server<ChannelTransport>>,
    broker: Broker<ChannelTransport>,
}

impl Victims {
    async fn start(count: usize) -> Self {
        let network = ChannelTransport::new();
        let mut servers = Vec::new();
        for number in 0..count {
            let name = format!("server{number}");
            servers.push(Server::builder(network.named(&name), name).start().await.unwrap());
        }
        let broker = Broker::builder(network.clone()).servers(servers.iter().map(Server::address));
        let broker = broker.copies(count).connect().await.unwrap();
        // The last server sends what is written by hand to the first, which has to know it.
        let sender: &Server<_> = &servers[count - 1];
        let (to, cluster) = (servers[0].id(), broker.cluster());
        let deadline = Instant::now() + Duration::from_secs(10);
        sender.shared.peers.meet(to, cluster, deadline).await.unwrap();
        Self { network, servers, broker }
    }

    async fn send_to(&self, server: usize, frame: Vec<u8>) -> Result<Response, TransportError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let answer = self.network.call(self.servers[server].address(), frame, deadline).await?;
        Ok(message::decode(&answer).expect("an answer decodes"))
    }

    /// The answer of server 0.
    async fn ask(&self, request: &Request) -> Response {
        self.send_to(0, message::encode(request)).await.unwrap()
    }

    fn map(&self) -> ClusterMap {
        self.servers[0].shared.map().clone().expect("the cluster is founded")
    }

    fn raft(&self, group: GroupId, message: Vec<u8>) -> Request {
        let sender = &self.servers[self.servers.len() - 1].shared;
        let (from, run) = (sender.id(), sender.peers.run());
        let (to, cluster) = (self.servers[0].id(), self.map().cluster);
        Request::Raft { from, run, to, to_run: None, cluster, group, message: Bytes(message) }
    }

    /// Every shard still takes writes and answers reads.
    async fn assert_alive(&self) {
        for n in 0..32 {
            let key = format!("alive{n}");
            self.broker.put(&key, value!({ "n": n })).await.unwrap();
            assert!(self.broker.get(&key).await.unwrap().is_some());
        }
        assert!(matches!(self.ask(&Request::Identify).await, Response::Identity(_)));
    }
}

fn batch(commands: Vec<Command>) -> Bytes {
    let (client, sequence, acknowledged) = (ClientId(1), 1, 0);
    Bytes(message::encode(&Batch { client, sequence, acknowledged, commands }))
}

const MALFORMED: Response = Response::Refused(Refusal::Malformed);

#[tokio::test(start_paused = true)]
async fn an_older_map_is_not_taken_over() {
    let victims = Victims::start(3).await;
    // The last of the founding is told to the servers, too.
    while victims.map().shards.iter().any(|shard| !shard.ready) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let map = victims.map();
    // By this one, server 0 would hold nothing.
    let mut older = ClusterMap { epoch: map.epoch - 1, ..map.clone() };
    older.leaving.insert(victims.servers[0].id());
    let confirmed = older.groups().collect();
    let outdated = || Response::Refused(Refusal::OutdatedMap);
    for (request, answer) in [
        (Request::Claim(older.clone()), Response::Done),
        (Request::Host { map: older.clone(), group: GroupId(1), initialize: false }, outdated()),
        (Request::Arrange { map: older.clone(), group: GroupId(1) }, outdated()),
        (Request::Settle { map: older, confirmed }, outdated()),
    ] {
        assert_eq!(victims.ask(&request).await, answer);
        assert_eq!(victims.map(), map);
    }
    assert_eq!(victims.servers[0].shared.groups().1.len(), map.shards.len());
    victims.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_reads_is_malformed() {
    let victims = Victims::start(1).await;
    let commands = vec![Command::Get { key: "a".into() }];
    let write = Request::Write {
        cluster: victims.map().cluster,
        shard: ShardId(0),
        batch: batch(commands),
    };
    assert_eq!(victims.ask(&write).await, MALFORMED);
    victims.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_too_large_to_replicate_is_refused_and_its_shard_goes_on() {
    let victims = Victims::start(3).await;
    let value = value!({ "filling": "x".repeat(11 << 20) });
    let put = Command::Put { key: "big".into(), value, condition: Condition::Always };
    let (cluster, batch) = (victims.map().cluster, batch(vec![put]));
    let frame = message::encode(&Request::Write { cluster, shard: ShardId(0), batch });
    for server in 0..3 {
        let answer = victims.send_to(server, frame.clone()).await.unwrap();
        assert!(matches!(answer, Response::Refused(_)), "server {server}");
    }
    victims.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_decode_is_not_installed() {
    let victims = Victims::start(3).await;
    let sender = victims.servers[1].id().0;
    for group in [GroupId::META, GroupId(1)] {
        for message in hostile::bad_snapshot(sender) {
            victims.ask(&victims.raft(group, message)).await;
        }
    }
    victims.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn replicas_refuse_messages_that_contradict_themselves() {
    let victims = Victims::start(3).await;
    let sender = victims.servers[1].id().0;
    for group in [GroupId::META, GroupId(1)] {
        for (wrong, message) in hostile::contradictions(sender) {
            assert_eq!(victims.ask(&victims.raft(group, message)).await, MALFORMED, "{wrong}");
        }
    }
    victims.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn a_million_reads_of_a_byte_each_are_malformed() {
    const READS: u32 = 1_000_000;
    let victims = Victims::start(1).await;
    let (cluster, shard, freshness) = (victims.map().cluster, ShardId(0), Freshness::Stale);
    let reads = |reads| Request::Read { cluster, shard, freshness, reads };
    let mut frame = message::encode(&reads(vec![]));
    assert_eq!(frame.pop(), Some(0), "the length of the list comes last");
    let one = message::encode(&reads(vec![Read::Count])).pop().unwrap();
    frame.extend(postcard::to_stdvec(&READS).unwrap());
    frame.extend(std::iter::repeat_n(one, READS as usize));
    assert_eq!(victims.send_to(0, frame).await.unwrap(), MALFORMED);
    victims.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn plans_that_cannot_be_are_refused() {
    let network = ChannelTransport::new();
    let server = Server::builder(network.clone(), "server0").start().await.unwrap();
    let servers = [(server.id(), "server0".to_owned())].into();
    let plan = ClusterMap::plan(ClusterId(5), 1, false, servers);
    let mut crowded = plan.clone();
    crowded.shards = (0..4000).map(|_| plan.shards[0].clone()).collect();
    let plans = [
        ClusterMap { servers: [].into(), ..plan.clone() },
        ClusterMap { meta_voters: vec![ServerId(server.id().0 ^ 1)], ..plan.clone() },
        ClusterMap { shards: vec![], ..plan.clone() },
        crowded,
    ];
    for plan in plans {
        for request in [
            Request::Found(plan.clone()),
            Request::Claim(plan.clone()),
            Request::Host { map: plan, group: GroupId::META, initialize: true },
        ] {
            let deadline = Instant::now() + Duration::from_secs(10);
            let frame = message::encode(&request);
            let answer = network.call("server0", frame, deadline).await.unwrap();
            let answer: Response = message::decode(&answer).unwrap();
            assert!(matches!(answer, Response::Refused(_)), "{request:?}: {answer:?}");
        }
    }
    let broker = Broker::builder(network).servers(["server0"]).connect().await.unwrap();
    broker.put("a", value!({})).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_cut_or_damaged_frame_makes_a_server_panic() {
    const FLIPS: usize = 40;
    let victims = Victims::start(1).await;
    let delete = Command::Delete { key: "a".into() };
    let cluster = victims.map().cluster;
    let requests = [
        Request::Identify,
        Request::Found(victims.map()),
        Request::Write { cluster, shard: ShardId(0), batch: batch(vec![delete]) },
        Request::Read {
            cluster,
            shard: ShardId(0),
            freshness: Freshness::Stale,
            reads: vec![Read::Get("a".into()), Read::Count],
        },
        victims.raft(GroupId(1), hostile::bad_snapshot(7)[0].clone()),
        Request::Status,
    ];
    let mut random = 1_u64;
    for request in requests {
        let frame = message::encode(&request);
        let cuts = (0..frame.len()).map(|end| frame[..end].to_vec());
        let flips = (0..FLIPS).map(|_| {
            // Knuth's linear congruential generator.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bit = usize::try_from(random >> 33).unwrap() % (frame.len() * 8);
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        });
        for damaged in cuts.chain(flips).collect::<Vec<_>>() {
            // A handler that panics loses its connection.
            let answer = victims.send_to(0, damaged.clone()).await;
            answer.unwrap_or_else(|error| panic!("{damaged:?}: {error}"));
        }
    }
    let answer = victims.ask(&Request::Identify).await;
    assert!(matches!(answer, Response::Identity(_)));
}

//! A snapshot on its way to another replica, with messages that are lost.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;

use openraft::network::RPCOption;
use openraft::{RaftNetworkFactory, RaftNetworkV2};
use tokio::time::Instant;

use super::group::{peers_over, start_on};
use super::snapshot::machine_with_snapshot;
use super::*;
use crate::replication::message::{Bytes, Reception, Request, Response};
use crate::replication::meta::ClusterMap;
use crate::replication::raft::Group;
use crate::replication::raft::network::{ANSWER_TIME, Network};
use crate::replication::raft::wire::RaftRequest;
use crate::replication::{ClusterId, ServerId};
use crate::transport::{BoxFuture, ChannelTransport, Frame, Handler, Transport};

/// The server that sends, and leads by [`vote`]; and the one that the snapshot is for.
const LEADER: ServerId = ServerId(1);
const FOLLOWER: ServerId = ServerId(2);

/// What happens to a message that asks for a snapshot to be installed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    RequestLost,
    AnswerLost,
    /// It is carried out twice, both at once.
    Doubled,
}

/// A replica, and faults that still have to meet it, the last one first.
#[derive(Clone)]
struct Follower {
    group: Group<Shard>,
    faults: Arc<Mutex<Vec<Fault>>>,
    /// The parts that have arrived.
    parts: Arc<Mutex<usize>>,
}

impl Follower {
    async fn take(self, message: Vec<u8>) -> Frame {
        let fault = match message::decode(&message).unwrap() {
            RaftRequest::InstallSnapshot { .. } => self.faults.lock().unwrap().pop(),
            RaftRequest::SnapshotPart { .. } => {
                *self.parts.lock().unwrap() += 1;
                None
            }
            other => panic!("{other:?} was not to be sent"),
        };
        let answer = match fault {
            Some(Fault::RequestLost) => pending().await,
            Some(Fault::Doubled) => {
                let both = tokio::join!(self.group.answer(&message), self.group.answer(&message));
                assert_eq!(both.0, both.1);
                both.1
            }
            Some(Fault::AnswerLost) | None => self.group.answer(&message).await,
        };
        if fault == Some(Fault::AnswerLost) {
            pending::<()>().await;
        }
        message::encode(&Response::Raft(Bytes(answer.unwrap())))
    }
}

impl Handler for Follower {
    fn handle(&self, _: &str, request: Frame) -> BoxFuture<'static, Frame> {
        match message::decode(&request) {
            Ok(Request::Raft { message, .. }) => Box::pin(self.clone().take(message.0)),
            Ok(Request::Introduce(_)) => {
                Box::pin(async { message::encode(&Response::Introduced(Reception::Welcome)) })
            }
            _ => panic!("not a message to a replica"),
        }
    }
}

/// Sends the snapshot of nine entries to a replica that has none, through faults. How long that
/// took, and how many parts were sent.
async fn send(faults: &[Fault]) -> (Duration, usize) {
    let storage = Storage::in_memory();
    storage.create_group(GROUP).await.unwrap();
    let group = start_on(FOLLOWER, &storage).await;
    let (faults, parts) = (Arc::new(Mutex::new(faults.to_vec())), Arc::default());
    let follower = Follower { group, faults, parts };
    let transport = ChannelTransport::new();
    let listening = transport.named("follower");
    let _listener = listening.listen("follower", Arc::new(follower.clone())).await.unwrap();
    let peers = peers_over(LEADER, transport.named("leader"));
    let servers = BTreeMap::from([(FOLLOWER, "follower".to_owned())]);
    peers.addresses().update(&ClusterMap::plan(ClusterId(1), 1, false, servers));
    let mut network = Network::new(peers, ClusterId(1), GROUP);
    let mut connection = network.new_client(FOLLOWER.0, &()).await;
    let mut machine = machine_with_snapshot(&Storage::in_memory(), 9).await;
    let snapshot = machine.get_current_snapshot().await.unwrap().unwrap();
    let mut leader = vote(7);
    leader.committed = true;
    let (began, option) = (Instant::now(), RPCOption::new(Duration::from_secs(30)));
    let sent = connection.full_snapshot(leader, snapshot, pending(), option).await.unwrap();
    let took = began.elapsed();
    assert_eq!(sent.vote, leader);
    assert_state(&follower.group.machine, 9);
    assert_eq!(*follower.faults.lock().unwrap(), []);
    follower.group.stop().await;
    let parts = *follower.parts.lock().unwrap();
    (took, parts)
}

#[test]
fn a_snapshot_is_installed_soon_though_messages_are_lost_and_is_not_sent_again() {
    use Fault::{AnswerLost, Doubled, RequestLost};
    for faults in [
        &[][..],
        &[RequestLost],
        &[AnswerLost],
        &[Doubled],
        &[Doubled, AnswerLost, RequestLost, AnswerLost],
    ] {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        let (took, parts) = runtime.block_on(send(faults));
        let lost = faults.iter().filter(|fault| **fault != Doubled).count();
        assert!(
            took <= ANSWER_TIME * (u32::try_from(lost).unwrap() + 1),
            "{took:?} with {faults:?}"
        );
        assert_eq!(parts, 1, "{faults:?}");
    }
}

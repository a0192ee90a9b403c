//! Tasks of a group that panic: the server learns of it, and nothing half done is kept.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, timeout};

use super::group::peers_over;
use super::*;
use crate::log::{SnapshotReader, SnapshotWriter};
use crate::replication::raft::failure::ServerFailure;
use crate::replication::raft::{Group, GroupError, Settings, StateMachine, Timing};
use crate::replication::{ClusterId, ServerId};
use crate::transport::ChannelTransport;

const SERVER: ServerId = ServerId(1);

/// Counts the bytes of its entries, and panics at one that begins with a zero, in the middle of it.
#[derive(Debug, Clone, Default)]
struct Brittle(u64);

impl StateMachine for Brittle {
    fn apply(&mut self, _index: u64, payload: &[u8]) -> Vec<u8> {
        self.0 += 1;
        assert!(!payload.starts_with(&[0]), "planted");
        self.0 += payload.len() as u64 - 1;
        Vec::new()
    }

    fn write_to<W: std::io::Write>(&self, out: &mut SnapshotWriter<W>) -> std::io::Result<()> {
        assert!(self.0 < 1000, "planted in the snapshot");
        out.item(&self.0.to_be_bytes())
    }

    fn read_from<R: std::io::Read>(input: &mut SnapshotReader<R>) -> Result<Self, LogError> {
        let item = input.next_item()?.and_then(|item| item.try_into().ok());
        item.map(|item| Self(u64::from_be_bytes(item))).ok_or_else(|| input.malformed())
    }
}

async fn lead(storage: &Storage) -> Group<Brittle> {
    storage.create_group(GROUP).await.unwrap();
    let settings = Settings { timing: Timing::default(), snapshot_entries: 1000 };
    let peers = peers_over(SERVER, ChannelTransport::new().named("server"));
    let group = Group::start(GROUP, ClusterId(1), peers, settings, storage).await.unwrap();
    group.initialize(&[SERVER]).await.unwrap();
    while propose(&group, &[1]).await.is_err() {
        tokio::task::yield_now().await;
    }
    group
}

async fn propose(group: &Group<Brittle>, payload: &[u8]) -> Result<Vec<u8>, GroupError> {
    group.propose(payload.to_vec(), Instant::now() + Duration::from_secs(10)).await
}

async fn failed_task(storage: &Storage) -> String {
    let failure = timeout(Duration::from_secs(30), storage.failure().noted()).await;
    match failure.expect("the failure is noted") {
        ServerFailure::Task { task } => task,
        failure => panic!("{failure}"),
    }
}

#[test]
fn an_entry_that_panics_where_it_is_applied_fails_the_server_and_is_in_no_snapshot() {
    // A small entry is applied by openraft's task, a large one on a thread of its own.
    for len in [1, 300 << 10] {
        run(async {
            let storage = Storage::in_memory();
            let group = lead(&storage).await;
            propose(&group, &vec![0; len]).await.unwrap_err();
            assert_eq!(failed_task(&storage).await, "the consensus of shard 2", "{len} bytes");
            assert!(!group.snapshot().await.unwrap());
            assert_eq!(group.machine.newest(), None);
            group.stop().await;
        });
    }
}

#[test]
fn a_snapshot_that_panics_fails_the_server() {
    run(async {
        let storage = Storage::in_memory();
        let group = lead(&storage).await;
        propose(&group, &[1; 1000]).await.unwrap();
        assert!(!group.snapshot().await.unwrap());
        assert_eq!(failed_task(&storage).await, "the snapshots of shard 2");
        group.stop().await;
    });
}

#[test]
fn a_group_that_is_stopped_is_no_failure() {
    run(async {
        let storage = Storage::in_memory();
        let group = lead(&storage).await;
        group.stop().await;
        let mut metrics = group.raft.metrics();
        while metrics.changed().await.is_ok() {}
        // What watches it is told with this task.
        tokio::task::yield_now().await;
        assert!(!storage.failure().is_noted());
    });
}

//! Replicas that a server gives up and gets back, and shards that go on without a majority.

use tokio::time::{Duration, Instant};

use super::group::{lead, propose, records, start, start_as};
use super::*;
use crate::replication::ServerId;
use crate::replication::raft::Group;
use crate::replication::raft::wire::{RaftRequest, RaftResponse, WireLogId};

/// Whether the replica grants a vote for term 1000 to a candidate with this last entry.
async fn grants(group: &Group<Shard>, last: LogIdOf<Types>) -> bool {
    let candidate = Vote { leader_id: LeaderId { term: 1000, node_id: 7 }, committed: false };
    let request = RaftRequest::Vote {
        vote: (&candidate).into(),
        last: Some(WireLogId::from(&last)),
        transfer: true,
        pre: false,
    };
    let answer = group.answer(&message::encode(&request)).await.unwrap();
    match message::decode(&answer).unwrap() {
        RaftResponse::Vote { granted, .. } => granted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replica_that_was_given_up_does_not_vote_below_what_it_had() {
    run(async {
        for storage in [Storage::in_memory(), open(&MemoryDisk::new()).unwrap()] {
            let group = lead(&storage, 5_000).await;
            for n in 0..10 {
                propose(&group, n).await.unwrap();
            }
            let had = group.log.last().unwrap();
            let term = group.log.vote().unwrap().leader_id.term;
            group.stop().await;
            storage.drop_group(GROUP).await.unwrap();
            assert!(storage.groups().is_empty());

            // It gets the group again, with nothing but its vote.
            storage.create_group(GROUP).await.unwrap();
            let group = start(&storage, 5_000).await.unwrap();
            assert_eq!((group.log.last(), records(&group)), (None, 0));
            assert_eq!(group.log.vote().unwrap().leader_id.term, term);
            assert!(!grants(&group, id(1000, had.index + 100)).await, "it has forgotten too much");
            group.stop().await;

            // A log that has come that far is as good as the old one.
            let mut log = GroupLog::new(GROUP, &storage);
            append(&mut log, (0..=had.index + 1).map(|index| entry(500, index)).collect())
                .await
                .unwrap();
            assert!(!log.is_below_floor());
            let group = start(&storage, 5_000).await.unwrap();
            assert!(grants(&group, id(1000, had.index + 100)).await);
            group.stop().await;
        }
    });
}

#[test]
fn what_stays_of_a_given_up_replica_survives_a_power_cut() {
    run(async {
        for cut in CUTS {
            let disk = MemoryDisk::new();
            let storage = open(&disk).unwrap();
            let group = lead(&storage, 5).await;
            for n in 0..20 {
                propose(&group, n).await.unwrap();
            }
            let had = group.log.last();
            group.stop().await;
            storage.drop_group(GROUP).await.unwrap();
            disk.power_cut(cut);
            let storage = open(&disk).unwrap();
            assert!(storage.groups().is_empty(), "cut {cut}");
            storage.create_group(GROUP).await.unwrap();
            let log = GroupLog::new(GROUP, &storage);
            assert!(log.is_below_floor() && log.last().is_none() && had.is_some(), "cut {cut}");
        }
    });
}

#[test]
fn a_shard_goes_on_alone_with_all_that_one_replica_has() {
    const NEXT: GroupId = GroupId((1 << 16) | 3);
    run(async {
        for cut in CUTS {
            let disk = MemoryDisk::new();
            let storage = open(&disk).unwrap();
            let group = lead(&storage, 8).await;
            for n in 0..20 {
                propose(&group, n).await.unwrap();
            }
            // Entries that it has and has not applied: as a follower of a leader that is lost.
            let last = group.log.last().unwrap();
            group.stop().await;
            let mut log = GroupLog::new(GROUP, &storage);
            append(&mut log, vec![entry(last.term, last.index + 1)]).await.unwrap();
            group.go_on_alone_as(NEXT).await.unwrap();
            disk.power_cut(cut);

            let storage = open(&disk).unwrap();
            let group: Group<Shard> = start_as(NEXT, &storage, 8).await.unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut leader = group.leader();
            while leader != Some(ServerId(1)) {
                leader = group.leader_changed(leader).await.unwrap();
            }
            group.read_barrier(deadline).await.unwrap();
            assert_eq!(records(&group), 21, "cut {cut}");
            assert!(group.log.last().unwrap() > last);
            group.stop().await;
        }
    });
}

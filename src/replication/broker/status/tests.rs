use super::ReplicaState::{CutOff, Down, Missing, Stopped, Up};
use super::*;
use crate::replication::message::Position;
use crate::replication::report::Past;

/// A shard of servers 1, 2 and 3, among eight shards.
const GROUP: GroupId = GroupId(3);

fn map() -> ClusterMap {
    let servers = (1..=3).map(|id| (ServerId(id), format!("server{id}"))).collect();
    ClusterMap { epoch: 9, ..ClusterMap::plan(ClusterId(1), 3, false, servers) }
}

/// What a follower says that has the first 100 entries.
fn follows() -> GroupReport {
    GroupReport {
        group: GROUP,
        runs: true,
        role: Role::Follower,
        leads: false,
        leader: Some(ServerId(1)),
        term: 5,
        last: Some(Position { term: 1, index: 100 }),
        committed: Some(100),
        applied: Position { term: 5, index: 100 },
        voters: (1..=3).map(ServerId).collect(),
        learners: vec![],
        followers: vec![],
        documents: Some(7),
    }
}

fn leads(term: u64, followers: &[(u64, Option<u64>, bool)]) -> GroupReport {
    let progress = |(server, matched, heard): &(u64, _, _)| Progress {
        server: ServerId(*server),
        matched: *matched,
        heard: *heard,
    };
    let followers = followers.iter().map(progress).collect();
    GroupReport { role: Role::Leader, leads: true, term, followers, ..follows() }
}

fn down() -> StatusError {
    StatusError::Transport(TransportError::DeadlineExceeded { address: String::new(), sent: true })
}

/// The reports of servers 1, 2, 3, each with what it says of the group, if it answers.
fn reports(groups: [Result<Option<GroupReport>, StatusError>; 3]) -> Reports {
    let report = |(id, group): (u64, Result<Option<GroupReport>, _>)| {
        let report = group.map(|group| ServerReport {
            server: ServerId(id),
            version: "1.2.3".to_owned(),
            uptime_millis: 1500,
            cluster: Some(ClusterId(1)),
            epoch: 9,
            groups: group.into_iter().collect(),
            past: Past::default(),
            disk_full: id == 2,
        });
        (ServerId(id), report)
    };
    (1..).zip(groups).map(report).collect()
}

fn group(groups: [Result<Option<GroupReport>, StatusError>; 3]) -> GroupStatus {
    let status = ClusterStatus::of(&map(), &reports(groups));
    assert_eq!((status.cluster, status.epoch, status.shards.len()), (ClusterId(1), 9, 8));
    let shard = GROUP.shard().unwrap();
    status.shards.into_iter().nth(shard.0 as usize).unwrap()
}

/// The state and lag of the replicas, in the order of their servers.
fn replicas(group: &GroupStatus) -> Vec<(ReplicaState, Option<u64>)> {
    let mut replicas = group.replicas.clone();
    replicas.sort_by_key(|replica| replica.server);
    replicas.iter().map(|replica| (replica.state, replica.lag)).collect()
}

#[test]
fn a_group_with_all_voters_up_is_whole_and_the_leader_counts_what_the_others_lack() {
    let leader = leads(5, &[(2, Some(100), true), (3, Some(60), true)]);
    let group = group([Ok(Some(leader)), Ok(Some(follows())), Ok(Some(follows()))]);
    assert_eq!((group.health, group.leader), (Health::Whole, Some(ServerId(1))));
    assert_eq!(replicas(&group), [(Up, Some(0)), (Up, Some(0)), (Up, Some(40))]);
    assert_eq!((group.term, group.documents, group.voters_up()), (Some(5), Some(7), (3, 3)));
    assert_eq!(group.committed, Some(100));
    assert!(group.replicas.iter().all(|replica| replica.follows == group.leader));
}

#[test]
fn a_voter_that_is_down_cut_off_stopped_or_gone_degrades_its_group() {
    let stopped = || GroupReport { runs: false, leads: true, ..follows() };
    for (third, heard, state) in [
        (Err(down()), false, Down),
        (Ok(Some(follows())), false, CutOff),
        (Ok(Some(stopped())), true, Stopped),
        (Ok(None), true, Missing),
    ] {
        let leader = leads(5, &[(2, Some(100), true), (3, Some(90), heard)]);
        let group = group([Ok(Some(leader)), Ok(Some(follows())), third]);
        assert_eq!((group.health, group.leader), (Health::Degraded, Some(ServerId(1))));
        assert_eq!(replicas(&group), [(Up, Some(0)), (Up, Some(0)), (state, Some(10))]);
    }
}

#[test]
fn of_two_leaders_the_one_of_the_higher_term_leads() {
    let old = leads(5, &[(2, Some(100), true), (3, Some(100), true)]);
    let new = leads(6, &[(1, None, false), (3, Some(100), true)]);
    let group = group([Ok(Some(old)), Ok(Some(new)), Ok(Some(follows()))]);
    assert_eq!((group.leader, group.term), (Some(ServerId(2)), Some(6)));
    assert_eq!(replicas(&group), [(CutOff, None), (Up, Some(0)), (Up, Some(0))]);
}

#[test]
fn without_a_leader_it_depends_on_the_voters_that_can_be_reached() {
    let lonely = || GroupReport { leads: false, ..leads(5, &[]) };
    let waits = group([Ok(Some(lonely())), Ok(Some(follows())), Err(down())]);
    assert_eq!((waits.health, waits.leader), (Health::NoLeader, None));
    assert_eq!(replicas(&waits), [(Up, None), (Up, None), (Down, None)]);
    let lost = group([Ok(Some(lonely())), Err(down()), Ok(None)]);
    assert_eq!((lost.health, lost.leader, lost.term), (Health::NoMajority, None, Some(5)));
    let gone = group([Err(down()), Err(down()), Err(down())]);
    assert_eq!((gone.health, gone.term, gone.documents), (Health::NoMajority, None, None));
    assert_eq!(gone.voters_up(), (0, 3));
}

#[test]
fn a_group_that_is_led_has_a_majority_also_where_the_broker_reaches_its_leader_alone() {
    let leader = leads(5, &[(2, Some(100), true), (3, Some(100), true)]);
    let group = group([Ok(Some(leader)), Err(down()), Err(down())]);
    assert_eq!(group.health, Health::Degraded);
}

#[test]
fn members_that_only_the_group_knows_come_after_those_of_the_map() {
    let mut leader = leads(5, &[(2, Some(100), true), (3, Some(100), true), (9, Some(1), true)]);
    leader.learners = vec![ServerId(9), ServerId(9)];
    let with_learner = group([Ok(Some(leader.clone())), Ok(Some(follows())), Ok(Some(follows()))]);
    assert_eq!((with_learner.health, with_learner.replicas.len()), (Health::Whole, 4));
    let learner = &with_learner.replicas[3];
    assert_eq!((learner.server, learner.voter, learner.lag), (ServerId(9), false, Some(99)));
    assert_eq!((learner.state, with_learner.voters_up()), (Down, (3, 3)));

    // One of the map that does not vote is not what the map wants.
    leader.voters = vec![ServerId(1), ServerId(2), ServerId(9)];
    leader.learners.clear();
    let replaced = group([Ok(Some(leader)), Ok(Some(follows())), Ok(Some(follows()))]);
    assert_eq!((replaced.health, replaced.voters_up()), (Health::Degraded, (2, 3)));
}

#[test]
fn the_cluster_is_as_well_as_its_worst_group() {
    let groups = || [Ok(Some(leads(5, &[]))), Ok(Some(follows())), Ok(Some(follows()))];
    // Nobody says a word of the other groups.
    let status = ClusterStatus::of(&map(), &reports(groups()));
    assert_eq!(status.health(), Health::NoMajority);
    let all: Vec<_> = map().groups().map(|group| GroupReport { group, ..leads(5, &[]) }).collect();
    let mut reports = reports(groups());
    for report in reports.values_mut().flatten() {
        report.groups = all.clone();
    }
    let status = ClusterStatus::of(&map(), &reports);
    assert_eq!(status.health(), Health::Whole);
    let ServerState::Up { replicas, leads, uptime, .. } = &status.servers[0].state else {
        panic!("{status:?}")
    };
    assert_eq!((*replicas, *leads, *uptime), (9, 9, Duration::from_millis(1500)));
}

#[test]
fn a_report_with_a_list_over_the_limit_is_malformed() {
    let report = |count| {
        let mut report = leads(5, &[]);
        report.voters = (0..count).map(ServerId).collect();
        let reports = reports([Ok(Some(report)), Ok(None), Ok(None)]);
        let report = reports.into_values().next().unwrap().unwrap();
        message::encode(&Response::Status(Box::new(report)))
    };
    let limit = message::ITEMS_MAX as u64;
    assert!(message::decode::<Response>(&report(limit)).is_ok());
    let error = message::decode::<Response>(&report(limit + 1)).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed { .. }));
}

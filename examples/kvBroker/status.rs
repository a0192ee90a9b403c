//! How servers, shards and keys are told at the prompt, in columns: what is wrong in capitals.

use std::error::Error;
use std::iter;

use triekv::TransportError;
use triekv::parser::{Command, ParseError, parse_command};
use triekv::replication::{
    ClusterStatus, Explanation, GroupStatus, Health, Holds, PastStatus, ReplicaState,
    ReplicaStatus, Role, ServerState, ServerStatus, StatusError,
};
use triekv::value::Escaped;

use crate::columns::{columns, rounded};
use crate::failure::errno;
use crate::index::counted;

const VERB: &str = "EXPLAIN";

/// The key of an EXPLAIN, which is written as that of a GET; none if the line is something else.
pub(crate) fn key_to_explain(line: &str) -> Option<Result<String, ParseError>> {
    let rest = line.strip_prefix(VERB).filter(|rest| rest.starts_with([' ', '\t']))?;
    // As long as it was, so that an error is told at its place.
    let get = format!("{:width$}{rest}", "GET", width = VERB.len());
    match parse_command(&get) {
        Ok(Command::Get { key }) => Some(Ok(key)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }
}

/// The answer to STATUS.
pub(crate) fn told(status: &ClusterStatus) -> String {
    let ClusterStatus { cluster, copies, voters, epoch, moves, servers, shards, .. } = status;
    let moving = match moves {
        0 => String::new(),
        moves => format!(", {} under way", counted(*moves as u64, "move")),
    };
    let up = servers.iter().filter(|server| server.is_up()).count();
    let head = format!(
        "cluster {cluster}: {}, {up} of {} servers up, {} shards of {voters} copies \
         (-k {copies}), map {epoch}{moving}",
        health(status.health()),
        servers.len(),
        shards.len(),
    );
    let server = |server: &ServerStatus| {
        let leads = match &server.state {
            ServerState::Up { replicas, leads, .. } => {
                format!("leads {leads} of {replicas} groups")
            }
            _ => String::new(),
        };
        vec![server.address.clone(), state(server), leads, format!("id {}", server.id)]
    };
    let strangers = status.strangers.iter().map(|stranger| {
        format!(
            "[WARNING] {} was silent when this cluster was founded, and belongs to another one, cluster \
             {}: !JOIN of it tells what each has, and how to go on with either",
            Escaped(&stranger.address),
            stranger.cluster
        )
    });
    let groups = iter::once(&status.meta).chain(shards).map(|group| group_row(group, servers));
    let past = servers.iter().filter_map(past);
    let servers = columns(servers.iter().map(server));
    let rows =
        [head].into_iter().chain(servers).chain(columns(groups)).chain(past).chain(strangers);
    rows.collect::<Vec<_>>().join("\n")
}

/// The line about a server whose directory is, or was, from the past.
fn past(server: &ServerStatus) -> Option<String> {
    let address = Escaped(&server.address);
    Some(match server.past.as_ref()? {
        PastStatus::Waits(evidence) => format!(
            "{address} is FROM THE PAST, and does not count: {evidence}. It begins anew, empty, once \
             each group has a leader without it; kvServer --accept-past has it go on as it is"
        ),
        PastStatus::SetAside(before) => format!(
            "{address} was FROM THE PAST as server {}: {}. It began anew as a new server; its files \
             are {}",
            before.server,
            before.evidence,
            Escaped(&before.files)
        ),
        _ => return None,
    })
}

/// The answer to EXPLAIN of this key, as it was typed.
pub(crate) fn explained(key: &str, explanation: &Explanation) -> String {
    let Explanation { shard, group, servers, copies, .. } = explanation;
    let head = format!("{key} : shard {shard}, {}", health(group.health));
    let row = |server: &ServerStatus| {
        let replica = group.replicas.iter().find(|replica| replica.server == server.id);
        let copy = copies.iter().find(|copy| copy.server == server.id);
        let holds = match copy.map(|copy| copy.holds) {
            Some(Holds::Present { version }) => format!("version {version}"),
            Some(Holds::Absent) => "absent".to_owned(),
            _ => "unknown".to_owned(),
        };
        let leads = group.leader == Some(server.id);
        let part = replica.filter(|_| server.is_up()).map(|replica| part(replica, leads));
        vec![server.address.clone(), state(server), part.unwrap_or_default(), holds]
    };
    [head].into_iter().chain(columns(servers.iter().map(row))).collect::<Vec<_>>().join("\n")
}

/// `shard 0  whole  12 records  leader 127.0.0.1:9000  127.0.0.1:9001 lag 0`
fn group_row(group: &GroupStatus, servers: &[ServerStatus]) -> Vec<String> {
    let name = |replica: &ReplicaStatus| {
        let server = servers.iter().find(|server| server.id == replica.server);
        server.map_or_else(|| format!("id {}", replica.server), |server| server.address.clone())
    };
    let records = group.documents.map_or(String::new(), |records| counted(records, "record"));
    let leads = |replica: &&ReplicaStatus| group.leader == Some(replica.server);
    let leader =
        group.replicas.iter().find(leads).map(|replica| format!("leader {}", name(replica)));
    let leader = leader.unwrap_or_else(|| "no leader".to_owned());
    let others = group.replicas.iter().filter(|replica| !leads(replica));
    let others = others.map(|replica| format!("{} {}", name(replica), part(replica, false)));
    let row = [group.group.to_string(), health(group.health).to_owned(), records, leader];
    row.into_iter().chain(others).collect()
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Whole => "whole",
        Health::Degraded => "DEGRADED",
        Health::NoLeader => "NO LEADER",
        _ => "NO MAJORITY",
    }
}

/// What part a replica has in its group: how far it is, if it has a part.
fn part(replica: &ReplicaStatus, leads: bool) -> String {
    let far = match (replica.lag, replica.applied) {
        (Some(lag), _) => format!("lag {lag}"),
        (None, Some(applied)) => format!("applied {applied}"),
        (None, None) => String::new(),
    };
    match (replica.state, replica.role) {
        (ReplicaState::Down, _) => "DOWN".to_owned(),
        (ReplicaState::Starting, _) => "STARTING".to_owned(),
        (ReplicaState::Missing, _) => "MISSING".to_owned(),
        (ReplicaState::Stopped, _) => "STOPPED".to_owned(),
        (ReplicaState::CutOff, _) => format!("CUT OFF, {far}"),
        _ if leads => "leader".to_owned(),
        (_, Some(Role::Learner)) => format!("learner, {far}"),
        _ => far,
    }
}

/// `up 3m12s`, `up 3m12s, DISK FULL`, `STARTING` or `DOWN: Connection refused`
fn state(server: &ServerStatus) -> String {
    match &server.state {
        ServerState::Up { uptime, disk_full: true, .. } => {
            format!("up {}, DISK FULL", rounded(*uptime))
        }
        ServerState::Up { uptime, .. } => format!("up {}", rounded(*uptime)),
        ServerState::Starting => "STARTING: reads its data".to_owned(),
        ServerState::Down { error } => format!("DOWN: {}", reason(error)),
        _ => "unknown".to_owned(),
    }
}

fn reason(error: &StatusError) -> String {
    match error {
        StatusError::Transport(TransportError::Refused { source, .. }) => errno(source),
        StatusError::Transport(
            TransportError::ConnectTimeout { .. } | TransportError::DeadlineExceeded { .. },
        ) => "no answer".to_owned(),
        error => {
            let error: &(dyn Error + 'static) = error;
            let causes = iter::successors(Some(error), |&error| error.source());
            causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        }
    }
}

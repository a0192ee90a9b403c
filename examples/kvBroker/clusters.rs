//! Which cluster is which, and the ways out, where servers of two come together.

use triekv::replication::{
    ClusterStatus, Health, NamedCluster, ServerState, ServerStatus, StatusError,
};
use triekv::value::Escaped;

use crate::index::counted;

/// Describes the clusters, and says for each how to keep it.
pub(crate) fn choice(clusters: &[NamedCluster]) -> String {
    let described = clusters.iter().map(described);
    let ways = clusters.iter().map(|kept| way(kept, clusters));
    let end = "kvServer tells at its start which directory it has.".to_owned();
    described.chain(ways).chain([end]).collect::<Vec<_>>().join("\n")
}

/// `a`, `a and b`, `a, b and c`; escaped, since other servers wrote them.
pub(crate) fn listed(names: &[impl AsRef<str>]) -> String {
    let names: Vec<String> = names.iter().map(|name| Escaped(name.as_ref()).to_string()).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "no server".to_owned(),
    }
}

/// `cluster 9c…: 3 records; 127.0.0.1:9000 up, 127.0.0.1:9001 up; founded with …`
fn described(cluster: &NamedCluster) -> String {
    let ClusterStatus { cluster: id, servers, shards, .. } = &cluster.status;
    let records = counted(cluster.records(), "record");
    let unseen = match shards.iter().filter(|shard| shard.documents.is_none()).count() as u64 {
        0 => String::new(),
        unseen => format!(" without {}, which cannot be reached", counted(unseen, "shard")),
    };
    let more = match cluster.uncommitted {
        0 => String::new(),
        entries => {
            format!(
                ", and more perhaps in {entries} of its log entries, which only a majority applies"
            )
        }
    };
    let servers: Vec<String> = servers.iter().map(standing).collect();
    let silent = match cluster.silent.len() {
        0 => String::new(),
        1 => format!("; {} was silent then", listed(&cluster.silent)),
        _ => format!("; {} were silent then", listed(&cluster.silent)),
    };
    let (servers, founders) = (servers.join(", "), listed(&cluster.founders));
    format!("cluster {id}: {records}{unseen}{more}\n  {servers}\n  founded with {founders}{silent}")
}

fn standing(server: &ServerStatus) -> String {
    let state = match &server.state {
        ServerState::Up { .. } => "up",
        ServerState::Starting => "starting",
        ServerState::Down { error: StatusError::OtherServer { .. } } => {
            "replaced by another server"
        }
        _ => "down",
    };
    format!("{} {state}", Escaped(&server.address))
}

/// The way to go on with `kept` alone.
fn way(kept: &NamedCluster, clusters: &[NamedCluster]) -> String {
    let id = kept.status.cluster;
    let others = clusters.iter().filter(|other| other.status.cluster != id);
    let others = others.flat_map(|other| &other.status.servers).filter(|server| server.is_up());
    let stopped: Vec<&str> = others.map(|server| server.address.as_str()).collect();
    let stopped = listed(&stopped);
    if kept.status.health() != Health::NoMajority {
        return format!(
            "To keep cluster {id}: stop {stopped}, move the directory of each away and start it again: \
             it is a new, empty server then, and joins cluster {id}."
        );
    }
    let (up, down): (Vec<_>, Vec<_>) =
        kept.status.servers.iter().partition(|server| server.is_up());
    let addresses = |servers: Vec<&ServerStatus>| {
        listed(&servers.iter().map(|server| &server.address).collect::<Vec<_>>())
    };
    let (up, down) = (addresses(up), addresses(down));
    format!(
        "To keep cluster {id}, which has no majority: stop {stopped}, and start {down} in the \
         directories that they had in it. If those are lost, name {up} alone in the server file, with \
         -k 1: what is left can be read then, with a warning."
    )
}

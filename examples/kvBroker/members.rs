//! Servers that come and go, at the prompt.

use triekv::replication::{MemberError, RecoverError, Recovery};
use triekv::{Broker, Transport};

use crate::clusters::choice;
use crate::failure::failed;
use crate::server_file::{Problem, parse_line};

const JOIN: &str = "!JOIN";
const LEAVE: &str = "!LEAVE";
const RECOVER: &str = "!UNSAFE-RECOVER";

/// Whether the line begins with one of these verbs.
pub(crate) fn is_command(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|verb| [JOIN, LEAVE, RECOVER].contains(&verb))
}

/// The answer to such a line.
pub(crate) async fn answer<T: Transport>(broker: &Broker<T>, line: &str) -> String {
    let (verb, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if verb == RECOVER {
        return match rest.trim().parse() {
            Ok(shard) => recovered(broker.unsafe_recover(shard).await),
            Err(_) => format!("[Error] write {RECOVER} SHARD, with the shard's number"),
        };
    }
    let address = match parse_line(rest.as_bytes()) {
        Ok(Some(server)) => server.joined(),
        Err(problem @ (Problem::NotAPort(_) | Problem::NotUtf8)) => return failed(&problem),
        Ok(None) | Err(_) => return format!("[Error] write {verb} HOST PORT"),
    };
    if verb == JOIN {
        changed(&address, "JOINS", broker.join(&address).await, broker.moves().await)
    } else {
        changed(&address, "LEAVES", broker.leave(&address).await, broker.moves().await)
    }
}

fn changed(address: &str, what: &str, outcome: Result<(), MemberError>, moves: usize) -> String {
    match outcome {
        Ok(()) if moves == 0 => format!("{address} : {what}"),
        Ok(()) => format!("{address} : {what}, STATUS tells how far it is"),
        Err(error) => match &error {
            MemberError::OtherCluster { clusters, .. } => {
                format!("{}\n{}", failed(&error), choice(clusters))
            }
            _ => failed(&error),
        },
    }
}

fn recovered(outcome: Result<Recovery, RecoverError>) -> String {
    match outcome {
        Ok(Recovery { shard, survivor, entries, records, lost, .. }) => format!(
            "[WARNING] Shard {shard} goes on with what {survivor} has: {records} records, the first \
             {entries} entries of its log.\n[WARNING] What only {} had is lost, also if it was \
             acknowledged. Have them !LEAVE, so that others hold the shard.",
            lost.join(" and ")
        ),
        Err(error) => failed(&error),
    }
}

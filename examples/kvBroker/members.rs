//! Servers that come and go, at the prompt.

use triekv::replication::{Departure, MemberError, RecoverError, Recovery};
use triekv::value::Escaped;
use triekv::{Broker, Transport};

use crate::clusters::choice;
use crate::failure::failed;
use crate::server_file::parse_typed;

const JOIN: &str = "!JOIN";
const LEAVE: &str = "!LEAVE";
const RECOVER: &str = "!UNSAFE-RECOVER";

/// The characters that separate words, as in the grammar.
const BLANKS: [char; 2] = [' ', '\t'];

/// Whether the line begins with one of these verbs.
pub(crate) fn is_command(line: &str) -> bool {
    [JOIN, LEAVE, RECOVER].contains(&parts(line).0)
}

/// The verb, and what follows it.
fn parts(line: &str) -> (&str, &str) {
    let (verb, rest) = line.split_once(BLANKS).unwrap_or((line, ""));
    (verb, rest.trim_matches(BLANKS))
}

/// The answer to such a line.
pub(crate) async fn answer<T: Transport>(broker: &Broker<T>, line: &str) -> String {
    let (verb, rest) = parts(line);
    if verb == RECOVER {
        return match rest.parse() {
            Ok(shard) => recovered(broker.unsafe_recover(shard).await),
            Err(_) => format!("[Error] write {RECOVER} SHARD, with the shard's number"),
        };
    }
    let address = match parse_typed(rest) {
        Ok(Some(server)) => server.joined(),
        Ok(None) => {
            return format!("[Error] write {verb} HOST PORT, or {verb} [::1]:9000 for IPv6");
        }
        Err(problem) => return failed(&problem),
    };
    if verb == JOIN {
        let joined = broker.join(&address).await.map(|()| String::new());
        changed(&address, "JOINS", joined, broker.moves().await)
    } else {
        let left = broker.leave(&address).await.map(|departure| cost(&departure, broker.copies()));
        changed(&address, "LEAVES", left, broker.moves().await)
    }
}

/// The answer to a change, with what is to be told besides.
fn changed(
    address: &str,
    what: &str,
    outcome: Result<String, MemberError>,
    moves: usize,
) -> String {
    let address = Escaped(address);
    match outcome {
        Ok(besides) if moves == 0 => format!("{address} : {what}{besides}"),
        Ok(besides) => format!("{address} : {what}, STATUS tells how far it is{besides}"),
        Err(error) => match &error {
            MemberError::OtherCluster { clusters, .. } => {
                format!("{}\n{}", failed(&error), choice(clusters))
            }
            _ => failed(&error),
        },
    }
}

/// A warning, on a line of its own, if a departure leaves fewer copies than were asked for.
fn cost(departure: &Departure, copies: usize) -> String {
    let Departure { servers, voters, voters_wanted, .. } = departure;
    if departure.is_whole() {
        return String::new();
    }
    let down = match departure.losses_that_stop_writes() {
        1 => "one of them is".to_owned(),
        losses => format!("{losses} of them are"),
    };
    format!(
        "\n[WARNING] {servers} servers stay, too few for the {voters_wanted} copies that -k {copies} \
         asks for: each record has {voters} copies then, and takes no write while {down} down. \
         {JOIN} another server."
    )
}

fn recovered(outcome: Result<Recovery, RecoverError>) -> String {
    match outcome {
        Ok(Recovery { shard, survivor, entries, records, lost, .. }) => format!(
            "[WARNING] Shard {shard} goes on with what {} has: {records} records, the first \
             {entries} entries of its log.\n[WARNING] What only {} had is lost, also if it was \
             acknowledged. Have them !LEAVE, so that others hold the shard.",
            Escaped(&survivor),
            Escaped(&lost.join(" and "))
        ),
        Err(error) => failed(&error),
    }
}

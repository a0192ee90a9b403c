//! Finding the cluster, and what to say of it.

use std::io::{self, Write};

use triekv::replication::{ConnectError, Copied, Moved, Unreached};
use triekv::value::Escaped;
use triekv::{Broker, TcpTransport, Transport, TransportError};

use crate::Options;
use crate::clusters::listed;
use crate::failure::{errno, failed};
use crate::index::counted;
use crate::output::Output;
use crate::server_file::ServerAddress;

/// The cluster of the servers, with `copies` copies if it has to be founded. Names the servers
/// that cannot be reached, and those that are waited for.
pub(crate) async fn connect(
    servers: &[ServerAddress],
    copies: usize,
    options: &Options,
) -> io::Result<Result<Broker<TcpTransport>, ConnectError>> {
    let builder = Broker::builder(TcpTransport::default());
    let addresses = servers.iter().map(ServerAddress::joined);
    let builder = builder.servers(addresses).copies(copies);
    let builder = if options.exact_copies { builder.exact_copies() } else { builder };
    let builder =
        if options.found_without_majority { builder.found_without_majority() } else { builder };
    let builder = builder.on_waiting(|address| {
        let text = format!("waiting for {}, which is still reading its data", Escaped(address));
        // It is waited for, whoever reads that.
        let _ = writeln!(io::stderr(), "{text}");
    });
    let connected = builder.connect().await;
    let unreached = match &connected {
        Ok(broker) => broker.unreached(),
        Err(
            ConnectError::TooFewServers { unreached, .. }
            | ConnectError::TooFewToFound { unreached, .. },
        ) => unreached,
        Err(_) => &[],
    };
    for unreached in unreached {
        let server = servers.iter().find(|server| server.joined() == unreached.address);
        let server = server.map_or_else(|| unreached.address.clone(), ToString::to_string);
        let server = Escaped(&server).to_string();
        writeln!(Output, "{}", reason(unreached, &server))?;
    }
    Ok(connected)
}

/// `[Errno 111] Connection refused 127.0.0.1 : 9000`
fn reason(unreached: &Unreached, server: &str) -> String {
    match unreached.transport_error() {
        Some(TransportError::Refused { source, .. }) => format!("{} {server}", errno(source)),
        Some(TransportError::ConnectTimeout { .. } | TransportError::DeadlineExceeded { .. }) => {
            format!("[Errno 110] Connection timed out {server}")
        }
        // These name the server.
        Some(error) => failed(error),
        None => format!("{} {server}", failed(&unreached.error)),
    }
}

/// Tells that the cluster was founded, and what to do if that was a mistake.
pub(crate) fn tell_of_founding<T: Transport>(broker: &Broker<T>) -> io::Result<()> {
    if !broker.has_founded() {
        return Ok(());
    }
    let (servers, cluster) = (counted(broker.servers() as u64, "server"), broker.cluster());
    writeln!(Output, "founded a new cluster of {servers}: cluster {cluster}")?;
    let silent: Vec<&str> = broker.unreached().iter().map(|it| it.address.as_str()).collect();
    if silent.is_empty() {
        return Ok(());
    }
    let silent = listed(&silent);
    writeln!(
        Output,
        "[WARNING] No answer came from {silent}. If an older cluster has its records there, put nothing \
         now: stop the {servers} of the new one, and start all servers in the directories that they had"
    )
}

/// Tells what was asked for and is not so.
pub(crate) fn tell<T: Transport>(broker: &Broker<T>, copies: usize) -> io::Result<()> {
    let mut out = Output;
    let (founded, voters) = (broker.copies(), broker.voters());
    let may_fail = match (voters - 1) / 2 {
        0 => "no server may fail".to_owned(),
        1 => "one server may fail".to_owned(),
        servers => format!("{servers} servers may fail"),
    };
    if founded != copies {
        writeln!(
            out,
            "The cluster was founded with replication factor {founded}, and keeps it: \
             each record has {voters} copies, so that {may_fail}"
        )?;
    } else if voters != copies || voters.is_multiple_of(2) {
        writeln!(
            out,
            "replication factor {copies}: each record has {voters} copies, so that {may_fail}"
        )?;
    }
    for address in broker.newcomers() {
        let address = Escaped(address);
        writeln!(out, "{address} is new to the cluster, and joins it")?;
    }
    for moved in broker.moved() {
        let Moved { address, before, noted, .. } = moved;
        let (address, before) = (Escaped(address), Escaped(before));
        if *noted {
            writeln!(
                out,
                "{address} is the server that was at {before}; the cluster has noted it"
            )?;
        } else {
            writeln!(
                out,
                "{address} is the server that was at {before}, and the cluster could not note it: \
                 !JOIN {address} notes it"
            )?;
        }
    }
    for Copied { server, address, copy, .. } in broker.copied() {
        let (address, copy) = (Escaped(address), Escaped(copy));
        writeln!(
            out,
            "[WARNING] {copy} runs as server {server}, and so does {address}, which belongs to the \
             cluster: one of them runs in a copy of the other's directory. Stop {copy}"
        )?;
    }
    for address in broker.left() {
        let address = Escaped(address);
        writeln!(
            out,
            "{address} has left the cluster: started in an empty directory, it joins it again"
        )?;
    }
    Ok(())
}

/// Tells which servers of the cluster the server file does not name.
pub(crate) fn tell_of_others<T: Transport>(
    broker: &Broker<T>,
    servers: &[ServerAddress],
) -> io::Result<()> {
    let named = |address: &String| servers.iter().any(|server| server.joined() == *address);
    for address in broker.absent().iter().filter(|address| !named(address)) {
        let address = Escaped(address);
        writeln!(Output, "{address} belongs to the cluster, and the server file does not name it")?;
    }
    Ok(())
}

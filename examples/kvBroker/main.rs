//! Connects to the servers, indexes a file of records, and answers commands.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use clap::Parser;
use tokio::runtime;
use triekv::replication::LoadMode;
use triekv::{Broker, Cluster, Transport};

use failure::Failure;
use output::Output;

mod answer;
mod clusters;
mod columns;
mod connect;
mod entry;
mod failure;
mod index;
mod lines;
mod members;
mod output;
mod prompt;
mod server_file;
mod snippet;
mod status;
mod terminal;
mod unseen;
mod usage;

/// The exit status at Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

const DATA_FILE: &str = "dataToIndex.txt";

const EMBEDDED_SERVERS: usize = 3;

const HELP: &str = "\
Example, with the servers of kvServer's help in serverFile.txt:
  kvBroker -s serverFile.txt -i dataToIndex.txt -k 2

The server file has one server a line, its host and its port with blanks between:
  127.0.0.1   9000
  ::1         9000             or [::1]:9000
Empty lines are skipped, and what follows a #; anything else is an error.

At the prompt:
  PUT person1:{ \"name\" : \"Mary\" ; \"address\" : { \"city\" : \"Athens\" } }
  GET person1                  the whole record
  QUERY person1.address.city   a part of it
  DELETE person1
  SET person1.address.city : \"Sparta\"           puts a part
  MERGE person1 : { \"name\" : null ; \"age\" : 22 }   puts fields, and removes those that are null
  REMOVE person1.address.city
  STATUS                       servers, and where each shard is
  EXPLAIN person1              the shard of a key, and which servers have it
  !JOIN 10.0.0.4 9000          has a new server hold its share (also 10.0.0.4:9000, [::1]:9000)
  !LEAVE 10.0.0.4 9000         has a server give up what it holds, so that it can be stopped
  !UNSAFE-RECOVER 3            goes on with shard 3, which has lost its majority for good
  !DISCONNECT                  leaves, as the end of input does
A key, or a step of a path, may be in double quotes. An answer repeats it as it was typed.
On a terminal, a PUT goes on at the next line while a bracket is open; Ctrl-C gives it up.
What is wrong with a line is answered on standard output, and shown on standard error with a mark
under the place: in colours if that is a terminal and NO_COLOR is not set.

Records are put where their keys are absent; of lines with one key the last one counts. A file that
was indexed is not indexed again while there is any record, so that what was changed since stays, also
when the servers were stopped meanwhile. Indexing that was interrupted goes on, and ends where it would
have ended: no line is put twice, so what others wrote or deleted since stays so. --reload puts every
record from the first line on, whatever there is. --fresh deletes every record of the cluster first,
without asking.

Servers that belong to no cluster are made one, which is always told. The silent servers of the file may
hold an older one: so a majority of the file has to answer, unless --found-without-majority is given. A
server that is still reading its data is waited for, for a minute. Servers of two clusters in one file are
refused: it is told what each cluster has, and how to go on with either.

A server of the file that is new joins the cluster, and one that comes back empty takes the place of
the one that was at its address: shards move to it by themselves.

Each record has -k copies, made an odd number where there are enough servers (unless --exact-copies
was given at the founding: two copies take no write while one is down): every command works
while a majority of a record's servers is up. Without one, reads are answered by the copies that
are left, after a warning, and writes are refused.

Output that cannot be written stops no work: the file is indexed, and the commands of a pipe or file
are carried out to the end of input, also if nobody reads the answers any more (kvBroker ... < commands
| head -n 1).

Exit status: 0 at the end of input or !DISCONNECT; 1 when it cannot start, or answers could not be
written for another reason than that their reader has gone; 2 when an option is missing or is no
number; 130 at Ctrl-C.";

/// Connects to the servers, indexes a file of records, and answers commands
#[derive(Parser)]
#[command(name = "kvBroker", version, after_long_help = HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
struct Options {
    /// File that names the servers; without it, three servers run in this process
    #[arg(short, long = "serverFile", value_name = "FILE", requires = "k_replication")]
    server_file: Option<PathBuf>,
    /// File of records to index, one KEY:VALUE a line [default: dataToIndex.txt, if it is there]
    #[arg(short = 'i', long = "dataToIndex", value_name = "FILE")]
    data_to_index: Option<PathBuf>,
    /// Copies of each record, at least 1; may be left out without -s, and is then 2
    #[arg(short, long = "kReplication", value_name = "N", allow_negative_numbers = true)]
    k_replication: Option<i64>,
    /// Keep exactly N copies in a new cluster, also if N is even
    #[arg(long)]
    exact_copies: bool,
    /// Found a cluster also where fewer than a majority of the servers of the file answer
    #[arg(long, requires = "server_file")]
    found_without_majority: bool,
    /// Put every record of the file in place of what is there, also if it was indexed before
    #[arg(long)]
    reload: bool,
    /// Delete every record first, and forget which files were indexed
    #[arg(long, conflicts_with = "reload")]
    fresh: bool,
}

fn main() -> ExitCode {
    let status = run(&usage::options()).unwrap_or_else(|failure| failure.report());
    match output::lost() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Failure::Output(error).report(),
        // Whoever closed the pipe has seen enough of it.
        _ => status,
    }
}

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let copies = usize::try_from(options.k_replication.unwrap_or(2)).unwrap_or(0);
    if copies == 0 {
        return Err(Failure::Copies);
    }
    let servers = options.server_file.as_deref().map(server_file::read).transpose();
    let servers = servers.map_err(Failure::ServerFile)?;
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // This thread is none of the workers, so the prompt may block it.
    let outcome = runtime.block_on(async {
        tokio::spawn(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                process::exit(INTERRUPTED.into());
            }
        });
        if let Some(servers) = servers {
            let broker = connect::connect(&servers, copies, options).await?;
            let broker = broker.map_err(Failure::Connect)?;
            connect::tell_of_founding(&broker)?;
            connect::tell_of_others(&broker, &servers)?;
            session(&broker, copies, options).await
        } else {
            let cluster = Cluster::embedded(EMBEDDED_SERVERS).copies(copies).start().await;
            let cluster = cluster.map_err(Failure::Cluster)?;
            let text = "servers run in this process, and keep the data in its memory";
            writeln!(Output, "No server file: {EMBEDDED_SERVERS} {text}")?;
            session(cluster.broker(), copies, options).await
        }
    });
    // A host name that is being looked up must not delay the end.
    runtime.shutdown_background();
    outcome
}

async fn session<T: Transport>(
    broker: &Broker<T>,
    copies: usize,
    options: &Options,
) -> Result<ExitCode, Failure> {
    let mut out = Output;
    writeln!(out, "=== Welcome to kvBroker ===")?;
    connect::tell(broker, copies)?;
    if options.fresh {
        let deleted = broker.clear().await.map_err(Failure::Clear)?;
        writeln!(out, "Emptied the cluster: deleted {}", index::counted(deleted, "record"))?;
    }
    let file = options.data_to_index.as_deref().unwrap_or(Path::new(DATA_FILE));
    if options.data_to_index.is_none() && !file.exists() {
        writeln!(out, "No {DATA_FILE} here: nothing to index")?;
    } else {
        writeln!(out, "Data initialization...")?;
        let mode = if options.reload { LoadMode::Reload } else { LoadMode::Once };
        index::index(broker, file, mode).await?;
    }
    Ok(prompt::run(broker).await?)
}

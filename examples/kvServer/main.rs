//! Keeps records for brokers, together with other servers.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, iter, process};

use clap::{ArgAction, Parser};
use tokio::runtime;
use tracing_subscriber::EnvFilter;
use triekv::log::LogError;
use triekv::replication::ServerError;
use triekv::{Server, TcpTransport};

use signals::{Signals, TERMINATED};

mod signals;

const HELP: &str = "\
Example, three servers on one machine:
  kvServer -a 127.0.0.1 -p 9000 &
  kvServer -a 127.0.0.1 -p 9001 &
  kvServer -a 127.0.0.1 -p 9002 &
Then write the three into a server file, and start kvBroker, which makes a cluster of them.

Whoever reaches the port can read and write every record: there are no passwords and nothing is
encrypted. Use a loopback address, or one of a private network.

Records are kept on disk, in kvdata/ADDR-PORT below the working directory unless -d names another
directory. The second line that is printed tells where that is, and whether it was empty. A server that is started again in its directory goes on from there; in an empty one it is
a new server, which takes the place of the one of a cluster that was at its address. After damage it
does not start: move the directory away and start it anew. --in-memory keeps nothing on disk.

The log goes to standard error; RUST_LOG, if set, chooses what it tells (info,triekv=debug).

SIGTERM and Ctrl-C stop the server cleanly: it hands over to the other servers first, within half
a second. A second signal ends it at once.

When the disk is full, writes are refused until there is room again, and reads go on.

Exit status: 0 at SIGTERM; 130 at Ctrl-C; 1 when it cannot listen or its data cannot be read or
written; 2 when an option is missing or wrong; 143 at a SIGTERM that did not wait.";

/// Where each server has its directory, by address, if `-d` names none.
const DATA_ROOT: &str = "kvdata";

const DAMAGED: &str = "\
The server cannot go on from a part of its data: it would vote as if it had never seen the rest.
Move the directory away and start the server again: it is a new, empty one then, and the other
servers of the cluster fill it if it has its old address.";

/// Keeps records for brokers, together with other servers
#[derive(Parser)]
#[command(name = "kvServer", version, after_long_help = HELP)]
struct Options {
    /// Address or host name to listen at, and at no other
    #[arg(short = 'a', long = "ipAddress", value_name = "ADDR")]
    ip_address: String,
    /// Port to listen at; 0 lets the system choose one
    #[arg(short, long)]
    port: u16,
    /// Directory of the server's data, created if need be [default: kvdata/ADDR-PORT]
    #[arg(short, long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keep nothing on disk: the records are gone when the server stops
    #[arg(long, conflicts_with = "data_dir")]
    in_memory: bool,
    /// Log each request; twice: also what the consensus under it tells
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Log warnings and errors only
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    start_log(&options);
    run(&options).unwrap_or_else(|error| {
        let causes = iter::successors(Some(&*error), |&error| error.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        let _ = writeln!(io::stderr(), "[Error] {}", causes.join(": "));
        if let Some(LogError::Corrupt { .. }) = error.downcast_ref() {
            let _ = writeln!(io::stderr(), "{DAMAGED}");
        }
        ExitCode::FAILURE
    })
}

fn start_log(options: &Options) {
    // openraft repeats itself many times a second while another server is down.
    let level = match options.verbose {
        _ if options.quiet => "triekv=warn",
        0 => "triekv=info",
        1 => "triekv=debug",
        _ => "info,triekv=trace",
    };
    let filter = env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse_lossy(filter))
        .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
        .with_writer(io::stderr)
        .init();
}

/// Runs the server, in one lane, until a signal comes.
fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { ip_address: address, port, data_dir, in_memory, .. } = options;
    let listen_at = match address.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{address}]:{port}"),
        Err(_) => format!("{address}:{port}"),
    };
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut signals = Signals::new()?;
        let server = Server::builder(TcpTransport::default(), listen_at);
        let server = match data_dir {
            _ if *in_memory => server,
            Some(data_dir) => server.data_dir(data_dir),
            None => server.data_root(DATA_ROOT),
        };
        let server = match server.start().await {
            // These name the address or the file.
            Err(ServerError::Listen(error)) => return Err(error.into()),
            Err(ServerError::Data(error)) => return Err(error.into()),
            server => server?,
        };
        let port = server.address().rsplit(':').next().unwrap_or_default();
        let data = match (in_memory, server.is_new()) {
            (true, _) => "in memory, gone when this server stops".to_owned(),
            (_, true) => format!("in {}, empty: a new server", server.data_location()),
            (_, false) => format!("in {}, as it was left", server.data_location()),
        };
        let lines = format!("Binding the Port: ('{address}', {port})\nData: {data}\n");
        // Nobody has to read it.
        let _ = io::stdout().write_all(lines.as_bytes());
        let first = tokio::select! {
            signal = signals.next() => signal,
            error = server.failed() => return Err(error.into()),
        };
        let status = tokio::select! {
            () = server.stop() => if first == TERMINATED { 0 } else { first },
            // At once, whatever is waited for: a disk that does not answer, perhaps.
            second = signals.next() => process::exit(second.into()),
        };
        Ok(ExitCode::from(status))
    })
}

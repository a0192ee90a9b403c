//! Keeps records for brokers, together with other servers.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::net::Ipv6Addr;
use std::process::ExitCode;
use std::{env, iter};

use clap::{ArgAction, Parser};
use tokio::runtime;
use tracing_subscriber::EnvFilter;
use triekv::replication::ServerError;
use triekv::{Server, TcpTransport};

const HELP: &str = "\
Example, three servers on one machine:
  kvServer -a 127.0.0.1 -p 9000 &
  kvServer -a 127.0.0.1 -p 9001 &
  kvServer -a 127.0.0.1 -p 9002 &
Then write the three into a server file, and start kvBroker, which makes a cluster of them.

Whoever reaches the port can read and write every record: there are no passwords and nothing is
encrypted. Use a loopback address, or one of a private network.

Records are kept in memory only: a server that is started anew is empty.

The log goes to standard error; RUST_LOG, if set, chooses what it tells (info,triekv=debug).

SIGTERM and Ctrl-C stop the server cleanly: it hands over to the other servers first, within half
a second. A second signal ends it at once.

Exit status: 0 at SIGTERM; 130 at Ctrl-C; 1 when it cannot listen; 2 when an option is missing or
wrong; 143 at a SIGTERM that did not wait.";

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
    let Options { ip_address: address, port, .. } = options;
    let listen_at = match address.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{address}]:{port}"),
        Err(_) => format!("{address}:{port}"),
    };
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut signals = Signals::new()?;
        let server = match Server::builder(TcpTransport::default(), listen_at).start().await {
            // The transport's error names the address.
            Err(ServerError::Listen(error)) => return Err(error.into()),
            server => server?,
        };
        let port = server.address().rsplit(':').next().unwrap_or_default();
        // Nobody has to read it.
        let _ = writeln!(io::stdout(), "Binding the Port: ('{address}', {port})");
        let first = signals.next().await;
        let status = tokio::select! {
            () = server.stop() => if first == TERMINATED { 0 } else { first },
            second = signals.next() => second,
        };
        Ok(ExitCode::from(status))
    })
}

// The exit statuses that shells give to the two signals.
const TERMINATED: u8 = 143;
const INTERRUPTED: u8 = 130;

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATED,
            _ = self.interrupt.recv() => INTERRUPTED,
        }
    }
}

/// Ctrl-C is all that there is elsewhere.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> u8 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => INTERRUPTED,
            Err(_) => std::future::pending().await,
        }
    }
}

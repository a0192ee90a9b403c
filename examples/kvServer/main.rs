//! Keeps records for brokers, together with other servers.

use std::backtrace::Backtrace;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, iter, mem, panic};

use clap::{ArgAction, Parser};
use tokio::runtime;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;
use triekv::log::LogError;
use triekv::replication::{ServerError, ServerFailure};
use triekv::value::Escaped;
use triekv::{Server, TcpTransport};

use fields::HarmlessFields;
use output::Output;

mod fields;
mod host;
mod output;
mod signals;
#[path = "../kvBroker/usage.rs"]
mod usage;

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

A directory that was put back from an older copy is noticed if another server remembers more: the
server begins anew then, empty, and the others fill it. Its old files stay, as past-N.*. While the others
cannot do without it, it waits, and STATUS says so; --accept-past has it go on from what is there.

The log goes to standard error; RUST_LOG, if set, chooses what it tells (info,triekv=debug). Lines
that cannot be written, or that nobody reads, are lost, and the server goes on; it tells how many
once it can.

SIGTERM and Ctrl-C stop the server cleanly: it hands over to the other servers first. That takes
about half a second at most, also while it starts, or waits for its disk: it ends then, and has on
disk what it acknowledged. A second signal ends it at once. SIGHUP counts as SIGTERM, except on Linux
if it was ignored when the server started, as by nohup.

When the disk is full, writes are refused until there is room again, and reads go on; STATUS and the
log tell. Directories are created for their owner alone (0700, files 0600).

Exit status: 0 at SIGTERM; 130 at Ctrl-C; 1 when it cannot listen, its data cannot be read or
written, or a part of it has failed; 2 when an option is missing or wrong; 143 at a second signal, 130
if that is Ctrl-C.";

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
    /// Address or host name to listen at, and at no other; IPv6 with brackets or without
    #[arg(short = 'a', long = "ipAddress", value_name = "ADDR", value_parser = host::parse)]
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
    /// Go on from the directory also if it is from the past; acknowledged writes may be lost
    #[arg(long, conflicts_with = "in_memory")]
    accept_past: bool,
    /// Log each request; twice: also what the consensus under it tells
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Log warnings and errors only
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

/// The longest time that the end waits for lines to be written.
const LAST_LINES_TIME: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let options: Options = usage::options();
    let outputs = Output::new(io::stdout()).and_then(|out| Ok((out, Output::new(io::stderr())?)));
    let (out, log) = match outputs {
        Ok(outputs) => outputs,
        Err(error) => {
            let _ = writeln!(io::stderr(), "[Error] cannot start a thread: {error}");
            return ExitCode::FAILURE;
        }
    };
    start_log(&options, &log);
    let status = run(&options, &out).unwrap_or_else(|error| {
        let causes = iter::successors(Some(&*error), |&error| error.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        log.line(&format!("[Error] {}", Escaped(&causes.join(": "))));
        if let Some(LogError::Corrupt { .. }) = error.downcast_ref() {
            log.line(DAMAGED);
        }
        ExitCode::FAILURE
    });
    let deadline = Instant::now() + LAST_LINES_TIME;
    out.finish(deadline);
    log.finish(deadline);
    status
}

/// Has events and panics told on `log`.
fn start_log(options: &Options, log: &Output) {
    // openraft repeats itself many times a second while another server is down.
    let level = match options.verbose {
        _ if options.quiet => "triekv=warn",
        0 => "triekv=info",
        1 => "triekv=debug",
        _ => "info,triekv=trace",
    };
    let chosen = env::var("RUST_LOG").ok().and_then(|chosen| {
        let filter = EnvFilter::builder().parse(chosen);
        filter.map_err(|error| log.line(&format!("[WARNING] RUST_LOG is left out: {error}"))).ok()
    });
    let lines = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter(chosen.unwrap_or_else(|| EnvFilter::new(level)))
        .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
        .fmt_fields(HarmlessFields)
        .with_writer(move || lines.clone())
        .log_internal_errors(false)
        .init();
    // The hook that is there would wait for whoever does not read standard error.
    let lines = log.clone();
    panic::set_hook(Box::new(move |panic| {
        lines.line(&format!("{panic}\n{}", Backtrace::capture()));
    }));
}

async fn start(options: &Options, listen_at: &str) -> Result<Server<TcpTransport>, Box<dyn Error>> {
    let Options { data_dir, in_memory, accept_past, .. } = options;
    let server = Server::builder(TcpTransport::default(), listen_at);
    let server = match data_dir {
        _ if *in_memory => server,
        Some(data_dir) => server.data_dir(data_dir),
        None => server.data_root(DATA_ROOT),
    };
    let server = if *accept_past { server.accept_past() } else { server };
    match server.start().await {
        // These name the address or the file.
        Err(ServerError::Listen(error)) => Err(error.into()),
        Err(ServerError::Data(error)) => Err(error.into()),
        server => Ok(server?),
    }
}

/// Runs the server, in one lane, until a signal comes.
fn run(options: &Options, out: &Output) -> Result<ExitCode, Box<dyn Error>> {
    let signal = signals::watch()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(serve(options, out, signal));
    // To drop it is to wait for its threads, and they may wait for a disk.
    mem::forget(runtime);
    Ok(ExitCode::from(status?))
}

/// Runs the server until a signal comes, and gives the exit status that comes with the signal.
async fn serve(
    options: &Options,
    out: &Output,
    mut signal: oneshot::Receiver<u8>,
) -> Result<u8, Box<dyn Error>> {
    let Options { ip_address: address, port, .. } = options;
    let mut listen_at = if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    };
    loop {
        let server = tokio::select! {
            started = start(options, &listen_at) => started?,
            status = &mut signal => return Ok(status?),
        };
        let port = server.address().rsplit(':').next().unwrap_or_default();
        out.line(&format!("Binding the Port: ('{}', {port})", Escaped(address)));
        let place = Escaped(server.data_location());
        out.line(&match (options.in_memory, server.is_new()) {
            (true, _) => "Data: in memory, gone when this server stops".to_owned(),
            (_, true) => format!("Data: in {place}, empty: a new server"),
            (_, false) => format!("Data: in {place}, as it was left"),
        });
        tokio::select! {
            status = &mut signal => {
                server.stop().await;
                return Ok(status?);
            }
            // It comes back as a new server, at the same port.
            ServerFailure::FromThePast { .. } = server.failed() => {
                server.address().clone_into(&mut listen_at);
                server.stop().await;
            }
            failure = server.failed() => {
                // To drop it is to wait for its log, and that may wait for a disk.
                mem::forget(server);
                return Err(match failure {
                    // These name the file.
                    ServerFailure::Data(error) => error.into(),
                    failure => failure.into(),
                });
            }
        }
    }
}

//! One run, from the options to the verdict.

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use super::check::{self, Wrong};
use super::cluster::Servers;
use super::faults::{Fault, Trouble};
use super::ground::{Ground, Own};
use super::workload::{History, Workload, connect};

/// How many operations before the wrong one are shown, and how many lines of each server's log.
const HISTORY_LINES: usize = 60;
const LOG_LINES: usize = 40;

/// Fewer writes prove nothing; for each second of the run.
const WRITES_MIN: u64 = 5;

#[derive(Debug, Parser)]
#[command(name = "chaos", about = "A cluster of real servers under a load and under faults")]
struct Options {
    /// How long faults go on [default: 15, or what the environment has as `CHAOS_SECONDS`]
    #[arg(long, default_value_t = default_seconds(), hide_default_value = true)]
    seconds: u64,
    /// What decides about the faults; drawn if it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// How many servers hold each record
    #[arg(long, default_value = "3", value_parser = ["3", "5"])]
    servers: String,
    /// The faults to choose from [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Leave the directory of the servers there when the run fails
    #[arg(long)]
    keep: bool,
    /// Tell what was done when, also if the run passes
    #[arg(short, long)]
    verbose: bool,
    /// Do wrong on purpose, so that the run must fail
    #[arg(long, value_enum)]
    plant: Option<Plant>,
    /// What this run has for itself already
    #[arg(long, value_enum, hide = true)]
    own: Option<Own>,
    #[command(flatten)]
    harness: Harness,
}

/// What the run must find.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Plant {
    /// The servers forget what they have synced when all of them are killed
    Loss,
    /// Clients take what they read as fresh where it may be stale
    StaleReads,
}

/// What `cargo test` hands to every test program.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
struct Harness {
    /// Run only if the name of this test contains one of these
    filters: Vec<String>,
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    no_capture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(short, long, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    test_threads: Option<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    color: Option<String>,
}

fn default_seconds() -> u64 {
    env::var("CHAOS_SECONDS").map_or(15, |seconds| seconds.parse().expect("a number of seconds"))
}

const NAME: &str = "chaos";

impl Harness {
    fn wants(&self) -> bool {
        let names = |filter: &String| {
            if self.exact { filter == NAME } else { NAME.contains(filter.as_str()) }
        };
        let is_named = self.filters.is_empty() || self.filters.iter().any(names);
        is_named && !self.ignored && !self.skip.iter().any(names)
    }
}

pub(super) fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.harness.list {
        if options.harness.wants() {
            println!("{NAME}: test");
        }
        return ExitCode::SUCCESS;
    }
    if !options.harness.wants() {
        return ExitCode::SUCCESS;
    }
    let mut why_not = None;
    if options.own.is_none() {
        match Ground::isolate() {
            Ok(status) if status.success() => return ExitCode::SUCCESS,
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => why_not = Some(error),
        }
    }
    check::check_the_check();
    let ground = Ground::find(options.own, why_not);
    for missing in &ground.missing {
        println!("skipped: {missing}");
    }
    if options.faults.is_empty() {
        options.faults = Fault::value_variants().to_vec();
    }
    let seed = options.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_micros())
    });
    println!("seed {seed}, {} seconds, {} servers", options.seconds, options.servers);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let passed = match runtime.worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(&options, ground, seed)),
        Err(error) => Err(error.to_string()),
    };
    match passed {
        Ok(()) => {
            println!("passed");
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("FAILED with seed {seed}: {what}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options, ground: Ground, seed: u64) -> Result<(), String> {
    let count = options.servers.parse().map_err(|error| format!("--servers: {error}"))?;
    let servers = Servers::start(ground, count, seed)?;
    // It founds the cluster; those that connect later find one.
    let broker = connect(&servers.endpoints(), count, 5_000).await?;
    let stale = options.plant == Some(Plant::StaleReads);
    let workload = Workload::start(servers.endpoints(), seed, stale).await?;
    let history = Arc::clone(&workload.history);
    let mut trouble = Trouble::new(servers, Arc::clone(&history), broker, &options.faults, seed);
    trouble.plants_loss = options.plant == Some(Plant::Loss);

    let until = Instant::now() + Duration::from_secs(options.seconds);
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let outcome = tokio::select! {
        outcome = go_on(&mut trouble, workload, until, seed) => outcome,
        _ = interrupted.recv() => Err("interrupted".to_owned()),
        _ = terminated.recv() => Err("terminated".to_owned()),
    };
    summarize(&history, &trouble);
    let verdict =
        judge(&history).and(outcome).and_then(|()| judge_run(&history, &trouble, options));
    if verdict.is_err() || options.verbose {
        println!("{}", trouble.diary.join("\n"));
    }
    if verdict.is_err() {
        println!("{}", trouble.servers.tails(LOG_LINES));
    }
    if options.keep && verdict.is_err() {
        let directory = trouble.servers.end_and_keep()?;
        println!("the servers' directories are in {}", directory.display());
    }
    verdict
}

async fn go_on(
    trouble: &mut Trouble,
    workload: Workload,
    until: Instant,
    seed: u64,
) -> Result<(), String> {
    let troubled = trouble.run(until).await;
    // Whatever went wrong, the histories may tell more.
    let finished = workload.finish(seed).await;
    troubled.and(finished)?;
    trouble.servers.check_running()
}

/// Says what came, and what it cost.
fn summarize(history: &History, trouble: &Trouble) {
    println!("operations {}", history.counts());
    println!(
        "{:>14} {:>6} {:>6}  write outage median, max; recovery median, max",
        "fault", "times", "bites"
    );
    let mut times: BTreeMap<Fault, [Vec<Duration>; 2]> = BTreeMap::new();
    for passed in &trouble.passed {
        let [outages, recoveries] = times.entry(passed.fault).or_default();
        outages.extend(history.outage(passed.from));
        recoveries.extend(passed.recovery);
    }
    for (fault, bites) in &trouble.bites {
        let count = trouble.passed.iter().filter(|passed| passed.fault == *fault).count();
        let [outages, recoveries] = times.remove(fault).unwrap_or_default();
        let (outages, recoveries) = (median_max(outages), median_max(recoveries));
        println!("{:>14} {count:>6} {bites:>6}  {outages}; {recoveries}", fault.name());
    }
}

fn median_max(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(max)) => format!("{median:.2?}, {max:.2?}"),
        _ => "none".to_owned(),
    }
}

fn judge(history: &History) -> Result<(), String> {
    // What a client was about to write when it was given up is not in the history.
    if !history.is_complete() {
        return Ok(());
    }
    if let Err(Wrong { what, history }) = check::check(&history.operations()) {
        for operation in &history[history.len().saturating_sub(HISTORY_LINES)..] {
            println!("{operation}");
        }
        return Err(what);
    }
    Ok(())
}

/// Whether the run proves something.
fn judge_run(history: &History, trouble: &Trouble, options: &Options) -> Result<(), String> {
    trouble.servers.check_logs()?;
    if !trouble.without_bite.is_empty() {
        return Err(format!("without effect: {}", trouble.without_bite.join("; ")));
    }
    let written = history.counts().written;
    if written < WRITES_MIN * options.seconds {
        return Err(format!("only {written} writes were acknowledged"));
    }
    Ok(())
}

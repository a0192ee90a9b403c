//! Histories: clients write and read a few keys while servers, disks and the network fail, and what
//! they were told has to be what one record for each key could have told them.
//!
//! A run is decided by its seed as far as a plan can: what happens to whom, when and for how long,
//! and what each client asks for. Servers draw elections' time-outs and ids by themselves, so that a
//! seed that failed is likely to fail again, and not certain to.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use triekv::replication::{Broker, BrokerError};
use triekv::store::{Put, Record};
use triekv::{CommandError, Condition, Value, value};

use super::network::{Chances, Event, Fate, Link, Network};
use super::{builder, connect, name};
use crate::power::Clock;

mod leaders;
mod linearizability;
mod outcome;
mod plan;
mod trouble;

use leaders::Leaders;
use linearizability::{Action, Document, Operation, Outcome};
use outcome::Records;
use plan::{Draws, Plan};
use trouble::{Counts, Servers, add};

/// Keys that all clients share.
const KEYS: u64 = 5;
const CLIENTS: u64 = 15;

/// How long a client may rest between two operations, in milliseconds.
const REST_MILLIS: u64 = 30;

/// Keys that are spread over all shards, nearly certainly.
const PROBES: u64 = 24;

/// How long it may take, once all is well, until every shard takes writes, and until all replicas
/// are equal.
const HEALING_TIME: Duration = Duration::from_secs(5);

/// How many seeds more are run for a fault that has not met anybody.
const SEEDS_MORE: u64 = 4;

/// What the clients were told.
#[derive(Debug, Default)]
struct History {
    clock: AtomicU64,
    operations: Mutex<Vec<Operation>>,
    /// The versions of what was put at keys that are put once.
    once: Mutex<BTreeMap<String, u64>>,
}

impl History {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn add(&self, key: u64, began: u64, action: Action, outcome: Outcome) {
        let operation = Operation { key, began, ended: self.tick(), action, outcome };
        self.operations.lock().unwrap().push(operation);
    }

    async fn get(&self, broker: &Broker<Network>, key: u64) -> Result<Option<u64>, BrokerError> {
        let began = self.tick();
        let record = broker.get(&format!("key{key}")).await?;
        let version = record.as_ref().map(|record| record.version);
        self.add(key, began, Action::Get, Outcome::Found(record.map(read)));
        Ok(version)
    }
}

fn integer(value: Option<&Value>) -> Option<i64> {
    value.map(|value| match value {
        Value::Int(n) => *n,
        other => panic!("the record holds {other:?}"),
    })
}

fn read(record: Record) -> (u64, Document) {
    let Record { version, value } = record;
    let Value::Map(map) = value else { panic!("a record is a map") };
    let (value, part) = (integer(map.get("value")), integer(map.get("part")));
    (version, Document { value, part })
}

fn written(put: Result<Put, BrokerError>) -> Outcome {
    match put {
        Ok(Put { version, created }) => Outcome::Written { version, created },
        Err(BrokerError::Store(CommandError::Conflict { found, .. })) => {
            Outcome::Conflict { found }
        }
        Err(error) if error.is_ambiguous() => Outcome::Unknown,
        Err(_) => Outcome::Failed,
    }
}

/// A client of a broker.
struct Client {
    broker: Broker<Network>,
    number: u64,
    draws: Draws,
    history: Arc<History>,
    /// The version that was found last at each key.
    known: BTreeMap<u64, u64>,
}

impl Client {
    /// Writes and reads until told to stop.
    async fn run(mut self, stop: Arc<AtomicBool>) {
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let key = self.draws.below(KEYS);
            match self.draws.below(100) {
                0..25 => self.put(key, Condition::Always).await,
                25..33 => self.put(key, Condition::IfAbsent).await,
                33..45 => {
                    let version = self.known.get(&key).copied().unwrap_or(1);
                    self.put(key, Condition::IfVersion(version)).await;
                }
                45..55 => self.set(key).await,
                55..65 => self.delete(key).await,
                65..75 => self.put_once(turn).await,
                75..92 => {
                    if let Ok(Some(version)) = self.history.get(&self.broker, key).await {
                        self.known.insert(key, version);
                    }
                }
                _ => self.query(key).await,
            }
            sleep(self.draws.millis(0, REST_MILLIS)).await;
        }
    }

    async fn put(&mut self, key: u64, condition: Condition) {
        let began = self.history.tick();
        let value = i64::try_from(began).unwrap();
        let (name, record) = (format!("key{key}"), value!({ "value": value }));
        let outcome = written(self.broker.put_if(&name, record, condition).await);
        if let Outcome::Written { version, .. } = outcome {
            self.known.insert(key, version);
        }
        self.history.add(key, began, Action::Put { value, condition }, outcome);
    }

    async fn set(&mut self, key: u64) {
        let began = self.history.tick();
        let part = i64::try_from(began).unwrap();
        let outcome = written(self.broker.set(&format!("key{key}.part"), value!(part)).await);
        let action = Action::Set { part, condition: Condition::Always };
        self.history.add(key, began, action, outcome);
    }

    async fn delete(&mut self, key: u64) {
        let began = self.history.tick();
        let outcome = match self.broker.delete(&format!("key{key}")).await {
            Ok(existed) => Outcome::Deleted { existed },
            Err(error) if error.is_ambiguous() => Outcome::Unknown,
            Err(_) => Outcome::Failed,
        };
        self.history.add(key, began, Action::Delete, outcome);
    }

    async fn query(&mut self, key: u64) {
        let began = self.history.tick();
        if let Ok(value) = self.broker.query(&format!("key{key}.value")).await {
            let outcome = Outcome::Value(integer(value.as_ref()));
            self.history.add(key, began, Action::Query, outcome);
        }
    }

    async fn put_once(&mut self, turn: u64) {
        let key = format!("once{}-{turn}", self.number);
        if let Ok(put) = self.broker.put(&key, value!({ "value": 0 })).await {
            self.history.once.lock().unwrap().insert(key, put.version);
        }
    }
}

/// What a run is of.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Of the test, which is how a run is repeated.
    test: &'static str,
    servers: usize,
    snapshot_entries: u64,
    on_disk: bool,
}

/// A run, as far as it has come.
struct Running {
    run: Run,
    network: Network,
    servers: Servers,
    leaders: Leaders,
    brokers: Vec<Broker<Network>>,
    /// A broker for each server, that is going to see this one alone.
    observers: Vec<Broker<Network>>,
    history: Arc<History>,
    counts: Counts,
}

fn observer(number: usize) -> String {
    format!("observer{number}")
}

impl Running {
    async fn start(run: Run, seed: u64, clock: &Clock, leaders: Leaders) -> Self {
        let Run { servers: count, snapshot_entries, on_disk, .. } = run;
        let network = Network::new(seed);
        let clock = on_disk.then_some(clock);
        let of = (count, snapshot_entries);
        let servers = Servers::start(&network, &leaders, clock, of).await;
        let mut brokers = Vec::new();
        // Some give up early, so that what they asked for comes after they have gone on.
        for (number, patience) in [2500, 2500, 300].into_iter().enumerate() {
            let broker = builder(&network, &format!("broker{number}"), count).copies(count);
            let broker = broker.deadline(Duration::from_millis(patience));
            brokers.push(broker.connect().await.unwrap());
        }
        let mut observers = Vec::new();
        for number in 0..count {
            observers.push(connect(&network, &observer(number), count, count).await);
            for other in (0..count).filter(|other| *other != number) {
                network.set(&observer(number), &name(other), Link::Refused);
            }
        }
        let (history, counts) = (Arc::default(), Counts::new());
        Self { run, network, servers, leaders, brokers, observers, history, counts }
    }

    /// Has the clients work while everything fails that the plan has.
    async fn trouble(&mut self, seed: u64, plan: &Plan) {
        let (stop, began) = (Arc::<AtomicBool>::default(), Instant::now());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let broker =
                self.brokers[usize::try_from(number).unwrap() % self.brokers.len()].clone();
            let (draws, history) = (Draws::new(seed, number + 1), Arc::clone(&self.history));
            let client = Client { broker, number, draws, history, known: BTreeMap::new() };
            clients.spawn(client.run(Arc::clone(&stop)));
        }
        self.network.set_chances(plan.chances);
        let names = (0..self.brokers.len()).map(|number| format!("broker{number}"));
        let (names, ids): (Vec<String>, _) = (names.collect(), self.servers.ids.clone());
        let cuts = trouble::cuts(&self.network, plan, &self.leaders, &ids, &names);
        let outages = self.servers.outages(plan);
        let (cuts, outages) = if self.run.on_disk {
            tokio::join!(cuts, outages)
        } else {
            // What is lost does not come back: with a cut beside it, nothing would go on.
            (cuts.await, outages.await)
        };
        self.network.set_chances(Chances::default());
        for (what, count) in cuts.into_iter().chain(outages) {
            add(&mut self.counts, &what, count);
        }
        add(&mut self.counts, "milliseconds of trouble", millis(began.elapsed()));
        self.writing_works_again().await;
        stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
    }

    async fn writing_works_again(&mut self) {
        let began = Instant::now();
        for probe in 0..PROBES {
            let key = format!("probe{probe}");
            while let Err(error) = self.brokers[0].put(&key, value!({ "value": 1 })).await {
                assert!(began.elapsed() < HEALING_TIME, "{key} cannot be put: {error}");
            }
        }
        let took = began.elapsed();
        assert!(took < HEALING_TIME, "it took {took:?} until all could be put");
        add(&mut self.counts, "milliseconds until writes worked", millis(took));
    }

    /// What is there now, by way of the leaders. Reads of the shared keys are part of the history.
    async fn records(&self) -> Records {
        let mut keys: Vec<String> = (0..KEYS).map(|key| format!("key{key}")).collect();
        keys.extend((0..PROBES).map(|probe| format!("probe{probe}")));
        keys.extend(self.history.once.lock().unwrap().keys().cloned());
        for key in 0..KEYS {
            self.history.get(&self.brokers[0], key).await.unwrap();
        }
        let mut reads = JoinSet::new();
        for key in keys {
            let broker = self.brokers[0].clone();
            reads.spawn(async move { (broker.get(&key).await.unwrap(), key) });
        }
        reads.join_all().await.into_iter().map(|(record, key)| (key, record)).collect()
    }

    /// What the replicas have, by server.
    async fn replicas(&self, keys: &Records) -> BTreeMap<String, Records> {
        let mut reads = JoinSet::new();
        for number in self.servers.running() {
            for key in keys.keys().cloned() {
                let observer = self.observers[number].clone();
                reads.spawn(async move {
                    let read = observer.get_stale(&key).await.unwrap();
                    assert_eq!(read.replicas, 1, "an observer sees one server");
                    (name(number), key, read.answer)
                });
            }
        }
        let mut replicas: BTreeMap<String, Records> = BTreeMap::new();
        for (server, key, record) in reads.join_all().await {
            replicas.entry(server).or_default().insert(key, record);
        }
        replicas
    }

    async fn check(&mut self) -> Result<(), String> {
        let records = self.records().await;
        let once = self.history.once.lock().unwrap().clone();
        outcome::check_durable(&once, &records)?;
        let began = Instant::now();
        loop {
            match outcome::check_equal(&records, &self.replicas(&records).await) {
                Ok(()) => break,
                Err(wrong) if began.elapsed() > HEALING_TIME => return Err(wrong),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        let took = millis(began.elapsed());
        add(&mut self.counts, "milliseconds until replicas were equal", took);
        let terms = self.leaders.check()?;
        add(&mut self.counts, "elections", terms as u64);
        let operations = self.history.operations.lock().unwrap();
        linearizability::check(&operations)
    }

    fn count(&mut self) {
        let operations = self.history.operations.lock().unwrap();
        let counts = &mut self.counts;
        add(counts, "operations", operations.len() as u64);
        add(counts, "writes put once", self.history.once.lock().unwrap().len() as u64);
        for operation in &*operations {
            let (what, is_conditional) = match operation.action {
                Action::Put { condition, .. } => ("puts", condition != Condition::Always),
                Action::Set { .. } => ("partial writes", false),
                Action::Delete => ("deletes", false),
                Action::Get | Action::Query => ("reads", false),
            };
            let how = match operation.outcome {
                Outcome::Conflict { .. } => "refused by their condition",
                Outcome::Unknown => "of unknown outcome",
                Outcome::Failed => "that failed",
                _ if is_conditional => "whose condition held",
                _ => "answered",
            };
            add(counts, &format!("{what} {how}"), 1);
        }
        for Event { from, fate, .. } in self.network.events(0) {
            let who = if from.starts_with("server") { "servers" } else { "clients" };
            match fate {
                Fate::RequestLost | Fate::AnswerLost | Fate::Duplicated | Fate::Delayed => {
                    add(counts, &format!("requests of {who}: {fate:?}"), 1);
                }
                Fate::Delivered | Fate::Refused | Fate::Held => {}
            }
        }
        self.servers.count_disks(counts);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

fn hash(of: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(of)
}

/// What a run came to.
struct Report {
    counts: Counts,
    /// Of the plan, and of every request with its fate.
    plan_hash: u64,
    trace_hash: u64,
    operations: usize,
}

/// Tells how to repeat a run, if it panics.
struct Replay(Run, u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (test, seed) = (self.0.test, self.1);
            eprintln!("seed {seed}: FAULT_SEED={seed} cargo test --test it history::{test}");
        }
    }
}

fn run(run: Run, seed: u64) -> Report {
    let _replay = Replay(run, seed);
    let (clock, leaders) = (Clock::default(), Leaders::default());
    let _listening = leaders.listen();
    let plan = Plan::new(seed, run.servers);
    let runtime = clock.runtime();
    let report = runtime.block_on(async {
        let mut running = Running::start(run, seed, &clock, leaders).await;
        running.trouble(seed, &plan).await;
        let checked = running.check().await;
        running.count();
        checked.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}\n{:#?}", running.counts));
        let mut trace = DefaultHasher::new();
        for Event { from, to, len, fate } in running.network.events(0) {
            format!("{from} {to} {len} {fate:?}").hash(&mut trace);
        }
        let operations = running.history.operations.lock().unwrap().len();
        let (plan_hash, trace_hash) = (hash(&plan), trace.finish());
        Report { counts: running.counts, plan_hash, trace_hash, operations }
    });
    assert!(report.operations > 200, "seed {seed}: only {} operations", report.operations);
    assert_eq!(clock.late(), 0, "seed {seed}: the clock went on while a disk was busy");
    report
}

/// The seed in `FAULT_SEED`, or 1 to the number in `FAULT_SEEDS`, or as many as are given.
fn seeds(given: u64) -> std::ops::RangeInclusive<u64> {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
    };
    match (number("FAULT_SEED"), number("FAULT_SEEDS")) {
        (Some(seed), _) => seed..=seed,
        (None, count) => 1..=count.unwrap_or(given),
    }
}

/// The faults that have to meet somebody in the runs of a test.
fn faults(of: Run) -> Vec<String> {
    let mut faults = vec!["puts of unknown outcome".to_owned()];
    faults.extend(plan::CUTS.map(|cut| format!("requests lost by {cut:?}")));
    for who in ["servers", "clients"] {
        let fates = [Fate::RequestLost, Fate::AnswerLost, Fate::Duplicated, Fate::Delayed];
        faults.extend(fates.map(|fate| format!("requests of {who}: {fate:?}")));
    }
    if of.on_disk {
        faults.extend(plan::OUTAGES.map(|outage| format!("{outage:?}")));
        faults.extend(["slow syncs", "power cuts that lost what was not synced"].map(Into::into));
        if of.snapshot_entries < 100 {
            faults.extend(["snapshots", "snapshots sent to others"].map(Into::into));
        }
    }
    faults
}

/// Runs all seeds, and makes sure that each fault has met somebody: further seeds are run while one
/// has not, since no seed alone decides what servers are doing when it comes.
fn run_all(of: Run, given: u64) {
    let seeds = seeds(given);
    let began = std::time::Instant::now();
    let mut counts = Counts::new();
    let mut missing = faults(of);
    for seed in *seeds.start().. {
        if seed > *seeds.end() && missing.is_empty() {
            break;
        }
        assert!(seed <= seeds.end() + SEEDS_MORE, "no {missing:?} in {counts:#?}");
        let report = run(of, seed);
        let Report { plan_hash, trace_hash, operations, .. } = report;
        println!("seed {seed}: {operations} operations, {plan_hash:016x} {trace_hash:016x}");
        for (what, count) in report.counts {
            add(&mut counts, &what, count);
        }
        if std::env::var_os("FAULT_SEED").is_some() {
            // A run by itself is repeated for what it shows.
            break;
        }
        missing.retain(|fault| counts.get(fault).is_none_or(|count| *count == 0));
    }
    println!("{of:?}, from {seeds:?} in {:.1?}: {counts:#?}", began.elapsed());
}

#[test]
fn three_servers_tell_one_history() {
    let test = "three_servers_tell_one_history";
    run_all(Run { test, servers: 3, snapshot_entries: 5_000, on_disk: true }, 1);
}

#[test]
fn three_servers_that_make_snapshots_tell_one_history() {
    let test = "three_servers_that_make_snapshots_tell_one_history";
    run_all(Run { test, servers: 3, snapshot_entries: 20, on_disk: true }, 1);
}

#[test]
fn five_servers_tell_one_history() {
    let test = "five_servers_tell_one_history";
    run_all(Run { test, servers: 5, snapshot_entries: 20, on_disk: true }, 1);
}

#[test]
fn servers_in_memory_tell_one_history() {
    let test = "servers_in_memory_tell_one_history";
    run_all(Run { test, servers: 3, snapshot_entries: 20, on_disk: false }, 1);
}

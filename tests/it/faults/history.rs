//! Histories: clients write and read a few keys while servers and the network fail, and what they
//! were told is checked against what a register may do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use triekv::replication::{Broker, Server};
use triekv::store::Record;
use triekv::{Value, value};

use super::network::{Chances, Fate, Network};
use super::{TIMING, builder, name, start};
use crate::power::Machine;

const KEYS: u64 = 5;
const CLIENTS: u64 = 9;
const CHANCES: Chances = Chances { request_lost: 2, answer_lost: 30, duplicated: 50, delayed: 20 };

/// No copy of a request comes by itself, after its sender was refused, to a server that has come
/// back since: over a connection none does.
const CHANCES_OF_OUTAGES: Chances = Chances { duplicated: 0, ..CHANCES };

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    /// This value was put, as this version.
    Put { value: i64, version: u64 },
    /// This value may have been put.
    Unknown,
    /// This value was not put.
    Failed { value: i64 },
    /// This version was there, with this value.
    Found { value: i64, version: u64 },
    /// Nothing was there.
    Nothing,
}

impl Outcome {
    /// The version that it tells of, 0 for none.
    fn version(self) -> Option<u64> {
        match self {
            Self::Put { version, .. } | Self::Found { version, .. } => Some(version),
            Self::Nothing => Some(0),
            Self::Unknown | Self::Failed { .. } => None,
        }
    }
}

/// One operation of a client. Beginnings and ends of all clients are numbered in one order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Operation {
    key: u64,
    began: u64,
    ended: u64,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct History {
    clock: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl History {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn add(&self, key: u64, began: u64, outcome: Outcome) {
        let operation = Operation { key, began, ended: self.tick(), outcome };
        self.operations.lock().unwrap().push(operation);
    }
}

/// Whether a register for each key, to which each value is put once at most, could have told the
/// clients this; else what is wrong.
fn check(operations: &[Operation]) -> Result<(), String> {
    let keys: BTreeSet<u64> = operations.iter().map(|operation| operation.key).collect();
    for key in keys {
        let of_key: Vec<_> = operations.iter().filter(|o| o.key == key).copied().collect();
        check_values(&of_key)?;
        check_order(&of_key)?;
    }
    Ok(())
}

/// Each version has one value, each value one version, and what failed is never found.
fn check_values(operations: &[Operation]) -> Result<(), String> {
    let (mut values, mut versions) = (BTreeMap::new(), BTreeMap::new());
    for operation in operations {
        match operation.outcome {
            Outcome::Put { value, version } | Outcome::Found { value, version } => {
                if *values.entry(version).or_insert(value) != value {
                    return Err(format!("two values are version {version}: {operation:?}"));
                }
                if *versions.entry(value).or_insert(version) != version {
                    return Err(format!("value {value} was put twice: {operation:?}"));
                }
            }
            Outcome::Unknown | Outcome::Failed { .. } | Outcome::Nothing => {}
        }
    }
    for operation in operations {
        if let Outcome::Failed { value } = operation.outcome
            && versions.contains_key(&value)
        {
            return Err(format!("a put that failed was carried out: {operation:?}"));
        }
    }
    Ok(())
}

/// What ended before an operation began is older than a put, and no newer than what a read finds.
fn check_order(operations: &[Operation]) -> Result<(), String> {
    let told = operations.iter().filter_map(|o| Some((o, o.outcome.version()?)));
    let mut by_began: Vec<_> = told.collect();
    let mut by_ended = by_began.clone();
    by_began.sort_by_key(|(operation, _)| operation.began);
    by_ended.sort_by_key(|(operation, _)| operation.ended);
    let mut before = by_ended.into_iter().peekable();
    let mut newest = None;
    for (operation, version) in by_began {
        while let Some(done) = before.next_if(|(done, _)| done.ended < operation.began) {
            newest = newest.max(Some((done.1, done.0.began)));
        }
        let Some((known, began)) = newest else { continue };
        let is_put = matches!(operation.outcome, Outcome::Put { .. });
        if version < known || (is_put && version == known) {
            return Err(format!("version {known} of {began} was known before {operation:?}"));
        }
    }
    Ok(())
}

fn found(record: Option<Record>) -> Outcome {
    let Some(Record { version, value }) = record else { return Outcome::Nothing };
    let Value::Map(map) = value else { panic!("a record is a map") };
    let Some(Value::Int(value)) = map.get("n") else { panic!("the record holds {map:?}") };
    Outcome::Found { value: *value, version }
}

/// Writes and reads until told to stop.
async fn client(
    broker: Broker<Network>,
    number: u64,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
) {
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let key = (turn * 7 + number) % KEYS;
        let began = history.tick();
        if turn.is_multiple_of(2) {
            let value = i64::try_from(began).unwrap();
            let put = broker.put(&format!("key{key}"), value!({ "n": value })).await;
            let outcome = match put {
                Ok(put) => Outcome::Put { value, version: put.version },
                Err(error) if error.is_ambiguous() => Outcome::Unknown,
                Err(_) => Outcome::Failed { value },
            };
            history.add(key, began, outcome);
        } else if let Ok(record) = broker.get(&format!("key{key}")).await {
            history.add(key, began, found(record));
        }
    }
}

/// Cuts servers off, crashes and stops them, always leaving a majority that can talk.
async fn trouble(network: &Network, servers: &mut Servers) {
    let mut spare = (servers.len() - 1) / 2;
    for step in 0..12 {
        sleep(Duration::from_millis(network.draw(400))).await;
        let alive: Vec<usize> = (0..servers.len()).filter(|n| servers[*n].is_some()).collect();
        let victim = alive[usize::try_from(network.draw(alive.len() as u64)).unwrap()];
        if spare > 0 && matches!(step, 8 | 10) {
            spare -= 1;
            let server = servers[victim].take().unwrap();
            if network.draw(2) == 0 {
                drop(server);
            } else {
                server.stop().await;
            }
        } else if spare > 0 {
            network.isolate(&name(victim));
            sleep(Duration::from_millis(200 + network.draw(1000))).await;
            network.heal(&name(victim));
        }
    }
}

/// Servers on disks, whose power is cut: of one, of some, of all.
struct Outages {
    machines: Vec<Machine>,
    snapshot_entries: u64,
}

impl Outages {
    async fn start(network: &Network, count: usize, snapshot_entries: u64) -> (Self, Servers) {
        let machines = (0..count).map(|_| Machine::new()).collect();
        let mut outages = Self { machines, snapshot_entries };
        let mut servers: Servers = (0..count).map(|_| None).collect();
        for number in 0..count {
            outages.restart(network, &mut servers, number).await;
        }
        (outages, servers)
    }

    async fn restart(&mut self, network: &Network, servers: &mut Servers, number: usize) {
        let server = || {
            let server = Server::builder(network.named(&name(number)), name(number));
            server.timing(TIMING).snapshot_entries(self.snapshot_entries)
        };
        servers[number] = Some(self.machines[number].start(server).await.unwrap());
    }

    /// Cuts servers off the network and off their power, and always brings them back.
    async fn trouble(&mut self, network: &Network, servers: &mut Servers) {
        let count = servers.len();
        for step in 0..10 {
            sleep(Duration::from_millis(100 + network.draw(400))).await;
            let first = usize::try_from(network.draw(count as u64)).unwrap();
            let victims = match step {
                4 | 8 => count,
                6 => count.div_ceil(2),
                _ => 1,
            };
            let victims: Vec<usize> = (0..victims).map(|n| (first + n) % count).collect();
            for victim in &victims {
                self.machines[*victim].cut(network.draw(1 << 32));
                servers[*victim] = None;
            }
            sleep(Duration::from_millis(network.draw(600))).await;
            for victim in victims {
                self.restart(network, servers, victim).await;
            }
            if step % 3 == 0 {
                network.isolate(&name(first));
                sleep(Duration::from_millis(200 + network.draw(600))).await;
                network.heal(&name(first));
            }
        }
    }
}

type Servers = Vec<Option<Server<Network>>>;

/// What goes wrong in a run.
enum Trouble {
    /// Servers in memory, of which a majority stays.
    Crashes,
    /// See [`Outages`].
    Outages,
}

async fn run(seed: u64, count: usize, snapshot_entries: u64, kind: Trouble) {
    let network = Network::new(seed);
    let (mut outages, mut servers) = match kind {
        Trouble::Crashes => (None, start(&network, count, snapshot_entries).await),
        Trouble::Outages => {
            let (outages, servers) = Outages::start(&network, count, snapshot_entries).await;
            (Some(outages), servers)
        }
    };
    let mut brokers = Vec::new();
    // Some give up early, so that what they asked for comes after they have gone on.
    for (number, patience) in [2500, 2500, 300].into_iter().enumerate() {
        let broker = builder(&network, &format!("broker{number}"), count).copies(count);
        let broker = broker.deadline(Duration::from_millis(patience)).connect().await;
        brokers.push(broker.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    }
    let (history, stop) = (Arc::<History>::default(), Arc::<AtomicBool>::default());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let broker = brokers[usize::try_from(number).unwrap() % brokers.len()].clone();
        clients.spawn(client(broker, number, Arc::clone(&history), Arc::clone(&stop)));
    }
    let mut fates = vec![Fate::RequestLost, Fate::AnswerLost, Fate::Delayed];
    let enough = match &mut outages {
        None => {
            network.set_chances(CHANCES);
            trouble(&network, &mut servers).await;
            fates.push(Fate::Duplicated);
            200
        }
        Some(outages) => {
            network.set_chances(CHANCES_OF_OUTAGES);
            outages.trouble(&network, &mut servers).await;
            // Elections take most of the time, and the clock is a real one.
            50
        }
    };
    network.set_chances(Chances::default());
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;

    for key in 0..KEYS {
        let began = history.tick();
        let mut tries = 0;
        let record = loop {
            match brokers[0].get(&format!("key{key}")).await {
                Ok(record) => break record,
                Err(error) => assert!(tries < 10, "seed {seed}, key{key}: {error}"),
            }
            tries += 1;
        };
        history.add(key, began, found(record));
    }
    let operations = history.operations.lock().unwrap();
    let answered = operations.iter().filter(|o| o.outcome.version().is_some()).count();
    assert!(answered > enough, "seed {seed}: only {answered} operations were answered");
    for fate in fates {
        assert!(network.count(fate) > 0, "seed {seed}: no request was {fate:?}");
    }
    if let Err(wrong) = check(&operations) {
        panic!("seed {seed}, {} operations: {wrong}", operations.len());
    }
}

/// The given seeds, or 1 to the number in `FAULT_SEEDS`.
fn seeds(given: &[u64]) -> Vec<u64> {
    match std::env::var("FAULT_SEEDS") {
        Ok(count) => (1..=count.parse().expect("FAULT_SEEDS is a number")).collect(),
        Err(_) => given.to_vec(),
    }
}

#[tokio::test(start_paused = true)]
async fn three_servers_in_trouble_tell_one_history() {
    for seed in seeds(&[1]) {
        run(seed, 3, 5_000, Trouble::Crashes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn three_servers_in_trouble_that_make_snapshots_tell_one_history() {
    for seed in seeds(&[2]) {
        run(seed, 3, 20, Trouble::Crashes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn five_servers_in_trouble_tell_one_history() {
    for seed in seeds(&[3]) {
        run(seed, 5, 60, Trouble::Crashes).await;
    }
}

// The clock runs: a paused one goes on while a disk's thread works.
#[tokio::test]
async fn three_servers_that_lose_their_power_tell_one_history() {
    for seed in seeds(&[4]) {
        run(seed, 3, 5_000, Trouble::Outages).await;
    }
}

#[tokio::test]
async fn three_servers_that_lose_their_power_and_make_snapshots_tell_one_history() {
    for seed in seeds(&[5]) {
        run(seed, 3, 20, Trouble::Outages).await;
    }
}

#[test]
fn the_check_sees_every_kind_of_wrong() {
    let operation = |began, ended, outcome| Operation { key: 0, began, ended, outcome };
    let put = |value| Outcome::Put { value, version: u64::try_from(value).unwrap() };
    let found = |value| Outcome::Found { value, version: u64::try_from(value).unwrap() };
    let right = [
        operation(0, 1, Outcome::Nothing),
        operation(2, 5, put(1)),
        operation(3, 4, found(1)),
        operation(6, 7, Outcome::Unknown),
        operation(8, 9, put(3)),
        operation(8, 10, Outcome::Failed { value: 9 }),
        operation(11, 12, found(3)),
    ];
    assert_eq!(check(&right), Ok(()));
    let wrong = [
        (operation(13, 14, found(1)), "was known before"),
        (operation(13, 14, Outcome::Nothing), "was known before"),
        (operation(13, 14, put(2)), "was known before"),
        (operation(13, 14, Outcome::Found { value: 3, version: 4 }), "was put twice"),
        (operation(13, 14, Outcome::Found { value: 4, version: 3 }), "two values"),
        (operation(13, 14, found(9)), "that failed was carried out"),
    ];
    for (last, what) in wrong {
        let error = check(&[&right[..], &[last]].concat()).unwrap_err();
        assert!(error.contains(what), "{last:?}: {error}");
    }
}

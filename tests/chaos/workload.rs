//! Clients that write and read while servers fail, and note what they were told.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use triekv::replication::Refusal;
use triekv::store::{Put, Record};
use triekv::{Broker, BrokerError, CommandError, Condition, Page, TcpTransport, Value, value};

use super::check::{Asked, Operation, Told};

pub(crate) type TcpBroker = Broker<TcpTransport>;

/// Keys that are written and read all the time.
const KEYS: usize = 8;

/// Clients of each of them, besides the one that never rests.
const CLIENTS: usize = 2;

/// Clients that write new keys.
const APPENDERS: usize = 2;

/// How long commands of the brokers may take: the first is that of those that never rest. Some give
/// up early, so that what they asked for comes after they have gone on.
const DEADLINES: [u64; 5] = [5_000, 5_000, 1_500, 600, 250];

/// What keys that are written once begin with.
const APPENDED: &str = "append-";

/// How long it may take to connect, and to read all at the end.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was asked and told, of all clients.
#[derive(Debug)]
pub(crate) struct History {
    start: Instant,
    clock: AtomicU64,
    values: AtomicU64,
    operations: Mutex<Vec<Operation>>,
    /// By key: when the newest acknowledged write of the client that never rests began, in
    /// milliseconds.
    pulses: Vec<AtomicU64>,
    disk_full: AtomicU64,
    /// Whether all clients have ended and noted all that they did.
    is_complete: AtomicBool,
}

impl History {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            clock: AtomicU64::new(0),
            values: AtomicU64::new(0),
            operations: Mutex::default(),
            pulses: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
            disk_full: AtomicU64::new(0),
            is_complete: AtomicBool::new(false),
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether each key had a write that began after this and was acknowledged.
    pub(crate) fn is_answered_since(&self, since: Duration) -> bool {
        let begun = |pulse: &AtomicU64| u128::from(pulse.load(Ordering::SeqCst));
        self.pulses.iter().all(|pulse| begun(pulse) > since.as_millis())
    }

    /// How many writes were refused since a disk is full.
    pub(crate) fn disk_full(&self) -> u64 {
        self.disk_full.load(Ordering::SeqCst)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::SeqCst)
    }

    pub(crate) fn operations(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> BTreeSet<String> {
        self.operations().iter().map(|operation| operation.key.clone()).collect()
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn next_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The longest time, of all keys, from a moment to the end of the first write after it.
    pub(crate) fn outage(&self, since: Duration) -> Option<Duration> {
        let operations = self.operations();
        let first = |number: usize| {
            let of_key = operations.iter().filter(|operation| {
                operation.from >= since
                    && matches!(operation.told, Told::Put { .. } | Told::Deleted(_))
                    && operation.key == key(number)
            });
            of_key.map(|operation| operation.until.saturating_sub(since)).min()
        };
        (0..KEYS).map(first).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// How many operations ended in which way.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for operation in self.operations().iter() {
            let is_read = operation.asked == Asked::Read;
            let counter = match operation.told {
                Told::Put { .. } | Told::Deleted(_) => &mut counts.written,
                Told::Conflict { .. } => &mut counts.conflicts,
                Told::Record(_) | Told::Value(_) => &mut counts.read,
                Told::Unknown | Told::Failed if is_read => &mut counts.reads_failed,
                Told::Unknown => &mut counts.unknown,
                Told::Failed => &mut counts.failed,
            };
            *counter += 1;
        }
        counts
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: u64,
    conflicts: u64,
    read: u64,
    failed: u64,
    unknown: u64,
    reads_failed: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, conflicts, read, failed, unknown, reads_failed } = self;
        let all = written + conflicts + read + failed + unknown + reads_failed;
        write!(f, "{all}: {written} written, {read} read, {conflicts} conflicts, ")?;
        write!(f, "{failed} writes failed, {unknown} unknown, {reads_failed} reads failed")
    }
}

fn key(number: usize) -> String {
    format!("key{number}")
}

fn n(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a record holds {value:?}"))
}

fn told_record(record: Option<Record>) -> Told {
    Told::Record(record.map(|Record { version, value }| {
        let Value::Map(map) = &value else { panic!("a record is {value:?}") };
        (version, n(map.get("n").unwrap_or_else(|| panic!("a record is {value:?}"))))
    }))
}

/// How a client reads.
#[derive(Clone, Copy)]
enum Way {
    Get,
    Query,
    /// What must not be taken for one of the others.
    Stale,
}

struct Client {
    broker: TcpBroker,
    history: Arc<History>,
    draws: ChaCha8Rng,
}

impl Client {
    async fn rest(&mut self, milliseconds: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.draws.random_range(milliseconds))).await;
    }

    /// Has an operation carried out, and notes it.
    async fn note<F: Future<Output = Told>>(&self, key: &str, asked: Asked, told: F) -> Told {
        let (began, from) = (self.history.tick(), self.history.now());
        let told = told.await;
        let (ended, until) = (self.history.tick(), self.history.now());
        let key = key.to_owned();
        self.history.operations().push(Operation { key, asked, told, began, ended, from, until });
        told
    }

    fn failed(&self, error: &BrokerError) -> Told {
        if let BrokerError::Refused { source: Refusal::DiskFull, .. } = error {
            self.history.disk_full.fetch_add(1, Ordering::SeqCst);
        }
        match error {
            BrokerError::Store(CommandError::Conflict { found, .. }) => {
                Told::Conflict { found: *found }
            }
            _ if error.is_ambiguous() => Told::Unknown,
            _ => Told::Failed,
        }
    }

    async fn put(&self, key: &str, condition: Condition, padding: usize) -> Told {
        let value = self.history.next_value();
        let put = async {
            let document = value!({ "n": value, "padding": "x".repeat(padding) });
            match self.broker.put_if(key, document, condition).await {
                Ok(Put { version, created }) => Told::Put { version, created },
                Err(error) => self.failed(&error),
            }
        };
        self.note(key, Asked::Put { value, condition }, put).await
    }

    async fn delete(&self, key: &str) -> Told {
        let delete = async {
            match self.broker.delete(key).await {
                Ok(was_there) => Told::Deleted(was_there),
                Err(error) => self.failed(&error),
            }
        };
        self.note(key, Asked::Delete, delete).await
    }

    async fn read(&self, key: &str, way: Way) -> Told {
        let read = async {
            let told = match way {
                Way::Get => self.broker.get(key).await.map(told_record),
                Way::Stale => {
                    let stale = self.broker.get_stale(key).await;
                    stale.map(|stale| told_record(stale.answer))
                }
                Way::Query => {
                    let value = self.broker.query(&format!("{key}.n")).await;
                    value.map(|value| Told::Value(value.as_ref().map(n)))
                }
            };
            told.unwrap_or(Told::Failed)
        };
        self.note(key, Asked::Read, read).await
    }

    /// Writes all the time: the gaps between its writes are the outages.
    async fn pulse(mut self, number: usize, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let from = self.history.now();
            if let Told::Put { .. } = self.put(&key(number), Condition::Always, 10).await {
                let from = u64::try_from(from.as_millis()).unwrap_or(u64::MAX);
                self.history.pulses[number].store(from, Ordering::SeqCst);
            }
            self.rest(10..40).await;
        }
    }

    /// Does all that there is to do at one key.
    async fn mix(mut self, number: usize, way: Way, stop: Arc<AtomicBool>) {
        let key = key(number);
        let mut known = 0;
        while !stop.load(Ordering::Relaxed) {
            let told = match self.draws.random_range(0..100) {
                0..15 => {
                    let padding = self.draws.random_range(0..2_000);
                    self.put(&key, Condition::Always, padding).await
                }
                15..25 => self.put(&key, Condition::IfAbsent, 10).await,
                25..40 => self.put(&key, Condition::IfVersion(known), 10).await,
                40..50 => self.delete(&key).await,
                50..85 => self.read(&key, way).await,
                _ => self.read(&key, Way::Query).await,
            };
            if let Told::Put { version, .. }
            | Told::Record(Some((version, _)))
            | Told::Conflict { found: Some(version) } = told
            {
                known = version;
            }
            self.rest(5..40).await;
        }
    }

    /// Writes new keys, each once, and reads them again now and then.
    async fn append(mut self, number: usize, stop: Arc<AtomicBool>) {
        let key = |written: u64| format!("{APPENDED}{number}-{written}");
        for written in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            self.put(&key(written), Condition::IfAbsent, 100).await;
            if written % 4 == 0 {
                let earlier = self.draws.random_range(0..=written);
                self.read(&key(earlier), Way::Get).await;
            }
            self.rest(5..40).await;
        }
    }
}

/// A broker of the cluster of these servers, which is founded if it is not there.
pub(crate) async fn connect(
    servers: &[String],
    copies: usize,
    deadline: u64,
) -> Result<TcpBroker, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let broker = Broker::builder(TcpTransport::default())
            .servers(servers.iter().cloned())
            .copies(copies)
            .deadline(Duration::from_millis(deadline));
        match timeout(PATIENCE, broker.connect()).await {
            Ok(Ok(broker)) => return Ok(broker),
            Ok(Err(error)) if Instant::now() > until => {
                return Err(format!("cannot connect: {error:?}"));
            }
            Ok(Err(_)) => sleep(Duration::from_millis(100)).await,
            Err(_) => return Err("a broker hangs that was to connect".to_owned()),
        }
    }
}

/// All clients at work.
pub(crate) struct Workload {
    pub(crate) history: Arc<History>,
    servers: Vec<String>,
    brokers: Vec<TcpBroker>,
    clients: JoinSet<()>,
    stop: Arc<AtomicBool>,
}

impl Workload {
    /// Founds the cluster, and begins. Clients that read `stale` tell a wrong history.
    pub(crate) async fn start(
        servers: Vec<String>,
        seed: u64,
        stale: bool,
    ) -> Result<Self, String> {
        let mut brokers = Vec::new();
        for deadline in DEADLINES {
            brokers.push(connect(&servers, 1, deadline).await?);
        }
        let history = Arc::new(History::new());
        let (clients, stop) = (JoinSet::new(), Arc::default());
        let mut workload = Self { history, servers, brokers, clients, stop };
        let mut draws = ChaCha8Rng::seed_from_u64(seed);
        let way = if stale { Way::Stale } else { Way::Get };
        for number in 0..KEYS {
            let (client, stop) = workload.client(0, &mut draws);
            workload.clients.spawn(client.pulse(number, stop));
            for client in 0..CLIENTS {
                let broker = 1 + (number * CLIENTS + client) % (DEADLINES.len() - 1);
                let (client, stop) = workload.client(broker, &mut draws);
                workload.clients.spawn(client.mix(number, way, stop));
            }
        }
        for number in 0..APPENDERS {
            let (client, stop) = workload.client(1 + number, &mut draws);
            workload.clients.spawn(client.append(number, stop));
        }
        Ok(workload)
    }

    fn client(&self, broker: usize, draws: &mut ChaCha8Rng) -> (Client, Arc<AtomicBool>) {
        let (broker, history) = (self.brokers[broker].clone(), Arc::clone(&self.history));
        let draws = ChaCha8Rng::seed_from_u64(draws.random());
        (Client { broker, history, draws }, Arc::clone(&self.stop))
    }

    /// Ends all clients and reads what is there then, with a new broker, into the history.
    pub(crate) async fn finish(mut self, seed: u64) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.map_err(|error| format!("a client ended: {error}"))?;
        }
        self.history.is_complete.store(true, Ordering::SeqCst);
        let broker = connect(&self.servers, 1, 5_000).await?;
        let until = Instant::now() + PATIENCE;
        let (history, draws) = (self.history, ChaCha8Rng::seed_from_u64(seed));
        let client = Client { broker, history, draws };
        let keys = client.history.keys();
        let (appended, others): (BTreeSet<_>, BTreeSet<_>) =
            keys.into_iter().partition(|key| key.starts_with(APPENDED));
        for key in others {
            while client.read(&key, Way::Get).await == Told::Failed {
                if Instant::now() > until {
                    return Err(format!("{key} cannot be read when all is healed"));
                }
            }
        }
        client.read_appended(appended, until).await
    }
}

impl Client {
    /// Scans the keys that were written once, and notes what is there, and what is not.
    async fn read_appended(
        &self,
        mut keys: BTreeSet<String>,
        until: Instant,
    ) -> Result<(), String> {
        let (began, from) = (self.history.tick(), self.history.now());
        let mut found = Vec::new();
        let mut page = Page::first(500);
        loop {
            match self.broker.scan(APPENDED, page.clone()).await {
                Ok(scanned) => {
                    found.extend(scanned.entries);
                    let Some(next) = scanned.next else { break };
                    page = Page::first(500).after(next);
                }
                Err(error) if Instant::now() > until => {
                    return Err(format!("no scan when all is healed: {error:?}"));
                }
                Err(_) => {}
            }
        }
        let (ended, until) = (self.history.tick(), self.history.now());
        let mut operations = self.history.operations();
        let mut note = |key, told| {
            let asked = Asked::Read;
            operations.push(Operation { key, asked, told, began, ended, from, until });
        };
        for entry in found {
            keys.remove(&entry.key);
            note(entry.key, told_record(Some(entry.record)));
        }
        for key in keys {
            note(key, Told::Record(None));
        }
        Ok(())
    }
}

/// Writes large documents until told to stop, so that a log soon needs more room.
pub(crate) struct Filler {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Filler {
    pub(crate) fn start(broker: &TcpBroker, history: &Arc<History>) -> Self {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for task in 0..2 {
            let (broker, history) = (broker.clone(), Arc::clone(history));
            let client = Client { broker, history, draws: ChaCha8Rng::seed_from_u64(task) };
            let stop = Arc::clone(&stop);
            tasks.spawn(async move {
                for turn in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("large{task}-{}", turn % 16);
                    client.put(&key, Condition::Always, 200 << 10).await;
                }
            });
        }
        Self { stop, tasks }
    }

    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

//! Servers that are stopped, killed or lose their power, and come back: what is there then.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use triekv::log::{Directory, Disk, Fault, LogError};
use triekv::replication::{
    Broker, BrokerError, ConnectError, LoadEvent, LoadMode, Refusal, Server, ServerBuilder,
    ServerError, ServerFailure, Timing,
};
use triekv::transport::ChannelTransport;
use triekv::{Cluster, Value, value};

use super::power::Machine;

mod founding;
mod full;
mod past;
mod slow;
mod stops;

/// Short enough for tests, long enough for a busy machine.
const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(120),
    election_min: Duration::from_millis(500),
    election_max: Duration::from_secs(1),
};

/// How long a command may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

type ChannelServer = Server<ChannelTransport>;
type ChannelBroker = Broker<ChannelTransport>;

fn name(number: usize) -> String {
    format!("server{number}")
}

/// Servers with a machine each.
struct Servers {
    network: ChannelTransport,
    snapshot_entries: u64,
    machines: Vec<Machine>,
    running: Vec<Option<ChannelServer>>,
}

impl Servers {
    async fn start(count: usize, snapshot_entries: u64) -> Self {
        let mut servers = Self::blank(count, snapshot_entries);
        for number in 0..count {
            servers.restart(number).await;
        }
        servers
    }

    fn blank(count: usize, snapshot_entries: u64) -> Self {
        Self {
            network: ChannelTransport::new(),
            snapshot_entries,
            machines: (0..count).map(|_| Machine::new()).collect(),
            running: (0..count).map(|_| None).collect(),
        }
    }

    async fn try_restart(&mut self, number: usize) -> Result<(), ServerError> {
        let (network, entries) = (self.network.named(&name(number)), self.snapshot_entries);
        let server = || builder(&network, number).snapshot_entries(entries);
        self.running[number] = Some(self.machines[number].start(server).await?);
        Ok(())
    }

    async fn restart(&mut self, number: usize) {
        self.try_restart(number).await.unwrap();
    }

    /// Cuts the power of a server's machine.
    fn cut(&mut self, number: usize, seed: u64) {
        self.machines[number].cut(seed);
        self.running[number] = None;
    }

    /// A broker whose commands may take `deadline`.
    async fn connect(
        &self,
        deadline: Duration,
        copies: usize,
    ) -> Result<ChannelBroker, ConnectError> {
        let names = (0..self.running.len()).map(name);
        let broker = Broker::builder(self.network.named("broker")).servers(names);
        broker.deadline(deadline).copies(copies).connect().await
    }

    async fn broker(&self, copies: usize) -> ChannelBroker {
        self.connect(DEADLINE, copies).await.unwrap()
    }
}

fn builder(network: &ChannelTransport, number: usize) -> ServerBuilder<ChannelTransport> {
    Server::builder(network.clone(), name(number)).timing(TIMING)
}

async fn put_many(broker: &ChannelBroker, keys: std::ops::Range<u32>) {
    let mut puts = JoinSet::new();
    for n in keys {
        let broker = broker.clone();
        puts.spawn(async move { broker.put(&format!("key{n}"), value!({ "n": n })).await });
    }
    while let Some(put) = puts.join_next().await {
        put.unwrap().unwrap();
    }
}

async fn assert_all(broker: &ChannelBroker, keys: std::ops::Range<u32>) {
    for n in keys {
        let record = broker.get(&format!("key{n}")).await.unwrap();
        assert_eq!(record.unwrap_or_else(|| panic!("key{n} is gone")).value, value!({ "n": n }));
    }
}

#[tokio::test]
async fn a_server_that_comes_back_catches_up_by_the_log_and_by_a_snapshot() {
    for snapshot_entries in [5_000, 20] {
        for seed in [0, 1, u64::MAX] {
            let mut servers = Servers::start(3, snapshot_entries).await;
            let broker = servers.broker(3).await;
            put_many(&broker, 0..50).await;
            let id = servers.running[0].as_ref().unwrap().id();
            servers.cut(0, seed);
            // One by one: many more entries than the logs keep.
            for n in 50..350 {
                put_many(&broker, n..n + 1).await;
            }
            servers.restart(0).await;
            assert_eq!(servers.running[0].as_ref().unwrap().id(), id);
            // With another one down, only what this one has caught up on makes a majority.
            servers.running[1] = None;
            put_many(&broker, 350..370).await;
            assert_all(&broker, 0..370).await;
        }
    }
}

/// Puts 1, 2, 3, … at a key until nobody answers; tells the last one that was tried and the last
/// one that was put.
async fn count(broker: ChannelBroker, key: String, tried: Arc<AtomicI64>, put: Arc<AtomicI64>) {
    loop {
        let n = tried.fetch_add(1, Ordering::SeqCst) + 1;
        if broker.put(&key, value!({ "n": n })).await.is_err() {
            return;
        }
        put.store(n, Ordering::SeqCst);
    }
}

/// The first four seeds, or as many as `FAULT_SEEDS` says.
fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("FAULT_SEEDS").map_or(4, |count| count.parse().expect("a number of seeds"))
}

#[tokio::test]
async fn every_acknowledged_write_is_there_after_all_servers_lost_their_power() {
    const CLIENTS: usize = 16;
    for seed in seeds() {
        let mut servers = Servers::start(3, [30, 5_000][usize::from(seed % 2 == 0)]).await;
        let broker = servers.connect(Duration::from_millis(800), 3).await.unwrap();
        let counters: Vec<_> = (0..CLIENTS)
            .map(|_| (Arc::<AtomicI64>::default(), Arc::<AtomicI64>::default()))
            .collect();
        let mut clients = JoinSet::new();
        for (n, (tried, put)) in counters.iter().enumerate() {
            let key = format!("counter{n}");
            clients.spawn(count(broker.clone(), key, Arc::clone(tried), Arc::clone(put)));
        }
        let enough = 50 + i64::try_from(seed).unwrap() * 37;
        let most = || counters.iter().map(|(_, put)| put.load(Ordering::SeqCst)).max().unwrap();
        // On a machine that is busy, some may have waited for too long.
        while most() < enough && !clients.is_empty() {
            tokio::task::yield_now().await;
            clients.try_join_next().map(Result::unwrap);
        }
        assert!(most() > 0, "seed {seed}: nothing was put");
        for number in 0..3 {
            servers.cut(number, seed * 3 + number as u64);
        }
        clients.join_all().await;
        for number in [2, 0, 1] {
            servers.restart(number).await;
        }
        let broker = servers.broker(3).await;
        for (n, (tried, put)) in counters.iter().enumerate() {
            let (tried, put) = (tried.load(Ordering::SeqCst), put.load(Ordering::SeqCst));
            let found = broker.query(&format!("counter{n}.n")).await.unwrap();
            let found = match found {
                Some(Value::Int(found)) => found,
                None => 0,
                Some(other) => panic!("seed {seed}: {other:?}, not {put}"),
            };
            assert!((put..=tried).contains(&found), "seed {seed}: {found} of {put}, {tried}");
        }
        put_many(&broker, 0..20).await;
        assert_all(&broker, 0..20).await;
    }
}

/// Founds a cluster on machines that crash at an operation of their disks, starts those that did
/// anew, and uses the cluster.
async fn found_with_crashes(crashing: Vec<usize>, operation: u64) {
    let mut servers = Servers::blank(3, 5_000);
    for number in &crashing {
        servers.machines[*number].disk.fail(Fault::Crash { operation, seed: operation });
    }
    for number in 0..3 {
        if servers.try_restart(number).await.is_err() {
            servers.cut(number, operation);
            servers.restart(number).await;
        }
    }
    // Whether this comes to anything depends on the crash.
    let names = (0..3).map(name);
    let first = Broker::builder(servers.network.clone()).servers(names).copies(3).connect();
    let failed = servers.running.iter().flatten().map(Server::failed).map(Box::pin);
    tokio::select! {
        _ = first => {}
        _ = futures_util::future::select_all(failed) => {}
    }
    for number in &crashing {
        servers.cut(*number, operation);
        servers.restart(*number).await;
    }
    let broker = servers.connect(DEADLINE, 3).await.unwrap_or_else(|error| {
        let files: Vec<_> = servers.machines.iter().map(|m| m.disk.list().unwrap()).collect();
        panic!("{crashing:?} crashed at operation {operation}: {error}, {files:?}")
    });
    put_many(&broker, 0..40).await;
    assert_all(&broker, 0..40).await;
}

#[tokio::test]
async fn a_cluster_is_founded_whenever_servers_crash_meanwhile() {
    for (run, operation) in crash_points().enumerate() {
        // One at a time is slow, and all together are too many for one thread.
        tokio::join!(
            found_with_crashes(vec![0, 1, 2], operation),
            found_with_crashes(vec![run % 3], operation + 3),
        );
    }
}

/// Operations of a disk while a cluster is founded: some of them, or all if `CRASH_POINTS` is set.
fn crash_points() -> impl Iterator<Item = u64> {
    let step = if std::env::var_os("CRASH_POINTS").is_some() { 1 } else { 9 };
    (0..90).step_by(step)
}

#[tokio::test]
async fn a_load_goes_on_where_it_stopped_after_all_servers_were_started_anew() {
    // The load notes its progress every 16,384 lines and has 4,096 under way.
    const LINES: u64 = 21_500;
    const ENOUGH: u64 = 21_000;
    let mut servers = Servers::start(3, 5_000).await;
    let broker = servers.broker(1).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for n in 0..LINES {
        writeln!(file, "k{n}:{{\"n\":{n}}}").unwrap();
    }
    let reached_at = file.as_file().metadata().unwrap().len() * ENOUGH / LINES;
    let (enough, reached) = tokio::sync::oneshot::channel();
    let loading = tokio::spawn({
        let path = file.path().to_owned();
        let mut enough = Some(enough);
        async move {
            let count = |event: LoadEvent<'_>| {
                if let LoadEvent::Progress { bytes, .. } = event
                    && bytes >= reached_at
                    && let Some(enough) = enough.take()
                {
                    enough.send(()).expect("the test waits");
                }
            };
            broker.load_file(&path, LoadMode::Once, count).await.map(drop)
        }
    });
    reached.await.unwrap();
    loading.abort();
    let _ = loading.await;
    for number in 0..3 {
        servers.cut(number, 1);
    }
    for number in 0..3 {
        servers.restart(number).await;
    }
    let broker = servers.broker(1).await;
    let report = broker.load_file(file.path(), LoadMode::Once, |_| {}).await.unwrap();
    assert!(report.skipped >= 16_384, "{report:?}");
    assert_eq!((report.lines, broker.len().await.unwrap()), (LINES, LINES), "{report:?}");
    for number in 0..3 {
        servers.running[number].take().unwrap().stop().await;
        servers.restart(number).await;
    }
    let report = broker.load_file(file.path(), LoadMode::Once, |_| {}).await.unwrap();
    assert!(report.already_loaded, "{report:?}");
}

#[tokio::test]
async fn a_server_whose_disk_fails_a_sync_stops_and_the_others_go_on() {
    let mut servers = Servers::start(3, 5_000).await;
    let broker = servers.broker(3).await;
    put_many(&broker, 0..20).await;
    let disk = servers.machines[1].disk.clone();
    disk.fail(Fault::Sync { operation: disk.operations() });
    put_many(&broker, 20..60).await;
    let failed = servers.running[1].as_ref().unwrap().failed();
    let error = tokio::time::timeout(Duration::from_secs(10), failed).await.unwrap();
    let failed = |error: &LogError| matches!(error, LogError::Io { .. } | LogError::Stopped(_));
    assert!(matches!(&error, ServerFailure::Data(error) if failed(error)), "{error}");
    put_many(&broker, 60..80).await;
    servers.cut(1, 3);
    servers.restart(1).await;
    servers.running[0] = None;
    put_many(&broker, 80..100).await;
    assert_all(&broker, 0..100).await;
}

#[tokio::test]
async fn full_disks_refuse_writes_answer_reads_and_take_writes_once_there_is_room() {
    let servers = Servers::start(3, 5_000).await;
    let broker = servers.broker(3).await;
    put_many(&broker, 0..20).await;
    for machine in &servers.machines {
        machine.disk.set_capacity(Some(machine.used()));
    }
    let filling = "x".repeat(8 << 10);
    let mut refused = false;
    for n in 0..1000 {
        match broker.put("large", value!({ "n": n, "filling": filling.as_str() })).await {
            Ok(_) => {}
            Err(BrokerError::Refused { source: Refusal::DiskFull, .. }) => {
                refused = true;
                break;
            }
            // What was under way when the disks became full waits for room.
            Err(error) => assert!(error.is_ambiguous(), "{error}"),
        }
    }
    assert!(refused, "the disks did not become full");
    assert_all(&broker, 0..20).await;
    for machine in &servers.machines {
        machine.disk.set_capacity(None);
    }
    let started = tokio::time::Instant::now();
    while let Err(error) = broker.put("large", value!({ "n": "small" })).await {
        assert!(started.elapsed() < Duration::from_secs(20), "{error}");
    }
    put_many(&broker, 20..40).await;
    assert_all(&broker, 0..40).await;
}

#[tokio::test]
async fn a_full_server_among_others_costs_no_write_that_another_one_leads() {
    let servers = Servers::start(3, 5_000).await;
    let broker = servers.broker(3).await;
    put_many(&broker, 0..20).await;
    let machine = &servers.machines[0];
    machine.disk.set_capacity(Some(machine.used()));
    let filling = "x".repeat(100 << 10);
    let started = tokio::time::Instant::now();
    let mut put = 0;
    for n in 0.. {
        let large = value!({ "filling": filling.as_str() });
        match broker.put(&format!("large{}", n % 64), large).await {
            Ok(_) => put += 1,
            // On a slow machine, the shards that it leads find another leader late.
            Err(
                BrokerError::Refused { source: Refusal::DiskFull, .. }
                | BrokerError::NoLeader { .. },
            ) => {}
            Err(error) => assert!(error.is_ambiguous(), "{error}"),
        }
        if put > 60 {
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(2), "{put} were put");
    }
    machine.disk.set_capacity(None);
    assert_all(&broker, 0..20).await;
}

#[tokio::test]
async fn a_cluster_in_a_directory_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let start = || async {
        let cluster = Cluster::embedded(3).copies(2).data_dir(directory.path()).timing(TIMING);
        cluster.start().await
    };
    let cluster = start().await.unwrap();
    cluster.broker().put("person1", value!({ "name": "Mary" })).await.unwrap();
    let id = cluster.broker().cluster();
    cluster.stop().await;
    assert!(directory.path().join("server1/identity").exists());
    // The directories are free once the last tasks have ended.
    let again = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match start().await {
                Ok(cluster) => return cluster,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let cluster = again.await.unwrap();
    assert_eq!(cluster.broker().cluster(), id);
    assert_eq!(cluster.broker().query("person1.name").await.unwrap(), Some(value!("Mary")));
    cluster.stop().await;
}

#[tokio::test]
async fn a_directory_has_one_server() {
    let directory = tempfile::tempdir().unwrap();
    let network = ChannelTransport::new();
    let held = Directory::open(directory.path()).unwrap();
    let start = |number| builder(&network, number).data_dir(directory.path()).start();
    let error = start(0).await.unwrap_err();
    assert!(matches!(error, ServerError::Data(LogError::Locked { .. })), "{error:?}");
    drop(held);
    // Its address is free, too.
    let server = start(0).await.unwrap();
    let error = start(1).await.unwrap_err();
    assert!(matches!(error, ServerError::Data(LogError::Locked { .. })), "{error:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_server_with_damaged_files_does_not_start_and_names_the_file() {
    let mut servers = Servers::start(1, 5_000).await;
    let broker = servers.broker(1).await;
    put_many(&broker, 0..100).await;
    servers.running[0].take().unwrap().stop().await;
    let names = servers.machines[0].disk.list().unwrap();
    let log = names.iter().find(|name| name.contains(".log")).unwrap().clone();
    for file in ["identity", "map", &log] {
        let disk = servers.machines[0].disk.clone();
        let whole = disk.read(file).unwrap();
        let written = whole.iter().rposition(|byte| *byte != 0).unwrap();
        assert!(disk.flip_bit(file, written as u64 / 2 * 8));
        let ServerError::Data(error) = servers.try_restart(0).await.unwrap_err() else {
            panic!("it is its data")
        };
        let LogError::Corrupt { file: path, offset, .. } = &error else { panic!("{error:?}") };
        assert!(path.ends_with(file), "{path}");
        assert!(*offset <= written as u64, "{offset}");
        disk.write(file, &whole);
    }
    // A log without its identity is no blank server's.
    let identity = servers.machines[0].disk.read("identity").unwrap();
    servers.machines[0].disk.remove("identity").unwrap();
    let error = servers.try_restart(0).await.unwrap_err();
    assert!(matches!(error, ServerError::Data(LogError::Corrupt { .. })), "{error:?}");
    servers.machines[0].disk.write("identity", &identity);
    let map = servers.machines[0].disk.read("map").unwrap();
    servers.machines[0].disk.remove("map").unwrap();
    let error = servers.try_restart(0).await.unwrap_err();
    assert!(matches!(error, ServerError::Data(LogError::Corrupt { .. })), "{error:?}");
    servers.machines[0].disk.write("map", &map);
    // Without its log a server would vote again where it has voted, under the id that it voted with.
    let records = servers.machines[0].disk.read(&log).unwrap();
    servers.machines[0].disk.remove(&log).unwrap();
    let error = servers.try_restart(0).await.unwrap_err();
    assert!(matches!(error, ServerError::Data(LogError::Corrupt { .. })), "{error:?}");
    servers.machines[0].disk.write(&log, &records);
    servers.restart(0).await;
    assert_all(&broker, 0..100).await;
}

#[tokio::test]
async fn an_id_that_was_told_to_nobody_is_not_used_again() {
    let mut servers = Servers::start(1, 5_000).await;
    let id = servers.running[0].as_ref().unwrap().id();
    servers.running[0].take().unwrap().stop().await;
    servers.restart(0).await;
    assert_eq!(servers.running[0].as_ref().unwrap().id(), id);
    servers.running[0].take().unwrap().stop().await;
    let disk = &servers.machines[0].disk;
    for name in disk.list().unwrap().iter().filter(|name| *name != "identity") {
        disk.remove(name).unwrap();
    }
    servers.restart(0).await;
    assert_ne!(servers.running[0].as_ref().unwrap().id(), id);
}

#[tokio::test]
async fn a_cluster_that_is_cleared_has_no_record_and_no_file() {
    let servers = Servers::start(3, 5_000).await;
    let broker = servers.broker(2).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "key0:{{\"x\":1}}").unwrap();
    broker.load_file(file.path(), LoadMode::Once, |_| {}).await.unwrap();
    put_many(&broker, 0..2500).await;
    assert_eq!(broker.clear().await.unwrap(), 2500);
    assert_eq!(broker.clear().await.unwrap(), 0);
    assert!(broker.is_empty().await.unwrap());
    put_many(&broker, 1..2).await;
    // A file that was loaded is not loaded again into a cluster that has records; it is forgotten.
    let report = broker.load_file(file.path(), LoadMode::Once, |_| {}).await.unwrap();
    assert_eq!((report.put, report.already_loaded), (1, false));
}

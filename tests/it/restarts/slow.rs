//! Servers that take long to read their data.

use std::fmt;
use std::io;
use std::sync::{Condvar, Mutex};

use tokio::sync::watch;
use triekv::log::{DiskFile, MemoryDisk};
use triekv::replication::{RecoverError, ReplicaState, ServerState};

use super::*;

/// How long a shard's snapshot takes to open: much longer than an election.
const LONG: Duration = Duration::from_secs(3);

/// A disk that calls a function before a file of this name is opened.
struct SlowDisk<F> {
    disk: MemoryDisk,
    name: &'static str,
    before_open: F,
}

impl<F> fmt::Debug for SlowDisk<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl<F: Fn() + Send + Sync + 'static> Disk for SlowDisk<F> {
    fn location(&self) -> String {
        self.disk.location()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if name == self.name {
            (self.before_open)();
        }
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }
}

/// Starts server `number` on this disk, once the one that was there before has gone.
async fn start_on(network: ChannelTransport, number: usize, disk: Arc<dyn Disk>) -> ChannelServer {
    let network = network.named(&name(number));
    loop {
        match builder(&network, number).disk(Arc::clone(&disk)).start().await {
            Err(ServerError::Listen(_)) => tokio::task::yield_now().await,
            server => return server.unwrap(),
        }
    }
}

#[tokio::test]
async fn the_leader_of_group_0_waits_for_the_groups_that_are_still_read() {
    let mut servers = Servers::start(1, 5_000).await;
    put_many(&servers.broker(1).await, 0..50).await;
    let disk = servers.machines[0].disk.clone();
    servers.cut(0, u64::MAX);
    // The first one to open the snapshot waits until another one does, or long.
    let opened = Arc::new((Mutex::new(0), Condvar::new()));
    let before_open = {
        let opened = Arc::clone(&opened);
        move || {
            let (opened, again) = &*opened;
            let mut opened = opened.lock().unwrap();
            *opened += 1;
            again.notify_all();
            drop(again.wait_timeout_while(opened, LONG, |opened| *opened < 2).unwrap());
        }
    };
    let disk = Arc::new(SlowDisk { disk, name: "group-1.snapshot", before_open });
    let server = start_on(servers.network.clone(), 0, disk).await;
    assert_all(&servers.broker(1).await, 0..50).await;
    put_many(&servers.broker(1).await, 50..60).await;
    assert_eq!(*opened.0.lock().unwrap(), 1, "a second replica was started");
    drop(server);
}

/// Holds whoever reads a disk until it is released.
#[derive(Debug, Clone, Default)]
struct Gate {
    is_reached: watch::Sender<bool>,
    is_open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    /// A disk on which the server's identity cannot be read before the gate is open.
    fn before(&self, disk: MemoryDisk) -> Arc<dyn Disk> {
        let gate = self.clone();
        let before_open = move || {
            gate.is_reached.send_replace(true);
            let (is_open, opened) = &*gate.is_open;
            drop(opened.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
        };
        Arc::new(SlowDisk { disk, name: "identity", before_open })
    }

    /// Returns once somebody waits. The server listens by then.
    async fn reached(&self) {
        self.is_reached.subscribe().wait_for(|reached| *reached).await.unwrap();
    }

    fn open(&self) {
        *self.is_open.0.lock().unwrap() = true;
        self.is_open.1.notify_all();
    }
}

impl Servers {
    /// Starts a server whose data are not read before the gate is open; it listens by then.
    async fn start_behind(
        &self,
        gate: &Gate,
        number: usize,
    ) -> tokio::task::JoinHandle<ChannelServer> {
        let disk = gate.before(self.machines[number].disk.clone());
        let starting = tokio::spawn(start_on(self.network.clone(), number, disk));
        gate.reached().await;
        starting
    }

    /// Connects, and opens the gate once it is told that this server is waited for.
    async fn connect_through(&self, gate: &Gate, copies: usize) -> (ChannelBroker, Vec<String>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let waiting = {
            let (gate, told) = (gate.clone(), Arc::clone(&told));
            move |address: &str| {
                told.lock().unwrap().push(address.to_owned());
                gate.open();
            }
        };
        let names = (0..self.running.len()).map(name);
        let broker = Broker::builder(self.network.named("broker")).servers(names).copies(copies);
        let broker = broker.deadline(DEADLINE).on_waiting(waiting).connect().await.unwrap();
        let told = told.lock().unwrap().clone();
        (broker, told)
    }
}

#[tokio::test]
async fn a_broker_waits_for_a_server_that_reads_its_data_and_says_for_which() {
    let mut servers = Servers::start(3, 5_000).await;
    let broker = servers.broker(3).await;
    put_many(&broker, 0..20).await;
    servers.cut(0, u64::MAX);
    let gate = Gate::default();
    let starting = servers.start_behind(&gate, 0).await;

    let status = broker.status().await;
    let slow = status.servers.iter().find(|server| server.address == name(0)).unwrap();
    assert!(matches!(slow.state, ServerState::Starting), "{slow:?}");
    let states = status.shards.iter().flat_map(|shard| &shard.replicas);
    let starts = states.filter(|replica| replica.state == ReplicaState::Starting);
    assert_eq!(starts.count(), status.shards.len());

    let address = name(0);
    let (joined, (late, told)) =
        tokio::join!(broker.join(&address), servers.connect_through(&gate, 3));
    joined.unwrap();
    assert_eq!(told, [name(0)]);
    assert!(late.unreached().is_empty() && late.absent().is_empty() && late.newcomers().is_empty());
    assert!(!late.has_founded());
    assert_all(&late, 0..20).await;
    drop(starting.await.unwrap());
}

#[tokio::test]
async fn a_cluster_is_not_founded_without_a_blank_server_that_is_about_to_start() {
    let mut servers = Servers::blank(3, 5_000);
    servers.restart(0).await;
    servers.restart(1).await;
    let gate = Gate::default();
    let starting = servers.start_behind(&gate, 2).await;
    let (broker, told) = servers.connect_through(&gate, 2).await;
    assert_eq!((told, broker.servers(), broker.has_founded()), (vec![name(2)], 3, true));
    assert!(broker.unreached().is_empty());
    put_many(&broker, 0..20).await;
    drop(starting.await.unwrap());
}

#[tokio::test]
async fn a_shard_is_not_recovered_without_a_server_that_is_reading_it() {
    let mut servers = Servers::start(3, 5_000).await;
    let broker = servers.broker(3).await;
    put_many(&broker, 0..20).await;
    servers.cut(0, u64::MAX);
    servers.cut(1, u64::MAX);
    let gate = Gate::default();
    let starting = servers.start_behind(&gate, 0).await;
    let error = loop {
        match broker.unsafe_recover(0).await {
            // The one that is left takes itself for the leader for a while.
            Err(RecoverError::NotLost { .. }) => tokio::task::yield_now().await,
            outcome => break outcome.unwrap_err(),
        }
    };
    assert!(
        matches!(&error, RecoverError::Starting { address, .. } if *address == name(0)),
        "{error}"
    );
    gate.open();
    drop(starting.await.unwrap());
}

//! Loads that are interrupted at each of their batches, while others write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::*;
use crate::replication::Server;
use crate::replication::shard::Batch;
use crate::store::Page;
use crate::transport::{
    BoxFuture, ChannelTransport, Frame, Handler, Listener, Transport, TransportError,
};
use crate::value;

const PATIENCE: Duration = Duration::from_mins(1);

/// A fault of one batch of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is not sent, and nothing is from then on.
    Lost,
    /// It is carried out, and its answer is lost; nothing is sent from then on.
    Unanswered,
    /// It waits for others to write, and goes on.
    Paused,
}

/// The network of a broker, which ends at a batch of a load.
#[derive(Debug, Clone)]
struct Hooked {
    inner: ChannelTransport,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    fate: Fate,
    /// How many batches of loads are left before the one that is meant.
    left: Mutex<Option<usize>>,
    /// Told once that batch has come.
    come: Mutex<Option<oneshot::Sender<()>>>,
    go_on: Notify,
}

impl Hooked {
    /// Ends at this batch, counted from 0.
    fn at(inner: &ChannelTransport, batch: usize, fate: Fate) -> (Self, oneshot::Receiver<()>) {
        let (come, has_come) = oneshot::channel();
        let (left, come) = (Mutex::new(Some(batch)), Mutex::new(Some(come)));
        let plan = Arc::new(Plan { fate, left, come, go_on: Notify::new() });
        (Self { inner: inner.clone(), plan }, has_come)
    }

    /// Whether this is the batch, or one after it.
    fn is_due(&self, request: &[u8]) -> bool {
        let Ok(Request::Write { batch, .. }) = message::decode(request) else { return false };
        if !matches!(Batch::decode(&batch.0), Ok((_, Some(_)))) {
            return false;
        }
        let mut left = self.plan.left.lock().unwrap();
        match *left {
            Some(0) => {
                *left = None;
                true
            }
            Some(more) => {
                *left = Some(more - 1);
                false
            }
            None => self.plan.fate != Fate::Paused,
        }
    }
}

impl Transport for Hooked {
    fn call<'a>(
        &'a self,
        address: &'a str,
        request: Frame,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Frame, TransportError>> {
        Box::pin(async move {
            if !self.is_due(&request) {
                return self.inner.call(address, request, deadline).await;
            }
            // Only the first of them is carried out.
            let come = self.plan.come.lock().unwrap().take();
            if self.plan.fate == Fate::Unanswered && come.is_some() {
                let _ = self.inner.call(address, request.clone(), deadline).await;
            }
            if let Some(come) = come {
                let _ = come.send(());
            }
            if self.plan.fate == Fate::Paused {
                self.plan.go_on.notified().await;
                return self.inner.call(address, request, deadline).await;
            }
            std::future::pending().await
        })
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<Listener, TransportError>> {
        self.inner.listen(address, handler)
    }
}

const LINES: u64 = 800;
const KEYS: u64 = 500;

fn key(line: u64) -> String {
    format!("k{}", line % KEYS)
}

/// A file in which most keys come twice, with bad lines, and what it is to come to.
fn data() -> (tempfile::NamedTempFile, BTreeMap<String, Value>) {
    let (mut text, mut records) = (String::new(), BTreeMap::new());
    for line in 1..=LINES {
        if line % 97 == 0 || line == LINES - 1 {
            // It begins as a record of its key, and is none.
            writeln!(text, "{}:{{\"n\":}}", key(line)).unwrap();
            continue;
        }
        if line % 2 == 0 {
            writeln!(text, "{}:{{\"n\":{line}}}", key(line)).unwrap();
        } else {
            writeln!(text, "{{\"key\":{:?},\"value\":{{\"n\":{line}}}}}", key(line)).unwrap();
        }
        records.insert(key(line), value!({ "n": (i64::try_from(line).unwrap()) }));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    (file, records)
}

/// A cluster, somebody else who writes, and what all of it is to come to.
struct World {
    network: ChannelTransport,
    _server: Server<ChannelTransport>,
    other: Broker<ChannelTransport>,
    file: tempfile::NamedTempFile,
    expected: BTreeMap<String, Value>,
    /// The keys that somebody else has written.
    written: BTreeSet<String>,
    draws: ChaCha8Rng,
}

impl World {
    async fn new(seed: u64) -> Self {
        let network = ChannelTransport::new();
        let server = Server::builder(network.named("server"), "server").start().await.unwrap();
        let other = Broker::builder(network.named("other")).servers(["server"]).copies(1);
        let other = other.connect().await.unwrap();
        let (file, expected) = data();
        let (written, draws) = (BTreeSet::new(), ChaCha8Rng::seed_from_u64(seed));
        let mut world = Self { network, _server: server, other, file, expected, written, draws };
        // The cluster is never without a record.
        world.put("other").await;
        world
    }

    async fn put(&mut self, key: &str) {
        self.other.put(key, value!({ "other": true })).await.unwrap();
        self.expected.insert(key.to_owned(), value!({ "other": true }));
        self.written.insert(key.to_owned());
    }

    /// Puts some keys and deletes others, each of them once.
    async fn write_between(&mut self) {
        for _ in 0..40 {
            let key = key(self.draws.random_range(0..KEYS));
            if self.written.contains(&key) {
                continue;
            }
            if self.draws.random_range(0..2) == 0 {
                self.put(&key).await;
            } else if self.other.delete(&key).await.unwrap() {
                self.expected.remove(&key);
                self.written.insert(key);
            }
        }
    }

    async fn broker<T: Transport>(&self, transport: T) -> Broker<T> {
        let broker = Broker::builder(transport).servers(["server"]).copies(1);
        broker.connect().await.unwrap()
    }

    /// Loads until a batch meets its fate, and others write then; the report if the load has ended,
    /// and whether the batch came.
    async fn load_until(&mut self, batch: usize, fate: Fate) -> (Option<LoadReport>, bool) {
        let (transport, has_come) = Hooked::at(&self.network, batch, fate);
        let plan = Arc::clone(&transport.plan);
        let (broker, path) = (self.broker(transport).await, self.file.path().to_owned());
        let load = async move { broker.load_file(&path, LoadMode::Once, |_| {}).await.unwrap() };
        let mut load = tokio::spawn(load);
        let come = tokio::select! {
            biased;
            come = has_come => come.is_ok(),
            report = &mut load => return (Some(report.unwrap()), false),
        };
        self.write_between().await;
        if fate == Fate::Paused {
            plan.go_on.notify_one();
            return (Some(timeout(PATIENCE, load).await.unwrap().unwrap()), come);
        }
        load.abort();
        let _ = load.await;
        (None, come)
    }

    async fn assert_as_expected(&self, what: &str) {
        let page = self.other.scan("", Page::first(10_000)).await.unwrap();
        let found = page.entries.into_iter().map(|entry| (entry.key, entry.record.value));
        let found: BTreeMap<String, Value> = found.collect();
        for (key, value) in &self.expected {
            assert_eq!(found.get(key), Some(value), "{what}: {key}");
        }
        let more: Vec<_> = found.keys().filter(|key| !self.expected.contains_key(*key)).collect();
        assert!(more.is_empty(), "{what}: {more:?} came back");
    }
}

#[tokio::test]
async fn a_load_interrupted_at_any_batch_ends_where_it_would_have_ended() {
    for fate in [Fate::Paused, Fate::Lost, Fate::Unanswered] {
        for batch in 0.. {
            let seed = batch as u64;
            let what = format!("seed {seed}, {fate:?} at batch {batch}");
            let mut world = World::new(seed).await;
            let (mut report, come) = world.load_until(batch, fate).await;
            if report.is_none() {
                // Once more, a little further on.
                let again = world.draws.random_range(0..4);
                report = world.load_until(again, fate).await.0;
            }
            if report.is_none() {
                let broker = world.broker(world.network.clone()).await;
                let path = world.file.path();
                report = Some(broker.load_file(path, LoadMode::Once, |_| {}).await.unwrap());
            }
            world.assert_as_expected(&what).await;
            let report = report.unwrap();
            assert_eq!((report.lines, report.already_loaded), (LINES, false), "{what}");
            let broker = world.broker(world.network.clone()).await;
            let again = broker.load_file(world.file.path(), LoadMode::Once, |_| {}).await.unwrap();
            assert!(again.already_loaded, "{what}");
            world.assert_as_expected(&what).await;
            if !come {
                assert!(batch > 5, "{what}: there were too few batches");
                break;
            }
        }
    }
}

#[tokio::test]
async fn two_brokers_that_load_a_file_at_once_put_each_record_once() {
    let world = World::new(1).await;
    let (one, two) = (world.broker(world.network.clone()), world.broker(world.network.clone()));
    let (one, two) = tokio::join!(one, two);
    let path = world.file.path();
    let (one, two) = tokio::join!(
        one.load_file(path, LoadMode::Once, |_| {}),
        two.load_file(path, LoadMode::Once, |_| {})
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.put + two.put, world.expected.len() as u64 - 1, "{one:?} {two:?}");
    assert_eq!((one.present, two.present), (0, 0));
    world.assert_as_expected("two brokers").await;
}

#[tokio::test]
async fn of_lines_with_one_key_the_last_record_is_put_also_where_there_are_others() {
    let mut world = World::new(1).await;
    world.put(&key(3)).await;
    let mut told = Vec::new();
    let broker = world.broker(world.network.clone()).await;
    let report = broker.load_file(world.file.path(), LoadMode::Once, |event| {
        if let LoadEvent::DuplicateKey { line, earlier, key } = event {
            told.push((line, earlier, key.to_owned()));
        }
    });
    let report = report.await.unwrap();
    world.assert_as_expected("other data").await;
    assert_eq!(report.present, 1);
    assert_eq!(report.put, world.expected.len() as u64 - 2);
    assert_eq!(report.put + report.present + report.duplicates + report.bad_lines, LINES);
    assert_eq!(told.len() as u64, report.duplicates);
    assert!(told.iter().all(|(line, earlier, told)| {
        line - earlier == KEYS && *told == key(*line) && line % 97 != 0 && earlier % 97 != 0
    }));
}

#[tokio::test]
async fn a_reload_puts_the_last_record_of_each_key_over_what_is_there() {
    let mut world = World::new(1).await;
    let broker = world.broker(world.network.clone()).await;
    broker.load_file(world.file.path(), LoadMode::Once, |_| {}).await.unwrap();
    world.write_between().await;
    let report = broker.load_file(world.file.path(), LoadMode::Reload, |_| {}).await.unwrap();
    world.expected.extend(data().1);
    world.assert_as_expected("a reload").await;
    assert_eq!((report.put, report.present, report.skipped), (data().1.len() as u64, 0, 0));
}

//! triekv's durable store beside Redis with `appendfsync always`, both in one run on one disk:
//! puts by several clients, recovery, bytes on disk, and puts while a checkpoint is written.
//!
//! Both acknowledge a write when it is synced. The store is called by threads of this process, as
//! programs that embed it do; Redis by a connection for each of as many threads.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use triekv::generator::{KeyFile, Records, Shape};
use triekv::parser::parse_record;
use triekv::{Command, Condition, Store, Value};

use redis::Redis;

mod redis;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Fixed, so that two runs see the same documents.
const SEED: u64 = 42;

const KEYS: &str = "name string\nage int\nheight float\nstreet string\ncity string\nmarried bool\n";

/// Documents that are put one after the other, over and over.
const DOCUMENTS: usize = 4096;

#[derive(Parser)]
struct Options {
    /// The Redis server to run
    #[arg(long, default_value = "redis-server")]
    redis: String,
    /// Where the files go; a temporary directory is made in it
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// Rounds; medians are printed
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Puts a second by 1, 16 and 128 clients, each waiting for its answer
    Put {
        /// Seconds for each measurement
        #[arg(long, default_value_t = 1.5)]
        secs: f64,
    },
    /// Time from opening to the first read, and bytes on disk
    Recovery {
        /// Documents
        #[arg(long, default_value_t = 1_000_000)]
        documents: usize,
    },
    /// Puts a second while a checkpoint is written, against the usual
    Checkpoint {
        /// Documents that are in the store
        #[arg(long, default_value_t = 1_000_000)]
        documents: usize,
    },
}

fn main() -> Outcome<()> {
    let options = Options::parse();
    match options.what {
        What::Put { secs } => put(&options, Duration::from_secs_f64(secs)),
        What::Recovery { documents } => recovery(&options, documents),
        What::Checkpoint { documents } => checkpoint(&options, documents),
    }
}

/// A document as text for one and as a value for the other.
struct Document {
    text: String,
    value: Value,
}

fn documents(count: usize) -> Outcome<impl Iterator<Item = Document>> {
    let keys: KeyFile = KEYS.parse()?;
    let records = Records::new(keys, Shape::new(i64::try_from(count)?, 2, 5, 12)?, SEED)?;
    Ok(records.map(|line| {
        let line = line.trim();
        let text = line.split_once(':').map_or("", |(_, document)| document.trim()).to_owned();
        let (_, value) = parse_record(line).expect("generated lines parse");
        Document { text, value }
    }))
}

fn scratch(options: &Options) -> Outcome<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("triekv-durable-").tempdir_in(&options.directory)?)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Calls `work` on `clients` threads over and over until the time is up; how often a second.
fn rate(
    clients: usize,
    time: Duration,
    work: impl Fn(usize, u64) -> Outcome<()> + Sync,
) -> Outcome<f64> {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let (done, stop, work) = (&done, &stop, &work);
                scope.spawn(move || -> Outcome<()> {
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        work(client, n)?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().expect("a client panicked"))
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a count of operations")]
    let done = done.into_inner() as f64;
    Ok(done / begun.elapsed().as_secs_f64())
}

fn put(options: &Options, time: Duration) -> Outcome<()> {
    let documents: Vec<Document> = documents(DOCUMENTS)?.collect();
    println!("clients  store/s  redis/s  ratio  syncs a put");
    for clients in [1, 16, 128] {
        let (mut ours, mut theirs, mut ratios, mut syncs) = (vec![], vec![], vec![], vec![]);
        for _ in 0..options.rounds {
            let directory = scratch(options)?;
            let store = Store::open(directory.path().join("store"))?;
            let before = store.stats().log.ok_or("the store is on disk")?;
            let our_rate = rate(clients, time, |client, n| {
                let number = usize::try_from(n)? * clients + client;
                let value = documents[number % DOCUMENTS].value.clone();
                store.put(&format!("person{number}"), value)?;
                Ok(())
            })?;
            let after = store.stats().log.ok_or("the store is on disk")?;
            #[expect(clippy::cast_precision_loss, reason = "counts")]
            let syncs_a_put =
                (after.syncs - before.syncs) as f64 / (after.records - before.records) as f64;
            drop(store);

            let redis = Redis::start(&options.redis, directory.path())?;
            let connections = (0..clients).map(|_| Ok(std::sync::Mutex::new(redis.client()?)));
            let connections = connections.collect::<Outcome<Vec<_>>>()?;
            let their_rate = rate(clients, time, |client, n| {
                let number = usize::try_from(n)? * clients + client;
                let mut connection = connections[client].lock().expect("nobody panics");
                let text = &documents[number % DOCUMENTS].text;
                connection.set(&format!("person{number}"), text)?;
                Ok(())
            })?;
            ours.push(our_rate);
            theirs.push(their_rate);
            ratios.push(our_rate / their_rate);
            syncs.push(syncs_a_put);
        }
        println!(
            "{clients:7}  {:7.0}  {:7.0}  {:5.2}  {:.3}",
            median(ours),
            median(theirs),
            median(ratios),
            median(syncs)
        );
    }
    Ok(())
}

fn recovery(options: &Options, count: usize) -> Outcome<()> {
    let directory = scratch(options)?;
    let ours = directory.path().join("store");
    let text_bytes = fill(&ours, count)?;
    let checkpointed = directory.path().join("checkpointed");
    copy(&ours, &checkpointed)?;
    Store::open(&checkpointed)?.checkpoint()?;
    let theirs = directory.path().join("redis");
    std::fs::create_dir(&theirs)?;
    fill_redis(options, &theirs, count)?;

    let last = format!("person{}", count - 1);
    let mut figures = [vec![], vec![], vec![]];
    for _ in 0..options.rounds {
        for (figures, path) in figures.iter_mut().zip([&ours, &checkpointed]) {
            let begun = Instant::now();
            let store = Store::open(path)?;
            assert!(store.contains_key(&last), "the last document is there");
            figures.push(begun.elapsed().as_secs_f64());
            assert_eq!(store.len(), count);
        }
        let begun = Instant::now();
        let redis = Redis::start(&options.redis, &theirs)?;
        assert!(redis.client()?.get(&last)?.is_some(), "the last document is there");
        figures[2].push(begun.elapsed().as_secs_f64());
        redis.kill()?;
    }
    let [log, snapshot, redis] = figures.map(median);
    println!("{count} documents, {text_bytes} bytes of text");
    println!("from                  seconds  ratio  bytes on disk  a byte of text");
    let rows = [
        ("the store's log", log, bytes_in(&ours)?),
        ("the store's snapshot", snapshot, bytes_in(&checkpointed)?),
        ("Redis's file", redis, bytes_in(&theirs)?),
    ];
    for (from, seconds, bytes) in rows {
        #[expect(clippy::cast_precision_loss, reason = "counts of bytes")]
        let share = bytes as f64 / text_bytes as f64;
        println!("{from:20}  {seconds:7.2}  {:5.2}  {bytes:13}  {share:14.2}", seconds / redis);
    }
    Ok(())
}

/// A store that has everything in its log; gives the bytes of the text.
fn fill(path: &Path, count: usize) -> Outcome<usize> {
    let store = Store::builder().snapshot_bytes(u64::MAX).open(path)?;
    let mut text_bytes = 0;
    let mut commands = Vec::new();
    for (number, document) in documents(count)?.enumerate() {
        let key = format!("person{number}");
        // The line that has both: quotes, a colon, an end.
        text_bytes += key.len() + document.text.len() + 4;
        commands.push(Command::Put { key, value: document.value, condition: Condition::Always });
        if commands.len() == 1000 || number + 1 == count {
            store.batch(std::mem::take(&mut commands))?;
        }
    }
    store.close()?;
    Ok(text_bytes)
}

fn fill_redis(options: &Options, path: &Path, count: usize) -> Outcome<()> {
    let redis = Redis::start(&options.redis, path)?;
    let mut client = redis.client()?;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (number, document) in documents(count)?.enumerate() {
        pairs.push((format!("person{number}"), document.text));
        if pairs.len() == 1000 || number + 1 == count {
            client.set_all(pairs.iter().map(|(key, text)| (key.as_str(), text.as_str())))?;
            pairs.clear();
        }
    }
    Ok(redis.kill()?)
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn bytes_in(path: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn checkpoint(options: &Options, count: usize) -> Outcome<()> {
    const CLIENTS: usize = 16;
    let documents: Vec<Document> = documents(DOCUMENTS)?.collect();
    let directory = scratch(options)?;
    let path = directory.path().join("store");
    fill(&path, count)?;
    let store = Store::builder().snapshot_bytes(u64::MAX).open(&path)?;
    let put = |client: usize, n: u64| -> Outcome<()> {
        let number = (usize::try_from(n)? * CLIENTS + client) * 7919 % count;
        store.put(&format!("person{number}"), documents[number % DOCUMENTS].value.clone())?;
        Ok(())
    };
    println!("puts/s usually  while a checkpoint is written  ratio  seconds of the checkpoint");
    let mut rows = Vec::new();
    for _ in 0..options.rounds {
        let usual = rate(CLIENTS, Duration::from_secs(2), put)?;
        // As many checkpoints as fit, for as long as the puts go on.
        let stop = AtomicBool::new(false);
        let (during, seconds) = thread::scope(|scope| -> Outcome<_> {
            let checkpoints = scope.spawn(|| -> Outcome<f64> {
                let mut times = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    store.checkpoint()?;
                    times.push(begun.elapsed().as_secs_f64());
                }
                Ok(median(times))
            });
            let during = rate(CLIENTS, Duration::from_secs(4), put);
            stop.store(true, Ordering::Relaxed);
            Ok((during?, checkpoints.join().expect("the checkpoints panicked")?))
        })?;
        rows.push((usual, during, seconds));
    }
    let of = |figure: fn(&(f64, f64, f64)) -> f64| median(rows.iter().map(figure).collect());
    println!(
        "{:14.0}  {:29.0}  {:5.2}  {:.2}",
        of(|row| row.0),
        of(|row| row.1),
        of(|row| row.1 / row.0),
        of(|row| row.2)
    );
    Ok(())
}

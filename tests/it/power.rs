//! Servers on disks in memory, whose power can be cut.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use triekv::log::{Disk, DiskFile, MemoryDisk};
use triekv::replication::{Server, ServerBuilder, ServerError};
use triekv::transport::Transport;

/// How long a simulated clock waits for a disk, in real time: much longer than any work takes.
const WORK_TIME: Duration = Duration::from_secs(2);

/// A machine with one disk, on which one program runs at a time.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) disk: MemoryDisk,
    /// The program that was started last.
    running: Arc<Program>,
    /// Milliseconds of a simulated clock that a sync of the log takes.
    sync_millis: Arc<AtomicU64>,
    clock: Option<Clock>,
    pub(crate) counters: Arc<Counters>,
}

/// What the disk of a machine has been through.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) slow_syncs: AtomicU64,
    /// Snapshots that began to arrive from another replica.
    pub(crate) arriving: AtomicU64,
    /// Snapshots that took the place of the one before.
    pub(crate) snapshots: AtomicU64,
    /// Power cuts after which a file was not what it had been.
    pub(crate) power_cuts_that_lost: AtomicU64,
}

/// A program that runs on a machine.
#[derive(Debug, Default)]
struct Program {
    on: AtomicBool,
    /// Work that was sent to its log and is not settled.
    queued: AtomicUsize,
    /// Whether its log waits for the simulated clock.
    asleep: AtomicBool,
}

impl Program {
    fn is_busy(&self) -> bool {
        let of = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
        of(&self.on) && self.queued.load(Ordering::SeqCst) > 0 && !of(&self.asleep)
    }
}

/// A paused clock that stands still while a disk of its machines has something to do: tokio's goes
/// on as soon as no task has, and does not know the threads of logs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    programs: Arc<Mutex<Vec<Arc<Program>>>>,
    /// How often a disk took longer than that.
    late: Arc<AtomicUsize>,
}

impl Clock {
    /// A runtime on one thread, with this clock.
    pub(crate) fn runtime(&self) -> Runtime {
        let clock = self.clone();
        let mut builder = Builder::new_current_thread();
        builder.enable_all().start_paused(true).on_thread_park(move || clock.wait());
        builder.build().unwrap()
    }

    /// How often time went on although a disk had something to do, since it took too long.
    pub(crate) fn late(&self) -> usize {
        self.late.load(Ordering::SeqCst)
    }

    fn wait(&self) {
        let began = Instant::now();
        while self.programs.lock().unwrap().iter().any(|program| program.is_busy()) {
            if began.elapsed() > WORK_TIME {
                self.late.fetch_add(1, Ordering::SeqCst);
                return;
            }
            std::thread::yield_now();
        }
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A machine for which `clock` waits.
    pub(crate) fn on(clock: &Clock) -> Self {
        Self { clock: Some(clock.clone()), ..Self::default() }
    }

    /// The disk, for a program that starts now. One that ran before can change nothing any more.
    pub(crate) fn disk(&mut self) -> Arc<dyn Disk> {
        self.running.on.store(false, Ordering::SeqCst);
        let running = Program { on: AtomicBool::new(true), ..Program::default() };
        self.running = Arc::new(running);
        if let Some(clock) = &self.clock {
            let mut programs = clock.programs.lock().unwrap();
            programs.retain(|program| program.on.load(Ordering::SeqCst));
            programs.push(Arc::clone(&self.running));
        }
        Arc::new(Plugged {
            disk: self.disk.clone(),
            program: Arc::clone(&self.running),
            sync_millis: Arc::clone(&self.sync_millis),
            counters: Arc::clone(&self.counters),
            runtime: self.clock.as_ref().map(|_| Handle::current()),
        })
    }

    /// Cuts the power: what was not synced is lost, or not, as the seed decides.
    pub(crate) fn cut(&mut self, seed: u64) {
        self.running.on.store(false, Ordering::SeqCst);
        let before = self.files();
        self.disk.power_cut(seed);
        let lost = self.files() != before;
        self.counters.power_cuts_that_lost.fetch_add(u64::from(lost), Ordering::SeqCst);
    }

    /// Sets how long each sync of the log takes, by the simulated clock.
    pub(crate) fn slow_down(&self, sync: Duration) {
        let millis = u64::try_from(sync.as_millis()).unwrap();
        self.sync_millis.store(millis, Ordering::SeqCst);
    }

    fn files(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let names = self.disk.list().unwrap_or_default().into_iter();
        names.map(|name| (name.clone(), self.disk.read(&name))).collect()
    }

    /// Bytes of all files.
    pub(crate) fn used(&self) -> u64 {
        let names = self.disk.list().unwrap();
        names.iter().map(|name| self.disk.read(name).map_or(0, |file| file.len() as u64)).sum()
    }

    /// Starts a server on the disk, once the address is free: that of one that crashed is, a moment
    /// later.
    pub(crate) async fn start<T: Transport>(
        &mut self,
        server: impl Fn() -> ServerBuilder<T>,
    ) -> Result<Server<T>, ServerError> {
        let disk = self.disk();
        let started = async {
            loop {
                match server().disk(Arc::clone(&disk)).start().await {
                    Err(ServerError::Listen(_)) => tokio::task::yield_now().await,
                    started => return started,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), started).await.expect("the address is free")
    }
}

/// A disk as one program has it.
#[derive(Debug, Clone)]
struct Plugged {
    disk: MemoryDisk,
    program: Arc<Program>,
    sync_millis: Arc<AtomicU64>,
    counters: Arc<Counters>,
    /// Where the simulated clock is, if there is one.
    runtime: Option<Handle>,
}

impl Plugged {
    fn on(&self) -> io::Result<&MemoryDisk> {
        if self.program.on.load(Ordering::SeqCst) {
            Ok(&self.disk)
        } else {
            Err(io::Error::other("the power was cut"))
        }
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(PluggedFile { file, disk: self.clone() })
    }

    /// Lets a sync of the log take its time. Other threads are such for which the clock waits.
    fn sleep(&self) {
        let millis = self.sync_millis.load(Ordering::SeqCst);
        let is_log = std::thread::current().name() == Some("triekv-log");
        let Some(runtime) = self.runtime.as_ref().filter(|_| millis > 0 && is_log) else { return };
        self.counters.slow_syncs.fetch_add(1, Ordering::SeqCst);
        let (wake, woken) = mpsc::channel();
        let program = Arc::clone(&self.program);
        runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            program.asleep.store(false, Ordering::SeqCst);
            let _ = wake.send(());
        });
        // The clock has stood still until now, so the task is not done yet.
        self.program.asleep.store(true, Ordering::SeqCst);
        // Whoever drops the server waits for its log, so that the clock may not go on for it.
        while self.program.on.load(Ordering::SeqCst) {
            if woken.recv_timeout(Duration::from_millis(1)) != Err(mpsc::RecvTimeoutError::Timeout)
            {
                break;
            }
        }
        self.program.asleep.store(false, Ordering::SeqCst);
    }
}

impl Disk for Plugged {
    fn location(&self) -> String {
        self.disk.location()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.on()?.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let arriving = u64::from(name.contains("arriving"));
        self.counters.arriving.fetch_add(arriving, Ordering::SeqCst);
        Ok(self.file(self.on()?.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.on()?.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let snapshot = u64::from(to.ends_with(".snapshot"));
        self.counters.snapshots.fetch_add(snapshot, Ordering::SeqCst);
        self.on()?.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.on()?.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.on()?.sync_names()
    }

    fn work_queued(&self) {
        self.program.queued.fetch_add(1, Ordering::SeqCst);
    }

    fn work_settled(&self, count: usize) {
        self.program.queued.fetch_sub(count, Ordering::SeqCst);
    }
}

/// An open file of a [`Plugged`] disk.
#[derive(Debug)]
struct PluggedFile {
    file: Box<dyn DiskFile>,
    disk: Plugged,
}

impl DiskFile for PluggedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_size(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sleep();
        self.file.sync()
    }
}

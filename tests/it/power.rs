//! Servers on disks in memory, whose power can be cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use triekv::log::{Disk, DiskFile, MemoryDisk};
use triekv::replication::{Server, ServerBuilder, ServerError};
use triekv::transport::Transport;

/// A machine with one disk, on which one program runs at a time.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) disk: MemoryDisk,
    /// Whether the program that runs is the one that was started last.
    on: Arc<AtomicBool>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The disk, for a program that starts now. One that ran before can change nothing any more.
    pub(crate) fn disk(&mut self) -> Arc<dyn Disk> {
        self.on.store(false, Ordering::SeqCst);
        self.on = Arc::new(AtomicBool::new(true));
        Arc::new(Plugged { disk: self.disk.clone(), on: Arc::clone(&self.on) })
    }

    /// Cuts the power: what was not synced is lost, or not, as the seed decides.
    pub(crate) fn cut(&mut self, seed: u64) {
        self.on.store(false, Ordering::SeqCst);
        self.disk.power_cut(seed);
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
#[derive(Debug)]
struct Plugged {
    disk: MemoryDisk,
    on: Arc<AtomicBool>,
}

impl Plugged {
    fn on(&self) -> io::Result<&MemoryDisk> {
        if self.on.load(Ordering::SeqCst) {
            Ok(&self.disk)
        } else {
            Err(io::Error::other("the power was cut"))
        }
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
        self.on()?.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.on()?.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.on()?.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.on()?.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.on()?.sync_names()
    }
}

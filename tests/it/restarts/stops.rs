//! Servers that are stopped while their disk answers nothing, or is full.

use std::io;
use std::sync::{Condvar, Mutex};

use triekv::log::{DiskFile, MemoryDisk};

use super::full::start_with;
use super::*;

/// A disk whose syncs of files wait for as long as it is held.
#[derive(Debug, Clone, Default)]
struct HeldDisk {
    disk: MemoryDisk,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    held: Mutex<bool>,
    changed: Condvar,
}

impl HeldDisk {
    fn hold(&self, held: bool) {
        *self.gate.held.lock().unwrap() = held;
        self.gate.changed.notify_all();
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(HeldFile { file, gate: Arc::clone(&self.gate) })
    }
}

impl Disk for HeldDisk {
    fn location(&self) -> String {
        self.disk.location()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
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

#[derive(Debug)]
struct HeldFile {
    file: Box<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl DiskFile for HeldFile {
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
        let held = self.gate.held.lock().unwrap();
        drop(self.gate.changed.wait_while(held, |held| *held).unwrap());
        self.file.sync()
    }
}

/// Stops the server; it takes no longer than it says, on however busy a machine.
async fn stop(server: ChannelServer) {
    let stopped = tokio::time::timeout(DEADLINE, server.stop()).await;
    assert!(stopped.is_ok(), "it waits for its disk");
}

#[tokio::test]
async fn a_server_whose_disk_does_not_answer_is_stopped_all_the_same() {
    let disk = HeldDisk::default();
    let (server, broker) = start_with(Arc::new(disk.clone()), Duration::from_millis(500)).await;
    disk.hold(true);
    assert!(broker.put("waits", value!({})).await.unwrap_err().is_ambiguous());
    stop(server).await;
    disk.hold(false);
}

#[tokio::test]
async fn a_server_that_waits_for_room_is_stopped_all_the_same() {
    let disk = MemoryDisk::new();
    let (server, broker) = start_with(Arc::new(disk.clone()), Duration::from_millis(500)).await;
    disk.set_capacity(Some(0));
    let large = value!({ "filling": "x".repeat(1 << 20) });
    assert!(broker.put("large", large).await.is_err());
    stop(server).await;
}

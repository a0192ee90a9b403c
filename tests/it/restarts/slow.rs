//! A server that takes long to read a shard, while it leads group 0 already.

use std::io;
use std::sync::{Condvar, Mutex};

use triekv::log::{DiskFile, MemoryDisk};

use super::*;

/// How long a shard's snapshot takes to open: much longer than an election.
const LONG: Duration = Duration::from_secs(3);

/// A disk on which the first one to open a shard's snapshot waits until another one does, or long.
#[derive(Debug)]
struct SlowDisk {
    disk: MemoryDisk,
    opened: Mutex<u32>,
    again: Condvar,
}

impl Disk for SlowDisk {
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
        if name == "group-1.snapshot" {
            let mut opened = self.opened.lock().unwrap();
            *opened += 1;
            self.again.notify_all();
            let alone = |opened: &mut u32| *opened < 2;
            drop(self.again.wait_timeout_while(opened, LONG, alone).unwrap());
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

#[tokio::test]
async fn the_leader_of_group_0_waits_for_the_groups_that_are_still_read() {
    let mut servers = Servers::start(1, 5_000).await;
    put_many(&servers.broker(1).await, 0..50).await;
    let disk = servers.machines[0].disk.clone();
    servers.cut(0, u64::MAX);
    let disk = SlowDisk { disk, opened: Mutex::default(), again: Condvar::new() };
    let disk = Arc::new(disk);
    let network = servers.network.named(&name(0));
    let server = loop {
        match builder(&network, 0).disk(Arc::clone(&disk) as Arc<dyn Disk>).start().await {
            Err(ServerError::Listen(_)) => tokio::task::yield_now().await,
            server => break server.unwrap(),
        }
    };
    assert_all(&servers.broker(1).await, 0..50).await;
    put_many(&servers.broker(1).await, 50..60).await;
    assert_eq!(*disk.opened.lock().unwrap(), 1, "a second replica was started");
    drop(server);
}

//! The thread that writes, and those who send to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::*;

/// An entry to append to group 1, and whom to tell.
type Work = (Vec<u8>, mpsc::Sender<Result<u64, LogError>>);

#[derive(Default)]
struct Appender {
    next: u64,
    waiting: Vec<(u64, mpsc::Sender<Result<u64, LogError>>)>,
    largest: Arc<AtomicU64>,
}

impl Committer for Appender {
    type Work = Work;

    fn stage(&mut self, (payload, done): Work, batch: &mut Batch) {
        batch.append(1, self.next, &payload);
        batch.sync();
        self.waiting.push((self.next, done));
        self.next += 1;
    }

    fn settle(&mut self, outcome: Result<(), &LogError>) {
        self.largest.fetch_max(self.waiting.len() as u64, Ordering::Relaxed);
        if matches!(outcome, Err(LogError::Full { .. })) {
            self.next -= self.waiting.len() as u64;
        }
        for (index, done) in self.waiting.drain(..) {
            done.send(outcome.map(|()| index).map_err(Clone::clone)).unwrap();
        }
    }
}

fn append(log: &Log<Work>, payload: &[u8]) -> mpsc::Receiver<Result<u64, LogError>> {
    let (done, told) = mpsc::channel();
    log.send((payload.to_vec(), done)).unwrap();
    told
}

#[test]
fn many_threads_share_the_syncs_and_each_is_told_the_truth() {
    let disk = MemoryDisk::new();
    let log = open(&disk).unwrap().start(Appender::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let log = log.clone();
            scope.spawn(move || {
                for n in 0..200_u64 {
                    let payload = [thread.to_le_bytes(), n.to_le_bytes()].concat();
                    let index = append(&log, &payload).recv().unwrap().unwrap();
                    let found = log.reader().read(1, index..index + 1, 1).unwrap();
                    assert_eq!(found, [(index, payload)]);
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!(stats.records, 1600);
    assert!(stats.batches <= 1600 && stats.segments > 1);
    drop(log);
    disk.power_cut(0);
    assert_eq!(open(&disk).unwrap().indices(1), 0..1600);
}

#[test]
fn work_that_was_sent_before_the_close_is_done_and_later_work_is_given_back() {
    let disk = MemoryDisk::new();
    let log = open(&disk).unwrap().start(Appender::default()).unwrap();
    let told: Vec<_> = (0..50).map(|_| append(&log, b"x")).collect();
    log.close();
    for (n, told) in told.into_iter().enumerate() {
        assert_eq!(told.recv().unwrap().unwrap(), n as u64);
    }
    let (done, _told) = mpsc::channel();
    assert!(log.send((Vec::new(), done)).is_err());
    log.close();
}

#[test]
fn a_batch_that_waits_for_room_is_written_when_there_is_some() {
    let disk = MemoryDisk::new();
    let options = LogOptions { when_full: WhenFull::Wait, ..options() };
    let recovered = Recovered::open(Arc::new(disk.clone()), options).unwrap();
    let log = recovered.start(Appender::default()).unwrap();
    assert_eq!(append(&log, b"fits").recv().unwrap().unwrap(), 0);
    disk.set_capacity(Some(0));
    assert!(log.has_room(1000));
    let told = append(&log, &vec![1; 500_000]);
    while log.has_room(500_000) {
        std::thread::yield_now();
    }
    assert!(told.try_recv().is_err());
    disk.set_capacity(None);
    assert_eq!(told.recv().unwrap().unwrap(), 1);
    while !log.has_room(500_000) {
        std::thread::yield_now();
    }
}

#[test]
fn a_group_that_purges_nothing_keeps_segments_and_is_named() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    let mut batch = Batch::default();
    batch.append(2, 0, b"small and never purged");
    recovered.writer().commit(&mut batch).unwrap();
    for index in 0..40 {
        let mut batch = Batch::default();
        batch.append(1, index, &[1; 1000]);
        batch.purge(1, index);
        recovered.writer().commit(&mut batch).unwrap();
        recovered.writer().maintain();
    }
    let lagging =
        |recovered: &Recovered, segments| writer::lagging(&recovered.reader().contents(), segments);
    assert!(disk.list().unwrap().len() > 3);
    assert_eq!(lagging(&recovered, 2), [2]);
    assert_eq!(lagging(&recovered, 100), [0_u32; 0]);
    let mut batch = Batch::default();
    batch.purge(2, 1);
    batch.purge(1, 40);
    recovered.writer().commit(&mut batch).unwrap();
    recovered.writer().maintain();
    assert_eq!(disk.list().unwrap().len(), 1);
    assert_eq!(lagging(&recovered, 1), [0_u32; 0]);
}

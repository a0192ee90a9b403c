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
    // Not even the least: there is some room, and it would wait behind the batch.
    while log.has_room(1) {
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

/// Appends entries with indices that the test says, and tells of every outcome.
struct Told {
    settled: mpsc::Sender<Result<(), LogError>>,
    /// What to do before telling of a failure.
    failed: Box<dyn FnMut() + Send>,
}

impl Committer for Told {
    type Work = (u64, usize, bool);

    fn stage(&mut self, (index, len, sync): Self::Work, batch: &mut Batch) {
        batch.append(1, index, &vec![1; len]);
        if sync {
            batch.sync();
        }
    }

    fn settle(&mut self, outcome: Result<(), &LogError>) {
        if outcome.is_err() {
            (self.failed)();
        }
        let _ = self.settled.send(outcome.map_err(Clone::clone));
    }
}

fn start_told(
    disk: &MemoryDisk,
    options: LogOptions,
    failed: Box<dyn FnMut() + Send>,
) -> (Log<<Told as Committer>::Work>, mpsc::Receiver<Result<(), LogError>>) {
    let (settled, told) = mpsc::channel();
    let recovered = Recovered::open(Arc::new(disk.clone()), options).unwrap();
    (recovered.start(Told { settled, failed }).unwrap(), told)
}

#[test]
fn a_batch_that_is_refused_takes_nothing_with_it_that_was_settled() {
    let disk = MemoryDisk::new();
    let (log, told) = start_told(&disk, options(), Box::new(|| {}));
    log.send((0, 10, false)).unwrap();
    told.recv().unwrap().unwrap();
    disk.set_capacity(Some(0));
    log.send((1, 400_000, true)).unwrap();
    assert!(matches!(told.recv().unwrap(), Err(LogError::Full { .. })));
    disk.set_capacity(None);
    log.send((1, 10, true)).unwrap();
    told.recv().unwrap().unwrap();
    disk.power_cut(0);
    assert_eq!(open(&disk).unwrap().indices(1), 0..2);
}

#[test]
fn a_batch_that_was_given_up_is_not_written_with_the_next_one() {
    let disk = MemoryDisk::new();
    let options = LogOptions { when_full: WhenFull::Wait, ..options() };
    // There is room again right after the batch was given up.
    let room = disk.clone();
    let (log, told) = start_told(&disk, options, Box::new(move || room.set_capacity(None)));
    disk.set_capacity(Some(0));
    log.send((0, 400_000, true)).unwrap();
    while log.has_room(1) {
        std::thread::yield_now();
    }
    log.send((0, 100, true)).unwrap();
    log.close();
    assert!(matches!(told.recv().unwrap(), Err(LogError::Full { .. })));
    told.recv().unwrap().unwrap();
    let recovered = open(&disk).unwrap();
    assert_eq!(recovered.reader().read(1, 0..9, usize::MAX).unwrap(), [(0, vec![1; 100])]);
}

#[test]
fn what_nobody_waits_for_is_written_once_there_is_much_of_it() {
    let disk = MemoryDisk::new();
    let (log, told) = start_told(&disk, LogOptions::default(), Box::new(|| {}));
    for index in 0..12 {
        log.send((index, 1 << 20, false)).unwrap();
        told.recv().unwrap().unwrap();
    }
    assert_eq!(log.reader().indices(1), 0..8);
}

#[test]
fn a_log_that_stopped_takes_nothing_even_if_nobody_waits_for_it() {
    let disk = MemoryDisk::new();
    let (log, told) = start_told(&disk, options(), Box::new(|| {}));
    disk.fail(Fault::Sync { operation: 0 });
    log.send((0, 10, true)).unwrap();
    assert!(matches!(told.recv().unwrap(), Err(LogError::Io { operation: "sync", .. })));
    log.send((0, 10, false)).unwrap();
    assert!(matches!(told.recv().unwrap(), Err(LogError::Stopped(_))));
}

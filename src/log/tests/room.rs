//! Disks that have no room where there are bytes already, or say so only when they sync.

use std::sync::mpsc;

use super::*;

/// Opens the log, again for as long as there is no room.
fn open_once_there_is_room(disk: &MemoryDisk, options: LogOptions) -> Recovered {
    loop {
        match Recovered::open(Arc::new(disk.clone()), options) {
            Ok(recovered) => return recovered,
            Err(LogError::Full { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// The entries of group 1.
fn entries(recovered: &Recovered) -> Vec<Vec<u8>> {
    let entries = recovered.reader().read(1, 0..u64::MAX, usize::MAX).unwrap();
    entries.into_iter().map(|(_, entry)| entry).collect()
}

#[test]
fn what_finds_no_room_within_a_file_is_refused_whole_and_the_log_goes_on() {
    let long = LogOptions::default();
    let (mut refused, mut stopped) = (0, 0);
    // Segments that are extended, and short ones, whose seals find no room.
    for (options, len) in [(long, 30_000), (options(), 900)] {
        for from in 0..90 {
            for count in [1, 2, 5] {
                let disk = MemoryDisk::new();
                disk.fail(Fault::NoRoom { from, until: from + count });
                let what = format!("no room from {from} for {count}, entries of {len} bytes");
                let mut recovered = open_once_there_is_room(&disk, options);
                let mut acknowledged: Vec<Vec<u8>> = Vec::new();
                let mut doubt = false;
                for attempt in 1..30 {
                    let mut batch = Batch::default();
                    // One that comes after a longer one which was refused must not end in it.
                    let entry = vec![attempt; len * 3 / (1 + usize::from(attempt) % 3)];
                    batch.append(1, acknowledged.len() as u64, &entry);
                    batch.sync();
                    match recovered.writer().commit(&mut batch) {
                        Ok(()) => acknowledged.push(entry),
                        Err(LogError::Full { .. }) => refused += 1,
                        Err(LogError::Io { operation: "sync", .. } | LogError::Stopped(_)) => {
                            assert!(count > 1, "{what}: the log stopped");
                            doubt = true;
                            stopped += 1;
                            break;
                        }
                        Err(other) => panic!("{what}: {other:?}"),
                    }
                    recovered.writer().maintain();
                }
                assert!(doubt || acknowledged.len() > 20, "{what}: {}", acknowledged.len());
                drop(recovered);
                disk.power_cut(from % 5);
                let found = entries(&open_once_there_is_room(&disk, options));
                let known = found.len().min(acknowledged.len());
                assert_eq!(found[..known], acknowledged, "{what}");
                assert!(found.len() == known || (doubt && found.len() == known + 1), "{what}");
            }
        }
    }
    assert!(refused > 200 && stopped > 20, "{refused} were refused, {stopped} logs stopped");
}

/// Appends entries, and tells of every outcome and of the disk.
struct Told {
    settled: mpsc::Sender<Result<(), LogError>>,
    room: mpsc::Sender<bool>,
}

impl Committer for Told {
    type Work = u64;

    fn stage(&mut self, index: u64, batch: &mut Batch) {
        batch.append(1, index, &[1; 2000]);
        batch.sync();
    }

    fn settle(&mut self, outcome: Result<(), &LogError>) {
        let _ = self.settled.send(outcome.map_err(Clone::clone));
    }

    fn room_changed(&mut self, full: bool) {
        let _ = self.room.send(full);
    }
}

fn start(
    disk: &MemoryDisk,
    options: LogOptions,
) -> (Log<u64>, mpsc::Receiver<Result<(), LogError>>, mpsc::Receiver<bool>) {
    let ((settled, outcomes), (room, changes)) = (mpsc::channel(), mpsc::channel());
    let recovered = open_once_there_is_room(disk, options);
    (recovered.start(Told { settled, room }).unwrap(), outcomes, changes)
}

#[test]
fn a_log_that_waits_for_room_writes_everything_once_there_is_some() {
    let options = LogOptions { when_full: WhenFull::Wait, ..options() };
    let mut waited = 0;
    for from in (3..60).step_by(3) {
        let disk = MemoryDisk::new();
        disk.fail(Fault::NoRoom { from, until: from + 3 });
        let (log, outcomes, changes) = start(&disk, options);
        let mut written = 0;
        for index in 0..20 {
            log.send(index).unwrap();
            match outcomes.recv().unwrap() {
                Ok(()) => written += 1,
                // Nothing can go on beside a seal that may be there.
                Err(LogError::Io { operation: "sync", .. }) => break,
                Err(other) => panic!("no room from {from}: {other:?}"),
            }
        }
        log.close();
        waited += changes.try_iter().filter(|full| *full).count();
        disk.power_cut(from);
        assert!(entries(&open_once_there_is_room(&disk, options)).len() >= written, "{from}");
    }
    assert!(waited > 5, "{waited} logs waited");
}

#[test]
fn a_full_disk_is_told_when_it_begins_and_when_it_ends_and_not_for_each_batch() {
    let disk = MemoryDisk::new();
    let (log, outcomes, changes) = start(&disk, options());
    log.send(0).unwrap();
    outcomes.recv().unwrap().unwrap();
    disk.set_capacity(Some(0));
    let mut next = 1;
    for _ in 0..300 {
        log.send(next).unwrap();
        next += u64::from(outcomes.recv().unwrap().is_ok());
    }
    assert_eq!(changes.try_iter().collect::<Vec<_>>(), [true]);
    // Nobody writes or asks: the log looks by itself.
    disk.set_capacity(None);
    assert!(!changes.recv().unwrap());
    log.send(next).unwrap();
    while outcomes.recv().unwrap().is_err() {}
    log.close();
    assert_eq!(changes.try_iter().count(), 0);
}

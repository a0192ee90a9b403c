//! Failures one after the other: a sync, then the process, then the power; and what the disk was
//! told but has not done.

use super::*;

fn commit(recovered: &mut Recovered, make: impl FnOnce(&mut Batch)) -> Result<(), LogError> {
    let mut batch = Batch::default();
    make(&mut batch);
    batch.sync();
    let outcome = recovered.writer().commit(&mut batch);
    recovered.writer().maintain();
    outcome
}

fn end(recovered: &Recovered) -> u64 {
    recovered.reader().contents().segments.back().unwrap().end
}

/// Long segments, so that files are extended.
fn open_long(disk: &MemoryDisk) -> Result<Recovered, LogError> {
    Recovered::open(Arc::new(disk.clone()), LogOptions::default())
}

type Open = fn(&MemoryDisk) -> Result<Recovered, LogError>;

#[test]
fn what_a_failed_sync_gave_up_is_written_again_by_the_next_opening() {
    // Frames at the ends of short segments, and long ones that need more room.
    for (open, len) in [(open_long as Open, 30_000), (open, 900)] {
        for failing in 0..50 {
            for cut in [0, 2] {
                let disk = MemoryDisk::new();
                disk.fail(Fault::Sync { operation: failing });
                let mut acknowledged = 0;
                if let Ok(mut recovered) = open(&disk) {
                    let payload = vec![1; len];
                    while commit(&mut recovered, |b| b.append(1, acknowledged, &payload)).is_ok() {
                        acknowledged += 1;
                    }
                }
                // What can be read is not all on the disk.
                disk.kill();
                let what = format!("sync {failing} failed, power cut {cut}, {len} bytes");
                let mut recovered = open(&disk).unwrap_or_else(|e| panic!("{what}: {e:?}"));
                let next = recovered.indices(1).end;
                assert!(next >= acknowledged, "{what}");
                for index in next..next + 3 {
                    commit(&mut recovered, |b| b.append(1, index, &vec![2; 3 * len])).unwrap();
                }
                disk.power_cut(cut);
                let recovered = open(&disk).unwrap_or_else(|e| panic!("{what}: {e:?}"));
                assert_eq!(recovered.indices(1).end, next + 3, "{what}");
                recovered.reader().verify().unwrap();
            }
        }
    }
}

#[test]
fn a_repair_whose_sync_failed_leaves_nothing_of_what_it_removed() {
    let mut torn = 0;
    for crash in 1..30 {
        for cut in 1..5 {
            let disk = MemoryDisk::new();
            disk.fail(Fault::Crash { operation: crash, seed: cut });
            let mut index = 0;
            if let Ok(mut recovered) = open(&disk) {
                while commit(&mut recovered, |b| b.append(1, index, &[1; 2900])).is_ok() {
                    index += 1;
                }
            }
            disk.power_cut(cut);
            disk.fail(Fault::Sync { operation: disk.operations() });
            assert!(open(&disk).is_err());
            let mut recovered = open(&disk).unwrap();
            let next = recovered.indices(1).end;
            assert!(next >= index);
            // The frame ends with a sector. In the next one may be a part of the write that was cut
            // short, which is not the beginning of one.
            let within = end(&recovered) % 511;
            let payload = vec![2; usize::try_from(2 * 511 - within - 19).unwrap()];
            commit(&mut recovered, |b| b.append(1, next, &payload)).unwrap();
            torn += u32::from(end(&recovered).is_multiple_of(511));
            disk.power_cut(0);
            let recovered = open(&disk).unwrap_or_else(|e| panic!("{crash} {cut}: {e:?}"));
            assert_eq!(recovered.indices(1).end, next + 1, "{crash} {cut}");
        }
    }
    assert!(torn > 50, "{torn}");
}

#[test]
fn segments_that_were_removed_come_back_only_with_those_after_them() {
    for cut in 0..20 {
        let disk = MemoryDisk::new();
        let mut recovered = open(&disk).unwrap();
        for index in 0..60 {
            commit(&mut recovered, |b| b.append(1, index, &[1; 900])).unwrap();
        }
        let before = disk.list().unwrap().len();
        commit(&mut recovered, |b| b.purge(1, 60)).unwrap();
        assert!(before > 4 && disk.list().unwrap().len() <= 2);
        disk.power_cut(cut);
        let recovered = open(&disk).unwrap_or_else(|e| panic!("power cut {cut}: {e:?}"));
        assert_eq!(recovered.indices(1), 60..60);
    }
}

#[test]
fn a_full_disk_takes_a_log_that_is_opened_and_keeps_room_for_a_seal() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    let mut index = 0;
    disk.set_capacity(Some(0));
    while commit(&mut recovered, |b| b.append(1, index, &[1; 900])).is_ok() {
        index += 1;
    }
    drop(recovered);
    let used = disk.read(&segment::name(1)).unwrap().len() as u64;
    for more in 0..200 {
        // A log that ended: its file has no room of its own, and the disk has little.
        disk.set_capacity(Some(used + more * 1024));
        let mut recovered = open(&disk).unwrap();
        assert_eq!(recovered.indices(1).end, index);
        match commit(&mut recovered, |b| b.append(1, index, &[1; 900])) {
            Ok(()) => index += 1,
            Err(LogError::Full { .. }) => {}
            Err(other) => panic!("{more}: {other:?}"),
        }
    }
    disk.power_cut(0);
    assert_eq!(open(&disk).unwrap().indices(1).end, index);
}

#[test]
fn sizes_are_known_after_opening_too() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    for index in 0..40 {
        commit(&mut recovered, |b| b.append(1, index, &[1; 900])).unwrap();
    }
    drop(recovered);
    let mut recovered = open(&disk).unwrap();
    let on_disk = || {
        let names = disk.list().unwrap();
        names.iter().map(|name| disk.read(name).unwrap().len() as u64).sum::<u64>()
    };
    let known = |recovered: &mut Recovered| {
        let contents = recovered.reader();
        recovered.writer().counters().stats(&contents.contents()).disk_bytes
    };
    assert_eq!(known(&mut recovered), on_disk());
    commit(&mut recovered, |b| b.purge(1, 40)).unwrap();
    assert_eq!(known(&mut recovered), on_disk());
}

#[test]
fn a_segment_that_ends_before_the_next_one_says_is_noticed() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    commit(&mut recovered, |b| b.append(1, 0, b"keeps the segment")).unwrap();
    // No index is missing without the last of these.
    let set = |recovered: &mut Recovered| commit(recovered, |b| b.set(1, 0, &[1; 900])).unwrap();
    let mut older = Vec::new();
    while disk.list().unwrap().len() == 1 {
        older.push(disk.read(&segment::name(1)).unwrap());
        set(&mut recovered);
    }
    // As after a power cut before the first segment was sealed.
    let frame = 900 + 5 + frame::OVERHEAD_BYTES as u64;
    let second = usize::try_from(sector::write_offset(end(&recovered) - frame)).unwrap();
    let mut bytes = disk.read(&segment::name(2)).unwrap();
    bytes[second..].fill(0);
    disk.write(&segment::name(2), &bytes);
    for (n, older) in older.iter().rev().enumerate() {
        disk.write(&segment::name(1), older);
        let opened = open(&disk);
        if n == 0 {
            opened.unwrap();
        } else {
            assert!(matches!(opened, Err(LogError::Corrupt { .. })), "{n}");
        }
    }
}

fn refused_by_panic(recovered: &mut Recovered, make: impl FnOnce(&mut Batch)) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = commit(recovered, make);
    }));
    assert!(outcome.is_err());
}

#[test]
fn a_record_that_does_not_fit_is_not_written() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    refused_by_panic(&mut recovered, |b| b.append(1, u64::MAX, b"no index follows"));
    commit(&mut recovered, |b| b.append(1, 0, b"a")).unwrap();
    refused_by_panic(&mut recovered, |b| b.append(1, 2, b"1 is missing"));
    refused_by_panic(&mut recovered, |b| {
        b.append(1, 1, b"b");
        b.truncate(1, 1);
        b.append(1, 2, b"1 is gone");
    });
    commit(&mut recovered, |b| {
        b.append(1, 1, b"b");
        b.truncate(1, 1);
        b.append(1, 1, b"c");
        b.purge(1, 7);
        b.append(1, 7, b"d");
        b.drop_group(1);
        b.append(1, 3, b"e");
    })
    .unwrap();
    drop(recovered);
    assert_eq!(open(&disk).unwrap().indices(1), 3..4);
}

#[test]
fn an_entry_that_was_seen_while_it_was_written_is_read_again() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    commit(&mut recovered, |b| b.append(1, 0, b"a")).unwrap();
    commit(&mut recovered, |b| b.append(1, 1, &[3; 2000])).unwrap();
    let reader = recovered.reader();
    let file = disk.open(&segment::name(1)).unwrap();
    let mut sector = vec![0; 512];
    file.read_at(&mut sector, 1536).unwrap();
    file.write_at(&[0; 512], 1536).unwrap();
    let mut frames = reader::FrameReader::new(&reader);
    assert_eq!(frames.entry(1, 0).unwrap().unwrap(), b"a");
    file.write_at(&sector, 1536).unwrap();
    assert_eq!(frames.entry(1, 1).unwrap().unwrap(), [3; 2000]);
}

#[test]
fn a_long_state_of_the_groups_is_no_reason_for_a_segment() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    for register in 0..REGISTERS {
        commit(&mut recovered, |b| b.set(1, register, &[1; 4000])).unwrap();
    }
    // The newest one begins with the registers, which are as long as a segment gets.
    commit(&mut recovered, |b| b.append(1, 0, &[1; 3000])).unwrap();
    commit(&mut recovered, |b| b.append(1, 1, &[1; 3000])).unwrap();
    let before = disk.list().unwrap();
    for index in 2..10 {
        commit(&mut recovered, |b| b.append(1, index, b"small")).unwrap();
        drop(recovered);
        recovered = open(&disk).unwrap();
    }
    assert_eq!(disk.list().unwrap(), before);
}

#[test]
fn a_power_cut_while_the_log_of_a_killed_process_is_opened_changes_nothing() {
    // What was not synced is read by the opening, and then lost.
    let killed = |crash| {
        let disk = MemoryDisk::new();
        disk.fail(Fault::Crash { operation: crash, seed: u64::MAX });
        let mut acknowledged = 0;
        if let Ok(mut recovered) = open(&disk) {
            while commit(&mut recovered, |b| b.append(1, acknowledged, &[1; 2900])).is_ok() {
                acknowledged += 1;
            }
        }
        disk.kill();
        (disk, acknowledged)
    };
    let mut tried = 0;
    for crash in 0..40 {
        for again in 0.. {
            let (disk, acknowledged) = killed(crash);
            let operation = disk.operations() + again;
            disk.fail(Fault::Crash { operation, seed: u64::MAX });
            if open(&disk).is_ok() {
                break;
            }
            tried += 1;
            disk.power_cut(0);
            let recovered = open(&disk).unwrap_or_else(|e| panic!("{crash} {again}: {e:?}"));
            assert!(recovered.indices(1).end >= acknowledged, "{crash} {again}");
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn a_segment_without_its_seal_is_noticed_once_the_next_one_was_used() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    for index in 0..12 {
        commit(&mut recovered, |b| b.append(1, index, &[1; 900])).unwrap();
    }
    let seal = sector::write_offset(recovered.reader().contents().segments[0].end);
    drop(recovered);
    let mut bytes = disk.read(&segment::name(1)).unwrap();
    bytes[usize::try_from(seal).unwrap()..].fill(0);
    disk.write(&segment::name(1), &bytes);
    assert!(matches!(open(&disk), Err(LogError::Corrupt { .. })));
}

#[test]
fn what_an_opening_has_read_is_on_disk_even_if_nothing_is_written_after_it() {
    for failing in 2..40 {
        let disk = MemoryDisk::new();
        disk.fail(Fault::Sync { operation: failing });
        let mut index = 0;
        if let Ok(mut recovered) = open(&disk) {
            while commit(&mut recovered, |b| b.append(1, index, &[1; 900])).is_ok() {
                index += 1;
            }
        }
        disk.kill();
        let read = open(&disk).unwrap().indices(1);
        disk.power_cut(0);
        assert_eq!(open(&disk).unwrap().indices(1), read, "sync {failing} failed");
    }
}

#[test]
fn a_segment_that_begins_with_another_state_than_it_follows_is_noticed() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    commit(&mut recovered, |b| b.append(1, 0, b"a")).unwrap();
    let (log, follows) = (recovered.reader().log, end(&recovered));
    drop(recovered);
    let place = frame::Place { log, segment: 2 };
    for next in 0..3 {
        let state = record::GroupState { first: 0, registers: [const { None }; REGISTERS] };
        let mut bytes = vec![0; frame::HEADER_BYTES];
        record::write(&mut bytes, Kind::Follows, 0, follows, &[]);
        record::write(&mut bytes, Kind::State, 1, next, &postcard::to_stdvec(&state).unwrap());
        frame::seal(place, 0, &mut bytes);
        let mut marked = Vec::new();
        sector::mark(0, &bytes, &mut marked);
        disk.write(&segment::name(2), &[&segment::header(place)[..], &marked].concat());
        match open(&disk) {
            Ok(recovered) => assert_eq!((next, recovered.indices(1)), (1, 0..1)),
            Err(LogError::Corrupt { damage: Damage::Missing, .. }) => assert_ne!(next, 1),
            Err(other) => panic!("{next}: {other:?}"),
        }
    }
}

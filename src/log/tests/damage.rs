//! Torn ends, flipped bits, and files that are gone.

use super::*;
use crate::log::sector::{file_offset, write_offset};

/// A log of one segment with these entries, each a batch of its own; its file and its bytes, and
/// where each batch ends.
fn segment_with(payloads: &[Vec<u8>]) -> (String, Vec<u8>, Vec<u64>) {
    let disk = MemoryDisk::new();
    let mut recovered = Recovered::open(Arc::new(disk.clone()), LogOptions::default()).unwrap();
    let mut ends = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        let mut batch = Batch::default();
        batch.append(1, index as u64, payload);
        batch.sync();
        recovered.writer().commit(&mut batch).unwrap();
        ends.push(recovered.reader().contents().segments[0].end);
    }
    let name = segment::name(1);
    let bytes = disk.read(&name).unwrap();
    (name, bytes, ends)
}

fn with_file(name: &str, bytes: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.write(name, bytes);
    disk
}

fn payloads(seed: u64, count: u64, len: u64) -> Vec<Vec<u8>> {
    let mut draws = Draws(seed);
    (0..count)
        .map(|_| {
            let len = draws.below(len);
            draws.bytes(len)
        })
        .collect()
}

fn entries(recovered: &Recovered) -> Vec<Vec<u8>> {
    Model::read(recovered).0.remove(&1).unwrap_or_default().entries
}

#[test]
fn a_last_write_that_was_cut_short_at_any_byte_is_removed() {
    for seed in 0..3 {
        let payloads = payloads(seed, 8, 500);
        let (name, mut bytes, ends) = segment_with(&payloads);
        let last = usize::try_from(file_offset(ends[7] - 1)).unwrap() + 1;
        bytes.truncate(last.next_multiple_of(512) + 512);
        let third = usize::try_from(write_offset(ends[4])).unwrap();
        for cut in third..last {
            let whole = ends.iter().take_while(|end| file_offset(**end - 1) < cut as u64).count();
            let mut blanked = bytes.clone();
            blanked[cut..].fill(0);
            for torn in [&blanked[..], &bytes[..cut]] {
                let disk = with_file(&name, torn);
                let mut recovered = open(&disk).unwrap_or_else(|e| panic!("{seed} {cut}: {e:?}"));
                assert_eq!(entries(&recovered), payloads[..whole], "seed {seed}, cut at {cut}");
                let mut batch = Batch::default();
                batch.append(1, whole as u64, b"more");
                recovered.writer().commit(&mut batch).unwrap();
                drop(recovered);
                let recovered = open(&disk).unwrap();
                assert_eq!(entries(&recovered).last().unwrap(), b"more");
            }
        }
    }
}

/// Bytes of log whose bits are all flipped; `FLIP_BYTES` sets more.
fn flipped_bytes() -> u64 {
    std::env::var("FLIP_BYTES").map_or(4 << 10, |bytes| bytes.parse().expect("a number"))
}

#[test]
fn every_flipped_bit_of_a_log_is_noticed() {
    let mut payloads = payloads(11, 1, 500);
    let mut total = 0;
    let mut draws = Draws(12);
    while total < flipped_bytes() {
        let longest = if draws.below(4) == 0 { 1 << 13 } else { 300 };
        let len = draws.below(longest);
        total += len;
        payloads.push(draws.bytes(len));
    }
    let (name, mut bytes, ends) = segment_with(&payloads);
    let used = usize::try_from(file_offset(ends.last().unwrap() - 1)).unwrap() + 1;
    // What is beyond is room that was never used.
    bytes.truncate(used.next_multiple_of(512) + 512);
    let disk = with_file(&name, &bytes);
    for bit in 0..used as u64 * 8 {
        disk.flip_bit(&name, bit);
        match open(&disk) {
            Err(LogError::Corrupt { file, .. }) => assert!(file.ends_with(&name)),
            other => panic!("bit {bit} of byte {}: {other:?}", bit / 8),
        }
        disk.flip_bit(&name, bit);
    }
    assert_eq!(entries(&open(&disk).unwrap()), payloads);
}

#[test]
fn an_entry_that_was_damaged_while_the_log_is_open_is_not_read() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    let mut batch = Batch::default();
    batch.append(1, 0, &[7; 600]);
    recovered.writer().commit(&mut batch).unwrap();
    let reader = recovered.reader();
    assert_eq!(reader.read(1, 0..9, usize::MAX).unwrap(), [(0, vec![7; 600])]);
    disk.flip_bit(&segment::name(1), 8 * 1000);
    assert!(matches!(reader.read(1, 0..9, usize::MAX), Err(LogError::Corrupt { .. })));
    assert!(matches!(reader.verify(), Err(LogError::Corrupt { .. })));
}

#[test]
fn a_sector_that_was_lost_in_the_middle_is_damage_if_anything_follows_it() {
    let (mut damaged, mut torn) = (0, 0);
    for seed in 0..20 {
        let mut payloads = payloads(seed, 5, 2000);
        // More than a sector, so that losing one always leaves something of it.
        payloads.push(vec![1; 1200]);
        let (name, bytes, ends) = segment_with(&payloads);
        let sectors = usize::try_from(file_offset(ends[5] - 1)).unwrap() / 512;
        let last_begins = write_offset(ends[4]);
        for sector in 1..=sectors {
            let mut lost = bytes.clone();
            lost[sector * 512..(sector + 1) * 512].fill(0);
            match open(&with_file(&name, &lost)) {
                Err(LogError::Corrupt { .. }) => damaged += 1,
                Ok(recovered) => {
                    // All of the sector belongs to the last write, which may have been cut short.
                    assert!(sector as u64 * 512 >= last_begins, "seed {seed}, sector {sector}");
                    assert_eq!(entries(&recovered), payloads[..5]);
                    torn += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(damaged > 50 && torn > 20, "{damaged} damaged, {torn} torn");
}

/// A log of several segments.
fn segments() -> (MemoryDisk, Vec<String>) {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    for index in 0..40 {
        let mut batch = Batch::default();
        batch.append(1, index, &[5; 1000]);
        recovered.writer().commit(&mut batch).unwrap();
        recovered.writer().maintain();
    }
    let mut names = disk.list().unwrap();
    names.sort();
    assert!(names.len() > 3);
    (disk, names)
}

fn opens_as_corrupt(disk: &MemoryDisk) -> bool {
    matches!(open(disk), Err(LogError::Corrupt { .. }))
}

#[test]
fn a_segment_that_is_gone_cut_or_of_another_log_is_noticed() {
    let (_, names) = segments();
    for name in &names {
        let (disk, _) = segments();
        disk.remove(name).unwrap();
        assert!(opens_as_corrupt(&disk), "without {name}");
        let (disk, _) = segments();
        let (other, _) = segments();
        disk.write(name, &other.read(name).unwrap());
        assert!(opens_as_corrupt(&disk), "{name} of another log");
        let bytes = disk.read(name).unwrap();
        disk.write(name, &bytes[..400]);
        assert!(opens_as_corrupt(&disk), "{name} cut to 400 bytes");
    }
    for pair in names[..names.len() - 1].windows(2) {
        let (disk, _) = segments();
        let (one, two) = (disk.read(&pair[0]).unwrap(), disk.read(&pair[1]).unwrap());
        disk.write(&pair[0], &two);
        disk.write(&pair[1], &one);
        assert!(opens_as_corrupt(&disk), "{pair:?} exchanged");
        // The end of one that is not the last cannot have been cut short.
        let (disk, _) = segments();
        let mut bytes = disk.read(&pair[0]).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[used - 700..].fill(0);
        disk.write(&pair[0], &bytes);
        assert!(opens_as_corrupt(&disk), "the end of {} is gone", pair[0]);
    }
}

#[test]
fn bytes_that_are_no_log_are_an_error() {
    let mut draws = Draws(77);
    let name = segment::name(1);
    for len in [0, 1, 511, 512, 513, 5000, 100_000] {
        let disk = with_file(&name, &draws.bytes(len));
        assert!(opens_as_corrupt(&disk), "{len} bytes");
    }
    let (name, bytes, _) = segment_with(&payloads(5, 4, 100));
    let disk = with_file(&name, &bytes);
    disk.write("notes.txt", b"not ours");
    disk.write("12345678.log.new", b"unfinished");
    open(&disk).unwrap();
    let mut names = disk.list().unwrap();
    names.sort();
    assert_eq!(names, [name.as_str(), "notes.txt"]);
}

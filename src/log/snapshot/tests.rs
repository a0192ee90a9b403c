use std::collections::BTreeSet;

use super::*;
use crate::log::{Disk, Fault, MemoryDisk};

const NAME: &str = "some.snapshot";

/// A snapshot of several blocks of about 200 bytes.
fn small() -> (Vec<u8>, Vec<Vec<u8>>) {
    let items: Vec<Vec<u8>> = (0..60u8).map(|item| vec![item; usize::from(item)]).collect();
    let mut writer = SnapshotWriter::with_block_bytes(Vec::new(), b"head", 200).unwrap();
    for item in &items {
        writer.item(item).unwrap();
    }
    (writer.finish().unwrap(), items)
}

fn read(bytes: impl Read) -> Result<Vec<Vec<u8>>, LogError> {
    let mut reader = SnapshotReader::new(bytes, NAME)?;
    let mut items = Vec::new();
    loop {
        match reader.next_item() {
            Ok(Some(item)) => items.push(item.to_vec()),
            Ok(None) => {
                assert!(matches!(reader.next_item(), Ok(None)));
                return Ok(items);
            }
            Err(error) => {
                let again = reader.next_item().unwrap_err();
                assert_eq!(again.to_string(), error.to_string());
                return Err(error);
            }
        }
    }
}

/// The offset and kind of damage that reading finds.
fn damage(bytes: &[u8]) -> (u64, Damage) {
    match read(bytes) {
        Err(LogError::Corrupt { file, offset, damage }) if file == NAME => (offset, damage),
        other => panic!("no damage found: {other:?}"),
    }
}

/// Where the blocks begin, and the end.
fn blocks(bytes: &[u8]) -> Vec<usize> {
    let mut at = HEADER_LEN + u32_at(bytes, 12) as usize + 4;
    let mut found = vec![at];
    while u32_at(bytes, at) > 0 {
        at += BLOCK_HEADER_LEN + u32_at(bytes, at) as usize;
        found.push(at);
    }
    found
}

#[test]
fn the_format_is_pinned() {
    let mut writer = SnapshotWriter::new(Vec::new(), b"hd").unwrap();
    writer.item(b"abc").unwrap();
    writer.item(b"").unwrap();
    let bytes = writer.finish().unwrap();
    let golden: &[&[u8]] = &[
        b"tksnap\x1a\n\x01\0\0\0\x02\0\0\0hd",
        b"\x02\xa7\x51\x6d",
        b"\x0b\0\0\0",
        b"\x18\x6f\x86\x74",
        b"\x03\0\0\0abc\0\0\0\0",
        b"\0\0\0\0",
        b"\xae\x9b\x44\xa5",
        b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0",
    ];
    assert_eq!(bytes.escape_ascii().to_string(), golden.concat().escape_ascii().to_string());
}

#[test]
fn what_was_written_is_read() {
    let (bytes, items) = small();
    assert!(blocks(&bytes).len() > 5);
    assert_eq!(read(bytes.as_slice()).unwrap(), items);
    let empty = SnapshotWriter::new(Vec::new(), b"").unwrap().finish().unwrap();
    assert!(read(empty.as_slice()).unwrap().is_empty());
}

#[test]
fn a_block_ends_with_the_item_that_fills_it() {
    let mut writer = SnapshotWriter::new(Vec::new(), b"").unwrap();
    writer.item(&vec![1; BLOCK_BYTES - ITEM_HEADER_LEN - 1]).unwrap();
    writer.item(&vec![2; 3 * BLOCK_BYTES]).unwrap();
    writer.item(&vec![3; BLOCK_BYTES - ITEM_HEADER_LEN]).unwrap();
    let bytes = writer.finish().unwrap();
    assert_eq!(blocks(&bytes).len(), 3);
    assert_eq!(read(bytes.as_slice()).unwrap().len(), 3);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (mut bytes, _) = small();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (offset, _) = damage(&bytes);
        let block = blocks(&small().0).into_iter().rfind(|at| *at <= bit / 8).unwrap_or(0);
        assert!(offset >= block as u64, "bit {bit} was found before it, at {offset}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_truncation_is_noticed() {
    let (bytes, _) = small();
    for len in 0..bytes.len() {
        assert_eq!(damage(&bytes[..len]), (len as u64, Damage::Truncated));
    }
}

#[test]
fn bytes_behind_the_end_are_noticed() {
    let (mut bytes, _) = small();
    let end = bytes.len() as u64;
    bytes.push(0);
    assert_eq!(damage(&bytes), (end, Damage::Malformed));
}

#[test]
fn blocks_that_are_not_in_their_place_are_noticed() {
    let (bytes, _) = small();
    let at = blocks(&bytes);
    for block in 0..at.len() - 1 {
        let lost = [&bytes[..at[block]], &bytes[at[block + 1]..]].concat();
        assert_eq!(damage(&lost), (at[block] as u64, Damage::Checksum));
        let doubled = [&bytes[..at[block + 1]], &bytes[at[block]..]].concat();
        assert_eq!(damage(&doubled), (at[block + 1] as u64, Damage::Checksum));
    }
    let swapped =
        [&bytes[..at[1]], &bytes[at[2]..at[3]], &bytes[at[1]..at[2]], &bytes[at[3]..]].concat();
    assert_eq!(damage(&swapped), (at[1] as u64, Damage::Checksum));
}

#[test]
fn blocks_of_another_snapshot_are_noticed() {
    let (bytes, _) = small();
    let at = blocks(&bytes);
    let mut other = SnapshotWriter::with_block_bytes(Vec::new(), b"HEAD", 200).unwrap();
    other.item(b"").unwrap();
    let other = other.finish().unwrap();
    let mixed = [&other[..at[0]], &bytes[at[0]..]].concat();
    assert_eq!(damage(&mixed), (at[0] as u64, Damage::Checksum));
}

/// A snapshot with this one block, whose checksum matches, and this end.
fn forged(block: &[u8], items: u64, bytes: u64) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), b"").unwrap();
    writer.block.extend_from_slice(block);
    (writer.items, writer.bytes) = (items, bytes);
    writer.finish().unwrap()
}

#[test]
fn content_that_contradicts_itself_is_malformed() {
    let first = HEADER_LEN as u64 + 4;
    let item = [2, 0, 0, 0, b'a', b'b'];
    assert_eq!(read(forged(&item, 1, 2).as_slice()).unwrap(), [b"ab"]);
    let behind = first + 8 + 6;
    assert_eq!(damage(&forged(&item, 2, 2)), (behind, Damage::Malformed));
    assert_eq!(damage(&forged(&item, 1, 1)), (behind, Damage::Malformed));
    assert_eq!(damage(&forged(&item[..5], 1, 1)), (first + 8, Damage::Malformed));
    assert_eq!(damage(&forged(&item[..3], 0, 0)), (first + 8, Damage::Malformed));
    assert_eq!(damage(&forged(&[0xff; 8], 1, 4)), (first + 8, Damage::Malformed));
    let two = [&item[..], &item[..1]].concat();
    assert_eq!(damage(&forged(&two, 1, 2)), (first + 8 + 6, Damage::Malformed));
}

#[test]
fn another_version_is_told_from_a_damaged_one() {
    let mut bytes = SnapshotWriter::new(Vec::new(), b"head").unwrap().finish().unwrap();
    bytes[8] = 2;
    assert_eq!(damage(&bytes), (0, Damage::Header));
    let checksum = crc32c::crc32c(&bytes[..20]);
    bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
    let error = read(bytes.as_slice()).unwrap_err();
    assert!(matches!(error, LogError::Version { found: 2, expected: 1, .. }));
}

#[test]
fn limits_hold_and_one_past_them_is_refused() {
    let longest = vec![b'h'; HEAD_BYTES_MAX];
    let bytes = SnapshotWriter::new(Vec::new(), &longest).unwrap().finish().unwrap();
    assert_eq!(SnapshotReader::new(bytes.as_slice(), NAME).unwrap().head(), longest);
    let error = SnapshotWriter::new(Vec::new(), &vec![0; HEAD_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(len_within(ITEM_BYTES_MAX, ITEM_BYTES_MAX).is_ok());
    assert!(len_within(ITEM_BYTES_MAX + 1, ITEM_BYTES_MAX).is_err());
    assert!(u32::try_from(BLOCK_BYTES_MAX).is_ok());
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[12..].copy_from_slice(&(64u32 << 10).wrapping_add(1).to_le_bytes());
    assert_eq!(damage(&header), (0, Damage::Header));
}

#[test]
fn a_length_takes_no_memory_before_the_bytes_arrive() {
    let mut bytes = SnapshotWriter::new(Vec::new(), b"").unwrap().finish().unwrap();
    let at = blocks(&bytes)[0];
    bytes[at..at + 4].copy_from_slice(&(1u32 << 30).to_le_bytes());
    let mut reader = SnapshotReader::new(bytes.as_slice(), NAME).unwrap();
    assert!(matches!(reader.next_item(), Err(LogError::Corrupt { damage: Damage::Truncated, .. })));
    assert!(reader.block.capacity() <= BLOCK_BYTES);
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(damage(&bytes), (at as u64, Damage::Checksum));
}

#[test]
fn a_failing_reader_is_no_damage() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
    let (bytes, _) = small();
    for len in [0, 10, 20, 30, 500, bytes.len()] {
        let error = read(bytes[..len].chain(Failing)).unwrap_err();
        assert!(matches!(error, LogError::Io { operation: "read", .. }), "{error}");
    }
}

fn write_file(disk: &MemoryDisk, name: &str, items: u8) -> Result<(), LogError> {
    let failed = |source| LogError::io("write", name, source);
    let file = FileWriter::new(disk.create("new").map_err(failed)?);
    let mut writer = SnapshotWriter::with_block_bytes(file, b"", 700).map_err(failed)?;
    for item in 0..items {
        writer.item(&[item; 100]).map_err(failed)?;
    }
    writer.finish().and_then(FileWriter::finish).map_err(failed)?;
    install(disk, "new", name)
}

fn read_file(disk: &MemoryDisk, name: &str) -> usize {
    let reader = FileReader::new(disk.open(name).unwrap()).unwrap();
    read(reader).unwrap().len()
}

#[test]
fn a_crash_leaves_the_old_snapshot_or_the_new_one() {
    let mut found = BTreeSet::new();
    for operation in 0..20 {
        for seed in (0..50).chain([u64::MAX]) {
            let disk = MemoryDisk::new();
            write_file(&disk, NAME, 1).unwrap();
            let operation = disk.operations() + operation;
            disk.fail(Fault::Crash { operation, seed });
            let done = write_file(&disk, NAME, 50).is_ok();
            disk.power_cut(seed);
            let items = read_file(&disk, NAME);
            assert!(items == 50 || items == 1 && !done, "operation {operation}, seed {seed}");
            found.insert((items, done));
        }
    }
    assert_eq!(Vec::from_iter(found), [(1, false), (50, false), (50, true)]);
}

#[test]
fn a_large_file_is_synced_as_it_grows() {
    let disk = MemoryDisk::new();
    let mut writer = FileWriter::new(disk.create("large").unwrap());
    disk.sync_names().unwrap();
    let bytes: Vec<u8> = (0..9u32 << 20).map(|byte| byte.to_le_bytes()[1]).collect();
    writer.write_all(&bytes).unwrap();
    disk.power_cut(0);
    assert_eq!(disk.read("large").unwrap(), bytes[..8 << 20]);

    let mut writer = FileWriter::new(disk.create("large").unwrap());
    writer.write_all(&bytes).unwrap();
    assert_eq!(writer.finish().unwrap(), 9 << 20);
    disk.power_cut(0);
    let mut found = Vec::new();
    FileReader::new(disk.open("large").unwrap()).unwrap().read_to_end(&mut found).unwrap();
    assert!(found == bytes);
}

#[test]
fn a_full_disk_is_told_from_others() {
    let disk = MemoryDisk::new();
    write_file(&disk, NAME, 1).unwrap();
    disk.set_capacity(Some(1000));
    assert!(matches!(write_file(&disk, NAME, 50), Err(LogError::Full { .. })));
    assert_eq!(read_file(&disk, NAME), 1);
    disk.set_capacity(None);
    write_file(&disk, NAME, 50).unwrap();
    assert_eq!(read_file(&disk, NAME), 50);
}

#[test]
fn no_file_is_finished_after_a_sync_that_failed() {
    let disk = MemoryDisk::new();
    let mut writer = FileWriter::new(disk.create("large").unwrap());
    disk.fail(Fault::Sync { operation: 0 });
    assert!(writer.write_all(&vec![1; 5 << 20]).is_err());
    assert!(writer.finish().is_err());
}

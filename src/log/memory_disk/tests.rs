use super::*;

/// Checks the behaviour that all disks share.
pub(in crate::log) fn exercise(disk: &dyn Disk) {
    assert!(disk.list().unwrap().is_empty());
    let not_found = |outcome: io::Error| assert_eq!(outcome.kind(), io::ErrorKind::NotFound);
    not_found(disk.open("a").unwrap_err());
    not_found(disk.rename("a", "b").unwrap_err());
    not_found(disk.remove("a").unwrap_err());
    for name in ["", ".", "..", "a/b", "a\\b", "c:d", "/", "a\0", "LOCK", "lock"] {
        assert_eq!(disk.create(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        assert_eq!(disk.open(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
    }

    let a = disk.create("a").unwrap();
    a.write_at(b"456", 4).unwrap();
    a.write_at(b"0123", 0).unwrap();
    a.sync().unwrap();
    disk.sync_names().unwrap();
    assert_eq!(a.size().unwrap(), 7);
    let mut bytes = [0; 4];
    a.read_at(&mut bytes, 3).unwrap();
    assert_eq!(&bytes, b"3456");
    assert_eq!(a.read_at(&mut bytes, 4).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(
        a.read_at(&mut bytes, u64::from(u32::MAX)).unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
    a.read_at(&mut [], 7).unwrap();
    a.write_at(b"", 100).unwrap();
    assert_eq!(a.size().unwrap(), 7);
    a.set_size(2).unwrap();
    a.set_size(4).unwrap();
    a.read_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"01\0\0");

    let b = disk.create("b").unwrap();
    b.write_at(b"bb", 0).unwrap();
    disk.rename("a", "b").unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
    assert_eq!(disk.open("b").unwrap().size().unwrap(), 4);
    assert_eq!(b.size().unwrap(), 2, "open files stay what they were");
    disk.rename("b", "b").unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
    disk.create("b").unwrap();
    assert_eq!(disk.open("b").unwrap().size().unwrap(), 0);
    let b = disk.open("b").unwrap();
    disk.remove("b").unwrap();
    assert!(disk.list().unwrap().is_empty());
    assert_eq!(b.size().unwrap(), 0);
    disk.sync_names().unwrap();
}

const SEEDS: Range<u64> = 1..200;

/// A disk with one synced file of four sectors, of `a`, `b`, `c`, `d`.
fn with_file() -> (MemoryDisk, Box<dyn DiskFile>) {
    let disk = MemoryDisk::new();
    let file = disk.create("file").unwrap();
    for (sector, byte) in (0..).zip(b"abcd") {
        file.write_at(&[*byte; 512], sector * 512).unwrap();
    }
    file.sync().unwrap();
    disk.sync_names().unwrap();
    (disk, file)
}

/// The first byte of each sector, once each sector was seen to be of one byte.
fn sectors(disk: &MemoryDisk) -> String {
    let bytes = disk.read("file").unwrap();
    let one = |sector: &[u8]| {
        assert!(sector.iter().all(|byte| *byte == sector[0]));
        char::from(sector[0])
    };
    bytes.chunks(512).map(one).collect()
}

#[test]
fn a_memory_disk_does_what_every_disk_does() {
    exercise(&MemoryDisk::new());
}

#[test]
fn synced_data_survive_every_power_cut() {
    for seed in (0..50).chain([u64::MAX]) {
        let (disk, file) = with_file();
        disk.power_cut(seed);
        assert_eq!(sectors(&disk), "abcd");
        assert!(file.size().is_err());
        disk.open("file").unwrap().write_at(b"new", 0).unwrap();
    }
}

#[test]
fn each_sector_is_old_or_new() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in SEEDS {
        let (disk, file) = with_file();
        file.write_at(&[b'x'; 1024], 512).unwrap();
        file.write_at(&[b'y'; 512], 512).unwrap();
        disk.power_cut(seed);
        let found = sectors(&disk);
        assert!(found.starts_with('a') && found.ends_with('d'));
        seen.insert(found[1..3].to_owned());
    }
    assert_eq!(Vec::from_iter(seen), ["bc", "bx", "xc", "xx", "yc", "yx"]);
}

#[test]
fn a_seed_decides_always_the_same() {
    let run = |seed| {
        let (disk, file) = with_file();
        file.write_at(&[b'x'; 4096], 0).unwrap();
        disk.power_cut(seed);
        disk.read("file")
    };
    for seed in SEEDS {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn seed_0_loses_all_that_was_not_synced() {
    let (disk, file) = with_file();
    file.write_at(&[b'x'; 4096], 100).unwrap();
    file.set_size(10).unwrap();
    file.write_at(b"end", 3000).unwrap();
    disk.create("other").unwrap();
    disk.rename("file", "renamed").unwrap();
    disk.power_cut(0);
    assert_eq!(disk.list().unwrap(), ["file"]);
    assert_eq!(sectors(&disk), "abcd");
}

#[test]
fn a_killed_program_loses_nothing_but_a_power_cut_after_it_may() {
    let (disk, file) = with_file();
    file.write_at(&[b'x'; 512], 512).unwrap();
    disk.power_cut(u64::MAX);
    assert_eq!(sectors(&disk), "axcd");
    disk.power_cut(0);
    assert_eq!(sectors(&disk), "abcd");
}

#[test]
fn sizes_are_old_or_new_and_lost_bytes_are_zeros() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in SEEDS {
        let (disk, file) = with_file();
        file.set_size(512).unwrap();
        file.write_at(&[b'x'; 512], 512).unwrap();
        disk.power_cut(seed);
        let found = sectors(&disk);
        assert!(matches!(found.len(), 1 | 2 | 4));
        assert!(found.starts_with('a'));
        assert!(matches!(found.as_bytes().get(1), None | Some(b'b' | b'x' | 0)));
        seen.insert(found);
    }
    assert!(seen.len() >= 8, "{seen:?}");
}

#[test]
fn names_that_were_not_synced_may_be_lost_or_come_back() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in SEEDS {
        let (disk, _) = with_file();
        let new = disk.create("new").unwrap();
        new.write_at(b"new", 0).unwrap();
        new.sync().unwrap();
        disk.rename("new", "renamed").unwrap();
        disk.remove("file").unwrap();
        disk.power_cut(seed);
        for name in ["new", "renamed"] {
            assert!(disk.read(name).is_none_or(|bytes| bytes == b"new"));
        }
        seen.insert(disk.list().unwrap().join(" "));
    }
    assert_eq!(Vec::from_iter(seen), ["", "file", "file new", "file renamed", "new", "renamed"]);
}

#[test]
fn a_renamed_file_takes_its_content_along() {
    let (disk, _) = with_file();
    let new = disk.create("new").unwrap();
    new.write_at(&[b'n'; 512], 0).unwrap();
    new.sync().unwrap();
    disk.rename("new", "file").unwrap();
    disk.sync_names().unwrap();
    disk.power_cut(0);
    assert_eq!(disk.list().unwrap(), ["file"]);
    assert_eq!(sectors(&disk), "n");
}

#[test]
fn a_failed_sync_gives_up_what_it_was_to_write() {
    let (disk, file) = with_file();
    file.write_at(&[b'x'; 1024], 512).unwrap();
    file.write_at(&[b'y'; 512], 2048).unwrap();
    disk.fail(Fault::Sync { operation: 0 });
    assert!(file.sync().is_err());
    assert_eq!(sectors(&disk), "axxdy");
    file.sync().unwrap();
    disk.power_cut(u64::MAX);
    assert_eq!(sectors(&disk), "axxdy");
    let file = disk.open("file").unwrap();
    file.write_at(b"z", 512).unwrap();
    file.write_at(b"x", 512).unwrap();
    file.sync().unwrap();
    for seed in SEEDS {
        disk.power_cut(seed);
        assert_eq!(sectors(&disk), "axcd", "the sector that was written again is there");
    }
}

#[test]
fn syncs_fail_once_or_always() {
    let (disk, file) = with_file();
    let operation = disk.operations() + 1;
    disk.fail(Fault::Sync { operation });
    file.sync().unwrap();
    assert!(disk.sync_names().is_err());
    disk.sync_names().unwrap();
    disk.fail(Fault::Syncs { operation });
    assert!(file.sync().is_err());
    assert!(disk.sync_names().is_err());
    disk.power_cut(0);
    disk.sync_names().unwrap();
}

#[test]
fn a_crash_ends_the_program_at_each_operation() {
    let run = |disk: &MemoryDisk| -> io::Result<()> {
        let file = disk.create("file")?;
        file.write_at(&[b'x'; 2048], 0)?;
        file.set_size(1536)?;
        file.sync()?;
        disk.rename("file", "a")?;
        disk.rename("a", "file")?;
        disk.sync_names()?;
        disk.create("a")?;
        disk.remove("a")
    };
    let whole = MemoryDisk::new();
    run(&whole).unwrap();
    assert_eq!(whole.operations(), 9);
    for operation in 0..9 {
        let disk = MemoryDisk::new();
        disk.fail(Fault::Crash { operation, seed: 7 });
        run(&disk).unwrap_err();
        assert_eq!(disk.operations(), operation + 1);
        assert!(disk.list().is_err() && disk.open("file").is_err() && disk.create("b").is_err());
        disk.kill();
        let expected: &[&str] = match operation {
            0 => &[],
            5 => &["a"],
            8 => &["a", "file"],
            _ => &["file"],
        };
        assert_eq!(disk.list().unwrap(), expected);
    }
}

#[test]
fn a_write_in_which_the_program_ends_is_done_up_to_a_sector() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in (0..200).chain([u64::MAX]) {
        let (disk, file) = with_file();
        disk.fail(Fault::Crash { operation: disk.operations(), seed });
        file.write_at(&[b'x'; 1000], 300).unwrap_err();
        disk.kill();
        let bytes = disk.read("file").unwrap();
        seen.insert(bytes.split(|byte| *byte != b'x').map(<[u8]>::len).sum::<usize>());
    }
    assert_eq!(Vec::from_iter(seen), [0, 212, 724, 1000]);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (disk, file) = with_file();
    disk.set_capacity(Some(2100));
    let full = |outcome: io::Result<()>| outcome.unwrap_err().kind() == io::ErrorKind::StorageFull;
    assert!(full(file.write_at(&[b'd'; 1000], 1500)));
    assert_eq!(file.size().unwrap(), 2100);
    assert!(full(file.set_size(2101)));
    assert!(full(file.write_at(b"x", 5000)));
    let other = disk.create("other").unwrap();
    assert!(full(other.write_at(b"x", 0)));
    file.set_size(2099).unwrap();
    other.write_at(b"x", 0).unwrap();
    disk.set_capacity(None);
    other.write_at(&[1; 5000], 0).unwrap();
}

#[test]
fn damage_is_on_the_disk_at_once() {
    let (disk, _) = with_file();
    assert!(disk.flip_bit("file", 8 * 2048 - 1));
    assert!(!disk.flip_bit("file", 8 * 2048));
    assert!(!disk.flip_bit("absent", 0) && !disk.truncate("absent", 0));
    disk.write("other", b"other");
    assert!(disk.truncate("other", 2));
    disk.power_cut(0);
    assert_eq!(disk.read("file").unwrap()[2047], b'd' ^ 0x80);
    assert_eq!(disk.read("other").unwrap(), b"ot");
    assert_eq!(disk.read("absent"), None);
}

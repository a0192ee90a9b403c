//! Crashes at every operation of the disk, and power cuts after them.

use super::*;

/// Writes `count` random batches, until the disk fails; the model after each one that was begun,
/// and how many of them were acknowledged.
fn write(disk: &MemoryDisk, draws: &mut Draws, start: Model, count: usize) -> (Vec<Model>, usize) {
    let mut models = vec![start];
    let mut acknowledged = 0;
    let Ok(mut recovered) = open(disk) else { return (models, 0) };
    for _ in 0..count {
        let mut model = models.last().unwrap().clone();
        let mut batch = model.draw(draws);
        models.push(model);
        if recovered.writer().commit(&mut batch).is_err() {
            break;
        }
        acknowledged += 1;
        recovered.writer().maintain();
    }
    (models, acknowledged)
}

/// Opens the disk and checks that it has what was acknowledged and perhaps the batch after it;
/// gives the model of what it has.
fn check(disk: &MemoryDisk, models: &[Model], acknowledged: usize, what: &str) -> Model {
    let recovered = open(disk).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let found = Model::read(&recovered);
    let end = models.len().min(acknowledged + 2);
    let allowed = &models[acknowledged..end];
    assert!(
        allowed.contains(&found),
        "{what}: after {acknowledged} batches there is {found:?}, not {allowed:?}"
    );
    recovered.reader().verify().unwrap();
    found
}

/// Ways to lose what was not synced: all of it, nothing (the process was killed), and parts of it.
const CUTS: [u64; 5] = [0, u64::MAX, 1, 2, 3];

/// Random histories; `LOG_SEEDS` sets more.
fn seeds() -> u64 {
    std::env::var("LOG_SEEDS").map_or(1, |seeds| seeds.parse().expect("a number"))
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    for seed in 0..seeds() {
        let operations = {
            let disk = MemoryDisk::new();
            let (models, acknowledged) = write(&disk, &mut Draws(seed), Model::default(), 40);
            assert_eq!(acknowledged, 40);
            check(&disk, &models, 40, "without a crash");
            disk.operations()
        };
        for crash in 0..operations {
            for cut in CUTS {
                let what = format!("seed {seed}, crash at operation {crash}, power cut {cut}");
                let disk = MemoryDisk::new();
                disk.fail(Fault::Crash { operation: crash, seed: cut });
                let mut draws = Draws(seed);
                let (models, acknowledged) = write(&disk, &mut draws, Model::default(), 40);
                disk.power_cut(cut);
                let found = check(&disk, &models, acknowledged, &what);
                // The log goes on from there.
                let (models, acknowledged) = write(&disk, &mut draws, found, 3);
                assert_eq!(acknowledged, 3, "{what}");
                disk.power_cut(0);
                check(&disk, &models, acknowledged, &what);
            }
        }
    }
}

#[test]
fn a_crash_while_a_crash_is_repaired_changes_nothing() {
    let mut repairs = 0;
    for crash in 1..60 {
        for cut in [1, 2] {
            let crashed = || {
                let disk = MemoryDisk::new();
                disk.fail(Fault::Crash { operation: crash, seed: cut });
                let (models, acknowledged) = write(&disk, &mut Draws(9), Model::default(), 40);
                disk.power_cut(cut);
                (disk, models, acknowledged)
            };
            let operations = {
                let (disk, ..) = crashed();
                let before = disk.operations();
                drop(open(&disk).unwrap());
                disk.operations() - before
            };
            for again in 0..operations {
                let (disk, models, acknowledged) = crashed();
                let operation = disk.operations() + again;
                disk.fail(Fault::Crash { operation, seed: cut });
                assert!(open(&disk).is_err());
                disk.power_cut(cut);
                check(&disk, &models, acknowledged, &format!("crash {crash}, cut {cut}, {again}"));
                repairs += 1;
            }
        }
    }
    assert!(repairs > 20, "only {repairs} repairs were interrupted");
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
    for failing in 5..60 {
        for cut in CUTS {
            let disk = MemoryDisk::new();
            disk.fail(Fault::Sync { operation: failing });
            let (models, acknowledged) = write(&disk, &mut Draws(4), Model::default(), 40);
            assert!(acknowledged < 40);
            disk.power_cut(cut);
            check(&disk, &models, acknowledged, &format!("sync {failing} failed, cut {cut}"));
        }
    }
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    let mut model = Model::default();
    disk.fail(Fault::Sync { operation: 0 });
    let mut commit = || recovered.writer().commit(&mut model.draw(&mut Draws(1)));
    assert!(matches!(commit(), Err(LogError::Io { operation: "sync", .. })));
    assert!(matches!(commit(), Err(LogError::Stopped(_))));
    assert!(matches!(commit(), Err(LogError::Stopped(_))));
}

#[test]
fn a_full_disk_refuses_whole_batches_and_goes_on_when_there_is_room() {
    let disk = MemoryDisk::new();
    let mut recovered = open(&disk).unwrap();
    let mut model = Model::default();
    let used: u64 = 200 << 10;
    disk.set_capacity(Some(used));
    let (mut written, mut refused) = (0, 0);
    for n in 0..60_u64 {
        let mut next = model.clone();
        let mut batch = Batch::default();
        next.apply(1, Op::Append(vec![1; 9_000]), &mut batch);
        batch.sync();
        match recovered.writer().commit(&mut batch) {
            Ok(()) => {
                model = next;
                written += 1;
            }
            Err(LogError::Full { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
        assert!(batch.is_empty());
        recovered.writer().maintain();
        if n == 40 {
            disk.set_capacity(None);
        }
    }
    assert!(written > 20 && refused > 10, "{written} written, {refused} refused");
    assert_eq!(Model::read(&recovered), model);
    disk.power_cut(0);
    assert_eq!(Model::read(&open(&disk).unwrap()), model);
}

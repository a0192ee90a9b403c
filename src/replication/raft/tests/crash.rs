//! Logs of groups after crashes, power cuts and failed syncs, against a model.

use super::*;
use crate::log::Fault;
use crate::replication::ServerFailure;
use crate::replication::raft::storage::Record;

/// What a log has.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    vote: Option<VoteOf<Types>>,
    committed: Option<LogIdOf<Types>>,
    purged: Option<LogIdOf<Types>>,
    last: Option<LogIdOf<Types>>,
    entries: Vec<EntryOf<Types>>,
}

#[derive(Debug, Clone)]
enum Op {
    Vote(u64),
    Append(Vec<EntryOf<Types>>),
    Truncate(Option<LogIdOf<Types>>),
    Commit(LogIdOf<Types>),
    Purge(LogIdOf<Types>),
}

impl Op {
    /// Whether it is durable when it is done.
    fn is_synced(&self) -> bool {
        match self {
            Self::Vote(_) | Self::Append(_) | Self::Truncate(_) => true,
            Self::Commit(_) | Self::Purge(_) => false,
        }
    }

    async fn carry_out(self, log: &mut GroupLog) -> std::io::Result<()> {
        match self {
            Self::Vote(term) => log.save_vote(&vote(term)).await,
            Self::Append(entries) => append(log, entries).await,
            Self::Truncate(last) => log.truncate_after(last).await,
            Self::Commit(id) => log.save_committed(Some(id)).await,
            Self::Purge(id) => log.purge(id).await,
        }
    }
}

impl Model {
    async fn read(log: &mut GroupLog) -> Self {
        let state = log.get_log_state().await.unwrap();
        Self {
            vote: log.read_vote().await.unwrap(),
            committed: log.read_committed().await.unwrap(),
            purged: state.last_purged_log_id,
            last: state.last_log_id,
            entries: entries(log).await,
        }
    }

    fn change(&mut self, op: &Op) {
        match op {
            Op::Vote(term) => self.vote = Some(vote(*term)),
            Op::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Op::Truncate(last) => {
                self.entries.retain(|entry| Some(entry.log_id) <= *last);
                self.last = self.purged;
            }
            Op::Commit(id) => self.committed = Some(*id),
            Op::Purge(id) => {
                self.entries.retain(|entry| entry.index() > id.index);
                self.purged = Some(*id);
                self.last = self.last.max(self.purged);
            }
        }
        self.last = self.entries.last().map(|entry| entry.log_id).or(self.last);
    }
}

/// One of each kind and then some, as a group would do them.
fn script() -> Vec<Op> {
    let some = |term, indices: std::ops::Range<u64>| {
        Op::Append(indices.map(|index| entry(term, index)).collect())
    };
    vec![
        Op::Vote(1),
        some(1, 0..1),
        some(1, 1..6),
        Op::Commit(id(1, 3)),
        some(1, 6..8),
        Op::Vote(2),
        Op::Truncate(Some(id(1, 3))),
        some(2, 4..9),
        Op::Commit(id(2, 7)),
        Op::Purge(id(2, 5)),
        Op::Vote(3),
        Op::Truncate(Some(id(2, 7))),
        // A snapshot was installed that goes beyond the log.
        Op::Purge(id(3, 20)),
        some(3, 21..23),
        Op::Purge(id(3, 22)),
        Op::Commit(id(3, 22)),
        some(3, 23..30),
        Op::Truncate(Some(id(3, 22))),
        some(4, 23..24),
    ]
}

/// Does what it can of the script, then cuts the power; what the log may be afterwards.
async fn act(disk: &MemoryDisk, script: &[Op], cut: u64) -> Vec<Model> {
    let mut possible = vec![Model::default()];
    let Ok(storage) = open(disk) else {
        disk.power_cut(cut);
        return possible;
    };
    let mut log = GroupLog::new(GROUP, &storage);
    for op in script {
        let mut model = possible.last().unwrap().clone();
        model.change(op);
        possible.push(model);
        match op.clone().carry_out(&mut log).await {
            Ok(()) if op.is_synced() => drop(possible.drain(..possible.len() - 1)),
            Ok(()) => {}
            Err(_) => break,
        }
        if possible.len() == 1 {
            assert_eq!(Model::read(&mut log).await, possible[0], "after {op:?}");
        }
    }
    // While the log is open: closing it would write what is left.
    disk.power_cut(cut);
    possible
}

async fn check(disk: &MemoryDisk, possible: &[Model], what: &str) -> GroupLog {
    let storage = open(disk).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let mut log = GroupLog::new(GROUP, &storage);
    let found = Model::read(&mut log).await;
    assert!(possible.contains(&found), "{what}: {found:?} is none of {possible:?}");
    log
}

#[test]
fn a_log_is_what_it_was_promised_to_be_after_each_operation() {
    run(async {
        let script = script();
        for count in 0..=script.len() {
            for cut in CUTS {
                let disk = MemoryDisk::new();
                let possible = act(&disk, &script[..count], cut).await;
                check(&disk, &possible, &format!("{count} operations, power cut {cut}")).await;
            }
            let disk = MemoryDisk::new();
            let storage = open(&disk).unwrap();
            let mut log = GroupLog::new(GROUP, &storage);
            let mut model = Model::default();
            for op in &script[..count] {
                model.change(op);
                op.clone().carry_out(&mut log).await.unwrap();
            }
            storage.close();
            check(&disk, &[model], &format!("{count} operations, closed")).await;
        }
    });
}

#[test]
fn a_crash_at_any_operation_of_the_disk_loses_nothing_that_was_promised() {
    run(async {
        let script = script();
        let operations = {
            let disk = MemoryDisk::new();
            act(&disk, &script, 0).await;
            disk.operations()
        };
        for operation in 0..operations {
            for cut in CUTS {
                let what = format!("crash at operation {operation}, power cut {cut}");
                let disk = MemoryDisk::new();
                disk.fail(Fault::Crash { operation, seed: cut });
                let possible = act(&disk, &script, cut).await;
                let mut log = check(&disk, &possible, &what).await;
                // It goes on from there.
                let next = log.get_log_state().await.unwrap().last_log_id;
                let next = entry(9, next.map_or(0, |last| last.index + 1));
                append(&mut log, vec![next.clone()]).await.unwrap();
                assert_eq!(entries(&mut log).await.last(), Some(&next), "{what}");
            }
        }
    });
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged() {
    run(async {
        let some = |indices: std::ops::Range<u64>| {
            indices.map(|index| entry(1, index)).collect::<Vec<_>>()
        };
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let mut log = GroupLog::new(GROUP, &storage);
        log.save_vote(&vote(1)).await.unwrap();
        append(&mut log, some(0..3)).await.unwrap();
        // One fails, and the later ones would succeed.
        disk.fail(Fault::Sync { operation: disk.operations() });
        append(&mut log, some(3..5)).await.unwrap_err();
        append(&mut log, some(5..6)).await.unwrap_err();
        log.save_vote(&vote(2)).await.unwrap_err();
        log.truncate_after(Some(id(1, 1))).await.unwrap_err();
        storage.create_group(GroupId(9)).await.unwrap_err();
        assert_eq!(log.read_vote().await.unwrap(), Some(vote(1)));
        let failure = storage.failure().noted().await;
        assert!(matches!(failure, ServerFailure::Data(LogError::Io { operation: "sync", .. })));
        disk.power_cut(0);
        drop((log, storage));
        let mut log = GroupLog::new(GROUP, &open(&disk).unwrap());
        assert_eq!(entries(&mut log).await, some(0..3));
        assert_eq!(log.read_vote().await.unwrap(), Some(vote(1)));
    });
}

#[test]
fn what_finds_the_disk_full_is_acknowledged_once_there_is_room() {
    run(async {
        let disk = MemoryDisk::new();
        let storage = open(&disk).unwrap();
        let mut log = GroupLog::new(GROUP, &storage);
        append(&mut log, vec![entry(1, 0)]).await.unwrap();
        disk.set_capacity(Some(0));
        let payload = EntryPayload::Normal(Payload(vec![7; 8 << 20].into()));
        let large = EntryOf::<Types>::new(id(1, 1), payload);
        let (sender, mut receiver) = Types::oneshot();
        log.append(vec![large.clone()], IOFlushed::signal(sender)).await.unwrap();
        assert_eq!(log.try_get_log_entries(1..2).await.unwrap(), [large]);
        while storage.has_room(8 << 20) {
            tokio::task::yield_now().await;
        }
        assert!(receiver.try_recv().is_err());
        disk.set_capacity(None);
        receiver.await.unwrap().unwrap();
        disk.power_cut(0);
        drop((log, storage));
        let mut log = GroupLog::new(GROUP, &open(&disk).unwrap());
        assert_eq!(entries(&mut log).await.len(), 2);
    });
}

#[test]
fn what_comes_after_a_batch_that_was_given_up_is_not_written_either() {
    let disk = MemoryDisk::new();
    let storage = open(&disk).unwrap();
    disk.set_capacity(Some(0));
    let (told, outcomes) = std::sync::mpsc::channel();
    for (index, len) in [(0, 1 << 20), (1, 10)] {
        let told = told.clone();
        let records = vec![Record::Append { index, payload: vec![1; len] }];
        storage.write_then(GROUP, records, move |outcome| told.send(outcome).unwrap());
        // The first waits for room before the second comes.
        while storage.has_room(1) {
            std::thread::yield_now();
        }
    }
    storage.close();
    for _ in 0..2 {
        assert!(matches!(outcomes.recv().unwrap(), Err(LogError::Full { .. })));
    }
    disk.set_capacity(None);
    assert!(open(&disk).is_ok());
}

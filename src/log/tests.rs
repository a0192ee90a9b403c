//! The log against a model, on a disk that fails in every way that tests can think of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;

mod crash;
mod damage;
mod format;
mod repair;
mod room;
mod threads;

/// Numbers that look random: `SplitMix64` (Steele, Lea and Flood, "Fast Splittable Pseudorandom
/// Number Generators", OOPSLA 2014).
#[derive(Debug, Clone)]
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        // Runs of zeros are what a reader could take for something that was not written.
        let zeros = self.below(4) == 0;
        (0..len).map(|_| if zeros { 0 } else { self.next().to_le_bytes()[0] }).collect()
    }
}

/// A change to a group.
#[derive(Debug, Clone)]
enum Op {
    Append(Vec<u8>),
    Truncate(u64),
    Purge(u64),
    Set(usize, Vec<u8>),
    Drop,
}

/// What a group has to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ModelGroup {
    first: u64,
    entries: Vec<Vec<u8>>,
    registers: [Option<Vec<u8>>; REGISTERS],
}

impl ModelGroup {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

/// What a log has to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model(BTreeMap<u32, ModelGroup>);

impl Model {
    /// Carries out `op` and adds it to `batch`.
    fn apply(&mut self, group: u32, op: Op, batch: &mut Batch) {
        if let Op::Drop = op {
            self.0.remove(&group);
            return batch.drop_group(group);
        }
        let model = self.0.entry(group).or_default();
        match op {
            Op::Append(payload) => {
                batch.append(group, model.next(), &payload);
                model.entries.push(payload);
            }
            Op::Truncate(from) => {
                batch.truncate(group, from);
                model.entries.truncate(usize::try_from(from - model.first).unwrap());
            }
            Op::Purge(before) => {
                batch.purge(group, before);
                let gone = usize::try_from(before - model.first).unwrap();
                model.entries.drain(..gone.min(model.entries.len()));
                model.first = before;
            }
            Op::Set(register, value) => {
                batch.set(group, register, &value);
                model.registers[register] = Some(value);
            }
            Op::Drop => {}
        }
    }

    /// What was recovered.
    fn read(recovered: &Recovered) -> Self {
        let groups = recovered.groups().into_iter().map(|group| {
            let indices = recovered.indices(group);
            let mut entries = Vec::new();
            let replayed = recovered.reader().replay(group, 0, |index, payload| {
                assert_eq!(index, indices.start + entries.len() as u64);
                entries.push(payload.to_vec());
                Ok::<(), LogError>(())
            });
            replayed.unwrap();
            assert_eq!(entries.len() as u64, indices.end - indices.start);
            let registers = std::array::from_fn(|register| recovered.register(group, register));
            (group, ModelGroup { first: indices.start, entries, registers })
        });
        Self(groups.collect())
    }

    /// A batch of random changes.
    fn draw(&mut self, draws: &mut Draws) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..=draws.below(4) {
            let group = u32::try_from(draws.below(3)).unwrap();
            let (first, next) =
                self.0.get(&group).map_or((0, 0), |group| (group.first, group.next()));
            let op = match draws.below(24) {
                0..=13 => {
                    let len = if draws.below(8) == 0 { 3000 } else { 300 };
                    let len = draws.below(len);
                    Op::Append(draws.bytes(len))
                }
                14 | 15 => Op::Truncate(first + draws.below(next - first + 1)),
                16..=19 => Op::Purge(first + draws.below(next - first + 1)),
                20 => Op::Purge(next + draws.below(3)),
                21 | 22 => {
                    let len = draws.below(40);
                    Op::Set(usize::try_from(draws.below(4)).unwrap(), draws.bytes(len))
                }
                _ => Op::Drop,
            };
            self.apply(group, op, &mut batch);
        }
        batch.sync();
        batch
    }
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: 8 << 10, ..LogOptions::default() }
}

fn open(disk: &MemoryDisk) -> Result<Recovered, LogError> {
    Recovered::open(Arc::new(disk.clone()), options())
}

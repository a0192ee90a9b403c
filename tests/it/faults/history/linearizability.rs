//! Whether a record, changed by one operation at a time, could have told the clients what they were
//! told: linearizability (Herlihy and Wing, 1990), for each key by itself.
//!
//! The search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), in the
//! order of time as by Lowe ("Testing for Linearizability", 2017): a *configuration* is a record
//! and the operations under way that have taken effect on it. Whenever an operation ends, all
//! configurations are followed to those in which it has taken effect; if there is none, the clients
//! were told what cannot be. An operation of unknown outcome may take effect at any time from its
//! beginning, or never.
//!
//! Four things keep it short, and change no verdict:
//! - A version that a read found with a value is that of the write of this value, so that writes
//!   have one order. A value is written by one operation at most.
//! - A write whose version is known has taken effect: none of a higher version does before it.
//! - What changes nothing and can take effect does so at once.
//! - Writes of unknown outcome that no read found differ only in when they began: of equal ones the
//!   oldest comes first, and a configuration that used fewer of them stands for those that used more.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use triekv::Condition;

mod tests;

/// Configurations after one operation from which on there is no verdict.
const CONFIGURATIONS_MAX: usize = 200_000;

/// Stands for each value that was written, perhaps, and never found.
const UNSEEN: i64 = i64::MIN;

/// What a client asked for. Each value and each part is written by one operation at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Action {
    /// Puts a document with this value and without a part.
    Put {
        value: i64,
        condition: Condition,
    },
    /// Sets the part of the document.
    Set {
        part: i64,
        condition: Condition,
    },
    Delete,
    Get,
    /// Asks for the value alone.
    Query,
}

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    Written {
        version: u64,
        created: bool,
    },
    /// The condition did not hold of this version, `None` if nothing was there.
    Conflict {
        found: Option<u64>,
    },
    Deleted {
        existed: bool,
    },
    Found(Option<(u64, Document)>),
    Value(Option<i64>),
    /// It may have been carried out, or may still be.
    Unknown,
    /// It was not carried out, and will not be.
    Failed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Document {
    pub(super) value: Option<i64>,
    pub(super) part: Option<i64>,
}

impl Document {
    /// What the last write wrote: a put leaves no part.
    fn last(self) -> Option<Write> {
        self.part.map(Write::Part).or(self.value.map(Write::Value))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Write {
    Value(i64),
    Part(i64),
}

impl Action {
    fn write(self) -> Option<Write> {
        match self {
            Self::Put { value, .. } => Some(Write::Value(value)),
            Self::Set { part, .. } => Some(Write::Part(part)),
            Self::Delete | Self::Get | Self::Query => None,
        }
    }
}

/// One operation. The beginnings and ends of all operations are numbered in one order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Operation {
    pub(super) key: u64,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
}

/// A record as it may have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Record {
    /// The version, if it is known, and the document.
    there: Option<(Option<u64>, Document)>,
    /// The highest version that is known: the next one is above it.
    highest: u64,
}

impl Record {
    fn holds(&self, condition: Condition) -> bool {
        match condition {
            Condition::Always => true,
            Condition::IfAbsent => self.there.is_none(),
            Condition::IfVersion(version) => self.there.is_some_and(|(v, _)| v == Some(version)),
        }
    }

    /// The record after the operation, `None` if it would have told the client something else.
    /// `version` is that of what it writes, if it is known.
    fn after(&self, action: Action, outcome: Outcome, version: Option<u64>) -> Option<Self> {
        let document = self.there.map(|(_, document)| document);
        match (action, outcome) {
            (Action::Put { condition, .. } | Action::Set { condition, .. }, _) => match outcome {
                Outcome::Conflict { found } if !self.holds(condition) => self.found(found),
                Outcome::Written { created, .. } if created != self.there.is_none() => None,
                Outcome::Written { .. } | Outcome::Unknown if self.holds(condition) => {
                    self.written(action, version)
                }
                _ => None,
            },
            (Action::Delete, Outcome::Unknown) => Some(Self { there: None, ..*self }),
            (Action::Delete, Outcome::Deleted { existed }) => {
                (existed == self.there.is_some()).then_some(Self { there: None, ..*self })
            }
            (Action::Get, Outcome::Found(None)) => document.is_none().then_some(*self),
            (Action::Get, Outcome::Found(Some((version, found)))) => {
                (self.there == Some((Some(version), found))).then_some(*self)
            }
            (Action::Query, Outcome::Value(value)) => {
                (document.and_then(|document| document.value) == value).then_some(*self)
            }
            _ => None,
        }
    }

    fn written(&self, action: Action, version: Option<u64>) -> Option<Self> {
        if version.is_some_and(|version| version <= self.highest) {
            return None;
        }
        let before = self.there.map(|(_, document)| document).unwrap_or_default();
        let document = match action {
            Action::Put { value, .. } => Document { value: Some(value), part: None },
            Action::Set { part, .. } => Document { part: Some(part), ..before },
            Action::Delete | Action::Get | Action::Query => return None,
        };
        let highest = version.unwrap_or(self.highest);
        Some(Self { there: Some((version, document)), highest })
    }

    /// A conflict tells the version that is there.
    fn found(&self, found: Option<u64>) -> Option<Self> {
        match (self.there, found) {
            (None, None) => Some(*self),
            (Some((Some(version), _)), Some(found)) => (version == found).then_some(*self),
            (Some((None, document)), Some(found)) => {
                let there = Some((Some(found), document));
                (found > self.highest).then_some(Self { there, highest: found })
            }
            (None, Some(_)) | (Some(_), None) => None,
        }
    }
}

/// An operation as it is searched with.
#[derive(Debug, Clone, Copy)]
struct Step {
    operation: Operation,
    /// Of what it writes, if it is known.
    version: Option<u64>,
    /// Which of the operations that differ only in when they began, if it is one of those.
    kind: Option<usize>,
}

impl Step {
    fn after(&self, record: &Record) -> Option<Record> {
        record.after(self.operation.action, self.operation.outcome, self.version)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Configuration {
    record: Record,
    /// The operations under way that have taken effect.
    done: BTreeSet<usize>,
    /// How many of each kind have.
    used: Vec<usize>,
}

/// Whether the history is linearizable; else what is wrong with it, or that it was not found out.
pub(super) fn check(operations: &[Operation]) -> Result<(), String> {
    let keys: BTreeSet<u64> = operations.iter().map(|operation| operation.key).collect();
    keys.into_iter().try_for_each(|key| {
        let of_key = operations.iter().filter(|operation| operation.key == key).copied();
        check_key(of_key.collect()).map_err(|wrong| format!("key{key}: {wrong}"))
    })
}

fn check_key(operations: Vec<Operation>) -> Result<(), String> {
    let (steps, kinds) = steps(operations)?;
    let mut events = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        events.insert(step.operation.began, (number, true));
        if step.operation.outcome != Outcome::Unknown {
            events.insert(step.operation.ended, (number, false));
        }
    }
    let (mut open, mut begun) = (BTreeSet::new(), vec![0; kinds]);
    let first =
        Configuration { record: Record::default(), done: BTreeSet::new(), used: vec![0; kinds] };
    let mut configurations = vec![first];
    for (number, begins) in events.into_values() {
        let step = &steps[number];
        match (begins, step.kind) {
            (true, Some(kind)) => begun[kind] += 1,
            (true, None) => drop(open.insert(number)),
            (false, _) => {
                let before = configurations.iter().map(|c| c.record).next();
                configurations = follow(&steps, &open, &begun, configurations, number)?;
                open.remove(&number);
                if configurations.is_empty() {
                    let operation = step.operation;
                    return Err(format!("{operation:?} cannot be, after {before:?} or another"));
                }
            }
        }
    }
    Ok(())
}

/// The operations with what is known from others, and the number of kinds.
fn steps(operations: Vec<Operation>) -> Result<(Vec<Step>, usize), String> {
    let mut versions = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for operation in &operations {
        let known = match operation.outcome {
            Outcome::Written { version, .. } => operation.action.write().zip(Some(version)),
            Outcome::Found(Some((version, document))) => {
                seen.extend(document.value.map(Write::Value));
                document.last().zip(Some(version))
            }
            Outcome::Value(value) => {
                seen.extend(value.map(Write::Value));
                None
            }
            _ => None,
        };
        if let Some((write, version)) = known
            && *versions.entry(write).or_insert(version) != version
        {
            return Err(format!("{write:?} was written twice: {operation:?}"));
        }
    }
    let mut kinds: Vec<Action> = Vec::new();
    let carried_out = operations.into_iter().filter(|o| o.outcome != Outcome::Failed);
    let steps = carried_out.map(|mut operation| {
        let write = operation.action.write();
        let version = write.and_then(|write| versions.get(&write).copied());
        let is_seen = version.is_some() || write.is_some_and(|write| seen.contains(&write));
        if operation.outcome != Outcome::Unknown || is_seen {
            return Step { operation, version, kind: None };
        }
        match &mut operation.action {
            Action::Put { value: written, .. } | Action::Set { part: written, .. } => {
                *written = UNSEEN;
            }
            Action::Delete | Action::Get | Action::Query => {}
        }
        let kind = kinds.iter().position(|kind| *kind == operation.action);
        let kind = kind.unwrap_or_else(|| {
            kinds.push(operation.action);
            kinds.len() - 1
        });
        Step { operation, version, kind: Some(kind) }
    });
    let steps = steps.collect();
    Ok((steps, kinds.len()))
}

/// The configurations after `from` in which the operation `ending` has just taken effect.
fn follow(
    steps: &[Step],
    open: &BTreeSet<usize>,
    begun: &[usize],
    from: Vec<Configuration>,
    ending: usize,
) -> Result<Vec<Configuration>, String> {
    let mut known: HashMap<(Record, BTreeSet<usize>), Vec<Vec<usize>>> = HashMap::new();
    let mut ends = Vec::new();
    let mut queue = VecDeque::from(from);
    let mut followed = 0;
    while let Some(mut configuration) = queue.pop_front() {
        for number in open {
            if steps[*number].after(&configuration.record) == Some(configuration.record) {
                configuration.done.insert(*number);
            }
        }
        let used = known.entry((configuration.record, configuration.done.clone())).or_default();
        let fewer = |other: &Vec<usize>| other.iter().zip(&configuration.used).all(|(a, b)| a <= b);
        if used.iter().any(fewer) {
            continue;
        }
        used.push(configuration.used.clone());
        followed += 1;
        if followed > CONFIGURATIONS_MAX {
            let operation = steps[ending].operation;
            return Err(format!("undecided: too many ways to get to {operation:?}"));
        }
        if configuration.done.remove(&ending) {
            ends.push(configuration);
            continue;
        }
        let to_come = || open.difference(&configuration.done);
        let next = to_come().filter_map(|number| steps[*number].version).min();
        for number in
            to_come().filter(|number| steps[**number].version.is_none_or(|v| Some(v) == next))
        {
            if let Some(record) = steps[*number].after(&configuration.record) {
                let mut next = Configuration { record, ..configuration.clone() };
                next.done.insert(*number);
                queue.push_back(next);
            }
        }
        for (kind, begun) in begun.iter().enumerate() {
            let step = steps.iter().find(|step| step.kind == Some(kind)).expect("it has begun");
            let after = step.after(&configuration.record);
            if let Some(record) = after.filter(|record| *record != configuration.record)
                && configuration.used[kind] < *begun
            {
                let mut next = Configuration { record, ..configuration.clone() };
                next.used[kind] += 1;
                queue.push_back(next);
            }
        }
    }
    Ok(ends)
}

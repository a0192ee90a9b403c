//! Whether what the clients were told is what one register for each key could have told them.
//!
//! For each key the check goes through the beginnings and ends of its operations in their order and
//! keeps every state in which the register may be (just-in-time linearization: Lowe, "Testing for
//! linearizability", 2017). An operation that ends has to have taken effect in each of them; states
//! in which it cannot are given up, and where none is left the operation is wrong. Two things keep
//! the states few: the versions that were told order the writes, and reads that agree with a state
//! change nothing in it.
//!
//! A write whose outcome is unknown takes effect once or never, at any time after it began. One that
//! failed never does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use triekv::Condition;

/// What a client asked for. Each value is put once at most, in all keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    Put { value: u64, condition: Condition },
    Delete,
    Read,
}

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Told {
    /// The value was put as this version.
    Put { version: u64, created: bool },
    /// The condition does not hold: there is this version, or nothing.
    Conflict { found: Option<u64> },
    /// Whether there was something to delete.
    Deleted(bool),
    /// The record that is there: version and value.
    Record(Option<(u64, u64)>),
    /// The value that is there; its version was not asked for.
    Value(Option<u64>),
    /// Nothing: it may have been carried out.
    Unknown,
    /// That it was not carried out.
    Failed,
}

/// One operation of a client. Beginnings and ends of all operations are numbered in one order.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) key: String,
    pub(crate) asked: Asked,
    pub(crate) told: Told,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// The same by the clock, since the start.
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, asked, told, began, ended, from, until } = self;
        write!(f, "{began:>8} to {ended:>8} ({from:9.3?} to {until:9.3?}) {key}: ")?;
        write!(f, "{asked:?} -> {told:?}")
    }
}

/// The key that went wrong, in what way, and its operations up to there.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    pub(crate) history: Vec<Operation>,
}

/// Checks the history of every key.
pub(crate) fn check(operations: &[Operation]) -> Result<(), Wrong> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    keys.into_values().try_for_each(|operations| {
        let known = Known::of(&operations)?;
        Search::new(&operations, &known).run()
    })
}

fn wrong<T>(what: &str, operations: &[&Operation], at: &Operation) -> Result<T, Wrong> {
    let history = operations.iter().filter(|o| o.began <= at.ended).map(|&o| o.clone());
    let mut history: Vec<_> = history.collect();
    history.sort_by_key(|operation| operation.ended);
    Err(Wrong { what: format!("{what}: {at}"), history })
}

/// What all operations of a key together tell of its writes.
struct Known {
    /// By value: its put, as an index of the operations.
    puts: HashMap<u64, usize>,
    /// The values whose version was told, in the order of the versions.
    order: Vec<(u64, u64)>,
    /// The values that were seen, or told to be put, and those of them whose version was told.
    seen: BTreeSet<u64>,
    versioned: BTreeSet<u64>,
}

impl Known {
    /// Each version has one value, each value one version, and what failed is never seen.
    fn of(operations: &[&Operation]) -> Result<Self, Wrong> {
        let mut puts = HashMap::new();
        for (index, operation) in operations.iter().enumerate() {
            if let Asked::Put { value, .. } = operation.asked {
                assert_eq!(puts.insert(value, index), None, "each value is put once");
            }
        }
        let (mut values, mut versions) = (BTreeMap::new(), HashMap::new());
        let mut seen = BTreeSet::new();
        for &operation in operations {
            let (version, value) = match (operation.asked, operation.told) {
                (Asked::Put { value, .. }, Told::Put { version, .. })
                | (_, Told::Record(Some((version, value)))) => (Some(version), value),
                (_, Told::Value(Some(value))) => (None, value),
                _ => continue,
            };
            seen.insert(value);
            let Some(put) = puts.get(&value).map(|&put| operations[put]) else {
                return wrong("a value that nobody put", operations, operation);
            };
            if matches!(put.told, Told::Failed | Told::Conflict { .. }) {
                let what = format!("a put that was not carried out was seen ({put})");
                return wrong(&what, operations, operation);
            }
            let Some(version) = version else { continue };
            if *values.entry(version).or_insert(value) != value {
                return wrong("another value has this version", operations, operation);
            }
            if *versions.entry(value).or_insert(version) != version {
                return wrong("this value has another version", operations, operation);
            }
        }
        let order: Vec<_> = values.into_iter().collect();
        let versioned = order.iter().map(|&(_, value)| value).collect();
        Ok(Self { puts, order, seen, versioned })
    }
}

/// What is at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Content {
    Nothing,
    /// The value at this place of [`Known::order`].
    Version(usize),
    /// A value whose version nobody was told: that of this operation.
    Value(usize),
    /// A value that nobody saw, of a put whose outcome is unknown.
    Unseen,
}

/// A state in which the register may be, and what has taken effect in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// How many values of [`Known::order`] were put.
    puts: usize,
    content: Content,
    /// Those that have not ended, and those whose outcome is unknown and value was seen without a
    /// version; sorted.
    done: Vec<usize>,
    /// How many of the unknown puts whose value nobody saw.
    unseen_puts: usize,
    /// How many of the unknown deletes.
    unknown_deletes: usize,
}

impl State {
    fn with_done(mut self, operation: usize) -> Self {
        if let Err(place) = self.done.binary_search(&operation) {
            self.done.insert(place, operation);
        }
        self
    }

    /// Whether everything that the other may still tell, this one may, too.
    fn covers(&self, other: &Self) -> bool {
        self.puts == other.puts
            && self.content == other.content
            && self.done == other.done
            && self.unseen_puts <= other.unseen_puts
            && self.unknown_deletes <= other.unknown_deletes
    }
}

struct Search<'a> {
    operations: &'a [&'a Operation],
    known: &'a Known,
    states: Vec<State>,
    /// Up to where of the order it has come.
    now: u64,
    /// Operations that have begun and not ended; the unknown puts whose version was told are not
    /// among them, since their turn comes by the version.
    pending: BTreeSet<usize>,
    unseen_puts: usize,
    unknown_deletes: usize,
}

/// More than any right history has led to; a search that is given up is a failure, too.
const STATES_MAX: usize = 200_000;

impl<'a> Search<'a> {
    fn new(operations: &'a [&'a Operation], known: &'a Known) -> Self {
        let blank = State {
            puts: 0,
            content: Content::Nothing,
            done: Vec::new(),
            unseen_puts: 0,
            unknown_deletes: 0,
        };
        let states = vec![blank];
        let pending = BTreeSet::new();
        Self { operations, known, states, now: 0, pending, unseen_puts: 0, unknown_deletes: 0 }
    }

    fn run(mut self) -> Result<(), Wrong> {
        let mut events = Vec::with_capacity(2 * self.operations.len());
        for (index, operation) in self.operations.iter().enumerate() {
            events.push((operation.began, index, false));
            events.push((operation.ended, index, true));
        }
        events.sort_unstable();
        for (now, index, is_end) in events {
            self.now = now;
            let operation = self.operations[index];
            match (operation.told, operation.asked) {
                (Told::Failed, _) | (Told::Unknown, Asked::Read) => {}
                (Told::Unknown, _) if is_end => {}
                (Told::Unknown, Asked::Delete) => self.unknown_deletes += 1,
                (Told::Unknown, Asked::Put { value, .. }) if !self.known.seen.contains(&value) => {
                    self.unseen_puts += 1;
                }
                (Told::Unknown, Asked::Put { value, .. })
                    if self.known.versioned.contains(&value) => {}
                _ if is_end => self.end(index)?,
                _ => {
                    self.pending.insert(index);
                }
            }
        }
        Ok(())
    }

    /// Keeps the states in which this operation has taken effect.
    fn end(&mut self, index: usize) -> Result<(), Wrong> {
        let mut waiting = std::mem::take(&mut self.states);
        let mut seen: BTreeSet<(usize, Content, Vec<usize>, usize, usize)> = BTreeSet::new();
        let mut kept: Vec<State> = Vec::new();
        while let Some(state) = waiting.pop() {
            let mut state = self.with_reads(state);
            let State { puts, content, done, unseen_puts, unknown_deletes } = state.clone();
            if !seen.insert((puts, content, done, unseen_puts, unknown_deletes)) {
                continue;
            }
            if seen.len() > STATES_MAX {
                let what = "undecided, there are too many states";
                return wrong(what, self.operations, self.operations[index]);
            }
            if let Ok(place) = state.done.binary_search(&index) {
                state.done.remove(place);
                if !kept.iter().any(|kept| kept.covers(&state)) {
                    kept.retain(|kept| !state.covers(kept));
                    kept.push(state);
                }
            } else {
                self.push_next(&state, &mut waiting);
            }
        }
        if kept.is_empty() {
            let what = "no order of the operations explains this one";
            return wrong(what, self.operations, self.operations[index]);
        }
        self.pending.remove(&index);
        self.states = kept;
        Ok(())
    }

    /// Lets all that changes nothing, and agrees with the state, take effect.
    fn with_reads(&self, mut state: State) -> State {
        for &index in &self.pending {
            if self.agrees(state.content, self.operations[index]) {
                state = state.with_done(index);
            }
        }
        state
    }

    fn agrees(&self, content: Content, operation: &Operation) -> bool {
        let value = match content {
            Content::Nothing => None,
            Content::Version(place) => Some(self.known.order[place].1),
            Content::Value(put) => match self.operations[put].asked {
                Asked::Put { value, .. } => Some(value),
                Asked::Delete | Asked::Read => None,
            },
            // No value is 0.
            Content::Unseen => Some(0),
        };
        match operation.told {
            Told::Record(record) => record.map(|(_, value)| value) == value,
            Told::Value(read) => read == value,
            Told::Deleted(was_there) => !was_there && value.is_none(),
            Told::Conflict { found } => {
                let condition = match operation.asked {
                    Asked::Put { condition, .. } => condition,
                    Asked::Delete | Asked::Read => Condition::Always,
                };
                let is_conflict = match condition {
                    Condition::Always => false,
                    Condition::IfAbsent => found.is_some(),
                    Condition::IfVersion(version) => found != Some(version),
                };
                is_conflict && self.has_version(content, found)
            }
            Told::Put { .. } | Told::Unknown | Told::Failed => false,
        }
    }

    fn has_version(&self, content: Content, version: Option<u64>) -> bool {
        match content {
            Content::Nothing => version.is_none(),
            Content::Version(place) => version == Some(self.known.order[place].0),
            // One that nobody else was told.
            Content::Value(_) | Content::Unseen => version.is_some_and(|version| {
                self.known.order.binary_search_by_key(&version, |&(version, _)| version).is_err()
            }),
        }
    }

    /// The states that one change more leads to.
    fn push_next(&self, state: &State, next: &mut Vec<State>) {
        if let Some((_, value)) = self.known.order.get(state.puts)
            && let put = self.known.puts[value]
            && self.operations[put].began <= self.now
            && self.may_put(state.content, self.operations[put])
        {
            let mut state = state.clone();
            state.content = Content::Version(state.puts);
            state.puts += 1;
            let is_unknown = self.operations[put].told == Told::Unknown;
            next.push(if is_unknown { state } else { state.with_done(put) });
        }
        for &index in &self.pending {
            let operation = self.operations[index];
            if state.done.binary_search(&index).is_ok() {
                continue;
            }
            match (operation.asked, operation.told) {
                (Asked::Delete, Told::Deleted(true)) if state.content != Content::Nothing => {
                    let state = State { content: Content::Nothing, ..state.clone() };
                    next.push(state.with_done(index));
                }
                (Asked::Put { .. }, Told::Unknown) if self.may_put(state.content, operation) => {
                    let state = State { content: Content::Value(index), ..state.clone() };
                    next.push(state.with_done(index));
                }
                _ => {}
            }
        }
        if state.unseen_puts < self.unseen_puts && state.content != Content::Unseen {
            let unseen_puts = state.unseen_puts + 1;
            next.push(State { unseen_puts, content: Content::Unseen, ..state.clone() });
        }
        if state.unknown_deletes < self.unknown_deletes && state.content != Content::Nothing {
            let unknown_deletes = state.unknown_deletes + 1;
            next.push(State { unknown_deletes, content: Content::Nothing, ..state.clone() });
        }
    }

    fn may_put(&self, content: Content, put: &Operation) -> bool {
        let Asked::Put { condition, .. } = put.asked else { return false };
        let may = match condition {
            Condition::Always => true,
            Condition::IfAbsent => content == Content::Nothing,
            Condition::IfVersion(version) => self.has_version(content, Some(version)),
        };
        let told_so = match put.told {
            Told::Put { created, .. } => created == (content == Content::Nothing),
            _ => true,
        };
        may && told_so
    }
}

/// Judges histories whose verdict is known, so that a check that sees nothing is seen.
///
/// # Panics
///
/// If a verdict is wrong.
pub(crate) fn check_the_check() {
    for (name, lines, expected) in HISTORIES {
        let operations: Vec<Operation> = lines.iter().map(Line::operation).collect();
        let verdict = check(&operations).map_err(|wrong| wrong.what);
        match (&verdict, expected) {
            (Ok(()), None) => {}
            (Err(what), Some(part)) if what.contains(part) => {}
            _ => panic!("{name}: {verdict:?}, not {expected:?}"),
        }
    }
}

/// Beginning, end, what was asked and told, on the one key.
struct Line(u64, u64, Asked, Told);

impl Line {
    fn operation(&self) -> Operation {
        let &Self(began, ended, asked, told) = self;
        let (from, until) = (Duration::from_millis(began), Duration::from_millis(ended));
        Operation { key: "key".to_owned(), asked, told, began, ended, from, until }
    }
}

const READ: Asked = Asked::Read;
const DELETE: Asked = Asked::Delete;
const NOTHING: Told = Told::Record(None);
const ORDER: &str = "no order of the operations";

/// Values are ten times their version.
const fn put(version: u64) -> Asked {
    Asked::Put { value: version * 10, condition: Condition::Always }
}

const fn put_if(version: u64, condition: Condition) -> Asked {
    Asked::Put { value: version * 10, condition }
}

const fn created(version: u64) -> Told {
    Told::Put { version, created: true }
}

const fn replaced(version: u64) -> Told {
    Told::Put { version, created: false }
}

const fn found(version: u64) -> Told {
    Told::Record(Some((version, version * 10)))
}

const fn conflict(found: Option<u64>) -> Told {
    Told::Conflict { found }
}

/// Name, operations, and a part of what is wrong with them, if something is.
type Example = (&'static str, &'static [Line], Option<&'static str>);

const HISTORIES: &[Example] = &[
    (
        "one after the other",
        &[
            Line(0, 1, READ, NOTHING),
            Line(2, 3, put(1), created(1)),
            Line(4, 5, READ, found(1)),
            Line(6, 7, put(2), replaced(2)),
            Line(8, 9, DELETE, Told::Deleted(true)),
            Line(10, 11, READ, NOTHING),
            Line(12, 13, DELETE, Told::Deleted(false)),
            Line(14, 15, put(5), created(5)),
            Line(16, 17, READ, Told::Value(Some(50))),
        ],
        None,
    ),
    (
        "two readers during a put may disagree, in order",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 9, put(2), replaced(2)),
            Line(3, 4, READ, found(1)),
            Line(5, 6, READ, found(2)),
        ],
        None,
    ),
    (
        "and not the other way round",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 9, put(2), replaced(2)),
            Line(3, 4, READ, found(2)),
            Line(5, 6, READ, found(1)),
        ],
        Some(ORDER),
    ),
    (
        "a stale read",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 3, put(2), replaced(2)),
            Line(4, 5, READ, found(1)),
        ],
        Some(ORDER),
    ),
    (
        "a stale query",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 3, put(2), replaced(2)),
            Line(4, 5, READ, Told::Value(Some(10))),
        ],
        Some(ORDER),
    ),
    (
        "an acknowledged write is lost",
        &[Line(0, 1, put(1), created(1)), Line(2, 3, READ, NOTHING)],
        Some(ORDER),
    ),
    (
        "a delete is undone",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 3, DELETE, Told::Deleted(true)),
            Line(4, 5, READ, found(1)),
        ],
        Some(ORDER),
    ),
    (
        "an unknown put comes late",
        &[Line(0, 1, put(1), Told::Unknown), Line(2, 3, READ, NOTHING), Line(4, 5, READ, found(1))],
        None,
    ),
    (
        "an unknown put comes and goes",
        &[Line(0, 1, put(1), Told::Unknown), Line(2, 3, READ, found(1)), Line(4, 5, READ, NOTHING)],
        Some(ORDER),
    ),
    (
        "an unknown put that only a query saw comes once",
        &[
            Line(0, 1, put(1), Told::Unknown),
            Line(2, 3, READ, Told::Value(Some(10))),
            Line(4, 5, DELETE, Told::Deleted(true)),
            Line(6, 7, READ, Told::Value(Some(10))),
        ],
        Some(ORDER),
    ),
    (
        "a put that nobody saw may have been deleted",
        &[
            Line(0, 1, put(1), Told::Unknown),
            Line(2, 3, DELETE, Told::Deleted(true)),
            Line(4, 5, put_if(3, Condition::IfAbsent), created(3)),
        ],
        None,
    ),
    (
        "one put is not deleted twice",
        &[
            Line(0, 1, put(1), Told::Unknown),
            Line(2, 3, DELETE, Told::Deleted(true)),
            Line(4, 5, DELETE, Told::Deleted(true)),
        ],
        Some(ORDER),
    ),
    (
        "an unknown delete deletes once",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 3, DELETE, Told::Unknown),
            Line(4, 5, READ, found(1)),
            Line(6, 7, READ, NOTHING),
            Line(8, 9, put(3), created(3)),
            Line(10, 11, READ, found(3)),
        ],
        None,
    ),
    (
        "and not again",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 3, DELETE, Told::Unknown),
            Line(4, 5, READ, NOTHING),
            Line(6, 7, put(3), created(3)),
            Line(8, 9, READ, NOTHING),
        ],
        Some(ORDER),
    ),
    (
        "a put that failed is seen",
        &[Line(0, 1, put(1), Told::Failed), Line(2, 3, READ, Told::Value(Some(10)))],
        Some("not carried out was seen"),
    ),
    (
        "a put whose condition did not hold is seen",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 3, put_if(2, Condition::IfAbsent), conflict(Some(1))),
            Line(4, 5, READ, found(2)),
        ],
        Some("not carried out was seen"),
    ),
    ("a value from nowhere", &[Line(0, 1, READ, found(1))], Some("nobody put")),
    (
        "two values are one version",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 3, put(2), replaced(2)),
            Line(4, 5, READ, Told::Record(Some((1, 20)))),
        ],
        Some("has this version"),
    ),
    (
        "a value is put twice",
        &[Line(0, 1, put(1), created(1)), Line(2, 3, READ, Told::Record(Some((2, 10))))],
        Some("has another version"),
    ),
    (
        "versions go back",
        &[Line(0, 1, put(2), created(2)), Line(2, 3, put(1), replaced(1))],
        Some(ORDER),
    ),
    (
        "one of two that swap wins",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 5, put_if(2, Condition::IfVersion(1)), replaced(2)),
            Line(3, 6, put_if(3, Condition::IfVersion(1)), conflict(Some(2))),
            Line(7, 8, put_if(4, Condition::IfVersion(9)), conflict(Some(2))),
        ],
        None,
    ),
    (
        "both of two that swap win",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 5, put_if(2, Condition::IfVersion(1)), replaced(2)),
            Line(3, 6, put_if(3, Condition::IfVersion(1)), replaced(3)),
        ],
        Some(ORDER),
    ),
    (
        "a record is created over another",
        &[Line(0, 1, put(1), created(1)), Line(2, 3, put(2), created(2))],
        Some(ORDER),
    ),
    (
        "a conflict with what is long gone",
        &[
            Line(0, 1, put(1), created(1)),
            Line(2, 3, put(2), replaced(2)),
            Line(4, 5, put_if(3, Condition::IfAbsent), conflict(Some(1))),
        ],
        Some(ORDER),
    ),
];

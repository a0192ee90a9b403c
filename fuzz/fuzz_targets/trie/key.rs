//! Keys from few bytes of input: short ones that collide, and ones of the shapes and lengths at which
//! nodes change their form.

use arbitrary::Arbitrary;
use std::env;
use std::sync::LazyLock;

/// How to make a key.
#[derive(Arbitrary, Debug)]
pub(crate) enum Key {
    /// Up to [`SHORT_MAX`] of four letters: their number in the lowest three bits, two bits for each.
    Short(u16),
    /// These bytes.
    Bytes(Vec<u8>),
    /// One byte, up to [`TIMES_MAX`] times, or for the greatest number [`TIMES_LONG`] times.
    Repeated { byte: u8, times: u16 },
    /// "person" and the number.
    Person(u16),
    /// The beginning of [`COMMON`], and a byte.
    Common { len: u8, last: u8 },
    /// An earlier key, counted from the last one, and a byte some times.
    Longer { earlier: u8, byte: u8, times: u8 },
    /// The beginning of an earlier key, and perhaps a byte.
    Cut { earlier: u8, len: u16, last: Option<u8> },
}

/// How to make many keys.
#[derive(Arbitrary, Debug)]
pub(crate) struct Many {
    shape: Shape,
    order: Order,
}

#[derive(Arbitrary, Debug)]
enum Shape {
    /// A key, each of `count` bytes from `first` on, and another key.
    Fan { prefix: Key, first: u8, count: u8, end: Key },
    /// One byte, from `shortest` times on: each is a prefix of the next. Up to [`CHAIN_MAX`].
    Chain { byte: u8, shortest: u8, count: u8 },
    /// "person" and each `step`th number from `first` on.
    People { first: u16, step: u8, count: u8 },
}

#[derive(Arbitrary, Debug)]
enum Order {
    Up,
    Down,
    Mixed,
}

const LETTERS: [u8; 4] = [0x00, b'a', b'b', 0xff];
const SHORT_MAX: u16 = 6;
const CHAIN_MAX: u8 = 64;
const TIMES_MAX: u16 = 300;
const TIMES_LONG: usize = 70_000;
const COMMON: &[u8; 64] = b"/people/by name/of a town/that begins as all of these do/mary/a/";

/// Once so many bytes of keys were made, a key has no more than [`BYTES_LATE`]: inputs shall be slow
/// for what they do and not for what they carry.
const BYTES_MAX: usize = 1 << 20;
const BYTES_LATE: usize = 300;

/// So many keys come from [`Many`], of a whole input.
const MANY_MAX: usize = 1024;

/// Whether to print operations and keys.
pub(crate) static TRACE: LazyLock<bool> = LazyLock::new(|| env::var_os("TRIEKV_TRACE").is_some());

/// Makes keys, and knows those that it has made.
#[derive(Debug)]
pub(crate) struct Keys {
    earlier: Vec<Vec<u8>>,
    bytes_left: usize,
    many_left: usize,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { earlier: Vec::new(), bytes_left: BYTES_MAX, many_left: MANY_MAX }
    }

    pub(crate) fn one(&mut self, key: Key) -> Vec<u8> {
        let bytes = match key {
            Key::Short(packed) => short(packed),
            Key::Bytes(bytes) => bytes,
            Key::Repeated { byte, times: u16::MAX } => vec![byte; TIMES_LONG],
            Key::Repeated { byte, times } => vec![byte; usize::from(times % (TIMES_MAX + 1))],
            Key::Person(number) => person(number),
            Key::Common { len, last } => {
                let len = usize::from(len) % (COMMON.len() + 1);
                [&COMMON[..len], &[last]].concat()
            }
            Key::Longer { earlier, byte, times } => {
                [self.earlier(earlier), &vec![byte; usize::from(times)]].concat()
            }
            Key::Cut { earlier, len, last } => {
                let earlier = self.earlier(earlier);
                let len = usize::from(len) % (earlier.len() + 1);
                [&earlier[..len], last.as_slice()].concat()
            }
        };
        self.made(bytes)
    }

    pub(crate) fn many(&mut self, many: Many) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = match many.shape {
            Shape::Fan { prefix, first, count, end } => {
                let (prefix, end) = (self.one(prefix), self.one(end));
                let bytes = (0..=count).map(|index| first.wrapping_add(index));
                bytes.map(|byte| [&prefix[..], &[byte], &end].concat()).collect()
            }
            Shape::Chain { byte, shortest, count } => {
                let lens =
                    (0..=count % CHAIN_MAX).map(|more| usize::from(shortest) + usize::from(more));
                lens.map(|len| vec![byte; len]).collect()
            }
            Shape::People { first, step, count } => {
                let numbers = (0..=count).map(|index| u16::from(index) * u16::from(step));
                numbers.map(|number| person(first.wrapping_add(number))).collect()
            }
        };
        keys.truncate(self.many_left);
        self.many_left -= keys.len();
        match many.order {
            Order::Up => {}
            Order::Down => keys.reverse(),
            Order::Mixed => keys = mixed(keys),
        }
        keys.into_iter().map(|key| self.made(key)).collect()
    }

    fn earlier(&self, back: u8) -> &[u8] {
        let index = usize::from(back).checked_rem(self.earlier.len());
        index.map_or(&[], |index| &self.earlier[self.earlier.len() - 1 - index])
    }

    fn made(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.len() > self.bytes_left {
            bytes.truncate(BYTES_LATE);
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes.len());
        if *TRACE {
            eprintln!("    {}", literal(&bytes));
        }
        self.earlier.push(bytes.clone());
        bytes
    }
}

fn short(packed: u16) -> Vec<u8> {
    let len = (packed & 0b111).min(SHORT_MAX);
    (0..len).map(|index| LETTERS[usize::from(packed >> (3 + 2 * index)) & 0b11]).collect()
}

fn person(number: u16) -> Vec<u8> {
    format!("person{number}").into_bytes()
}

/// The keys, of which there are no more than 256, in another order.
fn mixed(keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut numbered: Vec<_> = keys.into_iter().enumerate().collect();
    numbered.sort_by_key(|(index, _)| (index * 167) % 256);
    numbered.into_iter().map(|(_, key)| key).collect()
}

/// The key as Rust code.
fn literal(key: &[u8]) -> String {
    match key {
        [first, .., last] if key.len() > 40 && first == last && key.iter().all(|b| b == first) => {
            format!("vec![{first:#04x}; {}]", key.len())
        }
        _ => format!("b\"{}\"", key.escape_ascii()),
    }
}

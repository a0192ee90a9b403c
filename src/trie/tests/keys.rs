//! Keys for random operations: few enough to collide, and of the shapes that nodes are made for.

use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt;

/// A key, shown short however long it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Vec<u8>);

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Up to 40 bytes as they are; a longer key as its runs of equal bytes, `a*300 b*1`.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= 40 {
            return write!(f, "b\"{}\"", self.0.escape_ascii());
        }
        let runs = self.0.chunk_by(|left, right| left == right);
        f.debug_list()
            .entries(runs.map(|run| format!("{}*{}", run[..1].escape_ascii(), run.len())))
            .finish()
    }
}

/// Many keys at once, of which a failure shows only how to make them.
#[derive(Clone, Debug)]
pub(super) struct Bulk {
    shape: Shape,
    order: Order,
}

#[derive(Clone, Debug)]
enum Shape {
    /// A prefix, each of `count` bytes from `first` on, and an end that all have in common.
    Fan { prefix: Key, first: u8, count: u8, end: Key },
    /// One byte, repeated from `shortest` times on.
    Chain { byte: u8, shortest: usize, count: usize },
    /// "person" and a number.
    People { first: usize, count: usize, step: usize },
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Up,
    Down,
    Mixed,
}

impl Bulk {
    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = match &self.shape {
            Shape::Fan { prefix, first, count, end } => (0..=*count)
                .map(|byte| [&prefix.0[..], &[first.wrapping_add(byte)], &end.0].concat())
                .collect(),
            Shape::Chain { byte, shortest, count } => {
                (*shortest..shortest + count).map(|len| vec![*byte; len]).collect()
            }
            Shape::People { first, count, step } => {
                (0..*count).map(|index| person((first + index * step) % PEOPLE)).collect()
            }
        };
        match self.order {
            Order::Up => {}
            Order::Down => keys.reverse(),
            Order::Mixed => shuffle(&mut keys, 1),
        }
        keys
    }
}

/// How many people there are.
pub(super) const PEOPLE: usize = if cfg!(miri) { 120 } else { 2000 };

pub(super) fn person(number: usize) -> Vec<u8> {
    format!("person{number}").into_bytes()
}

/// A fixed sequence of numbers for each seed (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014), so that a test without proptest does the same at each run.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % end
    }
}

pub(super) fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut numbers = Numbers(seed);
    for index in (1..items.len()).rev() {
        items.swap(index, numbers.below(index + 1));
    }
}

/// From where operations take their keys.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) one: BoxedStrategy<Key>,
    pub(super) bulk: BoxedStrategy<Bulk>,
}

fn bytes(
    byte: impl Strategy<Value = u8> + 'static,
    len: std::ops::Range<usize>,
) -> BoxedStrategy<Key> {
    vec(byte, len).prop_map(Key).boxed()
}

fn few() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![Just(0x00), Just(b'a'), Just(b'b'), Just(0xff)]
}

fn bulk(shape: BoxedStrategy<Shape>) -> BoxedStrategy<Bulk> {
    let order = prop_oneof![Just(Order::Up), Just(Order::Down), Just(Order::Mixed)];
    (shape, order).prop_map(|(shape, order)| Bulk { shape, order }).boxed()
}

fn chain(count: usize) -> BoxedStrategy<Shape> {
    (few(), 0..300_usize, 1..count)
        .prop_map(|(byte, shortest, count)| Shape::Chain { byte, shortest, count })
        .boxed()
}

fn fan(prefix: BoxedStrategy<Key>, end: BoxedStrategy<Key>) -> BoxedStrategy<Shape> {
    let count = if cfg!(miri) { 0..=60_u8 } else { 0..=255 };
    (prefix, any::<u8>(), count, end)
        .prop_map(|(prefix, first, count, end)| Shape::Fan { prefix, first, count, end })
        .boxed()
}

impl Keys {
    /// Byte strings over few bytes, of which the greatest and the smallest are two.
    pub(super) fn prefixes_of_each_other() -> Self {
        Self {
            one: prop_oneof![9 => bytes(few(), 0..5), 1 => bytes(few(), 5..12)].boxed(),
            bulk: bulk(chain(8)),
        }
    }

    /// Keys that only differ in how many zeros they end with, or nearly.
    pub(super) fn padded_with_zeros() -> Self {
        let byte = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(0xff)];
        let prefix = prop_oneof![Just(Key(Vec::new())), Just(Key(b"shared".to_vec()))];
        let one = (prefix, vec(byte, 0..10));
        Self {
            one: one.prop_map(|(prefix, end)| Key([prefix.0, end].concat())).boxed(),
            bulk: bulk(chain(12)),
        }
    }

    /// Nodes with any number of children, up to all 256.
    pub(super) fn any_byte_below_a_few() -> Self {
        let prefix = bytes(prop_oneof![Just(b'a'), Just(0xff)], 0..3);
        let end = bytes(few(), 0..3);
        let one = (prefix.clone(), any::<u8>(), end.clone());
        Self {
            one: one
                .prop_map(|(prefix, byte, end)| Key([&prefix.0[..], &[byte], &end.0].concat()))
                .boxed(),
            bulk: bulk(fan(prefix, end)),
        }
    }

    /// Keys as long as any limit, one less and one more.
    pub(super) fn as_long_as_any_limit() -> Self {
        let short =
            prop_oneof![3 => 0..10_usize, 3 => 28..36_usize, 5 => 250..263_usize, 1 => Just(300)];
        let long = prop_oneof![1023..=1025_usize, 65_535..=65_537_usize, Just(70_000)];
        let len =
            if cfg!(miri) { short.boxed() } else { prop_oneof![9 => short, 1 => long].boxed() };
        let byte = prop_oneof![4 => Just(b'a'), 1 => Just(b'b')];
        let one = (byte, len, bytes(few(), 0..3)).prop_map(|(byte, len, end)| {
            let mut key = vec![byte; len];
            key.truncate(len - end.0.len().min(len));
            key.extend(end.0);
            Key(key)
        });
        let prefix =
            prop_oneof![Just(248), Just(255), Just(4)].prop_map(|len| Key(vec![b'a'; len]));
        let shape = prop_oneof![chain(12), fan(prefix.boxed(), bytes(few(), 0..10))];
        Self { one: one.boxed(), bulk: bulk(shape.boxed()) }
    }

    /// Text with numbers, of which there are enough for several levels of nodes.
    pub(super) fn people() -> Self {
        let number = 0..PEOPLE;
        let one = prop_oneof![
            8 => number.clone().prop_map(person),
            1 => number.clone().prop_map(|number| [person(number), b"/name".to_vec()].concat()),
            1 => (0..PEOPLE / 10).prop_map(|number| person(number)[..6].to_vec()),
        ];
        let shape = (number, 1..PEOPLE / 4, 1..8_usize)
            .prop_map(|(first, count, step)| Shape::People { first, count, step });
        Self { one: one.prop_map(Key).boxed(), bulk: bulk(shape.boxed()) }
    }

    /// All of them in one trie.
    pub(super) fn of_all_kinds() -> Self {
        let kinds = [
            Self::prefixes_of_each_other(),
            Self::padded_with_zeros(),
            Self::any_byte_below_a_few(),
            Self::as_long_as_any_limit(),
            Self::people(),
        ];
        let (ones, bulks): (Vec<_>, Vec<_>) =
            kinds.into_iter().map(|kind| (kind.one, kind.bulk)).unzip();
        Self {
            one: proptest::strategy::Union::new(ones).boxed(),
            bulk: proptest::strategy::Union::new(bulks).boxed(),
        }
    }
}

//! Keys for tests and benches, drawn one at a time.
//!
//! | keys | shape | what they try |
//! |---|---|---|
//! | [`persons`] | `person0`, `person1`, … | long common prefixes, few children a node |
//! | [`words`] | 1 to [`WORD_LEN_MAX`] random letters | short keys, many children near the root, repeats |
//! | [`ids`] | 16 random bytes, like a UUID | no common prefixes, all byte values |
//!
//! [`shuffled`] changes their order.

use std::iter;

use super::draws::Draws;

/// The longest of the [`words`], in letters.
pub const WORD_LEN_MAX: u64 = 12;

/// Returns the key of record `number`, as [`Records`](super::Records) names it.
///
/// ```
/// assert_eq!(triekv::generator::keys::person(7), "person7");
/// ```
pub fn person(number: u64) -> String {
    format!("person{number}")
}

/// Returns the keys `person0` to `person{count - 1}`, in the order of their numbers.
///
/// ```
/// use triekv::generator::keys;
///
/// assert!(keys::persons(2).eq(["person0", "person1"]));
/// ```
pub fn persons(count: u64) -> impl DoubleEndedIterator<Item = String> + Clone {
    (0..count).map(person)
}

/// Returns random words of 1 to [`WORD_LEN_MAX`] ASCII letters, without an end.
///
/// Short words come up again and again.
///
/// ```
/// use triekv::generator::keys;
///
/// assert!(keys::words(1).take(100).eq(keys::words(1).take(100)));
/// ```
pub fn words(seed: u64) -> impl Iterator<Item = String> {
    let mut draws = Draws::new(seed);
    iter::repeat_with(move || {
        let len = 1 + draws.below(WORD_LEN_MAX);
        (0..len).map(|_| char::from(draws.letter())).collect()
    })
}

/// Returns keys of 16 random bytes, without an end.
///
/// ```
/// use triekv::generator::keys;
///
/// let ids: Vec<[u8; 16]> = keys::ids(1).take(2).collect();
/// assert_ne!(ids[0], ids[1]);
/// ```
pub fn ids(seed: u64) -> impl Iterator<Item = [u8; 16]> {
    let mut draws = Draws::new(seed);
    iter::repeat_with(move || {
        let mut id = [0; 16];
        draws.fill(&mut id);
        id
    })
}

/// Returns the keys of `keys` in a random order, each of the possible ones with the same
/// probability.
///
/// Takes **O(n)** memory for `n` keys, which are all collected first, and **O(1)** time a key.
///
/// ```
/// use triekv::generator::keys;
///
/// let mut order: Vec<String> = keys::shuffled(keys::persons(10), 1).collect();
/// assert!(!order.is_sorted());
/// order.sort();
/// assert!(keys::persons(10).eq(order));
/// ```
pub fn shuffled<K>(keys: impl IntoIterator<Item = K>, seed: u64) -> impl Iterator<Item = K> {
    let mut rest: Vec<K> = keys.into_iter().collect();
    let mut draws = Draws::new(seed);
    iter::from_fn(move || {
        let len = rest.len();
        (len > 0).then(|| rest.swap_remove(draws.index(len)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_every_length_up_to_the_longest() {
        let lens: std::collections::BTreeSet<usize> =
            words(1).take(1_000).map(|word| word.len()).collect();
        assert!(lens.into_iter().eq(1..=12));
    }

    #[test]
    fn another_seed_makes_other_keys() {
        assert!(words(1).take(10).ne(words(2).take(10)));
        assert!(ids(1).take(10).ne(ids(2).take(10)));
        assert!(shuffled(0..100, 1).ne(shuffled(0..100, 2)));
    }

    #[test]
    fn shuffling_reaches_every_order_about_equally_often() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6_000 {
            *counts.entry(shuffled(0..3, seed).collect::<Vec<_>>()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn shuffling_nothing_gives_nothing() {
        assert_eq!(shuffled(Vec::<u8>::new(), 1).next(), None);
    }
}

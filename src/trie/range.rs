//! Ranges of keys.

use std::ops::{
    Bound, Range, RangeBounds, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive,
};

/// One end of a range of keys.
pub(super) type KeyBound<'a> = Bound<&'a [u8]>;

/// A range of keys: any of std's ranges over anything that is bytes, as `"a".."c"`, `..="b"`,
/// `b"a".to_vec()..`, `..`, or a pair of [`Bound`]s.
///
/// [`RangeBounds`] would leave the compiler to guess whether `"a".."c"` is a range of `&str` or of
/// `str`, and of what `..` is one. This trait takes them all as ranges of bytes, so that the methods
/// of [`Trie`](super::Trie) never want a type annotation. From a type that is only known to be
/// `R: RangeBounds<K>`, pass the pair `(range.start_bound(), range.end_bound())`.
///
/// Implementations for other types return the same bounds at each call. A start that is greater than
/// the end makes the methods that take the range panic.
///
/// # Examples
///
/// ```
/// use std::ops::Bound;
/// use triekv::trie::Trie;
///
/// let trie = Trie::from([("a", 1), ("b", 2), ("c", 3)]);
/// assert_eq!(trie.range("a".."c").count(), 2);
/// assert_eq!(trie.range(..=b"b".to_vec()).count(), 2);
/// assert_eq!(trie.range((Bound::Excluded("a"), Bound::Unbounded)).count(), 2);
/// assert_eq!(trie.range(..).count(), 3);
/// ```
pub trait KeyRange {
    /// Where the range starts.
    fn start_bound(&self) -> Bound<&[u8]>;

    /// Where the range ends.
    fn end_bound(&self) -> Bound<&[u8]>;
}

impl KeyRange for RangeFull {
    fn start_bound(&self) -> Bound<&[u8]> {
        Bound::Unbounded
    }

    fn end_bound(&self) -> Bound<&[u8]> {
        Bound::Unbounded
    }
}

macro_rules! key_range {
    ($($range:ty),*) => {$(
        impl<K: AsRef<[u8]>> KeyRange for $range {
            fn start_bound(&self) -> Bound<&[u8]> {
                RangeBounds::<K>::start_bound(self).map(K::as_ref)
            }

            fn end_bound(&self) -> Bound<&[u8]> {
                RangeBounds::<K>::end_bound(self).map(K::as_ref)
            }
        }
    )*};
}

key_range!(
    Range<K>,
    RangeFrom<K>,
    RangeInclusive<K>,
    RangeTo<K>,
    RangeToInclusive<K>,
    (Bound<K>, Bound<K>)
);

/// The bounds of `range`, after the checks that std's maps make.
///
/// # Panics
///
/// Panics if the range starts after its end, or if it starts and ends at the same excluded key.
pub(super) fn bounds(range: &impl KeyRange) -> (KeyBound<'_>, KeyBound<'_>) {
    let bounds = (range.start_bound(), range.end_bound());
    if let (
        Bound::Included(start) | Bound::Excluded(start),
        Bound::Included(end) | Bound::Excluded(end),
    ) = bounds
    {
        assert!(start <= end, "range start is greater than range end in Trie");
        assert!(
            start != end || !matches!(bounds, (Bound::Excluded(_), Bound::Excluded(_))),
            "range start and end are equal and excluded in Trie"
        );
    }
    bounds
}

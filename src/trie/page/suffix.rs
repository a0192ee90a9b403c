//! The keys of a page: their heads, tails and order.
//!
//! A key in a page is a *suffix*: what is left of it after the labels above. Its first four bytes,
//! filled up with zeroes and compared as one number, are its *head*; what follows them is its *tail*.
//! An *end* says where a tail ends, in its upper 13 bits, and in its lower three the *kind* of the
//! suffix: that it has fewer than four bytes, and how many, or that it has a tail, inside the page
//! or boxed. A tail begins where the one before it ends.

use super::super::key::KeyBuffer;
use super::moves::{are_equal, copy_tail};
use super::search::rank_of_head;
use std::cmp::Ordering;
use std::ops::Range;
use std::ptr::NonNull;

/// How many bytes of a suffix are in its head.
pub(in crate::trie) const HEAD: usize = size_of::<i32>();

/// The longest tail that is kept in the page. A longer one has a box of its own.
pub(super) const TAIL_INLINE_MAX: usize = 255;

/// What a boxed tail weighs, however long it is: enough for few of them in a page, since a page that is
/// put below a label copies them, but so little that a page is never full of one or two.
pub(super) const WEIGHT_MAX: usize = TAIL_INLINE_MAX + 1;

/// A tail that is no longer than this is copied by a move of this width.
const TAIL_COPIED: usize = 16;

/// The same where a whole page is visited, which is prepared for it.
const TAIL_VISITED: usize = 32;

/// A key in the two parts that a page keeps it in, for those who copy it anyway.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// The first bytes, filled up with zeroes.
    pub(crate) head: [u8; HEAD],
    /// How many bytes of the head belong to the key: all of them, if there is a tail.
    pub(crate) head_len: usize,
    /// What follows the head.
    pub(crate) tail: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(crate) fn new(key: &'a [u8]) -> Self {
        let mut head = [0; HEAD];
        let (first, tail) = key.split_at(key.len().min(HEAD));
        head[..first.len()].copy_from_slice(first);
        Self { head, head_len: first.len(), tail }
    }

    /// Puts the key together at the start of `buffer`, if it is no longer than that.
    #[inline]
    pub(in crate::trie) fn join<'b>(&self, buffer: &'b mut [u8; KEY_JOINED]) -> Option<&'b [u8]> {
        let len = self.head_len + self.tail.len();
        buffer[..HEAD].copy_from_slice(&self.head);
        buffer.get_mut(HEAD..HEAD + self.tail.len())?.copy_from_slice(self.tail);
        buffer.get(..len)
    }
}

/// Keys up to this length are put together without an allocation.
pub(in crate::trie) const KEY_JOINED: usize = 64;

/// How many bits of an end are the kind of the suffix.
const KIND_BITS: u32 = 3;

/// The kind of a suffix of at least [`HEAD`] bytes whose tail is in the page. Smaller kinds are the
/// lengths of shorter suffixes.
const INLINE: u16 = HEAD as u16;

/// The kind of a suffix whose tail is boxed: the page has the box's address and length for it.
const IN_BOX: u16 = INLINE + 1;

/// A suffix, taken apart for comparing it with those of a page or for putting it into one.
#[derive(Clone, Copy)]
pub(super) struct Suffix<'k> {
    pub(super) head: i32,
    kind: u16,
    tail: &'k [u8],
}

impl<'k> Suffix<'k> {
    #[inline]
    pub(super) fn new(bytes: &'k [u8]) -> Self {
        if let Some((&head, tail)) = bytes.split_first_chunk::<HEAD>() {
            let kind = if tail.len() > TAIL_INLINE_MAX { IN_BOX } else { INLINE };
            return Self { head: head_of(head), kind, tail };
        }
        Self { head: short_head(bytes), kind: bytes.len() as u16, tail: &[] }
    }

    /// The last four bytes of the suffix, as a number, or the head of one that is shorter.
    #[inline]
    fn last_word(&self, bytes: &[u8]) -> u32 {
        bytes.last_chunk().map_or_else(|| number_of(self.head), |&last| u32::from_be_bytes(last))
    }

    /// How many bytes of the page's tails the suffix takes.
    #[inline]
    pub(super) fn tail_bytes(&self) -> usize {
        if self.kind == IN_BOX { size_of::<BoxedTail>() } else { self.tail.len() }
    }

    /// How many bytes the tail has, or [`WEIGHT_MAX`] if there are more.
    #[inline]
    pub(super) fn weight(&self) -> usize {
        self.tail.len().min(WEIGHT_MAX)
    }

    pub(super) fn is_boxed(&self) -> bool {
        self.kind == IN_BOX
    }

    /// The end of this suffix, if its tail begins at `start`.
    pub(super) fn end(&self, start: usize) -> u16 {
        (((start + self.tail_bytes()) as u16) << KIND_BITS) | self.kind
    }

    /// Puts the tail, as it is kept in a page, into `place`, which is [`tail_bytes`](Self::tail_bytes)
    /// long.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it ends in a few moves")]
    pub(super) fn write_tail(&self, place: &mut [u8]) {
        if self.kind == IN_BOX {
            BoxedTail::new(self.tail).write(place);
        } else {
            copy_tail(place, self.tail);
        }
    }
}

/// The head of what isn't greater than anything.
pub(in crate::trie) const HEAD_MIN: i32 = i32::MIN;

/// The bits of a head that are its first byte.
pub(in crate::trie) const FIRST_BYTE: i32 = i32::from_be_bytes([u8::MAX, 0, 0, 0]);

/// The head of a suffix: its first four bytes, as a number that compares as they do. Zeroes stand for
/// those that a short one hasn't, so that suffixes with different heads compare as the heads do, and
/// those with equal heads begin alike but for zeroes.
#[inline]
pub(in crate::trie) fn head(suffix: &[u8]) -> i32 {
    Suffix::new(suffix).head
}

/// The greatest head of what begins with `prefix`.
pub(in crate::trie) fn last_head(prefix: &[u8]) -> i32 {
    let mut head = [u8::MAX; HEAD];
    for (to, from) in head.iter_mut().zip(prefix) {
        *to = *from;
    }
    head_of(head)
}

/// The first byte of a suffix with this head.
#[inline]
pub(in crate::trie) fn first_byte(head: i32) -> usize {
    usize::from(bytes_of(head)[0])
}

/// Heads compare as the bytes do: the first byte weighs most, and none is negative.
#[inline]
fn head_of(bytes: [u8; HEAD]) -> i32 {
    i32::from_be_bytes(bytes) ^ i32::MIN
}

/// The head of a suffix that is shorter than one. Puts its first, middle and last byte where they
/// belong, some of them twice: how often a loop would run is hard to foresee.
#[inline]
fn short_head(bytes: &[u8]) -> i32 {
    let (&[first, ..], &[.., last]) = (bytes, bytes) else { return i32::MIN };
    let (middle, end) = (bytes.len() / 2, bytes.len() - 1);
    let at = |byte: u8, place: usize| u32::from(byte) << (24 - 8 * place);
    let number = at(first, 0) | at(bytes[middle], middle) | at(last, end);
    number.cast_signed() ^ i32::MIN
}

/// The bytes of a head, as a number.
#[inline]
fn number_of(head: i32) -> u32 {
    (head ^ i32::MIN).cast_unsigned()
}

#[inline]
fn bytes_of(head: i32) -> [u8; HEAD] {
    number_of(head).to_be_bytes()
}

/// Where the tail with this end ends.
#[inline]
pub(super) fn offset(end: u16) -> usize {
    usize::from(end >> KIND_BITS)
}

#[inline]
fn kind(end: u16) -> u16 {
    end & ((1 << KIND_BITS) - 1)
}

/// Moves an end by as many bytes as its page's tails are moved.
#[inline]
pub(super) fn shifted(end: u16, by: isize) -> u16 {
    end.wrapping_add_signed((by << KIND_BITS) as i16)
}

/// A tail that is too long for a page.
#[repr(C)]
struct BoxedTail {
    bytes: NonNull<u8>,
    len: usize,
}

impl BoxedTail {
    fn new(tail: &[u8]) -> Self {
        let bytes: Box<[u8]> = tail.into();
        let len = bytes.len();
        Self { bytes: NonNull::from(Box::leak(bytes)).cast(), len }
    }

    fn write(self, place: &mut [u8]) {
        assert_eq!(place.len(), size_of::<Self>(), "the place of a boxed tail is as long as one");
        let place = NonNull::from(place).cast::<Self>();
        // SAFETY: the place is as long as `Self`, by the assertion; alignment isn't asked for.
        unsafe { place.write_unaligned(self) }
    }

    /// # Safety
    ///
    /// `write` has filled the place, and pointers in it have been kept whole since.
    unsafe fn read(place: &[u8]) -> Self {
        assert_eq!(place.len(), size_of::<Self>(), "the place of a boxed tail is as long as one");
        let place = NonNull::from(place).cast::<Self>();
        // SAFETY: the place is as long as `Self`, by the assertion, and filled by `write`.
        unsafe { place.read_unaligned() }
    }
}

/// The suffixes of a page.
#[derive(Clone, Copy, Default)]
pub(in crate::trie) struct Suffixes<'a> {
    pub(super) len: usize,
    /// The heads of the entries, and zeroes or rubbish up to a multiple of [`Shape::LANES`].
    pub(super) heads: &'a [i32],
    pub(super) ends: &'a [u16],
    pub(super) tails: &'a [u8],
}

impl<'a> Suffixes<'a> {
    pub(in crate::trie) fn len(&self) -> usize {
        self.len
    }

    /// Which of the suffixes is `bytes`, or before which of them it belongs.
    #[inline]
    pub(in crate::trie) fn find(&self, bytes: &[u8]) -> Result<usize, usize> {
        self.find_suffix(&Suffix::new(bytes))
    }

    /// As [`find`](Self::find).
    #[inline]
    pub(super) fn find_suffix(&self, suffix: &Suffix<'_>) -> Result<usize, usize> {
        let first = rank_of_head(self.heads, self.len, suffix.head);
        if first == self.len || self.heads[first] != suffix.head {
            return Err(first);
        }
        self.find_alike(first, suffix)
    }

    /// Which of the suffixes is `bytes`, if one is, given [which have its head](heads_equal): at least
    /// one. Faster than [`find`](Self::find), since it asks for no order.
    #[inline]
    pub(super) fn position(self, alike: u64, bytes: &[u8]) -> Option<usize> {
        let first = alike.trailing_zeros() as usize;
        if alike.is_power_of_two() {
            self.is_equal(first, &Suffix::new(bytes), bytes).then_some(first)
        } else {
            self.position_among(first..first + alike.count_ones() as usize, bytes)
        }
    }

    /// As [`position`](Self::position), where more than one suffix has the head. Its own copy of all
    /// this, so that what is in registers needn't be in memory for it.
    #[inline(never)]
    fn position_among(self, alike: Range<usize>, bytes: &[u8]) -> Option<usize> {
        self.find_among(alike, &Suffix::new(bytes)).ok()
    }

    /// Whether the suffix, whose head is that of `other`, is `other`, which has these bytes.
    #[inline]
    fn is_equal(self, index: usize, other: &Suffix<'_>, bytes: &[u8]) -> bool {
        let start = self.start(index);
        // Of another kind, or another length.
        if self.ends[index] != other.end(start) {
            return false;
        }
        if bytes.len() <= 2 * HEAD {
            // The last four bytes on both sides, which overlap the heads.
            if let Some(&[a, b, c, d]) = self.tails[start..].first_chunk() {
                let both = u64::from(number_of(other.head)) << 32
                    | u64::from(u32::from_be_bytes([a, b, c, d]));
                let last = (both << (8 * other.tail.len().min(HEAD)) >> 32) as u32;
                return last == other.last_word(bytes);
            }
        }
        are_equal(self.tail(index), other.tail)
    }

    /// As [`find`](Self::find), among the suffixes from `first` on that have this head.
    fn find_alike(&self, first: usize, suffix: &Suffix<'_>) -> Result<usize, usize> {
        let alike = self.heads[first..self.len].iter().take_while(|&&head| head == suffix.head);
        self.find_among(first..first + alike.count(), suffix)
    }

    /// As [`find`](Self::find), among suffixes that have this head.
    fn find_among(&self, alike: Range<usize>, suffix: &Suffix<'_>) -> Result<usize, usize> {
        let Range { start: mut low, end: mut high } = alike;
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.compare(middle, suffix) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Compares what follows the heads, which are equal.
    #[inline]
    fn compare(&self, index: usize, suffix: &Suffix<'_>) -> Ordering {
        let kind = self.kind(index);
        if kind < INLINE || suffix.kind < INLINE {
            return kind.min(INLINE).cmp(&suffix.kind.min(INLINE));
        }
        self.tail(index).cmp(suffix.tail)
    }

    /// The suffixes that begin with `prefix`.
    pub(in crate::trie) fn prefixed(&self, prefix: &[u8]) -> Range<usize> {
        let (Ok(start) | Err(start)) = self.find(prefix);
        if prefix.len() <= HEAD {
            // None from there on is shorter than the prefix if its head begins like that.
            let last = last_head(prefix);
            let smaller = |next| rank_of_head(self.heads, self.len, next);
            return start..last.checked_add(1).map_or(self.len, smaller);
        }
        let alike = (start..self.len).take_while(|&index| self.starts_with(index, prefix));
        start..start + alike.count()
    }

    /// Whether the suffix begins with `prefix`.
    pub(in crate::trie) fn starts_with(&self, index: usize, prefix: &[u8]) -> bool {
        let (head, tail) = self.parts(index);
        match prefix.split_at_checked(HEAD) {
            Some((first, rest)) => head == first && tail.starts_with(rest),
            None => head.starts_with(prefix),
        }
    }

    /// Whether `bytes` begins with the suffix.
    pub(in crate::trie) fn begins(&self, index: usize, bytes: &[u8]) -> bool {
        let (head, tail) = self.parts(index);
        bytes.strip_prefix(&*head).is_some_and(|rest| rest.starts_with(tail))
    }

    /// The head of the suffix.
    #[inline]
    pub(in crate::trie) fn head(&self, index: usize) -> i32 {
        self.heads[index]
    }

    /// The length of the suffix.
    pub(in crate::trie) fn suffix_len(&self, index: usize) -> usize {
        let (head, tail) = self.parts(index);
        head.len() + tail.len()
    }

    /// How many bytes the tail has, or [`WEIGHT_MAX`] if there are more.
    pub(super) fn weight(&self, index: usize) -> usize {
        self.tail(index).len().min(WEIGHT_MAX)
    }

    /// Appends the suffix to `key`.
    #[inline]
    pub(in crate::trie) fn push(&self, index: usize, key: &mut KeyBuffer) {
        self.push_from(index, self.start(index), key);
    }

    /// Calls `f` with the index of each suffix in `range`, appended to the first `depth` bytes of
    /// `key`.
    #[inline]
    pub(super) fn for_each(
        self,
        range: Range<usize>,
        key: &mut KeyBuffer,
        depth: usize,
        mut f: impl FnMut(usize, &[u8]),
    ) {
        let Range { start: mut next, end } = range;
        while next < end {
            key.truncate(depth);
            let buffer = &mut key.room(HEAD + TAIL_VISITED)[..depth + HEAD + TAIL_VISITED];
            next = self.for_each_short(next..end, (self.tails, 0), buffer, &mut f);
            let last = self.tails.len().saturating_sub(TAIL_VISITED);
            if next < end && self.start(next) >= last {
                // The last tails once more, with as much behind them as a move takes.
                let mut lasts = [0; 2 * TAIL_VISITED];
                lasts[..self.tails.len() - last].copy_from_slice(&self.tails[last..]);
                next = self.for_each_short(next..end, (&lasts, last), buffer, &mut f);
            }
            if next < end {
                self.push_long(next, key);
                f(next, key);
                next += 1;
            }
        }
    }

    /// As [`for_each`](Self::for_each), up to the first suffix with a tail of more than
    /// [`TAIL_VISITED`] bytes, or with fewer bytes from where it begins. Returns its index. The tails
    /// are given together with how many are left out before them. The keys are put together where
    /// `buffer` ends.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "each step of each walk is little more than this")]
    fn for_each_short(
        self,
        range: Range<usize>,
        (tails, left_out): (&[u8], usize),
        buffer: &mut [u8],
        f: &mut impl FnMut(usize, &[u8]),
    ) -> usize {
        let depth = buffer.len() - HEAD - TAIL_VISITED;
        let mut start = self.start(range.start) - left_out;
        let suffixes = self.heads[range.clone()].iter().zip(&self.ends[range.clone()]);
        for (index, (&head, &end)) in range.clone().zip(suffixes) {
            let (kind, stop) = (usize::from(kind(end)), offset(end) - left_out);
            let Some((tail, _)) =
                tails.get(start..).and_then(<[u8]>::split_first_chunk::<TAIL_VISITED>)
            else {
                return index;
            };
            if kind > HEAD || stop - start > TAIL_VISITED {
                return index;
            }
            buffer[depth..depth + HEAD].copy_from_slice(&bytes_of(head));
            buffer[depth + HEAD..].copy_from_slice(tail);
            f(index, &buffer[..depth + kind + (stop - start)]);
            start = stop;
        }
        range.end
    }

    /// As [`push`](Self::push), where it's rarely called.
    #[cold]
    fn push_long(&self, index: usize, key: &mut KeyBuffer) {
        self.push(index, key);
    }

    /// The suffix, whose tail begins at `start`, in parts, and where the next one's tail begins.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "each step of printing is little more than this")]
    pub(in crate::trie) fn in_parts(self, index: usize, start: usize) -> (Parts<'a>, usize) {
        let end = self.ends[index];
        let (kind, stop) = (kind(end), offset(end));
        let tail = if kind == IN_BOX { self.tail(index) } else { &self.tails[start..stop] };
        let head_len = usize::from(kind.min(INLINE));
        (Parts { head: bytes_of(self.heads[index]), head_len, tail }, stop)
    }

    /// Appends the suffix, whose tail begins at `start`, to `key`, and returns where the next one's
    /// begins.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "each step of each walk is little more than this")]
    fn push_from(&self, index: usize, start: usize, key: &mut KeyBuffer) -> usize {
        let end = self.ends[index];
        let (kind, stop) = (kind(end), offset(end));
        key.push_some_of(&bytes_of(self.heads[index]), usize::from(kind));
        if kind == INLINE
            && stop - start <= TAIL_COPIED
            && let Some(tail) = self.tails[start..].first_chunk::<TAIL_COPIED>()
        {
            key.push_some_of(tail, stop - start);
        } else if kind >= INLINE {
            key.push(self.tail(index));
        }
        stop
    }

    /// How many bytes the suffixes from `from` to `to` have in common, which are sorted.
    pub(in crate::trie) fn common_prefix_len(&self, from: usize, to: usize) -> usize {
        let ((first_head, first_tail), (last_head, last_tail)) = (self.parts(from), self.parts(to));
        let head = common_prefix_len(&first_head, &last_head);
        head + if head == HEAD { common_prefix_len(first_tail, last_tail) } else { 0 }
    }

    /// Frees the box of the suffix's tail, if it has one.
    ///
    /// # Safety
    ///
    /// The entry isn't looked at afterwards; nor is a copy of it that was moved elsewhere.
    pub(super) unsafe fn free_box(&self, index: usize) {
        if self.kind(index) == IN_BOX {
            // SAFETY: the kind says so; tails are only moved by copies that keep pointers whole.
            let boxed = unsafe { BoxedTail::read(self.tail_in_page(index)) };
            let bytes = NonNull::slice_from_raw_parts(boxed.bytes, boxed.len);
            // SAFETY: this is what `BoxedTail::new` leaked, and nobody else will free it.
            drop(unsafe { Box::from_raw(bytes.as_ptr()) });
        }
    }

    #[inline]
    fn kind(&self, index: usize) -> u16 {
        kind(self.ends[index])
    }

    /// Where the tail begins in the page.
    #[inline]
    pub(super) fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| offset(self.ends[before]))
    }

    #[inline]
    fn tail_in_page(&self, index: usize) -> &'a [u8] {
        &self.tails[self.start(index)..offset(self.ends[index])]
    }

    #[inline]
    fn tail(&self, index: usize) -> &'a [u8] {
        let tail = self.tail_in_page(index);
        if self.kind(index) != IN_BOX {
            return tail;
        }
        // SAFETY: the kind says so; tails are only moved by copies that keep pointers whole.
        let boxed = unsafe { BoxedTail::read(tail) };
        let bytes = NonNull::slice_from_raw_parts(boxed.bytes, boxed.len);
        // SAFETY: the box is alive for as long as the page has the entry, and isn't changed.
        unsafe { bytes.as_ref() }
    }

    fn parts(&self, index: usize) -> (Head, &'a [u8]) {
        let len = usize::from(self.kind(index).min(INLINE));
        (Head { bytes: bytes_of(self.heads[index]), len }, self.tail(index))
    }
}

/// The bytes of a suffix that are in its head.
struct Head {
    bytes: [u8; HEAD],
    len: usize,
}

impl std::ops::Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl PartialEq<&[u8]> for Head {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

/// How many bytes both begin with.
#[inline]
pub(in crate::trie) fn common_prefix_len(left: &[u8], right: &[u8]) -> usize {
    let lines = equal_chunks::<64>(left, right);
    let words = lines + equal_chunks::<8>(&left[lines..], &right[lines..]);
    words + equal_chunks::<1>(&left[words..], &right[words..])
}

/// How many bytes both begin with, counted in chunks of `N`.
#[inline]
fn equal_chunks<const N: usize>(left: &[u8], right: &[u8]) -> usize {
    let chunks = left.as_chunks::<N>().0.iter().zip(right.as_chunks::<N>().0);
    N * chunks.take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::super::Page;

    /// All byte strings of up to `len` of these bytes, in order.
    fn strings(bytes: &[u8], len: usize) -> Vec<Vec<u8>> {
        let mut strings = vec![vec![]];
        for _ in 0..len {
            let longer = |string: &Vec<u8>| {
                bytes.iter().map(move |&byte| [&string[..], &[byte]].concat()).collect::<Vec<_>>()
            };
            strings.extend(strings.iter().flat_map(longer).collect::<Vec<_>>());
            strings.sort();
            strings.dedup();
        }
        strings
    }

    #[test]
    fn what_begins_with_a_prefix_is_found_by_heads_too() {
        let (bytes, len) = if cfg!(miri) { (&[0, 255][..], 5) } else { (&[0, 1, 255][..], 6) };
        let strings = strings(bytes, len);
        for of_page in strings.chunks(Page::<()>::LEN_MAX).step_by(if cfg!(miri) { 7 } else { 1 }) {
            let mut page = Page::single(&of_page[0], (), false);
            for (index, suffix) in of_page.iter().enumerate().skip(1) {
                assert_eq!(page.try_insert(index, suffix, ()), Ok(()));
            }
            for prefix in &strings {
                let all = 0..of_page.len();
                let expected: Vec<_> = all.filter(|&at| of_page[at].starts_with(prefix)).collect();
                let found: Vec<_> = page.suffixes().prefixed(prefix).collect();
                assert_eq!(found, expected, "what begins with {prefix:?} in {of_page:?}");
            }
        }
    }
}

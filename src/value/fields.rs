//! The fields of a map while it is read.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{Map, Value};

/// So many fields are on the stack while their map is read, more are on the heap.
const ON_STACK: usize = 8;

/// Fields in the order in which they are read, of which a map is made at the end: the names are sorted
/// once, and a small map is written in one piece.
pub(crate) struct Fields<'a>(SmallVec<[(Name<'a>, Value); ON_STACK]>);

/// A name, borrowed from what it is read from where that is possible.
struct Name<'a>(Cow<'a, str>);

impl AsRef<[u8]> for Name<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn new() -> Self {
        Fields(SmallVec::new())
    }

    /// Adds a field.
    #[inline]
    pub(crate) fn push(&mut self, name: Cow<'a, str>, field: Value) {
        self.0.push((Name(name), field));
    }

    /// Makes a map of all fields, and leaves none; the last field of a name wins.
    pub(crate) fn take(&mut self) -> Map {
        Map::from_entries(&mut self.0)
    }
}

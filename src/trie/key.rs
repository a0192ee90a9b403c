//! The buffer in which a key is put together.

use std::ops::Deref;

/// The bytes of a key, put together from labels and suffixes.
///
/// It has more bytes than the key, so that a short part can be copied together with what lies behind
/// it: in one move of fixed width instead of a call.
#[derive(Clone, Default)]
pub(super) struct KeyBuffer {
    bytes: Vec<u8>,
    len: usize,
}

impl KeyBuffer {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Keeps no more than the first `len` bytes.
    #[inline]
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    #[inline]
    pub(super) fn push(&mut self, part: &[u8]) {
        self.reserve(part.len());
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    /// Appends the first `len` bytes of `part`.
    #[inline]
    pub(super) fn push_some_of<const N: usize>(&mut self, part: &[u8; N], len: usize) {
        self.reserve(N);
        self.bytes[self.len..self.len + N].copy_from_slice(part);
        self.len += len.min(N);
    }

    #[inline]
    fn reserve(&mut self, more: usize) {
        if self.bytes.len() - self.len < more {
            self.grow(more);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        self.bytes.resize((self.len + more).max(2 * self.bytes.len()).max(64), 0);
    }
}

impl Deref for KeyBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

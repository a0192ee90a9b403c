//! The buffer in which a key is put together.

use std::ops::Deref;

/// Keys up to this length need no memory but the buffer's own.
const INLINE: usize = 64;

/// The bytes of a key, put together from labels and suffixes.
///
/// There is room behind the key, so that a short part can be copied together with what lies behind
/// it: in one move of fixed width instead of a call.
#[derive(Clone)]
pub(super) struct KeyBuffer {
    /// The bytes of a short key, as long as there is nothing in `heap`.
    inline: [u8; INLINE],
    heap: Vec<u8>,
    len: usize,
}

impl KeyBuffer {
    pub(super) fn new() -> Self {
        Self { inline: [0; INLINE], heap: Vec::new(), len: 0 }
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
        let len = self.len;
        self.room(part.len())[len..len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    /// Appends the first `len` bytes of `part`.
    #[inline]
    pub(super) fn push_some_of<const N: usize>(&mut self, part: &[u8; N], len: usize) {
        let end = self.len;
        self.room(N)[end..end + N].copy_from_slice(part);
        self.len += len.min(N);
    }

    /// All bytes, with room for so many behind the key.
    #[inline]
    pub(super) fn room(&mut self, more: usize) -> &mut [u8] {
        if self.heap.is_empty() {
            if self.len + more <= INLINE {
                return &mut self.inline;
            }
            self.move_to_heap(more);
        } else if self.heap.len() - self.len < more {
            self.grow(more);
        }
        &mut self.heap
    }

    #[cold]
    fn move_to_heap(&mut self, more: usize) {
        self.heap.resize((self.len + more).max(4 * INLINE), 0);
        self.heap[..self.len].copy_from_slice(&self.inline[..self.len]);
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        self.heap.resize((self.len + more).max(2 * self.heap.len()), 0);
    }
}

impl Deref for KeyBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let bytes: &[u8] = if self.heap.is_empty() { &self.inline } else { &self.heap };
        &bytes[..self.len]
    }
}

/// The least key that is greater than all that begin with `prefix`, if there is one.
pub(super) fn key_after(prefix: &[u8]) -> Option<KeyBuffer> {
    let last = prefix.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut key = KeyBuffer::new();
    key.push(&prefix[..last]);
    key.push(&[prefix[last] + 1]);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_moves_to_the_heap_and_back_to_any_length() {
        let mut key = KeyBuffer::new();
        let mut model = Vec::new();
        for len in [0, 1, 4, 16, 43, 1, 100, 300, 0, 5] {
            let part = vec![b'x'; len];
            key.push(&part);
            model.extend_from_slice(&part);
            assert_eq!(&*key, model);
            key.push_some_of(b"some", len.min(4));
            model.extend_from_slice(&b"some"[..len.min(4)]);
            assert_eq!(&*key, model);
        }
        for len in [400, 64, 65, 63, 0] {
            key.truncate(len);
            model.truncate(len);
            assert_eq!(&*key, model);
        }
        key.push(b"again");
        assert_eq!(&*key, b"again");
    }
}

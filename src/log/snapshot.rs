//! SKELETON of snapshot files. Signatures are final.
#![allow(
    missing_docs,
    unused_variables,
    clippy::todo,
    missing_debug_implementations,
    clippy::missing_errors_doc
)]
use super::LogError;
use std::io::{self, Read, Write};

/// Writes a snapshot: a head, then items, in checksummed blocks of about 64 KiB.
pub struct SnapshotWriter<W> {
    _out: W,
}
impl<W: Write> SnapshotWriter<W> {
    /// `head` says what the snapshot is of; up to 64 KiB.
    pub fn new(out: W, head: &[u8]) -> io::Result<Self> {
        todo!()
    }
    pub fn item(&mut self, item: &[u8]) -> io::Result<()> {
        todo!()
    }
    /// Writes the end; without it the snapshot counts as truncated.
    pub fn finish(self) -> io::Result<W> {
        todo!()
    }
}

/// Reads a snapshot, block by block; nothing is given before its block's checksum was checked.
pub struct SnapshotReader<R> {
    _input: R,
}
impl<R: Read> SnapshotReader<R> {
    /// `name` is for messages. Reads the head.
    pub fn new(input: R, name: &str) -> Result<Self, LogError> {
        todo!()
    }
    pub fn head(&self) -> &[u8] {
        todo!()
    }
    /// That the last item given means nothing: the error that says where it is.
    pub fn malformed(&self) -> LogError {
        todo!()
    }
    /// The next item; `None` after the last one, once the end was found whole.
    pub fn next_item(&mut self) -> Result<Option<&[u8]>, LogError> {
        todo!()
    }
}

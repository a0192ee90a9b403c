//! Snapshots: a head that says of what, then items, in blocks that each have a checksum.
//!
//! # Format
//!
//! Numbers are little-endian. Checksums are CRC-32C. `h` is the length of the head, `b` the one of
//! a block's items, `n` the number of the block, from 0.
//!
//! | part | at | bytes | content |
//! |---|---|---|---|
//! | header | 0 | 8 | `tksnap`, 0x1A, 0x0A |
//! | | 8 | 4 | version: 1 |
//! | | 12 | 4 | `h`, at most 65,536 |
//! | | 16 | `h` | head |
//! | | 16 + `h` | 4 | checksum of all before it |
//! | each block | 0 | 4 | `b`, at least 4 |
//! | | 4 | 4 | checksum of: the header's checksum (4), `n` (8), `b` (4), the items |
//! | | 8 | `b` | items, each: its length (4), its bytes; at most 2^30 |
//! | end | 0 | 4 | 0 |
//! | | 4 | 4 | checksum of: the header's checksum (4), `n` (8), 0 (4), the 16 bytes that follow |
//! | | 8 | 8 | number of items |
//! | | 16 | 8 | their bytes, without their lengths |
//!
//! Nothing follows the end. An item is never split: a block ends with the item by which it reaches
//! 64 KiB. The magic number has bytes that a transfer as text changes.
//!
//! # What is noticed
//!
//! The header's checksum in those of the blocks ties them to their snapshot, and `n` to their
//! place: a block that was lost, doubled, moved, or left there by another snapshot is noticed as one
//! with a wrong bit is. The end tells a whole snapshot from one that was cut between two blocks.
//! The header is the same up to its checksum in all versions, so that a damaged version is not
//! taken for another one.
//!
//! # Caveats
//!
//! A checksum is no signature: whoever may change the file can make it match.

use std::fmt;
use std::io::{self, Read, Write};

use super::{Damage, LogError};

mod file;
#[cfg(test)]
mod tests;

pub use file::{FileReader, FileWriter, install};

const MAGIC: [u8; 8] = *b"tksnap\x1a\n";
const VERSION: u32 = 1;
/// Magic number, version and length of the head.
const HEADER_LEN: usize = 16;
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Length and checksum.
const BLOCK_HEADER_LEN: usize = 8;
/// A block that has as many bytes is written.
const BLOCK_BYTES: usize = 64 << 10;
const ITEM_BYTES_MAX: usize = 1 << 30;
const ITEM_HEADER_LEN: usize = 4;
const END_LEN: usize = 16;
/// The longest block: all but full when the longest item comes. Whatever block size it was written
/// with, since none is above [`BLOCK_BYTES`].
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + ITEM_HEADER_LEN + ITEM_BYTES_MAX;

/// Checksums of the blocks of one snapshot, in order.
#[derive(Debug, Clone, Copy)]
struct Chain {
    header: u32,
    block: u64,
}

impl Chain {
    fn new(header: u32) -> Self {
        Self { header, block: 0 }
    }

    /// The checksum of the next block, whose length says `len`.
    fn next(&mut self, len: u32, bytes: &[u8]) -> u32 {
        let mut prefix = [0; 16];
        prefix[..4].copy_from_slice(&self.header.to_le_bytes());
        prefix[4..12].copy_from_slice(&self.block.to_le_bytes());
        prefix[12..].copy_from_slice(&len.to_le_bytes());
        self.block += 1;
        crc32c::crc32c_append(crc32c::crc32c(&prefix), bytes)
    }
}

/// Writes a snapshot: a head, then items, in checksummed blocks of about 64 KiB.
///
/// # Examples
///
/// ```
/// use triekv::log::{SnapshotReader, SnapshotWriter};
///
/// let mut snapshot = SnapshotWriter::new(Vec::new(), b"names")?;
/// snapshot.item(b"Mary")?;
/// let bytes = snapshot.finish()?;
///
/// let mut snapshot = SnapshotReader::new(bytes.as_slice(), "names")?;
/// assert_eq!(snapshot.head(), b"names");
/// assert_eq!(snapshot.next_item()?, Some(b"Mary".as_slice()));
/// assert_eq!(snapshot.next_item()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SnapshotWriter<W> {
    out: W,
    /// The block that is being filled, behind room for its header.
    block: Vec<u8>,
    /// With as many bytes the block is written.
    block_bytes: usize,
    chain: Chain,
    items: u64,
    bytes: u64,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins a snapshot with a head that says what it is of, up to 64 KiB.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the head is longer, else what `out` says.
    pub fn new(out: W, head: &[u8]) -> io::Result<Self> {
        Self::with_block_bytes(out, head, BLOCK_BYTES)
    }

    fn with_block_bytes(mut out: W, head: &[u8], block_bytes: usize) -> io::Result<Self> {
        assert!(block_bytes <= BLOCK_BYTES, "readers take no longer blocks");
        let mut header = Vec::with_capacity(HEADER_LEN + head.len() + 4);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&len_within(head.len(), HEAD_BYTES_MAX)?.to_le_bytes());
        header.extend_from_slice(head);
        let checksum = crc32c::crc32c(&header);
        header.extend_from_slice(&checksum.to_le_bytes());
        out.write_all(&header)?;
        let block = vec![0; BLOCK_HEADER_LEN];
        Ok(Self { out, block, block_bytes, chain: Chain::new(checksum), items: 0, bytes: 0 })
    }

    /// Adds an item, up to 1 GiB; it may be empty.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if it is longer, and the snapshot is as before; else what the
    /// writer below says, and the snapshot cannot be finished any more: begin anew.
    pub fn item(&mut self, item: &[u8]) -> io::Result<()> {
        let len = len_within(item.len(), ITEM_BYTES_MAX)?;
        self.block.extend_from_slice(&len.to_le_bytes());
        self.block.extend_from_slice(item);
        self.items += 1;
        self.bytes += u64::from(len);
        if self.block.len() - BLOCK_HEADER_LEN >= self.block_bytes {
            self.write_block()
        } else {
            Ok(())
        }
    }

    /// Writes the end, without which the snapshot counts as truncated, flushes the writer below and
    /// gives it back.
    ///
    /// # Errors
    ///
    /// What the writer below says.
    pub fn finish(mut self) -> io::Result<W> {
        if self.block.len() > BLOCK_HEADER_LEN {
            self.write_block()?;
        }
        self.block.extend_from_slice(&self.items.to_le_bytes());
        self.block.extend_from_slice(&self.bytes.to_le_bytes());
        self.write_framed(0)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_block(&mut self) -> io::Result<()> {
        let len = len_within(self.block.len() - BLOCK_HEADER_LEN, BLOCK_BYTES_MAX)?;
        self.write_framed(len)?;
        self.block.truncate(BLOCK_HEADER_LEN);
        // One long item is no reason to keep as much memory for all that follow.
        self.block.shrink_to(2 * BLOCK_BYTES);
        Ok(())
    }

    fn write_framed(&mut self, len: u32) -> io::Result<()> {
        let (header, bytes) = self.block.split_at_mut(BLOCK_HEADER_LEN);
        header[..4].copy_from_slice(&len.to_le_bytes());
        header[4..].copy_from_slice(&self.chain.next(len, bytes).to_le_bytes());
        self.out.write_all(&self.block)
    }
}

impl<W> fmt::Debug for SnapshotWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter")
            .field("items", &self.items)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

fn len_within(len: usize, limit: usize) -> io::Result<u32> {
    match u32::try_from(len) {
        Ok(short) if len <= limit => Ok(short),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Reads a snapshot, block by block; nothing is given before its block's checksum was checked.
///
/// Takes memory for the longest block, and never more than twice what has arrived of it, whatever
/// its length says. Reads in the order of the bytes, in calls as small as 4 bytes: give it a
/// [`BufReader`](io::BufReader) or a [`FileReader`].
pub struct SnapshotReader<R> {
    source: Source<R>,
    head: Vec<u8>,
    chain: Chain,
    block: Vec<u8>,
    /// Where in the file the block begins.
    block_offset: u64,
    /// Where in the block the next item begins.
    next: usize,
    items: u64,
    bytes: u64,
    /// Set once there is nothing more to read.
    end: Option<Result<(), LogError>>,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the head. `name` is that of the file, for messages.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] if there is no whole header, [`LogError::Version`] if it is one of
    /// another version, [`LogError::Io`] if the bytes cannot be read.
    pub fn new(input: R, name: &str) -> Result<Self, LogError> {
        let mut source = Source { input, name: name.to_owned(), offset: 0 };
        let mut header = [0; HEADER_LEN];
        source.fill(&mut header)?;
        let head_len = u32_at(&header, 12) as usize;
        if header[..8] != MAGIC || head_len > HEAD_BYTES_MAX {
            return Err(source.corrupt(0, Damage::Header));
        }
        let mut head = Vec::new();
        source.extend(&mut head, head_len)?;
        let mut found = [0; 4];
        source.fill(&mut found)?;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header), &head);
        if checksum != u32::from_le_bytes(found) {
            return Err(source.corrupt(0, Damage::Header));
        }
        let version = u32_at(&header, 8);
        if version != VERSION {
            return Err(LogError::Version { file: source.name, found: version, expected: VERSION });
        }
        Ok(Self {
            block_offset: source.offset,
            source,
            head,
            chain: Chain::new(checksum),
            block: Vec::new(),
            next: 0,
            items: 0,
            bytes: 0,
            end: None,
        })
    }

    /// Returns what the snapshot says that it is of.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Returns the next item; `None` after the last one, once the end was found whole, and nothing
    /// behind it. What was given before an error is as it was written, but not all of it.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] if the snapshot is damaged or ends too early, [`LogError::Io`] if the
    /// bytes cannot be read; the same error again from then on.
    pub fn next_item(&mut self) -> Result<Option<&[u8]>, LogError> {
        match self.advance() {
            Ok(Some(item)) => Ok(Some(&self.block[item])),
            Ok(None) => {
                self.end = Some(Ok(()));
                Ok(None)
            }
            Err(error) => {
                self.end = Some(Err(error.clone()));
                Err(error)
            }
        }
    }

    /// Returns the error that says that the last item given means nothing, with the block that it is
    /// in.
    pub fn malformed(&self) -> LogError {
        self.source.corrupt(self.block_offset, Damage::Malformed)
    }

    /// Finds the next item in the block; reads another block if need be.
    fn advance(&mut self) -> Result<Option<std::ops::Range<usize>>, LogError> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| None);
        }
        if self.next == self.block.len() && !self.read_block()? {
            return Ok(None);
        }
        let start = self.next + ITEM_HEADER_LEN;
        let item = self
            .block
            .get(self.next..start)
            .and_then(|len| start.checked_add(u32_at(len, 0) as usize))
            .filter(|end| *end <= self.block.len())
            .map(|end| start..end);
        let Some(item) = item else {
            let offset = self.block_offset + (BLOCK_HEADER_LEN + self.next) as u64;
            return Err(self.source.corrupt(offset, Damage::Malformed));
        };
        self.next = item.end;
        self.items += 1;
        self.bytes += item.len() as u64;
        Ok(Some(item))
    }

    /// Reads the next block; `false` if it is the end.
    fn read_block(&mut self) -> Result<bool, LogError> {
        self.block_offset = self.source.offset;
        let mut header = [0; BLOCK_HEADER_LEN];
        self.source.fill(&mut header)?;
        let len = u32_at(&header, 0);
        if len as usize > BLOCK_BYTES_MAX {
            return Err(self.source.corrupt(self.block_offset, Damage::Checksum));
        }
        self.next = 0;
        self.block.clear();
        self.block.shrink_to(2 * BLOCK_BYTES);
        let bytes = if len == 0 { END_LEN } else { len as usize };
        self.source.extend(&mut self.block, bytes)?;
        if self.chain.next(len, &self.block) != u32_at(&header, 4) {
            return Err(self.source.corrupt(self.block_offset, Damage::Checksum));
        }
        if len > 0 {
            return Ok(true);
        }
        let counted = [self.items.to_le_bytes(), self.bytes.to_le_bytes()].concat();
        if self.block != counted {
            return Err(self.source.corrupt(self.block_offset, Damage::Malformed));
        }
        self.source.check_end().map(|()| false)
    }
}

impl<R> fmt::Debug for SnapshotReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("file", &self.source.name)
            .field("items", &self.items)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The bytes of a snapshot, counted.
struct Source<R> {
    input: R,
    name: String,
    offset: u64,
}

impl<R: Read> Source<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LogError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) => return Err(self.corrupt(self.offset, Damage::Truncated)),
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LogError::io("read", self.name.clone(), error)),
            }
        }
        Ok(())
    }

    /// Appends `len` bytes. A length may be damaged and thus much too large: memory is taken in
    /// steps that double what has arrived.
    fn extend(&mut self, bytes: &mut Vec<u8>, len: usize) -> Result<(), LogError> {
        while bytes.len() < len {
            let start = bytes.len();
            let step = start.max(BLOCK_BYTES).min(len - start);
            bytes.reserve_exact(step);
            bytes.resize(start + step, 0);
            self.fill(&mut bytes[start..])?;
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), LogError> {
        let end = self.offset;
        match self.fill(&mut [0]) {
            Err(LogError::Corrupt { damage: Damage::Truncated, .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(self.corrupt(end, Damage::Malformed)),
        }
    }

    fn corrupt(&self, offset: u64, damage: Damage) -> LogError {
        LogError::Corrupt { file: self.name.clone(), offset, damage }
    }
}

/// The number at `at`, which is there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

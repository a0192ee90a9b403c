//! The first reading of a file: its hash, and the lines whose key a later line has.

use std::fs::File;
use std::hash::Hasher;
use std::io::{self, BufReader, Read};
use std::path::Path;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::encode;
use crate::parser::{Condition, Lines};
use crate::replication::meta::FileHash;
use crate::trie::Trie;

const HASH_SEED: (u64, u64) = (0x7472_6965_6b76_0003, 0x6669_6c65_6861_7368);

/// What the second reading has to know of the file as a whole.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) hash: FileHash,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Each record that takes the place of another line's: its line, and that line, which is no
    /// record perhaps. In the order of the first.
    again: Vec<(u64, u64)>,
    /// The second of each pair, in order.
    replaced: Vec<u64>,
}

impl Survey {
    /// Reads the file. Of most lines no more than the key is looked at.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let hasher = SipHasher13::new_with_keys(HASH_SEED.0, HASH_SEED.1);
        let mut file = Hashed { file: File::open(path)?, hasher, bytes: 0 };
        let mut lines = Lines::new(BufReader::with_capacity(1 << 16, &mut file));
        // The last line of each key: a record, or the first of its key.
        let mut last = Trie::new();
        let mut again = Vec::new();
        while let Some((line, key)) = lines.next_key()? {
            let Some(key) = key else { continue };
            if last.get(&key).is_none() {
                last.insert(&key, line);
            } else if let Ok(Some((key, value))) = lines.record()
                && encode(&key, value, Condition::Always).is_ok()
                && let Some(earlier) = last.insert(&key, line)
            {
                again.push((line, earlier));
            }
        }
        drop(lines);
        let mut replaced: Vec<u64> = again.iter().map(|(_, earlier)| *earlier).collect();
        replaced.sort_unstable();
        let hash = FileHash(file.hasher.finish128().as_u128());
        Ok(Self { hash, bytes: file.bytes, again, replaced })
    }

    /// The line in whose place the record of this one is, if there is one.
    pub(super) fn earlier(&self, line: u64) -> Option<u64> {
        let at = self.again.binary_search_by_key(&line, |(line, _)| *line).ok()?;
        self.again.get(at).map(|(_, earlier)| *earlier)
    }

    /// Returns true if a later line has a record of the same key.
    pub(super) fn is_replaced(&self, line: u64) -> bool {
        self.replaced.binary_search(&line).is_ok()
    }
}

/// Hashes what is read.
struct Hashed {
    file: File,
    hasher: SipHasher13,
    bytes: u64,
}

impl Read for &mut Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.write(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

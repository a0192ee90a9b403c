//! The content of a file: what can be read now, and what of it a power cut may take back.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::draws::Draws;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// The content of a file. Synced bytes are there once; of those that were overwritten since, the
/// older versions are kept until the next sync.
#[derive(Debug, Default)]
pub(super) struct Content {
    bytes: Vec<u8>,
    /// For each sector that was changed since the last sync: what was there before each change.
    /// Bytes behind the end of the file are not in it; they count as zeros.
    older: BTreeMap<usize, Vec<Box<[u8]>>>,
    /// The size before each change of it since the last sync.
    sizes: Vec<usize>,
    /// For each sector that a failed sync gave up: what is on the disk in its place.
    given_up: BTreeMap<usize, Box<[u8]>>,
    /// The size on the disk, if a failed sync gave up the one that can be seen.
    size_given_up: Option<usize>,
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|start| self.bytes.get(start..)?.get(..bytes.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let start = position(offset)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        if end > self.bytes.len() {
            self.reserve(end)?;
        }
        self.keep_older(start..end);
        if end > self.bytes.len() {
            self.sizes.push(self.bytes.len());
            self.bytes.resize(start.max(self.bytes.len()), 0);
            let inside = self.bytes.len() - start;
            self.bytes[start..].copy_from_slice(&bytes[..inside]);
            self.bytes.extend_from_slice(&bytes[inside..]);
        } else {
            self.bytes[start..end].copy_from_slice(bytes);
        }
        Ok(())
    }

    pub(super) fn set_size(&mut self, size: u64) -> io::Result<()> {
        let size = position(size)?;
        let before = self.bytes.len();
        if size > before {
            self.reserve(size)?;
        } else {
            self.keep_older(size..before);
        }
        if size != before {
            self.sizes.push(before);
            self.bytes.resize(size, 0);
        }
        Ok(())
    }

    /// All that was written since the last sync is on the disk.
    pub(super) fn synced(&mut self) {
        for sector in std::mem::take(&mut self.older).into_keys() {
            self.given_up.remove(&sector);
        }
        if !self.sizes.is_empty() {
            self.size_given_up = None;
            self.sizes.clear();
        }
    }

    /// Nothing that was written since the last sync is on the disk, nor will it be.
    pub(super) fn give_up(&mut self) {
        for (sector, versions) in std::mem::take(&mut self.older) {
            if let Some(synced) = versions.into_iter().next() {
                self.given_up.entry(sector).or_insert(synced);
            }
        }
        if let Some(&synced) = self.sizes.first() {
            self.size_given_up.get_or_insert(synced);
            self.sizes.clear();
        }
    }

    /// Takes back as much of what is not on the disk as is drawn; what is left is on the disk.
    pub(super) fn power_cut(&mut self, draws: &mut Draws) {
        let mut sizes = std::mem::take(&mut self.sizes);
        if let Some(size) = self.size_given_up.take() {
            match sizes.first_mut() {
                Some(synced) => *synced = size,
                None => self.bytes.resize(size, 0),
            }
        }
        let kept = draws.version(sizes.len());
        if let Some(&size) = sizes.get(kept) {
            self.bytes.resize(size, 0);
        }
        let mut given_up = std::mem::take(&mut self.given_up);
        for (sector, versions) in std::mem::take(&mut self.older) {
            let kept = draws.version(versions.len());
            let on_disk = given_up.remove(&sector);
            let older =
                if kept == 0 { on_disk.as_ref().or(versions.first()) } else { versions.get(kept) };
            if let Some(older) = older {
                self.restore(sector, older);
            }
        }
        for (sector, on_disk) in given_up {
            self.restore(sector, &on_disk);
        }
    }

    /// Changes the bytes behind the back of whoever has the file open. What is there then is on the
    /// disk.
    pub(super) fn damage(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::mem::take(&mut self.bytes);
        change(&mut bytes);
        *self = Self { bytes, ..Self::default() };
    }

    fn reserve(&mut self, size: usize) -> io::Result<()> {
        self.bytes
            .try_reserve(size - self.bytes.len())
            .map_err(|source| io::Error::new(io::ErrorKind::StorageFull, source))
    }

    /// Keeps what is in the sectors that have some of these bytes.
    fn keep_older(&mut self, changed: Range<usize>) {
        if changed.is_empty() {
            return;
        }
        for sector in changed.start / SECTOR..=(changed.end - 1) / SECTOR {
            let end = self.bytes.len().min((sector + 1) * SECTOR);
            let before = self.bytes.get(sector * SECTOR..end).unwrap_or_default();
            self.older.entry(sector).or_default().push(before.into());
        }
    }

    /// Puts an older version of a sector back, as far as the file reaches.
    fn restore(&mut self, sector: usize, older: &[u8]) {
        let end = self.bytes.len().min((sector + 1) * SECTOR);
        let Some(bytes) = self.bytes.get_mut(sector * SECTOR..end) else { return };
        let common = bytes.len().min(older.len());
        bytes[..common].copy_from_slice(&older[..common]);
        bytes[common..].fill(0);
    }
}

/// The beginning of a write at `offset` that ends after as many of its sectors as the seed decides.
pub(super) fn torn(bytes: &[u8], offset: u64, seed: u64) -> &[u8] {
    let sector = SECTOR as u64;
    let end = offset.saturating_add(bytes.len() as u64);
    let sectors = end.div_ceil(sector) - offset / sector;
    let done = Draws::new(seed).version(usize::try_from(sectors).unwrap_or(usize::MAX));
    let done_end = (offset / sector).saturating_add(done as u64).saturating_mul(sector);
    let len = usize::try_from(done_end.saturating_sub(offset)).unwrap_or(usize::MAX);
    &bytes[..len.min(bytes.len())]
}

/// The beginning of a write at `offset` that ends before its second half, at the end of a sector.
pub(super) fn half(bytes: &[u8], offset: u64) -> &[u8] {
    let middle = offset.saturating_add(bytes.len() as u64 / 2);
    let end = middle - middle % SECTOR as u64;
    &bytes[..usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len())]
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

//! Sectors: how a run of bytes lies in a file so that what was never written can be told from what
//! was damaged.
//!
//! A disk writes whole sectors of 512 bytes, in any order, and what it has not written yet of a
//! file that was filled with zeros is zeros. The first byte of each sector is a mark that is not
//! zero, so a sector of zeros was not written. Positions count the bytes without the marks, from
//! the end of the file's first sector, which is the header.

use std::ops::Range;

/// Bytes of a sector.
pub(super) const SECTOR_BYTES: usize = 512;

/// Bytes of a sector without its mark.
const CONTENT_BYTES: usize = SECTOR_BYTES - 1;

/// The first byte of each sector that was written.
pub(super) const MARK: u8 = 0xa7;

/// Where the byte at `position` is in the file.
pub(super) fn file_offset(position: u64) -> u64 {
    let content = CONTENT_BYTES as u64;
    let sector = SECTOR_BYTES as u64;
    (1 + position / content) * sector + 1 + position % content
}

/// The first byte to write for what begins at `position`: its sector's mark, if it is the first in
/// there.
pub(super) fn write_offset(position: u64) -> u64 {
    let offset = file_offset(position);
    if offset % SECTOR_BYTES as u64 == 1 { offset - 1 } else { offset }
}

/// The bytes to write at [`write_offset`] for `bytes` from `position` on.
pub(super) fn mark(position: u64, bytes: &[u8], marked: &mut Vec<u8>) {
    marked.clear();
    marked.reserve(bytes.len() + bytes.len() / CONTENT_BYTES + 2);
    let mut rest = bytes;
    let mut within = usize::try_from(position % CONTENT_BYTES as u64).unwrap_or_default();
    while !rest.is_empty() {
        if within == 0 {
            marked.push(MARK);
        }
        let (part, after) = rest.split_at(rest.len().min(CONTENT_BYTES - within));
        marked.extend_from_slice(part);
        rest = after;
        within = 0;
    }
}

/// Sectors of a file, from one that begins at `start` on: their bytes without the marks, and the
/// marks.
#[derive(Debug, Default)]
pub(super) struct Image {
    start: u64,
    bytes: Vec<u8>,
    marks: Vec<u8>,
}

impl Image {
    /// Takes apart the sectors from number `first_sector` after the header on. The last one may be
    /// cut short.
    pub(super) fn new(first_sector: u64, file_bytes: &[u8]) -> Self {
        let sectors = file_bytes.chunks(SECTOR_BYTES);
        let mut bytes = Vec::with_capacity(file_bytes.len());
        let mut marks = Vec::with_capacity(sectors.len());
        for sector in sectors {
            if let Some((&mark, content)) = sector.split_first() {
                marks.push(mark);
                bytes.extend_from_slice(content);
            }
        }
        Self { start: first_sector * CONTENT_BYTES as u64, bytes, marks }
    }

    /// The number of the sector that has the byte at `position`, and where in the file it is.
    pub(super) fn sector_of(position: u64) -> (u64, u64) {
        let sector = position / CONTENT_BYTES as u64;
        (sector, (sector + 1) * SECTOR_BYTES as u64)
    }

    /// The position after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The bytes at these positions, if it has them all.
    pub(super) fn get(&self, positions: Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(positions.start.checked_sub(self.start)?).ok()?;
        let end = usize::try_from(positions.end.checked_sub(self.start)?).ok()?;
        self.bytes.get(start..end)
    }

    /// Whether every sector that begins in these positions has its mark.
    pub(super) fn is_marked(&self, positions: Range<u64>) -> bool {
        self.pieces(positions).all(|piece| piece.mark.is_none_or(|mark| mark == MARK))
    }

    /// Whether a sector was not written of what is at these positions: all of its part is zero.
    pub(super) fn has_unwritten(&self, positions: Range<u64>) -> bool {
        self.pieces(positions).any(|piece| {
            piece.mark.is_none_or(|mark| mark == 0) && piece.bytes.iter().all(|&byte| byte == 0)
        })
    }

    /// Whether nothing was written from `position` on.
    pub(super) fn is_blank_from(&self, position: u64) -> bool {
        self.pieces(position..self.end()).all(|piece| {
            piece.mark.is_none_or(|mark| mark == 0) && piece.bytes.iter().all(|&byte| byte == 0)
        })
    }

    /// What of each sector is at these positions, as far as the file goes.
    fn pieces(&self, positions: Range<u64>) -> impl Iterator<Item = Piece<'_>> {
        let content = CONTENT_BYTES as u64;
        let end = positions.end.min(self.end());
        let mut from = positions.start.max(self.start);
        std::iter::from_fn(move || {
            if from >= end {
                return None;
            }
            let sector = from / content;
            let until = ((sector + 1) * content).min(end);
            let first = usize::try_from(sector - self.start / content).ok()?;
            let mark = from.is_multiple_of(content).then(|| self.marks.get(first).copied());
            let piece = Piece { mark: mark.flatten(), bytes: self.get(from..until)? };
            from = until;
            Some(piece)
        })
    }
}

/// A part of a sector, with the sector's mark if it is the first part.
struct Piece<'a> {
    mark: Option<u8>,
    bytes: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_reads_back_from_every_position() {
        let bytes: Vec<u8> = (0..2000_u32).map(|n| (n % 251) as u8 + 1).collect();
        for position in [0, 1, 510, 511, 512, 1021, 1022, 5000] {
            let mut marked = Vec::new();
            mark(position, &bytes, &mut marked);
            let offset = write_offset(position);
            let mut file = vec![0; SECTOR_BYTES];
            file.resize(usize::try_from(offset).unwrap(), 0);
            file.extend_from_slice(&marked);
            let image = Image::new(0, &file[SECTOR_BYTES..]);
            let all = position..position + 2000;
            assert_eq!(image.get(all.clone()), Some(&bytes[..]), "{position}");
            assert!(image.is_marked(all.clone()));
            assert!(!image.has_unwritten(all.clone()));
            assert!(image.is_blank_from(all.end));
            assert!(!image.is_blank_from(all.end - 1));
            let (sector, at) = Image::sector_of(position + 1500);
            let part = Image::new(sector, &file[usize::try_from(at).unwrap()..]);
            assert_eq!(part.get(position + 1500..all.end), Some(&bytes[1500..]), "{position}");
            assert_eq!(part.get(all), None);
        }
    }

    #[test]
    fn a_sector_of_zeros_is_one_that_was_not_written() {
        let mut marked = Vec::new();
        mark(100, &[0; 1500], &mut marked);
        let mut file = vec![0; SECTOR_BYTES + 101];
        file.extend_from_slice(&marked);
        // Zeros in the first sector, which has no mark of this run: nothing tells them apart there.
        assert!(Image::new(0, &file[SECTOR_BYTES..]).has_unwritten(100..1600));
        assert!(!Image::new(0, &file[SECTOR_BYTES..]).has_unwritten(511..1600));
        file[2 * SECTOR_BYTES..3 * SECTOR_BYTES].fill(0);
        let image = Image::new(0, &file[SECTOR_BYTES..]);
        assert!(image.has_unwritten(511..1600));
        assert!(!image.is_marked(511..1600));
    }
}

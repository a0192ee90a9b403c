//! Frames: what one write puts into a segment, whole or not at all.
//!
//! ```text
//! 0      1        5             9               13                 13 + length
//! | 0xf5 | length | checksum of | checksum of   | body             | 0x5a |
//! |      | of the | the body    | this header   |                  |      |
//! |      | body   |             | and its place |                  |      |
//! ```
//!
//! Numbers are little-endian, checksums CRC-32C. The place is the log's id, the segment's number
//! and the frame's position in it, so a frame counts only where it was written.
//!
//! A frame is written and synced before the next one begins. One that is not whole can therefore
//! be two things. If it is the last and some of it was not written (a sector of zeros, or its end
//! is), the write was cut short: nobody was told that it is there, and it can go. If all of it was
//! written, or something follows it, it was whole once and is damaged: cutting it would lose what
//! was acknowledged. The rule, and what happens to systems without it, are in Alagappan et al.,
//! "Protocol-Aware Recovery for Consensus-Based Storage" (FAST 2018), section 3.3; the marks on
//! sectors are this crate's way to tell the two apart without a second write.

use std::ops::Range;

use super::sector::Image;

const FIRST: u8 = 0xf5;
const LAST: u8 = 0x5a;

/// Bytes before the body.
pub(super) const HEADER_BYTES: usize = 13;

/// Bytes of a frame besides its body.
pub(super) const OVERHEAD_BYTES: usize = HEADER_BYTES + 1;

/// The segment that a frame is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The log's id.
    pub(super) log: u64,
    /// The segment's number.
    pub(super) segment: u64,
}

impl Place {
    fn checksum(self, position: u64, header: &[u8]) -> u32 {
        let place = [self.log.to_le_bytes(), self.segment.to_le_bytes(), position.to_le_bytes()];
        crc32c::crc32c_append(crc32c::crc32c(place.as_flattened()), header)
    }
}

/// Makes a frame for `position` of `frame`, which has the body after [`HEADER_BYTES`] bytes of room.
///
/// # Panics
///
/// If the body has 4 GiB or more: batches are smaller.
pub(super) fn seal(place: Place, position: u64, frame: &mut Vec<u8>) {
    let (header, body) = frame.split_at_mut(HEADER_BYTES);
    let length = u32::try_from(body.len()).expect("a batch is below 4 GiB");
    header[0] = FIRST;
    header[1..5].copy_from_slice(&length.to_le_bytes());
    header[5..9].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let checksum = place.checksum(position, &header[..9]);
    header[9..].copy_from_slice(&checksum.to_le_bytes());
    frame.push(LAST);
}

/// What is at a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A frame with its body at these positions; the next one begins a byte after it.
    Frame(Range<u64>),
    /// Nothing was ever written from here on.
    End,
    /// A write that was cut short; nothing that was acknowledged is here or after it.
    Torn,
    /// Something that was whole once.
    Damaged,
}

/// Looks at the place where a frame has to begin, or the frames end.
pub(super) fn find(place: Place, image: &Image, position: u64) -> Found {
    let header = read_header(place, image, position);
    if let Some(body) = &header
        && is_whole(image, body, position)
    {
        return Found::Frame(body.clone());
    }
    if image.is_blank_from(position) {
        return Found::End;
    }
    let unfinished = if let Some(body) = header {
        let end = body.end + 1;
        // The next frame is begun when this one is synced.
        image.is_blank_from(end)
            && (image.end() < end
                || image.get(body.end..end) == Some(&[0])
                || image.has_unwritten(position..end))
    } else {
        let end = position + HEADER_BYTES as u64;
        image.end() < end || image.is_blank_from(end) || image.has_unwritten(position..end)
    };
    if unfinished && !whole_frame_follows(place, image, position + 1) {
        Found::Torn
    } else {
        Found::Damaged
    }
}

/// The positions of the body of the frame at `position`, if its header is right.
pub(super) fn read_header(place: Place, image: &Image, position: u64) -> Option<Range<u64>> {
    let start = position + HEADER_BYTES as u64;
    let header = image.get(position..start)?;
    if header[0] != FIRST {
        return None;
    }
    let checksum = u32::from_le_bytes(header[9..].try_into().ok()?);
    if place.checksum(position, &header[..9]) != checksum {
        return None;
    }
    let length = u32::from_le_bytes(header[1..5].try_into().ok()?);
    Some(start..start + u64::from(length))
}

/// Whether the frame at `position` with this body is as it was written; its header is right.
pub(super) fn is_whole(image: &Image, body: &Range<u64>, position: u64) -> bool {
    let end = body.end + 1;
    let checksum = image.get(body.start - 8..body.start - 4);
    image.get(body.end..end) == Some(&[LAST])
        && image.is_marked(position..end)
        && checksum.zip(image.get(body.clone())).is_some_and(|(checksum, body)| {
            checksum == crc32c::crc32c(body).to_le_bytes().as_slice()
        })
}

fn whole_frame_follows(place: Place, image: &Image, position: u64) -> bool {
    let Some(rest) = image.get(position..image.end()) else { return false };
    let starts = rest.iter().enumerate().filter(|(_, byte)| **byte == FIRST);
    let mut positions = starts.map(|(n, _)| position + n as u64);
    positions.any(|at| read_header(place, image, at).is_some_and(|body| is_whole(image, &body, at)))
}

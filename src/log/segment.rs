//! Segments: the files that a log consists of.
//!
//! A segment is a header of one sector, then frames. It is made under another name, with its header
//! and its first frame, and renamed when both are on disk: a segment of the right name is whole so
//! far. The rest is zeros, written ahead, since a sync is faster when the file does not grow.

use std::io;
use std::sync::Arc;

use super::frame::{self, Found, Place};
use super::record::{self, Head, Kind};
use super::sector::{self, Image, SECTOR_BYTES};
use super::{Damage, Disk, DiskFile, LogError};

const MAGIC: [u8; 8] = *b"triekv\0L";

/// The version of the format.
const VERSION: u32 = 1;

/// The largest file that is taken for a segment; larger than any that is written.
const FILE_BYTES_MAX: u64 = 1 << 31;

/// The end of the name of a file that is not finished.
pub(super) const UNFINISHED: &str = ".new";

/// The name of a segment's file.
pub(super) fn name(number: u32) -> String {
    format!("{number:08x}.log")
}

/// The number of the segment that a file name stands for.
pub(super) fn number(file_name: &str) -> Option<u32> {
    let digits = file_name.strip_suffix(".log")?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (name(number) == file_name).then_some(number)
}

/// Returns true if a file of this name is a segment.
pub(crate) fn is_segment(file_name: &str) -> bool {
    number(file_name).is_some()
}

/// The file's name with its directory, for messages.
pub(super) fn path(disk: &dyn Disk, file_name: &str) -> String {
    format!("{}/{file_name}", disk.location())
}

/// The header of a segment.
pub(super) fn header(place: Place) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&place.log.to_le_bytes());
    bytes[20..28].copy_from_slice(&place.segment.to_le_bytes());
    let (covered, checksum) = bytes.split_at_mut(SECTOR_BYTES - 4);
    checksum.copy_from_slice(&crc32c::crc32c(covered).to_le_bytes());
    bytes
}

/// Reads the header of a segment; gives the log's id.
fn read_header(file: &str, number: u32, bytes: &[u8]) -> Result<u64, LogError> {
    let corrupt = |damage| LogError::Corrupt { file: file.to_owned(), offset: 0, damage };
    let header = bytes.get(..SECTOR_BYTES).ok_or_else(|| corrupt(Damage::Truncated))?;
    let (covered, checksum) = header.split_at(SECTOR_BYTES - 4);
    if crc32c::crc32c(covered).to_le_bytes() != checksum || covered[..8] != MAGIC {
        return Err(corrupt(Damage::Header));
    }
    let number_at = |at: usize| covered[at..].first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
    let found = covered[8..].first_chunk().map_or(0, |n| u32::from_le_bytes(*n));
    if found != VERSION {
        return Err(LogError::Version { file: file.to_owned(), found, expected: VERSION });
    }
    if number_at(20) != u64::from(number) {
        return Err(corrupt(Damage::Malformed));
    }
    Ok(number_at(12))
}

/// A segment as it was read.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) log: u64,
    /// The position after the first frame, and after the last one, without the seal.
    pub(super) begun: u64,
    pub(super) end: u64,
    /// Whether it is sealed.
    pub(super) sealed: bool,
    /// How many frames it has, without the seal, and where the last of them begins.
    pub(super) frames: u64,
    pub(super) last_frame: u64,
}

/// What reading a segment finds: the position of a frame, and a record of it.
pub(super) type Visit<'a> = dyn FnMut(u32, &Head, &[u8]) -> Result<(), Damage> + 'a;

/// Reads a segment, and gives each record to `visit`.
///
/// # Errors
///
/// [`LogError::Corrupt`] for anything that was whole once and is not, or that `visit` finds wrong;
/// [`LogError::Io`] if the file cannot be read.
pub(super) fn scan(
    disk: &dyn Disk,
    number: u32,
    visit: &mut Visit<'_>,
) -> Result<Scanned, LogError> {
    let file_name = name(number);
    let file = disk.open(&file_name).map_err(|error| failed("open", disk, &file_name, error))?;
    let file: Arc<dyn DiskFile> = file.into();
    scan_file(disk, number, file, u64::MAX, visit)
}

/// As [`scan`], of an open file, of which only the first `bytes_max` bytes are read.
pub(super) fn scan_file(
    disk: &dyn Disk,
    number: u32,
    file: Arc<dyn DiskFile>,
    bytes_max: u64,
    visit: &mut Visit<'_>,
) -> Result<Scanned, LogError> {
    let path = path(disk, &name(number));
    let corrupt = |offset, damage| LogError::Corrupt { file: path.clone(), offset, damage };
    let unreadable = |error| LogError::io("read", &*path, error);
    let file_bytes = file.size().map_err(unreadable)?.min(bytes_max);
    if file_bytes > FILE_BYTES_MAX {
        return Err(corrupt(FILE_BYTES_MAX, Damage::Malformed));
    }
    // The limit fits.
    let mut bytes = vec![0; usize::try_from(file_bytes).unwrap_or_default()];
    file.read_at(&mut bytes, 0).map_err(unreadable)?;
    let log = read_header(&path, number, &bytes)?;
    let place = Place { log, segment: u64::from(number) };
    let image = Image::new(0, &bytes[SECTOR_BYTES..]);
    drop(bytes);

    let mut position = 0;
    let (mut frames, mut begun, mut last_frame, mut sealed) = (0, 0, 0, false);
    loop {
        let malformed = |damage| corrupt(sector::file_offset(position), damage);
        let body = match frame::find(place, &image, position) {
            Found::End | Found::Torn => break,
            // Planted: the log ends before the first damage, whatever comes after it.
            Found::Damaged if cfg!(triekv_planted = "cut_on_any_checksum") => break,
            Found::Damaged => return Err(malformed(Damage::Checksum)),
            Found::Frame(body) => body,
        };
        let bytes = image.get(body.clone()).unwrap_or_default();
        let at = u32::try_from(position).map_err(|_| malformed(Damage::Malformed))?;
        for record in record::read(bytes) {
            let (head, payload) = record.ok_or_else(|| malformed(Damage::Malformed))?;
            visit(at, &head, payload).map_err(malformed)?;
            sealed |= head.kind == Kind::Sealed;
        }
        if sealed {
            break;
        }
        last_frame = position;
        position = body.end + 1;
        frames += 1;
        if frames == 1 {
            begun = position;
        }
    }
    Ok(Scanned { number, file, log, begun, end: position, sealed, frames, last_frame })
}

/// The error of an operation on a file of `disk`.
pub(super) fn failed(
    operation: &'static str,
    disk: &dyn Disk,
    file_name: &str,
    error: io::Error,
) -> LogError {
    LogError::io(operation, path(disk, file_name), error)
}

/// The error of an operation after which the file is not what it was: want of room counts as any
/// other failure.
pub(super) fn broken(
    operation: &'static str,
    disk: &dyn Disk,
    file_name: &str,
    error: io::Error,
) -> LogError {
    LogError::broken(operation, path(disk, file_name), error)
}

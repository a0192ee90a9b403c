//! Reading entries where they lie, with the checksum of their frame checked each time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::{self, HEADER_BYTES, Place};
use super::sector::{Image, SECTOR_BYTES, file_offset, write_offset};
use super::segment;
use super::table::{LastIndices, Location, Table};
use super::{Damage, Disk, DiskFile, LogError};

/// Bytes of a file that are read at once.
const WINDOW_BYTES: u64 = 256 << 10;

/// A segment that is open.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    /// The position after its last frame.
    pub(super) end: u64,
    pub(super) last_indices: LastIndices,
}

/// What is durable: the groups, and the segments from the oldest to the one that is written.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) table: Table,
    pub(super) segments: VecDeque<Segment>,
}

impl Contents {
    /// Bytes of the files of all segments but the one that is written.
    pub(super) fn older_bytes(&self) -> u64 {
        let older = self.segments.iter().rev().skip(1);
        older.map(|segment| segment.file.size().unwrap_or_default()).sum()
    }

    fn segment(&self, number: u32) -> Option<&Segment> {
        let oldest = self.segments.front()?.number;
        self.segments.get(number.checked_sub(oldest)? as usize)
    }
}

/// Reads the entries of a log that are durable; clones read the same log.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) disk: Arc<dyn Disk>,
    /// The log's id.
    pub(super) log: u64,
    pub(super) contents: Arc<Mutex<Contents>>,
}

impl LogReader {
    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The indices of the entries of `group`; empty if it has none.
    pub fn indices(&self, group: u32) -> Range<u64> {
        self.contents().table.groups.get(&group).map_or(0..0, super::table::Group::indices)
    }

    /// Returns the entries of `group` at `indices`, with their indices: those that there are, from
    /// the first one on, until they have `bytes_max` bytes or more.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] if a file cannot be read, [`LogError::Corrupt`] if an entry is not what it
    /// was when it was written.
    pub fn read(
        &self,
        group: u32,
        indices: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, LogError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut frames = FrameReader::new(self);
        for index in indices {
            if bytes >= bytes_max {
                break;
            }
            let Some(payload) = frames.entry(group, index)? else { break };
            bytes += payload.len();
            entries.push((index, payload.to_vec()));
        }
        Ok(entries)
    }

    /// Calls `visit` with each entry of `group` from index `from` on, in order.
    ///
    /// # Errors
    ///
    /// As [`LogReader::read`], and what `visit` gives.
    pub fn replay<E: From<LogError>>(
        &self,
        group: u32,
        from: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let indices = self.indices(group);
        let mut frames = FrameReader::new(self);
        for index in indices.start.max(from)..indices.end {
            let Some(payload) = frames.entry(group, index)? else { break };
            visit(index, payload)?;
        }
        Ok(())
    }

    /// Reads all segments again as far as they are durable, and checks them; gives the number of
    /// their bytes.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] for the first damage, [`LogError::Io`] if a file cannot be read.
    pub fn verify(&self) -> Result<u64, LogError> {
        let segments = self.contents().segments.clone();
        let mut bytes = 0;
        for known in segments {
            let path = segment::path(&*self.disk, &segment::name(known.number));
            let file = Arc::clone(&known.file);
            // What is being written is beyond it.
            let until = write_offset(known.end);
            let scanned =
                segment::scan_file(&*self.disk, known.number, file, until, &mut |_, _, _| Ok(()))?;
            if scanned.log != self.log || scanned.end != known.end {
                let offset = file_offset(scanned.end);
                return Err(LogError::Corrupt { file: path, offset, damage: Damage::Missing });
            }
            bytes += until;
        }
        Ok(bytes)
    }

    /// The message that the segment with this number, and this position in it, is damaged.
    fn corrupt(&self, segment: u32, position: u64, damage: Damage) -> LogError {
        let file = segment::path(&*self.disk, &segment::name(segment));
        LogError::Corrupt { file, offset: file_offset(position), damage }
    }
}

/// Reads frames, keeping the part of the file around the last one.
pub(super) struct FrameReader<'a> {
    log: &'a LogReader,
    window: Image,
    /// The segment that the window is of.
    segment: Option<Segment>,
    /// The frame that was checked last, and its body.
    checked: Option<(u64, Range<u64>)>,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(log: &'a LogReader) -> Self {
        Self { log, window: Image::default(), segment: None, checked: None }
    }

    /// The payload of an entry, `None` if the log does not have it.
    pub(super) fn entry(&mut self, group: u32, index: u64) -> Result<Option<&[u8]>, LogError> {
        let location = {
            let contents = self.log.contents();
            let group = contents.table.groups.get(&group);
            let Some(location) = group.and_then(|group| group.locate(index)) else {
                return Ok(None);
            };
            if self.segment.as_ref().is_none_or(|segment| segment.number != location.segment) {
                self.segment = contents.segment(location.segment).cloned();
                self.checked = None;
                self.window = Image::default();
            }
            location
        };
        let Location { segment, frame, payload_at, payload_len } = location;
        let body = self.body(segment, u64::from(frame))?;
        let start = body.start + u64::from(payload_at);
        let payload = self.window.get(start..start + u64::from(payload_len));
        let damaged = || self.log.corrupt(segment, start, Damage::Malformed);
        payload.ok_or_else(damaged).map(Some)
    }

    /// The positions of the body of a frame; the window has it then.
    fn body(&mut self, segment: u32, position: u64) -> Result<Range<u64>, LogError> {
        if let Some((at, body)) = &self.checked
            && *at == position
        {
            return Ok(body.clone());
        }
        self.checked = None;
        let place = Place { log: self.log.log, segment: u64::from(segment) };
        let damaged = |damage| self.log.corrupt(segment, position, damage);
        let mut header = frame::read_header(place, &self.window, position);
        if header.is_none() {
            self.load(segment, position, position + HEADER_BYTES as u64)?;
            header = frame::read_header(place, &self.window, position);
        }
        let body = header.ok_or_else(|| damaged(Damage::Checksum))?;
        if body.end >= self.window.end() {
            self.load(segment, position, body.end + 1)?;
        }
        if !frame::is_whole(&self.window, &body, position) {
            // It may have been read while it was being written.
            self.load(segment, position, body.end + 1)?;
        }
        if !frame::is_whole(&self.window, &body, position) {
            return Err(damaged(Damage::Checksum));
        }
        self.checked = Some((position, body.clone()));
        Ok(body)
    }

    /// Reads the file from the sector of `position` to that of `end` at least.
    fn load(&mut self, number: u32, position: u64, end: u64) -> Result<(), LogError> {
        let path = || segment::path(&*self.log.disk, &segment::name(number));
        let missing = || self.log.corrupt(number, position, Damage::Missing);
        let segment = self.segment.as_ref().ok_or_else(missing)?;
        let unreadable = |error| LogError::io("read", path(), error);
        let file_bytes = segment.file.size().map_err(unreadable)?;
        let (sector, offset) = Image::sector_of(position);
        let needed = file_offset(end).next_multiple_of(SECTOR_BYTES as u64);
        let until = needed.max(offset + WINDOW_BYTES).min(file_bytes);
        let len = until.checked_sub(offset).and_then(|len| usize::try_from(len).ok());
        let mut bytes = vec![0; len.ok_or_else(missing)?];
        segment.file.read_at(&mut bytes, offset).map_err(unreadable)?;
        self.window = Image::new(sector, &bytes);
        Ok(())
    }
}

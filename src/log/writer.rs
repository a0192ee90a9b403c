//! Writing batches: one frame and one sync each, room ahead, new segments, and old ones removed.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::frame::{self, HEADER_BYTES, OVERHEAD_BYTES, Place};
use super::reader::{Contents, LogReader, Segment};
use super::record::{self, Kind};
use super::sector::{self, SECTOR_BYTES, file_offset, write_offset};
use super::segment::{self, Scanned, UNFINISHED, broken, failed};
use super::table::LastIndices;
use super::{Disk, DiskFile, LogError, REGISTERS, is_full};

/// The longest payload of a record: 256 MiB.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// The longest batch. With [`SEGMENT_BYTES_MAX`] it keeps segments below what opening a log takes.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// The fewest and the most bytes after which a segment is followed by a new one.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
const SEGMENT_BYTES_MAX: u64 = 512 << 20;

/// Bytes of records after which a batch takes no more work.
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// The fewest and the most bytes of zeros that are written ahead at once.
const STEP_BYTES_MIN: u64 = 128 << 10;
const STEP_BYTES_MAX: u64 = 4 << 20;

/// A segment of which nothing is needed is left for a new one once it is this long.
const LEFT_BYTES: u64 = 4 << 20;

/// Bytes that stay free for the seal of a segment.
const SEAL_BYTES: u64 = 64;

/// Buffers larger than this are given back after use.
const BUFFER_BYTES_MAX: usize = 16 << 20;

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LogOptions {
    /// Bytes after which a segment is followed by a new one, without the state of the groups that it
    /// begins with; 64 MiB unless set, 4 KiB to 512 MiB. A batch is never split, so a segment can be
    /// longer by one.
    pub segment_bytes: u64,
    /// What happens to a batch for which the disk has no room.
    pub when_full: WhenFull,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, when_full: WhenFull::Refuse }
    }
}

/// What happens to a batch for which the disk has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// It fails with [`LogError::Full`].
    Refuse,
    /// It waits until there is room; [`Log::has_room`](super::Log::has_room) tells new work that it
    /// would have to.
    Wait,
}

/// Counters since the log was opened, and its size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Records written.
    pub records: u64,
    /// Batches written: each was one write and one sync.
    pub batches: u64,
    /// Syncs of files, those of batches included.
    pub syncs: u64,
    /// Bytes of records written.
    pub record_bytes: u64,
    /// Segments on disk now.
    pub segments: u64,
    /// Bytes of all segments on disk now, those written ahead included.
    pub disk_bytes: u64,
    /// Bytes of all frames on disk now.
    pub frame_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    records: AtomicU64,
    batches: AtomicU64,
    syncs: AtomicU64,
    record_bytes: AtomicU64,
    /// Bytes of the segment that is written, and of those before it.
    current_bytes: AtomicU64,
    older_bytes: AtomicU64,
    /// Whether the disk had no room when it was asked last, and the bytes that are left.
    pub(super) full: AtomicBool,
    room: AtomicU64,
    /// Whether somebody waits for the disk to be asked again.
    pub(super) asked: AtomicBool,
}

impl Counters {
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        if !self.full.load(Ordering::Relaxed) {
            return true;
        }
        let needed = (bytes as u64).saturating_add((bytes / 256 + 2 * SECTOR_BYTES) as u64);
        self.room.load(Ordering::Relaxed) >= needed.saturating_add(STEP_BYTES_MIN / 2)
    }

    pub(super) fn stats(&self, contents: &Contents) -> LogStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let older = of(&self.older_bytes);
        LogStats {
            records: of(&self.records),
            batches: of(&self.batches),
            syncs: of(&self.syncs),
            record_bytes: of(&self.record_bytes),
            segments: contents.segments.len() as u64,
            disk_bytes: of(&self.current_bytes) + older,
            frame_bytes: contents.segments.iter().map(|segment| segment.end).sum(),
        }
    }
}

/// Records for the next write, in the order in which they are added.
#[derive(Debug)]
pub struct Batch {
    /// A frame in the making: room for its header, and the records.
    frame: Vec<u8>,
    records: u64,
    /// How often a sync was asked for.
    syncs: usize,
    /// Bytes of the frame, and records, that were settled although they are not written yet.
    settled: (usize, u64),
}

impl Default for Batch {
    fn default() -> Self {
        Self { frame: vec![0; HEADER_BYTES], records: 0, syncs: 0, settled: (HEADER_BYTES, 0) }
    }
}

impl Batch {
    /// Adds an entry to the end of a group: `index` is one more than that of the last one. The first
    /// entry of a group may have any index.
    ///
    /// # Panics
    ///
    /// If the payload is longer than [`RECORD_BYTES_MAX`].
    pub fn append(&mut self, group: u32, index: u64, payload: &[u8]) {
        self.add(Kind::Append, group, index, payload);
    }

    /// Removes the entries of a group from index `from` on.
    pub fn truncate(&mut self, group: u32, from: u64) {
        self.add(Kind::Truncate, group, from, &[]);
    }

    /// Removes the entries of a group before index `before`. If it has none from there on, its next
    /// index is `before`.
    pub fn purge(&mut self, group: u32, before: u64) {
        self.add(Kind::Purge, group, before, &[]);
    }

    /// Sets a register of a group.
    ///
    /// # Panics
    ///
    /// If `register` is not below [`REGISTERS`](super::REGISTERS), or the value is longer than
    /// [`RECORD_BYTES_MAX`]. Values are repeated in each segment: keep them short.
    pub fn set(&mut self, group: u32, register: usize, value: &[u8]) {
        assert!(register < REGISTERS, "a group has {REGISTERS} registers");
        self.add(Kind::Set, group, register as u64, value);
    }

    /// Removes a group with all its entries and registers.
    pub fn drop_group(&mut self, group: u32) {
        self.add(Kind::Drop, group, 0, &[]);
    }

    /// Asks for what was added so far to be written and synced now. Otherwise it is written with
    /// the next batch that is, or when the log is closed.
    pub fn sync(&mut self) {
        self.syncs += 1;
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of all records.
    pub fn len(&self) -> usize {
        self.frame.len() - HEADER_BYTES
    }

    /// How often a sync was asked for: about how many wait for it.
    pub(super) fn waiting(&self) -> usize {
        self.syncs
    }

    fn add(&mut self, kind: Kind, group: u32, number: u64, payload: &[u8]) {
        assert!(payload.len() <= RECORD_BYTES_MAX, "callers check the length of a payload");
        record::write(&mut self.frame, kind, group, number, payload);
        self.records += 1;
    }

    fn clear(&mut self) {
        if self.frame.capacity() > BUFFER_BYTES_MAX {
            *self = Self::default();
        }
        self.frame.truncate(HEADER_BYTES);
        (self.records, self.syncs, self.settled) = (0, 0, (HEADER_BYTES, 0));
    }

    /// The committer was told that the records so far are in order, written or not.
    pub(super) fn settle(&mut self) {
        self.settled = (self.frame.len(), self.records);
    }

    /// Removes what was added since the last time that the committer was told anything.
    pub(super) fn refuse(&mut self) {
        let (bytes, records) = self.settled;
        self.frame.truncate(bytes);
        (self.records, self.syncs) = (records, 0);
        if records == 0 {
            self.clear();
        }
    }
}

/// What is left behind the last frame of one that was refused.
#[derive(Debug, Clone, Copy)]
struct Remains {
    /// Where in the file they end.
    end: u64,
    /// Whether they may be all of it, which opening the log would take for a frame that was written.
    may_be_whole: bool,
}

/// Writes a log. One for each log, on one thread.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    options: LogOptions,
    /// The segment that is written.
    place: Place,
    number: u32,
    file: Arc<dyn DiskFile>,
    /// The position after its first frame, which is as long as there are groups, and after its last.
    begun: u64,
    end: u64,
    /// Its length, zeros included.
    file_bytes: u64,
    reader: LogReader,
    counters: Arc<Counters>,
    marked: Vec<u8>,
    /// What is in the file of a frame for which there was no room, if anything is.
    remains: Option<Remains>,
    /// Why nothing can be written any more.
    stopped: Option<Arc<LogError>>,
}

impl Writer {
    /// Goes on after what was recovered; `last` is the newest segment. Finishes what a crash has
    /// left: a write that was cut short, a segment without its seal, segments that can go.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        mut options: LogOptions,
        contents: Contents,
        last: Option<Scanned>,
    ) -> Result<Self, LogError> {
        options.segment_bytes = options.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let counters = Arc::new(Counters::default());
        let log = match &last {
            Some(last) => last.log,
            None => RandomState::new().build_hasher().finish(),
        };
        let contents = Arc::new(Mutex::new(contents));
        let reader = LogReader { disk: Arc::clone(&disk), log, contents };
        let marked = Vec::new();
        let Some(last) = last else {
            let (number, place) = (1, Place { log, segment: 1 });
            let first = first_records(&reader.contents(), 0);
            let (segment, file_bytes) = make_segment(&*disk, number, place, first, &counters)?;
            let (file, end) = (Arc::clone(&segment.file), segment.end);
            reader.contents().segments.push_back(segment);
            let stopped = None;
            return Ok(Self {
                disk,
                options,
                place,
                number,
                file,
                begun: end,
                end,
                file_bytes,
                reader,
                counters,
                marked,
                remains: None,
                stopped,
            });
        };
        let place = Place { log, segment: u64::from(last.number) };
        let mut writer = Self {
            disk,
            options,
            place,
            number: last.number,
            file: Arc::clone(&last.file),
            begun: last.begun,
            end: last.end,
            file_bytes: 0,
            reader,
            counters,
            marked,
            remains: None,
            stopped: None,
        };
        writer.repair(&last)?;
        let older = writer.reader.contents().older_bytes();
        writer.counters.older_bytes.store(older, Ordering::Relaxed);
        writer.remove_unneeded()?;
        writer.note_sizes();
        Ok(writer)
    }

    pub(super) fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The disk is about to be asked.
    pub(super) fn was_asked(&self) {
        self.counters.asked.store(false, Ordering::Relaxed);
    }

    /// Bytes of the segment without the state of the groups that it begins with: another segment
    /// would begin with as much, so that much of it is no reason for one.
    fn written(&self) -> u64 {
        self.end - self.begun
    }

    /// Whether the disk had no room when it was asked last.
    pub(super) fn is_full(&self) -> bool {
        self.counters.full.load(Ordering::Relaxed)
    }

    /// Whether nothing can be written any more.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    pub(super) fn options(&self) -> LogOptions {
        self.options
    }

    /// Makes sure that what was read is on disk, since it is relied on from now on: the process
    /// before may have ended before its last sync, or because that sync failed, after which a file
    /// can be read and yet be lost unless it is written again. The same holds for the zeros after
    /// the last frame and for the length of the file: it is cut, which removes what is left of a
    /// write that was cut short, and extended again.
    fn repair(&mut self, last: &Scanned) -> Result<(), LogError> {
        let (start, end) = (write_offset(last.last_frame), file_offset(last.end - 1) + 1);
        let sector_end = end.next_multiple_of(SECTOR_BYTES as u64);
        let mut frame = vec![0; usize::try_from(end - start).unwrap_or_default()];
        let read = last.file.read_at(&mut frame, start);
        frame.resize(usize::try_from(sector_end - start).unwrap_or_default(), 0);
        let write = || {
            last.file.set_size(sector_end)?;
            last.file.write_at(&frame, start)
        };
        read.and_then(|()| write()).map_err(|error| self.not_written(error))?;
        self.file_bytes = sector_end;
        match self.extend_to(sector_end + STEP_BYTES_MIN) {
            Err(LogError::Full { .. }) => {
                // A sync that failed gave up the frame too.
                write().map_err(|error| self.not_written(error))?;
                self.sync(&*last.file, last.number)?;
            }
            extended => extended?,
        }
        // Before the seal: it says that there is a segment of the next name.
        let synced = self.disk.sync_names();
        synced.map_err(|error| broken("sync", &*self.disk, &segment::name(self.number), error))?;
        if last.frames == 1 { self.seal_again() } else { Ok(()) }
    }

    /// Seals the segment before this one, as has to be done before this one gets a second frame.
    fn seal_again(&self) -> Result<(), LogError> {
        let before = self.reader.contents().segments.iter().rev().nth(1).cloned();
        let Some(before) = before else { return Ok(()) };
        let place = Place { segment: u64::from(before.number), ..self.place };
        let mut seal = Batch::default();
        seal.add(Kind::Sealed, 0, 0, &[]);
        frame::seal(place, before.end, &mut seal.frame);
        let mut marked = Vec::new();
        sector::mark(before.end, &seal.frame, &mut marked);
        let error = |error| failed("write", &*self.disk, &segment::name(before.number), error);
        let offset = write_offset(before.end);
        let file_bytes = before.file.size().map_err(error)?;
        let rest = file_bytes.saturating_sub(offset);
        marked.resize(marked.len().max(usize::try_from(rest).unwrap_or_default()), 0);
        before.file.write_at(&marked, offset).map_err(error)?;
        self.sync(&*before.file, before.number)
    }

    /// Writes the batch, and returns when it is on disk. The batch is empty afterwards; after
    /// [`LogError::Full`] and [`LogError::TooLarge`] it has what was settled before. While the log
    /// waits for room it stays as it is; should it be given up then, the log may have it all the same
    /// when it is opened again.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`] if there is no room, [`LogError::TooLarge`] if no segment takes it:
    /// nothing was written. After any other error nothing can be written any more.
    pub(super) fn commit(&mut self, batch: &mut Batch) -> Result<(), LogError> {
        let outcome = match &self.stopped {
            Some(cause) => Err(LogError::Stopped(Arc::clone(cause))),
            None if batch.is_empty() => Ok(()),
            None if batch.len() > FRAME_BYTES_MAX => {
                Err(LogError::TooLarge { len: batch.len(), limit: FRAME_BYTES_MAX })
            }
            None => self.write(batch),
        };
        match &outcome {
            Ok(()) | Err(LogError::Stopped(_)) => {}
            Err(LogError::Full { .. }) => {
                self.counters.full.store(true, Ordering::Relaxed);
                match self.options.when_full {
                    WhenFull::Refuse => batch.refuse(),
                    // It is tried again. What is left belongs to it: whatever else found room there
                    // would wait behind it.
                    WhenFull::Wait => self.counters.room.store(0, Ordering::Relaxed),
                }
                return outcome;
            }
            Err(LogError::TooLarge { .. }) => {
                batch.refuse();
                return outcome;
            }
            Err(error) => self.stopped = Some(Arc::new(error.clone())),
        }
        batch.clear();
        outcome
    }

    /// # Panics
    ///
    /// If a record does not fit those before it: written, it would be damage for whoever opens the
    /// log.
    fn write(&mut self, batch: &mut Batch) -> Result<(), LogError> {
        let fits = self.reader.contents().table.check(&batch.frame[HEADER_BYTES..]);
        assert!(fits.is_ok(), "a record does not fit the log: {fits:?}");
        let frame_bytes = (batch.len() + OVERHEAD_BYTES) as u64;
        if self.written() >= self.options.segment_bytes {
            match self.begin_segment() {
                Ok(()) => {}
                // This one goes on for as long as there is no room for another.
                Err(LogError::Full { .. })
                    if self.end + frame_bytes <= SEGMENT_BYTES_MAX + FRAME_BYTES_MAX as u64 => {}
                Err(error) => return Err(error),
            }
        }
        self.extend_to(file_offset(self.end + frame_bytes) + SEAL_BYTES)?;
        let (position, number) = (self.end, self.number);
        let mut frame = std::mem::take(&mut batch.frame);
        let written = self.write_frame(&mut frame);
        batch.frame = frame;
        written?;
        // Positions in a segment fit: a batch and a segment are below 4 GiB.
        let at = u32::try_from(position).unwrap_or(u32::MAX);
        let body = &batch.frame[HEADER_BYTES..batch.frame.len() - 1];
        let mut contents = self.reader.contents();
        let Contents { table, segments } = &mut *contents;
        let newest = segments.back_mut().expect("the segment that is written is there");
        newest.end = self.end;
        for (head, payload) in record::read(body).flatten() {
            newest.last_indices.note(&head);
            let applied = table.apply(number, at, &head, payload);
            debug_assert!(applied.is_ok(), "it was checked: {head:?}");
        }
        drop(contents);
        let add = |counter: &AtomicU64, n| counter.fetch_add(n, Ordering::Relaxed);
        add(&self.counters.records, batch.records);
        add(&self.counters.batches, 1);
        add(&self.counters.record_bytes, batch.len() as u64 - 1);
        Ok(())
    }

    /// Writes a frame at the end of the segment and syncs it. After an error it is as it was given.
    ///
    /// File systems that copy on write need room where there are bytes already, and others may only
    /// say so when they sync. Neither harms what is acknowledged, and this is what is done:
    ///
    /// - A write that failed has not written the frame's last byte, so that the remains are those of
    ///   a write that was cut short. They are removed before anything else is written.
    /// - After a sync that failed, the frame may be on the disk as a whole or in part, and the system
    ///   may have dropped the rest. A later sync that succeeds says nothing of it, unless the bytes
    ///   are written anew. So zeros are written in its place and synced, and it is refused.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`]: the frame is not there, nor will it be. While the log
    /// [waits](WhenFull::Wait) for room to write the same frame again it may be.
    fn write_frame(&mut self, frame: &mut Vec<u8>) -> Result<(), LogError> {
        self.remove_remains()?;
        frame::seal(self.place, self.end, frame);
        let written = self.write_sealed(frame);
        if written.is_err() {
            frame.pop();
        }
        written?;
        self.end += frame.len() as u64;
        Ok(())
    }

    fn write_sealed(&mut self, frame: &[u8]) -> Result<(), LogError> {
        sector::mark(self.end, frame, &mut self.marked);
        let offset = write_offset(self.end);
        let end = offset + self.marked.len() as u64;
        let written = self.file.write_at(&self.marked, offset);
        if self.marked.capacity() > BUFFER_BYTES_MAX {
            self.marked = Vec::new();
        }
        if let Err(error) = written {
            self.remains = Some(Remains { end, may_be_whole: false });
            return Err(self.not_written(error));
        }
        let synced = self.sync(&*Arc::clone(&self.file), self.number);
        if let Err(LogError::Full { .. }) = synced {
            self.remains = Some(Remains { end, may_be_whole: true });
            match self.remove_remains() {
                Err(LogError::Full { file, source })
                    if self.options.when_full == WhenFull::Refuse =>
                {
                    return Err(LogError::Io { operation: "sync", file, source });
                }
                removed => removed?,
            }
        }
        synced
    }

    /// Puts zeros in the place of a frame for which there was no room; they are on the disk when this
    /// returns. A later frame that is shorter would have damage after it otherwise, and one that is
    /// cut short, too.
    fn remove_remains(&mut self) -> Result<(), LogError> {
        let Some(Remains { end, .. }) = self.remains else { return Ok(()) };
        let written = write_zeros(&*self.file, write_offset(self.end), end);
        written.map_err(|error| self.not_written(error))?;
        self.sync(&*Arc::clone(&self.file), self.number)?;
        self.remains = None;
        Ok(())
    }

    /// What can be done between batches: room ahead, and old segments that can go.
    pub(super) fn maintain(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        self.leave_unneeded();
        if let Err(error) = self.remove_unneeded() {
            self.stopped = Some(Arc::new(error));
        }
        let room = self.file_bytes.saturating_sub(file_offset(self.end));
        let low = room < STEP_BYTES_MIN / 2 && self.written() < self.options.segment_bytes;
        if low || self.is_full() {
            let removed = self.remove_remains();
            match removed.and_then(|()| self.extend_to(file_offset(self.end) + STEP_BYTES_MIN)) {
                Ok(()) => self.counters.full.store(false, Ordering::Relaxed),
                Err(LogError::Full { .. }) => self.counters.full.store(true, Ordering::Relaxed),
                Err(error) => self.stopped = Some(Arc::new(error)),
            }
        }
        self.note_sizes();
    }

    /// Makes the file at least `bytes` long, by zeros that are on disk when this returns.
    fn extend_to(&mut self, bytes: u64) -> Result<(), LogError> {
        if bytes <= self.file_bytes {
            return Ok(());
        }
        let step = self.file_bytes.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        let target = bytes.max(self.file_bytes + step).next_multiple_of(SECTOR_BYTES as u64);
        let extended = match write_zeros(&*self.file, self.file_bytes, target) {
            // A smaller step may fit. After another failure that would go unseen.
            Err(error) if is_full(&error) => {
                let least = bytes.next_multiple_of(SECTOR_BYTES as u64);
                write_zeros(&*self.file, self.file_bytes, least).map(|()| least)
            }
            written => written.map(|()| target),
        };
        let extended = extended
            .map_err(|error| failed("extend", &*self.disk, &segment::name(self.number), error))
            .and_then(|target| {
                self.sync(&*Arc::clone(&self.file), self.number)?;
                self.file_bytes = target;
                Ok(())
            });
        if let Err(LogError::Full { .. }) = &extended {
            // What was written of them is given back; that it stays does no harm.
            let _ = self.file.set_size(self.file_bytes);
        }
        extended
    }

    /// Begins a new segment, with the state of every group in it, and seals this one.
    fn begin_segment(&mut self) -> Result<(), LogError> {
        // The new one says where this one ends.
        self.remove_remains()?;
        self.extend_to(file_offset(self.end) + SEAL_BYTES)?;
        let number = self.number.checked_add(1).expect("four billion segments are never written");
        let place = Place { segment: u64::from(number), ..self.place };
        let first = first_records(&self.reader.contents(), self.end);
        let (segment, file_bytes) =
            make_segment(&*self.disk, number, place, first, &self.counters)?;
        let mut seal = Batch::default();
        seal.add(Kind::Sealed, 0, 0, &[]);
        if let Err(error) = self.write_frame(&mut seal.frame) {
            return Err(self.unsealed(&segment::name(number), error));
        }
        self.counters.older_bytes.fetch_add(self.file_bytes, Ordering::Relaxed);
        (self.number, self.place) = (number, place);
        (self.file, self.begun) = (Arc::clone(&segment.file), segment.end);
        (self.end, self.file_bytes) = (segment.end, file_bytes);
        self.reader.contents().segments.push_back(segment);
        Ok(())
    }

    /// Removes the new segment, since this one got no seal for want of room, and goes on without it.
    /// What is written next would contradict it.
    fn unsealed(&self, new: &str, error: LogError) -> LogError {
        let LogError::Full { file, source } = error else { return error };
        // A seal that may be on the disk asks for a segment after it.
        if self.remains.is_some_and(|remains| remains.may_be_whole) {
            return LogError::Io { operation: "sync", file, source };
        }
        let removed = self.disk.remove(new).and_then(|()| self.disk.sync_names());
        match removed {
            Ok(()) => LogError::Full { file, source },
            Err(error) => broken("remove", &*self.disk, new, error),
        }
    }

    /// Begins a new segment if this one is long and no group needs an entry of it, so that it can be
    /// removed.
    fn leave_unneeded(&mut self) {
        if self.written() < LEFT_BYTES.min(self.options.segment_bytes / 4) {
            return;
        }
        let needed = {
            let contents = self.reader.contents();
            let newest = contents.segments.back();
            newest.is_none_or(|newest| {
                newest.last_indices.needed_by(&contents.table).next().is_some()
            })
        };
        if needed {
            return;
        }
        match self.begin_segment() {
            Ok(()) | Err(LogError::Full { .. }) => {}
            Err(error) => self.stopped = Some(Arc::new(error)),
        }
    }

    /// Removes the oldest segments that no group needs. One that cannot be removed stays until the
    /// next time. The names are synced after each one: else a power cut could take one and bring
    /// back an older one, and those that are left would not follow one another.
    fn remove_unneeded(&self) -> Result<(), LogError> {
        loop {
            let mut contents = self.reader.contents();
            let Contents { table, segments } = &mut *contents;
            let oldest = match segments.front() {
                Some(oldest) if oldest.number != self.number => oldest,
                _ => return Ok(()),
            };
            if oldest.last_indices.needed_by(table).next().is_some() {
                return Ok(());
            }
            let (number, size) = (oldest.number, oldest.file.size().unwrap_or_default());
            let name = segment::name(number);
            if self.disk.remove(&name).is_err() {
                return Ok(());
            }
            segments.pop_front();
            drop(contents);
            let older = &self.counters.older_bytes;
            older.fetch_sub(size.min(older.load(Ordering::Relaxed)), Ordering::Relaxed);
            let synced = self.disk.sync_names();
            synced.map_err(|error| broken("sync", &*self.disk, &name, error))?;
        }
    }

    fn note_sizes(&self) {
        let room = self.file_bytes.saturating_sub(file_offset(self.end) + SEAL_BYTES);
        self.counters.room.store(room, Ordering::Relaxed);
        self.counters.current_bytes.store(self.file_bytes, Ordering::Relaxed);
    }

    fn sync(&self, file: &dyn DiskFile, number: u32) -> Result<(), LogError> {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        let synced = file.sync();
        if cfg!(triekv_planted = "sync_failure_ignored") {
            // Planted: what could not be synced counts as synced.
            return Ok(());
        }
        synced.map_err(|error| failed("sync", &*self.disk, &segment::name(number), error))
    }

    /// A write that failed may have been done in part.
    fn not_written(&self, error: io::Error) -> LogError {
        failed("write", &*self.disk, &segment::name(self.number), error)
    }
}

/// The groups that keep the oldest of more than `segments` segments.
pub(super) fn lagging(contents: &Contents, segments: usize) -> Vec<u32> {
    let excess = contents.segments.len().saturating_sub(segments.max(1));
    let oldest = contents.segments.iter().take(excess);
    let groups: BTreeSet<u32> =
        oldest.flat_map(|segment| segment.last_indices.needed_by(&contents.table)).collect();
    groups.into_iter().collect()
}

/// The records that a segment begins with, after one that ends at position `follows`.
fn first_records(contents: &Contents, follows: u64) -> Batch {
    let mut first = Batch::default();
    first.add(Kind::Follows, 0, follows, &[]);
    for (&id, group) in &contents.table.groups {
        let (next, state) = group.state();
        let state = postcard::to_stdvec(&state).expect("integers and bytes can be encoded");
        first.add(Kind::State, id, next, &state);
    }
    first
}

/// Makes a segment with its header, its first frame and some room, under its name once all of that
/// is on disk.
fn make_segment(
    disk: &dyn Disk,
    number: u32,
    place: Place,
    mut first: Batch,
    counters: &Counters,
) -> Result<(Segment, u64), LogError> {
    frame::seal(place, 0, &mut first.frame);
    let mut marked = Vec::new();
    sector::mark(0, &first.frame, &mut marked);
    let mut bytes = segment::header(place).to_vec();
    bytes.extend_from_slice(&marked);
    let used = bytes.len() as u64;
    let file_bytes = (used + STEP_BYTES_MIN).next_multiple_of(SECTOR_BYTES as u64);
    bytes.resize(usize::try_from(file_bytes).expect("it is in memory"), 0);

    let name = segment::name(number);
    let unfinished = format!("{name}{UNFINISHED}");
    let made = (|| {
        let file =
            disk.create(&unfinished).map_err(|error| failed("create", disk, &name, error))?;
        file.write_at(&bytes, 0).map_err(|error| failed("write", disk, &name, error))?;
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        // Without room the file is given up as a whole, whatever of it is on the disk.
        file.sync().map_err(|error| failed("sync", disk, &name, error))?;
        let renamed = disk.rename(&unfinished, &name);
        renamed.map_err(|error| failed("rename", disk, &name, error))?;
        disk.sync_names().map_err(|error| broken("sync", disk, &name, error))?;
        Ok(Arc::from(file))
    })();
    if let Err(LogError::Full { .. }) = &made {
        // Opening the log removes it too.
        let _ = disk.remove(&unfinished);
    }
    let end = first.frame.len() as u64;
    let segment = Segment { number, file: made?, end, last_indices: LastIndices::default() };
    Ok((segment, file_bytes))
}

fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(to - from).unwrap_or_default().min(1 << 20)];
    let mut offset = from;
    while offset < to {
        let len = (to - offset).min(zeros.len() as u64);
        file.write_at(&zeros[..usize::try_from(len).unwrap_or_default()], offset)?;
        offset += len;
    }
    Ok(())
}

//! Opening a log: what is on disk, and where to go on.

use std::ops::Range;
use std::sync::Arc;

use super::reader::{Contents, LogReader, Segment};
use super::segment::{self, Scanned, UNFINISHED, failed, is_segment};
use super::table::{Group, LastIndices};
use super::writer::{LogOptions, Writer};
use super::{Committer, Damage, Disk, Kind, Log, LogError, thread};

/// A log as it was on disk, before anything is added.
#[derive(Debug)]
pub struct Recovered {
    writer: Writer,
    reader: LogReader,
}

impl Recovered {
    /// Reads all segments on `disk`, or begins a log where there is none. A last write that was cut
    /// short is removed; nothing that was acknowledged is in it. Segments that were never finished,
    /// such as `0000001f.log.new`, are removed. No other file is touched: whoever keeps more on the
    /// disk removes what it did not finish.
    ///
    /// Takes **O(n)** for n bytes of log, and 16 bytes of memory an entry.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] if anything else is not as it was written, and then nothing is
    /// changed; [`LogError::Version`] for a log of another version; [`LogError::Io`] and
    /// [`LogError::Full`] if the disk refuses.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, LogError> {
        let names = disk.list().map_err(|error| failed("list", &*disk, "", error))?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let mut contents = Contents::default();
        let mut previous: Option<Scanned> = None;
        for number in numbers {
            let scanned = scan_into(&*disk, &mut contents, number, previous.as_ref())?;
            previous = Some(scanned);
        }
        if let Some(oldest) = contents.segments.front()
            && !contents.table.is_complete()
        {
            return Err(missing(&*disk, oldest.number));
        }
        if previous.as_ref().is_some_and(|last| last.sealed) {
            return Err(missing(&*disk, previous.map_or(0, |last| last.number.saturating_add(1))));
        }
        let is_unfinished = |name: &&String| name.strip_suffix(UNFINISHED).is_some_and(is_segment);
        for name in names.iter().filter(is_unfinished) {
            disk.remove(name).map_err(|error| failed("remove", &*disk, name, error))?;
        }
        let writer = Writer::open(disk, options, contents, previous)?;
        let reader = writer.reader();
        Ok(Self { writer, reader })
    }

    /// The groups that the log has.
    pub fn groups(&self) -> Vec<u32> {
        self.reader.contents().table.groups.keys().copied().collect()
    }

    /// The value of a register of `group`, if it was set.
    pub fn register(&self, group: u32, register: usize) -> Option<Vec<u8>> {
        let contents = self.reader.contents();
        contents.table.groups.get(&group)?.register(register).map(<[u8]>::to_vec)
    }

    /// The indices of the entries of `group`; the first one follows the last that was purged.
    pub fn indices(&self, group: u32) -> Range<u64> {
        self.reader.contents().table.groups.get(&group).map_or(0..0, Group::indices)
    }

    /// What reads the entries.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    #[cfg(test)]
    pub(super) fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Starts the thread that writes, with `committer` on it.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`] if the system gives no thread.
    pub fn start<C: Committer>(self, committer: C) -> Result<Log<C::Work>, LogError> {
        thread::start(self.writer, self.reader, committer)
    }
}

/// Reads one segment into `contents`, and checks that it follows the one before it.
fn scan_into(
    disk: &dyn Disk,
    contents: &mut Contents,
    number: u32,
    previous: Option<&Scanned>,
) -> Result<Scanned, LogError> {
    if let Some(previous) = previous
        && previous.number.checked_add(1) != Some(number)
    {
        return Err(missing(disk, previous.number + 1));
    }
    let mut last_indices = LastIndices::default();
    let mut follows = None;
    let table = &mut contents.table;
    let scanned = segment::scan(disk, number, &mut |frame, head, payload| {
        if head.kind == Kind::Follows {
            follows = Some(head.number);
        }
        last_indices.note(head);
        table.apply(number, frame, head, payload)
    })?;
    let file = || segment::path(disk, &segment::name(number));
    let corrupt = |damage| LogError::Corrupt { file: file(), offset: 0, damage };
    // A segment gets its name with its first frame on disk.
    if follows.is_none() {
        return Err(corrupt(Damage::Truncated));
    }
    if let Some(previous) = previous {
        if previous.log != scanned.log {
            return Err(corrupt(Damage::Malformed));
        }
        // The one before is sealed before this one has a second frame.
        let ended = previous.sealed || scanned.frames == 1;
        if !ended || follows != Some(previous.end) {
            return Err(missing(disk, previous.number));
        }
    }
    let Scanned { ref file, end, .. } = scanned;
    let segment = Segment { number, file: Arc::clone(file), end, last_indices };
    contents.segments.push_back(segment);
    Ok(scanned)
}

fn missing(disk: &dyn Disk, number: u32) -> LogError {
    let file = segment::path(disk, &segment::name(number));
    LogError::Corrupt { file, offset: 0, damage: Damage::Missing }
}

//! Records as lines of text: NDJSON out, and lines of either format in.

use std::io::{self, BufReader, Read, Write};
use std::ops::ControlFlow;

use thiserror::Error;

use super::{CommandError, Store, StoreError};
use crate::parser::{Command, Condition, LineError, Lines};
use crate::trie::Trie;
use crate::value::{Value, quoted};

/// How many lines are stored together, by one sync, and how many bytes of them.
const LINES_A_BATCH: usize = 512;
const BYTES_A_BATCH: u64 = 1 << 20;

/// How many bytes of an export are gathered before they are written.
const BYTES_A_WRITE: usize = 1 << 16;

/// What an import does with a line whose key has a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfPresent {
    /// Puts the line's record in place of the one that is there; so the last line of a key wins.
    Replace,
    /// Leaves the record that is there; so the first line of a key wins.
    Keep,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Lines that were read, blank ones included.
    pub lines: u64,
    /// Records that were put.
    pub put: u64,
    /// Records that were not put since their key had one.
    pub present: u64,
    /// Lines that were left out since they are no records.
    pub bad_lines: u64,
}

/// Why an import did not come to its end. The records of the lines before are in the store, as if
/// each had been put; the same file may be imported again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The input cannot be read on.
    #[error("cannot read on after line {line}")]
    Read {
        /// Number of the last line that was read, from 1; 0 if it was none.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line is no record, and the import was not to go on. Of it and what follows, nothing is
    /// in the store.
    #[error("line {line} is no record")]
    BadLine {
        /// Number of the line, from 1.
        line: u64,
        /// Where in the line, and why.
        source: LineError,
    },
    /// Records could not be stored. From this line on nothing is in the store, unless
    /// [`StoreError::is_ambiguous`] says that it may be when the store is opened again.
    #[error("the records from line {line} on were not stored")]
    Put {
        /// Number of the first line that was not stored, from 1.
        line: u64,
        /// Why.
        source: StoreError,
    },
}

impl Store {
    /// Writes all records to `out` as NDJSON, as they are now, in byte order of their keys, each in
    /// a line `{"key":KEY,"value":VALUE}`. Returns their number. Writes to the store go on
    /// meanwhile. Takes **O(n)** for n bytes, and memory for one record's line or 64 KiB.
    ///
    /// Versions are not written; for these see [`Store::export`].
    ///
    /// # Errors
    ///
    /// The first error of `out`; what was written before it may end within a line.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::store::IfPresent;
    /// use triekv::{Store, value};
    ///
    /// let store = Store::in_memory();
    /// store.put("a", value!({ "name": "Mary", "tags": [1, 1.0] }))?;
    /// store.put("b", value!({}))?;
    /// let mut text = Vec::new();
    /// assert_eq!(store.export_ndjson(&mut text)?, 2);
    /// assert_eq!(
    ///     str::from_utf8(&text)?,
    ///     "{\"key\":\"a\",\"value\":{\"name\":\"Mary\",\"tags\":[1,1.0]}}\n\
    ///      {\"key\":\"b\",\"value\":{}}\n"
    /// );
    ///
    /// let other = Store::in_memory();
    /// assert_eq!(other.import_ndjson(text.as_slice(), IfPresent::Replace)?.put, 2);
    /// assert_eq!(other.get("a"), store.get("a"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export_ndjson(&self, mut out: impl Write) -> io::Result<u64> {
        let documents = self.snapshot();
        let mut lines = Vec::new();
        documents.records.try_for_each(|key, record| {
            lines.extend_from_slice(b"{\"key\":");
            // Keys come in as `str` only.
            lines.extend_from_slice(quoted(&String::from_utf8_lossy(key)).as_bytes());
            lines.extend_from_slice(b",\"value\":");
            lines.extend_from_slice(record.value.checked_to_json().as_bytes());
            lines.extend_from_slice(b"}\n");
            if lines.len() >= BYTES_A_WRITE {
                out.write_all(&lines)?;
                lines.clear();
            }
            Ok::<(), io::Error>(())
        })?;
        out.write_all(&lines)?;
        out.flush()?;
        Ok(documents.len() as u64)
    }

    /// Puts the records of `input`, one a line, and ends at the first line that is none. Each line
    /// is `{"key": KEY, "value": VALUE}` in JSON, or `KEY:VALUE` in the native format; see
    /// [`parse_record`](crate::parser::parse_record) for both. Durable when it returns. Takes
    /// **O(n)** for n bytes, and memory for some lines of at most
    /// [`LINE_BYTES_MAX`](crate::parser::LINE_BYTES_MAX) each.
    ///
    /// This is not one step: readers see the first records while the last ones are being read, and
    /// after an error or a crash some lines from the first on are in the store. See
    /// [`Store::import`] for all or nothing.
    ///
    /// # Errors
    ///
    /// [`ImportError`], with the number of the line.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use triekv::store::{IfPresent, ImportError};
    /// use triekv::{Store, value};
    ///
    /// let store = Store::in_memory();
    /// let text = "{\"key\": \"a\", \"value\": {\"n\": 1}}\n{\"key\": \"b\", \"value\": 5}\n";
    /// let error = store.import_ndjson(text.as_bytes(), IfPresent::Keep).unwrap_err();
    /// assert_eq!(error.to_string(), "line 2 is no record");
    /// assert_eq!(
    ///     error.source().map(ToString::to_string).as_deref(),
    ///     Some("column 23: expected '{', found '5' at byte 22")
    /// );
    /// assert_eq!(store.query("a.n")?, Some(value!(1)));
    /// # Ok::<(), triekv::ParseError>(())
    /// ```
    pub fn import_ndjson(
        &self,
        input: impl Read,
        if_present: IfPresent,
    ) -> Result<ImportReport, ImportError> {
        self.import_ndjson_with(input, if_present, |_, _| ControlFlow::Break(()))
    }

    /// As [`Store::import_ndjson`], but asks `on_bad_line` about each line that is no record, with
    /// its number from 1, whether to leave it out and go on.
    ///
    /// # Errors
    ///
    /// [`ImportError`]; [`BadLine`](ImportError::BadLine) only where `on_bad_line` says
    /// [`ControlFlow::Break`].
    pub fn import_ndjson_with(
        &self,
        input: impl Read,
        if_present: IfPresent,
        mut on_bad_line: impl FnMut(u64, &LineError) -> ControlFlow<()>,
    ) -> Result<ImportReport, ImportError> {
        let mut import = Import { store: self, if_present, report: ImportReport::default() };
        let mut batch = Batch::default();
        for line in Lines::new(BufReader::new(input)) {
            let line = match line {
                Ok(line) => line,
                Err(source) => {
                    import.store(&mut batch)?;
                    return Err(ImportError::Read { line: import.report.lines, source });
                }
            };
            import.report.lines = line.number;
            match line.record {
                Ok(None) => {}
                Ok(Some((key, value))) => batch.records.push((line.number, key, value)),
                Err(source) if on_bad_line(line.number, &source).is_break() => {
                    import.store(&mut batch)?;
                    return Err(ImportError::BadLine { line: line.number, source });
                }
                Err(_) => import.report.bad_lines += 1,
            }
            if batch.records.len() == LINES_A_BATCH || line.end - batch.start >= BYTES_A_BATCH {
                import.store(&mut batch)?;
                batch.start = line.end;
            }
        }
        import.store(&mut batch)?;
        Ok(import.report)
    }
}

/// Lines that were read and are not stored yet.
#[derive(Default)]
struct Batch {
    /// The number of each line, and its record.
    records: Vec<(u64, String, Value)>,
    /// Bytes of the input before it.
    start: u64,
}

/// An import under way.
struct Import<'a> {
    store: &'a Store,
    if_present: IfPresent,
    report: ImportReport,
}

impl Import<'_> {
    /// Stores the lines of the batch, and empties it.
    fn store(&mut self, batch: &mut Batch) -> Result<(), ImportError> {
        let mut records = std::mem::take(&mut batch.records);
        if self.if_present == IfPresent::Keep {
            let before = records.len();
            let mut seen = Trie::new();
            records.retain(|(_, key, _)| {
                !self.store.contains_key(key) && seen.insert(key, ()).is_none()
            });
            self.report.present += (before - records.len()) as u64;
        }
        let Some(&(line, ..)) = records.first() else { return Ok(()) };
        let commands = records.iter().map(|(_, key, value)| self.put(key.clone(), value.clone()));
        match self.store.batch(commands.collect()) {
            Ok(replies) => self.report.put += replies.len() as u64,
            // Somebody else has put one of the keys just now: one by one, it is seen which.
            Err(StoreError::Batch { source: CommandError::Conflict { .. }, .. }) => {
                for (line, key, value) in records {
                    self.store_one(line, key, value)?;
                }
            }
            Err(source) => return Err(ImportError::Put { line, source }),
        }
        Ok(())
    }

    fn store_one(&mut self, line: u64, key: String, value: Value) -> Result<(), ImportError> {
        match self.store.apply(self.put(key, value)) {
            Ok(_) => self.report.put += 1,
            Err(StoreError::Command(CommandError::Conflict { .. })) => self.report.present += 1,
            Err(source) => return Err(ImportError::Put { line, source }),
        }
        Ok(())
    }

    fn put(&self, key: String, value: Value) -> Command {
        let condition = match self.if_present {
            IfPresent::Replace => Condition::Always,
            IfPresent::Keep => Condition::IfAbsent,
        };
        Command::Put { key, value, condition }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    /// A key that somebody else puts between the look and the batch is found out by the batch.
    #[test]
    fn a_key_that_comes_up_meanwhile_is_kept() {
        let store = Store::in_memory();
        let report = ImportReport::default();
        let mut import = Import { store: &store, if_present: IfPresent::Keep, report };
        let put = |key: &str| import.put(key.to_owned(), value!({ "n": 2 }));
        store.put("b", value!({ "n": 1 })).unwrap();
        let refused = store.batch(vec![put("a"), put("b")]).unwrap_err();
        assert!(matches!(refused, StoreError::Batch { source: CommandError::Conflict { .. }, .. }));
        for (line, key) in [(1, "a"), (2, "b")] {
            import.store_one(line, key.to_owned(), value!({ "n": 2 })).unwrap();
        }
        assert_eq!((import.report.put, import.report.present), (1, 1));
        assert_eq!(store.query("b.n").unwrap(), Some(value!(1)));
    }
}

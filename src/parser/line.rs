//! Lines of a data file, read one by one.

use std::io::{self, BufRead};

use thiserror::Error;

use super::lexeme::is_space;
use super::{Excerpt, ParseError, parse_record};
use crate::value::Value;

/// The longest line, in bytes: 8 MiB.
pub const LINE_BYTES_MAX: usize = 8 << 20;

/// Why a line of a data file is no record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineError {
    /// It does not follow the grammar.
    #[error("column {}: {error}", error.column())]
    Parse {
        /// What is wrong, and where in the line. A byte order mark that was dropped doesn't count.
        error: ParseError,
        /// The part of the line round that place.
        excerpt: Excerpt,
    },
    /// It is not UTF-8.
    #[error("column {column}: not UTF-8")]
    NotUtf8 {
        /// Where, in characters from 1.
        column: usize,
        /// The part of the line round that place, with U+FFFD for what is no character.
        excerpt: Excerpt,
    },
    /// It is longer than [`LINE_BYTES_MAX`].
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Its record is larger than what is taken.
    #[error("the record has {len} bytes, the limit is {limit}")]
    TooLarge {
        /// Size of the record, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// A line of a data file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// Bytes of the input up to its end, the line end included.
    pub end: u64,
    /// The key and the value of its record; `None` if it is blank.
    pub record: Result<Option<(String, Value)>, LineError>,
}

/// Reads a data file line by line, each in the native format or as JSON: see [`parse_record`].
///
/// A bad line does not end it, an error of the reader does. Line ends may be LF or CRLF, the last
/// one may be missing, and a byte order mark at the start of the first one is dropped. Never more than one line is kept, and of a
/// line that is too long never more than [`LINE_BYTES_MAX`].
///
/// # Examples
/// ```
/// use triekv::parser::Lines;
/// use triekv::value;
///
/// let file = "a:{\"n\": 1}\n\n{\"key\": \"b\", \"value\": {\"n\": 2}}\noops\n";
/// let mut records = Vec::new();
/// for line in Lines::new(file.as_bytes()) {
///     let line = line?;
///     match line.record {
///         Ok(record) => records.extend(record),
///         Err(error) => assert_eq!(
///             format!("{}: {error}", line.number),
///             "4: column 5: Value is missing! at byte 4"
///         ),
///     }
/// }
/// assert_eq!(records[1], ("b".to_owned(), value!({ "n": 2 })));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    /// The line at hand.
    bytes: Vec<u8>,
    number: u64,
    end: u64,
}

impl<R: BufRead> Lines<R> {
    /// Prepares to read from `reader`, which begins with a line.
    pub fn new(reader: R) -> Self {
        Lines { reader, bytes: Vec::new(), number: 0, end: 0 }
    }

    /// Reads the next `count` lines without looking at what is in them; fewer if there are not so
    /// many.
    ///
    /// # Errors
    /// That of the reader.
    pub fn skip_lines(&mut self, count: u64) -> io::Result<()> {
        for _ in 0..count {
            if !self.advance()? {
                break;
            }
        }
        Ok(())
    }

    /// Reads the next line and the key of its record, without more of it than that takes; `None` as
    /// key if it is blank or has none.
    ///
    /// # Errors
    /// That of the reader.
    #[cfg(feature = "cluster")]
    pub(crate) fn next_key(&mut self) -> io::Result<Option<(u64, Option<String>)>> {
        Ok(self.advance()?.then(|| (self.number, line_key(&self.bytes, self.number == 1))))
    }

    /// The record of the line that [`Lines::next_key`] has read.
    #[cfg(feature = "cluster")]
    pub(crate) fn record(&self) -> Result<Option<(String, Value)>, LineError> {
        parse_line(&self.bytes, self.number == 1)
    }

    /// Reads the next line; returns whether there was one.
    fn advance(&mut self) -> io::Result<bool> {
        self.bytes.clear();
        let read = read_line(&mut self.reader, &mut self.bytes)?;
        self.number += u64::from(read > 0);
        self.end += read;
        Ok(read > 0)
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        match self.advance() {
            Ok(true) => {
                let record = parse_line(&self.bytes, self.number == 1);
                Some(Ok(Line { number: self.number, end: self.end, record }))
            }
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// Reads a line with its end; keeps one byte more of it than a line may have, and gives the number
/// of bytes that were read.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let mut read = 0;
    loop {
        let part = match reader.fill_buf() {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if part.is_empty() {
            return Ok(read);
        }
        let newline = part.iter().position(|byte| *byte == b'\n');
        let used = newline.map_or(part.len(), |at| at + 1);
        let room = (LINE_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend(part.iter().take(used.min(room)));
        reader.consume(used);
        read += used as u64;
        if newline.is_some() {
            return Ok(read);
        }
    }
}

/// The text of a line; a byte order mark before the first one is no part of it.
fn text_of(bytes: &[u8], is_first: bool) -> Result<&str, LineError> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err(LineError::TooLong { limit: LINE_BYTES_MAX });
    }
    // A byte order mark is what some editors begin a file with.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| is_first).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))
}

/// The key of a line's record; that of a line which is no record, too, if it begins as one.
#[cfg(feature = "cluster")]
fn line_key(bytes: &[u8], is_first: bool) -> Option<String> {
    super::parse_key(text_of(bytes, is_first).ok()?.trim_matches(is_space))
}

/// The record of a line; none on a blank one.
fn parse_line(bytes: &[u8], is_first: bool) -> Result<Option<(String, Value)>, LineError> {
    let text = text_of(bytes, is_first)?;
    if text.chars().all(is_space) {
        return Ok(None);
    }
    let parse = |error: ParseError| LineError::Parse { excerpt: error.excerpt(text), error };
    parse_record(text).map(Some).map_err(parse)
}

/// The fault of a line of which this many bytes are characters.
fn not_utf8(line: &[u8], valid: usize) -> LineError {
    let (before, rest) = line.split_at(valid);
    let before = String::from_utf8_lossy(before);
    let text = format!("{before}{}", String::from_utf8_lossy(rest));
    let wrong = before.len()..before.len() + '\u{fffd}'.len_utf8();
    LineError::NotUtf8 {
        column: before.chars().count() + 1,
        excerpt: Excerpt::around(&text, wrong),
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;
    use crate::value;

    #[test]
    fn a_line_is_a_record_or_blank_or_says_where_it_is_wrong() {
        let parse_line = |line: &[u8]| parse_line(line, false);
        assert!(matches!(parse_line(b"\"a\":{\"x\":1}\r\n"), Ok(Some((key, _))) if key == "a"));
        assert!(matches!(parse_line(b" \t\r\n"), Ok(None)));
        let error = parse_line("  α:{\"x\":}".as_bytes()).unwrap_err();
        let LineError::Parse { error, excerpt } = error else { panic!("{error}") };
        assert_eq!((error.line(), error.column(), error.offset()), (1, 10, 10));
        assert_eq!(
            (excerpt.text(), excerpt.span(), excerpt.position(3)),
            ("  α:{\"x\":}", 10..11, Some(3))
        );
        let error = parse_line(b"ab\xff\xffc\n").unwrap_err();
        let LineError::NotUtf8 { column: 3, excerpt } = error else { panic!("{error}") };
        assert_eq!((excerpt.text(), excerpt.span()), ("ab\u{fffd}\u{fffd}c", 2..5));
    }

    #[test]
    fn a_byte_order_mark_is_dropped_at_the_very_beginning_and_nowhere_else() {
        let keys = |text: &str| -> Vec<String> {
            let records = Lines::new(text.as_bytes()).map(|line| line.unwrap().record.unwrap());
            records.flatten().map(|(key, _)| key).collect()
        };
        assert_eq!(keys("\u{feff}a:{}\n\u{feff}a:{}"), ["a", "\u{feff}a"]);
        assert_eq!(keys("\u{feff}\u{feff}a:{}"), ["\u{feff}a"]);
        assert_eq!(keys("\n\u{feff}a:{}"), ["\u{feff}a"]);
        assert_eq!(keys("\u{feff}\n \r\n").len(), 0);
        let mut lines = Lines::new("a:{}\n\u{feff}b:{}".as_bytes());
        lines.skip_lines(1).unwrap();
        let record = lines.next().unwrap().unwrap().record.unwrap();
        assert_eq!(record, Some(("\u{feff}b".to_owned(), value!({}))));
    }

    #[test]
    fn white_space_that_the_grammar_does_not_know_is_a_part_of_the_key() {
        for blank in ["\u{a0}", "\u{3000}", "\u{85}", "\u{2028}", "\u{200b}", "\u{feff}"] {
            let line = format!(" {blank}a{blank} : {{}}\r\n");
            let (key, _) = parse_line(line.as_bytes(), false).unwrap().unwrap();
            assert_eq!(key, format!("{blank}a{blank}"));
            // It is no blank line, either.
            assert!(parse_line(format!("{blank}\n").as_bytes(), false).is_err());
        }
    }

    #[test]
    fn a_line_past_the_limit_is_not_kept_whole_and_the_next_one_is_found() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 10];
        text.extend_from_slice(b"\na:{}");
        let mut lines = Lines::new(BufReader::new(&text[..]));
        let line = lines.next().unwrap().unwrap();
        assert_eq!((line.number, line.end), (1, LINE_BYTES_MAX as u64 + 11));
        assert_eq!(line.record, Err(LineError::TooLong { limit: LINE_BYTES_MAX }));
        assert_eq!(lines.bytes.len(), LINE_BYTES_MAX + 1);
        let line = lines.next().unwrap().unwrap();
        assert_eq!((line.number, line.end), (2, text.len() as u64));
        assert_eq!(line.record, Ok(Some(("a".to_owned(), value!({})))));
        assert!(lines.next().is_none());
    }

    #[test]
    fn a_line_at_the_limit_is_read() {
        let mut text = b"a:{}".to_vec();
        text.resize(LINE_BYTES_MAX, b' ');
        let line = Lines::new(&text[..]).next().unwrap().unwrap();
        assert!(matches!(line.record, Ok(Some(_))));
    }

    #[test]
    fn skipped_lines_are_counted_and_not_looked_at() {
        let text = "\0\n\r\na:{}\r\n";
        let mut lines = Lines::new(text.as_bytes());
        lines.skip_lines(2).unwrap();
        let line = lines.next().unwrap().unwrap();
        assert_eq!((line.number, line.end, line.record.is_ok()), (3, text.len() as u64, true));
        lines.skip_lines(5).unwrap();
        assert!(lines.next().is_none());
    }
}

//! Drawing records and writing them as text.

use std::io::{self, Write};

use super::draws::Draws;
use super::format::Format;
use super::key_file::{FieldType, KeyFile};
use super::keys;
use super::shape::{Shape, ShapeError};

/// The most fields that one record has, those of its nested maps included.
pub const FIELDS_MAX: u64 = 10_000;

/// Random records, in the order of their numbers.
///
/// The same key file, shape and seed give the same records, and the first records of a seed do
/// not depend on how many there are. As an iterator it returns each record's line without the line
/// end; [`write_to`](Self::write_to) writes them without keeping any in memory.
///
/// # Examples
///
/// ```
/// use triekv::generator::{KeyFile, Records, Shape};
///
/// let key_file: KeyFile = "name string\nage int".parse()?;
/// let records = Records::new(key_file, Shape::new(3, 1, 2, 4)?, 7)?;
/// for (number, line) in records.enumerate() {
///     assert!(line.starts_with(&format!("\"person{number}\": {{ ")));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Records {
    key_file: KeyFile,
    shape: Shape,
    format: Format,
    draws: Draws,
    /// Number of the next record.
    next: u64,
    /// The fields of `key_file` by index, in an order that each map shuffles further.
    order: Vec<usize>,
    /// How many more fields the record at hand may have.
    fields_left: u64,
}

impl Records {
    /// Prepares to draw records of `shape`, with fields from `key_file`, by the chance that `seed`
    /// determines. Takes **O(n)** for `n` names.
    ///
    /// # Errors
    ///
    /// [`ShapeError::TooFewNames`] if maps may have more fields than there are names.
    pub fn new(key_file: KeyFile, shape: Shape, seed: u64) -> Result<Self, ShapeError> {
        let names = key_file.fields().len();
        if shape.fields_max > names as u64 {
            return Err(ShapeError::TooFewNames { fields_max: shape.fields_max, names });
        }
        Ok(Self {
            order: (0..names).collect(),
            draws: Draws::new(seed),
            next: 0,
            fields_left: 0,
            key_file,
            shape,
            format: Format::default(),
        })
    }

    /// Has the records that are left written in `format`; it is [`Format::Native`] otherwise. What
    /// is drawn does not depend on it.
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::generator::{Format, KeyFile, Records, Shape};
    /// use triekv::parser::parse_record;
    ///
    /// let key_file: KeyFile = "age int".parse()?;
    /// let records = || Records::new(key_file.clone(), Shape::new(1, 0, 1, 1).unwrap(), 6);
    /// let native = records()?.next().unwrap();
    /// let ndjson = records()?.format(Format::Ndjson).next().unwrap();
    /// assert_eq!(native, "\"person0\": { \"age\" : 503 } ");
    /// assert_eq!(ndjson, r#"{"key":"person0","value":{"age":503}}"#);
    /// assert_eq!(parse_record(&native)?, parse_record(&ndjson)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Writes the records that are left, each with its line end.
    ///
    /// Many small pieces are written: give it a buffered writer, and flush that afterwards. No
    /// record is held in memory.
    ///
    /// # Errors
    ///
    /// The first error of `out`; what was written before it may end within a record.
    pub fn write_to<W: Write + ?Sized>(mut self, out: &mut W) -> io::Result<()> {
        while self.write_next(out)? {
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Writes the next record without a line end; returns whether there was one.
    fn write_next<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<bool> {
        if self.next == self.shape.records {
            return Ok(false);
        }
        let (before_key, before_value, end) = self.format.line();
        write!(out, "{before_key}\"{}\"{before_value}", keys::person(self.next))?;
        self.next += 1;
        self.fields_left = FIELDS_MAX;
        let nesting = self.draws.below(u64::from(self.shape.nesting) + 1);
        self.write_map(nesting, out)?;
        out.write_all(end.as_bytes())?;
        Ok(true)
    }

    /// Recurses once for each level of `nesting`, which is at most `NESTING_MAX`.
    fn write_map<W: Write + ?Sized>(&mut self, nesting: u64, out: &mut W) -> io::Result<()> {
        let marks = self.format.map();
        out.write_all(marks.open.as_bytes())?;
        for (position, index) in self.draw_fields().into_iter().enumerate() {
            if position > 0 {
                out.write_all(marks.between.as_bytes())?;
            }
            let field = &self.key_file.fields()[index];
            let field_type = field.field_type;
            write!(out, "\"{}\"{}", field.name, marks.colon)?;
            if nesting > 0 && self.draws.below(10) < 3 {
                self.write_map(nesting - 1, out)?;
            } else {
                self.write_leaf(field_type, out)?;
            }
        }
        out.write_all(marks.close.as_bytes())
    }

    /// Draws which fields a map has: distinct indices into the key file.
    fn draw_fields(&mut self) -> Vec<usize> {
        let count = self.draws.below(self.shape.fields_max + 1).min(self.fields_left);
        self.fields_left -= count;
        // The first steps of a Fisher-Yates shuffle, which is uniform from any order it starts in.
        let len = self.order.len();
        (0..len)
            .take_while(|&position| (position as u64) < count)
            .map(|position| {
                let drawn = position + self.draws.index(len - position);
                self.order.swap(position, drawn);
                self.order[position]
            })
            .collect()
    }

    fn write_leaf<W: Write + ?Sized>(
        &mut self,
        field_type: FieldType,
        out: &mut W,
    ) -> io::Result<()> {
        match field_type {
            FieldType::String => self.write_string(out),
            FieldType::Int => write!(out, "{}", self.draws.below(1_001)),
            FieldType::Float => {
                let thousandths = self.draws.below(100_001);
                #[expect(clippy::cast_precision_loss, reason = "at most 100,000")]
                let float = thousandths as f64 / 1_000.0;
                // Debug is the shortest form that reads back, and has a point where Display has none.
                write!(out, "{float:?}")
            }
            FieldType::Bool => write!(out, "{}", self.draws.below(2) == 1),
        }
    }

    /// Writes a string in pieces, since its length has no bound but the user's.
    fn write_string<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b"\"")?;
        let mut left = 1 + self.draws.below(self.shape.string_max);
        let mut piece = [0; 256];
        while left > 0 {
            let len = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            piece[..len].fill_with(|| self.draws.letter());
            out.write_all(&piece[..len])?;
            left -= len as u64;
        }
        out.write_all(b"\"")
    }
}

impl Iterator for Records {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let written = self.write_next(&mut line).expect("a vector takes all that is written");
        written.then(|| String::from_utf8(line).expect("names and values are UTF-8"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.shape.records - self.next).ok();
        (left.unwrap_or(usize::MAX), left)
    }
}

#[cfg(test)]
mod tests;

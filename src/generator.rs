//! Random documents and keys, the same for the same seed on every platform.
//!
//! [`Records`] draws what the program `createData` writes: one record a line, its fields named and
//! typed by a [`KeyFile`], its size bounded by a [`Shape`]. [`keys`] draws keys alone. Nothing here
//! knows the store: a record is its text, ready to be put, and tests and benches draw their data
//! from the same code as the program.
//!
//! # Format
//!
//! ```text
//! line   = '"person' number '":' map '\n'      number counts from 0
//! map    = ' { ' [ field { ' ; ' field } ] ' } '
//! field  = '"' name '" : ' value
//! value  = map | string | int | float | bool
//! string = '"' letter { letter } '"'           A-Z and a-z, at most Shape's string_max
//! int    = 0 ..= 1000
//! float  = 0.0 ..= 100.0                       at most 3 places, always with a point
//! bool   = 'true' | 'false'
//! ```
//!
//! A map has its blanks with it, so a nested map stands between two of them, a line ends with one,
//! and an empty map reads `{  }`.
//!
//! As NDJSON, the same records are
//!
//! ```text
//! line   = '{"key":"person' number '","value":' map '}\n'
//! map    = '{' [ field { ',' field } ] '}'
//! field  = '"' name '":' value
//! ```
//!
//! # What is drawn
//!
//! For each record a nesting from 0 to [`Shape`]'s bound, uniformly; for each map a number of
//! fields from 0 to its bound, uniformly, and as many names of the key file, none twice. Where the
//! nesting allows another level, three fields in ten hold a map instead of their type's value.
//!
//! **Invariant:** a record never has more than [`FIELDS_MAX`] fields nor more than
//! [`NESTING_MAX`]` + 1` maps one inside the other. The first is needed because the expected size
//! of a record grows as a power of its nesting: with 20 names and a nesting of 127 it would not
//! fit into any memory. A map that would pass the bound gets the fields that are left, the maps
//! after it none.
//!
//! # Reproducibility
//!
//! All chance comes from the key stream of `ChaCha8` (D. J. Bernstein, 2008), whose key is the seed
//! in little-endian order followed by 24 zero bytes, with nonce 0. It is drawn in 64-bit words, and
//! bounded numbers are made from them here (D. Lemire, "Fast Random Integer Generation in an
//! Interval", 2019), never by the platform's word size or by a distribution of a library that may
//! change. A test pins the bytes of a seed: **what a seed makes is a promise**, and a change of it
//! is a breaking one.

mod draws;
mod format;
mod key_file;
pub mod keys;
mod records;
mod shape;

pub use format::{Format, UnknownFormat};
pub use key_file::{
    Field, FieldType, KEY_FILE_BYTES_MAX, KeyFile, KeyFileError, KeyFileErrorKind, LoadKeyFileError,
};
pub use records::{FIELDS_MAX, Records};
pub use shape::{NESTING_MAX, Shape, ShapeError};

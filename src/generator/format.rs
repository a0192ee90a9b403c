//! How a record is written.

use std::str::FromStr;

use thiserror::Error;

/// How records are written. Both hold the same data; see the [module](super) for their text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `"person0": { "name" : "Xy" } `, a line of the native data file.
    #[default]
    Native,
    /// `{"key":"person0","value":{"name":"Xy"}}`, a line of NDJSON.
    Ndjson,
}

impl Format {
    /// What stands before the record's key, and between that and its map, and after its map.
    pub(super) fn line(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Format::Native => ("", ":", ""),
            Format::Ndjson => (r#"{"key":"#, r#","value":"#, "}"),
        }
    }

    pub(super) fn map(self) -> MapMarks {
        match self {
            Format::Native => MapMarks { open: " { ", between: " ; ", colon: " : ", close: " } " },
            Format::Ndjson => MapMarks { open: "{", between: ",", colon: ":", close: "}" },
        }
    }
}

/// What stands between the parts of a map.
pub(super) struct MapMarks {
    pub(super) open: &'static str,
    pub(super) between: &'static str,
    pub(super) colon: &'static str,
    pub(super) close: &'static str,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    /// Reads the name of a format, `native` or `ndjson`.
    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "native" => Ok(Format::Native),
            "ndjson" => Ok(Format::Ndjson),
            _ => Err(UnknownFormat { name: name.to_owned() }),
        }
    }
}

/// A word that names no [`Format`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown format {name:?}, expected native or ndjson")]
pub struct UnknownFormat {
    /// The word.
    pub name: String,
}

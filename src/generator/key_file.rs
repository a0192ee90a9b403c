//! The names and types of fields, read from text.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use crate::value::needs_escape;

/// The largest key file that is read, in bytes: about a million names.
pub const KEY_FILE_BYTES_MAX: usize = 16 << 20;

/// What a field holds when it does not hold a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// ASCII letters, at least one.
    String,
    /// A whole number from 0 to 1000.
    Int,
    /// A number from 0 to 100 with at most three places.
    Float,
    /// `true` or `false`.
    Bool,
}

impl FieldType {
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "string" => Some(Self::String),
            "int" => Some(Self::Int),
            "float" => Some(Self::Float),
            "bool" | "boolean" => Some(Self::Bool),
            _ => None,
        }
    }
}

/// A field that records may have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Neither empty nor with blanks, quotes, backslashes or characters in it that are printed as
    /// escapes ([`needs_escape`]).
    pub name: String,
    /// What it holds.
    pub field_type: FieldType,
}

/// The fields that records are made of: at least one, no name twice.
///
/// # Format
///
/// One field a line, its name and its type with blanks or tabs between:
///
/// ```text
/// name    string
/// age     int
/// height  float
/// member  bool
/// ```
///
/// The types are `string`, `int`, `float` and `bool`, for which `boolean` is another word. Lines
/// without a word are skipped, line ends may be those of any platform, and a byte order mark at
/// the start is ignored. Anything else is an error.
///
/// # Examples
///
/// ```
/// use triekv::generator::{FieldType, KeyFile};
///
/// let key_file: KeyFile = "name string\nage int\n".parse()?;
/// assert_eq!(key_file.fields()[1].name, "age");
/// assert_eq!(key_file.fields()[1].field_type, FieldType::Int);
///
/// let error = "name string\nborn date\n".parse::<KeyFile>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "line 2: unknown type \"date\", expected string, int, float or bool"
/// );
/// # Ok::<(), triekv::generator::KeyFileError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    fields: Vec<Field>,
}

impl KeyFile {
    /// Reads the key file at `path`.
    ///
    /// # Errors
    ///
    /// [`LoadKeyFileError::Io`] if the file cannot be read, [`LoadKeyFileError::TooLarge`] if it
    /// has more than [`KEY_FILE_BYTES_MAX`] bytes, and [`LoadKeyFileError::Format`] if a line is
    /// not as it should be.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadKeyFileError> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| LoadKeyFileError::Io { path: path.to_owned(), source })?;
        if bytes.len() > KEY_FILE_BYTES_MAX {
            return Err(LoadKeyFileError::TooLarge { path: path.to_owned() });
        }
        Self::from_bytes(&bytes)
            .map_err(|source| LoadKeyFileError::Format { path: path.to_owned(), source })
    }

    /// Reads a key file from its bytes. Takes **O(n)** for `n` bytes.
    ///
    /// # Errors
    ///
    /// The first line that is not as it should be, and why.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let text = str::from_utf8(bytes).map_err(|error| KeyFileError {
            line: bytes[..error.valid_up_to()].split(|&byte| byte == b'\n').count(),
            kind: KeyFileErrorKind::NotUtf8,
        })?;
        text.parse()
    }

    /// Returns the fields in the order of the file; there is at least one.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

impl FromStr for KeyFile {
    type Err = KeyFileError;

    /// Reads a key file from its text, with the errors of [`from_bytes`](KeyFile::from_bytes).
    fn from_str(text: &str) -> Result<Self, KeyFileError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut fields = Vec::new();
        let mut lines_by_name = HashMap::new();
        for (line, content) in (1..).zip(text.split('\n')) {
            let at_line = |kind| KeyFileError { line, kind };
            let Some((name, field_type)) = parse_line(content).map_err(at_line)? else { continue };
            if let Some(first_line) = lines_by_name.insert(name, line) {
                let name = name.to_owned();
                return Err(at_line(KeyFileErrorKind::DuplicateName { name, first_line }));
            }
            fields.push(Field { name: name.to_owned(), field_type });
        }
        if fields.is_empty() {
            return Err(KeyFileError { line: 1, kind: KeyFileErrorKind::Empty });
        }
        Ok(Self { fields })
    }
}

/// `line = [ name blanks type ]`, with blanks around it; `None` if it has no word.
fn parse_line(line: &str) -> Result<Option<(&str, FieldType)>, KeyFileErrorKind> {
    let mut words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty());
    let Some(name) = words.next() else { return Ok(None) };
    if let Some(character) = name.chars().find(|c| matches!(c, '"' | '\\') || needs_escape(*c)) {
        return Err(KeyFileErrorKind::BadName { name: name.to_owned(), character });
    }
    let word =
        words.next().ok_or_else(|| KeyFileErrorKind::MissingType { name: name.to_owned() })?;
    let field_type = FieldType::from_word(word)
        .ok_or_else(|| KeyFileErrorKind::UnknownType { word: word.to_owned() })?;
    match words.next() {
        None => Ok(Some((name, field_type))),
        Some(word) => Err(KeyFileErrorKind::ExtraWord { word: word.to_owned() }),
    }
}

/// A text that is no key file: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {kind}")]
pub struct KeyFileError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: KeyFileErrorKind,
}

/// What is wrong with a line of a key file.
///
/// Words of the file are printed with their control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFileErrorKind {
    /// No line of the file has a word.
    #[error("no field, expected lines like \"age int\"")]
    Empty,
    /// The line is not UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// The name holds a character that would have to be escaped where the name is written.
    #[error("name {name:?} holds the character {character:?}, which no field name can have")]
    BadName {
        /// The name.
        name: String,
        /// The first such character.
        character: char,
    },
    /// The line ends after the name.
    #[error("{name:?} has no type, expected string, int, float or bool")]
    MissingType {
        /// The name.
        name: String,
    },
    /// The second word is not a type.
    #[error("unknown type {word:?}, expected string, int, float or bool")]
    UnknownType {
        /// The second word.
        word: String,
    },
    /// The line goes on after the type.
    #[error("unexpected {word:?} after the type")]
    ExtraWord {
        /// The third word.
        word: String,
    },
    /// An earlier line has the same name.
    #[error("name {name:?} is already that of line {first_line}")]
    DuplicateName {
        /// The name.
        name: String,
        /// Number of the earlier line, from 1.
        first_line: usize,
    },
}

/// A key file that could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadKeyFileError {
    /// The file could not be opened or read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file, as it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has more than [`KEY_FILE_BYTES_MAX`] bytes.
    #[error("{} has more than {KEY_FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file, as it was given.
        path: PathBuf,
    },
    /// The file is no key file.
    #[error("{} is no key file", path.display())]
    Format {
        /// The file, as it was given.
        path: PathBuf,
        /// Where, and why.
        source: KeyFileError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<KeyFile>().unwrap_err().to_string()
    }

    fn fields(text: &str) -> Vec<(String, FieldType)> {
        let key_file: KeyFile = text.parse().unwrap();
        key_file.fields.into_iter().map(|field| (field.name, field.field_type)).collect()
    }

    #[test]
    fn every_type_is_read() {
        let want = [
            ("a", FieldType::String),
            ("b", FieldType::Int),
            ("c", FieldType::Float),
            ("d", FieldType::Bool),
            ("e", FieldType::Bool),
        ];
        let want: Vec<_> = want.map(|(name, kind)| (name.to_owned(), kind)).into();
        assert_eq!(fields("a string\nb int\nc float\nd bool\ne boolean\n"), want);
    }

    #[test]
    fn blanks_line_ends_and_empty_lines_do_not_matter() {
        let plain = fields("a string\nb int");
        assert_eq!(fields("a string\r\nb int\r\n"), plain);
        assert_eq!(fields("\n \t\n  a \t string\t\n\r\n\nb\tint\n\n"), plain);
        assert_eq!(fields("a string\nb int\r"), plain);
        assert_eq!(fields("\u{feff}a string\nb int"), plain);
    }

    #[test]
    fn names_of_any_script_and_with_most_marks_are_names() {
        let names = fields("όνομα string\nfirst_name string\na.b int\nc-d' int\n");
        let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["όνομα", "first_name", "a.b", "c-d'"]);
    }

    #[test]
    fn every_error_names_its_line_and_reason() {
        let types = "expected string, int, float or bool";
        assert_eq!(error("a int\nb date\n"), format!("line 2: unknown type \"date\", {types}"));
        assert_eq!(error("a Int"), format!("line 1: unknown type \"Int\", {types}"));
        assert_eq!(error("\n\na\n"), format!("line 3: \"a\" has no type, {types}"));
        assert_eq!(error("a int b\n"), "line 1: unexpected \"b\" after the type");
        assert_eq!(error("a int\rb int"), "line 1: unexpected \"b\" after the type");
        assert_eq!(
            error("a int\nb int\n\na string"),
            "line 4: name \"a\" is already that of line 1"
        );
        let bad = "which no field name can have";
        assert_eq!(
            error("\"a\" int"),
            format!("line 1: name \"\\\"a\\\"\" holds the character '\"', {bad}")
        );
        assert_eq!(
            error("a\\b int"),
            format!("line 1: name \"a\\\\b\" holds the character '\\\\', {bad}")
        );
        assert_eq!(
            error("a\u{1b}b int"),
            format!("line 1: name \"a\\u{{1b}}b\" holds the character '\\u{{1b}}', {bad}")
        );
        assert_eq!(
            error("a\u{202e}b int"),
            format!("line 1: name \"a\\u{{202e}}b\" holds the character '\\u{{202e}}', {bad}")
        );
        for empty in ["", "\n", " \r\n\t\n"] {
            assert_eq!(error(empty), "line 1: no field, expected lines like \"age int\"");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_their_line() {
        let error = KeyFile::from_bytes(b"a int\nb int\nc\xff int\n").unwrap_err();
        assert_eq!(error, KeyFileError { line: 3, kind: KeyFileErrorKind::NotUtf8 });
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = KeyFile::load("no/such/file").unwrap_err();
        assert_eq!(error.to_string(), "cannot read no/such/file");
        let LoadKeyFileError::Io { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_without_an_end_is_too_large() {
        let error = KeyFile::load("/dev/zero").unwrap_err();
        assert_eq!(error.to_string(), "/dev/zero has more than 16777216 bytes");
    }
}

//! Places in documents.

use std::fmt;

use ::serde::{Deserialize, Serialize};

use super::escape::needs_escape;
use super::print::quoted;

/// One step from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// To the field of this name in a map.
    Name(String),
    /// To the item of this index in a list, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Step::Name(name.to_owned())
    }
}

impl From<String> for Step {
    fn from(name: String) -> Self {
        Step::Name(name)
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// A place in a store: the key of a record and the steps from its root.
///
/// `Display` writes the text that `FromStr` reads back to the same path: names that a bare step
/// cannot hold come in double quotes. (An empty key, which no store has, is written but refused.)
///
/// # Examples
/// ```
/// use triekv::value::Path;
///
/// let path = Path::new("person1").join("address").join("e.mail").join(0);
/// assert_eq!(path.to_string(), r#"person1.address."e.mail"[0]"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Path {
    key: String,
    steps: Vec<Step>,
}

impl Path {
    /// Makes the path to the root of the record at `key`.
    pub fn new(key: impl Into<String>) -> Self {
        Path { key: key.into(), steps: Vec::new() }
    }

    /// Appends a step.
    pub fn push(&mut self, step: impl Into<Step>) {
        self.steps.push(step.into());
    }

    /// Returns this path with a step appended.
    #[must_use]
    pub fn join(mut self, step: impl Into<Step>) -> Self {
        self.push(step);
        self
    }

    /// Returns the key of the record.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the steps from the root of the record; none lead to the whole record.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Takes the path apart into the key and the steps.
    pub fn into_parts(self) -> (String, Vec<Step>) {
        (self.key, self.steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.key)?;
        self.steps.iter().try_for_each(|step| write_step(f, step))
    }
}

/// Writes steps as they stand in a path, without the dot before the first.
pub(super) fn write_steps(f: &mut fmt::Formatter<'_>, steps: &[Step]) -> fmt::Result {
    match steps {
        [Step::Name(name), rest @ ..] => {
            write_name(f, name)?;
            rest.iter().try_for_each(|step| write_step(f, step))
        }
        _ => steps.iter().try_for_each(|step| write_step(f, step)),
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    match step {
        Step::Name(name) => {
            f.write_str(".")?;
            write_name(f, name)
        }
        Step::Index(index) => write!(f, "[{index}]"),
    }
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if is_bare(name) { f.write_str(name) } else { f.write_str(&quoted(name)) }
}

/// Tells whether a name reads back as itself without quotes, and needs no escape. Colons would read
/// back, too, but not where the same text is the key of a PUT.
fn is_bare(name: &str) -> bool {
    let blank = |end: Option<char>| matches!(end, None | Some(' ' | '\t'));
    let special = |found| matches!(found, '.' | '[' | ']' | '"' | ':') || needs_escape(found);
    !blank(name.chars().next()) && !blank(name.chars().next_back()) && !name.contains(special)
}

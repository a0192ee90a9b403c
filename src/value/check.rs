//! What makes a value storable, and the error that says what does not.

use std::fmt;

use ::serde::{Deserialize, Serialize};
use thiserror::Error;

use super::path::write_steps;
use super::{DEPTH_MAX, Map, Step, Value};

/// A value that cannot be stored or converted: where, and why.
///
/// `Display` gives both in a line, as in `address.geo[1]: the number is not finite`. The error is
/// plain data, so that it can be sent to whoever made the value.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{}{kind}", Place(.steps))]
pub struct ValueError {
    /// From the root of the value to the fault.
    steps: Vec<Step>,
    kind: ValueErrorKind,
}

/// Why a value cannot be stored or converted.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ValueErrorKind {
    /// More maps and lists lie within each other than [`DEPTH_MAX`]. Flatten the value.
    #[error("more than {limit} maps and lists lie within each other")]
    TooDeep {
        /// How many may.
        limit: usize,
    },
    /// A float is infinite or not a number.
    #[error("the number is not finite")]
    NotFinite,
    /// A field name of this map is not UTF-8.
    #[error("a field name is not UTF-8")]
    NameNotUtf8,
    /// An integer fits neither `i64` nor `u64`.
    #[error("the integer does not fit 64 bits")]
    IntegerOutOfRange,
    /// A Rust map has keys that are no strings and have no usual text, such as lists or floats.
    #[error("the key of a map must be a string, an integer, a boolean or a character")]
    NameNotString,
    /// The `Serialize` or `Deserialize` implementation of a Rust type refuses.
    #[error("{message}")]
    Refused {
        /// What it says.
        message: String,
    },
    /// The value is of another kind than the Rust type, or out of the range of the type.
    #[error("expected {expected}, found {found}")]
    Mismatch {
        /// What the type takes, in words.
        expected: String,
        /// What is there, in words; of long strings the beginning.
        found: String,
    },
    /// A field that the Rust type needs is not there. The place is that of the field.
    #[error("missing")]
    Missing,
    /// The Rust type takes no field of this name. The place is that of the field.
    #[error("no such field, {}", Choice(.expected))]
    UnknownField {
        /// The fields that it takes.
        expected: Vec<String>,
    },
    /// The Rust enum has no variant of this name.
    #[error("unknown variant {found:?}, {}", Choice(.expected))]
    UnknownVariant {
        /// The name; if it is long, its beginning.
        found: String,
        /// The variants that the enum has.
        expected: Vec<String>,
    },
    /// A field comes twice, under one name or under several that mean the same. The place is that
    /// of the field.
    #[error("given twice")]
    Duplicate,
    /// A Rust `Some` holds `null`: a `None`, a unit, or another type without content. It would be
    /// read as `None`.
    #[error(
        "Some that holds null would be read as None; use an enum, or leave the field out for None"
    )]
    NullInSome,
    /// A Rust `i128` or `u128` inside of an internally tagged enum or a flattened field, where serde
    /// reads none.
    #[error(
        "inside of an internally tagged enum or a flattened field serde reads no i128 or u128; \
         use i64 or u64, or tag the enum with tag and content"
    )]
    WideInteger,
    /// An integer or a boolean is the key of a Rust map inside of an internally tagged enum or a
    /// flattened field, where serde reads no such key. The place is that of the key.
    #[error(
        "inside of an internally tagged enum or a flattened field serde reads no key of a map that \
         is an integer or a boolean; use strings, or tag the enum with tag and content"
    )]
    NameBuffered,
}

/// Prints the names that may be used.
struct Choice<'a>(&'a [String]);

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("there are none"),
            [only] => write!(f, "expected {only}"),
            names => write!(f, "expected one of {}", names.join(", ")),
        }
    }
}

impl ValueError {
    /// Returns why the value is refused.
    pub fn kind(&self) -> &ValueErrorKind {
        &self.kind
    }

    /// Returns the way from the root of the value to the fault; empty if it is the root itself.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The same error seen from the container in which its value is at `step`.
    pub(super) fn under(mut self, step: impl Into<Step>) -> Self {
        self.steps.insert(0, step.into());
        self
    }

    /// The same error seen from where `steps` lead to its value.
    pub(crate) fn below(mut self, steps: &[Step]) -> Self {
        self.steps.splice(..0, steps.iter().cloned());
        self
    }
}

impl From<ValueErrorKind> for ValueError {
    fn from(kind: ValueErrorKind) -> Self {
        ValueError { steps: Vec::new(), kind }
    }
}

/// Prints the steps to a fault and a colon, or nothing at the root.
pub(super) struct Place<'a>(pub(super) &'a [Step]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write_steps(f, self.0)?;
        f.write_str(": ")
    }
}

impl Value {
    /// Checks that a store can hold this value. Takes **O(n)** for `n` values within it, and at
    /// most [`DEPTH_MAX`] nested calls.
    ///
    /// # Errors
    /// The first fault in print order, with its place: [`TooDeep`](ValueErrorKind::TooDeep),
    /// [`NotFinite`](ValueErrorKind::NotFinite) or [`NameNotUtf8`](ValueErrorKind::NameNotUtf8).
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// assert!(value!({ "ratio": 0.5 }).check().is_ok());
    /// let error = value!({ "ratios": [0.5, f64::NAN] }).check().unwrap_err();
    /// assert_eq!(error.to_string(), "ratios[1]: the number is not finite");
    /// ```
    pub fn check(&self) -> Result<(), ValueError> {
        self.check_within(DEPTH_MAX)
    }

    /// As [`check`](Self::check), for a value that is to lie at `steps` within another.
    pub(crate) fn check_at(&self, steps: &[Step]) -> Result<(), ValueError> {
        let too_deep = ValueErrorKind::TooDeep { limit: DEPTH_MAX };
        let depth_left = DEPTH_MAX.checked_sub(steps.len()).ok_or(too_deep)?;
        self.check_within(depth_left).map_err(|ValueError { steps: inner, kind }| ValueError {
            steps: [steps, &inner].concat(),
            kind,
        })
    }

    fn check_within(&self, depth_left: usize) -> Result<(), ValueError> {
        match self {
            Value::Float(number) => {
                check_finite(*number)?;
                Ok(())
            }
            Value::List(items) => {
                let depth_left = descend(depth_left)?;
                items.iter().enumerate().try_for_each(|(index, item)| {
                    item.check_within(depth_left).map_err(|error| error.under(index))
                })
            }
            Value::Map(fields) => check_fields(fields, descend(depth_left)?),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Str(_) => Ok(()),
        }
    }

    /// Returns how many maps and lists lie within each other: 0 for anything else, 1 for an empty
    /// map or list. Takes **O(n)** for `n` values within it.
    pub fn depth(&self) -> usize {
        let mut deepest = 0;
        // Values that are still to be visited, with the number of containers round them.
        let mut open = vec![(self, 0)];
        while let Some((value, around)) = open.pop() {
            let depth = around + 1;
            match value {
                Value::List(items) => open.extend(items.iter().map(|item| (item, depth))),
                Value::Map(fields) => fields.for_each(|_, field| open.push((field, depth))),
                _ => continue,
            }
            deepest = deepest.max(depth);
        }
        deepest
    }
}

fn check_fields(fields: &Map, depth_left: usize) -> Result<(), ValueError> {
    fields.try_for_each(|name, field| {
        let name = field_name(name)?;
        field.check_within(depth_left).map_err(|error| error.under(name))
    })
}

/// The depth that is left inside a container, when `depth_left` is left for it.
pub(super) fn descend(depth_left: usize) -> Result<usize, ValueErrorKind> {
    depth_left.checked_sub(1).ok_or(ValueErrorKind::TooDeep { limit: DEPTH_MAX })
}

pub(super) fn check_finite(number: f64) -> Result<f64, ValueErrorKind> {
    if number.is_finite() { Ok(number) } else { Err(ValueErrorKind::NotFinite) }
}

pub(super) fn field_name(bytes: &[u8]) -> Result<&str, ValueErrorKind> {
    std::str::from_utf8(bytes).map_err(|_| ValueErrorKind::NameNotUtf8)
}

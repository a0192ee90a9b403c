//! Documents: the values that a record holds, the paths into them, and their native text.
//!
//! A [`Value`] is null, a boolean, a number, a string, a list or a map; a map is a trie from field
//! names to values ([`Map`]). A [`Path`] names a place: the key of a record and the steps from its
//! root downwards. `Display` writes the native text, which the parser reads back to an equal value;
//! `docs/grammar.md` has the whole grammar.
//!
//! ```
//! use triekv::value;
//!
//! let person = value!({ "name": "Mary", "address": { "city": "Athens" }, "tags": ["a", 1, null] });
//! assert_eq!(person.get("name").and_then(|name| name.as_str()), Some("Mary"));
//! assert_eq!(
//!     person.to_string(),
//!     r#"{"address": {"city": "Athens"}; "name": "Mary"; "tags": ["a"; 1; null]}"#
//! );
//! ```
//!
//! # Invariants of a storable value
//! A `Value` is plain data that anybody can build, so these are checked where one becomes part of a
//! store ([`Value::check`]), not on each construction. What the parser and serde make obeys them.
//! - At most [`DEPTH_MAX`] containers lie within each other: `{}` and `[]` have depth 1.
//! - Floats are finite.
//! - Field names are UTF-8 (a trie takes any bytes as keys).
//!
//! # Caveats
//! - A value that was built by hand far beyond the depth limit overflows the stack when it is
//!   compared, merged, told apart from another ([`Value::diff`]), printed by `Debug` or dropped.
//!   `Display`, [`Value::check`], [`Value::depth`], [`Value::query`], [`Value::set`] and serde do not.
//! - Integers outside `i64` and `u64` cannot be represented and are refused, never rounded.

mod check;
mod convert;
mod diff;
mod edit;
mod escape;
pub(crate) mod fields;
#[cfg(feature = "json")]
mod json;
mod list;
mod macros;
mod path;
pub(crate) mod plain;
mod print;
mod serde;
mod string;

pub use check::{ValueError, ValueErrorKind};
pub use diff::Change;
pub use edit::{EditError, EditErrorKind};
pub use escape::{Escaped, needs_escape};
pub use list::{List, ListIntoIter};
pub use path::{Path, Step};
pub(crate) use print::quoted;
pub(crate) use serde::from_value_ref;
pub use serde::{from_value, to_value};
pub use string::Str;

use std::fmt;

use crate::trie::Trie;

/// How many maps and lists may lie within each other, the outermost included.
pub const DEPTH_MAX: usize = 128;

/// The length of the longest key of a record, in bytes.
pub const KEY_BYTES_MAX: usize = 65_536;

/// The fields of a map: a trie from field names to values, in byte order of the names.
pub type Map = Trie<Value>;

/// A document or a part of one.
///
/// # Equality
/// Integers are equal by number, whichever of [`Int`](Value::Int) and [`UInt`](Value::UInt) holds
/// them. A float never equals an integer: `1` and `1.0` are different documents. Floats are equal
/// when their bits are, so that `0.0` differs from `-0.0` and equality is an equivalence even for
/// values that no store accepts.
///
/// # Copies
/// A clone takes **O(1)**, whatever is in the value: maps, lists and long strings are shared, as a
/// [`snapshot`](crate::trie::Trie::snapshot) of a trie is, and neither side sees what the other one
/// changes. A value takes 24 bytes; null, booleans, numbers, short strings and empty containers
/// have no memory besides.
#[derive(Debug, Default)]
pub enum Value {
    /// The absence of a value, `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits `i64`.
    Int(i64),
    /// An integer above [`i64::MAX`]. Every constructor of this crate keeps smaller ones in
    /// [`Int`](Value::Int).
    UInt(u64),
    /// A floating-point number; finite wherever it is stored.
    Float(f64),
    /// A string.
    Str(Str),
    /// Values in order.
    List(List),
    /// Values by field name.
    Map(Map),
}

impl Clone for Value {
    fn clone(&self) -> Self {
        match self {
            Value::Null => Value::Null,
            Value::Bool(truth) => Value::Bool(*truth),
            Value::Int(number) => Value::Int(*number),
            Value::UInt(number) => Value::UInt(*number),
            Value::Float(number) => Value::Float(*number),
            Value::Str(text) => Value::Str(text.clone()),
            Value::List(items) => Value::List(items.clone()),
            Value::Map(fields) => Value::Map(fields.snapshot()),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::UInt(a), Value::UInt(b)) => a == b,
            (Value::Int(a), Value::UInt(b)) | (Value::UInt(b), Value::Int(a)) => {
                u64::try_from(*a) == Ok(*b)
            }
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// What a [`Value`] is, without its content. `Display` gives the name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ::serde::Serialize, ::serde::Deserialize)]
pub enum Kind {
    /// [`Value::Null`]
    Null,
    /// [`Value::Bool`]
    Bool,
    /// [`Value::Int`] and [`Value::UInt`]
    Int,
    /// [`Value::Float`]
    Float,
    /// [`Value::Str`]
    Str,
    /// [`Value::List`]
    List,
    /// [`Value::Map`]
    Map,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Null => "null",
            Kind::Bool => "boolean",
            Kind::Int => "integer",
            Kind::Float => "float",
            Kind::Str => "string",
            Kind::List => "list",
            Kind::Map => "map",
        })
    }
}

impl Value {
    /// Returns what this value is.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_) | Value::UInt(_) => Kind::Int,
            Value::Float(_) => Kind::Float,
            Value::Str(_) => Kind::Str,
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
        }
    }

    /// Tells whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Returns the boolean, or `None` if this is anything else.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the integer, or `None` if this is anything else or above [`i64::MAX`].
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            Value::UInt(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Returns the integer, or `None` if this is anything else or negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Int(value) => u64::try_from(*value).ok(),
            Value::UInt(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the number, or `None` if this is none. An integer beyond 2^53 comes rounded to the
    /// nearest float.
    #[expect(clippy::cast_precision_loss, reason = "the rounding is the documented effect")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::UInt(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the string, or `None` if this is anything else.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the items of the list, or `None` if this is anything else.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the items of the list to change, or `None` if this is anything else.
    pub fn as_list_mut(&mut self) -> Option<&mut List> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the fields of the map, or `None` if this is anything else.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// Returns the fields of the map to change, or `None` if this is anything else.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// Returns the field `name` of a map, or `None` if it has none or this is no map. The name is
    /// taken as it is: dots do not make it a path. Takes **O(k)** for a name of `k` bytes.
    ///
    /// See also [`query`](Value::query).
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_map()?.get(name)
    }

    /// Returns the part of this value that `steps` lead to, or `None` where a step meets no such
    /// field, no such item, or neither a map nor a list. No steps lead to the value itself. Takes
    /// **O(k)** for steps whose names have `k` bytes together.
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// let person = value!({ "name": "Mary", "tags": ["a", "b"] });
    /// assert_eq!(person.query(&["tags".into(), 1.into()]), Some(&value!("b")));
    /// assert_eq!(person.query(&["name".into(), "first".into()]), None);
    /// ```
    pub fn query(&self, steps: &[Step]) -> Option<&Value> {
        steps.iter().try_fold(self, |value, step| match (value, step) {
            (Value::Map(fields), Step::Name(name)) => fields.get(name),
            (Value::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;

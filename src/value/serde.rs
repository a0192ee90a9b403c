//! The bridge to serde: values in any data format, and any Rust type as a value.
//!
//! Formats that are read by people, such as JSON, describe themselves: a value is plain data there,
//! `{"name": "Mary", "age": 22}`. Other formats do not tell what comes next, so a value is an
//! enumeration in them; the order of its variants is part of every encoding and never changes:
//! `Null`, `Bool`, `Int` (i64), `UInt` (u64), `Float` (f64), `Str`, `List` (sequence of values),
//! `Map` (map from strings to values).
//!
//! JSON text is better read by [`parse_json`](crate::parser::parse_json), which is exact whatever else
//! is built: `serde_json` rounds some floats unless its feature `float_roundtrip` is on, and with its
//! feature `arbitrary_precision` it presents numbers as maps to all types but its own.
//!
//! Both directions refuse what no store holds: containers beyond [`DEPTH_MAX`], floats that are not
//! finite, field names that are not UTF-8, integers outside `i64` and `u64`. Nothing is allocated
//! for an announced length before its content arrives.

mod buffer;
mod de;
mod fault;
mod ser;

pub use de::from_value;
pub(crate) use de::from_value_ref;
pub use ser::to_value;

use std::borrow::Cow;
use std::fmt;

use ::serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use ::serde::ser::{Error as _, SerializeMap, Serializer};
use ::serde::{Deserialize, Serialize};

use super::check::{check_finite, descend, field_name};
use super::fields;
use super::{DEPTH_MAX, List, Map, Value};

/// Name of the enumeration in formats that are not self-describing.
const NAME: &str = "Value";

const VARIANTS: &[&str] = &["Null", "Bool", "Int", "UInt", "Float", "Str", "List", "Map"];

/// How many items are allocated for at most because a length was announced.
const ITEMS_TRUSTED: usize = 1024;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Part { value: self, depth_left: DEPTH_MAX }.serialize(serializer)
    }
}

/// A value, and how many containers may still lie within each other from here on.
struct Part<'a> {
    value: &'a Value,
    depth_left: usize,
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.plain(serializer)
        } else {
            self.tagged(serializer)
        }
    }
}

impl<'a> Part<'a> {
    fn plain<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::UInt(value) => serializer.serialize_u64(*value),
            Value::Float(value) => {
                serializer.serialize_f64(check_finite(*value).map_err(S::Error::custom)?)
            }
            Value::Str(value) => serializer.serialize_str(value),
            Value::List(items) => {
                self.inside(items.as_slice()).map_err(S::Error::custom)?.serialize(serializer)
            }
            Value::Map(map) => self.inside(map).map_err(S::Error::custom)?.serialize(serializer),
        }
    }

    /// The index of each variant is its place in [`VARIANTS`].
    fn tagged<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Null => serializer.serialize_unit_variant(NAME, 0, "Null"),
            Value::Bool(value) => serializer.serialize_newtype_variant(NAME, 1, "Bool", value),
            Value::Int(value) => serializer.serialize_newtype_variant(NAME, 2, "Int", value),
            Value::UInt(value) => serializer.serialize_newtype_variant(NAME, 3, "UInt", value),
            Value::Float(value) => {
                let value = check_finite(*value).map_err(S::Error::custom)?;
                serializer.serialize_newtype_variant(NAME, 4, "Float", &value)
            }
            Value::Str(value) => {
                serializer.serialize_newtype_variant(NAME, 5, "Str", value.as_str())
            }
            Value::List(items) => {
                let items = self.inside(items.as_slice()).map_err(S::Error::custom)?;
                serializer.serialize_newtype_variant(NAME, 6, "List", &items)
            }
            Value::Map(map) => {
                let fields = self.inside(map).map_err(S::Error::custom)?;
                serializer.serialize_newtype_variant(NAME, 7, "Map", &fields)
            }
        }
    }

    fn inside<C: ?Sized>(&self, content: &'a C) -> Result<Inside<'a, C>, super::ValueErrorKind> {
        Ok(Inside { content, depth_left: descend(self.depth_left)? })
    }
}

/// The content of a container.
struct Inside<'a, C: ?Sized> {
    content: &'a C,
    depth_left: usize,
}

impl Serialize for Inside<'_, [Value]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let depth_left = self.depth_left;
        serializer.collect_seq(self.content.iter().map(|value| Part { value, depth_left }))
    }
}

impl Serialize for Inside<'_, Map> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.content.len()))?;
        self.content.try_for_each(|name, value| {
            let name = field_name(name).map_err(S::Error::custom)?;
            map.serialize_entry(name, &Part { value, depth_left: self.depth_left })
        })?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seed { depth_left: DEPTH_MAX }.deserialize(deserializer)
    }
}

/// Reads a value in which so many containers may lie within each other.
#[derive(Clone, Copy)]
struct Seed {
    depth_left: usize,
}

impl Seed {
    /// The seed for what lies inside a container.
    fn inside<E: ::serde::de::Error>(self) -> Result<Self, E> {
        Ok(Seed { depth_left: descend(self.depth_left).map_err(E::custom)? })
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Plain(self))
        } else {
            deserializer.deserialize_enum(NAME, VARIANTS, Tagged(self))
        }
    }
}

/// Takes whatever a self-describing format has.
struct Plain(Seed);

impl<'de> Visitor<'de> for Plain {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a boolean, a number, a string, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        self.0.deserialize(inner)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: ::serde::de::Error>(self, value: f64) -> Result<Value, E> {
        check_finite(value).map(Value::Float).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Value, A::Error> {
        Items(self.0.inside()?).visit_seq(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Value, A::Error> {
        Fields(self.0.inside()?).visit_map(fields)
    }
}

/// Takes the enumeration of a format that does not describe itself.
struct Tagged(Seed);

#[derive(Deserialize)]
#[serde(variant_identifier)]
enum Tag {
    Null,
    Bool,
    Int,
    UInt,
    Float,
    Str,
    List,
    Map,
}

impl<'de> Visitor<'de> for Tagged {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (tag, content) = data.variant()?;
        match tag {
            Tag::Null => content.unit_variant().map(|()| Value::Null),
            Tag::Bool => content.newtype_variant().map(Value::Bool),
            Tag::Int => content.newtype_variant().map(Value::Int),
            Tag::UInt => content.newtype_variant::<u64>().map(Value::from),
            Tag::Float => {
                check_finite(content.newtype_variant()?).map(Value::Float).map_err(A::Error::custom)
            }
            Tag::Str => content.newtype_variant().map(Value::Str),
            Tag::List => content.newtype_variant_seed(Items(self.0.inside()?)),
            Tag::Map => content.newtype_variant_seed(Fields(self.0.inside()?)),
        }
    }
}

/// Takes the items of a list.
struct Items(Seed);

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let announced = source.size_hint().unwrap_or(0);
        let mut items = List::with_capacity(announced.min(ITEMS_TRUSTED));
        while let Some(item) = source.next_element_seed(self.0)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
}

/// Takes the fields of a map; the last field of a name wins.
struct Fields(Seed);

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut fields = fields::Fields::new();
        while let Some(name) = source.next_key_seed(Name)? {
            fields.push(name, source.next_value_seed(self.0)?);
        }
        Ok(Value::Map(fields.take()))
    }
}

/// Takes a field name, borrowed from the input where the format can.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }

    fn visit_string<E>(self, name: String) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name))
    }
}

#[cfg(test)]
mod tests;

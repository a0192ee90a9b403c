//! From a value to any Rust type.

use std::fmt::Display;

use ::serde::de::value::StringDeserializer;
use ::serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use ::serde::forward_to_deserialize_any;

use super::super::check::descend;
use super::super::{DEPTH_MAX, List, ListIntoIter, Map, Value, ValueError, ValueErrorKind};

/// Makes a Rust type of a value, the inverse of [`to_value`](super::to_value). Takes **O(n)** for
/// `n` parts.
///
/// # Errors
/// [`Refused`](ValueErrorKind::Refused) if the value does not fit the type, and what
/// [`Value::check`] refuses below the part that fits; with the place of the fault.
///
/// # Examples
/// ```
/// use triekv::value;
/// use triekv::value::from_value;
///
/// let ages: Vec<u8> = from_value(value!([22, 7]))?;
/// assert_eq!(ages, [22, 7]);
///
/// let error = from_value::<Vec<u8>>(value!([22, -7])).unwrap_err();
/// assert_eq!(error.to_string(), "[1]: invalid value: integer `-7`, expected u8");
/// # Ok::<(), triekv::value::ValueError>(())
/// ```
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ValueError> {
    T::deserialize(Reader { value, depth_left: DEPTH_MAX })
}

impl Error for ValueError {
    fn custom<T: Display>(message: T) -> Self {
        ValueErrorKind::Refused { message: message.to_string() }.into()
    }
}

/// Reads a value in which so many containers may lie within each other.
struct Reader {
    value: Value,
    depth_left: usize,
}

impl<'de> Deserializer<'de> for Reader {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Int(value) => visitor.visit_i64(value),
            Value::UInt(value) => visitor.visit_u64(value),
            Value::Float(value) => visitor.visit_f64(value),
            Value::Str(value) => visitor.visit_string(value.into()),
            Value::List(items) => {
                let mut items = Items::new(items, descend(self.depth_left)?);
                let value = visitor.visit_seq(&mut items)?;
                items.finish()?;
                Ok(value)
            }
            Value::Map(fields) => visitor.visit_map(Fields::new(fields, descend(self.depth_left)?)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Str(name) => visitor.visit_enum(String::from(name).into_deserializer()),
            Value::Map(fields) => visitor.visit_enum(Variant::new(fields, self.depth_left)?),
            other => Err(Error::invalid_type(unexpected(&other), &"a string or a map")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier
    }
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Int(value) => Unexpected::Signed(*value),
        Value::UInt(value) => Unexpected::Unsigned(*value),
        Value::Float(value) => Unexpected::Float(*value),
        Value::Str(value) => Unexpected::Str(value),
        Value::List(_) => Unexpected::Seq,
        Value::Map(_) => Unexpected::Map,
    }
}

/// Hands out the items of a list.
struct Items {
    left: ListIntoIter,
    /// Of the item that comes next.
    index: usize,
    depth_left: usize,
}

impl Items {
    fn new(items: List, depth_left: usize) -> Self {
        Items { left: items.into_iter(), index: 0, depth_left }
    }

    /// A list that is longer than the type, a tuple, is as wrong as one that is shorter.
    fn finish(self) -> Result<(), ValueError> {
        match self.left.len() {
            0 => Ok(()),
            left => Err(Error::invalid_length(self.index + left, &"fewer items")),
        }
    }
}

impl<'de> SeqAccess<'de> for &mut Items {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        let Some(value) = self.left.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Reader { value, depth_left: self.depth_left })
            .map(Some)
            .map_err(|error| error.under(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

/// Hands out the fields of a map.
struct Fields {
    left: <Map as IntoIterator>::IntoIter,
    /// The field whose name was handed out last.
    open: Option<(String, Value)>,
    depth_left: usize,
}

impl Fields {
    fn new(fields: Map, depth_left: usize) -> Self {
        Fields { left: fields.into_iter(), open: None, depth_left }
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        let Some((name, value)) = self.left.next() else { return Ok(None) };
        let name = utf8(name)?;
        let key = seed.deserialize(NameReader(name.clone())).map_err(|e| e.under(name.as_str()))?;
        self.open = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ValueError> {
        let (name, value) = self.open.take().unwrap_or_default();
        seed.deserialize(Reader { value, depth_left: self.depth_left })
            .map_err(|error| error.under(name))
    }
}

fn utf8(name: Vec<u8>) -> Result<String, ValueErrorKind> {
    String::from_utf8(name).map_err(|_| ValueErrorKind::NameNotUtf8)
}

/// A variant with content: a map of one field.
struct Variant {
    name: String,
    content: Value,
    depth_left: usize,
}

impl Variant {
    fn new(fields: Map, depth_left: usize) -> Result<Self, ValueError> {
        let depth_left = descend(depth_left)?;
        let mut fields = fields.into_iter();
        match (fields.next(), fields.next()) {
            (Some((name, content)), None) => Ok(Variant { name: utf8(name)?, content, depth_left }),
            _ => Err(Error::invalid_value(Unexpected::Map, &"a map of one field, the variant")),
        }
    }
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = ValueError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), ValueError> {
        let name: StringDeserializer<ValueError> = self.name.clone().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        match self.content {
            Value::Null => Ok(()),
            other => Err(Error::invalid_type(unexpected(&other), &"null")),
        }
        .map_err(|error: ValueError| error.under(self.name))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        seed.deserialize(Reader { value: self.content, depth_left: self.depth_left })
            .map_err(|error| error.under(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.content {
            Value::List(_) => {
                Reader { value: self.content, depth_left: self.depth_left }.deserialize_any(visitor)
            }
            other => Err(Error::invalid_type(unexpected(&other), &"a list")),
        }
        .map_err(|error: ValueError| error.under(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.content {
            Value::Map(_) => {
                Reader { value: self.content, depth_left: self.depth_left }.deserialize_any(visitor)
            }
            other => Err(Error::invalid_type(unexpected(&other), &"a map")),
        }
        .map_err(|error: ValueError| error.under(self.name))
    }
}

/// Reads a field name as the key of a Rust map: numbers and booleans from their text.
struct NameReader(String);

/// Keys that are parsed from the name; a name that does not parse is left to the visitor to refuse.
macro_rules! parsed_names {
    ($($method:ident => $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => visitor.visit_string(self.0),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for NameReader {
    type Error = ValueError;

    parsed_names!(
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_i128 => visit_i128,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let key: StringDeserializer<ValueError> = self.0.into_deserializer();
        key.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

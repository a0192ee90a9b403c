//! From a value to any Rust type.

use std::fmt::Display;
use std::str::FromStr;

use ::serde::Deserialize;
use ::serde::de::value::StrDeserializer;
use ::serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use ::serde::forward_to_deserialize_any;

use super::super::check::{check_finite, descend, field_name};
use super::super::{DEPTH_MAX, Map, Value, ValueError, ValueErrorKind};
use super::fault::{counted, mismatch};
use crate::trie::Cursor;

/// Makes a Rust type of a value, the inverse of [`to_value`](super::to_value). Takes **O(n)** for
/// `n` parts.
///
/// It reads back what [`to_value`](super::to_value) makes of a type, with the exceptions that are
/// listed there. Besides:
/// - integers are read into floats where the float is exactly the integer, and floats into `f32` as
///   the nearest; floats are never read into integers;
/// - bytes are read from a list of integers, and from a string, whose UTF-8 they are;
/// - integers, booleans, characters and unit variants as keys of a map are read from field names.
///
/// A type that borrows its strings, or a value that is needed afterwards, is read by reference:
/// `T::deserialize(&value)` takes `&Value`. It takes as long, since nothing is moved out of a value
/// that others may share. It reads the same but for one thing: integers and booleans as keys of a map
/// inside of an untagged enum. serde buffers these keys as strings, from which it reads neither.
/// `from_value` tries a value that does not fit once more, with such keys as integers and booleans.
///
/// # Errors
/// With the place of the fault, where serde tells it (it does not inside of `flatten`, `untagged`
/// and internally tagged enums, where the place is that of the struct or enum):
/// [`Mismatch`](ValueErrorKind::Mismatch), [`Missing`](ValueErrorKind::Missing),
/// [`UnknownField`](ValueErrorKind::UnknownField),
/// [`UnknownVariant`](ValueErrorKind::UnknownVariant) and
/// [`Duplicate`](ValueErrorKind::Duplicate) if the value does not fit the type,
/// [`Refused`](ValueErrorKind::Refused) if the type itself says so, and what [`Value::check`]
/// refuses in the parts that are read.
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
/// assert_eq!(error.to_string(), "[1]: expected u8, found the integer -7");
/// # Ok::<(), triekv::value::ValueError>(())
/// ```
///
/// By reference, without a copy of the name:
/// ```
/// use serde::Deserialize;
/// use triekv::value;
///
/// #[derive(Deserialize)]
/// struct Person<'a> {
///     name: &'a str,
/// }
///
/// let mary = value!({ "name": "Mary", "age": 22 });
/// assert_eq!(Person::deserialize(&mary)?.name, "Mary");
///
/// let error = Person::deserialize(&value!({ "age": 22 })).map(|_| ()).unwrap_err();
/// assert_eq!(error.to_string(), "name: missing");
/// # Ok::<(), triekv::value::ValueError>(())
/// ```
#[expect(clippy::needless_pass_by_value, reason = "the name and form that other formats have")]
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ValueError> {
    from_value_ref(&value)
}

/// As [`from_value`], of a value that is kept. If the value does not fit the type, it is read once
/// more with names as numbers, since an untagged enum may want them so.
pub(crate) fn from_value_ref<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, ValueError> {
    let read = |names| T::deserialize(Reader { value, depth_left: DEPTH_MAX, names });
    read(Names::Text).or_else(|error| read(Names::Parsed).map_err(|_| error))
}

/// The form in which the names of a map are handed to a type that takes any, such as the buffer in
/// which serde keeps the content of an untagged enum. From there no integer is read from a string,
/// and no string from an integer.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    Text,
    /// As integers and booleans, if each name of the map is one.
    Parsed,
}

/// Has a reader of the whole value do what is asked.
macro_rules! by_reader {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, ValueError> {
            Reader { value: self, depth_left: DEPTH_MAX, names: Names::Text }.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = ValueError;

    by_reader! {
        deserialize_any()
        deserialize_f32()
        deserialize_f64()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_option()
        deserialize_newtype_struct(name: &'static str)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_ignored_any()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

impl<'de> IntoDeserializer<'de, ValueError> for &'de Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Reads a value in which so many containers may lie within each other.
struct Reader<'de> {
    value: &'de Value,
    depth_left: usize,
    names: Names,
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::UInt(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(check_finite(*value)?),
            Value::Str(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => {
                let depth_left = descend(self.depth_left)?;
                let mut items = Items { all: items, index: 0, depth_left, names: self.names };
                let value = visitor.visit_seq(&mut items)?;
                items.finish()?;
                Ok(value)
            }
            Value::Map(fields) => visitor.visit_map(self.fields(fields)?),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what is wanted")]
        let nearest = |number: f64| number as f32;
        match self.value {
            Value::Float(number) if number.is_finite() && nearest(*number).is_infinite() => {
                Err(Error::invalid_value(Unexpected::Float(*number), &visitor))
            }
            _ => self.deserialize_float(|number| f64::from(nearest(number)), visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_float(|number| number, visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.value {
            Value::Str(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
            Value::List(items) => visitor.visit_byte_buf(bytes(items)?),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        self.deserialize_bytes(visitor)
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

    /// An adjacently tagged enum is a struct of two fields, the tag and the content. The tag is handed
    /// out first, whatever the order of the names, so that serde need not put the content into its
    /// buffer.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match (self.value, fields) {
            (Value::Map(map), [tag, content]) if map.len() == 2 && tag > content => {
                visitor.visit_map(self.fields(map)?.turned(map, [tag, content]))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let variant = match self.value {
            Value::Str(variant) => Variant::Name(variant),
            Value::Map(fields) if fields.len() == 1 => {
                let mut fields = self.fields(fields)?;
                fields.advance();
                Variant::Field(fields)
            }
            Value::Map(fields) => {
                let expected = format_args!("a map of one field, a variant of {name}");
                return Err(mismatch(expected, format_args!("{} fields", fields.len())));
            }
            other => {
                let found = unexpected(other);
                return Err(Error::invalid_type(found, &format!("a variant of {name}").as_str()));
            }
        };
        visitor.visit_enum(variant)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

impl<'de> Reader<'de> {
    fn fields(&self, fields: &'de Map) -> Result<Fields<'de>, ValueErrorKind> {
        Fields::new(fields, self.depth_left, self.names)
    }

    /// Reads a number into a type whose floats are those that `nearest` gives. An integer that is
    /// none of them is out of its range.
    fn deserialize_float<V: Visitor<'de>>(
        self,
        nearest: impl Fn(f64) -> f64,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let (integer, found) = match self.value {
            Value::Int(number) => (i128::from(*number), Unexpected::Signed(*number)),
            Value::UInt(number) => (i128::from(*number), Unexpected::Unsigned(*number)),
            _ => return self.deserialize_any(visitor),
        };
        #[expect(clippy::cast_precision_loss, reason = "it is looked at whether some was lost")]
        let float = nearest(integer as f64);
        #[expect(clippy::cast_possible_truncation, reason = "a float near 64 bits fits 128")]
        let exact = float as i128 == integer;
        if exact { visitor.visit_f64(float) } else { Err(Error::invalid_value(found, &visitor)) }
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

/// The bytes that a list of integers stands for.
fn bytes(items: &[Value]) -> Result<Vec<u8>, ValueError> {
    let byte = |(index, item): (usize, &Value)| {
        let byte = item.as_u64().and_then(|number| u8::try_from(number).ok());
        let fault = || ValueError::invalid_type(unexpected(item), &"a byte").under(index);
        byte.ok_or_else(fault)
    };
    items.iter().enumerate().map(byte).collect()
}

/// Hands out the items of a list.
struct Items<'de> {
    all: &'de [Value],
    /// Of the item that comes next.
    index: usize,
    depth_left: usize,
    names: Names,
}

impl Items<'_> {
    /// A list that is longer than the type, a tuple, is as wrong as one that is shorter.
    fn finish(self) -> Result<(), ValueError> {
        if self.index == self.all.len() {
            return Ok(());
        }
        Err(mismatch(counted(self.index), counted(self.all.len())))
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        let Some(value) = self.all.get(self.index) else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Reader { value, depth_left: self.depth_left, names: self.names })
            .map(Some)
            .map_err(|error| error.under(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.all.len() - self.index)
    }
}

/// Hands out the fields of a map, in their order. The cursor lends their names, so none is copied unless an error
/// has to name it.
struct Fields<'de> {
    cursor: Cursor<'de, Value>,
    /// How many fields are left behind the cursor.
    left: usize,
    /// The value of the field that was reached last.
    value: &'de Value,
    depth_left: usize,
    /// Of the maps inside of the values.
    names: Names,
    /// Of this map.
    own_names: Names,
    turn: Turn<'de>,
}

/// The fields of a map of two, in the other order.
#[derive(Clone, Copy)]
enum Turn<'de> {
    /// The fields are handed out in their order.
    None,
    /// The second field comes next, at which the cursor is already.
    Second { value: &'de Value, first: (&'static str, &'de Value) },
    /// The first field comes next, after the second.
    First(&'static str, &'de Value),
    /// The first field was reached last.
    AtFirst(&'static str),
}

impl<'de> Fields<'de> {
    fn new(fields: &'de Map, depth_left: usize, names: Names) -> Result<Self, ValueErrorKind> {
        let depth_left = descend(depth_left)?;
        let all_parse = names == Names::Parsed && fields.keys().all(|name| is_parsed(&name));
        Ok(Fields {
            cursor: fields.cursor(),
            left: fields.len(),
            value: &Value::Null,
            depth_left,
            names,
            own_names: if all_parse { Names::Parsed } else { Names::Text },
            turn: Turn::None,
        })
    }

    /// Has the second of two fields come first, if they are those of these names.
    fn turned(mut self, fields: &'de Map, [second, first]: [&'static str; 2]) -> Self {
        let first_value = self.next_if_named(first);
        let second_value = self.next_if_named(second);
        match (first_value, second_value) {
            (Some(first_value), Some(value)) => {
                self.turn = Turn::Second { value, first: (first, first_value) };
            }
            _ => self.cursor = fields.cursor(),
        }
        self
    }

    /// The value of the next field of the cursor, if it has this name.
    fn next_if_named(&mut self, name: &str) -> Option<&'de Value> {
        let (found, value) = self.cursor.next()?;
        (found == name.as_bytes()).then_some(value)
    }

    /// Goes to the next field; returns whether there was one.
    fn advance(&mut self) -> bool {
        let Some(value) = self.next_value() else { return false };
        self.value = value;
        self.left -= 1;
        true
    }

    fn next_value(&mut self) -> Option<&'de Value> {
        match self.turn {
            Turn::None => self.cursor.next().map(|(_, value)| value),
            Turn::Second { value, first: (name, first) } => {
                self.turn = Turn::First(name, first);
                Some(value)
            }
            Turn::First(name, value) => {
                self.turn = Turn::AtFirst(name);
                Some(value)
            }
            Turn::AtFirst(_) => None,
        }
    }

    /// The name of the field that was reached last.
    fn name(&self) -> Result<&str, ValueErrorKind> {
        match self.turn {
            Turn::AtFirst(name) => Ok(name),
            _ => field_name(self.cursor.last_key()),
        }
    }

    fn reader(&self) -> Reader<'de> {
        Reader { value: self.value, depth_left: self.depth_left, names: self.names }
    }

    /// The error of the field that was reached last, seen from the map.
    fn fault(&self, error: ValueError) -> ValueError {
        match self.name() {
            Ok(name) => error.under(name),
            Err(kind) => kind.into(),
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        if !self.advance() {
            return Ok(None);
        }
        // An unknown field has its place already.
        let placed = |error: ValueError| match error.steps() {
            [] => self.fault(error),
            _ => error,
        };
        seed.deserialize(NameReader { name: self.name()?, form: self.own_names })
            .map(Some)
            .map_err(placed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ValueError> {
        seed.deserialize(self.reader()).map_err(|error| self.fault(error))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A variant: its name alone, or a map from its name to its content.
#[expect(clippy::large_enum_variant, reason = "it lies on the stack, and only for a moment")]
enum Variant<'de> {
    Name(&'de str),
    /// With the cursor at the one field.
    Field(Fields<'de>),
}

impl<'de> Variant<'de> {
    /// The variant's field, where it must have content.
    fn with_content(self) -> Result<Fields<'de>, ValueError> {
        match self {
            Variant::Field(fields) => Ok(fields),
            Variant::Name(name) => Err(mismatch(
                format_args!("a map from {name:?} to its content"),
                format_args!("the string {name:?}"),
            )),
        }
    }
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ValueError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), ValueError> {
        let name = match &self {
            Variant::Name(name) => name,
            Variant::Field(fields) => fields.name()?,
        };
        let name: StrDeserializer<'_, ValueError> = name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        match self {
            Variant::Name(_) => Ok(()),
            Variant::Field(fields) => match fields.value {
                Value::Null => Ok(()),
                other => Err(fields.fault(Error::invalid_type(unexpected(other), &"null"))),
            },
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        self.with_content()?.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let fields = self.with_content()?;
        fields.reader().deserialize_seq(visitor).map_err(|error| fields.fault(error))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let fields = self.with_content()?;
        fields.reader().deserialize_map(visitor).map_err(|error| fields.fault(error))
    }
}

/// Reads a field name as the key of a Rust map: numbers and booleans from their text.
struct NameReader<'a> {
    name: &'a str,
    form: Names,
}

/// The key that the name is the text of. Each key has one text only, so that two fields never
/// become one.
fn parsed<T: FromStr + Display>(name: &str) -> Option<T> {
    name.parse().ok().filter(|key: &T| key.to_string() == name)
}

/// Returns whether the name is an integer of 64 bits or a boolean.
fn is_parsed(name: &[u8]) -> bool {
    let is = |name| {
        parsed::<i64>(name).is_some()
            || parsed::<u64>(name).is_some()
            || parsed::<bool>(name).is_some()
    };
    str::from_utf8(name).is_ok_and(is)
}

/// Keys that are parsed from the name.
macro_rules! parsed_names {
    ($($method:ident: $type:ty => $visit:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            match parsed::<$type>(self.name) {
                Some(key) => visitor.$visit(key),
                None => Err(Error::invalid_value(Unexpected::Other("the field name"), &visitor)),
            }
        }
    )*};
}

/// Keys that are the name.
macro_rules! plain_names {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            visitor.visit_str(self.name)
        }
    )*};
}

impl<'de> Deserializer<'de> for NameReader<'_> {
    type Error = ValueError;

    parsed_names!(
        deserialize_bool: bool => visit_bool,
        deserialize_i8: i8 => visit_i8,
        deserialize_i16: i16 => visit_i16,
        deserialize_i32: i32 => visit_i32,
        deserialize_i64: i64 => visit_i64,
        deserialize_i128: i128 => visit_i128,
        deserialize_u8: u8 => visit_u8,
        deserialize_u16: u16 => visit_u16,
        deserialize_u32: u32 => visit_u32,
        deserialize_u64: u64 => visit_u64,
        deserialize_u128: u128 => visit_u128
    );

    plain_names!(
        deserialize_char
        deserialize_str
        deserialize_string
        deserialize_bytes
        deserialize_byte_buf
        deserialize_identifier
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let Names::Parsed = self.form else { return visitor.visit_str(self.name) };
        // An unsigned integer could be taken for the index of a field, a signed one never is.
        if let Some(key) = parsed::<i64>(self.name) {
            visitor.visit_i64(key)
        } else if let Some(key) = parsed::<u64>(self.name) {
            visitor.visit_u64(key)
        } else if let Some(key) = parsed::<bool>(self.name) {
            visitor.visit_bool(key)
        } else {
            visitor.visit_str(self.name)
        }
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
        let key: StrDeserializer<'_, ValueError> = self.name.into_deserializer();
        key.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        f32 f64 unit unit_struct seq tuple tuple_struct map struct ignored_any
    }
}

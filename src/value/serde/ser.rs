//! From any Rust type to a value.

use std::panic::Location;

use ::serde::Serialize;
use ::serde::ser::{
    Error, Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::super::check::{check_finite, descend};
use super::super::{DEPTH_MAX, List, Map, Value, ValueError, ValueErrorKind};
use super::ITEMS_TRUSTED;
use super::buffer::{by_wrapper, is_bare_str};

/// Makes a value of any type that implements [`Serialize`]. Takes **O(n)** for `n` parts.
///
/// Structs and maps become maps, sequences, tuples and bytes become lists, `None` and units become
/// `null`, an `Option` or newtype is what it holds. A unit variant is its name, any other variant a
/// map from its name to its content. Integers, booleans, characters and unit variants as keys of a
/// map become their text.
///
/// # Reading back
/// [`from_value`](super::from_value) reads the same type again, or this function refuses:
/// - `Some` of a type that becomes `null`, such as `Some(None)` or `Some(())`: it would be read as
///   `None`. To tell a field that is `null` from one that is left out, write the inner option, as
///   `serde_with::rust::double_option` does.
/// - 128-bit integers, and integers and booleans as keys, inside of an internally tagged enum or a
///   flattened field: serde reads both by way of a buffer that has no such integers and keys.
///   Externally and adjacently tagged enums have no such limit.
///
/// Some types do not tell, when they are written, that they will not be read as they were:
/// - An untagged enum is read as the first variant that fits, and as the key of a map it is a string.
///   A variant with 128-bit integers never fits. One with integers or booleans as keys fits
///   `from_value` and not `T::deserialize(&value)`; it fits neither if the record has, in another
///   such enum or flattened field, a map whose strings are all integers or booleans.
/// - A flattened `Option` that is `None`, of a type that needs no field, is read as `Some`. A flattened
///   map takes every field that no field before it took, so there should be one, and it comes last.
///   A unit variant of an untagged enum, flattened or in an internally tagged enum, fits nothing.
/// - Attributes that are for one direction only: `skip_serializing_if` without `default`,
///   `serialize_with` without `deserialize_with`, a `rename` for one of both.
///
/// # Errors
/// [`TooDeep`](ValueErrorKind::TooDeep) beyond [`DEPTH_MAX`], [`NotFinite`](ValueErrorKind::NotFinite),
/// [`IntegerOutOfRange`](ValueErrorKind::IntegerOutOfRange),
/// [`NameNotString`](ValueErrorKind::NameNotString), [`Duplicate`](ValueErrorKind::Duplicate) if two
/// keys or fields have one name, [`NullInSome`](ValueErrorKind::NullInSome),
/// [`WideInteger`](ValueErrorKind::WideInteger), [`NameBuffered`](ValueErrorKind::NameBuffered), or
/// [`Refused`](ValueErrorKind::Refused) by the type itself; with the place of the fault.
///
/// # Examples
/// ```
/// use triekv::value;
/// use triekv::value::to_value;
///
/// #[derive(serde::Serialize)]
/// struct Person {
///     name: String,
///     age: Option<u8>,
/// }
///
/// let mary = Person { name: "Mary".into(), age: None };
/// assert_eq!(to_value(&mary)?, value!({ "name": "Mary", "age": null }));
/// # Ok::<(), triekv::value::ValueError>(())
/// ```
pub fn to_value<T: Serialize + ?Sized>(source: &T) -> Result<Value, ValueError> {
    source.serialize(Writer { depth_left: DEPTH_MAX, buffered: false })
}

/// Makes one value in which so many containers may lie within each other.
#[derive(Clone, Copy)]
struct Writer {
    depth_left: usize,
    /// serde will read it through its buffer.
    buffered: bool,
}

impl Writer {
    /// The writer for what lies inside a container.
    fn inside(self) -> Result<Writer, ValueError> {
        Ok(Writer { depth_left: descend(self.depth_left)?, ..self })
    }

    /// The same writer, called from where `caller` is.
    fn called_by(self, caller: &Location<'_>) -> Writer {
        Writer { buffered: self.buffered || by_wrapper(caller), ..self }
    }

    /// Refuses an integer of 128 bits where the buffer of serde has to hold it.
    fn check_wide(self) -> Result<(), ValueErrorKind> {
        if self.buffered { Err(ValueErrorKind::WideInteger) } else { Ok(()) }
    }

    fn list(self, length: Option<usize>) -> Result<ListWriter, ValueError> {
        let inside = self.inside()?;
        let items = List::with_capacity(length.unwrap_or(0).min(ITEMS_TRUSTED));
        Ok(ListWriter { items, inside, variant: None })
    }

    fn map(self, own_tag: Option<&'static str>) -> Result<MapWriter, ValueError> {
        let (fields, inside) = (Map::new(), self.inside()?);
        Ok(MapWriter { fields, name: None, inside, variant: None, own_tag })
    }
}

/// The content of a variant under its name: `{"Variant": content}`.
fn tag(variant: Option<&'static str>, content: Value) -> Value {
    match variant {
        Some(variant) => Value::Map(Map::from([(variant, content)])),
        None => content,
    }
}

impl Serializer for Writer {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = ListWriter;
    type SerializeTuple = ListWriter;
    type SerializeTupleStruct = ListWriter;
    type SerializeTupleVariant = ListWriter;
    type SerializeMap = MapWriter;
    type SerializeStruct = MapWriter;
    type SerializeStructVariant = MapWriter;

    fn serialize_bool(self, value: bool) -> Result<Value, ValueError> {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_i16(self, value: i16) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_i32(self, value: i32) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_i64(self, value: i64) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_i128(self, value: i128) -> Result<Value, ValueError> {
        self.check_wide()?;
        match i64::try_from(value) {
            Ok(value) => Ok(Value::Int(value)),
            Err(_) => u64::try_from(value)
                .map(Value::from)
                .map_err(|_| ValueErrorKind::IntegerOutOfRange.into()),
        }
    }

    fn serialize_u8(self, value: u8) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_u16(self, value: u16) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_u32(self, value: u32) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_u64(self, value: u64) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_u128(self, value: u128) -> Result<Value, ValueError> {
        self.check_wide()?;
        u64::try_from(value).map(Value::from).map_err(|_| ValueErrorKind::IntegerOutOfRange.into())
    }

    fn serialize_f32(self, value: f32) -> Result<Value, ValueError> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, ValueError> {
        Ok(Value::Float(check_finite(value)?))
    }

    fn serialize_char(self, value: char) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_str(self, value: &str) -> Result<Value, ValueError> {
        Ok(Value::from(value))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, ValueError> {
        self.inside()?;
        Ok(Value::from(bytes))
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        match value.serialize(self)? {
            Value::Null => Err(ValueErrorKind::NullInSome.into()),
            value => Ok(value),
        }
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        let content = value.serialize(self.inside()?).map_err(|error| error.under(variant))?;
        Ok(tag(Some(variant), content))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListWriter, ValueError> {
        self.list(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<ListWriter, ValueError> {
        self.list(Some(length))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        length: usize,
    ) -> Result<ListWriter, ValueError> {
        self.list(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ListWriter, ValueError> {
        Ok(ListWriter { variant: Some(variant), ..self.inside()?.list(Some(length))? })
    }

    #[track_caller]
    fn serialize_map(self, length: Option<usize>) -> Result<MapWriter, ValueError> {
        // A derived implementation with flattened fields does not know how many there will be.
        let own_tag = if length.is_none() { Some("") } else { None };
        self.called_by(Location::caller()).map(own_tag)
    }

    #[track_caller]
    fn serialize_struct(self, name: &'static str, _length: usize) -> Result<MapWriter, ValueError> {
        self.called_by(Location::caller()).map(Some(name))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<MapWriter, ValueError> {
        Ok(MapWriter { variant: Some(variant), ..self.inside()?.map(None)? })
    }
}

/// Gathers the items of a list.
struct ListWriter {
    items: List,
    inside: Writer,
    variant: Option<&'static str>,
}

impl ListWriter {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
        let item = item.serialize(self.inside).map_err(|error| {
            let error = error.under(self.items.len());
            self.variant.into_iter().fold(error, ValueError::under)
        })?;
        self.items.push(item);
        Ok(())
    }

    fn finish(self) -> Value {
        tag(self.variant, Value::List(self.items))
    }
}

/// The traits for the kinds of sequences differ in names alone.
macro_rules! sequences {
    ($($kind:ident :: $method:ident),*) => {$(
        impl $kind for ListWriter {
            type Ok = Value;
            type Error = ValueError;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
                self.push(item)
            }

            fn end(self) -> Result<Value, ValueError> {
                Ok(self.finish())
            }
        }
    )*};
}

sequences!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

/// Gathers the fields of a map.
struct MapWriter {
    fields: Map,
    /// The name whose value comes next.
    name: Option<String>,
    inside: Writer,
    variant: Option<&'static str>,
    /// If the first field can be a tag, the tag that belongs to a struct and not to an enum.
    own_tag: Option<&'static str>,
}

impl MapWriter {
    fn insert<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        field: &T,
        inside: Writer,
    ) -> Result<(), ValueError> {
        let inserted = field.serialize(inside).and_then(|field| {
            // Two keys of a Rust map may have the same text, and so may flattened fields.
            let before = self.fields.insert(name, field);
            before.map_or(Ok(()), |_| Err(ValueErrorKind::Duplicate.into()))
        });
        inserted.map_err(|error| {
            let error = error.under(name);
            self.variant.into_iter().fold(error, ValueError::under)
        })
    }

    /// Notes that the field after which this is called is the tag of an enum, if it is.
    #[inline]
    fn note_tag<T: ?Sized>(&mut self, name: &str) {
        if !is_bare_str::<T>() || self.fields.len() != 1 {
            return;
        }
        let tag = self.fields.get(name).and_then(Value::as_str);
        self.inside.buffered |= self.own_tag.is_some() && self.own_tag != tag;
    }

    fn finish(self) -> Value {
        tag(self.variant, Value::Map(self.fields))
    }
}

impl SerializeMap for MapWriter {
    type Ok = Value;
    type Error = ValueError;

    #[track_caller]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        let Writer { buffered, .. } = self.inside.called_by(Location::caller());
        self.name = Some(key.serialize(NameWriter { buffered })?);
        Ok(())
    }

    #[track_caller]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let name = self.name.take().ok_or_else(|| ValueError::custom("a value without its key"))?;
        self.insert(&name, value, self.inside.called_by(Location::caller()))
    }

    #[track_caller]
    fn serialize_entry<K: Serialize + ?Sized, T: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &T,
    ) -> Result<(), ValueError> {
        let inside = self.inside.called_by(Location::caller());
        let name = key.serialize(NameWriter { buffered: inside.buffered })?;
        self.insert(&name, value, inside)?;
        // The tag of a flattened enum is of no concern to the fields beside it.
        if is_bare_str::<K>() && !inside.buffered {
            self.note_tag::<T>(&name);
        }
        Ok(())
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

impl SerializeStruct for MapWriter {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        field: &T,
    ) -> Result<(), ValueError> {
        self.insert(name, field, self.inside)?;
        self.note_tag::<T>(name);
        Ok(())
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

impl SerializeStructVariant for MapWriter {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        field: &T,
    ) -> Result<(), ValueError> {
        self.insert(name, field, self.inside)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}

/// Makes a field name of the key of a Rust map.
struct NameWriter {
    /// serde will read it through its buffer, where keys are strings.
    buffered: bool,
}

type NoName = Impossible<String, ValueError>;

fn no_name<T>() -> Result<T, ValueError> {
    Err(ValueErrorKind::NameNotString.into())
}

/// Keys whose `Display` is the name, and which are parsed from it.
macro_rules! named_by_display {
    ($($method:ident($type:ty)),*) => {$(
        fn $method(self, key: $type) -> Result<String, ValueError> {
            let name = key.to_string();
            match self.buffered {
                true => Err(ValueError::from(ValueErrorKind::NameBuffered).under(name)),
                false => Ok(name),
            }
        }
    )*};
}

impl Serializer for NameWriter {
    type Ok = String;
    type Error = ValueError;
    type SerializeSeq = NoName;
    type SerializeTuple = NoName;
    type SerializeTupleStruct = NoName;
    type SerializeTupleVariant = NoName;
    type SerializeMap = NoName;
    type SerializeStruct = NoName;
    type SerializeStructVariant = NoName;

    named_by_display!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128)
    );

    fn serialize_char(self, key: char) -> Result<String, ValueError> {
        Ok(key.to_string())
    }

    fn serialize_str(self, key: &str) -> Result<String, ValueError> {
        Ok(key.to_owned())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<String, ValueError> {
        Ok(variant.to_owned())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, key: &T) -> Result<String, ValueError> {
        key.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        key: &T,
    ) -> Result<String, ValueError> {
        key.serialize(self)
    }

    fn serialize_f32(self, _key: f32) -> Result<String, ValueError> {
        no_name()
    }

    fn serialize_f64(self, _key: f64) -> Result<String, ValueError> {
        no_name()
    }

    fn serialize_bytes(self, _key: &[u8]) -> Result<String, ValueError> {
        no_name()
    }

    fn serialize_none(self) -> Result<String, ValueError> {
        no_name()
    }

    fn serialize_unit(self) -> Result<String, ValueError> {
        no_name()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<String, ValueError> {
        no_name()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _key: &T,
    ) -> Result<String, ValueError> {
        no_name()
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<NoName, ValueError> {
        no_name()
    }

    fn serialize_tuple(self, _length: usize) -> Result<NoName, ValueError> {
        no_name()
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<NoName, ValueError> {
        no_name()
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<NoName, ValueError> {
        no_name()
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<NoName, ValueError> {
        no_name()
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<NoName, ValueError> {
        no_name()
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<NoName, ValueError> {
        no_name()
    }
}

//! To and from the values of `serde_json`.
//!
//! Both hold the same data but for the limits of a store, so a conversion that succeeds loses
//! nothing: integers and floats keep their kind and all digits. Only the order of fields is not
//! kept, since maps here are in byte order; and of numbers with more digits than a float has, which
//! `serde_json` only keeps with its feature `arbitrary_precision`, the nearest float is taken.

use serde_json::{Map as Object, Number, Value as Json};

use super::check::{check_finite, descend, field_name};
use super::{DEPTH_MAX, List, Map, Value, ValueError, ValueErrorKind};

impl TryFrom<&Json> for Value {
    type Error = ValueError;

    /// Makes a value of a JSON value. Takes **O(n)** for `n` parts.
    ///
    /// # Errors
    /// [`TooDeep`](ValueErrorKind::TooDeep) beyond [`DEPTH_MAX`]; with the feature
    /// `arbitrary_precision` of `serde_json` also
    /// [`IntegerOutOfRange`](ValueErrorKind::IntegerOutOfRange) and
    /// [`NotFinite`](ValueErrorKind::NotFinite).
    ///
    /// # Examples
    /// ```
    /// use serde_json::json;
    /// use triekv::{Value, value};
    ///
    /// let json = json!({ "name": "Mary", "tags": [1, 1.0, u64::MAX] });
    /// let value = Value::try_from(&json)?;
    /// assert_eq!(value, value!({ "name": "Mary", "tags": [1, 1.0, u64::MAX] }));
    /// assert_eq!(serde_json::Value::try_from(&value)?, json);
    /// # Ok::<(), triekv::ValueError>(())
    /// ```
    fn try_from(json: &Json) -> Result<Self, ValueError> {
        from_json(json, DEPTH_MAX)
    }
}

impl TryFrom<Json> for Value {
    type Error = ValueError;

    /// As `Value::try_from(&json)`.
    fn try_from(json: Json) -> Result<Self, ValueError> {
        Value::try_from(&json)
    }
}

impl TryFrom<&Value> for Json {
    type Error = ValueError;

    /// Makes a JSON value of a value. Takes **O(n)** for `n` parts.
    ///
    /// # Errors
    /// What [`Value::check`] refuses: a value of a store always becomes JSON.
    fn try_from(value: &Value) -> Result<Self, ValueError> {
        to_json(value, DEPTH_MAX)
    }
}

impl TryFrom<Value> for Json {
    type Error = ValueError;

    /// As `serde_json::Value::try_from(&value)`.
    fn try_from(value: Value) -> Result<Self, ValueError> {
        Json::try_from(&value)
    }
}

fn from_json(json: &Json, depth_left: usize) -> Result<Value, ValueError> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => from_number(number)?,
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            let depth_left = descend(depth_left)?;
            let item = |(index, item)| {
                from_json(item, depth_left).map_err(|error: ValueError| error.under(index))
            };
            Value::List(items.iter().enumerate().map(item).collect::<Result<List, _>>()?)
        }
        Json::Object(fields) => {
            let depth_left = descend(depth_left)?;
            let field = |(name, field): (_, &Json)| match from_json(field, depth_left) {
                Ok(field) => Ok((name, field)),
                Err(error) => Err(error.under(String::as_str(name))),
            };
            Value::Map(fields.iter().map(field).collect::<Result<Map, _>>()?)
        }
    })
}

fn from_number(number: &Number) -> Result<Value, ValueErrorKind> {
    if let Some(number) = number.as_i64() {
        return Ok(Value::Int(number));
    }
    if let Some(number) = number.as_u64() {
        return Ok(Value::UInt(number));
    }
    if !number.is_f64() {
        return Err(ValueErrorKind::IntegerOutOfRange);
    }
    number.as_f64().map(Value::Float).ok_or(ValueErrorKind::NotFinite)
}

fn to_json(value: &Value, depth_left: usize) -> Result<Json, ValueError> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::from(*number),
        Value::UInt(number) => Json::from(*number),
        Value::Float(number) => Json::from(check_finite(*number)?),
        Value::Str(text) => Json::from(text.as_str()),
        Value::List(items) => {
            let depth_left = descend(depth_left)?;
            let item = |(index, item)| {
                to_json(item, depth_left).map_err(|error: ValueError| error.under(index))
            };
            Json::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Value::Map(fields) => {
            let depth_left = descend(depth_left)?;
            let mut object = Object::new();
            let mut cursor = fields.cursor();
            while let Some((name, field)) = cursor.next() {
                let name = field_name(name)?;
                let field = to_json(field, depth_left).map_err(|error| error.under(name))?;
                object.insert(name.to_owned(), field);
            }
            Json::Object(object)
        }
    })
}

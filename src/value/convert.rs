//! Rust's own types as values.

use std::borrow::Cow;

use super::{List, Map, Str, Value};

impl From<()> for Value {
    fn from((): ()) -> Self {
        Value::Null
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

macro_rules! from_small_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(value: $integer) -> Self {
                Value::Int(i64::from(value))
            }
        }
    )*};
}

from_small_integers!(i8, i16, i32, i64, u8, u16, u32);

impl From<u64> for Value {
    /// Makes an [`Int`](Value::Int) of whatever fits one, and a [`UInt`](Value::UInt) of the rest.
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Value::UInt(value), Value::Int)
    }
}

impl From<isize> for Value {
    fn from(value: isize) -> Self {
        Value::Int(value as i64)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::from(value as u64)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Value::Float(f64::from(value))
    }
}

impl From<f64> for Value {
    /// Takes any float, also those that are not finite: [`Value::check`] refuses them before they
    /// are stored.
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<char> for Value {
    fn from(value: char) -> Self {
        Value::Str(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Str(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Str(value.into())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Value::Str(value.into())
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(value: Cow<'_, str>) -> Self {
        Value::Str(value.into())
    }
}

impl From<Str> for Value {
    fn from(value: Str) -> Self {
        Value::Str(value)
    }
}

impl From<List> for Value {
    fn from(items: List) -> Self {
        Value::List(items)
    }
}

impl From<Map> for Value {
    fn from(fields: Map) -> Self {
        Value::Map(fields)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Value {
    fn from(items: [T; N]) -> Self {
        items.into_iter().collect()
    }
}

impl<T: Clone + Into<Value>> From<&[T]> for Value {
    fn from(items: &[T]) -> Self {
        items.iter().cloned().collect()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    /// Makes `null` of `None`.
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<&Value> for Value {
    fn from(value: &Value) -> Self {
        value.clone()
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    /// Collects a list.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

impl<K: AsRef<[u8]>, T: Into<Value>> FromIterator<(K, T)> for Value {
    /// Collects a map; the last field of a name wins.
    fn from_iter<I: IntoIterator<Item = (K, T)>>(fields: I) -> Self {
        Value::Map(fields.into_iter().map(|(name, field)| (name, field.into())).collect())
    }
}

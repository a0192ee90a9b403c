//! The `value!` macro.

/// Makes a [`Value`](crate::value::Value) from text that looks like JSON.
///
/// Lists stand in brackets, maps in braces, `null` is null, and anything else is a Rust expression
/// of a type that converts into a value. A field name is a literal, a constant or an expression in
/// parentheses; the last field of a name wins. Commas may trail.
///
/// # Examples
/// ```
/// use triekv::value;
///
/// let city = String::from("Athens");
/// let person = value!({
///     "name": "Mary",
///     "age": 2 * 11,
///     "address": { "city": city, ("zip".to_uppercase()): null },
///     "tags": ["a", 1, -0.5, true, []],
/// });
/// assert_eq!(person.get("age"), Some(&value!(22)));
/// ```
#[macro_export]
macro_rules! value {
    // A map, field by field: the variable, then the fields that are left.
    (@map $map:ident) => {};
    (@map $map:ident $name:tt : null $(, $($rest:tt)*)?) => {
        $map.insert($name, $crate::value::Value::Null);
        $crate::value!(@map $map $($($rest)*)?);
    };
    (@map $map:ident $name:tt : [$($item:tt)*] $(, $($rest:tt)*)?) => {
        $map.insert($name, $crate::value!([$($item)*]));
        $crate::value!(@map $map $($($rest)*)?);
    };
    (@map $map:ident $name:tt : {$($field:tt)*} $(, $($rest:tt)*)?) => {
        $map.insert($name, $crate::value!({$($field)*}));
        $crate::value!(@map $map $($($rest)*)?);
    };
    (@map $map:ident $name:tt : $value:expr $(, $($rest:tt)*)?) => {
        $map.insert($name, $crate::value::Value::from($value));
        $crate::value!(@map $map $($($rest)*)?);
    };

    // A list: the items that are done, then those that are left.
    (@list [$($done:expr),*]) => {
        $crate::value::Value::List($crate::value::List::from([$($done),*]))
    };
    (@list [$($done:expr),*] null $(, $($rest:tt)*)?) => {
        $crate::value!(@list [$($done,)* $crate::value::Value::Null] $($($rest)*)?)
    };
    (@list [$($done:expr),*] [$($item:tt)*] $(, $($rest:tt)*)?) => {
        $crate::value!(@list [$($done,)* $crate::value!([$($item)*])] $($($rest)*)?)
    };
    (@list [$($done:expr),*] {$($field:tt)*} $(, $($rest:tt)*)?) => {
        $crate::value!(@list [$($done,)* $crate::value!({$($field)*})] $($($rest)*)?)
    };
    (@list [$($done:expr),*] $value:expr $(, $($rest:tt)*)?) => {
        $crate::value!(@list [$($done,)* $crate::value::Value::from($value)] $($($rest)*)?)
    };

    (null) => { $crate::value::Value::Null };
    ([$($item:tt)*]) => { $crate::value!(@list [] $($item)*) };
    ({}) => { $crate::value::Value::Map($crate::value::Map::new()) };
    ({$($field:tt)+}) => {{
        let mut map = $crate::value::Map::new();
        $crate::value!(@map map $($field)+);
        $crate::value::Value::Map(map)
    }};
    ($value:expr) => { $crate::value::Value::from($value) };
}

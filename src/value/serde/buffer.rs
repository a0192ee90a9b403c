//! Tells where serde will read through a buffer of its own.
//!
//! serde reads an internally tagged enum, a flattened field and an untagged enum in two steps: the
//! content goes into a buffer, and the type is made from there. The buffer holds no 128-bit
//! integers. It holds the keys of maps as strings, and makes no integer or boolean of a string. A
//! type that needs either could be written and never be read, so the writer refuses it there.
//!
//! The `Serializer` trait has no call for this. Two marks tell it:
//! - The call comes from the file of serde in which its wrappers stand, that of flattened fields and
//!   that of newtype variants with an internal tag.
//! - The first field is a bare `str`. A derived implementation passes references to the fields of
//!   its struct, which are sized, and passes a `str` for the internal tag alone.
//!
//! A mark that is lost, by another serde or a serializer in between, costs the refusal and nothing
//! else. An untagged enum leaves no mark, since it writes the content of the variant and no more.

use std::any::type_name;
use std::panic::Location;

/// Returns whether the call comes from one of the wrappers of serde.
#[inline]
pub(super) fn by_wrapper(caller: &Location<'_>) -> bool {
    let file = caller.file().as_bytes();
    let package = file.strip_suffix(b"/src/private/ser.rs");
    package.or_else(|| file.strip_suffix(br"\src\private\ser.rs")).is_some_and(|path| {
        let start = path.iter().rposition(|byte| matches!(byte, b'/' | b'\\'));
        path[start.map_or(0, |slash| slash + 1)..].starts_with(b"serde")
    })
}

/// Returns whether the type is `str`, of which the internal tags of derived implementations are.
#[inline]
pub(super) fn is_bare_str<T: ?Sized>() -> bool {
    size_of::<&T>() == size_of::<&str>() && type_name::<T>() == type_name::<str>()
}

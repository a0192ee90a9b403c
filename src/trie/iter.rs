//! The iterators over a trie. Each is a [walk](super::walk) and what it makes of a step.

use super::walk::{Mutable, Owned, Shared};
use std::fmt;
use std::iter::FusedIterator;

/// Declares an iterator over the walk of the given type, whose items are made from the walk's key
/// (as a closure that copies it) and its value. The last word says whether its length is known.
macro_rules! iterator {
    (
        $(#[$attribute:meta])*
        $name:ident<$($parameter:tt),*>, $walk:ty,
        |$key:ident, $value:ident| $item:expr => $item_type:ty, $length:ident
    ) => {
        $(#[$attribute])*
        #[must_use = "iterators are lazy and do nothing unless consumed"]
        pub struct $name<$($parameter),*> {
            pub(super) walk: $walk,
        }

        impl<$($parameter),*> Iterator for $name<$($parameter),*> {
            type Item = $item_type;

            fn next(&mut self) -> Option<Self::Item> {
                let $value = self.walk.step()?;
                let $key = || self.walk.front_key().to_vec();
                Some($item)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                iterator!(size_hint $length self.walk.len_max())
            }

            fn last(mut self) -> Option<Self::Item> {
                self.next_back()
            }
        }

        impl<$($parameter),*> DoubleEndedIterator for $name<$($parameter),*> {
            fn next_back(&mut self) -> Option<Self::Item> {
                let $value = self.walk.step_back()?;
                let $key = || self.walk.back_key().to_vec();
                Some($item)
            }
        }

        impl<$($parameter),*> FusedIterator for $name<$($parameter),*> {}

        iterator!(length $length $name<$($parameter),*>);
    };
    (size_hint exact $len:expr) => { ($len, Some($len)) };
    (size_hint bounded $len:expr) => { (0, Some($len)) };
    (length exact $name:ident<$($parameter:tt),*>) => {
        impl<$($parameter),*> ExactSizeIterator for $name<$($parameter),*> {}
    };
    (length bounded $name:ident<$($parameter:tt),*>) => {};
}

/// For the iterators that can't be walked without being spent.
macro_rules! debug_opaque {
    ($($name:ident<$($parameter:tt),*>),* $(,)?) => {$(
        impl<$($parameter),*> fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("len_max", &self.walk.len_max())
                    .finish_non_exhaustive()
            }
        }
    )*};
}

iterator! {
    /// Iterator over the entries of a trie in key order. See [`Trie::iter`](super::Trie::iter).
    Iter<'a, V>, Shared<'a, V>, |key, value| (key(), value) => (Vec<u8>, &'a V), exact
}
iterator! {
    /// Iterator over the entries of a trie in key order, with mutable values. See
    /// [`Trie::iter_mut`](super::Trie::iter_mut).
    IterMut<'a, V>, Mutable<'a, V>, |key, value| (key(), value) => (Vec<u8>, &'a mut V), exact
}
iterator! {
    /// Iterator that owns the entries of a trie, in key order. See
    /// [`Trie::into_iter`](super::Trie#method.into_iter).
    IntoIter<V>, Owned<V>, |key, value| (key(), value) => (Vec<u8>, V), exact
}
iterator! {
    /// Iterator over the keys of a trie, in order. See [`Trie::keys`](super::Trie::keys).
    Keys<'a, V>, Shared<'a, V>, |key, _value| key() => Vec<u8>, exact
}
iterator! {
    /// Iterator over the keys of a trie that it consumes, in order. See
    /// [`Trie::into_keys`](super::Trie::into_keys).
    IntoKeys<V>, Owned<V>, |key, _value| key() => Vec<u8>, exact
}
iterator! {
    /// Iterator over the values of a trie, in the order of their keys. See
    /// [`Trie::values`](super::Trie::values).
    Values<'a, V>, Shared<'a, V>, |_key, value| value => &'a V, exact
}
iterator! {
    /// Iterator over mutable values of a trie, in the order of their keys. See
    /// [`Trie::values_mut`](super::Trie::values_mut).
    ValuesMut<'a, V>, Mutable<'a, V>, |_key, value| value => &'a mut V, exact
}
iterator! {
    /// Iterator that owns the values of a trie, in the order of their keys. See
    /// [`Trie::into_values`](super::Trie::into_values).
    IntoValues<V>, Owned<V>, |_key, value| value => V, exact
}
iterator! {
    /// Iterator over a part of the entries of a trie, in key order. See
    /// [`Trie::range`](super::Trie::range) and [`Trie::prefix`](super::Trie::prefix).
    Range<'a, V>, Shared<'a, V>, |key, value| (key(), value) => (Vec<u8>, &'a V), bounded
}
iterator! {
    /// Iterator over a part of the entries of a trie, in key order, with mutable values. See
    /// [`Trie::range_mut`](super::Trie::range_mut) and
    /// [`Trie::prefix_mut`](super::Trie::prefix_mut).
    RangeMut<'a, V>, Mutable<'a, V>, |key, value| (key(), value) => (Vec<u8>, &'a mut V), bounded
}

/// For the iterators over shared values: a copy, and `Debug`, which shows what is left.
macro_rules! shared {
    ($($name:ident<V $(: $bound:path)?> => $debug:path),* $(,)?) => {$(
        impl<V> Clone for $name<'_, V> {
            fn clone(&self) -> Self {
                Self { walk: self.walk.clone() }
            }
        }

        impl<V $(: $bound)?> fmt::Debug for $name<'_, V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $debug(self.walk.clone(), f)
            }
        }
    )*};
}

shared!(
    Iter<V: fmt::Debug> => debug_entries,
    Keys<V> => debug_keys,
    Values<V: fmt::Debug> => debug_values,
    Range<V: fmt::Debug> => debug_entries,
);
debug_opaque!(
    IterMut<'a, V>,
    IntoIter<V>,
    IntoKeys<V>,
    ValuesMut<'a, V>,
    IntoValues<V>,
    RangeMut<'a, V>,
);

/// A key as text if it is text, and as a byte string if not.
struct KeyText<'a>(&'a [u8]);

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(self.0) {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => write!(f, "b\"{}\"", self.0.escape_ascii()),
        }
    }
}

pub(super) fn debug_entries<V: fmt::Debug>(
    mut walk: Shared<'_, V>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut map = f.debug_map();
    while let Some(value) = walk.step() {
        map.entry(&KeyText(walk.front_key()), value);
    }
    map.finish()
}

fn debug_keys<V>(mut walk: Shared<'_, V>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut list = f.debug_list();
    while walk.step().is_some() {
        list.entry(&KeyText(walk.front_key()));
    }
    list.finish()
}

fn debug_values<V: fmt::Debug>(mut walk: Shared<'_, V>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut list = f.debug_list();
    while let Some(value) = walk.step() {
        list.entry(value);
    }
    list.finish()
}

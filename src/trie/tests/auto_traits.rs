//! Which types may be sent to and shared with other threads.

use super::super::*;
use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::MutexGuard;

/// Whether a type has an auto trait: an inherent constant, if its bound holds, goes before one of a
/// trait that every type has.
macro_rules! is {
    ($auto:ident, $type:ty) => {{
        #[allow(dead_code, reason = "unused if the inherent one is there")]
        trait Otherwise {
            const IS: bool = false;
        }
        impl<T> Otherwise for T {}
        struct Asked<T>(PhantomData<T>);
        #[allow(dead_code, reason = "unused if the type hasn't the trait")]
        impl<T: $auto> Asked<T> {
            const IS: bool = true;
        }
        <Asked<$type>>::IS
    }};
}

/// Whether each type is `Send`, and whether it is `Sync`.
macro_rules! send_and_sync {
    ($($type:ty),* $(,)?) => { [$((is!(Send, $type), is!(Sync, $type))),*] };
}

type Pick<V> = fn(&[u8], &mut V) -> bool;

macro_rules! owners {
    ($value:ty) => {
        send_and_sync!(
            Trie<$value>,
            Trie<Trie<$value>>,
            IntoIter<$value>,
            IntoKeys<$value>,
            IntoValues<$value>,
            IterMut<'static, $value>,
            ValuesMut<'static, $value>,
            RangeMut<'static, $value>,
            Entry<'static, &'static str, $value>,
            OccupiedEntry<'static, &'static str, $value>,
            VacantEntry<'static, &'static str, $value>,
            ExtractIf<'static, $value, Pick<$value>>,
        )
    };
}

macro_rules! readers {
    ($value:ty) => {
        send_and_sync!(
            &'static Trie<$value>,
            Iter<'static, $value>,
            Keys<'static, $value>,
            Values<'static, $value>,
            Range<'static, $value>,
            Cursor<'static, $value>,
            Prefixes<'static, 'static, $value>,
        )
    };
}

#[test]
fn what_owns_values_or_writes_them_is_as_send_and_sync_as_they() {
    assert!(owners!(u8).iter().all(|is| *is == (true, true)));
    assert!(owners!(Cell<u8>).iter().all(|is| *is == (true, false)));
    assert!(owners!(MutexGuard<'static, u8>).iter().all(|is| *is == (false, true)));
    assert!(owners!(Rc<u8>).iter().all(|is| *is == (false, false)));
    assert!(owners!(*const u8).iter().all(|is| *is == (false, false)));
}

#[test]
fn what_reads_values_is_sent_and_shared_if_they_may_be_shared() {
    assert!(readers!(u8).iter().all(|is| *is == (true, true)));
    assert!(readers!(Cell<u8>).iter().all(|is| *is == (false, false)));
    assert!(readers!(MutexGuard<'static, u8>).iter().all(|is| *is == (true, true)));
    assert!(readers!(Rc<u8>).iter().all(|is| *is == (false, false)));
}

#[test]
fn an_entry_is_as_send_and_sync_as_its_key() {
    let entries = send_and_sync!(
        Entry<'static, Rc<str>, u8>,
        OccupiedEntry<'static, Rc<str>, u8>,
        VacantEntry<'static, Rc<str>, u8>,
    );
    assert_eq!(entries, [(false, false); 3]);
}

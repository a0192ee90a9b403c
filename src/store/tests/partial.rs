//! Partial writes: what they leave, and what is refused.

use super::disk::open;
use super::refused;
use crate::log::MemoryDisk;
use crate::parser::{Command, parse_path};
use crate::store::*;
use crate::value;
use crate::value::{DEPTH_MAX, EditErrorKind, ValueErrorKind};

fn path(text: &str) -> Path {
    parse_path(text).unwrap()
}

fn set(at: &str, value: Value) -> Command {
    Command::Set { path: path(at), value, condition: Condition::Always }
}

#[test]
fn a_partial_write_is_a_write_of_the_record() {
    let store = Store::in_memory();
    let put = store.set("p.address.city", value!("Athens")).unwrap();
    assert_eq!(put, Put { version: 1, created: true });
    let before = store.snapshot();
    // The same again counts, as a put does.
    let again = store.set("p.address.city", value!("Athens")).unwrap();
    assert_eq!(again, Put { version: 2, created: false });
    let merged = store.merge("p", value!({ "address": { "zip": 1 }, "age": null })).unwrap();
    assert_eq!(merged, Put { version: 3, created: false });
    assert_eq!(
        store.get("p").unwrap(),
        Record { version: 3, value: value!({ "address": { "city": "Athens", "zip": 1 } }) }
    );
    assert!(store.remove("p.address.city").unwrap());
    assert_eq!(store.get("p").unwrap().version, 4);
    assert!(!store.remove("p.address.city").unwrap());
    assert!(!store.remove("p.address.city.x").unwrap());
    assert!(!store.remove("nobody.address").unwrap());
    assert_eq!(store.stats().writes, 4);
    let value = value!({ "address": { "city": "Athens" } });
    assert_eq!(before.get("p"), Some(&Record { version: 1, value }));
    assert!(store.remove("p").unwrap() && store.is_empty());
    assert!(!store.remove("p").unwrap());
    assert_eq!(store.stats().writes, 5);
}

#[test]
fn a_write_without_steps_is_on_the_whole_record() {
    let store = Store::in_memory();
    assert!(store.set("p", value!({ "a": 1 })).unwrap().created);
    assert!(!store.merge("p", value!({ "b": 2 })).unwrap().created);
    assert_eq!(store.get("p").unwrap().value, value!({ "a": 1, "b": 2 }));
    for value in [value!(1), value!(null), value!([])] {
        assert_eq!(refused(store.set("p", value.clone())), CommandError::NotAMap);
        assert_eq!(refused(store.merge("p", value.clone())), CommandError::NotAMap);
        assert_eq!(refused(store.merge("new", value)), CommandError::NotAMap);
    }
    assert_eq!(store.get("p").unwrap().value, value!({ "a": 1, "b": 2 }));
    assert_eq!(store.len(), 1);
}

#[test]
fn a_merge_at_a_place_is_one_into_what_is_there() {
    let store = Store::in_memory();
    store.merge("p.new.place", value!({ "a": null, "b": { "c": null } })).unwrap();
    assert_eq!(store.get("p").unwrap().value, value!({ "new": { "place": { "b": {} } } }));
    store.merge("p.new.place.b", value!([null])).unwrap();
    store.merge("p.new.gone", value!(null)).unwrap();
    let value = value!({ "new": { "place": { "b": [null] }, "gone": null } });
    assert_eq!(store.get("p").unwrap().value, value);
}

#[test]
fn a_partial_write_that_cannot_be_made_changes_nothing() {
    let store = Store::in_memory();
    store.put("p", value!({ "name": "Mary", "tags": [1] })).unwrap();
    let before = store.snapshot();
    for at in ["p.name.first", "p.tags[2]", "p[0]", "new[0]", "p.tags.x", "p.new[1]"] {
        let CommandError::Place(error) = refused(store.set(at, value!(1))) else {
            panic!("{at} was refused for another reason")
        };
        let merged = refused(store.merge(at, value!({ "a": 1 })));
        assert_eq!(merged, CommandError::Place(error));
    }
    let CommandError::Place(error) = refused(store.set("p.name.first", value!(1))) else {
        panic!("another reason")
    };
    assert_eq!(error.kind(), &EditErrorKind::NotAMap { found: value::Kind::Str });
    assert!(matches!(store.set("p[", value!(1)), Err(StoreError::Path(_))));
    assert!(matches!(store.merge("p..a", value!(1)), Err(StoreError::Path(_))));
    assert!(matches!(store.remove(""), Err(StoreError::Path(_))));
    let error = refused(store.set_path(&Path::new("").join("a"), value!(1), Condition::Always));
    assert_eq!(error, CommandError::EmptyKey);
    assert_eq!(store.snapshot(), before);
}

#[test]
fn a_condition_is_one_on_the_record() {
    let store = Store::in_memory();
    let conflict = |condition, found| CommandError::Conflict { condition, found };
    let (place, absent, first) = (path("p.n"), Condition::IfAbsent, Condition::IfVersion(1));
    assert_eq!(refused(store.set_path(&place, value!(1), first)), conflict(first, None));
    assert_eq!(refused(store.remove_path(&place, first)), conflict(first, None));
    assert!(!store.remove_path(&place, absent).unwrap());
    assert!(store.set_path(&place, value!(1), absent).unwrap().created);
    assert_eq!(refused(store.merge_path(&place, value!(2), absent)), conflict(absent, Some(1)));
    assert_eq!(store.merge_path(&place, value!(2), first).unwrap().version, 2);
    assert_eq!(refused(store.remove_path(&place, first)), conflict(first, Some(2)));
    assert!(store.remove_path(&place, Condition::IfVersion(2)).unwrap());
    assert_eq!(store.get("p").unwrap(), Record { version: 3, value: value!({}) });
}

#[test]
fn a_record_is_as_deep_as_the_limit_and_no_deeper() {
    let nested = |levels: usize| (0..levels).fold(value!(1), |inside, _| value!([inside]));
    let store = Store::in_memory();
    for steps in [1, 2, DEPTH_MAX - 1, DEPTH_MAX] {
        let place = (0..steps).fold(Path::new("p"), |path, _| path.join("a"));
        let deepest = nested(DEPTH_MAX - steps);
        for (put, merged) in [(nested(DEPTH_MAX + 1 - steps), false), (deepest.clone(), true)] {
            let outcome = store.set_path(&place, put.clone(), Condition::Always);
            assert_eq!(outcome.is_ok(), merged);
            store.delete("p").unwrap();
            let outcome = store.merge_path(&place, put, Condition::Always);
            if !merged {
                let CommandError::Value(error) = refused(outcome) else { panic!("{steps}") };
                assert_eq!(error.kind(), &ValueErrorKind::TooDeep { limit: DEPTH_MAX });
                assert_eq!(error.steps().len(), DEPTH_MAX);
            }
        }
        let record = store.get("p").unwrap().value;
        assert_eq!((record.check(), record.depth()), (Ok(()), DEPTH_MAX));
        store.delete("p").unwrap();
    }
    let beyond = (0..=DEPTH_MAX).fold(Path::new("p"), |path, _| path.join("a"));
    let error = refused(store.set_path(&beyond, value!(1), Condition::Always));
    assert!(matches!(error, CommandError::Value(_)));
    let error = refused(store.set("p.a", value!({ "x": f64::NAN })));
    assert_eq!(error.to_string(), "the value cannot be stored");
    let CommandError::Value(error) = error else { panic!("another reason") };
    assert_eq!(error.to_string(), "a.x: the number is not finite");
}

#[test]
fn a_record_is_as_large_as_the_limit_and_no_larger() {
    let mut documents = Documents::new();
    documents.apply(set("p.a", value!("x".repeat(100)))).unwrap();
    let len = postcard::to_stdvec(&documents.get("p").unwrap().value).unwrap().len();
    // A field of one byte takes its name, its kind and itself, with a length each time.
    let more = set("p.b", value!("x"));
    let limit = len + 5;
    let error = documents.apply_within(limit - 1, more.clone()).unwrap_err();
    assert_eq!(error, CommandError::RecordTooLarge { len: limit, limit: limit - 1 });
    assert_eq!(documents.version(), 1);
    documents.apply_within(limit, more).unwrap();
    let encoded = postcard::to_stdvec(&documents.get("p").unwrap().value).unwrap();
    assert_eq!(encoded.len(), limit);
    let patch = Command::Merge {
        path: path("p"),
        patch: value!({ "a": "", "c": "x" }),
        condition: Condition::Always,
    };
    documents.apply_within(limit, patch).unwrap();
}

#[test]
fn partial_writes_are_there_when_the_store_is_opened_again() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    store.set("p.a[0]", value!({ "x": 1 })).unwrap();
    store.merge("p", value!({ "b": 2, "c": 3 })).unwrap();
    refused(store.set("p.b.x", value!(1)));
    let batch = vec![
        set("p.d", value!(4)),
        Command::Remove { path: path("p.c"), condition: Condition::IfVersion(3) },
        Command::Remove { path: path("p.nothing"), condition: Condition::Always },
        set("q.a", value!(null)),
    ];
    let (put, created) = (|version, created| Reply::Put(Put { version, created }), true);
    assert_eq!(
        store.batch(batch).unwrap(),
        [put(3, false), Reply::Deleted(true), Reply::Deleted(false), put(5, created)]
    );
    let late = vec![set("p.e", value!(5)), set("p.d.x", value!(5))];
    let late = store.batch(late);
    assert!(matches!(late, Err(StoreError::Batch { position: 1, source: CommandError::Place(_) })));
    let expected = store.snapshot();
    assert_eq!(expected.get("p").unwrap().value, value!({ "a": [{ "x": 1 }], "b": 2, "d": 4 }));
    drop(store);
    disk.power_cut(1);
    let store = open(&disk);
    assert_eq!(store.snapshot(), expected);
    store.verify().unwrap();
}

#[test]
fn partial_writes_are_encoded_as_ever() {
    let path = Path::new("k").join("a").join(1);
    let place = [1, b'k', 2, 0, 1, b'a', 1, 1];
    let always = [0];
    // A number of the command, the place, the value (Int 5 is 2 and its zigzag), the condition.
    let commands = [
        (Command::Set { path: path.clone(), value: value!(5), condition: Condition::Always }, 4),
        (Command::Merge { path: path.clone(), patch: value!(5), condition: Condition::Always }, 5),
    ];
    for (command, number) in commands {
        let expected = [&[number][..], &place, &[2, 10], &always].concat();
        assert_eq!(postcard::to_stdvec(&command).unwrap(), expected);
        assert_eq!(postcard::from_bytes::<Command>(&expected), Ok(command));
    }
    let remove = Command::Remove { path, condition: Condition::IfVersion(300) };
    let expected = [&[6][..], &place, &[2, 0xAC, 2]].concat();
    assert_eq!(postcard::to_stdvec(&remove).unwrap(), expected);
    assert_eq!(postcard::from_bytes::<Command>(&expected), Ok(remove));
}

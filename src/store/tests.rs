use proptest::prelude::*;

use super::*;
use crate::parser::parse_path;
use crate::value;
use crate::value::ValueErrorKind;

mod disk;
mod faults;
mod model;
mod partial;

/// Why a command was refused.
fn refused<T: fmt::Debug>(outcome: Result<T, StoreError>) -> CommandError {
    match outcome.unwrap_err() {
        StoreError::Command(error) => error,
        error => panic!("{error:?}"),
    }
}

#[test]
fn versions_grow_with_every_write_and_only_with_writes() {
    let store = Store::in_memory();
    assert_eq!(store.put("a", value!({})).unwrap(), Put { version: 1, created: true });
    assert_eq!(store.put("b", value!({})).unwrap(), Put { version: 2, created: true });
    assert_eq!(store.put("a", value!({})).unwrap(), Put { version: 3, created: false });
    assert!(!store.delete("nobody").unwrap());
    store.put("c", value!(5)).unwrap_err();
    assert!(store.delete("a").unwrap());
    assert_eq!(store.put("a", value!({})).unwrap(), Put { version: 5, created: true });
    assert_eq!(store.get("b").unwrap().version, 2);
}

#[test]
fn a_put_whose_condition_does_not_hold_changes_nothing() {
    let store = Store::in_memory();
    let missing = refused(store.put_if("a", value!({}), Condition::IfVersion(0)));
    let condition = Condition::IfVersion(0);
    assert_eq!(missing, CommandError::Conflict { condition, found: None });
    assert!(store.is_empty());
    store.put_if("a", value!({ "n": 1 }), Condition::IfAbsent).unwrap();
    let taken = refused(store.put_if("a", value!({ "n": 2 }), Condition::IfAbsent));
    assert_eq!(taken, CommandError::Conflict { condition: Condition::IfAbsent, found: Some(1) });
    assert_eq!(
        taken.to_string(),
        "the condition of the write does not hold, the record has version 1"
    );
    assert_eq!(store.query("a.n").unwrap(), Some(Value::from(1)));
}

#[test]
fn keys_and_values_that_cannot_be_stored_are_refused() {
    let store = Store::in_memory();
    let longest = "k".repeat(KEY_BYTES_MAX);
    store.put(&longest, value!({})).unwrap();
    let error = refused(store.put(&format!("{longest}k"), value!({})));
    let (len, limit) = (KEY_BYTES_MAX + 1, KEY_BYTES_MAX);
    assert_eq!(error, CommandError::KeyTooLong { len, limit });
    assert_eq!(refused(store.put("", value!({}))), CommandError::EmptyKey);
    assert_eq!(refused(store.put("a", value!([1]))), CommandError::NotAMap);
    let error = refused(store.put("a", value!({ "x": f64::NAN })));
    let CommandError::Value(error) = error else { panic!("{error}") };
    assert!(matches!(error.kind(), ValueErrorKind::NotFinite));
    assert_eq!(store.len(), 1);
}

#[test]
fn apply_answers_each_command() {
    let store = Store::in_memory();
    let key = || "a".to_owned();
    let put = |value| Command::Put { key: key(), value, condition: Condition::Always };
    let reply = store.apply(put(value!({ "x": [1, 2] }))).unwrap();
    assert_eq!(reply, Reply::Put(Put { version: 1, created: true }));
    assert!(store.apply(put(value!(1))).is_err());
    let record = Record { version: 1, value: value!({ "x": [1, 2] }) };
    assert_eq!(store.apply(Command::Get { key: key() }).unwrap(), Reply::Record(Some(record)));
    let path = parse_path("a.x[1]").unwrap();
    assert_eq!(store.apply(Command::Query { path }).unwrap(), Reply::Value(Some(value!(2))));
    assert_eq!(store.apply(Command::Delete { key: key() }).unwrap(), Reply::Deleted(true));
    assert_eq!(store.apply(Command::Get { key: key() }).unwrap(), Reply::Record(None));
}

#[test]
fn a_token_holds_although_its_record_is_gone() {
    let store = Store::in_memory();
    for key in ["p1", "p2", "p3", "q"] {
        store.put(key, value!({})).unwrap();
    }
    let page = Page::first(2);
    let first = store.scan("p", &page);
    assert_eq!(first.entries.len(), 2);
    store.delete("p2").unwrap();
    let second = store.scan("p", &page.after(first.next.unwrap()));
    assert_eq!(second.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(), ["p3"]);
    assert_eq!(second.next, None);
    assert_eq!(store.prefix("p").count(), 2);
    assert_eq!(store.prefix("").count(), 3);
    assert_eq!(store.prefix("x").count(), 0);
}

#[test]
fn a_page_ends_with_the_record_that_passes_its_bytes() {
    let store = Store::in_memory();
    for key in ["a", "b", "c"] {
        store.put(key, value!({ "text": "x".repeat(100) })).unwrap();
    }
    let page = |bytes| store.scan("", &Page::first(10).bytes_max(bytes)).entries.len();
    assert_eq!([page(0), page(150), page(1000)], [1, 2, 3]);
}

#[test]
fn many_threads_share_a_store() {
    let store = Store::in_memory();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..100 {
                    store.put(&format!("{thread}-{n}"), value!({ "n": n })).unwrap();
                }
            });
        }
    });
    assert_eq!(store.len(), 400);
    assert_eq!(store.get("3-99").unwrap().value, value!({ "n": 99 }));
}

/// Reads everything below `prefix` from stores that share the keys out, page by page.
fn read_all(stores: &[Documents], prefix: &str, limit: usize, bytes_max: usize) -> Vec<String> {
    let mut keys = Vec::new();
    let mut page = Page::first(limit).bytes_max(bytes_max);
    loop {
        let pages = stores.iter().map(|store| store.scan(prefix, &page)).collect();
        let merged = ScanPage::merge(pages, limit);
        assert!(merged.entries.len() <= limit);
        keys.extend(merged.entries.into_iter().map(|entry| entry.key));
        match merged.next {
            Some(next) => page = page.after(next),
            None => return keys,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merged_pages_hold_every_key_once_in_order(
        keys in proptest::collection::btree_map("[ab]{1,4}", 0..3_usize, 0..40),
        prefix in "[ab]{0,2}",
        limit in 1..6_usize,
        bytes_max in 0..60_usize,
    ) {
        let mut stores = vec![Documents::new(); 3];
        for (key, store) in &keys {
            stores[*store].put(key, value!({}), Condition::Always).unwrap();
        }
        let expected: Vec<&String> = keys.keys().filter(|key| key.starts_with(&prefix)).collect();
        let read = read_all(&stores, &prefix, limit, bytes_max);
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn equal_commands_give_equal_states_and_replies(
        commands in proptest::collection::vec(("[ab]{0,2}", 0..4_u8, 0..6_u64), 0..40),
    ) {
        let run = || {
            let mut documents = Documents::new();
            let replies: Vec<_> = commands
                .iter()
                .map(|(key, kind, n)| {
                    let key = key.clone();
                    documents.apply(match kind {
                        0 => Command::Delete { key },
                        1 => Command::Get { key },
                        kind => {
                            let condition =
                                if *kind == 2 { Condition::Always } else { Condition::IfVersion(*n) };
                            Command::Put { key, value: value!({ "n": *n }), condition }
                        }
                    })
                })
                .collect();
            (documents, replies)
        };
        prop_assert_eq!(run(), run());
    }
}

//! Values as large and as deep as somebody may send them.

use triekv::parser::{ParseErrorKind, parse_json, parse_value};
use triekv::value::DEPTH_MAX;
use triekv::{Store, Value, value};

const MIB: usize = 1 << 20;

#[test]
fn a_million_levels_are_refused_at_the_first_that_is_too_deep() {
    for (open, levels) in [("[", 1), (r#"{"a":"#, 1), (r#"[{"a":"#, 2)] {
        let text = open.repeat(1_000_000 / levels);
        for refused in [parse_value(&text), parse_json(&text)] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), &ParseErrorKind::TooDeep { limit: DEPTH_MAX });
            assert!(error.offset() <= DEPTH_MAX * open.len());
        }
    }
    // The same in the bytes of a record: a list of one item each time, or a map of one field.
    for level in [&[6, 1][..], &[7, 1, 1, b'a'][..]] {
        assert!(postcard::from_bytes::<Value>(&level.repeat(1_000_000)).is_err());
        let deepest = [level.repeat(DEPTH_MAX), vec![0]].concat();
        assert_eq!(postcard::from_bytes::<Value>(&deepest).unwrap().depth(), DEPTH_MAX);
        let too_deep = [level.repeat(DEPTH_MAX + 1), vec![0]].concat();
        assert!(postcard::from_bytes::<Value>(&too_deep).is_err());
    }
}

#[test]
fn a_string_of_64_mib_is_a_string() {
    let string = "0123456789abcde\n".repeat(4 * MIB);
    let value = value!({ "text": string.as_str() });
    let text = value.to_text();
    assert_eq!(text.len(), r#"{"text": ""}"#.len() + 17 * 4 * MIB);
    let read = parse_value(&text).unwrap();
    assert_eq!(read.get("text").and_then(Value::as_str), Some(string.as_str()));

    let store = Store::in_memory();
    store.put("a", read).unwrap();
    assert_eq!(store.query("a.text").unwrap(), value.get("text").cloned());
}

#[test]
fn a_map_of_a_million_names_is_a_map() {
    // Downwards, so that none of them is where it belongs.
    let names = (0..1_000_000).rev();
    let fields: Vec<String> = names.map(|n| format!("\"field{n:06}\":{n}")).collect();
    for (text, separator) in [(fields.join(";"), "; "), (fields.join(","), ",")] {
        let text = format!("{{{text}}}");
        let read = if separator == "," { parse_json(&text) } else { parse_value(&text) };
        let value = read.unwrap();
        let map = value.as_map().unwrap();
        assert_eq!(map.len(), 1_000_000);
        assert!(map.values().enumerate().all(|(n, field)| *field == Value::from(n)));
        let printed = if separator == "," { value.to_json().unwrap() } else { value.to_text() };
        assert_eq!(printed.matches(separator).count(), 999_999);
    }
}

#[cfg(feature = "cluster")]
#[tokio::test]
async fn a_cluster_says_how_large_a_record_may_be() {
    use triekv::replication::COMMAND_BYTES_MAX;
    use triekv::{BrokerError, Cluster};

    let cluster = Cluster::embedded(1).copies(1).start().await.unwrap();
    let refused = cluster.broker().put("a", value!({ "text": "x".repeat(64 * MIB) })).await;
    let Err(BrokerError::CommandTooLarge { len, limit: COMMAND_BYTES_MAX }) = refused else {
        panic!("{refused:?}")
    };
    assert!(len > 64 * MIB);
    assert!(cluster.broker().is_empty().await.unwrap());
}

//! What has to hold once all is well again, besides the history.

use std::collections::BTreeMap;

use triekv::store::Record;

/// All records, by key; `None` for one that is absent.
pub(super) type Records = BTreeMap<String, Option<Record>>;

/// Whether each write that was acknowledged, to a key that nobody wrote to again, is there.
pub(super) fn check_durable(
    acknowledged: &BTreeMap<String, u64>,
    records: &Records,
) -> Result<(), String> {
    for (key, version) in acknowledged {
        match records.get(key) {
            Some(Some(record)) if record.version == *version => {}
            found => return Err(format!("{key} was put as version {version}: {found:?}")),
        }
    }
    Ok(())
}

/// Whether each replica has the records that the leaders have.
pub(super) fn check_equal(
    records: &Records,
    replicas: &BTreeMap<String, Records>,
) -> Result<(), String> {
    for (replica, theirs) in replicas {
        for (key, record) in records {
            let found = theirs.get(key);
            if found != Some(record) {
                return Err(format!("{key} is {found:?} on {replica}, and should be {record:?}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use triekv::value;

    use super::*;

    fn with_value(version: u64, n: i64) -> Record {
        Record { version, value: value!({ "n": n }) }
    }

    fn records(a: Option<u64>, b: Option<u64>) -> Records {
        let record = |version: Option<u64>| version.map(|version| with_value(version, 1));
        Records::from([("a".to_owned(), record(a)), ("b".to_owned(), record(b))])
    }

    #[test]
    fn a_write_that_is_gone_or_another_one_is_noticed() {
        let acknowledged = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(check_durable(&acknowledged, &records(Some(1), Some(2))), Ok(()));
        check_durable(&acknowledged, &records(Some(1), None)).unwrap_err();
        check_durable(&acknowledged, &records(Some(1), Some(3))).unwrap_err();
        check_durable(&acknowledged, &Records::new()).unwrap_err();
    }

    #[test]
    fn a_replica_that_differs_is_noticed() {
        let right = records(Some(1), None);
        let with = |theirs| {
            let servers = [("server0".to_owned(), right.clone()), ("server1".to_owned(), theirs)];
            BTreeMap::from(servers)
        };
        assert_eq!(check_equal(&right, &with(right.clone())), Ok(()));
        check_equal(&right, &with(records(Some(2), None))).unwrap_err();
        check_equal(&right, &with(records(Some(1), Some(1)))).unwrap_err();
        check_equal(&right, &with(records(None, None))).unwrap_err();
        check_equal(&right, &with(Records::new())).unwrap_err();
        let other_value = Records::from([("a".to_owned(), Some(with_value(1, 2)))]);
        check_equal(&right, &with(other_value)).unwrap_err();
    }
}

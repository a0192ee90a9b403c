use proptest::prelude::*;

use crate::value;
use crate::value::edit::tests::any_value;
use crate::value::{Change, EditErrorKind, Value};

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 1024,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_changes_between_two_values_make_one_into_the_other(a in any_value(), b in any_value()) {
        let changes = a.diff(&b);
        prop_assert_eq!(changes.is_empty(), a == b);
        let mut changed = a.clone();
        changed.apply(&changes).unwrap();
        prop_assert_eq!(&changed, &b);
        prop_assert!(a.diff(&a).is_empty());
    }

    #[test]
    fn each_change_is_needed(a in any_value(), b in any_value()) {
        let changes = a.diff(&b);
        for left_out in 0..changes.len() {
            let mut others = changes.clone();
            others.remove(left_out);
            let mut changed = a.clone();
            let applied = changed.apply(&others);
            prop_assert!(applied.is_err() || changed != b, "{}", changes[left_out]);
        }
    }

    #[test]
    fn changes_that_do_not_fit_change_nothing(a in any_value(), b in any_value(), c in any_value()) {
        let mut changed = c.clone();
        if changed.apply(&a.diff(&b)).is_err() {
            prop_assert_eq!(changed, c);
        }
    }
}

fn lines(from: &Value, to: &Value) -> Vec<String> {
    from.diff(to).iter().map(ToString::to_string).collect()
}

#[test]
fn only_what_differs_is_told() {
    let from = value!({ "a": { "b": 1, "c": [1, 2, 3] }, "d": "x" });
    let to = value!({ "a": { "b": 2, "c": [1, 2, 3] }, "d": "x", "e": {} });
    assert_eq!(lines(&from, &to), ["~ a.b: 1 -> 2", "+ e: {}"]);
    assert_eq!(lines(&to, &from), ["~ a.b: 2 -> 1", "- e: {}"]);
    assert_eq!(lines(&value!(1), &value!({})), ["~ 1 -> {}"]);
    assert_eq!(lines(&value!({ "x y": [] }), &value!({ "x y": [{}] })), ["+ x y[0]: {}"]);
}

#[test]
fn lists_keep_their_ends() {
    let list = value!([1, 2, 3, 4]);
    assert_eq!(lines(&list, &value!([1, 9, 3, 4])), ["~ [1]: 2 -> 9"]);
    assert_eq!(lines(&list, &value!([0, 1, 2, 3, 4])), ["+ [0]: 0"]);
    assert_eq!(lines(&list, &value!([1, 2, 8, 9, 3, 4])), ["+ [2]: 8", "+ [3]: 9"]);
    assert_eq!(lines(&list, &value!([1, 4])), ["- [2]: 3", "- [1]: 2"]);
    assert_eq!(lines(&list, &value!([9, 4])), ["~ [0]: 1 -> 9", "- [2]: 3", "- [1]: 2"]);
    assert_eq!(lines(&value!([1, 1]), &value!([1, 1, 1])), ["+ [2]: 1"]);
    assert_eq!(lines(&value!([[1, 2]]), &value!([[1, 3], 0])), ["~ [0][1]: 2 -> 3", "+ [1]: 0"]);
}

#[test]
fn a_change_fits_only_what_it_was_made_for() {
    let change = |before, after| Change { steps: vec!["a".into(), 0.into()], before, after };
    let value = value!({ "a": [1] });
    let refused = |change: Change| {
        let mut changed = value.clone();
        let error = changed.apply(&[change]).unwrap_err();
        assert_eq!(changed, value);
        error
    };
    let error = refused(change(Some(value!(2)), Some(value!(3))));
    assert_eq!(error.to_string(), "a[0]: this is not what the change was made for");
    assert_eq!(refused(change(Some(value!(2)), None)).kind(), &EditErrorKind::Differs);
    assert_eq!(refused(change(None, None)).kind(), &EditErrorKind::Differs);
    let mut changed = value.clone();
    changed.apply(&[change(None, Some(value!(0)))]).unwrap();
    assert_eq!(changed, value!({ "a": [0, 1] }));
}

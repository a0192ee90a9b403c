use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::value;
use crate::value::{DEPTH_MAX, EditErrorKind, Kind, Path, Step, Value};

/// Small values that have few names, so that paths meet them.
pub(in crate::value) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[xy]".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| Value::List(items.into_iter().collect())),
            prop::collection::vec(("[a-c]{1,2}", inner), 0..4)
                .prop_map(|fields| Value::Map(fields.into_iter().collect())),
        ]
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => "[a-c]{1,2}".prop_map(Step::Name),
        2 => (0..4_usize).prop_map(Step::Index),
    ];
    prop::collection::vec(step, 0..5)
}

fn parse(path: &str) -> Vec<Step> {
    path.parse::<Path>().unwrap().into_parts().1
}

fn json(value: &Value) -> Json {
    serde_json::to_value(value).unwrap()
}

/// Puts `value` where `steps` lead out of `place`, or says `None` and leaves it anyhow.
fn model_set(place: &mut Option<Json>, steps: &[Step], value: Json) -> Option<()> {
    let [step, rest @ ..] = steps else {
        *place = Some(value);
        return Some(());
    };
    let container = place.get_or_insert_with(|| match step {
        Step::Name(_) => json!({}),
        Step::Index(_) => json!([]),
    });
    match (container, step) {
        (Json::Object(fields), Step::Name(name)) => {
            let mut field = fields.remove(name);
            model_set(&mut field, rest, value)?;
            fields.insert(name.clone(), field?);
        }
        (Json::Array(items), Step::Index(index)) if *index <= items.len() => {
            let mut item = (*index < items.len()).then(|| items.remove(*index));
            model_set(&mut item, rest, value)?;
            items.insert(*index, item?);
        }
        _ => return None,
    }
    Some(())
}

fn model_remove(place: &mut Json, steps: &[Step]) -> Option<Json> {
    match (place, steps) {
        (place, []) => Some(place.take()),
        (Json::Object(fields), [Step::Name(name)]) => fields.remove(name),
        (Json::Array(items), [Step::Index(index)]) => {
            (*index < items.len()).then(|| items.remove(*index))
        }
        (Json::Object(fields), [Step::Name(name), rest @ ..]) => {
            model_remove(fields.get_mut(name)?, rest)
        }
        (Json::Array(items), [Step::Index(index), rest @ ..]) => {
            model_remove(items.get_mut(*index)?, rest)
        }
        _ => None,
    }
}

/// The pseudo code of the RFC.
fn model_merge(target: Json, patch: Json) -> Json {
    let Json::Object(patch) = patch else { return patch };
    let mut target = match target {
        Json::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            let old = target.get(&name).cloned().unwrap_or_default();
            target.insert(name, model_merge(old, value));
        }
    }
    Json::Object(target)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 1024,
        ..ProptestConfig::default()
    })]

    #[test]
    fn set_does_what_a_plain_recursion_does_and_clones_do_not_see_it(
        before in any_value(),
        steps in steps(),
        value in any_value(),
    ) {
        let mut model = Some(json(&before));
        let done = model_set(&mut model, &steps, json(&value));
        let mut changed = before.clone();
        match changed.set(&steps, value) {
            Ok(old) => {
                prop_assert_eq!(done, Some(()));
                prop_assert_eq!(json(&changed), model.unwrap());
                prop_assert_eq!(old.as_ref(), before.query(&steps));
            }
            Err(error) => {
                prop_assert_eq!(done, None);
                prop_assert_eq!(&changed, &before);
                // The place is there, or would have been made.
                prop_assert!(steps.starts_with(error.steps()) && error.steps().len() < steps.len());
            }
        }
    }

    #[test]
    fn a_clone_taken_before_stays_as_it_was(
        before in any_value(),
        steps in steps(),
        value in any_value(),
    ) {
        let (clone, text) = (before.clone(), before.to_string());
        let mut changed = before;
        let _ = changed.set(&steps, value.clone());
        prop_assert_eq!(clone.to_string(), text.as_str());
        changed.merge(value);
        prop_assert_eq!(clone.to_string(), text.as_str());
        changed.remove(&steps);
        prop_assert_eq!(clone.to_string(), text.as_str());
    }

    #[test]
    fn remove_takes_what_a_plain_recursion_takes(value in any_value(), steps in steps()) {
        let mut model = json(&value);
        let expected = model_remove(&mut model, &steps);
        let mut value = value;
        let removed = value.remove(&steps);
        prop_assert_eq!(removed.as_ref().map(json), expected);
        prop_assert_eq!(json(&value), model);
    }

    #[test]
    fn merge_follows_the_pseudo_code(target in any_value(), patch in any_value()) {
        let model = model_merge(json(&target), json(&patch));
        let mut merged = target;
        merged.merge(patch);
        prop_assert_eq!(json(&merged), model);
    }

    #[test]
    fn what_was_set_is_found_and_what_was_removed_is_not(
        value in any_value(),
        steps in steps(),
        part in any_value(),
    ) {
        let mut changed = value;
        if changed.set(&steps, part.clone()).is_ok() {
            prop_assert_eq!(changed.query(&steps), Some(&part));
            prop_assert_eq!(changed.remove(&steps), Some(part));
        }
    }
}

#[test]
fn merges_of_the_appendix_come_out_as_they_stand_there() {
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!(null), json!(null)),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ];
    for (target, patch, merged) in cases {
        let mut value: Value = serde_json::from_value(target.clone()).unwrap();
        value.merge(serde_json::from_value(patch.clone()).unwrap());
        assert_eq!(json(&value), merged, "{target} with {patch}");
    }
}

#[test]
fn a_step_that_cannot_be_taken_is_told_with_what_is_there() {
    let value = value!({ "name": "Mary", "none": null, "tags": ["a", "b"], "map": {} });
    for (path, kind, text) in [
        (
            "p.name.first",
            EditErrorKind::NotAMap { found: Kind::Str },
            "name: this string has no fields",
        ),
        ("p.none.x", EditErrorKind::NotAMap { found: Kind::Null }, "none: this null has no fields"),
        ("p.tags.x", EditErrorKind::NotAMap { found: Kind::List }, "tags: this list has no fields"),
        ("p.map[0]", EditErrorKind::NotAList { found: Kind::Map }, "map: this map has no items"),
        ("p[0]", EditErrorKind::NotAList { found: Kind::Map }, "this map has no items"),
        (
            "p.tags[3]",
            EditErrorKind::BeyondEnd { index: 3, len: 2 },
            "tags: this list has 2 items, so that nothing can be put at index 3",
        ),
        (
            "p.new[1]",
            EditErrorKind::BeyondEnd { index: 1, len: 0 },
            "new: this list has 0 items, so that nothing can be put at index 1",
        ),
        (
            "p.tags[2].x[0][1].y",
            EditErrorKind::BeyondEnd { index: 1, len: 0 },
            "tags[2].x[0]: this list has 0 items, so that nothing can be put at index 1",
        ),
    ] {
        let mut changed = value.clone();
        let error = changed.set(&parse(path), value!(1)).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (&kind, text), "{path}");
        assert_eq!(changed, value, "{path}");
    }
}

#[test]
fn what_is_absent_on_the_way_is_made() {
    let mut value = value!({});
    assert_eq!(value.set(&parse("p.a.b[0].c"), value!(1)), Ok(None));
    assert_eq!(value.set(&parse("p.a.b[1]"), value!(null)), Ok(None));
    assert_eq!(value.set(&parse("p.a.b[0]"), value!(2)), Ok(Some(value!({ "c": 1 }))));
    assert_eq!(value, value!({ "a": { "b": [2, null] } }));
    assert_eq!(value.remove(&parse("p.a.b[0]")), Some(value!(2)));
    assert_eq!(value.remove(&parse("p.a.b[0]")), Some(value!(null)));
    assert_eq!(value, value!({ "a": { "b": [] } }));
    assert_eq!(value.set(&[], value!(3)), Ok(Some(value!({ "a": { "b": [] } }))));
    assert_eq!((value.remove(&[]), value), (Some(value!(3)), Value::Null));
}

#[test]
fn the_deepest_patch_that_is_stored_can_be_merged() {
    let deepest = |leaf: Value| (0..DEPTH_MAX).fold(leaf, |inside, _| value!({ "a": inside }));
    let mut value = deepest(value!(1));
    value.merge(deepest(value!(2)));
    assert_eq!(value, deepest(value!(2)));
    assert_eq!(value.diff(&deepest(value!(3))).len(), 1);
}

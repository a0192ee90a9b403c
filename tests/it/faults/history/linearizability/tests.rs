//! Histories that can be, and histories that cannot.

use super::*;

const ALWAYS: Condition = Condition::Always;

/// A history of one key: an action, its outcome, and when it began and ended.
type Line = (u64, u64, Action, Outcome);

fn verdict(lines: &[Line]) -> Result<(), String> {
    // A moment is shared by what begins and what ends then, and ends come after beginnings.
    let mut ticks: Vec<(u64, bool, usize)> = Vec::new();
    for (number, (began, ended, ..)) in lines.iter().enumerate() {
        ticks.extend([(*began, false, number), (*ended, true, number)]);
    }
    ticks.sort_unstable();
    let tick = |ends, number| {
        let place = ticks.iter().position(|(_, e, n)| (*e, *n) == (ends, number));
        place.unwrap() as u64
    };
    let operations = lines.iter().enumerate().map(|(number, (_, _, action, outcome))| Operation {
        key: 0,
        began: tick(false, number),
        ended: tick(true, number),
        action: *action,
        outcome: *outcome,
    });
    check(&operations.collect::<Vec<_>>())
}

fn can_be(lines: &[Line]) {
    assert_eq!(verdict(lines), Ok(()), "{lines:#?}");
}

fn cannot_be(lines: &[Line]) {
    let wrong = verdict(lines).expect_err("it cannot be");
    assert!(!wrong.contains("undecided"), "{wrong}");
}

fn put(began: u64, ended: u64, value: i64, version: u64, created: bool) -> Line {
    let outcome = Outcome::Written { version, created };
    (began, ended, Action::Put { value, condition: ALWAYS }, outcome)
}

fn put_if(began: u64, ended: u64, value: i64, condition: Condition, outcome: Outcome) -> Line {
    (began, ended, Action::Put { value, condition }, outcome)
}

fn lost_put(began: u64, value: i64) -> Line {
    (began, began + 1, Action::Put { value, condition: ALWAYS }, Outcome::Unknown)
}

fn set(began: u64, ended: u64, part: i64, version: u64, created: bool) -> Line {
    let outcome = Outcome::Written { version, created };
    (began, ended, Action::Set { part, condition: ALWAYS }, outcome)
}

fn get(began: u64, ended: u64, found: Option<(u64, i64)>) -> Line {
    let document = |value| Document { value: Some(value), part: None };
    let found = found.map(|(version, value)| (version, document(value)));
    (began, ended, Action::Get, Outcome::Found(found))
}

fn get_part(began: u64, ended: u64, version: u64, value: Option<i64>, part: i64) -> Line {
    let document = Document { value, part: Some(part) };
    (began, ended, Action::Get, Outcome::Found(Some((version, document))))
}

fn query(began: u64, ended: u64, value: Option<i64>) -> Line {
    (began, ended, Action::Query, Outcome::Value(value))
}

fn delete(began: u64, ended: u64, existed: bool) -> Line {
    (began, ended, Action::Delete, Outcome::Deleted { existed })
}

fn lost_delete(began: u64) -> Line {
    (began, began + 1, Action::Delete, Outcome::Unknown)
}

#[test]
fn reads_find_the_last_write_or_one_that_is_under_way() {
    can_be(&[get(0, 1, None), put(2, 3, 1, 5, true), get(4, 5, Some((5, 1)))]);
    can_be(&[put(0, 9, 1, 5, true), get(2, 3, None), get(4, 5, Some((5, 1)))]);
    cannot_be(&[put(0, 9, 1, 5, true), get(2, 3, Some((5, 1))), get(4, 5, None)]);
    cannot_be(&[put(0, 1, 1, 5, true), get(2, 3, None)]);
    cannot_be(&[put(0, 1, 1, 5, true), put(2, 3, 2, 6, false), get(4, 5, Some((5, 1)))]);
    cannot_be(&[put(0, 1, 1, 5, true), get(2, 3, Some((6, 1)))]);
    cannot_be(&[put(0, 1, 1, 5, true), get(2, 3, Some((5, 2)))]);
}

#[test]
fn two_clients_see_two_writes_in_the_same_order() {
    let writes = [put(0, 20, 1, 5, true), put(0, 21, 2, 6, false)];
    let one = [get(2, 3, Some((5, 1))), get(4, 5, Some((6, 2)))];
    can_be(&[&writes[..], &one[..]].concat());
    let other = [get(6, 7, Some((6, 2))), get(8, 9, Some((5, 1)))];
    cannot_be(&[&writes[..], &one[..], &other[..]].concat());
    let together = [get(2, 13, Some((5, 1))), get(3, 14, Some((6, 2)))];
    can_be(&[&writes[..], &together[..]].concat());
}

#[test]
fn versions_grow_across_a_delete() {
    can_be(&[put(0, 1, 1, 5, true), delete(2, 3, true), put(4, 5, 2, 7, true)]);
    cannot_be(&[put(0, 1, 1, 5, true), delete(2, 3, true), put(4, 5, 2, 5, true)]);
    cannot_be(&[put(0, 1, 1, 5, true), delete(2, 3, true), put(4, 5, 2, 4, true)]);
}

#[test]
fn deletes_tell_what_was_there() {
    can_be(&[put(0, 1, 1, 5, true), delete(2, 3, true), delete(4, 5, false), get(6, 7, None)]);
    cannot_be(&[put(0, 1, 1, 5, true), delete(2, 3, false)]);
    cannot_be(&[put(0, 1, 1, 5, true), delete(2, 3, true), delete(4, 5, true)]);
    cannot_be(&[put(0, 1, 1, 5, true), delete(2, 3, true), get(4, 5, Some((5, 1)))]);
    // One of two deletes finds it.
    can_be(&[put(0, 1, 1, 5, true), delete(2, 5, false), delete(3, 4, true)]);
    cannot_be(&[put(0, 1, 1, 5, true), delete(2, 5, true), delete(3, 4, true)]);
    cannot_be(&[put(0, 1, 1, 5, true), put(2, 3, 2, 6, true)]);
}

#[test]
fn a_write_of_unknown_outcome_takes_effect_late_or_never_and_once() {
    can_be(&[lost_put(0, 1), get(4, 5, None), get(6, 7, Some((5, 1)))]);
    can_be(&[lost_put(0, 1), get(4, 5, None), put(6, 7, 2, 5, true)]);
    // It was there without being seen.
    can_be(&[lost_put(0, 1), get(4, 5, None), put(6, 7, 2, 5, false)]);
    cannot_be(&[get(0, 1, None), put(2, 3, 2, 5, false), lost_put(4, 1)]);
    cannot_be(&[lost_put(0, 1), get(4, 5, Some((5, 1))), get(6, 7, None)]);
    cannot_be(&[
        lost_put(0, 1),
        get(2, 3, Some((5, 1))),
        put(4, 5, 2, 6, false),
        get(6, 7, Some((7, 1))),
    ]);
    // As one that nobody saw, it explains one thing, not two.
    let first = [delete(4, 5, true), get(6, 7, None)];
    can_be(&[&[lost_put(0, 1)], &first[..]].concat());
    cannot_be(&[&[lost_put(0, 1)], &first[..], &[delete(8, 9, true)]].concat());
    can_be(&[&[lost_put(0, 1), lost_put(0, 2)], &first[..], &[delete(8, 9, true)]].concat());
    can_be(&[put(0, 1, 1, 5, true), lost_delete(2), get(4, 5, Some((5, 1))), get(6, 7, None)]);
    cannot_be(&[put(0, 1, 1, 5, true), get(2, 3, None), lost_delete(4)]);
}

#[test]
fn a_write_that_failed_is_never_seen() {
    let failed = put_if(0, 1, 1, ALWAYS, Outcome::Failed);
    can_be(&[failed, get(2, 3, None)]);
    cannot_be(&[failed, get(2, 3, Some((5, 1)))]);
    cannot_be(&[failed, put(2, 3, 2, 5, false)]);
    cannot_be(&[failed, delete(2, 3, true)]);
}

#[test]
fn a_condition_decides_as_it_says() {
    let written = |version, created| Outcome::Written { version, created };
    let conflict = |found| Outcome::Conflict { found };
    let there = put(0, 1, 1, 5, true);
    can_be(&[there, put_if(2, 3, 2, Condition::IfVersion(5), written(6, false))]);
    can_be(&[there, put_if(2, 3, 2, Condition::IfVersion(4), conflict(Some(5)))]);
    can_be(&[there, put_if(2, 3, 2, Condition::IfAbsent, conflict(Some(5)))]);
    can_be(&[put_if(2, 3, 2, Condition::IfAbsent, written(6, true))]);
    cannot_be(&[there, put_if(2, 3, 2, Condition::IfVersion(5), conflict(Some(5)))]);
    cannot_be(&[there, put_if(2, 3, 2, Condition::IfVersion(4), written(6, false))]);
    cannot_be(&[there, put_if(2, 3, 2, Condition::IfAbsent, written(6, true))]);
    cannot_be(&[there, put_if(2, 3, 2, Condition::IfAbsent, conflict(None))]);
    // Of two that compare with the same version one wins.
    let both = |second| {
        [
            there,
            put_if(2, 8, 2, Condition::IfVersion(5), written(6, false)),
            put_if(3, 7, 3, Condition::IfVersion(5), second),
        ]
    };
    can_be(&both(conflict(Some(6))));
    cannot_be(&both(written(7, false)));
    cannot_be(&both(conflict(Some(7))));
    // A version that only a conflict tells is that of a write that nobody saw.
    let told = put_if(4, 5, 3, Condition::IfAbsent, conflict(Some(9)));
    can_be(&[lost_put(0, 1), told, put(6, 7, 4, 10, false)]);
    cannot_be(&[lost_put(0, 1), told, put(6, 7, 4, 8, false)]);
    cannot_be(&[told]);
}

#[test]
fn a_part_is_set_within_what_is_there_and_goes_with_the_next_put() {
    let there = put(0, 1, 1, 5, true);
    can_be(&[there, set(2, 3, 7, 6, false), get_part(4, 5, 6, Some(1), 7), query(6, 7, Some(1))]);
    can_be(&[set(2, 3, 7, 6, true), get_part(4, 5, 6, None, 7), query(6, 7, None)]);
    cannot_be(&[there, set(2, 3, 7, 6, false), get_part(4, 5, 6, None, 7)]);
    cannot_be(&[there, set(2, 3, 7, 6, false), get(4, 5, Some((6, 1)))]);
    cannot_be(&[there, set(2, 3, 7, 6, false), get(4, 5, Some((5, 1)))]);
    let over = put(4, 5, 2, 7, false);
    can_be(&[there, set(2, 3, 7, 6, false), over, get(6, 7, Some((7, 2)))]);
    cannot_be(&[there, set(2, 3, 7, 6, false), over, get_part(6, 7, 7, Some(2), 7)]);
    cannot_be(&[there, query(2, 3, None)]);
}

#[test]
fn many_writes_under_way_at_once_are_decided() {
    // All of them begin before the first ends, and end in another order than that of their versions.
    let began = |n: u64| n * 7 % 30;
    let write = |n: u64| {
        let (value, ended) = (i64::try_from(n).unwrap(), 100 + n * 11 % 30);
        match n % 3 {
            0 => (began(n), ended, Action::Put { value, condition: ALWAYS }, Outcome::Unknown),
            1 => set(began(n), ended, 1000 + value, 5 + n, false),
            _ => put(began(n), ended, value, 5 + n, false),
        }
    };
    let found = |n: u64| get(50, 150, Some((5 + n, i64::try_from(n).unwrap())));
    let mut lines = vec![get(0, 40, None), put(0, 140, 999, 4, true)];
    lines.extend((0..30).map(write));
    lines.extend((0..30).step_by(3).map(found));
    can_be(&lines);
    lines.push(get(200, 201, Some((5 + 27, 27))));
    cannot_be(&lines);
}

#[test]
fn keys_are_told_apart_and_many_unknown_outcomes_are_decided() {
    let mut lines = vec![put(0, 1, 1000, 1, true)];
    for n in 0..60 {
        lines.push(lost_put(2 + n, i64::try_from(n).unwrap()));
        lines.push(lost_delete(2 + n));
    }
    for n in 0..20 {
        let version = 1000 + n;
        let began = 100 + 4 * n;
        lines.push(put(began, began + 1, 2000 + i64::try_from(n).unwrap(), version, n % 2 == 0));
        lines.push(delete(began + 2, began + 3, n % 3 != 0));
    }
    can_be(&lines);
    let moved = |key, line: &Line| {
        let (began, ended, action, outcome) = *line;
        Operation { key, began, ended, action, outcome }
    };
    let (one, other) = (put(0, 1, 1, 5, true), get(2, 3, None));
    assert_eq!(check(&[moved(0, &one), moved(1, &other)]), Ok(()));
    check(&[moved(1, &one), moved(1, &other)]).unwrap_err();
}

//! Changes to a part of a value.

use std::mem;

use ::serde::{Deserialize, Serialize};
use thiserror::Error;

use super::check::Place;
use super::{Kind, List, Map, Step, Value};

/// A change of a part of a value that cannot be made: where, and why. The value is as it was.
///
/// `Display` gives both in a line, as in `address.city: this string has no fields`.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{}{kind}", Place(.steps))]
pub struct EditError {
    /// From the root of the value to what stands in the way.
    steps: Vec<Step>,
    kind: EditErrorKind,
}

/// Why a change of a part of a value cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EditErrorKind {
    /// The path goes on with a name, and there is no map. Put one there first.
    #[error("this {found} has no fields")]
    NotAMap {
        /// What is there.
        found: Kind,
    },
    /// The path goes on with an index, and there is no list. Put one there first.
    #[error("this {found} has no items")]
    NotAList {
        /// What is there.
        found: Kind,
    },
    /// The list has no such item, and the index is not the one behind its last.
    #[error("this list has {len} items, so that nothing can be put at index {index}")]
    BeyondEnd {
        /// The index in the path.
        index: usize,
        /// How many items the list has; 0 where there is no list yet.
        len: usize,
    },
    /// What is there is not what a [`Change`](super::Change) begins with.
    #[error("this is not what the change was made for")]
    Differs,
}

impl EditError {
    pub(super) fn new(steps: &[Step], kind: EditErrorKind) -> Self {
        EditError { steps: steps.to_vec(), kind }
    }

    /// Returns why the change cannot be made.
    pub fn kind(&self) -> &EditErrorKind {
        &self.kind
    }

    /// Returns the way from the root of the value to what stands in the way; empty if that is the
    /// root itself.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

impl Value {
    /// Puts `value` at the place that `steps` lead to, and returns what was there, or `None` if
    /// nothing was. Without steps that place is this value itself.
    ///
    /// Where a step finds nothing, it makes what it needs: a name a map, an index a list. An index
    /// equal to the length of a list appends. Clones and snapshots do not see the change. Takes
    /// **O(k)** for steps whose names have `k` bytes together, and what the first change of a part
    /// that is shared takes.
    ///
    /// # Errors
    /// The first step that cannot be taken; nothing has changed then:
    /// [`NotAMap`](EditErrorKind::NotAMap) or [`NotAList`](EditErrorKind::NotAList) for a step into
    /// something else, null included, and [`BeyondEnd`](EditErrorKind::BeyondEnd) for an index past
    /// the length of a list.
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// let mut person = value!({ "name": "Mary" });
    /// person.set(&["address".into(), "city".into()], value!("Athens"))?;
    /// person.set(&["tags".into(), 0.into()], value!("a"))?;
    /// assert_eq!(person.set(&["name".into()], value!("Maria"))?, Some(value!("Mary")));
    /// assert_eq!(
    ///     person,
    ///     value!({ "name": "Maria", "address": { "city": "Athens" }, "tags": ["a"] })
    /// );
    ///
    /// let error = person.set(&["name".into(), "first".into()], value!("Mary")).unwrap_err();
    /// assert_eq!(error.to_string(), "name: this string has no fields");
    /// # Ok::<(), triekv::value::EditError>(())
    /// ```
    pub fn set(&mut self, steps: &[Step], value: Value) -> Result<Option<Value>, EditError> {
        let (present, absent) = steps.split_at(self.steps_present(steps)?);
        let Some(place) = self.part_mut(present) else {
            unreachable!("{present:?} was found to be there")
        };
        let Some((first, inner)) = absent.split_first() else {
            return Ok(Some(mem::replace(place, value)));
        };
        let made = inner.iter().rev().fold(value, |inside, step| match step {
            Step::Name(name) => Value::Map(Map::from([(name, inside)])),
            Step::Index(_) => Value::List(List::from([inside])),
        });
        match (place, first) {
            (Value::Map(fields), Step::Name(name)) => drop(fields.insert(name, made)),
            (Value::List(items), Step::Index(_)) => items.push(made),
            (place, step) => unreachable!("{step:?} was found to lead into a {}", place.kind()),
        }
        Ok(None)
    }

    /// Takes away what `steps` lead to and returns it, or `None` if nothing is there. Items of a
    /// list that follow it move down; a map or list that has become empty stays. Without steps it
    /// is this value itself, and null stays.
    ///
    /// Clones and snapshots do not see the change. Takes **O(k)** for steps whose names have `k`
    /// bytes together, what the first change of a part that is shared takes, and for an item of a
    /// list **O(n)** for the `n` that follow.
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// let mut person = value!({ "name": "Mary", "tags": ["a", "b"] });
    /// assert_eq!(person.remove(&["tags".into(), 0.into()]), Some(value!("a")));
    /// assert_eq!(person.remove(&["age".into()]), None);
    /// assert_eq!(person, value!({ "name": "Mary", "tags": ["b"] }));
    /// ```
    pub fn remove(&mut self, steps: &[Step]) -> Option<Value> {
        let Some((last, before)) = steps.split_last() else { return Some(mem::take(self)) };
        // A part that is shared is copied only if there is something to change.
        self.query(steps)?;
        match (self.part_mut(before)?, last) {
            (Value::Map(fields), Step::Name(name)) => fields.remove(name),
            (Value::List(items), Step::Index(index)) => Some(items.remove(*index)),
            _ => None,
        }
    }

    /// Merges `patch` into this value, as a JSON merge patch (RFC 7396): a map is merged field by
    /// field, where null takes the field away and anything else is merged into it; a patch that is
    /// no map takes the place of the value.
    ///
    /// Nulls and items within lists are not looked at, so a merge neither stores null in a field
    /// nor changes a part of a list: [`set`](Value::set) does. Clones and snapshots do not see the
    /// change. Takes **O(n)** for `n` values in the patch, and as many nested calls as maps lie
    /// within each other in it.
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// let mut person = value!({ "name": "Mary", "age": 22, "address": { "city": "Athens" } });
    /// person.merge(value!({ "age": null, "address": { "zip": "10431" } }));
    /// assert_eq!(
    ///     person,
    ///     value!({ "name": "Mary", "address": { "city": "Athens", "zip": "10431" } })
    /// );
    /// ```
    pub fn merge(&mut self, patch: Value) {
        let patch = match patch {
            Value::Map(patch) => patch,
            other => {
                *self = other;
                return;
            }
        };
        if self.as_map().is_none() {
            *self = Value::Map(Map::new());
        }
        let Some(fields) = self.as_map_mut() else { return };
        for (name, part) in patch {
            if part.is_null() {
                fields.remove(&name);
            } else {
                fields.entry(name).or_default().merge(part);
            }
        }
    }

    /// As [`query`](Value::query), to change what is there.
    pub(super) fn part_mut(&mut self, steps: &[Step]) -> Option<&mut Value> {
        steps.iter().try_fold(self, |value, step| match (value, step) {
            (Value::Map(fields), Step::Name(name)) => fields.get_mut(name),
            (Value::List(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        })
    }

    /// How many of the steps lead to something that is there, when the rest can be made.
    fn steps_present(&self, steps: &[Step]) -> Result<usize, EditError> {
        let mut place = self;
        for (taken, step) in steps.iter().enumerate() {
            let next = match (place, step) {
                (Value::Map(fields), Step::Name(name)) => fields.get(name),
                (Value::List(items), Step::Index(index)) if *index <= items.len() => {
                    items.get(*index)
                }
                (place, step) => {
                    return Err(EditError::new(&steps[..taken], in_the_way(place, step)));
                }
            };
            match next {
                Some(part) => place = part,
                None => return check_absent(steps, taken + 1).map(|()| taken),
            }
        }
        Ok(steps.len())
    }
}

/// Why `step` does not lead out of `place`.
fn in_the_way(place: &Value, step: &Step) -> EditErrorKind {
    match (place, step) {
        (Value::List(items), Step::Index(index)) => {
            EditErrorKind::BeyondEnd { index: *index, len: items.len() }
        }
        (place, Step::Name(_)) => EditErrorKind::NotAMap { found: place.kind() },
        (place, Step::Index(_)) => EditErrorKind::NotAList { found: place.kind() },
    }
}

/// Checks the steps from `taken` on, which lead into what is still to be made.
fn check_absent(steps: &[Step], taken: usize) -> Result<(), EditError> {
    for (place, step) in steps.iter().enumerate().skip(taken) {
        if let Step::Index(index @ 1..) = step {
            let kind = EditErrorKind::BeyondEnd { index: *index, len: 0 };
            return Err(EditError::new(&steps[..place], kind));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;

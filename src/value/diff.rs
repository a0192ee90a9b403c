//! What differs between two values.

use std::cmp::Ordering;
use std::fmt;

use ::serde::{Deserialize, Serialize};

use super::check::Place;
use super::edit::{EditError, EditErrorKind};
use super::{Map, Step, Value};

/// What differs at one place between two values, as [`Value::diff`] finds it.
///
/// `Display` gives a line for people: `+ address.city: "Athens"` for what was added,
/// `- tags[1]: "b"` for what was taken away, `~ age: 22 -> 23` for what was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// From the root of the value to the place; none lead to the value itself.
    pub steps: Vec<Step>,
    /// What is there before the change, `None` if nothing is. In a list, nothing means that the
    /// change is an insertion: the item that is at the place, and those that follow it, move up.
    pub before: Option<Value>,
    /// What is there after it, `None` if nothing is. Items of a list that follow it move down.
    pub after: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place(&self.steps);
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, "+ {place}{after}"),
            (Some(before), None) => write!(f, "- {place}{before}"),
            (Some(before), Some(after)) => write!(f, "~ {place}{before} -> {after}"),
            (None, None) => write!(f, "= {place}"),
        }
    }
}

impl Value {
    /// Returns the changes that make this value into `to`, in an order in which they can be made
    /// one after the other ([`Value::apply`]); none if the two are equal. Each is needed.
    ///
    /// Maps are compared field by field. Of two lists, the items that are equal at the beginning
    /// and then those at the end are kept; between them, items are compared one by one, and what
    /// one list has more than the other is added or taken away there. That is exact, and not always
    /// the shortest way: an item that moved is not found again. Anything else that is not equal is
    /// replaced.
    ///
    /// Takes **O(n·d)** for `n` values in both, of which at most `d` lists lie within each other,
    /// and as many nested calls as maps and lists do.
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// let old = value!({ "name": "Mary", "age": 22, "tags": ["a", "b", "c"] });
    /// let new = value!({ "name": "Mary", "age": 23, "tags": ["a", "c"], "zip": null });
    /// let changes = old.diff(&new);
    /// let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    /// assert_eq!(lines, ["~ age: 22 -> 23", r#"- tags[1]: "b""#, "+ zip: null"]);
    ///
    /// let mut value = old.clone();
    /// value.apply(&changes)?;
    /// assert_eq!(value, new);
    /// # Ok::<(), triekv::value::EditError>(())
    /// ```
    pub fn diff(&self, to: &Value) -> Vec<Change> {
        let mut differ = Differ::default();
        differ.values(self, to);
        differ.changes
    }

    /// Makes `changes` one after the other, all of them or none.
    ///
    /// Clones and snapshots do not see them. Each takes what [`set`](Value::set) or
    /// [`remove`](Value::remove) takes, and the time to compare what is there.
    ///
    /// # Errors
    /// [`Differs`](EditErrorKind::Differs) at the first place where something else is than what the
    /// change begins with, and the errors of [`set`](Value::set); nothing has changed then.
    ///
    /// # Examples
    /// ```
    /// use triekv::value;
    ///
    /// let changes = value!({ "n": 1 }).diff(&value!({ "n": 2 }));
    /// let mut other = value!({ "n": 3, "m": 4 });
    /// let error = other.apply(&changes).unwrap_err();
    /// assert_eq!(error.to_string(), "n: this is not what the change was made for");
    /// ```
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), EditError> {
        let mut changed = self.clone();
        changes.iter().try_for_each(|change| changed.apply_one(change))?;
        *self = changed;
        Ok(())
    }

    fn apply_one(&mut self, change: &Change) -> Result<(), EditError> {
        let Change { steps, before, after } = change;
        if let (None, Some(item), Some((Step::Index(index), list))) =
            (before, after, steps.split_last())
            && let Some(Value::List(items)) = self.part_mut(list)
            && *index < items.len()
        {
            items.insert(*index, item.clone());
            return Ok(());
        }
        if self.query(steps) != before.as_ref() {
            return Err(EditError::new(steps, EditErrorKind::Differs));
        }
        match after {
            Some(after) => drop(self.set(steps, after.clone())?),
            None => drop(self.remove(steps)),
        }
        Ok(())
    }
}

/// Collects changes on its way through two values.
#[derive(Default)]
struct Differ {
    /// The way to the parts that are compared.
    steps: Vec<Step>,
    changes: Vec<Change>,
}

impl Differ {
    fn values(&mut self, from: &Value, to: &Value) {
        match (from, to) {
            (Value::Map(from), Value::Map(to)) => self.maps(from, to),
            (Value::List(from), Value::List(to)) => self.lists(from, to),
            (from, to) if from == to => {}
            (from, to) => self.note(Some(from), Some(to)),
        }
    }

    /// Both sides have their fields in byte order.
    fn maps(&mut self, from: &Map, to: &Map) {
        let (mut from, mut to) = (from.iter().peekable(), to.iter().peekable());
        loop {
            let order = match (from.peek(), to.peek()) {
                (Some((from, _)), Some((to, _))) => from.cmp(to),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            let old = from.next_if(|_| order.is_le());
            let new = to.next_if(|_| order.is_ge());
            let Some((name, _)) = old.as_ref().or(new.as_ref()) else { return };
            // Names that are not UTF-8 are in no value that is stored; a path cannot lead there.
            self.steps.push(Step::Name(String::from_utf8_lossy(name).into_owned()));
            self.parts(old.map(|(_, part)| part), new.map(|(_, part)| part));
            self.steps.pop();
        }
    }

    fn lists(&mut self, from: &[Value], to: &[Value]) {
        let start = from.iter().zip(to).take_while(|(from, to)| from == to).count();
        let (from, to) = (&from[start..], &to[start..]);
        let ends = from.iter().rev().zip(to.iter().rev());
        let kept = ends.take_while(|(from, to)| from == to).count();
        let (from, to) = (&from[..from.len() - kept], &to[..to.len() - kept]);
        let common = from.len().min(to.len());
        for (index, (from, to)) in from.iter().zip(to).enumerate() {
            self.item(start + index, Some(from), Some(to));
        }
        for (index, to) in to.iter().enumerate().skip(common) {
            self.item(start + index, None, Some(to));
        }
        // From behind, so that the others do not move before it is their turn.
        for (index, from) in from.iter().enumerate().skip(common).rev() {
            self.item(start + index, Some(from), None);
        }
    }

    fn item(&mut self, index: usize, from: Option<&Value>, to: Option<&Value>) {
        self.steps.push(Step::Index(index));
        self.parts(from, to);
        self.steps.pop();
    }

    fn parts(&mut self, from: Option<&Value>, to: Option<&Value>) {
        match (from, to) {
            (Some(from), Some(to)) => self.values(from, to),
            (from, to) => self.note(from, to),
        }
    }

    fn note(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let (before, after) = (before.cloned(), after.cloned());
        self.changes.push(Change { steps: self.steps.clone(), before, after });
    }
}

#[cfg(test)]
mod tests;

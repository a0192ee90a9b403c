//! Leaving out what lies outside of bounds, before a walk begins.

use super::super::inner::Seek;
use super::super::node::{Kind, Node};
use super::super::page::{Run, head};
use super::super::range::KeyBound;
use super::{PartKind, Walk};
use std::ops::Bound;

/// What to do with a child that may lie across a bound.
enum Child {
    /// The bound is a key below the child, or may be.
    Open,
    /// All its keys are smaller than the bound.
    IsSmaller,
    /// All its keys are greater than the bound.
    IsGreater,
}

impl Child {
    /// `rest` is what is left of the bound where the child begins.
    fn of<V>(node: &Node<V>, rest: &[u8]) -> Self {
        match node.kind() {
            Kind::Inner(inner) if !rest.starts_with(inner.label()) => {
                if inner.label() < rest {
                    Self::IsSmaller
                } else {
                    Self::IsGreater
                }
            }
            Kind::Page(_) | Kind::Inner(_) => Self::Open,
        }
    }
}

impl<R: Run<Value = T>, C: Seek<Run = R, Value = T>, T> Walk<R, C, T> {
    /// Leaves out what lies outside of the bounds. To be called before the first step.
    pub(in crate::trie) fn restrict(&mut self, (start, end): (KeyBound<'_>, KeyBound<'_>)) {
        if let Some(run) = self.front.run.take() {
            self.push_front(PartKind::Page(run));
        }
        match start {
            Bound::Included(key) => self.seek_front(key, true),
            Bound::Excluded(key) => self.seek_front(key, false),
            Bound::Unbounded => {}
        }
        match end {
            Bound::Included(key) => self.seek_back(key, true),
            Bound::Excluded(key) => self.seek_back(key, false),
            Bound::Unbounded => {}
        }
    }

    /// Leaves out the values whose keys are smaller than `key`, and, unless it is `included`, the one
    /// at `key`.
    fn seek_front(&mut self, key: &[u8], included: bool) {
        while let Some(part) = self.take_front() {
            let Some(rest) = key.strip_prefix(&*self.front.key) else {
                // Only the label of the first node can lead elsewhere; all below it is on one side.
                if *self.front.key > *key {
                    return self.push_front(part);
                }
                continue;
            };
            match part {
                PartKind::Value(value) => {
                    if rest.is_empty() && included {
                        return self.push_front(PartKind::Value(value));
                    }
                }
                PartKind::Page(mut run) => {
                    let suffixes = run.suffixes();
                    let (from, to) = match suffixes.find(rest) {
                        Ok(index) => (index + usize::from(!included), suffixes.len()),
                        Err(index) => (index, suffixes.len()),
                    };
                    run.restrict(from..to);
                    return self.push_front(PartKind::Page(run));
                }
                PartKind::Children(mut children) => {
                    if rest.is_empty() {
                        return self.push_front(PartKind::Children(children));
                    }
                    children.skip_below(head(rest));
                    match children.first().map(|child| Child::of(child, rest)) {
                        Some(Child::Open) => {
                            let child = children.next();
                            self.push_front_children(children);
                            if let Some(child) = child {
                                let opened = C::open(child, &mut self.front.key);
                                self.put_front(opened);
                            }
                        }
                        Some(Child::IsSmaller) => {
                            children.skip_first();
                            return self.push_front_children(children);
                        }
                        Some(Child::IsGreater) => return self.push_front_children(children),
                        None => return,
                    }
                }
            }
        }
    }

    /// Leaves out the values whose keys are greater than `key`, and, unless it is `included`, the one
    /// at `key`. `key` is no smaller than the one that the front has been moved to.
    fn seek_back(&mut self, key: &[u8], included: bool) {
        while let Some((part, back)) = self.take_back() {
            let Some(rest) = key.strip_prefix(&*back.key) else {
                if *back.key < *key {
                    return self.push_back(part);
                }
                continue;
            };
            match part {
                PartKind::Value(value) => {
                    if !rest.is_empty() || included {
                        self.push_back(PartKind::Value(value));
                    }
                    return;
                }
                PartKind::Page(mut run) => {
                    let to = match run.suffixes().find(rest) {
                        Ok(index) => index + usize::from(included),
                        Err(index) => index,
                    };
                    run.restrict(0..to);
                    return self.push_back(PartKind::Page(run));
                }
                PartKind::Children(mut children) => {
                    if rest.is_empty() {
                        continue;
                    }
                    children.skip_above(head(rest));
                    match children.last().map(|child| Child::of(child, rest)) {
                        Some(Child::Open) => {
                            let child = children.next_back();
                            self.push_back_children(children);
                            if let Some(child) = child {
                                self.open_back(child);
                            }
                        }
                        Some(Child::IsSmaller) => return self.push_back_children(children),
                        Some(Child::IsGreater) => {
                            children.skip_last();
                            return self.push_back_children(children);
                        }
                        None => {}
                    }
                }
            }
        }
    }
}

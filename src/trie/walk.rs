//! The walk over the entries of a subtrie, from both ends, that all iterators and cursors share.
//!
//! A [`Walk`] holds the parts of the subtrie that it hasn't passed yet, in key order: the value of an
//! inner node, the children of one, or the entries of a page. Each end has a page of its own that it
//! is in, its *run*; the parts in between are in one deque. An end whose run is spent takes the part
//! at its end of the deque; a node that it finds there it opens, and puts the node's parts back. When
//! the deque is empty, too, it goes on in the other end's run. So steps at one end see what steps at
//! the other end left, and a mutable walk hands out each value once, which the borrow checker can
//! follow.
//!
//! Keys are not stored whole, so each end has a buffer with the key of its last step, and each part
//! knows how many bytes of it lead to the part: its *depth*. The parts that the front has put into
//! the deque go by the front's buffer, and nest (the nearer to the front, the deeper), so the front
//! overwrites only bytes that no part needs any more; likewise at the back. An end that takes a part
//! of the other end's copies the bytes that lead to it.

mod seek;

use super::inner::{
    Children, ChildrenMut, IntoChildren, NodeMut, Opened, OwnedNode, Seek, SharedChildren,
};
use super::key::{KeyBuffer, key_after};
use super::node::{CloneFn, IntoRootKind, Kind, Node, Root, RootKind, RootKindMut, Tree};
use super::page::{Entries, EntriesMut, IntoEntries, Page, Run};
use std::collections::VecDeque;
use std::ops::{Bound, Range};

/// What is left of a subtrie. `R` are the [`Run`]s of its pages, `C` the [`Children`] of its inner
/// nodes, and `T` their values; three parameters, since through an associated type the compiler
/// can't see that a shared walk is covariant.
#[derive(Clone)]
pub(super) struct Walk<R, C, T> {
    front: End<R>,
    /// Made when it is first asked for: most walks go forward only.
    back: Option<Box<End<R>>>,
    parts: VecDeque<Part<R, C, T>>,
    /// How many of `parts`, from the front, go by the front's key. The others go by the back's.
    front_parts: usize,
    /// No more values than this are left, and exactly so many in a walk over a whole trie.
    len_max: usize,
}

/// One end of a walk.
#[derive(Clone)]
struct End<R> {
    /// The key of the last step.
    key: KeyBuffer,
    /// The entries that come next, if there are any.
    run: Option<R>,
    /// How many bytes of the key lead to the run.
    depth: usize,
}

impl<R> Default for End<R> {
    fn default() -> Self {
        Self { key: KeyBuffer::new(), run: None, depth: 0 }
    }
}

#[derive(Clone)]
struct Part<R, C, T> {
    depth: usize,
    kind: PartKind<R, C, T>,
}

#[derive(Clone)]
enum PartKind<R, C, T> {
    Value(T),
    Page(R),
    /// Never empty between two steps.
    Children(C),
}

pub(super) type Shared<'a, V> = Walk<Entries<'a, V>, SharedChildren<'a, V>, &'a V>;
pub(super) type Mutable<'a, V> = Walk<EntriesMut<'a, V>, ChildrenMut<'a, V>, &'a mut V>;
pub(super) type Owned<V> = Walk<IntoEntries<V>, IntoChildren<V>, V>;

impl<'a, V> Shared<'a, V> {
    /// A walk over a whole trie.
    pub(super) fn of_root(root: &'a Root<V>) -> Self {
        match root.kind() {
            RootKind::Empty => Self::empty(),
            RootKind::Page(page) => Self::of_page(page),
            RootKind::Tree(Tree { len, node, .. }) => Self::of_node(node, &[], *len),
        }
    }

    /// A walk over a trie that is a page.
    pub(super) fn of_page(page: &'a Page<V>) -> Self {
        page.prefetch();
        Self::of_run(page.entries(), 0..page.len(), &[])
    }

    /// A walk over what begins with `prefix`.
    pub(super) fn of_prefix(root: &'a Root<V>, prefix: &[u8]) -> Self {
        let in_page = |page: &'a Page<V>, depth| {
            let range = page.suffixes().prefixed(&prefix[depth..]);
            Self::of_run(page.entries(), range, &prefix[..depth])
        };
        let Tree { len, node, .. } = match root.kind() {
            RootKind::Empty => return Self::empty(),
            RootKind::Page(page) => return in_page(page, 0),
            RootKind::Tree(tree) => tree,
        };
        let (mut node, mut depth) = (node, 0);
        loop {
            let inner = match node.kind() {
                Kind::Page(page) => return in_page(page, depth),
                Kind::Inner(inner) => inner,
            };
            let rest = &prefix[depth..];
            let Some(below) = inner.strip_label(rest).filter(|below| !below.is_empty()) else {
                if inner.label().starts_with(rest) {
                    return Self::of_node(node, &prefix[..depth], *len);
                }
                return Self::empty();
            };
            depth = prefix.len() - below.len();
            let children = inner.prefixed(below);
            if children.len() > 1 {
                let children = SharedChildren::new(inner, children);
                return Self::of_children(children, prefix, depth, *len);
            }
            node = &inner.children()[children.start];
            node.prefetch();
        }
    }

    /// Calls `f` with all entries that are left, in order.
    pub(super) fn for_each(mut self, mut f: impl FnMut(&[u8], &'a V)) {
        loop {
            if let Some(run) = self.front.run.take() {
                run.for_each(&mut self.front.key, self.front.depth, &mut f);
            }
            let Some(part) = self.take_front() else {
                let Some(value) = self.step_in_back() else { return };
                f(&self.front.key, value);
                continue;
            };
            let depth = self.front.key.len();
            match part {
                PartKind::Value(value) => f(&self.front.key, value),
                PartKind::Page(run) => run.for_each(&mut self.front.key, depth, &mut f),
                PartKind::Children(children) => self.visit(children, &mut f),
            }
        }
    }

    /// Calls `f` with all entries below these children, which come first, in order. Pages needn't
    /// become parts for it.
    fn visit(&mut self, mut children: SharedChildren<'a, V>, f: &mut impl FnMut(&[u8], &'a V)) {
        let mut depth = self.front.key.len();
        while let Some(node) = children.next() {
            self.front.key.truncate(depth);
            match SharedChildren::open(node, &mut self.front.key) {
                Opened::Page(run) => run.for_each(&mut self.front.key, depth, f),
                Opened::Inner(value, below) => {
                    if !children.is_empty() {
                        self.parts.push_front(Part { depth, kind: PartKind::Children(children) });
                        self.front_parts += 1;
                    }
                    if let Some(value) = value {
                        f(&self.front.key, value);
                    }
                    (children, depth) = (below, self.front.key.len());
                }
            }
        }
    }

    fn of_node(node: &'a Node<V>, above: &[u8], len_max: usize) -> Self {
        Self::of(|key| SharedChildren::open(node, key), above, len_max)
    }
}

impl<'a, V> Mutable<'a, V> {
    /// A walk over a whole trie.
    pub(super) fn of_root(root: &'a mut Root<V>) -> Self {
        match root.kind_mut() {
            RootKindMut::Empty => Self::empty(),
            RootKindMut::Page(page) => {
                page.make_root_unique();
                let range = 0..page.len();
                Self::of_run(page.entries_mut(), range, &[])
            }
            RootKindMut::Tree(Tree { len, clone, node }) => {
                Self::of_node(node, clone.get(), &[], *len)
            }
        }
    }

    /// A walk over what begins with `prefix`.
    pub(super) fn of_prefix(root: &'a mut Root<V>, prefix: &[u8]) -> Self {
        let in_page = |page: &'a mut Page<V>, depth| {
            let range = page.suffixes().prefixed(&prefix[depth..]);
            Self::of_run(page.entries_mut(), range, &prefix[..depth])
        };
        let Tree { len, clone, node } = match root.kind_mut() {
            RootKindMut::Empty => return Self::empty(),
            RootKindMut::Page(page) => {
                page.make_root_unique();
                return in_page(page, 0);
            }
            RootKindMut::Tree(tree) => tree,
        };
        let (mut node, clone, mut depth) = (node, clone.get(), 0);
        loop {
            node.make_unique(clone);
            let inner = match node.kind() {
                Kind::Page(_) => return in_page(node.page_mut(), depth),
                Kind::Inner(inner) => inner,
            };
            let rest = &prefix[depth..];
            let Some(below) = inner.strip_label(rest).filter(|below| !below.is_empty()) else {
                if inner.label().starts_with(rest) {
                    return Self::of_node(node, clone, &prefix[..depth], *len);
                }
                return Self::empty();
            };
            depth = prefix.len() - below.len();
            let children = inner.prefixed(below);
            let inner = node.inner_mut();
            if children.len() > 1 {
                let children = ChildrenMut::new(inner, children, clone);
                return Self::of_children(children, prefix, depth, *len);
            }
            node = &mut inner.children_mut()[children.start];
            node.prefetch();
        }
    }

    fn of_node(
        node: &'a mut Node<V>,
        clone: Option<CloneFn<V>>,
        above: &[u8],
        len_max: usize,
    ) -> Self {
        let node = NodeMut::new(node, clone);
        Self::of(|key| ChildrenMut::open(node, key), above, len_max)
    }
}

impl<V> Owned<V> {
    /// A walk over a whole trie.
    pub(super) fn of_root(root: Root<V>) -> Self {
        match root.into_kind() {
            IntoRootKind::Empty => Self::empty(),
            IntoRootKind::Page(mut page) => {
                page.make_root_unique();
                let range = 0..page.len();
                Self::of_run(page.into_entries(), range, &[])
            }
            IntoRootKind::Tree(tree) => {
                let node = OwnedNode::new(tree.node, tree.clone.get());
                Self::of(|key| IntoChildren::open(node, key), &[], tree.len)
            }
        }
    }
}

impl<R: Run<Value = T>, C: Children<Run = R, Value = T>, T> Walk<R, C, T> {
    /// A walk over nothing.
    pub(super) fn empty() -> Self {
        Self {
            front: End::default(),
            back: None,
            parts: VecDeque::new(),
            front_parts: 0,
            len_max: 0,
        }
    }

    fn of(
        open: impl FnOnce(&mut KeyBuffer) -> Opened<R, C, T>,
        above: &[u8],
        len_max: usize,
    ) -> Self {
        let mut walk = Self { len_max, ..Self::empty() };
        walk.front.key.push(above);
        let opened = open(&mut walk.front.key);
        walk.put_front(opened);
        walk
    }

    /// A walk over what begins with `prefix` below some children of a node, to which `depth` bytes of
    /// the prefix lead.
    fn of_children(mut children: C, prefix: &[u8], depth: usize, len_max: usize) -> Self
    where
        C: Seek,
    {
        let rest = &prefix[depth..];
        let is_part = |node: Option<&Node<C::Stored>>| match node.map(Node::kind) {
            Some(Kind::Inner(inner)) => !inner.label().starts_with(rest),
            Some(Kind::Page(_)) | None => false,
        };
        let mut walk = Self { len_max, ..Self::empty() };
        walk.front.key.push(&prefix[..depth]);
        if is_part(children.first()) || is_part(children.last()) {
            walk.push_front_children(children);
            let end = key_after(prefix);
            let end = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&**end));
            walk.restrict((Bound::Included(prefix), end));
            return walk;
        }
        // Only pages at the ends may have other keys, too.
        let mut end = |node: Option<C::Node>| match C::open(node?, &mut walk.front.key) {
            Opened::Page(mut run) => {
                let range = run.suffixes().prefixed(rest);
                run.restrict(range);
                Some(run)
            }
            Opened::Inner(..) => None,
        };
        let is_page =
            |node: Option<&Node<C::Stored>>| node.is_some_and(|node| node.page().is_some());
        let last = if is_page(children.last()) { end(children.next_back()) } else { None };
        let first = if is_page(children.first()) { end(children.next()) } else { None };
        if let Some(run) = last {
            walk.push_front(PartKind::Page(run));
        }
        walk.push_front_children(children);
        walk.front.depth = depth;
        walk.front.run = first;
        walk
    }

    /// A walk over entries of one page, which are the front's run from the start.
    fn of_run(mut run: R, range: Range<usize>, above: &[u8]) -> Self {
        let mut walk = Self { len_max: range.len(), ..Self::empty() };
        walk.front.key.push(above);
        walk.front.depth = above.len();
        run.restrict(range);
        walk.front.run = Some(run);
        walk
    }

    /// Takes the first value that is left. Its key is [`front_key`](Self::front_key).
    #[inline]
    pub(super) fn step(&mut self) -> Option<T> {
        if let Some(run) = &mut self.front.run {
            self.front.key.truncate(self.front.depth);
            if let Some(value) = run.next(&mut self.front.key) {
                self.len_max -= 1;
                return Some(value);
            }
        }
        self.step_on()
    }

    /// The first value behind the front's run, which is spent.
    fn step_on(&mut self) -> Option<T> {
        self.front.run = None;
        loop {
            let Some(part) = self.take_front() else { return self.step_in_back() };
            match part {
                PartKind::Value(value) => {
                    self.len_max -= 1;
                    return Some(value);
                }
                PartKind::Page(mut run) => {
                    self.front.depth = self.front.key.len();
                    // A bound may have left nothing of it.
                    if let Some(value) = run.next(&mut self.front.key) {
                        self.front.run = Some(run);
                        self.len_max -= 1;
                        return Some(value);
                    }
                }
                PartKind::Children(mut children) => {
                    let node = children.next();
                    self.push_front_children(children);
                    if let Some(node) = node {
                        let opened = C::open(node, &mut self.front.key);
                        self.put_front(opened);
                    }
                }
            }
        }
    }

    /// The first value of the back's run, in which the front goes on.
    fn step_in_back(&mut self) -> Option<T> {
        let back = self.back.as_mut()?;
        let mut run = back.run.take()?;
        self.front.key.clear();
        self.front.key.push(&back.key[..back.depth]);
        self.front.depth = back.depth;
        let value = run.next(&mut self.front.key);
        self.front.run = Some(run);
        self.len_max -= usize::from(value.is_some());
        value
    }

    /// Takes the last value that is left. Its key is [`back_key`](Self::back_key).
    pub(super) fn step_back(&mut self) -> Option<T> {
        let back = self.back.get_or_insert_default();
        if let Some(run) = &mut back.run {
            back.key.truncate(back.depth);
            if let Some(value) = run.next_back(&mut back.key) {
                self.len_max -= 1;
                return Some(value);
            }
            back.run = None;
        }
        loop {
            let Some((part, back)) = self.take_back() else { return self.step_back_in_front() };
            match part {
                PartKind::Value(value) => {
                    self.len_max -= 1;
                    return Some(value);
                }
                PartKind::Page(mut run) => {
                    back.depth = back.key.len();
                    // A bound may have left nothing of it.
                    if let Some(value) = run.next_back(&mut back.key) {
                        back.run = Some(run);
                        self.len_max -= 1;
                        return Some(value);
                    }
                }
                PartKind::Children(mut children) => {
                    let node = children.next_back();
                    self.push_back_children(children);
                    if let Some(node) = node {
                        self.open_back(node);
                    }
                }
            }
        }
    }

    /// The last value of the front's run, in which the back goes on.
    fn step_back_in_front(&mut self) -> Option<T> {
        let mut run = self.front.run.take()?;
        let back = self.back.get_or_insert_default();
        back.key.clear();
        back.key.push(&self.front.key[..self.front.depth]);
        back.depth = self.front.depth;
        let value = run.next_back(&mut back.key);
        back.run = Some(run);
        self.len_max -= usize::from(value.is_some());
        value
    }

    #[inline]
    pub(super) fn front_key(&self) -> &[u8] {
        &self.front.key
    }

    pub(super) fn back_key(&self) -> &[u8] {
        self.back.as_ref().map_or(&[], |back| &back.key)
    }

    pub(super) fn len_max(&self) -> usize {
        self.len_max
    }

    /// Takes the first part, and makes the front's key the bytes that lead to it.
    fn take_front(&mut self) -> Option<PartKind<R, C, T>> {
        let Part { depth, kind } = self.parts.pop_front()?;
        if let Some(left) = self.front_parts.checked_sub(1) {
            self.front_parts = left;
            self.front.key.truncate(depth);
        } else {
            self.front.key.clear();
            self.front.key.push(&self.back.get_or_insert_default().key[..depth]);
        }
        Some(kind)
    }

    /// Takes the last part, and makes the back's key the bytes that lead to it.
    #[expect(clippy::type_complexity, reason = "the parameters are those of the walk")]
    fn take_back(&mut self) -> Option<(PartKind<R, C, T>, &mut End<R>)> {
        let is_front = self.front_parts == self.parts.len();
        let Part { depth, kind } = self.parts.pop_back()?;
        let back = self.back.get_or_insert_default();
        if is_front {
            self.front_parts -= 1;
            back.key.clear();
            back.key.push(&self.front.key[..depth]);
        } else {
            back.key.truncate(depth);
        }
        Some((kind, back))
    }

    /// Puts the parts of a node, to which the front's key leads, before the others.
    fn put_front(&mut self, opened: Opened<R, C, T>) {
        match opened {
            Opened::Page(run) => self.push_front(PartKind::Page(run)),
            Opened::Inner(value, children) => {
                self.push_front_children(children);
                if let Some(value) = value {
                    self.push_front(PartKind::Value(value));
                }
            }
        }
    }

    /// Puts the parts of a node, to which the back's key leads, behind the others.
    fn open_back(&mut self, node: C::Node) {
        match C::open(node, &mut self.back.get_or_insert_default().key) {
            Opened::Page(run) => self.push_back(PartKind::Page(run)),
            Opened::Inner(value, children) => {
                if let Some(value) = value {
                    self.push_back(PartKind::Value(value));
                }
                self.push_back_children(children);
            }
        }
    }

    fn push_front_children(&mut self, children: C) {
        if !children.is_empty() {
            self.push_front(PartKind::Children(children));
        }
    }

    fn push_back_children(&mut self, children: C) {
        if !children.is_empty() {
            self.push_back(PartKind::Children(children));
        }
    }

    fn push_front(&mut self, kind: PartKind<R, C, T>) {
        self.parts.push_front(Part { depth: self.front.key.len(), kind });
        self.front_parts += 1;
    }

    fn push_back(&mut self, kind: PartKind<R, C, T>) {
        let depth = self.back.get_or_insert_default().key.len();
        self.parts.push_back(Part { depth, kind });
    }
}

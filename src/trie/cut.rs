//! Taking whole parts of a trie away: what begins with a prefix, or what isn't smaller than a key.

use super::inner::Inner;
use super::key::key_after;
use super::node::{CloneFn, IntoKind, IntoRootKind, Kind, KindMut, Node, Root, RootKind, Tree};
use super::page::{HEAD_MIN, Page, head};
use super::place::{collapse, tidy, unite};
use std::mem;
use std::ops::Range;

/// Removes what begins with `prefix`, and returns it.
pub(super) fn remove_prefix<V>(root: &mut Root<V>, prefix: &[u8]) -> Root<V> {
    match root.kind() {
        RootKind::Empty => Root::empty(),
        RootKind::Page(page) => {
            let range = page.suffixes().prefixed(prefix);
            remove_from_page(root, range)
        }
        RootKind::Tree(tree) => {
            if let Kind::Inner(inner) = tree.node.kind()
                && inner.label().starts_with(prefix)
            {
                return mem::replace(root, Root::empty());
            }
            let Tree { len, clone, node } = root.tree_mut();
            let clone = clone.get();
            let Some(removed) = remove_below(node, clone, prefix) else { return Root::empty() };
            let removed = Root::of_node(removed, clone);
            *len -= removed.len();
            prune(node, prefix);
            removed
        }
    }
}

/// Removes entries of the page that is the whole trie.
fn remove_from_page<V>(root: &mut Root<V>, range: Range<usize>) -> Root<V> {
    if range.is_empty() {
        return Root::empty();
    }
    let clone = root.clone_fn();
    let page = root.page_mut();
    page.make_root_unique();
    let removed = page.extract(range, 0, &[]);
    page.fit();
    if page.len() == 0 {
        *root = Root::empty();
    }
    Root::of_node(removed.into(), clone)
}

/// Removes what begins with `prefix` from below `node`, not all of which does.
fn remove_below<V>(
    mut node: &mut Node<V>,
    clone: Option<CloneFn<V>>,
    prefix: &[u8],
) -> Option<Node<V>> {
    let mut depth = 0;
    loop {
        node.make_unique(clone);
        let inner = match node.kind_mut() {
            KindMut::Page(page) => {
                let range = page.suffixes().prefixed(&prefix[depth..]);
                return Some(page.extract(range, 0, &prefix[..depth]).into());
            }
            KindMut::Inner(inner) => inner,
        };
        let rest = prefix[depth..].strip_prefix(inner.label())?;
        // The prefix leads on: otherwise this node would have been removed as a child.
        let children = inner.prefixed(rest);
        let index = children.start;
        if children.len() > 1 {
            let label = &prefix[..prefix.len() - rest.len()];
            let removed = remove_children(inner, children, clone, label, rest);
            if inner.len() < 2 {
                collapse(node);
            }
            return closed(removed);
        }
        let child = &mut inner.children_mut()[index];
        if unite(child, clone) {
            continue;
        }
        depth = prefix.len() - rest.len();
        match child.kind() {
            Kind::Page(_) => {
                child.make_unique(clone);
                let page = child.page_mut();
                let range = page.suffixes().prefixed(rest);
                let removed = page.extract(range, 0, &prefix[..depth]);
                page.fit();
                tidy(node, index);
                return Some(removed.into());
            }
            Kind::Inner(below) if below.label().starts_with(rest) => {
                let label = [&prefix[..depth], below.label()].concat();
                child.make_unique(clone);
                child.inner_mut().set_label(&label);
                let removed = inner.remove(index);
                if inner.len() < 2 {
                    collapse(node);
                }
                return Some(removed);
            }
            Kind::Inner(_) => node = &mut node.inner_mut().children_mut()[index],
        }
    }
}

/// Removes what begins with `prefix` from several children of a node, which has one owner, to a node
/// with this label.
fn remove_children<V>(
    inner: &mut Inner<V>,
    children: Range<usize>,
    clone: Option<CloneFn<V>>,
    label: &[u8],
    prefix: &[u8],
) -> Inner<V> {
    let after = key_after(prefix);
    let (first, last) = (children.start, children.end - 1);
    // What is cut needn't be copied then, so that a clone that panics does so here.
    make_way_unique(&mut inner.children_mut()[first], clone, prefix);
    if let Some(after) = &after {
        make_way_unique(&mut inner.children_mut()[last], clone, after);
    }
    let mut removed = Inner::new(label, None, children.len());
    let (separators, children) = inner.take_children();
    for (index, (separator, child)) in separators.into_iter().zip(children).enumerate() {
        if index < first || last < index {
            inner.push(separator, child);
            continue;
        }
        let (before, mut inside) =
            if index == first { cut(child, prefix) } else { (None, Some(child)) };
        let mut behind = None;
        if let Some(after) = after.as_deref().filter(|_| index == last)
            && let Some(child) = inside
        {
            (inside, behind) = cut(child, after);
        }
        if let Some(before) = before {
            inner.push(separator, before);
        }
        if let Some(inside) = inside {
            removed.push(separator, inside);
        }
        let separator = after.as_deref().map_or(separator, head);
        if let Some(behind) = behind {
            inner.push(separator, behind);
        }
    }
    removed
}

/// Takes a page that was emptied on the way of `prefix` away from its parent.
fn prune<V>(mut node: &mut Node<V>, prefix: &[u8]) {
    let mut rest = prefix;
    while let KindMut::Inner(inner) = node.kind_mut() {
        let Some(below) = rest.strip_prefix(inner.label()) else { return };
        if below.is_empty() {
            return;
        }
        rest = below;
        let index = inner.find(head(rest));
        if inner.is_shared() {
            return;
        }
        if inner.children()[index].page().is_some_and(|page| page.len() == 0) {
            inner.remove(index);
            if inner.len() < 2 {
                collapse(node);
            }
            return;
        }
        node = &mut node.inner_mut().children_mut()[index];
    }
}

/// Removes what isn't smaller than `key`, and returns it.
pub(super) fn split_off<V>(root: &mut Root<V>, key: &[u8]) -> Root<V> {
    match root.kind() {
        RootKind::Empty => Root::empty(),
        RootKind::Page(page) => {
            let (Ok(index) | Err(index)) = page.find(key);
            let range = index..page.len();
            remove_from_page(root, range)
        }
        RootKind::Tree(_) => {
            let Tree { clone, node, .. } = root.tree_mut();
            // What is cut needn't be copied then, so that a clone that panics does so here.
            make_way_unique(node, clone.get(), key);
            let IntoRootKind::Tree(tree) = mem::replace(root, Root::empty()).into_kind() else {
                unreachable!("the trie is a tree")
            };
            let clone = tree.clone.get();
            let (left, right) = cut(tree.node, key);
            let right = right.map_or_else(Root::empty, |right| Root::of_node(right, clone));
            if let Some(left) = left {
                *root = Root::of_tree(tree.len - right.len(), clone, left);
            }
            right
        }
    }
}

/// Makes the nodes to which `key` leads the trie's own.
fn make_way_unique<V>(mut node: &mut Node<V>, clone: Option<CloneFn<V>>, key: &[u8]) {
    let mut rest = key;
    loop {
        node.make_unique(clone);
        let KindMut::Inner(inner) = node.kind_mut() else { return };
        let Some(below) = rest.strip_prefix(inner.label()) else { return };
        if below.is_empty() {
            return;
        }
        rest = below;
        let index = inner.find(head(rest));
        node = &mut inner.children_mut()[index];
    }
}

/// What is smaller than `key`, and what isn't. The nodes to which the key leads have one owner.
fn cut<V>(mut node: Node<V>, key: &[u8]) -> (Option<Node<V>>, Option<Node<V>>) {
    let mut rest = key;
    let mut halves: Vec<Halves<V>> = Vec::new();
    let (mut left, mut right) = loop {
        match node.into_kind() {
            IntoKind::Page(mut page) => {
                let (Ok(index) | Err(index)) = page.find(rest);
                let upper = page.extract(index..page.len(), 0, &[]);
                page.fit();
                let some = |page: Page<V>| (page.len() > 0).then(|| page.into());
                break (some(page), some(upper));
            }
            IntoKind::Inner(mut inner) => {
                let Some(below) =
                    rest.strip_prefix(inner.label()).filter(|below| !below.is_empty())
                else {
                    // A label that only begins with the rest is greater, and one that is it, too.
                    let is_smaller = inner.label() < rest;
                    let whole = Some(inner.into());
                    break if is_smaller { (whole, None) } else { (None, whole) };
                };
                rest = below;
                let index = inner.find(head(rest));
                let (separator, label) = (inner.separator(index), inner.label().to_vec());
                let next = inner.separators().get(index + 1).copied().unwrap_or(HEAD_MIN);
                let upper = inner.extract(index + 1..inner.len(), &label);
                node = inner.remove(index);
                halves.push(Halves { lower: inner, separator, next, upper });
            }
        }
    };
    for Halves { mut lower, separator, next, mut upper } in halves.into_iter().rev() {
        if let Some(left) = left {
            lower.push(separator, left);
        }
        if let Some(right) = right {
            upper.insert_before(0, right, next);
        }
        (left, right) = (closed(lower), closed(upper));
    }
    (left, right)
}

/// What is left of an inner node, from which the child was taken that has a key in its range.
struct Halves<V> {
    lower: Inner<V>,
    /// Where the child began.
    separator: i32,
    /// Where the one behind it begins, if there is one.
    next: i32,
    upper: Inner<V>,
}

/// The node, or what is simpler, or nothing if it is empty.
fn closed<V>(inner: Inner<V>) -> Option<Node<V>> {
    if inner.len() == 0 && inner.value().is_none() {
        return None;
    }
    let few = inner.len() < 2;
    let mut node = inner.into();
    if few {
        collapse(&mut node);
    }
    Some(node)
}

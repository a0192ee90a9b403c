//! Finding the place of a key, and putting an entry there or taking it away.
//!
//! Nothing here recurses over nodes, since the data decide how deep they lie.

use super::gather::gather;
use super::inner::Inner;
use super::key::KeyBuffer;
use super::node::{
    CloneFn, CloneSlot, IntoKind, IntoRootKind, Kind, KindMut, Node, Root, RootKind, Tree,
};
use super::page::{HEAD_MIN, Page, common_prefix_len, head};
use std::mem;

/// The longest key, in bytes.
pub(super) const KEY_BYTES_MAX: usize = u32::MAX as usize;

/// The place of a key that is in the trie.
pub(super) enum Occupied<'a, V> {
    /// In the page that is the whole trie.
    Root { root: &'a mut Root<V>, index: usize },
    /// Below a tree.
    Tree { len: &'a mut usize, node: &'a mut Node<V>, found: Found },
}

/// Where an entry is, seen from a node.
#[derive(Clone, Copy)]
pub(super) enum Found {
    /// In the node, a page.
    Here { index: usize },
    /// In a child of the node, a page.
    Below { child: usize, index: usize },
    /// The value of the node, an inner one.
    Value,
}

/// The place of a key that isn't in the trie.
pub(super) enum Vacant<'a, V> {
    /// In a trie that is empty or one page.
    Root { root: &'a mut Root<V>, index: usize },
    /// Below a tree. `depth` bytes of the key lead to the node.
    Tree { tree: TreeParts<'a, V>, node: &'a mut Node<V>, depth: usize, gap: Gap },
}

/// What an insertion needs of a tree beside its nodes.
pub(super) struct TreeParts<'a, V> {
    len: &'a mut usize,
    clone: Option<CloneFn<V>>,
}

/// Where an entry is missing, seen from a node.
#[derive(Clone, Copy)]
pub(super) enum Gap {
    /// In the node, a page.
    Here { index: usize },
    /// In a child of the node, a page.
    Below { child: usize, index: usize },
    /// The node, an inner one, has no value.
    Value,
    /// Only so many bytes of the node's label lead to the key.
    Label { matched: usize },
    /// The child, an inner node, has the key in its range, but no keys with its head.
    Beside { child: usize },
}

/// The value at `key`.
#[inline]
pub(super) fn get<'a, V>(root: &'a Root<V>, key: &[u8]) -> Option<&'a V> {
    match root.kind() {
        RootKind::Empty => None,
        RootKind::Page(page) => {
            page.prefetch();
            page.get(key)
        }
        RootKind::Tree(tree) => get_below(&tree.node, key),
    }
}

/// The value of the key of which `rest` is left below the node.
#[inline]
pub(super) fn get_below<'a, V>(mut node: &'a Node<V>, mut rest: &[u8]) -> Option<&'a V> {
    loop {
        match node.kind() {
            Kind::Page(page) => return page.get(rest),
            Kind::Inner(inner) => {
                rest = inner.strip_label(rest)?;
                if rest.is_empty() {
                    return inner.value();
                }
                node = &inner.children()[inner.find(head(rest))];
                node.prefetch();
            }
        }
    }
}

/// The place of `key`. Nodes on the way to it are made the trie's own.
pub(super) fn find<'a, V>(
    root: &'a mut Root<V>,
    key: &[u8],
) -> Result<Occupied<'a, V>, Vacant<'a, V>> {
    match root.kind() {
        RootKind::Empty => Err(Vacant::Root { root, index: 0 }),
        RootKind::Page(_) => {
            let page = root.page_mut();
            page.make_root_unique();
            match page.find(key) {
                Ok(index) => Ok(Occupied::Root { root, index }),
                Err(index) => Err(Vacant::Root { root, index }),
            }
        }
        RootKind::Tree(_) => {
            let Tree { len, clone, node } = root.tree_mut();
            let clone = clone.get();
            let (node, depth, result) = descend(node, clone, key, 0);
            match result {
                Ok(found) => Ok(Occupied::Tree { len, node, found }),
                Err(gap) => Err(Vacant::Tree { tree: TreeParts { len, clone }, node, depth, gap }),
            }
        }
    }
}

/// Goes from `node`, to which `depth` bytes of `key` lead, to the last node that can tell where the
/// key is: an inner node, or the page that all of this is.
fn descend<'a, V>(
    mut node: &'a mut Node<V>,
    clone: Option<CloneFn<V>>,
    key: &[u8],
    mut depth: usize,
) -> (&'a mut Node<V>, usize, Result<Found, Gap>) {
    loop {
        node.make_unique(clone);
        let rest = &key[depth..];
        let (label, child) = match node.kind_mut() {
            KindMut::Page(page) => {
                let found = page.find(rest);
                let found = found.map(|index| Found::Here { index });
                return (node, depth, found.map_err(|index| Gap::Here { index }));
            }
            KindMut::Inner(inner) => {
                let Some(below) = inner.strip_label(rest) else {
                    let matched = common_prefix_len(inner.label(), rest);
                    return (node, depth, Err(Gap::Label { matched }));
                };
                let label = rest.len() - below.len();
                if below.is_empty() {
                    let found = inner.value().map(|_| Found::Value);
                    return (node, depth, found.ok_or(Gap::Value));
                }
                let (below_head, mask) = (head(below), inner.border_mask());
                let index = inner.find(below_head);
                let child = &mut inner.children_mut()[index];
                child.prefetch();
                if unite(child, clone) {
                    continue;
                }
                if let Kind::Inner(next) = child.kind() {
                    let parts = (next.head() ^ below_head) & mask != 0;
                    if parts && !below.starts_with(next.label()) {
                        return (node, depth, Err(Gap::Beside { child: index }));
                    }
                    (label, index)
                } else {
                    child.make_unique(clone);
                    let found = match child.page_mut().find(below) {
                        Ok(at) => Ok(Found::Below { child: index, index: at }),
                        Err(at) => Err(Gap::Below { child: index, index: at }),
                    };
                    return (node, depth, found);
                }
            }
        };
        depth += label;
        node = &mut node.inner_mut().children_mut()[child];
    }
}

impl<'a, V> Occupied<'a, V> {
    pub(super) fn get(&self) -> &V {
        match self {
            Self::Root { root, index } => match root.kind() {
                RootKind::Page(page) => &page.values()[*index],
                _ => unreachable!("the trie is a page"),
            },
            Self::Tree { node, found, .. } => found.get(node),
        }
    }

    pub(super) fn get_mut(&mut self) -> &mut V {
        match self {
            Self::Root { root, index } => &mut root.page_mut().values_mut()[*index],
            Self::Tree { node, found, .. } => found.get_mut(node),
        }
    }

    pub(super) fn into_mut(self) -> &'a mut V {
        match self {
            Self::Root { root, index } => &mut root.page_mut().values_mut()[index],
            Self::Tree { node, found, .. } => found.get_mut(node),
        }
    }

    /// Takes the entry away.
    pub(super) fn remove(self) -> V {
        match self {
            Self::Root { root, index } => {
                let page = root.page_mut();
                let value = page.remove(index);
                if page.len() == 0 {
                    *root = Root::empty();
                }
                value
            }
            Self::Tree { len, node, found } => {
                let value = match found {
                    Found::Here { index } => node.page_mut().remove(index),
                    Found::Below { child, index } => {
                        let value = node.inner_mut().children_mut()[child].page_mut().remove(index);
                        tidy(node, child);
                        value
                    }
                    Found::Value => {
                        let value = node.inner_mut().take_value();
                        collapse(node);
                        value.expect("the entry was found")
                    }
                };
                *len -= 1;
                value
            }
        }
    }
}

impl Found {
    fn get<V>(self, node: &Node<V>) -> &V {
        let value = match (self, node.kind()) {
            (Self::Here { index }, Kind::Page(page)) => page.values().get(index),
            (Self::Below { child, index }, Kind::Inner(inner)) => {
                inner.children()[child].page().and_then(|page| page.values().get(index))
            }
            (Self::Value, Kind::Inner(inner)) => inner.value(),
            (Self::Here { .. }, Kind::Inner(_)) | (_, Kind::Page(_)) => None,
        };
        value.expect("the entry was found here")
    }

    fn get_mut<V>(self, node: &mut Node<V>) -> &mut V {
        match self {
            Self::Here { index } => &mut node.page_mut().values_mut()[index],
            Self::Below { child, index } => {
                &mut node.inner_mut().children_mut()[child].page_mut().values_mut()[index]
            }
            Self::Value => node.inner_mut().value_mut().expect("the entry was found here"),
        }
    }
}

impl<'a, V> Vacant<'a, V> {
    /// Puts the entry of `key`, for which this place was found, there.
    pub(super) fn insert(self, key: &[u8], value: V) -> &'a mut V {
        assert!(key.len() <= KEY_BYTES_MAX, "a key has at most {KEY_BYTES_MAX} bytes");
        match self {
            Self::Root { root, index } => insert_into_root(root, index, key, value),
            Self::Tree { tree, node, depth, gap } => {
                let value = insert_below(node, tree.clone, key, depth, gap, value);
                *tree.len += 1;
                value
            }
        }
    }
}

fn insert_into_root<'a, V>(root: &'a mut Root<V>, index: usize, key: &[u8], value: V) -> &'a mut V {
    if let RootKind::Empty = root.kind() {
        *root = Page::single(key, value, true).into();
    } else if let Err(value) = root.page_mut().try_insert(index, key, value) {
        let IntoRootKind::Page(mut page) = mem::replace(root, Root::empty()).into_kind() else {
            unreachable!("the trie is a page")
        };
        let clone = page.clone_slot().and_then(CloneSlot::get);
        let len = page.len();
        *root = Root::of_tree(len, clone, burst(&mut page).into());
        let Err(vacant) = find(root, key) else { unreachable!("the key is still missing") };
        return vacant.insert(key, value);
    }
    &mut root.page_mut().values_mut()[index]
}

/// Puts an entry where it was found missing.
fn insert_below<'a, V>(
    mut node: &'a mut Node<V>,
    clone: Option<CloneFn<V>>,
    key: &[u8],
    mut depth: usize,
    mut gap: Gap,
    mut value: V,
) -> &'a mut V {
    loop {
        let rest = &key[depth..];
        match gap {
            Gap::Here { index } => {
                let page = node.page_mut();
                match page.try_insert(index, rest, value) {
                    Ok(()) => return &mut node.page_mut().values_mut()[index],
                    Err(back) => value = back,
                }
                *node = burst(node.page_mut()).into();
            }
            Gap::Below { child, index } => {
                let inner = node.inner_mut();
                let below = &rest[inner.label().len()..];
                match inner.children_mut()[child].page_mut().try_insert(index, below, value) {
                    Ok(()) => return Found::Below { child, index }.get_mut(node),
                    Err(back) => value = back,
                }
                if inner.is_full() {
                    gather(inner, clone);
                } else {
                    divide(inner, child, index);
                }
            }
            Gap::Value => {
                node.inner_mut().set_value(value);
                return Found::Value.get_mut(node);
            }
            Gap::Label { matched } => return insert_into_label(node, matched, rest, value),
            Gap::Beside { .. } if node.inner_mut().is_full() => gather(node.inner_mut(), clone),
            Gap::Beside { child } => {
                let inner = node.inner_mut();
                let below = &rest[inner.label().len()..];
                let found = insert_beside(inner, child, clone, below, value);
                return found.get_mut(node);
            }
        }
        // Something was full, and has been divided: the key's place is elsewhere now, not far away.
        let result;
        (node, depth, result) = descend(node, clone, key, depth);
        match result {
            Err(now) => gap = now,
            Ok(_) => unreachable!("the key is still missing"),
        }
    }
}

/// Splits the node's label behind `matched` bytes, where `rest` leaves it or ends.
fn insert_into_label<'a, V>(
    node: &'a mut Node<V>,
    matched: usize,
    rest: &[u8],
    value: V,
) -> &'a mut V {
    let inner = node.inner_mut();
    let (above, below) = inner.label().split_at(matched);
    let (above, separator) = (Inner::new(above, None, 2), head(below));
    let below = below.to_vec();
    inner.set_label(&below);
    let lower = mem::replace(node, above.into());
    let upper = node.inner_mut();
    upper.push(HEAD_MIN, lower);
    let rest = &rest[matched..];
    if rest.is_empty() {
        upper.set_value(value);
        return Found::Value.get_mut(node);
    }
    let page = Page::single(rest, value, false).into();
    let child = usize::from(*below < *rest);
    if child == 0 {
        upper.insert_before(0, page, separator);
    } else {
        upper.push(head(rest), page);
    }
    Found::Below { child, index: 0 }.get_mut(node)
}

/// Inserts an entry that is in the range of a child, an inner node, but not among what the
/// child has. Returns where it is now.
fn insert_beside<V>(
    inner: &mut Inner<V>,
    child: usize,
    clone: Option<CloneFn<V>>,
    suffix: &[u8],
    mut value: V,
) -> Found {
    let label = inner.children()[child].inner().map(Inner::label);
    let label = label.expect("the child is an inner node");
    let (is_before, label, separator) = (suffix < label, inner.border(label), inner.border(suffix));
    let neighbour = if is_before { child.checked_sub(1) } else { Some(child + 1) };
    if let Some(index) = neighbour
        && let Some(neighbour) = inner.children_mut().get_mut(index)
        && neighbour.page().is_some()
    {
        neighbour.make_unique(clone);
        let page = neighbour.page_mut();
        let at = if is_before { page.len() } else { 0 };
        match page.try_insert(at, suffix, value) {
            Ok(()) => {
                let (moved, to) = if is_before { (child, label) } else { (index, separator) };
                inner.set_separator(moved, to);
                return Found::Below { child: index, index: at };
            }
            Err(back) => value = back,
        }
    }
    let page = Page::single(suffix, value, false).into();
    if is_before {
        inner.insert_before(child, page, label);
        Found::Below { child, index: 0 }
    } else {
        inner.insert(child + 1, separator, page);
        Found::Below { child: child + 1, index: 0 }
    }
}

/// Moves the entries of a page to below an inner node, whose label is what they have in common.
fn burst<V>(page: &mut Page<V>) -> Inner<V> {
    let suffixes = page.suffixes();
    let common = suffixes.common_prefix_len(0, suffixes.len() - 1);
    let mut label = KeyBuffer::new();
    suffixes.push(0, &mut label);
    let ends_here = label.len() == common;
    label.truncate(common);
    let value = ends_here.then(|| page.remove(0));
    let mut inner = Inner::new(&label, value, 2);
    inner.push(HEAD_MIN, page.extract(0..page.len(), common, &[]).into());
    inner
}

/// Makes two of a page that is full, or puts an inner node above it if there is nothing that separates
/// its entries. `index` is where the next entry would come.
fn divide<V>(inner: &mut Inner<V>, child: usize, index: usize) {
    let mask = inner.border_mask();
    let page = inner.children_mut()[child].page_mut();
    let (suffixes, len) = (page.suffixes(), page.len());
    // Entries that come in order leave full pages behind.
    let best = if index == len { len } else { len / 2 };
    let border = |at| suffixes.head(at) & mask;
    let borders = (1..len).filter(|&at| border(at - 1) != border(at));
    if let Some(at) = borders.min_by_key(|&at| at.abs_diff(best)) {
        let separator = border(at);
        let upper = page.extract(at..len, 0, &[]);
        page.fit();
        inner.insert(child + 1, separator, upper.into());
    } else {
        let below = burst(page);
        inner.children_mut()[child] = below.into();
    }
}

/// After entries were removed from a child, a page: drops it if it is empty, joins it with a
/// neighbour if both are small, and removes the inner node if it isn't needed any more.
pub(super) fn tidy<V>(node: &mut Node<V>, child: usize) {
    let inner = node.inner_mut();
    let len = inner.children()[child].page().map(Page::len);
    if len == Some(0) {
        inner.remove(child);
    } else if len.is_none_or(|len| len > Page::<V>::LEN_MAX / 4) {
        // Of two neighbours that are small together, one is so alone. To look at them costs.
    } else if are_small(inner, child) {
        join(inner, child);
    } else if child > 0 && are_small(inner, child - 1) {
        join(inner, child - 1);
    }
    if inner.len() < 2 {
        collapse(node);
    }
}

/// Whether the child and the next one are pages that would make one no more than half full.
fn are_small<V>(inner: &Inner<V>, child: usize) -> bool {
    let Some([left, right]) = inner.children().get(child..child + 2) else { return false };
    let (Some(left), Some(right)) = (left.page(), right.page()) else { return false };
    let (len, weight) = (left.len() + right.len(), left.weight() + right.weight());
    // What is shared is left alone: to copy it would cost more than it saves.
    Page::<V>::is_half_full(len, weight) && !left.is_shared() && !right.is_shared()
}

fn join<V>(inner: &mut Inner<V>, child: usize) {
    if let IntoKind::Page(right) = inner.remove(child + 1).into_kind() {
        inner.children_mut()[child].page_mut().join(right);
    }
}

/// Puts something simpler into the place of an inner node that has one child and no value, if that
/// is possible, and says whether it was.
///
/// Such a node is left where its child was shared, or too full. To unite them on the way to a key
/// is what keeps removals from emptying a node without its parent: a node that can't be united has
/// more entries than one.
pub(super) fn unite<V>(node: &mut Node<V>, clone: Option<CloneFn<V>>) -> bool {
    let Kind::Inner(inner) = node.kind() else { return false };
    if inner.len() > 1 || inner.value().is_some() {
        return false;
    }
    node.make_unique(clone);
    node.inner_mut().children_mut()[0].make_unique(clone);
    collapse(node)
}

/// Puts something simpler into the place of an inner node with fewer than two children, if that is
/// possible: a page, or the one child. Returns whether it did.
pub(super) fn collapse<V>(node: &mut Node<V>) -> bool {
    let inner = node.inner_mut();
    let entries = usize::from(inner.value().is_some());
    if inner.len() == 0 {
        let value = inner.take_value();
        *node = value
            .map_or_else(
                || Page::new(0, 0, false),
                |value| Page::single(inner.label(), value, false),
            )
            .into();
        return true;
    }
    let [child] = inner.children() else { return false };
    if child.is_shared() {
        return false;
    }
    match child.kind() {
        Kind::Inner(below) if entries == 0 => {
            let label = [inner.label(), below.label()].concat();
            let mut child = inner.remove(0);
            child.inner_mut().set_label(&label);
            *node = child;
            true
        }
        Kind::Page(page) => {
            let label = inner.label().to_vec();
            let len = page.len() + entries;
            if !Page::<V>::is_half_full(len, page.weight() + len * label.len()) {
                return false;
            }
            let value = inner.take_value();
            let page = inner.children_mut()[0].page_mut();
            let mut joined = page.extract(0..page.len(), 0, &label);
            if let Some(value) = value {
                let placed = joined.try_insert(0, &label, value);
                assert!(placed.is_ok(), "half a page has room for an entry");
            }
            *node = joined.into();
            true
        }
        Kind::Inner(_) => false,
    }
}

//! Gathering what begins with the same byte below one child, in a node of too many children.
//!
//! A node tells its children apart by four bytes of their keys, as long as they are few; more children
//! it may have only if they differ in the first byte. Those that don't are put below a new node then,
//! whose label is what they have in common, so that the bytes behind it tell them apart.

use super::inner::Inner;
use super::key::KeyBuffer;
use super::node::{CloneFn, IntoKind, Kind, KindMut, Node};
use super::page::{FIRST_BYTE, HEAD_MIN, Page, common_prefix_len, head};

/// Children with their separators, in order.
pub(super) type Children<V> = Vec<(i32, Node<V>)>;

/// Makes room for another child in a node [that is full](Inner::is_full): gathers its children, or
/// gives it an index, if each of them begins with another byte.
///
/// # Panics
///
/// Panics if a value's clone does, which is needed where a child is shared. The node has all that it
/// had.
pub(super) fn gather<V>(inner: &mut Inner<V>, clone: Option<CloneFn<V>>) {
    // More than once, if all children begin with the same byte.
    while inner.is_full() && !inner.make_indexed() {
        make_children_unique(inner, clone);
        let (separators, children) = inner.take_children();
        let (label, value) = (inner.label().to_vec(), inner.take_value());
        let children = separators.into_iter().zip(children).collect();
        *inner = gathered(&label, value, children);
    }
}

/// Makes a node's own what gathering its children may change, before anything is moved: the children,
/// and those of each child that may be [taken apart](Group::without). None is but where the next key
/// begins with its label, which isn't to say that each such one is.
fn make_children_unique<V>(inner: &mut Inner<V>, clone: Option<CloneFn<V>>) {
    if clone.is_none() {
        // Nothing was ever shared.
        return;
    }
    let mut open = vec![(inner.children_mut(), None)];
    while let Some((children, mut next)) = open.pop() {
        for child in children.iter_mut().rev() {
            child.make_unique(clone);
            let first = first_of(child).to_vec();
            if let KindMut::Inner(below) = child.kind_mut()
                && let Some(rest) =
                    next.as_ref().and_then(|next: &Vec<u8>| next.strip_prefix(below.label()))
            {
                open.push((below.children_mut(), Some(rest.to_vec())));
            }
            next = Some(first);
        }
    }
}

/// A node of any number of children, none of which is shared.
pub(super) fn of_children<V>(label: &[u8], value: Option<V>, children: Children<V>) -> Inner<V> {
    if children.len() > Inner::<V>::UNINDEXED_MAX {
        return gathered(label, value, children);
    }
    with_children(label, value, children.into_iter())
}

fn with_children<V>(
    label: &[u8],
    value: Option<V>,
    children: impl Iterator<Item = (i32, Node<V>)>,
) -> Inner<V> {
    let (mut separators, children): (Vec<_>, Vec<_>) = children.unzip();
    if let Some(first) = separators.first_mut() {
        *first = HEAD_MIN;
    }
    Inner::with_children(label, value, &separators, children.into_iter())
}

/// As [`of_children`], with children that differ in their first bytes.
fn gathered<V>(label: &[u8], value: Option<V>, children: Children<V>) -> Inner<V> {
    let mut groups = Group::all(children);
    if groups.len() == 1 && value.is_none() {
        return groups.remove(0).below(label);
    }
    with_children(label, value, groups.into_iter().map(Group::into_child))
}

/// One child, or several that begin with the same byte.
pub(super) struct Group<V> {
    /// The byte with which it begins, in a head.
    byte: i32,
    /// Never empty. Of several nodes, all keys begin with the byte.
    nodes: Vec<Node<V>>,
}

impl<V> Group<V> {
    /// Sorts children, none of which is shared, by their first bytes. No byte is in two groups.
    pub(super) fn all(children: Children<V>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for (_, child) in children {
            match groups.pop() {
                Some(group) if group.last_byte() == first_byte_of(&child) => {
                    groups.extend(group.with(child));
                }
                group => groups.extend(group.into_iter().chain([Self::of(vec![child])])),
            }
        }
        groups
    }

    /// As [`all`](Self::all). What begins with this byte, which is the last one if it is there, is
    /// apart.
    pub(super) fn all_but(children: Children<V>, byte: i32) -> (Vec<Self>, Option<Self>) {
        let mut groups = Self::all(children);
        let Some(last) = groups.pop_if(|group| group.last_byte() == byte) else {
            return (groups, None);
        };
        let (smaller, alike) = last.parted(byte);
        groups.extend(smaller.map(|smaller| Self::of(vec![smaller])));
        (groups, Some(Self::of(alike)))
    }

    fn of(nodes: Vec<Node<V>>) -> Self {
        Self { byte: first_byte_of(&nodes[0]), nodes }
    }

    /// The byte with which the last key begins, in a head.
    fn last_byte(&self) -> i32 {
        let last = &self.nodes[self.nodes.len() - 1];
        last.page().map_or(self.byte, |page| page.suffixes().head(page.len() - 1) & FIRST_BYTE)
    }

    /// What doesn't begin with this byte, which is that of the last key, and what does.
    fn parted(self, byte: i32) -> (Option<Node<V>>, Vec<Node<V>>) {
        let (mut smaller, mut alike) = (None, self.nodes);
        if self.byte != byte
            && let Some(IntoKind::Page(mut page)) = alike.pop().map(Node::into_kind)
        {
            let at = position(&page, |first| first == byte);
            alike.push(page.extract(at..page.len(), 0, &[]).into());
            page.fit();
            smaller = Some(page.into());
        }
        (smaller, alike)
    }

    /// The groups of these nodes and of another that begins with the last byte of these.
    fn with(self, child: Node<V>) -> impl Iterator<Item = Self> {
        let byte = first_byte_of(&child);
        // Three parts: what is smaller than the byte, what begins with it, and what is greater.
        let (smaller, mut alike) = self.parted(byte);
        let (mut smaller, mut greater) = (Vec::from_iter(smaller), Vec::new());
        match child.into_kind() {
            IntoKind::Inner(inner) => alike.push(inner.into()),
            IntoKind::Page(mut page) => {
                let at = position(&page, |first| first != byte);
                push_page(&mut alike, page.extract(0..at, 0, &[]));
                if page.len() > 0 {
                    page.fit();
                    greater.push(page.into());
                }
            }
        }
        // What fits into one page is in one.
        if alike.len() == 1
            && let Some(IntoKind::Page(page)) = alike.pop().map(Node::into_kind)
        {
            push_page(if smaller.is_empty() { &mut alike } else { &mut smaller }, page);
            if smaller.len() == 2 {
                alike.extend(smaller.pop());
                if let Some(IntoKind::Page(page)) = greater.pop().map(Node::into_kind) {
                    push_page(&mut alike, page);
                    if alike.len() == 2 {
                        greater.extend(alike.pop());
                    }
                }
            }
        }
        [smaller, alike, greater].into_iter().filter(|nodes| !nodes.is_empty()).map(Self::of)
    }

    /// The group as one child, with its separator.
    pub(super) fn into_child(mut self) -> (i32, Node<V>) {
        let byte = self.byte;
        let node =
            if self.nodes.len() == 1 { self.nodes.remove(0) } else { self.below(&[]).into() };
        (byte, node)
    }

    /// A node above the group, with the bytes in its label that all keys begin with, behind `above`.
    fn below(self, above: &[u8]) -> Inner<V> {
        let (first, last) = (first_of(&self.nodes[0]), last_of(&self.nodes[self.nodes.len() - 1]));
        let common = common_prefix_len(&first, &last);
        let (value, children) = self.without(common);
        of_children(&[above, &first[..common]].concat(), value, children)
    }

    /// How many bytes all keys begin with, those of the group and a later one.
    pub(super) fn common_prefix_len(&self, later: &[u8]) -> usize {
        common_prefix_len(&first_of(&self.nodes[0]), later)
    }

    /// The value of the key that ends behind the first `common` bytes, which all keys begin with, and
    /// the children that the others make without them.
    pub(super) fn without(self, common: usize) -> (Option<V>, Children<V>) {
        let (mut value, mut children) = (None, Vec::new());
        for node in self.nodes {
            match node.into_kind() {
                IntoKind::Page(mut page) => {
                    if page.suffixes().suffix_len(0) == common {
                        value = Some(page.remove(0));
                    }
                    if page.len() > 0 {
                        let page = page.extract(0..page.len(), common, &[]);
                        children.push((page.suffixes().head(0), page.into()));
                    }
                }
                IntoKind::Inner(mut inner) if inner.label().len() == common => {
                    // It is taken apart: there is to be a node with its label.
                    assert!(
                        value.is_none() && children.is_empty(),
                        "a label's own keys come first"
                    );
                    value = inner.take_value();
                    let (separators, below) = inner.take_children();
                    children.extend(separators.into_iter().zip(below));
                }
                IntoKind::Inner(mut inner) => {
                    let label = inner.label()[common..].to_vec();
                    inner.set_label(&label);
                    children.push((head(&label), inner.into()));
                }
            }
        }
        (value, children)
    }
}

/// Adds a page behind the others, or its entries to the last one, if that is a page with room.
fn push_page<V>(nodes: &mut Vec<Node<V>>, page: Page<V>) {
    if let Some(last) = nodes.last_mut()
        && let KindMut::Page(last) = last.kind_mut()
        && !Page::<V>::is_over_full(last.len() + page.len(), last.weight() + page.weight())
    {
        last.join(page);
    } else {
        nodes.push(page.into());
    }
}

/// The first entry of the page whose first byte, in a head, is such, or how many there are.
fn position<V>(page: &Page<V>, is_such: impl Fn(i32) -> bool) -> usize {
    let suffixes = page.suffixes();
    (0..page.len()).find(|&at| is_such(suffixes.head(at) & FIRST_BYTE)).unwrap_or(page.len())
}

/// The byte with which a child begins, in a head.
fn first_byte_of<V>(node: &Node<V>) -> i32 {
    let head = match node.kind() {
        Kind::Page(page) => page.suffixes().head(0),
        Kind::Inner(inner) => inner.head(),
    };
    head & FIRST_BYTE
}

/// What is left of the first key in a child, as far as a label says it.
fn first_of<V>(node: &Node<V>) -> KeyBuffer {
    edge_of(node, |_| 0)
}

/// What is left of the last key in a child, as far as a label says it.
fn last_of<V>(node: &Node<V>) -> KeyBuffer {
    edge_of(node, |len| len - 1)
}

fn edge_of<V>(node: &Node<V>, index: fn(usize) -> usize) -> KeyBuffer {
    let mut key = KeyBuffer::new();
    match node.kind() {
        Kind::Page(page) => page.suffixes().push(index(page.len()), &mut key),
        Kind::Inner(inner) => key.push(inner.label()),
    }
    key
}

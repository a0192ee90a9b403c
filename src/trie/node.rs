//! The nodes of a trie and what is done to one path of them.
//!
//! Every function here works with a loop or a stack of its own on the heap, never by recursion: the
//! depth of a trie is the depth of its longest chain of prefixes, which the caller's data decide.

use std::mem;

/// A node: the bytes that lead to it from its parent, the value of the key that ends here, and the
/// longer keys below. The key of a node is the labels from the root down, joined.
///
/// Invariants, which `Trie::check` verifies in tests:
/// - The root's label is empty. No other label is.
/// - The labels of siblings begin with different bytes, and siblings are sorted by that byte.
/// - A node without a value has at least two children, the root excepted.
///
/// So a set of keys has exactly one shape, and a leaf always has a value.
pub(super) struct Node<V> {
    pub(super) label: Box<[u8]>,
    pub(super) value: Option<V>,
    pub(super) children: Vec<Node<V>>,
}

/// Drops the descendants one at a time, since the drop that the compiler makes would recurse.
impl<V> Drop for Node<V> {
    fn drop(&mut self) {
        let mut pending = mem::take(&mut self.children);
        while let Some(mut node) = pending.pop() {
            pending.append(&mut node.children);
        }
    }
}

/// Copies the node and all below it, with a stack of the copies that still miss children.
impl<V: Clone> Clone for Node<V> {
    fn clone(&self) -> Self {
        let mut stack = vec![(self.clone_alone(), self.children.iter())];
        loop {
            let (_, sources) =
                stack.last_mut().expect("the first copy is returned when it is popped");
            if let Some(source) = sources.next() {
                stack.push((source.clone_alone(), source.children.iter()));
            } else if let Some((node, _)) = stack.pop() {
                let Some((parent, _)) = stack.last_mut() else { return node };
                parent.children.push(node);
            }
        }
    }
}

/// A set of keys has one shape, so equal maps have equal nodes.
impl<V: PartialEq> PartialEq for Node<V> {
    fn eq(&self, other: &Self) -> bool {
        let mut pending = vec![(self, other)];
        while let Some((left, right)) = pending.pop() {
            if left.label != right.label
                || left.children.len() != right.children.len()
                || left.value != right.value
            {
                return false;
            }
            pending.extend(left.children.iter().zip(&right.children));
        }
        true
    }
}

impl<V> Node<V> {
    /// A root without keys.
    pub(super) fn empty_root() -> Self {
        Self::new(Box::default(), None, Vec::new())
    }

    pub(super) fn new(label: Box<[u8]>, value: Option<V>, children: Vec<Self>) -> Self {
        Self { label, value, children }
    }

    /// A copy without the children, but with room for them.
    fn clone_alone(&self) -> Self
    where
        V: Clone,
    {
        Self::new(self.label.clone(), self.value.clone(), Vec::with_capacity(self.children.len()))
    }

    /// The index of the child whose label begins with `byte`, or else where one would go.
    pub(super) fn child(&self, byte: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&byte, |child| child.label[0])
    }

    /// The index of the child whose whole label begins `rest`.
    fn child_along(&self, rest: &[u8]) -> Option<usize> {
        let index = self.child(*rest.first()?).ok()?;
        rest.starts_with(&self.children[index].label).then_some(index)
    }

    /// The child whose whole label begins `rest`.
    pub(super) fn next_along(&self, rest: &[u8]) -> Option<&Self> {
        self.child_along(rest).map(|index| &self.children[index])
    }

    /// The value at `key`, counted from this node.
    pub(super) fn get(&self, mut key: &[u8]) -> Option<&V> {
        let mut node = self;
        while !key.is_empty() {
            node = node.next_along(key)?;
            key = &key[node.label.len()..];
        }
        node.value.as_ref()
    }

    /// The value at `key`, counted from this node.
    pub(super) fn get_mut(&mut self, mut key: &[u8]) -> Option<&mut V> {
        let mut node = self;
        while !key.is_empty() {
            let index = node.child_along(key)?;
            node = &mut node.children[index];
            key = &key[node.label.len()..];
        }
        node.value.as_mut()
    }

    /// The highest node whose key begins with `prefix`, and how many bytes of `prefix` lie above its
    /// label. This node must be the root.
    pub(super) fn subtree(&self, prefix: &[u8]) -> Option<(&Self, usize)> {
        let mut node = self;
        let mut depth = 0;
        while !prefix[depth..].is_empty() {
            let rest = &prefix[depth..];
            node = &node.children[node.child(rest[0]).ok()?];
            if node.label.starts_with(rest) {
                break;
            }
            if !rest.starts_with(&node.label) {
                return None;
            }
            depth += node.label.len();
        }
        Some((node, depth))
    }

    /// As [`subtree`](Self::subtree).
    pub(super) fn subtree_mut(&mut self, prefix: &[u8]) -> Option<(&mut Self, usize)> {
        let mut node = self;
        let mut depth = 0;
        while !prefix[depth..].is_empty() {
            let rest = &prefix[depth..];
            let index = node.child(rest[0]).ok()?;
            node = &mut node.children[index];
            if node.label.starts_with(rest) {
                break;
            }
            if !rest.starts_with(&node.label) {
                return None;
            }
            depth += node.label.len();
        }
        Some((node, depth))
    }

    /// Cuts off all keys that begin with `prefix`, which isn't empty, and returns them as the only
    /// child of a new root. This node must be the root.
    pub(super) fn remove_prefix(&mut self, prefix: &[u8]) -> Option<Self> {
        let mut node = self;
        let mut depth = 0;
        loop {
            let rest = &prefix[depth..];
            let index = node.child(*rest.first()?).ok()?;
            let label = &node.children[index].label;
            if label.starts_with(rest) {
                let mut cut = node.children.remove(index);
                cut.label = join(&prefix[..depth], &cut.label);
                if depth > 0 {
                    node.absorb_only_child();
                }
                return Some(Self::new(Box::default(), None, vec![cut]));
            }
            if !rest.starts_with(label) {
                return None;
            }
            depth += label.len();
            node = &mut node.children[index];
        }
    }

    /// Looks for `key`, counted from this node, which must be the root.
    pub(super) fn find(&mut self, key: &[u8]) -> Result<Occupied<'_, V>, Vacant<'_, V>> {
        let mut node = self;
        let mut depth = 0;
        if key.is_empty() && node.value.is_some() {
            return Ok(Occupied { node, index: None, node_is_root: true });
        }
        while let Some(index) = node.child_along(&key[depth..]) {
            let child = &node.children[index];
            let child_depth = depth + child.label.len();
            if child_depth == key.len() && child.value.is_some() {
                return Ok(Occupied { node, index: Some(index), node_is_root: depth == 0 });
            }
            node = &mut node.children[index];
            depth = child_depth;
        }
        Err(Vacant { node, depth })
    }

    /// The first key, with the node that holds it. This node must be the root.
    pub(super) fn find_first(&mut self) -> Option<(Vec<u8>, Occupied<'_, V>)> {
        if self.value.is_some() {
            return Some((Vec::new(), Occupied { node: self, index: None, node_is_root: true }));
        }
        let mut key = Vec::new();
        let mut node = self;
        let mut node_is_root = true;
        loop {
            let child = node.children.first()?;
            key.extend_from_slice(&child.label);
            if child.value.is_some() {
                return Some((key, Occupied { node, index: Some(0), node_is_root }));
            }
            node = &mut node.children[0];
            node_is_root = false;
        }
    }

    /// The last key, with the node that holds it. This node must be the root.
    pub(super) fn find_last(&mut self) -> Option<(Vec<u8>, Occupied<'_, V>)> {
        let mut key = Vec::new();
        let mut node = self;
        let mut node_is_root = true;
        if node.children.is_empty() {
            let found = Occupied { node, index: None, node_is_root };
            return found.node.value.is_some().then_some((key, found));
        }
        loop {
            let index = node.children.len() - 1;
            key.extend_from_slice(&node.children[index].label);
            if node.children[index].children.is_empty() {
                return Some((key, Occupied { node, index: Some(index), node_is_root }));
            }
            node = &mut node.children[index];
            node_is_root = false;
        }
    }

    /// Cuts off all keys from `key` on, which isn't empty, and returns them below a new root. This
    /// node must be the root.
    ///
    /// The nodes whose keys begin `key` are taken out of the trie one below the other; each keeps
    /// the children that are smaller than `key`, on the left, and gives away the others to a node
    /// like it on the right. Then both sides are put together again from the bottom.
    pub(super) fn split_off(&mut self, key: &[u8]) -> Self {
        let mut lefts = vec![mem::replace(self, Self::empty_root())];
        let mut rights = Vec::new();
        let mut depth = 0;
        while let Some(node) = lefts.last_mut() {
            let rest = &key[depth..];
            let smaller = node.children.partition_point(|child| child.label[0] < rest[0]);
            let mut right = Self::new(node.label.clone(), None, node.children.split_off(smaller));
            // Of the children that begin with the byte of `key`, one that is `key` or greater goes whole.
            let on_path = right.children.first().is_some_and(|child| *child.label < *rest);
            let next = on_path.then(|| right.children.remove(0));
            rights.push(right);
            match next {
                Some(child) if rest.starts_with(&child.label) => {
                    depth += child.label.len();
                    lefts.push(child);
                }
                Some(child) => {
                    node.children.push(child);
                    break;
                }
                None => break,
            }
        }
        *self = Self::assemble(lefts, |parent, child| parent.children.push(child));
        Self::assemble(rights, |parent, child| parent.children.insert(0, child))
    }

    /// Puts each node of `path` below the one before it, unless it is empty, and returns the first.
    fn assemble(mut path: Vec<Self>, put: impl Fn(&mut Self, Self)) -> Self {
        let mut below = path.pop();
        while let Some(mut node) = path.pop() {
            if let Some(mut child) = below {
                child.absorb_only_child();
                if child.value.is_some() || !child.children.is_empty() {
                    put(&mut node, child);
                }
            }
            below = Some(node);
        }
        below.unwrap_or_else(Self::empty_root)
    }

    /// Makes a node that has neither a value nor a branch one with its child. Not for the root.
    fn absorb_only_child(&mut self) {
        if self.value.is_none()
            && self.children.len() == 1
            && let Some(mut child) = self.children.pop()
        {
            self.label = join(&self.label, &child.label);
            self.value = child.value.take();
            self.children = mem::take(&mut child.children);
        }
    }

    /// Cuts the label after `length` bytes; the rest of it becomes an only child with all the node
    /// had. The caller gives the node a value or a second child.
    fn split_label(&mut self, length: usize) {
        let (upper, lower) = self.label.split_at(length);
        let (upper, lower) = (upper.into(), lower.into());
        let child = Self::new(lower, self.value.take(), mem::take(&mut self.children));
        self.label = upper;
        self.children.push(child);
    }

    /// The number of values in this node and below.
    pub(super) fn count(&self) -> usize {
        let mut count = 0;
        let mut pending = vec![self];
        while let Some(node) = pending.pop() {
            count += usize::from(node.value.is_some());
            pending.extend(&node.children);
        }
        count
    }
}

/// Where a key is: in the child of `node` at `index`, or, the empty key, in `node` itself.
pub(super) struct Occupied<'a, V> {
    node: &'a mut Node<V>,
    index: Option<usize>,
    node_is_root: bool,
}

const HAS_VALUE: &str = "an occupied place has a value until it is given up";

impl<'a, V> Occupied<'a, V> {
    pub(super) fn get(&self) -> &V {
        let holder = match self.index {
            Some(index) => &self.node.children[index],
            None => &*self.node,
        };
        holder.value.as_ref().expect(HAS_VALUE)
    }

    pub(super) fn get_mut(&mut self) -> &mut V {
        let holder = match self.index {
            Some(index) => &mut self.node.children[index],
            None => &mut *self.node,
        };
        holder.value.as_mut().expect(HAS_VALUE)
    }

    pub(super) fn into_mut(self) -> &'a mut V {
        let holder = match self.index {
            Some(index) => &mut self.node.children[index],
            None => self.node,
        };
        holder.value.as_mut().expect(HAS_VALUE)
    }

    /// Takes the value out and restores the shape: the child may go, and then its parent may be left
    /// without a branch.
    pub(super) fn remove(self) -> V {
        let Some(index) = self.index else { return self.node.value.take().expect(HAS_VALUE) };
        let child = &mut self.node.children[index];
        let value = child.value.take().expect(HAS_VALUE);
        if child.children.is_empty() {
            self.node.children.remove(index);
            if !self.node_is_root {
                self.node.absorb_only_child();
            }
        } else {
            child.absorb_only_child();
        }
        value
    }
}

/// Where a key would go: `node` is the deepest whose key begins it, `depth` bytes of it.
pub(super) struct Vacant<'a, V> {
    node: &'a mut Node<V>,
    depth: usize,
}

impl<'a, V> Vacant<'a, V> {
    /// Inserts `value` at `key`, the one that was looked for.
    pub(super) fn insert(self, key: &[u8], value: V) -> &'a mut V {
        let rest = &key[self.depth..];
        let Some(&byte) = rest.first() else { return self.node.value.insert(value) };
        match self.node.child(byte) {
            Err(index) => insert_leaf(&mut self.node.children, index, rest, value),
            Ok(index) => {
                let child = &mut self.node.children[index];
                let length = common_prefix_len(&child.label, rest);
                child.split_label(length);
                let rest = &rest[length..];
                let Some(&byte) = rest.first() else { return child.value.insert(value) };
                let index = usize::from(child.children[0].label[0] < byte);
                insert_leaf(&mut child.children, index, rest, value)
            }
        }
    }
}

fn insert_leaf<'a, V>(
    children: &'a mut Vec<Node<V>>,
    index: usize,
    label: &[u8],
    value: V,
) -> &'a mut V {
    children.insert(index, Node::new(label.into(), None, Vec::new()));
    children[index].value.insert(value)
}

fn join(upper: &[u8], lower: &[u8]) -> Box<[u8]> {
    [upper, lower].concat().into_boxed_slice()
}

/// How many bytes `left` and `right` have in common from the start.
pub(super) fn common_prefix_len(left: &[u8], right: &[u8]) -> usize {
    // Often one is a prefix of the other, and slices compare many bytes at a time.
    let shorter = left.len().min(right.len());
    if left[..shorter] == right[..shorter] {
        return shorter;
    }
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

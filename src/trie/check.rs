//! The walker that checks the invariants of all nodes, for tests.

use super::Trie;
use super::key::KeyBuffer;
use super::node::{Kind, Node, RootKind};
use super::page::Page;

impl<V> Trie<V> {
    /// Panics if an invariant of a node doesn't hold, or if the length is wrong.
    #[doc(hidden)]
    pub fn check(&self) {
        let tree = match self.root.kind() {
            RootKind::Empty => return,
            RootKind::Page(page) => {
                assert!(
                    page.is_root() && page.len() > 0,
                    "the page of a trie is a root, not empty"
                );
                return check_page(page);
            }
            RootKind::Tree(tree) => tree,
        };
        let mut count = 0;
        let mut pending: Vec<&Node<V>> = vec![&tree.node];
        while let Some(node) = pending.pop() {
            match node.kind() {
                Kind::Page(page) => {
                    assert!(!page.is_root(), "only the page that is a whole trie is a root");
                    check_page(page);
                    count += page.len();
                }
                Kind::Inner(inner) => {
                    inner.check();
                    count += usize::from(inner.value().is_some());
                    for (index, child) in inner.children().iter().enumerate() {
                        let from = inner.separator(index);
                        let below = (index + 1 < inner.len()).then(|| inner.separator(index + 1));
                        check_child(child, index, from, below);
                        pending.push(child);
                    }
                }
            }
        }
        assert_eq!(self.len(), count, "the length is the number of entries");
    }
}

fn check_page<V>(page: &Page<V>) {
    let suffixes = page.suffixes();
    assert!(page.len() <= Page::<V>::LEN_MAX, "a page has a limit");
    let key = |index| {
        let mut key = KeyBuffer::new();
        suffixes.push(index, &mut key);
        assert_eq!(key.len(), suffixes.suffix_len(index), "a suffix is as long as it says");
        key.to_vec()
    };
    for index in 1..page.len() {
        assert!(key(index - 1) < key(index), "the suffixes of a page ascend");
    }
    for index in 0..page.len() {
        assert_eq!(suffixes.find(&key(index)), Ok(index), "each suffix is found");
    }
}

/// A child that has the next bytes in `from..below`.
fn check_child<V>(child: &Node<V>, index: usize, from: u8, below: Option<u8>) {
    let (first, last) = match child.kind() {
        Kind::Page(page) => {
            assert!(page.len() > 0, "a page below an inner node has entries");
            let suffixes = page.suffixes();
            (suffixes.first_byte(0), suffixes.first_byte(page.len() - 1))
        }
        Kind::Inner(inner) => {
            let byte = inner.label().first().copied();
            assert!(index == 0 || byte == Some(from), "an inner child begins at its separator");
            (byte, byte)
        }
    };
    let (first, last) = first.zip(last).expect("what is in a child has a next byte");
    assert!(first >= from, "what is in a child begins at its separator");
    assert!(below.is_none_or(|below| last < below), "what is in a child ends before the next one");
}

//! The walker that checks the invariants of all nodes, for tests.

use super::Trie;
use super::key::KeyBuffer;
use super::node::{Kind, RootKind};
use super::page::{HEAD_MIN, Page, head};

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
        let mut pending = vec![(&tree.node, Heads { from: HEAD_MIN, below: None })];
        while let Some((node, heads)) = pending.pop() {
            let is_root = std::ptr::eq(node, &raw const tree.node);
            match node.kind() {
                Kind::Page(page) => {
                    assert!(!page.is_root(), "only the page that is a whole trie is a root");
                    check_page(page);
                    if !is_root {
                        check_page_below(page, heads);
                    }
                    count += page.len();
                }
                Kind::Inner(inner) => {
                    inner.check();
                    count += usize::from(inner.value().is_some());
                    if !is_root {
                        assert!(!inner.label().is_empty(), "an inner child has a label");
                        let head = head(inner.label());
                        assert!(heads.contain(head), "a child has the heads of its range");
                    }
                    for (index, child) in inner.children().iter().enumerate() {
                        let from = inner.separator(index);
                        let below = inner.separators().get(index + 1).copied();
                        pending.push((child, Heads { from, below }));
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

/// The heads that a child may have.
#[derive(Clone, Copy, Debug)]
struct Heads {
    from: i32,
    below: Option<i32>,
}

impl Heads {
    fn contain(self, head: i32) -> bool {
        self.from <= head && self.below.is_none_or(|below| head < below)
    }
}

fn check_page_below<V>(page: &Page<V>, heads: Heads) {
    assert!(page.len() > 0, "a page below an inner node has entries");
    let suffixes = page.suffixes();
    assert!(suffixes.suffix_len(0) > 0, "what is in a child has a next byte");
    for index in 0..page.len() {
        assert!(heads.contain(suffixes.head(index)), "a child has the heads of its range");
    }
}

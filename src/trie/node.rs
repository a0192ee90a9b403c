//! What a trie is made of: nodes, and the handle that holds them.
//!
//! A node is a [page](Page) or an [inner node](Inner) with more nodes below it. Both live in blocks
//! of their own, count their owners, and are told apart by the lowest bit of the pointer to them. A
//! trie is nothing, one page, or a [`Tree`] of nodes; its handle is one pointer, too.
//!
//! # Sharing
//!
//! A snapshot is another owner of the same node. What has more than one owner isn't written to:
//! [`Node::make_unique`] puts a copy in its place first, whose children are then shared in turn. So
//! a writer copies the path that it takes, once for each snapshot, and what nobody writes to stays
//! shared.
//!
//! Copying a node clones values, for which `V` needs `Clone`, but a trie that is written to doesn't
//! know that it has it. What makes snapshots does, so it leaves a [clone function](CloneFn) with the
//! trie, in the tree or in the page that is one. No node has two owners but by that, so wherever a
//! copy is needed there is a function to make it.
//!
//! The function takes and returns a `V`, so a handle is invariant in `V`: as a `Trie` of a supertype,
//! or of a subtype, a trie would get values from a function of the other type.

use super::inner::Inner;
use super::page::Page;
use super::place::KEY_BYTES_MAX;
use std::alloc::{Layout, dealloc};
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32, fence};

/// Clones a value of a node that is shared.
pub(super) type CloneFn<V> = fn(&V) -> V;

/// A place for a [`CloneFn`] that a shared owner may fill.
#[repr(transparent)]
pub(super) struct CloneSlot<V> {
    /// Null, or a function that `set` stored.
    function: AtomicPtr<()>,
    stores: PhantomData<CloneFn<V>>,
}

impl<V> CloneSlot<V> {
    fn new(clone: Option<CloneFn<V>>) -> Self {
        let slot = Self { function: AtomicPtr::default(), stores: PhantomData };
        slot.set(clone);
        slot
    }

    /// Stores a function. Whoever reads it got hold of a snapshot that was made after that, so no
    /// order is needed.
    pub(super) fn set(&self, clone: Option<CloneFn<V>>) {
        let clone = clone.map_or(ptr::null_mut(), |clone| clone as *mut ());
        self.function.store(clone, Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> Option<CloneFn<V>> {
        let function = self.function.load(Relaxed);
        // SAFETY: this is null, which is `None`, or a function of this type: slots are invariant in
        // `V`, and what holds them is, too.
        unsafe { mem::transmute::<*mut (), Option<CloneFn<V>>>(function) }
    }
}

/// A page or an inner node: the pointer of a [`Page`], or that of an [`Inner`], whose lowest bit
/// is set.
#[repr(transparent)]
pub(super) struct Node<V> {
    tagged: NonNull<u8>,
    owns: PhantomData<V>,
}

/// The bit that tells an inner node, or a tree, from a page.
pub(super) const TAG: usize = 1;

/// A node, looked at.
pub(super) enum Kind<'a, V> {
    Page(&'a Page<V>),
    Inner(&'a Inner<V>),
}

/// A node of one owner, to be written to.
pub(super) enum KindMut<'a, V> {
    Page(&'a mut Page<V>),
    Inner(&'a mut Inner<V>),
}

/// A node, taken apart.
pub(super) enum IntoKind<V> {
    Page(Page<V>),
    Inner(Inner<V>),
}

// SAFETY: as for `Page` and `Inner`, of which it is one.
unsafe impl<V: Send> Send for Node<V> {}
// SAFETY: as for `Page` and `Inner`, of which it is one.
unsafe impl<V: Sync> Sync for Node<V> {}

impl<V> Node<V> {
    fn is_inner(&self) -> bool {
        self.tagged.addr().get() & TAG != 0
    }

    #[inline]
    pub(super) fn kind(&self) -> Kind<'_, V> {
        if self.is_inner() {
            // SAFETY: the tag says that this is an `Inner`, which has the same representation.
            Kind::Inner(unsafe { NonNull::from(self).cast().as_ref() })
        } else {
            // SAFETY: no tag says that this is a `Page`, which has the same representation.
            Kind::Page(unsafe { NonNull::from(self).cast().as_ref() })
        }
    }

    #[inline]
    pub(super) fn kind_mut(&mut self) -> KindMut<'_, V> {
        if self.is_inner() {
            // SAFETY: as in `kind`. An `Inner` stays one, whatever is done to it.
            KindMut::Inner(unsafe { NonNull::from(self).cast().as_mut() })
        } else {
            // SAFETY: as in `kind`. A `Page` stays one, whatever is done to it.
            KindMut::Page(unsafe { NonNull::from(self).cast().as_mut() })
        }
    }

    pub(super) fn into_kind(self) -> IntoKind<V> {
        let node = ManuallyDrop::new(self);
        if node.is_inner() {
            // SAFETY: the tag says that this is an `Inner`; the node that it was is forgotten.
            IntoKind::Inner(unsafe { mem::transmute_copy::<NonNull<u8>, Inner<V>>(&node.tagged) })
        } else {
            // SAFETY: no tag says that this is a `Page`; the node that it was is forgotten.
            IntoKind::Page(unsafe { mem::transmute_copy::<NonNull<u8>, Page<V>>(&node.tagged) })
        }
    }

    /// Asks for the node's memory, so that what is read of it soon arrives together.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(self.tagged, if self.is_inner() { INNER_LINES } else { PAGE_LINES });
    }

    /// The page, if the node is one.
    #[inline]
    pub(super) fn page(&self) -> Option<&Page<V>> {
        match self.kind() {
            Kind::Page(page) => Some(page),
            Kind::Inner(_) => None,
        }
    }

    /// The inner node, if the node is one.
    pub(super) fn inner(&self) -> Option<&Inner<V>> {
        match self.kind() {
            Kind::Page(_) => None,
            Kind::Inner(inner) => Some(inner),
        }
    }

    /// The page, in a place where the caller knows that there is one.
    #[inline]
    pub(super) fn page_mut(&mut self) -> &mut Page<V> {
        match self.kind_mut() {
            KindMut::Page(page) => page,
            KindMut::Inner(_) => unreachable!("the node is a page"),
        }
    }

    /// The inner node, in a place where the caller knows that there is one.
    #[inline]
    pub(super) fn inner_mut(&mut self) -> &mut Inner<V> {
        match self.kind_mut() {
            KindMut::Page(_) => unreachable!("the node is an inner one"),
            KindMut::Inner(inner) => inner,
        }
    }

    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        match self.kind() {
            Kind::Page(page) => page.is_shared(),
            Kind::Inner(inner) => inner.is_shared(),
        }
    }

    /// Another owner of the node.
    pub(super) fn share(&self) -> Self {
        match self.kind() {
            Kind::Page(page) => page.share().into(),
            Kind::Inner(inner) => inner.share().into(),
        }
    }

    /// Puts a copy with one owner in the place of a node with more.
    ///
    /// Each mutator calls this for each node that it comes by, before it looks for anything to
    /// change there.
    ///
    /// # Panics
    ///
    /// Panics if a value's clone does. The node is as before.
    #[inline]
    pub(super) fn make_unique(&mut self, clone: Option<CloneFn<V>>) {
        if self.is_shared() {
            self.copy_shared(clone);
        }
    }

    #[cold]
    fn copy_shared(&mut self, clone: Option<CloneFn<V>>) {
        let clone = clone.expect("what shared the node has left its clone function");
        *self = match self.kind() {
            Kind::Page(page) => page.copy(clone).into(),
            Kind::Inner(inner) => inner.copy(clone).into(),
        };
    }

    /// How many entries there are in the node and below.
    pub(super) fn count(&self) -> usize {
        let mut count = 0;
        let mut pending = vec![self];
        while let Some(node) = pending.pop() {
            match node.kind() {
                Kind::Page(page) => count += page.len(),
                Kind::Inner(inner) => {
                    count += usize::from(inner.value().is_some());
                    pending.extend(inner.children());
                }
            }
        }
        count
    }
}

impl<V> From<Page<V>> for Node<V> {
    fn from(page: Page<V>) -> Self {
        let page = ManuallyDrop::new(page);
        // SAFETY: a page's pointer, without a tag, is what a node has for it; the page is forgotten.
        unsafe { mem::transmute_copy::<Page<V>, Self>(&page) }
    }
}

impl<V> From<Inner<V>> for Node<V> {
    fn from(inner: Inner<V>) -> Self {
        let inner = ManuallyDrop::new(inner);
        // SAFETY: an inner node's pointer, with its tag, is what a node has for it; the inner node is
        // forgotten.
        unsafe { mem::transmute_copy::<Inner<V>, Self>(&inner) }
    }
}

impl<V> Drop for Node<V> {
    fn drop(&mut self) {
        match self.kind_mut() {
            // SAFETY: the node isn't looked at afterwards.
            KindMut::Page(page) => unsafe { ptr::drop_in_place(page) },
            // SAFETY: the node isn't looked at afterwards.
            KindMut::Inner(inner) => unsafe { ptr::drop_in_place(inner) },
        }
    }
}

/// Asks for so many lines of memory from here on. What isn't there isn't missed.
#[inline]
pub(super) fn prefetch(start: NonNull<u8>, lines: usize) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse", not(miri)))]
    for line in 0..lines {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = start.as_ptr().wrapping_add(64 * line);
        // SAFETY: a prefetch is a hint, for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse", not(miri))))]
    let _ = (start, lines);
}

/// How many lines of 64 bytes most inner nodes have.
const INNER_LINES: usize = 5;

/// How many lines of 64 bytes most pages of small values have.
pub(super) const PAGE_LINES: usize = 7;

/// How many owners a node may have. Half of what the counter holds, as in std's `Arc`, so that
/// threads that pass the limit at the same time don't overflow it before they notice.
const OWNERS_MAX: u32 = u32::MAX / 2;

/// Counts another owner of a node.
///
/// # Panics
///
/// Panics if there are too many.
pub(super) fn add_owner(refs: &AtomicU32) {
    // The counter is only read by somebody who has the node, and so got it by way of this one: no
    // order is needed.
    let is_one_too_many = refs.fetch_add(1, Relaxed) >= OWNERS_MAX;
    if is_one_too_many {
        refs.fetch_sub(1, Relaxed);
    }
    assert!(!is_one_too_many, "a node has no more than {OWNERS_MAX} owners");
}

/// Takes an owner of a node away, and says whether it was the last one, who sees all that the others
/// did and now drops the node.
#[inline]
pub(super) fn remove_owner(refs: &AtomicU32) -> bool {
    if refs.load(Acquire) == 1 {
        return true;
    }
    if refs.fetch_sub(1, Release) != 1 {
        return false;
    }
    fence(Acquire);
    true
}

/// A block of memory that is freed when this is dropped, also if what is in it panics in its drop.
pub(super) struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    /// # Safety
    ///
    /// The block was allocated with this layout, and nobody else frees it or looks at it afterwards.
    pub(super) unsafe fn new(start: NonNull<u8>, layout: Layout) -> Self {
        Self { start, layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `new` asks for it.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// A trie that is larger than a page, or was.
pub(super) struct Tree<V> {
    /// How many entries there are.
    pub(super) len: usize,
    /// Set by the first snapshot.
    pub(super) clone: CloneSlot<V>,
    pub(super) node: Node<V>,
}

/// The handle of a trie: null, the pointer of a page that is a [root](Page::is_root), or that of a
/// boxed [`Tree`], whose lowest bit is set.
pub(super) struct Root<V> {
    tagged: Option<NonNull<u8>>,
    owns: PhantomData<V>,
    /// Behind the handle there is a [`CloneSlot`].
    stores: PhantomData<CloneFn<V>>,
}

/// A handle, looked at.
pub(super) enum RootKind<'a, V> {
    Empty,
    Page(&'a Page<V>),
    Tree(&'a Tree<V>),
}

/// A handle, to be written to. Its page may be shared; see [`Page::make_root_unique`].
pub(super) enum RootKindMut<'a, V> {
    Empty,
    Page(&'a mut Page<V>),
    Tree(&'a mut Tree<V>),
}

/// A handle, taken apart.
pub(super) enum IntoRootKind<V> {
    Empty,
    Page(Page<V>),
    Tree(Box<Tree<V>>),
}

// SAFETY: as for `Node`, which is all that there is behind a handle.
unsafe impl<V: Send> Send for Root<V> {}
// SAFETY: as for `Node`, which is all that there is behind a handle.
unsafe impl<V: Sync> Sync for Root<V> {}

impl<V> Root<V> {
    pub(super) const fn empty() -> Self {
        Self { tagged: None, owns: PhantomData, stores: PhantomData }
    }

    #[inline]
    fn tree(&self) -> Option<NonNull<Tree<V>>> {
        let tagged = self.tagged?;
        if tagged.addr().get() & TAG == 0 {
            return None;
        }
        // SAFETY: the tag is one byte above the tree, inside of it.
        Some(unsafe { tagged.byte_sub(TAG) }.cast())
    }

    #[inline]
    pub(super) fn kind(&self) -> RootKind<'_, V> {
        if self.tagged.is_none() {
            return RootKind::Empty;
        }
        match self.tree() {
            // SAFETY: the tag says that this is a tree, which the handle owns.
            Some(tree) => RootKind::Tree(unsafe { tree.as_ref() }),
            // SAFETY: a pointer without a tag is that of a page, which has the same representation.
            None => RootKind::Page(unsafe { NonNull::from(&self.tagged).cast().as_ref() }),
        }
    }

    #[inline]
    pub(super) fn kind_mut(&mut self) -> RootKindMut<'_, V> {
        if self.tagged.is_none() {
            return RootKindMut::Empty;
        }
        match self.tree() {
            // SAFETY: as in `kind`.
            Some(mut tree) => RootKindMut::Tree(unsafe { tree.as_mut() }),
            // SAFETY: as in `kind`. A page stays one, whatever is done to it.
            None => RootKindMut::Page(unsafe { NonNull::from(&mut self.tagged).cast().as_mut() }),
        }
    }

    pub(super) fn into_kind(self) -> IntoRootKind<V> {
        let root = ManuallyDrop::new(self);
        match (root.tree(), root.tagged) {
            // SAFETY: this is a box that `from` leaked; the handle that it was is forgotten.
            (Some(tree), _) => IntoRootKind::Tree(unsafe { Box::from_raw(tree.as_ptr()) }),
            (None, Some(page)) => {
                // SAFETY: a pointer without a tag is that of a page; the handle is forgotten.
                IntoRootKind::Page(unsafe { mem::transmute_copy::<NonNull<u8>, Page<V>>(&page) })
            }
            (None, None) => IntoRootKind::Empty,
        }
    }

    /// The page, in a place where the caller knows that there is one.
    #[inline]
    pub(super) fn page_mut(&mut self) -> &mut Page<V> {
        match self.kind_mut() {
            RootKindMut::Page(page) => page,
            _ => unreachable!("the trie is a page"),
        }
    }

    /// The tree, in a place where the caller knows that there is one.
    #[inline]
    pub(super) fn tree_mut(&mut self) -> &mut Tree<V> {
        match self.kind_mut() {
            RootKindMut::Tree(tree) => tree,
            _ => unreachable!("the trie is a tree"),
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self.kind() {
            RootKind::Empty => 0,
            RootKind::Page(page) => page.len(),
            RootKind::Tree(tree) => tree.len,
        }
    }

    /// Puts a value at `key` and returns the one that was there, if the trie is a page that isn't
    /// full. Otherwise gives it back as an error.
    #[inline]
    pub(super) fn try_put(&mut self, key: &[u8], value: V) -> Result<Option<V>, V> {
        match self.kind_mut() {
            RootKindMut::Page(page) if key.len() <= KEY_BYTES_MAX => {
                page.make_root_unique();
                page.try_put(key, value)
            }
            _ => Err(value),
        }
    }

    /// What clones values of shared nodes, if any are.
    #[inline]
    pub(super) fn clone_fn(&self) -> Option<CloneFn<V>> {
        match self.kind() {
            RootKind::Empty => None,
            RootKind::Page(page) => page.clone_slot().and_then(CloneSlot::get),
            RootKind::Tree(tree) => tree.clone.get(),
        }
    }

    /// The same trie once more, by sharing its nodes.
    pub(super) fn snapshot(&self, clone: CloneFn<V>) -> Self {
        match self.kind() {
            RootKind::Empty => Self::empty(),
            RootKind::Page(page) => {
                page.clone_slot().expect("the page is a whole trie").set(Some(clone));
                page.share().into()
            }
            RootKind::Tree(tree) => {
                tree.clone.set(Some(clone));
                Self::of_tree(tree.len, Some(clone), tree.node.share())
            }
        }
    }

    /// The trie of the entries below `node`, whose values `clone` clones if they are shared.
    pub(super) fn of_node(node: Node<V>, clone: Option<CloneFn<V>>) -> Self {
        let len = node.count();
        match node.into_kind() {
            IntoKind::Page(_) if len == 0 => Self::empty(),
            IntoKind::Page(page) if !page.is_shared() => {
                let page = page.into_root();
                page.clone_slot().expect("the page is a whole trie").set(clone);
                page.into()
            }
            IntoKind::Page(page) => Self::of_tree(len, clone, page.into()),
            IntoKind::Inner(inner) => Self::of_tree(len, clone, inner.into()),
        }
    }

    pub(super) fn of_tree(len: usize, clone: Option<CloneFn<V>>, node: Node<V>) -> Self {
        Tree { len, clone: CloneSlot::new(clone), node }.into()
    }
}

impl<V> Page<V> {
    /// As [`Node::make_unique`], for the page that is a whole trie.
    #[inline]
    pub(super) fn make_root_unique(&mut self) {
        if self.is_shared() {
            let clone = self.clone_slot().and_then(CloneSlot::get);
            *self = self.copy(clone.expect("what shared the page has left its clone function"));
        }
    }
}

impl<V> From<Page<V>> for Root<V> {
    /// The page is a [root](Page::is_root).
    fn from(page: Page<V>) -> Self {
        assert!(page.is_root(), "the page of a whole trie has a place for a clone function");
        let page = ManuallyDrop::new(page);
        // SAFETY: a page's pointer, without a tag, is what a handle has for it.
        unsafe { mem::transmute_copy::<Page<V>, Self>(&page) }
    }
}

impl<V> From<Tree<V>> for Root<V> {
    fn from(tree: Tree<V>) -> Self {
        let tree = NonNull::from(Box::leak(Box::new(tree))).cast::<u8>();
        // SAFETY: one byte above its start is inside of the tree.
        Self { tagged: Some(unsafe { tree.byte_add(TAG) }), owns: PhantomData, stores: PhantomData }
    }
}

impl<V> Drop for Root<V> {
    fn drop(&mut self) {
        drop(mem::replace(self, Self::empty()).into_kind());
    }
}

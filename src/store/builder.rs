//! Settings of a store.

use std::path::Path;
use std::sync::Arc;

use crate::log::{Directory, Disk, LogOptions};
use crate::store::durable::Durable;
use crate::store::{Kind, Store, StoreError};

/// Settings of a store: see [`Store::builder`].
///
/// # Examples
///
/// ```
/// use triekv::Store;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("people.kv");
/// let store = Store::builder().snapshot_bytes(16 << 20).open(&path)?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct StoreBuilder {
    snapshot_bytes: u64,
    log: LogOptions,
}

impl Default for StoreBuilder {
    fn default() -> Self {
        Self { snapshot_bytes: 64 << 20, log: LogOptions::default() }
    }
}

impl StoreBuilder {
    /// The store writes a snapshot when the log has grown by so many bytes since the last one, and
    /// by as many as the last one has. Small: a store that is opened fast. Large: less to write.
    /// 64 MiB unless it is set.
    #[must_use]
    pub fn snapshot_bytes(mut self, bytes: u64) -> Self {
        self.snapshot_bytes = bytes;
        self
    }

    /// The length of a file of the log, which is set aside when the file is made. Files are
    /// removed as a whole, when a snapshot has all that is in them. 64 MiB unless it is set.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.log.segment_bytes = bytes;
        self
    }

    /// Opens the store in the directory `path`.
    ///
    /// # Errors
    ///
    /// Those of [`Store::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store, StoreError> {
        self.open_on(Arc::new(Directory::open(path)?))
    }

    /// Opens the store on a disk of another kind. The caller sees to it that nobody else opens it.
    ///
    /// # Errors
    ///
    /// Those of [`Store::open`].
    pub fn open_on(self, disk: Arc<dyn Disk>) -> Result<Store, StoreError> {
        let durable = Durable::open(disk, self.log, self.snapshot_bytes)?;
        Ok(Store { kind: Kind::Durable(durable) })
    }

    /// An empty store in memory, as [`Store::in_memory`] makes. The settings have no meaning there.
    pub fn in_memory(self) -> Store {
        Store::in_memory()
    }
}

//! SKELETON: a disk in memory whose power can be cut.
#![allow(missing_docs, unused_variables, clippy::todo)]
use super::{Disk, DiskFile};
use std::io;

/// A disk in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {}
impl MemoryDisk {
    pub fn new() -> Self {
        Self::default()
    }
}
impl Disk for MemoryDisk {
    fn location(&self) -> String {
        todo!()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        todo!()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        todo!()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        todo!()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        todo!()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        todo!()
    }
    fn sync_names(&self) -> io::Result<()> {
        todo!()
    }
}

//! SKELETON: a directory of the operating system.
#![allow(missing_docs, unused_variables, clippy::todo)]
use super::{Disk, DiskFile, LogError};
use std::io;
use std::path::Path;

/// A directory, held by a lock on its file `LOCK` for as long as the value lives.
#[derive(Debug)]
pub struct Directory {}
impl Directory {
    /// Creates the directory (and its parents) if there is none, and locks it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LogError> {
        todo!()
    }
}
impl Disk for Directory {
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

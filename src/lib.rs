//! Nested documents in tries.
#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "generator")]
pub mod generator;
pub mod parser;
pub mod store;
#[cfg(feature = "cluster")]
pub mod transport;
pub mod trie;
pub mod value;

pub use parser::{Command, Condition, ParseError};
pub use store::{Page, Record, Store, StoreError};
pub use trie::Trie;
pub use value::{Map, Path, Value, ValueError};

//! Nested documents in tries.
#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub mod parser;
pub mod trie;
pub mod value;

pub use parser::{Command, Condition, ParseError};
pub use trie::Trie;
pub use value::{Map, Path, Value, ValueError};

//! The public API.

mod grammar;

//! The public API, the programs, and the layering.

#[cfg(feature = "generator")]
mod create_data;
mod grammar;
mod layers;
#[cfg(feature = "cluster")]
mod transport;

//! The public API, the programs, and the layering.

#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "generator")]
mod create_data;
mod directories;
#[cfg(feature = "cluster")]
mod failed_tasks;
#[cfg(feature = "cluster")]
mod faults;
#[cfg(target_os = "linux")]
mod file_system;
mod grammar;
mod layers;
mod limits;
mod ndjson;
#[cfg(feature = "cluster")]
mod power;
#[cfg(all(feature = "cluster", feature = "generator"))]
mod programs;
mod reads_back;
#[cfg(feature = "cluster")]
mod restarts;
mod rust_types;
#[cfg(feature = "cluster")]
mod transport;

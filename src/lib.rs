//! Nested documents in tries: a map in your process, a durable store in a directory, and a
//! linearizable cluster over many servers.
//!
//! It is *not* a relational database, has no transactions over several keys of a cluster, and keeps
//! all documents in memory: the disk makes them durable, it does not make room.
//!
//! ```
//! # #[cfg(feature = "cluster")] {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use triekv::{Cluster, Store, value};
//!
//! // In this process; `Store::open(path)` keeps them in a directory.
//! let store = Store::in_memory();
//! store.put("person1", value!({ "name": "Mary", "address": { "city": "Athens" } }))?;
//! assert_eq!(store.query("person1.address.city")?, Some(value!("Athens")));
//!
//! // On three servers, here in this process too; any one of them may fail.
//! let cluster = Cluster::embedded(3).copies(2).start().await?;
//! let broker = cluster.broker();
//! broker.put("person1", value!({ "name": "Mary", "address": { "city": "Athens" } })).await?;
//! assert_eq!(broker.query("person1.address.city").await?, Some(value!("Athens")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | type | module | role |
//! |---|---|---|
//! | [`Trie`] | [`trie`] | an ordered map from byte strings, with prefix queries |
//! | [`Value`], [`Map`], [`Path`] | [`mod@value`] | documents, and ways into them |
//! | [`Command`], [`ParseError`] | [`parser`] | the text form of values, paths and commands |
//! | [`Store`] | [`store`] | documents by key, with versions, in this process or a directory |
//! | [`Disk`](log::Disk), [`Log`](log::Log) | [`mod@log`] | the write-ahead log and snapshots under stores and servers |
//! | [`Server`], [`Broker`], [`Cluster`] | [`replication`] | documents on many servers |
//! | [`Transport`] | [`transport`] | how servers and brokers reach each other |
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | a key | [`KEY_BYTES_MAX`](value::KEY_BYTES_MAX): 64 KiB |
//! | depth of a value | [`DEPTH_MAX`](value::DEPTH_MAX): 128 maps or lists |
//! | a command to a store on disk, or a batch | [`RECORD_BYTES_MAX`](log::RECORD_BYTES_MAX): 256 MiB |
//! | a command to a cluster, its document included | [`COMMAND_BYTES_MAX`](replication::COMMAND_BYTES_MAX): 8 MiB |
//! | a frame between machines | [`FRAME_BYTES_MAX`](transport::FRAME_BYTES_MAX): 16 MiB |
//!
//! With two or three copies of each record, every command works while one server is down, and a
//! write that was acknowledged is not lost; `docs/guarantees.md` says what holds beyond that.
//!
//! # Features
//!
//! `cluster` (default) brings servers, brokers and transports, with tokio and openraft; `generator`
//! (default) brings random documents; `json` (default) converts to and from `serde_json::Value`.
//! Without them this is a synchronous library with a handful of dependencies; JSON text and Rust types
//! need none of them.
#![warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "generator")]
pub mod generator;
pub mod log;
pub mod parser;
#[cfg(feature = "cluster")]
pub mod replication;
pub mod store;
#[cfg(feature = "cluster")]
pub mod transport;
pub mod trie;
pub mod value;

pub use parser::{Command, Condition, ParseError};
#[cfg(feature = "cluster")]
pub use replication::{Broker, BrokerError, Cluster, Server};
pub use store::{CommandError, Page, Record, Store, StoreError};
#[cfg(feature = "cluster")]
pub use transport::{ChannelTransport, TcpTransport, Transport, TransportError};
pub use trie::Trie;
pub use value::{Map, Path, Value, ValueError};

// The README's example is a test, so that it stays true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

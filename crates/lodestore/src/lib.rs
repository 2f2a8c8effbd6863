//! Lodestore inside another program: a store without a socket, with all commands, persistence, and
//! on demand a port for other programs.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = lodestore::Store::in_memory()?;
//! let mut client = store.client();
//! client.set("greeting", "hello")?;
//! assert_eq!(client.get("greeting")?.as_deref(), Some(&b"hello"[..]));
//! // Every command of the protocol, by its words:
//! client.call(&["ZADD", "ranks", "1", "first"])?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`Store`] has the data. It is shared between threads by cloning; the data is closed in order
//!   when the last clone and the last client are gone, or by [`Store::close`].
//! - [`Client`] runs commands on the calling thread, each atomic as on a server. A call returns
//!   when the append-only file has what it changed, as a reply leaves a server.
//! - [`Connection`] is for what waits: BLPOP and its kind, SUBSCRIBE, MONITOR.
//!
//! A process may have several stores, each with its own directory. Threads of a store keep time for
//! it (expiry, syncs of the log, snapshots).
//!
//! Memory is counted, and `maxmemory` can be used, in programs whose global allocator is
//! [`Jemalloc`]; then all memory of the program counts:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: lodestore::Jemalloc = lodestore::Jemalloc;
//! # fn main() {}
//! ```
//!
//! What happens to a store is told through the `log` crate.

mod client;
mod connection;
mod error;
mod running;
mod store;
mod transaction;

pub use client::{Client, Fields};
pub use connection::{Connection, Message};
pub use engine::config::LoadError as ConfigError;
pub use error::{Error, OpenError};
pub use keyspace::memory::Jemalloc;
pub use resp::Value;
pub use server::{CallError, StartError};
pub use store::{Options, Store};
pub use transaction::Transaction;

/// What this program was built from.
pub const BUILD: server::Build = server::Build {
    commit: env!("BUILD_COMMIT"),
    is_modified: matches!(env!("BUILD_MODIFIED").as_bytes(), b"1"),
    variant: env!("BUILD_VARIANT"),
};

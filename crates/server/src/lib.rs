//! The server: commands, dispatch, event loops, connections, configuration.
//!
//! Where does X live? `commands/` has one file or folder per command group; `dispatch` is the one way
//! a request goes; `context` is all that a handler may touch; `net/` owns sockets and event loops.

pub mod backup;
pub mod blocking;
pub mod client;
pub mod clock;
pub mod command;
pub mod commandlog;
pub mod commands;
pub mod config;
pub mod context;
pub mod durability;
pub mod effects;
pub mod error;
pub mod evict;
pub mod execute;
pub mod expire;
pub mod fault;
pub mod forms;
mod image;
pub mod info;
pub mod key_changes;
pub mod latency;
pub mod lazy;
pub mod loading;
pub mod logging;
pub mod lru;
pub mod migration;
pub mod monitor;
pub mod net;
pub mod pause;
pub mod process;
pub mod redact;
pub mod rewrite;
pub mod server;
pub mod shard_tables;
pub mod snapshot;
pub mod start;
pub mod stats;
pub mod table;
pub mod watch;

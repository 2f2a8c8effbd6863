//! The engine: commands, their execution, and all that they work on.
//!
//! It has no sockets, no event loop and no threads of its own, and reaches the server around it
//! through one narrow trait, [`port::Port`].
//!
//! | question | room |
//! | --- | --- |
//! | what is a command | [`command`], [`table`], [`commands`] |
//! | how is one run | [`execute`], over [`context`] and [`effects`] |
//! | what listens to a change | [`key_changes`], [`watch`], [`waiters`] |
//! | what expires, what is evicted | [`execute::expire`], [`execute::evict`], [`lazy_free`] |
//! | what is a client | [`client`], [`session`] |
//! | which client gets which message | [`pubsub`], [`notifications`], [`tracking`] |
//! | which scripts and functions there are, and which run | [`scripts`] |
//! | who may do what | [`users`] |
//! | what can be configured | [`config`] |

// Tests may start threads and measure time; the list is in this crate's clippy.toml.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod audit;
pub mod client;
mod client_row;
pub mod clock;
pub mod command;
pub mod commandlog;
pub mod commands;
pub mod config;
pub mod context;
pub mod durability;
pub mod effects;
pub mod engine;
pub mod entropy;
pub mod error;
pub mod execute;
pub mod fault;
pub mod hotkeys;
pub mod key_changes;
pub mod keys;
pub mod latency;
pub mod lazy_free;
pub mod listeners;
pub mod loading;
pub mod lru;
pub mod monitor;
pub mod notifications;
pub mod outboxes;
pub mod pause;
pub mod port;
pub mod pubsub;
pub mod rdb_options;
pub mod redact;
pub mod replicas;
pub mod role;
pub mod scripts;
pub mod session;
pub mod shard_tables;
pub mod stats;
pub mod table;
pub mod tracking;
pub mod users;
pub mod version;
pub mod wait;
pub mod waiters;
pub mod watch;

//! The data: entries in hash tables, in shards with one lock each, with their expiry, their
//! eviction and the account of their memory. It is independent of protocols, clients and files.
//!
//! ```text
//!  Keyspace -- shards, each with a lock      hash of a key: | shard | position in its tables |
//!    Shard  -- numbered databases, eviction pool, attachments of the server
//!      Database -- hash table (values::table), timing wheel, counters, sizes
//!        Entry  -- one block: header, deadline, key, value or a pointer to it
//! ```
//! The steps of a command: [`Keyspace::hash`] its keys, prefetch, lock the shards
//! ([`Keyspace::lock_one`], [`Keyspace::lock_many`]), then [`Shard::find_touch`],
//! [`Shard::find_mut`], [`Shard::put`], [`Shard::remove`].
//!
//! Times are absolute unix milliseconds. The crate reads no clock and draws no random numbers:
//! callers pass both.

#![cfg_attr(
    test,
    allow(
        clippy::duplicate_mod,
        reason = "the model of the locks compiles their files again"
    )
)]

mod db;
mod edit;
mod entry;
pub mod eviction;
mod expire;
mod hash;
mod hook;
mod locks;
pub mod lru;
pub mod memory;
mod rollback;
mod shard;
mod sizes;
#[cfg(test)]
mod tests;
mod undo;
mod wheel;

pub use db::{Cleared, DatabaseStats};
pub use edit::{EntryMut, StringError};
pub use entry::{
    EMBSTR_MAX, Encoding, EntryRef, INLINE_MAX, LRU_BITS, NewValue, Removed, StringRef, Type,
    Value, ValueMut, ValueRef,
};
pub use eviction::{Choice, Policy, Victim};
pub use expire::OnExpired;
pub use hash::KeyHash;
pub use hook::{ChangeHook, Rest};
pub use locks::{ExtensionRight, GaveUp, Keyspace, Locked, Options, SHARDS_MAX, SHARDS_MIN};
pub use rollback::OldValues;
pub use shard::{ExpireProgress, Shard};
pub use sizes::{Measure, SizeCounts};
pub use undo::{Beyond, Recording, UNDO_BYTES_MAX, is_recording};
pub use values::{BigString, number};

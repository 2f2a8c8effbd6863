//! The values of keys, and the hash table of the keyspace.
//!
//! Values and algorithms over them, without knowledge of keys, commands, clocks or locks. Deadlines
//! of elements are absolute unix milliseconds that callers compare.
//!
//! * [`List`], [`Set`], [`struct@Hash`], [`SortedSet`], [`Stream`]: the collections, independent of
//!   their encoding;
//! * [`journal`]: what changes of large collections have done, to be taken back;
//! * [`table`]: the hash table of the keyspace and of big hashes and sets;
//! * [`BigString`]: long strings, shareable with replies;
//! * [`bits`]: strings as arrays of bits;
//! * [`geohash`]: places as scores, and areas of them;
//! * [`hyperloglog`]: estimated cardinalities, in Redis's format;
//! * [`glob`]: the pattern language of KEYS, SCAN and PSUBSCRIBE;
//! * [`lcs`]: longest common subsequences.

pub mod alloc;
mod bigstring;
pub mod bits;
mod deadlines;
mod distinct;
mod element;
mod elements;
pub mod geohash;
pub mod glob;
mod hash;
pub mod hash_seed;
pub mod hyperloglog;
pub mod intset;
pub mod journal;
pub mod lcs;
pub mod list;
pub mod listpack;
pub mod lzf;
mod malformed;
pub mod number;
mod owner;
pub mod set;
pub mod stream;
pub mod table;
mod thresholds;
pub mod zset;

pub use bigstring::BigString;
pub use deadlines::FieldDeadline;
pub use element::{DIGITS, Digits, Element};
pub use hash::{Hash, HashView};
pub use list::{End, List, ListView};
pub use malformed::Malformed;
pub use set::{Set, SetEncoding, SetView};
pub use stream::{Stream, StreamId};
pub use thresholds::Thresholds;
pub use zset::{
    Inserted, LexBound, LexRange, ScoreRange, SortedSet, SortedSetBuilder, SortedSetView,
};

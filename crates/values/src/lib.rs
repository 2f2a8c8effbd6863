//! What a key can hold, and the table that finds it.
//!
//! Values and algorithms over them, without knowledge of keys, commands, time or locks:
//!
//! * [`table`]: the hash table of the keyspace and of big hashes and sets;
//! * [`BigString`]: long strings, shareable with replies;
//! * [`glob`]: the pattern language of KEYS, SCAN and PSUBSCRIBE;
//! * [`lcs`]: longest common subsequences.

mod bigstring;
pub mod glob;
pub mod lcs;
pub mod table;

pub use bigstring::BigString;

//! RDB: the snapshot format of Redis and Valkey. All versions in use are read; those that Redis and
//! Valkey load are written.
//!
//! ```text
//! "REDIS" version   AUX fields   functions
//!     { SELECTDB sizes { [deadline] [idle or frequency] type key value } }
//! EOF  CRC-64 of everything before (0: not checked)
//! ```
//! A DUMP payload is one value of the same form: type, value, version (2 bytes), CRC-64.
//!
//! Source of the format: `src/rdb.h` and `src/rdb.c` of Redis and Valkey.

mod decode;
mod encode;
pub mod format;

pub use decode::{Loaded, Place, RdbCause, RdbError, RestoreError, functions, load, restore};
pub use encode::{
    FileWriter, NoForm, WRITTEN, dump, entry, function, needs_field_deadlines, value_len,
};

use keyspace::NewValue;
use values::Thresholds;

/// A version of the format: the number after `REDIS` or `VALKEY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16);

impl Version {
    /// Redis 7.0: listpacks.
    pub const V10: Version = Version(10);
    /// Redis 7.2, and everything later of both families.
    pub const V11: Version = Version(11);
    /// Redis 7.4 and later: deadlines of hash fields.
    pub const V12: Version = Version(12);
    /// Valkey 9: deadlines of hash fields in a form of its own.
    pub const V80: Version = Version(80);
}

/// How values are written.
#[derive(Clone, Copy, Debug)]
pub struct SaveOptions {
    /// The version; values that have no form in it are an error.
    pub version: Version,
    /// `rdbcompression`: strings of more than 20 bytes are compressed when that makes them smaller.
    pub compression: bool,
    /// `rdbchecksum`.
    pub checksum: bool,
}

/// How often or how recently an entry was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Unknown.
    #[default]
    Unknown,
    /// Seconds since the last use (LRU).
    IdleSeconds(u64),
    /// Logarithmic counter (LFU).
    Frequency(u8),
}

/// How files and payloads are read.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// When small collections are packed.
    pub thresholds: Thresholds,
    /// `rdbchecksum`: compare the checksum at the end.
    pub checksum: bool,
    /// `rdb-version-check relaxed`: accept unknown versions as long as the types are known.
    pub any_version: bool,
    /// Skip values of modules instead of refusing the file.
    pub skip_modules: bool,
    /// Take a stream whose nodes have another number of entries than it says, with the number that
    /// they have: files of prereleases of Redis 5 have such streams.
    pub count_streams: bool,
    /// Longest string accepted, in bytes (`proto-max-bulk-len`).
    pub max_string: usize,
}

/// An entry that was read.
#[derive(Debug)]
pub struct LoadedEntry<'a> {
    /// Number of the database.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: NewValue<'a>,
    /// Absolute unix milliseconds.
    pub deadline: Option<u64>,
    /// LRU or LFU.
    pub access: Access,
}

/// Why an entry of a file was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// It has no elements; some versions of Redis wrote such keys.
    Empty,
    /// It is a value of this module.
    Module(String),
}

/// Takes the contents of a file, in their order.
pub trait Sink {
    /// An entry. An error ends the loading.
    fn entry(&mut self, entry: LoadedEntry<'_>) -> Result<(), String>;
    /// The code of a library of functions.
    fn function(&mut self, code: &[u8]) -> Result<(), String>;
    /// An auxiliary field.
    fn aux(&mut self, _name: &[u8], _value: &[u8]) {}
    /// How many keys a database has, and how many of them with a deadline: a hint.
    fn sizes(&mut self, _db: u32, _keys: u64, _volatile: u64) {}
    /// An entry that is left out. Redis logs the first ten empty ones, `rdbLoadObject skipping
    /// empty key: %s`.
    fn skipped(&mut self, _db: u32, _key: &[u8], _why: Skipped) {}
    /// A stream whose nodes have `counted` entries, where the file says `said`.
    fn recounted(&mut self, _db: u32, _key: &[u8], _said: u64, _counted: u64) {}
    /// The version of the file; called first.
    fn version(&mut self, _version: Version) {}
    /// Bytes read so far; called at least once per megabyte.
    fn progress(&mut self, _bytes: u64) {}
}

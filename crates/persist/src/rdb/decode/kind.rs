//! Known versions and types.

use crate::rdb::Version;

/// The last version of Redis that is known.
pub(super) const REDIS_MAX: u16 = 16;

/// The first version whose files end with a checksum.
pub(super) const CHECKSUM_SINCE: u16 = 5;

/// From here on Redis and Valkey use the same numbers for different types.
pub(super) const FOREIGN_MIN: u8 = 22;

/// From here on numbers are opcodes.
pub(super) const OPCODE_MIN: u8 = 242;

/// Which servers a version belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Redis,
    Valkey,
}

impl Family {
    pub(super) fn of(version: Version) -> Family {
        match version >= Version::V80 {
            true => Family::Valkey,
            false => Family::Redis,
        }
    }
}

/// True when a version is read: it is known, or all are taken.
pub(super) fn is_accepted(version: Version, any_version: bool) -> bool {
    let known = (1..=REDIS_MAX).contains(&version.0) || version == Version::V80;
    known || any_version && version.0 > 0
}

/// The name of a type in messages.
pub(super) fn name(code: u8) -> &'static str {
    NAMES.get(usize::from(code)).copied().unwrap_or("unknown")
}

const NAMES: [&str; 33] = [
    "string",
    "list",
    "set",
    "zset",
    "hash",
    "zset-2",
    "module-pre-ga",
    "module",
    "unknown",
    "hash-zipmap",
    "list-ziplist",
    "set-intset",
    "zset-ziplist",
    "hash-ziplist",
    "quicklist",
    "stream",
    "hash-listpack",
    "zset-listpack",
    "quicklist-2",
    "stream-2",
    "set-listpack",
    "stream-3",
    "hash-2",
    "hash-listpack-ex-pre-ga",
    "hash-metadata",
    "hash-listpack-ex",
    "stream-4",
    "stream-5",
    "array",
    "hash-template-listpack",
    "hash-template-listpack-ref",
    "hash-template",
    "hash-template-ref",
];

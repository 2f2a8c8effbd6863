//! Numbers of the format: opcodes, types of values, encodings.

/// The first five bytes of a file; four digits of the version follow.
pub const MAGIC: &[u8; 5] = b"REDIS";
/// The first bytes of a file of Valkey's own versions (80 and up); three digits of the version
/// follow.
pub const MAGIC_VALKEY: &[u8; 6] = b"VALKEY";

/// Lengths below 2^14: these two bits, then 14 of the length.
pub const LEN_14_BITS: u8 = 0x40;
/// Lengths below 2^32: this byte, then four, the highest first.
pub const LEN_32_BITS: u8 = 0x80;
/// Longer ones: this byte, then eight, the highest first.
pub const LEN_64_BITS: u8 = 0x81;

/// Codes in the place of the length of a string that is written in a special form.
pub mod string {
    /// An integer of one byte.
    pub const INT8: u8 = 0xc0;
    /// An integer of two bytes, the lowest first.
    pub const INT16: u8 = 0xc1;
    /// An integer of four bytes, the lowest first.
    pub const INT32: u8 = 0xc2;
    /// Compressed with LZF: compressed length, plain length, compressed bytes.
    pub const LZF: u8 = 0xc3;
}

/// Container of a node of a quicklist: one element.
pub const NODE_PLAIN: u64 = 1;
/// Container of a node of a quicklist: a listpack.
pub const NODE_PACKED: u64 = 2;

/// Types of values.
pub mod types {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list, element by element.
    pub const LIST: u8 = 1;
    /// A set, member by member.
    pub const SET: u8 = 2;
    /// A sorted set with scores as text.
    pub const ZSET: u8 = 3;
    /// A hash, field and value in turn.
    pub const HASH: u8 = 4;
    /// A sorted set with scores of eight bytes.
    pub const ZSET_2: u8 = 5;
    /// A value of a module, before Redis 4.0 was released.
    pub const MODULE_PRE_GA: u8 = 6;
    /// A value of a module.
    pub const MODULE_2: u8 = 7;
    /// A small hash, before Redis 2.6.
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list as one ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set of integers.
    pub const SET_INTSET: u8 = 11;
    /// A small sorted set as a ziplist.
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A small hash as a ziplist.
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list of ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream of Redis 5.
    pub const STREAM_LISTPACKS: u8 = 15;
    /// A small hash.
    pub const HASH_LISTPACK: u8 = 16;
    /// A small sorted set.
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list: nodes that are listpacks, or one element.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream of Redis 7.0: first id, greatest deleted id, count of all entries ever, entries
    /// read by groups.
    pub const STREAM_LISTPACKS_2: u8 = 19;
    /// A small set.
    pub const SET_LISTPACK: u8 = 20;
    /// A stream of Redis 7.2: when consumers were active.
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// A hash whose fields have deadlines, in Valkey's versions (80 and up).
    pub const HASH_2: u8 = 22;
    /// The same, in Redis 7.4 before its release: deadlines are absolute. The number means
    /// [`HASH_2`] in versions from 80 on.
    pub const HASH_METADATA_PRE_GA: u8 = 22;
    /// The same as a listpack of field, value and deadline.
    pub const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    /// A hash whose fields have deadlines, in Redis 7.4 and later.
    pub const HASH_METADATA: u8 = 24;
    /// The same as a listpack of field, value and deadline, behind the earliest deadline.
    pub const HASH_LISTPACK_EX: u8 = 25;
    /// A stream of Redis 8.6: ids of producers and their messages.
    pub const STREAM_LISTPACKS_4: u8 = 26;
    /// A stream of Redis 8.8: entries that are pending without a consumer.
    pub const STREAM_LISTPACKS_5: u8 = 27;
}

/// Opcodes, which stand in the place of a type.
pub mod opcode {
    /// Functions of Redis 7.0 and later: the code of a library.
    pub const FUNCTION2: u8 = 245;
    /// Functions before the release of Redis 7.0.
    pub const FUNCTION_PRE_GA: u8 = 246;
    /// Auxiliary data of a module.
    pub const MODULE_AUX: u8 = 247;
    /// Seconds since the last use (LRU), as a length.
    pub const IDLE: u8 = 248;
    /// The logarithmic counter of uses (LFU), one byte.
    pub const FREQ: u8 = 249;
    /// An auxiliary field: name and value, both strings.
    pub const AUX: u8 = 250;
    /// Number of keys, and of those with a deadline, of the database.
    pub const RESIZEDB: u8 = 251;
    /// Deadline in milliseconds, eight bytes, the lowest first.
    pub const EXPIRETIME_MS: u8 = 252;
    /// Deadline in seconds, four bytes.
    pub const EXPIRETIME: u8 = 253;
    /// The number of the database that the next keys are in.
    pub const SELECTDB: u8 = 254;
    /// The end; the checksum follows.
    pub const EOF: u8 = 255;
    /// Number of a slot and of its keys in cluster mode.
    pub const SLOT_INFO: u8 = 244;
    /// State of slots that are imported (Valkey 9).
    pub const SLOT_IMPORT: u8 = 243;
}

/// Auxiliary field before an entry, ours: deadlines of the members of a set or a sorted set.
///
/// ```text
/// count { deadline (8 bytes, the lowest first) member (string) }
/// ```
pub const AUX_MEMBER_DEADLINES: &str = "lodestore-member-deadlines";

/// Auxiliary field before an entry, ours: entries of a stream that are pending in groups without a
/// consumer. The pending lists of the value do not have these.
///
/// ```text
/// groups { name (string) count { id (16 bytes) delivered (8 bytes, the lowest first)
///          deliveries (length) } }
/// ```
pub const AUX_UNOWNED_PENDING: &str = "lodestore-unowned-pending";

/// Auxiliary field before an entry, ours: the ids of producers of a stream, as
/// [`types::STREAM_LISTPACKS_4`] has it at its end.
///
/// ```text
/// seconds  ids  producers { name (string) count { id (string) entry (two lengths) } }
/// added  duplicates
/// ```
pub const AUX_PRODUCERS: &str = "lodestore-stream-producers";

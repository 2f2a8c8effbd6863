//! Numbers of the format: opcodes, types of values, encodings.

/// The first five bytes of a file; four digits of the version follow.
pub const MAGIC: &[u8; 5] = b"REDIS";
/// The first bytes of a file of Valkey's own versions (80 and up); three digits of the version follow.
pub const MAGIC_VALKEY: &[u8; 6] = b"VALKEY";

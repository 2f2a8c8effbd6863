//! Cursors: positions in hash order as the SCAN commands show them to clients.
//!
//! Clients keep cursors in signed 64-bit integers, and in doubles, which are exact up to 2^53 only.
//! A position is a hash of 64 bits and exceeds both; a cursor is below 2^48.
//!
//! ```text
//!  position  | prefix and depth of the segment |  tag  | 0000 0000 0000 0000 |
//!            |           0 to 32 bits          |  16   |  16 zero bits       |
//!  cursor    |   the upper 48 bits as an integer       |
//! ```
//!
//! Nothing is rounded. [`Table::scan`](super::Table::scan) returns the first hash of a home bucket,
//! and the table distinguishes home buckets by at most 48 leading bits of the hash: at most
//! [`MAX_SKIP`](super) in front of the tag, and the 16 bits of the tag. So the lower 16 bits of a
//! returned position are zero in every table, whatever its size, and the conversion to a cursor and
//! back gives the same position.
//!
//! Entries whose hashes agree in these 48 bits have the same home bucket. One call visits all of
//! them, however many they are, and returns a position after them: no position lies between them,
//! and no call returns the position that it was given. The exact-once guarantee of the table and
//! the end of every scan follow from that.
//!
//! The 5 bits between a cursor and 2^53 are free for the owner of the table. Hashes and sets use
//! one: see `Elements::scan`.

use super::MAX_SKIP;
use super::order::TAG_BITS;

/// Lower bits of a position that are zero in all positions that a scan returns.
const FREE_BITS: u32 = u64::BITS - MAX_SKIP - TAG_BITS;

/// Bits of a cursor.
pub const BITS: u32 = u64::BITS - FREE_BITS;

// One bit more, of the owner, still fits the integers that a double holds exactly.
const _: () = assert!(BITS < 53);

/// The cursor of a position that a scan returned, or of the first position of a table. 0, the end
/// of a scan, stays 0; no other position becomes 0.
///
/// # Panics
/// When the position is another hash: a cursor cannot express it.
#[inline]
pub fn from_position(position: u64) -> u64 {
    let cursor = position >> FREE_BITS;
    assert!(cursor << FREE_BITS == position, "not a scan's position");
    cursor
}

/// The position of a cursor. `None` when the cursor, which a client may have made up, is beyond the
/// last position: a scan ends there.
#[inline]
pub fn to_position(cursor: u64) -> Option<u64> {
    (cursor >> BITS == 0).then_some(cursor << FREE_BITS)
}

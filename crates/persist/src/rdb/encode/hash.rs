//! Hashes.

use super::super::format::types;
use super::text::{put_element, put_len, put_string};
use values::{DIGITS, HashView};

/// A hash in the form `kind`. Deadlines are part of two of them:
///
/// ```text
/// HASH_2          count { field value deadline (8 bytes, -1: none) }
/// HASH_METADATA   earliest deadline (8 bytes)  count { expiry field value }
/// expiry          deadline - earliest + 1 (length), 0: none
/// ```
pub(super) fn put(hash: &HashView, kind: u8, compress: bool, out: &mut Vec<u8>) {
    if kind == types::HASH_LISTPACK
        && let Some(bytes) = hash.pack_bytes()
    {
        return put_string(bytes, compress, out);
    }
    let earliest = hash.next_deadline().unwrap_or(0);
    if kind == types::HASH_METADATA {
        out.extend_from_slice(&earliest.to_le_bytes());
    }
    put_len(hash.len() as u64, out);
    let mut digits = DIGITS;
    for (field, value) in hash.iter(0) {
        let deadline = || hash.deadline(field.as_bytes(&mut { DIGITS })).flatten();
        if kind == types::HASH_METADATA {
            put_len(
                deadline().map_or(0, |at| at.saturating_sub(earliest) + 1),
                out,
            );
        }
        put_string(field.as_bytes(&mut digits), compress, out);
        put_element(value, compress, out);
        if kind == types::HASH_2 {
            let deadline = deadline().map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX));
            out.extend_from_slice(&deadline.to_le_bytes());
        }
    }
}

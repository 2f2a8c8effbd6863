//! The number of entries that a group has read.
//!
//! A group counts the entries it has read, deleted ones included. When it reads past a deleted
//! entry, or is set to an id in the middle of the stream, the count becomes unknown; it is known
//! again at the ends of the stream.

use values::StreamId;
use values::stream::{Entries, Group};

/// An entry behind `start`, or `start` itself, may have been deleted out of the middle.
fn has_gap_behind(entries: &Entries, start: StreamId) -> bool {
    let deleted = entries.max_deleted_id();
    !entries.is_empty() && !deleted.is_zero() && start <= deleted
}

/// How many entries there have been up to `id`, this one included; `None` where the number is
/// unknown.
fn count_up_to(entries: &Entries, id: StreamId) -> Option<u64> {
    let added = entries.added();
    if added == 0 {
        return Some(0);
    }
    if entries.is_empty() && id <= entries.last_id() {
        return Some(added);
    }
    if !id.is_zero() && id < entries.max_deleted_id() || id > entries.last_id() {
        return None;
    }
    if id == entries.last_id() {
        return Some(added);
    }
    let deleted = entries.max_deleted_id();
    if !deleted.is_zero() && deleted >= entries.first_id() || id > entries.first_id() {
        return None;
    }
    let is_first = u64::from(id == entries.first_id());
    Some(added.saturating_sub(entries.len()) + is_first)
}

/// How many entries the group has still to read; `None` when the number is unknown.
pub(super) fn lag(entries: &Entries, group: &Group) -> Option<u64> {
    if entries.is_empty() {
        return Some(0);
    }
    let first = entries.first_id();
    if group.last_id < first && entries.max_deleted_id() < first {
        // All that are left are behind the group, and none is missing among them.
        return Some(entries.len());
    }
    let read = match group.entries_read {
        Some(read) if !has_gap_behind(entries, group.last_id) => read,
        _ => count_up_to(entries, group.last_id)?,
    };
    // XSETID may have set the count of added entries below what the group has read.
    Some(entries.added().saturating_sub(read))
}

/// The count of read entries that a client gives to a group: at most what was added.
pub(super) fn bounded(entries: &Entries, entries_read: Option<u64>) -> Option<u64> {
    entries_read.map(|read| read.min(entries.added()))
}

/// The group reads the entry `id`, which is greater than its last one.
pub(super) fn advance(entries: &Entries, group: &mut Group, id: StreamId) {
    let counts = group.last_id >= entries.first_id() && !has_gap_behind(entries, group.last_id);
    match group.entries_read {
        // A client may have set any count, and the log has room for signed numbers.
        Some(read) if counts => {
            group.entries_read = Some(read.saturating_add(1).min(i64::MAX as u64));
        }
        _ if entries.added() > 0 => group.entries_read = count_up_to(entries, id),
        _ => {}
    }
    group.last_id = id;
}

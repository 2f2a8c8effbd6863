//! Places in the order of a tree.

use super::Member;

/// A place between entries, defined by the entries before it: those with a smaller key, and of
/// those with the same key the ones that `precedes` chooses.
pub(in crate::zset) trait Bound {
    /// The key; none when `precedes` decides about every entry.
    fn key(&self) -> Option<u64>;

    /// Whether an entry with this key is before the place. It has to be monotonic: true for the
    /// first such entries, false for the others.
    ///
    /// # Safety
    /// The member's block is live.
    unsafe fn precedes(&self, member: Member) -> bool;
}

/// Before, or after, all entries with a key.
#[derive(Clone, Copy)]
pub(in crate::zset) struct AtKey {
    pub(in crate::zset) key: u64,
    /// The place is after entries with the key.
    pub(in crate::zset) after: bool,
}

impl Bound for AtKey {
    #[inline]
    fn key(&self) -> Option<u64> {
        Some(self.key)
    }

    #[inline]
    unsafe fn precedes(&self, _: Member) -> bool {
        self.after
    }
}

/// Before, or after, one entry.
#[derive(Clone, Copy)]
pub(in crate::zset) struct AtEntry<'a> {
    pub(in crate::zset) key: u64,
    pub(in crate::zset) text: &'a [u8],
    /// The place is after the entry.
    pub(in crate::zset) after: bool,
}

impl Bound for AtEntry<'_> {
    #[inline]
    fn key(&self) -> Option<u64> {
        Some(self.key)
    }

    #[inline]
    unsafe fn precedes(&self, member: Member) -> bool {
        // SAFETY: the caller passes a live member, which stays live during the comparison.
        let order = unsafe { member.text() }.cmp(self.text);
        order.is_lt() || self.after && order.is_eq()
    }
}

/// Before, or after, a text, where all keys are equal.
#[derive(Clone, Copy)]
pub(in crate::zset) struct AtText<'a> {
    pub(in crate::zset) text: &'a [u8],
    /// The place is after the member with this text.
    pub(in crate::zset) after: bool,
}

impl Bound for AtText<'_> {
    #[inline]
    fn key(&self) -> Option<u64> {
        None
    }

    #[inline]
    unsafe fn precedes(&self, member: Member) -> bool {
        // SAFETY: the caller passes a live member, which stays live during the comparison.
        let order = unsafe { member.text() }.cmp(self.text);
        order.is_lt() || self.after && order.is_eq()
    }
}

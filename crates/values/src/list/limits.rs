//! The limits of a node, and the sizes at which a list changes between one listpack and many.

use crate::Thresholds;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a node whose limit is a number of elements: many long ones would make changes slow.
const SAFE_BYTES: usize = 8192;
/// Bytes of a node for `list-max-listpack-size` -1; each step down doubles them, to -5.
const FIRST_LEVEL_BYTES: usize = 4096;
/// The assumed overhead of an entry besides its text.
const ENTRY_OVERHEAD: usize = 8;
/// An element from this size on is never packed, whatever the threshold: listpacks stay below 1
/// GiB.
const PACKED_MAX: usize = 1 << 29;
/// The largest threshold that can be set, 1 MiB below 4 GiB.
const THRESHOLD_MAX: usize = (1 << 32) - (1 << 20);

/// From how many bytes on elements of quicklists get a node of their own; 0: as for the node limit.
static PACKED_THRESHOLD: AtomicUsize = AtomicUsize::new(0);

/// Sets from how many bytes on an element of a quicklist gets a node of its own, for the whole
/// process; 0 restores the limit of nodes. For tests only (DEBUG
/// QUICKLIST-PACKED-THRESHOLD). False, and no change, when it is too big.
pub fn set_packed_threshold(bytes: usize) -> bool {
    let fits = bytes <= THRESHOLD_MAX;
    if fits {
        PACKED_THRESHOLD.store(bytes, Ordering::Relaxed);
    }
    fits
}

/// The limits of one node, from `list-max-listpack-size`, and how many nodes at each end stay as
/// they are.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    bytes: usize,
    /// `usize::MAX` when only the bytes are limited.
    count: usize,
    /// Elements of so many bytes are not packed.
    large: usize,
    /// `list-compress-depth`.
    pub(super) depth: usize,
}

impl Limits {
    #[inline]
    pub(super) fn new(thresholds: &Thresholds) -> Limits {
        let (bytes, count) = match thresholds.list_size {
            level @ ..0 => (
                FIRST_LEVEL_BYTES << (level.unsigned_abs() - 1).min(4),
                usize::MAX,
            ),
            count => (SAFE_BYTES, count.unsigned_abs().max(1) as usize),
        };
        let large = match PACKED_THRESHOLD.load(Ordering::Relaxed) {
            0 => bytes + 1,
            threshold => threshold.min(PACKED_MAX),
        };
        Limits {
            bytes,
            count,
            large,
            depth: thresholds.list_compress as usize,
        }
    }

    /// True for an element that is never packed.
    #[inline]
    pub(super) fn is_large(&self, element: &[u8]) -> bool {
        element.len() >= self.large
    }

    /// True when a node may have `bytes` and `count` elements.
    #[inline]
    pub(super) fn allow(&self, bytes: usize, count: usize) -> bool {
        bytes <= self.bytes && count <= self.count
    }

    /// True when an element of `len` bytes may come to a packed node of `bytes` and `count`
    /// elements.
    #[inline]
    pub(super) fn allow_another(&self, bytes: usize, count: usize, len: usize) -> bool {
        self.allow(
            bytes.saturating_add(len).saturating_add(ENTRY_OVERHEAD),
            count + 1,
        )
    }

    /// True when a quicklist of one packed node of `bytes` and `count` elements becomes a listpack.
    /// One that shrinks must have come down to half the limit, so that it does not change its form
    /// time and again.
    pub(super) fn pack(&self, bytes: usize, count: usize, shrinking: bool) -> bool {
        let part = if shrinking { 2 } else { 1 };
        match self.count {
            usize::MAX => bytes <= self.bytes / part,
            most => count <= most / part,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(list_size: i32) -> Limits {
        Limits::new(&Thresholds {
            list_size,
            ..Thresholds::default()
        })
    }

    #[test]
    fn levels_are_bytes_and_positive_sizes_are_counts() {
        for (size, bytes) in [
            (-1, 4096),
            (-2, 8192),
            (-5, 65536),
            (-6, 65536),
            (i32::MIN, 65536),
        ] {
            assert!(limits(size).allow(bytes, 100_000));
            assert!(!limits(size).allow(bytes + 1, 1));
            assert!(limits(size).pack(bytes / 2, 100_000, true));
            assert!(!limits(size).pack(bytes / 2 + 1, 1, true));
        }
        assert!(limits(3).allow(8192, 3));
        assert!(!limits(3).allow(8193, 1));
        assert!(!limits(3).allow(10, 4));
        assert!(limits(0).allow(10, 1));
        assert!(!limits(0).allow(10, 2));
        assert!(limits(3).pack(10_000, 1, true));
        assert!(!limits(3).pack(10, 2, true));
        assert!(limits(3).pack(10, 3, false));
    }

    #[test]
    fn elements_over_the_node_limit_are_large() {
        assert!(!limits(-1).is_large(&[0; 4096]));
        assert!(limits(-1).is_large(&[0; 4097]));
        assert!(!limits(5).is_large(&[0; 8192]));
        assert!(limits(5).is_large(&[0; 8193]));
        assert!(!set_packed_threshold(usize::MAX));
    }
}

//! Up to which size collections stay packed.

/// The limits of the packed forms, from the configuration. A collection that exceeds one is
/// converted by the change that does it, and never back (except where Redis converts back, too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// `hash-max-listpack-entries`: fields of a packed hash.
    pub hash_entries: usize,
    /// `hash-max-listpack-value`: bytes of the longest field or value of a packed hash.
    pub hash_value: usize,
    /// `set-max-intset-entries`: members of a set of integers.
    pub set_integers: usize,
    /// `set-max-listpack-entries`: members of a packed set.
    pub set_entries: usize,
    /// `set-max-listpack-value`: bytes of the longest member of a packed set.
    pub set_value: usize,
    /// `zset-max-listpack-entries`: members of a packed sorted set.
    pub zset_entries: usize,
    /// `zset-max-listpack-value`: bytes of the longest member of a packed sorted set.
    pub zset_value: usize,
    /// `list-max-listpack-size`: elements of a node when positive; -1 to -5 for 4, 8, 16, 32, 64
    /// KiB.
    pub list_size: i32,
    /// `list-compress-depth`: nodes at both ends of a list that are not compressed; 0 compresses
    /// none.
    pub list_compress: u32,
}

impl Default for Thresholds {
    /// The defaults of Valkey 9.
    fn default() -> Self {
        Thresholds {
            hash_entries: 512,
            hash_value: 64,
            set_integers: 512,
            set_entries: 128,
            set_value: 64,
            zset_entries: 128,
            zset_value: 64,
            list_size: -2,
            list_compress: 0,
        }
    }
}

//! The keyed hash that places a key: SipHash-1-3 with a random seed.
//!
//! Its top bits choose the shard and the rest is the position in the shard's tables, so hash order
//! is storage order everywhere. SCAN shows that order to clients; hence a keyed hash.

use siphasher::sip::SipHasher13;

/// The hash of a key under this keyspace's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u64);

/// The seed of the hash. 16 bytes, copied into every shard so that the hot path reads it from a
/// line it needs anyway.
#[derive(Clone, Copy)]
pub(crate) struct Hasher {
    seed: [u64; 2],
}

impl Hasher {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Hasher { seed }
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(SipHasher13::new_with_keys(self.seed[0], self.seed[1]).hash(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher as _;

    #[test]
    fn the_hash_is_siphash_1_3_of_the_bytes() {
        let hasher = Hasher::new([1, 2]);
        for len in 0..40 {
            let key: Vec<u8> = (0..len).collect();
            let mut reference = SipHasher13::new_with_keys(1, 2);
            reference.write(&key);
            assert_eq!(hasher.hash(&key).0, reference.finish());
        }
    }
}

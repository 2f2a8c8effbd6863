//! The keyed hash of members and fields, with one seed for the whole process.
//!
//! SipHash-1-3 (Aumasson and Bernstein): whoever chooses the members of a set cannot choose where they
//! lie without knowing the seed. One seed for all collections lets an operation over several sets hash
//! each member once.
//!
//! Tables are walked in the order of their hashes, so what is copied from one into another comes sorted: all
//! into one corner of a table that has not grown there yet. Likewise a part of one set, say what a few calls
//! of SSCAN returned, is a set whose hashes all begin with the same bits. A table that notices this scatters
//! the hashes in a way of its own; all others stay in the same order, which makes operations on them fast.

use siphasher::sip::SipHasher13;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static HASHER: OnceLock<SipHasher13> = OnceLock::new();

/// Fixes the seed. Only the first call before the first collection leaves its packed form has an effect:
/// tables that exist could not find their elements under another seed. Without it the seed is random.
pub fn set_seed(seed: [u64; 2]) {
    // A later seed is ignored, as documented.
    let _ = HASHER.set(SipHasher13::new_with_keys(seed[0], seed[1]));
}

/// The hash of a member or field.
#[inline]
pub fn hash_of(text: &[u8]) -> u64 {
    HASHER.get_or_init(random).hash(text)
}

/// What to bring into the cache next for an element that will be looked for. The steps should lie some time
/// apart, with those of other elements between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The bucket that the hash leads to.
    Bucket,
    /// The elements that this bucket has for the hash.
    Elements,
}

/// Collections with fewer elements are left to the cache: hashing a member twice costs more.
pub(crate) const AHEAD_MIN: usize = 4096;

/// How one table orders hashes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scatter {
    /// 0: not at all.
    salt: u64,
}

impl Scatter {
    /// The common order.
    pub(crate) const NONE: Scatter = Scatter { salt: 0 };

    /// An order that no other table has, and that nobody can foresee.
    pub(crate) fn new() -> Scatter {
        static TABLES: AtomicU64 = AtomicU64::new(0);
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        Scatter {
            salt: hash_of(&number.to_le_bytes()).max(1),
        }
    }

    /// The hash of this table for what has `hash` in common.
    #[inline(always)]
    pub(crate) fn apply(self, hash: u64) -> u64 {
        if self.salt == 0 {
            return hash;
        }
        // The table reads the highest bits, and a product's highest bits depend on all bits; flipped bits
        // are worth a power of two times the factor each, which is anywhere.
        (hash ^ self.salt).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[cold]
fn random() -> SipHasher13 {
    let state = RandomState::new();
    SipHasher13::new_with_keys(state.hash_one(1u8), state.hash_one(2u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_stays() {
        let hash = hash_of(b"member");
        set_seed([1, 2]);
        assert_eq!(hash_of(b"member"), hash);
        assert_ne!(hash_of(b"members"), hash);
    }
}

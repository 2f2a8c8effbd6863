//! The keyed hash of members and fields, with one seed for the whole process.
//!
//! SipHash-1-3 (Aumasson and Bernstein) with a seed from the operating system: a client that
//! chooses the members of a set cannot choose where they lie in the table. One seed for all
//! collections lets an operation over several sets hash each member once.
//!
//! A walk over a table is in the order of the hashes, so elements that are copied from one table
//! into another arrive sorted: all in one corner of a table that has not grown there yet. Likewise
//! a part of a set, for instance the members that a few calls of SSCAN returned, is a set whose
//! hashes all begin with the same bits. A large set or hash whose lookups would become slow
//! scatters its hashes in an order of its own. All other tables share one order, which makes set
//! operations fast.

use siphasher::sip::SipHasher13;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static HASHER: OnceLock<SipHasher13> = OnceLock::new();

/// Sets the seed, for reproducible runs; without it the seed is random. Only the first call has an
/// effect, and only before the first hash is computed: existing tables could not find their
/// elements under another seed.
pub fn set_seed(seed: [u64; 2]) {
    // An error means that there is a seed already, which stays.
    let _ = HASHER.set(SipHasher13::new_with_keys(seed[0], seed[1]));
}

/// The hash of a member or field.
#[inline]
pub fn hash_of(text: &[u8]) -> u64 {
    HASHER.get_or_init(random).hash(text)
}

/// The next prefetch for an element before its lookup. Between two steps of an element the caller
/// runs those of other elements, so that the memory accesses overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The bucket that the hash leads to.
    Bucket,
    /// The elements that this bucket has for the hash.
    Elements,
}

/// Prefetching starts at this many elements: in smaller collections hashing a member twice costs
/// more than the cache misses.
pub(crate) const AHEAD_MIN: usize = 4096;

/// The order of hashes in one table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scatter {
    /// 0: the common order.
    salt: u64,
}

impl Scatter {
    /// The common order.
    pub(crate) const NONE: Scatter = Scatter { salt: 0 };

    /// An order that no other table has, and that clients cannot predict.
    pub(crate) fn new() -> Scatter {
        static TABLES: AtomicU64 = AtomicU64::new(0);
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        Scatter {
            salt: hash_of(&number.to_le_bytes()).max(1),
        }
    }

    /// The hash in this table for an element with the common hash `hash`.
    #[inline(always)]
    pub(crate) fn apply(self, hash: u64) -> u64 {
        if self.salt == 0 {
            return hash;
        }
        // The table reads the highest bits, and a product's highest bits depend on all bits;
        // flipped bits are worth a power of two times the factor each, which is anywhere.
        (hash ^ self.salt).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// A hasher with a seed of the operating system's random numbers.
#[cold]
fn random() -> SipHasher13 {
    let mut seed = [0; 16];
    let filled = getrandom::fill(&mut seed);
    // Without a secret seed clients could choose where members lie, so there is no fallback.
    assert!(filled.is_ok(), "no random numbers: {filled:?}");
    SipHasher13::new_with_key(&seed)
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

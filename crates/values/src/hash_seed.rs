//! The keyed hash of members and fields, with one seed for the whole process.
//!
//! SipHash-1-3 (Aumasson and Bernstein): whoever chooses the members of a set cannot choose where they
//! lie without knowing the seed. One seed for all collections lets an operation over several sets hash
//! each member once.

use siphasher::sip::SipHasher13;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

static HASHER: OnceLock<SipHasher13> = OnceLock::new();

/// Fixes the seed. Only the first call before the first collection leaves its packed form has an effect:
/// tables that exist could not find their elements under another seed. Without it the seed is random.
pub fn set_seed(seed: [u64; 2]) {
    // A later seed is ignored, as documented.
    let _ = HASHER.set(SipHasher13::new_with_keys(seed[0], seed[1]));
}

/// The hash of a member or field.
#[inline]
pub(crate) fn hash_of(text: &[u8]) -> u64 {
    HASHER.get_or_init(random).hash(text)
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

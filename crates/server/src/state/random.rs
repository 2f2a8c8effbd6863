//! Random numbers of the operating system, for identities and seeds; not for secrets.

use std::hash::{BuildHasher, RandomState};

/// 64 random bits: the operating system seeds the keys of each new hasher.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// 40 random hexadecimal digits.
pub(super) fn random_id() -> String {
    let digits: String = (0..3).map(|_| format!("{:016x}", random_u64())).collect();
    digits.chars().take(40).collect()
}

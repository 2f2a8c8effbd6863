//! Random numbers of the operating system.

use std::fmt::Write;

/// 64 random bits.
///
/// # Panics
/// When the operating system has none. A client that guesses the hash seed could make keys collide,
/// so there is no fallback.
pub(crate) fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    let filled = getrandom::fill(&mut bytes);
    assert!(filled.is_ok(), "no random numbers: {filled:?}");
    u64::from_ne_bytes(bytes)
}

/// 40 random hexadecimal digits, as run ids and replication ids have.
pub(crate) fn random_id() -> String {
    let mut id = String::with_capacity(48);
    while id.len() < 40 {
        // Writing to a string does not fail.
        let _ = write!(id, "{:016x}", random_u64());
    }
    id.truncate(40);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_40_digits_and_differ() {
        let id = random_id();
        assert_eq!(id.len(), 40);
        assert!(id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
        assert_ne!(id, random_id());
    }
}

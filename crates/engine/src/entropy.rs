//! Seeds of random numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Derives seeds from the one given to the engine, so that a test that fixes it repeats its random
/// numbers.
#[derive(Debug)]
pub struct Seeds(AtomicU64);

/// The increment of SplitMix64, the odd number nearest to 2^64 divided by the golden ratio.
const INCREMENT: u64 = 0x9E37_79B9_7F4A_7C15;

impl Seeds {
    /// The seeds that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next seed: a step of SplitMix64 (Steele, Lea and Flood, 2014).
    pub fn next_seed(&self) -> u64 {
        let state = self.0.fetch_add(INCREMENT, Ordering::Relaxed);
        let mut mixed = state.wrapping_add(INCREMENT);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        let seeds = Seeds::new(0);
        let first = [seeds.next_seed(), seeds.next_seed(), seeds.next_seed()];
        assert_eq!(
            first,
            [
                0xE220_A839_7B1D_CDAF,
                0x6E78_9E6A_A1B9_65F4,
                0x06C4_5D18_8009_454F
            ]
        );
    }
}

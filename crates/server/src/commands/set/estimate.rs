//! How many different things were seen, in 16 KiB: HyperLogLog.
//!
//! Flajolet, Fusy, Gandouet and Meunier (2007) with 16,384 registers and 64-bit hashes; the estimator is Otmar
//! Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017, section 4), which needs no
//! correction for small counts. The standard error is 0.81 %.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
const REGISTERS: usize = 1 << INDEX_BITS;
/// The other bits.
const VALUE_BITS: u32 = u64::BITS - INDEX_BITS;

/// Fixed: estimates of the same sets are the same.
const SEED: u64 = 0x4C6F_6465_7374_6F72;

pub(super) struct Estimate {
    /// Of each register the longest run of zeros seen, plus one; 0 when nothing was.
    registers: Box<[u8; REGISTERS]>,
}

impl Estimate {
    pub(super) fn new() -> Self {
        Self {
            registers: Box::new([0; REGISTERS]),
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        let hash = xxh3_64_with_seed(bytes, SEED);
        let index = (hash >> VALUE_BITS) as usize;
        // The bit below the lowest one ends the run in any case, so that it is at most VALUE_BITS long.
        let rest = (hash << INDEX_BITS) | (1 << (INDEX_BITS - 1));
        let run = rest.leading_zeros() as u8 + 1;
        if let Some(register) = self.registers.get_mut(index) {
            *register = run.max(*register);
        }
    }

    pub(super) fn count(&self) -> usize {
        let mut histogram = [0u32; VALUE_BITS as usize + 2];
        for register in self.registers.iter() {
            if let Some(count) = histogram.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        let registers = REGISTERS as f64;
        let share = |count: Option<&u32>| f64::from(count.copied().unwrap_or(0)) / registers;
        let mut sum = registers * tau(1.0 - share(histogram.last()));
        let middle = histogram.get(1..=VALUE_BITS as usize).unwrap_or_default();
        for count in middle.iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += registers * sigma(share(histogram.first()));
        let alpha = 0.5 / std::f64::consts::LN_2;
        (alpha * registers * registers / sum).round() as usize
    }
}

/// Contribution of the registers that saw nothing.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// Contribution of the registers that are full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_close() {
        for count in [0usize, 1, 4, 100, 10_000, 200_000] {
            let mut estimate = Estimate::new();
            for number in 0..count {
                estimate.add(number.to_string().as_bytes());
                estimate.add(number.to_string().as_bytes());
            }
            let error = estimate.count().abs_diff(count) as f64;
            // Four standard errors.
            assert!(error <= count as f64 * 0.0324, "{count}: off by {error}");
        }
    }
}

//! Latencies in buckets of about 3 % width, with the exact maximum.

use std::time::Duration;

/// Sub-buckets per power of two.
const STEPS: u64 = 32;

/// A histogram of durations in nanoseconds.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest_ns: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram {
            counts: vec![0; 60 * STEPS as usize],
            total: 0,
            longest_ns: 0,
        }
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        let ns = duration.as_nanos().min(u128::from(u32::MAX) << 24) as u64;
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// The value in microseconds that the share `quantile` of all values does not exceed.
    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        let rank = (self.total as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                return (bucket_end(bucket as u64) as f64).min(self.longest_ns as f64) / 1e3;
            }
        }
        self.longest_us()
    }

    pub(crate) fn longest_us(&self) -> f64 {
        self.longest_ns as f64 / 1e3
    }
}

/// Values below `STEPS` have a bucket each; above, every power of two has `STEPS` buckets.
fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let shift = u64::from(ns.ilog2() - STEPS.ilog2());
    (shift * STEPS + (ns >> shift)) as usize
}

/// The largest value that falls into `bucket`.
fn bucket_end(bucket: u64) -> u64 {
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for ns in (0..2000).chain([1 << 20, (1 << 30) + 12345, 1 << 55]) {
            let place = bucket(ns);
            assert!(ns <= bucket_end(place as u64), "{ns}");
            assert!(place == 0 || ns > bucket_end(place as u64 - 1), "{ns}");
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::new();
        for us in 1..=1000 {
            histogram.record(Duration::from_micros(us));
        }
        assert!((histogram.quantile_us(0.5) - 500.0).abs() < 20.0);
        assert!((histogram.longest_us() - 1000.0).abs() < 1e-6);
    }
}

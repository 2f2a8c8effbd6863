//! The 24 bits in every entry that say how recently or how often it is used.
//!
//! With an LRU policy they are a clock of seconds that wraps after 194 days. With an LFU policy
//! they are the low 16 bits of the minutes since 1970 above an 8-bit logarithmic counter. Both as
//! Redis keeps them, so that `OBJECT IDLETIME`, `OBJECT FREQ`, RESTORE and RDB files agree.

use crate::entry::LRU_BITS;

/// Resolution of the LRU clock in milliseconds.
const CLOCK_RESOLUTION_MS: u64 = 1000;
/// The counter of a new entry under LFU: high enough to survive until its first uses.
const LFU_INITIAL: u8 = 5;

const MASK: u32 = (1 << LRU_BITS) - 1;

/// The LRU clock at a time.
#[inline]
pub fn clock(now_ms: u64) -> u32 {
    (now_ms / CLOCK_RESOLUTION_MS) as u32 & MASK
}

/// How long an entry has not been used, in milliseconds, from its field.
#[inline]
pub fn idle_ms(field: u32, now_ms: u64) -> u64 {
    u64::from(clock(now_ms).wrapping_sub(field) & MASK) * CLOCK_RESOLUTION_MS
}

/// The field of an entry that has not been used for `idle_ms`.
pub fn from_idle_ms(idle_ms: u64, now_ms: u64) -> u32 {
    clock(now_ms).wrapping_sub(clock(idle_ms)) & MASK
}

/// The parameters of the LFU counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lfu {
    /// `lfu-log-factor`: the higher, the more uses a higher counter takes.
    pub log_factor: u32,
    /// `lfu-decay-time`: the counter loses one per so many minutes; 0 means never.
    pub decay_minutes: u32,
}

impl Default for Lfu {
    fn default() -> Self {
        Lfu {
            log_factor: 10,
            decay_minutes: 1,
        }
    }
}

impl Lfu {
    /// A field with a given counter, last touched now.
    #[inline]
    pub fn field(counter: u8, now_ms: u64) -> u32 {
        u32::from(minutes(now_ms)) << 8 | u32::from(counter)
    }

    /// The field of a new entry.
    #[inline]
    pub fn initial(now_ms: u64) -> u32 {
        Lfu::field(LFU_INITIAL, now_ms)
    }

    /// The counter, less what it lost since the last touch.
    #[inline]
    pub fn counter(&self, field: u32, now_ms: u64) -> u8 {
        // The field is 16 bits of minutes above 8 bits of counter; minutes wrap, and so does the
        // distance.
        let elapsed = u32::from(minutes(now_ms).wrapping_sub((field >> 8) as u16));
        let lost = elapsed.checked_div(self.decay_minutes).unwrap_or(0);
        (field as u8).saturating_sub(u8::try_from(lost).unwrap_or(u8::MAX))
    }

    /// The field after a use. `random` decides whether the counter grows: the probability is
    /// 1 / ((counter - 5) * log factor + 1).
    #[inline]
    pub fn touch(&self, field: u32, now_ms: u64, random: u64) -> u32 {
        let counter = self.counter(field, now_ms);
        let steps = u64::from(counter.saturating_sub(LFU_INITIAL)) * u64::from(self.log_factor) + 1;
        // random < 2^64 / steps has that probability.
        let grows = random <= u64::MAX / steps;
        Lfu::field(counter.saturating_add(u8::from(grows)), now_ms)
    }
}

#[inline]
fn minutes(now_ms: u64) -> u16 {
    (now_ms / 60_000) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_survives_the_wrap_of_the_clock() {
        let now = (1 << LRU_BITS) * 1000 + 5_000;
        assert_eq!(clock(now), 5);
        assert_eq!(idle_ms(MASK, now), 6_000);
        assert_eq!(idle_ms(from_idle_ms(90_500, now), now), 90_000);
        assert_eq!(idle_ms(clock(now), now), 0);
    }

    #[test]
    fn the_counter_decays_with_the_minutes() {
        let lfu = Lfu::default();
        let start = 65_535 * 60_000;
        let field = Lfu::field(100, start);
        assert_eq!(lfu.counter(field, start), 100);
        assert_eq!(lfu.counter(field, start + 60_000), 99);
        assert_eq!(lfu.counter(field, start + 1000 * 60_000), 0);
        let never = Lfu {
            decay_minutes: 0,
            ..lfu
        };
        assert_eq!(never.counter(field, start + 1000 * 60_000), 100);
    }

    #[test]
    fn the_counter_grows_with_falling_probability() {
        let lfu = Lfu::default();
        let bump = |counter, random| lfu.touch(Lfu::field(counter, 0), 0, random) as u8;
        assert_eq!(bump(0, u64::MAX), 1);
        assert_eq!(bump(5, u64::MAX), 6);
        assert_eq!(bump(6, u64::MAX / 11), 7);
        assert_eq!(bump(6, u64::MAX / 11 + 1), 6);
        assert_eq!(bump(255, 0), 255);
    }
}

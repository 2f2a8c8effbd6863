//! Integers of 1 to 64 bits at any bit of a string, as BITFIELD reads and writes them: two's
//! complement, most significant bit first.

/// The widest integer, in bits. Unsigned ones end at one bit less, so that each value is an `i64`.
const FIELD_BITS_MAX: u32 = 64;

/// Bytes around a field: those that one of 64 bits can touch (9), rounded up to an integer of the
/// machine.
const WINDOW: usize = 16;

/// The type of an integer in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    signed: bool,
    bits: u32,
}

/// The treatment of a value that its field cannot hold (OVERFLOW).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its low bits are kept.
    Wrap,
    /// It becomes the nearest value that the field can hold.
    Sat,
    /// It is refused.
    Fail,
}

impl Field {
    /// A signed or unsigned integer; `None` when there is none of so many bits.
    pub fn new(signed: bool, bits: u32) -> Option<Field> {
        let max = if signed {
            FIELD_BITS_MAX
        } else {
            FIELD_BITS_MAX - 1
        };
        (1..=max).contains(&bits).then_some(Field { signed, bits })
    }

    /// Its width.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The integer whose first bit is at `offset`. Bits beyond the end of the string are zero.
    pub fn get(self, bytes: &[u8], offset: u64) -> i64 {
        let window = Window::at(bytes.len(), offset);
        self.cut(window.load(bytes) >> self.shift(offset))
    }

    /// Writes the low bits of `value` at `offset`. Bits beyond the end of the string are dropped.
    pub fn set(self, bytes: &mut [u8], offset: u64, value: i64) {
        let window = Window::at(bytes.len(), offset);
        let shift = self.shift(offset);
        let mask = (u128::MAX >> (128 - self.bits)) << shift;
        let value = (i128::from(value) as u128) << shift;
        let changed = window.load(bytes) & !mask | value & mask;
        window.store(bytes, changed);
    }

    /// The value that SET stores for `value`: an unsigned field takes it as 64 bits without sign.
    /// `None` when it is refused.
    pub fn fit(self, value: i64, overflow: Overflow) -> Option<i64> {
        let exact = match self.signed {
            true => i128::from(value),
            false => i128::from(value as u64),
        };
        // As in Redis: a value so far below the minimum that its distance to the maximum exceeds 64
        // bits counts as too large.
        let is_far = self.max() - exact > i128::from(i64::MAX);
        let wraps = self.signed && self.bits < 64 && is_far;
        self.limit(exact, exact > self.max() || wraps, overflow)
    }

    /// The value that INCRBY stores for a field that holds `old`. `None` when it is refused.
    pub fn add(self, old: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        let exact = i128::from(old) + i128::from(increment);
        self.limit(exact, exact > self.max(), overflow)
    }

    fn limit(self, exact: i128, is_above: bool, overflow: Overflow) -> Option<i64> {
        if !is_above && exact >= self.min() {
            return Some(exact as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.cut(exact as u128)),
            Overflow::Sat if is_above => Some(self.max() as i64),
            Overflow::Sat => Some(self.min() as i64),
            Overflow::Fail => None,
        }
    }

    /// The value of the low bits.
    fn cut(self, bits: u128) -> i64 {
        let above = 128 - self.bits;
        match self.signed {
            true => ((bits << above) as i128 >> above) as i64,
            false => (bits << above >> above) as i64,
        }
    }

    fn max(self) -> i128 {
        match self.signed {
            true => (1 << (self.bits - 1)) - 1,
            false => (1 << self.bits) - 1,
        }
    }

    fn min(self) -> i128 {
        match self.signed {
            true => -(1 << (self.bits - 1)),
            false => 0,
        }
    }

    /// How far the field's last bit is from the end of its window: `offset % 8 + bits` is at most
    /// 71.
    fn shift(self, offset: u64) -> u32 {
        8 * WINDOW as u32 - (offset % 8) as u32 - self.bits
    }
}

/// The bytes of a string around a field.
struct Window {
    start: usize,
    len: usize,
}

impl Window {
    /// From the byte of bit `offset` on, as far as the string of `len` bytes goes.
    fn at(len: usize, offset: u64) -> Window {
        let start = usize::try_from(offset / 8).map_or(len, |start| start.min(len));
        Window {
            start,
            len: (len - start).min(WINDOW),
        }
    }

    fn load(&self, bytes: &[u8]) -> u128 {
        let mut window = [0; WINDOW];
        window[..self.len].copy_from_slice(&bytes[self.start..self.start + self.len]);
        u128::from_be_bytes(window)
    }

    fn store(&self, bytes: &mut [u8], value: u128) {
        let window = value.to_be_bytes();
        bytes[self.start..self.start + self.len].copy_from_slice(&window[..self.len]);
    }
}

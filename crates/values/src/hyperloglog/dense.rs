//! The dense form: registers of six bits one after the other, from the lowest bit of the first byte
//! on.
//!
//! ```text
//!  byte:      0        1        2
//!        +--------+--------+--------+
//!        |11000000|22221111|33333322|     the highest bit of each byte on the left
//!        +--------+--------+--------+
//! ```
//! Four registers fill three bytes.

use super::{Observation, REGISTERS};

const REGISTER_BITS: usize = 6;
const REGISTER_MASK: u16 = (1 << REGISTER_BITS) - 1;

/// Bytes of all registers.
pub(super) const BYTES: usize = REGISTERS * REGISTER_BITS / 8;

/// Byte and bit where a register begins.
fn position(index: usize) -> (usize, usize) {
    let bit = index % REGISTERS * REGISTER_BITS;
    (bit / 8, bit % 8)
}

/// One register.
#[inline]
pub(super) fn get(packed: &[u8; BYTES], index: usize) -> u8 {
    let (byte, bit) = position(index);
    // The last register ends with the last byte.
    let high = packed.get(byte + 1).copied().unwrap_or(0);
    let both = u16::from_le_bytes([packed[byte], high]);
    (both >> bit & REGISTER_MASK) as u8
}

/// Gives a register a value (at most 63).
pub(super) fn set(packed: &mut [u8; BYTES], index: usize, value: u8) {
    let (byte, bit) = position(index);
    let mask = (REGISTER_MASK << bit).to_le_bytes();
    let bits = (u16::from(value) << bit).to_le_bytes();
    packed[byte] = packed[byte] & !mask[0] | bits[0];
    if let Some(high) = packed.get_mut(byte + 1) {
        *high = *high & !mask[1] | bits[1];
    }
}

/// Raises a register to what was observed; true when it was lower.
#[inline]
pub(super) fn raise(packed: &mut [u8; BYTES], seen: Observation) -> bool {
    let is_higher = seen.value > get(packed, seen.index);
    if is_higher {
        set(packed, seen.index, seen.value);
    }
    is_higher
}

/// Raises unpacked registers to packed ones: groups of four to three bytes.
pub(super) fn merge_groups(registers: &mut [u8], packed: &[u8]) {
    let (registers, packed) = (registers.as_chunks_mut::<4>().0, packed.as_chunks::<3>().0);
    for (registers, packed) in registers.iter_mut().zip(packed) {
        let bits = u32::from_le_bytes([packed[0], packed[1], packed[2], 0]);
        for (at, register) in registers.iter_mut().enumerate() {
            let value = (bits >> (at * REGISTER_BITS)) as u8 & REGISTER_MASK as u8;
            *register = value.max(*register);
        }
    }
}

/// Packs registers (at most 63 each), four to three bytes.
pub(super) fn pack_groups(registers: &[u8], packed: &mut [u8]) {
    let (registers, packed) = (registers.as_chunks::<4>().0, packed.as_chunks_mut::<3>().0);
    for (registers, packed) in registers.iter().zip(packed) {
        let bits = registers.iter().rev().fold(0u32, |bits, register| {
            bits << REGISTER_BITS | u32::from(*register)
        });
        packed.copy_from_slice(&bits.to_le_bytes()[..3]);
    }
}

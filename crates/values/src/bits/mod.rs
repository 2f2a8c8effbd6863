//! Strings as arrays of bits: bit 0 is the most significant bit of the first byte.
//!
//! * [`get`], [`set`], [`count`], [`position`]: single bits and ranges of them;
//! * [`combine`]: AND, OR and the like of several strings;
//! * [`Field`]: integers of 1 to 64 bits anywhere in a string.
//!
//! Long strings are a matter of memory bandwidth. The loops are written so that the compiler
//! vectorises them, and on x86-64 are compiled a second time for AVX2, which is detected at run
//! time. AVX-512 would gain nothing: with AVX2 the memory is the limit already.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod combine;
mod field;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

pub use combine::{Operand, Operation, combine};
pub use field::{Field, Overflow};

/// Bytes counted or compared at once. The counts of 8 registers, per byte, still fit bytes.
const COUNTED: usize = 8 * LANES;

/// Bytes in a register of AVX2.
const LANES: usize = 32;

/// Parts of a long string that are read side by side. The prefetcher of the processor ends at each
/// page of 4 KiB; several streams keep the memory busy while one of them starts over.
const STREAMS: usize = 4;

/// Strings from which on it pays to read several parts side by side.
const STREAMS_FROM: usize = 64 * 1024;

/// Whether the loops compiled for AVX2 may be called. The standard library caches the answer.
#[inline]
fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// The bit at `offset`; those beyond the end are zero.
#[inline]
pub fn get(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8)
        .ok()
        .and_then(|at| bytes.get(at));
    byte.is_some_and(|byte| byte & mask_of(offset) != 0)
}

/// Sets or clears the bit at `offset` and returns what it was. Nothing happens beyond the end.
#[inline]
pub fn set(bytes: &mut [u8], offset: u64, on: bool) -> bool {
    let byte = usize::try_from(offset / 8)
        .ok()
        .and_then(|at| bytes.get_mut(at));
    let Some(byte) = byte else {
        return false;
    };
    let mask = mask_of(offset);
    let was = *byte & mask != 0;
    *byte = if on { *byte | mask } else { *byte & !mask };
    was
}

#[inline]
fn mask_of(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

/// Number of bits that are set.
pub fn count(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::count(bytes) };
    }
    count_portable(bytes)
}

/// For any processor; the compiler uses what vectors there are.
fn count_portable(bytes: &[u8]) -> u64 {
    let mut total = 0;
    let tail = each_block(bytes, |block| {
        let (words, _) = block.as_chunks();
        let ones = |word: &[u8; 8]| u64::from(u64::from_ne_bytes(*word).count_ones());
        total += words.iter().map(ones).sum::<u64>();
    });
    total + count_bytes(tail)
}

/// Byte by byte, for a few of them.
fn count_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(byte.count_ones())).sum()
}

/// Visits all blocks, in no order, and returns the bytes that make no whole one.
#[inline(always)]
fn each_block(bytes: &[u8], mut visit: impl FnMut(&[u8; COUNTED])) -> &[u8] {
    let (mut blocks, tail) = bytes.as_chunks();
    if bytes.len() >= STREAMS_FROM {
        let part = blocks.len() / STREAMS;
        let streams: [&[_]; STREAMS] = std::array::from_fn(|n| &blocks[n * part..(n + 1) * part]);
        for at in 0..part {
            for stream in streams {
                visit(&stream[at]);
            }
        }
        blocks = &blocks[part * STREAMS..];
    }
    blocks.iter().for_each(visit);
    tail
}

/// Number of bits that are set among those of `range`, which must lie inside the string.
pub fn count_range(bytes: &[u8], range: RangeInclusive<u64>) -> u64 {
    let Some((bytes, before, after)) = cut(bytes, &range) else {
        return 0;
    };
    let outside = |byte: Option<&u8>, mask: u8| byte.map_or(0, |byte| (byte & mask).count_ones());
    // The first and the last byte were counted whole.
    let first = outside(bytes.first(), !before);
    let last = outside(bytes.last(), !after);
    count(bytes) - u64::from(first) - u64::from(last)
}

/// Position of the first bit of `range` that is `bit`. The range must lie inside the string.
pub fn position(bytes: &[u8], bit: bool, range: RangeInclusive<u64>) -> Option<u64> {
    let (part, before, after) = cut(bytes, &range)?;
    let skipped = if bit { 0 } else { 0xff };
    let start = range.start() / 8;
    // Only bits that differ from those that are skipped.
    let in_byte = |index: usize| {
        let mut found = part[index] ^ skipped;
        if index == 0 {
            found &= before;
        }
        if index + 1 == part.len() {
            found &= after;
        }
        (found != 0).then(|| (start + index as u64) * 8 + u64::from(found.leading_zeros()))
    };
    if let Some(found) = in_byte(0) {
        return Some(found);
    }
    let index = 1 + first_other(&part[1..], skipped)?;
    in_byte(index)
}

/// The bytes that a range of bits touches, with masks of what belongs to it in the first and in the
/// last of them. `None` for an empty range or one beyond the end.
fn cut<'a>(bytes: &'a [u8], range: &RangeInclusive<u64>) -> Option<(&'a [u8], u8, u8)> {
    if range.is_empty() {
        return None;
    }
    let first = usize::try_from(range.start() / 8).ok()?;
    let last = usize::try_from(range.end() / 8).ok()?;
    let before = 0xff >> (range.start() % 8);
    let after = 0xff << (7 - range.end() % 8);
    Some((bytes.get(first..=last)?, before, after))
}

/// Index of the first byte that is not `skipped` (0 or 255).
fn first_other(bytes: &[u8], skipped: u8) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::first_other(bytes, skipped) };
    }
    first_other_portable(bytes, skipped)
}

fn first_other_portable(bytes: &[u8], skipped: u8) -> Option<usize> {
    first_other_with(bytes, skipped, |block| {
        block.iter().fold(0, |seen, byte| seen | (byte ^ skipped)) != 0
    })
}

/// `differs` returns whether a block has such a byte.
#[inline(always)]
fn first_other_with(
    bytes: &[u8],
    skipped: u8,
    differs: impl Fn(&[u8; COUNTED]) -> bool,
) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks();
    let whole = blocks.iter().position(differs).unwrap_or(blocks.len());
    let from = whole * COUNTED;
    let within = bytes[from..].iter().position(|byte| *byte != skipped)?;
    Some(from + within)
}

//! Bitwise operations on several strings at once, as BITOP does them.
//!
//! All operands are gone through block by block. The result of a block is built on the stack, in
//! the first cache, and written once; so an operand may be the buffer that the result goes to.

/// Bytes handled at a time: a page, so that the operands' streams meet the prefetcher's limits
/// together.
const BLOCK: usize = 4096;

/// The operation on the operands. Shorter ones count as continued by zero bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Bits that are set in all.
    And,
    /// Bits that are set in any.
    Or,
    /// Bits that are set in an odd number.
    Xor,
    /// Bits that are clear in the first (and only) one.
    Not,
    /// Bits that are set in the first one and in none of the others.
    Diff,
    /// Bits that are set in any but not in the first one.
    Diff1,
    /// Bits that are set in the first one and in any of the others.
    AndOr,
    /// Bits that are set in exactly one.
    One,
}

/// One source of a combination.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// A string.
    Bytes(&'a [u8]),
    /// The former contents of the output buffer.
    Output,
}

/// Writes the combination of `operands` over what is in `output`, whose memory is used as far as it
/// goes. The result is as long as the longest operand.
pub fn combine(operation: Operation, operands: &[Operand<'_>], output: &mut Vec<u8>) {
    #[cfg(target_arch = "x86_64")]
    if super::has_avx2() {
        // SAFETY: the processor has AVX2.
        return unsafe { combine_avx2(operation, operands, output) };
    }
    combine_portable(operation, operands, output);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn combine_avx2(operation: Operation, operands: &[Operand<'_>], output: &mut Vec<u8>) {
    combine_portable(operation, operands, output);
}

#[inline(always)]
pub(super) fn combine_portable(
    operation: Operation,
    operands: &[Operand<'_>],
    output: &mut Vec<u8>,
) {
    let len_of = |operand: &Operand<'_>| match operand {
        Operand::Bytes(bytes) => bytes.len(),
        Operand::Output => output.len(),
    };
    let longest = operands.iter().map(len_of).max().unwrap_or(0);
    // Never shortens what is an operand.
    output.truncate(longest);
    output.reserve_exact(longest - output.len());
    let own = output.len();
    let mut block = [0; BLOCK];
    let mut start = 0;
    while start < longest {
        let end = (start + BLOCK).min(longest);
        let result = &mut block[..end - start];
        let part = |index: usize| match operands[index] {
            Operand::Bytes(bytes) => slice(bytes, start, end),
            Operand::Output => slice(&output[..own], start, end),
        };
        combine_block(operation, operands.len(), &part, result);
        // Blocks before this one made the output at least `start` long.
        let (over, beyond) = result.split_at(output.len().min(end) - start);
        output[start..start + over.len()].copy_from_slice(over);
        output.extend_from_slice(beyond);
        start = end;
    }
}

/// The bytes from `start` to `end`, as far as there are any.
#[inline(always)]
fn slice(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    let end = end.min(bytes.len());
    bytes.get(start..end).unwrap_or_default()
}

/// Combines one block: `part(i)` is what operand `i` has of it, which may be less than the result.
#[inline(always)]
fn combine_block<'a>(
    operation: Operation,
    operands: usize,
    part: &impl Fn(usize) -> &'a [u8],
    result: &mut [u8],
) {
    match operation {
        Operation::And => {
            copy(result, part(0));
            (1..operands).for_each(|index| and(result, part(index)));
        }
        Operation::Or => {
            copy(result, part(0));
            (1..operands).for_each(|index| or(result, part(index)));
        }
        Operation::Xor => {
            copy(result, part(0));
            (1..operands).for_each(|index| each(result, part(index), |a, b| a ^ b));
        }
        Operation::Not => {
            copy(result, part(0));
            result.iter_mut().for_each(|byte| *byte = !*byte);
        }
        Operation::Diff => {
            copy(result, part(0));
            (1..operands).for_each(|index| each(result, part(index), |a, b| a & !b));
        }
        Operation::Diff1 => {
            any(operands, part, result);
            each(result, part(0), |a, b| a & !b);
        }
        Operation::AndOr => {
            any(operands, part, result);
            and(result, part(0));
        }
        Operation::One => one(operands, part, result),
    }
}

/// Bits that are set in any operand but the first.
#[inline(always)]
fn any<'a>(operands: usize, part: &impl Fn(usize) -> &'a [u8], result: &mut [u8]) {
    copy(result, if operands > 1 { part(1) } else { &[] });
    (2..operands).for_each(|index| or(result, part(index)));
}

#[inline(always)]
fn one<'a>(operands: usize, part: &impl Fn(usize) -> &'a [u8], result: &mut [u8]) {
    // Bits seen at least twice.
    let mut twice = [0; BLOCK];
    copy(result, part(0));
    for index in 1..operands {
        let bytes = part(index).iter().zip(result.iter_mut());
        for ((byte, once), twice) in bytes.zip(&mut twice) {
            *twice |= *once & byte;
            *once |= byte;
        }
    }
    each(result, &twice, |a, b| a & !b);
}

#[inline(always)]
fn copy(result: &mut [u8], bytes: &[u8]) {
    let (over, beyond) = result.split_at_mut(bytes.len());
    over.copy_from_slice(bytes);
    beyond.fill(0);
}

#[inline(always)]
fn and(result: &mut [u8], bytes: &[u8]) {
    each(result, bytes, |a, b| a & b);
    result[bytes.len()..].fill(0);
}

#[inline(always)]
fn or(result: &mut [u8], bytes: &[u8]) {
    each(result, bytes, |a, b| a | b);
}

#[inline(always)]
fn each(result: &mut [u8], bytes: &[u8], operation: impl Fn(u8, u8) -> u8) {
    for (byte, other) in result.iter_mut().zip(bytes) {
        *byte = operation(*byte, *other);
    }
}

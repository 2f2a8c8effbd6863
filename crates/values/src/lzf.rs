//! LZF: the compression of long strings in RDB files and of the inner nodes of lists.
//!
//! The format is that of liblzf, a sequence of two kinds of pieces, without header and checksum:
//!
//! ```text
//! 000LLLLL <L + 1 bytes>          the next L + 1 bytes as they are                  1 to 32 bytes
//! LLLDDDDD DDDDDDDD               L + 2 bytes copied from D + 1 bytes before        3 to 8 bytes
//! 111DDDDD LLLLLLLL DDDDDDDD      L + 9 bytes copied from D + 1 bytes before        9 to 264 bytes
//! ```
//!
//! A copy may overlap what it writes. The length of the plain bytes is not in the stream: callers
//! store it beside the stream.

use crate::Malformed;

/// The longest run of bytes taken as they are.
const RUN_MAX: usize = 32;
/// The shortest and the longest copy.
const COPY_MIN: usize = 3;
const COPY_MAX: usize = 264;
/// A copy reaches back at most so far.
const DISTANCE_MAX: usize = 1 << 13;
/// The greatest expansion of one byte of input: the longest copy is written in three bytes.
const EXPANSION_MAX: usize = COPY_MAX / 3;
/// Slots of the table for long inputs.
const SLOTS_MAX: usize = 1 << 13;

/// Appends the compressed form of `input` to `output` and returns true, if it is shorter than the
/// input. If not, `output` is as before and the answer false.
pub fn compress(input: &[u8], output: &mut Vec<u8>) -> bool {
    let base = output.len();
    // Clearing the table is most of the work for short inputs: they get a small one.
    let fits = match input.len() {
        0..=COPY_MIN => false,
        4..=256 => compress_with(&mut [0; 256], input, output),
        257..=2048 => compress_with(&mut [0; 2048], input, output),
        _ => compress_with(&mut [0; SLOTS_MAX], input, output),
    };
    if !fits {
        output.truncate(base);
    }
    fits
}

/// The table maps a hash of four bytes to the last position that had them. The bytes at a position
/// from the table are always compared before use. So a slot has only the low half of a position,
/// and 0 stands for empty too.
fn compress_with<const SLOTS: usize>(
    slots: &mut [u32; SLOTS],
    input: &[u8],
    output: &mut Vec<u8>,
) -> bool {
    const { assert!(SLOTS.is_power_of_two()) };
    // One byte must be saved, or it is not worth it.
    let end = output.len() + input.len() - 1;
    output.reserve(input.len());
    let mut done = 0;
    let mut at = 1;
    while let Some(word) = word_at(input, at) {
        let slot = &mut slots[slot_of::<SLOTS>(word)];
        let distance = (at as u32).wrapping_sub(*slot) as usize;
        *slot = at as u32;
        let near = distance.wrapping_sub(1) < DISTANCE_MAX && distance <= at;
        let length = if near {
            common(input, at - distance, at)
        } else {
            0
        };
        if length < COPY_MIN {
            // The steps grow while no match is found, so that incompressible input takes little
            // time.
            at += 1 + ((at - done) >> 6);
            continue;
        }
        if !put_runs(input.get(done..at).unwrap_or_default(), end, output)
            || !put_copy(length, distance, end, output)
        {
            return false;
        }
        at += length;
        done = at;
        for behind in [at - 2, at - 1] {
            if let Some(word) = word_at(input, behind) {
                slots[slot_of::<SLOTS>(word)] = behind as u32;
            }
        }
    }
    put_runs(input.get(done..).unwrap_or_default(), end, output)
}

/// The four bytes from `at`, while there are so many.
#[inline]
fn word_at(input: &[u8], at: usize) -> Option<u32> {
    let word = input.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*word))
}

/// A multiplicative hash of three of the four bytes: the shortest copy is found by it.
#[inline]
fn slot_of<const SLOTS: usize>(word: u32) -> usize {
    let hash = (word << 8).wrapping_mul(0x9e37_79b1);
    (hash >> (32 - SLOTS.trailing_zeros())) as usize & (SLOTS - 1)
}

/// How many bytes from `earlier` and from `at` on are the same, at most [`COPY_MAX`].
#[inline]
fn common(input: &[u8], earlier: usize, at: usize) -> usize {
    let most = (input.len() - at).min(COPY_MAX);
    let (Some(left), Some(right)) = (input.get(earlier..earlier + most), input.get(at..at + most))
    else {
        return 0;
    };
    let mut length = 0;
    let words = left.chunks_exact(8).zip(right.chunks_exact(8));
    for (left, right) in words {
        let (Some(left), Some(right)) = (left.first_chunk(), right.first_chunk()) else {
            return length;
        };
        let differ = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if differ != 0 {
            return length + (differ.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    let rest = left.iter().zip(right).skip(length);
    length + rest.take_while(|(left, right)| left == right).count()
}

/// Bytes as they are; false when `output` would grow past `end`.
#[inline]
fn put_runs(bytes: &[u8], end: usize, output: &mut Vec<u8>) -> bool {
    if output.len() + bytes.len() + bytes.len().div_ceil(RUN_MAX) > end {
        return false;
    }
    for run in bytes.chunks(RUN_MAX) {
        output.push((run.len() - 1) as u8);
        output.extend_from_slice(run);
    }
    true
}

/// A copy of `length` bytes from `distance` before; false when `output` would grow past `end`.
#[inline]
fn put_copy(length: usize, distance: usize, end: usize, output: &mut Vec<u8>) -> bool {
    let [far, near] = ((distance - 1) as u16).to_be_bytes();
    if output.len() + 3 > end {
        return false;
    }
    match length - 2 {
        short @ 1..7 => output.push((short as u8) << 5 | far),
        long => output.extend_from_slice(&[7 << 5 | far, (long - 7) as u8]),
    }
    output.push(near);
    true
}

/// The plain bytes of a compressed form. `expected_len` is their stored length.
///
/// # Errors
/// The stream is cut off, copies from before the beginning, or has another length than expected.
/// Memory is bounded by what the stream could become at all, whatever is expected.
pub fn decompress(input: &[u8], expected_len: usize) -> Result<Vec<u8>, Malformed> {
    let mut output = Vec::new();
    decompress_into(input, expected_len, &mut output)?;
    Ok(output)
}

/// [`decompress`] into a buffer that is used again; its former contents are dropped.
///
/// # Errors
/// As [`decompress`].
pub fn decompress_into(
    input: &[u8],
    expected_len: usize,
    output: &mut Vec<u8>,
) -> Result<(), Malformed> {
    output.clear();
    if expected_len > input.len().saturating_mul(EXPANSION_MAX) {
        return Err(WRONG_LENGTH);
    }
    output.resize(expected_len, 0);
    let mut rest = input;
    let mut done = 0;
    while let Some((&control, after)) = rest.split_first() {
        rest = after;
        let length = if control < 1 << 5 {
            let length = usize::from(control) + 1;
            put_run(rest, length, done, output)?;
            rest = rest.get(length..).unwrap_or_default();
            length
        } else {
            let (length, distance) = take_copy(control, &mut rest)?;
            if distance > done {
                return Err(Malformed(
                    "compressed string copies from before its beginning",
                ));
            }
            repeat(distance, length, done, output)?;
            length
        };
        done += length;
    }
    if done != expected_len {
        return Err(WRONG_LENGTH);
    }
    Ok(())
}

const CUT_OFF: Malformed = Malformed("compressed string is cut off");
const WRONG_LENGTH: Malformed = Malformed("compressed string has another length than stored");

/// Writes the first `length` bytes of `from`, at most [`RUN_MAX`], at `done`.
#[inline(always)]
fn put_run(from: &[u8], length: usize, done: usize, output: &mut [u8]) -> Result<(), Malformed> {
    // A copy of fixed size is much quicker; the following output overwrites the excess bytes.
    let room = output.get_mut(done..).unwrap_or_default();
    if let (Some(from), Some(to)) = (
        from.first_chunk::<RUN_MAX>(),
        room.first_chunk_mut::<RUN_MAX>(),
    ) {
        *to = *from;
        return Ok(());
    }
    let from = from.get(..length).ok_or(CUT_OFF)?;
    let to = room.get_mut(..length).ok_or(WRONG_LENGTH)?;
    to.copy_from_slice(from);
    Ok(())
}

/// Length and distance of the copy that starts with `control`.
#[inline]
fn take_copy(control: u8, rest: &mut &[u8]) -> Result<(usize, usize), Malformed> {
    let mut next = || {
        let (&byte, after) = rest.split_first().ok_or(CUT_OFF)?;
        *rest = after;
        Ok::<_, Malformed>(usize::from(byte))
    };
    let length = match usize::from(control >> 5) {
        7 => 9 + next()?,
        short => 2 + short,
    };
    let distance = (usize::from(control & 0x1f) << 8 | next()?) + 1;
    Ok((length, distance))
}

/// Writes `length` bytes from `distance` before at `done`; there are so many before.
#[inline(always)]
fn repeat(distance: usize, length: usize, done: usize, output: &mut [u8]) -> Result<(), Malformed> {
    const WORD: usize = 8;
    let window = output.get_mut(done - distance..).unwrap_or_default();
    // As with runs: words, of which the last may be too long. The nearest may not overlap in a
    // word.
    if distance >= WORD && length <= 2 * WORD && window.len() >= distance + 2 * WORD {
        for at in [0, WORD] {
            window.copy_within(at..at + WORD, distance + at);
        }
        return Ok(());
    }
    let window = window.get_mut(..distance + length).ok_or(WRONG_LENGTH)?;
    if distance == 1 {
        let byte = window.first().copied().unwrap_or_default();
        window.fill(byte);
        return Ok(());
    }
    let mut copied = 0;
    // Copied bytes can be copied again: the piece doubles each time.
    while copied < length {
        let piece = (distance + copied).min(length - copied);
        window.copy_within(..piece, distance + copied);
        copied += piece;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both_ways(input: &[u8]) -> Option<usize> {
        let mut output = b"before".to_vec();
        if !compress(input, &mut output) {
            assert_eq!(output, b"before");
            return None;
        }
        let packed = &output[6..];
        assert!(packed.len() < input.len());
        assert_eq!(decompress(packed, input.len()).unwrap(), input);
        assert!(decompress(packed, input.len() + 1).is_err());
        assert!(decompress(packed, input.len() - 1).is_err());
        assert!(decompress(&packed[..packed.len() - 1], input.len()).is_err());
        Some(packed.len())
    }

    #[test]
    fn repetition_compresses_and_noise_does_not() {
        assert_eq!(both_ways(b""), None);
        assert_eq!(both_ways(b"abc"), None);
        assert_eq!(both_ways(b"abcdefghijklmnopqrstuvwxyz"), None);
        assert!(both_ways(&[b'a'; 20]).unwrap() <= 6);
        // 264 bytes for three, and the first one.
        let long = if cfg!(miri) { 3000 } else { 100_000 };
        assert!(both_ways(&vec![b'x'; long]).unwrap() <= long / 264 * 3 + 8);
        let text = b"a list of words, and once more a list of words, ".repeat(40);
        assert!(both_ways(&text).unwrap() < text.len() / 10);
    }

    #[test]
    fn streams_of_the_reference_library_are_read() {
        // Runs, short copies, a long copy and one that overlaps itself.
        assert_eq!(decompress(b"\x02abc", 3).unwrap(), b"abc");
        assert_eq!(decompress(b"\x02abc\x20\x02", 6).unwrap(), b"abcabc");
        assert_eq!(decompress(b"\x00a\xe0\x0a\x00", 20).unwrap(), [b'a'; 20]);
        assert_eq!(decompress(b"\x01ab\x60\x01", 7).unwrap(), b"abababa");
        assert_eq!(decompress(b"", 0).unwrap(), b"");
    }

    #[test]
    fn broken_streams_are_refused() {
        for (stream, length) in [
            (&b"\x05abc"[..], 6),
            (b"\x20\x00", 3),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0", 10),
            (b"\x00a\xe0\x01", 11),
            (b"\x00a", usize::MAX),
            (b"", 1),
            (b"\x00a", 0),
        ] {
            assert!(decompress(stream, length).is_err(), "{stream:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 128 }))]

        #[test]
        fn what_is_compressed_comes_back(
            words in prop::collection::vec(prop::collection::vec(0u8..4, 0..20), 0..8),
            picks in prop::collection::vec(0usize..8, 0..300),
        ) {
            let mut input = Vec::new();
            for pick in picks {
                input.extend_from_slice(words.get(pick).map_or(b"-", |word| word));
            }
            both_ways(&input);
        }

        #[test]
        fn arbitrary_streams_never_panic(
            stream in prop::collection::vec(any::<u8>(), 0..200),
            length in 0usize..5000,
        ) {
            if let Ok(bytes) = decompress(&stream, length) {
                prop_assert_eq!(bytes.len(), length);
            }
        }
    }
}

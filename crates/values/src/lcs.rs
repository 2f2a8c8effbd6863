//! The longest common subsequence of two byte strings, as the LCS command answers it.
//!
//! Among equally long subsequences the command's answer is a particular one: the walk back from
//! both ends steps over a byte of the second string unless that would lose length. Clients see it
//! in the string and in the ranges, so it is part of the contract here.
//!
//! The table of lengths is computed by rows, 64 columns at a time (Hyyrö, "Bit-parallel LCS-length
//! computation revisited", 2004). Bit j of a row's vector is 0 where the length grows from column
//! j to j + 1. Those bits are also all that the walk back needs, so only they are kept: one bit
//! for a cell of four bytes in the plain table. Limits are still counted in the plain table's
//! bytes, so that the same strings are refused as elsewhere.

use std::collections::HashMap;

/// Bytes per cell of the plain table, in which limits are counted.
const CELL: u64 = 4;

/// Why no answer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LcsError {
    /// A string of nearly 4 GiB ("String too long for LCS").
    StringTooLong,
    /// The plain table would exceed the limit ("Insufficient memory, transient memory for LCS
    /// exceeds proto-max-bulk-len").
    TableTooLarge,
}

/// A stretch of bytes that both strings share, part of the subsequence. Positions are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// First position in the first string.
    pub a: usize,
    /// First position in the second string.
    pub b: usize,
    /// Number of bytes, at least 1.
    pub len: usize,
}

/// Length of the longest common subsequence.
///
/// `limit` bounds `(a.len() + 1) * (b.len() + 1) * 4` bytes (Redis: proto-max-bulk-len). Memory in
/// use is about `b.len()` times the number of different bytes in `a`, in bits.
///
/// # Errors
/// When a string or the product of their lengths is too large.
pub fn length(a: &[u8], b: &[u8], limit: u64) -> Result<usize, LcsError> {
    check(a, b, limit)?;
    let mut row = vec![u64::MAX; words(b)];
    advance(a, b, &mut row, |_| ());
    Ok(count_zeros(&row, b.len()))
}

/// The longest common subsequence itself. Memory in use is at most about an eighth of a byte per
/// pair of positions, twice.
///
/// # Errors
/// As [`length`].
pub fn subsequence(a: &[u8], b: &[u8], limit: u64) -> Result<Vec<u8>, LcsError> {
    let mut bytes = Vec::new();
    walk(a, b, limit, |i, _| bytes.push(a[i]))?;
    bytes.reverse();
    Ok(bytes)
}

/// The length of the longest common subsequence, and its stretches from the last to the first (as
/// LCS IDX lists them), without those shorter than `min_len`. Memory as [`subsequence`].
///
/// # Errors
/// As [`length`].
pub fn matches(
    a: &[u8],
    b: &[u8],
    min_len: usize,
    limit: u64,
) -> Result<(usize, Vec<Match>), LcsError> {
    let mut found: Vec<Match> = Vec::new();
    let mut current: Option<Match> = None;
    let len = walk(a, b, limit, |i, j| match &mut current {
        Some(run) if run.a == i + 1 && run.b == j + 1 => {
            *run = Match {
                a: i,
                b: j,
                len: run.len + 1,
            };
        }
        _ => {
            let next = Match { a: i, b: j, len: 1 };
            found.extend(current.replace(next).filter(|run| run.len >= min_len));
        }
    })?;
    found.extend(current.filter(|run| run.len >= min_len));
    Ok((len, found))
}

fn check(a: &[u8], b: &[u8], limit: u64) -> Result<(), LcsError> {
    let longest = u64::from(u32::MAX) - 1;
    let [rows, columns] = [a, b].map(|string| string.len() as u64 + 1);
    if rows > longest || columns > longest {
        return Err(LcsError::StringTooLong);
    }
    // Both below 2^32: their product fits, four times as much may not.
    match (rows * columns).checked_mul(CELL) {
        Some(bytes) if bytes <= limit => Ok(()),
        _ => Err(LcsError::TableTooLarge),
    }
}

/// Words of a row's vector.
fn words(b: &[u8]) -> usize {
    b.len().div_ceil(64)
}

/// Length of the subsequence that a row stands for: its zero bits among the first `columns`.
fn count_zeros(row: &[u64], columns: usize) -> usize {
    // Bits beyond the last column stay 1: no byte of b is there to match.
    let ones: usize = row.iter().map(|word| word.count_ones() as usize).sum();
    columns - (ones - (row.len() * 64 - columns))
}

/// Computes row after row, from all ones on, and shows each to `keep`.
fn advance(a: &[u8], b: &[u8], row: &mut [u64], mut keep: impl FnMut(&[u64])) {
    // Where each byte stands in b; only for the bytes of a, which bounds this by the size of the
    // table of bits.
    let mut places: HashMap<u8, Box<[u64]>> = HashMap::new();
    for byte in a {
        let places = places.entry(*byte).or_insert_with(|| places_of(*byte, b));
        let mut carry = false;
        for (word, places) in row.iter_mut().zip(places.iter()) {
            let matched = *word & places;
            let (sum, first) = word.overflowing_add(matched);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first | second;
            *word = sum | *word & !places;
        }
        keep(row);
    }
}

fn places_of(byte: u8, b: &[u8]) -> Box<[u64]> {
    b.chunks(64)
        .map(|chunk| {
            let bits = chunk.iter().enumerate();
            bits.fold(0, |word, (bit, other)| {
                word | u64::from(*other == byte) << bit
            })
        })
        .collect()
}

/// Walks the subsequence from its end and shows the positions of each byte in both strings. Returns
/// its length.
fn walk(
    a: &[u8],
    b: &[u8],
    limit: u64,
    mut visit: impl FnMut(usize, usize),
) -> Result<usize, LcsError> {
    check(a, b, limit)?;
    let width = words(b);
    let mut row = vec![u64::MAX; width];
    let mut rows: Vec<u64> = Vec::with_capacity(a.len() * width);
    advance(a, b, &mut row, |row| rows.extend_from_slice(row));
    let (mut i, mut j) = (a.len(), b.len());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            visit(i, j);
            continue;
        }
        // Where the length grows in the last column, it would be lost by stepping over that byte
        // of b, so it comes from the row before.
        let grows = rows[(i - 1) * width + (j - 1) / 64] >> ((j - 1) % 64) & 1 == 0;
        if grows {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    Ok(count_zeros(&row, b.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_LIMIT: u64 = u64::MAX;

    /// The plain table and the walk of the definition.
    fn model(a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<(usize, usize)>) {
        let mut table = vec![vec![0u32; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] = if a[i - 1] == b[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        let (mut i, mut j) = (a.len(), b.len());
        let mut pairs = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                pairs.push((i, j));
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        let string = pairs.iter().rev().map(|(i, _)| a[*i]).collect();
        (string, pairs)
    }

    fn run(a: usize, b: usize, len: usize) -> Match {
        Match { a, b, len }
    }

    #[test]
    fn the_example_of_the_documentation() {
        let (a, b) = (&b"ohmytext"[..], &b"mynewtext"[..]);
        assert_eq!(subsequence(a, b, NO_LIMIT).unwrap(), b"mytext");
        assert_eq!(length(a, b, NO_LIMIT), Ok(6));
        let all = vec![run(4, 5, 4), run(2, 0, 2)];
        assert_eq!(matches(a, b, 0, NO_LIMIT), Ok((6, all.clone())));
        assert_eq!(matches(a, b, 2, NO_LIMIT), Ok((6, all)));
        assert_eq!(matches(a, b, 4, NO_LIMIT), Ok((6, vec![run(4, 5, 4)])));
        assert_eq!(matches(a, b, 5, NO_LIMIT), Ok((6, vec![])));
    }

    #[test]
    fn nothing_in_common() {
        for (a, b) in [
            (&b""[..], &b""[..]),
            (b"abc", b""),
            (b"", b"abc"),
            (b"abc", b"xyz"),
        ] {
            assert_eq!(length(a, b, NO_LIMIT), Ok(0));
            assert_eq!(subsequence(a, b, NO_LIMIT).unwrap(), b"");
            assert_eq!(matches(a, b, 0, NO_LIMIT), Ok((0, vec![])));
        }
    }

    #[test]
    fn equal_strings_are_one_stretch() {
        let string: Vec<u8> = (0..1000u32).map(|n| (n * n % 251) as u8).collect();
        assert_eq!(
            matches(&string, &string, 0, NO_LIMIT),
            Ok((1000, vec![run(0, 0, 1000)]))
        );
    }

    #[test]
    fn the_limit_is_that_of_the_plain_table() {
        assert_eq!(length(b"ab", b"abc", 48), Ok(2));
        assert_eq!(length(b"ab", b"abc", 47), Err(LcsError::TableTooLarge));
        assert_eq!(subsequence(b"ab", b"abc", 47), Err(LcsError::TableTooLarge));
        assert_eq!(matches(b"ab", b"abc", 0, 47), Err(LcsError::TableTooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 5 } else { 128 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn agrees_with_the_plain_table(
            a in prop::collection::vec(0..4u8, 0..200),
            b in prop::collection::vec(0..4u8, 0..200),
            min_len in 0..4usize,
        ) {
            let (string, pairs) = model(&a, &b);
            prop_assert_eq!(length(&a, &b, NO_LIMIT), Ok(string.len()));
            prop_assert_eq!(subsequence(&a, &b, NO_LIMIT).unwrap(), string);
            let (len, all) = matches(&a, &b, 0, NO_LIMIT).unwrap();
            let spread = |run: &Match| (0..run.len).rev().map(|k| (run.a + k, run.b + k)).collect::<Vec<_>>();
            prop_assert_eq!(all.iter().flat_map(spread).collect::<Vec<_>>(), pairs.clone());
            prop_assert_eq!(len, pairs.len());
            prop_assert!(all.windows(2).all(|w| w[1].a + w[1].len != w[0].a || w[1].b + w[1].len != w[0].b));
            let (_, long) = matches(&a, &b, min_len, NO_LIMIT).unwrap();
            prop_assert_eq!(long, all.into_iter().filter(|run| run.len >= min_len).collect::<Vec<_>>());
        }
    }
}

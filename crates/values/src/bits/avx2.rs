//! The loops for x86-64 with AVX2. Callers check that the processor has it.

use std::arch::x86_64::*;

use super::{COUNTED, LANES, count_bytes, each_block, first_other_with};

/// As [`super::count`].
#[target_feature(enable = "avx2")]
pub(super) fn count(bytes: &[u8]) -> u64 {
    let mut quarters = _mm256_setzero_si256();
    let tail = each_block(bytes, |block| {
        quarters = _mm256_add_epi64(quarters, count_block(block));
    });
    let halves = _mm_add_epi64(
        _mm256_castsi256_si128(quarters),
        _mm256_extracti128_si256::<1>(quarters),
    );
    let low = _mm_cvtsi128_si64(halves) as u64;
    let high = _mm_extract_epi64::<1>(halves) as u64;
    low + high + count_bytes(tail)
}

/// Four counts that make up that of the block. The bits of each half byte are looked up in a table
/// of 16 (W. Mula, N. Kurz, D. Lemire: Faster Population Counts Using AVX2 Instructions, 2016).
#[inline]
#[target_feature(enable = "avx2")]
fn count_block(block: &[u8; COUNTED]) -> __m256i {
    // One table per half of the register.
    let ones = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
    );
    let low_half = _mm256_set1_epi8(0x0f);
    let mut sums = _mm256_setzero_si256();
    for lanes in block.as_chunks::<LANES>().0 {
        // SAFETY: the array has the 32 bytes that are read; they need no alignment.
        let bytes = unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
        let low = _mm256_and_si256(bytes, low_half);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_half);
        sums = _mm256_add_epi8(sums, _mm256_shuffle_epi8(ones, low));
        sums = _mm256_add_epi8(sums, _mm256_shuffle_epi8(ones, high));
    }
    _mm256_sad_epu8(sums, _mm256_setzero_si256())
}

/// As [`super::first_other`].
#[target_feature(enable = "avx2")]
pub(super) fn first_other(bytes: &[u8], skipped: u8) -> Option<usize> {
    let skipped_lanes = _mm256_set1_epi8(skipped as i8);
    first_other_with(bytes, skipped, |block| {
        let mut seen = _mm256_setzero_si256();
        for lanes in block.as_chunks::<LANES>().0 {
            // SAFETY: the array has the 32 bytes that are read; they need no alignment.
            let bytes = unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
            seen = _mm256_or_si256(seen, _mm256_xor_si256(bytes, skipped_lanes));
        }
        _mm256_testz_si256(seen, seen) == 0
    })
}

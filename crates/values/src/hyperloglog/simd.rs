//! Merging, packing and counting all registers: with AVX2 where the processor has it, else in plain
//! code that does the same.

use super::REGISTERS;
use super::dense::{BYTES, merge_groups, pack_groups};
use super::estimate::{Histogram, VALUES};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_ALLOWED: AtomicBool = AtomicBool::new(true);

/// Switches the use of vector instructions off or on again: for tests.
pub fn set_simd(allowed: bool) {
    IS_ALLOWED.store(allowed, Ordering::Relaxed);
}

/// Whether vector instructions are used: they are there and not switched off.
pub fn uses_simd() -> bool {
    #[cfg(target_arch = "x86_64")]
    if IS_ALLOWED.load(Ordering::Relaxed) {
        return std::arch::is_x86_feature_detected!("avx2");
    }
    false
}

/// Raises registers to packed ones.
pub(super) fn merge(registers: &mut [u8; REGISTERS], packed: &[u8; BYTES]) {
    #[cfg(target_arch = "x86_64")]
    if uses_simd() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::merge(registers, packed) };
    }
    merge_groups(registers, packed);
}

/// Packs registers (at most 63 each).
pub(super) fn pack(registers: &[u8; REGISTERS], packed: &mut [u8; BYTES]) {
    #[cfg(target_arch = "x86_64")]
    if uses_simd() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::pack(registers, packed) };
    }
    pack_groups(registers, packed);
}

/// How many registers have each value.
pub(super) fn histogram(registers: &[u8; REGISTERS]) -> Histogram {
    #[cfg(target_arch = "x86_64")]
    if uses_simd() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::histogram(registers) };
    }
    plain_histogram(registers)
}

/// Several histograms in turn: most registers have few different values, and an increment of a
/// counter has to wait for the one before it.
pub(super) fn plain_histogram(registers: &[u8; REGISTERS]) -> Histogram {
    let mut parts = [[0u32; VALUES]; 4];
    for group in registers.as_chunks::<4>().0 {
        for (part, value) in parts.iter_mut().zip(group) {
            part[usize::from(*value) % VALUES] += 1;
        }
    }
    std::array::from_fn(|value| parts.iter().map(|part| part[value]).sum())
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::super::dense::{BYTES, merge_groups, pack_groups};
    use super::super::estimate::Histogram;
    use super::REGISTERS;
    use std::arch::x86_64::*;

    /// Registers in a vector, and the bytes they take when packed.
    const LANES: usize = 32;
    const PACKED: usize = LANES / 4 * 3;

    /// Vectors whose counts of equal bytes surely fit a byte.
    const BLOCK: usize = 128;

    const _: () = assert!(BLOCK < 256 && (REGISTERS / LANES).is_multiple_of(BLOCK));

    /// Thirty-two registers out of 24 bytes.
    ///
    /// Twelve bytes lie at the beginning of each half of `bytes`. Every three of them (registers d,
    /// c, b, a from the highest bit on) are spread to the 16-bit words `ccccbbbbbbaaaaaa` and
    /// `ddddddccccccbbbb`; the multiplication moves the lower word up, so that both hold their two
    /// registers in the upper twelve bits.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn unpack(bytes: __m256i) -> __m256i {
        let spread = _mm256_shuffle_epi8(
            bytes,
            _mm256_setr_epi8(
                0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11, //
                0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11,
            ),
        );
        let words = _mm256_mullo_epi16(spread, _mm256_set1_epi32(0x0001_0010));
        let even = _mm256_and_si256(_mm256_srli_epi16::<4>(words), _mm256_set1_epi16(0x003f));
        let odd = _mm256_and_si256(_mm256_srli_epi16::<2>(words), _mm256_set1_epi16(0x3f00));
        _mm256_or_si256(even, odd)
    }

    /// The processor must have AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) fn merge(registers: &mut [u8; REGISTERS], packed: &[u8; BYTES]) {
        // Each step reads 28 bytes of which it needs 24: the last one is left to plain code.
        let steps = REGISTERS / LANES - 1;
        for step in 0..steps {
            // SAFETY: step < steps: the reads end at 24 * step + 28 <= BYTES, and registers at
            // 32 * step + 32 <= REGISTERS. Unaligned access is allowed.
            unsafe {
                let from = packed.as_ptr().add(step * PACKED);
                let low = _mm_loadu_si128(from.cast());
                let high = _mm_loadu_si128(from.add(PACKED / 2).cast());
                let values = unpack(_mm256_set_m128i(high, low));
                let to = registers.as_mut_ptr().add(step * LANES).cast();
                _mm256_storeu_si256(to, _mm256_max_epu8(_mm256_loadu_si256(to), values));
            }
        }
        merge_groups(&mut registers[steps * LANES..], &packed[steps * PACKED..]);
    }

    /// The processor must have AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) fn pack(registers: &[u8; REGISTERS], packed: &mut [u8; BYTES]) {
        let close = _mm256_setr_epi8(
            0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, //
            0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,
        );
        // Each step writes 28 bytes of which the next one overwrites four: the last one is left to
        // plain code.
        let steps = REGISTERS / LANES - 1;
        for step in 0..steps {
            // SAFETY: as in merge.
            unsafe {
                let values = _mm256_loadu_si256(registers.as_ptr().add(step * LANES).cast());
                // a + b * 2^6, then that + (c + d * 2^6) * 2^12.
                let pairs = _mm256_maddubs_epi16(values, _mm256_set1_epi16(0x4001));
                let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x1000_0001));
                let bytes = _mm256_shuffle_epi8(fours, close);
                let to = packed.as_mut_ptr().add(step * PACKED);
                _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(bytes));
                let high = _mm256_extracti128_si256::<1>(bytes);
                _mm_storeu_si128(to.add(PACKED / 2).cast(), high);
            }
        }
        pack_groups(&registers[steps * LANES..], &mut packed[steps * PACKED..]);
    }

    /// The processor must have AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) fn histogram(registers: &[u8; REGISTERS]) -> Histogram {
        let mut histogram = [0; super::VALUES];
        let (least, greatest) = extremes(registers);
        let range = usize::from(least)..=usize::from(greatest);
        if let Some(counters) = histogram.get_mut(range) {
            for (at, four) in counters.chunks_mut(4).enumerate() {
                let counts = count_four(registers, least + 4 * at as u8);
                four.copy_from_slice(&counts[..four.len()]);
            }
        }
        histogram
    }

    #[target_feature(enable = "avx2")]
    fn extremes(registers: &[u8; REGISTERS]) -> (u8, u8) {
        let (mut least, mut greatest) = (_mm256_set1_epi8(-1), _mm256_setzero_si256());
        for vector in registers.as_chunks::<LANES>().0 {
            // SAFETY: the vector is 32 bytes. Unaligned access is allowed.
            let values = unsafe { _mm256_loadu_si256(vector.as_ptr().cast()) };
            least = _mm256_min_epu8(least, values);
            greatest = _mm256_max_epu8(greatest, values);
        }
        let bytes = |vector: __m256i| -> [u8; LANES] {
            // SAFETY: both are 32 bytes without further meaning.
            unsafe { std::mem::transmute(vector) }
        };
        let least = bytes(least).into_iter().min().unwrap_or(0);
        let greatest = bytes(greatest).into_iter().max().unwrap_or(0);
        (least, greatest)
    }

    /// How many registers have the values `first`, and the three after it.
    #[target_feature(enable = "avx2")]
    fn count_four(registers: &[u8; REGISTERS], first: u8) -> [u32; 4] {
        let zero = _mm256_setzero_si256();
        let value = |plus: u8| _mm256_set1_epi8((first + plus).cast_signed());
        let wanted = [value(0), value(1), value(2), value(3)];
        let mut totals = [zero; 4];
        for block in registers.as_chunks::<{ LANES * BLOCK }>().0 {
            let mut counts = [zero; 4];
            for vector in block.as_chunks::<LANES>().0 {
                // SAFETY: the vector is 32 bytes. Unaligned access is allowed.
                let values = unsafe { _mm256_loadu_si256(vector.as_ptr().cast()) };
                for (count, wanted) in counts.iter_mut().zip(wanted) {
                    // Equal bytes are -1.
                    *count = _mm256_sub_epi8(*count, _mm256_cmpeq_epi8(values, wanted));
                }
            }
            for (total, count) in totals.iter_mut().zip(counts) {
                *total = _mm256_add_epi64(*total, _mm256_sad_epu8(count, zero));
            }
        }
        totals.map(|total| {
            // SAFETY: both are 32 bytes without further meaning.
            let sums: [u64; 4] = unsafe { std::mem::transmute(total) };
            sums.iter().sum::<u64>() as u32
        })
    }
}

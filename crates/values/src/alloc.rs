//! Blocks of the allocator: the usable size of a request.

/// The size that the allocator gives for a request of `bytes`: 8-byte steps up to 64, then four
/// steps to each doubling, but at most a page of 4 KiB (jemalloc 5.3.1 with `lg_quantum` 3). A
/// block without spare room has exactly this size, so its size need not be stored. Should the
/// allocator differ, it only wastes.
#[inline]
pub const fn size_class(bytes: usize) -> usize {
    let last = match bytes {
        0..=64 => 7,
        // 2^k < bytes <= 2^(k + 1) goes in steps of 2^(k - 2).
        65..=0x8000 => (1usize << (61 - (bytes - 1).leading_zeros())).wrapping_sub(1),
        _ => 4095,
    };
    bytes.wrapping_add(last) & !last
}

/// Bytes on the heap of a packed form of `len` bytes: none of its own when it lies in the block of
/// an entry.
#[inline]
pub(crate) const fn packed_bytes(is_embedded: bool, len: usize) -> usize {
    if is_embedded { 0 } else { size_class(len) }
}

/// Alignment of all blocks whose pointers carry marks in their low three bits.
pub(crate) const ALIGN: usize = 8;

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_are_those_of_jemalloc() {
        for (bytes, class) in [
            (1, 8),
            (8, 8),
            (9, 16),
            (33, 40),
            (64, 64),
            (65, 80),
            (80, 80),
            (81, 96),
            (129, 160),
            (1025, 1280),
            (65_536, 65_536),
            (65_537, 69_632),
        ] {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
    }
}

//! One cache line of the table: eight packed slots, the tag match over them, and prefetching.

use std::ptr::NonNull;

/// Slots of a bucket: as many 8-byte words as a 64-byte cache line holds.
pub(super) const SLOTS: usize = 8;

/// Bucket flag: an entry whose home is this bucket lies in the next one.
pub(super) const NEIGHBOUR: usize = 1;
/// Bucket flag: an entry whose home is this bucket lies in the stash or the overflow list.
pub(super) const STASH: usize = 2;

/// The low bits that the 8-byte alignment of entries leaves free.
const FLAGS: usize = 0b111;
/// Bits 3..48: the address of an entry. User space of x86-64 and AArch64 ends below bit 48.
const ADDRESS: usize = 0x0000_ffff_ffff_fff8;
const TAG_SHIFT: u32 = 48;

// Packing a 16-bit tag over a 48-bit address needs 64-bit pointers.
const _: () = assert!(size_of::<usize>() == 8);
const _: () = assert!(size_of::<Bucket>() == 64 && align_of::<Bucket>() == 64);

/// Bucket that `tag` belongs to in a segment of `buckets` buckets. Monotonic in the tag, so storage
/// order is hash order whatever the number of buckets.
#[inline(always)]
pub(super) fn home_of(tag: u16, buckets: usize) -> usize {
    (tag as usize).wrapping_mul(buckets) >> 16
}

/// Whether `entry` can be packed beside a tag: 8-aligned and below bit 48.
#[inline(always)]
pub(super) fn is_packable(entry: NonNull<u8>) -> bool {
    entry.addr().get() & !ADDRESS == 0
}

/// A slot's word: tag in bits 48..64, address in bits 3..48, flags in bits 0..3; address 0 is an
/// empty slot. Kept as a pointer, not an integer, so that the entry's provenance survives packing.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Packed(*mut u8);

impl Packed {
    pub(super) const EMPTY: Packed = Packed(std::ptr::null_mut());

    #[inline(always)]
    pub(super) fn new(tag: u16, entry: NonNull<u8>) -> Packed {
        debug_assert!(is_packable(entry));
        Packed(
            entry
                .as_ptr()
                .map_addr(|address| address | (tag as usize) << TAG_SHIFT),
        )
    }

    #[inline(always)]
    pub(super) fn tag(self) -> u16 {
        (self.0.addr() >> TAG_SHIFT) as u16
    }

    #[inline(always)]
    pub(super) fn entry(self) -> Option<NonNull<u8>> {
        NonNull::new(self.0.map_addr(|word| word & ADDRESS))
    }

    #[inline(always)]
    pub(super) fn is_empty(self) -> bool {
        self.0.addr() & ADDRESS == 0
    }

    /// The same entry under another tag (after a split or a merge).
    #[inline(always)]
    pub(super) fn with_tag(self, tag: u16) -> Packed {
        Packed(
            self.0
                .map_addr(|word| word & ADDRESS | (tag as usize) << TAG_SHIFT),
        )
    }

    #[inline(always)]
    fn flags(self) -> usize {
        self.0.addr() & FLAGS
    }

    #[inline(always)]
    fn with_flags(self, flags: usize) -> Packed {
        Packed(self.0.map_addr(|word| word & !FLAGS | flags))
    }
}

/// Eight slots. The bucket's own flags live in the spare bits of slot 0 and stay there while slot 0
/// itself is filled and emptied.
#[repr(C, align(64))]
pub(super) struct Bucket {
    slots: [Packed; SLOTS],
}

impl Bucket {
    /// The word of a slot, without the bucket's flags.
    #[inline(always)]
    pub(super) fn get(&self, slot: usize) -> Packed {
        self.slots[slot].with_flags(0)
    }

    #[inline(always)]
    pub(super) fn set(&mut self, slot: usize, packed: Packed) {
        let flags = self.slots[slot].flags();
        self.slots[slot] = packed.with_flags(flags);
    }

    /// As [`Bucket::set`] while the bucket has no flags.
    #[inline(always)]
    pub(super) fn set_in_fresh(&mut self, slot: usize, packed: Packed) {
        debug_assert!(self.flags() == 0);
        self.slots[slot] = packed;
    }

    #[inline(always)]
    pub(super) fn flags(&self) -> usize {
        self.slots[0].flags()
    }

    #[inline(always)]
    pub(super) fn raise(&mut self, flag: usize) {
        self.slots[0] = self.slots[0].with_flags(self.slots[0].flags() | flag);
    }

    #[inline(always)]
    pub(super) fn lower(&mut self, flag: usize) {
        self.slots[0] = self.slots[0].with_flags(self.slots[0].flags() & !flag);
    }

    /// All words, empty ones included.
    pub(super) fn words(&self) -> impl Iterator<Item = Packed> {
        self.slots.iter().map(|word| word.with_flags(0))
    }

    #[inline(always)]
    pub(super) fn free_slot(&self) -> Option<usize> {
        // Built as a mask, not as a search: eight independent tests and one branch.
        let mut free = 0u32;
        for (slot, word) in self.slots.iter().enumerate() {
            free |= u32::from(word.is_empty()) << slot;
        }
        (free != 0).then(|| free.trailing_zeros() as usize)
    }

    /// The first slot with an entry whose home, among `buckets`, is `home`.
    #[inline]
    pub(super) fn first_of_home(&self, home: usize, buckets: usize) -> Option<usize> {
        let mut mask = 0u32;
        for (slot, word) in self.slots.iter().enumerate() {
            let here = !word.is_empty() & (home_of(word.tag(), buckets) == home);
            mask |= u32::from(here) << slot;
        }
        (mask != 0).then(|| mask.trailing_zeros() as usize)
    }

    /// Slots whose tag is `tag`. An empty slot carries tag 0, so it may be among them.
    #[inline(always)]
    pub(super) fn matches(&self, tag: u16) -> Matches {
        #[cfg(target_arch = "x86_64")]
        return self.matches_sse2(tag);
        #[cfg(not(target_arch = "x86_64"))]
        return self.matches_portable(tag);
    }

    /// Compares all 16-bit lanes of the line; the tags are every fourth. Packing lanes to bytes and
    /// taking the byte mask leaves the tag of slot k in bit 4k + 3.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn matches_sse2(&self, tag: u16) -> Matches {
        use std::arch::x86_64::{
            __m128i, _mm_cmpeq_epi16, _mm_load_si128, _mm_movemask_epi8, _mm_packs_epi16,
            _mm_set1_epi16,
        };
        let line: *const __m128i = self.slots.as_ptr().cast();
        // SAFETY: the bucket is 64 bytes and 64-aligned, so these are four aligned loads inside it;
        // SSE2 is part of x86-64.
        unsafe {
            let wanted = _mm_set1_epi16(tag as i16);
            let at = |i| _mm_cmpeq_epi16(_mm_load_si128(line.add(i)), wanted);
            let low = _mm_movemask_epi8(_mm_packs_epi16(at(0), at(1))) as u32;
            let high = _mm_movemask_epi8(_mm_packs_epi16(at(2), at(3))) as u32;
            Matches((low | high << 16) & Matches::TAG_BITS)
        }
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    #[inline(always)]
    pub(super) fn matches_portable(&self, tag: u16) -> Matches {
        let mut mask = 0;
        for (slot, word) in self.slots.iter().enumerate() {
            mask |= u32::from(word.tag() == tag) << (4 * slot + 3);
        }
        Matches(mask)
    }
}

/// The slots found by [`Bucket::matches`], ascending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Matches(u32);

impl Matches {
    #[cfg(target_arch = "x86_64")]
    const TAG_BITS: u32 = 0x8888_8888;
}

impl Iterator for Matches {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() >> 2;
        self.0 &= self.0.wrapping_sub(1);
        Some(slot as usize)
    }
}

/// Prefetches a line into the first-level cache. Any address is fine: a prefetch never
/// faults. Does nothing on architectures without a known instruction.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch has no architectural effect, whatever the address; SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: a prefetch has no architectural effect, whatever the address; the instruction touches
    // neither memory contents nor flags nor the stack.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, readonly, preserves_flags)
        );
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

//! Walking over elements while the next ones are brought into the cache.

use std::ptr::NonNull;

/// How many elements are on their way: enough to cover a memory access with the work on those between.
const DEPTH: usize = 16;

/// An iterator that asks for elements some time before it yields them.
pub(crate) struct Ahead<I> {
    elements: I,
    /// A ring; `None` once the elements have ended.
    coming: [Option<NonNull<u8>>; DEPTH],
    at: usize,
}

impl<I: Iterator<Item = NonNull<u8>>> Ahead<I> {
    pub(crate) fn new(mut elements: I) -> Self {
        let coming = std::array::from_fn(|_| request(&mut elements));
        Ahead {
            elements,
            coming,
            at: 0,
        }
    }
}

impl<I: Iterator<Item = NonNull<u8>>> Iterator for Ahead<I> {
    type Item = NonNull<u8>;

    #[inline]
    fn next(&mut self) -> Option<NonNull<u8>> {
        let place = &mut self.coming[self.at % DEPTH];
        // An iterator that has ended is not asked again: the ring then only runs out.
        let element = place.take()?;
        *place = request(&mut self.elements);
        self.at += 1;
        Some(element)
    }
}

#[inline]
fn request(elements: &mut impl Iterator<Item = NonNull<u8>>) -> Option<NonNull<u8>> {
    let element = elements.next()?;
    prefetch(element.as_ptr());
    Some(element)
}

/// Starts bringing a short element into the cache: one line, or the two that it may lie in.
#[inline(always)]
pub(super) fn prefetch_short(element: NonNull<u8>) {
    const SHORT_BYTES: usize = 32;
    prefetch(element.as_ptr());
    prefetch(element.as_ptr().wrapping_add(SHORT_BYTES - 1));
}

/// Starts bringing a line into the cache.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch has no architectural effect, whatever the address; SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above; the instruction touches neither memory contents nor flags nor the stack.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_elements_in_order() {
        let blocks: Vec<u64> = (0..50).collect();
        for count in [0, 1, DEPTH - 1, DEPTH, DEPTH + 1, 50] {
            let pointers = || {
                blocks[..count]
                    .iter()
                    .map(|b| NonNull::from(b).cast::<u8>())
            };
            let mut ahead = Ahead::new(pointers());
            assert!(ahead.by_ref().eq(pointers()));
            assert_eq!(ahead.next(), None);
        }
    }
}

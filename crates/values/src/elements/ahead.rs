//! Walking over elements while the next ones are brought into the cache.

use crate::table::{Table, prefetch};
use std::ptr::NonNull;

/// How many elements are on their way: enough to cover a memory access with the work on those
/// between.
const DEPTH: usize = 16;

/// Holds items back while their memory is on its way: a ring of the last ones.
pub(crate) struct Delay<T> {
    coming: [Option<T>; DEPTH],
    at: usize,
}

impl<T> Default for Delay<T> {
    fn default() -> Self {
        Delay {
            coming: [const { None }; DEPTH],
            at: 0,
        }
    }
}

impl<T> Delay<T> {
    /// Takes an item in, for the one that came some time before.
    #[inline(always)]
    pub(crate) fn exchange(&mut self, item: T) -> Option<T> {
        let before = self.coming[self.at].replace(item);
        self.at = (self.at + 1) % DEPTH;
        before
    }

    /// The items that are still held, in their order. Yields `None` for good when there are no
    /// more.
    #[inline]
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = T> {
        let (later, sooner) = self.coming.split_at_mut(self.at);
        let held = sooner.iter_mut().chain(later);
        held.filter_map(Option::take)
    }
}

/// All elements of a table, which are brought into the cache before they are yielded.
pub(super) fn elements(table: &Table) -> impl Iterator<Item = NonNull<u8>> {
    let mut elements = table.iter();
    let mut coming = Delay::default();
    std::iter::from_fn(move || {
        for element in elements.by_ref() {
            prefetch(element.as_ptr());
            if let Some(element) = coming.exchange(element) {
                return Some(element);
            }
        }
        coming.rest().next()
    })
}

/// Starts bringing a short element into the cache: one line, or the two that it may lie in.
#[inline(always)]
pub(super) fn prefetch_short(element: NonNull<u8>) {
    const SHORT_BYTES: usize = 32;
    prefetch(element.as_ptr());
    prefetch(element.as_ptr().wrapping_add(SHORT_BYTES - 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_order() {
        for count in [0, 1, DEPTH - 1, DEPTH, DEPTH + 1, 50] {
            let mut delay = Delay::default();
            let mut items: Vec<_> = (0..count).filter_map(|item| delay.exchange(item)).collect();
            assert_eq!(items.len(), count.saturating_sub(DEPTH));
            items.extend(delay.rest());
            assert!(items.into_iter().eq(0..count));
            assert_eq!(delay.rest().next(), None);
        }
    }
}

//! The first few of many, in order, as Redis picks them.
//!
//! In Redis a partial quicksort decides which of several members at the same distance are returned,
//! and in which order. This is the same algorithm with the same steps: Bentley and McIlroy,
//! "Engineering a Sort Function" (1993), which skips the parts outside of the wanted ones.

/// Up to this many items are sorted by insertion.
const SMALL: usize = 7;
/// From more items than this the pivot is the median of three medians.
const LARGE: usize = 40;

/// Brings the least `wanted` of `items` to the front, in ascending order of their keys. Equal keys
/// are in no order of their own, but in the same one each time.
pub(super) fn sort_first<T: Copy>(items: &mut [(u64, T)], wanted: usize) {
    // Quicksort takes about 1.4 times the binary logarithm of rounds; input that makes it take many
    // more is sorted by another algorithm.
    let rounds = 16 + 4 * items.len().checked_ilog2().unwrap_or(0);
    sort_part(items, wanted, rounds);
}

fn sort_part<T: Copy>(mut items: &mut [(u64, T)], mut wanted: usize, mut rounds: u32) {
    while items.len() >= SMALL {
        if rounds == 0 {
            items.sort_by_key(|item| item.0);
            return;
        }
        rounds -= 1;
        let (less, greater) = partition(items);
        if less > 1 {
            sort_part(&mut items[..less], wanted, rounds);
        }
        let from = items.len() - greater;
        if greater <= 1 || wanted <= from {
            return;
        }
        items = &mut items[from..];
        wanted -= from;
    }
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && items[at - 1].0 > items[at].0 {
            items.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// Divides the items into those less than a pivot, equal to it, and greater. Returns how many are
/// less and greater.
fn partition<T: Copy>(items: &mut [(u64, T)]) -> (usize, usize) {
    let len = items.len();
    items.swap(0, pivot(items));
    let key = items[0].0;
    // While it goes on: [equal | less | unknown | greater | equal], and the bounds between them.
    let (mut equal_left, mut low) = (1, 1);
    let (mut high, mut equal_right) = (len, len);
    loop {
        while low < high && items[low].0 <= key {
            if items[low].0 == key {
                items.swap(equal_left, low);
                equal_left += 1;
            }
            low += 1;
        }
        while low < high && items[high - 1].0 >= key {
            if items[high - 1].0 == key {
                items.swap(high - 1, equal_right - 1);
                equal_right -= 1;
            }
            high -= 1;
        }
        if low >= high {
            break;
        }
        items.swap(low, high - 1);
        low += 1;
        high -= 1;
    }
    let (less, greater) = (low - equal_left, equal_right - high);
    // Equal items move from both ends to the middle.
    let moved = equal_left.min(less);
    swap_blocks(items, 0, low - moved, moved);
    let moved = greater.min(len - equal_right);
    swap_blocks(items, low, len - moved, moved);
    (less, greater)
}

fn swap_blocks<T>(items: &mut [T], a: usize, b: usize, len: usize) {
    for at in 0..len {
        items.swap(a + at, b + at);
    }
}

/// Index of an item that is likely to be in the middle.
fn pivot<T>(items: &[(u64, T)]) -> usize {
    let len = items.len();
    let (mut low, mut mid, mut high) = (0, len / 2, len - 1);
    if len == SMALL {
        return mid;
    }
    if len > LARGE {
        let step = len / 8;
        low = median(items, low, low + step, low + 2 * step);
        mid = median(items, mid - step, mid, mid + step);
        high = median(items, high - 2 * step, high - step, high);
    }
    median(items, low, mid, high)
}

fn median<T>(items: &[(u64, T)], a: usize, b: usize, c: usize) -> usize {
    let (first, second, third) = (items[a].0, items[b].0, items[c].0);
    let (middle, other) = if first < second {
        (second < third, if first < third { c } else { a })
    } else {
        (second > third, if first < third { a } else { c })
    };
    if middle { b } else { other }
}

#[cfg(test)]
mod tests {
    use super::sort_first;

    /// Numbers by chance (splitmix64).
    fn numbers(seed: u64, len: usize, below: u64) -> Vec<(u64, usize)> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (z ^ (z >> 27)) % below
        };
        (0..len).map(|at| (next(), at)).collect()
    }

    #[test]
    fn the_least_come_first_in_order() {
        for len in (0..60).chain([100, 1_000, 5_000]) {
            for below in [1, 2, 10, u64::MAX] {
                for wanted in [1, 2, len / 2, len] {
                    let mut items = numbers(len as u64, len, below);
                    let mut expected: Vec<u64> = items.iter().map(|item| item.0).collect();
                    expected.sort_unstable();
                    sort_first(&mut items, wanted);
                    let keys: Vec<u64> = items.iter().map(|item| item.0).collect();
                    let wanted = wanted.min(len);
                    assert_eq!(keys[..wanted], expected[..wanted], "{len} {below}");
                    let mut places: Vec<usize> = items.iter().map(|item| item.1).collect();
                    places.sort_unstable();
                    assert!(places.into_iter().eq(0..len), "items were lost");
                }
            }
        }
    }

    #[test]
    fn orders_that_are_bad_for_quicksort_end_soon() {
        let len = 200_000;
        let organ_pipe = (0..len).map(|at: u64| (at.min(len - at), at));
        let mut items: Vec<(u64, u64)> = organ_pipe.collect();
        sort_first(&mut items, 100_000);
        assert!(items[..100_000].is_sorted_by_key(|item| item.0));
    }
}

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::bucket::{Bucket, SLOTS};
use super::*;

/// Sizes shrink under Miri, which is some hundred times slower.
const SCALE: usize = if cfg!(miri) { 50 } else { 1 };

/// What the test tables point to.
#[repr(align(8))]
#[derive(Debug)]
struct Item {
    key: u64,
    hash: u64,
}

impl Item {
    fn ptr(&self) -> NonNull<u8> {
        NonNull::from(self).cast()
    }
}

fn item<'a>(ptr: NonNull<u8>) -> &'a Item {
    // SAFETY: the tests only store pointers to items that outlive the table.
    unsafe { ptr.cast::<Item>().as_ref() }
}

struct Stored;

impl HashOf for Stored {
    fn hash(&self, ptr: NonNull<u8>) -> u64 {
        item(ptr).hash
    }
}

/// A hasher for operations that must not read entries.
struct Never;

impl HashOf for Never {
    fn hash(&self, _: NonNull<u8>) -> u64 {
        panic!("an entry was read")
    }
}

fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

fn rng(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(1);
        mix(state)
    }
}

/// A table and the model it must agree with.
struct Checked {
    table: Table,
    model: HashMap<u64, Box<Item>>,
    /// Hashes and keys of the model.
    order: BTreeSet<(u64, u64)>,
    prefix_bits: u32,
    hash: fn(u64) -> u64,
}

impl Checked {
    fn new(prefix_bits: u32, hash: fn(u64) -> u64) -> Checked {
        Checked {
            table: Table::new(prefix_bits),
            model: HashMap::new(),
            order: BTreeSet::new(),
            prefix_bits,
            hash,
        }
    }

    /// The prefix in use: alternating bits.
    fn prefix(&self) -> u64 {
        let kept = u64::MAX.checked_shl(64 - self.prefix_bits).unwrap_or(0);
        0xaaaa_aaaa_aaaa_aaaa & kept
    }

    fn hash(&self, key: u64) -> u64 {
        self.prefix() | (self.hash)(key) >> self.prefix_bits
    }

    fn find(&self, key: u64) -> Option<Slot> {
        let hash = self.hash(key);
        self.table.prefetch_bucket(hash);
        self.table.prefetch_entry(hash);
        self.table.find(hash, |ptr| item(ptr).key == key)
    }

    fn insert(&mut self, key: u64) -> bool {
        let found = self.find(key);
        assert_eq!(found.is_some(), self.model.contains_key(&key));
        if found.is_some() {
            return false;
        }
        let hash = self.hash(key);
        // A box that moves makes older pointers to its item invalid: it goes to its place first.
        let item = self
            .model
            .entry(key)
            .or_insert(Box::new(Item { key, hash }));
        self.table.insert(hash, item.ptr(), &Stored);
        self.order.insert((hash, key));
        true
    }

    fn remove(&mut self, key: u64) -> bool {
        let found = self.find(key);
        assert_eq!(found.is_some(), self.model.contains_key(&key));
        let Some(slot) = found else { return false };
        let ptr = self.table.remove(slot, &Never);
        assert_eq!(item(ptr).key, key);
        self.model.remove(&key);
        self.order.remove(&(self.hash(key), key));
        true
    }

    fn insert_all(&mut self, keys: impl IntoIterator<Item = u64>) {
        for key in keys {
            self.insert(key);
        }
    }

    fn remove_all(&mut self, keys: impl IntoIterator<Item = u64>) {
        for key in keys {
            self.remove(key);
        }
    }

    fn replace(&mut self, key: u64) {
        let Some(slot) = self.find(key) else { return };
        let hash = self.hash(key);
        let item = Box::new(Item { key, hash });
        let old = self.table.replace(slot, item.ptr());
        assert_eq!(old, self.model[&key].ptr());
        assert_eq!(
            self.find(key).map(|slot| self.table.get(slot)),
            Some(item.ptr())
        );
        self.model.insert(key, item);
    }

    fn check(&self) {
        self.table.check_invariants(&Stored);
        assert_eq!(self.table.len(), self.model.len());
        let mut seen: Vec<u64> = self.table.iter().map(|ptr| item(ptr).key).collect();
        let mut expected: Vec<u64> = self.model.keys().copied().collect();
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!(seen, expected);
        for key in expected {
            assert!(self.find(key).is_some());
        }
    }

    /// One step of a scan, checked against its contract.
    fn scan_step(&self, cursor: u64, seen: &mut Vec<u64>) -> u64 {
        let from = seen.len();
        let next = self
            .table
            .scan(cursor, &Stored, |ptr| seen.push(item(ptr).key));
        assert!(next == 0 || next > cursor);
        let shown = cursor::from_position(next);
        assert!(shown < 1 << 48 && (shown == 0) == (next == 0));
        assert_eq!(cursor::to_position(shown), Some(next));
        let mut visited = seen[from..].to_vec();
        let due = self.order.range((cursor, 0)..);
        let due = due.take_while(|(hash, _)| next == 0 || *hash < next);
        let mut expected: Vec<u64> = due.map(|(_, key)| *key).collect();
        visited.sort_unstable();
        expected.sort_unstable();
        assert_eq!(visited, expected);
        next
    }
}

fn filled(count: u64) -> Checked {
    let mut checked = Checked::new(0, mix);
    for key in 0..count {
        checked.insert(key);
    }
    checked
}

#[test]
fn an_empty_table_owns_nothing_and_finds_nothing() {
    let mut table = Table::new(4);
    assert_eq!(
        (table.len(), table.buckets(), table.memory_usage()),
        (0, 0, 0)
    );
    assert!(table.is_empty());
    table.prefetch_bucket(7);
    table.prefetch_entry(7);
    assert!(table.find(7, |_| true).is_none());
    assert_eq!(table.scan(5, &Never, |_| panic!("an entry")), 0);
    assert!(table.random(&mut rng(1)).is_none());
    table.sample(&mut rng(1), 5, |_| panic!("an entry"));
    assert_eq!(table.iter().count(), 0);
    table.clear();
    table.drain(|_| panic!("an entry"));
}

#[test]
fn one_entry_comes_and_goes() {
    let mut checked = Checked::new(10, mix);
    assert!(checked.insert(1));
    assert!(!checked.insert(1));
    checked.replace(1);
    checked.check();
    assert_eq!(checked.table.buckets(), 1);
    assert!(checked.remove(1));
    assert!(!checked.remove(1));
    assert_eq!(checked.table.memory_usage(), 0);
}

#[test]
fn the_tag_match_agrees_with_the_portable_one() {
    let items: Vec<Item> = (0..8).map(|key| Item { key, hash: 0 }).collect();
    // SAFETY: all zero bytes are an empty bucket.
    let mut bucket: Bucket = unsafe { std::mem::zeroed() };
    for (slot, item) in items.iter().enumerate() {
        bucket.set(
            slot,
            Packed::new([7, 0x8000, 7, 0xffff, 0, 7, 1, 0x8007][slot], item.ptr()),
        );
    }
    bucket.raise(NEIGHBOUR);
    for tag in [7u16, 0x8000, 0xffff, 0, 1, 0x8007, 9, 0x7fff] {
        assert_eq!(bucket.matches(tag), bucket.matches_portable(tag));
    }
    assert_eq!(bucket.matches(7).collect::<Vec<_>>(), [0, 2, 5]);
    assert_eq!(bucket.free_slot(), None);
    bucket.set(0, Packed::EMPTY);
    assert_eq!((bucket.free_slot(), bucket.flags()), (Some(0), NEIGHBOUR));
    assert_eq!(bucket.get(5).entry(), Some(items[5].ptr()));
}

#[test]
fn every_size_keeps_its_invariants() {
    let mut checked = Checked::new(3, mix);
    for key in 0..(3000 / SCALE as u64) {
        checked.insert(key);
        if key < 300 && key % 7 == 0 || key % 501 == 0 {
            checked.check();
        }
    }
    checked.check();
    for key in 0..(3000 / SCALE as u64) {
        checked.remove(key);
        if key % 501 == 0 || checked.model.len() < 60 {
            checked.check();
        }
    }
    assert_eq!(checked.table.memory_usage(), 0);
}

#[test]
fn growing_in_place_and_merging_read_no_entries() {
    let items: Vec<Item> = (0..400)
        .map(|key| Item {
            key,
            hash: mix(key),
        })
        .collect();
    let mut table = Table::new(0);
    for item in &items[..300] {
        table.insert(item.hash, item.ptr(), &Never);
    }
    assert!(table.stats().segments == 1 && table.buckets() > 40);
    // `Checked::remove` passes `Never` too, through splits and merges.
    let mut checked = filled(5000 / SCALE as u64);
    let segments = checked.table.stats().segments;
    checked.remove_all(0..4900 / SCALE as u64);
    checked.check();
    assert!(cfg!(miri) || segments > 8 && checked.table.stats().segments == 1);
}

#[test]
fn the_fill_is_between_070_and_090_at_every_size() {
    let count = 100_000 / SCALE as u64;
    let items: Vec<Item> = (0..count)
        .map(|key| Item {
            key,
            hash: mix(key),
        })
        .collect();
    let mut table = Table::new(0);
    let (mut sum, mut samples, mut until) = (0.0, 0, 400);
    for item in &items {
        table.insert(item.hash, item.ptr(), &Stored);
        if table.len() < 300 {
            continue;
        }
        sum += table.len() as f64 / (table.buckets() * SLOTS) as f64;
        samples += 1;
        if table.len() == until {
            let average = sum / f64::from(samples);
            assert!((0.70..=0.90).contains(&average), "{average} up to {until}");
            (sum, samples, until) = (0.0, 0, until * 5 / 4);
        }
    }
    let stats = table.stats();
    assert!(stats.displaced < stats.entries / 5 && stats.stashed < stats.entries / 40);
}

#[test]
fn churn_keeps_the_fill_and_the_stash() {
    let count = 20_000 / SCALE as u64;
    let mut checked = filled(count);
    for key in 0..3 * count {
        checked.remove(key);
        checked.insert(key + count);
    }
    checked.check();
    let stats = checked.table.stats();
    let fill = stats.entries as f64 / (stats.buckets * SLOTS) as f64;
    assert!(cfg!(miri) || fill > 0.68, "{fill}");
    assert!(stats.displaced < stats.entries / 5 && stats.overflowed == 0);
}

#[test]
fn removing_everything_returns_all_memory() {
    let mut checked = filled(20_000 / SCALE as u64);
    let full = checked.table.memory_usage();
    for key in 0..19_000 / SCALE as u64 {
        checked.remove(key);
    }
    assert!(checked.table.memory_usage() < full / 10);
    for key in 0..20_000 / SCALE as u64 {
        checked.remove(key);
    }
    assert_eq!(
        (checked.table.memory_usage(), checked.table.buckets()),
        (0, 0)
    );
    checked.check();
}

#[test]
fn equal_hashes_end_in_an_overflow_list() {
    for hash in [|_: u64| 0u64, |_| u64::MAX, |key| mix(key % 3)] {
        let mut checked = Checked::new(0, hash);
        let count = 1500 / SCALE as u64;
        for key in 0..count {
            checked.insert(key);
        }
        checked.check();
        let stats = checked.table.stats();
        assert!(stats.directory <= 64 && stats.buckets <= 700, "{stats:?}");
        assert!(cfg!(miri) || stats.overflowed > 500);
        let mut seen = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = checked.scan_step(cursor, &mut seen);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len() as u64, count);
        assert!(checked.table.random(&mut rng(3)).is_some());
        for key in 0..count {
            checked.remove(key * 7 % count);
            if key % 300 == 0 {
                checked.check();
            }
        }
        for key in 0..count {
            checked.remove(key);
        }
        assert_eq!(checked.table.memory_usage(), 0);
    }
}

#[test]
fn equal_leading_bits_do_not_blow_up_the_directory() {
    // Equal in the first 24 bits: the directory would need 2^24 words to part them by splits.
    let mut checked = Checked::new(0, |key| 0x5555_5500_0000_0000 | mix(key) >> 24);
    let count = 3000 / SCALE as u64;
    checked.insert_all(0..count);
    checked.check();
    assert!(checked.table.stats().directory <= 1024);
    checked.remove_all(0..count);
}

#[test]
fn entries_may_come_in_the_order_of_their_hashes() {
    let count = 40_000 / SCALE as u64;
    let mut keys: Vec<u64> = (0..count).collect();
    for descending in [false, true] {
        keys.sort_by_key(|key| mix(*key));
        if descending {
            keys.reverse();
        }
        let mut checked = Checked::new(0, mix);
        checked.insert_all(keys.iter().copied());
        checked.check();
        let stats = checked.table.stats();
        assert!(stats.overflowed * 50 <= count as usize, "{stats:?}");
        assert!(
            cfg!(miri) || stats.buckets * 8 * 6 <= count as usize * 10,
            "{stats:?}"
        );
        checked.remove_all(0..count);
        assert_eq!(checked.table.memory_usage(), 0);
    }
}

#[test]
fn candidates_contain_every_entry_of_the_hash() {
    let mut checked = Checked::new(0, |key| mix(key / 20));
    checked.insert_all(0..1000 / SCALE as u64);
    let mut found = HashSet::new();
    let hash = checked.hash(0);
    checked.table.candidates(hash, |slot, ptr| {
        assert_eq!(checked.table.get(slot), ptr);
        found.insert(item(ptr).key);
    });
    assert!((0..20).all(|key| found.contains(&key)));
    assert!(found.len() < 45);
}

#[test]
fn a_full_scan_visits_in_hash_order() {
    for prefix_bits in [0, 1, 10] {
        let mut checked = Checked::new(prefix_bits, mix);
        checked.insert_all(0..4000 / SCALE as u64);
        let mut seen = Vec::new();
        let mut cursor = checked.prefix();
        while cursor != 0 || seen.is_empty() {
            cursor = checked.scan_step(cursor, &mut seen);
        }
        assert_eq!(seen.len(), checked.model.len());
    }
}

#[test]
fn a_scan_from_any_cursor_keeps_the_contract() {
    let checked = filled(2000 / SCALE as u64);
    let mut rng = rng(9);
    for _ in 0..200 / SCALE {
        let mut seen = Vec::new();
        checked.scan_step(rng(), &mut seen);
    }
    let mut seen = Vec::new();
    assert_eq!(checked.scan_step(u64::MAX, &mut seen), 0);
}

#[test]
fn a_cursor_made_before_merges_is_exact_after_them() {
    // Positions of a deep table have bits that the tags of a merged one lack. Groups of eight
    // keys agree in their first 17 bits, so there are cursors between entries with equal tags.
    let hash = |key| mix(key / 8) >> 47 << 47 | mix(key) >> 17;
    let mut checked = Checked::new(0, hash);
    let count = 40_000 / SCALE as u64;
    checked.insert_all(0..count);
    let mut cursors = vec![checked.scan_step(0, &mut Vec::new())];
    for _ in 0..200 / SCALE {
        cursors.push(checked.scan_step(cursors[cursors.len() - 1], &mut Vec::new()));
    }
    checked.remove_all((0..count).filter(|key| key / 8 % 100 != 0));
    checked.check();
    assert!(cfg!(miri) || checked.table.stats().segments < 16);
    cursors.extend(checked.order.iter().map(|(hash, _)| hash >> 40 << 40));
    for cursor in cursors {
        checked.scan_step(cursor, &mut Vec::new());
    }
}

#[test]
fn hashes_that_a_cursor_cannot_part_are_visited_together() {
    // Groups of 100 keys differ only in the lower 16 bits of their hashes, below all cursors.
    const GROUP: u64 = 100;
    let hash = |key: u64| (mix(key / GROUP) >> 16 << 16) | (key % GROUP * 0x28f);
    for prefix_bits in [0, 3, 16] {
        let mut checked = Checked::new(prefix_bits, hash);
        let groups = 200 / SCALE as u64;
        for count in [1, groups / 10, groups] {
            checked.insert_all(0..count * GROUP);
            let (mut position, mut calls) = (checked.prefix(), 0);
            let mut seen = Vec::new();
            loop {
                let before = seen.len();
                position = checked.scan_step(position, &mut seen);
                // Equal prefixes shift the hashes right: lower bits may count then.
                assert!(prefix_bits > 0 || ((seen.len() - before) as u64).is_multiple_of(GROUP));
                calls += 1;
                if position == 0 {
                    break;
                }
            }
            assert_eq!(seen.len(), checked.model.len());
            assert!(calls <= checked.table.buckets());
        }
    }
}

#[test]
fn cursors_of_clients_end() {
    let checked = filled(3000 / SCALE as u64);
    let (mut rng, mut limits) = (rng(5), vec![0, 1, u64::MAX]);
    for bit in [16, 47, 48, 52, 53, 63] {
        limits.extend([(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
    }
    limits.extend((0..100 / SCALE).map(|_| rng()));
    limits.extend((0..100 / SCALE).map(|_| rng() >> 16));
    for first in limits {
        let (mut shown, mut calls, mut seen) = (first, 0, Vec::new());
        while let Some(position) = cursor::to_position(shown) {
            shown = cursor::from_position(checked.scan_step(position, &mut seen));
            calls += 1;
            if shown == 0 {
                break;
            }
        }
        assert!(calls <= checked.table.buckets());
        assert_eq!(calls == 0, first >= 1 << 48);
        let due = checked.order.iter();
        let due = due.filter(|(hash, _)| calls > 0 && *hash >= first << 16);
        assert_eq!(seen.len(), due.count());
    }
}

#[test]
#[should_panic(expected = "not a scan's position")]
fn a_cursor_is_not_made_from_any_hash() {
    cursor::from_position(0x1_8000);
}

#[test]
fn random_is_near_uniform() {
    let count = 1000 / SCALE as u64;
    let checked = filled(count);
    let mut hits = vec![0u32; count as usize];
    let calls = Cell::new(0);
    let mut source = rng(5);
    let mut counted = || {
        calls.set(calls.get() + 1);
        source()
    };
    let draws = 100 * count;
    for _ in 0..draws {
        let slot = checked.table.random(&mut counted).unwrap();
        hits[item(checked.table.get(slot)).key as usize] += 1;
    }
    // 100 expected with a standard deviation of 10.
    assert!(hits.iter().all(|&n| (40..=160).contains(&n)));
    assert!(cfg!(miri) || calls.get() < 4 * draws);
}

#[test]
fn random_finds_the_last_entry_of_a_skewed_table() {
    let mut checked = Checked::new(0, |key| if key < 5000 { mix(key) } else { key });
    checked.insert_all(0..6000 / SCALE as u64);
    checked.remove_all(1..6000 / SCALE as u64);
    let slot = checked.table.random(&mut rng(2)).unwrap();
    assert_eq!(item(checked.table.get(slot)).key, 0);
}

#[test]
fn a_sample_has_no_duplicates_and_reaches_everything() {
    let checked = filled(3000 / SCALE as u64);
    let mut rng = rng(1);
    for count in [0, 1, 5, 16, 100, 10_000] {
        for _ in 0..20 {
            let mut seen = HashSet::new();
            checked
                .table
                .sample(&mut rng, count, |ptr| assert!(seen.insert(item(ptr).key)));
            assert_eq!(seen.len(), count.min(checked.table.len()));
        }
    }
}

#[test]
fn drain_hands_out_everything_once() {
    let mut checked = filled(3000 / SCALE as u64);
    let mut seen = HashSet::new();
    checked
        .table
        .drain(|ptr| assert!(seen.insert(item(ptr).key)));
    assert_eq!(seen.len(), checked.model.len());
    assert_eq!((checked.table.len(), checked.table.memory_usage()), (0, 0));
    checked.model.clear();
    checked.order.clear();
    checked.insert(1);
    checked.check();
}

#[test]
fn stats_describe_the_table() {
    let checked = filled(3000 / SCALE as u64);
    let stats = checked.table.stats();
    let in_buckets: usize = stats
        .fill
        .iter()
        .enumerate()
        .map(|(n, count)| n * count)
        .sum();
    assert_eq!(in_buckets + stats.stashed + stats.overflowed, stats.entries);
    assert_eq!(stats.fill.iter().sum::<usize>(), stats.buckets);
    assert_eq!(stats.memory, checked.table.memory_usage());
    assert!(stats.largest_home >= 4);
}

#[test]
#[should_panic(expected = "stale slot")]
fn a_stale_slot_is_noticed() {
    let mut checked = filled(10);
    let slot = checked.find(3).unwrap();
    checked.table.remove(slot, &Stored);
    checked.table.remove(slot, &Stored);
}

#[test]
#[should_panic(expected = "8-aligned")]
fn unaligned_entries_are_refused() {
    let item = Item { key: 0, hash: 0 };
    let crooked = NonNull::new(item.ptr().as_ptr().wrapping_add(4)).unwrap();
    Table::new(0).insert(0, crooked, &Stored);
}

#[test]
fn a_table_moves_between_threads() {
    let checked = filled(100);
    let len = std::thread::scope(|scope| {
        let table = &checked.table;
        scope.spawn(move || table.iter().count()).join().unwrap()
    });
    assert_eq!(len, 100);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(std::ops::Range<u64>),
    Remove(std::ops::Range<u64>),
    Replace(u64),
    Scan(usize),
    Check,
}

fn range(longest: u64) -> impl Strategy<Value = std::ops::Range<u64>> {
    (0..3000u64, 1..longest).prop_map(|(start, len)| start..start + len)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let longest = if cfg!(miri) { 40 } else { 1500 };
    let step = prop_oneof![
        4 => range(longest).prop_map(Step::Insert),
        3 => range(longest).prop_map(Step::Remove),
        1 => (0..3000u64).prop_map(Step::Replace),
        4 => (1..40usize).prop_map(Step::Scan),
        1 => Just(Step::Check),
    ];
    prop::collection::vec(step, 1..40)
}

/// Runs the steps while one scan goes on, and holds the scan to its guarantees.
fn run(mut checked: Checked, steps: Vec<Step>) {
    let mut cursor = checked.prefix();
    let mut seen = Vec::new();
    // Present since the scan began / added or removed since: at most once per presence.
    let mut throughout: HashSet<u64> = HashSet::new();
    let mut additions: HashMap<u64, usize> = HashMap::new();
    let mut begun = false;
    for step in steps {
        let mut finished = false;
        match step {
            Step::Insert(keys) => keys.for_each(|key| {
                if checked.insert(key) {
                    *additions.entry(key).or_default() += 1;
                }
            }),
            Step::Remove(keys) => keys.for_each(|key| {
                if checked.remove(key) {
                    throughout.remove(&key);
                }
            }),
            Step::Replace(key) => checked.replace(key),
            Step::Check => checked.check(),
            Step::Scan(calls) => {
                for _ in 0..calls {
                    begun = true;
                    cursor = checked.scan_step(cursor, &mut seen);
                    finished = cursor == 0;
                    if finished {
                        break;
                    }
                }
            }
        }
        if finished {
            let visits = count(&seen);
            assert!(throughout.iter().all(|key| visits.get(key) == Some(&1)));
            let may = |key| 1 + additions.get(key).copied().unwrap_or(0);
            assert!(visits.iter().all(|(key, &times)| times <= may(key)));
            seen.clear();
            cursor = checked.prefix();
            begun = false;
        }
        if !begun {
            throughout = checked.model.keys().copied().collect();
            additions.clear();
        }
    }
    checked.check();
}

fn count(keys: &[u64]) -> HashMap<u64, usize> {
    let mut counts = HashMap::new();
    keys.iter()
        .for_each(|key| *counts.entry(*key).or_default() += 1);
    counts
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn it_behaves_like_a_map_and_scans_exactly_once(steps in steps(), prefix_bits in 0..12u32) {
        run(Checked::new(prefix_bits, mix), steps);
    }

    #[test]
    fn so_it_does_when_hashes_collide(steps in steps()) {
        run(Checked::new(2, |key| mix(key % 50)), steps.clone());
        // Few distinct tags, and bits that differ only far below the tag.
        run(Checked::new(0, |key| mix(key % 7) << 56 | mix(key) >> 40 << 8), steps);
    }
}

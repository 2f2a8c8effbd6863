//! Micro-benchmark of `values::table::Table` beside `std::collections::HashMap`.
//!
//! Both find heap entries (16-byte key, 64-byte value) by pointer, with the same hash function, so
//! the difference is the table alone. Times are processor times of the thread. Run it with
//! `cargo run --release -p lodestore-values --example table_bench [entries...]`; without
//! arguments it takes 1 M and 10 M entries.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::hint::black_box;
use std::ptr::NonNull;
use std::time::Duration;

use values::table::{HashOf, Table};

/// Requests looked ahead, as in one loop turn of the server.
const BATCH: usize = 32;
const FINDS: usize = 4_000_000;

type Key = [u8; 16];

#[repr(C, align(8))]
struct Entry {
    key: Key,
    value: [u8; 64],
}

fn key(number: u64) -> Key {
    let mut key = *b"key:............";
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn hash_of(key: &Key) -> u64 {
    let (low, high) = key.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    mix(word(low) ^ mix(word(high)))
}

fn mix(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

fn entry<'a>(ptr: NonNull<u8>) -> &'a Entry {
    // SAFETY: every pointer stored here is a leaked box of an Entry.
    unsafe { ptr.cast::<Entry>().as_ref() }
}

struct Entries;

impl HashOf for Entries {
    fn hash(&self, ptr: NonNull<u8>) -> u64 {
        hash_of(&entry(ptr).key)
    }
}

#[derive(PartialEq, Eq)]
struct ByKey(Key);

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(hash_of(&self.0));
    }
}

struct Ref(&'static ByKey);

impl Borrow<ByKey> for Ref {
    fn borrow(&self) -> &ByKey {
        self.0
    }
}

impl Hash for Ref {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Ref {
    fn eq(&self, other: &Ref) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ref {}

/// The hash is good already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole words are hashed here")
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

type Map = HashMap<Ref, (), BuildHasherDefault<Identity>>;

fn random_numbers(count: usize, below: u64) -> Vec<u64> {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    (0..count).map(|_| next()).collect()
}

/// Processor time of this thread, so that other programs do not count.
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Inserts all and returns the longest time one of them took.
fn timed_inserts(pointers: &[NonNull<u8>], mut insert: impl FnMut(NonNull<u8>)) -> Duration {
    let mut longest = Duration::ZERO;
    for pointer in pointers {
        let start = thread_time();
        insert(*pointer);
        longest = longest.max(thread_time() - start);
    }
    longest
}

fn per_op(start: Duration, operations: usize) -> f64 {
    (thread_time() - start).as_nanos() as f64 / operations as f64
}

fn find(table: &Table, hash: u64, key: &Key) -> bool {
    table.find(hash, |ptr| entry(ptr).key == *key).is_some()
}

fn find_ahead(table: &Table, numbers: &[u64]) -> usize {
    let mut found = 0;
    for batch in numbers.chunks(BATCH) {
        let mut wanted = [(0, [0; 16]); BATCH];
        for (slot, number) in wanted.iter_mut().zip(batch) {
            let key = key(*number);
            *slot = (hash_of(&key), key);
            table.prefetch_bucket(slot.0);
        }
        let wanted = &wanted[..batch.len()];
        wanted
            .iter()
            .for_each(|(hash, _)| table.prefetch_entry(*hash));
        for (hash, key) in wanted {
            found += usize::from(find(table, *hash, key));
        }
    }
    found
}

fn find_plain(table: &Table, numbers: &[u64]) -> usize {
    let keys = numbers.iter().map(|number| key(*number));
    keys.filter(|key| find(table, hash_of(key), key)).count()
}

fn bench(count: usize) {
    let pointers: Vec<NonNull<u8>> = random_order(count)
        .map(|number| {
            let entry = Entry {
                key: key(number),
                value: [number as u8; 64],
            };
            NonNull::from(Box::leak(Box::new(entry))).cast()
        })
        .collect();
    let numbers = random_numbers(FINDS, count as u64);
    println!("{count} entries, random order, nanoseconds per operation");
    bench_table(&pointers, &numbers);
    bench_std(&pointers, &numbers);
    for pointer in pointers {
        black_box(entry(pointer).value[0]);
        // SAFETY: leaked above, referred to by nothing any more.
        drop(unsafe { Box::from_raw(pointer.cast::<Entry>().as_ptr()) });
    }
}

fn random_order(count: usize) -> impl Iterator<Item = u64> {
    let mut numbers: Vec<u64> = (0..count as u64).collect();
    let swaps = random_numbers(count, count as u64);
    for (i, j) in swaps.iter().enumerate() {
        numbers.swap(i, *j as usize);
    }
    numbers.into_iter()
}

fn bench_table(pointers: &[NonNull<u8>], numbers: &[u64]) {
    let mut table = Table::new(0);
    let longest = timed_inserts(pointers, |ptr| {
        table.insert(Entries.hash(ptr), ptr, &Entries);
    });
    let bytes = table.memory_usage() as f64 / table.len() as f64;
    let mut table = Table::new(0);
    let start = thread_time();
    for ptr in pointers {
        table.insert(Entries.hash(*ptr), *ptr, &Entries);
    }
    let insert = per_op(start, pointers.len());
    let start = thread_time();
    black_box(find_plain(&table, numbers));
    let plain = per_op(start, numbers.len());
    let start = thread_time();
    let found = find_ahead(&table, numbers);
    let ahead = per_op(start, numbers.len());
    assert_eq!(found, numbers.len());
    let start = thread_time();
    let absent = numbers.iter().map(|n| key(*n + (1 << 40)));
    let absent = absent.filter(|key| find(&table, hash_of(key), key)).count();
    let miss = per_op(start, numbers.len());
    assert_eq!(absent, 0);
    let start = thread_time();
    for ptr in pointers {
        let hash = Entries.hash(*ptr);
        if let Some(slot) = table.find(hash, |other| other == *ptr) {
            table.remove(slot, &Entries);
        }
    }
    let remove = per_op(start, pointers.len());
    println!(
        "  table    insert {insert:6.1}  find {plain:6.1}  find looking {BATCH} ahead {ahead:6.1}  miss {miss:6.1}  remove {remove:6.1}  bytes/key {bytes:5.2}  longest insert {longest:?}"
    );
}

fn bench_std(pointers: &[NonNull<u8>], numbers: &[u64]) {
    let by_key = |ptr: NonNull<u8>| -> Ref {
        // SAFETY: an Entry begins with its key, and a ByKey is one.
        Ref(unsafe { ptr.cast::<ByKey>().as_ref() })
    };
    let mut map = Map::default();
    let longest = timed_inserts(pointers, |ptr| {
        map.insert(by_key(ptr), ());
    });
    // hashbrown keeps one control byte per bucket, and fills 7/8 of a power of two.
    let buckets = (map.capacity() * 8 / 7).next_power_of_two();
    let bytes = (buckets * 9) as f64 / map.len() as f64;
    let mut map = Map::default();
    let start = thread_time();
    for ptr in pointers {
        map.insert(by_key(*ptr), ());
    }
    let insert = per_op(start, pointers.len());
    let start = thread_time();
    let keys = numbers.iter().map(|number| ByKey(key(*number)));
    let found = keys.filter(|key| map.contains_key(key)).count();
    let plain = per_op(start, numbers.len());
    assert_eq!(found, numbers.len());
    let start = thread_time();
    let keys = numbers.iter().map(|n| ByKey(key(*n + (1 << 40))));
    assert_eq!(keys.filter(|key| map.contains_key(key)).count(), 0);
    let miss = per_op(start, numbers.len());
    let start = thread_time();
    for ptr in pointers {
        map.remove(by_key(*ptr).0);
    }
    let remove = per_op(start, pointers.len());
    println!(
        "  HashMap  insert {insert:6.1}  find {plain:6.1}                                miss {miss:6.1}  remove {remove:6.1}  bytes/key {bytes:5.2}  longest insert {longest:?}"
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut counts: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    if counts.is_empty() {
        counts = vec![1_000_000, 10_000_000];
    }
    counts.into_iter().for_each(bench);
}

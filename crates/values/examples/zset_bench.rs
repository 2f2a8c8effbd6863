//! Micro-benchmark of `values::SortedSet`: processor time per operation and bytes per member.
//!
//! Members have 16 bytes.
//! `cargo run --release -p lodestore-values --example zset_bench [members...]`; without arguments
//! it takes 1 M. "double" scores are random doubles, "integer" ones random integers below 2^32,
//! "equal" ones are all 0.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use values::alloc::size_class;
use values::{LexBound, LexRange, ScoreRange, SortedSet, SortedSetBuilder, Thresholds};

/// Counts what an allocator with the size classes of jemalloc would give out.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(size_class(layout.size()), Relaxed);
        // SAFETY: by contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(size_class(layout.size()), Relaxed);
        // SAFETY: by contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OPERATIONS: usize = 400_000;
const RANGE: usize = 100;

fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

fn member(number: usize) -> [u8; 16] {
    let mut text = *b"0000000000000000";
    let mut rest = mix(number as u64);
    for byte in &mut text {
        *byte = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    text
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer leads to a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn measure(name: &str, count: usize, mut work: impl FnMut(usize)) {
    let start = cpu_time();
    (0..count).for_each(&mut work);
    let each = (cpu_time() - start).as_nanos() as f64 / count.max(1) as f64;
    println!("  {name:<28} {each:>9.1} ns");
}

fn pick(i: usize, members: usize) -> usize {
    (mix(i as u64 ^ 0xabcd_ef01) % members as u64) as usize
}

fn run(kind: &str, members: usize, score: impl Fn(usize) -> f64) {
    println!("{kind}, {members} members:");
    let limits = Thresholds::default();
    let before = ALLOCATED.load(Relaxed);
    let mut set = SortedSet::new();
    measure("insert", members, |i| {
        set.insert(&member(i), score(i), &limits);
    });
    let allocated = (ALLOCATED.load(Relaxed) - before) as f64 / members as f64;
    let said = set.heap_bytes() as f64 / members as f64;
    println!("  bytes per member             {allocated:>9.1}    (heap_bytes {said:.1})");
    measure("score", OPERATIONS, |i| {
        black_box(set.score(&member(pick(i, members))));
    });
    measure("rank", OPERATIONS, |i| {
        black_box(set.rank(&member(pick(i, members))));
    });
    measure("range of 100 by rank", OPERATIONS / 40, |i| {
        let start = pick(i, members);
        for (text, score) in set.range(start..start + RANGE) {
            black_box((text.len(), score));
        }
    });
    measure("range of 100 by score", OPERATIONS / 40, |i| {
        let range = ScoreRange {
            min: score(pick(i, members)),
            min_exclusive: false,
            max: f64::INFINITY,
            max_exclusive: false,
        };
        let ranks = set.score_range(&range);
        for (text, score) in set.range(ranks.start..ranks.start + RANGE) {
            black_box((text.len(), score));
        }
    });
    measure("lex range", OPERATIONS / 10, |i| {
        let text = member(pick(i, members));
        black_box(set.lex_range(&LexRange {
            min: LexBound::Inclusive(&text),
            max: LexBound::Max,
        }));
    });
    measure("add a little", OPERATIONS, |i| {
        let text = member(pick(i, members));
        let there = set.score(&text).unwrap_or(0.0);
        set.insert(&text, there + 1.0, &limits);
    });
    measure("another score", OPERATIONS, |i| {
        set.insert(&member(pick(i, members)), score(i ^ 0x5555), &limits);
    });
    measure("remove and insert", OPERATIONS, |i| {
        let text = member(pick(i, members));
        set.remove(&text);
        set.insert(&text, score(i ^ 0x3333), &limits);
    });
    let bytes = set.heap_bytes() as f64 / members as f64;
    println!("  bytes per member after that  {bytes:>9.1}");
    drop(set);
    run_builder(members, score);
}

fn run_builder(members: usize, score: impl Fn(usize) -> f64) {
    let limits = Thresholds::default();
    let start = cpu_time();
    let mut builder = SortedSetBuilder::with_capacity(members);
    (0..members).for_each(|i| builder.merge(&member(i), score(i), |a, b| a + b));
    let mut built = builder.finish(&limits);
    let each = (cpu_time() - start).as_nanos() as f64 / members as f64;
    let bytes = built.heap_bytes() as f64 / members as f64;
    println!("  build                        {each:>9.1} ns, {bytes:.1} bytes");
    let start = cpu_time();
    let count = built.remove_range(0..members / 2, &mut |_, _| ());
    let each = (cpu_time() - start).as_nanos() as f64 / count.max(1) as f64;
    println!("  remove a range               {each:>9.1} ns");
    let start = cpu_time();
    drop(built);
    let each = (cpu_time() - start).as_nanos() as f64 / members as f64;
    println!("  drop                         {each:>9.1} ns");
}

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|it| it.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![1_000_000]
    } else {
        sizes
    };
    for members in sizes {
        run("double", members, |i| {
            mix(i as u64) as f64 / u64::MAX as f64
        });
        run("integer", members, |i| (mix(i as u64) >> 32) as f64);
        run("ascending", members, |i| i as f64);
        run("equal", members, |_| 0.0);
    }
}

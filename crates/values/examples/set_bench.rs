//! Micro-benchmark of sets and hashes. Times are processor times of the thread, bytes are those of
//! the collection on the heap. Run it with
//! `cargo run --release -p lodestore-values --example set_bench [members]`; without an argument it
//! takes 1 M members.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Duration;
use values::set::{difference, intersect, union};
use values::{Element, FieldDeadline, Hash, Set, SetView, Thresholds};

/// Members of the sets in set operations.
const OPERANDS: u64 = 100_000;

fn cpu_time() -> Duration {
    // SAFETY: a timespec of zeros is a valid one, and the call fills it.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs `work` several times and prints the best time per item.
fn report(what: &str, items: u64, times: usize, mut work: impl FnMut()) {
    let best = (0..times).map(|_| {
        let start = cpu_time();
        work();
        cpu_time() - start
    });
    let best = best.min().unwrap_or_default();
    let each = best.as_nanos() as f64 / items as f64;
    println!(
        "{what:<44} {each:>9.1} ns each  {:>9.2} ms",
        best.as_secs_f64() * 1e3
    );
}

/// Numbers in an order that caches cannot foresee.
fn shuffled(count: u64) -> impl Iterator<Item = u64> + Clone {
    // The multiplier is prime and larger than any count.
    (0..count).map(move |i| i.wrapping_mul(0x9e37_79b9_7f4a_7c55) % (1 << 40) % count)
}

fn member(number: u64) -> Vec<u8> {
    format!("member:{number:010}").into_bytes()
}

fn set_of(numbers: impl Iterator<Item = u64>, text: fn(u64) -> Vec<u8>) -> Set {
    let limits = Thresholds::default();
    let mut set = Set::new();
    for number in numbers {
        set.add(&text(number), &limits);
    }
    set
}

fn nothing(member: Element<'_>) -> ControlFlow<()> {
    black_box(member);
    ControlFlow::Continue(())
}

fn sets(count: u64) {
    let limits = Thresholds::default();
    let members: Vec<_> = (0..count).map(member).collect();
    // Their texts lie in the order that they are asked for, as in the buffer of a request.
    let asked: Vec<_> = shuffled(count).map(member).collect();
    let mut set = Set::new();
    report("set: add", count, 1, || {
        for text in &members {
            set.add(text, &limits);
        }
    });
    let bytes = set.heap_bytes() as f64 / count as f64;
    println!(
        "{:<44} {bytes:>9.2} bytes each",
        "set: memory (members of 17 bytes)"
    );
    report("set: contains", count, 3, || {
        for text in &asked {
            assert!(set.contains(text));
        }
    });
    report("set: contains_many of 32", count, 3, || {
        for some in asked.chunks(32) {
            set.contains_many(some.iter().map(Vec::as_slice), |found| {
                assert!(found);
            });
        }
    });
    report("set: iter", count, 3, || {
        set.iter().for_each(|member| {
            black_box(member.len());
        });
    });
    report("set: clone", count, 1, || drop(black_box(set.clone())));
    report("set: remove", count, 1, || {
        for text in &asked {
            set.remove(text);
        }
    });
}

fn operations() {
    let half = OPERANDS / 2;
    let name = |number: u64| member(number);
    let a = set_of(0..OPERANDS, name);
    let b = set_of(half..half + OPERANDS, name);
    let few = set_of((0..100).map(|i| i * 997), name);
    let n = OPERANDS;
    report("intersect 100k x 100k", n, 5, || {
        intersect(&[&a, &b], nothing)
    });
    report("intersect 100k x 100k x 100k", n, 5, || {
        intersect(&[&a, &b, set_clone(&a)], nothing);
    });
    report("intersect 100 x 100k", 100, 5, || {
        intersect(&[&a, &few], nothing)
    });
    report("difference 100k - 100k", n, 5, || {
        difference(&a, &[&b], nothing)
    });
    let small: [&SetView; 9] = [&few; 9];
    report("difference 100k - 9 x 100", n, 5, || {
        difference(&a, &small, nothing)
    });
    let limits = Thresholds::default();
    report("union 100k + 100k", n * 2, 3, || {
        drop(black_box(union(&[&a, &b], &limits)))
    });
    let integers = |from: u64| set_of(from..from + 500, |i| (i * 3).to_string().into_bytes());
    let (c, d) = (integers(0), integers(250));
    report("intersect intsets 500 x 500", 500, 20, || {
        intersect(&[&c, &d], nothing)
    });
    report("intersect intset 500 x table 100k", 500, 20, || {
        intersect(&[&c, &a], nothing)
    });
    let short = |from: u64| set_of(from..from + 100, name);
    let (e, f) = (short(0), short(50));
    report("intersect listpacks 100 x 100", 100, 20, || {
        intersect(&[&e, &f], nothing)
    });
}

/// A set that is another one, so that it is not recognised as the same.
fn set_clone(set: &Set) -> &Set {
    static COPY: std::sync::OnceLock<Set> = std::sync::OnceLock::new();
    COPY.get_or_init(|| set.clone())
}

fn hashes(count: u64) {
    let limits = Thresholds::default();
    let fields: Vec<_> = (0..count).map(member).collect();
    // Their texts lie in the order that they are asked for, as in the buffer of a request.
    let asked: Vec<_> = shuffled(count).map(member).collect();
    let mut hash = Hash::new();
    report("hash: set new", count, 1, || {
        for field in &fields {
            hash.set(field, b"value-01", FieldDeadline::Clear, &limits);
        }
    });
    let bytes = hash.heap_bytes() as f64 / count as f64;
    println!(
        "{:<44} {bytes:>9.2} bytes each",
        "hash: memory (fields of 17, values of 8)"
    );
    report("hash: get", count, 3, || {
        for text in &asked {
            assert!(hash.get(text, 1).is_some());
        }
    });
    report("hash: get_many of 32", count, 3, || {
        for some in asked.chunks(32) {
            hash.get_many(some.iter().map(Vec::as_slice), 1, |found| {
                assert!(found.is_some());
            });
        }
    });
    report("hash: set in place", count, 1, || {
        for text in &asked {
            hash.set(text, b"value-02", FieldDeadline::Clear, &limits);
        }
    });
    report("hash: set_deadline", count, 1, || {
        for (i, text) in asked.iter().enumerate() {
            hash.set_deadline(text, Some(i as u64));
        }
    });
    let bytes = hash.heap_bytes() as f64 / count as f64;
    println!(
        "{:<44} {bytes:>9.2} bytes each",
        "hash: memory with deadlines"
    );
    report("hash: expire", count, 1, || {
        hash.expire(u64::MAX, usize::MAX, &mut |_| {});
    });
}

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let count = count.unwrap_or(1_000_000);
    sets(count);
    hashes(count);
    operations();
}

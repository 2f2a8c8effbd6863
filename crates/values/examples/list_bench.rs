//! Nanoseconds and bytes per element of lists.
//!
//! `cargo run --release -p lodestore-values --example list_bench [-- elements]`

use std::hint::black_box;
use std::ops::ControlFlow;
use values::{DIGITS, End, List, Thresholds};

/// Processor time of this thread: others on the machine do not count.
fn nanos() -> f64 {
    // SAFETY: plain numbers, which the call writes.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    }
}

fn report(name: &str, operations: usize, work: impl FnOnce()) {
    let start = nanos();
    work();
    let nanos = (nanos() - start) / operations as f64;
    println!("{name:<44} {nanos:>9.1} ns");
}

fn element(number: usize) -> [u8; 16] {
    let mut text = *b"element:00000000";
    let mut rest = number;
    for digit in text[8..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    text
}

fn filled(count: usize, end: End, limits: &Thresholds) -> List {
    let mut list = List::new();
    for number in 0..count {
        list.push(end, &element(number), limits);
    }
    list
}

/// As a command does it: read, then remove.
fn pop(list: &mut List, end: End, limits: &Thresholds) -> usize {
    let index = match end {
        End::Front => 0,
        End::Back => list.len() - 1,
    };
    let read = list.with(index, |element| element.as_bytes(&mut { DIGITS }).len());
    list.remove_range(index..index + 1, limits);
    read.unwrap_or(0)
}

fn range(list: &List, start: usize, count: usize, reply: &mut Vec<u8>) {
    reply.clear();
    list.visit(start..start + count, false, |element| {
        let mut digits = DIGITS;
        let text = element.as_bytes(&mut digits);
        reply.extend_from_slice(b"$16\r\n");
        reply.extend_from_slice(text);
        reply.extend_from_slice(b"\r\n");
        ControlFlow::Continue(())
    });
    black_box(reply.len());
}

fn ends(count: usize, limits: &Thresholds) {
    for (name, end) in [("front", End::Front), ("back", End::Back)] {
        let mut list = List::new();
        report(&format!("push {name}, {count}"), count, || {
            for number in 0..count {
                list.push(end, &element(number), limits);
            }
        });
        let bytes = list.heap_bytes() as f64 / count as f64;
        println!(
            "  {bytes:.2} bytes per element of 16, {} nodes",
            list.nodes()
        );
        report(&format!("pop {name}"), count, || {
            for _ in 0..count {
                black_box(pop(&mut list, end, limits));
            }
        });
    }
}

fn queues(limits: &Thresholds) {
    const ROUNDS: usize = 300_000;
    for len in [10, 100, 300, 1000, 100_000] {
        for (name, into, from) in [
            ("in back, out front", End::Back, End::Front),
            ("in front, out back", End::Front, End::Back),
            ("in front, out front", End::Front, End::Front),
        ] {
            let mut list = filled(len, End::Back, limits);
            report(&format!("queue of {len}: {name}"), ROUNDS, || {
                for number in 0..ROUNDS {
                    list.push(into, &element(number), limits);
                    black_box(pop(&mut list, from, limits));
                }
            });
        }
    }
}

fn reads(count: usize, limits: &Thresholds) {
    const ROUNDS: usize = 20_000;
    let list = filled(count, End::Back, limits);
    let mut reply = Vec::new();
    for (name, start, len) in [
        ("first 100", 0, 100),
        ("first 600", 0, 600),
        ("middle 100", count / 2, 100),
        ("last 100", count - 100, 100),
    ] {
        report(&format!("range: {name}, per element"), ROUNDS * len, || {
            for _ in 0..ROUNDS {
                range(&list, start, len, &mut reply);
            }
        });
    }
    report("index, anywhere", ROUNDS, || {
        for round in 0..ROUNDS {
            let index = round.wrapping_mul(7_919_317) % count;
            black_box(list.with(index, |element| element.len()));
        }
    });
    report("index, the same", ROUNDS, || {
        for _ in 0..ROUNDS {
            black_box(list.with(black_box(count / 2 + 100), |element| element.len()));
        }
    });
    report("search, per element", count, || {
        list.position(b"nothing like this", false, 1, 0, &mut |_| {
            ControlFlow::Break(())
        });
    });
    let small = filled(100, End::Back, limits);
    report("range: listpack of 100, per element", ROUNDS * 100, || {
        for _ in 0..ROUNDS {
            range(&small, 0, 100, &mut reply);
        }
    });
}

fn middle(count: usize, limits: &Thresholds) {
    const ROUNDS: usize = 20_000;
    let mut list = filled(count, End::Back, limits);
    report("insert anywhere", ROUNDS, || {
        for round in 0..ROUNDS {
            let index = round.wrapping_mul(7_919_317) % count;
            list.insert(index, &element(round), limits);
        }
    });
    report("set anywhere", ROUNDS, || {
        for round in 0..ROUNDS {
            let index = round.wrapping_mul(7_919_317) % count;
            list.set(index, b"another, longer element than before", limits);
        }
    });
    report("remove anywhere", ROUNDS, || {
        for round in 0..ROUNDS {
            let index = round.wrapping_mul(7_919_317) % count;
            list.remove_range(index..index + 1, limits);
        }
    });
    report("trim all but 100, per element", count, || {
        list.remove_range(100..usize::MAX, limits);
    });
}

fn main() {
    let count = std::env::args().nth(1);
    let count = count.and_then(|it| it.parse().ok()).unwrap_or(1_000_000);
    let limits = Thresholds::default();
    ends(count, &limits);
    queues(&limits);
    reads(count, &limits);
    middle(count, &limits);
    println!("with list-compress-depth 1");
    let compressed = Thresholds {
        list_compress: 1,
        ..limits
    };
    ends(count / 10, &compressed);
    reads(count / 10, &compressed);
}

//! How long parsing and replying take:
//! `cargo run --release -p lodestore-resp --example parse_bench`.
//!
//! Prints nanoseconds per operation, the best of several rounds. A yardstick for changes to the hot
//! path; it asserts nothing.

use std::hint::black_box;
use std::time::Instant;

use resp::number::{self, F64_BYTES_MAX};
use resp::{Args, Limits, Output, Progress, Protocol, Reply, RequestParser, Span};

const ROUNDS: usize = 7;
const PIPELINE: usize = 32;
const REPEATS: usize = 20_000;

fn measure(name: &str, operations: usize, mut run: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / operations as f64);
    }
    println!("{name:<44} {best:8.1} ns");
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn parse_all(input: &[u8], spans: &mut Vec<Span>) -> usize {
    let mut parser = RequestParser::new();
    let limits = Limits::default();
    let mut start = 0;
    let mut bytes = 0;
    while let Ok(Progress::Request { consumed, args }) =
        parser.parse(&input[start..], &limits, spans)
    {
        bytes += Args::new(&input[start..], &spans[spans.len() - args..])
            .arg(1)
            .len();
        start += consumed;
    }
    spans.clear();
    bytes
}

fn parsing() {
    let value = [b'v'; 64];
    let cases: [(&str, &[&[u8]]); 3] = [
        ("parse GET, 16-byte key", &[b"GET", b"key:000000000001"]),
        (
            "parse SET, 16-byte key, 64-byte value",
            &[b"SET", b"key:000000000001", &value],
        ),
        (
            "parse MGET, 10 keys",
            &[
                b"MGET", b"a1", b"a2", b"a3", b"a4", b"a5", b"a6", b"a7", b"a8", b"a9", b"b1",
            ],
        ),
    ];
    let mut spans = Vec::new();
    for (name, args) in cases {
        let input = request(args).repeat(PIPELINE);
        measure(name, PIPELINE * REPEATS, || {
            for _ in 0..REPEATS {
                black_box(parse_all(black_box(&input), &mut spans));
            }
        });
    }
}

/// Writes one reply; the bytes are a value to reply with.
type Write = fn(&mut Reply<'_>, &[u8]);

fn replying() {
    let value = [b'v'; 64];
    let mut output = Output::new();
    let cases: [(&str, Write); 4] = [
        ("reply OK", |reply, _| reply.ok()),
        ("reply 64-byte bulk string", |reply, value| {
            reply.bulk(value)
        }),
        ("reply integer of 7 digits", |reply, _| {
            reply.integer(black_box(1_234_567))
        }),
        ("reply double", |reply, _| {
            reply.double(black_box(1234.5678))
        }),
    ];
    for (name, write) in cases {
        measure(name, PIPELINE * REPEATS, || {
            for _ in 0..REPEATS {
                let mut reply = Reply::new(&mut output, Protocol::Resp2);
                for _ in 0..PIPELINE {
                    write(&mut reply, black_box(&value));
                }
                output.consume(output.len());
            }
        });
    }
}

fn numbers() {
    measure("parse_i64 of 7 digits", REPEATS, || {
        for _ in 0..REPEATS {
            black_box(number::parse_i64(black_box(b"1234567")));
        }
    });
    measure("parse_f64 of 9 characters", REPEATS, || {
        for _ in 0..REPEATS {
            black_box(number::parse_f64(black_box(b"1234.5678")));
        }
    });
    let mut buffer = [0; F64_BYTES_MAX];
    measure("format_f64", REPEATS, || {
        for _ in 0..REPEATS {
            black_box(number::format_f64(black_box(1234.5678), &mut buffer));
        }
    });
}

fn main() {
    parsing();
    replying();
    numbers();
}

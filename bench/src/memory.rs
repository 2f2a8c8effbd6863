//! Resident bytes per item: fill, and divide the growth of resident memory by the number of items.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::blocking::Client;
use crate::measure::Plan;
use crate::process::{Server, Setup};
use crate::report::{Section, Tables, number};
use crate::scenario::{Entrant, Field};
use crate::workload::{key_name, push_request};

/// A kind of item.
struct Shape {
    id: &'static str,
    title: &'static str,
    fill: Fill,
}

/// The kind of an item.
enum Fill {
    /// A key with a string of this length, with a deadline or without.
    String { value_len: usize, volatile: bool },
    /// The items that a command adds; `#` is 16 bytes that count, `*` as the first argument counts
    /// the keys, each of which gets so many items.
    Command {
        line: &'static str,
        per_key: u64,
        count: u64,
    },
}

const MILLION: u64 = 1_000_000;

const SHAPES: &[Shape] = &[
    Shape {
        id: "memory-string8",
        title: "string of 8 bytes",
        fill: Fill::String {
            value_len: 8,
            volatile: false,
        },
    },
    Shape {
        id: "memory-string32",
        title: "string of 32 bytes",
        fill: Fill::String {
            value_len: 32,
            volatile: false,
        },
    },
    Shape {
        id: "memory-string100",
        title: "string of 100 bytes",
        fill: Fill::String {
            value_len: 100,
            volatile: false,
        },
    },
    Shape {
        id: "memory-string32-ttl",
        title: "string of 32 bytes, with a deadline",
        fill: Fill::String {
            value_len: 32,
            volatile: true,
        },
    },
    Shape {
        id: "memory-hash5",
        title: "hash of 5 fields, values of 16 bytes",
        fill: Fill::Command {
            line: "HSET * field1 # field2 # field3 # field4 # field5 #",
            per_key: 1,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-hash5-small",
        title: "hash of 5 fields, fields and values of 2 bytes",
        fill: Fill::Command {
            line: "HSET * f1 v1 f2 v2 f3 v3 f4 v4 f5 v5",
            per_key: 1,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-set5-small",
        title: "set of 5 members of 2 bytes",
        fill: Fill::Command {
            line: "SADD * m1 m2 m3 m4 m5",
            per_key: 1,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-set5-integers",
        title: "set of 5 integers",
        fill: Fill::Command {
            line: "SADD * 11 222 333 4444 5555",
            per_key: 1,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-zset5-small",
        title: "sorted set of 5 members of 2 bytes",
        fill: Fill::Command {
            line: "ZADD * 1 m1 2 m2 3 m3 4 m4 5 m5",
            per_key: 1,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-list5-small",
        title: "list of 5 elements of 2 bytes",
        fill: Fill::Command {
            line: "RPUSH * e1 e2 e3 e4 e5",
            per_key: 1,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-list5",
        title: "list of 5 elements of 16 bytes",
        fill: Fill::Command {
            line: "RPUSH * # # # # #",
            per_key: 1,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-hash10000",
        title: "field of a hash of 10,000",
        fill: Fill::Command {
            line: "HSET * # #",
            per_key: 10_000,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-set",
        title: "member of a set of 1,000,000",
        fill: Fill::Command {
            line: "SADD * #",
            per_key: MILLION,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-zset",
        title: "member of a sorted set of 1,000,000",
        fill: Fill::Command {
            line: "ZADD * % #",
            per_key: MILLION,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-list",
        title: "element of a list of 1,000,000",
        fill: Fill::Command {
            line: "RPUSH * #",
            per_key: MILLION,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-stream",
        title: "entry of a stream of 1,000,000, 5 small fields",
        fill: Fill::Command {
            line: "XADD * * user % action click page /index.html time 1712345678 ok 1",
            per_key: MILLION,
            count: MILLION,
        },
    },
    Shape {
        id: "memory-streams",
        title: "entry of a stream of 100, 5 small fields",
        fill: Fill::Command {
            line: "XADD * * user % action click page /index.html time 1712345678 ok 1",
            per_key: 100,
            count: MILLION,
        },
    },
];

/// The ids of the rows, for listing.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|shape| shape.id)
}

/// Measures the selected rows. Tables that double in size make bytes per item depend on the number
/// of items, so the full profile measures two numbers.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let entrants = field.entrants(Setup::PLAIN);
    for shape in SHAPES.iter().filter(|shape| plan.selects(shape.id, true)) {
        let counts: &[u64] = match &shape.fill {
            Fill::Command { count, .. } => &[*count],
            Fill::String { .. } if plan.quick => &[MILLION],
            Fill::String { .. } => &[MILLION, 3 * MILLION],
        };
        for &count in counts {
            eprintln!("measuring {} with {count} items", shape.id);
            let bytes: Vec<f64> = entrants
                .iter()
                .map(|entrant| bytes_per_item(entrant, shape, count, plan))
                .collect::<Result<_>>()?;
            for (entrant, theirs) in entrants.iter().zip(&bytes).skip(1) {
                let cells = [
                    number(bytes[0]),
                    number(*theirs),
                    format!("{:.2}", bytes[0] / theirs),
                ];
                let mut line = vec![
                    shape.title.to_owned(),
                    count.to_string(),
                    entrant.label.clone(),
                ];
                line.extend(cells);
                tables.add(Section::Memory, line);
            }
        }
    }
    Ok(())
}

fn bytes_per_item(entrant: &Entrant, shape: &Shape, count: u64, plan: &Plan) -> Result<f64> {
    let cpus = plan.cpus.arrange(true)?;
    let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
    let mut client = Client::connect(server.address)?;
    // Buffers of the connection and lazily created structures are not counted as data.
    client.fill(1000, |_, bytes| push_request(bytes, &[b"PING"]))?;
    let before = server.resident()?;
    fill(&mut client, &shape.fill, count).with_context(|| format!("filling {}", entrant.label))?;
    // Incremental resizing and background frees come to rest, and allocators give pages back (ours
    // after a second).
    std::thread::sleep(Duration::from_millis(2500));
    let grown = server.resident()?.saturating_sub(before);
    Ok(grown as f64 / count as f64)
}

fn fill(client: &mut Client, what: &Fill, count: u64) -> Result<()> {
    match *what {
        Fill::String {
            value_len,
            volatile,
        } => {
            let value = vec![b'v'; value_len];
            client.fill(count, |index, bytes| {
                let key = key_name(index);
                // Far deadlines, all different.
                let seconds = (1_000_000 + index).to_string();
                let words: [&[u8]; 5] = [b"SET", key.as_bytes(), &value, b"EX", seconds.as_bytes()];
                push_request(bytes, if volatile { &words } else { &words[..3] });
            })
        }
        Fill::Command { line, per_key, .. } => client.fill(count, |index, bytes| {
            let key = key_name(index / per_key);
            // Out of order, as scores are.
            let score = (index * 7_919 % count).to_string();
            let element = format!("elm:{index:012}");
            let words: Vec<&[u8]> = line
                .split(' ')
                .enumerate()
                .map(|(place, word)| match word {
                    "*" if place == 1 => key.as_bytes(),
                    "#" => element.as_bytes(),
                    "%" => score.as_bytes(),
                    word => word.as_bytes(),
                })
                .collect();
            push_request(bytes, &words);
        }),
    }
}

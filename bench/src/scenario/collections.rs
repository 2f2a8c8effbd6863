//! Loads on lists, sets, hashes and sorted sets.

use super::{Field, Fill, MILLION, Row, Scenario};
use crate::process::Setup;
use crate::report::Section;
use crate::workload::{Operation, Workload};

/// A row: id, title, command, range of `#`, pipeline.
type Line = (&'static str, &'static str, &'static str, u64, usize);

/// One scenario per type, so that a type that is missing somewhere costs only its own rows.
pub(super) fn all(field: &Field) -> Vec<Scenario> {
    vec![lists(field), sets(field), hashes(field), sorted_sets(field)]
}

fn scenario(field: &Field, fill: &'static [Fill], lines: &[Line]) -> Scenario {
    let rows = lines
        .iter()
        .map(|&(id, title, command, keys, pipeline)| Row {
            section: Section::Collections,
            id: format!("{}-{id}", Section::Collections.name()),
            title: super::titled(title, pipeline),
            workload: Workload {
                operation: Operation::Command(command),
                // Commands that take a server a tenth of a second are not sent by 50 clients at
                // once: the last one would run into its time-out.
                connections: if id == "zunionstore" { 5 } else { 50 },
                pipeline,
                keys,
                value_len: 32,
                first: &[],
            },
            quick: true,
        });
    Scenario {
        entrants: field.entrants(Setup::PLAIN),
        keys: 0,
        value_len: 0,
        prepare: &[],
        fill,
        pinned: true,
        rows: rows.collect(),
    }
}

fn lists(field: &Field) -> Scenario {
    const FILL: &[Fill] = &[
        Fill {
            count: 10_000,
            line: "RPUSH long element:#",
        },
        Fill {
            count: 10_000,
            line: "RPUSH numbers %",
        },
        Fill {
            count: MILLION,
            line: "RPUSH list:! element:#",
        },
    ];
    let lines: &[Line] = &[
        ("lpush", "LPUSH, 10,000 lists", "LPUSH list:# $", 10_000, 16),
        ("rpush", "RPUSH, 10,000 lists", "RPUSH list:# $", 10_000, 16),
        ("lpop", "LPOP, 10,000 lists", "LPOP list:#", 10_000, 16),
        (
            "lpush-1",
            "LPUSH, 10,000 lists",
            "LPUSH list:# $",
            10_000,
            1,
        ),
        ("lrange100", "LRANGE of 100", "LRANGE long 0 99", 1, 1),
        ("lrange600", "LRANGE of 600", "LRANGE long 0 599", 1, 1),
        ("sort", "SORT of 10,000 numbers", "SORT numbers", 1, 1),
    ];
    scenario(field, FILL, lines)
}

fn sets(field: &Field) -> Scenario {
    const FILL: &[Fill] = &[
        Fill {
            count: MILLION,
            line: "SADD million member:#",
        },
        Fill {
            count: 100_000,
            line: "SADD a a:#",
        },
        Fill {
            count: 100_000,
            line: "SADD b b:#",
        },
        Fill {
            count: 1_000,
            line: "SADD a both:#",
        },
        Fill {
            count: 1_000,
            line: "SADD b both:#",
        },
    ];
    let lines: &[Line] = &[
        (
            "sadd",
            "SADD, 10,000 sets",
            "SADD set:# member:#",
            10_000,
            16,
        ),
        ("spop", "SPOP, 10,000 sets", "SPOP set:#", 10_000, 16),
        (
            "sismember",
            "SISMEMBER in 1,000,000 members",
            "SISMEMBER million member:#",
            MILLION,
            16,
        ),
        (
            "sinter",
            "SINTER of 2 x 100,000, 1,000 in both",
            "SINTER a b",
            1,
            1,
        ),
    ];
    scenario(field, FILL, lines)
}

fn hashes(field: &Field) -> Scenario {
    const FILL: &[Fill] = &[
        Fill {
            count: 100_000,
            line: "HSET hash:# field1 0123456789abcdef field2 12 field3 value field4 x field5 0123456789",
        },
        Fill {
            count: 1_000,
            line: "HSET thousand field:# value:#",
        },
    ];
    let lines: &[Line] = &[
        (
            "hset",
            "HSET, 100,000 hashes of 5",
            "HSET hash:# field3 $",
            100_000,
            16,
        ),
        (
            "hget",
            "HGET, 100,000 hashes of 5",
            "HGET hash:# field4",
            100_000,
            16,
        ),
        (
            "hgetall5",
            "HGETALL of 5, 100,000 hashes",
            "HGETALL hash:#",
            100_000,
            16,
        ),
        ("hgetall1000", "HGETALL of 1,000", "HGETALL thousand", 1, 1),
    ];
    scenario(field, FILL, lines)
}

fn sorted_sets(field: &Field) -> Scenario {
    const FILL: &[Fill] = &[
        Fill {
            count: MILLION,
            line: "ZADD million % member:#",
        },
        Fill {
            count: 100_000,
            line: "ZADD a % a:#",
        },
        Fill {
            count: 100_000,
            line: "ZADD b % b:#",
        },
    ];
    let lines: &[Line] = &[
        (
            "zrank",
            "ZRANK in 1,000,000 members",
            "ZRANK million member:#",
            MILLION,
            16,
        ),
        (
            "zrange",
            "ZRANGE of 100 of 1,000,000",
            "ZRANGE million @ +99",
            MILLION,
            1,
        ),
        (
            "zrangebyscore",
            "ZRANGEBYSCORE of 100 of 1,000,000",
            "ZRANGEBYSCORE million @ +99",
            MILLION,
            1,
        ),
        (
            "zincrby",
            "ZINCRBY in 1,000,000 members",
            "ZINCRBY million 1 member:#",
            MILLION,
            16,
        ),
        (
            "zadd",
            "ZADD of another score, 1,000,000 members",
            "ZADD million @ member:#",
            MILLION,
            16,
        ),
        (
            "zunionstore",
            "ZUNIONSTORE of 2 x 100,000",
            "ZUNIONSTORE out 2 a b",
            1,
            1,
        ),
    ];
    scenario(field, FILL, lines)
}

//! Loads that edit strings and their deadlines, and loads on streams, bitmaps, HyperLogLogs and
//! places.

use super::{Field, Fill, MILLION, Row, Scenario};
use crate::process::Setup;
use crate::report::Section;
use crate::workload::{Operation, Workload};

/// A row: id, title, command, range of `#`, clients, pipeline.
type Line = (&'static str, &'static str, &'static str, u64, usize, usize);

/// One scenario per type, so that a type that is missing somewhere costs only its own rows.
pub(super) fn all(field: &Field) -> Vec<Scenario> {
    vec![
        edits(field),
        streams(field),
        bitmaps(field),
        sketches(field),
        places(field),
    ]
}

fn scenario(field: &Field, fill: &'static [Fill], lines: &[Line]) -> Scenario {
    let rows = lines
        .iter()
        .map(|&(id, title, command, keys, connections, pipeline)| Row {
            section: Section::Types,
            id: format!("{}-{id}", Section::Types.name()),
            title: super::titled(title, pipeline),
            workload: Workload {
                operation: Operation::Command(command),
                connections,
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

/// Commands that change a value or a deadline in place, over 100,000 keys.
fn edits(field: &Field) -> Scenario {
    const KEYS: u64 = 100_000;
    const FILL: &[Fill] = &[
        Fill {
            count: KEYS,
            line: "SET count:# 1234567",
        },
        Fill {
            count: KEYS,
            line: "SET text:# 0123456789012345678901234567890123456789",
        },
        Fill {
            count: KEYS,
            line: "SET volatile:# 0123456789012345678901234567890123456789 EX 100000",
        },
    ];
    let line = |id, title, command| (id, title, command, KEYS, 50);
    let commands = [
        line("decr", "DECR", "DECR count:#"),
        line("append", "APPEND of 4 bytes", "APPEND text:# abcd"),
        line("setrange", "SETRANGE of 4 bytes", "SETRANGE text:# 8 abcd"),
        line("expire", "EXPIRE", "EXPIRE volatile:# 100000"),
        line("getex", "GETEX with EX", "GETEX volatile:# EX 100000"),
    ];
    let rows = |pipeline: usize| {
        commands.map(|(id, title, command, keys, clients)| {
            (id, title, command, keys, clients, pipeline)
        })
    };
    let mut scenario = scenario(field, FILL, &rows(16));
    let deeper = self::scenario(field, FILL, &rows(64)).rows;
    scenario.rows.extend(deeper.into_iter().map(|row| Row {
        id: format!("{}-p64", row.id),
        ..row
    }));
    scenario
}

fn streams(field: &Field) -> Scenario {
    const FILL: &[Fill] = &[Fill {
        count: MILLION,
        line: "XADD events 1# user 12345 action click page /index.html time 1712345678 ok 1",
    }];
    let lines: &[Line] = &[
        (
            "xadd",
            "XADD of 5 fields, 10,000 streams",
            "XADD stream:# * user 12345 action click page /index.html time 1712345678 ok 1",
            10_000,
            50,
            16,
        ),
        (
            "xadd-maxlen",
            "XADD MAXLEN ~ 1000 of 5 fields, 100 streams",
            "XADD capped:# MAXLEN ~ 1000 * user 12345 action click page /index.html time 1712345678 ok 1",
            100,
            50,
            16,
        ),
        (
            "xread",
            "XREAD of 100 of 1,000,000",
            "XREAD COUNT 100 STREAMS events 1#",
            999_000,
            50,
            1,
        ),
    ];
    scenario(field, FILL, lines)
}

fn bitmaps(field: &Field) -> Scenario {
    /// Times twelve digits: ten million bytes.
    const PIECES: u64 = 833_334;
    const FILL: &[Fill] = &[
        Fill {
            count: PIECES,
            line: "APPEND a #",
        },
        Fill {
            count: PIECES,
            line: "APPEND b #",
        },
        Fill {
            count: PIECES,
            line: "APPEND c #",
        },
    ];
    let lines: &[Line] = &[
        ("bitcount", "BITCOUNT of 10 MB", "BITCOUNT a", 1, 5, 1),
        (
            "bitop",
            "BITOP AND of 3 x 10 MB",
            "BITOP AND out a b c",
            1,
            5,
            1,
        ),
    ];
    scenario(field, FILL, lines)
}

fn sketches(field: &Field) -> Scenario {
    const fn fill(line: &'static str) -> Fill {
        Fill {
            count: 100_000,
            line,
        }
    }
    const FILL: &[Fill] = &[
        fill("PFADD h0 a#"),
        fill("PFADD h1 b#"),
        fill("PFADD h2 c#"),
        fill("PFADD h3 d#"),
        fill("PFADD h4 e#"),
        fill("PFADD h5 f#"),
        fill("PFADD h6 g#"),
        fill("PFADD h7 h#"),
        fill("PFADD h8 i#"),
        fill("PFADD h9 j#"),
    ];
    let lines: &[Line] = &[
        (
            "pfadd-dense",
            "PFADD to a dense one",
            "PFADD h0 x#",
            MILLION,
            50,
            16,
        ),
        (
            "pfadd-sparse",
            "PFADD, 10,000 keys",
            "PFADD hll:# x#",
            10_000,
            50,
            16,
        ),
        (
            "pfcount10",
            "PFCOUNT of 10 keys",
            "PFCOUNT h0 h1 h2 h3 h4 h5 h6 h7 h8 h9",
            1,
            50,
            1,
        ),
    ];
    scenario(field, FILL, lines)
}

fn places(field: &Field) -> Scenario {
    const FILL: &[Fill] = &[Fill {
        count: MILLION,
        line: "GEOADD places 12.% 45.~ member:#",
    }];
    let lines: &[Line] = &[
        (
            "geosearch",
            "GEOSEARCH of 1,000 of 1,000,000",
            "GEOSEARCH places FROMLONLAT 12.@ 45.@ BYRADIUS 1670 m",
            1,
            50,
            1,
        ),
        (
            "geoadd",
            "GEOADD, another place for one of 1,000,000",
            "GEOADD places 12.@ 45.@ member:#",
            MILLION,
            50,
            16,
        ),
    ];
    scenario(field, FILL, lines)
}

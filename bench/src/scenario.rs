//! The list of what is measured: which programs, set up how, holding what, under which loads.

mod collections;
mod events;
mod scripts;
mod types;
mod users;

use crate::process::{Aof, Flavor, Program, Setup};
use crate::report::Section;
use crate::workload::{Operation, Workload};

const MILLION: u64 = 1_000_000;

/// One program in one setup.
pub(crate) struct Entrant {
    /// Its name in tables.
    pub(crate) label: String,
    pub(crate) program: Program,
    pub(crate) setup: Setup,
}

/// One line of a table: a load that every entrant of the scenario gets.
pub(crate) struct Row {
    pub(crate) section: Section,
    /// Its name for `--rows`.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) workload: Workload,
    /// Whether the quick profile contains it.
    pub(crate) quick: bool,
}

/// A command that is run `count` times. In its words `#` stands for twelve digits that count from
/// 0, `!` for the same of which only the last four can differ from 0, `%` for a number that goes
/// through 0 to `count` - 1 out of order (`count` is a power of ten), and `~` for six digits in
/// another such order.
pub(crate) struct Fill {
    pub(crate) count: u64,
    pub(crate) line: &'static str,
}

/// Entrants that run side by side on the same data.
pub(crate) struct Scenario {
    /// The first one is compared with each of the others.
    pub(crate) entrants: Vec<Entrant>,
    /// Number of keys that are set before measuring.
    pub(crate) keys: u64,
    /// Length of their values in bytes.
    pub(crate) value_len: usize,
    /// Commands that are run once before measuring, with `␣` for a space in a word.
    pub(crate) prepare: &'static [&'static str],
    /// Other data that is stored before measuring.
    pub(crate) fill: &'static [Fill],
    /// Servers on one CPU and the client on another, or all programs on all CPUs.
    pub(crate) pinned: bool,
    pub(crate) rows: Vec<Row>,
}

/// The programs a run compares.
pub(crate) struct Field {
    pub(crate) subject: Program,
    pub(crate) peers: Vec<Program>,
    pub(crate) loops: Vec<Program>,
}

/// Every scenario, in the order of the report.
pub(crate) fn all(field: &Field) -> Vec<Scenario> {
    let mut scenarios = vec![base(field)];
    scenarios.extend([8, 1024, 100_000, 1_000_000].map(|value_len| values(field, value_len)));
    scenarios.push(many_keys(field));
    scenarios.extend(collections::all(field));
    scenarios.extend(types::all(field));
    scenarios.push(scripts::all(field));
    scenarios.extend(events::all(field));
    scenarios.push(users::all(field));
    scenarios.push(append_only(field, Aof::Everysec));
    scenarios.push(append_only(field, Aof::Always));
    scenarios.push(workers(field));
    scenarios.push(loops(field));
    scenarios
}

impl Field {
    /// The subject and its peers, all in the same setup.
    pub(crate) fn entrants(&self, setup: Setup) -> Vec<Entrant> {
        let programs = std::iter::once(&self.subject).chain(&self.peers);
        programs
            .map(|program| Entrant {
                label: program.name.clone(),
                program: program.clone(),
                setup,
            })
            .collect()
    }

    fn subject_as(&self, what: &str, setup: Setup) -> Entrant {
        Entrant {
            label: format!("{}, {what}", self.subject.name),
            program: self.subject.clone(),
            setup,
        }
    }
}

/// A row of 64-byte values on a million keys that the quick profile contains.
fn row(section: Section, operation: Operation, connections: usize, pipeline: usize) -> Row {
    let (name, verb) = match operation {
        Operation::Get => ("get".to_owned(), "GET".to_owned()),
        Operation::Set => ("set".to_owned(), "SET".to_owned()),
        Operation::Incr => ("incr".to_owned(), "INCR".to_owned()),
        Operation::MultiGet(keys) => (format!("mget{keys}"), format!("MGET of {keys}")),
        Operation::MultiSet(keys) => (format!("mset{keys}"), format!("MSET of {keys}")),
        Operation::Command(line) => (line.to_ascii_lowercase(), line.to_owned()),
    };
    Row {
        section,
        id: format!("{}-{name}-c{connections}-p{pipeline}", section.name()),
        title: titled(&format!("{verb}, {connections} clients"), pipeline),
        workload: Workload {
            operation,
            connections,
            pipeline,
            keys: MILLION,
            value_len: 64,
            first: &[],
        },
        quick: true,
    }
}

/// The title of a row with its pipeline, if it has one.
fn titled(title: &str, pipeline: usize) -> String {
    if pipeline == 1 {
        return title.to_owned();
    }
    format!("{title}, pipeline {pipeline}")
}

/// The usual load of applications: single requests and pipelines on a million keys.
fn base(field: &Field) -> Scenario {
    use Operation::{Get, Incr, MultiGet, MultiSet, Set};
    let requests = |operation, connections| row(Section::Requests, operation, connections, 1);
    let pipelines = |operation, depth| row(Section::Pipelines, operation, 50, depth);
    let mut rows = vec![requests(Get, 50), requests(Set, 50), requests(Incr, 50)];
    rows.extend([requests(Get, 500), requests(Set, 500)]);
    rows.extend([10, 100].map(|keys| requests(MultiGet(keys), 50)));
    rows.extend([10, 100].map(|keys| requests(MultiSet(keys), 50)));
    for depth in [16, 64] {
        rows.extend([Get, Set, Incr].map(|operation| pipelines(operation, depth)));
    }
    Scenario {
        entrants: field.entrants(Setup::PLAIN),
        keys: MILLION,
        value_len: 64,
        prepare: &[],
        fill: &[],
        pinned: true,
        rows,
    }
}

/// Other sizes of values. Large ones go unpipelined, as in applications.
fn values(field: &Field, value_len: usize) -> Scenario {
    // At most about 100 MB per server, so that machines with little memory can take part.
    let keys = (100_000_000 / value_len as u64).min(MILLION);
    let pipeline = if value_len > 10_000 { 1 } else { 16 };
    let rows = [Operation::Get, Operation::Set].map(|operation| {
        let row = row(Section::Values, operation, 50, pipeline);
        Row {
            id: format!("{}-v{value_len}", row.id),
            title: format!("{}, values of {value_len} bytes", row.title),
            workload: Workload {
                keys,
                value_len,
                ..row.workload
            },
            ..row
        }
    });
    Scenario {
        entrants: field.entrants(Setup::PLAIN),
        keys,
        value_len,
        prepare: &[],
        fill: &[],
        pinned: true,
        rows: rows.into(),
    }
}

/// More data than any cache holds. Not in the quick profile: filling alone takes most of a minute.
fn many_keys(field: &Field) -> Scenario {
    let keys = 10 * MILLION;
    let rows = [
        (Operation::Get, 1),
        (Operation::Get, 16),
        (Operation::Set, 16),
    ]
    .map(|(operation, pipeline)| {
        let row = row(Section::Keys, operation, 50, pipeline);
        Row {
            title: format!("{}, 10 million keys", row.title),
            workload: Workload {
                keys,
                ..row.workload
            },
            quick: false,
            ..row
        }
    });
    Scenario {
        entrants: field.entrants(Setup::PLAIN),
        keys,
        value_len: 64,
        prepare: &[],
        fill: &[],
        pinned: true,
        rows: rows.into(),
    }
}

/// The price of the append-only file: against the peers, and against ourselves with less of it. In
/// the row for `always` the last rival shows the cost of group commit against a background fsync.
fn append_only(field: &Field, aof: Aof) -> Scenario {
    let mut entrants = field.entrants(Setup {
        aof,
        ..Setup::PLAIN
    });
    let name = if aof == Aof::Always {
        "always"
    } else {
        "everysec"
    };
    if aof == Aof::Always {
        entrants.push(field.subject_as(
            "everysec",
            Setup {
                aof: Aof::Everysec,
                ..Setup::PLAIN
            },
        ));
    } else {
        entrants.push(field.subject_as("AOF off", Setup::PLAIN));
    }
    let loads: &[(usize, usize)] = match aof {
        Aof::Always => &[(1, 1), (50, 1), (500, 1), (50, 16)],
        _ => &[(50, 1), (50, 16)],
    };
    let rows = loads.iter().map(|&(connections, pipeline)| {
        let row = row(Section::Aof, Operation::Set, connections, pipeline);
        Row {
            id: format!("{}-{name}", row.id),
            title: format!("{}, appendfsync {name}", row.title),
            ..row
        }
    });
    Scenario {
        entrants,
        keys: MILLION,
        value_len: 64,
        prepare: &[],
        fill: &[],
        pinned: true,
        rows: rows.collect(),
    }
}

/// One, two and the default number of workers side by side, and the peers with and without I/O
/// threads.
fn workers(field: &Field) -> Scenario {
    let threads = |threads| Setup {
        threads,
        ..Setup::PLAIN
    };
    let mut entrants = vec![field.subject_as("2 workers", threads(Some(2)))];
    entrants.push(field.subject_as("1 worker", threads(Some(1))));
    entrants.push(field.subject_as("default workers", threads(None)));
    for (count, what) in [(1, "1 thread"), (2, "2 I/O threads")] {
        entrants.extend(field.peers.iter().map(|peer| Entrant {
            label: format!("{}, {what}", peer.name),
            program: peer.clone(),
            setup: threads(Some(count)),
        }));
    }
    let rows = [1, 16].map(|depth| {
        [Operation::Get, Operation::Set].map(|op| row(Section::Workers, op, 50, depth))
    });
    let rows = rows.into_iter().flatten().collect();
    Scenario {
        entrants,
        keys: MILLION,
        value_len: 64,
        prepare: &[],
        fill: &[],
        pinned: false,
        rows,
    }
}

/// The cost of a whole request above that of an event loop that does nothing.
fn loops(field: &Field) -> Scenario {
    let mut entrants = field.entrants(Setup::PLAIN);
    // The peers are measured elsewhere; here only the cost above a bare loop matters.
    entrants.truncate(1);
    entrants.extend(field.loops.iter().map(|program| Entrant {
        label: program.name.clone(),
        program: program.clone(),
        setup: Setup::PLAIN,
    }));
    let rows = [(50, 1), (500, 1), (50, 16), (50, 64)];
    let rows =
        rows.map(|(connections, depth)| row(Section::Loops, Operation::Get, connections, depth));
    Scenario {
        entrants,
        keys: MILLION,
        value_len: 64,
        prepare: &[],
        fill: &[],
        pinned: true,
        rows: rows.into(),
    }
}

impl Entrant {
    /// Whether the program keeps data; the echo loops do not.
    pub(crate) fn keeps_data(&self) -> bool {
        !matches!(self.program.flavor, Flavor::Loop(_))
    }
}

//! Tables in Markdown, and their places in a results file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A table of the report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Environment,
    Requests,
    Pipelines,
    Values,
    Keys,
    Collections,
    Types,
    Queue,
    WakeUp,
    Events,
    Fanout,
    Scripts,
    Users,
    Tls,
    Aof,
    Replication,
    Saving,
    Loading,
    Workers,
    Loops,
    Memory,
    Growth,
    Expiry,
    EngineRun,
    Engine,
    Embedded,
}

const LOAD_COLUMNS: &[&str] = &[
    "load",
    "against",
    "CPU µs per request",
    "theirs",
    "CPU ratio (spread)",
    "thousand requests/s",
    "theirs",
    "throughput ratio (spread)",
    "client busy %, ours / theirs",
];

impl Section {
    /// Every section, in the order of the report.
    pub(crate) const ALL: &[Section] = &[
        Section::Environment,
        Section::Requests,
        Section::Pipelines,
        Section::Values,
        Section::Keys,
        Section::Collections,
        Section::Types,
        Section::Queue,
        Section::WakeUp,
        Section::Events,
        Section::Fanout,
        Section::Scripts,
        Section::Users,
        Section::Tls,
        Section::Aof,
        Section::Replication,
        Section::Saving,
        Section::Loading,
        Section::Workers,
        Section::Loops,
        Section::Memory,
        Section::Growth,
        Section::Expiry,
        Section::EngineRun,
        Section::Engine,
        Section::Embedded,
    ];

    /// The name in markers and row ids.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Section::Environment => "environment",
            Section::Requests => "requests",
            Section::Pipelines => "pipelines",
            Section::Values => "values",
            Section::Keys => "keys",
            Section::Collections => "collections",
            Section::Types => "types",
            Section::Queue => "queue",
            Section::WakeUp => "wakeup",
            Section::Events => "events",
            Section::Fanout => "fanout",
            Section::Scripts => "scripts",
            Section::Users => "users",
            Section::Tls => "tls",
            Section::Replication => "replication",
            Section::Aof => "aof",
            Section::Saving => "saving",
            Section::Loading => "loading",
            Section::Workers => "workers",
            Section::Loops => "loops",
            Section::Memory => "memory",
            Section::Growth => "growth",
            Section::Expiry => "expiry",
            Section::EngineRun => "engine-run",
            Section::Engine => "engine",
            Section::Embedded => "embedded",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Section::Environment => "Where and when",
            Section::Requests => "One request at a time",
            Section::Pipelines => "Pipelines",
            Section::Values => "Sizes of values",
            Section::Keys => "Many keys",
            Section::Collections => "Collections",
            Section::Types => "Streams, bitmaps, HyperLogLogs, places",
            Section::Queue => "Streams as queues",
            Section::WakeUp => "Waking a client that waits",
            Section::Events => "Publishing, notifications, tracked reads",
            Section::Fanout => "Messages to subscribers",
            Section::Scripts => "Scripts and functions",
            Section::Users => "Users",
            Section::Tls => "Encrypted connections",
            Section::Replication => "Replication",
            Section::Aof => "Append-only file",
            Section::Saving => "Saving under load",
            Section::Loading => "Loading",
            Section::Workers => "Workers",
            Section::Loops => "Against bare event loops",
            Section::Memory => "Resident bytes per item",
            Section::Growth => "Longest stall while growing",
            Section::Expiry => "Lag of expiry",
            Section::EngineRun => "The engine alone: where and how",
            Section::Engine => "The engine alone",
            Section::Embedded => "Inside of a program",
        }
    }

    fn note(self) -> &'static str {
        match self {
            Section::Environment | Section::EngineRun => "",
            Section::Requests | Section::Pipelines => {
                "One worker, server and client pinned to a CPU each, a million random keys, values of 64 bytes, \
                 append-only file off. Ratios are ours divided by theirs, round by round: for CPU less is better, \
                 for throughput more."
            }
            Section::Values => "As above, with other sizes of values.",
            Section::Keys => "As above, with ten million random keys.",
            Section::Collections => {
                "50 clients, one worker, server and client pinned to a CPU each, elements of 14 to 32 bytes."
            }
            Section::Types => {
                "5 to 50 clients, one worker, server and client pinned to a CPU each. Entries of streams have 5 small fields."
            }
            Section::Queue => {
                "A consumer of a group takes 200,000 entries by XREADGROUP COUNT 10 and acknowledges them by XACK, pipelined: \
                 the server's CPU time per entry."
            }
            Section::WakeUp => {
                "One client waits in BLPOP, another sends LPUSH: from the push to the waiting client's reply, as seen by \
                 one thread that does both. The pair of requests costs the server this CPU time."
            }
            Section::Aof => {
                "As in the first table, with the append-only file on. The file lies in the system's temporary directory."
            }
            Section::Saving => {
                "5,000,000 keys with values of 200 bytes; 50 clients overwrite random ones, one request at a time, before and \
                 during. Nothing is pinned. Memory is that of the server and of what it forks (shared pages count once), its \
                 peak relative to what it was before."
            }
            Section::Loading => {
                "From the start of the process to the first reply to PING, with a snapshot of so many keys with values of 64 \
                 bytes, in the page cache."
            }
            Section::Workers => {
                "Nothing is pinned: server and client share all CPUs, as on a small machine."
            }
            Section::Loops => {
                "GET against servers that only count requests and send a fixed reply of the same size: what an event \
                 loop costs before it does any work."
            }
            Section::Memory => {
                "Growth of resident memory by filling, divided by the number of items. Keys and elements of 16 bytes."
            }
            Section::Growth => {
                "One connection fills, in batches of 32; another asks PING without a pause. What the client sees \
                 includes the scheduling of the machine: the bare loop shows how much that is. The last column is free of \
                 it: the longest CPU time of the server between a batch and its last reply."
            }
            Section::Expiry => {
                "20,000 keys expire evenly over ten seconds among a million keys with far deadlines. DBSIZE is polled; \
                 the keys that should be gone but are counted still, divided by the rate, are the lag."
            }
            Section::Embedded => {
                "`lodestore-bench embedded`: a million random keys, values of 64 bytes, one thread, append-only file off. CPU \
                 time is that of the whole process: over loopback that of the client and of the server. The maps copy keys and \
                 values as the store does, and have no expiry, no eviction, no types and no log."
            }
            Section::Engine => {
                "`lodestore-bench engine`: requests by function call, without sockets, append-only file off, random keys. \
                 Threads are pinned to a CPU each. Ratios are two threads divided by the mean of each thread alone, \
                 round by round. Time in which another process had one of the CPUs does not count; the last column \
                 says how many rounds and how much of them remained."
            }
            _ => self.note_of_feature(),
        }
    }

    /// Notes of tables about features beside data.
    fn note_of_feature(self) -> &'static str {
        match self {
            Section::Events => {
                "50 clients, one worker, server and client pinned to a CPU each, values and messages of 64 bytes."
            }
            Section::Fanout => {
                "One client publishes messages of 64 bytes to one channel, 16 at a time, and reads what each subscriber \
                 gets before it goes on. One worker, pinned as above. Bytes per subscription: 100,000 channels with a \
                 subscription each, of 100 clients."
            }
            Section::Scripts => {
                "50 clients, one worker, server and client pinned to a CPU each. Times are those of a whole script."
            }
            Section::Users => {
                "GET of a million random keys as in the first table, by users with rules."
            }
            Section::Tls => {
                "TLS 1.3 with AES-256-GCM, an ECDSA certificate of P-256, the load of valkey-benchmark with 50 clients on a \
                 CPU of its own. A handshake is a connection with one PING, never resumed."
            }
            Section::Replication => {
                "The first server with one replica of its own kind, both on one CPU, 50 clients that SET random keys out of \
                 a million, pipeline 16. CPU per command of each of the two processes, until the replica has acknowledged \
                 all. Full synchronization: seconds from REPLICAOF to a link that is up."
            }
            _ => "",
        }
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Section::Environment | Section::EngineRun => &["what", "value"],
            Section::Embedded => &[
                "request",
                "place",
                "CPU µs per request",
                "as many times a call (spread)",
            ],
            Section::Engine => &[
                "request",
                "look-ahead",
                "engine",
                "ns per request, one thread",
                "two",
                "million requests/s, one thread",
                "two",
                "two / one (spread)",
                "rounds counted",
            ],
            Section::Memory => &[
                "item",
                "items",
                "against",
                "bytes per item",
                "theirs",
                "ratio",
            ],
            Section::Queue => &["against", "CPU µs per entry", "theirs", "ratio (spread)"],
            Section::Fanout | Section::Tls | Section::Replication => {
                &["what", "against", "ours", "theirs", "ratio (spread)"]
            }
            Section::Saving => &[
                "what",
                "server",
                "seconds",
                "MB before",
                "peak",
                "thousand requests/s before",
                "during",
                "p99.9 µs before",
                "during",
                "longest µs before",
                "during",
            ],
            Section::Loading => &["keys", "server", "seconds"],
            Section::WakeUp => &["server", "µs, median", "p99", "server CPU µs per pair"],
            Section::Growth => &[
                "keys",
                "server",
                "PING µs, median",
                "p99.9",
                "p99.99",
                "longest",
                "longest batch µs",
                "server CPU in a batch µs, longest",
            ],
            Section::Expiry => &[
                "server",
                "lag ms, median",
                "p99",
                "longest",
                "left 5 s after the last deadline",
            ],
            _ => LOAD_COLUMNS,
        }
    }
}

/// The tables of a run.
#[derive(Default)]
pub(crate) struct Tables(BTreeMap<Section, Vec<Vec<String>>>);

impl Tables {
    /// Adds a line to the table of `section`.
    pub(crate) fn add(&mut self, section: Section, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), section.columns().len());
        self.0.entry(section).or_default().push(cells);
    }

    /// Adds lines that compare the first of `samples` with each of the others, for sections that
    /// have such columns.
    pub(crate) fn compare(&mut self, section: Section, what: &str, samples: &[(String, Vec<f64>)]) {
        let Some(((_, own), others)) = samples.split_first() else {
            return;
        };
        for (label, theirs) in others {
            let ratios = own.iter().zip(theirs).map(|(a, b)| a / b);
            let cells = [
                what.to_owned(),
                label.clone(),
                number(median(own.iter().copied())),
                number(median(theirs.iter().copied())),
                spread(ratios),
            ];
            self.add(section, cells.to_vec());
        }
    }

    /// All tables with headings.
    pub(crate) fn to_markdown(&self) -> String {
        self.0
            .keys()
            .map(|&section| format!("## {}\n\n{}\n", section.title(), self.body(section)))
            .collect()
    }

    /// Writes the tables into the file at `path`, each between its markers; tables that were not
    /// measured stay as they are. A missing file, or a missing section, is created.
    pub(crate) fn write_into(&self, path: &Path) -> Result<()> {
        let mut text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => empty_report(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        for &section in self.0.keys() {
            replace(&mut text, section, &self.body(section));
        }
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    fn body(&self, section: Section) -> String {
        let mut text = String::new();
        if !section.note().is_empty() {
            let _ = writeln!(text, "{}\n", section.note());
        }
        let columns = section.columns();
        let _ = writeln!(text, "| {} |", columns.join(" | "));
        let _ = writeln!(text, "|{}", " --- |".repeat(columns.len()));
        for line in self.0.get(&section).into_iter().flatten() {
            let _ = writeln!(text, "| {} |", line.join(" | "));
        }
        text
    }
}

const HEADER: &str = "# Results\n\nWritten by `cargo xtask bench -- --write bench/RESULTS.md`; what stands between the \
                      markers is replaced.\nA spread is the lowest and the highest value of all rounds.\n";

/// A results file with all sections in their order, so that runs of a few rows find their places.
fn empty_report() -> String {
    let mut text = HEADER.to_owned();
    for &section in Section::ALL {
        replace(&mut text, section, "Not measured yet.\n");
    }
    text
}

fn replace(text: &mut String, section: Section, body: &str) {
    let begin = format!("<!-- bench:{} -->\n", section.name());
    let end = format!("<!-- /bench:{} -->\n", section.name());
    let place = text.find(&begin).map(|at| at + begin.len());
    let place = place.and_then(|from| text[from..].find(&end).map(|length| from..from + length));
    match place {
        Some(place) => text.replace_range(place, body),
        None => *text += &format!("\n## {}\n\n{begin}{body}{end}", section.title()),
    }
}

/// The median, not a number when there are no values.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

/// "median (lowest-highest)".
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f64> = values.collect();
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!(
        "{:.2} ({lowest:.2}-{highest:.2})",
        median(values.into_iter())
    )
}

/// A number with three significant digits or all of its integer part.
pub(crate) fn number(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_stays() {
        let mut text = "a\n<!-- bench:aof -->\nold\n<!-- /bench:aof -->\nb\n".to_owned();
        replace(&mut text, Section::Aof, "new\n");
        assert_eq!(text, "a\n<!-- bench:aof -->\nnew\n<!-- /bench:aof -->\nb\n");
        replace(&mut text, Section::Keys, "more\n");
        assert!(
            text.ends_with("## Many keys\n\n<!-- bench:keys -->\nmore\n<!-- /bench:keys -->\n")
        );
    }

    #[test]
    fn median_and_spread() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([1.0, 2.0].into_iter()) - 1.5).abs() < 1e-9);
        assert_eq!(spread([1.0, 3.0, 2.0].into_iter()), "2.00 (1.00-3.00)");
        assert_eq!(number(3.456), "3.46");
    }

    #[test]
    fn section_names_are_unique() {
        let mut names: Vec<_> = Section::ALL.iter().map(|section| section.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Section::ALL.len());
    }
}

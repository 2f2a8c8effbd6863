//! Running a scenario: all servers up with the same data, rounds interleaved (A B A B ...), so that
//! a change of the machine's mood hits every server alike.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::blocking::Client;
use crate::client::{Load, Slice};
use crate::process::Server;
use crate::report::{Section, Tables, median, number, spread};
use crate::scenario::{Fill, Row, Scenario};
use crate::sys;
use crate::workload::{key_name, push_request};

/// How long and how often to measure, and where.
pub(crate) struct Plan {
    pub(crate) quick: bool,
    /// Length of one slice of load.
    pub(crate) slice: Duration,
    /// Slices per server and row.
    pub(crate) rounds: usize,
    /// Substrings of row ids; empty means all rows of the profile.
    pub(crate) filter: Vec<String>,
    /// Where servers get their directories.
    pub(crate) scratch: PathBuf,
    pub(crate) cpus: Cpus,
}

/// The CPUs of the programs in pinned rows.
pub(crate) struct Cpus {
    pub(crate) all: Vec<usize>,
    pub(crate) server: Vec<usize>,
    pub(crate) client: Vec<usize>,
}

impl Cpus {
    /// Servers get the first CPU and the client the second, if there are two.
    pub(crate) fn detect() -> Result<Cpus> {
        let all = sys::allowed_cpus()?;
        let (server, client) = match all.as_slice() {
            [first, second, ..] => (vec![*first], vec![*second]),
            _ => (all.clone(), all.clone()),
        };
        Ok(Cpus {
            all,
            server,
            client,
        })
    }

    /// Pins the client and returns the CPUs for servers.
    pub(crate) fn arrange(&self, pinned: bool) -> Result<&[usize]> {
        let (client, server) = if pinned {
            (&self.client, &self.server)
        } else {
            (&self.all, &self.all)
        };
        sys::pin(client)?;
        Ok(server)
    }
}

impl Plan {
    /// Whether a row takes part: named by the filter, or without a filter in the profile.
    pub(crate) fn selects(&self, id: &str, quick: bool) -> bool {
        if self.filter.is_empty() {
            return quick || !self.quick;
        }
        self.filter.iter().any(|part| id.contains(part.as_str()))
    }
}

/// One slice, per request.
#[derive(Clone, Copy)]
struct Sample {
    cpu_us: f64,
    per_second: f64,
    /// Share of the time that the client thread was on its CPU.
    client_busy: f64,
}

/// Measures the selected rows of `scenario` into `tables`.
pub(crate) fn run_scenario(scenario: &Scenario, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let rows: Vec<&Row> = scenario
        .rows
        .iter()
        .filter(|row| plan.selects(&row.id, row.quick))
        .collect();
    if rows.is_empty() || scenario.entrants.len() < 2 {
        return Ok(());
    }
    let cpus = plan.cpus.arrange(scenario.pinned)?;
    // All are up from here on. Idle servers cost a timer tick now and then, and are measured each
    // for itself.
    let mut servers = Vec::new();
    for entrant in &scenario.entrants {
        let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        if entrant.keeps_data() {
            eprintln!(
                "filling {} with {} keys of {} bytes",
                entrant.label, scenario.keys, scenario.value_len
            );
            prepare(&server, scenario.prepare)
                .and_then(|()| fill(&server, scenario.keys, scenario.value_len))
                .and_then(|()| fill_more(&server, scenario.fill))
                .with_context(|| format!("filling {}", entrant.label))?;
        }
        servers.push(server);
    }
    for row in rows {
        eprintln!("measuring {}", row.id);
        let samples =
            measure_row(row, &servers, plan).with_context(|| format!("row {}", row.id))?;
        let labels = scenario
            .entrants
            .iter()
            .map(|entrant| entrant.label.as_str())
            .zip(&samples);
        add_lines(row, &labels.collect::<Vec<_>>(), tables);
    }
    Ok(())
}

fn prepare(server: &Server, lines: &[&str]) -> Result<()> {
    let mut client = Client::connect(server.address)?;
    lines.iter().try_for_each(|line| client.line(line))
}

fn fill(server: &Server, keys: u64, value_len: usize) -> Result<()> {
    let value = vec![b'v'; value_len];
    Client::connect(server.address)?.fill(keys, |index, bytes| {
        push_request(bytes, &[b"SET", key_name(index).as_bytes(), &value]);
    })
}

fn fill_more(server: &Server, steps: &[Fill]) -> Result<()> {
    // Coprime to every power of ten, so multiplying with it permutes the numbers below one.
    const SHUFFLE: u64 = 7_919;
    const SHUFFLE_OTHERWISE: u64 = 104_729;
    let mut client = Client::connect(server.address)?;
    for step in steps {
        client.fill(step.count, |index, bytes| {
            let line = step
                .line
                .replace('#', &format!("{index:012}"))
                .replace('!', &format!("{:012}", index % 10_000))
                .replace('%', &(index * SHUFFLE % step.count).to_string())
                .replace(
                    '~',
                    &format!("{:06}", index * SHUFFLE_OTHERWISE % 1_000_000),
                );
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            push_request(bytes, &words);
        })?;
    }
    Ok(())
}

/// The samples of each server, in the order of the servers.
fn measure_row(row: &Row, servers: &[Server], plan: &Plan) -> Result<Vec<Vec<Sample>>> {
    let mut loads = Vec::new();
    for server in servers {
        // The same seed for all: every server sees the same sequence of keys.
        let mut load = Load::open(server.address, row.workload, 42)?;
        // Warms caches, grows buffers, and lets the server settle on its number of workers.
        load.run(plan.slice / 2)?;
        loads.push(load);
    }
    let mut samples = vec![Vec::new(); servers.len()];
    for _ in 0..plan.rounds {
        for ((server, load), samples) in servers.iter().zip(&mut loads).zip(&mut samples) {
            let before = server.cpu_ns()?;
            let slice = load.run(plan.slice)?;
            samples.push(sample(slice, server.cpu_ns()? - before));
        }
    }
    Ok(samples)
}

fn sample(slice: Slice, cpu_ns: u64) -> Sample {
    let seconds = slice.elapsed.as_secs_f64();
    Sample {
        cpu_us: cpu_ns as f64 / 1e3 / slice.requests as f64,
        per_second: slice.requests as f64 / seconds,
        client_busy: slice.client_cpu_ns as f64 / 1e9 / seconds,
    }
}

/// Adds one line per rival: the first server against each of the others.
fn add_lines(row: &Row, servers: &[(&str, &Vec<Sample>)], tables: &mut Tables) {
    let Some(((label, own), rivals)) = servers.split_first() else {
        return;
    };
    let median_of =
        |samples: &[Sample], field: fn(&Sample) -> f64| median(samples.iter().map(field));
    for (rival, theirs) in rivals {
        // Ratios are taken round by round, between neighbours in time.
        let ratios = |field: fn(&Sample) -> f64| {
            own.iter()
                .zip(*theirs)
                .map(move |(a, b)| field(a) / field(b))
        };
        let mut line = vec![row.title.clone()];
        // With several setups of one program the subject needs its name too.
        line.push(if row.section == Section::Workers {
            format!("{label} : {rival}")
        } else {
            (*rival).to_owned()
        });
        line.push(number(median_of(own, |sample| sample.cpu_us)));
        line.push(number(median_of(theirs, |sample| sample.cpu_us)));
        line.push(spread(ratios(|sample| sample.cpu_us)));
        line.push(number(median_of(own, |sample| sample.per_second) / 1e3));
        line.push(number(median_of(theirs, |sample| sample.per_second) / 1e3));
        line.push(spread(ratios(|sample| sample.per_second)));
        let busy =
            [own, *theirs].map(|samples| 100.0 * median_of(samples, |sample| sample.client_busy));
        line.push(format!("{:.0} / {:.0}", busy[0], busy[1]));
        tables.add(row.section, line);
    }
}

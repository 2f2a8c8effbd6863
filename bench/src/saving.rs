//! Saving under load, and loading: memory, throughput and latencies while a snapshot or a rewrite
//! of the log is under way, and how long a start takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::blocking::Client;
use crate::client::Load;
use crate::histogram::Histogram;
use crate::measure::Plan;
use crate::process::{Aof, Server, Setup};
use crate::report::{Section, Tables, number};
use crate::scenario::{Entrant, Field};
use crate::workload::{Operation, Workload, key_name, push_request};

/// The ids of the rows, for listing.
pub(crate) const IDS: [&str; 3] = ["saving-bgsave", "saving-rewrite", "saving-load"];

/// Length of the values.
const VALUE_LEN: usize = 200;
/// Load before anything is saved, for comparison.
const BEFORE: Duration = Duration::from_secs(5);
/// Load between two looks at memory and at whether it is over.
const STEP: Duration = Duration::from_millis(100);
/// A job that takes longer counts as hung.
const LONGEST: Duration = Duration::from_secs(300);

/// The requested job, and its fields of INFO that show its end.
struct Task {
    id: &'static str,
    title: &'static str,
    command: &'static [u8],
    running: &'static str,
    aof: Aof,
}

const TASKS: [Task; 2] = [
    Task {
        id: IDS[0],
        title: "BGSAVE",
        command: b"BGSAVE",
        running: "rdb_bgsave_in_progress:1",
        aof: Aof::Off,
    },
    Task {
        id: IDS[1],
        title: "BGREWRITEAOF",
        command: b"BGREWRITEAOF",
        running: "aof_rewrite_in_progress:1",
        aof: Aof::Everysec,
    },
];

/// Measures every server with every task, then how long they take to load what they saved.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let keys = if plan.quick { 500_000 } else { 5_000_000 };
    for task in TASKS.iter().filter(|task| plan.selects(task.id, false)) {
        let setup = Setup {
            aof: task.aof,
            threads: None,
            ..Setup::PLAIN
        };
        for entrant in field.entrants(setup) {
            eprintln!("{} of {}", task.title, entrant.label);
            let line = save(&entrant, task, keys, plan)
                .with_context(|| format!("{} of {}", task.title, entrant.label))?;
            tables.add(Section::Saving, line);
        }
    }
    if plan.selects(IDS[2], false) {
        let keys = if plan.quick { 1_000_000 } else { 10_000_000 };
        let setup = Setup {
            threads: None,
            ..Setup::PLAIN
        };
        for entrant in field.entrants(setup) {
            eprintln!("loading {}", entrant.label);
            let line = load(&entrant, keys, plan).with_context(|| entrant.label.clone())?;
            tables.add(Section::Loading, line);
        }
    }
    Ok(())
}

/// The measurements of some time under load.
struct Seen {
    per_second: f64,
    latencies: Histogram,
    seconds: f64,
    /// Most resident memory of the server with its children, in bytes.
    peak: u64,
}

fn save(entrant: &Entrant, task: &Task, keys: u64, plan: &Plan) -> Result<Vec<String>> {
    let cpus = plan.cpus.arrange(false)?;
    let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
    let mut client = Client::connect(server.address)?;
    fill(&mut client, keys)?;
    // Allocators give pages back after a second.
    std::thread::sleep(Duration::from_secs(3));
    let workload = Workload {
        operation: Operation::Set,
        connections: 50,
        pipeline: 1,
        keys,
        value_len: VALUE_LEN,
        first: &[],
    };
    let mut load = Load::open(server.address, workload, 42)?;
    load.run(Duration::from_secs(1))?;
    let started = Instant::now();
    let before = observe(&server, &mut load, |_| Ok(started.elapsed() < BEFORE))?;
    let memory = server.footprint()?;
    client.command(&[task.command])?;
    let during = observe(&server, &mut load, |seconds| {
        if seconds > LONGEST.as_secs_f64() {
            bail!("{} does not end", task.title);
        }
        Ok(client.info("persistence")?.contains(task.running))
    })?;
    let p999 = |seen: &Seen| seen.latencies.quantile_us(0.999);
    let mut line = vec![task.title.to_owned(), entrant.label.clone()];
    line.push(number(during.seconds));
    line.push(number(memory as f64 / 1e6));
    line.push(format!("{:.2}", during.peak as f64 / memory as f64));
    line.push(number(before.per_second / 1e3));
    line.push(number(during.per_second / 1e3));
    line.extend([p999(&before), p999(&during)].map(number));
    line.extend([before.latencies.longest_us(), during.latencies.longest_us()].map(number));
    Ok(line)
}

/// Drives the load as long as `goes_on` says.
fn observe(
    server: &Server,
    load: &mut Load,
    mut goes_on: impl FnMut(f64) -> Result<bool>,
) -> Result<Seen> {
    let start = Instant::now();
    let (mut requests, mut busy, mut peak) = (0, Duration::ZERO, 0);
    load.measure_latencies();
    loop {
        let slice = load.run(STEP)?;
        requests += slice.requests;
        busy += slice.elapsed;
        peak = peak.max(server.footprint()?);
        if !goes_on(start.elapsed().as_secs_f64())? {
            break;
        }
    }
    Ok(Seen {
        per_second: requests as f64 / busy.as_secs_f64(),
        latencies: load.take_latencies().context("no latencies")?,
        seconds: start.elapsed().as_secs_f64(),
        peak,
    })
}

fn fill(client: &mut Client, keys: u64) -> Result<()> {
    let value = [b'v'; VALUE_LEN];
    client.fill(keys, |index, bytes| {
        push_request(bytes, &[b"SET", key_name(index).as_bytes(), &value]);
    })
}

/// Fills, saves, starts a second server on the file, and times it until it answers.
fn load(entrant: &Entrant, keys: u64, plan: &Plan) -> Result<Vec<String>> {
    let cpus = plan.cpus.arrange(false)?;
    let mut server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
    let mut client = Client::connect(server.address)?;
    let value = [b'v'; 64];
    client.fill(keys, |index, bytes| {
        push_request(bytes, &[b"SET", key_name(index).as_bytes(), &value]);
    })?;
    client.command(&[b"SAVE"])?;
    let mut seconds = Vec::new();
    for _ in 0..3 {
        let started = Instant::now();
        server.restart(&entrant.program, &entrant.setup, cpus)?;
        seconds.push(started.elapsed().as_secs_f64());
        let loaded = Client::connect(server.address)?.integer(&[b"DBSIZE"])?;
        if u64::try_from(loaded) != Ok(keys) {
            bail!("{loaded} of {keys} keys were loaded");
        }
    }
    seconds.sort_by(f64::total_cmp);
    let line = vec![keys.to_string(), entrant.label.clone(), number(seconds[1])];
    Ok(line)
}

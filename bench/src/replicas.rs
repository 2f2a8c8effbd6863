//! The cost of a replica: for the primary, for itself, and for its first copy.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::blocking::Client;
use crate::client::Load;
use crate::measure::Plan;
use crate::process::{Server, Setup};
use crate::report::{Section, Tables};
use crate::scenario::{Entrant, Field};
use crate::workload::{Operation, Workload, key_name, push_request};

/// The ids of the rows, for listing.
pub(crate) const IDS: [&str; 2] = ["replication-set", "replication-sync"];

/// A replica that has no link after so long counts as hung.
const LONGEST: Duration = Duration::from_secs(120);

/// Measures the selected rows.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    if plan.selects(IDS[0], true) {
        commands(field, plan, tables).context(IDS[0])?;
    }
    if plan.selects(IDS[1], false) {
        first_copies(field, plan, tables).context(IDS[1])?;
    }
    Ok(())
}

struct Pair {
    label: String,
    primary: Server,
    replica: Server,
    load: Load,
    /// CPU time in microseconds per command, of the primary and of the replica.
    samples: [Vec<f64>; 2],
}

fn commands(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let cpus = plan.cpus.arrange(true)?;
    let workload = Workload {
        operation: Operation::Set,
        connections: 50,
        pipeline: 16,
        keys: 1_000_000,
        value_len: 64,
        first: &[],
    };
    let mut pairs = Vec::new();
    for entrant in field.entrants(Setup::PLAIN) {
        let primary = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        fill(&primary, 1_000_000)?;
        let replica = attach(&entrant, &primary, cpus, plan)?;
        let mut load = Load::open(primary.address, workload, 42)?;
        load.run(plan.slice / 2)?;
        wait(&primary)?;
        pairs.push(Pair {
            label: entrant.label,
            primary,
            replica,
            load,
            samples: [Vec::new(), Vec::new()],
        });
    }
    for round in 0..plan.rounds {
        for pair in &mut pairs {
            eprintln!("{} feeds a replica, round {round}", pair.label);
            let before = [pair.primary.cpu_ns()?, pair.replica.cpu_ns()?];
            let slice = pair.load.run(plan.slice)?;
            wait(&pair.primary)?;
            let after = [pair.primary.cpu_ns()?, pair.replica.cpu_ns()?];
            for (samples, (after, before)) in
                pair.samples.iter_mut().zip(after.into_iter().zip(before))
            {
                samples.push((after - before) as f64 / 1e3 / slice.requests as f64);
            }
        }
    }
    for (index, what) in [
        "CPU µs per SET, pipeline 16, of the primary with one replica",
        "CPU µs per command, of the replica",
    ]
    .into_iter()
    .enumerate()
    {
        let samples: Vec<_> = pairs
            .iter()
            .map(|pair| (pair.label.clone(), pair.samples[index].clone()))
            .collect();
        tables.compare(Section::Replication, what, &samples);
    }
    Ok(())
}

fn first_copies(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let cpus = plan.cpus.arrange(false)?;
    let keys = if plan.quick { 500_000 } else { 5_000_000 };
    let mut seconds = Vec::new();
    let mut peaks = Vec::new();
    for entrant in field.entrants(Setup {
        threads: None,
        // The default of five seconds is a wait for more replicas.
        options: &["--repl-diskless-sync-delay", "0"],
        ..Setup::PLAIN
    }) {
        eprintln!("{} copies {keys} keys", entrant.label);
        let primary = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        fill(&primary, keys)?;
        let before = primary.footprint()?;
        let replica = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        let began = Instant::now();
        follow(&replica, &primary)?;
        let mut peak = before;
        let mut client = Client::connect(replica.address)?;
        while !is_linked(&mut client)? {
            peak = peak.max(primary.footprint()?);
            ensure!(began.elapsed() < LONGEST, "the replica does not link");
            std::thread::sleep(Duration::from_millis(20));
        }
        seconds.push((entrant.label.clone(), vec![began.elapsed().as_secs_f64()]));
        peaks.push((entrant.label, vec![peak as f64 / before as f64]));
    }
    let what = format!("seconds of a full synchronization of {keys} keys, default threads");
    tables.compare(Section::Replication, &what, &seconds);
    let what = "peak memory of the primary meanwhile, with what it forks, relative to before";
    tables.compare(Section::Replication, what, &peaks);
    Ok(())
}

fn fill(server: &Server, keys: u64) -> Result<()> {
    Client::connect(server.address)?.fill(keys, |index, bytes| {
        push_request(bytes, &[b"SET", key_name(index).as_bytes(), &[b'v'; 64]]);
    })
}

/// Starts a replica and returns it when its link is up.
fn attach(entrant: &Entrant, primary: &Server, cpus: &[usize], plan: &Plan) -> Result<Server> {
    let replica = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
    follow(&replica, primary)?;
    let began = Instant::now();
    let mut client = Client::connect(replica.address)?;
    while !is_linked(&mut client)? {
        ensure!(
            began.elapsed() < LONGEST,
            "the replica of {} does not link",
            entrant.label
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(replica)
}

fn follow(replica: &Server, primary: &Server) -> Result<()> {
    let port = primary.address.port();
    Client::connect(replica.address)?.line(&format!("REPLICAOF 127.0.0.1 {port}"))
}

fn is_linked(client: &mut Client) -> Result<bool> {
    Ok(client
        .info("replication")?
        .contains("master_link_status:up"))
}

/// Waits until the replica has acknowledged everything.
fn wait(primary: &Server) -> Result<()> {
    // A connection that has not written waits for nothing, so this one writes.
    let mut client = Client::connect(primary.address)?;
    client.line("SET written last")?;
    if client.integer(&[b"WAIT", b"1", b"60000"])? != 1 {
        bail!("the replica does not acknowledge");
    }
    Ok(())
}

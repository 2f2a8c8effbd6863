//! How soon a client that waits in BLPOP has its element.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::blocking::Client;
use crate::measure::Plan;
use crate::process::{Server, Setup};
use crate::report::{Section, Tables, median, number};
use crate::scenario::Field;

/// The id of the row, for listing.
pub(crate) const ID: &str = "wakeup";

/// Pushes that are measured.
const PUSHES: usize = 20_000;

/// Measures every server.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    if !plan.selects(ID, true) {
        return Ok(());
    }
    for entrant in field.entrants(Setup::PLAIN) {
        eprintln!("waking clients of {}", entrant.label);
        let cpus = plan.cpus.arrange(true)?;
        let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        let mut waiting = Client::connect(server.address)?;
        let mut feeding = Client::connect(server.address)?;
        let mut micros = Vec::with_capacity(PUSHES);
        let before = server.cpu_ns()?;
        for _ in 0..PUSHES {
            waiting.send(&[b"BLPOP", b"queue", b"0"])?;
            // Gives the server time to read the BLPOP first. If it does not, the element waits
            // instead, and the sample is as good as the server deserves.
            feeding.command(&[b"PING"])?;
            feeding.command(&[b"PING"])?;
            let start = Instant::now();
            feeding.send(&[b"LPUSH", b"queue", b"element"])?;
            waiting.receive(1)?;
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            feeding.receive(1)?;
        }
        let cpu_us = (server.cpu_ns()? - before) as f64 / 1e3 / PUSHES as f64;
        micros.sort_by(f64::total_cmp);
        let p99 = *micros.get(PUSHES * 99 / 100).context("no samples")?;
        let middle = median(micros.iter().copied());
        let mut line = vec![entrant.label.clone()];
        line.extend([middle, p99, cpu_us].map(number));
        tables.add(Section::WakeUp, line);
    }
    Ok(())
}

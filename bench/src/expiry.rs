//! How long after its deadline a key is removed, measured with DBSIZE.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::blocking::Client;
use crate::measure::Plan;
use crate::process::{Server, Setup};
use crate::report::{Section, Tables, median, number};
use crate::scenario::Field;
use crate::workload::push_request;

/// The id of the row, for listing.
pub(crate) const ID: &str = "expiry";

/// Keys whose far deadlines the server has to look past.
const BYSTANDERS: u64 = 1_000_000;
/// Keys that expire while being watched, and over how many milliseconds.
const EXPIRING: u64 = 20_000;
const WINDOW_MS: u64 = 10_000;
/// How long after the last deadline the rest is counted.
const AFTER_MS: u64 = 5_000;

/// The measurements of one server.
struct Observation {
    lags_ms: Vec<f64>,
    left: u64,
}

/// Measures every server.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    if !plan.selects(ID, true) {
        return Ok(());
    }
    for entrant in field.entrants(Setup::PLAIN) {
        eprintln!("watching keys of {} expire", entrant.label);
        let cpus = plan.cpus.arrange(true)?;
        let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        let mut seen = observe(&server).with_context(|| format!("expiry on {}", entrant.label))?;
        seen.lags_ms.sort_by(f64::total_cmp);
        let last = seen
            .lags_ms
            .len()
            .checked_sub(1)
            .context("nothing was observed")?;
        let p99 = seen.lags_ms[last * 99 / 100];
        let middle = median(seen.lags_ms.iter().copied());
        let mut line = vec![entrant.label.clone()];
        line.extend([middle, p99, seen.lags_ms[last]].map(number));
        line.push(seen.left.to_string());
        tables.add(Section::Expiry, line);
    }
    Ok(())
}

fn observe(server: &Server) -> Result<Observation> {
    let mut client = Client::connect(server.address)?;
    client.fill(BYSTANDERS, |index, bytes| {
        let seconds = (1_000_000 + index).to_string();
        push_request(
            bytes,
            &[
                b"SET",
                format!("far:{index:012}").as_bytes(),
                b"v",
                b"EX",
                seconds.as_bytes(),
            ],
        );
    })?;
    // The first deadline lies two seconds ahead, which the second fill must not exceed.
    let first_ms = now_ms()? + 2_000;
    let deadline_ms = |index: u64| first_ms + index * WINDOW_MS / EXPIRING;
    client.fill(EXPIRING, |index, bytes| {
        let at = deadline_ms(index).to_string();
        push_request(
            bytes,
            &[
                b"SET",
                format!("due:{index:012}").as_bytes(),
                b"v",
                b"PXAT",
                at.as_bytes(),
            ],
        );
    })?;
    if now_ms()? >= first_ms {
        bail!("setting {EXPIRING} keys took longer than two seconds");
    }
    let mut lags_ms = Vec::new();
    loop {
        std::thread::sleep(Duration::from_millis(2));
        let left = volatile_left(&mut client)?;
        // The clock is read after the answer: the lag is rather over- than understated.
        let now = now_ms()?;
        if now < first_ms {
            continue;
        }
        if now >= first_ms + WINDOW_MS {
            break;
        }
        let due = ((now - first_ms) * EXPIRING)
            .div_ceil(WINDOW_MS)
            .min(EXPIRING);
        let overdue = left.saturating_sub(EXPIRING - due);
        lags_ms.push(overdue as f64 * WINDOW_MS as f64 / EXPIRING as f64);
    }
    std::thread::sleep(Duration::from_millis(AFTER_MS));
    Ok(Observation {
        lags_ms,
        left: volatile_left(&mut client)?,
    })
}

/// Number of keys that are counted besides the bystanders.
fn volatile_left(client: &mut Client) -> Result<u64> {
    let size = u64::try_from(client.integer(&[b"DBSIZE"])?)?;
    size.checked_sub(BYSTANDERS)
        .context("keys with far deadlines have disappeared")
}

/// Unix time in milliseconds, as servers read it for deadlines.
fn now_ms() -> Result<u64> {
    Ok(u64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?)
}

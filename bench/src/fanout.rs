//! The cost of delivering messages to subscribers, and what a subscription takes.

use std::io::Read;
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::blocking::Client;
use crate::client::Load;
use crate::measure::Plan;
use crate::process::{Server, Setup};
use crate::report::{Section, Tables};
use crate::scenario::Field;
use crate::workload::{Operation, Workload};

/// Numbers of subscribers of the one channel.
const SUBSCRIBERS: [usize; 3] = [1, 50, 1_000];
const PATTERNS_ID: &str = "fanout-patterns";
const BYTES_ID: &str = "fanout-bytes";
/// Patterns that fit no channel of the load.
const PATTERNS: u64 = 10_000;
/// Messages that are published before all subscribers are read.
const TOGETHER: u64 = 16;
/// Clients that share the subscriptions to many channels, and channels of each.
const HOLDERS: u64 = 100;
const CHANNELS_EACH: u64 = 1_000;
const MESSAGE: &str = "mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm";

/// The ids of the rows, for listing.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    SUBSCRIBERS
        .iter()
        .map(|&count| id(count))
        .chain([PATTERNS_ID, BYTES_ID])
}

fn id(subscribers: usize) -> &'static str {
    match subscribers {
        1 => "fanout-1",
        50 => "fanout-50",
        _ => "fanout-1000",
    }
}

/// Measures the selected rows.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    for count in SUBSCRIBERS {
        if plan.selects(id(count), true) {
            deliveries(field, plan, count, tables).with_context(|| id(count))?;
        }
    }
    if plan.selects(PATTERNS_ID, true) {
        patterns(field, plan, tables).context(PATTERNS_ID)?;
    }
    if plan.selects(BYTES_ID, true) {
        bytes(field, plan, tables).context(BYTES_ID)?;
    }
    Ok(())
}

fn deliveries(field: &Field, plan: &Plan, count: usize, tables: &mut Tables) -> Result<()> {
    let cpus = plan.cpus.arrange(true)?;
    let mut rivals = Vec::new();
    for entrant in field.entrants(Setup::PLAIN) {
        let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        let subscribers = (0..count)
            .map(|_| subscriber(&server))
            .collect::<Result<Vec<_>>>()?;
        let publisher = Client::connect(server.address)?;
        rivals.push((entrant.label, server, publisher, subscribers, Vec::new()));
    }
    for round in 0..plan.rounds {
        for (label, server, publisher, subscribers, samples) in &mut rivals {
            eprintln!("{label} delivers to {count} subscribers, round {round}");
            let before = server.cpu_ns()?;
            let began = Instant::now();
            let mut messages = 0;
            while began.elapsed() < plan.slice {
                publish(publisher, subscribers)?;
                messages += TOGETHER;
            }
            let cpu_us = (server.cpu_ns()? - before) as f64 / 1e3;
            samples.push(cpu_us / (messages * count as u64) as f64);
        }
    }
    let samples: Vec<_> = rivals
        .into_iter()
        .map(|(label, .., samples)| (label, samples))
        .collect();
    let what = format!("CPU µs per message and subscriber, {count} subscribers");
    tables.compare(Section::Fanout, &what, &samples);
    Ok(())
}

fn subscriber(server: &Server) -> Result<TcpStream> {
    let mut client = Client::connect(server.address)?;
    client.line("SUBSCRIBE news")?;
    Ok(client.into_stream())
}

/// Publishes some messages and reads them on every subscriber.
fn publish(publisher: &mut Client, subscribers: &mut [TcpStream]) -> Result<()> {
    let line = format!("PUBLISH news {MESSAGE}");
    publisher.fill(TOGETHER, |_, bytes| {
        crate::workload::push_line(bytes, &line);
    })?;
    let one = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$64\r\n\r\n".len() + MESSAGE.len();
    let mut input = vec![0; one * TOGETHER as usize];
    for subscriber in subscribers {
        subscriber
            .read_exact(&mut input)
            .context("reading messages")?;
        anyhow::ensure!(input.starts_with(b"*3\r\n$7\r\nmessage"), "not a message");
    }
    Ok(())
}

/// PUBLISH while others hold many patterns that do not match.
fn patterns(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let cpus = plan.cpus.arrange(true)?;
    let workload = Workload {
        operation: Operation::Command("PUBLISH channel:# $"),
        connections: 50,
        pipeline: 16,
        keys: 1_000,
        value_len: 64,
        first: &[],
    };
    let mut samples = Vec::new();
    for entrant in field.entrants(Setup::PLAIN) {
        eprintln!("{} publishes beside patterns", entrant.label);
        let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        let mut holder = Client::connect(server.address)?;
        holder.fill(PATTERNS, |index, bytes| {
            crate::workload::push_line(bytes, &format!("PSUBSCRIBE other:{index:06}:*"));
        })?;
        let mut load = Load::open(server.address, workload, 42)?;
        load.run(plan.slice / 2)?;
        let mut own = Vec::new();
        for _ in 0..plan.rounds {
            let before = server.cpu_ns()?;
            let slice = load.run(plan.slice)?;
            own.push((server.cpu_ns()? - before) as f64 / 1e3 / slice.requests as f64);
        }
        samples.push((entrant.label, own));
    }
    let what = "CPU µs per PUBLISH, pipeline 16, beside 10,000 patterns that do not match";
    tables.compare(Section::Fanout, what, &samples);
    Ok(())
}

/// Resident bytes per subscription.
fn bytes(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let cpus = plan.cpus.arrange(true)?;
    let mut samples = Vec::new();
    for entrant in field.entrants(Setup::PLAIN) {
        eprintln!("{} holds subscriptions", entrant.label);
        let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        let mut holders = (0..HOLDERS)
            .map(|_| Client::connect(server.address))
            .collect::<Result<Vec<_>>>()?;
        for holder in &mut holders {
            holder.line("PING")?;
        }
        let before = server.resident()?;
        for (holder, number) in holders.iter_mut().zip(0..) {
            holder.fill(CHANNELS_EACH, |index, bytes| {
                let channel = number * CHANNELS_EACH + index;
                crate::workload::push_line(bytes, &format!("SUBSCRIBE channel:{channel:08}"));
            })?;
        }
        let grown = server.resident()?.saturating_sub(before);
        let each = grown as f64 / (HOLDERS * CHANNELS_EACH) as f64;
        samples.push((entrant.label, vec![each]));
    }
    tables.compare(Section::Fanout, "resident bytes per subscription", &samples);
    Ok(())
}

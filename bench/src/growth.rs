//! The longest stall while the keyspace grows: one connection fills, another asks PING without a
//! pause, and one thread of the client watches both.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::histogram::Histogram;
use crate::measure::Plan;
use crate::process::{Server, Setup};
use crate::replies::Counter;
use crate::report::{Section, Tables, number};
use crate::scenario::{Entrant, Field};
use crate::workload::{key_name, push_request};

/// The id of the row, for listing.
pub(crate) const ID: &str = "growth";

/// Requests the filling connection sends at a time.
const BATCH: u64 = 32;
const VALUE: &[u8] = &[b'v'; 64];
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Measures every server, and the bare loop as the floor of what the client can see.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    if !plan.selects(ID, true) {
        return Ok(());
    }
    let keys = if plan.quick { 1_000_000 } else { 10_000_000 };
    let mut entrants = field.entrants(Setup::PLAIN);
    entrants.extend(field.loops.iter().take(1).map(|program| Entrant {
        label: program.name.clone(),
        program: program.clone(),
        setup: Setup {
            echo_len: 2,
            ..Setup::PLAIN
        },
    }));
    for entrant in &entrants {
        eprintln!("growing {} to {keys} keys", entrant.label);
        let cpus = plan.cpus.arrange(true)?;
        let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        let seen = grow(&server, keys).with_context(|| format!("growing {}", entrant.label))?;
        let mut line = vec![keys.to_string(), entrant.label.clone()];
        line.extend([0.5, 0.999, 0.9999].map(|quantile| number(seen.pings.quantile_us(quantile))));
        let longest = [&seen.pings, &seen.batches, &seen.executions].map(Histogram::longest_us);
        line.extend(longest.map(number));
        tables.add(Section::Growth, line);
    }
    Ok(())
}

/// The measurements while one server grew.
struct Observation {
    /// Latencies of the probe.
    pings: Histogram,
    /// Latencies of the filler's batches.
    batches: Histogram,
    /// CPU time of the whole server between sending a batch and its last reply: the part of a stall
    /// that the scheduling of the machine does not explain.
    executions: Histogram,
}

fn grow(server: &Server, keys: u64) -> Result<Observation> {
    let poll = Poll::new()?;
    let mut filler = Lane::open(server, &poll, Token(0))?;
    let mut probe = Lane::open(server, &poll, Token(1))?;
    let mut poll = poll;
    let mut events = Events::with_capacity(8);
    let mut executions = Histogram::new();
    let mut next_key = 0;
    let mut cpu_ns = server.cpu_ns()?;
    filler.send(BATCH, |bytes| push_next_key(bytes, &mut next_key))?;
    probe.send(1, |bytes| push_request(bytes, &[b"PING"]))?;
    while next_key < keys || filler.awaited > 0 {
        match poll.poll(&mut events, Some(SILENCE_MAX)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        if events.is_empty() {
            bail!("no reply for {} seconds", SILENCE_MAX.as_secs());
        }
        for event in &events {
            if event.token() == Token(0) {
                if !filler.receive()? {
                    continue;
                }
                let cpu_before = std::mem::replace(&mut cpu_ns, server.cpu_ns()?);
                executions.record(Duration::from_nanos(cpu_ns - cpu_before));
                if next_key < keys {
                    filler.send(BATCH, |bytes| push_next_key(bytes, &mut next_key))?;
                }
            } else if probe.receive()? {
                probe.send(1, |bytes| push_request(bytes, &[b"PING"]))?;
            }
        }
    }
    Ok(Observation {
        pings: probe.latencies,
        batches: filler.latencies,
        executions,
    })
}

fn push_next_key(bytes: &mut Vec<u8>, next_key: &mut u64) {
    push_request(bytes, &[b"SET", key_name(*next_key).as_bytes(), VALUE]);
    *next_key += 1;
}

/// A connection with at most one batch under way.
struct Lane {
    stream: TcpStream,
    output: Vec<u8>,
    input: Vec<u8>,
    replies: Counter,
    awaited: u64,
    sent_at: Instant,
    latencies: Histogram,
}

impl Lane {
    fn open(server: &Server, poll: &Poll, token: Token) -> Result<Lane> {
        let stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        poll.registry().register(
            &mut SourceFd(&stream.as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        Ok(Lane {
            stream,
            output: Vec::new(),
            input: vec![0; 16 << 10],
            replies: Counter::default(),
            awaited: 0,
            sent_at: Instant::now(),
            latencies: Histogram::new(),
        })
    }

    /// Sends `count` requests. They are so few that the socket buffer takes them at once.
    fn send(&mut self, count: u64, mut push: impl FnMut(&mut Vec<u8>)) -> Result<()> {
        self.output.clear();
        for _ in 0..count {
            push(&mut self.output);
        }
        self.awaited = count;
        self.sent_at = Instant::now();
        self.stream
            .write_all(&self.output)
            .context("sending a small batch")
    }

    /// Reads what has arrived; true when the batch is complete, whose latency is then recorded.
    fn receive(&mut self) -> Result<bool> {
        let length = match self.stream.read(&mut self.input) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let complete = self.replies.feed(&self.input[..length])?;
        if let Some(error) = self.replies.take_error() {
            bail!("the server answered with an error: {error}");
        }
        self.awaited = self
            .awaited
            .checked_sub(complete)
            .context("more replies than requests")?;
        if complete == 0 || self.awaited > 0 {
            return Ok(false);
        }
        self.latencies.record(self.sent_at.elapsed());
        Ok(true)
    }
}

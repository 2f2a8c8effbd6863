//! The load generator: one thread, many connections, each in a closed loop of "send a batch, wait
//! for all its replies".

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::blocking::Client;
use crate::histogram::Histogram;
use crate::replies::Counter;
use crate::sys;
use crate::workload::{Batch, Random, Workload};

/// A server that sends nothing for so long is taken for hung.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// The result of one slice of load.
#[derive(Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) requests: u64,
    /// From the first request to the last reply.
    pub(crate) elapsed: Duration,
    /// CPU time of the client thread in nanoseconds.
    pub(crate) client_cpu_ns: u64,
}

/// Open connections to one server and the load that goes over them.
pub(crate) struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    workload: Workload,
    random: Random,
    /// The buffer that replies are read into; shared, because no reply is kept.
    input: Vec<u8>,
    /// Times from sending a batch to its last reply, when they are requested.
    latencies: Option<Histogram>,
}

/// Invariant: `sent <= output.len()`; a batch is complete when `sent == output.len()` and
/// `awaited == 0`.
struct Connection {
    stream: TcpStream,
    batch: Batch,
    output: Vec<u8>,
    sent: usize,
    /// Replies still to come for the current batch.
    awaited: u64,
    sent_at: Instant,
    replies: Counter,
}

impl Load {
    /// Opens the connections. They stay open and idle between slices.
    pub(crate) fn open(address: SocketAddr, workload: Workload, seed: u64) -> Result<Load> {
        let poll = Poll::new()?;
        let batch = Batch::new(&workload);
        let mut connections = Vec::with_capacity(workload.connections);
        for index in 0..workload.connections {
            let mut stream = connect(address, workload.first)?;
            poll.registry().register(
                &mut stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            connections.push(Connection {
                stream,
                batch: batch.clone(),
                output: Vec::new(),
                sent: 0,
                awaited: 0,
                sent_at: Instant::now(),
                replies: Counter::default(),
            });
        }
        Ok(Load {
            poll,
            connections,
            workload,
            random: Random::new(seed),
            input: vec![0; 256 << 10],
            latencies: None,
        })
    }

    /// Records latencies from now on.
    pub(crate) fn measure_latencies(&mut self) {
        self.latencies = Some(Histogram::new());
    }

    /// The latencies recorded, if any; no more are recorded.
    pub(crate) fn take_latencies(&mut self) -> Option<Histogram> {
        self.latencies.take()
    }

    /// Drives the load for `duration`, then waits for the replies that are still under way.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Slice> {
        let cpu_before = sys::thread_cpu_ns()?;
        let start = Instant::now();
        for index in 0..self.connections.len() {
            self.send_batch(index)?;
        }
        // Connections that still have a batch under way.
        let mut active = self.connections.len();
        let mut requests = 0;
        let mut heard = start;
        let mut events = Events::with_capacity(1024);
        while active > 0 {
            poll_events(&mut self.poll, &mut events)?;
            let now = Instant::now();
            if events.is_empty() && now.duration_since(heard) > SILENCE_MAX {
                bail!("no reply for {} seconds", SILENCE_MAX.as_secs());
            }
            heard = if events.is_empty() { heard } else { now };
            let going_on = now.duration_since(start) < duration;
            for event in &events {
                let index = event.token().0;
                requests += self.connections[index].receive(&mut self.input)?;
                self.connections[index].flush()?;
                if !self.connections[index].is_batch_complete() {
                    continue;
                }
                if let (Some(latencies), false) = (
                    &mut self.latencies,
                    self.connections[index].output.is_empty(),
                ) {
                    latencies.record(self.connections[index].sent_at.elapsed());
                }
                if going_on {
                    self.send_batch(index)?;
                } else if self.connections[index].retire() {
                    active -= 1;
                }
            }
        }
        Ok(Slice {
            requests,
            elapsed: start.elapsed(),
            client_cpu_ns: sys::thread_cpu_ns()? - cpu_before,
        })
    }

    fn send_batch(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let (random, keys) = (&mut self.random, self.workload.keys);
        let bytes = connection.batch.renew(|| random.below(keys));
        connection.output.clear();
        connection.output.extend_from_slice(bytes);
        connection.sent = 0;
        connection.awaited = self.workload.pipeline as u64;
        if self.latencies.is_some() {
            connection.sent_at = Instant::now();
        }
        connection.flush()
    }
}

impl Connection {
    fn is_batch_complete(&self) -> bool {
        self.awaited == 0 && self.sent == self.output.len()
    }

    /// Marks the connection as done for this slice; false when it was already, which a late event
    /// of the poller can cause. An empty output is the mark.
    fn retire(&mut self) -> bool {
        let was_active = !self.output.is_empty();
        self.output.clear();
        self.sent = 0;
        was_active
    }

    fn flush(&mut self) -> Result<()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending requests"),
            }
        }
        Ok(())
    }

    /// Reads what has arrived and returns the number of replies in it.
    fn receive(&mut self, input: &mut [u8]) -> Result<u64> {
        let mut complete = 0;
        loop {
            match self.stream.read(input) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => {
                    complete += self.replies.feed(&input[..length])?;
                    // With edge-triggered events a short read means that the socket is empty.
                    if length < input.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading replies"),
            }
        }
        if let Some(error) = self.replies.take_error() {
            bail!("the server answered with an error: {error}");
        }
        self.awaited = self
            .awaited
            .checked_sub(complete)
            .context("more replies than requests")?;
        Ok(complete)
    }
}

/// Waits for events, at most a second, and lets signals interrupt the wait.
fn poll_events(poll: &mut Poll, events: &mut Events) -> Result<()> {
    match poll.poll(events, Some(Duration::from_secs(1))) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
        _ => Ok(()),
    }
}

/// A non-blocking connection with Nagle's algorithm off that has sent the lines of `first`.
fn connect(address: SocketAddr, first: &[&str]) -> Result<TcpStream> {
    let mut client = Client::connect(address).context("connecting to the server")?;
    first.iter().try_for_each(|line| client.line(line))?;
    let stream = client.into_stream();
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

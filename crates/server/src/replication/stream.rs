//! Applying the stream of a primary.
//!
//! What has arrived is applied in batches under the locks of all shards, whole commands and whole
//! transactions only, so readers see prefixes of the stream. The bytes go to the own log as they
//! came: offsets are those of the primary, for replicas of this server and after a restart.

use resp::{Args, Limits, Output, Progress, RequestParser, Span};

use super::follow::{FollowError, PrimaryLink, Wire};
use engine::config::{P, PropagationError};
use engine::execute::{Execution, Executor, NO_WORKER, Unapplied, primary_session};
use engine::session::Session;

/// A batch ends after so many bytes, or so much time: others wait for its locks.
const BATCH_BYTES: usize = 64 * 1024;
/// See [`BATCH_BYTES`].
const BATCH_NS: u64 = 500_000;
/// Time between two acknowledgements that were not asked for, in milliseconds.
const ACK_MS: u64 = 1_000;

/// The log is written after so many bytes: behind a full synchronization hundreds of megabytes may
/// have arrived.
const FLUSH_BYTES: usize = 1024 * 1024;
/// An empty input buffer is not kept when it is larger, in bytes.
const INPUT_KEPT: usize = 4 * 1024 * 1024;

/// One request of the stream, or all requests of one transaction.
#[derive(Default)]
struct Unit {
    /// Where each request begins and ends in the input, and its spans.
    requests: Vec<(usize, usize, Vec<Span>)>,
    /// Where the unit ends.
    end: usize,
    /// The primary asks how far we are.
    asks: bool,
}

impl Unit {
    /// Takes the request that stands at the end of the unit. MULTI and EXEC are only its ends.
    fn take(&mut self, input: &[u8], len: usize, spans: Vec<Span>, is_inside: &mut bool) {
        let (from, to) = (self.end, self.end + len);
        let args = Args::new(input.get(from..to).unwrap_or_default(), &spans);
        let is = |word: &[u8]| args.arg(0).eq_ignore_ascii_case(word);
        if is(b"multi") {
            *is_inside = true;
        } else if is(b"exec") {
            *is_inside = false;
        } else {
            self.asks |= is(b"replconf");
            self.requests.push((from, to, spans));
        }
    }

    /// The input has lost its first bytes.
    fn move_back(&mut self, bytes: usize) {
        self.end -= bytes;
        for (from, to, _) in &mut self.requests {
            (*from, *to) = (*from - bytes, *to - bytes);
        }
    }
}

/// How far the input has been read: a transaction of a gigabyte comes in thousands of pieces, and
/// each byte of it is looked at once.
#[derive(Default)]
struct Reading {
    parser: RequestParser,
    /// The unit that has not arrived as a whole.
    unit: Unit,
    /// Its MULTI was read, and not its EXEC.
    is_inside: bool,
}

/// Applies the stream.
pub(super) struct Applier<'a> {
    link: &'a PrimaryLink,
    exec: Executor,
    session: Session,
    out: Output,
    limits: Limits,
    reading: Reading,
    acknowledged_ms: u64,
}

impl<'a> Applier<'a> {
    pub(super) fn new(link: &'a PrimaryLink) -> Self {
        let server = &link.server;
        let mut session = primary_session(&server.engine);
        if let Some(db) = server.engine.log.stream_db() {
            session.db = db;
        }
        Self {
            link,
            exec: Executor::new(&server.engine, server.handlers, NO_WORKER),
            session,
            out: Output::new(),
            limits: Limits {
                max_bulk: usize::MAX / 2,
                ..Limits::default()
            },
            reading: Reading::default(),
            acknowledged_ms: 0,
        }
    }

    /// Follows the stream until the connection ends or the role changes.
    pub(super) fn run(&mut self, wire: &mut Wire) -> Result<(), FollowError> {
        loop {
            let asked = self.apply_all(wire)?;
            let engine = &self.link.server.engine;
            engine::durability::flush(engine);
            if engine.replicas.count() > 0 {
                super::announce(&self.link.server);
            }
            let steady_ms = engine.steady_ms();
            if asked || steady_ms >= self.acknowledged_ms + ACK_MS {
                self.acknowledged_ms = steady_ms;
                self.acknowledge(wire)?;
            }
            wire.read(self.link)?;
        }
    }

    /// Applies what has arrived. Returns whether an answer is asked for.
    fn apply_all(&mut self, wire: &mut Wire) -> Result<bool, FollowError> {
        let (mut start, mut flushed, mut asked) = (0, 0, false);
        loop {
            let rest = wire.input.get(start..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let (consumed, asks) = self.batch(rest)?;
            asked |= asks;
            if consumed == 0 {
                break;
            }
            start += consumed;
            if start - flushed >= FLUSH_BYTES {
                flushed = start;
                engine::durability::flush(&self.link.server.engine);
            }
        }
        wire.input.drain(..start);
        if wire.input.is_empty() && wire.input.capacity() > INPUT_KEPT {
            wire.input = Vec::new();
        }
        Ok(asked)
    }

    fn acknowledge(&self, wire: &mut Wire) -> Result<(), FollowError> {
        let log = &self.link.server.engine.log;
        let offset = self.safe_offset().to_string();
        // Before its base is written, the file is of no use after a crash.
        if !log.is_enabled() || log.status().waits_for_base {
            return wire.send(&[b"REPLCONF", b"ACK", offset.as_bytes()]);
        }
        let durable = log.synced_offset().to_string();
        wire.send(&[
            b"REPLCONF",
            b"ACK",
            offset.as_bytes(),
            b"FACK",
            durable.as_bytes(),
        ])
    }

    /// What the primary may count on: a kill of this process does not take it away.
    fn safe_offset(&self) -> u64 {
        let server = &*self.link.server;
        let log = &server.engine.log;
        match () {
            () if server.awaits_base() => 0,
            () if log.is_enabled() && log.trouble().is_some() => log.synced_offset(),
            () => log.stream_offset(),
        }
    }

    /// Applies some of the input. Returns how many bytes, and whether an answer is asked for.
    fn batch(&mut self, input: &[u8]) -> Result<(usize, bool), FollowError> {
        let Some(mut unit) = self.next_unit(input)? else {
            return Ok((0, false));
        };
        let server = &*self.link.server;
        let engine = &*server.engine;
        self.exec.refresh_clock(engine);
        let began_ns = engine.clock.monotonic_ns();
        let (mut start, mut asks) = (0, false);
        let mut locked = engine.keyspace.lock_all();
        self.link.check()?;
        loop {
            self.apply(input, start, &unit, &mut locked);
            asks |= unit.asks;
            start = unit.end;
            self.reading.unit.end = start;
            let spent_ns = engine.clock.monotonic_ns().saturating_sub(began_ns);
            if start >= BATCH_BYTES || spent_ns >= BATCH_NS {
                break;
            }
            match self.next_unit(input)? {
                Some(next) => unit = next,
                None => break,
            }
        }
        drop(locked);
        self.reading.unit.move_back(start);
        if !self.exec.ready.is_empty() {
            engine::execute::blocking::serve_later(&mut self.exec, engine);
        }
        keyspace::memory::publish();
        Ok((start, asks))
    }

    fn apply(
        &mut self,
        input: &[u8],
        start: usize,
        unit: &Unit,
        locked: &mut engine::shard_tables::Locked<'_>,
    ) {
        let raw = input.get(start..unit.end).unwrap_or_default();
        let commands: Vec<Args<'_>> = unit
            .requests
            .iter()
            .map(|(from, to, spans)| Args::new(input.get(*from..*to).unwrap_or_default(), spans))
            .collect();
        let mut execution = Execution {
            exec: &mut self.exec,
            engine: &self.link.server.engine,
            session: &mut self.session,
            out: &mut self.out,
            right: None,
            turn: None,
        };
        for failure in execution.apply(&commands, raw, locked) {
            let failed = &self.link.server.replication.unapplied;
            failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            log::error!(
                "== CRITICAL == This replica is sending an error to its primary: '{}' after processing the command '{}'",
                failure.reason,
                failure.command
            );
            self.end_if_asked(&failure);
        }
    }

    /// `propagation-error-behavior`: the process ends, unless clients may write here anyway.
    fn end_if_asked(&self, failure: &Unapplied) {
        let config = &self.link.server.engine.config;
        let behavior = config.choice::<PropagationError>(P::PropagationErrorBehavior);
        if behavior != PropagationError::Ignore && config.bool(P::ReplicaReadOnly) {
            log::error!(
                "This replica panicked sending an error to its primary after processing the command '{}'",
                failure.command
            );
            std::process::abort();
        }
    }

    /// The next request, or the next transaction as a whole; `None` when it has not arrived yet.
    /// What has arrived of it is not read again: see [`Reading`].
    fn next_unit(&mut self, input: &[u8]) -> Result<Option<Unit>, FollowError> {
        let Reading {
            parser,
            unit,
            is_inside,
        } = &mut self.reading;
        loop {
            let rest = input.get(unit.end..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(None);
            }
            let mut spans = Vec::new();
            let consumed = match parser.parse(rest, &self.limits, &mut spans) {
                Ok(Progress::NeedMore { .. }) => return Ok(None),
                // An empty line counts as a byte of the stream, as for every follower.
                Ok(Progress::Empty { consumed }) => consumed,
                Ok(Progress::Request { consumed, .. }) => {
                    unit.take(input, consumed, spans, is_inside);
                    consumed
                }
                Ok(Progress::Inline { .. }) | Err(_) => {
                    return Err(FollowError::Refused(
                        "the stream of the primary is not understood".to_owned(),
                    ));
                }
            };
            unit.end += consumed;
            if !*is_inside {
                return Ok(Some(std::mem::take(unit)));
            }
        }
    }
}

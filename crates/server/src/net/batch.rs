//! Reading and executing: the staged look-ahead.
//!
//! Memory latency is the cost of a request on real data. So requests are not run one by one: up to
//! [32](super::parse) are parsed, looked up and hashed; then the buckets of their keys are
//! prefetched, then their entries; then they are executed in order. The batch
//! reaches over the pipeline of one connection and over all connections that are ready.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use resp::{Output, ProtocolError, Reply};

use super::ahead;
use super::busy;
use super::limits;
use super::parse::{self, Parsed};
use super::round::{Batch, Bytes, Pending, Source};
use super::spares::{BIG_REQUEST, Spares};
use super::worker::{Worker, connection_of};
use crate::server::Server;
use crate::transport::connection::{Connection, READ_BEHIND, READ_BYTES, READ_BYTES_BIG};
use engine::config::P;
use engine::execute::{Execution, Held, Request, Verdict};
use engine::table::{Command, Resolved};
use engine::wait::Block;

/// Bytes read in one round over all ready connections; further bytes wait for the next round.
const ARENA_BYTES: usize = 1024 * 1024;

/// Longest pipeline part of one connection that is parsed before others get their turn is bounded
/// by its read size, so this only limits connections per round.
const SOURCES_PER_ROUND: usize = 1024;

/// A round of this many requests per shard makes up for locking all shards, three locks being saved
/// for each request.
const REQUESTS_PER_HELD_SHARD: usize = 2;

/// Replies of one turn: beyond them they leave, or their clients reach a limit, before the next
/// request runs. More than any ordinary pipeline makes, and little beside any `maxmemory`.
const REPLY_BYTES_PER_TURN: usize = 4 * 1024 * 1024;

/// A turn with so many bytes of replies publishes its memory before they leave.
const NOTED_REPLY_BYTES: usize = 1024 * 1024;

/// Input buffers that one turn fills: as many big arguments as arrive at once wait for the next.
const INPUT_BYTES_PER_TURN: usize = 64 * 1024 * 1024;

/// Arguments of ordinary requests that a worker keeps room for, 64 KiB.
const SPANS_KEEP: usize = 4096;

impl Worker {
    /// Reads from all runnable connections and executes what came.
    pub(super) fn execute_runnable(&mut self, server: &Arc<Server>) {
        if self.runnable.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        if batch.arena.is_empty() {
            batch.arena = vec![0; ARENA_BYTES];
        }
        self.fill(server, &mut batch);
        let mut held = self.hold_all(server, &batch);
        batch.requests = 0;
        batch.reply_bytes = 0;
        for index in 0..batch.sources.len() {
            self.parse_source(server, &mut batch, index, &mut held);
        }
        self.run_batch(server, &mut batch, &mut held);
        drop(held);
        if batch.reply_bytes > NOTED_REPLY_BYTES {
            // What is used at most is seen before the replies have left.
            keyspace::memory::publish();
        }
        for source in std::mem::take(&mut batch.sources) {
            self.finish_source(server, &mut batch, source);
        }
        self.batch = batch;
    }

    /// All shards for the whole round, when this is the only worker with clients and the last round
    /// was long enough to pay for locking them all. Not while memory is bounded: eviction locks by
    /// itself. Nor while a snapshot is taken: it could wait for a gap between rounds for ever.
    fn hold_all<'k>(&self, server: &'k Server, batch: &Batch) -> Held<'k> {
        let shards = server.engine.keyspace.shard_count();
        let pays = batch.requests >= shards * REQUESTS_PER_HELD_SHARD;
        let alone = server.active_workers.load(Ordering::Relaxed) == 1 && self.index == 0;
        let is_wanted = server.snapshots.walking.load(Ordering::Relaxed);
        (pays
            && alone
            && !is_wanted
            && server.engine.switches.max_memory.load(Ordering::Relaxed) == 0)
            .then(|| {
                // Not when a script of another worker has locked some of them.
                let mut waits = || !server.engine.runs.any();
                server.engine.keyspace.lock_all_patient(&mut waits).ok()
            })
            .flatten()
    }

    /// Reads once from each runnable connection, as long as there is room.
    fn fill(&mut self, server: &Server, batch: &mut Batch) {
        let (mut used, mut own_bytes) = (0, 0);
        let mut rest = Vec::new();
        let only = self.only.take();
        for token in std::mem::take(&mut self.runnable) {
            if only.is_some_and(|only| only != token)
                || batch.sources.len() >= SOURCES_PER_ROUND
                || used + READ_BYTES > batch.arena.len()
                || own_bytes > INPUT_BYTES_PER_TURN
            {
                rest.push(token);
                continue;
            }
            let Some(connection) = self.connection(token) else {
                continue;
            };
            connection.queued_run = false;
            if connection.is_stopped() && !connection.hung_up {
                // It runs again when the wait, the pause or the closing is over; bytes stay in the
                // socket, except that a hang-up has to be noticed.
                if connection.session.blocked.is_some() {
                    self.read_while_blocked(server, token);
                }
                continue;
            }
            if limits::is_throttled(connection) {
                connection.throttled = true;
                continue;
            }
            let output_max = limits::output_max(server, connection);
            connection.output.set_limit(output_max);
            let bytes = read(connection, &mut batch.arena, &mut used, &mut batch.spares);
            if !matches!(bytes, Bytes::Arena(..)) {
                own_bytes += bytes.slice(&batch.arena).len();
            }
            connection.in_round = true;
            if let Some(handle) = server.workers.get(self.index) {
                handle.stats().reads_processed.add(1);
            }
            batch.sources.push(Source {
                token,
                bytes,
                longest: 0,
                position: 0,
                parsed: 0,
                is_cut: false,
                waits: false,
            });
        }
        self.runnable = rest;
    }

    /// A blocked client may hang up or send more: the first ends its wait, the second is kept.
    fn read_while_blocked(&mut self, server: &Server, token: usize) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        while connection.readable {
            let asked = READ_BYTES;
            let result = connection.stream.read_behind(&mut connection.input, asked);
            connection.note_read(asked, result);
            if limits::input_exceeded(server, connection) {
                connection.hung_up = true;
                break;
            }
        }
        connection.publish_input(server);
        if connection.hung_up {
            self.close(token);
        }
    }

    /// Parses the requests of one source into the batch, running it whenever it is full.
    fn parse_source<'k>(
        &mut self,
        server: &'k Server,
        batch: &mut Batch,
        index: usize,
        held: &mut Held<'k>,
    ) {
        loop {
            let Some(source) = batch.sources.get_mut(index) else {
                return;
            };
            let Some(connection) = connection_of(&mut self.connections, source.token) else {
                return;
            };
            let is_empty = source.bytes.slice(&batch.arena).len() <= source.parsed;
            if is_empty || must_wait(source, connection, batch.reply_bytes) {
                return;
            }
            match parse::until_full(server, batch, (index, connection)) {
                Parsed::All => return,
                Parsed::Full => self.run_batch(server, batch, held),
                Parsed::Handshake => return self.abort_handshake(batch, index),
            }
        }
    }

    /// Closes a connection that begins with a TLS handshake, for which there is another port. It is
    /// logged once a second at most.
    fn abort_handshake(&mut self, batch: &mut Batch, index: usize) {
        const LOG_EVERY_MS: u64 = 1_000;
        let Some(source) = batch.sources.get_mut(index) else {
            return;
        };
        source.position = source.bytes.slice(&batch.arena).len();
        let (token, steady_ms) = (source.token, self.exec.steady_ms);
        let is_due = steady_ms.saturating_sub(self.handshake_logged_ms) > LOG_EVERY_MS;
        if let Some(connection) = self.connection(token) {
            connection.session.close_after_reply = true;
            connection.output.clear();
            if is_due {
                log::info!(
                    "Client {} began a TLS handshake on a port without TLS. Connection aborted.",
                    connection.session.shared.addr
                );
                self.handshake_logged_ms = steady_ms;
            }
        }
        self.want_write(token);
    }

    /// Second and third stage: prefetch the entries, then execute in order.
    fn run_batch<'k>(&mut self, server: &'k Server, batch: &mut Batch, held: &mut Held<'k>) {
        if batch.pending.len() > 1 {
            ahead::look(server, batch, held);
        }
        batch.requests += batch.pending.len();
        let mut queue = std::mem::take(&mut batch.pending);
        for pending in &queue {
            self.run_one(server, batch, pending, held);
        }
        queue.clear();
        batch.pending = queue;
        batch.inline.clear();
        batch.spans.clear();
        // A request with a hundred thousand arguments must not pin the room for them.
        batch.spans.shrink_to(SPANS_KEEP);
    }

    fn run_one<'k>(
        &mut self,
        server: &'k Server,
        batch: &mut Batch,
        pending: &Pending,
        held: &mut Held<'k>,
    ) {
        let may_wait = batch.sources.len() > 1 && !self.exec.is_busy;
        let Some(source) = batch.sources.get_mut(pending.source) else {
            return;
        };
        let token = source.token;
        let Some(connection) = connection_of(&mut self.connections, token) else {
            return;
        };
        if must_wait(source, connection, batch.reply_bytes) {
            return;
        }
        let takes_long = busy::may_run_long(&connection.session, pending.command);
        if takes_long && may_wait {
            (source.waits, source.is_cut) = (true, true);
            connection.parser.reset();
            self.alone.push(token);
            return;
        }
        let waiting = connection.output.len();
        if !connection.queued_write {
            connection.queued_write = true;
            self.writable.push(token);
        }
        let lent = source.lend(pending);
        let args = match pending.args(batch) {
            Ok(args) => args,
            Err(error) => return refuse(server, batch, connection, (pending, error)),
        };
        if pending.command == Resolved::Unknown && is_web_request(args.arg(0)) {
            let logged_ms = &mut self.web_request_logged_ms;
            return abort_web_request(connection, logged_ms, self.exec.steady_ms);
        }
        let request = Request {
            args,
            command: pending.command,
            hash: pending.hash,
        };
        if lent.is_some() {
            connection.session.received = lent;
        }
        self.exec.reply_offset = 0;
        if takes_long {
            let verdict = self.run_script(server, token, &request, held);
            return self.ran(server, batch, pending, (&verdict, waiting));
        }
        let mut execution = Execution {
            exec: &mut self.exec,
            engine: &server.engine,
            session: &mut connection.session,
            out: &mut connection.output,
            right: None,
            turn: None,
        };
        let verdict = execution.request(&request, held);
        self.ran(server, batch, pending, (&verdict, waiting));
    }

    /// Behind a request: `waiting` bytes of output waited before it.
    fn ran(
        &mut self,
        server: &Server,
        batch: &mut Batch,
        pending: &Pending,
        (verdict, waiting): (&Verdict, usize),
    ) {
        let Some(source) = batch.sources.get_mut(pending.source) else {
            return;
        };
        let token = source.token;
        let Some(connection) = connection_of(&mut self.connections, token) else {
            return;
        };
        if let Bytes::Shared(_) = source.bytes {
            connection.session.received = None;
        }
        connection.reply_offset = connection.reply_offset.max(self.exec.reply_offset);
        if connection.session.shared.has_mail() {
            // Messages that the command itself has caused stand right behind its reply.
            connection.collect_outbox();
        }
        if *verdict == Verdict::Postponed {
            connection.set_postponed(&server.engine, true);
            connection.parser.reset();
            self.postponed.push(token);
            return;
        }
        source.position = pending.end;
        batch.reply_bytes += connection.output.len().saturating_sub(waiting);
        if *verdict == Verdict::Blocked {
            self.blocked(token);
        }
        self.after_command(server, token, pending.command);
    }

    fn after_command(&mut self, server: &Server, token: usize, command: Resolved) {
        let steady_ms = self.exec.steady_ms;
        let Some(connection) = connection_of(&mut self.connections, token) else {
            return;
        };
        connection.recent_commands = connection.recent_commands.saturating_add(1);
        connection.last_active_ms = steady_ms;
        publish(connection, command.found(), steady_ms);
        if !connection.was_authenticated && connection.session.is_authenticated() {
            connection.was_authenticated = true;
            server.engine.clients.admit(&connection.session.shared);
        }
        let is_large = limits::counted_output(server, connection) > 0;
        if is_large || connection.output.is_given_up() {
            self.after_large_reply(server, token);
        }
    }

    #[cold]
    fn after_large_reply(&mut self, server: &Server, token: usize) {
        let steady_ms = self.exec.steady_ms;
        let Some(connection) = self.connection(token) else {
            return;
        };
        if limits::output_exceeded(server, connection, steady_ms) {
            connection.session.close_after_reply = true;
            connection.output = Output::new();
            if let Some(handle) = server.workers.get(self.index) {
                handle.stats().output_buffer_disconnections.add(1);
            }
        } else {
            // Before another request takes more memory, or evicts keys for it.
            connection.publish_output(server);
            server.engine.evict_clients(self.index);
        }
    }

    /// Puts a client that has just blocked into the timers.
    fn blocked(&mut self, token: usize) {
        let Some(connection) = self.connection(token) else {
            return;
        };
        connection.waiter = connection.session.new_waiter.take();
        let id = connection.session.shared.id;
        let look_again_ms = connection.session.look_again_ms;
        let deadline_ms = connection
            .session
            .blocked
            .as_ref()
            .and_then(engine::wait::Block::deadline_ms);
        let timers = [deadline_ms, look_again_ms].into_iter().flatten();
        self.deadlines.extend(timers.map(|at| (at, id)));
    }

    /// Keeps the bytes that were not consumed, checks limits and hang-ups, and queues connections
    /// with more to do.
    fn finish_source(&mut self, server: &Server, batch: &mut Batch, source: Source) {
        let token = source.token;
        let Some(connection) = self.connection(token) else {
            return;
        };
        connection.in_round = false;
        let total = source.bytes.slice(&batch.arena).len();
        let is_cut = source.is_cut;
        return_bytes(connection, batch, source);
        connection.publish_input(server);
        let leaves = matches!(connection.session.blocked, Some(Block::Leaves));
        if let Some(handle) = server.workers.get(self.index) {
            handle.stats().net_input_bytes.add(total as u64);
        }
        if leaves {
            return self.leave(token);
        }
        let Some(connection) = self.connection(token) else {
            return;
        };
        if limits::input_exceeded(server, connection) {
            log::warn!(
                "Closing client that reached max query buffer length: {}",
                connection.session.shared.addr
            );
            if let Some(handle) = server.workers.get(self.index) {
                handle.stats().query_buffer_disconnections.add(1);
            }
            self.close(token);
            return;
        }
        if connection.hung_up {
            // A client that shut down its sending side may still read its last replies. They leave
            // as all others do: when the log has them.
            connection.session.close_after_reply = true;
            self.want_write(token);
            return;
        }
        // A blocked client is read from as well, to notice that it hangs up.
        let waits = connection.session.blocked.is_some();
        if is_cut || connection.readable && (waits || !connection.is_stopped()) {
            self.want_run(token);
        }
    }
}

/// True when no further request of a connection may run in this turn. It is parsed again when it
/// may.
fn must_wait(source: &mut Source, connection: &mut Connection, reply_bytes: usize) -> bool {
    let is_cut = reply_bytes > REPLY_BYTES_PER_TURN || source.waits;
    source.is_cut |= is_cut;
    if !is_cut && !connection.is_stopped() {
        return false;
    }
    connection.parser.reset();
    true
}

/// Gives the connection the bytes that were not consumed, and a buffer back that no value keeps.
fn return_bytes(connection: &mut Connection, batch: &mut Batch, source: Source) {
    match source.bytes {
        Bytes::Arena(start, end) => {
            let rest = batch
                .arena
                .get(start + source.position..end)
                .unwrap_or_default();
            keep_rest(connection, &mut batch.spares, rest);
        }
        Bytes::Own(bytes) => {
            if source.position > 0 {
                connection.expected = 0;
            }
            connection.input = bytes;
            batch.spares.keep(connection.trim_input(source.position));
        }
        Bytes::Shared(bytes) => {
            if source.position > 0 {
                let is_big = source.longest > BIG_REQUEST;
                connection.expected = if is_big { source.longest } else { 0 };
            }
            match Arc::try_unwrap(bytes) {
                Ok(bytes) => {
                    connection.input = bytes;
                    batch.spares.keep(connection.trim_input(source.position));
                }
                Err(kept) => {
                    let rest = kept.get(source.position..).unwrap_or_default();
                    keep_rest(connection, &mut batch.spares, rest);
                }
            }
        }
    }
}

/// Keeps the beginning of a request, with room for the next read.
fn keep_rest(connection: &mut Connection, spares: &mut Spares, rest: &[u8]) {
    if rest.is_empty() {
        return;
    }
    let room = match connection.missing > READ_BYTES && connection.readable {
        true => connection.missing.min(READ_BYTES_BIG) + READ_BEHIND,
        false => 0,
    };
    connection.input = spares.take(rest.len() + room);
    connection.input.extend_from_slice(rest);
}

/// Reads once: into the arena when nothing is left over and no big request is expected, else into
/// the connection's own buffer.
fn read(
    connection: &mut Connection,
    arena: &mut [u8],
    used: &mut usize,
    spares: &mut Spares,
) -> Bytes {
    if connection.input.is_empty() && connection.readable && connection.expected > 0 {
        connection.input = spares.take(connection.read_size());
    } else if connection.input.is_empty() {
        let start = *used;
        if !connection.readable {
            return Bytes::Arena(start, start);
        }
        let room = arena.get_mut(start..start + READ_BYTES).unwrap_or_default();
        let asked = room.len();
        let result = connection.stream.read(room);
        let got = connection.note_read(asked, result);
        *used += got;
        return Bytes::Arena(start, start + got);
    }
    if connection.readable {
        let asked = connection.read_size();
        connection.reserve_input(asked);
        let result = connection.stream.read_behind(&mut connection.input, asked);
        connection.note_read(asked, result);
    }
    Bytes::from(std::mem::take(&mut connection.input))
}

/// A web browser that was talked into sending a request here ends each line as inline requests end:
/// the parts of the request that its author controls would be commands.
fn is_web_request(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Nothing is answered and nothing behind it is executed. It is logged once a minute at most.
fn abort_web_request(connection: &mut Connection, logged_ms: &mut u64, steady_ms: u64) {
    const LOG_EVERY_MS: u64 = 60_000;
    if steady_ms.saturating_sub(*logged_ms) > LOG_EVERY_MS {
        *logged_ms = steady_ms;
        log::warn!(
            "Possible SECURITY ATTACK detected: {} sent POST or Host:, which are parts of web requests, as a command. \
             Somebody may be using a browser to reach this server (cross-protocol scripting). Connection aborted.",
            connection.session.shared.addr
        );
    }
    connection.session.close_after_reply = true;
    connection.output.clear();
}

/// Answers a violation of the protocol with an error and disconnects the client.
#[cold]
fn refuse(
    server: &Server,
    batch: &mut Batch,
    connection: &mut Connection,
    (pending, error): (&Pending, ProtocolError),
) {
    let Some(source) = batch.sources.get_mut(pending.source) else {
        return;
    };
    let bytes = source.bytes.slice(&batch.arena);
    source.position = pending.end;
    let shown = if server.engine.config.bool(P::HideUserDataFromLog) {
        "*redacted*".to_owned()
    } else {
        resp::quoted(bytes.get(..64).unwrap_or(bytes))
    };
    log::debug!(
        "Protocol error ({error}) from client: {}. Query buffer: {shown}",
        connection.session.shared.addr
    );
    let mut line = b"ERR ".to_vec();
    line.extend_from_slice(&error.to_bytes());
    server.engine.errors.record(&line);
    Reply::new(&mut connection.output, connection.session.protocol).error(&line);
    connection.session.close_after_reply = true;
}

/// Publishes the figures of this client for other threads.
fn publish(connection: &Connection, entry: Option<&'static Command>, steady_ms: u64) {
    let session = &connection.session;
    let figures = &session.shared.figures;
    figures.last_active_ms.store(steady_ms, Ordering::Relaxed);
    figures.db.store(session.db, Ordering::Relaxed);
    if let Some(entry) = entry {
        figures.last_command.store(entry.id + 1, Ordering::Relaxed);
    }
    // A command that blocks is counted when its wait ends.
    if connection.waiter.is_none() {
        let commands = figures.commands.load(Ordering::Relaxed);
        figures.commands.store(commands + 1, Ordering::Relaxed);
    }
}

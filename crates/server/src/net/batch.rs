//! Reading and executing: the staged look-ahead.
//!
//! Memory latency is the cost of a request on real data. So requests are not run one by one: up to
//! [`BATCH_REQUESTS`] are parsed, looked up and hashed while the buckets of their keys are
//! prefetched; then their entries are prefetched; then they are executed in order. The batch
//! reaches over the pipeline of one connection and over all connections that are ready.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyspace::{KeyHash, ValueRef};
use resp::{Args, Limits, Output, OwnedArgs, Progress, ProtocolError, Reply, Span};
use smallvec::SmallVec;
use values::hash_seed::{Ahead, hash_of};
use values::stream::AheadOfAppend;

use super::busy;
use super::limits;
use super::spares::{BIG_REQUEST, Spares};
use super::worker::Worker;
use crate::server::Server;
use crate::transport::connection::{Connection, READ_BEHIND, READ_BYTES, READ_BYTES_BIG};
use engine::command::{Flags, Group};
use engine::config::P;
use engine::execute::{Execution, Held, Request, Verdict};
use engine::table::{Command, KeyPlan, Resolved};
use engine::wait::Block;

/// Requests that are looked ahead over. Enough to overlap the memory accesses of a core's line-fill
/// buffers several times over, small enough that the prefetched lines stay in the first-level
/// cache.
const BATCH_REQUESTS: usize = 32;

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

/// Bytes of one connection that are being consumed.
struct Source {
    token: usize,
    bytes: Bytes,
    /// Length of the longest request in a buffer that values may share; 0 without one.
    longest: usize,
    /// Consumed so far.
    position: usize,
    /// Parsed so far; >= position.
    parsed: usize,
    /// Requests of it wait for the next turn.
    is_cut: bool,
    /// It is at a request that has to run without other connections in the round.
    waits: bool,
}

enum Bytes {
    /// A range of the arena: the usual case, the connection had nothing left over.
    Arena(usize, usize),
    /// The connection's own buffer, taken out of it for the round.
    Own(Vec<u8>),
    /// The same, with room for a big request: a value may keep it.
    Shared(Arc<Vec<u8>>),
}

impl Bytes {
    fn slice<'a>(&'a self, arena: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Arena(start, end) => arena.get(*start..*end).unwrap_or_default(),
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(buffer: Vec<u8>) -> Self {
        match buffer.len() > BIG_REQUEST {
            true => Self::Shared(Arc::new(buffer)),
            false => Self::Own(buffer),
        }
    }
}

impl Source {
    /// The buffer of a big request, for values that stay in it.
    fn lend(&mut self, request: &Pending) -> Option<Arc<Vec<u8>>> {
        let Bytes::Shared(buffer) = &self.bytes else {
            return None;
        };
        let len = request.end - request.start;
        self.longest = self.longest.max(len);
        (len > BIG_REQUEST).then(|| buffer.clone())
    }
}

enum What {
    /// A request: spans relative to `start`.
    Spans(usize, usize),
    Inline(OwnedArgs),
    Broken(ProtocolError),
}

/// One request of the batch.
struct Pending {
    source: usize,
    /// Offsets of the request in its source.
    start: usize,
    end: usize,
    what: What,
    command: Resolved,
    hash: Option<KeyHash>,
    db: u32,
    /// Hash of the member that is looked for in a large collection.
    member: Option<u64>,
}

impl Pending {
    /// Where the member stands that a command on one key looks for.
    fn member_place(&self) -> Option<usize> {
        self.hash?;
        self.command.found()?.member
    }

    /// Its arguments; `bytes` are those of its source.
    #[inline]
    fn args<'a>(&'a self, bytes: &'a [u8], spans: &'a [Span]) -> Result<Args<'a>, ProtocolError> {
        match &self.what {
            What::Spans(first, count) => Ok(Args::new(
                bytes.get(self.start..self.end).unwrap_or_default(),
                spans.get(*first..first + count).unwrap_or_default(),
            )),
            What::Inline(args) => Ok(args.as_args()),
            What::Broken(error) => Err(*error),
        }
    }

    fn is_for_collection(&self) -> bool {
        use Group::{Geo, Hash, List, Set, SortedSet, Stream};
        let group = self.command.found().map(|entry| entry.spec.group);
        matches!(group, Some(Geo | Hash | List | Set | SortedSet | Stream))
    }

    /// A command that may append to a stream.
    fn may_append(&self) -> bool {
        self.command.found().is_some_and(|entry| {
            entry.spec.group == Group::Stream && entry.spec.flags.has(Flags::WRITE)
        })
    }
}

/// Buffers that are reused from round to round.
#[derive(Default)]
pub(super) struct Batch {
    arena: Vec<u8>,
    sources: Vec<Source>,
    pending: Vec<Pending>,
    spans: Vec<Span>,
    /// Input buffers between two big requests.
    pub(super) spares: Spares,
    /// Requests of the last round, as an estimate for the next one.
    requests: usize,
    /// Bytes of replies that this turn has written. Above [`REPLY_BYTES_PER_TURN`] the rest of the
    /// requests waits for the next turn.
    reply_bytes: usize,
    /// The last command that was looked up, by its name as the client wrote it: pipelines repeat
    /// it.
    last: Option<(SmallVec<[u8; 16]>, &'static Command)>,
}

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
            let Some(connection) = self.connection(source.token) else {
                return;
            };
            let is_empty = source.bytes.slice(&batch.arena).len() <= source.parsed;
            if is_empty || must_wait(source, connection, batch.reply_bytes) {
                return;
            }
            let input = source.bytes.slice(&batch.arena);
            let input = input.get(source.parsed..).unwrap_or_default();
            if is_client_hello(input) {
                return self.abort_handshake(batch, index);
            }
            let limits = request_limits(server, connection);
            let first_span = batch.spans.len();
            let start = source.parsed;
            let (end, what) = match connection.parser.parse(input, &limits, &mut batch.spans) {
                Ok(Progress::NeedMore { hint }) => {
                    connection.missing = hint;
                    return;
                }
                Ok(Progress::Empty { consumed }) => {
                    source.parsed += consumed;
                    match batch.pending.last_mut() {
                        Some(last) if last.source == index => last.end = source.parsed,
                        _ => source.position = source.parsed,
                    }
                    continue;
                }
                Ok(Progress::Request { consumed, args }) => {
                    (start + consumed, What::Spans(first_span, args))
                }
                Ok(Progress::Inline { consumed, args }) => (start + consumed, What::Inline(args)),
                Err(error) => (start + input.len(), What::Broken(error)),
            };
            connection.missing = 0;
            source.parsed = end;
            let broken = matches!(what, What::Broken(_));
            let mut pending = Pending {
                source: index,
                start,
                end,
                what,
                command: Resolved::Unknown,
                hash: None,
                db: connection.session.db,
                member: None,
            };
            look_up(server, batch, &mut pending, held);
            batch.pending.push(pending);
            // An AUTH changes the limits of the requests behind it.
            let run_now = !connection.session.is_authenticated();
            if run_now || batch.pending.len() >= BATCH_REQUESTS {
                self.run_batch(server, batch, held);
            }
            if broken {
                return;
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
            for pending in &batch.pending {
                match (pending.hash, &held) {
                    (Some(hash), Some(locked)) => locked.prefetch_entry(pending.db, hash),
                    (Some(hash), None) => server.engine.keyspace.prefetch_entry(pending.db, hash),
                    (None, _) => {}
                }
            }
            look_into_collections(server, batch, held);
        }
        batch.requests += batch.pending.len();
        let mut queue = std::mem::take(&mut batch.pending);
        for pending in queue.drain(..) {
            self.run_one(server, batch, pending, held);
        }
        batch.pending = queue;
        batch.spans.clear();
        // A request with a hundred thousand arguments must not pin the room for them.
        batch.spans.shrink_to(SPANS_KEEP);
    }

    fn run_one<'k>(
        &mut self,
        server: &'k Server,
        batch: &mut Batch,
        pending: Pending,
        held: &mut Held<'k>,
    ) {
        let may_wait = batch.sources.len() > 1 && !self.exec.is_busy;
        let Some(source) = batch.sources.get_mut(pending.source) else {
            return;
        };
        let token = source.token;
        let Some(connection) = super::worker::connection_of(&mut self.connections, token) else {
            return;
        };
        if must_wait(source, connection, batch.reply_bytes) {
            return;
        }
        if may_wait && busy::may_run_long(&connection.session, pending.command) {
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
        let lent = source.lend(&pending);
        let bytes = source.bytes.slice(&batch.arena);
        let args = match pending.args(bytes, &batch.spans) {
            Ok(args) => args,
            Err(error) => {
                refuse(server, connection, error, bytes);
                source.position = pending.end;
                return;
            }
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
        let is_lent = lent.is_some();
        if is_lent {
            connection.session.received = lent;
        }
        let verdict = self.execute(server, token, request, held);
        let Some(connection) = super::worker::connection_of(&mut self.connections, token) else {
            return;
        };
        if is_lent {
            connection.session.received = None;
        }
        connection.reply_offset = connection.reply_offset.max(self.exec.reply_offset);
        if connection.session.shared.has_mail() {
            // Messages that the command itself has caused stand right behind its reply.
            connection.collect_outbox();
        }
        if verdict == Verdict::Postponed {
            connection.set_postponed(&server.engine, true);
            connection.parser.reset();
            self.postponed.push(token);
            return;
        }
        source.position = pending.end;
        batch.reply_bytes += connection.output.len().saturating_sub(waiting);
        if verdict == Verdict::Blocked {
            self.blocked(token);
        }
        self.after_command(server, token, request.command);
    }

    fn execute<'k>(
        &mut self,
        server: &'k Server,
        token: usize,
        request: Request<'_>,
        held: &mut Held<'k>,
    ) -> Verdict {
        self.exec.reply_offset = 0;
        let Some(connection) = super::worker::connection_of(&mut self.connections, token) else {
            return Verdict::Done;
        };
        if busy::may_run_long(&connection.session, request.command) {
            return self.run_script(server, token, request, held);
        }
        let mut execution = Execution {
            exec: &mut self.exec,
            engine: &server.engine,
            session: &mut connection.session,
            out: &mut connection.output,
            right: None,
            turn: None,
        };
        execution.request(request, held)
    }

    fn after_command(&mut self, server: &Server, token: usize, command: Resolved) {
        let steady_ms = self.exec.steady_ms;
        let Some(connection) = self.connection(token) else {
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
        if !is_large && !connection.output.is_given_up() {
            return;
        }
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
        let arena = &batch.arena;
        let total = source.bytes.slice(arena).len();
        match source.bytes {
            Bytes::Arena(start, end) => {
                let rest = arena.get(start + source.position..end).unwrap_or_default();
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
        if source.is_cut || connection.readable && (waits || !connection.is_stopped()) {
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

/// First stage: the command, the hash of its key, and its bucket on the way into the cache.
fn look_up(server: &Server, batch: &mut Batch, pending: &mut Pending, held: &Held<'_>) {
    let place = (pending.source, pending.start, pending.end);
    let Some(args) = arguments(
        &batch.sources,
        &batch.arena,
        &batch.spans,
        place,
        &pending.what,
    ) else {
        return;
    };
    pending.command = match &batch.last {
        Some((name, entry)) if name.as_slice() == args.arg(0) => Resolved::Command(entry),
        _ => server.engine.commands.resolve(args),
    };
    if let Some(entry) = pending.command.found()
        && let KeyPlan::One(position) = entry.plan
        && let Some(key) = args.get(position.index)
    {
        let hash = server.engine.keyspace.hash(key);
        match held {
            Some(locked) => locked.prefetch_bucket(pending.db, hash),
            None => server.engine.keyspace.prefetch_bucket(pending.db, hash),
        }
        pending.hash = Some(hash);
        if entry.parent.is_none() && batch.last.as_ref().is_none_or(|(_, last)| *last != entry) {
            // No subcommand: the name alone means this entry.
            batch.last = Some((SmallVec::from_slice(args.arg(0)), entry));
        }
    }
}

/// The arguments of a request (source, first and last byte in it), unless it is broken.
fn arguments<'a>(
    sources: &'a [Source],
    arena: &'a [u8],
    spans: &'a [Span],
    (source, start, end): (usize, usize, usize),
    what: &'a What,
) -> Option<Args<'a>> {
    match what {
        What::Spans(first, count) => {
            let bytes = sources.get(source)?.bytes.slice(arena);
            let spans = spans.get(*first..first + count)?;
            Some(Args::new(bytes.get(start..end)?, spans))
        }
        What::Inline(args) => Some(args.as_args()),
        What::Broken(_) => None,
    }
}

/// Prefetches collections, which lie one pointer further, and the slot of the member in the table
/// of a large one.
fn look_into_collections(server: &Server, batch: &mut Batch, held: &Held<'_>) {
    let (mut large, mut streams) = (false, false);
    for pending in batch.pending.iter().filter(|it| it.is_for_collection()) {
        match (pending.hash, held) {
            (Some(hash), Some(locked)) => locked.prefetch_value(pending.db, hash),
            (Some(hash), None) => server.engine.keyspace.prefetch_value(pending.db, hash),
            (None, _) => {}
        }
        large |= pending.member_place().is_some();
        streams |= pending.may_append();
    }
    if streams {
        look_at_ends_of_streams(server, batch, held);
    }
    if !large {
        return;
    }
    large = false;
    let mut queue = std::mem::take(&mut batch.pending);
    for pending in &mut queue {
        let Some(place) = pending.member_place() else {
            continue;
        };
        let bytes = (pending.source, pending.start, pending.end);
        let args = arguments(
            &batch.sources,
            &batch.arena,
            &batch.spans,
            bytes,
            &pending.what,
        );
        let member = args.and_then(|args| args.get(place));
        let mut found = None;
        glance(server, pending, held, |value| {
            if let (Some(member), true) = (member, pays_to_look_ahead(value)) {
                let hash = *found.get_or_insert_with(|| hash_of(member));
                look_ahead(value, hash, Ahead::Bucket);
            }
        });
        pending.member = found;
        large |= found.is_some();
    }
    batch.pending = queue;
    for pending in batch.pending.iter().filter(|_| large) {
        if let Some(hash) = pending.member {
            glance(server, pending, held, |value| {
                look_ahead(value, hash, Ahead::Elements);
            });
        }
    }
}

/// Prefetches what an entry at the end of a stream needs, three pointers behind its value.
fn look_at_ends_of_streams(server: &Server, batch: &Batch, held: &Held<'_>) {
    for step in AheadOfAppend::ALL {
        for pending in batch.pending.iter().filter(|it| it.may_append()) {
            glance(server, pending, held, |value| {
                if let ValueRef::Stream(stream) = value {
                    stream.look_ahead(step);
                }
            });
        }
    }
}

fn glance(server: &Server, pending: &Pending, held: &Held<'_>, look: impl FnMut(ValueRef<'_>)) {
    match (pending.hash, held) {
        (Some(hash), Some(locked)) => locked.glance(pending.db, hash, look),
        (Some(hash), None) => server.engine.keyspace.glance(pending.db, hash, look),
        (None, _) => {}
    }
}

fn pays_to_look_ahead(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Set(set) => set.pays_to_look_ahead(),
        ValueRef::ZSet(set) => set.pays_to_look_ahead(),
        ValueRef::Hash(hash) => hash.pays_to_look_ahead(),
        _ => false,
    }
}

fn look_ahead(value: ValueRef<'_>, hash: u64, step: Ahead) {
    match value {
        ValueRef::Set(set) => set.look_ahead(hash, step),
        ValueRef::ZSet(set) => set.look_ahead(hash, step),
        ValueRef::Hash(map) => map.look_ahead(hash, step),
        _ => {}
    }
}

fn request_limits(server: &Server, connection: &Connection) -> Limits {
    if !connection.session.is_authenticated() {
        return Limits::UNAUTHENTICATED;
    }
    Limits {
        max_bulk: server.engine.config.int(P::ProtoMaxBulkLen).max(0) as usize,
        ..Limits::default()
    }
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

/// The beginning of the first record of TLS: a handshake, of a version 3.x. No command begins so.
fn is_client_hello(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x16, 0x03])
}

/// Answers a violation of the protocol with an error and disconnects the client.
fn refuse(server: &Server, connection: &mut Connection, error: ProtocolError, bytes: &[u8]) {
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

//! The one way a request goes: look-up, checks, locks, handler, log, key events, unlock.
//!
//! Requests of sockets, of the log at start, of transactions and (served) blocked clients all pass
//! through [`run`] or [`execute`], so there is one place where a rule holds or does not.

mod admission;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use keyspace::{KeyHash, Locked};
use resp::{Args, Output, Protocol, Reply};
use smallvec::SmallVec;

use admission::{Admission, check};

use crate::client::{Origin, Queued, ReplyMode, Session};
use crate::command::{Flags, Locks, Outcome};
use crate::context::{Context, Data, LocatedKey, Random};
use crate::effects::Effects;
use crate::error::CommandError;
use crate::server::Server;
use crate::stats::WorkerStats;
use crate::table::{Entry, KeyPlan, KeyPosition, key_positions};

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reply stands in the output.
    Done,
    /// The client waits; no further request of it is run.
    Blocked,
    /// The request was not run because of CLIENT PAUSE; it must be offered again.
    Postponed,
}

/// What a thread needs to execute commands, reused from one to the next.
pub struct Executor {
    /// Number of the worker; also picks its statistics.
    pub worker: usize,
    /// Effects of the command being executed.
    pub effects: Effects,
    /// Keys that blocked clients may be served from.
    pub ready: Vec<(u32, Vec<u8>)>,
    /// Random numbers.
    pub random: Random,
    /// Unix milliseconds, refreshed per loop turn and after slow commands.
    pub now_ms: u64,
    /// Monotonic nanoseconds at the end of the previous command.
    pub now_ns: u64,
    /// Log offset that must be flushed before the replies written so far may leave.
    pub reply_offset: u64,
    located: Vec<LocatedKey>,
    shards: Vec<usize>,
}

impl Executor {
    /// An executor for one thread.
    pub fn new(server: &Server, worker: usize) -> Self {
        let now_ms = server.now_ms();
        let now_ns = server.clock.monotonic_ns();
        let seed = now_ms.wrapping_mul(0x9E37_79B9) ^ ((worker as u64) << 48) ^ now_ns;
        Self {
            worker,
            effects: Effects::default(),
            ready: Vec::new(),
            random: Random::new(seed),
            now_ms,
            now_ns,
            reply_offset: 0,
            located: Vec::new(),
            shards: Vec::new(),
        }
    }

    /// Reads the clocks again.
    pub fn refresh_clock(&mut self, server: &Server) {
        self.now_ms = server.now_ms();
        self.now_ns = server.clock.monotonic_ns();
    }
}

/// A request that has been looked up.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its arguments.
    pub args: Args<'a>,
    /// The command; `Err` holds the container of an unknown subcommand.
    pub entry: Result<Option<&'static Entry>, &'static Entry>,
    /// Hash of its key, when the command has exactly one and it was computed already.
    pub hash: Option<KeyHash>,
}

impl<'a> Request<'a> {
    /// Looks a request up.
    pub fn new(server: &Server, args: Args<'a>) -> Self {
        Self {
            args,
            entry: server.commands.resolve(args),
            hash: None,
        }
    }
}

/// Locks of all shards that a worker holds over a batch of requests, or none.
///
/// A lock taken and released for each request costs as much as a look-up. While one worker has all the
/// clients nobody else wants the shards, so it keeps them over its batch. Commands on keys use them;
/// everything else gives them back first, because it may lock by itself.
pub type Held<'k> = Option<Locked<'k>>;

/// Runs one request of a client.
pub fn run<'k>(
    exec: &mut Executor,
    server: &'k Server,
    session: &mut Session,
    request: Request<'_>,
    out: &mut Output,
    held: &mut Held<'k>,
) -> Verdict {
    if held.is_some() && !runs_under_held(server, session, request) {
        *held = None;
    }
    let is_silent =
        |session: &Session| matches!(session.reply_mode, ReplyMode::Off | ReplyMode::Skip);
    let was_silent = is_silent(session);
    let mark = out.mark();
    let verdict = match check(exec, server, session, request, held.is_some()) {
        Ok(Admission::Run(entry)) => start(exec, server, session, entry, request, out, held),
        Ok(Admission::Queue(entry)) => {
            queue(session, entry, request.args);
            out.raw(b"+QUEUED\r\n");
            Verdict::Done
        }
        Ok(Admission::Postpone) => return Verdict::Postponed,
        Err(error) => {
            reject(exec, server, session, request, &error, out);
            Verdict::Done
        }
    };
    // CLIENT REPLY ON is the first command that gets a reply again.
    if was_silent && is_silent(session) {
        out.truncate_to(mark);
    }
    session.reply_mode = match session.reply_mode {
        ReplyMode::SkipNext => ReplyMode::Skip,
        ReplyMode::Skip => ReplyMode::On,
        other => other,
    };
    verdict
}

/// Only plain commands on keys: no transaction (a refusal gives up its watched keys, which locks), no
/// eviction (which locks).
fn runs_under_held(server: &Server, session: &Session, request: Request<'_>) -> bool {
    let on_keys = matches!(
        request.entry,
        Ok(Some(entry))
            if matches!(entry.command.locks, Locks::Keys) && entry.plan != KeyPlan::None
    );
    on_keys && session.multi.is_none() && server.switches.max_memory.load(Ordering::Relaxed) == 0
}

fn queue(session: &mut Session, entry: &'static Entry, args: Args<'_>) {
    if let Some(multi) = &mut session.multi
        && !multi.aborted
        && !session.watch_flag.is_dirty()
    {
        multi.bytes += args.byte_len() + args.len() * size_of::<usize>() * 2;
        multi.queue.push(Queued {
            entry,
            args: args.to_owned(),
        });
    }
}

/// A request that was refused before it ran.
fn reject(
    exec: &mut Executor,
    server: &Server,
    session: &mut Session,
    request: Request<'_>,
    error: &CommandError,
    out: &mut Output,
) {
    let entry = request.entry.ok().flatten();
    if let Some(command) = entry.and_then(|entry| stats(server, exec.worker).commands.get(entry.id))
    {
        command.rejected.add(1);
    }
    match (&mut session.multi, entry) {
        // EXEC itself was refused: the transaction is over, and the client must be told so.
        (Some(_), Some(entry)) if entry.is_exec => {
            crate::commands::transactions::discard(server, session);
            let mut line = b"EXECABORT Transaction discarded because of: ".to_vec();
            let text = error.text();
            let text = text.strip_prefix(b"ERR ").unwrap_or(&text);
            line.extend_from_slice(text);
            write_error(
                exec,
                server,
                session.protocol,
                &CommandError::Bytes(line),
                out,
            );
            return;
        }
        (Some(multi), _) => multi.aborted = true,
        _ => {}
    }
    write_error(exec, server, session.protocol, error, out);
}

/// Counts a command as refused.
pub fn count_rejected(exec: &Executor, server: &Server, entry: &Entry) {
    if let Some(command) = stats(server, exec.worker).commands.get(entry.id) {
        command.rejected.add(1);
    }
}

/// Writes an error reply and counts it.
pub fn write_error(
    exec: &Executor,
    server: &Server,
    protocol: Protocol,
    error: &CommandError,
    out: &mut Output,
) {
    let text = error.text();
    server.errors.record(&text);
    stats(server, exec.worker).error_replies.add(1);
    Reply::new(out, protocol).error(text.as_ref());
}

fn stats(server: &Server, worker: usize) -> &WorkerStats {
    // Threads beyond the workers (loading) count with the first one; there is always one.
    let handle = server.workers.get(worker).or(server.workers.first());
    match handle {
        Some(handle) => &handle.stats,
        None => &NO_STATS,
    }
}

static NO_STATS: std::sync::LazyLock<WorkerStats> = std::sync::LazyLock::new(WorkerStats::default);

/// Locks what the command needs, runs it, logs its effects and serves who waited for them.
fn start<'k>(
    exec: &mut Executor,
    server: &'k Server,
    session: &mut Session,
    entry: &'static Entry,
    request: Request<'_>,
    out: &mut Output,
    held: &mut Held<'k>,
) -> Verdict {
    if entry.is_exec && session.multi.is_some() {
        return start_exec(exec, server, session, entry, request, out);
    }
    let began_ns = exec.now_ns;
    let mark = out.mark();
    crate::monitor::feed(exec, server, session, entry, request.args);
    let located = std::mem::take(&mut exec.located);
    let mut located = locate_keys(server, entry, request, located);
    let (verdict, is_accounted) = {
        let mut own;
        let locked = match held {
            Some(locked) => locked,
            None => {
                own = lock_for(exec, server, entry, request.args, &located);
                &mut own
            }
        };
        let verdict = run_locked(
            exec, server, session, entry, request, &located, locked, out, began_ns,
        );
        let feeds = !exec.ready.is_empty();
        if feeds {
            // Who is served takes time of its own.
            finished(
                exec,
                server,
                session,
                entry,
                request.args,
                began_ns,
                out.len_since(&mark),
            );
            crate::blocking::serve(exec, server, locked);
        }
        (verdict, feeds)
    };
    if !exec.ready.is_empty() {
        *held = None;
        crate::blocking::serve_later(exec, server);
    }
    located.clear();
    located.shrink_to(KEYS_KEEP);
    exec.located = located;
    // A command that waits counts when its wait ends.
    if !is_accounted && session.new_waiter.is_none() {
        finished(
            exec,
            server,
            session,
            entry,
            request.args,
            began_ns,
            out.len_since(&mark),
        );
    }
    verdict
}

/// The command is done, now: statistics of its execution.
pub fn finished(
    exec: &mut Executor,
    server: &Server,
    session: &Session,
    entry: &'static Entry,
    args: Args<'_>,
    began_ns: u64,
    reply_bytes: usize,
) {
    exec.now_ns = server.clock.monotonic_ns();
    account(exec, server, session, entry, args, began_ns, reply_bytes);
}

/// Runs a command under its locks and logs what it did.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one execution, borrowed apart"
)]
fn run_locked(
    exec: &mut Executor,
    server: &Server,
    session: &mut Session,
    entry: &'static Entry,
    request: Request<'_>,
    located: &[LocatedKey],
    locked: &mut Locked<'_>,
    out: &mut Output,
    began_ns: u64,
) -> Verdict {
    exec.effects
        .reset(session.origin == Origin::Client && server.is_logging());
    look_ahead(locked, session.db, located);
    let outcome = execute(
        exec,
        server,
        session,
        entry,
        request.args,
        located,
        locked,
        out,
        false,
    );
    let verdict = match outcome {
        Ok(Outcome::Block(block)) => {
            let spent_ns = server.clock.monotonic_ns().saturating_sub(began_ns);
            let args = request.args;
            crate::blocking::block(server, session, entry, args, block, locked, spent_ns);
            Verdict::Blocked
        }
        _ => Verdict::Done,
    };
    let locks = entry.command.locks.of(request.args);
    let touched = match locks {
        Locks::Keys => Touched::Keys(located),
        _ => Touched::All,
    };
    commit(exec, server, session, locked, touched);
    if matches!(locks, Locks::Own) && session.origin == Origin::Client {
        // It has read shards that are unlocked again: whatever it saw is in the log by now.
        exec.reply_offset = exec.reply_offset.max(server.log.appended());
    }
    verdict
}

/// A command on many keys has its own look-ahead: all buckets on their way into the cache, then all
/// entries. (A command on one key was looked ahead of by its batch.)
fn look_ahead(locked: &Locked<'_>, db: u32, located: &[LocatedKey]) {
    if located.len() < 2 {
        return;
    }
    for chunk in located.chunks(LOOK_AHEAD_KEYS) {
        chunk
            .iter()
            .for_each(|key| locked.prefetch_bucket(db, key.hash));
        chunk
            .iter()
            .for_each(|key| locked.prefetch_entry(db, key.hash));
    }
}

/// Keys of ordinary commands that an executor keeps room for: one with a hundred thousand must not pin it.
const KEYS_KEEP: usize = 1024;

/// Keys whose lines are brought in together: three lines each stay within the first-level cache.
const LOOK_AHEAD_KEYS: usize = 64;

/// EXEC runs other commands and so needs the executor itself.
fn start_exec(
    exec: &mut Executor,
    server: &Server,
    session: &mut Session,
    entry: &'static Entry,
    request: Request<'_>,
    out: &mut Output,
) -> Verdict {
    let began_ns = exec.now_ns;
    let mark = out.mark();
    let aborted = session.multi.as_ref().is_some_and(|multi| multi.aborted);
    crate::commands::transactions::exec(exec, server, session, out);
    if aborted && let Some(command) = stats(server, exec.worker).commands.get(entry.id) {
        command.failed.add(1);
    }
    crate::monitor::feed(exec, server, session, entry, request.args);
    let bytes = out.len_since(&mark);
    finished(exec, server, session, entry, request.args, began_ns, bytes);
    Verdict::Done
}

/// Finds and hashes the keys of a request, in order of their position.
fn locate_keys(
    server: &Server,
    entry: &Entry,
    request: Request<'_>,
    mut located: Vec<LocatedKey>,
) -> Vec<LocatedKey> {
    match entry.plan {
        KeyPlan::None => {}
        KeyPlan::One(index) => {
            if let Some(key) = request.args.get(index) {
                let hash = request.hash.unwrap_or_else(|| server.keyspace.hash(key));
                located.push(LocatedKey {
                    position: KeyPosition { index, flags: 0 },
                    hash,
                });
            }
        }
        KeyPlan::Specs => {
            let positions = key_positions(entry.command, request.args);
            located.extend(positions.iter().map(|position| LocatedKey {
                position: *position,
                hash: server.keyspace.hash(request.args.arg(position.index)),
            }));
            located.sort_unstable_by_key(|key| key.position.index);
        }
    }
    located
}

/// Locks what a command needs, and what it takes to serve those who wait for what it feeds.
fn lock_for<'k>(
    exec: &mut Executor,
    server: &'k Server,
    entry: &Entry,
    args: Args<'_>,
    located: &[LocatedKey],
) -> Locked<'k> {
    let locked = lock(exec, server, entry.command.locks.of(args), located);
    if entry.command.flags.has(Flags::WRITE)
        && server.waiting_clients.load(Ordering::Relaxed) > 0
        && !locked.holds_all()
    {
        let keys = located.iter();
        let fed: SmallVec<[_; 4]> = keys
            .map(|key| (key.hash, args.arg(key.position.index)))
            .collect();
        return crate::blocking::widen(server, locked, &fed);
    }
    locked
}

fn lock<'k>(
    exec: &mut Executor,
    server: &'k Server,
    locks: Locks,
    located: &[LocatedKey],
) -> Locked<'k> {
    let keyspace = &server.keyspace;
    match (locks, located) {
        (Locks::All | Locks::ByArguments(_), _) => keyspace.lock_all(),
        (Locks::Own, _) | (Locks::Keys, []) => keyspace.lock_many(&[]),
        (Locks::Keys, [one]) => keyspace.lock_one(keyspace.shard_of(one.hash)),
        (Locks::Keys, many) => {
            exec.shards.clear();
            exec.shards
                .extend(many.iter().map(|key| keyspace.shard_of(key.hash)));
            exec.shards.sort_unstable();
            exec.shards.dedup();
            exec.shards.shrink_to(KEYS_KEEP);
            keyspace.lock_many(&exec.shards)
        }
    }
}

/// Shards that the keys of a request live in.
pub fn shards_of(server: &Server, entry: &Entry, args: Args<'_>, into: &mut Vec<usize>) {
    for position in key_positions(entry.command, args) {
        let hash = server.keyspace.hash(args.arg(position.index));
        into.push(server.keyspace.shard_of(hash));
    }
}

/// Runs the handler under locks that are held already; the error of a failed command stands in the
/// output afterwards.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one execution, borrowed apart"
)]
pub fn execute(
    exec: &mut Executor,
    server: &Server,
    session: &mut Session,
    entry: &'static Entry,
    args: Args<'_>,
    located: &[LocatedKey],
    locked: &mut Locked<'_>,
    out: &mut Output,
    in_transaction: bool,
) -> Result<Outcome, CommandError> {
    let mark = out.mark();
    let dirty_before = exec.effects.dirty();
    exec.effects.next_command();
    let stats = stats(server, exec.worker);
    let db = session.db;
    let touch = !session.no_touch || entry.command.flags.has(Flags::TOUCHES_ALWAYS);
    let protocol = session.protocol;
    let origin = session.origin;
    let mut context = Context {
        args,
        reply: Reply::new(out, protocol),
        data: Data {
            locked,
            effects: &mut exec.effects,
            stats,
            server,
            db,
            now_ms: exec.now_ms,
            touch,
            origin,
            imports: session.import_source,
            reads: entry.command.flags.has(Flags::READONLY),
            ready: &mut exec.ready,
            random: &mut exec.random,
        },
        session,
        server,
        entry,
        located,
        in_transaction,
        worker: exec.worker,
    };
    let handler = entry.command.handler;
    let result = catch_unwind(AssertUnwindSafe(|| handler(&mut context)))
        .unwrap_or_else(|panic| Err(panicked(server, entry, panic.as_ref())));
    if let Err(error) = &result {
        out.truncate_to(mark);
        write_error(exec, server, protocol, error, out);
        if let Some(command) = stats.commands.get(entry.id) {
            command.failed.add(1);
        }
    }
    let changed = exec.effects.dirty() > dirty_before;
    if changed && entry.command.flags.has(Flags::WRITE) && !exec.effects.is_replaced() {
        exec.effects.push_args(db, args);
    }
    // The usual case is made anew rather than moved: the result is as large as its largest variant.
    if matches!(result, Ok(Outcome::Done)) {
        return Ok(Outcome::Done);
    }
    result
}

/// A handler panicked: a defect. The client gets an error, the log gets the story, and nothing that
/// the handler may have left half-changed goes unsaid.
#[cold]
fn panicked(server: &Server, entry: &Entry, panic: &(dyn std::any::Any + Send)) -> CommandError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    log::error!(
        "The handler of '{}' panicked: {text}\n{}",
        entry.full_name,
        std::backtrace::Backtrace::force_capture()
    );
    if entry.command.flags.has(Flags::WRITE) {
        server.switches.half_changed.store(true, Ordering::Release);
    }
    CommandError::owned(format!(
        "ERR internal error in '{}', see the log of the server",
        entry.full_name
    ))
}

/// Which of the locked shards a command read or changed.
#[derive(Clone, Copy)]
pub enum Touched<'a> {
    /// Those of its keys; others may be locked as well.
    Keys(&'a [LocatedKey]),
    /// All that are locked.
    All,
}

/// Appends the effects to the log while the locks are held, and remembers what the replies depend on.
pub fn commit(
    exec: &mut Executor,
    server: &Server,
    session: &mut Session,
    locked: &mut Locked<'_>,
    touched: Touched<'_>,
) {
    let dirty = exec.effects.dirty();
    if dirty > 0 {
        stats(server, exec.worker).changes.add(dirty);
    }
    if session.origin == Origin::Replay {
        return;
    }
    if let Some(offset) = append_effects(exec, server, locked, touched) {
        session.last_write_offset = offset;
        exec.reply_offset = exec.reply_offset.max(offset);
    } else if server.log.is_enabled() {
        // A read must not show what a crash could still take back.
        let seen = match touched {
            Touched::All => locked.shards().map(|shard| shard.last_log_offset).max(),
            Touched::Keys(keys) => keys
                .iter()
                .filter_map(|key| locked.shard(key.hash))
                .map(|shard| shard.last_log_offset)
                .max(),
        };
        exec.reply_offset = exec.reply_offset.max(seen.unwrap_or(0));
    }
}

/// Changes data on behalf of the server itself (expiry, eviction) under locks that are held already, and
/// logs it.
pub fn internal(
    exec: &mut Executor,
    server: &Server,
    locked: &mut Locked<'_>,
    db: u32,
    change: impl FnOnce(&mut Data<'_, '_>),
) {
    exec.effects.reset(server.is_logging());
    let mut data = Data {
        locked,
        effects: &mut exec.effects,
        stats: stats(server, exec.worker),
        server,
        db,
        now_ms: exec.now_ms,
        touch: false,
        origin: Origin::Client,
        imports: false,
        reads: false,
        ready: &mut exec.ready,
        random: &mut exec.random,
    };
    change(&mut data);
    append_effects(exec, server, locked, Touched::All);
}

/// Appends the effects to the log; `None` when there were none.
fn append_effects(
    exec: &mut Executor,
    server: &Server,
    locked: &mut Locked<'_>,
    touched: Touched<'_>,
) -> Option<u64> {
    let (db, bytes) = exec.effects.take()?;
    let offset = server.log.append(db, bytes, exec.now_ms);
    match touched {
        Touched::All => locked
            .shards_mut()
            .for_each(|shard| shard.last_log_offset = offset),
        Touched::Keys(keys) => {
            for key in keys {
                if let Some(shard) = locked.shard_mut(key.hash) {
                    shard.last_log_offset = offset;
                }
            }
        }
    }
    Some(offset)
}

/// Statistics of one execution.
pub fn account(
    exec: &mut Executor,
    server: &Server,
    session: &Session,
    entry: &'static Entry,
    args: Args<'_>,
    began_ns: u64,
    reply_bytes: usize,
) {
    let nanos = exec.now_ns.saturating_sub(began_ns);
    let worker = stats(server, exec.worker);
    worker.commands_processed.add(1);
    worker.command_nanos.add(nanos);
    if let Some(command) = worker.commands.get(entry.id) {
        command.record(
            nanos,
            server.switches.latency_tracking.load(Ordering::Relaxed),
        );
    }
    if session.origin == Origin::Client {
        server
            .commandlog
            .record(exec.now_ms, session, entry, args, nanos, reply_bytes);
        if nanos >= 1_000_000 {
            slow(exec, server, entry, nanos);
        }
    }
}

#[cold]
fn slow(exec: &mut Executor, server: &Server, entry: &Entry, nanos: u64) {
    exec.now_ms = server.now_ms();
    let event = if entry.command.flags.has(Flags::FAST) {
        "fast-command"
    } else {
        "command"
    };
    server.latency.record(event, exec.now_ms, nanos / 1_000_000);
}

/// `ERR unknown command ...` with the beginning of the arguments, bounded as Redis bounds it.
pub fn unknown_command(args: Args<'_>) -> Vec<u8> {
    const SHOWN_MAX: usize = 128;
    let name = args.arg(0);
    let mut line = b"ERR unknown command '".to_vec();
    line.extend_from_slice(name.get(..SHOWN_MAX).unwrap_or(name));
    line.extend_from_slice(b"', with args beginning with: ");
    let mut shown = 0;
    for arg in args.skip(1).iter() {
        if shown >= SHOWN_MAX {
            break;
        }
        let part = arg.get(..SHOWN_MAX - shown).unwrap_or(arg);
        line.push(b'\'');
        line.extend_from_slice(part);
        line.extend_from_slice(b"' ");
        shown += part.len() + 3;
    }
    line
}

/// `ERR unknown subcommand ...`.
pub fn unknown_subcommand(container: &str, name: &[u8]) -> Vec<u8> {
    let mut line = b"ERR unknown subcommand '".to_vec();
    line.extend_from_slice(name.get(..128).unwrap_or(name));
    line.extend_from_slice(b"'. Try ");
    line.extend_from_slice(container.to_ascii_uppercase().as_bytes());
    line.extend_from_slice(b" HELP.");
    line
}

//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! EXEC locks the shards of everything it will run and of everything that was watched, so a
//! transaction is one step for everybody else, and a watched key cannot change between the check and
//! the first command.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use keyspace::Locked;
use resp::{Output, Protocol, Reply};
use smallvec::SmallVec;

use crate::blocking;
use crate::client::{Multi, Session, WatchedKey};
use crate::command::{
    Arg, Command, CommandResult, Flags, Group, KeyFlags, KeySpec, Locks, Outcome,
};
use crate::context::{Context, LocatedKey};
use crate::dispatch::{self, Executor};
use crate::error::CommandError;
use crate::server::Server;
use crate::table::{KeyPlan, key_positions};
use crate::watch::ShardTables;

/// The commands of this group.
pub const COMMANDS: &[&Command] = &[&DISCARD, &EXEC, &MULTI, &UNWATCH, &WATCH];

/// `MULTI`
pub const MULTI: Command = Command::new("multi", 1, multi)
    .group(Group::Transactions)
    .since("1.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::NO_MULTI))
    .flags(Flags::ALLOW_BUSY.or(Flags::ANY_TIME))
    .flags(Flags::RUNS_IN_MULTI)
    .summary("Begins a transaction: the commands that follow are queued.")
    .complexity("O(1)");
fn multi(ctx: &mut Context) -> CommandResult {
    ctx.session.multi = Some(Box::default());
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `EXEC`
pub const EXEC: Command = Command::new("exec", 1, exec_without_multi)
    .group(Group::Transactions)
    .since("1.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::SKIP_COMMANDLOG))
    .flags(Flags::ANY_TIME.or(Flags::RUNS_IN_MULTI).or(Flags::IS_EXEC))
    .summary("Runs all queued commands as one step.")
    .complexity("The sum of the queued commands")
    .locks(Locks::Own);
// Dispatch hands EXEC to `exec` below, which needs the executor itself; a context reaches this only
// outside of MULTI.
fn exec_without_multi(_: &mut Context) -> CommandResult {
    Err(CommandError::line("ERR EXEC without MULTI"))
}

/// `DISCARD`
pub const DISCARD: Command = Command::new("discard", 1, discard_command)
    .group(Group::Transactions)
    .since("2.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::ALLOW_BUSY))
    .flags(Flags::ANY_TIME.or(Flags::RUNS_IN_MULTI))
    .summary("Gives the queued commands up and forgets the watched keys.")
    .complexity("O(N) with N queued commands");
fn discard_command(ctx: &mut Context) -> CommandResult {
    if ctx.session.multi.is_none() {
        return Err(CommandError::line("ERR DISCARD without MULTI"));
    }
    discard(ctx.server, ctx.session);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `WATCH key [key ...]`
pub const WATCH: Command = Command::new("watch", -2, watch)
    .group(Group::Transactions)
    .since("2.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::NO_MULTI))
    .flags(Flags::ALLOW_BUSY.or(Flags::ANY_TIME))
    .flags(Flags::RUNS_IN_MULTI)
    .summary("Makes the next EXEC depend on these keys not being changed.")
    .complexity("O(1) for every key")
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
    .args(&[Arg::KEYS]);
fn watch(ctx: &mut Context) -> CommandResult {
    if !ctx.session.watch_flag.is_dirty() {
        for index in 1..ctx.args.len() {
            watch_key(ctx, index);
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn watch_key(ctx: &mut Context, index: usize) {
    let key = ctx.key(index);
    let db = ctx.session.db;
    let known = ctx
        .session
        .watched
        .iter()
        .any(|other| other.db == db && other.key == key.bytes);
    if known {
        return;
    }
    if ctx.session.watched.is_empty() {
        ctx.server.watching_clients.fetch_add(1, Ordering::Relaxed);
    }
    let lived = ctx.data.exists(key);
    let flag = Arc::clone(&ctx.session.watch_flag);
    if let Some(tables) = ctx.data.tables(key) {
        tables.watched.add(db, key.bytes, &flag);
    }
    ctx.session.watched.push(WatchedKey {
        db,
        key: key.bytes.to_vec(),
        lived,
    });
}

/// `UNWATCH`
pub const UNWATCH: Command = Command::new("unwatch", 1, unwatch_command)
    .group(Group::Transactions)
    .since("2.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::ALLOW_BUSY))
    .flags(Flags::ANY_TIME)
    .summary("Forgets the watched keys.")
    .complexity("O(1)");
fn unwatch_command(ctx: &mut Context) -> CommandResult {
    // Inside EXEC the watched keys have been forgotten already.
    unwatch(ctx.server, ctx.session);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Gives a transaction up.
pub fn discard(server: &Server, session: &mut Session) {
    session.multi = None;
    unwatch(server, session);
}

/// The client disconnects.
pub fn forget(server: &Server, session: &mut Session) {
    discard(server, session);
}

/// Forgets all watched keys, one shard at a time. Must not be called under shard locks.
pub fn unwatch(server: &Server, session: &mut Session) {
    if !session.watched.is_empty() {
        server.watching_clients.fetch_sub(1, Ordering::Relaxed);
    }
    for watched in std::mem::take(&mut session.watched) {
        let hash = server.keyspace.hash(&watched.key);
        let mut locked = server.keyspace.lock_one(server.keyspace.shard_of(hash));
        unwatch_one(&mut locked, session, &watched, hash);
    }
    session.watch_flag.clear();
}

fn unwatch_one(
    locked: &mut Locked<'_>,
    session: &Session,
    watched: &WatchedKey,
    hash: keyspace::KeyHash,
) {
    if let Some(tables) = locked
        .shard_mut(hash)
        .and_then(|shard| shard.attachment_mut::<ShardTables>())
    {
        tables
            .watched
            .remove(watched.db, &watched.key, &session.watch_flag);
    }
}

/// Runs EXEC for a client that is in a MULTI block.
pub fn exec(exec: &mut Executor, server: &Server, session: &mut Session, out: &mut Output) {
    let Some(multi) = session.multi.take() else {
        return;
    };
    if multi.aborted {
        discard(server, session);
        let line =
            CommandError::line("EXECABORT Transaction discarded because of previous errors.");
        dispatch::write_error(exec, server, session.protocol, &line, out);
        return;
    }
    let mut locked = lock_for(server, session, &multi);
    if session.watch_flag.is_dirty() || watched_key_expired(exec, server, session, &locked) {
        forget_watched(server, session, &mut locked);
        Reply::new(out, session.protocol).null_array();
        return;
    }
    forget_watched(server, session, &mut locked);
    exec.effects
        .reset(session.origin == crate::client::Origin::Client && server.is_logging());
    Reply::new(out, Protocol::Resp2).array(multi.queue.len());
    // Time stands still, however long it takes.
    let now_ms = exec.now_ms;
    for queued in &multi.queue {
        exec.now_ms = now_ms;
        run_queued(exec, server, session, queued, &mut locked, out);
    }
    dispatch::commit(exec, server, session, &mut locked, dispatch::Touched::All);
    if !exec.ready.is_empty() {
        exec.now_ms = server.now_ms();
        blocking::serve(exec, server, &mut locked);
    }
    drop(locked);
    if !exec.ready.is_empty() {
        blocking::serve_later(exec, server);
    }
}

fn run_queued(
    exec: &mut Executor,
    server: &Server,
    session: &mut Session,
    queued: &crate::client::Queued,
    locked: &mut Locked<'_>,
    out: &mut Output,
) {
    let args = queued.args.as_args();
    let began_ns = exec.now_ns;
    let mark = out.mark();
    crate::monitor::feed(exec, server, session, queued.entry, args);
    let located: SmallVec<[LocatedKey; 4]> = key_positions(queued.entry.command, args)
        .iter()
        .map(|position| LocatedKey {
            position: *position,
            hash: server.keyspace.hash(args.arg(position.index)),
        })
        .collect();
    // Handlers answer at once inside a transaction, so a block cannot come back from here.
    let _ = dispatch::execute(
        exec,
        server,
        session,
        queued.entry,
        args,
        &located,
        locked,
        out,
        true,
    );
    exec.now_ns = server.clock.monotonic_ns();
    let bytes = out.len_since(&mark);
    dispatch::account(exec, server, session, queued.entry, args, began_ns, bytes);
}

/// Locks everything the transaction will touch.
fn lock_for<'k>(server: &'k Server, session: &Session, multi: &Multi) -> Locked<'k> {
    let mut shards = Vec::new();
    for queued in &multi.queue {
        match queued.entry.command.locks.of(queued.args.as_args()) {
            Locks::All | Locks::Own | Locks::ByArguments(_) => return server.keyspace.lock_all(),
            Locks::Keys if queued.entry.plan == KeyPlan::None => {}
            Locks::Keys => {
                dispatch::shards_of(server, queued.entry, queued.args.as_args(), &mut shards);
            }
        }
    }
    for watched in &session.watched {
        shards.push(server.keyspace.shard_of(server.keyspace.hash(&watched.key)));
    }
    shards.sort_unstable();
    shards.dedup();
    let locked = server.keyspace.lock_many(&shards);
    if server.waiting_clients.load(Ordering::Relaxed) == 0 {
        return locked;
    }
    let writes = multi
        .queue
        .iter()
        .filter(|queued| queued.entry.command.flags.has(Flags::WRITE));
    let fed: Vec<_> = writes
        .flat_map(|queued| {
            let args = queued.args.as_args();
            let positions = key_positions(queued.entry.command, args);
            let keys = positions.into_iter();
            keys.map(move |position| args.arg(position.index))
        })
        .map(|key| (server.keyspace.hash(key), key))
        .collect();
    blocking::widen(server, locked, &fed)
}

/// A watched key that lived at WATCH and whose time is over by now counts as changed.
fn watched_key_expired(
    exec: &Executor,
    server: &Server,
    session: &Session,
    locked: &Locked<'_>,
) -> bool {
    session.watched.iter().any(|watched| {
        let hash = server.keyspace.hash(&watched.key);
        watched.lived
            && locked
                .shard(hash)
                .and_then(|shard| shard.find(watched.db, hash, &watched.key))
                .and_then(|entry| entry.deadline())
                .is_some_and(|deadline| deadline <= exec.now_ms)
    })
}

fn forget_watched(server: &Server, session: &mut Session, locked: &mut Locked<'_>) {
    if !session.watched.is_empty() {
        server.watching_clients.fetch_sub(1, Ordering::Relaxed);
    }
    for watched in std::mem::take(&mut session.watched) {
        let hash = server.keyspace.hash(&watched.key);
        unwatch_one(locked, session, &watched, hash);
    }
    session.watch_flag.clear();
}

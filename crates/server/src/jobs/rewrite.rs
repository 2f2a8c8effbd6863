//! New bases for the log: BGREWRITEAOF, automatic rewriting, switching the log on, and mending one
//! that has lost records.
//!
//! A thread of its own takes all locks for the instant in which the snapshot begins and the log
//! goes over to a fresh increment; what it writes then is the data of that instant. The log itself
//! puts the new base in force (`persist::BaseJob`).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use persist::rdb::{SaveOptions, Version};
use persist::{BaseForm, BaseJob};

use crate::jobs::snapshot::{self, Form, Output, SnapshotError, Walk, begin_file};
use crate::os::os_text;
use crate::server::Server;
use crate::state::{Job, Purpose};
use crate::transport::mailbox::Message;
use engine::config::P;
use engine::error::CommandError;
use engine::shard_tables::Locked;
use resp::request::write as write_command;

/// So many failures in a row are tried again at once; after them the tries become rare.
const FAILURES_MAX: u64 = 3;
/// How long a cancelled rewrite may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest wait between two tries, in minutes. It starts at one and doubles.
const WAIT_MAX_MIN: u64 = 60;

/// BGREWRITEAOF. Returns what it answers.
///
/// # Errors
/// One is under way, or the system has no thread to spare.
pub(crate) fn request(server: &Server, in_transaction: bool) -> Result<&'static str, CommandError> {
    let state = &server.rewrites;
    if server.snapshots.purpose() == Some(Purpose::Rewrite) {
        return Err(CommandError::line(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    let job = match in_transaction {
        true => None,
        false => server
            .snapshots
            .claim(Purpose::Rewrite, server.engine.now_ms()),
    };
    let Some(job) = job else {
        state.scheduled.store(true, Ordering::Relaxed);
        // Somebody asks for it: earlier failures do not hold it up.
        state.failures.store(0, Ordering::Relaxed);
        log::info!("Background append only file rewriting scheduled.");
        return Ok("Background append only file rewriting scheduled");
    };
    match launch(server, job, server.engine.log.is_enabled()) {
        Ok(_) => Ok("Background append only file rewriting started"),
        Err(_) => Err(CommandError::line(
            "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
        )),
    }
}

/// The timers' part: rewrites that are scheduled, that the size of the log asks for, or that have
/// to mend it.
pub(crate) fn tick(server: &Server, now_ms: u64) {
    expire_history(server, now_ms);
    let is_over = server.shutdown.is_requested() || server.engine.is_half_changed();
    if is_over || server.engine.loading.is_active() || server.snapshots.is_busy() {
        return;
    }
    let state = &server.rewrites;
    let enable = server.engine.config.bool(P::AppendOnly);
    let is_scheduled = state.scheduled.load(Ordering::Relaxed);
    if !is_scheduled && !has_grown(server) || is_limited(server, now_ms / 1000) {
        return;
    }
    let Some(job) = server.snapshots.claim(Purpose::Rewrite, now_ms) else {
        return;
    };
    state.scheduled.store(false, Ordering::Relaxed);
    // The reason of a failure has been logged.
    let _ = launch(server, job, enable);
}

/// Superseded files that have been kept long enough go, at most once a minute.
fn expire_history(server: &Server, now_ms: u64) {
    let minute = now_ms / 60_000;
    let state = &server.rewrites;
    if server.engine.config.int(P::AofHistorySeconds) == 0
        || state.expired_min.swap(minute, Ordering::Relaxed) == minute
    {
        return;
    }
    if let Some(server) = server.me.upgrade() {
        let job = Arc::clone(&server);
        server
            .engine
            .lazy
            .run(move || job.engine.log.expire_history());
    }
}

/// Whether the log has grown enough since its base was written.
fn has_grown(server: &Server) -> bool {
    let config = &server.engine.config;
    let percentage = config.int(P::AutoAofRewritePercentage).max(0) as u64;
    if percentage == 0 || !server.engine.log.is_enabled() {
        return false;
    }
    let status = server.engine.log.status();
    let least = config.int(P::AutoAofRewriteMinSize).max(0) as u64;
    if status.waits_for_base || status.current_size <= least {
        return false;
    }
    let size = u128::from(status.current_size) * 100 / u128::from(status.base_size.max(1));
    let growth = size.saturating_sub(100);
    let has_grown = growth >= u128::from(percentage);
    if has_grown && server.rewrites.wait_until_s.load(Ordering::Relaxed) == 0 {
        log::info!("Starting automatic rewriting of AOF on {growth}% growth");
    }
    has_grown
}

/// Whether so many rewrites have failed that the next one has to wait.
fn is_limited(server: &Server, now_s: u64) -> bool {
    let state = &server.rewrites;
    if state.failures.load(Ordering::Relaxed) < FAILURES_MAX {
        state.wait_min.store(0, Ordering::Relaxed);
        state.wait_until_s.store(0, Ordering::Relaxed);
        return false;
    }
    let until_s = state.wait_until_s.load(Ordering::Relaxed);
    if until_s != 0 {
        let waits = now_s < until_s;
        if !waits {
            state.wait_until_s.store(0, Ordering::Relaxed);
        }
        return waits;
    }
    let last_min = state.wait_min.load(Ordering::Relaxed);
    let minutes = (last_min * 2).clamp(1, WAIT_MAX_MIN);
    state.wait_min.store(minutes, Ordering::Relaxed);
    state
        .wait_until_s
        .store(now_s + minutes * 60, Ordering::Relaxed);
    log::warn!(
        "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
    );
    true
}

/// A log that has lost records (the disk was away for longer than memory could bridge) can only be
/// mended by a base with the data as it is.
pub(crate) fn mend(server: &Server) {
    let trouble = server.engine.log.trouble();
    if !trouble.is_some_and(|trouble| trouble.needs_base) || server.shutdown.is_requested() {
        return;
    }
    if let Some(job) = server
        .snapshots
        .claim(Purpose::Rewrite, server.engine.now_ms())
        && let Err(reason) = launch(server, job, true)
    {
        log::debug!("The log waits for a new base: {reason}");
    }
}

/// CONFIG SET appendonly. Called without locks. A log that is switched on keeps what is appended
/// from now on, and is of use when the base is written, which goes on in the background.
///
/// # Errors
/// The reason, which has been logged.
pub(crate) fn switch(server: &Server, on: bool) -> Result<(), String> {
    let state = &server.rewrites;
    if !on {
        state.scheduled.store(false, Ordering::Relaxed);
        if !server.engine.log.is_enabled() {
            return Ok(());
        }
        if cancel(server) {
            // There is no child, but this is the line by which the end of a rewrite is known.
            let pid = server.identity.pid;
            log::info!("Killing running AOF rewrite child: {pid}");
        }
        let _locked = server.engine.keyspace.lock_all();
        server.engine.log.disable();
        // Who waits for the log to be durable waits in vain now.
        server.broadcast(|| Message::Synced);
        return Ok(());
    }
    if server.engine.log.is_enabled() {
        return Ok(());
    }
    let Some(job) = server
        .snapshots
        .claim(Purpose::Rewrite, server.engine.now_ms())
    else {
        state.scheduled.store(true, Ordering::Relaxed);
        if cancel(server) {
            log::info!(
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and starting a rewrite now."
            );
        } else {
            log::info!(
                "AOF was enabled but there is already another background operation. An AOF background was scheduled to start when possible."
            );
        }
        return Ok(());
    };
    let begun = launch(server, job, true)?;
    begun
        .recv()
        .unwrap_or_else(|_| Err("the rewrite ended before it began".to_owned()))
        .inspect_err(|_| {
            log::warn!(
                "The server needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the above logs for more info about the error."
            );
        })
}

/// Ends a rewrite that is under way and waits for its end. False when it does not end. Called
/// without locks.
pub(crate) fn stop(server: &Server) -> bool {
    !cancel(server) || server.snapshots.wait_for_end(PATIENCE)
}

/// Ends a rewrite that is under way. Whether there was one.
fn cancel(server: &Server) -> bool {
    match server.snapshots.current() {
        Some(job) if job.purpose == Purpose::Rewrite => {
            job.cancel();
            true
        }
        _ => false,
    }
}

/// What a new base is to be, as it was asked for.
#[derive(Clone, Copy)]
struct RewriteRequest {
    /// Switch the log on when it is off.
    enable: bool,
    /// `aof-use-rdb-preamble`.
    rdb: bool,
}

impl RewriteRequest {
    fn new(server: &Server, enable: bool) -> Self {
        let rdb = server.engine.config.bool(P::AofUseRdbPreamble);
        Self { enable, rdb }
    }
}

/// Starts the thread. What is received is how the beginning went.
fn launch(
    server: &Server,
    job: Arc<Job>,
    enable: bool,
) -> Result<Receiver<Result<(), String>>, String> {
    let server = server.me.upgrade().ok_or("the server is shutting down")?;
    let (sender, receiver) = sync_channel(1);
    let request = RewriteRequest::new(&server, enable);
    let failures = Arc::clone(&server);
    let thread = std::thread::Builder::new()
        .name("rewrite".to_owned())
        .spawn(move || {
            crate::os::lower_thread_priority();
            // An error has been logged.
            let _ = run(&server, job, request, Some(sender));
            keyspace::memory::publish();
        });
    thread.map(|_| receiver).map_err(|error| {
        failures.rewrites.failures.fetch_add(1, Ordering::Relaxed);
        let reason = os_text(&error);
        log::warn!("Can't rewrite append only file in background: {reason}");
        reason
    })
}

/// Writes a new base before it returns, and switches the log on when it is off. Called without
/// locks.
///
/// # Errors
/// The reason, which has been logged.
pub(crate) fn new_base(server: &Server) -> Result<(), String> {
    let server = server.me.upgrade().ok_or("the server is shutting down")?;
    let job = server
        .snapshots
        .claim(Purpose::Rewrite, server.engine.now_ms())
        .ok_or("another snapshot is under way")?;
    run(&server, job, RewriteRequest::new(&server, true), None)
}

fn run(
    server: &Arc<Server>,
    job: Arc<Job>,
    request: RewriteRequest,
    begun: Option<SyncSender<Result<(), String>>>,
) -> Result<(), String> {
    let state = &server.rewrites;
    let started = begin(server, &job, request);
    if let Some(begun) = begun {
        let told = started.as_ref().map(|_| ()).map_err(Clone::clone);
        // Nobody may be interested.
        drop(begun.send(told));
    }
    let result = started.and_then(|(base, walk, form)| finish(server, base, walk, form));
    let kept_peak = job.progress.kept_peak.load(Ordering::Relaxed);
    state.last_kept_peak.store(kept_peak, Ordering::Relaxed);
    match &result {
        Ok(()) => {
            state.failures.store(0, Ordering::Relaxed);
            log::info!("Background AOF rewrite finished successfully");
        }
        Err(_) if job.is_cancelled() => {
            log::warn!("Background AOF rewrite terminated: it was cancelled");
        }
        Err(reason) => {
            state.failures.fetch_add(1, Ordering::Relaxed);
            log::warn!("Background AOF rewrite terminated with error: {reason}");
        }
    }
    if result.is_err() && server.engine.log.status().waits_for_base {
        // Only another base can bring the log into force.
        state.scheduled.store(true, Ordering::Relaxed);
    }
    result
}

/// The instant of the snapshot.
fn begin(
    server: &Arc<Server>,
    job: &Arc<Job>,
    request: RewriteRequest,
) -> Result<(BaseJob, Walk, Form), String> {
    let log = &server.engine.log;
    log.prepare_base().map_err(|error| error.to_string())?;
    let begun = begin_prepared(server, job, request);
    if begun.is_err() {
        log.forget_prepared();
    }
    begun
}

fn begin_prepared(
    server: &Arc<Server>,
    job: &Arc<Job>,
    request: RewriteRequest,
) -> Result<(BaseJob, Walk, Form), String> {
    let log = &server.engine.log;
    let mut locked = server.engine.keyspace.lock_all();
    if job.is_cancelled() {
        return Err(SnapshotError::Cancelled.to_string());
    }
    let form = form(server, &locked, request.rdb);
    let base = match form {
        Form::Rdb(_) => log.begin_base(BaseForm::Rdb, request.enable),
        Form::Commands => log.begin_base(BaseForm::Commands, request.enable),
    };
    let base = base.map_err(|error| error.to_string())?;
    let walk = snapshot::begin(server, &mut locked, form, job);
    drop(locked);
    let pid = server.identity.pid;
    log::info!("Background append only file rewriting started by pid {pid}");
    Ok((base, walk, form))
}

/// How the base is written. Commands can say everything but libraries of functions; a strict
/// `rdb-version` cannot say everything that commands can.
fn form(server: &Server, locked: &Locked<'_>, wanted: bool) -> Form {
    let options = snapshot::save_options(server, locked);
    let deadlines = snapshot::has_field_deadlines(locked);
    let has_functions = !server.engine.lock_functions().is_empty();
    let fits = !deadlines || options.version >= Version::V12;
    if has_functions || wanted && fits {
        Form::Rdb(options)
    } else {
        Form::Commands
    }
}

fn finish(server: &Arc<Server>, base: BaseJob, walk: Walk, form: Form) -> Result<(), String> {
    let base = match form {
        Form::Rdb(options) => write_rdb(server, base, walk, options),
        Form::Commands => write_commands(base, walk),
    };
    let base = base.map_err(|error| error.to_string())?;
    log::info!("Background AOF rewrite terminated with success");
    let result = server.engine.log.commit_base(base);
    result.map_err(|error| error.to_string())
}

fn write_rdb(
    server: &Server,
    base: BaseJob,
    walk: Walk,
    options: SaveOptions,
) -> Result<BaseJob, SnapshotError> {
    let offset = Some(base.offset());
    let writer = match begin_file(server, base, options, true, offset, walk.sizes()) {
        Ok(writer) => writer,
        Err(error) => {
            walk.abandon();
            return Err(error.into());
        }
    };
    let (writer, _) = walk.write(writer)?;
    Ok(writer.finish()?)
}

fn write_commands(base: BaseJob, walk: Walk) -> Result<BaseJob, SnapshotError> {
    let (commands, _) = walk.write(Commands { base, db: None })?;
    Ok(commands.base)
}

/// A base of commands.
struct Commands {
    base: BaseJob,
    /// The database that is selected.
    db: Option<u32>,
}

impl Output for Commands {
    fn entries(&mut self, db: u32, encoded: &[u8]) -> io::Result<()> {
        if self.db != Some(db) && !encoded.is_empty() {
            write_command(&mut self.base, &[b"SELECT", db.to_string().as_bytes()])?;
            self.db = Some(db);
        }
        self.base.write_all(encoded)
    }
}

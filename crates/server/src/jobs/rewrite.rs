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

use crate::jobs::snapshot::{self, Form, Head, Output, SnapshotError, Walk, begin_file};
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
/// A log that is promised and not there is tried again after this, doubling with each failure up
/// to the second number, in milliseconds: a disk that recovers is noticed within a minute.
const RETRY_MS: (u64, u64) = (1_000, 60_000);

/// BGREWRITEAOF. Returns what it answers.
///
/// # Errors
/// One is under way, or the system has no thread to spare.
pub(crate) fn request(server: &Server, in_transaction: bool) -> Result<&'static str, CommandError> {
    let state = &server.rewrites;
    if server.engine.is_half_changed() {
        return Err(CommandError::line(
            "MISCONF A defect interrupted a change, see the log of the server; the AOF stays as it is",
        ));
    }
    if server.snapshots.purpose() == Some(Purpose::Rewrite) {
        return Err(CommandError::line(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    let job = match in_transaction {
        true => None,
        false => server
            .snapshots
            .claim(Purpose::Rewrite, server.engine.steady_ms()),
    };
    let Some(job) = job else {
        state.scheduled.store(true, Ordering::Relaxed);
        // BGREWRITEAOF does not wait for the delay after failures.
        state.failures.store(0, Ordering::Relaxed);
        state.retry_at_ms.store(0, Ordering::Relaxed);
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

/// The timers' part: rewrites that are scheduled, that the size of the log asks for, or that bring
/// a log into being that `appendonly` promises.
pub(crate) fn tick(server: &Server, steady_ms: u64) {
    expire_history(server, server.engine.now_ms());
    if is_over(server) || server.snapshots.is_busy() {
        return;
    }
    let state = &server.rewrites;
    let is_due = match is_missing(server) {
        true => steady_ms >= state.retry_at_ms.load(Ordering::Relaxed),
        false => {
            let is_scheduled = state.scheduled.load(Ordering::Relaxed);
            (is_scheduled || has_grown(server)) && !is_limited(server, steady_ms / 1000)
        }
    };
    if is_due {
        claim_and_launch(server, server.engine.config.bool(P::AppendOnly));
    }
}

/// Starts a rewrite unless another job runs. The timers try again after a failure, which is
/// logged.
fn claim_and_launch(server: &Server, enable: bool) {
    let now_ms = server.engine.steady_ms();
    if let Some(job) = server.snapshots.claim(Purpose::Rewrite, now_ms)
        // DEBUG LOADAOF sets this and then looks for a job.
        && !server.rewrites.is_reloading.load(Ordering::SeqCst)
        && let Err(reason) = launch(server, job, enable)
    {
        log::debug!("The append only file waits for a new base: {reason}");
    }
}

/// No rewrite begins by itself.
fn is_over(server: &Server) -> bool {
    server.shutdown.is_requested()
        || server.engine.is_half_changed()
        || server.engine.loading.is_active()
        || server.rewrites.is_reloading.load(Ordering::SeqCst)
}

/// True when `appendonly` promises a log, and there is none, or one that is of no use before its
/// first base is written.
pub(crate) fn is_missing(server: &Server) -> bool {
    let log = &server.engine.log;
    server.engine.config.bool(P::AppendOnly)
        && !server.engine.loading.is_active()
        // The files have what was there before the synchronization that failed.
        && !server.replication.lacks_data.load(Ordering::Acquire)
        && (!log.is_enabled() || log.status().waits_for_base)
}

/// True when a rewrite begins as soon as it can, for INFO.
pub(crate) fn is_scheduled(server: &Server) -> bool {
    server.rewrites.scheduled.load(Ordering::Relaxed)
        || (is_missing(server) && server.snapshots.purpose() != Some(Purpose::Rewrite))
}

/// A rewrite has failed: counts it, and sets the time of the next try.
fn note_failure(server: &Server) {
    let state = &server.rewrites;
    let failures = state.failures.fetch_add(1, Ordering::Relaxed);
    let (first_ms, most_ms) = RETRY_MS;
    let doubled = first_ms.checked_shl(u32::try_from(failures).unwrap_or(u32::MAX));
    let wait_ms = doubled.unwrap_or(most_ms).clamp(first_ms, most_ms);
    let at_ms = server.engine.steady_ms() + wait_ms;
    state.retry_at_ms.store(at_ms, Ordering::Relaxed);
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
fn is_limited(server: &Server, steady_s: u64) -> bool {
    let state = &server.rewrites;
    if state.failures.load(Ordering::Relaxed) < FAILURES_MAX {
        state.wait_min.store(0, Ordering::Relaxed);
        state.wait_until_s.store(0, Ordering::Relaxed);
        return false;
    }
    let until_s = state.wait_until_s.load(Ordering::Relaxed);
    if until_s != 0 {
        let waits = steady_s < until_s;
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
        .store(steady_s + minutes * 60, Ordering::Relaxed);
    log::warn!(
        "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
    );
    true
}

/// A log that has lost records (the disk was away for longer than memory could bridge) can only be
/// mended by a base with the data as it is.
pub(crate) fn mend(server: &Server) {
    let trouble = server.engine.log.trouble();
    let retry_at_ms = server.rewrites.retry_at_ms.load(Ordering::Relaxed);
    if trouble.is_some_and(|trouble| trouble.needs_base)
        && !is_over(server)
        && server.engine.steady_ms() >= retry_at_ms
    {
        claim_and_launch(server, true);
    }
}

/// CONFIG SET appendonly. Called without shard locks and with `Config::lock_changes` held. A log
/// that is switched on keeps what is appended from now on, and is of use when the base is written,
/// which goes on in the background. While another job runs the timers do it ([`is_missing`]).
///
/// # Errors
/// The reason, which has been logged.
pub(crate) fn switch(server: &Server, on: bool) -> Result<(), String> {
    match on {
        true => switch_on(server),
        false => {
            switch_off(server);
            Ok(())
        }
    }
}

fn switch_off(server: &Server) {
    server.rewrites.scheduled.store(false, Ordering::Relaxed);
    if server.engine.log.is_enabled() && cancel(server) {
        // There is no child, but this is the line by which the end of a rewrite is known.
        let pid = server.identity.pid;
        log::info!("Killing running AOF rewrite child: {pid}");
    }
    // A rewrite that is about to switch the log on looks at `appendonly` under these locks.
    let _locked = server.engine.keyspace.lock_all();
    if server.engine.log.is_enabled() {
        server.engine.log.disable();
        // WAITAOF has nothing to wait for any more.
        server.broadcast(|| Message::Synced);
    }
}

fn switch_on(server: &Server) -> Result<(), String> {
    if server.engine.log.is_enabled() {
        return Ok(());
    }
    server.rewrites.retry_at_ms.store(0, Ordering::Relaxed);
    let Some(job) = server
        .snapshots
        .claim(Purpose::Rewrite, server.engine.steady_ms())
    else {
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

/// No rewrite runs or begins while this lives: loading changes the data, or has the directory of
/// the log.
pub(crate) struct WithoutRewrites<'a>(&'a Server);

impl<'a> WithoutRewrites<'a> {
    /// Called without locks held.
    ///
    /// # Errors
    /// A rewrite does not end.
    pub(crate) fn new(server: &'a Server) -> Result<Self, CommandError> {
        server.rewrites.is_reloading.store(true, Ordering::SeqCst);
        let this = Self(server);
        if stop(server) {
            return Ok(this);
        }
        Err(CommandError::line(
            "ERR Error trying to load the data, check server logs: a rewrite does not end",
        ))
    }
}

impl Drop for WithoutRewrites<'_> {
    fn drop(&mut self) {
        let is_reloading = &self.0.rewrites.is_reloading;
        is_reloading.store(false, Ordering::SeqCst);
    }
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
        failures.engine.log.note_failed_rewrite();
        note_failure(&failures);
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
        .claim(Purpose::Rewrite, server.engine.steady_ms())
        .ok_or("another snapshot is under way")?;
    run(&server, job, RewriteRequest::new(&server, true), None)
}

/// Writes a new base with the data as it is under these locks, which are those of all shards. Does
/// nothing without a log.
///
/// # Errors
/// The reason. The log refuses writes until a base is written, which the timers try.
pub(crate) fn new_base_locked(server: &Server, locked: &Locked<'_>) -> Result<(), String> {
    if !server.engine.log.is_enabled() {
        return Ok(());
    }
    write_locked(server, locked).inspect_err(|reason| {
        log::warn!("Rewriting the append only file failed: {reason}");
        server.engine.log.require_base();
    })
}

fn write_locked(server: &Server, locked: &Locked<'_>) -> Result<(), String> {
    let log = &server.engine.log;
    let form = form(
        server,
        locked,
        server.engine.config.bool(P::AofUseRdbPreamble),
    );
    let kind = match form {
        Form::Rdb(_) => BaseForm::Rdb,
        Form::Commands => BaseForm::Commands,
    };
    let base = log
        .begin_base(kind, true)
        .map_err(|error| error.to_string())?;
    let sizes = snapshot::sizes(server, locked);
    let written = match form {
        Form::Rdb(options) => {
            let head = base_head(base.offset());
            let writer = begin_file(server, base, options, head, &sizes);
            writer.map_err(SnapshotError::from).and_then(|mut writer| {
                snapshot::write_entries(server, locked, form, &sizes, &mut writer)?;
                Ok(writer.finish()?)
            })
        }
        Form::Commands => {
            let mut commands = Commands { base, db: None };
            snapshot::write_entries(server, locked, form, &sizes, &mut commands)
                .map(|()| commands.base)
        }
    };
    let base = written.map_err(|error| error.to_string())?;
    log.commit_base(base).map_err(|error| error.to_string())
}

/// The head of a base that stands for this offset of the log.
fn base_head(offset: u64) -> Head {
    Head {
        aof_base: true,
        log_offset: Some(offset),
        ..Head::default()
    }
}

fn run(
    server: &Arc<Server>,
    job: Arc<Job>,
    request: RewriteRequest,
    begun: Option<SyncSender<Result<(), String>>>,
) -> Result<(), String> {
    let state = &server.rewrites;
    let started = begin(server, &job, request);
    if started.is_ok() {
        state.scheduled.store(false, Ordering::Relaxed);
    }
    if let Some(begun) = begun {
        let begin = started.as_ref().map(|_| ()).map_err(Clone::clone);
        // The timers start rewrites without waiting for this.
        drop(begun.send(begin));
    }
    let result = started.and_then(|(base, walk, form)| finish(server, base, walk, form));
    let kept_peak = job.progress.kept_peak.load(Ordering::Relaxed);
    state.last_kept_peak.store(kept_peak, Ordering::Relaxed);
    match &result {
        Ok(()) => {
            state.failures.store(0, Ordering::Relaxed);
            state.retry_at_ms.store(0, Ordering::Relaxed);
            log::info!("Background AOF rewrite terminated with success");
            log::info!("Background AOF rewrite finished successfully");
        }
        Err(_) if job.is_cancelled() => {
            log::warn!("Background AOF rewrite terminated: it was cancelled");
        }
        Err(reason) => {
            note_failure(server);
            log::warn!("Background AOF rewrite terminated with error: {reason}");
        }
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
    log.prepare_base().map_err(|error| {
        log.note_failed_rewrite();
        error.to_string()
    })?;
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
    let is_revoked = request.enable && !server.engine.config.bool(P::AppendOnly);
    if job.is_cancelled() || is_revoked {
        job.cancel();
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
    let has_functions = server.engine.scripts.libraries().iter().len() > 0;
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
    let result = server.engine.log.commit_base(base);
    result.map_err(|error| error.to_string())
}

fn write_rdb(
    server: &Server,
    base: BaseJob,
    walk: Walk,
    options: SaveOptions,
) -> Result<BaseJob, SnapshotError> {
    let head = base_head(base.offset());
    let writer = match begin_file(server, base, options, head, walk.sizes()) {
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

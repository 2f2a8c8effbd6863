//! Starting and stopping a server, its timers, and parameters that take effect at run time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::thread::JoinHandle;

use keyspace::{Options, SHARDS_MAX, SHARDS_MIN};
use persist::{Disk, FsyncPolicy, Log, LogOptions};

use crate::entropy::{random_id, random_u64};
use crate::net::balance::Balance;
use crate::net::listener::Listener;
use crate::net::mailbox::Message;
use crate::net::worker::Worker;
use crate::process::{self, PidFile, Supervisor};
use crate::server::{Identity, Server, WorkerHandle};
use engine::config::{AppendFsync, Config, P, shutdown};
use engine::engine::{Engine, Parts};
use engine::error::CommandError;
use engine::execute::{Executor, panic_text};
use engine::port::Port;
use engine::shard_tables::Keyspace;
use engine::table::CommandTable;

/// Shards per worker: enough that two workers seldom meet on a lock.
const SHARDS_PER_WORKER: usize = 16;

/// More workers than this are a mistake of the configuration.
const WORKERS_MAX: usize = 128;

/// Why a server did not start; the text has been logged where Redis would log it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No thread, poll or socket was to be had.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A listening address is taken or not ours.
    #[error("Failed listening on port {port} (tcp), aborting: {text}")]
    Listen {
        /// The port.
        port: i64,
        /// The system's reason.
        text: String,
    },
    /// The log could not be loaded.
    #[error("{0}")]
    Load(#[from] persist::LoadError),
    /// The snapshot could not be loaded; the log of the server says why.
    #[error("Fatal error loading the DB, check server logs. Exiting.")]
    Snapshot,
    /// What was loaded could not be put into place.
    #[error("{0}")]
    Data(String),
    /// A parameter that only the server can judge.
    #[error("{0}")]
    Config(String),
}

/// A running server.
pub struct Instance {
    server: Arc<Server>,
    workers: Vec<JoinHandle<io::Result<()>>>,
    pid_file: Option<PidFile>,
    supervisor: Supervisor,
}

impl Instance {
    /// Starts a server: listens, starts the threads, loads the data. Returns when it accepts commands.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let supervisor = Supervisor::detect(config.choice(P::Supervised));
        return_memory(&config);
        let server = build(config)?;
        let listeners = listen(&server.engine.config)?;
        *server.lock_listeners() = listeners;
        if let Err(reason) = process::apply_oom_score(&server.engine.config) {
            // The server works without it.
            log::warn!("{reason}");
        }
        crate::logging::banner(&server.engine.config, env!("CARGO_PKG_VERSION"));
        log::info!("Server initialized");
        let pid_file = write_pid_file(&server);
        crate::snapshot::remove_interrupted(&server);
        watch_log(&server);
        // Before anybody can be served.
        server.engine.loading.begin(server.engine.now_ms());
        let workers = spawn(&server)?;
        let mut instance = Self {
            server,
            workers,
            pid_file,
            supervisor,
        };
        let server = &instance.server;
        if let Err(error) = crate::loading::load_all(server, &log_options(&server.engine.config)) {
            if server.shutdown.is_requested() {
                return Ok(instance);
            }
            instance.stop(1);
            instance.join();
            return Err(error);
        }
        instance.server.engine.log.start()?;
        announce(&instance.server);
        process::update_title(&instance.server.engine.config);
        supervisor.ready();
        Ok(instance)
    }

    /// What the threads share.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Asks the server to stop.
    pub fn stop(&self, exit_code: i32) {
        self.server.shutdown.request(exit_code);
        self.server.broadcast(|| Message::Stop);
    }

    /// Waits until the server has stopped and its log is closed. Returns the exit code.
    pub fn wait(mut self) -> i32 {
        self.join();
        self.supervisor.stopping();
        crate::snapshot::finish_stopped(&self.server);
        let mut exit_code = self.server.shutdown.exit_code();
        if self.server.engine.log.is_enabled() {
            log::info!("Calling fsync() on the AOF file.");
        }
        if let Err(error) = self.server.engine.log.close() {
            log::error!("Closing the append only file: {error}");
            exit_code = exit_code.max(1);
        }
        self.server.lock_listeners().clear();
        if let Some(pid_file) = self.pid_file.take() {
            log::info!("Removing the pid file.");
            drop(pid_file);
        }
        log::warn!("Lodestore is now ready to exit, bye bye...");
        exit_code
    }

    fn join(&mut self) {
        for worker in self.workers.drain(..) {
            match worker.join() {
                Ok(Ok(())) => {}
                // The worker has said why.
                Ok(Err(_)) => {}
                Err(_) => log::error!("A worker panicked while it ended"),
            }
        }
    }
}

fn build(config: Config) -> Result<Arc<Server>, StartError> {
    let workers = worker_count(&config);
    let identity = identity(&config);
    let engine = Arc::new(Engine::new(Parts {
        commands: command_table(&config)?,
        keyspace: Keyspace::new(keyspace_options(&config, workers)),
        log: Log::new(Arc::new(Disk), log_options(&config)),
        workers,
        seed: random_u64(),
        config,
    }));
    let now_s = engine.now_ms() / 1000;
    let server = Arc::new_cyclic(|me| Server {
        listeners: Mutex::default(),
        workers: (0..workers)
            .map(|number| WorkerHandle::new(&engine, number))
            .collect(),
        active_workers: AtomicUsize::new(1),
        snapshots: Default::default(),
        rewrites: Default::default(),
        backups: Default::default(),
        migrations: Default::default(),
        metrics: Default::default(),
        replication_id: Default::default(),
        shutdown: Default::default(),
        identity,
        last_save_s: AtomicU64::new(now_s),
        me: me.clone(),
        engine,
    });
    let port: Weak<dyn Port> = server.me.clone();
    server.engine.port.attach(port);
    server.metrics.note_startup_memory();
    Ok(server)
}

fn command_table(config: &Config) -> Result<CommandTable, StartError> {
    let renames: Vec<(String, String)> = config
        .renames()
        .iter()
        .map(|rename| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(&rename.from), text(&rename.to))
        })
        .collect();
    CommandTable::new(crate::commands::GROUPS, &renames).map_err(|reason| {
        let last = config.renames().last();
        StartError::Config(last.map_or(reason.clone(), |rename| {
            rename.location.error(reason.as_str()).to_string()
        }))
    })
}

fn worker_count(config: &Config) -> usize {
    let asked = config.size(P::Threads);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if asked == 0 { cores } else { asked }.clamp(1, WORKERS_MAX)
}

fn keyspace_options(config: &Config, workers: usize) -> Options {
    Options {
        shards: (workers * SHARDS_PER_WORKER)
            .next_power_of_two()
            .clamp(SHARDS_MIN, SHARDS_MAX),
        databases: u32::try_from(config.int(P::Databases)).unwrap_or(16),
        hash_seed: hash_seed(config),
    }
}

/// The secret of the key hash: from `hash-seed` when it is set (so that order is repeatable), else from
/// the operating system.
fn hash_seed(config: &Config) -> [u64; 2] {
    let text = config.bytes(P::HashSeed);
    if text.is_empty() {
        return [random_u64(), random_u64()];
    }
    [
        xxhash_rust::xxh3::xxh3_64_with_seed(&text, 1),
        xxhash_rust::xxh3::xxh3_64_with_seed(&text, 2),
    ]
}

fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        dir: config.dir(),
        appenddirname: config.text(P::AppendDirName),
        appendfilename: config.text(P::AppendFileName),
        fsync: fsync_policy(config),
        timestamps: config.bool(P::AofTimestampEnabled),
        rdb_base: config.bool(P::AofUseRdbPreamble),
        load_truncated: config.bool(P::AofLoadTruncated),
        incremental_fsync: config.bool(P::AofRewriteIncrementalFsync),
        auto_gc: !config.bool(P::AofDisableAutoGc),
        history_seconds: config.int(P::AofHistorySeconds).max(0) as u64,
        max_bulk: config.size(P::ProtoMaxBulkLen),
        ..LogOptions::default()
    }
}

fn fsync_policy(config: &Config) -> FsyncPolicy {
    match config.choice(P::AppendFsync) {
        AppendFsync::Always => FsyncPolicy::Always,
        AppendFsync::EverySecond => FsyncPolicy::EverySecond,
        AppendFsync::No => FsyncPolicy::No,
    }
}

fn identity(config: &Config) -> Identity {
    Identity {
        run_id: random_id(),
        started_ms: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |time| time.as_millis() as u64),
        executable: std::env::current_exe()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        config_file: config
            .file()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        pid: std::process::id(),
    }
}

/// Opens all listening sockets of the configuration. An address that `bind` marks with `-` may be
/// missing.
pub fn listen(config: &Config) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    let backlog = i32::try_from(config.int(P::TcpBacklog)).unwrap_or(511);
    let port = config.int(P::Port);
    if let Ok(port16) = u16::try_from(port)
        && port16 != 0
    {
        let addresses = config.bind_addresses();
        for address in &addresses {
            let (optional, host) = match address.strip_prefix('-') {
                Some(host) => (true, host),
                None => (false, address.as_str()),
            };
            match Listener::bind(host, port16, backlog) {
                Ok(listener) => listeners.push(listener),
                Err(error) if optional && is_unavailable(&error) => {}
                Err(error) => {
                    let text = process::os_text(&error);
                    log::warn!(
                        "Warning: Could not create server TCP listening socket {host}:{port}: bind: {text}"
                    );
                    return Err(StartError::Listen { port, text });
                }
            }
        }
        if listeners.is_empty() && !addresses.is_empty() {
            let text = "no address could be bound".to_owned();
            return Err(StartError::Listen { port, text });
        }
    }
    if let Some(path) = config.path(P::UnixSocket) {
        let mode = u32::try_from(config.int(P::UnixSocketPerm)).unwrap_or(0);
        listeners.push(Listener::unix(&path, mode, backlog)?);
        process::set_socket_owner(&path, mode, &config.text(P::UnixSocketGroup))
            .map_err(StartError::Config)?;
    }
    if listeners.is_empty() {
        log::warn!("Configured to not listen anywhere, exiting.");
        return Err(StartError::Config("no address to listen on".to_owned()));
    }
    Ok(listeners)
}

/// Errors that make an optional address merely absent, as in Redis.
fn is_unavailable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOPROTOOPT
                | libc::EPROTONOSUPPORT
                | libc::ESOCKTNOSUPPORT
                | libc::EPFNOSUPPORT
                | libc::EAFNOSUPPORT
                | libc::EADDRNOTAVAIL
        )
    )
}

fn write_pid_file(server: &Server) -> Option<PidFile> {
    let path: Option<PathBuf> = server.engine.config.path(P::PidFile);
    match path {
        Some(path) => PidFile::write(&path),
        None if server.engine.config.bool(P::Daemonize) => {
            PidFile::write(std::path::Path::new("/var/run/lodestore.pid"))
        }
        None => None,
    }
}

/// Workers hear of each sync, because replies and WAITAOF wait for it.
fn watch_log(server: &Arc<Server>) {
    let weak = Arc::downgrade(server);
    server.engine.log.on_synced(Box::new(move |_| {
        if let Some(server) = weak.upgrade() {
            server.broadcast(|| Message::Synced);
        }
    }));
}

fn spawn(server: &Arc<Server>) -> io::Result<Vec<JoinHandle<io::Result<()>>>> {
    let background = Arc::downgrade(&server.engine);
    std::thread::Builder::new()
        .name("background".to_owned())
        .spawn(move || engine::lazy_free::work(&background))?;
    // All are made before the first one runs: a worker may be sent mail from then on, and mail without a
    // waker would lie there. A failure here is a failure to start.
    let workers = (0..server.workers.len())
        .map(|index| Worker::new(Arc::clone(server), index))
        .collect::<io::Result<Vec<_>>>()?;
    let mut threads = Vec::new();
    for (index, mut worker) in workers.into_iter().enumerate() {
        let server = Arc::clone(server);
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || run_worker(&server, &mut worker))?;
        threads.push(thread);
    }
    Ok(threads)
}

/// Runs a worker. Its clients cannot be served without it, and the first one accepts connections and has the
/// timers: when a worker ends by a panic or an error of its poll, the process ends in order, with exit code 1.
fn run_worker(server: &Server, worker: &mut Worker) -> io::Result<()> {
    let result = catch_unwind(AssertUnwindSafe(|| worker.run()));
    let reason = match &result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => process::os_text(error),
        Err(panic) => format!("a panic: {}", panic_text(panic.as_ref())),
    };
    log::error!("A worker thread ended ({reason}). The log is flushed, and the process ends.");
    server.shutdown.request(1);
    server.broadcast(|| Message::Stop);
    result.unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
}

fn announce(server: &Server) {
    for listener in server.lock_listeners().iter() {
        log::info!("Ready to accept connections {}", listener.kind());
    }
}

/// Raises the limit of open files for `maxclients` clients, or lowers `maxclients` to what the system
/// allows.
pub fn limit_clients(config: &Config) -> Result<(), String> {
    let asked = config.int(P::Maxclients).max(1) as u64;
    let possible = process::raise_open_files(asked)?;
    if possible < asked {
        config.adjust(P::Maxclients, i64::try_from(possible).unwrap_or(i64::MAX));
    }
    Ok(())
}

// ---- timers ------------------------------------------------------------------------------------

/// Set by SIGINT and SIGTERM, taken by the timers.
static SIGNALS: LazyLock<[Arc<AtomicBool>; 2]> = LazyLock::new(Default::default);

/// True once a shutdown is under way: another SIGINT then ends the process at once, as in Redis.
static STOPPING: LazyLock<Arc<AtomicBool>> = LazyLock::new(Default::default);

/// Makes SIGINT and SIGTERM end the process in order.
pub fn handle_signals() -> io::Result<()> {
    signal_hook::flag::register_conditional_shutdown(libc::SIGINT, 1, Arc::clone(&STOPPING))?;
    for (flag, signal) in SIGNALS.iter().zip([libc::SIGINT, libc::SIGTERM]) {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// The timers of the first worker.
#[derive(Default)]
pub struct Cron {
    is_first: bool,
    next_ms: u64,
    next_mend_ms: u64,
    expire_from: usize,
    balance: Balance,
}

/// Time between two looks at whether the log needs a new base, in milliseconds: a disk that failed does not
/// recover any faster.
const MEND_INTERVAL_MS: u64 = 2_000;

impl Cron {
    /// Timers that do something only on the first worker.
    pub fn new(is_first: bool) -> Self {
        Self {
            is_first,
            ..Self::default()
        }
    }

    /// Called once per loop turn.
    pub fn tick(&mut self, server: &Server, exec: &mut Executor) {
        if !self.is_first || server.engine.switches.pause_cron.load(Ordering::Relaxed) {
            return;
        }
        let now_ms = exec.now_ms;
        if now_ms >= server.engine.next_expiry_ms.load(Ordering::Acquire) {
            let next = engine::expire::run(exec, &server.engine, &mut self.expire_from);
            server
                .engine
                .next_expiry_ms
                .fetch_min(next, Ordering::AcqRel);
        }
        if now_ms < self.next_ms {
            return;
        }
        self.next_ms = now_ms + 100;
        let began_ns = server.engine.clock.monotonic_ns();
        server.engine.lru.refresh(now_ms);
        crate::info::metrics::sample(server);
        self.balance.tick(server, now_ms, exec.now_ns);
        check_signals(server);
        crate::snapshot::tick(server, now_ms);
        crate::rewrite::tick(server, now_ms);
        server.migrations.close_idle();
        if now_ms >= self.next_mend_ms {
            self.next_mend_ms = now_ms + MEND_INTERVAL_MS;
            crate::rewrite::mend(server);
        }
        if let Some(worker) = server.workers.first() {
            let nanos = server.engine.clock.monotonic_ns().saturating_sub(began_ns);
            worker.stats().cron_nanos.add(nanos);
        }
    }
}

/// SHUTDOWN ABORT: forgets signals that the timers have not acted on yet. False when there were none.
pub fn abort_shutdown() -> bool {
    let mut aborted = false;
    for flag in SIGNALS.iter() {
        aborted |= flag.swap(false, Ordering::AcqRel);
    }
    if aborted {
        log::warn!("Shutdown manually aborted.");
    }
    aborted
}

/// Another SIGINT has come while the timers act on an earlier signal.
pub fn is_interrupted() -> bool {
    SIGNALS[0].load(Ordering::Acquire)
}

fn check_signals(server: &Server) {
    for (slot, name, parameter) in [
        (0_usize, "SIGINT", P::ShutdownOnSigint),
        (1, "SIGTERM", P::ShutdownOnSigterm),
    ] {
        let got = SIGNALS
            .get(slot)
            .is_some_and(|flag| flag.swap(false, Ordering::AcqRel));
        if !got || server.shutdown.is_requested() {
            continue;
        }
        log::warn!("Received {name} scheduling shutdown...");
        let bits = server.engine.config.int(parameter);
        let options = ShutdownOptions {
            save: bits & shutdown::SAVE != 0,
            nosave: bits & shutdown::NOSAVE != 0,
            now: bits & shutdown::NOW != 0,
            force: bits & shutdown::FORCE != 0,
            safe: bits & shutdown::SAFE != 0,
            failover: bits & shutdown::FAILOVER != 0,
        };
        if request_shutdown(server, options).is_err() {
            log::warn!(
                "Errors trying to shut down the server. Check the logs for more information."
            );
        }
    }
}

// ---- shutdown ----------------------------------------------------------------------------------

/// Options of SHUTDOWN.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShutdownOptions {
    /// SAVE: a snapshot even without save points.
    pub save: bool,
    /// NOSAVE.
    pub nosave: bool,
    /// NOW: do not wait for replicas.
    pub now: bool,
    /// FORCE: errors do not matter.
    pub force: bool,
    /// SAFE: only when nothing is lost by it.
    pub safe: bool,
    /// FAILOVER: hand over to a replica first.
    pub failover: bool,
}

/// Begins the end of the process: the log is written, with save points the snapshot too, replies leave, clients
/// are closed. Called without locks held.
///
/// # Errors
/// Something could not be written, and the server goes on.
pub fn request_shutdown(server: &Server, options: ShutdownOptions) -> Result<(), CommandError> {
    log::warn!("User requested shutdown...");
    if server.engine.loading.is_active() {
        log::warn!("Received shutdown signal during loading, exiting now.");
        return finish_shutdown(server);
    }
    if !crate::snapshot::stop_running(server, options.force) {
        return Err(shutdown_error());
    }
    if let Err(error) = server.engine.log.flush()
        && !options.force
    {
        log::warn!("Error trying to write the append only file, can't exit: {error}");
        return Err(shutdown_error());
    }
    let has_points = !server.engine.config.save_points().is_empty();
    if options.save || (has_points && !options.nosave) {
        let saved = crate::snapshot::save_before_stop(server);
        if saved.is_err() && !options.force {
            log::warn!("Error trying to save the DB, can't exit.");
            return Err(shutdown_error());
        }
        if saved.is_err() {
            log::warn!("Error trying to save the DB. Exit anyway.");
        }
    }
    finish_shutdown(server)
}

fn finish_shutdown(server: &Server) -> Result<(), CommandError> {
    STOPPING.store(true, Ordering::Release);
    server.shutdown.request(0);
    server.broadcast(|| Message::Stop);
    Ok(())
}

fn shutdown_error() -> CommandError {
    CommandError::line("ERR Errors trying to SHUTDOWN. Check logs.")
}

// ---- parameters at run time --------------------------------------------------------------------

/// A parameter was set at run time: whatever has to follow from it. The value is in `server.config`.
pub fn apply_parameter(server: &Server, id: P) -> Result<(), String> {
    match id {
        P::AppendOnly => crate::rewrite::switch(server, server.engine.config.bool(P::AppendOnly))?,
        P::AofRewriteIncrementalFsync => {
            let on = server.engine.config.bool(P::AofRewriteIncrementalFsync);
            server.engine.log.set_incremental_fsync(on);
        }
        P::AofDisableAutoGc => {
            let keeps = server.engine.config.bool(P::AofDisableAutoGc);
            server.engine.log.set_auto_gc(!keeps);
        }
        P::AofHistorySeconds => {
            let seconds = server.engine.config.int(P::AofHistorySeconds).max(0) as u64;
            server.engine.log.set_history(seconds);
        }
        P::AppendFsync => server
            .engine
            .log
            .set_policy(fsync_policy(&server.engine.config)),
        P::AofTimestampEnabled => {
            let on = server.engine.config.bool(P::AofTimestampEnabled);
            server.engine.log.set_timestamps(on);
        }
        P::LogLevel | P::LogFormat | P::LogTimestampFormat => {
            crate::logging::update(&server.engine.config);
        }
        P::Maxclients => {
            let asked = server.engine.config.int(P::Maxclients).max(1) as u64;
            if process::raise_open_files(asked)? < asked {
                return Err(format!(
                    "The operating system is not able to handle the specified number of clients, try with {}",
                    process::raise_open_files(asked)?
                ));
            }
        }
        P::Port => {
            rebind(server)
                .map_err(|_| "Unable to listen on this port. Check server logs.".to_owned())?;
            process::update_title(&server.engine.config);
        }
        P::Bind => {
            rebind(server).map_err(|_| "Failed to bind to specified addresses.".to_owned())?;
            process::update_title(&server.engine.config);
        }
        P::ProcTitleTemplate => process::update_title(&server.engine.config),
        P::OomScoreAdj | P::OomScoreAdjValues => process::apply_oom_score(&server.engine.config)?,
        _ => {}
    }
    server.engine.refresh_switches();
    Ok(())
}

/// Freed memory goes back to the system by a thread of the allocator: the workers may be asleep by then.
fn return_memory(config: &Config) {
    if !keyspace::memory::set_background_thread(config.bool(P::JemallocBgThread)) {
        log::debug!("The allocator has no background thread");
    }
}

/// New listening sockets in place of the old ones, which are closed first because the addresses may
/// overlap.
fn rebind(server: &Server) -> Result<(), StartError> {
    let mut listeners = server.lock_listeners();
    listeners.clear();
    *listeners = listen(&server.engine.config)?;
    drop(listeners);
    if let Some(worker) = server.workers.first() {
        worker.mailbox.send(Message::Listen);
    }
    Ok(())
}

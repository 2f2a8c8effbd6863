//! Starting and stopping a server.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use keyspace::{Options, SHARDS_MAX, SHARDS_MIN};
use persist::{Disk, Log};

use crate::config::users;
use crate::http;
use crate::jobs::loading::{self, LoadError};
use crate::net::event_loop::EventLoop;
use crate::net::worker::Timers;
use crate::observe;
use crate::os::{self, PidFile, Supervisor};
use crate::process::cron::Cron;
use crate::process::hints;
use crate::process::listen::{ListenError, listen, start_handshakes};
use crate::process::log_options::log_options;
use crate::process::signals::{is_stop_asked, wake_on_signals};
use crate::server::{Server, WorkerHandle};
use crate::state::{Build, Identity, Seats, random_u64};
use crate::transport::mailbox::Message;
use engine::clock::Clock;
use engine::config::{Config, P};
use engine::engine::{Engine, Parts};
use engine::execute::{Handlers, command_table, panic_text};
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
    /// The listening sockets could not be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A parameter that only the server can check.
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
    /// Starts a server: listens, starts the threads, loads the data. Returns when it accepts
    /// commands. INFO names `program` as what runs.
    pub fn start(config: Config, program: Build) -> Result<Self, StartError> {
        Self::start_with_seats(config, program, 0)
    }

    /// The same, with room for so many threads at a time that run commands by function call.
    pub fn start_with_seats(
        config: Config,
        program: Build,
        seats: usize,
    ) -> Result<Self, StartError> {
        let supervisor = Supervisor::detect(config.choice(P::Supervised));
        return_memory(&config);
        let server = build(config, program, Clock::default(), random_u64(), seats)?;
        observe::logging::attach(&server.engine);
        let reason = |reason| StartError::Config(format!("Failed to configure TLS: {reason}"));
        server
            .tls
            .configure(&server.engine.config)
            .map_err(reason)?;
        observe::audit::open(&server.engine).map_err(StartError::Config)?;
        let listeners = match listen(&server.engine.config) {
            // The program itself is the client.
            Err(ListenError::NoAddress) if seats > 0 => Vec::new(),
            listeners => listeners?,
        };
        *server.lock_listeners() = listeners;
        let http_listeners = http::listen(&server.engine.config).map_err(StartError::Config)?;
        if let Err(reason) = os::apply_oom_score(&server.engine.config) {
            // The server works without it.
            log::warn!("{reason}");
        }
        crate::observe::logging::banner(&server.engine.config, env!("CARGO_PKG_VERSION"));
        log::info!("Server initialized");
        hints::log_hints(&server.engine.config);
        let pid_file = write_pid_file(&server);
        crate::jobs::snapshot::remove_interrupted(&server);
        watch_log(&server);
        // Loading begins before the first client is served.
        server.engine.loading.begin(&server.engine.clock);
        let workers = spawn(&server)?;
        start_handshakes(&server)?;
        // Before the data is loaded: it says how far that is.
        http::start(&server, http_listeners)?;
        wake_on_signals(&server)?;
        let mut instance = Self {
            server,
            workers,
            pid_file,
            supervisor,
        };
        let server = &instance.server;
        if let Err(error) = loading::load_all(server, &log_options(&server.engine.config)) {
            if server.shutdown.is_requested() {
                return Ok(instance);
            }
            instance.stop(1);
            instance.join();
            instance.server.http.stop();
            return Err(error.into());
        }
        instance.server.engine.log.start()?;
        crate::replication::begin(&instance.server);
        instance.server.resume();
        announce(&instance.server);
        os::update_title(&instance.server.engine.config);
        supervisor.ready();
        Ok(instance)
    }

    /// The state that the threads share.
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
        self.server.replication.stop();
        crate::jobs::snapshot::finish_stopped(&self.server);
        let mut exit_code = self.server.shutdown.exit_code();
        if self.server.engine.log.is_enabled() {
            log::info!("Calling fsync() on the AOF file.");
        }
        if let Err(error) = self.server.engine.log.close() {
            log::error!("Closing the append only file: {error}");
            exit_code = exit_code.max(1);
        }
        self.server.handshakes.stop();
        self.server.http.stop();
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
                // The worker has logged the reason.
                Ok(Err(_)) => {}
                Err(_) => log::error!("A worker panicked while it ended"),
            }
        }
    }
}

/// A server without threads and sockets; `seed` is that of the random numbers of commands, `seats`
/// how many threads at a time run commands by function call.
pub(crate) fn build(
    config: Config,
    program: Build,
    clock: Clock,
    seed: u64,
    seats: usize,
) -> Result<Arc<Server>, StartError> {
    let workers = worker_count(&config);
    let identity = Identity::new(&config, program);
    let (commands, handlers) = commands(&config)?;
    let engine = Arc::new(Engine::new(Parts {
        commands,
        keyspace: Keyspace::new(keyspace_options(&config, workers)),
        log: Log::new(Arc::new(Disk), log_options(&config)),
        workers: workers + seats,
        seed,
        clock,
        config,
    }));
    users::take_over(&engine).map_err(StartError::Config)?;
    let now_s = engine.now_ms() / 1000;
    let server = Arc::new_cyclic(|me| Server {
        listeners: Mutex::default(),
        tls: Default::default(),
        handshakes: Default::default(),
        http: Default::default(),
        workers: (0..workers)
            .map(|number| WorkerHandle::new(&engine, number))
            .collect(),
        seats: Seats::new(&engine, handlers, workers, seats),
        active_workers: AtomicUsize::new(1),
        snapshots: Default::default(),
        rewrites: Default::default(),
        backups: Default::default(),
        origin: Default::default(),
        migrations: Default::default(),
        metrics: Default::default(),
        replication: Default::default(),
        shutdown: Default::default(),
        identity,
        huge_page_bytes: AtomicU64::new(0),
        last_save_s: AtomicU64::new(now_s),
        me: me.clone(),
        handlers,
        engine,
    });
    let port: Weak<dyn Port> = server.me.clone();
    server.engine.outboxes.port.attach(port);
    let weak = server.me.clone();
    // A second server on one engine would be a defect; the first stays.
    let _ = server
        .engine
        .on_emptied
        .set(Box::new(move |locked, unlogged| {
            if let Some(server) = weak.upgrade() {
                crate::jobs::snapshot::after_flush_all(&server, locked, unlogged);
            }
        }));
    server.metrics.note_startup_memory();
    Ok(server)
}

fn commands(config: &Config) -> Result<(CommandTable, Handlers), StartError> {
    let renames: Vec<(String, String)> = config
        .renames()
        .iter()
        .map(|rename| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (text(&rename.from), text(&rename.to))
        })
        .collect();
    let made = command_table(&crate::commands::groups(), &renames).map_err(|error| {
        let reason = error.to_string();
        StartError::Config(match config.renames().get(error.index) {
            Some(rename) => rename.location.error(reason).to_string(),
            None => reason,
        })
    })?;
    for name in made.0.absent() {
        log::info!("rename-command: there is no command '{name}' to remove");
    }
    Ok(made)
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

/// The secret of the key hash: from `hash-seed` when it is set (so that order is repeatable, also
/// inside of collections), else from the operating system.
fn hash_seed(config: &Config) -> [u64; 2] {
    let text = config.bytes(P::HashSeed);
    if text.is_empty() {
        return [random_u64(), random_u64()];
    }
    let seed = [
        xxhash_rust::xxh3::xxh3_64_with_seed(&text, 1),
        xxhash_rust::xxh3::xxh3_64_with_seed(&text, 2),
    ];
    values::hash_seed::set_seed(seed);
    seed
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

/// Notifies the workers of each sync, because replies and WAITAOF wait for it.
fn watch_log(server: &Arc<Server>) {
    let weak = Arc::downgrade(server);
    server.engine.log.on_synced(Box::new(move |_| {
        if let Some(server) = weak.upgrade() {
            server.broadcast(|| Message::Synced);
            server.seats.note_sync();
        }
    }));
}

fn spawn(server: &Arc<Server>) -> io::Result<Vec<JoinHandle<io::Result<()>>>> {
    let background = Arc::downgrade(&server.engine.lazy);
    std::thread::Builder::new()
        .name("background".to_owned())
        .spawn(move || engine::lazy_free::work(&background))?;
    // All are made before the first one runs: a worker may be sent mail from then on, and mail
    // without a waker would lie there. A failure here is a failure to start.
    let workers = (0..server.workers.len())
        .map(|index| EventLoop::new(Arc::clone(server), index, timers(index)))
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

/// The timers of the server, for the first worker.
pub(crate) fn timers(worker: usize) -> Option<Timers> {
    let mut cron = Cron::default();
    let timers = Timers {
        tick: Box::new(move |server, exec| cron.tick(server, exec)),
        is_stop_asked,
    };
    (worker == 0).then_some(timers)
}

/// Runs a worker. Its clients cannot be served without it, and the first one accepts connections
/// and has the timers: when a worker ends by a panic or an error of its poll, the process ends in
/// order, with exit code 1.
fn run_worker(server: &Server, worker: &mut EventLoop) -> io::Result<()> {
    let result = catch_unwind(AssertUnwindSafe(|| worker.run()));
    let reason = match &result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => os::os_text(error),
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

/// Raises the limit of open files for `maxclients` clients, or lowers `maxclients` to what the
/// system allows.
pub fn limit_clients(config: &Config) -> Result<(), String> {
    let asked = config.int(P::Maxclients).max(1) as u64;
    let possible = os::raise_open_files(asked)?;
    if possible < asked {
        config.adjust(P::Maxclients, i64::try_from(possible).unwrap_or(i64::MAX));
    }
    Ok(())
}

/// Freed memory goes back to the system by a thread of the allocator: the workers may sleep at that
/// time.
fn return_memory(config: &Config) {
    if !keyspace::memory::set_background_thread(config.bool(P::JemallocBgThread)) {
        log::debug!("The allocator has no background thread");
    }
}

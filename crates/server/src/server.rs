//! What the threads of one server share.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use persist::Log;
use resp::Output;

use crate::client::{ClientRegistry, ClientShared, Posted};
use crate::clock::Clock;
use crate::commandlog::CommandLogs;
use crate::config::Config;
use crate::fault::Faults;
use crate::info::{InstantMetrics, ReplicationId};
use crate::key_changes::KeyListeners;
use crate::latency::LatencyMonitor;
use crate::lazy::Background;
use crate::loading::Loading;
use crate::lru::AccessClock;
use crate::migration::Connections;
use crate::monitor::Monitors;
use crate::net::listener::Listener;
use crate::net::mailbox::{Mailbox, Message};
use crate::pause::Pause;
use crate::rewrite::Rewrites;
use crate::shard_tables::Keyspace;
use crate::snapshot::Snapshots;
use crate::stats::{Totals, WorkerStats};
use crate::table::CommandTable;

/// A worker as the others see it.
pub struct WorkerHandle {
    /// Its inbox.
    pub mailbox: Mailbox,
    /// Its counters.
    pub stats: CachePadded<WorkerStats>,
}

/// Who this process is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// Unix milliseconds of the start.
    pub started_ms: u64,
    /// Path of the executable.
    pub executable: String,
    /// Absolute path of the configuration file; empty without one.
    pub config_file: String,
    /// Process id.
    pub pid: u32,
}

/// Errors by their code, for INFO errorstats. Redis stops counting new codes at 128, because a script
/// that makes up codes would fill the memory.
#[derive(Default)]
pub struct ErrorStats {
    counts: Mutex<std::collections::BTreeMap<String, u64>>,
}

/// Most error codes that are counted apart.
pub const ERROR_CODES_MAX: usize = 128;

impl ErrorStats {
    /// Counts an error line (code first).
    pub fn record(&self, line: &[u8]) {
        let code = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let code = String::from_utf8_lossy(code);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(code.as_ref()) {
            *count += 1;
        } else if counts.len() < ERROR_CODES_MAX {
            counts.insert(code.into_owned(), 1);
        }
    }

    /// A copy of the counts.
    pub fn snapshot(&self) -> Vec<(String, u64)> {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(code, count)| (code.clone(), *count))
            .collect()
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// How far a shutdown has come.
#[derive(Debug, Default)]
pub struct Shutdown {
    requested: AtomicBool,
    exit_code: AtomicI32,
}

impl Shutdown {
    /// Asks for the end of the process.
    pub fn request(&self, exit_code: i32) {
        self.exit_code.store(exit_code, Ordering::Relaxed);
        self.requested.store(true, Ordering::Release);
    }

    /// True once it was asked for.
    #[inline]
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// The exit code to end with.
    pub fn exit_code(&self) -> i32 {
        self.exit_code.load(Ordering::Relaxed)
    }
}

/// Everything shared.
pub struct Server {
    /// Parameters.
    pub config: Config,
    /// The data set.
    pub keyspace: Keyspace,
    /// Commands.
    pub commands: CommandTable,
    /// Connected clients.
    pub clients: ClientRegistry,
    /// Listening sockets; the first worker accepts from them.
    pub listeners: Mutex<Vec<Listener>>,
    /// Workers, in order of their number.
    pub workers: Vec<WorkerHandle>,
    /// The log; it counts offsets even while it is not enabled.
    pub log: Log,
    /// Time.
    pub clock: Clock,
    /// LRU and LFU.
    pub lru: AccessClock,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// Background thread.
    pub lazy: Background,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// New bases of the log.
    pub rewrites: Rewrites,
    /// Who listens to changes of keys.
    pub key_listeners: KeyListeners,
    /// Connections to other servers that MIGRATE keeps.
    pub migrations: Connections,
    /// MONITOR.
    pub monitors: Monitors,
    /// SLOWLOG and COMMANDLOG.
    pub commandlog: CommandLogs,
    /// LATENCY.
    pub latency: LatencyMonitor,
    /// INFO errorstats.
    pub errors: ErrorStats,
    /// Rates and other figures of INFO.
    pub metrics: InstantMetrics,
    /// Name of the data set's history.
    pub replication_id: ReplicationId,
    /// State of loading.
    pub loading: Loading,
    /// State of shutting down.
    pub shutdown: Shutdown,
    /// BACKUP.
    pub backups: crate::backup::Backups,
    /// Who we are.
    pub identity: Identity,
    /// Small switches that change at run time.
    pub switches: Switches,
    /// Panics on request.
    pub faults: Faults,
    /// Number of clients that wait in a blocking command.
    pub blocked_clients: AtomicU64,
    /// How many clients wait for a limited time.
    pub timed_waits: AtomicU64,
    /// Grows with every change that a command admitted before it must not outlive (a pause, a role).
    pub admission_epoch: AtomicU64,
    /// Libraries of functions that files brought, as they stood there: kept for the files that are written.
    pub functions: Mutex<Vec<Box<[u8]>>>,
    /// When data was last saved, Unix seconds.
    pub last_save_s: AtomicU64,
    /// The way back to the shared pointer, for jobs of the background thread.
    pub me: std::sync::Weak<Server>,
    /// Next wake-up of the expiry loop, Unix milliseconds.
    pub next_expiry_ms: AtomicU64,
}

/// Switches that commands flip.
#[derive(Debug)]
pub struct Switches {
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: AtomicBool,
    /// DEBUG PAUSE-CRON.
    pub pause_cron: AtomicBool,
    /// A cached copy of `maxmemory` (0: no limit).
    pub max_memory: AtomicU64,
    /// Cached `lazyfree-lazy-expire`.
    pub lazy_expire: AtomicBool,
    /// Cached `latency-tracking`.
    pub latency_tracking: AtomicBool,
    /// Cached: passwords are required of the default user.
    pub needs_password: AtomicBool,
    /// Workers that have clients, as the controller spreads them.
    pub active_workers: AtomicUsize,
    /// A panic interrupted a change: keys may be half-changed, so further writes are refused, and nothing
    /// that is written by itself (expiry, snapshots, rewrites) takes the place of what is on the disk.
    pub half_changed: AtomicBool,
    /// `min-replicas-to-write` asks for replicas before anything is written.
    pub needs_replicas: AtomicBool,
    /// DEBUG SET-SKIP-CHECKSUM-VALIDATION: payloads and files with a wrong checksum are read.
    pub skip_checksum_validation: AtomicBool,
    /// Hard limits of `client-output-buffer-limit` by class of client, in bytes; 0: none.
    pub output_hard_limits: [AtomicU64; 3],
    /// DEBUG CLIENT-ENFORCE-REPLY-LIST: any output counts as a whole block.
    pub enforce_reply_list: AtomicBool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            active_expire: AtomicBool::new(true),
            pause_cron: AtomicBool::new(false),
            max_memory: AtomicU64::new(0),
            lazy_expire: AtomicBool::new(true),
            latency_tracking: AtomicBool::new(true),
            needs_password: AtomicBool::new(false),
            active_workers: AtomicUsize::new(1),
            half_changed: AtomicBool::new(false),
            needs_replicas: AtomicBool::new(false),
            skip_checksum_validation: AtomicBool::new(false),
            output_hard_limits: Default::default(),
            enforce_reply_list: AtomicBool::new(false),
        }
    }
}

impl Server {
    /// True after a panic that may have left keys half-changed.
    #[inline]
    pub fn is_half_changed(&self) -> bool {
        self.switches.half_changed.load(Ordering::Relaxed)
    }

    /// Unix milliseconds.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// A deadline was set: the expiry loop sleeps no longer than until then.
    #[inline]
    pub fn note_deadline(&self, deadline_ms: u64) {
        if deadline_ms < self.next_expiry_ms.load(Ordering::Relaxed) {
            self.wake_for(deadline_ms);
        }
    }

    #[cold]
    fn wake_for(&self, deadline_ms: u64) {
        let before = self.next_expiry_ms.fetch_min(deadline_ms, Ordering::AcqRel);
        if deadline_ms < before
            && let Some(worker) = self.workers.first()
        {
            worker.mailbox.wake();
        }
    }

    /// Expired keys are logged as UNLINK rather than DEL.
    #[inline]
    pub fn lazy_expire(&self) -> bool {
        self.switches.lazy_expire.load(Ordering::Relaxed)
    }

    /// Changes since the beginning of the last good snapshot.
    pub fn changes_since_save(&self) -> u64 {
        let saved = self.snapshots.saved_changes.load(Ordering::Relaxed);
        self.changes_made().saturating_sub(saved)
    }

    /// Changes since the start.
    pub fn changes_made(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| worker.stats.changes.get())
            .sum()
    }

    /// Sums of the workers' counters.
    pub fn totals(&self) -> Totals {
        Totals::of(self.workers.iter().map(|worker| &*worker.stats))
    }

    /// The libraries of functions are these from now on.
    pub fn set_functions(&self, functions: Vec<Box<[u8]>>) {
        *self.lock_functions() = functions;
    }

    /// The libraries of functions.
    pub fn lock_functions(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// True when changes have to be encoded for the log.
    #[inline]
    pub fn is_logging(&self) -> bool {
        self.log.is_enabled()
    }

    /// Sends a message to the worker that owns a client now.
    pub fn send_to(&self, client: &ClientShared, message: Message) {
        let worker = client.worker.load(Ordering::Acquire);
        if let Some(worker) = self.workers.get(worker) {
            worker.mailbox.send(message);
        }
    }

    /// Puts bytes into the outbox of a client, and tells its worker unless that knows already. They leave when
    /// the log is flushed up to `after`.
    pub fn deliver(&self, client: &ClientShared, after: u64, write: impl FnOnce(&mut Output)) {
        if let Some(message) = self.post(client, after, write) {
            self.send_to(client, message);
        }
    }

    /// Puts the reply of a blocked client into its outbox, and ends its wait. It leaves when the log is flushed
    /// up to `after`.
    pub fn deliver_served(
        &self,
        client: &ClientShared,
        after: u64,
        write: impl FnOnce(&mut Output),
    ) {
        let killed = self
            .post(client, after, write)
            .filter(|message| matches!(message, Message::Kill(_)));
        let (client_id, offset) = (client.id, after);
        let served = Message::Served {
            client: client_id,
            offset,
        };
        self.send_to(client, killed.unwrap_or(served));
    }

    /// Puts bytes into the outboxes of many clients; each worker among theirs is woken once.
    pub fn deliver_many<'a>(
        &self,
        clients: impl Iterator<Item = &'a Arc<ClientShared>>,
        after: u64,
        write: impl Fn(&mut Output),
    ) {
        let mut mail: Vec<Vec<Message>> = Vec::new();
        mail.resize_with(self.workers.len(), Vec::new);
        for client in clients {
            let Some(message) = self.post(client, after, &write) else {
                continue;
            };
            let worker = client.worker.load(Ordering::Acquire);
            if let Some(mail) = mail.get_mut(worker) {
                mail.push(message);
            }
        }
        for (worker, mail) in self.workers.iter().zip(mail) {
            if !mail.is_empty() {
                worker.mailbox.send_many(mail);
            }
        }
    }

    /// What the worker of the client has to be told.
    fn post(
        &self,
        client: &ClientShared,
        after: u64,
        write: impl FnOnce(&mut Output),
    ) -> Option<Message> {
        let limit = &self.switches.output_hard_limits[client.class() as usize];
        let limit = limit.load(Ordering::Relaxed);
        match client.post(after, limit, write) {
            Posted::First => Some(Message::Deliver(client.id)),
            Posted::Announced => None,
            Posted::Overflow if client.kill.swap(true, Ordering::AcqRel) => None,
            Posted::Overflow => {
                log::warn!(
                    "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
                    client.addr
                );
                Some(Message::Kill(client.id))
            }
        }
    }

    /// The listening sockets.
    pub fn lock_listeners(&self) -> std::sync::MutexGuard<'_, Vec<Listener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message to every worker.
    pub fn broadcast(&self, mut message: impl FnMut() -> Message) {
        for worker in &self.workers {
            worker.mailbox.send(message());
        }
    }
}

//! The engine: the data with all that commands work on, shared by the threads that run them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use persist::Log;
use resp::{Output, Protocol};

use crate::client::{ClientRegistry, ClientShared, Posted};
use crate::clock::Clock;
use crate::commandlog::CommandLogs;
use crate::config::{ClientClass, Config, P};
use crate::entropy::Seeds;
use crate::fault::Faults;
use crate::key_changes::KeyListeners;
use crate::latency::LatencyMonitor;
use crate::lazy_free::Background;
use crate::loading::Loading;
use crate::lru::AccessClock;
use crate::monitor::Monitors;
use crate::notifications::Notifications;
use crate::pause::Pause;
use crate::port::PortSlot;
use crate::pubsub::PubSub;
use crate::shard_tables::Keyspace;
use crate::stats::{Totals, WorkerStats};
use crate::table::CommandTable;
use crate::tracking::TrackingClients;

/// Errors by their code, for INFO errorstats. Redis stops counting new codes at 128, because a
/// script that makes up codes would fill the memory.
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

/// The data with all that commands work on.
pub struct Engine {
    /// Parameters.
    pub config: Config,
    /// The data set.
    pub keyspace: Keyspace,
    /// Commands by name.
    pub commands: CommandTable,
    /// Connected clients.
    pub clients: ClientRegistry,
    /// Counters of each worker, by its number.
    pub stats: Box<[CachePadded<WorkerStats>]>,
    /// The log; it counts offsets even while it is not enabled.
    pub log: Log,
    /// Seeds of the executors.
    pub seeds: Seeds,
    /// Wall clock and monotonic clock.
    pub clock: Clock,
    /// The clock of LRU and LFU.
    pub lru: AccessClock,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// What the background thread frees.
    pub lazy: Background,
    /// Who listens to changes of keys.
    pub key_listeners: KeyListeners,
    /// Subscriptions to channels and patterns.
    pub pubsub: PubSub,
    /// Keyspace notifications.
    pub notifications: Notifications,
    /// Clients that keep copies of keys.
    pub tracking: TrackingClients,
    /// MONITOR clients.
    pub monitors: Monitors,
    /// SLOWLOG and COMMANDLOG.
    pub commandlog: CommandLogs,
    /// The latency monitor.
    pub latency: LatencyMonitor,
    /// INFO errorstats.
    pub errors: ErrorStats,
    /// How far loading is.
    pub loading: Loading,
    /// Small switches that change at run time.
    pub switches: Switches,
    /// Panics on request.
    pub faults: Faults,
    /// Number of clients that wait in a blocking command or for the end of a pause.
    pub blocked_clients: AtomicU64,
    /// How many clients wait for a limited time.
    pub timed_waits: AtomicU64,
    /// Grows with every change that a command admitted before it must not outlive (a pause, a
    /// role).
    pub admission_epoch: AtomicU64,
    /// Libraries of functions that files brought, as they stood there: kept for the files that are
    /// written.
    functions: Mutex<Vec<Box<[u8]>>>,
    /// Next wake-up of the expiry loop, Unix milliseconds.
    pub next_expiry_ms: AtomicU64,
    /// The server around it.
    pub port: PortSlot,
}

/// What an engine is made of.
pub struct Parts {
    /// Parameters.
    pub config: Config,
    /// The command table.
    pub commands: CommandTable,
    /// The empty keyspace.
    pub keyspace: Keyspace,
    /// The log, not enabled yet.
    pub log: Log,
    /// How many threads run commands.
    pub workers: usize,
    /// The seed of all random numbers of commands.
    pub seed: u64,
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
    /// `maxmemory` was lowered: a timer evicts what is above it.
    pub limit_lowered: AtomicBool,
    /// Cached `lazyfree-lazy-expire`.
    pub lazy_expire: AtomicBool,
    /// Cached `latency-tracking`.
    pub latency_tracking: AtomicBool,
    /// Cached: passwords are required of the default user.
    pub needs_password: AtomicBool,
    /// A panic interrupted a change: keys may be half-changed, so further writes are refused, and
    /// nothing that is written by itself (expiry, snapshots, rewrites) takes the place of what is
    /// on the disk.
    pub half_changed: AtomicBool,
    /// The last snapshot did not succeed.
    pub snapshots_fail: AtomicBool,
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
            limit_lowered: AtomicBool::new(false),
            lazy_expire: AtomicBool::new(true),
            latency_tracking: AtomicBool::new(true),
            needs_password: AtomicBool::new(false),
            half_changed: AtomicBool::new(false),
            snapshots_fail: AtomicBool::new(false),
            needs_replicas: AtomicBool::new(false),
            skip_checksum_validation: AtomicBool::new(false),
            output_hard_limits: Default::default(),
            enforce_reply_list: AtomicBool::new(false),
        }
    }
}

impl Engine {
    /// An engine without data.
    pub fn new(parts: Parts) -> Self {
        let count = parts.commands.entries().len();
        let stats = (0..parts.workers.max(1)).map(|_| CachePadded::new(WorkerStats::new(count)));
        let engine = Self {
            config: parts.config,
            keyspace: parts.keyspace,
            commands: parts.commands,
            clients: ClientRegistry::default(),
            stats: stats.collect(),
            log: parts.log,
            seeds: Seeds::new(parts.seed),
            clock: Clock::default(),
            lru: AccessClock::default(),
            pause: Pause::default(),
            lazy: Background::default(),
            key_listeners: KeyListeners::default(),
            pubsub: PubSub::default(),
            notifications: Notifications::default(),
            tracking: TrackingClients::default(),
            monitors: Monitors::default(),
            commandlog: CommandLogs::default(),
            latency: LatencyMonitor::default(),
            errors: ErrorStats::default(),
            loading: Loading::default(),
            switches: Switches::default(),
            faults: Faults::default(),
            blocked_clients: AtomicU64::new(0),
            timed_waits: AtomicU64::new(0),
            admission_epoch: AtomicU64::new(0),
            functions: Mutex::default(),
            next_expiry_ms: AtomicU64::new(0),
            port: PortSlot::default(),
        };
        engine.lru.refresh(engine.now_ms());
        engine.refresh_switches();
        engine
    }

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

    /// A key expires at `deadline_ms`: the expiry loop sleeps no longer than until then.
    #[inline]
    pub fn note_deadline(&self, deadline_ms: u64) {
        if deadline_ms < self.next_expiry_ms.load(Ordering::Relaxed) {
            self.wake_for(deadline_ms);
        }
    }

    #[cold]
    fn wake_for(&self, deadline_ms: u64) {
        let before = self.next_expiry_ms.fetch_min(deadline_ms, Ordering::AcqRel);
        if deadline_ms < before {
            self.port.get().wake_timers();
        }
    }

    /// Expired keys are logged as UNLINK rather than DEL.
    #[inline]
    pub fn lazy_expire(&self) -> bool {
        self.switches.lazy_expire.load(Ordering::Relaxed)
    }

    /// Changes since the start.
    pub fn changes_made(&self) -> u64 {
        self.stats.iter().map(|stats| stats.changes.get()).sum()
    }

    /// Sums of the workers' counters.
    pub fn totals(&self) -> Totals {
        Totals::of(self.stats.iter().map(|stats| &**stats))
    }

    /// Replaces the libraries of functions.
    pub fn set_functions(&self, functions: Vec<Box<[u8]>>) {
        *self.lock_functions() = functions;
    }

    /// The libraries of functions.
    pub fn lock_functions(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// True when changes have to be encoded: the file is on, or the stream has readers.
    #[inline]
    pub fn is_logging(&self) -> bool {
        self.log.is_wanted()
    }

    /// Puts bytes into the outbox of a client. They leave when the log is flushed up to `after`.
    pub fn deliver(&self, client: &ClientShared, after: u64, write: impl FnOnce(&mut Output)) {
        if self.post(client, after, |out, _| write(out)) == Posted::First {
            self.port.get().deliver(&[client]);
        }
    }

    /// Puts the reply of a blocked client into its outbox, in front of what is held back there, and
    /// ends its wait. It leaves when the log is flushed up to `after`.
    pub fn deliver_served(
        &self,
        client: &ClientShared,
        after: u64,
        write: impl FnOnce(&mut Output),
    ) {
        match client.post_before(after, self.output_limit(client), write) {
            Posted::Overflow => self.disconnect(client),
            _ => self.port.get().served(client, after),
        }
    }

    /// Puts the same bytes into the outboxes of many clients; each worker among theirs is woken
    /// once.
    pub fn deliver_many<'a>(
        &self,
        clients: impl Iterator<Item = &'a Arc<ClientShared>>,
        after: u64,
        write: impl Fn(&mut Output),
    ) {
        let mut announced = Vec::new();
        for client in clients {
            if self.post(client, after, |out, _| write(out)) == Posted::First {
                announced.push(&**client);
            }
        }
        if !announced.is_empty() {
            self.port.get().deliver(&announced);
        }
    }

    /// Puts something into the outbox of a client, in its protocol version; a client above its
    /// limit is disconnected. The first into an empty outbox is to be announced by
    /// [`crate::port::Port::deliver`].
    pub(crate) fn post(
        &self,
        client: &ClientShared,
        after: u64,
        write: impl FnOnce(&mut Output, Protocol),
    ) -> Posted {
        let posted = client.post(after, self.output_limit(client), write);
        if posted == Posted::Overflow {
            self.disconnect(client);
        }
        posted
    }

    /// Most bytes that may wait in the outbox of a client; 0: any number.
    fn output_limit(&self, client: &ClientShared) -> u64 {
        let limit = &self.switches.output_hard_limits[client.class() as usize];
        limit.load(Ordering::Relaxed)
    }

    #[cold]
    fn disconnect(&self, client: &ClientShared) {
        if !client.kill.swap(true, Ordering::AcqRel) {
            log::warn!(
                "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
                client.addr
            );
            self.port.get().kill(client);
        }
    }

    /// Takes over the parameters that loops and hot paths keep a copy of.
    pub fn refresh_switches(&self) {
        let (config, switches) = (&self.config, &self.switches);
        let max_memory = config.int(P::Maxmemory).max(0) as u64;
        let before = switches.max_memory.swap(max_memory, Ordering::Relaxed);
        if max_memory != 0 && (before == 0 || max_memory < before) {
            switches.limit_lowered.store(true, Ordering::Release);
            self.port.get().wake_timers();
        }
        switches
            .lazy_expire
            .store(config.bool(P::LazyfreeLazyExpire), Ordering::Relaxed);
        switches
            .latency_tracking
            .store(config.bool(P::LatencyTracking), Ordering::Relaxed);
        switches
            .needs_password
            .store(!config.bytes(P::RequirePass).is_empty(), Ordering::Relaxed);
        let replicas =
            config.int(P::MinReplicasToWrite) > 0 && config.int(P::MinReplicasMaxLag) > 0;
        switches.needs_replicas.store(replicas, Ordering::Relaxed);
        let limits = config.output_limits();
        for class in ClientClass::ALL {
            let hard = &switches.output_hard_limits[class as usize];
            hard.store(limits.of(class).hard, Ordering::Relaxed);
        }
        let number = |id| u32::try_from(config.int(id)).unwrap_or(0);
        self.lru.configure(
            crate::execute::evict::policy(config).is_lfu(),
            number(P::LfuLogFactor),
            number(P::LfuDecayTime),
        );
        self.notifications.refresh(self);
        self.commandlog.configure(config);
        self.latency.configure(config);
    }
}

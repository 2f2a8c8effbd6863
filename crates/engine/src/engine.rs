//! The engine: the data with all that commands work on, shared by the threads that run them.

mod access;
mod subscriptions;
mod tracking;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_utils::CachePadded;
use persist::{Log, Selection};

use crate::audit::Audit;
use crate::client::ClientRegistry;
use crate::clock::Clock;
use crate::commandlog::CommandLogs;
use crate::config::{Config, P};
use crate::entropy::Seeds;
use crate::error::CommandError;
use crate::fault::Faults;
use crate::hotkeys::HotKeys;
use crate::latency::LatencyMonitor;
use crate::lazy_free::Background;
use crate::listeners::KeyListeners;
use crate::loading::Loading;
use crate::lru::AccessClock;
use crate::monitor::Monitors;
use crate::notifications::Notifications;
use crate::outboxes::Outboxes;
use crate::pause::Pause;
use crate::pubsub::{PubSub, PublishedAs};
use crate::replicas::Replicas;
use crate::role::Role;
use crate::scripts::{Runs, Scripts};
use crate::shard_tables::{Keyspace, Locked};
use crate::stats::{Excess, Totals, WorkerStats};
use crate::table::CommandTable;
use crate::tracking::TrackingClients;
use crate::users::Users;

/// Errors by their code, for INFO errorstats. Redis stops counting new codes at 128, because a
/// script with ever new codes would fill the memory.
#[derive(Default)]
pub struct ErrorStats {
    counts: Mutex<std::collections::BTreeMap<String, u64>>,
}

/// Most error codes that are counted apart.
const ERROR_CODES_MAX: usize = 128;

impl ErrorStats {
    /// Counts an error line (code first).
    pub fn record(&self, line: &[u8]) {
        // Line breaks, which an error of a script may have, become spaces in its reply.
        let ends = |byte: &u8| matches!(byte, b' ' | b'\r' | b'\n');
        let code = line.split(ends).next().unwrap_or_default();
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

    /// Clears all counts.
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
    /// Users and their rights.
    pub users: Users,
    /// The audit log.
    pub audit: Audit,
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
    /// The background thread that frees values.
    pub lazy: Arc<Background>,
    /// How long memory has been above `maxmemory`.
    pub memory_excess: Excess,
    /// Listeners to changes of keys.
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
    /// HOTKEYS.
    pub hotkeys: HotKeys,
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
    /// How many clients have begun to wait for keys.
    pub arrivals: AtomicU64,
    /// Grows with each pause and each change of role: a command that was admitted before is checked
    /// again.
    pub admission_epoch: AtomicU64,
    /// The sources of scripts and functions.
    pub scripts: Scripts,
    /// The scripts that run.
    pub runs: Runs,
    /// Next wake-up of the expiry loop, Unix milliseconds.
    pub next_expiry_ms: AtomicU64,
    /// Primary or replica.
    pub role: Role,
    /// The attached replicas.
    pub replicas: Replicas,
    /// The way to the clients.
    pub outboxes: Outboxes,
    /// The server's part of FLUSHALL.
    pub on_emptied: OnceLock<Box<OnEmptied>>,
}

/// Called when FLUSHALL has emptied the data, under all locks, with the number of changes that are
/// not in the log yet.
pub type OnEmptied = dyn Fn(&Locked<'_>, u64) + Send + Sync;

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
    /// The clocks.
    pub clock: Clock,
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
    /// What all clients together may hold (`maxmemory-clients`), in bytes; 0: no limit.
    pub client_memory_max: AtomicU64,
    /// `maxmemory` was lowered: a timer evicts what is above it.
    pub limit_lowered: AtomicBool,
    /// Cached `lazyfree-lazy-expire`.
    pub lazy_expire: AtomicBool,
    /// Cached `latency-tracking`.
    pub latency_tracking: AtomicBool,
    /// A panic interrupted a change: keys may be half-changed, so writes are refused, and active
    /// expiry, snapshots and rewrites stop, which keeps the files on the disk as they are.
    pub half_changed: AtomicBool,
    /// The last snapshot did not succeed.
    pub snapshots_fail: AtomicBool,
    /// `min-replicas-to-write` asks for replicas before anything is written.
    pub needs_replicas: AtomicBool,
    /// DEBUG SET-SKIP-CHECKSUM-VALIDATION: payloads and files with a wrong checksum are read.
    pub skip_checksum_validation: AtomicBool,
    /// DEBUG SET-DISABLE-DENY-SCRIPTS: scripts may call commands that are not for them.
    pub allows_all_in_scripts: AtomicBool,
    /// DEBUG CLIENT-ENFORCE-REPLY-LIST: any output counts as a whole block.
    pub enforce_reply_list: AtomicBool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            active_expire: AtomicBool::new(true),
            pause_cron: AtomicBool::new(false),
            max_memory: AtomicU64::new(0),
            client_memory_max: AtomicU64::new(0),
            limit_lowered: AtomicBool::new(false),
            lazy_expire: AtomicBool::new(true),
            latency_tracking: AtomicBool::new(true),
            half_changed: AtomicBool::new(false),
            snapshots_fail: AtomicBool::new(false),
            needs_replicas: AtomicBool::new(false),
            skip_checksum_validation: AtomicBool::new(false),
            allows_all_in_scripts: AtomicBool::new(false),
            enforce_reply_list: AtomicBool::new(false),
        }
    }
}

/// The least that `maxmemory-clients` limits to: below that no client could connect to change it,
/// as in Redis.
const CLIENT_MEMORY_MIN: u64 = 128 * 1024;

/// What `maxmemory-clients` limits to, in bytes; 0 without a limit. A negative value is a
/// percentage of `maxmemory`.
fn client_memory_max(value: i64, max_memory: u64) -> u64 {
    let limit = match value {
        0 => return 0,
        percent @ ..0 => {
            if max_memory == 0 {
                return 0;
            }
            (max_memory as f64 * percent.unsigned_abs() as f64 / 100.0) as u64
        }
        bytes => bytes.unsigned_abs(),
    };
    limit.max(CLIENT_MEMORY_MIN)
}

impl Engine {
    /// An engine without data.
    pub fn new(parts: Parts) -> Self {
        let count = parts.commands.entries().len();
        let stats = (0..parts.workers.max(1)).map(|_| CachePadded::new(WorkerStats::new(count)));
        let engine = Self {
            config: parts.config,
            users: Users::default(),
            audit: Audit::default(),
            keyspace: parts.keyspace,
            commands: parts.commands,
            clients: ClientRegistry::default(),
            stats: stats.collect(),
            log: parts.log,
            seeds: Seeds::new(parts.seed),
            clock: parts.clock,
            lru: AccessClock::default(),
            pause: Pause::default(),
            lazy: Arc::default(),
            memory_excess: Excess::default(),
            key_listeners: KeyListeners::default(),
            pubsub: PubSub::default(),
            notifications: Notifications::default(),
            tracking: TrackingClients::default(),
            monitors: Monitors::default(),
            commandlog: CommandLogs::default(),
            latency: LatencyMonitor::default(),
            hotkeys: HotKeys::default(),
            errors: ErrorStats::default(),
            loading: Loading::default(),
            switches: Switches::default(),
            faults: Faults::default(),
            blocked_clients: AtomicU64::new(0),
            timed_waits: AtomicU64::new(0),
            arrivals: AtomicU64::new(0),
            admission_epoch: AtomicU64::new(0),
            scripts: Scripts::default(),
            runs: Runs::new(parts.workers.max(1)),
            next_expiry_ms: AtomicU64::new(0),
            role: Role::default(),
            replicas: Replicas::default(),
            outboxes: Outboxes::default(),
            on_emptied: OnceLock::new(),
        };
        engine.lru.refresh(engine.steady_ms());
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

    /// Milliseconds of the steady clock, which timers run on.
    #[inline]
    pub fn steady_ms(&self) -> u64 {
        self.clock.steady_ms()
    }

    /// True while a pause is in force. Without one that is one atomic load.
    #[inline]
    pub fn is_paused(&self) -> bool {
        self.pause.until_ms() != 0 && self.pause.is_active(self.steady_ms())
    }

    /// Enough replicas follow for `min-replicas-to-write`. Where the last count says no, they are
    /// counted again: one may have come, or the parameters have changed.
    #[cold]
    pub fn has_good_replicas(&self) -> bool {
        let wanted = self.config.int(P::MinReplicasToWrite).max(0) as u64;
        let lag_s = self.config.int(P::MinReplicasMaxLag).max(0) as u64;
        lag_s == 0
            || self.role.is_replica()
            || self.replicas.good() >= wanted
            || self.replicas.count_good(lag_s, self.steady_ms()) >= wanted
    }

    /// Sends a message to the replicas, when there are any. It is no part of the append-only file.
    #[inline]
    pub fn replicate_message(&self, way: PublishedAs, db: u32, channel: &[u8], payload: &[u8]) {
        if self.replicas.count() > 0 {
            let name: &[u8] = match way {
                PublishedAs::Message => b"PUBLISH",
                PublishedAs::ShardMessage => b"SPUBLISH",
            };
            // As other products do, although a message belongs to no database.
            self.append_to(Selection::Database(db), &[name, channel, payload]);
        }
    }

    /// Adds a command to the replication stream alone, whichever database is selected there.
    #[cold]
    pub fn append_to_stream(&self, request: &[&[u8]]) {
        self.append_to(Selection::Current { then: None }, request);
    }

    #[cold]
    fn append_to(&self, selection: Selection, request: &[&[u8]]) {
        let mut records = Vec::new();
        resp::request::encode(&mut records, request);
        let now_ms = self.now_ms();
        self.log.append_to_own_stream(selection, &records, now_ms);
    }

    /// Notes that a key expires at `deadline_ms`: the expiry loop wakes up no later.
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
            self.outboxes.port.get().wake_timers();
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

    /// The counters of each worker.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerStats> {
        self.stats.iter().map(|stats| &**stats)
    }

    /// Sums of the workers' counters.
    pub fn totals(&self) -> Totals {
        Totals::of(self.workers())
    }

    /// Locks one shard, for a command that locks by itself.
    ///
    /// # Errors
    /// A script has been running for so long that others are refused.
    pub fn lock_shard(&self, shard: usize) -> Result<Locked<'_>, CommandError> {
        let mut waits = || !self.runs.any_slow();
        loop {
            if let Ok(locked) = self.keyspace.lock_one_patient(shard, &mut waits) {
                return Ok(locked);
            }
            if let Some(slow) = self.runs.slow() {
                return Err(slow.error());
            }
        }
    }

    /// True when changes have to be encoded: the AOF is on, or the log has other readers.
    #[inline]
    pub fn is_logging(&self) -> bool {
        self.log.is_wanted()
    }

    /// Disconnects the largest clients while all together hold more than `maxmemory-clients`.
    /// Without that parameter, and below it, this costs two atomic loads.
    #[inline]
    pub fn evict_clients(&self, worker: usize) {
        let limit = self.switches.client_memory_max.load(Ordering::Relaxed);
        if limit != 0 && self.clients.memory() as u64 > limit {
            self.evict_largest_clients(worker, usize::try_from(limit).unwrap_or(usize::MAX));
        }
    }

    #[cold]
    fn evict_largest_clients(&self, worker: usize, limit: usize) {
        for client in self.clients.evict_largest(limit) {
            let bytes = client.leaving_bytes();
            log::info!("Evicting client {} that holds {bytes} bytes", client.addr);
            if let Some(stats) = self.stats.get(worker) {
                stats.evicted_clients.add(1);
            }
            self.outboxes.port.get().kill(&client);
        }
    }

    /// Takes over the parameters that loops and hot paths keep a copy of.
    pub fn refresh_switches(&self) {
        let (config, switches) = (&self.config, &self.switches);
        let max_memory = config.int(P::Maxmemory).cast_unsigned();
        let before = switches.max_memory.swap(max_memory, Ordering::Relaxed);
        if max_memory != 0 && (before == 0 || max_memory < before) {
            switches.limit_lowered.store(true, Ordering::Release);
            self.outboxes.port.get().wake_timers();
        }
        let client_memory = client_memory_max(config.int(P::MaxmemoryClients), max_memory);
        switches
            .client_memory_max
            .store(client_memory, Ordering::Relaxed);
        switches
            .lazy_expire
            .store(config.bool(P::LazyfreeLazyExpire), Ordering::Relaxed);
        switches
            .latency_tracking
            .store(config.bool(P::LatencyTracking), Ordering::Relaxed);
        let replicas =
            config.int(P::MinReplicasToWrite) > 0 && config.int(P::MinReplicasMaxLag) > 0;
        switches.needs_replicas.store(replicas, Ordering::Relaxed);
        self.outboxes.configure(config);
        let number = |id| u32::try_from(config.int(id)).unwrap_or(0);
        self.lru.configure(
            config.eviction_policy().is_lfu(),
            number(P::LfuLogFactor),
            number(P::LfuDecayTime),
        );
        self.refresh_notifications();
        self.commandlog.configure(config);
        self.latency.configure(config);
    }
}

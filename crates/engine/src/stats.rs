//! Statistics: plain counters per worker, added up when they are read.
//!
//! A counter has one writer (its worker) and any number of readers, so an increment is a relaxed
//! load and a relaxed store: no locked instruction on the request path.

use crate::clock::Clock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning thread may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(n), Ordering::Relaxed);
    }

    /// Keeps the largest `n`; only the owning thread may call this.
    #[inline]
    pub fn raise(&self, n: u64) {
        if n > self.get() {
            self.0.store(n, Ordering::Relaxed);
        }
    }

    /// Current value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to zero (CONFIG RESETSTAT). A concurrent increment may be lost: statistics only.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Number of power-of-two latency buckets: up to 2^40 ns (18 minutes), more than any command takes.
pub const LATENCY_BUCKETS: usize = 41;

/// Statistics of one command on one worker.
#[derive(Debug)]
pub struct CommandStats {
    /// Executions.
    pub calls: Counter,
    /// Time spent in them, in nanoseconds.
    pub nanos: Counter,
    /// Refused before execution.
    pub rejected: Counter,
    /// Executed and failed.
    pub failed: Counter,
    /// Executions by the power of two of their nanoseconds.
    pub latency: [Counter; LATENCY_BUCKETS],
}

impl Default for CommandStats {
    fn default() -> Self {
        Self {
            calls: Counter::default(),
            nanos: Counter::default(),
            rejected: Counter::default(),
            failed: Counter::default(),
            latency: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl CommandStats {
    /// Records one execution.
    #[inline]
    pub fn record(&self, nanos: u64, track_latency: bool) {
        self.calls.add(1);
        self.nanos.add(nanos);
        if track_latency {
            let bucket = (64 - nanos.leading_zeros()) as usize;
            if let Some(counter) = self.latency.get(bucket.min(LATENCY_BUCKETS - 1)) {
                counter.add(1);
            }
        }
    }

    /// Back to zero.
    pub fn reset(&self) {
        self.calls.reset();
        self.nanos.reset();
        self.rejected.reset();
        self.failed.reset();
        self.latency.iter().for_each(Counter::reset);
    }
}

macro_rules! worker_stats {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of one worker.
        #[derive(Debug, Default)]
        pub struct WorkerStats {
            $($(#[$doc])* pub $name: Counter,)*
            /// Changes to the data since the start; CONFIG RESETSTAT leaves it, because INFO
            /// computes the changes since the last save from it.
            pub changes: Counter,
            /// By command id.
            pub commands: Vec<CommandStats>,
        }

        impl WorkerStats {
            /// Counters for `commands` commands.
            pub fn new(commands: usize) -> Self {
                Self {
                    commands: (0..commands).map(|_| CommandStats::default()).collect(),
                    ..Self::default()
                }
            }

            /// Back to zero, for CONFIG RESETSTAT.
            pub fn reset(&self) {
                $(self.$name.reset();)*
                self.commands.iter().for_each(CommandStats::reset);
            }
        }

        /// Sums over all workers.
        #[derive(Debug, Default, Clone)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Totals {
            /// Adds up the counters of the workers.
            pub fn of<'a>(workers: impl Iterator<Item = &'a WorkerStats>) -> Self {
                let mut totals = Self::default();
                for worker in workers {
                    $(totals.$name = totals.$name.wrapping_add(worker.$name.get());)*
                }
                totals
            }
        }
    };
}

worker_stats! {
    /// Connections accepted.
    connections_received,
    /// Connections refused because of `maxclients` or protected mode.
    connections_rejected,
    /// Commands executed.
    commands_processed,
    /// Bytes read from clients.
    net_input_bytes,
    /// Bytes written to clients.
    net_output_bytes,
    /// Lookups that found a key.
    keyspace_hits,
    /// Lookups that did not.
    keyspace_misses,
    /// Keys that expired.
    expired_keys,
    /// Elements of collections that expired.
    expired_fields,
    /// Keys evicted.
    evicted_keys,
    /// Error replies.
    error_replies,
    /// read(2) calls on clients.
    reads_processed,
    /// write(2) calls to clients.
    writes_processed,
    /// Loop turns.
    loop_turns,
    /// Time in loop turns, in nanoseconds, without the wait for events.
    busy_nanos,
    /// The longest loop turn, in nanoseconds.
    turn_nanos_max,
    /// Most commands in one loop turn.
    turn_commands_max,
    /// Time in periodic work, in nanoseconds.
    cron_nanos,
    /// Time in active expiry, in nanoseconds.
    expire_nanos,
    /// Time in writing the log, in nanoseconds.
    log_nanos,
    /// Payloads of RESTORE that were checked.
    payload_checks,
    /// Time in command handlers, in nanoseconds.
    command_nanos,
    /// Clients closed because their query buffer was too big.
    query_buffer_disconnections,
    /// Clients closed because their output buffer was too big.
    output_buffer_disconnections,
    /// AUTH failures.
    auth_failures,
    /// Commands that their users may not run.
    denied_commands,
    /// Commands with keys that their users have no access to.
    denied_keys,
    /// Commands with channels that their users have no access to.
    denied_channels,
    /// Commands on databases that their users have no access to.
    denied_databases,
    /// Clients disconnected because of `maxmemory-clients`.
    evicted_clients,
    /// Commands refused because memory is full.
    oom_rejected,
    /// Scripts and transactions that were undone.
    rollbacks,
    /// Timeouts of blocked clients.
    blocked_timeouts,
}

/// How long memory has been above `maxmemory`.
#[derive(Debug, Default)]
pub struct Excess {
    /// Monotonic nanoseconds when it began; 0 while memory is below.
    since_ns: AtomicU64,
    /// All that is over, in nanoseconds.
    past_ns: AtomicU64,
}

impl Excess {
    /// Notes whether memory is above the limit now.
    pub fn note(&self, is_above: bool, clock: &Clock) {
        let since_ns = self.since_ns.load(Ordering::Relaxed);
        if is_above == (since_ns != 0) {
            return;
        }
        let now_ns = clock.monotonic_ns().max(1);
        let next = if is_above { now_ns } else { 0 };
        if self.since_ns.swap(next, Ordering::Relaxed) == since_ns && !is_above {
            let nanos = now_ns.saturating_sub(since_ns);
            self.past_ns.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    /// Milliseconds in all, and since memory is above the limit this time.
    pub fn milliseconds(&self, clock: &Clock) -> (u64, u64) {
        let now_ns = match self.since_ns.load(Ordering::Relaxed) {
            0 => 0,
            since_ns => clock.monotonic_ns().saturating_sub(since_ns),
        };
        let all_ns = self.past_ns.load(Ordering::Relaxed) + now_ns;
        (all_ns / 1_000_000, now_ns / 1_000_000)
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.past_ns.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_buckets_are_powers_of_two() {
        let stats = CommandStats::default();
        stats.record(0, true);
        stats.record(1, true);
        stats.record(1023, true);
        stats.record(u64::MAX, true);
        assert_eq!(stats.calls.get(), 4);
        assert_eq!(stats.latency[0].get(), 1);
        assert_eq!(stats.latency[1].get(), 1);
        assert_eq!(stats.latency[10].get(), 1);
        assert_eq!(stats.latency[LATENCY_BUCKETS - 1].get(), 1);
    }
}

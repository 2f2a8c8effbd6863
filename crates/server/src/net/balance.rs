//! How connections are spread over workers.
//!
//! Spreading costs: two workers that share few cores with their clients spend more CPU per request
//! than one (smaller batches, more wake-ups). So connections are packed on the first worker and
//! move only when it is saturated; when the load falls they come back. After each spreading the
//! throughput before and after is compared, and a spreading that did not pay is undone and not
//! tried again for a while.
//!
//! `threads-spread yes` sets all this aside: every worker has its part of the connections, always.
//! It is for machines with cores to spare whose load comes in bursts shorter than the controller's
//! looks, and for tests of what only happens between workers.

use crate::server::Server;
use crate::transport::mailbox::Message;
use engine::config::P;

/// Time between two looks, in milliseconds.
const INTERVAL_MS: u64 = 250;
/// A worker that is busy for more than this part of the time (in percent) is saturated.
const SATURATED_PERCENT: u64 = 85;
/// Workers whose load together is below this (in percent of one worker) are packed again.
const PACK_PERCENT: u64 = 55;
/// A spreading has paid when throughput grew by at least this (in percent).
const GAIN_PERCENT: u64 = 8;
/// Looks that a judgement on a spreading waits for.
const JUDGE_AFTER: u32 = 6;
/// Looks that pass after a failed spreading before the next one, doubling with each failure up to
/// the second number.
const RETRY_AFTER: (u32, u32) = (40, 2_400);

/// The worker a new client belongs to, when that is not left to the controller.
pub(crate) fn home(server: &Server, client: u64) -> Option<usize> {
    let workers = server.workers.len() as u64;
    (workers > 1 && server.engine.config.bool(P::ThreadsSpread))
        .then(|| (client % workers) as usize)
}

/// The counters of one worker at the last look.
#[derive(Clone, Copy, Default)]
struct Seen {
    busy_nanos: u64,
    commands: u64,
}

/// The controller; lives in the timers of the first worker.
#[derive(Default)]
pub(crate) struct Balance {
    next_ms: u64,
    last_ns: u64,
    seen: Vec<Seen>,
    /// Workers in use; they are 0..active.
    active: usize,
    /// Throughput (commands per second) before the last spreading, and looks since.
    trial: Option<(u64, u32)>,
    pause: u32,
    failures: u32,
    /// `threads-spread` as it was at the last look.
    spread_all: bool,
}

struct Load {
    busy_percent: u64,
    commands_per_s: u64,
}

impl Balance {
    /// Looks at the load and moves connections when it pays.
    pub(crate) fn tick(&mut self, server: &Server, steady_ms: u64, now_ns: u64) {
        if server.workers.len() < 2 || steady_ms < self.next_ms {
            return;
        }
        self.next_ms = steady_ms + INTERVAL_MS;
        self.active = self.active.max(1);
        let loads = self.measure(server, now_ns);
        if self.follow_switch(server) || loads.is_empty() {
            return;
        }
        self.pause = self.pause.saturating_sub(1);
        let total: u64 = loads.iter().map(|load| load.commands_per_s).sum();
        if self.judge(server, total) {
            return;
        }
        let busiest = loads
            .iter()
            .take(self.active)
            .map(|load| load.busy_percent)
            .max()
            .unwrap_or(0);
        let together: u64 = loads.iter().map(|load| load.busy_percent).sum();
        if busiest >= SATURATED_PERCENT
            && self.active < server.workers.len()
            && self.pause == 0
            && self.trial.is_none()
            && server.engine.clients.count() > 1
        {
            self.trial = Some((total, 0));
            self.spread(server);
        } else if self.active > 1 && together < PACK_PERCENT {
            self.pack(server);
        }
    }

    /// Moves everything when `threads-spread` changed. True while there is nothing to control.
    fn follow_switch(&mut self, server: &Server) -> bool {
        let wanted = server.engine.config.bool(P::ThreadsSpread);
        if wanted == self.spread_all {
            return wanted;
        }
        self.spread_all = wanted;
        self.trial = None;
        if wanted {
            while self.active < server.workers.len() {
                self.spread(server);
            }
        } else {
            while self.active > 1 {
                self.pack(server);
            }
        }
        true
    }

    fn measure(&mut self, server: &Server, now_ns: u64) -> Vec<Load> {
        let elapsed = now_ns.saturating_sub(self.last_ns).max(1);
        self.last_ns = now_ns;
        let first = self.seen.is_empty();
        self.seen.resize(server.workers.len(), Seen::default());
        let mut loads = Vec::with_capacity(server.workers.len());
        for (worker, seen) in server.workers.iter().zip(&mut self.seen) {
            let now = Seen {
                busy_nanos: worker.stats().busy_nanos.get(),
                commands: worker.stats().commands_processed.get(),
            };
            let busy = now.busy_nanos.saturating_sub(seen.busy_nanos);
            let commands = now.commands.saturating_sub(seen.commands);
            *seen = now;
            loads.push(Load {
                busy_percent: (u128::from(busy) * 100 / u128::from(elapsed)) as u64,
                commands_per_s: (u128::from(commands) * 1_000_000_000 / u128::from(elapsed)) as u64,
            });
        }
        if first { Vec::new() } else { loads }
    }

    /// Decides on a spreading that is on trial. True when it was undone.
    fn judge(&mut self, server: &Server, total: u64) -> bool {
        let Some((before, looks)) = self.trial else {
            return false;
        };
        if looks < JUDGE_AFTER {
            self.trial = Some((before, looks + 1));
            return false;
        }
        self.trial = None;
        if total * 100 >= before * (100 + GAIN_PERCENT) {
            self.failures = 0;
            return false;
        }
        self.failures = (self.failures + 1).min(6);
        self.pause = (RETRY_AFTER.0 << self.failures).min(RETRY_AFTER.1);
        self.pack(server);
        true
    }

    /// One worker more takes its part of the connections of each of the others.
    fn spread(&mut self, server: &Server) {
        let to = self.active;
        let share = server.engine.clients.count() / (self.active + 1) / self.active.max(1);
        for worker in server.workers.iter().take(self.active) {
            worker.mailbox.send(Message::HandOver {
                count: share.max(1),
                to,
            });
        }
        self.active += 1;
        publish(server, self.active);
    }

    /// The last worker gives its connections to the first.
    fn pack(&mut self, server: &Server) {
        if self.active < 2 {
            return;
        }
        self.active -= 1;
        publish(server, self.active);
        if let Some(worker) = server.workers.get(self.active) {
            worker.mailbox.send(Message::HandOver {
                count: usize::MAX,
                to: 0,
            });
        }
    }
}

/// A worker that is alone keeps the locks of the shards over a whole batch.
fn publish(server: &Server, active: usize) {
    server
        .active_workers
        .store(active, std::sync::atomic::Ordering::Relaxed);
}

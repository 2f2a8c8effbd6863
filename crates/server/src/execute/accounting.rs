//! Statistics of executions: counters, latency, the command log.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use resp::Args;

use super::{Call, Execution, Executor};
use crate::client::Session;
use crate::command::Flags;
use crate::server::Server;
use crate::stats::WorkerStats;
use crate::table::Entry;

/// An execution that has ended, as its observers see it.
#[derive(Clone, Copy)]
pub struct Executed<'a> {
    /// Unix milliseconds.
    pub now_ms: u64,
    /// The client.
    pub session: &'a Session,
    /// The command.
    pub command: &'static Entry,
    /// Its arguments.
    pub args: Args<'a>,
    /// Time it took, in nanoseconds; a wait is not part of it.
    pub nanos: u64,
    /// Length of its reply, in bytes.
    pub reply_bytes: usize,
}

pub(super) fn stats(server: &Server, worker: usize) -> &WorkerStats {
    // Threads beyond the workers (loading) count with the first one; there is always one.
    let handle = server.workers.get(worker).or(server.workers.first());
    match handle {
        Some(handle) => &handle.stats,
        None => &NO_STATS,
    }
}

static NO_STATS: LazyLock<WorkerStats> = LazyLock::new(WorkerStats::default);

/// Counts a command as refused.
pub fn count_rejected(exec: &Executor, server: &Server, entry: &Entry) {
    if let Some(command) = stats(server, exec.worker).commands.get(entry.id) {
        command.rejected.add(1);
    }
}

impl Execution<'_, '_> {
    /// The command is done, now: statistics of its execution.
    pub fn finished(&mut self, call: Call<'_>, began_ns: u64, reply_bytes: usize) {
        self.exec.now_ns = self.server.clock.monotonic_ns();
        let executed = Executed {
            now_ms: self.exec.now_ms,
            session: self.session,
            command: call.command,
            args: call.args,
            nanos: self.exec.now_ns.saturating_sub(began_ns),
            reply_bytes,
        };
        self.exec.account(self.server, executed);
    }
}

impl Executor {
    /// Counts an execution.
    pub fn account(&mut self, server: &Server, executed: Executed<'_>) {
        let Executed { command, nanos, .. } = executed;
        let worker = stats(server, self.worker);
        worker.commands_processed.add(1);
        worker.command_nanos.add(nanos);
        if let Some(stats) = worker.commands.get(command.id) {
            let tracks = server.switches.latency_tracking.load(Ordering::Relaxed);
            stats.record(nanos, tracks);
        }
        if executed.session.is_client() {
            server.commandlog.record(executed);
            if nanos >= 1_000_000 {
                self.note_slow(server, command, nanos);
            }
        }
    }

    #[cold]
    fn note_slow(&mut self, server: &Server, command: &Entry, nanos: u64) {
        self.now_ms = server.now_ms();
        let event = match command.command.flags.has(Flags::FAST) {
            true => "fast-command",
            false => "command",
        };
        server.latency.record(event, self.now_ms, nanos / 1_000_000);
    }
}

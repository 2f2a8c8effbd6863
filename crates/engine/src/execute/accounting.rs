//! Statistics of executions: counters, latency, the command log.

use std::sync::atomic::Ordering;

use resp::Args;

use super::{Call, Execution, Executor};
use crate::command::Flags;
use crate::engine::Engine;
use crate::session::Session;
use crate::stats::WorkerStats;
use crate::table::Command;

/// An execution that has ended, as its observers see it.
#[derive(Clone, Copy)]
pub struct Executed<'a> {
    /// Unix milliseconds.
    pub now_ms: u64,
    /// The client.
    pub session: &'a Session,
    /// The command.
    pub command: &'static Command,
    /// Its arguments.
    pub args: Args<'a>,
    /// Time it took, in nanoseconds; a wait is not part of it.
    pub nanos: u64,
    /// Length of its reply, in bytes.
    pub reply_bytes: usize,
}

pub(super) fn stats(engine: &Engine, worker: usize) -> &WorkerStats {
    // Threads beyond the workers (loading) count with the first one; there is always one.
    engine.stats.get(worker).unwrap_or(&engine.stats[0])
}

/// Counts a command as refused.
pub fn count_rejected(exec: &Executor, engine: &Engine, entry: &Command) {
    if let Some(command) = stats(engine, exec.worker).commands.get(entry.id) {
        command.rejected.add(1);
    }
}

impl Execution<'_, '_> {
    /// The command is done, now: statistics of its execution.
    pub fn finished(&mut self, call: Call<'_>, began_ns: u64, reply_bytes: usize) {
        self.exec.now_ns = self.engine.clock.monotonic_ns();
        let executed = Executed {
            now_ms: self.exec.now_ms,
            session: self.session,
            command: call.command,
            args: call.args,
            nanos: self.exec.now_ns.saturating_sub(began_ns),
            reply_bytes,
        };
        self.exec.account(self.engine, executed);
    }
}

impl Executor {
    /// Counts an execution.
    pub fn account(&mut self, engine: &Engine, executed: Executed<'_>) {
        let Executed { command, nanos, .. } = executed;
        let worker = stats(engine, self.worker);
        worker.commands_processed.add(1);
        worker.command_nanos.add(nanos);
        if let Some(stats) = worker.commands.get(command.id) {
            let tracks = engine.switches.latency_tracking.load(Ordering::Relaxed);
            stats.record(nanos, tracks);
        }
        if executed.session.is_client() {
            engine.commandlog.record(executed);
            if nanos >= 1_000_000 {
                self.note_slow(engine, command, nanos);
            }
        }
    }

    #[cold]
    fn note_slow(&mut self, engine: &Engine, command: &Command, nanos: u64) {
        self.now_ms = engine.now_ms();
        let event = match command.spec.flags.has(Flags::FAST) {
            true => "fast-command",
            false => "command",
        };
        engine.latency.record(event, self.now_ms, nanos / 1_000_000);
    }
}

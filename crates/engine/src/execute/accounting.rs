//! Statistics of executions: counters, latency, the command log.

use std::sync::atomic::Ordering;

use super::{Call, Execution, Executor};
use crate::command::Flags;
use crate::commandlog::Executed;
use crate::context::Mode;
use crate::engine::Engine;
use crate::stats::WorkerStats;
use crate::table::Command;

pub(super) fn stats(engine: &Engine, worker: usize) -> &WorkerStats {
    // Other threads than workers (loading) use the counters of the first worker, which always
    // exists.
    engine.stats.get(worker).unwrap_or(&engine.stats[0])
}

/// Counts a command as refused.
pub fn count_rejected(exec: &Executor, engine: &Engine, entry: &Command) {
    if let Some(command) = stats(engine, exec.worker).commands.get(entry.id) {
        command.rejected.add(1);
    }
}

impl Execution<'_, '_> {
    /// Records the statistics of a command that has just ended.
    #[inline]
    pub fn finished(&mut self, call: &Call<'_>, began_ns: u64, reply_bytes: usize) {
        self.exec.now_ns = self.engine.clock.monotonic_ns();
        let executed = Executed {
            now_ms: self.exec.now_ms,
            session: self.session,
            command: call.command,
            args: call.args,
            keys: match call.mode {
                Mode::Script => &[],
                _ => call.keys,
            },
            nanos: self.exec.now_ns.saturating_sub(began_ns),
            reply_bytes,
        };
        self.exec.account(self.engine, &executed);
    }
}

impl Executor {
    /// Counts an execution.
    #[inline]
    pub fn account(&mut self, engine: &Engine, executed: &Executed<'_>) {
        let (command, nanos) = (executed.command, executed.nanos);
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
        let session = engine.hotkeys.active();
        if session != 0 && !executed.keys.is_empty() {
            let random = &mut self.random;
            let session = (&engine.hotkeys, session);
            self.hotkeys
                .note(session, self.worker, executed, || random.next_u64());
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

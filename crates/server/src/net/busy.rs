//! Requests that run scripts, and what a worker does while one of them takes long.
//!
//! A script runs on the worker of its client. After `busy-reply-threshold` its interruptions give
//! the worker short turns, in which it reads from its other clients: SCRIPT KILL and a few other
//! commands run, everything that may need data is refused with -BUSY. Such a turn locks no shard,
//! because the script holds some on the same thread. For the same reason it closes no connection:
//! those are closed when the script has ended.

use std::sync::Arc;

use super::worker::Worker;
use crate::server::Server;
use crate::transport::mailbox::Message;
use engine::command::Locks;
use engine::execute::{BusyTurn, Execution, Executor, Held, Request, Verdict};
use engine::session::Session;
use engine::table::{Command, Resolved};

/// Time between two turns, in milliseconds, and more with many clients: a turn reads from each of
/// them.
const TURN_EVERY_MS: u64 = 10;

/// Clients for which a millisecond is added to the time between two turns: reading from a hundred
/// takes a small part of that.
const CLIENTS_PER_MS: usize = 100;

/// True for a request that runs a script, or a transaction with one.
#[inline]
pub(super) fn may_run_long(session: &Session, command: Resolved) -> bool {
    match command.found() {
        Some(command) => !command.is_on_keys && takes_long(session, command),
        None => false,
    }
}

fn takes_long(session: &Session, command: &Command) -> bool {
    match command.spec.locks {
        Locks::Script(_) => true,
        Locks::Queued => session
            .multi
            .as_ref()
            .is_some_and(|multi| multi.runs_scripts),
        _ => false,
    }
}

impl Worker {
    /// Runs scripts that came together with requests of other connections, each in a round of its
    /// own: so those are not behind a script that takes long.
    pub(super) fn run_alone(&mut self, server: &Arc<Server>) {
        for token in std::mem::take(&mut self.alone) {
            self.only = Some(token);
            self.execute_runnable(server);
        }
        self.only = None;
    }

    /// Runs such a request. The connection is out of its place meanwhile, and the worker has
    /// another executor, so that it can serve others.
    pub(super) fn run_script<'k>(
        &mut self,
        server: &'k Server,
        token: usize,
        request: &Request<'_>,
        held: &mut Held<'k>,
    ) -> Verdict {
        let slot = self.connections.get_mut(token);
        let Some(mut connection) = slot.and_then(Option::take) else {
            return Verdict::Done;
        };
        let spare = self.spare.take().unwrap_or_else(|| {
            let spare = Executor::new(&server.engine, server.handlers, self.index);
            Box::new(spare)
        });
        // A second script cannot begin in a turn: it is refused.
        let mut exec = std::mem::replace(&mut self.exec, spare);
        let (is_busy, turn_before) = (exec.is_busy, self.busy_turn_ms);
        let mut execution = Execution {
            exec: &mut exec,
            engine: &server.engine,
            session: &mut connection.session,
            out: &mut connection.output,
            right: None,
            turn: if is_busy { None } else { Some(self) },
        };
        let verdict = execution.request(request, held);
        self.spare = Some(std::mem::replace(&mut self.exec, exec));
        let had_turns = self.busy_turn_ms != turn_before;
        // A turn has taken it out of the list of connections with something to write.
        connection.queued_write &= !had_turns;
        if let Some(slot) = self.connections.get_mut(token) {
            *slot = Some(connection);
        }
        self.want_write(token);
        if !is_busy && !self.closing.is_empty() {
            // All locks that this request needed are released, but others may be held over the
            // round.
            *held = None;
            self.close_left();
        }
        verdict
    }

    fn close_left(&mut self) {
        for token in std::mem::take(&mut self.closing) {
            self.close(token);
        }
    }

    /// Takes connections over that others hand on, and what was sent to clients. The rest of the
    /// mail may need locks, so it is for later.
    fn read_some_mail(&mut self, server: &Arc<Server>) {
        let Some(handle) = server.workers.get(self.index) else {
            return;
        };
        let mut messages = Vec::new();
        handle.mailbox.drain(&mut messages);
        for message in messages {
            match message {
                Message::Adopt(_) | Message::Deliver(_) => self.handle(server, message),
                _ => self.later.push(message),
            }
        }
    }

    fn read_from_all(&mut self) {
        for token in 0..self.connections.len() {
            let Some(connection) = self.connection(token) else {
                continue;
            };
            // What this round has read is executed behind the script.
            if !connection.in_round && !connection.queued_run && !connection.is_stopped() {
                connection.readable = true;
                connection.queued_run = true;
                self.runnable.push(token);
            }
        }
    }
}

impl BusyTurn for Worker {
    fn turn(&mut self) {
        let server = Arc::clone(&self.server);
        self.exec.refresh_clock(&server.engine);
        let every_ms = TURN_EVERY_MS + (self.connections.len() / CLIENTS_PER_MS) as u64;
        if self.exec.steady_ms < self.busy_turn_ms + every_ms {
            return;
        }
        self.busy_turn_ms = self.exec.steady_ms;
        if self
            .timers
            .as_ref()
            .is_some_and(|timers| (timers.is_stop_asked)())
        {
            // The timers act on the signal when the script has ended.
            server.end_scripts(false);
        }
        self.exec.is_busy = true;
        self.accept(&server);
        self.read_some_mail(&server);
        self.read_from_all();
        self.execute_runnable(&server);
        let released = self.release(&server);
        self.write_replies(&server, released);
        self.exec.is_busy = false;
    }
}

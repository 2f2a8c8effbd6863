//! Running a handler.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use resp::{Args, Mark, Output, Protocol, Reply};

use super::{Call, Execution, Executor, internal_error, note_panic, stats};
use crate::command::{Flags, Locks};
use crate::context::{Context, Data, Mode};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::execute::{CommandResult, Outcome, Runs};
use crate::fault::Stage;
use crate::keys::Key;
use crate::shard_tables::Locked;
use crate::table::Command;

thread_local! {
    /// The last command that this thread ran, for the crash report.
    static RUNNING: Cell<Option<&'static Command>> = const { Cell::new(None) };
}

/// The name of the last command that the calling thread ran. May be called in a signal handler.
pub fn running_command() -> Option<&'static str> {
    let command = RUNNING.try_with(Cell::get).ok().flatten();
    command.map(|command| command.full_name)
}

impl Execution<'_, '_> {
    /// Runs the handler under locks that are held already, and collects its effects; the error of a
    /// failed command stands in the output afterwards.
    pub fn call(&mut self, call: &Call<'_>, locked: &mut Locked<'_>) -> CommandResult {
        let mark = self.out.mark();
        let dirty_before = self.exec.effects.dirty();
        self.exec.effects.next_command();
        let db = self.session.db;
        // All but `Ok(Outcome::Done)`, the usual case, is boxed: a result is as large as its
        // largest variant, and would be moved several times.
        let handled = catch_unwind(AssertUnwindSafe(|| match self.handle(call, locked) {
            Ok(Outcome::Done) => None,
            other => Some(Box::new(other)),
        }));
        let other = match handled {
            Ok(other) => other,
            Err(panic) => {
                self.exec.panicked = true;
                let error = panicked(self.engine, call.command, panic.as_ref());
                Some(Box::new(Err(error)))
            }
        };
        if let Some(Err(error)) = other.as_deref() {
            self.failed(call, error, mark);
        }
        if self.session.tracking.is_some() {
            self.remember_reads(call, locked);
        }
        let effects = &mut self.exec.effects;
        let changed = effects.dirty() > dirty_before;
        if changed && call.command.spec.flags.has(Flags::WRITE) && !effects.is_replaced() {
            effects.push_args(db, call.args);
        }
        other.map_or(Ok(Outcome::Done), |other| *other)
    }

    /// Puts the error in the place of what the command has written.
    #[cold]
    fn failed(&mut self, call: &Call<'_>, error: &CommandError, mark: Mark) {
        self.out.truncate_to(mark);
        self.write_error(error);
        let stats = stats(self.engine, self.exec.worker);
        if let Some(command) = stats.commands.get(call.command.id) {
            command.failed.add(1);
        }
    }

    #[inline]
    fn handle(&mut self, call: &Call<'_>, locked: &mut Locked<'_>) -> CommandResult {
        let (command, args) = (call.command, call.args);
        RUNNING.set(Some(command));
        let handler = match self.exec.handlers.of(command.id) {
            Runs::Handler(handler) => handler,
            Runs::Nested(handler) => return handler(self, call, locked),
        };
        let exec = &mut *self.exec;
        let protocol = self.session.protocol;
        let data = Data {
            locked,
            effects: &mut exec.effects,
            changes: &mut exec.changes,
            stats: stats(self.engine, exec.worker),
            engine: self.engine,
            db: self.session.db,
            now_ms: exec.now_ms,
            touch: !self.session.no_touch || command.spec.flags.has(Flags::TOUCHES_ALWAYS),
            origin: self.session.origin,
            imports: self.session.import_source,
            random: &mut exec.random,
        };
        let mut context = Context {
            args,
            reply: Reply::new(self.out, protocol),
            data,
            session: self.session,
            engine: self.engine,
            entry: command,
            located: call.keys,
            mode: call.mode,
            worker: exec.worker,
            reply_offset: &mut exec.reply_offset,
        };
        let result = handler(&mut context);
        if call.mode == Mode::Script || call.mode == Mode::Transaction {
            self.engine.faults.reach(Stage::Nested);
        }
        result
    }

    /// Registers a client that keeps copies for the keys that it has read.
    #[cold]
    fn remember_reads(&mut self, call: &Call<'_>, locked: &mut Locked<'_>) {
        let spec = call.command.spec;
        // What a script reads is remembered as its commands run.
        if !spec.flags.has(Flags::READONLY) || matches!(spec.locks, Locks::Script(_)) {
            return;
        }
        let tracking = self.session.tracking.as_ref();
        if let Some(tracking) = tracking.filter(|tracking| tracking.registers()) {
            for located in call.keys {
                let key = Key::new(call.args.arg(located.position.index), located.hash);
                // Changes that came before are not announced yet, and concern no copy of it.
                if self.exec.changes.is_empty() {
                    self.engine.remember_read(locked, &tracking.tracker, key);
                } else {
                    self.exec.changes.note_read(&tracking.tracker, key);
                }
            }
        }
    }

    /// Writes an error reply and counts it.
    pub fn write_error(&mut self, error: &CommandError) {
        let protocol = self.session.protocol;
        write_error(self.exec, self.engine, protocol, error, self.out);
    }
}

/// Writes an error reply and counts it.
pub fn write_error(
    exec: &Executor,
    engine: &Engine,
    protocol: Protocol,
    error: &CommandError,
    out: &mut Output,
) {
    let text = error.text();
    if !matches!(error, CommandError::Passed(_)) {
        engine.errors.record(&text);
        stats(engine, exec.worker).error_replies.add(1);
    }
    Reply::new(out, protocol).error(text.as_ref());
}

/// A handler panicked, which is a defect. The client gets an error, the log gets the backtrace, and
/// after a write the server refuses further ones, because keys may be half-changed.
#[cold]
fn panicked(engine: &Engine, command: &Command, panic: &(dyn Any + Send)) -> CommandError {
    note_panic(&format!("the handler of '{}'", command.full_name), panic);
    if command.spec.flags.has(Flags::WRITE) {
        engine.switches.half_changed.store(true, Ordering::Release);
    }
    internal_error(command.full_name)
}

/// `ERR unknown command ...` with the beginning of the arguments, bounded as Redis bounds it.
pub(super) fn unknown_command(args: Args<'_>) -> Vec<u8> {
    const SHOWN_MAX: usize = 128;
    let name = args.arg(0);
    let mut line = b"ERR unknown command '".to_vec();
    line.extend_from_slice(name.get(..SHOWN_MAX).unwrap_or(name));
    line.extend_from_slice(b"', with args beginning with: ");
    let mut shown = 0;
    for arg in args.skip(1).iter() {
        if shown >= SHOWN_MAX {
            break;
        }
        let part = arg.get(..SHOWN_MAX - shown).unwrap_or(arg);
        line.push(b'\'');
        line.extend_from_slice(part);
        line.extend_from_slice(b"' ");
        shown += part.len() + 3;
    }
    line
}

/// `ERR unknown subcommand ...`.
pub(super) fn unknown_subcommand(container: &str, name: &[u8]) -> Vec<u8> {
    let mut line = b"ERR unknown subcommand '".to_vec();
    line.extend_from_slice(name.get(..128).unwrap_or(name));
    line.extend_from_slice(b"'. Try ");
    line.extend_from_slice(container.to_ascii_uppercase().as_bytes());
    line.extend_from_slice(b" HELP.");
    line
}

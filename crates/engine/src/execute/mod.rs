//! The one way of execution: look-up, checks, locks, handler, log, key changes, unlock.
//!
//! ```text
//! request   admit -> locate -> lock -> call -> commit -> serve -> account   a client, a file
//! nested             admit_nested -> call -> account                        EXEC, scripts
//! served                             call -> commit -> account              a blocked client
//! change                             (function) -> commit                   expiry, eviction
//! ```
//!
//! Every command of the server is run by [`Execution::call`], and every change is logged and
//! announced by `Executor::commit`, under the locks it was made under. So the order of the log is
//! the order of the locks, and each rule is enforced in this one place.

mod accounting;
mod admission;
mod announce;
mod apply;
pub mod blocking;
mod call;
mod commit;
pub mod evict;
pub mod expire;
mod handler;
mod locking;
mod multi;
mod replay;
mod rights;
mod rollback;
mod script;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use keyspace::{ExtensionRight, KeyHash};
use resp::{Args, Mark, Output};

use crate::command::Locks;
use crate::context::{Mode, Random};
use crate::effects::Effects;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::fault::Stage;
use crate::hotkeys::HotKeysThread;
use crate::key_changes::KeyChanges;
use crate::keys::{DbKey, LocatedKey};
use crate::monitor::{Caller, MonitorLines};
use crate::scripts::{Flushes, ScriptTable};
use crate::session::{ReplyMode, Session};
use crate::shard_tables::Locked;
use crate::table::{Command, KeyPlan, Resolved};

pub use accounting::count_rejected;
pub use apply::{Unapplied, session as primary_session};
pub use call::{running_command, write_error};
pub use commit::Touched;
pub use handler::{
    CommandResult, CommandSpec, Handler, Handlers, NestedHandler, Outcome, Runs, command_table,
    container,
};
pub use locking::locate;
pub use multi::{discard, exec, unwatch};
pub use replay::session as replay_session;
pub(crate) use rights::{Refusal, log_refusal};
pub use rights::{log_certificate, log_denied, log_failed_login, log_login};
pub use script::{
    LibraryError, NO_SCRIPT, drop_interpreter, read_library, run_library, run_script,
};

use accounting::stats;
use admission::Admission;
use locking::{KEYS_KEEP, NotLocked, locate_one, look_ahead};

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reply stands in the output.
    Done,
    /// The command was refused or failed; its error stands in the output.
    Failed(Box<CommandError>),
    /// The client is blocked; none of its further requests run.
    Blocked,
    /// CLIENT PAUSE, or loading that is about to end, postpones the request: it must be offered
    /// again.
    Postponed,
}

impl Verdict {
    /// The command was refused or failed with this error.
    #[cold]
    fn failed(error: CommandError) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// A command with its arguments and their keys.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The command.
    pub command: &'static Command,
    /// The request, command name first.
    pub args: Args<'a>,
    /// The keys among the arguments, in order of their position.
    pub keys: &'a [LocatedKey],
    /// How it came to be run.
    pub mode: Mode,
}

impl Call<'_> {
    fn locks(&self) -> Locks {
        self.command.spec.locks.of(self.args)
    }
}

/// The number of a thread that is no worker: it counts with the first worker, and its scripts have
/// the place that such threads share.
pub const NO_WORKER: usize = usize::MAX;

/// The state of a thread that executes commands, reused from one to the next.
pub struct Executor {
    /// Number of the worker; also picks its statistics.
    pub worker: usize,
    /// Effects of the command being executed.
    pub effects: Effects,
    /// Its changes of keys, until they are announced.
    pub changes: KeyChanges,
    /// Its commands, until they are sent to monitors.
    monitor_lines: MonitorLines,
    /// Its part of HOTKEYS.
    hotkeys: HotKeysThread,
    /// The handlers of the commands.
    handlers: Handlers,
    /// Keys that blocked clients may be served from.
    pub ready: Vec<DbKey>,
    /// Random numbers.
    pub random: Random,
    /// Unix milliseconds, refreshed per loop turn and after slow commands.
    pub now_ms: u64,
    /// Milliseconds of the steady clock, refreshed per loop turn.
    pub steady_ms: u64,
    /// Monotonic nanoseconds at the end of the previous command.
    pub now_ns: u64,
    /// Log offset that must be flushed before the replies written so far may leave.
    pub reply_offset: u64,
    /// Its worker runs a script for so long that all requests are refused that need data.
    pub is_busy: bool,
    /// A script of the present request ran for longer than `busy-reply-threshold`.
    was_slow: bool,
    /// The position behind what was appended for the present execution, when its bytes came from
    /// a primary.
    appended: Option<u64>,
    /// The server's admission epoch when the present request was admitted.
    admission_epoch: u64,
    /// Memory was above `maxmemory` when it was admitted.
    is_full: bool,
    /// The script that it names.
    target: Option<script::Target>,
    /// The handler of a command panicked.
    panicked: bool,
    /// Scripts that this thread has run.
    scripts: ScriptTable,
    /// Flushes of scripts that its interpreter has taken notice of.
    flushes: Flushes,
    located: Vec<LocatedKey>,
    shards: Vec<usize>,
}

impl Executor {
    /// An executor for one thread; `handlers` are those of the engine's commands.
    pub fn new(engine: &Engine, handlers: Handlers, worker: usize) -> Self {
        let now_ms = engine.now_ms();
        let now_ns = engine.clock.monotonic_ns();
        Self {
            worker,
            effects: Effects::default(),
            changes: KeyChanges::default(),
            monitor_lines: MonitorLines::default(),
            hotkeys: HotKeysThread::default(),
            handlers,
            ready: Vec::new(),
            random: Random::new(engine.seeds.next_seed()),
            now_ms,
            steady_ms: engine.steady_ms(),
            now_ns,
            reply_offset: 0,
            is_busy: false,
            was_slow: false,
            appended: None,
            admission_epoch: 0,
            is_full: false,
            target: None,
            panicked: false,
            scripts: ScriptTable::default(),
            flushes: Flushes::default(),
            located: Vec::new(),
            shards: Vec::new(),
        }
    }

    /// Reads the clocks again.
    pub fn refresh_clock(&mut self, engine: &Engine) {
        self.now_ms = engine.now_ms();
        self.steady_ms = engine.steady_ms();
        self.now_ns = engine.clock.monotonic_ns();
    }

    /// Starts an execution; `logs`: its effects are encoded.
    #[inline]
    fn begin(&mut self, logs: bool) {
        self.effects.reset(logs);
        self.changes.clear();
    }
}

/// A request that has been looked up.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its arguments.
    pub args: Args<'a>,
    /// Its command.
    pub command: Resolved,
    /// Hash of its key, when the command has exactly one and it was computed already.
    pub hash: Option<KeyHash>,
}

impl<'a> Request<'a> {
    /// Looks a request up.
    pub fn new(engine: &Engine, args: Args<'a>) -> Self {
        Self {
            args,
            command: engine.commands.resolve(args),
            hash: None,
        }
    }
}

/// Locks of all shards that a worker holds over a batch of requests, or none.
///
/// A lock taken and released for each request costs as much as a look-up. While one worker has all
/// clients no other thread locks shards, so it keeps them over its batch. Commands on keys use
/// them; everything else gives them back first, because it may take locks of its own.
pub type Held<'k> = Option<Locked<'k>>;

/// The parts that run a command: the thread's, the server's and the client's.
pub struct Execution<'e, 'k> {
    /// The thread's part.
    pub exec: &'e mut Executor,
    /// The state that all threads share.
    pub engine: &'k Engine,
    /// The client's state.
    pub session: &'e mut Session,
    /// Where the reply goes.
    pub out: &'e mut Output,
    /// The right to lock further shards, while a script needs it.
    pub right: Option<ExtensionRight<'k>>,
    /// Serves the other clients of the worker while a script runs for long.
    pub turn: Option<&'e mut dyn BusyTurn>,
}

/// The worker of a script that runs for long.
pub trait BusyTurn {
    /// Refuses requests that have come, and runs the few that need no data. Shards are locked.
    fn turn(&mut self);
}

/// Why a request was not performed.
enum Unperformed {
    /// A pause or a role changed between the checks and the locks: they are to be made again.
    Outdated,
    /// Its locks are taken.
    NotLocked(NotLocked),
}

impl From<NotLocked> for Unperformed {
    fn from(why: NotLocked) -> Self {
        Self::NotLocked(why)
    }
}

impl<'k> Execution<'_, 'k> {
    /// Runs one request. A panic at any stage leaves an error reply, no lock and no waiting client
    /// behind, and a server that refuses further writes.
    pub fn request(&mut self, request: &Request<'_>, held: &mut Held<'k>) -> Verdict {
        let mark = self.out.mark();
        let offered = catch_unwind(AssertUnwindSafe(|| self.offer(request, held, &mark)));
        offered.unwrap_or_else(|panic| self.panicked(request, held, mark, panic.as_ref()))
    }

    #[cold]
    fn panicked(
        &mut self,
        request: &Request<'_>,
        held: &mut Held<'k>,
        mark: Mark,
        panic: &(dyn Any + Send),
    ) -> Verdict {
        let command = request.command.found();
        let name = command.map_or("a request", |command| command.full_name);
        note_half_changed(self.engine, name, panic);
        *held = None;
        self.right = None;
        self.out.truncate_to(mark);
        self.give_up();
        let error = internal_error(name);
        self.write_error(&error);
        Verdict::failed(error)
    }

    /// Cleans up after an execution that panicked: discards its transaction, ends its wait, and
    /// serves the waiters of keys that it fed. No lock is held.
    #[cold]
    fn give_up(&mut self) {
        let ended = guarded(self.engine, "the end of a command that panicked", || {
            discard(self.engine, self.session);
            let waiter = self.session.new_waiter.take();
            blocking::forget(self.engine, self.session, waiter);
            if !self.exec.ready.is_empty() {
                blocking::serve_later(self.exec, self.engine);
            }
        });
        if ended.is_none() {
            self.exec.ready.clear();
        }
    }

    fn offer(&mut self, request: &Request<'_>, held: &mut Held<'k>, mark: &Mark) -> Verdict {
        self.engine.faults.reach(Stage::Admission);
        if held.is_some() && !self.runs_under_held(request) {
            *held = None;
        }
        let was_silent = self.session.is_silent();
        let verdict = loop {
            match self.admit(request, held.is_some()) {
                Ok(Admission::Run(command)) => match self.perform(command, request, held) {
                    Ok(verdict) => break verdict,
                    Err(Unperformed::Outdated) => {}
                    Err(Unperformed::NotLocked(NotLocked::Postpone)) => return Verdict::Postponed,
                    Err(Unperformed::NotLocked(NotLocked::Busy(error))) => {
                        break Verdict::failed(self.reject(request, *error));
                    }
                },
                Ok(Admission::Queue(command, flags)) => {
                    let databases = self.engine.keyspace.databases();
                    multi::queue(self.session, (command, flags), request.args, databases);
                    self.out.raw(b"+QUEUED\r\n");
                    break Verdict::Done;
                }
                Ok(Admission::Postpone) => return Verdict::Postponed,
                Err(error) => break Verdict::failed(self.reject(request, error)),
            }
        };
        let session = &*self.session;
        if session.reply_mode != ReplyMode::On
            || session.reply_is_push
            || session.tracking.is_some()
        {
            self.end_request(request, was_silent, mark);
        }
        verdict
    }

    /// CLIENT REPLY and CLIENT CACHING hold for one request.
    #[inline(never)]
    fn end_request(&mut self, request: &Request<'_>, was_silent: bool, mark: &Mark) {
        let is_push = std::mem::take(&mut self.session.reply_is_push);
        // CLIENT REPLY ON is the first command that gets a reply again.
        if was_silent && self.session.is_silent() && !is_push {
            self.out.truncate_to(*mark);
        }
        self.end_caching(request);
        self.session.reply_mode = match self.session.reply_mode {
            ReplyMode::SkipNext => ReplyMode::Skip,
            ReplyMode::Skip => ReplyMode::On,
            other => other,
        };
    }

    /// CLIENT CACHING holds for one command or transaction, and for no CLIENT command.
    fn end_caching(&mut self, request: &Request<'_>) {
        let session = &mut *self.session;
        if let Some(tracking) = &mut session.tracking
            && tracking.caching
            && session.multi.is_none()
        {
            let command = request.command.found();
            tracking.caching = command.is_some_and(|it| it.parent == Some("client"));
        }
    }

    /// Only plain commands on keys: no transaction (a refusal forgets its watched keys, which
    /// locks), no eviction (which locks).
    fn runs_under_held(&self, request: &Request<'_>) -> bool {
        let on_keys = request.command.found().is_some_and(|command| {
            let is_script = matches!(command.spec.locks, Locks::Script(_));
            (command.is_on_keys || is_script) && command.plan != KeyPlan::None
        });
        let is_bounded = self.engine.switches.max_memory.load(Ordering::Relaxed) != 0;
        on_keys && self.session.multi.is_none() && !is_bounded
    }

    /// Locks what the command needs, runs it, logs its effects and serves the clients that it has
    /// fed. On an error nothing was done.
    fn perform(
        &mut self,
        command: &'static Command,
        request: &Request<'_>,
        held: &mut Held<'k>,
    ) -> Result<Verdict, Unperformed> {
        let args = request.args;
        let mode = Mode::Direct;
        if let KeyPlan::One(position) = command.plan {
            let key = locate_one(self.engine, position, request);
            let keys = key.as_slice();
            return self.perform_call(
                &Call {
                    command,
                    args,
                    keys,
                    mode,
                },
                held,
            );
        }
        let mut keys = std::mem::take(&mut self.exec.located);
        keys.clear();
        locate(self.engine, command, request, &mut keys);
        let call = Call {
            command,
            args,
            keys: &keys,
            mode,
        };
        let verdict = self.perform_call(&call, held);
        keys.shrink_to(KEYS_KEEP);
        self.exec.located = keys;
        verdict
    }

    fn perform_call(
        &mut self,
        call: &Call<'_>,
        held: &mut Held<'k>,
    ) -> Result<Verdict, Unperformed> {
        let (began_ns, waiting) = (self.exec.now_ns, self.out.len());
        let (verdict, feeds) = match held {
            Some(locked) => self.perform_locked(call, locked, (began_ns, waiting)),
            None => {
                let _changes = self.lock_changes(call);
                let mut locked = self.lock_for(call)?;
                if self.is_admission_outdated() {
                    return Err(Unperformed::Outdated);
                }
                self.perform_locked(call, &mut locked, (began_ns, waiting))
            }
        };
        if self.right.is_some() {
            self.right = None;
        }
        if self.exec.was_slow {
            self.exec.was_slow = false;
            *held = None;
            blocking::clear_left(self.engine);
        }
        if !self.exec.ready.is_empty() {
            *held = None;
            blocking::serve_later(self.exec, self.engine);
        }
        // A command that blocks is counted when its wait ends.
        if !feeds && self.session.new_waiter.is_none() {
            self.finished(call, began_ns, self.out.len().saturating_sub(waiting));
        }
        Ok(verdict)
    }

    /// Runs a command under its locks and serves the clients that it has fed: true when there are
    /// any. `began_ns` is when it began, `waiting` how much output waited then.
    fn perform_locked(
        &mut self,
        call: &Call<'_>,
        locked: &mut Locked<'k>,
        (began_ns, waiting): (u64, usize),
    ) -> (Verdict, bool) {
        let verdict = self.transact(call, locked, began_ns);
        let feeds = !self.exec.ready.is_empty();
        if feeds {
            // The time to serve other clients does not count for this command.
            self.finished(call, began_ns, self.out.len().saturating_sub(waiting));
            blocking::serve(self.exec, self.engine, locked);
        }
        (verdict, feeds)
    }

    /// True when a pause or a change of role came between the checks and the locks: a command that
    /// it forbids must not run after the reply to CLIENT PAUSE.
    fn is_admission_outdated(&self) -> bool {
        let epoch = self.engine.admission_epoch.load(Ordering::Acquire);
        epoch != self.exec.admission_epoch
    }

    /// Clears the effects of the previous execution.
    #[inline]
    pub fn begin(&mut self) {
        let logs = self.session.is_client() && self.engine.is_logging();
        self.exec.begin(logs);
    }

    /// Runs a command under its locks and logs what it did.
    fn transact(&mut self, call: &Call<'_>, locked: &mut Locked<'_>, began_ns: u64) -> Verdict {
        self.begin();
        look_ahead(locked, self.session.db, call.keys);
        let verdict = match self.call(call, locked) {
            Ok(Outcome::Done) => Verdict::Done,
            Ok(Outcome::Block(block)) => {
                blocking::block(self, call, block, locked, began_ns);
                Verdict::Blocked
            }
            Err(error) => Verdict::failed(error),
        };
        self.note_for_monitors(call);
        let locks = call.locks();
        let touched = match locks {
            Locks::Keys => Touched::Keys(call.keys),
            Locks::All if !call.command.spec.flags.shows_data() => Touched::Nothing,
            _ => Touched::All,
        };
        self.commit(locked, touched);
        verdict
    }

    #[inline]
    fn note_for_monitors(&mut self, call: &Call<'_>) {
        if self.engine.monitors.count() != 0 {
            let by = match call.mode {
                Mode::Script => Caller::Lua(self.session),
                _ => Caller::Client(self.session),
            };
            let now_us = self.engine.clock.unix_us();
            let lines = &mut self.exec.monitor_lines;
            lines.note(now_us, by, call.command, call.args);
        }
    }

    /// Monitors see a command that runs a script before what the script calls.
    #[inline]
    fn note_caller(&mut self, call: &Call<'_>) {
        if self.engine.monitors.count() != 0 {
            let now_us = self.engine.clock.unix_us();
            let by = Caller::Script(self.session);
            let lines = &mut self.exec.monitor_lines;
            lines.note(now_us, by, call.command, call.args);
        }
    }

    /// Runs a command inside of another one, under the locks of that one. Its reply stands in the
    /// output, also that of one which failed.
    pub fn nested(&mut self, call: &Call<'_>, locked: &mut Locked<'_>) -> Result<(), CommandError> {
        if let Err(error) = self.admit_nested(call) {
            count_rejected(self.exec, self.engine, call.command);
            self.write_error(&error);
            return Err(error);
        }
        self.run_nested(call, locked)
    }

    /// Runs a command inside of another one that has admitted it.
    fn run_nested(&mut self, call: &Call<'_>, locked: &mut Locked<'_>) -> Result<(), CommandError> {
        let (began_ns, waiting) = (self.exec.now_ns, self.out.len());
        // Handlers answer at once when they may not block, so the result is never a block.
        let result = self.call(call, locked).map(drop);
        self.note_for_monitors(call);
        self.finished(call, began_ns, self.out.len().saturating_sub(waiting));
        result
    }
}

/// Runs a part of the server that holds locks or changes data. A panic in it is logged with its
/// backtrace, and from then on the server refuses writes, because keys may be half-changed; the
/// answer is `None`.
pub fn guarded<T>(engine: &Engine, what: &str, work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    result
        .map_err(|panic| note_half_changed(engine, what, panic.as_ref()))
        .ok()
}

#[cold]
fn note_half_changed(engine: &Engine, what: &str, panic: &(dyn Any + Send)) {
    note_panic(what, panic);
    engine.switches.half_changed.store(true, Ordering::Release);
}

/// The error of a command that panicked.
pub(crate) fn internal_error(command: &str) -> CommandError {
    CommandError::owned(format!(
        "ERR internal error in '{command}', see the log of the server"
    ))
}

#[cold]
fn note_panic(what: &str, panic: &(dyn Any + Send)) {
    log::error!(
        "A panic in {what}: {}\n{}",
        panic_text(panic),
        std::backtrace::Backtrace::force_capture()
    );
}

/// The message of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

//! The commands that a script calls.

use std::sync::atomic::Ordering;

use keyspace::ExtensionRight;
use persist::Scope;
use resp::{Args, Output, OwnedArgs, Protocol};
use script::{AclVerdict, Host, LogLevel, Replication, Stop};

use super::super::locking::locate_one_or_all;
use super::super::rollback::Savepoint;
use super::super::{BusyTurn, Call, Execution, Executor, Mode, count_rejected};
use super::callee::Target;
use super::locks;
use crate::command::{Flags, Locks};
use crate::config::P;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keys::LocatedKey;
use crate::scripts::{Kind, Run, Running};
use crate::session::Session;
use crate::shard_tables::Locked;
use crate::table::Command;

/// Runs the commands that a script calls, under the locks of the script.
pub(super) struct Caller<'a, 'e, 'k, 'l> {
    exec: &'a mut Executor,
    pub(super) engine: &'k Engine,
    pub(super) session: &'a mut Session,
    right: Option<&'a ExtensionRight<'k>>,
    locked: &'a mut Locked<'l>,
    interruption: Interruption<'a, 'e>,
    /// The state that the script goes back to when it is ended; `None`: it cannot write, or comes
    /// from a file.
    savepoint: Option<&'a Savepoint>,
    /// The keys that the request declares.
    declared: Args<'a>,
    /// Only declared keys may be used (`script-undeclared-keys deny`).
    declared_only: bool,
    /// The script must not write.
    pub(super) reads_only: bool,
    /// Writes are allowed whatever the memory is.
    pub(super) allows_oom: bool,
    /// The time of all commands of the script, Unix milliseconds.
    now_ms: u64,
}

/// What ends a script, and what its worker does meanwhile.
struct Interruption<'a, 'e> {
    engine: &'a Engine,
    run: &'a Run,
    /// When its time is over, monotonic nanoseconds; `u64::MAX`: never.
    ends_ns: u64,
    /// There is more to undo than may be kept, and it must be undone.
    is_too_large: bool,
    kind: Kind,
    name: &'a [u8],
    args: Args<'a>,
    turn: &'a mut Option<&'e mut dyn BusyTurn>,
}

impl<'a, 'e, 'k, 'l> Caller<'a, 'e, 'k, 'l> {
    pub(super) fn new(
        execution: &'a mut Execution<'e, 'k>,
        locked: &'a mut Locked<'l>,
        (call, target): (&Call<'a>, &'a Target),
        declared: Args<'a>,
        savepoint: Option<&'a Savepoint>,
    ) -> Self {
        let engine = execution.engine;
        let flags = target.flags();
        let has = |flag| flags.is_some_and(|flags| flags.contains(flag));
        let run = engine.runs.of(execution.exec.worker);
        let interruption = Interruption {
            engine,
            run,
            ends_ns: ends_ns(engine, run, execution.session),
            is_too_large: false,
            kind: target.kind(),
            name: target.name(),
            args: call.args,
            turn: &mut execution.turn,
        };
        Self {
            engine,
            right: execution.right.as_ref(),
            locked,
            interruption,
            savepoint,
            declared,
            declared_only: locks::denies_undeclared(engine),
            reads_only: reads_only(call, target),
            allows_oom: has(script::header::Flags::ALLOW_OOM),
            now_ms: execution.exec.now_ms,
            exec: &mut *execution.exec,
            session: &mut *execution.session,
        }
    }

    fn run_command(
        &mut self,
        args: Args<'_>,
        protocol: Protocol,
        reply: &mut Output,
    ) -> Result<(), CommandError> {
        if self.exec.panicked {
            return Err(AFTER_PANIC);
        }
        let command = self.admit(args)?;
        let keys = locate_one_or_all(self.engine, command, args);
        let call = Call {
            command,
            args,
            keys: &keys,
            mode: Mode::Script,
        };
        self.hold(&call)?;
        let writes = command.spec.flags.has(Flags::WRITE);
        if writes {
            self.interruption.run.note_write();
        }
        // All commands of a script have the same time, as in Redis.
        self.exec.now_ms = self.now_ms;
        self.exec.now_ns = self.engine.clock.monotonic_ns();
        let outer = std::mem::replace(&mut self.session.protocol, protocol);
        let mut execution = Execution {
            exec: &mut *self.exec,
            engine: self.engine,
            session: &mut *self.session,
            out: reply,
            right: None,
            turn: None,
        };
        // The error stands in the reply.
        let _ = execution.run_nested(&call, self.locked);
        self.session.protocol = outer;
        // CLIENT LIST counts them beside the command that runs the script.
        let count = &self.session.shared.figures.commands;
        count.store(
            count.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Relaxed,
        );
        if writes && let Some(savepoint) = self.savepoint {
            if savepoint.is_lost() {
                self.interruption.run.note_final();
            }
            self.interruption.is_too_large |= savepoint.is_too_large();
        }
        Ok(())
    }

    /// Locks the shards of a command that are not locked yet.
    fn hold(&mut self, call: &Call<'_>) -> Result<(), CommandError> {
        let locks = call.locks();
        if self.declared_only {
            self.check_declared(call, locks)?;
        }
        if self.locked.holds_all() {
            return Ok(());
        }
        if !matches!(locks, Locks::Keys) {
            return self.extend(None);
        }
        for LocatedKey { hash, .. } in call.keys {
            let shard = self.engine.keyspace.shard_of(*hash);
            if !self.locked.holds(shard) {
                self.extend(Some(shard))?;
            }
        }
        Ok(())
    }

    /// Locks one shard more, or all, unless the script is to end meanwhile.
    #[cold]
    fn extend(&mut self, shard: Option<usize>) -> Result<(), CommandError> {
        let right = self.right.ok_or(UNPROVED)?;
        let interruption = &mut self.interruption;
        let mut stop = None;
        let mut patience = || {
            stop = interruption.look();
            stop.is_none()
        };
        let extended = match shard {
            Some(shard) => self.locked.extend_patient(right, shard, &mut patience),
            None => self.locked.extend_to_all_patient(right, &mut patience),
        };
        extended.map_err(|_| stopped(stop))
    }

    /// `script-undeclared-keys deny`
    #[cold]
    fn check_declared(&self, call: &Call<'_>, locks: Locks) -> Result<(), CommandError> {
        if matches!(locks, Locks::All) {
            return Err(CommandError::owned(format!(
                "ERR Script attempted to call '{}', which works on all keys, and script-undeclared-keys is deny",
                call.command.full_name
            )));
        }
        for key in call.keys {
            let key = call.args.arg(key.position.index);
            if self.declared.iter().all(|declared| declared != key) {
                let mut line = b"ERR Script attempted to access the undeclared key '".to_vec();
                line.extend_from_slice(key.get(..SHOWN_MAX).unwrap_or(key));
                line.extend_from_slice(b"', and script-undeclared-keys is deny");
                return Err(CommandError::Bytes(line));
            }
        }
        Ok(())
    }

    /// An execution of the client, for questions about its rights.
    pub(super) fn execution<'s>(&'s mut self, out: &'s mut Output) -> Execution<'s, 'k> {
        Execution {
            exec: &mut *self.exec,
            engine: self.engine,
            session: &mut *self.session,
            out,
            right: None,
            turn: None,
        }
    }

    /// Counts a refused command.
    pub(super) fn reject(&mut self, command: &Command, error: CommandError) -> CommandError {
        count_rejected(self.exec, self.engine, command);
        error
    }

    /// Memory was above its limit when the script began.
    pub(super) fn is_full(&self) -> bool {
        self.exec.is_full
    }

    /// The script has called a command that writes.
    pub(super) fn has_written(&self) -> bool {
        self.interruption.run.has_written()
    }
}

/// A script whose command has panicked fails at its end, and does nothing more.
const AFTER_PANIC: CommandError = CommandError::line("ERR an earlier command of the script failed");

/// True for a script that must not write.
pub(super) fn reads_only(call: &Call<'_>, target: &Target) -> bool {
    let flags = target.flags();
    call.command.spec.flags.has(Flags::READONLY)
        || flags.is_some_and(|flags| flags.contains(script::header::Flags::NO_WRITES))
}

/// Bytes of a key that an error shows.
const SHOWN_MAX: usize = 128;

/// A key outside of the locks, in a script that was run without the right to lock more: a defect of
/// the proof, or a command on all keys under `script-undeclared-keys deny`.
const UNPROVED: CommandError =
    CommandError::line("ERR Script attempted to access keys that it did not declare");

/// When the time of a script is over by `script-max-milliseconds`. A script of a file or of a
/// primary has no limit: it ran to its end where it came from.
fn ends_ns(engine: &Engine, run: &Run, session: &Session) -> u64 {
    let max_ms = engine.config.int(P::ScriptMaxMilliseconds).max(0) as u64;
    match max_ms {
        0 => u64::MAX,
        _ if !session.is_client() => u64::MAX,
        _ => run
            .began_ns()
            .saturating_add(max_ms.saturating_mul(NS_PER_MS)),
    }
}

const NS_PER_MS: u64 = 1_000_000;

fn stopped(stop: Option<Stop>) -> CommandError {
    let text = stop.map(|stop| stop.message.into_owned());
    CommandError::owned(text.unwrap_or_else(|| "ERR Script was stopped".to_owned()))
}

impl Interruption<'_, '_> {
    /// Whether the script is to end. After `busy-reply-threshold` the worker refuses its other
    /// clients meanwhile.
    fn look(&mut self) -> Option<Stop> {
        let (runs, run) = (&self.engine.runs, self.run);
        if runs.is_stopping() {
            return Some(Stop {
                message: "ERR Script ended because the server shuts down".into(),
            });
        }
        if self.is_too_large {
            return Some(Stop {
                message: "ERR Script ended because there is more to undo than 64 MiB of old values"
                    .into(),
            });
        }
        if self.ends_ns != u64::MAX
            && self.engine.clock.monotonic_ns() >= self.ends_ns
            && run.can_end()
        {
            return Some(Stop {
                message: "ERR Script ended because it ran for longer than script-max-milliseconds"
                    .into(),
            });
        }
        if !run.is_slow() {
            self.note_slow();
        }
        if run.is_slow()
            && let Some(turn) = self.turn
        {
            turn.turn();
        }
        (run.is_killed() && run.can_end()).then(|| Stop {
            message: match self.kind {
                Kind::Eval => "ERR Script killed by user with SCRIPT KILL.".into(),
                Kind::Function => "ERR Script killed by user with FUNCTION KILL.".into(),
            },
        })
    }

    fn note_slow(&self) {
        let threshold_ms = self.engine.config.int(P::BusyReplyThreshold).max(0) as u64;
        let now_ns = self.engine.clock.monotonic_ns();
        let elapsed_ms = now_ns.saturating_sub(self.run.began_ns()) / NS_PER_MS;
        if threshold_ms == 0 || elapsed_ms < threshold_ms {
            return;
        }
        let running = Running {
            name: self.name.to_vec(),
            args: self.args.iter().map(<[u8]>::to_vec).collect(),
        };
        self.engine.runs.note_slow(self.run, running);
        log::warn!(
            "Slow script detected: still in execution after {elapsed_ms} milliseconds. You can try killing the \
             script using the {} command. Script name is: {}.",
            match self.kind {
                Kind::Eval => "SCRIPT KILL",
                Kind::Function => "FUNCTION KILL",
            },
            String::from_utf8_lossy(self.name)
        );
    }
}

impl Host for Caller<'_, '_, '_, '_> {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output) {
        if let Err(error) = self.run_command(args, protocol, reply) {
            let exec = &*self.exec;
            super::super::write_error(exec, self.engine, protocol, &error, reply);
        }
    }

    fn set_replication(&mut self, scope: Replication) {
        let effects = &mut self.exec.effects;
        match (scope.aof, scope.replicas) {
            (true, true) => effects.set_scope(Some(Scope::Both)),
            (true, false) => effects.set_scope(Some(Scope::FileOnly)),
            (false, true) => effects.set_scope(Some(Scope::StreamOnly)),
            (false, false) => effects.set_scope(None),
        }
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        log_line(level, message);
    }

    fn acl_check(&mut self, args: &[&[u8]]) -> AclVerdict {
        let argv = OwnedArgs::from_slices(args);
        self.verdict(argv.as_args())
    }

    fn interrupt(&mut self) -> Option<Stop> {
        self.interruption.look()
    }
}

/// `redis.log`
pub(super) fn log_line(level: LogLevel, message: &[u8]) {
    let level = match level {
        LogLevel::Debug => log::Level::Trace,
        LogLevel::Verbose => log::Level::Debug,
        LogLevel::Notice => log::Level::Info,
        LogLevel::Warning => log::Level::Warn,
    };
    log::log!(level, "{}", String::from_utf8_lossy(message));
}

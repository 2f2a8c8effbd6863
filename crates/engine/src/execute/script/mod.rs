//! Scripts and functions: commands that run commands.
//!
//! ```text
//! admit     the script is looked up, because its flags decide            `callee`
//! lock      by what is proved about its keys                             `locks`
//! run       the interpreter of the thread, with `Caller` as its host     `vm`, `caller`
//!   call    admit in short, lock what is missing, run, account           `caller`, `admission`
//! end       what it has done is kept, or undone                          `rollback`
//! commit    effects of all calls as one block, under all locks
//! ```

mod admission;
mod callee;
mod caller;
mod library;
mod locks;
mod vm;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use keyspace::Beyond;
use persist::Scope;
use resp::{Args, Reply};
use script::{Arguments, Failure, Script as Source, Vm};

use super::rollback::Savepoint;
use super::{Call, CommandResult, Execution, Mode, Outcome, internal_error};
use crate::command::{Callee, Flags, Locks};
use crate::config::P;
use crate::error::CommandError;
use crate::scripts::Kind;
use crate::shard_tables::Locked;

pub(super) use callee::{Target, flags_of_new};
pub use library::{LibraryError, read_library, run_library};
pub(super) use locks::{lock_script, script_locks};
pub use vm::drop_interpreter;

use caller::Caller;

/// A call of a script: its keys and its other arguments.
struct Invocation<'a> {
    keys: Args<'a>,
    args: Args<'a>,
}

impl<'a> Invocation<'a> {
    /// Reads `name numkeys key ... arg ...`.
    fn read(args: Args<'a>, not_a_number: CommandError) -> Result<Self, CommandError> {
        const FIRST: usize = 3;
        let count = resp::number::parse_i64(args.arg(2)).ok_or(not_a_number)?;
        let count = usize::try_from(count)
            .map_err(|_| CommandError::line("ERR Number of keys can't be negative"))?;
        if count > args.len() - FIRST {
            return Err(CommandError::line(
                "ERR Number of keys can't be greater than number of args",
            ));
        }
        let rest = args.skip(FIRST);
        Ok(Self {
            keys: rest.take(count),
            args: rest.skip(count),
        })
    }
}

/// Runs EVAL, EVALSHA, FCALL and their read-only forms, under the locks of `lock_script`.
pub fn run_script(
    execution: &mut Execution<'_, '_>,
    call: &Call<'_>,
    locked: &mut Locked<'_>,
) -> CommandResult {
    execution.note_caller(call);
    let Locks::Script(callee) = call.command.spec.locks else {
        return Err(CommandError::Syntax);
    };
    let found = match call.mode {
        // What admission has found.
        Mode::Direct if execution.session.is_client() => execution.exec.target.take(),
        _ => execution.find_target(callee, call.args),
    };
    let (target, invocation) = match callee {
        Callee::Function => {
            let found = found.ok_or(CommandError::line("ERR Function not found"))?;
            let refusal = CommandError::line("ERR Bad number of keys provided");
            (found, Invocation::read(call.args, refusal)?)
        }
        Callee::Digest => {
            if call.args.arg(1).len() != 40 {
                return Err(NO_SCRIPT);
            }
            let invocation = Invocation::read(call.args, CommandError::NotInteger)?;
            (found.ok_or(NO_SCRIPT)?, invocation)
        }
        Callee::Body => {
            let invocation = Invocation::read(call.args, CommandError::NotInteger)?;
            let target = match found {
                Some(target) => target,
                None => Target::Script(execution.compile(call.args.arg(1), false)?),
            };
            (target, invocation)
        }
    };
    let reads_only = call.command.spec.flags.has(Flags::READONLY);
    execution.admit_script(target.flags(), reads_only)?;
    run(execution, call, &target, &invocation, locked)
}

/// The error of a digest that is not in the cache.
pub const NO_SCRIPT: CommandError = CommandError::line("NOSCRIPT No matching script.");

/// Runs a script in the interpreter of this thread. One that is ended leaves nothing behind.
fn run(
    execution: &mut Execution<'_, '_>,
    call: &Call<'_>,
    target: &Target,
    invocation: &Invocation<'_>,
    locked: &mut Locked<'_>,
) -> CommandResult {
    let engine = execution.engine;
    vm::forget_flushed(&mut execution.exec.flushes, engine.scripts.flushes());
    let mut vm = vm::take(engine, target.kind())?;
    let run = engine.runs.of(execution.exec.worker);
    let now_ns = engine.clock.monotonic_ns();
    let is_client = execution.session.is_client();
    run.begin(
        target.kind(),
        execution.session.shared.id,
        now_ns,
        !is_client,
    );
    execution.exec.panicked = false;
    // What a file or a primary has sent ran to its end there.
    let savepoint = (is_client && !caller::reads_only(call, target))
        .then(|| Savepoint::begin(execution, Beyond::GiveUp));
    let (db, protocol) = (execution.session.db, execution.session.protocol);
    let mut out = std::mem::take(execution.out);
    let mut reply = Reply::new(&mut out, protocol);
    let (keys, savepoint_ref) = (invocation.keys, savepoint.as_ref());
    let mut caller = Caller::new(execution, locked, (call, target), keys, savepoint_ref);
    let result = catch_unwind(AssertUnwindSafe(|| {
        interpret(&mut vm, target, invocation, now_ns, &mut caller, &mut reply)
    }));
    *execution.out = out;
    execution.session.db = db;
    execution.session.protocol = protocol;
    execution.exec.effects.set_scope(Some(Scope::Both));
    // An interpreter that panicked is not used again.
    if result.is_ok() {
        run.set_memory(target.kind(), vm::put(vm));
    }
    execution.exec.was_slow |= engine.runs.end(run);
    end(execution, call, result, savepoint, locked)
}

/// Runs the code of a script or a function.
fn interpret(
    vm: &mut Vm,
    target: &Target,
    invocation: &Invocation<'_>,
    now_ns: u64,
    caller: &mut Caller<'_, '_, '_, '_>,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let arguments = Arguments {
        keys: invocation.keys,
        args: invocation.args,
    };
    match target {
        Target::Script(script) => {
            script.use_at(now_ns);
            let source = Source {
                sha: &script.sha,
                code: script.code(),
            };
            vm.run(source, arguments, caller, reply)
        }
        Target::Function(found) => {
            let name = found.function().name.as_slice();
            let library = library::source(&found.library);
            vm.call_function(library, name, arguments, caller, reply)
        }
    }
}

/// Keeps what a script has done, or undoes it.
fn end(
    execution: &mut Execution<'_, '_>,
    call: &Call<'_>,
    result: std::thread::Result<Result<(), Failure>>,
    savepoint: Option<Savepoint>,
    locked: &mut Locked<'_>,
) -> CommandResult {
    let engine = execution.engine;
    let panicked = std::mem::take(&mut execution.exec.panicked);
    let stopped = matches!(&result, Ok(Err(failure)) if failure.stopped);
    let failed = !matches!(&result, Ok(Ok(())));
    let goes_back =
        panicked || result.is_err() || stopped || failed && engine.config.bool(P::ScriptRollback);
    let is_undone = match savepoint {
        Some(savepoint) if goes_back => savepoint.roll_back(execution, locked),
        Some(savepoint) => {
            savepoint.keep(engine, locked);
            false
        }
        None => false,
    };
    if goes_back && !is_undone && execution.exec.effects.dirty() > 0 {
        log::warn!("A script has failed with more changes than can be undone: they stay");
    }
    if engine.runs.is_stopping() && stopped && !is_undone {
        // The process ends: what the script has done so far must not be found at the next start.
        execution.exec.effects.reset(false);
    }
    match result {
        Err(panic) => resume_unwind(panic),
        Ok(_) if panicked => Err(internal_error(call.command.full_name)),
        Ok(result) => result.map(|()| Outcome::Done).map_err(error_of),
    }
}

fn error_of(failure: Failure) -> CommandError {
    match failure.counts {
        true => CommandError::Bytes(failure.message),
        false => CommandError::Passed(failure.message),
    }
}

impl Target {
    /// Its digest, or the name of the function.
    fn name(&self) -> &[u8] {
        match self {
            Self::Script(script) => &script.sha,
            Self::Function(found) => &found.function().name,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Script(_) => Kind::Eval,
            Self::Function(_) => Kind::Function,
        }
    }
}

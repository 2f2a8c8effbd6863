//! The interpreters of a thread: one for scripts and one for functions, each made for the first run
//! and kept until a flush.

use std::cell::Cell;

use script::{Identity, Limits, Script as Source, Vm};

use crate::config::P;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::scripts::{Flushes, Kind, Script};
use crate::version::VALKEY_VERSION;

/// An interpreter, and the memory limit that it was made with.
pub(super) struct ThreadVm {
    vm: Vm,
    kind: Kind,
    memory: usize,
    /// Bytes of the heap after the last full collection.
    collected: usize,
}

impl std::ops::Deref for ThreadVm {
    type Target = Vm;

    fn deref(&self) -> &Vm {
        &self.vm
    }
}

impl std::ops::DerefMut for ThreadVm {
    fn deref_mut(&mut self) -> &mut Vm {
        &mut self.vm
    }
}

type Kept = Cell<Option<Box<ThreadVm>>>;

thread_local! {
    /// The interpreter of scripts, and that of functions. They stay on their thread, and have no
    /// data of an engine: scripts are known to them by their digests, and libraries by versions
    /// that are unique in the process.
    static VMS: [Kept; 2] = const { [Kept::new(None), Kept::new(None)] };
}

/// The kept interpreter of a kind; none is kept afterwards.
#[inline]
fn kept(kind: Kind) -> Option<Box<ThreadVm>> {
    VMS.with(|vms| vms[kind as usize].take())
}

fn keep(vm: Box<ThreadVm>) {
    VMS.with(|vms| vms[vm.kind as usize].set(Some(vm)));
}

/// Drops the interpreters of this thread whose scripts or libraries were flushed since its last
/// run.
#[inline]
pub(super) fn forget_flushed(seen: &mut Flushes, now: Flushes) {
    if *seen != now {
        drop_flushed(*seen, now);
        *seen = now;
    }
}

#[cold]
fn drop_flushed(seen: Flushes, now: Flushes) {
    if seen.scripts != now.scripts {
        drop(kept(Kind::Eval));
    }
    if seen.libraries != now.libraries {
        drop(kept(Kind::Function));
    }
}

/// Drops the interpreter of this thread: SCRIPT FLUSH and FUNCTION FLUSH. Other threads do it
/// before their next run.
pub fn drop_interpreter(engine: &Engine, worker: usize, kind: Kind) {
    drop(kept(kind));
    engine.runs.of(worker).set_memory(kind, 0);
}

/// Takes the interpreter of this thread for a run of a kind. One that is not put back, because the
/// run ended in a panic, is made again for the next one.
pub(super) fn take(engine: &Engine, kind: Kind) -> Result<Box<ThreadVm>, CommandError> {
    let memory = engine.config.size(P::ScriptMaxMemory);
    if let Some(vm) = kept(kind).filter(|vm| vm.memory == memory) {
        return Ok(vm);
    }
    let limits = Limits {
        memory,
        identity: Identity {
            server_name: server_name(engine).to_owned(),
            redis_version: engine.config.text(P::RedisVersion),
            valkey_version: VALKEY_VERSION.to_owned(),
        },
    };
    let vm = Vm::new(limits).map_err(|error| CommandError::owned(format!("ERR {error}")))?;
    Ok(Box::new(ThreadVm {
        vm,
        kind,
        memory,
        collected: 0,
    }))
}

/// Puts the interpreter back after a run, and returns the bytes of its heap. A large one collects
/// its garbage first, so that a thread does not keep what one run needed.
pub(super) fn put(mut vm: Box<ThreadVm>) -> usize {
    let mut bytes = vm.memory();
    if bytes > vm.collected + HEAP_GROWTH_MAX {
        bytes = vm.collect();
        vm.collected = bytes;
    }
    keep(vm);
    bytes
}

/// Growth of a heap, in bytes, after which its garbage is collected at once.
const HEAP_GROWTH_MAX: usize = 8 * 1024 * 1024;

/// Drops what the interpreter of this thread has compiled for EVAL.
pub(super) fn forget_scripts() {
    if let Some(mut vm) = kept(Kind::Eval) {
        vm.forget_scripts();
        keep(vm);
    }
}

/// Compiles a script.
///
/// # Errors
/// Its text has an error.
pub(super) fn compile(engine: &Engine, script: &Script) -> Result<(), CommandError> {
    let mut vm = take(engine, Kind::Eval)?;
    let source = Source {
        sha: &script.sha,
        code: script.code(),
    };
    let compiled = vm.compile(source);
    put(vm);
    compiled.map_err(|text| CommandError::Bytes([b"ERR ", &*text].concat()))
}

/// The name that scripts read, as in HELLO.
fn server_name(engine: &Engine) -> &'static str {
    match engine.config.bool(P::ExtendedRedisCompatibility) {
        true => "redis",
        false => "lodestore",
    }
}

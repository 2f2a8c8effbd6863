//! The interpreter of a thread: made when the thread runs its first script, and kept.

use std::cell::Cell;

use script::{Identity, Limits, Script as Source, Vm};

use crate::config::P;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::scripts::{Flushes, Script};
use crate::version::VALKEY_VERSION;

/// An interpreter, and the memory limit that it was made with.
pub(super) struct ThreadVm {
    vm: Vm,
    memory: usize,
    /// Bytes of the heap after the last full collection.
    collected: usize,
}

impl ThreadVm {
    /// Drops what was compiled of scripts and libraries that were flushed since the last run.
    #[inline]
    pub(super) fn forget(&mut self, seen: &mut Flushes, now: Flushes) {
        if *seen != now {
            self.forget_flushed(seen, now);
        }
    }

    /// A flush gives memory back, so the garbage is collected at once.
    #[cold]
    fn forget_flushed(&mut self, seen: &mut Flushes, now: Flushes) {
        if seen.scripts != now.scripts {
            self.vm.forget_scripts();
        }
        if seen.libraries != now.libraries {
            self.vm.forget_libraries();
        }
        self.collected = self.vm.collect();
        *seen = now;
    }
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

thread_local! {
    /// An interpreter stays on its thread. It has no data of an engine: scripts are known to it by
    /// their digests, and libraries by versions that are unique in the process.
    static VM: Cell<Option<Box<ThreadVm>>> = const { Cell::new(None) };
}

/// Takes the interpreter of this thread for a run. One that is not put back, because the run ended
/// in a panic, is made again for the next one.
pub(super) fn take(engine: &Engine) -> Result<Box<ThreadVm>, CommandError> {
    let memory = engine.config.size(P::ScriptMaxMemory);
    if let Some(vm) = VM.take().filter(|vm| vm.memory == memory) {
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
    VM.set(Some(vm));
    bytes
}

/// Growth of a heap, in bytes, after which its garbage is collected at once.
const HEAP_GROWTH_MAX: usize = 8 * 1024 * 1024;

/// Drops what the interpreter of this thread has compiled for EVAL.
pub(super) fn forget_scripts() {
    if let Some(mut vm) = VM.take() {
        vm.forget_scripts();
        VM.set(Some(vm));
    }
}

/// Compiles a script.
///
/// # Errors
/// Its text has an error.
pub(super) fn compile(engine: &Engine, script: &Script) -> Result<(), CommandError> {
    let mut vm = take(engine)?;
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

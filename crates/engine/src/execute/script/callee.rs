//! Which script a request runs.

use std::sync::Arc;

use resp::Args;
use script::header::Flags as ScriptFlags;

use crate::command::{Callee, Flags};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::execute::{Execution, Executor};
use crate::scripts::{CACHED_MAX, Found, Script};

/// A script that was looked up.
#[derive(Clone)]
pub(in crate::execute) enum Target {
    /// Of EVAL and EVALSHA.
    Script(Arc<Script>),
    /// Of FCALL.
    Function(Found),
}

impl Target {
    /// The flags that it declares; `None`: it declares none, and the rules before flags apply.
    pub(super) fn flags(&self) -> Option<ScriptFlags> {
        match self {
            Self::Script(script) => script.flags,
            Self::Function(found) => Some(found.function().flags),
        }
    }

    /// What the command does, by the flags of the script: they replace those of the command.
    pub(in crate::execute) fn command_flags(&self, command: Flags) -> Flags {
        self.flags()
            .map_or(command, |declared| replace_flags(command, declared))
    }
}

/// What a command does whose script is not known yet, by the first line of the script.
pub(in crate::execute) fn flags_of_new(command: Flags, body: &[u8]) -> Flags {
    if !body.starts_with(b"#!") {
        return command;
    }
    let declared = script::header::script(body)
        .ok()
        .and_then(|header| header.flags);
    declared.map_or(command, |declared| replace_flags(command, declared))
}

fn replace_flags(command: Flags, declared: ScriptFlags) -> Flags {
    let replaced = Flags::STALE
        .or(Flags::DENYOOM)
        .or(Flags::WRITE)
        .or(Flags::MAY_REPLICATE);
    let mut flags = command.without(replaced);
    let writes = !declared.contains(ScriptFlags::NO_WRITES);
    if writes {
        flags = flags.or(Flags::WRITE);
    }
    if writes && !declared.contains(ScriptFlags::ALLOW_OOM) {
        flags = flags.or(Flags::DENYOOM);
    }
    if declared.contains(ScriptFlags::ALLOW_STALE) {
        flags = flags.or(Flags::STALE);
    }
    flags
}

impl Execution<'_, '_> {
    /// The script that a request names, when it is known.
    pub(in crate::execute) fn find_target(
        &mut self,
        callee: Callee,
        args: Args<'_>,
    ) -> Option<Target> {
        let name = args.arg(1);
        match callee {
            Callee::Body => self.exec.find_body(self.engine, name).map(Target::Script),
            Callee::Digest => self.exec.find_digest(self.engine, name).map(Target::Script),
            Callee::Function => self.engine.scripts.function(name).map(Target::Function),
        }
    }

    /// Compiles a script and adds it to the cache; `loaded`: it is to stay there.
    ///
    /// # Errors
    /// Its first line or its text has an error.
    pub fn compile(&mut self, body: &[u8], loaded: bool) -> Result<Arc<Script>, CommandError> {
        let error = |text: Vec<u8>| CommandError::Bytes([b"ERR ", &*text].concat());
        let script = Script::new(body, loaded).map_err(error)?;
        super::vm::compile(self.engine, &script)?;
        let script = self.engine.scripts.add(script);
        self.exec.remember_script(self.engine, &script);
        Ok(script)
    }
}

impl Executor {
    /// The script with this text, from the table of this thread or from the cache.
    #[inline]
    fn find_body(&mut self, engine: &Engine, body: &[u8]) -> Option<Arc<Script>> {
        let own = self.scripts.find_body(body);
        if let Some(script) = own.filter(|script| script.is_cached()) {
            return Some(Arc::clone(script));
        }
        let found = engine.scripts.cache().find_body(body).map(Arc::clone);
        found.inspect(|script| self.remember_script(engine, script))
    }

    /// The script with this digest.
    #[inline]
    fn find_digest(&mut self, engine: &Engine, sha: &[u8]) -> Option<Arc<Script>> {
        let own = self.scripts.find_sha(sha);
        if let Some(script) = own.filter(|script| script.is_cached()) {
            return Some(Arc::clone(script));
        }
        let found = engine.scripts.cache().find_sha(sha).map(Arc::clone);
        found.inspect(|script| self.remember_script(engine, script))
    }

    /// Adds a script to the table of this thread. Those that have left the cache are dropped when
    /// there are many of them, and what the interpreter has compiled of them.
    fn remember_script(&mut self, engine: &Engine, script: &Arc<Script>) {
        let cached = engine.scripts.cache().count();
        if self.scripts.count() >= cached + CACHED_MAX {
            self.scripts.drop_uncached();
            super::vm::forget_scripts();
        }
        self.scripts.remember(script);
    }
}

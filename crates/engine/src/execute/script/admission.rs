//! The checks of a script before it runs, and of the commands that it calls.

use std::sync::atomic::Ordering;

use resp::Args;
use script::AclVerdict;
use script::header::Flags as ScriptFlags;

use super::super::Execution;
use super::super::call::unknown_subcommand;
use super::caller::Caller;
use crate::command::Flags;
use crate::durability::{admit_write, refused_without_snapshots};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::session::Session;
use crate::table::{Command, Resolved};

impl Execution<'_, '_> {
    /// The checks that a script with flags passes before it runs. One without flags is judged by
    /// what it calls.
    pub(super) fn admit_script(
        &self,
        flags: Option<ScriptFlags>,
        reads_only: bool,
    ) -> Result<(), CommandError> {
        let Some(flags) = flags else { return Ok(()) };
        let is_client = self.session.is_client();
        if !flags.contains(ScriptFlags::NO_WRITES) {
            if is_client {
                check_disk(self.engine)?;
            }
            if reads_only {
                return Err(CommandError::line(
                    "ERR Can not execute a script with write flag using *_ro command.",
                ));
            }
            if is_client {
                check_replicas(self.engine)?;
            }
            if self.exec.is_full && !flags.contains(ScriptFlags::ALLOW_OOM) {
                return Err(CommandError::line(
                    "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
                ));
            }
        }
        Ok(())
    }
}

/// Refuses a script that may write while nothing can be made durable.
fn check_disk(engine: &Engine) -> Result<(), CommandError> {
    if refused_without_snapshots(engine).is_some() {
        return Err(CommandError::line(
            "MISCONF Lodestore is configured to save RDB snapshots, but it's currently unable to persist to disk. \
             Writable scripts are blocked. Use 'no-writes' flag for read only scripts.",
        ));
    }
    let Err(error) = admit_write(engine) else {
        return Ok(());
    };
    let Some(trouble) = engine.log.trouble() else {
        return Err(error);
    };
    Err(CommandError::owned(format!(
        "MISCONF Lodestore is configured to persist data to AOF, but it's currently unable to persist to disk. \
         Writable scripts are blocked. Use 'no-writes' flag for read only scripts. AOF error: {trouble}"
    )))
}

fn check_replicas(engine: &Engine) -> Result<(), CommandError> {
    super::super::admission::check_replicas(engine)
}

const UNKNOWN: CommandError = CommandError::line("ERR Unknown command called from script");
const ARITY: CommandError =
    CommandError::line("ERR Wrong number of args calling command from script");
const NOT_ALLOWED: CommandError =
    CommandError::line("ERR This Redis command is not allowed from script");

impl Caller<'_, '_, '_, '_> {
    /// The checks of a command that the script calls, in the order of Valkey: the order decides
    /// which error the script gets.
    pub(super) fn admit(&mut self, args: Args<'_>) -> Result<&'static Command, CommandError> {
        let command = match self.engine.commands.resolve(args) {
            Resolved::Command(command) => command,
            Resolved::Unknown => return Err(UNKNOWN),
            Resolved::UnknownSubcommand(container) => {
                let line = unknown_subcommand(container.spec.name, args.arg(1));
                return Err(CommandError::Bytes(line));
            }
        };
        let admitted = self.check(command, args);
        admitted.map_err(|error| self.reject(command, error))?;
        Ok(command)
    }

    fn check(&self, command: &Command, args: Args<'_>) -> Result<(), CommandError> {
        let flags = command.spec.flags;
        if !command.spec.arity_fits(args.len()) {
            return Err(ARITY);
        }
        let allows_all = &self.engine.switches.allows_all_in_scripts;
        let is_for_others = flags.has(Flags::NOSCRIPT) && !allows_all.load(Ordering::Relaxed);
        if is_for_others || command.spec.is_container {
            return Err(NOT_ALLOWED);
        }
        if !self.session.is_client() {
            return Ok(());
        }
        // A script that has written cannot be stopped in the middle by a state that it did not
        // cause.
        let may_refuse = !self.has_written();
        if self.is_full() && flags.has(Flags::DENYOOM) && may_refuse && !self.allows_oom {
            return Err(CommandError::line(
                "OOM command not allowed when used memory > 'maxmemory'.",
            ));
        }
        check_user(self.session, command, args)?;
        if self.reads_only && flags.any(Flags::WRITE.or(Flags::MAY_REPLICATE)) {
            return Err(CommandError::line(
                "ERR Write commands are not allowed from read-only scripts.",
            ));
        }
        if flags.has(Flags::WRITE) && may_refuse {
            check_replicas(self.engine)?;
            if let Some(error) = refused_without_snapshots(self.engine) {
                return Err(error);
            }
            admit_write(self.engine)?;
        }
        Ok(())
    }

    /// `redis.acl_check_cmd`
    pub(super) fn may_run(&self, args: Args<'_>) -> AclVerdict {
        let Resolved::Command(command) = self.engine.commands.resolve(args) else {
            return AclVerdict::Invalid;
        };
        if !command.spec.arity_fits(args.len()) {
            return AclVerdict::Invalid;
        }
        match check_user(self.session, command, args) {
            Ok(()) => AclVerdict::Allowed,
            Err(_) => AclVerdict::Denied,
        }
    }
}

/// The user of the client may run the command. There are no users with fewer rights yet.
fn check_user(session: &Session, command: &Command, _args: Args<'_>) -> Result<(), CommandError> {
    if session.is_authenticated() || command.spec.flags.has(Flags::NO_AUTH) {
        return Ok(());
    }
    Err(CommandError::line(
        "ERR ACL failure in script: Authentication required.",
    ))
}

//! The checks of a script before it runs, and of the commands that it calls.

use std::sync::atomic::Ordering;

use resp::{Args, Output};
use script::AclVerdict;
use script::header::Flags as ScriptFlags;

use super::super::call::unknown_subcommand;
use super::super::{Execution, Mode};
use super::caller::Caller;
use crate::command::Flags;
use crate::config::P;
use crate::durability::{admit_write, refused_without_snapshots};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::table::{Command, Resolved};

impl Execution<'_, '_> {
    /// The checks that a script with flags passes before it runs. One without flags is judged by
    /// what it calls.
    pub(super) fn admit_script(
        &self,
        flags: Option<ScriptFlags>,
        reads_only: bool,
    ) -> Result<(), CommandError> {
        let is_client = self.session.is_client();
        let is_stale = is_client && is_stale(self.engine);
        let Some(flags) = flags else {
            return match is_stale {
                true => Err(CommandError::line(
                    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                )),
                false => Ok(()),
            };
        };
        if is_stale && !flags.contains(ScriptFlags::ALLOW_STALE) {
            return Err(CommandError::line(
                "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' flag \
                 is not set on the script.",
            ));
        }
        if !flags.contains(ScriptFlags::NO_WRITES) {
            if is_client && is_read_only(self.engine) {
                return Err(CommandError::line(
                    "READONLY Can not run script with write flag on readonly replica",
                ));
            }
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

/// Clients write nothing to a replica.
fn is_read_only(engine: &Engine) -> bool {
    engine.role.is_replica() && engine.config.bool(P::ReplicaReadOnly)
}

/// The data may be too old to be shown.
fn is_stale(engine: &Engine) -> bool {
    let role = &engine.role;
    role.is_replica() && !role.is_linked() && !engine.config.bool(P::ReplicaServeStaleData)
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

    fn check(&mut self, command: &'static Command, args: Args<'_>) -> Result<(), CommandError> {
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
        self.check_rights(command, args)?;
        if self.reads_only && flags.any(Flags::WRITE.or(Flags::MAY_REPLICATE)) {
            return Err(CommandError::line(
                "ERR Write commands are not allowed from read-only scripts.",
            ));
        }
        if flags.has(Flags::WRITE) && may_refuse {
            if is_read_only(self.engine) {
                return Err(CommandError::line(
                    "READONLY You can't write against a read only replica.",
                ));
            }
            check_replicas(self.engine)?;
            if let Some(error) = refused_without_snapshots(self.engine) {
                return Err(error);
            }
            admit_write(self.engine)?;
        }
        if is_stale(self.engine) && !flags.has(Flags::STALE) {
            return Err(CommandError::line(
                "ERR Can not execute the command on a stale replica",
            ));
        }
        Ok(())
    }

    /// The user of the client may call the command.
    fn check_rights(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result<(), CommandError> {
        let mut out = Output::new();
        self.execution(&mut out)
            .check_rights(command, args, Mode::Script)
    }

    /// `redis.acl_check_cmd`
    pub(super) fn verdict(&mut self, args: Args<'_>) -> AclVerdict {
        let Resolved::Command(command) = self.engine.commands.resolve(args) else {
            return AclVerdict::Invalid;
        };
        if !command.spec.arity_fits(args.len()) {
            return AclVerdict::Invalid;
        }
        let mut out = Output::new();
        match self.execution(&mut out).may_run(command, args) {
            true => AclVerdict::Allowed,
            false => AclVerdict::Denied,
        }
    }
}

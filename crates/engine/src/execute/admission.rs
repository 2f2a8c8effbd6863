//! Admission: all checks before a command runs, in Redis's order.

use std::sync::atomic::Ordering;

use resp::Args;

use super::call::{unknown_command, unknown_subcommand};
use super::script::flags_of_new;
use super::{Call, Execution, Request, discard, stats};
use crate::command::{Callee, Flags, Locks};
use crate::config::P;
use crate::context::Mode;
use crate::durability::{admit_write, refused_without_snapshots};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::session::{CAPA_REDIRECT, Multi, Session};
use crate::table::{Command, Resolved};

/// The next step of a request that passed all checks.
pub(super) enum Admission {
    Run(&'static Command),
    /// With the flags that it has by its arguments.
    Queue(&'static Command, Flags),
    Postpone,
}

impl Execution<'_, '_> {
    /// The checks of a client's request, in Redis's order: the order decides which error the client
    /// gets.
    pub(super) fn admit(
        &mut self,
        request: &Request<'_>,
        holds_locks: bool,
    ) -> Result<Admission, CommandError> {
        self.exec.admission_epoch = self.engine.admission_epoch.load(Ordering::Acquire);
        self.adopt_default_user();
        let engine = self.engine;
        let command = admit_command(self.session, request)?;
        let flags = command.spec.flags;
        if let Locks::Script(callee) = command.spec.locks {
            self.exec.target = self.find_target(callee, request.args);
        }
        let session = &*self.session;
        if session.multi.is_some() && flags.has(Flags::NO_MULTI) {
            return Err(not_in_transaction(command));
        }
        if !session.is_client() {
            return Ok(Admission::Run(command));
        }
        if flags.has(Flags::PROTECTED) {
            check_protected(engine, session, command)?;
        }
        self.check_rights(command, request.args, Mode::Direct)?;
        if flags.has(Flags::ADMIN) {
            self.audit_command(command, request.args);
        }
        let combined = self.combined_flags(command, request);
        if session.monitor && combined.any(KEYSPACE_FLAGS) {
            return Err(CommandError::line(
                "ERR Replica can't interact with the keyspace",
            ));
        }
        if engine.role.is_replica() && self.is_redirected(combined) {
            return self.redirect();
        }
        self.check_memory(combined, holds_locks)?;
        self.check_disk(command, combined)?;
        self.check_replicas(combined)?;
        self.check_role(command, combined)?;
        let (engine, session) = (self.engine, &*self.session);
        if session.is_subscriber_only() && !flags.has(Flags::SUBSCRIBER) {
            return Err(only_for_subscribers(command));
        }
        if engine.loading.is_under_way()
            && is_refused_while_loading(engine, session, command, combined)
        {
            if engine.loading.grace_left_ns(engine.clock.monotonic_ns()) > 0 {
                return Ok(Admission::Postpone);
            }
            return Err(CommandError::line(
                "LOADING Lodestore is loading the dataset in memory",
            ));
        }
        if self.exec.is_busy && !runs_while_busy(session, command, request.args) {
            return refuse_busy(engine);
        }
        if engine.is_paused()
            && (engine.pause.is_all(engine.steady_ms())
                || combined.any(Flags::WRITE.or(Flags::MAY_REPLICATE)))
        {
            return Ok(Admission::Postpone);
        }
        match &session.multi {
            Some(multi) if !runs_inside_multi(command) => admit_queued(multi, command, combined),
            _ => Ok(Admission::Run(command)),
        }
    }

    /// The checks of a command inside of another one, which has passed those of a request.
    pub(super) fn admit_nested(&self, call: &Call<'_>) -> Result<(), CommandError> {
        if !self.session.is_authenticated() && !call.command.spec.flags.has(Flags::NO_AUTH) {
            return Err(NOAUTH);
        }
        if !call.command.spec.arity_fits(call.args.len()) {
            return Err(CommandError::Arity(call.command.full_name.into()));
        }
        self.check_rights(call.command, call.args, call.mode)
    }

    /// The flags of a command; for EXEC also those of all queued commands. The flags of a script
    /// replace some of them.
    fn combined_flags(&self, command: &Command, request: &Request<'_>) -> Flags {
        let flags = command.spec.flags;
        match (&self.exec.target, &self.session.multi) {
            (Some(target), _) if matches!(command.spec.locks, Locks::Script(_)) => {
                target.command_flags(flags)
            }
            (None, _) if matches!(command.spec.locks, Locks::Script(Callee::Body)) => {
                flags_of_new(flags, request.args.arg(1))
            }
            (_, Some(multi)) if command.is_exec => flags.or(multi.flags),
            _ => flags,
        }
    }

    fn check_memory(&mut self, flags: Flags, holds_locks: bool) -> Result<(), CommandError> {
        self.exec.is_full = false;
        // Eviction locks shards. Locks are held over a batch only while `maxmemory` is 0, so no
        // check is missed then. While a worker is busy its shards are locked, and nothing can be
        // evicted.
        let max_memory = &self.engine.switches.max_memory;
        if holds_locks || max_memory.load(Ordering::Relaxed) == 0 || self.exec.is_busy {
            return Ok(());
        }
        let full = !crate::execute::evict::make_room(self.exec, self.engine);
        if self.session.tracking.is_some() && !self.session.is_silent() {
            // Invalidations of evicted keys come before the reply, as in Redis.
            let after = self.session.shared.take_outbox(self.out);
            self.exec.reply_offset = self.exec.reply_offset.max(after);
        }
        self.exec.is_full = full;
        if full && flags.has(Flags::DENYOOM) {
            stats(self.engine, self.exec.worker).oom_rejected.add(1);
            return Err(CommandError::line(
                "OOM command not allowed when used memory > 'maxmemory'.",
            ));
        }
        Ok(())
    }

    fn check_disk(&self, command: &Command, flags: Flags) -> Result<(), CommandError> {
        if flags.has(Flags::WRITE) || command.spec.flags.has(Flags::REFUSED_WITH_WRITES) {
            if let Some(error) = refused_without_snapshots(self.engine) {
                return Err(error);
            }
            return admit_write(self.engine);
        }
        Ok(())
    }

    fn check_replicas(&self, flags: Flags) -> Result<(), CommandError> {
        match flags.has(Flags::WRITE) {
            true => check_replicas(self.engine),
            false => Ok(()),
        }
    }

    /// A replica is not written to by clients, and may be too far behind to be read.
    #[inline]
    fn check_role(&self, command: &Command, flags: Flags) -> Result<(), CommandError> {
        match self.engine.role.is_replica() {
            true => self.check_as_replica(command, flags),
            false => Ok(()),
        }
    }

    /// CLIENT CAPA REDIRECT: commands on data go to the primary.
    #[cold]
    fn is_redirected(&self, flags: Flags) -> bool {
        let session = &*self.session;
        session.capabilities.contains(&CAPA_REDIRECT)
            && (flags.has(Flags::WRITE) || flags.has(Flags::READONLY) && !session.reads_replicas)
    }

    /// In a failover of this server neither side is a primary for a moment: the client waits.
    #[cold]
    fn redirect(&self) -> Result<Admission, CommandError> {
        match self.engine.config.primary() {
            _ if self.engine.pause.is_failover() => Ok(Admission::Postpone),
            Some((host, port)) => Err(CommandError::Redirect(format!("{host}:{port}"))),
            None => Ok(Admission::Postpone),
        }
    }

    #[cold]
    fn check_as_replica(&self, command: &Command, flags: Flags) -> Result<(), CommandError> {
        let (engine, config) = (self.engine, &self.engine.config);
        if flags.has(Flags::WRITE) && config.bool(P::ReplicaReadOnly) {
            return Err(CommandError::line(
                "READONLY You can't write against a read only replica.",
            ));
        }
        let is_stale = !engine.role.is_linked() && !config.bool(P::ReplicaServeStaleData);
        if is_stale && !all_have(self.session, command, Flags::STALE) {
            return Err(CommandError::line(
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            ));
        }
        Ok(())
    }

    /// Answers a request that was refused before it ran. Returns the error that the client got.
    pub(super) fn reject(&mut self, request: &Request<'_>, error: CommandError) -> CommandError {
        let command = request.command.found();
        if let Some(command) = command {
            super::count_rejected(self.exec, self.engine, command);
        }
        let error = match (&mut self.session.multi, command) {
            // EXEC ends the transaction and the watching of keys also when it is refused, and its
            // error says so.
            (_, Some(command)) if command.is_exec => {
                discard(self.engine, self.session);
                if matches!(error, CommandError::Redirect(_)) {
                    self.write_error(&error);
                    return error;
                }
                let mut line = b"EXECABORT Transaction discarded because of: ".to_vec();
                let text = error.text();
                line.extend_from_slice(text.strip_prefix(b"ERR ").unwrap_or(&text));
                CommandError::Bytes(line)
            }
            (Some(multi), _) => {
                multi.aborted = true;
                error
            }
            _ => error,
        };
        self.write_error(&error);
        error
    }
}

/// `min-replicas-to-write`: enough replicas were heard of within `min-replicas-max-lag`.
pub(super) fn check_replicas(engine: &Engine) -> Result<(), CommandError> {
    let needed = engine.switches.needs_replicas.load(Ordering::Relaxed);
    match needed && !engine.has_good_replicas() {
        true => Err(CommandError::line(
            "NOREPLICAS Not enough good replicas to write.",
        )),
        false => Ok(()),
    }
}

#[cold]
fn only_for_subscribers(command: &Command) -> CommandError {
    CommandError::owned(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context",
        command.full_name
    ))
}

#[cold]
fn refuse_busy(engine: &Engine) -> Result<Admission, CommandError> {
    let slow = engine.runs.slow();
    // The script has ended, and its worker has not noticed that yet.
    slow.map_or(Ok(Admission::Postpone), |slow| Err(slow.error()))
}

/// Whether a command runs while its worker is busy with a script: it needs no data, because the
/// shards are locked by the same thread.
fn runs_while_busy(session: &Session, command: &Command, args: Args<'_>) -> bool {
    let flags = command.spec.flags;
    let unwatches = !session.watched.is_empty() || session.subscriptions.is_some();
    match command.full_name {
        "watch" => false,
        "discard" | "unwatch" | "reset" => !unwatches,
        // The data would be read for a snapshot.
        "shutdown" => args.iter().any(|arg| arg.eq_ignore_ascii_case(b"nosave")),
        _ => flags.has(Flags::ALLOW_BUSY),
    }
}

/// Refuses DEBUG and changes of the modules unless a parameter allows them.
fn check_protected(
    engine: &Engine,
    session: &Session,
    command: &Command,
) -> Result<(), CommandError> {
    let (parameter, name) = match command.parent {
        Some("module") => (P::EnableModuleCommand, "MODULE"),
        _ => (P::EnableDebugCommand, "DEBUG"),
    };
    if engine
        .config
        .allows(parameter, session.shared.peer.is_local())
    {
        return Ok(());
    }
    Err(CommandError::owned(format!(
        "ERR {name} command not allowed. If the {} option is set to \"local\", you can run it from a \
         local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        parameter.name()
    )))
}

#[cold]
fn not_in_transaction(command: &Command) -> CommandError {
    CommandError::owned(format!(
        "ERR Command '{}' not allowed inside a transaction",
        command.full_name
    ))
}

/// Whether MULTI ROLLBACK takes a command: it changes nothing but data.
fn can_be_undone(command: &Command) -> bool {
    let is_for_others = command.spec.flags.any(Flags::NOSCRIPT.or(Flags::ADMIN));
    // MIGRATE leaves a copy on another server.
    let is_script = matches!(command.spec.locks, Locks::Script(_));
    (is_script || !is_for_others) && command.full_name != "migrate"
}

/// A command of a transaction, unless MULTI ROLLBACK could not undo it.
fn admit_queued(
    multi: &Multi,
    command: &'static Command,
    flags: Flags,
) -> Result<Admission, CommandError> {
    match multi.rolls_back && !can_be_undone(command) {
        true => Err(CommandError::owned(format!(
            "ERR Command '{}' cannot be undone and is not allowed inside of MULTI ROLLBACK",
            command.full_name
        ))),
        false => Ok(Admission::Queue(command, flags)),
    }
}

const NOAUTH: CommandError = CommandError::line("NOAUTH Authentication required.");

/// Commands with one of these flags read or change keys.
const KEYSPACE_FLAGS: Flags = Flags::WRITE.or(Flags::READONLY).or(Flags::MAY_REPLICATE);

/// The command exists, its arity fits and the client may use it.
#[inline]
fn admit_command(
    session: &Session,
    request: &Request<'_>,
) -> Result<&'static Command, CommandError> {
    let is_open = |command: &Command| command.spec.flags.has(Flags::NO_AUTH);
    if !session.is_authenticated() && !request.command.found().is_some_and(is_open) {
        return Err(NOAUTH);
    }
    let command = match request.command {
        Resolved::Command(command) => command,
        Resolved::Unknown => return Err(CommandError::Bytes(unknown_command(request.args))),
        Resolved::UnknownSubcommand(container) => {
            return Err(CommandError::Bytes(unknown_subcommand(
                container.spec.name,
                request.args.arg(1),
            )));
        }
    };
    if !command.spec.arity_fits(request.args.len()) {
        return Err(CommandError::Arity(command.full_name.into()));
    }
    Ok(command)
}

/// A command has the flags; EXEC has those that all its queued commands have.
fn all_have(session: &Session, command: &Command, flags: Flags) -> bool {
    let allowed = |command: &Command| command.spec.flags.has(flags);
    match &session.multi {
        Some(multi) if command.is_exec => multi.queue.iter().all(|queued| allowed(queued.entry)),
        _ => allowed(command),
    }
}

/// Whether a command waits for the end of loading: it works on data that is not there, or, while
/// present data is served, has a flag of its own for that.
#[cold]
fn is_refused_while_loading(
    engine: &Engine,
    session: &Session,
    command: &Command,
    combined: Flags,
) -> bool {
    match engine.loading.is_async() {
        true => combined.has(Flags::NO_ASYNC_LOADING),
        false => !all_have(session, command, Flags::LOADING),
    }
}

fn runs_inside_multi(command: &Command) -> bool {
    command.spec.flags.has(Flags::RUNS_IN_MULTI)
}

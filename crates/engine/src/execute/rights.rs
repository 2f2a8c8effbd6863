//! Whether the user of a session may run a command, and what happens when not.

use std::sync::Arc;

use resp::{Args, OwnedArgs};

use super::{Execution, stats};
use crate::audit::Event;
use crate::client_row::{Caller, own_line};
use crate::config::P;
use crate::context::Mode;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::session::Session;
use crate::table::Command;
use crate::users::{Denied, DeniedReason, LogContext, LogEvent, LogReason, check};

impl Execution<'_, '_> {
    /// A client that has not logged in is the default user while that one needs no password.
    #[inline]
    pub(super) fn adopt_default_user(&mut self) {
        if self.session.user.is_none() {
            adopt_default_user(self.engine, self.session);
        }
    }

    /// Refuses a command that the user of the session has no right to. Files are above all rights.
    #[inline]
    pub(super) fn check_rights(
        &self,
        command: &'static Command,
        args: Args<'_>,
        mode: Mode,
    ) -> Result<(), CommandError> {
        match &self.session.user {
            Some(user) if user.is_unrestricted() => Ok(()),
            _ => self.check_restricted(command, args, mode),
        }
    }

    #[inline(never)]
    fn check_restricted(
        &self,
        command: &'static Command,
        args: Args<'_>,
        mode: Mode,
    ) -> Result<(), CommandError> {
        let session = &*self.session;
        let databases = (session.transaction_db(), self.engine.keyspace.databases());
        // Without a user only commands that need none come so far.
        let user = session.user.as_ref();
        let user = user.unwrap_or_else(|| self.engine.users.default_user());
        let Err(denied) = check(user, command, args, databases) else {
            return Ok(());
        };
        let context = match mode {
            Mode::Script => LogContext::Lua,
            Mode::Transaction => LogContext::Multi,
            _ if session.multi.is_some() => LogContext::Multi,
            _ => LogContext::TopLevel,
        };
        self.note_denied(denied, command, args, context);
        Err(CommandError::Bytes(match mode {
            Mode::Transaction => format!(
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
                 This command is no longer allowed for the following reason: {}",
                denied.exec_reason()
            )
            .into_bytes(),
            Mode::Script => {
                let line = denied.error_line(user.name(), command);
                let reason = line.strip_prefix(b"NOPERM ").unwrap_or(&line);
                [b"ERR ACL failure in script: ", reason].concat()
            }
            _ => denied.error_line(user.name(), command),
        }))
    }

    /// Whether the user may run a command; a refusal is neither counted nor logged.
    pub(super) fn may_run(&self, command: &'static Command, args: Args<'_>) -> bool {
        let databases = (self.session.db, self.engine.keyspace.databases());
        let user = self.session.user.as_ref();
        let user = user.unwrap_or_else(|| self.engine.users.default_user());
        check(user, command, args, databases).is_ok()
    }

    /// Counts a denied command and adds it to ACL LOG.
    pub(super) fn note_denied(
        &self,
        denied: Denied,
        command: &'static Command,
        args: Args<'_>,
        context: LogContext,
    ) {
        let stats = stats(self.engine, self.exec.worker);
        let counter = match denied.reason {
            DeniedReason::Command => &stats.denied_commands,
            DeniedReason::Key => &stats.denied_keys,
            DeniedReason::Channel => &stats.denied_channels,
            DeniedReason::Database => &stats.denied_databases,
        };
        counter.add(1);
        let caller = Caller {
            session: self.session,
            command: Some(command),
            args,
        };
        let user = self.session.user.as_ref();
        let user = user.unwrap_or_else(|| self.engine.users.default_user());
        let refusal = Refusal {
            reason: LogReason::Denied(denied.reason),
            context,
            object: denied.object(command, args),
            user: user.name(),
        };
        log_refusal(self.engine, &caller, &refusal);
        self.audit(|| Event::Denied {
            user: user.name(),
            reason: refusal.reason.word(),
            object: refusal.object,
            command: command.full_name,
        });
    }

    /// Writes an administrative command that passed all checks into the audit log.
    pub(super) fn audit_command(&self, command: &'static Command, args: Args<'_>) {
        let user = self.session.user.as_ref();
        self.audit(|| Event::Command {
            user: user.map_or(b"", |user| user.name()),
            command,
            args,
        });
    }

    fn audit<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if self.engine.audit.is_on() {
            note(self.engine, self.session, event());
        }
    }
}

#[cold]
fn adopt_default_user(engine: &Engine, session: &mut Session) {
    let default = engine.users.default_user();
    if default.is_open() {
        session.set_user(Some(Arc::clone(default)));
    }
}

/// What ACL LOG says of a refusal besides the client.
pub(crate) struct Refusal<'a> {
    pub(crate) reason: LogReason,
    pub(crate) context: LogContext,
    /// The command, key, channel or database.
    pub(crate) object: &'a [u8],
    /// The user, or the name of the login.
    pub(crate) user: &'a [u8],
}

/// Adds a refusal to ACL LOG unless that is switched off.
pub(crate) fn log_refusal(engine: &Engine, caller: &Caller<'_>, refusal: &Refusal<'_>) {
    let max = engine.config.size(P::AclLogMaxLen);
    if max == 0 {
        engine.users.log.trim(0);
        return;
    }
    let event = LogEvent {
        reason: refusal.reason,
        context: refusal.context,
        object: refusal.object.to_vec(),
        user: refusal.user.to_vec(),
        client: own_line(engine, caller),
        now_ms: engine.now_ms(),
    };
    engine.users.log.add(event, max);
}

/// Adds to ACL LOG that the certificate of a new client names a user that there is not.
pub fn log_certificate(engine: &Engine, session: &Session, name: &[u8]) {
    log_refused_name(engine, session, (LogReason::Certificate, b""), name);
}

/// Adds to ACL LOG and to the audit log that a login failed which no command asked for. `way` says
/// where it came from.
pub fn log_failed_login(engine: &Engine, session: &Session, way: &[u8], name: &[u8]) {
    log_refused_name(engine, session, (LogReason::Auth, way), name);
    note(engine, session, Event::LoginFailed(name));
}

/// Adds to ACL LOG that a session was refused a user, without a command.
fn log_refused_name(
    engine: &Engine,
    session: &Session,
    (reason, object): (LogReason, &[u8]),
    name: &[u8],
) {
    let none = OwnedArgs::new();
    let caller = Caller {
        session,
        command: None,
        args: none.as_args(),
    };
    let refusal = Refusal {
        reason,
        context: LogContext::TopLevel,
        object,
        user: name,
    };
    log_refusal(engine, &caller, &refusal);
}

/// Adds to ACL LOG and to the audit log that the user of a session has no right to what `command`
/// shows, where another way than the command leads there.
pub fn log_denied(engine: &Engine, session: &Session, command: &'static Command, denied: Denied) {
    let args = OwnedArgs::from_slices(&[command.full_name.as_bytes()]);
    let caller = Caller {
        session,
        command: Some(command),
        args: args.as_args(),
    };
    let user = session.user.as_ref();
    let user = user.unwrap_or_else(|| engine.users.default_user());
    let refusal = Refusal {
        reason: LogReason::Denied(denied.reason),
        context: LogContext::TopLevel,
        object: denied.object(command, args.as_args()),
        user: user.name(),
    };
    log_refusal(engine, &caller, &refusal);
    let event = Event::Denied {
        user: user.name(),
        reason: refusal.reason.word(),
        object: refusal.object,
        command: command.full_name,
    };
    note(engine, session, event);
}

/// Adds to the audit log that a user has logged in without a command.
pub fn log_login(engine: &Engine, session: &Session, name: &[u8]) {
    note(engine, session, Event::LoggedIn(name));
}

fn note(engine: &Engine, session: &Session, event: Event<'_>) {
    if engine.audit.is_on() {
        let now_us = engine.clock.unix_us();
        engine.audit.note(now_us, &session.shared, event);
    }
}

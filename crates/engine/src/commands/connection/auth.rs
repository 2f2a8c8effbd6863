//! AUTH, and logins.

use crate::audit::Event;
use crate::client_row::Caller;
use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome, Refusal, log_refusal};
use crate::users::{DEFAULT_USER, LogContext, LogReason};

/// Authenticates the client, or returns the error. A failure leaves its session as it was.
pub fn authenticate(
    ctx: &mut Context<'_, '_>,
    name: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    if let Some(user) = ctx.engine.users.authenticate(name, password) {
        ctx.session.set_user(Some(user));
        audit(ctx, Event::LoggedIn(name));
        return Ok(());
    }
    audit(ctx, Event::LoginFailed(name));
    ctx.data.stats.auth_failures.add(1);
    let caller = Caller {
        session: ctx.session,
        command: Some(ctx.entry),
        args: ctx.args,
    };
    let refusal = Refusal {
        reason: LogReason::Auth,
        context: match ctx.is_nested() {
            true => LogContext::Multi,
            false => LogContext::TopLevel,
        },
        object: ctx.args.arg(0),
        user: name,
    };
    log_refusal(ctx.engine, &caller, &refusal);
    Err(CommandError::line(
        "WRONGPASS invalid username-password pair or user is disabled.",
    ))
}

fn audit(ctx: &Context<'_, '_>, event: Event<'_>) {
    let audit = &ctx.engine.audit;
    if audit.is_on() {
        audit.note(ctx.engine.clock.unix_us(), &ctx.session.shared, event);
    }
}

pub(crate) const AUTH: CommandSpec = CommandSpec::new("auth", -2, auth)
    .group(Group::Connection)
    .since("1.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::NO_AUTH))
    .flags(Flags::ALLOW_BUSY.or(Flags::ANY_TIME))
    .summary("Authenticates the client.")
    .complexity("O(1)")
    // User names too: they are half of a login.
    .secrets(|_, index| index >= 1)
    .args(&[
        Arg::string("username").since("6.0.0").optional(),
        Arg::string("password"),
    ]);
fn auth(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (user, password) = match ctx.args.len() {
        2 if ctx.engine.users.default_user().rules().nopass => {
            return Err(CommandError::line(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        2 => (DEFAULT_USER.as_bytes(), ctx.arg(1)),
        3 => (ctx.arg(1), ctx.arg(2)),
        _ => return Err(CommandError::Syntax),
    };
    authenticate(ctx, user, password)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

//! AUTH, and the one place where a password is checked.
//!
//! There is one user so far, `default`, whose password is `requirepass`; without `requirepass` any
//! password is accepted.

use sha2::{Digest, Sha256};

use crate::command::{Arg, Flags, Group};
use crate::config::P;
use crate::context::Context;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::session::Session;

/// The user of a connection that did not name one.
pub const DEFAULT_USER: &str = "default";

/// True when the default user needs no password.
pub fn is_open(engine: &Engine) -> bool {
    !engine.config.needs_password()
}

/// True when there is a user of this name.
pub fn user_exists(name: &[u8]) -> bool {
    name == DEFAULT_USER.as_bytes()
}

/// Authenticates a session, or returns the error. A failure leaves the session as it was.
pub fn authenticate(
    engine: &Engine,
    session: &mut Session,
    user: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    if !user_exists(user) || !is_password(engine, password) {
        return Err(CommandError::line(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    session.authenticated = true;
    DEFAULT_USER.clone_into(&mut session.shared.lock_details().user);
    Ok(())
}

/// True when this is the password of the default user, or when it needs none.
fn is_password(engine: &Engine, candidate: &[u8]) -> bool {
    match engine.config.password_hash() {
        Some(hash) => is_equal(&hash, &Sha256::digest(candidate)),
        None => {
            let required = engine.config.bytes(P::RequirePass);
            required.is_empty() || is_equal(&required, candidate)
        }
    }
}

/// Compares without stopping at the first difference, so that the time does not depend on the
/// secret.
fn is_equal(secret: &[u8], candidate: &[u8]) -> bool {
    let mut difference = secret.len() ^ candidate.len();
    for (index, byte) in candidate.iter().enumerate() {
        let expected = secret
            .get(index % secret.len().max(1))
            .copied()
            .unwrap_or_default();
        difference |= usize::from(expected ^ byte);
    }
    difference == 0
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
        2 if is_open(ctx.engine) => {
            return Err(CommandError::line(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        2 => (DEFAULT_USER.as_bytes(), ctx.arg(1)),
        3 => (ctx.arg(1), ctx.arg(2)),
        _ => return Err(CommandError::Syntax),
    };
    let result = authenticate(ctx.engine, ctx.session, user, password);
    if result.is_err() {
        ctx.data.stats.auth_failures.add(1);
    }
    result?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::is_equal;

    #[test]
    fn passwords_are_compared_whole() {
        assert!(is_equal(b"secret", b"secret"));
        for wrong in [&b"secre"[..], b"secrets", b"Secret", b"", b"secretsecret"] {
            assert!(!is_equal(b"secret", wrong), "{wrong:?}");
        }
    }
}

//! Settings of a connection, and queries about itself.

use crate::command::{Arg, Flags, Group};
use crate::config::P;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::session::{CAPA_REDIRECT, ReplyMode, Session};

/// The error for a name that would break the format of CLIENT LIST.
pub const NAME_REFUSED: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// True for text that fits into one field of CLIENT LIST: printable ASCII without spaces.
pub fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Names a connection; an empty name removes the name.
pub fn set_name(session: &Session, name: &[u8]) {
    session.shared.lock_details().name = name.to_vec();
}

/// `ON` or `OFF` at argument 2.
pub(super) fn on_or_off(ctx: &Context<'_, '_>) -> Result<bool, CommandError> {
    match () {
        () if ctx.is_word(2, "ON") => Ok(true),
        () if ctx.is_word(2, "OFF") => Ok(false),
        () => Err(CommandError::Syntax),
    }
}

pub(crate) const CLIENT_ID: CommandSpec = CommandSpec::new("id", 2, client_id)
    .group(Group::Connection)
    .since("5.0.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Returns the id of the connection.")
    .complexity("O(1)");
fn client_id(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.reply.integer(ctx.session.shared.id as i64);
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_GETNAME: CommandSpec = CommandSpec::new("getname", 2, client_getname)
    .group(Group::Connection)
    .since("2.6.9")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Returns the client's name.")
    .complexity("O(1)");
fn client_getname(ctx: &mut Context<'_, '_>) -> CommandResult {
    let details = ctx.session.shared.lock_details();
    if details.name.is_empty() {
        ctx.reply.null();
    } else {
        ctx.reply.bulk(&details.name);
    }
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_SETNAME: CommandSpec = CommandSpec::new("setname", 3, client_setname)
    .group(Group::Connection)
    .since("2.6.9")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Sets the name of the connection.")
    .complexity("O(1)")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[Arg::string("connection-name")]);
fn client_setname(ctx: &mut Context<'_, '_>) -> CommandResult {
    let name = ctx.arg(2);
    if !is_valid_name(name) {
        return Err(CommandError::line(NAME_REFUSED));
    }
    set_name(ctx.session, name);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_SETINFO: CommandSpec = CommandSpec::new("setinfo", 4, client_setinfo)
    .group(Group::Connection)
    .since("7.2.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Sets information about the client library.")
    .complexity("O(1)")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[Arg::one_of("attr").args(&[
        Arg::string("libname").token("LIB-NAME"),
        Arg::string("libver").token("LIB-VER"),
    ])]);
fn client_setinfo(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (option, value) = (ctx.arg(2), ctx.arg(3));
    let is_name = option.eq_ignore_ascii_case(b"lib-name");
    if !is_name && !option.eq_ignore_ascii_case(b"lib-ver") {
        let line = [b"ERR Unrecognized option '", option, b"'"].concat();
        return Err(CommandError::Bytes(line));
    }
    if !is_valid_name(value) {
        let rest = b" cannot contain spaces, newlines or special characters.";
        return Err(CommandError::Bytes([b"ERR ", option, rest].concat()));
    }
    let mut details = ctx.session.shared.lock_details();
    let field = if is_name {
        &mut details.lib_name
    } else {
        &mut details.lib_ver
    };
    *field = value.to_vec();
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_CAPA: CommandSpec = CommandSpec::new("capa", -3, client_capa)
    .group(Group::Connection)
    .since("8.0.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Declares capabilities of the client.")
    .complexity("O(1)")
    .args(&[Arg::string("capability").multiple()]);
fn client_capa(ctx: &mut Context<'_, '_>) -> CommandResult {
    // Unknown capabilities are no error: clients list all they have.
    for word in ctx.args.skip(2).iter() {
        let capabilities = &mut ctx.session.capabilities;
        if word.eq_ignore_ascii_case(b"redirect") && !capabilities.contains(&CAPA_REDIRECT) {
            capabilities.push(CAPA_REDIRECT);
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_NO_EVICT: CommandSpec = CommandSpec::new("no-evict", 3, client_no_evict)
    .group(Group::Connection)
    .since("7.0.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::ADMIN).or(Flags::NOSCRIPT))
    .flags(Flags::ANY_TIME)
    .summary("Sets whether the connection is exempt from client eviction.")
    .complexity("O(1)")
    .args(&[Arg::one_of("enabled").args(&[Arg::word("on", "ON"), Arg::word("off", "OFF")])]);
fn client_no_evict(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.session.no_evict = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_NO_TOUCH: CommandSpec = CommandSpec::new("no-touch", 3, client_no_touch)
    .group(Group::Connection)
    .since("7.2.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary(
        "Lets commands of the connection leave access times and counters of keys alone, or no \
         longer.",
    )
    .complexity("O(1)")
    .args(&[Arg::one_of("enabled").args(&[Arg::word("on", "ON"), Arg::word("off", "OFF")])]);
fn client_no_touch(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.session.no_touch = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_IMPORT_SOURCE: CommandSpec =
    CommandSpec::new("import-source", 3, client_import_source)
        .group(Group::Connection)
        .since("8.1.0")
        .flags(Flags::NOSCRIPT.or(Flags::ANY_TIME))
        .summary("Marks the connection as an import source, or no longer.")
        .complexity("O(1)")
        .args(&[Arg::one_of("enabled").args(&[Arg::word("on", "ON"), Arg::word("off", "OFF")])]);
fn client_import_source(ctx: &mut Context<'_, '_>) -> CommandResult {
    if !ctx.engine.config.bool(P::ImportMode) && !ctx.is_word(2, "OFF") {
        return Err(CommandError::line("ERR Server is not in import mode"));
    }
    ctx.session.import_source = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_REPLY: CommandSpec = CommandSpec::new("reply", 3, client_reply)
    .group(Group::Connection)
    .since("3.2.0")
    .flags(Flags::ALLOW_BUSY.or(Flags::NOSCRIPT).or(Flags::NO_MULTI))
    .flags(Flags::ANY_TIME)
    .summary("Enables or disables replies, or skips the next one.")
    .complexity("O(1)")
    .args(&[Arg::one_of("action").args(&[
        Arg::word("on", "ON"),
        Arg::word("off", "OFF"),
        Arg::word("skip", "SKIP"),
    ])]);
fn client_reply(ctx: &mut Context<'_, '_>) -> CommandResult {
    let mode = &mut ctx.session.reply_mode;
    if ctx.args.arg(2).eq_ignore_ascii_case(b"on") {
        *mode = ReplyMode::On;
        ctx.reply.ok();
    } else if ctx.args.arg(2).eq_ignore_ascii_case(b"off") {
        *mode = ReplyMode::Off;
    } else if ctx.args.arg(2).eq_ignore_ascii_case(b"skip") {
        if *mode != ReplyMode::Off {
            *mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::is_valid_name;

    #[test]
    fn names_are_one_field_of_the_list() {
        assert!(is_valid_name(b"") && is_valid_name(b"a-b!~"));
        for bad in [&b"a b"[..], b"a\n", b"\x7f", b"\xc3\xa4"] {
            assert!(!is_valid_name(bad), "{bad:?}");
        }
    }
}

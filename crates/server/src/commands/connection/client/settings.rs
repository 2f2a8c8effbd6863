//! What a connection sets and asks about itself.

use crate::client::{CAPA_REDIRECT, ReplyMode, Session};
use crate::command::{Arg, ArgKind, Categories, Command, CommandResult, Flags, Group, Outcome};
use crate::config::P;
use crate::context::Context;
use crate::error::CommandError;

/// The error for a name that would break the format of CLIENT LIST.
pub const NAME_REFUSED: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// True for text that fits into one field of CLIENT LIST: printable ASCII without spaces.
pub fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Names a connection; an empty name takes the name away.
pub fn set_name(session: &Session, name: &[u8]) {
    session.shared.lock_details().name = name.to_vec();
}

/// `ON` or `OFF` at argument 2.
fn on_or_off(ctx: &Context<'_, '_>) -> Result<bool, CommandError> {
    match () {
        () if ctx.is_word(2, "ON") => Ok(true),
        () if ctx.is_word(2, "OFF") => Ok(false),
        () => Err(CommandError::Syntax),
    }
}

pub(crate) const CLIENT_ID: Command = Command {
    name: "id",
    arity: 2,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "5.0.0",
    summary: "Tells the number of the connection.",
    complexity: "O(1)",
    handler: client_id,
    ..Command::BASE
};
fn client_id(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.reply.integer(ctx.session.shared.id as i64);
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_GETNAME: Command = Command {
    name: "getname",
    arity: 2,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "2.6.9",
    summary: "Tells the name of the connection.",
    complexity: "O(1)",
    handler: client_getname,
    ..Command::BASE
};
fn client_getname(ctx: &mut Context<'_, '_>) -> CommandResult {
    let details = ctx.session.shared.lock_details();
    if details.name.is_empty() {
        ctx.reply.null();
    } else {
        ctx.reply.bulk(&details.name);
    }
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_SETNAME: Command = Command {
    name: "setname",
    arity: 3,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "2.6.9",
    summary: "Names the connection.",
    complexity: "O(1)",
    hints: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg {
        name: "connection-name",
        kind: ArgKind::String,
        ..Arg::BASE
    }],
    handler: client_setname,
    ..Command::BASE
};
fn client_setname(ctx: &mut Context<'_, '_>) -> CommandResult {
    let name = ctx.arg(2);
    if !is_valid_name(name) {
        return Err(CommandError::line(NAME_REFUSED));
    }
    set_name(ctx.session, name);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_SETINFO: Command = Command {
    name: "setinfo",
    arity: 4,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "7.2.0",
    summary: "Tells the server which client library is behind the connection.",
    complexity: "O(1)",
    hints: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg {
        name: "attr",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "libname",
                kind: ArgKind::String,
                token: Some("LIB-NAME"),
                ..Arg::BASE
            },
            Arg {
                name: "libver",
                kind: ArgKind::String,
                token: Some("LIB-VER"),
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: client_setinfo,
    ..Command::BASE
};
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

pub(crate) const CLIENT_CAPA: Command = Command {
    name: "capa",
    arity: -3,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "8.0.0",
    summary: "Tells the server what the client is able to do.",
    complexity: "O(1)",
    args: &[Arg {
        name: "capability",
        kind: ArgKind::String,
        multiple: true,
        ..Arg::BASE
    }],
    handler: client_capa,
    ..Command::BASE
};
fn client_capa(ctx: &mut Context<'_, '_>) -> CommandResult {
    // Unknown capabilities are no error: clients name what they have, whatever the server knows of.
    for word in ctx.args.skip(2).iter() {
        let capabilities = &mut ctx.session.capabilities;
        if word.eq_ignore_ascii_case(b"redirect") && !capabilities.contains(&CAPA_REDIRECT) {
            capabilities.push(CAPA_REDIRECT);
        }
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_NO_EVICT: Command = Command {
    name: "no-evict",
    arity: 3,
    flags: Flags::ALLOW_BUSY
        .or(Flags::ADMIN)
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::ADMIN
        .or(Categories::CONNECTION)
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Connection,
    since: "7.0.0",
    summary: "Protects the connection from being closed to save memory, or no longer.",
    complexity: "O(1)",
    args: &[Arg {
        name: "enabled",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "on",
                kind: ArgKind::PureToken,
                token: Some("ON"),
                ..Arg::BASE
            },
            Arg {
                name: "off",
                kind: ArgKind::PureToken,
                token: Some("OFF"),
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: client_no_evict,
    ..Command::BASE
};
fn client_no_evict(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.session.no_evict = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_NO_TOUCH: Command = Command {
    name: "no-touch",
    arity: 3,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "7.2.0",
    summary: "Lets commands of the connection leave access times and counters of keys alone, or no longer.",
    complexity: "O(1)",
    args: &[Arg {
        name: "enabled",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "on",
                kind: ArgKind::PureToken,
                token: Some("ON"),
                ..Arg::BASE
            },
            Arg {
                name: "off",
                kind: ArgKind::PureToken,
                token: Some("OFF"),
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: client_no_touch,
    ..Command::BASE
};
fn client_no_touch(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.session.no_touch = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_IMPORT_SOURCE: Command = Command {
    name: "import-source",
    arity: 3,
    flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "8.1.0",
    summary: "Marks the connection as one that imports data, or no longer.",
    complexity: "O(1)",
    args: &[Arg {
        name: "enabled",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "on",
                kind: ArgKind::PureToken,
                token: Some("ON"),
                ..Arg::BASE
            },
            Arg {
                name: "off",
                kind: ArgKind::PureToken,
                token: Some("OFF"),
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: client_import_source,
    ..Command::BASE
};
fn client_import_source(ctx: &mut Context<'_, '_>) -> CommandResult {
    if !ctx.server.config.bool(P::ImportMode) && !ctx.is_word(2, "OFF") {
        return Err(CommandError::line("ERR Server is not in import mode"));
    }
    ctx.session.import_source = on_or_off(ctx)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_REPLY: Command = Command {
    name: "reply",
    arity: 3,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::NO_MULTI)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "3.2.0",
    summary: "Turns replies on or off, or skips the one of the next command.",
    complexity: "O(1)",
    args: &[Arg {
        name: "action",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "on",
                kind: ArgKind::PureToken,
                token: Some("ON"),
                ..Arg::BASE
            },
            Arg {
                name: "off",
                kind: ArgKind::PureToken,
                token: Some("OFF"),
                ..Arg::BASE
            },
            Arg {
                name: "skip",
                kind: ArgKind::PureToken,
                token: Some("SKIP"),
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: client_reply,
    ..Command::BASE
};
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

pub(crate) const CLIENT_TRACKING: Command = Command {
    name: "tracking",
    arity: -3,
    flags: Flags::NOSCRIPT
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "6.0.0",
    summary: "Turns messages about changed keys on or off, for caches in clients.",
    complexity: "O(1)",
    args: &[
        Arg {
            name: "status",
            kind: ArgKind::OneOf,
            args: &[
                Arg {
                    name: "on",
                    kind: ArgKind::PureToken,
                    token: Some("ON"),
                    ..Arg::BASE
                },
                Arg {
                    name: "off",
                    kind: ArgKind::PureToken,
                    token: Some("OFF"),
                    ..Arg::BASE
                },
            ],
            ..Arg::BASE
        },
        Arg {
            name: "client-id",
            kind: ArgKind::Integer,
            token: Some("REDIRECT"),
            optional: true,
            ..Arg::BASE
        },
        Arg {
            name: "prefix",
            kind: ArgKind::String,
            token: Some("PREFIX"),
            optional: true,
            multiple: true,
            multiple_token: true,
            ..Arg::BASE
        },
        Arg {
            name: "bcast",
            kind: ArgKind::PureToken,
            token: Some("BCAST"),
            optional: true,
            ..Arg::BASE
        },
        Arg {
            name: "optin",
            kind: ArgKind::PureToken,
            token: Some("OPTIN"),
            optional: true,
            ..Arg::BASE
        },
        Arg {
            name: "optout",
            kind: ArgKind::PureToken,
            token: Some("OPTOUT"),
            optional: true,
            ..Arg::BASE
        },
        Arg {
            name: "noloop",
            kind: ArgKind::PureToken,
            token: Some("NOLOOP"),
            optional: true,
            ..Arg::BASE
        },
    ],
    handler: client_tracking,
    ..Command::BASE
};
fn client_tracking(ctx: &mut Context<'_, '_>) -> CommandResult {
    let enable = check_tracking(ctx)?;
    if enable {
        return Err(CommandError::line(
            "ERR CLIENT TRACKING is not supported by this version of Lodestore",
        ));
    }
    // Turning off what is off already is what a client does when it cleans up.
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Checks the options of CLIENT TRACKING; true for ON.
fn check_tracking(ctx: &Context<'_, '_>) -> Result<bool, CommandError> {
    let mut redirected = false;
    let mut at = 3;
    while at < ctx.args.len() {
        let more = at + 1 < ctx.args.len();
        match ctx.arg(at).to_ascii_lowercase().as_slice() {
            b"bcast" | b"optin" | b"optout" | b"noloop" => {}
            b"prefix" if more => at += 1,
            b"redirect" if more && redirected => {
                return Err(CommandError::line(
                    "ERR A client can only redirect to a single other client",
                ));
            }
            b"redirect" if more => {
                at += 1;
                let id = u64::try_from(ctx.integer(at)?).unwrap_or(0);
                redirected = true;
                if ctx.server.clients.get(id).is_none() {
                    return Err(CommandError::line(
                        "ERR The client ID you want redirect to does not exist",
                    ));
                }
            }
            _ => return Err(CommandError::Syntax),
        }
        at += 1;
    }
    on_or_off(ctx)
}

pub(crate) const CLIENT_TRACKINGINFO: Command = Command {
    name: "trackinginfo",
    arity: 2,
    flags: Flags::NOSCRIPT
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "6.2.0",
    summary: "Tells how tracking is set up for the connection.",
    complexity: "O(1)",
    handler: client_trackinginfo,
    ..Command::BASE
};
fn client_trackinginfo(ctx: &mut Context<'_, '_>) -> CommandResult {
    // No connection can have turned tracking on.
    let reply = &mut ctx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.empty_array();
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_GETREDIR: Command = Command {
    name: "getredir",
    arity: 2,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "6.0.0",
    summary: "Tells which client gets the tracking messages of the connection.",
    complexity: "O(1)",
    handler: client_getredir,
    ..Command::BASE
};
fn client_getredir(ctx: &mut Context<'_, '_>) -> CommandResult {
    // -1: tracking is off, as for every connection so far.
    ctx.reply.integer(-1);
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_CACHING: Command = Command {
    name: "caching",
    arity: 3,
    flags: Flags::ALLOW_BUSY
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "6.0.0",
    summary: "Decides whether the keys of the next command are tracked.",
    complexity: "O(1)",
    args: &[Arg {
        name: "mode",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "yes",
                kind: ArgKind::PureToken,
                token: Some("YES"),
                ..Arg::BASE
            },
            Arg {
                name: "no",
                kind: ArgKind::PureToken,
                token: Some("NO"),
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: client_caching,
    ..Command::BASE
};
fn client_caching(_: &mut Context<'_, '_>) -> CommandResult {
    Err(CommandError::line(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
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

//! CLIENT LIST and CLIENT INFO.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::filter::Filter;
use super::row::Row;
use crate::command::{Arg, ArgKind, Categories, Command, CommandResult, Flags, Group, Outcome};
use crate::context::Context;
use crate::error::CommandError;

/// Rows of all connections that fit; those that are being closed are gone already.
pub(super) fn rows(ctx: &Context<'_, '_>, filter: &Filter<'_>) -> Vec<Row> {
    let own_id = ctx.session.shared.id;
    ctx.server
        .clients
        .all()
        .into_iter()
        .filter(|client| client.fd >= 0 && !client.kill.load(Ordering::Acquire))
        .map(|client| Row::of(ctx, client))
        .filter(|row| filter.fits(row, own_id))
        .collect()
}

pub(crate) const CLIENT_LIST: Command = Command {
    name: "list",
    arity: -2,
    flags: Flags::ADMIN
        .or(Flags::NOSCRIPT)
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::ADMIN
        .or(Categories::CONNECTION)
        .or(Categories::DANGEROUS)
        .or(Categories::SLOW),
    group: Group::Connection,
    since: "2.4.0",
    summary: "Lists the connections, one line each.",
    complexity: "O(N) in the number of connections",
    hints: &["nondeterministic_output"],
    args: &[
        Arg {
            name: "client-type",
            kind: ArgKind::OneOf,
            token: Some("TYPE"),
            optional: true,
            since: Some("5.0.0"),
            args: &[
                Arg {
                    name: "normal",
                    kind: ArgKind::PureToken,
                    token: Some("NORMAL"),
                    ..Arg::BASE
                },
                Arg {
                    name: "master",
                    kind: ArgKind::PureToken,
                    token: Some("MASTER"),
                    ..Arg::BASE
                },
                Arg {
                    name: "replica",
                    kind: ArgKind::PureToken,
                    token: Some("REPLICA"),
                    ..Arg::BASE
                },
                Arg {
                    name: "pubsub",
                    kind: ArgKind::PureToken,
                    token: Some("PUBSUB"),
                    ..Arg::BASE
                },
            ],
            ..Arg::BASE
        },
        Arg {
            name: "client-id",
            kind: ArgKind::Integer,
            token: Some("ID"),
            optional: true,
            multiple: true,
            since: Some("6.2.0"),
            ..Arg::BASE
        },
        Arg {
            name: "username",
            kind: ArgKind::String,
            token: Some("USER"),
            optional: true,
            since: Some("8.1.0"),
            ..Arg::BASE
        },
        Arg {
            name: "addr",
            kind: ArgKind::String,
            token: Some("ADDR"),
            display: Some("ip:port"),
            optional: true,
            since: Some("8.1.0"),
            ..Arg::BASE
        },
        Arg {
            name: "laddr",
            kind: ArgKind::String,
            token: Some("LADDR"),
            display: Some("ip:port"),
            optional: true,
            since: Some("8.1.0"),
            ..Arg::BASE
        },
        Arg {
            name: "skipme",
            kind: ArgKind::OneOf,
            token: Some("SKIPME"),
            optional: true,
            since: Some("8.1.0"),
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
        },
        Arg {
            name: "maxage",
            kind: ArgKind::Integer,
            token: Some("MAXAGE"),
            optional: true,
            since: Some("8.1.0"),
            ..Arg::BASE
        },
        Arg {
            name: "name",
            kind: ArgKind::String,
            token: Some("NAME"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "idle",
            kind: ArgKind::Integer,
            token: Some("IDLE"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "flags",
            kind: ArgKind::String,
            token: Some("FLAGS"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "lib-name",
            kind: ArgKind::String,
            token: Some("LIB-NAME"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "lib-ver",
            kind: ArgKind::String,
            token: Some("LIB-VER"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "db",
            kind: ArgKind::Integer,
            token: Some("DB"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "capa",
            kind: ArgKind::String,
            token: Some("CAPA"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "ip",
            kind: ArgKind::String,
            token: Some("IP"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-client-type",
            kind: ArgKind::OneOf,
            token: Some("NOT-TYPE"),
            optional: true,
            since: Some("9.0.0"),
            args: &[
                Arg {
                    name: "normal",
                    kind: ArgKind::PureToken,
                    token: Some("NORMAL"),
                    ..Arg::BASE
                },
                Arg {
                    name: "master",
                    kind: ArgKind::PureToken,
                    token: Some("MASTER"),
                    ..Arg::BASE
                },
                Arg {
                    name: "replica",
                    kind: ArgKind::PureToken,
                    token: Some("REPLICA"),
                    ..Arg::BASE
                },
                Arg {
                    name: "pubsub",
                    kind: ArgKind::PureToken,
                    token: Some("PUBSUB"),
                    ..Arg::BASE
                },
            ],
            ..Arg::BASE
        },
        Arg {
            name: "not-client-id",
            kind: ArgKind::Integer,
            token: Some("NOT-ID"),
            optional: true,
            multiple: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-username",
            kind: ArgKind::String,
            token: Some("NOT-USER"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-addr",
            kind: ArgKind::String,
            token: Some("NOT-ADDR"),
            display: Some("ip:port"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-laddr",
            kind: ArgKind::String,
            token: Some("NOT-LADDR"),
            display: Some("ip:port"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-name",
            kind: ArgKind::String,
            token: Some("NOT-NAME"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-flags",
            kind: ArgKind::String,
            token: Some("NOT-FLAGS"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-lib-name",
            kind: ArgKind::String,
            token: Some("NOT-LIB-NAME"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-lib-ver",
            kind: ArgKind::String,
            token: Some("NOT-LIB-VER"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-db",
            kind: ArgKind::Integer,
            token: Some("NOT-DB"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-capa",
            kind: ArgKind::String,
            token: Some("NOT-CAPA"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
        Arg {
            name: "not-ip",
            kind: ArgKind::String,
            token: Some("NOT-IP"),
            optional: true,
            since: Some("9.0.0"),
            ..Arg::BASE
        },
    ],
    handler: client_list,
    ..Command::BASE
};
fn client_list(ctx: &mut Context<'_, '_>) -> CommandResult {
    let filter = match ctx.args.len() {
        2 => Filter::default(),
        3 => return Err(CommandError::Syntax),
        _ => Filter::parse(ctx, Filter::default())?,
    };
    let mut text = String::new();
    for row in rows(ctx, &filter) {
        row.write(&mut text);
        text.push('\n');
    }
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

pub(crate) const CLIENT_INFO: Command = Command {
    name: "info",
    arity: 2,
    flags: Flags::NOSCRIPT
        .or(Flags::LOADING)
        .or(Flags::STALE)
        .or(Flags::SENTINEL),
    categories: Categories::CONNECTION.or(Categories::SLOW),
    group: Group::Connection,
    since: "6.2.0",
    summary: "Shows the line of CLIENT LIST for this connection.",
    complexity: "O(1)",
    hints: &["nondeterministic_output"],
    handler: client_info,
    ..Command::BASE
};
fn client_info(ctx: &mut Context<'_, '_>) -> CommandResult {
    let mut line = String::new();
    Row::of(ctx, Arc::clone(&ctx.session.shared)).write(&mut line);
    line.push('\n');
    ctx.reply.verbatim("txt", line.as_bytes());
    Ok(Outcome::Done)
}

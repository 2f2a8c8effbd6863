//! CLIENT KILL.

use std::sync::atomic::Ordering;

use super::filter::Filter;
use super::list::rows;
use crate::command::{Arg, ArgKind, Categories, Command, CommandResult, Flags, Group, Outcome};
use crate::context::Context;
use crate::error::CommandError;
use crate::net::mailbox::Message;

pub(crate) const CLIENT_KILL: Command = Command {
    name: "kill",
    arity: -3,
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
    summary: "Closes connections.",
    complexity: "O(N) in the number of connections",
    args: &[Arg {
        name: "filter",
        kind: ArgKind::OneOf,
        args: &[
            Arg {
                name: "old-format",
                kind: ArgKind::String,
                display: Some("ip:port"),
                deprecated_since: Some("2.8.12"),
                ..Arg::BASE
            },
            Arg {
                name: "new-format",
                kind: ArgKind::OneOf,
                multiple: true,
                args: &[
                    Arg {
                        name: "client-id",
                        kind: ArgKind::Integer,
                        token: Some("ID"),
                        optional: true,
                        multiple: true,
                        since: Some("2.8.12"),
                        ..Arg::BASE
                    },
                    Arg {
                        name: "client-type",
                        kind: ArgKind::OneOf,
                        token: Some("TYPE"),
                        optional: true,
                        since: Some("2.8.12"),
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
                                since: Some("3.2.0"),
                                ..Arg::BASE
                            },
                            Arg {
                                name: "primary",
                                kind: ArgKind::PureToken,
                                token: Some("PRIMARY"),
                                since: Some("8.0.0"),
                                ..Arg::BASE
                            },
                            Arg {
                                name: "slave",
                                kind: ArgKind::PureToken,
                                token: Some("SLAVE"),
                                ..Arg::BASE
                            },
                            Arg {
                                name: "replica",
                                kind: ArgKind::PureToken,
                                token: Some("REPLICA"),
                                since: Some("5.0.0"),
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
                        name: "username",
                        kind: ArgKind::String,
                        token: Some("USER"),
                        optional: true,
                        ..Arg::BASE
                    },
                    Arg {
                        name: "addr",
                        kind: ArgKind::String,
                        token: Some("ADDR"),
                        display: Some("ip:port"),
                        optional: true,
                        ..Arg::BASE
                    },
                    Arg {
                        name: "laddr",
                        kind: ArgKind::String,
                        token: Some("LADDR"),
                        display: Some("ip:port"),
                        optional: true,
                        since: Some("6.2.0"),
                        ..Arg::BASE
                    },
                    Arg {
                        name: "skipme",
                        kind: ArgKind::OneOf,
                        token: Some("SKIPME"),
                        optional: true,
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
                        since: Some("8.0.0"),
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
                                name: "primary",
                                kind: ArgKind::PureToken,
                                token: Some("PRIMARY"),
                                ..Arg::BASE
                            },
                            Arg {
                                name: "slave",
                                kind: ArgKind::PureToken,
                                token: Some("SLAVE"),
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
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: client_kill,
    ..Command::BASE
};
fn client_kill(ctx: &mut Context<'_, '_>) -> CommandResult {
    let one_address = ctx.args.len() == 3;
    let filter = if one_address {
        // This form may name the connection itself.
        Filter::address(ctx.arg(2))
    } else {
        Filter::parse(ctx, Filter::others())?
    };
    let killed = kill(ctx, &filter);
    match (one_address, killed) {
        (true, 0) => return Err(CommandError::line("ERR No such client")),
        (true, _) => ctx.reply.ok(),
        (false, count) => ctx.reply.integer(count as i64),
    }
    Ok(Outcome::Done)
}

fn kill(ctx: &mut Context<'_, '_>, filter: &Filter<'_>) -> usize {
    let rows = rows(ctx, filter);
    for row in &rows {
        let client = &row.client;
        if client.id == ctx.session.shared.id {
            // The reply still has to reach it.
            ctx.session.close_after_reply = true;
            continue;
        }
        // Out of sight at once; its worker closes the socket when it gets to the message.
        client.kill.store(true, Ordering::Release);
        ctx.server.clients.remove(client.id);
        ctx.server.send_to(client, Message::Kill(client.id));
    }
    rows.len()
}

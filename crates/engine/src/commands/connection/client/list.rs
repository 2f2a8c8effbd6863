//! CLIENT LIST and CLIENT INFO.

use std::sync::atomic::Ordering;

use super::filter::{Filter, number, text};
use crate::client_row::{Caller, Row, own_line};
use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// Rows of all selected connections, except those that are being closed.
pub(super) fn rows(ctx: &Context<'_, '_>, filter: &Filter<'_>) -> Vec<Row> {
    let own_id = ctx.session.shared.id;
    let caller = caller(ctx);
    ctx.engine
        .clients
        .all()
        .into_iter()
        .filter(|client| !client.kill.load(Ordering::Acquire))
        .map(|client| Row::of(ctx.engine, &caller, client))
        .filter(|row| filter.fits(row, own_id))
        .collect()
}

fn caller<'a>(ctx: &'a Context<'_, '_>) -> Caller<'a> {
    Caller {
        session: ctx.session,
        command: Some(ctx.entry),
        args: ctx.args,
    }
}

const TYPES: &[Arg] = &[
    Arg::word("normal", "NORMAL"),
    Arg::word("master", "MASTER"),
    Arg::word("replica", "REPLICA"),
    Arg::word("pubsub", "PUBSUB"),
];

pub(crate) const CLIENT_LIST: CommandSpec = CommandSpec::new("list", -2, client_list)
    .group(Group::Connection)
    .since("2.4.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Lists the connections, one line each.")
    .complexity("O(N) in the number of connections")
    .hints(&["nondeterministic_output"])
    .args(&[
        Arg::one_of("client-type")
            .option("TYPE")
            .since("5.0.0")
            .args(TYPES),
        Arg::integer("client-id")
            .option("ID")
            .since("6.2.0")
            .multiple(),
        Arg::string("username").option("USER").since("8.1.0"),
        Arg::string("addr")
            .option("ADDR")
            .display("ip:port")
            .since("8.1.0"),
        Arg::string("laddr")
            .option("LADDR")
            .display("ip:port")
            .since("8.1.0"),
        Arg::one_of("skipme")
            .option("SKIPME")
            .since("8.1.0")
            .args(&[Arg::word("yes", "YES"), Arg::word("no", "NO")]),
        Arg::integer("maxage").option("MAXAGE").since("8.1.0"),
        text("name", "NAME"),
        number("idle", "IDLE"),
        text("flags", "FLAGS"),
        text("lib-name", "LIB-NAME"),
        text("lib-ver", "LIB-VER"),
        number("db", "DB"),
        text("capa", "CAPA"),
        text("ip", "IP"),
        Arg::one_of("not-client-type")
            .option("NOT-TYPE")
            .since("9.0.0")
            .args(TYPES),
        number("not-client-id", "NOT-ID").multiple(),
        text("not-username", "NOT-USER"),
        text("not-addr", "NOT-ADDR").display("ip:port"),
        text("not-laddr", "NOT-LADDR").display("ip:port"),
        text("not-name", "NOT-NAME"),
        text("not-flags", "NOT-FLAGS"),
        text("not-lib-name", "NOT-LIB-NAME"),
        text("not-lib-ver", "NOT-LIB-VER"),
        number("not-db", "NOT-DB"),
        text("not-capa", "NOT-CAPA"),
        text("not-ip", "NOT-IP"),
    ]);
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

pub(crate) const CLIENT_INFO: CommandSpec = CommandSpec::new("info", 2, client_info)
    .group(Group::Connection)
    .since("6.2.0")
    .flags(Flags::NOSCRIPT.or(Flags::ANY_TIME))
    .summary("Returns the line of CLIENT LIST for this connection.")
    .complexity("O(1)")
    .hints(&["nondeterministic_output"]);
fn client_info(ctx: &mut Context<'_, '_>) -> CommandResult {
    let mut line = own_line(ctx.engine, &caller(ctx));
    line.push('\n');
    ctx.reply.verbatim("txt", line.as_bytes());
    Ok(Outcome::Done)
}

//! CLIENT KILL.

use std::sync::atomic::Ordering;

use super::filter::{Filter, number, text};
use super::list::rows;
use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(crate) const CLIENT_KILL: CommandSpec = CommandSpec::new("kill", -3, client_kill)
    .group(Group::Connection)
    .since("2.4.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ANY_TIME))
    .summary("Closes connections.")
    .complexity("O(N) in the number of connections")
    .args(&[Arg::one_of("filter").args(&[
        Arg::string("old-format")
            .display("ip:port")
            .deprecated_since("2.8.12"),
        Arg::one_of("new-format").multiple().args(&[
            Arg::integer("client-id")
                .option("ID")
                .since("2.8.12")
                .multiple(),
            Arg::one_of("client-type")
                .option("TYPE")
                .since("2.8.12")
                .args(&[
                    Arg::word("normal", "NORMAL"),
                    Arg::word("master", "MASTER").since("3.2.0"),
                    Arg::word("primary", "PRIMARY").since("8.0.0"),
                    Arg::word("slave", "SLAVE"),
                    Arg::word("replica", "REPLICA").since("5.0.0"),
                    Arg::word("pubsub", "PUBSUB"),
                ]),
            Arg::string("username").option("USER"),
            Arg::string("addr").option("ADDR").display("ip:port"),
            Arg::string("laddr")
                .option("LADDR")
                .display("ip:port")
                .since("6.2.0"),
            Arg::one_of("skipme")
                .option("SKIPME")
                .args(&[Arg::word("yes", "YES"), Arg::word("no", "NO")]),
            Arg::integer("maxage").option("MAXAGE").since("8.0.0"),
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
                .args(&[
                    Arg::word("normal", "NORMAL"),
                    Arg::word("master", "MASTER"),
                    Arg::word("primary", "PRIMARY"),
                    Arg::word("slave", "SLAVE"),
                    Arg::word("replica", "REPLICA"),
                    Arg::word("pubsub", "PUBSUB"),
                ]),
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
        ]),
    ])]);
fn client_kill(ctx: &mut Context<'_, '_>) -> CommandResult {
    let one_address = ctx.args.len() == 3;
    let filter = if one_address {
        // This form may name the calling connection.
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
            // The connection closes after its reply.
            ctx.session.close_after_reply = true;
            continue;
        }
        // Hidden from CLIENT LIST at once; its worker closes the socket when it handles the
        // message.
        client.kill.store(true, Ordering::Release);
        ctx.engine.clients.remove(client.id);
        ctx.engine.runs.kill_of(client.id);
        ctx.engine.outboxes.port.get().kill(client);
    }
    rows.len()
}

//! ACL LOG.

use engine::command::Arg;
use engine::context::Context;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::users::LogEntry;
use resp::Reply;

use super::ADMIN;

/// Entries that are shown where no number is given, as in Redis.
const COUNT: i64 = 10;

pub(super) const LOG: CommandSpec = ADMIN
    .named("log", -2, log)
    .summary("Returns the last commands that were denied and logins that failed.")
    .complexity("O(N) in the number of entries")
    .args(&[Arg::one_of("operation")
        .optional()
        .args(&[Arg::integer("count"), Arg::word("reset", "RESET")])]);
fn log(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = match ctx.args.len() {
        2 => COUNT,
        3 if ctx.is_word(2, "reset") => {
            ctx.engine.users.log.trim(0);
            ctx.reply.ok();
            return Ok(Outcome::Done);
        }
        3 => ctx.integer(2)?,
        _ => return Err(ctx.subcommand_arity_error()),
    };
    let count = usize::try_from(count).unwrap_or(0);
    let entries = ctx.engine.users.log.newest(count);
    let now_ms = ctx.data.now_ms;
    ctx.reply.array(entries.len());
    for entry in &entries {
        reply_entry(&mut ctx.reply, entry, now_ms);
    }
    Ok(Outcome::Done)
}

fn reply_entry(reply: &mut Reply<'_>, entry: &LogEntry, now_ms: u64) {
    let event = &entry.event;
    let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    reply.map(10);
    reply.bulk(b"count");
    reply.integer(integer(entry.count));
    for (name, text) in [
        ("reason", event.reason.word().as_bytes()),
        ("context", event.context.word().as_bytes()),
        ("object", &event.object),
        ("username", &event.user),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(text);
    }
    reply.bulk(b"age-seconds");
    reply.double(now_ms.saturating_sub(event.now_ms) as f64 / 1000.0);
    reply.bulk(b"client-info");
    reply.bulk(event.client.as_bytes());
    for (name, number) in [
        ("entry-id", entry.id),
        ("timestamp-created", entry.created_ms),
        ("timestamp-last-updated", event.now_ms),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(integer(number));
    }
}

//! XTRIM.

use super::options::{self, Options};
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const XTRIM: CommandSpec = CommandSpec::new("xtrim", -4, xtrim)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::WRITE)
    .summary("Deletes the oldest entries of a stream and returns how many.")
    .complexity("O(N) in the number of entries deleted, most of which go in large pieces.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[
        Arg::KEY,
        Arg::block("trim").args(&[
            options::STRATEGY,
            options::OPERATOR,
            options::THRESHOLD,
            options::LIMIT,
            options::CONDITION,
        ]),
    ]);

pub(super) fn xtrim(ctx: &mut Context<'_, '_>) -> CommandResult {
    let mut options = Options::default();
    let mut at = 2;
    while at < ctx.args.len() {
        at = options.take(ctx, at)?.ok_or(CommandError::Syntax)? + 1;
    }
    let trim = options.finish(ctx)?.ok_or(CommandError::line(
        "ERR syntax error, XTRIM must be called with a trimming strategy",
    ))?;
    let key = ctx.key(1);
    let Some(stream) = ctx.data.stream_mut(key)? else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    let trimmed = trim.run(stream);
    if trimmed > 0 {
        let rewritten = trim.rewritten(stream);
        ctx.data
            .changed_times(trimmed, key, EventClass::Stream, "xtrim");
        if let Some(rewritten) = rewritten {
            let args = ctx.args.iter().enumerate();
            let args = args.map(|(index, arg)| rewritten.arg(index, arg));
            ctx.data.effects.replace_iter(ctx.data.db, args);
        }
    }
    ctx.reply
        .integer(i64::try_from(trimmed).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

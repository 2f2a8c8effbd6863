//! SCRIPT.

use std::sync::Arc;

use resp::Reply;

use super::{Arg, CommandSpec, FLUSH_TYPE, Flags, check_flush_mode};
use crate::command::Group;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{Call, CommandResult, Execution, NO_SCRIPT, Outcome, drop_interpreter};
use crate::scripts::Kind;
use crate::shard_tables::Locked;

pub(super) const SCRIPT: CommandSpec = CommandSpec::container("script", -2)
    .group(Group::Scripting)
    .since("2.6.0")
    .summary("A container for commands about scripts.")
    .complexity("Depends on the subcommand")
    .subcommands(&[&DEBUG, &EXISTS, &FLUSH, &HELP, &KILL, &LOAD, &SHOW]);

const BASE: CommandSpec = CommandSpec::BASE
    .group(Group::Scripting)
    .flags(Flags::NOSCRIPT)
    .since("2.6.0");

const LOAD: CommandSpec = CommandSpec::nested("load", 3, load)
    .group(Group::Scripting)
    .since("2.6.0")
    .flags(Flags::NOSCRIPT.or(Flags::STALE))
    .summary("Adds a script to the script cache.")
    .complexity("O(N) in the length of the script")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[Arg::string("script")]);
fn load(execution: &mut Execution<'_, '_>, call: &Call<'_>, _: &mut Locked<'_>) -> CommandResult {
    let body = call.args.arg(2);
    let known = execution
        .engine
        .scripts
        .cache()
        .find_body(body)
        .map(Arc::clone);
    let script = match known {
        Some(script) => script,
        None => execution.compile(body, true)?,
    };
    script.keep();
    Reply::new(execution.out, execution.session.protocol).bulk(&script.sha);
    Ok(Outcome::Done)
}

const EXISTS: CommandSpec = BASE
    .named("exists", -3, exists)
    .flags(Flags::STALE)
    .summary("Returns whether scripts exist in the script cache.")
    .complexity("O(N) in the number of scripts asked for")
    .hints(&[
        "request_policy:all_shards",
        "response_policy:agg_logical_and",
    ])
    .args(&[Arg::string("sha1").multiple()]);
fn exists(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.reply.array(ctx.args.len() - 2);
    for sha in ctx.args.skip(2) {
        let exists = ctx.engine.scripts.cache().find_sha(sha).is_some();
        ctx.reply.integer(i64::from(exists));
    }
    Ok(Outcome::Done)
}

const SHOW: CommandSpec = BASE
    .named("show", 3, show)
    .flags(Flags::STALE)
    .since("8.0.0")
    .summary("Returns a script of the script cache.")
    .complexity("O(1)")
    .args(&[Arg::string("sha1")]);
fn show(ctx: &mut Context<'_, '_>) -> CommandResult {
    let found = ctx
        .engine
        .scripts
        .cache()
        .find_sha(ctx.arg(2))
        .map(Arc::clone);
    ctx.reply.bulk(&found.ok_or(NO_SCRIPT)?.body);
    Ok(Outcome::Done)
}

const FLUSH: CommandSpec = BASE
    .named("flush", -2, flush)
    .flags(Flags::STALE)
    .summary("Empties the cache of scripts.")
    .complexity("O(N) in the number of scripts")
    .hints(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[FLUSH_TYPE.since("6.2.0")]);
fn flush(ctx: &mut Context<'_, '_>) -> CommandResult {
    check_flush_mode(ctx, "ERR SCRIPT FLUSH only support SYNC|ASYNC option")?;
    ctx.engine.scripts.flush();
    drop_interpreter(ctx.engine, ctx.worker, Kind::Eval);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const KILL: CommandSpec = BASE
    .named("kill", 2, kill)
    .flags(Flags::ALLOW_BUSY)
    .summary("Ends the running script.")
    .complexity("O(1)")
    .hints(&["request_policy:all_shards", "response_policy:one_succeeded"]);
fn kill(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.engine.runs.kill(Kind::Eval)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const DEBUG: CommandSpec = BASE
    .named("debug", -3, debug)
    .since("3.2.0")
    .summary("Would set the debug mode of scripts; there is no debugger.")
    .complexity("O(1)")
    .args(&[
        Arg::one_of("mode").args(&[
            Arg::word("yes", "YES"),
            Arg::word("sync", "SYNC"),
            Arg::word("no", "NO"),
        ]),
        Arg::string("engine").optional().since("9.1.0"),
    ]);
fn debug(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 4 {
        return Err(ctx.subcommand_arity_error());
    }
    match ctx.arg(2).to_ascii_lowercase().as_slice() {
        b"no" => ctx.reply.ok(),
        b"yes" | b"sync" => {
            return Err(CommandError::line(
                "ERR Lodestore has no debugger of scripts",
            ));
        }
        _ => return Err(CommandError::line("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
    }
    Ok(Outcome::Done)
}

const HELP: CommandSpec = CommandSpec::new("help", 2, help)
    .group(Group::Scripting)
    .since("5.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of SCRIPT.")
    .complexity("O(1)");
fn help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "DEBUG (YES|SYNC|NO)",
        "    There is no debugger: YES and SYNC are refused.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Which of these scripts are in the cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Empties the cache.",
        "KILL",
        "    Ends the scripts that run for longer than busy-reply-threshold.",
        "LOAD <script>",
        "    Adds a script to the cache without running it.",
        "SHOW <sha1>",
        "    The text of a script in the cache.",
    ]);
    Ok(Outcome::Done)
}

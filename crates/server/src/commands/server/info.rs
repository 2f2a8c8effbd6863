//! INFO; what it says is put together in [`crate::info`].

use crate::command::{
    Arg, ArgKind, Categories, Command, CommandResult, Flags, Group, Locks, Outcome,
};
use crate::context::Context;

pub(crate) const INFO: Command = Command {
    name: "info",
    arity: -1,
    flags: Flags::LOADING.or(Flags::STALE).or(Flags::SENTINEL),
    categories: Categories::DANGEROUS.or(Categories::SLOW),
    locks: Locks::Own,
    group: Group::Server,
    since: "1.0.0",
    summary: "Tells about the server: versions, clients, memory, statistics.",
    complexity: "O(1)",
    hints: &[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ],
    args: &[Arg {
        name: "section",
        kind: ArgKind::String,
        optional: true,
        multiple: true,
        ..Arg::BASE
    }],
    handler: info,
    ..Command::BASE
};
fn info(ctx: &mut Context<'_, '_>) -> CommandResult {
    let names: Vec<&[u8]> = ctx.args.skip(1).iter().collect();
    let text = crate::info::render(&mut ctx.data, &names);
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

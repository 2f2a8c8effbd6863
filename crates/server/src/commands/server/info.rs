//! INFO; its text is written in [`crate::observe::info`].

use crate::server::Server;
use engine::command::{Arg, Categories, Flags, Group, Locks};
use engine::context::Context;
use engine::execute::{CommandResult, CommandSpec, Outcome};

pub(crate) const INFO: CommandSpec = CommandSpec::new("info", -1, info)
    .group(Group::Server)
    .since("1.0.0")
    .flags(Flags::ANY_TIME)
    .categories(Categories::DANGEROUS)
    .summary("Describes the server: versions, limits, counters.")
    .complexity("O(1)")
    .hints(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ])
    .locks(Locks::Own)
    .args(&[Arg::string("section").optional().multiple()]);
fn info(ctx: &mut Context<'_, '_>) -> CommandResult {
    let names: Vec<&[u8]> = ctx.args.skip(1).iter().collect();
    let text = crate::observe::info::render(&*Server::of(ctx)?, &mut ctx.data, &names)?;
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

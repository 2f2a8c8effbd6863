//! SSCAN: walks over the members of a set.

use crate::command::*;
use crate::commands::scan::{Found, ScanOptions, Scanned, cursor};
use crate::context::Context;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const SSCAN: CommandSpec = CommandSpec::new("sscan", -3, sscan)
    .group(Group::Set)
    .since("2.8.0")
    .flags(Flags::READONLY)
    .summary("Returns some members of a set and the cursor for the next call.")
    .complexity("O(1) per call, O(N) in the number of members for a full walk.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::integer("cursor"), Arg::MATCH, Arg::COUNT]);

pub(super) fn sscan(ctx: &mut Context<'_, '_>) -> CommandResult {
    let cursor = cursor(ctx.arg(2))?;
    let (args, protocol) = (ctx.args, ctx.reply.protocol);
    let found = match ctx.data.set_ref(ctx.key(1))? {
        None => Found::nothing(protocol),
        Some(set) => {
            let options = &ScanOptions::parse(args, 3, Scanned::Members)?;
            Found::walk(cursor, options, protocol, |at, found| {
                set.scan(at, |member| found.offer(options, member, |_| {}))
            })
        }
    };
    found.reply(&mut ctx.reply);
    Ok(Outcome::Done)
}

//! HSCAN: walks over the fields of a hash.

use crate::command::*;
use crate::commands::scan::{Found, ScanOptions, Scanned, cursor};
use crate::context::{Context, ElementReply};
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const HSCAN: CommandSpec = CommandSpec::new("hscan", -3, hscan)
    .group(Group::Hash)
    .since("2.8.0")
    .flags(Flags::READONLY)
    .summary("Returns some fields of a hash with their values, and the cursor for the next call.")
    .complexity("O(1) per call, O(N) in the number of fields for a full walk.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::integer("cursor"),
        Arg::MATCH,
        Arg::COUNT,
        Arg::flag("novalues", "NOVALUES"),
    ]);

pub(super) fn hscan(ctx: &mut Context<'_, '_>) -> CommandResult {
    let cursor = cursor(ctx.arg(2))?;
    let (view_ms, protocol) = (ctx.data.view_ms(), ctx.reply.protocol);
    let args = ctx.args;
    let found = match ctx.data.hash(ctx.key(1))? {
        // For a missing key the options are not checked, as in Redis.
        None => Found::nothing(protocol),
        Some(hash) => {
            let options = &ScanOptions::parse(args, 3, Scanned::Fields)?;
            Found::walk(cursor, options, protocol, |at, found| {
                hash.scan(at, view_ms, |field, value| {
                    found.offer(options, field, |reply| reply.element(value));
                })
            })
        }
    };
    found.reply(&mut ctx.reply);
    Ok(Outcome::Done)
}

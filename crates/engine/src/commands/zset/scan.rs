//! ZSCAN.

use resp::Reply;
use resp::number::{F64_BYTES_MAX, format_f64, format_f64_general};

use crate::command::*;
use crate::commands::scan::{Found, ScanOptions, Scanned, cursor};
use crate::context::Context;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const ZSCAN: CommandSpec = CommandSpec::new("zscan", -3, zscan)
    .group(Group::SortedSet)
    .since("2.8.0")
    .flags(Flags::READONLY)
    .summary("Returns some members with their scores and the cursor for the next call.")
    .complexity("O(1) per call, O(N) in the number of members for a full walk.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::integer("cursor"),
        Arg::MATCH,
        Arg::COUNT,
        Arg::flag("noscores", "NOSCORES"),
    ]);

pub(super) fn zscan(ctx: &mut Context<'_, '_>) -> CommandResult {
    let cursor = cursor(ctx.arg(2))?;
    let (args, protocol) = (ctx.args, ctx.reply.protocol);
    let found = match ctx.data.zset(ctx.key(1))? {
        None => Found::nothing(protocol),
        Some(members) => {
            let options = &ScanOptions::parse(args, 3, Scanned::Scored)?;
            let is_packed = members.is_packed();
            Found::walk(cursor, options, protocol, |at, found| {
                members.scan(at, |member, score| {
                    found.offer(options, member, |reply| {
                        write_score(reply, score, is_packed)
                    });
                })
            })
        }
    };
    found.reply(&mut ctx.reply);
    Ok(Outcome::Done)
}

/// A score as a bulk string, whatever the protocol. As in Redis, the text depends on the form: the
/// packed one keeps it as text, the other prints 17 significant digits.
fn write_score(reply: &mut Reply<'_>, score: f64, is_packed: bool) {
    const INTEGERS: f64 = 1e15;
    let mut buffer = [0; F64_BYTES_MAX];
    let is_integer = score.fract() == 0.0 && score.abs() < INTEGERS;
    if is_packed || is_integer || score.is_infinite() {
        reply.bulk(format_f64(score, &mut buffer));
    } else {
        reply.bulk(format_f64_general(score, &mut buffer));
    }
}

//! SSCAN: walks over the members of a set.

use values::{DIGITS, glob};

use crate::command::*;
use crate::commands::generic::Found;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// Members that are looked at without COUNT.
const COUNT_DEFAULT: u64 = 10;

/// Steps per member asked for, so that a sparse table does not hold a call up.
const STEPS_PER_COUNT: u64 = 10;

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
    let mut cursor =
        resp::number::parse_cursor(ctx.arg(2)).ok_or(CommandError::line("ERR invalid cursor"))?;
    let key = ctx.key(1);
    let mut found = Found::default();
    // Options only matter, and are only checked, where there is a set.
    let options = options(ctx);
    match ctx.data.set_ref(key)? {
        None => cursor = 0,
        Some(set) => {
            let (count, pattern) = options?;
            let mut seen = 0;
            for _ in 0..count.saturating_mul(STEPS_PER_COUNT) {
                cursor = set.scan(cursor, |member| {
                    seen += 1;
                    let mut digits = DIGITS;
                    let text = member.as_bytes(&mut digits);
                    if pattern.is_none_or(|pattern| glob::matches(pattern, text, false)) {
                        found.push(text);
                    }
                });
                if cursor == 0 || seen >= count {
                    break;
                }
            }
        }
    }
    ctx.reply.array(2);
    ctx.reply.bulk_display(cursor);
    found.reply(&mut ctx.reply);
    Ok(Outcome::Done)
}

/// COUNT and MATCH.
fn options<'c>(ctx: &Context<'c, '_>) -> Result<(u64, Option<&'c [u8]>), CommandError> {
    let (mut count, mut pattern) = (COUNT_DEFAULT, None);
    let mut index = 3;
    while index < ctx.args.len() {
        let has_value = index + 1 < ctx.args.len();
        if ctx.is_word(index, "count") && has_value {
            count = u64::try_from(ctx.integer(index + 1)?)
                .ok()
                .filter(|count| *count > 0)
                .ok_or(CommandError::Syntax)?;
        } else if ctx.is_word(index, "match") && has_value {
            pattern = Some(ctx.arg(index + 1)).filter(|pattern| *pattern != b"*");
        } else if ctx.is_word(index, "novalues") {
            return Err(CommandError::line(
                "ERR NOVALUES option can only be used in HSCAN",
            ));
        } else if ctx.is_word(index, "noscores") {
            return Err(CommandError::line(
                "ERR NOSCORES option can only be used in ZSCAN",
            ));
        } else {
            return Err(CommandError::Syntax);
        }
        index += 2;
    }
    Ok((count, pattern))
}

//! HSCAN: walks over the fields of a hash.

use resp::{Output, Reply};
use values::{DIGITS, Hash, glob};

use crate::command::*;
use crate::context::{Context, ElementReply};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// Fields that are looked at without COUNT.
const COUNT_DEFAULT: u64 = 10;

/// Steps per field asked for, so that a sparse table does not hold a call up.
const STEPS_PER_COUNT: u64 = 10;

/// Options of one request.
struct Options<'a> {
    count: u64,
    pattern: Option<&'a [u8]>,
    values: bool,
}

impl<'a> Options<'a> {
    fn parse(ctx: &Context<'a, '_>) -> Result<Self, CommandError> {
        let mut options = Self {
            count: COUNT_DEFAULT,
            pattern: None,
            values: true,
        };
        let mut index = 3;
        while index < ctx.args.len() {
            let has_value = index + 1 < ctx.args.len();
            if ctx.is_word(index, "count") && has_value {
                options.count = u64::try_from(ctx.integer(index + 1)?)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(CommandError::Syntax)?;
                index += 2;
            } else if ctx.is_word(index, "match") && has_value {
                options.pattern = Some(ctx.arg(index + 1)).filter(|pattern| *pattern != b"*");
                index += 2;
            } else if ctx.is_word(index, "novalues") {
                options.values = false;
                index += 1;
            } else if ctx.is_word(index, "noscores") {
                return Err(CommandError::line(
                    "ERR NOSCORES option can only be used in ZSCAN",
                ));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

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
    let cursor =
        resp::number::parse_cursor(ctx.arg(2)).ok_or(CommandError::line("ERR invalid cursor"))?;
    let view_ms = ctx.data.view_ms();
    let options = Options::parse(ctx);
    let Some(hash) = ctx.data.hash(ctx.key(1))? else {
        // The options of a walk over nothing are not looked at.
        ctx.reply.array(2);
        ctx.reply.bulk(b"0");
        ctx.reply.empty_array();
        return Ok(Outcome::Done);
    };
    let options = options?;
    // The cursor comes first in the reply and is known last.
    let mut found = Output::new();
    let mut items = Reply::new(&mut found, ctx.reply.protocol);
    let (next, count) = walk(hash, cursor, view_ms, &options, &mut items);
    ctx.reply.array(2);
    ctx.reply.bulk_display(next);
    ctx.reply.array(count);
    ctx.reply.out.append(&mut found);
    Ok(Outcome::Done)
}

/// Writes fields from `cursor` on. Returns the next cursor, 0 at the end, and how many elements
/// were written.
fn walk(
    hash: &Hash,
    mut cursor: u64,
    view_ms: u64,
    options: &Options<'_>,
    items: &mut Reply<'_>,
) -> (u64, usize) {
    let mut written = 0;
    let mut looked_at = 0;
    let mut steps = options.count.saturating_mul(STEPS_PER_COUNT);
    loop {
        cursor = hash.scan(cursor, view_ms, |field, value| {
            looked_at += 1;
            let mut digits = DIGITS;
            let matches = options
                .pattern
                .is_none_or(|pattern| glob::matches(pattern, field.as_bytes(&mut digits), false));
            if !matches {
                return;
            }
            items.element(field);
            written += 1;
            if options.values {
                items.element(value);
                written += 1;
            }
        });
        steps -= 1;
        if cursor == 0 || looked_at >= options.count || steps == 0 {
            return (cursor, written);
        }
    }
}

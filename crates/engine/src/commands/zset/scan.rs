//! ZSCAN.

use resp::number::{F64_BYTES_MAX, format_f64, format_f64_general};
use resp::{Args, Output, Reply};
use values::{DIGITS, glob};

use crate::command::*;
use crate::context::{Context, ElementReply};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// Members that are looked at without COUNT.
const COUNT_DEFAULT: u64 = 10;

/// Buckets looked at per member asked for, so that a sparse table does not hold a call up.
const BUCKETS_PER_COUNT: u64 = 10;

/// Options of one request.
struct Options<'a> {
    count: u64,
    pattern: Option<&'a [u8]>,
    with_scores: bool,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self {
            count: COUNT_DEFAULT,
            pattern: None,
            with_scores: true,
        };
        let mut index = 3;
        while let Some(word) = args.get(index) {
            let value = args.get(index + 1);
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            index += 2;
            match value {
                Some(value) if is(b"count") => options.count = count(value)?,
                Some(value) if is(b"match") => {
                    options.pattern = Some(value).filter(|pattern| *pattern != b"*");
                }
                _ if is(b"noscores") => {
                    options.with_scores = false;
                    index -= 1;
                }
                _ if is(b"novalues") => {
                    return Err(CommandError::line(
                        "ERR NOVALUES option can only be used in HSCAN",
                    ));
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(options)
    }
}

fn count(text: &[u8]) -> Result<u64, CommandError> {
    let count = resp::number::parse_i64(text).ok_or(CommandError::NotInteger)?;
    u64::try_from(count)
        .ok()
        .filter(|count| *count > 0)
        .ok_or(CommandError::Syntax)
}

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
    let cursor =
        resp::number::parse_cursor(ctx.arg(2)).ok_or(CommandError::line("ERR invalid cursor"))?;
    let (key, args) = (ctx.key(1), ctx.args);
    let Some(members) = ctx.data.zset(key)? else {
        ctx.reply.array(2);
        ctx.reply.bulk(b"0");
        ctx.reply.empty_array();
        return Ok(Outcome::Done);
    };
    let options = Options::parse(args)?;
    let is_packed = members.is_packed();
    // The cursor stands before the members in the reply but is known after them.
    let mut found = Output::new();
    let mut elements = Reply::new(&mut found, ctx.reply.protocol);
    let (mut written, mut seen, mut buckets) = (0, 0, 0);
    let mut position = cursor;
    loop {
        position = members.scan(position, |member, score| {
            seen += 1;
            let text = &mut { DIGITS };
            let matches = |pattern| glob::matches(pattern, member.as_bytes(text), false);
            if !options.pattern.is_none_or(matches) {
                return;
            }
            elements.element(member);
            written += 1;
            if options.with_scores {
                write_score(&mut elements, score, is_packed);
                written += 1;
            }
        });
        buckets += 1;
        let enough =
            seen >= options.count || buckets >= options.count.saturating_mul(BUCKETS_PER_COUNT);
        if position == 0 || enough {
            break;
        }
    }
    ctx.reply.array(2);
    ctx.reply.bulk_display(position);
    ctx.reply.array(written);
    ctx.reply.out.append(&mut found);
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

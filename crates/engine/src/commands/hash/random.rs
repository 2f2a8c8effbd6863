//! HRANDFIELD: random fields of a hash.

use std::collections::HashSet;

use resp::{Protocol, Reply};
use values::{Element, HashView};

use super::Overdue;
use crate::command::*;
use crate::config::P;
use crate::context::{Context, ElementReply, Random};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// Of a hash with at least this many fields per field wanted, fields are drawn one by one, and
/// those that come again are left out; otherwise one walk over the hash picks them.
const DRAW_RATIO: usize = 3;

/// The least that an element takes in a reply, in bytes: `$0`, nothing, and two line ends.
const ELEMENT_BYTES_MIN: u64 = 6;

pub(super) const HRANDFIELD: CommandSpec = CommandSpec::new("hrandfield", -2, hrandfield)
    .group(Group::Hash)
    .since("6.2.0")
    .flags(Flags::READONLY)
    .summary(
        "Returns random fields of a hash: with a negative count, the same field may come again.",
    )
    .complexity("O(N) in the number of fields that are returned.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::block("options")
            .optional()
            .args(&[Arg::integer("count"), Arg::flag("withvalues", "WITHVALUES")]),
    ]);

pub(super) fn hrandfield(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 2 {
        return several(ctx);
    }
    let view_ms = ctx.data.view_ms();
    let mut random = Random::new(ctx.data.random.next_u64());
    let hash = ctx.data.hash(ctx.key(1))?;
    let found = hash.and_then(|hash| hash.random(view_ms, &mut || random.next_u64()));
    match found {
        Some((field, _)) => ctx.reply.element(field),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// How many fields a request wants, whether one may come again, and whether values are wanted.
fn parse(ctx: &Context<'_, '_>) -> Result<(u64, bool, bool), CommandError> {
    let count = ctx.integer(2)?;
    if count == i64::MIN {
        return Err(CommandError::owned(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let with_values = ctx.args.len() == 4 && ctx.is_word(3, "withvalues");
    if ctx.args.len() > 3 && !with_values {
        return Err(CommandError::Syntax);
    }
    if with_values && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::line("ERR value is out of range"));
    }
    Ok((count.unsigned_abs(), count < 0, with_values))
}

fn several(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (count, repeats, with_values) = parse(ctx)?;
    let view_ms = ctx.data.view_ms();
    let mut random = Random::new(ctx.data.random.next_u64());
    let Some(hash) = ctx.data.hash(ctx.key(1))? else {
        ctx.reply.empty_array();
        return Ok(Outcome::Done);
    };
    let seen = if Overdue::of(hash, view_ms).any() {
        hash.iter(view_ms).count()
    } else {
        hash.len()
    };
    if count == 0 || seen == 0 {
        ctx.reply.empty_array();
        return Ok(Outcome::Done);
    }
    let mut fields = Fields::begin(&mut ctx.reply, with_values);
    if repeats {
        let bytes_max = ctx.engine.config.int(P::ProtoMaxBulkLen).unsigned_abs();
        fields.draw(hash, view_ms, &mut random, count, bytes_max)?;
    } else {
        let count = usize::try_from(count).map_or(seen, |count| count.min(seen));
        if count == seen {
            hash.iter(view_ms).for_each(|pair| fields.push(pair));
        } else if hash.is_packed() || count > seen / DRAW_RATIO {
            fields.pick(hash, view_ms, &mut random, count, seen);
        } else {
            fields.draw_distinct(hash, view_ms, &mut random, count);
        }
    }
    fields.finish();
    Ok(Outcome::Done)
}

/// A reply of fields, with or without their values.
struct Fields<'r, 'o> {
    reply: &'r mut Reply<'o>,
    length: resp::Deferred,
    with_values: bool,
    count: usize,
}

impl<'r, 'o> Fields<'r, 'o> {
    fn begin(reply: &'r mut Reply<'o>, with_values: bool) -> Self {
        Self {
            length: reply.defer(),
            reply,
            with_values,
            count: 0,
        }
    }

    /// RESP3 has a pair of each field with its value, RESP2 one after the other.
    fn push(&mut self, (field, value): (Element<'_>, Element<'_>)) {
        if self.with_values && self.reply.protocol == Protocol::Resp3 {
            self.reply.array(2);
        }
        self.reply.element(field);
        if self.with_values {
            self.reply.element(value);
        }
        self.count += 1;
    }

    fn finish(self) {
        let flat = self.with_values && self.reply.protocol == Protocol::Resp2;
        let len = if flat { self.count * 2 } else { self.count };
        self.reply.finish_array(self.length, len);
    }

    /// Any `count` fields. The hash does not bound how many, so the size of the reply has to.
    fn draw(
        &mut self,
        hash: &HashView,
        view_ms: u64,
        random: &mut Random,
        count: u64,
        bytes_max: u64,
    ) -> Result<(), CommandError> {
        let too_large =
            || CommandError::line("ERR reply exceeds maximum allowed size (proto-max-bulk-len)");
        if count > bytes_max / ELEMENT_BYTES_MIN {
            return Err(too_large());
        }
        let begin = self.reply.out.mark();
        for _ in 0..count {
            let Some(pair) = hash.random(view_ms, &mut || random.next_u64()) else {
                break;
            };
            self.push(pair);
            if self.reply.out.len_since(&begin) as u64 > bytes_max {
                return Err(too_large());
            }
        }
        Ok(())
    }

    /// `count` different ones of the `seen` fields: each field is taken with the probability
    /// (fields still wanted) / (fields left).
    fn pick(
        &mut self,
        hash: &HashView,
        view_ms: u64,
        random: &mut Random,
        count: usize,
        seen: usize,
    ) {
        let (mut wanted, mut left) = (count as u64, seen as u64);
        for pair in hash.iter(view_ms) {
            if wanted == 0 {
                break;
            }
            if random.below(left) < wanted {
                self.push(pair);
                wanted -= 1;
            }
            left = left.saturating_sub(1);
        }
    }

    /// `count` different fields out of many more.
    fn draw_distinct(&mut self, hash: &HashView, view_ms: u64, random: &mut Random, count: usize) {
        let mut drawn = HashSet::with_capacity(count);
        // Nearly every draw is a new field; the bound only keeps it from going on for ever.
        for _ in 0..count.saturating_mul(10) {
            let Some(pair) = hash.random(view_ms, &mut || random.next_u64()) else {
                break;
            };
            let mut digits = values::DIGITS;
            if drawn.insert(pair.0.as_bytes(&mut digits).to_vec()) {
                self.push(pair);
            }
            if drawn.len() == count {
                break;
            }
        }
    }
}

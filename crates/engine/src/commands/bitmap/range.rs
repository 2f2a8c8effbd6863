//! Commands on ranges of bits: BITCOUNT, BITPOS.

use std::ops::RangeInclusive;

use keyspace::number::INTEGER_TEXT_MAX;
use values::bits;

use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The arguments `[start [end [BIT | BYTE]]]`.
struct Bounds {
    start: i64,
    end: Option<i64>,
    in_bits: bool,
}

impl Bounds {
    /// From argument `first` on; `None` when there are none.
    fn parse(ctx: &Context<'_, '_>, first: usize) -> Result<Option<Self>, CommandError> {
        let given = ctx.args.len() - first;
        if given == 0 {
            return Ok(None);
        }
        if given > 3 {
            return Err(CommandError::Syntax);
        }
        let start = ctx.integer(first)?;
        let in_bits = given == 3 && ctx.is_word(first + 2, "bit");
        if given == 3 && !in_bits && !ctx.is_word(first + 2, "byte") {
            return Err(CommandError::Syntax);
        }
        let end = match given {
            1 => None,
            _ => Some(ctx.integer(first + 1)?),
        };
        Ok(Some(Self {
            start,
            end,
            in_bits,
        }))
    }

    /// The selected bits of a string of `len` bytes; negative bounds count from its end.
    fn within(&self, len: usize) -> RangeInclusive<u64> {
        let units = len as i64 * if self.in_bits { 8 } else { 1 };
        let place = |bound: i64| match bound {
            ..0 => (units + bound).max(0),
            _ => bound,
        };
        let start = place(self.start);
        let end = place(self.end.unwrap_or(-1)).min(units - 1);
        if start > end {
            return NOTHING;
        }
        let (start, end) = (start as u64, end as u64);
        match self.in_bits {
            true => start..=end,
            false => start * 8..=end * 8 + 7,
        }
    }
}

/// An empty range.
const NOTHING: RangeInclusive<u64> = RangeInclusive::new(1, 0);

/// The whole of a string of `len` bytes.
fn whole(len: usize) -> RangeInclusive<u64> {
    match len as u64 * 8 {
        0 => NOTHING,
        bits => 0..=bits - 1,
    }
}

/// The part of the string that is searched.
const RANGE: Arg = Arg::block("range").optional().args(&[
    Arg::integer("start"),
    Arg::block("end-unit-block").optional().args(&[
        Arg::integer("end"),
        Arg::one_of("unit")
            .since("7.0.0")
            .optional()
            .args(&[Arg::word("byte", "BYTE"), Arg::word("bit", "BIT")]),
    ]),
]);

pub(super) const BITCOUNT: CommandSpec = CommandSpec::new("bitcount", -2, bitcount)
    .group(Group::Bitmap)
    .since("2.6.0")
    .flags(Flags::READONLY)
    .summary("Counts the bits that are set in a string or in a range of it.")
    .complexity("O(N) in the length of the range.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, RANGE]);

pub(super) fn bitcount(ctx: &mut Context<'_, '_>) -> CommandResult {
    let bounds = Bounds::parse(ctx, 2)?;
    let key = ctx.key(1);
    let mut buffer = [0; INTEGER_TEXT_MAX];
    let Some(value) = ctx.data.string(key)? else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    let bytes = value.as_bytes(&mut buffer);
    let range = match bounds {
        None => whole(bytes.len()),
        // Otherwise both, when before the beginning, would be clamped to the first bit.
        Some(Bounds {
            start,
            end: Some(end),
            ..
        }) if start < 0 && end < 0 && start > end => NOTHING,
        Some(bounds) => bounds.within(bytes.len()),
    };
    let count = bits::count_range(bytes, range);
    ctx.reply.integer(count as i64);
    Ok(Outcome::Done)
}

pub(super) const BITPOS: CommandSpec = CommandSpec::new("bitpos", -3, bitpos)
    .group(Group::Bitmap)
    .since("2.8.7")
    .flags(Flags::READONLY)
    .summary("Finds the first bit that is 1, or 0, in a string or in a range of it.")
    .complexity("O(N) in the length of the range.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::integer("bit"), RANGE]);

pub(super) fn bitpos(ctx: &mut Context<'_, '_>) -> CommandResult {
    let bit = match ctx.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::line("ERR The bit argument must be 1 or 0.")),
    };
    let bounds = Bounds::parse(ctx, 3)?;
    let key = ctx.key(1);
    let mut buffer = [0; INTEGER_TEXT_MAX];
    let Some(value) = ctx.data.string(key)? else {
        ctx.reply.integer(if bit { -1 } else { 0 });
        return Ok(Outcome::Done);
    };
    let bytes = value.as_bytes(&mut buffer);
    let range = match &bounds {
        None => whole(bytes.len()),
        Some(bounds) => bounds.within(bytes.len()),
    };
    // Without an end, zero bits follow the string.
    let open = !bit && !range.is_empty() && bounds.is_none_or(|bounds| bounds.end.is_none());
    let position = match bits::position(bytes, bit, range) {
        Some(position) => position as i64,
        None if open => bytes.len() as i64 * 8,
        None => -1,
    };
    ctx.reply.integer(position);
    Ok(Outcome::Done)
}

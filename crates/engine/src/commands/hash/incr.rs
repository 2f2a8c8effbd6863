//! Commands that count in a field: HINCRBY, HINCRBYFLOAT.

use resp::number::{F80, parse_i64};
use values::{DIGITS, FieldDeadline, Hash};

use super::{Overdue, edit_or_new, note_overwritten, write_ms};
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const HINCRBY: CommandSpec = CommandSpec::new("hincrby", 4, hincrby)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Adds an integer to the integer in a field of a hash; a missing field counts as 0.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::FIELD, Arg::integer("increment")]);

pub(super) fn hincrby(ctx: &mut Context<'_, '_>) -> CommandResult {
    let increment = ctx.integer(3)?;
    let mut sum = 0;
    let counted = count(ctx, "hincrby", |old| {
        let old = match old {
            None => 0,
            Some(text) => {
                parse_i64(text).ok_or(CommandError::line("ERR hash value is not an integer"))?
            }
        };
        sum = old.checked_add(increment).ok_or(CommandError::Overflow)?;
        Ok(itoa::Buffer::new().format(sum).to_owned())
    })?;
    ctx.reply.integer(sum);
    if counted.was_volatile {
        // A reader of the log may still have the field that has expired here.
        propagate(ctx, &counted);
    }
    Ok(Outcome::Done)
}

pub(super) const HINCRBYFLOAT: CommandSpec = CommandSpec::new("hincrbyfloat", 4, hincrbyfloat)
    .group(Group::Hash)
    .since("2.6.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary(
        "Adds a floating-point number to the number in a field of a hash; a missing field \
         counts as 0.",
    )
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::FIELD, Arg::double("increment")]);

pub(super) fn hincrbyfloat(ctx: &mut Context<'_, '_>) -> CommandResult {
    let increment = F80::parse(ctx.arg(3))
        .filter(|value| !value.is_nan())
        .ok_or(CommandError::NotFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::line("ERR value is NaN or Infinity"));
    }
    let counted = count(ctx, "hincrbyfloat", |old| {
        let old = match old {
            None => F80::ZERO,
            Some(text) => {
                F80::parse(text).ok_or(CommandError::line("ERR hash value is not a float"))?
            }
        };
        let sum = old + increment;
        if !sum.is_finite() {
            return Err(CommandError::NanOrInfinity);
        }
        Ok(sum.to_string())
    })?;
    ctx.reply.bulk(counted.text.as_bytes());
    // The sum itself is logged, so that a reader of the log does not round differently.
    propagate(ctx, &counted);
    Ok(Outcome::Done)
}

/// A field after counting.
struct Counted {
    /// Its value.
    text: String,
    /// The deadline that it keeps.
    deadline: Option<u64>,
    /// The field had expired, so that the count began anew.
    overdue: bool,
    /// The hash had fields with deadlines before.
    was_volatile: bool,
}

/// Replaces the value of the field at argument 2 by the result of `sum`. The field keeps its
/// deadline.
fn count(
    ctx: &mut Context<'_, '_>,
    event: &'static str,
    sum: impl FnOnce(Option<&[u8]>) -> Result<String, CommandError>,
) -> Result<Counted, CommandError> {
    let key = ctx.key(1);
    let field = ctx.arg(2);
    let limits = ctx.thresholds();
    let now_ms = write_ms(&ctx.data);
    let view_ms = ctx.data.view_ms();
    let counted = edit_or_new(&mut ctx.data, key, |hash: &mut Hash| {
        let mut digits = DIGITS;
        let old = hash.get(field, view_ms);
        let was_there = old.is_some();
        let text = sum(old.as_ref().map(|old| old.as_bytes(&mut digits)))?;
        let was_volatile = hash.volatile_len() > 0;
        let overdue = Overdue::of(hash, now_ms).includes(hash, field);
        if overdue {
            hash.remove(field);
        }
        let deadline = if was_there {
            FieldDeadline::Keep
        } else {
            FieldDeadline::Clear
        };
        hash.set(field, text.as_bytes(), deadline, &limits);
        let deadline = if was_volatile {
            hash.deadline(field).flatten()
        } else {
            None
        };
        Ok(Counted {
            text,
            deadline,
            overdue,
            was_volatile,
        })
    })??;
    let overdue = if counted.overdue { &[field][..] } else { &[] };
    note_overwritten(&mut ctx.data, key, overdue);
    ctx.data
        .changed_elements(1, key, (EventClass::Hash, event), [field]);
    Ok(counted)
}

/// Logs the field as it is now.
fn propagate(ctx: &mut Context<'_, '_>, counted: &Counted) {
    let (key, field, value) = (ctx.arg(1), ctx.arg(2), counted.text.as_bytes());
    match counted.deadline {
        None => ctx.propagate(&[b"HSET", key, field, value]),
        Some(deadline) => {
            let mut digits = itoa::Buffer::new();
            let deadline = digits.format(deadline).as_bytes();
            ctx.propagate(&[
                b"HSETEX", key, b"PXAT", deadline, b"FIELDS", b"1", field, value,
            ]);
        }
    }
}

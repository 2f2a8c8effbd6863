//! Commands that set fields: HSET, HMSET, HSETNX.

use std::borrow::Cow;

use resp::Args;
use values::{FieldDeadline, Hash, Thresholds};

use super::{DATA, Overdue, edit_or_new, note_overwritten, write_ms};
use crate::command::*;
use crate::commands::element_expiry::Elements;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The result of writing some fields.
#[derive(Clone, Copy, Default)]
pub(super) struct Written {
    /// Fields that did not exist or had expired.
    pub(super) created: u64,
    /// Some fields were overdue.
    pub(super) overdue: bool,
    /// The hash had fields with deadlines before.
    pub(super) was_volatile: bool,
}

/// Writes fields with their values. Calls `overwritten` for those that had expired.
pub(super) fn write_fields<'a>(
    hash: &mut Hash,
    pairs: Args<'a>,
    deadline: FieldDeadline,
    now_ms: u64,
    limits: &Thresholds,
    mut overwritten: impl FnMut(&'a [u8]),
) -> Written {
    let mut written = Written {
        was_volatile: hash.volatile_len() > 0,
        ..Written::default()
    };
    let overdue = Overdue::of(hash, now_ms);
    hash.prepare(pairs.len() / 2, limits);
    let mut rest = pairs.iter();
    while let (Some(field), Some(value)) = (rest.next(), rest.next()) {
        if overdue.includes(hash, field) {
            // Removed first: the new field has nothing of the old one, not even its deadline.
            hash.remove(field);
            written.overdue = true;
            overwritten(field);
        }
        written.created += u64::from(hash.set(field, value, deadline, limits));
    }
    written
}

pub(super) const HSET: CommandSpec = CommandSpec::new("hset", -4, hset)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Sets fields of a hash and returns how many of them are new.")
    .complexity("O(N) in the number of fields that are set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, DATA]);

pub(super) fn hset(ctx: &mut Context<'_, '_>) -> CommandResult {
    let created = set(ctx)?;
    ctx.reply.integer(created);
    Ok(Outcome::Done)
}

pub(super) const HMSET: CommandSpec = CommandSpec::new("hmset", -4, hmset)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Sets fields of a hash.")
    .complexity("O(N) in the number of fields that are set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, DATA]);

pub(super) fn hmset(ctx: &mut Context<'_, '_>) -> CommandResult {
    set(ctx)?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Sets the fields of a request and returns how many are new.
fn set(ctx: &mut Context<'_, '_>) -> Result<i64, CommandError> {
    if !ctx.args.len().is_multiple_of(2) {
        return Err(CommandError::Arity(Cow::Borrowed(ctx.entry.full_name)));
    }
    let key = ctx.key(1);
    let pairs = ctx.args.skip(2);
    let limits = ctx.thresholds();
    let now_ms = write_ms(&ctx.data);
    let mut overdue = Elements::new();
    let written = edit_or_new(&mut ctx.data, key, |hash| {
        write_fields(
            hash,
            pairs,
            FieldDeadline::Clear,
            now_ms,
            &limits,
            |field| {
                overdue.push(field);
            },
        )
    })?;
    note_overwritten(&mut ctx.data, key, &overdue);
    let (count, fields) = (pairs.len() as u64 / 2, pairs.iter().step_by(2));
    ctx.data
        .changed_elements(count, key, (EventClass::Hash, "hset"), fields);
    Ok(i64::try_from(written.created).unwrap_or(i64::MAX))
}

pub(super) const HSETNX: CommandSpec = CommandSpec::new("hsetnx", 4, hsetnx)
    .group(Group::Hash)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Sets a field of a hash unless it is there already.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[Arg::KEY, Arg::FIELD, Arg::VALUE]);

pub(super) fn hsetnx(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let pair = ctx.args.skip(2);
    let (field, value) = (ctx.arg(2), ctx.arg(3));
    let limits = ctx.thresholds();
    let now_ms = write_ms(&ctx.data);
    let view_ms = ctx.data.view_ms();
    let written = edit_or_new(&mut ctx.data, key, |hash| {
        let free = hash.get(field, view_ms).is_none();
        free.then(|| write_fields(hash, pair, FieldDeadline::Clear, now_ms, &limits, |_| {}))
    })?;
    ctx.reply.integer(i64::from(written.is_some()));
    if let Some(written) = written {
        let overdue = if written.overdue { &[field][..] } else { &[] };
        note_overwritten(&mut ctx.data, key, overdue);
        ctx.data
            .changed_elements(1, key, (EventClass::Hash, "hset"), [field]);
        if written.was_volatile {
            // A reader of the log may still have the field that has expired here.
            ctx.propagate(&[b"HSET", key.bytes, field, value]);
        }
    }
    Ok(Outcome::Done)
}

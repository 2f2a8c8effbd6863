//! Commands on parts of a string: APPEND, GETRANGE, SUBSTR, SETRANGE.

use keyspace::NewValue;
use resp::number::I64_BYTES_MAX;

use super::{check_length, length, string_error};
use crate::command::*;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const APPEND: CommandSpec = CommandSpec::new("append", 3, append)
    .group(Group::String)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Appends to the string at a key, creating it if needed, and returns the new length.")
    .complexity("O(1) amortized in the length of what is appended.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[Arg::KEY, Arg::VALUE]);

pub(super) fn append(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let tail = ctx.arg(2);
    let origin = ctx.data.origin;
    let len = match ctx.data.lookup_mut(key) {
        Some(mut entry) => {
            let old = entry.string().ok_or(CommandError::WrongType)?.len();
            check_length(ctx.engine, origin, old, tail.len())?;
            entry.append(tail).map_err(string_error)?
        }
        None => {
            ctx.data.set(key, NewValue::Bytes(tail), Expiry::Clear);
            ctx.data.notify(EventClass::New, "new", key);
            tail.len()
        }
    };
    ctx.data.changed(key, EventClass::String, "append");
    ctx.reply.integer(length(len));
    Ok(Outcome::Done)
}

pub(super) const SETRANGE: CommandSpec = CommandSpec::new("setrange", 4, setrange)
    .group(Group::String)
    .since("2.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Overwrites a part of the string at a key, padding with zero bytes up to the offset.")
    .complexity("O(1) for short values, else O(N) in the length of the value and of the padding.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, Arg::integer("offset"), Arg::VALUE]);

pub(super) fn setrange(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let bytes = ctx.arg(3);
    let offset = usize::try_from(ctx.integer(2)?)
        .map_err(|_| CommandError::line("ERR offset is out of range"))?;
    let origin = ctx.data.origin;
    let len = match ctx.data.lookup_mut(key) {
        Some(mut entry) => {
            let old = entry.string().ok_or(CommandError::WrongType)?.len();
            if bytes.is_empty() {
                ctx.reply.integer(length(old));
                return Ok(Outcome::Done);
            }
            check_length(ctx.engine, origin, offset, bytes.len())?;
            entry.set_range(offset, bytes).map_err(string_error)?
        }
        None if bytes.is_empty() => {
            ctx.reply.integer(0);
            return Ok(Outcome::Done);
        }
        None => {
            check_length(ctx.engine, origin, offset, bytes.len())?;
            let mut value = vec![0; offset];
            value.extend_from_slice(bytes);
            ctx.data.set(key, NewValue::Raw(&value), Expiry::Clear);
            ctx.data.notify(EventClass::New, "new", key);
            value.len()
        }
    };
    ctx.data.changed(key, EventClass::String, "setrange");
    ctx.reply.integer(length(len));
    Ok(Outcome::Done)
}

pub(super) const GETRANGE: CommandSpec = CommandSpec::new("getrange", 4, getrange)
    .group(Group::String)
    .since("2.4.0")
    .flags(Flags::READONLY)
    .summary("Returns a part of the string at a key; negative offsets count from its end.")
    .complexity("O(N) in the length of what is returned.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::integer("start"), Arg::integer("end")]);

pub(super) fn getrange(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let start = ctx.integer(2)?;
    let end = ctx.integer(3)?;
    let Some(value) = ctx.data.string(key)? else {
        ctx.reply.bulk(b"");
        return Ok(Outcome::Done);
    };
    let mut buffer = [0; I64_BYTES_MAX];
    let bytes = value.as_bytes(&mut buffer);
    ctx.reply.bulk(part(bytes, start, end));
    Ok(Outcome::Done)
}

/// The bytes from `start` to `end` inclusive; negative offsets count from the end.
fn part(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = length(bytes.len());
    let clamp = |offset: i64| {
        let offset = if offset < 0 { len + offset } else { offset };
        offset.clamp(0, len)
    };
    let start = clamp(start);
    let end = clamp(end).saturating_add(1).min(len);
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) => bytes.get(start..end).unwrap_or_default(),
        _ => b"",
    }
}

pub(super) const SUBSTR: CommandSpec = CommandSpec::new("substr", 4, substr)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .summary("Returns a part of the string at a key.")
    .complexity("O(N) in the length of what is returned.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::integer("start"), Arg::integer("end")]);

pub(super) fn substr(ctx: &mut Context<'_, '_>) -> CommandResult {
    getrange(ctx)
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_are_clamped() {
        let all = b"hello";
        assert_eq!(part(all, 0, -1), b"hello");
        assert_eq!(part(all, 1, 3), b"ell");
        assert_eq!(part(all, -3, -2), b"ll");
        assert_eq!(part(all, -100, 100), b"hello");
        assert_eq!(part(all, i64::MIN, i64::MAX), b"hello");
        assert_eq!(part(all, i64::MIN, i64::MIN), b"h");
        assert_eq!(part(all, 5, 10), b"");
        assert_eq!(part(all, 3, 1), b"");
        assert_eq!(part(all, -1, -3), b"");
        assert_eq!(part(all, 0, -100), b"h");
        assert_eq!(part(b"", 0, -1), b"");
    }
}

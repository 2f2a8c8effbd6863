//! Deadlines given by clients: EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT.

use smallvec::SmallVec;

use super::delete_expired;
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The specification that the commands share which set an expiry.
const SETTER: CommandSpec = CommandSpec::BASE
    .group(Group::Generic)
    .flags(Flags::WRITE.or(Flags::FAST))
    .categories(Categories::KEYSPACE)
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))]);

pub(super) const EXPIRE: CommandSpec = SETTER
    .named("expire", -3, expire)
    .since("1.0.0")
    .summary("Sets the expiry of a key, in seconds from now.")
    .args(&[
        Arg::KEY,
        Arg::integer("seconds"),
        Arg::NX_XX_GT_OR_LT.since("7.0.0"),
    ]);

pub(super) fn expire(ctx: &mut Context<'_, '_>) -> CommandResult {
    let now_ms = ctx.data.now_ms;
    set_deadline(ctx, now_ms, true)
}

pub(super) const PEXPIRE: CommandSpec = SETTER
    .named("pexpire", -3, pexpire)
    .since("2.6.0")
    .summary("Sets the expiry of a key, in milliseconds from now.")
    .args(&[
        Arg::KEY,
        Arg::integer("milliseconds"),
        Arg::NX_XX_GT_OR_LT.since("7.0.0"),
    ]);

pub(super) fn pexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    let now_ms = ctx.data.now_ms;
    set_deadline(ctx, now_ms, false)
}

pub(super) const EXPIREAT: CommandSpec = SETTER
    .named("expireat", -3, expireat)
    .since("1.2.0")
    .summary("Sets the expiry of a key as a Unix time in seconds.")
    .args(&[
        Arg::KEY,
        Arg::unix_time("unix-time-seconds"),
        Arg::NX_XX_GT_OR_LT.since("7.0.0"),
    ]);

pub(super) fn expireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    set_deadline(ctx, 0, true)
}

pub(super) const PEXPIREAT: CommandSpec = SETTER
    .named("pexpireat", -3, pexpireat)
    .since("2.6.0")
    .summary("Sets the expiry of a key as a Unix time in milliseconds.")
    .args(&[
        Arg::KEY,
        Arg::unix_time("unix-time-milliseconds"),
        Arg::NX_XX_GT_OR_LT.since("7.0.0"),
    ]);

pub(super) fn pexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    set_deadline(ctx, 0, false)
}

/// Conditions on the deadline that a key, or an element of a collection, has now.
#[derive(Clone, Copy, Default)]
pub(in crate::commands) struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    /// The conditions that the words name.
    pub(in crate::commands) fn parse<'a>(
        words: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, CommandError> {
        let mut found = Self::default();
        for word in words {
            let flag = match word.to_ascii_lowercase().as_slice() {
                b"nx" => &mut found.nx,
                b"xx" => &mut found.xx,
                b"gt" => &mut found.gt,
                b"lt" => &mut found.lt,
                _ => {
                    let mut line = b"ERR Unsupported option ".to_vec();
                    line.extend_from_slice(word);
                    return Err(CommandError::Bytes(line));
                }
            };
            *flag = true;
        }
        if found.nx && (found.xx || found.gt || found.lt) {
            return Err(CommandError::line(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if found.gt && found.lt {
            return Err(CommandError::line(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(found)
    }

    /// True when the deadline may become `new`. No deadline counts as living for ever.
    pub(in crate::commands) fn allow(self, current: Option<u64>, new: u64) -> bool {
        match current {
            Some(current) => !self.nx && (!self.gt || new > current) && (!self.lt || new < current),
            None => !self.xx && !self.gt,
        }
    }
}

/// The absolute deadline that argument 2 asks for, counted from `base_ms`. A time before 1970
/// becomes 0: it has passed either way.
fn requested(ctx: &Context<'_, '_>, base_ms: u64, seconds: bool) -> Result<u64, CommandError> {
    let invalid = || CommandError::InvalidExpire(ctx.entry.full_name);
    let amount = ctx.integer(2)?;
    let milliseconds = if seconds {
        amount.checked_mul(1000).ok_or_else(invalid)?
    } else {
        amount
    };
    let base = i64::try_from(base_ms).map_err(|_| invalid())?;
    let deadline = milliseconds.checked_add(base).ok_or_else(invalid)?;
    Ok(u64::try_from(deadline).unwrap_or(0))
}

fn set_deadline(ctx: &mut Context<'_, '_>, base_ms: u64, seconds: bool) -> CommandResult {
    let conditions = Conditions::parse(ctx.args.skip(3).iter())?;
    let deadline = requested(ctx, base_ms, seconds)?;
    let key = ctx.key(1);
    let is_past = ctx.data.is_past(deadline);
    let allowed = match ctx.data.lookup_mut(key) {
        None => false,
        Some(mut entry) => {
            let allowed = conditions.allow(entry.deadline(), deadline);
            if allowed && !is_past {
                entry.set_deadline(Some(deadline));
            }
            allowed
        }
    };
    ctx.reply.integer(i64::from(allowed));
    if !allowed {
        return Ok(Outcome::Done);
    }
    if is_past {
        delete_expired(ctx, key);
        return Ok(Outcome::Done);
    }
    ctx.data.note_deadline(key, deadline);
    ctx.data.changed(key, EventClass::Generic, "expire");
    if (seconds || base_ms != 0) && ctx.data.effects.is_enabled() {
        let mut digits = itoa::Buffer::new();
        let mut argv: SmallVec<[&[u8]; 5]> =
            SmallVec::from_slice(&[b"PEXPIREAT", key.bytes, digits.format(deadline).as_bytes()]);
        argv.extend(ctx.args.skip(3).iter());
        ctx.propagate(&argv);
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::Conditions;

    #[test]
    fn no_deadline_counts_as_for_ever() {
        let conditions = |nx, xx, gt, lt| Conditions { nx, xx, gt, lt };
        assert!(conditions(true, false, false, false).allow(None, 5));
        assert!(!conditions(true, false, false, false).allow(Some(1), 5));
        assert!(!conditions(false, true, false, false).allow(None, 5));
        assert!(!conditions(false, false, true, false).allow(None, 5));
        assert!(conditions(false, false, false, true).allow(None, 5));
        assert!(conditions(false, false, true, false).allow(Some(4), 5));
        assert!(!conditions(false, false, true, false).allow(Some(5), 5));
        assert!(!conditions(false, false, false, true).allow(Some(5), 5));
        assert!(!conditions(false, true, false, true).allow(None, 5));
    }
}

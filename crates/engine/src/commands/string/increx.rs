//! INCREX: a counter with bounds and a lifetime, in one step.

use std::cmp::Ordering;

use keyspace::{NewValue, StringRef};
use resp::number::F80;

use super::incr::{float_of, float_value, integer_of};
use super::options::Unit;
use super::set::is_past;
use crate::command::*;
use crate::commands::generic::delete_expired;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// The type of number that an INCREX counts in.
trait Number: Copy + PartialOrd {
    /// The value of a missing key.
    const ZERO: Self;
    /// The increment without BYINT and BYFLOAT.
    fn one() -> Self;
    /// The bounds without LBOUND and UBOUND.
    fn limits() -> (Self, Self);
    /// An argument; `what` names it in the error.
    fn parse(text: &[u8], what: &str) -> Result<Self, CommandError>;
    /// The value of a key; `None` is a value of another type.
    fn of(value: Option<StringRef<'_>>) -> Result<Self, CommandError>;
    /// The sum, or on which side of the type's range it would lie.
    fn sum(self, other: Self) -> Result<Self, Ordering>;
    /// The difference between `self` and `old`.
    fn applied(self, old: Self) -> Result<Self, CommandError>;
    /// The event of a counter of this kind.
    const EVENT: &'static str;
    /// The value that is stored.
    fn value(self) -> NewValue<'static>;
    /// Its text for the log.
    fn text(self) -> String;
    /// Writes it.
    fn reply(self, ctx: &mut Context<'_, '_>);
}

impl Number for i64 {
    const ZERO: Self = 0;

    fn one() -> Self {
        1
    }

    fn limits() -> (Self, Self) {
        (i64::MIN, i64::MAX)
    }

    fn parse(text: &[u8], what: &str) -> Result<Self, CommandError> {
        resp::number::parse_i64(text).ok_or_else(|| {
            CommandError::owned(format!("ERR {what} is not an integer or out of range"))
        })
    }

    fn of(value: Option<StringRef<'_>>) -> Result<Self, CommandError> {
        integer_of(value)
    }

    fn sum(self, other: Self) -> Result<Self, Ordering> {
        self.checked_add(other).ok_or(other.cmp(&0))
    }

    fn applied(self, old: Self) -> Result<Self, CommandError> {
        self.checked_sub(old)
            .ok_or(CommandError::line("ERR applied increment would overflow"))
    }

    const EVENT: &'static str = "incrby";

    fn value(self) -> NewValue<'static> {
        NewValue::Int(self)
    }

    fn text(self) -> String {
        self.to_string()
    }

    fn reply(self, ctx: &mut Context<'_, '_>) {
        ctx.reply.integer(self);
    }
}

impl Number for F80 {
    const ZERO: Self = F80::ZERO;

    fn one() -> Self {
        F80::from(1)
    }

    fn limits() -> (Self, Self) {
        (-F80::MAX, F80::MAX)
    }

    fn parse(text: &[u8], what: &str) -> Result<Self, CommandError> {
        F80::parse(text)
            .ok_or_else(|| CommandError::owned(format!("ERR {what} is not a valid float")))
    }

    fn of(value: Option<StringRef<'_>>) -> Result<Self, CommandError> {
        let value = float_of(value)?;
        if value.is_infinite() {
            return Err(CommandError::line("ERR value cannot be Infinity"));
        }
        Ok(value)
    }

    fn sum(self, other: Self) -> Result<Self, Ordering> {
        Ok(self + other)
    }

    fn applied(self, old: Self) -> Result<Self, CommandError> {
        let applied = self + -old;
        if !applied.is_finite() {
            return Err(CommandError::line(
                "ERR applied increment would be Infinity",
            ));
        }
        Ok(applied)
    }

    const EVENT: &'static str = "incrbyfloat";

    fn value(self) -> NewValue<'static> {
        float_value(&self.to_string())
    }

    fn text(self) -> String {
        self.to_string()
    }

    fn reply(self, ctx: &mut Context<'_, '_>) {
        ctx.reply.long_double(&self);
    }
}

/// Options of one request; the numbers are parsed once their type is known.
#[derive(Default)]
struct Options<'a> {
    integer: Option<&'a [u8]>,
    float: Option<&'a [u8]>,
    lower: Option<&'a [u8]>,
    upper: Option<&'a [u8]>,
    until: Option<(Unit, &'a [u8])>,
    saturate: bool,
    persist: bool,
    /// ENX: a key that has a deadline keeps it.
    only_without_deadline: bool,
    /// NX (false) or XX (true).
    must_exist: Option<bool>,
}

impl<'a> Options<'a> {
    /// Unlike SET, INCREX refuses an option that comes twice.
    fn parse(ctx: &Context<'a, '_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = 2;
        while let Some(word) = ctx.args.get(index) {
            if !options.flag(word) {
                let value = ctx.args.get(index + 1).ok_or(CommandError::Syntax)?;
                options.pair(word, value)?;
                index += 1;
            }
            index += 1;
        }
        if options.only_without_deadline && options.until.is_none() {
            return Err(CommandError::line("ERR ENX flag requires an expiration"));
        }
        Ok(options)
    }

    fn flag(&mut self, word: &[u8]) -> bool {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"saturate") && !self.saturate {
            self.saturate = true;
        } else if is(b"persist")
            && !self.persist
            && !self.only_without_deadline
            && self.until.is_none()
        {
            self.persist = true;
        } else if is(b"enx") && !self.persist && !self.only_without_deadline {
            self.only_without_deadline = true;
        } else if is(b"nx") && self.must_exist != Some(true) {
            self.must_exist = Some(false);
        } else if is(b"xx") && self.must_exist != Some(false) {
            self.must_exist = Some(true);
        } else {
            return false;
        }
        true
    }

    fn pair(&mut self, word: &[u8], value: &'a [u8]) -> Result<(), CommandError> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let no_increment = self.integer.is_none() && self.float.is_none();
        let target = if is(b"byint") && no_increment {
            &mut self.integer
        } else if is(b"byfloat") && no_increment {
            &mut self.float
        } else if is(b"lbound") && self.lower.is_none() {
            &mut self.lower
        } else if is(b"ubound") && self.upper.is_none() {
            &mut self.upper
        } else {
            let unit = Unit::of_word(word).ok_or(CommandError::Syntax)?;
            if self.persist || self.until.is_some() {
                return Err(CommandError::Syntax);
            }
            self.until = Some((unit, value));
            return Ok(());
        };
        *target = Some(value);
        Ok(())
    }
}

pub(super) const INCREX: CommandSpec = CommandSpec::new("increx", -2, increx)
    .group(Group::String)
    .since("8.8.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Adds a number to the number at a key, within bounds, and sets or removes its expiry.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[
        Arg::KEY,
        Arg::NX_OR_XX,
        Arg::one_of("increment").optional().args(&[
            Arg::double("float").token("BYFLOAT"),
            Arg::integer("integer").token("BYINT"),
        ]),
        Arg::flag("saturate", "SATURATE"),
        Arg::string("lowerbound").option("LBOUND"),
        Arg::string("upperbound").option("UBOUND"),
        Arg::EXPIRATION_OR_PERSIST,
        Arg::flag("enx", "ENX"),
    ]);

pub(super) fn increx(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options::parse(ctx)?;
    match options.float {
        None => {
            let increment = match options.integer {
                None => i64::one(),
                Some(text) => i64::parse(text, "Increment")?,
            };
            count(ctx, &options, increment)
        }
        Some(text) => {
            let increment =
                F80::parse(text).ok_or(CommandError::line("ERR Increment is not a valid float"))?;
            if increment.is_infinite() {
                return Err(CommandError::line(
                    "ERR BYFLOAT increment cannot be Infinity",
                ));
            }
            count(ctx, &options, increment)
        }
    }
}

fn count<N: Number>(
    ctx: &mut Context<'_, '_>,
    options: &Options<'_>,
    increment: N,
) -> CommandResult {
    let (lower, upper) = bounds::<N>(options)?;
    let deadline = match options.until {
        Some((unit, text)) => Some(unit.deadline(text, ctx.data.now_ms, "increx")?),
        None => None,
    };
    let key = ctx.key(1);
    let (old, old_deadline) = match ctx.data.lookup_mut(key) {
        Some(entry) => (Some(N::of(entry.string())?), entry.deadline()),
        None => (None, None),
    };
    let exists = old.is_some();
    let old = old.unwrap_or(N::ZERO);
    let refused = options.must_exist.is_some_and(|must| must != exists);
    let value = bounded(old.sum(increment), lower, upper, options.saturate).filter(|_| !refused);
    let (value, applied) = match value {
        Some(value) => (value, value.applied(old)?),
        None => {
            write_reply(ctx, old, N::ZERO);
            return Ok(Outcome::Done);
        }
    };
    write_reply(ctx, value, applied);
    let deadline = deadline.filter(|_| !options.only_without_deadline || old_deadline.is_none());
    if is_past(ctx, deadline) {
        if exists {
            delete_expired(ctx, key);
        }
        return Ok(Outcome::Done);
    }
    store(ctx, key, value.value());
    ctx.data.changed(key, EventClass::String, N::EVENT);
    let persist = options.persist && old_deadline.is_some();
    set_lifetime(ctx, key, deadline, persist);
    propagate(ctx, key, &value.text(), deadline, options.persist);
    Ok(Outcome::Done)
}

/// Stores a value over the one of a key, which keeps its deadline, or at a key that is not there.
fn store(ctx: &mut Context<'_, '_>, key: Key<'_>, value: NewValue<'_>) {
    // The key was touched by the look-up before, so it is not touched again.
    let touch = std::mem::replace(&mut ctx.data.touch, false);
    if let Some(mut entry) = ctx.data.lookup_mut(key) {
        entry.set_value(value);
    } else {
        ctx.data.set(key, value, Expiry::Clear);
        ctx.data.notify(EventClass::New, "new", key);
    }
    ctx.data.touch = touch;
}

fn bounds<N: Number>(options: &Options<'_>) -> Result<(N, N), CommandError> {
    let (mut lower, mut upper) = N::limits();
    if let Some(text) = options.lower {
        lower = N::parse(text, "LBOUND")?;
    }
    if let Some(text) = options.upper {
        upper = N::parse(text, "UBOUND")?;
    }
    if lower > upper {
        return Err(CommandError::line(
            "ERR LBOUND can't be greater than UBOUND",
        ));
    }
    Ok((lower, upper))
}

/// The sum within the bounds; outside of them the nearest bound with SATURATE, else nothing.
fn bounded<N: Number>(sum: Result<N, Ordering>, lower: N, upper: N, saturate: bool) -> Option<N> {
    let side = match &sum {
        Ok(sum) if *sum > upper => Ordering::Greater,
        Ok(sum) if *sum < lower => Ordering::Less,
        Ok(sum) => return Some(*sum),
        Err(side) => *side,
    };
    let bound = if side == Ordering::Less { lower } else { upper };
    saturate.then_some(bound)
}

fn write_reply<N: Number>(ctx: &mut Context<'_, '_>, value: N, applied: N) {
    ctx.reply.array(2);
    value.reply(ctx);
    applied.reply(ctx);
}

fn set_lifetime(ctx: &mut Context<'_, '_>, key: Key<'_>, deadline: Option<u64>, persist: bool) {
    if let Some(at) = deadline {
        ctx.data.set_deadline(key, Some(at));
        ctx.data.notify(EventClass::Generic, "expire", key);
    } else if persist {
        ctx.data.set_deadline(key, None);
        ctx.data.notify(EventClass::Generic, "persist", key);
    }
}

/// Logs the outcome as a SET: readers of the log need not support the command.
fn propagate(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    text: &str,
    deadline: Option<u64>,
    persist: bool,
) {
    let text = text.as_bytes();
    if let Some(at) = deadline {
        let mut digits = itoa::Buffer::new();
        let at = digits.format(at).as_bytes();
        ctx.propagate(&[b"SET", key.bytes, text, b"PXAT", at]);
    } else if persist {
        ctx.propagate(&[b"SET", key.bytes, text]);
    } else {
        ctx.propagate(&[b"SET", key.bytes, text, b"KEEPTTL"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_outside_of_the_bounds_are_refused_or_saturated() {
        let sum = |a: i64, b: i64| a.sum(b);
        assert_eq!(bounded(sum(10, 5), 0, 15, false), Some(15));
        assert_eq!(bounded(sum(10, 6), 0, 15, false), None);
        assert_eq!(bounded(sum(10, 6), 0, 15, true), Some(15));
        assert_eq!(bounded(sum(10, -11), 0, 15, true), Some(0));
        assert_eq!(bounded(sum(i64::MAX, 1), i64::MIN, i64::MAX, false), None);
        assert_eq!(bounded(sum(i64::MAX, 1), 0, 100, true), Some(100));
        assert_eq!(bounded(sum(i64::MIN, -1), 0, 100, true), Some(0));
    }

    #[test]
    fn float_sums_saturate_at_the_limits_of_the_type() {
        let (lower, upper) = F80::limits();
        assert_eq!(bounded(F80::MAX.sum(F80::MAX), lower, upper, false), None);
        assert_eq!(
            bounded(F80::MAX.sum(F80::MAX), lower, upper, true),
            Some(F80::MAX)
        );
    }
}

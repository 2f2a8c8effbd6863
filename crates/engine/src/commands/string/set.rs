//! Commands that write a whole string: SET, SETNX, SETEX, PSETEX, GETSET.

use resp::Args;

use super::options::{Accepted, Condition, Lifetime, Options, Unit};
use super::write_string;
use crate::command::*;
use crate::commands::generic::delete_expired;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

const ACCEPTED: Accepted = Accepted {
    existence: true,
    comparison: true,
    get: true,
    keep: true,
    persist: false,
};

pub(super) const SET: CommandSpec = CommandSpec::new("set", -3, set)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary(
        "Stores a string at a key, whatever the key held before, with conditions and a lifetime.",
    )
    .complexity("O(1); IFDEQ and IFDNE are O(N) in the length of the present value.")
    .keys(&[KeySpec::one(
        1,
        KeyFlags::RW
            .or(KeyFlags::ACCESS)
            .or(KeyFlags::UPDATE)
            .or(KeyFlags::VARIABLE_FLAGS),
    )])
    .variable_flags(key_flags)
    .args(&[
        Arg::KEY,
        Arg::VALUE,
        Arg::one_of("condition").since("2.6.12").optional().args(&[
            Arg::NX,
            Arg::XX,
            Arg::string("ifeq-value").token("IFEQ").since("8.4.0"),
            Arg::string("ifne-value").token("IFNE").since("8.4.0"),
            Arg::string("ifdeq-digest").token("IFDEQ").since("8.4.0"),
            Arg::string("ifdne-digest").token("IFDNE").since("8.4.0"),
        ]),
        Arg::flag("get", "GET").since("6.2.0"),
        Arg::one_of("expiration").optional().args(&[
            Arg::EX.since("2.6.12"),
            Arg::PX.since("2.6.12"),
            Arg::EXAT.since("6.2.0"),
            Arg::PXAT.since("6.2.0"),
            Arg::word("keepttl", "KEEPTTL").since("6.0.0"),
        ]),
    ]);

/// SET reads the key when it has the option GET.
fn key_flags(args: Args<'_>) -> KeyFlags {
    let mut options = args.skip(3).iter();
    match options.any(|option| option.eq_ignore_ascii_case(b"get")) {
        true => KeyFlags::RW_ACCESS_UPDATE,
        false => KeyFlags::OW.or(KeyFlags::UPDATE),
    }
}

pub(super) fn set(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 3 {
        return set_with_options(ctx);
    }
    ctx.reply.ok();
    let (key, value) = (ctx.key(1), ctx.arg(2));
    write(ctx, key, value, Expiry::Clear);
    Ok(Outcome::Done)
}

fn set_with_options(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options::parse(ctx.args.skip(3), ACCEPTED)?;
    let deadline = options.deadline(ctx.data.now_ms, "set")?;
    let key = ctx.key(1);
    if options.get {
        read_into_reply(ctx, key)?;
    }
    if !condition_holds(ctx, key, options.condition)? {
        if !options.get {
            ctx.reply.null();
        }
        return Ok(Outcome::Done);
    }
    if !options.get {
        ctx.reply.ok();
    }
    if is_past(ctx, deadline) {
        if ctx.data.exists(key) {
            delete_expired(ctx, key);
        }
        return Ok(Outcome::Done);
    }
    let value = ctx.arg(2);
    let keeps = matches!(options.lifetime, Lifetime::Keep);
    write(ctx, key, value, expiry(deadline, keeps));
    propagate_set(ctx, &options, deadline);
    Ok(Outcome::Done)
}

fn expiry(deadline: Option<u64>, keeps: bool) -> Expiry {
    match deadline {
        Some(at) => Expiry::At(at),
        None if keeps => Expiry::Keep,
        None => Expiry::Clear,
    }
}

/// True for a deadline that has passed already.
pub(super) fn is_past(ctx: &Context<'_, '_>, deadline: Option<u64>) -> bool {
    deadline.is_some_and(|at| ctx.data.is_past(at))
}

/// Writes the present value, or null, as the reply of a command that also changes the key.
pub(super) fn read_into_reply(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
) -> Result<bool, CommandError> {
    match ctx.data.string(key)? {
        None => {
            ctx.reply.null();
            Ok(false)
        }
        Some(value) => {
            write_string(&mut ctx.reply, value);
            Ok(true)
        }
    }
}

fn condition_holds(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    condition: Condition<'_>,
) -> Result<bool, CommandError> {
    let comparison = match condition {
        Condition::Always => return Ok(true),
        Condition::Missing => return Ok(!ctx.data.exists(key)),
        Condition::Exists => return Ok(ctx.data.exists(key)),
        Condition::Compares(comparison) => comparison,
    };
    match ctx.data.peek(key) {
        None => Ok(comparison.holds_without_key()),
        Some(entry) => {
            let value = entry.string().ok_or(CommandError::WrongType)?;
            comparison.check()?;
            Ok(comparison.holds(value))
        }
    }
}

/// Stores a string as SET does, with the events of SET.
pub(super) fn write<'c>(ctx: &mut Context<'c, '_>, key: Key<'_>, value: &'c [u8], expiry: Expiry) {
    let value = ctx.string_value(value);
    if ctx.data.overwrite(key, value, expiry) {
        // Clients that are blocked on a stream here learn that it is gone.
        ctx.data.signal_ready(key);
    } else {
        ctx.data.notify(EventClass::New, "new", key);
    }
    ctx.data.changed(key, EventClass::String, "set");
    if matches!(expiry, Expiry::At(_)) {
        ctx.data.notify(EventClass::Generic, "expire", key);
    }
}

/// Logs a SET that was carried out. Times become absolute, and options for the client alone are
/// left out (GET, and comparisons, which not every reader of the log supports).
fn propagate_set(ctx: &mut Context<'_, '_>, options: &Options<'_>, deadline: Option<u64>) {
    if !ctx.data.effects.is_enabled() {
        return;
    }
    let (name, key, value) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    if let Some(deadline) = deadline {
        let verbatim = matches!(
            options.lifetime,
            Lifetime::Until {
                unit: Unit::UnixMilliseconds,
                ..
            }
        );
        if verbatim && ctx.args.len() == 5 {
            return;
        }
        let mut digits = itoa::Buffer::new();
        let deadline = digits.format(deadline).as_bytes();
        let name = if ctx.args.len() == 5 { name } else { b"SET" };
        ctx.propagate(&[name, key, value, b"PXAT", deadline]);
        return;
    }
    let compares = matches!(options.condition, Condition::Compares(_));
    if !options.get && !compares {
        return;
    }
    let mut argv: [&[u8]; 5] = [name, key, value, b"", b""];
    let mut len = 3;
    let mut push = |word: &'static [u8]| {
        argv[len] = word;
        len += 1;
    };
    match options.condition {
        Condition::Missing => push(b"NX"),
        Condition::Exists => push(b"XX"),
        _ => {}
    }
    if matches!(options.lifetime, Lifetime::Keep) {
        push(b"KEEPTTL");
    }
    ctx.propagate(&argv[..len]);
}

pub(super) const SETNX: CommandSpec = CommandSpec::new("setnx", 3, setnx)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Stores a string at a key that does not exist yet.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::OW.or(KeyFlags::INSERT))])
    .args(&[Arg::KEY, Arg::VALUE]);

pub(super) fn setnx(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let free = !ctx.data.exists(key);
    if free {
        let value = ctx.arg(2);
        write(ctx, key, value, Expiry::Clear);
    }
    ctx.reply.integer(i64::from(free));
    Ok(Outcome::Done)
}

pub(super) const SETEX: CommandSpec = CommandSpec::new("setex", 4, setex)
    .group(Group::String)
    .since("2.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores a string with a lifetime in seconds.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, Arg::integer("seconds"), Arg::VALUE]);

pub(super) fn setex(ctx: &mut Context<'_, '_>) -> CommandResult {
    set_for(ctx, Unit::Seconds)
}

pub(super) const PSETEX: CommandSpec = CommandSpec::new("psetex", 4, psetex)
    .group(Group::String)
    .since("2.6.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores a string with a lifetime in milliseconds.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, Arg::integer("milliseconds"), Arg::VALUE]);

pub(super) fn psetex(ctx: &mut Context<'_, '_>) -> CommandResult {
    set_for(ctx, Unit::Milliseconds)
}

fn set_for(ctx: &mut Context<'_, '_>, unit: Unit) -> CommandResult {
    let deadline = unit.deadline(ctx.arg(2), ctx.data.now_ms, ctx.entry.full_name)?;
    let key = ctx.key(1);
    let value = ctx.arg(3);
    write(ctx, key, value, Expiry::At(deadline));
    let mut digits = itoa::Buffer::new();
    let deadline = digits.format(deadline).as_bytes();
    ctx.propagate(&[b"SET", key.bytes, value, b"PXAT", deadline]);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const GETSET: CommandSpec = CommandSpec::new("getset", 3, getset)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Stores a string and returns the one that was there before.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::VALUE]);

pub(super) fn getset(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    read_into_reply(ctx, key)?;
    let value = ctx.arg(2);
    write(ctx, key, value, Expiry::Clear);
    ctx.propagate(&[b"SET", key.bytes, value]);
    Ok(Outcome::Done)
}

//! RESTORE.

use std::iter;

use keyspace::{NewValue, Value};
use persist::rdb::{self, Access};

use crate::command::*;
use crate::config::P;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;
use crate::rdb_options;

const BUSY: CommandError = CommandError::line("BUSYKEY Target key name already exists.");

/// The arguments of both commands.
const ARGS: &[Arg] = &[
    Arg::KEY,
    Arg::integer("ttl"),
    Arg::string("serialized-value"),
    Arg::flag("replace", "REPLACE").since("3.0.0"),
    Arg::flag("absttl", "ABSTTL").since("5.0.0"),
    Arg::integer("seconds").option("IDLETIME").since("5.0.0"),
    Arg::integer("frequency").option("FREQ").since("5.0.0"),
];

pub(super) const RESTORE: CommandSpec = CommandSpec::new("restore", -4, restore)
    .group(Group::Generic)
    .since("2.6.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .categories(Categories::DANGEROUS.or(Categories::KEYSPACE))
    .summary("Creates a key from what DUMP returned.")
    .complexity(
        "O(N) in the number of bytes of the value, O(N*log(N)) in the number of elements of a \
         sorted set.",
    )
    .keys(&[KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE))])
    .args(ARGS);

pub(super) const RESTORE_ASKING: CommandSpec = RESTORE
    .named("restore-asking", -4, restore)
    .group(Group::Server)
    .since("3.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::ASKING))
    .summary("RESTORE into a slot that is being imported; for the use of cluster tools.");

/// The options behind the payload.
struct Options {
    replace: bool,
    /// The time to live is a deadline.
    absolute: bool,
    access: Access,
}

impl Options {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut options = Options {
            replace: false,
            absolute: false,
            access: Access::Unknown,
        };
        let mut index = 4;
        while index < ctx.args.len() {
            let follows = index + 1 < ctx.args.len();
            let is_frequency = matches!(options.access, Access::Frequency(_));
            let is_idle = matches!(options.access, Access::IdleSeconds(_));
            if ctx.is_word(index, "replace") {
                options.replace = true;
            } else if ctx.is_word(index, "absttl") {
                options.absolute = true;
            } else if ctx.is_word(index, "idletime") && follows && !is_frequency {
                index += 1;
                let seconds = u64::try_from(ctx.integer(index)?)
                    .map_err(|_| CommandError::line("ERR Invalid IDLETIME value, must be >= 0"))?;
                options.access = Access::IdleSeconds(seconds);
            } else if ctx.is_word(index, "freq") && follows && !is_idle {
                index += 1;
                let counter = u8::try_from(ctx.integer(index)?).map_err(|_| {
                    CommandError::line("ERR Invalid FREQ value, must be >= 0 and <= 255")
                })?;
                options.access = Access::Frequency(counter);
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }
}

pub(super) fn restore(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options::parse(ctx)?;
    let key = ctx.key(1);
    if !options.replace && ctx.data.lookup_mut(key).is_some() {
        return Err(BUSY);
    }
    let ttl = u64::try_from(ctx.integer(2)?)
        .map_err(|_| CommandError::line("ERR Invalid TTL value, must be >= 0"))?;
    let trusted = ctx.data.origin.is_trusted();
    ctx.data.stats.payload_checks.add(1);
    let value = rdb::restore(
        ctx.arg(3),
        &rdb_options::restore_options(ctx.engine, trusted),
    )
    .map_err(|error| {
        if let Some(cause) = error.cause() {
            log::debug!("Bad payload for RESTORE: {cause}");
        }
        CommandError::owned(format!("ERR {error}"))
    })?;
    let deadline = match (ttl, options.absolute) {
        (0, _) => None,
        (ttl, true) => Some(ttl),
        (ttl, false) => Some(
            ctx.data
                .now_ms
                .checked_add(ttl)
                .filter(|at| i64::try_from(*at).is_ok())
                .ok_or(CommandError::InvalidExpire("restore"))?,
        ),
    };
    let before = ctx.data.type_for_events(key);
    let replaced = options.replace && ctx.data.remove(key);
    if deadline.is_some_and(|at| ctx.data.is_past(at)) {
        if replaced {
            replaced_by_nothing(ctx, key);
        }
        ctx.reply.ok();
        return Ok(Outcome::Done);
    }
    let expiry = deadline.map_or(Expiry::Clear, Expiry::At);
    match &value {
        // A number is stored as an integer, whatever its form in the payload.
        Value::Bytes(bytes) => ctx.data.set(key, NewValue::Bytes(bytes), expiry),
        _ => ctx.data.set(key, NewValue::Owned(value), expiry),
    };
    if options.access != Access::Unknown {
        ctx.data.set_access(key, options.access);
    }
    ctx.data.signal_ready(key);
    ctx.data.notify(EventClass::New, "new", key);
    ctx.data.changed(key, EventClass::Generic, "restore");
    ctx.data.notify_overwritten(key, before);
    if let Some(at) = deadline.filter(|_| !options.absolute) {
        propagate_absolute(ctx, at);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Removes the old value of the key when the new one has expired already.
fn replaced_by_nothing(ctx: &mut Context<'_, '_>, key: Key<'_>) {
    let lazy = ctx.engine.config.bool(P::LazyfreeLazyServerDel);
    let word: &[u8] = if lazy { b"UNLINK" } else { b"DEL" };
    ctx.propagate(&[word, key.bytes]);
    ctx.data.signal_ready(key);
    ctx.data.changed(key, EventClass::Generic, "del");
}

/// Logs the command with its deadline instead of its time to live.
fn propagate_absolute(ctx: &mut Context<'_, '_>, deadline: u64) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(deadline).as_bytes();
    let argument = |(index, arg)| if index == 2 { digits } else { arg };
    let args = ctx.args.iter().enumerate().map(argument);
    let args: Vec<&[u8]> = args.chain(iter::once(&b"ABSTTL"[..])).collect();
    ctx.propagate(&args);
}

//! Commands on HyperLogLogs, which are strings in the format of [`values::hyperloglog`].

mod debug;

use keyspace::{NewValue, StringRef};
use values::hyperloglog::{self, Corrupted, Form, Registers};

use crate::command::*;
use crate::config::P;
use crate::context::{Context, Data, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &PFADD,
    &PFCOUNT,
    &debug::PFDEBUG,
    &PFMERGE,
    &debug::PFSELFTEST,
];

const NO_SKETCH: CommandError =
    CommandError::line("WRONGTYPE Key is not a valid HyperLogLog string value.");

fn corrupted(_: Corrupted) -> CommandError {
    CommandError::line("INVALIDOBJ Corrupted HLL object detected")
}

/// The bytes of a string that is a sketch, and its form.
fn sketch(value: Option<StringRef<'_>>) -> Result<(&[u8], Form), CommandError> {
    let bytes = match value.ok_or(CommandError::WrongType)? {
        StringRef::Int(_) => return Err(NO_SKETCH),
        StringRef::Bytes(bytes) => bytes,
        StringRef::Big(big) => big.as_slice(),
    };
    Ok((bytes, hyperloglog::form(bytes).ok_or(NO_SKETCH)?))
}

/// The sketch at a key, for reading.
fn read<'d>(
    data: &'d mut Data<'_, '_>,
    key: Key<'_>,
) -> Result<Option<(&'d [u8], Form)>, CommandError> {
    let value = data.string(key)?;
    value.map(|value| sketch(Some(value))).transpose()
}

/// Puts a sketch at a key where there is none.
fn create(data: &mut Data<'_, '_>, key: Key<'_>, bytes: &[u8]) {
    data.set(key, NewValue::Raw(bytes), Expiry::Clear);
    data.notify(EventClass::New, "new", key);
}

const PFADD: CommandSpec = CommandSpec::new("pfadd", -2, pfadd)
    .group(Group::HyperLogLog)
    .since("2.8.9")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary(
        "Adds elements to a HyperLogLog, creating it if needed, and returns whether that changed it.",
    )
    .complexity("O(1) per element.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[Arg::KEY, Arg::string("element").optional().multiple()]);

fn pfadd(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let sparse_max = ctx.engine.config.size(P::HllSparseMaxBytes);
    let elements = ctx.args.skip(2).iter();
    let changes = match ctx.data.lookup_mut(key) {
        Some(mut entry) => match sketch(entry.string())? {
            (_, Form::Dense) => entry
                .string_mut()
                .map_or(0, |bytes| hyperloglog::add_dense(bytes, elements)),
            (bytes, Form::Sparse) => {
                match hyperloglog::add(bytes, elements, sparse_max).map_err(corrupted)? {
                    Some((bytes, changes)) => {
                        entry.set_string(NewValue::Raw(&bytes));
                        changes
                    }
                    None => 0,
                }
            }
        },
        None => {
            let mut bytes = hyperloglog::empty();
            let mut changes = 1;
            let added = hyperloglog::add(&bytes, elements, sparse_max).map_err(corrupted)?;
            if let Some((added, more)) = added {
                bytes = added;
                changes += more;
            }
            create(&mut ctx.data, key, &bytes);
            changes
        }
    };
    if changes > 0 {
        ctx.data
            .changed_times(changes, key, EventClass::String, "pfadd");
    }
    ctx.reply.integer(i64::from(changes > 0));
    Ok(Outcome::Done)
}

const PFCOUNT: CommandSpec = CommandSpec::new("pfcount", -2, pfcount)
    .group(Group::HyperLogLog)
    .since("2.8.9")
    .flags(Flags::READONLY.or(Flags::MAY_REPLICATE))
    .summary("Returns the estimated number of different elements seen by one or more HyperLogLogs.")
    .complexity(
        "O(1) for one key, whose last count is kept; O(N) in the number of keys for several.",
    )
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RW.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEYS]);

fn pfcount(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() == 2 {
        return count_one(ctx);
    }
    let mut registers = Registers::new();
    for index in 1..ctx.args.len() {
        let key = ctx.key(index);
        if let Some((bytes, _)) = read(&mut ctx.data, key)? {
            registers.merge(bytes).map_err(corrupted)?;
        }
    }
    ctx.reply.integer(integer(registers.count()));
    Ok(Outcome::Done)
}

/// The sketch keeps its count, so that it is not computed again until something is added. That is a
/// change of the string, and logged as one.
fn count_one(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let Some((bytes, _)) = read(&mut ctx.data, key)? else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    if let Some(count) = hyperloglog::cached_count(bytes) {
        ctx.reply.integer(integer(count));
        return Ok(Outcome::Done);
    }
    let count = hyperloglog::count(bytes).map_err(corrupted)?;
    let entry = ctx.data.lookup_mut(key);
    if let Some(mut entry) = entry
        && let Some(bytes) = entry.string_mut()
    {
        hyperloglog::cache_count(bytes, count);
    }
    ctx.data.touch_watchers(key);
    ctx.data.effects.add_dirty(1);
    ctx.propagate(&[b"PFCOUNT", key.bytes]);
    ctx.reply.integer(integer(count));
    Ok(Outcome::Done)
}

/// The cached count of a sketch from another server may have any bits; it is shown as Redis does.
fn integer(count: u64) -> i64 {
    count.cast_signed()
}

const PFMERGE: CommandSpec = CommandSpec::new("pfmerge", -2, pfmerge)
    .group(Group::HyperLogLog)
    .since("2.8.9")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Merges several HyperLogLogs into one.")
    .complexity("O(N) in the number of HyperLogLogs, each of 16,384 registers.")
    .keys(&[
        KeySpec::one(1, KeyFlags::RW.or(KeyFlags::ACCESS).or(KeyFlags::INSERT)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[
        Arg::KEY.named("destkey"),
        Arg::key("sourcekey").key_spec(1).optional().multiple(),
    ]);

fn pfmerge(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let sparse_max = ctx.engine.config.size(P::HllSparseMaxBytes);
    let mut registers = Registers::new();
    let mut some_dense = false;
    for index in 1..ctx.args.len() {
        let source = ctx.key(index);
        if let Some((bytes, form)) = read(&mut ctx.data, source)? {
            some_dense |= form == Form::Dense;
            registers.merge(bytes).map_err(corrupted)?;
        }
    }
    match ctx.data.lookup_mut(key) {
        Some(mut entry) => match sketch(entry.string())? {
            (_, Form::Dense) => {
                if let Some(bytes) = entry.string_mut() {
                    hyperloglog::raise_dense_to(bytes, &registers);
                }
            }
            (bytes, Form::Sparse) => {
                let merged = hyperloglog::raise_to(bytes, &registers, some_dense, sparse_max)
                    .map_err(corrupted)?;
                entry.set_string(NewValue::Raw(&merged));
            }
        },
        None => {
            let empty = hyperloglog::empty();
            let merged = hyperloglog::raise_to(&empty, &registers, some_dense, sparse_max)
                .map_err(corrupted)?;
            create(&mut ctx.data, key, &merged);
        }
    }
    ctx.data.changed(key, EventClass::String, "pfadd");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

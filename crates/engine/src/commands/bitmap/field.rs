//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.

use keyspace::number::INTEGER_TEXT_MAX;
use resp::Args;
use smallvec::SmallVec;
use values::bits::{Field, Overflow};

use super::{bit_offset, edit};
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// One operation of a request.
struct Step {
    field: Field,
    offset: u64,
    action: Action,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

type Steps = SmallVec<[Step; 4]>;

/// The result of a step.
struct Stepped {
    /// `None`: it would have left the range, with OVERFLOW FAIL.
    reply: Option<i64>,
    wrote: bool,
    changed: bool,
}

impl Step {
    /// The last bit that the step writes.
    fn last_written(&self) -> Option<u64> {
        let last = self.offset.saturating_add(u64::from(self.field.bits()) - 1);
        (!matches!(self.action, Action::Get)).then_some(last)
    }

    fn get(&self, bytes: &[u8]) -> i64 {
        self.field.get(bytes, self.offset)
    }

    fn run(&self, bytes: &mut [u8]) -> Stepped {
        let old = self.get(bytes);
        // SET answers the old value, INCRBY the new one.
        let (new, answers_new) = match self.action {
            Action::Get => {
                return Stepped {
                    reply: Some(old),
                    wrote: false,
                    changed: false,
                };
            }
            Action::Set(value, overflow) => (self.field.fit(value, overflow), false),
            Action::Add(value, overflow) => (self.field.add(old, value, overflow), true),
        };
        if let Some(new) = new {
            self.field.set(bytes, self.offset, new);
        }
        Stepped {
            reply: new.map(|new| if answers_new { new } else { old }),
            wrote: new.is_some(),
            changed: new.is_some_and(|new| new != old),
        }
    }
}

pub(super) const BITFIELD: CommandSpec = CommandSpec::new("bitfield", -2, bitfield)
    .group(Group::Bitmap)
    .since("3.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Reads and changes integers of any width at any bit of a string.")
    .complexity("O(1) for each operation.")
    .keys(&[KeySpec::one(
        1,
        KeyFlags::RW
            .or(KeyFlags::UPDATE)
            .or(KeyFlags::ACCESS)
            .or(KeyFlags::VARIABLE_FLAGS),
    )])
    .variable_flags(key_flags)
    .args(&[
        Arg::KEY,
        Arg::one_of("operation").optional().multiple().args(&[
            Arg::block("get-block")
                .token("GET")
                .args(&[Arg::string("encoding"), Arg::integer("offset")]),
            Arg::block("write").args(&[
                Arg::one_of("overflow-block").option("OVERFLOW").args(&[
                    Arg::word("wrap", "WRAP"),
                    Arg::word("sat", "SAT"),
                    Arg::word("fail", "FAIL"),
                ]),
                Arg::one_of("write-operation").args(&[
                    Arg::block("set-block").token("SET").args(&[
                        Arg::string("encoding"),
                        Arg::integer("offset"),
                        Arg::integer("value"),
                    ]),
                    Arg::block("incrby-block").token("INCRBY").args(&[
                        Arg::string("encoding"),
                        Arg::integer("offset"),
                        Arg::integer("increment"),
                    ]),
                ]),
            ]),
        ]),
    ]);

/// BITFIELD changes the key when it has a SET or an INCRBY.
fn key_flags(args: Args<'_>) -> KeyFlags {
    let is_write =
        |arg: &[u8]| arg.eq_ignore_ascii_case(b"set") || arg.eq_ignore_ascii_case(b"incrby");
    match args.skip(2).iter().any(is_write) {
        true => KeyFlags::RW_ACCESS_UPDATE,
        false => KeyFlags::RO.or(KeyFlags::ACCESS),
    }
}

pub(super) fn bitfield(ctx: &mut Context<'_, '_>) -> CommandResult {
    let steps = parse(ctx)?;
    match steps.iter().filter_map(Step::last_written).max() {
        None => read(ctx, &steps),
        Some(last) => write(ctx, &steps, last),
    }
}

pub(super) const BITFIELD_RO: CommandSpec = CommandSpec::new("bitfield_ro", -2, bitfield_ro)
    .group(Group::Bitmap)
    .since("6.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Reads integers of any width at any bit of a string.")
    .complexity("O(1) for each operation.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::block("get-block")
            .option("GET")
            .multiple_token()
            .args(&[Arg::string("encoding"), Arg::integer("offset")]),
    ]);

pub(super) fn bitfield_ro(ctx: &mut Context<'_, '_>) -> CommandResult {
    let steps = parse(ctx)?;
    if steps.iter().any(|step| step.last_written().is_some()) {
        return Err(CommandError::line(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    read(ctx, &steps)
}

/// A request that only reads creates no key.
fn read(ctx: &mut Context<'_, '_>, steps: &[Step]) -> CommandResult {
    let key = ctx.key(1);
    let mut buffer = [0; INTEGER_TEXT_MAX];
    let bytes = match ctx.data.string(key)? {
        None => &[],
        Some(value) => value.as_bytes(&mut buffer),
    };
    ctx.reply.array(steps.len());
    for step in steps {
        ctx.reply.integer(step.get(bytes));
    }
    Ok(Outcome::Done)
}

fn write(ctx: &mut Context<'_, '_>, steps: &[Step], last: u64) -> CommandResult {
    let key = ctx.key(1);
    let reply = &mut ctx.reply;
    let (grew, (written, changed)) = edit(&mut ctx.data, key, last, |bytes| {
        let (mut written, mut changed) = (0, 0);
        reply.array(steps.len());
        for step in steps {
            let done = step.run(bytes);
            written += u64::from(done.wrote);
            changed += u64::from(done.changed);
            match done.reply {
                Some(value) => reply.integer(value),
                None => reply.null(),
            }
        }
        (written, changed)
    })?;
    // In a string that had to grow every write is a change.
    let changes = if grew { written } else { changed };
    if changes > 0 {
        ctx.data
            .changed_times(changes, key, EventClass::String, "setbit");
    } else if grew {
        // All writes failed: no event, but the string may have been created or lengthened, which
        // has to be logged.
        ctx.data.effects.add_dirty(1);
        ctx.data.touch_watchers(key);
    }
    Ok(Outcome::Done)
}

fn parse(ctx: &Context<'_, '_>) -> Result<Steps, CommandError> {
    let mut steps = Steps::new();
    let mut overflow = Overflow::Wrap;
    let mut index = 2;
    while index < ctx.args.len() {
        let more = ctx.args.len() - index - 1;
        let is = |word, operands| more >= operands && ctx.is_word(index, word);
        if is("overflow", 1) {
            overflow = parse_overflow(ctx, index + 1)?;
            index += 2;
            continue;
        }
        let operands = if is("get", 2) {
            2
        } else if is("set", 3) || is("incrby", 3) {
            3
        } else {
            return Err(CommandError::Syntax);
        };
        let field = parse_field(ctx.arg(index + 1))?;
        let offset = match ctx.arg(index + 2) {
            [b'#', count @ ..] => bit_offset(ctx, count, field.bits())?,
            offset => bit_offset(ctx, offset, 1)?,
        };
        let action = if operands == 2 {
            Action::Get
        } else if ctx.is_word(index, "set") {
            Action::Set(ctx.integer(index + 3)?, overflow)
        } else {
            Action::Add(ctx.integer(index + 3)?, overflow)
        };
        steps.push(Step {
            field,
            offset,
            action,
        });
        index += 1 + operands;
    }
    Ok(steps)
}

fn parse_overflow(ctx: &Context<'_, '_>, index: usize) -> Result<Overflow, CommandError> {
    if ctx.is_word(index, "wrap") {
        Ok(Overflow::Wrap)
    } else if ctx.is_word(index, "sat") {
        Ok(Overflow::Sat)
    } else if ctx.is_word(index, "fail") {
        Ok(Overflow::Fail)
    } else {
        Err(CommandError::line("ERR Invalid OVERFLOW type specified"))
    }
}

/// A type such as `i16` or `u8`.
fn parse_field(text: &[u8]) -> Result<Field, CommandError> {
    let (signed, bits) = match text {
        [b'i', bits @ ..] => (true, bits),
        [b'u', bits @ ..] => (false, bits),
        _ => return Err(BAD_FIELD),
    };
    resp::number::parse_i64(bits)
        .and_then(|bits| u32::try_from(bits).ok())
        .and_then(|bits| Field::new(signed, bits))
        .ok_or(BAD_FIELD)
}

const BAD_FIELD: CommandError = CommandError::line(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);

//! BITOP: bitwise combinations of strings.

use std::sync::Arc;

use keyspace::number::INTEGER_TEXT_MAX;
use keyspace::{BigString, EntryRef, INLINE_MAX, NewValue, Value, ValueMut};
use smallvec::SmallVec;
use values::bits::{self, Operand, Operation};

use crate::command::*;
use crate::commands::generic::delete_key;
use crate::commands::string::length;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

pub(super) const BITOP: CommandSpec = CommandSpec::new("bitop", -4, bitop)
    .group(Group::Bitmap)
    .since("2.6.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores a bitwise combination of strings at a key.")
    .complexity("O(N) in the length of all strings.")
    .keys(&[
        KeySpec::one(2, KeyFlags::OW.or(KeyFlags::UPDATE)),
        KeySpec::range(3, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS)),
    ])
    .args(&[
        Arg::one_of("operation").args(&[
            Arg::word("and", "AND"),
            Arg::word("or", "OR"),
            Arg::word("xor", "XOR"),
            Arg::word("not", "NOT"),
            Arg::word("diff", "DIFF"),
            Arg::word("diff1", "DIFF1"),
            Arg::word("andor", "ANDOR"),
            Arg::word("one", "ONE"),
        ]),
        Arg::key("destkey"),
        Arg::SOURCE_KEYS,
    ]);

pub(super) fn bitop(ctx: &mut Context<'_, '_>) -> CommandResult {
    let operation = operation(ctx)?;
    let to = ctx.key(2);
    let from: SmallVec<[Key<'_>; 4]> = (3..ctx.args.len()).map(|index| ctx.key(index)).collect();
    let longest = longest(&ctx.data.gather(&from))?;
    if longest == 0 {
        delete_key(ctx, to);
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    }
    let result = combined(ctx, operation, &from, to, longest);
    store(ctx, to, result);
    ctx.reply.integer(length(longest));
    Ok(Outcome::Done)
}

/// The combination of strings, built in the memory of the string at `to` where possible, which is
/// taken out of the keyspace then.
fn combined(
    ctx: &mut Context<'_, '_>,
    operation: Operation,
    from: &[Key<'_>],
    to: Key<'_>,
    longest: usize,
) -> Vec<u8> {
    let recycled = take_buffer(ctx, to, longest);
    let mut texts: SmallVec<[_; 4]> = SmallVec::from_elem([0; INTEGER_TEXT_MAX], from.len());
    let entries = ctx.data.peek_all(from);
    let mut operands: SmallVec<[Operand<'_>; 4]> = SmallVec::new();
    for ((key, entry), text) in from.iter().zip(&entries).zip(&mut texts) {
        operands.push(match entry.and_then(|entry| entry.string()) {
            _ if recycled.is_some() && key.bytes == to.bytes => Operand::Output,
            None => Operand::Bytes(b""),
            Some(value) => Operand::Bytes(value.as_bytes(text)),
        });
    }
    let mut result = recycled.unwrap_or_default();
    bits::combine(operation, &operands, &mut result);
    result
}

fn operation(ctx: &Context<'_, '_>) -> Result<Operation, CommandError> {
    const OPERATIONS: [(&str, Operation); 8] = [
        ("AND", Operation::And),
        ("OR", Operation::Or),
        ("XOR", Operation::Xor),
        ("NOT", Operation::Not),
        ("DIFF", Operation::Diff),
        ("DIFF1", Operation::Diff1),
        ("ANDOR", Operation::AndOr),
        ("ONE", Operation::One),
    ];
    let found = OPERATIONS.iter().find(|(name, _)| ctx.is_word(1, name));
    let (name, operation) = *found.ok_or(CommandError::Syntax)?;
    let sources = ctx.args.len() - 3;
    match operation {
        Operation::Not if sources != 1 => Err(CommandError::line(
            "ERR BITOP NOT must be called with a single source key.",
        )),
        Operation::Diff | Operation::Diff1 | Operation::AndOr if sources < 2 => {
            Err(CommandError::owned(format!(
                "ERR BITOP {name} must be called with at least two source keys."
            )))
        }
        operation => Ok(operation),
    }
}

/// The length of the longest string.
fn longest(entries: &[Option<EntryRef<'_>>]) -> Result<usize, CommandError> {
    let mut longest = 0;
    for entry in entries.iter().flatten() {
        longest = longest.max(entry.string().ok_or(CommandError::WrongType)?.len());
    }
    Ok(longest)
}

/// The memory of the string at `to`, with its bytes; the command overwrites it next. `None` when
/// replies share it or when its size does not suit the result.
fn take_buffer(ctx: &mut Context<'_, '_>, to: Key<'_>, longest: usize) -> Option<Vec<u8>> {
    if longest <= INLINE_MAX {
        return None;
    }
    let mut entry = ctx.data.lookup_mut(to)?;
    let ValueMut::Big(big) = entry.value_mut() else {
        return None;
    };
    let big = Arc::get_mut(big)?;
    let suits = (longest..=longest + longest / 10).contains(&big.capacity());
    suits.then(|| std::mem::take(big).into_vec())
}

fn store(ctx: &mut Context<'_, '_>, to: Key<'_>, result: Vec<u8>) {
    let existed = if result.len() > INLINE_MAX {
        let value = NewValue::Owned(Value::Big(Arc::new(BigString::from(result))));
        ctx.data.overwrite(to, value, Expiry::Clear)
    } else {
        ctx.data
            .overwrite(to, NewValue::Raw(&result), Expiry::Clear)
    };
    if existed {
        // Unblocks consumers that wait for a stream at this key: it is gone.
        ctx.data.signal_ready(to);
    } else {
        ctx.data.notify(EventClass::New, "new", to);
    }
    ctx.data.changed(to, EventClass::String, "set");
}

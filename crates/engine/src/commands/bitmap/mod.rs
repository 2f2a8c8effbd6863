//! Commands on the bits of strings.

mod combine;
mod field;
mod range;
mod single;

use keyspace::{BigString, INLINE_MAX, NewValue, Value};
use smallvec::SmallVec;
use std::sync::Arc;

use super::string::string_error;
use crate::config::P;
use crate::context::{Context, Data, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::CommandSpec;
use crate::keys::Key;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &range::BITCOUNT,
    &field::BITFIELD,
    &field::BITFIELD_RO,
    &combine::BITOP,
    &range::BITPOS,
    &single::GETBIT,
    &single::SETBIT,
];

const BAD_OFFSET: CommandError =
    CommandError::line("ERR bit offset is not an integer or out of range");

/// The position of a bit: `text` times `unit`, below the limit of `proto-max-bulk-len`. A replay of
/// the log is not limited: the limit may have been lowered since the log was written.
fn bit_offset(ctx: &Context<'_, '_>, text: &[u8], unit: u32) -> Result<u64, CommandError> {
    let offset = resp::number::parse_i64(text)
        .and_then(|offset| offset.checked_mul(i64::from(unit)))
        .and_then(|offset| u64::try_from(offset).ok())
        .ok_or(BAD_OFFSET)?;
    let limit = ctx.engine.config.size(P::ProtoMaxBulkLen) as u64;
    if offset / 8 >= limit && !ctx.data.origin.is_trusted() {
        return Err(BAD_OFFSET);
    }
    Ok(offset)
}

/// Changes the string at `key`, which is created or lengthened with zero bytes up to bit `last`.
/// Returns whether that was needed, and the result of `change`.
fn edit<R>(
    data: &mut Data<'_, '_>,
    key: Key<'_>,
    last: u64,
    change: impl FnOnce(&mut [u8]) -> R,
) -> Result<(bool, R), CommandError> {
    let len = usize::try_from(last / 8 + 1).map_err(|_| CommandError::StringTooLong)?;
    if let Some(mut entry) = data.lookup_mut(key) {
        let old_len = entry.string().ok_or(CommandError::WrongType)?.len();
        let bytes = entry.grow_zeroed(len).map_err(string_error)?;
        return Ok((len > old_len, change(bytes)));
    }
    let result;
    if len > INLINE_MAX {
        let mut big = BigString::zeroed(len);
        result = change(big.as_mut_slice());
        let value = NewValue::Owned(Value::Big(Arc::new(big)));
        data.set(key, value, Expiry::Clear);
    } else {
        let mut bytes: SmallVec<[u8; 256]> = SmallVec::from_elem(0, len);
        result = change(&mut bytes);
        data.set(key, NewValue::Raw(&bytes), Expiry::Clear);
    }
    data.notify(EventClass::New, "new", key);
    Ok((true, result))
}

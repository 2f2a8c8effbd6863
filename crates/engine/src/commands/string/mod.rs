//! Commands on strings.

mod compare;
mod get;
mod incr;
mod increx;
mod lcs;
mod multi;
mod options;
mod range;
mod set;

use std::sync::Arc;

use keyspace::{StringError, StringRef};
use resp::Reply;

use crate::config::P;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::execute::CommandSpec;
use crate::session::Origin;

pub(in crate::commands) use options::Unit;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &range::APPEND,
    &incr::DECR,
    &incr::DECRBY,
    &compare::DELEX,
    &compare::DELIFEQ,
    &compare::DIGEST,
    &get::GET,
    &get::GETDEL,
    &get::GETEX,
    &range::GETRANGE,
    &set::GETSET,
    &incr::INCR,
    &incr::INCRBY,
    &incr::INCRBYFLOAT,
    &increx::INCREX,
    &lcs::LCS,
    &multi::MGET,
    &multi::MSET,
    &multi::MSETEX,
    &multi::MSETNX,
    &set::PSETEX,
    &set::SET,
    &set::SETEX,
    &set::SETNX,
    &range::SETRANGE,
    &get::STRLEN,
    &range::SUBSTR,
];

/// Writes a string value as a bulk string; a long one is shared with the reply, not copied.
#[inline]
pub(crate) fn write_string(reply: &mut Reply<'_>, value: StringRef<'_>) {
    match value {
        StringRef::Int(value) => reply.integer_bulk(value),
        StringRef::Bytes(bytes) => reply.bulk(bytes),
        StringRef::Big(big) => {
            let shared = Arc::clone(big);
            reply.bulk_shared(shared);
        }
    }
}

/// A length as an integer reply.
pub(crate) fn length(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Refuses a string that would end `more` bytes after `offset` and exceed `proto-max-bulk-len`. A
/// replay of the log is not limited: the limit may have been lowered since the log was written.
pub(crate) fn check_length(
    engine: &Engine,
    origin: Origin,
    offset: usize,
    more: usize,
) -> Result<(), CommandError> {
    let limit = engine.config.size(P::ProtoMaxBulkLen);
    match offset.checked_add(more) {
        Some(total) if total <= limit || origin.is_trusted() => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

/// The reply for a string that could not be changed in place.
pub(crate) fn string_error(error: StringError) -> CommandError {
    match error {
        StringError::WrongType => CommandError::WrongType,
        StringError::TooLong => CommandError::StringTooLong,
    }
}

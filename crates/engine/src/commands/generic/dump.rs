//! DUMP.

use std::sync::Arc;

use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::rdb_options;

/// Payloads of this size and more are handed to the reply instead of being copied.
const SHARED_MIN: usize = 16 * 1024;

pub(super) const DUMP: CommandSpec = CommandSpec::new("dump", 2, dump)
    .group(Group::Generic)
    .since("2.6.0")
    .flags(Flags::READONLY)
    .categories(Categories::KEYSPACE)
    .summary("Returns the value of a key in the form of RDB files, for RESTORE.")
    .complexity("O(N) in the number of bytes of the value.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY]);

pub(super) fn dump(ctx: &mut Context<'_, '_>) -> CommandResult {
    let config = &ctx.engine.config;
    let Some(entry) = ctx.data.lookup(ctx.key(1)) else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    let mut payload = Vec::new();
    rdb_options::dump(config, &entry.value(), &mut payload)
        .map_err(|error| CommandError::owned(format!("ERR {error}")))?;
    if payload.len() < SHARED_MIN {
        ctx.reply.bulk(&payload);
    } else {
        ctx.reply.bulk_shared(Arc::new(payload));
    }
    Ok(Outcome::Done)
}

//! Commands on keys of any type, and on databases as a whole.

mod copy;
mod databases;
mod delete;
mod dump;
mod expire;
mod keys;
mod object;
mod rename;
mod restore;
mod scan;
mod sort;
mod ttl;
mod wait;

use crate::context::Context;
use crate::error::CommandError;
use crate::execute::CommandSpec;

pub(crate) use delete::delete_expired;
pub use delete::delete_key;
pub(in crate::commands) use expire::Conditions;
pub(crate) use scan::Found;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &copy::COPY,
    &databases::DBSIZE,
    &delete::DEL,
    &dump::DUMP,
    &delete::EXISTS,
    &expire::EXPIRE,
    &expire::EXPIREAT,
    &ttl::EXPIRETIME,
    &databases::FLUSHALL,
    &databases::FLUSHDB,
    &keys::KEYS,
    &copy::MOVE,
    &object::OBJECT,
    &ttl::PERSIST,
    &expire::PEXPIRE,
    &expire::PEXPIREAT,
    &ttl::PEXPIRETIME,
    &ttl::PTTL,
    &keys::RANDOMKEY,
    &rename::RENAME,
    &rename::RENAMENX,
    &restore::RESTORE,
    &restore::RESTORE_ASKING,
    &scan::SCAN,
    &sort::SORT,
    &sort::SORT_RO,
    &databases::SWAPDB,
    &delete::TOUCH,
    &ttl::TTL,
    &keys::TYPE,
    &delete::UNLINK,
    &wait::WAIT,
    &wait::WAITAOF,
];

/// The database number at argument `index`.
fn database(ctx: &Context<'_, '_>, index: usize) -> Result<u32, CommandError> {
    let number = ctx.integer(index)?;
    let Ok(number) = i32::try_from(number) else {
        return Err(CommandError::owned(format!(
            "ERR value is out of range, value must between {} and {}",
            i32::MIN,
            i32::MAX
        )));
    };
    u32::try_from(number)
        .ok()
        .filter(|number| *number < ctx.engine.keyspace.databases())
        .ok_or(CommandError::DbIndex)
}

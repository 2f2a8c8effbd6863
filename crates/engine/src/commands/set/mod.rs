//! Commands on sets.

mod algebra;
mod estimate;
mod expiry;
mod members;
mod random;
mod scan;

use crate::execute::CommandSpec;

/// All commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &members::SADD,
    &members::SCARD,
    &algebra::SDIFF,
    &algebra::SDIFFCARD,
    &algebra::SDIFFSTORE,
    &expiry::SEXPIRE,
    &expiry::SEXPIREAT,
    &expiry::SEXPIRETIME,
    &algebra::SINTER,
    &algebra::SINTERCARD,
    &algebra::SINTERSTORE,
    &members::SISMEMBER,
    &members::SMEMBERS,
    &members::SMISMEMBER,
    &members::SMOVE,
    &expiry::SPERSIST,
    &expiry::SPEXPIRE,
    &expiry::SPEXPIREAT,
    &expiry::SPEXPIRETIME,
    &random::SPOP,
    &expiry::SPTTL,
    &random::SRANDMEMBER,
    &members::SREM,
    &scan::SSCAN,
    &expiry::STTL,
    &algebra::SUNION,
    &algebra::SUNIONCARD,
    &algebra::SUNIONSTORE,
];

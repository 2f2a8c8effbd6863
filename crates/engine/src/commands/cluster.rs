//! Cluster commands of a server whose cluster support is disabled: CLUSTER KEYSLOT works, READONLY
//! and READWRITE change nothing, everything else answers that there is no cluster.

use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[&ASKING, &CLUSTER, &READONLY, &READWRITE];

/// What all of them have in common.
const BASE: CommandSpec = CommandSpec::BASE
    .group(Group::Cluster)
    .since("3.0.0")
    .complexity("O(1)");

/// Commands that a client sends about its own connection.
const OF_CONNECTION: CommandSpec = BASE
    .categories(crate::command::Categories::CONNECTION)
    .flags(Flags::FAST);

/// `ASKING`
const ASKING: CommandSpec = OF_CONNECTION
    .named("asking", 1, disabled)
    .summary("Allows the next command to access a slot that is being imported.");

/// `READONLY`
const READONLY: CommandSpec = OF_CONNECTION
    .named("readonly", 1, |ctx| set_readonly(ctx, true))
    .flags(Flags::ANY_TIME)
    .summary("Allows reads from a replica in cluster mode.");

/// `READWRITE`
const READWRITE: CommandSpec = OF_CONNECTION
    .named("readwrite", 1, |ctx| set_readonly(ctx, false))
    .flags(Flags::ANY_TIME)
    .summary("Ends the effect of READONLY.");

/// Without a cluster it says whether a replica redirects reads, see CLIENT CAPA.
fn set_readonly(ctx: &mut Context<'_, '_>, is_on: bool) -> CommandResult {
    ctx.session.reads_replicas = is_on;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

fn disabled(_: &mut Context<'_, '_>) -> CommandResult {
    Err(CommandError::line(
        "ERR This instance has cluster support disabled",
    ))
}

const CLUSTER: CommandSpec = CommandSpec::container("cluster", -2)
    .group(Group::Cluster)
    .since("3.0.0")
    .summary("A container for commands about the cluster.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &admin("addslots", -3).summary("Assigns slots to the node."),
        &admin("addslotsrange", -4)
            .since("7.0.0")
            .summary("Assigns ranges of slots to the node."),
        &admin("bumpepoch", 2).summary("Raises the configuration epoch of the node."),
        &query("count-failure-reports", 3)
            .flags(Flags::ADMIN)
            .summary("Counts the failure reports about a node."),
        &query("countkeysinslot", 3).summary("Counts the keys in a slot."),
        &admin("delslots", -3).summary("Takes slots away from the node."),
        &admin("delslotsrange", -4)
            .since("7.0.0")
            .summary("Takes ranges of slots away from the node."),
        &admin("failover", -2).summary("Starts a failover on a replica."),
        &admin("flushslots", 2).summary("Takes all slots away from the node."),
        &admin("forget", 3).summary("Removes a node from the table of nodes."),
        &query("getkeysinslot", 4).summary("Returns keys in a slot."),
        &anytime("help", 2)
            .since("5.0.0")
            .summary("Lists the subcommands of CLUSTER."),
        &anytime("info", 2).summary("Returns the state of the cluster as the node sees it."),
        &KEYSLOT,
        &query("links", 2)
            .since("7.0.0")
            .summary("Lists the links of the cluster bus."),
        &admin("meet", -4).summary("Adds a node to the cluster."),
        &anytime("myid", 2).summary("Returns the id of the node."),
        &anytime("myshardid", 2)
            .since("7.2.0")
            .summary("Returns the id of the node's shard."),
        &anytime("nodes", 2).summary("Returns the configuration of the cluster."),
        &query("replicas", 3)
            .flags(Flags::ADMIN)
            .since("5.0.0")
            .summary("Lists the replicas of a primary."),
        &admin("replicate", -3).summary("Makes the node a replica of another."),
        &admin("reset", -2)
            .flags(Flags::NOSCRIPT)
            .summary("Resets the node."),
        &admin("saveconfig", 2).summary("Writes the configuration of the cluster to disk."),
        &admin("set-config-epoch", 3).summary("Sets the configuration epoch of a new node."),
        &admin("setslot", -4).summary("Sets the state of a slot."),
        &anytime("shards", 2)
            .since("7.0.0")
            .summary("Lists the shards with their slots and nodes."),
        &query("slaves", 3)
            .flags(Flags::ADMIN)
            .deprecated_since("5.0.0")
            .replaced_by("`CLUSTER REPLICAS`")
            .summary("Lists the replicas of a primary."),
        &anytime("slot-stats", -4)
            .since("8.0.0")
            .summary("Returns statistics of slots."),
        &anytime("slots", 2).summary("Lists ranges of slots with their nodes."),
    ]);

/// A subcommand that reads the state of the cluster.
const fn query(name: &'static str, arity: i32) -> CommandSpec {
    BASE.named(name, arity, disabled).flags(Flags::STALE)
}

/// The same, allowed while data is loading.
const fn anytime(name: &'static str, arity: i32) -> CommandSpec {
    query(name, arity).flags(Flags::ANY_TIME)
}

/// A subcommand that changes the configuration of the cluster.
const fn admin(name: &'static str, arity: i32) -> CommandSpec {
    query(name, arity).flags(Flags::ADMIN.or(Flags::NO_ASYNC_LOADING))
}

/// `CLUSTER KEYSLOT key`
const KEYSLOT: CommandSpec = BASE
    .named("keyslot", 3, keyslot)
    .flags(Flags::STALE)
    .summary("Returns the slot of a key.")
    .complexity("O(N) in the length of the key")
    .args(&[Arg::string("key")]);
fn keyslot(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.reply.integer(i64::from(slot_of(ctx.arg(2))));
    Ok(Outcome::Done)
}

/// Slots of a cluster, by the specification of Redis Cluster.
const SLOTS: u16 = 16_384;

/// The slot of a key: the CRC of what stands between its first `{` and the next `}`, or of the
/// whole key when there is nothing between them.
fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC16 of the XMODEM protocol: polynomial 0x1021, no reflection, starting at zero.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // The check value of the specification.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"a"), 15_495);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_ne!(slot_of(b"foo{}{bar}"), slot_of(b"bar"));
        assert_eq!(slot_of(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
        assert_eq!(slot_of(b""), 0);
    }
}

//! Commands that concern the process: its configuration, its files, other servers.

mod acl;
mod failover;
mod migrate;
mod replication;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use engine::execute::CommandSpec;

/// The commands of every group, those of the engine first.
pub(crate) fn groups() -> Vec<&'static [&'static CommandSpec]> {
    [
        engine::commands::GROUPS,
        &[
            server::COMMANDS,
            replication::COMMANDS,
            &[&acl::ACL, &failover::FAILOVER, &migrate::MIGRATE],
        ],
    ]
    .concat()
}

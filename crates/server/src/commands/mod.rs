//! Commands that concern the process: its configuration, its files, other servers.

mod migrate;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use engine::execute::CommandSpec;

/// The commands of every group, those of the engine first.
pub(crate) const GROUPS: &[&[&CommandSpec]] = &[
    engine::commands::bitmap::COMMANDS,
    engine::commands::cluster::COMMANDS,
    engine::commands::connection::COMMANDS,
    engine::commands::generic::COMMANDS,
    engine::commands::geo::COMMANDS,
    engine::commands::hash::COMMANDS,
    engine::commands::hyperloglog::COMMANDS,
    engine::commands::list::COMMANDS,
    engine::commands::scripting::COMMANDS,
    engine::commands::server::COMMANDS,
    engine::commands::set::COMMANDS,
    engine::commands::stream::COMMANDS,
    engine::commands::string::COMMANDS,
    engine::commands::transactions::COMMANDS,
    engine::commands::zset::COMMANDS,
    server::COMMANDS,
    &[&migrate::MIGRATE],
];

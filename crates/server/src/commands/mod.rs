//! All commands, one file or folder per group.

pub mod connection;
pub mod generic;
pub mod scripting;
pub mod server;
pub mod string;
pub mod transactions;

use crate::client::Session;
use crate::command::Command;
use crate::error::CommandError;
use crate::server::Server;
use crate::table::Entry;

/// The commands of every group.
pub const GROUPS: &[&[&Command]] = &[
    connection::COMMANDS,
    generic::COMMANDS,
    scripting::COMMANDS,
    server::COMMANDS,
    string::COMMANDS,
    transactions::COMMANDS,
];

/// Commands gated by a parameter (`enable-debug-command`): `no`, `local` or `yes`.
pub fn check_protected(
    server: &Server,
    session: &Session,
    entry: &Entry,
) -> Result<(), CommandError> {
    server::debug::check_enabled(server, session, entry)
}

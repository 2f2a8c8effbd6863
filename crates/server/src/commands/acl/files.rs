//! ACL LOAD and SAVE.

use engine::command::Locks;
use engine::config::P;
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};

use super::change::close;
use super::{ADMIN, ALL_NODES};
use crate::config::users;

const NO_FILE: CommandError = CommandError::line(
    "ERR This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command \
     and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the \
     configuration.",
);

pub(super) const LOAD: CommandSpec = ADMIN
    .named("load", 2, load)
    .summary("Takes the users of the ACL file in place of those that there are.")
    .complexity("O(N) in the number of users and clients")
    .locks(Locks::All);
fn load(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.engine.config.bytes(P::AclFile).is_empty() {
        return Err(NO_FILE);
    }
    let users = users::read_file(ctx.engine)
        .map_err(|errors| CommandError::Bytes([b"ERR ", errors.as_slice()].concat()))?;
    let lost = ctx.engine.replace_users(users);
    close(ctx, &lost);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const SAVE: CommandSpec = ADMIN
    .named("save", 2, save)
    .summary("Writes all users into the ACL file.")
    .complexity("O(N) in the number of users")
    .hints(ALL_NODES);
fn save(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.engine.config.bytes(P::AclFile).is_empty() {
        return Err(NO_FILE);
    }
    users::write_file(ctx.engine).map_err(|reason| {
        log::warn!("Writing the ACL file for ACL SAVE: {reason}");
        CommandError::line(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
        )
    })?;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

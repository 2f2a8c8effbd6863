//! ACL: users and their rights.

mod change;
mod files;
mod log;
mod show;

use engine::command::{Flags, Group};
use engine::context::Context;
use engine::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const ACL: CommandSpec = CommandSpec::container("acl", -2)
    .group(Group::Server)
    .since("6.0.0")
    .summary("A container for commands about users and their rights.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &show::CAT,
        &change::DELUSER,
        &show::DRYRUN,
        &change::GENPASS,
        &show::GETUSER,
        &HELP,
        &show::LIST,
        &files::LOAD,
        &log::LOG,
        &files::SAVE,
        &change::SETUSER,
        &show::USERS,
        &show::WHOAMI,
    ]);

/// A subcommand that any user may run that may run ACL.
const OPEN: CommandSpec = CommandSpec::BASE
    .group(Group::Server)
    .since("6.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::ANY_TIME));

/// A subcommand of administrators.
const ADMIN: CommandSpec = OPEN.flags(Flags::ADMIN);

/// The request goes to all nodes of a cluster.
const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const HELP: CommandSpec = CommandSpec::new("help", 2, help)
    .group(Group::Server)
    .since("6.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of ACL.")
    .complexity("O(1)");
fn help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "CAT [<category>]",
        "    Names of the categories, or of the commands in one.",
        "DELUSER <username> [<username> ...]",
        "    Removes users and closes their connections.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Whether a user may run a command, without running it.",
        "GENPASS [<bits>]",
        "    A random password of 256 bits, or of as many as given.",
        "GETUSER <username>",
        "    The rules of a user, part by part.",
        "LIST",
        "    All users as lines of a configuration file.",
        "LOAD",
        "    Takes the users of the ACL file in place of those that there are.",
        "LOG [<count> | RESET]",
        "    The last commands that were denied and logins that failed.",
        "SAVE",
        "    Writes all users into the ACL file.",
        "SETUSER <username> <rule> [<rule> ...]",
        "    Changes a user, or adds one.",
        "USERS",
        "    Names of all users.",
        "WHOAMI",
        "    The user of this connection.",
    ]);
    Ok(Outcome::Done)
}

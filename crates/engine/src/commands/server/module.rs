//! MODULE: modules are C libraries against an interface of one C program, so none can be loaded,
//! and the list of loaded ones is empty.

use crate::command::{Arg, Flags, Group};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(crate) const MODULE: CommandSpec = CommandSpec::container("module", -2)
    .group(Group::Server)
    .since("4.0.0")
    .summary("A container for commands about modules.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &MODULE_HELP,
        &MODULE_LIST,
        &MODULE_LOAD,
        &MODULE_LOADEX,
        &MODULE_UNLOAD,
    ]);

/// What the commands that change the list have in common.
const CHANGE: CommandSpec = CommandSpec::BASE
    .group(Group::Server)
    .since("4.0.0")
    .flags(Flags::NO_ASYNC_LOADING.or(Flags::ADMIN).or(Flags::NOSCRIPT))
    .flags(Flags::PROTECTED)
    .complexity("O(1)");

const MODULE_LIST: CommandSpec = CommandSpec::new("list", 2, list)
    .group(Group::Server)
    .since("4.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT))
    .summary("Lists the loaded modules.")
    .complexity("O(1)")
    .hints(&["nondeterministic_output_order"]);
fn list(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.reply.empty_array();
    Ok(Outcome::Done)
}

const MODULE_LOAD: CommandSpec = CHANGE
    .named("load", -3, load)
    .summary("Loads a module: always refused.")
    .args(&[
        Arg::string("path"),
        Arg::string("arg").optional().multiple(),
    ]);

const MODULE_LOADEX: CommandSpec = CHANGE
    .named("loadex", -3, load)
    .since("7.0.0")
    .summary("Loads a module with parameters: always refused.")
    .args(&[
        Arg::string("path"),
        Arg::block("configs")
            .option("CONFIG")
            .multiple_token()
            .args(&[Arg::string("name"), Arg::string("value")]),
        Arg::string("args").option("ARGS").multiple(),
    ]);

fn load(ctx: &mut Context<'_, '_>) -> CommandResult {
    log::warn!(
        "Module {} failed to load: Lodestore does not load modules",
        resp::quoted(ctx.arg(2))
    );
    Err(CommandError::line(
        "ERR Error loading the extension. Please check the server logs.",
    ))
}

const MODULE_UNLOAD: CommandSpec = CHANGE
    .named("unload", 3, unload)
    .summary("Unloads a module.")
    .args(&[Arg::string("name")]);
fn unload(_: &mut Context<'_, '_>) -> CommandResult {
    Err(CommandError::line(
        "ERR Error unloading module: no such module with that name",
    ))
}

const MODULE_HELP: CommandSpec = CommandSpec::new("help", 2, help)
    .group(Group::Server)
    .since("5.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of MODULE.")
    .complexity("O(1)");
fn help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "LIST",
        "    The loaded modules: none.",
        "LOAD <path> [<arg> ...]",
        "    Loads a module: always refused.",
        "LOADEX <path> [CONFIG <name> <value> ...] [ARGS <arg> ...]",
        "    The same, with parameters.",
        "UNLOAD <name>",
        "    Unloads a module.",
    ]);
    Ok(Outcome::Done)
}

//! ACL CAT, DRYRUN, GETUSER, LIST, USERS and WHOAMI.

use engine::command::{Arg, Categories};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::table::Resolved;
use engine::users::{Checked, DEFAULT_USER, Selector, hex};
use resp::Reply;

use super::{ADMIN, OPEN};

/// The most of a client's text that an error repeats, in bytes, as in Redis.
const SHOWN_MAX: usize = 128;

pub(super) const CAT: CommandSpec = OPEN
    .named("cat", -2, cat)
    .summary("Lists the categories of commands, or the commands in one.")
    .complexity("O(N) in the number of commands")
    .args(&[Arg::string("category").optional()]);
fn cat(ctx: &mut Context<'_, '_>) -> CommandResult {
    let names: Vec<&str> = match ctx.args.len() {
        2 => Categories::ALL.names().collect(),
        3 => {
            let category = Categories::named(ctx.arg(2)).ok_or_else(|| {
                let name = ctx.arg(2);
                let name = name.get(..SHOWN_MAX).unwrap_or(name);
                CommandError::Bytes([b"ERR Unknown category '", name, b"'"].concat())
            })?;
            let commands = ctx.engine.commands.entries().iter();
            commands
                .filter(|command| command.spec.all_categories().has(category))
                .map(|command| command.full_name)
                .collect()
        }
        _ => return Err(ctx.subcommand_arity_error()),
    };
    reply_words(&mut ctx.reply, &names);
    Ok(Outcome::Done)
}

fn reply_words(reply: &mut Reply<'_>, words: &[&str]) {
    reply.array(words.len());
    for word in words {
        reply.bulk(word.as_bytes());
    }
}

pub(super) const DRYRUN: CommandSpec = ADMIN
    .named("dryrun", -4, dryrun)
    .since("7.0.0")
    .summary("Tells whether a user may run a command, without running it.")
    .complexity("O(N) in the number of keys and patterns")
    .args(&[
        Arg::string("username"),
        Arg::string("command"),
        Arg::string("arg").optional().multiple(),
    ]);
fn dryrun(ctx: &mut Context<'_, '_>) -> CommandResult {
    let refused = |start: &[u8], what: &[u8]| {
        Err(CommandError::Bytes([start, what, b"' not found"].concat()))
    };
    let Some(user) = ctx.engine.users.get(ctx.arg(2)) else {
        return refused(b"ERR User '", ctx.arg(2));
    };
    let args = ctx.args.skip(3);
    let Resolved::Command(command) = ctx.engine.commands.resolve(args) else {
        return refused(b"ERR Command '", args.arg(0));
    };
    if !command.spec.arity_fits(args.len()) {
        return Err(CommandError::owned(format!(
            "ERR wrong number of arguments for '{}' command",
            command.full_name
        )));
    }
    let checked = Checked {
        command,
        args,
        db: ctx.session.transaction_db(),
        databases: ctx.engine.keyspace.databases(),
    };
    match user.rules().check(checked) {
        Ok(()) => ctx.reply.ok(),
        Err(denied) => {
            let text = denied.description(user.name(), command, args);
            ctx.reply.bulk(&text);
        }
    }
    Ok(Outcome::Done)
}

pub(super) const GETUSER: CommandSpec = ADMIN
    .named("getuser", 3, getuser)
    .summary("Returns the rules of a user.")
    .complexity("O(N) in the number of rules")
    .secrets(|_, index| index >= 2)
    .args(&[Arg::string("username")]);
fn getuser(ctx: &mut Context<'_, '_>) -> CommandResult {
    let Some(user) = ctx.engine.users.get(ctx.arg(2)) else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    let rules = user.rules();
    let reply = &mut ctx.reply;
    reply.map(7);
    reply.bulk(b"flags");
    let flags: Vec<&str> = rules.flags().collect();
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"passwords");
    reply.array(rules.passwords.len());
    for hash in &rules.passwords {
        reply.bulk(hex(hash).as_bytes());
    }
    if let Some((root, others)) = rules.selectors().split_first() {
        reply_selector(reply, root);
        reply.bulk(b"selectors");
        reply.array(others.len());
        for selector in others {
            reply.map(4);
            reply_selector(reply, selector);
        }
    }
    Ok(Outcome::Done)
}

fn reply_selector(reply: &mut Reply<'_>, selector: &Selector) {
    for (name, text) in [
        ("commands", selector.command_rules()),
        ("keys", selector.key_rules()),
        ("channels", selector.channel_rules()),
        ("databases", selector.database_rules()),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(&text);
    }
}

pub(super) const LIST: CommandSpec = ADMIN
    .named("list", 2, list)
    .summary("Returns all users as lines of a configuration file.")
    .complexity("O(N) in the number of users and rules");
fn list(ctx: &mut Context<'_, '_>) -> CommandResult {
    let users = ctx.engine.users.all();
    ctx.reply.array(users.len());
    for user in users {
        let rules = user.rules().describe();
        let line = [b"user ", user.name(), b" ", &rules].concat();
        ctx.reply.bulk(&line);
    }
    Ok(Outcome::Done)
}

pub(super) const USERS: CommandSpec = ADMIN
    .named("users", 2, users)
    .summary("Returns the names of all users.")
    .complexity("O(N) in the number of users");
fn users(ctx: &mut Context<'_, '_>) -> CommandResult {
    let users = ctx.engine.users.all();
    ctx.reply.array(users.len());
    for user in users {
        ctx.reply.bulk(user.name());
    }
    Ok(Outcome::Done)
}

pub(super) const WHOAMI: CommandSpec = OPEN
    .named("whoami", 2, whoami)
    .summary("Returns the user of this connection.")
    .complexity("O(1)");
fn whoami(ctx: &mut Context<'_, '_>) -> CommandResult {
    let user = ctx.session.user.as_ref();
    let name = user.map_or(DEFAULT_USER.as_bytes(), |user| user.name());
    ctx.reply.bulk(name);
    Ok(Outcome::Done)
}

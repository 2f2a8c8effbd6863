//! COPY and MOVE.

use keyspace::NewValue;

use super::database;
use crate::command::*;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

const SAME_OBJECT: CommandError =
    CommandError::line("ERR source and destination objects are the same");

/// Options of COPY.
struct CopyOptions {
    db: u32,
    replace: bool,
}

impl CopyOptions {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut options = Self {
            db: ctx.data.db,
            replace: false,
        };
        let mut index = 3;
        while index < ctx.args.len() {
            if ctx.is_word(index, "replace") {
                options.replace = true;
            } else if ctx.is_word(index, "db") && index + 1 < ctx.args.len() {
                index += 1;
                options.db = database(ctx, index)?;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }
}

/// Every DB option, as the last one counts and the others must not hide it.
fn copy_databases(args: resp::Args<'_>, databases: u32) -> DatabaseArgs {
    let mut indexes = Vec::new();
    let mut index = 3;
    while index < args.len() {
        let is = |word: &str| args.arg(index).eq_ignore_ascii_case(word.as_bytes());
        if is("db") && index + 1 < args.len() {
            index += 1;
            indexes.push(index);
        } else if !is("replace") {
            return DatabaseArgs::new();
        }
        index += 1;
    }
    databases_at(args, databases, indexes)
}

pub(super) const COPY: CommandSpec = CommandSpec::new("copy", -3, copy)
    .group(Group::Generic)
    .since("6.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .categories(Categories::KEYSPACE)
    .databases(copy_databases)
    .summary(
        "Copies the value and the expiry of a key to another key, in this database or another.",
    )
    .complexity("O(1) for strings, O(N) in the number of elements for collections.")
    .keys(&[
        KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS)),
        KeySpec::one(2, KeyFlags::OW.or(KeyFlags::UPDATE)),
    ])
    .args(&[
        Arg::key("source"),
        Arg::DESTINATION.key_spec(1),
        Arg::integer("destination-db").option("DB"),
        Arg::flag("replace", "REPLACE"),
    ]);

pub(super) fn copy(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = CopyOptions::parse(ctx)?;
    let (from, to) = (ctx.key(1), ctx.key(2));
    let db = ctx.data.db;
    if options.db == db && from.bytes == to.bytes {
        return Err(SAME_OBJECT);
    }
    let found = ctx.data.lookup(from).is_some();
    ctx.data.db = options.db;
    let free = found && (!ctx.data.exists(to) || options.replace);
    ctx.data.db = db;
    let source = ctx.data.peek(from).filter(|_| free);
    let Some((value, deadline)) = source.map(|entry| (entry.to_value(), entry.deadline())) else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    ctx.data.db = options.db;
    let before = ctx.data.type_for_events(to);
    ctx.data.remove(to);
    let expiry = deadline.map_or(Expiry::Clear, Expiry::At);
    ctx.data.set(to, NewValue::Owned(value), expiry);
    ctx.data.signal_ready(to);
    ctx.data.notify(EventClass::New, "new", to);
    ctx.data.changed(to, EventClass::Generic, "copy_to");
    ctx.data.notify_overwritten(to, before);
    ctx.data.db = db;
    ctx.reply.integer(1);
    Ok(Outcome::Done)
}

pub(super) const MOVE: CommandSpec = CommandSpec::new("move", 3, move_key)
    .group(Group::Generic)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .categories(Categories::KEYSPACE)
    .databases(|args, count| databases_at(args, count, [2]))
    .summary("Moves a key to another database, if it does not exist there.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::integer("db")]);

pub(super) fn move_key(ctx: &mut Context<'_, '_>) -> CommandResult {
    let target = database(ctx, 2)?;
    let db = ctx.data.db;
    if target == db {
        return Err(SAME_OBJECT);
    }
    let key = ctx.key(1);
    let found = ctx.data.lookup_mut(key).is_some();
    ctx.data.db = target;
    let free = found && !ctx.data.exists(key);
    ctx.data.db = db;
    let Some(old) = free.then(|| ctx.data.take(key)).flatten() else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    ctx.data.signal_ready(key);
    ctx.data.db = target;
    ctx.data.notify(EventClass::New, "new", key);
    ctx.data.db = db;
    ctx.data.changed(key, EventClass::Generic, "move_from");
    ctx.data.db = target;
    let expiry = old.deadline().map_or(Expiry::Clear, Expiry::At);
    ctx.data.set(key, NewValue::Owned(old.into_value()), expiry);
    ctx.data.signal_ready(key);
    ctx.data.touch_watchers(key);
    ctx.data.notify(EventClass::Generic, "move_to", key);
    ctx.data.db = db;
    ctx.reply.integer(1);
    Ok(Outcome::Done)
}

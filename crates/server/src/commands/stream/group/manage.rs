//! XGROUP.

use values::StreamId;

use super::{CONSUMER, GROUP, KEY, ids, no_group_in, word};
use crate::command::*;
use crate::context::{Context, EventClass, Key};
use crate::error::CommandError;

pub(crate) const XGROUP: Command = Command {
    name: "xgroup",
    arity: -2,
    flags: Flags::NONE,
    categories: Categories::SLOW,
    group: Group::Stream,
    since: "5.0.0",
    summary: "Makes, sets and removes consumer groups and their consumers.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        &XGROUP_CREATE,
        &XGROUP_CREATECONSUMER,
        &XGROUP_DELCONSUMER,
        &XGROUP_DESTROY,
        &XGROUP_HELP,
        &XGROUP_SETID,
    ],
    ..Command::BASE
};

/// What the subcommands have in common.
const SUBCOMMAND: Command = Command {
    flags: Flags::WRITE,
    categories: Categories::SLOW
        .or(Categories::STREAM)
        .or(Categories::WRITE),
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(1)",
    ..Command::BASE
};

const ID: Arg = Arg {
    name: "id-selector",
    kind: ArgKind::OneOf,
    args: &[
        Arg {
            name: "id",
            kind: ArgKind::String,
            ..Arg::BASE
        },
        word("new-id", "$"),
    ],
    ..Arg::BASE
};

const ENTRIES_READ: Arg = Arg {
    name: "entriesread",
    kind: ArgKind::Integer,
    token: Some("ENTRIESREAD"),
    display: Some("entries-read"),
    optional: true,
    since: Some("7.0.0"),
    ..Arg::BASE
};

/// MKSTREAM and ENTRIESREAD, which stand behind the id.
#[derive(Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(ctx: &Context<'_, '_>, with_make_stream: bool) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut at = 5;
        while at < ctx.args.len() {
            if with_make_stream && ctx.is_word(at, "mkstream") {
                options.make_stream = true;
                at += 1;
            } else if ctx.is_word(at, "entriesread") && at + 1 < ctx.args.len() {
                options.entries_read = match ctx.integer(at + 1)? {
                    -1 => None,
                    count => Some(u64::try_from(count).map_err(|_| {
                        CommandError::line("ERR value for ENTRIESREAD must be positive or -1")
                    })?),
                };
                at += 2;
            } else {
                return Err(ctx.subcommand_arity_error());
            }
        }
        Ok(options)
    }
}

/// Every subcommand but CREATE with MKSTREAM needs the key.
const NO_KEY: CommandError = CommandError::line(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);

/// A group of the stream at a key that a subcommand changes, for all that need it to be there.
fn group_mut<'a>(
    ctx: &'a mut Context<'_, '_>,
    key: Key<'_>,
    name: &[u8],
) -> Result<&'a mut values::stream::Group, CommandError> {
    let stream = ctx.data.stream_mut(key)?.ok_or(NO_KEY)?;
    let group = stream.groups_mut().get_mut(name);
    group.ok_or_else(|| no_group_in(key, name))
}

/// A group was changed. Watchers of the key watch its entries only.
fn changed(ctx: &mut Context<'_, '_>, key: Key<'_>, event: &'static str) {
    ctx.data.effects.add_dirty(1);
    ctx.data.notify(EventClass::Stream, event, key);
}

const XGROUP_CREATE: Command = Command {
    name: "create",
    arity: -5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::INSERT))],
    summary: "Makes a consumer group that reads from behind an id on.",
    args: &[
        KEY,
        GROUP,
        ID,
        Arg {
            optional: true,
            ..word("mkstream", "MKSTREAM")
        },
        ENTRIES_READ,
    ],
    handler: xgroup_create,
    ..SUBCOMMAND
};

fn xgroup_create(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options::parse(ctx, true)?;
    let (key, name, text) = (ctx.key(2), ctx.arg(3), ctx.arg(4));
    let last_id = match ctx.data.stream_mut(key)? {
        Some(stream) => Some(stream.entries().last_id()),
        None if options.make_stream => None,
        None => return Err(NO_KEY),
    };
    if ctx.args.len() > 8 {
        return Err(ctx.subcommand_arity_error());
    }
    let id = match text {
        b"$" => last_id.unwrap_or(StreamId::MIN),
        _ => ids::strict(text, 0)?,
    };
    let stream = ctx.data.stream_or_new(key)?;
    let created = stream.groups_mut().create(name, id, options.entries_read);
    if created.is_none() {
        return Err(CommandError::line(
            "BUSYGROUP Consumer Group name already exists",
        ));
    }
    if last_id.is_none() {
        ctx.data.touch_watchers(key);
    }
    changed(ctx, key, "xgroup-create");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const XGROUP_SETID: Command = Command {
    name: "setid",
    arity: -5,
    keys: &[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::UPDATE))],
    summary: "Sets the id behind which a group reads on.",
    args: &[KEY, GROUP, ID, ENTRIES_READ],
    handler: xgroup_setid,
    ..SUBCOMMAND
};

fn xgroup_setid(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options::parse(ctx, false)?;
    let (key, name, text) = (ctx.key(2), ctx.arg(3), ctx.arg(4));
    group_mut(ctx, key, name)?;
    if !matches!(ctx.args.len(), 5 | 7) {
        return Err(ctx.subcommand_arity_error());
    }
    let given = match text {
        b"$" => None,
        _ => Some(ids::lenient(text, 0)?),
    };
    let Some(stream) = ctx.data.stream_mut(key)? else {
        return Err(NO_KEY);
    };
    let (entries, groups) = stream.parts_mut();
    if let Some(group) = groups.get_mut(name) {
        group.last_id = given.unwrap_or(entries.last_id());
        group.entries_read = options.entries_read;
    }
    changed(ctx, key, "xgroup-setid");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const XGROUP_DESTROY: Command = Command {
    name: "destroy",
    arity: 4,
    keys: &[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::DELETE))],
    summary: "Removes a group with all that is pending in it.",
    complexity: "O(N) in the number of pending entries.",
    args: &[KEY, GROUP],
    handler: xgroup_destroy,
    ..SUBCOMMAND
};

fn xgroup_destroy(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, name) = (ctx.key(2), ctx.arg(3));
    let stream = ctx.data.stream_mut(key)?.ok_or(NO_KEY)?;
    let removed = stream.groups_mut().remove(name);
    if removed {
        changed(ctx, key, "xgroup-destroy");
        // Who waits as a consumer of this group is told that it is gone.
        ctx.data.signal_ready(key);
    }
    ctx.reply.integer(i64::from(removed));
    Ok(Outcome::Done)
}

const XGROUP_CREATECONSUMER: Command = Command {
    name: "createconsumer",
    arity: 5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::INSERT))],
    since: "6.2.0",
    summary: "Makes a consumer in a group.",
    args: &[KEY, GROUP, CONSUMER],
    handler: xgroup_createconsumer,
    ..SUBCOMMAND
};

fn xgroup_createconsumer(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, name, consumer) = (ctx.key(2), ctx.arg(3), ctx.arg(4));
    let now_ms = ctx.data.now_ms;
    let created = group_mut(ctx, key, name)?.create_consumer(consumer, now_ms);
    if created.is_some() {
        changed(ctx, key, "xgroup-createconsumer");
    }
    ctx.reply.integer(i64::from(created.is_some()));
    Ok(Outcome::Done)
}

const XGROUP_DELCONSUMER: Command = Command {
    name: "delconsumer",
    arity: 5,
    keys: &[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::DELETE))],
    summary: "Removes a consumer with all that it has pending and returns how much that was.",
    args: &[KEY, GROUP, CONSUMER],
    handler: xgroup_delconsumer,
    ..SUBCOMMAND
};

fn xgroup_delconsumer(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, name, consumer) = (ctx.key(2), ctx.arg(3), ctx.arg(4));
    let group = group_mut(ctx, key, name)?;
    let consumer = group.find_consumer(consumer);
    let pending = consumer.map(|consumer| group.remove_consumer(consumer));
    if pending.is_some() {
        changed(ctx, key, "xgroup-delconsumer");
    }
    ctx.reply.integer(pending.unwrap_or(0) as i64);
    Ok(Outcome::Done)
}

const XGROUP_HELP: Command = Command {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.or(Flags::STALE),
    categories: Categories::SLOW.or(Categories::STREAM),
    summary: "Lists the subcommands.",
    handler: xgroup_help,
    ..SUBCOMMAND
};

fn xgroup_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "CREATE <key> <groupname> <id|$> [option]",
        "    Make a consumer group that reads from behind an id on. Options are:",
        "    * MKSTREAM",
        "      Make an empty stream if there is none.",
        "    * ENTRIESREAD entries_read",
        "      Say how many entries the group has read up to the id.",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Make a consumer in the group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the consumer with what it has pending.",
        "DESTROY <key> <groupname>",
        "    Remove the group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the id behind which the group reads on.",
    ]);
    Ok(Outcome::Done)
}

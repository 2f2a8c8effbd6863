//! XGROUP.

use values::StreamId;

use super::position;
use super::{CONSUMER, GROUP, ids, no_group_in};
use crate::command::*;
use crate::context::{Context, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

pub(crate) const XGROUP: CommandSpec = CommandSpec::container("xgroup", -2)
    .group(Group::Stream)
    .since("5.0.0")
    .summary("A container for consumer group commands.")
    .complexity("Depends on the subcommand.")
    .subcommands(&[
        &XGROUP_CREATE,
        &XGROUP_CREATECONSUMER,
        &XGROUP_DELCONSUMER,
        &XGROUP_DESTROY,
        &XGROUP_HELP,
        &XGROUP_SETID,
    ]);

/// The specification that the subcommands share.
const SUBCOMMAND: CommandSpec = CommandSpec::BASE
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::WRITE)
    .complexity("O(1)");

const ID: Arg = Arg::one_of("id-selector").args(&[Arg::string("id"), Arg::word("new-id", "$")]);

const ENTRIES_READ: Arg = Arg::integer("entriesread")
    .option("ENTRIESREAD")
    .display("entries-read")
    .since("7.0.0");

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

/// An existing group of the stream at a key, for a subcommand that changes it.
fn group_mut<'a>(
    ctx: &'a mut Context<'_, '_>,
    key: Key<'_>,
    name: &[u8],
) -> Result<&'a mut values::stream::Group, CommandError> {
    let stream = ctx.data.stream_mut(key)?.ok_or(NO_KEY)?;
    let group = stream.groups_mut().get_mut(name);
    group.ok_or_else(|| no_group_in(key, name))
}

/// Announces a change of a group. It does not count as a change for WATCH, as in Redis.
fn changed(ctx: &mut Context<'_, '_>, key: Key<'_>, event: &'static str) {
    ctx.data.effects.add_dirty(1);
    ctx.data.notify(EventClass::Stream, event, key);
}

const XGROUP_CREATE: CommandSpec = SUBCOMMAND
    .named("create", -5, xgroup_create)
    .flags(Flags::DENYOOM)
    .summary("Creates a consumer group that reads entries after an id.")
    .keys(&[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[
        Arg::KEY,
        GROUP,
        ID,
        Arg::flag("mkstream", "MKSTREAM"),
        ENTRIES_READ,
    ]);

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
    let (entries, groups) = ctx.data.stream_or_new(key)?.parts_mut();
    let entries_read = position::bounded(entries, options.entries_read);
    let created = groups.create(name, id, entries_read);
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

const XGROUP_SETID: CommandSpec = SUBCOMMAND
    .named("setid", -5, xgroup_setid)
    .summary("Sets the last-delivered id of a group.")
    .keys(&[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[Arg::KEY, GROUP, ID, ENTRIES_READ]);

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
        group.entries_read = position::bounded(entries, options.entries_read);
    }
    changed(ctx, key, "xgroup-setid");
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const XGROUP_DESTROY: CommandSpec = SUBCOMMAND
    .named("destroy", 4, xgroup_destroy)
    .summary("Removes a consumer group with its pending entries.")
    .complexity("O(N) in the number of pending entries.")
    .keys(&[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, GROUP]);

fn xgroup_destroy(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (key, name) = (ctx.key(2), ctx.arg(3));
    let stream = ctx.data.stream_mut(key)?.ok_or(NO_KEY)?;
    let removed = stream.groups_mut().remove(name);
    if removed {
        changed(ctx, key, "xgroup-destroy");
        // Unblocks consumers of this group: it is gone.
        ctx.data.signal_ready(key);
    }
    ctx.reply.integer(i64::from(removed));
    Ok(Outcome::Done)
}

const XGROUP_CREATECONSUMER: CommandSpec = SUBCOMMAND
    .named("createconsumer", 5, xgroup_createconsumer)
    .since("6.2.0")
    .flags(Flags::DENYOOM)
    .summary("Creates a consumer in a group.")
    .keys(&[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[Arg::KEY, GROUP, CONSUMER]);

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

const XGROUP_DELCONSUMER: CommandSpec = SUBCOMMAND
    .named("delconsumer", 5, xgroup_delconsumer)
    .summary("Removes a consumer and returns how many pending entries it had.")
    .keys(&[KeySpec::one(2, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, GROUP, CONSUMER]);

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

const XGROUP_HELP: CommandSpec = CommandSpec::new("help", 2, xgroup_help)
    .group(Group::Stream)
    .since("5.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands.")
    .complexity("O(1)");

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

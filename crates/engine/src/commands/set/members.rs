//! Adding, removing, moving and finding members.

use keyspace::{NewValue, Value};
use values::{Set, SetView};

use crate::command::*;
use crate::commands::string::length;
use crate::context::{Context, ElementReply, EventClass, Expiry};
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const SADD: CommandSpec = CommandSpec::new("sadd", -3, sadd)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Adds members to a set; makes the set when there is none.")
    .complexity("O(N) in the number of members given.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[Arg::KEY, Arg::MEMBERS]);
pub(super) fn sadd(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let members = ctx.args.skip(2);
    let limits = ctx.thresholds();
    let add = |set: &mut Set| {
        let new = members.iter().filter(|member| set.add(member, &limits));
        new.count()
    };
    let added = match ctx.data.set_mut(key)? {
        Some(set) => {
            set.prepare(members.len(), &limits);
            add(set)
        }
        None => {
            let mut set = Set::with_capacity_hint(members.arg(0), members.len(), &limits);
            let added = add(&mut set);
            let value = NewValue::Owned(Value::Set(set));
            ctx.data.set(key, value, Expiry::Clear);
            ctx.data.notify(EventClass::New, "new", key);
            added
        }
    };
    if added > 0 {
        ctx.data
            .changed_times(added as u64, key, EventClass::Set, "sadd");
    }
    ctx.reply.integer(length(added));
    Ok(Outcome::Done)
}

pub(super) const SREM: CommandSpec = CommandSpec::new("srem", -3, srem)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Removes members from a set, and the set with its last member.")
    .complexity("O(N) in the number of members given.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, Arg::MEMBERS]);
pub(super) fn srem(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let members = ctx.args.skip(2);
    let removed = match ctx.data.set_mut(key)? {
        Some(set) => members.iter().filter(|member| set.remove(member)).count(),
        None => 0,
    };
    if removed > 0 {
        ctx.data
            .changed_times(removed as u64, key, EventClass::Set, "srem");
        ctx.data.drop_if_empty(key);
    }
    ctx.reply.integer(length(removed));
    Ok(Outcome::Done)
}

pub(super) const SMOVE: CommandSpec = CommandSpec::new("smove", 4, smove)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Moves a member of a set to another set.")
    .complexity("O(1)")
    .keys(&[
        KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE),
        KeySpec::one(2, KeyFlags::RW.or(KeyFlags::INSERT)),
    ])
    .args(&[
        Arg::key("source"),
        Arg::DESTINATION.key_spec(1),
        Arg::MEMBER,
    ]);
pub(super) fn smove(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (from, to) = (ctx.key(1), ctx.key(2));
    let member = ctx.arg(3);
    let Some(source) = ctx.data.set_mut(from)? else {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    };
    let is_member = source.contains(member);
    // Also where nothing is moved: the destination must be a set.
    ctx.data.set_mut(to)?;
    if is_member && from.bytes != to.bytes {
        if let Some(source) = ctx.data.set_mut(from)? {
            source.remove(member);
        }
        ctx.data.changed(from, EventClass::Set, "srem");
        ctx.data.drop_if_empty(from);
        let limits = ctx.thresholds();
        if ctx.data.set_or_new(to)?.add(member, &limits) {
            ctx.data.changed(to, EventClass::Set, "sadd");
        }
    }
    ctx.reply.integer(i64::from(is_member));
    Ok(Outcome::Done)
}

pub(super) const SCARD: CommandSpec = CommandSpec::new("scard", 2, scard)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the number of members of a set.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY]);
pub(super) fn scard(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let members = ctx.data.set_ref(key)?.map_or(0, SetView::len);
    ctx.reply.integer(length(members));
    Ok(Outcome::Done)
}

pub(super) const SISMEMBER: CommandSpec = CommandSpec::new("sismember", 3, sismember)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns whether a member is in a set.")
    .complexity("O(1)")
    .keys(&[KeySpec::one(1, KeyFlags::RO)])
    .args(&[Arg::KEY, Arg::MEMBER]);
pub(super) fn sismember(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let member = ctx.arg(2);
    let found = ctx
        .data
        .set_ref(key)?
        .is_some_and(|set| set.contains(member));
    ctx.reply.integer(i64::from(found));
    Ok(Outcome::Done)
}

pub(super) const SMISMEMBER: CommandSpec = CommandSpec::new("smismember", -3, smismember)
    .group(Group::Set)
    .since("6.2.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns for each of several members whether it is in a set.")
    .complexity("O(N) in the number of words given.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::MEMBERS]);
pub(super) fn smismember(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let words = ctx.args.skip(2);
    let set = ctx.data.set_ref(key)?;
    ctx.reply.array(words.len());
    match set {
        Some(set) => set.contains_many(words.iter(), |found| ctx.reply.integer(i64::from(found))),
        None => words.iter().for_each(|_| ctx.reply.integer(0)),
    }
    Ok(Outcome::Done)
}

pub(super) const SMEMBERS: CommandSpec = CommandSpec::new("smembers", 2, smembers)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .summary("Returns every member of a set.")
    .complexity("O(N) in the number of members.")
    .hints(&["nondeterministic_output_order"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY]);
pub(super) fn smembers(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let set = ctx.data.set_ref(key)?;
    ctx.reply.set(set.map_or(0, SetView::len));
    if let Some(set) = set {
        set.iter().for_each(|member| ctx.reply.element(member));
    }
    Ok(Outcome::Done)
}

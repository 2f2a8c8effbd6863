//! Deadlines of single members, as HEXPIRE has them for fields: ZEXPIRE, ZTTL, ZPERSIST and their
//! variants.

use values::{SortedSet, SortedSetView};

use crate::command::*;
use crate::commands::element_expiry::syntax::{
    MEMBERS, MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS,
};
use crate::commands::element_expiry::{self, Deadlines, Volatile, Words};
use crate::commands::string::Unit;
use crate::context::{Context, Data, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec};
use crate::keys::Key;

impl Deadlines for SortedSetView {
    fn deadline_of(&self, element: &[u8]) -> Option<Option<u64>> {
        self.deadline(element)
    }
}

impl Volatile for SortedSet {
    const WORDS: Words = Words {
        only_here: true,
        list: "MEMBERS",
        miscounted: "ERR nummembers should be greater than 0 and match the provided number of members",
        remove: b"ZREM",
        expire_at: b"ZPEXPIREAT",
        persist: b"ZPERSIST",
        class: EventClass::ZSet,
        expires: "zexpire",
        expired: "zexpired",
        persists: "zpersist",
    };

    fn read<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a SortedSetView>, CommandError> {
        data.zset(key)
    }

    fn edit<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a mut Self>, CommandError> {
        data.zset_mut(key)
    }

    /// A member past its deadline stays visible until it is removed.
    fn view_ms(_: &Data<'_, '_>) -> u64 {
        0
    }

    fn set_deadline(&mut self, element: &[u8], deadline: Option<u64>) -> bool {
        self.set_deadline(element, deadline)
    }

    fn remove_element(&mut self, element: &[u8]) -> bool {
        self.remove(element).is_some()
    }
}

/// The specification that the commands share which set or remove an expiry.
const SETTER: CommandSpec = CommandSpec::BASE
    .group(Group::SortedSet)
    .since("0.1.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .complexity("O(N) where N is the number of specified members.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))]);

pub(super) const ZEXPIRE: CommandSpec = SETTER
    .named("zexpire", -6, zexpire)
    .summary("Sets the expiry of members of a sorted set, in seconds from now.")
    .args(&[Arg::KEY, SECONDS, Arg::NX_XX_GT_OR_LT, MEMBERS]);

pub(super) fn zexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<SortedSet>(ctx, Unit::Seconds)
}

pub(super) const ZPEXPIRE: CommandSpec = SETTER
    .named("zpexpire", -6, zpexpire)
    .summary("Sets the expiry of members of a sorted set, in milliseconds from now.")
    .args(&[Arg::KEY, MILLISECONDS, Arg::NX_XX_GT_OR_LT, MEMBERS]);

pub(super) fn zpexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<SortedSet>(ctx, Unit::Milliseconds)
}

pub(super) const ZEXPIREAT: CommandSpec = SETTER
    .named("zexpireat", -6, zexpireat)
    .summary("Sets the expiry of members of a sorted set, as a Unix time in seconds.")
    .args(&[Arg::KEY, UNIX_SECONDS, Arg::NX_XX_GT_OR_LT, MEMBERS]);

pub(super) fn zexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<SortedSet>(ctx, Unit::UnixSeconds)
}

pub(super) const ZPEXPIREAT: CommandSpec = SETTER
    .named("zpexpireat", -6, zpexpireat)
    .summary("Sets the expiry of members of a sorted set, as a Unix time in milliseconds.")
    .args(&[Arg::KEY, UNIX_MILLISECONDS, Arg::NX_XX_GT_OR_LT, MEMBERS]);

pub(super) fn zpexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<SortedSet>(ctx, Unit::UnixMilliseconds)
}

/// The specification that the commands share which return an expiry.
const GETTER: CommandSpec = CommandSpec::BASE
    .group(Group::SortedSet)
    .since("0.1.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .complexity("O(N) where N is the number of specified members.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))]);

pub(super) const ZTTL: CommandSpec = GETTER
    .named("zttl", -5, zttl)
    .summary(
        "Returns how long members of a sorted set will live, in seconds; -1 without deadline, \
         -2 for a missing member.",
    )
    .hints(&["nondeterministic_output"])
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn zttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<SortedSet>(ctx, Unit::Seconds)
}

pub(super) const ZPTTL: CommandSpec = GETTER
    .named("zpttl", -5, zpttl)
    .summary(
        "Returns how long members of a sorted set will live, in milliseconds; -1 without \
         deadline, -2 for a missing member.",
    )
    .hints(&["nondeterministic_output"])
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn zpttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<SortedSet>(ctx, Unit::Milliseconds)
}

pub(super) const ZEXPIRETIME: CommandSpec = GETTER
    .named("zexpiretime", -5, zexpiretime)
    .summary(
        "Returns the deadlines of members of a sorted set as Unix times in seconds; -1 without \
         deadline, -2 for a missing member.",
    )
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn zexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<SortedSet>(ctx, Unit::UnixSeconds)
}

pub(super) const ZPEXPIRETIME: CommandSpec = GETTER
    .named("zpexpiretime", -5, zpexpiretime)
    .summary(
        "Returns the deadlines of members of a sorted set as Unix times in milliseconds; -1 \
         without deadline, -2 for a missing member.",
    )
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn zpexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<SortedSet>(ctx, Unit::UnixMilliseconds)
}

pub(super) const ZPERSIST: CommandSpec = SETTER
    .named("zpersist", -5, zpersist)
    .summary("Removes the expiry of members of a sorted set.")
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn zpersist(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::persist::<SortedSet>(ctx)
}

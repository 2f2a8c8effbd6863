//! Deadlines of single members, as HEXPIRE has them for fields: SEXPIRE, STTL, SPERSIST and their
//! variants.

use values::{Set, SetView};

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

impl Deadlines for SetView {
    fn deadline_of(&self, element: &[u8]) -> Option<Option<u64>> {
        self.deadline(element)
    }
}

impl Volatile for Set {
    const WORDS: Words = Words {
        only_here: true,
        list: "MEMBERS",
        miscounted: "ERR nummembers should be greater than 0 and match the provided number of members",
        remove: b"SREM",
        expire_at: b"SPEXPIREAT",
        persist: b"SPERSIST",
        class: EventClass::Set,
        expires: "sexpire",
        expired: "sexpired",
        persists: "spersist",
    };

    fn read<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a SetView>, CommandError> {
        data.set_ref(key)
    }

    fn edit<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a mut Self>, CommandError> {
        data.set_mut(key)
    }

    /// A member past its deadline stays visible until it is removed.
    fn view_ms(_: &Data<'_, '_>) -> u64 {
        0
    }

    fn set_deadline(&mut self, element: &[u8], deadline: Option<u64>) -> bool {
        self.set_deadline(element, deadline)
    }

    fn remove_element(&mut self, element: &[u8]) -> bool {
        self.remove(element)
    }
}

/// The specification that the commands share which set or remove an expiry.
const SETTER: CommandSpec = CommandSpec::BASE
    .group(Group::Set)
    .since("0.1.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .complexity("O(N) where N is the number of specified members.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))]);

pub(super) const SEXPIRE: CommandSpec = SETTER
    .named("sexpire", -6, sexpire)
    .summary("Sets the expiry of members of a set, in seconds from now.")
    .args(&[Arg::KEY, SECONDS, Arg::NX_XX_GT_OR_LT, MEMBERS]);

pub(super) fn sexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Set>(ctx, Unit::Seconds)
}

pub(super) const SPEXPIRE: CommandSpec = SETTER
    .named("spexpire", -6, spexpire)
    .summary("Sets the expiry of members of a set, in milliseconds from now.")
    .args(&[Arg::KEY, MILLISECONDS, Arg::NX_XX_GT_OR_LT, MEMBERS]);

pub(super) fn spexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Set>(ctx, Unit::Milliseconds)
}

pub(super) const SEXPIREAT: CommandSpec = SETTER
    .named("sexpireat", -6, sexpireat)
    .summary("Sets the expiry of members of a set, as a Unix time in seconds.")
    .args(&[Arg::KEY, UNIX_SECONDS, Arg::NX_XX_GT_OR_LT, MEMBERS]);

pub(super) fn sexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Set>(ctx, Unit::UnixSeconds)
}

pub(super) const SPEXPIREAT: CommandSpec = SETTER
    .named("spexpireat", -6, spexpireat)
    .summary("Sets the expiry of members of a set, as a Unix time in milliseconds.")
    .args(&[Arg::KEY, UNIX_MILLISECONDS, Arg::NX_XX_GT_OR_LT, MEMBERS]);

pub(super) fn spexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Set>(ctx, Unit::UnixMilliseconds)
}

/// The specification that the commands share which return an expiry.
const GETTER: CommandSpec = CommandSpec::BASE
    .group(Group::Set)
    .since("0.1.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .complexity("O(N) where N is the number of specified members.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))]);

pub(super) const STTL: CommandSpec = GETTER
    .named("sttl", -5, sttl)
    .summary(
        "Returns how long members of a set will live, in seconds; -1 without deadline, -2 for a \
         missing member.",
    )
    .hints(&["nondeterministic_output"])
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn sttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Set>(ctx, Unit::Seconds)
}

pub(super) const SPTTL: CommandSpec = GETTER
    .named("spttl", -5, spttl)
    .summary(
        "Returns how long members of a set will live, in milliseconds; -1 without deadline, -2 \
         for a missing member.",
    )
    .hints(&["nondeterministic_output"])
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn spttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Set>(ctx, Unit::Milliseconds)
}

pub(super) const SEXPIRETIME: CommandSpec = GETTER
    .named("sexpiretime", -5, sexpiretime)
    .summary(
        "Returns the deadlines of members of a set as Unix times in seconds; -1 without \
         deadline, -2 for a missing member.",
    )
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn sexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Set>(ctx, Unit::UnixSeconds)
}

pub(super) const SPEXPIRETIME: CommandSpec = GETTER
    .named("spexpiretime", -5, spexpiretime)
    .summary(
        "Returns the deadlines of members of a set as Unix times in milliseconds; -1 without \
         deadline, -2 for a missing member.",
    )
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn spexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Set>(ctx, Unit::UnixMilliseconds)
}

pub(super) const SPERSIST: CommandSpec = SETTER
    .named("spersist", -5, spersist)
    .summary("Removes the expiry of members of a set.")
    .args(&[Arg::KEY, MEMBERS]);

pub(super) fn spersist(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::persist::<Set>(ctx)
}

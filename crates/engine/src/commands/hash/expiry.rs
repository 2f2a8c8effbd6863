//! Deadlines of single fields: HEXPIRE, HTTL, HPERSIST and their variants.

use values::{Hash, HashView};

use crate::command::*;
use crate::commands::element_expiry::syntax::{
    FIELDS, MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS,
};
use crate::commands::element_expiry::{self, Deadlines, Volatile, Words};
use crate::commands::string::Unit;
use crate::context::{Context, Data, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec};
use crate::keys::Key;

impl Deadlines for HashView {
    fn deadline_of(&self, element: &[u8]) -> Option<Option<u64>> {
        self.deadline(element)
    }
}

impl Volatile for Hash {
    const WORDS: Words = Words {
        only_here: false,
        list: "FIELDS",
        miscounted: "ERR numfields should be greater than 0 and match the provided number of fields",
        remove: b"HDEL",
        expire_at: b"HPEXPIREAT",
        persist: b"HPERSIST",
        class: EventClass::Hash,
        expires: "hexpire",
        expired: "hexpired",
        persists: "hpersist",
    };

    fn read<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a HashView>, CommandError> {
        data.hash(key)
    }

    fn edit<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a mut Self>, CommandError> {
        data.hash_mut(key)
    }

    fn view_ms(data: &Data<'_, '_>) -> u64 {
        data.view_ms()
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
    .group(Group::Hash)
    .since("9.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .complexity("O(N) in the number of fields that are named.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))]);

pub(super) const HEXPIRE: CommandSpec = SETTER
    .named("hexpire", -6, hexpire)
    .summary("Sets the expiry of fields of a hash, in seconds from now.")
    .args(&[Arg::KEY, SECONDS, Arg::NX_XX_GT_OR_LT, FIELDS]);

pub(super) fn hexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Hash>(ctx, Unit::Seconds)
}

pub(super) const HPEXPIRE: CommandSpec = SETTER
    .named("hpexpire", -6, hpexpire)
    .summary("Sets the expiry of fields of a hash, in milliseconds from now.")
    .args(&[Arg::KEY, MILLISECONDS, Arg::NX_XX_GT_OR_LT, FIELDS]);

pub(super) fn hpexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Hash>(ctx, Unit::Milliseconds)
}

pub(super) const HEXPIREAT: CommandSpec = SETTER
    .named("hexpireat", -6, hexpireat)
    .summary("Sets the expiry of fields of a hash, as a Unix time in seconds.")
    .args(&[Arg::KEY, UNIX_SECONDS, Arg::NX_XX_GT_OR_LT, FIELDS]);

pub(super) fn hexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Hash>(ctx, Unit::UnixSeconds)
}

pub(super) const HPEXPIREAT: CommandSpec = SETTER
    .named("hpexpireat", -6, hpexpireat)
    .summary("Sets the expiry of fields of a hash, as a Unix time in milliseconds.")
    .args(&[Arg::KEY, UNIX_MILLISECONDS, Arg::NX_XX_GT_OR_LT, FIELDS]);

pub(super) fn hpexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Hash>(ctx, Unit::UnixMilliseconds)
}

/// The specification that the commands share which return an expiry.
const GETTER: CommandSpec = CommandSpec::BASE
    .group(Group::Hash)
    .since("9.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .complexity("O(N) in the number of fields that are named.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))]);

pub(super) const HTTL: CommandSpec = GETTER
    .named("httl", -5, httl)
    .summary(
        "Returns how long fields of a hash will live, in seconds; -1 without expiry, -2 for a \
         missing field.",
    )
    .args(&[Arg::KEY, FIELDS]);

pub(super) fn httl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Hash>(ctx, Unit::Seconds)
}

pub(super) const HPTTL: CommandSpec = GETTER
    .named("hpttl", -5, hpttl)
    .summary(
        "Returns how long fields of a hash will live, in milliseconds; -1 without expiry, -2 \
         for a missing field.",
    )
    .args(&[Arg::KEY, FIELDS]);

pub(super) fn hpttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Hash>(ctx, Unit::Milliseconds)
}

pub(super) const HEXPIRETIME: CommandSpec = GETTER
    .named("hexpiretime", -5, hexpiretime)
    .summary(
        "Returns the expiry of fields of a hash as Unix times in seconds; -1 without \
         expiry, -2 for a missing field.",
    )
    .args(&[Arg::KEY, FIELDS]);

pub(super) fn hexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Hash>(ctx, Unit::UnixSeconds)
}

pub(super) const HPEXPIRETIME: CommandSpec = GETTER
    .named("hpexpiretime", -5, hpexpiretime)
    .summary(
        "Returns the expiry of fields of a hash as Unix times in milliseconds; -1 without \
         expiry, -2 for a missing field.",
    )
    .args(&[Arg::KEY, FIELDS]);

pub(super) fn hpexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Hash>(ctx, Unit::UnixMilliseconds)
}

pub(super) const HPERSIST: CommandSpec = SETTER
    .named("hpersist", -5, hpersist)
    .summary("Removes the expiry of fields of a hash.")
    .args(&[Arg::KEY, FIELDS]);

pub(super) fn hpersist(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::persist::<Hash>(ctx)
}

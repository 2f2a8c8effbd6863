//! Deadlines of single members, as HEXPIRE has them for fields: SEXPIRE, STTL, SPERSIST and their variants.

use values::Set;

use crate::command::*;
use crate::commands::element_expiry::syntax::{
    CONDITION, KEY, MEMBERS, MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS,
};
use crate::commands::element_expiry::{self, Volatile, Words};
use crate::commands::string::Unit;
use crate::context::{Context, Data, EventClass, Key};
use crate::error::CommandError;

impl Volatile for Set {
    const WORDS: Words = Words {
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
    ) -> Result<Option<&'a Self>, CommandError> {
        data.set_ref(key)
    }

    fn edit<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a mut Self>, CommandError> {
        data.set_mut(key)
    }

    /// A member past its deadline is a member until it is removed.
    fn view_ms(_: &Data<'_, '_>) -> u64 {
        0
    }

    fn deadline(&self, element: &[u8]) -> Option<Option<u64>> {
        self.deadline(element)
    }

    fn set_deadline(&mut self, element: &[u8], deadline: Option<u64>) -> bool {
        self.set_deadline(element, deadline)
    }

    fn remove_element(&mut self, element: &[u8]) -> bool {
        self.remove(element)
    }
}

pub(super) const SEXPIRE: Command = Command {
    name: "sexpire",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Sets the deadlines of members of a set, in seconds from now.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, SECONDS, CONDITION, MEMBERS],
    handler: sexpire,
    ..Command::BASE
};

pub(super) fn sexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Set>(ctx, Unit::Seconds)
}

pub(super) const SPEXPIRE: Command = Command {
    name: "spexpire",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Sets the deadlines of members of a set, in milliseconds from now.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, MILLISECONDS, CONDITION, MEMBERS],
    handler: spexpire,
    ..Command::BASE
};

pub(super) fn spexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Set>(ctx, Unit::Milliseconds)
}

pub(super) const SEXPIREAT: Command = Command {
    name: "sexpireat",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Sets the deadlines of members of a set, as a Unix time in seconds.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, UNIX_SECONDS, CONDITION, MEMBERS],
    handler: sexpireat,
    ..Command::BASE
};

pub(super) fn sexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Set>(ctx, Unit::UnixSeconds)
}

pub(super) const SPEXPIREAT: Command = Command {
    name: "spexpireat",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Sets the deadlines of members of a set, as a Unix time in milliseconds.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, UNIX_MILLISECONDS, CONDITION, MEMBERS],
    handler: spexpireat,
    ..Command::BASE
};

pub(super) fn spexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Set>(ctx, Unit::UnixMilliseconds)
}

pub(super) const STTL: Command = Command {
    name: "sttl",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Returns how long members of a set will live, in seconds; -1 without deadline, -2 for a missing member.",
    complexity: "O(N) where N is the number of specified members.",
    hints: &["nondeterministic_output"],
    args: &[KEY, MEMBERS],
    handler: sttl,
    ..Command::BASE
};

pub(super) fn sttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Set>(ctx, Unit::Seconds)
}

pub(super) const SPTTL: Command = Command {
    name: "spttl",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Returns how long members of a set will live, in milliseconds; -1 without deadline, -2 for a missing member.",
    complexity: "O(N) where N is the number of specified members.",
    hints: &["nondeterministic_output"],
    args: &[KEY, MEMBERS],
    handler: spttl,
    ..Command::BASE
};

pub(super) fn spttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Set>(ctx, Unit::Milliseconds)
}

pub(super) const SEXPIRETIME: Command = Command {
    name: "sexpiretime",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Returns the deadlines of members of a set as Unix times in seconds; -1 without deadline, -2 for a missing member.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, MEMBERS],
    handler: sexpiretime,
    ..Command::BASE
};

pub(super) fn sexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Set>(ctx, Unit::UnixSeconds)
}

pub(super) const SPEXPIRETIME: Command = Command {
    name: "spexpiretime",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Returns the deadlines of members of a set as Unix times in milliseconds; -1 without deadline, -2 for a missing member.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, MEMBERS],
    handler: spexpiretime,
    ..Command::BASE
};

pub(super) fn spexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Set>(ctx, Unit::UnixMilliseconds)
}

pub(super) const SPERSIST: Command = Command {
    name: "spersist",
    arity: -5,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::SET).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Set,
    since: "0.1.0",
    summary: "Removes the deadlines of members of a set.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, MEMBERS],
    handler: spersist,
    ..Command::BASE
};

pub(super) fn spersist(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::persist::<Set>(ctx)
}

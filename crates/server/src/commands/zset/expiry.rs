//! Deadlines of single members, as HEXPIRE has them for fields: ZEXPIRE, ZTTL, ZPERSIST and their variants.

use values::SortedSet;

use crate::command::*;
use crate::commands::element_expiry::syntax::{
    CONDITION, KEY, MEMBERS, MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS,
};
use crate::commands::element_expiry::{self, Volatile, Words};
use crate::commands::string::Unit;
use crate::context::{Context, Data, EventClass, Key};
use crate::error::CommandError;

impl Volatile for SortedSet {
    const WORDS: Words = Words {
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
    ) -> Result<Option<&'a Self>, CommandError> {
        data.zset(key)
    }

    fn edit<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a mut Self>, CommandError> {
        data.zset_mut(key)
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
        self.remove(element).is_some()
    }
}

pub(super) const ZEXPIRE: Command = Command {
    name: "zexpire",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Sets the deadlines of members of a sorted set, in seconds from now.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, SECONDS, CONDITION, MEMBERS],
    handler: zexpire,
    ..Command::BASE
};

pub(super) fn zexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<SortedSet>(ctx, Unit::Seconds)
}

pub(super) const ZPEXPIRE: Command = Command {
    name: "zpexpire",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Sets the deadlines of members of a sorted set, in milliseconds from now.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, MILLISECONDS, CONDITION, MEMBERS],
    handler: zpexpire,
    ..Command::BASE
};

pub(super) fn zpexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<SortedSet>(ctx, Unit::Milliseconds)
}

pub(super) const ZEXPIREAT: Command = Command {
    name: "zexpireat",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Sets the deadlines of members of a sorted set, as a Unix time in seconds.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, UNIX_SECONDS, CONDITION, MEMBERS],
    handler: zexpireat,
    ..Command::BASE
};

pub(super) fn zexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<SortedSet>(ctx, Unit::UnixSeconds)
}

pub(super) const ZPEXPIREAT: Command = Command {
    name: "zpexpireat",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Sets the deadlines of members of a sorted set, as a Unix time in milliseconds.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, UNIX_MILLISECONDS, CONDITION, MEMBERS],
    handler: zpexpireat,
    ..Command::BASE
};

pub(super) fn zpexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<SortedSet>(ctx, Unit::UnixMilliseconds)
}

pub(super) const ZTTL: Command = Command {
    name: "zttl",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Returns how long members of a sorted set will live, in seconds; -1 without deadline, -2 for a missing member.",
    complexity: "O(N) where N is the number of specified members.",
    hints: &["nondeterministic_output"],
    args: &[KEY, MEMBERS],
    handler: zttl,
    ..Command::BASE
};

pub(super) fn zttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<SortedSet>(ctx, Unit::Seconds)
}

pub(super) const ZPTTL: Command = Command {
    name: "zpttl",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Returns how long members of a sorted set will live, in milliseconds; -1 without deadline, -2 for a missing member.",
    complexity: "O(N) where N is the number of specified members.",
    hints: &["nondeterministic_output"],
    args: &[KEY, MEMBERS],
    handler: zpttl,
    ..Command::BASE
};

pub(super) fn zpttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<SortedSet>(ctx, Unit::Milliseconds)
}

pub(super) const ZEXPIRETIME: Command = Command {
    name: "zexpiretime",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Returns the deadlines of members of a sorted set as Unix times in seconds; -1 without deadline, -2 for a missing member.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, MEMBERS],
    handler: zexpiretime,
    ..Command::BASE
};

pub(super) fn zexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<SortedSet>(ctx, Unit::UnixSeconds)
}

pub(super) const ZPEXPIRETIME: Command = Command {
    name: "zpexpiretime",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Returns the deadlines of members of a sorted set as Unix times in milliseconds; -1 without deadline, -2 for a missing member.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, MEMBERS],
    handler: zpexpiretime,
    ..Command::BASE
};

pub(super) fn zpexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<SortedSet>(ctx, Unit::UnixMilliseconds)
}

pub(super) const ZPERSIST: Command = Command {
    name: "zpersist",
    arity: -5,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST
        .or(Categories::SORTEDSET)
        .or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::SortedSet,
    since: "0.1.0",
    summary: "Removes the deadlines of members of a sorted set.",
    complexity: "O(N) where N is the number of specified members.",
    args: &[KEY, MEMBERS],
    handler: zpersist,
    ..Command::BASE
};

pub(super) fn zpersist(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::persist::<SortedSet>(ctx)
}

//! Deadlines of single fields: HEXPIRE, HTTL, HPERSIST and their variants.

use values::Hash;

use crate::command::*;
use crate::commands::element_expiry::syntax::{
    CONDITION, FIELDS, KEY, MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS,
};
use crate::commands::element_expiry::{self, Volatile, Words};
use crate::commands::string::Unit;
use crate::context::{Context, Data, EventClass, Key};
use crate::error::CommandError;

impl Volatile for Hash {
    const WORDS: Words = Words {
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
    ) -> Result<Option<&'a Self>, CommandError> {
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

pub(super) const HEXPIRE: Command = Command {
    name: "hexpire",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Sets the deadlines of fields of a hash, in seconds from now.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, SECONDS, CONDITION, FIELDS],
    handler: hexpire,
    ..Command::BASE
};

pub(super) fn hexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Hash>(ctx, Unit::Seconds)
}

pub(super) const HPEXPIRE: Command = Command {
    name: "hpexpire",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Sets the deadlines of fields of a hash, in milliseconds from now.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, MILLISECONDS, CONDITION, FIELDS],
    handler: hpexpire,
    ..Command::BASE
};

pub(super) fn hpexpire(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Hash>(ctx, Unit::Milliseconds)
}

pub(super) const HEXPIREAT: Command = Command {
    name: "hexpireat",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Sets the deadlines of fields of a hash, as a Unix time in seconds.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, UNIX_SECONDS, CONDITION, FIELDS],
    handler: hexpireat,
    ..Command::BASE
};

pub(super) fn hexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Hash>(ctx, Unit::UnixSeconds)
}

pub(super) const HPEXPIREAT: Command = Command {
    name: "hpexpireat",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Sets the deadlines of fields of a hash, as a Unix time in milliseconds.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, UNIX_MILLISECONDS, CONDITION, FIELDS],
    handler: hpexpireat,
    ..Command::BASE
};

pub(super) fn hpexpireat(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::expire::<Hash>(ctx, Unit::UnixMilliseconds)
}

pub(super) const HTTL: Command = Command {
    name: "httl",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Returns how long fields of a hash will live, in seconds; -1 without deadline, -2 for a missing field.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, FIELDS],
    handler: httl,
    ..Command::BASE
};

pub(super) fn httl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Hash>(ctx, Unit::Seconds)
}

pub(super) const HPTTL: Command = Command {
    name: "hpttl",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Returns how long fields of a hash will live, in milliseconds; -1 without deadline, -2 for a missing field.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, FIELDS],
    handler: hpttl,
    ..Command::BASE
};

pub(super) fn hpttl(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Hash>(ctx, Unit::Milliseconds)
}

pub(super) const HEXPIRETIME: Command = Command {
    name: "hexpiretime",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Returns the deadlines of fields of a hash as Unix times in seconds; -1 without deadline, -2 for a missing field.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, FIELDS],
    handler: hexpiretime,
    ..Command::BASE
};

pub(super) fn hexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Hash>(ctx, Unit::UnixSeconds)
}

pub(super) const HPEXPIRETIME: Command = Command {
    name: "hpexpiretime",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::READ),
    keys: &[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Returns the deadlines of fields of a hash as Unix times in milliseconds; -1 without deadline, -2 for a missing field.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, FIELDS],
    handler: hpexpiretime,
    ..Command::BASE
};

pub(super) fn hpexpiretime(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::tell::<Hash>(ctx, Unit::UnixMilliseconds)
}

pub(super) const HPERSIST: Command = Command {
    name: "hpersist",
    arity: -5,
    flags: Flags::WRITE.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::HASH).or(Categories::WRITE),
    keys: &[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))],
    group: Group::Hash,
    since: "9.0.0",
    summary: "Removes the deadlines of fields of a hash.",
    complexity: "O(N) where N is the number of specified fields.",
    args: &[KEY, FIELDS],
    handler: hpersist,
    ..Command::BASE
};

pub(super) fn hpersist(ctx: &mut Context<'_, '_>) -> CommandResult {
    element_expiry::persist::<Hash>(ctx)
}

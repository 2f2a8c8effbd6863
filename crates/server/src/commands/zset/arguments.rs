//! Documented arguments that several commands of the group share.

use crate::command::{Arg, ArgKind};

/// The key of the sorted set.
pub(super) const KEY: Arg = Arg {
    name: "key",
    kind: ArgKind::Key,
    key_spec: Some(0),
    ..Arg::BASE
};

/// Several keys, found by the first key specification.
pub(super) const KEYS: Arg = Arg {
    multiple: true,
    ..KEY
};

/// Several keys that are read, after a destination.
pub(super) const SOURCE_KEYS: Arg = Arg {
    key_spec: Some(1),
    ..KEYS
};

/// Where a result goes.
pub(super) const DESTINATION: Arg = Arg {
    name: "destination",
    ..KEY
};

/// A plain argument.
pub(super) const fn plain(name: &'static str, kind: ArgKind) -> Arg {
    Arg {
        name,
        kind,
        ..Arg::BASE
    }
}

/// An option without a value.
pub(super) const fn option(name: &'static str, token: &'static str) -> Arg {
    Arg {
        optional: true,
        ..word(name, token)
    }
}

/// One of several words.
pub(super) const fn word(name: &'static str, token: &'static str) -> Arg {
    Arg {
        name,
        kind: ArgKind::PureToken,
        token: Some(token),
        ..Arg::BASE
    }
}

/// One member.
pub(super) const MEMBER: Arg = plain("member", ArgKind::String);

/// One or more members.
pub(super) const MEMBERS: Arg = Arg {
    multiple: true,
    ..MEMBER
};

/// WITHSCORES.
pub(super) const WITHSCORES: Arg = option("withscores", "WITHSCORES");

/// LIMIT of a range.
pub(super) const LIMIT: Arg = Arg {
    name: "limit",
    kind: ArgKind::Block,
    token: Some("LIMIT"),
    optional: true,
    args: &[
        plain("offset", ArgKind::Integer),
        plain("count", ArgKind::Integer),
    ],
    ..Arg::BASE
};

/// BYSCORE or BYLEX.
pub(super) const SORT_BY: Arg = Arg {
    name: "sortby",
    kind: ArgKind::OneOf,
    optional: true,
    args: &[word("byscore", "BYSCORE"), word("bylex", "BYLEX")],
    ..Arg::BASE
};

/// The number of keys that follow.
pub(super) const NUMKEYS: Arg = plain("numkeys", ArgKind::Integer);

/// WEIGHTS.
pub(super) const WEIGHTS: Arg = Arg {
    name: "weight",
    kind: ArgKind::Integer,
    token: Some("WEIGHTS"),
    optional: true,
    multiple: true,
    ..Arg::BASE
};

/// AGGREGATE.
pub(super) const AGGREGATE: Arg = Arg {
    name: "aggregate",
    kind: ArgKind::OneOf,
    token: Some("AGGREGATE"),
    optional: true,
    args: &[word("sum", "SUM"), word("min", "MIN"), word("max", "MAX")],
    ..Arg::BASE
};

/// The end that members are taken from.
pub(super) const WHERE: Arg = Arg {
    name: "where",
    kind: ArgKind::OneOf,
    args: &[word("min", "MIN"), word("max", "MAX")],
    ..Arg::BASE
};

/// COUNT.
pub(super) const COUNT: Arg = Arg {
    token: Some("COUNT"),
    optional: true,
    ..plain("count", ArgKind::Integer)
};

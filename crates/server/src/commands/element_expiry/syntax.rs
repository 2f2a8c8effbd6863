//! What the documented arguments of the commands have in common.

use crate::command::{Arg, ArgKind};

/// The key.
pub(in crate::commands) const KEY: Arg = Arg {
    name: "key",
    kind: ArgKind::Key,
    key_spec: Some(0),
    ..Arg::BASE
};

/// A duration in seconds.
pub(in crate::commands) const SECONDS: Arg = Arg {
    name: "seconds",
    kind: ArgKind::Integer,
    ..Arg::BASE
};

/// A duration in milliseconds.
pub(in crate::commands) const MILLISECONDS: Arg = Arg {
    name: "milliseconds",
    kind: ArgKind::Integer,
    ..Arg::BASE
};

/// A Unix time in seconds.
pub(in crate::commands) const UNIX_SECONDS: Arg = Arg {
    name: "unix-time-seconds",
    kind: ArgKind::UnixTime,
    ..Arg::BASE
};

/// A Unix time in milliseconds.
pub(in crate::commands) const UNIX_MILLISECONDS: Arg = Arg {
    name: "unix-time-milliseconds",
    kind: ArgKind::UnixTime,
    ..Arg::BASE
};

/// A literal word.
pub(in crate::commands) const fn word(name: &'static str, token: &'static str) -> Arg {
    Arg {
        name,
        kind: ArgKind::PureToken,
        token: Some(token),
        ..Arg::BASE
    }
}

/// Conditions on the deadline that an element has now.
pub(in crate::commands) const CONDITION: Arg = Arg {
    name: "condition",
    kind: ArgKind::OneOf,
    optional: true,
    args: &[
        word("nx", "NX"),
        word("xx", "XX"),
        word("gt", "GT"),
        word("lt", "LT"),
    ],
    ..Arg::BASE
};

/// `FIELDS n field ...`
pub(in crate::commands) const FIELDS: Arg = Arg {
    name: "fields",
    kind: ArgKind::Block,
    token: Some("FIELDS"),
    args: &[
        Arg {
            name: "numfields",
            kind: ArgKind::Integer,
            ..Arg::BASE
        },
        Arg {
            name: "field",
            kind: ArgKind::String,
            multiple: true,
            ..Arg::BASE
        },
    ],
    ..Arg::BASE
};

/// `MEMBERS n member ...`
pub(in crate::commands) const MEMBERS: Arg = Arg {
    name: "members",
    kind: ArgKind::Block,
    token: Some("MEMBERS"),
    args: &[
        Arg {
            name: "nummembers",
            kind: ArgKind::Integer,
            ..Arg::BASE
        },
        Arg {
            name: "member",
            kind: ArgKind::String,
            multiple: true,
            ..Arg::BASE
        },
    ],
    ..Arg::BASE
};

//! Documented arguments that several commands of the group share.

use crate::command::{Arg, ArgKind};

/// The key of the sorted set.
pub(super) const KEY: Arg = Arg {
    name: "key",
    kind: ArgKind::Key,
    key_spec: Some(0),
    ..Arg::BASE
};

/// A plain argument.
pub(super) const fn plain(name: &'static str, kind: ArgKind) -> Arg {
    Arg {
        name,
        kind,
        ..Arg::BASE
    }
}

/// One of several words.
pub(super) const fn word(name: &'static str, token: &'static str) -> Arg {
    Arg {
        token: Some(token),
        ..plain(name, ArgKind::PureToken)
    }
}

/// An option without a value.
pub(super) const fn option(name: &'static str, token: &'static str) -> Arg {
    Arg {
        optional: true,
        ..word(name, token)
    }
}

const fn one_of(name: &'static str, args: &'static [Arg]) -> Arg {
    Arg {
        args,
        ..plain(name, ArgKind::OneOf)
    }
}

const fn block(name: &'static str, args: &'static [Arg]) -> Arg {
    Arg {
        args,
        ..plain(name, ArgKind::Block)
    }
}

/// One member.
pub(super) const MEMBER: Arg = plain("member", ArgKind::String);

/// Any number of members.
pub(super) const MEMBERS: Arg = Arg {
    optional: true,
    multiple: true,
    ..MEMBER
};

/// A longitude.
pub(super) const LONGITUDE: Arg = plain("longitude", ArgKind::Double);

/// A latitude.
pub(super) const LATITUDE: Arg = plain("latitude", ArgKind::Double);

/// A radius.
pub(super) const RADIUS: Arg = plain("radius", ArgKind::Double);

/// The unit of lengths.
pub(super) const UNIT: Arg = one_of(
    "unit",
    &[
        word("m", "m"),
        word("km", "km"),
        word("ft", "ft"),
        word("mi", "mi"),
    ],
);

/// WITHCOORD.
pub(super) const WITHCOORD: Arg = option("withcoord", "WITHCOORD");

/// WITHDIST.
pub(super) const WITHDIST: Arg = option("withdist", "WITHDIST");

/// WITHHASH.
pub(super) const WITHHASH: Arg = option("withhash", "WITHHASH");

/// ASC or DESC.
pub(super) const ORDER: Arg = Arg {
    optional: true,
    ..one_of("order", &[word("asc", "ASC"), word("desc", "DESC")])
};

const COUNT_VALUE: Arg = Arg {
    token: Some("COUNT"),
    ..plain("count", ArgKind::Integer)
};

/// COUNT with ANY, of commands that had ANY from the beginning.
pub(super) const COUNT: Arg = Arg {
    optional: true,
    ..block("count-block", &[COUNT_VALUE, option("any", "ANY")])
};

/// COUNT with ANY, of commands that got ANY later.
pub(super) const COUNT_ANY_LATER: Arg = Arg {
    optional: true,
    ..block(
        "count-block",
        &[
            COUNT_VALUE,
            Arg {
                since: Some("6.2.0"),
                ..option("any", "ANY")
            },
        ],
    )
};

/// STORE or STOREDIST of the older commands.
pub(super) const STORE: Arg = Arg {
    optional: true,
    ..one_of(
        "store",
        &[
            Arg {
                token: Some("STORE"),
                key_spec: Some(1),
                display: Some("key"),
                ..plain("storekey", ArgKind::Key)
            },
            Arg {
                token: Some("STOREDIST"),
                key_spec: Some(2),
                display: Some("key"),
                ..plain("storedistkey", ArgKind::Key)
            },
        ],
    )
};

/// FROMMEMBER or FROMLONLAT.
pub(super) const FROM: Arg = Arg {
    optional: true,
    ..one_of(
        "from",
        &[
            Arg {
                token: Some("FROMMEMBER"),
                ..MEMBER
            },
            Arg {
                token: Some("FROMLONLAT"),
                ..block("fromlonlat", &[LONGITUDE, LATITUDE])
            },
        ],
    )
};

/// BYRADIUS, BYBOX or BYPOLYGON.
pub(super) const BY: Arg = one_of(
    "by",
    &[
        block(
            "circle",
            &[
                Arg {
                    token: Some("BYRADIUS"),
                    ..RADIUS
                },
                UNIT,
            ],
        ),
        block(
            "box",
            &[
                Arg {
                    token: Some("BYBOX"),
                    ..plain("width", ArgKind::Double)
                },
                plain("height", ArgKind::Double),
                UNIT,
            ],
        ),
        Arg {
            since: Some("9.0.0"),
            ..block(
                "polygon",
                &[
                    Arg {
                        token: Some("BYPOLYGON"),
                        ..plain("num-vertices", ArgKind::Integer)
                    },
                    Arg {
                        multiple: true,
                        ..block("vertices", &[LONGITUDE, LATITUDE])
                    },
                ],
            )
        },
    ],
);

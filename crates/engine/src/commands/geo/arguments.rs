//! Documented arguments that several commands of the group share.

use crate::command::Arg;

/// Any number of members.
pub(super) const MEMBERS: Arg = Arg::MEMBER.optional().multiple();

/// A longitude.
pub(super) const LONGITUDE: Arg = Arg::double("longitude");

/// A latitude.
pub(super) const LATITUDE: Arg = Arg::double("latitude");

/// A radius.
pub(super) const RADIUS: Arg = Arg::double("radius");

/// The unit of lengths.
pub(super) const UNIT: Arg = Arg::one_of("unit").args(&[
    Arg::word("m", "m"),
    Arg::word("km", "km"),
    Arg::word("ft", "ft"),
    Arg::word("mi", "mi"),
]);

/// WITHCOORD.
pub(super) const WITHCOORD: Arg = Arg::flag("withcoord", "WITHCOORD");

/// WITHDIST.
pub(super) const WITHDIST: Arg = Arg::flag("withdist", "WITHDIST");

/// WITHHASH.
pub(super) const WITHHASH: Arg = Arg::flag("withhash", "WITHHASH");

const COUNT_VALUE: Arg = Arg::integer("count").token("COUNT");

/// COUNT with ANY, of commands that had ANY from the beginning.
pub(super) const COUNT: Arg = Arg::block("count-block")
    .optional()
    .args(&[COUNT_VALUE, Arg::flag("any", "ANY")]);

/// COUNT with ANY, of commands that got ANY later.
pub(super) const COUNT_ANY_LATER: Arg = Arg::block("count-block")
    .optional()
    .args(&[COUNT_VALUE, Arg::flag("any", "ANY").since("6.2.0")]);

/// STORE or STOREDIST of the older commands.
pub(super) const STORE: Arg = Arg::one_of("store").optional().args(&[
    Arg::key("storekey")
        .token("STORE")
        .key_spec(1)
        .display("key"),
    Arg::key("storedistkey")
        .token("STOREDIST")
        .key_spec(2)
        .display("key"),
]);

/// FROMMEMBER or FROMLONLAT.
pub(super) const FROM: Arg = Arg::one_of("from").optional().args(&[
    Arg::MEMBER.token("FROMMEMBER"),
    Arg::block("fromlonlat")
        .token("FROMLONLAT")
        .args(&[LONGITUDE, LATITUDE]),
]);

/// BYRADIUS, BYBOX or BYPOLYGON.
pub(super) const BY: Arg = Arg::one_of("by").args(&[
    Arg::block("circle").args(&[RADIUS.token("BYRADIUS"), UNIT]),
    Arg::block("box").args(&[
        Arg::double("width").token("BYBOX"),
        Arg::double("height"),
        UNIT,
    ]),
    Arg::block("polygon").since("9.0.0").args(&[
        Arg::integer("num-vertices").token("BYPOLYGON"),
        Arg::block("vertices")
            .multiple()
            .args(&[LONGITUDE, LATITUDE]),
    ]),
]);

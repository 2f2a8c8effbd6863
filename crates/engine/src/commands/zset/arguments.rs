//! Documented arguments that several commands of the group share.

use crate::command::Arg;

/// WITHSCORES.
pub(super) const WITHSCORES: Arg = Arg::flag("withscores", "WITHSCORES");

/// BYSCORE or BYLEX.
pub(super) const SORT_BY: Arg = Arg::one_of("sortby")
    .optional()
    .args(&[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")]);

/// WEIGHTS.
pub(super) const WEIGHTS: Arg = Arg::integer("weight").option("WEIGHTS").multiple();

/// AGGREGATE.
pub(super) const AGGREGATE: Arg = Arg::one_of("aggregate").option("AGGREGATE").args(&[
    Arg::word("sum", "SUM"),
    Arg::word("min", "MIN"),
    Arg::word("max", "MAX"),
    Arg::word("count", "COUNT").since("8.8.0"),
]);

/// The end that members are taken from.
pub(super) const WHERE: Arg =
    Arg::one_of("where").args(&[Arg::word("min", "MIN"), Arg::word("max", "MAX")]);

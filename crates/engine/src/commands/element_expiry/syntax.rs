//! Documented arguments that the commands share.

use crate::command::Arg;

/// A duration in seconds.
pub(in crate::commands) const SECONDS: Arg = Arg::integer("seconds");

/// A duration in milliseconds.
pub(in crate::commands) const MILLISECONDS: Arg = Arg::integer("milliseconds");

/// A Unix time in seconds.
pub(in crate::commands) const UNIX_SECONDS: Arg = Arg::unix_time("unix-time-seconds");

/// A Unix time in milliseconds.
pub(in crate::commands) const UNIX_MILLISECONDS: Arg = Arg::unix_time("unix-time-milliseconds");

/// `FIELDS n field ...`
pub(in crate::commands) const FIELDS: Arg = Arg::block("fields")
    .token("FIELDS")
    .args(&[Arg::integer("numfields"), Arg::FIELD.multiple()]);

/// `MEMBERS n member ...`
pub(in crate::commands) const MEMBERS: Arg = Arg::block("members")
    .token("MEMBERS")
    .args(&[Arg::integer("nummembers"), Arg::MEMBERS]);

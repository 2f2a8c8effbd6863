//! EVAL, EVALSHA, FCALL and their read-only forms.
//!
//! The implementation is in `execute::script`.

use super::{Arg, CommandSpec, Flags, KeyFlags, KeySpec};
use crate::command::{Callee, Group, Locks};
use crate::execute::run_script;

const KEY: Arg = Arg::KEYS.optional();
const ARG: Arg = Arg::string("arg").optional().multiple();

const BASE: CommandSpec = CommandSpec::nested("", -3, run_script)
    .group(Group::Scripting)
    .flags(Flags::NOSCRIPT.or(Flags::SKIP_MONITOR))
    .flags(Flags::NO_MANDATORY_KEYS.or(Flags::STALE));

/// What a script does to its keys is not known.
const WRITES: CommandSpec = BASE.flags(Flags::MAY_REPLICATE).keys(&[KeySpec::counted(
    2,
    KeyFlags::RW.or(KeyFlags::ACCESS).or(KeyFlags::UPDATE),
)]);

const READS: CommandSpec = BASE
    .flags(Flags::READONLY)
    .keys(&[KeySpec::counted(2, KeyFlags::RO.or(KeyFlags::ACCESS))]);

/// `EVAL script numkeys [key ...] [arg ...]`
pub(super) const EVAL: CommandSpec = WRITES
    .called("eval")
    .locks(Locks::Script(Callee::Body))
    .since("2.6.0")
    .summary("Runs a Lua script.")
    .complexity("Depends on the script.")
    .args(&[Arg::string("script"), Arg::NUMKEYS, KEY, ARG]);

/// `EVAL_RO script numkeys [key ...] [arg ...]`
pub(super) const EVAL_RO: CommandSpec = READS
    .called("eval_ro")
    .locks(Locks::Script(Callee::Body))
    .since("7.0.0")
    .summary("Runs a Lua script that reads only.")
    .complexity("Depends on the script.")
    .args(&[Arg::string("script"), Arg::NUMKEYS, KEY, ARG]);

/// `EVALSHA sha1 numkeys [key ...] [arg ...]`
pub(super) const EVALSHA: CommandSpec = WRITES
    .called("evalsha")
    .locks(Locks::Script(Callee::Digest))
    .since("2.6.0")
    .summary("Runs a Lua script by its SHA1 digest.")
    .complexity("Depends on the script.")
    .args(&[Arg::string("sha1"), Arg::NUMKEYS, KEY, ARG]);

/// `EVALSHA_RO sha1 numkeys [key ...] [arg ...]`
pub(super) const EVALSHA_RO: CommandSpec = READS
    .called("evalsha_ro")
    .locks(Locks::Script(Callee::Digest))
    .since("7.0.0")
    .summary("Runs a Lua script that reads only, by its SHA1 digest.")
    .complexity("Depends on the script.")
    .args(&[Arg::string("sha1"), Arg::NUMKEYS, KEY, ARG]);

/// `FCALL function numkeys [key ...] [arg ...]`
pub(super) const FCALL: CommandSpec = WRITES
    .called("fcall")
    .locks(Locks::Script(Callee::Function))
    .since("7.0.0")
    .summary("Calls a function.")
    .complexity("Depends on the function.")
    .args(&[Arg::string("function"), Arg::NUMKEYS, KEY, ARG]);

/// `FCALL_RO function numkeys [key ...] [arg ...]`
pub(super) const FCALL_RO: CommandSpec = READS
    .called("fcall_ro")
    .locks(Locks::Script(Callee::Function))
    .since("7.0.0")
    .summary("Calls a function that reads only.")
    .complexity("Depends on the function.")
    .args(&[Arg::string("function"), Arg::NUMKEYS, KEY, ARG]);

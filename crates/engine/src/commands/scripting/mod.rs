//! Scripts and functions.

mod eval;
mod function;
mod payload;
mod script;

use crate::command::{Arg, KeySpec};
use crate::command::{Flags, KeyFlags};
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::CommandSpec;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &eval::EVAL,
    &eval::EVAL_RO,
    &eval::EVALSHA,
    &eval::EVALSHA_RO,
    &eval::FCALL,
    &eval::FCALL_RO,
    &function::FUNCTION,
    &script::SCRIPT,
];

/// `ASYNC` or `SYNC`. Texts are small, so both free them at once.
const FLUSH_TYPE: Arg = Arg::one_of("flush-type")
    .optional()
    .args(&[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")]);

fn check_flush_mode(ctx: &Context<'_, '_>, refusal: &'static str) -> Result<(), CommandError> {
    match ctx.args.len() {
        2 => Ok(()),
        3 if ctx.is_word(2, "SYNC") || ctx.is_word(2, "ASYNC") => Ok(()),
        _ => Err(CommandError::line(refusal)),
    }
}

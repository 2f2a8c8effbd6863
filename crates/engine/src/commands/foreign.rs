//! Commands that replicas of other products do not understand.

use crate::context::Context;
use crate::error::CommandError;
use crate::session::Origin;

/// Refuses the running command, or `with` an option of it, while a replica of another product is
/// attached. Notes else that the stream holds what such a replica cannot follow.
///
/// # Errors
/// A replica of another product is attached.
pub(super) fn refuse(ctx: &Context<'_, '_>, with: Option<&str>) -> Result<(), CommandError> {
    let replicas = &ctx.engine.replicas;
    let is_client = match ctx.session.origin {
        Origin::Client => true,
        // It is in the stream of our primary already; replicas of other products are disconnected.
        Origin::Primary => false,
        Origin::Replay => return Ok(()),
    };
    if !is_client || !replicas.has_foreign() {
        replicas.note_own(ctx.engine.log.stream_offset());
        return Ok(());
    }
    let with = with.map_or_else(String::new, |option| format!(" with {option}"));
    Err(CommandError::owned(format!(
        "ERR '{}'{with} is not understood by a replica of another product, and one is attached",
        ctx.entry.full_name
    )))
}

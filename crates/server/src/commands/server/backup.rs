//! BACKUP: a copy of the data, made and checked while the server goes on.

use crate::jobs::backup;
use crate::server::Server;
use engine::command::{Arg, Flags, Group};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};

/// Longest name of a backup, in bytes: the limit of file systems, less `.partial`.
const NAME_MAX: usize = 240;

pub(crate) const BACKUP: CommandSpec = CommandSpec::new("backup", 2, backup)
    .group(Group::Server)
    .since("8.0.0")
    .flags(Flags::NO_ASYNC_LOADING.or(Flags::ADMIN).or(Flags::NOSCRIPT))
    .flags(Flags::NO_MULTI)
    .summary(
        "Copies the data to a directory of this name below backup-dir, and checks the copy, in \
         the background.",
    )
    .complexity("O(1) for the caller")
    .args(&[Arg::string("name")]);
fn backup(ctx: &mut Context<'_, '_>) -> CommandResult {
    let name = name(ctx.arg(1))?;
    backup::start(&*Server::of(ctx)?, name)?;
    ctx.reply.simple("Background backup started");
    Ok(Outcome::Done)
}

/// A name stays below the directory of backups, and is easy to type.
fn name(bytes: &[u8]) -> Result<String, CommandError> {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let text = std::str::from_utf8(bytes).ok();
    text.filter(|text| (1..=NAME_MAX).contains(&text.len()) && !text.starts_with('.'))
        .filter(|text| text.bytes().all(|byte| is_good(&byte)))
        .map(str::to_owned)
        .ok_or(CommandError::line(
            "ERR Invalid backup name: letters, digits, '.', '_' and '-' are allowed, and it must not begin with '.'",
        ))
}

//! ACL SETUSER, DELUSER and GENPASS.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::client::ClientShared;
use engine::command::{Arg, Locks};
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::users::{DEFAULT_USER, NAME_BYTES_MAX, has_spaces};

use super::{ADMIN, ALL_NODES, OPEN};

/// Longest password of ACL GENPASS, in bits, as in Redis.
const GENPASS_BITS_MAX: i64 = 4096;

// All shards are locked while users change: no command that was admitted by the old rights is
// running when the reply leaves.
pub(super) const SETUSER: CommandSpec = ADMIN
    .named("setuser", -3, setuser)
    .summary("Changes a user, or adds one.")
    .complexity("O(N) in the number of rules")
    .hints(ALL_NODES)
    .locks(Locks::All)
    .secrets(|_, index| index >= 2)
    .args(&[
        Arg::string("username"),
        Arg::string("rule").optional().multiple(),
    ]);
fn setuser(ctx: &mut Context<'_, '_>) -> CommandResult {
    let name = ctx.arg(2);
    if has_spaces(name) {
        return Err(CommandError::line(
            "ERR Usernames can't contain spaces or null characters",
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(CommandError::line("ERR The username is too long"));
    }
    let rules: Vec<&[u8]> = ctx.args.skip(3).iter().collect();
    let lost = ctx.engine.set_user(name, &rules).map_err(|error| {
        let text = error.text();
        CommandError::Bytes([b"ERR ", text.as_slice()].concat())
    })?;
    close(ctx, &lost);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const DELUSER: CommandSpec = ADMIN
    .named("deluser", -3, deluser)
    .summary("Removes users and closes their connections.")
    .complexity("O(N) in the number of clients")
    .hints(ALL_NODES)
    .locks(Locks::All)
    .secrets(|_, index| index >= 2)
    .args(&[Arg::string("username").multiple()]);
fn deluser(ctx: &mut Context<'_, '_>) -> CommandResult {
    let names: Vec<&[u8]> = ctx.args.skip(2).iter().collect();
    if names.contains(&DEFAULT_USER.as_bytes()) {
        return Err(CommandError::line(
            "ERR The 'default' user cannot be removed",
        ));
    }
    let mut count = 0;
    for name in names {
        if let Some(lost) = ctx.engine.delete_user(name) {
            count += 1;
            close(ctx, &lost);
        }
    }
    ctx.reply.integer(count);
    Ok(Outcome::Done)
}

/// Closes clients that have lost their user or a channel, the calling one behind its reply.
pub(super) fn close(ctx: &mut Context<'_, '_>, clients: &[Arc<ClientShared>]) {
    for client in clients {
        if client.id == ctx.session.shared.id {
            ctx.session.close_after_reply = true;
            if ctx.engine.users.get(&client.details().user).is_none() {
                ctx.session.set_user(None);
            }
            continue;
        }
        client.kill.store(true, Ordering::Release);
        ctx.engine.clients.remove(client.id);
        ctx.engine.outboxes.port.get().kill(client);
    }
}

pub(super) const GENPASS: CommandSpec = OPEN
    .named("genpass", -2, genpass)
    .summary("Returns a random password.")
    .complexity("O(1)")
    .args(&[Arg::integer("bits").optional()]);
fn genpass(ctx: &mut Context<'_, '_>) -> CommandResult {
    let bits = match ctx.args.len() {
        2 => 256,
        3 => ctx.integer(2)?,
        _ => return Err(ctx.subcommand_arity_error()),
    };
    if !(1..=GENPASS_BITS_MAX).contains(&bits) {
        return Err(CommandError::owned(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {GENPASS_BITS_MAX}"
        )));
    }
    let digits = bits.unsigned_abs().div_ceil(4) as usize;
    let mut random = vec![0u8; digits.div_ceil(2)];
    getrandom::fill(&mut random)
        .map_err(|_| CommandError::line("ERR The system has no random numbers"))?;
    let mut text = String::with_capacity(random.len() * 2);
    for byte in random {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.truncate(digits);
    ctx.reply.bulk(text.as_bytes());
    Ok(Outcome::Done)
}

//! Commands between servers that replicate: SYNC, PSYNC, REPLCONF; and ROLE.

use std::sync::atomic::Ordering;

use crate::server::Server;
use crate::state::LinkState;
use engine::command::{Arg, Categories, Flags, Group, Locks};
use engine::config::P;
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::replicas::{ReplicaSetup, SnapshotFilter, SyncRequest, SyncState};
use engine::wait::Block;

/// The commands of this group.
pub(crate) const COMMANDS: &[&CommandSpec] =
    &[&PSYNC, &REPLCONF, &REPLICAOF, &ROLE, &SLAVEOF, &SYNC];

/// Bytes of an announced address, as in Redis (NI_MAXHOST less the end).
const ADDRESS_MAX: usize = 255;

const SYNC_FLAGS: Flags = Flags::NO_ASYNC_LOADING
    .or(Flags::ADMIN)
    .or(Flags::NO_MULTI)
    .or(Flags::NOSCRIPT);

const SYNC: CommandSpec = CommandSpec::new("sync", 1, |ctx| synchronize(ctx, None, true))
    .group(Group::Server)
    .since("1.0.0")
    .flags(SYNC_FLAGS)
    .complexity("O(N) with N keys")
    .summary("Makes the connection that of a replica: a snapshot, and then the stream of changes.");

const PSYNC: CommandSpec = CommandSpec::new("psync", -3, psync)
    .locks(Locks::All)
    .group(Group::Server)
    .since("2.8.0")
    .flags(SYNC_FLAGS)
    .complexity("O(N) with N keys; O(1) for a replica that goes on where it was")
    .summary("Makes the connection that of a replica, which goes on where it was if possible.")
    .args(&[Arg::string("replicationid"), Arg::integer("offset")]);

fn psync(ctx: &mut Context<'_, '_>) -> CommandResult {
    let server = Server::of(ctx)?;
    let engine = ctx.engine;
    if ctx.args.len() > 3 && ctx.is_word(3, "FAILOVER") {
        log::info!(
            "Failover request received for replid {}.",
            String::from_utf8_lossy(ctx.arg(1))
        );
        if !engine.role.is_replica() {
            return Err(CommandError::line(
                "ERR PSYNC FAILOVER can't be sent to a master.",
            ));
        }
        if !ctx
            .arg(1)
            .eq_ignore_ascii_case(server.replication.histories().id.as_bytes())
        {
            return Err(CommandError::line(
                "ERR PSYNC FAILOVER replid must match my replid.",
            ));
        }
        log::info!(
            "PRIMARY MODE enabled (failover request from '{}')",
            ctx.session.shared.addr
        );
        crate::replication::promote(&server);
    }
    let offset = ctx.integer(2).inspect_err(|_| {
        let address = &ctx.session.shared.addr;
        log::warn!("Replica {address} asks for synchronization but with a wrong offset");
    })?;
    // A replica that has nothing asks for offset -1.
    let resume = u64::try_from(offset).ok();
    let resume = resume.map(|offset| (ctx.arg(1).to_vec(), offset));
    synchronize(ctx, resume, false)
}

fn synchronize(
    ctx: &mut Context<'_, '_>,
    resume: Option<(Vec<u8>, u64)>,
    is_old: bool,
) -> CommandResult {
    if ctx.denies_blocking() {
        return Err(CommandError::line(
            "ERR SYNC and PSYNC are not allowed inside of other commands",
        ));
    }
    if Server::of(ctx)?.replication.failover.is_active() {
        return Err(CommandError::line(
            "NOMASTERLINK Can't SYNC while failing over",
        ));
    }
    if ctx.engine.role.is_replica() && !ctx.engine.role.is_linked() {
        return Err(CommandError::line(
            "NOMASTERLINK Can't SYNC while not connected with my master",
        ));
    }
    let setup = ctx.session.replica.as_deref();
    if setup.is_some_and(|setup| setup.filter.is_some() && !setup.eof) {
        return Err(CommandError::line(
            "ERR Filtered replica requires EOF capability",
        ));
    }
    if !is_old && begins_apart(ctx, &*Server::of(ctx)?, resume.as_ref()) {
        ctx.reply.simple("DUALCHANNELSYNC");
        return Ok(Outcome::Done);
    }
    ctx.session.sync = Some(Box::new(SyncRequest { resume, is_old }));
    Ok(Outcome::Block(Block::Leaves))
}

/// Whether the replica is to ask for a snapshot on a connection of its own: it can, and it needs
/// one. This connection stays one of a client until it asks for the stream behind that.
fn begins_apart(ctx: &Context<'_, '_>, server: &Server, resume: Option<&(Vec<u8>, u64)>) -> bool {
    let config = &server.engine.config;
    let is_on = config.bool(P::DualChannelReplicationEnabled) && config.bool(P::ReplDisklessSync);
    let Some(setup) = ctx.session.replica.as_deref().filter(|it| it.dual_channel) else {
        return false;
    };
    let address = &ctx.session.shared.addr;
    if !is_on || crate::replication::can_continue(server, setup, address, resume) {
        return false;
    }
    if resume.is_some() {
        server.replication.refused.fetch_add(1, Ordering::Relaxed);
    }
    log::info!(
        "Dual channel replication: Replica {address} is capable of dual channel synchronization, and partial sync isn't possible. Full sync will continue with dedicated RDB channel."
    );
    true
}

const REPLICAOF_BASE: CommandSpec = CommandSpec::BASE
    .group(Group::Server)
    .flags(Flags::NO_ASYNC_LOADING.or(Flags::ADMIN))
    .flags(Flags::NOSCRIPT.or(Flags::STALE))
    .locks(Locks::All)
    .complexity("O(1)")
    .args(&[Arg::one_of("args").args(&[
        Arg::block("host-port").args(&[Arg::string("host"), Arg::integer("port")]),
        Arg::block("no-one").args(&[Arg::word("no", "NO"), Arg::word("one", "ONE")]),
    ])]);

const REPLICAOF: CommandSpec = REPLICAOF_BASE
    .named("replicaof", 3, replicaof)
    .since("5.0.0")
    .summary("Follows a primary from now on, or nobody.");

const SLAVEOF: CommandSpec = REPLICAOF_BASE
    .named("slaveof", 3, replicaof)
    .since("1.0.0")
    .deprecated_since("5.0.0")
    .replaced_by("`REPLICAOF`")
    .summary("Follows a primary from now on, or nobody.");

fn replicaof(ctx: &mut Context<'_, '_>) -> CommandResult {
    let server = Server::of(ctx)?;
    if server.replication.failover.is_active() {
        return Err(CommandError::line(
            "ERR REPLICAOF not allowed while failing over.",
        ));
    }
    if ctx.is_word(1, "no") && ctx.is_word(2, "one") {
        if ctx.engine.role.is_replica() {
            log::info!(
                "PRIMARY MODE enabled (user request from '{}')",
                ctx.session.shared.addr
            );
        }
        crate::replication::promote(&server);
        ctx.reply.ok();
        return Ok(Outcome::Done);
    }
    let port = ctx.integer(2)?;
    let port = u16::try_from(port).map_err(|_| CommandError::line("ERR Invalid master port"))?;
    let host =
        str::from_utf8(ctx.arg(1)).map_err(|_| CommandError::line("ERR Invalid master host"))?;
    let following = server.replication.following();
    if following.is_some_and(|it| it.host.eq_ignore_ascii_case(host) && it.port == port) {
        log::info!(
            "REPLICAOF would result into synchronization with the primary we are already connected with. No operation performed."
        );
        ctx.reply.simple("OK Already connected to specified master");
        return Ok(Outcome::Done);
    }
    crate::replication::follow_primary(&server, host, port);
    log::info!(
        "REPLICAOF {host}:{port} enabled (user request from '{}')",
        ctx.session.shared.addr
    );
    ctx.reply.ok();
    Ok(Outcome::Done)
}

const REPLCONF: CommandSpec = CommandSpec::new("replconf", -1, replconf)
    .group(Group::Server)
    .since("3.0.0")
    .flags(Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::ALLOW_BUSY))
    .flags(Flags::ANY_TIME)
    .summary("Tells what a replica is and can.")
    .complexity("O(1)");

fn replconf(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let mut setup = ctx.session.replica.take().unwrap_or_default();
    let result = set_up(ctx, &mut setup);
    ctx.session.replica = Some(setup);
    if result? {
        ctx.reply.ok();
    }
    Ok(Outcome::Done)
}

/// Takes over all options. Returns whether that is to be answered.
fn set_up(ctx: &Context<'_, '_>, setup: &mut ReplicaSetup) -> Result<bool, CommandError> {
    for index in (1..ctx.args.len()).step_by(2) {
        let (option, value) = (ctx.arg(index), ctx.arg(index + 1));
        match option.to_ascii_lowercase().as_slice() {
            b"listening-port" => {
                setup.port = u16::try_from(ctx.integer(index + 1)?).unwrap_or(0);
            }
            b"ip-address" if value.len() > ADDRESS_MAX => {
                return Err(CommandError::owned(format!(
                    "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                    value.len()
                )));
            }
            b"ip-address" => setup.ip = String::from_utf8_lossy(value).into_owned(),
            b"capa" => match value.to_ascii_lowercase().as_slice() {
                b"eof" => setup.eof = true,
                b"psync2" => setup.psync2 = true,
                b"lodestore" => setup.is_lodestore = true,
                b"dual-channel" => setup.dual_channel = true,
                // What is not understood here is not used.
                _ => {}
            },
            // Only a replica sends these, and its connection is not a worker's any more.
            b"ack" | b"getack" => return Ok(false),
            b"rdb-only" => setup.rdb_only = switch(ctx, index + 1)?,
            b"rdb-filter-only" => setup.filter = Some(filter(value)?),
            b"version" => setup.version = version(value)?,
            b"rdb-channel" => setup.rdb_channel = switch(ctx, index + 1)?,
            b"set-rdb-client-id" => setup.rdb_client = Some(rdb_client(ctx, index + 1)?),
            b"set-cluster-node-id" => {
                return Err(CommandError::line(
                    "ERR This instance has cluster support disabled",
                ));
            }
            _ => {
                return Err(CommandError::owned(format!(
                    "ERR Unrecognized REPLCONF option: {}",
                    String::from_utf8_lossy(option)
                )));
            }
        }
    }
    Ok(true)
}

fn switch(ctx: &Context<'_, '_>, index: usize) -> Result<bool, CommandError> {
    match ctx.integer(index)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CommandError::line(
            "ERR value is out of range, value must between 0 and 1",
        )),
    }
}

/// The connection that the snapshot is sent on.
fn rdb_client(ctx: &Context<'_, '_>, index: usize) -> Result<u64, CommandError> {
    let id = ctx.integer(index)?;
    let known = u64::try_from(id).ok();
    let server = Server::of(ctx)?;
    known
        .filter(|id| server.replication.is_rdb_client(*id))
        .ok_or_else(|| CommandError::owned(format!("ERR Unrecognized RDB client id {id}")))
}

/// The value of `rdb-filter-only`: words for the parts that are wanted.
fn filter(value: &[u8]) -> Result<SnapshotFilter, CommandError> {
    let mut filter = SnapshotFilter::default();
    for word in value.split(u8::is_ascii_whitespace) {
        match word.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"functions" => filter.functions = true,
            _ => {
                return Err(CommandError::owned(format!(
                    "ERR Unsupported rdb-filter-only option: {}",
                    String::from_utf8_lossy(word)
                )));
            }
        }
    }
    Ok(filter)
}

/// `major.minor.patch` as one number, with a byte each for the last two.
fn version(value: &[u8]) -> Result<u32, CommandError> {
    let text = str::from_utf8(value).unwrap_or_default();
    let mut parts = text.split('.').map(|part| part.parse::<u8>().ok());
    let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
    match (
        major.flatten(),
        minor.flatten(),
        patch.flatten(),
        parts.next(),
    ) {
        (Some(major), Some(minor), Some(patch), None) => {
            Ok(u32::from_be_bytes([0, major, minor, patch]))
        }
        _ => Err(CommandError::owned(format!(
            "ERR Unrecognized version format: {}",
            String::from_utf8_lossy(value)
        ))),
    }
}

const ROLE: CommandSpec = CommandSpec::new("role", 1, role)
    .group(Group::Server)
    .since("2.8.12")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::ANY_TIME))
    .categories(Categories::ADMIN.or(Categories::DANGEROUS))
    .summary("Returns whether the server is a primary, and its replicas.")
    .complexity("O(1)");

fn role(ctx: &mut Context<'_, '_>) -> CommandResult {
    if let Some(following) = Server::of(ctx)?.replication.following() {
        let offset = match following.state {
            LinkState::Connected => ctx.engine.log.stream_offset() as i64,
            _ => -1,
        };
        ctx.reply.array(5);
        ctx.reply.bulk(b"slave");
        ctx.reply.bulk(following.host.as_bytes());
        ctx.reply.integer(i64::from(following.port));
        ctx.reply.bulk(following.state.word().as_bytes());
        ctx.reply.integer(offset);
        return Ok(Outcome::Done);
    }
    let replicas = ctx.engine.replicas.all();
    let online = replicas
        .iter()
        .filter(|replica| replica.state() == SyncState::Online && !replica.setup.rdb_only);
    let online: Vec<_> = online.collect();
    ctx.reply.array(3);
    ctx.reply.bulk(b"master");
    ctx.reply.integer(ctx.engine.log.stream_offset() as i64);
    ctx.reply.array(online.len());
    for replica in online {
        ctx.reply.array(3);
        ctx.reply.bulk(replica.ip().as_bytes());
        ctx.reply.integer_bulk(i64::from(replica.setup.port));
        ctx.reply.integer_bulk(replica.acknowledged() as i64);
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_that_can_be_compared() {
        assert_eq!(version(b"9.1.2").ok(), Some(0x0009_0102));
        assert!(version(b"8.1.4").unwrap() < version(b"9.0.0").unwrap());
        for bad in [&b""[..], b"9", b"9.1", b"9.1.2.3", b"a.b.c", b"9.1.300"] {
            assert!(version(bad).is_err());
        }
    }

    #[test]
    fn filters_are_words() {
        assert_eq!(filter(b"").ok(), Some(SnapshotFilter { functions: false }));
        assert_eq!(
            filter(b"FUNCTIONS").ok(),
            Some(SnapshotFilter { functions: true })
        );
        assert!(filter(b"functions keys").is_err());
    }
}

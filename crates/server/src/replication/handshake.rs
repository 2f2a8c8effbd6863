//! The beginning of a connection to a primary.

use std::sync::atomic::Ordering;

use super::failover;
use super::follow::{FollowError, PrimaryLink, Wire};
use super::roles::announced;
use crate::server::Server;
use crate::state::Mail;
use engine::config::P;
use engine::version::VALKEY_VERSION;

/// What the primary answers to PSYNC.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A snapshot follows, which stands for this offset of this history.
    Full {
        /// The history.
        id: String,
        /// Stream offset.
        offset: u64,
    },
    /// The stream follows from where we are.
    Continue,
    /// A snapshot is to be asked for on a connection of its own.
    Apart,
}

/// Gets to know the primary, and asks for what is missing here.
pub(super) fn run(link: &PrimaryLink, wire: &mut Wire) -> Result<Answer, FollowError> {
    let reply = ask(link, wire, &[b"PING"])?;
    let is_alive = reply.starts_with(b"+")
        || reply.starts_with(b"-NOAUTH")
        || reply.starts_with(b"-NOPERM")
        || reply.starts_with(b"-ERR operation not permitted");
    if !is_alive {
        return Err(refusal("PING", &reply));
    }
    log::info!("Primary replied to PING, replication can continue...");
    authenticate(link, wire)?;
    introduce(link, wire)?;
    synchronize(link, wire)
}

/// Logs in, when the configuration has a password for that.
pub(super) fn authenticate(link: &PrimaryLink, wire: &mut Wire) -> Result<(), FollowError> {
    let config = &link.server.engine.config;
    let (user, password) = (config.bytes(P::PrimaryUser), config.bytes(P::PrimaryAuth));
    if password.is_empty() {
        return Ok(());
    }
    let reply = match user.is_empty() {
        true => ask(link, wire, &[b"AUTH", &password])?,
        false => ask(link, wire, &[b"AUTH", &user, &password])?,
    };
    if reply.starts_with(b"-") {
        let reply = String::from_utf8_lossy(&reply);
        let text = format!("Unable to AUTH to PRIMARY: {reply}");
        return Err(FollowError::Refused(text));
    }
    Ok(())
}

/// Tells the primary what this server is. A primary that does not understand it goes on all the
/// same.
fn introduce(link: &PrimaryLink, wire: &mut Wire) -> Result<(), FollowError> {
    let (host, port) = announced(&link.server);
    let port = port.to_string();
    let mut requests: Vec<Vec<&[u8]>> = vec![vec![b"REPLCONF", b"listening-port", port.as_bytes()]];
    if let Some(host) = &host {
        requests.push(vec![b"REPLCONF", b"ip-address", host.as_bytes()]);
    }
    let mut capabilities: Vec<&[u8]> = vec![b"REPLCONF"];
    let config = &link.server.engine.config;
    let apart: &[&[u8]] = match config.bool(P::DualChannelReplicationEnabled) {
        true => &[b"dual-channel"],
        false => &[],
    };
    for capability in [&[b"eof".as_slice(), b"psync2", b"lodestore"][..], apart].concat() {
        capabilities.extend([b"capa", capability]);
    }
    requests.push(capabilities);
    requests.push(vec![b"REPLCONF", b"version", VALKEY_VERSION.as_bytes()]);
    for request in requests {
        let reply = ask(link, wire, &request)?;
        if reply.starts_with(b"-") {
            let option = request.get(1).copied().unwrap_or_default();
            log::info!(
                "(Non critical) Primary does not understand REPLCONF {}: {}",
                String::from_utf8_lossy(option),
                String::from_utf8_lossy(&reply)
            );
        }
    }
    Ok(())
}

/// Asks for what is missing. In a failover of ours the target is asked to be the primary, and its
/// answer decides about that.
fn synchronize(link: &PrimaryLink, wire: &mut Wire) -> Result<Answer, FollowError> {
    let server = &*link.server;
    let is_failover = server.replication.failover.is_in_progress();
    let (request, own) = psync_request(server, is_failover);
    let request: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    wire.send(&request)?;
    let reply = wire.line(link)?;
    if is_failover {
        let _locked = server.engine.keyspace.lock_all();
        link.check()?;
        match reply.first() {
            Some(b'+') => failover::succeed(server),
            _ => failover::abort(server, "Failover target rejected psync request"),
        }
    }
    understand(link, &reply, &own)
}

/// The request, and the replication id of the data here.
fn psync_request(server: &Server, is_failover: bool) -> (Vec<Vec<u8>>, String) {
    let own = server.replication.histories().id;
    let next = (server.engine.log.stream_offset() + 1).to_string();
    let (id, next) = match has_history(server) {
        true => {
            log::info!("Trying a partial resynchronization (request {own}:{next}).");
            (own.as_str(), next.as_str())
        }
        false => {
            log::info!("Partial resynchronization not possible (no cached primary)");
            ("?", "-1")
        }
    };
    let mut request = vec![b"PSYNC".to_vec(), id.into(), next.into()];
    if is_failover {
        request.push(b"FAILOVER".to_vec());
    }
    (request, own)
}

fn understand(link: &PrimaryLink, reply: &[u8], own: &str) -> Result<Answer, FollowError> {
    let text = String::from_utf8_lossy(reply).into_owned();
    let mut words = text.split(' ');
    match words.next() {
        Some("+FULLRESYNC") => {
            let (id, offset) = (words.next(), words.next());
            let id = id.filter(|id| id.len() == 40);
            let offset = offset.and_then(|offset| offset.parse().ok());
            let (Some(id), Some(offset)) = (id, offset) else {
                return Err(refusal("PSYNC", reply));
            };
            log::info!("Full resync from primary: {id}:{offset}");
            let id = id.to_ascii_lowercase();
            Ok(Answer::Full { id, offset })
        }
        Some("+DUALCHANNELSYNC") => {
            log::info!("Dual channel replication: PSYNC is not possible, initialize RDB channel.");
            Ok(Answer::Apart)
        }
        Some("+CONTINUE") => {
            log::info!("Successful partial resynchronization with primary.");
            if let Some(id) = words.next().filter(|id| id.len() == 40 && *id != own) {
                continue_as(link, id)?;
            }
            Ok(Answer::Continue)
        }
        _ => Err(refusal("PSYNC", reply)),
    }
}

/// The data here has a name and an offset that a primary may know: it was copied from one, or its
/// changes were counted all the time.
fn has_history(server: &Server) -> bool {
    let lacks_data = server.replication.lacks_data.load(Ordering::Acquire);
    !lacks_data && (server.engine.log.is_enabled() || server.engine.log.stream_range().is_some())
}

/// The primary goes on with our history under another name.
fn continue_as(link: &PrimaryLink, id: &str) -> Result<(), FollowError> {
    let server = &*link.server;
    let _locked = server.engine.keyspace.lock_all();
    link.check()?;
    let (old, offset) = (
        server.replication.histories().id,
        server.engine.log.stream_offset(),
    );
    log::info!("Primary replication ID changed to {id}");
    server.replication.join_history(id, Some((old, offset)));
    // Replicas of this server learn the new name when they ask again.
    server.replication.send(Mail::Disconnect);
    if let Some(id) = server.replication.log_id() {
        server.engine.log.set_replication_id(id);
    }
    Ok(())
}

pub(super) fn ask(
    link: &PrimaryLink,
    wire: &mut Wire,
    request: &[&[u8]],
) -> Result<Vec<u8>, FollowError> {
    wire.send(request)?;
    wire.line(link)
}

pub(super) fn refusal(what: &str, reply: &[u8]) -> FollowError {
    let reply = String::from_utf8_lossy(reply);
    FollowError::Refused(format!("Error reply to {what} from primary: '{reply}'"))
}

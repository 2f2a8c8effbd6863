//! A full synchronization on two connections (`dual-channel-replication-enabled`), as the replica
//! sees it.
//!
//! ```text
//! main   PSYNC ...                    -> +DUALCHANNELSYNC
//! rdb    REPLCONF rdb-channel 1, SYNC -> $ENDOFF:offset id db client, then the snapshot
//! main   REPLCONF set-rdb-client-id client, PSYNC id offset+1 -> +CONTINUE, then the stream
//! ```
//!
//! The primary keeps no stream for a replica that loads: it comes at once and waits here, up to a
//! limit, behind which the primary keeps it after all.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::follow::{FollowError, PrimaryLink, Wire};
use super::handshake::{ask, authenticate, refusal};
use super::receive;
use super::roles::announced;
use crate::state::LinkState;
use engine::config::{ClientClass, P};
use engine::version::VALKEY_VERSION;

/// Time between two looks whether the snapshot is loaded, when no more of the stream is read.
const NAP: Duration = Duration::from_millis(10);

/// The answer to SYNC on the connection of the snapshot.
struct Place {
    offset: u64,
    id: String,
    client: String,
}

/// Receives and loads the snapshot on a connection of its own. What has come of the stream
/// meanwhile is the input of `main` then.
pub(super) fn run(
    link: &PrimaryLink,
    main: &mut Wire,
    (host, port): (&str, u16),
) -> Result<(), FollowError> {
    let mut rdb = Wire::connect(link, host, port)?;
    let place = ask_for_snapshot(link, &mut rdb)?;
    ask_for_stream(link, main, &place)?;
    link.note(LinkState::Sync);
    let is_loaded = AtomicBool::new(false);
    let handle = rdb.handle()?;
    let replication = &link.server.replication;
    replication.buffered_peak.store(0, Ordering::Relaxed);
    let (received, buffered) = std::thread::scope(|scope| {
        let buffering = scope.spawn(|| {
            let buffered = buffer(link, main, &is_loaded);
            if buffered.is_err() {
                // The thread that reads the snapshot waits for more of it.
                let _ = handle.shutdown(Shutdown::Both);
            }
            buffered
        });
        let received = receive::run(link, &mut rdb, &place.id, place.offset);
        is_loaded.store(true, Ordering::Release);
        match buffering.join() {
            Ok(buffered) => (received, buffered),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    replication.buffered.store(0, Ordering::Relaxed);
    buffered?;
    received?;
    log::info!("Dual channel replication: Successfully streamed replication data into memory");
    Ok(())
}

fn ask_for_snapshot(link: &PrimaryLink, rdb: &mut Wire) -> Result<Place, FollowError> {
    authenticate(link, rdb)?;
    let (address, port) = announced(&link.server);
    let port = port.to_string();
    let mut request: Vec<&[u8]> = vec![b"REPLCONF", b"capa", b"eof", b"capa", b"lodestore"];
    request.extend([b"rdb-only".as_slice(), b"1", b"rdb-channel", b"1"]);
    request.extend([b"listening-port", port.as_bytes()]);
    request.extend([b"version", VALKEY_VERSION.as_bytes()]);
    if let Some(address) = &address {
        request.extend([b"ip-address", address.as_bytes()]);
    }
    let reply = ask(link, rdb, &request)?;
    if !reply.starts_with(b"+") {
        return Err(refusal("REPLCONF rdb-channel", &reply));
    }
    let reply = ask(link, rdb, &[b"SYNC"])?;
    parse(&reply).ok_or_else(|| refusal("SYNC", &reply))
}

/// `$ENDOFF:<stream offset> <replication id> <database> <client id>`
fn parse(reply: &[u8]) -> Option<Place> {
    let text = str::from_utf8(reply).ok()?.strip_prefix("$ENDOFF:")?;
    let mut words = text.split(' ');
    let (offset, id) = (words.next()?.parse().ok()?, words.next()?);
    // The snapshot says which database is selected, too.
    let (_db, client) = (words.next()?, words.next()?);
    (id.len() == 40).then(|| Place {
        offset,
        id: id.to_ascii_lowercase(),
        client: client.to_owned(),
    })
}

fn ask_for_stream(link: &PrimaryLink, main: &mut Wire, place: &Place) -> Result<(), FollowError> {
    let client = place.client.as_bytes();
    let reply = ask(link, main, &[b"REPLCONF", b"set-rdb-client-id", client])?;
    if !reply.starts_with(b"+") {
        return Err(refusal("REPLCONF set-rdb-client-id", &reply));
    }
    let next = (place.offset + 1).to_string();
    log::info!(
        "Dual channel replication: Trying a partial resynchronization using main channel (request {}:{next}).",
        place.id
    );
    let reply = ask(
        link,
        main,
        &[b"PSYNC", place.id.as_bytes(), next.as_bytes()],
    )?;
    match reply.starts_with(b"+CONTINUE") {
        true => Ok(()),
        false => Err(refusal("PSYNC", &reply)),
    }
}

/// Reads the stream until the snapshot is loaded, as much of it as the limit allows.
fn buffer(link: &PrimaryLink, main: &mut Wire, is_loaded: &AtomicBool) -> Result<(), FollowError> {
    let (limit, replication) = (limit(link), &link.server.replication);
    let mut is_told = false;
    while !is_loaded.load(Ordering::Acquire) {
        let len = main.input.len();
        replication.buffered.store(len as u64, Ordering::Relaxed);
        let peak = &replication.buffered_peak;
        peak.fetch_max(len as u64, Ordering::Relaxed);
        if len < limit {
            main.read(link)?;
            continue;
        }
        if !std::mem::replace(&mut is_told, true) {
            log::info!(
                "Dual channel replication: Replication buffer limit reached ({limit} bytes), stopping buffering. Further accumulation will occur on primary side."
            );
        }
        link.check()?;
        std::thread::sleep(NAP);
    }
    Ok(())
}

/// Bytes of the stream that may wait here: `replica-full-sync-buffer-limit`, else the hard limit
/// for replicas of `client-output-buffer-limit`; 0 in both is no limit.
fn limit(link: &PrimaryLink) -> usize {
    let config = &link.server.engine.config;
    let own = config.size(P::ReplicaFullSyncBufferLimit);
    let hard = config.output_limits().of(ClientClass::Replica).hard;
    match (own, usize::try_from(hard).unwrap_or(usize::MAX)) {
        (0, 0) => usize::MAX,
        (0, hard) => hard,
        (own, _) => own,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_answer_to_sync_has_four_words() {
        let id = "0123456789abcdef0123456789ABCDEF01234567";
        let line = |rest: &str| format!("$ENDOFF:{rest}").into_bytes();
        let place = parse(&line(&format!("17 {id} -1 42"))).unwrap();
        assert_eq!((place.offset, place.client.as_str()), (17, "42"));
        assert_eq!(place.id, id.to_ascii_lowercase());
        for rest in ["", "17", "x y z", "17 short 0 1", &format!("17 {id} 0")] {
            assert!(parse(&line(rest)).is_none(), "{rest}");
        }
        assert!(parse(b"-ERR no").is_none());
    }
}

//! First stage of a batch: requests out of the bytes of a connection, with their commands and the
//! hashes of their keys.

use resp::{Limits, OwnedArgs, Progress, Span};

use super::round::{Batch, LastCommand, Pending, What};
use crate::server::Server;
use crate::transport::connection::Connection;
use engine::config::P;
use engine::table::{KeyPlan, Resolved};

/// Requests that are looked ahead over. Enough to overlap the memory accesses of a core's line-fill
/// buffers several times over, small enough that the prefetched lines stay in the first-level
/// cache.
const BATCH_REQUESTS: usize = 32;

/// Why parsing has ended.
pub(super) enum Parsed {
    /// There is no further request.
    All,
    /// The requests so far are to be executed before the next is parsed.
    Full,
    /// A TLS handshake begins.
    Handshake,
}

/// What stands at the beginning of some input.
enum Next {
    /// A request of so many bytes.
    Request(usize, What),
    /// So many bytes that mean nothing.
    Nothing(usize),
    /// A part of a request.
    Incomplete,
}

/// Parses requests of one source into the batch until that has to be executed.
pub(super) fn until_full(
    server: &Server,
    batch: &mut Batch,
    (index, connection): (usize, &mut Connection),
) -> Parsed {
    let limits = request_limits(server, connection);
    let db = connection.session.db;
    // An AUTH changes the limits of the requests behind it.
    let is_one_by_one = !connection.session.is_authenticated();
    loop {
        let Some(source) = batch.sources.get(index) else {
            return Parsed::All;
        };
        let start = source.parsed;
        let bytes = source.bytes.slice(&batch.arena);
        let input = bytes.get(start..).unwrap_or_default();
        let first_span = batch.spans.len();
        let parser = &mut connection.parser;
        let (len, what) = match parser.parse_whole(input, &limits, &mut batch.spans) {
            Some((len, args)) => (len, What::Spans(first_span, args)),
            None if input.is_empty() => return Parsed::All,
            None if is_client_hello(input) => return Parsed::Handshake,
            None => {
                let lists = (&mut batch.spans, &mut batch.inline);
                match parse_other(connection, input, &limits, lists) {
                    Next::Request(len, what) => (len, what),
                    Next::Incomplete => return Parsed::All,
                    Next::Nothing(len) => {
                        skip(batch, index, start + len);
                        continue;
                    }
                }
            }
        };
        connection.missing = 0;
        let mut pending = Pending {
            source: index,
            start,
            end: start + len,
            what,
            command: Resolved::Unknown,
            hash: None,
            db,
            has_index: false,
            member: None,
        };
        look_up(server, batch, &mut pending);
        if let Some(source) = batch.sources.get_mut(index) {
            source.parsed = pending.end;
        }
        batch.pending.push(pending);
        if is_one_by_one || batch.pending.len() >= BATCH_REQUESTS {
            return Parsed::Full;
        }
    }
}

/// Everything but a plain request that is there as a whole.
#[cold]
fn parse_other(
    connection: &mut Connection,
    input: &[u8],
    limits: &Limits,
    (spans, inline): (&mut Vec<Span>, &mut Vec<OwnedArgs>),
) -> Next {
    let first_span = spans.len();
    match connection.parser.parse(input, limits, spans) {
        Ok(Progress::NeedMore { hint }) => {
            connection.missing = hint;
            Next::Incomplete
        }
        Ok(Progress::Empty { consumed }) => Next::Nothing(consumed),
        Ok(Progress::Request { consumed, args }) => {
            Next::Request(consumed, What::Spans(first_span, args))
        }
        Ok(Progress::Inline { consumed, args }) => {
            inline.push(args);
            Next::Request(consumed, What::Inline(inline.len() - 1))
        }
        Err(error) => Next::Request(input.len(), What::Broken(error)),
    }
}

/// Bytes up to `end` mean nothing: they go with the request before them.
#[cold]
fn skip(batch: &mut Batch, index: usize, end: usize) {
    let Some(source) = batch.sources.get_mut(index) else {
        return;
    };
    source.parsed = end;
    match batch.pending.last_mut() {
        Some(last) if last.source == index => last.end = end,
        _ => source.position = end,
    }
}

/// The command, and the hash of its key.
#[inline]
fn look_up(server: &Server, batch: &mut Batch, pending: &mut Pending) {
    let Ok(args) = pending.args(batch) else {
        return;
    };
    let last = batch.last.as_ref();
    let known = last.filter(|last| last.is(args)).map(|last| last.command);
    pending.command = match known {
        Some(command) => Resolved::Command(command),
        None => server.engine.commands.resolve(args),
    };
    let Some(command) = pending.command.found() else {
        return;
    };
    let KeyPlan::One(position) = command.plan else {
        return;
    };
    let Some(key) = args.get(position.index) else {
        return;
    };
    pending.hash = Some(server.engine.keyspace.hash(key));
    // Without a container the name alone means this command.
    if known.is_none() && command.parent.is_none() {
        batch.last = LastCommand::new(args, command);
    }
}

fn request_limits(server: &Server, connection: &Connection) -> Limits {
    if !connection.session.is_authenticated() {
        return Limits::UNAUTHENTICATED;
    }
    Limits {
        max_bulk: server.engine.config.int(P::ProtoMaxBulkLen).max(0) as usize,
        ..Limits::default()
    }
}

/// The beginning of the first record of TLS: a handshake, of a version 3.x. No command begins so.
fn is_client_hello(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x16, 0x03])
}

//! MIGRATE.
//!
//! The keys stay locked while the other server takes them, so that each key is in exactly one place
//! for all clients. Clients of this worker and of the shards of these keys wait meanwhile, no
//! longer than the timeout for each step; other clients are not delayed. That is why locks which a
//! worker holds over its batch are given back first ([`Locks::ByArguments`]).

use std::io;
use std::time::Duration;

use resp::{Args, request};

use crate::server::Server;
use crate::state::Connection;
use engine::command::KeyPosition;
use engine::command::*;
use engine::commands::generic::delete_key;
use engine::config::P;
use engine::context::Context;
use engine::error::CommandError;
use engine::execute::{CommandResult, CommandSpec, Outcome};
use engine::keys::Key;
use engine::rdb_options;

const CONNECTING: CommandError =
    CommandError::line("IOERR error or timeout connecting to the client");
const WRITING: CommandError =
    CommandError::line("IOERR error or timeout writing to target instance");
const READING: CommandError =
    CommandError::line("IOERR error or timeout reading to target instance");
const MYSELF: CommandError = CommandError::line(
    "IOERR error or timeout connecting to the client: the target is this server itself",
);
const KEY_AND_KEYS: CommandError = CommandError::line(
    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
);

/// The timeout of a step when the command has none, in milliseconds.
const TIMEOUT_DEFAULT_MS: u64 = 1000;

const KEY_FLAGS: KeyFlags = KeyFlags::RW_ACCESS_DELETE;

pub(super) const MIGRATE: CommandSpec = CommandSpec::new("migrate", -6, migrate)
    .group(Group::Generic)
    .since("2.6.0")
    .flags(Flags::WRITE)
    .categories(Categories::DANGEROUS.or(Categories::KEYSPACE))
    .summary("Moves keys to another server.")
    .complexity(
        "That of DUMP and DEL here and of RESTORE there, and O(N) in the number of bytes that \
         are sent.",
    )
    .hints(&["nondeterministic_output"])
    .keys(&[
        KeySpec::one(3, KEY_FLAGS),
        KeySpec {
            flags: KEY_FLAGS.or(KeyFlags::INCOMPLETE),
            begin: BeginSearch::Keyword {
                keyword: "KEYS",
                start: -2,
            },
            find: FindKeys::Range {
                last: -1,
                step: 1,
                limit: 0,
            },
        },
    ])
    .find_keys(find_keys)
    .locks(Locks::ByArguments(|_| Locks::Keys))
    .secrets(is_secret)
    .args(ARGS);

const ARGS: &[Arg] = &[
    Arg::string("host"),
    Arg::integer("port"),
    Arg::one_of("key-selector").args(&[Arg::KEY, Arg::word("empty-string", "\"\"")]),
    Arg::integer("destination-db"),
    Arg::integer("timeout"),
    Arg::flag("copy", "COPY").since("3.0.0"),
    Arg::flag("replace", "REPLACE").since("3.0.0"),
    Arg::one_of("authentication").optional().args(&[
        Arg::string("auth")
            .token("AUTH")
            .display("password")
            .since("4.0.7"),
        Arg::block("auth2")
            .token("AUTH2")
            .since("6.0.0")
            .args(&[Arg::string("username"), Arg::string("password")]),
    ]),
    Arg::key("keys")
        .key_spec(1)
        .option("KEYS")
        .display("key")
        .since("3.0.6")
        .multiple(),
];

/// The key, or, when it is empty, what stands behind KEYS: an empty key is a placeholder. With a
/// key and KEYS there are none, as the command answers a syntax error.
fn find_keys(args: Args<'_>) -> KeyPositions {
    let range = match keys_option(args) {
        Some(_) if !args.arg(3).is_empty() => 0..0,
        Some(keys) => keys + 1..args.len(),
        None => 3..4.min(args.len()),
    };
    let flags = KEY_FLAGS.0;
    range.map(|index| KeyPosition { index, flags }).collect()
}

/// Where KEYS stands. Passwords may be called so.
fn keys_option(args: Args<'_>) -> Option<usize> {
    let mut index = 6;
    while index < args.len() {
        let is = |word: &[u8]| args.arg(index).eq_ignore_ascii_case(word);
        index += match () {
            () if is(b"keys") => return Some(index),
            () if is(b"auth") => 2,
            () if is(b"auth2") => 3,
            () => 1,
        };
    }
    None
}

/// The arguments of AUTH and AUTH2 are secrets. Keys may have the names of options.
fn is_secret(args: Args<'_>, index: usize) -> bool {
    let is = |index: usize, word: &[u8]| args.arg(index).eq_ignore_ascii_case(word);
    let login = (6..args.len())
        .take_while(|index| !is(*index, b"keys"))
        .find(|index| is(*index, b"auth") || is(*index, b"auth2"));
    match login {
        Some(at) if is(at, b"auth") => index == at + 1,
        Some(at) => index == at + 1 || index == at + 2,
        None => false,
    }
}

/// The parsed arguments of the command.
struct Plan<'a> {
    host: &'a [u8],
    port: u16,
    db: i64,
    timeout: Duration,
    copy: bool,
    replace: bool,
    /// User and password, or password alone.
    login: Vec<&'a [u8]>,
    /// Where the keys stand among the arguments.
    keys: std::ops::Range<usize>,
}

impl<'a> Plan<'a> {
    fn parse(ctx: &Context<'a, '_>) -> Result<Self, CommandError> {
        let args: Args<'a> = ctx.args;
        let mut plan = Plan {
            host: args.arg(1),
            port: 0,
            db: 0,
            timeout: Duration::ZERO,
            copy: false,
            replace: false,
            login: Vec::new(),
            keys: 3..4,
        };
        let mut index = 6;
        while index < args.len() {
            let more = args.len() - 1 - index;
            if ctx.is_word(index, "copy") {
                plan.copy = true;
            } else if ctx.is_word(index, "replace") {
                plan.replace = true;
            } else if ctx.is_word(index, "auth") && more >= 1 {
                plan.login = vec![args.arg(index + 1)];
                index += 1;
            } else if ctx.is_word(index, "auth2") && more >= 2 {
                plan.login = vec![args.arg(index + 1), args.arg(index + 2)];
                index += 2;
            } else if ctx.is_word(index, "keys") {
                if !args.arg(3).is_empty() {
                    return Err(KEY_AND_KEYS);
                }
                plan.keys = index + 1..args.len();
                break;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        let timeout = u64::try_from(ctx.integer(5)?).unwrap_or(0);
        plan.timeout = Duration::from_millis(match timeout {
            0 => TIMEOUT_DEFAULT_MS,
            timeout => timeout,
        });
        plan.db = ctx.integer(4)?;
        let port = str::from_utf8(args.arg(2)).ok();
        plan.port = port.and_then(|port| port.parse().ok()).unwrap_or(0);
        Ok(plan)
    }
}

/// The commands to send, and their keys.
struct Shipment<'a> {
    keys: Vec<Key<'a>>,
    bytes: Vec<u8>,
}

/// How the transfer ended.
struct Delivery<'a> {
    /// Keys that the other server has now.
    taken: Vec<Key<'a>>,
    failure: Option<CommandError>,
    /// The connection can be used again.
    is_whole: bool,
}

fn migrate(ctx: &mut Context<'_, '_>) -> CommandResult {
    let plan = Plan::parse(ctx)?;
    let Some(shipment) = pack(ctx, &plan)? else {
        ctx.reply.simple("NOKEY");
        return Ok(Outcome::Done);
    };
    let delivery = deliver(ctx, &plan, &shipment)?;
    if !plan.copy {
        let taken = delivery.taken.iter();
        let gone: Vec<Key<'_>> = taken
            .filter(|key| delete_key(ctx, **key))
            .copied()
            .collect();
        if !gone.is_empty() {
            let del: Vec<&[u8]> = std::iter::once(&b"DEL"[..])
                .chain(gone.iter().map(|key| key.bytes))
                .collect();
            ctx.propagate(&del);
        }
    }
    match delivery.failure {
        // The keys that the other server has taken are deleted here all the same, and the deletion
        // is logged.
        Some(error) => Err(error),
        None => {
            ctx.reply.ok();
            Ok(Outcome::Done)
        }
    }
}

/// A RESTORE for each key that exists; `None` without any.
fn pack<'a>(
    ctx: &mut Context<'a, '_>,
    plan: &Plan<'_>,
) -> Result<Option<Shipment<'a>>, CommandError> {
    let mut shipment = Shipment {
        keys: Vec::new(),
        bytes: Vec::new(),
    };
    let now_ms = ctx.data.now_ms;
    let mut payload = Vec::new();
    for index in plan.keys.clone() {
        let key = ctx.key(index);
        let config = &ctx.engine.config;
        let Some(entry) = ctx.data.lookup(key) else {
            continue;
        };
        let ttl = match entry.deadline() {
            None => 0,
            Some(deadline) => deadline.saturating_sub(now_ms).max(1),
        };
        payload.clear();
        rdb_options::dump(config, &entry.value(), &mut payload)
            .map_err(|error| CommandError::owned(format!("ERR {error}")))?;
        let ttl = ttl.to_string();
        let restore: [&[u8]; 5] = [b"RESTORE", key.bytes, ttl.as_bytes(), &payload, b"REPLACE"];
        let used = if plan.replace { 5 } else { 4 };
        request::encode(&mut shipment.bytes, restore.get(..used).unwrap_or_default());
        shipment.keys.push(key);
    }
    Ok((!shipment.keys.is_empty()).then_some(shipment))
}

/// Sends the shipment; when the connection turns out to be broken before anything was taken, once
/// more over a fresh one.
fn deliver<'a>(
    ctx: &Context<'_, '_>,
    plan: &Plan<'_>,
    shipment: &Shipment<'a>,
) -> Result<Delivery<'a>, CommandError> {
    let server = Server::of(ctx)?;
    let cache = &server.migrations;
    let mut may_retry = true;
    loop {
        let mut connection = match cache.take(plan.host, plan.port) {
            Some(connection) => connection,
            None => connect(ctx, plan)?,
        };
        connection
            .set_timeout(plan.timeout)
            .map_err(|_| CONNECTING)?;
        match exchange(&mut connection, plan, shipment) {
            Ok(delivery) => {
                if delivery.is_whole {
                    cache.keep(plan.host, plan.port, connection);
                }
                return Ok(delivery);
            }
            Err((error, failure)) if is_timeout(&error) || !may_retry => return Err(failure),
            Err(_) => may_retry = false,
        }
    }
}

fn connect(ctx: &Context<'_, '_>, plan: &Plan<'_>) -> Result<Connection, CommandError> {
    let host = str::from_utf8(plan.host).map_err(|_| CONNECTING)?;
    let server = Server::of(ctx)?;
    // As in Redis, connections to other nodes are of one kind.
    let encryption = match ctx.engine.config.bool(P::TlsCluster) {
        true => Some(server.tls.client().ok_or(CONNECTING)?),
        false => None,
    };
    let connection =
        Connection::open(host, plan.port, plan.timeout, encryption).map_err(not_connected)?;
    if connection.leads_to(&server.lock_listeners()) {
        return Err(MYSELF);
    }
    Ok(connection)
}

/// Redis notices that no server listens only when it writes.
fn not_connected(error: io::Error) -> CommandError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => WRITING,
        _ => CONNECTING,
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// One transfer. An error is one of the connection, before the other server has confirmed any key.
fn exchange<'a>(
    connection: &mut Connection,
    plan: &Plan<'_>,
    shipment: &Shipment<'a>,
) -> Result<Delivery<'a>, (io::Error, CommandError)> {
    let mut greeting = Vec::new();
    let mut greetings = 0;
    if !plan.login.is_empty() {
        let auth: Vec<&[u8]> = std::iter::once(&b"AUTH"[..])
            .chain(plan.login.iter().copied())
            .collect();
        request::encode(&mut greeting, &auth);
        greetings += 1;
    }
    if connection.db != Some(plan.db) {
        request::encode(&mut greeting, &[b"SELECT", plan.db.to_string().as_bytes()]);
        greetings += 1;
    }
    connection
        .send(&greeting)
        .and_then(|()| connection.send(&shipment.bytes))
        .map_err(|error| (error, WRITING))?;
    let mut refusal = None;
    for _ in 0..greetings {
        let line = connection.line().map_err(|error| (error, READING))?;
        refusal = refusal.or_else(|| refused(&line));
    }
    let refused_before = refusal.is_some();
    let mut taken = Vec::new();
    for (at, key) in shipment.keys.iter().enumerate() {
        match connection.line() {
            Ok(line) => match refused(&line) {
                None if !refused_before => taken.push(*key),
                error => refusal = refusal.or(error),
            },
            Err(error) if at == 0 && refusal.is_none() => return Err((error, READING)),
            Err(_) => {
                let failure = Some(refusal.unwrap_or(READING));
                return Ok(Delivery {
                    taken,
                    failure,
                    is_whole: false,
                });
            }
        }
    }
    connection.db = refusal.is_none().then_some(plan.db);
    Ok(Delivery {
        taken,
        failure: refusal,
        is_whole: true,
    })
}

/// The error in a line of a reply, if it is one.
fn refused(line: &[u8]) -> Option<CommandError> {
    let text = line.strip_prefix(b"-")?;
    let mut error = b"ERR Target instance replied with error: ".to_vec();
    error.extend_from_slice(text);
    Some(CommandError::Bytes(error))
}

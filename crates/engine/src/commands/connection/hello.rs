//! HELLO: protocol version, login and name in one request, with a reply that describes the server.

use resp::{Args, Protocol};

use super::auth::authenticate;
use super::client::{NAME_REFUSED, is_valid_name, set_name};
use crate::command::{Arg, Flags, Group};
use crate::config::P;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// The options of a HELLO, checked but not yet carried out.
#[derive(Default)]
struct Options<'a> {
    protocol: Option<Protocol>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

pub(crate) const HELLO: CommandSpec = CommandSpec::new("hello", -1, hello)
    .group(Group::Connection)
    .since("6.0.0")
    .flags(Flags::NOSCRIPT.or(Flags::FAST).or(Flags::NO_AUTH))
    .flags(Flags::ALLOW_BUSY.or(Flags::ANY_TIME))
    .summary(
        "Chooses the protocol version, may log in and name the connection, and tells about the \
         server.",
    )
    .complexity("O(1)")
    .secrets(is_secret)
    .args(&[Arg::block("arguments").optional().args(&[
        Arg::integer("protover"),
        Arg::block("auth")
            .option("AUTH")
            .args(&[Arg::string("username"), Arg::string("password")]),
        Arg::string("clientname").option("SETNAME"),
    ])]);
fn hello(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = parse(ctx)?;
    if let Some((user, password)) = options.login {
        authenticate(ctx, user, password)?;
    }
    if !ctx.session.is_authenticated() {
        return Err(CommandError::line(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(name) = options.name {
        set_name(ctx.session, name);
    }
    if let Some(protocol) = options.protocol {
        super::set_protocol(ctx, protocol);
    }
    describe(ctx);
    Ok(Outcome::Done)
}

/// The two arguments of AUTH, a user name and a password, are secrets.
fn is_secret(args: Args<'_>, index: usize) -> bool {
    let is_auth = |index: usize| args.arg(index).eq_ignore_ascii_case(b"auth");
    index >= 3 && (is_auth(index - 1) || is_auth(index - 2))
}

fn parse<'a>(ctx: &Context<'a, '_>) -> Result<Options<'a>, CommandError> {
    let mut options = Options::default();
    if ctx.args.len() < 2 {
        return Ok(options);
    }
    options.protocol = match resp::number::parse_i64(ctx.arg(1)) {
        Some(2) => Some(Protocol::Resp2),
        Some(3) => Some(Protocol::Resp3),
        Some(_) => return Err(CommandError::line("NOPROTO unsupported protocol version")),
        None => {
            return Err(CommandError::line(
                "ERR Protocol version is not an integer or out of range",
            ));
        }
    };
    let mut at = 2;
    while at < ctx.args.len() {
        let more = ctx.args.len() - at - 1;
        if ctx.is_word(at, "AUTH") && more >= 2 {
            options.login = Some((ctx.arg(at + 1), ctx.arg(at + 2)));
            at += 3;
        } else if ctx.is_word(at, "SETNAME") && more >= 1 {
            let name = ctx.arg(at + 1);
            if !is_valid_name(name) {
                return Err(CommandError::line(NAME_REFUSED));
            }
            options.name = Some(name);
            at += 2;
        } else {
            let mut line = b"ERR Syntax error in HELLO option '".to_vec();
            line.extend_from_slice(ctx.arg(at));
            line.push(b'\'');
            return Err(CommandError::Bytes(line));
        }
    }
    Ok(options)
}

fn describe(ctx: &mut Context<'_, '_>) {
    let config = &ctx.engine.config;
    let zone = config.bytes(P::AvailabilityZone);
    let version = config.bytes(P::RedisVersion);
    let protocol = match ctx.session.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let role: &[u8] = match ctx.engine.role.is_replica() {
        true => b"replica",
        false => b"master",
    };
    let reply = &mut ctx.reply;
    reply.map(if zone.is_empty() { 7 } else { 8 });
    reply.bulk(b"server");
    // The version is one of Redis, and client libraries ask for both before they use what is new.
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(&version);
    reply.bulk(b"proto");
    reply.integer(protocol);
    reply.bulk(b"id");
    reply.integer(ctx.session.shared.id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(role);
    reply.bulk(b"modules");
    reply.empty_array();
    if !zone.is_empty() {
        reply.bulk(b"availability_zone");
        reply.bulk(&zone);
    }
}

//! Several strings at once: MGET, MSET, MSETNX, MSETEX.

use smallvec::SmallVec;

use super::options::{Accepted, Condition, Lifetime, Options, Unit};
use super::set::write;
use super::write_string;
use crate::command::*;
use crate::context::{Context, Expiry};
use crate::error::CommandError;

pub(super) const MGET: Command = Command {
    name: "mget",
    arity: -2,
    flags: Flags::READONLY.or(Flags::FAST),
    categories: Categories::FAST.or(Categories::READ).or(Categories::STRING),
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS))],
    group: Group::String,
    since: "1.0.0",
    summary: "Returns the strings at several keys, null for a key that holds none.",
    complexity: "O(N) in the number of keys.",
    hints: &["request_policy:multi_shard"],
    args: &[Arg {
        name: "key",
        kind: ArgKind::Key,
        key_spec: Some(0),
        multiple: true,
        ..Arg::BASE
    }],
    handler: mget,
    ..Command::BASE
};

pub(super) fn mget(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = ctx.args.len();
    ctx.reply.array(count - 1);
    for index in 1..count {
        let key = ctx.key(index);
        match ctx.data.string(key) {
            Ok(Some(value)) => write_string(&mut ctx.reply, value),
            Ok(None) | Err(_) => ctx.reply.null(),
        }
    }
    Ok(Outcome::Done)
}

pub(super) const MSET: Command = Command {
    name: "mset",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    categories: Categories::SLOW
        .or(Categories::STRING)
        .or(Categories::WRITE),
    keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.or(KeyFlags::UPDATE))],
    group: Group::String,
    since: "1.0.1",
    summary: "Stores strings at several keys.",
    complexity: "O(N) in the number of keys.",
    hints: &[
        "request_policy:multi_shard",
        "response_policy:all_succeeded",
    ],
    args: &[Arg {
        name: "data",
        kind: ArgKind::Block,
        multiple: true,
        args: &[
            Arg {
                name: "key",
                kind: ArgKind::Key,
                key_spec: Some(0),
                ..Arg::BASE
            },
            Arg {
                name: "value",
                kind: ArgKind::String,
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: mset,
    ..Command::BASE
};

pub(super) fn mset(ctx: &mut Context<'_, '_>) -> CommandResult {
    check_pairs(ctx)?;
    let end = ctx.args.len();
    set_pairs(ctx, 1, end, Expiry::Clear);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const MSETNX: Command = Command {
    name: "msetnx",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    categories: Categories::SLOW
        .or(Categories::STRING)
        .or(Categories::WRITE),
    keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.or(KeyFlags::INSERT))],
    group: Group::String,
    since: "1.0.1",
    summary: "Stores strings at several keys, if none of the keys exists.",
    complexity: "O(N) in the number of keys.",
    args: &[Arg {
        name: "data",
        kind: ArgKind::Block,
        multiple: true,
        args: &[
            Arg {
                name: "key",
                kind: ArgKind::Key,
                key_spec: Some(0),
                ..Arg::BASE
            },
            Arg {
                name: "value",
                kind: ArgKind::String,
                ..Arg::BASE
            },
        ],
        ..Arg::BASE
    }],
    handler: msetnx,
    ..Command::BASE
};

pub(super) fn msetnx(ctx: &mut Context<'_, '_>) -> CommandResult {
    check_pairs(ctx)?;
    let end = ctx.args.len();
    let free = !exists_where(ctx, 1, end, true);
    if free {
        set_pairs(ctx, 1, end, Expiry::Clear);
    }
    ctx.reply.integer(i64::from(free));
    Ok(Outcome::Done)
}

/// Every key needs a value.
fn check_pairs(ctx: &Context<'_, '_>) -> Result<(), CommandError> {
    if ctx.args.len().is_multiple_of(2) {
        return Err(CommandError::Arity(ctx.entry.full_name.into()));
    }
    Ok(())
}

/// True when the existence of some key between the argument indices is `existence`.
fn exists_where(ctx: &mut Context<'_, '_>, first: usize, end: usize, existence: bool) -> bool {
    (first..end).step_by(2).any(|index| {
        let key = ctx.key(index);
        ctx.data.exists(key) == existence
    })
}

/// Stores the values of the pairs between the argument indices.
fn set_pairs(ctx: &mut Context<'_, '_>, first: usize, end: usize, expiry: Expiry) {
    for index in (first..end).step_by(2) {
        let key = ctx.key(index);
        let value = ctx.arg(index + 1);
        write(ctx, key, value, expiry);
    }
}

const ACCEPTED: Accepted = Accepted {
    existence: true,
    comparison: false,
    get: false,
    keep: true,
    persist: false,
};

pub(super) const MSETEX: Command = Command {
    name: "msetex",
    arity: -4,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    categories: Categories::STRING
        .or(Categories::WRITE)
        .or(Categories::SLOW),
    keys: &[KeySpec {
        flags: KeyFlags::OW.or(KeyFlags::UPDATE),
        begin: BeginSearch::Index(1),
        find: FindKeys::KeyNum {
            count: 0,
            first: 1,
            step: 2,
        },
    }],
    group: Group::String,
    since: "8.4.0",
    summary: "Stores strings at several keys, with a condition and a lifetime for all of them.",
    complexity: "O(N) in the number of keys.",
    hints: &[
        "request_policy:multi_shard",
        "response_policy:all_succeeded",
    ],
    args: &[
        Arg {
            name: "numkeys",
            kind: ArgKind::Integer,
            ..Arg::BASE
        },
        Arg {
            name: "data",
            kind: ArgKind::Block,
            multiple: true,
            args: &[
                Arg {
                    name: "key",
                    kind: ArgKind::Key,
                    key_spec: Some(0),
                    ..Arg::BASE
                },
                Arg {
                    name: "value",
                    kind: ArgKind::String,
                    ..Arg::BASE
                },
            ],
            ..Arg::BASE
        },
        Arg {
            name: "condition",
            kind: ArgKind::OneOf,
            optional: true,
            args: &[
                Arg {
                    name: "nx",
                    kind: ArgKind::PureToken,
                    token: Some("NX"),
                    ..Arg::BASE
                },
                Arg {
                    name: "xx",
                    kind: ArgKind::PureToken,
                    token: Some("XX"),
                    ..Arg::BASE
                },
            ],
            ..Arg::BASE
        },
        Arg {
            name: "expiration",
            kind: ArgKind::OneOf,
            optional: true,
            args: &[
                Arg {
                    name: "seconds",
                    kind: ArgKind::Integer,
                    token: Some("EX"),
                    ..Arg::BASE
                },
                Arg {
                    name: "milliseconds",
                    kind: ArgKind::Integer,
                    token: Some("PX"),
                    ..Arg::BASE
                },
                Arg {
                    name: "unix-time-seconds",
                    kind: ArgKind::UnixTime,
                    token: Some("EXAT"),
                    ..Arg::BASE
                },
                Arg {
                    name: "unix-time-milliseconds",
                    kind: ArgKind::UnixTime,
                    token: Some("PXAT"),
                    ..Arg::BASE
                },
                Arg {
                    name: "keepttl",
                    kind: ArgKind::PureToken,
                    token: Some("KEEPTTL"),
                    ..Arg::BASE
                },
            ],
            ..Arg::BASE
        },
    ],
    handler: msetex,
    ..Command::BASE
};

pub(super) fn msetex(ctx: &mut Context<'_, '_>) -> CommandResult {
    let pairs = pair_count(ctx.arg(1))?;
    let end = 2 + pairs * 2;
    if end > ctx.args.len() {
        return Err(CommandError::Syntax);
    }
    let options = Options::parse(ctx.args.skip(end), ACCEPTED)?;
    let deadline = options.deadline(ctx.data.now_ms, "msetex")?;
    let refused = match options.condition {
        Condition::Missing => exists_where(ctx, 2, end, true),
        Condition::Exists => exists_where(ctx, 2, end, false),
        Condition::Always | Condition::Compares(_) => false,
    };
    if refused {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    }
    let expiry = match (deadline, options.lifetime) {
        (Some(at), _) => Expiry::At(at),
        (None, Lifetime::Keep) => Expiry::Keep,
        (None, _) => Expiry::Clear,
    };
    set_pairs(ctx, 2, end, expiry);
    if let (Some(at), Lifetime::Until { index, unit, .. }) = (deadline, options.lifetime)
        && unit != Unit::UnixMilliseconds
    {
        let mut digits = itoa::Buffer::new();
        let mut argv: SmallVec<[&[u8]; 16]> = ctx.args.iter().collect();
        let word = end + index;
        if let Some([word, time]) = argv.get_mut(word..word + 2) {
            *word = b"PXAT";
            *time = digits.format(at).as_bytes();
        }
        ctx.propagate(&argv);
    }
    ctx.reply.integer(1);
    Ok(Outcome::Done)
}

/// The number of pairs that MSETEX announces.
fn pair_count(text: &[u8]) -> Result<usize, CommandError> {
    resp::number::parse_i64(text)
        .filter(|count| (1..=i64::from(i32::MAX)).contains(count))
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(CommandError::line(
            "ERR invalid numkeys value or out of range",
        ))
}

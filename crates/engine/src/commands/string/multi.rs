//! Several strings at once: MGET, MSET, MSETNX, MSETEX.

use smallvec::SmallVec;

use super::options::{Accepted, Condition, Lifetime, Options, Unit};
use super::set::write;
use super::write_string;
use crate::command::*;
use crate::context::{Context, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub(super) const MGET: CommandSpec = CommandSpec::new("mget", -2, mget)
    .group(Group::String)
    .since("1.0.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the strings at several keys, null for a key that holds none.")
    .complexity("O(N) in the number of keys.")
    .hints(&["request_policy:multi_shard"])
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEYS]);

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

pub(super) const MSET: CommandSpec = CommandSpec::new("mset", -3, mset)
    .group(Group::String)
    .since("1.0.1")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores strings at several keys.")
    .complexity("O(N) in the number of keys.")
    .hints(&[
        "request_policy:multi_shard",
        "response_policy:all_succeeded",
    ])
    .keys(&[KeySpec::range(1, -1, 2, KeyFlags::OW.or(KeyFlags::UPDATE))])
    .args(&[Arg::block("data").multiple().args(&[Arg::KEY, Arg::VALUE])]);

pub(super) fn mset(ctx: &mut Context<'_, '_>) -> CommandResult {
    check_pairs(ctx)?;
    let end = ctx.args.len();
    set_pairs(ctx, 1, end, Expiry::Clear);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

pub(super) const MSETNX: CommandSpec = CommandSpec::new("msetnx", -3, msetnx)
    .group(Group::String)
    .since("1.0.1")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores strings at several keys, if none of the keys exists.")
    .complexity("O(N) in the number of keys.")
    .keys(&[KeySpec::range(1, -1, 2, KeyFlags::OW.or(KeyFlags::INSERT))])
    .args(&[Arg::block("data").multiple().args(&[Arg::KEY, Arg::VALUE])]);

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

pub(super) const MSETEX: CommandSpec = CommandSpec::new("msetex", -4, msetex)
    .group(Group::String)
    .since("8.4.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Stores strings at several keys, with a condition and a lifetime for all of them.")
    .complexity("O(N) in the number of keys.")
    .hints(&[
        "request_policy:multi_shard",
        "response_policy:all_succeeded",
    ])
    .keys(&[KeySpec {
        flags: KeyFlags::OW.or(KeyFlags::UPDATE),
        begin: BeginSearch::Index(1),
        find: FindKeys::KeyNum {
            count: 0,
            first: 1,
            step: 2,
        },
    }])
    .args(&[
        Arg::NUMKEYS,
        Arg::block("data").multiple().args(&[Arg::KEY, Arg::VALUE]),
        Arg::NX_OR_XX,
        Arg::one_of("expiration").optional().args(&[
            Arg::EX,
            Arg::PX,
            Arg::EXAT,
            Arg::PXAT,
            Arg::word("keepttl", "KEEPTTL"),
        ]),
    ]);

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

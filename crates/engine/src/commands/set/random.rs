//! Random members: SPOP and SRANDMEMBER.

use std::collections::HashSet;

use keyspace::{Value, ValueRef};
use resp::Reply;
use values::{Element, Set, SetView, Thresholds};

use crate::command::*;
use crate::config::P;
use crate::context::{Context, ElementReply, EventClass, Random};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// Members named in one command of the log: bounds its length.
const REMOVED_PER_COMMAND: usize = 1024;

/// When more than this share of the members (5 of 6) is popped, those that stay are moved instead.
const FEW_STAY: usize = 5;

/// When a third of the members or more is asked for, one pass over all of them chooses; below,
/// members are picked and picked again when they come twice.
const MANY_ASKED: usize = 3;

/// The longest reply that a count may ask for when members repeat, in bytes.
const REPEATED_BYTES_MAX: usize = 1 << 30;

/// The least bytes of a bulk string in a reply.
const BULK_BYTES_MIN: usize = 6;

pub(super) const SPOP: CommandSpec = CommandSpec::new("spop", -2, spop)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Removes random members from a set and returns them.")
    .complexity("O(N) in the number of members removed.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_DELETE)])
    .args(&[Arg::KEY, Arg::integer("count").since("3.2.0").optional()]);
pub(super) fn spop(ctx: &mut Context<'_, '_>) -> CommandResult {
    match ctx.args.len() {
        2 => pop_one(ctx),
        3 => pop_several(ctx),
        _ => Err(CommandError::Syntax),
    }
}

fn pop_one(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let mut random = ctx.data.random.clone();
    let member = match ctx.data.set_mut(key)? {
        Some(set) => set.pop(&mut || random.next_u64()),
        None => None,
    };
    *ctx.data.random = random;
    let Some(member) = member else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    ctx.reply.bulk(&member);
    ctx.propagate(&[b"SREM", key.bytes, &member]);
    ctx.data.changed(key, EventClass::Set, "spop");
    ctx.data.drop_if_empty(key);
    Ok(Outcome::Done)
}

fn pop_several(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let count = resp::number::parse_i64(ctx.arg(2))
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(CommandError::line(
            "ERR value is out of range, must be positive",
        ))?;
    let size = ctx.data.set_mut(key)?.map_or(0, |set| set.len());
    if count == 0 || size == 0 {
        ctx.reply.set(0);
    } else if count >= size {
        pop_all(ctx, key);
    } else {
        pop_some(ctx, key, count, size)?;
    }
    Ok(Outcome::Done)
}

/// The whole set goes, and is logged as the removal of its key.
fn pop_all(ctx: &mut Context<'_, '_>, key: Key<'_>) {
    let Some(old) = ctx.data.take(key) else {
        return;
    };
    if let ValueRef::Set(set) = old.entry().value() {
        ctx.reply.set(set.len());
        set.iter().for_each(|member| ctx.reply.element(member));
        ctx.data
            .changed_times(set.len() as u64, key, EventClass::Set, "spop");
    }
    ctx.data.notify(EventClass::Generic, "del", key);
    ctx.data.free(old);
    let lazily = ctx.engine.config.bool(P::LazyfreeLazyServerDel);
    let word: &[u8] = if lazily { b"UNLINK" } else { b"DEL" };
    ctx.propagate(&[word, key.bytes]);
}

fn pop_some(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    count: usize,
    size: usize,
) -> Result<(), CommandError> {
    let limits = ctx.thresholds();
    let mut random = ctx.data.random.clone();
    let Some(set) = ctx.data.set_mut(key)? else {
        return Ok(());
    };
    let stay = size - count;
    // Members that stay keep their deadlines only where they are.
    let swaps = stay.saturating_mul(FEW_STAY) <= count && set.volatile_len() == 0;
    let popped = if swaps {
        Popped::Set(keep_some(set, stay, &mut random, &limits))
    } else {
        let pops = (0..count).map_while(|_| set.pop(&mut || random.next_u64()));
        Popped::Members(pops.collect())
    };
    *ctx.data.random = random;
    ctx.reply.set(popped.len());
    let mut batch: Vec<Vec<u8>> = Vec::new();
    popped.each(&mut |member| {
        ctx.reply.element(member);
        batch.push(member.to_vec());
        if batch.len() == REMOVED_PER_COMMAND {
            log_removal(ctx, key, &batch);
            batch.clear();
        }
    });
    if !batch.is_empty() {
        log_removal(ctx, key, &batch);
    }
    ctx.data
        .changed_times(count as u64, key, EventClass::Set, "spop");
    if let Popped::Set(set) = popped {
        let old = Value::Set(set);
        if old.is_big() && ctx.engine.config.bool(P::LazyfreeLazyServerDel) {
            ctx.engine.lazy.free(Box::new(old));
        }
    }
    Ok(())
}

fn log_removal(ctx: &mut Context<'_, '_>, key: Key<'_>, members: &[Vec<u8>]) {
    let mut argv: Vec<&[u8]> = vec![b"SREM", key.bytes];
    argv.extend(members.iter().map(|member| &member[..]));
    ctx.propagate(&argv);
}

/// Members that were popped.
enum Popped {
    Members(Vec<Vec<u8>>),
    Set(Set),
}

impl Popped {
    fn len(&self) -> usize {
        match self {
            Self::Members(members) => members.len(),
            Self::Set(set) => set.len(),
        }
    }

    fn each(&self, visit: &mut dyn FnMut(Element<'_>)) {
        match self {
            Self::Members(members) => members
                .iter()
                .for_each(|member| visit(Element::Bytes(member))),
            Self::Set(set) => set.iter().for_each(visit),
        }
    }
}

/// Leaves `stay` random members in the set and returns a set of all the others.
fn keep_some(set: &mut Set, stay: usize, random: &mut Random, limits: &Thresholds) -> Set {
    let mut kept = Set::new();
    for _ in 0..stay {
        if let Some(member) = set.pop(&mut || random.next_u64()) {
            kept.add(&member, limits);
        }
    }
    std::mem::replace(set, kept)
}

pub(super) const SRANDMEMBER: CommandSpec = CommandSpec::new("srandmember", -2, srandmember)
    .group(Group::Set)
    .since("1.0.0")
    .flags(Flags::READONLY)
    .summary(
        "Returns random members of a set: one, several different ones, or several of which some \
         may be the same.",
    )
    .complexity("O(N) in the number of members returned.")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY, Arg::integer("count").since("2.6.0").optional()]);
pub(super) fn srandmember(ctx: &mut Context<'_, '_>) -> CommandResult {
    match ctx.args.len() {
        2 => {}
        3 => return several(ctx),
        _ => return Err(CommandError::Syntax),
    }
    let key = ctx.key(1);
    let mut random = ctx.data.random.clone();
    let member = match ctx.data.set_ref(key)? {
        Some(set) => set.random(&mut || random.next_u64()),
        None => None,
    };
    match member {
        Some(member) => ctx.reply.element(member),
        None => ctx.reply.null(),
    }
    *ctx.data.random = random;
    Ok(Outcome::Done)
}

fn several(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = ctx.integer(2)?;
    if count == i64::MIN {
        return Err(CommandError::line(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let asked = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let key = ctx.key(1);
    let mut random = ctx.data.random.clone();
    let Some(set) = ctx.data.set_ref(key)? else {
        ctx.reply.empty_array();
        return Ok(Outcome::Done);
    };
    let reply = &mut ctx.reply;
    if count < 0 {
        repeated(set, asked, &mut random, reply)?;
    } else {
        different(set, asked, &mut random, reply);
    }
    *ctx.data.random = random;
    Ok(Outcome::Done)
}

/// Random members, each of them chosen from all.
fn repeated(
    set: &SetView,
    count: usize,
    random: &mut Random,
    reply: &mut Reply<'_>,
) -> Result<(), CommandError> {
    let too_long = || {
        Err(CommandError::line(
            "ERR value is out of range, the reply would be longer than 1 GiB",
        ))
    };
    if count > REPEATED_BYTES_MAX / BULK_BYTES_MIN {
        return too_long();
    }
    reply.array(count);
    let mut bytes = 0usize;
    for _ in 0..count {
        let Some(member) = set.random(&mut || random.next_u64()) else {
            break;
        };
        bytes = bytes
            .saturating_add(member.len())
            .saturating_add(BULK_BYTES_MIN);
        if bytes > REPEATED_BYTES_MAX {
            return too_long();
        }
        reply.element(member);
    }
    Ok(())
}

/// Different random members, all when there are not more than asked for.
fn different(set: &SetView, count: usize, random: &mut Random, reply: &mut Reply<'_>) {
    let size = set.len();
    let count = count.min(size);
    reply.array(count);
    if count == 1 {
        if let Some(member) = set.random(&mut || random.next_u64()) {
            reply.element(member);
        }
    } else if count.saturating_mul(MANY_ASKED) >= size || set.pack_bytes().is_some() {
        choose(set, count, random, reply);
    } else {
        let mut seen: HashSet<Vec<u8>, foldhash::fast::RandomState> = HashSet::default();
        while seen.len() < count {
            let Some(member) = set.random(&mut || random.next_u64()) else {
                break;
            };
            if seen.insert(member.to_vec()) {
                reply.element(member);
            }
        }
    }
}

/// Chooses among all members in one pass: each one with the chance that as many of the members left
/// are still needed (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 S).
fn choose(set: &SetView, count: usize, random: &mut Random, reply: &mut Reply<'_>) {
    let (mut needed, mut left) = (count as u64, set.len() as u64);
    for member in set.iter() {
        if needed == 0 {
            break;
        }
        if random.below(left) < needed {
            reply.element(member);
            needed -= 1;
        }
        left -= 1;
    }
}

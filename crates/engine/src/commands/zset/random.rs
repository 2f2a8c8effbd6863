//! ZRANDMEMBER.

use std::collections::HashSet;

use resp::Reply;
use values::SortedSetView;

use super::{arguments, write_head, write_member, write_members};
use crate::command::*;
use crate::context::{Context, ElementReply, Random};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

/// Up to which part of all members (one in so many) distinct ones are drawn, not chosen while
/// walking over all.
const DRAWN_PART: usize = 3;

/// The limit of a reply when members may repeat, in bytes, when `client-output-buffer-limit` sets
/// none: the count alone must not fill the memory.
const REPLY_BYTES_MAX: u64 = 1 << 30;

/// The least that a member takes in a reply, in bytes.
const MEMBER_BYTES_MIN: u64 = b"$0\r\n\r\n".len() as u64;

pub(super) const ZRANDMEMBER: CommandSpec = CommandSpec::new("zrandmember", -2, zrandmember)
    .group(Group::SortedSet)
    .since("6.2.0")
    .flags(Flags::READONLY)
    .summary("Returns random members.")
    .complexity("O(N) in the number of members that are returned")
    .hints(&["nondeterministic_output"])
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        Arg::block("options")
            .optional()
            .args(&[Arg::integer("count"), arguments::WITHSCORES]),
    ]);

pub(super) fn zrandmember(ctx: &mut Context<'_, '_>) -> CommandResult {
    if ctx.args.len() > 2 {
        return several(ctx);
    }
    let key = ctx.key(1);
    let mut random = ctx.data.random.clone();
    let found = ctx.data.zset(key)?.and_then(|members| {
        let rank = random.below(members.len() as u64) as usize;
        members.range(rank..rank + 1).next()
    });
    match found {
        Some((member, _)) => ctx.reply.element(member),
        None => ctx.reply.null(),
    }
    *ctx.data.random = random;
    Ok(Outcome::Done)
}

fn several(ctx: &mut Context<'_, '_>) -> CommandResult {
    let count = ctx.integer(2)?;
    if count == i64::MIN {
        return Err(CommandError::owned(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    let with_scores = ctx.args.len() == 4;
    if ctx.args.len() > 4 || (with_scores && !ctx.is_word(3, "withscores")) {
        return Err(CommandError::Syntax);
    }
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(OUT_OF_RANGE);
    }
    let bound = match ctx.engine.config.output_limits().normal.hard {
        0 => Bound::Refuse(REPLY_BYTES_MAX),
        hard => Bound::Stop(hard),
    };
    let key = ctx.key(1);
    let mut random = ctx.data.random.clone();
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let reply = &mut ctx.reply;
    match ctx.data.zset(key)? {
        None => reply.empty_array(),
        Some(members) if count < 0 || wanted == 1 => {
            repeated(reply, members, wanted, with_scores, &mut random, bound)?;
        }
        Some(members) if wanted >= members.len() => {
            write_members(reply, members.iter().rev(), with_scores);
        }
        Some(members) => distinct(reply, members, wanted, with_scores, &mut random),
    }
    *ctx.data.random = random;
    Ok(Outcome::Done)
}

const OUT_OF_RANGE: CommandError = CommandError::line("ERR value is out of range");

/// What happens when a reply grows beyond so many bytes.
#[derive(Clone, Copy)]
enum Bound {
    /// The client is disconnected at this size, so the rest of the reply is not written.
    Stop(u64),
    /// The command fails.
    Refuse(u64),
}

/// Members that may repeat.
fn repeated(
    reply: &mut Reply<'_>,
    members: &SortedSetView,
    count: usize,
    with_scores: bool,
    random: &mut Random,
    bound: Bound,
) -> Result<(), CommandError> {
    let least = (count as u64).saturating_mul(MEMBER_BYTES_MIN);
    if matches!(bound, Bound::Refuse(limit) if least > limit) {
        return Err(OUT_OF_RANGE);
    }
    let begin = reply.out.len();
    write_head(reply, count, with_scores);
    for _ in 0..count {
        let rank = random.below(members.len() as u64) as usize;
        if let Some((member, score)) = members.range(rank..rank + 1).next() {
            write_member(reply, member, score, with_scores);
        }
        let written = (reply.out.len() - begin) as u64;
        match bound {
            Bound::Stop(limit) if written > limit => return Ok(()),
            Bound::Refuse(limit) if written > limit => return Err(OUT_OF_RANGE),
            _ => {}
        }
    }
    Ok(())
}

/// Distinct members, fewer than there are. Every choice is equally likely.
fn distinct(
    reply: &mut Reply<'_>,
    members: &SortedSetView,
    count: usize,
    with_scores: bool,
    random: &mut Random,
) {
    write_head(reply, count, with_scores);
    let len = members.len();
    if !members.is_packed() && count <= len / DRAWN_PART {
        for rank in drawn(count, len, random) {
            if let Some((member, score)) = members.range(rank..rank + 1).next() {
                write_member(reply, member, score, with_scores);
            }
        }
        return;
    }
    // Selection sampling: each member is taken with the probability that still leads to `count` of
    // them.
    let mut wanted = count as u64;
    for (at, (member, score)) in members.iter().enumerate() {
        if random.below((len - at) as u64) < wanted {
            wanted -= 1;
            write_member(reply, member, score, with_scores);
        }
    }
}

/// `count` distinct ranks below `len` by Floyd's algorithm: one draw for each.
fn drawn(count: usize, len: usize, random: &mut Random) -> impl Iterator<Item = usize> {
    let mut taken: HashSet<usize, foldhash::fast::RandomState> = HashSet::default();
    (len - count..len).map(move |last| {
        let rank = random.below(last as u64 + 1) as usize;
        if taken.insert(rank) {
            return rank;
        }
        taken.insert(last);
        last
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_ranks_are_distinct_and_in_range() {
        let mut random = Random::new(7);
        for (count, len) in [(0, 5), (1, 1), (3, 9), (100, 300)] {
            let ranks: Vec<usize> = drawn(count, len, &mut random).collect();
            let distinct: HashSet<usize> = ranks.iter().copied().collect();
            assert_eq!((ranks.len(), distinct.len()), (count, count));
            assert!(ranks.iter().all(|rank| *rank < len));
        }
    }
}

//! Giving members scores: ZADD and ZINCRBY.

use keyspace::{NewValue, Value};
use resp::Args;
use smallvec::SmallVec;
use values::{Inserted, SortedSet, Thresholds};

use super::appeared;
use crate::command::*;
use crate::context::{Context, EventClass, Expiry};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};

const NOT_A_NUMBER: CommandError = CommandError::line("ERR resulting score is not a number (NaN)");

/// Options of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// NX: members that exist stay as they are.
    pub new_only: bool,
    /// XX: no member is added.
    pub existing_only: bool,
    /// GT: scores only grow.
    greater: bool,
    /// LT: scores only shrink.
    less: bool,
    /// CH: the reply counts changed scores, too.
    pub count_changed: bool,
    /// INCR: the given number is added to the present score.
    increment: bool,
}

impl Options {
    /// Reads the options and returns the index of the first score.
    fn parse(&mut self, args: Args<'_>) -> usize {
        let mut index = 2;
        while let Some(word) = args.get(index) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            match word.len() {
                2 if is(b"nx") => self.new_only = true,
                2 if is(b"xx") => self.existing_only = true,
                2 if is(b"gt") => self.greater = true,
                2 if is(b"lt") => self.less = true,
                2 if is(b"ch") => self.count_changed = true,
                4 if is(b"incr") => self.increment = true,
                _ => break,
            }
            index += 1;
        }
        index
    }

    /// Refuses options that contradict each other.
    fn check(&self, pairs: usize) -> Result<(), CommandError> {
        let line = if self.new_only && self.existing_only {
            "ERR XX and NX options at the same time are not compatible"
        } else if (self.new_only && (self.greater || self.less)) || (self.greater && self.less) {
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        } else if self.increment && pairs > 1 {
            "ERR INCR option supports a single increment-element pair"
        } else {
            return Ok(());
        };
        Err(CommandError::line(line))
    }

    /// True when the new score does not depend on the old one.
    fn overwrites(&self) -> bool {
        !(self.new_only || self.existing_only || self.greater || self.less || self.increment)
    }

    /// Gives one member its score. Returns what happened and the score it has now, or nothing when
    /// the options forbid the change.
    fn apply(
        &self,
        members: &mut SortedSet,
        member: &[u8],
        score: f64,
        limits: &Thresholds,
    ) -> Result<Option<(Inserted, f64)>, CommandError> {
        if self.overwrites() {
            return Ok(Some((members.insert(member, score, limits), score)));
        }
        let score = match members.score(member) {
            None if self.existing_only => return Ok(None),
            None => score,
            Some(_) if self.new_only => return Ok(None),
            Some(old) => {
                let new = if self.increment { old + score } else { score };
                if new.is_nan() {
                    return Err(NOT_A_NUMBER);
                }
                if (self.less && new >= old) || (self.greater && new <= old) {
                    return Ok(None);
                }
                new
            }
        };
        Ok(Some((members.insert(member, score, limits), score)))
    }
}

/// The result of a request.
#[derive(Clone, Copy, Debug, Default)]
struct Applied {
    added: u64,
    moved: u64,
    /// The last score given; nothing when the options forbade the change.
    score: Option<f64>,
}

/// The members of one request with their scores.
pub(crate) struct Pairs<'a> {
    /// Every `step`-th of these, at its end, is a member.
    pub args: Args<'a>,
    pub step: usize,
    pub scores: SmallVec<[f64; 8]>,
}

impl<'a> Pairs<'a> {
    /// Reads scores, each followed by its member.
    fn parse(ctx: &Context<'a, '_>, first: usize) -> Result<Self, CommandError> {
        let args = ctx.args.skip(first);
        let mut scores = SmallVec::new();
        for text in args.iter().step_by(2) {
            scores.push(ctx.double(text).ok_or(CommandError::NotFloat)?);
        }
        Ok(Self {
            args,
            step: 2,
            scores,
        })
    }

    /// The members, one for each score.
    pub(crate) fn members(&self) -> impl Iterator<Item = &'a [u8]> {
        self.args.skip(self.step - 1).iter().step_by(self.step)
    }

    /// An error leaves the members as they were: only a single increment can fail.
    fn apply(
        &self,
        options: &Options,
        members: &mut SortedSet,
        limits: &Thresholds,
    ) -> Result<Applied, CommandError> {
        let mut applied = Applied::default();
        for (member, score) in self.members().zip(&self.scores) {
            applied.score = None;
            if let Some((inserted, score)) = options.apply(members, member, *score, limits)? {
                applied.added += u64::from(inserted == Inserted::Added);
                applied.moved += u64::from(inserted == Inserted::Moved);
                applied.score = Some(score);
            }
        }
        Ok(applied)
    }
}

pub(super) const ZADD: CommandSpec = CommandSpec::new("zadd", -4, zadd)
    .group(Group::SortedSet)
    .since("1.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Adds members to a sorted set, or changes their scores.")
    .complexity("O(log(N)) per added member in the size of the sorted set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::UPDATE))])
    .args(&[
        Arg::KEY,
        Arg::one_of("condition")
            .since("3.0.2")
            .optional()
            .args(&[Arg::NX, Arg::XX]),
        Arg::one_of("comparison")
            .since("6.2.0")
            .optional()
            .args(&[Arg::GT, Arg::LT]),
        Arg::flag("change", "CH").since("3.0.2"),
        Arg::flag("increment", "INCR").since("3.0.2"),
        Arg::block("data")
            .multiple()
            .args(&[Arg::double("score"), Arg::MEMBER]),
    ]);

pub(super) fn zadd(ctx: &mut Context<'_, '_>) -> CommandResult {
    add(ctx, Options::default())
}

pub(super) const ZINCRBY: CommandSpec = CommandSpec::new("zincrby", 4, zincrby)
    .group(Group::SortedSet)
    .since("1.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Adds to the score of a member; a missing member counts as 0.")
    .complexity("O(log(N)) in the size of the sorted set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::integer("increment"), Arg::MEMBER]);

pub(super) fn zincrby(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options {
        increment: true,
        ..Options::default()
    };
    add(ctx, options)
}

fn add(ctx: &mut Context<'_, '_>, mut options: Options) -> CommandResult {
    let first = options.parse(ctx.args);
    let rest = ctx.args.len().saturating_sub(first);
    if rest == 0 || !rest.is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    options.check(rest / 2)?;
    let pairs = Pairs::parse(ctx, first)?;
    give(ctx, options, &pairs)?;
    Ok(Outcome::Done)
}

/// Gives the members their scores in the sorted set at the first argument, and answers. Returns how
/// many members were added or got another score.
pub(crate) fn give(
    ctx: &mut Context<'_, '_>,
    options: Options,
    pairs: &Pairs<'_>,
) -> Result<u64, CommandError> {
    let limits = ctx.thresholds();
    let key = ctx.key(1);
    let count = pairs.scores.len();
    let longest = pairs.members().map(<[u8]>::len).max().unwrap_or(0);
    let applied = match ctx.data.zset_mut(key)? {
        Some(members) => {
            members.plan_for(count, longest, &limits);
            pairs.apply(&options, members, &limits)?
        }
        None if options.existing_only => Applied::default(),
        None => {
            let mut members = SortedSet::new();
            members.plan_for(count, longest, &limits);
            let applied = pairs.apply(&options, &mut members, &limits)?;
            let value = NewValue::Owned(Value::ZSet(members));
            ctx.data.set(key, value, Expiry::Clear);
            appeared(ctx, key, true);
            applied
        }
    };
    let changes = applied.added + applied.moved;
    if changes > 0 {
        let event = if options.increment { "zincr" } else { "zadd" };
        ctx.data
            .changed_times(changes, key, EventClass::ZSet, event);
    }
    match applied.score {
        Some(score) if options.increment => ctx.reply.double(score),
        None if options.increment => ctx.reply.null(),
        _ => {
            let counted = if options.count_changed {
                changes
            } else {
                applied.added
            };
            ctx.reply.integer(counted.cast_signed());
        }
    }
    Ok(changes)
}

//! Moving several elements from list to list: LMOVEM, and BLMOVEM, which waits for them. Both exist
//! since Redis 8.10.

use std::ops::ControlFlow;

use keyspace::Type;
use values::{DIGITS, End, List, Thresholds};

use super::moves::{BLOCKING_MOVE, MOVE, moved};
use super::pop::{COUNT_TOO_SMALL, at_least_one};
use super::push::push_all;
use super::{DESTINATION, SOURCE, TIMEOUT, WHERE, end, outermost};
use crate::command::*;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome, blocking};
use crate::wait::{Block, Wakes};

const HOW_MANY: Arg = Arg::block("how-many").optional().args(&[
    Arg::one_of("selector").args(&[
        Arg::integer("count").token("COUNT"),
        Arg::integer("exactly").token("EXACTLY"),
    ]),
    Arg::one_of("ordering").args(&[Arg::word("obo", "OBO"), Arg::word("bulk", "BULK")]),
]);

/// The options behind the keys.
struct Request {
    from: End,
    to: End,
    /// At least 1.
    count: usize,
    /// Fewer than `count` are not moved at all.
    exactly: bool,
    /// The elements keep their order; otherwise they are moved one after the other, so that those
    /// moved between two ends of the same side end up reversed.
    bulk: bool,
}

impl Request {
    /// `options_at` is the index of the optional part.
    fn parse(ctx: &Context<'_, '_>, options_at: usize) -> Result<Self, CommandError> {
        let mut request = Self {
            from: end(ctx, 3)?,
            to: end(ctx, 4)?,
            count: 1,
            exactly: false,
            bulk: false,
        };
        match ctx.args.len() - options_at {
            0 => return Ok(request),
            3 => {}
            _ => return Err(CommandError::Syntax),
        }
        request.exactly = ctx.is_word(options_at, "exactly");
        if !request.exactly && !ctx.is_word(options_at, "count") {
            return Err(CommandError::Syntax);
        }
        request.count = at_least_one(ctx, options_at + 1, COUNT_TOO_SMALL)?;
        request.bulk = ctx.is_word(options_at + 2, "bulk");
        if !request.bulk && !ctx.is_word(options_at + 2, "obo") {
            return Err(CommandError::Syntax);
        }
        Ok(request)
    }

    /// The moved elements stand in the destination in the opposite order.
    fn reverses(&self) -> bool {
        !self.bulk && self.from == self.to
    }
}

/// A copy of neighbouring elements of a list.
#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    /// Where each one ends in `bytes`.
    ends: Vec<usize>,
}

impl Elements {
    fn add(&mut self, element: &[u8]) {
        self.bytes.extend_from_slice(element);
        self.ends.push(self.bytes.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        (0..self.len()).map(|index| {
            let start = index
                .checked_sub(1)
                .and_then(|before| self.ends.get(before));
            let range = start.copied().unwrap_or(0)..self.ends.get(index).copied().unwrap_or(0);
            self.bytes.get(range).unwrap_or_default()
        })
    }
}

pub(super) const LMOVEM: CommandSpec = MOVE
    .named("lmovem", -5, lmovem)
    .since("8.10.0")
    .summary(
        "Moves up to or exactly so many elements from one end of a list to one end of another \
         and returns them.",
    )
    .complexity("O(N) in the number of elements moved.")
    .args(&[
        SOURCE,
        DESTINATION,
        WHERE.named("wherefrom"),
        WHERE.named("whereto"),
        HOW_MANY,
    ]);

pub(super) fn lmovem(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = Request::parse(ctx, 5)?;
    if move_many(ctx, &request)?.is_none() {
        ctx.reply.null_array();
    }
    Ok(Outcome::Done)
}

pub(super) const BLMOVEM: CommandSpec = BLOCKING_MOVE
    .named("blmovem", -6, blmovem)
    .since("8.10.0")
    .summary(
        "Moves up to or exactly so many elements from one end of a list to one end of another \
         and returns them; waits until there are enough.",
    )
    .complexity("O(N) in the number of elements moved.")
    .args(&[
        SOURCE,
        DESTINATION,
        WHERE.named("wherefrom"),
        WHERE.named("whereto"),
        TIMEOUT,
        HOW_MANY,
    ]);

pub(super) fn blmovem(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = Request::parse(ctx, 6)?;
    let deadline_ms = blocking::deadline(ctx, 5)?;
    if let Some(count) = move_many(ctx, &request)? {
        let args = ctx.args;
        let mut digits = itoa::Buffer::new();
        let count = digits.format(count).as_bytes();
        let order: &[u8] = if request.bulk { b"BULK" } else { b"OBO" };
        ctx.propagate(&[
            b"LMOVEM",
            args.arg(1),
            args.arg(2),
            args.arg(3),
            args.arg(4),
            b"EXACTLY",
            count,
            order,
        ]);
        return Ok(Outcome::Done);
    }
    if !ctx.may_block() {
        ctx.reply.null_array();
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Block(Block::Keys {
        keys: vec![ctx.arg(1).to_vec()],
        deadline_ms,
        wakes: Wakes {
            kind: Type::List,
            removal: false,
        },
    }))
}

/// Moves the requested elements and replies them in the order of the destination. `None` when there
/// are not enough elements, otherwise the number moved.
fn move_many(ctx: &mut Context<'_, '_>, request: &Request) -> Result<Option<usize>, CommandError> {
    let limits = ctx.thresholds();
    let (source, destination) = (ctx.key(1), ctx.key(2));
    let Some(list) = ctx.data.list_mut(source)? else {
        return Ok(None);
    };
    if request.exactly && list.len() < request.count {
        return Ok(None);
    }
    let holds = ctx.data.type_of(destination);
    if holds.is_some_and(|kind| kind != Type::List) {
        return Err(CommandError::WrongType);
    }
    let Some(list) = ctx.data.list_mut(source)? else {
        return Ok(None);
    };
    let elements = take(list, request, &limits);
    // At the front, the element that is pushed last comes first.
    match request.to {
        End::Front => push_all(ctx, destination, End::Front, elements.iter().rev())?,
        End::Back => push_all(ctx, destination, End::Back, elements.iter())?,
    };
    ctx.reply.array(elements.len());
    elements.iter().for_each(|element| ctx.reply.bulk(element));
    let ends = ((source, request.from), (destination, request.to));
    moved(ctx, ends.0, ends.1, elements.len());
    Ok(Some(elements.len()))
}

/// Takes the elements out, in the order that they will have in the destination.
fn take(list: &mut List, request: &Request, limits: &Thresholds) -> Elements {
    let range = outermost(request.from, request.count, list.len());
    let mut elements = Elements::default();
    list.visit(range.clone(), request.reverses(), |element| {
        elements.add(element.as_bytes(&mut { DIGITS }));
        ControlFlow::Continue(())
    });
    list.remove_range(range, limits);
    elements
}

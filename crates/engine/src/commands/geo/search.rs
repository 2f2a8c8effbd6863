//! Members in an area: GEOSEARCH, GEOSEARCHSTORE, and the functions that the older commands share
//! with them.

use std::ops::Range;

use resp::Reply;
use values::geohash::{Area, Cell, Overlap, Point};
use values::{DIGITS, Element, ScoreRange, SortedSet, SortedSetBuilder, SortedSetView, Thresholds};

use super::request::{Form, Order, Request};
use super::{arguments, nearest, output};
use crate::command::*;
use crate::commands::zset;
use crate::context::{Context, ElementReply};
use crate::execute::{CommandResult, CommandSpec, Outcome};

const COMPLEXITY: &str = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape";

pub(super) const GEOSEARCH: CommandSpec = CommandSpec::new("geosearch", -7, geosearch)
    .group(Group::Geo)
    .since("6.2.0")
    .flags(Flags::READONLY)
    .summary("Returns the members inside a circle, a box or a polygon.")
    .complexity(COMPLEXITY)
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        arguments::FROM,
        arguments::BY,
        Arg::ORDER,
        arguments::COUNT,
        arguments::WITHCOORD,
        arguments::WITHDIST,
        arguments::WITHHASH,
    ]);

fn geosearch(ctx: &mut Context<'_, '_>) -> CommandResult {
    search(ctx, Form::Search, false)
}

pub(super) const GEOSEARCHSTORE: CommandSpec =
    CommandSpec::new("geosearchstore", -8, geosearchstore)
        .group(Group::Geo)
        .since("6.2.0")
        .flags(Flags::WRITE.or(Flags::DENYOOM))
        .summary("Stores the members inside a circle, a box or a polygon at another key.")
        .complexity(COMPLEXITY)
        .keys(&[
            KeySpec::one(1, KeyFlags::OW.or(KeyFlags::UPDATE)),
            KeySpec::one(2, KeyFlags::RO.or(KeyFlags::ACCESS)),
        ])
        .args(&[
            Arg::DESTINATION,
            Arg::KEY.named("source").key_spec(1),
            arguments::FROM,
            arguments::BY,
            Arg::ORDER,
            arguments::COUNT,
            Arg::flag("storedist", "STOREDIST"),
        ]);

fn geosearchstore(ctx: &mut Context<'_, '_>) -> CommandResult {
    search(ctx, Form::SearchStore, true)
}

/// Any command of the family.
pub(super) fn search(ctx: &mut Context<'_, '_>, form: Form, may_store: bool) -> CommandResult {
    let (args, key, limits) = (ctx.args, ctx.key(form.source()), ctx.thresholds());
    let members = ctx.data.zset(key)?;
    let mut request = Request::parse(args, form, may_store, members)?;
    let found = match (members, request.area()) {
        (Some(members), Some(area)) => find(members, &area, &request),
        _ => Vec::new(),
    };
    let Some(destination) = request.store else {
        reply(&mut ctx.reply, &found, &request);
        return Ok(Outcome::Done);
    };
    let stored = stored(&found, &request, &limits);
    drop(found);
    let event = match form {
        Form::SearchStore | Form::Search => "geosearchstore",
        Form::Radius | Form::RadiusByMember => "georadiusstore",
    };
    let len = stored.len() as u64;
    zset::store(ctx, ctx.key(destination), stored, event);
    // Every member counts as a change.
    ctx.data.effects.add_dirty(len.saturating_sub(1));
    Ok(Outcome::Done)
}

/// A member in the area.
#[derive(Clone, Copy)]
struct Found<'a> {
    member: Element<'a>,
    score: f64,
    /// From the middle, in units of the request.
    distance: f64,
}

/// The members in the area, limited and sorted as requested.
fn find<'a>(members: &'a SortedSetView, area: &Area, request: &Request) -> Vec<Found<'a>> {
    let mut search = Search {
        members,
        area,
        found: Vec::new(),
        limit: match request.any {
            true => request.count,
            false => usize::MAX,
        },
    };
    for cell in area.cells() {
        search.visit(cell, members.score_range(&scores_of(cell)));
    }
    let wanted = match request.count {
        0 => usize::MAX,
        count => count,
    };
    sorted(search.found, request.order, wanted, area.unit())
}

fn scores_of(cell: Cell) -> ScoreRange {
    let scores = cell.scores();
    ScoreRange {
        min: scores.start as f64,
        min_exclusive: false,
        max: scores.end as f64,
        max_exclusive: true,
    }
}

struct Search<'a, 'b> {
    members: &'a SortedSetView,
    area: &'b Area,
    found: Vec<Found<'a>>,
    /// Where the search ends.
    limit: usize,
}

/// Up to this many members it is cheaper to check all than to leave some out.
const FEW: usize = 32;

impl Search<'_, '_> {
    /// Looks at the members of a square, whose ranks are known. Parts of a large one are left out
    /// when they lie outside of the area; the order stays that of scores.
    fn visit(&mut self, cell: Cell, ranks: Range<usize>) {
        if ranks.is_empty() || self.found.len() >= self.limit {
            return;
        }
        let overlap = self.area.overlap(cell);
        if overlap == Overlap::Nothing {
            return;
        }
        match cell.quarters() {
            Some(quarters) if overlap == Overlap::Part && ranks.len() > FEW => {
                let second = self.members.score_range(&scores_of(quarters[1]));
                let last = self.members.score_range(&scores_of(quarters[3]));
                let bounds = [ranks.start, second.start, second.end, last.start, ranks.end];
                for (quarter, bounds) in quarters.into_iter().zip(bounds.windows(2)) {
                    self.visit(quarter, bounds[0]..bounds[1]);
                }
            }
            _ => self.scan(ranks),
        }
    }

    fn scan(&mut self, ranks: Range<usize>) {
        for (member, score) in self.members.range(ranks) {
            if let Some(distance) = self.area.distance(score) {
                self.found.push(Found {
                    member,
                    score,
                    distance,
                });
                if self.found.len() >= self.limit {
                    return;
                }
            }
        }
    }
}

/// The first `wanted` results. Members at the same distance stay in the order in which they were
/// found, when all are wanted, and else come as in Redis. Distances are in metres before and in
/// units afterwards.
fn sorted(
    mut found: Vec<Found<'_>>,
    order: Option<Order>,
    wanted: usize,
    unit: f64,
) -> Vec<Found<'_>> {
    let wanted = wanted.min(found.len());
    if let Some(order) = order {
        // Distances are not negative: their bits have their order.
        let flip = match order {
            Order::Ascending => 0,
            Order::Descending => u64::MAX,
        };
        let mut keys: Vec<(u64, usize)> = found
            .iter()
            .enumerate()
            .map(|(at, found)| (found.distance.to_bits() ^ flip, at))
            .collect();
        match wanted < keys.len() {
            true => nearest::sort_first(&mut keys, wanted),
            false => keys.sort_unstable(),
        }
        keys.truncate(wanted);
        found = keys.into_iter().map(|(_, at)| found[at]).collect();
    }
    found.truncate(wanted);
    for found in &mut found {
        found.distance /= unit;
    }
    found
}

fn reply(reply: &mut Reply<'_>, found: &[Found<'_>], request: &Request) {
    let options = [request.with_distance, request.with_hash, request.with_place];
    let options = options.into_iter().filter(|option| *option).count();
    reply.array(found.len());
    for found in found {
        if options > 0 {
            reply.array(options + 1);
        }
        reply.element(found.member);
        if request.with_distance {
            output::distance(reply, found.distance);
        }
        if request.with_hash {
            reply.integer(found.score as i64);
        }
        if request.with_place {
            output::place(reply, Point::of_score(found.score));
        }
    }
}

/// The results as a sorted set.
fn stored(found: &[Found<'_>], request: &Request, limits: &Thresholds) -> SortedSet {
    let mut stored = SortedSetBuilder::with_capacity(found.len());
    for found in found {
        let score = match request.store_distance {
            true => found.distance,
            false => found.score,
        };
        stored.merge(found.member.as_bytes(&mut { DIGITS }), score, |_, new| new);
    }
    stored.finish(limits)
}

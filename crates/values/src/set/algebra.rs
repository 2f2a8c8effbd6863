//! Intersection, difference and union of sets in any forms.
//!
//! Lookups of members come in batches: all buckets of a batch are prefetched before the first is
//! read, then all elements. All tables hash with the same seed, so each member is hashed once,
//! however many tables it is looked for in, and not at all when only two tables of about the same
//! size are compared.

use super::{Form, Set, SetView};
use crate::elements::Elements;
use crate::hash_seed::hash_of;
use crate::table::Found;
use crate::{DIGITS, Element, Thresholds};
use std::ops::ControlFlow;
use std::ptr;

/// Members that go through the sets together.
const BATCH: usize = 128;

/// How many members ahead elements are prefetched, and their buckets as many before that. A power
/// of two.
const AHEAD: usize = 8;

/// Members of a listpack that are compared in the time of a look into a table.
const LISTPACK_STEPS: usize = 12;

/// Looks into a table that take the time of putting a member into a new one.
const GATHER_COST: usize = 6;

/// A table that is more than so many times smaller than another is not walked over together with
/// it.
const JOIN_RATIO: usize = 8;

/// A member with a lookup under way, with its hash if one of the sets is a table.
struct Candidate<'a> {
    member: Element<'a>,
    hash: u64,
}

impl<'a> Candidate<'a> {
    #[inline]
    fn hashed(member: Element<'a>) -> Candidate<'a> {
        Candidate {
            member,
            hash: hash_of(member.as_bytes(&mut { DIGITS })),
        }
    }
}

/// Visits the members that are in all sets.
pub fn intersect(sets: &[&SetView], visit: impl FnMut(Element<'_>) -> ControlFlow<()>) {
    let mut sets = sets.to_vec();
    sets.sort_by_key(|set| set.len());
    if let Some((smallest, others)) = sets.split_first() {
        sift(smallest, others, true, visit);
    }
}

/// Visits the members of `first` that are in none of `others`.
pub fn difference(
    first: &SetView,
    others: &[&SetView],
    visit: impl FnMut(Element<'_>) -> ControlFlow<()>,
) {
    if others.iter().any(|other| ptr::eq(*other, first)) {
        return;
    }
    let mut others = others.to_vec();
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    // Either each member is looked for in each set, which may end early, or in all of them put
    // together.
    let look_up: usize = others.iter().map(|set| probe_cost(set)).sum();
    let look_up = look_up.saturating_mul(first.len());
    let others_len: usize = others.iter().map(|set| set.len()).sum();
    let gather = others_len.saturating_mul(GATHER_COST) + first.len();
    if look_up > gather {
        let all = large_union(&others);
        sift(first, &[&all], false, visit);
    } else {
        sift(first, &others, false, visit);
    }
}

/// The cost of a look-up of a member, relative to that in a table.
fn probe_cost(set: &SetView) -> usize {
    match set.form() {
        Form::Table(_) | Form::Intset(_) => 1,
        Form::Listpack(pack) => 1 + pack.len() / LISTPACK_STEPS,
    }
}

/// Visits the members of `first` that all of `others` have, or none of them.
fn sift(
    first: &SetView,
    others: &[&SetView],
    wanted: bool,
    visit: impl FnMut(Element<'_>) -> ControlFlow<()>,
) {
    if let Some((second, rest)) = others.split_first()
        && let (Form::Table(mine), Form::Table(theirs)) = (first.form(), second.form())
        && mine.in_common_order()
        && theirs.in_common_order()
        && mine.len() >= theirs.len() / JOIN_RATIO
    {
        let mut sieve = Sieve::new(rest, wanted, visit);
        // As both tables are in the same order, one walk over both is enough, and nothing is
        // hashed.
        let whole = mine.join(theirs, !wanted, |block, found| {
            let key = block.key();
            // SAFETY: `join` found it in these elements, which are borrowed since.
            let is = unsafe { theirs.confirm(found, || hash_of(key), |other| other == key) };
            if is == wanted {
                return sieve.push(Element::Bytes(key));
            }
            ControlFlow::Continue(())
        });
        sieve.end(whole);
    } else {
        let mut sieve = Sieve::new(others, wanted, visit);
        let whole = first.iter().try_for_each(|member| sieve.push(member));
        sieve.end(whole);
    }
}

/// Takes members and visits those that all sets have, or none of them.
struct Sieve<'a, 's, V> {
    sets: &'s [&'s SetView],
    wanted: bool,
    /// Whether some set is a table.
    hash: bool,
    batch: Vec<Candidate<'a>>,
    visit: V,
}

impl<'a, 's, V: FnMut(Element<'_>) -> ControlFlow<()>> Sieve<'a, 's, V> {
    fn new(sets: &'s [&'s SetView], wanted: bool, visit: V) -> Self {
        let is_table = |set: &&SetView| matches!(set.form(), Form::Table(_));
        Sieve {
            sets,
            wanted,
            hash: sets.iter().any(is_table),
            batch: Vec::new(),
            visit,
        }
    }

    #[inline]
    fn push(&mut self, member: Element<'a>) -> ControlFlow<()> {
        if self.sets.is_empty() {
            return (self.visit)(member);
        }
        self.batch.push(match self.hash {
            true => Candidate::hashed(member),
            false => Candidate { member, hash: 0 },
        });
        if self.batch.len() < BATCH {
            return ControlFlow::Continue(());
        }
        self.flush()
    }

    fn flush(&mut self) -> ControlFlow<()> {
        for set in self.sets {
            retain(&mut self.batch, set, self.wanted);
        }
        let mut kept = self.batch.drain(..);
        kept.try_for_each(|candidate| (self.visit)(candidate.member))
    }

    /// After the last member, unless the visit was ended.
    fn end(mut self, whole: ControlFlow<()>) {
        if whole.is_continue() {
            // There is nothing more to do, either way.
            let _ = self.flush();
        }
    }
}

/// Keeps the candidates that `set` has, or those that it has not.
fn retain(batch: &mut Vec<Candidate<'_>>, set: &SetView, wanted: bool) {
    let Form::Table(elements) = set.form() else {
        batch.retain(|candidate| set.contains_element(candidate.member) == wanted);
        return;
    };
    for candidate in batch.iter().take(AHEAD) {
        elements.prefetch_bucket(candidate.hash);
    }
    // A ring of what the buckets had, so that elements arrive in the cache before they are
    // compared.
    let mut coming = [Found::Nothing; AHEAD];
    // kept <= read, so what is overwritten has been read.
    let (mut kept, len) = (0, batch.len());
    for at in 0..len + AHEAD {
        if let Some(candidate) = batch.get(at + AHEAD) {
            elements.prefetch_bucket(candidate.hash);
        }
        let place = &mut coming[at % AHEAD];
        let found = *place;
        if let Some(candidate) = batch.get(at) {
            *place = elements.request(candidate.hash);
        }
        let Some(read) = at.checked_sub(AHEAD) else {
            continue;
        };
        let Some(candidate) = batch.get(read) else {
            continue;
        };
        let is = |key: &[u8]| candidate.member.is(key);
        // SAFETY: `request` found it in these elements, which are borrowed since.
        if unsafe { elements.confirm(found, || candidate.hash, is) } == wanted {
            batch.swap(kept, read);
            kept += 1;
        }
    }
    batch.truncate(kept);
}

/// The members that are in any of the sets, without their deadlines.
pub fn union(sets: &[&SetView], limits: &Thresholds) -> Set {
    let mut sets = sets.to_vec();
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let packed_max = limits.set_integers.max(limits.set_entries);
    if sets
        .first()
        .is_some_and(|largest| largest.len() > packed_max)
    {
        return large_union(&sets);
    }
    let mut result = Set::new();
    for member in sets.iter().flat_map(|set| set.iter()) {
        result.add(member.as_bytes(&mut { DIGITS }), limits);
    }
    result
}

/// The union when it becomes a table in any case.
fn large_union(sets: &[&SetView]) -> Set {
    let (mut result, sets) = match sets.split_first() {
        Some((largest, others)) if let Form::Table(elements) = largest.form() => {
            (elements.clone_lasting(), others)
        }
        _ => (Elements::new(), sets),
    };
    for set in sets {
        let mut members = set.iter();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.extend(members.by_ref().take(BATCH).map(Candidate::hashed));
            if batch.is_empty() {
                break;
            }
            for candidate in &batch {
                result.prefetch_bucket(candidate.hash);
            }
            for candidate in &batch {
                result.prefetch_entry(candidate.hash);
            }
            for candidate in batch.drain(..) {
                let mut digits = DIGITS;
                result.add_hashed(candidate.hash, candidate.member.as_bytes(&mut digits));
            }
        }
    }
    Set::table(result)
}

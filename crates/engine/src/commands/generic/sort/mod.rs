//! SORT and SORT_RO.
//!
//! The elements are copied into one piece of memory, and each sort key becomes an integer that
//! compares in the same order. Only between equal integers the bytes decide. With LIMIT only the
//! requested part is sorted.

mod syntax;

use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

use keyspace::{KeyHash, NewValue, StringRef, Value, ValueRef};
use smallvec::SmallVec;
use values::{DIGITS, Element, End, List};

use crate::command::*;
use crate::commands::generic::delete_key;
use crate::commands::string::{length, write_string};
use crate::context::{Context, Data, ElementReply, EventClass, Expiry, Mode};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;
use crate::users;
use syntax::{Options, Pattern};

/// The specification that SORT and SORT_RO share.
const BASE: CommandSpec = CommandSpec::BASE
    .group(Group::Generic)
    .categories(Categories::DANGEROUS)
    .categories(
        Categories::LIST
            .or(Categories::SET)
            .or(Categories::SORTEDSET),
    )
    .complexity(
        "O(N+M*log(M)) with N elements of which M are returned; O(N) when they are not sorted.",
    )
    .locks(Locks::ByArguments(syntax::locks));

const KEY: KeySpec = KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS));
const PATTERNS: KeySpec = KeySpec::unknown(KeyFlags::RO.or(KeyFlags::ACCESS));
const DESTINATION: KeySpec = KeySpec::unknown(KeyFlags::OW.or(KeyFlags::UPDATE));

const BY: Arg = Arg::pattern("by-pattern")
    .option("BY")
    .key_spec(1)
    .display("pattern");
const GET: Arg = Arg::pattern("get-pattern")
    .option("GET")
    .key_spec(1)
    .display("pattern")
    .multiple_token();
const ALPHA: Arg = Arg::flag("sorting", "ALPHA");

pub(super) const SORT: CommandSpec = BASE
    .named("sort", -2, sort)
    .since("1.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary(
        "Sorts the elements of a list, a set or a sorted set, by themselves or by other keys, \
         and returns or stores the result.",
    )
    .keys(&[KEY, PATTERNS, DESTINATION])
    .find_keys(syntax::find_keys)
    .args(&[
        Arg::KEY,
        BY,
        Arg::LIMIT,
        GET,
        Arg::ORDER,
        ALPHA,
        Arg::DESTINATION.key_spec(2).option("STORE"),
    ]);
pub(super) fn sort(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options::parse(ctx.args, true, || may_read_all_keys(ctx))?;
    run(ctx, options)
}

pub(super) const SORT_RO: CommandSpec = BASE
    .named("sort_ro", -2, sort_ro)
    .since("7.0.0")
    .flags(Flags::READONLY)
    .summary(
        "Sorts the elements of a list, a set or a sorted set, by themselves or by other keys, \
         and returns the result.",
    )
    .keys(&[KEY, PATTERNS])
    .args(&[Arg::KEY, BY, Arg::LIMIT, GET, Arg::ORDER, ALPHA]);
pub(super) fn sort_ro(ctx: &mut Context<'_, '_>) -> CommandResult {
    let options = Options::parse(ctx.args, false, || may_read_all_keys(ctx))?;
    run(ctx, options)
}

/// Patterns reach any key, so that the user needs the right to read all.
fn may_read_all_keys(ctx: &Context<'_, '_>) -> bool {
    let user = ctx.session.user.as_ref();
    let user = user.unwrap_or_else(|| ctx.engine.users.default_user());
    let databases = ctx.engine.keyspace.databases();
    users::may_read_all_keys(user, ctx.entry, ctx.args, (ctx.data.db, databases))
}

fn run(ctx: &mut Context<'_, '_>, mut options: Options<'_>) -> CommandResult {
    let key = ctx.key(1);
    let must_repeat = options.store.is_some() || ctx.mode == Mode::Script;
    let (elements, order) = match ctx.data.lookup(key).map(|entry| entry.value()) {
        None => (Texts::default(), Vec::new()),
        Some(ValueRef::Set(_)) if options.keeps_order() && must_repeat => {
            // What is stored, or seen by a script, must not depend on the order in a hash table.
            (options.by, options.alpha) = (None, true);
            sorted(ctx, &options)?
        }
        Some(ValueRef::List(_) | ValueRef::Set(_) | ValueRef::ZSet(_)) => sorted(ctx, &options)?,
        Some(_) => return Err(CommandError::WrongType),
    };
    match options.store {
        None => reply(ctx, &elements, &order, &options.gets),
        Some(index) => store(ctx, index, &elements, &order, &options.gets),
    }
    Ok(Outcome::Done)
}

/// Texts one after the other in one piece.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let end = self.ends.get(index).copied().unwrap_or(0);
        let before = index.checked_sub(1).and_then(|index| self.ends.get(index));
        self.bytes
            .get(before.copied().unwrap_or(0)..end)
            .unwrap_or_default()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// The sort key of an element.
#[derive(Clone, Copy)]
struct Rank {
    /// Compares as the number does, or as the first bytes of the text.
    key: u64,
    /// Index of the element.
    index: usize,
}

/// The elements, and the indexes of the requested ones in their order.
fn sorted(
    ctx: &mut Context<'_, '_>,
    options: &Options<'_>,
) -> Result<(Texts, Vec<usize>), CommandError> {
    let key = ctx.key(1);
    let Some(value) = ctx.data.peek(key).map(|entry| entry.value()) else {
        return Ok((Texts::default(), Vec::new()));
    };
    let wanted = wanted(value.element_count().unwrap_or(0), options);
    if options.keeps_order() {
        let mut elements = Texts::default();
        in_order(value, wanted, options.descending, &mut elements);
        let order = (0..elements.len()).collect();
        return Ok((elements, order));
    }
    let numeric = !options.alpha && options.by.is_none();
    let (elements, mut ranks) = load(value, numeric)?;
    match options.by {
        Some(pattern) => {
            let pattern = Pattern::parse(pattern);
            if options.alpha {
                let texts = weights_as_text(&mut ctx.data, &pattern, &elements, &mut ranks);
                let text = |rank: &Rank| texts.get(rank.index);
                arrange(&mut ranks, wanted.clone(), |a, b| {
                    let order = a.key.cmp(&b.key).then_with(|| text(a).cmp(text(b)));
                    directed(order, options).then(a.index.cmp(&b.index))
                });
            } else {
                weights_as_numbers(&mut ctx.data, &pattern, &elements, &mut ranks)?;
                by_key_and_text(&mut ranks, wanted.clone(), &elements, options);
            }
        }
        None => by_key_and_text(&mut ranks, wanted.clone(), &elements, options),
    }
    let chosen = ranks.get(wanted).unwrap_or_default();
    let order = chosen.iter().map(|rank| rank.index).collect();
    Ok((elements, order))
}

/// The places of the sorted elements that LIMIT selects.
fn wanted(len: usize, options: &Options<'_>) -> Range<usize> {
    let start = usize::try_from(options.skip.max(0)).map_or(len, |skip| skip.min(len));
    let count = match usize::try_from(options.count) {
        Ok(count) => count.min(len - start),
        Err(_) => len - start,
    };
    start..start + count
}

fn directed(order: Ordering, options: &Options<'_>) -> Ordering {
    if options.descending {
        order.reverse()
    } else {
        order
    }
}

fn by_key_and_text(
    ranks: &mut [Rank],
    wanted: Range<usize>,
    elements: &Texts,
    options: &Options<'_>,
) {
    let text = |rank: &Rank| elements.get(rank.index);
    arrange(ranks, wanted, |a, b| {
        let order = a.key.cmp(&b.key).then_with(|| text(a).cmp(text(b)));
        directed(order, options)
    });
}

/// Moves the elements of the wanted places there, sorted.
fn arrange(
    ranks: &mut [Rank],
    wanted: Range<usize>,
    mut compare: impl FnMut(&Rank, &Rank) -> Ordering,
) {
    let mut part = ranks;
    if wanted.is_empty() {
        return;
    }
    if wanted.end < part.len() {
        part.select_nth_unstable_by(wanted.end, &mut compare);
        part = part.get_mut(..wanted.end).unwrap_or_default();
    }
    if wanted.start > 0 {
        part.select_nth_unstable_by(wanted.start, &mut compare);
        part = part.get_mut(wanted.start..).unwrap_or_default();
    }
    part.sort_unstable_by(compare);
}

/// The requested elements in the order of the collection.
fn in_order(value: ValueRef<'_>, wanted: Range<usize>, descending: bool, elements: &mut Texts) {
    let mut push = |element: Element<'_>| elements.push(element.as_bytes(&mut { DIGITS }));
    // Places counted from the other end.
    let mirrored = |len: usize| len - wanted.end..len - wanted.start;
    match value {
        ValueRef::List(list) => {
            let range = match descending {
                true => mirrored(list.len()),
                false => wanted,
            };
            list.visit(range, descending, |element| {
                push(element);
                ControlFlow::Continue(())
            });
        }
        ValueRef::ZSet(set) if descending => {
            let members = set.range(mirrored(set.len()));
            members.rev().for_each(|(member, _)| push(member));
        }
        ValueRef::ZSet(set) => set.range(wanted).for_each(|(member, _)| push(member)),
        ValueRef::Set(set) => {
            let members = set.iter().skip(wanted.start).take(wanted.len());
            members.for_each(push);
        }
        _ => {}
    }
}

/// All elements, with themselves as sort keys, as numbers or as text.
fn load(value: ValueRef<'_>, numeric: bool) -> Result<(Texts, Vec<Rank>), CommandError> {
    let count = value.element_count().unwrap_or(0);
    let mut elements = Texts::default();
    elements.ends.reserve_exact(count);
    let mut ranks = Vec::with_capacity(count);
    let mut all_numbers = true;
    let mut push = |element: Element<'_>| {
        let mut digits = DIGITS;
        let text = element.as_bytes(&mut digits);
        let key = if numeric {
            let number = match element {
                Element::Int(number) => Some(number as f64),
                Element::Bytes(_) => number(text),
            };
            all_numbers &= number.is_some();
            ordered(number.unwrap_or(0.0))
        } else {
            prefix(text)
        };
        let index = ranks.len();
        ranks.push(Rank { key, index });
        elements.push(text);
    };
    match value {
        ValueRef::List(list) => list.visit(0..list.len(), false, |element| {
            push(element);
            ControlFlow::Continue(())
        }),
        ValueRef::Set(set) => set.iter().for_each(push),
        ValueRef::ZSet(set) => set.iter().for_each(|(member, _)| push(member)),
        _ => {}
    }
    match all_numbers {
        true => Ok((elements, ranks)),
        false => Err(NOT_NUMBERS),
    }
}

const NOT_NUMBERS: CommandError =
    CommandError::line("ERR One or more scores can't be converted into double");

fn number(text: &[u8]) -> Option<f64> {
    match values::number::parse_canonical(text) {
        Some(number) => Some(number as f64),
        None => resp::number::parse_f64(text).filter(|number| !number.is_nan()),
    }
}

/// An integer that compares as the number does; both zeros are one.
fn ordered(number: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = (number + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The first bytes as an integer that compares as they do. Texts with the same one are not equal
/// yet.
fn prefix(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = text.len().min(8);
    if let (Some(to), Some(from)) = (bytes.get_mut(..len), text.get(..len)) {
        to.copy_from_slice(from);
    }
    u64::from_be_bytes(bytes)
}

/// Elements whose keys are brought into the cache together.
const LOOK_AHEAD: usize = 64;

/// Bytes of such keys beyond which no further one is added: patterns and elements may be long, and
/// a cache of the second level holds no more.
const LOOK_AHEAD_BYTES: usize = 256 * 1024;

/// The result of a pattern for an element.
enum Found<'a> {
    Nothing,
    String(StringRef<'a>),
    Element(Element<'a>),
}

impl Found<'_> {
    fn text<'b>(&'b self, digits: &'b mut values::Digits) -> Option<&'b [u8]> {
        match self {
            Self::Nothing => None,
            Self::String(string) => Some(string.as_bytes(digits)),
            Self::Element(element) => Some(element.as_bytes(digits)),
        }
    }
}

fn find<'d>(data: &'d mut Data<'_, '_>, key: Key<'_>, field: Option<&[u8]>) -> Found<'d> {
    let view_ms = data.view_ms();
    let Some(entry) = data.lookup(key) else {
        return Found::Nothing;
    };
    match (entry.value(), field) {
        (ValueRef::Hash(hash), Some(field)) => hash
            .get(field, view_ms)
            .map_or(Found::Nothing, Found::Element),
        (value, None) => value.string().map_or(Found::Nothing, Found::String),
        _ => Found::Nothing,
    }
}

/// Looks up the results of the patterns for the elements with these indexes, element by element.
fn look_up(
    data: &mut Data<'_, '_>,
    patterns: &[Pattern<'_>],
    elements: &Texts,
    indexes: impl Iterator<Item = usize>,
    mut visit: impl FnMut(usize, Found<'_>),
) {
    let mut indexes = indexes.peekable();
    let (mut chunk, mut keys) = (Vec::with_capacity(LOOK_AHEAD), Texts::default());
    while indexes.peek().is_some() {
        chunk.clear();
        keys.clear();
        while chunk.len() < LOOK_AHEAD
            && keys.bytes.len() < LOOK_AHEAD_BYTES
            && let Some(index) = indexes.next()
        {
            chunk.push(index);
            for pattern in patterns {
                if let Pattern::Key { before, after, .. } = pattern {
                    keys.bytes.extend_from_slice(before);
                    keys.bytes.extend_from_slice(elements.get(index));
                    keys.bytes.extend_from_slice(after);
                }
                keys.ends.push(keys.bytes.len());
            }
        }
        let hashes = look_ahead(data, &keys);
        let places = pairs(&chunk, patterns).zip(hashes).enumerate();
        for (place, ((index, pattern), hash)) in places {
            let bytes = keys.get(place);
            let found = match pattern {
                Pattern::Nothing => Found::Nothing,
                Pattern::Element => Found::Element(Element::Bytes(elements.get(index))),
                Pattern::Key { field, .. } => find(data, Key { bytes, hash }, *field),
            };
            visit(index, found);
        }
    }
}

/// Each element with each pattern.
fn pairs<'p, 'a>(
    indexes: &[usize],
    patterns: &'p [Pattern<'a>],
) -> impl Iterator<Item = (usize, &'p Pattern<'a>)> {
    let each = move |index: &usize| std::iter::repeat(*index).zip(patterns);
    indexes.iter().flat_map(each)
}

/// All buckets on their way into the cache, then all entries. Returns the hashes of the keys.
fn look_ahead(data: &Data<'_, '_>, keys: &Texts) -> SmallVec<[KeyHash; LOOK_AHEAD]> {
    let hash = |place| data.engine.keyspace.hash(keys.get(place));
    let hashes: SmallVec<_> = (0..keys.len()).map(hash).collect();
    for hash in &hashes {
        data.locked.prefetch_bucket(data.db, *hash);
    }
    for hash in &hashes {
        data.locked.prefetch_entry(data.db, *hash);
    }
    hashes
}

/// Numbers at the keys that the pattern makes; 0 where there is none.
fn weights_as_numbers(
    data: &mut Data<'_, '_>,
    pattern: &Pattern<'_>,
    elements: &Texts,
    ranks: &mut [Rank],
) -> Result<(), CommandError> {
    let mut all_numbers = true;
    let patterns = std::slice::from_ref(pattern);
    look_up(
        data,
        patterns,
        elements,
        0..elements.len(),
        |index, found| {
            let weight = match &found {
                Found::String(StringRef::Int(number)) => Some(*number as f64),
                other => other.text(&mut { DIGITS }).map_or(Some(0.0), number),
            };
            all_numbers &= weight.is_some();
            if let Some(rank) = ranks.get_mut(index) {
                rank.key = ordered(weight.unwrap_or(0.0));
            }
        },
    );
    match all_numbers {
        true => Ok(()),
        false => Err(NOT_NUMBERS),
    }
}

/// Texts at the keys that the pattern makes. A missing one sorts before all others: each text
/// follows a byte that is 0 when it is missing.
fn weights_as_text(
    data: &mut Data<'_, '_>,
    pattern: &Pattern<'_>,
    elements: &Texts,
    ranks: &mut [Rank],
) -> Texts {
    let mut texts = Texts::default();
    let patterns = std::slice::from_ref(pattern);
    look_up(
        data,
        patterns,
        elements,
        0..elements.len(),
        |index, found| {
            let start = texts.bytes.len();
            if let Some(text) = found.text(&mut { DIGITS }) {
                texts.bytes.push(1);
                texts.bytes.extend_from_slice(text);
            }
            if let Some(rank) = ranks.get_mut(index) {
                rank.key = prefix(texts.bytes.get(start..).unwrap_or_default());
            }
            texts.ends.push(texts.bytes.len());
        },
    );
    texts
}

/// Writes the elements, or the results of the GET patterns for them.
fn reply(ctx: &mut Context<'_, '_>, elements: &Texts, order: &[usize], gets: &[&[u8]]) {
    if gets.is_empty() {
        ctx.reply.array(order.len());
        for index in order {
            ctx.reply.bulk(elements.get(*index));
        }
        return;
    }
    ctx.reply.array(order.len().saturating_mul(gets.len()));
    let patterns: SmallVec<[Pattern<'_>; 2]> = gets.iter().map(|get| Pattern::parse(get)).collect();
    let order = order.iter().copied();
    let reply = &mut ctx.reply;
    look_up(
        &mut ctx.data,
        &patterns,
        elements,
        order,
        |_, found| match found {
            Found::Nothing => reply.null(),
            Found::String(string) => write_string(reply, string),
            Found::Element(element) => reply.element(element),
        },
    );
}

/// Stores the elements, or the results of the GET patterns for them, as a list.
fn store(ctx: &mut Context<'_, '_>, to: usize, elements: &Texts, order: &[usize], gets: &[&[u8]]) {
    let to = ctx.key(to);
    let limits = ctx.thresholds();
    let mut list = List::new();
    if gets.is_empty() {
        for index in order {
            list.push(End::Back, elements.get(*index), &limits);
        }
    } else {
        let patterns: SmallVec<[Pattern<'_>; 2]> =
            gets.iter().map(|get| Pattern::parse(get)).collect();
        let order = order.iter().copied();
        look_up(&mut ctx.data, &patterns, elements, order, |_, found| {
            let mut digits = DIGITS;
            let text = found.text(&mut digits).unwrap_or_default();
            list.push(End::Back, text, &limits);
        });
    }
    let stored = list.len();
    if stored == 0 {
        delete_key(ctx, to);
    } else {
        let value = NewValue::Owned(Value::List(list));
        if !ctx.data.overwrite(to, value, Expiry::Clear) {
            ctx.data.notify(EventClass::New, "new", to);
        }
        ctx.data.signal_ready(to);
        ctx.data
            .changed_times(stored as u64, to, EventClass::List, "sortstore");
    }
    ctx.reply.integer(length(stored));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_compare_as_the_numbers_do() {
        let numbers = [
            f64::NEG_INFINITY,
            -2.5,
            -1e-300,
            0.0,
            1e-300,
            7.0,
            f64::INFINITY,
        ];
        assert!(numbers.is_sorted_by_key(|number| ordered(*number)));
        assert_eq!(ordered(-0.0), ordered(0.0));
    }

    #[test]
    fn only_the_wanted_part_is_sorted() {
        let numbers = [5u64, 3, 9, 1, 7, 0, 8, 2, 6, 4];
        for (start, end) in [(0, 10), (0, 3), (4, 6), (9, 10), (3, 10), (2, 2)] {
            let ranks = numbers.iter().enumerate();
            let mut ranks: Vec<Rank> = ranks
                .map(|(index, key)| Rank { key: *key, index })
                .collect();
            arrange(&mut ranks, start..end, |a, b| a.key.cmp(&b.key));
            let found: Vec<u64> = ranks[start..end].iter().map(|rank| rank.key).collect();
            assert_eq!(found, (start as u64..end as u64).collect::<Vec<_>>());
        }
    }
}

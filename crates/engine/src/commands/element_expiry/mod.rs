//! Deadlines of single elements: fields of hashes, members of sets and of sorted sets.
//!
//! The three types have the same commands under their own names (HEXPIRE, SEXPIRE, ZEXPIRE),
//! written here once over `Volatile`. The words that differ between the types are in `Words`: the
//! option name (`FIELDS`, `MEMBERS`), the events and the logged commands.

mod listed;
pub(in crate::commands) mod syntax;

use std::ops::Deref;

use resp::Args;
use smallvec::SmallVec;

use crate::commands::foreign;
use crate::context::{Context, Data, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, Outcome};
use crate::keys::Key;

use super::generic::Conditions;
use super::string::Unit;

pub(in crate::commands) use listed::Listed;

/// The names that one type uses.
pub(in crate::commands) struct Words {
    /// No other product has deadlines of such elements.
    pub(in crate::commands) only_here: bool,
    /// Word before the number of elements in a request.
    pub(in crate::commands) list: &'static str,
    /// Error for a number that does not fit the elements given.
    pub(in crate::commands) miscounted: &'static str,
    /// Command that removes elements.
    pub(in crate::commands) remove: &'static [u8],
    /// Command that sets an absolute deadline in milliseconds.
    pub(in crate::commands) expire_at: &'static [u8],
    /// Command that removes deadlines.
    pub(in crate::commands) persist: &'static [u8],
    /// Class of the events.
    pub(in crate::commands) class: EventClass,
    /// Event for elements that got a deadline.
    pub(in crate::commands) expires: &'static str,
    /// Event for elements that expired.
    pub(in crate::commands) expired: &'static str,
    /// Event for elements that lost their deadline.
    pub(in crate::commands) persists: &'static str,
}

/// A collection, borrowed for reading, whose elements may have deadlines.
pub(in crate::commands) trait Deadlines {
    /// The deadline of an element; `None` when there is no such element.
    fn deadline_of(&self, element: &[u8]) -> Option<Option<u64>>;

    /// The deadline of an element that is not hidden at `view_ms`.
    fn seen_deadline(&self, element: &[u8], view_ms: u64) -> Option<Option<u64>> {
        self.deadline_of(element)
            .filter(|deadline| deadline.is_none_or(|at| view_ms == 0 || at > view_ms))
    }
}

/// A collection whose elements may have deadlines.
pub(in crate::commands) trait Volatile:
    Sized + Deref<Target: Deadlines>
{
    /// The names that the type uses.
    const WORDS: Words;

    /// The collection at a key for reading.
    fn read<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a Self::Target>, CommandError>;

    /// The collection at a key for change.
    fn edit<'a>(
        data: &'a mut Data<'_, '_>,
        key: Key<'_>,
    ) -> Result<Option<&'a mut Self>, CommandError>;

    /// Elements whose deadline is not after this time are hidden, although they exist. At 0 none is
    /// hidden.
    fn view_ms(data: &Data<'_, '_>) -> u64;

    /// Sets or clears the deadline of an element. False when there is no such element.
    fn set_deadline(&mut self, element: &[u8], deadline: Option<u64>) -> bool;

    /// Removes an element. True when it was there.
    fn remove_element(&mut self, element: &[u8]) -> bool;
}

/// Some elements of a request.
pub(in crate::commands) type Elements<'a> = SmallVec<[&'a [u8]; 8]>;

/// Answers for single elements.
const MISSING: i64 = -2;
const NO_DEADLINE: i64 = -1;
const REFUSED: i64 = 0;
const DONE: i64 = 1;
const GONE: i64 = 2;

/// The deadline that an argument asks for; it may have passed.
pub(in crate::commands) fn deadline_of(
    ctx: &Context<'_, '_>,
    text: &[u8],
    unit: Unit,
) -> Result<u64, CommandError> {
    let amount = resp::number::parse_i64(text).ok_or(CommandError::NotInteger)?;
    unit.deadline_after(amount, ctx.data.now_ms, ctx.entry.full_name)
}

/// HEXPIRE and its kind: `key time [conditions] FIELDS n element ...`.
pub(in crate::commands) fn expire<T: Volatile>(
    ctx: &mut Context<'_, '_>,
    unit: Unit,
) -> CommandResult {
    if T::WORDS.only_here {
        foreign::refuse(ctx, None)?;
    }
    let request = Listed::parse(ctx.args, 3, 1, &T::WORDS, |options| {
        Conditions::parse(options).map(|_| ())
    })?;
    let conditions = Conditions::parse(request.options())?;
    let deadline = deadline_of(ctx, ctx.arg(2), unit)?;
    let key = ctx.key(1);
    let passed = ctx.data.is_past(deadline);
    let view_ms = T::view_ms(&ctx.data);
    let mut changed = Elements::new();
    let mut collection = T::edit(&mut ctx.data, key)?;
    ctx.reply.array(request.elements.len());
    for element in request.elements.iter() {
        let answer = match &mut collection {
            None => MISSING,
            Some(collection) => match collection.seen_deadline(element, view_ms) {
                None => MISSING,
                Some(current) if !conditions.allow(current, deadline) => REFUSED,
                Some(_) if passed => {
                    collection.remove_element(element);
                    GONE
                }
                Some(_) => {
                    collection.set_deadline(element, Some(deadline));
                    DONE
                }
            },
        };
        if answer > REFUSED {
            changed.push(element);
        }
        ctx.reply.integer(answer);
    }
    if changed.is_empty() {
        return Ok(Outcome::Done);
    }
    if passed {
        gone::<T>(ctx, key, &changed);
    } else {
        given::<T>(ctx, key, deadline, &changed);
    }
    Ok(Outcome::Done)
}

/// Logs and announces elements that were removed because their deadline had passed already.
pub(in crate::commands) fn gone<T: Volatile>(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    elements: &[&[u8]],
) {
    let count = elements.len() as u64;
    ctx.data.stats.expired_fields.add(count);
    ctx.data
        .changed_elements(count, key, (T::WORDS.class, T::WORDS.expired), elements);
    ctx.data.drop_if_empty(key);
    propagate(ctx, &[T::WORDS.remove, key.bytes], elements);
}

/// Logs and announces elements that got a deadline in the future.
pub(in crate::commands) fn given<T: Volatile>(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    deadline: u64,
    elements: &[&[u8]],
) {
    follow_deadline(&mut ctx.data, key, deadline);
    let (count, event) = (elements.len() as u64, T::WORDS.expires);
    ctx.data
        .changed_elements(count, key, (T::WORDS.class, event), elements);
    let mut deadline_digits = itoa::Buffer::new();
    let mut count_digits = itoa::Buffer::new();
    let begin = [
        T::WORDS.expire_at,
        key.bytes,
        deadline_digits.format(deadline).as_bytes(),
        T::WORDS.list.as_bytes(),
        count_digits.format(elements.len()).as_bytes(),
    ];
    propagate(ctx, &begin, elements);
}

/// Registers new deadlines of elements with the keyspace and the expiry loop.
pub(in crate::commands) fn follow_deadline(data: &mut Data<'_, '_>, key: Key<'_>, deadline: u64) {
    data.engine.note_deadline(deadline);
    data.sync_elements(key);
}

/// Logs and announces elements that lost their deadline.
pub(in crate::commands) fn persisted<T: Volatile>(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    elements: &[&[u8]],
) {
    let count = elements.len() as u64;
    ctx.data
        .changed_elements(count, key, (T::WORDS.class, T::WORDS.persists), elements);
    let mut digits = itoa::Buffer::new();
    let begin = [
        T::WORDS.persist,
        key.bytes,
        T::WORDS.list.as_bytes(),
        digits.format(elements.len()).as_bytes(),
    ];
    propagate(ctx, &begin, elements);
}

/// Logs a command that names only the changed elements: a reader of the log need not check which
/// elements of the request exist.
pub(in crate::commands) fn propagate(
    ctx: &mut Context<'_, '_>,
    begin: &[&[u8]],
    elements: &[&[u8]],
) {
    let mut argv = Elements::from_slice(begin);
    argv.extend_from_slice(elements);
    ctx.propagate(&argv);
}

/// HPERSIST and its kind: `key FIELDS n element ...`.
pub(in crate::commands) fn persist<T: Volatile>(ctx: &mut Context<'_, '_>) -> CommandResult {
    let miscounted = CommandError::line(T::WORDS.miscounted);
    let elements = plain_list(ctx, &T::WORDS, miscounted)?;
    let key = ctx.key(1);
    let view_ms = T::view_ms(&ctx.data);
    let mut changed = Elements::new();
    let mut collection = T::edit(&mut ctx.data, key)?;
    ctx.reply.array(elements.len());
    for element in elements.iter() {
        let current = collection
            .as_ref()
            .and_then(|collection| collection.seen_deadline(element, view_ms));
        let answer = match (current, &mut collection) {
            (Some(Some(_)), Some(collection)) => {
                collection.set_deadline(element, None);
                changed.push(element);
                DONE
            }
            (Some(_), _) => NO_DEADLINE,
            (None, _) => MISSING,
        };
        ctx.reply.integer(answer);
    }
    if !changed.is_empty() {
        persisted::<T>(ctx, key, &changed);
    }
    Ok(Outcome::Done)
}

/// HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME and their kind: `key FIELDS n element ...`. The unit and
/// origin of the answers depend on the command.
pub(in crate::commands) fn tell<T: Volatile>(
    ctx: &mut Context<'_, '_>,
    unit: Unit,
) -> CommandResult {
    let elements = plain_list(ctx, &T::WORDS, CommandError::Syntax)?;
    let key = ctx.key(1);
    let base_ms = if unit.is_absolute() {
        0
    } else {
        ctx.data.now_ms
    };
    let view_ms = T::view_ms(&ctx.data);
    let collection = T::read(&mut ctx.data, key)?;
    ctx.reply.array(elements.len());
    for element in elements.iter() {
        let deadline = collection.and_then(|found| found.seen_deadline(element, view_ms));
        ctx.reply.integer(match deadline {
            None => MISSING,
            Some(None) => NO_DEADLINE,
            Some(Some(at)) => unit.count(at.saturating_sub(base_ms)),
        });
    }
    Ok(Outcome::Done)
}

/// The elements of a request without options: `key FIELDS n element ...`.
pub(in crate::commands) fn plain_list<'a>(
    ctx: &Context<'a, '_>,
    words: &Words,
    miscounted: CommandError,
) -> Result<Args<'a>, CommandError> {
    if !ctx.is_word(2, words.list) {
        return Err(CommandError::Syntax);
    }
    let count = ctx.integer(3)?;
    let elements = ctx.args.skip(4);
    if elements.is_empty() || usize::try_from(count) != Ok(elements.len()) {
        return Err(miscounted);
    }
    Ok(elements)
}

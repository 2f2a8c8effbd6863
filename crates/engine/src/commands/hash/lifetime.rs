//! Commands on fields together with their deadlines: HGETEX, HSETEX.

use resp::Args;
use values::{FieldDeadline, Hash, HashView};

use super::get::reply_values;
use super::set::write_fields;
use super::{DATA, edit_or_new, note_overwritten, write_ms};
use crate::command::*;
use crate::commands::element_expiry::syntax::FIELDS;
use crate::commands::element_expiry::{
    Elements, Listed, Volatile, deadline_of, follow_deadline, given, gone, persisted, propagate,
};
use crate::commands::string::Unit;
use crate::context::{Context, ElementReply, EventClass};
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// The deadline that the options ask for.
#[derive(Clone, Copy, Default)]
enum Lifetime<'a> {
    /// Nothing.
    #[default]
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT or PXAT with its argument.
    Until(Unit, &'a [u8]),
}

/// Whether something has to exist.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Condition {
    /// No condition.
    #[default]
    Either,
    /// It must not exist.
    Missing,
    /// It must exist.
    Exists,
}

impl Condition {
    /// Both conditions combined; `None` when they contradict.
    fn and(self, other: Self) -> Option<Self> {
        (self == Self::Either || self == other).then_some(other)
    }

    fn allows(self, exists: bool) -> bool {
        match self {
            Self::Either => true,
            Self::Missing => !exists,
            Self::Exists => exists,
        }
    }
}

/// The options of one request.
#[derive(Clone, Copy, Default)]
struct Options<'a> {
    /// NX or XX.
    key: Condition,
    /// FNX or FXX.
    fields: Condition,
    lifetime: Lifetime<'a>,
}

impl<'a> Options<'a> {
    /// Options of HSETEX.
    fn of_set(words: &mut dyn Iterator<Item = &'a [u8]>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            options
                .take_condition(word)
                .or_else(|| options.take_lifetime(word, words, "keepttl", Lifetime::Keep))
                .ok_or(CommandError::Syntax)?;
        }
        Ok(options)
    }

    /// Options of HGETEX.
    fn of_get(words: &mut dyn Iterator<Item = &'a [u8]>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            options
                .take_lifetime(word, words, "persist", Lifetime::Persist)
                .ok_or(CommandError::Syntax)?;
        }
        Ok(options)
    }

    fn take_condition(&mut self, word: &[u8]) -> Option<()> {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => self.key = self.key.and(Condition::Missing)?,
            b"xx" => self.key = self.key.and(Condition::Exists)?,
            b"fnx" => self.fields = self.fields.and(Condition::Missing)?,
            b"fxx" => self.fields = self.fields.and(Condition::Exists)?,
            _ => return None,
        }
        Some(())
    }

    /// Takes an option about deadlines: one with a time, or the `plain` one. An option may be
    /// repeated, but not joined with another.
    fn take_lifetime(
        &mut self,
        word: &[u8],
        words: &mut dyn Iterator<Item = &'a [u8]>,
        plain: &str,
        meaning: Lifetime<'a>,
    ) -> Option<()> {
        if word.eq_ignore_ascii_case(plain.as_bytes()) {
            let free = !matches!(self.lifetime, Lifetime::Until(..));
            self.lifetime = meaning;
            return free.then_some(());
        }
        let unit = Unit::of_word(word)?;
        let free = match self.lifetime {
            Lifetime::Unsaid => true,
            Lifetime::Until(before, _) => before == unit,
            Lifetime::Keep | Lifetime::Persist => false,
        };
        self.lifetime = Lifetime::Until(unit, words.next()?);
        free.then_some(())
    }

    /// The deadline that is asked for; it may have passed.
    fn deadline(&self, ctx: &Context<'_, '_>) -> Result<Option<u64>, CommandError> {
        match self.lifetime {
            Lifetime::Until(unit, text) => deadline_of(ctx, text, unit).map(Some),
            _ => Ok(None),
        }
    }

    /// True when the options make the command conditional.
    fn are_conditional(&self) -> bool {
        self.key != Condition::Either || self.fields != Condition::Either
    }

    /// True when the condition on fields holds.
    fn fields_allow(&self, hash: Option<&HashView>, pairs: Args<'_>, view_ms: u64) -> bool {
        let exists = |field| hash.is_some_and(|hash| hash.get(field, view_ms).is_some());
        self.fields == Condition::Either
            || pairs
                .iter()
                .step_by(2)
                .all(|field| self.fields.allows(exists(field)))
    }
}

pub(super) const HGETEX: CommandSpec = CommandSpec::new("hgetex", -5, hgetex)
    .group(Group::Hash)
    .since("9.0.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Returns the values of fields of a hash and may set or remove their expiry.")
    .complexity("O(N) in the number of fields that are named.")
    .keys(&[KeySpec::one(1, KeyFlags::RW_ACCESS_UPDATE)])
    .args(&[Arg::KEY, Arg::EXPIRATION_OR_PERSIST, FIELDS]);

pub(super) fn hgetex(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = Listed::parse(ctx.args, 2, 1, &Hash::WORDS, |words| {
        Options::of_get(words).map(|_| ())
    })?;
    let options = Options::of_get(&mut request.options())?;
    if matches!(options.lifetime, Lifetime::Unsaid) {
        return reply_values(ctx, request.elements);
    }
    let key = ctx.key(1);
    let view_ms = ctx.data.view_ms();
    let deadline = options.deadline(ctx);
    let passed = matches!(deadline, Ok(Some(at)) if ctx.data.is_past(at));
    // HGETEX also reads, which counts as a hit or a miss. A hash without any of the fields stays as
    // it is: borrowing it for change would move it out of its entry.
    let is_there = ctx.data.hash(key)?.is_some_and(|hash| {
        let mut fields = request.elements.iter();
        fields.any(|field| hash.get(field, view_ms).is_some())
    });
    let change = match deadline? {
        None => Change::Persist,
        Some(_) if passed => Change::Remove,
        Some(at) => Change::Expire(at),
    };
    let mut hash = if is_there {
        ctx.data.hash_mut(key)?
    } else {
        None
    };
    let mut changed = Elements::new();
    ctx.reply.array(request.elements.len());
    for field in request.elements.iter() {
        match hash.as_deref().and_then(|hash| hash.get(field, view_ms)) {
            None => {
                ctx.reply.null();
                continue;
            }
            Some(value) => ctx.reply.element(value),
        }
        if let Some(hash) = hash.as_deref_mut()
            && change.apply(hash, field)
        {
            changed.push(field);
        }
    }
    if !changed.is_empty() {
        match change {
            Change::Persist => persisted::<Hash>(ctx, key, &changed),
            Change::Remove => gone::<Hash>(ctx, key, &changed),
            Change::Expire(at) => given::<Hash>(ctx, key, at, &changed),
        }
    }
    Ok(Outcome::Done)
}

/// The change that HGETEX makes to a field.
#[derive(Clone, Copy)]
enum Change {
    Persist,
    Remove,
    Expire(u64),
}

impl Change {
    /// Changes an existing field. False when there was nothing to do.
    fn apply(self, hash: &mut Hash, field: &[u8]) -> bool {
        match self {
            Self::Persist => {
                matches!(hash.deadline(field), Some(Some(_))) && hash.set_deadline(field, None)
            }
            Self::Remove => hash.remove(field),
            Self::Expire(at) => hash.set_deadline(field, Some(at)),
        }
    }
}

pub(super) const HSETEX: CommandSpec = CommandSpec::new("hsetex", -6, hsetex)
    .group(Group::Hash)
    .since("9.0.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST))
    .summary("Sets fields of a hash together with their expiry, with conditions.")
    .complexity("O(N) in the number of fields that are set.")
    .keys(&[KeySpec::one(1, KeyFlags::RW.or(KeyFlags::INSERT))])
    .args(&[
        Arg::KEY,
        Arg::one_of("key-condition")
            .optional()
            .args(&[Arg::NX, Arg::XX]),
        Arg::one_of("fields-condition")
            .optional()
            .args(&[Arg::word("fnx", "FNX"), Arg::word("fxx", "FXX")]),
        Arg::one_of("expiration").optional().args(&[
            Arg::EX,
            Arg::PX,
            Arg::EXAT,
            Arg::PXAT,
            Arg::word("keepttl", "KEEPTTL"),
        ]),
        Arg::block("fields")
            .token("FIELDS")
            .args(&[Arg::integer("numfields"), DATA]),
    ]);

pub(super) fn hsetex(ctx: &mut Context<'_, '_>) -> CommandResult {
    let request = Listed::parse(ctx.args, 2, 2, &Hash::WORDS, |words| {
        Options::of_set(words).map(|_| ())
    })?;
    let options = Options::of_set(&mut request.options())?;
    let deadline = options.deadline(ctx);
    let key = ctx.key(1);
    if options.are_conditional() || deadline.is_err() {
        let view_ms = ctx.data.view_ms();
        let hash = ctx.data.hash_mut(key)?;
        let allowed = options.key.allows(hash.is_some()) && {
            // An invalid deadline is an error only when the condition on the key holds, but before
            // the condition on the fields is checked.
            deadline.clone()?;
            options.fields_allow(hash.map(|hash| &**hash), request.elements, view_ms)
        };
        if !allowed {
            ctx.reply.integer(0);
            return Ok(Outcome::Done);
        }
    }
    match deadline? {
        Some(at) if ctx.data.is_past(at) => remove_at_once(ctx, key, request)?,
        deadline => set_until(ctx, key, request, &options, deadline)?,
    }
    ctx.reply.integer(1);
    Ok(Outcome::Done)
}

/// HSETEX with a deadline that has passed: the fields are set and expire at once.
fn remove_at_once(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    request: Listed<'_>,
) -> Result<(), CommandError> {
    let fields: Elements<'_> = request.elements.iter().step_by(2).collect();
    let mut removed = Elements::new();
    let hash = ctx.data.hash_mut(key)?;
    let existed = hash.is_some();
    if let Some(hash) = hash {
        let fields = fields.iter().copied();
        removed.extend(fields.filter(|field| hash.remove(field)));
    } else {
        // For its events, the key has been there for a moment.
        ctx.data.notify(EventClass::New, "new", key);
    }
    ctx.data.stats.expired_fields.add(request.count as u64);
    let event = (EventClass::Hash, "hset");
    if removed.is_empty() {
        ctx.data.notify_elements(key, event, &fields);
    } else {
        let count = removed.len() as u64;
        ctx.data.changed_elements(count, key, event, &fields);
    }
    for event in ["hexpire", "hexpired"] {
        ctx.data
            .notify_elements(key, (EventClass::Hash, event), &fields);
    }
    if existed {
        ctx.data.drop_if_empty(key);
    } else {
        ctx.data.notify(EventClass::Generic, "del", key);
    }
    if !removed.is_empty() {
        propagate(ctx, &[b"HDEL", key.bytes], &removed);
    }
    Ok(())
}

/// HSETEX in the usual case.
fn set_until(
    ctx: &mut Context<'_, '_>,
    key: Key<'_>,
    request: Listed<'_>,
    options: &Options<'_>,
    deadline: Option<u64>,
) -> Result<(), CommandError> {
    let keeps = matches!(options.lifetime, Lifetime::Keep);
    let field_deadline = match deadline {
        Some(at) => FieldDeadline::At(at),
        None if keeps => FieldDeadline::Keep,
        None => FieldDeadline::Clear,
    };
    let limits = ctx.thresholds();
    let now_ms = write_ms(&ctx.data);
    let pairs = request.elements;
    let mut overdue = Elements::new();
    edit_or_new(&mut ctx.data, key, |hash| {
        write_fields(hash, pairs, field_deadline, now_ms, &limits, |field| {
            overdue.push(field);
        })
    })?;
    if let Some(at) = deadline {
        follow_deadline(&mut ctx.data, key, at);
    }
    note_overwritten(&mut ctx.data, key, &overdue);
    if keeps && !overdue.is_empty() {
        // A reader of the log may still have these fields, and would keep their old deadlines.
        let mut argv = Elements::from_slice(&[b"HDEL", key.bytes]);
        argv.append(&mut overdue);
        ctx.data.effects.push(ctx.data.db, &argv);
    }
    let (count, fields) = (request.count as u64, pairs.iter().step_by(2));
    ctx.data
        .changed_elements(count, key, (EventClass::Hash, "hset"), fields.clone());
    if deadline.is_some() {
        ctx.data
            .notify_elements(key, (EventClass::Hash, "hexpire"), fields);
    }
    propagate_set(ctx, request, options, deadline);
    Ok(())
}

/// Logs an HSETEX that was carried out, with an absolute time and without conditions.
fn propagate_set(
    ctx: &mut Context<'_, '_>,
    request: Listed<'_>,
    options: &Options<'_>,
    deadline: Option<u64>,
) {
    let verbatim = matches!(
        options.lifetime,
        Lifetime::Unsaid | Lifetime::Keep | Lifetime::Until(Unit::UnixMilliseconds, _)
    );
    if verbatim && !options.are_conditional() && !request.has_options_behind() {
        return;
    }
    let mut deadline_digits = itoa::Buffer::new();
    let mut count_digits = itoa::Buffer::new();
    let mut argv = Elements::from_slice(&[b"HSETEX", ctx.arg(1)]);
    if let Some(at) = deadline {
        argv.push(b"PXAT");
        argv.push(deadline_digits.format(at).as_bytes());
    } else if matches!(options.lifetime, Lifetime::Keep) {
        argv.push(b"KEEPTTL");
    }
    argv.push(b"FIELDS");
    argv.push(count_digits.format(request.count).as_bytes());
    argv.extend(request.elements.iter());
    ctx.propagate(&argv);
}

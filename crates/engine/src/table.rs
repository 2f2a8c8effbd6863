//! The command table at run time: names to entries, entries to statistics.

use std::collections::HashMap;

use crate::command::Group::{Geo, Hash, List, Set, SortedSet, Stream};
use crate::command::{
    BeginSearch, FindKeys, Flags, KeyFlags, KeyPosition, KeyPositions, KeySpec, Locks, Metadata,
};
use resp::Args;

/// A command or subcommand of the running server.
pub struct Command {
    /// Dense index: statistics of all workers are arrays indexed by it.
    pub id: usize,
    /// Its description.
    pub spec: &'static Metadata,
    /// `get`, or `config|get` for a subcommand.
    pub full_name: &'static str,
    /// Entries of the subcommands.
    pub subcommands: Vec<&'static Command>,
    /// The container of a subcommand.
    pub parent: Option<&'static str>,
    /// It locks its keys and nothing else, and runs no other commands.
    pub is_on_keys: bool,
    /// It works on values other than strings.
    pub is_for_collection: bool,
    /// How keys are found on the hot path.
    pub plan: KeyPlan,
    /// Where the first member or field stands that the command looks for, when that is always the
    /// same place.
    pub member: Option<usize>,
    /// It is EXEC, which runs other commands.
    pub is_exec: bool,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.full_name)
    }
}

impl PartialEq for Command {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl Eq for Command {}

impl Command {
    /// The subcommand called `name`, in any case.
    fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        self.subcommands
            .iter()
            .find(|entry| entry.spec.name.as_bytes().eq_ignore_ascii_case(name))
            .copied()
    }

    /// True when keys cannot be found by position alone (COMMAND's `movablekeys`).
    fn has_movable_keys(&self) -> bool {
        self.spec.keys.iter().any(|spec| {
            !matches!(
                (spec.begin, spec.find),
                (BeginSearch::Index(_), FindKeys::Range { .. })
            ) || spec.flags.0 & crate::command::KeyFlags::INCOMPLETE.0 != 0
        })
    }

    /// First key, last key and step of the legacy COMMAND reply; zeros without keys by position.
    pub fn legacy_range(&self) -> (i64, i64, i64) {
        let mut first = 0i64;
        let mut last = 0i64;
        let mut step = 0i64;
        for spec in self.spec.keys {
            let (
                BeginSearch::Index(begin),
                FindKeys::Range {
                    last: l, step: s, ..
                },
            ) = (spec.begin, spec.find)
            else {
                continue;
            };
            let begin = i64::from(begin);
            let end = if l >= 0 {
                begin + i64::from(l)
            } else {
                i64::from(l)
            };
            if first == 0 {
                (first, last, step) = (begin, end, i64::from(s));
            } else {
                first = first.min(begin);
                if last >= 0 && (end < 0 || end > last) {
                    last = end;
                }
                step = 1;
            }
        }
        (first, last, step)
    }
}

/// How the keys of a command are found, decided once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlan {
    /// It has none.
    None,
    /// Exactly one, at this place.
    One(KeyPosition),
    /// As many as the argument at this place says, behind it.
    Counted(KeyPosition),
    /// All specifications have to be looked at.
    Specs,
}

/// The result of looking up a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// A command, or a subcommand of a container.
    Command(&'static Command),
    /// A container, and no subcommand of it.
    UnknownSubcommand(&'static Command),
    /// Nothing.
    Unknown,
}

impl Resolved {
    /// The command, when there is one.
    #[inline]
    pub fn found(self) -> Option<&'static Command> {
        match self {
            Self::Command(command) => Some(command),
            _ => None,
        }
    }
}

/// A command as it is declared: with its subcommands, and with what else its owner keeps of it.
pub trait Registration: 'static {
    /// The description of the command.
    fn metadata(&self) -> &Metadata;

    /// Its subcommands.
    fn subcommands(&self) -> &'static [&'static Self];
}

/// Runtime table; lives as long as the process.
pub struct CommandTable {
    entries: Vec<&'static Command>,
    by_name: HashMap<Vec<u8>, &'static Command, foldhash::fast::RandomState>,
    /// The same for names of at most [`SHORT_NAME`] bytes, which is nearly all of them: the key is
    /// compared and hashed as one number.
    by_short_name: HashMap<u128, &'static Command, foldhash::fast::RandomState>,
    /// Commands by the names that they are declared with.
    by_original_name: HashMap<&'static str, &'static Command, foldhash::fast::RandomState>,
    /// Names that `rename-command` removes although no command has them.
    absent: Vec<String>,
}

/// A `rename-command` that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct RenameError {
    /// Its number among all, from 0.
    pub index: usize,
    reason: &'static str,
}

/// Length of names that are looked up as a number, in bytes.
const SHORT_NAME: usize = size_of::<u128>();

/// A name in lower case as a number, when it is short enough. Names hold no zero bytes, so padding
/// does not make two of them equal (a request's may).
#[inline]
fn short_name(name: &[u8]) -> Option<u128> {
    let mut bytes = [0u8; SHORT_NAME];
    bytes.get_mut(..name.len())?.copy_from_slice(name);
    // A trailing zero of the request is not padding: it makes the name unknown.
    if name.last() == Some(&0) {
        return None;
    }
    bytes.make_ascii_lowercase();
    Some(u128::from_le_bytes(bytes))
}

/// Longest command name looked up; longer ones cannot exist.
const NAME_MAX: usize = 64;

impl CommandTable {
    /// Builds the table from the groups' constants. `rename` holds (old, new) pairs of
    /// `rename-command`; an empty new name removes the command. Removing a command that does not
    /// exist has no effect: hardened configurations remove commands of other versions. `added` is
    /// called for every command and subcommand, in the order of their ids.
    ///
    /// # Errors
    /// A command is renamed that does not exist, or to a name that is taken.
    pub fn new<R: Registration>(
        groups: &[&[&'static R]],
        rename: &[(String, String)],
        mut added: impl FnMut(&'static R),
    ) -> Result<Self, RenameError> {
        let mut table = Self {
            entries: Vec::new(),
            by_name: HashMap::default(),
            by_short_name: HashMap::default(),
            by_original_name: HashMap::default(),
            absent: Vec::new(),
        };
        for command in groups.iter().flat_map(|group| group.iter()) {
            let entry = table.add(*command, None, &mut added);
            let name = command.metadata().name.as_bytes().to_vec();
            table.by_name.insert(name, entry);
            table.by_original_name.insert(entry.spec.name, entry);
        }
        for (index, (old, new)) in rename.iter().enumerate() {
            let renamed = table.rename(old, new);
            renamed.map_err(|reason| RenameError { index, reason })?;
        }
        table.by_short_name = table
            .by_name
            .iter()
            .filter_map(|(name, entry)| Some((short_name(name)?, *entry)))
            .collect();
        Ok(table)
    }

    fn rename(&mut self, old: &str, new: &str) -> Result<(), &'static str> {
        let entry = self.by_name.remove(old.to_ascii_lowercase().as_bytes());
        let Some(entry) = entry else {
            if new.is_empty() {
                self.absent.push(old.to_owned());
                return Ok(());
            }
            return Err("No such command in rename-command");
        };
        if new.is_empty() {
            return Ok(());
        }
        let new = new.to_ascii_lowercase().into_bytes();
        if self.by_name.insert(new, entry).is_some() {
            return Err("Target command name already exists");
        }
        Ok(())
    }

    /// Names that `rename-command` removes although no command has them.
    pub fn absent(&self) -> &[String] {
        &self.absent
    }

    // Entries are never freed: they are part of the process, like the constants they come from, and
    // `&'static` keeps them out of every hot path's reference counting.
    fn add<R: Registration>(
        &mut self,
        registration: &'static R,
        parent: Option<&'static str>,
        added: &mut impl FnMut(&'static R),
    ) -> &'static Command {
        let spec: &'static Metadata = registration.metadata();
        let full_name: &'static str = match parent {
            None => spec.name,
            Some(parent) => Box::leak(format!("{parent}|{}", spec.name).into_boxed_str()),
        };
        let subcommands = registration.subcommands().iter();
        let subcommands = subcommands
            .map(|sub| self.add(*sub, Some(spec.name), added))
            .collect();
        let entry: &'static Command = Box::leak(Box::new(Command {
            id: self.entries.len(),
            spec,
            full_name,
            subcommands,
            parent,
            is_on_keys: matches!(spec.locks, Locks::Keys),
            is_for_collection: matches!(spec.group, Geo | Hash | List | Set | SortedSet | Stream),
            plan: plan(spec),
            member: member(spec),
            is_exec: spec.flags.has(Flags::IS_EXEC),
        }));
        self.entries.push(entry);
        added(registration);
        entry
    }

    /// All entries, subcommands included, in the order of their ids.
    pub fn entries(&self) -> &[&'static Command] {
        &self.entries
    }

    /// Commands by their current names (renamed ones under the new name), in no order.
    pub fn commands(&self) -> impl Iterator<Item = &'static Command> + '_ {
        self.by_name.values().copied()
    }

    /// Number of commands (subcommands not counted).
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True for a table without commands.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The command called `name`, in any case.
    #[inline]
    pub fn lookup(&self, name: &[u8]) -> Option<&'static Command> {
        match short_name(name) {
            Some(short) => self.by_short_name.get(&short).copied(),
            None => self.lookup_long(name),
        }
    }

    #[cold]
    fn lookup_long(&self, name: &[u8]) -> Option<&'static Command> {
        if name.len() > NAME_MAX {
            return None;
        }
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// The command or, for a container, the subcommand that a request names.
    #[inline]
    pub fn resolve(&self, args: Args<'_>) -> Resolved {
        let Some(entry) = self.lookup(args.arg(0)) else {
            return Resolved::Unknown;
        };
        if entry.subcommands.is_empty() || args.len() < 2 {
            return Resolved::Command(entry);
        }
        match entry.subcommand(args.arg(1)) {
            Some(sub) => Resolved::Command(sub),
            None => Resolved::UnknownSubcommand(entry),
        }
    }

    /// The entry declared as `name`, in any case: `get`, or `config|get` for a subcommand. Unlike
    /// the other look-ups this one finds commands that are renamed or removed.
    pub fn lookup_original(&self, name: &[u8]) -> Option<&'static Command> {
        if name.len() > NAME_MAX {
            return None;
        }
        let lower = name.to_ascii_lowercase();
        let (base, sub) = match memchr::memchr(b'|', &lower) {
            None => (lower.as_slice(), None),
            Some(at) => (&lower[..at], Some(&lower[at + 1..])),
        };
        let base = std::str::from_utf8(base).ok()?;
        let command = *self.by_original_name.get(base)?;
        match sub {
            None => Some(command),
            Some(sub) => command.subcommand(sub),
        }
    }

    /// The entry called `name`: `get`, or `config|get` for a subcommand.
    pub fn lookup_full(&self, name: &[u8]) -> Option<&'static Command> {
        match name.iter().position(|byte| *byte == b'|') {
            None => self.lookup(name),
            Some(at) => {
                let (container, sub) = name.split_at(at);
                self.lookup(container)?.subcommand(sub.get(1..)?)
            }
        }
    }
}

/// The position of the first member or field, when only required arguments of one word precede it.
fn member(command: &Metadata) -> Option<usize> {
    for (place, arg) in (1..).zip(command.args) {
        let first = arg.args.first().unwrap_or(arg);
        let is_word = first.token.is_none() && arg.token.is_none();
        if arg.optional || !is_word {
            return None;
        }
        if matches!(first.name, "field" | "member") {
            return Some(place);
        }
        if arg.multiple || !arg.args.is_empty() {
            return None;
        }
    }
    None
}

fn plan(command: &Metadata) -> KeyPlan {
    if !matches!(command.locks, Locks::Keys) && command.keys.is_empty() {
        return KeyPlan::None;
    }
    match command.keys {
        // What is only routed like keys locks nothing.
        specs if specs.iter().all(|spec| spec.flags.has(KeyFlags::NOT_KEY)) => KeyPlan::None,
        [
            KeySpec {
                begin: BeginSearch::Index(index),
                find: FindKeys::Range { last: 0, .. },
                flags,
                ..
            },
        ] => KeyPlan::One(KeyPosition {
            index: usize::try_from(*index).unwrap_or(1),
            flags: flags.0,
        }),
        [
            KeySpec {
                begin: BeginSearch::Index(index),
                find:
                    FindKeys::KeyNum {
                        count: 0,
                        first: 1,
                        step: 1,
                    },
                flags,
                ..
            },
        ] if command.find_keys.is_none() => KeyPlan::Counted(KeyPosition {
            index: usize::try_from(*index).unwrap_or(1),
            flags: flags.0,
        }),
        _ => KeyPlan::Specs,
    }
}

/// Positions of all keys of a request; a missing or malformed part yields fewer keys, never an
/// error.
pub fn key_positions(command: &Metadata, args: Args<'_>) -> KeyPositions {
    if let Some(find) = command.find_keys {
        return find(args);
    }
    let mut found = KeyPositions::new();
    for spec in command.keys {
        positions_of(spec, args, &mut found);
    }
    found
}

/// The keys of a request with what happens to them: none when the arguments do not fit, and the
/// command answers a syntax error.
pub fn checked_key_positions(command: &Metadata, args: Args<'_>) -> KeyPositions {
    if !counts_fit(command, args) {
        return KeyPositions::new();
    }
    let mut keys = key_positions(command, args);
    keys.retain(|key| !KeyFlags(key.flags).has(KeyFlags::NOT_KEY));
    if let Some(flags_of) = command.variable_flags {
        let flags = flags_of(args).0;
        keys.iter_mut().for_each(|key| key.flags = flags);
    }
    keys
}

/// True when the numbers of keys that the arguments say fit what follows them: with others the
/// command answers a syntax error.
pub fn counts_fit(command: &Metadata, args: Args<'_>) -> bool {
    command.find_keys.is_some() || command.keys.iter().all(|spec| count_fits(spec, args))
}

fn count_fits(spec: &KeySpec, args: Args<'_>) -> bool {
    let (FindKeys::KeyNum { count, first, step }, Some(begin)) = (spec.find, begin_of(spec, args))
    else {
        return true;
    };
    let room = args.len() as i64 - begin - i64::from(first);
    key_count(args, begin + i64::from(count)).is_some_and(|n| n <= room / i64::from(step.max(1)))
}

/// The number of keys at an argument, when it can be one.
fn key_count(args: Args<'_>, at: i64) -> Option<i64> {
    let text = args.get(usize::try_from(at).ok()?)?;
    let argc = args.len() as i64;
    resp::number::parse_i64(text).filter(|n| *n > 0 && *n <= argc)
}

/// The keys behind their number, by [`KeyPlan::Counted`].
pub fn counted_positions(
    count: KeyPosition,
    args: Args<'_>,
) -> impl Iterator<Item = KeyPosition> + use<> {
    let keys = key_count(args, count.index as i64).unwrap_or(0) as usize;
    let end = (count.index + 1 + keys).min(args.len());
    (count.index + 1..end).map(move |index| KeyPosition { index, ..count })
}

fn positions_of(spec: &KeySpec, args: Args<'_>, found: &mut KeyPositions) {
    let Some(begin) = begin_of(spec, args) else {
        return;
    };
    let argc = args.len() as i64;
    let (first, last, step) = match spec.find {
        FindKeys::Range { last, step, limit } => {
            let end = if last >= 0 {
                begin + i64::from(last)
            } else if limit <= 1 {
                argc + i64::from(last)
            } else {
                // Redis's rule for XREAD: with `limit` n only 1/n of the rest are keys.
                begin + (argc - begin) / i64::from(limit) + i64::from(last)
            };
            (begin, end, i64::from(step))
        }
        FindKeys::KeyNum { count, first, step } => {
            let Some(n) = key_count(args, begin + i64::from(count)) else {
                return;
            };
            let first = begin + i64::from(first);
            (first, first + (n - 1) * i64::from(step), i64::from(step))
        }
        FindKeys::Unknown => return,
    };
    let mut at = first;
    while at <= last && at < argc && step > 0 {
        if let Ok(index) = usize::try_from(at) {
            found.push(KeyPosition {
                index,
                flags: spec.flags.0,
            });
        }
        at += step;
    }
}

fn begin_of(spec: &KeySpec, args: Args<'_>) -> Option<i64> {
    match spec.begin {
        BeginSearch::Index(index) => Some(i64::from(index)).filter(|at| *at < args.len() as i64),
        BeginSearch::Keyword { keyword, start } => {
            let argc = args.len() as i64;
            let backwards = start < 0;
            let mut at = if backwards {
                argc + i64::from(start)
            } else {
                i64::from(start)
            };
            while at > 0 && at < argc {
                let word = args.arg(usize::try_from(at).ok()?);
                if word.eq_ignore_ascii_case(keyword.as_bytes()) {
                    return Some(at + 1);
                }
                at += if backwards { -1 } else { 1 };
            }
            None
        }
        BeginSearch::Unknown => None,
    }
}

/// Names of the flags COMMAND shows, in Redis's order.
pub fn flag_names(entry: &Command) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = entry.spec.flags.names().collect();
    if entry.has_movable_keys() {
        let before_allow_busy = names.len() - usize::from(names.last() == Some(&"allow_busy"));
        names.insert(before_allow_busy, "movablekeys");
    }
    names
}

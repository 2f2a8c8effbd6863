//! A selector: one set of rights on commands, keys, channels and databases.

use smallvec::SmallVec;

use super::pattern::Pattern;
use super::rules::{Defaults, RuleError};
use crate::command::{Categories, KeyFlags};
use crate::table::{Command, CommandTable};

/// Most patterns for keys, and most for channels, of one selector: each is compared with each key,
/// and a rule compares with all that are there already.
pub(super) const PATTERNS_MAX: usize = 4096;

/// Longest pattern, in bytes. Longer ones are no patterns of key names that occur.
pub(super) const PATTERN_BYTES_MAX: usize = 64 * 1024;

/// Most rules about commands of one selector. There are about 400 commands; the rest is room for
/// first arguments.
pub(super) const COMMAND_RULES_MAX: usize = 4096;

/// Most databases that one `db=` names.
const DATABASES_MAX: usize = 16 * 1024;

/// What a pattern or a key specification does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// Returns or copies the value.
    pub(super) read: bool,
    /// Changes the value.
    pub(super) write: bool,
}

impl Access {
    /// Reading and writing.
    pub(super) const ALL: Self = Self {
        read: true,
        write: true,
    };

    /// Reading.
    pub(super) const READ: Self = Self {
        read: true,
        write: false,
    };

    /// The rights that a key with these flags needs.
    pub(super) fn needed(flags: KeyFlags) -> Self {
        let writes = KeyFlags::INSERT.or(KeyFlags::DELETE).or(KeyFlags::UPDATE);
        Self {
            read: flags.has(KeyFlags::ACCESS),
            write: flags.any(writes),
        }
    }

    pub(super) fn covers(self, needed: Self) -> bool {
        (self.read || !needed.read) && (self.write || !needed.write)
    }
}

/// A pattern of keys with the access that it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyPattern {
    /// The pattern.
    pub(super) pattern: Pattern,
    /// What it allows.
    pub(super) access: Access,
}

/// A set of commands, as bits by their ids. A table has about 400 commands and subcommands; one
/// beyond the last bit is in no set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CommandSet([u64; 16]);

impl CommandSet {
    #[inline]
    pub(super) fn has(&self, id: usize) -> bool {
        let word = self.0.get(id / 64).copied().unwrap_or(0);
        word >> (id % 64) & 1 != 0
    }

    fn set(&mut self, id: usize, on: bool) {
        if let Some(word) = self.0.get_mut(id / 64) {
            let bit = 1 << (id % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    fn fill(&mut self, on: bool) {
        self.0.fill(if on { u64::MAX } else { 0 });
    }
}

/// One rule about commands, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandRule {
    pub(super) allows: bool,
    /// `get`, `config|get`, `select|0` or `@read`, in lower case.
    pub(super) text: Box<[u8]>,
}

/// First arguments with which a command is allowed that is not allowed otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FirstArgs {
    id: usize,
    /// In lower case, ascending.
    args: Vec<Box<[u8]>>,
}

/// One set of rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub(super) all_commands: bool,
    pub(super) all_keys: bool,
    pub(super) all_channels: bool,
    pub(super) all_dbs: bool,
    /// The rules about commands begin with `+@all`.
    pub(super) begins_with_all: bool,
    pub(super) commands: CommandSet,
    /// Ascending by the id of the command.
    pub(super) first_args: Vec<FirstArgs>,
    pub(super) command_rules: Vec<CommandRule>,
    pub(super) keys: Vec<KeyPattern>,
    pub(super) channels: Vec<Pattern>,
    /// Ascending, each once.
    pub(super) dbs: SmallVec<[u32; 4]>,
}

impl Selector {
    /// A selector without rights, but for what is the default.
    pub(super) fn new(defaults: Defaults) -> Self {
        Self {
            all_commands: false,
            all_keys: false,
            all_channels: defaults.all_channels,
            all_dbs: true,
            begins_with_all: false,
            commands: CommandSet::default(),
            first_args: Vec::new(),
            command_rules: Vec::new(),
            keys: Vec::new(),
            channels: Vec::new(),
            dbs: SmallVec::new(),
        }
    }

    /// A selector with all rights.
    pub(super) fn unrestricted() -> Self {
        let mut selector = Self::new(Defaults { all_channels: true });
        selector.set_all_keys(true);
        selector.set_all_commands(true);
        selector
    }

    /// Allows everything.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels && self.all_dbs
    }

    /// Changes the selector by one rule.
    ///
    /// # Errors
    /// See [`RuleError`]. The selector may be half-changed then.
    pub(super) fn apply(&mut self, commands: &CommandTable, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.set_all_keys(true),
            b"resetkeys" => self.set_all_keys(false),
            b"allchannels" | b"&*" => self.set_all_channels(true),
            b"resetchannels" => self.set_all_channels(false),
            b"alldbs" => self.set_all_dbs(true),
            b"resetdbs" => self.set_all_dbs(false),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            lower if lower.starts_with(b"db=") => return self.set_dbs(&lower[3..]),
            _ => return self.apply_pattern_or_command(commands, rule),
        }
        Ok(())
    }

    fn apply_pattern_or_command(
        &mut self,
        commands: &CommandTable,
        rule: &[u8],
    ) -> Result<(), RuleError> {
        match rule {
            [b'~' | b'%', ..] => self.add_key_pattern(rule),
            [b'&', pattern @ ..] => self.add_channel(pattern),
            [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                self.set_category(commands, name, *sign == b'+')
            }
            [b'+', name @ ..] => self.allow(commands, name),
            [b'-', name @ ..] => {
                let command = commands.lookup_original(name).ok_or(RuleError::Unknown)?;
                self.set_command(command, false);
                self.note_rule(command.full_name.as_bytes(), false)
            }
            _ => Err(RuleError::Syntax),
        }
    }

    fn set_all_keys(&mut self, on: bool) {
        self.all_keys = on;
        self.keys.clear();
    }

    fn set_all_channels(&mut self, on: bool) {
        self.all_channels = on;
        self.channels.clear();
    }

    fn set_all_dbs(&mut self, on: bool) {
        self.all_dbs = on;
        self.dbs.clear();
    }

    fn set_all_commands(&mut self, on: bool) {
        self.all_commands = on;
        self.begins_with_all = on;
        self.commands.fill(on);
        self.command_rules.clear();
        self.first_args.clear();
    }

    fn set_dbs(&mut self, list: &[u8]) -> Result<(), RuleError> {
        self.all_dbs = false;
        let mut dbs: SmallVec<[u32; 4]> = SmallVec::new();
        for part in list.split(|byte| *byte == b',') {
            if dbs.len() == DATABASES_MAX {
                return Err(RuleError::TooLong);
            }
            dbs.push(parse_db(part)?);
        }
        dbs.sort_unstable();
        dbs.dedup();
        self.dbs = dbs;
        Ok(())
    }

    fn add_key_pattern(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let (access, text) = split_access(rule).ok_or(RuleError::Syntax)?;
        let pattern = checked_pattern(text, self.keys.len())?;
        let known = self.keys.iter_mut().find(|known| known.pattern == pattern);
        match known {
            Some(known) => {
                known.access.read |= access.read;
                known.access.write |= access.write;
            }
            None => self.keys.push(KeyPattern { pattern, access }),
        }
        Ok(())
    }

    fn add_channel(&mut self, text: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        let pattern = checked_pattern(text, self.channels.len())?;
        if !self.channels.contains(&pattern) {
            self.channels.push(pattern);
        }
        Ok(())
    }

    /// `+name`: a command, a subcommand, or a command with a first argument.
    fn allow(&mut self, commands: &CommandTable, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = memchr::memrchr(b'|', name) else {
            let command = commands.lookup_original(name).ok_or(RuleError::Unknown)?;
            self.set_command(command, true);
            return self.note_rule(command.full_name.as_bytes(), true);
        };
        let (base, sub) = (&name[..bar], &name[bar + 1..]);
        let command = commands.lookup_original(base).ok_or(RuleError::Unknown)?;
        match () {
            () if command.parent.is_some() => return Err(RuleError::FirstArgOfSubcommand),
            () if sub.is_empty() => return Err(RuleError::Syntax),
            () if command.subcommands.is_empty() => {
                if has_spaces(sub) {
                    // It could not be read back.
                    return Err(RuleError::Syntax);
                }
                self.allow_first_arg(command.id, sub);
            }
            () => {
                let command = commands.lookup_original(name).ok_or(RuleError::Unknown)?;
                self.set_command(command, true);
            }
        }
        self.note_rule(name, true)
    }

    fn allow_first_arg(&mut self, id: usize, arg: &[u8]) {
        let arg: Box<[u8]> = arg.to_ascii_lowercase().into();
        let known = self.first_args.iter_mut().find(|known| known.id == id);
        match known {
            Some(known) => {
                if let Err(place) = known.args.binary_search(&arg) {
                    known.args.insert(place, arg);
                }
            }
            None => {
                let place = self.first_args.partition_point(|known| known.id < id);
                let args = vec![arg];
                self.first_args.insert(place, FirstArgs { id, args });
            }
        }
    }

    /// True when a command is allowed with this first argument although it is not allowed
    /// otherwise.
    pub(super) fn allows_first_arg(&self, command: &Command, arg: &[u8]) -> bool {
        let known = self.first_args.iter().find(|known| known.id == command.id);
        known.is_some_and(|known| known.args.iter().any(|it| it.eq_ignore_ascii_case(arg)))
    }

    /// Allows or forbids a command with all its subcommands.
    fn set_command(&mut self, command: &Command, on: bool) {
        self.set_bit(command.id, on);
        self.first_args.retain(|known| known.id != command.id);
        for sub in &command.subcommands {
            self.set_bit(sub.id, on);
        }
    }

    fn set_bit(&mut self, id: usize, on: bool) {
        self.commands.set(id, on);
        self.all_commands &= on;
    }

    fn set_category(
        &mut self,
        commands: &CommandTable,
        name: &[u8],
        on: bool,
    ) -> Result<(), RuleError> {
        let category = Categories::named(name).ok_or(RuleError::Unknown)?;
        self.note_rule(&[b"@", name].concat(), on)?;
        for command in commands.entries() {
            if command.spec.all_categories().has(category) {
                self.set_command(command, on);
            }
        }
        Ok(())
    }

    /// Appends a rule to those that are shown. Rules that it makes superfluous go: the same one,
    /// and those of the subcommands or first arguments of its command.
    fn note_rule(&mut self, text: &[u8], allows: bool) -> Result<(), RuleError> {
        let text = text.to_ascii_lowercase();
        self.command_rules.retain(|rule| {
            let rest = rule.text.strip_prefix(text.as_slice());
            !rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'|')
        });
        if self.command_rules.len() == COMMAND_RULES_MAX {
            return Err(RuleError::TooMany);
        }
        self.command_rules.push(CommandRule {
            allows,
            text: text.into(),
        });
        Ok(())
    }
}

fn checked_pattern(text: &[u8], count: usize) -> Result<Pattern, RuleError> {
    match () {
        () if has_spaces(text) => Err(RuleError::Syntax),
        () if text.len() > PATTERN_BYTES_MAX => Err(RuleError::TooLong),
        () if count >= PATTERNS_MAX => Err(RuleError::TooMany),
        () => Ok(Pattern::new(text)),
    }
}

/// True when a text has white space or NUL bytes, so that it could not be read back from a line.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| matches!(byte, 0 | b' ' | b'\t'..=b'\r'))
}

/// Splits `~pattern`, `%R~pattern`, `%W~pattern` and `%RW~pattern`. As in Redis the `~` may be
/// missing where nothing follows it.
fn split_access(rule: &[u8]) -> Option<(Access, &[u8])> {
    let (first, mut rest) = rule.split_first()?;
    if *first == b'~' {
        return Some((Access::ALL, rest));
    }
    let mut access = Access {
        read: false,
        write: false,
    };
    while let Some((letter, behind)) = rest.split_first() {
        rest = behind;
        match letter.to_ascii_uppercase() {
            b'R' if !access.read => access.read = true,
            b'W' if !access.write => access.write = true,
            b'~' => break,
            _ => return None,
        }
    }
    (access.read || access.write).then_some((access, rest))
}

/// A database number as C's `strtoll` reads it.
fn parse_db(text: &[u8]) -> Result<u32, RuleError> {
    let spaces = text.iter().take_while(|byte| has_spaces(&[**byte]));
    let text = &text[spaces.count()..];
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(RuleError::Syntax);
    }
    let number = digits.iter().try_fold(0u32, |number, digit| {
        number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    });
    let number = number.filter(|number| *number <= i32::MAX.unsigned_abs());
    match number {
        Some(0) => Ok(0),
        Some(number) if !is_negative => Ok(number),
        _ => Err(RuleError::DatabaseRange),
    }
}

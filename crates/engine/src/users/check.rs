//! Whether a user may run a command.

use resp::Args;

use super::rules::Rules;
use super::selector::{Access, Selector};
use crate::command::{Channels, Flags, KeyFlags, KeyPosition, KeyPositions};
use crate::table::{Command, checked_key_positions};

/// What a user has no right to. A failure of a later variant is the deeper one: the command passed
/// the checks before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeniedReason {
    /// A database.
    Database,
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
}

/// A command that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// Why.
    pub reason: DeniedReason,
    /// The argument that it is about; 0 when it is about the command itself.
    pub index: usize,
}

impl Denied {
    const fn new(reason: DeniedReason, index: usize) -> Self {
        Self { reason, index }
    }

    /// The error that the client gets.
    pub fn error_line(self, user: &[u8], command: &Command) -> Vec<u8> {
        match self.reason {
            DeniedReason::Command => [b"NOPERM ", &*no_command(user, command)].concat(),
            DeniedReason::Key => b"NOPERM No permissions to access a key".to_vec(),
            DeniedReason::Channel => b"NOPERM No permissions to access a channel".to_vec(),
            DeniedReason::Database => b"NOPERM No permissions to access database".to_vec(),
        }
    }

    /// The reply of ACL DRYRUN, which names the argument.
    pub fn description(self, user: &[u8], command: &Command, args: Args<'_>) -> Vec<u8> {
        let argument = args.arg(self.index);
        let text = |what: &[u8], end: &[u8]| {
            let parts = [
                b"User ",
                user,
                b" has no permissions to access ",
                what,
                argument,
                end,
            ];
            parts.concat()
        };
        match self.reason {
            DeniedReason::Command => no_command(user, command),
            DeniedReason::Key => text(b"the '", b"' key"),
            DeniedReason::Channel => text(b"the '", b"' channel"),
            DeniedReason::Database => text(b"database ", b""),
        }
    }

    /// The reason in the error of EXEC for a command that was allowed when it was queued.
    pub fn exec_reason(self) -> &'static str {
        match self.reason {
            DeniedReason::Command => "no permission to execute the command or subcommand",
            DeniedReason::Key => "no permission to touch the specified keys",
            DeniedReason::Channel => {
                "no permission to access one of the channels used as arguments"
            }
            DeniedReason::Database => "no permission",
        }
    }

    /// What ACL LOG names: the argument, or the command.
    pub fn object<'a>(self, command: &Command, args: Args<'a>) -> &'a [u8] {
        match (self.reason, self.index) {
            (DeniedReason::Command, _) | (DeniedReason::Database, 0) => {
                command.full_name.as_bytes()
            }
            (_, index) => args.arg(index),
        }
    }
}

fn no_command(user: &[u8], command: &Command) -> Vec<u8> {
    let parts = [
        b"User ",
        user,
        b" has no permissions to run the '",
        command.full_name.as_bytes(),
        b"' command",
    ];
    parts.concat()
}

/// A command that is to be checked.
#[derive(Clone, Copy)]
pub struct Checked<'a> {
    /// The command.
    pub command: &'a Command,
    /// The request, command name first.
    pub args: Args<'a>,
    /// The database that it works on.
    pub db: u32,
    /// How many databases there are.
    pub databases: u32,
}

impl Rules {
    /// Whether a command may run.
    ///
    /// # Errors
    /// The deepest failure among all selectors; of two that are alike that of the later argument.
    pub fn check(&self, checked: Checked<'_>) -> Result<(), Denied> {
        let mut keys = Keys::default();
        let mut deepest = Denied::new(DeniedReason::Database, 0);
        for selector in self.selectors() {
            match selector.check(checked, &mut keys) {
                Ok(()) => return Ok(()),
                Err(denied) => deepest = deepest.max(denied),
            }
        }
        Err(deepest)
    }

    /// Whether a command may run that reads keys which are not among its arguments: some selector
    /// allows it and the reading of all keys.
    pub fn may_read_all_keys(&self, checked: Checked<'_>) -> bool {
        let mut keys = Keys::default();
        self.selectors().iter().any(|selector| {
            selector.check(checked, &mut keys).is_ok() && selector.allows_all_keys(Access::READ)
        })
    }

    /// True when a name, or a pattern of PSUBSCRIBE, may be subscribed to.
    pub fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        let mut selectors = self.selectors().iter();
        selectors.any(|selector| selector.allows_channel(name, is_pattern))
    }

    /// True when every channel that `before` allows is allowed, so that no subscription of the user
    /// has to be looked at.
    pub fn keeps_channels_of(&self, before: &Self) -> bool {
        if self
            .selectors()
            .iter()
            .any(|selector| selector.all_channels)
        {
            return true;
        }
        let all = || self.selectors().iter().flat_map(|it| &it.channels);
        before.selectors().iter().all(|selector| {
            let mut channels = selector.channels.iter();
            !selector.all_channels && channels.all(|channel| all().any(|known| known == channel))
        })
    }
}

/// The keys of a request, found once for all selectors.
#[derive(Default)]
struct Keys(Option<KeyPositions>);

impl Keys {
    fn of(&mut self, checked: Checked<'_>) -> &[KeyPosition] {
        self.0
            .get_or_insert_with(|| checked_key_positions(checked.command.spec, checked.args))
    }
}

impl Selector {
    fn check(&self, checked: Checked<'_>, keys: &mut Keys) -> Result<(), Denied> {
        self.check_databases(checked)?;
        if !self.allows_command(checked) {
            return Err(Denied::new(DeniedReason::Command, 0));
        }
        if !self.all_keys && checked.command.spec.has_keys() {
            for key in keys.of(checked) {
                let name = checked.args.arg(key.index);
                if !self.allows_key(name, Access::needed(KeyFlags(key.flags))) {
                    return Err(Denied::new(DeniedReason::Key, key.index));
                }
            }
        }
        self.check_channels(checked)
    }

    fn check_databases(&self, checked: Checked<'_>) -> Result<(), Denied> {
        if self.all_dbs {
            return Ok(());
        }
        let spec = checked.command.spec;
        let denied = |index| Err(Denied::new(DeniedReason::Database, index));
        let needs_own = match spec.databases {
            Some(find) => {
                for (index, db) in find(checked.args, checked.databases) {
                    if !self.allows_db(db, checked) {
                        return denied(index);
                    }
                }
                spec.has_keys()
            }
            None if spec.flags.has(Flags::ALL_DATABASES) => {
                let mut all = 0..checked.databases;
                return match all.all(|db| self.allows_db(db, checked)) {
                    true => Ok(()),
                    false => denied(0),
                };
            }
            None => spec.is_about_keys(),
        };
        match needs_own && !self.allows_db(checked.db, checked) {
            true => denied(0),
            false => Ok(()),
        }
    }

    fn allows_db(&self, db: u32, checked: Checked<'_>) -> bool {
        db < checked.databases && self.dbs.binary_search(&db).is_ok()
    }

    fn allows_command(&self, checked: Checked<'_>) -> bool {
        let command = checked.command;
        self.all_commands
            || self.commands.has(command.id)
            || command.spec.flags.has(Flags::NO_AUTH)
            || checked.args.len() >= 2 && self.allows_first_arg(command, checked.args.arg(1))
    }

    fn allows_key(&self, name: &[u8], needed: Access) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|key| key.access.covers(needed) && key.pattern.matches(name))
    }

    fn allows_all_keys(&self, needed: Access) -> bool {
        let mut keys = self.keys.iter();
        self.all_keys || keys.any(|key| key.access.covers(needed) && key.pattern.text() == b"*")
    }

    fn check_channels(&self, checked: Checked<'_>) -> Result<(), Denied> {
        let Some(channels) = checked.command.spec.channels else {
            return Ok(());
        };
        if self.all_channels {
            return Ok(());
        }
        let (end, is_pattern) = match channels {
            Channels::Publish => (2, false),
            Channels::Subscribe => (checked.args.len(), false),
            Channels::SubscribePatterns => (checked.args.len(), true),
        };
        for index in 1..end.min(checked.args.len()) {
            if !self.allows_channel(checked.args.arg(index), is_pattern) {
                return Err(Denied::new(DeniedReason::Channel, index));
            }
        }
        Ok(())
    }

    /// Names are compared with the patterns; a pattern has to be among them.
    fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        let mut channels = self.channels.iter();
        self.all_channels
            || channels.any(|channel| match is_pattern {
                true => channel.text() == name,
                false => channel.matches(name),
            })
    }
}

//! Users and their rights: access control lists.
//!
//! A [`User`] has [`Rules`], which are replaced as a whole. A session holds its user, so that a
//! change holds for all its clients at once. Most users may do everything; for them a check is one
//! load and one branch ([`User::is_unrestricted`]).
//!
//! A rule is text (`+get`, `~cache:*`). [`Rules`] keeps what the rules mean and, of those about
//! commands, also the texts, because ACL LIST shows them in the order in which they were given.

mod check;
mod describe;
mod file;
mod log;
mod pattern;
mod rules;
mod selector;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwap;
use resp::Args;

use crate::table::Command;

pub use check::{Checked, Denied, DeniedReason};
pub use describe::hex;
pub use file::{FileUsers, parse_file};
pub use log::{AclLog, LogContext, LogEntry, LogEvent, LogReason};
pub use rules::{Defaults, RuleError, Rules, RulesError};
pub use selector::{Selector, has_spaces};

/// The user of a connection that did not name one.
pub const DEFAULT_USER: &str = "default";

/// Longest name of a user, in bytes.
pub const NAME_BYTES_MAX: usize = 4096;

/// A user.
pub struct User {
    name: Box<[u8]>,
    rules: ArcSwap<Rules>,
    /// The rules allow everything. False while they are being replaced.
    is_unrestricted: AtomicBool,
}

impl std::fmt::Debug for User {
    /// Only the name: rules have hashes of passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.name))
    }
}

impl User {
    /// A user with these rules.
    pub fn new(name: &[u8], rules: Rules) -> Self {
        Self {
            name: name.into(),
            is_unrestricted: AtomicBool::new(rules.are_unrestricted()),
            rules: ArcSwap::from_pointee(rules),
        }
    }

    /// The user of commands that are above all rules: those of files.
    pub fn above_rules() -> Arc<Self> {
        Arc::new(Self::new(DEFAULT_USER.as_bytes(), Rules::unrestricted()))
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The rules as they are now.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Any command may run: no check is needed.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted.load(Ordering::Acquire)
    }

    /// Clients need no login to be this user.
    pub fn is_open(&self) -> bool {
        let rules = self.rules.load();
        rules.enabled && rules.nopass
    }

    fn replace(&self, rules: Rules) {
        let is_unrestricted = rules.are_unrestricted();
        if !is_unrestricted {
            self.is_unrestricted.store(false, Ordering::Release);
        }
        self.rules.store(Arc::new(rules));
        self.is_unrestricted
            .store(is_unrestricted, Ordering::Release);
    }
}

/// Whether a user may run a command with these arguments in database `db`, of `databases`.
///
/// # Errors
/// What it has no right to.
#[inline]
pub fn check(
    user: &User,
    command: &Command,
    args: Args<'_>,
    (db, databases): (u32, u32),
) -> Result<(), Denied> {
    if user.is_unrestricted() {
        return Ok(());
    }
    user.rules.load().check(Checked {
        command,
        args,
        db,
        databases,
    })
}

/// Whether a user may run a command that reads keys which are not among its arguments.
pub fn may_read_all_keys(
    user: &User,
    command: &Command,
    args: Args<'_>,
    (db, databases): (u32, u32),
) -> bool {
    let checked = Checked {
        command,
        args,
        db,
        databases,
    };
    user.is_unrestricted() || user.rules.load().may_read_all_keys(checked)
}

/// All users of a server by their names.
pub type UserMap = BTreeMap<Box<[u8]>, Arc<User>>;

/// All users of a server, and what they were denied.
pub struct Users {
    by_name: RwLock<UserMap>,
    default: Arc<User>,
    /// Held during a change, so that no other one is lost.
    changing: Mutex<()>,
    /// ACL LOG.
    pub log: AclLog,
}

impl Default for Users {
    /// The default user alone, which may do everything.
    fn default() -> Self {
        let rules = Rules::unrestricted();
        let default = Arc::new(User::new(DEFAULT_USER.as_bytes(), rules));
        let by_name = BTreeMap::from([(Box::from(default.name()), Arc::clone(&default))]);
        Self {
            by_name: RwLock::new(by_name),
            default,
            changing: Mutex::new(()),
            log: AclLog::default(),
        }
    }
}

impl Users {
    /// The default user, which is always there.
    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// The user of this name.
    pub fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.read().get(name).cloned()
    }

    /// All users in order of their names.
    pub fn all(&self) -> Vec<Arc<User>> {
        self.read().values().cloned().collect()
    }

    /// Waits for changes that are under way, and holds further ones off.
    pub fn lock_changes(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a user these rules; makes the user when there is none. The caller holds
    /// [`Users::lock_changes`].
    pub fn put(&self, name: &[u8], rules: Rules) {
        match self.get(name) {
            Some(user) => user.replace(rules),
            None => {
                let user = Arc::new(User::new(name, rules));
                let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
                by_name.insert(name.into(), user);
            }
        }
    }

    /// Removes a user, but for the default user; its clients may not do anything from then on. The
    /// caller holds [`Users::lock_changes`].
    pub fn remove(&self, name: &[u8]) -> bool {
        if name == DEFAULT_USER.as_bytes() {
            return false;
        }
        let removed = {
            let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
            by_name.remove(name)
        };
        if let Some(user) = &removed {
            user.replace(Rules::new(Defaults::default()));
        }
        removed.is_some()
    }

    /// The user that a login gives.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        self.get(name).filter(|user| user.rules().accepts(password))
    }

    /// Sets the password of the default user, as `requirepass` does: empty for none.
    pub fn set_default_password(&self, password: &[u8]) {
        let _changing = self.lock_changes();
        let mut rules = Rules::clone(&self.default.rules());
        rules.set_only_password(password);
        self.default.replace(rules);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, UserMap> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner)
    }
}

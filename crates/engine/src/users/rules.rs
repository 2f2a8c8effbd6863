//! The rules of a user, and how they are changed.

use resp::OwnedArgs;
use sha2::{Digest, Sha256};

use super::selector::Selector;
use crate::table::CommandTable;

/// Most selectors of a user besides its own rights: a command is compared with all of them.
pub(super) const SELECTORS_MAX: usize = 256;

/// Most passwords of a user: a login is compared with all of them.
pub(super) const PASSWORDS_MAX: usize = 256;

/// The SHA-256 of a password.
pub(super) type PasswordHash = [u8; 32];

/// Why a rule was refused. `Display` is the text of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No command or category has this name.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// It is no rule.
    #[error("Syntax error")]
    Syntax,
    /// A pattern behind `allkeys`.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
         effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    /// A pattern behind `allchannels`.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
         effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    /// A password to be removed is none of the user's.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// It is no SHA-256 in lower-case digits.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    PasswordHash,
    /// `+config|get|x`.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
    /// A number that no database can have.
    #[error("The provided database ID is out of range")]
    DatabaseRange,
    /// A name or a pattern is longer than any that is used.
    #[error("The pattern or list is too long")]
    TooLong,
    /// More rules of a kind than a user can have.
    #[error("Too many patterns, passwords, selectors or command rules")]
    TooMany,
}

/// Why the rules of a user were refused. `Display` is the text behind `ERR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// A parenthesis is not closed; holds the argument that it begins with.
    Unmatched(Vec<u8>),
    /// A rule is wrong.
    Rule {
        /// The rule, the arguments of a selector joined.
        rule: Vec<u8>,
        /// Why.
        error: RuleError,
    },
}

impl RulesError {
    /// The text that clients read, without a code.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Self::Unmatched(start) => [
                b"Unmatched parenthesis in acl selector starting at '".as_slice(),
                start,
                b"'.",
            ]
            .concat(),
            Self::Rule { rule, error } => [
                b"Error in ACL SETUSER modifier '".as_slice(),
                rule,
                b"': ",
                error.to_string().as_bytes(),
            ]
            .concat(),
        }
    }
}

/// What new users and selectors have that no rule gave them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    /// `acl-pubsub-default` is `allchannels`.
    pub all_channels: bool,
}

/// The rules of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Logins succeed.
    pub enabled: bool,
    /// Any password fits.
    pub nopass: bool,
    /// Hashes of passwords, each once.
    pub passwords: Vec<[u8; 32]>,
    /// At least one: the first one has the rights outside of parentheses.
    pub(super) selectors: Vec<Selector>,
}

impl Rules {
    /// Those of a new user: it is off and has no rights.
    pub fn new(defaults: Defaults) -> Self {
        Self {
            enabled: false,
            nopass: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(defaults)],
        }
    }

    /// Everything is allowed, without a password.
    pub fn unrestricted() -> Self {
        Self {
            enabled: true,
            nopass: true,
            passwords: Vec::new(),
            selectors: vec![Selector::unrestricted()],
        }
    }

    /// The selectors, the rights outside of parentheses first.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Commands of the user need no check.
    pub(super) fn are_unrestricted(&self) -> bool {
        self.selectors
            .first()
            .is_some_and(Selector::is_unrestricted)
    }

    /// Changes the rules by the arguments of ACL SETUSER behind the name.
    ///
    /// # Errors
    /// The first rule that is wrong; the rules may be half-changed then.
    pub fn apply_all(
        &mut self,
        commands: &CommandTable,
        defaults: Defaults,
        rules: &[&[u8]],
    ) -> Result<(), RulesError> {
        for rule in merge_selectors(rules)? {
            self.apply(commands, defaults, &rule)
                .map_err(|error| RulesError::Rule { rule, error })?;
        }
        Ok(())
    }

    /// Changes the rules by one.
    ///
    /// # Errors
    /// See [`RuleError`]. The rules may be half-changed then.
    pub fn apply(
        &mut self,
        commands: &CommandTable,
        defaults: Defaults,
        rule: &[u8],
    ) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            // Payloads are always checked.
            b"sanitize-payload" | b"skip-sanitize-payload" => {}
            b"nopass" => self.set_nopass(true),
            b"resetpass" => self.set_nopass(false),
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = Self::new(defaults),
            _ => return self.apply_other(commands, defaults, rule),
        }
        Ok(())
    }

    fn apply_other(
        &mut self,
        commands: &CommandTable,
        defaults: Defaults,
        rule: &[u8],
    ) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(hash_password(password)),
            [b'#', digits @ ..] => self.add_password(parse_hash(digits)?),
            [b'<', password @ ..] => self.remove_password(&hash_password(password)),
            [b'!', digits @ ..] => self.remove_password(&parse_hash(digits)?),
            [b'(', inner @ .., b')'] => {
                if self.selectors.len() > SELECTORS_MAX {
                    return Err(RuleError::TooMany);
                }
                let mut selector = Selector::new(defaults);
                for rule in split_selector(inner).as_args().iter() {
                    selector.apply(commands, rule)?;
                }
                self.selectors.push(selector);
                Ok(())
            }
            _ => match self.selectors.first_mut() {
                Some(root) => root.apply(commands, rule),
                None => Err(RuleError::Syntax),
            },
        }
    }

    /// Leaves one password, or none when it is empty.
    pub fn set_only_password(&mut self, password: &[u8]) {
        self.set_nopass(password.is_empty());
        if !password.is_empty() {
            self.passwords.push(hash_password(password));
        }
    }

    fn set_nopass(&mut self, nopass: bool) {
        self.nopass = nopass;
        self.passwords.clear();
    }

    fn add_password(&mut self, hash: PasswordHash) -> Result<(), RuleError> {
        if !self.passwords.contains(&hash) {
            if self.passwords.len() == PASSWORDS_MAX {
                return Err(RuleError::TooMany);
            }
            self.passwords.push(hash);
        }
        self.nopass = false;
        Ok(())
    }

    fn remove_password(&mut self, hash: &PasswordHash) -> Result<(), RuleError> {
        let before = self.passwords.len();
        self.passwords.retain(|known| known != hash);
        match self.passwords.len() == before {
            true => Err(RuleError::NoSuchPassword),
            false => Ok(()),
        }
    }

    /// True when a login with this password succeeds. The time does not depend on which password
    /// fits, or on how much of one does.
    pub fn accepts(&self, password: &[u8]) -> bool {
        if !self.enabled {
            return false;
        }
        let candidate = hash_password(password);
        let fits = self
            .passwords
            .iter()
            .fold(false, |fits, known| fits | is_equal(known, &candidate));
        self.nopass || fits
    }
}

/// The SHA-256 of a password.
pub(super) fn hash_password(password: &[u8]) -> PasswordHash {
    Sha256::digest(password).into()
}

/// Compares without stopping at the first difference.
fn is_equal(one: &PasswordHash, other: &PasswordHash) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// The bytes that 64 digits in lower case stand for.
fn parse_hash(digits: &[u8]) -> Result<PasswordHash, RuleError> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(RuleError::PasswordHash),
    };
    let mut hash = PasswordHash::default();
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return Err(RuleError::PasswordHash);
    }
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Ok(hash)
}

/// The rules between parentheses. Quotes as in a configuration file; where one is left open there
/// are none, as in Redis.
fn split_selector(inner: &[u8]) -> OwnedArgs {
    resp::split_args(inner).unwrap_or_default()
}

/// Joins the arguments of each selector: `(+get` and `~a)` are one rule.
///
/// # Errors
/// A parenthesis is not closed.
pub(super) fn merge_selectors(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, RulesError> {
    let mut merged: Vec<Vec<u8>> = Vec::with_capacity(rules.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for rule in rules {
        match &mut open {
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
            }
            None if rule.first() == Some(&b'(') => open = Some((rule, rule.to_vec())),
            None => {
                merged.push(rule.to_vec());
                continue;
            }
        }
        if rule.last() == Some(&b')')
            && let Some((_, selector)) = open.take()
        {
            merged.push(selector);
        }
    }
    match open {
        Some((start, _)) => Err(RulesError::Unmatched(start.to_vec())),
        None => Ok(merged),
    }
}

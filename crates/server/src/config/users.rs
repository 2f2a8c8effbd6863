//! `user` directives: until there are access control lists, the default user with one password is
//! all that a server can be given.

use engine::config::{Config, P, UserLine};
use sha2::{Digest, Sha256};

/// What the rules of the default user ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct DefaultUser {
    is_on: bool,
    needs_none: bool,
    passwords: Vec<Password>,
    all_keys: bool,
    all_channels: bool,
    all_commands: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Password {
    Plain(Vec<u8>),
    Hash([u8; 32]),
}

impl Password {
    fn hash(&self) -> [u8; 32] {
        match self {
            Self::Plain(password) => Sha256::digest(password).into(),
            Self::Hash(hash) => *hash,
        }
    }
}

/// Takes the `user` lines of the configuration over: the default user's password becomes the one
/// that the server requires.
///
/// # Errors
/// The line that asks for what this version does not have, with the reason. A server that ignored
/// it would be open.
pub(crate) fn take_over(config: &Config) -> Result<(), String> {
    for line in config.users() {
        take_line(config, line).map_err(|reason| line.location.error(reason).to_string())?;
    }
    Ok(())
}

fn take_line(config: &Config, line: &UserLine) -> Result<(), String> {
    const LATER: &str = "Users are not part of this version of Lodestore";
    let (name, rules) = line.arguments.split_first().ok_or(LATER)?;
    if name != b"default" {
        let name = String::from_utf8_lossy(name);
        return Err(format!(
            "{LATER}, but for 'default': '{name}' cannot be kept"
        ));
    }
    let mut user = DefaultUser::default();
    rules.iter().try_for_each(|rule| user.apply(rule))?;
    let user = user.check().map_err(|what| {
        format!(
            "{LATER}: the default user can have one password or none, and all rights, but {what}"
        )
    })?;
    let required = config.bytes(P::RequirePass);
    match user.passwords.first() {
        None if required.is_empty() => Ok(()),
        None => Err("'user default' needs no password, but requirepass is set".to_owned()),
        Some(password) if !required.is_empty() => {
            match password.hash() == Password::Plain(required.to_vec()).hash() {
                true => Ok(()),
                false => Err("'user default' and requirepass have different passwords".to_owned()),
            }
        }
        Some(password) => {
            config.set_password_hash(Some(password.hash()));
            Ok(())
        }
    }
}

impl DefaultUser {
    fn apply(&mut self, rule: &[u8]) -> Result<(), String> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => {
                self.passwords.clear();
                self.needs_none = true;
            }
            b"resetpass" => {
                self.passwords.clear();
                self.needs_none = false;
            }
            b"allkeys" | b"~*" | b"%rw~*" => self.all_keys = true,
            b"allchannels" | b"&*" => self.all_channels = true,
            b"allcommands" | b"+@all" => self.all_commands = true,
            b"resetkeys" => self.all_keys = false,
            b"resetchannels" => self.all_channels = false,
            b"nocommands" | b"-@all" => self.all_commands = false,
            b"reset" => *self = Self::default(),
            // Payloads are always checked.
            b"sanitize-payload" | b"skip-sanitize-payload" => {}
            b"alldbs" => {}
            _ => return self.apply_password(rule),
        }
        Ok(())
    }

    fn apply_password(&mut self, rule: &[u8]) -> Result<(), String> {
        let password = match rule.split_first() {
            Some((b'>', password)) => Password::Plain(password.to_vec()),
            Some((b'#', digits)) => Password::Hash(
                hash(digits).ok_or("a password hash must have 64 hexadecimal digits")?,
            ),
            _ => {
                let rule = String::from_utf8_lossy(rule);
                return Err(format!(
                    "The rule '{rule}' of a user is not part of this version of Lodestore"
                ));
            }
        };
        self.needs_none = false;
        if self
            .passwords
            .iter()
            .all(|known| known.hash() != password.hash())
        {
            self.passwords.push(password);
        }
        Ok(())
    }

    /// The user, when a server without access control lists can have it; else what is in the way.
    fn check(self) -> Result<Self, &'static str> {
        match () {
            () if !self.is_on => Err("this one is off"),
            () if self.passwords.len() > 1 => Err("this one has several passwords"),
            () if self.passwords.is_empty() && !self.needs_none => Err("no password fits this one"),
            () if !self.all_keys => Err("this one may not use all keys"),
            () if !self.all_channels => Err("this one may not use all channels"),
            () if !self.all_commands => Err("this one may not use all commands"),
            () => Ok(self),
        }
    }
}

/// The bytes that 64 hexadecimal digits stand for.
fn hash(digits: &[u8]) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        let digits = std::str::from_utf8(pair)
            .ok()
            .filter(|_| pair.iter().all(u8::is_ascii_hexdigit));
        *byte = u8::from_str_radix(digits?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(rules: &str) -> Result<DefaultUser, String> {
        let mut user = DefaultUser::default();
        let mut rules = rules.split(' ');
        rules.try_for_each(|rule| user.apply(rule.as_bytes()))?;
        user.check().map_err(str::to_owned)
    }

    #[test]
    fn only_what_can_be_kept_is_taken() {
        let sha = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        let taken = user(&format!("on sanitize-payload #{sha} ~* &* +@all")).unwrap();
        assert_eq!(
            taken.passwords[0].hash(),
            Password::Plain(b"password".to_vec()).hash()
        );
        assert!(user("on nopass ~* &* +@all").unwrap().passwords.is_empty());
        for refused in [
            "off nopass ~* &* +@all",
            "on ~* &* +@all",
            "on >a >b ~* &* +@all",
            "on >a ~x:* &* +@all",
            "on >a ~* +@all",
            "on >a ~* &* +@read",
            "on >a ~* &* +@all -debug",
            "on #12 ~* &* +@all",
            "on >a ~* &* +@all (+get ~a)",
        ] {
            assert!(user(refused).is_err(), "{refused}");
        }
        assert_eq!(
            user("on >a >a allkeys allchannels allcommands")
                .unwrap()
                .passwords
                .len(),
            1
        );
    }
}

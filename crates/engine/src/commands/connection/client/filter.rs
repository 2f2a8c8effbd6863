//! The filters of CLIENT LIST and CLIENT KILL.

use std::collections::HashSet;

use crate::client::flag;
use crate::client_row::{Kind, Row};
use crate::command::Arg;
use crate::context::Context;
use crate::error::CommandError;

/// A filter by a text, of those that CLIENT LIST and CLIENT KILL have since 9.0.
pub(super) const fn text(name: &'static str, token: &'static str) -> Arg {
    Arg::string(name).option(token).since("9.0.0")
}

/// A filter by a number, of those that CLIENT LIST and CLIENT KILL have since 9.0.
pub(super) const fn number(name: &'static str, token: &'static str) -> Arg {
    Arg::integer(name).option(token).since("9.0.0")
}

/// Conditions that can also be negated. The last one of a repeated condition counts; ids add up.
#[derive(Default)]
struct Conditions<'a> {
    ids: Option<HashSet<u64>>,
    kind: Option<Kind>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    ip: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    lib_name: Option<&'a [u8]>,
    lib_ver: Option<&'a [u8]>,
    flags: Option<&'a [u8]>,
    capa: Option<&'a [u8]>,
    db: Option<u32>,
}

/// Which connections are selected.
#[derive(Default)]
pub(super) struct Filter<'a> {
    wanted: Conditions<'a>,
    unwanted: Conditions<'a>,
    min_age_s: u64,
    min_idle_s: u64,
    /// The calling connection is not selected.
    skip_me: bool,
}

impl<'a> Filter<'a> {
    /// The connection from one address.
    pub(super) fn address(addr: &'a [u8]) -> Self {
        let wanted = Conditions {
            addr: Some(addr),
            ..Conditions::default()
        };
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// All connections except the calling one.
    pub(super) fn others() -> Self {
        Self {
            skip_me: true,
            ..Self::default()
        }
    }

    /// Reads the filters from argument 2 on.
    pub(super) fn parse(ctx: &Context<'a, '_>, mut filter: Self) -> Result<Self, CommandError> {
        let mut at = 2;
        while at < ctx.args.len() {
            at = filter.parse_one(ctx, at)?;
        }
        Ok(filter)
    }

    /// Reads the filter at argument `at`; returns where the next one begins.
    fn parse_one(&mut self, ctx: &Context<'a, '_>, at: usize) -> Result<usize, CommandError> {
        let word = ctx.arg(at).to_ascii_lowercase();
        let (negated, name) = match word.strip_prefix(b"not-") {
            Some(rest) => (true, rest),
            None => (false, word.as_slice()),
        };
        let conditions = if negated {
            &mut self.unwanted
        } else {
            &mut self.wanted
        };
        if name == b"id" {
            return conditions.parse_ids(ctx, at + 1);
        }
        let value = ctx.args.get(at + 1).ok_or(CommandError::Syntax)?;
        match (negated, name) {
            (false, b"maxage") => self.min_age_s = seconds(value, "maxage")?,
            (false, b"idle") => self.min_idle_s = seconds(value, "idle")?,
            (false, b"skipme") => {
                self.skip_me = match value.to_ascii_lowercase().as_slice() {
                    b"yes" => true,
                    b"no" => false,
                    _ => return Err(CommandError::Syntax),
                }
            }
            _ => conditions.parse(ctx, negated, name, value)?,
        }
        Ok(at + 2)
    }

    /// True when a connection is selected.
    pub(super) fn fits(&self, row: &Row, own_id: u64) -> bool {
        !(self.skip_me && row.client.id == own_id)
            && row.age_s >= self.min_age_s
            && row.idle_s >= self.min_idle_s
            && self.wanted.check(row).all(|holds| holds)
            && !self.unwanted.check(row).any(|holds| holds)
    }
}

impl<'a> Conditions<'a> {
    /// Ids go on until something that is not a number.
    fn parse_ids(&mut self, ctx: &Context<'_, '_>, mut at: usize) -> Result<usize, CommandError> {
        let ids = self.ids.get_or_insert_default();
        while let Some(id) = ctx.args.get(at).and_then(resp::number::parse_i64) {
            let id = u64::try_from(id).ok().filter(|id| *id > 0);
            ids.insert(id.ok_or(CommandError::line("ERR client-id should be greater than 0"))?);
            at += 1;
        }
        Ok(at)
    }

    fn parse(
        &mut self,
        ctx: &Context<'_, '_>,
        negated: bool,
        name: &[u8],
        value: &'a [u8],
    ) -> Result<(), CommandError> {
        match name {
            b"type" => {
                let unknown = || refused(b"Unknown client type '", value, b"'");
                self.kind = Some(Kind::named(value).ok_or_else(unknown)?);
            }
            b"addr" => self.addr = Some(value),
            b"laddr" => self.laddr = Some(value),
            b"ip" => self.ip = Some(value),
            b"user" if ctx.engine.users.get(value).is_some() => self.user = Some(value),
            b"user" => return Err(refused(b"No such user '", value, b"'")),
            b"name" => self.name = Some(value),
            b"lib-name" => self.lib_name = Some(value),
            b"lib-ver" => self.lib_ver = Some(value),
            b"flags" => {
                letters(value, FLAG_LETTERS, "flags", negated)?;
                self.flags = Some(value);
            }
            b"capa" => {
                letters(value, CAPA_LETTERS, "capa", negated)?;
                self.capa = Some(value);
            }
            b"db" => self.db = Some(database(ctx, value, negated)?),
            _ => return Err(CommandError::Syntax),
        }
        Ok(())
    }

    /// For each given condition, whether it holds.
    fn check(&self, row: &Row) -> impl Iterator<Item = bool> {
        let client = &row.client;
        let details = &row.details;
        // An unnamed connection never equals a name.
        let same = |text: &[u8], wanted: &[u8]| !text.is_empty() && text == wanted;
        [
            self.ids.as_ref().map(|ids| ids.contains(&client.id)),
            self.kind.map(|kind| row.kind() == kind),
            self.addr.map(|addr| client.addr.as_bytes() == addr),
            self.laddr.map(|laddr| client.laddr.as_bytes() == laddr),
            self.ip.map(|ip| is_from(&client.addr, ip)),
            self.user.map(|user| details.user == user),
            self.name.map(|name| same(&details.name, name)),
            self.lib_name.map(|name| same(&details.lib_name, name)),
            self.lib_ver.map(|version| same(&details.lib_ver, version)),
            self.flags.map(|flags| has_flags(row, flags)),
            self.capa.map(|capa| contains_all(row.capabilities(), capa)),
            self.db.map(|db| row.db == db),
        ]
        .into_iter()
        .flatten()
    }
}

/// Letters that the `flags` field of some Valkey server may show.
const FLAG_LETTERS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";
const CAPA_LETTERS: &[u8] = b"r";

fn letters(value: &[u8], known: &[u8], what: &str, negated: bool) -> Result<(), CommandError> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(());
    }
    let place = if negated {
        format!(
            "Unknown {what} found in the NOT-{} filter: ",
            what.to_ascii_uppercase()
        )
    } else {
        format!("Unknown {what} found in the provided filter: ")
    };
    Err(refused(place.as_bytes(), value, b""))
}

fn has_flags(row: &Row, flags: &[u8]) -> bool {
    let letters = row.letters();
    // To Redis a monitor is a kind of replica.
    let is_monitor = row.flags & flag::MONITOR != 0;
    flags
        .iter()
        .all(|letter| letters.as_bytes().contains(letter) || (*letter == b'S' && is_monitor))
}

fn contains_all(letters: &str, wanted: &[u8]) -> bool {
    wanted
        .iter()
        .all(|letter| letters.as_bytes().contains(letter))
}

/// True for `ip:port` and `[ip]:port` with this `ip`; Unix sockets have port 0 and no ip.
fn is_from(addr: &str, ip: &[u8]) -> bool {
    let Some((host, port)) = addr.rsplit_once(':') else {
        return false;
    };
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    host.as_bytes() == ip && !port.starts_with('0')
}

fn seconds(value: &[u8], what: &str) -> Result<u64, CommandError> {
    let number = resp::number::parse_i64(value).ok_or_else(|| {
        CommandError::owned(format!("ERR {what} is not an integer or out of range"))
    })?;
    u64::try_from(number)
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| CommandError::owned(format!("ERR {what} should be greater than 0")))
}

fn database(ctx: &Context<'_, '_>, value: &[u8], negated: bool) -> Result<u32, CommandError> {
    let what = if negated { "NOT-DB" } else { "DB" };
    let number = resp::number::parse_i64(value)
        .and_then(|number| i32::try_from(number).ok())
        .ok_or_else(|| {
            CommandError::owned(format!("ERR {what} is not an integer or out of range"))
        })?;
    let databases = ctx.engine.keyspace.databases();
    u32::try_from(number)
        .ok()
        .filter(|db| *db < databases)
        .ok_or_else(|| {
            let last = databases.saturating_sub(1);
            CommandError::owned(format!("ERR {what} number should be between 0 and {last}"))
        })
}

fn refused(before: &[u8], value: &[u8], after: &[u8]) -> CommandError {
    CommandError::Bytes([b"ERR ", before, value, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_their_port() {
        assert!(is_from("127.0.0.1:6000", b"127.0.0.1"));
        assert!(is_from("[::1]:6000", b"::1"));
        assert!(!is_from("127.0.0.10:6000", b"127.0.0.1"));
        assert!(!is_from("/tmp/lodestore.sock:0", b"/tmp/lodestore.sock"));
    }

    #[test]
    fn unknown_letters_are_refused() {
        assert!(letters(b"Nx", FLAG_LETTERS, "flags", false).is_ok());
        let error = letters(b"NZ", FLAG_LETTERS, "flags", true).expect_err("Z is no flag");
        assert_eq!(
            error.text().as_ref(),
            b"ERR Unknown flags found in the NOT-FLAGS filter: NZ"
        );
    }

    #[test]
    fn seconds_are_positive() {
        assert_eq!(seconds(b"3", "idle"), Ok(3));
        assert!(seconds(b"0", "idle").is_err() && seconds(b"x", "idle").is_err());
    }
}

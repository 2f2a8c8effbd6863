//! Values compared before they are replaced or removed: DELIFEQ, DELEX, DIGEST, and the conditions
//! of SET.

use keyspace::StringRef;
use resp::number::I64_BYTES_MAX;
use xxhash_rust::xxh3::xxh3_64;

use crate::command::*;
use crate::commands::generic::delete_key;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 16;

/// How the value of a key is compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison<'a> {
    /// IFEQ: it equals these bytes.
    Equal(&'a [u8]),
    /// IFNE: it does not.
    NotEqual(&'a [u8]),
    /// IFDEQ: its digest is this text.
    DigestEqual(&'a [u8]),
    /// IFDNE: it does not.
    DigestNotEqual(&'a [u8]),
}

impl<'a> Comparison<'a> {
    /// The comparison that an option word and its argument stand for.
    pub(super) fn of_words(word: &[u8], value: &'a [u8]) -> Option<Self> {
        let make: fn(&'a [u8]) -> Self = match word.len() {
            4 if word.eq_ignore_ascii_case(b"ifeq") => Comparison::Equal,
            4 if word.eq_ignore_ascii_case(b"ifne") => Comparison::NotEqual,
            5 if word.eq_ignore_ascii_case(b"ifdeq") => Comparison::DigestEqual,
            5 if word.eq_ignore_ascii_case(b"ifdne") => Comparison::DigestNotEqual,
            _ => return None,
        };
        Some(make(value))
    }

    /// Refuses a digest that no value can have.
    pub(super) fn check(self) -> Result<(), CommandError> {
        match self {
            Self::DigestEqual(digest) | Self::DigestNotEqual(digest)
                if digest.len() != DIGEST_DIGITS =>
            {
                Err(CommandError::line(
                    "ERR must be exactly 16 hexadecimal characters",
                ))
            }
            _ => Ok(()),
        }
    }

    /// True when it holds for a value.
    pub(super) fn holds(self, value: StringRef<'_>) -> bool {
        let mut buffer = [0; I64_BYTES_MAX];
        let bytes = value.as_bytes(&mut buffer);
        match self {
            Self::Equal(other) => bytes == other,
            Self::NotEqual(other) => bytes != other,
            Self::DigestEqual(text) => digest_of(bytes).eq_ignore_ascii_case(text),
            Self::DigestNotEqual(text) => !digest_of(bytes).eq_ignore_ascii_case(text),
        }
    }

    /// True when it holds for a key that does not exist.
    pub(super) fn holds_without_key(self) -> bool {
        matches!(self, Self::NotEqual(_) | Self::DigestNotEqual(_))
    }
}

/// The digest of a value: XXH3 with 64 bits, as lower-case hexadecimal digits.
fn digest_of(bytes: &[u8]) -> [u8; DIGEST_DIGITS] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = xxh3_64(bytes);
    std::array::from_fn(|index| {
        let nibble = (hash >> (60 - 4 * index)) & 0xf;
        DIGITS[nibble as usize]
    })
}

pub(super) const DELIFEQ: CommandSpec = CommandSpec::new("delifeq", 3, delifeq)
    .group(Group::String)
    .since("9.0.0")
    .flags(Flags::FAST.or(Flags::WRITE))
    .summary("Removes a key if its value equals the given one.")
    .complexity("O(1), or O(N) in the length of the value when the lengths are equal.")
    .keys(&[KeySpec::one(1, KeyFlags::RM.or(KeyFlags::DELETE))])
    .args(&[Arg::KEY, Arg::VALUE]);

pub(super) fn delifeq(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    let comparison = Comparison::Equal(ctx.arg(2));
    let holds = match ctx.data.peek(key) {
        None => false,
        Some(entry) => comparison.holds(entry.string().ok_or(CommandError::WrongType)?),
    };
    Ok(remove_if(ctx, key, holds))
}

pub(super) const DELEX: CommandSpec = CommandSpec::new("delex", -2, delex)
    .group(Group::String)
    .since("8.4.0")
    .flags(Flags::WRITE.or(Flags::FAST))
    .summary("Removes a key, if its value or the digest of its value compares as asked.")
    .complexity("O(1) for IFEQ and IFNE; O(N) in the length of the value for IFDEQ and IFDNE.")
    .keys(&[KeySpec::one(
        1,
        KeyFlags::RW
            .or(KeyFlags::DELETE)
            .or(KeyFlags::VARIABLE_FLAGS),
    )])
    .args(&[
        Arg::KEY,
        Arg::one_of("condition").optional().args(&[
            Arg::string("ifeq-value").token("IFEQ"),
            Arg::string("ifne-value").token("IFNE"),
            Arg::string("ifdeq-digest").token("IFDEQ"),
            Arg::string("ifdne-digest").token("IFDNE"),
        ]),
    ]);

pub(super) fn delex(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    if ctx.args.len() == 2 {
        let exists = ctx.data.exists(key);
        return Ok(remove_if(ctx, key, exists));
    }
    if ctx.args.len() != 4 {
        return Err(CommandError::Arity(ctx.entry.full_name.into()));
    }
    let (word, argument) = (ctx.arg(2), ctx.arg(3));
    // The key and its type come before the condition, as in Redis.
    let holds = match ctx.data.peek(key) {
        None => false,
        Some(entry) => {
            let value = entry.string().ok_or(NOT_A_STRING)?;
            let comparison = Comparison::of_words(word, argument).ok_or(INVALID_CONDITION)?;
            comparison.check()?;
            comparison.holds(value)
        }
    };
    Ok(remove_if(ctx, key, holds))
}

const NOT_A_STRING: CommandError =
    CommandError::line("ERR Key should be of string type if conditions are specified");

const INVALID_CONDITION: CommandError =
    CommandError::line("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");

/// Removes the key when `condition` holds, replies with the number of removed keys, and logs a
/// plain DEL: a reader of the log need not compare again.
fn remove_if(ctx: &mut Context<'_, '_>, key: Key<'_>, condition: bool) -> Outcome {
    if condition {
        delete_key(ctx, key);
        ctx.propagate(&[b"DEL", key.bytes]);
    }
    ctx.reply.integer(i64::from(condition));
    Outcome::Done
}

pub(super) const DIGEST: CommandSpec = CommandSpec::new("digest", 2, digest)
    .group(Group::String)
    .since("8.4.0")
    .flags(Flags::READONLY.or(Flags::FAST))
    .summary("Returns the XXH3 digest of a string as 16 hexadecimal digits.")
    .complexity("O(N) in the length of the value.")
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[Arg::KEY]);

pub(super) fn digest(ctx: &mut Context<'_, '_>) -> CommandResult {
    let key = ctx.key(1);
    match ctx.data.string(key)? {
        None => ctx.reply.null(),
        Some(value) => {
            let mut buffer = [0; I64_BYTES_MAX];
            ctx.reply.bulk(&digest_of(value.as_bytes(&mut buffer)));
        }
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_sixteen_lower_case_digits() {
        // The value of the bug report that made Redis keep leading zeros.
        let value = b"v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd";
        assert_eq!(&digest_of(value), b"00006c38adf31777");
    }

    #[test]
    fn digests_compare_in_any_case() {
        let value = StringRef::Bytes(b"v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd");
        assert!(Comparison::DigestEqual(b"00006C38ADF31777").holds(value));
        assert!(!Comparison::DigestNotEqual(b"00006C38ADF31777").holds(value));
        assert!(Comparison::DigestEqual(b"123").check().is_err());
    }
}

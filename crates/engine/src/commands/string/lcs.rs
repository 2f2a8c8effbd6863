//! LCS: the longest common subsequence of two strings.

use std::sync::Arc;

use keyspace::{BigString, StringRef};
use values::lcs::{self, LcsError, Match};

use super::length;
use crate::command::*;
use crate::config::P;
use crate::context::Context;
use crate::error::CommandError;
use crate::execute::{CommandResult, CommandSpec, Outcome};
use crate::keys::Key;

/// A string out of the keyspace, kept while another key is looked at. Long ones are not copied.
enum Text {
    Short(Vec<u8>),
    Long(Arc<BigString>),
}

impl Text {
    fn of(ctx: &mut Context<'_, '_>, key: Key<'_>) -> Result<Self, CommandError> {
        let wrong_type =
            |_| CommandError::line("ERR The specified keys must contain string values");
        Ok(match ctx.data.string(key).map_err(wrong_type)? {
            None => Self::Short(Vec::new()),
            Some(StringRef::Big(big)) => Self::Long(Arc::clone(big)),
            Some(value) => Self::Short(value.to_vec()),
        })
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(big) => big.as_slice(),
        }
    }
}

/// Options of one request.
#[derive(Default)]
struct Options {
    len: bool,
    indices: bool,
    match_len: bool,
    min_len: usize,
}

impl Options {
    fn parse(ctx: &Context<'_, '_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = 3;
        while index < ctx.args.len() {
            if ctx.is_word(index, "idx") {
                options.indices = true;
            } else if ctx.is_word(index, "len") {
                options.len = true;
            } else if ctx.is_word(index, "withmatchlen") {
                options.match_len = true;
            } else if ctx.is_word(index, "minmatchlen") && index + 1 < ctx.args.len() {
                index += 1;
                options.min_len = usize::try_from(ctx.integer(index)?).unwrap_or(0);
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        if options.len && options.indices {
            return Err(CommandError::line(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

pub(super) const LCS: CommandSpec = CommandSpec::new("lcs", -3, lcs)
    .group(Group::String)
    .since("7.0.0")
    .flags(Flags::READONLY)
    .summary("Finds the longest common subsequence of two strings.")
    .complexity("O(N*M) in the lengths of the two strings.")
    .keys(&[KeySpec::range(1, 1, 1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::key("key1"),
        Arg::key("key2"),
        Arg::flag("len", "LEN"),
        Arg::flag("idx", "IDX"),
        Arg::integer("min-match-len").option("MINMATCHLEN"),
        Arg::flag("withmatchlen", "WITHMATCHLEN"),
    ]);

pub(super) fn lcs(ctx: &mut Context<'_, '_>) -> CommandResult {
    let (first, second) = (ctx.key(1), ctx.key(2));
    let first = Text::of(ctx, first)?;
    let second = Text::of(ctx, second)?;
    let options = Options::parse(ctx)?;
    let (a, b) = (first.bytes(), second.bytes());
    let limit = ctx.engine.config.size(P::ProtoMaxBulkLen) as u64;
    if options.indices {
        let (len, matches) = lcs::matches(a, b, options.min_len, limit).map_err(refused)?;
        write_matches(ctx, len, &matches, options.match_len);
    } else if options.len {
        let len = lcs::length(a, b, limit).map_err(refused)?;
        ctx.reply.integer(length(len));
    } else {
        let found = lcs::subsequence(a, b, limit).map_err(refused)?;
        ctx.reply.bulk(&found);
    }
    Ok(Outcome::Done)
}

fn refused(error: LcsError) -> CommandError {
    CommandError::line(match error {
        LcsError::StringTooLong => "ERR String too long for LCS",
        LcsError::TableTooLarge => {
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
        }
    })
}

fn write_matches(ctx: &mut Context<'_, '_>, len: usize, matches: &[Match], match_len: bool) {
    let reply = &mut ctx.reply;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.len());
    for found in matches {
        reply.array(2 + usize::from(match_len));
        for start in [found.a, found.b] {
            reply.array(2);
            reply.integer(length(start));
            reply.integer(length(start + found.len.saturating_sub(1)));
        }
        if match_len {
            reply.integer(length(found.len));
        }
    }
    reply.bulk(b"len");
    reply.integer(length(len));
}

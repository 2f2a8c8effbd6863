//! The trim options of XADD and XTRIM.

use values::StreamId;
use values::stream::{ID_TEXT, Keep, References, Stream};

use super::ids;
use crate::command::Arg;
use crate::commands::foreign;
use crate::config::P;
use crate::context::Context;
use crate::error::CommandError;

/// Documented arguments of a trim.
pub(super) const STRATEGY: Arg = Arg::one_of("strategy").args(&[
    Arg::word("maxlen", "MAXLEN"),
    Arg::word("minid", "MINID").since("6.2.0"),
]);

pub(super) const OPERATOR: Arg = Arg::one_of("operator")
    .optional()
    .args(&[Arg::word("equal", "="), Arg::word("approximately", "~")]);

pub(super) const THRESHOLD: Arg = Arg::string("threshold");

pub(super) const LIMIT: Arg = Arg::integer("count").option("LIMIT").since("6.2.0");

pub(super) const CONDITION: Arg = Arg::one_of("condition").since("8.2.0").optional().args(&[
    Arg::word("keepref", "KEEPREF"),
    Arg::word("delref", "DELREF"),
    Arg::word("acked", "ACKED"),
]);

/// Which entries a trim deletes.
#[derive(Clone, Copy)]
pub(super) struct Trim {
    keep: Keep,
    /// `~`: only whole nodes.
    approximate: bool,
    /// Most entries that are deleted; 0: all.
    limit: u64,
    /// Index of the number or id in the request.
    threshold_at: usize,
    references: References,
}

/// Options in the order in which they come.
#[derive(Default)]
pub(super) struct Options {
    trim: Option<(Keep, bool, usize)>,
    limit: Option<u64>,
    references: Option<References>,
    /// NOMKSTREAM.
    pub only_existing: bool,
}

impl Options {
    /// Takes the option at `index`, if there is one there. Returns the index of the last argument
    /// it has.
    pub(super) fn take(
        &mut self,
        ctx: &Context<'_, '_>,
        index: usize,
    ) -> Result<Option<usize>, CommandError> {
        let more = ctx.args.len().saturating_sub(index + 1);
        let is = |word| ctx.is_word(index, word);
        if more >= 1 && (is("maxlen") || is("minid")) {
            return self.take_trim(ctx, index, is("maxlen")).map(Some);
        }
        if more >= 1 && is("limit") {
            let limit = ctx.integer(index + 1)?;
            let limit = u64::try_from(limit)
                .map_err(|_| CommandError::line("ERR The LIMIT argument must be >= 0."))?;
            self.limit = Some(limit);
            return Ok(Some(index + 1));
        }
        Ok(references(ctx.arg(index)).map(|references| {
            self.references = Some(references);
            index
        }))
    }

    fn take_trim(
        &mut self,
        ctx: &Context<'_, '_>,
        index: usize,
        by_length: bool,
    ) -> Result<usize, CommandError> {
        if self.trim.is_some() {
            return Err(CommandError::line(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let has_operator = ctx.args.len() > index + 2 && matches!(ctx.arg(index + 1), b"~" | b"=");
        let approximate = has_operator && ctx.arg(index + 1) == b"~";
        let at = index + 1 + usize::from(has_operator);
        let keep = if by_length {
            let len = u64::try_from(ctx.integer(at)?)
                .map_err(|_| CommandError::line("ERR The MAXLEN argument must be >= 0."))?;
            Keep::Newest(len)
        } else {
            Keep::From(ids::strict(ctx.arg(at), 0)?)
        };
        self.trim = Some((keep, approximate, at));
        Ok(at)
    }

    /// All options have been taken.
    pub(super) fn finish(&self, ctx: &Context<'_, '_>) -> Result<Option<Trim>, CommandError> {
        if self.references.is_some() {
            foreign::refuse(ctx, Some("KEEPREF, DELREF or ACKED"))?;
        }
        let Some((keep, approximate, threshold_at)) = self.trim else {
            return match self.limit {
                Some(1..) => Err(CommandError::line(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
                _ => Ok(None),
            };
        };
        // The log has trims as they were carried out, so a replay applies no limit.
        let replays = ctx.data.origin.is_trusted();
        if self.limit.is_some() && !approximate && !replays {
            return Err(CommandError::line(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        let limit = match self.limit {
            _ if replays || !approximate => 0,
            Some(limit) => limit,
            // A hundred nodes.
            None => {
                match (ctx.engine.config.size(P::StreamNodeMaxEntries) as u64).saturating_mul(100) {
                    0 => 10_000,
                    limit => limit.min(1_000_000),
                }
            }
        };
        Ok(Some(Trim {
            keep,
            approximate,
            limit,
            threshold_at,
            references: self.references.unwrap_or_default(),
        }))
    }
}

/// The treatment of references to deleted entries that a word names.
pub(super) fn references(text: &[u8]) -> Option<References> {
    let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
    match () {
        () if is("keepref") => Some(References::Keep),
        () if is("delref") => Some(References::Remove),
        () if is("acked") => Some(References::Spare),
        () => None,
    }
}

impl Trim {
    /// Trims. Returns how many entries were deleted.
    pub(super) fn run(&self, stream: &mut Stream) -> u64 {
        stream.trim(self.keep, self.approximate, self.limit, self.references)
    }

    /// The changes of the request before it is logged: an approximate trim is logged as an exact
    /// one.
    pub(super) fn rewritten(&self, stream: &Stream) -> Option<Rewritten> {
        self.approximate.then(|| Rewritten {
            operator_at: self.threshold_at - 1,
            threshold: match self.keep {
                Keep::Newest(_) => stream.entries().len().to_string().into_bytes(),
                Keep::From(_) => {
                    let entries = stream.entries();
                    let first = match entries.is_empty() {
                        true => StreamId::MAX,
                        false => entries.first_id(),
                    };
                    first.text(&mut { ID_TEXT }).to_vec()
                }
            },
        })
    }
}

/// A trim as it is logged.
pub(super) struct Rewritten {
    operator_at: usize,
    threshold: Vec<u8>,
}

impl Rewritten {
    /// The argument that stands at `index` in the log instead of `arg`.
    pub(super) fn arg<'a>(&'a self, index: usize, arg: &'a [u8]) -> &'a [u8] {
        match index.checked_sub(self.operator_at) {
            Some(0) => b"=",
            Some(1) => &self.threshold,
            _ => arg,
        }
    }
}

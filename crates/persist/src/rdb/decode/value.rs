//! Values by their types.

use super::error::RdbCause;
use super::hash;
use super::input::Input;
use super::kind::Family;
use super::list;
use super::module;
use super::set;
use super::sorted_set;
use super::stream;
use super::template::{self, Templates};
use crate::rdb::LoadOptions;
use crate::rdb::format::types;
use keyspace::Value;
use std::cell::Cell;
use values::{Element, Thresholds};

/// The context that a value is read in, besides its bytes.
pub(super) struct Context<'a> {
    pub(super) family: Family,
    pub(super) options: &'a LoadOptions,
    /// The templates of the file; a payload has none.
    pub(super) templates: Option<&'a Templates>,
    /// The length that the last stream says and the one that it has, when they differ.
    pub(super) recounted: Cell<Option<(u64, u64)>>,
}

impl Context<'_> {
    pub(super) fn limits(&self) -> &Thresholds {
        &self.options.thresholds
    }
}

/// The value of a payload: its type comes first.
pub(super) fn alone(input: &mut Input<'_>, context: &Context<'_>) -> Result<Value, RdbCause> {
    let mut code = input.byte()?;
    if code == template::KEY_META && context.family == Family::Redis {
        module::skip_key_metadata(input, context.options.skip_modules)?;
        code = input.byte()?;
    }
    match code {
        types::STRING => Ok(match input.string()? {
            Element::Int(value) => Value::Int(value),
            Element::Bytes(bytes) => Value::Bytes(bytes.into()),
        }),
        code => read(input, code, context),
    }
}

/// A value of a type other than strings.
pub(super) fn read(
    input: &mut Input<'_>,
    code: u8,
    context: &Context<'_>,
) -> Result<Value, RdbCause> {
    by_type(input, code, context).map_err(|cause| named(cause, code))
}

/// Names the damaged packed form, in Redis's words.
#[cold]
fn named(cause: RdbCause, code: u8) -> RdbCause {
    let form = match code {
        types::HASH_ZIPMAP => "Zipmap",
        types::HASH_ZIPLIST => "Hash ziplist",
        types::HASH_LISTPACK | types::HASH_LISTPACK_EX | types::HASH_LISTPACK_EX_PRE_GA => {
            "Hash listpack"
        }
        types::ZSET_ZIPLIST => "Zset ziplist",
        types::ZSET_LISTPACK => "Zset listpack",
        types::LIST_ZIPLIST => "List ziplist",
        types::LIST_QUICKLIST | types::LIST_QUICKLIST_2 => "Quicklist",
        types::SET_INTSET => "Intset",
        types::SET_LISTPACK => "Set listpack",
        _ => match cause {
            // Nodes are one part of a stream, whose other parts have rules of their own.
            RdbCause::Integrity { rule, .. } if is_stream(code) => {
                return RdbCause::Integrity {
                    form: "Stream listpack",
                    rule,
                };
            }
            cause => return cause,
        },
    };
    match cause {
        // The versions of Redis that could leave empty keys behind wrote no zipmaps any more.
        RdbCause::Empty if code == types::HASH_ZIPMAP => RdbCause::Integrity {
            form,
            rule: "no entries",
        },
        RdbCause::Malformed(rule) | RdbCause::Integrity { rule, .. } => {
            RdbCause::Integrity { form, rule }
        }
        cause => cause,
    }
}

fn is_stream(code: u8) -> bool {
    matches!(
        code,
        types::STREAM_LISTPACKS
            | types::STREAM_LISTPACKS_2
            | types::STREAM_LISTPACKS_3
            | types::STREAM_LISTPACKS_4
            | types::STREAM_LISTPACKS_5
    )
}

fn by_type(input: &mut Input<'_>, code: u8, context: &Context<'_>) -> Result<Value, RdbCause> {
    let limits = context.limits();
    match code {
        types::LIST => list::plain(input, limits).map(Value::List),
        types::LIST_ZIPLIST => list::ziplist(input, limits).map(Value::List),
        types::LIST_QUICKLIST => list::nodes(input, false, limits).map(Value::List),
        types::LIST_QUICKLIST_2 => list::nodes(input, true, limits).map(Value::List),
        types::SET => set::plain(input, limits).map(Value::Set),
        types::SET_INTSET | types::SET_LISTPACK => set::packed(input, code, limits).map(Value::Set),
        types::ZSET | types::ZSET_2 => sorted_set::plain(input, code, limits).map(Value::ZSet),
        types::ZSET_ZIPLIST | types::ZSET_LISTPACK => {
            sorted_set::packed(input, code, limits).map(Value::ZSet)
        }
        types::HASH => hash::plain(input, limits).map(Value::Hash),
        types::HASH_ZIPMAP | types::HASH_ZIPLIST | types::HASH_LISTPACK => {
            hash::packed(input, code, limits).map(Value::Hash)
        }
        types::STREAM_LISTPACKS | types::STREAM_LISTPACKS_2 | types::STREAM_LISTPACKS_3 => {
            stream::read(input, code, context).map(Value::Stream)
        }
        types::MODULE_PRE_GA => Err(RdbCause::Malformed(
            "Pre-release module format not supported",
        )),
        types::MODULE_2 => Err(module::skip_value(input, context.options.skip_modules)?),
        _ => match context.family {
            Family::Redis => of_redis(input, code, context),
            Family::Valkey => of_valkey(input, code, context),
        },
    }
}

/// Types whose numbers mean this in Redis alone.
fn of_redis(input: &mut Input<'_>, code: u8, context: &Context<'_>) -> Result<Value, RdbCause> {
    let limits = context.limits();
    match code {
        types::HASH_METADATA_PRE_GA | types::HASH_METADATA => {
            hash::metadata(input, code, limits).map(Value::Hash)
        }
        types::HASH_LISTPACK_EX_PRE_GA | types::HASH_LISTPACK_EX => {
            hash::triples(input, code, limits).map(Value::Hash)
        }
        types::STREAM_LISTPACKS_4 | types::STREAM_LISTPACKS_5 => {
            stream::read(input, code, context).map(Value::Stream)
        }
        _ => template::hash(input, code, context).map(Value::Hash),
    }
}

/// Types whose numbers mean this in Valkey alone.
fn of_valkey(input: &mut Input<'_>, code: u8, context: &Context<'_>) -> Result<Value, RdbCause> {
    match code {
        types::HASH_2 => hash::with_deadlines(input, context.limits()).map(Value::Hash),
        _ => Err(RdbCause::Type {
            code,
            version: None,
        }),
    }
}

/// Fails for a collection without elements.
pub(super) fn not_empty<T>(value: T, len: usize) -> Result<T, RdbCause> {
    match len {
        0 => Err(RdbCause::Empty),
        _ => Ok(value),
    }
}

/// The number of elements that follow, which is not 0.
pub(super) fn count(input: &mut Input<'_>) -> Result<u64, RdbCause> {
    match input.length()? {
        0 => Err(RdbCause::Empty),
        count => Ok(count),
    }
}

/// The same as a hint of how many there will be: the number must not decide an allocation.
pub(super) fn hint(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A deadline or another time; times before 1970 become 0.
pub(super) fn time(input: &mut Input<'_>) -> Result<u64, RdbCause> {
    let time = i64::from_le_bytes(input.array()?);
    Ok(u64::try_from(time).unwrap_or(0))
}

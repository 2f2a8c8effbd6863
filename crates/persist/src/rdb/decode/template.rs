//! Hashes that share their fields (Redis 8.10): the fields stand in a template, and a hash has only
//! its values. Here they become ordinary hashes.

use super::error::RdbCause;
use super::input::Input;
use super::value::{Context, hint};
use std::collections::HashMap;
use values::listpack::Listpack;
use values::{DIGITS, Element, FieldDeadline, Hash, Thresholds};

/// Opcode: a template, `id count { field }`. In files only.
pub(super) const TEMPLATE: u8 = 242;
/// Opcode of Redis: metadata of modules for the next key. In Valkey the number means something
/// else.
pub(super) const KEY_META: u8 = 243;

/// Types: with fields or with the id of a template, values as a listpack or as strings.
const LISTPACK: u8 = 29;
const LISTPACK_BY_ID: u8 = 30;
const STRINGS: u8 = 31;
const STRINGS_BY_ID: u8 = 32;

/// The fields of the templates of a file.
pub(super) type Templates = HashMap<u64, Vec<Box<[u8]>>>;

/// Reads a template.
pub(super) fn define(input: &mut Input<'_>, templates: &mut Templates) -> Result<(), RdbCause> {
    let id = input.length()?;
    let fields = fields(input)?;
    match templates.insert(id, fields) {
        None => Ok(()),
        Some(_) => Err(RdbCause::Malformed("two hash templates with the same id")),
    }
}

fn fields(input: &mut Input<'_>) -> Result<Vec<Box<[u8]>>, RdbCause> {
    let mut fields = Vec::new();
    for _ in 0..input.length()? {
        let field = input.string()?;
        fields.push(field.as_bytes(&mut { DIGITS }).into());
    }
    match fields.is_empty() {
        true => Err(RdbCause::Malformed("hash template with zero fields")),
        false => Ok(fields),
    }
}

/// A hash of one of the types of this module.
pub(super) fn hash(
    input: &mut Input<'_>,
    code: u8,
    context: &Context<'_>,
) -> Result<Hash, RdbCause> {
    let limits = context.limits();
    match code {
        LISTPACK => {
            let fields = fields(input)?;
            let pack = Listpack::from_bytes(input.blob()?)?;
            of_elements(&fields, pack.view().iter(), limits)
        }
        LISTPACK_BY_ID => {
            let pack = Listpack::from_bytes(input.blob()?)?;
            let mut elements = pack.view().iter();
            let id = elements.next().and_then(|id| id.parse_i64());
            let id = id.and_then(|id| u64::try_from(id).ok());
            of_elements(by_id(id, context)?, elements, limits)
        }
        STRINGS => {
            let count = super::value::count(input)?;
            let mut hash = new(hint(count), limits);
            let mut field = Vec::new();
            for _ in 0..count {
                input.string_into(&mut field)?;
                put(&mut hash, &field, input.string()?, limits)?;
            }
            Ok(hash)
        }
        STRINGS_BY_ID => {
            let id = input.length()?;
            let fields = by_id(Some(id), context)?;
            let mut hash = new(fields.len(), limits);
            for field in fields {
                put(&mut hash, field, input.string()?, limits)?;
            }
            Ok(hash)
        }
        _ => Err(RdbCause::Type {
            code,
            version: None,
        }),
    }
}

fn by_id<'a>(id: Option<u64>, context: &Context<'a>) -> Result<&'a [Box<[u8]>], RdbCause> {
    let fields = id.and_then(|id| context.templates?.get(&id));
    let fields = fields.ok_or(RdbCause::Malformed("a hash without its template"))?;
    Ok(fields)
}

fn new(fields: usize, limits: &Thresholds) -> Hash {
    let mut hash = Hash::new();
    hash.prepare(fields, limits);
    hash
}

fn of_elements<'e>(
    fields: &[Box<[u8]>],
    mut values: impl Iterator<Item = Element<'e>>,
    limits: &Thresholds,
) -> Result<Hash, RdbCause> {
    const COUNT: RdbCause =
        RdbCause::Malformed("a hash has not as many values as its template fields");
    let mut hash = new(fields.len(), limits);
    for field in fields {
        put(&mut hash, field, values.next().ok_or(COUNT)?, limits)?;
    }
    match values.next() {
        None => Ok(hash),
        Some(_) => Err(COUNT),
    }
}

fn put(
    hash: &mut Hash,
    field: &[u8],
    value: Element<'_>,
    limits: &Thresholds,
) -> Result<(), RdbCause> {
    let mut digits = DIGITS;
    let value = value.as_bytes(&mut digits);
    match hash.set(field, value, FieldDeadline::Clear, limits) {
        true => Ok(()),
        false => Err(RdbCause::Malformed("a field of the hash is there twice")),
    }
}

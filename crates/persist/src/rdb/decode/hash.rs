//! Hashes.

use super::error::RdbCause;
use super::input::Input;
use super::packed;
use super::value::{count, hint, not_empty};
use crate::rdb::format::types;
use values::listpack::View;
use values::{DIGITS, FieldDeadline, Hash, Thresholds};

const TWICE: RdbCause = RdbCause::Malformed("a field of the hash is there twice");

/// No deadline is later. Redis has none beyond 48 bits, but Valkey and we do, and we write them in
/// its form.
const DEADLINE_MAX: u64 = i64::MAX as u64;

/// Gathers fields that must be new.
struct Fields<'l> {
    hash: Hash,
    field: Vec<u8>,
    limits: &'l Thresholds,
}

impl<'l> Fields<'l> {
    /// For about so many fields; it begins as a table if they are too many for a listpack.
    fn new(fields: u64, limits: &'l Thresholds) -> Self {
        let mut hash = Hash::new();
        hash.prepare(hint(fields), limits);
        Fields {
            hash,
            field: Vec::new(),
            limits,
        }
    }

    /// Reads a field and its value.
    fn take(&mut self, input: &mut Input<'_>, deadline: FieldDeadline) -> Result<(), RdbCause> {
        input.string_into(&mut self.field)?;
        let value = input.string()?;
        self.put(value.as_bytes(&mut { DIGITS }), deadline)
    }

    /// Adds the field that was read.
    fn put(&mut self, value: &[u8], deadline: FieldDeadline) -> Result<(), RdbCause> {
        match self.hash.set(&self.field, value, deadline, self.limits) {
            true => Ok(()),
            false => Err(TWICE),
        }
    }
}

/// Field and value in turn.
pub(super) fn plain(input: &mut Input<'_>, limits: &Thresholds) -> Result<Hash, RdbCause> {
    let count = count(input)?;
    let mut fields = Fields::new(count, limits);
    for _ in 0..count {
        fields.take(input, FieldDeadline::Clear)?;
    }
    Ok(fields.hash)
}

/// Field, value and deadline in turn, -1 where there is none (Valkey).
pub(super) fn with_deadlines(input: &mut Input<'_>, limits: &Thresholds) -> Result<Hash, RdbCause> {
    let count = count(input)?;
    let mut fields = Fields::new(u64::MAX, limits);
    for _ in 0..count {
        fields.take(input, FieldDeadline::Clear)?;
        let deadline = match i64::from_le_bytes(input.array()?) {
            -1 => continue,
            deadline => u64::try_from(deadline).map_err(|_| BAD_DEADLINE)?,
        };
        fields.hash.set_deadline(&fields.field, Some(deadline));
    }
    Ok(fields.hash)
}

const BAD_DEADLINE: RdbCause =
    RdbCause::Malformed("a field of the hash has an impossible deadline");

/// Deadline, field and value in turn (Redis). The deadline counts from the earliest one, which it
/// has as 1; 0 is none. Before the release of 7.4 it was absolute, and there was no earliest one.
pub(super) fn metadata(
    input: &mut Input<'_>,
    code: u8,
    limits: &Thresholds,
) -> Result<Hash, RdbCause> {
    // One less than the earliest.
    let base = match code {
        types::HASH_METADATA => earliest(input)?.saturating_sub(1),
        _ => 0,
    };
    let count = count(input)?;
    let mut fields = Fields::new(count, limits);
    for _ in 0..count {
        let deadline = match input.length()? {
            0 => FieldDeadline::Clear,
            relative => absolute(base, relative)?,
        };
        fields.take(input, deadline)?;
    }
    Ok(fields.hash)
}

fn earliest(input: &mut Input<'_>) -> Result<u64, RdbCause> {
    let earliest = u64::from_le_bytes(input.array()?);
    match earliest <= DEADLINE_MAX {
        true => Ok(earliest),
        false => Err(BAD_DEADLINE),
    }
}

fn absolute(base: u64, relative: u64) -> Result<FieldDeadline, RdbCause> {
    let deadline = base
        .checked_add(relative)
        .filter(|sum| *sum <= DEADLINE_MAX);
    deadline.map(FieldDeadline::At).ok_or(BAD_DEADLINE)
}

/// A listpack of field, value and absolute deadline in turn, 0 where there is none (Redis).
pub(super) fn triples(
    input: &mut Input<'_>,
    code: u8,
    limits: &Thresholds,
) -> Result<Hash, RdbCause> {
    if code == types::HASH_LISTPACK_EX {
        earliest(input)?;
    }
    let pack = values::listpack::Listpack::from_bytes(input.blob()?)?;
    let mut elements = View::iter(pack.view());
    let mut fields = Fields::new(pack.len() as u64 / 3, limits);
    while let Some(field) = elements.next() {
        let (Some(value), Some(deadline)) = (elements.next(), elements.next()) else {
            return Err(RdbCause::Malformed(
                "a field of the hash has no value or deadline",
            ));
        };
        let deadline = match deadline.parse_i64().map(u64::try_from) {
            Some(Ok(0)) => FieldDeadline::Clear,
            Some(Ok(deadline)) => absolute(0, deadline)?,
            _ => return Err(BAD_DEADLINE),
        };
        fields.field.clear();
        fields
            .field
            .extend_from_slice(field.as_bytes(&mut { DIGITS }));
        fields.put(value.as_bytes(&mut { DIGITS }), deadline)?;
    }
    let len = fields.hash.len();
    not_empty(fields.hash, len)
}

/// Packed.
pub(super) fn packed(
    input: &mut Input<'_>,
    code: u8,
    limits: &Thresholds,
) -> Result<Hash, RdbCause> {
    let bytes = input.blob()?;
    let mut hash = match code {
        types::HASH_ZIPMAP => {
            let (pack, longest) = packed::of_zipmap(bytes)?;
            let mut hash = Hash::from_listpack(pack.as_bytes())?;
            if longest > limits.hash_value {
                hash.prepare(usize::MAX, limits);
            }
            hash
        }
        types::HASH_ZIPLIST => Hash::from_listpack(packed::of_ziplist(bytes)?.as_bytes())?,
        _ => Hash::from_listpack(bytes)?,
    };
    hash.convert(limits);
    let len = hash.len();
    not_empty(hash, len)
}

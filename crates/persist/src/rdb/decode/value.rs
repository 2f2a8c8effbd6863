//! Values by their types.

use super::error::RdbCause;
use super::input::Input;
use super::kind::Family;
use crate::rdb::LoadOptions;
use crate::rdb::format::types;
use keyspace::Value;
use values::Element;

/// The value of a payload: its type comes first.
pub(super) fn alone(
    input: &mut Input<'_>,
    family: Family,
    options: &LoadOptions,
) -> Result<Value, RdbCause> {
    match input.byte()? {
        types::STRING => Ok(match input.string()? {
            Element::Int(value) => Value::Int(value),
            Element::Bytes(bytes) => Value::Bytes(bytes.into()),
        }),
        code => read(input, code, family, options),
    }
}

/// A value of a type other than strings.
pub(super) fn read(
    _input: &mut Input<'_>,
    code: u8,
    _family: Family,
    _options: &LoadOptions,
) -> Result<Value, RdbCause> {
    Err(RdbCause::Type {
        code,
        version: None,
    })
}

//! Reading values and files.
//!
//! ```text
//! load     Input -- opcodes -- key, then string, or value by type -- Sink
//! restore  footer, then one value by type
//! ```
//! The bytes are untrusted. Every length is compared with the bytes that exist: packed forms are
//! checked entry by entry before they become values, memory grows only with the bytes that have
//! arrived, and there is no recursion.

mod error;
mod extras;
mod file;
mod hash;
mod input;
mod kind;
mod list;
mod module;
mod packed;
mod set;
mod sorted_set;
mod stream;
mod template;
mod value;

#[cfg(test)]
mod tests;

pub use error::{Place, RdbCause, RdbError, RestoreError};
pub use file::{Loaded, load};

use super::format::opcode;
use super::{LoadOptions, Version};
use crc_fast::CrcAlgorithm;
use input::Input;
use keyspace::Value;
use kind::Family;
use std::cell::Cell;
use value::Context;

/// The value of a DUMP payload. The checksum is compared when `options` say so.
///
/// # Errors
/// Their text is what RESTORE answers; [`RestoreError::cause`] says more.
pub fn restore(payload: &[u8], options: &LoadOptions) -> Result<Value, RestoreError> {
    let (body, version) = open(payload, options)?;
    let mut input = Input::of_slice(body, options.max_string);
    let context = Context {
        family: Family::of(version),
        options,
        templates: None,
        recounted: Cell::new(None),
    };
    value::alone(&mut input, &context).map_err(|cause| match cause {
        RdbCause::Type { code, .. } if version.0 > kind::REDIS_MAX && version < Version::V80 => {
            RestoreError::Foreign(code)
        }
        cause => RestoreError::Data(cause),
    })
}

/// The code of each library in a payload of FUNCTION DUMP.
///
/// # Errors
/// It is no such payload.
pub fn functions(payload: &[u8], options: &LoadOptions) -> Result<Vec<Box<[u8]>>, RestoreError> {
    let (body, _) = open(payload, options)?;
    let mut input = Input::of_slice(body, options.max_string);
    let mut libraries = Vec::new();
    while input.offset() < body.len() as u64 {
        let library = match input.byte() {
            Ok(opcode::FUNCTION2) => input.string().map(|code| code.to_vec().into()),
            Ok(code) => Err(RdbCause::Type {
                code,
                version: None,
            }),
            Err(cause) => Err(cause),
        };
        libraries.push(library.map_err(RestoreError::Data)?);
    }
    Ok(libraries)
}

/// Checks the footer of a payload. Returns what is before it, and the version.
fn open<'a>(payload: &'a [u8], options: &LoadOptions) -> Result<(&'a [u8], Version), RestoreError> {
    let (checked, footer) = payload
        .split_last_chunk::<8>()
        .ok_or(RestoreError::Footer)?;
    let (body, version) = checked
        .split_last_chunk::<2>()
        .ok_or(RestoreError::Footer)?;
    let version = Version(u16::from_le_bytes(*version));
    if !kind::is_accepted(version, options.any_version) {
        return Err(RestoreError::Footer);
    }
    let sum = u64::from_le_bytes(*footer);
    if options.checksum && crc_fast::checksum(CrcAlgorithm::Crc64Redis, checked) != sum {
        return Err(RestoreError::Footer);
    }
    Ok((body, version))
}

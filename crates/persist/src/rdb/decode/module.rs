//! Data of modules: its pieces have their own lengths, so that it can be skipped.

use super::error::RdbCause;
use super::input::Input;

/// Kinds of pieces of a module's data.
mod piece {
    pub(super) const END: u64 = 0;
    pub(super) const SIGNED: u64 = 1;
    pub(super) const UNSIGNED: u64 = 2;
    pub(super) const FLOAT: u64 = 3;
    pub(super) const DOUBLE: u64 = 4;
    pub(super) const STRING: u64 = 5;
}

/// Letters of names, six bits each.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The same for metadata of keys.
const LETTERS_OF_METADATA: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/// The name of `len` letters in the low bits of `id`.
fn name(id: u64, len: u32, letters: &[u8; 64]) -> String {
    let letter = |at: u32| letters[(id >> (6 * (len - 1 - at)) & 0x3f) as usize];
    (0..len).map(|at| char::from(letter(at))).collect()
}

/// The name of the type with this id: nine letters, and ten bits of version.
fn type_name(id: u64) -> String {
    name(id >> 10, 9, LETTERS)
}

/// Skips a value and returns the name of its module. When values must not be skipped, the name is
/// in the error.
pub(super) fn skip_value(input: &mut Input<'_>, may_skip: bool) -> Result<RdbCause, RdbCause> {
    let name = type_name(input.length()?);
    if !may_skip {
        return Err(RdbCause::Module(name));
    }
    skip_pieces(input)?;
    Ok(RdbCause::Module(name))
}

/// Skips the auxiliary data of a module.
pub(super) fn skip_auxiliary(input: &mut Input<'_>, may_skip: bool) -> Result<(), RdbCause> {
    let name = type_name(input.length()?);
    if input.length()? != piece::UNSIGNED {
        return Err(RdbCause::Malformed("bad when_opcode"));
    }
    input.length()?;
    match may_skip {
        true => skip_pieces(input),
        false => Err(RdbCause::ModuleAux(name)),
    }
}

/// Skips the metadata of modules for the next key (Redis 8.4): a number of classes, and for each
/// its name, version and flags in 32 bits, and its data.
pub(super) fn skip_key_metadata(input: &mut Input<'_>, may_skip: bool) -> Result<(), RdbCause> {
    const CLASSES_MAX: u64 = 7;
    const MAY_IGNORE: u32 = 1;
    let classes = input.length()?;
    if classes > CLASSES_MAX {
        return Err(RdbCause::Malformed("too many classes of metadata of a key"));
    }
    for _ in 0..classes {
        let class = u32::from_le_bytes(input.array()?);
        if !may_skip && class & MAY_IGNORE == 0 {
            let name = name((class >> 8).into(), 4, LETTERS_OF_METADATA);
            return Err(RdbCause::Module(format!("META-{name}")));
        }
        skip_pieces(input)?;
    }
    Ok(())
}

fn skip_pieces(input: &mut Input<'_>) -> Result<(), RdbCause> {
    loop {
        match input.length()? {
            piece::END => return Ok(()),
            piece::SIGNED | piece::UNSIGNED => drop(input.length()?),
            piece::FLOAT => input.skip(4)?,
            piece::DOUBLE => input.skip(8)?,
            piece::STRING => input.skip_string()?,
            _ => return Err(RdbCause::Malformed("data of a module of unknown kind")),
        }
    }
}

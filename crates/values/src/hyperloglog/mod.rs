//! HyperLogLog: how many different elements were seen, from 16,384 registers of six bits.
//!
//! Flajolet, Fusy, Gandouet and Meunier (2007) with 64-bit hashes, as Redis has it since 2.8.9. A
//! sketch is a byte string in Redis's format, so that it survives GET and SET, DUMP and
//! replication:
//!
//! ```text
//!  +------+----------+--------+-------------+------------------
//!  | HYLL | encoding | unused | cardinality | registers
//!  | 4    | 1        | 3      | 8           |
//!  +------+----------+--------+-------------+------------------
//! ```
//! The cardinality (little endian) is the last one computed; its highest bit means that registers
//! have changed since. Encoding 0 is dense (see the module `dense`), 1 sparse (see `sparse`).
//!
//! The bytes are untrusted: no function panics on them. Registers are changed in the same way as
//! Redis does, so that the same commands make the same bytes.

mod dense;
mod estimate;
mod murmur;
mod registers;
mod simd;
mod sparse;
#[cfg(test)]
mod tests;

pub use registers::Registers;
pub use simd::{set_simd, uses_simd};
pub use sparse::Run;

use std::fmt;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;

/// Registers of a sketch.
pub const REGISTERS: usize = 1 << INDEX_BITS;

/// The other bits: the value of a register is at most one more than their number.
const VALUE_BITS: u32 = u64::BITS - INDEX_BITS;

const MAGIC: &[u8; 4] = b"HYLL";
const HEADER_BYTES: usize = 16;
const ENCODING: usize = 4;
const CACHE: usize = 8;
/// In the last byte of the cached cardinality: it is out of date.
const STALE: u8 = 0x80;

/// Bytes of a dense sketch.
const DENSE_BYTES: usize = HEADER_BYTES + dense::BYTES;

/// No valid sparse sketch is longer: every opcode covers at least one register in at most two
/// bytes.
const SPARSE_BYTES_MAX: usize = HEADER_BYTES + 2 * REGISTERS;

/// The encoding of the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Six bits for each.
    Dense,
    /// Runs of equal registers.
    Sparse,
}

/// The registers of a sparse sketch make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupted;

impl fmt::Display for Corrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("corrupted HyperLogLog")
    }
}

impl std::error::Error for Corrupted {}

/// The observation of one element: a register and the least value it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    index: usize,
    value: u8,
}

impl Observation {
    /// The observation of an element, with the hash function of Redis.
    pub fn of(element: &[u8]) -> Observation {
        Observation::of_hash(murmur::hash(element))
    }

    /// The observation of an element with this hash.
    #[inline]
    pub fn of_hash(hash: u64) -> Observation {
        // The bit above the highest one ends the run of zeros in any case.
        let rest = hash >> INDEX_BITS | 1 << VALUE_BITS;
        Observation {
            index: (hash as usize) % REGISTERS,
            value: rest.trailing_zeros() as u8 + 1,
        }
    }
}

/// The form of a sketch, `None` when the bytes are none. The registers are not looked at.
pub fn form(bytes: &[u8]) -> Option<Form> {
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes[ENCODING] {
        0 if bytes.len() == DENSE_BYTES => Some(Form::Dense),
        1 => Some(Form::Sparse),
        _ => None,
    }
}

/// The sketch that has seen nothing. It counts as changed, as in Redis.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING] = 1;
    sparse::push_zeros(&mut bytes, REGISTERS);
    invalidate(&mut bytes);
    bytes
}

/// The cardinality computed last, unless registers have changed since.
pub fn cached_count(bytes: &[u8]) -> Option<u64> {
    let cache = bytes.get(CACHE..)?.first_chunk()?;
    let count = u64::from_le_bytes(*cache);
    (count >> 63 == 0).then_some(count)
}

/// Notes a cardinality.
pub fn cache_count(bytes: &mut [u8], count: u64) {
    let cache = bytes.get_mut(CACHE..);
    if let Some(cache) = cache.and_then(|rest| rest.first_chunk_mut()) {
        *cache = count.to_le_bytes();
    }
}

fn invalidate(bytes: &mut [u8]) {
    if let Some(last) = bytes.get_mut(HEADER_BYTES - 1) {
        *last |= STALE;
    }
}

fn dense_registers(bytes: &[u8]) -> Option<&[u8; dense::BYTES]> {
    bytes.get(HEADER_BYTES..)?.try_into().ok()
}

fn dense_registers_mut(bytes: &mut [u8]) -> Option<&mut [u8; dense::BYTES]> {
    bytes.get_mut(HEADER_BYTES..)?.try_into().ok()
}

/// Estimates the cardinality of a sketch, whatever is noted in it.
///
/// # Errors
/// When its registers make no sense.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupted> {
    if form(bytes).ok_or(Corrupted)? == Form::Dense {
        let mut registers = Registers::new();
        registers.merge(bytes)?;
        return Ok(registers.count());
    }
    let mut histogram = [0; estimate::VALUES];
    sparse::visit(bytes, |run| {
        histogram[usize::from(run.value)] += run.len as u32;
    })?;
    Ok(estimate::estimate(&histogram))
}

/// Adds elements to a dense sketch. Returns how many of them changed a register. Does nothing to
/// one that is not dense.
pub fn add_dense<'a>(bytes: &mut [u8], elements: impl Iterator<Item = &'a [u8]>) -> u64 {
    let Some(registers) = dense_registers_mut(bytes) else {
        return 0;
    };
    let mut changes = 0;
    for element in elements {
        changes += u64::from(dense::raise(registers, Observation::of(element)));
    }
    if changes > 0 {
        invalidate(bytes);
    }
    changes
}

/// Adds elements to a sketch of any form. Returns the new bytes and how many elements changed a
/// register, or `None` when none did. A sparse sketch that would get longer than `sparse_max` bytes
/// becomes dense.
///
/// # Errors
/// When the registers make no sense, as far as that is seen.
pub fn add<'a>(
    bytes: &[u8],
    elements: impl Iterator<Item = &'a [u8]>,
    sparse_max: usize,
) -> Result<Option<(Vec<u8>, u64)>, Corrupted> {
    if bytes.len() > SPARSE_BYTES_MAX || form(bytes).is_none() {
        return Err(Corrupted);
    }
    let mut changed: Option<(Vec<u8>, u64)> = None;
    for element in elements {
        let seen = Observation::of(element);
        if let Some((sketch, changes)) = &mut changed {
            *changes += u64::from(raise(sketch, seen, sparse_max)?);
        } else if let Some(place) = lower(bytes, seen)? {
            let mut sketch = Vec::with_capacity(bytes.len() + SPARSE_ROOM);
            sketch.extend_from_slice(bytes);
            raise_at(&mut sketch, &place, seen, sparse_max)?;
            changed = Some((sketch, 1));
        }
    }
    Ok(changed)
}

/// Room for growth of a sparse sketch that is being changed, in bytes.
const SPARSE_ROOM: usize = 64;

/// Where a register is that is lower than observed.
enum Lower {
    Dense,
    Sparse(sparse::Place),
}

/// The register that the observation would change.
fn lower(bytes: &[u8], seen: Observation) -> Result<Option<Lower>, Corrupted> {
    if form(bytes) == Some(Form::Sparse) {
        return Ok(sparse::lower(bytes, seen)?.map(Lower::Sparse));
    }
    let registers = dense_registers(bytes).ok_or(Corrupted)?;
    Ok((dense::get(registers, seen.index) < seen.value).then_some(Lower::Dense))
}

/// Raises one register if need be; true when that changed it.
fn raise(sketch: &mut Vec<u8>, seen: Observation, sparse_max: usize) -> Result<bool, Corrupted> {
    match lower(sketch, seen)? {
        Some(place) => raise_at(sketch, &place, seen, sparse_max).map(|()| true),
        None => Ok(false),
    }
}

/// Raises the register that was found to be lower.
fn raise_at(
    sketch: &mut Vec<u8>,
    place: &Lower,
    seen: Observation,
    sparse_max: usize,
) -> Result<(), Corrupted> {
    let is_done = match place {
        Lower::Sparse(place) => {
            sparse::raise_at(sketch, place, seen, sparse_max) == sparse::Raised::Done
        }
        Lower::Dense => false,
    };
    if !is_done {
        if form(sketch) == Some(Form::Sparse) {
            *sketch = to_dense(sketch)?;
        }
        dense::raise(dense_registers_mut(sketch).ok_or(Corrupted)?, seen);
    }
    invalidate(sketch);
    Ok(())
}

/// The same sketch in the dense form.
///
/// # Errors
/// When the registers make no sense.
pub fn to_dense(bytes: &[u8]) -> Result<Vec<u8>, Corrupted> {
    let mut registers = Registers::new();
    registers.merge(bytes)?;
    dense_with(bytes, &registers)
}

/// A dense sketch of these registers; the rest of the header is that of `header`.
fn dense_with(header: &[u8], registers: &Registers) -> Result<Vec<u8>, Corrupted> {
    let mut sketch = vec![0; DENSE_BYTES];
    let header = header.get(..HEADER_BYTES).ok_or(Corrupted)?;
    sketch[..HEADER_BYTES].copy_from_slice(header);
    sketch[ENCODING] = 0;
    if let Some(packed) = dense_registers_mut(&mut sketch) {
        simd::pack(registers.as_array(), packed);
    }
    Ok(sketch)
}

/// The sketch `target` with registers that are at least `registers`, which must have been merged
/// with it already. It is dense when `target` is, when `make_dense` is set, and when the
/// sparse form would get longer than `sparse_max` bytes.
///
/// # Errors
/// When the registers of `target` make no sense.
pub fn raise_to(
    target: &[u8],
    registers: &Registers,
    make_dense: bool,
    sparse_max: usize,
) -> Result<Vec<u8>, Corrupted> {
    let make_dense = make_dense || form(target) != Some(Form::Sparse);
    let mut sketch = match make_dense {
        true => dense_with(target, registers)?,
        false => raise_sparse(target, registers, sparse_max)?,
    };
    invalidate(&mut sketch);
    Ok(sketch)
}

/// As [`raise_to`] with a dense sketch, in place. False when it is not dense.
pub fn raise_dense_to(target: &mut [u8], registers: &Registers) -> bool {
    if form(target) != Some(Form::Dense) {
        return false;
    }
    if let Some(packed) = dense_registers_mut(target) {
        simd::pack(registers.as_array(), packed);
    }
    invalidate(target);
    true
}

fn raise_sparse(
    target: &[u8],
    registers: &Registers,
    sparse_max: usize,
) -> Result<Vec<u8>, Corrupted> {
    let mut sketch = target.to_vec();
    // Registers come in order, so that each is looked for where the last one was found.
    let mut cursor = sparse::Cursor::START;
    for (index, value) in registers.as_array().iter().enumerate() {
        if *value == 0 {
            continue;
        }
        let seen = Observation {
            index,
            value: *value,
        };
        if sparse::raise(&mut sketch, &mut cursor, seen, sparse_max)? == sparse::Raised::NeedsDense
        {
            return dense_with(&sketch, registers);
        }
    }
    Ok(sketch)
}

/// The runs of a sparse sketch, in order, as they are written.
///
/// # Errors
/// When the last one is cut off. Whether the runs make up all registers is not checked.
pub fn runs(bytes: &[u8]) -> impl Iterator<Item = Result<Run, Corrupted>> {
    sparse::runs(bytes)
}

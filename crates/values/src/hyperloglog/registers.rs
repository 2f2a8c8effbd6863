//! Registers of one byte each, the form in which sketches are merged.

use super::dense;
use super::estimate::estimate;
use super::{Corrupted, Form, Observation, REGISTERS, dense_registers, form, simd, sparse};

/// The registers of a sketch, unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Each at most 63.
    pub(super) values: Box<[u8; REGISTERS]>,
}

impl Registers {
    /// Registers that have seen nothing.
    pub fn new() -> Registers {
        Registers {
            values: vec![0; REGISTERS]
                .into_boxed_slice()
                .try_into()
                .unwrap_or_else(|_| unreachable!("the length is right")),
        }
    }

    /// Takes an observation in.
    #[inline]
    pub fn add(&mut self, seen: Observation) {
        let register = &mut self.values[seen.index];
        *register = seen.value.max(*register);
    }

    /// Raises registers to those of a sketch.
    ///
    /// # Errors
    /// When the bytes are no sketch, or their registers make no sense; some registers may have been
    /// raised by then.
    pub fn merge(&mut self, bytes: &[u8]) -> Result<(), Corrupted> {
        match form(bytes).ok_or(Corrupted)? {
            Form::Dense => {
                let packed: &[u8; dense::BYTES] = dense_registers(bytes).ok_or(Corrupted)?;
                simd::merge(&mut self.values, packed);
                Ok(())
            }
            Form::Sparse => sparse::merge(bytes, &mut self.values),
        }
    }

    /// The estimated number of different elements.
    pub fn count(&self) -> u64 {
        estimate(&simd::histogram(&self.values))
    }

    /// The values, in order.
    pub fn as_array(&self) -> &[u8; REGISTERS] {
        &self.values
    }
}

impl Default for Registers {
    fn default() -> Registers {
        Registers::new()
    }
}

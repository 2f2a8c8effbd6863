//! Numbers as Redis clients write and read them.
//!
//! Integers are strict, so that a number has exactly one text. Doubles are printed as Valkey prints
//! them, which is not always the shortest text; see [`format_f64`]. INCRBYFLOAT calculates with 80
//! bits: [`F80`].

mod binary;
mod decimal;
mod double;
mod f80;
mod general;
mod grisu;
mod integer;

pub use double::{F64_BYTES_MAX, format_f64, format_f64_fpconv, parse_f64, parse_f64_or_hex};
pub use f80::{F80, F80_TEXT_BYTES_MAX};
pub use general::format_f64_general;
pub use integer::{I64_BYTES_MAX, format_i64, parse_cursor, parse_i64, parse_memory, parse_u64};

//! Configuration of a process: the sources of a start (`args`, `file`) and CONFIG REWRITE
//! (`rewrite`).
//!
//! A later source wins over an earlier one: defaults, the configuration file, standard input (`-`),
//! environment variables `LODESTORE_<NAME>` with underscores for dashes, and the command line.

pub mod args;
mod file;
mod rewrite;
mod similar;
#[cfg(test)]
mod tests;
pub(crate) mod users;

pub use file::{Sources, load, with_options};
pub use rewrite::{Extent, RewriteError, rewrite, rewrite_locked};

//! The libraries of scripts.
//!
//! A library of Rust is a table of functions over values of Lua. Those of PUC Lua that are safe as
//! they are stay as they are; the prelude puts both together.

pub(crate) mod base;
pub(crate) mod bit;
pub(crate) mod cjson;
pub(crate) mod cmsgpack;
pub(crate) mod math;
pub(crate) mod server;
pub(crate) mod string;
pub(crate) mod structs;
pub(crate) mod table;

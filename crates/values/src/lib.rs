//! What a key can hold, and the table that finds it.

pub mod table;

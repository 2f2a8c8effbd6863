//! Lodestore.
fn main() {}

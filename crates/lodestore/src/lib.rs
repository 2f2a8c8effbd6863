//! Lodestore.

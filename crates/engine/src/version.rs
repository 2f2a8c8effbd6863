//! The versions that the server names.

/// The default of `redis-version`: clients decide by it what they may use. Every command of this
/// version on the types that are there is there.
pub const REDIS_VERSION: &str = "8.4.0";
/// The version of Valkey whose commands this server implements.
pub const VALKEY_VERSION: &str = "9.1.2";
/// Lodestore's own version.
pub const LODESTORE_VERSION: &str = env!("CARGO_PKG_VERSION");

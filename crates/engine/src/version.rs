//! The versions that the server names.

/// The version of Redis whose commands this server implements; clients decide by it what they may
/// use.
pub const REDIS_VERSION: &str = "7.2.4";
/// The version of Valkey whose commands this server implements.
pub const VALKEY_VERSION: &str = "9.1.2";
/// Lodestore's own version.
pub const LODESTORE_VERSION: &str = env!("CARGO_PKG_VERSION");

//! What a VM may use, and as what the server introduces itself to scripts.

/// Bounds of a VM and of its runs.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that the Lua heap may have during a run, 0 for no bound.
    pub memory: usize,
    /// Versions and names that scripts read from `redis` and `server`.
    pub identity: Identity,
}

impl Limits {
    /// Instructions between two questions to [`Host::interrupt`](crate::Host::interrupt). Ten
    /// thousand take about 50 microseconds, so that a kill is prompt and the question is free.
    pub const INSTRUCTIONS_PER_INTERRUPT: u32 = 10_000;
}

/// As what the server introduces itself to scripts.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `redis.SERVER_NAME`.
    pub server_name: String,
    /// `redis.REDIS_VERSION`, as `7.2.4`; `REDIS_VERSION_NUM` is derived from it.
    pub redis_version: String,
    /// `redis.VALKEY_VERSION`, as `9.1.2`; `VALKEY_VERSION_NUM` is derived from it.
    pub valkey_version: String,
}

/// `major << 16 | minor << 8 | patch` of a version as `9.1.2`; parts that are no numbers are 0.
pub(crate) fn version_number(version: &str) -> u32 {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0_u32));
    (0..3).fold(0, |number, _| {
        number << 8 | (parts.next().unwrap_or(0) & 0xff)
    })
}

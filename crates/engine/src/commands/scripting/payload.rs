//! Payloads of FUNCTION DUMP: libraries as in RDB, then the footer.

use crc_fast::{CrcAlgorithm, checksum};
use persist::rdb::{self, RdbCause, RestoreError, Version};

use crate::config::{Config, P};
use crate::engine::Engine;
use crate::rdb_options::restore_options;
use crate::scripts::Libraries;

/// All libraries as one payload, in the first version of `rdb-version`.
pub(super) fn dump(config: &Config, libraries: &Libraries) -> Vec<u8> {
    let mut payload = Vec::new();
    let compression = config.bool(P::RdbCompression);
    for library in libraries.iter() {
        rdb::function(&library.code, compression, &mut payload);
    }
    let version = config.rdb_versions().first().copied();
    // Version and checksum, both little-endian.
    payload.extend_from_slice(&version.unwrap_or(Version::V11).0.to_le_bytes());
    let crc = checksum(CrcAlgorithm::Crc64Redis, &payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    payload
}

/// The texts of the libraries in a payload. `trusted`: it comes from the log.
///
/// # Errors
/// It is no such payload: the text behind `ERR `.
pub(super) fn restore(
    engine: &Engine,
    payload: &[u8],
    trusted: bool,
) -> Result<Vec<Box<[u8]>>, Vec<u8>> {
    let restored = rdb::functions(payload, &restore_options(engine, trusted));
    restored.map_err(|error| {
        let text = match error {
            RestoreError::Footer => return error.to_string().into_bytes(),
            RestoreError::Data(RdbCause::Type { .. }) => "given type is not a function",
            _ => "failed loading the given functions payload",
        };
        text.as_bytes().to_vec()
    })
}

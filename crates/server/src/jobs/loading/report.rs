//! Messages about a snapshot that cannot be loaded, in Redis's words, which tools search for.

use std::fmt::Write;
use std::path::Path;

use persist::rdb::{RdbCause, RdbError};

use super::SnapshotError;
use crate::os::os_text;
use crate::server::Server;
use engine::config::P;

/// Logs why the snapshot of a start cannot be loaded.
pub(super) fn log(server: &Server, path: &Path, error: &SnapshotError) {
    let error = match error {
        SnapshotError::Data(error) => error,
        SnapshotError::Open(error) => {
            let (path, text) = (path.display(), os_text(error));
            log::warn!("Fatal error: can't open the RDB file {path} for reading: {text}");
            return;
        }
    };
    let offset = error.offset;
    let detail = match &error.cause {
        RdbCause::Refused(reason) => {
            log::warn!("{reason}");
            return;
        }
        RdbCause::Signature(_) | RdbCause::Version(_) | RdbCause::Type { .. } => {
            log::warn!("{}{}", error.cause, place(server, error));
            return;
        }
        RdbCause::Module(_) | RdbCause::ModuleAux(_) => {
            // Users need the name of the key that has to be removed.
            log::warn!("{}{}", error.cause, place_text(error, false));
            log::warn!("With 'rdb-module-values skip' data of modules is left out.");
            return;
        }
        RdbCause::Truncated => {
            log::warn!("Short read or OOM loading DB. Unrecoverable error, aborting now.");
            "Unexpected EOF reading RDB file".to_owned()
        }
        RdbCause::Checksum { .. } => {
            log::warn!("{}", error.cause);
            "RDB CRC error".to_owned()
        }
        cause => cause.to_string(),
    };
    log::warn!("Internal error in RDB reading offset {offset} -> {detail}");
    log::warn!("--- RDB ERROR DETECTED ---");
    log::warn!("[offset {offset}] {detail}{}", place(server, error));
    log::warn!("Terminating server after rdb file reading failure.");
}

/// Logs why a snapshot cannot be loaded as it arrives.
pub(super) fn log_stream(error: &RdbError) {
    let (offset, cause) = (error.offset, &error.cause);
    if error.is_truncated() || matches!(cause, RdbCause::Io(_)) {
        log::warn!("Short read or OOM loading DB. Unrecoverable error, aborting now.");
        log::warn!(
            "Internal error in RDB reading offset {offset} -> Unexpected EOF reading RDB file"
        );
    } else {
        log::warn!("Internal error in RDB reading offset {offset} -> {cause}");
    }
}

/// Describes which value was being read. Keys are escaped, because they are user data.
fn place(server: &Server, error: &RdbError) -> String {
    place_text(error, server.engine.config.bool(P::HideUserDataFromLog))
}

fn place_text(error: &RdbError, hides_data: bool) -> String {
    let Some(place) = &error.place else {
        return String::new();
    };
    let mut text = format!(" (database {}", place.db);
    if !hides_data {
        // Writing to a string does not fail.
        let _ = write!(text, ", key '{}'", place.key.escape_ascii());
    }
    let _ = write!(text, ", type {})", place.code);
    text
}

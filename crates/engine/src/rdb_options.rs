//! The options for writing and reading RDB, from the configuration.

use std::sync::atomic::Ordering;

use keyspace::ValueRef;
use persist::rdb::{self, LoadOptions, NoForm, SaveOptions, Version};

use crate::config::{Config, P, RdbVersionCheck};
use crate::engine::Engine;

/// How a file is written: in the first of `versions`, which come before those of `rdb-version`,
/// that has a form for what there is. When none has one, in the first of all, and writing such
/// values is an error.
pub fn save_options(
    config: &Config,
    mut versions: Vec<Version>,
    field_deadlines: bool,
) -> SaveOptions {
    versions.extend(config.rdb_versions());
    let fits = |version: &Version| !field_deadlines || *version >= Version::V12;
    let chosen = versions.iter().find(|version| fits(version));
    options(config, chosen.or(versions.first()).copied())
}

fn options(config: &Config, version: Option<Version>) -> SaveOptions {
    SaveOptions {
        version: version.unwrap_or(Version::V11),
        compression: config.bool(P::RdbCompression),
        checksum: config.bool(P::RdbChecksum),
    }
}

/// Appends the DUMP payload of a value, in the first version of `rdb-version` that has a form for
/// it.
///
/// # Errors
/// No version has a form for the value.
pub fn dump(config: &Config, value: &ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), NoForm> {
    let mut result = Ok(());
    for version in config.rdb_versions() {
        result = rdb::dump(value, &options(config, Some(version)), out);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// How the payload of RESTORE is read. `trusted`: it comes from the log, so RESTORE has accepted it
/// before.
pub fn restore_options(engine: &Engine, trusted: bool) -> LoadOptions {
    let config = &engine.config;
    let relaxed = config.choice::<RdbVersionCheck>(P::RdbVersionCheck) == RdbVersionCheck::Relaxed;
    let skip = &engine.switches.skip_checksum_validation;
    LoadOptions {
        thresholds: config.thresholds(),
        checksum: !skip.load(Ordering::Relaxed),
        any_version: trusted || relaxed,
        skip_modules: false,
        count_streams: false,
        max_string: config.size(P::ProtoMaxBulkLen),
    }
}

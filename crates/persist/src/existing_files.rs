//! The files of a working directory when a server starts: a log, a snapshot, or both, and which
//! program wrote the snapshot. The server decides which of them it loads.

use crate::directory::{Directory, DirectoryError};
use crate::heads::holds_nothing;
use crate::options::LogOptions;
use crate::storage::{OpenMode, Storage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use crate::heads::{SIGNATURE_BYTES, Source, Writer, check_head, check_signature, writer};

/// A log that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExistingLog {
    /// When one of its files was last changed.
    pub changed: SystemTime,
    /// Nothing was ever written to it, so it counts as no log. A log that was rewritten is not
    /// blank, even without any data.
    pub is_blank: bool,
}

/// The log of the directory, `None` when there is none: neither a manifest nor a single file as
/// Redis 6 and older kept it.
pub fn log(storage: Arc<dyn Storage>, options: &LogOptions) -> Option<ExistingLog> {
    let directory = Directory::read_only(storage, options);
    let storage = &*directory.storage;
    let old_style = options.dir.join(&options.appendfilename);
    let manifest = directory.path_of(format!("{}.manifest", options.appendfilename));
    let mut changed = [&old_style, &manifest]
        .into_iter()
        .filter_map(|path| changed(storage, path))
        .max()?;
    let mut is_blank = !exists(storage, &old_style);
    match directory.manifest() {
        Ok(manifest) => {
            for file in manifest.live() {
                let path = directory.path_of(file);
                changed = self::changed(storage, &path).map_or(changed, |time| time.max(changed));
                is_blank &= file.seq == 1 && holds_nothing(storage, &path).unwrap_or(false);
            }
        }
        // Loading it fails with the reason.
        Err(_) => is_blank = false,
    }
    Some(ExistingLog { changed, is_blank })
}

/// When a file was last changed, `None` when there is none.
pub fn changed(storage: &dyn Storage, path: &Path) -> Option<SystemTime> {
    storage.modified(path).ok()
}

/// Whether there is a file or a directory with this name.
fn exists(storage: &dyn Storage, path: &Path) -> bool {
    storage.open(path, OpenMode::Read).is_ok() || storage.list(path).is_ok()
}

/// Moves the log out of the way by adding `suffix` to the names of its directory, or of its single
/// file. Returns the new names.
///
/// # Errors
/// Another server uses it, or the system refuses.
pub fn set_log_aside(
    storage: &Arc<dyn Storage>,
    options: &LogOptions,
    suffix: &str,
) -> Result<Vec<PathBuf>, DirectoryError> {
    let mut moved = Vec::new();
    // The lock of the directory stays held under the new name.
    let directory = options.dir.join(&options.appenddirname);
    let _locked = match storage.list(&directory).is_ok() {
        true => Some(Directory::open(storage.clone(), options, Arc::default())?),
        false => None,
    };
    for name in [&options.appenddirname, &options.appendfilename] {
        let from = options.dir.join(name);
        if !exists(&**storage, &from) {
            continue;
        }
        let to = free_name(&**storage, &options.dir.join(format!("{name}.{suffix}")));
        let renamed = storage
            .rename(&from, &to)
            .and_then(|()| storage.sync_dir(&options.dir));
        renamed.map_err(|error| {
            let what = format!("Can't move {} to {}", from.display(), to.display());
            DirectoryError::Io(what, error)
        })?;
        moved.push(to);
    }
    Ok(moved)
}

fn free_name(storage: &dyn Storage, wanted: &Path) -> PathBuf {
    let mut name = wanted.to_owned();
    let mut number = 1;
    while exists(storage, &name) {
        number += 1;
        name = PathBuf::from(format!("{}-{number}", wanted.display()));
    }
    name
}

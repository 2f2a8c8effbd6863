//! Superseded bases and increments that are kept for a while (`aof-history-seconds`).
//!
//! ```text
//! appendonlydir/appendonly.aof.manifest              in force
//! appendonlydir/history/appendonly.aof.7.manifest    base 7 and the increments behind it
//! appendonlydir/history/appendonly.aof.7.base.rdb
//! appendonlydir/history/appendonly.aof.9.incr.aof
//! ```
//!
//! Redis and Valkey remove what a manifest calls history when they start, so these files stand
//! apart, each base with a manifest of its own: a chain. Its first line has the time when it was
//! superseded. The manifest of a chain is written before the manifest in force changes, and its
//! files are moved afterwards; after a crash the next look at the history moves the rest.

use crate::directory::Directory;
use crate::manifest::{FileInfo, Manifest};
use crate::storage::{OpenMode, append_all, errno_text, read_full};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const DIR: &str = "history";
const SUPERSEDED: &str = "# superseded ";
/// Longest manifest of a chain, in bytes; a longer file is not one.
const MANIFEST_MAX: u64 = 1 << 20;

/// A base that is not in force any more, with its increments.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) manifest: Manifest,
    /// Unix seconds.
    superseded: u64,
    name: OsString,
}

impl Directory {
    pub(crate) fn history_path(&self) -> PathBuf {
        self.path_of(DIR)
    }

    /// Writes the manifest of a chain that is about to be superseded, when history is kept.
    pub(crate) fn note_chain(&self, chain: &Manifest) {
        let Some(base) = chain.base.as_ref().filter(|_| self.history_seconds() > 0) else {
            return;
        };
        let path = self.history_path();
        let name = format!("{}.{}.manifest", self.filename, base.seq);
        let mut text = format!("{SUPERSEDED}{}\n", self.clock.wall_s()).into_bytes();
        text.extend_from_slice(&chain.to_text());
        let written = self.storage.make_dir(&path).and_then(|()| {
            let file = self.storage.open(&path.join(&name), OpenMode::Create)?;
            append_all(&*file, &text).map_err(|(_, error)| error)?;
            file.sync_data()?;
            self.storage.sync_dir(&path)?;
            self.storage.sync_dir(&self.path)
        });
        if let Err(error) = written {
            let text = errno_text(&error);
            log::warn!(
                "AOF history: {name} can't be written, and what it names is not kept: {text}"
            );
        }
    }

    /// All chains, the oldest first.
    pub(crate) fn chains(&self) -> Vec<Chain> {
        let path = self.history_path();
        let prefix = format!("{}.", self.filename);
        let mut chains = Vec::new();
        for name in self.storage.list(&path).unwrap_or_default() {
            let bytes = name.as_bytes();
            if !bytes.starts_with(prefix.as_bytes()) || !bytes.ends_with(b".manifest") {
                continue;
            }
            match self.read_chain(name.clone()) {
                Ok(chain) => chains.push(chain),
                Err(reason) => log::warn!("AOF history: {}: {reason}", name.to_string_lossy()),
            }
        }
        chains.sort_by_key(|chain| chain.manifest.base.as_ref().map_or(0, |base| base.seq));
        chains
    }

    fn read_chain(&self, name: OsString) -> Result<Chain, String> {
        let path = self.history_path().join(&name);
        let text = self.storage.open(&path, OpenMode::Read).and_then(|file| {
            let mut text = vec![0; file.len()?.min(MANIFEST_MAX) as usize];
            let read = read_full(&*file, 0, &mut text)?;
            text.truncate(read);
            Ok(text)
        });
        let text = text.map_err(|error| errno_text(&error))?;
        let manifest = Manifest::parse(&text).map_err(|error| error.to_string())?;
        let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let superseded = first
            .strip_prefix(SUPERSEDED.as_bytes())
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        Ok(Chain {
            manifest,
            superseded: superseded.ok_or("it does not say since when it is superseded")?,
            name,
        })
    }

    /// Moves superseded files to their chains; returns those that were moved.
    pub(crate) fn archive(&self, history: &[FileInfo]) -> Vec<FileInfo> {
        if history.is_empty() || self.history_seconds() == 0 {
            return Vec::new();
        }
        let chains = self.chains();
        let named: BTreeSet<&OsString> = chains
            .iter()
            .flat_map(|chain| chain.manifest.live().map(|info| &info.name))
            .collect();
        let mut moved = Vec::new();
        for info in history.iter().filter(|info| named.contains(&info.name)) {
            let to = self.history_path().join(&info.name);
            match self.storage.rename(&self.path_of(info), &to) {
                Ok(()) => moved.push(info.clone()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let (name, text) = (info.display(), errno_text(&error));
                    log::warn!("AOF history: {name} can't be kept: {text}");
                }
            }
        }
        if !moved.is_empty() {
            let synced = self.storage.sync_dir(&self.history_path());
            if let Err(error) = synced.and_then(|()| self.storage.sync_dir(&self.path)) {
                log::warn!("Fail to fsync AOF directory: {}", errno_text(&error));
            }
        }
        moved
    }

    /// Removes chains that are too old, and files of history that no chain names.
    pub(crate) fn expire_history(&self, live: &Manifest) {
        let path = self.history_path();
        let Ok(names) = self.storage.list(&path) else {
            return;
        };
        let oldest = self.clock.wall_s().saturating_sub(self.history_seconds());
        let keeps_none = self.history_seconds() == 0;
        let mut kept = BTreeSet::new();
        for chain in self.chains() {
            let was_undone = chain.manifest.base == live.base;
            if keeps_none || chain.superseded < oldest || was_undone {
                continue;
            }
            kept.extend(chain.manifest.live().map(|info| info.name.clone()));
            kept.insert(chain.name);
        }
        for name in names {
            if !kept.contains(&name) {
                log::info!("Removing {} from the AOF history", name.to_string_lossy());
                self.discard(&path.join(&name));
            }
        }
    }
}

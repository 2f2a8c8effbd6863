//! Files in memory, for tests and simulation.

use super::{File, LockGuard, OpenMode, Storage};
use crate::sync::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The contents of one file: handles keep it alive after its name is gone, as an inode is.
pub(super) type Node = Arc<Mutex<Vec<u8>>>;

/// A file system in memory; clones share it.
#[derive(Clone, Default)]
pub struct Memory {
    tree: Arc<Mutex<Tree>>,
}

/// Names. Every directory that was made is listed; the root and "" always exist.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) files: BTreeMap<PathBuf, Node>,
    locked: BTreeSet<PathBuf>,
}

struct MemoryLock {
    tree: Arc<Mutex<Tree>>,
    path: PathBuf,
}

impl Memory {
    /// An empty file system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The contents of a file, when there is one.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let node = lock(&self.tree).files.get(path.as_ref()).cloned()?;
        let data = lock(&node).clone();
        Some(data)
    }

    /// Puts a file with these contents there, with its directory.
    pub fn write(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = path.as_ref();
        let mut tree = lock(&self.tree);
        if let Some(parent) = path.parent() {
            tree.dirs.insert(parent.to_owned());
        }
        tree.files
            .insert(path.to_owned(), Arc::new(Mutex::new(bytes.to_vec())));
    }

    pub(super) fn from_tree(dirs: BTreeSet<PathBuf>, files: BTreeMap<PathBuf, Node>) -> Self {
        let tree = Tree {
            dirs,
            files,
            locked: BTreeSet::new(),
        };
        Self {
            tree: Arc::new(Mutex::new(tree)),
        }
    }

    /// A look at, or a change of, the names.
    pub(super) fn with_tree<R>(&self, f: impl FnOnce(&mut Tree) -> R) -> R {
        f(&mut lock(&self.tree))
    }

    pub(super) fn open_node(&self, path: &Path, mode: OpenMode) -> io::Result<Node> {
        let mut tree = lock(&self.tree);
        if let Some(node) = tree.files.get(path) {
            if mode == OpenMode::Create {
                lock(node).clear();
            }
            return Ok(node.clone());
        }
        if mode == OpenMode::Read || !tree.has_dir(path.parent()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let node = Node::default();
        tree.files.insert(path.to_owned(), node.clone());
        Ok(node)
    }
}

impl Tree {
    fn has_dir(&self, dir: Option<&Path>) -> bool {
        dir.is_none_or(|dir| dir.parent().is_none() || self.dirs.contains(dir))
    }
}

impl Storage for Memory {
    /// There are no times in memory: the Unix epoch for every file.
    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        let is_there = lock(&self.tree).files.contains_key(path);
        let time = is_there.then_some(SystemTime::UNIX_EPOCH);
        time.ok_or(io::ErrorKind::NotFound.into())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_node(path, mode)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = lock(&self.tree);
        let node = tree.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        tree.files.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match lock(&self.tree).files.remove(path) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let tree = lock(&self.tree);
        if !tree.has_dir(Some(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = tree
            .files
            .keys()
            .chain(&tree.dirs)
            .filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| path.file_name())
            .map(OsString::from)
            .collect())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        lock(&self.tree).dirs.insert(dir.to_owned());
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        if !lock(&self.tree).locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock {
            tree: self.tree.clone(),
            path: path.to_owned(),
        }))
    }
}

impl File for Node {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(self).len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let data = lock(self);
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(data.len());
        let n = buffer.len().min(data.len() - start);
        buffer[..n].copy_from_slice(&data[start..start + n]);
        Ok(n)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        lock(self).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        lock(self).resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

impl LockGuard for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        lock(&self.tree).locked.remove(&self.path);
    }
}

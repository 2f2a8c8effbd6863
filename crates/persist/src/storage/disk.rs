//! The real disk, through `std::fs`.

use super::{File, LockGuard, OpenMode, Storage};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

struct DiskFile(fs::File);

/// `flock` belongs to the open file: the kernel releases it when the process ends in any way.
struct DiskLock(#[allow(dead_code, reason = "kept open for the lock")] fs::File);

impl Storage for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = match mode {
            OpenMode::Read => fs::File::open(path)?,
            OpenMode::Append => fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)?,
            OpenMode::Create => create(path)?,
        };
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        fs::metadata(path)?.modified()
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            result => result,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // The parent of a bare file name is the empty path, which stands for ".".
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Box::new(DiskLock(file)))
    }
}

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        retry_interrupted(|| self.0.read_at(buffer, offset))
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        retry_interrupted(|| (&self.0).write(bytes))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl LockGuard for DiskLock {}

/// Attempts to make a file whose name another process takes again and again.
const CREATE_TRIES: usize = 8;

/// Makes a file that no other process has open (O_EXCL), and not through a symbolic link
/// (O_NOFOLLOW), which may stand there to have another file of the server's user emptied. A file of
/// the name is removed first: another name that it has, in a backup, keeps its contents.
fn create(path: &Path) -> io::Result<fs::File> {
    let mut tries = 0;
    loop {
        let made = fs::OpenOptions::new()
            .append(true)
            .create_new(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path);
        tries += 1;
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < CREATE_TRIES => {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            made => return made,
        }
    }
}

fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_made_is_nobody_elses() {
        let dir = std::env::temp_dir().join(format!("lodestore-disk-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let (other, path) = (dir.join("other"), dir.join("temp"));
        fs::write(&other, b"kept").expect("a file");
        // A symbolic link is replaced, and not followed.
        std::os::unix::fs::symlink(&other, &path).expect("a link");
        let file = Disk.open(&path, OpenMode::Create).expect("made");
        file.append(b"new").expect("written");
        assert_eq!(fs::read(&other).expect("read"), b"kept");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        // A second name of a file keeps what it holds.
        Disk.link(&path, &dir.join("backup")).expect("linked");
        let file = Disk.open(&path, OpenMode::Create).expect("made");
        assert!(file.is_empty().expect("a length"));
        assert_eq!(fs::read(dir.join("backup")).expect("read"), b"new");
        fs::remove_dir_all(&dir).expect("removed");
    }
}

//! The pid file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::os_text;

/// A pid file; gone again when this is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the process's id. A failure is logged and otherwise harmless, so the server starts
    /// without the file.
    #[must_use]
    pub(crate) fn write(path: &Path) -> Option<PidFile> {
        // A symbolic link could lead to any file of the server's user.
        let written = fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .and_then(|mut file| writeln!(file, "{}", std::process::id()));
        match written {
            Ok(()) => Some(PidFile {
                path: path.to_path_buf(),
            }),
            Err(error) => {
                log::warn!("Failed to write PID file: {}", os_text(&error));
                None
            }
        }
    }
}

impl Drop for PidFile {
    /// Leaves alone what another server has written in the meantime.
    fn drop(&mut self) {
        let ours = std::process::id().to_string();
        if fs::read_to_string(&self.path).is_ok_and(|pid| pid.trim() == ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("lodestore-process-{}-{name}", std::process::id()))
    }

    #[test]
    fn pid_file_comes_and_goes() {
        let path = temporary("pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        drop(file);
        assert!(!path.exists());

        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists(), "the file of another process stays");
        fs::remove_file(&path).unwrap();
        assert!(PidFile::write(Path::new("/nowhere/at/all")).is_none());
    }
}

//! The process and the operating system: pid file, supervisor, limits, title, going to the
//! background.

pub(crate) mod crash;
pub(crate) mod huge_pages;
mod oom_score;
mod open_files;
mod pid_file;
mod supervisor;
pub(crate) mod sys;
mod title;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

pub(crate) use persist::storage::errno_text as os_text;

pub use crash::report_crashes;
pub(crate) use oom_score::apply_oom_score;
pub(crate) use open_files::raise_open_files;
pub(crate) use pid_file::PidFile;
pub(crate) use supervisor::Supervisor;
pub use title::take_title;
pub(crate) use title::update_title;

/// How much less of a contended processor a snapshot gets than clients do: at five steps about a
/// quarter.
const BACKGROUND_STEPS: i32 = 5;

/// The calling thread works in the background from now on: where there are more threads than
/// processors, those that serve clients go first.
pub(crate) fn lower_thread_priority() {
    sys::lower_thread_priority(BACKGROUND_STEPS);
}

/// Signals that would end the process, and that nothing here uses. SIGXFSZ among them: a file that
/// has grown to the limit is then an error of its write, as a full disk is.
const UNUSED_SIGNALS: [libc::c_int; 8] = [
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGXFSZ,
    libc::SIGPIPE,
];

/// Ignores signals that are not used: their default is the end of the process.
pub(crate) fn ignore_unused_signals() {
    sys::ignore_signals(&UNUSED_SIGNALS);
}

/// Whether there is a process with this number, of any user.
pub(crate) fn is_running(pid: u32) -> bool {
    sys::is_running(pid)
}

/// Goes on as a background process of its own session, with standard streams from and to nowhere.
/// To be called before any thread exists and before the log is opened.
pub fn daemonize() -> io::Result<()> {
    sys::daemonize()
}

/// Gives a unix socket its `unixsocketperm` (0 leaves it to the umask) and its `unixsocketgroup`
/// (empty leaves it).
pub(crate) fn set_socket_owner(path: &Path, permissions: u32, group: &str) -> Result<(), String> {
    if permissions != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(permissions))
            .map_err(|error| format!("chmod: {}", os_text(&error)))?;
    }
    if !group.is_empty() {
        let id = match group.parse::<u32>() {
            Ok(id) => id,
            Err(_) => sys::group_id(group).ok_or_else(|| format!("unknown group '{group}'"))?,
        };
        chown(path, None, Some(id)).map_err(|error| format!("chown: {}", os_text(&error)))?;
    }
    Ok(())
}

/// Turns transparent huge pages off for this process (`disable-thp`): they make page faults and
/// freed memory cost more. With `but_requested` those stay possible that the process requests for
/// memory that is full; where the kernel cannot tell these apart, nothing is switched off unless
/// page faults would make huge pages.
pub fn disable_huge_pages(but_requested: bool) {
    let mut result = sys::disable_huge_pages(but_requested);
    if but_requested && result.is_err() {
        result = match huge_pages::are_made_by_faults() {
            true => sys::disable_huge_pages(false),
            false => Ok(()),
        };
    }
    if let Err(error) = result {
        log::warn!(
            "Failed to disable transparent huge pages: {}",
            os_text(&error)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("lodestore-process-{}-{name}", std::process::id()))
    }

    #[test]
    fn socket_permissions() {
        let path = temporary("socket");
        fs::write(&path, "").unwrap();
        set_socket_owner(&path, 0o600, "").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let error = set_socket_owner(&path, 0, "no such group").unwrap_err();
        assert_eq!(error, "unknown group 'no such group'");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn errors_read_like_c() {
        assert_eq!(
            os_text(&io::Error::from_raw_os_error(libc::ENOENT)),
            "No such file or directory"
        );
        assert_eq!(
            os_text(&io::Error::other("x (os error 3)")),
            "x (os error 3)"
        );
    }
}

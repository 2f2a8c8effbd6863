//! The supervisor that started the process: upstart or systemd.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::{os_text, sys};
use engine::config::Supervised;

/// The supervisor that started the process and gets its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supervisor {
    /// No supervisor.
    None,
    /// Upstart's `expect stop`.
    Upstart,
    /// systemd's `Type=notify`.
    Systemd,
}

impl Supervisor {
    /// The supervisor, given the `supervised` parameter and the environment. A supervised server
    /// does not daemonize.
    #[must_use]
    pub(crate) fn detect(mode: Supervised) -> Supervisor {
        let is_set = |variable| std::env::var_os(variable).is_some();
        match mode {
            Supervised::No => Supervisor::None,
            Supervised::Auto if is_set("UPSTART_JOB") => Supervisor::Upstart,
            Supervised::Auto if is_set("NOTIFY_SOCKET") => Supervisor::Systemd,
            Supervised::Auto => Supervisor::None,
            Supervised::Upstart if is_set("UPSTART_JOB") => Supervisor::Upstart,
            Supervised::Systemd if is_set("NOTIFY_SOCKET") => Supervisor::Systemd,
            Supervised::Upstart => {
                log::warn!("Upstart supervision requested, but UPSTART_JOB is not set");
                Supervisor::None
            }
            Supervised::Systemd => {
                log::warn!(
                    "systemd supervision requested or auto-detected, but NOTIFY_SOCKET is not set"
                );
                Supervisor::None
            }
        }
    }

    /// The server accepts connections.
    pub(crate) fn ready(self) {
        match self {
            Supervisor::None => {}
            Supervisor::Upstart => {
                log::info!("Supervised by upstart, will stop to signal readiness.");
                sys::stop_self();
            }
            Supervisor::Systemd => self.notify("STATUS=Ready to accept connections\nREADY=1\n"),
        }
    }

    /// The server is on its way down.
    pub(crate) fn stopping(self) {
        self.notify("STOPPING=1\n");
    }

    /// Sends `state`, lines of `NAME=value`, to systemd. Does nothing for other supervisors.
    pub(crate) fn notify(self, state: &str) {
        if self == Supervisor::Systemd
            && let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
            && let Err(error) = send_to_supervisor(&socket, state)
        {
            log::warn!("systemd supervision error: {}", os_text(&error));
        }
    }
}

/// The protocol of sd_notify(3): one datagram to a unix socket, whose name starts with `@` when it
/// is abstract.
fn send_to_supervisor(socket: &std::ffi::OsStr, state: &str) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let address = match socket.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(socket)?,
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)?
        }
        _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
    };
    let sender = UnixDatagram::unbound()?;
    // A supervisor that does not read must not hold up the server.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("lodestore-process-{}-{name}", std::process::id()))
    }

    #[test]
    fn systemd_hears_one_datagram() {
        let path = temporary("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send_to_supervisor(path.as_os_str(), "READY=1\n").unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\n");
        fs::remove_file(&path).unwrap();
        assert!(send_to_supervisor("relative".as_ref(), "READY=1").is_err());
    }
}

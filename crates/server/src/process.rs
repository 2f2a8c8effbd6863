//! The process around the server: going to the background, pid file, supervisors, limits of the operating system.
//!
//! Everything here is called from `main`, or from the one place that applies a changed parameter, never while
//! commands run.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

pub use persist::storage::errno_text as os_text;

use engine::config::{Config, OomScoreAdj, OomScores, P, Supervised};

pub(crate) mod sys;

/// Where the pid goes when the server is in the background and `pidfile` is empty.
pub const DEFAULT_PID_FILE: &str = "/var/run/lodestore.pid";

/// File descriptors the server needs besides those of clients: listeners, event loops, the log, snapshots.
pub const RESERVED_FILES: u64 = 32;

/// How much less of a contended processor a snapshot gets than clients do: at five steps about a quarter.
const BACKGROUND_STEPS: i32 = 5;

/// The calling thread works in the background from now on: where there are more threads than processors, those
/// that serve clients go first.
pub fn lower_thread_priority() {
    sys::lower_thread_priority(BACKGROUND_STEPS);
}

/// Whether there is a process with this number, anybody's.
pub fn is_running(pid: u32) -> bool {
    sys::is_running(pid)
}

/// Goes on as a background process of its own session, with standard streams from and to nowhere. To be called before
/// any thread exists and before the log is opened.
pub fn daemonize() -> io::Result<()> {
    sys::daemonize()
}

/// The process's file mode creation mask.
#[must_use]
pub fn umask() -> u32 {
    sys::umask()
}

/// A pid file; gone again when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the process's id. A failure is logged and otherwise harmless, so the server starts without the file.
    #[must_use]
    pub fn write(path: &Path) -> Option<PidFile> {
        match fs::write(path, format!("{}\n", std::process::id())) {
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

/// The supervisor that started the process and hears of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supervisor {
    /// Nobody.
    None,
    /// Upstart's `expect stop`.
    Upstart,
    /// systemd's `Type=notify`.
    Systemd,
}

impl Supervisor {
    /// Who supervises, given the `supervised` parameter and the environment. A supervised server does not daemonize.
    #[must_use]
    pub fn detect(mode: Supervised) -> Supervisor {
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
    pub fn ready(self) {
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
    pub fn stopping(self) {
        self.notify("STOPPING=1\n");
    }

    /// Tells systemd `state`: lines of `NAME=value`. Others are told nothing.
    pub fn notify(self, state: &str) {
        if self == Supervisor::Systemd
            && let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
            && let Err(error) = send_to_supervisor(&socket, state)
        {
            log::warn!("systemd supervision error: {}", os_text(&error));
        }
    }
}

/// The protocol of sd_notify(3): one datagram to a unix socket, whose name starts with `@` when it is abstract.
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

/// Raises the limit of open files to what `max_clients` clients need. The answer is how many clients there can be,
/// fewer than asked when the system does not allow that many files; an error is a limit too low for any.
pub fn raise_open_files(max_clients: u64) -> Result<u64, String> {
    let wanted = max_clients.saturating_add(RESERVED_FILES);
    let limit = match sys::open_files() {
        Ok(limit) => limit,
        Err(error) => {
            log::warn!(
                "Unable to obtain the current NOFILE limit ({}), assuming 1024 and setting the max clients \
                 configuration accordingly.",
                os_text(&error)
            );
            return Ok(max_clients.min(1024 - RESERVED_FILES));
        }
    };
    if limit.soft >= wanted {
        return Ok(max_clients);
    }
    let (reached, refusal) = raise_as_far_as_possible(limit, wanted);
    if reached >= wanted {
        log::info!(
            "Increased maximum number of open files to {wanted} (it was originally set to {}).",
            limit.soft
        );
        return Ok(max_clients);
    }
    if reached <= RESERVED_FILES {
        return Err(format!(
            "Your current 'ulimit -n' of {} is not enough for the server to start. Please increase your open file \
             limit to at least {wanted}. Exiting.",
            limit.soft
        ));
    }
    let clients = reached - RESERVED_FILES;
    log::warn!(
        "You requested maxclients of {max_clients} requiring at least {wanted} max file descriptors."
    );
    log::warn!("Server can't set maximum open files to {wanted} because of OS error: {refusal}.");
    log::warn!(
        "Current maximum open files is {reached}. maxclients has been reduced to {clients} to compensate for low \
         ulimit. If you need higher maxclients increase 'ulimit -n'."
    );
    Ok(clients)
}

/// First with the hard limit raised too, which only root may, then up to the hard limit.
fn raise_as_far_as_possible(limit: sys::OpenFiles, wanted: u64) -> (u64, String) {
    let Err(refusal) = sys::set_open_files(sys::OpenFiles {
        soft: wanted,
        hard: wanted.max(limit.hard),
    }) else {
        return (wanted, String::new());
    };
    let most = wanted.min(limit.hard);
    let reached = match sys::set_open_files(sys::OpenFiles {
        soft: most,
        hard: limit.hard,
    }) {
        Ok(()) => most,
        Err(_) => limit.soft,
    };
    (reached.max(limit.soft), os_text(&refusal))
}

/// Gives a unix socket its `unixsocketperm` (0 leaves it to the umask) and its `unixsocketgroup` (empty leaves it).
pub fn set_socket_owner(path: &Path, permissions: u32, group: &str) -> Result<(), String> {
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

/// The role a process is scored for by `oom-score-adj-values`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomRole {
    /// A primary.
    Primary,
    /// A replica.
    Replica,
}

/// The kernel's out-of-memory score of this process, and what it was before the server touched it.
#[derive(Debug, Default)]
pub struct OomScore {
    /// The score before the server changed it; what relative values add to and what `no` returns to.
    base: Option<i64>,
}

impl OomScore {
    /// Sets the score as `oom-score-adj` asks. Nothing happens where there is no such thing as a score. The error is
    /// the reason CONFIG SET gives.
    pub fn apply(
        &mut self,
        mode: OomScoreAdj,
        values: OomScores,
        role: OomRole,
    ) -> Result<(), String> {
        if mode == OomScoreAdj::No && self.base.is_none() {
            return Ok(());
        }
        let base = *self
            .base
            .get_or_insert_with(|| read_oom_score().unwrap_or(0));
        let value = match role {
            OomRole::Primary => values.primary,
            OomRole::Replica => values.replica,
        };
        let score = match mode {
            OomScoreAdj::No => base,
            OomScoreAdj::Relative => base + value,
            OomScoreAdj::Absolute => value,
        };
        if mode == OomScoreAdj::No {
            self.base = None;
        }
        write_oom_score(score.clamp(-1000, 1000)).map_err(|error| {
            log::warn!("Unable to write oom_score_adj: {}", os_text(&error));
            "Failed to set current oom_score_adj. Check server logs.".to_owned()
        })
    }
}

/// There is one process, whatever number of servers live in it.
static OOM_SCORE: Mutex<OomScore> = Mutex::new(OomScore { base: None });

/// Sets the out-of-memory score of the process as the configuration asks.
pub fn apply_oom_score(config: &Config) -> Result<(), String> {
    OOM_SCORE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .apply(
            config.choice(P::OomScoreAdj),
            config.oom_scores(),
            OomRole::Primary,
        )
}

const OOM_SCORE_FILE: &str = "/proc/self/oom_score_adj";

fn read_oom_score() -> Option<i64> {
    fs::read_to_string(OOM_SCORE_FILE).ok()?.trim().parse().ok()
}

fn write_oom_score(score: i64) -> io::Result<()> {
    if !Path::new(OOM_SCORE_FILE).exists() {
        return Ok(());
    }
    fs::File::options()
        .write(true)
        .open(OOM_SCORE_FILE)?
        .write_all(score.to_string().as_bytes())
}

/// Turns transparent huge pages off for this process (`disable-thp`): they make copies and freed memory cost more.
pub fn disable_huge_pages() {
    if let Err(error) = sys::disable_huge_pages() {
        log::warn!(
            "Failed to disable transparent huge pages: {}",
            os_text(&error)
        );
    }
}

/// The longest process title, in bytes.
const TITLE_BYTES_MAX: usize = 4000;

static TITLE: OnceLock<Title> = OnceLock::new();

/// Makes the title of the process follow the configuration, if `set-proc-title` asks for it. To be called before any
/// other thread exists, and only by a program that is the server: a library has no business there.
pub fn take_title(config: &Config) {
    if !config.bool(P::SetProcTitle) {
        return;
    }
    let program = std::env::args_os().next().unwrap_or_default();
    if let Some(title) = Title::take(&program.to_string_lossy()) {
        TITLE.get_or_init(|| title).update(config);
    }
}

/// Shows what the configuration asks for now.
pub fn update_title(config: &Config) {
    if let Some(title) = TITLE.get() {
        title.update(config);
    }
}

/// What `ps` shows instead of the command line (`set-proc-title`, `proc-title-template`).
#[derive(Debug)]
pub struct Title {
    /// Where the kernel reads the command line: the title, a NUL, and at the very end a byte that is none, which tells
    /// the kernel that this is a title and not a list of arguments.
    buffer: &'static [AtomicU8],
    program: String,
}

impl Title {
    /// Takes the place of the command line of the process, which was started as `program`. To be called before any
    /// other thread exists. Nothing where the kernel does not offer this.
    #[must_use]
    pub fn take(program: &str) -> Option<Title> {
        let buffer: &'static [AtomicU8] = (0..TITLE_BYTES_MAX + 2)
            .map(|_| AtomicU8::new(0))
            .collect::<Vec<_>>()
            .leak();
        let title = Title {
            buffer,
            program: program.to_owned(),
        };
        title.buffer.last()?.store(1, Ordering::Relaxed);
        title.show(program);
        match move_command_line(buffer) {
            Ok(()) => Some(title),
            Err(error) => {
                log::debug!("The process title cannot be set: {}", os_text(&error));
                None
            }
        }
    }

    /// Shows what the configuration asks for.
    pub fn update(&self, config: &Config) {
        self.show(&expand_title(
            &config.text(P::ProcTitleTemplate),
            &self.program,
            config,
        ));
    }

    fn show(&self, title: &str) {
        let bytes = title
            .bytes()
            .take(TITLE_BYTES_MAX)
            .chain(std::iter::once(0));
        for (place, byte) in self.buffer.iter().zip(bytes) {
            place.store(byte, Ordering::Relaxed);
        }
    }
}

#[cfg(target_os = "linux")]
fn move_command_line(buffer: &'static [AtomicU8]) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
    let mut fields = [0; 52];
    for (field, text) in fields.iter_mut().skip(3).zip(rest.split_ascii_whitespace()) {
        *field = text.parse().unwrap_or(0);
    }
    sys::move_command_line(buffer, &fields)
}

#[cfg(not(target_os = "linux"))]
fn move_command_line(_buffer: &'static [AtomicU8]) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Fills in the variables of a title that `proc-title-template` accepted.
fn expand_title(template: &str, program: &str, config: &Config) -> String {
    let mut title = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        title.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            title.push('{');
            rest = after;
            continue;
        }
        let (variable, after) = after.split_once('}').unwrap_or((after, ""));
        title.push_str(&title_variable(variable, program, config));
        rest = after;
    }
    title.push_str(rest);
    title.trim_matches(' ').to_owned()
}

fn title_variable(variable: &str, program: &str, config: &Config) -> String {
    let (port, tls_port) = (config.int(P::Port), config.int(P::TlsPort));
    match variable {
        "title" => program.to_owned(),
        "listen-addr" if port == 0 && tls_port == 0 => {
            format!("unixsocket:{}", config.text(P::UnixSocket))
        }
        "listen-addr" => {
            let address = config.bind_addresses().into_iter().next();
            format!(
                "{}:{}",
                address.as_deref().unwrap_or("*"),
                if port == 0 { tls_port } else { port }
            )
        }
        "server-mode" if config.bool(P::ClusterEnabled) => "[cluster]".to_owned(),
        "config-file" => config
            .file()
            .map_or_else(|| "-".to_owned(), |file| file.display().to_string()),
        "port" => port.to_string(),
        "tls-port" => tls_port.to_string(),
        "unixsocket" => config.text(P::UnixSocket),
        _ => String::new(),
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
        assert!(path.exists(), "somebody else's file stays");
        fs::remove_file(&path).unwrap();
        assert!(PidFile::write(Path::new("/nowhere/at/all")).is_none());
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

    #[test]
    fn open_files_within_the_limit_change_nothing() {
        assert_eq!(raise_open_files(1), Ok(1));
        let clients = raise_open_files(1 << 40).unwrap();
        assert!(clients > 0);
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

    #[test]
    fn titles() {
        let options = [
            ("port", "7000"),
            ("bind", "127.0.0.1 ::1"),
            ("unixsocket", "/tmp/s"),
        ];
        let config = crate::config::with_options(&options).unwrap();
        let expand = |template| expand_title(template, "lodestore", &config);
        assert_eq!(
            expand("{title} {listen-addr} {server-mode}"),
            "lodestore 127.0.0.1:7000"
        );
        assert_eq!(
            expand("{{x} {port} {tls-port} {unixsocket} {config-file}"),
            "{x} 7000 0 /tmp/s -"
        );
    }

    #[test]
    fn oom_score_untouched_by_default() {
        let values = OomScores {
            primary: 0,
            replica: 200,
            child: 800,
        };
        OomScore::default()
            .apply(OomScoreAdj::No, values, OomRole::Primary)
            .unwrap();
    }
}

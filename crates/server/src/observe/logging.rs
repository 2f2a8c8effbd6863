//! The server's own messages: a [`log::Log`] that writes lines as Redis and Valkey do.
//!
//! ```text
//! 4711:M 20 Nov 2026 09:52:43.334 * Ready to accept connections tcp
//! ```
//!
//! is the process id, the role (M: a primary, S: a replica), the time, the level and the message.
//! The levels of Redis are those of the `log` crate under other names: debug is `trace!`, verbose
//! is `debug!`, notice is `info!`, warning is `warn!` and `error!`.
//!
//! A line never holds up the server for long. It has at most [`LINE_BYTES_MAX`] bytes, which a pipe
//! takes in one piece or not at all; when no process reads from the other end, lines are dropped
//! and counted, and the next line that gets through is preceded by their number. Only syslog(3) may
//! wait for its daemon.
//!
//! A log file may be moved or deleted by log rotation at any time: once a second, a write looks
//! whether the file at the path is still the open one, and opens a new one if not.

use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata as RecordMetadata, Record};

use crate::os::{crash, sys};
use engine::config::{Choice, Config, LogFormat, LogLevel, LogTimestamp, P};
use engine::engine::Engine;

/// The longest line, in bytes: what POSIX guarantees a pipe to take at once on Linux (PIPE_BUF).
const LINE_BYTES_MAX: usize = 4096;
/// Room for the end of a line whose message was cut off.
const CUT_BYTES: usize = 16;
/// How long a line may wait for a full pipe.
const PIPE_WAIT_MS: i32 = 10;
/// How often a log file is looked for at its path.
const ROTATION_CHECK: Duration = Duration::from_secs(1);

/// Crates whose messages belong into the log at every level. From others, only warnings do.
const OWN_TARGETS: &[&str] = &[
    "engine",
    "server",
    "lodestore",
    "keyspace",
    "persist",
    "values",
    "resp",
    "script",
];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// How the roles are written: in a plain line, and by name.
const PRIMARY: (char, &str) = ('M', "primary");
const REPLICA: (char, &str) = ('S', "replica");

/// How a level is written: in a plain line, by name, and for syslog(3).
fn level_marks(level: Level) -> (char, &'static str, i32) {
    match level {
        Level::Trace => ('.', "debug", libc::LOG_DEBUG),
        Level::Debug => ('-', "verbose", libc::LOG_INFO),
        Level::Info => ('*', "notice", libc::LOG_NOTICE),
        Level::Warn | Level::Error => ('#', "warning", libc::LOG_WARNING),
    }
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::Trace,
        LogLevel::Verbose => LevelFilter::Debug,
        LogLevel::Notice => LevelFilter::Info,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Nothing => LevelFilter::Off,
    }
}

static LOGGER: Logger = Logger::new();

/// Starts logging as the configuration says, or changes to what it says now. To be called after the
/// process went to the background. A program that embeds the server and has a logger of its own
/// keeps it; the server's messages then go there. The error is that of opening the log file.
pub fn start(config: &Config) -> io::Result<()> {
    let sink = match config.path(P::LogFile) {
        Some(path) => Sink::File(LogFile::open(path)?),
        None => Sink::Stdout,
    };
    let uses_syslog = config.bool(P::SyslogEnabled);
    if uses_syslog && !LOGGER.syslog.load(Ordering::Relaxed) {
        let name = std::ffi::CString::new(config.text(P::SyslogIdent)).unwrap_or_default();
        let facility = i32::try_from(config.int(P::SyslogFacility)).unwrap_or(libc::LOG_LOCAL0);
        // syslog(3) keeps the name for the rest of the process's life.
        sys::open_syslog(Box::leak(name.into_boxed_c_str()), facility);
    }
    LOGGER.syslog.store(uses_syslog, Ordering::Relaxed);
    crash::set_log(sink.fd());
    LOGGER.output().sink = sink;
    // An error means that there is a logger, ours from an earlier start or the embedding program's.
    let _ = log::set_logger(&LOGGER);
    update(config);
    Ok(())
}

/// Lines show the role of this engine from now on, as long as it is there; of several in one
/// process that of the last.
pub(crate) fn attach(engine: &Arc<Engine>) {
    let mut attached = LOGGER
        .engine
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    *attached = Arc::downgrade(engine);
}

/// Takes over changes of `loglevel`, `log-format` and `log-timestamp-format`.
pub(crate) fn update(config: &Config) {
    log::set_max_level(level_filter(config.choice(P::LogLevel)));
    LOGGER
        .format
        .store(config.int(P::LogFormat), Ordering::Relaxed);
    LOGGER
        .timestamp
        .store(config.int(P::LogTimestampFormat), Ordering::Relaxed);
}

/// Opens the log file anew, for programs that have moved it away (SIGHUP). Without a file there is
/// nothing to do.
pub(crate) fn reopen() {
    if let Sink::File(file) = &mut LOGGER.output().sink {
        file.reopen();
    }
}

/// Writes `text` as it is, without a time or a level, if `level` is logged.
pub(crate) fn raw(level: Level, text: &str) {
    if level <= log::max_level() {
        let mut output = LOGGER.output();
        text.split_inclusive('\n')
            .for_each(|line| output.write(line));
    }
}

/// Logs where the server listens: with the logo on a terminal or with `always-show-logo`, else in
/// one line.
pub(crate) fn banner(config: &Config, version: &str) {
    let mode = if config.bool(P::ClusterEnabled) {
        "cluster"
    } else {
        "standalone"
    };
    let port = match config.int(P::Port) {
        0 => config.int(P::TlsPort),
        port => port,
    };
    let at_terminal = !config.bool(P::SyslogEnabled)
        && config.bytes(P::LogFile).is_empty()
        && io::stdout().is_terminal();
    if at_terminal || config.bool(P::AlwaysShowLogo) {
        raw(Level::Info, &logo(version, mode, port));
    } else {
        log::info!("Running mode={mode}, port={port}.");
    }
}

/// A compass, because a lodestone is what needles pointed by.
fn logo(version: &str, mode: &str, port: i64) -> String {
    let bits = usize::BITS;
    let pid = std::process::id();
    format!(
        r"
            .--- N ---.
         .-'     ^     '-.
       .'        |        '.       Lodestore {version} ({bits} bit)
      /        \ | /        \
     W   <------ o ------>   E     Running in {mode} mode
      \        / | \        /      Port: {port}
       '.        |        .'       PID: {pid}
         '-.     v     .-'
            '--- S ---'

"
    )
}

/// Where lines go, and in which form.
struct Logger {
    format: AtomicI64,
    timestamp: AtomicI64,
    syslog: AtomicBool,
    /// Whose role lines show.
    engine: RwLock<Weak<Engine>>,
    output: Mutex<Output>,
}

impl Logger {
    const fn new() -> Logger {
        Logger {
            format: AtomicI64::new(LogFormat::Legacy as i64),
            timestamp: AtomicI64::new(LogTimestamp::Legacy as i64),
            syslog: AtomicBool::new(false),
            engine: RwLock::new(Weak::new()),
            output: Mutex::new(Output {
                sink: Sink::Stdout,
                lost: 0,
            }),
        }
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, level: Level, message: &str) -> String {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time = timestamp(
            LogTimestamp::from_number(self.timestamp.load(Ordering::Relaxed)),
            since_1970,
        );
        let format = LogFormat::from_number(self.format.load(Ordering::Relaxed));
        format_line(format, self.role(), &time, level, message)
    }

    /// The role in a plain line, and by name.
    fn role(&self) -> (char, &'static str) {
        let attached = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let is_replica = attached.upgrade().is_some_and(|it| it.role.is_replica());
        if is_replica { REPLICA } else { PRIMARY }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &RecordMetadata<'_>) -> bool {
        let krate = metadata.target().split("::").next().unwrap_or_default();
        metadata.level() <= Level::Warn || OWN_TARGETS.contains(&krate)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = match record.args().as_str() {
            Some(message) => message.into(),
            None => std::borrow::Cow::Owned(record.args().to_string()),
        };
        let line = self.line(record.level(), &message);
        self.output().write(&line);
        if self.syslog.load(Ordering::Relaxed) {
            sys::syslog(level_marks(record.level()).2, cut(&message, LINE_BYTES_MAX));
        }
    }

    fn flush(&self) {}
}

/// The start of `text`, at most `bytes` long and not in the middle of a character.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn timestamp(form: LogTimestamp, since_1970: Duration) -> String {
    if form == LogTimestamp::Milliseconds {
        return since_1970.as_millis().to_string();
    }
    let time = sys::local_time(i64::try_from(since_1970.as_secs()).unwrap_or(0));
    let clock = format!(
        "{:02}:{:02}:{:02}.{:03}",
        time.hour,
        time.minute,
        time.second,
        since_1970.subsec_millis()
    );
    if form == LogTimestamp::Legacy {
        return format!(
            "{:02} {} {} {clock}",
            time.day,
            MONTHS[time.month % 12],
            time.year
        );
    }
    let sign = if time.offset < 0 { '-' } else { '+' };
    let minutes = time.offset.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!(
        "{:04}-{:02}-{:02}T{clock}{sign}{hours:02}:{minutes:02}",
        time.year,
        time.month + 1,
        time.day
    )
}

/// One line with its end, at most [`LINE_BYTES_MAX`] bytes.
fn format_line(
    format: LogFormat,
    (letter, role): (char, &str),
    time: &str,
    level: Level,
    message: &str,
) -> String {
    let pid = std::process::id();
    let (mark, level, _) = level_marks(level);
    let mut line = String::with_capacity(64 + message.len().min(LINE_BYTES_MAX));
    // Writing to a string cannot fail.
    let _ = match format {
        LogFormat::Legacy => write!(line, "{pid}:{letter} {time} {mark} "),
        LogFormat::Logfmt => {
            write!(
                line,
                "pid={pid} role={role} timestamp=\"{time}\" level={level} message=\"",
            )
        }
        LogFormat::Json => write!(
            line,
            "{{\"pid\":{pid},\"role\":\"{role}\",\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":\"",
        ),
    };
    for character in message.chars() {
        if line.len() > LINE_BYTES_MAX - CUT_BYTES {
            line.push_str("...");
            break;
        }
        match format {
            LogFormat::Legacy => push_plain(&mut line, character),
            LogFormat::Logfmt => push_logfmt(&mut line, character),
            LogFormat::Json => push_json(&mut line, character),
        }
    }
    line.push_str(match format {
        LogFormat::Legacy => "\n",
        LogFormat::Logfmt => "\"\n",
        LogFormat::Json => "\"}\n",
    });
    line
}

/// Line ends and tabs stay, for messages that are tables; other control characters do not.
fn push_plain(line: &mut String, character: char) {
    let harmless = !character.is_control() || matches!(character, '\n' | '\t');
    line.push(if harmless { character } else { '?' });
}

/// As Valkey, quotes become apostrophes and line ends spaces. A backslash is doubled, or the last
/// one of a message would escape the closing quote.
fn push_logfmt(line: &mut String, character: char) {
    match character {
        '"' => line.push('\''),
        '\\' => line.push_str("\\\\"),
        _ if character.is_control() => line.push(' '),
        _ => line.push(character),
    }
}

fn push_json(line: &mut String, character: char) {
    match character {
        '"' => line.push_str("\\\""),
        '\\' => line.push_str("\\\\"),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        '\u{8}' => line.push_str("\\b"),
        '\u{c}' => line.push_str("\\f"),
        '\0'..='\u{1f}' => {
            // Writing to a string cannot fail.
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        }
        _ => line.push(character),
    }
}

enum Sink {
    Stdout,
    File(LogFile),
}

impl Sink {
    fn fd(&self) -> RawFd {
        match self {
            Self::Stdout => libc::STDOUT_FILENO,
            Self::File(file) => file.file.as_raw_fd(),
        }
    }
}

/// The open end of the log.
struct Output {
    sink: Sink,
    /// Lines that were dropped since the last one that got through.
    lost: u64,
}

impl Output {
    /// Errors are ignored: there is no place left to report them to.
    fn write(&mut self, line: &str) {
        match &mut self.sink {
            Sink::File(file) => {
                let _ = file.current().write_all(line.as_bytes());
            }
            Sink::Stdout => {
                let mut stdout = io::stdout().lock();
                // A reader that has missed lines already gets no further wait, which would delay
                // the whole server.
                let patience = if self.lost == 0 { PIPE_WAIT_MS } else { 0 };
                if !sys::is_writable(stdout.as_fd(), patience) {
                    self.lost += 1;
                    return;
                }
                if self.lost > 0 {
                    let _ = writeln!(
                        stdout,
                        "# {} log lines were lost because nobody read them",
                        self.lost
                    );
                    self.lost = 0;
                    if !sys::is_writable(stdout.as_fd(), 0) {
                        self.lost = 1;
                        return;
                    }
                }
                let _ = stdout
                    .write_all(line.as_bytes())
                    .and_then(|()| stdout.flush());
            }
        }
    }
}

/// A log file that may be rotated away.
struct LogFile {
    path: PathBuf,
    file: File,
    checked: Instant,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<LogFile> {
        let file = File::options().create(true).append(true).open(&path)?;
        Ok(LogFile {
            path,
            file,
            checked: Instant::now(),
        })
    }

    fn current(&mut self) -> &mut File {
        if self.checked.elapsed() >= ROTATION_CHECK {
            self.checked = Instant::now();
            self.follow_rotation();
        }
        &mut self.file
    }

    /// As long as no new file can be opened, the old one takes the lines.
    fn follow_rotation(&mut self) {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let open = self.file.metadata().map(identity).ok();
        let there = std::fs::metadata(&self.path).map(identity).ok();
        if there.is_none() || there != open {
            self.reopen();
        }
    }

    /// Opens the file at the path. The old one stays when that fails.
    fn reopen(&mut self) {
        if let Ok(file) = File::options().create(true).append(true).open(&self.path) {
            crash::set_log(file.as_raw_fd());
            self.file = file;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_in(format: LogFormat, message: &str) -> String {
        let line = format_line(format, PRIMARY, "T", Level::Info, message);
        line.replacen(&std::process::id().to_string(), "1", 1)
    }

    #[test]
    fn all_crates_of_the_workspace_are_logged() {
        let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        for folder in std::fs::read_dir(crates).expect("the crates") {
            let name = folder.expect("a crate").file_name();
            let name = name.to_str().expect("a name");
            assert!(OWN_TARGETS.contains(&name), "{name}");
        }
    }

    #[test]
    fn plain_lines() {
        assert_eq!(message_in(LogFormat::Legacy, "Ready"), "1:M T * Ready\n");
        assert_eq!(
            message_in(LogFormat::Legacy, "a\tb\x1b[0m\r"),
            "1:M T * a\tb?[0m?\n"
        );
        let marks: String = [
            Level::Trace,
            Level::Debug,
            Level::Info,
            Level::Warn,
            Level::Error,
        ]
        .map(|level| level_marks(level).0)
        .iter()
        .collect();
        assert_eq!(marks, ".-*##");
    }

    #[test]
    fn structured_lines() {
        assert_eq!(
            message_in(LogFormat::Logfmt, "say \"hi\"\nC:\\"),
            "pid=1 role=primary timestamp=\"T\" level=notice message=\"say 'hi' C:\\\\\"\n"
        );
        assert_eq!(
            message_in(LogFormat::Json, "say \"hi\"\n\\\t\r\x08\x0c\x01é"),
            "{\"pid\":1,\"role\":\"primary\",\"timestamp\":\"T\",\"level\":\"notice\",\
             \"message\":\"say \\\"hi\\\"\\n\\\\\\t\\r\\b\\f\\u0001é\"}\n"
        );
    }

    #[test]
    fn replicas_say_so() {
        let line = |format| format_line(format, REPLICA, "T", Level::Info, "x");
        assert!(line(LogFormat::Legacy).contains(":S T * x"));
        assert!(line(LogFormat::Logfmt).contains(" role=replica "));
        assert!(line(LogFormat::Json).contains("\"role\":\"replica\""));
    }

    #[test]
    fn long_messages_are_cut() {
        let long = "é\"\u{1}".repeat(LINE_BYTES_MAX);
        for format in [LogFormat::Legacy, LogFormat::Logfmt, LogFormat::Json] {
            let line = message_in(format, &long);
            assert!(
                line.len() <= LINE_BYTES_MAX && line.ends_with('\n') && line.contains("..."),
                "{format:?}"
            );
        }
    }

    #[test]
    fn times() {
        let moment = Duration::from_millis(1_700_000_000_042);
        assert_eq!(
            timestamp(LogTimestamp::Milliseconds, moment),
            "1700000000042"
        );
        let plain = timestamp(LogTimestamp::Legacy, moment);
        assert!(
            plain.contains(" Nov 2023 ") && plain.ends_with(":20.042"),
            "{plain}"
        );
        let iso = timestamp(LogTimestamp::Iso8601, moment);
        assert!(
            iso.starts_with("2023-11-1") && iso.contains(":20.042") && iso.len() == 29,
            "{iso}"
        );
    }

    #[test]
    fn only_warnings_of_others() {
        let enabled = |target, level| {
            LOGGER.enabled(
                &RecordMetadata::builder()
                    .target(target)
                    .level(level)
                    .build(),
            )
        };
        assert!(enabled("server::net", Level::Trace));
        assert!(!enabled("mio::poll", Level::Info) && enabled("mio::poll", Level::Warn));
    }

    #[test]
    fn rotation_is_followed() {
        let dir = std::env::temp_dir().join(format!("lodestore-logging-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("log");
        let mut log = LogFile::open(path.clone()).unwrap();
        log.current().write_all(b"one\n").unwrap();
        std::fs::rename(&path, dir.join("log.1")).unwrap();
        log.follow_rotation();
        log.current().write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_to_string(dir.join("log.1")).unwrap(), "one\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_logo_names_process_and_port() {
        let logo = logo("1.0", "standalone", 6379);
        assert!(
            logo.contains(&format!(" PID: {}", std::process::id())) && logo.contains("Port: 6379")
        );
    }
}

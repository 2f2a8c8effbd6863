//! The title of the process: `set-proc-title` and `proc-title-template`.

use std::fs;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{os_text, sys};
use engine::config::{Config, P};

/// The longest process title, in bytes.
const TITLE_BYTES_MAX: usize = 4000;

static TITLE: OnceLock<Title> = OnceLock::new();

/// Makes the title of the process follow the configuration, if `set-proc-title` asks for it. To be
/// called before any other thread exists, and only by a program that is the server: a library has
/// no business there.
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
pub(crate) fn update_title(config: &Config) {
    if let Some(title) = TITLE.get() {
        title.update(config);
    }
}

/// The text that `ps` shows instead of the command line (`set-proc-title`, `proc-title-template`).
#[derive(Debug)]
struct Title {
    /// Where the kernel reads the command line: the title, a NUL, and at the very end a byte that
    /// is none, which tells the kernel that this is a title and not a list of arguments.
    buffer: &'static [AtomicU8],
    program: String,
}

impl Title {
    /// Takes the place of the command line of the process, which was started as `program`. To be
    /// called before any other thread exists. Nothing where the kernel does not offer this.
    #[must_use]
    fn take(program: &str) -> Option<Title> {
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
    fn update(&self, config: &Config) {
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
}

//! Reading the configuration of a start: files in the form of redis.conf and valkey.conf, and the
//! other sources, which are turned into the same kind of lines.
//!
//! A line is a directive and its arguments, quoted as in [`resp::split_args`]; `#` starts a comment
//! only at the beginning of a line. Besides parameters of the table there are `include`,
//! `rename-command`, `user`, and directives of old versions, which are skipped. Everything else is
//! an error, since a misspelt parameter must not go unnoticed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use engine::config::{
    Config, ConfigBuilder, LoadError, Location, Notice, P, Parameter, Rename, Source, Surroundings,
    UserLine,
};
use persist::storage::errno_text as os_text;
use resp::split_args;
use values::glob;

use crate::machine;

use super::similar::{distance, similar};

/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How deep files may include each other.
const INCLUDE_DEPTH_MAX: usize = 16;
/// How many files may be included altogether; without it, a few files that include each other are
/// endless.
const INCLUDES_MAX: usize = 1000;

/// The prefix of environment variables that are parameters.
const VARIABLE_PREFIX: &str = "LODESTORE_";

/// Directives of old versions. They had no effect any more in the versions before, so they are
/// skipped, as there.
const OBSOLETE: &[&str] = &[
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
    "events-per-io-thread",
];

/// Parameters whose loss would leave a server open, or its data in other hands.
const PROTECTING: &[&str] = &[
    "requirepass",
    "aclfile",
    "protected-mode",
    "tls-port",
    "tls-auth-clients",
    "rename-command",
    "enable-debug-command",
    "unixsocketperm",
];

/// Letters in which a misspelt name differs at most.
const MISSPELLED_MAX: usize = 2;

/// The sources of the configuration of a start, in order: a later one wins.
#[derive(Default)]
pub struct Sources<'a> {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Standard input, when it holds configuration.
    pub stdin: Option<&'a mut dyn Read>,
    /// Environment variables; those without our prefix are skipped.
    pub environment: Vec<(OsString, OsString)>,
    /// Lines made of the options of the command line.
    pub options: Vec<u8>,
}

/// Loads the configuration of a start. Opens the log file once, to report an error while the
/// program that starts the server still reads its output.
///
/// # Errors
/// The first source that cannot be read, or the first line that is wrong.
pub fn load(sources: Sources<'_>) -> Result<Config, LoadError> {
    let mut loader = Loader::new(surroundings());
    if let Some(path) = sources.file {
        if let Some(option) = option_as_file(&path) {
            return Err(LoadError::new(format!(
                "Fatal error, can't open config file '{}': No such file or directory. Did you mean '{option}'?",
                path.display()
            )));
        }
        loader.read_file(&path, 0)?;
        loader.builder.origin_mut().file = Some(path);
    }
    if let Some(input) = sources.stdin {
        let text = read_bounded(input).map_err(|error| {
            LoadError::new(format!(
                "Fatal error, can't read the configuration from standard input: {error}"
            ))
        })?;
        loader.read_lines(&text, &Source::Stdin, 0)?;
        loader.builder.origin_mut().from_stdin = true;
    }
    loader.read_environment(sources.environment)?;
    loader.read_lines(&sources.options, &Source::CommandLine, 0)?;
    loader.finish()
}

/// The option that a first argument without dashes was meant to be, when there is no such file.
fn option_as_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    if path.exists() {
        return None;
    }
    let is_option = matches!(name, "help" | "version" | "restore-to")
        || Parameter::named(name.as_bytes()).is_some();
    is_option.then(|| format!("--{name}"))
}

/// The configuration of a server inside another program: the defaults and these parameters.
///
/// # Errors
/// The first parameter that is wrong.
pub fn with_options(options: &[(&str, &str)]) -> Result<Config, LoadError> {
    let line =
        |(name, value): &(&str, &str)| format!("{name} {}\n", resp::quoted(value.as_bytes()));
    let options: String = options.iter().map(line).collect();
    load(Sources {
        options: options.into_bytes(),
        ..Sources::default()
    })
}

/// The current directory, paths as the file system resolves them, and the memory there is.
fn surroundings() -> Surroundings {
    Surroundings {
        initial: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        resolve: |path| {
            let dir = path.canonicalize().map_err(|error| os_text(&error))?;
            if !dir.is_dir() {
                return Err("Not a directory".to_owned());
            }
            Ok(dir)
        },
        memory: machine::available_memory,
    }
}

/// Reads a configuration text as the next start would read it from `path`, without the other
/// sources.
pub(super) fn reload(
    text: &[u8],
    path: &Path,
    surroundings: Surroundings,
) -> Result<ConfigBuilder, LoadError> {
    let mut loader = Loader::new(surroundings);
    loader.read_lines(text, &Source::File(path.into()), 0)?;
    Ok(loader.builder)
}

/// Whether `name` is a directive that is not a parameter.
pub(super) fn is_directive(name: &[u8]) -> bool {
    let directives = ["include", "rename-command", "user"];
    directives
        .iter()
        .chain(OBSOLETE)
        .any(|directive| directive.as_bytes().eq_ignore_ascii_case(name))
}

fn read_bounded(input: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    input.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

/// The lines of a configuration text without the white space around them, also without a byte order
/// mark.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii)
}

struct Loader {
    builder: ConfigBuilder,
    includes: usize,
    /// The last line that set each parameter.
    last: HashMap<P, Location>,
}

impl Loader {
    fn new(surroundings: Surroundings) -> Self {
        Self {
            builder: ConfigBuilder::new(surroundings),
            includes: 0,
            last: HashMap::new(),
        }
    }

    fn read_file(&mut self, path: &Path, depth: usize) -> Result<(), LoadError> {
        let text = File::open(path)
            .and_then(|mut file| read_bounded(&mut file))
            .map_err(|error| {
                let name = path.display();
                LoadError::new(format!(
                    "Fatal error, can't open config file '{name}': {}",
                    os_text(&error)
                ))
            })?;
        self.read_lines(&text, &Source::File(path.into()), depth)
    }

    fn read_lines(&mut self, text: &[u8], source: &Source, depth: usize) -> Result<(), LoadError> {
        for (index, line) in lines(text).enumerate() {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let location = Location {
                source: source.clone(),
                number: index + 1,
                line: String::from_utf8_lossy(line).into_owned(),
            };
            let words = split_args(line)
                .map_err(|_| location.error("Unbalanced quotes in configuration line"))?;
            let words: Vec<&[u8]> = words.as_args().iter().collect();
            if let [name, arguments @ ..] = words.as_slice() {
                self.directive(name, arguments, &location, depth)?;
            }
        }
        Ok(())
    }

    fn directive(
        &mut self,
        name: &[u8],
        arguments: &[&[u8]],
        location: &Location,
        depth: usize,
    ) -> Result<(), LoadError> {
        if let Some(parameter) = Parameter::named(name) {
            return self.set(parameter, arguments, location);
        }
        let lower = name.to_ascii_lowercase();
        match (lower.as_slice(), arguments) {
            (b"include", [pattern]) => return self.include(pattern, location, depth),
            (b"rename-command", [from, to]) => {
                let (from, to) = (from.to_vec(), to.to_vec());
                self.builder.origin_mut().renames.push(Rename {
                    from,
                    to,
                    location: location.clone(),
                });
                return Ok(());
            }
            (b"user", [_, ..]) => {
                let mut location = location.clone();
                location.line = without_passwords(arguments);
                let arguments = arguments.iter().map(|argument| argument.to_vec()).collect();
                self.builder.origin_mut().users.push(UserLine {
                    arguments,
                    location,
                });
                return Ok(());
            }
            (name, [_]) if OBSOLETE.iter().any(|obsolete| obsolete.as_bytes() == name) => {
                let name = String::from_utf8_lossy(name);
                let notice =
                    format!("The configuration directive '{name}' is obsolete and skipped");
                self.notice(notice, false);
                return Ok(());
            }
            _ => {}
        }
        let reason = match lower.as_slice() {
            b"sentinel" if arguments.is_empty() => {
                "Lodestore has no Sentinel mode; valkey-sentinel can watch over it"
            }
            b"sentinel" => "sentinel directive while not in sentinel mode",
            b"loadmodule" => "Lodestore does not load modules",
            name if name.contains(&b'.') => {
                "Module config given, but Lodestore does not load modules"
            }
            _ => "Bad directive or wrong number of arguments",
        };
        Err(location.error(match similar(name) {
            Some(known) if known.as_bytes() != lower => {
                let dashes = match location.source {
                    Source::CommandLine => "--",
                    _ => "",
                };
                format!("{reason}. Did you mean '{dashes}{known}'?")
            }
            _ => reason.to_owned(),
        }))
    }

    fn set(
        &mut self,
        parameter: &'static Parameter,
        arguments: &[&[u8]],
        location: &Location,
    ) -> Result<(), LoadError> {
        let result = match arguments {
            // One argument may be a whole list: `save "3600 1 300 100"`.
            [list] if parameter.kind.takes_many() && !list.is_empty() => {
                let words = split_args(list)
                    .map_err(|_| location.error("Unbalanced quotes in configuration line"))?;
                let words: Vec<&[u8]> = words.as_args().iter().collect();
                self.builder.set(parameter, &words)
            }
            _ => self.builder.set(parameter, arguments),
        };
        result.map_err(|reason| location.error(reason))?;
        self.last.insert(parameter.id, location.clone());
        Ok(())
    }

    /// `include` of a pattern may match nothing, for the sake of empty directories; a plain name
    /// must exist. A relative name starts at the `dir` that is in force at this line.
    fn include(
        &mut self,
        pattern: &[u8],
        location: &Location,
        depth: usize,
    ) -> Result<(), LoadError> {
        if depth >= INCLUDE_DEPTH_MAX {
            return Err(location.error(format!(
                "Files include each other more than {INCLUDE_DEPTH_MAX} deep"
            )));
        }
        let path = self.builder.config().dir().join(OsStr::from_bytes(pattern));
        let has_wildcard = pattern
            .iter()
            .any(|byte| matches!(byte, b'*' | b'?' | b'['));
        let files = if has_wildcard {
            matching_files(&path)
        } else {
            vec![path]
        };
        for file in files {
            self.includes += 1;
            if self.includes > INCLUDES_MAX {
                return Err(location.error(format!("More than {INCLUDES_MAX} files are included")));
            }
            self.read_file(&file, depth + 1)?;
        }
        Ok(())
    }

    /// Variables that are no parameters cause a notice, no error: Kubernetes sets
    /// LODESTORE_SERVICE_HOST and LODESTORE_PORT=tcp://... in every container next to a service of
    /// that name.
    fn read_environment(
        &mut self,
        mut variables: Vec<(OsString, OsString)>,
    ) -> Result<(), LoadError> {
        variables.sort();
        for (variable, value) in &variables {
            let Some(name) = variable
                .to_str()
                .and_then(|variable| variable.strip_prefix(VARIABLE_PREFIX))
            else {
                continue;
            };
            let value = value.as_bytes();
            let is_service = value.starts_with(b"tcp://") || value.starts_with(b"udp://");
            let name = name.to_ascii_lowercase().replace('_', "-");
            let line = format!("{}={}", variable.display(), String::from_utf8_lossy(value));
            let Some(parameter) = Parameter::named(name.as_bytes()).filter(|_| !is_service) else {
                self.ignore_variable(&name, is_service, line)?;
                continue;
            };
            self.set(
                parameter,
                &[value],
                &Location {
                    source: Source::Environment,
                    number: 1,
                    line,
                },
            )?;
        }
        Ok(())
    }

    /// A variable that names no parameter. One that is meant for a parameter which protects the
    /// server ends the start: without it the server would be open.
    fn ignore_variable(
        &mut self,
        name: &str,
        is_service: bool,
        line: String,
    ) -> Result<(), LoadError> {
        let shown = format!(
            "{VARIABLE_PREFIX}{}",
            name.to_ascii_uppercase().replace('-', "_")
        );
        let is_meant =
            |parameter: &&&str| distance(name.as_bytes(), parameter.as_bytes()) <= MISSPELLED_MAX;
        if let Some(parameter) = PROTECTING.iter().find(is_meant) {
            let variable = parameter.to_ascii_uppercase().replace('-', "_");
            // The value may be a secret.
            let line = line.split('=').next().unwrap_or_default().to_owned();
            let location = Location {
                source: Source::Environment,
                number: 1,
                line,
            };
            return Err(location.error(format!(
                "Not a parameter, did you mean {VARIABLE_PREFIX}{variable}?"
            )));
        }
        let of_service = name.ends_with("-service-host")
            || name.contains("-service-port")
            || name.starts_with("service-")
            || name.contains("port-");
        let notice = format!("The environment variable {shown} is not a parameter and is ignored");
        self.notice(notice, !is_service && !of_service);
        Ok(())
    }

    fn notice(&mut self, text: String, is_warning: bool) {
        let notices = &mut self.builder.origin_mut().notices;
        notices.push(Notice { text, is_warning });
    }

    fn finish(self) -> Result<Config, LoadError> {
        let last = self.last;
        let config = self
            .builder
            .finish()
            .map_err(|refused| match last.get(&refused.id) {
                Some(location) => location.error(refused.reason),
                None => LoadError::new(refused.reason),
            })?;
        if let Some(path) = config.path(P::LogFile) {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| {
                    LoadError::new(format!("Can't open the log file: {}", os_text(&error)))
                })?;
        }
        Ok(config)
    }
}

/// The files whose path matches `pattern`, sorted. Only the pattern's own depth is searched; hidden
/// files need a pattern that starts with a dot, as in a shell.
fn matching_files(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components() {
        let std::path::Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let name = name.as_bytes();
        let has_wildcard = name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
        found = found
            .into_iter()
            .flat_map(|path| {
                if has_wildcard {
                    matching_entries(&path, name)
                } else {
                    vec![path.join(OsStr::from_bytes(name))]
                }
            })
            .collect();
    }
    found.retain(|path| path.exists());
    found
}

fn matching_entries(dir: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let Ok(entries) = dir.read_dir() else {
        return Vec::new();
    };
    let mut matching: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let is_hidden = name.as_bytes().starts_with(b".") && !pattern.starts_with(b".");
            !is_hidden && glob::matches(pattern, name.as_bytes(), false)
        })
        .map(|entry| entry.path())
        .collect();
    matching.sort();
    matching
}

/// A `user` line as errors show it.
fn without_passwords(arguments: &[&[u8]]) -> String {
    let shown = arguments.iter().map(|argument| match argument.first() {
        Some(b'>' | b'<' | b'#' | b'!') => "(redacted)".into(),
        _ => String::from_utf8_lossy(argument),
    });
    let words: Vec<_> = std::iter::once("user".into()).chain(shown).collect();
    words.join(" ")
}

//! Reading the configuration of a start: files in the form of redis.conf and valkey.conf, and the other sources, which
//! are turned into the same kind of lines.
//!
//! A line is a directive and its arguments, quoted as in [`resp::split_args`]; `#` starts a comment only at the
//! beginning of a line. What is not a parameter of the table: `include`, `rename-command`, `user`, and directives of
//! old versions that are skipped. Everything else is an error, since a misspelt parameter must not go unnoticed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resp::split_args;
use values::glob;

use super::set::refuse_unbuilt;
use super::table::{Kind, P, Parameter};
use super::value::Value;
use super::{Config, multi};
use persist::storage::errno_text as os_text;

/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How deep files may include each other.
const INCLUDE_DEPTH_MAX: usize = 16;
/// How many files may be included altogether; without it, a few files that include each other are endless.
const INCLUDES_MAX: usize = 1000;

/// The prefix of environment variables that are parameters.
const VARIABLE_PREFIX: &str = "LODESTORE_";

/// Directives of old versions. They had no effect any more in the versions before, so they are skipped, as there.
const OBSOLETE: &[&str] = &[
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
    "events-per-io-thread",
];

/// Where the configuration of a start comes from, in order: what comes later wins.
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

/// What a line of configuration was part of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(Arc<Path>),
    Stdin,
    Environment,
    CommandLine,
}

/// A line of configuration and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    source: Source,
    /// Counts from 1.
    number: usize,
    line: String,
}

impl Location {
    /// The error that this line is wrong. Also for what only the server can check: the names of `rename-command`, the
    /// rules of `user`.
    #[must_use]
    pub fn error(&self, reason: impl Into<String>) -> LoadError {
        LoadError {
            location: Some(self.clone()),
            reason: reason.into(),
        }
    }
}

/// Why the configuration could not be loaded. `Display` is what the server prints before it gives up, in Redis's form,
/// because tools look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    location: Option<Location>,
    reason: String,
}

impl LoadError {
    fn new(reason: String) -> LoadError {
        LoadError {
            location: None,
            reason,
        }
    }

    /// The reason alone.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n*** FATAL CONFIG FILE ERROR (Version {}) ***",
            env!("CARGO_PKG_VERSION")
        )?;
        if let Some(Location {
            source,
            number,
            line,
        }) = &self.location
        {
            match source {
                Source::File(path) => {
                    writeln!(f, "Reading the configuration file, at line {number}")?;
                    writeln!(f, "({}, line {number})", path.display())?;
                }
                Source::Stdin => writeln!(
                    f,
                    "Reading the configuration from standard input, at line {number}"
                )?,
                Source::Environment => writeln!(f, "Reading the environment variables")?,
                Source::CommandLine => writeln!(f, "Reading the options of the command line")?,
            }
            writeln!(f, ">>> '{line}'")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for LoadError {}

/// A `rename-command` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The command.
    pub from: Vec<u8>,
    /// Its new name; empty to remove it.
    pub to: Vec<u8>,
    /// Where it stands, for errors.
    pub location: Location,
}

/// A `user` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLine {
    /// The name and the rules.
    pub arguments: Vec<Vec<u8>>,
    /// Where it stands, for errors.
    pub location: Location,
}

impl Config {
    /// Loads the configuration of a start. The log file is opened once, because later nobody could be told.
    pub fn load(sources: Sources<'_>) -> Result<Config, LoadError> {
        let mut loader = Loader::default();
        if let Some(path) = sources.file {
            loader.read_file(&path, 0)?;
            loader.config.origin.file = Some(path);
        }
        if let Some(input) = sources.stdin {
            let text = read_bounded(input).map_err(|error| {
                LoadError::new(format!(
                    "Fatal error, can't read the configuration from standard input: {error}"
                ))
            })?;
            loader.read_lines(&text, &Source::Stdin, 0)?;
            loader.config.origin.from_stdin = true;
        }
        loader.read_environment(sources.environment)?;
        loader.read_lines(&sources.options, &Source::CommandLine, 0)?;
        loader.finish()
    }

    /// The configuration of a server inside another program: the defaults and these parameters.
    pub fn with_options(options: &[(&str, &str)]) -> Result<Config, LoadError> {
        let line =
            |(name, value): &(&str, &str)| format!("{name} {}\n", resp::quoted(value.as_bytes()));
        let options: String = options.iter().map(line).collect();
        Config::load(Sources {
            options: options.into_bytes(),
            ..Sources::default()
        })
    }
}

/// Reads a configuration text as the next start would read it from `path`, without the other sources.
pub(super) fn reload(text: &[u8], path: &Path) -> Result<Config, LoadError> {
    let mut loader = Loader::default();
    loader.read_lines(text, &Source::File(path.into()), 0)?;
    Ok(loader.config)
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

/// The lines of a configuration text without the white space around them, also without a byte order mark.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii)
}

#[derive(Default)]
struct Loader {
    config: Config,
    /// A `save` was read, so that further ones add to it.
    save_given: bool,
    includes: usize,
    /// The last line that set each parameter.
    last: HashMap<P, Location>,
}

impl Loader {
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
                self.config.origin.renames.push(Rename {
                    from,
                    to,
                    location: location.clone(),
                });
                return Ok(());
            }
            (b"user", [_, ..]) => {
                let arguments = arguments.iter().map(|argument| argument.to_vec()).collect();
                self.config.origin.users.push(UserLine {
                    arguments,
                    location: location.clone(),
                });
                return Ok(());
            }
            (name, [_]) if OBSOLETE.iter().any(|obsolete| obsolete.as_bytes() == name) => {
                let name = String::from_utf8_lossy(name);
                let notice =
                    format!("The configuration directive '{name}' is obsolete and skipped");
                self.config.origin.notices.push(notice);
                return Ok(());
            }
            _ => {}
        }
        Err(location.error(match lower.as_slice() {
            b"sentinel" if arguments.is_empty() => {
                "Lodestore has no Sentinel mode; valkey-sentinel can watch over it"
            }
            b"sentinel" => "sentinel directive while not in sentinel mode",
            b"loadmodule" => "Lodestore does not load modules",
            name if name.contains(&b'.') => {
                "Module config given, but Lodestore does not load modules"
            }
            _ => "Bad directive or wrong number of arguments",
        }))
    }

    fn set(
        &mut self,
        parameter: &'static Parameter,
        arguments: &[&[u8]],
        location: &Location,
    ) -> Result<(), LoadError> {
        let value = match arguments {
            // One argument may be a whole list: `save "3600 1 300 100"`.
            [list] if parameter.kind.takes_many() && !list.is_empty() => {
                let words = split_args(list)
                    .map_err(|_| location.error("Unbalanced quotes in configuration line"))?;
                let words: Vec<&[u8]> = words.as_args().iter().collect();
                self.parse(parameter, &words)
            }
            _ => self.parse(parameter, arguments),
        };
        let value = value.map_err(|reason| location.error(reason))?;
        self.config.put(parameter.id, &value);
        self.last.insert(parameter.id, location.clone());
        Ok(())
    }

    fn parse(
        &mut self,
        parameter: &'static Parameter,
        arguments: &[&[u8]],
    ) -> Result<Value, String> {
        let current = self.config.value(parameter.id);
        let Kind::Save = parameter.kind else {
            return parameter.parse(arguments, &current);
        };
        let adds = self.save_given && !matches!(arguments, [b""]);
        let before = if adds {
            self.config.bytes(parameter.id)
        } else {
            Arc::from([])
        };
        let all: Vec<&[u8]> = multi::words(&before)
            .chain(arguments.iter().copied())
            .collect();
        let value = parameter.parse(&all, &current)?;
        self.save_given = true;
        Ok(value)
    }

    /// `include` of a pattern may match nothing, for the sake of empty directories; a plain name must exist. A relative
    /// name starts at the `dir` that is in force at this line.
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
        let path = self.config.dir().join(OsStr::from_bytes(pattern));
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

    /// Variables that are no parameters are told about, not refused: Kubernetes sets LODESTORE_SERVICE_HOST and
    /// LODESTORE_PORT=tcp://... in every container next to a service of that name.
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
            let Some(parameter) = Parameter::named(name.as_bytes()).filter(|_| !is_service) else {
                let notice = format!(
                    "The environment variable {} is not a parameter and is ignored",
                    variable.display()
                );
                self.config.origin.notices.push(notice);
                continue;
            };
            let line = format!("{}={}", variable.display(), String::from_utf8_lossy(value));
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

    fn finish(mut self) -> Result<Config, LoadError> {
        for parameter in super::PARAMETERS {
            let Some(location) = self.last.get(&parameter.id) else {
                continue;
            };
            let value = self.config.value(parameter.id);
            refuse_unbuilt(parameter, &value).map_err(|reason| location.error(reason))?;
            if let Some(notice) = self.config.notice_without_effect(parameter.id) {
                self.config.origin.notices.push(notice);
            }
        }
        if let Some(path) = self.config.path(P::LogFile) {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| {
                    LoadError::new(format!("Can't open the log file: {}", os_text(&error)))
                })?;
        }
        self.config.origin.given = self.last.into_keys().collect();
        Ok(self.config)
    }
}

/// The files whose path matches `pattern`, sorted. Only the pattern's own depth is searched; hidden files need a
/// pattern that starts with a dot, as in a shell.
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

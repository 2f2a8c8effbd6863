//! The origin of a configuration besides values: files, directives and their places.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::P;

/// The data that the sources of a start have besides values of parameters.
#[derive(Debug, Default)]
pub struct Origin {
    /// The configuration file as an absolute path.
    pub file: Option<PathBuf>,
    /// Standard input held configuration.
    pub from_stdin: bool,
    /// The `rename-command` directives, in order.
    pub renames: Vec<Rename>,
    /// The `user` directives, in order.
    pub users: Vec<UserLine>,
    /// Lines for the log: parameters without effect and ignored variables. A start collects them,
    /// because it has no log yet.
    pub notices: Vec<Notice>,
    /// Parameters that some source has set, to whatever value.
    pub(super) given: HashSet<P>,
}

/// A line for the log about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The line.
    pub text: String,
    /// Users may rely on what does not happen: it is logged as a warning.
    pub is_warning: bool,
}

/// The source that a line of configuration is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A configuration file.
    File(Arc<Path>),
    /// Standard input.
    Stdin,
    /// The environment variables.
    Environment,
    /// The options of the command line.
    CommandLine,
}

/// A line of configuration and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The source it is part of.
    pub source: Source,
    /// The number of the line, from 1.
    pub number: usize,
    /// The line itself.
    pub line: String,
}

impl Location {
    /// The error that this line is wrong. Also for errors that only the server finds: the names of
    /// `rename-command`, the rules of `user`.
    #[must_use]
    pub fn error(&self, reason: impl Into<String>) -> LoadError {
        LoadError {
            location: Some(self.clone()),
            reason: reason.into(),
        }
    }
}

/// Why the configuration could not be loaded. `Display` is the text the server prints before it
/// exits, in Redis's form, because tools look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    location: Option<Location>,
    reason: String,
}

impl LoadError {
    /// An error that concerns no line in particular.
    #[must_use]
    pub fn new(reason: String) -> LoadError {
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

//! The command line of the server: `[FILE] [--option value ...] [-]`.
//!
//! Options become lines of configuration that are read after everything else. An option's values
//! are the arguments up to the next one that starts with `--`, but the first argument after an
//! option is always its value, so that values may start with `--` too. `"--port 7777"` in one
//! argument works as well. `-` as the first or the last argument reads configuration from standard
//! input.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use engine::config::{Config, LoadError};
use resp::{quoted, split_args};

use super::file::{Sources, load};

/// The text of `--help`.
pub const USAGE: &str = "\
Usage: lodestore [FILE] [--option value ...] [-]
       lodestore -                 read the configuration from standard input
       lodestore --restore-to MOMENT [FILE] [--option value ...]
                                   start from the append only file as it was at a moment: Unix seconds, a time as
                                   2026-01-31T23:59:59Z, or offset:NUMBER; needs aof-history-seconds to go back
                                   beyond the last rewrite
       lodestore check aof [--fix | --truncate-to-timestamp SECONDS] <file.manifest|file.aof>
       lodestore check rdb <file.rdb>
       lodestore config [NAME ...]
                                   list the parameters, or explain some: default, form, how they are set
       lodestore ping [--host HOST] [--port PORT] ...
                                   ask a server whether it serves; 'lodestore ping --help' has the options
       lodestore -v | --version
       lodestore -h | --help

FILE is a configuration file in the form of redis.conf or valkey.conf. Every parameter of such a file can also be
given as an option or in the environment, where LODESTORE_MAXMEMORY_POLICY stands for maxmemory-policy. Options win
over the environment, which wins over standard input and FILE.

Examples:
       lodestore                                   start with the defaults
       lodestore /etc/lodestore.conf --port 7777
       lodestore --port 7777 --maxmemory 2gb --save ''
       echo 'maxmemory 128mb' | lodestore -
";

/// The action that the command line requests.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Start a server.
    Run(CommandLine),
    /// Print the version and exit.
    Version,
    /// Print [`USAGE`] and exit.
    Help,
}

/// The command line of a server to start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The configuration file, absolute.
    pub file: Option<PathBuf>,
    /// Whether standard input holds configuration.
    pub stdin: bool,
    /// The options as lines of configuration.
    pub options: Vec<u8>,
}

impl CommandLine {
    /// Reads everything the command line names. `environment` is all variables; those that are not
    /// ours are skipped.
    pub fn load(
        self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        stdin: &mut dyn Read,
    ) -> Result<Config, LoadError> {
        load(Sources {
            file: self.file,
            stdin: if self.stdin { Some(stdin) } else { None },
            environment: environment.into_iter().collect(),
            options: self.options,
        })
    }
}

/// Reads the arguments that follow the program's name. Wrong options are found when the
/// configuration is loaded.
#[must_use]
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Invocation {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let first = arguments.first().map(|argument| argument.as_bytes());
    match first {
        Some(b"-v" | b"--version") => return Invocation::Version,
        Some(b"-h" | b"--help") => return Invocation::Help,
        _ => {}
    }
    let mut command_line = CommandLine::default();
    let mut rest = arguments.as_slice();
    if let [file, others @ ..] = rest
        && !file.as_bytes().starts_with(b"-")
    {
        command_line.file = Some(std::path::absolute(file).unwrap_or_else(|_| PathBuf::from(file)));
        rest = others;
    }
    let starts_with_stdin = command_line.file.is_none();
    let mut options = Options::default();
    for (index, argument) in rest.iter().enumerate() {
        let next = rest.get(index + 1).map(|next| next.as_bytes());
        let at_an_end = (index == 0 && starts_with_stdin) || next.is_none();
        if argument == OsStr::new("-") && at_an_end {
            command_line.stdin = true;
        } else {
            options.push(argument.as_bytes(), next);
        }
    }
    command_line.options = options.lines;
    Invocation::Run(command_line)
}

/// The lines that options make.
#[derive(Default)]
struct Options {
    lines: Vec<u8>,
    /// The last option has no value yet, so whatever comes next is one.
    wants_value: bool,
}

impl Options {
    fn push(&mut self, argument: &[u8], next: Option<&[u8]>) {
        match argument.strip_prefix(b"--") {
            Some(option) if !self.wants_value => self.push_option(option, next),
            _ => {
                self.lines.extend_from_slice(quoted(argument).as_bytes());
                self.lines.push(b' ');
                self.wants_value = false;
            }
        }
    }

    fn push_option(&mut self, option: &[u8], next: Option<&[u8]>) {
        if !self.lines.is_empty() {
            self.lines.push(b'\n');
        }
        self.lines.extend_from_slice(option);
        self.lines.push(b' ');
        let is_name_only = split_args(option).is_ok_and(|words| words.as_args().len() == 1);
        self.wants_value = is_name_only;
        // Scripts that build the list of save points may come up with none.
        let next_is_option = next.is_some_and(|next| next.starts_with(b"--"));
        if option.eq_ignore_ascii_case(b"save") && (next_is_option || next.is_none()) {
            self.lines.extend_from_slice(b"\"\"");
            self.wants_value = false;
        }
        if option.eq_ignore_ascii_case(b"sentinel") {
            self.wants_value = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> CommandLine {
        match parse(arguments.iter().map(OsString::from)) {
            Invocation::Run(command_line) => command_line,
            other => panic!("{other:?}"),
        }
    }

    fn lines(arguments: &[&str]) -> Vec<String> {
        let options = String::from_utf8(run(arguments).options).unwrap();
        options.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn files_options_and_standard_input() {
        assert_eq!(run(&[]), CommandLine::default());
        let all = run(&["/etc/x.conf", "--port", "7", "-"]);
        assert_eq!(all.file, Some(PathBuf::from("/etc/x.conf")));
        assert!(all.stdin);
        assert_eq!(all.options, b"port \"7\" ");
        assert!(run(&["-"]).stdin && run(&["-", "--port", "7"]).stdin);
        assert!(
            !run(&["--requirepass", "-", "--port", "7"]).stdin,
            "in the middle it is a value"
        );
        assert!(run(&["relative.conf"]).file.unwrap().is_absolute());
    }

    #[test]
    fn version_and_help_count_only_in_front() {
        assert_eq!(parse(["-v".into()]), Invocation::Version);
        assert_eq!(parse(["--help".into()]), Invocation::Help);
        assert_eq!(lines(&["--port", "--help"]), ["port \"--help\""]);
    }

    #[test]
    fn values_may_look_like_options() {
        assert_eq!(
            lines(&["--port", "6379", "6380"]),
            ["port \"6379\" \"6380\""]
        );
        assert_eq!(
            lines(&["--port", "--loglevel", "verbose"]),
            ["port \"--loglevel\" \"verbose\""]
        );
        assert_eq!(
            lines(&["--port", "--bla", "--loglevel", "x"]),
            ["port \"--bla\"", "loglevel \"x\""]
        );
        assert_eq!(
            lines(&["--maxmemory 700mb", "--port", "1"]),
            ["maxmemory 700mb", "port \"1\""]
        );
        assert_eq!(
            lines(&["loglevel", "verbose", "--port", "1"]),
            ["\"verbose\"", "port \"1\""],
            "the first is a file"
        );
        assert_eq!(
            lines(&["f", "loglevel", "verbose", "--port", "1"]),
            ["\"loglevel\" \"verbose\"", "port \"1\""]
        );
    }

    #[test]
    fn save_may_be_empty() {
        assert_eq!(
            lines(&["--save", "--loglevel", "x"]),
            ["save \"\"", "loglevel \"x\""]
        );
        assert_eq!(
            lines(&["--loglevel", "x", "--save"]),
            ["loglevel \"x\"", "save \"\""]
        );
        assert_eq!(
            lines(&["--save", "", "--loglevel", "x"]),
            ["save \"\"", "loglevel \"x\""]
        );
        assert_eq!(
            lines(&["--save", "3600", "1", "--save", ""]),
            ["save \"3600\" \"1\"", "save \"\""]
        );
    }
}

//! A configuration file with every parameter and its default, all commented out.

use std::fmt::Write;

use engine::config::{Flags, Kind, Parameter};

use super::pages::described;
use super::summaries::sections;
use super::{form, notes};

const INTRO: &str = "\
# Configuration of Lodestore. Made by `lodestore config --write` from the table of parameters.
#
# All lines are comments and show the defaults. To change one, remove the # before its name and change the value. CONFIG
# REWRITE writes changed values into this file. Environment variables (LODESTORE_MAXMEMORY=2gb) and options of the
# command line (--maxmemory 2gb) win over it.
#
# Files for Redis and Valkey can be used as well. Besides parameters a file may have
#
#     include /path/to/other.conf
#     rename-command FLUSHALL \"\"
#     user NAME RULES
#
# Sizes are bytes; kb, mb and gb stand for powers of 1024, k, m and g for powers of 1000.
";

/// Parameters without an effect: setting them is logged.
const LEFT_OUT: [Flags; 3] = [Flags::INERT, Flags::LATER, Flags::REFUSED];

/// The file.
pub(super) fn conf() -> String {
    let mut file = INTRO.to_owned();
    for section in sections() {
        let shown: Vec<_> = described(&section)
            .filter(|(parameter, _)| !LEFT_OUT.iter().any(|flag| parameter.flags.has(*flag)))
            .collect();
        if shown.is_empty() {
            continue;
        }
        // Writing to a string does not fail.
        let _ = writeln!(file, "\n\n# ===== {} =====", section.title);
        for (parameter, summary) in shown {
            let _ = write!(
                file,
                "\n# {}.\n# {}",
                first_upper(summary),
                value(parameter)
            );
            let _ = writeln!(file, "\n#{}", line(parameter));
        }
    }
    file
}

/// How values are written, and what is special.
fn value(parameter: &Parameter) -> String {
    let mut text = first_upper(&form(&parameter.kind));
    for note in notes(parameter.flags) {
        // Writing to a string does not fail.
        let _ = write!(text, "; {note}");
    }
    if parameter.flags.has(Flags::IMMUTABLE) {
        text.push_str("; a start only");
    }
    text.push('.');
    text
}

/// The line that sets the default.
fn line(parameter: &Parameter) -> String {
    let name = parameter.name;
    match (parameter.default, &parameter.kind) {
        ("", Kind::Dir) => format!("{name} ."),
        // With the append-only file, which is on by default.
        (_, Kind::Save) => format!("{name} \"\""),
        ("", Kind::ReplicaOf) => format!("{name} no one"),
        ("", _) => format!("{name} \"\""),
        (text, Kind::Text { .. }) if text.contains(' ') => format!("{name} \"{text}\""),
        (text, _) => format!("{name} {text}"),
    }
}

fn first_upper(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use engine::config::{Config, PARAMETERS};
    use server::config::args::{self, Invocation};

    use super::*;

    /// The configuration that a file makes.
    fn loaded(text: &str) -> Config {
        let Invocation::Run(command_line) = args::parse(["-".into()]) else {
            panic!("it runs");
        };
        command_line
            .load([], &mut text.as_bytes())
            .expect("the file loads")
    }

    #[test]
    fn the_file_loads_without_warnings_and_changes_nothing() {
        let defaults = loaded("");
        let file = conf();
        let settings: String = file
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(settings.lines().count() > 150, "{settings}");
        for text in [&file, &settings] {
            let config = loaded(text);
            let notices: Vec<&str> = config.notices().iter().map(|it| it.text.as_str()).collect();
            assert!(notices.is_empty(), "{notices:?}");
            for parameter in PARAMETERS {
                let value = |config: &Config| config.value_text(parameter.id);
                assert_eq!(value(&config), value(&defaults), "{}", parameter.name);
            }
        }
    }
}

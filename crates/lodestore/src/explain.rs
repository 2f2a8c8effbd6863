//! `lodestore config [NAME]`: explains parameters, from their table. `lodestore config --write DIR`
//! makes man pages, completions and a configuration file of it.

mod conf;
mod pages;
mod summaries;

use std::path::Path;
use std::process::ExitCode;

use engine::config::{Flags, Kind, PARAMETERS, Parameter, Unit};
use values::glob;

/// Prints all names, or explains the parameters that names or patterns stand for.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if arguments.is_empty() {
        for parameter in PARAMETERS.iter().filter(|it| !it.flags.has(Flags::HIDDEN)) {
            println!("{:44} {}", parameter.name, shown_default(parameter));
        }
        return ExitCode::SUCCESS;
    }
    if let [option, dir] = arguments
        && option == "--write"
    {
        return match pages::write(Path::new(dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{dir}: {}", persist::storage::errno_text(&error));
                ExitCode::FAILURE
            }
        };
    }
    let mut is_known = true;
    for name in arguments {
        let found = named(name);
        if found.is_empty() {
            eprintln!("There is no parameter '{name}'. 'lodestore config' lists all.");
            is_known = false;
        }
        for parameter in found {
            print!("{}", explained(parameter));
        }
    }
    if is_known {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The parameter of this name or alias, or all whose names match a pattern.
fn named(name: &str) -> Vec<&'static Parameter> {
    if let Some(parameter) = Parameter::named(name.as_bytes()) {
        return vec![parameter];
    }
    let is_pattern = name.contains(['*', '?', '[']);
    let all = PARAMETERS.iter().filter(|_| is_pattern);
    all.filter(|it| glob::matches(name.as_bytes(), it.name.as_bytes(), true))
        .collect()
}

/// The default as it would be written.
fn shown_default(parameter: &Parameter) -> &'static str {
    match (parameter.default, &parameter.kind) {
        ("", Kind::Dir) => "(the working directory)",
        ("", _) => "(empty)",
        (default, _) => default,
    }
}

/// Several lines about a parameter.
fn explained(parameter: &Parameter) -> String {
    let mut lines = vec![parameter.name.to_owned()];
    lines.extend(summaries::summary(parameter.name).map(|text| format!("    {text}")));
    lines.extend([
        format!("    default      {}", shown_default(parameter)),
        format!("    value        {}", form(&parameter.kind)),
        format!("    set by       {}", settable(parameter.flags)),
        format!("    environment  {}", variable(parameter.name)),
    ]);
    if let Some(alias) = parameter.alias {
        lines.push(format!("    older name   {alias}"));
    }
    lines.extend(notes(parameter.flags).map(|note| format!("    note         {note}")));
    lines.push(String::new());
    lines.join("\n")
}

/// The environment variable that sets a parameter.
fn variable(name: &str) -> String {
    format!("LODESTORE_{}", name.to_uppercase().replace('-', "_"))
}

/// Where a parameter can be set.
fn settable(flags: Flags) -> &'static str {
    if flags.has(Flags::IMMUTABLE) {
        "a start only: file, environment, command line"
    } else if flags.has(Flags::PROTECTED) {
        "a start; CONFIG SET where enable-protected-configs allows it"
    } else {
        "a start, and CONFIG SET"
    }
}

/// What is special about a parameter.
fn notes(flags: Flags) -> impl Iterator<Item = &'static str> {
    [
        (Flags::OWN, "only Lodestore has it"),
        (
            Flags::SENSITIVE,
            "a secret: logs and the slow log leave it out",
        ),
        (
            Flags::INERT,
            "accepted for existing configurations, without effect",
        ),
        (Flags::REFUSED, "any value but the default is refused"),
        (Flags::LATER, "what it steers is not there yet"),
        (
            Flags::DENY_LOADING,
            "cannot be changed while data is loaded",
        ),
    ]
    .into_iter()
    .filter_map(move |(flag, note)| flags.has(flag).then_some(note))
}

/// How values are written.
fn form(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "yes or no".to_owned(),
        Kind::Number { min, max, unit } => number(*min, *max, *unit),
        Kind::Choice(words) => names(words.iter().map(|word| word.0), "one of"),
        Kind::Flags(words) => names(words.iter().map(|word| word.0), "some of"),
        Kind::Events => "letters of classes of keyspace events: g$lshzxedntmKEA ...".to_owned(),
        Kind::Text { .. } => "a text".to_owned(),
        Kind::Dir => "a directory".to_owned(),
        Kind::Save => "pairs of seconds and changes, or nothing".to_owned(),
        Kind::OutputLimits => {
            "for each class its name, a hard and a soft limit in bytes, and seconds".to_owned()
        }
        Kind::Addresses => "addresses; one with - in front may be missing".to_owned(),
        Kind::OomScores => "three numbers: as a primary, as a replica, of children".to_owned(),
        Kind::Percentiles => "percentages between 0 and 100".to_owned(),
        Kind::RdbVersions => "versions of the RDB format in order of preference".to_owned(),
        Kind::ReplicaOf => "a host and a port, or no one".to_owned(),
    }
}

/// The range and the unit of a number.
fn number(min: i64, max: i64, unit: Unit) -> String {
    let bound = |value: i64| match value {
        i64::MAX => "2^63 - 1".to_owned(),
        value => value.to_string(),
    };
    let range = format!("from {} to {}", bound(min), bound(max));
    match unit {
        Unit::Plain => format!("a number {range}"),
        Unit::Memory => format!("bytes {range}, or with kb, mb, gb"),
        Unit::MemoryOrPercent => "bytes, with kb, mb, gb, or a share of maxmemory as 5%".to_owned(),
        Unit::UnsignedMemoryOrShare => {
            "bytes, with kb, mb, gb, or a share of the memory there is as 75%".to_owned()
        }
        Unit::SignedMemory => format!(
            "bytes {range}, or with kb, mb, gb; negative numbers have a meaning of their own"
        ),
        Unit::Octal => format!("an octal number from {min:o} to {max:o}"),
    }
}

/// The words of a list, for people.
fn names(words: impl Iterator<Item = &'static str>, how: &str) -> String {
    let words: Vec<_> = words.collect();
    format!("{how}: {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_explained() {
        for parameter in PARAMETERS {
            let text = explained(parameter);
            assert!(
                text.starts_with(parameter.name) && text.contains("default"),
                "{text}"
            );
        }
    }

    #[test]
    fn names_aliases_and_patterns_are_found() {
        let only = |name| named(name).first().map(|it| it.name);
        assert_eq!(only("MAXMEMORY"), Some("maxmemory"));
        assert_eq!(only("slaveof"), Some("replicaof"));
        assert!(named("http-*").len() >= 3);
        assert!(named("nosuch").is_empty() && named("nosuch*").is_empty());
        let text = explained(named("maxmemory")[0]);
        assert!(
            text.contains("75%") && text.contains("LODESTORE_MAXMEMORY"),
            "{text}"
        );
        assert!(explained(named("http-port")[0]).contains("a start only"));
    }
}

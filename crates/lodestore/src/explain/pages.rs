//! Man pages, completions of shells, a table of parameters and a configuration file, all made from
//! the table of parameters and the usage text.
//!
//! They are made when they are packaged (`cargo xtask manual`) and not kept in the repository, so
//! they cannot fall behind the table. The table and the configuration file are kept, because people
//! look for them there; a test compares them.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use engine::config::{Flags, PARAMETERS, Parameter};
use server::config::args::USAGE;

use super::conf::conf;
use super::summaries::{Section, sections, summary};
use super::{form, notes, settable, shown_default, variable};

/// Words that stand for a tool in place of a configuration file.
const TOOLS: [&str; 3] = ["check", "config", "ping"];

/// Writes all pages into a directory, which is made.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (name, text) in [
        ("lodestore.1", man_program()),
        ("lodestore.conf.5", man_parameters()),
        ("configuration.md", markdown()),
        ("lodestore.conf", conf()),
        ("lodestore.bash", bash()),
        ("_lodestore", zsh()),
        ("lodestore.fish", fish()),
    ] {
        fs::write(dir.join(name), text)?;
    }
    Ok(())
}

/// The parameters that CONFIG GET shows.
fn shown() -> impl Iterator<Item = &'static Parameter> {
    PARAMETERS
        .iter()
        .filter(|parameter| !parameter.flags.has(Flags::HIDDEN))
}

/// The parameters of a section with what they are for.
pub(super) fn described(
    section: &Section,
) -> impl Iterator<Item = (&'static Parameter, &'static str)> {
    let rows = section.parameters.iter();
    rows.filter_map(|(name, text)| Some((Parameter::named(name.as_bytes())?, *text)))
}

/// A text as roff shows it: backslashes, dashes of options, and dots that begin a line.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.lines()
        .map(|line| match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}\n"),
            false => format!("{line}\n"),
        })
        .collect()
}

/// lodestore(1).
fn man_program() -> String {
    format!(
        ".TH LODESTORE 1\n.SH NAME\nlodestore \\- in\\-memory data store that speaks the Redis protocol\n\
         .SH SYNOPSIS\n.nf\n{}.fi\n.SH SIGNALS\n.TP\nSIGTERM, SIGINT\nEnd the server in order.\n\
         .TP\nSIGHUP\nOpens log files anew.\n.SH \"SEE ALSO\"\n.BR lodestore.conf (5)\n",
        roff(USAGE)
    )
}

/// lodestore.conf(5).
fn man_parameters() -> String {
    let mut page = ".TH LODESTORE.CONF 5\n.SH NAME\nlodestore.conf \\- parameters of lodestore\n.SH DESCRIPTION\n\
                    A line is a parameter and its values. Each can also be given as an option (\\-\\-name value), in \
                    the environment, and mostly by CONFIG SET.\n.SH PARAMETERS\n"
        .to_owned();
    for parameter in shown() {
        // Writing to a string does not fail.
        let _ = write!(page, ".TP\n.B {}", roff(parameter.name));
        for (what, text) in facts(parameter) {
            let _ = writeln!(page, "{what}: {}.br", roff(&text));
        }
    }
    page.push_str(".SH \"SEE ALSO\"\n.BR lodestore (1)\n");
    page
}

/// What there is to say of a parameter, in pairs.
fn facts(parameter: &Parameter) -> Vec<(&'static str, String)> {
    let summary = summary(parameter.name).unwrap_or_default();
    let mut facts = vec![
        ("For", summary.to_owned()),
        ("Default", shown_default(parameter).to_owned()),
        ("Value", form(&parameter.kind)),
        ("Set by", settable(parameter.flags).to_owned()),
        ("Environment", variable(parameter.name)),
    ];
    facts.extend(
        parameter
            .alias
            .map(|alias| ("Older name", alias.to_owned())),
    );
    facts.extend(notes(parameter.flags).map(|note| ("Note", note.to_owned())));
    facts
}

/// What stands above the tables.
const TABLES_INTRO: &str = "\
# Parameters

`cargo xtask manual` makes this page from the table of parameters.

Each parameter can be given in four places; a later one of these wins over an earlier: a configuration file
(`maxmemory 2gb`), the environment (`LODESTORE_MAXMEMORY=2gb`), an option of the command line (`--maxmemory 2gb`),
and CONFIG SET at run time, which CONFIG REWRITE writes into the file. `lodestore config NAME` explains one.
[contrib/lodestore.conf](../contrib/lodestore.conf) is a file with the defaults.

*Start*: CONFIG SET cannot change it. *Protected*: CONFIG SET needs `enable-protected-configs`.
";

/// A table for each section, with one row for each parameter.
fn markdown() -> String {
    let mut page = TABLES_INTRO.to_owned();
    for section in sections() {
        // Writing to a string does not fail.
        let _ = write!(
            page,
            "\n## {}\n\n| parameter | what it is for | default | value | notes |\n| --- | --- | --- | --- | --- |\n",
            section.title
        );
        for (parameter, summary) in described(&section) {
            let _ = writeln!(
                page,
                "| `{}` | {} | `{}` | {} | {} |",
                parameter.name,
                cell(summary),
                shown_default(parameter),
                cell(&form(&parameter.kind)),
                cell(&all_notes(parameter))
            );
        }
    }
    page
}

/// A text as a cell of a table shows it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}

/// Where a parameter is set, as far as that is special, and what else there is to say.
fn all_notes(parameter: &Parameter) -> String {
    let place = if parameter.flags.has(Flags::IMMUTABLE) {
        Some("start")
    } else if parameter.flags.has(Flags::PROTECTED) {
        Some("protected")
    } else {
        None
    };
    let notes: Vec<&str> = place.into_iter().chain(notes(parameter.flags)).collect();
    notes.join("; ")
}

/// All parameters as options.
fn options() -> String {
    let names: Vec<String> = shown().map(|it| format!("--{}", it.name)).collect();
    names.join(" ")
}

/// Options behind dashes; tools and files in the first place, files elsewhere.
fn bash() -> String {
    format!(
        "_lodestore() {{\n    local word=${{COMP_WORDS[COMP_CWORD]}}\n    if [[ $word == --* ]]; then\n        \
         COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n    elif ((COMP_CWORD == 1)); then\n        \
         COMPREPLY=($(compgen -W '{}' -- \"$word\") $(compgen -f -- \"$word\"))\n    else\n        \
         COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}}\ncomplete -F _lodestore lodestore\n",
        options(),
        TOOLS.join(" ")
    )
}

/// The same for zsh.
fn zsh() -> String {
    format!(
        "#compdef lodestore\nif [[ $words[CURRENT] == --* ]]; then\n    compadd -- {}\nelse\n    \
         (( CURRENT == 2 )) && compadd -- {}\n    _files\nfi\n",
        options(),
        TOOLS.join(" ")
    )
}

/// The same for fish.
fn fish() -> String {
    let mut page = String::new();
    for tool in TOOLS {
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "complete -c lodestore -n __fish_use_subcommand -a {tool}"
        );
    }
    for parameter in shown() {
        let _ = writeln!(page, "complete -c lodestore -l {} -r", parameter.name);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_every_parameter() {
        let pages = [man_parameters(), markdown(), bash(), zsh(), fish()];
        for parameter in shown() {
            let roff_name = roff(parameter.name);
            for page in &pages {
                let is_named = page.contains(parameter.name) || page.contains(&roff_name);
                assert!(is_named, "{}", parameter.name);
            }
        }
    }

    #[test]
    fn what_is_kept_in_the_repository_is_current() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        for (path, text) in [
            ("docs/configuration.md", markdown()),
            ("contrib/lodestore.conf", conf()),
        ] {
            let kept = fs::read_to_string(format!("{root}/{path}")).unwrap_or_default();
            assert!(kept == text, "{path} is old: run `cargo xtask manual`");
        }
    }

    #[test]
    fn no_line_of_a_man_page_is_a_request_by_accident() {
        assert_eq!(roff(".x\n'y\na-b\\c"), "\\&.x\n\\&'y\na\\-b\\ec\n");
        let page = man_parameters();
        let known = [".TH", ".SH", ".TP", ".B ", ".BR", ".br"];
        for line in page.lines().filter(|line| line.starts_with('.')) {
            assert!(
                known.iter().any(|request| line.starts_with(request)),
                "{line}"
            );
        }
    }
}

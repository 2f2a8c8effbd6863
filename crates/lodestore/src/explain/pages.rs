//! Man pages, completions of shells and a table of parameters, all made from the table of
//! parameters and the usage text.
//!
//! They are made when they are packaged (`cargo xtask manual`) and not kept in the repository, so
//! they cannot fall behind the table.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use engine::config::{Flags, PARAMETERS, Parameter};
use server::config::args::USAGE;

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
    let mut facts = vec![
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

/// One row for each parameter.
fn markdown() -> String {
    let mut page = "# Parameters\n\n| parameter | default | value | set by | notes |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    for parameter in shown() {
        let notes: Vec<_> = notes(parameter.flags).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "| `{}` | `{}` | {} | {} | {} |",
            parameter.name,
            shown_default(parameter).replace('|', "\\|"),
            form(&parameter.kind).replace('|', "\\|"),
            settable(parameter.flags),
            notes.join("; ")
        );
    }
    page
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

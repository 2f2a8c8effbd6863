//! The rules of this code base that neither rustfmt nor clippy checks.
//!
//! - Functions have at most 70 lines, those of tests excepted, and files at most 1,000.
//! - `unsafe` stands only in crates/values, crates/keyspace and modules named `sys`, each use with
//!   a `SAFETY` comment.
//! - No unwrap and no expect outside tests, no notes to self anywhere.
//! - Comments have at most 100 columns, and are a share of a crate's lines.
//! - Comments name their subject: the type, function, client or user that acts.
//! - Comments and documents name no directories of a developer's machine.
//! - Crates depend on each other only along the arrows of the architecture.
//! - The rooms of a crate import each other in no circle, and downwards only.
//! - Public items are used.
//!
//! There are no exceptions for single places.

mod prose;
mod public;
mod rooms;
mod source;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::tools;
use prose::Prose;
use rooms::Rooms;
use source::Source;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 1000;

/// Which crates of the workspace a crate may depend on. The chores depend on none of them.
const ARROWS: &[(&str, &[&str])] = &[
    ("crates/resp", &[]),
    ("crates/values", &[]),
    ("crates/keyspace", &["values"]),
    ("crates/persist", &["keyspace", "values", "resp"]),
    ("crates/script", &["resp"]),
    (
        "crates/engine",
        &["keyspace", "persist", "resp", "script", "values"],
    ),
    (
        "crates/server",
        &["engine", "keyspace", "persist", "resp", "values"],
    ),
    (
        "crates/lodestore",
        &["engine", "keyspace", "persist", "resp", "server", "values"],
    ),
    (
        "bench",
        &["engine", "keyspace", "lodestore", "persist", "resp"],
    ),
    ("xtask", &["resp"]),
];

/// First parts of absolute paths that are the same on every machine.
const COMMON_DIRECTORIES: &[&str] = &[
    "bin", "dev", "etc", "opt", "path", "proc", "run", "sys", "tmp", "usr", "var",
];

/// Folders with nothing of ours.
const SKIPPED_FOLDERS: &[&str] = &[
    ".git",
    "target",
    "fuzz/target",
    "fuzz/corpus",
    "fuzz/artifacts",
];

/// Words that mark unfinished work, given in two halves so that this file passes its own check.
const NOTES: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X:"), ("HA", "CK:")];

/// Macros that must not stay.
const MACROS: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Checks every file of the tree.
pub(crate) fn run() -> Result<()> {
    let root = tools::root()?;
    let mut tidy = Tidy::default();
    for path in files(&root)? {
        // A file may have been deleted but not yet removed from the index.
        let Ok(bytes) = fs::read(root.join(&path)) else {
            continue;
        };
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        tidy.check_file(&path, &text);
    }
    tidy.check_workspace();
    tidy.report();
    if !tidy.complaints.is_empty() {
        bail!("tidy: {} complaints", tidy.complaints.len());
    }
    Ok(())
}

/// All files of the tree as paths relative to the root, with `/`, sorted.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(root.join(&folder)).with_context(|| format!("reading {folder}"))?
        {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = format!("{folder}{name}");
            if !entry.file_type()?.is_dir() {
                paths.push(path);
            } else if !SKIPPED_FOLDERS.contains(&path.as_str()) {
                folders.push(format!("{path}/"));
            }
        }
    }
    paths.sort();
    Ok(paths)
}

#[derive(Default)]
struct Tidy {
    complaints: Vec<String>,
    /// Findings of checks that do not fail yet.
    notes: Vec<String>,
    prose: Prose,
    /// All source files with their paths.
    sources: Vec<(String, Source)>,
}

impl Tidy {
    fn check_file(&mut self, path: &str, text: &str) {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension {
            "rs" => self.check_source(path, text),
            "md" | "toml" | "txt" | "sh" | "yml" | "tcl" => self.check_text(path, text),
            _ => {}
        }
        if path.ends_with("Cargo.toml") {
            self.check_arrows(path, text);
        }
    }

    fn check_source(&mut self, path: &str, text: &str) {
        let source = Source::new(text, is_test_file(path));
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            self.complaints
                .push(format!("{path}: {lines} lines, more than {FILE_LINES_MAX}"));
        }
        for function in &source.functions {
            let length = function.lines.end() - function.lines.start() + 1;
            // Tests may be tables of cases.
            let is_test = source.test[*function.lines.start()];
            if length > FUNCTION_LINES_MAX && !is_test {
                let line = function.lines.start() + 1;
                self.complaints.push(format!(
                    "{path}:{line}: fn {} has {length} lines",
                    function.name
                ));
            }
        }
        for line in 0..source.code.len() {
            self.check_line(path, line, &source);
        }
        self.prose.add(path, text, &source);
        self.sources.push((path.to_owned(), source));
    }

    /// The checks that look at several files at a time.
    fn check_workspace(&mut self) {
        self.complaints.extend(self.prose.complaints());
        for (folder, _) in ARROWS {
            let files = self.sources.iter().filter(|(path, _)| {
                path.starts_with(&format!("{folder}/src/")) && !is_test_file(path)
            });
            let rooms = Rooms::new(folder, files.map(|(path, source)| (path.as_str(), source)));
            self.complaints.extend(rooms.complaints(folder));
        }
        let dead = public::dead_items(&self.sources);
        self.complaints.extend(dead.complaints);
        self.notes.extend(dead.notes);
    }

    fn check_line(&mut self, path: &str, line: usize, source: &Source) {
        let (code, comment) = (&source.code[line], &source.comments[line]);
        let mut complaints = Vec::new();
        if has_word(code, "unsafe") {
            if !may_be_unsafe(path) {
                complaints.push("`unsafe` outside values, keyspace and sys modules");
            }
            // The requirements of an unsafe function stand in its documentation, or in that of its
            // trait.
            let is_function = code.contains("unsafe fn") || code.contains("unsafe extern");
            if !is_function && !is_safety_explained(source, line) {
                complaints.push("`unsafe` without a SAFETY comment");
            }
        }
        let unwraps = code.contains(".unwrap()")
            || code.contains(".expect(")
            || code.contains(".unwrap_err()");
        if unwraps && !source.test[line] {
            complaints.push("unwrap or expect outside tests");
        }
        if MACROS.iter().any(|name| code.contains(name)) || has_note(comment) {
            complaints.push("a note to self or a placeholder");
        }
        if foreign_path(comment).is_some() {
            complaints.push("a comment names a directory of some machine");
        }
        let open_subject = prose::open_subject(comment).map(|word| {
            format!("a comment with `{word}`: name the type, function, client or user instead")
        });
        let complaints = complaints.into_iter().map(str::to_owned);
        for complaint in complaints.chain(open_subject) {
            self.complaints
                .push(format!("{path}:{}: {complaint}", line + 1));
        }
    }

    /// Documents and manifests: the same rules for words, none for lengths.
    fn check_text(&mut self, path: &str, text: &str) {
        for (line, text) in text.lines().enumerate() {
            if has_note(text) {
                self.complaints
                    .push(format!("{path}:{}: a note to self", line + 1));
            }
            if let Some(found) = foreign_path(text) {
                self.complaints.push(format!(
                    "{path}:{}: a directory of some machine: {found}",
                    line + 1
                ));
            }
        }
    }

    /// A crate may only use the crates below it. Crates we did not write are the business of
    /// deny.toml.
    fn check_arrows(&mut self, path: &str, text: &str) {
        let folder = path.trim_end_matches("/Cargo.toml");
        let Some((_, arrows)) = ARROWS.iter().find(|(name, _)| *name == folder) else {
            return;
        };
        for dependency in dependencies(text) {
            let is_ours = ARROWS
                .iter()
                .any(|(name, _)| name.rsplit('/').next() == Some(dependency));
            if is_ours && !arrows.contains(&dependency) {
                self.complaints
                    .push(format!("{path}: must not depend on {dependency}"));
            }
        }
    }

    fn report(&self) {
        for row in self.prose.table() {
            println!("{row}");
        }
        for note in &self.notes {
            println!("note: {note}");
        }
        for complaint in &self.complaints {
            println!("{complaint}");
        }
    }
}

/// The names under `[dependencies]` and `[build-dependencies]`. Tests may use any crate.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if let Some(section) = line.trim().strip_prefix('[') {
            inside = section.ends_with("dependencies]") && !section.starts_with("dev-");
            return None;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        (inside && !name.is_empty() && !name.starts_with('#')).then_some(name)
    })
}

/// Files that are test code as a whole.
fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.contains("/tests/")
        || path.starts_with("fuzz/")
        || path.contains("/benches/")
        || name == "tests.rs"
}

/// The folder of the crate that a source file belongs to.
fn crate_of(path: &str) -> String {
    if path.starts_with("fuzz/") {
        return "fuzz".to_owned();
    }
    path.split_once("/src/")
        .or_else(|| path.split_once("/tests/"))
        .or_else(|| path.split_once("/examples/"))
        .or_else(|| path.split_once("/build.rs"))
        .map_or(path, |(folder, _)| folder)
        .to_owned()
}

/// The memory layouts, and the seams to the operating system.
fn may_be_unsafe(path: &str) -> bool {
    let in_sys = path.ends_with("/sys.rs") || path.contains("/sys/");
    in_sys
        || ["crates/values/", "crates/keyspace/"]
            .iter()
            .any(|folder| path.starts_with(folder))
}

/// A comment with SAFETY (or the section `# Safety` of a documentation comment) on the line itself
/// or above the statement or item that contains it.
fn is_safety_explained(source: &Source, line: usize) -> bool {
    let explains = |line: usize| {
        source.comments[line].contains("SAFETY") || source.comments[line].contains("# Safety")
    };
    if explains(line) || source.code[line].contains("unsafe_") {
        return true;
    }
    for above in (0..line).rev() {
        let code = source.code[above].trim_end();
        let is_blank = code.is_empty() && source.comments[above].trim().is_empty();
        if explains(above) {
            return true;
        }
        // Another statement or item ends here, so the comment is not about this line.
        if is_blank || code.ends_with([';', '}']) {
            return false;
        }
    }
    false
}

fn has_note(text: &str) -> bool {
    NOTES
        .iter()
        .any(|(head, tail)| text.contains(&format!("{head}{tail}")))
}

/// Whether `word` stands in `code` as a whole word.
fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part)
    })
}

/// An absolute path whose first part is not common to all machines.
fn foreign_path(text: &str) -> Option<&str> {
    text.match_indices('/').find_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        if !before.is_none_or(|c| c.is_whitespace() || "\"'`(=".contains(c)) {
            return None;
        }
        let rest = &text[at + 1..];
        let (first, _) = rest.split_once('/')?;
        let is_name = !first.is_empty()
            && first
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        (is_name && !COMMON_DIRECTORIES.contains(&first)).then(|| &text[at..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_machines_are_found() {
        assert!(foreign_path("see /home/somebody/x").is_some());
        assert!(foreign_path("`/srv/data/x`").is_some());
        assert!(
            foreign_path("see /proc/self/stat, crates/x/y, and/or, https://a/b/c, //! x").is_none()
        );
    }

    #[test]
    fn only_real_dependencies_count() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nresp.workspace = true\n# c\nlibc = \"1\"\n[dev-dependencies]\nredis.workspace = true\n";
        assert_eq!(dependencies(manifest).collect::<Vec<_>>(), ["resp", "libc"]);
    }

    #[test]
    fn safety_comments_are_seen_above_the_statement_only() {
        let explained = Source::new("// SAFETY: fine\nlet a =\n    unsafe { b() };", false);
        assert!(is_safety_explained(&explained, 2));
        let other = Source::new(
            "// SAFETY: fine\nlet a = 1;\nlet b = unsafe { b() };",
            false,
        );
        assert!(!is_safety_explained(&other, 2));
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("unsafe { }", "unsafe"));
        assert!(!has_word("undocumented_unsafe_blocks", "unsafe"));
    }
}

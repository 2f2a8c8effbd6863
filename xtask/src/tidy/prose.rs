//! Widths of comment lines, words of comments, and how much of a crate is comment.

use std::collections::BTreeMap;

use super::source::Source;
use super::{crate_of, has_word, is_test_file};

/// Columns a line with a comment may have.
const COLUMNS_MAX: usize = 100;

/// Crates whose comments keep to [`COLUMNS_MAX`].
const WIDTH_CHECKED: &[&str] = &[
    "bench",
    "crates/engine",
    "crates/keyspace",
    "crates/lodestore",
    "crates/persist",
    "crates/resp",
    "crates/script",
    "crates/server",
    "crates/values",
    "fuzz",
    "xtask",
];

/// The share of comments a crate must have, in percent of its lines outside tests. Raised when a
/// crate has more, never lowered.
const DENSITY_FLOORS: &[(&str, usize)] = &[
    ("bench", 8),
    ("crates/engine", 8),
    ("crates/keyspace", 18),
    ("crates/lodestore", 12),
    ("crates/persist", 13),
    ("crates/resp", 14),
    ("crates/script", 9),
    ("crates/server", 8),
    ("crates/values", 16),
    ("xtask", 9),
];

/// Words that stand in the place of a subject. Code is not a person, and a comment names the type,
/// function, client or user that acts.
const OPEN_SUBJECTS: &[&str] = &[
    "anybody",
    "everybody",
    "nobody",
    "somebody",
    "someone",
    "whoever",
];

/// Lines outside tests, of one crate.
#[derive(Default)]
struct Counts {
    code: usize,
    comments: usize,
    wide: Vec<String>,
}

/// The comments of all crates.
#[derive(Default)]
pub(crate) struct Prose(BTreeMap<String, Counts>);

impl Prose {
    /// Adds a source file, given with its text, which `source` was made of.
    pub(crate) fn add(&mut self, path: &str, text: &str, source: &Source) {
        let counts = self.0.entry(crate_of(path)).or_default();
        for (line, text) in text.lines().enumerate() {
            let columns = text.chars().count();
            let comment = source.comments.get(line).map_or("", |it| it.trim());
            // An address cannot be broken.
            if columns > COLUMNS_MAX && !comment.is_empty() && !comment.contains("://") {
                let line = line + 1;
                let complaint = format!("{path}:{line}: a comment of {columns} columns");
                counts.wide.push(complaint);
            }
        }
        if !is_test_file(path) {
            let (code, comments) = source.line_counts();
            counts.code += code;
            counts.comments += comments;
        }
    }

    /// The complaints about crates that are checked.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (folder, counts) in &self.0 {
            if WIDTH_CHECKED.contains(&folder.as_str()) {
                complaints.extend(counts.wide.iter().cloned());
            }
            let floor = DENSITY_FLOORS.iter().find(|(name, _)| name == folder);
            match floor {
                Some((_, floor)) if counts.density() < *floor => complaints.push(format!(
                    "{folder}: comments are {} % of the lines, less than {floor} %",
                    counts.density()
                )),
                None if counts.code > 0 => {
                    complaints.push(format!("{folder}: has no floor of comment density"));
                }
                _ => {}
            }
        }
        complaints
    }

    /// Numbers of lines, as a table with a row per crate.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut rows = vec![
            "| crate | lines of code | lines of comments | comments % | wide comments |".to_owned(),
            "| --- | --- | --- | --- | --- |".to_owned(),
        ];
        for (folder, counts) in &self.0 {
            let Counts {
                code,
                comments,
                wide,
            } = counts;
            let density = counts.density();
            let wide = wide.len();
            rows.push(format!(
                "| {folder} | {code} | {comments} | {density} | {wide} |"
            ));
        }
        rows
    }
}

impl Counts {
    /// Comments in percent of all lines, rounded down.
    fn density(&self) -> usize {
        100 * self.comments / (self.code + self.comments).max(1)
    }
}

/// The first of [`OPEN_SUBJECTS`] that stands in a comment as a whole word, in any case.
pub(crate) fn open_subject(comment: &str) -> Option<&'static str> {
    let comment = comment.to_ascii_lowercase();
    let mut words = OPEN_SUBJECTS.iter().copied();
    words.find(|word| has_word(&comment, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_name_their_subject() {
        assert_eq!(open_subject("/ Whoever ends a wait"), Some("whoever"));
        assert_eq!(
            open_subject("errors are nobody's to handle"),
            Some("nobody")
        );
        assert_eq!(open_subject("the consumer NOBODY_HAS is whoeverish"), None);
        let source = Source::new("let a = \"nobody\"; // the client waits", false);
        assert_eq!(open_subject(&source.comments[0]), None);
    }

    #[test]
    fn only_comments_count_as_wide() {
        let long = "x".repeat(COLUMNS_MAX);
        let text = format!(
            "let a = \"{long}\";\n// {long}\nf(); // {long}\n// https://{long}\n// {}",
            "é".repeat(COLUMNS_MAX - 3)
        );
        let mut prose = Prose::default();
        prose.add("crates/x/src/a.rs", &text, &Source::new(&text, false));
        assert_eq!(
            prose.0["crates/x"].wide,
            [
                "crates/x/src/a.rs:2: a comment of 103 columns",
                "crates/x/src/a.rs:3: a comment of 108 columns",
            ]
        );
    }

    #[test]
    fn tests_have_no_density() {
        let text = "// one\nfn f() {}\nfn g() {}\nfn h() {}\n#[cfg(test)]\nmod tests {\n// two\n}";
        let mut prose = Prose::default();
        prose.add("crates/x/src/a.rs", text, &Source::new(text, false));
        prose.add("crates/x/tests/b.rs", text, &Source::new(text, true));
        assert_eq!(prose.0["crates/x"].density(), 25);
    }
}

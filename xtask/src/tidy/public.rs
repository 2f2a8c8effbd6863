//! Public items that nothing outside their file uses.
//!
//! The search goes by name, so that it never calls an item dead that is used: another item of the
//! same name hides it. Re-exports are no use. A type counts as used when the signature of a
//! function or a public field in its own file names it. Tests, examples, benchmarks and fuzz
//! targets do not keep an item alive, except in a module that exists to support tests, or with the
//! words "for tests" in the item's documentation.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;
use super::{crate_of, is_test_file};

/// Crates without a public interface to the outside. The interface of crates/lodestore is for
/// programs that embed it.
const CHECKED: &[&str] = &[
    "crates/resp",
    "crates/values",
    "crates/keyspace",
    "crates/persist",
    "crates/engine",
    "crates/script",
    "crates/server",
];

/// Modules whose items serve tests, as their documentation says.
const TEST_SUPPORT: &[&str] = &[
    "crates/persist/src/storage/faulty.rs",
    "crates/resp/src/decode.rs",
];

/// Words between `pub` and the kind of an item.
const QUALIFIERS: &[&str] = &["const", "async", "unsafe", "extern"];

/// Words that begin an item with a name.
const KINDS: &[&str] = &[
    "fn", "struct", "enum", "union", "trait", "type", "const", "static",
];

/// Words of one file outside tests, and inside.
struct Words<'a> {
    product: BTreeSet<&'a str>,
    test: BTreeSet<&'a str>,
}

/// The findings about public items.
#[derive(Default)]
pub(crate) struct Dead {
    pub(crate) complaints: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// Looks for dead public items in `files`: all source files of the workspace with their paths.
pub(crate) fn dead_items(files: &[(String, Source)]) -> Dead {
    let words: BTreeMap<&str, Words<'_>> = files
        .iter()
        .map(|(path, source)| (path.as_str(), words_of(path, source)))
        .collect();
    let mut dead = Dead::default();
    for (path, source) in files {
        let folder = crate_of(path);
        let is_checked = CHECKED.contains(&folder.as_str()) && path.contains("/src/");
        if !is_checked || is_test_file(path) {
            continue;
        }
        let others = || words.iter().filter(|(other, _)| **other != path);
        for (line, name) in public_items(source) {
            let is_used = others().any(|(_, words)| words.product.contains(name));
            if is_used || is_in_signature(source, line, name) {
                continue;
            }
            let is_tested = words.values().any(|words| words.test.contains(name));
            if is_tested && supports_tests(path, source, line) {
                continue;
            }
            let users = match (is_used_in_file(source, line, name), is_tested) {
                (true, false) => "only its own file uses",
                (true, true) => "only its own file and tests use",
                (false, true) => "only tests use",
                (false, false) => "nothing uses",
            };
            let text = format!("{path}:{}: {users} the public {name}", line + 1);
            // An item that only tests use may be an interface that is built before its users.
            if is_tested {
                dead.notes.push(text);
            } else {
                dead.complaints.push(text);
            }
        }
    }
    dead
}

/// Whether an item is there for tests: by its module, or by its own documentation.
fn supports_tests(path: &str, source: &Source, line: usize) -> bool {
    let is_above = |line: &usize| {
        let code = source.code[*line].trim();
        code.is_empty() || code.starts_with('#')
    };
    TEST_SUPPORT.contains(&path)
        || (0..line)
            .rev()
            .take_while(is_above)
            .take_while(|line| !source.comments[*line].trim().is_empty())
            .any(|line| source.comments[line].to_lowercase().contains("for tests"))
}

/// Whether the file uses an item it defines; the `impl` of a type is no use.
fn is_used_in_file(source: &Source, defined: usize, name: &str) -> bool {
    (0..source.code.len())
        .filter(|line| *line != defined && !source.test[*line])
        .filter(|line| !source.code[*line].trim_start().starts_with("impl"))
        .any(|line| split_words(&source.code[line]).any(|word| word == name))
}

/// The words of a file; those of `use` items that re-export are left out.
fn words_of<'a>(path: &str, source: &'a Source) -> Words<'a> {
    let supports = is_support(path);
    let mut words = Words {
        product: BTreeSet::new(),
        test: BTreeSet::new(),
    };
    let mut exports = false;
    for (line, code) in source.code.iter().enumerate() {
        exports |= code.trim_start().starts_with("pub use ")
            || code.trim_start().starts_with("pub(crate) use ");
        if !exports {
            let is_test = source.test[line] || supports;
            let set = if is_test {
                &mut words.test
            } else {
                &mut words.product
            };
            set.extend(split_words(code));
        }
        exports &= !code.contains(';');
    }
    words
}

/// Code that uses the crates only to try them.
fn is_support(path: &str) -> bool {
    path.starts_with("bench/")
        || path.starts_with("fuzz/")
        || ["/tests/", "/examples/", "/benches/"]
            .iter()
            .any(|folder| path.contains(folder))
}

fn split_words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// Names of the public items of a file outside tests, each with its line counted from 0.
fn public_items(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.code.iter().enumerate();
    lines.filter_map(|(line, code)| {
        let rest = code.trim_start().strip_prefix("pub ")?;
        let mut words = split_words(rest).peekable();
        let mut kind = words.next()?;
        while QUALIFIERS.contains(&kind)
            && words
                .peek()
                .is_some_and(|next| KINDS.contains(next) || QUALIFIERS.contains(next))
        {
            kind = words.next()?;
        }
        let name = words.next()?;
        (KINDS.contains(&kind) && !source.test[line]).then_some((line, name))
    })
}

/// Whether a function's signature, a public field or an associated type in the file names `name`.
fn is_in_signature(source: &Source, defined: usize, name: &str) -> bool {
    if !name.starts_with(char::is_uppercase) {
        return false;
    }
    let mut inside = false;
    for (line, code) in source.code.iter().enumerate() {
        let text = code.trim_start();
        let is_start = split_words(text).any(|word| word == "fn");
        inside |= is_start && !source.test[line];
        let is_field = text.starts_with("pub ") && text.contains(": ");
        let is_type = text.starts_with("type ") || text.starts_with("pub type ");
        if line != defined
            && (inside || is_field || is_type)
            && !source.test[line]
            && split_words(code).any(|word| word == name)
        {
            return true;
        }
        inside &= !code.contains('{') && !code.contains(';');
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, Source)> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Source::new(text, is_test_file(path))))
            .collect();
        let found = dead_items(&files);
        [found.complaints, found.notes].concat()
    }

    #[test]
    fn items_without_users_are_dead() {
        let found = dead(&[
            (
                "crates/resp/src/lib.rs",
                "pub use a::{dead,\n Dead};\npub mod a;",
            ),
            (
                "crates/resp/src/a.rs",
                "pub const fn used() {}\npub fn dead() {}\npub struct Dead;\nimpl Dead {\n pub fn alive(&self) -> Returned { Returned }\n}\npub struct Returned;\npub const LIMIT: u8 = 1;\npub(crate) fn internal() {}\npub unsafe fn tried() {}\n/// For tests.\npub fn helper() {}\npub fn inner() {}\nfn g() { inner() }",
            ),
            (
                "crates/server/src/b.rs",
                "fn f() { used(); x.alive(); }\n// dead LIMIT\n#[cfg(test)]\nmod tests {\n fn f() { tried() }\n}",
            ),
            ("bench/src/main.rs", "fn main() { tried(); helper() }"),
        ]);
        assert_eq!(
            found,
            [
                "crates/resp/src/a.rs:2: nothing uses the public dead",
                "crates/resp/src/a.rs:3: nothing uses the public Dead",
                "crates/resp/src/a.rs:8: nothing uses the public LIMIT",
                "crates/resp/src/a.rs:13: only its own file uses the public inner",
                "crates/resp/src/a.rs:10: only tests use the public tried",
            ]
        );
    }
}

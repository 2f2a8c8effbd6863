//! Reads the lines of an ACL file.

use std::collections::BTreeSet;

use super::rules::{Defaults, RuleError, Rules, merge_selectors};
use super::{NAME_BYTES_MAX, has_spaces};
use crate::table::CommandTable;

/// Most bytes of error texts for one file: a file of something else has errors in every line.
const ERRORS_MAX: usize = 4096;

/// Users of a file with their rules.
pub type FileUsers = Vec<(Vec<u8>, Rules)>;

/// Reads `user <name> <rules>` lines. `name` is that of the file, for errors.
///
/// # Errors
/// The text of Redis: all lines that are wrong, with their numbers.
pub fn parse_file(
    text: &[u8],
    name: &str,
    commands: &CommandTable,
    defaults: Defaults,
) -> Result<FileUsers, Vec<u8>> {
    let mut reader = Reader {
        file: name,
        commands,
        defaults,
        users: FileUsers::new(),
        names: BTreeSet::new(),
        errors: Vec::new(),
    };
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if reader.errors.len() < ERRORS_MAX {
            reader.read_line(index + 1, trim(line, b" \t\r\n"));
        }
    }
    if reader.errors.is_empty() {
        return Ok(reader.users);
    }
    reader.errors.extend_from_slice(
        b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(reader.errors)
}

struct Reader<'a> {
    file: &'a str,
    commands: &'a CommandTable,
    defaults: Defaults,
    users: FileUsers,
    names: BTreeSet<Vec<u8>>,
    errors: Vec<u8>,
}

impl Reader<'_> {
    fn read_line(&mut self, number: usize, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let (name, rules) = match words.as_slice() {
            [b"user", name, rules @ ..] => (*name, rules),
            _ => {
                let what = " should start with user keyword followed by the username. ";
                return self.error(number, what.as_bytes());
            }
        };
        if has_spaces(name) || name.len() > NAME_BYTES_MAX {
            self.errors.push(b'\'');
            let what = [b": username '", name, b"' contains invalid characters. "].concat();
            return self.error(number, &what);
        }
        if !self.names.insert(name.to_vec()) {
            let what = [b"WARNING: Duplicate user '", name].concat();
            self.errors.extend_from_slice(&what);
            let what = format!("' found on line {number}. ");
            return self.errors.extend_from_slice(what.as_bytes());
        }
        let rules = self.read_rules(number, rules);
        self.users.push((name.to_vec(), rules));
    }

    fn read_rules(&mut self, number: usize, words: &[&[u8]]) -> Rules {
        let mut rules = Rules::new(self.defaults);
        let Ok(merged) = merge_selectors(words) else {
            let what = b": Unmatched parenthesis in selector definition.";
            self.error(number, what);
            return rules;
        };
        let mut has_error = false;
        for rule in &merged {
            let rule = trim(rule, b"\t\r\n");
            match rules.apply(self.commands, self.defaults, rule) {
                Ok(()) => {}
                // The name of a command is no secret.
                Err(error @ RuleError::Unknown) => {
                    let end = format!("': {error}. ");
                    let start = b": Error in applying operation '".as_slice();
                    self.error(number, &[start, rule, end.as_bytes()].concat());
                }
                Err(error) if !has_error => {
                    self.error(number, format!(": {error}. ").as_bytes());
                    has_error = true;
                }
                Err(_) => {}
            }
        }
        rules
    }

    fn error(&mut self, number: usize, what: &[u8]) {
        let place = format!("{}:{number}", self.file);
        self.errors.extend_from_slice(place.as_bytes());
        self.errors.extend_from_slice(what);
    }
}

/// Without these bytes at both ends.
fn trim<'a>(mut text: &'a [u8], bytes: &[u8]) -> &'a [u8] {
    while let [first, rest @ ..] = text
        && bytes.contains(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && bytes.contains(last)
    {
        text = rest;
    }
    text
}
